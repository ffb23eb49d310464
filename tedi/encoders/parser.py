"""Which part of a face each pixel shows: the trunk of the attribute model and a light decoder.

The decoder adds up the trunk's maps from coarse to fine, as a feature pyramid does (Lin et al.
2017, arXiv 1612.03144); each sum is filtered by a depthwise separable convolution. Its finest map
is half the picture's size.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.attributes import AttributeModel, Conv, tapped

SIZE = 256  # pixels a picture is parsed at
STRIDE = 32  # what the sides of a picture must be multiples of
CLASSES = 19
# Blocks of the trunk whose outputs are read, with their channels and those of the decoder there;
# strides 2, 4, 8, 16 and 32.
TAPS = ((0, 16, 32), (2, 24, 64), (4, 40, 96), (10, 112, 96), (15, 320, 96))


class Merge(nn.Module):
    """A map of the trunk and the coarser one of the decoder -> the decoder's map there."""

    def __init__(self, side: int, enter: int, leave: int) -> None:
        super().__init__()
        self.side = Conv(side, leave, 1)
        self.coarse = Conv(enter, leave, 1) if enter != leave else None
        self.filter = Conv(leave, leave, 5, groups=leave)
        self.mix = Conv(leave, leave, 1)

    def forward(self, side: Tensor, coarse: Tensor | None = None) -> Tensor:
        x = self.side(side)
        if coarse is not None:
            coarse = coarse if self.coarse is None else self.coarse(coarse)
            x = x + _resize(coarse, side.shape[-2:])
        return F.relu6(x + self.mix(F.relu6(self.filter(x))))


class FaceParser(nn.Module):
    """Pictures of aligned faces -> logits of the classes of `tedi.modalities.labels`."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        trunk = AttributeModel()
        self.stem, self.blocks = trunk.stem, trunk.blocks
        enters = [leave for _, _, leave in TAPS[1:]] + [TAPS[-1][2]]
        self.merges = nn.ModuleList(
            Merge(side, enter, leave) for (_, side, leave), enter in zip(TAPS, enters, strict=True)
        )
        self.head = Conv(TAPS[0][2], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 19, 256, 256) of pictures (N, 3, H, W) in [-1, 1], looked at at 256 px."""
        image = image if image.shape[-2:] == (SIZE, SIZE) else _reduce(image)
        return _resize(self.scores(image), image.shape[-2:])

    def scores(self, image: Tensor) -> Tensor:
        """Logits (N, 19, H/2, W/2) of pictures whose sides are multiples of 32."""
        return self.head(merged(self.merges, self.maps(image)))

    def maps(self, image: Tensor) -> list[Tensor]:
        """Maps of the trunk, (N, D, h, w), at strides 2, 4, 8, 16 and 32."""
        return tapped(self.stem, self.blocks, image, {block for block, _, _ in TAPS})

    def labels(self, image: Tensor) -> Tensor:
        """Class numbers (N, H, W), uint8, of pictures (N, 3, H, W), at their own size."""
        best: Tensor = _resize(self(image), image.shape[-2:]).argmax(dim=1)
        return best.to(torch.uint8)


def merged(merges: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Maps added up from the smallest to the largest, each by its own `Merge`."""
    x = merges[-1](maps[-1])
    for side, merge in reversed(list(zip(maps[:-1], merges[:-1], strict=True))):
        x = merge(side, x)
    return x


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear") if x.shape[-2:] != size else x


def _reduce(image: Tensor) -> Tensor:
    return F.interpolate(image, (SIZE, SIZE), mode="bilinear", antialias=True)
