"""How much of the generator's variety is left once a prompt is given.

Pictures are compared by `tedi.losses.perceptual`: LPIPS without learned weights.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import ClassVar

from torch import Tensor

from tedi.errors import UsageError
from tedi.losses.perceptual import distance
from tedi.metrics.score import Drawn, Metric, Score, estimate


def spread(pictures: Sequence[Sequence[Tensor]]) -> float:
    """Mean distance over all pairs of pictures, each its feature maps; nan for a single one."""
    pairs = [float(distance(a, b).mean()) for a, b in combinations(pictures, 2)]
    return sum(pairs) / len(pairs) if pairs else float("nan")


class Diversity(Metric):
    """Distance between pictures of a prompt over that of free ones: 0 all alike, 1 as varied."""

    name: ClassVar[str] = "diversity"
    compares: ClassVar[str] = (
        "pictures of one prompt, with unconditional pictures of the same seeds"
    )
    reference: ClassVar[str] = "unconditional pictures of the same seeds and psi"
    higher_is_better: ClassVar[bool] = True
    takes: ClassVar[type] = Drawn

    def __call__(self, sample: Drawn) -> list[Score]:
        """One score: ratio of the mean distances, with the free mean itself in the details."""
        if not bool(sample.distances.isfinite().all()):
            raise UsageError("seeds: expected two or more a prompt, got one; raise --seeds")
        free = float(sample.free_distances.mean())
        if not free > 0:
            raise UsageError("seeds: unconditional pictures do not differ; raise --psi")
        found = estimate(sample.distances, sample.free_distances)
        details = {"prompts": len(sample.captions), "unconditional distance": free}
        details["distance"] = float(sample.distances.mean())
        return [self.score(found, n=len(sample.owners), network=sample.judge, details=details)]
