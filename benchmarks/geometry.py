"""How well photos are inverted that are turned, scaled or shifted, by F/W+ and by W+.

    python benchmarks/geometry.py --rows 4300:4312 --out benchmarks/geometry.json
    python benchmarks/geometry.py --out benchmarks/geometry.json --plot benchmarks/geometry.png

Each photo (CelebA-HQ, aligned; never committed) is moved in its plane, continued at its borders by
mirror images, and inverted by the encoder alone, by Image2StyleGAN, by in-domain optimisation in W+
and by F/W+, the last three with as many steps each. The perceptual distance is by judge-lite0,
which no inversion looks at; persons are compared upright, turned back by the known move; an edit is
reached if the judge sees in the edited drawing, turned back, what was asked and was not there;
edits are those of --method move, and with --look of the default, too, which looks at what is drawn.
What is measured is kept line by line beside the report, so that a stopped run goes on.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from speed import machine
from torch import Tensor

from tedi import attributes, pipeline, zoo
from tedi.checkpoints import native
from tedi.generators.based import Based, inverse, moved, placed
from tedi.inversion import INVERTERS, Inversion
from tedi.inversion.encode import draw_full
from tedi.losses.perceptual import distance
from tedi.metrics.score import estimate
from tedi.training.pictures import from_bytes, photo_pixels

MOVES = {"rotation, degrees": (0, 10, 20, 30), "scale": (0.7, 0.85, 1, 1.2, 1.4)}
MOVES |= {"shift, of the width": (0, 0.1, 0.2), "all at once": (0, 0.5, 1)}
CROP = (math.radians(25), math.log(1.4), 0.15)  # "all at once", at most: turn, scale, shift
METHODS = ("encoder", "image2stylegan", "optimize", "fspace")
EDITS = {
    "with glasses": ("glasses", ("eyeglasses", "sunglasses")),
    "an old person": ("age", ("old",)),
    "smiling": ("smile", ("slight", "broad")),
    "with blond hair": ("hair_color", ("blond",)),
}
WAYS = {"reached": "move", "reached, looked at": "default"}
FIGURES = {
    "perceptual": "perceptual distance",
    "same": "taken for the same person",
    "reached": "edits reached",
}
COLORS = {
    "encoder": "#8a8a90",
    "image2stylegan": "#7a9a3a",
    "optimize": "#be5a14",
    "fspace": "#145482",
}
PAPER, INK, FAINT = "#ffffff", "#1d1d1f", "#c9c9ce"
PANEL, GAP, FONT = (300, 220), 70, 18


def move_of(kind: str, amount: float, row: int) -> Tensor:
    """The place (1, 2, 3) of a face that was moved by so much.

    "All at once" turns, scales and shifts each photo by chance, as faces lie in natural pictures.
    """
    if kind == "all at once":
        chance = np.random.default_rng(row).uniform(-amount, amount, 4)
        angle, scale, across, down = chance * (*CROP, CROP[2])
        numbers = (angle, math.exp(scale), 2 * across, 2 * down)
    else:
        pose = {"rotation, degrees": 0.0, "scale": 1.0, "shift, of the width": 0.0} | {kind: amount}
        degrees, factor, shift = pose.values()
        numbers = (math.radians(degrees), factor, 2 * shift, 0.0)
    return placed(*(torch.tensor([number]) for number in numbers))


@dataclass
class Bench:
    """The networks, and what one photo gives.

    Attributes:
        steps: on previews, and at full size, of the optimising methods.
        at: pixels a side of the base code.
        looks: edits are made by the default, too.
    """

    steps: tuple[int, int]
    at: int
    looks: bool

    def __post_init__(self) -> None:
        self.model = pipeline.load(device="cpu")
        self.judge = native.load_attribute_model(zoo.pull("judge-lite0"))

    def inverter(self, method: str) -> Callable[[Tensor], Inversion]:
        """A method by name, with the steps that all are given."""
        kind, photos = INVERTERS[method], self.model.photos
        networks: dict[str, Any] = {"maps": photos.features.maps, "describe": photos.identity}
        if hasattr(kind, "defaults"):
            steps, finish = self.steps
            changes = {"at": self.at} if method == "fspace" else {}
            options = replace(kind.defaults, steps=steps, finish=finish, **changes)
            networks["options"] = options
        if getattr(kind, "reads_places", False):
            networks["reader"] = photos.reader
        return kind(self.model.generator, photos.encoder, **networks)

    def measure(self, photo: Tensor, place: Tensor, method: str) -> dict[str, Any]:
        """Figures of one photo (1, 3, 256, 256), moved."""
        target, back = moved(photo, place), inverse(place)
        began = time.process_time()
        found = self.inverter(method)(target)
        seconds = time.process_time() - began
        with torch.no_grad():
            image = draw_full(found.generator, found.ws, 256).clamp(-1, 1)
            like = distance(self.judge.maps(image), self.judge.maps(target))
            describe = self.model.photos.identity
            upright = moved(target, back)
            apart = (describe(moved(image, back)) - describe(upright)).norm(dim=1)
            ways = {name: way for name, way in WAYS.items() if self.looks or way != "default"}
            reached = {name: self._edits(found, back, way) for name, way in ways.items()}
            figures = {"perceptual": float(like), "apart": float(apart), **reached}
            if isinstance(found.generator, Based):
                found.generator.follows = False
                figures["reached, f left alone"] = self._edits(found, back, "move")
        return {**figures, "cpu_s": round(seconds, 1)}

    def _edits(self, found: Inversion, back: Tensor, method: str) -> dict[str, bool]:
        """Edit -> whether it is reached, of those that ask for what is not there."""

        def sees(ws: Tensor, group: str, values: tuple[str, ...]) -> bool:
            image = moved(found.generator.preview(ws).clamp(-1, 1), back)
            p = attributes.log_softmax(self.judge(image)).exp()[0]
            columns = [attributes.COLUMNS.index((group, value)) for value in values]
            return bool(p[columns].sum() > 0.5)

        done = {}
        for text, wanted in EDITS.items():
            if not sees(found.ws, *wanted):
                said = self.model.text.read([text])
                edit = self.model.way(method, found.generator)
                done[text] = sees(edit(found.ws, [text], said, strength=1.0, new=False), *wanted)
        return done


def measure_all(options: argparse.Namespace, log: Path) -> None:
    """Figures of all photos, moves and methods that are not there yet, one line each."""
    known = {key_of(line) for line in read(log) if "reached" in line}
    bench = Bench((options.steps, options.finish), options.at, options.look)
    pixels = photo_pixels(options.photos, options.cache)
    first, end = map(int, options.rows.split(":"))
    kinds = {kind: options.amounts or MOVES[kind] for kind in (options.move or MOVES)}
    for row in range(first, end):
        photo = from_bytes(np.array(pixels[row : row + 1]))
        for kind, amounts in kinds.items():
            for amount in amounts:
                for method in options.method or METHODS:
                    told = {"row": row, "move": kind, "amount": amount, "method": method}
                    if key_of(told) in known:
                        continue
                    told |= bench.measure(photo, move_of(kind, amount, row), method)
                    told["settings"] = f"{options.steps}+{options.finish}, {options.at} px"
                    with log.open("a") as file:
                        file.write(json.dumps(told) + "\n")
                    known.add(key_of(told))


def key_of(line: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a measurement from others; where nothing is moved, all moves are one."""
    nothing = line["amount"] == (1 if line["move"] == "scale" else 0)
    return (line["row"], line["method"], *(() if nothing else (line["move"], line["amount"])))


def read(log: Path) -> list[dict[str, Any]]:
    """The lines of a log, one for each measurement."""
    lines = map(json.loads, log.read_text().splitlines() if log.exists() else [])
    return list({key_of(line): line for line in lines}.values())


def table(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means by move, amount and method."""
    rows = []
    for kind, amounts in MOVES.items():
        for amount in amounts:
            for method in METHODS:
                key = {"move": kind, "amount": amount, "method": method, "row": 0}
                same = [each for each in lines if key_of(each | {"row": 0}) == key_of(key)]
                if same:
                    rows.append({**key, **means(same)})
    for row in rows:
        del row["row"]
    return rows


def means(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over photos, how many there are, and intervals of 95 % that resample photos."""
    found: dict[str, Any] = {"n": len(lines)}
    ones = [1.0] * len(lines)
    figures = {
        "perceptual": ([line["perceptual"] for line in lines], ones),
        "identity distance": ([line["apart"] for line in lines], ones),
        "same": ([line["apart"] < 0.6 for line in lines], ones),
    }
    for name in (*WAYS, "reached, f left alone"):
        seen = [line.get(name, {}).values() for line in lines]
        figures[name] = ([sum(each) for each in seen], [len(each) for each in seen])
    for name, (sums, counts) in figures.items():
        if sum(counts):
            pair = (torch.tensor(each, dtype=torch.double) for each in (sums, counts))
            value, *ends = estimate(*pair, rate=name not in ("perceptual", "identity distance"))
            found[name] = round(value, 3)
            found[f"{name}, interval"] = [round(end, 3) if end == end else None for end in ends]
            if counts is not ones:
                found[f"{name}, edits"] = int(sum(counts))
    found["cpu_s"] = round(statistics.mean(line["cpu_s"] for line in lines), 1)
    return found


def plot(rows: list[dict[str, Any]], subtitle: str) -> Image.Image:
    """Curves over the amount of each move: a column a move, a row a figure."""
    kinds = [kind for kind in MOVES if sum(row["move"] == kind for row in rows) > len(METHODS)]
    wide, high = PANEL
    size = (GAP + len(kinds) * (wide + GAP), 2 * GAP + len(FIGURES) * (high + GAP))
    picture = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT)
    draw.text((GAP, GAP / 4), f"Photos moved in their plane, {subtitle}", INK, font)
    for number, (method, color) in enumerate(COLORS.items()):
        draw.text((GAP + 160 * number, GAP / 4 + 1.6 * FONT), method, color, font)
    for column, kind in enumerate(kinds):
        for line, (figure, title) in enumerate(FIGURES.items()):
            corner = (GAP + column * (wide + GAP), 1.6 * GAP + line * (high + GAP))
            here = [row for row in rows if row["move"] == kind and figure in row]
            panel(draw, corner, here, figure, f"{title} over {kind}")
    return picture


def panel(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    rows: list[dict[str, Any]],
    figure: str,
    title: str,
) -> None:
    """One figure over one move, a line a method."""
    font = ImageFont.load_default(0.75 * FONT)
    (x, y), (wide, high) = corner, PANEL
    amounts = sorted({row["amount"] for row in rows})
    top = max(1.0, *(row[figure] for row in rows))
    low, span = amounts[0], (amounts[-1] - amounts[0]) or 1

    def point(row: dict[str, Any], value: float) -> tuple[float, float]:
        share = min(1.0, value / top)
        return x + wide * (row["amount"] - low) / span, y + high * (1 - share)

    draw.text((x, y - 1.3 * FONT), title, INK, font)
    draw.rectangle((x, y, x + wide, y + high), outline=FAINT)
    for value in (0, top / 2, top):
        height = y + high * (1 - value / top)
        draw.text((x - 6, height), f"{value:.2g}", INK, font, anchor="rm")
    for amount in amounts:
        place = (x + wide * (amount - low) / span, y + high + 4)
        draw.text(place, f"{amount:g}", INK, font, anchor="ma")
    for method, color in COLORS.items():
        mine = [row for row in rows if row["method"] == method]
        points = [point(row, row[figure]) for row in mine]
        if len(points) > 1:
            draw.line(points, color, 3)
        for row, (px, py) in zip(mine, points, strict=True):
            draw.ellipse((px - 4, py - 4, px + 4, py + 4), fill=color)
            ends = [end for end in row[f"{figure}, interval"] if end is not None]
            draw.line([point(row, end) for end in ends], color, 1)


def main() -> None:
    """Measure what is not measured yet, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", help="photos to measure, from:to; none: only report")
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/celebahq256"))
    parser.add_argument("--cache", type=Path, default=Path("runs/photos256.npy"))
    parser.add_argument("--move", action="append", choices=list(MOVES))
    parser.add_argument("--amounts", type=float, nargs="+", help="of one --move")
    parser.add_argument("--method", action="append", choices=METHODS)
    parser.add_argument("--look", action="store_true", help="edit by the default, too")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--finish", type=int, default=4)
    parser.add_argument("--at", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    log = options.out.with_suffix(".jsonl")
    if options.rows:
        measure_all(options, log)
    lines = read(log)
    rows = table(lines)
    settings = sorted({line["settings"] for line in lines})
    report = {"machine": machine(), "steps": settings, "rows": rows}
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    if options.plot:
        plot(rows, f"CelebA-HQ, up to {max(row['n'] for row in rows)} photos").save(options.plot)


if __name__ == "__main__":
    main()
