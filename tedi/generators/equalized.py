"""Layers whose weights are kept at unit scale: the equalised learning rate.

"Progressive Growing of GANs for Improved Quality, Stability, and Variation" (Karras et al. 2018,
arXiv 1710.10196, section 4.1): weights are drawn from N(0, 1) and He's constant, gain / √fan_in,
is applied when the layer runs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pixel_norm(x: Tensor) -> Tensor:
    """Rows (N, C) of unit mean square: x / √(mean x² + 1e-8)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class Linear(nn.Module):
    """Rows (N, I) to (N, O): (gain · rate / √I) W x + rate · b.

    Args:
        fan_in: I.
        fan_out: O.
        gain: of He's constant; √2 where the activation after it has none.
        rate: learning rate relative to other layers; W starts as N(0, 1 / rate²).
        bias: what b starts as.
    """

    def __init__(
        self, fan_in: int, fan_out: int, *, gain: float = 1.0, rate: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / rate)
        self.bias = nn.Parameter(torch.full((fan_out,), bias))
        self.gain, self.rate = gain * rate * fan_in**-0.5, rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x * self.gain, self.weight, self.bias * self.rate)


class Conv(nn.Module):
    """Convolution (N, I, H, W) to (N, O, H', W'): (gain / √(k² I)) W * x + b.

    Args:
        fan_in: I.
        fan_out: O.
        side: k, of the kernel.
        gain: of He's constant.
        bias: whether there is a b, which starts as zeros.
    """

    def __init__(
        self, fan_in: int, fan_out: int, side: int, *, gain: float = 1.0, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in, side, side))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None
        self.gain = gain / (fan_in * side**2) ** 0.5

    def forward(self, x: Tensor, *, gain: float = 1.0, stride: int = 1, padding: int = 0) -> Tensor:
        """What the convolution gives, times `gain`; new."""
        bias = None if self.bias is None else self.bias * gain
        return F.conv2d(x, self.weight * (self.gain * gain), bias, stride, padding)
