"""Settings: frozen dataclasses built from mappings (YAML, JSON, metadata); unknown keys refused."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from tedi.errors import UsageError
from tedi.registry import unknown

T = TypeVar("T")
POWER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # a number that YAML takes for a text


def build(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Instance of a settings dataclass.

    Args:
        cls: a dataclass whose fields are int, float, bool, str, tuples, dicts, or one or None.
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


def assigned(text: str, *, where: str, form: str = "NAME=VALUE") -> tuple[str, Any]:
    """Name and value of one setting; the value is read as YAML.

    Args:
        text: NAME=VALUE.
        where: the option it came from, for messages.
        form: what is expected, for messages.

    Raises:
        UsageError: another form, or a value that is no YAML.

    >>> assigned("lr=3e-4", where="--set")
    ('lr', 0.0003)
    """
    import yaml

    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"{where}: expected {form}, got {text!r}")
    if POWER.fullmatch(value):
        return name, float(value)
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: {name}: cannot read {value!r} as a value") from error


def changed(settings: T, changes: Sequence[str], *, where: str) -> T:
    """A settings dataclass with single fields changed, each as NAME=VALUE.

    Raises:
        UsageError: what `assigned` and `build` raise, or a value out of range.
    """
    values = dict(assigned(change, where=where) for change in changes)
    try:
        return build(type(settings), vars(settings) | values, where=where)
    except UsageError as error:
        told = str(error).removeprefix(f"{where}: ")  # ranges are checked by who knows no option
        raise UsageError(f"{where}: {told}") from error


def _cast(value: Any, hint: Any, name: str, where: str) -> Any:
    if isinstance(hint, UnionType):
        if value is None:
            return None
        [hint] = [kind for kind in get_args(hint) if kind is not NoneType]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = getattr(hint, "__origin__", hint)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if kind in (int, float, bool, str, tuple, dict) and type(value) is not kind:
        raise UsageError(f"{where}: {name}: expected {kind.__name__}, got {value!r}")
    return value
