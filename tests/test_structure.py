"""Sketches and label maps to codes: the encoder, what rules which layers, and the training."""

import doctest
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tedi
from tedi import control, mixing, zoo
from tedi.checkpoints import native
from tedi.cli import run as cli_run
from tedi.encoders.structure import StructureEncoder, prepared
from tedi.encoders.visual import VisualEncoder
from tedi.errors import TediError, UsageError
from tedi.images import read_provenance
from tedi.modalities import labels, sketch
from tedi.modalities.labels import COLOURS, one_hot
from tedi.pipeline.content import STRUCTURE, Contents
from tedi.pipeline.photos import Photos
from tedi.training import structure
from tedi.training.loop import Settings, run
from tedi.training.pictures import to_bytes
from tedi.training.structure import Faces, StructureOptions, StructureTask
from tedi.training.visual import drawn_codes


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    made = StructureEncoder().eval().requires_grad_(False)
    torch.nn.init.normal_(made.offset.weight, std=0.01)
    return made


def a_sketch(size=256):
    pixels = np.full((size, size), 255, np.uint8)
    pixels[size // 4 : 3 * size // 4, size // 3 : size // 3 + 3] = 0
    return Image.fromarray(pixels)


def a_map(*shape):
    pixels = np.zeros(shape, np.uint8)
    pixels[: shape[0] // 2] = 13
    return pixels


# --- the encoder ---------------------------------------------------------------------------------


def test_one_drawing_or_both(encoder):
    lines = sketch.prepare(a_sketch())
    parts = one_hot(torch.from_numpy(a_map(256, 256))[None])
    codes = [encoder(g) for g in ({"sketch": lines}, {"labels": parts})]
    both = encoder({"sketch": lines, "labels": parts})
    assert both.shape == (1, 16, 512)
    assert not torch.allclose(codes[0], codes[1])
    assert not torch.allclose(both, codes[0])
    assert torch.equal(both[:, 9:], both[:, 9:10].expand(-1, 7, -1))  # drawings have no colours


def test_a_style_fills_in_what_is_open(encoder):
    lines = {"sketch": sketch.prepare(a_sketch())}
    ws, style = encoder(lines), torch.randn(1, 16, 512)
    filled = encoder.filled(ws, style)
    assert torch.allclose(filled[:, :9], ws[:, :9] + 0.5 * style[:, :9], atol=1e-5)
    assert torch.equal(filled[:, 9:], style[:, 9:])
    assert torch.equal(encoder.filled(ws, style, variety=0)[:, :9], ws[:, :9])


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("sketch", (1, 3, 256, 256), "sketch: expected"),
        ("labels", (1, 19, 128, 128), "labels: expected"),
        ("photo", (1, 3, 256, 256), "given: expected sketch or labels"),
    ],
)
def test_what_no_stem_takes(name, shape, message):
    with pytest.raises(UsageError, match=message):
        prepared(name, torch.zeros(shape))


def test_nothing_given_is_said(encoder):
    with pytest.raises(UsageError, match="given: expected sketch or labels"):
        encoder({})


# --- drawings as files ---------------------------------------------------------------------------


def test_label_maps_of_any_size_and_kind_become_masks(tmp_path):
    found = a_map(100, 60)
    colours = Image.fromarray(COLOURS[found])
    colours.save(tmp_path / "colours.png")
    Image.fromarray(found).save(tmp_path / "ids.png")
    masks = labels.prepare(tmp_path / "ids.png")
    assert masks.shape == (1, 19, 256, 256)
    assert torch.equal(masks.sum(dim=1), torch.ones(1, 256, 256))
    assert masks[0, 13].mean() == pytest.approx(0.3, abs=0.01)  # half of 60 of 100 columns
    for other in (tmp_path / "colours.png", colours, Image.fromarray(found)):
        assert torch.equal(labels.prepare(other), masks)


def test_unknown_classes_are_listed(tmp_path):
    with pytest.raises(UsageError, match="#0c0d0e"):
        labels.prepare(Image.new("RGB", (8, 8), (12, 13, 14)))
    with pytest.raises(UsageError, match="0 to 18, got 77"):
        labels.prepare(Image.new("L", (8, 8), 77))


# --- mixing --------------------------------------------------------------------------------------


def test_doctests():
    failed, tried = doctest.testmod(mixing)
    assert (failed, tried > 0) == (0, True)


def test_defaults_follow_from_what_is_given():
    assert mixing.told(mixing.chosen(["sketch", "photo"])) == (
        "photo=coarse+medium+fine,sketch=coarse+medium"
    )
    own = mixing.chosen(["text", "sketch"], "text=fine")
    assert own["text"] == {"fine": 1.0}
    assert own["sketch"] == {"coarse": 1.0, "medium": 1.0}
    assert mixing.parse(mixing.told(own)) == own


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ("sketch", "mix: expected text=fine"),
        ("sketsh=fine", "did you mean 'sketch'"),
        ("sketch=corse", "did you mean 'coarse'"),
        ("text=fine:2", "shares of 0 to 1, got '2'"),
        ("text=fine:much", "shares of 0 to 1, got 'much'"),
        ("photo=fine", "photo is not given; given is sketch, text"),
        ("sketch=medium+fine", "sketch has no fine layers; it rules coarse and medium ones"),
        ("sketch=coarse,sketch=medium", "sketch is given twice"),
    ],
)
def test_a_mix_that_cannot_be(mix, message):
    with pytest.raises(UsageError, match=message):
        mixing.chosen(["sketch", "text"], mix)


def test_shares_are_of_their_groups_slots(generator, ws):
    other = torch.zeros_like(ws)
    mixed = control.weigh(generator, ws, other, {"coarse": 1.0, "medium": 0.25})
    assert not mixed[:, :5].any()
    assert torch.allclose(mixed[:, 5:9], 0.75 * ws[:, 5:9])
    assert torch.equal(mixed[:, 9:], ws[:, 9:])


# --- contents ------------------------------------------------------------------------------------


@pytest.fixture
def contents(generator, encoder):
    made = Contents(generator, Photos(generator))
    made._encoder = encoder
    return made


def test_a_content_rules_its_layers(contents, ws):
    content = contents.make({"sketch": a_sketch(), "label": None}, variety=0.0, text=True)
    assert content.shares == mixing.defaults(["sketch", "text"])
    mixed = contents.mixed(content, ws)
    code = content.codes["sketch"]
    assert torch.allclose(mixed[:, :9], code[:, :9].expand(2, -1, -1), atol=1e-5)
    assert torch.equal(mixed[:, 9:], ws[:, 9:])
    told = contents.told(content)
    assert told["content"]["sketch"]["sha256"]
    assert told["mix"] == "sketch=coarse+medium,text=coarse+medium+fine"


def test_a_sketch_and_a_map_are_read_together_unless_they_rule_apart(contents):
    given = {"sketch": a_sketch(), "label": Image.fromarray(a_map(64, 64))}
    assert list(contents.make(given).codes) == ["sketch+label"]
    apart = contents.make(given, mix="label=coarse,sketch=medium")
    assert set(apart.codes) == {"sketch", "label"}


def test_a_photo_lies_under_a_drawing(contents, ws):
    style = torch.zeros(1, 16, 512)
    given = {"sketch": a_sketch(), "photo": Image.new("RGB", (8, 8))}
    content = contents.make(given, variety=0.0, invert=lambda photo: style)
    mixed = contents.mixed(content, ws[:1])
    assert not mixed[:, 9:].any()
    assert torch.allclose(mixed[:, :9], content.codes["sketch"][:, :9], atol=1e-5)


# --- training ------------------------------------------------------------------------------------


def test_drawings_are_moved_torn_and_roughened_as_asked():
    rng = np.random.default_rng(0)
    lines = torch.ones(4, 1, 32, 32)
    assert torch.equal(structure.moved(lines, rng, 0.0), lines)
    assert torch.equal(structure.torn(lines, rng, 0.0), lines)
    assert (structure.torn(lines, rng, 1.0).mean(dim=(1, 2, 3)) < 1).all()
    parts = torch.from_numpy(a_map(32, 32)).float().expand(3, 1, -1, -1)
    shifted = structure.moved(parts, rng, 1.0, "labels")
    assert not torch.equal(shifted, parts)
    assert set(shifted.unique().tolist()) == {0.0, 13.0}
    maps = np.random.default_rng(1).integers(0, 19, (3, 128, 128), dtype=np.uint8)
    rough = structure.roughened(maps, rng, 1.0)
    assert (rough != maps).any()
    assert set(np.unique(rough)) <= set(range(19))
    assert np.array_equal(structure.roughened(maps, rng, 0.0), maps)


def test_sketches_come_from_their_seed_alone(generator, ws):
    with torch.no_grad():
        pixels = to_bytes(generator.preview(ws[:1]))[0]
    parts = a_map(256, 256)
    again = [structure.sketch_of(pixels, parts, seed) for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_the_task_learns_and_its_file_loads(generator, tmp_path, monkeypatch):
    monkeypatch.setattr(structure, "HELD_DRAWN", 1)
    options = StructureOptions(
        drawn_batch=1, photo_batch=1, back=2, held_out=2, average=600, compiled=False
    )
    settings = Settings("structure", steps=2, out=str(tmp_path / "s.safetensors"), warmup=1)
    ws = drawn_codes(generator, 3)
    with torch.no_grad():
        pixels = to_bytes(generator.preview(ws))
    parser = native.load_parser(zoo.pull("parser-lite0"))
    maps = parser.labels(torch.from_numpy(pixels) / 127.5 - 1).numpy()
    drawings = np.stack([structure.sketch_of(p, m, 3) for p, m in zip(pixels, maps, strict=True)])
    faces = Faces(ws, pixels, maps, drawings)
    visual = VisualEncoder()
    task = StructureTask(
        generator, generator.preview, parser, visual, (faces, faces), options, settings
    )
    terms = task.step(0)
    wanted = "code, photo code, offsets, parts, free, own, grey, fooled, judge"
    assert list(terms) == wanted.split(", ")
    assert all(bool(value.isfinite()) for value in terms.values())
    figures = run(task, settings, folder=tmp_path / "run")
    assert 0 <= figures["label map: mean IoU of 11 classes"] <= 1
    encoder = native.load_structure_encoder(tmp_path / "s.safetensors")
    assert (encoder.slots, encoder.ruled) == (16, 9)
    assert ((encoder.fill - 0.5).abs().amax(dim=1) > 0).all()  # every slot's gains have learned


def test_a_file_of_something_else_is_refused():
    with pytest.raises(TediError, match="not a sketch and label encoder"):
        native.load_structure_encoder(zoo.pull("parser-lite0"))


# --- the command line ----------------------------------------------------------------------------


@pytest.fixture
def model(encoder, tmp_path):
    """The real networks, but for an encoder that has learned nothing."""
    model = tedi.load()
    model.contents._encoder = encoder
    model.contents.file = (tmp_path / STRUCTURE, "0" * 64)
    return model


@pytest.fixture
def tedi_(capsys, model, tmp_path, monkeypatch):
    """The command on that model."""
    for name in ("generate", "redo", "edit"):
        monkeypatch.setattr(f"tedi.cli.{name}._load", lambda **_: model)
    monkeypatch.chdir(tmp_path)
    a_sketch(300).save("face.png")
    Image.fromarray(a_map(64, 64)).save("map.png")

    def call(*arguments):
        status = cli_run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return call


def test_a_sketch_and_words_make_a_picture_that_is_made_again_and_edited(tedi_):
    made = ("generate", "a smiling woman", "--sketch", "face.png", "--seed", 3, "--preview")
    assert tedi_(*made, "--out", "a.png")[0] == 0
    record = read_provenance("a.png")
    assert record["content"]["sketch"]["file"] == "face.png"
    assert record["mix"] == "sketch=coarse+medium,text=coarse+medium+fine"
    assert tedi_(*made[:2], *made[4:], "--out", "plain.png")[0] == 0
    assert Path("plain.png").read_bytes() != Path("a.png").read_bytes()
    status, out, err = tedi_("run", "a.png", "--out", "b.png")
    assert (status, out) == (0, ["b.png"]), err
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    status, _, err = tedi_("edit", "a.png", "older", "--strength", 0, "--preview", "--out", "c.png")
    assert status == 0, err
    pair = [np.asarray(Image.open(name)) for name in ("a.png", "c.png")]
    assert np.array_equal(*pair)  # nothing is left out of the face that is edited


def test_a_face_of_other_weights_is_not_made_again(tedi_, model):
    made = ("generate", "--sketch", "face.png", "--preview", "--out", "a.png")
    assert tedi_(*made)[0] == 0
    model.contents.file = (model.contents.file[0], "1" * 64)
    for again in (("run", "a.png", "--out", "b.png"), ("edit", "a.png", "older", "--preview")):
        status, out, err = tedi_(*again)
        assert (status, out) == (1, [])
        assert f"made with other weights ({STRUCTURE}: 00000000, here 11111111)" in err


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"content": {"sketch": "face.png"}}, "expected file and sha256 of sketch, got 'face.png'"),
        ({"content": {"sketch": {"sha256": "0"}}}, "expected file and sha256 of sketch"),
        ({"mix": "text=fine"}, "mix: is for content; leave it out"),
        ({"content": {"sketch": {"file": "face.png", "sha256": "0"}}}, "another sketch than the"),
    ],
)
def test_recipes_by_hand_that_cannot_be(tedi_, told, message):
    recipe = {"command": "generate", "prompts": ["a man"], "preview": True, **told}
    Path("r.json").write_text(json.dumps(recipe))
    status, out, err = tedi_("run", "r.json")
    assert (status, out) == (1 if "another" in message else 2, [])
    assert message in err
    assert err.count("\n") == 1


def test_words_alone_keep_out_of_what_a_mix_gives_to_others(tedi_):
    for name, mix in {"all.png": "text=coarse+medium+fine", "none.png": "text="}.items():
        made = ("generate", "--text", "red hair", "--label", "map.png", "--mix", mix, "--preview")
        assert tedi_(*made, "--out", name)[0] == 0
    assert tedi_("generate", "--label", "map.png", "--preview", "--out", "no.png")[0] == 0
    pixels = {n: np.asarray(Image.open(f"{n}.png")) for n in ("all", "none", "no")}
    assert np.array_equal(pixels["none"], pixels["no"])
    assert not np.array_equal(pixels["all"], pixels["no"])


def test_words_kept_to_the_hair_change_nothing_far_from_it(tedi_):
    pixels = {}
    made = ("generate", "a blond man", "--seed", 3, "--preview")
    for name, mix in {"plain": "text@hair=", "hair": "text@hair", "all": ""}.items():
        more = () if name == "all" else ("--mix", mix)
        assert tedi_(*made, *more, "--out", f"{name}.png")[0] == 0
        pixels[name] = np.asarray(Image.open(f"{name}.png")).astype(int)
    change = {n: np.abs(pixels[n] - pixels["plain"]).mean(axis=2) for n in ("hair", "all")}
    mouth = slice(180, 200), slice(110, 146)
    assert change["all"][mouth].mean() > 10
    assert change["hair"][mouth].mean() < 1
    assert change["hair"].max() > 30


def test_words_are_kept_to_a_part_of_a_seeds_face_and_told(tedi_):
    made = ("generate", "red hair", "--seed", 3, "--mix", "text@hair", "--preview")
    status, _, err = tedi_(*made, "--out", "a.png")
    assert status == 0, err
    record = read_provenance("a.png")
    assert record["mix"] == "text@hair=coarse+medium+fine"
    assert "parser-lite0" in record["weights"]
    assert tedi_("run", "a.png", "--out", "b.png")[:2] == (0, ["b.png"])
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    status, _, err = tedi_("edit", "a.png", "older", "--preview")
    assert status == 2
    assert "joined several codes in it; pass --photo and --no-align" in err
    _, out, _ = tedi_("generate", "red hair", "--mix", "text@hair+brows", "--dry-run", "--json")
    assert json.loads(out[0])["mix"] == "text@hair+brows=coarse+medium+fine"


def test_the_plan_tells_every_default(tedi_):
    status, out, err = tedi_("generate", "--sketch", "face.png", "-n", 2, "--dry-run")
    assert (status, out) == (0, ["face-seed0.png", "face-seed1.png"])
    assert err == "mix: sketch=coarse+medium, variety 0.7\n"
    _, out, _ = tedi_("generate", "red hair", "--label", "map.png", "--dry-run", "--json")
    assert json.loads(out[0])["mix"] == "label=coarse+medium,text=coarse+medium+fine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sketch", "none.png"), "none.png: no such file"),
        (("a man", "--mix", "sketch=fine"), "--mix: is for --sketch, --label and --photo"),
        (("a man", "--mix", "text@hare"), "unknown region 'hare'; did you mean 'hair'?"),
        (("a man", "--mix", "text@=fine"), "mix: expected parts of a face as in text@hair, got"),
        (("a man", "--text", "a woman", "--sketch", "face.png"), "--text: the prompt is given tw"),
        (("--sketch", "face.png", "--mix", "label=coarse"), "label is not given; given is sketch"),
        (("--photo", "face.png", "-n", "2"), "--seed: the photo rules all layers"),
        (("--photo", "face.png", "--variety", "1"), "--variety: is for --sketch and --label"),
        ((), "give a prompt"),
        (("--label", "face.png"), "0 to 18, got 255"),
    ],
)
def test_what_cannot_be_given(tedi_, arguments, message):
    status, out, err = tedi_("generate", *arguments)
    assert (status, out) == (1 if "no such file" in message else 2, [])
    assert message in err
    assert err.count("\n") == 1
