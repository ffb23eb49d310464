"""MobileStyleGAN: StyleGAN2-FFHQ distilled into wavelets and depthwise-separable convolutions.

Matches the released FFHQ network of "MobileStyleGAN: A Lightweight Convolutional Neural Network
for High-Fidelity Image Synthesis" (Belousov 2021, arXiv 2104.04767): 1024 px, its mapping network
is StyleGAN2's, so its W is that of StyleGAN2-FFHQ.

`preview` is ours: a trained head (train/preview.py) that leaves after the 64 px block and draws
the 256 px picture with one more block, modulated by all the slots it skips.

Style slots (L = 16): 0 the 4 px stem; 1 + 2i and 2 + 2i the two convolutions of block i
(8 · 2ⁱ px, i = 0…6); 15 the image head. Activations are held channels-last, which is where the
depthwise and 1x1 convolutions of a CPU are fastest.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.errors import UsageError

SLOTS = 16
WIDTH = 512
CHANNELS = (512, 512, 512, 512, 256, 128, 64)  # out of block i, at 8 · 2ⁱ px
PREVIEW_BLOCKS = 4  # the preview leaves after the 64 px block
PREVIEW_SLOTS = ((9, 10), (9, 11), (10, 13), (11, 16))  # [first, end) of up, conv1, conv2, image
GROUPS = {"coarse": range(0, 5), "medium": range(5, 9), "fine": range(9, 16), "all": range(16)}


def inverse_haar(bands: Tensor, style: Tensor | None = None) -> Tensor:
    """Picture of twice the size from its four orthonormal Haar bands.

    Args:
        bands: (N, 4C, H, W), the low band's C channels, then LH, HL and HH (C each).
        style: (N, 4C), a factor for each channel; None is 1.

    Returns:
        (N, C, 2H, 2W), new, channels last.
    """
    bands = bands * (0.5 if style is None else 0.5 * style[:, :, None, None])
    if torch.compiler.is_compiling():  # fuses into one pass; eagerly, strided writes are faster
        N, _, H, W = bands.shape
        phases = _phases(bands)
        rows = [torch.stack(pair, dim=-1) for pair in (phases[:2], phases[2:])]
        out = torch.stack(rows, dim=3).reshape(N, -1, 2 * H, 2 * W)
        return out.contiguous(memory_format=torch.channels_last)
    if not (torch.is_grad_enabled() and bands.requires_grad):
        return _interleaved(bands)
    interleaved: Tensor = _Interleave.apply(bands)  # type: ignore[no-untyped-call]
    return interleaved


def haar(image: Tensor) -> Tensor:
    """Four orthonormal Haar bands (N, 4C, H/2, W/2) of (N, C, H, W); undone by `inverse_haar`."""
    return _bands(image) / 2


def _phases(bands: Tensor) -> tuple[Tensor, ...]:
    """Pixels (N, C, H, W) at even and odd rows and columns, twice as large as they are."""
    low, lh, hl, hh = bands.chunk(4, dim=1)
    top, bottom, left, right = low + lh, low - lh, hl + hh, hl - hh
    return top + left, top - left, bottom + right, bottom - right


def _bands(image: Tensor) -> Tensor:
    """Haar bands, twice as large as they are."""
    a, b, c, d = (image[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
    return torch.cat((a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d), dim=1)


def _interleaved(bands: Tensor) -> Tensor:
    """The pixels of `_phases` in their places, (N, C, 2H, 2W), channels last."""
    N, C, H, W = bands.shape
    out = torch.empty(
        (N, C // 4, 2 * H, 2 * W),
        dtype=bands.dtype,
        device=bands.device,
        memory_format=torch.channels_last,
    )
    for i, phase in enumerate(_phases(bands)):
        out[:, :, i // 2 :: 2, i % 2 :: 2] = phase
    return out


class _Interleave(torch.autograd.Function):
    """`_interleaved`, whose gradient is said: found, it copies each half of the bands four times.

    With it a gradient of a picture takes 0.8 of the time.
    """

    @staticmethod
    def forward(bands: Tensor) -> Tensor:
        return _interleaved(bands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing is kept: the step is linear."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _bands(gradient)


class Mapping(nn.Module):
    """z (N, 512) -> w (N, 512): pixel norm, then eight layers with leaky ReLU of gain √2."""

    def __init__(self, depth: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))

    def forward(self, z: Tensor) -> Tensor:
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2) * 2**0.5
        return x


class ModulatedConv(nn.Module):
    """Input times style, 3x3 convolution (dense or depthwise and 1x1), noise, bias, leaky ReLU.

    Demodulation and the noise's strength are folded into the released weights, so the layer is
    deterministic: the noise is a constant.
    """

    def __init__(
        self, fan_in: int, fan_out: int, size: int, *, slots: int = 1, separable: bool = True
    ) -> None:
        super().__init__()
        self.affine = nn.Linear(slots * WIDTH, fan_in)
        self.bias = nn.Parameter(torch.zeros(fan_out))
        self.noise = nn.Parameter(torch.zeros(1, 1, size, size))
        if separable:
            self.depthwise = nn.Parameter(torch.zeros(fan_in, 1, 3, 3))
            self.pointwise = nn.Parameter(torch.zeros(fan_out, fan_in))
        else:
            kernel = torch.zeros(fan_out, fan_in, 3, 3)  # kept as it is used: no copy a picture
            self.kernel = nn.Parameter(kernel.contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = x * style[:, :, None, None]
        if hasattr(self, "kernel"):
            x = F.conv2d(x, self.kernel, self.bias, padding=1)
        else:
            x = F.conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
            x = F.conv2d(x, self.pointwise[:, :, None, None], self.bias)
        # In place: both act on a fresh tensor whose value no gradient needs.
        return F.leaky_relu_(x.add_(self.noise), 0.2)


class Block(nn.Module):
    """Modulated inverse Haar step to twice the size, then two modulated convolutions."""

    def __init__(
        self, fan_in: int, fan_out: int, size: int, *, slots: tuple[int, int, int] = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.up = nn.Linear(slots[0] * WIDTH, fan_in)
        self.conv1 = ModulatedConv(fan_in // 4, fan_out, size, slots=slots[1])
        self.conv2 = ModulatedConv(fan_out, fan_out, size, slots=slots[2])

    def forward(self, x: Tensor, styles: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        x = inverse_haar(x, styles[0])
        return self.conv2(self.conv1(x, styles[1]), styles[2])


class ToImage(nn.Module):
    """Modulated 1x1 convolution to the picture's Haar bands, then the inverse Haar step."""

    def __init__(self, fan_in: int, *, slots: int = 1) -> None:
        super().__init__()
        self.affine = nn.Linear(slots * WIDTH, fan_in)
        self.pointwise = nn.Parameter(torch.zeros(12, fan_in))
        self.bias = nn.Parameter(torch.zeros(12))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = x * style[:, :, None, None]
        return inverse_haar(F.conv2d(x, self.pointwise[:, :, None, None], self.bias))


class Synthesis(nn.Module):
    """ws (N, 16, 512) -> image (N, 3, 1024, 1024)."""

    def __init__(self) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.zeros(1, 512, 4, 4))
        self.stem = ModulatedConv(512, 512, 4, separable=False)
        fans_in = (512, *CHANNELS[:-1])
        sizes = (8 * 2**i for i in range(len(CHANNELS)))
        self.blocks = nn.ModuleList(map(Block, fans_in, CHANNELS, sizes))
        self.to_image = ToImage(CHANNELS[-1])

    def styles(self, ws: Tensor, stop: int = len(CHANNELS)) -> dict[str, Tensor]:
        """S-space codes in the order of drawing, of blocks before `stop`; of all by default.

        An up step shares its block's first slot.
        """
        styles = {"stem": self.stem.affine(ws[:, 0])}
        for i, block in enumerate(self.blocks[:stop]):
            assert isinstance(block, Block)  # for the type checker
            styles[f"block{i}.up"] = block.up(ws[:, 1 + 2 * i])
            styles[f"block{i}.conv1"] = block.conv1.affine(ws[:, 1 + 2 * i])
            styles[f"block{i}.conv2"] = block.conv2.affine(ws[:, 2 + 2 * i])
        if stop == len(CHANNELS):
            styles["to_image"] = self.to_image.affine(ws[:, SLOTS - 1])
        return styles

    def features(self, styles: dict[str, Tensor], stop: int) -> Tensor:
        """Activations after block `stop` - 1 (0: after the stem)."""
        x = self.const.expand(styles["stem"].shape[0], -1, -1, -1)
        x = self.stem(x.contiguous(memory_format=torch.channels_last), styles["stem"])
        return self.advance(x, styles, 0, stop)

    def advance(self, x: Tensor, styles: dict[str, Tensor], start: int, stop: int) -> Tensor:
        """Activations after block `stop` - 1, from those before block `start`."""
        for i in range(start, stop):
            parts = (styles[f"block{i}.up"], styles[f"block{i}.conv1"], styles[f"block{i}.conv2"])
            x = self.blocks[i](x, parts)
        return x

    def forward(self, styles: dict[str, Tensor]) -> Tensor:
        x = self.features(styles, len(self.blocks))
        return self.to_image(x, styles["to_image"])


class Preview(nn.Module):
    """64 px activations and the slots after them -> image (N, 3, 256, 256).

    One narrow block at 128 px and an image head like those of `Synthesis`. Each of its styles is
    an affine of all the slots it stands in for, so that a change of any slot shows.
    """

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        up, conv1, conv2, image = (end - first for first, end in PREVIEW_SLOTS)
        fan_in = CHANNELS[PREVIEW_BLOCKS - 1]
        self.block = Block(fan_in, channels, 128, slots=(up, conv1, conv2))
        self.to_image = ToImage(channels, slots=image)

    def activations(self, x: Tensor, ws: Tensor) -> Tensor:
        """The block's output (N, D, 128, 128)."""
        up, conv1, conv2 = (ws[:, a:b].flatten(1) for a, b in PREVIEW_SLOTS[:3])
        block = self.block
        return block(x, (block.up(up), block.conv1.affine(conv1), block.conv2.affine(conv2)))

    def forward(self, x: Tensor, ws: Tensor) -> Tensor:
        first, end = PREVIEW_SLOTS[3]
        style = self.to_image.affine(ws[:, first:end].flatten(1))
        return self.to_image(self.activations(x, ws), style)


class MobileStyleGAN(nn.Module):
    """The generator: z (N, 512), w (N, 512), ws (N, 16, 512), image (N, 3, 1024, 1024)."""

    name = "mobilestylegan"
    resolution = 1024
    slots = SLOTS
    width = WIDTH
    w_avg: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mapping = Mapping()
        self.synthesizer = Synthesis()
        self.previewer = Preview()
        self.register_buffer("w_avg", torch.zeros(WIDTH))

    def synthesis(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 1024, 1024) of codes; about [-1.6, 1.4], not clamped."""
        return self.synthesizer(self.styles(ws))

    def preview(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256), close to the area-reduced synthesis at a fifth of its cost."""
        return self.previewer(self._features(ws, PREVIEW_BLOCKS), ws)

    def layers(self, group: str | int) -> tuple[int, ...]:
        """Slots of "coarse" (4-16 px), "medium" (32, 64), "fine" (128 up) or "all", or of a size.

        >>> MobileStyleGAN.layers(None, "medium")
        (5, 6, 7, 8)
        >>> MobileStyleGAN.layers(None, 8)
        (1, 2)
        """
        groups: dict[str | int, range] = {4: range(0, 1), 1024: range(15, 16)}
        groups.update({8 * 2**i: range(1 + 2 * i, 3 + 2 * i) for i in range(len(CHANNELS))})
        groups.update(GROUPS)
        if group not in groups:
            raise UsageError(f"layers: expected one of {', '.join(map(str, groups))}, got {group}")
        return tuple(groups[group])

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes, layer name -> (N, channels), in the order of drawing."""
        _check(ws)
        return self.synthesizer.styles(ws)

    def synthesis_from_styles(self, styles: dict[str, Tensor]) -> Tensor:
        """Pictures (N, 3, 1024, 1024) of S-space codes as `styles` gives them."""
        return self.synthesizer(styles)

    def features(self, ws: Tensor, at: int) -> Tensor:
        """Activations (N, D, at, at) after the block of `at` px: 8, 16, 32 … 512."""
        return self._features(ws, self._block(at) + 1)

    def synthesis_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 1024, 1024) from `features` of any size and the slots after them.

        With `features(ws, at)` unchanged this is `synthesis(ws)`; the F/W+ space of BDInvert
        (Kang et al. 2021, section 3.1) varies both.
        """
        start, styles = self._block(features.shape[-1]) + 1, self.styles(ws)
        x = self.synthesizer.advance(features, styles, start, len(CHANNELS))
        return self.synthesizer.to_image(x, styles["to_image"])

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Previews (N, 3, 256, 256) from `features` of 8 to 64 px and the slots after them.

        With `features(ws, at)` unchanged this is `preview(ws)`.
        """
        start = self._block(features.shape[-1]) + 1
        if start > PREVIEW_BLOCKS:
            size = features.shape[-1]
            raise UsageError(f"features: previews go on from 64 px at most, got {size} px")
        _check(ws)
        styles = self.synthesizer.styles(ws, PREVIEW_BLOCKS)
        return self.previewer(self.synthesizer.advance(features, styles, start, PREVIEW_BLOCKS), ws)

    def _features(self, ws: Tensor, stop: int) -> Tensor:
        _check(ws)
        return self.synthesizer.features(self.synthesizer.styles(ws, stop), stop)

    def _block(self, size: int) -> int:
        sizes = [8 * 2**i for i in range(len(CHANNELS))]
        if size not in sizes:
            raise UsageError(f"features: expected a size among {sizes} px, got {size}")
        return sizes.index(size)


def _check(ws: Tensor) -> None:
    """Raises a UsageError unless codes are (N, 16, 512)."""
    if ws.ndim != 3 or ws.shape[1:] != (SLOTS, WIDTH):
        raise UsageError(f"ws: expected (N, {SLOTS}, {WIDTH}), got {tuple(ws.shape)}")
