"""tedi's own safetensors: what they are is in their metadata, and their names are tedi's."""

import json
from typing import Any

from torch import Tensor

from tedi.checkpoints.bundle import PARTS, TABLES, Bundle, Contents, bundle_of
from tedi.checkpoints.formats.content import is_state, told
from tedi.checkpoints.formats.keymap import below
from tedi.checkpoints.raw import Raw
from tedi.errors import TediError

CONTAINER = "safetensors"


class Tedi:
    """A safetensors file whose metadata says what it holds."""

    name = "tedi"

    def detect(self, raw: Raw) -> bool:
        """Whether the metadata names parts, a kind, an architecture, or how a code was made."""
        return raw.container == CONTAINER and not raw.metadata.keys().isdisjoint(
            (PARTS, "kind", "architecture", "record")
        )

    def convert(self, raw: Raw) -> Contents:
        """Bundles of a file that was detected; of tedi's other files, what they are.

        Raises:
            TediError: the metadata is damaged, or a network does not fit.
        """
        state: dict[str, Tensor] = raw.value if is_state(raw.value) else {}
        if PARTS in raw.metadata:
            every = _names(_loaded(raw.metadata[PARTS], PARTS), PARTS)
            for name in state:
                if name.partition(".")[0] not in every:
                    raise TediError(f"unknown key {name!r}")
            parts = {r: _bundle(every[r], below(state, f"{r}."), f"{raw.path}: {r}") for r in every}
            return Contents(self.name, parts)
        if "config" not in raw.metadata:
            return Contents(self.name, {}, (_words(raw),))
        one = {k: raw.metadata.get(k, "") for k in ("kind", "architecture")}
        one |= {k: _loaded(raw.metadata.get(k, ""), k) for k in ("config", "facts")}
        role = raw.metadata.get("role", one["kind"])
        return Contents(self.name, {role: _bundle(one, state, str(raw.path))})


def _loaded(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise TediError(f"its metadata is damaged: {name} is no JSON ({error})") from error


def _names(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TediError(f"its metadata is damaged: {name}: expected names, got {told(value)}")
    return value


def _bundle(entry: object, state: dict[str, Tensor], whose: str) -> Bundle:
    about = _names(entry, PARTS)
    kind, architecture = str(about.get("kind")), str(about.get("architecture"))
    config, facts = (_names(about.get(name), name) for name in ("config", "facts"))
    if kind not in TABLES:
        return Bundle(kind, architecture, config, state, facts)
    if architecture not in TABLES[kind]:
        what = f"unknown {kind} {architecture!r}"
        raise TediError(f"{whose}: {what}; this tedi may be too old for it")
    return bundle_of(kind, architecture, state, whose, facts=facts, config=config)


def _words(raw: Raw) -> str:
    """One of tedi's other files in a few words."""
    about = raw.metadata
    if "record" in about:
        return "ws: a code, with the record of how it was made"
    kind, note = about.get("kind") or about.get("architecture", ""), about.get("note", "")
    return f"{kind}: {note}" if note else str(kind)
