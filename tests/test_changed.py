"""Faces drawn by a generator of their own, through the commands, on tiny parts."""

import importlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_inversion import TinyEncoder, describe
from test_invert import FRONT, Features, detect, photo
from tiny import toolkit

from tedi import images
from tedi.checkpoints import codes
from tedi.cli import run
from tedi.errors import TediError
from tedi.faces import Detected
from tedi.inversion import INVERTERS
from tedi.inversion.pti import PUBLISHED, TuningOptions

OWN = Path("a-generator.safetensors")


@pytest.fixture
def model(tmp_path, monkeypatch):
    tiny = toolkit()
    parts = {"encoder": TinyEncoder(), "identity": describe, "features": Features}
    vars(tiny.photos).update(parts | {"detector": detect})
    monkeypatch.chdir(tmp_path)
    for name in ("edit", "invert", "mix"):
        module = importlib.import_module(f"tedi.cli.{name}")
        monkeypatch.setattr(module, "_load", lambda **settings: tiny)
    return tiny


@pytest.fixture
def tedi_(model, capsys):
    def call(*arguments):
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize("method", ["pti", "fspace"])
def test_a_code_is_drawn_by_the_generator_beside_it(tedi_, model, method):
    tedi_("invert", photo(), "--method", method, "--steps", 5, "--finish", 2)
    done = tedi_("edit", "a.safetensors", "older", "--anyway", "--strength", 0, "--out", "b.png")
    assert done == (0, "")
    ws = codes.load(Path("a.safetensors"), slots=16, width=8)[None]
    by_its_own, plain = (
        np.asarray(model.pictures(ws, generator=generator)[0])
        for generator in (model.load_generator(OWN), None)
    )
    drawn = np.asarray(images.load("b.png"))
    assert (drawn == by_its_own).all()
    assert (drawn != plain).any()


@pytest.mark.parametrize("method", ["pti", "fspace"])
def test_an_edited_photo_keeps_its_generator_for_the_next_edit(tedi_, method):
    inverted = ("--inversion", method, "--steps", 5, "--crop", "--out", "b.png")
    assert tedi_("edit", photo(), "older", "--anyway", *inverted)[0] == 0
    told = images.read_provenance("b.png")["start"]["generator"]
    assert told["file"] == "b-generator.safetensors"
    again = ("edit", "b.png", "older", "--anyway", "--crop")
    assert tedi_(*again, "--out", "c.png")[0] == 0
    assert images.read_provenance("c.png")["start"]["generator"] == told
    status, err = tedi_("run", "b.png", "--photo", photo(), "--out", "e.png")
    assert status == 2
    assert "start: has a generator of its own; only tedi edit draws by it" in err
    Path("b-generator.safetensors").unlink()
    status, err = tedi_(*again, "--out", "d.png")
    assert status == 1
    assert "b-generator.safetensors: no such file; b.png is drawn by it" in err


@pytest.mark.parametrize("method", ["pti", "fspace"])
def test_a_number_format_that_steps_do_not_know_is_refused(tedi_, method):
    asked = ("edit", photo(), "older", "--anyway", "--dtype", "bfloat16", "--steps", 2)
    said = f"tedi: --dtype bfloat16: {method} works in float32; leave it out\n"
    assert tedi_(*asked, "--inversion", method, "--out", "b.png") == (2, said)
    assert not Path("b.png").exists()
    assert tedi_(*asked, "--inversion", "optimize", "--out", "b.png") == (0, "")


def test_the_inversion_of_an_edit_takes_any_setting(tedi_, monkeypatch):
    asked = []

    def stop(self, target, on_step):
        asked.append(self.options)
        raise TediError("asked")

    monkeypatch.setattr(INVERTERS["pti"], "__call__", stop)
    call = ("edit", photo(), "older", "--anyway", "--inversion", "pti", "--out", "b.png")
    changed = ("--steps", 2, "--set", "local=0.5", "--set", "finish=1")
    assert tedi_(*call, "--preset", "published", *changed) == (1, "tedi: asked\n")
    assert tedi_(*call, "--preset", "fast") == (1, "tedi: asked\n")
    assert asked == [replace(PUBLISHED, steps=2, local=0.5, finish=1), TuningOptions()]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "lr=1"], "--set: encoder takes none; pass --inversion optimize"),
        (["--preset", "fast"], "--preset: encoder has none; expected --inversion fspace or"),
        (["--inversion", "pti", "--set", "lrr=1"], "--set: unknown setting 'lrr'; did you mean"),
        (["--inversion", "pti", "--set", "lr=-1"], "--set: lr: expected 0 or more, got -1"),
        (["--inversion", "pti", "--set", "steps=1", "--steps", 2], "--set: steps is given by --st"),
        (["--quality", "good", "--set", "lr=1"], "--quality: chooses the method and its steps; l"),
        (["--quality", "good", "--preset", "fast"], "leave out --preset"),
    ],
    ids=str,
)
def test_settings_of_an_edit_that_are_refused(tedi_, options, says):
    status, err = tedi_("edit", photo(), "older", *options)
    assert (status, err.count("\n"), says in err) == (2, 1, True)


def test_where_only_one_generator_draws_such_codes_are_refused(tedi_):
    tedi_("invert", photo(), "--method", "pti", "--steps", 5, "--finish", 2)
    status, err = tedi_("mix", "a.safetensors", 7, "--out", "b.png")
    assert status == 2
    assert "a.safetensors: has a generator of its own; only tedi edit draws by it" in err
    status, err = tedi_("mix", "a.png", 7, "--inversion", "pti", "--out", "b.png")
    assert status == 2
    assert "--inversion pti: is for tedi invert and tedi edit" in err


# --- faces as they lie ---------------------------------------------------------------------------

TURN, MIDDLE, SIDE = math.radians(20), np.array([180.0, 90.0]), 140  # of the face in its photo


def detect_turned(pixels):
    """The face, wherever there is light: turned clockwise by 20°."""
    turn = np.array([[math.cos(TURN), math.sin(TURN)], [-math.sin(TURN), math.cos(TURN)]])
    points = (FRONT - 0.5) * SIDE @ turn + MIDDLE
    return [Detected((110, 20, 250, 160), 0.99, points)] if pixels.any() else []


@pytest.fixture
def turned(model):
    """A photo that is no square, of a turned face."""
    vars(model.photos)["detector"] = detect_turned
    small = np.random.default_rng(0).integers(1, 255, (6, 9, 3)).astype(np.uint8)
    Image.fromarray(small).resize((300, 200), Image.Resampling.BICUBIC).save("turned.png")
    return "turned.png"


def test_a_face_that_is_not_aligned_stays_turned_in_an_upright_square(model, turned):
    [aligned], [photo] = model.photos.open(turned), model.photos.open(turned, as_found=True)
    assert (aligned.as_found, photo.as_found) == (False, True)
    quad, straight = (np.array(one.alignment.quad) for one in (photo, aligned))
    across, turned_across = quad[3] - quad[0], straight[3] - straight[0]
    assert across[1] == 0
    assert math.atan2(turned_across[1], turned_across[0]) == pytest.approx(TURN)
    assert across[0] == pytest.approx(math.hypot(*turned_across))
    np.testing.assert_allclose(quad.mean(axis=0), straight.mean(axis=0))
    left, top, right, bottom = np.round([*(quad[0] + 0.5), *(quad[2] + 0.5)]).astype(int)
    inside = np.asarray(photo.picture)[top:bottom, left:right]
    seen = np.asarray(photo.crop.resize((right - left, bottom - top)))
    assert np.abs(seen.astype(int) - inside).mean() < 3
    square = photo.picture.crop((0, 0, 200, 200))
    [whole] = model.photos.open(square, as_found=True)
    assert (whole.alignment, whole.picture.size) == (None, (200, 200))


def test_a_turned_photo_is_inverted_as_it_lies(tedi_, model, turned):
    asked = ("invert", turned, "--method", "fspace", "--steps", 2, "--finish", 1)
    assert tedi_(*asked, "--no-align", "--show") == (0, "")
    record = codes.load_record(Path("turned.safetensors"))
    [photo] = model.photos.open(turned, as_found=True)
    assert record["align"] is False
    assert record["alignment"] == photo.alignment.to_dict()
    status, err = tedi_(*asked)
    assert (status, "exists and is another code" in err) == (1, True)
    put = ("edit", "turned.safetensors", "older", "--anyway", "--onto", turned, "--out", "on.png")
    assert tedi_(*put) == (0, "")
    assert images.load("on.png").size == (300, 200)


def test_an_edit_goes_back_by_the_same_square(tedi_, model, turned):
    asked = ("edit", turned, "older", "--anyway", "--detail", 0, "--inversion", "fspace")
    assert tedi_(*asked, "--steps", 2, "--no-align", "--out", "b.png") == (0, "")
    start = images.read_provenance("b.png")["start"]
    [photo] = model.photos.open(turned, as_found=True)
    assert (start["align"], start["alignment"]) == (False, photo.alignment.to_dict())
    before, after = (np.asarray(images.load(path)).astype(int) for path in (turned, "b.png"))
    assert after.shape == before.shape
    rows, columns = np.nonzero(np.abs(after - before).max(axis=2))
    (left, top), (right, bottom) = photo.alignment.quad[0], photo.alignment.quad[2]
    assert left - 1 <= columns.min() < columns.max() <= right + 1
    assert top - 1 <= rows.min() < rows.max() <= bottom + 1
    assert tedi_("edit", "b.png", "older", "--anyway", "--out", "c.png") == (0, "")
    assert images.read_provenance("c.png")["start"] == start
    assert tedi_("edit", turned, "older", "--anyway", "--out", "d.png") == (0, "")
    assert "align" not in images.read_provenance("d.png")["start"]


@pytest.mark.parametrize("planned", [("--quality", "fast"), ("--budget", "1min")], ids=str)
def test_a_plan_takes_a_turned_photo_as_it_lies(tedi_, model, turned, planned, monkeypatch):
    monkeypatch.setattr("tedi.inversion.plan.held_by_w", lambda place: False)
    status, err = tedi_("invert", turned, "--no-align", *planned)
    assert status == 0
    record = codes.load_record(Path("turned.safetensors"))
    [photo] = model.photos.open(turned, as_found=True)
    assert (record["align"], record["alignment"]) == (False, photo.alignment.to_dict())
    assert "steps of fspace" in err
    assert record["plan"]["why"] in err
    asked = ("edit", turned, "older", "--anyway", "--no-align", *planned)
    assert tedi_(*asked, "--out", "b.png")[0] == 0
    start = images.read_provenance("b.png")["start"]
    assert (start["inversion"], start["align"]) == ("fspace", False)
    assert start["generator"]["file"] == "b-generator.safetensors"


def test_other_methods_take_squares_alone_and_no_face_is_said(tedi_, turned):
    status, err = tedi_("invert", turned, "--no-align")
    assert (status, "turned.png: expected a square of an aligned face, got 300 x 200" in err) == (
        2,
        True,
    )
    Image.new("RGB", (300, 200)).save("dark.png")
    status, err = tedi_("invert", "dark.png", "--method", "fspace", "--no-align")
    said = "tedi: dark.png: no face found; cut a square around it: a square is taken whole\n"
    assert (status, err) == (1, said)
    Image.new("RGB", (200, 200)).save("dark.png")
    status, err = tedi_("invert", "dark.png", "--method", "fspace", "--no-align", "--face", 1)
    said = "tedi: dark.png: no face found; leave out --face: a square is taken whole\n"
    assert (status, err) == (1, said)


@pytest.mark.parametrize("faces", [1, 2])
def test_a_face_of_several_is_taken_as_it_lies(tedi_, model, faces):
    many = photo("many.png", faces=faces)
    steps = ("--steps", 2, "--no-align", "--face", faces)
    _, err = tedi_("invert", many, "--method", "fspace", "--finish", 1, *steps, "--json")
    record = codes.load_record(Path(f"many-face{faces}.safetensors"))
    [found] = model.photos.open(many, as_found=True, face=faces)
    assert (err, record["face"], record["align"]) == ("", faces, False)
    assert record["alignment"] == found.alignment.to_dict()
    assert found.alignment.side < found.picture.height  # not the square photo whole
    asked = ("edit", many, "older", "--anyway", "--inversion", "fspace", *steps)
    assert tedi_(*asked, "--out", "b.png") == (0, "")
    assert images.read_provenance("b.png")["start"]["alignment"] == found.alignment.to_dict()
    assert len(model.photos.open(many, as_found=True, face="all")) == faces
    status, err = tedi_("invert", many, "--quality", "fast", "--no-align", "--face", 3)
    assert (status, err) == (2, f"tedi: --face 3: many.png has {faces} face{'s' * (faces > 1)}\n")
