"""Captions of faces, and requests of nobody in particular, composed from the lexicon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tedi.errors import UsageError
from tedi.grammar import words
from tedi.grammar.asides import write_nonsense
from tedi.grammar.dice import Dice
from tedi.grammar.english import articles, capital
from tedi.grammar.lexicon import ATTRIBUTES, UNSAID, Says, Value, clashes, holds, shown
from tedi.grammar.writer import Writer
from tedi.registry import unknown

SPLITS = ("train", "heldout")
RARE = 0.7
"""How often a held-out wording is preferred to a usual one in a held-out caption."""

# How often an attribute is named by a caption: where it is present (or always there), and absent.
NAMED = {
    **{"gender": (0.8, 0.8), "age": (0.55, 0.55), "smile": (0.5, 0.25), "mouth_open": (0.15, 0.08)},
    **{"hair_color": (0.45, 0.45), "hair_length": (0.35, 0.35), "hair_texture": (0.3, 0.3)},
    **{"bangs": (0.5, 0.03), "beard": (0.65, 0.1), "glasses": (0.7, 0.05), "hat": (0.7, 0.04)},
    **{"earrings": (0.35, 0.03), "makeup": (0.35, 0.04), "skin": (0.2, 0.2)},
    **{"chubby": (0.4, 0.02), "thick_brows": (0.35, 0.01), "pose": (0.2, 0.2)},
    **{"background": (0.2, 0.2)},
}
# Usual values are named less, rare ones more.
USUAL = {"straight": 0.4, "short": 0.7, "light": 0.5, "dark": 3.0, "front": 0.4, "bald": 2.5}
SCALES = {0.35: 2, 0.7: 3, 1.0: 4, 1.5: 2}
ABSENT = (False, "none")
UNASKED = UNSAID | {("hair_color", "other")}
YOUNG = ("baby", "child", "teen")


@dataclass(frozen=True)
class Caption:
    """A text and what it says.

    Attributes:
        text: the words.
        says: attribute -> values that the words are true of.
        implies: the same for what they take for granted: "woman" an adult. An attribute may be
            in both; `says` alone holds what was asked for.
    """

    text: str
    says: Says
    implies: Says


def compose(
    labels: Mapping[str, object],
    rng: np.random.Generator,
    *,
    split: str = "train",
    typos: float = 0.0,
    distract: float = 0.0,
    attributes: Sequence[str] | None = None,
) -> Caption:
    """A random caption that is true of a face.

    Args:
        labels: the face as in tedifaces; attributes may be missing, other keys are passed over.
        rng: source of every choice; the same state gives the same caption.
        split: "train", or "heldout" for wordings that "train" never uses.
        typos: chance that a word of four letters or more is mistyped, 0 to 1.
        distract: chance that it also tells of things that no attribute covers, 0 to 1.
        attributes: name exactly these, as far as words can; None names a random few.

    Raises:
        UsageError: unknown split or attribute, a value that is none of the schema's, typos
            or distract outside 0 to 1, or nothing that words can say.
    """
    check(split, typos, distract)
    dice = Dice(rng)
    face = read_face(labels, dice)
    named = tell(face, face if attributes is None else known(attributes))
    if not named:
        raise UsageError("labels: expected a value that words can say, got none; name more of them")
    chosen = named if attributes is not None else draw_attributes(face, named, dice)
    return write(face, chosen, dice, split=split, typos=typos, distract=distract)


def request(
    rng: np.random.Generator, *, count: int, split: str = "train", distract: float = 0.0
) -> Caption:
    """A random prompt that some face could meet, its values drawn evenly.

    Args:
        rng: source of every choice; the same state gives the same prompt.
        count: how many attributes it names, 1 to 18.
        split: "train", or "heldout" for wordings that "train" never uses.
        distract: chance that it also asks for things that no attribute covers, 0 to 1.

    Raises:
        UsageError: unknown split, a count out of range, or distract outside 0 to 1.
    """
    check(split, 0.0, distract)
    if not 1 <= count <= len(ATTRIBUTES):
        raise UsageError(f"count: expected 1 to {len(ATTRIBUTES)}, got {count}")
    dice = Dice(rng)
    face: dict[str, Value] | None = None
    while face is None:
        chosen = dice.shuffled(ATTRIBUTES)[:count]
        face = draw_face(chosen, dice)
    return write(face, chosen, dice, split=split, typos=0.0, distract=distract)


def nonsense(rng: np.random.Generator, split: str = "train") -> str:
    """A random prompt about no face at all: "a red car", "asdf jkl".

    Args:
        rng: source of every choice; the same state gives the same prompt.
        split: "train", or "heldout" for things that "train" never names.

    Raises:
        UsageError: unknown split.
    """
    check(split)
    dice = Dice(rng)
    return finish(write_nonsense(dice, split), dice, split)


def check(split: str, typos: float = 0.0, distract: float = 0.0) -> None:
    """Refuse an unknown split and a rate that is none."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    for name, rate in (("typos", typos), ("distract", distract)):
        if not 0 <= rate <= 1:
            raise UsageError(f"{name}: expected 0 to 1, got {rate}")


def known(attributes: Sequence[str]) -> Sequence[str]:
    """The attributes, once all are known to be in the schema."""
    for name in attributes:
        if name not in ATTRIBUTES:
            raise unknown("attribute", name, ATTRIBUTES)
    return list(dict.fromkeys(attributes))


def read_face(labels: Mapping[str, object], dice: Dice) -> dict[str, Value]:
    """The attributes among the labels, each with one value of the schema."""
    face: dict[str, Value] = {}
    for name in ATTRIBUTES:
        values = shown(name, labels[name]) if name in labels else frozenset()
        if len(values) > 1:
            face[name] = dice.choice(sorted(values, key=str))
        elif values:
            (face[name],) = values
    return face


def tell(face: Mapping[str, Value], attributes: Sequence[str] | Mapping[str, Value]) -> list[str]:
    """Those attributes that can be told of a face: of a bald one, no colour of hair."""
    told = [n for n in attributes if n in face and (n, face[n]) not in UNSAID]
    if face.get("hair_length") not in ("bald", "hidden"):
        return told
    mute = {"hair_texture", "bangs"}
    if face["hair_length"] == "bald" or "hair_length" in told:
        mute.add("hair_color")
    return [name for name in told if name not in mute]


def draw_attributes(face: Mapping[str, Value], named: list[str], dice: Dice) -> list[str]:
    """A random few of the attributes, the telling ones more often; at least one."""
    scale = dice.weighted(SCALES)
    chosen = [name for name in named if dice.chance(scale * weigh(face, name))]
    if "gender" in chosen and "age" in named and "age" not in chosen and face["age"] in YOUNG:
        chosen.append("age")
    return chosen or [dice.choice(named)]


def weigh(face: Mapping[str, Value], name: str) -> float:
    """How often an attribute of a face is named."""
    value = face[name]
    grown_man = face.get("gender") == "male" and face.get("age") not in YOUNG
    if name == "beard" and value == "none" and not grown_man:
        return 0.0
    present, absent = NAMED[name]
    usual = USUAL.get(str(value), 1.0) if name != "background" else 1.0
    return (absent if value in ABSENT else present) * usual


def draw_face(chosen: list[str], dice: Dice) -> dict[str, Value] | None:
    """Values for the attributes that go together; none where the draw ran into a corner.

    Gender and age are always drawn, named or not, so that words that take them for granted fit.
    """
    face: dict[str, Value] = {}
    for name in [*chosen, *(n for n in ("gender", "age") if n not in chosen)]:
        weights = {
            value: 0.5 if value in ABSENT and name not in ("smile", "mouth_open") else 1.0
            for value in ATTRIBUTES[name]
            if (name, value) not in UNASKED and allowed({**face, name: value}, name)
        }
        if not weights:
            return None
        face[name] = dice.weighted(weights)
    return face


def allowed(face: Mapping[str, Value], name: str) -> bool:
    """Whether one value of a face clashes with no other."""
    return not any(told(face, left) and told(face, right) for left, right in clashes(name))


def told(face: Mapping[str, Value], says: Says) -> bool:
    """Whether a face has all these attributes, with these values."""
    return says.keys() <= face.keys() and holds(face, says)


def write(
    face: Mapping[str, Value],
    chosen: list[str],
    dice: Dice,
    *,
    split: str,
    typos: float,
    distract: float,
) -> Caption:
    """A text that names exactly the chosen attributes; with an unseen wording if held out."""
    for rare in (RARE, 1.0, 1.0, 1.0):
        writer = Writer(face, chosen, dice, split=split, rare=rare)
        if distract and dice.chance(distract):
            writer.asides = 2 if dice.chance(0.35) else 1
        text = compose_form(writer, len(chosen))
        if writer.unseen or split == "train":
            break
    text = finish(text, dice, split)
    return Caption(mistype(text, dice, typos) if typos else text, writer.says, writer.implies)


def compose_form(writer: Writer, count: int) -> str:
    """The text in a random form; short texts are seldom whole sentences."""
    sentences = 1.0 if count < 3 else 4.0
    form = writer.dice.weighted({"prompt": 5.0, "keywords": 2.5, "sentences": sentences})
    if form == "prompt":
        return suffixed(writer.prompt(), writer)
    if form == "keywords":
        return suffixed(writer.keywords(), writer)
    return writer.sentences()


def suffixed(text: str, writer: Writer) -> str:
    """The text, now and then with what artists add to a prompt."""
    return f"{text}, {writer.frame(words.SUFFIXES)}" if writer.dice.chance(0.04) else text


def finish(text: str, dice: Dice, split: str) -> str:
    """Articles, spelling, capitals and full stops as people type them."""
    text = articles(text)
    if "gray" in text and dice.chance(0.3):
        text = text.replace("gray", "grey")
    if text.endswith("."):
        loose = dice.draw()
        text = text.lower() if loose < 0.15 else text
        return text.rstrip(".") if loose < 0.08 or loose > 0.95 else text
    manner = dice.draw()
    if manner < 0.35:
        text = capital(text)
    elif manner < 0.37:
        text = text.upper()
    elif manner < 0.39:
        text = text.title().replace("'S ", "'s ")
    elif manner < 0.7:
        text = text.lower()
    return text + "." if dice.chance(0.15) and text[-1] != "?" else text


def mistype(text: str, dice: Dice, rate: float) -> str:
    """The text with letters of some words swapped, dropped or doubled."""
    typed = [
        slip(word, dice) if len(word) > 3 and word.isalpha() and dice.chance(rate) else word
        for word in text.split(" ")
    ]
    return " ".join(typed)


def slip(word: str, dice: Dice) -> str:
    """One slip of the fingers after the first letter."""
    at = 1 + int(dice.draw() * (len(word) - 2))
    a, b = word[at], word[at + 1]
    slips = (b + a, b, a + a + b)
    return word[:at] + dice.choice(slips) + word[at + 2 :]
