"""How well prompts find their own codes in the space that text and codes share."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.metrics.score import Drawn, Metric, Score, estimate, totals


def chances(similarity: Tensor, owners: Tensor, *, among: int = 100) -> Tensor:
    """For each code, the chance that its text prefers it to codes of other texts (closed form).

    R-precision (Xu et al. 2018, section 4.1) draws the others at random; here all draws are
    averaged, and equal similarities fall either way alike.

    Args:
        similarity: (T, N) of texts and codes.
        owners: (N,) the text each code belongs to.
        among: candidates, the own code included; where others are fewer, all of them.

    Returns:
        (N,) in float64; a similarity that says nothing gives 1 / among.
    """
    out = torch.zeros(len(owners), dtype=torch.double)
    for text in owners.unique().tolist():
        own = owners == text
        others, mine = similarity[text, ~own], similarity[text, own]
        better = (others > mine[:, None]).sum(dim=1)
        equal = (others == mine[:, None]).sum(dim=1)
        out[own] = beaten(better, equal, pool=len(others), drawn=min(among - 1, len(others)))
    return out


def beaten(better: Tensor, equal: Tensor, *, pool: int, drawn: int) -> Tensor:
    """Chance (n,) that none of `drawn` rivals out of `pool` comes first.

    Args:
        better: (n,) rivals that certainly do.
        equal: (n,) rivals that are on a par; the own place among them is uniform.
        pool: rivals in all.
        drawn: rivals that are drawn, without replacement.
    """
    ahead = torch.arange(pool + 1, dtype=torch.double)
    steps = torch.arange(drawn, dtype=torch.double)
    free = ((pool - ahead[:, None] - steps).clamp_min(0) / (pool - steps)).prod(dim=1)
    below = torch.cat([torch.zeros(1, dtype=torch.double), free.cumsum(dim=0)])
    return (below[better + equal + 1] - below[better]) / (equal + 1)


def r_precision(similarity: Tensor, *, among: int = 100) -> float:
    """Mean of `chances` for a square similarity (N, N) of texts and their one code each."""
    return float(chances(similarity, torch.arange(len(similarity)), among=among).mean())


@dataclass(frozen=True)
class RPrecision(Metric):
    """Chance that a prompt prefers its own code to others drawn from those of other prompts.

    A method that moves codes by the same similarity is flattered: it measures whether codes keep
    prompts apart, not whether pictures show them.

    Attributes:
        among: candidates, the own code included.
    """

    among: int = 100

    name: ClassVar[str] = "R-precision"
    compares: ClassVar[str] = "a prompt's own code, with codes of other prompts"
    reference: ClassVar[str] = "codes of other prompts"
    higher_is_better: ClassVar[bool] = True
    rate: ClassVar[bool] = True
    takes: ClassVar[type] = Drawn

    def __call__(self, sample: Drawn) -> list[Score]:
        """One score; `among` in its details is how many candidates there were."""
        if sample.similarity is None or len(sample.captions) < 2:
            raise UsageError("prompts: expected two or more with their codes; raise --count")
        T, N = sample.similarity.shape
        found = chances(sample.similarity.cpu(), sample.owners, among=self.among)
        counts = totals(torch.ones(N), sample.owners, T)
        others = int(N - counts.max())
        among = min(self.among, others + 1)
        details = {"prompts": T, "among": among, "chance": 1 / among}
        result = estimate(totals(found, sample.owners, T), counts, rate=True)
        return [self.score(result, n=N, network=sample.encoder, details=details)]
