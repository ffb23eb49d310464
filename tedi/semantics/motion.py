"""How far each slot of a StyleGAN3 turns and moves what is drawn.

"Third Time's the Charm?" (Alaluf et al. 2022, arXiv 2201.13433) finds that slot 0 holds the place
of the face in an unaligned generator, slot 1 some of its turn, and other slots none; so that the
mean of W in slot 0 draws any code upright (pseudo-alignment). Here that is measured, for any
generator and without landmarks: a slot is given the mean of W, and the turn and the shift are
sought that bring the one drawing nearest to the other. Where they explain little of the change
("rigid" near 0), the slot changes something else, and the turn and shift mean nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.generators.based import moved, placed
from tedi.interfaces import Generator

STARTS = tuple(range(-45, 46, 15))  # degrees that are tried first
COARSE, FINE = 16, 64  # px at which the place is sought, then made exact
STEPS = 40  # of each
RATES = (0.06, 0.02)  # first steps, radians or half widths


@dataclass(frozen=True)
class Motion:
    """What giving slots the mean of W does to drawings.

    Attributes:
        slots: those that were given it.
        degrees: (N,) that each drawing turns, counter-clockwise.
        shift: (N, 2) that it moves right and down, widths.
        rigid: (N,) share of the squared change of pixels that turn and shift explain, at most 1.
        change: (N,) mean squared change of pixels.
    """

    slots: tuple[int, ...]
    degrees: Tensor
    shift: Tensor
    rigid: Tensor
    change: Tensor


def slot_motion(generator: Generator, ws: Tensor, slots: Sequence[int]) -> Motion:
    """How drawings of codes differ from those with the mean of W in some slots.

    Args:
        generator: any.
        ws: (N, L, C), untruncated codes show most.
        slots: that are given the mean.

    Raises:
        UsageError: no such slot.
    """
    if not slots or not all(0 <= slot < generator.slots for slot in slots):
        raise UsageError(f"slots: expected some of 0 to {generator.slots - 1}, got {list(slots)}")
    without = ws.clone()
    without[:, list(slots)] = generator.w_avg.to(ws)
    with torch.no_grad():
        pairs = [(code, other) for code, other in zip(ws.split(1), without.split(1), strict=True)]
        image = torch.cat([generator.synthesis(code) for code, _ in pairs])
        target = torch.cat([generator.synthesis(other) for _, other in pairs])
    place = register(image, target)
    window = _window(image)
    before = (window * (image - target).square()).mean(dim=(1, 2, 3))
    after = (window * (moved(image, _affine(place)) - target).square()).mean(dim=(1, 2, 3))
    degrees, shift = -torch.rad2deg(place[:, 0]), place[:, 1:] / 2
    rigid = 1 - after / before.clamp_min(1e-12)
    return Motion(tuple(slots), degrees, shift, rigid, before)


def register(image: Tensor, target: Tensor) -> Tensor:
    """The turn and shift of pictures that bring them nearest to others.

    Least squares of pixels within a round window, by descent from several angles.

    Args:
        image: (N, 3, R, R).
        target: (N, 3, R, R).

    Returns:
        (N, 3): radians, as the top turns to the right, and half widths right and down.
    """
    n, starts = len(image), len(STARTS)
    first = image.new_zeros(starts, n, 3)
    first[:, :, 0] = torch.deg2rad(image.new_tensor(STARTS))[:, None]
    many = [x.repeat(starts, 1, 1, 1) for x in (image, target)]
    tried, error = _descend(first.flatten(0, 1), *many, size=COARSE, rate=RATES[0])
    best = error.view(starts, n).argmin(dim=0)
    place = tried.view(starts, n, 3)[best, torch.arange(n, device=best.device)]
    return _descend(place, image, target, size=FINE, rate=RATES[1])[0]


def _descend(
    place: Tensor, image: Tensor, target: Tensor, *, size: int, rate: float
) -> tuple[Tensor, Tensor]:
    """Places (N, 3) after descent, the best on the way, and their errors (N,)."""
    size = min(size, image.shape[-1])
    image, target = (F.interpolate(x, (size, size), mode="area") for x in (image, target))
    window, place = _window(image), place.detach().clone().requires_grad_(True)
    best, least = place.detach().clone(), place.new_full((len(place),), math.inf)
    optimizer = torch.optim.Adam([place], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        with torch.enable_grad():
            error = (window * (moved(image, _affine(place)) - target).square()).mean(dim=(1, 2, 3))
            (slope,) = torch.autograd.grad(error.sum(), place)
        better = error.detach() < least
        best[better], least = place.detach()[better], torch.minimum(least, error.detach())
        place.grad = slope
        optimizer.step()
        schedule.step()
    return best, least


def _affine(place: Tensor) -> Tensor:
    angle, right, down = place.unbind(dim=1)
    return placed(angle, torch.ones_like(angle), right, down)


def _window(image: Tensor) -> Tensor:
    """Weights (1, 1, R, R) that fall to 0 towards the edges of a disc: what turns leaves it."""
    size = image.shape[-1]
    at = (torch.arange(size, device=image.device, dtype=image.dtype) + 0.5) * (2 / size) - 1
    radius = (at.square() + at.square()[:, None]).sqrt().clamp(max=1)
    return (torch.cos(radius * math.pi / 2) ** 2)[None, None]
