"""Attributes as numbers: every value of the schema a column, every attribute a group of columns.

Pictures, codes and texts all speak of the same V columns. A classifier gives logits, within each
group a distribution over values; a text gives, for each value, how well it agrees. What words a
background has is not one choice, so each of its words is a group of its own.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tedi.grammar import ATTRIBUTES, backgrounds

Value = str | bool

GROUPS: dict[str, tuple[Value, ...]] = {
    **{name: values for name, values in ATTRIBUTES.items() if name != "background"},
    **{f"background {word}": (False, True) for word in ATTRIBUTES["background"]},
}
"""Group -> its values, in the order of the columns."""

COLUMNS: list[tuple[str, Value]] = [(g, value) for g, values in GROUPS.items() for value in values]
"""(group, value) of each column; there are V of them in G groups."""


def _spans() -> dict[str, slice]:
    ends = torch.tensor([len(values) for values in GROUPS.values()]).cumsum(0).tolist()
    return {g: slice(end - len(GROUPS[g]), end) for g, end in zip(GROUPS, ends, strict=True)}


SPANS: dict[str, slice] = _spans()
"""Group -> its columns."""

MEMBER = torch.tensor([list(GROUPS).index(g) for g, _ in COLUMNS])
"""Number of the group that each column belongs to, (V,)."""


def group_sums(values: Tensor) -> Tensor:
    """Sums (…, G) over the columns of each group of values (…, V)."""
    sums = values.new_zeros(*values.shape[:-1], len(GROUPS))
    return sums.index_add(-1, MEMBER.to(values.device), values)


def spread(values: Tensor) -> Tensor:
    """One number a group (…, G) repeated for its columns (…, V), new."""
    return values[..., MEMBER.to(values.device)]


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities (…, V) of logits (…, V), normalised within each group."""
    shifted = logits - spread(_group_max(logits))
    return shifted - spread(group_sums(shifted.exp()).log())


def _group_max(values: Tensor) -> Tensor:
    """Largest value of each group (…, G), a constant to autograd."""
    largest = values.new_full((*values.shape[:-1], len(GROUPS)), -torch.inf)
    member = MEMBER.to(values.device).expand_as(values)
    return largest.scatter_reduce(-1, member, values.detach(), "amax")


def likeliest(logits: Tensor) -> list[dict[str, Value]]:
    """The likeliest value of each group, for each row of logits (N, V).

    >>> likeliest(labels_of({"smile": "broad", "background": "plain"})[None])[0]["smile"]
    'broad'
    """
    best = {group: logits[:, span].argmax(dim=1).tolist() for group, span in SPANS.items()}
    return [{group: GROUPS[group][best[group][n]] for group in GROUPS} for n in range(len(logits))]


def fit(log_p: Tensor, allowed: Tensor) -> Tensor:
    """How likely a text is of what is seen, by group: log Σ_v p(v) allowed(v).

    Args:
        log_p: (…, V) log-probabilities of values.
        allowed: (…, V), 0 to 1: 1 where a value agrees with the text. All ones: it is silent.

    Returns:
        (…, G), at most 0.
    """
    return group_sums(log_p.exp() * allowed).clamp_min(1e-6).log()


def labels_of(face: Mapping[str, Any]) -> Tensor:
    """What is true of a face of tedifaces: (V,) of 0 and 1, one value in each group."""
    words = backgrounds(str(face["background"]))
    return torch.tensor([_holds(face, words, g, v) for g, v in COLUMNS], dtype=torch.float32)


def _holds(face: Mapping[str, Any], words: frozenset[Value], group: str, value: Value) -> bool:
    if group in face:
        return bool(face[group] == value)
    return (group.removeprefix("background ") in words) == value


def allowed_by(says: Mapping[str, frozenset[Value]]) -> Tensor:
    """Values that agree with what a caption says: (V,) of 0 and 1, ones where it is silent.

    >>> says = {"smile": frozenset({"slight", "broad"}), "background": frozenset({"blue"})}
    >>> [(g, v) for (g, v), fits in zip(COLUMNS, allowed_by(says)) if not fits]
    [('smile', 'none'), ('background blue', False)]
    """
    named = says.get("background", frozenset())
    yes: frozenset[Value] = frozenset({True})
    wanted = {g: yes for g in GROUPS if g.removeprefix("background ") in named}
    wanted |= {g: values for g, values in says.items() if g != "background"}
    return torch.tensor([v in wanted.get(g, {v}) for g, v in COLUMNS], dtype=torch.float32)
