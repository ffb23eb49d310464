"""The joints between parts as types: what a part offers to the parts above it.

Only two tensors cross a joint: `ws` (N, L, C), absolute codes of W+, and `image` (N, 3, H, W),
RGB in [-1, 1].
"""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


class Generator(Protocol):
    """Draws codes; the only part of tedi that makes pictures."""

    name: str
    resolution: int
    slots: int
    width: int
    w_avg: Tensor

    def to(self, device: torch.device) -> "Generator":
        """The generator itself, its tensors on another device."""

    def mapping(self, z: Tensor) -> Tensor:
        """Codes w (N, C) of noise z (N, Z), absolute and not truncated."""

    def synthesis(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) of codes ws (N, L, C)."""

    def preview(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256) that approximate the area-reduced synthesis."""

    def layers(self, group: str | int) -> tuple[int, ...]:
        """Slots of "coarse", "medium", "fine" or "all", or of a resolution in pixels."""

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes: one (N, channels) tensor for every modulated layer."""

    def synthesis_from_styles(self, styles: dict[str, Tensor]) -> Tensor:
        """Pictures (N, 3, H, W) of S-space codes as `styles` gives them."""

    def features(self, ws: Tensor, at: int) -> Tensor:
        """Activations (N, D, at, at) at a resolution in pixels."""

    def synthesis_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Pictures from activations of `features` and the slots that come after them."""

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Previews from activations of `features` and the slots that come after them."""


@runtime_checkable
class Transformable(Protocol):
    """A generator that is told where to put what it draws."""

    def transformed(self, *, degrees: float = 0.0, tx: float = 0.0, ty: float = 0.0) -> Generator:
        """One of the same weights that turns pictures counter-clockwise, then moves them.

        Args:
            degrees: about the middle of the picture.
            tx: to the right, picture widths.
            ty: downwards, picture heights.
        """

    def expanded(self, ws: Tensor, field: float) -> Tensor:
        """Pictures (N, 3, S, S) that show `field` widths more on every side, up to 0.5."""


class Encoder(Protocol):
    """Maps a prepared modality to absolute codes."""

    def __call__(self, value: Any) -> Tensor:
        """Codes ws (N, L, C) of a batch."""


def z_width(generator: Generator) -> int:
    """Numbers of noise z; as many as of w where a generator says nothing else."""
    return int(getattr(generator, "z_width", generator.width))
