"""Trains what reads base codes and places, on drawn faces only, as BDInvert's encoder is.

BDInvert (Kang et al. 2021, arXiv 2108.08998, section 3.2) draws faces of random codes and teaches
an encoder base codes with which, and with the true codes of the slots after them, the generator
draws the same pictures. Here faces are also turned, scaled and shifted, as in the photos that base
codes are for, and so are the activations F that are to be read: with P the place,

    L = mean ((E(x) − P F(ws)) / σ)² + λ_pix ‖G(E(x), ws) − x‖² + λ_perc d(G(E(x), ws), x)
        + λ_pose mean huber (pose − pose of P)                                                   (1)

with σ each channel's deviation, and x the picture of the codes ws, moved by P and continued at its
borders by mirror images; what E looks at is worn as photos are. The first term and the last are
ours: they cost no drawing. A base code has a thousand places to learn from and a pose is one, so
that every picture of a step is learned a pose from, some a base code, and fewer still are drawn.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tedi import config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.encoders.base import SIZE, UNITS, BaseReader
from tedi.errors import UsageError
from tedi.generators.based import moved
from tedi.interfaces import Generator
from tedi.inversion.likeness import fit
from tedi.inversion.place import place_of
from tedi.losses import Maps
from tedi.losses.perceptual import distance
from tedi.training.dataset import is_held_out, load_tedifaces
from tedi.training.loop import Settings
from tedi.training.networks import open_generator
from tedi.training.pictures import codes_of, from_bytes
from tedi.training.stylegan3 import draw_small
from tedi.training.visual import worn

MEASURED = 64  # faces that means and deviations of activations are measured on


@dataclass(frozen=True)
class BaseOptions:
    """Settings of the task; a weight of 0 leaves its term out and saves its cost.

    Raises:
        UsageError: more pictures to draw than a step has, or too few faces to measure on.
    """

    data: str = "data/tedifaces"  # folder of faces.jsonl, whose faces are drawn
    cache: str = "runs/faces128.npy"  # their pictures, drawn on first use
    start: str = ""  # a trained file to go on from; "" is the attribute model's trunk
    at: int = 32  # pixels a side of the base code: 32, 16 or 8
    batch_size: int = 16  # pictures a step, whose poses are learned …
    read: int = 4  # … of which so many give base codes …
    drawn: int = 1  # … of which so many are drawn again
    hidden: int = 256  # channels of the decoder
    frozen: int = 3  # first blocks of the trunk that stay as they are
    head_rate: float = 4.0  # learning rate of all but the trunk, relative to the trunk's
    pixel: float = 1.0  # λ_pix, of the mean squared error, 0 to 4
    perceptual: float = 0.5  # λ_perc, of a distance of 0 to 4
    pose: float = 2.0  # λ_pose, of poses in `tedi.encoders.base.UNITS`
    degrees: float = 30.0  # that faces are turned at most, to either side
    grown: float = 1.4  # factor that they are scaled by at most; its inverse at least
    shift: float = 0.2  # picture widths that they are moved at most, each way
    near: float = 0.5  # share of pictures that go a uniform part of such a way
    worn: float = 0.5  # share of pictures that are worn: JPEG, blur, noise, light
    held_out: int = 104  # drawn faces that the figures are measured on

    def __post_init__(self) -> None:
        if not 0 <= self.drawn <= self.read <= self.batch_size:
            got = f"{self.batch_size}, {self.read} and {self.drawn}"
            raise UsageError(f"batch_size, read, drawn: expected no more of the next, got {got}")
        if self.held_out < 2:
            raise UsageError(f"held_out: expected 2 or more, got {self.held_out}")


def make_task(settings: Settings) -> "BaseTask":
    """The task on the released generator; its faces are drawn first if need be."""
    keep_freed_memory()
    options = config.build(BaseOptions, settings.options, where="options")
    generator = open_generator(settings.place)
    found = [face["index"] for face in load_tedifaces(Path(options.data))]
    faces = [index for index in found if not is_held_out(index)]
    pixels = draw_small(generator, faces, Path(options.cache))
    held = [index for index in found if is_held_out(index)][: options.held_out]
    known, _ = native.read(zoo.pull("attributes-lite0"))
    maps = native.load_attribute_model(zoo.pull("attributes-lite0")).to(settings.place).maps
    w, held_w = (codes_of(generator, each)[:, 0] for each in (faces, held))
    return BaseTask(generator, (w, pixels), held_w, known, maps, options, seed=settings.seed)


class BaseTask:
    """Fits `BaseReader`.

    Args:
        generator: frozen, whose activations are to be read.
        drawn: codes w (F, C) and their pictures (F, 3, 128, 128).
        held: codes w that the figures are measured on.
        trunk: state of the attribute model.
        maps: perceptual features.
        options: of the task.
        seed: of the network and of every batch.
    """

    def __init__(
        self,
        generator: Generator,
        drawn: tuple[Tensor, NDArray[np.uint8]],
        held: Tensor,
        trunk: dict[str, Tensor],
        maps: Maps,
        options: BaseOptions,
        *,
        seed: int,
    ) -> None:
        self.generator, self.maps, self.options, self.seed = generator, maps, options, seed
        (self.w, self.pixels), self.held = drawn, held
        torch.manual_seed(seed)
        with torch.no_grad():
            own = generator.features(self.codes(range(min(MEASURED, len(self.w)))), options.at)
        self.model = BaseReader(base=options.at, width=own.shape[1], hidden=options.hidden)
        if options.start:
            self.model.load_state_dict(native.read(Path(options.start))[0])
        else:
            self._begin(trunk, own)
        for part in [self.model.stem, *self.model.blocks[: options.frozen]]:
            part.requires_grad_(False)

    def _begin(self, trunk: dict[str, Tensor], own: Tensor) -> None:
        """At the trunk's state, and at the mean of the generator's activations."""
        known = self.model.state_dict()
        state = known | {n: t for n, t in trunk.items() if n.startswith(("stem.", "blocks."))}
        deviation, mean = torch.std_mean(own, dim=(0, 2, 3))
        self.model.load_state_dict(state | {"center": mean, "scale": deviation.clamp_min(1e-6)})

    def codes(self, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Codes ws (N, L, C) of faces by their numbers."""
        return self.w[list(rows)][:, None].expand(-1, self.generator.slots, -1)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """What is new learns faster than the trunk."""
        trunk = [p for p in self.model.blocks.parameters() if p.requires_grad]
        known = {id(p) for p in trunk}
        heads = [p for p in self.model.parameters() if p.requires_grad and id(p) not in known]
        return [
            {"params": trunk, "lr": lr},
            {"params": heads, "lr": lr * self.options.head_rate},
        ]

    def poses(self, count: int, rng: np.random.Generator, *, near: float) -> Tensor:
        """Poses (N, 4): turn in radians, log of scale, right, down in half widths."""
        o = self.options
        most = [math.radians(o.degrees), math.log(o.grown), 2 * o.shift, 2 * o.shift]
        way = np.where(rng.random(count) < near, rng.random(count), 1.0)
        return torch.from_numpy(rng.uniform(-1, 1, (count, 4)) * most * way[:, None]).float()

    def step(self, step: int) -> dict[str, Tensor]:
        """The terms of (1) of a batch."""
        o, rng = self.options, np.random.default_rng([self.seed, step])
        rows = rng.integers(0, len(self.w), o.batch_size)
        ws, pose = self.codes(rows), self.poses(len(rows), rng, near=o.near)
        place = place_of(pose)
        target = moved(from_bytes(self.pixels[rows]), place)
        shown = worn(target, rng, o.worn)
        shown, target, pose, place = (x.to(ws) for x in (shown, target, pose, place))
        read, said = self.model.parts(shown, bases=o.read)
        losses = {"pose": o.pose * F.huber_loss(said, pose / self.model.units)}
        if n := o.read:
            with torch.no_grad():
                own = moved(self.generator.features(ws[:n], o.at), place[:n])
            losses["base"] = (read - self.model.relative(own)).square().mean()
        n = o.drawn
        return losses | self._drawn(read[:n], ws[:n], target[:n]) if n else losses

    def _drawn(self, read: Tensor, ws: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms on what is drawn from base codes read and the true codes after them."""
        o = self.options
        image = fit(self.generator.preview_from(self.model.absolute(read), ws), target.shape[-1])
        losses = {}
        if o.pixel:
            losses["pixel"] = o.pixel * (image - target).square().mean()
        if o.perceptual:
            losses["perceptual"] = (
                o.perceptual * distance(self.maps(image), self.maps(target)).mean()
            )
        return losses

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Explained variance of base codes, and errors of places, on faces not learned from.

        The variance is that about the mean base code of those faces, in each channel's deviations.
        Places lie anywhere in the range of training, and errors are medians; shifts in widths of
        the picture.
        """
        rng = np.random.default_rng(987_654_321)
        pose = self.poses(len(self.held), rng, near=0.0).to(self.held)
        rows = []
        for w, place in zip(self.held.split(1), place_of(pose).split(1), strict=True):
            ws = w[:, None].expand(-1, self.generator.slots, -1)
            image = moved(fit(self.generator.preview(ws), SIZE), place).clamp(-1, 1)
            own = self.model.relative(moved(self.generator.features(ws, self.options.at), place))
            rows.append((own, *self.model.parts(image)))
        own, read, said = (torch.cat(each) for each in zip(*rows, strict=True))
        spread = (own - own.mean(dim=0)).square().sum()
        away = (self.model.units * said - pose).abs()
        angle, scale = away[:, 0].median(), away[:, 1].median()
        shift = away[:, 2:].norm(dim=1).median() / 2
        return {
            "drawn faces": float(len(self.held)),
            "explained variance": round(float(1 - (read - own).square().sum() / spread), 4),
            "angle, degrees off": round(math.degrees(angle), 3),
            "scale, share off": round(math.expm1(scale), 4),
            "shift, widths off": round(float(shift), 4),
        }

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The network in half precision, but for the mean and deviation of activations."""
        whole = ("center", "scale")
        state = self.model.state_dict()
        return {n: t if n in whole else t.half() for n, t in state.items()}, {
            "architecture": "base",
            "kind": "base-code encoder",
            "for": "mobilestylegan-ffhq",
            "licence": "MIT; begun from attributes-lite0, whose trunk is begun from "
            "efficientnet-lite0 (Apache-2.0)",
            "data": "faces of data/tedifaces, drawn by mobilestylegan-ffhq",
            "recipe": "train/base.py",
            "options": json.dumps(asdict(self.options)),
            "note": "Faces anywhere in a picture to base codes of F/W+ and where they lie; poses "
            f"in units of {', '.join(f'{unit:.4f}' for unit in UNITS)}.",
        }
