"""Faces drawn by a generator of their own, through the commands, on tiny parts."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from test_inversion import TinyEncoder, describe
from test_invert import Features, detect, photo
from tiny import toolkit

from tedi import images
from tedi.checkpoints import codes
from tedi.cli import run

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


def test_where_only_one_generator_draws_such_codes_are_refused(tedi_):
    tedi_("invert", photo(), "--method", "pti", "--steps", 5, "--finish", 2)
    status, err = tedi_("mix", "a.safetensors", 7, "--out", "b.png")
    assert status == 2
    assert "a.safetensors: has a generator of its own; only tedi edit draws by it" in err
    status, err = tedi_("mix", "a.png", 7, "--inversion", "pti", "--out", "b.png")
    assert status == 2
    assert "--inversion pti: is for tedi invert and tedi edit" in err
