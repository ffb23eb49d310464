"""Blinks: eyes that close for a moment close where an edit draws a face anew, too.

Codes draw open eyes: encoders hardly know closed ones, and smoothing in time takes away what they
see of them. Where the drawing takes the place of the video's pixels, as under glasses, the face
would stare; so while an eye is closed, its opening is the video's own. When that is, the clip
tells: iris and white have edges across the eye, which a glance moves and a lid hides, and an eye is
closed as far as they have less energy than is usual for half a second on either side. Codes of such
moments count less when codes are smoothed, so that all that is drawn has open eyes.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tedi.masks import soften
from tedi.video.smooth import shares

SIDE = 256  # pixels a side of an aligned face, in which all places below are
SECONDS = 0.5  # before and after a frame, of which what is usual is taken
_MOST = 30  # frames on each side, however many a second has
_CENTRES = ((96, 121), (160, 121))  # of the eyes: column, row
_OPENING = (17, 8)  # half the width and height of an eye
_LID = (18, 8)  # the same of what is the video's own while it is closed
_SOFT = 1.5  # pixels of its border
_APART = 3  # pixels between which edges across an eye are taken
_FLAT = 1e-3  # energy, of levels from -1 to 1, below which nothing is an eye
_FADED = (0.2, 0.5)  # share of the energy that is gone where a lid is seen, and is shut
_SEEN = (0.22, 0.34)  # share of it that an edit leaves, from which eyes are seen, and are seen well
_ENOUGH = 0.25  # share of open eyes that makes a smoothed code


def energy(image: Tensor) -> Tensor:
    """Mean squared difference across each eye (2,) of an aligned face (1, 3, 256, 256) in [-1, 1].

    The eye on the picture's left comes first. Grain is averaged away.
    """
    gray = F.avg_pool2d(image.mean(dim=1), 3, 1, 1)[0]
    across = gray[:, _APART:] - gray[:, :-_APART]
    (wide, high), found = _OPENING, []
    for x, y in _CENTRES:
        eye = across[y - high : y + high, x - wide : x + wide]
        found.append(eye.square().mean())
    return torch.stack(found)


def visible(before: Tensor, after: Tensor) -> Tensor:
    """How far an edit leaves eyes visible, (2,), 0 to 1: dark glasses hide them.

    Args:
        before: `energy` (2,) of what is drawn without the edit.
        after: the same with it.
    """
    return _rising(after / before.clamp_min(_FLAT), *_SEEN)


def lids(closed: Tensor) -> Tensor:
    """Soft mask (1, 1, 256, 256) of an aligned face: eyes, as far as each is closed, (2,)."""
    at = torch.arange(SIDE) + 0.5
    wide, high = _LID
    mask = torch.zeros(SIDE, SIDE)
    for share, (x, y) in zip(closed, _CENTRES, strict=True):
        inside = ((at - x) / wide).square() + ((at[:, None] - y) / high).square() < 1
        mask = torch.where(inside, share, mask)
    return soften(mask[None, None], _SOFT)


class Blinks:
    """When the eyes of a clip are closed.

    Args:
        energy: frame of a run -> `energy` of its face.
        runs: (F,) number of the run that each frame belongs to, -1 for none.
        rate: frames a second.
    """

    def __init__(
        self, energy: Callable[[int], Tensor], runs: NDArray[np.integer], rate: float
    ) -> None:
        self.energy, self.runs = energy, runs
        self.reach = max(1, min(round(SECONDS * rate), _MOST))
        self.closed = lru_cache(maxsize=4 * self.reach)(self._closed)

    def _closed(self, number: int) -> Tensor:
        """How far each eye of a frame is closed, (2,), 0 to 1."""
        first, end = max(0, number - self.reach), number + self.reach + 1
        near = first + np.flatnonzero(self.runs[first:end] == self.runs[number])
        usual = torch.stack([self.energy(int(n)) for n in near]).median(dim=0).values
        gone = (1 - self.energy(number) / usual.clamp_min(_FLAT)) * (usual > _FLAT)
        gone = torch.maximum(gone, gone.mean())  # both close, though hair may hide one
        return _rising(gone, *_FADED)

    def shares(self, number: int, reach: int) -> dict[int, float]:
        """What each frame's code gives to a smoothed one, as `smooth.shares`, of open eyes.

        Where eyes are closed all around, neighbours are taken from further away.
        """
        for far in (reach, *range(reach + 1, self.reach + 1)):
            given = shares(self.runs, number, far)
            opened = {n: share * (1 - float(self.closed(n).max())) for n, share in given.items()}
            whole = sum(opened.values())
            if whole >= _ENOUGH:
                return {n: share / whole for n, share in opened.items() if share}
        return shares(self.runs, number, reach)


def _rising(values: Tensor, low: float, high: float) -> Tensor:
    """0 up to `low`, 1 from `high` on."""
    return ((values - low) / (high - low)).clamp(0, 1)
