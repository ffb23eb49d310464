"""Parts of StyleGAN2: mapping, modulated convolutions and the block that is drawn at one size.

Section numbers are those of "Analyzing and Improving the Image Quality of StyleGAN" (Karras et al.
2020, arXiv 1912.04958).

Styles scale activations, not weights (section 2.2 says why both are the same): the weights of a
convolution are then the same for a whole batch, and no gradient of weights is computed on the way
to a code.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.errors import UsageError
from tedi.generators.equalized import Conv, Linear, pixel_norm
from tedi.generators.filters import Binomial, fast_layout
from tedi.generators.slots import check_rows


class MappingNetwork(nn.Module):
    """z (N, Z), and labels of a generator of classes, to w (N, C), absolute and not truncated.

    Pixel norm, then `depth` layers with leaky ReLU of gain √2 and learning rate 0.01 (Karras et
    al. 2019, appendix C). Labels are embedded, normalised and set beside z, as in ADA's release.
    """

    def __init__(
        self, z_width: int, width: int, *, depth: int, classes: int = 0, average: bool = True
    ) -> None:
        super().__init__()
        self.z_width, self.depth, self.classes = z_width, depth, classes
        fan_in = z_width + (width if classes else 0)
        for i in range(depth):
            self.add_module(f"fc{i}", Linear(width if i else fan_in, width, rate=0.01))
        if classes:
            self.embed = Linear(classes, width)
        if average:
            self.register_buffer("w_avg", torch.zeros(width))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes w.

        Args:
            z: (N, Z).
            labels: (N, K), one-hot; of a generator of K classes alone.

        Raises:
            UsageError: another shape, or labels given or missing.
        """
        check_rows("z", z, self.z_width)
        if not self.classes:
            if labels is not None:
                raise UsageError("labels: this generator has no classes; leave them out")
            return self.transform(pixel_norm(z))
        return self.transform(torch.cat([pixel_norm(z), self.embedded(labels)], dim=1))

    def transform(self, x: Tensor) -> Tensor:
        """Codes of rows that are normalised already."""
        for i in range(self.depth):
            x = F.leaky_relu(self.get_submodule(f"fc{i}")(x), 0.2) * math.sqrt(2)
        return x

    def embedded(self, labels: Tensor | None) -> Tensor:
        """Labels (N, K) as normalised rows (N, C).

        Raises:
            UsageError: none, or of another shape.
        """
        if labels is None:
            expected = f"(N, {self.classes}), one-hot, as this network tells classes apart"
            raise UsageError(f"labels: expected {expected}, got none")
        check_rows("labels", labels, self.classes)
        return pixel_norm(self.embed(labels))


class ModulatedConv(nn.Module):
    """Modulated 3x3 convolution, demodulated (section 2.2), then noise, bias and leaky ReLU.

    Doubling the size is a transposed convolution of stride 2, then [1, 3, 3, 1]. All gains are
    applied before the activation, which is homogeneous.
    """

    noise_const: Tensor  # (size, size)

    def __init__(
        self, fan_in: int, fan_out: int, size: int, *, width: int, up: bool, clamp: float
    ) -> None:
        super().__init__()
        self.affine = Linear(width, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(size, size))
        self.blur = Binomial(4) if up else None
        self.clamp, self.noisy = clamp, True

    def forward(self, x: Tensor, style: Tensor, *, gain: float = 1.0) -> Tensor:
        """Activations (N, O, size, size) of (N, I, …) and a style (N, I), times `gain`; new."""
        clamp, gain = self.clamp * gain, gain * math.sqrt(2)
        squares = style.square() @ self.weight.square().sum(dim=(2, 3)).T
        demodulation = torch.rsqrt(squares + 1e-8) * gain
        x = self._convolve(x * style[:, :, None, None])
        x = torch.addcmul((self.bias * gain)[:, None, None], x, demodulation[:, :, None, None])
        # In place from here on: no gradient needs the sum without noise.
        if self.noisy:
            x.add_(self.noise_const * (self.noise_strength * gain))
        return clamped(F.leaky_relu_(x, 0.2), clamp)

    def _convolve(self, x: Tensor) -> Tensor:
        if self.blur is None:
            return F.conv2d(x, self.weight, padding=1)
        x = F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
        return self.blur(x, padding=1, gain=4.0)


def clamped(x: Tensor, most: float) -> Tensor:
    """Values within ±most; 0 clamps nothing."""
    return x.clamp(-most, most) if most else x


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to a picture, not demodulated."""

    def __init__(self, fan_in: int, *, width: int, clamp: float) -> None:
        super().__init__()
        self.affine = Linear(width, fan_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, fan_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.clamp, self.gain = clamp, fan_in**-0.5

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        # A product of matrices, (N, HW, I) with (N, I, 3): it reads x once and scales no copy.
        weight = self.weight[:, :, 0, 0].T * (style * self.gain)[:, :, None]
        pixels = torch.baddbmm(self.bias, x.permute(0, 2, 3, 1).flatten(1, 2), weight)
        image = pixels.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        return clamped(image, self.clamp)


class Block(nn.Module):
    """What is drawn at one size: conv0 to twice the size, conv1, and a step of the picture."""

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        size: int,
        *,
        width: int,
        clamp: float,
        colors: bool,
        residual: bool,
    ) -> None:
        super().__init__()
        if fan_in:
            self.conv0 = ModulatedConv(fan_in, fan_out, size, width=width, up=True, clamp=clamp)
        else:
            self.const = nn.Parameter(torch.randn(fan_out, size, size))
        self.conv1 = ModulatedConv(fan_out, fan_out, size, width=width, up=False, clamp=clamp)
        self.torgb = ToRGB(fan_out, width=width, clamp=clamp) if colors else None
        self.skip = Conv(fan_in, fan_out, 1, bias=False) if fan_in and residual else None
        self.resample = Binomial(4)

    def modulated(self) -> dict[str, Linear]:
        """Affine layers by the name of what they modulate, in the order of drawing."""
        named = {name: getattr(self, name, None) for name in ("conv0", "conv1", "torgb")}
        return {name: layer.affine for name, layer in named.items() if layer is not None}

    def first(self, x: Tensor | None, styles: Mapping[str, Tensor]) -> Tensor:
        """Activations after conv0; those that the picture begins with at 4 px."""
        if x is None:
            x = self.const.expand(styles["conv1"].shape[0], -1, -1, -1)
            return fast_layout(x)
        return self.conv0(x, styles["conv0"])

    def forward(self, x: Tensor | None, styles: Mapping[str, Tensor]) -> Tensor:
        """Activations (N, O, size, size) after conv1."""
        hidden = self.first(x, styles)
        if self.skip is None or x is None:
            return self.conv1(hidden, styles["conv1"])
        # One half of the variance comes through each branch (section 4.1).
        past = self.resample.up(self.skip(x, gain=math.sqrt(0.5)))
        return past + self.conv1(hidden, styles["conv1"], gain=math.sqrt(0.5))

    def paint(self, x: Tensor, image: Tensor | None, styles: Mapping[str, Tensor]) -> Tensor | None:
        """The picture at this size from that of half the size."""
        past = None if image is None else self.resample.up(image)
        if self.torgb is None:
            return past
        new = self.torgb(x, styles["torgb"])
        return new if past is None else past + new
