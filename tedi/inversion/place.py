"""Where in a picture's plane a face lies, found with the encoder that reads upright faces.

An encoder of aligned faces reads a turned one badly. So the picture is turned, scaled and shifted
back in many ways, each is encoded and drawn, and what is drawn most alike tells the place. Nothing
is trained for it, and no landmarks are needed.

Where a network was trained to read places off pictures (`tedi.encoders.base`), it spares the
search: it reads the face, turns it back, and reads what is left.
"""

import itertools
import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from tedi.descent import parts
from tedi.generators.based import UPRIGHT, inverse, moved, placed
from tedi.inversion.likeness import fit
from tedi.losses import Maps
from tedi.losses.perceptual import distance

ANGLES = (0.0, -30.0, -15.0, 15.0, 30.0)  # degrees that are tried first …
SCALES = (1.0, 0.75, 1.33)  # … with these factors
STEPS = (math.radians(8), math.log(1.15), 0.1, 0.1)  # then: turn, log of scale, right, down …
ROUNDS = 3  # … each to both sides, halved so often
GAIN = 0.03  # share of the distance that must be gained, or the face counts as upright
READS = 2  # times that a picture is read: as it is, then turned back as the last reading says


class PoseReader(Protocol):
    """Reads poses off pictures, such as `tedi.encoders.base.BaseReader`."""

    size: int

    def pose(self, image: Tensor, /) -> Tensor:
        """Poses (N, 4), as `place_of` takes them, of pictures (N, 3, size, size) in [-1, 1]."""


@torch.no_grad()
def find_place(
    target: Tensor,
    *,
    encode: Callable[[Tensor], Tensor],
    draw: Callable[[Tensor], Tensor],
    maps: Maps,
    reader: PoseReader | None = None,
) -> Tensor:
    """Places (N, 2, 3) of faces, as `tedi.generators.based.placed` makes them.

    Args:
        target: (N, 3, h, h) in [-1, 1], of a preview's size.
        encode: pictures of upright faces -> codes.
        draw: codes -> previews.
        maps: features that are compared, once the faces are upright.
        reader: reads the places; then all that is tried is whether they draw faces more alike
            than upright ones. None: they are looked for.
    """

    def unlike(u: Tensor) -> Tensor:
        return distance(maps(draw(encode(u))), maps(u))

    if reader is None:
        return torch.cat([_search(part, unlike) for part in parts(target)])
    return torch.cat([_kept(part, read_place(part, reader), unlike) for part in parts(target)])


@torch.no_grad()
def read_place(target: Tensor, reader: PoseReader, reads: int = READS) -> Tensor:
    """Places (N, 2, 3) that a reader tells of faces in pictures (N, 3, h, h)."""
    place = target.new_tensor(UPRIGHT).repeat(len(target), 1, 1)
    for _ in range(reads):
        left = place_of(reader.pose(fit(moved(target, inverse(place)), reader.size)))
        turn = left[:, :, :2] @ place
        place = torch.cat([turn[:, :, :2], turn[:, :, 2:] + left[:, :, 2:]], dim=2)
    return place


def _kept(target: Tensor, place: Tensor, unlike: Callable[[Tensor], Tensor]) -> Tensor:
    """These places, but upright ones for rows that are not drawn more alike in them."""
    better = unlike(moved(target, inverse(place))) < (1 - GAIN) * unlike(target)
    return torch.where(better[:, None, None], place, place.new_tensor(UPRIGHT))


def _search(target: Tensor, unlike: Callable[[Tensor], Tensor]) -> Tensor:
    """Places of some rows at once; each goes its own way."""

    def score(pose: Tensor) -> Tensor:
        return unlike(moved(target, inverse(place_of(pose))))

    upright = target.new_zeros(len(target), 4)
    pose, least = upright, score(upright)
    first = least
    for angle, scale in list(itertools.product(ANGLES, SCALES))[1:]:
        tried = upright + upright.new_tensor([math.radians(angle), math.log(scale), 0, 0])
        pose, least = _nearer(pose, least, tried, score(tried))
    for half in range(ROUNDS):
        for axis, sign in itertools.product(range(4), (-1, 1)):
            tried = pose.clone()
            tried[:, axis] += sign * STEPS[axis] / 2**half
            pose, least = _nearer(pose, least, tried, score(tried))
    found = (least < (1 - GAIN) * first)[:, None]
    return place_of(torch.where(found, pose, upright))


def _nearer(pose: Tensor, least: Tensor, tried: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    better = score < least
    return torch.where(better[:, None], tried, pose), torch.where(better, score, least)


def place_of(pose: Tensor) -> Tensor:
    """Places (N, 2, 3) of poses (N, 4): turn in radians, log of scale, right, down."""
    angle, scale, x, y = pose.unbind(dim=1)
    return placed(angle, scale.exp(), x, y)
