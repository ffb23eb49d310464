"""An edited face put back into its photo, so that no seam shows.

The face is faded out before the border of its square. Around the fade its low frequencies are
brought to the photo's by a membrane that is tied to their difference outside the face and dies
off inward: seamless cloning (Pérez, Gangnet and Blake 2003, eq. 2 to 4) with a screening term, so
that a strange background does not tint the cheeks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tedi.errors import UsageError
from tedi.faces.align import Alignment, align

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.float32]

_GRID = 64  # cells a side in which colours are matched
_REACH = 5.0  # cells within which the membrane dies off by e
_ROUNDS = 200  # the membrane has settled by then
_OURS = 0.2  # share of the face above which colours are its own, but for the membrane
_EDGE = 0.98  # of the way from the square's middle to its border, where nothing is left
_ROUNDNESS = 4  # 2 an ellipse, more a square with rounded corners

_LANCZOS, _BOX = Image.Resampling.LANCZOS, Image.Resampling.BOX
_BILINEAR = Image.Resampling.BILINEAR


def paste_back(
    picture: Image.Image,
    face: Image.Image,
    alignment: Alignment,
    *,
    original: Image.Image | None = None,
    feather: float = 0.15,
    match_colour: bool = True,
    mask: NDArray[np.floating] | None = None,
) -> Image.Image:
    """The photo with a face put back where it was cut out.

    Args:
        picture: RGB, the upright photo.
        face: RGB square of any size, aligned as `align` does.
        alignment: where it belongs.
        original: what `align` cut out, of any size; None cuts it out anew.
        feather: width of the fade in sides of the square, above 0 to 0.5.
        match_colour: bring the low frequencies around the fade to the photo's.
        mask: (H, W) of 0…1 over the aligned square, which share of the face is put back; None
            means all. The fade at the border is kept.

    Returns:
        RGB of the photo's size, new; pixels outside the square are the photo's, bit for bit.

    Raises:
        UsageError: sizes that do not belong together, a face that is no square, or numbers out of
            range.
    """
    _check(picture, face, alignment, feather, mask)
    picture = picture.convert("RGB")
    side = max(1, min(face.width, round(alignment.side)))
    levels = np.asarray(face.convert("RGB").resize((side, side), _LANCZOS), np.float32)
    share = soft_mask(side, feather)
    if mask is not None:
        share = share * _resized(np.asarray(mask, np.float32).clip(0, 1), side, _BOX).clip(0, 1)
    if match_colour:
        original = original or align(picture, alignment.quad, size=side)
        levels = levels + _step(levels, original, share)
    shifted = Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))
    return _laid_over(picture, shifted, share, alignment)


def soft_mask(side: int, feather: float = 0.15) -> Levels:
    """Share (side, side) of the face: 1 inside, falling to 0 before the border of the square."""
    place = np.abs((np.arange(side) + 0.5) / side * 2 - 1) ** _ROUNDNESS
    radius = (place + place[:, None]) ** (1 / _ROUNDNESS)
    inward = ((_EDGE - radius) / (2 * feather)).clip(0, 1)
    return (inward * inward * (3 - 2 * inward)).astype(np.float32)


def _step(levels: Levels, original: Image.Image, share: Levels) -> Levels:
    """What brings a face (H, W, 3) to the photo's colours around the fade."""
    photo = np.asarray(original.convert("RGB").resize((_GRID, _GRID), _BOX), np.float32)
    drawn = _channels(levels, _GRID, _BOX)
    membrane = _membrane(photo - drawn, _resized(share, _GRID, _BOX))
    return _channels(membrane, len(levels), Image.Resampling.BICUBIC)


def _membrane(difference: Levels, share: Levels) -> Levels:
    """Difference (G, G, 3) where the photo prevails; elsewhere what it fades to, going inward."""
    free = (share > _OURS)[..., None]
    step = np.where(free, 0, difference)
    for _ in range(_ROUNDS):
        edged = np.pad(step, ((1, 1), (1, 1), (0, 0)), "edge")
        around = edged[:-2, 1:-1] + edged[2:, 1:-1] + edged[1:-1, :-2] + edged[1:-1, 2:]
        step = np.where(free, around / (4 + _REACH**-2), difference)
    return step.astype(np.float32)


def _laid_over(
    picture: Image.Image, face: Image.Image, share: Levels, alignment: Alignment
) -> Image.Image:
    quad = np.array(alignment.quad) + 0.5  # as Pillow counts: 0 is the edge of the first pixel
    low = np.maximum(np.floor(quad.min(0)), 0).astype(int)
    high = np.minimum(np.ceil(quad.max(0)), picture.size).astype(int)
    out = picture.copy()
    if (high <= low).any():
        return out
    box = (low[0], low[1], high[0], high[1])
    axes = np.linalg.inv(np.stack([quad[3] - quad[0], quad[1] - quad[0]], 1)) * face.width
    start = axes @ (low - quad[0])
    data = (*axes[0], start[0], *axes[1], start[1])
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    warped = face.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    weight = Image.fromarray(share).transform(size, Image.Transform.AFFINE, data, _BILINEAR)
    before, drawn = (np.asarray(part, np.float32) for part in (picture.crop(box), warped))
    after = before + (drawn - before) * np.asarray(weight)[..., None]
    out.paste(Image.fromarray(after.round().clip(0, 255).astype(np.uint8)), box)
    return out


def _resized(values: Levels, side: int, resample: Image.Resampling) -> Levels:
    """Numbers (H, W) brought to (side, side)."""
    return np.asarray(Image.fromarray(values).resize((side, side), resample))


def _channels(levels: Levels, side: int, resample: Image.Resampling) -> Levels:
    """Numbers (H, W, 3) brought to (side, side, 3)."""
    parts = (np.ascontiguousarray(levels[..., channel]) for channel in range(3))
    return np.dstack([_resized(part, side, resample) for part in parts])


def _check(
    picture: Image.Image,
    face: Image.Image,
    alignment: Alignment,
    feather: float,
    mask: NDArray[np.floating] | None,
) -> None:
    if picture.size != alignment.size:
        (w, h), (x, y) = alignment.size, picture.size
        raise UsageError(f"picture: expected the photo of the alignment, {w} x {h}, got {x} x {y}")
    if face.width != face.height:
        raise UsageError(f"face: expected a square, got {face.width} x {face.height}")
    if not 0 < feather <= 0.5:
        raise UsageError(f"feather: expected above 0 to 0.5 sides of the square, got {feather}")
    if mask is not None and (np.ndim(mask) != 2 or not np.isfinite(mask).all()):
        raise UsageError(f"mask: expected (H, W) finite numbers of 0 to 1, got {np.shape(mask)}")
