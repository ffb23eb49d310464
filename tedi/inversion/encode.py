"""Inversion in one pass: the code that a visual encoder reads from a picture."""

from collections.abc import Callable

import torch
from torch import Tensor

from tedi.descent import OnStep, parts
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.inversion import Inversion
from tedi.inversion.likeness import Likeness, check_target, fit
from tedi.losses import Describe, Maps

Encoder = Callable[[Tensor], Tensor]


class Encode:
    """Inverts by a visual encoder alone.

    Args:
        generator: that the codes are of.
        encoder: pictures (N, 3, h, h) of a preview's size -> codes (N, L, C), in eval mode.
        maps: perceptual features, such as `AttributeModel.maps`; used for figures only, as is
        describe: the identity network.

    Raises:
        UsageError: no encoder.
    """

    def __init__(
        self,
        generator: Generator,
        encoder: Encoder | None,
        *,
        maps: Maps | None = None,
        describe: Describe | None = None,
    ) -> None:
        if encoder is None:
            raise UsageError("encoder: this method needs a visual encoder, got None")
        self.generator, self.encoder = generator, encoder
        self.maps, self.describe = maps, describe

    @torch.no_grad()
    def __call__(self, target: Tensor, on_step: OnStep | None = None) -> Inversion:
        """Codes of pictures (N, 3, H, H) in [-1, 1]; there are no steps to be told of."""
        check_target(target)
        size = preview_size(self.generator)
        target = fit(target, size)
        ws = encode(self.encoder, target)
        likeness = Likeness(target, self.maps, self.describe)
        figures = likeness.figures(lambda part: draw_full(self.generator, part, size), ws)
        return Inversion(ws, self.generator, {"figures": figures})


def encode(encoder: Encoder, target: Tensor) -> Tensor:
    """Codes (N, L, C) of pictures of a preview's size, without gradient."""
    with torch.no_grad():
        return torch.cat([encoder(part) for part in parts(target)])


@torch.no_grad()
def preview_size(generator: Generator) -> int:
    """Pixels along a side of the previews."""
    ws = generator.w_avg.expand(1, generator.slots, -1)
    return generator.preview(ws).shape[-1]


def draw_full(generator: Generator, ws: Tensor, size: int) -> Tensor:
    """Full-size drawings of codes (N, L, C), reduced: (N, 3, size, size)."""
    return fit(generator.synthesis(ws), size)
