"""How far edits move a face: away from itself, and along the way they ask for."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.metrics.edits import edits, log_odds, steps
from tedi.metrics.score import Edited, Metric, Score, estimate, totals

SLACK = 0.05
"""Steps, or nats, that a change may fall by and still count as not falling."""


class IdentityKept(Metric):
    """How alike a face stays: 1 the same, 0 as alike as two different faces.

    (c - r) / (1 - r) of the mean cosine c of the judge's features before and after, and r of
    different faces. A proxy: the judge knows attributes, not people.
    """

    name: ClassVar[str] = "identity kept (proxy)"
    compares: ClassVar[str] = "the judge's features of a face before and after an edit"
    reference: ClassVar[str] = "different unedited faces"
    higher_is_better: ClassVar[bool] = True
    takes: ClassVar[type] = Edited

    def __call__(self, sample: Edited) -> list[Score]:
        """One score; both cosines are in its details."""
        cosines, free = _known(sample.cosines), _known(sample.free_cosines)[sample.owners]
        if not bool((free < 1).all()):
            raise UsageError("faces: different ones look the same to the judge; raise --psi")
        c, r = float(cosines.mean()), float(free.mean())
        note = f"mean cosine {c:.3f}, {r:.3f} between different faces, by a judge of attributes"
        details: dict[str, float | str] = {"cosine": c, "other faces": r, "note": note}
        return [_ratio(self, sample, cosines - free, 1 - free, details)]


class PerceptualChange(Metric):
    """Distance of a face before and after: 0 the same picture, 1 as far as another face."""

    name: ClassVar[str] = "perceptual change"
    compares: ClassVar[str] = "feature maps of a face before and after an edit"
    reference: ClassVar[str] = "different unedited faces"
    higher_is_better: ClassVar[bool] = False
    takes: ClassVar[type] = Edited

    def __call__(self, sample: Edited) -> list[Score]:
        """One score; both distances are in its details."""
        distances, free = _known(sample.distances), _known(sample.free_distances)[sample.owners]
        if not bool((free > 0).all()):
            raise UsageError("faces: different ones do not differ; raise --psi")
        details = {"distance": float(distances.mean()), "other faces": float(free.mean())}
        return [_ratio(self, sample, distances, free, details)]


class StepsMoved(Metric):
    """Steps that "more" and "less" move a face by, in the eyes of the judge."""

    name: ClassVar[str] = "steps moved"
    compares: ClassVar[str] = "mean places of ordered attributes before and after an edit"
    reference: ClassVar[str] = "the pictures before the edit"
    higher_is_better: ClassVar[bool] = True
    takes: ClassVar[type] = Edited

    def __call__(self, sample: Edited) -> list[Score]:
        """One score, the mean over all attributes that are asked to move."""
        return [_mean(self, sample, steps(sample, sample.after), "relative")]


class OddsGained(Metric):
    """Log-odds that the values asked for gain, in the eyes of the judge."""

    name: ClassVar[str] = "log-odds gained"
    compares: ClassVar[str] = "probabilities of the values asked for, before and after an edit"
    reference: ClassVar[str] = "the pictures before the edit"
    higher_is_better: ClassVar[bool] = True
    takes: ClassVar[type] = Edited

    def __call__(self, sample: Edited) -> list[Score]:
        """One score, the mean over all attributes that are asked for by value."""
        return [_mean(self, sample, gained(sample), "absolute")]


class _Rises(Metric):
    """Share of what edits ask for that never falls as their strength rises."""

    name: ClassVar[str] = "rises with strength"
    compares: ClassVar[str] = "what is judged at one strength, with the next"
    reference: ClassVar[str] = "the same faces at less strength"
    higher_is_better: ClassVar[bool] = True
    rate: ClassVar[bool] = True

    def __call__(self, sample: Mapping[float, Edited]) -> list[Score]:
        """Relative wishes, in steps, and absolute ones, in log-odds, where there are any."""
        samples = [sample[strength] for strength in sorted(sample)]
        ways = {
            "relative": [steps(each, each.after) for each in samples],
            "absolute": [gained(each) for each in samples],
        }
        return [
            self._over(samples[0], torch.stack(way), part)
            for part, way in ways.items()
            if len(way) > 1 and not bool(way[0].isnan().all())
        ]

    def _over(self, sample: Edited, change: Tensor, part: str) -> Score:
        """Score of change (strengths, N, A), nan where nothing is asked."""
        asked = ~change[0].isnan()
        rising = (change.diff(dim=0) > -SLACK).all(dim=0) & asked
        T, n = edits(sample), asked.sum(dim=1)
        good, counts = (totals(x, sample.owners, T) for x in (rising.sum(dim=1), n))
        found = estimate(good, counts, rate=True)
        details = {"edits": int((counts > 0).sum())}
        return self.score(found, n=int(n.sum()), network=sample.judge, part=part, details=details)


def rises(samples: Mapping[float, Edited]) -> list[Score]:
    """How often the judged change never falls as strength rises, by more than `SLACK`.

    Args:
        samples: strength -> the same faces and edits at that strength; two or more.
    """
    return _Rises()(samples)


def gained(sample: Edited) -> Tensor:
    """Log-odds that the values asked for gain, (N, A); nan where none are."""
    return log_odds(sample, sample.after) - log_odds(sample, sample.before)


def _known(values: Tensor | None) -> Tensor:
    if values is None or not bool(values.isfinite().all()):
        raise UsageError("sample: expected pictures that were compared with those before")
    return values.double()


def _ratio(
    metric: Metric, sample: Edited, over: Tensor, under: Tensor, details: Mapping[str, float | str]
) -> Score:
    """Score of Σ over (N,) / Σ under (N,)."""
    T = edits(sample)
    found = estimate(totals(over, sample.owners, T), totals(under, sample.owners, T))
    return metric.score(found, n=len(over), network=sample.judge, details=details)


def _mean(metric: Metric, sample: Edited, change: Tensor, kind: str) -> Score:
    """Score of the mean over what of change (N, A) is not nan."""
    asked = ~change.isnan()
    if not asked.any():
        raise UsageError(f"edits: none is {kind}")
    T = edits(sample)
    sums = totals(change.nan_to_num(0).sum(dim=1), sample.owners, T)
    counts = totals(asked.sum(dim=1), sample.owners, T)
    details = {"edits": int((counts > 0).sum())}
    n = int(asked.sum())
    return metric.score(estimate(sums, counts), n=n, network=sample.judge, details=details)
