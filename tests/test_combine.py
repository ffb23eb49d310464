"""`tedi morph`, `tedi mix` and `tedi diffuse` as a person meets them, on tiny parts."""

import importlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_inversion import TinyEncoder, describe
from test_invert import Features, detect, files, photo
from tiny import TinyGenerator, toolkit

from tedi import control, images
from tedi.checkpoints import codes
from tedi.cli import run
from tedi.cli.diffuse import diffuse as diffuse_command
from tedi.cli.diffuse import inner_mask
from tedi.cli.mix import GROUPS
from tedi.cli.mix import mix as mix_command
from tedi.cli.morph import morph as morph_command
from tedi.errors import UsageError
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.images import read_provenance
from tedi.inversion.optimize import InversionOptions
from tedi.latents import interpolate

INVERT = importlib.import_module("tedi.cli.invert")
SLOTS, WIDTH = 16, 8
SETTINGS = {"faces", "start", "edits", "command", "preview", "dtype", "version", "weights"}
COMMANDS = {"morph": morph_command, "mix": mix_command, "diffuse": diffuse_command}


class Grouped(TinyGenerator):
    """Its slots are grouped as those of the real generator."""

    def layers(self, group):
        return MobileStyleGAN.layers(None, group)


class LeftHalf:
    """Sees skin in the left half of every picture, background in the other."""

    def labels(self, image):
        found = torch.zeros(len(image), *image.shape[-2:], dtype=torch.uint8)
        found[..., : image.shape[-1] // 2] = 1
        return found


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model():
    tiny = toolkit(Grouped())
    parts = {"encoder": TinyEncoder(), "identity": describe, "features": Features}
    vars(tiny.photos).update(parts | {"detector": detect, "parser": LeftHalf()})
    return tiny


@pytest.fixture
def tedi_(capsys, model, monkeypatch):
    """Runs a command; gives exit status, lines of stdout, and stderr."""
    model.loaded = []

    def load(**options):
        model.loaded.append(options)
        return model

    for name in ("edit", "redo", *COMMANDS):
        monkeypatch.setattr(importlib.import_module(f"tedi.cli.{name}"), "_load", load)

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def code(path):
    return codes.load(Path(path), slots=SLOTS, width=WIDTH)


def seed(model, number, psi=0.7):
    return control.style_codes(model.generator, [number], psi=psi)[0]


def drawn(model, ws):
    return np.asarray(model.pictures(ws[None])[0])


def pixels(path):
    return np.asarray(images.load(path))


# --- morph ---------------------------------------------------------------------------------------


def test_a_share_of_the_way(tedi_, model):
    how = ["--at", 0.25, "--save-code", "c.safetensors"]
    status, out, _ = tedi_("morph", 3, 7, *how)
    assert (status, out) == (0, ["seed3-to-seed7.png", "c.safetensors"])
    expected = torch.lerp(seed(model, 3), seed(model, 7), 0.25)
    assert torch.equal(code("c.safetensors"), expected)
    assert np.array_equal(pixels(out[0]), drawn(model, expected))
    record = read_provenance(out[0])
    assert set(record) == SETTINGS | {"share"}
    assert (record["command"], record["share"], record["preview"]) == ("morph", 0.25, False)
    assert [face["start"] for face in record["faces"]] == [
        {"seed": number, "psi": 0.7} for number in (3, 7)
    ]


@pytest.mark.parametrize(("at", "end"), [(0, 3), (1, 7)])
def test_the_ends_are_the_faces(tedi_, model, at, end):
    tedi_("morph", 3, 7, "--at", at, "--out", "a.png", "--save-code", "c.safetensors")
    assert torch.equal(code("c.safetensors"), seed(model, end))


def test_files_by_a_pattern(tedi_, model):
    status, out, _ = tedi_("morph", 3, 7, "--steps", 3, "--out", "f/{index:02d}.png")
    assert (status, out) == (0, ["f/00.png", "f/01.png", "f/02.png"])
    way = interpolate(seed(model, 3), seed(model, 7), 3)
    for path, ws, share in zip(out, way, (0, 0.5, 1), strict=True):
        assert np.array_equal(pixels(path), drawn(model, ws))
        assert read_provenance(path)["share"] == share


@pytest.mark.parametrize(("options", "count"), [([], 7), (["--steps", 3], 3)])
def test_a_row(tedi_, options, count):
    status, out, _ = tedi_("morph", 3, 7, *options)
    assert (status, out) == (0, ["seed3-to-seed7.png"])
    record = read_provenance(out[0])
    assert (len(record["strip"]), record["steps"]) == (count, count)
    width, height = Image.open(out[0]).size
    assert width // 264 == count
    assert height < 2 * 264
    status, _, err = tedi_("edit", out[0], "older")
    assert (status, "shows several faces" in err) == (2, True)


# --- mix -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [None, "coarse", "fine,medium", "coarse,medium,fine"])
def test_layers_come_from_the_style_and_the_others_stay(tedi_, model, layers):
    chosen = ["--layers", layers] if layers else []
    _, [path, _], _ = tedi_("mix", 3, 7, *chosen, "--save-code", "c.safetensors")
    groups = [group for group in GROUPS if group in (layers or "fine")]
    taken = [slot for group in groups for slot in model.generator.layers(group)]
    made = code("c.safetensors")
    for slot in range(SLOTS):
        giver = 7 if slot in taken else 3
        assert torch.equal(made[slot], seed(model, giver)[slot]), slot
    record = read_provenance(path)
    assert set(record) == SETTINGS | {"layers"}
    assert record["layers"] == groups
    assert path == f"seed3-{'-'.join(groups)}-seed7.png"


def test_a_picture_for_each_style(tedi_):
    status, out, _ = tedi_("mix", 3, 7, 8, "--json")
    told = [json.loads(line) for line in out]
    assert status == 0
    assert [one["path"] for one in told] == ["seed3-fine-seed7.png", "seed3-fine-seed8.png"]
    assert [one["faces"][1]["start"]["seed"] for one in told] == [7, 8]
    assert all("ws" not in one["start"] for one in told)  # no page of digits
    assert not np.array_equal(*(pixels(one["path"]) for one in told))
    assert tedi_("mix", 3, 7, 7)[1] == ["seed3-fine-seed7-2.png", "seed3-fine-seed7-3.png"]
    assert tedi_("mix", 3, 7, 8, "--out", "{index}.jpg")[1] == ["0.jpg", "1.jpg"]


def test_a_sheet_of_styles(tedi_):
    status, out, _ = tedi_("mix", 3, 7, 8, "--grid", "--out", "sheet.png")
    assert (status, out, files()) == (0, ["sheet.png"], ["sheet.png"])
    width, height = Image.open("sheet.png").size
    assert (width // 264, height // 264) == (3, 2)
    record = read_provenance("sheet.png")
    assert [face["start"]["seed"] for face in record["faces"]] == [3, 7, 8]
    status, _, err = tedi_("morph", 3, "sheet.png")
    assert (status, "shows several faces" in err) == (2, True)


# --- diffuse -------------------------------------------------------------------------------------


def difference(image, target, mask):
    return float(((image - target).square() * mask).sum() / mask.sum() / 3)


def preview(model, ws):
    return torch.nn.functional.interpolate(
        images.to_image(drawn(model, ws)[None]), (256, 256), mode="bilinear"
    )


def test_the_region_becomes_the_targets(tedi_, model):
    how = ["--steps", 40, "--save-code", "c.safetensors"]
    status, out, err = tedi_("diffuse", 3, 7, *how)
    assert (status, out) == (0, ["seed3-in-seed7.png", "c.safetensors"]), err
    target, context = (preview(model, seed(model, n)) for n in (3, 7))
    made = preview(model, code("c.safetensors"))
    mask = inner_mask()
    assert difference(made, target, mask) < 0.1 * difference(context, target, mask)
    assert np.array_equal(pixels(out[0]), drawn(model, code("c.safetensors")))
    record = read_provenance(out[0])
    assert set(record) == SETTINGS | {"region", "options", "steps"}
    assert (record["region"], record["options"]["steps"]) == (["inner"], 40)


def test_diffusion_in_python_gives_the_same(tedi_, model):
    photo("a.png")
    photo("b.png", seed=1)
    how = ["--steps", 3, "--save-code", "c.safetensors"]
    status, _, err = tedi_("diffuse", "a.png", "b.png", *how)
    assert status == 0, err
    [[target], [context]] = (model.photos.open(name) for name in ("a.png", "b.png"))
    options, steps = InversionOptions(steps=3), []
    found = model.photos.diffuse(
        target, context, inner_mask(), options=options, on_step=lambda *told: steps.append(told)
    )
    assert torch.equal(found.ws[0], code("c.safetensors"))
    assert steps
    with pytest.raises(UsageError, match="mask: expected"):
        model.photos.diffuse(target, context, torch.ones(256, 256))


def test_a_named_region(tedi_, model):
    """Skin is the left half here: only there is the target asked for."""
    how = ["--region", "skin", "--steps", 40, "--save-code", "c.safetensors"]
    status, [path, _], err = tedi_("diffuse", 3, 7, *how)
    assert status == 0, err
    assert read_provenance(path)["region"] == ["skin"]
    half = torch.zeros(1, 1, 256, 256)
    half[..., :128] = 1
    target, made = preview(model, seed(model, 3)), preview(model, code("c.safetensors"))
    assert difference(made, target, half) < difference(made, target, 1 - half)


def test_a_region_that_the_target_lacks(tedi_):
    status, out, err = tedi_("diffuse", 3, 7, "--region", "hat,glasses", "--steps", 2)
    assert (status, out) == (2, [])
    assert err == "tedi: --region: TARGET shows no hat or glasses; name another\n"
    assert files() == []


def test_several_faces_fit_no_jpeg(tedi_, model, monkeypatch):
    photo("group.png", faces=2)
    monkeypatch.setattr(model.photos, "invert", lambda *_, **__: pytest.fail("went on"))
    status, out, err = tedi_("edit", "group.png", "older", "--face", "all", "--out", "g.jpg")
    assert (status, out) == (2, [])
    assert err == "tedi: --out: a JPEG cannot hold the codes of 2 faces; name .png or .webp\n"


def test_the_inner_square():
    mask = inner_mask()[0, 0]
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    assert (int(rows[0]), int(rows[-1])) == (90, 199)
    assert (int(columns[0]), int(columns[-1])) == (70, 179)
    assert mask.sum() == 110**2


def test_a_face_is_put_back_into_its_photo(tedi_):
    photo("group.png", faces=2)
    how = ["--face", 1, "--steps", 2, "--preview"]
    status, _, err = tedi_("diffuse", 3, "group.png", *how, "--out", "a.png")
    assert status == 0, err
    differs = (pixels("a.png") != pixels("group.png")).any(axis=2)
    assert differs.shape == (200, 400)
    assert differs[:, :200].any()
    assert not differs[:, 220:].any()
    start = read_provenance("a.png")["start"]
    assert (start["photo"], start["inversion"]) == ("group.png", "diffuse")
    tedi_("diffuse", 3, "group.png", *how, "--crop", "--out", "crop.png")
    crop = Image.open("crop.png")
    assert crop.width == crop.height
    status, _, err = tedi_("edit", "a.png", "older", "--anyway", "--preview", "--out", "b.png")
    assert status == 0, err
    assert Image.open("b.png").size == (400, 200)
    assert read_provenance("b.png")["start"] == start


def test_faces_are_chosen_one_by_one(tedi_, monkeypatch):
    module = importlib.import_module("tedi.cli.combine")
    seen, opened = [], module.open_photos
    monkeypatch.setattr(
        module, "open_photos", lambda *args: seen.append(args[2].which) or opened(*args)
    )
    photo("one.png")
    photo("group.png", faces=2)
    assert tedi_("morph", "one.png", "group.png", "--face", 1, "--face", 2, "--at", 0.5)[0] == 0
    assert tedi_("morph", "group.png", "group.png", "--face", 2, "--at", 0.5)[0] == 0
    assert tedi_("morph", "group.png", "one.png", "--at", 0.5)[0] == 0
    assert seen == [1, 2, 2, 2, "largest", "largest"]


# --- faces in, faces out -------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_command_goes_on_from_a_result(tedi_, command, suffix):
    how = {"morph": ["--at", 0.5], "mix": [], "diffuse": ["--steps", 2]}
    made, saved = f"a{suffix}", "a.safetensors"
    assert tedi_(command, 3, 7, *how[command], "--out", made, "--save-code", saved)[0] == 0
    for face, name in ((made, "b"), (saved, "c")):
        status, _, err = tedi_(
            *("edit", face, "older", "--anyway", "--out", f"{name}.png"),
            *("--save-code", f"{name}.safetensors"),
        )
        assert status == 0, err
    assert torch.equal(code("b.safetensors"), code("c.safetensors"))
    assert read_provenance("b.png")["start"]["made"] == command
    for other in COMMANDS:
        assert tedi_(other, "b.png", made, *how[other], "--out", f"{other}.png")[0] == 0
    faces = read_provenance("morph.png")["faces"]
    assert [len(face["edits"]) for face in faces] == [1, 0]
    assert faces[0]["file"] == "b.png"
    assert "ws" not in faces[0]["start"]


def test_every_kind_of_face(tedi_, model):
    np.save("c.npy", seed(model, 5).numpy())
    photo("p.png")
    tedi_("edit", 7, "older", "--anyway", "--out", "e.png", "--save-code", "e.safetensors")
    [face] = model.photos.open("p.png")
    known = {
        "5": seed(model, 5),
        "c.npy": seed(model, 5),
        "e.png": code("e.safetensors"),
        "p.png": model.photos.invert(face).ws[0],
    }
    for number, (name, ws) in enumerate(known.items()):
        saved = f"{number}.safetensors"
        status, _, err = tedi_("morph", name, 3, "--at", 0.5, "--save-code", saved)
        assert status == 0, err
        assert torch.equal(code(saved), torch.lerp(ws, seed(model, 3), 0.5)), name


def test_psi_is_for_seeds(tedi_, model):
    np.save("c.npy", seed(model, 5).numpy())
    how = ["--psi", 0.4, "--at", 0.5, "--save-code", "a.safetensors"]
    assert tedi_("morph", 3, "c.npy", *how)[0] == 0
    expected = torch.lerp(seed(model, 3, 0.4), seed(model, 5), 0.5)
    assert torch.equal(code("a.safetensors"), expected)


# --- recipes -------------------------------------------------------------------------------------

ONE = {"morph": ["--at", 0.25], "mix": ["--layers", "coarse"], "diffuse": ["--steps", 2]}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("recipe", ["r.yaml", "r.json"])
def test_a_recipe_makes_the_face_again_bit_for_bit(tedi_, command, recipe):
    photo("p.png")
    how = [*ONE[command], "--preview", "--recipe", recipe, "--out", "a.webp"]
    status, out, err = tedi_(command, "p.png", 7, *how)
    assert (status, out) == (0, ["a.webp"]), err
    Path("p.png").unlink()  # nothing else is needed
    for source in (recipe, "a.webp"):
        status, [path], err = tedi_("run", source, "--out", "again/")
        assert status == 0, err
        assert Path(path).read_bytes() == Path("a.webp").read_bytes()


PUT = {
    "all of it": ([], []),
    "crop": ([], ["--crop", "--preview"]),
    "second face": (["--face", 2], ["--detail", 0.5, "--preview"]),
    "aligned": (["--no-align"], ["--region", "skin", "--preview"]),
}


@pytest.mark.parametrize("case", PUT)
@pytest.mark.parametrize("edited", [False, True], ids=["photo", "edited"])
def test_a_face_is_put_into_its_photo_again(tedi_, case, edited):
    context = photo("group.png", faces=1 if case == "aligned" else 2)
    chosen, how = PUT[case]
    if edited:
        tedi_("edit", context, "older", "--anyway", *chosen, "--out", "edited.png")
        context, chosen = "edited.png", []
    how = ["--steps", 2, *chosen, *how]
    arguments = ["diffuse", 3, context, *how, "--recipe", "r.yaml", "--out", "a.png"]
    status, _, err = tedi_(*arguments)
    assert status == 0, err
    status, out, err = tedi_("run", "a.png", "--out", "b.png")
    assert (status, out) == (2, [])
    assert f"a.png: is of a photo, {context}; pass it as --photo FILE" in err
    for source in ("a.png", "r.yaml"):
        status, [path], err = tedi_("run", source, "--photo", context, "--out", "again/")
        assert status == 0, err
        assert Path(path).read_bytes() == Path("a.png").read_bytes()


def test_another_parser_is_refused_where_it_chose_what_is_put_back(tedi_):
    photo("p.png")
    for context, status in (("p.png", 1), (7, 0)):
        tedi_("diffuse", 3, context, "--steps", 2, "--out", "a.png", "--overwrite")
        told = read_provenance("a.png") | {"photo_weights": {"parser-lite0": "1" * 64}}
        Path("r.json").write_text(json.dumps(told))
        given = ["--photo", context] if status else []
        assert tedi_("run", "r.json", *given)[0] == status
        assert tedi_("run", "r.json", *given, "--anyway")[0] == 0


def test_lines_of_json_hold_no_codes(tedi_):
    photo("p.png")
    _, [line], _ = tedi_("diffuse", 3, "p.png", "--steps", 2, "--json", "--out", "a.png")
    told, record = json.loads(line), read_provenance("a.png")
    assert set(record) - set(told) == {"context"}
    assert set(record["start"]) - set(told["start"]) == {"ws"}


# --- what is refused, and files ------------------------------------------------------------------

WRONG = {
    "both": (["morph", 3, 7, "--at", 0.5, "--steps", 3], 2, "--at: gives one picture, --steps"),
    "code of a row": (["morph", 3, 7, "--save-code", "c.safetensors"], 2, "choose it with --at"),
    "recipe of a row": (["morph", 3, 7, "--recipe", "r.yaml"], 2, "--recipe: of one face; choose"),
    "recipe of several": (
        ["morph", 3, 7, "--out", "{index}.png", "--recipe", "r.yaml"],
        2,
        "--recipe: of one face; choose it with --at",
    ),
    "recipe of two": (["mix", 3, 7, 8, "--recipe", "r.yaml"], 2, "--recipe: of one face; give one"),
    "recipe of a sheet": (["mix", 3, 7, "--grid", "--recipe", "r.yaml"], 2, "and no --grid"),
    "recipe suffix": (["diffuse", 3, 7, "--recipe", "r.txt"], 2, "--recipe: expected a name in"),
    "recipe taken": (["mix", 3, 7, "--recipe", "there.yaml"], 1, "there.yaml: already exists"),
    "one step": (["morph", 3, 7, "--steps", 1], 2, "'--steps'"),
    "beyond": (["morph", 3, 7, "--at", 1.5], 2, "'--at'"),
    "one face": (["morph", 3], 2, "Missing argument 'B'"),
    "no face": (["morph", 3, "seven"], 2, "FACE: expected a seed"),
    "psi of none": (["morph", "c.npy", "c.npy", "--psi", 1], 2, "none of the faces is one"),
    "all faces": (["morph", 3, 7, "--face", "all"], 2, "expected one face of each photo"),
    "many faces": (["mix", 3, 7, *["--face", 1] * 3], 2, "expected it once or 2 times, got 3"),
    "seed": (["morph", 3, 7, "--out", "{seed}.png"], 2, "a morph has no seed"),
    "no style": (["mix", 3], 2, "STYLE"),
    "layers": (["mix", 3, 7, "--layers", "fien"], 2, "did you mean 'fine'?"),
    "one file": (["mix", 3, 7, 8, "--out", "a.png"], 2, "2 pictures need a folder or {index}"),
    "code of two": (["mix", 3, 7, 8, "--save-code", "c.safetensors"], 2, "give one STYLE"),
    "code suffix": (["mix", 3, 7, "--save-code", "c.npy"], 2, "expected a .safetensors file"),
    "region": (["diffuse", 3, 7, "--region", "elbow"], 2, "elbow"),
    "name taken": (["diffuse", 3, 7, "--out", "there.png"], 1, "there.png: already exists"),
    "crop of none": (["diffuse", "p.png", 7, "--crop"], 2, "--crop: is for a face in a photo, and"),
    "detail of none": (["diffuse", 3, 7, "--detail", 0.5], 2, "--detail: is for a face in a photo"),
    "codes of two": (
        ["diffuse", 3, "p.png", "--out", "us.jpg"],
        2,
        "--out: a JPEG cannot hold the codes of two faces; name .png or .webp",
    ),
    "long row": (["morph", 3, 7, "--steps", 62, "--out", "a.webp"], 2, "WEBP holds 16,383 a side"),
    "wide sheet": (["mix", 3, *[7] * 62, "--grid", "--out", "a.webp"], 2, "WEBP holds 16,383 a"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_before_anything_is_loaded(tedi_, model, case):
    arguments, expected, says = WRONG[case]
    np.save("c.npy", np.zeros(WIDTH))
    for name in ("there.png", "there.yaml"):
        Path(name).write_bytes(b"mine")
    photo("p.png")
    before = files()
    status, out, err = tedi_(*arguments)
    assert (status, out) == (expected, [])
    assert re.fullmatch(r"tedi: [^\n]*\n", err)
    assert says in err
    assert (files(), model.loaded) == (before, [])


def test_other_weights_are_named(tedi_, model):
    tedi_("morph", 3, 7, "--at", 0.5, "--out", "a.png")
    model.weights = {"tiny": "1" * 64}
    for command in COMMANDS:
        status, _, err = tedi_(command, 3, "a.png")
        assert (status, "a.png: made with other weights" in err) == (1, True)
    assert tedi_("mix", 3, "a.png", "--anyway")[0] == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_dry_run_makes_nothing(tedi_, model, command):
    status, [path], err = tedi_(command, 3, 7, "--dry-run")
    assert (status, err, files(), model.loaded) == (0, "", [], [])
    assert json.loads(tedi_(command, 3, 7, "--dry-run", "--json")[1][0]) == {"path": path}


def test_steps_of_a_diffusion_are_shown(tedi_, monkeypatch):
    bars, make = [], INVERT._bar

    def bar(total, unit, *, shown):
        bars.append((total, unit, shown))
        return make(total, unit, shown=False)

    monkeypatch.setattr(INVERT, "_bar", bar)
    tedi_("diffuse", 3, 7, "--steps", 5)
    assert bars == [(5 + 20, "step", True)]  # those on previews, and those of the finish


def test_help_shows_commands_that_run_in_their_order(tedi_):
    photo("photo.jpg")
    photo("me.jpg", seed=1)
    photo("film.jpg", seed=2)
    for command in COMMANDS.values():
        shown = re.findall(r"^ *(tedi .*)$", str(command.help), re.MULTILINE)
        assert len(shown) >= 4
        for example in shown:
            example = example.replace("--steps 100", "--steps 2").replace("eyes,brows", "skin")
            more = ["--steps", "2"] if example.startswith("tedi diffuse") else []
            more = ["--anyway"] if example.startswith("tedi edit") else more
            status, out, err = tedi_(*shlex.split(example)[1:], *more)
            assert (status, bool(out)) == (0, True), (example, err)
