"""Edges of pictures: blurring, gradients, and Canny's thin lines with hysteresis.

Follows Canny 1986 ("A computational approach to edge detection"): the gradient of a blurred
picture, kept where it is largest across its own direction, and from there on as far as a lower
threshold reaches. Arrays are (H, W) float32, grey in [0, 1].
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from tedi.masks import soften

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def blurred(grey: Floats, sigma: float) -> Floats:
    """The picture after a Gaussian of a standard deviation in pixels."""
    return soften(torch.from_numpy(grey)[None, None], sigma)[0, 0].numpy()


def evenly_lit(grey: Floats) -> Floats:
    """The picture (H, W) over its own surroundings: lines in the dark are as deep as in light."""
    wide = blurred(grey, 14 * min(grey.shape) / 256)
    lit = np.minimum(grey / (wide + 0.06), 1.4) / 1.4
    return lit.astype(np.float32, copy=False)


def gradient(grey: Floats) -> tuple[Floats, Floats]:
    """Slopes along y and x by Sobel's filters, in grey a pixel; 0 on the outermost pixels."""
    down, right = np.zeros_like(grey), np.zeros_like(grey)
    rows = grey[:, :-2] + 2 * grey[:, 1:-1] + grey[:, 2:]
    columns = grey[:-2] + 2 * grey[1:-1] + grey[2:]
    down[1:-1, 1:-1] = (rows[2:] - rows[:-2]) / 8
    right[1:-1, 1:-1] = (columns[:, 2:] - columns[:, :-2]) / 8
    return down, right


def canny(grey: Floats, *, sigma: float, strong: float, weak: float, least: int = 0) -> Mask:
    """Thin edges.

    Args:
        grey: (H, W).
        sigma: of the blur before, in pixels.
        strong: slope, as a quantile of the picture's, that begins an edge: 0.9 is the top tenth.
        weak: share of it that goes on with one.
        least: pixels an edge must have.

    Returns:
        True on edges, one pixel wide.
    """
    down, right = gradient(blurred(grey, sigma))
    slope = np.hypot(down, right)
    high = max(float(np.quantile(slope[::2, ::2], strong)), 1e-4)
    y, x = np.nonzero(slope > weak * high)
    here = slope[y, x]
    # Nearest of four directions: steps of 45 degrees across the edge.
    turn = np.round(np.arctan2(down[y, x], right[y, x]) * (4 / math.pi)).astype(np.int64) % 4
    dy, dx = np.array([0, 1, 1, 1])[turn], np.array([1, 1, 0, -1])[turn]
    most = (here > slope[y - dy, x - dx]) & (here >= slope[y + dy, x + dx])
    thin = np.zeros(grey.shape, dtype=bool)
    thin[y[most], x[most]] = True
    return _kept(thin, slope > high, least)


def _kept(thin: Mask, strong: Mask, least: int) -> Mask:
    """The connected pixels of a mask that touch a strong one and are at least so many."""
    y, x, group = components(thin)
    if not len(y):
        return thin
    size = np.bincount(group)
    begun = np.bincount(group, strong[y, x]) > 0
    good = (begun & (size >= least))[group]
    kept = np.zeros_like(thin)
    kept[y[good], x[good]] = True
    return kept


def components(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns (n,) of a mask's pixels and the group of each; groups touch nowhere.

    Pixels that share a side or a corner are of one group. Each pixel takes the smallest number
    around it, and then that number's number, until nothing changes (Shiloach and Vishkin 1982).
    """
    y, x = np.nonzero(mask)
    number = np.full((mask.shape[0] + 1, mask.shape[1] + 2), -1)
    number[y, x + 1] = np.arange(len(y))
    one, two = [], []
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        beside = number[y + dy, x + 1 + dx]
        there = np.flatnonzero(beside >= 0)
        one.append(there)
        two.append(beside[there])
    a, b = np.concatenate(one), np.concatenate(two)
    group = np.arange(len(y))
    while True:
        low = np.minimum(group[a], group[b])
        if (low == group[a]).all() and (low == group[b]).all():
            return y, x, group
        np.minimum.at(group, group[a], low)
        np.minimum.at(group, group[b], low)
        while not (group == (nearer := group[group])).all():
            group = nearer
