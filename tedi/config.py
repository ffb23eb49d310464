"""Settings: frozen dataclasses built from mappings (YAML, JSON, metadata); unknown keys refused."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from tedi.errors import UsageError
from tedi.registry import unknown

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Instance of a settings dataclass.

    Args:
        cls: a dataclass whose fields are int, float, bool, str, tuples or dicts.
        values: what differs from the defaults.
        where: the file or option the values came from, for messages.

    Raises:
        UsageError: a key that is no field, a missing field, or a value of another type.
    """
    if not isinstance(values, Mapping):
        raise UsageError(f"{where}: expected settings by name, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    for name in values:
        if name not in fields:
            raise UsageError(f"{where}: {unknown('setting', name, fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING
        if required and field.default_factory is dataclasses.MISSING and name not in values:
            raise UsageError(f"{where}: setting {name!r} is missing")
    return cls(**{name: _cast(values[name], hints[name], name, where) for name in values})


def _cast(value: Any, hint: Any, name: str, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = getattr(hint, "__origin__", hint)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if kind in (int, float, bool, str, tuple, dict) and type(value) is not kind:
        raise UsageError(f"{where}: {name}: expected {kind.__name__}, got {value!r}")
    return value
