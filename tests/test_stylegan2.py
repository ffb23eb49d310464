"""StyleGAN2: drawn a second, slow way; its names, sizes, places to go on from, and errors.

The second way (slow.py) modulates and demodulates weights for each sample.
"""

import math

import numpy as np
import pytest
import torch
from slow import (
    clipped,
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
from torch import Tensor

from tedi.errors import TediError, UsageError
from tedi.generators import DISCRIMINATORS, GENERATORS
from tedi.generators.discriminator import StyleGAN2Discriminator, with_deviation
from tedi.generators.filters import Binomial
from tedi.generators.stylegan2 import StyleGAN2

TINY = {"resolution": 16, "channels": "7,6,5", "width": 8, "z_width": 6, "depth": 2}
FIR = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


# The slow way -------------------------------------------------------------------------------------


def up_sampled(x):
    """Zeros put in, then the filter, of gain 4, each pixel's centre between its first two."""
    return filtered(padded(zeros_between(x), 2, 1), FIR * 4)


class SlowStyleGAN2:
    """Pictures of a state dict, one at a time."""

    def __init__(self, network):
        self.state = {n: t.double().numpy() for n, t in network.state_dict().items()}
        self.config = network.config
        self.sizes = [4 * 2**i for i in range(network.slots // 2)]

    def affine(self, name, w):
        weight, bias = self.state[f"{name}.affine.weight"], self.state[f"{name}.affine.bias"]
        return weight @ w / math.sqrt(len(w)) + bias

    def conv(self, name, x, w, *, up=False, gain=1.0):
        style, weight = self.affine(name, w), self.state[f"{name}.weight"]
        weight = weight * style[None, :, None, None]
        weight = weight / np.sqrt((weight**2).sum(axis=(1, 2, 3), keepdims=True) + 1e-8)
        if up:  # a true convolution: its kernel is turned
            x = padded(zeros_between(x)[:, :-1, :-1], 2)
            x = filtered(padded(correlate(x, weight[:, :, ::-1, ::-1]), 1), FIR * 4)
        else:
            x = correlate(padded(x, 1), weight)
        if self.config["noise"] == "const":
            x = x + self.state[f"{name}.noise_const"] * self.state[f"{name}.noise_strength"]
        x = leaky(x + self.state[f"{name}.bias"][:, None, None]) * math.sqrt(2) * gain
        return clipped(x, self.config["conv_clamp"] * gain)

    def torgb(self, name, x, w):
        style = self.affine(name, w) / math.sqrt(len(x))
        weight = self.state[f"{name}.weight"] * style[None, :, None, None]
        image = correlate(x, weight) + self.state[f"{name}.bias"][:, None, None]
        return clipped(image, self.config["conv_clamp"])

    def residual(self, size, x):
        weight = self.state[f"synthesis.b{size}.skip.weight"]
        return up_sampled(correlate(x, weight / math.sqrt(len(x)))) * math.sqrt(0.5)

    def draw(self, ws):
        """One picture (3, R, R) of codes (L, C)."""
        image, x, slots = 0, None, iter(range(len(ws)))
        for size in self.sizes:
            name, past, gain = f"synthesis.b{size}", 0, 1.0
            if size == 4:
                x = self.state["synthesis.b4.const"]
            else:
                if self.config["architecture"] == "resnet":
                    past, gain = self.residual(size, x), math.sqrt(0.5)
                x = self.conv(f"{name}.conv0", x, ws[next(slots)], up=True)
                image = up_sampled(image) if isinstance(image, np.ndarray) else 0
            slot = next(slots)
            x = past + self.conv(f"{name}.conv1", x, ws[slot], gain=gain)
            if self.config["architecture"] == "skip" or size == self.sizes[-1]:
                image = image + self.torgb(f"{name}.torgb", x, ws[slot + 1])
        return image

    def mapping(self, z, label=None):
        x = z / np.sqrt((z**2).mean() + 1e-8)
        if label is not None:
            y = self.state["mapping.embed.weight"] @ label / math.sqrt(len(label))
            y = y + self.state["mapping.embed.bias"]
            x = np.concatenate([x, y / np.sqrt((y**2).mean() + 1e-8)])
        for i in range(self.config["depth"]):
            weight = self.state[f"mapping.fc{i}.weight"] * (0.01 / math.sqrt(len(x)))
            x = leaky(weight @ x + 0.01 * self.state[f"mapping.fc{i}.bias"]) * math.sqrt(2)
        return x


VARIANTS = [
    {},
    {"architecture": "orig"},
    {"architecture": "resnet"},
    {"conv_clamp": 0.7},
    {"conv_clamp": 0.7, "architecture": "resnet"},
    {"noise": "none"},
    {"resolution": 32, "channels": "4,6,3,5"},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_pictures_are_those_drawn_slowly(variant):
    network = randomised(StyleGAN2(**TINY | variant))
    slow, ws = SlowStyleGAN2(network), codes(network)
    expected = np.stack([slow.draw(one) for one in ws.double().numpy()])
    got = network.synthesis(ws)
    assert got.dtype == torch.float32
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(), rtol=0)
    got = network.double().synthesis(ws.double())
    np.testing.assert_allclose(got, expected, atol=1e-11, rtol=0)


@pytest.mark.parametrize("classes", [0, 3])
def test_codes_are_those_mapped_slowly(classes):
    network = randomised(StyleGAN2(**TINY, classes=classes)).double()
    slow = SlowStyleGAN2(network)
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    labels = torch.eye(3, dtype=torch.double)[[0, 2, 1, 2]] if classes else None
    got = network.mapping(z, labels=labels) if classes else network.mapping(z)
    rows = labels.numpy() if classes else [None] * 4
    expected = [slow.mapping(one, row) for one, row in zip(z.numpy(), rows, strict=True)]
    np.testing.assert_allclose(got, np.stack(expected), atol=1e-12)


@pytest.mark.parametrize("taps", [2, 3, 4])
def test_filters_are_binomial(taps):
    x = torch.randn(2, 3, 5, 6, dtype=torch.double)
    side = np.array([math.comb(taps - 1, i) for i in range(taps)]) / 2 ** (taps - 1)
    slow = [filtered(padded(one, 1), np.outer(side, side)) for one in x.numpy()]
    got = Binomial(taps).double()(x, padding=1)
    np.testing.assert_allclose(got, np.stack(slow), atol=1e-14)
    halved = Binomial(taps).double()(x, padding=1, stride=2, gain=4.0)
    np.testing.assert_allclose(halved, 4 * np.stack(slow)[:, :, ::2, ::2], atol=1e-14)


def test_doubling_puts_zeros_in_between():
    x = torch.randn(2, 3, 4, 5, dtype=torch.double)
    expected = np.stack([up_sampled(one) for one in x.numpy()])
    np.testing.assert_allclose(Binomial(4).double().up(x), expected, atol=1e-14)
    flat = Binomial(4).up(torch.ones(1, 1, 6, 6))
    assert torch.equal(flat[:, :, 1:-1, 1:-1], torch.ones(1, 1, 10, 10))  # brightness is kept


def test_a_batch_draws_what_each_code_draws():
    network = randomised(StyleGAN2(**TINY)).double()
    ws = codes(network, n=3).double()
    alone = torch.cat([network.synthesis(one) for one in ws.split(1)])
    torch.testing.assert_close(network.synthesis(ws), alone)


# Names and sizes ----------------------------------------------------------------------------------


def test_names_are_those_of_the_published_networks():
    constants = "resample_filter"
    expected = {n: s for n, s in published("stylegan2").items() if constants not in n}
    assert shapes(on_meta(StyleGAN2, resolution=256)) == expected


def test_the_1024_px_network_has_the_published_number_of_values():
    """rosinality's has no w_avg, but sixteen 4x4 filters."""
    values = sum(t.numel() for t in on_meta(StyleGAN2).state_dict().values())
    assert values - 512 + 16 * 16 == 33_166_492


@pytest.mark.parametrize(
    ("resolution", "vectors", "numbers", "without_rgb"),
    [(1024, 26, 9088, 6048), (512, 23, 8960, 5952), (256, 20, 8704, 5760)],
)
def test_style_space_has_the_published_order_and_size(resolution, vectors, numbers, without_rgb):
    network = on_meta(StyleGAN2, resolution=resolution)
    styles = network.styles(torch.zeros(1, network.slots, 512, device="meta"))
    widths = {name: style.shape[1] for name, style in styles.items()}
    assert (len(widths), sum(widths.values())) == (vectors, numbers)
    assert sum(w for name, w in widths.items() if "torgb" not in name) == without_rgb
    order = ["b4.conv1", "b4.torgb", "b8.conv0", "b8.conv1", "b8.torgb", "b16.conv0"]
    assert list(widths)[:6] == order
    torgb = [i for i, name in enumerate(widths) if "torgb" in name]
    assert torgb == list(range(1, vectors, 3))


@pytest.mark.parametrize(
    "variant",
    [*VARIANTS[:3], {"classes": 5}, {"depth": 8}, {"resolution": 8, "channels": "3,9"}],
    ids=str,
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_architecture_is_read_off_names_and_shapes(variant, device):
    network = StyleGAN2(**TINY | variant)
    state = {name: t.to(device) for name, t in network.state_dict().items()}
    assert StyleGAN2.read_config(state) == network.config
    del state["mapping.w_avg"]
    assert StyleGAN2.read_config(state) == network.config


def test_a_network_is_rebuilt_from_its_configuration_and_tensors():
    network = randomised(StyleGAN2(**TINY, conv_clamp=0.5, noise="none"))
    again = StyleGAN2(**network.config)
    again.load_state_dict(network.state_dict())
    ws = codes(network)
    assert torch.equal(again.synthesis(ws), network.synthesis(ws))
    assert torch.equal(again.w_avg, network.w_avg)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "synthesis.b8.conv0.bias"), r"synthesis.b8.conv0.bias: missing"),
        (lambda s: without(s, "synthesis.b8.conv1.weight"), r"b8.conv1.weight: missing"),
        (lambda s: without(s, "mapping.fc0.weight"), r"mapping.fc0.weight: missing"),
        (lambda s: s | {"d.weight": torch.ones(1)}, r"d.weight: left over"),
        (
            lambda s: s | {"synthesis.b4.conv1.bias": torch.ones(9)},
            r"synthesis.b4.conv1.bias: expected \(7,\), got \(9,\)",
        ),
        (
            lambda s: s | {"synthesis.b4.conv1.weight": torch.ones(9)},
            r"b4.conv1.weight: expected 4 dimensions, got \(9,\)",
        ),
        (
            lambda s: s | {"synthesis.b4.conv1.affine.weight": torch.ones(7, 0)},
            r"affine.weight: expected numbers, got the empty shape \(7, 0\)",
        ),
        (
            lambda s: s | {f"synthesis.b{'8' * 5000}.conv1.weight": torch.ones(1)},
            r"conv1.weight: left over",
        ),
        (lambda s: {}, r"synthesis.bN.conv1.weight: expected 2 or more"),
        (
            lambda s: s | {"synthesis.b48.conv1.weight": torch.ones(1)},
            r"its names say 48 px; resolution: expected a power of two",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(change, message):
    with pytest.raises(TediError, match=message):
        StyleGAN2.read_config(change(StyleGAN2(**TINY).state_dict()))


# Slots, styles, features --------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [8, 32, 256, 1024])
def test_groups_and_sizes_part_the_slots(resolution):
    network = on_meta(StyleGAN2, resolution=resolution)
    L = 2 * int(math.log2(resolution)) - 2
    groups = [network.layers(name) for name in ("coarse", "medium", "fine")]
    assert sum(groups, ()) == network.layers("all") == tuple(range(L))
    assert groups[0] == (0, 1, 2, 3)
    sizes = [4 * 2**i for i in range(L // 2)]
    assert sum((network.layers(size) for size in sizes), ()) == tuple(range(L))
    assert network.layers(4) == (0,)
    assert network.layers(8)[:2] == (1, 2)


@pytest.mark.parametrize("group", ["corse", 12, 64])
def test_layers_names_what_there_is(group):
    with pytest.raises(UsageError, match=f"layers: expected one of coarse.*16, got {group}"):
        StyleGAN2(**TINY).layers(group)


def test_a_slot_acts_at_its_own_size_and_after():
    network = randomised(StyleGAN2(**TINY))
    ws = codes(network, n=1)
    for slot in range(network.slots - 1):
        moved = ws.clone()
        moved[:, slot] += 1
        own = next(size for size in (4, 8, 16) if slot in network.layers(size))
        for size in (4, 8, 16):
            same = torch.equal(network.features(moved, size), network.features(ws, size))
            assert same == (size < own), (slot, size)


@pytest.mark.parametrize("variant", VARIANTS[:4], ids=str)
def test_synthesis_is_that_of_its_styles(variant):
    network = randomised(StyleGAN2(**TINY | variant))
    ws = codes(network)
    assert torch.equal(network.synthesis_from_styles(network.styles(ws)), network.synthesis(ws))


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("at", [4, 8, 16])
def test_synthesis_goes_on_from_features(architecture, at):
    network = randomised(StyleGAN2(**TINY, architecture=architecture))
    ws = codes(network)
    features = network.features(ws, at)
    assert features.shape == (2, {4: 7, 8: 6, 16: 5}[at], at, at)
    assert torch.equal(network.synthesis_from(features.contiguous(), ws), network.synthesis(ws))
    assert torch.equal(network.preview_from(features, ws), network.preview(ws))


@pytest.mark.parametrize("at", [8, 16])
def test_base_codes_of_bdinvert_lie_after_the_first_convolution(at):
    network = randomised(StyleGAN2(**TINY))
    ws = codes(network)
    features = network.features(ws, at, layer="conv0")
    again = network.synthesis_from(features, ws, layer="conv0")
    assert torch.equal(again, network.synthesis(ws))
    moved = ws.clone()
    moved[:, network.layers(at)[1]] += 1  # the slot of conv1 still acts
    assert torch.equal(network.features(moved, at, layer="conv0"), features)
    assert not torch.equal(network.synthesis_from(features, moved, layer="conv0"), again)


def test_without_the_skip_only_features_and_later_slots_count():
    network = randomised(StyleGAN2(**TINY))
    ws = codes(network)
    features, moved = network.features(ws, 16), ws.clone()
    moved[:, :4] += 1
    bare = network.synthesis_from(features, ws, skip=False)
    assert torch.equal(network.synthesis_from(features, moved, skip=False), bare)
    assert not torch.equal(network.synthesis_from(features, moved), network.synthesis(ws))
    slow = SlowStyleGAN2(network)
    expected = [
        slow.torgb("synthesis.b16.torgb", one, w)
        for one, w in zip(features.double().numpy(), ws[:, 5].double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(bare, np.stack(expected), atol=1e-4)


def test_previews_are_256_px():
    for resolution in (16, 512):
        channels = ",".join("3" * (resolution.bit_length() - 2))
        network = StyleGAN2(resolution=resolution, channels=channels, width=4)
        ws = codes(network, n=1)
        image, preview = network.synthesis(ws), network.preview(ws)
        assert preview.shape == (1, 3, 256, 256)
        if resolution == 512:
            means = image.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
            torch.testing.assert_close(preview, means)
        else:
            # The middle of a pixel's 16 x 16 area lies between its neighbours, 1/32 off its own.
            middle = preview[..., 7::16, 7::16]
            assert (middle - image).abs().max() < 0.1 * (image.max() - image.min())


def test_noise_can_be_left_out():
    network = randomised(StyleGAN2(**TINY))
    ws = codes(network)
    noisy = network.synthesis(ws)
    network.noise = "none"
    assert network.config["noise"] == "none"
    assert not torch.allclose(network.synthesis(ws), noisy)
    network.noise = "const"
    assert torch.equal(network.synthesis(ws), noisy)


# Gradients and dtypes -----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [{}, {"architecture": "resnet"}, {"conv_clamp": 2.0}], ids=str)
def test_gradients_are_right_to_the_second_order(variant):
    tiny = {"resolution": 8, "channels": "3,2", "width": 3, "z_width": 3, "depth": 1}
    network = randomised(StyleGAN2(**tiny | variant)).double()
    names = ["synthesis.b8.conv0.weight", "synthesis.b8.conv1.noise_const"]
    held = dict(network.state_dict())

    def draw(ws, *tensors):
        own = dict(zip(names, tensors, strict=True))
        return torch.func.functional_call(network, own, (ws,), strict=False)

    network.forward = network.synthesis.forward
    inputs = [codes(network, n=2).double(), *(held[name].clone() for name in names)]
    for tensor in inputs:
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(draw, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(draw, inputs, fast_mode=True)


def test_gradients_reach_every_slot_and_z():
    network = randomised(StyleGAN2(**TINY))
    ws = codes(network).requires_grad_()
    (gradient,) = torch.autograd.grad(network.synthesis(ws).square().mean(), ws)
    assert (gradient.norm(dim=2) > 0).all()
    z = torch.randn(2, 6, requires_grad=True)
    (gradient,) = torch.autograd.grad(network.mapping(z).square().mean(), z)
    assert (gradient != 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_pictures_have_the_dtype_of_the_tensors(dtype):
    network = randomised(StyleGAN2(**TINY))
    ws = codes(network)
    expected = network.synthesis(ws)
    got = network.to(dtype).synthesis(ws.to(dtype))
    assert got.dtype == dtype
    assert (got - expected).norm() < 0.05 * expected.norm()


# Errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 48}, "resolution: expected a power of two from 8 on, got 48"),
        ({"resolution": 4}, "resolution: expected a power of two from 8 on, got 4"),
        ({"channels": "4,4"}, "channels: expected 3 numbers, one a size from 4 px on, got '4,4'"),
        ({"channels": "4,4,x"}, "channels: expected 3 numbers"),
        ({"architecture": "skp"}, "architecture: expected skip or orig or resnet, got 'skp'"),
        ({"noise": "random"}, "noise: expected const or none, got 'random'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(UsageError, match=message):
        StyleGAN2(**TINY | arguments)


@pytest.mark.parametrize("shape", [(2, 8, 8), (6, 8), (2, 8), (2, 6, 9)])
@pytest.mark.parametrize("method", ["synthesis", "preview", "styles", "features"])
def test_codes_of_another_shape_are_refused(method, shape):
    arguments = (8,) if method == "features" else ()
    with pytest.raises(
        UsageError, match=rf"ws: expected \(N, 6, 8\), got \({shape[0]}, {shape[1]}"
    ):
        getattr(StyleGAN2(**TINY), method)(torch.zeros(shape), *arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g, ws: g.features(ws, 12), r"features: expected a size among \[4, 8, 16\] px, got"),
        (lambda g, ws: g.features(ws, 32), r"features: expected a size among .*, got 32"),
        (lambda g, ws: g.features(ws, 8, layer="conv2"), "layer: expected conv0 or conv1"),
        (lambda g, ws: g.features(ws, 4, layer="conv0"), "layer: conv0 is no place .* at 4 px"),
        (
            lambda g, ws: g.synthesis_from(torch.zeros(2, 7, 8, 8), ws),
            r"features: expected \(2, 6, 8, 8\), got \(2, 7, 8, 8\)",
        ),
        (
            lambda g, ws: g.synthesis_from(torch.zeros(1, 6, 8, 8), ws),
            r"features: expected \(2, 6, 8, 8\), got \(1, 6, 8, 8\)",
        ),
        (lambda g, ws: g.synthesis_from_styles({}), "styles: b16.conv0 is missing"),
        (
            lambda g, ws: g.synthesis_from_styles(g.styles(ws) | {"b9": ws}),
            "styles: b9 is left over",
        ),
        (lambda g, ws: g.mapping(torch.zeros(2, 7)), r"z: expected \(N, 6\), got \(2, 7\)"),
        (
            lambda g, ws: g.mapping(torch.zeros(2, 6), labels=torch.ones(2, 1)),
            "labels: this generator has no classes",
        ),
        (
            lambda g, ws: StyleGAN2(**TINY, classes=3).mapping(torch.zeros(2, 6)),
            r"labels: expected \(N, 3\), one-hot, .*, got none",
        ),
    ],
)
def test_calls_are_checked(call, message):
    network = StyleGAN2(**TINY)
    with pytest.raises(UsageError, match=message):
        call(network, codes(network))


# Discriminator ------------------------------------------------------------------------------------

JUDGE = {"resolution": 16, "channels": "7,6,5"}


class SlowDiscriminator:
    def __init__(self, network):
        self.state = {n: t.double().numpy() for n, t in network.state_dict().items()}
        self.config = network.config

    def conv(self, name, x, *, gain=1.0, activate=True, stride=1):
        weight = self.state[f"{name}.weight"]
        x = correlate(x, weight / math.sqrt(weight[0].size), stride)
        if not activate:
            return x * gain
        x = leaky(x + self.state[f"{name}.bias"][:, None, None]) * math.sqrt(2) * gain
        return clipped(x, self.config["conv_clamp"] * gain)

    def trunk(self, x):
        half = math.sqrt(0.5)
        for size in (16, 8):
            x = self.conv("b16.fromrgb", x) if size == 16 else x
            small = filtered(padded(x, 1), FIR)[:, ::2, ::2]
            past = self.conv(f"b{size}.skip", small, gain=half, activate=False)
            x = self.conv(f"b{size}.conv0", padded(x, 1))
            x = filtered(padded(x, 2), FIR)
            x = past + self.conv(f"b{size}.conv1", x, gain=half, stride=2)
        return x

    def judge(self, images):
        trunks = np.stack([self.trunk(image) for image in images])
        deviations = slow_deviation(trunks, min(self.config["group"], len(images)))
        return np.stack([self.logit(x, d) for x, d in zip(trunks, deviations, strict=True)])

    def logit(self, x, deviation):
        x = self.conv("b4.conv", padded(np.concatenate([x, np.full((1, 4, 4), deviation)]), 1))
        x = self.dense("b4.fc", x.reshape(-1))
        return self.dense("b4.out", leaky(x) * math.sqrt(2))

    def dense(self, name, x):
        return self.state[f"{name}.weight"] @ x / math.sqrt(len(x)) + self.state[f"{name}.bias"]


@pytest.mark.parametrize("variant", [{}, {"conv_clamp": 0.6}, {"group": 2}], ids=str)
@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_logits_are_those_judged_slowly(variant, n):
    network = randomised(StyleGAN2Discriminator(**JUDGE | variant))
    image = torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    expected = SlowDiscriminator(network).judge(image.double().numpy())
    got = network(image)
    assert got.shape == (n, 1)
    np.testing.assert_allclose(got, expected, atol=1e-5 * max(1, np.abs(expected).max()))
    np.testing.assert_allclose(network.double()(image.double()), expected, atol=1e-11)


def test_deviation_is_that_of_mates():
    x = torch.randn(6, 2, 3, 3, dtype=torch.double)
    got = with_deviation(x, 3)
    assert torch.equal(got[:, :2], x)
    expected = np.broadcast_to(slow_deviation(x.numpy(), 3)[:, None, None], (6, 3, 3))
    np.testing.assert_allclose(got[:, 2], expected)


def test_labels_weigh_the_logits():
    """The published conditional discriminator: a product with the mapped label, over √C."""
    network = randomised(StyleGAN2Discriminator(**JUDGE, classes=3, depth=2)).double()
    image = torch.randn(4, 3, 16, 16, dtype=torch.double)
    labels = torch.eye(3, dtype=torch.double)[[0, 1, 2, 0]]
    slow = SlowDiscriminator(network)
    parts = slow.judge(image.numpy())
    expected = []
    for part, label in zip(parts, labels.numpy(), strict=True):
        y = slow.dense("mapping.embed", label)
        y = y / np.sqrt((y**2).mean() + 1e-8)
        for i in range(2):
            weight = slow.state[f"mapping.fc{i}.weight"] * (0.01 / math.sqrt(7))
            y = leaky(weight @ y + 0.01 * slow.state[f"mapping.fc{i}.bias"]) * math.sqrt(2)
        expected.append([(part * y).sum() / math.sqrt(7)])
    np.testing.assert_allclose(network(image, labels=labels), expected, atol=1e-11)


def test_discriminator_names_are_those_of_ada():
    network = on_meta(StyleGAN2Discriminator, resolution=256)
    names = shapes(network)
    expected = {"b256.fromrgb.weight": (128, 3, 1, 1), "b256.fromrgb.bias": (128,)}
    channels = {256: 128, 128: 256, 64: 512, 32: 512, 16: 512, 8: 512}
    for size, fan_in in channels.items():
        fan_out = channels.get(size // 2, 512)
        expected[f"b{size}.conv0.weight"] = (fan_in, fan_in, 3, 3)
        expected[f"b{size}.conv0.bias"] = (fan_in,)
        expected[f"b{size}.conv1.weight"] = (fan_out, fan_in, 3, 3)
        expected[f"b{size}.conv1.bias"] = (fan_out,)
        expected[f"b{size}.skip.weight"] = (fan_out, fan_in, 1, 1)
    expected |= {"b4.conv.weight": (512, 513, 3, 3), "b4.conv.bias": (512,)}
    expected |= {"b4.fc.weight": (512, 8192), "b4.fc.bias": (512,)}
    expected |= {"b4.out.weight": (1, 512), "b4.out.bias": (1,)}
    assert names == expected


@pytest.mark.parametrize("variant", [{}, {"classes": 4, "depth": 3}], ids=str)
def test_discriminators_are_read_off_shapes(variant):
    network = StyleGAN2Discriminator(**JUDGE | variant)
    state = {name: t.to("meta") for name, t in network.state_dict().items()}
    assert StyleGAN2Discriminator.read_config(state) == network.config
    with pytest.raises(TediError, match=r"b8.skip.weight: missing"):
        StyleGAN2Discriminator.read_config(without(state, "b8.skip.weight"))


def test_discriminator_gradients_are_right_to_the_second_order():
    """R1 needs the second."""
    network = StyleGAN2Discriminator(resolution=8, channels="2,2")
    network = randomised(network).double().requires_grad_(False)
    image = torch.randn(2, 3, 8, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(network, [image], fast_mode=True)
    assert torch.autograd.gradgradcheck(network, [image], fast_mode=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d(torch.zeros(5, 3, 16, 16)), "image: expected a multiple of 4 pictures, got 5"),
        (lambda d: d(torch.zeros(1, 3, 8, 8)), r"image: expected \(N, 3, 16, 16\), got \(1, 3, 8"),
        (lambda d: d(torch.zeros(1, 1, 16, 16)), r"image: expected \(N, 3, 16, 16\)"),
        (lambda d: d(torch.zeros(1, 3, 16, 16), labels=torch.ones(1, 2)), "labels: .* no classes"),
    ],
)
def test_judging_is_checked(call, message):
    with pytest.raises(UsageError, match=message):
        call(StyleGAN2Discriminator(**JUDGE))


def test_tables_know_them():
    assert GENERATORS["stylegan2"] is StyleGAN2
    assert DISCRIMINATORS["stylegan2"] is StyleGAN2Discriminator
    assert isinstance(StyleGAN2(**TINY).w_avg, Tensor)
