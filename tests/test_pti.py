"""Pivotal tuning on a small network, in closed form where there is one; and its files."""

import copy
import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from test_editing import maps
from test_inversion import describe
from tiny import TinyGenerator
from torch import nn

from tedi.checkpoints import delta, native
from tedi.descent import ramp
from tedi.errors import TediError, UsageError
from tedi.generators.stylegan3 import StyleGAN3
from tedi.generators.tuned import changes, tuned_copy, with_changes
from tedi.inversion import INVERTERS
from tedi.inversion.likeness import fit
from tedi.inversion.pti import PUBLISHED, PivotalTuning, TuningOptions, weights_behind

SLOTS, WIDTH, SIZE = 6, 8, 16
SHARED = {"const", "early.weight", "early.bias", "steer.0.weight", "steer.1.weight"}
LATE = {"late.weight", "late.bias", "steer.2.weight", "to_image.weight"}


class TinyNetwork(nn.Module):
    """A generator of three convolutions: const 8 px, features 16 px, pictures 32 px."""

    name, resolution, slots, width = "tiny", 32, SLOTS, WIDTH

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.learn = nn.Linear(WIDTH, WIDTH)
        self.const = nn.Parameter(torch.randn(1, 4, 8, 8))
        self.steer = nn.ModuleList(nn.Linear(2 * WIDTH, 4, bias=False) for _ in range(3))
        self.early, self.late = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.to_image = nn.Conv2d(4, 3, 1, bias=False)
        self.to_preview = nn.Conv2d(4, 3, 1)
        self.register_buffer("w_avg", torch.linspace(-0.5, 0.5, WIDTH))
        self.eval().requires_grad_(False)

    def mapping(self, z):
        return self.learn(z) + self.w_avg

    def layers(self, group):
        return {8: (0, 1), 16: (2, 3), 32: (4, 5)}[group]

    def features(self, ws, at):
        x = self.const * (1 + self._style(ws, 0))
        if at == 8:
            return x
        assert at == 16
        return self._up(x, ws)

    def _style(self, ws, i):
        return self.steer[i](ws[:, 2 * i : 2 * i + 2].flatten(1))[:, :, None, None]

    def _up(self, x, ws):
        x = F.interpolate(x, scale_factor=2) * (1 + self._style(ws, 1))
        return F.leaky_relu(self.early(x), 0.2)

    def synthesis_from(self, x, ws):
        x = self._up(x, ws) if x.shape[-1] == 8 else x
        x = F.interpolate(x, scale_factor=2) * (1 + self._style(ws, 2))
        return self.to_image(F.leaky_relu(self.late(x), 0.2)).tanh()

    def preview_from(self, x, ws):
        x = self._up(x, ws) if x.shape[-1] == 8 else x
        return self.to_preview(x).tanh()

    def synthesis(self, ws):
        return self.synthesis_from(self.features(ws, 8), ws)

    def preview(self, ws):
        return self.preview_from(self.features(ws, 8), ws)


def encoder(image):
    """Codes linear in a few pixels."""
    seen = F.adaptive_avg_pool2d(image, 2).flatten(1)
    basis = torch.randn(12, SLOTS * WIDTH, generator=torch.Generator().manual_seed(2)) / 4
    return (seen @ basis).unflatten(1, (SLOTS, WIDTH)) + TinyNetwork().w_avg


def photos(n=1, seed=0):
    """Smooth pictures that no code draws."""
    random = torch.Generator().manual_seed(seed)
    coarse = 1.6 * torch.rand(n, 3, 4, 4, generator=random) - 0.8
    return F.interpolate(coarse, (SIZE, SIZE), mode="bilinear")


def make(generator=None, **changes):
    plain = {"local": 0.0, "every": 1, "identity": 0.0}
    settings = {"steps": 30, "finish": 10, "lr": 0.02} | plain | changes
    options = dataclasses.replace(PivotalTuning.defaults, **settings)
    networks = {"maps": maps, "describe": describe}
    return PivotalTuning(generator or TinyNetwork(), encoder, options=options, **networks)


def watch():
    told = []
    return told, lambda step, losses, ws: told.append((step, losses, ws))


def state(generator):
    return {name: tensor.clone() for name, tensor in generator.state_dict().items()}


def differing(generator, tuned):
    return set(changes(generator, tuned))


# --- copies --------------------------------------------------------------------------------------


def test_a_tuned_copy_owns_what_is_named_and_shares_the_rest():
    generator = TinyNetwork()
    tuned = tuned_copy(generator, {"late.weight"})
    mine, theirs = dict(generator.named_parameters()), dict(tuned.named_parameters())
    assert {name for name in mine if mine[name] is not theirs[name]} == {"late.weight"}
    assert tuned.w_avg is generator.w_avg
    with torch.no_grad():
        tuned.late.weight.add_(1)
    assert differing(generator, tuned) == {"late.weight"}
    torch.testing.assert_close(changes(generator, tuned)["late.weight"], torch.ones(4, 4, 3, 3))


def test_changes_are_added_again():
    generator = TinyNetwork()
    added = {"const": torch.ones(1, 4, 8, 8)}
    torch.testing.assert_close(with_changes(generator, added).const, generator.const + 1)
    with pytest.raises(UsageError, match="has no weight 'nonsense'"):
        with_changes(generator, {"nonsense": torch.ones(1)})
    with pytest.raises(UsageError, match=r"const: expected a change of shape \(1, 4, 8, 8\)"):
        with_changes(generator, {"const": torch.ones(4)})


# --- tuning --------------------------------------------------------------------------------------


def test_the_pivot_draws_the_photo_and_the_original_stays():
    generator = TinyNetwork()
    before, target = state(generator), photos()
    found = make(generator, steps=20, finish=80, lr=0.05)(target)
    assert torch.equal(found.ws, encoder(target))
    pivot, tuned = found.extras["pivot"], found.extras["figures"]
    assert (tuned["pixel"] < 0.3 * pivot["pixel"]).all()
    for drawn_by, figures in ((generator, pivot), (found.generator, tuned)):
        error = (fit(drawn_by.synthesis(found.ws), SIZE) - target).square().mean(dim=(1, 2, 3))
        torch.testing.assert_close(figures["pixel"], error)
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())
    for network in (generator, found.generator):
        assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_previews_tune_what_is_shared_and_full_size_all_that_draws():
    generator, target = TinyNetwork(), photos()
    assert differing(generator, make(generator, finish=0)(target).generator) == SHARED
    assert differing(generator, make(generator, steps=0)(target).generator) == SHARED | LATE


def test_a_step_is_relative_to_each_weights_size():
    """Adam's first step is its rate times the sign of the gradient, whatever the gradient."""
    generator, target = TinyNetwork(), photos()
    with torch.no_grad():
        generator.late.weight.mul_(100)
    found = make(generator, steps=0, finish=1, lr=1e-3, fall=0.0, perceptual=0.0)(target)
    for name, change in changes(generator, found.generator).items():
        size = dict(generator.named_parameters())[name].square().mean().sqrt()
        moved = change.abs()[change != 0]
        torch.testing.assert_close(
            moved, moved.new_full(moved.shape, 1e-3 * size), rtol=0.05, atol=0
        )


def test_the_terms_are_those_of_the_paper():
    generator, target = TinyNetwork(), photos(2)
    told, on_step = watch()
    weights = {"pixel": 2.0, "perceptual": 0.5, "identity": 0.3, "local": 0.1}
    make(generator, steps=1, finish=1, **weights)(target, on_step)
    step, losses, ws = told[0]
    image = generator.preview(encoder(target))
    assert step == 0
    assert torch.equal(ws, encoder(target))
    torch.testing.assert_close(losses["pixel"], 2 * (image - target).square().mean(dim=(1, 2, 3)))
    apart = (describe(image) - describe(target)).square().sum(dim=1)
    torch.testing.assert_close(losses["identity"], 0.3 * apart)
    assert losses["local"].tolist() == [0, 0]  # nothing is tuned yet
    assert all(told[1][1]["local"] > 0)


def test_neighbours_lie_thirty_from_the_pivot_towards_truncated_codes():
    """Seen through a generator that is told which codes it draws."""
    drawn = []

    class Spy(TinyNetwork):
        def preview(self, ws):
            drawn.append(ws.detach().clone())
            return super().preview(ws)

    generator, target = Spy(), photos()
    found = make(generator, steps=1, finish=0, local=1.0, psi=0.5, seed=3)(target)
    pivot = found.ws
    near = [ws for ws in drawn if not math.isclose((ws - pivot).norm().item(), 0, abs_tol=1e-6)]
    near = [ws for ws in near if not torch.equal(ws, generator.w_avg.expand_as(ws))]
    assert len(near) == 2  # old and new generator
    assert torch.equal(*near)
    assert (near[0] - pivot).norm().item() == pytest.approx(30, rel=1e-4)


def test_locality_holds_what_is_around():
    target, generator = photos(), TinyNetwork()
    random = torch.Generator().manual_seed(9)
    ws = generator.mapping(torch.randn(8, WIDTH, generator=random))[:, None].repeat(1, SLOTS, 1)
    drift = []
    for local in (0.0, 3.0):
        tuned = make(generator, local=local, distance=1.0)(target).generator
        drift.append((tuned.synthesis(ws) - generator.synthesis(ws)).square().mean().item())
    assert drift[1] < 0.7 * drift[0]


def test_comparisons_are_made_every_few_steps():
    told, on_step = watch()
    make(steps=6, finish=0, local=0.5, every=3)(photos(), on_step)
    assert ["local" in losses for _, losses, _ in told] == [True, False, False] * 2


def test_steps_are_told_and_counted_over_both_stages():
    told, on_step = watch()
    found = make(steps=4, finish=3)(photos(), on_step)
    assert [step for step, _, _ in told] == list(range(7))
    assert found.extras["steps"] == 7


def test_the_pace_falls_at_the_end_of_a_stage():
    options = dataclasses.replace(PivotalTuning.defaults, steps=8)
    assert ramp(7.5 / 8, options) < 0.5 < ramp(0.5 / 8, options)


def test_tuning_stops_when_told_to_and_where_it_is_near_enough():
    found = make()(photos(), lambda step, losses, ws: step == 5)
    assert found.extras["steps"] == 5
    told, on_step = watch()
    whole = make(steps=30, finish=0)(photos(), on_step)
    assert whole.extras["steps"] == 30
    passed = float(told[12][1]["perceptual"][0])
    assert make(steps=30, finish=0, stop=passed)(photos()).extras["steps"] == 12
    told, on_step = watch()
    make(steps=30, finish=4, stop=passed)(photos(), on_step)
    looked = [step for step, _, _ in told]
    assert looked[:14] == [*range(13), 12]  # what previews say is looked at again at full size


def test_lpips_is_weighed_and_stops(monkeypatch):
    def lpips(image, target):
        return (image - target).abs().mean(dim=(1, 2, 3))

    monkeypatch.setattr("tedi.inversion.pti.LOSSES", {"lpips": lambda: lpips})
    told, on_step = watch()
    weights = {"perceptual": 0.0, "lpips": 2.0, "local": 1.0}
    make(steps=30, finish=0, **weights)(photos(), on_step)
    image = TinyNetwork().preview(encoder(photos()))
    assert set(told[0][1]) == {"pixel", "lpips", "local"}
    torch.testing.assert_close(told[0][1]["lpips"], 2 * lpips(image, photos()))
    passed = float(told[7][1]["lpips"]) / 2
    assert make(steps=30, finish=0, stop=passed, **weights)(photos()).extras["steps"] == 7


def test_the_same_seed_tunes_the_same():
    runs = [make(local=1.0, seed=seed)(photos()).generator for seed in (1, 1, 2)]
    first, again, other = (state(run) for run in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["late.weight"], other["late.weight"])


def test_photos_of_one_person_share_one_generator():
    target = photos(2)
    found = make(steps=0, finish=80, lr=0.05)(target)
    assert found.ws.shape == (2, SLOTS, WIDTH)
    assert (found.extras["figures"]["pixel"] < 0.5 * found.extras["pivot"]["pixel"]).all()


def test_the_pivot_may_be_optimised_or_given():
    target = photos()
    told, on_step = watch()
    changes_ = {"pivot": "optimize", "pivot_steps": 6, "pivot_finish": 2}
    found = make(steps=3, finish=1, **changes_)(target, on_step)
    assert not torch.equal(found.ws, encoder(target))
    assert found.extras["steps"] == 12
    steps = [step for step, _, _ in told]
    assert sorted(set(steps)) == list(range(12))
    start = TinyNetwork().w_avg.expand(1, SLOTS, WIDTH) + 0.1
    assert torch.equal(make()(target, start=start).ws, start)
    with pytest.raises(UsageError, match=r"start: expected ws \(1, 6, 8\), got \(6, 8\)"):
        make()(target, start=start[0])


def test_the_place_of_a_stylegan3_is_not_tuned():
    """Weights of its Fourier input stay; a turn and a shift mean what they meant."""
    torch.manual_seed(0)
    generator = StyleGAN3(resolution=16, w_dim=8, z_dim=8, channel_base=64, num_layers=4)
    generator.eval().requires_grad_(False)
    found = make(generator, steps=1, finish=1)(photos(), start=torch.randn(1, 6, 8))
    weights = dict(generator.named_parameters())
    place = {name for name in weights if name.startswith("synthesis.input.")}
    drawn = weights_behind(generator, lambda g, ws: g.synthesis(ws))
    assert len(place) == 3
    assert place <= drawn
    moves = {name for name in drawn if weights[name].any()}  # steps are relative to a weight's size
    assert differing(generator, found.generator) == moves - place != moves


def test_stopping_while_the_pivot_is_looked_for_tunes_nothing():
    generator = TinyNetwork()
    found = make(generator, pivot="optimize")(photos(), lambda step, losses, ws: step == 3)
    assert differing(generator, found.generator) == set()


def test_the_table_has_it_and_the_papers_schedule_is_there():
    assert INVERTERS["pti"] is PivotalTuning
    published = (PUBLISHED.steps + PUBLISHED.finish, PUBLISHED.lr, PUBLISHED.distance)
    assert published == (350, 3e-4, 30.0)


def test_what_cannot_be_is_refused():
    networks = {"maps": maps, "describe": describe}
    with pytest.raises(UsageError, match=r"encoder: .* got None"):
        PivotalTuning(TinyNetwork(), None, **networks)
    with pytest.raises(UsageError, match=r"perceptual: expected maps for this weight, got None"):
        PivotalTuning(TinyNetwork(), encoder)
    with pytest.raises(UsageError, match="pivot: expected one of encoder, optimize, got 'w'"):
        TuningOptions(pivot="w")
    with pytest.raises(UsageError, match="every: expected 1 or more, got 0"):
        TuningOptions(every=0)
    with pytest.raises(TediError, match=r"step \d+: the loss is nan; lower lr"):
        make(lr=1e30)(photos())

    with pytest.raises(UsageError, match=r"stop: expected perceptual or lpips above 0 with 0\.5"):
        make(perceptual=0.0, stop=0.5)

    class Fixed(TinyNetwork):
        """Its previews share no weight with its pictures."""

        def preview(self, ws):
            return torch.zeros(len(ws), 3, SIZE, SIZE)

    with pytest.raises(UsageError, match="generator: tiny has no weights that could be tuned"):
        make(Fixed(), finish=0)(photos())

    class Plain:
        def __getattr__(self, name):
            return getattr(TinyGenerator(), name)

    with pytest.raises(UsageError, match="generator: only networks can be tuned, got Plain"):
        PivotalTuning(Plain(), encoder, **networks)


# --- files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned():
    generator = TinyNetwork()
    return generator, make(generator, finish=0)(photos())


def test_a_delta_holds_what_changed_and_draws_the_same_again(tuned, tmp_path):
    generator, found = tuned
    path = tmp_path / "me.safetensors"
    delta.save(path, generator, found.generator, sha256="ab" * 32, record='{"photo": "me.jpg"}')
    tensors, metadata = native.read(path)
    assert {name for name in tensors if not name.startswith("scale.")} == SHARED
    assert metadata["generator"] == "ab" * 32
    assert metadata["record"] == '{"photo": "me.jpg"}'
    before = state(generator)
    again = delta.load(path, generator, sha256="ab" * 32)
    whole = (found.generator.synthesis(found.ws) - generator.synthesis(found.ws)).abs().max()
    error = (again.synthesis(found.ws) - found.generator.synthesis(found.ws)).abs().max()
    assert error < 2e-3 * whole
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())


def test_small_changes_of_small_weights_survive_half_precision(tmp_path):
    generator = TinyNetwork()
    added = {"const": torch.linspace(-1e-9, 1e-9, 256).view(1, 4, 8, 8)}
    with torch.no_grad():
        generator.const.zero_()
    path = tmp_path / "tiny.safetensors"
    delta.save(path, generator, with_changes(generator, added), sha256="1")
    again = delta.load(path, generator, sha256="1")
    torch.testing.assert_close(again.const, added["const"], rtol=2e-3, atol=1e-12)


def test_a_delta_is_refused_where_it_does_not_belong(tuned, tmp_path):
    generator, found = tuned
    path = tmp_path / "me.safetensors"
    delta.save(path, generator, found.generator, sha256="ab" * 32)
    with pytest.raises(TediError, match="belongs to the generator abababababab, this one is cdcd"):
        delta.load(path, generator, sha256="cd" * 32)
    with pytest.raises(TediError, match="already exists; pass --overwrite"):
        delta.save(path, generator, found.generator, sha256="ab" * 32)
    delta.save(path, generator, found.generator, sha256="ab" * 32, exist="overwrite")
    smaller = copy.deepcopy(generator)
    smaller.const = nn.Parameter(torch.zeros(1, 4, 4, 4), requires_grad=False)
    with pytest.raises(TediError, match="does not fit the generator: const: expected a change"):
        delta.load(path, smaller, sha256="ab" * 32)
    with pytest.raises(UsageError, match="this is the generator itself"):
        delta.save(tmp_path / "b.safetensors", generator, generator, sha256="1")
    with pytest.raises(UsageError, match=r"is saved as \.safetensors"):
        delta.save(tmp_path / "b.pt", generator, found.generator, sha256="1")
    with pytest.raises(TediError, match="no such file"):
        delta.load(tmp_path / "none.safetensors", generator, sha256="1")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(TediError, match="not a readable safetensors file"):
        delta.load(tmp_path / "broken.safetensors", generator, sha256="1")
    save_file({"ws": torch.zeros(2)}, tmp_path / "code.safetensors")
    with pytest.raises(TediError, match="expected tuned weights or a base code, its kind is None"):
        delta.load(tmp_path / "code.safetensors", generator, sha256="1")
