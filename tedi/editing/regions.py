"""Edits of a region: pictures and activations of several codes, joined along masks.

A mask (1 or N, 1, h, w) of any size is 1 where the edit shows and 0 where what was there stays.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.masks import fit_mask, soften

FEATHER = 8.0  # pixels of the picture
CHANGED = (0.06, 0.25)  # mean change of a channel, of 2, that is none yet, and that is a full one


def draw_regions(
    generator: Generator,
    ws: Tensor,
    tops: Sequence[tuple[Tensor, Tensor]],
    *,
    at: int = 32,
    feather: float = FEATHER,
) -> Tensor:
    """Pictures (N, 3, H, W) of a code that other codes lie on, each in a mask of its own.

    The activations at a resolution are joined first, so that shapes agree across the borders. Then
    each code's own later layers draw them, which hold colour and texture, and these pictures are
    joined softly: colour stays where the mask is.

    Args:
        generator: that draws.
        ws: (N, L, C), shows where no mask is.
        tops: codes (N, L, C) and where they show, (1 or N, 1, h, w); later ones lie on top.
        at: resolution of the activations in pixels; finer ones keep more of what was outside.
        feather: standard deviation, in pixels, of the Gaussian that softens a mask's edge.

    Raises:
        UsageError: shapes that do not fit, or a resolution the generator does not have.
    """
    content = generator.features(ws, at)
    for code, mask in tops:
        content = torch.lerp(content, generator.features(code, at), fit_mask(mask, content))
    image = generator.synthesis_from(content, ws)
    for code, mask in tops:
        shown = soften(fit_mask(mask, image), feather)
        image = torch.lerp(image, generator.synthesis_from(content, code), shown)
    return image


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
