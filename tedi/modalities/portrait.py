"""The lines that show a face, read off a label map: `contour` draws them as they are."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tedi.errors import UsageError
from tedi.modalities.labels import CLASSES
from tedi.modalities.strokes import (
    Floats,
    Points,
    Random,
    Stroke,
    borders,
    circle,
    evened,
    painted,
    rounded,
)

# Parts that are drawn as others: an earring is part of its ear, a necklace of the neck.
_DRAWN_AS = np.arange(len(CLASSES), dtype=np.uint8)
_DRAWN_AS[[8, 9, 15, 16]] = 8, 8, 8, 17
SKIN, NOSE, HAIR = 1, 2, 13
EYES, BROWS, LIPS = (4, 5), (6, 7), (10, 11, 12)
CLOTHES, NECK = 18, 17


def contour(grey: Floats, labels: NDArray[np.uint8] | None, random: Random) -> Floats:
    """Borders between the parts of a face, with pupils, in one even line."""
    strokes = face_strokes(_needed(labels), grey)
    px = min(grey.shape) / 256
    width = random.uniform(1, 2.4) * px
    lines = [replace(stroke, points=rounded(stroke.points, 1)) for stroke in strokes]
    return painted(lines, [width] * len(lines), grey.shape)


def face_strokes(labels: NDArray[np.uint8], grey: Floats) -> list[Stroke]:
    """The lines that show a face: outlines, brows, eyes with pupils, nose and lips.

    Args:
        labels: (H, W), classes of `tedi.modalities.labels`.
        grey: (H, W) in [0, 1], where the pupils are seen.
    """
    least = 9 * min(labels.shape) / 256
    strokes = []
    for points, low, high in borders(_DRAWN_AS[labels]):
        part, group = _part(low, high)
        alone = not group and _touches_none(points, labels.shape)
        if len(points) < least * (4 if alone else 1):
            continue
        pieces = _nose(points) if group == "nose" and SKIN in (low, high) else [points]
        strokes += [Stroke(evened(piece), part, group=group) for piece in pieces]
    for eye in EYES:
        strokes += _pupil(labels == eye, grey, CLASSES[eye])
    return strokes


def _touches_none(points: Points, shape: tuple[int, ...]) -> bool:
    """Whether a border meets no other: a ring, or one from edge to edge of the picture."""
    ends = points[[0, -1]]
    at_edge = ((ends == 0) | (ends == np.array(shape)[::-1])).any(axis=1)
    return bool((ends[0] == ends[1]).all() or at_edge.all())


def _part(low: int, high: int) -> tuple[str, str]:
    """Part and group of the border between two classes."""
    pair = {low, high}
    if pair & set(LIPS):
        return "feature", "mouth"
    if of := pair & {NOSE, *EYES}:
        return "feature", CLASSES[max(of)]
    if of := pair & set(BROWS):
        return "brow", CLASSES[max(of)]
    return ("body", "") if pair & {CLOTHES, NECK} else ("outline", "")


def _nose(points: Points) -> list[Points]:
    """The lower part of a nose's border: people draw tip and wings, and little of the bridge."""
    top, bottom = points[:, 1].min(), points[:, 1].max()
    low = points[:, 1] > top + 0.55 * (bottom - top)
    if (points[0] == points[-1]).all():  # begin the ring above
        turn = int(np.argmin(low))
        points = np.concatenate([points[turn:-1], points[: turn + 1]])
        low = np.concatenate([low[turn:-1], low[: turn + 1]])
    cuts = np.flatnonzero(np.diff(low.astype(np.int8))) + 1
    pieces = zip(np.split(points, cuts), np.split(low, cuts), strict=True)
    return [piece for piece, kept in pieces if len(piece) > 4 and kept[0]]


def _pupil(eye: NDArray[np.bool_], grey: Floats, group: str) -> list[Stroke]:
    """The iris as a circle and the pupil as a dot, where an eye is darkest; none in a shut one."""
    y, x = np.nonzero(eye)
    if not len(y) or y.max() - y.min() < 4 * min(eye.shape) / 256:
        return []
    dark = grey[y, x].max() - grey[y, x] + 1e-3
    weight = dark**2 / (dark**2).sum()
    middle = np.array([(x * weight).sum() + 0.5, (y * weight).sum() + 0.5])
    height = len(y) / (x.max() - x.min() + 1)  # the mean one: its corners are pointed
    radius = 0.55 * height
    ring = circle(13)
    return [
        Stroke(middle + radius * ring, "pupil", group=group),
        Stroke(middle + 0.45 * radius * ring, "pupil", filled=True, group=group),
    ]


def _needed(labels: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    if labels is None:
        raise UsageError("labels: contour draws the parts of a label map; give one, or use edges")
    return labels
