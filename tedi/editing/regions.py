"""Edits of a region: two pictures, or two codes' activations, joined along a mask.

A mask (1 or N, 1, h, w) of any size is 1 where the edit shows and 0 where what was there stays.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.masks import fit_mask, soften

FEATHER = 8.0  # pixels of the picture
CHANGED = (0.06, 0.25)  # mean change of a channel, of 2, that is none yet, and that is a full one


def blend_pixels(
    before: Tensor, after: Tensor, mask: Tensor, *, feather: float = FEATHER
) -> Tensor:
    """Pictures (N, 3, H, W), new: `after` in the mask, `before` outside, joined softly.

    Args:
        before: (N, 3, H, W).
        after: (N, 3, H, W).
        mask: (1 or N, 1, h, w), resized to H x W.
        feather: standard deviation, in pixels, of the Gaussian that softens the mask's edge; 0
            leaves the mask as it is. Three of them outside it no pixel is changed.

    Raises:
        UsageError: shapes that do not fit, or values out of range.
    """
    if before.shape != after.shape:
        got = f"{tuple(before.shape)} and {tuple(after.shape)}"
        raise UsageError(f"before, after: expected equal shapes, got {got}")
    return torch.lerp(before, after, soften(fit_mask(mask, before), feather))


def blend_features(
    generator: Generator, ws_before: Tensor, ws_after: Tensor, mask: Tensor, *, at: int = 32
) -> Tensor:
    """Pictures (N, 3, H, W) whose activations at a resolution come from two codes along a mask.

    Content is joined before the later layers draw it, so no seam shows; those layers, and with
    them colours and texture everywhere, are those of `ws_after`.

    Args:
        generator: that draws.
        ws_before: (N, L, C), shows outside the mask.
        ws_after: (N, L, C), shows inside.
        mask: (1 or N, 1, h, w), reduced to the activations' size.
        at: resolution of the activations in pixels; finer ones keep more of what was outside.

    Raises:
        UsageError: shapes that do not fit, or a resolution the generator does not have.
    """
    before, after = (generator.features(ws, at) for ws in (ws_before, ws_after))
    return generator.synthesis_from(torch.lerp(before, after, fit_mask(mask, before)), ws_after)


def keep_detail(
    photo: Tensor, before: Tensor, after: Tensor, *, share: float = 1.0, feather: float = FEATHER
) -> Tensor:
    """Pictures (N, 3, H, W), new: the edit, with what the photo has and no code can draw.

    What an inversion misses, photo − before, is the same person's freckles and the same room. It
    is added to the edit where `after` is as `before`, and fades out where the edit changes things,
    so that an edit that changes nothing gives the photo back.

    Args:
        photo: the aligned face (N, 3, H, W).
        before: drawn from its code.
        after: drawn from the edited code.
        share: of the photo's detail that is kept, 0 to 1.
        feather: standard deviation, in pixels of 1024, of the borders.

    Raises:
        UsageError: shapes that do not fit, or values out of range.
    """
    if not photo.shape == before.shape == after.shape:
        got = ", ".join(str(tuple(t.shape)) for t in (photo, before, after))
        raise UsageError(f"photo, before, after: expected equal shapes, got {got}")
    if not 0 <= share <= 1:
        raise UsageError(f"detail: expected 0 to 1, got {share}")
    scale = photo.shape[-1] / 1024
    changed = (after - before).abs().mean(dim=1, keepdim=True)
    near = F.avg_pool2d(changed, 8, ceil_mode=True) if scale >= 0.5 else changed
    low, high = CHANGED
    mask = soften(((near - low) / (high - low)).clamp(0, 1), feather * near.shape[-1] / 1024)
    wide = F.max_pool2d(mask, 5, 1, 2)
    return after + share * (1 - fit_mask(wide, photo)) * (photo - before)
