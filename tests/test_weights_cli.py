"""`tedi weights inspect` and `convert` as a person meets them."""

import inspect
import json
import re
from pathlib import Path

import foreign
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tedi.checkpoints import bundle
from tedi.cli import cli, run, weights_convert
from tedi.cli.weights_inspect import inspect as tell
from tedi.encoders.idinvert import IDInvertEncoder


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tedi_(capsys):
    """Runs a command; gives exit status, lines of stdout, and stderr."""

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


@pytest.fixture
def pkl():
    g, d = (foreign.with_filters(s) for s in (foreign.stylegan2(), foreign.discriminator2()))
    foreign.write_pkl(Path("network.pkl"), g, d)
    return Path("network.pkl")


@pytest.fixture
def pt():
    g, d = foreign.stylegan2(), foreign.discriminator2()
    content = {"g_ema": foreign.rosinality(g), "d": foreign.rosinality_d(d), "args": {"size": 16}}
    torch.save(content, "550000.pt")
    return Path("550000.pt")


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    torch.save(IDInvertEncoder(resolution=32, width=8, base=4, most=16).state_dict(), "e.pth")
    return Path("e.pth")


# --- inspect -------------------------------------------------------------------------------------


def test_inspect_tells_a_person(tedi_, pkl):
    status, out, err = tedi_("weights", "inspect", pkl)
    assert (status, err) == (0, "")
    text = " ".join(" ".join(out).split())
    assert out[0] == "network.pkl"
    assert f"container pickle, {pkl.stat().st_size / 1e6:.1f} MB" in text
    assert "format nvidia" in text
    words = "G_ema generator: StyleGAN2, channels of its own, 16 px, 6 slots, mapping of 2 layers"
    assert words in text
    assert "D discriminator: StyleGAN2, 16 px" in text
    assert "channels 4 8, 8 6, 16 4" in text
    assert "also training_set_kwargs: where its training set lay" in text
    assert "would run the source code in it, by NVIDIA's loader; it was not run here" in text
    assert "licence not in the file; NVIDIA's code is for non-commercial use" in text
    assert max(map(len, out)) <= 100


def test_inspect_tells_a_program(tedi_, pkl, pt):
    status, out, err = tedi_("weights", "inspect", pkl, pt, "--json")
    assert (status, err, len(out)) == (0, "", 2)
    first, second = map(json.loads, out)
    assert (first["file"], first["bytes"]) == ("network.pkl", pkl.stat().st_size)
    assert (first["format"], first["source"]) == ("nvidia", True)
    assert first["parts"]["G_ema"]["channels"] == {"4": 8, "8": 6, "16": 4}
    assert (first["lacks"], second["lacks"]) == ([], ["w_avg"])
    assert second["parts"]["G_ema"]["w_avg"] == "missing"
    assert second["others"] == ["args: settings of its training"]
    assert (second["source"], second["foreign"]) == (False, [])


def test_inspect_does_not_read_values(tedi_, pkl, monkeypatch):
    from tedi.checkpoints import raw

    asked = []
    read = raw.read
    monkeypatch.setattr(
        raw, "read", lambda p, *, values=True: asked.append(values) or read(p, values=values)
    )
    tedi_("weights", "inspect", pkl)
    assert asked == [False]


def test_inspect_of_the_unknown_tells_what_it_can_and_fails(tedi_):
    torch.save({"a": torch.ones(2, 3), "b": [1]}, "odd.pt")
    status, out, err = tedi_("weights", "inspect", "odd.pt")
    assert (status, err) == (1, "tedi: odd.pt: of no known format\n")
    assert "holds      a: tensor (2, 3)" in "\n".join(out)
    status, out, err = tedi_("weights", "inspect", "odd.pt", "--json")
    assert json.loads(out[0])["holds"] == ["a: tensor (2, 3)", "b: 1 entries"]
    assert json.loads(out[0])["format"] is None


def test_inspect_of_a_network_that_does_not_fit_says_why(tedi_):
    torch.save(foreign.with_filters(foreign.stylegan2()) | {"synthesis.x": torch.ones(1)}, "g.pt")
    status, out, err = tedi_("weights", "inspect", "g.pt")
    assert status == 1
    assert err.startswith("tedi: g.pt: G_ema: synthesis.x: left over")
    assert err.count("\n") == 1
    assert any(line.startswith("  container") for line in out)


def test_inspect_goes_on_after_a_file_that_cannot_be_read(tedi_, encoder):
    Path("text.pt").write_text("hello")
    status, out, err = tedi_("weights", "inspect", "none.pt", "text.pt", encoder)
    assert status == 1
    assert err.startswith("tedi: none.pt: cannot be read")
    assert "text.pt: is no safetensors" in err
    assert any("encoder: idinvert" in line for line in out)


def test_inspect_of_directions_and_of_our_own_weights(tedi_):
    import tedi

    np.save("smile.npy", np.ones((1, 512), "float32"))
    own = Path(tedi.__file__).parent / "weights" / "text-minilm-l6.safetensors"
    status, out, _ = tedi_("weights", "inspect", "smile.npy", own)
    assert status == 0
    text = " ".join(" ".join(out).split())
    assert "also smile: direction in W" in text
    assert "also text encoder: English prompts" in text
    assert "licence MIT" in text


# --- convert -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "name", "most"),
    [
        ("safetensors", "a.safetensors", 0),
        ("rosinality", "a.pt", 0),
        ("genforce", "a.pth", 1e-4),
        ("nvidia", "a.pt", 0),
    ],
)
def test_convert_writes_checks_and_says_so(tedi_, pkl, layout, name, most):
    status, out, err = tedi_("weights", "convert", pkl, "--to", layout, "--out", name)
    assert (status, out) == (0, [name]), err
    assert "G_ema: largest difference" in err
    assert "over 2 pictures (bound 0.0001)" in err
    assert "D: largest difference" in err
    status, out, _ = tedi_(
        "weights", "convert", name, "--to", "safetensors", "--out", "b.safetensors", "--json"
    )
    told = json.loads(out[0])
    assert (status, told["path"], told["to"]) == (0, "b.safetensors", "safetensors")
    assert told["parts"]["G_ema"]["difference"] == 0
    z = torch.randn(1, 8)
    first, second = (bundle.open_generator(Path(p)) for p in (pkl, "b.safetensors"))
    gap = (first.synthesis(ws(first, z)) - second.synthesis(ws(second, z))).abs().max()
    assert gap <= most


def ws(generator, z):
    return generator.mapping(z)[:, None].expand(-1, generator.slots, -1)


def test_convert_gives_a_missing_mean(tedi_, pt):
    tedi_("weights", "convert", pt, "--to", "rosinality", "--out", "whole.pt")
    found = torch.load("whole.pt", weights_only=True)
    assert found.keys() == {"g_ema", "latent_avg", "d"}
    assert found["latent_avg"].abs().max() > 0
    assert bundle.read(Path("whole.pt")).lacks == ()


def test_convert_takes_the_parts_that_are_named(tedi_, pkl):
    arguments = ("weights", "convert", pkl, "--to", "nvidia", "--out", "d.pt")
    status, _, err = tedi_(*arguments, "--part", "D")
    assert (status, "left out: G_ema" in err) == (0, True)
    assert torch.load("d.pt", weights_only=True).keys() == {"D"}
    status, _, err = tedi_(*arguments, "--overwrite", "--part", "G_emo")
    assert (status, "did you mean 'G_ema'?" in err) == (2, True)


def test_convert_keeps_encoders_as_safetensors_alone(tedi_, encoder):
    status, out, err = tedi_(
        "weights", "convert", encoder, "--to", "safetensors", "--out", "e.safetensors"
    )
    assert (status, out) == (0, ["e.safetensors"])
    assert "encoder: largest difference 0 over 2 codes" in err
    status, out, err = tedi_("weights", "convert", encoder, "--to", "genforce", "--out", "e.pt")
    assert (status, out) == (1, [])
    assert "genforce has no place for encoder (encoder, idinvert); pass --to safetensors" in err
    assert not Path("e.pt").exists()


def test_convert_above_the_bound_writes_nothing(tedi_, pkl, monkeypatch):
    def spoilt(path, parts, layout, about):
        for part in parts.values():
            part.state["mapping.w_avg" if part.kind == "generator" else "b4.out.bias"].add_(1)
        write(path, parts, layout, about)
        for part in parts.values():
            part.state["mapping.w_avg" if part.kind == "generator" else "b4.out.bias"].sub_(1)

    write = weights_convert._write
    monkeypatch.setattr(weights_convert, "_write", spoilt)
    arguments = ("weights", "convert", pkl, "--to", "rosinality", "--out", "a.pt")
    Path("a.pt").write_bytes(b"mine")
    status, out, err = tedi_(*arguments, "--overwrite")
    assert (status, out) == (1, [])
    assert "a.pt: not written: G_ema differs by up to" in err
    assert "the bound is 0.0001, see --bound" in err
    assert Path("a.pt").read_bytes() == b"mine"
    assert sorted(p.name for p in Path().iterdir()) == ["a.pt", "network.pkl"]
    assert tedi_(*arguments, "--overwrite", "--bound", "1000")[0] == 0


def test_convert_keeps_what_is_there(tedi_, pkl):
    Path("a.pt").write_bytes(b"mine")
    status, out, err = tedi_("weights", "convert", pkl, "--to", "nvidia", "--out", "a.pt")
    assert (status, out) == (1, [])
    assert err == "tedi: a.pt: already exists; pass --overwrite to replace it\n"
    assert Path("a.pt").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("layout", "out", "words"),
    [
        ("safetensors", "a.pt", "--out: safetensors is kept as .safetensors, got a.pt"),
        ("rosinality", "a.pkl", "--out: rosinality is kept as .pt or .pth, got a.pkl"),
        ("tensorflow", "a.pkl", "'tensorflow' is not one of"),
    ],
)
def test_convert_called_wrongly(tedi_, pkl, layout, out, words):
    status, _, err = tedi_("weights", "convert", pkl, "--to", layout, "--out", out)
    assert (status, words in err) == (2, True), err


def test_convert_says_what_a_layout_cannot_keep(tedi_):
    g = foreign.with_filters(foreign.stylegan2())
    foreign.write_pkl(Path("g.pkl"), g, synthesis_kwargs={"conv_clamp": 256})
    status, _, err = tedi_("weights", "convert", "g.pkl", "--to", "rosinality", "--out", "g.pt")
    assert status == 0
    assert "G_ema: rosinality does not keep conv_clamp=256; give it where you load" in err


def test_convert_of_directions_has_nothing_to_do(tedi_):
    np.save("smile.npy", np.ones((1, 512), "float32"))
    status, _, err = tedi_(
        "weights", "convert", "smile.npy", "--to", "safetensors", "--out", "a.safetensors"
    )
    assert (status, err) == (1, "tedi: smile.npy: holds no network to convert\n")


def examples():
    """Commands that the two help pages show."""
    pages = "\n".join(inspect.cleandoc(str(c.help)) for c in (weights_convert.convert, tell))
    return re.findall(r"^tedi (weights .*)$", pages, re.MULTILINE)


@pytest.mark.parametrize("example", examples())
def test_help_examples_run(tedi_, pkl, pt, encoder, example):
    Path("stylegan3-r-ffhq-1024x1024.pkl").write_bytes(pkl.read_bytes())
    Path("e4e_ffhq_encode.pt").write_bytes(encoder.read_bytes())
    status, out, err = tedi_(*example.split())
    assert (status, bool(out)) == (0, True), err


def test_there_are_examples_of_both():
    assert {words.split()[1] for words in examples()} == {"inspect", "convert"}


def test_the_runner_sees_the_same():
    done = CliRunner().invoke(cli, ["weights", "inspect", "--help"])
    assert done.exit_code == 0
    assert "Nothing in it is run" in " ".join(done.output.split())
