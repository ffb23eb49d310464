"""Discriminators of StyleGAN1 and StyleGAN2: pictures (N, 3, R, R) to logits of being real (N, 1).

They go with tedi/generators/stylegan1.py and tedi/generators/stylegan2.py, and follow the same
papers.
"""

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.errors import UsageError
from tedi.generators.equalized import Conv, Linear
from tedi.generators.filters import Binomial, fast_layout
from tedi.generators.modulated import MappingNetwork, clamped
from tedi.generators.shapes import (
    Config,
    check_fit,
    numbered,
    shape_of,
    sizes_in_file,
    sizes_up_to,
    widths,
)

SQRT2 = math.sqrt(2)


def with_deviation(x: Tensor, group: int) -> Tensor:
    """Activations and one channel more: how much the pictures of a group differ (Karras 2018, 3).

    Picture i is of group i mod (N / group).

    Args:
        x: (N, C, H, W).
        group: pictures; fewer make one group.

    Raises:
        UsageError: N is no multiple of `group`.
    """
    N, C, H, W = x.shape
    group = min(group, N)
    if N % group:
        raise UsageError(f"image: expected a multiple of {group} pictures, got {N}")
    parts = x.reshape(group, -1, C, H, W)
    deviation = (parts - parts.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt()
    channel = deviation.mean(dim=(1, 2, 3)).repeat(group)[:, None, None, None]
    return torch.cat([x, channel.expand(-1, 1, H, W)], dim=1)


def _check_image(image: Tensor, resolution: int) -> None:
    expected = (3, resolution, resolution)
    if image.ndim != 4 or image.shape[1:] != expected:
        numbers = ", ".join(map(str, expected))
        raise UsageError(f"image: expected (N, {numbers}), got {tuple(image.shape)}")


class ResidualBlock(nn.Module):
    """Two convolutions to half the size, and a linear way past them."""

    def __init__(self, fan_in: int, fan_out: int, *, clamp: float, enters: bool) -> None:
        super().__init__()
        self.fromrgb = Conv(3, fan_in, 1) if enters else None
        self.conv0 = Conv(fan_in, fan_in, 3)
        self.conv1 = Conv(fan_in, fan_out, 3)
        self.skip = Conv(fan_in, fan_out, 1, bias=False)
        self.blur = Binomial(4)
        self.clamp = clamp

    def forward(self, x: Tensor) -> Tensor:
        if self.fromrgb is not None:
            x = self._active(self.fromrgb(x, gain=SQRT2))
        past = self.skip(self.blur(x, padding=1, stride=2), gain=SQRT2 / 2)
        x = self._active(self.conv0(x, gain=SQRT2, padding=1))
        # √2 of the activation and √½ of the sum of two branches cancel.
        x = F.leaky_relu_(self.conv1(self.blur(x, padding=2), stride=2), 0.2)
        return cast("Tensor", past + clamped(x, self.clamp * math.sqrt(0.5)))

    def _active(self, x: Tensor) -> Tensor:
        return clamped(F.leaky_relu_(x, 0.2), self.clamp)


class Epilogue(nn.Module):
    """Activations (N, C, 4, 4) to logits (N, 1), or (N, C) where there are classes."""

    def __init__(self, channels: int, *, clamp: float, group: int, classes: int) -> None:
        super().__init__()
        self.conv = Conv(channels + 1, channels, 3)
        self.fc = Linear(channels * 16, channels)
        self.out = Linear(channels, channels if classes else 1)
        self.clamp, self.group = clamp, group

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(with_deviation(x, self.group), gain=SQRT2, padding=1)
        x = clamped(F.leaky_relu_(x, 0.2), self.clamp)
        x = F.leaky_relu(self.fc(x.flatten(1)), 0.2) * SQRT2
        return cast("Tensor", self.out(x))


class StyleGAN2Discriminator(nn.Module):
    """StyleGAN2's residual discriminator, with the tensor names of ADA's PyTorch release.

    Args:
        resolution: R, px; a power of two from 8 on.
        channels: at each size, 4 px first, as in "512,512,256"; "" is config f's.
        classes: K, of labels that go with the pictures; 0 is none.
        depth: layers of the labels' mapping network.
        conv_clamp: activations are kept within ±conv_clamp; 0 for none. No tensor tells it.
        group: pictures whose deviation is taken. No tensor tells it.

    Raises:
        UsageError: a value that is not among these.
    """

    name = "stylegan2"

    def __init__(
        self,
        *,
        resolution: int = 1024,
        channels: str = "",
        classes: int = 0,
        depth: int = 8,
        conv_clamp: float = 0.0,
        group: int = 4,
    ) -> None:
        super().__init__()
        self.sizes = sizes_up_to(resolution)
        by_size = widths(channels, self.sizes, base=32_768)
        self.resolution, self.classes, clamp = resolution, classes, float(conv_clamp)
        self.config: Config = {
            "resolution": resolution,
            "channels": ",".join(map(str, by_size.values())),
            "classes": classes,
            "depth": depth,
            "conv_clamp": clamp,
            "group": group,
        }
        for size in self.sizes[:0:-1]:
            fans = by_size[size], by_size[size // 2]
            block = ResidualBlock(*fans, clamp=clamp, enters=size == resolution)
            self.add_module(f"b{size}", block)
        if classes:
            self.mapping = MappingNetwork(
                0, by_size[4], depth=depth, classes=classes, average=False
            )
        self.b4 = Epilogue(by_size[4], clamp=clamp, group=group, classes=classes)

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """Arguments for a state dict, by names and shapes alone; the rest are defaults.

        Raises:
            TediError: a tensor is missing, left over or of another shape.
        """
        resolution = numbered(state, r"b(\d{1,6})\.conv0\.weight", least=1)[-1]
        larger = [f"b{size}.conv0.weight" for size in sizes_in_file(resolution)[1:]]
        names = ["b4.conv.weight", *larger]
        embedded = "mapping.embed.weight" in state
        config: Config = {
            "resolution": resolution,
            "channels": ",".join(str(shape_of(state, name, 4)[0]) for name in names),
            "classes": shape_of(state, "mapping.embed.weight", 2)[1] if embedded else 0,
            "depth": 8,
            "conv_clamp": 0.0,
            "group": 4,
        }
        if embedded:
            config["depth"] = len(numbered(state, r"mapping\.fc(\d{1,4})\.weight", least=1))
        return check_fit(state, cls, config)

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N, 1), more than 0 for real.

        Args:
            image: (N, 3, R, R); groups of pictures are compared with each other.
            labels: (N, K), of a discriminator of K classes alone.

        Raises:
            UsageError: another shape, a number of pictures that makes no groups, or labels given
                or missing.
        """
        _check_image(image, self.resolution)
        x = fast_layout(image)
        for size in self.sizes[:0:-1]:
            x = self.get_submodule(f"b{size}")(x)
        x = self.b4(x)
        if self.classes:
            asked = self.mapping.transform(self.mapping.embedded(labels))
            return (x * asked).sum(dim=1, keepdim=True) * x.shape[1] ** -0.5
        if labels is not None:
            raise UsageError("labels: this discriminator has no classes; leave them out")
        return x


class StyleGAN1Discriminator(nn.Module):
    """StyleGAN1's discriminator at its full resolution, with genforce's tensor names.

    Tensors are numbered from the picture to the logit: `input0` and layers 0 and 1 are of R px,
    layer 1 halves the size, and so on; the layers of 4 px are a convolution and two dense ones.
    `input1` and up, which progressive growing leaves behind, do nothing. Published files also
    hold `lod` and `layer1.blur.kernel`, constants that are not kept here. Names, scales and order
    are those of genforce's public code (also in its SeFa); no released file was at hand.

    Halving the size is a mean over areas after the convolution, or, from 128 px on, a convolution
    whose kernel is spread by one pixel; these are equal, and drawn as a box before the convolution.

    Args:
        resolution: R, px; a power of two from 8 on.
        channels: at each size, 4 px first, as in "512,512,256"; "" is min(16384 / size, 512).
        hidden: width of the dense layers.
        group: pictures whose deviation is taken. No tensor tells it.

    Raises:
        UsageError: a value that is not among these.
    """

    name = "stylegan1"

    def __init__(
        self, *, resolution: int = 1024, channels: str = "", hidden: int = 512, group: int = 4
    ) -> None:
        super().__init__()
        sizes = sizes_up_to(resolution)
        by_size = widths(channels, sizes, base=16_384)
        self.resolution, self.group, self.depth = resolution, group, len(sizes) - 1
        self.config: Config = {
            "resolution": resolution,
            "channels": ",".join(map(str, by_size.values())),
            "hidden": hidden,
            "group": group,
        }
        for i, size in enumerate(reversed(sizes)):
            fan_in = by_size[size]
            self.add_module(f"input{i}", Conv(3, fan_in, 1, gain=SQRT2))
            if size > 4:
                halved = Conv(fan_in, by_size[size // 2], 3, gain=SQRT2)
                layers: tuple[nn.Module, ...] = (Conv(fan_in, fan_in, 3, gain=SQRT2), halved)
            else:
                layers = (
                    Conv(fan_in + 1, fan_in, 3, gain=SQRT2),
                    Linear(fan_in * 16, hidden, gain=SQRT2),
                    Linear(hidden, 1),
                )
            for j, layer in enumerate(layers):
                self.add_module(f"layer{2 * i + j}", layer)
        self.blur, self.box = Binomial(3), Binomial(2)

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """Arguments for a state dict, by names and shapes alone; `group` is its default.

        Raises:
            TediError: a tensor is missing, left over or of another shape.
        """
        inputs = numbered(state, r"input(\d{1,2})\.weight", least=2)
        sizes = sizes_in_file(4 * 2 ** inputs[-1])
        names = [f"input{i}.weight" for i in reversed(range(len(sizes)))]
        config: Config = {
            "resolution": sizes[-1],
            "channels": ",".join(str(shape_of(state, name, 4)[0]) for name in names),
            "hidden": shape_of(state, f"layer{2 * len(sizes) - 1}.weight", 2)[0],
            "group": 4,
        }
        return check_fit(state, cls, config)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 1), more than 0 for real.

        Args:
            image: (N, 3, R, R); groups of pictures are compared with each other.

        Raises:
            UsageError: another shape, or a number of pictures that makes no groups.
        """
        _check_image(image, self.resolution)
        x = self._active("input0", fast_layout(image))
        for i in range(self.depth):
            x = self._active(f"layer{2 * i}", x, padding=1)
            x = self.box(self.blur(x, padding=1), padding=1)
            x = self._active(f"layer{2 * i + 1}", x, stride=2)
        last = 2 * self.depth
        x = self._active(f"layer{last}", with_deviation(x, self.group), padding=1)
        x = F.leaky_relu(self.get_submodule(f"layer{last + 1}")(x.flatten(1)), 0.2)
        return cast("Tensor", self.get_submodule(f"layer{last + 2}")(x))

    def _active(self, name: str, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
        conv = cast("Conv", self.get_submodule(name))
        return F.leaky_relu_(conv(x, stride=stride, padding=padding), 0.2)
