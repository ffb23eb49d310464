"""A frame with the difference that an edit makes laid over it: no seam, no second sampling."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tedi import images
from tedi.errors import UsageError
from tedi.faces import Alignment, align, paste_back
from tedi.masks import fit_mask, soften

# Of a picture with 1024 pixels a side: over how many a change is averaged, and borders are soft.
_NEAR, _FEATHER = 20.0, 8.0
_TONE = 40.0  # the same, over which a change is averaged where a lid takes it
CHANGED = (0.08, 0.2)  # mean change nearby, of 2, that is added, and that is drawn anew
MISSED = (0.08, 0.3)  # mean error of the inversion nearby at which additions begin to go, and go
_INNER = ((0.42, 0.74), (0.34, 0.66))  # of an aligned face: rows from brows to lips, columns
_GAIN = 1.6  # times that the light of a drawing may differ from the photo's
_BLACK = 0.02  # least level, of 2, that light is read at
_RIM = 0.5  # cells over which the border is soft between what may change and what may not
_MARGIN = 0.2  # sides around a face's square that are cut out with it

Compose = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Photo, before and after (1, 3, S, S) -> the face to be put back."""


def keep(
    photo: Tensor,
    before: Tensor,
    after: Tensor,
    *,
    share: float = 1.0,
    field: float = 0.0,
    head: Tensor | None = None,
    lids: Tensor | None = None,
) -> Tensor:
    """Pictures (N, 3, S, S), new: the photo, with what an edit changes.

    Where much changes nearby, the drawing is shown; where little does, that little is added to the
    photo, as far as the code drew the photo there. A head's outline that an edit moves by a hair is
    left alone so: what the code took for the outline may lie elsewhere in the photo, and a line
    would show beside it that moves with the face. The code may miss how bright the photo is: then
    drawings are given its light first, or what is drawn and what is kept would meet in a seam.

    Args:
        photo: the aligned face (N, 3, S, S).
        before: drawn from its code.
        after: drawn from the edited code.
        share: of the photo's detail that is kept, 0 to 1.
        field: sides of the aligned face that the pictures show more on every side.
        head: (1 or N, 1, h, w), 1 where the edit may change pixels, as `may_change` says, and 0
            where the photo stays; None: it may change all.
        lids: (1 or N, 1, h, w), 1 where the photo's eyes are closed, and the photo is shown in the
            tone of the change; None for open eyes.

    Raises:
        UsageError: shapes that do not fit, or a share out of range.
    """
    if not photo.shape == before.shape == after.shape:
        got = ", ".join(str(tuple(t.shape)) for t in (photo, before, after))
        raise UsageError(f"photo, before, after: expected equal shapes, got {got}")
    if not 0 <= share <= 1:
        raise UsageError(f"--detail: expected 0 to 1, got {share}")
    scale = photo.shape[-1] / (1 + 2 * field) / 1024
    light, drawn = _light(photo, before, field), after
    before, after = ((light * (image + 1) - 1).clamp(-1, 1) for image in (before, after))
    changed = soften(_rising(_nearby(after - before, _NEAR * scale), *CHANGED), _FEATHER * scale)
    trusted = 1 - _rising(_nearby(photo - before, _NEAR * scale), *MISSED)
    step = (1 - changed) * trusted * (after - before) + changed * (after - photo)
    if lids is not None:
        shut = fit_mask(lids, photo)
        step = (1 - shut) * step + shut * _tone(after - before, _TONE * scale)
    kept = photo + (step if head is None else step * fit_mask(head, photo))
    return drawn + share * (kept - drawn)


def _light(photo: Tensor, before: Tensor, field: float) -> Tensor:
    """Times (N, 3, 1, 1) that a photo's inner face is as bright as its drawing, by its median."""
    side = photo.shape[-1]
    rows, columns = (
        slice(*(round(side * (at + field) / (1 + 2 * field)) for at in span)) for span in _INNER
    )
    ratio = (photo[..., rows, columns] + 1) / (before[..., rows, columns] + 1).clamp_min(_BLACK)
    times = ratio.flatten(2).median(dim=2).values[..., None, None]
    return times.clamp(1 / _GAIN, _GAIN)


def may_change(photo: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Share (N, 1, h, h), new, of each pixel that an edit may change: the ground is not its matter.

    An edit may change the person, cover ground with what it adds, such as hair, and uncover ground
    by what it takes away. It may not draw the ground anew, nor draw over what the code has missed:
    where drawings before and after both show ground, and the photo shows hair, the hair stays.

    Args:
        photo: share (N, 1, h, h) of each pixel that is the person, in the photo.
        before: the same, as drawn from its code.
        after: the same, as drawn from the edited code.
    """
    added, removed = _opened(after - before), _opened(before - after)
    changed = torch.maximum(torch.minimum(photo, torch.maximum(after, removed)), added)
    return soften(changed.clamp(0, 1), _RIM)


def _opened(share: Tensor) -> Tensor:
    """Without what is thin, such as the border of a head that moves by a hair."""
    return F.max_pool2d(-F.max_pool2d(-share, 3, 1, 1), 3, 1, 1)


def _nearby(difference: Tensor, reach: float) -> Tensor:
    """Mean absolute difference (N, 1, S, S) about each pixel, up to 1."""
    return soften(difference.abs().mean(dim=1, keepdim=True).clamp(0, 1), reach)


def _tone(difference: Tensor, reach: float) -> Tensor:
    """A difference (N, 3, S, S) without its detail."""
    levels = (difference / 4 + 0.5).flatten(0, 1)[:, None]
    return (4 * soften(levels, reach) - 2).view_as(difference)


def _rising(values: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on, without a kink."""
    share = ((values - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)


def put_back(
    picture: Image.Image,
    quad: np.ndarray,
    drawn: tuple[Tensor, Tensor],
    *,
    side: int,
    detail: float = 1.0,
    field: float = 0.0,
    head: Tensor | None = None,
    lids: Tensor | None = None,
) -> np.ndarray:
    """Pixels (H, W, 3) of a frame with its face changed.

    Both the changed face and the unchanged one are pasted; what they differ by is added. So a
    pixel that the edit leaves alone is the frame's own, bit for bit, not sampled twice.

    Args:
        picture: the frame.
        quad: (4, 2) corners of the square that was drawn, with the field.
        drawn: pictures (1, 3, h, h) of its code before and after the edit.
        side: pixels of an aligned face at which they are put together.
        detail: see `keep`.
        field: sides of an aligned face that they show more on every side.
        head: where in the square the edit may change pixels, see `keep`.
        lids: where in the square eyes are closed, see `keep`.
    """
    side = round(side * (1 + 2 * field))
    low, box = _around(quad, picture.size)
    region = picture.crop(box)
    place = Alignment.of(quad - low, region)
    crop = align(region, quad - low, size=side)
    photo = images.to_image(np.asarray(crop)[None]).to(drawn[0])
    before, after = (sized(image, side) for image in drawn)
    kept = keep(photo, before, after, share=detail, field=field, head=head, lids=lids)
    face = images.to_pil(kept)[0]
    paste = functools.partial(paste_back, region, alignment=place, original=crop)
    changed, same = paste(face), paste(crop)
    step = np.asarray(changed, np.int16) - np.asarray(same, np.int16)
    pixels = np.array(picture)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = (pixels[top:bottom, left:right] + step).clip(0, 255)
    return pixels


def cut_out(picture: Image.Image, quad: np.ndarray, size: int) -> Image.Image:
    """The aligned face, as `tedi.faces.align` gives it, looking at its surroundings alone."""
    low, box = _around(quad, picture.size)
    return align(picture.crop(box), quad - low, size=size)


def _around(
    quad: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A square's surroundings within a picture: top left corner (2,), and box."""
    margin = _MARGIN * float(np.linalg.norm(quad[3] - quad[0])) + 4
    low = np.maximum(np.floor(quad.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(quad.max(0) + margin), size).astype(int)
    if (high <= low).any():
        raise UsageError("quad: expected a square that meets the frame, got one beside it")
    return low, (int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def sized(image: Tensor, side: int) -> Tensor:
    """Pictures (N, 3, side, side) in [-1, 1]."""
    if image.shape[-1] > side:
        image = F.interpolate(image, (side, side), mode="area")
    elif image.shape[-1] < side:
        image = F.interpolate(image, (side, side), mode="bicubic", align_corners=False)
    return image.clamp(-1, 1)
