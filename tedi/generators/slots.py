"""Style slots by name, and checks of what is given for them."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from tedi.errors import UsageError

Groups = Mapping[str | int, range]
"""Slots by the name of a group, or by a size in px."""


def mixing_groups(slots: int) -> dict[str | int, range]:
    """Groups of style mixing (Karras et al. 2019, section 3.1): four slots, four, and the rest."""
    return {
        "coarse": range(min(4, slots)),
        "medium": range(4, max(4, min(8, slots))),
        "fine": range(8, max(8, slots)),
        "all": range(slots),
    }


def slots_of(group: str | int, groups: Groups) -> tuple[int, ...]:
    """Slots of a group or a size.

    Raises:
        UsageError: it is not among the groups.
    """
    if group not in groups:
        raise UsageError(f"layers: expected one of {', '.join(map(str, groups))}, got {group}")
    return tuple(groups[group])


def check_ws(ws: Tensor, slots: int, width: int) -> None:
    """Nothing, where codes are (N, slots, width).

    Raises:
        UsageError: they are not.
    """
    if ws.ndim != 3 or ws.shape[1:] != (slots, width):
        raise UsageError(f"ws: expected (N, {slots}, {width}), got {tuple(ws.shape)}")


def check_rows(name: str, rows: Tensor, width: int) -> None:
    """Nothing, where rows are (N, width).

    Raises:
        UsageError: they are not.
    """
    if rows.ndim != 2 or rows.shape[1] != width:
        raise UsageError(f"{name}: expected (N, {width}), got {tuple(rows.shape)}")


def check_styles(styles: Mapping[str, Tensor], expected: Iterable[str]) -> None:
    """Nothing, where there is a style for each layer and no other.

    Raises:
        UsageError: a style is missing or left over.
    """
    wanted = set(expected)
    for word, names in (("missing", wanted - set(styles)), ("left over", set(styles) - wanted)):
        if names:
            raise UsageError(f"styles: {min(names)} is {word}; give all that `styles` gives")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Nothing, where a value is one of the choices.

    Raises:
        UsageError: it is not.
    """
    if value not in choices:
        raise UsageError(f"{name}: expected {' or '.join(choices)}, got {value!r}")


def check_size(at: int, sizes: tuple[int, ...]) -> None:
    """Nothing, where there are features of this size.

    Raises:
        UsageError: there are not.
    """
    if at not in sizes:
        raise UsageError(f"features: expected a size among {list(sizes)} px, got {at}")
