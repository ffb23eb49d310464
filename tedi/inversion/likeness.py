"""How like their targets pictures are: distances by name, the targets' features taken once."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.descent import parts
from tedi.errors import UsageError
from tedi.losses import Describe, Maps
from tedi.losses.perceptual import distance
from tedi.losses.pixel import mean_squared_error
from tedi.masks import fit_mask

RANGE = 2.0  # of pictures in [-1, 1] with room for what overshoots


def fit(image: Tensor, size: int) -> Tensor:
    """Pictures (N, 3, size, size) of square ones; smaller ones by area, where that divides."""
    if image.shape[-1] == size:
        return image
    return torch.cat([_fit(part, size) for part in parts(image)])


def _fit(image: Tensor, size: int) -> Tensor:
    if image.shape[-1] % size == 0:
        return F.interpolate(image, (size, size), mode="area")
    return F.interpolate(image, (size, size), mode="bilinear", antialias=True)


def check_target(target: Tensor, name: str = "target") -> None:
    """Raises a UsageError unless these are square pictures (N, 3, H, H) in [-1, 1]."""
    shape = tuple(target.shape)
    if target.ndim != 4 or shape[0] < 1 or shape[1] != 3 or shape[2] != shape[3]:
        raise UsageError(f"{name}: expected aligned pictures (N, 3, H, H), got {shape}; align them")
    if not target.is_floating_point() or not target.abs().amax() <= RANGE:
        least, most = target.aminmax()
        raise UsageError(f"{name}: expected values in [-1, 1], got {least:g} to {most:g}")


class Likeness:
    """Distances of pictures from targets, row by row.

    Where a mask is 0, a picture is compared as if it were the target.

    Args:
        target: (N, 3, h, h) in [-1, 1].
        maps: features for the "perceptual" distance; None: there is none.
        describe: identity network for the squared "identity" distance; None: there is none.
        mask: (1 or N, 1, any, any), 1 where pictures are compared; None compares all of them.
    """

    def __init__(
        self,
        target: Tensor,
        maps: Maps | None = None,
        describe: Describe | None = None,
        mask: Tensor | None = None,
    ) -> None:
        self.maps, self.describe = maps, describe
        self.targets = parts(target)
        self.masks = None if mask is None else parts(fit_mask(mask, target))
        with torch.no_grad():
            self.features = [maps(part) for part in self.targets] if maps else []
            self.persons = [describe(part) for part in self.targets] if describe else []

    @property
    def names(self) -> tuple[str, ...]:
        """Distances that there are."""
        known = {"pixel": True, "perceptual": self.maps, "identity": self.describe}
        return tuple(name for name, there in known.items() if there)

    def __call__(self, nth: int, image: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """The distances that are named, (n,), of pictures from part `nth` of the targets."""
        target = self.targets[nth]
        if self.masks is not None:
            image = target + self.masks[nth] * (image - target)
        found = {}
        for name in names:
            if name == "pixel":
                found[name] = mean_squared_error(image, target)
            elif name == "perceptual" and self.maps is not None:
                found[name] = distance(self.maps(image), self.features[nth])
            elif name == "identity" and self.describe is not None:
                found[name] = (self.describe(image) - self.persons[nth]).square().sum(dim=1)
        return found

    @torch.no_grad()
    def figures(self, draw: Callable[[Tensor], Tensor], ws: Tensor) -> dict[str, Tensor]:
        """All distances (N,) of the pictures that `draw` makes of codes (N, L, C)."""
        rows = [self(nth, draw(part), self.names) for nth, part in enumerate(parts(ws))]
        return {name: torch.cat([row[name] for row in rows]) for name in self.names}
