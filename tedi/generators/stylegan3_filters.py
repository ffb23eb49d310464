"""Low-pass filters of StyleGAN3 and the leaky ReLU between them.

Matches "Alias-Free Generative Adversarial Networks" (Karras et al. 2021, arXiv 2106.12423): a
layer's nonlinearity acts at twice the sampling rate (section 3.2, `filtered_leaky_relu` here), and
its filters are Kaiser-windowed sincs or, for rotations, radial jincs (appendix C).

On a CPU the output is made in tiles, whose operands stay in the cache, and none of the four or
sixteen times larger pictures in between ever exists. The few samples of the input that a tile sees
are raised by two products with small matrices, which compute no zero, and lowered by strided
depthwise convolutions. Elsewhere, and for compilers, all are depthwise convolutions.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# An output tile at most; the fastest of 12 to 44 and of 32 up, with 1 MB of cache a core.
TILE = 24  # pixels a side
CHANNELS = 256


def kaiser_beta(taps: int, width: float) -> float:
    """Shape of the Kaiser window whose filter of `taps` has this transition width.

    Kaiser's formulas (Oppenheim and Schafer, "Discrete-Time Signal Processing").

    Args:
        taps: length of the filter.
        width: of the transition band, 1 is the Nyquist frequency.
    """
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95  # dB
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def bessel_j1(x: Tensor) -> Tensor:
    """Bessel's J1 of float64 values up to 60, to 2e-15; PyTorch's own errs by 5e-7.

    By his integral, the mean over t of cos(t - x sin t): that is a smooth periodic function, so
    that its mean over equal steps is exact within rounding.
    """
    t = torch.arange(128, dtype=x.dtype, device=x.device) * (2 * math.pi / 128)
    return torch.cos(t - x[..., None] * torch.sin(t)).mean(dim=-1)


def lowpass(*, taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor:
    """Low-pass filter of unit sum: a windowed sinc, or a windowed jinc that looks alike all round.

    Appendix C of the paper. The window of the jinc is separable, as in the published networks.

    Args:
        taps: length, more than 1.
        cutoff: frequency of half amplitude, in the unit of `rate`.
        width: of the transition band, in the same unit.
        rate: samples a unit of length.
        radial: whether to give the two-dimensional jinc.

    Returns:
        (taps,) or, if radial, (taps, taps), float64, on the CPU.
    """
    place = torch.arange(taps, dtype=torch.float64, device="cpu") - (taps - 1) / 2
    beta = torch.tensor(kaiser_beta(taps, 2 * width / rate), dtype=torch.float64, device="cpu")
    edge = (1 - (2 * place / max(taps - 1, 1)).square()).clamp(min=0)
    window = torch.special.i0(beta * edge.sqrt()) / torch.special.i0(beta)
    if radial:
        radius = torch.hypot(place[:, None], place) / rate
        # Of an odd length the middle is the limit of J1(ax)/x at 0, a/2.
        jinc = bessel_j1(2 * math.pi * cutoff * radius) / (math.pi * radius)
        kernel = torch.where(radius == 0, cutoff, jinc) * window[:, None] * window
    else:
        kernel = torch.sinc(2 * cutoff / rate * place) * window
    return kernel / kernel.sum()


@dataclass(frozen=True)
class Resampling:
    """What `filtered_leaky_relu` does beside the values of its filters.

    Attributes:
        up: factor of the sampling rate at which the nonlinearity acts, over the input's.
        down: factor of it over the output's.
        pad: samples of zeros before the first, at the raised rate; below 0 cuts.
        size: height and width of the output in samples.
        gain: factor of the nonlinearity.
        slope: of the negative half.
        clamp: bound of the magnitude.
    """

    up: int
    down: int
    pad: int
    size: int
    gain: float = 2**0.5
    slope: float = 0.2
    clamp: float = 256.0


def filtered_leaky_relu(x: Tensor, up: Tensor, down: Tensor, plan: Resampling) -> Tensor:
    """Raised rate, leaky ReLU, clamp, lowered rate.

    Section 3.2 of the paper. The first filter is separable; the second may be of two dimensions.
    On a CPU the backward pass recomputes what lies between, so that a gradient costs no memory
    at the raised rate; a gradient of that gradient is not defined there.

    Args:
        x: (N, C, H, W).
        up: (taps,), the filter after raising the rate.
        down: (taps,) or (taps, taps), the filter before lowering it.
        plan: rates, sizes and the nonlinearity.

    Returns:
        (N, C, plan.size, plan.size), new; channels last on a CPU.
    """
    up = up.to(x.dtype).flip(0) * (plan.up * plan.gain**0.5)  # as used, and once for each axis
    down = down.to(x.dtype).flip(tuple(range(down.ndim)))
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        x = x.contiguous(memory_format=torch.channels_last)
        return _Tiled.apply(x, up, down, plan)  # type: ignore[no-untyped-call]
    return _convolved(x, up, down, plan)


def _activate(x: Tensor, plan: Resampling) -> Tensor:
    """The nonlinearity in place, where no gradient is recorded; the filter before has its gain."""
    return F.hardtanh_(F.leaky_relu_(x, plan.slope), -plan.clamp, plan.clamp)


def _convolved(x: Tensor, up: Tensor, down: Tensor, plan: Resampling) -> Tensor:
    """By depthwise convolutions: one for each phase of the raised rate, then a strided one."""
    C, taps = x.shape[1], len(up)
    size = (plan.size - 1) * plan.down + len(down)  # at the raised rate
    first, last = -plan.pad // plan.up, (size - 1 - plan.pad) // plan.up
    reach = -(-taps // plan.up)
    phases = torch.stack([_phase(up, r, plan.up, reach) for r in range(plan.up)])  # (up, reach+1)
    kernel = torch.einsum("ia,jb->ijab", phases, phases).flatten(0, 1)[:, None]
    below, right = (last + reach + 1 - length for length in x.shape[2:])
    x = F.pad(x, (-first, right, -first, below))
    x = F.pixel_shuffle(F.conv2d(x, kernel.repeat(C, 1, 1, 1), groups=C), plan.up)
    start = -plan.pad - plan.up * first
    x = F.leaky_relu(x[:, :, start : start + size, start : start + size], plan.slope)
    x = x.clamp(-plan.clamp, plan.clamp)
    if down.ndim == 2:
        return F.conv2d(x, down.expand(C, 1, -1, -1), stride=plan.down, groups=C)
    x = F.conv2d(x, down[:, None].expand(C, 1, -1, -1), stride=(plan.down, 1), groups=C)
    return F.conv2d(x, down.expand(C, 1, 1, -1), stride=(1, plan.down), groups=C)


def _phase(taps: Tensor, r: int, up: int, reach: int) -> Tensor:
    """Weights (reach + 1,) that input samples have in the r-th of `up` samples between two."""
    return _band(taps, torch.tensor([r]), up * torch.arange(reach + 1))[0]


def _band(taps: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Matrix (rows, columns) of a filter, from the places of its samples on one grid."""
    offset = columns.to(taps.device) - rows[:, None].to(taps.device)
    inside = (offset >= 0) & (offset < len(taps))
    return torch.where(inside, taps[offset.clamp(0, len(taps) - 1)], 0)


@dataclass(frozen=True)
class _Strip:
    """One axis of a tile: the samples of the output it gives, those of the input it sees."""

    output: slice
    input: slice
    rise: Tensor  # (raised, input), the filter that raises the rate


def _strips(length: int, up: Tensor, reach: int, plan: Resampling) -> Iterator[_Strip]:
    """The strips of an axis of `length` input samples; `reach` taps lower the rate again."""
    width = -(-plan.size // -(-plan.size // TILE))  # as even as can be
    for start in range(0, plan.size, width):
        stop = min(start + width, plan.size)
        raised = torch.arange(start * plan.down, (stop - 1) * plan.down + reach)
        first = max(0, -((plan.pad - int(raised[0])) // plan.up))
        last = min(length, (int(raised[-1]) + len(up) - 1 - plan.pad) // plan.up + 1)
        seen = torch.arange(first, max(first, last))
        rise = _band(up, raised, seen * plan.up + plan.pad)
        yield _Strip(slice(start, stop), slice(first, max(first, last)), rise)


def _raise(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """`rows` @ x @ `columns`ᵀ for each channel of x (H, W, C)."""
    x = torch.bmm(columns.expand(x.shape[0], -1, -1), x)
    return (rows @ x.flatten(1)).view(len(rows), len(columns), x.shape[2])


@dataclass(frozen=True)
class _Tile:
    """Two strips and some channels: where they lie in the input and in the output, (H, W, C)."""

    row: _Strip
    column: _Strip
    channels: slice

    @property
    def input(self) -> tuple[slice, slice, slice]:
        return self.row.input, self.column.input, self.channels

    @property
    def output(self) -> tuple[slice, slice, slice]:
        return self.row.output, self.column.output, self.channels


def _tiles(x: Tensor, up: Tensor, reach: int, plan: Resampling) -> Iterator[_Tile]:
    """The tiles that the output of x (N, C, H, W) is cut into."""
    _, C, H, W = x.shape
    rows, columns = (list(_strips(length, up, reach, plan)) for length in (H, W))
    for first in range(0, C, CHANNELS):
        for row in rows:
            for column in columns:
                yield _Tile(row, column, slice(first, first + CHANNELS))


class _Tiled(torch.autograd.Function):
    """Tile after tile, on activations with channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, plan: Resampling) -> Tensor:
        ctx.save_for_backward(x, up, down)
        ctx.plan = plan
        out = x.new_empty(x.shape[0], plan.size, plan.size, x.shape[1])
        fall = _Fall(down, plan.down)
        for source, target in zip(x.permute(0, 2, 3, 1), out, strict=True):
            for tile in _tiles(x, up, len(down), plan):
                raised = _raise(source[tile.input], tile.row.rise, tile.column.rise)
                target[tile.output] = fall(_activate(raised, plan))
        return out.permute(0, 3, 1, 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        x, up, down = ctx.saved_tensors
        plan: Resampling = ctx.plan
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        out = torch.zeros_like(x, memory_format=torch.channels_last)
        fall = _Fall(down, plan.down)
        last = (tensor.permute(0, 2, 3, 1) for tensor in (x, gradient, out))
        for source, given, target in zip(*last, strict=True):
            for tile in _tiles(x, up, len(down), plan):
                row, column = tile.row.rise, tile.column.rise
                raised = _raise(source[tile.input], row, column)
                change = fall.transposed(given[tile.output]) * _slope(raised, plan)
                target[tile.input] += _raise(change, row.T, column.T)
        return out, None, None, None


def _slope(x: Tensor, plan: Resampling) -> Tensor:
    """Derivative of the nonlinearity at x: 1, `slope`, or 0 where it is clamped."""
    inside = (x < plan.clamp) & (x * plan.slope > -plan.clamp)
    return torch.where(x < 0, x.new_tensor(plan.slope), x.new_ones(())) * inside


class _Fall:
    """The filter that lowers the rate of a tile (H, W, C), as depthwise convolutions."""

    def __init__(self, taps: Tensor, stride: int) -> None:
        if taps.ndim == 2:
            steps = [(taps, (stride, stride))]
        else:
            steps = [(taps[None], (1, stride)), (taps[:, None], (stride, 1))]
        self.steps = [(taps.repeat(CHANNELS, 1, 1, 1), stride) for taps, stride in steps]

    def __call__(self, x: Tensor) -> Tensor:
        # Batch axis first: added last, its stride would hide from PyTorch that channels are last.
        x, C = x[None].permute(0, 3, 1, 2), x.shape[2]
        for kernel, stride in self.steps:
            x = F.conv2d(x, kernel[:C], stride=stride, groups=C)
        return x.permute(0, 2, 3, 1)[0]

    def transposed(self, x: Tensor) -> Tensor:
        """The gradient of the tile, from that of what is made of it."""
        x, C = x[None].permute(0, 3, 1, 2), x.shape[2]
        for kernel, stride in reversed(self.steps):
            x = F.conv_transpose2d(x, kernel[:C], stride=stride, groups=C)
        return x.permute(0, 2, 3, 1)[0]
