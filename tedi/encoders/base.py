"""Base codes and places of faces anywhere in a picture, read by one small network.

The base code f of F/W+ (BDInvert, Kang et al. 2021, arXiv 2108.08998) is what the generator's
activations at a coarse resolution would be, were the face turned, scaled and shifted as it is in
the picture. The paper's own network for it is `tedi.encoders.bdinvert`. This one is for the
embedded generator: the attribute model's trunk and the parser's light decoder, down to the base
code's size. It also says where the face lies, which the paper's does not.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.attributes import AttributeModel, Conv, tapped
from tedi.encoders.parser import Merge, merged
from tedi.errors import UsageError

SIZE = 128  # pixels a side of what is looked at
# Blocks of the trunk whose outputs are read, with their channels; 32, 16, 8 and 4 px.
TAPS = ((2, 24), (4, 40), (10, 112), (15, 320))
SQUEEZED = (16, 32)  # channels that the last two are squeezed to before places are read off them
HIDDEN = 128  # of the head that reads places
UNITS = (math.radians(15), math.log(1.2), 0.2, 0.2)  # of a pose, about its deviation in training


class BaseReader(nn.Module):
    """Pictures (N, 3, 128, 128) in [-1, 1] -> base codes f (N, D, s, s), absolute activations.

    Untrained, it reads the mean of activations everywhere, and that faces are upright.

    Args:
        base: s, 32, 16 or 8.
        width: D, the generator's channels at s px.
        hidden: channels of the decoder.

    Attributes:
        size: pixels a side of what is looked at.
        center: (D,), mean of the generator's activations.
        scale: (D,), their deviation.

    Raises:
        UsageError: another size of base codes.
    """

    size = SIZE
    center: Tensor
    scale: Tensor
    units: Tensor

    def __init__(self, *, base: int = 32, width: int = 512, hidden: int = 256) -> None:
        super().__init__()
        sizes = [32, 16, 8]
        if base not in sizes:
            raise UsageError(f"base: expected one of {sizes} px, got {base}")
        trunk = AttributeModel()
        self.stem, self.blocks = trunk.stem, trunk.blocks
        sides = [channels for _, channels in TAPS[sizes.index(base) :]]
        self.merges = nn.ModuleList(Merge(side, hidden, hidden) for side in sides)
        self.head = Conv(hidden, width, 1)
        pairs = zip(TAPS[-2:], SQUEEZED, strict=True)
        self.squeeze = nn.ModuleList(Conv(channels, leave, 1) for (_, channels), leave in pairs)
        seen = sum(leave * side**2 for leave, side in zip(SQUEEZED, (8, 4), strict=True))
        last = nn.Linear(HIDDEN, len(UNITS))
        self.pose_head = nn.Sequential(nn.Linear(seen, HIDDEN), nn.LeakyReLU(0.2), last)
        for parameter in (*self.head.parameters(), *last.parameters()):
            nn.init.zeros_(parameter)
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("units", torch.tensor(UNITS), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Base codes f (N, D, s, s) of pictures (N, 3, 128, 128) in [-1, 1]."""
        return self.absolute(self._base(self._maps(image)))

    def pose(self, image: Tensor) -> Tensor:
        """Poses (N, 4) of the faces: turn in radians, log of scale, right, down in half widths."""
        return self.units * self._pose(self._maps(image))

    def parts(self, image: Tensor, bases: int | None = None) -> tuple[Tensor, Tensor]:
        """Base codes in deviations of their channels, and poses in `UNITS`, in one look.

        Args:
            image: (N, 3, 128, 128).
            bases: first pictures that base codes are read off; None: all.
        """
        maps = self._maps(image)
        return self._base([each[:bases] for each in maps]), self._pose(maps)

    def absolute(self, base: Tensor) -> Tensor:
        """Base codes (N, D, s, s) of those in deviations."""
        return self.center[:, None, None] + self.scale[:, None, None] * base

    def relative(self, base: Tensor) -> Tensor:
        """Base codes (N, D, s, s) in deviations of their channels."""
        return (base - self.center[:, None, None]) / self.scale[:, None, None]

    def _maps(self, image: Tensor) -> list[Tensor]:
        if image.ndim != 4 or image.shape[1:] != (3, SIZE, SIZE):
            raise UsageError(f"image: expected (N, 3, {SIZE}, {SIZE}), got {tuple(image.shape)}")
        return tapped(self.stem, self.blocks, image, [block for block, _ in TAPS])

    def _base(self, maps: list[Tensor]) -> Tensor:
        return self.head(merged(self.merges, maps[-len(self.merges) :]))

    def _pose(self, maps: list[Tensor]) -> Tensor:
        pairs = zip(self.squeeze, maps[-2:], strict=True)
        seen = [F.leaky_relu(squeeze(each), 0.2).flatten(1) for squeeze, each in pairs]
        return self.pose_head(torch.cat(seen, dim=1))
