"""`tedi edit` and what it shares with `tedi generate`, as a person meets them."""

import base64
import hashlib
import importlib
import inspect
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from test_hearing import Words
from test_inversion import TinyEncoder, describe
from test_invert import Features, detect, photo
from tiny import code_reader, text_encoder, toolkit

from tedi import control, images, zoo
from tedi.checkpoints import codes
from tedi.cli import run
from tedi.cli.edit import StrengthsType
from tedi.cli.edit import edit as command
from tedi.cli.faces import Step, edit_record
from tedi.editing import EDITS
from tedi.errors import TediError, UsageError
from tedi.images import read_provenance
from tedi.inversion import programs

EDIT = importlib.import_module("tedi.cli.edit")
GENERATE = importlib.import_module("tedi.cli.generate")
REDO = importlib.import_module("tedi.cli.redo")
SLOTS, WIDTH = 16, 8


def parts():
    """Tiny toolkit whose encoder knows a few words exactly."""
    encoder = text_encoder(code_reader())
    encoder.read = Words().read
    return toolkit(text=encoder)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(monkeypatch):
    tiny = parts()
    tiny.loaded = []

    def load(**options):
        tiny.loaded.append(options)
        return tiny

    for module in (EDIT, GENERATE, REDO):
        monkeypatch.setattr(module, "_load", load)
    return tiny


@pytest.fixture
def tedi_(capsys, model):
    """Runs a command; gives exit status, lines of stdout, and stderr."""

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def code(path) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("ws")


def seed_code(model, seed, psi=0.7):
    return control.style_codes(model.generator, [seed], psi=psi)[0]


def pixels(path):
    return np.asarray(Image.open(path)).tolist()


# --- faces ---------------------------------------------------------------------------------------


def test_a_seed_gives_a_picture_its_path_and_a_record(tedi_, model):
    status, out, err = tedi_("edit", 7, "older", "with glasses", "--save-code", "c.safetensors")
    assert (status, out, err) == (0, ["seed7-older-with-glasses.png", "c.safetensors"], "")
    record = read_provenance(out[0])
    assert record["start"] == {"seed": 7, "psi": 0.7}
    assert record["edits"] == [
        {"text": "older", "strength": 1.0, "method": "default"},
        {"text": "with glasses", "strength": 1.0, "method": "default"},
    ]
    assert record["prompt"] == "older; with glasses"
    eye = zoo.sha256(zoo.path("attributes-lite0"))  # by which the default method looks
    weights = {"tiny": "0" * 64, "attributes-lite0": eye}
    assert (record["command"], record["weights"]) == ("edit", weights)
    assert model.loaded == [{"device": "auto", "dtype": "float32", "compiled": False}]
    [*_, face] = model.edit(seed_code(model, 7), ["older", "with glasses"])
    assert torch.equal(code("c.safetensors"), face.ws)
    assert pixels(out[0]) == np.asarray(face.picture).tolist()


def test_options_reach_drawing_and_code(tedi_, model):
    options = ["--psi", "0.4", "--strength", "0.5", "--method", "linear", "--preview"]
    more = ["--device", "cpu", "--dtype", "bfloat16", "--save-code", "c.safetensors"]
    _, [path, _], _ = tedi_("edit", 3, "older", *options, *more)
    assert model.loaded == [{"device": "cpu", "dtype": "bfloat16", "compiled": False}]
    record = read_provenance(path)
    assert record["start"] == {"seed": 3, "psi": 0.4}
    assert record["edits"] == [{"text": "older", "strength": 0.5, "method": "linear"}]
    assert Image.open(path).size == (16, 16)
    [face] = model.edit(seed_code(model, 3, 0.4), "older", strength=0.5, method="linear")
    assert torch.equal(code("c.safetensors"), face.ws)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_generated_picture_goes_on_from_its_own_code(tedi_, model, suffix):
    out = f"a{suffix}"
    how = ["--psi", "0.6", "--strength", "0.8", "--method", "linear", "--seed", 5]
    tedi_("generate", "a smiling woman", *how, "--out", out)
    status, paths, _ = tedi_("edit", out, "older", "--save-code", "c.safetensors")
    assert (status, paths[0]) == (0, "a-older.png")
    [before] = model.generate("a smiling woman", seeds=[5], psi=0.6, strength=0.8, method="linear")
    assert torch.equal(code("c.safetensors"), model.edit(before.ws, "older")[0].ws)
    start = {"prompt": "a smiling woman", "seed": 5, "psi": 0.6}
    start |= {"strength": 0.8, "method": "linear"}
    record = read_provenance(paths[0])
    assert record["start"] == start
    assert record["prompt"] == "a smiling woman; older"


@pytest.mark.parametrize("face", [7, "a.png", "c.npy"])
def test_editing_an_edited_picture_is_editing_twice(tedi_, model, face):
    tedi_("generate", "a smiling woman", "--out", "a.png")
    np.save("c.npy", seed_code(model, 3).numpy())
    how = ["--method", "linear", "--strength", "0.5"]
    tedi_("edit", face, "older", *how, "--out", "first.jpg")
    tedi_("edit", "first.jpg", "grinning", "--out", "second.png", "--save-code", "2.safetensors")
    twice = ["edit", face, "older", "--out", "x.webp", *how]
    tedi_(*twice)
    tedi_("edit", "x.webp", "grinning", "--out", "y.png", "--save-code", "y.safetensors")
    assert Path("2.safetensors").read_bytes() == Path("y.safetensors").read_bytes()
    assert read_provenance("second.png")["edits"] == [
        {"text": "older", "strength": 0.5, "method": "linear"},
        {"text": "grinning", "strength": 1.0, "method": "default"},
    ]


@pytest.mark.parametrize("face", [7, "a.png", "c.npy"])
def test_two_texts_are_two_edits(tedi_, model, face):
    tedi_("generate", "a smiling woman", "--out", "a.png")
    np.save("c.npy", seed_code(model, 3).numpy())
    tedi_("edit", face, "older", "--out", "first.png")
    tedi_("edit", "first.png", "grinning", "--out", "2.png", "--save-code", "2.safetensors")
    both = ["--out", "both.png", "--save-code", "both.safetensors"]
    tedi_("edit", face, "older", "grinning", *both)
    assert Path("2.safetensors").read_bytes() == Path("both.safetensors").read_bytes()
    assert Path("2.png").read_bytes() == Path("both.png").read_bytes()


def code_files(ws):
    """The same code in every kind of file."""
    save_file({"ws": ws[None].contiguous()}, "a.safetensors")
    np.save("b.npy", ws.numpy())
    np.save("c.npy", ws[0].double().numpy())
    torch.save(ws[None], "d.pt")
    torch.save({"ws": ws.half()}, "e.pt")
    return ["a.safetensors", "b.npy", "c.npy", "d.pt", "e.pt"]


def test_code_files(tedi_, model):
    ws = (seed_code(model, 7) * 64).round() / 64  # half precision holds it
    expected = model.edit(ws, "older")[0].ws
    for name in code_files(ws):
        out, saved = Path(name).with_suffix(".png"), f"{name}-saved.safetensors"
        status, _, err = tedi_("edit", name, "older", "--out", out, "--save-code", saved)
        assert (status, err) == (0, "")
        assert torch.equal(code(saved), expected), name
        start = read_provenance(out)["start"]
        assert start["code"] == name
        assert start["sha256"] == hashlib.sha256(Path(name).read_bytes()).hexdigest()
        assert len(base64.b64decode(start["ws"])) == WIDTH * 4  # one slot: all are alike


def test_a_code_of_different_slots_is_kept_whole(tedi_, model):
    ws = torch.randn(SLOTS, WIDTH, generator=torch.Generator().manual_seed(0))
    np.save("c.npy", ws.numpy())
    tedi_("edit", "c.npy", "older", "--out", "a.jpg")
    Path("c.npy").unlink()  # the picture needs it no more
    tedi_("edit", "a.jpg", "--undo", 1, "--out", "b.png", "--save-code", "b.safetensors")
    assert torch.equal(code("b.safetensors"), ws)
    _, [line], _ = tedi_("edit", "a.jpg", "older", "--json")
    assert set(json.loads(line)["start"]) == {"code", "sha256"}  # no page of digits


def test_a_saved_code_can_be_edited(tedi_, model):
    tedi_("edit", 7, "--save-code", "c.safetensors", "--out", "a.png")
    assert torch.equal(code("c.safetensors"), seed_code(model, 7))
    tedi_("edit", "c.safetensors", "older", "--out", "b.png")
    tedi_("edit", 7, "older", "--out", "c.png")
    assert pixels("b.png") == pixels("c.png")


# --- undo ----------------------------------------------------------------------------------------


def test_undo(tedi_, model):
    tedi_("edit", 7, "older", "grinning", "with glasses", "--out", "three.png")
    status, out, _ = tedi_("edit", "three.png", "--undo", 2)
    assert (status, out) == (0, ["three-undo.png"])
    tedi_("edit", 7, "older", "--out", "one.png")
    assert Path(out[0]).read_bytes() == Path("one.png").read_bytes()
    tedi_("edit", "three.png", "--undo", 2, "with bangs", "--out", "other.png")
    assert [e["text"] for e in read_provenance("other.png")["edits"]] == ["older", "with bangs"]
    tedi_("edit", "three.png", "--undo", 3, "--out", "none.png")
    record = read_provenance("none.png")
    assert (record["edits"], record["prompt"]) == ([], "")
    assert pixels("none.png") != pixels("one.png")


# --- strips --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "labels", "strengths"),
    [
        (["older", "grinning"], ["before", "older", "grinning"], [1, 1]),
        (["older", "grinning", "--strength", "0.5,2"], ["before", "older", "grinning"], [0.5, 2]),
        (["older", "--strength", "0:2:3"], ["before", "0", "1", "2"], [2]),
        (["older", "--strength", "0.5,1"], ["before", "0.5", "1"], [1]),
        (["older", "grinning", "--strength", "1:2:2"], ["before", "1", "2"], [2, 2]),
    ],
    ids=str,
)
def test_strips(tedi_, model, arguments, labels, strengths):
    status, out, _ = tedi_("edit", 7, *arguments, "--strip", "--save-code", "c.safetensors")
    assert status == 0
    record = read_provenance(out[0])
    assert record["strip"] == labels
    assert [step["strength"] for step in record["edits"]] == strengths
    width, height = Image.open(out[0]).size
    assert width // 264 == len(labels)
    assert height < 2 * 264
    texts = [text for text in arguments if text in ("older", "grinning")]
    [*_, last] = model.edit(seed_code(model, 7), texts, strength=strengths)
    assert torch.equal(code("c.safetensors"), last.ws)


def test_a_strip_shows_before_and_after(tedi_, model):
    tedi_("edit", 7, "grinning", "--strip", "--out", "s.png")
    tiles = np.asarray(Image.open("s.png"))[-24 - 256 : -24]
    left, right = tiles[:, 24:280], tiles[:, 24 + 264 : 280 + 264]
    ws = seed_code(model, 7)
    for tile, codes_ in ((left, ws), (right, model.edit(ws, "grinning")[0].ws)):
        [picture] = model.pictures(codes_[None])
        sheet = np.asarray(images.contact_sheet([[picture]]))
        assert np.array_equal(tile, sheet[24:280, 24:280])


# --- what is heard -------------------------------------------------------------------------------


def test_words_not_understood_are_told_once(tedi_):
    status, out, err = tedi_("edit", 7, "older with a necklace", "grinning", "--json")
    assert status == 0
    assert err == ('tedi: not drawn: "necklace" (no attribute of a face that the model knows)\n')
    told = json.loads(out[0])
    assert told["unheard"] == ["necklace"]
    assert read_provenance(told["path"])["edits"] == told["edits"]


def test_nothing_understood_is_refused_unless_asked_for(tedi_):
    status, out, err = tedi_("edit", 7, "a red car")
    assert (status, out) == (2, [])
    assert re.fullmatch(r"tedi: nothing of 'a red car' is about a face; .*--anyway\n", err)
    assert not list(Path().iterdir())
    status, [path], err = tedi_("edit", 7, "a red car", "--anyway")
    assert status == 0
    assert 'not drawn: "red car"' in err
    tedi_("edit", path, "older", "--out", "b.png")  # what was made once is made again
    assert len(read_provenance("b.png")["edits"]) == 2


def test_dry_run_prints_how_texts_are_read(tedi_):
    Path("seed7-older.png").write_text("in the way")
    texts = ["older with glasses", "a red car"]
    status, out, err = tedi_("edit", 7, *texts, "--dry-run")
    assert (status, err) == (0, "")
    assert out == [
        '"older with glasses": glasses not none, age +',
        '"a red car": nothing; not drawn: "red car"',
    ]
    _, lines, _ = tedi_("edit", 7, *texts, "--dry-run", "--json")
    assert json.loads(lines[0]) == {
        "text": "older with glasses",
        "says": {"glasses": ["eyeglasses", "sunglasses"]},
        "wishes": {"age": 1},
        "unheard": [],
    }
    assert len(list(Path().iterdir())) == 1


def test_generate_tells_what_is_not_drawn(tedi_):
    status, out, err = tedi_("generate", "a woman with a necklace", "-n", 3, "--json")
    assert status == 0
    assert err.count("tedi: not drawn: ") == err.count('"necklace"') == 1
    assert [json.loads(line)["unheard"] for line in out] == [["necklace"]] * 3
    assert "unheard" not in read_provenance(json.loads(out[0])["path"])


def test_generate_tells_it_of_prompt_files_and_sheets_too(tedi_):
    Path("p.txt").write_text("a woman\na woman with a dog\nbangs and a necklace\n")
    arguments = ["generate", "--prompts", "p.txt", "--json", "--out"]
    _, out, err = tedi_(*arguments, "faces")
    assert err.count("not drawn") == 2
    assert [json.loads(line)["unheard"] for line in out] == [[], ["dog"], ["necklace"]]
    assert tedi_(*arguments, "faces")[1] == out  # skipped pictures are told of alike
    _, [line], err = tedi_(*arguments, "sheet.png", "--grid")
    assert json.loads(line)["unheard"] == ["dog", "necklace"]


def test_generate_refuses_what_it_does_not_understand(tedi_):
    status, out, err = tedi_("generate", "a red car")
    assert (status, out, err.count("\n")) == (2, [], 1)
    assert "--anyway" in err
    status, out, err = tedi_("generate", "a red car", "--anyway")
    assert (status, out) == (0, ["a-red-car-seed0.png"])
    assert 'not drawn: "red car"' in err


def test_generate_takes_a_method(tedi_, model):
    tedi_("generate", "a smiling woman", "--method", "linear", "--out", "a.png")
    assert read_provenance("a.png")["method"] == "linear"
    [face] = model.generate("a smiling woman", method="linear")
    assert pixels("a.png") == np.asarray(face.picture).tolist()
    status, _, err = tedi_("generate", "a man", "--method", "magic")
    assert status == 2
    assert all(name in err for name in EDITS)


def test_generate_explains(tedi_):
    Path("p.txt").write_text("a smiling woman\na red car\n")
    status, out, err = tedi_("generate", "--prompts", "p.txt", "--explain")
    assert (status, err) == (0, "")
    assert out == [
        '"a smiling woman": gender female, smile not none',
        '"a red car": nothing; not drawn: "red car"',
    ]
    assert not Path("p").exists()
    _, [line], _ = tedi_("generate", "older", "--explain", "--json")
    assert json.loads(line) == {"text": "older", "says": {}, "wishes": {"age": 1}, "unheard": []}


# --- names ---------------------------------------------------------------------------------------


def test_names(tedi_, model):
    np.save("face.npy", seed_code(model, 3).numpy())
    assert tedi_("edit", 7, "older")[1] == ["seed7-older.png"]
    assert tedi_("edit", 7, "older")[1] == ["seed7-older-2.png"]
    assert tedi_("edit", "face.npy", "older", "--out", "made")[1] == ["made/face-older.png"]
    assert tedi_("edit", "made/face-older.png", "grinning")[1] == ["face-older-grinning.png"]
    assert tedi_("edit", 7, "older", "--out", "{prompt}-{seed:03d}.jpg")[1] == ["older-007.jpg"]
    assert tedi_("edit", "face.npy", "older", "--out", "x/{prompt}.webp")[1] == ["x/older.webp"]


def test_files_are_kept_unless_told_otherwise(tedi_, model):
    for option in ("--out", "--save-code"):
        Path("a.safetensors").write_bytes(b"mine")
        Path("a.png").write_bytes(b"mine")
        path = "a.png" if option == "--out" else "a.safetensors"
        status, out, err = tedi_("edit", 7, "older", option, path)
        assert (status, out) == (1, [])
        assert re.fullmatch(rf"tedi: {path}: .*--overwrite.*\n", err)
        assert Path(path).read_bytes() == b"mine"
        assert model.loaded == []
    both = ["--out", "a.png", "--save-code", "a.safetensors"]
    assert tedi_("edit", 7, "older", *both, "--overwrite")[0] == 0
    assert code("a.safetensors").shape == (SLOTS, WIDTH)


def test_a_picture_can_be_edited_in_place(tedi_):
    tedi_("edit", 7, "older", "--out", "a.png")
    assert tedi_("edit", "a.png", "grinning", "--out", "a.png", "--overwrite")[0] == 0
    assert len(read_provenance("a.png")["edits"]) == 2


# --- what is refused -----------------------------------------------------------------------------

WRONG = {
    "no text": (["7"], 2, 'tedi edit 7 "older"'),
    "blank text": (["7", " "], 2, "prompt: expected words"),
    "huge seed": (["4294967296", "older"], 2, "seeds end at 4294967295"),
    "endless seed": (["9" * 5000, "older"], 2, "seeds end at 4294967295"),
    "no face": (["seven", "older"], 2, "FACE: expected a seed such as 7"),
    "texts first": (["older", "7"], 2, "FACE: expected a seed such as 7"),
    "no such picture": (["none.png", "older"], 1, "none.png: no such file"),
    "no such code": (["none.npy", "older"], 1, "none.npy: no such file"),
    "psi of a picture": (["a.png", "older", "--psi", "1"], 2, "--psi: is for seeds"),
    "undo of a seed": (["7", "--undo", "1"], 2, "--undo 1: seed7 carries no edits"),
    "undo too much": (["e.png", "--undo", "2"], 2, "--undo 2: e.png carries 1 edit"),
    "no face found": (["photo.jpg", "older"], 1, "photo.jpg: no face found; pass --no-align"),
    "steps of none": (["photo.jpg", "older", "--no-align", "--steps", "5"], 2, "takes none"),
    "region": (["7", "older", "--region", "elbow"], 2, "elbow"),
    "quality of a seed": (["7", "older", "--quality", "good"], 2, "--quality: is for photos, and"),
    "budget of tedi's": (["a.png", "older", "--budget", "5s"], 2, "--budget: is for photos, and"),
    "preset of a seed": (["7", "older", "--preset", "fast"], 2, "--preset: is for photos, and"),
    "inversion of a seed": (["7", "older", "--inversion", "pti"], 2, "--inversion: is for photos"),
    "steps of tedi's": (["a.png", "older", "--steps", "9"], 2, "--steps: is for photos, and the"),
    "setting of a seed": (["7", "older", "--set", "lr=1"], 2, "--set: is for photos, and the code"),
    "quality of a method": (
        ["photo.jpg", "older", "--quality", "good", "--inversion", "pti"],
        2,
        "--quality: chooses the method and its steps; leave out --inversion",
    ),
    "budget of steps": (["photo.jpg", "older", "--budget", "5s", "--steps", "5"], 2, "--steps"),
    "no time": (["photo.jpg", "older", "--budget", "soon"], 2, "expected a time such as 5s, 2m"),
    "region of a seed": (["7", "older", "--region", "hair"], 2, "--region: is for a face in a"),
    "detail of a code": (["c.npy", "older", "--detail", "0.5"], 2, "--detail: is for a face in a"),
    "crop of tedi's": (["a.png", "older", "--crop"], 2, "--crop: is for a face in a photo"),
    "face of a seed": (["7", "older", "--face", "2"], 2, "--face: chooses among those of a photo"),
    "face of one": (
        ["photo.jpg", "older", "--face", "2", "--no-align"],
        2,
        "or pass --inversion fspace, which takes a face as it lies",
    ),
    "two codes": (["two.png", "older", "--out", "b.jpg"], 2, "hold the codes of photo and sketch"),
    "long strip": (
        ["7", "older", "--strip", "--strength", "0:2:62", "--out", "a.webp"],
        2,
        "WEBP holds 16,383 a side",
    ),
    "onto nothing": (["i.safetensors", "older", "--onto", "typo.jpg"], 1, "typo.jpg: no such file"),
    "face": (["photo.jpg", "older", "--face", "0"], 2, "expected largest, all or a number from 1"),
    "photo of a code": (["c.npy", "older", "--photo"], 2, "--photo: c.npy is a code"),
    "several edited": (["several.png", "older"], 2, "several.png: several faces were edited"),
    "sheet": (["sheet.png", "older"], 2, "sheet.png: shows several faces"),
    "strip": (["strip.png", "older"], 2, "strip.png: shows several faces"),
    "no start": (["startless.png", "older"], 2, "startless.png: its record does not say what code"),
    "other slots": (["18.npy", "older"], 2, "expected a code (8,) or (16, 8) or (1, 16, 8), got"),
    "not a number": (["nan.npy", "older"], 1, "nan.npy: expected finite real numbers"),
    "object": (["object.npy", "older"], 1, "object.npy: cannot be read as a code"),
    "pickle": (["bad.pt", "older"], 1, "bad.pt: cannot be read as a code"),
    "no ws": (["w.safetensors", "older"], 1, "'ws', the file holds other"),
    "strengths": (["7", "older", "--strength", "1,2"], 2, "pass --strip"),
    "range": (["7", "older", "--strength", "0:1:3"], 2, "pass --strip"),
    "three for two": (["7", "a", "b", "--strength", "1,1,1"], 2, "3 numbers for 2 texts"),
    "negative": (["7", "older", "--strength", "-1"], 2, "expected 0 to 10"),
    "too strong": (["7", "older", "--strength", "0:11:3"], 2, "expected 0 to 10"),
    "nonsense": (["7", "older", "--strength", "much"], 2, "expected 1, 0.5,1 or 0:2:5"),
    "nan": (["7", "older", "--strength", "nan"], 2, "expected 0 to 10"),
    "method": (["7", "older", "--method", "magic"], 2, "magic"),
    "code suffix": (["7", "older", "--save-code", "a.npy"], 2, "expected a .safetensors file"),
    "seed of a code": (["c.npy", "older", "--out", "{seed}.png"], 2, "c.npy has no seed"),
    "out suffix": (["7", "older", "--out", "a.gif"], 2, "unknown picture suffix"),
}


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A folder with files of which most are no face."""
    folder, model = tmp_path_factory.mktemp("strange"), parts()
    picture = Image.new("RGB", (8, 8))
    picture.save(folder / "photo.jpg")
    made = model.record_of("a smiling woman", 0)
    images.save(picture, folder / "a.png", made)
    images.save(picture, folder / "sheet.png", made | {"seed": None, "seeds": [0, 1]})
    given = {"content": {}, "mix": "photo=fine,sketch=coarse", "variety": 1.0}
    two = made | given | {"codes": {"photo": "", "sketch": ""}}
    images.save(picture, folder / "two.png", two)
    inverted = {"command": "invert", "alignment": None, "sha256": "0" * 64}
    codes.save(folder / "i.safetensors", torch.zeros(16, WIDTH), json.dumps(inverted))
    edited = edit_record(model, {"seed": 7, "psi": 0.7}, [Step("older", 1.0, "default")])
    images.save(picture, folder / "e.png", edited)
    several = edited | {"start": {"faces": [edited["start"]] * 2}}
    images.save(picture, folder / "several.png", several)
    images.save(picture, folder / "strip.png", edited | {"strip": ["before", "older"]})
    startless = {name: value for name, value in edited.items() if name != "start"}
    images.save(picture, folder / "startless.png", startless)
    for name, code in {"c": np.zeros(WIDTH), "18": np.zeros((18, WIDTH))}.items():
        np.save(folder / f"{name}.npy", code)
    np.save(folder / "nan.npy", np.full(WIDTH, np.nan))
    np.save(folder / "object.npy", np.array([{"ws": 1}], dtype=object), allow_pickle=True)
    torch.save(Path("x"), folder / "bad.pt")
    save_file({"other": torch.zeros(WIDTH)}, folder / "w.safetensors")
    return folder


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(tedi_, strange, monkeypatch, case):
    monkeypatch.chdir(strange)
    arguments, expected, says = WRONG[case]
    before = sorted(Path().iterdir())
    status, out, err = tedi_("edit", *arguments)
    assert (status, out) == (expected, [])
    assert err.count("\n") == 1, err
    assert err.startswith("tedi: ")
    assert says in err
    assert sorted(Path().iterdir()) == before


def test_other_weights_are_named(tedi_, model):
    tedi_("edit", 7, "older", "--out", "a.png")
    model.weights = {"tiny": "1" * 64}
    status, _, err = tedi_("edit", "a.png", "grinning")
    assert status == 1
    assert "a.png: made with other weights (tiny: 00000000, here 11111111)" in err
    assert "--anyway" in err
    assert tedi_("edit", "a.png", "grinning", "--anyway")[0] == 0


def test_another_preview_head_changes_no_code(tedi_, model):
    model.weights["mobilestylegan-ffhq-preview"] = "2" * 64
    tedi_("edit", 7, "older", "--out", "a.png")
    model.weights["mobilestylegan-ffhq-preview"] = "3" * 64
    assert tedi_("edit", "a.png", "grinning")[0] == 0


DAMAGE = {
    "seed": {"start": {"seed": "7", "psi": 0.7}},
    "large seed": {"start": {"seed": 2**32, "psi": 0.7}},
    "no psi": {"start": {"seed": 7}},
    "psi": {"start": {"seed": 7, "psi": float(10**9)}},
    "start": {"start": 7},
    "method": {"edits": [{"text": "older", "strength": 1, "method": "os:system"}]},
    "strength": {"edits": [{"text": "older", "strength": "1", "method": "default"}]},
    "text": {"edits": [{"text": "", "strength": 1, "method": "default"}]},
    "edits": {"edits": 5},
    "weights": {"weights": None},
    "base64": {"start": {"code": "c", "sha256": "0", "ws": "no base64!"}},
    "length": {"start": {"code": "c", "sha256": "0", "ws": base64.b64encode(b"1234").decode()}},
    "nan": {
        "start": {
            "code": "c",
            "sha256": "0",
            "ws": base64.b64encode(np.full(WIDTH, np.nan, "<f4").tobytes()).decode(),
        }
    },
}


@pytest.mark.parametrize("case", DAMAGE)
def test_records_of_strangers_are_checked(tedi_, model, case):
    tedi_("edit", 7, "older", "--out", "a.png")
    record = read_provenance("a.png") | DAMAGE[case]
    images.save(Image.new("RGB", (8, 8)), "b.png", record)
    status, out, err = tedi_("edit", "b.png", "grinning")
    assert (status, out) == (1, [])
    assert re.fullmatch(r"tedi: b\.png: .*record.*\n", err)


# --- parts ---------------------------------------------------------------------------------------


def test_strengths():
    convert = StrengthsType().convert
    assert convert("1", None, None) == ([1], False)
    assert convert("0.5, 2", None, None) == ([0.5, 2], False)
    assert convert("0:2:5", None, None) == ([0, 0.5, 1, 1.5, 2], True)


def test_codes_come_back_as_they_were(tmp_path):
    ws = torch.randn(SLOTS, WIDTH)
    codes.save(tmp_path / "a.safetensors", ws, "{}")
    assert torch.equal(codes.load(tmp_path / "a.safetensors", slots=SLOTS, width=WIDTH), ws)
    with pytest.raises(TediError, match="already exists"):
        codes.save(tmp_path / "a.safetensors", ws, "{}")
    with pytest.raises(UsageError, match=r"saved as \.safetensors"):
        codes.save(tmp_path / "a.pt", ws, "{}")
    with pytest.raises(UsageError, match=r"expected a code as \.safetensors"):
        codes.load(tmp_path / "a.txt", slots=SLOTS, width=WIDTH)


def test_methods_are_those_of_the_table():
    choices = {p.name: p.type for p in command.params}["method"].choices
    assert list(choices) == list(EDITS)


def examples():
    return re.findall(r"^tedi .*$", inspect.cleandoc(str(command.help)), re.MULTILINE)


def test_help_examples_run_in_their_order(tedi_):
    assert len(examples()) >= 3
    for example in examples():
        if ".jpg" in example:  # photos need the real networks: tests/test_photos.py
            continue
        example = example.replace("hat", "bangs").replace("less smile", "smiling")
        example = example.replace("smile more", "grinning")  # words that the encoder here knows
        status, out, err = tedi_(*shlex.split(example)[1:])
        assert (status, err, len(out)) == (0, "", 1), example


def test_help_fits_a_terminal(tedi_):
    status, out, _ = tedi_("edit", "--help")
    assert status == 0
    assert max(map(len, out)) <= 80
    for parameter in command.params:
        for flag in parameter.opts if parameter.param_type_name == "option" else ():
            assert flag in "\n".join(out)


# --- photos whose inversion is chosen ------------------------------------------------------------


@pytest.fixture
def tunes(model, monkeypatch):
    """The best program is pivotal tuning; photos are read by tiny parts."""
    parts = {"encoder": TinyEncoder(), "identity": describe, "features": Features}
    vars(model.photos).update(parts | {"detector": detect})
    rungs = (programs.ENCODER, programs.TUNING)
    program = replace(programs.PROGRAMS["best"], rungs=rungs, perceptual=0.0)
    monkeypatch.setitem(programs.PROGRAMS, "best", program)
    monkeypatch.setattr("tedi.cli.redo._load", lambda **_: model)


def test_a_plan_may_tune_a_generator_to_one_face(tedi_, tunes):
    asked = ("edit", photo(), "older", "--crop", "--quality", "best", "--json")
    status, [line], err = tedi_(*asked, "--out", "b.png")
    told = json.loads(line)
    assert status == 0, err
    assert [rung["method"] for rung in told["plan"]["rungs"]] == ["encoder", "pti"]
    start = read_provenance("b.png")["start"]
    assert (start["inversion"], start["generator"]["file"]) == ("pti", "b-generator.safetensors")
    assert Path("b-generator.safetensors").is_file()


def test_a_plan_tunes_none_where_it_could_not_be_drawn_again(tedi_, tunes):
    asked = ("edit", photo("two.png", faces=2), "older", "--quality", "best")
    status, _, err = tedi_(*asked, "--out", "b.png", "--recipe", "b.yaml")
    assert (status, "a generator of the face's own is not wanted" in err) == (0, True)
    assert read_provenance("b.png")["start"]["inversion"] == "encoder"
    assert tedi_("run", "b.yaml", "--photo", "two.png", "--out", "again.png")[0] == 0
    assert pixels("b.png") == pixels("again.png")
    status, _, err = tedi_(*asked, "--face", "all", "--out", "c.png")
    assert (status, err.count("not wanted")) == (0, 2)
    assert not list(Path().glob("*-generator.safetensors"))


@pytest.mark.parametrize("inversion", ["pti", "fspace"])
def test_generators_of_several_faces_are_refused_before_they_are_sought(
    tedi_, tunes, monkeypatch, inversion
):
    monkeypatch.setattr("tedi.cli.edit.start_of", lambda *_: pytest.fail("was inverted"))
    asked = ("edit", photo("two.png", faces=2), "older", "--face", "all", "--out", "b.png")
    status, _, err = tedi_(*asked, "--inversion", inversion)
    assert (status, f"--inversion {inversion}: of one face" in err) == (2, True)
