"""What texts do to codes: wishes made absolute, moves, the ways to edit, and the assembly."""

import functools
import inspect
from dataclasses import replace

import pytest
import torch
from tiny import TinyGenerator, code_reader, text_encoder, toolkit

from tedi import attributes, control
from tedi.control import absolute, fulfil, mix
from tedi.editing import EDITS, look
from tedi.editing import text as ways
from tedi.encoders.text import ORDERED_GROUPS, Reading
from tedi.errors import UsageError
from tedi.grammar import ATTRIBUTES, ORDERED

V, N, SLOTS, WIDTH = len(attributes.COLUMNS), 3, 16, 8


def reading(says=None, n=N, **moves) -> Reading:
    """A text that says this, n times over."""
    agrees = attributes.allowed_by(says or {}).expand(n, -1)
    wishes = torch.tensor([float(moves.get(group, 0)) for group in ORDERED_GROUPS])
    return Reading(agrees.clone(), wishes.expand(n, -1))


GRIN = {"smile": frozenset({"broad"}), "glasses": frozenset({"eyeglasses", "sunglasses"})}


def column(group, value) -> int:
    return attributes.COLUMNS.index((group, value))


def seen(n=1, **sure) -> torch.Tensor:
    """Log-probabilities (n, V) of faces sure of some values, even in the others."""
    logits = torch.zeros(n, V)
    for group, value in sure.items():
        logits[:, column(group, value)] = 30
    return attributes.log_softmax(logits)


@pytest.fixture(scope="module")
def encoder():
    """Whose code reader hears its concepts loudly enough that moves show."""
    codes = code_reader()
    with torch.no_grad():
        codes.linear.weight.mul_(4)
    return text_encoder(codes)


def some_codes(encoder, n=N, seed=0):
    random = torch.Generator().manual_seed(seed)
    return encoder.codes.w_avg + torch.randn(n, SLOTS, WIDTH, generator=random) @ (
        encoder.codes.color.T
    )


def shows(encoder, ws):
    return attributes.log_softmax(encoder.codes(ws))


# --- wishes made absolute ------------------------------------------------------------------------


@pytest.mark.parametrize("group", ORDERED)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_wish_asks_for_the_next_value_of_a_sure_face(group, sign):
    way = ORDERED[group]
    for number, value in enumerate(way):
        wanted = absolute(reading(n=1, **{group: sign}), seen(**{group: value}))[0]
        span = attributes.SPANS[group]
        goal = way[min(max(number + sign, 0), len(way) - 1)]
        assert attributes.GROUPS[group][int(wanted[span].argmax())] == goal
        assert wanted[column(group, goal)] == 1
        assert (wanted[span] > 0.1).sum() == 1
        for other in set(ATTRIBUTES[group]) - set(way):
            assert wanted[column(group, other)] == 0
        assert (torch.cat([wanted[: span.start], wanted[span.stop :]]) == 1).all()


def test_a_wish_of_a_face_between_two_values_asks_for_both_next_ones():
    logits = torch.full((1, V), -30.0)
    logits[0, [column("age", "teen"), column("age", "young adult")]] = 0
    wanted = absolute(reading(n=1, age=1), attributes.log_softmax(logits))[0]
    close = [wanted[column("age", value)].item() for value in ORDERED["age"]]
    assert close[3] == pytest.approx(1)
    assert close[4] == pytest.approx(1)
    assert max(close[:3] + close[5:]) < 0.1


def test_a_wish_starts_at_the_mean_of_what_lies_on_the_way():
    """Of gray hair that may be brown: gray is no shade between black and blond."""
    logits = torch.full((1, V), -30.0)
    logits[0, column("hair_color", "gray")] = 0
    logits[0, column("hair_color", "brown")] = -5
    wanted = absolute(reading(n=1, hair_color=1), attributes.log_softmax(logits))[0]
    assert wanted[column("hair_color", "blond")] == 1
    assert wanted[column("hair_color", "gray")] == 0


def test_without_wishes_what_is_said_stays():
    said = reading(GRIN)
    wanted = absolute(said, seen(N, age="teen"))
    assert torch.equal(wanted, said.agrees)
    assert wanted.data_ptr() != said.agrees.data_ptr()


def test_a_wish_is_of_its_own_row():
    said = reading(n=2)
    said = Reading(said.agrees, torch.stack([said.moves[0], reading(n=1, age=1).moves[0]]))
    wanted = absolute(said, seen(2, age="child"))
    assert (wanted[0] == 1).all()
    assert wanted[1, column("age", "teen")] == 1
    assert wanted[1, column("age", "old")] < 1e-3


# --- moves ---------------------------------------------------------------------------------------


def test_what_is_named_comes_to_show(encoder):
    ws, said = some_codes(encoder), reading(GRIN)
    moved = fulfil(encoder, ws, said, keep=0.0)
    named = [list(attributes.GROUPS).index(group) for group in GRIN]
    before, after = (attributes.fit(shows(encoder, x), said.agrees)[:, named] for x in (ws, moved))
    assert (1 - after.exp() < 0.8 * (1 - before.exp())).all()
    kept = attributes.fit(shows(encoder, fulfil(encoder, ws, said)), said.agrees)[:, named]
    assert (kept > before).all()


def test_a_wish_comes_to_show(encoder):
    ws = some_codes(encoder)
    years = torch.arange(6.0)

    def age(codes):
        return shows(encoder, codes)[:, attributes.SPANS["age"]].exp() @ years

    start = age(ws)
    older, younger = (fulfil(encoder, ws, reading(age=s), keep=0.0) for s in (1, -1))
    assert (age(older) > start + 0.05).all()
    assert (age(younger) < start - 0.05).all()


def test_strength_is_a_factor_of_the_move(encoder):
    ws, said = some_codes(encoder), reading(GRIN)
    assert torch.equal(fulfil(encoder, ws, said, strength=0), ws)
    whole = fulfil(encoder, ws, said) - ws
    assert (whole.flatten(1).norm(dim=1) > 0.1).all()
    for strength in (0.25, 1.7, -1):
        part = fulfil(encoder, ws, said, strength=strength) - ws
        torch.testing.assert_close(part, strength * whole, atol=1e-5, rtol=1e-4)


def test_what_is_not_named_is_kept(encoder):
    ws, said = some_codes(encoder), reading(GRIN)
    before = shows(encoder, ws)
    named = [list(attributes.GROUPS).index(group) for group in GRIN]
    others = [i for i in range(len(attributes.GROUPS)) if i not in named]

    def drift(keep):
        after = shows(encoder, fulfil(encoder, ws, said, keep=keep))
        apart = attributes.group_sums(before.exp() * (before - after))
        return apart[:, others].sum(dim=1)

    free, light, firm = drift(0.0), drift(0.1), drift(1.0)
    assert (firm < 0.7 * free).all()
    assert (light < free).all()


def test_firmness_goes_further(encoder):
    ws, said = some_codes(encoder), reading(GRIN)
    moved = [fulfil(encoder, ws, said, firmness=f, keep=0.0) for f in (0.5, 12.0)]
    fits = [attributes.fit(shows(encoder, m), said.agrees).sum(dim=1) for m in moved]
    assert (fits[1] > fits[0]).all()
    lengths = [((m - ws) @ encoder.codes.whiten.T).flatten(1).norm(dim=1) for m in moved]
    assert (lengths[1] > lengths[0]).all()


def test_a_silent_text_changes_nothing(encoder):
    ws = some_codes(encoder)
    assert torch.equal(fulfil(encoder, ws, reading()), ws)
    agrees = torch.stack([reading().agrees[0], reading(GRIN).agrees[0], reading().agrees[0]])
    moved = fulfil(encoder, ws, Reading(agrees, reading().moves))
    assert [torch.equal(moved[i], ws[i]) for i in range(N)] == [True, False, True]


def test_some_slots_may_move(encoder):
    ws = some_codes(encoder)
    moved = fulfil(encoder, ws, reading(GRIN), slots=(4, 5))
    same = [torch.equal(moved[:, slot], ws[:, slot]) for slot in range(SLOTS)]
    assert [slot for slot in range(SLOTS) if not same[slot]] == [4, 5]


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_texts_move_codes_in_any_grad_mode(encoder, mode):
    expected = fulfil(encoder, some_codes(encoder), reading(GRIN, age=1))
    with mode():
        moved = fulfil(encoder, some_codes(encoder), reading(GRIN, age=1))
    assert torch.equal(moved, expected)
    assert not moved.requires_grad


def test_mixed_codes_have_slots_of_both():
    content, style = torch.ones(2, 4, 3), torch.zeros(2, 4, 3)
    mixed = mix(content, style, (0, 2))
    assert mixed[0, :, 0].tolist() == [1, 0, 1, 0]
    assert not style.any()
    assert torch.equal(mix(content, style, ()), style)


# --- ways to edit --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EDITS)
def test_every_way_is_one(name):
    way = EDITS[name]
    assert list(inspect.signature(way).parameters) == ["generator", "encoder"]
    asked, given = (inspect.signature(c.__call__).parameters for c in (ways.Way, way))
    assert list(asked) == list(given)


@pytest.fixture
def table(monkeypatch):
    """A table of layers that has every attribute in slots 2 and 5."""
    asked = []
    monkeypatch.setattr(ways, "shipped_table", lambda: "table")

    def slots_for(table, groups):
        asked.append(groups)
        return (2, 5) if groups else ()  # as the real one

    monkeypatch.setattr(ways, "slots_for", slots_for)
    return asked


@pytest.mark.parametrize("name", ["move", "linear", "mix"])
@pytest.mark.parametrize("new", [True, False])
def test_a_way_moves_codes_as_strongly_as_asked(encoder, table, name, new):
    way = EDITS[name](TinyGenerator(), encoder)
    ws, said, texts = some_codes(encoder), reading(GRIN), ["a grin"] * N
    kept = ws.clone()
    assert torch.equal(way(ws, texts, said, strength=0, new=new), ws)
    whole = way(ws, texts, said, strength=1, new=new) - ws
    half = way(ws, texts, said, strength=0.5, new=new) - ws
    assert whole.shape == ws.shape
    assert (whole.flatten(1).norm(dim=1) > 0.1).all()
    torch.testing.assert_close(half, 0.5 * whole, atol=1e-5, rtol=1e-4)
    silent = way(ws, texts, reading(), strength=1, new=new)
    assert torch.equal(silent, ws)
    assert torch.equal(ws, kept)


def test_a_new_face_keeps_less_and_stays_in_w(encoder):
    way = EDITS["move"](TinyGenerator(), encoder)
    ws, said = some_codes(encoder), reading(GRIN)
    new, kept = control.KEEP_NEW, control.KEEP_EDIT
    moved = way(ws, [""] * N, said, strength=1, new=True)
    assert torch.equal(moved, fulfil(encoder, ws, said, keep=new, together=1.0))
    moved = way(ws, [""] * N, said, strength=1, new=False)
    assert torch.equal(moved, fulfil(encoder, ws, said, keep=kept))


SAYS = {
    "smile": frozenset({"slight", "broad"}),  # most of its values: the other is ruled out
    "glasses": frozenset({"sunglasses"}),
    "hat": frozenset({True}),
}
TARGETS = {
    column("smile", "none"): 0,
    column("glasses", "sunglasses"): 1,
    column("hat", True): 1,
}


def test_a_linear_move_reaches_its_levels_by_the_shortest_way(monkeypatch):
    monkeypatch.setattr(ways.Linear, "RIDGE", 1e-7)
    encoder = of_other_levels()
    codes = encoder.codes
    ws, (columns, sides) = some_codes(encoder), zip(*TARGETS.items(), strict=True)
    A, wanted = codes.probes[list(columns)], codes.levels[list(columns), list(sides)]
    way = ways.Linear(TinyGenerator(), encoder)
    moved = way(ws, [""] * N, reading(SAYS), strength=1, new=False)
    u, after = ((x - codes.w_avg) @ codes.whiten.T for x in (ws, moved))
    torch.testing.assert_close(after @ A.T, wanted.expand(N, SLOTS, -1), atol=1e-3, rtol=0)
    shortest = (wanted - u @ A.T) @ torch.linalg.pinv(A).T
    torch.testing.assert_close(after - u, shortest, atol=1e-3, rtol=0)


def of_other_levels():
    """An encoder of its own levels, so that every column has another."""
    codes = code_reader()
    random = torch.Generator().manual_seed(4)
    codes.levels.copy_(torch.randn(V, 2, generator=random))
    return text_encoder(codes)


def test_a_ridge_shortens_a_linear_move(encoder):
    ws, said = some_codes(encoder), reading(SAYS)
    lengths = []
    for ridge in (1e-6, 0.05, 5.0):
        way = ways.Linear(TinyGenerator(), encoder)
        way.RIDGE = ridge
        moved = way(ws, [""] * N, said, strength=1, new=False)
        lengths.append(((moved - ws) @ encoder.codes.whiten.T).norm().item())
    assert lengths[0] > lengths[1] > 2 * lengths[2] > 0


def test_mixing_takes_the_texts_own_code_in_its_slots(encoder, table):
    way = ways.Mix(TinyGenerator(), encoder)
    ws, said = some_codes(encoder), reading(GRIN, age=1)
    mixed = way(ws, [""] * N, said, strength=1, new=False)
    same = [torch.equal(mixed[:, slot], ws[:, slot]) for slot in range(SLOTS)]
    assert [slot for slot in range(SLOTS) if not same[slot]] == [2, 5]
    assert set(table[0]) == {"smile", "glasses", "age"}
    torch.testing.assert_close(mixed[0, [2, 5]], mixed[1, [2, 5]])  # no word is the seed's


def test_named_attributes():
    said = reading(GRIN | {"background": frozenset({"blue"})}, n=2, age=-1)
    assert set(ways.named(said, 1)) == {"smile", "glasses", "background blue", "age"}
    assert ways.named(reading(), 0) == []
    faint = Reading(0.6 + 0.4 * said.agrees, 0.1 * said.moves)
    assert ways.named(faint, 0) == []


# --- the assembly --------------------------------------------------------------------------------


def deaf(model=None):
    """A toolkit that understands no word."""
    model = model or toolkit()
    model.text.read = lambda prompts: reading(n=len(prompts))
    return model


def test_a_prompt_of_which_nothing_is_understood_is_refused():
    model = deaf()
    with pytest.raises(UsageError, match=r"nothing of 'asdf jkl' is about a face .*--anyway"):
        model.generate("asdf jkl")
    face = model.generate("asdf jkl", seeds=[4], anyway=True)[0]
    assert torch.equal(face.ws, control.style_codes(model.generator, [4], psi=0.7)[0])
    with pytest.raises(UsageError, match="nothing of 'asdf jkl'"):
        model.edit(face.ws, "asdf jkl")


@pytest.mark.parametrize(
    ("said", "something"),
    [
        (reading(), False),
        (reading({"hat": frozenset({True})}), True),
        (reading({"background": frozenset({"sky"})}), True),
        (reading(age=1), True),
        (reading(smile=-1), True),
        (Reading(reading(GRIN).agrees * 0.3 + 0.7, reading(age=1).moves * 0.1), False),
    ],
    ids=["silent", "hat", "background", "older", "less", "unsure"],
)
def test_what_counts_as_saying_something(said, something):
    from tedi.pipeline import says_something

    assert says_something(said.of(slice(1))) == something


@pytest.fixture(scope="module")
def model():
    return toolkit()


@pytest.fixture(scope="module")
def face(model):
    return control.style_codes(model.generator, [5], psi=0.7)[0]


def test_steps_of_an_edit_follow_one_another(model, face):
    both = model.edit(face, ["a man", "older with a hat"])
    first = model.edit(face, "a man")[0]
    second = model.edit(first.ws, ["older with a hat"])[0]
    assert torch.equal(both[0].ws, first.ws)
    assert torch.equal(both[1].ws, second.ws)
    assert both[1].picture.tobytes() == second.picture.tobytes()
    assert not torch.equal(first.ws, face)
    assert not torch.equal(second.ws, first.ws)
    assert [step["text"] for step in both[1].record["edits"]] == ["a man", "older with a hat"]
    step = {"text": "a man", "strength": 1.0, "method": "default"}
    assert both[0].record["edits"] == first.record["edits"] == [step]


def test_every_step_has_its_strength(model, face):
    faces = model.edit(face, ["a man", "a hat"], strength=[0.5, 0])
    whole = model.edit(face, "a man")[0]
    torch.testing.assert_close(faces[0].ws - face, 0.5 * (whole.ws - face), atol=1e-5, rtol=1e-4)
    assert torch.equal(faces[1].ws, faces[0].ws)
    assert [step["strength"] for step in faces[1].record["edits"]] == [0.5, 0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ws": torch.zeros(SLOTS, 9)}, r"ws: expected \(16, 8\), got \(16, 9\)"),
        ({"ws": torch.zeros(1, SLOTS, WIDTH)}, r"ws: expected \(16, 8\), got \(1, 16, 8\)"),
        ({"strength": [1.0]}, "strength: 1 numbers for 2 texts"),
        ({"strength": [1.0, 1.0, 1.0]}, "strength: 3 numbers for 2 texts"),
        ({"strength": [1.0, 11.0]}, "strength: expected 0 to 10, got 11"),
        ({"strength": -1}, "strength: expected 0 to 10, got -1"),
        ({"method": "linaer"}, "unknown method 'linaer'; did you mean 'linear'"),
    ],
    ids=["width", "batch", "too few", "too many", "too strong", "negative", "method"],
)
def test_edits_that_are_refused(model, face, change, says):
    arguments = {"ws": face, "texts": ["a man", "a hat"], "method": "default"} | change
    with pytest.raises(UsageError, match=says):
        model.edit(**arguments)


def test_a_code_that_is_edited_stays_as_it_was(model, face):
    kept = face.clone()
    model.edit(face, "a man")
    assert torch.equal(face, kept)
    with torch.inference_mode():
        ws = control.style_codes(model.generator, [5], psi=0.7)[0]
        edited = model.edit(ws, "a man")[0].ws
    assert torch.equal(edited, model.edit(face, "a man")[0].ws)


def test_an_edit_looks_at_what_a_generator_of_the_faces_own_draws(model, face):
    class Counting(TinyGenerator):
        drawn = 0

        def preview(self, ws):
            self.drawn += 1
            return super().preview(ws)

    own = Counting()
    edit = functools.partial(model.moved, face[None], "a man", strength=1.0, method="default")
    usual = edit()
    assert own.drawn == 0
    assert torch.equal(edit(generator=own), usual)  # which draws the same
    assert own.drawn > 0
    assert model.way("default") is model.way("default", model.generator)
    assert model.way("default", own) is model.way("default", own)
    assert model.way("default", Counting()) is not model.way("default", own)


# --- moves that are looked at --------------------------------------------------------------------


class Eye(torch.nn.Module):
    """Sees the broader a smile the brighter the picture; `looks` counts."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold, self.looks = threshold, 0

    def forward(self, image):
        self.looks += 1
        logits = torch.zeros(len(image), V)
        bright = 15 * (image.mean(dim=(1, 2, 3)) - self.threshold)
        return logits.index_add(1, torch.tensor([column("smile", "broad")]), bright[:, None])


BROAD = {"smile": frozenset({"broad"})}


def look_with(encoder, monkeypatch, threshold):
    eye = Eye(threshold)
    monkeypatch.setattr(look.native, "load_attribute_model", lambda path: eye)
    return EDITS["default"](TinyGenerator(), encoder), eye


def brightness(ws):
    return TinyGenerator().preview(ws).mean(dim=(1, 2, 3))


def test_what_is_seen_at_once_is_not_corrected(encoder, monkeypatch):
    way, eye = look_with(encoder, monkeypatch, threshold=-2.0)
    ws, said = some_codes(encoder), reading(BROAD)
    found = way(ws, [""] * N, said, strength=1, new=False)
    usual = EDITS["move"](TinyGenerator(), encoder)(ws, [""] * N, said, strength=1, new=False)
    torch.testing.assert_close(found, usual)
    assert eye.looks == 3 * N  # before, at the move, and at the move without wandering


def test_what_is_not_seen_is_corrected_until_it_is(encoder, monkeypatch):
    ws, said = some_codes(encoder), reading(BROAD)
    usual = EDITS["move"](TinyGenerator(), encoder)(ws, [""] * N, said, strength=1, new=True)
    threshold = float(brightness(usual).max()) + 0.02
    monkeypatch.setattr(look, "STEPS", replace(look.STEPS, steps=100))
    way, eye = look_with(encoder, monkeypatch, threshold)
    found = way(ws, [""] * N, said, strength=1, new=True)
    correction = found - usual
    torch.testing.assert_close(correction, correction[:, :1].expand_as(correction))
    assert (brightness(found) > brightness(usual)).all()
    seen = control.Aim(said, torch.zeros(N, V), keep=0.0).shown(
        attributes.log_softmax(eye(TinyGenerator().preview(found)))
    )
    assert (seen >= look.ENOUGH).all()
    assert eye.looks < N * (2 + 2 * look.STEPS.steps)  # which ended early
    half = way(ws, [""] * N, said, strength=0.5, new=True)
    torch.testing.assert_close(half - ws, 0.5 * (found - ws), atol=1e-5, rtol=1e-4)


def test_a_corrected_row_does_not_depend_on_its_neighbours(encoder, monkeypatch):
    way, _ = look_with(encoder, monkeypatch, threshold=0.1)
    ws, said = some_codes(encoder), reading(BROAD)
    whole = way(ws, [""] * N, said, strength=1, new=False)
    alone = way(ws[1:2], [""], said.of(slice(1, 2)), strength=1, new=False)
    torch.testing.assert_close(whole[1:2], alone)


def first_and_found(encoder, monkeypatch, eye, *, new):
    monkeypatch.setattr(look.native, "load_attribute_model", lambda path: eye)
    ws, said = some_codes(encoder)[:1], reading(BROAD).of(slice(0, 1))
    first, found = (
        EDITS[name](TinyGenerator(), encoder)(ws, [""], said, strength=1, new=new)
        for name in ("move", "default")
    )
    return first, found


def test_where_looking_does_not_help_the_first_move_stays(encoder, monkeypatch):
    class Misled(Eye):  # its gradient points away from what it wants
        def forward(self, image):
            logits = super().forward(image)
            return 2 * logits.detach() - logits

    eye = Misled(threshold=0.6)
    first, found = first_and_found(encoder, monkeypatch, eye, new=False)
    assert eye.looks > 3
    torch.testing.assert_close(found, first)


def test_of_steps_that_show_it_the_one_that_strays_least_is_taken(encoder, monkeypatch):
    class Aged(Eye):  # sees another age at each look after the first, the least so at step 6
        def forward(self, image):
            logits = super().forward(image)
            aged = 0.0 if self.looks == 1 else 1.0 + abs((self.looks - 3) // 2 - 6)
            return logits.index_fill(1, torch.tensor([column("age", "old")]), aged)

    codes, descend = [], look.descend

    def watched(path, objective, schedule, on_step):
        def both(step, terms, ws):
            codes.append(ws)
            return on_step(step, terms, ws)

        return descend(path, objective, schedule, both)

    monkeypatch.setattr(look, "STEPS", replace(look.STEPS, steps=16))
    monkeypatch.setattr(look, "descend", watched)
    monkeypatch.setattr(look, "STRAY", -1.0)  # so that all steps are passed
    start = EDITS["move"](TinyGenerator(), encoder)(
        some_codes(encoder)[:1], [""], reading(BROAD).of(slice(0, 1)), strength=1, new=False
    )
    eye = Aged(float(brightness(start)) - 0.2)
    _, found = first_and_found(encoder, monkeypatch, eye, new=False)
    assert len(codes) == look.STEPS.steps + 1
    differ = [float((ws - found).abs().max()) for ws in codes]
    assert differ.index(min(differ)) == 6


@pytest.mark.parametrize(("new", "stays"), [(False, True), (True, False)])
def test_an_edit_that_strays_far_is_not_taken(encoder, monkeypatch, new, stays):
    class Aged(Eye):  # all that comes after the first look is much older
        def forward(self, image):
            logits = super().forward(image)
            aged = 0.0 if self.looks == 1 else 12.0
            return logits.index_fill(1, torch.tensor([column("age", "old")]), aged)

    monkeypatch.setattr(look, "STEPS", replace(look.STEPS, steps=16))
    ws, said = some_codes(encoder)[:1], reading(BROAD).of(slice(0, 1))
    start = EDITS["move"](TinyGenerator(), encoder)(ws, [""], said, strength=1, new=new)
    eye = Aged(float(brightness(start)) + 0.02)
    first, found = first_and_found(encoder, monkeypatch, eye, new=new)
    assert eye.looks > 10
    assert torch.equal(found, first) is stays


def test_nobody_looks_where_nothing_is_asked(encoder, monkeypatch):
    way, eye = look_with(encoder, monkeypatch, threshold=0.0)
    ws = some_codes(encoder)
    assert torch.equal(way(ws, [""] * N, reading(), strength=1, new=False), ws)
    assert eye.looks == N
