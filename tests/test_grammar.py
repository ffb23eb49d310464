"""Captions are true, well formed and various; held-out wordings stay out of training."""

import doctest
import functools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tedi import grammar
from tedi.errors import UsageError
from tedi.grammar import asides, captions, edits, english, lexicon, wishes, words, writer
from tedi.grammar.lexicon import ATTRIBUTES, ORDERED, UNSAID, lines, listed

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
        compose = functools.partial(grammar.compose, split=request.param, distract=0.3 * seed)
        pairs += [(face, compose(face, rng)) for face in FACES]
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
        long = [word for word in clean.text.split(" ") if word.isalpha() and len(word) > 3]
        assert clean.text != typed.text or not long


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


FULL_OR_GOATEE = frozenset({"full", "goatee"})
SMILES = frozenset({"slight", "broad"})


def meanings(text: str) -> list[tuple[lexicon.Says, dict[str, int]]]:
    """What the tables of edits and captions say of a phrase, and where they move to."""
    found: list[tuple[lexicon.Says, dict[str, int]]] = []
    for phrase in edits.table("MOVES").phrases:
        if phrase.text == text:
            found.append(({}, {name: int(*values) for name, values in phrase.says.items()}))
    for table in (edits.table("WISHES"), edits.table("REMOVALS"), lexicon.lexicon()):
        found += [(phrase.says, {}) for phrase in table.phrases if phrase.text == text]
    return found


@pytest.mark.parametrize(
    ("text", "says", "moves"),
    [
        ("older", {}, {"age": 1}),
        ("younger", {}, {"age": -1}),
        ("less smile", {}, {"smile": -1}),
        ("smile more", {}, {"smile": 1}),
        ("longer hair", {}, {"hair_length": 1}),
        ("shorter hair", {}, {"hair_length": -1}),
        ("curlier hair", {}, {"hair_texture": 1}),
        ("darker hair", {}, {"hair_color": -1}),
        ("darker skin", {}, {"skin": 1}),
        ("paler", {}, {"skin": -1}),
        ("more make-up", {}, {"makeup": 1}),
        ("heavier", {}, {"chubby": 1}),
        ("slimmer", {}, {"chubby": -1}),
        ("thicker eyebrows", {}, {"thick_brows": 1}),
        ("a fuller beard", {}, {"beard": 1}),
        ("close {his} mouth a bit", {}, {"mouth_open": -1}),
        ("smile", {"smile": SMILES}, {}),
        ("stop smiling", {"smile": {"none"}}, {}),
        ("shave", {"beard": {"none"}}, {}),
        ("grow a beard", {"beard": FULL_OR_GOATEE}, {}),
        ("a full beard", {"beard": {"full"}}, {}),
        ("spectacles", {"glasses": {"eyeglasses"}}, {}),
        ("turn {his} head to the left", {"pose": {"left"}}, {}),
        ("dye {his} hair red", {"hair_color": {"red"}}, {}),
        ("make the background blue", {"background": {"blue"}}, {}),
        ("fringe", {"bangs": {False}}, {}),
        ("double chin", {"chubby": {False}}, {}),
    ],
)
def test_edit_phrases_mean_what_they_say(text, says, moves):
    assert (says, moves) in meanings(text)


@pytest.fixture(scope="module", params=["train", "heldout"])
def wished(request):
    rng = np.random.default_rng(1)
    edit = functools.partial(grammar.edit, rng, split=request.param)
    return request.param, [edit(distract=0.2 * (i % 2)) for i in range(1500)]


def edit_wordings() -> list[str]:
    """Held-out phrases of captions and edits, as far as they stand in a text unchanged."""
    tables = [edits.table(name).phrases for name in ("WISHES", "REMOVALS", "MOVES")]
    made = [p.text for table in tables for p in table if p.heldout and "{him}" not in p.text]
    return made + [p.text for p in lexicon.lexicon().phrases if p.heldout]


def test_held_out_wordings_never_reach_edits_for_training(wished):
    heldout = {tokens(text.replace("{his}", "{her}")) for text in edit_wordings()}
    if wished[0] == "train":
        bad = [e.text for e in wished[1] if runs(e.text) & heldout]
        assert not bad, bad[:5]
    else:
        assert sum(bool(runs(e.text) & heldout) for e in wished[1]) > 0.6 * len(wished[1])


def test_held_out_frames_of_edits_differ_from_usual_ones():
    tables = [*wishes.BARE.values(), *wishes.COMMANDS.values(), *wishes.ACTS.values()]
    tables += [wishes.AROUND_BARE, wishes.AROUND_COMMANDS, wishes.AROUND_ACTS, asides.NONSENSE]
    for table in [*tables, *asides.ASIDES.values()]:
        assert not set(lines(table, "train")) & set(lines(table, "heldout"))
    for table in asides.LISTS.values():
        assert not set(listed(table, "train")) & set(listed(table, "heldout"))


def test_edits_are_well_formed_and_ask_for_something(wished):
    for edit in wished[1]:
        assert not re.search(r"[{}~_]|  |,,|\.\.| ,| \.|\?\.", edit.text), edit.text
        assert 1 <= len(edit.text.split()) <= 60
        assert 1 <= len(edit.says) + len(edit.moves) <= 3
        assert not set(edit.says) & set(edit.moves)
        assert all(edit.says.values())
        assert set(edit.moves.values()) <= {1, -1}
        assert set(edit.moves) <= set(ORDERED)
        for name, values in edit.says.items():
            assert values <= set(ATTRIBUTES[name])


def test_edits_vary_and_cover_the_schema(wished):
    assert len({e.text for e in wished[1]}) > 0.8 * len(wished[1])
    assert {name for e in wished[1] for name in e.says} == set(ATTRIBUTES)
    moved = {(name, step) for e in wished[1] for name, step in e.moves.items()}
    assert moved == {(name, step) for name in ORDERED for step in (1, -1)}


def test_values_in_order_belong_to_the_schema():
    for name, values in ORDERED.items():
        assert set(values) <= set(ATTRIBUTES[name])


def test_same_state_same_edit():
    first, second = (grammar.edit(np.random.default_rng(9), typos=0.2) for _ in range(2))
    assert first == second


def test_distractors_say_nothing():
    """The same attributes named, the same values allowed: more words and nothing else."""
    plain, told = 0, 0
    for seed, face in enumerate(FACES[:400]):
        named = ["hair_color", "smile", "background"]
        captions = [
            grammar.compose(face, np.random.default_rng(seed), attributes=named, distract=rate)
            for rate in (0.0, 1.0)
        ]
        assert {*captions[0].says} == {*captions[1].says}
        assert grammar.consistent(face, captions[1].says)
        plain, told = (n + len(c.text) for n, c in zip((plain, told), captions, strict=True))
    assert told > plain + 400 * 5


def test_distractors_name_no_phrase_of_the_schema():
    spoken = {p.text.lower() for p in lexicon.lexicon().phrases if p.slot != "hair"}
    for slot, table in asides.ASIDES.items():
        for split in captions.SPLITS:
            clash = spoken.intersection(lines(table, split))
            assert not clash, (slot, clash)


def test_requests_with_distractors_stay_short():
    rng = np.random.default_rng(4)
    for i in range(1000):
        caption = grammar.request(rng, count=1 + i % 5, distract=1.0)
        assert len(caption.says) == 1 + i % 5
        assert 1 <= len(caption.text.split()) <= 60


def test_nonsense_is_various_and_held_out():
    rng = np.random.default_rng(5)
    train = {grammar.nonsense(rng).lower().rstrip(".") for _ in range(1000)}
    heldout = {grammar.nonsense(rng, "heldout").lower().rstrip(".") for _ in range(300)}
    assert len(train) > 600
    assert len(heldout) > 200
    assert not train & heldout
    assert all(text and len(text.split()) <= 60 for text in train | heldout)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: grammar.edit(rng, split="test"), "unknown split 'test'"),
        (lambda rng: grammar.edit(rng, distract=2), "distract: expected 0 to 1, got 2"),
        (lambda rng: grammar.request(rng, count=1, distract=-1), "distract: expected 0 to 1"),
        (lambda rng: grammar.nonsense(rng, "test"), "unknown split 'test'"),
    ],
)
def test_wrong_calls_of_edits_say_what_is_wrong(call, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        call(np.random.default_rng(0))
