"""Where a face stands in an unaligned crop, and drawings that are turned and moved likewise."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from test_inversion import describe
from tiny import toolkit

from tedi import control, zoo
from tedi.checkpoints import bundle, codes
from tedi.checkpoints.mtcnn import load_detector
from tedi.cli import run as cli_run
from tedi.errors import UsageError
from tedi.faces import Detected, Transform, align, quad_of, transform_of, unaligned, within
from tedi.generators.based import moved, placed
from tedi.generators.stylegan3 import StyleGAN3, user_transform
from tedi.images import read_provenance, to_pil
from tedi.pipeline import load
from tedi.semantics.motion import register, slot_motion

SETTINGS = {"resolution": 64, "channel_base": 512, "channel_max": 12, "num_layers": 6}
RADIAL = {"conv_kernel": 1, "use_radial_filters": True}


def network(**changes):
    """A small StyleGAN3-R of random weights, its pictures of some contrast."""
    torch.manual_seed(0)
    sizes = {"w_dim": 16, "z_dim": 16, **SETTINGS, **RADIAL}
    G = StyleGAN3(**{**sizes, **changes})
    with torch.no_grad():
        G.mapping.w_avg.normal_()
        G.synthesis.input.affine.weight.normal_().mul_(0.05)
        for layer in G.synthesis.layers:
            layer.bias.normal_().mul_(0.3)
    return G.eval().requires_grad_(False)


def some_codes(G, n=1):
    z = torch.randn(n, 16, generator=torch.Generator().manual_seed(3))
    return G.mapping(z)[:, None].repeat(1, G.slots, 1)


def square(x, y, side, degrees):
    """Corners (4, 2) about a middle in pixels, turned counter-clockwise."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) * side / 2
    return corners @ np.array([[c, -s], [s, c]]) + (x, y)


def levels(picture):
    return np.asarray(picture).astype(float)


# --- of a square ---------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [-170, -91, -30, 0, 0.5, 45, 90, 179])
def test_a_square_tells_turn_and_shift(degrees):
    found = transform_of(square(79.5, 24.5, 50, degrees), 100)
    assert found.degrees == pytest.approx(degrees)
    assert (found.tx, found.ty, found.scale) == pytest.approx((0.3, -0.25, 0.5))


def test_an_upright_face_in_the_middle_is_not_moved():
    whole = [(-0.5, -0.5), (-0.5, 63.5), (63.5, 63.5), (63.5, -0.5)]
    assert transform_of(whole, 64) == Transform(0, 0, 0, 1)


def test_an_unaligned_crop_keeps_the_turn_and_the_size():
    quad = square(300, 200, 120, 20)
    crop = unaligned(quad)
    np.testing.assert_allclose(crop, square(300, 200, 120, 0))
    found = within(quad, crop)
    assert (found.degrees, found.tx, found.ty, found.scale) == pytest.approx((20, 0, 0, 1))
    later = within(square(312, 194, 120, -5), crop)  # the face has moved, the crop has not
    assert (later.degrees, later.tx, later.ty) == pytest.approx((-5, 0.1, -0.05))
    elsewhere = within(quad, unaligned(quad, middle=(288, 206)))
    assert (elsewhere.tx, elsewhere.ty) == pytest.approx((0.1, -0.05))


def test_what_is_within_a_crop_is_so_in_the_picture_cut_out():
    """`align` cuts the crop; the face then stands in it as `within` says."""
    quad, crop = square(70, 60, 50, 30), unaligned(square(70, 60, 50, 30), middle=(66, 64))
    scene = np.zeros((130, 130, 3), np.uint8)
    scene[54:68, 64:78] = 255  # about (70.5, 60.5), the middle of the face to half a pixel
    cut = levels(align(Image.fromarray(scene), crop, size=50, transform_size=50))[..., 0]
    rows, columns = np.nonzero(cut > 127)
    found = within(quad, crop)
    middle = (found.tx + 0.5) * 50 - 0.5, (found.ty + 0.5) * 50 - 0.5
    assert (columns.mean(), rows.mean()) == pytest.approx(middle, abs=1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transform_of(np.zeros((4, 2)), 64), "quad: expected the"),
        (lambda: transform_of(square(5, 5, 9, 0), 0), "size: expected more than 0 pixels, got 0"),
        (lambda: unaligned([[0, 0], [0, 1], [5, 1], [5, 0]]), "quad: expected the"),
        (lambda: within(square(5, 5, 9, 0), np.zeros((4, 2))), "crop: expected the"),
        (lambda: within(np.zeros((4, 2)), square(5, 5, 9, 0)), "quad: expected the"),
    ],
)
def test_what_is_no_square_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


# --- drawn by it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [-140, -25, 30])
def test_a_drawing_stands_where_the_square_was(degrees):
    """Cut out by the square again, it is the upright drawing."""
    G = network()
    ws = some_codes(G)
    upright = G.synthesis(ws)
    mean, spread = upright.mean(), 3 * upright.std()
    quad = square(28.3, 37.1, 64, degrees)
    found = transform_of(quad, 64)
    y = G.synthesis(ws, user_transform(found.degrees, found.tx, found.ty))
    [y], [upright] = to_pil((y - mean) / spread), to_pil((upright - mean) / spread)
    cut = levels(align(y, quad, size=64, transform_size=64))
    disc = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 16  # well within y, whatever the turn
    error = np.abs(cut - levels(upright))[disc].mean()
    assert error < 1.0
    assert error < 0.15 * np.abs(levels(y) - levels(upright))[disc].mean()
    wrong = square(28.3, 37.1, 64, -degrees)
    assert np.abs(levels(align(y, wrong, size=64)) - levels(upright))[disc].mean() > 5 * error


@pytest.mark.parametrize(("degrees", "x", "y"), [(25, 170, 205), (-28, 210, 180)])
def test_the_place_of_a_drawn_face_is_found(generator, degrees, x, y):
    """Within a degree and a hundredth of the width; the median of many is in the benchmark."""
    ws = control.style_codes(generator, [5], psi=0.7)
    with torch.inference_mode():
        [face] = to_pil(generator.preview(ws))
    quad = square(x, y, 256, degrees)
    pad = ((256, 256), (256, 256), (0, 0))
    wide = Image.fromarray(np.pad(np.asarray(face), pad, "reflect"))
    axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]]) / 256  # of the face's pixels
    back = np.linalg.inv(axes.T)
    offset = 256 - back @ (quad[0] + 0.5)
    data = (*back[0], offset[0], *back[1], offset[1])
    canvas = wide.transform((384, 384), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    [seen] = load_detector(zoo.pull("mtcnn"))(np.asarray(canvas))
    found, truth = transform_of(quad_of(seen.points), 384), transform_of(quad, 384)
    assert abs(found.degrees - truth.degrees) < 1.0
    assert math.hypot(found.tx - truth.tx, found.ty - truth.ty) < 0.01 * truth.scale


def test_a_transformed_generator_draws_by_it_and_shares_its_weights():
    G = network()
    ws = some_codes(G)
    turned = G.transformed(degrees=20, tx=0.1, ty=-0.05)
    expected = G.synthesis(ws, user_transform(20, 0.1, -0.05))
    assert torch.equal(turned.synthesis(ws), expected)
    assert torch.equal(turned.synthesis_from(turned.features(ws, 32), ws), expected)
    assert torch.equal(turned.synthesis_from_styles(turned.styles(ws)), expected)
    assert torch.equal(G.synthesis.input.transform, torch.eye(3))
    mine, theirs = dict(turned.named_parameters()), dict(G.named_parameters())
    assert all(mine[name] is theirs[name] for name in theirs)
    assert turned.w_avg is G.w_avg


def test_a_wider_field_shows_the_picture_in_the_middle():
    G = network()
    ws = some_codes(G)
    plain = G.synthesis(ws)
    wide = G.expanded(ws, 0.25)
    assert wide.shape == (1, 3, 96, 96)
    bound = 0.02 * plain.std()
    assert (wide[:, :, 16:80, 16:80] - plain).abs().max() < bound
    left = G.synthesis(ws, user_transform(tx=0.25))  # shows what lies left of the picture
    assert (wide[:, :, 16:80, :16] - left[:, :, :, :16]).abs().max() < bound
    below = G.synthesis(ws, user_transform(ty=-0.25))
    assert (wide[:, :, 80:, 16:80] - below[:, :, 48:]).abs().max() < bound
    assert torch.equal(G.expanded(ws, 0), plain)
    turned = G.transformed(degrees=90).expanded(ws, 0.25)
    assert (turned - torch.rot90(wide, 1, (2, 3))).abs().max() < bound
    with pytest.raises(UsageError, match=r"field: expected 0 to 0\.5, got 0\.6"):
        G.expanded(ws, 0.6)


def test_an_edit_turns_with_the_face():
    """One direction serves upright and turned drawings: the edit of one is that of the other."""
    G = network()
    ws = some_codes(G)
    changed = ws + 0.5 * torch.randn(16, generator=torch.Generator().manual_seed(1))
    quarter = user_transform(90)
    effect = G.synthesis(changed) - G.synthesis(ws)
    turned = G.synthesis(changed, quarter) - G.synthesis(ws, quarter)
    assert effect.abs().mean() > 1e-3
    assert (turned - torch.rot90(effect, 1, (2, 3))).abs().max() < 1e-3 * effect.abs().max()


# --- by slots ------------------------------------------------------------------------------------


def test_registration_finds_a_known_motion():
    random = torch.Generator().manual_seed(0)
    image = F.interpolate(torch.randn(2, 3, 8, 8, generator=random), (64, 64), mode="bicubic")
    truth = torch.tensor([[0.4, 0.1, -0.2], [-0.55, -0.15, 0.05]])
    target = moved(image, placed(truth[:, 0], torch.ones(2), truth[:, 1], truth[:, 2]))
    found = register(image, target)
    assert torch.rad2deg(found - truth)[:, 0].abs().max() < 0.5
    assert (found - truth)[:, 1:].abs().max() / 2 < 0.005


def test_slot_0_turns_and_moves_by_what_it_says():
    G = network()
    ws = some_codes(G, 2)
    motion = slot_motion(G, ws, [0])
    assert motion.rigid.min() > 0.95
    means = G.w_avg.expand(1, G.slots, -1)
    (mine, mean) = (G.styles(x)["input"] for x in (ws, means))
    said = torch.rad2deg(torch.atan2(mean[:, 1], mean[:, 0]) - torch.atan2(mine[:, 1], mine[:, 0]))
    assert (motion.degrees.abs() - said.abs()).abs().max() < 1.0
    assert motion.shift.abs().max() > 0.01
    late = slot_motion(G, ws, [G.slots - 1])  # colours move nothing
    assert late.rigid.min() < 0.5


@pytest.mark.parametrize("slots", [[], [8], [-1]])
def test_slots_that_there_are_not_are_refused(slots):
    G = network()
    with pytest.raises(UsageError, match="slots: expected some of 0 to 7"):
        slot_motion(G, some_codes(G), slots)


# --- the toolkit ---------------------------------------------------------------------------------


def test_a_generator_that_draws_upright_only_is_refused():
    with pytest.raises(UsageError, match="transform: tiny draws upright faces only"):
        toolkit().place(Transform(15))
    with pytest.raises(UsageError, match="field: expected 0 to"):
        toolkit(network()).place(Transform(15), field=0.6)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A file that holds a StyleGAN3-R."""
    path = tmp_path_factory.mktemp("own") / "r.safetensors"
    state = {name: value.clone() for name, value in network().state_dict().items()}
    bundle.save(path, {"G_ema": bundle.bundle_of("generator", "stylegan3", state, "r")})
    return path


def test_a_toolkit_draws_turned_and_reads_upright(own):
    model = load(device="cpu", generator=own)
    ws = control.style_codes(model.generator, [3], psi=0.7)
    upright = model.generator.synthesis(ws)
    model.place(Transform(90, 0.25, 0))
    [face] = model.generate(seeds=[3])
    expected = to_pil(model.generator.synthesis(ws, user_transform(90, 0.25)))[0]
    assert np.array_equal(np.asarray(face.picture), np.asarray(expected))
    assert face.record["transform"] == [90, 0.25, 0]
    assert torch.equal(face.ws, ws[0])
    assert torch.equal(model.generator.synthesis(ws), upright)  # what encoders look at


# --- commands ------------------------------------------------------------------------------------


@pytest.fixture
def tedi_(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = cli_run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return call


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def test_generate_turns_and_tells_so(tedi_, own):
    told = ["--generator", own, "--seed", 3]
    assert tedi_("generate", *told, "--out", "a.png")[0] == 0
    how = ["--transform", "90,0.25,0", "--recipe", "b.yaml"]
    status, out, err = tedi_("generate", *told, *how, "--out", "b.png")
    assert (status, out) == (0, ["b.png"]), err
    turned = np.rot90(pixels("a.png"))
    assert np.abs(turned[:, :48] - pixels("b.png")[:, 16:]).max() <= 1
    assert read_provenance("b.png")["transform"] == [90, 0.25, 0]
    for recipe, again in (("b.png", "c.png"), ("b.yaml", "d.png")):
        assert tedi_("run", recipe, "--generator", own, "--out", again)[0] == 0
        assert Path(again).read_bytes() == Path("b.png").read_bytes()


def test_draw_gives_a_face_back_and_repeats(tedi_, own):
    where = ["--generator", own]
    status, out, err = tedi_("draw", 3, *where, "--transform", "90", "--save-code", "c.safetensors")
    assert (status, out) == (0, ["seed3-drawn.png", "c.safetensors"]), err
    assert read_provenance(out[0])["transform"] == [90, 0, 0]
    assert tedi_("run", out[0], *where, "--out", "again.png")[0] == 0
    assert Path("again.png").read_bytes() == Path(out[0]).read_bytes()
    for face, upright in (("c.safetensors", "of-code.png"), (out[0], "of-picture.png")):
        assert tedi_("draw", face, *where, "--out", upright)[0] == 0
        assert "transform" not in read_provenance(upright)
        assert np.array_equal(np.rot90(pixels(upright)), pixels(out[0]))


def test_draw_shows_more_around_a_face(tedi_, own):
    where = ["--generator", own]
    wide = ["--field", "0.25", "--transform", "90"]
    assert tedi_("draw", 3, *where, "--out", "a.png")[0] == 0
    status, out, err = tedi_("draw", 3, *where, *wide, "--out", "b.png", "--recipe", "b.yaml")
    assert (status, out) == (0, ["b.png"]), err
    shown = pixels("b.png")
    assert shown.shape == (96, 96, 3)
    assert np.abs(np.rot90(pixels("a.png")) - shown[16:80, 16:80]).max() <= 1
    assert read_provenance("b.png")["field"] == 0.25
    assert tedi_("run", "b.yaml", *where, "--out", "c.png")[0] == 0
    assert Path("c.png").read_bytes() == Path("b.png").read_bytes()
    assert tedi_("draw", 3, *where, *wide, "--preview", "--out", "d.png")[0] == 0
    assert pixels("d.png").shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("size", "expected"), [((100, 100), (30, 0.2, 0.1)), ((100, 90), (30, 0, 0))]
)
def test_a_code_is_drawn_as_found(tedi_, own, size, expected):
    """A square photo is the crop; in another the face stays in the middle."""
    quad = square(69.5, 59.5, 60, 30)
    told = {"command": "invert", "alignment": {"quad": quad.tolist(), "size": list(size)}}
    codes.save(Path("c.safetensors"), some_codes(network())[0], json.dumps(told))
    status, out, err = tedi_("draw", "c.safetensors", "--generator", own, "--as-found")
    assert (status, out) == (0, ["c-drawn.png"]), err
    assert read_provenance(out[0])["transform"] == pytest.approx(expected, abs=1e-6)


def test_an_unaligned_crop_is_read_upright_and_drawn_as_found(tedi_, monkeypatch):
    """One command: align, invert, draw where the face stood."""
    G = network()
    quad = square(110, 95, 140, 25)
    axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]])
    points = np.array([(0.375, 0.47), (0.625, 0.47), (0.5, 0.62), (0.4, 0.735), (0.6, 0.735)])
    points = points @ axes + quad[0]
    seen = []

    def encode(image):
        seen.append(image)
        return some_codes(G)

    model = toolkit(G)
    parts = {"encoder": encode, "detector": lambda pixels: [Detected((0, 0, 200, 200), 1, points)]}
    features = SimpleNamespace(maps=lambda image: [image])
    vars(model.photos).update(parts | {"features": features, "identity": describe})
    monkeypatch.setattr("tedi.cli.draw._load", lambda **options: model)
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save("crop.png")
    status, out, err = tedi_("draw", "crop.png", "--as-found", "--save-code", "c.safetensors")
    assert (status, out) == (0, ["crop-drawn.png", "c.safetensors"]), err
    found = transform_of(quad_of(points), 200)
    assert found.degrees == pytest.approx(25, abs=0.5)
    assert read_provenance(out[0])["transform"] == [found.degrees, found.tx, found.ty]
    aligned = align(Image.fromarray(noise), quad_of(points), size=1024)
    small = np.asarray(aligned.resize((256, 256), Image.Resampling.BOX))
    assert np.abs((seen[0][0].permute(1, 2, 0).numpy() + 1) * 127.5 - small).max() < 0.01
    drawn = G.synthesis(some_codes(G), user_transform(found.degrees, found.tx, found.ty))
    assert np.array_equal(pixels(out[0]), np.asarray(to_pil(drawn)[0]))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["generate", "a man", "--transform", "15,0"], 2, "expected 1 or 3 numbers"),
        (["generate", "a man", "--transform", "200"], 2, "within ±180 degrees and ±2 widths"),
        (["generate", "a man", "--transform", "nan"], 2, "got 'nan'"),
        (["draw", "7", "--as-found", "--transform", "3"], 2, "leave --transform out"),
        (["draw", "7", "--as-found"], 2, "--as-found: seed7 is of no photo with a place"),
        (["draw", "7", "--field", "0.6"], 2, "0.6 is not in the range 0<=x<=0.5"),
        (["draw", "nothing.png"], 1, "no such file"),
    ],
)
def test_a_wrong_call_is_one_line(tedi_, arguments, status, message):
    got, out, err = tedi_(*arguments)
    assert (got, out) == (status, []), err
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("told", [[1, 2], ["a", 0, 0], [1, 2, 3, 4], [400, 0, 0]])
def test_a_recipe_with_another_transform_is_refused(tedi_, told):
    for command in ({"command": "generate", "prompts": ["a man"]}, {"command": "draw"}):
        start = {"start": {"seed": 3, "psi": 0.7}} if command["command"] == "draw" else {}
        Path("r.json").write_text(json.dumps({**command, **start, "transform": told}))
        status, _, err = tedi_("run", "r.json", "--dry-run")
        assert status == 2
        assert "transform: expected [degrees, right, down]" in err
