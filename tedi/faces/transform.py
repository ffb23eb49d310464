"""Where an upright face stands in a crop that was not aligned: how it is turned and moved.

StyleGAN3 draws a face upright and is told where to put it: with w the code of the aligned face,
y = G(w; r, tx, ty) stands where the face of the crop does ("Third Time's the Charm?", Alaluf et
al. 2022, arXiv 2201.13433). There the angle is that between the lines through the eyes
of crop and aligned picture, and the shift how far an eye of the turned aligned picture is off. Here
both are read off FFHQ's square of the face, from which the aligned picture is cut: what is aligned
by it is upright and in the middle by construction, so that nothing is looked for twice. The angle
is of all four quadrants, and the mouth has a say in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tedi.errors import UsageError
from tedi.faces.align import is_square

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Transform:
    """How an upright face is turned about the middle of a picture, then moved.

    Attributes:
        degrees: counter-clockwise, more than -180 to 180.
        tx: to the right, picture widths.
        ty: downwards, picture heights.
        scale: side of the face's square over that of the picture; 1 is the size that a generator
            of aligned faces draws, and the only one that StyleGAN3's transform has.
    """

    degrees: float = 0.0
    tx: float = 0.0
    ty: float = 0.0
    scale: float = 1.0


def transform_of(quad: ArrayLike, size: float) -> Transform:
    """How a face of a square picture is turned and moved.

    Args:
        quad: (4, 2) corners of FFHQ's square of the face, as `quad_of` gives them: in pixels, (0,
            0) the centre of the top left one.
        size: pixels a side of the picture.

    Returns:
        What `tedi.generators.stylegan3.user_transform` takes, and the scale.

    Raises:
        UsageError: no square, or no size.

    >>> transform_of([[31.5, -0.5], [31.5, 63.5], [95.5, 63.5], [95.5, -0.5]], 64)
    Transform(degrees=0.0, tx=0.5, ty=0.0, scale=1.0)
    """
    quad = np.asarray(quad, float)
    if not is_square(quad):
        raise UsageError(f"quad: expected the (4, 2) corners of a square, got {quad.tolist()}")
    if not size > 0:
        raise UsageError(f"size: expected more than 0 pixels, got {size}")
    across = quad[3] - quad[0]
    right, down = (quad.mean(axis=0) + 0.5) / size - 0.5
    turned = -math.degrees(math.atan2(across[1], across[0]))  # pixels count downwards
    return Transform(
        degrees=turned + 0.0,  # no minus zero
        tx=float(right),
        ty=float(down),
        scale=math.hypot(*across) / size,
    )


def unaligned(quad: ArrayLike, *, middle: ArrayLike | None = None) -> Floats:
    """An upright square of the size of a face's own: what an unaligned crop shows.

    Cut by it, a photo keeps the face as it is turned, at the size that StyleGAN3 draws; in a clip,
    the first frame's square serves all frames, and the face moves in it.

    Args:
        quad: (4, 2) corners of the face's square, as `quad_of` gives them.
        middle: (x, y) of the crop in pixels; None is the middle of the face's square.

    Returns:
        (4, 2) corners in the order of `quad_of`, for `align`; new.

    Raises:
        UsageError: no square.
    """
    quad = np.asarray(quad, float)
    if not is_square(quad):
        raise UsageError(f"quad: expected the (4, 2) corners of a square, got {quad.tolist()}")
    half = math.dist(quad[0], quad[3]) / 2
    centre = quad.mean(axis=0) if middle is None else np.asarray(middle, float)
    return centre + half * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)])


def within(quad: ArrayLike, crop: ArrayLike) -> Transform:
    """How a face is turned and moved in a crop of the same photo, such as `unaligned`'s.

    Args:
        quad: (4, 2) corners of the face's square.
        crop: (4, 2) corners of the crop, top left first; both in pixels of the photo.

    Raises:
        UsageError: no squares.
    """
    crop = np.asarray(crop, float)
    if not is_square(crop):
        raise UsageError(f"crop: expected the (4, 2) corners of a square, got {crop.tolist()}")
    axes = np.stack([crop[3] - crop[0], crop[1] - crop[0]]) / math.dist(crop[0], crop[3]) ** 2
    sides = (np.asarray(quad, float) - crop[0]) @ axes.T  # from the top left corner of the crop
    return transform_of(sides - 0.5, 1)
