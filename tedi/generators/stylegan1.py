"""StyleGAN1's generator, in plain PyTorch.

Matches "A Style-Based Generator Architecture for Generative Adversarial Networks" (Karras et al.
2019, arXiv 1812.04948) at its full resolution, with genforce's tensor names; and the variant that
"In-Domain GAN Inversion for Real Image Editing" (Zhu et al. 2020, arXiv 2004.00049) retrained and
TediGAN draws with: its mapping gives each slot a w of its own, and its pictures end in tanh.

Style slots (L = 2 log2(R) - 2): 2i and 2i + 1 are the two layers of 4 · 2ⁱ px. The heads of smaller
pictures, which progressive growing leaves behind, stay in the state dict and draw nothing.

Doubling the size is one operation in two versions: the original repeats pixels and then convolves,
or, from 128 px on, convolves transposed with the kernel spread by one pixel. The second with its
kernel turned by 180° is the first; both are drawn as a transposed convolution of stride 2, a box
and the blur, a quarter of the repeating version's arithmetic.

Activations are held channels-first, unlike StyleGAN2's: normalisation hands rounding on from layer
to layer, and a CPU's channels-last convolutions, if a quarter faster, round twice as coarsely.
"""

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.errors import UsageError
from tedi.generators.equalized import Conv, Linear, pixel_norm
from tedi.generators.filters import Binomial, preview_of
from tedi.generators.shapes import (
    Config,
    check_fit,
    numbered,
    shape_of,
    sizes_in_file,
    sizes_up_to,
    widths,
)
from tedi.generators.slots import (
    check_choice,
    check_rows,
    check_size,
    check_styles,
    check_ws,
    mixing_groups,
    slots_of,
)

NOISES = ("const", "none")
BASE = 16_384  # channels times size, where there are fewer than 512


class MappingNetwork(nn.Module):
    """z (N, Z) to w (N, C), or to (N, L, C) where each slot has its own; absolute, not truncated.

    Pixel norm, then `depth` layers with leaky ReLU and learning rate 0.01 (appendix C).
    """

    def __init__(self, z_width: int, hidden: int, shape: tuple[int, ...], *, depth: int) -> None:
        super().__init__()
        self.z_width, self.shape, self.depth = z_width, shape, depth
        fans = [z_width, *[hidden] * (depth - 1), math.prod(shape)]
        for i in range(depth):
            layer = Linear(fans[i], fans[i + 1], gain=math.sqrt(2), rate=0.01)
            self.add_module(f"dense{i}", layer)

    def forward(self, z: Tensor) -> Tensor:
        check_rows("z", z, self.z_width)
        x = pixel_norm(z)
        for i in range(self.depth):
            x = F.leaky_relu(self.get_submodule(f"dense{i}")(x), 0.2)
        return x.unflatten(1, self.shape)


class Truncation(nn.Module):
    """Holds the mean of w, (C,) or (L · C,)."""

    w_avg: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("w_avg", torch.zeros(size))


class Noise(nn.Module):
    """A constant picture of noise, added to each channel times a weight."""

    noise: Tensor  # (1, 1, size, size)

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.register_buffer("noise", torch.randn(1, 1, size, size))


class Layer(nn.Module):
    """Convolution, noise, bias and leaky ReLU, and then, apart, normalisation and style.

    Args:
        fan_in: channels that come in; 0 for the first layer, which begins with a constant.
        fan_out: channels.
        size: px that go out.
        width: C.
        up: whether the size is doubled.
        turned: whether it is doubled as by repeating pixels.
    """

    def __init__(
        self, fan_in: int, fan_out: int, size: int, *, width: int, up: bool, turned: bool
    ) -> None:
        super().__init__()
        if fan_in:
            self.weight = nn.Parameter(torch.randn(fan_out, fan_in, 3, 3))
        else:
            self.const = nn.Parameter(torch.ones(1, fan_out, size, size))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.apply_noise = Noise(fan_out, size)
        self.style = Linear(width, 2 * fan_out)
        self.gain = math.sqrt(2 / (9 * fan_in)) if fan_in else 1.0
        self.up, self.turned, self.noisy = up, turned, True
        self.box, self.blur = Binomial(2), Binomial(3)

    def forward(self, x: Tensor | None, count: int) -> Tensor:
        """Activations (N, D, size, size) before normalisation; new.

        Args:
            x: what the layer before gives; None where there is none.
            count: N.
        """
        x = self._convolved(x, count)
        # In place from here on: no gradient needs the sum without noise.
        if self.noisy:
            x.addcmul_(self.apply_noise.noise, self.apply_noise.weight[:, None, None])
        return F.leaky_relu_(x, 0.2)

    def styled(self, x: Tensor, style: Tensor) -> Tensor:
        """Activations normalised, of scale style₀ + 1 and mean style₁ (section 2, equation 1)."""
        x = x - x.mean(dim=(2, 3), keepdim=True)
        variance = x.square().mean(dim=(2, 3), keepdim=True)
        scale, mean = style[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(mean, x, (scale + 1) * torch.rsqrt(variance + 1e-8))

    def _convolved(self, x: Tensor | None, count: int) -> Tensor:
        bias = self.bias[:, None, None]
        if x is None:
            return self.const.expand(count, -1, -1, -1) + bias
        weight = self.weight * self.gain
        if not self.up:
            return F.conv2d(x, weight, self.bias, padding=1)
        weight = weight.flip(2, 3) if self.turned else weight
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        # The box cuts the border off before the blur sees it, so the two are not one filter.
        return self.blur(self.box(x, gain=4.0), padding=1).add_(bias)


class Synthesis(nn.Module):
    """ws (N, L, C) -> image (N, 3, R, R)."""

    def __init__(
        self, channels: dict[int, int], *, width: int, fused_from: int, final_tanh: bool
    ) -> None:
        super().__init__()
        self.sizes, self.width, self.final_tanh = tuple(channels), width, final_tanh
        for i, (size, fan_out) in enumerate(channels.items()):
            fan_in, turned = channels.get(size // 2, 0), size < fused_from
            first = Layer(fan_in, fan_out, size, width=width, up=i > 0, turned=turned)
            second = Layer(fan_out, fan_out, size, width=width, up=False, turned=False)
            self.add_module(f"layer{2 * i}", first)
            self.add_module(f"layer{2 * i + 1}", second)
            self.add_module(f"output{i}", Conv(fan_out, 3, 1))

    def layers(self) -> dict[str, Layer]:
        """Layers by name, in the order of drawing; each has the slot of its place."""
        names = [f"layer{i}" for i in range(2 * len(self.sizes))]
        return {name: cast("Layer", self.get_submodule(name)) for name in names}

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes."""
        layers = self.layers()
        check_ws(ws, len(layers), self.width)
        return {n: layer.style(ws[:, i]) for i, (n, layer) in enumerate(layers.items())}

    def forward(self, ws: Tensor) -> Tensor:
        return self.draw(self.styles(ws))

    def draw(self, styles: Mapping[str, Tensor]) -> Tensor:
        """Pictures of S-space codes."""
        return self.resume(self.features(styles, 4), styles)

    def features(self, styles: Mapping[str, Tensor], at: int) -> Tensor:
        """Activations of the first layer of `at` px, before its normalisation."""
        x, last = None, f"layer{2 * self.sizes.index(at)}"
        for name, layer in self.layers().items():
            x = layer(x, len(styles[name]))
            if name == last:
                break
            x = layer.styled(x, styles[name])
        return cast("Tensor", x)

    def resume(self, x: Tensor, styles: Mapping[str, Tensor]) -> Tensor:
        """Pictures from what `features` gives."""
        start = 2 * self.sizes.index(x.shape[-1])
        x = x.contiguous()  # a mean's rounding depends on the layout
        for i, (name, layer) in enumerate(self.layers().items()):
            if i > start:
                x = layer(x, x.shape[0])
            if i >= start:
                x = layer.styled(x, styles[name])
        image = self.get_submodule(f"output{len(self.sizes) - 1}")(x)
        return cast("Tensor", image.tanh() if self.final_tanh else image)


class StyleGAN1(nn.Module):
    """The generator: z (N, Z), w (N, C) or (N, L, C), ws (N, L, C), image (N, 3, R, R).

    Args:
        resolution: R, px; a power of two from 8 on.
        channels: at each size, 4 px first, as in "512,512,256"; "" is the paper's, which is
            min(16384 / size, 512).
        width: C.
        z_width: Z.
        hidden: width of the mapping network's inner layers.
        depth: its number of layers.
        own_w: each slot has a w of its own: `mapping` gives (N, L, C), and `w_avg` is (L, C).
            False repeats one w.
        final_tanh: pictures end in tanh, as those of in-domain inversion do. No tensor tells it.
        fused_from: size in px from which on up-sampling is fused with convolution, which turns the
            kernel; 128 in all published networks. No tensor tells it.
        noise: "const" is the noise that the network holds, "none" is none. May be set later.

    Raises:
        UsageError: a value that is not among these.
    """

    name = "stylegan1"

    def __init__(
        self,
        *,
        resolution: int = 1024,
        channels: str = "",
        width: int = 512,
        z_width: int = 512,
        hidden: int = 512,
        depth: int = 8,
        own_w: bool = False,
        final_tanh: bool = False,
        fused_from: int = 128,
        noise: str = "const",
    ) -> None:
        super().__init__()
        sizes = sizes_up_to(resolution)
        by_size = widths(channels, sizes, base=BASE)
        self.resolution, self.slots = resolution, 2 * len(sizes)
        self.width, self.z_width = width, z_width
        self.config: Config = {
            "resolution": resolution,
            "channels": ",".join(map(str, by_size.values())),
            "width": width,
            "z_width": z_width,
            "hidden": hidden,
            "depth": depth,
            "own_w": own_w,
            "final_tanh": final_tanh,
            "fused_from": fused_from,
        }
        shape = (self.slots, width) if own_w else (width,)
        self.mapping = MappingNetwork(z_width, hidden, shape, depth=depth)
        self.truncation = Truncation(math.prod(shape))
        self.synthesis = Synthesis(
            by_size, width=width, fused_from=fused_from, final_tanh=final_tanh
        )
        self.noise = noise

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """Arguments for a state dict, by names and shapes alone.

        `final_tanh`, `fused_from` and `noise`, which nothing there tells, get their defaults.
        `truncation.w_avg` may be missing.

        Raises:
            TediError: a tensor is missing, left over or of another shape.
        """
        heads = numbered(state, r"synthesis\.output(\d{1,2})\.weight", least=2)
        sizes = sizes_in_file(4 * 2 ** heads[-1])
        convs = [f"synthesis.layer{2 * i + 1}" for i in range(len(sizes))]
        channels = [shape_of(state, f"{conv}.weight", 4)[0] for conv in convs]
        width = shape_of(state, f"{convs[0]}.style.weight", 2)[1]
        depth = len(numbered(state, r"mapping\.dense(\d{1,4})\.weight", least=1))
        hidden, z_width = shape_of(state, "mapping.dense0.weight", 2)
        out = shape_of(state, f"mapping.dense{depth - 1}.weight", 2)[0]
        config: Config = {
            "resolution": sizes[-1],
            "channels": ",".join(map(str, channels)),
            "width": width,
            "z_width": z_width,
            "hidden": hidden if depth > 1 else 512,
            "depth": depth,
            "own_w": out != width,
            "final_tanh": False,
            "fused_from": 128,
            "noise": "const",
        }
        return check_fit(state, cls, config)

    @property
    def w_avg(self) -> Tensor:
        """Mean of w: (C,), or a view (L, C) where each slot has its own w."""
        return self.truncation.w_avg.unflatten(0, self.mapping.shape)

    @property
    def noise(self) -> str:
        """What is added to activations, "const" or "none"; may be set."""
        return str(self.config["noise"])

    @noise.setter
    def noise(self, noise: str) -> None:
        check_choice("noise", noise, NOISES)
        self.config["noise"] = noise
        for layer in self.synthesis.layers().values():
            layer.noisy = noise == "const"

    def preview(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256): the synthesis, reduced by area or enlarged."""
        return preview_of(self.synthesis(ws))

    def layers(self, group: str | int) -> tuple[int, ...]:
        """Slots of "coarse" (4, 8 px), "medium" (16, 32), "fine" (64 up) or "all", or of a size.

        >>> StyleGAN1(resolution=16, channels="8,8,8").layers(16)
        (4, 5)

        Raises:
            UsageError: no such group or size.
        """
        groups = mixing_groups(self.slots)
        for i, size in enumerate(self.synthesis.sizes):
            groups[size] = range(2 * i, 2 * i + 2)
        return slots_of(group, groups)

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes, "layer0" -> (N, 2 channels), scales minus 1 and then means.

        Raises:
            UsageError: `ws` of another shape.
        """
        return self.synthesis.styles(ws)

    def synthesis_from_styles(self, styles: dict[str, Tensor]) -> Tensor:
        """Pictures (N, 3, R, R) of S-space codes as `styles` gives them.

        Raises:
            UsageError: a layer's style is missing or left over.
        """
        check_styles(styles, self.synthesis.layers())
        return self.synthesis.draw(styles)

    def features(self, ws: Tensor, at: int) -> Tensor:
        """Activations (N, D, at, at) at 4, 8 … R px.

        They are those of the first layer of that size before it is normalised and styled, which is
        where BDInvert (Kang et al. 2021, arXiv 2108.08998) has its base code: that layer's slot
        still draws.

        Raises:
            UsageError: no such size.
        """
        check_size(at, self.synthesis.sizes)
        return self.synthesis.features(self.styles(ws), at)

    def synthesis_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Pictures (N, 3, R, R) from `features` of any size and the slots from there on.

        With `features(ws, at)` unchanged this is `synthesis(ws)`; the F/W+ space of BDInvert
        varies both.

        Raises:
            UsageError: features of another shape.
        """
        at = features.shape[-1]
        check_size(at, self.synthesis.sizes)
        layer = self.synthesis.layers()[f"layer{2 * self.synthesis.sizes.index(at)}"]
        expected = (len(ws), len(layer.bias), at, at)
        if features.shape != expected:
            raise UsageError(f"features: expected {expected}, got {tuple(features.shape)}")
        return self.synthesis.resume(features, self.styles(ws))

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Previews (N, 3, 256, 256) from `features` of any size and the slots from there on.

        Raises:
            UsageError: features of another shape.
        """
        return preview_of(self.synthesis_from(features, ws))
