"""How a space of codes holds attributes: disentanglement, completeness, informativeness.

"A framework for the quantitative evaluation of disentangled representations" (Eastwood and Williams
2018, section 2). Of each attribute a classifier is fitted to standardised codes; with R_ij how
much dimension i tells it of attribute j, each attribute's summing to 1,

    D = Σ_i ρ_i (1 − H(R_i· / Σ_j R_ij) / log K),  ρ_i = Σ_j R_ij / K                      (1)
    C = mean over j of 1 − H(R_·j) / log D'

over K attributes and D' dimensions: D is 1 where each dimension tells one attribute, C where each
attribute is told by one dimension. I is how often the classifiers are right on codes kept from
them, a face with the attribute weighing as much as all without it do.

A linear classifier is a logistic regression with an L1 penalty, in the place of the paper's lasso,
since attributes are yes or no; R is the size of its weights. StyleSpace ("StyleSpace Analysis", Wu
et al. 2021, section 3) fits gradient-boosted trees to the surest faces: of each attribute the 2 %
of 100,000 that most surely have it, and the 2 % that most surely lack it; R is what splits gain.
Figures compare within one classifier and with as many faces. All attributes count, not the first
two as in StyleSpace's released code.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi import attributes, control
from tedi.errors import UsageError
from tedi.grammar.lexicon import Value
from tedi.interfaces import Generator, z_width
from tedi.metrics.classifiers import Classifier, right
from tedi.metrics.linear import Linear
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
FEWEST = 10  # faces on each side that are held out, where the surest are kept
TINY = 1e-11
OTHER = 1_000_000_000  # what is added to a seed, for the other face of a mixture


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


def odds(log_p: Tensor) -> dict[str, Tensor]:
    """Log-odds of each attribute of `SPLITS`, (N,), by what a judge sees (N, V)."""
    found = {}
    for group, values in SPLITS.items():
        columns = log_p[:, attributes.SPANS[group]].float()
        wanted = torch.tensor([v in values for v in attributes.GROUPS[group]])
        sides = (columns[:, of.to(columns.device)].logsumexp(dim=1) for of in (wanted, ~wanted))
        has, lacks = sides
        found[group] = has - lacks
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


def turned_width(width: int) -> int:
    """Numbers of a turned code: the next power of two.

    >>> turned_width(512), turned_width(6048)
    (512, 8192)
    """
    return 1 << (width - 1).bit_length()


def turned(codes: Tensor, *, seed: int = 0) -> Tensor:
    """Codes (N, 2^k) that know as much and whose numbers mean nothing: turned at random.

    Numbers are standardised, given random signs and mixed by a Hadamard matrix, twice; zeros are
    added up to the next power of two. A classifier of few weights finds some disentanglement in
    these, too, more of it the more numbers there are: what is above counts.
    """
    codes = (codes - codes.mean(dim=0)) / codes.std(dim=0).clamp_min(1e-6)
    size = turned_width(codes.shape[1])
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


def counted(labels: Mapping[str, Tensor], surest: float | None = None) -> dict[str, Tensor]:
    """The labels that enough faces have and lack: 5 %, or the share of the surest.

    Args:
        labels: attribute -> whether each face has it, (N,) bool, or its log-odds.
        surest: share of faces kept at each end; None for all faces.

    Raises:
        UsageError: no two attributes are left.
    """
    least = max(LEAST, surest or 0)
    shares = {name: float((of > 0).double().mean()) for name, of in labels.items()}
    found = {name: of for name, of in labels.items() if least <= shares[name] <= 1 - least}
    if len(found) < 2:
        faces = max((len(of) for of in labels.values()), default=0)
        raise UsageError(
            f"faces: {len(found)} attributes are on {100 * least:g} to {100 - 100 * least:g} % of "
            f"{faces} faces, 2 are needed; draw more, or raise --psi"
        )
    return found


def kept(count: int, surest: float) -> tuple[int, int]:
    """Faces of `count` that are kept at each end of an attribute: to train on, and held out.

    Raises:
        UsageError: too few to tell anything.
    """
    held = count // 4
    train, test = round(surest * (count - held)), round(surest * held)
    if test < FEWEST:
        enough = 4 * math.ceil(FEWEST / surest)
        raise UsageError(
            f"surest: {100 * surest:g} % of {count} faces are {test} held out a side, {FEWEST} are "
            f"needed; give --count {enough} or more, or a larger --surest"
        )
    return train, test


def measure(
    codes: Tensor,
    labels: Mapping[str, Tensor],
    *,
    classifier: Classifier | None = None,
    surest: float | None = None,
    seed: int = 0,
    rounds: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[Dci, list[Dci]]:
    """What a space holds, and the same of resampled faces.

    Args:
        codes: (N, D') of N faces.
        labels: attribute -> whether each face has it, (N,) bool, or its log-odds (N,), which tell
            the surest; rare and common ones are left out.
        classifier: an entry of `tedi.metrics.classifiers.CLASSIFIERS`; linear by default.
        surest: share of faces kept at each end of an attribute; None for all faces.
        seed: of the resamplings. Every fourth face is held out.
        rounds: resamplings; by default as many as the classifier has time for.
        progress: called as attributes are fitted, with how many numbers of codes that took.

    Raises:
        UsageError: shapes that do not fit, no two attributes that enough faces have and lack, or
            too few of the surest.
    """
    named, classifier = counted(labels, surest), classifier or Linear()
    if codes.ndim != 2 or any(of.shape != codes.shape[:1] for of in named.values()):
        raise UsageError(f"codes: expected (N, D) and labels (N,), got {tuple(codes.shape)}")
    held = torch.arange(len(codes)) % 4 == 3
    train, test = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
    x, of = _standard(codes.float(), ~held), torch.stack(list(named.values()), dim=1)
    y, counts = of > 0, torch.ones_like(of, dtype=torch.bool)
    if surest is not None:
        y, counts = _ends(of, zip(kept(len(of), surest), (train, test), strict=True))
    random = torch.Generator().manual_seed(seed)
    fit = classifier.prepare(
        x[train], y[train], counts[train], lambda fits: progress(fits * x.shape[1])
    )

    def one(rows: Tensor, tested: Tensor) -> Dci:
        weights, predict = fit(x[rows], y[rows], counts[rows])
        share = right(predict(x[tested]), y[tested], counts[tested])
        return Dci(tuple(named), weights / weights.sum(dim=0).clamp_min(TINY), share)

    times = classifier.rounds if rounds is None else rounds
    again = [one(_drawn(train, random), _drawn(test, random)) for _ in range(times)]
    return one(train, test), again


def _ends(odds: Tensor, parts: Iterable[tuple[int, Tensor]]) -> tuple[Tensor, Tensor]:
    """Which faces are at the upper end of each attribute (N, K), and which are at either.

    Args:
        odds: (N, K).
        parts: how many are at an end, and the rows (n,) that they are of.
    """
    upper, either = (torch.zeros_like(odds, dtype=torch.bool) for _ in range(2))
    for count, rows in parts:
        ranked = rows[odds[rows].argsort(dim=0, stable=True)]
        columns = torch.arange(odds.shape[1])
        upper[ranked[-count:], columns] = True
        either[ranked[-count:], columns] = True
        either[ranked[:count], columns] = True
    return upper, either


def _drawn(rows: Tensor, random: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (len(rows),), generator=random)]


def _standard(codes: Tensor, rows: Tensor) -> Tensor:
    mean, std = codes[rows].mean(dim=0), codes[rows].std(dim=0)
    return (codes - mean) / std.clamp_min(1e-6)


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
