"""Faces as a person draws them with a mouse: out of proportion, unsteady, and not all there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tedi.modalities.edges import canny, evenly_lit
from tedi.modalities.labels import CLASSES
from tedi.modalities.portrait import BROWS, EYES, HAIR, LIPS, face_strokes
from tedi.modalities.strokes import (
    Floats,
    Points,
    Random,
    Stroke,
    circle,
    evened,
    painted,
    rounded,
    simplify,
    traced,
)


@dataclass(frozen=True)
class Hand:
    """How one drawing departs from what it shows; lengths in px, chances from 0 to 1.

    Attributes:
        width: of the lines.
        tolerance: of simplifying.
        warp: how far the whole is off its proportions.
        misplace: how far eyes, brows, nose and mouth are off their places, and their sizes.
        wobble: how far a line strays from itself.
        stray: how far a stroke lies off its place.
        miss: chance that a stroke is missing; a quarter of that for eyes, nose and mouth.
        double: chance that one is drawn twice.
        over: by how much its ends overshoot, or fall short.
    """

    width: float
    tolerance: float
    warp: float
    misplace: float
    wobble: float
    stray: float
    miss: float
    double: float
    over: float

    @classmethod
    def of(cls, random: Random) -> "Hand":
        """One person's hand."""
        loose = random.uniform(0.2, 1)  # the careful first
        return cls(
            width=1 + 3 * random.uniform() ** 1.7,
            tolerance=0.8 + 2 * loose * random.uniform(),
            warp=6 * loose * random.uniform(0.3, 1),
            misplace=3.5 * loose * random.uniform(),
            wobble=1.3 * loose * random.uniform(0.3, 1),
            stray=1.2 * loose * random.uniform(0.3, 1),
            miss=0.25 * loose * random.uniform(),
            double=0.3 * random.uniform() ** 2,
            over=7 * loose * random.uniform(),
        )

    def moved(self, points: Points, random: Random, px: float) -> Points:
        """A polyline as this hand draws it: corners only, rounded, ends off, unsteady."""
        line = simplify(points, self.tolerance * px)
        line = rounded(_ends_moved(line, random.normal(0, self.over * px / 2, 2)))
        if len(line) < 3:
            line = line[0] + np.linspace(0, 1, 5)[:, None] * (line[-1] - line[0])
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))]) / px
        waves = random.uniform(12, 50, (3, 1, 1))  # lengths in px
        turns = random.uniform(0, 2 * np.pi, (3, 1, 2))
        shake = np.sin(2 * np.pi * along[:, None] / waves + turns).mean(axis=0) * 1.7
        return line + px * (self.wobble * shake + random.normal(0, self.stray, 2))


def _ends_moved(line: Points, by: NDArray[np.float64]) -> Points:
    """A polyline whose ends go on, or stop short, along their last steps."""
    line = line.copy()
    for end, beside, way in ((0, 1, by[0]), (-1, -2, by[1])):
        step = line[end] - line[beside]
        length = math.hypot(*step)
        if length:
            line[end] += step * max(way / length, -0.5)
    return line


@dataclass(frozen=True, eq=False)
class Warp:
    """A smooth map of the plane: moved, turned, stretched, and out of proportion.

    Attributes:
        matrix: (2, 2), about the middle.
        shift: (2,) pixels.
        waves: (n, 2) turns a side.
        phases: (n, 2).
        heights: (n, 2) pixels.
    """

    matrix: Points
    shift: Points
    waves: Points
    phases: Points
    heights: Points

    @classmethod
    def of(cls, amount: float, random: Random) -> "Warp":
        """One drawing's; `amount` in px is that of the waves together."""
        turn, *stretch = random.normal(0, [0.03, 0.025, 0.025, 0.02])
        matrix = np.array([[1 + stretch[0], stretch[2] - turn], [turn, 1 + stretch[1]]])
        return cls(
            matrix,
            random.normal(0, 3, 2),
            random.normal(0, 1.3, (4, 2)),
            random.uniform(0, 2 * np.pi, (4, 2)),
            random.normal(0, amount / 2, (4, 2)),
        )

    def __call__(self, points: Points, side: float) -> Points:
        """Where points (n, 2) go, in a picture of so many pixels a side."""
        at = points / side - 0.5
        bend = np.sin(2 * np.pi * (at @ self.waves.T)[:, :, None] + self.phases) * self.heights
        moved = at @ self.matrix.T + (bend.sum(axis=1) + self.shift) / 256
        return (moved + 0.5) * side


def freehand(grey: Floats, labels: NDArray[np.uint8] | None, random: Random) -> Floats:
    """What a person draws with a mouse: strokes that wobble, miss, overshoot and double."""
    hand, px = Hand.of(random), min(grey.shape) / 256
    warp, side = Warp.of(hand.warp, random), float(min(grey.shape))
    drawn, widths = [], []
    for stroke in _misplaced(_chosen(grey, labels, random), hand.misplace * px, random):
        missed = hand.miss * (0.25 if stroke.part in ("feature", "pupil", "brow") else 1)
        for piece in [stroke.points] if stroke.filled else _pieces(stroke, random, px):
            if random.uniform() < missed:
                continue
            for _ in range(1 + (random.uniform() < hand.double and not stroke.filled)):
                moved = warp(hand.moved(piece, random, px), side)
                drawn.append(replace(stroke, points=moved))
                widths.append(hand.width * px * random.uniform(0.75, 1.25))
    return painted(drawn, widths, grey.shape, smooth=random.uniform() < 0.7)


def _misplaced(strokes: Sequence[Stroke], by: float, random: Random) -> list[Stroke]:
    """Strokes whose groups are moved by some pixels and a little larger or smaller."""
    moved = []
    places = {
        group: np.concatenate([s.points for s in strokes if s.group == group]).mean(axis=0)
        for group in dict.fromkeys(s.group for s in strokes)
        if group
    }
    changes = {
        group: (random.normal(0, by, 2), 1 + random.normal(0.04 * by, 0.04 * by, 2))
        for group in places
    }  # larger on the whole, as people draw features
    for stroke in strokes:
        if stroke.group:
            middle, (shift, size) = places[stroke.group], changes[stroke.group]
            points = middle + shift + (stroke.points - middle) * np.clip(size, 0.75, 1.4)
            stroke = replace(stroke, points=points)
        moved.append(stroke)
    return moved


def _pieces(stroke: Stroke, random: Random, px: float) -> list[Points]:
    """A stroke in the pieces that a hand draws at one go."""
    points = stroke.points
    if (points[0] == points[-1]).all() and stroke.part == "outline":
        turn = int(random.integers(len(points) - 1))
        points = np.concatenate([points[turn:-1], points[: turn + 1]])
    count = int(len(points) / (random.uniform(60, 220) * px)) + 1
    cuts = np.linspace(0, len(points) - 1, count + 1).astype(int)
    cuts[1:-1] += random.integers(-8, 9, count - 1)
    return [points[a : b + 1] for a, b in pairwise(cuts) if b - a > 1]


def _chosen(grey: Floats, labels: NDArray[np.uint8] | None, random: Random) -> list[Stroke]:
    """The strokes of which one drawing is made; without labels, edges."""
    px = min(grey.shape) / 256
    if labels is None:
        mask = canny(0.5 * grey + 0.5 * evenly_lit(grey), sigma=1.6 * px, strong=0.9, weak=0.4)
        lines = traced(mask, 14 * px)[: int(random.integers(30, 70))]
        return [Stroke(evened(points), "edge") for points in lines]
    body, pupils, brows = random.uniform() < 0.7, random.integers(4), random.integers(3)
    strokes = []
    for stroke in face_strokes(labels, grey):
        if stroke.part == "body" and not body:
            continue
        if stroke.part == "pupil" and pupils < 2 and stroke.filled == (pupils == 0):
            continue
        if stroke.part == "brow" and brows:
            continue
        strokes.append(stroke)
    if random.uniform() < 0.35:
        strokes = _plain(strokes, labels, random)
    if brows:
        strokes += _brow_lines(labels, random, hatched=brows == 2)
    return strokes + _strands(grey, labels, random)


def _plain(strokes: Sequence[Stroke], labels: NDArray[np.uint8], random: Random) -> list[Stroke]:
    """Strokes with the eyes as ovals, each or all, and the mouth as a bow."""
    as_ovals, as_bow = random.uniform(size=2) < 0.7
    replaced = {CLASSES[eye] for eye in EYES} if as_ovals else set()
    kept = [s for s in strokes if s.part != "feature" or s.group not in replaced]
    for eye in EYES if as_ovals else ():
        y, x = np.nonzero(labels == eye)
        if len(y) > 8:
            radii = np.array([np.ptp(x) / 2, np.ptp(y) / 2 * random.uniform(1, 1.6)]) + 0.5
            oval = np.array([x.mean(), y.mean()]) + 0.5 + radii * circle(17)
            kept.append(Stroke(oval, "feature", group=CLASSES[eye]))
    bow = _middle(np.isin(labels, LIPS)) if as_bow else None
    if bow is not None:
        kept = [s for s in kept if s.group != "mouth"]
        kept += [Stroke(bow, "feature", group="mouth")]
    return kept


def _middle(mask: NDArray[np.bool_]) -> Points | None:
    """The line along the middle of something wide, (n, 2); None if it is hardly there."""
    y, x = np.nonzero(mask)
    if len(y) < 12:
        return None
    columns = np.unique(np.linspace(x.min(), x.max(), 9).astype(int))
    rows = [y[x == c] for c in columns]
    return np.array(
        [[c + 0.5, r.mean() + 0.5] for c, r in zip(columns, rows, strict=True) if len(r)]
    )


def _brow_lines(labels: NDArray[np.uint8], random: Random, *, hatched: bool) -> list[Stroke]:
    """Each brow as a line along its middle, or as short strokes across it."""
    strokes = []
    for brow in BROWS:
        middle = _middle(labels == brow)
        if middle is None:
            continue
        if hatched:
            half = 0.5 * (labels == brow).sum() / np.ptp(middle[:, 0]).clip(1)
            across = np.array([random.uniform(-1, 1) * half, half])
            lines = [np.stack([point - across, point + across]) for point in middle]
        else:
            lines = [middle] * int(random.integers(1, 4))
        strokes += [Stroke(line, "brow", group=CLASSES[brow]) for line in lines]
    return strokes


def _strands(grey: Floats, labels: NDArray[np.uint8], random: Random) -> list[Stroke]:
    """Some lines in the hair, often none."""
    px, count = min(grey.shape) / 256, int(random.integers(-6, 16))
    if count <= 0:
        return []
    mask = canny(grey, sigma=2 * px, strong=0.85, weak=0.4) & (labels == HAIR)
    lines = traced(mask, 18 * px)[: 2 * count]
    order = random.permutation(len(lines))[:count]
    return [Stroke(evened(lines[i]), "strand") for i in order]
