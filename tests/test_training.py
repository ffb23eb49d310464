"""The training loop, settings, the tasks on tiny parts, and the tedifaces loader."""

import copy
import dataclasses
import importlib.util
import inspect
import json
import logging
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import TinyBackbone, TinyGenerator, code_reader
from torch import nn

from tedi import attributes, config, zoo
from tedi.checkpoints import native
from tedi.encoders.attributes import AttributeModel
from tedi.encoders.codes import CodeReader
from tedi.encoders.text import ORDERED_GROUPS
from tedi.errors import TediError, UsageError
from tedi.grammar import ATTRIBUTES
from tedi.training import TASKS, dataset, pictures
from tedi.training import codes as codes_task
from tedi.training import text as text_task
from tedi.training.attributes import AttributeOptions, AttributeTask, mirrored
from tedi.training.codes import CodeOptions
from tedi.training.loop import Settings, rate, run
from tedi.training.preview import PreviewOptions, PreviewTask
from tedi.training.text import TextOptions, TextTask

ROOT = Path(__file__).parents[1]
AGES = ATTRIBUTES["age"]


class TinyTask:
    """Fits a linear map through dropout to batches drawn from the step alone."""

    def __init__(self, *, stop_at: int | None = None, poison_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1))
        self.stop_at, self.poison_at, self.steps = stop_at, poison_at, []

    def groups(self, lr):
        return [{"params": list(self.model.parameters()), "lr": lr}]

    def step(self, step):
        if step == self.stop_at:
            raise KeyboardInterrupt
        self.steps.append(step)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        error = (self.model(x)[:, 0] - x.sum(dim=1)).square().mean()
        return {"fit": error * (math.nan if step == self.poison_at else 1), "none": error * 0}

    def evaluate(self):
        assert not self.model.training
        return {"n": 1.0, "size": 0.5}

    def export(self):
        return dict(self.model.state_dict()), {"licence": "MIT"}


def plan(folder, **changes) -> Settings:
    values = {"task": "tiny", "steps": 12, "out": str(folder / "out.safetensors"), "lr": 0.05}
    return Settings(
        **(values | {"warmup": 3, "save_every": 4, "log_every": 5, "ema": 0.8} | changes)
    )


def exported(settings) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(settings.out, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path):
    """Bit for bit: weights, average, optimiser, schedule and dropout."""
    whole = plan(tmp_path / "whole")
    run(TinyTask(), whole, folder=tmp_path / "runs" / "whole")
    broken = plan(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        run(TinyTask(stop_at=6), broken, folder=tmp_path / "runs" / "broken")
    torch.manual_seed(123)  # whatever else the process has drawn meanwhile
    rest = TinyTask()
    run(rest, broken, folder=tmp_path / "runs" / "broken")
    assert rest.steps == list(range(4, 12))
    expected, _ = exported(whole)
    found, _ = exported(broken)
    assert expected.keys() == found.keys()
    for name in expected:
        assert torch.equal(expected[name], found[name]), name


class Halves(TinyTask):
    """Batches of 8 that are the halves of the batches of 16, without dropout."""

    def __init__(self, *, parts):
        super().__init__()
        self.model[2].p = 0.0
        self.parts, self.seen = parts, []

    def step(self, number):
        step, part = divmod(number, self.parts)
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step)).chunk(self.parts)[
            part
        ]
        self.seen.append(step)
        return {"fit": (self.model(x)[:, 0] - x.sum(dim=1)).square().mean()}


def test_accumulated_gradients_are_those_of_one_large_batch(tmp_path, caplog):
    states, lines = [], []
    for parts in (1, 2):
        task = Halves(parts=parts)
        settings = plan(tmp_path / str(parts), accumulate=parts, log_every=6)
        with caplog.at_level(logging.INFO, "tedi.training.loop"):
            run(task, settings, folder=tmp_path / "runs" / str(parts))
        states.append(exported(settings)[0])
        lines.append([m for m in caplog.messages if m.startswith("step 6 ")][-1].split("fit ")[1])
        assert task.seen == [step for step in range(12) for _ in range(parts)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-5)
    assert lines[0].split()[0] == lines[1].split()[0]  # the loss that is told is a mean


def test_a_stopped_run_of_accumulated_gradients_goes_on(tmp_path):
    whole = plan(tmp_path / "whole", accumulate=3)
    run(TinyTask(), whole, folder=tmp_path / "runs" / "whole")
    broken = plan(tmp_path / "broken", accumulate=3)
    with pytest.raises(KeyboardInterrupt):
        run(TinyTask(stop_at=20), broken, folder=tmp_path / "runs" / "broken")
    rest = TinyTask()
    run(rest, broken, folder=tmp_path / "runs" / "broken")
    assert rest.steps == list(range(12, 36))
    expected, found = exported(whole)[0], exported(broken)[0]
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_step_of_no_batch_is_refused(tmp_path):
    with pytest.raises(UsageError, match="accumulate: expected 1 or more, got 0"):
        plan(tmp_path, accumulate=0)


def test_a_finished_run_writes_its_file_again(tmp_path):
    settings = plan(tmp_path)
    run(TinyTask(), settings, folder=tmp_path / "run")
    before, _ = exported(settings)
    Path(settings.out).unlink()
    again = TinyTask()
    run(again, settings, folder=tmp_path / "run")
    after, _ = exported(settings)
    assert again.steps == []
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_learns_and_exports_the_average(tmp_path):
    start = {n: t.clone() for n, t in TinyTask().model.state_dict().items()}
    fast, slow = plan(tmp_path / "a", ema=0.0), plan(tmp_path / "b", ema=0.999)
    for name, settings in (("a", fast), ("b", slow)):
        run(TinyTask(), settings, folder=tmp_path / f"run-{name}")
    moved = [sum((exported(s)[0][n] - start[n]).norm() for n in start) for s in (fast, slow)]
    assert moved[0] > 5 * moved[1] > 0  # the average with decay 0.999 has hardly left the start


def test_the_exported_file_says_how_it_was_made(tmp_path):
    settings = plan(tmp_path, options={"ridge": 2.0})
    figures = run(TinyTask(), settings, folder=tmp_path / "run")
    _, metadata = exported(settings)
    assert figures == json.loads(metadata["figures"]) == {"n": 1.0, "size": 0.5}
    assert config.build(Settings, json.loads(metadata["settings"]), where="metadata") == settings
    assert metadata["licence"] == "MIT"
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("change", [{"lr": 0.06}, {"steps": 13}, {"options": {"n": 1}}], ids=str)
def test_a_run_of_other_settings_is_not_gone_on_with(tmp_path, change):
    run(TinyTask(), plan(tmp_path), folder=tmp_path / "run")
    with pytest.raises(TediError, match=r"checkpoint\.pt: made with other settings; .*--folder"):
        run(TinyTask(), plan(tmp_path, **change), folder=tmp_path / "run")


def test_a_run_goes_on_on_another_device(tmp_path, monkeypatch):
    """The device is no part of what a checkpoint must share; the file tells where it ended."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(KeyboardInterrupt):
        run(TinyTask(stop_at=6), plan(tmp_path), folder=tmp_path / "run")
    rest, settings = TinyTask(), plan(tmp_path, device="auto")
    run(rest, settings, folder=tmp_path / "run")
    assert rest.steps == list(range(4, 12))
    assert json.loads(exported(settings)[1]["settings"])["device"] == "cpu"


def test_a_device_that_is_not_here_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError) as caught:
        run(TinyTask(), plan(tmp_path, device="cuda"), folder=tmp_path / "run")
    says = "device: no CUDA device is here; set device to cpu, or to auto"
    assert str(caught.value) == says
    with pytest.raises(UsageError, match=r"^device: expected auto, cpu, cuda, got 'gpu'$"):
        plan(tmp_path, device="gpu")


@pytest.mark.parametrize(
    ("device", "here", "place"),
    [("cpu", True, "cpu"), ("cuda", True, "cuda"), ("auto", True, "cuda"), ("auto", False, "cpu")],
)
def test_auto_is_cuda_where_there_is_one(tmp_path, monkeypatch, device, here, place):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: here)
    assert plan(tmp_path, device=device).place == torch.device(place)
    assert plan(tmp_path).device == "cpu"


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    settings = plan(tmp_path)
    with pytest.raises(TediError, match=r"step 5: the loss is nan; lower lr \(0\.05\)"):
        run(TinyTask(poison_at=5), settings, folder=tmp_path / "run")
    assert not Path(settings.out).exists()


def test_a_run_logs_its_settings_and_losses(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "tedi.training.loop"):
        run(TinyTask(), plan(tmp_path), folder=tmp_path / "run")
    lines = [record.getMessage() for record in caplog.records]
    assert json.loads(lines[0])["lr"] == 0.05
    assert [line.split("  ")[0] for line in lines if line.startswith("step")] == [
        "step 5 of 12",
        "step 10 of 12",
    ]
    assert "fit " in lines[1]


def test_rate_rises_to_one_and_falls_to_zero():
    settings = Settings(task="tiny", steps=110, out="x", warmup=10)
    assert [rate(s, settings) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert rate(10, settings) == 1
    assert rate(60, settings) == pytest.approx(0.5)
    assert rate(35, settings) == pytest.approx(0.5 * (1 + math.sqrt(0.5)))
    assert rate(110, settings) == pytest.approx(0, abs=1e-15)
    falling = [rate(s, settings) for s in range(10, 111)]
    assert falling == sorted(falling, reverse=True)


def test_rate_without_warmup_starts_at_the_peak():
    assert rate(0, Settings(task="tiny", steps=5, out="x", warmup=0)) == 1


# --- settings ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    count: int
    share: float = 0.5
    name: str = "a"
    quiet: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    options: dict[str, Any] = field(default_factory=dict)
    most: int | None = None


def test_settings_are_built_and_cast():
    made = config.build(Example, {"count": 3, "share": 1, "betas": [0.1, 0.2]}, where="x.yaml")
    assert made == Example(3, 1.0, betas=(0.1, 0.2))
    assert type(made.share) is float


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"count": 1, "shar": 2}, "x.yaml: unknown setting 'shar'; did you mean 'share'?"),
        ({}, "x.yaml: setting 'count' is missing"),
        ({"count": "3"}, "x.yaml: count: expected int, got '3'"),
        ({"count": 3.0}, "x.yaml: count: expected int, got 3.0"),
        ({"count": True}, "x.yaml: count: expected int, got True"),
        ({"count": 1, "share": True}, "x.yaml: share: expected float, got True"),
        ({"count": 1, "share": "1e-3"}, "x.yaml: share: expected float, got '1e-3'"),
        ({"count": 1, "quiet": 1}, "x.yaml: quiet: expected bool, got 1"),
        ({"count": 1, "betas": 0.9}, "x.yaml: betas: expected tuple, got 0.9"),
        ({"count": 1, "options": 5}, "x.yaml: options: expected dict, got 5"),
        ({"count": 1, "most": "5"}, "x.yaml: most: expected int, got '5'"),
        (None, "x.yaml: expected settings by name, got None"),
        ([1], "x.yaml: expected settings by name, got [1]"),
    ],
    ids=str,
)
def test_settings_that_are_refused(values, says):
    with pytest.raises(UsageError) as caught:
        config.build(Example, values, where="x.yaml")
    assert str(caught.value) == says


def test_single_fields_are_changed_by_name():
    before = Example(1, name="b")
    changes = ["share=3e-1", "betas=[0, .5]", "most=4", "quiet=true", "most=7"]
    made = config.changed(before, changes, where="--set")
    assert made == Example(1, 0.3, "b", True, (0, 0.5), most=7)
    assert config.changed(made, ["most=null"], where="--set").most is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("share", "--set: expected NAME=VALUE, got 'share'"),
        ("=1", "--set: expected NAME=VALUE, got '=1'"),
        ("share=[", "--set: share: cannot read '[' as a value"),
        ("share=a", "--set: share: expected float, got 'a'"),
        ("shar=1", "--set: unknown setting 'shar'; did you mean 'share'?"),
    ],
)
def test_single_fields_that_are_refused(change, says):
    with pytest.raises(UsageError) as caught:
        config.changed(Example(1), [change], where="--set")
    assert str(caught.value) == says


@pytest.fixture
def script(monkeypatch):
    """`train/train.py` as a module."""
    spec = importlib.util.spec_from_file_location("train_script", ROOT / "train" / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "configs").glob("*.yaml")))
def test_configs_dry_run(script, name, capsys):
    assert script.main([str(ROOT / "configs" / name), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "weight_decay:" in shown  # a default that the file need not name
    task = script.read(ROOT / "configs" / name, []).task
    assert f"task: {task}" in shown
    assert task in TASKS
    recipes = [path.read_text(encoding="utf-8") for path in (ROOT / "train").glob("*.py")]
    assert any(f"configs/{name}" in recipe for recipe in recipes)


@pytest.mark.parametrize(
    ("task", "name", "kind"),
    [
        ("text", "text", TextOptions),
        ("preview", "preview-fine", PreviewOptions),
        ("codes", "codes", CodeOptions),
        ("attributes", "attributes", AttributeOptions),
        ("attributes", "judge", AttributeOptions),
    ],
)
def test_shipped_weights_were_made_by_their_config(script, task, name, kind):
    """The recipe in a file's metadata is true: its settings are those of the config."""
    settings = script.read(ROOT / "configs" / f"{name}.yaml", [])
    _, metadata = exported(dataclasses.replace(settings, out=str(ROOT / settings.out)))
    assert metadata["recipe"] == f"train/{'judge' if name == 'judge' else task}.py"
    used = config.build(Settings, json.loads(metadata["settings"]), where="metadata")
    mine, theirs = (config.build(kind, s.options, where="options") for s in (used, settings))
    assert mine == theirs
    assert dataclasses.replace(used, options={}) == dataclasses.replace(settings, options={})
    assert all(math.isfinite(value) for value in json.loads(metadata["figures"]).values())
    assert Path(settings.out) == zoo.path(Path(settings.out).stem).relative_to(ROOT)
    if task != "preview":
        assert [tuple(pair) for pair in json.loads(metadata["columns"])] == attributes.COLUMNS
        assert config.build(kind, json.loads(metadata["options"]), where="metadata") == mine


def test_shipped_parts_name_one_another():
    """The text encoder was trained on the code reader that is shipped, and says which."""
    told = zoo.metadata(zoo.path("text-minilm-l6"))
    assert told["backbone"] in zoo.ZOO
    assert zoo.metadata(zoo.path(told["codes"]))["architecture"] == "codes"
    assert zoo.metadata(zoo.path("attributes-lite0"))["architecture"] == "attributes-lite0"


def test_no_gpu_is_told_before_anything_is_loaded(script, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(script, "TASKS", {"parser": lambda _: pytest.fail("loaded")})
    assert script.main([str(ROOT / "configs" / "parser.yaml"), "--set", "device=cuda"]) == 2
    assert capsys.readouterr().err.startswith("train: device: no CUDA device is here;")


def test_all_stages_have_the_device_and_the_last_one_the_rest(script, monkeypatch):
    calls = []
    monkeypatch.setattr(script, "main", lambda call: calls.append(call) or 0)
    given = ["--set", "device=cuda", "--set", "lr=0.5", "--dry-run"]
    assert script.stages((["a.yaml"], ["b.yaml", "--set=steps=3"]), given) == 0
    assert calls == [
        ["a.yaml", "--set=device=cuda", "--dry-run"],
        ["b.yaml", "--set=steps=3", *given],
    ]
    calls.clear()
    monkeypatch.setattr(script, "main", lambda call: calls.append(call) or 3)
    assert script.stages((["a.yaml"], ["b.yaml"]), []) == 3
    assert calls == [["a.yaml"]]
    with pytest.raises(SystemExit):
        script.stages((["a.yaml"], ["b.yaml"]), ["--help"])
    assert len(calls) == 1


@pytest.mark.parametrize(("name", "count"), [("codes", 5), ("visual", 3)])
def test_recipes_of_stages_dry_run(name, count):
    """Each stage tells its settings, on the device that is asked for."""
    call = [sys.executable, f"train/{name}.py", "--dry-run", "--set", "device=auto"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.count("device: auto\n") == count


def test_single_settings_are_changed(script, tmp_path, capsys):
    path = tmp_path / "text.yaml"
    path.write_text("task: text\nsteps: 5\nout: x\noptions:\n  ranking: 2.0\n")
    changes = ["--set", "lr=0.25", "--set", "options.batch_size=7", "--set", "steps=9"]
    settings = script.read(path, changes[1::2])
    assert (settings.lr, settings.steps) == (0.25, 9)
    assert settings.options == {"ranking": 2.0, "batch_size": 7}
    assert script.main([str(path), *changes, "--dry-run"]) == 0
    assert "lr: 0.25" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "changes", "status", "says"),
    [
        ("task: text\nsteps: 5\nout: x\nlrr: 1", [], 2, "unknown setting 'lrr'; did you mean 'lr'"),
        ("task: txt\nsteps: 5\nout: x", [], 2, "unknown training task 'txt'; did you mean 'text'"),
        ("task: text\nsteps: 5\nout: x", ["options.rankng=1"], 2, "did you mean 'ranking'"),
        ("task: text\nsteps: 5\nout: x", ["lr"], 2, "--set: expected NAME=VALUE"),
        ("task: text\nsteps: 5\nout: x", ["optons.ranking=1"], 2, "--set: expected NAME=VALUE"),
        ("task: text\nsteps: 5\nout: x", ["lr=["], 2, "--set: lr: cannot read '[' as a value"),
        ("", [], 2, "setting 'task' is missing"),
        ("a: b: c", [], 1, "cannot be read as YAML"),
        (None, [], 1, "cannot be read as YAML"),
    ],
    ids=["key", "task", "option", "no value", "no options", "value", "empty", "no yaml", "no file"],
)
def test_a_wrong_call_is_one_line(script, tmp_path, capsys, text, changes, status, says):
    path = tmp_path / "c.yaml"
    if text is not None:
        path.write_text(text)
    arguments = [part for change in changes for part in ("--set", change)]
    assert script.main([str(path), "--folder", str(tmp_path / "run"), *arguments]) == status
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.startswith("train: ")
    assert "Traceback" not in told.err
    assert told.out == ""


# --- tedifaces -----------------------------------------------------------------------------------


def some_faces(count: int) -> list[dict[str, Any]]:
    with (ROOT / "data" / "tedifaces" / "faces.jsonl").open(encoding="utf-8") as lines:
        faces = [json.loads(next(lines)) for _ in range(count)]
    return [face for face in faces if not face["broken"]]


def test_tedifaces_load_without_broken_faces(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    faces = some_faces(6)
    faces[2]["broken"] = True
    text = "".join(json.dumps(face) + "\n" for face in faces)
    (tmp_path / "faces.jsonl").write_text(text, encoding="utf-8")
    loaded = dataset.load_tedifaces(tmp_path)
    assert list(loaded) == [face for face in faces if not face["broken"]]
    assert type(loaded).__module__.startswith("datasets.")


def test_tedifaces_that_are_not_there_are_one_line(tmp_path):
    with pytest.raises(TediError, match=r"faces\.jsonl: not found; give the folder of data/tedi"):
        dataset.load_tedifaces(tmp_path)


def test_noise_of_tedifaces_is_as_its_card_says():
    import numpy as np

    z = np.random.default_rng(20261121).standard_normal((4096, 512)).astype("float32")
    rows = dataset.noise([4095, 3])
    assert rows.dtype == torch.float32
    assert rows.tolist() == z[[4095, 3]].tolist()


def test_every_eighth_face_is_held_out():
    assert [i for i in range(24) if dataset.is_held_out(i)] == [7, 15, 23]


# --- the text task -------------------------------------------------------------------------------


class Poisoned(TinyGenerator):
    """Gives held-out faces codes that are no numbers."""

    def mapping(self, z):
        w = super().mapping(z)
        held = [i for i in range(64) if dataset.is_held_out(i)]
        bad = (z[:, None] == dataset.noise(held)).all(dim=2).any(dim=1)
        return torch.where(bad[:, None], math.nan, w)


TINY_TEXT = TextOptions(batch_size=24, composed=2, requests=30, edits=30, nonsense=6)
COLUMNS = attributes.COLUMNS


@pytest.fixture(scope="module")
def reader() -> CodeReader:
    return code_reader(channels=512)


@pytest.fixture(scope="module")
def make(reader):
    """Makes the task on 56 faces, 7 of them held out."""

    def make(generator=None, seed=0, options=TINY_TEXT, backbone=None):
        generator, backbone = generator or TinyGenerator(width=512), backbone or TinyBackbone()
        return TextTask(generator, reader, backbone, some_faces(56), options, seed=seed)

    return make


@pytest.fixture(scope="module")
def task(make) -> TextTask:
    """One that no longer hears the same in every text."""
    task = make()
    task.reader.values.data.normal_(std=0.1)
    return task


def losses(task, steps=4) -> dict[str, float]:
    """Mean losses of some batches, without dropout."""
    task.model.eval()
    with torch.no_grad():
        rows = [task.step(1000 + s) for s in range(steps)]
    return {name: sum(row[name].item() for row in rows) / steps for name in rows[0]}


def test_text_training_lowers_its_losses(make, tmp_path):
    task = make()
    before = losses(task)
    settings = plan(tmp_path, task="text", steps=16, lr=3e-3, save_every=1000, ema=0.5)
    figures = run(task, settings, folder=tmp_path / "run")
    after = losses(task)
    assert before.keys() == {"said", "wishes", "similarity", "ranking"}
    assert all(math.isfinite(value) for value in [*before.values(), *after.values()])
    assert after["said"] < 0.8 * before["said"]
    assert sum(after.values()) < sum(before.values()) - 1
    assert all(math.isfinite(value) for value in figures.values()), figures
    assert figures["n, own captions"] == figures["n, composed captions"] == 7
    assert 0 <= figures["silence kept, composed captions"] <= 1
    tensors, metadata = exported(settings)
    halves = {name for name, tensor in tensors.items() if tensor.dtype == torch.float16}
    assert halves == set(tensors) - {"prior"}
    assert (metadata["backbone"], metadata["architecture"]) == ("tiny", "text")
    assert metadata["codes"] == Path(TINY_TEXT.codes).stem
    assert [tuple(pair) for pair in json.loads(metadata["columns"])] == COLUMNS
    again = native.load_text_encoder(Path(settings.out), task.encoder.codes)
    again.backbone = TinyBackbone()
    agrees, _ = task.model(*TinyBackbone()(["a man"]))
    torch.testing.assert_close(again.read(["a man"]).agrees, agrees.sigmoid(), atol=1e-2, rtol=0)


def test_text_is_never_trained_on_held_out_faces(make):
    """Their codes and caption states are no numbers; a loss that touched them would be none."""
    task = make(Poisoned(width=512))
    held = task.held.nonzero().flatten().tolist()
    assert [task.faces[i]["index"] for i in held] == list(range(7, 56, 8))
    assert {claim.face for claim in task.tests} == set(held)
    assert not {claim.face for claim in task.claims} & set(held)
    assert task.log_p[held].isnan().any(dim=1).all()
    for row in range(len(task.claims), len(task.texts)):
        task.captions.states[row] = torch.full_like(task.captions.states[row], math.nan)
    train = task.labels[~task.held].mean(dim=0)
    torch.testing.assert_close(task.encoder.prior, train)
    for step in range(6):
        values = task.step(step)
        assert all(value.isfinite() for value in values.values())
    figures = task.evaluate()
    assert math.isnan(figures["nats a caption, own captions"])  # the poison works


def test_a_batch_of_texts_depends_on_seed_and_step_alone(task, monkeypatch):
    task.model.eval()
    first, second, again = task.step(3), task.step(4), task.step(3)
    assert first["said"] == again["said"]
    assert first["ranking"] != second["ranking"]
    monkeypatch.setattr(task, "seed", 1)
    assert task.step(3)["ranking"] != first["ranking"]


class Scaled(TinyBackbone):
    """Can be trained: its states times a number for each channel."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(self.width))
        self.saved = []

    def forward(self, prompts):
        states, mask = super().forward(prompts)
        return states * self.scale, mask

    def save(self, folder):
        self.saved.append(folder)


def test_a_backbone_is_trained_end_to_end(make):
    backbone = Scaled()
    options = dataclasses.replace(TINY_TEXT, finetune="somewhere", finetune_rate=0.5)
    task = make(options=options, backbone=backbone)
    assert [group["lr"] for group in task.groups(0.1)] == [0.1, 0.05]
    task.reader.values.data.normal_(std=0.1)  # at the very start nothing leads back to the words
    sum(task.step(0).values()).backward()
    assert backbone.scale.grad.abs().max() > 0
    _, metadata = task.export()
    assert (backbone.saved, metadata["backbone"]) == (["somewhere"], "somewhere")
    frozen = make(backbone=Scaled())
    assert {id(p) for p in frozen.model.parameters()} == {id(p) for p in frozen.reader.parameters()}


def ruled_out(allowed) -> set[tuple[str, attributes.Value]]:
    return {pair for pair, fits in zip(COLUMNS, allowed.tolist(), strict=True) if not fits}


BEARDS = {("beard", value) for value in ("stubble", "mustache", "goatee", "full")}
FEMALE, MALE = frozenset({"female"}), frozenset({"male"})


@pytest.mark.parametrize(
    ("says", "implies", "out"),
    [
        ({}, {}, set()),
        ({"gender": FEMALE}, {}, BEARDS | {("gender", "male"), ("gender", "unclear")}),
        ({}, {"gender": MALE}, {("gender", "female"), ("gender", "unclear")}),
        ({"age": frozenset({"baby"})}, {}, BEARDS | {("age", v) for v in AGES if v != "baby"}),
        ({"age": frozenset(AGES[1:])}, {}, {("age", "baby")}),
        (
            {"beard": frozenset({"full"})},
            {"gender": FEMALE},
            {("beard", "none"), ("gender", "male"), ("gender", "unclear")}
            | (BEARDS - {("beard", "full")}),
        ),
    ],
    ids=["nothing", "woman", "man", "baby", "child or more", "bearded woman"],
)
def test_what_a_caption_claims(says, implies, out):
    """Women and children have no beard, unless it is said that they have."""
    assert ruled_out(text_task.claimed(says, implies)) == out


def test_what_is_said_outweighs_what_is_implied():
    child = {"age": frozenset({"child"})}
    allowed = text_task.claimed(child, {"age": frozenset({"old"})})
    assert ("age", "child") not in ruled_out(allowed)
    assert ("age", "old") in ruled_out(allowed)


def test_wishes_as_numbers():
    moves = text_task.moved({"age": 1, "smile": -1})
    named = dict(zip(ORDERED_GROUPS, moves.tolist(), strict=True))
    assert (named.pop("age"), named.pop("smile"), set(named.values())) == (1, -1, {0})


def test_a_caption_is_true_of_its_own_face_and_of_those_it_fits(task):
    faces = torch.arange(6)
    picked = [[c for c in task.claims if c.face == i] for i in faces.tolist()]
    own, composed = [each[0] for each in picked], [each[1] for each in picked]
    assert task._truth(own, faces).equal(torch.eye(6, dtype=torch.bool))
    truth = task._truth(composed, faces)
    for caption, claim in enumerate(composed):
        for i in range(6):
            clash = any(
                label and not agrees
                for label, agrees in zip(
                    task.labels[i].tolist(), claim.agrees.tolist(), strict=True
                )
            )
            assert truth[caption, i] == (not clash or i == caption)


def test_padded_captions_keep_their_states(task):
    states, mask = task.captions.take([0, 1, 2])
    for row, i in enumerate([0, 1, 2]):
        alone, _ = TinyBackbone()([task.texts[i]])
        torch.testing.assert_close(states[row, mask[row]], alone[0], atol=2e-3, rtol=0)
    assert not states[~mask].any()


def test_rank_is_cross_entropy_on_what_is_true():
    similarity = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    truth = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    soft = similarity.softmax(dim=1)
    first = -(soft[0, 0].log() + soft[0, 2].log()) / 2
    expected = (first - soft[1, 1].log()) / 2
    torch.testing.assert_close(text_task._rank(similarity, truth), expected)


# --- the task of codes ---------------------------------------------------------------------------


class Judge:
    """Stands for the attribute model: a smile shows in the red of a picture, a hat in the blue."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.stop_after, self.seen = stop_after, 0

    def __call__(self, image):
        if self.seen == self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(image)
        logits = torch.zeros(len(image), len(COLUMNS))
        for group, channel in (("smile", 0), ("hat", 2)):
            logits[:, attributes.SPANS[group].start] = 4 * image[:, channel].mean(dim=(1, 2))
        return logits


def sampler(judge=None, reader=None, seed=0) -> codes_task.Sampler:
    return codes_task.Sampler(TinyGenerator(), judge or Judge(), reader, seed=seed)


@pytest.mark.parametrize("moved", [False, True])
def test_stopped_sampling_goes_on_and_gives_the_same_file(tmp_path, monkeypatch, moved):
    monkeypatch.setattr(codes_task, "CHUNK", 4)
    reader = code_reader() if moved else None
    whole, broken = tmp_path / "whole" / "s.safetensors", tmp_path / "b.safetensors"
    sampler(reader=reader).draw(12, whole)
    with pytest.raises(KeyboardInterrupt):
        sampler(Judge(stop_after=6), reader).draw(12, broken)
    assert len(load_file(broken)["ws"]) == 4  # whole chunks only
    rest = Judge()
    sampler(rest, reader).draw(12, broken)
    assert rest.seen == 8
    expected, found = load_file(whole), load_file(broken)
    assert {name: tuple(t.shape) for name, t in found.items()} == {
        "ws": (12, 16, 8),
        "log_p": (12, len(COLUMNS)),
    }
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert len(found["ws"].unique(dim=0)) == 12  # no chunk is another again
    assert not list(tmp_path.rglob("*.tmp"))
    again = Judge()
    sampler(again, reader).draw(12, broken)
    assert again.seen == 0
    other = tmp_path / "other.safetensors"
    sampler(reader=reader, seed=50).draw(4, other)
    assert not torch.equal(load_file(other)["ws"], found["ws"][:4])


def test_first_codes_are_faces_and_mixtures_of_two():
    ws = sampler().codes(60, seed=0)
    kinds = [len({tuple(slot) for slot in code.tolist()}) for code in ws]
    assert set(kinds) == {1, 2}
    assert 15 < kinds.count(1) < 50
    assert torch.equal(sampler().codes(60, seed=0), ws)
    distance = (ws - TinyGenerator().w_avg).norm(dim=2)
    assert (distance > 0.1).all()  # no slot is the mean's


def test_later_codes_meet_requests():
    reader = code_reader()
    plain, moved = sampler().codes(6, seed=3), sampler(reader=reader).codes(6, seed=3)
    assert plain.shape == moved.shape
    assert not moved.requires_grad
    assert ((moved - plain).flatten(1).norm(dim=1) > 0.1).all()


def judged(count=64) -> dict[str, torch.Tensor]:
    """Codes of the wide tiny generator, and what is planted in them."""
    generator = TinyGenerator(width=512)
    w = generator.mapping(torch.randn(count, 512, generator=torch.Generator().manual_seed(1)))
    logits = torch.zeros(count, len(COLUMNS))
    logits[:, attributes.SPANS["smile"].start] = 4 * (w - generator.w_avg)[:, 0]
    logits[:, attributes.SPANS["hat"].start] = 4 * (w - generator.w_avg)[:, 1]
    log_p = attributes.log_softmax(logits).half()
    return {"ws": w[:, None].repeat(1, 16, 1).half(), "log_p": log_p}


TINY_CODES = CodeOptions(batch_size=32, average=1500)


def make_codes(generator=None, samples=None, seed=0) -> codes_task.CodeTask:
    generator = generator or TinyGenerator(width=512)
    return codes_task.CodeTask(
        generator, some_faces(24), samples or judged(), TINY_CODES, seed=seed
    )


@pytest.fixture(scope="module")
def codes_on_tiny():
    return make_codes()


def test_code_training_lowers_its_loss(tmp_path, codes_on_tiny):
    task = copy.deepcopy(codes_on_tiny)
    before = losses(task)
    settings = plan(tmp_path, task="codes", steps=12, lr=3e-3, save_every=1000, ema=0.5)
    figures = run(task, settings, folder=tmp_path / "run")
    after = losses(task)
    assert before.keys() == {"cross-entropy"}
    assert after["cross-entropy"] < before["cross-entropy"] - 0.01
    assert (figures["n, people"], figures["n, judge"]) == (3, 8)
    assert set(figures) >= {f"{group}, judge" for group in attributes.GROUPS}
    tensors, metadata = exported(settings)
    assert {name for name, t in tensors.items() if t.dtype == torch.float32} == {"w_avg"}
    assert (metadata["architecture"], metadata["for"]) == ("codes", "mobilestylegan-ffhq")
    again = native.load_code_reader(Path(settings.out))
    ws = judged()["ws"].float()
    torch.testing.assert_close(again(ws), task.model(ws), atol=0.05, rtol=0.01)


def test_codes_are_never_trained_on_held_out_ones():
    samples = judged()
    samples["ws"][7::8] = math.nan
    task = make_codes(Poisoned(width=512), samples)
    assert task.faces["ws"][task.faces["held"]].isnan().all()
    assert all(t.isfinite().all() for t in task.model.state_dict().values())
    for step in range(4):
        assert task.step(step)["cross-entropy"].isfinite()
    figures = task.evaluate()
    assert math.isnan(figures["cross-entropy, people"])  # the poison works
    assert math.isnan(figures["cross-entropy, judge"])


def test_a_batch_of_codes_depends_on_seed_and_step_alone(codes_on_tiny, monkeypatch):
    first, second, again = (codes_on_tiny.step(s)["cross-entropy"] for s in (3, 4, 3))
    assert first == again
    assert first != second
    monkeypatch.setattr(codes_on_tiny, "seed", 1)
    assert codes_on_tiny.step(3)["cross-entropy"] != first


def test_probes_point_to_where_people_see_it(codes_on_tiny):
    """In faces of training, and their levels lie half a deviation outside the means."""
    task = codes_on_tiny
    train = ~task.faces["held"]
    u = (task.faces["ws"][train, 0].float() - task.model.w_avg) @ task.model.whiten.T
    labels, hat = task.faces["wanted"][train], COLUMNS.index(("smile", "none"))
    scores = u @ task.model.probes.T
    assert task.model.probes.norm(dim=1)[hat].item() == pytest.approx(1, abs=1e-4)
    for side, members in enumerate((labels[:, hat] == 0, labels[:, hat] == 1)):
        expected = scores[members, hat].mean() + (0.5 if side else -0.5)
        torch.testing.assert_close(task.model.levels[hat, side], expected, atol=1e-4, rtol=1e-4)
    assert task.model.levels[hat, 1] > task.model.levels[hat, 0] + 1


# --- the task of pictures ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trunk() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = AttributeModel()
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
    return {n: t for n, t in model.state_dict().items() if not n.startswith("head")}


@pytest.fixture
def pictures_of(trunk):
    """The task on 40 faces, 5 of them held out, and pictures of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 256, 256), dtype=np.uint8)
    options = AttributeOptions(batch_size=4, frozen=16)
    return AttributeTask(some_faces(40), pixels, trunk, options, seed=0)


class Blind(nn.Module):
    """An attribute model that sees nothing."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(len(COLUMNS)))

    def forward(self, image):
        return self.nothing.expand(len(image), -1)


@pytest.fixture
def light(pictures_of):
    """The same with a model that sees nothing."""
    pictures_of.model = Blind()
    return pictures_of


def test_attribute_training_lowers_its_loss_and_leaves_frozen_blocks(pictures_of):
    task = pictures_of
    kept = {n: t.clone() for n, t in task.model.named_parameters() if "blocks" in n}
    groups = task.groups(3e-5)
    assert [group["lr"] for group in groups] == pytest.approx([3e-5, 1.5e-4])
    optimizer = torch.optim.Adam(groups)
    first = last = 0.0
    for _ in range(5):
        loss = task.step(0)["cross-entropy"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    assert last < first - 0.01
    assert all(torch.equal(t, kept[n]) for n, t in task.model.named_parameters() if n in kept)
    task.model.eval()
    figures = task.evaluate()
    assert figures["n"] == 5
    assert set(figures) == {"n", "mean of attributes", *attributes.GROUPS}
    tensors, metadata = task.export()
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert metadata["architecture"] == "attributes-lite0"
    assert [tuple(pair) for pair in json.loads(metadata["columns"])] == COLUMNS


def test_pictures_of_an_epoch_are_all_of_training_once(light, monkeypatch):
    asked = []
    whole = light._images
    monkeypatch.setattr(light, "_images", lambda rows: asked.extend(rows.tolist()) or whole(rows))
    steps = len(light.train) // 4
    for step in range(2 * steps):
        light.step(step)
    first, second = asked[: 4 * steps], asked[4 * steps :]
    assert len(set(first)) == len(set(second)) == 4 * steps
    assert first != second
    assert not set(asked) & set(light.held.tolist())
    assert [light.indices[row].item() % 8 for row in light.held] == [7] * 5


def test_a_batch_of_pictures_depends_on_seed_and_step_alone(light, monkeypatch):
    seen = []
    light.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for step in (2, 3, 2):
        light.step(step)
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])
    monkeypatch.setattr(light, "seed", 1)
    light.step(2)
    assert not torch.equal(seen[0], seen[3])
    assert seen[0].shape == (4, 3, 224, 224)


def test_the_loss_of_a_model_that_sees_nothing(light):
    """Of each group the log of its number of values, a mean over groups."""
    even = [math.log(len(values)) for values in attributes.GROUPS.values()]
    loss = light.step(0)["cross-entropy"].item()
    assert loss == pytest.approx(sum(even) / len(even), rel=1e-5)


def test_left_and_right_change_places_in_a_mirror():
    turned = mirrored()
    assert [turned[i] for i in turned] == list(range(len(COLUMNS)))
    changed = {COLUMNS[i]: COLUMNS[j] for i, j in enumerate(turned) if i != j}
    assert changed == {("pose", "left"): ("pose", "right"), ("pose", "right"): ("pose", "left")}


def test_a_flipped_picture_gets_flipped_labels(light):
    ramp = torch.linspace(-0.5, 0.5, 224).expand(12, 3, 224, 224)
    left = torch.zeros(12, len(COLUMNS))
    left[:, COLUMNS.index(("pose", "left"))] = 1
    image, labels = light._augment(ramp, left, torch.Generator().manual_seed(0))
    assert image.shape == ramp.shape
    flipped = image[..., :40].mean(dim=(1, 2, 3)) > image[..., -40:].mean(dim=(1, 2, 3))
    assert 0 < flipped.sum() < 12
    assert torch.equal(labels[:, COLUMNS.index(("pose", "right"))], flipped.float())
    assert torch.equal(labels[:, COLUMNS.index(("pose", "left"))], (~flipped).float())


def test_faces_are_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "COUNT", 8)
    monkeypatch.setattr(pictures, "SIZE", 4)
    generator, drawn = TinyGenerator(width=512), []
    whole = generator.synthesis
    generator.synthesis = lambda ws: drawn.append(ws) or whole(ws)
    cache = tmp_path / "new" / "faces.npy"
    first = np.array(pictures.draw_faces(generator, [1, 3], cache))
    assert len(drawn) == 2
    pixels = pictures.draw_faces(generator, [1, 2, 3], cache)
    assert len(drawn) == 3
    assert pixels.shape == (8, 3, 4, 4)
    assert [bool(row.any()) for row in pixels] == [i in (1, 2, 3) for i in range(8)]
    assert (pixels[[1, 3]] == first[[1, 3]]).all()
    expected = nn.functional.interpolate(
        whole(pictures.codes_of(generator, [2])), (4, 4), mode="area"
    )
    assert np.abs(pixels[2] - (expected[0].numpy() + 1) * 127.5).max() < 0.51
    back = pictures.from_bytes(pictures.to_bytes(expected))
    torch.testing.assert_close(back, expected, atol=1 / 255, rtol=0)


def test_codes_of_faces_are_truncated_as_their_card_says():
    generator = TinyGenerator(width=512)
    ws = pictures.codes_of(generator, [4, 2])
    w = generator.mapping(dataset.noise([4, 2]))
    assert ws.shape == (2, 16, 512)
    torch.testing.assert_close(ws[:, 7] - generator.w_avg, 0.8 * (w - generator.w_avg))


# --- the preview task ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def preview_task(generator):
    torch.manual_seed(0)
    options = PreviewOptions(batch_size=2, round=4, reuse=2, held_out=2)
    task = PreviewTask.__new__(PreviewTask)
    drawing = copy.deepcopy(generator)
    # The starting least squares draw 24 pictures; two are enough to start a test from.
    whole = PreviewTask._linear_image
    PreviewTask._linear_image = lambda self: whole(self, n=2)
    try:
        task.__init__(drawing, options, seed=0)
    finally:
        PreviewTask._linear_image = whole
    return task


@pytest.mark.slow
def test_preview_training_lowers_its_loss_and_leaves_the_generator(preview_task, generator):
    task = preview_task
    kept = {n: t.clone() for n, t in task.generator.synthesizer.state_dict().items()}
    optimizer = torch.optim.Adam(task.groups(0.01))
    first = last = 0.0
    for _ in range(20):
        loss = sum(task.step(0).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first, last = first or loss.item(), loss.item()
    assert last < 0.9 * first
    for name, tensor in task.generator.synthesizer.state_dict().items():
        assert torch.equal(tensor, kept[name])
        assert not task.generator.synthesizer.get_parameter(name).requires_grad
    tensors, metadata = task.export()
    assert set(tensors) == {"w_avg"} | {
        f"previewer.{n}" for n in task.generator.previewer.state_dict()
    }
    assert metadata["architecture"] == "mobilestylegan"


def test_defaults_of_settings_are_documented():
    """Each field has a comment with unit and meaning."""
    for cls in (Settings, TextOptions, PreviewOptions, CodeOptions, AttributeOptions):
        source = inspect.getsource(cls)
        for entry in dataclasses.fields(cls):
            line = next(x for x in source.splitlines() if x.strip().startswith(f"{entry.name}:"))
            assert "#" in line, line
