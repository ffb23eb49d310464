"""How far pictures of prompts lie, as a crowd, from what the generator draws without any.

Fréchet distance of Gaussians (Dowson and Landau 1982) fitted to features (Heusel et al. 2017):
|μa − μb|² + tr(Σa + Σb − 2 (Σa Σb)^½). It falls with n, for equal crowds too: numbers of different
n do not compare, which is why the distance within the unconditional pictures stands beside it.
Prompts that ask for what is rare move the crowd rightly; 0 is not what a good method reaches.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.metrics.score import Drawn, Metric, Score, resamplings


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of features a (N, F) and b (M, F), computed in float64; at least 0."""
    a, b = a.double(), b.double()
    shift = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    left, right = root_factor(a), root_factor(b)
    both = left.square().sum() + right.square().sum()
    return max(0.0, float(shift + both - 2 * overlap(left, right)))


def root_factor(features: Tensor) -> Tensor:
    """X (N, F) with XᵀX the unbiased covariance.

    Raises:
        UsageError: fewer than two rows.
    """
    if len(features) < 2:
        raise UsageError(f"features: expected two pictures or more, got {len(features)}")
    return (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5


def overlap(left: Tensor, right: Tensor) -> Tensor:
    """Trace of (Σa Σb)^½ of Σa = leftᵀleft, Σb = rightᵀright.

    With R = Σa^½ that is tr (R Σb R)^½, a sum of roots of eigenvalues; for few pictures the
    same are the singular values of left rightᵀ, which is smaller.
    """
    if min(len(left), len(right)) < left.shape[1]:
        return torch.linalg.svdvals(left @ right.T).sum()
    values, vectors = torch.linalg.eigh(left.T @ left)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return torch.linalg.eigvalsh(root @ (right.T @ right) @ root).clamp_min(0).sqrt().sum()


@dataclass(frozen=True)
class Frechet(Metric):
    """Fréchet distance of pictures of prompts and unconditional ones.

    Attributes:
        rounds: resamplings of prompts behind the interval, which is value ± 1.96 of their
            standard deviations: resampling repeats pictures, and their mean lies too high.
        seed: of the resamplings.
    """

    rounds: int = 40
    seed: int = 0

    name: ClassVar[str] = "Fréchet distance"
    compares: ClassVar[str] = "features of pictures of prompts, with those of unconditional ones"
    reference: ClassVar[str] = "unconditional pictures of the same seeds and psi"
    higher_is_better: ClassVar[bool] = False
    takes: ClassVar[type] = Drawn

    def __call__(self, sample: Drawn) -> list[Score]:
        """One score; its details hold the floor, measured between halves, and a warning."""
        a, b = sample.features, sample.free_features
        if min(len(a), len(b)) < 4 or len(sample.captions) < 2:
            raise UsageError(
                "pictures: expected four or more of two prompts or more; raise --count"
            )
        value = frechet(a, b)
        error = 1.96 * self._deviation(sample)
        found = (value, max(0.0, value - error), value + error)
        details = {"prompts": len(sample.captions), **self._floor(sample), **few(len(a), a)}
        return [self.score(found, n=len(a), network=sample.judge, details=details)]

    def _deviation(self, sample: Drawn) -> float:
        """Standard deviation over resamplings of prompts, their free pictures with them."""
        T = len(sample.captions)
        rows = [(sample.owners == t).nonzero().flatten() for t in range(T)]
        found = []
        for drawn in resamplings(T, rounds=self.rounds, seed=self.seed).tolist():
            index = torch.cat([rows[t] for t in drawn])
            found.append(frechet(sample.features[index], sample.free_features[index]))
        return float(torch.tensor(found).std())

    def _floor(self, sample: Drawn) -> dict[str, float | int]:
        """Distance of free pictures of half the prompts from those of the other half.

        Beside it, at the same number of pictures, that of pictures of prompts from the latter.
        """
        random = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(sample.captions), generator=random)
        first = torch.isin(sample.owners, order[: len(order) // 2])
        left, right = sample.free_features[first], sample.free_features[~first]
        if min(len(left), len(right)) < 2:
            return {}
        return {
            "floor": frechet(left, right),
            "value at floor's n": frechet(sample.features[first], right),
            "floor's n": min(len(left), len(right)),
        }


def few(n: int, features: Tensor) -> dict[str, str]:
    """A warning if there are fewer pictures than features."""
    F = features.shape[1]
    if n > F:
        return {}
    return {"warning": f"{n} pictures for {F} features: biased upwards, compare at equal n only"}
