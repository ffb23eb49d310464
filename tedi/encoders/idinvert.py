"""The encoder of In-Domain GAN Inversion: pictures to the W+ of a StyleGAN.

"In-Domain GAN Inversion for Real Image Editing" (Zhu et al. 2020, arXiv 2004.00049), whose weights
TediGAN uses too; this is the network of the released weights. It is residual, halves the picture
before each block, and a last linear layer gives all slots at once. Parts are named as there, where
`wscale1.bias` is a convolution's bias: the two scales around it cancel.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.shapes import shape_of
from tedi.errors import TediError, UsageError

SLOPE = 0.2  # of the leaky ReLU
LAST = 4  # pixels a side of the map that the linear layer sees
Config = dict[str, int | float | bool | str]


class Norm(nn.Module):
    """Batch norm that learns no scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.bn.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(x)


class Bias(nn.Module):
    """What is added to each channel of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


class First(nn.Module):
    """A picture to a map of its size."""

    def __init__(self, enter: int, leave: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(enter, leave, 3, padding=1, bias=False)
        self.bn = Norm(leave)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.bn(self.conv(x)), SLOPE)


class Residual(nn.Module):
    """A map halved by averages, then two convolutions and a shortcut, all of them activated."""

    def __init__(self, enter: int, leave: int) -> None:
        super().__init__()
        self.turns = enter != leave
        if self.turns:
            self.conv = nn.Conv2d(enter, leave, 1, bias=False)
            self.bn = Norm(leave)
        hidden = min(enter, leave)
        self.conv1 = nn.Conv2d(enter, hidden, 3, padding=1, bias=False)
        self.wscale1, self.bn1 = Bias(hidden), Norm(hidden)
        self.conv2 = nn.Conv2d(hidden, leave, 3, padding=1, bias=False)
        self.wscale2, self.bn2 = Bias(leave), Norm(leave)

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2)
        kept = F.leaky_relu(self.bn(self.conv(x)), SLOPE) if self.turns else x
        x = F.leaky_relu(self.bn1(self.wscale1(self.conv1(x))), SLOPE)
        return F.leaky_relu(self.bn2(self.wscale2(self.conv2(x))), SLOPE) + kept


class Last(nn.Module):
    """A map to one vector: a linear layer of equalised rate, and a batch norm of what it gives."""

    def __init__(self, enter: int, leave: int) -> None:
        super().__init__()
        self.fc = nn.Linear(enter, leave, bias=False)
        self.bn = Norm(leave)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc(x.flatten(1)) / self.fc.in_features**0.5
        return self.bn(x[:, :, None, None]).flatten(1)


class IDInvertEncoder(nn.Module):
    """Pictures (N, 3, R, R) in [-1, 1] -> absolute codes ws (N, 2 log2(R) - 2, C).

    Args:
        resolution: R, that of the generator: 256 in the released weights.
        channels: of what is looked at.
        width: C of W.
        base: channels of the first block; each has twice as many as the one before,
        most: but no more than so many.

    Attributes:
        size: pixels a side of what is looked at.
        takes: "image", pictures (N, 3, R, R) in [-1, 1].
        slots: L of the generator.
        config: the arguments that build it again.

    Raises:
        UsageError: a resolution that is no power of two, or smaller than 8.
    """

    takes: Literal["image"] = "image"

    def __init__(
        self,
        *,
        resolution: int = 256,
        channels: int = 3,
        width: int = 512,
        base: int = 64,
        most: int = 1024,
    ) -> None:
        super().__init__()
        blocks = resolution.bit_length() - 1
        if resolution < 2 * LAST or resolution != 2**blocks:
            raise UsageError(f"resolution: expected 8, 16, 32 … 1024, got {resolution}")
        self.size, self.channels, self.width = resolution, channels, width
        self.slots = 2 * (blocks - 1)
        self.config: Config = {"resolution": resolution, "channels": channels, "width": width}
        self.config |= {"base": base, "most": most}
        widths = [min(base * 2**block, most) for block in range(blocks - 1)]
        self.add_module("block0", First(channels, widths[0]))
        for block, (enter, leave) in enumerate(pairwise(widths), start=1):
            self.add_module(f"block{block}", Residual(enter, leave))
        self.add_module(f"block{blocks - 1}", Last(widths[-1] * LAST**2, self.slots * width))

    def forward(self, image: Tensor) -> Tensor:
        """Codes ws (N, L, C), absolute, of pictures (N, channels, R, R) in [-1, 1].

        Raises:
            UsageError: another number of channels or size.
        """
        wanted = (self.channels, self.size, self.size)
        if image.ndim != 4 or image.shape[1:] != wanted:
            raise UsageError(f"image: expected (N, *{wanted}), got {tuple(image.shape)}")
        for block in self.children():
            image = block(image)
        return image.unflatten(1, (self.slots, self.width))

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """The arguments that build the network of a state dict.

        Raises:
            TediError: the name of a tensor that is missing, or has an odd shape.
        """
        base, channels, _, _ = shape_of(state, "block0.conv.weight", ndim=4)
        last = 1
        while f"block{last}.conv1.weight" in state:
            last += 1
        name = f"block{last}.fc.weight"
        leave, enter = shape_of(state, name, ndim=2)
        slots = 2 * last
        if leave % slots or enter % LAST**2:
            parts = f"({slots} C, {LAST**2} D) after {last} blocks"
            raise TediError(f"{name}: expected {parts}, got {(leave, enter)}")
        config: Config = {"resolution": 2 ** (last + 1), "channels": channels}
        return config | {"width": leave // slots, "base": base, "most": enter // LAST**2}
