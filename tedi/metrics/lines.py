"""How near the lines of two sketches lie to each other: the chamfer distance.

Barrow et al. 1977 ("Parametric correspondence and chamfer matching") match drawings by the mean
distance from the lines of one to those of the other, read off a distance transform.
"""

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.modalities.sketch import lines

__all__ = ["chamfer", "distances", "lines"]


def distances(mask: Tensor) -> Tensor:
    """Distance in pixels of each pixel from the nearest one that is set; exact.

    Two passes (Felzenszwalb and Huttenlocher 2012): along columns by counting, then along rows
    the least of d² + (x − x')².

    Args:
        mask: (N, 1, H, W) bool.

    Returns:
        (N, 1, H, W) float32; inf where nothing is set.
    """
    height, width = mask.shape[-2:]
    y = torch.arange(height, device=mask.device, dtype=torch.float32).view(-1, 1)
    above = torch.where(mask, y, -torch.inf).cummax(dim=-2).values
    below = torch.where(mask, y, torch.inf).flip(-2).cummin(dim=-2).values.flip(-2)
    column = torch.minimum(y - above, below - y).square()
    steps = torch.arange(width, device=mask.device, dtype=torch.float32)
    apart = (steps[:, None] - steps).square()
    lined = column.flatten(0, 2).split(8)  # rows at a time: (rows, W, W) fits the cache
    squares = [(rows[:, None] + apart).amin(dim=-1) for rows in lined]
    return torch.cat(squares).view(mask.shape).sqrt()


def chamfer(a: Tensor, b: Tensor) -> Tensor:
    """How far the lines of sketches lie apart, in % of their side.

    The mean distance from a line pixel of one to the nearest of the other, averaged over both
    ways: 0 where the lines are the same, 1 where they are shifted by a hundredth of the side.

    Args:
        a: (N, 1, H, W) in [0, 1], 1 paper and 0 line.
        b: as a.

    Returns:
        (N,), 0 or more.

    Raises:
        UsageError: shapes that differ, or are no sketches'.
        TediError: a sketch with no lines.
    """
    if a.shape != b.shape:
        raise UsageError(f"sketches: expected two alike, got {tuple(a.shape)}, {tuple(b.shape)}")
    one, two = lines(a), lines(b)
    mean = (_to(one, two) + _to(two, one)) / 2
    return 100 * mean / min(a.shape[-2:])


def _to(there: Tensor, here: Tensor) -> Tensor:
    """Mean distance (N,) from the pixels of `here` to the nearest of `there`."""
    far = distances(there) * here
    return far.flatten(1).sum(dim=1) / here.flatten(1).sum(dim=1)
