"""Fitting directions: boundaries, principal axes, factors of the affine layers, S channels.

Pure functions: they are given codes and labels, or a generator, and read and write no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.latents import Direction

RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Shrinkages tried, in units of the mean variance within a class."""
FOLDS = 5
TOLERANCE = 0.002
"""AUC that is given away for a larger shrinkage, whose direction is less noisy."""
SG2_SIZES = (4, *(size for size in (8, 16, 32, 64, 128, 256, 512, 1024) for _ in (0, 1)), 1024)
"""Resolution of each of the 18 slots of StyleGAN2 at 1024 px; the last is the image head."""


# --- boundaries ----------------------------------------------------------------------------------


def auc(scores: Tensor, labels: Tensor) -> float:
    """Chance that a labelled score is above an unlabelled one, ties half; NaN without both.

    >>> auc(torch.tensor([0.1, 0.4, 0.9]), torch.tensor([False, True, True]))
    1.0
    """
    wanted, others = scores[labels], scores[~labels].sort().values
    below = torch.searchsorted(others, wanted) + torch.searchsorted(others, wanted, right=True)
    pairs = len(wanted) * len(others)
    return below.sum().item() / 2 / pairs if pairs else float("nan")


@dataclass(frozen=True)
class _Classes:
    """Class means and spread within classes of some codes, ready for any shrinkage."""

    gap: Tensor  # (C,) mean of the labelled minus mean of the others
    middle: Tensor  # (C,)
    values: Tensor  # eigenvalues of the pooled covariance
    vectors: Tensor

    @classmethod
    def of(cls, w: Tensor, labels: Tensor) -> "_Classes":
        wanted, others = w[labels].mean(dim=0), w[~labels].mean(dim=0)
        within = w - torch.where(labels[:, None], wanted, others)
        values, vectors = torch.linalg.eigh(within.T @ within / len(w))
        return cls(wanted - others, (wanted + others) / 2, values.clamp_min(0), vectors)

    def normal(self, ridge: float) -> Tensor:
        """Unit normal of the linear discriminant: (Σ + ridge · tr Σ / C · I)⁻¹ gap."""
        damped = self.values + ridge * self.values.mean()
        normal = self.vectors @ ((self.vectors.T @ self.gap) / damped)
        return normal / normal.norm()


def fit_boundary(
    w: Tensor,
    labels: Tensor,
    *,
    name: str = "boundary",
    held_out: Tensor | None = None,
    ridge: float | None = None,
) -> Direction:
    """The normal of the boundary in W between codes with and without an attribute.

    Follows InterFaceGAN (Shen et al. 2020, section 3.2), with a regularised linear discriminant,
    a closed form, where the paper trains a linear SVM. The shrinkage is the largest whose
    cross-validated AUC is within 0.002 of the best: with few codes a small one fits noise in the
    quiet axes of W, a large one is the difference of the class means and takes along whatever
    else differs.

    Args:
        w: (N, C).
        labels: (N,) bool, the attribute.
        name: of the direction.
        held_out: (N,) bool, codes kept from fitting for the figures; every eighth by default.
        ridge: shrinkage in units of the mean variance; None chooses.

    Returns:
        A direction whose figures are "auc" and "accuracy" on the held-out codes, "n" of those,
        "positives" among them, "trained on", and "ridge".

    Raises:
        UsageError: shapes that disagree, or fewer than FOLDS codes on a side.
    """
    if w.ndim != 2 or labels.shape != w.shape[:1] or labels.dtype != torch.bool:
        got = f"{tuple(w.shape)} and {tuple(labels.shape)} {labels.dtype}"
        raise UsageError(f"{name}: expected w (N, C) and labels (N,) bool, got {got}")
    held = torch.arange(len(w)) % 8 == 7 if held_out is None else held_out
    codes, wanted = w[~held].double(), labels[~held]
    if min(wanted.sum().item(), (~wanted).sum().item()) < FOLDS:
        counts = f"{wanted.sum().item()} of {len(wanted)}"
        raise UsageError(f"{name}: needs {FOLDS} faces on each side to fit, got {counts}")
    chosen = _choose_ridge(codes, wanted) if ridge is None else ridge
    classes = _Classes.of(codes, wanted)
    normal = classes.normal(chosen)
    offset = (classes.middle @ normal).item()
    figures = _figures(w[held].double() @ normal, labels[held], offset)
    figures |= {"trained on": len(codes), "ridge": chosen}
    return Direction(
        name,
        normal.float(),
        origin="boundary in W: regularised linear discriminant",
        offset=offset,
        std=(codes @ normal).std().item(),
        figures=figures,
    )


def _figures(scores: Tensor, labels: Tensor, offset: float) -> dict[str, float | None]:
    """Held-out figures, None without both classes; accuracy is the mean of the two classes."""
    right = (scores > offset) == labels
    accuracy = (right[labels].double().mean() + right[~labels].double().mean()) / 2
    both = bool(labels.any()) and not labels.all()
    return {
        "auc": round(auc(scores, labels), 4) if both else None,
        "accuracy": round(accuracy.item(), 4) if both else None,
        "n": len(labels),
        "positives": int(labels.sum()),
    }


def _choose_ridge(w: Tensor, labels: Tensor) -> float:
    """Largest shrinkage whose AUC over the folds is within TOLERANCE of the best."""
    fold = torch.empty(len(w), dtype=torch.long)
    for side in (labels, ~labels):  # both sides in every fold
        fold[side] = torch.arange(int(side.sum())) % FOLDS
    found = torch.zeros(len(RIDGES))
    for k in range(FOLDS):
        classes = _Classes.of(w[fold != k], labels[fold != k])
        seen, truth = w[fold == k], labels[fold == k]
        found += torch.tensor([auc(seen @ classes.normal(ridge), truth) for ridge in RIDGES])
    close = (found / FOLDS >= found.max() / FOLDS - TOLERANCE).nonzero()
    return RIDGES[int(close.max())]


def project_out(direction: Direction, given: Sequence[Direction]) -> Direction:
    """What of a direction is orthogonal to all of the given ones: they stay as they are.

    Conditional manipulation (Shen et al. 2020, equation 5) for any number of conditions: the
    least-squares projection on their span is taken away, so their order does not matter.

    Raises:
        UsageError: directions of different spaces or widths, or nothing is left.
    """
    if not given:
        return direction
    for other in given:
        if (other.space, other.vector.shape) != (direction.space, direction.vector.shape):
            raise UsageError(f"{direction.name}, given {other.name}: of different spaces")
    names = ", ".join(other.name for other in given)
    vector = direction.vector.double().reshape(-1, direction.vector.shape[-1])  # (L, C)
    basis = torch.stack([other.vector.double().reshape_as(vector) for other in given], dim=1)
    gram = basis @ basis.mT  # (L, k, k); its pseudo-inverse also takes givens that depend
    weights = torch.linalg.pinv(gram, rtol=1e-9, hermitian=True) @ (basis @ vector[..., None])
    rest = vector - (weights * basis).sum(dim=1)
    if (rest.norm(dim=-1)[vector.norm(dim=-1) > 0] < 1e-3).any():
        raise UsageError(f"{direction.name}, given {names}: nothing is left; give fewer")
    return replace(
        direction,
        name=f"{direction.name} given {names}",
        vector=rest.reshape_as(direction.vector).float(),
        origin=f"{direction.origin}; orthogonal to {names}",
        offset=0.0,
        std=None,
        figures={"kept": round(float((rest.norm() / vector.norm()).item()), 4)},
    )


# --- unsupervised --------------------------------------------------------------------------------


def ganspace(w: Tensor, count: int) -> list[Direction]:
    """Principal axes of W, most variance first (GANSpace, Härkönen et al. 2020, section 2.1).

    Args:
        w: (N, C) codes of the mapping network, not truncated.
        count: how many; C at most.

    Returns:
        Directions "pca-00", …, with their std and the mean's offset, whose largest entry is
        positive.
    """
    if not 1 <= count <= min(w.shape[1], len(w) - 1):
        raise UsageError(f"count: expected 1 to {min(w.shape[1], len(w) - 1)}, got {count}")
    mean = w.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(w.double().T))
    total = values.sum()
    made = []
    for i in range(count):
        axis, value = _signed(vectors[:, -1 - i]), values[-1 - i]
        made.append(
            Direction(
                f"pca-{i:02d}",
                axis.float(),
                origin="principal axis of W",
                offset=(mean @ axis).item(),
                std=value.sqrt().item(),
                figures={"share of variance": round((value / total).item(), 4)},
            )
        )
    return made


def _signed(axis: Tensor) -> Tensor:
    return axis * axis[axis.abs().argmax()].sign()


def affine_weights(generator: Generator, slots: Sequence[int]) -> dict[str, Tensor]:
    """Weights (channels, C) of the affine layers that some slots feed, by layer.

    Styles are affine in the codes, so differences of styles are the weights.
    """
    codes = torch.zeros(generator.width + 1, generator.slots, generator.width)
    codes[1:, list(slots)] = torch.eye(generator.width)[:, None]
    with torch.inference_mode():
        styles = generator.styles(codes.to(generator.w_avg))
    weights = {name: (style[1:] - style[:1]).T for name, style in styles.items()}
    return {name: weight for name, weight in weights.items() if weight.any()}


def sefa(generator: Generator, slots: Sequence[int], count: int) -> list[Direction]:
    """Directions that change the styles of some slots most (SeFa, Shen & Zhou 2021, eq. 7).

    Eigenvectors of A Aᵀ, where A (C, channels) holds the affine weights of the layers, each
    channel's made unit length.

    Args:
        generator: whose layers.
        slots: which slots are read and moved, such as `generator.layers("coarse")`.
        count: how many, strongest first.
    """
    weights = torch.cat(list(affine_weights(generator, slots).values())).double()
    if not 1 <= count <= generator.width:
        raise UsageError(f"count: expected 1 to {generator.width}, got {count}")
    weights = weights / weights.norm(dim=1, keepdim=True).clamp_min(1e-12)
    values, vectors = torch.linalg.eigh(weights.T @ weights)
    return [
        Direction(
            f"sefa-{i:02d}",
            _signed(vectors[:, -1 - i]).float(),
            slots=tuple(slots),
            origin="factor of the affine layers",
            figures={"eigenvalue": round(values[-1 - i].item(), 4)},
        )
        for i in range(count)
    ]


# --- S space -------------------------------------------------------------------------------------


def channel_scores(styles: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
    """How well each channel of S tells an attribute: layer -> (channels,), signed.

    θ of StyleSpace (Wu et al. 2021, section 4.2): the mean over faces with the attribute of the
    channel, normalised over all faces, by its standard deviation there.

    Args:
        styles: layer -> (N, channels).
        labels: (N,) bool.
    """
    if labels.sum() < 2:
        raise UsageError(f"labels: expected 2 faces or more with it, got {int(labels.sum())}")
    scores = {}
    for name, style in styles.items():
        normal = (style - style.mean(dim=0)) / style.std(dim=0).clamp_min(1e-8)
        wanted = normal[labels]
        scores[name] = wanted.mean(dim=0) / wanted.std(dim=0).clamp_min(1e-8)
    return scores


def channel_direction(
    styles: Mapping[str, Tensor], labels: Tensor, *, name: str, count: int = 1
) -> Direction:
    """Direction of S that moves the `count` best channels, each in proportion to its spread.

    The image head and the up steps are among the channels; colour sits there.
    """
    scores = torch.cat(list(channel_scores(styles, labels).values()))
    everything = torch.cat(list(styles.values()), dim=1)
    if not 1 <= count <= len(scores):
        raise UsageError(f"count: expected 1 to {len(scores)}, got {count}")
    best = scores.abs().topk(count).indices
    vector = torch.zeros_like(scores)
    vector[best] = scores[best].sign() * everything[:, best].std(dim=0)
    places = [(layer, i) for layer, style in styles.items() for i in range(style.shape[1])]
    found = [f"{places[i][0]}:{places[i][1]} {scores[i]:+.2f}" for i in best.tolist()]
    return Direction(
        name,
        vector,
        space="s",
        origin="channels of S by mean over spread",
        std=(everything @ (vector / vector.norm())).std().item(),
        figures={"channels": found[:20]},
    )


# --- other generators ----------------------------------------------------------------------------


def for_generator(direction: Direction, generator: Generator) -> Direction:
    """A published direction on this generator's slots.

    One vector of W serves every slot. The 18 slots of StyleGAN2 at 1024 px go by resolution: one
    at 4 px, two at 8 … 512 px, three at 1024 px (two convolutions and the image head). Where this
    generator has as many they are taken over, else each gets the mean of the resolution's.

    Raises:
        UsageError: another width, or a number of slots that belongs to another generator.
    """
    width, slots = direction.vector.shape[-1], direction.vector.shape[0]
    if direction.space == "s":
        return direction
    if width != generator.width:
        raise UsageError(
            f"{direction.name}: {width} channels; {generator.name} has W of {generator.width}"
        )
    if direction.space == "w" or slots == generator.slots:
        return direction
    if slots != len(SG2_SIZES):
        raise UsageError(
            f"{direction.name}: {slots} slots belong to another generator; {generator.name} has "
            f"{generator.slots} and takes the {len(SG2_SIZES)} of StyleGAN2 at 1024 px"
        )
    moved = set(range(slots)) if direction.slots is None else set(direction.slots)
    vector = torch.zeros(generator.slots, width)
    for slot, sources in _sources(generator).items():
        used = [source for source in sources if source in moved]
        if used:
            vector[slot] = direction.vector[used].mean(dim=0)
    taken = tuple(slot for slot, row in enumerate(vector) if row.any())
    every = len(taken) == generator.slots
    return replace(direction, vector=vector, slots=None if every else taken)


def _sources(generator: Generator) -> dict[int, list[int]]:
    """Slot of this generator -> slots of StyleGAN2 at 1024 px that it stands for."""
    table: dict[int, list[int]] = {}
    for size in sorted(set(SG2_SIZES)):
        theirs = [slot for slot, own in enumerate(SG2_SIZES) if own == size]
        ours = generator.layers(size)
        paired = len(ours) == len(theirs)
        table |= {slot: [theirs[i]] if paired else theirs for i, slot in enumerate(ours)}
    return table
