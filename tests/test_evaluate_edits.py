"""`tedi evaluate edits` with a tiny generator, edits that move corners, a judge that sees them."""

import importlib
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import TinyGenerator, toolkit
from torch import nn

import tedi.cli
from tedi import control, images
from tedi.attributes import COLUMNS, GROUPS, SPANS, log_softmax
from tedi.checkpoints import bundle
from tedi.cli import run
from tedi.encoders.mapper import LatentMapper
from tedi.errors import UsageError
from tedi.grammar import ATTRIBUTES, Edit
from tedi.metrics import Edited, before_after
from tedi.metrics.before_after import LOOKED, TRIES, brought, fits, gather
from tedi.metrics.edits import (
    NothingElse,
    OthersUnchanged,
    TargetReached,
    WishesReached,
    kind_of,
    log_odds,
    means,
)
from tedi.metrics.kept import IdentityKept, OddsGained, PerceptualChange, StepsMoved, rises
from tedi.metrics.prompts import Wish, composed_edits, read_edits
from tedi.metrics.text import Judge, seeds_of

COMMAND = importlib.import_module("tedi.cli.evaluate_edits")
CORNERS = ("smile", "age", "glasses", "hat", "gender")
"""Attributes that the colours of a picture's corners show."""
ROWS = [
    {"edit": "a broad smile", "wants": {"smile": ["broad"]}, "from": {"smile": ["none"]}},
    {"edit": "older please", "moves": {"age": 1}, "from": {}},
    {"edit": "no hat", "wants": {"hat": [False]}, "from": {"hat": [True]}},
    {"edit": "glasses and older", "wants": {"glasses": ["sunglasses"]}, "moves": {"age": 1}},
]
PUSHES = {"smile": {0: 1}, "older": {1: 1}, "glasses": {2: 1}, "hat": {3: -1}}
"""Word -> corners it moves."""


class Corners(nn.Module):
    """Sees attributes in the colours of corners, and the first value of every other one."""

    def __init__(self, middle):
        super().__init__()
        self.middle = nn.Parameter(middle)

    def features(self, image):
        return image[:, :, [0, -1]][:, :, :, [0, -1]].flatten(1)

    def maps(self, image):
        return [image, nn.functional.avg_pool2d(image, 4)]

    def forward(self, image):
        logits = torch.tensor([5.0 * (v == GROUPS[g][0]) for g, v in COLUMNS]).repeat(len(image), 1)
        for corner, name in enumerate(CORNERS):
            span = SPANS[name]
            places = torch.arange(span.stop - span.start) - (span.stop - span.start - 1) / 2
            colour = self.features(image)[:, corner] - self.middle[corner]
            logits[:, span] = 30 * colour[:, None] * places
        return logits


class Push:
    """Moves the corners that words of a text name; `much` of those, `more` of all others."""

    def __init__(self, generator, much, more=0.0):
        self.axes = torch.linalg.pinv(generator.paint)  # (12, L·C): each moves one corner
        self.much, self.more, self.asked = much, more, []

    def __call__(self, ws, prompts, said, *, strength, new):
        assert not new
        self.asked += prompts
        by = torch.full((12,), self.more)
        for word, corners in PUSHES.items():
            if word in prompts[0]:
                for corner, sign in corners.items():
                    by[corner] = sign * self.much
        return ws + strength * (by @ self.axes).unflatten(0, ws.shape[1:])


class Crisp(TinyGenerator):
    """Draws previews in which no corner leaks into another."""

    preview = TinyGenerator.synthesis


class Model:
    """A toolkit that counts what it draws, with three ways to edit."""

    def __init__(self):
        self.model = toolkit(Crisp())
        self.generator, self.text = self.model.generator, self.model.text
        self.weights, self.dtype = self.model.weights, self.model.dtype
        self.device = self.model.device
        self.drawn, self.stop_at = 0, None
        ways = {"default": (4.0, 0.0), "linear": (0.0, 0.0), "mix": (4.0, 1.0)}
        self.ways = {name: Push(self.generator, *by) for name, by in ways.items()}
        self.model._ways, self.moved = self.ways, self.model.moved
        self.mapper = self.model.mapper

    def pictures(self, ws, *, preview):
        if self.drawn == self.stop_at:
            raise KeyboardInterrupt
        self.drawn += len(ws)
        return self.model.pictures(ws, preview=preview)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    about = ("tedi.cli.evaluate:evaluate", "How well pictures follow.")
    monkeypatch.setitem(tedi.cli.COMMANDS, "evaluate", about)
    write(ROWS)
    return tmp_path


def write(rows):
    Path("e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def judge(model) -> Judge:
    ws = control.style_codes(model.generator, range(64), psi=0.7)
    network = Corners(torch.zeros(12))
    middle = network.features(model.generator.preview(ws)).median(dim=0).values
    accuracy = {"smile": 0.8654, "hat": 0.9884}
    return Judge(Corners(middle).requires_grad_(False), "corners", accuracy)


@pytest.fixture
def tedi_(capsys, monkeypatch, model, judge):
    """Runs `tedi evaluate edits`; gives exit status, lines of stdout, and stderr."""
    monkeypatch.setattr(COMMAND, "_load", lambda device: (model, judge))

    def call(*arguments):
        capsys.readouterr()
        status = run(["evaluate", "edits", *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


@pytest.fixture
def on_file(tedi_):
    return lambda *arguments: tedi_("--edits", "e.jsonl", *arguments)


def report(out="evaluation/edits"):
    return json.loads(Path(out, "report.json").read_text())


def scores(method="default"):
    return {score["name"]: score for score in report()["scores"][method]}


def rows(out="evaluation/edits"):
    return [json.loads(line) for line in Path(out, "judgments.jsonl").read_text().splitlines()]


# --- what is made --------------------------------------------------------------------------------


def test_a_table_and_four_files(on_file):
    status, out, err = on_file("--faces", 3)
    assert (status, err) == (0, "")
    assert sorted(path.name for path in Path("evaluation/edits").iterdir()) == [
        *("chart.png", "judged", "judgments.jsonl", "report.json", "sheet.png")
    ]
    assert out[0] == "4 edits, 3 faces each: e.jsonl"
    assert out[1] == "strength 1, psi 0.7, 256 px previews, judged by corners at 256 px"
    assert any(re.match(r"target reached +12 +100\.0 %  +\[", line) for line in out)
    assert any(re.match(r"  smile +3 .* 86\.5 %$", line) for line in out)
    assert any("between different faces, by a judge of attributes" in line for line in out)
    assert any(re.search(r"others unchanged: .* % between different faces", line) for line in out)
    found = scores()
    kinds = ("absolute", "relative", "removal", "compound")
    assert [found[f"target reached: {kind}"]["n"] for kind in kinds] == [3, 3, 3, 3]
    assert found["others unchanged"]["value"] == found["nothing else changed"]["value"] == 1
    assert found["others unchanged: gender"]["n"] == 12
    assert found["others unchanged: age"]["n"] == 6
    assert "others unchanged: earrings" not in found
    assert found["wishes reached"]["n"] == 15
    assert 0 < found["perceptual change"]["value"] < 1 > found["identity kept (proxy)"]["value"]
    assert found["steps moved"]["value"] > 0.5
    assert found["log-odds gained"]["value"] > 2
    assert found["target reached: absolute"]["low"] is None  # of one edit
    assert report()["left_out"] == {"default": {}}
    assert report()["too_few_faces"] == []


def test_faces_are_the_first_that_fit(on_file, model, judge):
    on_file("--faces", 3)
    assert len(rows()) == 12
    for row in ROWS:
        edited = [each for each in rows() if each["edit"] == row["edit"]]
        tried = seeds_of(row["edit"], range(TRIES))
        places = [tried.index(each["seed"]) for each in edited]
        wish = Edit(row["edit"], claims(row.get("wants")), row.get("moves", {}))
        ws = control.style_codes(model.generator, tried[: places[-1] + 1], psi=0.7)
        pictures = model.pictures(ws, preview=True)
        look = judge.look(zip(pictures, ws, strict=True))
        fit = fits(Wish(wish, claims(row.get("from"))), look["log_p"])
        assert fit.nonzero().flatten().tolist() == places
        for each in edited:
            start = row.get("from", {})
            assert all(each["before"][name] in values for name, values in start.items())
            assert each["reached"] == dict.fromkeys(each["reached"], True)
            assert each["changed"] == []


def claims(says):
    return {name: frozenset(values) for name, values in (says or {}).items()}


def test_methods_are_compared_on_the_same_faces(on_file):
    methods = ["--method", "default", "--method", "linear", "--method", "mix"]
    on_file("--faces", 2, *methods)
    assert list(report()["scores"]) == ["default", "linear", "mix"]
    by_method = [[row["seed"] for row in rows() if row["method"] == m] for m in methods[1::2]]
    assert by_method[0] == by_method[1] == by_method[2]
    still, all_of_it = scores("linear"), scores("mix")
    assert (still["target reached"]["value"], still["others unchanged"]["value"]) == (0, 1)
    assert still["identity kept (proxy)"]["value"] == pytest.approx(1)
    assert still["perceptual change"]["value"] == 0
    assert still["steps moved"]["value"] == still["log-odds gained"]["value"] == 0
    assert all_of_it["others unchanged"]["value"] < 1
    assert all_of_it["nothing else changed"]["value"] < all_of_it["others unchanged"]["value"]
    assert all_of_it["perceptual change"]["value"] > scores()["perceptual change"]["value"]
    sheet = Image.open("evaluation/edits/sheet.png")
    assert sheet.width > 4 * 256


def test_a_mapper_edits_beside_the_methods(on_file, tmp_path):
    network = LatentMapper(width=8)
    part = bundle.Bundle(
        "latent mapper", "styleclip", dict(network.config), network.state_dict(), {}
    )
    bundle.save(tmp_path / "m.safetensors", {"mapper": part})
    status, _, _ = on_file("--faces", 2, "--mapper", tmp_path / "m.safetensors")
    assert status == 0
    report = json.loads(Path("evaluation/edits/report.json").read_text())
    assert list(report["scores"]) == ["default", "mapper"]
    assert len(report["mapper"]) == 64  # its file's sha256
    rows = Path("evaluation/edits/judgments.jsonl").read_text().splitlines()
    methods = [json.loads(row)["method"] for row in rows]
    assert methods.count("mapper") == methods.count("default") > 0
    status, _, err = on_file("--mapper", "e.jsonl")
    assert status == 1
    assert "e.jsonl" in err


def test_strengths_make_a_row_each(on_file, model):
    status, out, _ = on_file("--faces", 2, "--strength", "0:2:3")
    assert status == 0
    assert out[1].startswith("strength 1, ")
    start = out.index("default, by strength")
    assert out[start + 1].split()[:3] == ["strength", "target", "reached"]
    assert [line.split()[0] for line in out[start + 2 : start + 5]] == ["0", "1", "2"]
    (levels,) = report()["by_strength"].values()
    assert [level["strength"] for level in levels] == [0, 1, 2]
    found = [{score["name"]: score["value"] for score in level["scores"]} for level in levels]
    for name in ("steps moved", "log-odds gained"):
        values = [each[name] for each in found]
        assert values[0] == 0 < values[1] <= values[2]
    (rising,) = report()["rises"].values()
    assert [(score["name"], score["value"]) for score in rising] == [
        *(("rises with strength: relative", 1), ("rises with strength: absolute", 1))
    ]
    assert {row["strength"] for row in rows()} == {0, 1, 2}


def test_one_strength_does_not_rise(on_file):
    _, out, _ = on_file("--faces", 1)
    assert (report()["rises"], report()["by_strength"]) == ({}, {})
    assert not any("by strength" in line for line in out)


def test_the_sheet_shows_edits_and_says_how_it_was_made(on_file, model):
    on_file("--faces", 2, "--strength", "0.5,1")
    record = images.read_provenance("evaluation/edits/sheet.png")
    assert record["command"] == "evaluate edits"
    assert [each["text"] for each in record["edits"]] == [row["edit"] for row in ROWS]
    assert record["columns"] == [{"method": "default", "strength": s} for s in (0.5, 1)]
    assert record["weights"] == model.weights


def test_too_few_faces_are_told(on_file):
    write([ROWS[0], {"edit": "shave", "wants": {"beard": ["none"]}, "from": {"beard": ["full"]}}])
    status, out, _ = on_file("--faces", 2)
    assert status == 0
    assert f"shave: 0 faces that fit among {TRIES} seeds" in out
    assert report()["too_few_faces"] == [{"edit": "shave", "faces": 0, "tried": TRIES}]
    assert report()["count"] == 1
    assert {row["edit"] for row in rows()} == {"a broad smile"}


def test_no_face_at_all(on_file):
    write([{"edit": "shave", "wants": {"beard": ["none"]}, "from": {"beard": ["full"]}}])
    status, out, err = on_file()
    assert (status, out) == (2, [])
    assert f"tedi: edits: no face of {TRIES} fits any of them; raise --psi" in err


def test_what_is_not_understood_fails(on_file, model):
    write([{"edit": "Quetzalcoatl", "wants": {"smile": ["broad"]}}])
    assert on_file("--faces", 2)[0] == 0
    assert scores()["target reached"]["value"] == 0
    assert model.ways["default"].asked == ["Quetzalcoatl"] * 2


def test_options_reach_the_toolkit(on_file, judge):
    _, out, _ = on_file("--faces", 1, "--full", "--psi", "0.9")
    assert "psi 0.9, 1024 px" in out[1]
    assert (report()["preview"], report()["psi"]) == (False, 0.9)


def test_composed_edits_run(tedi_):
    status, out, _ = tedi_("--count", 6, "--faces", 1, "--seed", 3)
    assert status == 0
    assert "heldout wordings composed with seed 3" in out[0]
    texts = tedi_("--count", 6, "--seed", 3, "--dry-run")[1]
    assert {row["edit"] for row in rows()} <= set(texts)
    assert len(texts) == 6


def test_json(on_file):
    _, out, _ = on_file("--faces", 1, "--json")
    assert [json.loads(line) for line in out] == [report()]


def test_dry_run_draws_nothing(on_file, model):
    assert on_file("--dry-run")[1] == [row["edit"] for row in ROWS]
    _, out, _ = on_file("--dry-run", "--json")
    empty = {"wants": {}, "moves": {}, "from": {}}
    assert [json.loads(line) for line in out] == [empty | row for row in ROWS]
    assert model.drawn == 0
    assert not Path("evaluation").exists()


# --- stopped, and gone on ------------------------------------------------------------------------


def test_a_stopped_run_goes_on(on_file, model):
    on_file("--faces", 2, "--out", "whole")
    whole, model.drawn = model.drawn, 0
    model.stop_at = whole - 14
    status, out, err = on_file("--faces", 2)
    assert (status, out) == (130, [])
    assert err.strip().splitlines()[-1] == "tedi: stopped; what is finished stays"
    assert not Path("evaluation/edits/report.json").exists()
    model.stop_at = None
    on_file("--faces", 2)
    assert model.drawn < 2 * whole - LOOKED
    for name in ("report.json", "judgments.jsonl", "chart.png", "sheet.png"):
        assert Path("evaluation/edits", name).read_bytes() == Path("whole", name).read_bytes()


def test_a_finished_run_draws_the_sheet_only(on_file, model):
    first = on_file("--faces", 2)[1]
    model.drawn, model.ways["default"].asked = 0, []
    assert on_file("--faces", 2)[1] == first
    assert (model.drawn, model.ways["default"].asked) == (2 * len(ROWS), [])
    on_file("--faces", 2, "--strength", "1,2")
    assert len(model.ways["default"].asked) == 2 * len(ROWS)  # those of strength 2


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"edit": "x", "wants": {"smyle": ["broad"]}}', "'smyle'; did you mean 'smile'"),
        ('{"edit": "x", "wants": {"smile": ["wide"]}}', 'smile: expected values of "none"'),
        ('{"edit": "x", "moves": {"pose": 1}}', "unknown attribute 'pose'"),
        ('{"edit": "x", "moves": {"age": 2}}', "age: expected to move by 1 or -1"),
        ('{"edit": "x", "moves": {"age": true}}', "age: expected to move by 1 or -1"),
        ('{"edit": "x", "moves": [1]}', "moves: expected attributes"),
        ('{"edit": "x", "wants": {"age": ["old"]}, "moves": {"age": 1}}', "not both"),
        ('{"edit": "x"}', 'expected something in "wants" or "moves"'),
        ('{"edit": "x", "want": {}}', "unknown key 'want'; did you mean 'wants'"),
        ('{"prompt": "x"}', 'expected {"edit"'),
        (json.dumps(ROWS[0]), "edit: 'a broad smile' comes twice"),
        ("not json", "expected a JSON object"),
    ],
)
def test_a_bad_edit_file_is_named_with_its_line(on_file, model, line, message):
    with Path("e.jsonl").open("a") as file:
        file.write(line + "\n")
    status, out, err = on_file()
    assert (status, out) == (2, [])
    assert err.startswith("tedi: e.jsonl, line 5: ")
    assert message in err
    assert model.drawn == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--edits", "e.jsonl", "--count", "3"], "leave out --count, --split and --seed"),
        (["--method", "defualt"], "--method"),
        (["--strength", "11"], "expected 0 to 10"),
        (["--faces", "0"], "--faces"),
        (["--psi", "3"], "--psi"),
    ],
    ids=str,
)
def test_wrong_calls(tedi_, model, arguments, message):
    status, out, err = tedi_(*arguments)
    assert (status, out) == (2, [])
    assert message in err
    assert model.drawn == 0


# --- what is counted -----------------------------------------------------------------------------


def face(**values):
    """Log-probabilities (V,) of a face that surely has these values, else each group's first."""
    sure = {g: vs[0] for g, vs in GROUPS.items()} | values
    return log_softmax(torch.tensor([9.0 * (sure[g] == v) for g, v in COLUMNS]))


def edited(wish, before, after, **changes):
    """Pictures of one edit each."""
    N = len(before)
    return Edited(
        **{"wants": [wish.says] * N, "moves": [wish.moves] * N, "owners": torch.arange(N)}
        | {"before": torch.stack(before), "after": torch.stack(after), "judge": "a judge"}
        | {"kinds": [kind_of(wish)] * N}
        | changes
    )


@pytest.mark.parametrize(
    ("says", "moves", "kind"),
    [
        ({"glasses": ["eyeglasses"]}, {}, "absolute"),
        ({"beard": ["none", "stubble"]}, {}, "absolute"),
        ({"glasses": ["none"]}, {}, "removal"),
        ({"hat": [False]}, {}, "removal"),
        ({}, {"age": 1}, "relative"),
        ({"hat": [False]}, {"age": 1}, "compound"),
        ({"hat": [False], "smile": ["none"]}, {}, "compound"),
    ],
)
def test_kinds(says, moves, kind):
    assert kind_of(Edit("", claims(says), moves)) == kind


def test_half_a_step_reaches_a_relative_wish():
    older = Edit("older", {}, {"age": 1})
    columns = [COLUMNS.index(("age", value)) for value in GROUPS["age"]]

    def aged(share):  # this share is middle-aged, the rest a young adult
        log_p = face().clone()
        log_p[columns] = -20.0
        log_p[columns[3]], log_p[columns[4]] = torch.tensor([1 - share, share]).log()
        return log_p

    before = [aged(0.1)] * 4
    after = [aged(0.59), aged(0.61), face(age="old"), face(age="baby")]
    sample = edited(older, before, after)
    assert means(sample.before, "age").tolist() == pytest.approx([3.1] * 4, abs=1e-4)
    (reached, part) = TargetReached()(sample)
    assert (reached.value, part.value, part.name) == (0.5, 0.5, "target reached: relative")
    (moved,) = StepsMoved()(sample)
    assert moved.value == pytest.approx((0.49 + 0.51 + 1.9 - 3.1) / 4, abs=2e-3)
    younger = edited(Edit("younger", {}, {"age": -1}), before, after)
    assert TargetReached()(younger)[0].value == 0.25
    assert StepsMoved()(younger)[0].value == pytest.approx(-moved.value)
    with pytest.raises(UsageError, match="none is absolute"):
        OddsGained()(sample)


def test_log_odds_are_those_of_all_values_that_fulfil():
    wish = Edit("smile", claims({"smile": ["slight", "broad"]}), {})
    columns = [COLUMNS.index(("smile", value)) for value in GROUPS["smile"]]
    log_p = face().clone()
    log_p[columns] = torch.tensor([0.2, 0.3, 0.5]).log()
    sample = edited(wish, [face(smile="none")], [log_p])
    found = log_odds(sample, sample.after)
    assert found[0, 2] == pytest.approx(torch.tensor(0.8).logit().item(), abs=1e-5)
    assert found.isnan().sum() == found.numel() - 1
    sure = log_odds(sample, torch.stack([face(smile="broad") - 100]))  # clamped
    assert abs(float(sure[0, 2])) == pytest.approx(torch.tensor(1e-4).logit().abs().item(), 1e-3)


def test_all_of_a_compound_edit_must_be_reached():
    wish = Edit("", claims({"hat": [True], "background": ["blue"]}), {"smile": 1})
    blue = {"background blue": True}
    after = [
        face(hat=True, smile="broad", **blue),
        face(hat=True, smile="broad"),
        face(hat=True, **blue),
        face(smile="slight", **blue),
    ]
    sample = edited(wish, [face()] * 4, after)
    assert [score.value for score in TargetReached()(sample)] == [0.25, 0.25]
    found = {score.name: score.value for score in WishesReached()(sample)}
    assert found["wishes reached"] == 0.75
    assert found["wishes reached: background"] == 0.75
    assert OthersUnchanged()(sample)[0].value == NothingElse()(sample)[0].value == 1


def test_one_change_too_many_is_seen():
    wish = Edit("smile", claims({"smile": ["broad"]}), {})
    after = [face(smile="broad"), face(smile="broad", hat=True, gender="male")]
    sample = edited(wish, [face()] * 2, after, free=[frozenset({"background"})] * 2)
    assert NothingElse()(sample)[0].value == 0.5
    counted = len(ATTRIBUTES) - 2  # without what is asked for, and what is let be
    assert OthersUnchanged()(sample)[0].value == pytest.approx(1 - 2 / (2 * counted))


def test_some_changes_come_along():
    assert brought(Edit("", claims({"hair_length": ["bald"]}), {})) >= {"hair_color", "bangs"}
    assert brought(Edit("", claims({"hair_length": ["bald", "short"]}), {})) == set()
    assert brought(Edit("", claims({"smile": ["broad"]}), {"age": 1})) == set()


def test_faces_that_an_edit_makes_no_sense_for():
    longer = Wish(Edit("longer hair", {}, {"hair_length": 1}))
    hair = [face(hair_length=value) for value in GROUPS["hair_length"]]
    assert fits(longer, torch.stack(hair)).tolist() == [True, True, True, False, False]
    shorter = Wish(Edit("shorter hair", {}, {"hair_length": -1}))
    assert fits(shorter, torch.stack(hair)).tolist() == [False, True, True, True, False]
    both = Wish(Edit("", claims({"hat": [True], "smile": ["broad"]}), {}))
    shown = [face(), face(hat=True), face(hat=True, smile="broad")]
    assert fits(both, torch.stack(shown)).tolist() == [True, True, False]
    man = Wish(both.edit, claims({"gender": ["male"]}))
    assert not fits(man, torch.stack(shown)).any()
    # With a move besides, what is shown already does not fulfil the whole.
    also = Wish(Edit("", claims({"hat": [True]}), {"smile": 1}))
    assert fits(also, torch.stack(shown)).tolist() == [True, True, False]


def test_identity_and_distance_are_relative_to_other_faces():
    wish = Edit("smile", claims({"smile": ["broad"]}), {})
    far = {"free_cosines": torch.full((3,), 0.6), "free_distances": torch.full((3,), 0.5)}
    near = {"cosines": torch.tensor([1.0, 0.8, 0.6]), "distances": torch.tensor([0, 0.25, 0.5])}
    sample = edited(wish, [face()] * 3, [face()] * 3, **far, **near)
    (kept,), (apart,) = IdentityKept()(sample), PerceptualChange()(sample)
    assert (kept.value, apart.value) == (pytest.approx(0.5), pytest.approx(0.5))
    assert kept.low < 0.5 < kept.high
    with pytest.raises(UsageError, match="compared"):
        IdentityKept()(edited(wish, [face()], [face()]))


def test_what_falls_does_not_rise():
    wish = Edit("older", {}, {"age": 1})
    ages = [["child", "teen", "old"], ["child", "old", "teen"]]
    samples = {
        strength: edited(wish, [face()] * 2, [face(age=order[place]) for order in ages])
        for place, strength in enumerate((0.5, 1.0, 2.0))
    }
    (score,) = rises(samples)
    assert (score.name, score.value, score.n) == ("rises with strength: relative", 0.5, 2)


def test_the_benchmark_can_be_read():
    wishes = read_edits(Path(__file__).parents[1] / "benchmarks" / "edits.jsonl")
    assert len(wishes) == 60
    assert {kind_of(wish.edit) for wish in wishes} == {
        *("absolute", "relative", "removal", "compound")
    }


def test_composed_edits_begin_alike():
    found = composed_edits(8)
    assert composed_edits(12)[:8] == found
    assert len({wish.edit.text for wish in found}) == 8
    assert composed_edits(8, split="train") != found
    assert all(not wish.start for wish in found)


def test_gathered_samples_hold_what_was_compared(model, judge):
    wish = Wish(Edit("older please", {}, {"age": 1}))

    def free(jobs):
        for _, seed in jobs:
            ws = control.style_codes(model.generator, [seed], psi=0.7)
            yield model.pictures(ws, preview=True)[0], ws[0]

    store = before_after.Store(Path("judged"), {})
    faces = before_after.find(wish, 2, draw_free=free, judge=judge, store=store)
    assert (len(faces.jobs), faces.log_p.shape) == (2, (2, len(COLUMNS)))
    first = list(free([("", seed) for seed in seeds_of("older please", range(LOOKED))]))
    assert faces.distance == pytest.approx(float(judge.look(first)["distance"]))
    look = judge.compare([(first[0], first[1]), (first[2], first[2])])
    both = judge.look(first[:2])
    assert float(look["distance"][0]) == pytest.approx(float(both["distance"]))
    assert look["distance"][1] == 0
    assert float(look["cosine"][1]) == pytest.approx(1)
    assert torch.equal(look["log_p"][0], both["log_p"][1])
    sample = gather([faces], [look], judge)
    assert sample.owners.tolist() == [0, 0]
    assert "earrings" in sample.free[0]
    assert "gender" not in sample.free[0]
