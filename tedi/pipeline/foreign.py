"""Generators and encoders of one's own, from files of any known format.

What tedi's trained networks know, words, sketches, label maps and photos, they know of the W of
StyleGAN2-FFHQ. A generator from a file that has the same W can be told all of it; one with a W of
its own draws seeds and codes, and photos with an encoder of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from tedi import zoo
from tedi.blank import Blank
from tedi.checkpoints import bundle, native
from tedi.checkpoints.residual import holds_residual
from tedi.encoders.psp import PublishedEncoder
from tedi.encoders.residual import ResidualEncoder
from tedi.encoders.restyle import ReStyle
from tedi.errors import TediError, UsageError
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.generators.reslotted import Reslotted
from tedi.interfaces import Generator

RESTYLE_STEPS = 5  # of a file that does not tell
SAME = 0.999  # cosine of two means of W, above which it is one W; unrelated ones are near 0
KNOWN = "mobilestylegan-ffhq"  # whose W tedi's own networks know
REFERENCE = "structure-mobilestylegan-ffhq"  # a shipped file that holds its mean


@dataclass(frozen=True)
class Foreign:
    """A generator from a file.

    Attributes:
        generator: frozen, on the CPU.
        encoder: aligned faces (N, 3, 256, 256) to its codes; None if no file has one.
        weights: name of each file -> its sha256.
        known: the generator under the slots that tedi's networks know; None if its W is another.
    """

    generator: Generator
    encoder: nn.Module | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    known: Reslotted | None = None

    def to(self, device: torch.device) -> "Foreign":
        """The same on another device."""
        encoder = self.encoder and self.encoder.to(device)
        generator = self.generator.to(device)
        known = self.known and Reslotted(generator, self.known.like)
        return replace(self, generator=generator, encoder=encoder, known=known)


def open_foreign(
    generator: str | PathLike[str] | None, encoder: str | PathLike[str] | None
) -> Foreign:
    """What files hold; nothing in them is run.

    Args:
        generator: a file that holds one; None takes the encoder's decoder.
        encoder: a file that holds one; None for a generator alone.

    Raises:
        UsageError: they do not fit each other, or the encoder is none of photos.
        TediError: a file cannot be read, or does not hold what is asked of it.
    """
    files = [Path(file) for file in (generator, encoder) if file is not None]
    for file in files:
        if not file.is_file():
            raise TediError(f"{file}: no such file")
    if encoder is not None and holds_residual(Path(encoder)):
        raise UsageError(f"{encoder}: looks again with {KNOWN} alone; leave out --generator")
    reads, decoder = bundle.encoder_of(Path(encoder)) if encoder is not None else (None, None)
    if generator is not None:
        draws = bundle.open_generator(Path(generator))
    elif decoder is not None:
        draws = cast("Generator", bundle.build(decoder))
    else:
        raise UsageError(f"{encoder}: holds no generator; pass --generator FILE")
    prepared = None if reads is None else _prepared(reads, draws, str(encoder))
    weights = {file.name: zoo.sha256(file) for file in files}
    return Foreign(draws, prepared, weights, _known(draws))


def _prepared(part: bundle.Bundle, generator: Generator, whose: str) -> nn.Module:
    """An encoder as photos are given to it; one of six channels looks again and again."""
    encoder = bundle.build(part)
    channels = getattr(encoder, "channels", 3)
    slots = getattr(encoder, "slots", generator.slots)
    if channels not in (3, 6):
        raise UsageError(f"{whose}: an encoder of {channels} channels; photos have 3")
    if slots != generator.slots:
        raise UsageError(f"{whose}: gives {slots} slots, the generator has {generator.slots}")
    steps = part.facts.get("n_iters", RESTYLE_STEPS)
    return encoder if channels == 3 else Steps(encoder, generator, int(steps))


def _known(generator: Generator) -> Reslotted | None:
    """The generator under known slots, if its mean of W is that of StyleGAN2-FFHQ."""
    if not has_known_w(generator):
        return None
    with Blank():
        like = MobileStyleGAN()
    return Reslotted(generator, like)


def has_known_w(generator: Generator) -> bool:
    """Whether the generator's mean of W is that of StyleGAN2-FFHQ, which tedi's networks know."""
    mean = native.read(zoo.path(REFERENCE))[0]["w_avg"].to(generator.w_avg)
    if generator.w_avg.shape != mean.shape:
        return False
    return bool(cosine_similarity(generator.w_avg, mean, dim=0) >= SAME)


def unknown_w(what: str, generator: Generator, way_out: str = "") -> UsageError:
    """The error of asking what tedi's networks do not know of a generator's W."""
    return UsageError(
        f"{what}: tedi's networks know the W of {KNOWN}, this {generator.name} has another{way_out}"
    )


class Steps(nn.Module):
    """An encoder that looks at its own last drawing, as one that looks once.

    Args:
        encoder: of six channels.
        generator: that draws for it.
        steps: how often it looks.
    """

    def __init__(self, encoder: nn.Module, generator: Generator, steps: int) -> None:
        super().__init__()
        self.encoder, self.steps = encoder, steps
        self.generator = cast("nn.Module", generator)

    def forward(self, image: Tensor) -> Tensor:
        look = ReStyle(cast("PublishedEncoder", self.encoder), steps=self.steps)
        return look(image, cast("Generator", self.generator))


class Again(nn.Module):
    """An encoder of moves for the embedded generator, as one that looks once; it looks at previews.

    Args:
        encoder: that looks.
        generator: that draws for it.
    """

    def __init__(self, encoder: ResidualEncoder, generator: Generator) -> None:
        super().__init__()
        self.encoder, self.steps = encoder, encoder.steps
        self._generator = (generator,)  # no module of this one

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        seen, ws = self.encoder.see(image), self.encoder.begin(image)
        for _ in range(self.steps):
            ws = ws + self.encoder.look(seen, self._generator[0].preview(ws))
        return ws


class Widened(nn.Module):
    """An encoder of known codes, whose codes are those of the generator.

    Args:
        encoder: gives codes as `known` counts slots.
        known: the generator.
    """

    def __init__(self, encoder: nn.Module, known: Reslotted) -> None:
        super().__init__()
        self.encoder, self.known = encoder, known

    def forward(self, image: Tensor) -> Tensor:
        return self.known.widen(self.encoder(image))
