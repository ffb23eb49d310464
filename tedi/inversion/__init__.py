"""Inversion: from a picture to a code that draws it again.

An entry makes an inverter from what it needs, and leaves the generator as it is:

    inverter = INVERTERS["optimize"](generator, encoder, maps=model.maps)
    inversion = inverter(target)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tedi.registry import Table

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.descent import OnStep
    from tedi.interfaces import Generator

INVERTERS = Table(
    "inversion method",
    {
        "encoder": "tedi.inversion.encode:Encode",
        "fspace": "tedi.inversion.fspace:FSpace",
        "image2stylegan": "tedi.inversion.optimize:Image2StyleGAN",
        "optimize": "tedi.inversion.optimize:InDomain",
        "pti": "tedi.inversion.pti:PivotalTuning",
        "restyle": "tedi.inversion.restyle:Restyle",
    },
)
"""Ways to invert a picture: what `--method` chooses from."""


@dataclass(frozen=True, eq=False)
class Inversion:
    """Codes of pictures, and what draws them.

    Attributes:
        ws: absolute codes (N, L, C).
        generator: that these codes are of.
        extras: what a method has to tell. All give "figures", distances (N,) by name of the
            target and what the code draws at full size, both at a preview's; optimisation also
            "steps", those it took.
    """

    ws: "Tensor"
    generator: "Generator"
    extras: Mapping[str, Any] = field(default_factory=dict)


class Inverter(Protocol):
    """Inverts pictures, each by itself; "pti" takes all of a batch for one person's."""

    def __call__(self, target: "Tensor", on_step: "OnStep | None" = None) -> Inversion:
        """Codes of aligned pictures (N, 3, H, H) in [-1, 1]; see `tedi.descent` on `on_step`."""
