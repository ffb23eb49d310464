"""Masks of pictures: (1 or N, 1, h, w) of any size, 1 where something holds and 0 where not."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError

REACH = 3  # standard deviations after which a Gaussian is cut off


def fit_mask(mask: Tensor, onto: Tensor) -> Tensor:
    """A mask (N, 1, H, W) for pictures or activations `onto` (N, D, H, W), a view or new.

    It is reduced by area and enlarged bilinearly, so that its values stay in [0, 1].

    Raises:
        UsageError: another shape, or values out of range.
    """
    if mask.ndim != 4 or mask.shape[0] not in (1, len(onto)) or mask.shape[1] != 1:
        raise UsageError(f"mask: expected (1 or {len(onto)}, 1, h, w), got {tuple(mask.shape)}")
    if not (mask.amin() >= 0 and mask.amax() <= 1):
        raise UsageError(f"mask: expected values in [0, 1], got {mask.amin():g} to {mask.amax():g}")
    sized, size = mask.to(onto), onto.shape[-2:]
    if mask.shape[-1] > size[-1]:
        sized = F.interpolate(sized, size, mode="area")
    elif mask.shape[-2:] != size:
        sized = F.interpolate(sized, size, mode="bilinear", align_corners=False)
    return sized.expand(len(onto), -1, -1, -1)


def soften(mask: Tensor, feather: float) -> Tensor:
    """A mask (N, 1, h, w) blurred by a Gaussian, new; what lies beyond its border is as on it.

    Args:
        mask: in [0, 1].
        feather: standard deviation in pixels of the mask; 0 leaves it as it is. Three of them
            outside it is 0 still.

    Raises:
        UsageError: a negative or infinite standard deviation.
    """
    if not 0 <= feather < math.inf:
        raise UsageError(f"feather: expected 0 or more, got {feather}")
    reach = math.ceil(REACH * feather)
    if not reach:
        return mask.clone()
    steps = torch.arange(-reach, reach + 1).to(mask)
    kernel = torch.exp(-0.5 * (steps / feather).square())
    kernel = kernel / kernel.sum()
    wide = F.pad(mask, (reach, reach, reach, reach), mode="replicate")
    rows = F.conv2d(wide, kernel.view(1, 1, 1, -1))
    return F.conv2d(rows, kernel.view(1, 1, -1, 1)).clamp(0, 1)
