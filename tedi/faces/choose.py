"""Which of the faces in a photo are meant, and whether they can be worked with."""

import math
from collections.abc import Sequence
from typing import Literal

from tedi.errors import FaceError, TediError, UsageError
from tedi.faces.align import quad_of
from tedi.faces.detect import Detected

Which = Literal["largest", "all"] | int

MIN_SIZE = 96
"""Pixels of the photo that the side of a face's square must have: about 24 between the eyes."""

# Eye distance by the distance from eyes to mouth; from the front about 0.95, at 65° 0.4.
_NARROWEST = 0.4


def choose(
    found: Sequence[Detected], which: Which, name: str, *, min_size: float = MIN_SIZE
) -> list[Detected]:
    """The faces that are meant.

    Args:
        found: faces of a photo, largest first, as `Detector` gives them.
        which: "largest"; the number of a face, 1 for the largest; or "all", which leaves out faces
            that are too small or seen from the side, as long as one is left.
        name: what errors call the photo.
        min_size: pixels that the side of a face's square must have.

    Returns:
        One face or more, largest first.

    Raises:
        UsageError: there is no such number.
        TediError: no face, or one that is too small or seen from the side.
    """
    if isinstance(which, bool) or not (which in ("largest", "all") or isinstance(which, int)):
        raise UsageError(f"face: expected 'largest', 'all' or a number from 1, got {which!r}")
    if not found:
        advice = "pass --no-align if it is already a cropped face"
        raise FaceError(f"{name}: no face found", option="--no-align", advice=advice)
    if which == "all":
        good = [face for face in found if _trouble(face, min_size) is None]
        if good:
            return good
    number = which if isinstance(which, int) else 1
    if not 1 <= number <= len(found):
        faces = "1 face" if len(found) == 1 else f"{len(found)} faces"
        raise UsageError(f"--face {number}: {name} has {faces}")
    trouble = _trouble(found[number - 1], min_size)
    if trouble and len(found) > 1:
        said = f"{name}: face {number} of {len(found)} {trouble}"
        raise FaceError(said, option="--face", advice="or choose another with --face")
    if trouble:
        raise TediError(f"{name}: the face {trouble}")
    return [found[number - 1]]


def _trouble(face: Detected, min_size: float) -> str | None:
    """Why a face cannot be worked with, as the end of a sentence."""
    eye, other, nose = face.points[:3]
    across, down = other - eye, face.points[3:].mean(0) - (eye + other) / 2
    width, height = math.hypot(*across), math.hypot(*down)
    place = float((nose - eye) @ across) / max(width**2, 1e-9)
    if width < _NARROWEST * height or not 0 <= place <= 1:
        return "is seen from the side; take a photo from the front"
    side = math.dist(*quad_of(face.points)[[0, 3]])
    if side < min_size:
        return (
            f"is too small: its square has {side:.0f} pixels a side, expected {min_size:.0f} or "
            "more; use a larger photo"
        )
    return None
