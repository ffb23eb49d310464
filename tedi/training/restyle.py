"""Trains an encoder that looks again (ReStyle), by the terms that train the visual encoder.

Every photo is looked at several times. Each look has the whole loss of `tedi.training.visual`, and
its gradient goes no further back than its own move: the code and the drawing that a look begins
with are taken as given (Alaluf et al. 2021, arXiv 2104.02699, section 3).

For the embedded generator `ResidualEncoder` goes on from where `tedi.training.looks` has fitted it:
from nothing, 400 steps of 8 photos brought persons no nearer. For a generator from a file a network
of the pSp family with six channels learns from nothing, and begins at the mean of W:
`configs/restyle-file.yaml`. What that training has otherwise than the published ones: perceptual
features of EfficientNet for LPIPS, dlib's descriptors for ArcFace's, AdamW with a falling rate for
Ranger, and fresh codes for the pool that D_W is shown.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tedi import config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import bundle, native
from tedi.checkpoints.residual import load_residual_encoder
from tedi.encoders import ENCODERS
from tedi.encoders.psp import PublishedEncoder
from tedi.encoders.residual import FromMean, ResidualEncoder
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.inversion.encode import draw_full
from tedi.training.looks import look_by_look
from tedi.training.loop import Settings
from tedi.training.networks import open_generator
from tedi.training.pictures import SIZE, draw_previews, from_bytes, photo_pixels
from tedi.training.visual import PhotoOptions, PhotoTask, drawn_codes, worn

FIRST = "visual-mobilestylegan-ffhq"
FITTED = "restyle-mobilestylegan-ffhq"
EXACT = ("w_avg", "scale")  # kept in full precision


@dataclass(frozen=True)
class RestyleOptions(PhotoOptions):
    """Settings of the task.

    Raises:
        UsageError: no look, or no photo.
    """

    looks: int = 3  # a photo, each with the whole loss
    measured: int = 50  # held-out photos that the figures are of
    generator: str = ""  # file of a generator; "" is the embedded one
    start: str = ""  # encoder of moves to go on from, for the embedded one; "" is the shipped one
    network: str = "psp-backbone"  # of ENCODERS: what learns for a generator from a file
    depth: int = 50  # of its trunk

    def __post_init__(self) -> None:
        for name in ("looks", "photo_batch", "measured"):
            if (value := getattr(self, name)) < 1:
                raise UsageError(f"{name}: expected 1 or more, got {value}")


def make_task(settings: Settings) -> "RestyleTask":
    """The task; photos are decoded and faces drawn first if need be."""
    keep_freed_memory()
    options = config.build(RestyleOptions, settings.options, where="options")
    generator = open_generator(settings.place, options.generator)
    draw = torch.compile(generator.preview) if options.compiled else generator.preview
    ws = drawn_codes(generator, options.drawn if options.drawn_batch else 0)
    drawn = np.zeros((0, 3, SIZE, SIZE), np.uint8)
    if options.drawn_batch:
        drawn = draw_previews(draw, ws, Path(options.drawn_cache))
    if options.full:
        draw = partial(draw_full, generator, size=SIZE)
    photos = photo_pixels(Path(options.photos), Path(options.photo_cache))
    return RestyleTask(generator, draw, photos, (ws, drawn), options, settings)


class RestyleTask(PhotoTask):
    """Fits what looks again; the two judges learn beside it."""

    def __init__(
        self,
        generator: Generator,
        draw: Callable[[Tensor], Tensor],
        photos: NDArray[np.uint8],
        drawn: tuple[Tensor, NDArray[np.uint8]],
        options: RestyleOptions,
        settings: Settings,
    ) -> None:
        super().__init__(generator, draw, photos, drawn, options, settings)
        self.options = options
        torch.manual_seed(settings.seed)
        self.looker = self._fresh()
        self._hold(self.looker)

    def _fresh(self) -> FromMean | ResidualEncoder:
        """What learns, before it has learned."""
        if not self.options.generator:
            first = native.load_visual_encoder(zoo.pull(FIRST))
            first.describe = self.describe
            start = Path(self.options.start) if self.options.start else zoo.pull(FITTED)
            return load_residual_encoder(start, first.to(self.here)).requires_grad_()
        generator, kind = self.generator, ENCODERS[self.options.network]
        if not (isinstance(kind, type) and issubclass(kind, PublishedEncoder)):
            raise UsageError(f"network: expected one of the pSp family, got {self.options.network}")
        sizes: dict[str, Any] = {"slots": generator.slots, "width": generator.width}
        encoder: PublishedEncoder = kind(channels=6, depth=self.options.depth, **sizes)
        encoder.w_avg.copy_(generator.w_avg.expand_as(encoder.w_avg))
        return FromMean(encoder)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The judge of codes learns more slowly."""
        return [
            {"params": list(self.looker.parameters()), "lr": lr},
            {"params": list(self.judge.parameters()), "lr": lr},
            {"params": list(self.code_judge.parameters()), "lr": 0.2 * lr},
        ]

    def step(self, step: int) -> dict[str, Tensor]:
        """The means over looks of the terms on photos and drawn faces."""
        target, drawn, codes, rng = self._batch(step)
        image = worn(torch.cat([target, drawn]), rng, self.options.worn).to(self.here)
        n, target = len(target), target.to(self.here)
        with torch.no_grad():
            seen, ws = self.looker.see(image), self.looker.begin(image)
            shown = self.draw(ws)
        looks: list[dict[str, Tensor]] = []
        for _ in range(self.options.looks):
            ws = ws.detach() + self.looker.look(seen, shown)
            photo = self.draw(ws[:n])
            looks.append(self._terms(photo, target, ws, codes, rng))
            with torch.no_grad():
                shown = torch.cat([photo, self.draw(ws[n:])]) if n < len(ws) else photo.detach()
        return {name: torch.stack([each[name] for each in looks]).mean() for name in looks[0]}

    def _terms(
        self, photo: Tensor, target: Tensor, ws: Tensor, codes: Tensor, rng: np.random.Generator
    ) -> dict[str, Tensor]:
        """The terms of one look; codes of photos come before those of drawn faces."""
        o, n = self.options, len(target)
        offsets = ws[:n] - ws[:n].mean(dim=1, keepdim=True)
        losses = {"offsets": o.offsets * (offsets + 1e-9).norm(dim=2).sum(dim=1).mean()}
        if len(codes):
            losses["code"] = o.code * (ws[n:] - codes).square().mean() / self.variance
        return losses | self._compared(photo, target) | self._near_w(ws[:n], rng)

    def evaluate(self) -> dict[str, float]:
        """Figures of held-out photos, look by look."""
        held = np.array(self.photos[-self.options.held_out // 2 :][: self.options.measured])
        networks = (self.generator.preview, self.features.maps, self.describe)
        image = from_bytes(held).to(self.here)
        return look_by_look(self.looker, *networks, image, self.options.looks)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What looks again alone, in half precision; `tedi` reads a published network's file."""
        told = {
            "looks": str(self.options.looks),
            "recipe": "train/restyle.py",
            "options": json.dumps(asdict(self.options)),
        }
        if isinstance(self.looker, FromMean):
            encoder, facts = self.looker.encoder, {"n_iters": self.options.looks}
            state, built = halved(encoder), dict(encoder.config)
            part = bundle.Bundle("encoder", self.options.network, built, state, facts)
            tensors, header = bundle.packed({"encoder": part})
            return tensors, told | header
        return halved(self.looker), told | {
            "architecture": "residual",
            "kind": "visual encoder that looks again",
            "for": "mobilestylegan-ffhq",
            "first": zoo.sha256(zoo.pull(FIRST)),
            "licence": "MIT; trained on CelebA-HQ photos, which are for non-commercial research",
            "data": "CelebA-HQ photos (Karras et al. 2018; Lee et al. 2020), the last "
            f"{self.options.held_out} held out"
            + (", and faces that mobilestylegan-ffhq drew" if self.options.drawn_batch else ""),
            "note": "Moves of W+ codes, of aligned photos and what the codes draw; looks through "
            f"{FIRST}.",
        }


def halved(network: nn.Module) -> dict[str, Tensor]:
    """Its state in half precision, but for means, scales and what are no real numbers."""
    state = network.state_dict()
    whole = {n for n, t in state.items() if n in EXACT or not t.is_floating_point()}
    return {n: t if n in whole else t.half() for n, t in state.items()}
