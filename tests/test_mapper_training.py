"""Mappers trained for generators of one's own, by an attribute model or by a CLIP."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_foreign import save
from test_foreign import tiny as stylegan2
from test_language import clip, processor, save_tokenizer
from test_mapper import reading
from test_transform import network as stylegan3

from tedi import zoo
from tedi.checkpoints import bundle
from tedi.cli import run as tedi
from tedi.editing.mapper import Mapped, method_of
from tedi.errors import TediError, UsageError
from tedi.images import read_provenance
from tedi.language import load_similarity
from tedi.pipeline import load
from tedi.training.loop import Settings, run
from tedi.training.mapper import MapperOptions, MapperTask, Unlikely, make_task

ROOT = Path(__file__).parents[1]
WIDTH = 64  # of W


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A StyleGAN2 of random weights, 64 px."""
    G = stylegan2(width=WIDTH, z_width=WIDTH)
    G.mapping.w_avg.normal_(generator=torch.Generator().manual_seed(3))
    return save(tmp_path_factory.mktemp("own") / "own.safetensors", G)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """Folder of a CLIP of random weights."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    clip().eval().save_pretrained(folder)
    save_tokenizer(folder, model_input_names=["input_ids", "attention_mask"])
    processor("clip").save_pretrained(folder)
    return folder


def plan(out, **options):
    told = {"prompt": "a man", "held_out": 4, "code": 0.8, "identity": 0.0}
    return Settings(
        task="mapper",
        steps=4,
        out=str(out),
        lr=2.0,
        warmup=1,
        ema=0.1,
        options=told | {name: str(v) if isinstance(v, Path) else v for name, v in options.items()},
    )


@pytest.fixture(scope="module")
def trained(own, eyes, tmp_path_factory):
    """A mapper that a CLIP has taught for the generator, and its figures."""
    folder = tmp_path_factory.mktemp("trained")
    settings = plan(folder / "man.safetensors", generator=own, judge=eyes, psi=1.0, code=0.0)
    return Path(settings.out), run(make_task(settings), settings, folder=folder / "run")


def test_a_clip_teaches_a_mapper_for_a_generator_of_another_w(trained, own):
    file, figures = trained
    assert figures["text"] < figures["text before"] - 1e-4
    assert "identity" not in figures
    part = bundle.read(file).parts["mapper"]
    G = bundle.open_generator(own)
    assert (part.config["width"], part.config["medium"], part.config["fine"]) == (WIDTH, 4, 8)
    header = zoo.metadata(file)
    assert (header["for"], "licence" in header) == ("stylegan2", False)
    assert json.loads(header["options"])["generator"] == str(own)
    way = Mapped(file, G)
    assert (way.knows, way.made_for) == ("a man", "stylegan2")


def test_the_loss_of_a_clip_is_one_minus_its_cosine(own, eyes):
    task = make_task(plan("x", generator=own, judge=eyes))
    image = task._draw(task._codes(range(2)))
    expected = 1 - load_similarity(eyes, name="clip")(image, ["a man"])
    torch.testing.assert_close(task.loss(image, image), expected)


def test_faces_of_that_generator_are_edited_by_the_file(trained, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, _ = trained
    more = ("--generator", str(own), "--mapper", str(file))
    assert tedi(["edit", "7", *more, "--out", "man.png", "--save-code", "man.safetensors"]) == 0
    [step] = read_provenance("man.png")["edits"]
    assert (step["text"], step["method"]) == ("man", method_of(file))
    model = load(generator=own, device="cpu")
    before = model.begun("", 7)
    [moved] = model.moved(before, "man", strength=1.0, method=method_of(file))
    way = Mapped(file, model.generator)
    assert torch.equal(moved, way.network(before)[0])
    assert (moved - before).norm() > 0.1


@pytest.mark.parametrize("far", [0.0, 0.03, 0.1])
def test_a_mapper_of_another_w_is_refused(trained, own, far):
    file, _ = trained
    G = bundle.open_generator(own)
    G.mapping.w_avg += (
        far
        * G.w_avg.norm()
        * torch.nn.functional.normalize(
            torch.randn(WIDTH, generator=torch.Generator().manual_seed(0)), dim=0
        )
    )
    if far < 0.05:
        assert Mapped(file, G).network.width == WIDTH
        return
    with pytest.raises(UsageError) as caught:
        Mapped(file, G)
    says = "its mapper is of the W of stylegan2; this stylegan2 has another"
    assert str(caught.value) == f"{file}: {says}"


def test_a_mean_of_w_that_is_no_code_is_refused(trained, own, tmp_path):
    part = bundle.read(trained[0]).parts["mapper"]
    part.facts["w_avg"] = ["a"]
    bundle.save(tmp_path / "m.safetensors", {"mapper": part})
    with pytest.raises(TediError, match=r"m.safetensors: w_avg: expected numbers, got \['a'\]"):
        Mapped(tmp_path / "m.safetensors", bundle.open_generator(own))


def test_an_attribute_model_and_a_person_are_of_any_generator(own):
    """The shipped networks look at its pictures, and their gradients reach the mapper."""
    task = make_task(plan("x", generator=own, prompt="an older man", identity=1.0))
    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter += torch.randn_like(parameter)
    losses = task.step(0)
    assert set(losses) == {"text", "code", "identity"}
    for name in ("text", "identity"):
        slopes = torch.autograd.grad(losses[name], task.model.parameters(), retain_graph=True)
        assert all(slope.isfinite().all() and slope.any() for slope in slopes), name


def test_a_generator_of_tedis_w_and_other_slots_lends_its_mapper(generator, tmp_path):
    """Trained on the 18 slots of a StyleGAN2, its file moves codes of tedi's 16, too."""
    kin = stylegan2(",".join(["8"] * 9), width=512)
    kin.mapping.w_avg.copy_(generator.w_avg)
    settings = plan(tmp_path / "m.safetensors", groups="coarse,medium")

    def loss(after, before):
        return after.mean(dim=(1, 2, 3))

    task = MapperTask(kin, loss, None, MapperOptions(**settings.options), seed=0)
    assert task.step(0)["text"].isfinite()
    tensors, header = task.export()
    save_file(tensors, settings.out, metadata=header)
    ws = generator.w_avg.expand(1, 16, -1)
    assert Mapped(tmp_path / "m.safetensors", generator)(ws, strength=1.0).shape == ws.shape


@pytest.mark.parametrize(
    ("make", "slots"),
    [
        (lambda: stylegan2("8,8,8", width=8, z_width=8), (4, 5)),  # six slots, the last one fine
        (lambda: stylegan3(w_dim=8, z_dim=8), (5, 7)),
    ],
    ids=["stylegan2", "stylegan3"],
)
def test_small_generators_have_their_last_slot_for_fine(make, slots):
    options = MapperOptions(prompt="a hat", identity=0.0)
    loss = Unlikely(reading({}), lambda image: image)
    task = MapperTask(make(), loss, None, options, seed=0)
    assert (task.model.medium, task.model.fine) == slots
    ws = task._codes(range(1))
    assert torch.equal(task.model(ws), ws)


def test_a_generator_of_too_few_slots_is_refused(tmp_path, eyes):
    few = save(tmp_path / "few.safetensors", stylegan2("8,8", width=8, z_width=8))
    with pytest.raises(UsageError, match=r"^options.generator: a mapper needs coarse, medium and"):
        make_task(plan("x", generator=few, judge=eyes))


def test_the_script_names_the_generator(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "train")
    monkeypatch.delitem(sys.modules, "train", raising=False)
    spec = importlib.util.spec_from_file_location("mapper_script", ROOT / "train" / "mapper.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out, gone = tmp_path / "m.safetensors", tmp_path / "gone.pkl"
    call = ["mapper.py", "a hat", "--out", out, "--folder", tmp_path, "--generator", gone]
    monkeypatch.setattr(sys, "argv", list(map(str, call)))
    assert script.main() == 1
    assert str(gone) in capsys.readouterr().err
