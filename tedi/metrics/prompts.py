"""Prompts and edits to evaluate on, with what they say: from files, or composed anew."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tedi.errors import TediError, UsageError
from tedi.grammar import ATTRIBUTES, ORDERED, Caption, Edit, edit, request
from tedi.grammar.lexicon import Says
from tedi.prompts import clean
from tedi.registry import unknown

KEYS = ("prompt", "says", "implies")
EDIT_KEYS = ("edit", "wants", "moves", "from")
MOST_NAMED = 6

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Wish:
    """An edit to evaluate.

    Attributes:
        edit: its words, what they say, and what they move.
        start: attribute -> values; what a face must show for the edit to make sense.
    """

    edit: Edit
    start: Says = field(default_factory=dict)


def composed(count: int, *, seed: int = 0, split: str = "heldout") -> list[Caption]:
    """Different prompts that name 1, 2, … 6, 1, 2, … attributes.

    Args:
        count: how many.
        seed: of every choice; more prompts of one seed begin with the same ones.
        split: "heldout" for wordings that training never used, or "train".
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Caption] = {}
    while len(found) < count:
        caption = request(rng, count=len(found) % MOST_NAMED + 1, split=split)
        found.setdefault(clean(caption.text), caption)
    return list(found.values())


def read(path: Path) -> list[Caption]:
    """Prompts of a file: .jsonl with what they say, anything else with a prompt a line.

    A line of JSON is {"prompt": "…", "says": {"smile": ["slight", "broad"]}}, "says" and "implies"
    as in `tedi.grammar.Caption`. Blank lines and, outside of JSON, lines that begin with # are
    passed over.

    Raises:
        TediError: it cannot be read as UTF-8 text.
        UsageError: a line that is no prompt or comes twice, or none at all; names file and line.
    """
    parse = _parse if path.suffix.lower() == ".jsonl" else _plain
    return list(_parsed(path, "prompt", parse, lambda caption: caption.text).values())


def _parsed(
    path: Path,
    kind: str,
    parse: Callable[[str], Parsed | None],
    text_of: Callable[[Parsed], str],
) -> dict[str, Parsed]:
    """What the lines of a file hold, by its text."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TediError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    found: dict[str, Parsed] = {}
    for number, line in enumerate(lines, start=1):
        try:
            item = parse(line) if line.strip() else None
            if item is not None and text_of(item) in found:
                raise UsageError(f"{kind}: {text_of(item)!r} comes twice; keep one")
        except UsageError as error:
            raise UsageError(f"{path}, line {number}: {error}") from error
        if item is not None:
            found[text_of(item)] = item
    if not found:
        raise UsageError(f"{path}: holds no {kind}")
    return found


def _plain(line: str) -> Caption | None:
    return None if line.startswith("#") else Caption(clean(line), {}, {})


def composed_edits(count: int, *, seed: int = 0, split: str = "heldout") -> list[Wish]:
    """Different edits as the grammar makes them, for any face.

    Args:
        count: how many.
        seed: of every choice; more edits of one seed begin with the same ones.
        split: "heldout" for wordings that training never used, or "train".
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Wish] = {}
    while len(found) < count:
        made = edit(rng, split=split)
        text = clean(made.text)
        found.setdefault(text, Wish(Edit(text, made.says, made.moves)))
    return list(found.values())


def read_edits(path: Path) -> list[Wish]:
    """Edits of a .jsonl file.

    A line is {"edit": "…", "wants": {"smile": ["broad"]}, "moves": {"age": 1}, "from": {"smile":
    ["none"]}}: "wants" or "moves" or both, as in `tedi.grammar.Edit`; "from" is what a face must
    show before, and may be left out.

    Raises:
        TediError: it cannot be read as UTF-8 text.
        UsageError: a line that is no edit or comes twice, or none at all; names file and line.
    """
    return list(_parsed(path, "edit", _parse_edit, lambda wish: wish.edit.text).values())


def _parse_edit(line: str) -> Wish:
    told = _object(line, EDIT_KEYS, '{"edit": "…", "wants": {…}, "moves": {…}, "from": {…}}')
    wants, moves = _claims(told, "wants"), told.get("moves", {})
    if not isinstance(moves, dict):
        raise UsageError(f"moves: expected attributes with 1 or -1, got {moves!r}")
    for attribute, step in moves.items():
        if attribute not in ORDERED:
            raise unknown("attribute", attribute, ORDERED)
        if isinstance(step, bool) or step not in (1, -1) or attribute in wants:
            raise UsageError(f"{attribute}: expected to move by 1 or -1, or be wanted, not both")
    if not wants and not moves:
        raise UsageError('expected something in "wants" or "moves"')
    return Wish(Edit(clean(told["edit"]), wants, moves), _claims(told, "from"))


def _object(line: str, keys: tuple[str, ...], layout: str) -> dict[str, Any]:
    """An object of JSON with no other keys; the first of them holds its text."""
    try:
        told = json.loads(line)
    except ValueError as error:
        raise UsageError(f"expected a JSON object, got {line[:40]!r} ({error})") from error
    if not isinstance(told, dict) or not isinstance(told.get(keys[0]), str):
        raise UsageError(f"expected {layout}, got {line[:40]!r}")
    for key in told:
        if key not in keys:
            raise unknown("key", key, keys)
    return told


def _parse(line: str) -> Caption:
    told = _object(line, KEYS, '{"prompt": "…", "says": {…}}')
    return Caption(clean(told["prompt"]), _claims(told, "says"), _claims(told, "implies"))


def _claims(told: Mapping[str, Any], key: str) -> Says:
    claims = told.get(key, {})
    if not isinstance(claims, dict):
        raise UsageError(f"{key}: expected attributes with lists of values, got {claims!r}")
    for attribute, values in claims.items():
        if attribute not in ATTRIBUTES:
            raise unknown("attribute", attribute, ATTRIBUTES)
        _check_values(attribute, values)
    return {attribute: frozenset(values) for attribute, values in claims.items()}


def _check_values(attribute: str, values: object) -> None:
    if not isinstance(values, list) or not values:
        raise UsageError(f"{attribute}: expected a list of values, got {values!r}")
    known = ATTRIBUTES[attribute]
    for value in values:
        if not any(value is each or (value == each and isinstance(value, str)) for each in known):
            choice = ", ".join(json.dumps(each) for each in known)
            raise UsageError(f"{attribute}: expected values of {choice}; got {json.dumps(value)}")
