"""What can be said of a face, and the phrases that say it."""

import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tedi.errors import UsageError
from tedi.grammar import words
from tedi.registry import unknown

Value = str | bool
Says = dict[str, frozenset[Value]]

ATTRIBUTES: dict[str, tuple[Value, ...]] = {
    "gender": ("female", "male", "unclear"),
    "age": ("baby", "child", "teen", "young adult", "middle-aged", "old"),
    "smile": ("none", "slight", "broad"),
    "mouth_open": (False, True),
    "hair_color": ("black", "brown", "blond", "red", "gray", "other", "none"),
    "hair_length": ("bald", "short", "medium", "long", "hidden"),
    "hair_texture": ("straight", "wavy", "curly", "unclear"),
    "bangs": (False, True),
    "beard": ("none", "stubble", "mustache", "goatee", "full"),
    "glasses": ("none", "eyeglasses", "sunglasses"),
    "hat": (False, True),
    "earrings": (False, True),
    "makeup": (False, True),
    "skin": ("light", "medium", "dark"),
    "chubby": (False, True),
    "thick_brows": (False, True),
    "pose": ("front", "left", "right"),
    "background": (
        *("white", "black", "gray", "brown", "beige", "green", "blue", "red", "orange"),
        *("yellow", "pink", "purple", "dark", "bright", "plain", "blurred", "outdoor"),
        *("indoor", "trees", "wall", "sky"),
    ),
}
"""Attributes of tedifaces and their values; `background` is free there, here its usual words."""

ORDERED: dict[str, tuple[Value, ...]] = {
    "age": ATTRIBUTES["age"],
    "smile": ATTRIBUTES["smile"],
    "mouth_open": ATTRIBUTES["mouth_open"],
    "hair_color": ("black", "brown", "blond"),
    "hair_length": ("bald", "short", "medium", "long"),
    "hair_texture": ("straight", "wavy", "curly"),
    "bangs": ATTRIBUTES["bangs"],
    "beard": ("none", "stubble", "goatee", "full"),
    "earrings": ATTRIBUTES["earrings"],
    "makeup": ATTRIBUTES["makeup"],
    "skin": ATTRIBUTES["skin"],
    "chubby": ATTRIBUTES["chubby"],
    "thick_brows": ATTRIBUTES["thick_brows"],
}
"""Attributes with a more and a less, and the values on that way; others lie off it."""

UNSAID = frozenset({("gender", "unclear"), ("hair_color", "none"), ("hair_texture", "unclear")})
"""Values that no phrase asserts."""


@dataclass(frozen=True)
class Phrase:
    """One wording.

    Attributes:
        text: the words, with `{her}` and `{n}` to fill in.
        slot: where it stands in a sentence, see `tedi.grammar.words`.
        says: attribute -> values it is true of.
        given: attribute -> values it takes for granted.
        heldout: kept out of captions for training.
    """

    text: str
    slot: str
    says: Says
    given: Says = field(default_factory=dict)
    heldout: bool = False

    def fits(self, face: Mapping[str, Value]) -> bool:
        """Whether it is true of a face; what the face does not tell is let pass."""
        return holds(face, self.says) and holds(face, self.given)


class Lexicon:
    """All phrases, found by what they say.

    Attributes:
        phrases: every phrase, in the order of the table.
        usual: attribute -> value -> slot -> phrases that say this attribute only.
        rare: the same for held-out phrases.
        nouns: phrases that can head a noun phrase.
        pairs: other phrases that say two attributes at once, by these.
    """

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self.phrases = tuple(phrases)
        self.nouns = tuple(p for p in self.phrases if p.slot == "noun")
        others = [p for p in self.phrases if p.slot != "noun"]
        self.pairs: dict[frozenset[str], list[Phrase]] = {}
        for phrase in others:
            if len(phrase.says) > 1:
                self.pairs.setdefault(frozenset(phrase.says), []).append(phrase)
        single = [p for p in others if len(p.says) == 1]
        self.usual = index(p for p in single if not p.heldout)
        self.rare = index(p for p in single if p.heldout)


Index = dict[tuple[str, Value], dict[str, tuple[Phrase, ...]]]


def index(phrases: Iterable[Phrase]) -> Index:
    """Phrases by (attribute, value) and slot, the usual ones of every block first."""
    ranked: dict[tuple[str, Value], dict[str, list[tuple[int, Phrase]]]] = {}
    ranks: dict[tuple[str, str], itertools.count[int]] = {}
    for phrase in phrases:
        (attribute, values), *_ = phrase.says.items()
        rank = next(
            ranks.setdefault((str(sorted(map(str, values))), phrase.slot), itertools.count())
        )
        for value in values:
            slots = ranked.setdefault((attribute, value), {})
            slots.setdefault(phrase.slot, []).append((rank, phrase))
    return {
        key: {slot: usual_first(pairs) for slot, pairs in slots.items()}
        for key, slots in ranked.items()
    }


def usual_first(ranked: list[tuple[int, Phrase]]) -> tuple[Phrase, ...]:
    """Phrases of several blocks merged by rank."""
    return tuple(phrase for _, phrase in sorted(ranked, key=lambda pair: pair[0]))


@functools.cache
def lexicon() -> Lexicon:
    """The lexicon of `words.PHRASES`, read once."""
    return Lexicon(read_phrases(words.PHRASES))


def read_phrases(table: str) -> list[Phrase]:
    """Phrases of a table in the format that `tedi.grammar.words` describes."""
    phrases: list[Phrase] = []
    header = ""
    for line in filter(str.strip, table.splitlines()):
        if line[0] != " ":
            header = line
            continue
        slot, _, listed = line.strip().partition(": ")
        for says, given, value in meanings(header):
            for text, heldout in read_list(listed):
                phrases.append(Phrase(text.replace("{value}", value), slot, says, given, heldout))
    return phrases


def meanings(header: str) -> Iterable[tuple[Says, Says, str]]:
    """What a block says and takes for granted; one for each value after `each`."""
    says, _, given = header.removeprefix("each ").partition(" given ")
    claims = read_claims(says)
    if not header.startswith("each "):
        return [(claims, read_claims(given), "")]
    attribute, _, values = says.partition("=")
    return [
        ({attribute: frozenset({value})}, read_claims(given), value) for value in values.split(", ")
    ]


def read_list(listed: str) -> list[tuple[str, bool]]:
    """Phrases of a comma-separated line, each with whether `~` holds it out."""
    texts = [text.strip() for text in listed.split(",")]
    return [(text.removeprefix("~"), text.startswith("~")) for text in texts if text]


@functools.cache
def lines(table: str, split: str) -> tuple[str, ...]:
    """Frames of a table, one a line: the usual ones, or for "heldout" those after `~`."""
    return pick_split(read_list(table.replace(",", "\0").replace("\n", ",")), split)


@functools.cache
def listed(table: str, split: str) -> tuple[str, ...]:
    """Words of a comma-separated table: the usual ones, or for "heldout" those after `~`."""
    return pick_split(read_list(table), split)


def pick_split(marked: list[tuple[str, bool]], split: str) -> tuple[str, ...]:
    """Texts of one split."""
    wanted = split == "heldout"
    return tuple(text.replace("\0", ",") for text, heldout in marked if heldout == wanted)


def read_claims(text: str) -> Says:
    """Claims written as "age=child, teen & hat=true".

    >>> {name: sorted(values) for name, values in read_claims("age=teen, child & hat=true").items()}
    {'age': ['child', 'teen'], 'hat': [True]}
    """
    says: Says = {}
    for claim in filter(None, text.split(" & ")):
        attribute, _, values = claim.partition("=")
        says[attribute] = frozenset(read_value(value) for value in values.split(", "))
    return says


def read_value(word: str) -> Value:
    """A value of the schema from its word."""
    return {"true": True, "false": False}.get(word, word)


def holds(face: Mapping[str, Value], says: Says) -> bool:
    """Whether claims agree with the attributes that a face tells."""
    return all(name not in face or face[name] in values for name, values in says.items())


def consistent(labels: Mapping[str, object], says: Mapping[str, frozenset[Value]]) -> bool:
    """Whether a text that says this can be about a face with these labels.

    Args:
        labels: a face as in tedifaces; an attribute that it lacks contradicts nothing.
        says: attribute -> values, as in `Caption.says`.

    >>> consistent({"hat": True, "smile": "slight"}, {"smile": frozenset({"slight", "broad"})})
    True
    """
    return all(
        name not in labels or not values.isdisjoint(shown(name, labels[name]))
        for name, values in says.items()
    )


def shown(name: str, label: object) -> frozenset[Value]:
    """Values of the schema that one label amounts to; several for a background.

    Raises:
        UsageError: unknown attribute, or a value that it cannot have.
    """
    if name not in ATTRIBUTES:
        raise unknown("attribute", name, ATTRIBUTES)
    if name == "background":
        return backgrounds(str(label))
    if label not in ATTRIBUTES[name] or isinstance(label, bool) != isinstance(
        ATTRIBUTES[name][0], bool
    ):
        allowed = ", ".join(map(str, ATTRIBUTES[name]))
        raise UsageError(f"{name}: expected one of {allowed}; got {label!r}")
    return frozenset({label})


@functools.lru_cache(maxsize=4096)
def backgrounds(label: str) -> frozenset[Value]:
    """Background words that a free label amounts to.

    >>> sorted(backgrounds("blurry green trees"))
    ['blurred', 'green', 'outdoor', 'trees']
    """
    spoken = label.lower().replace(",", " ").split()
    return frozenset(itertools.chain.from_iterable(background_words().get(w, ()) for w in spoken))


@functools.cache
def background_words() -> dict[str, tuple[Value, ...]]:
    """Word of a label -> what it lets a caption say."""
    table: dict[str, list[Value]] = {}
    for line in words.BACKGROUND_LABELS.strip().splitlines():
        value, _, labels = line.partition(": ")
        for word, _ in read_list(labels):
            table.setdefault(word, []).append(value)
    return {word: tuple(values) for word, values in table.items()}


@functools.cache
def clashes(attribute: str) -> tuple[tuple[Says, Says], ...]:
    """Pairs of claims that no request makes together, one of them about the attribute."""
    return tuple(pair for pair in read_clashes() if attribute in pair[0] or attribute in pair[1])


@functools.cache
def read_clashes() -> tuple[tuple[Says, Says], ...]:
    """All pairs of claims that no request makes together."""
    rules = []
    for line in words.CLASHES.strip().splitlines():
        left, _, right = line.partition(": ")
        rules += [(read_claims(left), read_clash(claim)) for claim in split_claims(right)]
    return tuple(rules)


def split_claims(text: str) -> list[str]:
    """Claims of a clash: "beard, hair_color=blond, red" is beard, and hair_color=blond, red."""
    claims: list[str] = []
    for part in text.split(", "):
        if "=" in part or part in ATTRIBUTES or not claims:
            claims.append(part)
        else:
            claims[-1] += f", {part}"
    return claims


def read_clash(claim: str) -> Says:
    """One claim; a bare attribute stands for all its values."""
    return read_claims(claim) if "=" in claim else {claim: frozenset(ATTRIBUTES[claim])}
