"""Faces as strokes: borders and edges traced, simplified, and drawn again by an unsteady hand.

A stroke is a polyline (n, 2) of x and y in pixels; pixel (row, column) has its middle at
(column + 0.5, row + 0.5). Lengths are in 256ths of the side, called px.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
Points = NDArray[np.float64]
Random = np.random.Generator

SUPERSAMPLING = 3


@dataclass(frozen=True, eq=False)
class Stroke:
    """One line of a drawing.

    Attributes:
        points: (n, 2), x and y in pixels.
        part: what it shows: "feature", "pupil", "brow", "outline", "body", "strand" or "edge".
        filled: it is the border of something black, such as a pupil.
        group: what moves together when it is out of place: "left eye", "nose", "mouth", …
    """

    points: Points
    part: str
    filled: bool = False
    group: str = ""


def simplify(points: Points, tolerance: float) -> Points:
    """The corners of a polyline, first and last kept: Ramer 1972, Douglas and Peucker 1973.

    Args:
        points: (n, 2).
        tolerance: pixels that a point left out may lie off the line, at most.

    >>> simplify(np.array([[0.0, 0.0], [1.0, 0.1], [2.0, 0.0], [2.0, 5.0]]), 0.5).tolist()
    [[0.0, 0.0], [2.0, 0.0], [2.0, 5.0]]
    """
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        off = points[first + 1 : last] - points[first]
        x, y = points[last] - points[first]
        length = math.hypot(x, y)
        far = np.abs(off[:, 0] * y - off[:, 1] * x) / length if length else np.hypot(*off.T)
        most = int(far.argmax())
        if far[most] > tolerance:
            middle = first + 1 + most
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def rounded(points: Points, times: int = 2) -> Points:
    """A polyline with its corners cut (Chaikin 1974); its ends stay."""
    for _ in range(times if len(points) > 2 else 0):
        near = 0.75 * points[:-1] + 0.25 * points[1:]
        far = 0.25 * points[:-1] + 0.75 * points[1:]
        cut = np.stack([near, far], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut[1:-1], points[-1:]])
    return points


def circle(points: int) -> Points:
    """A ring of so many points (n, 2), of radius 1 about 0, first point last."""
    angles = np.linspace(0, 2 * np.pi, points)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def evened(points: Points, reach: int = 2) -> Points:
    """A polyline averaged over 2 · reach + 1 neighbours; its ends stay, a ring stays closed."""
    if len(points) < 3:
        return points
    closed = bool((points[0] == points[-1]).all())
    inner = points[:-1] if closed else points
    wide = np.pad(inner, ((reach, reach), (0, 0)), mode="wrap" if closed else "edge")
    sums = np.cumsum(np.concatenate([np.zeros((1, 2)), wide]), axis=0)
    mean = (sums[2 * reach + 1 :] - sums[: -2 * reach - 1]) / (2 * reach + 1)
    if closed:
        return np.concatenate([mean, mean[:1]])
    mean[[0, -1]] = points[[0, -1]]
    return mean


def borders(labels: NDArray[np.uint8]) -> list[tuple[Points, int, int]]:
    """Borders between the parts of a map (H, W), each once: polyline, smaller and larger class.

    A border ends where three parts meet; one that goes round a part is a ring, first point last.
    """
    across, width = labels.shape[1] + 1, labels.astype(np.int64)
    steps = []
    for axis in (0, 1):
        one, two = (width[:-1], width[1:]) if axis == 0 else (width[:, :-1], width[:, 1:])
        y, x = np.nonzero(one != two)
        low, high = np.minimum(one[y, x], two[y, x]), np.maximum(one[y, x], two[y, x])
        start = (y + 1) * across + x if axis == 0 else y * across + x + 1
        steps.append(np.stack([start, start + (1 if axis == 0 else across), low * 32 + high]))
    starts, ends, pairs = np.concatenate(steps, axis=1).tolist()
    paths = _chained(starts, ends, pairs)
    found = []
    for nodes, pair in paths:
        y_, x_ = np.divmod(np.array(nodes), across)
        found.append((np.stack([x_, y_], axis=1).astype(np.float64), pair // 32, pair % 32))
    return found


def _chained(starts: list[int], ends: list[int], pairs: list[int]) -> list[tuple[list[int], int]]:
    """Steps between nodes joined to paths, from each meeting of other than two to the next."""
    at: dict[int, list[int]] = {}
    for step, (start, end) in enumerate(zip(starts, ends, strict=True)):
        at.setdefault(start, []).append(step)
        at.setdefault(end, []).append(step)
    free = [True] * len(starts)
    meetings = [node for node, steps in at.items() if len(steps) != 2]
    paths = []
    for first in [*meetings, *starts]:
        for step in at[first]:
            if not free[step]:
                continue
            nodes, node, pair = [first], first, pairs[step]
            while True:
                free[step] = False
                node = ends[step] if starts[step] == node else starts[step]
                nodes.append(node)
                steps = at[node]
                if len(steps) != 2:
                    break
                step = steps[0] if free[steps[0]] else steps[1]
                if not free[step]:
                    break
            paths.append((nodes, pair))
    return paths


_AROUND = ((0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, -1), (-1, 1))


def traced(mask: NDArray[np.bool_], least: float) -> list[Points]:
    """Thin lines of a mask (H, W) as polylines of at least `least` pixels, longest first."""
    wide = mask.shape[1] + 2
    padded = np.pad(mask, 1)
    left = set(np.flatnonzero(padded).tolist())
    around = [y * wide + x for y, x in _AROUND]
    count = sum(np.roll(padded, (y, x), (0, 1)).astype(np.int8) for y, x in _AROUND)
    tips = np.flatnonzero(padded & (count == 1)).tolist()
    found = []
    for first in [*tips, *sorted(left)]:
        if first not in left:
            continue
        path = _followed(first, left, around)
        if len(path) < 3:
            continue
        y, x = np.divmod(np.array(path), wide)
        found.append(np.stack([x - 0.5, y - 0.5], axis=1).astype(np.float64))
    return sorted((p for p in found if len(p) >= least), key=len, reverse=True)


def _followed(first: int, left: set[int], around: Sequence[int]) -> list[int]:
    """A path of neighbours from a pixel on, straight on where it forks; taken from `left`."""
    left.discard(first)
    path, ahead = [first], 0
    while True:
        last = path[-1]
        near = last + ahead
        if not ahead or near not in left:
            near = next((last + step for step in around if last + step in left), -1)
        if near < 0:
            return path
        left.discard(near)
        path.append(near)
        ahead = near - last


def painted(
    strokes: Iterable[Stroke],
    widths: Sequence[float],
    shape: tuple[int, int],
    *,
    smooth: bool = True,
) -> Floats:
    """Strokes on paper: (H, W), 1 paper and 0 line.

    Args:
        strokes: what to draw.
        widths: of each, in pixels.
        shape: height and width.
        smooth: lines with soft borders; else each pixel is black or white.
    """
    finer = SUPERSAMPLING if smooth else 1
    sheet = Image.new("L", (shape[1] * finer, shape[0] * finer), 255)
    draw = ImageDraw.Draw(sheet)
    for stroke, width in zip(strokes, widths, strict=True):
        points = (stroke.points * finer).ravel().tolist()
        if stroke.filled:
            draw.polygon(points, fill=0)
        draw.line(points, fill=0, width=max(1, round(width * finer)))
        if (radius := width * finer / 2) > 1:
            for x, y in (points[:2], points[-2:]):
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)
    if smooth:
        sheet = sheet.reduce(finer)
    return np.asarray(sheet, dtype=np.float32) / np.float32(255)
