"""`tedi invert` as a person meets it, on tiny parts and made-up photos."""

import importlib
import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_editing import maps
from test_inversion import TinyEncoder, describe
from tiny import toolkit

from tedi import images, zoo
from tedi.checkpoints import codes
from tedi.cli import run
from tedi.cli.budget import Budget
from tedi.cli.invert import PICTURES
from tedi.cli.invert import invert as command
from tedi.errors import TediError, UsageError
from tedi.faces import Alignment, Detected
from tedi.inversion import INVERTERS

INVERT = importlib.import_module("tedi.cli.invert")
FRONT = np.array([(0.375, 0.47), (0.625, 0.47), (0.5, 0.62), (0.4, 0.735), (0.6, 0.735)])


class Features:
    """Stands for the attribute model."""

    maps = staticmethod(maps)


def detect(pixels):
    """A face in each 200 px square of the photo that is not black, largest first: the left one."""
    faces = []
    for left in range(0, pixels.shape[1] - 199, 200):
        if pixels[:200, left : left + 200].any():
            points = FRONT * (200 - 20 * len(faces)) + (left, 0)
            faces.append(Detected((left, 0, left + 200, 200), 0.99, points))
    return faces


@pytest.fixture
def model():
    tiny = toolkit()
    counted = TinyEncoder()
    parts = {"encoder": counted, "identity": describe, "features": Features, "detector": detect}
    vars(tiny.photos).update(parts)
    return tiny


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tedi_(capsys, model, monkeypatch):
    """Runs a command; gives exit status, lines of stdout, and stderr."""
    model.loaded = []

    def load(**options):
        model.loaded.append(options)
        return model

    monkeypatch.setattr(INVERT, "_load", load)

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def photo(path="a.png", faces=1, seed=0):
    """A photo of made-up faces; none is all black."""
    random = np.random.default_rng(seed)
    small = random.integers(1, 255, (5, 5 * max(faces, 1), 3), np.uint8) * (faces > 0)
    picture = Image.fromarray(small.astype(np.uint8))
    Path(path).parent.mkdir(exist_ok=True)
    picture.resize((200 * max(faces, 1), 200), Image.Resampling.BICUBIC).save(path)
    return path


def files():
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


# --- what is made --------------------------------------------------------------------------------


def test_a_photo_gives_a_code_with_its_record(tedi_, model):
    status, out, err = tedi_("invert", photo("holiday.png"))
    assert (status, out, err) == (0, ["holiday.safetensors"], "")
    [face] = model.photos.open("holiday.png")
    inversion = model.photos.invert(face)
    assert torch.equal(codes.load(Path(out[0]), slots=16, width=8), inversion.ws[0])
    record = codes.load_record(Path(out[0]))
    assert (record["command"], record["inversion"]) == ("invert", "encoder")
    assert (record["photo"], record["face"]) == ("holiday.png", "largest")
    assert record["sha256"] == zoo.sha256(Path("holiday.png"))
    assert Alignment.from_dict(record["alignment"]) == face.alignment
    figures = {name: float(value[0]) for name, value in inversion.extras["figures"].items()}
    assert record["figures"] == {
        "mse": pytest.approx(figures["pixel"], rel=1e-4),
        "perceptual": pytest.approx(figures["perceptual"], rel=1e-4),
        "identity_distance": pytest.approx(figures["identity"] ** 0.5, rel=1e-4),
    }
    assert model.loaded == [{"device": "auto", "dtype": "float32", "compiled": False}]


@pytest.mark.parametrize("method", list(INVERTERS))
def test_every_method_can_be_chosen(tedi_, model, method):
    steps = [] if method == "encoder" else ["--steps", 5, "--finish", 2]
    status, [path], _ = tedi_("invert", photo(), "--method", method, *steps)
    record = codes.load_record(Path(path))
    assert (status, record["inversion"]) == (0, method)
    assert record["steps"] == (7 if steps else 0)
    assert record["settings"].get("steps") == (5 if steps else None)
    settings = INVERT.options_of(method, **({"steps": 5, "finish": 2} if steps else {}))
    expected = model.photos.invert(model.photos.open("a.png")[0], method=method, options=settings)
    assert torch.equal(codes.load(Path(path), slots=16, width=8), expected.ws[0])


def test_optimisation_comes_nearer_than_the_encoder(tedi_):
    photo()
    errors = []
    for method, more in (("encoder", []), ("optimize", ["--steps", 60])):
        out = f"{method}.safetensors"
        tedi_("invert", "a.png", "--method", method, "--out", out, *more)
        errors.append(codes.load_record(Path(out))["figures"]["perceptual"])
    assert errors[1] < 0.9 * errors[0]


def test_faces_of_a_photo(tedi_):
    photo("two.png", faces=2)
    assert tedi_("invert", "two.png")[1] == ["two.safetensors"]
    _, out, _ = tedi_("invert", "two.png", "--face", "all")
    assert out == ["two-face1.safetensors", "two-face2.safetensors"]
    _, [second], _ = tedi_("invert", "two.png", "--face", 2, "--out", "b.safetensors")
    assert second == "b.safetensors"
    assert tedi_("invert", "two.png", "--face", 2)[1] == ["two-face2.safetensors"]
    first, last, alone = (codes.load_record(Path(name)) for name in (*out, second))
    assert [record["face"] for record in (first, last, alone)] == [1, 2, 2]
    assert first["alignment"] != last["alignment"] == alone["alignment"]
    assert tedi_("invert", "two.png", "--face", 3)[::2] == (
        2,
        "tedi: --face 3: two.png has 2 faces\n",
    )


def test_an_aligned_photo_is_taken_as_it_is(tedi_):
    _, [path], _ = tedi_("invert", photo(), "--no-align")
    assert codes.load_record(Path(path))["alignment"] is None
    status, _, err = tedi_("invert", photo("wide.png", faces=2), "--no-align")
    assert (status, err) == (
        2,
        "tedi: wide.png: expected a square of an aligned face, got 400 x 200\n",
    )


@pytest.mark.parametrize(("options", "side"), [([], 512), (["--preview"], 256)])
def test_photo_and_inversion_are_shown_beside_each_other(tedi_, options, side):
    status, out, _ = tedi_("invert", photo("b.png"), "--out", "made", "--show", *options)
    assert (status, out) == (0, ["made/b.safetensors", "made/b-inversion.png"])
    sheet = Image.open(out[1])
    assert sheet.width > 2 * side > sheet.height - side
    record = images.read_provenance(out[1])
    assert record["shows"] == ["photo", "encoder"]
    assert record["sha256"] == zoo.sha256(Path("b.png"))


def test_the_photo_is_never_shown_over(tedi_):
    before = Path(photo("face.png")).read_bytes()
    for more in ([], ["--overwrite"]):
        status, out, _ = tedi_("invert", "face.png", "--show", *more)
        assert (status, out) == (0, ["face.safetensors", "face-inversion.png"])
    assert Path("face.png").read_bytes() == before


def test_json_tells_paths_and_records(tedi_):
    _, [line], _ = tedi_("invert", photo(), "--json", "--show", "--out", "made")
    told = json.loads(line)
    assert (told.pop("path"), told.pop("show")) == ("made/a.safetensors", "made/a-inversion.png")
    assert told == codes.load_record(Path("made/a.safetensors"))


@pytest.mark.parametrize("method", ["pti", "fspace"])
def test_the_published_schedule_is_taken_and_changed(tedi_, method, monkeypatch):
    asked = []

    def stop(self, target, on_step):
        asked.append(self.options)
        raise TediError("asked")

    monkeypatch.setattr(INVERTERS[method], "__call__", stop)
    call = ("invert", photo(), "--method", method, "--preset")
    assert tedi_(*call, "published", "--set", "lr=1e-2", "--finish", 3)[2].endswith("tedi: asked\n")
    assert tedi_(*call, "fast")[2].endswith("tedi: asked\n")
    published = importlib.import_module(INVERTERS[method].__module__).PUBLISHED
    assert asked == [replace(published, lr=0.01, finish=3), INVERTERS[method].defaults]


def test_any_setting_is_changed_and_recorded(tedi_):
    call = ("invert", photo(), "--method", "optimize", "--steps", 2, "--set", "perceptual=0.5")
    status, [path], _ = tedi_(*call, "--set", "space=w", "--set", "finish=1")
    record = codes.load_record(Path(path))
    assert (status, record["steps"]) == (0, 3)
    wanted = {"perceptual": 0.5, "space": "w", "steps": 2, "finish": 1}
    assert record["settings"].items() >= wanted.items()
    assert codes.load(Path(path), slots=16, width=8).unique(dim=0).shape == (1, 8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--method", "optimize", "--preset", "published"], "--preset: optimize has none; exp"),
        (["--set", "lr=1"], "--set: encoder takes none; pass --method optimize"),
        (["--method", "pti", "--set", "lrr=1"], "--set: unknown setting 'lrr'; did you mean 'lr'"),
        (["--method", "pti", "--set", "lr"], "--set: expected NAME=VALUE, got 'lr'"),
        (["--method", "pti", "--set", "steps=1.5"], "--set: steps: expected int, got 1.5"),
        (["--method", "pti", "--set", "lr=-1"], "--set: lr: expected 0 or more, got -1"),
        (["--method", "pti", "--set", "pivot=w"], "--set: pivot: expected one of encoder, opt"),
        (["--method", "restyle", "--set", "steps=a"], "--set: steps: expected int, got 'a'"),
        (["--method", "pti", "--steps", 2, "--set", "steps=1"], "--set: steps is given by --st"),
        (["--quality", "good", "--set", "lr=1"], "--quality: chooses the method and its steps; l"),
        (["--budget", "9s", "--preset", "fast"], "--budget: chooses the method and its steps; l"),
    ],
)
def test_settings_that_are_refused(tedi_, model, options, says):
    status, out, err = tedi_("invert", photo(), *options)
    assert (status, out, model.loaded) == (2, [], [])
    assert err.startswith(f"tedi: {says}")


TOGETHER = ("--method", "pti", "--together", "--steps", 3, "--finish", 1, "--out", "codes")
SHARED = Path("codes/together-generator.safetensors")


def test_photos_of_one_person_share_a_generator(tedi_, model):
    """A code for each, drawn by one file; those that are there are not made again."""
    given = [photo(f"in/{number}.png", seed=number) for number in range(3)]
    status, out, err = tedi_("invert", *given, *TOGETHER, "--show", "--json")
    assert status == 0, err
    told = [json.loads(line) for line in out]
    assert [each["path"] for each in told] == [f"codes/{n}.safetensors" for n in range(3)]
    assert {each["generator"]["file"] for each in told} == {SHARED.name}
    assert len(list(Path("codes").glob("*-generator.safetensors"))) == 1
    photos = [model.photos.open(path)[0] for path in given]
    options = INVERT.options_of("pti", steps=3, finish=1)
    found = model.photos.tune(photos, options=options)
    tuned = model.load_generator(SHARED)
    for row, each in enumerate(told):
        ws = codes.load(Path(each["path"]), slots=16, width=8)
        assert torch.equal(ws, found.ws[row])
        drawn = tuned.synthesis(ws[None])
        torch.testing.assert_close(drawn, found.generator.synthesis(ws[None]), rtol=0, atol=0.01)
        figure = float(found.extras["figures"]["pixel"][row])
        assert each["figures"]["mse"] == pytest.approx(figure, rel=1e-4)
    alone = model.photos.invert(photos[0], method="pti", options=options)
    assert not torch.equal(alone.generator.synthesis(ws[None]), found.generator.synthesis(ws[None]))
    seen = model.photos.encoder.seen
    assert tedi_("invert", *given, *TOGETHER)[:2] == (0, [each["path"] for each in told])
    assert model.photos.encoder.seen == seen


def test_one_of_several_that_is_gone_is_made_again_as_it_was(tedi_, model):
    given = [photo(f"in/{number}.png", seed=number) for number in range(2)]
    tedi_("invert", *given, *TOGETHER)
    paths = [Path(f"codes/{number}.safetensors") for number in range(2)]
    before = [codes.load(path, slots=16, width=8) for path in paths]
    tuned = model.load_generator(SHARED).state_dict()
    paths[1].unlink()
    assert tedi_("invert", *given, *TOGETHER)[0] == 0
    for path, ws in zip(paths, before, strict=True):
        assert torch.equal(codes.load(path, slots=16, width=8), ws)
        assert codes.load_record(path)["generator"]["sha256"] == zoo.sha256(SHARED)
    again = model.load_generator(SHARED).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in tuned.items())
    record = codes.load_record(paths[0])
    stopped = record | {"generator": record["generator"] | {"sha256": "0" * 64}}
    codes.save(paths[0], before[0], json.dumps(stopped), exist="overwrite")
    assert tedi_("invert", *given, *TOGETHER)[0] == 0
    assert codes.load_record(paths[0])["generator"]["sha256"] == zoo.sha256(SHARED)
    status, _, err = tedi_("invert", *given, photo("in/2.png", seed=2), *TOGETHER)
    assert status == 1
    assert "codes/0.safetensors: exists and is another code; pass --overwrite or --out" in err
    others = [photo(f"others/{name}.png", seed=7) for name in "ab"]
    status, _, err = tedi_("invert", *others, *TOGETHER)
    assert status == 1
    assert "codes/together-generator.safetensors: already exists" in err


def test_a_photo_by_the_name_of_the_shared_generator_is_refused(tedi_):
    given = photo("a.png"), photo("together-generator.png", seed=1)
    status, _, err = tedi_("invert", *given, *TOGETHER)
    assert status == 2
    assert "codes/together-generator.safetensors: is the generator's name; rename" in err


def test_no_photo_cannot_be_tuned_to(model):
    with pytest.raises(UsageError, match="photos: expected one or more, got none"):
        model.photos.tune([])


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_is_gone_through_and_taken_up_again(tedi_, model):
    for number in range(3):
        photo(f"in/{number}.png", seed=number)
    Path("in/notes.txt").write_text("no picture")
    Path("in/4.png.part").write_bytes(b"")
    status, out, _ = tedi_("invert", "in", "--out", "codes")
    assert (status, out) == (0, [f"codes/{number}.safetensors" for number in range(3)])
    before = {path: (Path(path).read_bytes(), Path(path).stat().st_mtime_ns) for path in out}
    Path(out[1]).unlink()
    seen = model.photos.encoder.seen
    status, again, _ = tedi_("invert", "in", "--out", "codes")
    assert (status, again) == (0, out)
    assert model.photos.encoder.seen == seen + 1  # only what was missing
    assert {path: Path(path).read_bytes() for path in out} == {p: b for p, (b, _) in before.items()}
    assert all(Path(out[n]).stat().st_mtime_ns == before[out[n]][1] for n in (0, 2))


def test_faces_of_all_are_taken_up_again_one_by_one(tedi_, model):
    _, out, _ = tedi_("invert", photo(faces=2), "--face", "all")
    Path(out[1]).unlink()
    seen = model.photos.encoder.seen
    assert tedi_("invert", "a.png", "--face", "all")[:2] == (0, out)
    assert model.photos.encoder.seen == seen + 1


@pytest.mark.parametrize(
    "change",
    [["--method", "image2stylegan", "--steps", 2], ["--no-align"], "photo", "weights", "no record"],
    ids=str,
)
def test_a_code_made_otherwise_is_kept(tedi_, change, monkeypatch):
    _, [path], _ = tedi_("invert", photo())
    if change == "photo":
        photo(seed=5)
    if change in ("weights", "no record"):
        record = codes.load_record(Path(path)) | {"weights": {"visual": "1" * 64}}
        text = json.dumps(record) if change == "weights" else ""
        codes.save(Path(path), torch.zeros(16, 8), text, exist="overwrite")
        entry = type("Entry", (), {"sha256": "2" * 64})
        monkeypatch.setattr(zoo, "ZOO", {"visual": entry})
    before = Path(path).read_bytes()
    options = change if isinstance(change, list) else []
    status, out, err = tedi_("invert", "a.png", *options)
    assert (status, out) == (1, [])
    assert re.match(r"tedi: a.safetensors: (exists and is another code|already exists); pass", err)
    assert Path(path).read_bytes() == before
    status, out, _ = tedi_("invert", "a.png", *options, "--overwrite")
    assert (status, out) == (0, [path])
    assert Path(path).read_bytes() != before


@pytest.mark.parametrize(("before", "after"), [("1", ""), ("", "1"), ("1", "2")])
def test_a_code_by_another_encoder_file_is_kept(tedi_, model, before, after):
    """Of one that looks again with the same generator, or of none."""

    def give(digit):
        model.photos.given = {"looks.safetensors": 64 * digit} if digit else {}
        model.photos.weights = dict(model.photos.given)

    give(before)
    _, [path], _ = tedi_("invert", photo())
    assert tedi_("invert", "a.png")[:2] == (0, [path])
    give(after)
    status, out, err = tedi_("invert", "a.png")
    assert (status, out) == (1, [])
    assert err.startswith("tedi: a.safetensors: exists and is another code; pass")


def test_what_is_to_be_shown_is_made_for_a_code_that_is_there(tedi_):
    tedi_("invert", photo("b.png"), "--out", "made")
    status, out, _ = tedi_("invert", "b.png", "--out", "made", "--show")
    assert (status, out) == (0, ["made/b.safetensors", "made/b-inversion.png"])
    assert Path(out[1]).is_file()


def test_a_photo_that_fails_does_not_stop_the_others(tedi_):
    photo("in/a.png")
    photo("in/b.png", faces=0)
    Path("in/c.jpg").write_bytes(b"no picture")
    photo("in/d.png", seed=1)
    status, out, err = tedi_("invert", "in", "gone.png", "--out", "codes")
    assert (status, out) == (1, ["codes/a.safetensors", "codes/d.safetensors"])
    *lines, last = [line for line in err.splitlines() if "photo/s" not in line]
    assert lines[0].startswith("b.png: no face found")
    assert lines[1].startswith("in/c.jpg: ")
    assert lines[2] == "gone.png: no such file"
    assert last == "tedi: 3 of 5 photos could not be inverted"
    assert files() == [
        "codes/a.safetensors",
        "codes/d.safetensors",
        *sorted(map(str, Path("in").iterdir())),
    ]


def test_stopping_keeps_what_is_finished(tedi_, model, monkeypatch):
    for number in range(3):
        photo(f"in/{number}.png", seed=number)
    invert = model.photos.invert

    def stop(face, **options):
        if face.name == "1.png":
            raise KeyboardInterrupt
        return invert(face, **options)

    monkeypatch.setattr(model.photos, "invert", stop)
    assert tedi_("invert", "in")[0] == 130
    assert Path("0.safetensors").is_file()
    assert not Path("2.safetensors").exists()


def test_photos_of_one_stem_are_told_apart(tedi_):
    photo("in/a.png")
    Image.open("in/a.png").save("in/a.webp")
    _, out, _ = tedi_("invert", "in")
    assert out == ["a.png.safetensors", "a.webp.safetensors"]
    shutil.copytree("in", "other")
    status, _, err = tedi_("invert", "in", "other")
    assert status == 2
    assert err == "tedi: a.png: two photos of this name; invert them into two folders\n"
    assert tedi_("invert", "in/a.png", "in/a.png", "--overwrite")[1] == ["a.safetensors"]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["gone.png"], 1, "gone.png: no such file"),
        (["empty"], 2, "empty: holds no picture; expected .avif"),
        (["a.png", "--steps", 5], 2, "--steps: encoder takes none; pass --method optimize"),
        (["a.png", "--finish", 5], 2, "--finish: encoder takes none; pass --method optimize"),
        *(
            (
                ["a.png", "--method", method, "--dtype", "bfloat16"],
                2,
                f"--dtype bfloat16: {method} works in float32; leave it out",
            )
            for method in ("fspace", "pti", "restyle")
        ),
        (["a.png", "--out", "a.jpg"], 2, "--out: expected a folder or a .safetensors file, got"),
        (["a.png", "b.png", "--out", "c.safetensors"], 2, "--out: 2 photos need a folder, got"),
        (
            ["a.png", "--face", "all", "--out", "c.safetensors"],
            2,
            "--out: --face all needs a folder",
        ),
        (
            ["a.png", "--no-align", "--face", "all"],
            2,
            "--face: with --no-align encoder takes a photo for one aligned face and looks for "
            "none; leave out one of them, or pass --method fspace, which takes a face as it lies",
        ),
        (
            ["a.png", "b.png", "--together"],
            2,
            "--together: one generator is tuned to all photos; p",
        ),
        (["a.png", "--together", "--method", "pti"], 2, "--together: expected two photos or more"),
        (["a.png", "--quality", "best", "--together"], 2, "--together: one generator is tuned to"),
        (
            ["a.png", "b.png", "--together", "--method", "pti", "--face", "all"],
            2,
            "--together: is for one person; leave out --face all",
        ),
        (["a.png", "no.png", "--together", "--method", "pti"], 1, "no.png: no such file"),
        (["a.png", "--face", "0"], 2, "expected largest, all or a number from 1, got '0'"),
        (["a.png", "--method", "ptl"], 2, "'ptl' is not one of"),
        ([], 2, "Missing argument 'PHOTOS...'"),
    ],
    ids=str,
)
def test_wrong_calls_are_one_line_before_anything_is_loaded(tedi_, model, options, status, says):
    Path("empty").mkdir()
    photo()
    photo("b.png")
    found, out, err = tedi_("invert", *options)
    assert (found, out) == (status, [])
    assert says in err
    assert err.startswith("tedi: ")
    assert err.count("\n") == 1
    assert model.loaded == []


def test_help_shows_commands_that_run(tedi_):
    lines = [line.strip() for line in (command.help or "").splitlines()]
    shown = [line for line in lines if line.startswith("tedi invert ")]
    assert len(shown) >= 4
    photo("photo.jpg")
    photo("group.jpg", faces=2)
    photo("me.jpg")
    photo("me2.jpg", seed=1)
    photo("holiday/x.jpg")
    for number, line in enumerate(shown):
        (Path() / str(number)).mkdir()
        more = ["--steps", "2"] if "--method" in line else []
        more += ["--out", str(number)] if "--out" not in line else []
        status, out, err = tedi_(*shlex.split(line)[1:], *more)
        assert (status, bool(out)) == (0, True), (line, err)


def test_what_is_taken_from_folders_can_be_read():
    assert {".png", ".jpg", ".jpeg", ".webp"} <= PICTURES
    assert all(suffix in Image.registered_extensions() for suffix in PICTURES - {".avif", ".jp2"})


@pytest.mark.parametrize("method", ["pti", "fspace"])
def test_a_generator_of_ones_own_lies_beside_the_code_and_draws_it(tedi_, model, method):
    steps = ["--steps", 5, "--finish", 2]
    path, _ = tedi_("invert", photo(), "--method", method, *steps, "--show")[1]
    record = codes.load_record(Path(path))
    assert record["generator"]["file"] == "a-generator.safetensors"
    assert record["generator"]["sha256"] == zoo.sha256(Path("a-generator.safetensors"))
    own = model.load_generator(Path("a-generator.safetensors"))
    ws = codes.load(Path(path), slots=16, width=8)[None]
    assert not torch.allclose(own.synthesis(ws), model.generator.synthesis(ws), atol=1e-3)
    assert tedi_("invert", photo(), "--method", method, *steps)[1] == [path]
    Path("a-generator.safetensors").unlink()
    tedi_("invert", photo(), "--method", method, *steps)
    assert Path("a-generator.safetensors").is_file()


# --- by quality and time -------------------------------------------------------------------------


def test_a_plan_says_what_it_chose_and_why(tedi_, model):
    status, [path], err = tedi_("invert", photo(), "--quality", "good")
    record = codes.load_record(Path(path))
    plan = record["plan"]
    assert (status, record["quality"], record["budget"]) == (0, "good", None)
    assert err.splitlines()[-1].endswith(plan["why"])
    assert f"{record['inversion']} is chosen" in plan["why"]
    assert [one["method"] for one in plan["rungs"]] == [
        line.split(":")[0] for line in err.splitlines()
    ]
    chosen = [one for one in plan["rungs"] if one["method"] == record["inversion"]]
    told = record["figures"] | {"identity": record["figures"]["identity_distance"]}
    for name in ("identity", "perceptual"):
        assert told[name] in [pytest.approx(one["figures"][name], rel=1e-4) for one in chosen]
    alone = model.photos.invert(model.photos.open("a.png")[0])
    assert plan["rungs"][0]["figures"]["pixel"] == pytest.approx(
        float(alone.extras["figures"]["pixel"][0]), rel=1e-4
    )


def test_a_budget_bounds_the_time_and_best_may_tune(tedi_, model):
    status, [path], err = tedi_("invert", photo(), "--budget", "1.5min", "--show", "--json")
    told = json.loads(path)
    assert (status, told["budget"], told["quality"]) == (0, 90.0, None)
    assert "s of 90 s left)" in err
    record = codes.load_record(Path(told["path"]))
    assert {name: told[name] for name in record} == record
    assert images.read_provenance(told["show"])["shows"] == ["photo", record["inversion"]]
    assert ("generator" in record) == Path("a-generator.safetensors").is_file()


def test_faces_that_are_planned_are_taken_up_again(tedi_, model):
    photo("two.png", faces=2)
    asked = ("invert", "two.png", "--face", "all", "--quality", "fast")
    status, out, err = tedi_(*asked)
    assert (status, out) == (0, ["two-face1.safetensors", "two-face2.safetensors"])
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["two-face1", "encoder"],
        ["two-face2", "encoder"],
    ]
    seen = model.photos.encoder.seen
    assert tedi_(*asked) == (0, out, "")
    assert model.photos.encoder.seen == seen
    for other in (["--quality", "good"], ["--budget", "5s"], [], ["--method", "optimize"]):
        status, _, err = tedi_("invert", "two.png", "--face", "all", *other)
        assert (status, "exists and is another code" in err) == (1, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--quality", "good", "--method", "encoder"],
            "--quality: chooses the method and its steps; leave out --method",
        ),
        (
            ["--budget", "5s", "--steps", 5],
            "--budget: chooses the method and its steps; leave out --steps",
        ),
        (["--budget", "5s", "--finish", 5], "leave out --finish"),
        (["--quality", "god"], "'god' is not one of"),
        (["--budget", "soon"], "expected a time such as 5s, 2m or 1.5min, got 'soon'"),
        (["--budget", "5x"], "expected a time such as 5s, 2m or 1.5min, got '5x'"),
        (["--budget", "-5s"], "expected a time such as"),
        (["--budget", "0s"], "expected more than 0s and at most 24h, got '0s'"),
        (["--budget", "25h"], "expected more than 0s and at most 24h, got '25h'"),
    ],
    ids=str,
)
def test_a_plan_that_cannot_be_is_one_line(tedi_, model, options, says):
    status, out, err = tedi_("invert", photo(), *options)
    assert (status, out, model.loaded) == (2, [], [])
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5", 5), ("5s", 5), (" 2 M ", 120), ("1.5min", 90), (".5h", 1800), ("24h", 86400)],
)
def test_times(text, seconds):
    assert Budget().convert(text, None, None) == seconds
