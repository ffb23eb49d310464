"""`tedi evaluate` as a person meets it, with a tiny generator and a judge of colours."""

import importlib
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import toolkit
from torch import nn

import tedi.cli
from tedi.attributes import COLUMNS
from tedi.cli import run
from tedi.grammar import ATTRIBUTES
from tedi.metrics.text import SIDE, Judge, seeds_of

COMMAND = importlib.import_module("tedi.cli.evaluate")
ACCURACY = {"smile": 0.8654, "hat": 0.9884, "background": 0.94}
ROWS = [
    {"prompt": "a smiling woman", "says": {"gender": ["female"], "smile": ["slight", "broad"]}},
    {"prompt": "a man in a hat", "says": {"gender": ["male"], "hat": [True]}, "implies": {}},
    {"prompt": "someone before the sea", "says": {"background": ["blue"]}},
]


class Colors(nn.Module):
    """Sees attributes in the colours of four quarters of a picture."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(3)
        self.head = nn.Parameter(torch.randn(12, len(COLUMNS), generator=random))
        self.sizes: list[tuple[int, ...]] = []

    def features(self, image):
        return nn.functional.adaptive_avg_pool2d(image, 2).flatten(1)

    def maps(self, image):
        return [nn.functional.avg_pool2d(image, size) for size in (2, 4)]

    def forward(self, image):
        self.sizes.append(tuple(image.shape))
        return self.features(image) @ self.head


class Counting:
    """Tiny toolkit that tells of the pictures asked of it, and can be stopped at one of them."""

    def __init__(self) -> None:
        self.model = toolkit()
        self.asked: list[tuple[str, str, int]] = []
        self.free = 0
        self.options: list[dict] = []
        self.stop_at: int | None = None
        self.generator, self.weights = self.model.generator, self.model.weights
        self.dtype, self.device = self.model.dtype, self.model.device
        self.text = self

    def seen(self, ws):
        return self.model.seen(ws)

    def stream(self, jobs, *, method, **options):
        self.options.append({"method": method, **options})
        psi = options.pop("psi") * (0.1 if method == "collapsed" else 1)
        for prompt, seed in jobs:
            if len(self.asked) == self.stop_at:
                raise KeyboardInterrupt
            self.asked.append((method, prompt, seed))
            yield from self.model.stream([(prompt, seed)], psi=psi, **options)

    def pictures(self, ws, *, preview):
        self.free += len(ws)
        return self.model.pictures(ws, preview=preview)

    def read(self, prompts):
        return prompts

    def similarity(self, ws, reading):
        own = torch.arange(len(ws)) // (len(ws) // len(reading))
        return (own == torch.arange(len(reading))[:, None]).float()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    about = ("tedi.cli.evaluate:evaluate", "How well pictures follow.")
    monkeypatch.setitem(tedi.cli.COMMANDS, "evaluate", about)
    Path("p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


@pytest.fixture
def judge() -> Judge:
    return Judge(Colors().eval().requires_grad_(False), "colours", ACCURACY)


@pytest.fixture
def fake(monkeypatch, judge) -> Counting:
    counting = Counting()
    monkeypatch.setattr(COMMAND, "_load", lambda device: (counting, judge))
    return counting


@pytest.fixture
def tedi_(capsys):
    """Runs `tedi evaluate`; gives exit status, lines of stdout, and stderr."""

    def call(*arguments):
        capsys.readouterr()
        status = run(["evaluate", *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def report(out="evaluation"):
    return json.loads(Path(out, "report.json").read_text())


# --- what is made --------------------------------------------------------------------------------


def test_a_table_and_three_files(tedi_, fake):
    status, out, err = tedi_("text", "--prompts", "p.jsonl", "--seeds", "0-2")
    assert (status, err) == (0, "")
    assert sorted(path.name for path in Path("evaluation").iterdir()) == [
        *("chart.png", "judged", "judgments.jsonl", "report.json")
    ]
    assert out[0] == "3 prompts, 3 pictures each: p.jsonl"
    assert out[1] == "psi 0.7, 256 px previews, judged by colours at 256 px"
    assert any(re.match(r"  gender +6 +\d+\.\d %  +\[", line) for line in out)
    assert any(re.match(r"  smile +3 .* 86\.5 %$", line) for line in out)
    assert any(line.startswith("diversity ") for line in out)
    assert any("9 pictures for 12 features" in line for line in out)
    assert out[-1] == str(Path("evaluation/report.json"))
    told = report()
    assert told["seeds"] == [0, 1, 2]
    assert (told["psi"], told["judge"], told["preview"]) == (0.7, "colours", True)
    (scores,) = told["scores"].values()
    by_name = {score["name"]: score for score in scores}
    assert by_name["attribute accuracy"]["n"] == 15
    assert by_name["attribute accuracy: smile"]["low"] is None  # one prompt has no interval
    assert by_name["R-precision"]["value"] == 1
    assert by_name["diversity"]["network"] == "colours"
    assert told["left_out"] == {"default": {}}
    assert Image.open("evaluation/chart.png").width > 1000


def test_judgments_tell_what_was_seen_in_each_picture(tedi_, fake):
    tedi_("text", "--prompts", "p.jsonl", "--seeds", "5,7")
    rows = [
        json.loads(line) for line in Path("evaluation/judgments.jsonl").read_text().splitlines()
    ]
    assert [(row["method"], row["prompt"], row["seed"]) for row in rows] == fake.asked
    assert [row["seed"] for row in rows[:2]] == seeds_of(ROWS[0]["prompt"], [5, 7])
    for row in rows:
        assert row["seen"].keys() == ATTRIBUTES.keys()
    for row in rows[2:4]:
        assert row["right"] == {
            "gender": row["seen"]["gender"] == "male",
            "hat": row["seen"]["hat"],
        }
    (score, *_) = report()["scores"]["default"]
    right = [ok for row in rows for ok in row["right"].values()]
    assert score["value"] == pytest.approx(sum(right) / len(right))


def test_options_reach_the_toolkit(tedi_, fake, judge):
    options = ["--psi", "0.5", "--full", "--batch-size", "2", "--method", "other"]
    status, out, _ = tedi_("text", "--prompts", "p.jsonl", "--seeds", "0-1", *options)
    assert (status, out[1]) == (0, "psi 0.5, 1024 px, judged by colours at 256 px")
    assert fake.options[0] == {
        **{"method": "other", "psi": 0.5, "preview": False, "batch_size": 2},
        "anyway": True,  # a prompt that is not understood counts as one that fails
    }
    assert set(judge.network.sizes) == {(1, 3, 32, 32)}
    assert fake.free == 6


def test_large_pictures_are_averaged_for_the_judge(judge):
    pixels = torch.randint(0, 256, (4 * SIDE, 4 * SIDE, 3), dtype=torch.uint8)
    look = judge.look([(Image.fromarray(pixels.numpy()), torch.zeros(16, 8))])
    assert judge.network.sizes == [(1, 3, SIDE, SIDE)]
    quarter = pixels.float().unflatten(0, (2, -1)).unflatten(2, (2, -1)).mean(dim=(1, 3))
    expected = (quarter / 127.5 - 1).permute(2, 0, 1).flatten()
    torch.testing.assert_close(look["features"][0], expected, atol=3e-3, rtol=0)


def test_methods_are_compared_on_the_same_seeds(tedi_, fake):
    _, out, _ = tedi_(
        *("text", "--prompts", "p.jsonl"),
        *("--method", "default", "--method", "collapsed", "--method", "default"),
    )
    first, second = fake.asked[:12], fake.asked[12:]
    assert [job[1:] for job in first] == [job[1:] for job in second]
    assert fake.free == 12  # drawn once for both
    (head,) = (line for line in out if "judge itself" in line)
    assert head.split()[::3][:3] == ["n", "%", "%"]
    told = report()["scores"]
    assert list(told) == ["default", "collapsed"]
    diversity = [
        next(s["value"] for s in scores if s["name"] == "diversity") for scores in told.values()
    ]
    assert diversity[1] < 0.3 * diversity[0]


def test_composed_prompts(tedi_, fake):
    _, out, _ = tedi_("text", "--count", 7, "--seeds", "0-1", "--seed", 3)
    assert out[0] == "7 prompts, 2 pictures each: heldout wordings composed with seed 3"
    texts = [prompt for _, prompt, _ in fake.asked[::2]]
    assert texts == tedi_("text", "--count", 7, "--seed", 3, "--dry-run")[1]


def test_json(tedi_, fake):
    _, out, _ = tedi_("text", "--prompts", "p.jsonl", "--json")
    assert [json.loads(line) for line in out] == [report()]


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["plain", "json"])
def test_dry_run_draws_nothing(tedi_, fake, as_json):
    status, out, err = tedi_("text", "--prompts", "p.jsonl", "--dry-run", *as_json)
    assert (status, err) == (0, "")
    if as_json:
        said = {"prompt": ROWS[1]["prompt"], "says": ROWS[1]["says"]}
        assert json.loads(out[1]) == said
    else:
        assert out == [row["prompt"] for row in ROWS]
    assert fake.asked == []
    assert not Path("evaluation").exists()


def test_plain_prompts_are_measured_without_what_they_say(tedi_, fake):
    Path("p.txt").write_text("a man\na woman\n")
    status, out, _ = tedi_("text", "--prompts", "p.txt")
    assert status == 0
    assert any("attribute-accuracy left out: says: expected prompts" in line for line in out)
    assert {s["name"] for s in report()["scores"]["default"]} == {
        *("diversity", "Fréchet distance", "R-precision")
    }


def test_one_picture_a_prompt_has_no_diversity(tedi_, fake):
    _, out, _ = tedi_("text", "--prompts", "p.jsonl", "--seeds", "0")
    assert any("diversity left out" in line and "--seeds" in line for line in out)


# --- stopped, and gone on ------------------------------------------------------------------------


def test_a_stopped_run_goes_on(tedi_, fake):
    arguments = ["text", "--prompts", "p.jsonl", "--seeds", "0-1"]
    tedi_(*arguments, "--out", "whole")
    whole, fake.asked, fake.free = fake.asked, [], 0
    fake.stop_at = 5  # the second picture of the third prompt
    status, out, err = tedi_(*arguments)
    assert (status, out) == (130, [])
    assert err.strip().splitlines()[-1] == "tedi: stopped; what is finished stays"
    assert not Path("evaluation/report.json").exists()
    fake.stop_at = None
    assert tedi_(*arguments)[0] == 0
    # The prompt that was stopped at begins anew; what was finished is not drawn again.
    assert fake.asked == [*whole[:5], *whole[4:]]
    assert fake.free == 6
    for name in ("report.json", "judgments.jsonl", "chart.png"):
        assert Path("evaluation", name).read_bytes() == Path("whole", name).read_bytes()


def test_a_finished_run_draws_nothing(tedi_, fake):
    arguments = ["text", "--prompts", "p.jsonl"]
    _, first, _ = tedi_(*arguments)
    fake.asked, fake.free = [], 0
    assert tedi_(*arguments)[1] == first
    assert (fake.asked, fake.free) == ([], 0)
    tedi_(*arguments, "--method", "default", "--method", "other")
    assert {method for method, _, _ in fake.asked} == {"other"}
    assert fake.free == 0


@pytest.mark.parametrize(
    "change", [("--psi", "0.6"), ("--full",), ("--seeds", "0-4")], ids=lambda change: change[0]
)
def test_other_settings_are_judged_anew(tedi_, fake, change):
    tedi_("text", "--prompts", "p.jsonl")
    fake.asked, fake.free = [], 0
    tedi_("text", "--prompts", "p.jsonl", *change)
    assert len(fake.asked) == fake.free >= 12


def test_another_judge_judges_anew(tedi_, fake, judge, monkeypatch):
    tedi_("text", "--prompts", "p.jsonl")
    monkeypatch.setattr(
        COMMAND, "_load", lambda device: (fake, Judge(judge.network, "another", {}))
    )
    tedi_("text", "--prompts", "p.jsonl")
    assert len(fake.asked) == 24


def test_a_damaged_file_is_made_anew(tedi_, fake):
    _, first, _ = tedi_("text", "--prompts", "p.jsonl")
    next(Path("evaluation/judged").iterdir()).write_bytes(b"torn")
    assert tedi_("text", "--prompts", "p.jsonl")[1] == first
    assert len(fake.asked) + fake.free == 24 + 4


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "x", "says": {"smyle": ["broad"]}}', "'smyle'; did you mean 'smile'"),
        ('{"prompt": "x", "says": {"smile": ["wide"]}}', 'smile: expected values of "none"'),
        ("not json", "expected a JSON object"),
    ],
)
def test_a_bad_prompt_file_is_named_with_its_line(tedi_, fake, line, message):
    with Path("p.jsonl").open("a") as file:
        file.write(line + "\n")
    status, out, err = tedi_("text", "--prompts", "p.jsonl")
    assert (status, out) == (2, [])
    assert err.startswith("tedi: p.jsonl, line 4: ")
    assert message in err
    assert fake.asked == []


def test_a_prompt_file_that_is_not_there(tedi_, fake):
    status, _, err = tedi_("text", "--prompts", "none.jsonl")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("tedi: none.jsonl: cannot be read")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompts", "p.jsonl", "--count", "3"], "leave out --count"),
        (["--prompts", "p.jsonl", "--seed", "0"], "leave out --count, --split and --seed"),
        (["--seeds", "0-1000"], "--seeds: 1001 pictures of a prompt, at most 1000"),
        (["--seeds", "1,1"], "--seeds: one comes twice"),
        (["--split", "test"], "--split"),
        (["--psi", "3"], "--psi"),
    ],
    ids=str,
)
def test_wrong_calls(tedi_, fake, arguments, message):
    status, out, err = tedi_("text", *arguments)
    assert (status, out) == (2, [])
    assert message in err
    assert fake.asked == []


def test_subcommands_come_from_the_table(tedi_):
    status, out, _ = tedi_("--help")
    assert status == 0
    for name, (_, line) in COMMAND.EVALUATIONS.items():
        assert re.search(rf"{name} +{re.escape(line)}", "\n".join(out))
    status, _, err = tedi_("texts")
    assert (status, err) == (2, "tedi: unknown evaluation 'texts'; did you mean 'text'?\n")


def test_accuracy_of_the_judge_by_attribute():
    figures = {"n": 431.0, "gender": 0.9, "background sky": 0.9, "background wall": 0.7}
    found = COMMAND._by_attribute(figures | {"mean of attributes": 0.8})
    assert found == {"gender": 0.9, "background": pytest.approx(0.8)}
