"""Who rules which layers of a code: shares of the coarse, medium and fine slots, by modality.

TediGAN (Xia et al. 2021, section 3.4) mixes layers of codes that come from several modalities.
What is given decides the defaults: structure from a drawing, the rest from a photo if there is one,
else from the seed; and text moves what comes of it.

>>> parse("text=fine,sketch=coarse+medium:0.5")
{'text': {'fine': 1.0}, 'sketch': {'coarse': 1.0, 'medium': 0.5}}
>>> told(defaults(["text", "sketch"]))
'sketch=coarse+medium,text=coarse+medium+fine'

A modality may be kept to parts of the face, too: `text@hair` rules what it would rule, but in the
hair alone.

>>> parse("text@hair+brows,sketch=coarse")
{'text': {'coarse': 1.0, 'medium': 1.0, 'fine': 1.0}, 'sketch': {'coarse': 1.0}}
>>> places("text@hair+brows,sketch=coarse")
{'text': ('hair', 'brows')}
"""

from collections.abc import Iterable

from tedi.errors import UsageError
from tedi.registry import unknown

GROUPS = ("coarse", "medium", "fine")
RULES: dict[str, tuple[str, ...]] = {
    "photo": GROUPS,
    "sketch": ("coarse", "medium"),
    "label": ("coarse", "medium"),
    "text": GROUPS,
}
"""Modality -> groups it can rule, all of them by default, in the order they are mixed: later ones
lie on top."""
VARIETY = 0.7
"""Default share of what a drawing leaves open that a seed may vary."""

Shares = dict[str, dict[str, float]]
"""Modality -> group of slots -> its share there, 0 to 1."""
Places = dict[str, tuple[str, ...]]
"""Modality -> the parts of the face that it is kept to."""


def defaults(given: Iterable[str]) -> Shares:
    """What each of the modalities that are given rules."""
    wanted = set(given)
    return {name: dict.fromkeys(RULES[name], 1.0) for name in RULES if name in wanted}


def parse(text: str) -> Shares:
    """Shares that people write: groups joined by +, each with a share after a colon or 1.

    Parts of the face after an @ are for `places`; with these, groups may be left out.

    Raises:
        UsageError: an unknown modality or group, one that the modality cannot rule, or a share
            out of range.
    """
    found: Shares = {}
    for part in text.split(","):
        named, equals, groups = part.strip().partition("=")
        name, at, _ = named.partition("@")
        if not (equals or at):
            raise UsageError(f"mix: expected text=fine,sketch=coarse+medium:0.5, got {text[:60]!r}")
        if name not in RULES:
            raise unknown("modality", name, RULES)
        if name in found:
            raise UsageError(f"mix: {name} is given twice in {text[:60]!r}")
        listed = groups.split("+") if equals else RULES[name]
        found[name] = dict(_share(group, text) for group in listed if group)
        if strange := [group for group in found[name] if group not in RULES[name]]:
            rest = " and ".join(RULES[name])
            raise UsageError(f"mix: {name} has no {strange[0]} layers; it rules {rest} ones")
    return found


def _share(group: str, text: str) -> tuple[str, float]:
    name, colon, number = group.strip().partition(":")
    if name not in GROUPS:
        raise unknown("group of layers", name, GROUPS)
    try:
        share = float(number) if colon else 1.0
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"mix: expected shares of 0 to 1, got {number!r} in {text[:60]!r}")
    return name, share


def chosen(given: Iterable[str], mix: str | None = None) -> Shares:
    """The defaults of what is given, with those of `mix` in their place.

    Raises:
        UsageError: `mix` names what is not given, or cannot be read.
    """
    shares = defaults(given)
    own = parse(mix) if mix else {}
    if missing := [name for name in own if name not in shares]:
        there = ", ".join(shares) or "nothing"
        raise UsageError(f"mix: {missing[0]} is not given; given is {there}")
    return shares | own


def places(text: str | None) -> Places:
    """Parts of the face that people keep a modality to; those it does not name rule all of it.

    Raises:
        UsageError: an @ with no part after it.
    """
    found: Places = {}
    for part in text.split(",") if text else ():
        name, at, parts = part.partition("=")[0].strip().partition("@")
        if at:
            found[name] = tuple(each.strip() for each in parts.split("+"))
            if not all(found[name]):
                raise UsageError(f"mix: expected parts of a face as in text@hair, got {part!r}")
    return found


def told(shares: Shares, kept: Places | None = None) -> str:
    """Shares, and parts of the face, as `parse` and `places` read them, in the order of mixing."""
    parts = []
    for name in RULES:
        if name in shares:
            groups = [g if s == 1 else f"{g}:{_exact(s)}" for g, s in shares[name].items()]
            where = "+".join((kept or {}).get(name, ()))
            parts.append(f"{name}{'@' * bool(where)}{where}={'+'.join(groups)}")
    return ",".join(parts)


def _exact(share: float) -> str:
    return repr(share).removesuffix(".0")
