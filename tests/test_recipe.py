"""Recipes and `tedi run`: pictures made again bit for bit, and what is refused."""

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from test_edit import parts

from tedi import control, images, recipe
from tedi.cli import run
from tedi.cli.faces import Step, edit_record
from tedi.cli.photos import PhotoSettings, put_together
from tedi.cli.recipes import placed_told, seeds_told
from tedi.errors import TediError, UsageError
from tedi.faces import Alignment, align
from tedi.images import read_provenance
from tedi.latents import pack
from tedi.pipeline import weights_of
from tedi.pipeline.photos import Photo

SMILE = "a smiling woman"


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

    for command in ("edit", "generate", "redo"):
        monkeypatch.setattr(importlib.import_module(f"tedi.cli.{command}"), "_load", load)
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


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


# --- made again ----------------------------------------------------------------------------------

MADE = {
    "png": ["generate", SMILE, "--seed", 5, "--out", "a.png"],
    "jpg": ["generate", SMILE, "--seed", 5, "--out", "a.jpg", "--psi", "0.4"],
    "webp preview": ["generate", SMILE, "--out", "a.webp", "--preview", "--strength", "0.5"],
    "method": ["generate", SMILE, "--out", "a.png", "--method", "linear"],
    "compiled": ["generate", SMILE, "--out", "a.png", "--compile"],
    "not understood": ["generate", "a red car", "--out", "a.png", "--anyway"],
    "grid": ["generate", SMILE, "-n", 5, "--grid", "--out", "a.png"],
    "grid of prompts": [
        "generate",
        "--prompts",
        "p.txt",
        "--seed",
        "3,1",
        "--grid",
        "--out",
        "a.png",
    ],
    "edit": ["edit", 7, "older", "with glasses", "--strength", "0.5,2", "--out", "a.png"],
    "edit preview": ["edit", 7, "older", "--psi", "0.3", "--preview", "--out", "a.jpg"],
    "edit a picture": ["edit", "first.png", "older", "--out", "a.png"],
    "edit an edit": ["edit", "second.jpg", "grinning", "--method", "linear", "--out", "a.png"],
    "edit a code": ["edit", "c.npy", "older", "--out", "a.png"],
    "nothing changed": ["edit", "second.jpg", "--undo", 1, "--out", "a.png"],
}


@pytest.fixture
def before(tedi_, model):
    """Files that edits begin at."""
    Path("p.txt").write_text("a smiling woman\nbangs\n")
    tedi_("generate", SMILE, "--out", "first.png", "--seed", 3)
    tedi_("edit", "first.png", "older", "--out", "second.jpg")
    np.save("c.npy", control.style_codes(model.generator, [4], psi=1.0)[0].numpy())


@pytest.mark.parametrize("case", MADE)
@pytest.mark.parametrize("form", ["picture", "yaml", "json"])
def test_a_picture_is_made_again_bit_for_bit(tedi_, model, before, case, form):
    status, [path], err = tedi_(*MADE[case])
    assert status == 0, err
    source = path
    if form != "picture":
        _, lines, _ = tedi_("run", path, "--dry-run", *(["--json"] if form == "json" else []))
        source = f"recipe.{form}"
        Path(source).write_text("\n".join(lines))
    for name in ("first.png", "second.jpg", "c.npy", "p.txt"):
        Path(name).unlink()  # a recipe needs nothing else
    status, out, err = tedi_("run", source, "--out", f"again/{path}")
    assert (status, out) == (0, [f"again/{path}"]), err
    assert Path(out[0]).read_bytes() == Path(path).read_bytes()
    assert model.loaded[-1]["compiled"] is (case == "compiled")


@pytest.mark.parametrize("name", ["r.yaml", "r.json"])
@pytest.mark.parametrize("grid", [(), ("--grid",)], ids=["pictures", "grid"])
def test_a_run_of_several_pictures_is_made_again(tedi_, before, name, grid):
    arguments = ["--prompts", "p.txt", "-n", 3, "--batch-size", 2, "--psi", "0.9", "--recipe", name]
    out = "once/a.jpg" if grid else "once/{prompt}{seed}.jpg"
    status, made, err = tedi_("generate", *arguments, *grid, "--out", out)
    assert (status, len(made)) == (0, 1 if grid else 6), err
    status, again, _ = tedi_("run", name, "--out", out.replace("once", "again"))
    assert (status, len(again)) == (0, len(made))
    assert bytes_of("again") == bytes_of("once")


def test_a_run_that_goes_on_leaves_its_recipe(tedi_, before):
    arguments = ["generate", "--prompts", "p.txt", "--out", "faces", "--recipe", "r.yaml"]
    assert tedi_(*arguments)[0] == tedi_(*arguments)[0] == 0
    status, _, err = tedi_(*arguments[:3], "--out", "others", "--recipe", "r.yaml", "--psi", "0.1")
    assert (status, "r.yaml: already exists" in err) == (1, True)


def test_names(tedi_, model):
    tedi_("generate", SMILE, "-n", 2, "--out", "a-{seed}.jpg", "--recipe", "two.yaml")
    assert tedi_("run", "a-0.jpg")[1] == ["a-0-2.jpg"]
    assert tedi_("run", "a-0.jpg", "--out", "d/")[1] == ["d/a-0.jpg"]
    assert tedi_("run", "two.yaml", "--out", "d")[1] == [
        f"d/a-smiling-woman-seed{s}.jpg" for s in (0, 1)
    ]
    assert tedi_("run", "a-0.jpg", "--out", "{prompt}{seed}.jpg")[1] == ["a-smiling-woman0.jpg"]
    loaded = len(model.loaded)
    status, out, err = tedi_("run", "a-0.jpg", "--out", "a-0.jpg")
    assert (status, out, len(model.loaded)) == (1, [], loaded)
    assert "--overwrite" in err
    assert tedi_("run", "a-0.jpg", "--out", "a-0.jpg", "--overwrite")[:2] == (0, ["a-0.jpg"])


def test_json_and_device(tedi_, model):
    tedi_("generate", SMILE, "--out", "a.png")
    _, [line], _ = tedi_("run", "a.png", "--json", "--device", "cpu", "--out", "b.png")
    told = json.loads(line)
    assert (told.pop("path"), told.pop("unheard")) == ("b.png", [])
    assert told == read_provenance("b.png") == read_provenance("a.png")
    assert model.loaded[-1] == {"device": "cpu", "dtype": "float32", "compiled": False}


def test_a_recipe_by_hand_may_leave_out_defaults(tedi_):
    Path("r.yaml").write_text("command: generate\nprompts: [a smiling woman]\nseeds: 2-3\n")
    status, out, _ = tedi_("run", "r.yaml", "--out", "{seed}.png")
    assert (status, out) == (0, ["2.png", "3.png"])
    tedi_("generate", SMILE, "--seed", 3, "--out", "a.png")
    assert Path("3.png").read_bytes() == Path("a.png").read_bytes()
    Path("r.yaml").write_text("{command: generate, prompts: [a red car]}")
    status, out, err = tedi_("run", "r.yaml")
    assert (status, out, "nothing of 'a red car'" in err) == (2, [], True)


def test_a_strip_is_made_again_from_its_columns(tedi_):
    tedi_("edit", 7, "older", "--strength", "0.5,1", "--strip", "--out", "a.png")
    record = read_provenance("a.png")
    columns = [[], [record["edits"][0] | {"strength": 0.5}], record["edits"]]
    Path("r.json").write_text(json.dumps(record | {"columns": columns}))
    assert tedi_("run", "r.json", "--out", "b.png")[0] == 0
    assert np.array_equal(Image.open("a.png"), Image.open("b.png"))


def test_a_face_between_two_is_made_again(tedi_, model, monkeypatch):
    morph = importlib.import_module("tedi.cli.morph")
    monkeypatch.setattr(morph, "_load", lambda **options: model)
    tedi_("morph", 3, 7, "--at", "0.3", "--out", "a.png", "--preview")
    tedi_("edit", "a.png", "older", "--out", "b.png")
    for path in ("a.png", "b.png"):
        status, [again], err = tedi_("run", path, "--out", f"again/{path}")
        assert status == 0, err
        assert Path(again).read_bytes() == Path(path).read_bytes()


def test_seeds_are_told_briefly():
    assert seeds_told(range(2**32)) == "0-4294967295"


# --- photos --------------------------------------------------------------------------------------

QUAD = [[8, 8], [8, 39], [39, 39], [39, 8]]


@pytest.fixture
def placed(model):
    """An edited "photo" as `tedi edit` makes it, and the photo; the face is a drawn one."""
    scene = Image.effect_noise((48, 48), 60).convert("RGB")
    scene.save("scene.png")
    alignment = Alignment.of(QUAD, scene)
    photo = Photo("scene.png", scene, align(scene, alignment.quad, size=1024), alignment)
    ws = control.style_codes(model.generator, [5], psi=0.7)
    pictures = [model.pictures(ws), model.pictures(model.edit(ws[0], "older")[0].ws[None])]
    settings = PhotoSettings(detail=0.5)
    picture = put_together(model, [photo], *pictures, settings)
    sha = placed_told(Path("scene.png"), (), (), detail=0.5, crop=False)["sha256"]
    start = {"photo": "scene.png", "sha256": sha, "inversion": "encoder"}
    start |= {"alignment": alignment.to_dict(), "ws": pack(ws[0])}
    record = edit_record(model, start, [Step("older", 1.0, "default")])
    placed = placed_told(Path("scene.png"), (), (), detail=0.5, crop=False)
    images.save(picture, "edited.png", record | {"placed": placed})
    images.save(picture, "old.png", record)


def test_an_edited_photo_needs_its_photo(tedi_, placed):
    status, out, err = tedi_("run", "edited.png")
    assert (status, out) == (2, [])
    assert "edited.png: is of a photo, scene.png; pass it as --photo FILE" in err
    Image.new("RGB", (48, 48)).save("other.png")
    status, _, err = tedi_("run", "edited.png", "--photo", "other.png")
    assert (status, "other.png: is not the photo of edited.png" in err) == (1, True)
    assert tedi_("run", "edited.png", "--photo", "none.png")[0] == 1
    status, [path], _ = tedi_("run", "edited.png", "--photo", "scene.png", "--out", "again.png")
    assert status == 0
    assert np.array_equal(Image.open(path), Image.open("edited.png"))
    status, _, err = tedi_("run", "old.png", "--photo", "scene.png")
    assert (status, "old.png: placed: is missing" in err) == (2, True)


# --- what is refused -----------------------------------------------------------------------------

WRONG = {
    "no file": ("none.yaml", None, "none.yaml: no such file"),
    "suffix": ("r.txt", "command: generate", "r.txt: no picture tedi can read"),
    "no mapping": ("r.yaml", "- 1", "r.yaml: expected settings by name"),
    "no command": ("r.yaml", "prompts: [a]", "setting 'command' is missing"),
    "command": ("r.yaml", "command: generat", "did you mean 'generate'?"),
    "command a list": ("r.yaml", "command: [edit]", "unknown command of a recipe"),
    "key": ("r.yaml", "{command: generate, prompts: [a], sedes: 3}", "did you mean 'seeds'?"),
    "key twice": ("r.yaml", "command: edit\ncommand: generate", "'command' is given twice"),
    "key twice in json": ("r.json", '{"command": "edit", "command": "edit"}', "given twice"),
    "object": ("r.yaml", "!!python/object/apply:os.getcwd []", "no recipe in YAML or JSON"),
    "bomb": ("r.json", "[" * 100_000, "no recipe in YAML or JSON"),
    "unhashable": ("r.yaml", "{[1]: 2}", "no recipe in YAML or JSON"),
    "binary": ("r.yaml", b"\xff\xfe\x00", "no recipe in YAML or JSON"),
    "no prompts": ("r.yaml", "{command: generate, seeds: 3}", "setting 'prompts' is missing"),
    "empty prompts": ("r.yaml", "{command: generate, prompts: []}", "prompts: expected one"),
    "prompt a number": ("r.yaml", "{command: generate, prompts: [3]}", "expected texts, got 3"),
    "blank prompt": ("r.yaml", '{command: generate, prompts: [" "]}', "prompt: expected words"),
    "two prompts": ("r.yaml", "{command: generate, prompt: a, prompts: [b]}", "disagree"),
    "psi": ("r.yaml", "{command: generate, prompts: [a], psi: 3}", "psi: expected 0 to 2, got 3"),
    "psi nan": ("r.yaml", "{command: generate, prompts: [a], psi: .nan}", "psi: expected 0 to 2"),
    "psi a text": ("r.yaml", "{command: generate, prompts: [a], psi: big}", "expected float"),
    "method": ("r.yaml", "{command: generate, prompts: [a], method: linaer}", "'linear'?"),
    "dtype": ("r.yaml", "{command: generate, prompts: [a], dtype: int8}", "unknown dtype 'int8'"),
    "seeds": ("r.yaml", "{command: generate, prompts: [a], seeds: 5-2}", "expected rising seeds"),
    "seed negative": ("r.yaml", "{command: generate, prompts: [a], seeds: -2}", "got -2"),
    "seed true": ("r.yaml", "{command: generate, prompts: [a], seeds: [true]}", "[True]"),
    "no seeds": ("r.yaml", "{command: generate, prompts: [a], seeds: []}", "seeds: expected one"),
    "batch": ("r.yaml", "{command: generate, prompts: [a], batch_size: 0}", "1 to 1024, got 0"),
    "file suffix": ("r.yaml", "{command: generate, prompts: [a], suffix: .gif}", "'.gif'"),
    "weights": ("r.yaml", "{command: generate, prompts: [a], weights: {a: 3}}", "the sha256"),
    "no start": ("r.yaml", "command: edit", "setting 'start' is missing"),
    "start": ("r.yaml", "{command: edit, start: {sede: 3}}", "start: expected seed and psi"),
    "start key": ("r.yaml", "{command: edit, start: {seed: 3, psi: 0.7, psy: 1}}", "'psi'?"),
    "start several": ("r.yaml", "{command: edit, start: {faces: []}}", "several faces"),
    "edits": ("r.yaml", "{command: edit, start: {seed: 3, psi: 1}, edits: [older]}", "edits: "),
    "edit key": (
        "r.yaml",
        "{command: edit, start: {seed: 3, psi: 1}, edits: [{text: older, strenth: 1}]}",
        "did you mean 'strength'?",
    ),
    "edit strength": (
        "r.yaml",
        "{command: edit, start: {seed: 3, psi: 1}, edits: [{text: older, strength: 11}]}",
        "strength: expected 0 to 10, got 11",
    ),
    "strip": ("r.yaml", "{command: edit, start: {seed: 3, psi: 1}, strip: [a]}", "columns: "),
    "placed": ("r.yaml", "{command: edit, start: {seed: 3, psi: 1}, placed: {fil: a}}", "'file'?"),
    "no context": (
        "r.yaml",
        "{command: diffuse, start: {photo: a, sha256: b, inversion: c, ws: d, alignment: null}, "
        "placed: {file: a, sha256: b, before: [], regions: [hair], detail: 1, crop: false}}",
        "placed, context: a face in a photo needs both",
    ),
    "context of none": (
        "r.yaml",
        "{command: diffuse, start: {seed: 3, psi: 1}, context: abc}",
        "placed, context: a face in a photo needs both",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(tedi_, model, case):
    name, text, says = WRONG[case]
    if text is not None:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    status, out, err = tedi_("run", name)
    assert (status in (1, 2), out, err.count("\n")) == (True, [], 1), err
    assert re.match(rf"tedi: {re.escape(name)}: ", err)
    assert says in err
    assert len(err) < 400
    assert model.loaded == []


def test_a_picture_of_others_is_refused(tedi_):
    Image.new("RGB", (8, 8)).save("a.png")
    status, _, err = tedi_("run", "a.png")
    assert (status, "a.png: holds no recipe" in err) == (1, True)


def test_a_photo_that_nothing_needs_is_refused(tedi_):
    tedi_("generate", SMILE, "--out", "a.png")
    status, _, err = tedi_("run", "a.png", "--photo", "a.png")
    assert (status, "--photo: a.png needs none" in err) == (2, True)


def test_other_weights_are_refused_unless_asked_for(tedi_, model):
    tedi_("generate", SMILE, "--out", "a.png")
    model.weights = {"tiny": "1" * 64}
    status, out, err = tedi_("run", "a.png", "--out", "b.png")
    assert (status, out) == (1, [])
    assert "a.png: made with other weights (tiny: 00000000, here 11111111)" in err
    assert tedi_("run", "a.png", "--out", "b.png", "--anyway")[0] == 0
    weights = {"tiny": "1" * 64} | weights_of(["default"])
    assert read_provenance("b.png")["weights"] == weights


def test_another_preview_head_matters_to_previews_only(tedi_, model):
    model.weights["mobilestylegan-ffhq-preview"] = "2" * 64
    tedi_("generate", SMILE, "--out", "full.png")
    tedi_("generate", SMILE, "--out", "preview.png", "--preview")
    model.weights["mobilestylegan-ffhq-preview"] = "3" * 64
    assert tedi_("run", "full.png", "--out", "a.png")[0] == 0
    assert tedi_("run", "preview.png", "--out", "b.png")[0] == 1


def test_a_code_put_into_a_photo_tells_no_place(tedi_, placed):
    record = read_provenance("edited.png")
    record["start"] = {"code": "c.npy", "sha256": "0", "ws": record["start"]["ws"]}
    images.save(Image.open("edited.png"), "onto.png", record)
    status, _, err = tedi_("run", "onto.png", "--photo", "scene.png")
    assert (status, "onto.png: start: tells no place in the photo" in err) == (2, True)


def test_another_version_is_told(tedi_):
    tedi_("generate", SMILE, "--out", "a.png")
    record = read_provenance("a.png") | {"version": "0.0.1"}
    Path("r.yaml").write_text(yaml.safe_dump(record))
    status, _, err = tedi_("run", "r.yaml")
    assert status == 0
    assert "made by tedi 0.0.1" in err


@pytest.mark.parametrize("name", ["r.txt", "r.png"])
def test_a_recipe_has_a_suffix(tedi_, model, name):
    status, _, err = tedi_("generate", SMILE, "--recipe", name)
    assert (status, model.loaded) == (2, [])
    assert "--recipe: expected a name in .yaml, .yml, .json" in err


def test_recipes_come_back_as_they_were(tmp_path):
    told = {"command": "generate", "prompts": ["ä: “b”\u2028c", "no"], "psi": 1e-7, "seeds": "0-7"}
    first = recipe.recipe_of(told, "here")
    for name in ("a.yaml", "a.json"):
        recipe.write(first, tmp_path / name)
        recipe.write(first, tmp_path / name)  # the same again
        assert recipe.read(tmp_path / name) == first
        with pytest.raises(TediError, match="already exists"):
            recipe.write(recipe.recipe_of(told | {"psi": 1.0}, "here"), tmp_path / name)
    with pytest.raises(UsageError, match="--recipe: expected"):
        recipe.write(first, tmp_path / "a.txt")


# --- beside recipes ------------------------------------------------------------------------------


def test_prompts_are_all_read_before_any_is_drawn(tedi_, model):
    Path("p.txt").write_text("# people\na smiling woman\n\na red car\n")
    arguments = ["generate", "--prompts", "p.txt", "--out", "faces"]
    for more in ([], ["--grid", "--out", "sheet.png"]):
        status, out, err = tedi_(*arguments, *more)
        assert (status, out) == (2, [])
        assert err.startswith("tedi: p.txt, line 4: nothing of 'a red car' is about a face")
        assert not Path("faces").exists()
    assert len(tedi_(*arguments, "--anyway")[1]) == 2


def test_what_python_edited_can_be_edited_and_made_again(tedi_, model):
    ws = control.style_codes(model.generator, [7], psi=0.7)[0]
    one, two = model.edit(ws, ["older", "grinning"], strength=[1, 0.5], method="linear")
    one.save("one.png")
    two.save("two.png")
    status, [path], _ = tedi_(
        "edit", "one.png", "grinning", "--strength", 0.5, "--method", "linear"
    )
    assert status == 0
    assert np.array_equal(Image.open(path), two.picture)
    tedi_("run", "two.png", "--out", "again.png")
    assert Path("again.png").read_bytes() == Path("two.png").read_bytes()
