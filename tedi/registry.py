"""Families of parts as tables: name -> "module:attribute", imported when first asked for.

>>> table = Table("number", {"pi": "math:pi", "tau": "math:tau"})
>>> round(table["pi"], 2)
3.14
>>> sorted(table)
['pi', 'tau']
>>> table["pie"]
Traceback (most recent call last):
tedi.errors.UsageError: unknown number 'pie'; did you mean 'pi'?
"""

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tedi.errors import UsageError


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Error for a name that is not in a family, with the nearest one that is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names)}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")


class Table(Mapping[str, Any]):
    """Lazy mapping of names to attributes of modules.

    Args:
        kind: what one entry is called in an error message.
        entries: name -> "module:attribute".
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self.entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name not in self.entries:
            raise unknown(self.kind, name, self.entries)
        return resolve(self.entries[name])

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def resolve(reference: str) -> Any:
    """Object that "module:attribute" refers to; imports the module."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
