"""Binomial low-pass filters, with which StyleGAN1 and StyleGAN2 blur and resample.

[1, 2, 1] is the blur of "A Style-Based Generator Architecture for Generative Adversarial Networks"
(Karras et al. 2019, arXiv 1812.04948), [1, 3, 3, 1] that of "Analyzing and Improving the Image
Quality of StyleGAN" (Karras et al. 2020, arXiv 1912.04958). Outside a picture there are zeros. The
filters are symmetric, so that correlation and convolution agree.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PREVIEW = 256  # px


class Binomial(nn.Module):
    """The same filter of sum 1 over every channel; it adds nothing to a state dict.

    Args:
        taps: of a side; 2 is [1, 1] / 2, 3 is [1, 2, 1] / 4, 4 is [1, 3, 3, 1] / 8.
    """

    kernel: Tensor  # (1, 1, taps, taps)

    def __init__(self, taps: int) -> None:
        super().__init__()
        side = torch.tensor([float(math.comb(taps - 1, i)) for i in range(taps)])
        kernel = (side[:, None] * side / side.sum() ** 2)[None, None]
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor, *, padding: int = 0, stride: int = 1, gain: float = 1.0) -> Tensor:
        """Filtered activations.

        Args:
            x: (N, C, H, W).
            padding: zeros on each of the four sides.
            stride: 2 keeps every second pixel, from the first.
            gain: sum of the filter.

        Returns:
            (N, C, H', W') with H' = (H + 2 padding - taps) // stride + 1; new.
        """
        return F.conv2d(x, self._spread(x, gain), None, stride, padding, groups=x.shape[1])

    def up(self, x: Tensor) -> Tensor:
        """Twice the size (N, C, 2H, 2W), by four taps: zeros put in between, then the filter."""
        return F.conv_transpose2d(x, self._spread(x, 4.0), None, 2, 1, groups=x.shape[1])

    def _spread(self, x: Tensor, gain: float) -> Tensor:
        return (self.kernel.to(x.dtype) * gain).expand(x.shape[1], -1, -1, -1)


def fast_layout(x: Tensor) -> Tensor:
    """The same numbers laid out as convolutions are fastest: channels last on a CPU."""
    last = x.device.type == "cpu"
    return x.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def preview_of(image: Tensor) -> Tensor:
    """(N, 3, 256, 256): the mean over areas of a larger picture, a smaller one made larger."""
    if image.shape[-1] == PREVIEW:
        return image
    if image.shape[-1] > PREVIEW:
        return F.interpolate(image, (PREVIEW, PREVIEW), mode="area")
    return F.interpolate(image, (PREVIEW, PREVIEW), mode="bilinear", align_corners=False)
