"""The training loop, settings, the text task on a tiny generator, and the tedifaces loader."""

import copy
import dataclasses
import importlib.util
import inspect
import json
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tiny import TinyBackbone, TinyGenerator
from torch import nn

from tedi import config
from tedi.errors import TediError, UsageError
from tedi.training import TASKS, dataset
from tedi.training import text as text_task
from tedi.training.loop import Settings, rate, run
from tedi.training.preview import PreviewOptions, PreviewTask
from tedi.training.text import TextOptions, TextTask

ROOT = Path(__file__).parents[1]


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
        (None, "x.yaml: expected settings by name, got None"),
        ([1], "x.yaml: expected settings by name, got [1]"),
    ],
    ids=str,
)
def test_settings_that_are_refused(values, says):
    with pytest.raises(UsageError) as caught:
        config.build(Example, values, where="x.yaml")
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
    assert name in (ROOT / "train" / f"{task}.py").read_text()


@pytest.mark.parametrize(("task", "name"), [("text", "text"), ("preview", "preview-fine")])
def test_shipped_weights_were_made_by_their_config(script, task, name):
    """The recipe in a file's metadata is true: its settings are those of the config."""
    settings = script.read(ROOT / "configs" / f"{name}.yaml", [])
    _, metadata = exported(dataclasses.replace(settings, out=str(ROOT / settings.out)))
    assert metadata["recipe"].startswith(f"train/{task}.py")
    used = config.build(Settings, json.loads(metadata["settings"]), where="metadata")
    kind = {"text": TextOptions, "preview": PreviewOptions}[task]
    mine, theirs = (config.build(kind, s.options, where="options") for s in (used, settings))
    assert mine == theirs
    assert dataclasses.replace(used, options={}) == dataclasses.replace(settings, options={})
    assert all(math.isfinite(value) for value in json.loads(metadata["figures"]).values())


def test_single_settings_are_changed(script, tmp_path, capsys):
    path = tmp_path / "text.yaml"
    path.write_text("task: text\nsteps: 5\nout: x\noptions:\n  ridge: 2.0\n")
    changes = ["--set", "lr=0.25", "--set", "options.batch_size=7", "--set", "steps=9"]
    settings = script.read(path, changes[1::2])
    assert (settings.lr, settings.steps) == (0.25, 9)
    assert settings.options == {"ridge": 2.0, "batch_size": 7}
    assert script.main([str(path), *changes, "--dry-run"]) == 0
    assert "lr: 0.25" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "changes", "status", "says"),
    [
        ("task: text\nsteps: 5\nout: x\nlrr: 1", [], 2, "unknown setting 'lrr'; did you mean 'lr'"),
        ("task: txt\nsteps: 5\nout: x", [], 2, "unknown training task 'txt'; did you mean 'text'"),
        ("task: text\nsteps: 5\nout: x", ["options.rigde=1"], 2, "did you mean 'ridge'"),
        ("task: text\nsteps: 5\nout: x", ["lr"], 2, "--set: expected NAME=VALUE"),
        ("task: text\nsteps: 5\nout: x", ["optons.ridge=1"], 2, "--set: expected NAME=VALUE"),
        ("", [], 2, "setting 'task' is missing"),
        ("a: b: c", [], 1, "cannot be read as YAML"),
        (None, [], 1, "cannot be read as YAML"),
    ],
    ids=["key", "task", "option", "no value", "no options", "empty", "no yaml", "no file"],
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


OPTIONS = TextOptions(batch_size=24, composed=2, samples=2000, ridge=10.0)


@pytest.fixture(scope="module")
def make():
    """Makes the task on 56 faces, 7 of them held out."""

    def make(generator=None, seed=0, options=OPTIONS):
        generator = generator or TinyGenerator(width=512)
        return TextTask(generator, TinyBackbone(), some_faces(56), options, seed=seed)

    return make


@pytest.fixture(scope="module")
def task(make) -> TextTask:
    return make()


def losses(task, steps=4) -> dict[str, float]:
    """Mean losses of some batches, without dropout."""
    task.model.eval()
    with torch.no_grad():
        rows = [task.step(1000 + s) for s in range(steps)]
    return {name: sum(row[name].item() for row in rows) / steps for name in rows[0]}


def test_text_training_lowers_both_losses(make, tmp_path):
    task = make()
    before = losses(task)
    settings = plan(tmp_path, task="text", steps=20, lr=3e-3, save_every=1000, ema=0.5)
    figures = run(task, settings, folder=tmp_path / "run")
    after = losses(task)
    assert before.keys() == {"similarity", "ranking"}
    assert all(math.isfinite(value) for value in [*before.values(), *after.values()])
    assert after["similarity"] < before["similarity"] - 0.05
    assert after["ranking"] < before["ranking"] - 0.05
    assert all(math.isfinite(value) for value in figures.values()), figures
    assert figures["held-out faces"] == 7
    tensors, metadata = exported(settings)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert len(json.loads(metadata["concepts"])) == len(tensors["concepts"])
    assert metadata["backbone"] == "tiny"


def test_held_out_faces_are_never_trained_on(make):
    """Their codes and caption states are no numbers; a loss that touched them would be none."""
    task = make(Poisoned(width=512))
    each = OPTIONS.composed + 1
    held = task.held.nonzero().flatten().tolist()
    assert [task.faces[i]["index"] for i in held] == list(range(7, 56, 8))
    assert task.codes[held].isnan().all()
    for i in held:
        for row in range(i * each, (i + 1) * each):
            task.captions.states[row] = torch.full_like(task.captions.states[row], math.nan)
    assert task.model.concepts.isfinite().all()
    for step in range(10):
        values = task.step(step)
        assert all(value.isfinite() for value in values.values())
    with pytest.raises(torch.linalg.LinAlgError):  # the poison works: this does touch them
        task.evaluate()


def test_a_batch_depends_on_seed_and_step_alone(task, monkeypatch):
    task.model.eval()
    first, second, again = task.step(3), task.step(4), task.step(3)
    assert first["similarity"] == again["similarity"]
    assert first["ranking"] != second["ranking"]
    monkeypatch.setattr(task, "seed", 1)
    assert task.step(3)["ranking"] != first["ranking"]


def test_whitening_makes_codes_standard_normal(task):
    z = torch.randn(6000, 512, generator=torch.Generator().manual_seed(5))
    u = (TinyGenerator(width=512).mapping(z) - task.model.w_avg) @ task.model.whiten.T
    assert u.mean(dim=0).norm() < 1
    # Measured on 2,000 codes of 512 numbers, a variance is off by the factor 1 / (1 - 512/2000).
    assert u.var(dim=0).mean().item() == pytest.approx(1 / (1 - 512 / 2000), rel=0.05)
    eye = task.model.whiten @ task.model.color
    torch.testing.assert_close(eye, torch.eye(512), atol=1e-4, rtol=0)


def test_labels_and_denials():
    face = some_faces(1)[0] | {"smile": "broad", "beard": "none", "hat": True}
    truth = dict(zip(text_task.VALUES, text_task.label_vector(face).tolist(), strict=True))
    assert truth["smile", "broad"] == 1
    assert truth["smile", "none"] == 0
    assert truth["hat", True] == 1
    says = {"smile": frozenset({"slight", "broad"})}
    ruled = dict(zip(text_task.VALUES, text_task.denied(says).tolist(), strict=True))
    assert {value for value, out in ruled.items() if out} == {("smile", "none")}


def test_a_caption_is_true_of_its_own_face_and_of_what_it_does_not_deny(task):
    faces = torch.arange(10)
    own = [int(i) * (OPTIONS.composed + 1) for i in faces]
    assert task._truth(own, faces).equal(torch.eye(10, dtype=torch.bool))
    composed = [row + 1 for row in own]
    truth = task._truth(composed, faces)
    assert truth.diagonal().all()
    for caption, row in enumerate(composed):
        for i in range(10):
            clash = (task.denied[row] * task.labels[i]).any()
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


def better(counts: list[int], n: int) -> torch.Tensor:
    """A similarity (n, n) in whose row i exactly counts[i] others beat the own one."""
    similarity = torch.zeros(n, n)
    for i, count in enumerate(counts):
        others = [j for j in range(n) if j != i]
        similarity[i, others] = -1
        similarity[i, others[:count]] = 1
    return similarity


def test_r_precision_at_the_ends_and_in_closed_form():
    n = 150
    assert text_task._r_precision(better([0] * n, n)) == 1
    assert text_task._r_precision(better([n - 1] * n, n)) == 0
    # One better code: it is among the 99 of 149 with probability 99 / 149.
    assert text_task._r_precision(better([1] * n, n)) == pytest.approx(50 / 149)
    # Two: neither is, (50 / 149) (49 / 148).
    assert text_task._r_precision(better([2] * n, n)) == pytest.approx(50 / 149 * 49 / 148)
    assert text_task._r_precision(better([0, 149] * 75, n)) == pytest.approx(0.5)


def test_r_precision_is_what_drawing_gives():
    n, among, draws = 60, 10, 4000
    torch.manual_seed(0)
    similarity = torch.randn(n, n) + 1.5 * torch.eye(n)
    wins = 0
    for _ in range(draws):
        i = int(torch.randint(n, ()))
        others = torch.randperm(n)
        others = others[others != i][: among - 1]
        wins += int((similarity[i, others] <= similarity[i, i]).all())
    expected = text_task._r_precision(similarity, among=among)
    assert wins / draws == pytest.approx(expected, abs=4 * (0.25 / draws) ** 0.5)


def test_r_precision_of_few_faces_takes_them_all():
    assert text_task._r_precision(better([0, 0, 1, 3], 4)) == 0.5


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
    for cls in (Settings, TextOptions, PreviewOptions):
        source = inspect.getsource(cls)
        for entry in dataclasses.fields(cls):
            line = next(x for x in source.splitlines() if x.strip().startswith(f"{entry.name}:"))
            assert "#" in line, line
