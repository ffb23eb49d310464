"""Classifiers that tell the attributes of codes, and which numbers of a code tell them.

Each is fitted to all K attributes of a space at once, so that `tedi.metrics.dci` need not know how.
"""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from tedi.registry import Table

Predict = Callable[[Tensor], Tensor]
"""Codes (N, D') -> scores (N, K), above 0 where they have the attribute."""
Fit = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Predict]]
"""Codes (N, D'), labels (N, K) and which of these count (N, K) -> how much each number tells of
each attribute (D', K), 0 or more, and the fitted classifiers."""
Tell = Callable[[int], None]
"""Called with how many attributes were fitted since the last call."""


class Classifier:
    """One kind of classifier."""

    about: ClassVar[str]  # what it is and how it is set
    short: ClassVar[str]  # its name in a title
    rounds: ClassVar[int]  # resamplings behind an interval, as many as its time allows
    surest: ClassVar[float | None]  # share kept at each end of an attribute; None: all faces

    def prepare(self, x: Tensor, y: Tensor, counts: Tensor, tell: Tell) -> Fit:
        """What fits it to these codes (N, D'), or to some of them.

        Args:
            x: (N, D') standardised codes to train on.
            y: (N, K) bool, whether each has each attribute.
            counts: (N, K) bool, whether that is to be learned from.
            tell: called as attributes are fitted.
        """
        raise NotImplementedError


CLASSIFIERS = Table(
    "classifier",
    {"linear": "tedi.metrics.linear:Linear", "trees": "tedi.metrics.trees:Trees"},
)


def right(scores: Tensor, y: Tensor, counts: Tensor) -> Tensor:
    """Share of scores (N, K) above 0 where y is true, the mean of both sides, (K,)."""
    hits = ((scores > 0) == y).double()
    sides = [
        (hits * of).sum(dim=0) / of.sum(dim=0).clamp_min(1) for of in (y & counts, ~y & counts)
    ]
    return (sides[0] + sides[1]) / 2
