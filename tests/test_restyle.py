"""Looking again: the encoder of moves, its training, and inversion by looks."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from test_editing import maps
from test_foreign import save, tiny
from test_inversion import TinyEncoder, describe, pictures, some_codes, watch
from tiny import TinyGenerator
from torch import nn

from tedi import pipeline, zoo
from tedi.checkpoints import bundle, native
from tedi.checkpoints.residual import load_residual_encoder
from tedi.encoders.psp import BackboneEncoder
from tedi.encoders.residual import FromMean, ResidualEncoder
from tedi.encoders.restyle import ReStyle
from tedi.encoders.visual import VisualEncoder
from tedi.errors import TediError, UsageError
from tedi.images import to_pil
from tedi.inversion.restyle import Echo, LookOptions, Restyle, looker_of
from tedi.pipeline.foreign import Again, Steps, open_foreign
from tedi.pipeline.photos import VISUAL, Photos
from tedi.training.loop import Settings, run
from tedi.training.pictures import to_bytes
from tedi.training.restyle import RestyleOptions, RestyleTask
from tedi.training.visual import drawn_codes

WIDTH = 8


@pytest.fixture
def first():
    """A visual encoder of random weights that is told who it is."""
    torch.manual_seed(3)
    encoder = VisualEncoder(slots=16, width=WIDTH)
    encoder.describe = lambda image: image.mean(dim=(2, 3)).repeat(1, 43)[:, :128]
    return encoder


@pytest.fixture
def residual(first):
    """One that moves."""
    torch.manual_seed(4)
    encoder = ResidualEncoder(first).eval()
    nn.init.normal_(encoder.offset.weight)
    return encoder


def looks(encoder, target, drawn):
    with torch.no_grad():
        return encoder.look(encoder.see(target), drawn)


# --- the encoder of moves ------------------------------------------------------------------------


def test_untrained_it_moves_nothing_and_begins_as_the_visual_encoder(first):
    encoder, image = ResidualEncoder(first), torch.rand(2, 3, 256, 256)
    assert not looks(encoder, image, image.flip(3)).any()
    with torch.no_grad():
        assert torch.equal(encoder.begin(image), first(image))


def test_where_nothing_differs_nothing_moves(residual):
    a, b = torch.rand(2, 1, 3, 256, 256)
    assert not looks(residual, a, a).any()
    assert looks(residual, a, b).any()


def test_a_move_is_linear_in_what_differs_by_a_matrix_of_the_face(residual):
    a, b = (residual.see(image) for image in torch.rand(2, 1, 3, 256, 256))

    def moved(share, face):
        here = {"picture": a["picture"] + share * (b["picture"] - a["picture"])}
        residual.see = lambda image: here
        with torch.no_grad():
            return residual.look(a | {"face": face}, torch.zeros(1))

    whole, half = moved(1.0, a["face"]), moved(0.5, a["face"])
    torch.testing.assert_close(half, whole / 2, rtol=1e-3, atol=1e-5)
    face = a["face"] + 30 * torch.randn_like(a["face"])
    other = moved(1.0, face)
    assert (other - whole).norm() > 0.1 * whole.norm()
    between = moved(1.0, (a["face"] + face) / 2)
    torch.testing.assert_close(between, (whole + other) / 2, rtol=1e-3, atol=1e-5)


def test_the_visual_encoder_is_no_part_of_its_weights_and_is_frozen(residual, first):
    assert not any("first" in name or "blocks" in name for name in residual.state_dict())
    assert not any(parameter.requires_grad for parameter in first.parameters())
    moves = residual.look(residual.see(torch.rand(1, 3, 256, 256)), torch.rand(1, 3, 256, 256))
    moves.sum().backward()
    assert residual.gap.weight.grad.any()


def test_without_an_identity_network_it_cannot_look(first):
    first.describe = None
    with pytest.raises(UsageError, match="describe: looking again needs an identity network"):
        ResidualEncoder(first).see(torch.rand(1, 3, 256, 256))


def test_files_of_something_else_are_refused(first, tmp_path):
    with pytest.raises(TediError, match="not an encoder that looks again, but 'parser-lite0'"):
        load_residual_encoder(zoo.pull("parser-lite0"), first)


def test_a_published_network_looks_as_restyle_does():
    """Beside `tedi.encoders.restyle`, whose codes are pinned by the published ones."""
    torch.manual_seed(0)
    encoder = BackboneEncoder(channels=6, slots=16, width=WIDTH, depth=10).eval()
    encoder.w_avg.copy_(TinyGenerator().w_avg.expand(16, -1))
    generator, image = TinyGenerator(), torch.rand(1, 3, 256, 256)
    looker = FromMean(encoder)
    with torch.no_grad():
        seen, ws = looker.see(image), looker.begin(image)
        for _ in range(2):
            ws = ws + looker.look(seen, generator.synthesis(ws))
    torch.testing.assert_close(ws, ReStyle(encoder, steps=2)(image, generator))
    assert isinstance(looker_of(Steps(encoder, generator, 2)), FromMean)
    with pytest.raises(UsageError, match="encoder: expected one of 6 channels, got 3"):
        FromMean(BackboneEncoder(slots=16, width=WIDTH, depth=10))


# --- inversion by looks --------------------------------------------------------------------------


class Share:
    """Moves a share of the way from where it is to the right code; more than 2 leads away."""

    def __init__(self, right, share):
        self.right, self.share, self.drawn = right, share, []

    def begin(self, image):
        self.at = TinyGenerator().w_avg.expand(len(image), 16, -1)
        return self.at

    def see(self, image):
        return {}

    def look(self, target, drawn):
        self.drawn.append(drawn)
        move = self.share * (self.right - self.at)
        self.at = self.at + move
        return move


def restyle(looker, **options):
    parts = {"maps": maps, "describe": describe, "options": LookOptions(**options)}
    return Restyle(TinyGenerator(), TinyEncoder(), looker=looker, **parts)


def test_every_look_goes_on_from_the_last():
    right, told_to = some_codes(1), watch()
    told, on_step = told_to
    found = restyle(Share(right, 0.5), steps=4)(TinyGenerator().preview(right), on_step)
    mean = TinyGenerator().w_avg.expand_as(right)
    torch.testing.assert_close(found.ws, right + (mean - right) / 16)
    assert [step for step, _, _ in told] == list(range(5))
    assert found.extras["steps"] == 4
    totals = [sum(losses.values()).item() for _, losses, _ in told]
    assert totals == sorted(totals, reverse=True)
    assert torch.equal(told[0][2], mean)


def test_looks_that_lead_away_do_no_harm():
    right = some_codes(1)
    image = TinyGenerator().preview(right)
    away = restyle(Share(right, -1.0), steps=3)(image)
    assert torch.equal(away.ws, TinyGenerator().w_avg.expand_as(right))
    assert restyle(Share(right, -1.0), steps=9, patience=2)(image).extras["steps"] == 2


def test_the_last_looks_are_at_full_size_drawings():
    right = some_codes(1)
    looker = Share(right, 0.5)
    found = restyle(looker, steps=1, finish=2)(TinyGenerator().preview(right))
    assert found.extras["steps"] == 3
    assert {tuple(drawn.shape) for drawn in looker.drawn} == {(1, 3, 16, 16)}
    preview, full, _ = looker.drawn
    step = TinyGenerator().w_avg.expand_as(right).lerp(right, 0.5)
    torch.testing.assert_close(preview, TinyGenerator().preview(step * 0 + TinyGenerator().w_avg))
    torch.testing.assert_close(full, nn.functional.avg_pool2d(TinyGenerator().synthesis(step), 2))


def test_who_is_told_may_stop_the_looks():
    right = some_codes(1)
    image = TinyGenerator().preview(right)
    found = restyle(Share(right, 0.5), steps=9, finish=9)(image, lambda step, *_: step == 2)
    assert found.extras["steps"] == 2


def test_what_looks_but_once_is_asked_what_it_reads_of_the_drawing():
    encoder, image = TinyEncoder(), pictures(1)
    looker = looker_of(encoder)
    assert isinstance(looker, Echo)
    with torch.no_grad():
        drawn = TinyGenerator().preview(some_codes(1, seed=5))
        assert torch.equal(looks(looker, image, drawn), encoder(image) - encoder(drawn))
        assert not looks(looker, image, image).any()


def test_as_many_looks_as_the_encoders_file_says(tmp_path):
    """`n_iters` of a published file; an encoder that says nothing looks twice."""
    own, six = tiny(width=16), BackboneEncoder(channels=6, slots=10, width=16, depth=10)
    file, looking = save(tmp_path / "own.safetensors", own), tmp_path / "restyle.safetensors"
    facts = {"n_iters": 3}
    part = bundle.Bundle("encoder", "psp-backbone", dict(six.config), six.state_dict(), facts)
    bundle.save(looking, {"encoder": part})
    foreign = open_foreign(file, looking)
    image = torch.rand(1, 3, 64, 64)

    def found(encoder, options=None):
        inverter = Restyle(foreign.generator, encoder, options=options)
        return inverter(image).extras["steps"]

    assert found(foreign.encoder) == 3
    assert found(foreign.encoder, LookOptions(steps=1)) == 1
    assert found(lambda image: foreign.generator.w_avg.expand(len(image), 10, -1)) == 2


def trained(folder, **told):
    """A file as train/restyle.py writes it, of an encoder that moves a little."""
    path = zoo.pull(VISUAL)
    encoder = ResidualEncoder(native.load_visual_encoder(path))
    torch.manual_seed(6)
    nn.init.normal_(encoder.offset.weight, std=0.01)
    header = {"architecture": "residual", "looks": "3", "first": zoo.sha256(path)} | told
    save_file(encoder.state_dict(), folder / "restyle.safetensors", metadata=header)
    return folder / "restyle.safetensors"


def test_an_encoder_trained_for_the_own_generator_looks_in_a_photo(generator, tmp_path):
    """By `--encoder FILE` or `tedi.load(encoder=FILE)`: as often as the file says, or is asked."""
    model = pipeline.load(device="cpu", encoder=trained(tmp_path))
    photos = model.photos
    assert set(photos.weights) == {"restyle.safetensors"}
    image = to_pil(model.generator.preview(drawn_codes(generator, 1)[:1]))[0]
    [photo] = photos.open(image, aligned=True)
    found = photos.invert(photo, method="restyle", options=LookOptions(steps=1))
    first, looker = photos.encoder.encoder.first, photos.encoder.encoder
    assert isinstance(photos.encoder, Again)
    assert (found.extras["steps"], looker.steps) == (1, 3)
    assert looker_of(photos.encoder) is looker
    with torch.no_grad():
        begun = first(photo.image)
        move = looker.look(looker.see(photo.image), model.generator.preview(begun))
        photos.encoder.steps = 1
        torch.testing.assert_close(photos.encoder(photo.image), begun + move)
    assert any(torch.equal(found.ws, ws) for ws in (begun, begun + move))
    assert move.any()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"first": "0" * 64}, "restyle.safetensors: trained beside another visual encoder; here"),
        ({"looks": "often"}, "restyle.safetensors: looks: expected a number, got 'often'"),
    ],
)
def test_a_file_that_fits_no_shipped_encoder_is_refused(generator, tmp_path, told, message):
    with pytest.raises(TediError, match=message):
        _ = Photos(generator, looking=trained(tmp_path, **told)).encoder


def test_moves_of_the_own_generator_are_for_no_other(tmp_path):
    own = save(tmp_path / "own.safetensors", tiny())
    with pytest.raises(UsageError, match=r"looks again with .* alone; leave out --generator"):
        open_foreign(own, trained(tmp_path))


@pytest.mark.parametrize("name", ["steps", "finish", "patience"])
def test_numbers_of_looks_below_nothing_are_refused(name):
    with pytest.raises(UsageError, match=f"{name}: expected 0 or more, got -1"):
        LookOptions(**{name: -1})


# --- training ------------------------------------------------------------------------------------


def settings_of(tmp_path, **more):
    out = str(tmp_path / "restyle.safetensors")
    return Settings("restyle", **({"steps": 2, "out": out, "warmup": 1, "lr": 0.01} | more))


def test_the_task_learns_and_its_file_loads(generator, tmp_path):
    """Two steps of all terms, by the loop that ships the encoder."""
    few = {"photo_batch": 1, "drawn_batch": 1, "held_out": 2, "measured": 1, "average": 600}
    options = RestyleOptions(**few, looks=2, compiled=False)
    ws = drawn_codes(generator, 101)
    with torch.no_grad():
        shown = to_bytes(generator.preview(ws[:3]))
    drawn = np.concatenate([shown[:1]] * 101)
    settings = settings_of(tmp_path, lr=1e-4)
    task = RestyleTask(generator, generator.preview, shown, (ws, drawn), options, settings)
    before = task.looker.offset.weight.detach().clone()
    figures = run(task, settings, folder=tmp_path / "run")
    assert figures["photos"] == 1
    assert {f"perceptual distance, look {look}" for look in range(3)} <= set(figures)
    first = native.load_visual_encoder(zoo.pull("visual-mobilestylegan-ffhq"))
    first.describe = task.describe
    encoder = load_residual_encoder(tmp_path / "restyle.safetensors", first)
    assert not torch.equal(encoder.offset.weight, before)
    move = looks(encoder, torch.zeros(1, 3, 256, 256), torch.ones(1, 3, 256, 256))
    assert move.shape == (1, 16, 512)


def test_a_look_sends_its_gradient_no_further_than_its_own_move(generator):
    """Of two looks, the second sees a drawing and a code that are taken as given."""
    few = {"photo_batch": 1, "drawn_batch": 0, "held_out": 2, "average": 600}
    only = {"pixel": 0.0, "perceptual": 0.0, "identity": 0.0, "adversary": 0.0, "offsets": 0.0}
    ws = drawn_codes(generator, 0)
    shown = np.random.default_rng(0).integers(0, 256, (3, 3, 256, 256), dtype=np.uint8)
    options = RestyleOptions(**few, **only, looks=2, compiled=False, codes_adversary=0.0)
    empty = np.zeros((0, 3, 256, 256), np.uint8)
    task = RestyleTask(
        generator, generator.preview, shown, (ws, empty), options, Settings("restyle", 1, "x")
    )
    moves = []
    look = task.looker.look

    def kept(target, drawn):
        assert not drawn.requires_grad
        moves.append(look(target, drawn))
        return moves[-1]

    task.looker.look = kept
    task._terms = lambda photo, target, ws, codes, rng: {"sum": ws.sum()}
    met = []
    task.looker.meet.register_forward_hook(lambda module, given, out: met.append(out[0].detach()))
    task.step(0)["sum"].backward()
    first, second = moves
    assert len(moves) == 2
    assert first.grad_fn is not second.grad_fn
    tint = task.looker.first.tint.sum(dim=0)
    expected = tint[:, None] * sum(met) / 2  # each look adds its own half, none the other's
    found = task.looker.offset.weight.grad.view(16, 512, -1)[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("network", ["psp-backbone", "e4e-backbone"])
def test_a_network_for_a_generator_of_ones_own_is_trained_and_inverts(network, tmp_path):
    """Its file is one that `--encoder` takes; gradients are accumulated."""
    drawing = tiny()
    file = save(tmp_path / "own.safetensors", drawing)
    few = {"photo_batch": 1, "drawn_batch": 0, "held_out": 2, "measured": 1, "average": 600}
    options = RestyleOptions(
        **few, looks=2, compiled=False, generator=str(file), network=network, depth=10
    )
    shown = np.random.default_rng(0).integers(0, 256, (4, 3, 256, 256), dtype=np.uint8)
    settings = settings_of(tmp_path, accumulate=2)
    own = bundle.open_generator(file)
    ws, empty = drawn_codes(own, 0), np.zeros((0, 3, 256, 256), np.uint8)

    def draw(ws):
        return nn.functional.interpolate(own.preview(ws), (256, 256))

    task = RestyleTask(own, draw, shown, (ws, empty), options, settings)
    before = {n: t.clone() for n, t in task.looker.named_parameters()}
    run(task, settings, folder=tmp_path / "run")
    after = dict(task.looker.named_parameters())
    assert any(not torch.equal(before[n], after[n]) for n in before)
    foreign = open_foreign(file, tmp_path / "restyle.safetensors")
    assert isinstance(foreign.encoder, Steps)
    assert foreign.encoder.steps == 2
    image = torch.rand(1, 3, 256, 256)
    assert foreign.encoder(image).shape == (1, own.slots, own.width)
    with safe_open(tmp_path / "restyle.safetensors", framework="pt") as written:
        assert written.metadata()["architecture"] == network


@pytest.mark.parametrize("name", ["looks", "photo_batch", "measured"])
def test_a_task_that_looks_at_nothing_is_refused(name):
    with pytest.raises(UsageError, match=f"{name}: expected 1 or more, got 0"):
        RestyleOptions(**{name: 0})
