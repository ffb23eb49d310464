"""Encoders of pSp, e4e, ReStyle, idinvert and BDInvert: names, arithmetic, stages, steps, errors.

The names and shapes in golden/e4e-keys.txt (one block and one head of each kind) and
golden/idinvert-encoder-keys.txt (all) are those of the released classes, listed with their counts
of keys and values from instances of them.
"""

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tedi.encoders import (
    BASE_ENCODERS,
    ENCODER_TYPES,
    ENCODERS,
    LATENT_DISCRIMINATORS,
    ir_se,
    psp,
    restyle,
)
from tedi.encoders.bdinvert import BaseCodeEncoder
from tedi.encoders.identity import ArcFace
from tedi.encoders.idinvert import IDInvertEncoder, Residual
from tedi.encoders.psp import MapToStyle, encoder_type
from tedi.encoders.restyle import ReStyle
from tedi.errors import TediError, UsageError

GOLDEN = Path(__file__).parent / "golden"
FAMILY = sorted(set(ENCODER_TYPES.values()))
PROGRESSIVE = [name for name in FAMILY if name.startswith("e4e")]
TINY = {"width": 32, "depth": 10, "slots": 9}
each_of_the_family = pytest.mark.parametrize("name", FAMILY)
each_progressive = pytest.mark.parametrize("name", PROGRESSIVE)


def golden(name):
    """Names and shapes, one a line: "block0.conv.weight (64,3,3,3)"."""
    lines = [line.split(" ") for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]
    return {name: tuple(int(n) for n in shape.strip("()").split(",") if n) for name, shape in lines}


def meta(build, **options):
    """A network of shapes alone."""
    with torch.device("meta"):
        return build(**options)


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def random(network, seed=0):
    """Weights and running figures that let numbers through, in float64, frozen."""
    torch.manual_seed(seed)
    for name, tensor in network.double().state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point() and name.endswith("linear.weight"):
            tensor.normal_()
        elif tensor.is_floating_point() and tensor.ndim > 1 and name != "w_avg":
            tensor.normal_(std=(1.5 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point():
            tensor.normal_(mean=0.5, std=0.3)
    return network.eval().requires_grad_(False)


def tiny(name, **options):
    options = TINY | options
    return random(ENCODERS[name](**options))


def picture(channels=3, rows=1, size=(256, 256), seed=1):
    torch.manual_seed(seed)
    return torch.rand(rows, channels, *size, dtype=torch.float64) * 2 - 1


# --- a reference, written from the published formulas over a state dict --------------------------


class Reference:
    """The encoders of the pSp family as functions of a state dict in float64."""

    def __init__(self, state):
        self.state = state

    def norm(self, x, name):
        """Batch norm of eps 1e-5 by running figures."""
        get = [self.state[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
        mean, var, weight, bias = (t[:, None, None] for t in get)
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def conv(self, x, name, stride=1):
        weight = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride=stride, padding=weight.shape[-1] // 2)

    def prelu(self, x, name):
        return torch.where(x > 0, x, x * self.state[f"{name}.weight"][:, None, None])

    def ir_block(self, x, name, stride):
        kept = x[:, :, ::stride, ::stride]
        if f"{name}.shortcut_layer.0.weight" in self.state:
            kept = self.conv(x, f"{name}.shortcut_layer.0", stride)
            kept = self.norm(kept, f"{name}.shortcut_layer.1")
        x = self.conv(self.norm(x, f"{name}.res_layer.0"), f"{name}.res_layer.1")
        x = self.conv(self.prelu(x, f"{name}.res_layer.2"), f"{name}.res_layer.3", stride)
        x = self.norm(x, f"{name}.res_layer.4")
        if f"{name}.res_layer.5.fc1.weight" in self.state:
            y = self.conv(x.mean((2, 3), keepdim=True), f"{name}.res_layer.5.fc1").clamp(min=0)
            x = x / (1 + torch.exp(-self.conv(y, f"{name}.res_layer.5.fc2")))
        return x + kept

    def resnet_block(self, x, name, stride):
        kept = x
        if f"{name}.downsample.0.weight" in self.state:
            kept = self.norm(self.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
        x = self.norm(self.conv(x, f"{name}.conv1", stride), f"{name}.bn1").clamp(min=0)
        return (self.norm(self.conv(x, f"{name}.conv2"), f"{name}.bn2") + kept).clamp(min=0)

    def maps(self, x):
        """Of 128, 64, 32 and 16 px; one block makes each."""
        if "conv1.weight" in self.state:
            x, block, strides = self.prelu(self.norm(self.conv(x, "conv1", 2), "bn1"), "relu"), 0, 0
            block, strides = self.resnet_block, (1, 2, 2, 2)
        else:
            x = self.prelu(
                self.norm(self.conv(x, "input_layer.0"), "input_layer.1"), "input_layer.2"
            )
            block, strides = self.ir_block, (2, 2, 2, 2)
        found = []
        for number, stride in enumerate(strides):
            x = block(x, f"body.{number}", stride)
            found.append(x)
        return found

    def enlarged(self, x):
        """Twice the size, bilinear, corners in place: sample i of n lies at i (m - 1) / (n - 1)."""

        def weights(m):
            at = torch.arange(2 * m, dtype=x.dtype)[:, None] * (m - 1) / (2 * m - 1)
            return (1 - (at - torch.arange(m)).abs()).clamp(min=0)

        return weights(x.shape[2]) @ x @ weights(x.shape[3]).T

    def linear(self, x, name):
        weight = self.state[f"{name}.weight"]
        return x @ weight.T / weight.shape[1] ** 0.5 + self.state[f"{name}.bias"]

    def style(self, x, slot):
        number = 0
        while f"styles.{slot}.convs.{number}.weight" in self.state:
            x = self.conv(x, f"styles.{slot}.convs.{number}", 2)
            x, number = torch.where(x > 0, x, 0.01 * x), number + 2
        assert x.shape[2:] == (1, 1)
        return self.linear(x[:, :, 0, 0], f"styles.{slot}.linear")

    def vectors(self, x):
        """map2style of all nine slots."""
        _, c1, c2, c3 = self.maps(x)
        looks = [c3] * 9
        if "latlayer1.weight" in self.state:
            p2 = self.enlarged(c3) + self.conv(c2, "latlayer1")
            p1 = self.enlarged(p2) + self.conv(c1, "latlayer2")
            looks = [c3] * 3 + [p2] * 4 + [p1] * 2
        return torch.stack([self.style(look, slot) for slot, look in enumerate(looks)], dim=1)

    def codes(self, name, x):
        if name == "psp-w":
            offsets = self.linear(self.maps(x)[-1].mean((2, 3)), "linear")[:, None].repeat(1, 9, 1)
        elif name == "psp-wplus":
            x = self.norm(self.maps(x)[-1], "output_layer_2.0")
            x = F.adaptive_avg_pool2d(x, 7).flatten(1)
            x = x @ self.state["output_layer_2.3.weight"].T + self.state["output_layer_2.3.bias"]
            offsets = self.linear(x, "linear").view(len(x), 9, -1)
        else:
            offsets = self.vectors(x)
            if name in PROGRESSIVE:
                offsets[:, 1:] += offsets[:, :1].clone()
        return self.state["w_avg"] + offsets


# --- names, shapes, sizes ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["psp", "e4e"])
def test_e4e_has_the_names_of_the_released_files(name):
    network = meta(ENCODERS[name])
    found = shapes(network)
    assert found.pop("w_avg") == (18, 512)
    assert golden("e4e-keys.txt").items() <= found.items()
    assert len(found) == 621
    assert sum(p.numel() for p in network.parameters()) == 267_136_704


def test_idinvert_has_the_names_of_the_released_file():
    network = meta(IDInvertEncoder)
    assert shapes(network) == golden("idinvert-encoder-keys.txt")
    assert sum(t.numel() for t in network.state_dict().values()) == 165_359_122


def test_the_latent_discriminator_has_the_names_of_e4e():
    network = meta(LATENT_DISCRIMINATORS["e4e"])
    rows = {0: 512, 2: 512, 4: 512, 6: 1}
    assert shapes(network) == {
        f"mlp.{i}.{part}": shape
        for i, n in rows.items()
        for part, shape in (("weight", (n, 512)), ("bias", (n,)))
    }
    assert sum(t.numel() for t in network.state_dict().values()) == 788_481


def test_the_base_code_encoder_is_bdinvert_s():
    found = shapes(meta(BaseCodeEncoder))
    convs = {name: shape[:2] for name, shape in found.items() if len(shape) == 4}
    at = [0, 3, 6, 10, 13, 16, 20, 23, 26, 30, 33]  # a pooling is 9, 19 and 29
    widths = [3, 128, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512]
    assert convs == {
        f"model.{i}.weight": (leave, enter)
        for i, enter, leave in zip(at, widths[:-1], widths[1:], strict=True)
    }
    parameters = meta(BaseCodeEncoder).parameters()
    assert sum(p.numel() for p in parameters) == pytest.approx(12.4e6, abs=5e4)


def test_the_resnet_is_torchvision_s():
    network = meta(ENCODERS["psp-resnet"], channels=3)
    found = shapes(network)
    assert found["conv1.weight"] == (64, 3, 7, 7)
    assert found["relu.weight"] == (64,)
    assert found["body.13.downsample.0.weight"] == (512, 256, 1, 1)
    assert "body.0.downsample.0.weight" not in found
    assert "body.16.conv1.weight" not in found
    heads = ("styles.", "latlayer")
    trunk = [p for n, p in network.named_parameters() if not n.startswith(heads)]
    fc, prelu = 513_000, 64
    assert sum(p.numel() for p in trunk) == 21_797_672 - fc + prelu


def test_the_trunk_is_arcface_s():
    trunk = {n: s for n, s in shapes(meta(ArcFace)).items() if not n.startswith("output_layer")}
    assert trunk.items() <= shapes(meta(ENCODERS["psp"])).items()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"channels": 1, "slots": 14},
        {"channels": 19},
        {"channels": 6, "slots": 16, "depth": 18},
        {"width": 32, "depth": 10},
    ],
)
@each_of_the_family
def test_configurations_are_read_off_shapes(name, options):
    build = ENCODERS[name]
    if "resnet" not in name and options.get("depth") == 18:
        options = options | {"depth": 100, "excited": False}
    network = meta(build, **options)
    assert build.read_config(network.state_dict()) == network.config
    assert network.config.items() >= options.items()
    assert shapes(meta(build, **network.config)) == shapes(network)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (IDInvertEncoder, {"resolution": 64, "width": 16, "base": 4, "most": 8, "channels": 1}),
        (IDInvertEncoder, {}),
        (BaseCodeEncoder, {"width": 24, "first": 4, "most": 6, "halvings": 2, "channels": 1}),
        (BaseCodeEncoder, {}),
        (LATENT_DISCRIMINATORS["e4e"], {"width": 8, "depth": 2}),
    ],
)
def test_other_configurations_are_read_off_shapes(build, options):
    network = meta(build, **options)
    assert build.read_config(network.state_dict()) == network.config
    assert network.config.items() >= options.items()
    assert shapes(meta(build, **network.config)) == shapes(network)


@each_of_the_family
def test_networks_come_back_from_their_state(name):
    network = tiny(name)
    state = network.state_dict()
    again = ENCODERS[name](**ENCODERS[name].read_config(state)).double().eval()
    again.load_state_dict(state)
    image = picture(size=(192, 256))  # of cars
    assert torch.equal(again(image), network(image))


def test_every_published_type_leads_to_its_class():
    classes = {name: ENCODERS[ENCODER_TYPES[name]].__name__ for name in ENCODER_TYPES}
    renamed = {
        "BackboneEncoderUsingLastLayerIntoW": "SingleStyleCodeEncoder",
        "BackboneEncoderUsingLastLayerIntoWPlus": "WPlusEncoder",
    }
    assert classes == {name: renamed.get(name, name) for name in ENCODER_TYPES}


@each_of_the_family
def test_names_tell_the_published_type_up_to_e4e(name):
    found = encoder_type(meta(ENCODERS[name], **TINY).state_dict())
    assert ENCODER_TYPES[found] == name.replace("e4e", "psp")


def test_doctests():
    failed, tried = doctest.testmod(psp)
    assert (failed, tried > 0) == (0, True)


# --- arithmetic ----------------------------------------------------------------------------------


@each_of_the_family
def test_codes_are_those_of_the_reference(name):
    network, image = tiny(name), picture(rows=2)
    expected = Reference(network.state_dict()).codes(name, image)
    found = network(image)
    assert found.shape == (2, 9, 32)
    assert found.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_plain_ir_is_not_excited():
    network, image = tiny("psp", excited=False), picture()
    assert not any("fc1" in name for name in network.state_dict())
    expected = Reference(network.state_dict()).codes("psp", image)
    torch.testing.assert_close(network(image), expected, rtol=1e-9, atol=1e-9)


def test_maps_are_tapped_after_the_groups():
    class Count(nn.Module):
        def forward(self, x):
            return x + 1

    def taps(counts):  # number of the block that a map leaves, from 0 on
        blocks = nn.Sequential(*(Count() for _ in range(sum(counts))))
        return [int(x) for x in ir_se.maps(blocks, torch.tensor(-1), counts)]

    assert taps(ir_se.DEPTHS[50])[1:] == [6, 20, 23]
    assert taps(restyle.DEPTHS[34])[1:] == [6, 12, 15]


@pytest.mark.parametrize(
    ("channels", "takes"), [(1, "sketch"), (3, "image"), (6, "image"), (19, "labels")]
)
def test_what_goes_in_is_told_by_the_channels(channels, takes):
    network = tiny("psp", channels=channels)
    assert network.takes == takes
    assert network.size == 256
    assert network(picture(channels)).shape == (1, 9, 32)
    with pytest.raises(UsageError, match=rf"expected \(N, {channels}, 256, 256\), got \(1, 2, 256"):
        network(picture(2))


@each_of_the_family
def test_codes_are_absolute(name):
    network, image = tiny(name), picture()
    before, offsets = network(image), network.offsets(image)
    torch.testing.assert_close(before - network.w_avg, offsets)
    network.w_avg += torch.arange(9)[:, None]
    torch.testing.assert_close(
        network(image) - before, torch.arange(9.0).double()[:, None] + 0 * before
    )


def slow_conv(x, weight, stride):
    """3x3 or 1x1 convolution with zeros around, place by place."""
    reach = weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    height, width = ((n - 2 * reach + stride - 1) // stride for n in x.shape[1:])
    out = np.zeros((len(weight), height, width))
    for i in range(height):
        for j in range(width):
            patch = x[:, i * stride :, j * stride :][:, : weight.shape[-1], : weight.shape[-1]]
            out[:, i, j] = (weight * patch).sum(axis=(1, 2, 3))
    return out


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


@pytest.mark.parametrize(("size", "convs"), [(16, 4), (32, 5), (64, 6)])
def test_map2style_is_that_of_pixels(size, convs):
    network = random(MapToStyle(4, size))
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert len(state) == 2 * convs + 2
    image = picture(4, size=(size, size))
    x = image[0].numpy()
    for number in range(0, 2 * convs, 2):
        x = slow_conv(x, state[f"convs.{number}.weight"], 2)
        x = leaky(x + state[f"convs.{number}.bias"][:, None, None], 0.01)
    expected = state["linear.weight"] @ x[:, 0, 0] / 2 + state["linear.bias"]  # √4 is 2
    np.testing.assert_allclose(network(image)[0], expected, rtol=1e-9)


@pytest.mark.parametrize("leave", [6, 4])
def test_idinvert_s_block_is_that_of_pixels(leave):
    """With both scales of the released class, which cancel."""
    network = random(Residual(4, leave))
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    image = picture(4, size=(8, 8))
    x = image[0].numpy().reshape(4, 4, 2, 4, 2).mean(axis=(2, 4))

    def norm(x, name):
        get = [state[f"{name}.bn.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
        mean, var, weight, bias = (t[:, None, None] for t in get)
        return leaky((x - mean) / np.sqrt(var + 1e-5) * weight + bias, 0.2)

    kept = norm(slow_conv(x, state["conv.weight"], 1), "bn") if leave != 4 else x
    for n in "12":
        scale = np.sqrt(2 / (len(x) * 9))
        x = slow_conv(x, state[f"conv{n}.weight"], 1) / scale
        x = norm(x * scale + state[f"wscale{n}.bias"][:, None, None], f"bn{n}")
    assert ("conv.weight" in state) == (leave != 4)
    np.testing.assert_allclose(network(image)[0], x + kept, rtol=1e-9)


def test_idinvert_s_ends_are_those_of_pixels():
    network = random(IDInvertEncoder(resolution=8, width=3, base=2, most=2))
    image = picture(size=(8, 8))
    state = network.state_dict()

    def norm(x, name):
        shift = (x - state[f"{name}.running_mean"]) / (state[f"{name}.running_var"] + 1e-5).sqrt()
        return shift * state[f"{name}.weight"] + state[f"{name}.bias"]

    x = slow_conv(image[0].numpy(), state["block0.conv.weight"].numpy(), 1)
    x = norm(torch.tensor(x).movedim(0, 2), "block0.bn.bn").movedim(2, 0)
    x = network.block1(torch.where(x > 0, x, 0.2 * x)[None])
    x = x.reshape(-1) @ state["block2.fc.weight"].T / 32**0.5
    expected = norm(x, "block2.bn.bn").view(1, 4, 3)
    torch.testing.assert_close(network(image), expected, rtol=1e-9, atol=1e-9)


def test_idinvert_learns_no_scale_of_norms():
    network = meta(IDInvertEncoder, resolution=8, base=2)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in network.named_parameters() if name.endswith("bn.weight")}


def test_base_codes_are_eight_times_smaller():
    network = random(BaseCodeEncoder(base=2, width=6, first=4, most=6))
    image = picture(size=(16, 16))
    state, x, number = network.state_dict(), image, 0
    for last, pool in enumerate([0, 0, 1] * 3 + [0, 0], start=-10):
        x = F.conv2d(x, state[f"model.{number}.weight"], state[f"model.{number}.bias"], padding=1)
        if last:
            x = Reference(state).norm(x, f"model.{number + 1}")
            x = torch.where(x > 0, x, 0.2 * x)
        if pool:
            x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean(dim=(3, 5))
        number += 3 + pool
    assert network.size == 16
    assert network(image).shape == (1, 6, 2, 2)
    torch.testing.assert_close(network(image), x, rtol=1e-9, atol=1e-9)


def test_the_latent_discriminator_judges_each_slot():
    network = random(LATENT_DISCRIMINATORS["e4e"](width=8))
    ws = picture(size=(5, 8), rows=2)[:, 0]
    x = ws
    for i in (0, 2, 4, 6):
        x = x @ network.mlp[i].weight.T + network.mlp[i].bias
        x = torch.where(x > 0, x, 0.2 * x) if i < 6 else x
    assert network(ws).shape == (2, 5, 1)
    torch.testing.assert_close(network(ws), x)
    torch.testing.assert_close(network(ws[:, 3]), x[:, 3])


# --- stages of e4e -------------------------------------------------------------------------------


@each_progressive
def test_a_stage_moves_its_slots_alone(name):
    network, image = tiny(name), picture()
    vectors = Reference(network.state_dict()).vectors(image)
    everything = network(image)
    assert network.stage == "inference"
    for stage in (0, 3, 7, 8):
        network.stage = stage
        expected = vectors[:, :1].repeat(1, 9, 1)
        expected[:, 1 : stage + 1] += vectors[:, 1 : stage + 1]
        torch.testing.assert_close(network.offsets(image), expected, rtol=1e-9, atol=1e-9)
    assert torch.equal(network(image), everything)  # the last slot's stage is all of them
    network.stage = "inference"
    assert torch.equal(network(image), everything)


@each_progressive
def test_a_stage_gives_no_gradient_to_later_heads(name):
    network = tiny(name).requires_grad_(True)
    network.stage = 2
    network(picture()).square().sum().backward()
    moved = [slot for slot in range(9) if network.styles[slot].linear.weight.grad is not None]
    assert moved == [0, 1, 2]


@each_progressive
@pytest.mark.parametrize("stage", [9, -1, "all", 1.5])
def test_stages_that_are_none_are_told(name, stage):
    network = tiny(name)
    with pytest.raises(UsageError, match=r"stage: expected 0 to 8 or 'inference', got "):
        network.stage = stage


# --- ReStyle -------------------------------------------------------------------------------------


class Drawing(nn.Module):
    """A generator of 9 slots whose pictures (N, 3, side, side) are linear in its codes."""

    name, slots, width = "drawing", 9, 32

    def __init__(self, side=512):
        super().__init__()
        torch.manual_seed(5)
        self.resolution, self.drawn = side, 0
        self.register_buffer("paint", torch.randn(9 * 32, 3 * 64, dtype=torch.float64) / 17)
        self.register_buffer("w_avg", torch.zeros(32, dtype=torch.float64))

    def synthesis(self, ws):
        self.drawn += 1
        small = (ws.flatten(1) @ self.paint).unflatten(1, (3, 8, 8))
        return F.interpolate(small, self.resolution, mode="bicubic")


RESTYLES = ["psp-backbone", "e4e-backbone", "psp", "e4e-resnet-backbone"]


@pytest.mark.parametrize("name", RESTYLES)
def test_restyle_is_its_steps_by_hand(name):
    encoder, generator, image = tiny(name, channels=6), Drawing(), picture(rows=2)

    def drawn(ws):  # by area to half the size
        return generator.synthesis(ws).unflatten(3, (256, 2)).unflatten(2, (256, 2)).mean((3, 5))

    def delta(ws):
        return encoder(torch.cat([image, drawn(ws)], dim=1)) - encoder.w_avg

    first = encoder.w_avg[None].repeat(2, 1, 1)
    ws = [first]
    for _ in range(3):
        ws.append(ws[-1] + delta(ws[-1]))
    told = []

    def on_step(step, terms, codes):
        told.append((step, terms["move"], codes))

    generator.drawn = 0
    found = ReStyle(encoder)(image, generator, steps=3, on_step=on_step)
    assert generator.drawn == 3  # not once more at the end
    torch.testing.assert_close(found, ws[3], rtol=1e-8, atol=1e-8)
    assert [step for step, _, _ in told] == [1, 2, 3]
    for (_, move, codes), old, new in zip(told, ws, ws[1:], strict=False):
        torch.testing.assert_close(codes, new, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(move, (new - old).norm(dim=2).mean(dim=1))


def test_restyle_stops_where_it_is_told():
    encoder, generator, image = tiny("psp-backbone", channels=6), Drawing(), picture()
    method = ReStyle(encoder, steps=4)
    stopped = method(image, generator, on_step=lambda step, terms, ws: step == 2)
    torch.testing.assert_close(stopped, method(image, generator, steps=2))
    assert not torch.allclose(stopped, method(image, generator))


def test_restyle_goes_on_from_another_encoder():
    encoder, generator, image = tiny("psp-backbone", channels=6), Drawing(), picture()
    method = ReStyle(encoder)
    one = method(image, generator, steps=1)
    two = method(image, generator, steps=1, start=one)
    torch.testing.assert_close(two, method(image, generator, steps=2))
    generator.drawn = 0
    same = method(image, generator, steps=1, start=one, drawn=generator.synthesis(one))
    assert generator.drawn == 1
    torch.testing.assert_close(same, two)
    other = method(image, generator, steps=1, start=one, drawn=picture(seed=9))
    assert not torch.allclose(other, two)


def test_restyle_looks_at_the_middle_of_cars():
    encoder, generator = tiny("psp-backbone", channels=6), Drawing()
    image = picture(size=(192, 256))
    square = generator.synthesis(encoder.w_avg[None])
    seen = F.avg_pool2d(square[:, :, 64:448], 2)
    expected = encoder(torch.cat([image, seen], dim=1))
    torch.testing.assert_close(ReStyle(encoder, steps=1)(image, generator), expected)


def test_a_step_of_restyle_s_training_reaches_its_own_encoder_call_alone():
    encoder, generator, image = tiny("e4e-backbone", channels=6), Drawing(), picture()
    encoder.w_avg.zero_()
    encoder.requires_grad_(True)
    walk = ReStyle(encoder).walk(image, generator)
    next(walk)
    ws, move = next(walk)
    name = "styles.0.linear.bias"
    bias = encoder.get_parameter(name)
    (gradient,) = torch.autograd.grad(ws.sum(), bias)
    torch.testing.assert_close(gradient, torch.full_like(bias, 9.0))  # twice that through both
    assert move.requires_grad


def test_wrong_steps_are_told():
    encoder, generator = tiny("psp-backbone", channels=6), Drawing()
    method = ReStyle(encoder)
    with pytest.raises(UsageError, match="encoder: expected one of 6 channels, got 3"):
        ReStyle(tiny("psp-backbone"))
    with pytest.raises(UsageError, match="steps: expected 1 or more, got 0"):
        ReStyle(encoder, steps=0)
    with pytest.raises(UsageError, match="steps: expected 1 or more, got 0"):
        method(picture(), generator, steps=0)
    with pytest.raises(
        UsageError, match=r"image: expected \(N, 3, 256, 256\), got \(1, 3, 64, 64\)"
    ):
        method(picture(size=(64, 64)), generator)
    with pytest.raises(UsageError, match=r"start: expected \(1, 9, 32\), got \(9, 32\)"):
        method(picture(), generator, start=encoder.w_avg)
    with pytest.raises(UsageError, match="ReStyle adds the drawn one"):
        encoder(picture())
    generator.slots = 18
    with pytest.raises(UsageError, match=r"as the encoder's, got \(18, 32\)"):
        method(picture(), generator)


# --- errors --------------------------------------------------------------------------------------


def test_states_of_other_networks_are_told():
    state = meta(ENCODERS["psp"], **TINY).state_dict()
    plain = meta(ENCODERS["psp-backbone"], **TINY).state_dict()

    def without(name, of=state):
        return {key: tensor for key, tensor in of.items() if key != name}

    extra = state | {"body.4.res_layer.1.weight": torch.zeros(7, 32, 3, 3)}
    for name, given, words in [
        ("psp-backbone", state, r"styles\.3\.convs\.8\.weight: BackboneEncoder looks at 16 px"),
        ("psp", plain, r"expected a tensor 'styles\.3\.convs\.8\.weight'"),
        ("psp", without("input_layer.0.weight"), r"expected a tensor 'input_layer\.0\.weight'"),
        ("e4e", without("latlayer1.weight"), r"expected a tensor 'latlayer1\.weight'"),
        (
            "psp",
            without("styles.0.linear.weight"),
            r"expected a tensor 'styles\.0\.linear\.weight'",
        ),
        ("psp", extra, r"body\.\*\.res_layer\.1\.weight: expected .* got \(1, 1, 1, 1\)"),
        ("psp", without("body.2.res_layer.1.weight"), r"got \(1, 1, 0, 0\)"),
        ("psp", state | {"input_layer.0.weight": torch.zeros(4)}, r"4 dimensions, got \(4,\)"),
        ("psp-w", state, r"expected a tensor 'linear\.weight'"),
        ("psp-wplus", {}, r"expected a tensor 'input_layer\.0\.weight'"),
        ("psp-resnet", state, r"expected a tensor 'conv1\.weight'"),
        ("idinvert", state, r"expected a tensor 'block0\.conv\.weight'"),
    ]:
        with pytest.raises(TediError, match=words):
            ENCODERS[name].read_config(given)


def test_more_states_of_other_networks_are_told():
    idinvert = meta(IDInvertEncoder, resolution=16, width=4, base=2).state_dict()
    with pytest.raises(TediError, match=r"expected a tensor 'block3\.fc\.weight'"):
        IDInvertEncoder.read_config({n: t for n, t in idinvert.items() if "fc" not in n})
    odd = idinvert | {"block3.fc.weight": torch.zeros(25, 128)}
    with pytest.raises(
        TediError, match=r"block3\.fc\.weight: expected \(6 C, 16 D\) after 3 blocks"
    ):
        IDInvertEncoder.read_config(odd)
    base = meta(BaseCodeEncoder, width=4, first=2).state_dict()
    few = {name: t for name, t in base.items() if not name.startswith("model.3.")}
    with pytest.raises(TediError, match="3 for each pooling and two more, got 10 convolutions"):
        BASE_ENCODERS["bdinvert"].read_config(few)
    judge = LATENT_DISCRIMINATORS["e4e"]
    state = judge(width=4).state_dict()
    with pytest.raises(TediError, match=r"mlp\.4\.weight: expected \(1, 4\), got 4 rows"):
        judge.read_config({n: t for n, t in state.items() if not n.startswith("mlp.6")})
    for names in [["input_layer.0.weight"], ["block0.conv.weight"]]:
        with pytest.raises(TediError, match=r"state: expected .* found neither"):
            encoder_type(names)


def test_wrong_arguments_are_told():
    for build, options, words in [
        (ENCODERS["psp"], {"depth": 34}, "depth: expected one of 10, 50, 100, 152, got 34"),
        (ENCODERS["psp-resnet"], {"depth": 50}, "depth: expected one of 10, 18, 34, got 50"),
        (ENCODERS["psp"], {"width": 30, "depth": 10}, "multiple of 8, got 3, 18, 30"),
        (ENCODERS["psp-w"], {"slots": 0, "depth": 10}, "1 or more .* got 3, 0, 512"),
        (IDInvertEncoder, {"resolution": 48}, "resolution: expected 8, 16, 32 … 1024, got 48"),
        (BaseCodeEncoder, {"halvings": 0}, "expected 1 or more each"),
        (LATENT_DISCRIMINATORS["e4e"], {"depth": 0}, "depth: expected 1 or more, got 0"),
    ]:
        with pytest.raises(UsageError, match=words):
            meta(build, **options)


def test_wrong_pictures_are_told():
    encoder = IDInvertEncoder(resolution=8, width=2, base=2)
    with pytest.raises(UsageError, match=r"expected \(N, \*\(3, 8, 8\)\), got \(1, 3, 16, 16\)"):
        encoder(torch.zeros(1, 3, 16, 16))
    with pytest.raises(UsageError, match=r"expected \(N, \*\(3, 16, 16\)\), got \(3, 16, 16\)"):
        BaseCodeEncoder(base=2, width=2, first=2)(torch.zeros(3, 16, 16))
    with pytest.raises(UsageError, match=r"w: expected \(N, 8\), got \(2, 9\)"):
        LATENT_DISCRIMINATORS["e4e"](width=8)(torch.zeros(2, 9))
