"""How a space of codes holds attributes: disentanglement, completeness, informativeness.

"A framework for the quantitative evaluation of disentangled representations" (Eastwood and Williams
2018, section 2). Of each attribute a linear classifier is fitted to standardised codes; with R_ij
the size of its weight of dimension i for attribute j, each attribute's summing to 1,

    D = Σ_i ρ_i (1 − H(R_i· / Σ_j R_ij) / log K),  ρ_i = Σ_j R_ij / K                      (1)
    C = mean over j of 1 − H(R_·j) / log D'

over K attributes and D' dimensions: D is 1 where each dimension tells one attribute, C where each
attribute is told by one dimension. I is how often the classifiers are right on codes kept from
them, a face with the attribute weighing as much as all without it do.

The classifier is a logistic regression with an L1 penalty, in the place of the paper's lasso, since
attributes are yes or no; StyleSpace (Wu et al. 2021) uses gradient-boosted trees, so that figures
of different papers do not compare. All attributes count, not the first two as in StyleSpace's
released code.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi import attributes, control
from tedi.errors import UsageError
from tedi.grammar.lexicon import Value
from tedi.interfaces import Generator, z_width
from tedi.metrics.score import Score

SPLITS: dict[str, tuple[Value, ...]] = {
    "gender": ("female",),
    "age": ("middle-aged", "old"),
    "smile": ("slight", "broad"),
    "mouth_open": (True,),
    "hair_color": ("blond", "red", "gray"),
    "hair_length": ("medium", "long"),
    "hair_texture": ("wavy", "curly"),
    "bangs": (True,),
    "beard": ("stubble", "mustache", "goatee", "full"),
    "glasses": ("eyeglasses", "sunglasses"),
    "hat": (True,),
    "earrings": (True,),
    "makeup": (True,),
    "skin": ("medium", "dark"),
    "chubby": (True,),
    "thick_brows": (True,),
    "pose": ("left",),
    "background dark": (True,),
    "background outdoor": (True,),
}
"""Group of `tedi.attributes` -> the values that count as having it; one split an attribute, since
two splits of one would share their dimensions and lower D."""
LEAST = 0.05
"""Share of faces that must be on each side of an attribute, for it to count."""
FRACTIONS = (0.5, 0.25, 0.12, 0.06, 0.03)
"""Penalties tried, of the least one at which all weights are 0."""
STEPS = 100  # of the descent, at each penalty
TINY = 1e-11
OTHER = 1_000_000_000  # what is added to a seed, for the other face of a mixture
ROUNDS = 12  # resamplings behind an interval


@dataclass(frozen=True)
class Dci:
    """What was measured of one space.

    Attributes:
        names: the K attributes that enough faces have and lack.
        weights: R (D', K).
        right: (K,) how often each classifier is right on held-out faces.
    """

    names: tuple[str, ...]
    weights: Tensor
    right: Tensor

    @property
    def disentanglement(self) -> float:
        """D of equation (1), 0 to 1."""
        return disentanglement(self.weights)

    @property
    def completeness(self) -> Tensor:
        """C of equation (1) of each attribute, (K,), 0 to 1."""
        return completeness(self.weights)

    @property
    def informativeness(self) -> float:
        """I, 0.5 to 1."""
        return float(self.right.mean())


def spaces(generator: Generator, seeds: Sequence[int], *, psi: float) -> dict[str, Tensor]:
    """Codes (N, D') of the faces of seeds in Z, W and S; no W where each slot is mapped apart."""
    ws = control.style_codes(generator, seeds, psi=psi)
    found = {"Z": control.noise(seeds, z_width(generator)).to(ws)}
    if bool((ws == ws[:, :1]).all()):
        found["W"] = ws[:, 0]
    return {**found, "S": torch.cat(list(generator.styles(ws).values()), dim=1)}


def mixtures(generator: Generator, seeds: Sequence[int], *, psi: float) -> Tensor:
    """Codes (N, L, C) of W+: each slot is by chance that of a seed or of another face.

    The code of a single face has all slots alike, and is one of W.
    """
    pairs = [control.style_codes(generator, [seed, seed + OTHER], psi=psi) for seed in seeds]
    coins = [
        torch.rand(generator.slots, 1, generator=torch.Generator().manual_seed(seed)) < 0.5
        for seed in seeds
    ]
    return torch.stack(
        [torch.where(coin.to(a.device), a, b) for (a, b), coin in zip(pairs, coins, strict=True)]
    )


def splits(log_p: Tensor) -> dict[str, Tensor]:
    """Whether faces have each attribute of `SPLITS`, (N,) bool, by what a judge sees (N, V)."""
    found = {}
    for group, values in SPLITS.items():
        columns = log_p[:, attributes.SPANS[group]]
        wanted = [v in values for v in attributes.GROUPS[group]]
        found[group] = torch.tensor(wanted)[columns.argmax(dim=1).cpu()]
    return found


def disentanglement(weights: Tensor) -> float:
    """D of weights (D', K), which are 0 or more.

    >>> disentanglement(torch.eye(3)), disentanglement(torch.ones(4, 2))
    (1.0, 0.0)
    """
    rows = weights.double().sum(dim=1)
    shares = weights.double() / (rows[:, None] + TINY)
    told = 1 - _entropy(shares, dim=1) / math.log(weights.shape[1])
    return round(float((told * rows).sum() / rows.sum()), 10) + 0.0


def completeness(weights: Tensor) -> Tensor:
    """C of each attribute (K,), of weights (D', K).

    >>> completeness(torch.eye(3)).tolist(), completeness(torch.ones(4, 2)).tolist()
    ([1.0, 1.0, 1.0], [0.0, 0.0])
    """
    shares = weights.double() / (weights.double().sum(dim=0) + TINY)
    told = 1 - _entropy(shares, dim=0) / math.log(len(weights))
    return told.round(decimals=10).abs()


def _entropy(shares: Tensor, dim: int) -> Tensor:
    return -(shares * (shares + TINY).log()).sum(dim=dim)


def turned(codes: Tensor, *, seed: int = 0) -> Tensor:
    """Codes (N, 2^k) that know as much and whose numbers mean nothing: turned at random.

    Numbers are standardised, given random signs and mixed by a Hadamard matrix, twice; zeros are
    added up to the next power of two. A classifier of few weights finds some disentanglement in
    these, too, more of it the more numbers there are: what is above counts.
    """
    codes = (codes - codes.mean(dim=0)) / codes.std(dim=0).clamp_min(1e-6)
    size = 1 << (codes.shape[1] - 1).bit_length()
    codes = F.pad(codes, (0, size - codes.shape[1]))
    random = torch.Generator().manual_seed(seed)
    for _ in range(2):
        codes = codes * (2.0 * torch.randint(2, (size,), generator=random) - 1).to(codes)
        for half in (1 << i for i in range(size.bit_length() - 1)):
            pairs = codes.unflatten(1, (-1, 2, half))
            both = torch.stack(
                [pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2
            )
            codes = both.flatten(1) / 2**0.5
    return codes


def measure(
    codes: Tensor, labels: Mapping[str, Tensor], *, seed: int = 0, rounds: int = ROUNDS
) -> tuple[Dci, list[Dci]]:
    """What a space holds, and the same of resampled faces.

    Args:
        codes: (N, D') of N faces.
        labels: attribute -> whether each face has it, (N,) bool; rare and common ones are left out.
        seed: of the resamplings. Every fourth face is held out.
        rounds: resamplings.

    Raises:
        UsageError: shapes that do not fit, or no two attributes that enough faces have and lack.
    """
    named = {name: of for name, of in labels.items() if LEAST <= of.double().mean() <= 1 - LEAST}
    if codes.ndim != 2 or any(of.shape != codes.shape[:1] for of in named.values()):
        raise UsageError(f"codes: expected (N, D) and labels (N,), got {tuple(codes.shape)}")
    if len(named) < 2:
        raise UsageError(
            f"faces: {len(named)} attributes are on {100 * LEAST:g} to {100 - 100 * LEAST:g} % of "
            f"{len(codes)} faces, 2 are needed; draw more, or raise --psi"
        )
    held = torch.arange(len(codes)) % 4 == 3
    x, y = _standard(codes.float(), ~held), torch.stack(list(named.values()), dim=1)
    train, test = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    fractions, start = _choose(x[train], y[train])
    random = torch.Generator().manual_seed(seed)

    def one(rows: Tensor, tested: Tensor) -> Dci:
        weights, offset = _fit(x[rows], y[rows], fractions, start)
        right = _right(x[tested] @ weights + offset, y[tested])
        sizes = weights.abs() / weights.abs().sum(dim=0).clamp_min(TINY)
        return Dci(tuple(named), sizes, right)

    again = [one(_drawn(train, random), _drawn(test, random)) for _ in range(rounds)]
    return one(train, test), again


def _drawn(rows: Tensor, random: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (len(rows),), generator=random)]


def _standard(codes: Tensor, rows: Tensor) -> Tensor:
    mean, std = codes[rows].mean(dim=0), codes[rows].std(dim=0)
    return (codes - mean) / std.clamp_min(1e-6)


def _right(scores: Tensor, labels: Tensor) -> Tensor:
    """Share of scores (N, K) above 0 where labels are, mean of both sides, (K,)."""
    right = ((scores > 0) == labels).double()
    sides = [(right * of).sum(dim=0) / of.sum(dim=0).clamp_min(1) for of in (labels, ~labels)]
    return (sides[0] + sides[1]) / 2


def _choose(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The penalty (K,) that is best on every fifth code kept back, and its weights (D', K)."""
    kept = torch.arange(len(x)) % 5 == 4
    start = x.new_zeros(x.shape[1], y.shape[1])
    best, chosen = torch.zeros(y.shape[1]).double(), torch.full((y.shape[1],), FRACTIONS[0])
    for fraction in FRACTIONS:
        start, offset = _fit(x[~kept], y[~kept], torch.full_like(chosen, fraction), start)
        right = _right(x[kept] @ start + offset, y[kept])
        chosen = torch.where(right > best, fraction, chosen)
        best = torch.maximum(best, right)
    return chosen, start


def _fit(x: Tensor, y: Tensor, fractions: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (D', K) and offsets (K,) of K logistic regressions by FISTA (Beck, Teboulle 2009).

    Both sides of an attribute weigh the same, and the penalty is a fraction (K,) of the least one
    at which all weights are 0.
    """
    share = torch.where(y, 0.5 / y.sum(dim=0).clamp_min(1), 0.5 / (~y).sum(dim=0).clamp_min(1))
    share, wanted = share.to(x), y.to(x)
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


# --- scores --------------------------------------------------------------------------------------


def scores(found: Dci, again: Sequence[Dci], *, floor: Dci, n: int, judge: str) -> list[Score]:
    """D, C and I, then C and I of each attribute; with each whole, what `floor` has of it.

    Intervals are the figure ± 1.96 standard deviations over resampled faces: a resampling repeats
    faces, which shifts its figures, but hardly their spread.
    """
    parts = {
        "disentanglement": ([found.disentanglement], [[a.disentanglement] for a in again]),
        "completeness": (
            found.completeness.tolist(),
            [a.completeness.tolist() for a in again],
        ),
        "informativeness": (found.right.tolist(), [a.right.tolist() for a in again]),
    }
    floors = (floor.disentanglement, float(floor.completeness.mean()), floor.informativeness)
    listed = []
    for (name, (values, others)), least in zip(parts.items(), floors, strict=True):
        rounds = torch.tensor(others, dtype=torch.double)
        whole = _score(name, sum(values) / len(values), rounds.mean(dim=1), n, judge)
        told = {"turned": least, "note": f"{100 * least:.1f} % of the codes turned at random"}
        listed.append(replace(whole, details=told))
        if len(values) > 1:
            listed += [
                _score(f"{name}: {attribute}", value, rounds[:, k], n, judge)
                for k, (attribute, value) in enumerate(zip(found.names, values, strict=True))
            ]
    return listed


def _score(name: str, value: float, rounds: Tensor, n: int, judge: str) -> Score:
    far = 1.96 * float(rounds.std())
    low, high = max(0.0, value - far), min(1.0, value + far)
    return Score(
        name,
        value,
        low,
        high,
        n,
        reference="attributes seen in the pictures of the codes",
        network=judge,
        higher_is_better=True,
        rate=True,
    )
