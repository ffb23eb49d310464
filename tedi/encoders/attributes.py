"""What a picture shows: attributes from pixels, and the features they are read from.

The trunk is EfficientNet-lite0 (Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excitation
and with ReLU6), its batch norms folded into the convolutions. It knows nothing of W and of texts,
which makes it the judge of both.
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi import attributes

# (expansion, kernel, stride of the first block, channels, blocks) of each stage.
STAGES = (
    *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)),
    *((6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)),
)
SIZE = 224  # pixels the trunk was trained on
MAPS = (2, 4, 10, 15)  # blocks whose outputs are compared as perceptual features
FEATURES = 1280


class Conv(nn.Conv2d):
    """Convolution whose stride-2 form pads as TensorFlow does, below and to the right."""

    def __init__(
        self, enter: int, leave: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(enter, leave, kernel, stride=stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        total = self.kernel_size[0] - self.stride[0]  # for sizes that the stride divides
        return super().forward(F.pad(x, [total // 2, total - total // 2] * 2) if total > 0 else x)


class InvertedBottleneck(nn.Module):
    """Expand by 1x1, filter each channel, project by 1x1; added to the input where shapes allow."""

    def __init__(self, enter: int, leave: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = enter * expansion
        self.expand = Conv(enter, wide, 1) if expansion > 1 else None
        self.filter = Conv(wide, wide, kernel, stride=stride, groups=wide)
        self.project = Conv(wide, leave, 1)
        self.residual = stride == 1 and enter == leave

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.filter(y)))
        return x + y if self.residual else y


class AttributeModel(nn.Module):
    """Pictures -> logits of all attribute values; see `tedi.attributes` for the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Conv(3, 32, 3, stride=2)
        blocks, enter = [], 32
        for expansion, kernel, stride, leave, count in STAGES:
            for nth in range(count):
                step = stride if nth == 0 else 1
                blocks.append(
                    InvertedBottleneck(
                        enter, leave, expansion=expansion, kernel=kernel, stride=step
                    )
                )
                enter = leave
        self.blocks = nn.ModuleList(blocks)
        self.top = Conv(enter, FEATURES, 1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(FEATURES, len(attributes.COLUMNS))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, V) of pictures (N, 3, H, W) in [-1, 1]; softmax them within each group."""
        return self.head(self.drop(self.features(image)))

    def features(self, image: Tensor) -> Tensor:
        """Pooled features (N, 1280) of pictures (N, 3, H, W)."""
        return F.relu6(self.top(self.maps(image)[-1])).mean(dim=(2, 3))

    def maps(self, image: Tensor) -> list[Tensor]:
        """Feature maps at 56, 28, 14 and 7 px, (N, D, h, h), for perceptual distances."""
        return tapped(self.stem, self.blocks, _resize(image), MAPS)


def tapped(
    stem: nn.Module, blocks: nn.ModuleList, image: Tensor, taps: Collection[int]
) -> list[Tensor]:
    """What the blocks of a trunk whose numbers are in `taps` make of pictures (N, 3, H, W)."""
    x = F.relu6(stem(image.contiguous(memory_format=torch.channels_last)))
    found = []
    for number, block in enumerate(blocks):
        x = block(x)
        if number in taps:
            found.append(x)
    return found


def _resize(image: Tensor) -> Tensor:
    if image.shape[-2:] == (SIZE, SIZE):
        return image
    return F.interpolate(image, (SIZE, SIZE), mode="bilinear", antialias=True)


def fold_batch_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State of the trunk, without head, from the released EfficientNet-lite0 (ImageNet).

    A batch norm after a convolution is a scale and a shift of its output: w' = w γ/σ and
    b' = β − μ γ/σ.
    """
    pairs = {"stem": ("_conv_stem", "_bn0"), "top": ("_conv_head", "_bn1")}
    for key in state:
        if key.startswith("_blocks.") and key.endswith("_depthwise_conv.weight"):
            number = key.split(".")[1]
            old, new = f"_blocks.{number}.", f"blocks.{number}."
            pairs[f"{new}expand"] = (f"{old}_expand_conv", f"{old}_bn0")
            pairs[f"{new}filter"] = (f"{old}_depthwise_conv", f"{old}_bn1")
            pairs[f"{new}project"] = (f"{old}_project_conv", f"{old}_bn2")
    folded = {}
    for new, (conv, norm) in pairs.items():
        if f"{conv}.weight" in state:
            scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-3)
            folded[f"{new}.weight"] = state[f"{conv}.weight"] * scale[:, None, None, None]
            folded[f"{new}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return folded
