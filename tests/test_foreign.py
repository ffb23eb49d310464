"""Generators and encoders from files of one's own, in every command that draws or inverts."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tedi
from tedi import attributes, zoo
from tedi.checkpoints import bundle
from tedi.cli import directions_fit
from tedi.cli import run as cli_run
from tedi.encoders.attributes import AttributeModel
from tedi.encoders.psp import Encoder4Editing
from tedi.generators.based import placed
from tedi.generators.reslotted import Reslotted
from tedi.generators.stylegan2 import StyleGAN2
from tedi.generators.stylegan3 import StyleGAN3
from tedi.images import read_provenance
from tedi.inversion.fspace import FSpaceOptions

TINY = "32,32,32,16,16"  # channels from 4 to 64 px


def tiny(channels=TINY, **settings):
    torch.manual_seed(0)
    return StyleGAN2(resolution=4 * 2 ** channels.count(","), channels=channels, **settings)


def save(path, generator, **more):
    parts = {"G_ema": generator, **more}
    kinds = {"G_ema": ("generator", "stylegan2"), "encoder": ("encoder", "e4e")}
    found = {
        role: bundle.bundle_of(*kinds[role], net.state_dict(), str(path), config=net.config)
        for role, net in parts.items()
    }
    bundle.save(path, found)
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A generator with a W of its own, 64 px."""
    return save(tmp_path_factory.mktemp("own") / "own.safetensors", tiny())


@pytest.fixture(scope="module")
def kin(tmp_path_factory, generator):
    """A StyleGAN2 of 1024 px whose W is FFHQ's: it has the shipped generator's mapping."""
    network = tiny(",".join(["8"] * 9), width=512)
    state = network.state_dict()
    for n, layer in enumerate(generator.mapping.layers):
        state[f"mapping.fc{n}.weight"] = layer.weight * 512**0.5 / 0.01
        state[f"mapping.fc{n}.bias"] = layer.bias / 0.01
    state["mapping.w_avg"] = generator.w_avg
    network.load_state_dict(state)
    return save(tmp_path_factory.mktemp("kin") / "kin.safetensors", network)


@pytest.fixture(scope="module")
def turning(tmp_path_factory, generator):
    """A StyleGAN3 of 32 px whose mean of W is FFHQ's."""
    torch.manual_seed(0)
    network = StyleGAN3(resolution=32, channel_base=256, channel_max=12, num_layers=5)
    network.mapping.w_avg.copy_(generator.w_avg)
    path = tmp_path_factory.mktemp("turning") / "turning.safetensors"
    state = network.state_dict()
    found = bundle.bundle_of("generator", "stylegan3", state, str(path), config=network.config)
    bundle.save(path, {"G_ema": found})
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory, generator):
    """A StyleGAN2 of 64 px whose mean of W is FFHQ's."""
    network = tiny(width=512)
    network.mapping.w_avg.copy_(generator.w_avg)
    return save(tmp_path_factory.mktemp("small") / "small.safetensors", network)


@pytest.fixture
def tedi_(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = cli_run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return call


def test_a_file_draws_seeds_and_says_so(tedi_, own):
    status, out, err = tedi_("generate", "--generator", own, "--seed", "0-1")
    assert (status, out) == (0, ["own-seed0.png", "own-seed1.png"]), err
    first, second = (np.asarray(Image.open(name)) for name in out)
    assert first.shape == (64, 64, 3)
    assert (first != second).any()
    record = read_provenance(out[0])
    assert list(record["weights"]) == ["own.safetensors"]
    again = ("run", "own-seed0.png", "--out", "again.png")
    status, _, err = tedi_(*again, "--generator", own)
    assert status == 0, err
    assert Path("again.png").read_bytes() == Path("own-seed0.png").read_bytes()
    status, _, err = tedi_(*again, "--overwrite")
    assert status == 1
    assert "other weights (own.safetensors" in err


def test_codes_of_its_own_are_made_mixed_and_drawn(tedi_, own):
    more = ("--generator", own)
    assert tedi_("mix", 3, 4, "--layers", "coarse", *more, "--out", "mix.png")[0] == 0
    assert tedi_("morph", 3, 4, *more, "--out", "morph.png")[0] == 0
    steps = ("--method", "image2stylegan", "--steps", 2, "--finish", 1, "--no-align")
    assert tedi_("generate", *more, "--out", "face.png")[0] == 0
    status, out, err = tedi_("invert", "face.png", *steps, *more, "--json")
    assert status == 0, err
    assert "own.safetensors" in json.loads(out[0])["weights"]
    status, _, err = tedi_("edit", "face.safetensors", "older")
    assert status == 2
    assert "(16, 512)" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "a man"), "text: tedi's networks know the W of mobilestylegan-ffhq, this"),
        (("generate", "--sketch", "face.png"), "sketch, label, mix: tedi's networks know the W"),
        (("invert", "face.png", "--no-align"), "pass --encoder FILE"),
        (("edit", "3", "older"), "text: tedi's networks know"),
    ],
)
def test_what_another_w_cannot_do_is_said(tedi_, own, arguments, message):
    lines = np.full((64, 64), 255, np.uint8)
    lines[20:40, 30] = 0
    Image.fromarray(lines).save("face.png")
    status, out, err = tedi_(*arguments, "--generator", own)
    assert (status, out) == (2, [])
    assert message in err
    assert err.count("\n") == 1


def test_an_encoder_brings_its_decoder(tedi_, tmp_path):
    encoder = Encoder4Editing(slots=10, width=64)
    small = tiny(width=64, z_width=64)
    both = save(tmp_path / "e4e.safetensors", small, encoder=encoder)
    Image.new("RGB", (256, 256), (200, 150, 120)).save("face.png")
    status, out, err = tedi_("invert", "face.png", "--no-align", "--encoder", both)
    assert (status, out) == (0, ["face.safetensors"]), err
    model = tedi.load(encoder=both)
    [photo] = model.photos.open("face.png", aligned=True)
    ws = model.photos.invert(photo).ws
    with torch.no_grad():
        assert torch.allclose(ws, bundle.open_encoder(both)[0](photo.image), atol=1e-5)
    alone = save(tmp_path / "alone.safetensors", tiny("16,16"))
    status, _, err = tedi_("invert", "face.png", "--encoder", both, "--generator", alone)
    assert status == 2
    assert "gives 10 slots, the generator has 4" in err


def test_a_generator_of_the_same_w_understands_words(kin, generator):
    model, shipped = tedi.load(generator=kin), tedi.load()
    how = {"preview": True, "method": "move"}  # the default looks at what each of them draws
    faces = [m.generate("a smiling woman", seeds=[3], **how)[0] for m in (model, shipped)]
    assert faces[0].ws.shape == (18, 512)
    assert torch.allclose(faces[0].ws[:15], faces[1].ws[:15], atol=1e-3)
    assert torch.allclose(faces[0].ws[15:], faces[1].ws[15:].expand(3, -1), atol=1e-3)
    older = model.edit(faces[0].ws, "older", **how)[0].ws
    alike = shipped.edit(faces[1].ws, "older", **how)[0].ws
    assert torch.allclose(older[:15], alike[:15], atol=1e-3)
    assert (older - faces[0].ws).norm() > 1


def test_slots_of_two_generators_meet_by_resolution(generator):
    view = Reslotted(tiny(",".join(["8"] * 9)), generator)
    ws = torch.randn(1, 16, 512)
    assert torch.equal(view.seen(view.widen(ws)), ws)
    assert view.widen(ws).shape == (1, 18, 512)
    assert torch.equal(view.widen(ws)[:, 15:], ws[:, 15:].expand(1, 3, 512))
    assert view.layers("coarse") == generator.layers("coarse")
    assert torch.equal(view.preview(ws), view.generator.preview(view.widen(ws)))


def test_a_small_stylegan3_of_the_same_w_understands_words(tedi_, turning):
    more = ("--generator", turning, "--seed", 3, "--method", "move")
    status, _, err = tedi_("generate", "a smiling woman", *more, "--out", "woman.png")
    assert status == 0, err
    status, _, err = tedi_("generate", "--generator", turning, "--seed", 3, "--out", "plain.png")
    assert status == 0, err
    model = tedi.load(generator=turning)
    plain, woman = (
        model.generate(text, seeds=[3], method="move")[0].ws for text in ("", "a smiling woman")
    )
    older = model.edit(woman, "older", method="move")[0].ws
    for before, after in ((plain, woman), (woman, older)):
        assert torch.allclose(before[0], after[0], atol=1e-6)  # the place stays
        assert ((before - after)[1:].norm(dim=1) > 0.1).all()


def test_slots_of_a_stylegan3_meet_by_what_they_draw(turning, generator):
    own = bundle.open_generator(turning)
    assert own.details() == pytest.approx([4, 4, 8, 16, 32, 32, 32])
    view = Reslotted(own, generator)
    ws = torch.randn(1, 16, 512)
    wide = view.widen(ws)
    assert torch.equal(wide[0, 0], own.w_avg)
    assert torch.allclose(
        wide[:, 1:4], torch.stack([ws[:, 0], ws[:, 1:3].mean(1), ws[:, 3:5].mean(1)], 1)
    )
    assert torch.equal(wide[:, 4:6], ws[:, 5:7])
    codes = torch.randn(1, 7, 512)
    assert torch.equal(view.seen(codes)[:, :5], codes[:, [1, 2, 2, 3, 3]])


def test_an_edit_looks_at_what_a_changed_generator_of_the_same_w_draws(turning):
    model, drawn = tedi.load(generator=turning), []
    own = copy.deepcopy(model.generator)
    for name, network in (("usual", model.generator), ("own", own)):
        draw = network.preview
        network.preview = lambda ws, name=name, draw=draw: drawn.append(name) or draw(ws)
    ws = model.generate("", seeds=[3], preview=True)[0].ws[None]
    drawn.clear()
    how = {"strength": 1.0, "method": "default"}
    model.moved(ws, "smiling", **how, generator=own)
    assert set(drawn) == {"own"}
    drawn.clear()
    model.moved(ws, "smiling", **how)
    assert set(drawn) == {"usual"}


@pytest.mark.parametrize("file", ["small", "turning"])
def test_an_edit_looks_at_a_turned_face_of_a_base_code_upright(
    request, generator, file, tmp_path, monkeypatch
):
    leaning = placed(*torch.tensor([[0.4], [1.0], [0.1], [0.0]]))
    monkeypatch.setattr("tedi.inversion.fspace.find_place", lambda *_, **__: leaning)
    model = tedi.load(generator=request.getfixturevalue(file))
    options = FSpaceOptions(steps=1, finish=0, at=16, p_norm=0.0, identity=0.0)
    [photo] = model.photos.open(model.generate("", seeds=[3])[0].picture, as_found=True)
    found = model.photos.invert(photo, method="fspace", options=options)
    path = tmp_path / "own.safetensors"
    model.save_generator(path, found.generator)
    own, seen, look = model.load_generator(path), [], AttributeModel.forward
    monkeypatch.setattr(AttributeModel, "forward", lambda eye, x: seen.append(x) or look(eye, x))
    moved = model.moved(found.ws, "smiling", strength=1.0, method="default", generator=own)
    assert (moved - found.ws).norm() > 1
    first, *others = seen
    assert others  # after the move
    view = Reslotted(own, generator)
    with torch.no_grad():
        drawn = view.preview(view.seen(found.ws)).clamp(-1, 1)
        plain = model.generator.preview(found.ws).clamp(-1, 1)
    assert torch.allclose(first, own.upright(drawn), atol=1e-4)
    assert not torch.allclose(first, drawn, atol=0.1)
    assert not torch.allclose(first, plain, atol=0.1)


# --- commands that measure it --------------------------------------------------------------------


def test_its_layers_are_measured(tedi_, own):
    more = ("--generator", own, "--count", 2, "--out", "own-layers.safetensors")
    status, out, err = tedi_("layers", "--measure", *more, "--attribute", "smile", "--json")
    assert status == 0, err
    assert json.loads(out[0])["sizes"] == [4, 8, 8, 16, 16, 32, 32, 64, 64, 64]
    status, _, err = tedi_("layers", "--generator", own)
    assert (status, "--generator: is about measuring" in err) == (2, True)


def test_its_directions_are_fitted_and_shown_and_others_are_refused(tedi_, own, monkeypatch):
    seen = []

    def eye(image):
        """Sees an open mouth in every other picture."""
        seen.append(image.shape)
        logits = torch.zeros(1, len(attributes.COLUMNS))
        logits[0, attributes.COLUMNS.index(("mouth_open", len(seen) % 2 == 0))] = 1
        return logits

    monkeypatch.setattr(directions_fit, "load_attributes", lambda judge, device: (eye, "0" * 64))
    fit = ("directions", "fit", "--generator", own, "--draw", 24, "--attribute", "mouth-open")
    status, out, err = tedi_(*fit, "--space", "s", "--out", "open.safetensors")
    assert (status, out) == (0, ["open.safetensors"]), err
    assert zoo.metadata(Path("open.safetensors"))["for"] == "stylegan2"
    assert seen == [(1, 3, 256, 256)] * 24
    torch.save(torch.randn(1, 512), "mine.pt")
    shown = ("directions", "show", "--generator", own, "--strength", "-1:1:2")
    assert tedi_(*shown, "mine.pt", "--out", "a.png")[0] == 0
    status, _, err = tedi_(*shown, "smile", "--out", "b.png")
    assert status == 2
    assert "smile: tedi's networks know the W" in err
    assert "tedi directions fit --generator" in err


def test_its_inversion_is_evaluated_along_a_direction_of_its_own(tedi_, own):
    Path("faces").mkdir()
    Image.new("RGB", (64, 64), (200, 150, 120)).save("faces/a.png")
    method = ("--method", "image2stylegan", "--steps", 2)
    call = ("evaluate", "inversion", "--photos", "faces", "--aligned", "--generator", own, *method)
    status, _, err = tedi_(*call)
    assert (status, err.count("pass --direction FILE")) == (2, 1)
    torch.save(torch.randn(1, 512), "mine.pt")
    status, _, err = tedi_(*call, "--direction", "mine.pt", "--semantics")
    assert (status, "--semantics" in err) == (2, True)
    status, _, err = tedi_(*call, "--direction", "smile")
    assert (status, "fit its own" in err) == (2, True)
    status, _, err = tedi_(*call, "--direction", "mine.pt")
    assert (status, "pass --encoder FILE" in err) == (2, True)


def test_its_texts_are_evaluated_if_its_w_is_known(tedi_, own, kin):
    Path("prompts.txt").write_text("a smiling woman\n")
    call = ("evaluate", "text", "--prompts", "prompts.txt", "--seeds", "0-1", "--json")
    status, _, err = tedi_(*call, "--generator", own)
    assert (status, "text: tedi's networks know" in err) == (2, True)
    status, out, err = tedi_(*call, "--generator", kin)
    assert status == 0, err
    assert "kin.safetensors" in json.loads(out[0])["weights"]


def test_it_is_exported_under_its_own_name(tedi_, own):
    call = ("export", "--to", "torchscript", "--part", "preview", "--generator", own)
    status, out, err = tedi_(*call, "--json")
    assert status == 0, err
    told = json.loads(out[0])
    assert told["files"] == ["own-preview.torchscript"]
    assert told["difference"] < 1e-4
    assert told["licence"] == "own.safetensors: that of the file, which tells none"


def test_noise_may_be_narrower_than_w(tedi_, tmp_path):
    narrow = save(tmp_path / "narrow.safetensors", tiny("16,16", z_width=8, width=32))
    assert tedi_("generate", "--generator", narrow, "--seed", 3)[0] == 0
    call = ("invert", "narrow-seed3.png", "--no-align", "--generator", narrow)
    steps = ("--method", "image2stylegan", "--steps", 1, "--finish", 0)
    status, _, err = tedi_(*call, *steps)
    assert status == 0, err
