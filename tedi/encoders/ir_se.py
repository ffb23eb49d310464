"""The IR-SE trunk: ArcFace tells faces apart by it, pSp, e4e and ReStyle read codes with it.

Its blocks are those of "ArcFace" (Deng et al. 2019, arXiv 1801.07698) with squeeze
and excitation (Hu et al. 2018, arXiv 1709.01507). All parts are named as in released files:
`input_layer` and `body`.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.shapes import count_of, shape_of
from tedi.errors import TediError, UsageError

REDUCTION = 16  # of channels in the squeeze
# Blocks of each group by the depth that names the network. Groups have 1, 2, 4 and 8 times the
# trunk's width, and the first block of each halves the map. Depth 10 is for trying things out.
DEPTHS = {10: (1, 1, 1, 1), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}


class Excite(nn.Module):
    """Squeeze and excitation: channels weighed by what their means say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // REDUCTION, 1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1, bias=False)
        self.fc2 = nn.Conv2d(squeezed, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))).sigmoid()


class Bottleneck(nn.Module):
    """ArcFace's improved residual block; `excited` makes it IR-SE's."""

    def __init__(self, enter: int, leave: int, stride: int, *, excited: bool = True) -> None:
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)
            if enter == leave
            else nn.Sequential(
                nn.Conv2d(enter, leave, 1, stride=stride, bias=False), nn.BatchNorm2d(leave)
            )
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(enter),
            nn.Conv2d(enter, leave, 3, padding=1, bias=False),
            nn.PReLU(leave),
            nn.Conv2d(leave, leave, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(leave),
            *([Excite(leave)] if excited else []),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut_layer(x) + self.res_layer(x)


def input_layer(channels: int, width: int = 64) -> nn.Sequential:
    """What makes maps (N, width, H, W) of pictures (N, channels, H, W)."""
    conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.PReLU(width))


def body(depth: int = 50, width: int = 64, *, excited: bool = True) -> nn.Sequential:
    """The blocks: (N, width, H, W) -> (N, 8 width, H/16, W/16).

    Raises:
        UsageError: no such depth.
    """
    blocks, enter = [], width
    for leave, count in zip(group_widths(width), counts_of(depth), strict=True):
        for nth in range(count):
            blocks.append(Bottleneck(enter, leave, 1 if nth else 2, excited=excited))
            enter = leave
    return nn.Sequential(*blocks)


def counts_of(depth: int) -> tuple[int, ...]:
    """Blocks of each group.

    Raises:
        UsageError: no such depth.
    """
    if depth not in DEPTHS:
        raise UsageError(f"depth: expected one of {', '.join(map(str, DEPTHS))}, got {depth}")
    return DEPTHS[depth]


def group_widths(width: int) -> tuple[int, ...]:
    """Channels of the four groups of blocks."""
    return tuple(width * 2**group for group in range(4))


def maps(blocks: nn.Sequential, x: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """What leaves each group of blocks, the finest map first.

    Args:
        blocks: all groups in a row.
        x: what enters the first.
        counts: blocks of each group.
    """
    ends, found = set(accumulate(counts)), []
    for number, block in enumerate(blocks, start=1):
        x = block(x)
        if number in ends:
            found.append(x)
    return found


def read_depth(
    state: Mapping[str, Tensor], conv: str, width: int, depths: Mapping[int, tuple[int, ...]]
) -> int:
    """Depth of a trunk, read off the channels that leave each of its blocks.

    Args:
        state: of a network.
        conv: name of a block's first convolution, with braces for the block's number.
        width: channels that enter the first block.
        depths: blocks of each group, by depth.

    Raises:
        TediError: the blocks are of no known depth.
    """
    total = count_of(state, conv)
    channels = [shape_of(state, conv.format(number), ndim=4)[0] for number in range(total)]
    counts = tuple(channels.count(leave) for leave in group_widths(width))
    for depth, known in depths.items():
        if counts == known and sum(counts) == total:
            return depth
    told = " or ".join(str(known) for known in depths.values())
    raise TediError(f"{conv.format('*')}: expected {told} blocks in four groups, got {counts}")
