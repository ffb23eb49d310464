"""Which slots carry which attribute: slots swapped between two faces, and the pictures judged.

For faces A and B with codes of W, let p be what a judge sees in a picture, the probabilities of an
attribute's values, and A_S be A with the slots S of B. The effect of S is how far that takes the
attribute from A to B, by least squares over pairs of faces,

    e(S) = Σ ⟨p(A_S) − p(A), p(B) − p(A)⟩ / Σ |p(B) − p(A)|²                               (1)

0 where the attribute stays A's and 1 where it becomes B's: for all slots it is 1 in every
attribute, which makes attributes comparable, however often faces differ in them. Change that leads
nowhere, such as a judge in doubt, averages out.

Were the codes of slots independent, e({l}) would be half the sum of the first-order and the total
index of slot l (Sobol' 1993; Homma and Saltelli 1996; of several outputs, Gamboa et al. 2014),
which is the Shapley effect (Owen 2014) where no more than two slots interact, and sums to 1. A sum
below 1 tells that slots outvote a single one of them, a sum above 1 that each can undo the others.
Pairs are exchangeable, so e of all slots but S is 1 − e(S) in the mean: keeping only a slot, or
swapping from the fine end, needs no drawing of its own.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from tedi import attributes, zoo
from tedi.checkpoints import layers as files
from tedi.checkpoints.layers import LayerTable
from tedi.errors import UsageError
from tedi.grammar import ATTRIBUTES
from tedi.interfaces import Generator
from tedi.registry import unknown

SHIPPED = "layers-ffhq"
ROUNDS = 2000  # resamplings behind an interval
SHARE = 0.8

ROWS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in ATTRIBUTES if name != "background"},
    "background": tuple(g for g in attributes.GROUPS if g.startswith("background ")),
    **{g: (g,) for g in attributes.GROUPS if g.startswith("background ")},
}
"""Row of a table -> groups of `tedi.attributes` that it sums: 18 attributes, then single words."""


def slot_sizes(generator: Generator) -> tuple[int, ...]:
    """Resolution in pixels of each slot."""
    sizes: dict[int, int] = {}
    size = 4
    while size <= generator.resolution:
        sizes |= dict.fromkeys(generator.layers(size), size)
        size *= 2
    return tuple(sizes[slot] for slot in range(generator.slots))


def swaps(slots: int) -> Tensor:
    """Which slots are B's, (2L, L) bool: none, all, each alone, and the first 2 … L − 1."""
    none_, all_ = torch.zeros(1, slots), torch.ones(1, slots)
    first = torch.ones(slots, slots).tril()[1:-1]
    return torch.cat([none_, all_, torch.eye(slots), first]).bool()


@torch.inference_mode()
def judge_swaps(
    pair: Tensor,
    draw: Callable[[Tensor], Tensor],
    judge: Callable[[Tensor], Tensor],
    *,
    batch_size: int = 1,
) -> Tensor:
    """What is seen in face A with slots of B: log-probabilities (2L, V), a row for each of `swaps`.

    Args:
        pair: codes (2, L, C) of A and B.
        draw: codes (N, L, C) to pictures (N, 3, H, W).
        judge: pictures to logits (N, V).
        batch_size: pictures drawn at a time; more than 1 only pays on a GPU.
    """
    a, b = pair
    chosen = swaps(len(a)).to(pair.device)
    parts = torch.where(chosen[..., None], b, a).split(batch_size)
    return attributes.log_softmax(torch.cat([judge(draw(ws)) for ws in parts]))


def tabulate(log_p: Tensor, generator: Generator, metadata: dict[str, str]) -> LayerTable:
    """The table of judged pairs, with 95 % percentile intervals of a bootstrap over pairs.

    Args:
        log_p: (n, 2L, V), a row of `judge_swaps` for each pair.
        generator: whose slots they are.
        metadata: how they were drawn and judged.

    Raises:
        UsageError: fewer than 2 pairs.
    """
    if len(log_p) < 2:
        raise UsageError(f"count: expected 2 pairs of faces or more, got {len(log_p)}")
    p = log_p.double().exp()
    moved = p[:, 1:] - p[:, :1]  # (n, 2L − 1, V): all, each alone, the first ones
    whole = moved[:, :1]
    effects = _rows(attributes.group_sums(moved * whole))  # (n, 2L − 1, R)
    alone, first = effects[:, 1 : generator.slots + 1], effects[:, generator.slots + 1 :]
    cumulative = torch.cat([alone[:, :1], first, effects[:, :1]], dim=1)
    apart = _rows(attributes.group_sums(whole[:, 0].abs())) / 2
    return LayerTable(
        attributes=tuple(ROWS),
        sizes=slot_sizes(generator),
        alone=_ratios(alone, effects[:, 0]),
        cumulative=_ratios(cumulative, effects[:, 0]),
        differ=(apart.mean(dim=0) / torch.tensor([len(g) for g in ROWS.values()])).float(),
        metadata=metadata,
    )


def _rows(values: Tensor) -> Tensor:
    """Sums (…, R) of groups (…, G) for each of `ROWS`."""
    groups = list(attributes.GROUPS)
    parts = [values[..., [groups.index(g) for g in row]].sum(dim=-1) for row in ROWS.values()]
    return torch.stack(parts, dim=-1)


def _ratios(effects: Tensor, whole: Tensor) -> Tensor:
    """Σ effects (n, L, R) / Σ whole (n, R), low and high: (3, R, L), 0 where faces never differ."""
    n, random = len(effects), torch.Generator().manual_seed(0)
    drawn = torch.randint(n, (ROUNDS, n), generator=random)
    counts = torch.ones(1, n).double(), torch.zeros(ROUNDS, n).double()
    counts[1].scatter_add_(1, drawn, torch.ones(ROUNDS, n).double())
    value, resampled = (
        torch.einsum("kn,nlr->krl", c, effects) / (c @ whole)[..., None].clamp_min(1e-9)
        for c in counts
    )
    ends = resampled.quantile(torch.tensor([0.025, 0.975]).double(), dim=0)
    return torch.cat([value, ends]).float()


def shipped_table() -> LayerTable:
    """The table that came with the package, of the released generator.

    Raises:
        TediError: it is missing or damaged.
    """
    return files.load(zoo.path(SHIPPED))


def row(table: LayerTable, name: str) -> int:
    """Number of an attribute's row.

    Raises:
        UsageError: the table has no such attribute; the nearest one is suggested.
    """
    if name not in table.attributes:
        raise unknown("attribute", name, table.attributes)
    return table.attributes.index(name)


def slots_for(table: LayerTable, groups: Iterable[str], share: float = SHARE) -> tuple[int, ...]:
    """The fewest slots that carry these attributes, in order; none for no attributes.

    Each attribute's effects are scaled to sum to 1, so that all count alike.

    Args:
        table: what each slot carries.
        groups: attributes, such as "smile", "background" or "background blue".
        share: of the summed effects of all slots, above 0 to 1.

    Raises:
        UsageError: an attribute that the table lacks, or a share out of range.
    """
    if not 0 < share <= 1:
        raise UsageError(f"share: expected above 0 to 1, got {share}")
    rows = [row(table, name) for name in dict.fromkeys(groups)]
    effects = table.alone[0, rows].double().clamp_min(0)
    carried = (effects / effects.sum(dim=1, keepdim=True).clamp_min(1e-9)).sum(dim=0)
    carried, order = carried.sort(descending=True, stable=True)
    needed = carried.cumsum(0) < share * carried.sum() - 1e-9
    count = int(needed.sum()) + 1 if carried.any() else 0
    return tuple(sorted(order[:count].tolist()))
