"""What pivotal tuning gains on photos, and what strength it leaves to edits.

    python benchmarks/pti.py --rows 4300:4308 --out benchmarks/pti.json
    python benchmarks/pti.py --rows 4300:4308 --set local=0.1 --out pti-local.json

Each photo (CelebA-HQ, aligned; never committed) is tuned to with the default settings, or those
given. The perceptual distance is by judge-lite0, which no inversion looks at. An edit is asked for
where the judge does not see it in the pivot's picture; its strength is what it adds to the judge's
log-odds of what was asked, drawn by the tuned generator, as a share of what it adds drawn by the
generator that was tuned; the edits are those of --method move. By the default, which looks at what
each generator draws, it is counted what is reached. What is measured is kept line by line beside
the report, so that a stopped run goes on.
"""

import argparse
import json
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from geometry import EDITS
from speed import machine
from torch import Tensor

from tedi import attributes, pipeline, zoo
from tedi.checkpoints import native
from tedi.interfaces import Generator
from tedi.inversion import INVERTERS
from tedi.inversion.encode import draw_full
from tedi.losses.perceptual import distance
from tedi.metrics.score import estimate
from tedi.training.pictures import from_bytes, photo_pixels


class Bench:
    """The networks, and what one photo gives.

    Args:
        changes: settings of the tuning that are not the default's.
    """

    def __init__(self, changes: dict[str, float]) -> None:
        self.model = pipeline.load(device="cpu")
        self.judge = native.load_attribute_model(zoo.pull("judge-lite0"))
        kind, photos = INVERTERS["pti"], self.model.photos
        self.options = replace(kind.defaults, **changes)
        networks: dict[str, Any] = {"maps": photos.features.maps, "describe": photos.identity}
        self.tune = kind(self.model.generator, photos.encoder, options=self.options, **networks)

    def measure(self, photo: Tensor) -> dict[str, Any]:
        """Figures of one photo (1, 3, 256, 256)."""
        began = time.process_time()
        found = self.tune(photo)
        seconds = time.process_time() - began
        drawn_by = {"pivot": self.model.generator, "tuned": found.generator}
        with torch.no_grad():
            like = {name: self._likeness(g, found.ws, photo) for name, g in drawn_by.items()}
            edits, looked = {}, {}
            for text, wanted in EDITS.items():
                edited = self._edited("move", found.ws, text)
                edits[text] = {
                    name: [self._odds(g, ws, *wanted) for ws in (found.ws, edited)]
                    for name, g in drawn_by.items()
                }
                looked[text] = {
                    name: self._odds(g, self._edited("default", found.ws, text, g), *wanted)
                    for name, g in drawn_by.items()
                }
        return {**like, "edits": edits, "looked": looked, "cpu_s": round(seconds, 1)}

    def _edited(self, method: str, ws: Tensor, text: str, by: Generator | None = None) -> Tensor:
        said = self.model.text.read([text])
        return self.model.way(method, by)(ws, [text], said, strength=1.0, new=False)

    def _likeness(self, generator: Generator, ws: Tensor, photo: Tensor) -> dict[str, float]:
        image = draw_full(generator, ws, photo.shape[-1]).clamp(-1, 1)
        describe = self.model.photos.identity
        return {
            "perceptual": float(distance(self.judge.maps(image), self.judge.maps(photo))),
            "identity": float((describe(image) - describe(photo)).norm(dim=1)),
        }

    def _odds(self, generator: Generator, ws: Tensor, group: str, values: tuple[str, ...]) -> float:
        """The judge's log-odds of some values against the others of a group."""
        log_p = attributes.log_softmax(self.judge(generator.preview(ws).clamp(-1, 1)))[0]
        columns = range(attributes.SPANS[group].start, attributes.SPANS[group].stop)
        asked = [attributes.COLUMNS.index((group, value)) for value in values]
        others = [column for column in columns if column not in asked]
        return round(float(log_p[asked].logsumexp(dim=0) - log_p[others].logsumexp(dim=0)), 3)


def report(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over photos, with intervals of 95 % that resample photos."""

    def mean(values: list[float], counts: list[float] | None = None) -> dict[str, Any]:
        weights = torch.tensor([1.0] * len(values) if counts is None else counts)
        value, low, high = estimate(torch.tensor(values), weights)
        return {"value": round(value, 3), "interval": [round(low, 3), round(high, 3)]}

    found: dict[str, Any] = {"n": len(lines)}
    for name in ("perceptual", "identity"):
        for of in ("pivot", "tuned"):
            found[f"{name}, {of}"] = mean([line[of][name] for line in lines])
    pairs = [[line[of]["perceptual"] for line in lines] for of in ("tuned", "pivot")]
    found["perceptual, tuned of pivot"] = mean(*pairs)
    found["under half of the pivot's"] = sum(a < 0.5 * b for a, b in zip(*pairs, strict=True))
    for method, name in (("move", "strength of edits"), ("default", "strength by the default")):
        found[name] = {"all": mean(*_changes(lines, EDITS, method))}
        for text in EDITS:
            if any(_pairs(line, [text], "pivot", "pivot", method) for line in lines):
                found[name][text] = mean(*_changes(lines, [text], method))
    for of in ("pivot", "tuned"):
        for method, name in (("move", "edits reached"), ("default", "reached by the default")):
            asked = [pair for line in lines for pair in _pairs(line, EDITS, of, of, method)]
            found[f"{name}, {of}"] = f"{sum(after > 0 for _, after in asked)} of {len(asked)}"
    found["cpu_s"] = mean([line["cpu_s"] for line in lines])
    return found


def _pairs(
    line: dict[str, Any], texts: Any, of: str, missing: str, method: str
) -> list[list[float]]:
    """Log-odds before and after the edits that ask for what pictures of `missing` do not show."""
    asked = [text for text in texts if line["edits"][text][missing][0] <= 0]
    pairs = [line["edits"][text][of] for text in asked]
    if method == "move":
        return pairs
    return [[pair[0], line["looked"][t][of]] for t, pair in zip(asked, pairs, strict=True)]


def _changes(
    lines: list[dict[str, Any]], texts: Any, method: str
) -> tuple[list[float], list[float]]:
    """What edits add to log-odds, photo by photo: by the tuned generator, and by the other."""
    tuned, pivot = (
        [sum(b - a for a, b in _pairs(line, texts, of, "pivot", method)) for line in lines]
        for of in ("tuned", "pivot")
    )
    return tuned, pivot


def settings(words: list[str]) -> dict[str, float]:
    """Settings of the tuning from NAME=VALUE; those that count stay whole numbers."""
    kinds = {field.name: type(field.default) for field in fields(INVERTERS["pti"].defaults)}
    pairs = dict(word.split("=", 1) for word in words)
    return {name: kinds[name](value) for name, value in pairs.items()}


def main() -> None:
    """Measure what is not measured yet, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", help="photos to measure, from:to; none: only report")
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/celebahq256"))
    parser.add_argument("--cache", type=Path, default=Path("runs/photos256.npy"))
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="of the tuning")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    log = options.out.with_suffix(".jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {line["row"] for line in lines}
    if options.rows:
        bench = Bench(settings(options.set))
        if any(line["settings"] != asdict(bench.options) for line in lines):
            parser.error(f"--out: {log} holds figures of other settings; choose another")
        pixels = photo_pixels(options.photos, options.cache)
        for row in range(*map(int, options.rows.split(":"))):
            if row not in known:
                measured = bench.measure(from_bytes(np.array(pixels[row : row + 1])))
                lines.append({"row": row, **measured, "settings": asdict(bench.options)})
                with log.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
    told = {"machine": machine(), "settings": lines[0]["settings"], **report(lines)}
    options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
