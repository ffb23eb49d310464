"""The TediGAN baseline: its words, its codes, its losses and a short training on tiny parts."""

import dataclasses
import inspect
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import TinyGenerator

from tedi.checkpoints.tedigan import load_tedigan
from tedi.encoders.tedigan import END, TediGANText, split_words
from tedi.errors import TediError, UsageError
from tedi.training import dataset
from tedi.training.loop import Settings, run
from tedi.training.tedigan import TediGANOptions, TediGANTask, rank_pairs

ROOT = Path(__file__).parents[1]
WORDS = [END, "a", "bangs", "smiling", "with", "woman"]


def encoder():
    torch.manual_seed(0)
    made = TediGANText(WORDS, slots=16, channels=8, embedding=6, hidden=10)
    made.w_avg.copy_(torch.linspace(-1, 1, 8))
    return made.eval().requires_grad_(False)


def some_faces(count):
    with (ROOT / "data" / "tedifaces" / "faces.jsonl").open(encoding="utf-8") as lines:
        faces = [json.loads(next(lines)) for _ in range(count)]
    return [face for face in faces if not face["broken"]]


class Poisoned(TinyGenerator):
    """Gives held-out faces codes that are no numbers."""

    def mapping(self, z):
        w = super().mapping(z)
        held = [i for i in range(64) if dataset.is_held_out(i)]
        bad = (z[:, None] == dataset.noise(held)).all(dim=2).any(dim=1)
        return torch.where(bad[:, None], math.nan, w)


OPTIONS = TediGANOptions(batch_size=12, composed=2)


@pytest.fixture(scope="module")
def make():
    """Makes the task on 40 faces, 5 of them held out."""

    def make(generator=None, **changes):
        generator = generator or TinyGenerator(width=512, slots=2)
        options = dataclasses.replace(OPTIONS, **changes)
        return TediGANTask(generator, some_faces(40), options, seed=0)

    return make


@pytest.fixture(scope="module")
def task(make):
    return make()


# --- the encoder ---------------------------------------------------------------------------------


def test_prompts_become_codes():
    model = encoder()
    ws = model(["a smiling woman", "a woman with bangs"])
    assert ws.shape == (2, 16, 8)
    assert ws.isfinite().all()
    assert (ws[0] - ws[1]).abs().max() > 1e-4
    for row, prompt in enumerate(["a smiling woman", "a woman with bangs"]):
        torch.testing.assert_close(model([prompt])[0], ws[row])


def test_codes_are_offsets_from_the_mean():
    model = encoder()
    model.head.weight.zero_()
    assert torch.equal(model(["a woman"]), model.w_avg.expand(1, 16, -1))
    model.head.bias.copy_(torch.arange(128.0))
    offsets = model(["a woman"])[0] - model.w_avg
    torch.testing.assert_close(offsets, torch.arange(128.0).view(16, 8))


def test_words_are_parted_as_attngan_does():
    assert split_words("A woman's CAFÉ, x2\u2014ok \u65e5") == [
        "a",
        "woman",
        "s",
        "caf",
        "x2",
        "ok",
    ]
    model = encoder()
    assert model.tokens("Woman, with a HAT; bangs!") == [5, 4, 1, 2]
    assert torch.equal(model(["Smiling WOMAN!"]), model(["  smiling   woman"]))


def test_unknown_words_do_not_count():
    model = encoder()
    assert torch.equal(model(["a gorgeous woman"]), model(["a woman"]))
    alone, nothing = model(["zzz"]), model(["qqq zzz"])
    assert alone.isfinite().all()
    assert torch.equal(alone, nothing)
    assert model.tokens("zzz") == [0]


def test_words_past_the_twentieth_are_cut():
    model = encoder()
    base = "a woman " * 10
    assert torch.equal(model([base + "smiling with bangs"]), model([base]))
    assert not torch.equal(model(["smiling " + base]), model([base]))
    with pytest.raises(UsageError, match="prompt: expected words"):
        model(["..."])


# --- its file ------------------------------------------------------------------------------------


def saved(path, model, **metadata):
    save_file(dict(model.state_dict()), path, metadata={"words": json.dumps(WORDS)} | metadata)
    return path


def test_a_file_gives_the_encoder_back(tmp_path):
    model = encoder()
    found = load_tedigan(saved(tmp_path / "a.safetensors", model))
    assert torch.equal(found(["a smiling woman"]), model(["a smiling woman"]))
    assert not found.training
    assert not any(part.requires_grad for part in found.parameters())


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"w_avg": torch.zeros(8)}, path, metadata={"words": "[]"})
    with pytest.raises(TediError, match=r"not a TediGAN text encoder; 'head\.bias' is missing"):
        load_tedigan(path)
    saved(path, encoder(), words=json.dumps(WORDS[:-1]))
    with pytest.raises(TediError, match=r"does not fit TediGANText.*embedding"):
        load_tedigan(path)


# --- training ------------------------------------------------------------------------------------


def test_training_lowers_the_error_and_ships_a_file(make, tmp_path):
    task = make()
    faces = (~task.held).nonzero().flatten()[:12]

    def error():
        task.model.eval()
        with torch.no_grad():
            ws = task.model.regress([task.tokens[i * 3] for i in faces.tolist()])
        return task.errors(ws, faces).mean().item()

    before = error()
    out = tmp_path / "out.safetensors"
    settings = Settings(task="tedigan", steps=60, out=str(out), lr=5e-3, warmup=2, ema=0.5)
    figures = run(task, settings, folder=tmp_path / "run")
    assert error() < 0.9 * before
    assert figures["held-out faces"] == 5
    assert {"error, slot 0", "error, slot 1", "error, own captions"} < figures.keys()
    assert all(math.isfinite(value) for value in figures.values())
    with safe_open(out, framework="pt") as file:
        assert {file.get_tensor(n).dtype for n in file.keys()} == {torch.float16}  # noqa: SIM118
        assert file.metadata()["recipe"] == "train/tedigan.py"
    model = load_tedigan(out)
    assert model(["an unheard-of pompadour", "zzz"]).shape == (2, 2, 512)


def test_held_out_faces_are_never_trained_on(make):
    """Their codes are no numbers, and their captions have words that nobody else has."""
    task = make(Poisoned(width=512, slots=2))
    each = OPTIONS.composed + 1
    for i in task.held.nonzero().flatten().tolist():
        assert task.codes[i].isnan().all()
        task.tokens[i * each : (i + 1) * each] = [[10**9]] * each  # in no vocabulary
    assert all(value.isfinite() for step in range(5) for value in task.step(step).values())
    with pytest.raises((IndexError, RuntimeError)):  # the poison works: this does touch them
        task.evaluate()


def test_the_vocabulary_is_of_training_captions(make, task):
    assert task.model.words[0] == END
    assert task.model.words[1:] == sorted(set(task.model.words[1:]))
    faces = some_faces(40)
    seen = {
        w for f in faces if not dataset.is_held_out(f["index"]) for w in split_words(f["caption"])
    }
    unseen = {
        w for f in faces if dataset.is_held_out(f["index"]) for w in split_words(f["caption"])
    }
    every = make(least=1)
    assert seen < set(every.model.words)
    assert not (unseen - seen).issubset(every.model.words)
    assert len(task.model.words) < len(every.model.words)


def test_targets_are_the_codes_of_the_pictures(task):
    """Truncated as the pictures of tedifaces are."""
    generator = TinyGenerator(width=512, slots=2)
    w = generator.mapping(dataset.noise([task_face["index"] for task_face in some_faces(40)]))
    torch.testing.assert_close(task.codes, generator.w_avg.lerp(w, dataset.PSI))


def test_a_batch_depends_on_seed_and_step_alone(task):
    task.model.eval()
    first, second, again = task.step(3), task.step(4), task.step(3)
    assert first["code"] == again["code"]
    assert first["code"] != second["code"]


def test_a_long_caption_loses_words_but_not_their_order(task, monkeypatch):
    monkeypatch.setattr(task, "tokens", [list(range(50))] * len(task.tokens))
    rows = task._take(torch.arange(4), 1.0, torch.Generator().manual_seed(0))
    assert all(len(row) == 20 and row == sorted(set(row)) for row in rows)
    assert rows[0] != rows[1]


def test_cosines_and_errors_of_known_codes(task):
    faces = torch.arange(3)
    right = task.codes[faces][:, None].expand(-1, 2, -1)
    mirrored = 2 * task.model.w_avg - right
    assert task.errors(right, faces).max() == 0
    assert task.errors(right, faces).shape == (3, 2)
    torch.testing.assert_close(task.cosines(right, faces).diagonal(), torch.ones(3))
    torch.testing.assert_close(task.cosines(mirrored, faces).diagonal(), -torch.ones(3))


def test_ranking_in_closed_form():
    assert rank_pairs(torch.eye(4), margin=0.5) == 0
    assert rank_pairs(torch.zeros(4, 4), margin=0.5).item() == pytest.approx(
        1.0
    )  # twice the margin
    cosines = torch.tensor([[0.5, 0.4], [0.1, 0.9]])
    # Texts: .2 - .5 + .4 = .1 and 0 (.2 - .9 + .1); faces: 0 (.2 - .5 + .1) and 0 (.2 - .9 + .4).
    assert rank_pairs(cosines, margin=0.2).item() == pytest.approx(0.1 / 2)
    asymmetric = torch.tensor([[0.5, 0.0], [0.6, 0.9]])
    # Only the first face: .2 - .5 + .6.
    assert rank_pairs(asymmetric, margin=0.2).item() == pytest.approx(0.3 / 2)


def test_settings_say_what_they_are():
    source = inspect.getsource(TediGANOptions)
    for field in dataclasses.fields(TediGANOptions):
        line = next(x for x in source.splitlines() if x.strip().startswith(f"{field.name}:"))
        assert "#" in line, line
