"""StyleGAN1: drawn a second, slow way; its names, sizes, places to go on from, and errors.

The second way (slow.py) repeats pixels and spreads kernels as the originals do.
"""

import math

import numpy as np
import pytest
import torch
from slow import (
    codes,
    correlate,
    filtered,
    leaky,
    on_meta,
    padded,
    published,
    randomised,
    shapes,
    slow_deviation,
    without,
    zeros_between,
)

from tedi.errors import TediError, UsageError
from tedi.generators import DISCRIMINATORS, GENERATORS
from tedi.generators.discriminator import StyleGAN1Discriminator
from tedi.generators.stylegan1 import StyleGAN1

TINY = {
    "resolution": 16,
    "channels": "7,6,5",
    "width": 8,
    "z_width": 6,
    "hidden": 9,
    "depth": 3,
    "fused_from": 16,  # 8 px repeats pixels, 16 px is fused
}
BLUR = np.outer([1, 2, 1], [1, 2, 1]) / 16


def spread(w):
    """A kernel's four shifts by a pixel, added: (O, I, 3, 3) -> (O, I, 4, 4)."""
    out = np.zeros((*w.shape[:2], 4, 4))
    for a in (0, 1):
        for b in (0, 1):
            out[:, :, a : a + 3, b : b + 3] += w
    return out


class SlowStyleGAN1:
    """Pictures of a state dict, one at a time."""

    def __init__(self, network):
        self.state = {n: t.double().numpy() for n, t in network.state_dict().items()}
        self.config = network.config

    def convolved(self, name, x, size, *, up):
        weight = self.state[f"{name}.weight"]
        weight = weight * math.sqrt(2 / weight[0].size)
        if not up:
            return correlate(padded(x, 1), weight)
        if size < self.config["fused_from"]:
            x = correlate(padded(x.repeat(2, axis=1).repeat(2, axis=2), 1), weight)
        else:  # transposed: zeros between, a true convolution, one pixel cut off each side
            x = padded(zeros_between(x)[:, :-1, :-1], 3)
            x = correlate(x, spread(weight)[:, :, ::-1, ::-1])[:, 1:-1, 1:-1]
        return filtered(padded(x, 1), BLUR)

    def layer(self, i, x):
        """Activations before normalisation."""
        name, size = f"synthesis.layer{i}", 4 * 2 ** (i // 2)
        if i == 0:
            x = self.state[f"{name}.const"][0]
        else:
            x = self.convolved(name, x, size, up=i % 2 == 0)
        if self.config["noise"] == "const":
            weight = self.state[f"{name}.apply_noise.weight"][:, None, None]
            x = x + weight * self.state[f"{name}.apply_noise.noise"][0]
        return leaky(x + self.state[f"{name}.bias"][:, None, None])

    def styled(self, i, x, w):
        name = f"synthesis.layer{i}.style"
        style = self.state[f"{name}.weight"] @ w / math.sqrt(len(w)) + self.state[f"{name}.bias"]
        x = x - x.mean(axis=(1, 2), keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=(1, 2), keepdims=True) + 1e-8)
        scale, mean = style.reshape(2, len(x), 1, 1)
        return x * (scale + 1) + mean

    def draw(self, ws):
        """One picture (3, R, R) of codes (L, C)."""
        x = None
        for i, w in enumerate(ws):
            x = self.styled(i, self.layer(i, x), w)
        name = f"synthesis.output{len(ws) // 2 - 1}"
        image = correlate(x, self.state[f"{name}.weight"] / math.sqrt(len(x)))
        image = image + self.state[f"{name}.bias"][:, None, None]
        return np.tanh(image) if self.config["final_tanh"] else image

    def mapping(self, z):
        x = z / np.sqrt((z**2).mean() + 1e-8)
        for i in range(self.config["depth"]):
            weight = self.state[f"mapping.dense{i}.weight"] * (0.01 * math.sqrt(2 / len(x)))
            x = leaky(weight @ x + 0.01 * self.state[f"mapping.dense{i}.bias"])
        return x


VARIANTS = [
    {},
    {"final_tanh": True},
    {"noise": "none"},
    {"own_w": True},
    {"resolution": 32, "channels": "4,6,3,5", "fused_from": 128},
    {"resolution": 32, "channels": "4,6,3,5", "fused_from": 8},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_pictures_are_those_drawn_slowly(variant):
    network = randomised(StyleGAN1(**TINY | variant))
    slow, ws = SlowStyleGAN1(network), codes(network)
    expected = np.stack([slow.draw(one) for one in ws.double().numpy()])
    got = network.synthesis(ws)
    assert got.dtype == torch.float32
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    got = network.double().synthesis(ws.double())
    np.testing.assert_allclose(got, expected, atol=1e-10, rtol=0)


def test_published_networks_fuse_from_128_px_on():
    """The default; the two ways to double differ, so it is looked at where they meet."""
    channels = ",".join("2" * 6)
    network = randomised(StyleGAN1(resolution=128, channels=channels, width=4)).double()
    ws = codes(network, n=1).double()
    expected = SlowStyleGAN1(network).draw(ws[0].numpy())
    np.testing.assert_allclose(network.synthesis(ws)[0], expected, atol=1e-10)
    assert network.config["fused_from"] == 128
    other = StyleGAN1(**network.config | {"fused_from": 64}).double()
    other.load_state_dict(network.state_dict())
    assert not torch.allclose(other.synthesis(ws), network.synthesis(ws), atol=1e-3)


def test_flat_channels_are_rounded_as_in_the_original():
    """Those of an untrained network: what rounding leaves of their deviation grows ten thousand
    times, so that the order of arithmetic is seen."""
    torch.manual_seed(0)
    network = StyleGAN1(resolution=16, channels="512,8,8", width=8).requires_grad_(False)
    bias = network.synthesis.get_submodule("layer0").bias.normal_()
    style = torch.zeros(3, 1024)
    x = torch.where(1 + bias < 0, 0.2 * (1 + bias), 1 + bias)
    x = x[None, :, None, None].repeat(3, 1, 4, 4)
    x = x - torch.mean(x, dim=[2, 3], keepdim=True)
    expected = x / torch.sqrt(torch.mean(x**2, dim=[2, 3], keepdim=True) + 1e-8)
    features = network.features(codes(network, n=3), 4)
    got = network.synthesis.get_submodule("layer0").styled(features, style)
    assert expected.abs().max() > 1e-4
    torch.testing.assert_close(got, expected, atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("own_w", [False, True])
def test_codes_are_those_mapped_slowly(own_w):
    network = randomised(StyleGAN1(**TINY, own_w=own_w)).double()
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    got = network.mapping(z)
    assert got.shape == ((4, 6, 8) if own_w else (4, 8))
    expected = np.stack([SlowStyleGAN1(network).mapping(one) for one in z.numpy()])
    np.testing.assert_allclose(got, expected.reshape(got.shape), atol=1e-12)


def test_the_mean_of_w_has_a_row_for_each_w():
    one, own = (randomised(StyleGAN1(**TINY, own_w=own_w)) for own_w in (False, True))
    assert torch.equal(one.w_avg, one.state_dict()["truncation.w_avg"])
    assert torch.equal(own.w_avg.flatten(), own.state_dict()["truncation.w_avg"])
    assert own.w_avg.shape == (6, 8)
    z = torch.zeros(2, 6)
    for network in (one, own):  # psi 0
        w = network.w_avg + 0 * (network.mapping(z) - network.w_avg)
        assert torch.equal(w, network.w_avg.expand_as(w))


# Names and sizes ----------------------------------------------------------------------------------


def test_names_are_those_of_the_published_networks():
    constants = ("synthesis.lod", "blur.kernel")
    expected = {n: s for n, s in published("stylegan1").items() if not n.endswith(constants)}
    assert shapes(on_meta(StyleGAN1, resolution=256)) == expected


def test_in_domain_inversion_has_a_w_for_each_slot():
    """Its published state: 7,168 outputs, 29,693,892 values with kernels, level and factors."""
    network = on_meta(StyleGAN1, resolution=256, own_w=True, final_tanh=True)
    assert shapes(network)["mapping.dense7.weight"] == (14 * 512, 512)
    values = sum(t.numel() for t in network.state_dict().values())
    kernels = 9 * (3 * 512 + 256 + 128 + 64)
    assert values - 13 * 512 + kernels + 1 + 14 == 29_693_892  # there, w_avg is of one slot


@pytest.mark.parametrize(
    "variant",
    [{}, {"own_w": True}, {"depth": 8}, {"resolution": 8, "channels": "3,9"}],
    ids=str,
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_architecture_is_read_off_names_and_shapes(variant, device):
    network = StyleGAN1(**TINY | {"fused_from": 128} | variant)
    state = {name: t.to(device) for name, t in network.state_dict().items()}
    assert StyleGAN1.read_config(state) == network.config
    del state["truncation.w_avg"]
    assert StyleGAN1.read_config(state) == network.config


def test_a_network_is_rebuilt_from_its_configuration_and_tensors():
    network = randomised(StyleGAN1(**TINY, own_w=True, final_tanh=True, noise="none"))
    again = StyleGAN1(**network.config)
    again.load_state_dict(network.state_dict())
    ws = codes(network)
    assert torch.equal(again.synthesis(ws), network.synthesis(ws))
    assert torch.equal(again.w_avg, network.w_avg)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "synthesis.layer2.bias"), r"synthesis.layer2.bias: missing"),
        (lambda s: without(s, "synthesis.layer3.weight"), r"synthesis.layer3.weight: missing"),
        (lambda s: without(s, "synthesis.output0.bias"), r"synthesis.output0.bias: missing"),
        (lambda s: without(s, "mapping.dense0.weight"), r"mapping.dense0.weight: missing"),
        (lambda s: s | {"synthesis.lod": torch.zeros(())}, r"synthesis.lod: left over"),
        (
            lambda s: s | {"synthesis.layer4.apply_noise.noise": torch.zeros(1, 1, 8, 8)},
            r"noise: expected \(1, 1, 16, 16\), got \(1, 1, 8, 8\)",
        ),
        (lambda s: {}, r"synthesis.outputN.weight: expected 2 or more"),
    ],
)
def test_files_that_do_not_fit_are_refused(change, message):
    with pytest.raises(TediError, match=message):
        StyleGAN1.read_config(change(StyleGAN1(**TINY).state_dict()))


# Slots, styles, features --------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [8, 32, 256, 1024])
def test_groups_and_sizes_part_the_slots(resolution):
    network = on_meta(StyleGAN1, resolution=resolution)
    L = 2 * int(math.log2(resolution)) - 2
    groups = [network.layers(name) for name in ("coarse", "medium", "fine")]
    assert sum(groups, ()) == network.layers("all") == tuple(range(L))
    assert groups[0] == network.layers(4) + network.layers(8) == (0, 1, 2, 3)
    sizes = [4 * 2**i for i in range(L // 2)]
    assert sum((network.layers(size) for size in sizes), ()) == tuple(range(L))


@pytest.mark.parametrize("group", ["corse", 12, 64])
def test_layers_names_what_there_is(group):
    with pytest.raises(UsageError, match=f"layers: expected one of coarse.*16, got {group}"):
        StyleGAN1(**TINY).layers(group)


def test_synthesis_is_that_of_its_styles():
    network = randomised(StyleGAN1(**TINY))
    ws = codes(network)
    styles = network.styles(ws)
    assert {n: s.shape[1] for n, s in styles.items()} == {
        "layer0": 14,
        "layer1": 14,
        "layer2": 12,
        "layer3": 12,
        "layer4": 10,
        "layer5": 10,
    }
    assert torch.equal(network.synthesis_from_styles(styles), network.synthesis(ws))


@pytest.mark.parametrize("at", [4, 8, 16])
def test_synthesis_goes_on_from_features(at):
    network = randomised(StyleGAN1(**TINY))
    ws = codes(network)
    features = network.features(ws, at)
    assert features.shape == (2, {4: 7, 8: 6, 16: 5}[at], at, at)
    other = features.contiguous(memory_format=torch.channels_last)  # the same in another layout
    assert torch.equal(network.synthesis_from(other, ws), network.synthesis(ws))
    assert torch.equal(network.preview_from(features, ws), network.preview(ws))
    first = network.layers(at)[0]
    for slot in range(network.slots):  # of its own size the first slot still draws
        moved = ws.clone()
        moved[:, slot] += 1
        same = torch.equal(network.synthesis_from(features, moved), network.synthesis(ws))
        assert same == (slot < first)
        assert torch.equal(network.features(moved, at), features) == (slot >= first)


def test_features_lie_before_normalisation():
    network = randomised(StyleGAN1(**TINY)).double()
    ws = codes(network, n=1).double()
    slow, x = SlowStyleGAN1(network), None
    for i, w in enumerate(ws[0, :4].numpy()):
        x = slow.styled(i, slow.layer(i, x), w)
    np.testing.assert_allclose(network.features(ws, 16)[0], slow.layer(4, x), atol=1e-11)


def test_noise_can_be_left_out():
    network = randomised(StyleGAN1(**TINY))
    ws = codes(network)
    noisy = network.synthesis(ws)
    network.noise = "none"
    assert not torch.allclose(network.synthesis(ws), noisy)
    network.noise = "const"
    assert torch.equal(network.synthesis(ws), noisy)


# Gradients and dtypes -----------------------------------------------------------------------------


def test_gradients_are_right():
    tiny = {"resolution": 8, "channels": "3,2", "width": 3, "fused_from": 8}
    network = randomised(StyleGAN1(**TINY | tiny)).double()
    names = ["synthesis.layer2.weight", "synthesis.layer3.apply_noise.noise"]
    held = network.state_dict()

    def draw(ws, *tensors):
        own = dict(zip(names, tensors, strict=True))
        return torch.func.functional_call(network, own, (ws,), strict=False)

    network.forward = network.synthesis.forward
    inputs = [codes(network).double(), *(held[name].clone() for name in names)]
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(draw, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_pictures_have_the_dtype_of_the_tensors(dtype):
    network = randomised(StyleGAN1(**TINY))
    ws = codes(network)
    expected = network.synthesis(ws)
    got = network.to(dtype).synthesis(ws.to(dtype))
    assert got.dtype == dtype
    assert (got - expected).norm() < 0.05 * expected.norm()


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 100}, "resolution: expected a power of two from 8 on, got 100"),
        ({"channels": "4,0,4"}, "channels: expected 3 numbers, one a size from 4 px on, got"),
        ({"noise": "random"}, "noise: expected const or none, got 'random'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(UsageError, match=message):
        StyleGAN1(**TINY | arguments)


@pytest.mark.parametrize("shape", [(2, 8, 8), (6, 8), (2, 8), (2, 6, 9)])
@pytest.mark.parametrize("method", ["synthesis", "preview", "styles", "features"])
def test_codes_of_another_shape_are_refused(method, shape):
    arguments = (8,) if method == "features" else ()
    with pytest.raises(
        UsageError, match=rf"ws: expected \(N, 6, 8\), got \({shape[0]}, {shape[1]}"
    ):
        getattr(StyleGAN1(**TINY), method)(torch.zeros(shape), *arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, ws: g.features(ws, 12), r"features: expected a size among \[4, 8, 16\] px, got"),
        (
            lambda g, ws: g.synthesis_from(torch.zeros(2, 7, 8, 8), ws),
            r"features: expected \(2, 6, 8, 8\), got \(2, 7, 8, 8\)",
        ),
        (lambda g, ws: g.synthesis_from_styles({}), "styles: layer0 is missing"),
        (lambda g, ws: g.mapping(torch.zeros(2, 7)), r"z: expected \(N, 6\), got \(2, 7\)"),
    ],
)
def test_calls_are_checked(call, message):
    network = StyleGAN1(**TINY)
    with pytest.raises(UsageError, match=message):
        call(network, codes(network))


# Discriminator ------------------------------------------------------------------------------------

JUDGE = {"resolution": 16, "channels": "7,6,5", "hidden": 9}


class SlowDiscriminator:
    """`fused` convolves with a spread kernel and a stride; else a mean over areas comes after."""

    def __init__(self, network, *, fused):
        self.state = {n: t.double().numpy() for n, t in network.state_dict().items()}
        self.config, self.fused = network.config, fused

    def scaled(self, i, square=2):
        weight = self.state[f"layer{i}.weight"]
        return weight * math.sqrt(square / weight[0].size)

    def trunk(self, x):
        entry = self.state["input0.weight"]
        x = correlate(x, entry * math.sqrt(2 / entry.shape[1]))
        x = leaky(x + self.state["input0.bias"][:, None, None])
        for i in (0, 2):
            x = correlate(padded(x, 1), self.scaled(i))
            x = leaky(x + self.state[f"layer{i}.bias"][:, None, None])
            x = self.halved(i + 1, filtered(padded(x, 1), BLUR))
        return x

    def halved(self, i, x):
        bias = self.state[f"layer{i}.bias"][:, None, None]
        if self.fused:
            x = correlate(padded(x, 1), spread(self.scaled(i)) / 4, stride=2)
            return leaky(x + bias)
        x = correlate(padded(x, 1), self.scaled(i)) + bias
        return leaky((x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4)

    def judge(self, images):
        trunks = np.stack([self.trunk(image) for image in images])
        deviations = slow_deviation(trunks, min(self.config["group"], len(images)))
        return np.stack([self.logit(x, d) for x, d in zip(trunks, deviations, strict=True)])

    def logit(self, x, deviation):
        x = np.concatenate([x, np.full((1, 4, 4), deviation)])
        x = correlate(padded(x, 1), self.scaled(4))
        x = leaky(x + self.state["layer4.bias"][:, None, None]).reshape(-1)
        x = leaky(self.scaled(5) @ x + self.state["layer5.bias"])
        return self.scaled(6, square=1) @ x + self.state["layer6.bias"]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("n", [1, 3, 8])
def test_logits_are_those_judged_slowly(n, fused):
    network = randomised(StyleGAN1Discriminator(**JUDGE))
    image = torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = SlowDiscriminator(network, fused=fused).judge(image.double().numpy())
    got = network(image)
    assert got.shape == (n, 1)
    np.testing.assert_allclose(got, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    np.testing.assert_allclose(network.double()(image.double()), expected, atol=1e-11)


def test_discriminator_names_are_those_of_genforce():
    names = shapes(on_meta(StyleGAN1Discriminator, resolution=256))
    expected, fans = {}, [64, 128, 256, 512, 512, 512, 512]
    for i, fan in enumerate(fans):
        expected |= {f"input{i}.weight": (fan, 3, 1, 1), f"input{i}.bias": (fan,)}
        if i < 6:
            out = fans[i + 1]
            expected |= {f"layer{2 * i}.weight": (fan, fan, 3, 3), f"layer{2 * i}.bias": (fan,)}
            expected[f"layer{2 * i + 1}.weight"] = (out, fan, 3, 3)
            expected[f"layer{2 * i + 1}.bias"] = (out,)
    expected |= {"layer12.weight": (512, 513, 3, 3), "layer12.bias": (512,)}
    expected |= {"layer13.weight": (512, 8192), "layer13.bias": (512,)}
    expected |= {"layer14.weight": (1, 512), "layer14.bias": (1,)}
    assert names == expected


def test_discriminators_are_read_off_shapes():
    network = StyleGAN1Discriminator(**JUDGE)
    state = {name: t.to("meta") for name, t in network.state_dict().items()}
    assert StyleGAN1Discriminator.read_config(state) == network.config
    with pytest.raises(TediError, match=r"layer3.weight: missing"):
        StyleGAN1Discriminator.read_config(without(state, "layer3.weight"))


def test_discriminator_gradients_are_right_to_the_second_order():
    """R1 needs the second."""
    network = randomised(StyleGAN1Discriminator(resolution=8, channels="2,2", hidden=2)).double()
    image = torch.randn(2, 3, 8, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(network, [image], fast_mode=True)
    assert torch.autograd.gradgradcheck(network, [image], fast_mode=True)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6, 3, 16, 16), "image: expected a multiple of 4 pictures, got 6"),
        ((1, 3, 8, 8), r"image: expected \(N, 3, 16, 16\), got \(1, 3, 8, 8\)"),
    ],
)
def test_judging_is_checked(shape, message):
    with pytest.raises(UsageError, match=message):
        StyleGAN1Discriminator(**JUDGE)(torch.zeros(shape))


def test_tables_know_them():
    assert GENERATORS["stylegan1"] is StyleGAN1
    assert DISCRIMINATORS["stylegan1"] is StyleGAN1Discriminator
