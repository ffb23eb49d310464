"""Generators of unaligned faces are drawn upright: directions fitted and shown, spaces measured."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_spaces import Corners
from test_transform import network
from tiny import TinyGenerator

from tedi import images, zoo
from tedi.checkpoints import directions
from tedi.cli import run
from tedi.cli.networks import UPRIGHT, previews_of
from tedi.control import style_codes
from tedi.errors import UsageError
from tedi.generators.stylegan3 import user_transform
from tedi.latents import Direction
from tedi.metrics.linear import Linear


def turning():
    """A StyleGAN3 whose file turns its pictures, and whose codes move them."""
    G = network()
    G.synthesis.input.transform.copy_(user_transform(30, 0.1))
    return G


def some_codes(G, n=2):
    z = torch.randn(n, 16, generator=torch.Generator().manual_seed(3))
    return G.mapping(z)[:, None].repeat(1, G.slots, 1)


@pytest.fixture
def tedi_(tmp_path, monkeypatch, capsys):
    """Runs a command on a StyleGAN3 that keeps whether it is to draw upright."""
    seen, G = [], turning()

    def preview(self, ws):
        still = torch.equal(self.synthesis.input.transform, torch.eye(3))
        seen.append(still and bool((ws[:, 0] == G.w_avg).all()))
        return ws[:, 1:4, :1, None].expand(-1, -1, 16, 16)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(type(G), "preview", preview)
    monkeypatch.setattr(Linear, "rounds", 3)
    for name in ("evaluate_spaces", "directions_fit"):
        module = importlib.import_module(f"tedi.cli.{name}")
        monkeypatch.setattr(module, "load_generator", lambda *a: (G, {"sg3": "0" * 64}))
        monkeypatch.setattr(module, "load_attributes", lambda *a: (Corners(), "f" * 64))

    def call(*arguments):
        capsys.readouterr()
        seen.clear()
        status = run([*map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err, list(seen)

    return call


def test_upright_previews_know_neither_place_nor_transform():
    G = turning()
    ws = some_codes(G)
    draw = previews_of(G, unaligned=True)
    still = network()
    expected = still.preview(still.pseudo_aligned(ws))
    torch.testing.assert_close(draw(ws), expected)
    moved = ws.clone()
    moved[:, 0] += 1
    assert torch.equal(draw(moved), draw(ws))
    assert not torch.allclose(draw(ws), G.preview(ws), atol=0.01)
    assert torch.equal(previews_of(G, unaligned=False)(ws), G.preview(ws))
    with pytest.raises(UsageError, match="--unaligned: is for a StyleGAN3, and tiny is none"):
        previews_of(TinyGenerator(), unaligned=True)


def test_directions_are_fitted_to_upright_faces(tedi_):
    own = ("--generator", "g.pkl", "--draw", 64, "--attribute", "smile")
    fit = ("directions", "fit", *own)
    status, _, err, upright = tedi_(*fit, "--unaligned", "--out", "a.safetensors")
    assert (status, upright) == (0, [True] * 64), err
    assert zoo.metadata(Path("a.safetensors"))["data"].endswith(UPRIGHT)
    status, _, err, upright = tedi_(*fit, "--out", "b.safetensors")
    assert (status, upright) == (0, [False] * 64), err
    assert UPRIGHT not in zoo.metadata(Path("b.safetensors"))["data"]
    status, _, err, _ = tedi_("directions", "fit", "--unaligned", "--out", "c.safetensors")
    assert (status, "--unaligned: is of a StyleGAN3 of one's own" in err) == (2, True)


@pytest.mark.parametrize(("space", "preview"), [("w", False), ("w", True), ("s", False)])
def test_directions_are_shown_on_upright_faces(tmp_path, monkeypatch, capsys, space, preview):
    G, still, sheets = turning(), network(), []
    command = importlib.import_module("tedi.cli.directions")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_generator", lambda *a: (G, {"sg3": "0" * 64}))
    monkeypatch.setattr(
        images, "contact_sheet", lambda rows, **_: sheets.append(rows) or rows[0][0]
    )
    ws = still.pseudo_aligned(style_codes(G, [0], psi=0.7))
    width = sum(style.shape[1] for style in G.styles(ws).values()) if space == "s" else 16
    along = Direction("a", torch.arange(1.0, width + 1), space)
    directions.save(tmp_path / "a.safetensors", [along], {})
    [along] = directions.load(tmp_path / "a.safetensors").values()  # in half precision
    shown = ["--strength", "0:3:2", "--generator", "g.pkl", *(["--preview"] if preview else [])]
    call = ["directions", "show", "a.safetensors", *shown, "--unaligned", "--json"]
    assert run(call) == 0
    assert json.loads(capsys.readouterr().out)["drawn"] == UPRIGHT
    draw = still.preview if preview else still.synthesis
    [[[first, moved]]] = sheets
    assert np.array_equal(first, images.to_pil(draw(ws))[0])
    if space == "w":
        assert np.array_equal(moved, images.to_pil(draw(still.pseudo_aligned(along(ws, 3))))[0])
    assert not np.array_equal(first, moved)
    assert run([*call[:5], "--unaligned"]) == 2
    assert "--unaligned: is of a StyleGAN3 of one's own" in capsys.readouterr().err


def test_spaces_are_measured_on_upright_faces(tedi_):
    call = ("evaluate", "spaces", "--count", 100, "--generator", "g.pkl")
    status, lines, err, upright = tedi_(*call, "--unaligned")
    assert (status, upright) == (0, [True] * 200), err
    assert UPRIGHT in lines[1]
    assert json.loads(Path("evaluation/spaces/report.json").read_text())["drawn"] == UPRIGHT
    status, _, err, upright = tedi_(*call)
    assert (status, upright, "kept from another measurement" in err) == (1, [], True)
