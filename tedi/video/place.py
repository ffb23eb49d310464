"""Squares that stay where a shot first showed the face, for generators that are told where to draw.

"Third Time's the Charm?" (Alaluf et al. 2022, arXiv 2201.13433, section 6) cuts all frames by the
first frame's square, and has StyleGAN3 draw each face as it stands in there, y = G(w; r, tx, ty).
Two things are otherwise here. The transform has no scale, so that the square is always as large as
the face's own, about the same middle. And where a face goes so far that its head would be cut, the
square is dragged along: no frame jumps, however far a face walks.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tedi.errors import UsageError
from tedi.faces import unaligned
from tedi.video.smooth import NONE


def still(
    quads: NDArray[np.floating], runs: NDArray[np.integer], *, reach: float
) -> NDArray[np.float64]:
    """Upright squares (F, 4, 2) that stay in the middle of the first face of their run, new.

    Args:
        quads: (F, 4, 2) corners of the faces' squares, smoothed.
        runs: (F,) number of the run that each frame belongs to, -1 for none, whose squares stay.
        reach: sides, right, left, up or down, that a face may be off the middle; what the field
            shows more on every side, so that no head is cut.

    Raises:
        UsageError: another number of squares than of runs, or a negative reach.

    >>> walk = np.array([(0, 0), (0, 4), (4, 4), (4, 0)]) + np.arange(4)[:, None, None]
    >>> still(walk, np.zeros(4, int), reach=0.5)[:, 0, 0].tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    if len(quads) != len(runs):
        raise UsageError(f"runs: expected {len(quads)}, a number a frame, got {len(runs)}")
    if reach < 0:
        raise UsageError(f"reach: expected 0 or more sides, got {reach}")
    found = np.array(quads, np.float64)
    middles: dict[int, NDArray[np.float64]] = {}
    for at in np.flatnonzero(np.asarray(runs) != NONE):
        face, run = found[at].mean(0), int(runs[at])
        most = reach * math.dist(quads[at][0], quads[at][3])
        middles[run] = face + (middles.get(run, face) - face).clip(-most, most)
        found[at] = unaligned(quads[at], middle=middles[run])
    return found


def widened(quad: NDArray[np.floating], field: float) -> NDArray[np.float64]:
    """A square (4, 2) with so many sides more on every side, new.

    >>> widened(np.array([(0, 0), (0, 4), (4, 4), (4, 0)]), 0.25).tolist()
    [[-1.0, -1.0], [-1.0, 5.0], [5.0, 5.0], [5.0, -1.0]]
    """
    middle = quad.mean(0)
    return middle + (1 + 2 * field) * (quad - middle)


def seen_by(
    image: Tensor, quad: NDArray[np.floating], onto: NDArray[np.floating], size: int
) -> Tensor:
    """What a square shows of pictures that show another, (N, D, size, size), new.

    Args:
        image: (N, D, h, h), of `quad`; beyond its border it goes on as on it.
        quad: (4, 2) corners of the square that they show.
        onto: (4, 2) corners of the other.
        size: pixels a side of the result.
    """
    axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]]) * 2 / math.dist(quad[0], quad[3]) ** 2
    turn = axes @ np.stack([onto[3] - onto[0], onto[1] - onto[0]], axis=1) / 2
    shift = axes @ (onto.mean(0) - quad.mean(0))
    place = torch.from_numpy(np.hstack([turn, shift[:, None]])[None]).to(image)
    whole = [len(image), image.shape[1], size, size]
    grid = F.affine_grid(place.expand(len(image), -1, -1), whole, align_corners=False)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)
