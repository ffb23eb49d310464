"""Puts the phrases of a face's attributes into noun phrases, key words and sentences."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tedi.grammar import words
from tedi.grammar.asides import draw_aside
from tedi.grammar.dice import Dice
from tedi.grammar.english import capital, enumerate_words, flows, plural, shorten
from tedi.grammar.lexicon import Phrase, Says, Value, lexicon, lines, listed

BEFORE = ("attr", "adj")
NOUN_SLOTS = ("attr", "adj", "pred", "post", "has", "worn", "hair")
VERB_SLOTS = ("adj", "pred", "has", "worn", "does", "clause", "hair")
SLOT_WEIGHTS = {
    **{"attr": 2.0, "adj": 3.0, "pred": 2.5, "post": 2.0},
    **{"has": 3.0, "worn": 3.0, "hair": 3.0, "does": 2.5, "clause": 1.5},
}
ORDER = {
    **{"age": 0, "hair_length": 1, "hair_texture": 2, "hair_color": 3, "bangs": 4},
    **{"skin": 5, "chubby": 6, "thick_brows": 7, "beard": 8, "glasses": 9, "earrings": 10},
    **{"makeup": 11, "hat": 12, "smile": 13, "mouth_open": 14, "pose": 15, "background": 16},
}
ADJECTIVES = {
    **{"smile": 0, "mouth_open": 1, "chubby": 2, "age": 3, "skin": 4, "hair_length": 5},
    **{"hair_texture": 6, "hair_color": 7, "beard": 8, "thick_brows": 9, "glasses": 10, "hat": 11},
    **{"makeup": 12, "earrings": 13, "gender": 20},
}
HAIR = ("hair_length", "hair_texture", "hair_color")
CLOTHES = frozenset({"hat", "glasses", "makeup", "earrings", "aside"})
NEGATIVE = re.compile(r"(no|not|without|w/o|isn't|doesn't|hasn't|(is|does|has) (no|not)|sans)\b")


class Piece(NamedTuple):
    """A phrase with its blanks filled, in the slot where it will stand."""

    slot: str
    text: str
    attribute: str

    @property
    def negative(self) -> bool:
        """Whether it denies something, which must not spread over a list."""
        return NEGATIVE.match(self.text) is not None


class Writer:
    """Writes one text about one face and keeps account of what it says.

    Args:
        face: attribute -> its one value; says what is true.
        chosen: the attributes to name, every one once.
        dice: where choices come from.
        split: "train" or "heldout".
        rare: how often a held-out wording is preferred to a usual one.

    Attributes:
        says: what has been said so far.
        implies: what has been taken for granted so far.
        unseen: whether a held-out phrase has been used.
        asides: how many phrases to strew in that say nothing of the schema.
    """

    def __init__(
        self,
        face: Mapping[str, Value],
        chosen: Sequence[str],
        dice: Dice,
        *,
        split: str = "train",
        rare: float = 0.0,
    ) -> None:
        self.face = face
        self.left = sorted(chosen, key=lambda name: ORDER.get(name, 0) + 7 * dice.draw())
        self.dice = dice
        self.split = split
        self.rare = rare if split == "heldout" else 0.0
        self.says: Says = {}
        self.implies: Says = {}
        self.unseen = False
        self.asides = 0
        gender = str(face["gender"]) if "gender" in chosen else None
        self.she, self.her = words.PRONOUNS[gender]
        self.noun = ""

    def record(self, says: Says, given: Says) -> None:
        """Add claims to what has been said."""
        for name, values in says.items():
            self.says[name] = self.says.get(name, values) & values
        for name, values in given.items():
            self.implies[name] = self.implies.get(name, values) & values

    def piece(self, phrase: Phrase) -> Piece:
        """A phrase put to use."""
        self.record(phrase.says, phrase.given)
        self.unseen |= phrase.heldout
        text = phrase.text.replace("{her}", self.her)
        if "{n}" in text:
            low, high = words.YEARS[str(self.face["age"])]
            text = text.replace("{n}", str(low + int(self.dice.draw() * (high + 1 - low))))
        return Piece(phrase.slot, text, next(iter(phrase.says)))

    def say(self, attribute: str, slots: Sequence[str]) -> Piece:
        """One attribute in one of the slots; any slot where none of these can say it."""
        key = (attribute, self.face[attribute])
        pools = [lexicon().usual.get(key, {})]
        if self.rare and self.dice.chance(self.rare):
            pools.insert(0, lexicon().rare.get(key, {}))
        for allowed in (slots, NOUN_SLOTS):
            for pool in pools:
                phrase = self.choose({slot: pool[slot] for slot in allowed if slot in pool})
                if phrase is not None:
                    return self.piece(phrase)
        raise LookupError(f"no phrase says {attribute} {key[1]!r}")

    def choose(self, options: dict[str, tuple[Phrase, ...]]) -> Phrase | None:
        """A phrase that takes nothing false for granted, if there is one."""
        while options:
            weights = {
                slot: SLOT_WEIGHTS[slot] * len(texts) ** 0.5 for slot, texts in options.items()
            }
            slot = self.dice.weighted(weights)
            phrase = self.dice.ranked(options[slot])
            if phrase.fits(self.face):
                return phrase
            fitting = tuple(p for p in options[slot] if p.fits(self.face))
            if fitting:
                return self.dice.ranked(fitting)
            del options[slot]
        return None

    def word(self, table: str) -> str:
        """A word of a comma-separated table."""
        return self.dice.ranked(listed(table, self.side()))

    def frame(self, table: str) -> str:
        """A frame of a table that has one a line."""
        return self.dice.ranked(lines(table, self.side()))

    def side(self) -> str:
        """Which wordings the next frame comes from."""
        return "heldout" if self.rare and self.dice.chance(0.4) else "train"

    def take(self, count: int) -> list[str]:
        """The next attributes to name, at most so many."""
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def head(self) -> list[Piece]:
        """The noun, after it the adjective that it needs to tell the gender."""
        kinds = noun_kinds(*(self.face.get(name) for name in ("gender", "age", "hair_color")))
        options = {keys: self.weigh(keys) for keys in kinds if keys.issubset(self.left)}
        options = {keys: weight for keys, weight in options.items() if weight}
        if not {"gender", "age"}.intersection(self.left) or not options:
            options[frozenset()] = 2.0
        keys = self.dice.weighted(options)
        noun = self.named(kinds[keys]) if keys else Piece("noun", self.word(words.NOBODY), "")
        self.left = [name for name in self.left if name not in keys]
        self.noun = noun.text
        if "gender" not in self.left:
            return [noun]
        self.left.remove("gender")
        return [noun, self.say("gender", ("attr",))]

    def weigh(self, keys: frozenset[str]) -> float:
        """How often a noun that says these attributes is right for those left to name."""
        if "age" in self.left and "age" not in keys and self.face["age"] in ("baby", "child"):
            return 0.0
        weight = 0.3 if "hair_color" in keys else 1.0
        if "gender" in self.left and "gender" not in keys:
            weight *= 0.04
        return weight

    def named(self, nouns: tuple[Phrase, ...]) -> Piece:
        """One of some nouns."""
        rare = self.dice.chance(self.rare)
        fitting = tuple(p for p in nouns if p.fits(self.face))
        pool = tuple(p for p in fitting if p.heldout == rare) or fitting
        return self.piece(self.dice.ranked(pool))

    def pieces(self, attributes: Sequence[str], slots: Sequence[str]) -> list[Piece]:
        """Every attribute in one of the slots: some said together, hair mostly in one breath."""
        made: list[Piece] = []
        rest = list(attributes)
        if len(rest) > 1:
            rest = self.paired(rest, slots, made)
            rest = self.haired(rest, slots, made)
        for name in rest:
            crowded = sum(piece.slot in BEFORE for piece in made) > 1
            allowed = [slot for slot in slots if not (crowded and slot in BEFORE)]
            piece = self.say(name, allowed)
            made.append(self.as_hair([piece], allowed) if piece.slot == "hair" else piece)
        if self.asides:
            self.put_aside(made, slots)
        return made

    def put_aside(self, made: list[Piece], slots: Sequence[str]) -> None:
        """Strew in an aside; all that are due where nothing else is left to say."""
        while self.asides:
            self.asides -= 1
            made.insert(int(self.dice.draw() * (len(made) + 1)), self.aside(slots))
            if self.left and self.dice.chance(0.7):
                return

    def aside(self, slots: Sequence[str]) -> Piece:
        """A phrase that says nothing of the schema, in one of the slots."""
        slot, text = draw_aside(self.dice, self.side, slots)
        return Piece(slot, text.replace("{her}", self.her), "aside")

    def paired(self, rest: list[str], slots: Sequence[str], made: list[Piece]) -> list[str]:
        """Say two attributes in one phrase where there is one; gives those still to say."""
        for keys in lexicon().pairs:
            if keys.issubset(rest) and self.dice.chance(0.35):
                rare = self.dice.chance(self.rare)
                pairs = [p for p in lexicon().pairs[keys] if p.slot in slots and p.fits(self.face)]
                fitting = [p for p in pairs if p.heldout == rare]
                if fitting:
                    made.append(self.piece(self.dice.ranked(fitting)))
                    rest = [name for name in rest if name not in keys]
        return rest

    def haired(self, rest: list[str], slots: Sequence[str], made: list[Piece]) -> list[str]:
        """Say length, texture and colour of hair together; gives those still to say."""
        hair = [n for n in HAIR if n in rest and sayable_of_hair(n, self.face[n])]
        if len(hair) < 2 or not self.dice.chance(0.85):
            return rest
        made.append(self.as_hair([self.say(name, ("hair",)) for name in hair], slots))
        return [name for name in rest if name not in hair]

    def as_hair(self, adjectives: list[Piece], slots: Sequence[str]) -> Piece:
        """Adjectives of hair as "long blond hair" or "her hair is long and blond"."""
        texts = [piece.text for piece in adjectives]
        if "clause" in slots and self.dice.chance(0.3):
            return Piece("clause", f"{self.her} hair is {enumerate_words(texts)}", "hair_length")
        return Piece("has", " ".join([*texts, self.word(words.HAIR)]), "hair_length")

    def noun_phrase(self, count: int, *, relative: bool = False) -> str:
        """A noun phrase about the next attributes, without its article."""
        noun, *gender = self.head()
        self.left.sort(key=lambda name: name != "age")
        count = max(count, int("age" in self.left))
        tail = self.whose() if count and not relative and self.dice.chance(0.05) else ""
        made = self.pieces(self.take(count), NOUN_SLOTS if not relative else VERB_SLOTS[:5])
        before = [p for p in made if p.slot in BEFORE and not (relative and self.dice.chance(0.5))]
        after = [p for p in made if p not in before]
        before = sorted([*before, *gender], key=lambda p: ADJECTIVES.get(p.attribute, 9))
        named = " ".join([*(p.text for p in before), noun.text])
        if relative and after:
            return f"{named} who {enumerate_words(self.predicates(after))}"
        return named + self.trailing(after) + tail

    def whose(self) -> str:
        """The last attribute as " whose hair is long", where a clause says it like that."""
        name = self.left[-1] if self.left else ""
        pool = lexicon().usual.get((name, self.face.get(name, "")), {}).get("clause", ())
        owned = [p for p in pool if p.text.startswith("{her} ") and p.fits(self.face)]
        if not owned:
            return ""
        self.left.remove(name)
        return f" whose {self.piece(self.dice.ranked(owned)).text.removeprefix(f'{self.her} ')}"

    def trailing(self, pieces: list[Piece]) -> str:
        """What follows the noun: "with ... wearing ..., smiling"."""
        having = [p for p in pieces if p.slot == "has"]
        worn = [p for p in pieces if p.slot == "worn"]
        if having and worn and self.dice.chance(0.4):
            having, worn = having + worn, []
        groups = [self.with_group(having), self.worn_group(worn)]
        plain = [p for p in pieces if p.slot not in ("has", "worn")]
        early = [p.text for p in plain if p.attribute == "age"]
        acts = [p.text for p in plain if p.attribute != "age" and not p.negative]
        denied = [p.text for p in plain if p.attribute != "age" and p.negative]
        if self.dice.chance(0.25):
            groups = [*acts, *groups]
        else:
            groups += acts
        return self.follow([*early, *groups, *denied])

    def follow(self, groups: list[str]) -> str:
        """Groups one after another, with a comma where they would not flow."""
        text, comma = "", self.dice.chance(0.65)
        for group in filter(None, groups):
            flowing = flows(group) and (not text or not comma)
            text += f" {group}" if flowing else f", {group}"
        return text

    def with_group(self, pieces: list[Piece]) -> str:
        """The "with ..." of a noun phrase; denials come last."""
        texts = [p.text for p in pieces if not p.negative] + [p.text for p in pieces if p.negative]
        if not texts:
            return ""
        if len(texts) == 2 and self.dice.chance(0.08):
            return " and ".join(f"with {text}" for text in texts)
        return f"{'having' if self.dice.chance(0.03) else 'with'} {enumerate_words(texts)}"

    def worn_group(self, pieces: list[Piece]) -> str:
        """The "wearing ..." or "in ..." of a noun phrase."""
        texts = [p.text for p in pieces if not p.negative] + [p.text for p in pieces if p.negative]
        if not texts:
            return ""
        dressed = all(p.attribute in CLOTHES and not p.negative for p in pieces)
        verb = "in" if dressed and self.dice.chance(0.3) else "wearing"
        return f"{verb} {enumerate_words(texts)}"

    def predicates(self, pieces: list[Piece]) -> list[str]:
        """Finite verb phrases in the singular, each opening with its verb; denials come last."""
        states = [p for p in pieces if p.slot in ("attr", "adj", "pred", "post")]
        sure = [p.text for p in states if not p.negative]
        having = [p.text for p in pieces if p.slot == "has" and not p.negative]
        worn = [p.text for p in pieces if p.slot == "worn" and not p.negative]
        wears = "wears" if self.dice.chance(0.5) else "is wearing"
        groups = [("is", sure), ("has", having), (wears, worn)]
        made = self.dice.shuffled(f"{verb} {enumerate_words(t)}" for verb, t in groups if t)
        made += [p.text for p in pieces if p.slot == "does" and not p.negative]
        verbs = {"has": "has ", "worn": "wears ", "does": ""}
        return made + [verbs.get(p.slot, "is ") + p.text for p in pieces if p.negative]

    def sentence(self, subject: str, pieces: list[Piece]) -> list[str]:
        """One sentence about a subject, and one for each piece that is a clause by itself."""
        clauses = [p.text for p in pieces if p.slot == "clause"]
        verbs = self.predicates([p for p in pieces if p.slot != "clause"])
        if subject == "they":
            verbs = [plural(text) for text in verbs]
        text = [self.contracted(f"{subject} {enumerate_words(verbs)}")] if verbs else []
        return self.dice.shuffled(text + clauses)

    def contracted(self, text: str) -> str:
        """Sometimes "she's" for "she is"."""
        if self.dice.chance(0.15):
            return re.sub(r"^(s?he) is\b(?! not)|^(they) are\b(?! not)", shorten, text)
        return text

    def subject(self) -> str:
        """Subject of a further sentence."""
        short = self.noun.replace(" ", "").isalpha() and len(self.noun) < 12
        if short and self.she != "they" and self.dice.chance(0.12):
            return f"the {self.noun}"
        return self.she

    def sentences(self) -> str:
        """The whole text as one sentence or several, closed by full stops."""
        made = self.opening()
        while self.left or self.asides:
            pieces = self.pieces(self.take(1 + int(self.dice.draw() * 3)), VERB_SLOTS)
            made += self.sentence(self.subject(), pieces)
        return " ".join(capital(text.rstrip(".") + ".") for text in made)

    def opening(self) -> list[str]:
        """The first sentence: with an intro, with a noun as subject, or with a bare pronoun."""
        kind = self.dice.weighted({"intro": 4, "noun": 3, "pronoun": 2})
        if (
            kind == "pronoun"
            and self.she != "they"
            and self.face.get("age") not in ("baby", "child")
        ):
            self.left.remove("gender")
            self.record({"gender": frozenset({self.face["gender"]})}, {})
            return [] if self.left else [f"{self.she} is {self.say('gender', ('attr',)).text}"]
        if kind == "noun" and len(self.left) > 2:
            named = self.noun_phrase(0)
            subject = f"a {named}," if "," in named else f"a {named}"
            made = self.pieces(self.take(1 + int(self.dice.draw() * 3)), VERB_SLOTS)
            acts = [piece for piece in made if piece.slot != "clause"]
            clauses = [piece.text for piece in made if piece.slot == "clause"]
            return [*(self.sentence(subject, acts) or [f"this is a {named}"]), *clauses]
        relative = self.dice.chance(0.2)
        named = self.noun_phrase(int(self.dice.draw() * 4), relative=relative)
        return [self.frame(words.INTROS).format(np=f"a {named}")]

    def prompt(self) -> str:
        """The whole text as one noun phrase, with or without "a photo of" before it."""
        named = self.noun_phrase(99, relative=self.dice.chance(0.1))
        prefixed = self.dice.chance(0.42)
        text = named if self.dice.chance(0.2 if prefixed else 0.45) else f"a {named}"
        if self.dice.chance(0.07):
            text = re.sub(r"\b(a|an) (?!bit|little|lot|beard but)", "", text)
        return self.frame(words.PREFIXES).format(np=text) if prefixed else text

    def keywords(self) -> str:
        """The whole text as a list of key words."""
        tags: list[str] = []
        if {"gender", "age"}.intersection(self.left) or self.dice.chance(0.2):
            noun, *gender = self.head()
            tags.append(" ".join(p.text for p in [*gender, noun]))
        made = self.pieces(self.take(99), NOUN_SLOTS)
        bare = self.dice.chance(0.7)
        rest = [bared(p) if bare else p.text for p in made]
        tags = tags + rest if self.dice.chance(0.75) else self.dice.shuffled(tags + rest)
        if self.dice.chance(0.06):
            tags.insert(0, self.word(words.TAG_PREFIXES))
        return self.dice.weighted(words.SEPARATORS).join(tags)


@functools.lru_cache(maxsize=256)
def noun_kinds(
    gender: Value | None, age: Value | None, hair_color: Value | None
) -> dict[frozenset[str], tuple[Phrase, ...]]:
    """Nouns true of a face, by the attributes that they say."""
    known = {"gender": gender, "age": age, "hair_color": hair_color}
    face = {name: value for name, value in known.items() if value is not None}
    kinds: dict[frozenset[str], list[Phrase]] = {}
    for phrase in lexicon().nouns:
        if phrase.fits(face) and set(phrase.says) <= set(face):
            kinds.setdefault(frozenset(phrase.says), []).append(phrase)
    return {keys: tuple(nouns) for keys, nouns in kinds.items()}


def sayable_of_hair(attribute: str, value: Value) -> bool:
    """Whether an adjective of "hair" says this."""
    return "hair" in lexicon().usual.get((attribute, value), {})


def bared(piece: Piece) -> str:
    """A phrase as a key word: "big smile" for "a big smile"."""
    if piece.slot not in ("has", "worn"):
        return piece.text
    return piece.text.removeprefix("a ").removeprefix("an ")
