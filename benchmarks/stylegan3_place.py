"""Which slots of a StyleGAN3 hold the place of the face, and whether edits turn with it.

    python benchmarks/stylegan3_place.py FILE --out benchmarks/stylegan3-place.json

Slots: each of the first four, and 0 and 1 together, are given the mean of W in turn (pseudo-
alignment gives it to slot 0). The turn and the shift that this makes are found by registration, see
`tedi.semantics.motion`; "rigid" is the share of the squared change of pixels that they explain.

Edits: with d a direction, the first axes of W, and T a transform, G(w + d; T) is compared with
G(w + d) turned and moved by T, bilinearly, within the picture. "effect" is the part of the edit
that differs, |T[G(w + d) − G(w)] − [G(w + d; T) − G(w; T)]| / |T[G(w + d) − G(w)]|, of which
bilinear turning has its share: "interpolation" is the same of a drawing turned there and back.
Figures are means over codes with 95 % intervals (bootstrap of codes).
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tedi.checkpoints import bundle
from tedi.errors import UsageError
from tedi.generators.based import inverse, moved, placed
from tedi.generators.stylegan3 import StyleGAN3, user_transform
from tedi.semantics.motion import slot_motion

ASKED = ((0,), (1,), (2,), (3,), (0, 1))
DEGREES, SHIFT = 25.0, 0.1
AXES = 4  # directions: first axes of W, each a standard deviation long


def interval(values: Tensor) -> list[float]:
    """Mean of values (N,), with the ends of its interval."""
    random = torch.Generator().manual_seed(0)
    picks = torch.randint(len(values), (2000, len(values)), generator=random)
    means = values[picks].mean(dim=1)
    ends = (values.mean(), means.quantile(0.025), means.quantile(0.975))
    return [round(float(end), 4) for end in ends]


def slots_told(generator: StyleGAN3, ws: Tensor) -> dict[str, Any]:
    """How far each slot turns and moves drawings."""
    told: dict[str, Any] = {}
    for slots in ASKED:
        motion = slot_motion(generator, ws, slots)
        told[" and ".join(map(str, slots))] = {
            "turn, degrees": interval(motion.degrees.abs()),
            "shift, % of the width": interval(100 * motion.shift.norm(dim=1)),
            "rigid": interval(motion.rigid),
            "change of pixels": interval(motion.change),
        }
    return told


def commanded(generator: StyleGAN3, ws: Tensor) -> dict[str, Any]:
    """What slot 0 says itself: its turn and shift, those of the mean of W taken off."""
    style = generator.synthesis.styles(ws)["input"]
    mean = generator.synthesis.styles(generator.w_avg.expand(1, generator.slots, -1))["input"]
    turn = torch.atan2(style[:, 1], style[:, 0]) - torch.atan2(mean[:, 1], mean[:, 0])
    turn = torch.rad2deg((turn + math.pi) % (2 * math.pi) - math.pi)
    shift = (style[:, 2:] - mean[:, 2:]).norm(dim=1)
    return {
        "turn, degrees": interval(turn.abs()),
        "shift, % of the width": interval(100 * shift),
    }


def edits_told(generator: StyleGAN3, ws: Tensor) -> dict[str, Any]:
    """How far edits of turned drawings differ from turned edits."""
    random = torch.Generator().manual_seed(1)
    w = generator.mapping(torch.randn(1000, generator.config["z_dim"], generator=random))
    _, spread, axes = torch.pca_lowrank(w - w.mean(dim=0), q=AXES)
    steps = axes.T * (spread / math.sqrt(len(w)))[:, None]
    effects, floors = [], []
    for i, code in enumerate(ws.split(1)):
        degrees, tx, ty = (
            (2 * torch.rand(3, generator=random) - 1) * torch.tensor([DEGREES, SHIFT, SHIFT])
        ).tolist()
        matrix = user_transform(degrees, tx, ty)
        angle, one = torch.tensor([-math.radians(degrees)]), torch.ones(1)
        place = placed(angle, one, torch.tensor([2 * tx]), torch.tensor([2 * ty]))
        changed = code + steps[i % AXES]
        upright = generator.synthesis(changed) - generator.synthesis(code)
        turned = generator.synthesis(changed, matrix) - generator.synthesis(code, matrix)
        expected, inside = moved(upright, place), _inside(upright, place)
        there_and_back = moved(expected, inverse(place))
        middle = inside * _inside(upright, inverse(place))
        effects.append(_share(expected - turned, expected, inside))
        floors.append(_share(there_and_back - upright, upright, middle))
    return {
        "effect": interval(torch.stack(effects)),
        "interpolation": interval(torch.stack(floors)),
    }


def _inside(image: Tensor, place: Tensor) -> Tensor:
    """Where a moved picture shows what was in it, 1 or 0."""
    grid = torch.nn.functional.affine_grid(place, list(image.shape), align_corners=False)
    return (grid.abs() < 1).all(dim=3)[:, None].float()


def _share(error: Tensor, whole: Tensor, inside: Tensor) -> Tensor:
    return (error * inside).norm() / (whole * inside).norm()


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures of a generator, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a file that holds a StyleGAN3")
    parser.add_argument("--count", type=int, default=64, help="codes")
    parser.add_argument("--psi", type=float, default=1.0, help="truncation of the codes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    told = parser.parse_args(arguments)
    generator = cast("StyleGAN3", bundle.open_generator(told.file))
    if not isinstance(generator, StyleGAN3):
        raise UsageError(f"{told.file}: expected a StyleGAN3, got {generator.name}")
    random = torch.Generator().manual_seed(told.seed)
    w = generator.mapping(torch.randn(told.count, generator.config["z_dim"], generator=random))
    w = generator.w_avg.lerp(w, told.psi)
    ws = w[:, None].repeat(1, generator.slots, 1)
    report = {
        "generator": told.file.name,
        "codes": told.count,
        "psi": told.psi,
        "slots": slots_told(generator, ws),
        "slot 0 commands": commanded(generator, ws),
        "edits": edits_told(generator, ws),
    }
    print(json.dumps(report, indent=1))
    if told.out:
        told.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
