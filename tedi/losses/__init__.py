"""Losses: how far a picture is from a target; the one door to `lpips`.

An entry makes a loss from what it may look at: `LOSSES["pixel"]()`,
`LOSSES["perceptual"](model.maps)`, `LOSSES["identity"](network)`.
"""

from typing import TYPE_CHECKING, Protocol

from tedi.registry import Table

if TYPE_CHECKING:
    from torch import Tensor

LOSSES = Table(
    "loss",
    {
        "identity": "tedi.losses.identity:identity_loss",
        "lpips": "tedi.losses.lpips:lpips_loss",
        "perceptual": "tedi.losses.perceptual:perceptual_loss",
        "pixel": "tedi.losses.pixel:pixel_loss",
    },
)


class Loss(Protocol):
    """Distance of pictures from their targets, one by one, never averaged over the batch."""

    def __call__(self, image: "Tensor", target: "Tensor") -> "Tensor":
        """Distances (N,), at least 0, of pictures (N, 3, H, W) in [-1, 1]; 0 where equal."""


class Maps(Protocol):
    """What a perceptual distance compares, such as `AttributeModel.maps`."""

    def __call__(self, image: "Tensor", /) -> "list[Tensor]":
        """Feature maps (N, D, h, w) of pictures (N, 3, H, W), from fine to coarse."""


class Describe(Protocol):
    """What a distance of persons compares, such as a network of `tedi.encoders.IDENTITIES`."""

    def __call__(self, image: "Tensor", /) -> "Tensor":
        """Descriptors (N, D) of FFHQ-aligned pictures (N, 3, S, S)."""
