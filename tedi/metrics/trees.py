"""Gradient-boosted trees, as StyleSpace (Wu et al. 2021) measures spaces with them.

"Greedy function approximation: a gradient boosting machine" (Friedman 2001, algorithm 5): each tree
is fitted to what is missing, y − p, by least squares, and its leaves are given one Newton step of
the log loss. A number tells as much as its splits lower the squared error, over all trees. These
are scikit-learn's GradientBoostingClassifier and its settings. LightGBM grows the trees, in a
fraction of the time; its own boosting splits by Newton's gain, which spreads over more numbers.
Here as there, the lot decides between splits that gain as much.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tedi.errors import TediError
from tedi.metrics.classifiers import Classifier, Fit, Predict, Tell

TREES = 100
DEPTH = 3
RATE = 0.1
BINS = 255  # steps of a number, between which it may be split
TIES = 1e-7
"""Share of a gain that is drawn by lot: of equal gains, LightGBM would take the first number's, and
of numbers that tell as much, all trees would split the same one."""
PURE = 1e-10  # gain of a split that is rounding alone
TINY = 1e-150
INSTALL = 'trees are grown by LightGBM; install it with: pip install "tedi[spaces]"'


class Trees(Classifier):
    """Of each attribute, a sum of small trees."""

    about = (
        f"gradient boosting, {TREES} trees of depth {DEPTH}, rate {RATE:g}, log loss, "
        f"{BINS} steps of a number"
    )
    short = "boosted trees"
    rounds = 6
    surest = 0.02

    def __init__(self) -> None:
        """Find what grows the trees.

        Raises:
            TediError: LightGBM is not installed; the message says how to.
        """
        try:
            import lightgbm
        except (ImportError, OSError) as error:  # OSError: its OpenMP is missing
            raise TediError(f"{INSTALL} ({error})") from error
        self.lightgbm: Any = lightgbm

    def prepare(self, x: Tensor, y: Tensor, counts: Tensor, tell: Tell) -> Fit:
        def fit(x: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Predict]:
            found = []
            for of, counted in zip(y.T, counts.T, strict=True):
                found.append(Boosted(self.lightgbm, x[counted], of[counted]))
                tell(1)
            return (
                torch.stack([each.gains for each in found], dim=1),
                lambda codes: torch.stack([each(codes) for each in found], dim=1),
            )

        return fit


class Boosted:
    """Trees fitted to one attribute.

    Args:
        lightgbm: the package.
        x: (N, D') codes.
        y: (N,) bool, whether each has the attribute; some have, some have not.

    Attributes:
        gains: (D',) by how much splits at each number lower the squared error, summed over trees.
    """

    def __init__(self, lightgbm: Any, x: Tensor, y: Tensor) -> None:
        codes, wanted = x.cpu().numpy(), y.cpu().numpy().astype(np.float64)
        setting, random = _setting(), np.random.default_rng(0)
        self._trees: Any = lightgbm.Booster(setting, lightgbm.Dataset(codes, params=setting))
        self._first = float(np.log(wanted.sum() / (1 - wanted).sum()))
        self._leaves: list[Any] = []
        scores, ones = np.full(len(codes), self._first), np.ones(len(codes))
        for number in range(TREES):
            p = 1 / (1 + np.exp(-scores))
            lot = random.uniform(1 - TIES, 1, codes.shape[1])
            self._trees.reset_parameter({"feature_contri": lot})
            if self._trees.update(fobj=lambda *_, slopes=p - wanted: (slopes, ones)):
                break  # no split lowers the error
            at = self._trees.predict(
                codes, pred_leaf=True, start_iteration=number, num_iteration=1
            ).ravel()
            self._leaves.append(_newton(at, wanted - p, p))
            scores = scores + self._leaves[-1][at]
        self.gains = torch.from_numpy(self._trees.feature_importance("gain"))

    def __call__(self, codes: Tensor) -> Tensor:
        """Log-odds of having the attribute (N,) of codes (N, D')."""
        scores = np.full(len(codes), self._first)
        if self._leaves:
            at = self._trees.predict(codes.cpu().numpy(), pred_leaf=True)
            scores = scores + sum(of[at[:, k]] for k, of in enumerate(self._leaves))
        return torch.from_numpy(scores)


def _newton(at: Any, missing: Any, p: Any) -> Any:
    """What each leaf adds (2^DEPTH,): Σ (y − p) / Σ p (1 − p) of those at it, times the rate."""
    above, below = (np.bincount(at, of, 2**DEPTH) for of in (missing, p * (1 - p)))
    return RATE * np.divide(above, below, out=np.zeros_like(above), where=below > TINY)


def _setting() -> dict[str, Any]:
    """Trees by squared error, of all codes and all numbers, with nothing smoothed."""
    return {
        "objective": "none",
        "num_leaves": 2**DEPTH,
        "max_depth": DEPTH,
        "learning_rate": 1.0,
        "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 0.0,
        "min_gain_to_split": PURE,
        "min_data_in_bin": 1,
        "max_bin": BINS,
        "feature_pre_filter": False,
        "enable_bundle": False,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": torch.get_num_threads(),
        "verbose": -1,
    }
