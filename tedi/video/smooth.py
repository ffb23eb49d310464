"""Smoothing in time: numbers of a frame averaged with those of its neighbours.

The kernel is a Hann window. Two frames on each side make it (0.25, 0.75, 1, 0.75, 0.25) / 3, with
which Alaluf et al. 2022 (arXiv 2201.13433, section 6) smooth codes and transforms. No frame is lost
at the ends: neighbours count in pairs, one before and one after at the same distance, so that even
motion is left as it is, and a frame that lacks one of a pair does without both.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tedi.errors import UsageError

REACH = 2  # neighbours on each side
NONE = -1  # run of a frame without a face


def kernel(reach: int) -> list[float]:
    """Weights of a frame and its neighbours at distance 1, 2, …, `reach`, relative to its own.

    >>> [round(weight, 2) for weight in kernel(2)]
    [1.0, 0.75, 0.25]
    """
    if reach < 0:
        raise UsageError(f"--smooth: expected 0 or more frames, got {reach}")
    return [math.cos(math.pi * k / (2 * reach + 2)) ** 2 for k in range(reach + 1)]


def shares(runs: NDArray[np.integer], at: int, reach: int = REACH) -> dict[int, float]:
    """What each frame gives to a smoothed one: frame -> share; they sum to 1.

    Args:
        runs: (F,) number of the run that each frame belongs to, -1 for none. Frames of one run
            show one face without a cut; they may have gaps.
        at: the frame, which belongs to one.
        reach: neighbours on each side; 0 leaves all as it is.

    >>> shares(np.array([0, 0, 0, 0, 0]), 2)[1]
    0.25
    >>> shares(np.array([0, 0, 1, 1]), 2)  # a cut: nothing comes from before
    {2: 1.0}
    """
    given = {at: 1.0}
    for distance, weight in list(enumerate(kernel(reach)))[1:]:
        pair = (at - distance, at + distance)
        if pair[0] < 0 or pair[1] >= len(runs):
            break
        if runs[pair[0]] == runs[at] == runs[pair[1]]:
            given |= dict.fromkeys(pair, weight)
    whole = sum(given.values())
    return {frame: weight / whole for frame, weight in given.items()}


def smoothed(
    values: NDArray[np.floating], runs: NDArray[np.integer], reach: int = REACH
) -> NDArray[np.float64]:
    """Values (F, …) of frames smoothed in time, new; those of frames of no run stay.

    A square's corners stay a square's: means of similarities of a square are similarities.

    Raises:
        UsageError: another number of values than of runs, or a negative reach.
    """
    if len(values) != len(runs):
        raise UsageError(f"runs: expected {len(values)}, a number a frame, got {len(runs)}")
    found = np.array(values, np.float64)
    for at in np.flatnonzero(np.asarray(runs) != NONE):
        given = shares(runs, int(at), reach)
        found[at] = sum(share * values[frame] for frame, share in given.items())
    return found
