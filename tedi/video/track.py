"""One face followed through a video: near where it was, known by its descriptor, cuts seen.

A face is looked for in a window about its last place, which costs a fraction of a search of the
whole frame; the whole is searched now and then, and when the window shows no face. Where several
faces are near, the descriptor of the person decides, so that two who pass each other stay apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from tedi.errors import TediError, UsageError
from tedi.faces import Detected, align, choose, quad_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Which = Literal["largest"] | int
"""The face that is meant: "largest", or a number, 1 for the largest."""

EVERY = 10  # frames from one search of the whole to the next
WINDOW = 2.0  # sides of the face's box that the window has
WINDOW_PIXELS = 208  # a side of the window as it is searched
REACH = 0.6  # sides a face may move from one frame to the next and be the same without proof
GROWTH = 1.5  # times its side a face may grow or shrink meanwhile
SAME = 0.6  # distance of descriptors below which two faces are one person's (dlib)
CUT = 0.09  # mean change of a thumbnail's levels, of 1, that a cut has at least
CUT_RISE = 3.0  # times the change that was usual before
_THUMB = 24  # pixels a side of a thumbnail
_PERSON_SHARE = 0.1  # of a new look in what is known of a person


@dataclass(frozen=True, eq=False)
class Seen:
    """What was found in a frame.

    Attributes:
        shot: number of the run of frames that belong together; a cut or a jump begins a new one.
        person: number of the person followed; -1 if there is none.
        quad: (4, 2) corners of the face's FFHQ square; None without a face.
        why: what is amiss where there is none.
        points: (5, 2) of the face, as `tedi.faces.Detected` has them.
    """

    shot: int
    person: int
    quad: Floats | None
    why: str = ""
    points: Floats | None = None


@dataclass
class _State:
    """What a tracker knows; JSON holds it."""

    shot: int = 0
    person: int = -1
    main: int = -1  # the first person whose face could be worked with
    since: int = 0  # frames since the whole was searched
    lost: int = 0  # frames since the face was seen
    several: bool = False  # the shot showed more than one face
    others: bool = False  # the frame shows faces, none of them the person's, in a shot without him
    box: list[float] | None = None  # left, top, right, bottom of the last place
    motion: list[float] = field(default_factory=lambda: [0.0, 0.0])
    usual: float = 0.0  # change between frames
    thumb: list[float] | None = None
    people: list[list[float]] = field(default_factory=list)


class Tracker:
    """Follows one face, frame by frame.

    Args:
        detect: pixels (H, W, 3) uint8 -> faces, largest first, as `tedi.faces.Detector`.
        describe: aligned face, 256 px -> descriptor (D,) of the person.
        face: which face to begin with; after a cut it is the same person, if he is there.
        anyone: after a cut that does not show the person, follow the face of that rank.
        min_size: pixels that the side of a face's square must have.

    Raises:
        UsageError: another kind of face.
    """

    def __init__(
        self,
        detect: Callable[[NDArray[np.uint8]], list[Detected]],
        describe: Callable[[Image.Image], Floats],
        *,
        face: Which = "largest",
        anyone: bool = False,
        min_size: float = 48,
    ) -> None:
        number = 1 if face == "largest" else face
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise UsageError(f"--face: expected largest or a number from 1, got {face!r}")
        self.detect, self.describe, self.rank, self.min_size = detect, describe, number, min_size
        self.anyone = anyone
        self._state = _State()

    def state(self) -> dict[str, Any]:
        """What JSON can hold; a tracker given it by `restore` goes on from there."""
        return dict(vars(self._state))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the `state` of another."""
        self._state = _State(**state)

    def __call__(self, pixels: NDArray[np.uint8]) -> Seen:
        """The face in the next frame, pixels (H, W, 3) uint8."""
        s = self._state
        picture = Image.fromarray(pixels)
        if self._cut(picture):
            s.shot, s.box, s.lost, s.several = s.shot + 1, None, 0, False
        found = self._find(pixels, picture)
        if found is None:
            s.lost += 1
            return Seen(s.shot, -1, None, self._missing())
        self._settle(found)
        try:
            choose([found], 1, "frame", min_size=self.min_size)
        except TediError as error:
            return Seen(s.shot, -1, None, str(error).removeprefix("frame: the face ").split(";")[0])
        quad = quad_of(found.points)
        middle = quad.mean(0)
        if (middle < 0).any() or (middle >= picture.size).any():
            return Seen(s.shot, -1, None, "leaves the frame")
        s.main = s.person if s.main < 0 else s.main
        return Seen(s.shot, s.person, quad, points=found.points)

    def _missing(self) -> str:
        """Why there is none."""
        s = self._state
        if s.person < 0:
            return "no face"
        return "somebody else" if s.others else "the face is not seen"

    # --- where it is ---

    def _find(self, pixels: NDArray[np.uint8], picture: Image.Image) -> Detected | None:
        s = self._state
        s.others = False
        if s.box is not None and s.since < EVERY:
            near = self._pick(self._search_window(picture), picture)
            if near is not None:
                s.since += 1
                return near
        found = self.detect(pixels)
        s.since, s.several = 0, s.several or len(found) > 1
        return self._begin(found, picture) if s.box is None else self._pick(found, picture)

    def _search_window(self, picture: Image.Image) -> list[Detected]:
        """Faces about the last place, in pixels of the frame."""
        box = self._expected()
        side = WINDOW * max(box[2] - box[0], box[3] - box[1])
        x, y = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
        left, top = math.floor(x), math.floor(y)
        whole = math.ceil(side)
        region = picture.crop((left, top, left + whole, top + whole))
        size = min(whole, WINDOW_PIXELS)
        if size < whole:
            region = region.resize((size, size), Image.Resampling.BOX, reducing_gap=2.0)
        scale = whole / size
        found = self.detect(np.asarray(region))
        shift = np.array([left, top]) - 0.5
        return [_moved(face, scale, shift) for face in found]

    def _expected(self) -> list[float]:
        """The last box, moved on as it moved before."""
        s = self._state
        assert s.box is not None
        dx, dy = s.motion if not s.lost else (0.0, 0.0)
        return [s.box[0] + dx, s.box[1] + dy, s.box[2] + dx, s.box[3] + dy]

    def _pick(self, found: Sequence[Detected], picture: Image.Image) -> Detected | None:
        """The face that was followed so far; None if none of these is it.

        A face that is alone and near needs no proof; one that jumped begins a new shot.
        """
        s, place = self._state, self._expected()
        steps = [_step(place, face.box) for face in found]
        near = [i for i, step in enumerate(steps) if step <= REACH * (1 + s.lost / 4)]
        if len(near) == 1 and not s.lost and not s.several:
            return found[near[0]]
        looks = [self._look(face, picture) for face in found]
        apart = [self._distance(look) for look in looks]
        for those in (near, range(len(found))):
            best = min(those, key=lambda i: apart[i] + steps[i] / 10, default=None)
            if best is None or apart[best] >= SAME:
                continue
            self._learn(looks[best])
            if those is not near:
                s.shot, s.lost = s.shot + 1, 1
            return found[best]
        return None

    def _begin(self, found: Sequence[Detected], picture: Image.Image) -> Detected | None:
        """The face to follow from here on: a person followed before, or the one of the rank.

        Once a face could be worked with, others are not begun with unless anyone is to be followed.
        """
        s = self._state
        only = s.main >= 0 and not self.anyone
        looks = [self._look(face, picture) for face in found] if s.people else []
        known = [
            (float(np.linalg.norm(look - np.array(person))), number, place)
            for place, look in enumerate(looks)
            for number, person in enumerate(s.people)
            if number == s.main or not only
        ]
        distance, number, place = min(known, default=(math.inf, -1, -1))
        if distance < SAME:
            s.person = number
            return found[place]
        s.others = only and bool(found)
        if only or len(found) < self.rank:
            return None
        chosen = found[self.rank - 1]
        s.people.append(self._look(chosen, picture).tolist())
        s.person = len(s.people) - 1
        return chosen

    def _settle(self, face: Detected) -> None:
        s = self._state
        if s.box is not None and not s.lost:
            last, now = _middle(s.box), _middle(face.box)
            s.motion = [now[0] - last[0], now[1] - last[1]]
        else:
            s.motion = [0.0, 0.0]
        s.box, s.lost = list(face.box), 0

    # --- who it is ---

    def _look(self, face: Detected, picture: Image.Image) -> Floats:
        """Descriptor of a face; far from all where it cannot be cut out."""
        try:
            return np.asarray(self.describe(align(picture, quad_of(face.points))), np.float64)
        except UsageError:
            return np.full(1, np.inf)

    def _distance(self, look: Floats) -> float:
        s = self._state
        if s.person < 0 or not np.isfinite(look).all():
            return math.inf
        return float(np.linalg.norm(look - np.array(s.people[s.person])))

    def _learn(self, look: Floats) -> None:
        s = self._state
        if self._distance(look) < SAME:
            known = np.array(s.people[s.person])
            s.people[s.person] = (known + _PERSON_SHARE * (look - known)).tolist()

    # --- cuts ---

    def _cut(self, picture: Image.Image) -> bool:
        """Whether a new scene begins with this frame."""
        s = self._state
        small = picture.resize((_THUMB, _THUMB), Image.Resampling.BOX, reducing_gap=2.0)
        thumb = (np.asarray(small, np.float64) / 255).ravel()
        before, s.thumb = s.thumb, thumb.round(4).tolist()
        if before is None:
            return False
        change = float(np.abs(thumb - np.array(before)).mean())
        cut = change > max(CUT, CUT_RISE * s.usual)
        if not cut:
            s.usual += 0.3 * (change - s.usual)
        return cut


def _middle(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _side(box: Sequence[float]) -> float:
    return max(box[2] - box[0], box[3] - box[1], 1e-6)


def _step(place: Sequence[float], box: Sequence[float]) -> float:
    """How far a box lies from another, in its sides; growing by `GROWTH` counts `REACH`."""
    moved = math.dist(_middle(place), _middle(box)) / _side(place)
    grown = abs(math.log(_side(box) / _side(place))) / math.log(GROWTH) * REACH
    return max(moved, grown)


def _moved(face: Detected, scale: float, shift: Floats) -> Detected:
    """A face of a reduced window, in pixels of the frame."""
    corners = (np.array(face.box).reshape(2, 2) + 0.5) * scale + shift
    left, top, right, bottom = corners.ravel().tolist()
    return Detected((left, top, right, bottom), face.score, (face.points + 0.5) * scale + shift)
