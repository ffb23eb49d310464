"""Captions are true, well formed and various; held-out wordings stay out of training."""

import doctest
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tedi import grammar
from tedi.errors import UsageError
from tedi.grammar import captions, english, lexicon, words, writer
from tedi.grammar.lexicon import ATTRIBUTES, UNSAID, lines, listed

FACES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data/tedifaces/faces.jsonl").read_text().splitlines()
]
FRAMES = (words.PREFIXES, words.INTROS, words.SUFFIXES)
LISTS = (words.NOBODY, words.HAIR, words.TAG_PREFIXES)
TOKEN = re.compile(r"[a-z'{}-]+|\d+")


def tokens(text: str) -> tuple[str, ...]:
    spelled = text.lower().replace("grey", "gray")
    return tuple("{n}" if t.isdigit() else t for t in TOKEN.findall(re.sub(r"\d+", "{n}", spelled)))


def runs(text: str, longest: int = 9) -> set[tuple[str, ...]]:
    t = tokens(re.sub(r"\b(her|his|their)\b", "{her}", text.lower()))
    return {t[i : i + n] for i in range(len(t)) for n in range(1, longest + 1) if i + n <= len(t)}


def texts(split: str) -> list[str]:
    heldout = split == "heldout"
    phrases = [p.text for p in lexicon.lexicon().phrases if p.heldout == heldout]
    frames = [f for table in FRAMES for f in lines(table, split)]
    return phrases + frames + [w for table in LISTS for w in listed(table, split)]


@pytest.fixture(scope="module", params=["train", "heldout"])
def written(request):
    """Captions of every face from two seeds, with the faces."""
    pairs = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        pairs += [(f, grammar.compose(f, rng, split=request.param)) for f in FACES]
    return request.param, pairs


@pytest.fixture(scope="module")
def requests():
    rng = np.random.default_rng(3)
    return [(1 + i % 8, grammar.request(rng, count=1 + i % 8)) for i in range(3000)]


def test_labels_of_every_face_fit_the_schema():
    for face in FACES:
        for name, values in ATTRIBUTES.items():
            if name != "background":
                assert face[name] in values


def test_captions_are_true(written):
    for face, caption in written[1]:
        assert caption.says
        assert all(caption.says.values())
        assert grammar.consistent(face, caption.says), (caption, face)
        assert grammar.consistent(face, caption.implies), (caption, face)


def test_a_wrong_label_is_inconsistent():
    face = {"gender": "female", "background": "green trees"}
    assert not grammar.consistent(face, {"gender": frozenset({"male"})})
    assert not grammar.consistent(face, {"background": frozenset({"indoor"})})
    assert grammar.consistent(face, {"background": frozenset({"outdoor"})})


def test_captions_are_well_formed(written):
    for _, caption in written[1]:
        text = caption.text
        assert text.strip() == text != ""
        assert not re.search(r"[{}~_]|  |,,|\.\.| ,| \.", text), text
        assert not re.search(r"(?i)\ba (?!one|uni|eu)[aeiou]", text), text
        assert not re.search(r"(?i)\ban (?!hour|8|11\b|18\b)[^aeiou']", text), text
        assert not re.search(r"(?i)\b(a a|with with|they is|they has|he are|no no)\b", text), text
        assert len(text.split()) <= 60


def test_captions_vary(written):
    composed = [caption.text for _, caption in written[1]]
    assert len(set(composed)) >= 0.9 * len(composed)


def test_every_attribute_is_named(written):
    named = Counter(name for _, caption in written[1] for name in caption.says)
    assert min(named[name] for name in ATTRIBUTES) > 0.03 * len(written[1])


def test_pronouns_agree_with_gender(written):
    others = {"female": r"\b(he|his|he's)\b", "male": r"\b(she|her|she's)\b"}
    for face, caption in written[1]:
        wrong = others.get(face["gender"], r"\b(he|his|she|her)\b")
        assert not re.search(wrong, caption.text.lower()), caption.text


def test_no_held_out_phrase_is_part_of_a_usual_one():
    usual = set().union(*(runs(text) for text in texts("train")))
    for text in texts("heldout"):
        assert tokens(text) not in usual, text


def test_held_out_wordings_never_reach_training(written):
    heldout = {tokens(p.text) for p in lexicon.lexicon().phrases if p.heldout}
    heldout |= {tokens(w) for table in LISTS for w in listed(table, "heldout")}
    found = [bool(runs(caption.text) & heldout) for _, caption in written[1]]
    if written[0] == "train":
        bad = [c.text for (_, c), hit in zip(written[1], found, strict=True) if hit]
        assert not bad, bad[:5]
    else:
        assert sum(found) > 0.98 * len(found)


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_value_has_usual_and_held_out_wordings(name):
    table = lexicon.lexicon()
    for value in ATTRIBUTES[name]:
        if (name, value) in UNSAID:
            continue
        said = [p for p in table.phrases if value in p.says.get(name, ())]
        share = sum(p.heldout for p in said) / len(said)
        assert 0.15 <= share <= 0.4, (value, share)
        assert name == "gender" or set(table.usual[name, value]) & set(writer.NOUN_SLOTS)


def test_phrases_name_known_attributes_and_slots():
    for phrase in lexicon.lexicon().phrases:
        assert phrase.slot == "noun" or phrase.slot in writer.SLOT_WEIGHTS
        assert not re.sub(r"\{(her|n)\}", "", phrase.text).count("{")
        for name, values in {**phrase.says, **phrase.given}.items():
            assert values <= set(ATTRIBUTES[name]), phrase
        assert "{n}" not in phrase.text or "age" in phrase.says
        if phrase.slot == "does":
            assert re.match(r"[a-z]+s\b|isn't|doesn't|hasn't", phrase.text), phrase


def test_compose_names_exactly_what_it_is_asked():
    rng = np.random.default_rng(0)
    for face in FACES[:300]:
        caption = grammar.compose(face, rng, attributes=["smile", "glasses", "pose"])
        assert set(caption.says) == {"smile", "glasses", "pose"}


def test_every_value_can_be_said_alone():
    rng = np.random.default_rng(0)
    for name, values in ATTRIBUTES.items():
        for value in values:
            if (name, value) not in UNSAID:
                for split in captions.SPLITS:
                    caption = grammar.compose({name: value}, rng, split=split)
                    assert value in caption.says[name]


def test_bald_heads_have_no_colour_of_hair():
    face = {"gender": "male", "hair_length": "bald", "hair_color": "gray"}
    rng = np.random.default_rng(0)
    named = {n for _ in range(100) for n in grammar.compose(face, rng).says}
    assert named == {"gender", "hair_length"}


def test_same_state_same_text():
    first, second = (
        [grammar.compose(face, np.random.default_rng(7), typos=0.1).text for face in FACES[:50]]
        for _ in range(2)
    )
    assert first == second


def test_typos_change_letters_not_words():
    for face in FACES[:200]:
        clean, typed = (
            grammar.compose(face, np.random.default_rng(5), typos=rate) for rate in (0.0, 1.0)
        )
        assert clean.says == typed.says
        assert len(clean.text.split(" ")) == len(typed.text.split(" "))
        assert clean.text != typed.text or max(map(len, clean.text.split())) < 5


def test_requests_name_as_many_attributes_as_asked(requests):
    for count, caption in requests:
        assert len(caption.says) == count, caption
        for name, values in caption.implies.items():
            assert values & caption.says.get(name, values), caption


def test_requests_can_be_met(requests):
    """No beard on women, no colour of hair on bald heads: all pairs occur together."""
    for _, caption in requests:
        for left, right in lexicon.read_clashes():
            broken = all(
                caption.says.get(name, frozenset("?")) <= values
                for name, values in {**left, **right}.items()
            )
            assert not broken, caption


def test_requests_ask_for_rare_values_too(requests):
    asked: dict[str, Counter[object]] = {name: Counter() for name in ATTRIBUTES}
    for _, caption in requests:
        for name, values in caption.says.items():
            asked[name].update({value: 1 / len(values) for value in values})
    for name, counts in asked.items():
        wanted = [v for v in ATTRIBUTES[name] if (name, v) not in captions.UNASKED]
        even = sum(counts.values()) / len(wanted)
        assert min(counts[value] for value in wanted) > 0.25 * even, (name, counts)


def test_requests_with_every_attribute():
    caption = grammar.request(np.random.default_rng(0), count=12)
    assert len(caption.says) == 12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: grammar.compose({"hat": True}, rng, split="test"), "unknown split 'test'"),
        (lambda rng: grammar.compose({"hat": "big"}, rng), "hat: expected one of False, True"),
        (lambda rng: grammar.compose({"hat": True}, rng, typos=2), "typos: expected 0 to 1, got 2"),
        (lambda rng: grammar.compose({"hat": True}, rng, attributes=["hats"]), "mean 'hat'"),
        (lambda rng: grammar.compose({"gender": "unclear"}, rng), "labels: expected a value"),
        (lambda rng: grammar.request(rng, count=0), "count: expected 1 to 18, got 0"),
        (lambda rng: grammar.consistent({"hats": 1}, {"hats": frozenset()}), "mean 'hat'"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        call(np.random.default_rng(0))


@pytest.mark.parametrize("module", [grammar, lexicon, english])
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a orange hat", "an orange hat"),
        ("an 7-year-old boy", "a 7-year-old boy"),
        ("a 18 year old", "an 18 year old"),
        ("a one-eyed man with an unusual smile", "a one-eyed man with an unusual smile"),
    ],
)
def test_articles(text, expected):
    assert english.articles(text) == expected
