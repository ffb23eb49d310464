"""Logistic regressions with an L1 penalty, all attributes at once.

The penalty is chosen on every fifth code, which is kept back; the descent is FISTA ("A fast
iterative shrinkage-thresholding algorithm", Beck and Teboulle 2009).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.metrics.classifiers import Classifier, Fit, Predict, Tell, right

FRACTIONS = (0.5, 0.25, 0.12, 0.06, 0.03)
"""Penalties tried, of the least one at which all weights are 0."""
STEPS = 100  # of the descent, at each penalty
TINY = 1e-11


class Linear(Classifier):
    """Of each attribute, a weighted sum of few numbers; a number tells as much as it weighs."""

    about = "logistic regression, L1 penalty chosen on every fifth training face"
    short = "linear classifiers"
    rounds = 12
    surest = None

    def prepare(self, x: Tensor, y: Tensor, counts: Tensor, tell: Tell) -> Fit:
        fractions, start = _choose(x, y, counts)

        def fit(x: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Predict]:
            weights, offset = _fit(x, y, counts, fractions, start)
            tell(y.shape[1])
            return weights.abs(), lambda codes: codes @ weights + offset

        return fit


def _choose(x: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty (K,) that is best on every fifth code kept back, and its weights (D', K)."""
    kept = torch.arange(len(x)) % 5 == 4
    start = x.new_zeros(x.shape[1], y.shape[1])
    best, chosen = torch.zeros(y.shape[1]).double(), torch.full((y.shape[1],), FRACTIONS[0])
    for fraction in FRACTIONS:
        every = torch.full_like(chosen, fraction)
        start, offset = _fit(x[~kept], y[~kept], counts[~kept], every, start)
        found = right(x[kept] @ start + offset, y[kept], counts[kept])
        chosen = torch.where(found > best, fraction, chosen)
        best = torch.maximum(best, found)
    return chosen, start


def _fit(
    x: Tensor, y: Tensor, counts: Tensor, fractions: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Weights (D', K) and offsets (K,) of K logistic regressions by FISTA.

    Both sides of an attribute weigh the same, and the penalty is a fraction (K,) of the least one
    at which all weights are 0.
    """
    has, lacks = (0.5 / (of & counts).sum(dim=0).clamp_min(1) for of in (y, ~y))
    share, wanted = (torch.where(y, has, lacks) * counts).to(x), y.to(x)
    penalty = fractions.to(x) * (x.T @ (share * (wanted - 0.5))).abs().amax(dim=0)
    rate = 1 / (0.25 * _largest(x, share)).clamp_min(TINY)
    weights, ahead, offset = start, start, x.new_zeros(y.shape[1])
    momentum = 1.0
    for _ in range(STEPS):
        missing = share * (wanted - (x @ ahead + offset).sigmoid())
        offset = offset + 4 * missing.sum(dim=0)  # a step of its own, of curvature 1/4
        stepped = ahead + rate * (x.T @ missing)
        new = stepped.sign() * F.relu(stepped.abs() - rate * penalty)
        momentum, before = (1 + (1 + 4 * momentum**2) ** 0.5) / 2, momentum
        ahead = new + (before - 1) / momentum * (new - weights)
        weights = new
    return weights, offset


def _largest(x: Tensor, share: Tensor) -> Tensor:
    """Largest eigenvalue (K,) of Xᵀ diag(share_k) X, by power iteration; a tenth is added."""
    v = x.T @ share
    for _ in range(20):
        v = F.normalize(v, dim=0)
        v = x.T @ (share * (x @ v))
    return 1.1 * v.norm(dim=0)
