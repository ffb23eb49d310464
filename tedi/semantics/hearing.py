"""What a text encoder makes of a prompt in words, and which of its words it makes nothing of.

A word is heard if what it says alone is also in what the prompt says, or if the prompt says
something else without it; neighbours that are not heard alone are left out together. All words
of a prompt that says nothing are unheard.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tedi import attributes
from tedi.attributes import Value
from tedi.encoders.text import ORDERED_GROUPS, Reading, TextEncoder
from tedi.errors import UsageError
from tedi.prompts import clean

CHANGED = 0.35  # a reading differs if an agreement does by more
_SILENT = """
a an the this that these those some any one ones it its he him his she her hers they them their
theirs i me my mine you your we us our who whom whose which what where when how there here
and or but nor so yet plus also too both either as than then while if because
in on at of to from by for with without within about into onto over under up down off out
around between near next behind above below against like such per via w
no not none never non dont don't doesn't isn't without
is are was were be been being am has have had having does do did done can could will would
shall should may might must let let's i'd i'm she's he's it's that's
make makes making made give gives giving given add adds adding put puts putting set take takes
taking remove removes removing get gets getting got turn turns turned turning change changes
changed changing keep keeps become becomes becoming go goes going want wants need show shows
showing shown draw draws drawn generate create render paint imagine replace try see
look looks looking looked seem seems appear appears appearing wear wears wearing worn
sport sports sporting rock rocks rocking
more less most least much many very really quite rather pretty fairly bit little lot lots
slightly somewhat extremely super just only even still again instead please pls thanks kind
sort type age aged year years old-looking yo yr yrs
person people someone somebody anyone human individual character subject face faces head
portrait portraits photo photos photograph picture pictures pic image images shot headshot
closeup close-up mugshot selfie avatar illustration rendering
same other another else own whole part side color colour coloured colored tone style look
"""
SILENT_WORDS = frozenset(_SILENT.split())
"""Words that ask for nothing by themselves, or for what every picture has."""
_JOINING = "a an the of in on at to his her their its my for by from into"
JOINING = frozenset(_JOINING.split())
"""Words that stay inside a phrase: "riding a bicycle"."""
POINTING = {
    **dict.fromkeys(["hair", "hairs", "hairstyle", "haircut"], "hair"),
    **dict.fromkeys(["background", "backdrop", "bg"], "background"),
    **dict.fromkeys(["skin", "complexion"], "skin"),
    **dict.fromkeys(["mouth", "lips"], "mouth"),
    **dict.fromkeys(["brow", "brows", "eyebrow", "eyebrows"], "brows"),
    **dict.fromkeys(["cheek", "cheeks"], "chubby"),
}
"""Words that name a place on the picture, and what the attributes there have in their names."""


@dataclass(frozen=True)
class Hearing:
    """What of a prompt is understood.

    Attributes:
        says: attribute group (`tedi.attributes.GROUPS`) -> the values that fulfil it.
        wishes: ordered attribute -> 1 for more of it, -1 for less.
        unheard: what nothing was made of, in the prompt's words and order.
    """

    says: dict[str, list[Value]]
    wishes: dict[str, int]
    unheard: list[str]

    def describe(self) -> str:
        """One line for people.

        >>> Hearing({"bangs": [True], "hair_color": ["red"]}, {"age": -1}, ["necklace"]).describe()
        'bangs, hair color red, age −; not drawn: "necklace"'
        """
        told = [_phrase(group, values) for group, values in self.says.items()]
        told += [f"{_plain(group)} {'+' if n > 0 else '−'}" for group, n in self.wishes.items()]
        line = ", ".join(told) or "nothing"
        return line + (f"; not drawn: {quoted(self.unheard)}" if self.unheard else "")


def hear(encoder: TextEncoder, prompt: str) -> Hearing:
    """What an encoder makes of a prompt; it must have its backbone.

    Raises:
        UsageError: a prompt that cannot be read.
    """
    words = list(re.finditer(r"[^\W_]+(?:[-'’][^\W_]+)*", prompt))
    content = [word for word in words if word[0].lower() not in SILENT_WORDS]
    (whole,) = _read(encoder, [prompt])
    alone = list(dict.fromkeys(word[0].lower() for word in content if _readable(word[0])))
    each = _read(encoder, alone) if whole and alone else []  # apart: short texts are read fast
    heard = {word for word, said in zip(alone, each, strict=bool(each)) if said.within(whole)}
    heard |= {word[0].lower() for word in content if _points(word[0], whole)}
    runs = _runs(words, [word for word in content if word[0].lower() not in heard], prompt)
    if whole:
        runs = _without_effect(encoder, prompt, whole, runs)
    return Hearing(whole.says, whole.wishes, [prompt[run] for run in runs])


class _Said:
    """What one text says."""

    def __init__(self, said: Reading, row: int) -> None:
        self.agrees, self.moves = said.agrees[row].cpu(), said.moves[row].cpu()
        self.says = dict(self._says())
        pairs = zip(ORDERED_GROUPS, self.moves.sign().int().tolist(), strict=True)
        self.wishes = {group: sign for group, sign in pairs if sign}

    def __bool__(self) -> bool:
        return bool(self.says or self.wishes)

    def _says(self) -> Iterator[tuple[str, list[Value]]]:
        """Groups of which a value is ruled out, and what is left of them, one value at least."""
        for group, span in attributes.SPANS.items():
            agrees = self.agrees[span]
            least = min(0.5, float(agrees.max()))
            if agrees.min() < 0.5:
                pairs = zip(attributes.GROUPS[group], agrees.tolist(), strict=True)
                yield group, [value for value, fits in pairs if fits >= least]

    def within(self, other: "_Said") -> bool:
        """Whether something of it is also in what another text says."""
        shared = any(set(v) & set(other.says.get(group, ())) for group, v in self.says.items())
        wished = any(
            other.wishes.get(group) == sign or group in other.says
            for group, sign in self.wishes.items()
        )
        return shared or wished or bool(self.says.keys() & other.wishes.keys())

    def differs(self, other: "_Said") -> bool:
        apart = (self.agrees - other.agrees).abs().max() > CHANGED
        return bool(apart) or self.wishes != other.wishes


@torch.no_grad()
def _read(encoder: TextEncoder, texts: Sequence[str]) -> list[_Said]:
    said = encoder.read(texts).plain()
    return [_Said(said, row) for row in range(len(texts))]


def _runs(
    words: "list[re.Match[str]]", suspects: "list[re.Match[str]]", prompt: str
) -> list[slice]:
    """Suspects as stretches of the prompt; between two of one stretch is at most "of the"."""
    runs: list[slice] = []
    chained = False
    for word in words:
        if word in suspects:
            close = chained and re.fullmatch(r"[\w\s'’/-]*", prompt[runs[-1].stop : word.start()])
            start = runs.pop().start if close else word.start()
            runs.append(slice(start, word.end()))
            chained = True
        else:
            chained = chained and word[0].lower() in JOINING
    return runs


def _without_effect(
    encoder: TextEncoder, prompt: str, whole: _Said, runs: list[slice]
) -> list[slice]:
    """Those stretches without which the prompt says the same."""
    rests = [(run, prompt[: run.start] + prompt[run.stop :]) for run in runs]
    rests = [(run, rest) for run, rest in rests if _readable(rest)]
    if not rests:
        return []
    said = _read(encoder, [rest for _, rest in rests])
    return [run for (run, _), rest in zip(rests, said, strict=True) if not whole.differs(rest)]


def _points(word: str, whole: _Said) -> bool:
    """Whether a word names a place of which the prompt says something."""
    place = POINTING.get(word.lower())
    return place is not None and any(place in g for g in (*whole.says, *whole.wishes))


def _readable(text: str) -> bool:
    try:
        clean(text)
    except UsageError:
        return False
    return True


def quoted(phrases: Sequence[str]) -> str:
    """Phrases in quotation marks, with commas."""
    return ", ".join(f'"{phrase}"' for phrase in phrases)


def _plain(group: str) -> str:
    return group.replace("_", " ")


def _phrase(group: str, values: list[Value]) -> str:
    """A group and its values: "bangs", "no hat", "age not baby", "smile slight or broad"."""
    name = _plain(group)
    if values in ([True], [False]):
        return name if values[0] else f"no {name}"
    others = [value for value in attributes.GROUPS[group] if value not in values]
    if len(others) == 1 < len(values):
        return f"{name} not {others[0]}"
    return f"{name} {' or '.join(map(str, values))}"
