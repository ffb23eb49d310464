"""What metrics are given, what they give, and how sure it is.

Pictures of one prompt are alike, so intervals come from resampling prompts with all their
pictures (the cluster bootstrap, Davison and Hinkley 1997, section 3.8), never single pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.grammar import Caption
from tedi.grammar.lexicon import Says

ROUNDS = 2000
"""Resamplings behind an interval."""


@dataclass(frozen=True)
class Score:
    """One measured number.

    Attributes:
        name: what was measured; "whole: part" for a part of another score.
        value: the number.
        low: lower end of its 95 % interval; nan where one prompt gives none.
        high: upper end.
        n: how many pictures, or named attributes of pictures, it is made from.
        reference: what they were compared with.
        network: what looked at them.
        higher_is_better: which way is good.
        rate: whether it is a share, 0 to 1.
        details: what else should be known with it.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    reference: str
    network: str
    higher_is_better: bool
    rate: bool = False
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """Judged pictures of T prompts, N in all.

    Attributes:
        captions: the prompts and what they say.
        owners: (N,) which prompt each picture belongs to.
        log_p: (N, V) log-probabilities of attributes seen in the pictures.
        features: (N, F) what the Fréchet distance compares.
        distances: (T,) mean perceptual distance between pictures of a prompt; nan for one picture.
        free_features: features of unconditional pictures of the same seeds, psi and size.
        free_distances: distances between these.
        similarity: (T, N) how well each prompt fits each code, None if it is not known.
        judge: name of the network that looked.
        encoder: name of what gave the similarity.
        accuracy: attribute -> how often the judge itself is right on held-out faces.
    """

    captions: Sequence[Caption]
    owners: Tensor
    log_p: Tensor
    features: Tensor
    distances: Tensor
    free_features: Tensor
    free_distances: Tensor
    similarity: Tensor | None = None
    judge: str = ""
    encoder: str = ""
    accuracy: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Edited:
    """The same N pictures judged before and after T edits.

    Attributes:
        wants: what the edit of each picture asks for.
        owners: (N,) number of the edit of each picture, from 0.
        before: (N, V) log-probabilities of attributes.
        after: the same once edited.
        free: attributes that the edit of each picture may change besides; none if empty.
        judge: name of the network that looked.
        moves: attribute -> +1 or -1, what the edit of each picture asks more or less of.
        kinds: of each edit, T of them; not told apart if empty.
        cosines: (N,) of the judge's features before and after; None if they were not compared.
        distances: (N,) perceptual, before and after.
        free_cosines: (T,) mean over pairs of different faces, some for each edit.
        free_distances: (T,) the same for perceptual distances.
        free_alike: (T, A) the same for how much of each attribute is judged alike.
        accuracy: attribute -> how often the judge itself is right on held-out faces.
    """

    wants: Sequence[Says]
    owners: Tensor
    before: Tensor
    after: Tensor
    free: Sequence[frozenset[str]] = ()
    judge: str = ""
    moves: Sequence[Mapping[str, int]] = ()
    kinds: Sequence[str] = ()
    cosines: Tensor | None = None
    distances: Tensor | None = None
    free_cosines: Tensor | None = None
    free_distances: Tensor | None = None
    free_alike: Tensor | None = None
    accuracy: Mapping[str, float] = field(default_factory=dict)


class Metric:
    """One measure: `METRICS[name]()(sample)` gives its scores, the whole before its parts."""

    name: ClassVar[str]
    compares: ClassVar[str]
    reference: ClassVar[str]
    higher_is_better: ClassVar[bool]
    rate: ClassVar[bool] = False
    takes: ClassVar[type]

    def __call__(self, sample: Any) -> list[Score]:
        """Scores of a `takes`.

        Raises:
            UsageError: the sample cannot tell; the message says what it lacks.
        """
        raise NotImplementedError

    def score(
        self,
        estimate: tuple[float, float, float],
        *,
        n: int,
        network: str,
        part: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> Score:
        """A score with this metric's declarations; `estimate` is value, low, high."""
        return Score(
            f"{self.name}: {part}" if part else self.name,
            *estimate,
            n=n,
            reference=self.reference,
            network=network,
            higher_is_better=self.higher_is_better,
            rate=self.rate,
            details=dict(details or {}),
        )


def totals(values: Tensor, owners: Tensor, clusters: int) -> Tensor:
    """Sums (clusters,) of values (N,) by owner (N,), in float64."""
    return torch.zeros(clusters, dtype=torch.double).index_add(0, owners, values.double())


def resamplings(clusters: int, *, rounds: int = ROUNDS, seed: int = 0) -> Tensor:
    """Clusters drawn with replacement, (rounds, clusters)."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(clusters, (rounds, clusters), generator=random)


def estimate(
    sums: Tensor, counts: Tensor, *, rate: bool = False, rounds: int = ROUNDS, seed: int = 0
) -> tuple[float, float, float]:
    """Σ sums / Σ counts with the 95 % percentile interval of a bootstrap over clusters.

    Args:
        sums: (T,) total of each cluster.
        counts: (T,) how many it is the total of; clusters of 0 are left out.
        rate: the ratio is a share. Where all clusters are wholly right or wholly wrong a
            resampling never differs, and the exact binomial limit (Clopper and Pearson 1934)
            for that many clusters stands in.
        rounds: resamplings.
        seed: of the resamplings; the same seed gives the same interval.

    Returns:
        value, low, high; the ends are nan for a single cluster.

    Raises:
        UsageError: nothing to take a mean of.
    """
    kept = counts > 0
    sums, counts = sums[kept].double(), counts[kept].double()
    clusters = len(sums)
    if not clusters:
        raise UsageError("clusters: expected at least one that counts, got none")
    value = float(sums.sum() / counts.sum())
    if clusters == 1:
        return value, float("nan"), float("nan")
    if rate and value in (0.0, 1.0):
        far = 0.025 ** (1 / clusters)
        return (value, far, 1.0) if value else (value, 0.0, 1 - far)
    drawn = resamplings(clusters, rounds=rounds, seed=seed)
    found = sums[drawn].sum(dim=1) / counts[drawn].sum(dim=1)
    low, high = found.quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return value, low, high
