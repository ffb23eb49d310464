"""Mapping and synthesis networks of StyleGAN3; `StyleGAN3` is what others use.

Section 3 of "Alias-Free Generative Adversarial Networks" (Karras et al. 2021, arXiv 2106.12423).

The original normalises styles by their mean square over the batch, which demodulation cancels but
for its epsilon; here it is the mean over each row. Rows are drawn one by one up to the filters,
because products of matrices round otherwise in a batch: a picture is the same bits in any.
"""

import math
from collections.abc import Mapping as Map

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.errors import UsageError
from tedi.generators.stylegan3_filters import Resampling, filtered_leaky_relu, lowpass
from tedi.generators.stylegan3_layers import Design, Layer, Point, layer_table


class FullyConnected(nn.Module):
    """Affine map whose weight is scaled when used: x (N, in) -> (N, out)."""

    def __init__(
        self, fan_in: int, fan_out: int, *, rate: float = 1.0, scale: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) * (scale / rate))
        self.bias = nn.Parameter(torch.full((fan_out,), bias / rate))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        gain = self.rate / math.sqrt(self.weight.shape[1])
        return F.linear(x, self.weight * gain, self.bias * self.rate)


class MappingNetwork(nn.Module):
    """z (N, Z) -> w (N, C), absolute: unit mean square, then layers with leaky ReLU of gain √2."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        for i in range(layers):
            self.add_module(f"fc{i}", FullyConnected(w_dim if i else z_dim, w_dim, rate=0.01))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.children():
            x = F.leaky_relu(layer(x), 0.2) * 2**0.5
        return x


class FourierInput(nn.Module):
    """Sines of random frequencies, moved and turned by a style, then a linear map of channels."""

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, width: int, point: Point) -> None:
        super().__init__()
        self.point = point
        directions = torch.randn(point.channels, 2)
        radii = directions.square().sum(dim=1, keepdim=True).sqrt()
        spread = radii * radii.square().exp() ** 0.25  # about uniform within the cutoff
        self.weight = nn.Parameter(torch.randn(point.channels, point.channels))
        self.affine = FullyConnected(width, 4, scale=0.0)
        with torch.no_grad():
            self.affine.bias[0] = 1.0  # no rotation, no translation
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", directions / spread * point.cutoff)
        self.register_buffer("phases", torch.rand(point.channels) - 0.5)

    def style(self, w: Tensor) -> Tensor:
        """(N, 4): cosine, sine and translation, the first two of unit length."""
        t = self.affine(w)
        return t / t[:, :2].norm(dim=1, keepdim=True)

    def forward(self, style: Tensor, transform: Tensor) -> Tensor:
        matrix = self._learned(style) @ transform
        waves = self.freqs @ matrix[:, :2, :2]  # (N, C, 2)
        phases = self.phases + (self.freqs @ matrix[:, :2, 2:]).squeeze(2)  # (N, C)
        cutoff, rate, size = self.point.cutoff, self.point.rate, self.point.size
        fade = 1 - (waves.norm(dim=2) - cutoff) / (rate / 2 - cutoff)
        place = torch.arange(size, device=style.device, dtype=style.dtype)
        place = (place + 0.5 - size / 2)[:, None] / rate  # picture widths from the middle
        x, y = (place * wave[:, None] for wave in waves.unbind(dim=2))  # (N, size, C)
        angle = y[:, :, None] + x[:, None] + phases[:, None, None]  # (N, size, size, C)
        signal = torch.sin(2 * math.pi * angle) * fade.clamp(0, 1)[:, None, None]
        out = signal @ (self.weight / math.sqrt(len(self.weight))).T
        return out.permute(0, 3, 1, 2)  # (N, C, size, size)

    @staticmethod
    def _learned(style: Tensor) -> Tensor:
        """Matrices (N, 3, 3) of the styles; inverse, as coordinates are transformed."""
        c, s, tx, ty = style.unbind(dim=1)
        zero, one = torch.zeros_like(c), torch.ones_like(c)
        turn = torch.stack([c, -s, zero, s, c, zero, zero, zero, one], dim=1)
        move = torch.stack([one, zero, -tx, zero, one, -ty, zero, zero, one], dim=1)
        return turn.view(-1, 3, 3) @ move.view(-1, 3, 3)


class SynthesisLayer(nn.Module):
    """Modulated convolution, bias, and the leaky ReLU between filters; the last has no filters."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, width: int, layer: Layer, *, clamp: float) -> None:
        super().__init__()
        inputs, outputs = layer.source.channels, layer.target.channels
        self.layer, self.clamp = layer, clamp
        self.affine = FullyConnected(width, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, layer.kernel, layer.kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude_ema", torch.ones([]))
        up, down = _filters(layer)
        self.register_buffer("up_filter", up)
        self.register_buffer("down_filter", down)

    def style(self, w: Tensor) -> Tensor:
        """(N, inputs); that of colours includes the scale of its weights."""
        style = self.affine(w)
        return style / math.sqrt(style.shape[1]) if self.layer.colours else style

    def modulated(self, style: Tensor) -> Tensor:
        """The weight (outputs, inputs, kernel, kernel) that one row's style (inputs,) makes."""
        gain = torch.rsqrt(self.magnitude_ema)
        if self.layer.colours:
            return self.weight * (style * gain)[:, None, None]
        square = self.weight.square().mean(dim=(1, 2, 3), keepdim=True)
        weight = self.weight * torch.rsqrt(square)
        style = style * torch.rsqrt(style.square().mean())
        power = weight.square().sum(dim=(2, 3)) @ style.square()  # (outputs,)
        scale = torch.rsqrt(power + 1e-8)[:, None] * (style * gain)
        return weight * scale[:, :, None, None]

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        rows = [self._convolved(row, s) for row, s in zip(x.split(1), style, strict=True)]
        x = torch.cat(rows) if len(rows) > 1 else rows[0]
        if self.layer.colours:
            return x.clamp(-self.clamp, self.clamp)
        none = x.new_ones(1)
        up = none if self.up_filter is None else self.up_filter
        down = none if self.down_filter is None else self.down_filter
        plan = Resampling(
            up=self.layer.up,
            down=self.layer.down,
            pad=self.layer.padding[0],
            size=self.layer.target.size,
            clamp=self.clamp,
        )
        return filtered_leaky_relu(x, up, down, plan)

    def _convolved(self, x: Tensor, style: Tensor) -> Tensor:
        """One row's modulated convolution and bias."""
        kernel = self.layer.kernel
        # A single point is the same at any dilation; with it, PyTorch takes oneDNN's way also on
        # one thread, in half the time.
        dilation = 2 if kernel == 1 and x.device.type == "cpu" else 1
        weight = self.modulated(style)
        return F.conv2d(x, weight, self.bias, padding=kernel - 1, dilation=dilation)


def _filters(layer: Layer) -> tuple[Tensor | None, Tensor | None]:
    """The filters that raise and lower the rate, float32 on the device of new tensors."""
    ends = (layer.up_taps, layer.source, False), (layer.down_taps, layer.target, layer.radial)
    up, down = (
        None
        if taps == 1
        else lowpass(
            taps=taps,
            cutoff=point.cutoff,
            width=2 * point.half_width,
            rate=layer.raised,
            radial=radial,
        )
        for taps, point, radial in ends
    )
    return _here(up), _here(down)


def _here(values: Tensor | None) -> Tensor | None:
    return None if values is None else torch.empty(values.shape).copy_(values)


class SynthesisNetwork(nn.Module):
    """ws (N, L, C) -> image (N, 3, H, W); a transform takes the place of the file's."""

    def __init__(self, width: int, design: Design, *, clamp: float, scale: float) -> None:
        super().__init__()
        self.width, self.scale = width, scale
        table = layer_table(design)
        self.names = tuple(layer.name for layer in table)
        self.input = FourierInput(width, table[0].source)
        for layer in table:
            self.add_module(layer.name, SynthesisLayer(width, layer, clamp=clamp))

    @property
    def layers(self) -> list[SynthesisLayer]:
        """In the order of drawing."""
        found = [self.get_submodule(name) for name in self.names]
        return [layer for layer in found if isinstance(layer, SynthesisLayer)]

    def check(self, ws: Tensor) -> None:
        """Raise UsageError if ws are not codes of this network."""
        slots = len(self.names) + 1
        if ws.ndim != 3 or ws.shape[1:] != (slots, self.width):
            raise UsageError(f"ws: expected (N, {slots}, {self.width}), got {tuple(ws.shape)}")

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes in the order of drawing.

        Each row by itself, as all that follows: products of matrices round otherwise in a batch.
        """
        self.check(ws)
        parts: dict[str, FourierInput | SynthesisLayer]
        parts = {"input": self.input, **dict(zip(self.names, self.layers, strict=True))}
        return {
            name: torch.cat([part.style(w) for w in ws[:, slot].split(1)])
            for slot, (name, part) in enumerate(parts.items())
        }

    def start(self, styles: Map[str, Tensor], transform: Tensor | None) -> Tensor:
        """The input (N, D, size, size)."""
        style = _style(styles, "input", 4)
        n = len(style)
        transform = self.input.transform if transform is None else transform.to(style)
        if transform.shape not in ((3, 3), (n, 3, 3)):
            got = tuple(transform.shape)
            raise UsageError(f"transform: expected (3, 3) or ({n}, 3, 3), got {got}")
        rows = zip(style.split(1), transform.expand(n, 3, 3), strict=True)
        return torch.cat([self.input(row, matrix) for row, matrix in rows])

    def advance(self, x: Tensor, styles: Map[str, Tensor], first: int, stop: int) -> Tensor:
        """Activations after layer `stop` - 1, from those before layer `first`."""
        for name, layer in list(zip(self.names, self.layers, strict=True))[first:stop]:
            x = layer(x, _style(styles, name, layer.layer.source.channels))
        return x

    def finish(self, x: Tensor, styles: Map[str, Tensor], first: int) -> Tensor:
        """Pictures from the activations before layer `first`."""
        return self.advance(x, styles, first, len(self.names)).contiguous() * self.scale

    def forward(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        styles = self.styles(ws)
        return self.finish(self.start(styles, transform), styles, 0)


def _style(styles: Map[str, Tensor], name: str, channels: int) -> Tensor:
    if name not in styles:
        raise UsageError(f"styles: expected {name}, got {', '.join(styles) or 'none'}")
    style = styles[name]
    if style.ndim != 2 or style.shape[1] != channels:
        raise UsageError(f"styles[{name}]: expected (N, {channels}), got {tuple(style.shape)}")
    return style
