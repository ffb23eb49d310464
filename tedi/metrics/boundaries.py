"""Whether inverted codes mean what their photos show: precision and recall of attributes.

"In-Domain GAN Inversion" (Zhu et al. 2020, arXiv 2004.00049, section 4.2) sorts inverted codes by
their place along a semantic boundary and asks how well that tells photos that show the attribute
from those that do not. A code outside the domain may draw a smile and still lie on the side of
those that do not. What photos show is not known but judged, by a network that saw the photo alone.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from tedi.attributes import COLUMNS, Value, log_softmax
from tedi.errors import UsageError
from tedi.metrics.inversion import Inverted
from tedi.metrics.score import Metric, Score, resamplings

BOUNDARIES: dict[str, tuple[str, frozenset[Value]]] = {
    "smile": ("smile", frozenset({"slight", "broad"})),
    "glasses": ("glasses", frozenset({"eyeglasses", "sunglasses"})),
    "male": ("gender", frozenset({"male"})),
    "old": ("age", frozenset({"old"})),
    "hat": ("hat", frozenset({True})),
    "bangs": ("bangs", frozenset({True})),
}
"""Attribute -> its group of columns, and the values on the far side of its boundary."""
SURE = 1e-6  # log-odds end here


def log_odds(logits: Tensor) -> dict[str, Tensor]:
    """Log-odds (N,) of every attribute of `BOUNDARIES`, from logits (N, V) of values."""
    p = log_softmax(logits.double()).exp()
    return {
        name: p[:, [COLUMNS.index((group, value)) for value in values]].sum(dim=1).logit(eps=SURE)
        for name, (group, values) in BOUNDARIES.items()
    }


def curve(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Recall and precision (K,) as the boundary moves down the scores (N,); ties move at once.

    Args:
        scores: higher for what is likelier to be true.
        truth: (N,) bool.

    Raises:
        UsageError: nothing is true, or all is.
    """
    positives = int(truth.sum())
    if not 0 < positives < len(truth):
        raise UsageError(f"truth: expected some true and some not, got {positives}/{len(truth)}")
    order = scores.argsort(descending=True, stable=True)
    hits = truth[order].double().cumsum(0)
    last = torch.cat([scores[order].diff() != 0, torch.ones(1, dtype=torch.bool)])
    taken = torch.arange(1, len(truth) + 1, dtype=torch.double)
    return (hits / positives)[last], (hits / taken)[last]


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Area under the steps of `curve`: Σ (R_k − R_{k−1}) P_k; the share of true ones by chance."""
    recall, precision = curve(scores, truth)
    return float((recall.diff(prepend=recall.new_zeros(1)) * precision).sum())


class AveragePrecision(Metric):
    """Average precision of attributes read off inverted codes, over all and by attribute."""

    name: ClassVar[str] = "average precision"
    compares: ClassVar[str] = "attributes read off codes, with those judged on their photos"
    reference: ClassVar[str] = "what a network sees in the photos"
    higher_is_better: ClassVar[bool] = True
    rate: ClassVar[bool] = True
    takes: ClassVar[type] = Inverted

    def __call__(self, sample: Inverted) -> list[Score]:
        """The mean over attributes that some photos show and some do not, then one part each."""
        shown = truths(sample)
        if not shown:
            raise UsageError("photos: expected some that show an attribute and some that do not")
        N = len(next(iter(shown.values())))
        draws = resamplings(N, rounds=400)
        found = {name: self._resampled(sample.scores[name], shown[name], draws) for name in shown}
        values = torch.tensor([average_precision(sample.scores[n], shown[n]) for n in shown])
        chance = torch.tensor([float(each.double().mean()) for each in shown.values()])
        whole = torch.stack(list(found.values())).nanmean(dim=0)
        scores = [self._score(sample, values.mean(), whole, N, chance.mean())]
        for name, value, by_chance in zip(shown, values, chance, strict=True):
            scores.append(self._score(sample, value, found[name], N, by_chance, name))
        return scores

    def _resampled(self, scores: Tensor, truth: Tensor, draws: Tensor) -> Tensor:
        """Average precision of each resampling of photos; nan where all or none show it."""
        rows = [(scores[rows], truth[rows]) for rows in draws]
        return torch.tensor(
            [average_precision(s, t) if 0 < int(t.sum()) < len(t) else torch.nan for s, t in rows],
            dtype=torch.double,
        )

    def _score(
        self, sample: Inverted, value: Tensor, draws: Tensor, N: int, chance: Tensor, part: str = ""
    ) -> Score:
        ends = draws.nanquantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
        low, high = min(ends[0], float(value)), max(ends[1], float(value))
        details: dict[str, float | str] = {"by chance": float(chance)}
        note = f"{100 * float(chance):.1f} % by chance"
        details["note"] = (
            note if part else f"{note}; codes by {sample.reader}, photos by {sample.judge}"
        )
        estimate = (float(value), low, high)
        return self.score(estimate, n=N, network=sample.judge, part=part, details=details)


def truths(sample: Inverted) -> Mapping[str, Tensor]:
    """Attribute -> (N,) bool, whether the photo shows it; those that all or none show are left."""
    shown = {name: p > 0.5 for name, p in sample.truth.items() if name in sample.scores}
    return {name: each for name, each in shown.items() if 0 < int(each.sum()) < len(each)}


def curves(sample: Inverted) -> dict[str, tuple[Tensor, Tensor]]:
    """Attribute -> recall and precision (K,)."""
    return {name: curve(sample.scores[name], shown) for name, shown in truths(sample).items()}
