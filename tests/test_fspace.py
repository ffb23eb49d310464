"""F/W+: where faces lie, what base codes draw, and inversion into them, on a small network."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from test_editing import maps
from test_inversion import describe
from test_pti import SIZE, SLOTS, WIDTH, TinyNetwork, encoder, photos
from test_transform import network

from tedi.checkpoints import delta
from tedi.errors import TediError, UsageError
from tedi.generators.based import TAU, UPRIGHT, Based, inverse, moved, placed
from tedi.generators.stylegan3 import user_transform
from tedi.inversion import INVERTERS
from tedi.inversion.fspace import PUBLISHED, FSpace, FSpaceOptions
from tedi.inversion.likeness import fit
from tedi.inversion.place import find_place
from tedi.inversion.pnorm import PNorm


def pose(angle=0.0, scale=1.0, x=0.0, y=0.0):
    """One place, of degrees."""
    return placed(*(torch.tensor([float(n)]) for n in (math.radians(angle), scale, x, y)))


def dot(x, y, size=32):
    """A bright spot at (x, y), -1 to 1."""
    places = (torch.arange(size) + 0.5) * 2 / size - 1
    return torch.exp(-((places - x) ** 2 + (places[:, None] - y) ** 2) / 0.01)[None, None]


def some_codes(n=1, seed=0):
    random = torch.Generator().manual_seed(seed)
    return TinyNetwork().w_avg + 0.5 * torch.randn(n, SLOTS, WIDTH, generator=random)


def make(generator=None, **changes):
    """The p-norm is left out: the small network's mapping has no leaky ReLU."""
    settings = {"steps": 20, "finish": 5, "at": 8, "p_norm": 0.0, "search": False} | changes
    options = dataclasses.replace(FSpace.defaults, **settings)
    networks = {"maps": maps, "describe": describe}
    return FSpace(generator or TinyNetwork(), encoder, options=options, **networks)


def watch():
    told = []
    return told, lambda step, losses, ws: told.append((step, losses, ws))


# --- places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "goes_to"),
    [
        (pose(), (0.0, -0.5)),
        (pose(angle=90), (0.5, 0.0)),
        (pose(scale=1.5), (0.0, -0.75)),
        (pose(x=0.25, y=0.25), (0.25, -0.25)),
        (pose(angle=90, scale=0.9, x=0.25), (0.7, 0.0)),
    ],
    ids=["upright", "turned", "grown", "shifted", "all"],
)
def test_a_place_turns_to_the_right_then_scales_then_shifts(place, goes_to):
    row, column = divmod(int(moved(dot(0, -0.5), place).flatten().argmax()), 32)
    assert ((column + 0.5) / 16 - 1, (row + 0.5) / 16 - 1) == pytest.approx(goes_to, abs=0.07)


def test_what_is_not_moved_keeps_its_bits():
    image = torch.cat([photos(), photos()])
    same, other = moved(image, torch.cat([pose(), pose(5)]))
    assert torch.equal(same, image[0])
    assert not torch.equal(other, image[1])


def test_inverse_undoes_a_place():
    place = pose(20, 1.2, 0.1, -0.05)
    image = photos()
    there_and_back = moved(moved(image, place), inverse(place))[..., 4:-4, 4:-4]
    torch.testing.assert_close(there_and_back, image[..., 4:-4, 4:-4], atol=0.1, rtol=0)
    torch.testing.assert_close(inverse(inverse(place)), place)


def brightness(image):
    """One level of maps, in which light and dark differ."""
    return [torch.cat([image, torch.full_like(image, 0.5)], dim=1)]


def scene(size=64):
    """A face of three spots, and what stands for encoder and generator: it knows it upright."""
    image = dot(-0.3, -0.2, size) + dot(0.3, -0.2, size) + dot(0, 0.35, size) + dot(0, 0, size) / 2
    upright = F.avg_pool2d(image, 9, 1, 4).repeat(1, 3, 1, 1)
    return upright, {"encode": lambda u: u, "draw": lambda ws: upright.expand(len(ws), -1, -1, -1)}


@pytest.mark.parametrize("moved_by", [(20, 1, 0, 0), (0, 0.8, 0, 0), (-12, 1.1, 0.1, -0.05)])
def test_the_place_of_a_face_is_found(moved_by):
    upright, networks = scene()
    found = find_place(moved(upright, pose(*moved_by)), maps=brightness, **networks)
    torch.testing.assert_close(found, pose(*moved_by), atol=0.09, rtol=0)


def test_an_upright_face_stays_where_it_is_and_rows_go_their_own_ways():
    upright, networks = scene()
    target = torch.cat([upright, moved(upright, pose(20))])
    found = find_place(target, maps=brightness, **networks)
    assert torch.equal(found[0], torch.tensor(UPRIGHT))
    assert (found[1] - found[0]).abs().max() > 0.2


# --- base codes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [8, 16])
def test_a_generator_on_its_own_activations_draws_as_it_does(at):
    generator, ws = TinyNetwork(), some_codes(2)
    based = Based(generator, generator.features(ws, at), ws)
    later = ws.clone()
    later[:, at // 4 :] += 1  # slots after the base code
    for drawn, own in ((based.synthesis, generator.synthesis), (based.preview, generator.preview)):
        torch.testing.assert_close(drawn(ws), own(ws))
        torch.testing.assert_close(drawn(later), own(later))
    torch.testing.assert_close(based.features(ws, at), generator.features(ws, at))


def test_a_base_code_moves_as_the_activations_do_where_the_face_is(monkeypatch):
    generator, ws, place = TinyNetwork(), some_codes(), pose(25, 0.9, 0.1)
    base = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    based = Based(generator, base, ws, place)
    assert torch.equal(based.at(ws), base)
    torch.testing.assert_close(based.synthesis(ws), generator.synthesis_from(base, ws))
    other = some_codes(seed=4)
    own, new = (moved(generator.features(code, 8), place) for code in (ws, other))
    for tau, expected in ((1e9, base + new - own), (1e-9, new)):  # all else is kept, or none
        monkeypatch.setattr("tedi.generators.based.TAU", tau)
        torch.testing.assert_close(based.at(other), expected, atol=1e-4, rtol=0)
    drawn = generator.synthesis_from(based.at(other), other)
    torch.testing.assert_close(based.synthesis(other), drawn)
    fixed = Based(generator, base, ws, place, follows=False)
    torch.testing.assert_close(fixed.synthesis(other), generator.synthesis_from(base, other))
    coarse = ws.clone()
    coarse[:, :2] += 1
    assert torch.equal(fixed.synthesis(coarse), fixed.synthesis(ws))
    assert not torch.allclose(based.synthesis(coarse), based.synthesis(ws), atol=1e-3)


def test_what_an_edit_does_not_reach_is_kept_beside_what_it_does(monkeypatch):
    """Half of the residual is left where the change is τ, in root mean squares of the channels."""
    generator, ws = TinyNetwork(), some_codes()
    own = generator.features(ws, 16)
    based = Based(generator, own + 1, ws)
    size = own.square().mean(dim=(2, 3), keepdim=True).sqrt()
    change = torch.zeros_like(own)
    change[:, :, :, 8:] = TAU * size
    monkeypatch.setattr(generator, "features", lambda ws, at: own + change)
    rest = based.at(ws) - own - change
    torch.testing.assert_close(rest[:, :, :, :7], torch.ones(1, 4, 16, 7), atol=1e-4, rtol=0)
    torch.testing.assert_close(rest[:, :, :, 9:], torch.full((1, 4, 16, 7), 0.5), atol=1e-4, rtol=0)
    assert (rest[:, :, :, 7:9] < 1).all()


def test_pictures_of_a_turned_face_are_turned_back():
    generator, ws = TinyNetwork(), some_codes()
    upright, place = generator.preview(ws), pose(25, 0.9, 0.1)
    base = moved(generator.features(ws, 8), place)
    image = moved(upright.repeat(2, 1, 1, 1), place.repeat(2, 1, 1))
    back = Based(generator, base, ws, place).upright(image)
    middle = (slice(None), slice(None), *(slice(back.shape[-1] // 4, -back.shape[-1] // 4),) * 2)
    assert (back - upright)[middle].abs().mean() < 0.5 * (image - upright)[middle].abs().mean()


def test_one_base_code_serves_many_codes_and_several_go_row_by_row():
    generator, ws = TinyNetwork(), some_codes(3)
    one = Based(generator, torch.randn(1, 4, 8, 8), ws[:1], pose(10))
    alone = torch.cat([one.synthesis(row) for row in ws.split(1)])
    torch.testing.assert_close(one.synthesis(ws), alone)
    three = Based(generator, generator.features(ws, 8), ws)
    with pytest.raises(UsageError, match="ws: expected 3 codes, one a base code, got 2"):
        three.synthesis(ws[:2])


def test_base_codes_that_do_not_fit_are_refused():
    generator, ws = TinyNetwork(), some_codes()
    with pytest.raises(UsageError, match=r"base: expected \(1, 4, 8, 8\), got \(1, 5, 8, 8\)"):
        Based(generator, torch.zeros(1, 5, 8, 8), ws)
    with pytest.raises(UsageError, match=r"codes: expected \(1, 6, 8\), got \(2, 6, 8\)"):
        Based(generator, torch.zeros(1, 4, 8, 8), some_codes(2))
    based = Based(generator, torch.zeros(1, 4, 8, 8), ws)
    with pytest.raises(UsageError, match="features: expected 8 px, where the base code is, got 16"):
        based.features(ws, 16)
    with pytest.raises(UsageError, match="a face with a base code is drawn from ws"):
        based.synthesis_from_styles({})


def test_a_base_code_is_kept_in_a_file(tmp_path):
    generator, ws = TinyNetwork(), some_codes()
    based = Based(generator, torch.randn(1, 4, 8, 8), ws, pose(20), follows=False)
    path = tmp_path / "turned.safetensors"
    delta.save(path, generator, based, sha256="ab")
    again = delta.load(path, generator, sha256="ab")
    assert isinstance(again, Based)
    assert not again.follows
    torch.testing.assert_close(again.place, based.place)
    torch.testing.assert_close(again.synthesis(ws), based.synthesis(ws), atol=5e-3, rtol=0)
    with pytest.raises(TediError, match="belongs to the generator ab, this one is cd"):
        delta.load(path, generator, sha256="cd")
    with pytest.raises(TediError, match="its base code is of another generator"):
        delta.save(tmp_path / "other.safetensors", TinyNetwork(), based, sha256="ab")


# --- a generator with margins --------------------------------------------------------------------


def codes_of(generator, n=1, seed=2):
    noise = torch.randn(n, 16, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(noise)[:, None].repeat(1, generator.slots, 1)


def test_a_place_is_of_the_picture_where_activations_have_a_margin():
    """A spot of the picture, 16 of 36 px wide, turned and shifted as `goes_to` says above."""
    share = 16 / 36
    there = moved(dot(0, -0.5 * share, 108), pose(angle=90, x=0.25), reach=1 / share)
    row, column = divmod(int(there.flatten().argmax()), 108)
    found = ((column + 0.5) / 54 - 1, (row + 0.5) / 54 - 1)
    assert found == pytest.approx((0.75 * share, 0.0), abs=0.02)


@pytest.mark.parametrize("at", [16, 32])
def test_activations_of_stylegan3_go_where_its_own_transform_puts_them(at):
    generator = network()
    ws = codes_of(generator)
    own = generator.features(ws, at)
    wanted = generator.features(ws, at, user_transform(tx=0.125))  # of the width: 0.25 of its half
    inner = (..., slice(8, -8), slice(8, -8))  # what comes from beyond the margin is not known
    right, wrong, still = (
        (found - wanted)[inner].square().mean()
        for found in (
            moved(own, pose(x=0.25), reach=own.shape[-1] / at),
            moved(own, pose(x=0.25)),
            own,
        )
    )
    assert right < 0.1 * wrong
    assert right < 0.1 * still


def test_a_stylegan3_is_inverted_edited_and_kept(tmp_path):
    generator = network()
    ws, other = codes_of(generator, 2).split(1)
    place, (told, on_step) = pose(20, x=0.2), watch()
    target = moved(generator.preview(other), place).clamp(-1, 1)
    settings = {"steps": 10, "finish": 2, "at": 16, "p_norm": 0.0, "identity": 0.0, "lr": 0.1}
    options = dataclasses.replace(FSpace.defaults, **settings)
    inverter = FSpace(generator, lambda image: ws, maps=maps, options=options)
    found = inverter(target, on_step, place=place)
    based = found.generator
    assert (based.size, tuple(based.base.shape[2:])) == (16, (36, 36))
    first, last = (sum(float(loss) for loss in told[step][1].values()) for step in (0, 10))
    assert last < 0.8 * first
    start = moved(generator.features(ws, 16), place, reach=36 / 16)
    assert torch.equal(inverter._begin(target, ws, place), start)
    edited = found.ws + 0.5 * (other - ws)
    change = generator.features(edited, 16) - generator.features(ws, 16)
    still = Based(generator, start, ws, place, size=16)
    torch.testing.assert_close(
        still.at(edited) - start, moved(change, place, reach=36 / 16), atol=1e-4, rtol=0
    )
    assert not torch.allclose(based.synthesis(edited), based.synthesis(found.ws), atol=1e-2)
    path = tmp_path / "turned.safetensors"
    delta.save(path, generator, based, sha256="ab")
    again = delta.load(path, generator, sha256="ab")
    torch.testing.assert_close(again.synthesis(edited), based.synthesis(edited), atol=2e-2, rtol=0)


def test_a_base_code_leaves_slots_for_details():
    options = FSpaceOptions(at=64, identity=0.0)
    with pytest.raises(
        UsageError, match="at: expected a resolution with slots after it, such as 32, got"
    ):
        FSpace(network(), lambda image: image, maps=maps, options=options)


def test_files_of_before_the_size_was_told_are_read(tmp_path):
    generator, ws = TinyNetwork(), some_codes()
    tensors = {"base": torch.randn(1, 4, 8, 8).half(), "codes": ws, "place": pose(20)}
    path = tmp_path / "old.safetensors"
    metadata = {"kind": "base code", "generator": "ab", "record": "{}", "follows": "true"}
    save_file(tensors, path, metadata)
    assert delta.load(path, generator, sha256="ab").size == 8
    save_file(tensors, path, metadata | {"size": "eight"})
    with pytest.raises(TediError, match=r"old.safetensors: does not fit the generator: .*'eight'"):
        delta.load(path, generator, sha256="ab")


# --- inversion -----------------------------------------------------------------------------------


def test_it_comes_nearer_than_any_code_does():
    generator, target = TinyNetwork(), photos(2)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    networks = {"maps": maps, "describe": describe}
    alone = INVERTERS["encoder"](generator, encoder, **networks)(target).extras["figures"]
    found = make(generator, steps=10, finish=120, lr=0.1, base=0.0)(target)
    figures = found.extras["figures"]
    assert (figures["pixel"] < 0.5 * alone["pixel"]).all()
    drawn = fit(found.generator.synthesis(found.ws), SIZE)
    torch.testing.assert_close(figures["pixel"], (drawn - target).square().mean(dim=(1, 2, 3)))
    assert found.ws.shape == (2, SLOTS, WIDTH)
    assert not found.ws.requires_grad
    assert not found.generator.base.requires_grad
    assert torch.equal(found.ws[:, :2], encoder(target)[:, :2])
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())


def test_a_row_does_not_depend_on_its_neighbours():
    target, inverter = photos(3), make(search=True, steps=6, finish=2)
    together = inverter(target)
    for row in range(3):
        alone = inverter(target[row : row + 1])
        assert torch.equal(alone.ws[0], together.ws[row])
        assert torch.equal(alone.generator.base[0], together.generator.base[row])


def test_it_starts_at_the_activations_of_the_upright_face():
    """Seen at step 0, where a reading encoder and a known place give the base code."""
    generator, target = TinyNetwork(), photos()
    found = make(generator, steps=0, finish=0, search=True)(target)
    place = found.extras["place"]
    codes = encoder(moved(target, inverse(place)))
    torch.testing.assert_close(found.ws, codes)
    torch.testing.assert_close(found.generator.base, moved(generator.features(codes, 8), place))


def test_the_terms_are_those_of_the_paper():
    """One step at a rate that leaves f off its start."""

    class Bent(TinyNetwork):
        def mapping(self, z):
            return F.leaky_relu(super().mapping(z) * torch.linspace(0.5, 2, WIDTH), 0.2)

    generator, target = Bent(), photos()
    told, on_step = watch()
    weights = {"pixel": 2.0, "perceptual": 0.5, "identity": 0.3, "base": 0.7, "p_norm": 0.2}
    found = make(generator, steps=1, finish=0, rise=0.0, patience=0, **weights)(target, on_step)
    for step in (0, 1):
        losses, ws = told[step][1:]
        v = PNorm.measure(generator, seed=0)(ws[:, 2:])
        torch.testing.assert_close(losses["p_norm"], 0.2 * v, rtol=1e-3, atol=0)
    codes = encoder(target)
    image = generator.preview(codes)
    first, last = told[0][1], told[1][1]
    torch.testing.assert_close(first["pixel"], 2 * (image - target).square().mean(dim=(1, 2, 3)))
    apart = (describe(image) - describe(target)).square().sum(dim=1)
    torch.testing.assert_close(first["identity"], 0.3 * apart)
    assert first["base"].item() == 0
    start = generator.features(codes, 8)
    assert torch.equal(told[1][2], found.ws)
    size = start.square().mean(dim=(2, 3), keepdim=True)
    away = ((found.generator.base - start).square() / size).mean(dim=(1, 2, 3))
    torch.testing.assert_close(last["base"], 0.7 * away, rtol=1e-3, atol=1e-7)
    assert last["base"].item() > 0


def test_a_base_code_encoder_may_give_the_start():
    class Reads:
        size = 8

        def __init__(self, channels):
            self.channels = channels

        def __call__(self, image):
            return image.mean(dim=1, keepdim=True).expand(-1, self.channels, -1, -1)

    options = dataclasses.replace(FSpace.defaults, steps=0, finish=0, at=8, p_norm=0.0)
    networks = {"maps": maps, "describe": describe, "options": options}
    target = photos()
    found = FSpace(TinyNetwork(), encoder, base_encoder=Reads(4), **networks)(target)
    expected = F.avg_pool2d(target, 2).mean(dim=1, keepdim=True).expand(-1, 4, -1, -1)
    torch.testing.assert_close(found.generator.base, expected)
    with pytest.raises(UsageError, match=r"base_encoder: expected \(1, 4, 8, 8\), got \(1, 5, 8"):
        FSpace(TinyNetwork(), encoder, base_encoder=Reads(5), **networks)(target)


def test_steps_are_told_and_counted_over_both_stages():
    told, on_step = watch()
    found = make(steps=4, finish=3, patience=0)(photos(), on_step)
    assert [step for step, _, _ in told] == [0, 1, 2, 3, 4, 4, 5, 6, 7]
    assert found.extras["steps"] == 7
    assert told[0][2].shape == (1, SLOTS, WIDTH)
    assert make(steps=9)(photos(), lambda step, losses, ws: step == 2).extras["steps"] == 2


def test_holding_the_base_code_holds_it():
    away = []
    for weight in (0.0, 100.0):
        found = make(steps=30, base=weight, lr=0.1)(photos())
        start = TinyNetwork().features(encoder(photos()), 8)
        away.append((found.generator.base - start).square().mean().item())
    assert away[1] < 0.1 * away[0]


def test_the_papers_schedule_starts_at_the_mean_and_leaves_the_base_code_alone():
    wanted = dataclasses.replace(PUBLISHED, at=8, p_norm=0.0, finish=0)
    found = FSpace(TinyNetwork(), encoder, maps=maps, describe=describe, options=wanted)(photos())
    assert not found.generator.follows
    assert torch.equal(found.ws[:, 2:], TinyNetwork().w_avg.expand(1, SLOTS - 2, -1))
    assert (PUBLISHED.steps + PUBLISHED.finish, PUBLISHED.lr, PUBLISHED.base) == (1200, 0.01, 10.0)


def test_what_cannot_be_is_refused():
    networks = {"maps": maps, "describe": describe}
    with pytest.raises(UsageError, match=r"encoder: .* got None"):
        FSpace(TinyNetwork(), None, **networks)
    with pytest.raises(UsageError, match="perceptual: expected maps for it, got None; or give 0"):
        FSpace(TinyNetwork(), encoder, describe=describe)
    with pytest.raises(UsageError, match="details: expected one of encoder, mean, got 'zero'"):
        FSpaceOptions(details="zero")
    with pytest.raises(UsageError, match="base_rate: expected more than 0, got 0"):
        FSpaceOptions(base_rate=0.0)
    with pytest.raises(UsageError, match="target: expected aligned pictures"):
        make()(torch.zeros(3, 16, 16))


# --- the real generator --------------------------------------------------------------------------


@pytest.mark.parametrize("at", [8, 64])
def test_previews_go_on_from_features(generator, ws, at):
    with torch.inference_mode():
        again = generator.preview_from(generator.features(ws[:1], at), ws[:1])
        assert torch.equal(again, generator.preview(ws[:1]))


def test_previews_go_on_from_small_features_only(generator, ws):
    with pytest.raises(UsageError, match="previews go on from 64 px at most, got 128 px"):
        generator.preview_from(torch.zeros(1, 256, 128, 128), ws[:1])
