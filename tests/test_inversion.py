"""Inversion on tiny parts, in closed form where there is one; and a real face found again."""

import dataclasses
import inspect
import json
import math

import pytest
import torch
import torch.nn.functional as F
from test_editing import maps
from tiny import TinyGenerator
from torch import nn

from tedi import zoo
from tedi.checkpoints import codes, native
from tedi.errors import TediError, UsageError
from tedi.inversion import INVERTERS
from tedi.inversion.diffusion import diffuse
from tedi.inversion.likeness import Likeness, fit
from tedi.inversion.optimize import Image2StyleGAN, InDomain, InversionOptions
from tedi.inversion.pnorm import PNorm
from tedi.latents import interpolate
from tedi.losses import LOSSES

SLOTS, WIDTH, SIZE = 16, 8, 16
CHANGING = ("fspace", "pti")  # methods whose codes belong to a generator of their own


class TinyEncoder(nn.Module):
    """Linear in the pixels around the mean face; far from exact."""

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(11)
        self.read = nn.Parameter(torch.randn(3 * SIZE**2, SLOTS * WIDTH, generator=random) / 400)
        self.seen = 0

    def forward(self, image):
        self.seen += len(image)
        moved = (image.flatten(1) @ self.read).unflatten(1, (SLOTS, WIDTH))
        return TinyGenerator().w_avg + moved


class Mapped(TinyGenerator):
    """Its mapping ends in a leaky ReLU, as StyleGAN's does."""

    def mapping(self, z):
        return F.leaky_relu(super().mapping(z) * torch.linspace(0.5, 2, self.width), 0.2)


def some_codes(n, seed=0):
    random = torch.Generator().manual_seed(seed)
    return TinyGenerator().w_avg + torch.randn(n, SLOTS, WIDTH, generator=random)


def pictures(n=2, seed=0):
    return TinyGenerator().preview(some_codes(n, seed))


def describe(image):
    """Descriptors of persons: colours of the picture's quarters."""
    return F.adaptive_avg_pool2d(image, 2).flatten(1)


def make(kind=InDomain, *, generator=None, encoder=None, **changes):
    options = dataclasses.replace(
        kind.defaults, **({"steps": 60, "finish": 0, "patience": 0} | changes)
    )
    return kind(
        generator or TinyGenerator(),
        encoder or TinyEncoder(),
        maps=maps,
        describe=describe,
        options=options,
    )


def quick(name):
    """Any method by name, with a few steps where there are steps."""
    kind = INVERTERS[name]
    if hasattr(kind, "defaults"):
        return make(kind, steps=15, finish=5)
    return kind(TinyGenerator(), TinyEncoder(), maps=maps, describe=describe)


def watch():
    told = []
    return told, lambda step, losses, ws: told.append((step, losses, ws))


# --- what every method does ----------------------------------------------------------------------


@pytest.mark.parametrize("name", list(INVERTERS))
def test_a_method_gives_codes_figures_and_leaves_its_networks(name):
    generator, encoder = TinyGenerator(), TinyEncoder()
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    target = pictures(3)
    found = INVERTERS[name](generator, encoder, maps=maps, describe=describe)(target)
    assert (found.generator is generator) == (name not in CHANGING)
    assert found.ws.shape == (3, SLOTS, WIDTH)
    assert not found.ws.requires_grad
    figures = found.extras["figures"]
    drawn = fit(found.generator.synthesis(found.ws), SIZE)
    error = (drawn - target).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(figures["pixel"], error)
    assert set(figures) == {"pixel", "perceptual", "identity"}
    assert all(figure.shape == (3,) for figure in figures.values())
    assert all(torch.equal(before[key], value) for key, value in generator.state_dict().items())
    assert encoder.read.grad is None


@pytest.mark.parametrize("name", [name for name in INVERTERS if name != "pti"])
def test_a_row_does_not_depend_on_its_neighbours(name):
    target, inverter = pictures(3), quick(name)
    together = inverter(target).ws
    for row in range(3):
        assert torch.equal(inverter(target[row : row + 1]).ws[0], together[row])
    assert torch.equal(inverter(target[[2, 0]]).ws, together[[2, 0]])
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("name", list(INVERTERS))
@pytest.mark.parametrize(
    ("target", "says"),
    [
        (torch.zeros(3, 16, 16), r"target: expected aligned pictures \(N, 3, H, H\), got"),
        (torch.zeros(1, 3, 16, 24), r"got \(1, 3, 16, 24\); align them"),
        (
            torch.full((1, 3, 16, 16), 255.0),
            r"target: expected values in \[-1, 1\], got 255 to 255",
        ),
        (torch.zeros(1, 3, 16, 16, dtype=torch.uint8), r"expected values in \[-1, 1\]"),
        (torch.full((1, 3, 16, 16), math.nan), "got nan to nan"),
    ],
    ids=["no batch", "not square", "bytes", "integers", "nan"],
)
def test_what_is_no_picture_is_refused(name, target, says):
    with pytest.raises(UsageError, match=says):
        INVERTERS[name](TinyGenerator(), TinyEncoder(), maps=maps, describe=describe)(target)


def test_the_encoder_alone_gives_its_code_of_the_reduced_picture():
    encoder, target = TinyEncoder(), TinyGenerator().synthesis(some_codes(2))
    assert target.shape[-1] == 2 * SIZE
    found = INVERTERS["encoder"](TinyGenerator(), encoder)(target)
    reduced = F.avg_pool2d(target, 2)
    expected = torch.cat([encoder(row) for row in reduced.split(1)])
    torch.testing.assert_close(found.ws, expected)
    assert set(found.extras["figures"]) == {"pixel"}


def test_a_method_says_which_network_it_lacks():
    for name in ("encoder", "optimize"):
        with pytest.raises(UsageError, match=r"encoder.*, got None"):
            INVERTERS[name](TinyGenerator(), None, maps=maps, describe=describe)
    lacking = {"perceptual": "maps", "identity": "describe", "domain": "encoder"}
    for weight, network in lacking.items():
        weights = dict.fromkeys(lacking, 0.0) | {weight: 1.0}
        says = f"{weight}: expected {network} for this weight, got None; or give 0"
        with pytest.raises(UsageError, match=says):
            Image2StyleGAN(TinyGenerator(), None, options=InversionOptions(**weights))
    Image2StyleGAN(TinyGenerator(), None, maps=maps)


# --- optimisation --------------------------------------------------------------------------------


def test_in_domain_starts_at_the_encoder_and_its_loss_falls():
    told, on_step = watch()
    target, encoder = pictures(2), TinyEncoder()
    found = make(encoder=encoder)(target, on_step)
    assert [step for step, _, _ in told] == list(range(61))
    assert found.extras["steps"] == 60
    (_, first, start), (_, last, _) = told[0], told[-1]
    expected = torch.cat([encoder(row) for row in target.split(1)])
    assert torch.equal(start, expected)
    assert set(first) == {"pixel", "perceptual", "identity", "domain"}
    assert (sum(last.values()) < 0.8 * sum(first.values())).all()


def test_the_terms_are_those_of_the_paper():
    told, on_step = watch()
    target, encoder, generator = pictures(2), TinyEncoder(), TinyGenerator()
    weights = {"pixel": 3.0, "perceptual": 0.5, "identity": 0.7, "domain": 2.0}
    make(encoder=encoder, steps=0, **weights)(target, on_step)
    _, losses, ws = told[0]
    image = generator.preview(ws)
    torch.testing.assert_close(losses["pixel"], 3 * (image - target).square().mean(dim=(1, 2, 3)))
    again = 2 * (ws - encoder(image)).square().mean(dim=(1, 2))
    torch.testing.assert_close(losses["domain"], again)
    apart = LOSSES["identity"](describe)(image, target)
    torch.testing.assert_close(losses["identity"], 0.7 * apart)
    seen = LOSSES["perceptual"](maps)(image, target)
    torch.testing.assert_close(losses["perceptual"], 0.5 * seen)


def test_the_domain_term_goes_through_encoder_and_generator():
    """Alone, it leads to codes that the encoder gives back; without its gradient they would not."""
    told, on_step = watch()
    alone = {"pixel": 0.0, "perceptual": 0.0, "identity": 0.0, "domain": 1.0}
    make(steps=200, lr=0.05, **alone)(pictures(1), on_step, start=some_codes(1, seed=3))
    assert told[-1][1]["domain"] < 0.05 * told[0][1]["domain"]
    generator, encoder, ws = TinyGenerator(), TinyEncoder(), some_codes(1, seed=3).requires_grad_()
    whole = (ws - encoder(generator.preview(ws))).square().mean()
    (slope,) = torch.autograd.grad(whole, ws)
    taken = told[1][2] - told[0][2]
    assert torch.equal(taken.sign(), -slope.sign())  # as Adam's first step is
    (half,) = torch.autograd.grad(
        (ws - encoder(generator.preview(ws)).detach()).square().mean(), ws
    )
    assert not torch.equal(taken.sign(), -half.sign())


def test_a_heavier_domain_term_keeps_codes_nearer_to_the_encoder():
    """The paper's figure 7: less alike, more editable."""

    def gap(weight):
        encoder, generator = TinyEncoder(), TinyGenerator()
        found = make(steps=150, lr=0.03, domain=weight)(pictures(2))
        again = (found.ws - encoder(generator.preview(found.ws))).square().mean()
        return again.item(), found.extras["figures"]["pixel"].mean().item()

    (free, like), (held, unlike) = gap(0.0), gap(20.0)
    assert held < 0.5 * free
    assert unlike > like


def test_image2stylegan_starts_at_the_mean_and_asks_no_encoder():
    told, on_step = watch()
    encoder, target = TinyEncoder(), pictures(2)
    found = make(Image2StyleGAN, encoder=encoder, steps=150)(target, on_step)
    mean = TinyGenerator().w_avg
    assert (told[0][2] == mean).all()
    assert set(told[0][1]) == {"pixel", "perceptual"}
    assert encoder.seen == 0
    assert (found.extras["figures"]["pixel"] < 0.1 * told[0][1]["pixel"]).all()


def test_in_w_all_slots_are_one():
    told, on_step = watch()
    found = make(space="w", steps=20)(pictures(2), on_step)
    for ws in (found.ws, told[0][2]):
        assert (ws == ws[:, :1]).all()
    start = torch.cat([TinyEncoder()(row) for row in pictures(2).split(1)])
    torch.testing.assert_close(told[0][2][:, 0], start.mean(dim=1))
    assert not torch.equal(found.ws[:, 0], told[0][2][:, 0])
    free = make(space="w+", steps=20)(pictures(2)).ws
    assert not (free == free[:, :1]).all()


@pytest.mark.parametrize("space", ["w", "w+", "p"])
def test_every_space_comes_closer_and_keeps_rows_apart(space):
    target = pictures(3)
    inverter = make(Image2StyleGAN, space=space, steps=80, p_norm=0.01)
    found = inverter(target)
    mean = TinyGenerator().w_avg.expand(1, SLOTS, WIDTH)
    before = (TinyGenerator().preview(mean) - target).square().mean(dim=(1, 2, 3))
    assert (found.extras["figures"]["pixel"] < 0.6 * before).all()
    assert torch.equal(inverter(target[1:2]).ws[0], found.ws[1])
    again = make(Image2StyleGAN, space=space, steps=80, p_norm=0.01)
    assert torch.equal(again(target).ws, found.ws)


def test_patience_ends_it_row_by_row():
    told, on_step = watch()
    target = torch.cat([TinyGenerator().preview(some_codes(1)), pictures(1, seed=5)])
    start = some_codes(2)
    start[1] += 1
    found = make(patience=4, domain=0.0, steps=500)(target, on_step, start=start)
    assert torch.equal(found.ws[0], start[0])  # nothing to gain
    assert not torch.equal(found.ws[1], start[1])
    assert 10 < found.extras["steps"] == len(told) - 1
    make(patience=4, domain=0.0)(target[:1], on_step, start=start[:1])
    assert told[-1][0] == 4


def test_half_the_bits_seek_nearly_the_same_code():
    target = pictures(1)
    exact, half = (make(steps=20, finish=2, dtype=d)(target) for d in ("float32", "bfloat16"))
    assert half.ws.dtype == torch.float32
    assert not torch.equal(half.ws, exact.ws)
    start = make(steps=0, finish=0)(target).ws
    assert (half.ws - exact.ws).norm() < 0.3 * (exact.ws - start).norm()
    with pytest.raises(UsageError, match="dtype: expected float32 or bfloat16, got 'half'"):
        InversionOptions(dtype="half")


def test_a_callback_stops_it_with_the_best_so_far():
    seen = []

    def on_step(step, losses, ws):
        seen.append((sum(losses.values()), ws))
        return step == 7

    found = make(finish=5)(pictures(2), on_step)
    assert len(seen) == 8  # no finish either
    assert found.extras["steps"] == 7
    for row, step in enumerate(torch.stack([total for total, _ in seen]).argmin(dim=0).tolist()):
        assert torch.equal(found.ws[row], seen[step][1][row])


class Unlike(TinyGenerator):
    """Its previews are too bright."""

    def preview(self, ws):
        return super().preview(ws) + 0.3


def test_the_finish_looks_at_full_size_drawings():
    told, on_step = watch()
    target = pictures(2)
    chosen = {"generator": Unlike(), "steps": 100, "lr": 0.05, "domain": 0.0, "perceptual": 0.0}

    def error(found):
        drawn = fit(TinyGenerator().synthesis(found.ws), SIZE)
        return (drawn - target).square().mean(dim=(1, 2, 3))

    rough = error(make(**chosen)(target))
    found = make(finish=60, **chosen)(target, on_step)
    assert (error(found) < 0.3 * rough).all()
    assert [step for step, _, _ in told] == [*range(101), *range(100, 161)]
    assert found.extras["steps"] == 160
    assert (told[101][1]["pixel"] > 2 * told[100][1]["pixel"]).all()  # now it sees the difference


def test_a_mask_frees_the_rest_of_the_picture():
    target, mask = pictures(2), torch.zeros(1, 1, SIZE, SIZE)
    mask[..., : SIZE // 2] = 1

    def errors(inverter, **where):
        image = TinyGenerator().preview(inverter(target, **where).ws)
        wrong = (image - target).square().mean(dim=1)
        return wrong[..., :8].mean(), wrong[..., 8:].mean()

    inverter = make(Image2StyleGAN, steps=80)
    left, right = errors(inverter, mask=mask)
    assert left < 0.2 * right
    _, right_of_whole = errors(inverter)
    assert right_of_whole < 0.5 * right
    everywhere = inverter(target, mask=torch.ones(2, 1, 4, 4)).ws
    torch.testing.assert_close(everywhere, inverter(target).ws)


def test_wrong_calls_are_one_line():
    inverter = make()
    with pytest.raises(UsageError, match=r"start: expected ws \(2, 16, 8\), got \(1, 16, 8\)"):
        inverter(pictures(2), start=some_codes(1))
    with pytest.raises(UsageError, match=r"mask: expected \(1 or 2, 1, h, w\), got \(3, 1, 4, 4\)"):
        inverter(pictures(2), mask=torch.ones(3, 1, 4, 4))
    with pytest.raises(UsageError, match=r"mask: expected values in \[0, 1\], got 255 to 255"):
        inverter(pictures(2), mask=torch.full((1, 1, 4, 4), 255))
    broken = some_codes(2)
    broken[1, 3] = math.nan
    with pytest.raises(TediError, match="step 0, row 1: the loss is nan; lower lr"):
        inverter(pictures(2), start=broken)


def test_it_works_in_inference_mode():
    inverter, target = make(steps=5), pictures(1)
    usual = inverter(target).ws
    with torch.inference_mode():
        found = inverter(target * 1).ws
    assert torch.equal(usual, found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": -0.1}, "lr: expected 0 or more, got -0.1"),
        ({"domain": math.inf}, "domain: expected 0 or more, got inf"),
        ({"finish": -1}, "finish: expected 0 or more, got -1"),
        ({"fall": 2.0}, "rise, fall: expected shares up to 1, got 0.05, 2.0"),
        ({"space": "z"}, "space: expected one of w, w+, p, got 'z'"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes, says):
    with pytest.raises(UsageError) as caught:
        InversionOptions(**changes)
    assert str(caught.value) == says


def test_settings_say_what_they_are():
    source = "".join(inspect.getsource(kind) for kind in InversionOptions.__mro__[:-1])
    for setting in dataclasses.fields(InversionOptions):
        line = next(x for x in source.splitlines() if x.strip().startswith(f"{setting.name}:"))
        assert "#" in line, line


# --- P-norm+ -------------------------------------------------------------------------------------


def test_the_mapping_is_whitened_to_a_gaussian():
    """v has mean 0 and covariance 1; here it is the noise itself, turned."""
    generator = Mapped()
    p_norm = PNorm.measure(generator, samples=50_000, seed=1)
    z = torch.randn(20_000, WIDTH, generator=torch.Generator().manual_seed(2))
    w = generator.mapping(z)
    v = p_norm.whiten(w)
    assert v.mean(dim=0).abs().max() < 0.05
    assert (v.T @ v / len(v) - torch.eye(WIDTH)).abs().max() < 0.05
    torch.testing.assert_close(v.square().sum(dim=1), z.square().sum(dim=1), atol=0.4, rtol=0.05)
    torch.testing.assert_close(p_norm.color(v), w, atol=1e-4, rtol=0)
    assert p_norm(w[:, None]).mean().item() == pytest.approx(1, abs=0.03)
    twice = p_norm(p_norm.color(2 * v)[:, None].expand(-1, 3, -1))
    torch.testing.assert_close(twice, 4 * v.square().mean(dim=1), atol=1e-3, rtol=1e-3)


def test_w_itself_is_no_gaussian():
    """What the leaky ReLU's inverse is for."""
    z = torch.randn(20_000, WIDTH, generator=torch.Generator().manual_seed(2))
    w = Mapped().mapping(z)
    p = F.leaky_relu(w, 5)

    def skew(x):
        centred = x - x.mean(dim=0)
        return (centred.pow(3).mean(dim=0) / centred.square().mean(dim=0).pow(1.5)).abs().max()

    assert skew(w) > 0.5
    assert skew(p) < 0.1


def test_p_norm_is_measured_alike_from_one_seed_and_once():
    a, b, other = (PNorm.measure(Mapped(), samples=100, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(a.std, b.std)
    assert not torch.equal(a.std, other.std)
    with pytest.raises(UsageError, match="samples: expected more than 8, got 8"):
        PNorm.measure(Mapped(), samples=8)
    inverter = make(p_norm=0.1, generator=Mapped())
    assert inverter.p_norm is inverter.p_norm is not None
    assert make(generator=Mapped()).p_norm is None


def test_a_p_norm_weight_draws_codes_towards_w():
    def size(weight):
        inverter = make(Image2StyleGAN, generator=Mapped(), steps=100, p_norm=weight)
        found = inverter(pictures(2))
        return PNorm.measure(Mapped(), samples=1000)(found.ws).max()

    assert size(1.0) < 0.5 * size(0.0)


# --- uses ----------------------------------------------------------------------------------------


def test_diffusion_shows_the_target_in_its_region_and_starts_at_the_stitched_picture():
    told, on_step = watch()
    target, context = pictures(2).unbind()
    target, context = target[None], context[None]
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 4:12, 4:12] = 1
    inverter = make(steps=150, lr=0.05)
    found = diffuse(inverter, target, context, mask, on_step)
    stitched = torch.where(mask > 0, target, context)
    assert torch.equal(told[0][2], inverter.encoder(stitched))
    assert "domain" not in told[0][1]

    def wrong(ws):
        return ((TinyGenerator().preview(ws) - target).square() * mask).mean()

    assert wrong(found.ws) < 0.2 * wrong(told[0][2])
    with pytest.raises(UsageError, match="context: expected the target's shape"):
        diffuse(inverter, target, pictures(2), mask)
    with pytest.raises(UsageError, match="context: expected values"):
        diffuse(inverter, target, 255 + context, mask)


def test_interpolation_is_linear_and_has_both_ends():
    a, b = some_codes(2), some_codes(2, seed=1)
    line = interpolate(a, b, 5)
    assert line.shape == (5, 2, SLOTS, WIDTH)
    assert torch.equal(line[0], a)
    assert torch.equal(line[4], b)
    torch.testing.assert_close(line[1], 0.75 * a + 0.25 * b)
    with pytest.raises(UsageError, match="expected 2 or more"):
        interpolate(a, b, 1)
    with pytest.raises(UsageError, match="equal shapes"):
        interpolate(a, b[:1], 3)


def test_likeness_of_a_picture_with_itself_is_none():
    target = pictures(2)
    likeness = Likeness(target, maps, describe)
    figures = likeness.figures(lambda ws: TinyGenerator().preview(ws), some_codes(2))
    assert set(figures) == {"pixel", "perceptual", "identity"}
    assert all(figure.tolist() == [0, 0] for figure in figures.values())


def test_a_code_file_gives_its_record_back(tmp_path):
    record = {"command": "invert", "photo": {"sha256": "0" * 64}, "alignment": [[0.5, 1.0]]}
    path = tmp_path / "face.safetensors"
    codes.save(path, some_codes(1)[0], json.dumps(record))
    assert codes.load_record(path) == record
    assert codes.load(path, slots=SLOTS, width=WIDTH).equal(some_codes(1)[0])


@pytest.mark.parametrize("record", ["", "no json", "[1]"])
def test_a_code_file_without_a_record_says_so(tmp_path, record):
    path = tmp_path / "face.safetensors"
    codes.save(path, some_codes(1)[0], record)
    with pytest.raises(TediError, match="record"):
        codes.load_record(path)


def test_only_a_file_that_can_carry_one_is_asked_for_its_record(tmp_path):
    with pytest.raises(UsageError, match=r"face.npy: only .safetensors say how"):
        codes.load_record(tmp_path / "face.npy")
    with pytest.raises(TediError, match="no such file"):
        codes.load_record(tmp_path / "face.safetensors")
    (tmp_path / "face.safetensors").write_bytes(b"broken")
    with pytest.raises(TediError, match="not a readable safetensors"):
        codes.load_record(tmp_path / "face.safetensors")


# --- real weights --------------------------------------------------------------------------------


def test_a_generated_face_is_found_again(generator, ws):
    """From the mean face, 40 steps take half of the perceptual distance away."""
    model = native.load_attribute_model(zoo.pull("attributes-lite0"))
    with torch.no_grad():
        target = generator.preview(ws[:1])
    options = dataclasses.replace(Image2StyleGAN.defaults, steps=40, finish=0)
    inverter = Image2StyleGAN(generator, None, maps=model.maps, options=options)
    told, on_step = watch()
    inverter(target, on_step)
    assert len(told) == 41
    (_, first, _), (_, last, _) = told[0], told[-1]
    assert last["perceptual"] < 0.5 * first["perceptual"]
    assert last["pixel"] < 0.3 * first["pixel"]
