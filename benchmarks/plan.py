"""What the planner of inversions knows and what it comes to.

    python benchmarks/plan.py --rows 4210:4222 --out benchmarks/plan.json

"places": photos (CelebA-HQ, aligned; never committed) are moved as in `geometry.py`; how far the
place that is read, or looked for, is from the move, and how many W+ is said to hold. "fast",
"quality" and "budget": what `--quality` and `--budget` come to, beside the encoder's code. Parts
that a report has already are kept.
"""

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from geometry import MOVES, move_of
from speed import machine
from torch import Tensor

from tedi import pipeline
from tedi.generators.based import moved
from tedi.inversion.place import find_place
from tedi.inversion.plan import Planner, held_by_w
from tedi.metrics.score import estimate
from tedi.training.pictures import from_bytes, photo_pixels

LOOKED_FOR = 12  # photos whose place is looked for, too, at one turn: a search takes seconds


def pose_of(place: Tensor) -> Tensor:
    """Angle in degrees, logarithm of scale, shift right and down in widths, of one place."""
    (along, across, right), (_, _, down) = place[0].tolist()
    angle = math.degrees(math.atan2(across, along))
    return torch.tensor([angle, math.log(math.hypot(along, across)), right / 2, down / 2])


def places(model: pipeline.Toolkit, photos: list[Tensor]) -> list[dict[str, Any]]:
    """Medians of errors by move: angle in degrees, scale and place in per cent."""
    networks = {
        "encode": model.photos.encoder,
        "draw": model.generator.preview,
        "maps": model.photos.features.maps,
    }
    rows = []
    for kind, amounts in MOVES.items():
        for amount in amounts:
            looked_for = (kind, amount) == ("rotation, degrees", 20)
            for name in ("read", "looked for") if looked_for else ("read",):
                reader = model.photos.reader if name == "read" else None
                some = photos if reader else photos[:LOOKED_FOR]
                off, held, seconds = [], 0, time.process_time()
                for row, photo in enumerate(some):
                    place = move_of(kind, amount, row)
                    found = find_place(moved(photo, place), **networks, reader=reader)
                    off.append(pose_of(found) - pose_of(place))
                    held += held_by_w(found)
                seconds = (time.process_time() - seconds) / len(some)
                angle, scale, right, down = torch.stack(off).abs().unbind(dim=1)
                told = {
                    "angle, degrees": angle,
                    "scale, %": 100 * scale.expm1(),
                    "place, % of the width": 100 * torch.hypot(right, down),
                }
                rows.append(
                    {"move": kind, "amount": amount, "how": name, "n": len(some)}
                    | {key: round(float(values.median()), 2) for key, values in told.items()}
                    | {"worst angle": round(float(angle.max()), 1), "W+ holds": held}
                    | {"cpu_s": round(seconds, 2)}
                )
    return rows


def planned(model: pipeline.Toolkit, photos: list[Tensor], **asked: Any) -> dict[str, Any]:
    """Means over photos of what a plan comes to, with intervals of 95 %."""
    chosen, seconds, found, before = Counter[str](), [], [], []
    for photo in photos:
        planner = Planner(
            model.generator,
            model.photos.encoder,
            maps=model.photos.features.maps,
            describe=model.photos.identity,
            reader=model.photos.reader,
            looker=model.photos.looker,
            **asked,
        )
        began = time.monotonic()
        inversion = planner(photo)
        seconds.append(time.monotonic() - began)
        chosen[inversion.extras["method"]] += 1
        figures = {name: float(value[0]) for name, value in inversion.extras["figures"].items()}
        found.append(figures | {"identity": figures["identity"] ** 0.5})
        before.append(inversion.extras["plan"]["rungs"][0]["figures"])

    def mean(values: list[float]) -> list[float]:
        told = estimate(torch.tensor(values), torch.ones(len(values)))
        return [round(number, 3) for number in told]

    told: dict[str, Any] = {"n": len(photos), "chosen": dict(chosen)}
    for name in ("identity", "perceptual"):
        told[f"{name}, encoder"] = mean([each[name] for each in before])
        told[name] = mean([each[name] for each in found])
    told["same person, encoder"] = sum(each["identity"] < 0.6 for each in before)
    told["same person"] = sum(each["identity"] < 0.6 for each in found)
    return told | {"seconds": mean(seconds), "most seconds": round(max(seconds), 2)}


def main() -> None:
    """Measure what is asked for, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="4210:4222", help="photos, from:to")
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/celebahq256"))
    parser.add_argument("--cache", type=Path, default=Path("runs/photos256.npy"))
    parser.add_argument("--only", choices=("places", "fast", "quality", "budget"), action="append")
    parser.add_argument("--budget", type=float, default=10.0, help="seconds")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    first, end = map(int, options.rows.split(":"))
    pixels = photo_pixels(options.photos, options.cache)
    photos = [from_bytes(np.array(pixels[row : row + 1])) for row in range(first, end)]
    model = pipeline.load(device="cpu")
    parts: dict[str, Callable[[], Any]] = {
        "places": lambda: places(model, photos),
        "fast": lambda: {"quality": "fast"} | planned(model, photos, quality="fast"),
        "quality": lambda: {"quality": "good"} | planned(model, photos, quality="good"),
        "budget": lambda: (
            {"quality": "good", "budget": options.budget}
            | planned(model, photos, quality="good", budget=options.budget)
        ),
    }
    report = json.loads(options.out.read_text()) if options.out.is_file() else {}
    for name in options.only or parts:
        report[name] = {"rows": options.rows, "machine": machine(), "found": parts[name]()}
        print(name, json.dumps(report[name]["found"], indent=1), flush=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
