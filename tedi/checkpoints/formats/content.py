"""What lies in a file: whether it is a state dict, in a few words, and as plain data."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from torch import Tensor

from tedi.checkpoints import raw
from tedi.checkpoints.raw import Stub

LISTED = 8  # entries of a long list that are told


def is_state(value: object) -> TypeGuard[dict[str, Tensor]]:
    """Whether a value is a state dict: names to tensors, nothing else."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def state_of(value: object) -> dict[str, Tensor] | None:
    """The state dict that a value is, or that a pickled module has; None of anything else."""
    if is_state(value):
        return value
    if not isinstance(value, Stub) or not isinstance(value.state, Mapping):
        return None
    return raw.state_dict(value) if {"_parameters", "_modules"} <= value.state.keys() else None


def told(value: object) -> str:
    """A value in a few words.

    >>> told({"a": 1, "b": [1.5]})
    'names a, b'
    """
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, Stub):
        return f"object {value.name}"
    if isinstance(value, dict):
        names = list(map(str, value))
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        return f"names {', '.join(names[:LISTED])}{more}" if names else "no names"
    if isinstance(value, list | tuple):
        return f"{len(value)} entries"
    return str(value)[:60]


def unused(
    value: Mapping[Any, Any], used: Iterable[str], notes: Mapping[str, str]
) -> tuple[str, ...]:
    """Top-level entries that no part took and that are not empty, with what is known of each."""
    taken = {*used, *(k for k, v in value.items() if v is None)}
    return tuple(f"{k}: {notes.get(k) or told(v)}" for k, v in value.items() if k not in taken)


def plain(value: object) -> Any:
    """Plain data of what a pickle held: paths as text, namespaces as names, tensors in words.

    >>> plain(Stub("pathlib.PosixPath", ("/", "home", "a"), None))
    '/home/a'
    """
    if isinstance(value, Stub):
        return _plain_stub(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return told(value)


def _plain_stub(stub: Stub) -> Any:
    if stub.name.startswith("pathlib."):
        first, *rest = [str(each) for each in stub.args] or ["."]
        return "/".join([first.rstrip("/"), *rest]) if rest else first
    if isinstance(stub.state, Mapping):
        return plain(stub.state)
    return stub.name
