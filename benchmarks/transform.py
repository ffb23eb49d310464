"""How well the turn and the shift of an unaligned face are recovered from its landmarks.

    python benchmarks/transform.py --out benchmarks/transform.json

Faces of known place: drawn ones, which are FFHQ's squares by construction, and held-out photos,
whose square is that of the photo as it is, found by the same landmarks. Each is turned by up to 30°
and moved by up to 15 % of its width on a canvas of one and a half times its side, continued by
mirror images; the truth is told from the warp. Per face: the error of the angle, and how far the
middle of the face is off, in widths. Figures are medians with 95 % intervals (bootstrap of faces)
and the ninth decile.

"eyes" is the published way ("Third Time's the Charm?", Alaluf et al. 2022): the angle between the
lines through the eyes of crop and aligned picture, then the shift of an eye between the crop and
the aligned picture turned by it, its landmarks found again. It tells where the aligned face stands,
as ours does, so that a photo's truth is the same.
"""

import argparse
import io
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tedi import zoo
from tedi.checkpoints import native
from tedi.checkpoints.mtcnn import load_detector
from tedi.faces import Detector, align, quad_of, transform_of
from tedi.images import to_pil
from tedi.training.dataset import is_held_out, load_masks, load_tedifaces
from tedi.training.pictures import codes_of

SIDE, CANVAS = 256, 384
DEGREES, SHIFT = 30.0, 0.15
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A face on a canvas.

    Attributes:
        picture: the canvas.
        quad: (4, 2), where the face's square lies in it, in pixels.
    """

    picture: Image.Image
    quad: Floats


def placed(face: Image.Image, quad: Floats, random: np.random.Generator) -> Case:
    """A face turned and moved by chance on a larger canvas, with the square it had."""
    angle = math.radians(random.uniform(-DEGREES, DEGREES))
    shift = random.uniform(-SHIFT, SHIFT, 2) * SIDE
    pad = SIDE
    wide = Image.fromarray(np.pad(np.asarray(face), ((pad, pad), (pad, pad), (0, 0)), "reflect"))
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, s], [-s, c]])  # counter-clockwise as seen, for pixels count downwards
    middle, old = CANVAS / 2 + shift, pad + SIDE / 2
    back = turn.T
    offset = old - back @ middle
    data = (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])
    way = Image.Transform.AFFINE, data, Image.Resampling.BICUBIC
    picture = wide.transform((CANVAS, CANVAS), *way)
    return Case(picture, (quad + 0.5 - SIDE / 2) @ turn.T + middle - 0.5)


def from_square(detector: Detector, case: Case) -> Floats | None:
    """Corners of the face's square by `quad_of`; None where no face is found."""
    found = detector(np.asarray(case.picture))
    return quad_of(found[0].points) if found else None


def from_eyes(detector: Detector, case: Case) -> Floats | None:
    """Corners of the aligned picture as the published way puts them; None where a face is lost."""
    found = detector(np.asarray(case.picture))
    if not found:
        return None
    aligned = align(case.picture, quad_of(found[0].points), size=SIDE)
    upright = detector(np.asarray(aligned))
    if not upright:
        return None
    angle = _of_eyes(found[0].points) - _of_eyes(upright[0].points)
    turned = aligned.rotate(-math.degrees(angle), Image.Resampling.BICUBIC)
    again = detector(np.asarray(turned))
    if not again:
        return None
    scale = math.dist(*quad_of(found[0].points)[[0, 3]]) / SIDE
    c, s = math.cos(angle), math.sin(angle)
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * SIDE / 2
    eye = again[0].points[0] + 0.5 - SIDE / 2
    return scale * (corners @ np.array([[c, s], [-s, c]]) - eye) + found[0].points[0]


def _of_eyes(points: Floats) -> float:
    across = points[1] - points[0]
    return math.atan2(across[1], across[0])


def errors(found: Floats, truth: Floats) -> tuple[float, float]:
    """Degrees and widths that one square is off another."""
    a, b = (transform_of(quad, CANVAS) for quad in (found, truth))
    turn = (a.degrees - b.degrees + 180) % 360 - 180
    off = math.hypot(a.tx - b.tx, a.ty - b.ty) / b.scale
    return abs(turn), off


def drawn_faces(count: int) -> Iterator[Image.Image]:
    """Faces of tedifaces that no network was trained on, at 256 px."""
    files = [zoo.pull("mobilestylegan-ffhq"), zoo.pull("mobilestylegan-ffhq-preview")]
    generator = native.load_generator(files)
    held = (f["index"] for f in load_tedifaces(Path("data/tedifaces")) if is_held_out(f["index"]))
    for index in islice(held, count):
        with torch.inference_mode():
            yield to_pil(generator.preview(codes_of(generator, [index])))[0]


def photos(folder: Path, first: int, count: int) -> Iterator[Image.Image]:
    """Photos of a folder's parquet files, 256 px."""
    for row in islice(load_masks(folder), first, first + count):
        yield Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB").resize((SIDE, SIDE))


def measured(
    detector: Detector, faces: Iterator[Image.Image], *, known: bool, seed: int
) -> dict[str, object]:
    """Errors of both ways on faces; `known` where the picture is the face's square."""
    random = np.random.default_rng(seed)
    whole = np.array([(0, 0), (0, SIDE), (SIDE, SIDE), (SIDE, 0)]) - 0.5
    ways = {"square": from_square, "eyes": from_eyes}
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    count = missed = 0
    for face in faces:
        count += 1
        upright = [] if known else detector(np.asarray(face))
        if not (known or upright):
            missed += 1
            continue
        case = placed(face, whole if known else quad_of(upright[0].points), random)
        got = {name: way(detector, case) for name, way in ways.items()}
        if any(quad is None for quad in got.values()):
            missed += 1
            continue
        for name, quad in got.items():
            pairs[name].append(errors(quad, case.quad))
    found = {name: _summary(np.array(rows), random) for name, rows in pairs.items()}
    return {"faces": count, "not found": missed, **found}


def _summary(rows: Floats, random: np.random.Generator) -> dict[str, dict[str, float]]:
    return {
        "angle, degrees": _median(rows[:, 0], random),
        "place, % of the width": _median(100 * rows[:, 1], random),
    }


def _median(values: Floats, random: np.random.Generator) -> dict[str, float]:
    again = np.median(random.choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(again, [0.025, 0.975])
    told = {"median": np.median(values), "low": low, "high": high}
    told |= {"ninth decile": np.quantile(values, 0.9), "worst": values.max()}
    return {name: round(float(value), 3) for name, value in told.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints both sets' figures, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="faces of each set")
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/celebahq256"))
    parser.add_argument("--first", type=int, default=4200, help="row of the first photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    told = parser.parse_args(arguments)
    detector = load_detector(zoo.pull("mtcnn"))
    sets = {
        "drawn": (drawn_faces(told.count), True),
        "photos": (photos(told.photos, told.first, told.count), False),
    }
    report: dict[str, object] = {"turned, degrees": DEGREES, "moved, widths": SHIFT}
    report |= {"seed": told.seed, "detector": "mtcnn"}
    for name, (faces, known) in sets.items():
        report[name] = measured(detector, faces, known=known, seed=told.seed)
        print(name, json.dumps(report[name], indent=1))
    if told.out:
        told.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
