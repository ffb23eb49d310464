"""FFHQ alignment: the square of a face in a photo, and the photo warped to it.

The construction is that of the FFHQ data set (Karras et al. 2019, arXiv 1812.04948, appendix A),
which generators and encoders of faces expect. It starts from the middles of the eyes and the
corners of the mouth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter, ImageStat

from tedi.errors import TediError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

DETECTOR_SHIFT = (0.0, 0.005)
"""How far FFHQ's square lies to the right of and below the one of `Detector`'s points, in sides.

Mean of the first 600 faces of tedifaces, which are FFHQ's squares by construction. On 300 others
the corrected square is off by 0.0 % of a side (standard deviation 0.3 %) across and down, 0.0 %
(2.1 %) in size and 0.0° (0.6°).
"""

DETECTOR_SCALE = 0.9886
"""Side of FFHQ's square by that of the square of `Detector`'s points; measured likewise."""


@dataclass(frozen=True)
class Alignment:
    """Where in a photo a face was cut out: what is needed to put it back.

    Attributes:
        quad: corners (x, y) of the square in pixels of the upright photo, (0, 0) the centre of its
            top left pixel; in the order of `quad_of`.
        size: (width, height) of the photo.
    """

    quad: tuple[tuple[float, float], ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, quad: ArrayLike, picture: Image.Image) -> Alignment:
        """Alignment of a square (4, 2) in a picture."""
        corners = np.asarray(quad, float).tolist()
        return cls.from_dict({"quad": corners, "size": list(picture.size)})

    @property
    def side(self) -> float:
        """Of the square, in pixels of the photo."""
        return math.dist(self.quad[0], self.quad[3])

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `from_dict` gives the same alignment of it."""
        return {"quad": [list(corner) for corner in self.quad], "size": list(self.size)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Alignment:
        """Alignment that `to_dict` wrote.

        Raises:
            TediError: something is missing, of another form, or no square.
        """
        try:
            quad = np.array(told["quad"], float)
            width, height = told["size"]
            good = quad.shape == (4, 2) and np.isfinite(quad).all() and width > 0 and height > 0
            good = good and isinstance(width, int) and isinstance(height, int)
        except (KeyError, TypeError, ValueError):
            good = False
        if not good or not is_square(quad):
            raise TediError(
                "alignment: expected quad, four corners of a square, and size, [width, height]; "
                f"got {str(dict(told))[:100]}"
            )
        return cls(tuple((float(x), float(y)) for x, y in quad), (width, height))


def quad_of(points: ArrayLike, *, detected: bool = True) -> Floats:
    """FFHQ's square of a face.

    Args:
        points: (5, 2) x and y in pixels of eye, eye, nose, mouth corner, mouth corner; the one on
            the picture's left first.
        detected: the points are `Detector`'s, whose eyes and mouths lie a little otherwise than
            those of the 68 points that FFHQ was aligned by; the mean difference is taken off (see
            `DETECTOR_SHIFT`).

    Returns:
        (4, 2) corners: top left, bottom left, bottom right, top right of the upright face.

    Raises:
        UsageError: not five points, or points that coincide.
    """
    points = np.asarray(points, float)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise UsageError(f"points: expected (5, 2) finite numbers, got {points.shape}")
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    across, down = points[1] - points[0], mouth - eyes
    x = across + np.array([down[1], -down[0]])
    length = math.hypot(*x)
    if length < 1e-6:
        raise UsageError("points: expected eyes above a mouth, got points that coincide")
    x *= max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down)) / length
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    if detected:
        centre = centre + 2 * (DETECTOR_SHIFT[0] * x + DETECTOR_SHIFT[1] * y)
        x, y = x * DETECTOR_SCALE, y * DETECTOR_SCALE
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def align(
    picture: Image.Image, quad: ArrayLike, *, size: int = 256, transform_size: int | None = None
) -> Image.Image:
    """The photo warped to a face's square, as FFHQ was.

    Large photos are reduced and cut first; where the square leaves the photo, it is continued by
    reflection, blurred more the farther out, and fading to the photo's median colour.

    Args:
        picture: RGB.
        quad: (4, 2) as `quad_of` gives.
        size: side of the result in pixels.
        transform_size: pixels a side that are sampled before they are reduced to `size`, a
            multiple of it; FFHQ has four times. None takes what the photo has pixels for, four
            times at most.

    Returns:
        (size, size) RGB, new.

    Raises:
        UsageError: sizes that cannot be, or no square.
    """
    quad = np.asarray(quad, float)
    if not is_square(quad):
        raise UsageError(f"quad: expected the (4, 2) corners of a square, got {quad.tolist()}")
    side = math.dist(quad[0], quad[3])
    if transform_size is None:
        transform_size = size * max(1, min(4, math.ceil(side / max(size, 1))))
    if size < 1 or transform_size < size or transform_size % size:
        raise UsageError(
            f"size: expected 1 or more, and a multiple of it, got {size}, {transform_size}"
        )
    picture, quad = _shrunk(picture.convert("RGB"), quad, math.floor(side / size * 0.5))
    picture, quad = _padded(*_cut(picture, quad))
    data = (quad + 0.5).flatten().tolist()
    whole = (transform_size, transform_size)
    aligned = picture.transform(whole, Image.Transform.QUAD, data, Image.Resampling.BILINEAR)
    if transform_size > size:
        aligned = aligned.resize((size, size), Image.Resampling.LANCZOS)
    return aligned


def is_square(quad: Floats) -> bool:
    """Whether corners (4, 2) are those of a square of some size, to a hundredth of its side."""
    if quad.shape != (4, 2) or not np.isfinite(quad).all():
        return False
    down, across = quad[1] - quad[0], quad[3] - quad[0]
    side = math.hypot(*across)
    turned = np.array([-across[1], across[0]])
    off = [*(down - turned), *(quad[2] - quad[0] - down - across)]
    return side > 0.1 and max(map(abs, off)) < 0.01 * side


def _shrunk(picture: Image.Image, quad: Floats, factor: int) -> tuple[Image.Image, Floats]:
    if factor <= 1:
        return picture, quad
    width, height = (max(1, round(side / factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS), quad / factor


def _border(quad: Floats) -> int:
    return max(round(math.dist(quad[0], quad[3]) * 0.1), 3)


def _cut(picture: Image.Image, quad: Floats) -> tuple[Image.Image, Floats]:
    """What lies near the square."""
    border = _border(quad)
    low = np.maximum(np.floor(quad.min(0)) - border, 0).astype(int)
    high = np.minimum(np.ceil(quad.max(0)) + border, picture.size).astype(int)
    if (high <= low).any():
        raise UsageError("quad: expected a square that meets the picture, got one beside it")
    return picture.crop((low[0], low[1], high[0], high[1])), quad - low


def _padded(picture: Image.Image, quad: Floats) -> tuple[Image.Image, Floats]:
    """The picture continued where the square leaves it."""
    border, side = _border(quad), math.dist(quad[0], quad[3])
    before = np.maximum(-np.floor(quad.min(0)) + border, 0)
    after = np.maximum(np.ceil(quad.max(0)) - picture.size + border, 0)
    if max(before.max(), after.max()) <= border - 4:
        return picture, quad
    least = round(side * 0.3)
    before, after = (np.maximum(pad, least).astype(int) for pad in (before, after))
    pads = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    levels = np.pad(np.asarray(picture), pads, "reflect")
    continued = Image.fromarray(levels)
    depth = _depth(*continued.size, before, after)
    blurred = continued.filter(ImageFilter.GaussianBlur(side * 0.02))
    picture = Image.composite(blurred, continued, _weight(depth * 3 + 1))
    colour = Image.new("RGB", picture.size, tuple(map(int, ImageStat.Stat(picture).median)))
    picture = Image.composite(colour, picture, _weight(depth))
    return picture, quad + before


def _weight(share: Floats) -> Image.Image:
    """Mask of a share (H, W), 0 and below to 1 and above."""
    return Image.fromarray((share.clip(0, 1) * 255).round().astype(np.uint8))


def _depth(width: int, height: int, before: Floats, after: Floats) -> Floats:
    """How far outside each pixel (H, W) lies: 0 where the padding begins, 1 where it ends.

    Inside it falls below zero at the same pace, so that the blur fades out within the photo.
    """
    pads = [np.maximum(pad, 1) for pad in (before, after)]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    across = np.minimum(x / pads[0][0], (width - 1 - x) / pads[1][0])
    along = np.minimum(y / pads[0][1], (height - 1 - y) / pads[1][1])
    return 1 - np.minimum(across, along)
