"""Sizes of networks, read off the names and shapes of their tensors; values are never looked at."""

from collections.abc import Mapping

from torch import Tensor

from tedi.errors import TediError


def shape_of(state: Mapping[str, Tensor], name: str, *, ndim: int) -> tuple[int, ...]:
    """Shape of the tensor of a name.

    Raises:
        TediError: there is none, or it has other dimensions than `ndim`.
    """
    if name not in state:
        raise TediError(f"state: expected a tensor {name!r}, found none of that name")
    shape = tuple(state[name].shape)
    if len(shape) != ndim:
        raise TediError(f"{name}: expected {ndim} dimensions, got {shape}")
    return shape


def count_of(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many names there are of a pattern, with 0, 1, 2 … in the place of its braces.

    Raises:
        TediError: not even the first.
    """
    count = 0
    while pattern.format(count) in state:
        count += 1
    if not count:
        raise TediError(f"state: expected a tensor {pattern.format(0)!r}, found none of that name")
    return count
