"""What is heard of a prompt, on an encoder that knows a few words exactly."""

import re

import pytest
import torch

from tedi import attributes
from tedi.encoders.text import ORDERED_GROUPS, Reading
from tedi.grammar import ATTRIBUTES
from tedi.semantics.hearing import JOINING, POINTING, SILENT_WORDS, Hearing, hear, quoted

WORDS = {
    "smiling": {"smile": frozenset({"slight", "broad"})},
    "grinning": {"smile": frozenset({"broad"})},
    "woman": {"gender": frozenset({"female"})},
    "bangs": {"bangs": frozenset({True})},
    "glasses": {"glasses": frozenset({"eyeglasses", "sunglasses"})},
    "young": {"age": frozenset({"teen", "young adult"})},
}
PHRASES = {
    "red hair": {"hair_color": frozenset({"red"})},
    "brown hair": {"hair_color": frozenset({"brown"})},
    "blue background": {"background": frozenset({"blue"})},
    "double chin": {"chubby": frozenset({True})},
    "no hat": {"hat": frozenset({False})},
}
MOVES = {"older": ("age", 1.0), "younger": ("age", -1.0)}


class Words:
    """Reads words one by one, and a few phrases; red alone is taken for a hair colour."""

    def __init__(self):
        self.calls = []

    def read(self, prompts):
        self.calls.append(list(prompts))
        rows, moves = zip(*map(self.row, prompts), strict=True)
        return Reading(torch.stack(rows), torch.stack(moves))

    def row(self, prompt):
        words = re.findall("[a-z]+", prompt.lower())
        known = [WORDS[word] for word in words if word in WORDS]
        known += [says for phrase, says in PHRASES.items() if phrase in " ".join(words)]
        known += [PHRASES["red hair"]] * (words == ["red"])
        allowed = torch.ones(len(attributes.COLUMNS))
        for says in known:
            allowed = allowed * attributes.allowed_by(says)
        wishes = [0.0] * len(ORDERED_GROUPS)
        for word in set(words) & set(MOVES):
            group, sign = MOVES[word]
            wishes[ORDERED_GROUPS.index(group)] = sign
        return 0.04 + 0.92 * allowed, 0.9 * torch.tensor(wishes)


@pytest.mark.parametrize(
    ("prompt", "unheard"),
    [
        ("a red car", ["red car"]),
        ("a smiling woman with bangs", []),
        ("a smiling woman with a necklace", ["necklace"]),
        ("A smiling Woman, with a Pearl Necklace!", ["Pearl Necklace"]),
        ("a woman in a red car", ["red car"]),
        ("a woman with brown hair in a red car", ["red car"]),
        ("a woman with a necklace and a dog", ["necklace", "dog"]),
        ("a woman riding a bicycle", ["riding a bicycle"]),
        ("a woman from Rome, the king of spades", ["Rome", "king of spades"]),
        ("a smiling, grinning woman", []),  # each would do alone
        ("a woman with a double chin", []),  # neither word says it alone
        ("red hair", []),
        ("blue background please", []),
        ("a portrait photo of a young woman", []),
        ("make her older", []),
        ("a woman of 50", ["50"]),
        ("with hair and glasses", ["hair"]),
        ("asdf jkl", ["asdf jkl"]),
        ("a portrait", []),
    ],
)
def test_unheard(prompt, unheard):
    assert hear(Words(), prompt).unheard == unheard


def test_what_is_understood():
    heard = hear(Words(), "a smiling young woman, no hat, blue background, older")
    assert heard.says == {
        "gender": ["female"],
        "age": ["teen", "young adult"],
        "smile": ["slight", "broad"],
        "hat": [False],
        "background blue": [True],
    }
    assert heard.wishes == {"age": 1}
    assert hear(Words(), "younger").wishes == {"age": -1}
    nothing = hear(Words(), "a red car")
    assert (nothing.says, nothing.wishes) == ({}, {})


def test_contradictions_leave_the_likeliest_values():
    class Torn(Words):
        def row(self, prompt):
            agrees, moves = super().row(prompt)
            agrees[attributes.SPANS["smile"]] = torch.tensor([0.2, 0.3, 0.4])
            return agrees, moves

    assert hear(Torn(), "smiling").says["smile"] == ["broad"]


def test_words_that_cannot_be_read_alone_do_no_harm():
    assert hear(Words(), "a woman 7 - Женщина 7").unheard == ["7 - Женщина 7"]


def test_it_reads_no_more_than_it_must():
    words = Words()
    hear(words, "a red car")
    assert words.calls == [["a red car"]]  # nothing in it: no word of it is heard
    words.calls.clear()
    hear(words, "a smiling Woman with bangs, Smiling")
    assert words.calls[1:] == [["smiling", "woman", "bangs"]]
    words.calls.clear()
    hear(words, "a woman with a necklace, a dog and a double chin")
    assert words.calls[2:] == [
        [
            "a woman with a , a dog and a double chin",
            "a woman with a necklace, a  and a double chin",
            "a woman with a necklace, a dog and a ",
        ]
    ]


def test_a_hearing_is_one_line():
    says = {
        "age": [value for value in ATTRIBUTES["age"] if value != "baby"],
        "smile": ["slight", "broad"],
        "bangs": [False],
        "background blue": [True],
        "thick_brows": [True],
    }
    line = Hearing(says, {"hair_length": 1, "makeup": -1}, ["red car", "dog"]).describe()
    assert line == (
        "age not baby, smile not none, no bangs, background blue, thick brows, hair length +, "
        'makeup −; not drawn: "red car", "dog"'
    )
    assert Hearing({}, {}, []).describe() == "nothing"
    assert quoted(["a", "b c"]) == '"a", "b c"'


def test_the_lists_hold_words_as_they_are_looked_up():
    for word in SILENT_WORDS | JOINING | POINTING.keys():
        assert word == word.lower()
        assert re.fullmatch(r"[^\W_]+(?:[-'’][^\W_]+)*", word), word
    assert JOINING <= SILENT_WORDS
    assert not POINTING.keys() & SILENT_WORDS
    for place in POINTING.values():
        assert any(place in group for group in attributes.GROUPS)
