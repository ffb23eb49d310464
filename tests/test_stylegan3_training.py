"""Training of the small StyleGAN3: its two objectives, what it keeps running means of, its file."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tedi.checkpoints import bundle
from tedi.errors import UsageError
from tedi.generators.stylegan3 import StyleGAN3
from tedi.training import TASKS, stylegan3
from tedi.training.loop import Settings, run
from tedi.training.stylegan3 import StyleGAN3Options, StyleGAN3Task, take_mapping, unlike

SMALL = StyleGAN3Options(
    batch_size=4,
    resolution=16,
    channel_base=64,
    channel_max=8,
    num_layers=4,
    judge="8,8,8",
    drawn=4,
)
WIDTH = 512  # of tedifaces' noise


class Teacher(nn.Module):
    """The parts of the embedded generator that are asked for."""

    name, width, slots = "tiny", WIDTH, 2

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.mapping = Mapping(nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(8)))
        self.w_avg = torch.randn(WIDTH)


class Mapping(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, z):
        x = z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2) * 2**0.5
        return x


@pytest.fixture(scope="module")
def teacher():
    return Teacher().requires_grad_(False)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (12, 3, 128, 128), np.uint8)


def task(teacher, pixels, **changes):
    options = dataclasses.replace(SMALL, **changes)
    return StyleGAN3Task(teacher, range(12), pixels, options, seed=0)


def gradients(module):
    return [p.grad is not None and bool(p.grad.any()) for p in module.parameters()]


def test_it_is_a_task_by_name():
    assert TASKS["stylegan3"] is stylegan3.make_task


def test_both_networks_learn_of_one_drawing(teacher, pixels):
    """G's loss is about G alone, D's about D alone."""
    made = task(teacher, pixels)
    losses = made.step(0)
    assert list(losses) == ["G", "D, drawn", "D, shown", "R1"]
    losses["G"].backward(retain_graph=True)
    assert any(gradients(made.generator.synthesis))
    assert any(gradients(made.generator.mapping))
    assert not any(gradients(made.judge))
    made.model.zero_grad()
    (losses["D, drawn"] + losses["D, shown"] + losses["R1"]).backward()
    assert any(gradients(made.judge))
    assert not any(gradients(made.generator))
    assert "R1" not in made.step(1)


def test_losses_are_those_of_the_papers(teacher, pixels):
    made = task(teacher, pixels, r1_every=2, gamma=3.0)
    drawn = torch.randn(4, 3, 16, 16)
    random = torch.Generator().manual_seed(1)
    losses = made._argue(drawn, random, penalised=True)
    logits = made.judge(drawn)
    torch.testing.assert_close(losses["G"], -torch.log(torch.sigmoid(logits)).mean())
    torch.testing.assert_close(losses["D, drawn"], -torch.log(1 - torch.sigmoid(logits)).mean())
    random = torch.Generator().manual_seed(1)
    shown = made.shown(torch.randint(12, (4,), generator=random), random).requires_grad_(True)
    (slope,) = torch.autograd.grad(made.judge(shown).sum(), shown)
    expected = 2 * 3.0 / 2 * slope.square().sum() / 4
    torch.testing.assert_close(losses["R1"], expected)


def test_a_step_depends_on_its_number_alone(teacher, pixels):
    first, again = task(teacher, pixels), task(teacher, pixels)
    again.step(3)  # moves running means, which are part of the state
    again.model.load_state_dict(first.model.state_dict())
    a, b = first.step(7), again.step(7)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_running_means_follow(teacher, pixels):
    made = task(teacher, pixels, half_life=4)
    layer = made.generator.synthesis.layers[1]
    w_avg, before = made.generator.w_avg.clone(), layer.magnitude_ema.clone()
    made.step(0)
    assert not torch.equal(made.generator.w_avg, w_avg)
    assert layer.magnitude_ema != before
    for _ in range(12):
        drawn = made.draw(made.generator.w_avg.expand(4, -1))
    styles = made.generator.styles(made.generator.w_avg.expand(1, made.generator.slots, -1))
    x = made.generator.synthesis.advance(made.generator.synthesis.start(styles, None), styles, 0, 1)
    assert layer.magnitude_ema.item() == pytest.approx(x.square().mean().item(), rel=0.02)
    expected = made.generator.synthesis(made.generator.w_avg.expand(1, made.generator.slots, -1))
    assert (drawn[:1] - expected).abs().max() < 0.02 * expected.abs().max()


def test_a_copy_has_the_w_of_its_teacher(teacher, pixels):
    made = task(teacher, pixels, copy=1.0, adversary=0.0)
    z = torch.randn(3, WIDTH)
    torch.testing.assert_close(made.generator.mapping(z), teacher.mapping(z))
    assert torch.equal(made.generator.w_avg, teacher.w_avg)
    losses = made.step(0)
    assert list(losses) == ["copy"]
    losses["copy"].backward()
    assert any(gradients(made.generator.synthesis))
    assert not any(gradients(made.generator.mapping))
    assert torch.equal(made.generator.w_avg, teacher.w_avg)


def test_a_mapping_of_another_form_is_refused(pixels):
    generator = StyleGAN3(resolution=16, w_dim=8, z_dim=8, channel_base=64, num_layers=4)
    with pytest.raises(UsageError, match="copy: tiny's mapping network has another form"):
        take_mapping(generator, Teacher())


def test_unlike_is_zero_for_likeness_and_counts_edges():
    image = torch.rand(2, 3, 8, 8)
    assert unlike(image, image) == 0
    assert unlike(image + 0.5, image) == pytest.approx(0.5, abs=1e-6)  # a flat error has no edges
    stripes = torch.tensor([0.5, -0.5]).repeat(4).expand(2, 3, 8, 8)
    assert unlike(image + stripes, image) == pytest.approx(0.5 + 1.0, abs=1e-6)


def test_unaligned_pictures_are_turned_and_moved(teacher):
    """A dot in the middle of each picture leaves it, but not by more than the shift."""
    pixels = np.zeros((12, 3, 128, 128), np.uint8)
    pixels[:, :, 60:68, 60:68] = 255
    rows = torch.arange(12)
    upright = task(teacher, pixels).shown(rows, torch.Generator().manual_seed(0))
    made = task(teacher, pixels, unaligned=True, shift=0.25)
    shown = made.shown(rows, torch.Generator().manual_seed(0))
    grid = torch.arange(16) + 0.5 - 8
    mass = (shown.mean(dim=1) + 1) / 2
    total = mass.sum(dim=(1, 2))
    across = (mass.sum(dim=1) * grid).sum(dim=1) / total / 16
    assert (upright - upright[:1]).abs().max() == 0
    assert 0.1 < across.abs().max() < 0.25
    assert across.min() < 0 < across.max()


def test_its_file_is_a_generator_of_tedis(teacher, pixels, tmp_path):
    settings = Settings(
        task="stylegan3", steps=2, out=str(tmp_path / "g.safetensors"), lr=1e-3, log_every=1
    )
    made = task(teacher, pixels)
    figures = run(made, settings, folder=tmp_path / "run")
    assert figures["pictures"] == 4
    assert all(math.isfinite(value) for value in figures.values())
    generator = bundle.open_generator(tmp_path / "g.safetensors")
    ws = generator.w_avg.expand(1, generator.slots, -1)
    with torch.no_grad():
        torch.testing.assert_close(generator.synthesis(ws), made.generator.synthesis(ws))
    further = task(teacher, pixels, start=settings.out, unaligned=True)
    assert further.generator.config == made.generator.config
    assert torch.equal(further.generator.w_avg, generator.w_avg)
    assert all(p.requires_grad for p in further.generator.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6}, "batch_size: expected a multiple of 4, got 6"),
        ({"adversary": 0.0}, "adversary: expected more than 0 where copy is 0"),
        ({"copy": 1.0, "unaligned": True}, "copy: expected 0 for unaligned pictures"),
        ({"resolution": 256}, "resolution: expected 16, 32, 64 or 128, got 256"),
    ],
)
def test_options_that_cannot_be_are_refused(teacher, pixels, changes, message):
    with pytest.raises(UsageError, match=message):
        task(teacher, pixels, **changes)
