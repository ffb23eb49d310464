"""DCI on codes whose answer is known, and `tedi evaluate spaces` with a tiny generator."""

import importlib
import json
import math
import sys

import pytest
import torch
from PIL import Image
from tiny import TinyGenerator
from torch import nn

import tedi.cli
from tedi import attributes, control
from tedi.attributes import COLUMNS, GROUPS, SPANS
from tedi.cli import run
from tedi.errors import TediError, UsageError
from tedi.metrics import dci
from tedi.metrics.classifiers import CLASSIFIERS
from tedi.metrics.linear import Linear
from tedi.metrics.trees import Boosted, Trees

COMMAND = importlib.import_module("tedi.cli.evaluate_spaces")
N = 400


def rotation(size, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=random)).Q


def made(size=12, count=6, noise=0.1):
    """Codes, and attributes that each hang on a number of their own."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(N, size, generator=random)
    seen = x[:, :count] + noise * torch.randn(N, count, generator=random)
    return x, {f"a{k}": seen[:, k] > 0.2 for k in range(count)}


# --- closed form ---------------------------------------------------------------------------------


def test_weights_that_share_dimensions_are_entangled():
    """Two attributes on the same two of four dimensions: H is that of two even shares."""
    weights = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 0.0], [0.0, 0.0]])
    assert dci.disentanglement(weights) == pytest.approx(0, abs=1e-9)
    expected = 1 - math.log(2) / math.log(4)
    assert dci.completeness(weights).tolist() == pytest.approx([expected] * 2)


def test_dimensions_count_by_what_they_carry():
    """One dimension of weight 0.9 tells one attribute, another of 1.1 tells two."""
    weights = torch.tensor([[0.9, 0.0], [0.1, 1.0]])
    shares = [0.1 / 1.1, 1 / 1.1]
    second = 1 + sum(p * math.log(p) for p in shares) / math.log(2)
    expected = 0.45 + 0.55 * second
    assert dci.disentanglement(weights) == pytest.approx(expected, abs=1e-6)


def test_all_attributes_count():
    """Not the first two alone, as in StyleSpace's released code."""
    clean = torch.eye(4)
    dirty = clean.clone()
    dirty[:, 2:] = 0.25
    assert dci.disentanglement(clean) == pytest.approx(1)
    assert dci.disentanglement(dirty) < 0.8
    assert dci.completeness(dirty).tolist() == pytest.approx([1, 1, 0, 0], abs=1e-6)


# --- direction -----------------------------------------------------------------------------------


def test_axes_that_tell_one_attribute_each_score_high():
    x, labels = made()
    found, again = dci.measure(x, labels)
    assert found.names == tuple(labels)
    assert found.disentanglement > 0.9
    assert found.completeness.min() > 0.8
    assert found.informativeness > 0.9
    assert len(again) == Linear.rounds
    torch.testing.assert_close(found.weights.sum(dim=0), torch.ones(6), atol=1e-4, rtol=0)


def test_a_rotation_entangles_and_tells_as_much():
    x, labels = made()
    straight, turned = (dci.measure(codes, labels)[0] for codes in (x, x @ rotation(12)))
    assert turned.disentanglement < straight.disentanglement - 0.3
    assert turned.completeness.mean() < straight.completeness.mean() - 0.3
    assert turned.informativeness > straight.informativeness - 0.05


def test_scale_and_place_of_numbers_do_not_matter():
    x, labels = made()
    plain, scaled = (dci.measure(c, labels)[0] for c in (x, x * torch.logspace(-2, 2, 12) + 5))
    assert scaled.disentanglement == pytest.approx(plain.disentanglement, abs=1e-3)


def test_codes_that_know_nothing_are_right_half_the_time():
    x, labels = made()
    found, _ = dci.measure(x.roll(1, dims=0), labels)
    assert found.informativeness == pytest.approx(0.5, abs=0.08)


def test_rare_attributes_are_left_out():
    x, labels = made()
    rare = torch.zeros(N, dtype=torch.bool)
    rare[:10] = True
    found, _ = dci.measure(x, labels | {"rare": rare, "common": ~rare})
    assert found.names == tuple(labels)


def test_rare_sides_weigh_as_much_as_common_ones():
    x, labels = made(noise=0.0)
    few = x[:, 3] > 1.2  # one in nine
    found, _ = dci.measure(x, {"few": few, "a0": labels["a0"]})
    assert found.right[0] > 0.85  # both sides; saying no to all is right for 0.5


def test_faces_that_are_all_alike_are_refused():
    x, labels = made()
    none = torch.zeros(N, dtype=torch.bool)
    with pytest.raises(UsageError, match="faces: 1 attributes are on 5 to 95 % of 400 faces"):
        dci.measure(x, {"a": labels["a0"], "b": none})
    with pytest.raises(UsageError, match=r"codes: expected \(N, D\)"):
        dci.measure(x[:10], labels)


def test_turned_codes_are_a_rotation_of_standard_ones():
    x = made(size=11)[0]
    standard = (x - x.mean(dim=0)) / x.std(dim=0)
    mixed = dci.turned(x)
    assert mixed.shape == (N, 16)
    torch.testing.assert_close(mixed @ mixed.T, standard @ standard.T, atol=1e-3, rtol=1e-3)
    alike = (mixed.T @ standard / N).abs()
    assert alike.max() < 0.9  # no number is one of the old ones
    assert not torch.equal(mixed, dci.turned(x, seed=1))


def test_turning_takes_disentanglement_away():
    x, labels = made(size=16)
    straight = dci.measure(x, labels)[0]
    floor, none = dci.measure(dci.turned(x), labels, rounds=0)
    assert none == []
    assert floor.disentanglement < straight.disentanglement - 0.3
    assert floor.informativeness > straight.informativeness - 0.05


def test_scores_hold_the_figure_in_their_interval():
    found, again = dci.measure(*made())
    floor = dci.Dci(found.names, torch.ones(12, 6) / 12, torch.full((6,), 0.5))
    listed = dci.scores(found, again, floor=floor, n=N, judge="j")
    scores = {score.name: score for score in listed}
    assert scores["disentanglement"].details["turned"] == pytest.approx(0, abs=1e-6)
    whole = scores["completeness"]
    assert whole.value == pytest.approx(float(found.completeness.mean()))
    assert whole.low < whole.value < whole.high <= 1
    assert scores["informativeness: a2"].value == pytest.approx(float(found.right[2]))
    assert whole.n == N


# --- trees and the surest faces ------------------------------------------------------------------


def sure(size=6, count=3, noise=0.2):
    """Codes, and log-odds that each hang on a number of their own."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(N, size, generator=random)
    return x, {f"a{k}": x[:, k] + noise * torch.randn(N, generator=random) for k in range(count)}


@pytest.fixture
def few_trees(monkeypatch):
    monkeypatch.setattr(importlib.import_module("tedi.metrics.trees"), "TREES", 20)


def test_trees_find_the_number_that_tells_each_attribute(few_trees):
    found, none = dci.measure(*sure(), classifier=Trees(), surest=0.1, rounds=0)
    assert none == []
    assert found.weights.argmax(dim=0).tolist() == [0, 1, 2]
    assert found.disentanglement > 0.95
    assert found.completeness.min() > 0.95
    assert found.informativeness > 0.95


def test_turning_takes_disentanglement_away_from_trees(few_trees):
    x, labels = sure(size=8, count=6)
    floor, _ = dci.measure(dci.turned(x), labels, classifier=Trees(), surest=0.1, rounds=0)
    assert floor.disentanglement < 0.7
    assert floor.completeness.mean() < 0.7
    assert floor.informativeness > 0.7


def test_trees_are_resampled(few_trees):
    x, labels = sure(count=2, noise=1.0)
    seen = []
    found, again = dci.measure(
        x, labels, classifier=Trees(), surest=0.1, rounds=2, progress=seen.append
    )
    assert seen == [6] * 6  # numbers of a code: two attributes, thrice
    weights = [each.weights for each in (found, *again)]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize("kind", [Linear, Trees])
def test_the_surest_are_told_where_others_are_noise(kind, few_trees):
    """Log-odds tell the truth at both ends, and are tossed in between."""
    x, labels = sure(count=2)
    random = torch.Generator().manual_seed(3)
    tossed = {
        name: torch.where(of.abs() > 1, of, torch.rand(N, generator=random) - 0.5)
        for name, of in labels.items()
    }
    every, ends = (
        dci.measure(x, tossed, classifier=kind(), surest=share, rounds=0)[0]
        for share in (None, 0.1)
    )
    assert ends.informativeness > 0.9
    assert every.informativeness < 0.8


def test_as_many_of_the_surest_are_kept_on_both_sides():
    odds = torch.arange(400.0).roll(100)[:, None]
    rows = torch.arange(400)
    upper, either = dci._ends(odds, [(30, rows[:300]), (10, rows[300:])])
    assert upper.sum() == 40
    assert either.sum() == 80
    lower = either & ~upper
    tops, bottoms = ({float(o) for o in odds[of]} for of in (upper, lower))
    assert tops == {*range(370, 400), *range(290, 300)}  # of those to train on, and held out
    assert bottoms == {*range(30), *range(200, 210)}
    assert dci.kept(400, 0.1) == (30, 10)


def test_too_few_of_the_surest_are_refused():
    with pytest.raises(UsageError, match=r"surest: 2 % of 400 faces are 2 .* --count 2000 or more"):
        dci.measure(*sure(), surest=0.02)
    assert dci.kept(2000, 0.02) == (30, 10)


def test_attributes_with_fewer_faces_than_are_kept_are_left_out():
    labels = sure()[1]
    few = labels["a0"] - labels["a0"].quantile(0.93)
    assert list(dci.counted(labels | {"few": few}, 0.05)) == ["a0", "a1", "a2", "few"]
    assert list(dci.counted(labels | {"few": few}, 0.1)) == ["a0", "a1", "a2"]


def test_trees_are_those_of_scikit_learn():
    """GradientBoostingClassifier(random_state=0) of scikit-learn 1.9.1, on these codes."""
    random = torch.Generator().manual_seed(2)
    x = torch.randn(90, 5, generator=random)
    noise = 0.6 * torch.randn(90, generator=random)
    boosted = Boosted(Trees().lightgbm, x, x[:, 0] + 0.7 * x[:, 1] * x[:, 2] + noise > 0.3)
    theirs = [-5.8712, 5.7825, -4.2434, -3.4342, -2.6897, -3.747]
    assert boosted(x[:6]).tolist() == pytest.approx(theirs, abs=1e-3)
    shares = boosted.gains / boosted.gains.sum()  # theirs break ties of splits by lot
    assert shares.tolist() == pytest.approx([0.4542, 0.1536, 0.2459, 0.0853, 0.0611], abs=0.01)


def test_numbers_that_tell_as_much_share_the_trees():
    """Not the first of them alone."""
    random = torch.Generator().manual_seed(4)
    told = torch.randn(40, 1, generator=random)
    boosted = Boosted(Trees().lightgbm, told.repeat(1, 4), told[:, 0] > 0)
    assert boosted.gains.max() < 0.6 * boosted.gains.sum()


def test_codes_that_are_all_alike_have_no_trees():
    boosted = Boosted(Trees().lightgbm, torch.ones(8, 3), torch.arange(8) < 2)
    assert boosted.gains.tolist() == [0, 0, 0]
    assert boosted(torch.zeros(2, 3)).tolist() == pytest.approx([math.log(2 / 6)] * 2)


def test_trees_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(TediError, match=r'pip install "tedi\[spaces\]"'):
        Trees()


# --- codes ---------------------------------------------------------------------------------------


class Styled(TinyGenerator):
    """Its S is W doubled, in two layers."""

    def styles(self, ws):
        return {"first": 2 * ws[:, 0], "last": 2 * ws[:, -1]}


def test_spaces_of_seeds():
    found = dci.spaces(Styled(), [3, 4], psi=0.5)
    assert list(found) == ["Z", "W", "S"]
    w = Styled().mapping(found["Z"])
    middle = Styled().w_avg
    torch.testing.assert_close(found["W"], middle + 0.5 * (w - middle))
    torch.testing.assert_close(found["S"], 2 * found["W"].repeat(1, 2))


def test_z_is_what_the_mapping_is_given():
    """As wide as its input, where W is wider."""

    class Narrow(Styled):
        z_width = 4

        def mapping(self, z):
            return super().mapping(torch.cat([z, 0 * z], dim=1))

    found = dci.spaces(Narrow(), [3, 4], psi=1.0)
    assert found["Z"].shape == (2, 4)
    torch.testing.assert_close(found["W"], Narrow().mapping(found["Z"]))


def test_slots_that_are_mapped_apart_have_no_w():
    class Apart(Styled):
        def mapping(self, z):
            return super().mapping(z)[:, None] * torch.arange(1.0, 17)[:, None]

    assert list(dci.spaces(Apart(), [3], psi=0.5)) == ["Z", "S"]


def test_mixtures_are_of_two_faces_slot_by_slot():
    generator = TinyGenerator()
    mixed = dci.mixtures(generator, [5, 6], psi=1.0)
    assert torch.equal(mixed[1:], dci.mixtures(generator, [6], psi=1.0))  # a seed decides alone
    a, b = control.style_codes(generator, [5, 5 + dci.OTHER], psi=1.0)
    first = (mixed[0] == a).all(dim=1)
    assert torch.equal(first, ~(mixed[0] == b).all(dim=1))
    assert 2 < first.sum() < 14


def test_attributes_are_split_once_each():
    for group, values in dci.SPLITS.items():
        assert set(values) < set(GROUPS[group])
    log_p = torch.full((2, len(COLUMNS)), -5.0)
    for row, value in enumerate(("none", "slight")):
        log_p[row, COLUMNS.index(("smile", value))] = 0.0
    assert dci.splits(log_p)["smile"].tolist() == [False, True]


def test_odds_are_of_all_wanted_values_against_the_others():
    log_p = torch.full((1, len(COLUMNS)), -5.0)
    for value, p in (("none", 0.4), ("slight", 0.35), ("broad", 0.25)):
        log_p[0, COLUMNS.index(("smile", value))] = math.log(p)
    assert float(dci.odds(log_p)["smile"]) == pytest.approx(math.log(0.6 / 0.4), abs=1e-6)
    assert dci.odds(log_p).keys() == dci.SPLITS.keys()


# --- the command ---------------------------------------------------------------------------------


class Corners(nn.Module):
    """Sees smiles, hats and bangs in the colours of corners."""

    def forward(self, image):
        logits = torch.zeros(len(image), len(COLUMNS))
        for place, group in enumerate(("smile", "hat", "bangs")):
            logits[:, SPANS[group].stop - 1] = 20 * image[:, place, 0, 0]
        return logits


@pytest.fixture
def tedi_(capsys, monkeypatch, tmp_path):
    """Runs `tedi evaluate spaces`; gives exit status, stdout, stderr and how much was drawn."""
    drawn = []

    class Watched(Styled):
        def preview(self, ws):
            drawn.append(ws)
            return super().preview(ws)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(COMMAND, "load_generator", lambda *a: (Watched(), {"tiny": "0" * 64}))
    monkeypatch.setattr(COMMAND, "load_attributes", lambda *a: (Corners(), "f" * 64))
    monkeypatch.setattr(Linear, "rounds", 3)

    def call(*arguments):
        capsys.readouterr()
        drawn.clear()
        status = run(["evaluate", "spaces", *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err, len(drawn)

    return call


def test_spaces_are_measured_and_a_run_goes_on(tedi_, tmp_path):
    status, lines, _, drawn = tedi_("--count", 120, "--psi", 1)
    assert status == 0
    assert drawn == 240
    assert lines[0] == "DCI of tiny: 120 faces, a quarter held out"
    folder = tmp_path / "evaluation" / "spaces"
    report = json.loads((folder / "report.json").read_text())
    assert list(report["scores"]) == ["Z", "W", "W+", "S"]
    names = [score["name"] for score in report["scores"]["W+"]]
    assert names[:2] == ["disentanglement", "completeness"]
    assert report["judge"] == "judge-lite0 ffffffff"
    rows = [json.loads(line) for line in (folder / "judgments.jsonl").read_text().splitlines()]
    assert len(rows) == 240
    assert {"kind", "seed", "has"} == rows[0].keys()
    assert Image.open(folder / "chart.png").size[0] > 1000
    status, lines, _, drawn = tedi_("--count", 130, "--psi", 1, "--json")
    assert (status, drawn) == (0, 20)
    assert json.loads(lines[0])["count"] == 130


class Bar:
    """A bar that only counts."""

    def __init__(self, total, unit="picture"):
        self.total, self.unit, self.done = total, unit, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, more):
        self.done += more


def test_trees_are_fitted_to_faces_that_were_judged_for_others(
    tedi_, tmp_path, few_trees, monkeypatch
):
    bars = []
    monkeypatch.setattr(COMMAND, "_bar", lambda *a: bars.append(Bar(*a)) or bars[-1])
    assert tedi_("--count", 120)[0] == 0
    arguments = ("--classifier", "trees", "--surest", 0.2, "--count", 200, "--rounds", 2)
    status, lines, _, drawn = tedi_(*arguments)
    assert (status, drawn) == (0, 160)
    assert lines[0] == "DCI of tiny: 200 faces, a quarter held out"
    assert lines[1].endswith("judge-lite0 ffffffff, boosted trees on the surest 40 a side")
    assert "classifier: gradient boosting, 100 trees of depth 3" in lines[-2]
    report = json.loads((tmp_path / "evaluation" / "spaces" / "report.json").read_text())
    assert report["classifier"] == Trees.about
    assert (report["surest"], report["kept a side"]) == (0.2, 40)
    assert "over 2 resamplings" in report["interval"]
    assert report["scores"]["S"][0]["n"] == 80
    assert [bar.unit for bar in bars] == ["picture", "number"] * 2
    assert all(bar.done == bar.total > 0 for bar in bars)


def test_what_was_judged_of_other_faces_is_not_mixed_in(tedi_):
    assert tedi_("--count", 100)[0] == 0
    status, _, err, drawn = tedi_("--count", 100, "--seed", 7)
    assert (status, drawn) == (1, 0)
    assert "faces.safetensors: kept from another measurement" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--count", 99], "'--count': 99 is not in the range"),
        (["--psi", 3], "'--psi': 3.0 is not in the range"),
        (["--psi", 0], "raise --psi"),
        (["--classifier", "tree"], "'--classifier': 'tree' is not one of 'linear', 'trees'"),
        (["--classifier", "trees"], "give --count 2000 or more, or a larger --surest"),
        (["--surest", 0.3], "'--surest': 0.3 is not in the range"),
    ],
)
def test_wrong_calls_are_one_line(tedi_, arguments, says):
    status, _, err, _ = tedi_(*arguments)
    assert status == 2
    assert says in err


def test_the_command_is_listed(capsys):
    assert run(["evaluate", "--help"]) == 0
    assert "spaces" in capsys.readouterr().out
    assert "evaluate" in tedi.cli.COMMANDS
    assert attributes.GROUPS.keys() >= dci.SPLITS.keys()
    assert set(COMMAND.KINDS) == set(CLASSIFIERS)
