"""Two layouts of one network, written once as a table and read in both directions.

A `Pair` says what a tensor is called here and there, and how it lies there. Converting is strict:
each key is used once, and one that the table does not know is named.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tedi.errors import TediError

CLOSE = 1e-5  # how near a constant must be to its value; published files keep them in float32


@dataclass(frozen=True)
class View:
    """How a tensor lies in the other layout; `there` and `back` undo each other."""

    there: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


SAME = View(lambda t: t, lambda t: t)
ROW = View(lambda t: t[None], lambda t: t.squeeze(0))  # (…) <-> (1, …)
CHANNELS = View(lambda t: t[None, :, None, None], lambda t: t.flatten())  # (C,) <-> (1, C, 1, 1)
PLANE = View(lambda t: t[None, None], lambda t: t.squeeze(0).squeeze(0))  # (H, W) <-> (1, 1, H, W)
ONE = View(lambda t: t.reshape(1), lambda t: t.reshape(()))  # () <-> (1,)
TURNED = View(lambda t: t.flip((2, 3)), lambda t: t.flip((2, 3)))  # kernels, by half a turn
TRANSPOSED = View(lambda t: t.transpose(0, 1), lambda t: t.transpose(0, 1))
HWIO = View(lambda t: t.permute(2, 3, 1, 0), lambda t: t.permute(3, 2, 0, 1))  # from O, I, H, W
LESS_ONE = View(lambda t: t - 1, lambda t: t + 1)


def then(first: View, second: View) -> View:
    """One view after another, seen from here."""
    return View(lambda t: second.there(first.there(t)), lambda t: first.back(second.back(t)))


@dataclass(frozen=True)
class Pair:
    """A tensor's name here and there, and how it lies there."""

    ours: str
    theirs: str
    view: View = SAME


@dataclass(frozen=True)
class KeyMap:
    """All tensors of a network in two layouts.

    Attributes:
        pairs: one for every tensor.
        constants: what the other layout stores and ours computes, by its names there. A file may
            leave them out; one with other values is refused, since ours would draw otherwise.
        optional: names there that a file may leave out; ours then lacks them as well.
    """

    pairs: tuple[Pair, ...]
    constants: Mapping[str, Tensor] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    def to_ours(self, state: Mapping[str, Tensor], whose: str) -> dict[str, Tensor]:
        """Our state of theirs, tensors contiguous.

        Args:
            state: of the other layout; on the meta device constants are not looked at.
            whose: the network, for messages: "faces.pt: g_ema".

        Raises:
            TediError: a key is missing, one is unknown, or a constant has another value.
        """
        check_keys(
            state,
            needed=[p.theirs for p in self.pairs if p.theirs not in self.optional],
            allowed=[*self.optional, *self.constants],
            whose=whose,
        )
        for name, value in self.constants.items():
            if name in state:
                check_constant(state[name], value, f"{whose}: {name}")
        found = (p for p in self.pairs if p.theirs in state)
        return {p.ours: _back(p, state[p.theirs], whose) for p in found}

    def to_theirs(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Their state of ours, constants included.

        Raises:
            TediError: a key is missing or unknown: the network is none that the layout can hold.
        """
        names = [p.ours for p in self.pairs]
        check_keys(state, needed=names, allowed=[], whose="this layout cannot hold the network")
        made = {p.theirs: p.view.there(state[p.ours]).contiguous() for p in self.pairs}
        return made | {name: value.clone() for name, value in self.constants.items()}


def _back(pair: Pair, tensor: Tensor, whose: str) -> Tensor:
    try:
        return pair.view.back(tensor).contiguous()
    except (RuntimeError, IndexError) as error:
        shape = tuple(tensor.shape)
        raise TediError(f"{whose}: {pair.theirs}: a tensor of odd shape {shape}") from error


def check_keys(
    state: Mapping[str, Tensor], *, needed: Iterable[str], allowed: Iterable[str], whose: str
) -> None:
    """Raise unless a state has all that is needed and nothing that is not allowed.

    Raises:
        TediError: names the first key that is missing, else the first that is unknown.
    """
    needed = list(needed)
    for name in needed:
        if name not in state:
            raise TediError(f"{whose}: {name!r} is missing")
    known = {*needed, *allowed}
    for name in state:
        if name not in known:
            raise TediError(f"{whose}: unknown key {name!r}")


def check_constant(value: Tensor, expected: Tensor, whose: str) -> None:
    """Raise unless a stored constant is the one that the network computes with.

    Raises:
        TediError: its shape or its values are others.
    """
    if value.shape != expected.shape:
        shapes = f"expected {tuple(expected.shape)}, got {tuple(value.shape)}"
        raise TediError(f"{whose}: a constant of another shape: {shapes}")
    if not value.is_meta and not (value.float().cpu() - expected).abs().max() <= CLOSE:
        raise TediError(f"{whose}: not the constant that this network computes with")


def binomial(*taps: float, gain: float = 1) -> Tensor:
    """The square kernel of a row of taps, its sum the gain.

    >>> binomial(1, 1, gain=4)
    tensor([[1., 1.],
            [1., 1.]])
    """
    row = torch.tensor(taps)
    return torch.outer(row, row) / row.sum().square() * gain


def indices(state: Iterable[str], prefix: str) -> list[int]:
    """Numbers that follow a prefix in the names of a state, sorted.

    >>> indices(["convs.0.weight", "convs.10.bias", "conv1.bias"], "convs.")
    [0, 10]
    """
    found = set()
    for name in state:
        head = name.removeprefix(prefix).partition(".")[0]
        if name.startswith(prefix) and head.isdecimal() and len(head) < 6:
            found.add(int(head))
    return sorted(found)


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, without it.

    >>> below({"encoder.a": torch.zeros(1), "b": torch.zeros(1)}, "encoder.")
    {'a': tensor([0.])}
    """
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
