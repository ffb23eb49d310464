"""Wishes about a face that is there already: what to add, take away, make more or less."""

import functools
from dataclasses import dataclass

import numpy as np

from tedi.grammar import wishes
from tedi.grammar.captions import RARE, check, draw_face, finish, mistype
from tedi.grammar.dice import Dice
from tedi.grammar.english import capital, plural
from tedi.grammar.lexicon import (
    ATTRIBUTES,
    ORDERED,
    Lexicon,
    Phrase,
    Says,
    Value,
    lines,
    listed,
    read_phrases,
)
from tedi.grammar.writer import Piece, Writer, noun_kinds

COUNTS = {1: 5.0, 2: 3.0, 3: 1.5}
OFTEN = {
    **{"gender": 0.8, "age": 1.5, "smile": 1.3, "mouth_open": 0.6, "hair_color": 1.5},
    **{"hair_length": 1.3, "beard": 1.3, "glasses": 1.3, "hat": 0.9, "background": 0.9},
    **{"thick_brows": 0.6, "chubby": 0.8, "earrings": 0.8, "skin": 0.8},
}
SLOTS = ("adj", "pred", "post", "has", "worn", "hair", "does", "clause")
ASIDES = ("worn", "has", "adj", "pred")
OWN = 0.45
"""How often a wish takes words that only edits have, where there are any."""
RELATIVE = 0.4
HAIR = ("hair_color", "hair_texture", "bangs")
PRONOUNS = {"he": "his", "she": "her", "they": "their"}


@dataclass(frozen=True)
class Edit:
    """A wish about a face, and what it asks for.

    Attributes:
        text: the words.
        says: attribute -> values that would fulfil it, as in `Caption.says`.
        moves: attribute -> +1 or -1, one step or more onwards or back in `ORDERED[attribute]`.
            No attribute is in both.
    """

    text: str
    says: Says
    moves: dict[str, int]


def edit(
    rng: np.random.Generator, *, split: str = "train", typos: float = 0.0, distract: float = 0.0
) -> Edit:
    """A random wish about a face: of one to three things, absolute or relative.

    Args:
        rng: source of every choice; the same state gives the same edit.
        split: "train", or "heldout" for wordings that "train" never uses.
        typos: chance that a word of four letters or more is mistyped, 0 to 1.
        distract: chance that it also asks for a thing that no attribute covers, 0 to 1.

    Raises:
        UsageError: unknown split, typos or distract outside 0 to 1.
    """
    check(split, typos, distract)
    dice = Dice(rng)
    face, absolute, moves = draw_wishes(dice)
    for rare in (RARE, 1.0, 1.0, 1.0):
        wisher = Wisher(face, absolute, moves, dice, split=split, rare=rare)
        asides = [wisher.writer.aside(ASIDES)] if distract and dice.chance(distract) else []
        text = wisher.write(asides)
        if wisher.writer.unseen or split == "train":
            break
    text = finish(text, dice, split)
    return Edit(mistype(text, dice, typos) if typos else text, wisher.writer.says, moves)


def draw_wishes(dice: Dice) -> tuple[dict[str, Value], list[str], dict[str, int]]:
    """Values asked for, their attributes, and moves of other attributes, that go together."""
    while True:
        rest = {name: OFTEN.get(name, 1.0) for name in ATTRIBUTES}
        absolute: list[str] = []
        moves: dict[str, int] = {}
        for _ in range(dice.weighted(COUNTS)):
            name = dice.weighted(rest)
            del rest[name]
            if name in ORDERED and dice.chance(RELATIVE):
                moves[name] = 1 if dice.chance(0.5) else -1
            else:
                absolute.append(name)
        face = draw_face(absolute, dice)
        if face is not None and go_together(face, [*absolute, *moves], moves):
            return face, absolute, moves


def go_together(face: dict[str, Value], named: list[str], moves: dict[str, int]) -> bool:
    """Whether moves suit the values asked for: no curlier hair on a bald head."""
    if face.get("hair_length") in ("bald", "hidden") or moves.get("hair_length") == -1:
        return not set(HAIR).intersection(named)
    return "beard" not in moves or "makeup" not in named


@functools.cache
def table(name: str) -> Lexicon:
    """Phrases of a table of `wishes`, read once."""
    return Lexicon(read_phrases(getattr(wishes, name)))


class Wisher:
    """Writes one edit.

    Args:
        face: values asked for, with a gender and an age that go with them.
        absolute: attributes to give their value of `face`.
        moves: attributes to move, with the sign.
        dice: where choices come from.
        split: "train" or "heldout".
        rare: how often a held-out wording is preferred to a usual one.
    """

    def __init__(
        self,
        face: dict[str, Value],
        absolute: list[str],
        moves: dict[str, int],
        dice: Dice,
        *,
        split: str,
        rare: float,
    ) -> None:
        self.writer = Writer(face, absolute, dice, split=split, rare=rare)
        self.face, self.absolute, self.moves, self.dice = face, absolute, moves, dice
        self.he = self.pronoun()
        self.his = self.writer.her = PRONOUNS[self.he]

    def pronoun(self) -> str:
        """Whom it is about: a bearded one is a he, the others anyone."""
        if "beard" in self.moves or "beard" in self.absolute:
            return self.dice.weighted({"he": 4, "they": 1})
        if "makeup" in self.moves or "makeup" in self.absolute:
            return self.dice.weighted({"she": 4, "they": 1})
        return self.dice.weighted({"he": 3, "she": 3, "they": 2})

    def write(self, asides: list[Piece]) -> str:
        """The text: every wish bare, as a command, or as what the person shall do."""
        pieces = self.dice.shuffled([*self.pieces(), *asides])
        form = self.dice.weighted({"bare": 4, "command": 4, "act": 2.5})
        parts = [self.part(piece, form) for piece in pieces]
        if form == "act" and None in parts:
            form = "command"
            parts = [self.part(piece, form) for piece in pieces]
        text = self.joined([part for part in parts if part])
        around = {
            "bare": wishes.AROUND_BARE,
            "command": wishes.AROUND_COMMANDS,
            "act": wishes.AROUND_ACTS,
        }[form]
        return self.filled(self.frame(around), text)

    def joined(self, parts: list[str]) -> str:
        """All wishes in one sentence, or seldom one sentence each."""
        if len(parts) > 1 and self.dice.chance(0.07):
            return ". ".join([parts[0], *(capital(part) for part in parts[1:])])
        text = parts[0]
        for part in parts[1:]:
            text += self.dice.weighted(wishes.JOINS) + part
        return text

    def pieces(self) -> list[Piece]:
        """One piece for each wish; gender and age may share a noun."""
        rest = list(self.absolute)
        made = self.noun(rest) if self.dice.chance(0.6) else []
        made += [self.wish(name) for name in rest]
        return made + [self.move(name, step) for name, step in self.moves.items()]

    def noun(self, rest: list[str]) -> list[Piece]:
        """A noun that says the gender, the age or both; takes them from the rest."""
        keys = frozenset({"gender", "age"}.intersection(rest))
        nouns = noun_kinds(self.face["gender"], self.face["age"], None).get(keys, ())
        if not keys or not nouns:
            return []
        rest[:] = [name for name in rest if name not in keys]
        return [self.writer.named(nouns)]

    def wish(self, name: str) -> Piece:
        """One attribute with its value, in words of edits or of captions."""
        key = (name, self.face[name])
        for own in ("REMOVALS", "WISHES"):
            piece = self.own(own, key) if self.dice.chance(OWN) else None
            if piece is not None:
                return piece
        slots = SLOTS if name != "gender" else ("attr",)
        while True:
            piece = self.writer.say(name, slots)
            if piece.slot != "does":
                return piece._replace(slot="adj" if piece.slot == "attr" else piece.slot)
            verb = piece.text.split(" ")[0]
            if verb not in ("is", "has", "isn't", "doesn't", "hasn't", "does"):
                return piece._replace(text=plural(piece.text))

    def move(self, name: str, step: int) -> Piece:
        """One attribute to become more or less, by much or by little."""
        piece = self.own("MOVES", (name, f"{step:+d}"))
        if piece is None:
            raise LookupError(f"no phrase moves {name} by {step}")
        gradual = piece.slot in ("adj", "has") and not piece.text.startswith(("a ", "an ", "hair "))
        if gradual and self.dice.chance(0.3):
            degree = self.dice.ranked(listed(wishes.DEGREES, self.writer.side()))
            return piece._replace(text=f"{degree} {piece.text}")
        return piece

    def own(self, source: str, key: tuple[str, Value]) -> Piece | None:
        """A phrase of a table of edits, if one says this."""
        lexicon = table(source)
        pools = [lexicon.usual.get(key, {})]
        if self.writer.rare and self.dice.chance(self.writer.rare):
            pools.insert(0, lexicon.rare.get(key, {}))
        for pool in filter(None, pools):
            phrase = self.dice.ranked(pool[self.dice.choice(list(pool))])
            self.account(phrase, relative=source == "MOVES")
            return Piece(phrase.slot, phrase.text, key[0])
        return None

    def account(self, phrase: Phrase, *, relative: bool) -> None:
        """Keep account of what a phrase says."""
        self.writer.unseen |= phrase.heldout
        if not relative:
            self.writer.record(phrase.says, {})

    def part(self, piece: Piece, form: str) -> str | None:
        """A wish in one of the forms; None where the form has no words for it."""
        slot = piece.slot
        if slot in ("has", "worn") and piece.negative:
            slot += " not"
        frames = {"bare": wishes.BARE, "command": wishes.COMMANDS, "act": wishes.ACTS}[form]
        if slot not in frames or (form == "act" and slot == "imp" and not deed(piece.text)):
            return None
        return self.filled(self.frame(frames[slot]), piece.text)

    def frame(self, frames: str) -> str:
        """A frame of a table that has one a line."""
        side = self.writer.side()
        pool = lines(frames, side) or lines(frames, "train")
        frame = self.dice.ranked(pool)
        self.writer.unseen |= side == "heldout" and frame in lines(frames, "heldout")
        return frame

    def filled(self, frame: str, text: str) -> str:
        """A frame with its blanks filled."""
        him = self.dice.ranked(listed(wishes.PEOPLE[self.he], self.writer.side()))
        his = "the" if self.dice.chance(0.35) else self.his
        blanks = {"{x}": text, "{him}": him, "{his}": his, "{he}": self.he}
        for blank, word in blanks.items():
            frame = frame.replace(blank, word)
        return frame


def deed(command: str) -> bool:
    """Whether a command names what the person of an edit can do: "smile more"."""
    verb = command.split(" ")[0]
    return verb in listed(wishes.DEEDS, "train") and "{him}" not in command
