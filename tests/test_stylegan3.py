"""StyleGAN3: its tables, filters and pictures against their definitions, and how they move."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from tedi.errors import TediError, UsageError
from tedi.generators.stylegan3 import StyleGAN3, user_transform
from tedi.generators.stylegan3_filters import Resampling, filtered_leaky_relu, lowpass
from tedi.generators.stylegan3_layers import Design

RADIAL = {"conv_kernel": 1, "use_radial_filters": True}
T_1024 = {"resolution": 1024}
R_1024 = {"resolution": 1024, "channel_base": 65536, "channel_max": 1024, **RADIAL}
T_256 = {"resolution": 256, "channel_base": 16384}
R_256 = {"resolution": 256, "channel_base": 32768, "channel_max": 1024, **RADIAL}
# Layers of the official networks: size_channels and the padding before; the 15th gives colours.
TABLES = {
    "T-1024": (
        T_1024,
        "36_512 36_512 52_512 52_512 84_512 148_512 148_512 276_323 276_203 532_128 1044_81 "
        "1044_51 1044_32 1024_32 1024_3",
        [9, 9, -6, 9, -6, -6, 9, -6, 9, -6, -6, 9, 9, -11, 0],
        (22_313_167, 4950),
    ),
    "R-1024": (
        R_1024,
        "36_1024 36_1024 52_1024 52_1024 84_1024 148_1024 148_1024 276_645 276_406 532_256 "
        "1044_161 1044_102 1044_64 1024_64 1024_3",
        [11, 11, -2, 11, -2, -2, 11, -2, 11, -2, -2, 11, 11, -9, 0],
        (15_093_151, 9894),
    ),
    "T-256": (
        T_256,
        "36_512 36_512 36_512 52_512 52_512 84_512 84_512 148_362 148_256 148_181 276_128 276_91 "
        "276_64 256_64 256_3",
        [9, 9, 9, -6, 9, -6, 9, -6, 9, 9, -6, 9, 9, -11, 0],
        (23_320_443, 4 + 7 * 512 + 512 + 362 + 256 + 181 + 128 + 91 + 64 + 64),
    ),
    "R-256": (
        R_256,
        "36_1024 36_1024 36_1024 52_1024 52_1024 84_1024 84_1024 148_724 148_512 148_362 276_256 "
        "276_181 276_128 256_128 256_3",
        [11, 11, 11, -2, 11, -2, 11, -2, 11, 11, -2, 11, 11, -9, 0],
        (15_779_565, 4 + 7 * 1024 + 1024 + 724 + 512 + 362 + 256 + 181 + 128 + 128),
    ),
}
# Cutoff and half transition band after each layer of T-1024 and T-256, as the official code logs.
BANDS = {
    "T-1024": "2.000:6.000 3.175:4.825 5.040:10.960 8.000:8.000 12.699:19.301 20.159:43.841 "
    "32.000:32.000 50.797:77.203 80.635:47.365 128.000:128.000 203.187:308.813 322.540:189.460 "
    "512.000:118.346 512.000:118.346 512.000:118.346",
    "T-256": "2.000:6.000 2.828:5.172 4.000:4.000 5.657:10.343 8.000:8.000 11.314:20.686 "
    "16.000:16.000 22.627:41.373 32.000:32.000 45.255:18.745 64.000:64.000 90.510:37.490 "
    "128.000:29.586 128.000:29.586 128.000:29.586",
}
TINY = {"resolution": 32, "channel_base": 256, "channel_max": 12, "w_dim": 16, "z_dim": 8}
FAMILIES = {"T": {}, "R": RADIAL}
each_family = pytest.mark.parametrize("family", list(FAMILIES))


def written_out():
    """The peer of the benchmark: every operation by its definition."""
    path = Path(__file__).parents[1] / "benchmarks" / "stylegan3.py"
    spec = importlib.util.spec_from_file_location("stylegan3_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEFINITION = written_out()


def network(family="T", seed=0, **changes):
    """A small random network in which no parameter is at a value that hides its use."""
    torch.manual_seed(seed)
    G = StyleGAN3(**{**TINY, **FAMILIES[family], **changes})
    with torch.no_grad():
        G.mapping.w_avg.normal_()
        G.synthesis.input.affine.weight.normal_().mul_(0.1)
        for layer in G.synthesis.layers:
            layer.bias.normal_().mul_(0.1)
            layer.magnitude_ema.fill_(0.6 + 0.4 * torch.rand([]).item())
    return G.requires_grad_(False)


def codes(G, n=2, seed=1):
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(n * G.slots, G.config["z_dim"], generator=random)
    return G.mapping(z.to(G.w_avg)).view(n, G.slots, -1)


def on_meta(settings):
    with torch.device("meta"):
        return StyleGAN3(**settings)


# Tables


@pytest.mark.parametrize("name", list(TABLES))
def test_layers_are_those_of_the_official_networks(name):
    settings, names, padding, (parameters, styles) = TABLES[name]
    G = on_meta(settings)
    assert list(G.synthesis.names) == [f"L{i}_{rest}" for i, rest in enumerate(names.split())]
    table = [layer.layer for layer in G.synthesis.layers]
    assert [layer.padding[0] for layer in table] == padding
    assert [sum(layer.padding) for layer in table[:-1]] == [2 * p + _odd(p) for p in padding[:-1]]
    assert sum(p.numel() for p in G.parameters()) == parameters
    ws = torch.zeros(1, 16, 512, device="meta")
    assert sum(style.shape[1] for style in G.styles(ws).values()) == styles
    assert G.synthesis(ws).shape == (1, 3, G.resolution, G.resolution)


def _odd(before):
    """What the padding after differs by: one less, three less where the rate is raised by 4."""
    return -3 if before in (-6, -2) else -1


@pytest.mark.parametrize("name", list(BANDS))
def test_bands_are_those_of_the_official_networks(name):
    targets = [layer.layer.target for layer in on_meta(TABLES[name][0]).synthesis.layers]
    assert " ".join(f"{p.cutoff:.3f}:{p.half_width:.3f}" for p in targets) == BANDS[name]


def test_names_and_shapes_are_those_of_the_official_files():
    state = {key: tuple(value.shape) for key, value in on_meta(R_1024).state_dict().items()}
    assert len(state) == 6 + 13 * 7 + 7 + 5 + 5
    for key, shape in {
        "synthesis.input.weight": (1024, 1024),
        "synthesis.input.transform": (3, 3),
        "synthesis.input.freqs": (1024, 2),
        "synthesis.input.phases": (1024,),
        "synthesis.input.affine.weight": (4, 512),
        "synthesis.input.affine.bias": (4,),
        "synthesis.L0_36_1024.up_filter": (12,),
        "synthesis.L2_52_1024.up_filter": (24,),
        "synthesis.L7_276_645.weight": (645, 1024, 1, 1),
        "synthesis.L8_276_406.affine.weight": (645, 512),
        "synthesis.L8_276_406.affine.bias": (645,),
        "synthesis.L11_1044_102.down_filter": (12, 12),
        "synthesis.L12_1044_64.down_filter": (12,),
        "synthesis.L14_1024_3.magnitude_ema": (),
        "mapping.w_avg": (512,),
        "mapping.fc1.bias": (512,),
    }.items():
        assert state[key] == shape
    assert "synthesis.L14_1024_3.up_filter" not in state


# Filters


def test_lowpass_is_the_windowed_sinc_of_scipy():
    signal = pytest.importorskip("scipy.signal")
    for layer in (part.layer for part in on_meta(T_1024).synthesis.layers[:-1]):
        ends = (layer.up_taps, layer.source), (layer.down_taps, layer.target)
        for taps, point in ends:
            width = 2 * point.half_width
            ours = lowpass(taps=taps, cutoff=point.cutoff, width=width, rate=layer.raised)
            theirs = signal.firwin(taps, point.cutoff, width=width, fs=layer.raised)
            torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-14)


def test_radial_lowpass_is_the_windowed_jinc():
    special, signal = pytest.importorskip("scipy.special"), pytest.importorskip("scipy.signal")
    for layer in (part.layer for part in on_meta(R_256).synthesis.layers[:12]):
        cutoff, width = layer.target.cutoff, 2 * layer.target.half_width
        ours = lowpass(taps=12, cutoff=cutoff, width=width, rate=layer.raised, radial=True)
        beta = signal.kaiser_beta(signal.kaiser_atten(12, 2 * width / layer.raised))
        window = torch.from_numpy(signal.windows.kaiser(12, beta))
        place = (torch.arange(12).double() - 5.5) / layer.raised
        radius = torch.hypot(place[:, None], place)
        jinc = special.j1(2 * math.pi * cutoff * radius.numpy()) / radius.numpy()
        theirs = torch.from_numpy(jinc) * window[:, None] * window
        torch.testing.assert_close(ours, theirs / theirs.sum(), rtol=0, atol=1e-14)


def test_lowpass_without_scipy():
    """Half of the filter of T's first layer, as scipy 1.17.1 gives it."""
    golden = [0.0007919021, 0.0100183182, 0.0389495225, 0.0924127899, 0.1565256153, 0.2013018520]
    half = lowpass(taps=12, cutoff=2.0, width=12.0, rate=32)[:6]
    torch.testing.assert_close(half, torch.tensor(golden, dtype=torch.double), rtol=0, atol=1e-9)


@pytest.mark.parametrize("taps", [5, 12])
def test_a_radial_filter_is_the_same_all_round(taps):
    kernel = lowpass(taps=taps, cutoff=3.0, width=6.0, rate=32, radial=True)
    assert kernel.isfinite().all()
    assert math.isclose(kernel.sum(), 1)
    torch.testing.assert_close(kernel, kernel.T)
    torch.testing.assert_close(kernel, kernel.flip(0))
    assert kernel.argmax() in (taps * taps // 2, (taps // 2 - 1) * (taps + 1))


def plain(x, up, down, plan):
    """`filtered_leaky_relu` by definition, on one grid after the other."""
    after = (plan.size - 1) * plan.down + len(up) + len(down) - 1 - plan.pad
    padding = (plan.pad, after - x.shape[2] * plan.up)
    x = DEFINITION.resample(x, up, up=plan.up, padding=padding)
    x = torch.where(x < 0, x * plan.slope, x) * plan.gain
    return DEFINITION.resample(x.clamp(-plan.clamp, plan.clamp), down, down=plan.down)


def ways():
    """Tiles, as on a CPU, and convolutions, as elsewhere."""
    torch.compiler.reset()
    return filtered_leaky_relu, torch.compile(filtered_leaky_relu, backend="eager")


PLANS = {
    "up 2": (Resampling(up=2, down=2, pad=9, size=19, clamp=1.0), 12, (12,)),
    "up 4, cut": (Resampling(up=4, down=2, pad=-6, size=21, clamp=1.0), 24, (12,)),
    "radial": (Resampling(up=2, down=2, pad=11, size=34, clamp=1.0), 12, (12, 12)),
    "radial, up 4": (Resampling(up=4, down=2, pad=-2, size=23, clamp=1.0), 24, (12, 12)),
    "odd": (Resampling(up=3, down=2, pad=4, size=18, gain=1.5, slope=0.4), 7, (5,)),
    "odd radial": (Resampling(up=2, down=3, pad=-3, size=5, gain=0.5), 5, (4, 4)),
    "no filters": (Resampling(up=1, down=1, pad=0, size=17), 1, (1,)),
}


@pytest.mark.parametrize("name", list(PLANS))
@pytest.mark.parametrize("way", [0, 1], ids=["tiles", "convolutions"])
def test_nonlinearity_is_that_of_its_definition(name, way):
    """Filters without symmetry show which way round they are used."""
    plan, taps, shape = PLANS[name]
    random = torch.Generator().manual_seed(5)
    x, up, down = (
        torch.randn(*s, generator=random, dtype=torch.double)
        for s in ((2, 3, 17, 17), (taps,), shape)
    )
    expected = plain(x, up, down, plan)
    assert expected.shape == (2, 3, plan.size, plan.size)
    out = ways()[way](x.clone(), up, down, plan)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    assert torch.equal(out, ways()[way](x, up, down, plan))  # its input is left as it was


@pytest.mark.parametrize("name", list(PLANS))
def test_gradient_of_the_nonlinearity_is_that_of_its_definition(name):
    plan, taps, shape = PLANS[name]
    random = torch.Generator().manual_seed(6)
    x, up, down, weight = (
        torch.randn(*s, generator=random, dtype=torch.double)
        for s in ((2, 3, 17, 17), (taps,), shape, (2, 3, plan.size, plan.size))
    )
    found = []
    for call in (plain, *ways()):
        some = x.clone().requires_grad_()
        found += torch.autograd.grad((call(some, up, down, plan) * weight).sum(), some)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-11)
    torch.testing.assert_close(found[2], found[0], rtol=0, atol=1e-11)


# Pictures


@each_family
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float, 1e-5), (torch.double, 1e-11)])
def test_pictures_are_those_of_the_definition(family, dtype, bound):
    G = network(family).to(dtype)
    ws = codes(G)
    transform = user_transform(20, 0.1, -0.2)
    for turned in (None, transform, torch.stack([transform, torch.eye(3)])):
        image = G.synthesis(ws, turned)
        rows = [None, None] if turned is None else turned.expand(2, 3, 3)
        pairs = zip(ws.split(1), rows, strict=True)
        expected = torch.cat([DEFINITION.drawn_by_definition(G, row, t) for row, t in pairs])
        assert image.shape == (2, 3, 32, 32)
        assert image.std() > 0.01
        torch.testing.assert_close(image, expected, rtol=0, atol=bound)


@each_family
def test_mean_square_over_a_batch_cancels(family):
    """The original's styles know their neighbours, its pictures only within rounding."""
    G = network(family)
    together = DEFINITION.drawn_by_definition(G, codes(G, 3))
    torch.testing.assert_close(G.synthesis(codes(G, 3)), together, rtol=0, atol=1e-5)


@each_family
def test_a_picture_is_the_same_bits_in_any_batch(family):
    G = network(family)
    ws = codes(G, 3)
    together = G.synthesis(ws)
    for i in range(3):
        assert torch.equal(G.synthesis(ws[i : i + 1])[0], together[i])


@each_family
def test_translation_moves_the_picture(family):
    G = network(family, resolution=64, channel_base=1024)
    ws = codes(G, 1)
    still = G.synthesis(ws)
    right = G.synthesis(ws, user_transform(tx=8 / 64))
    down = G.synthesis(ws, user_transform(ty=8 / 64))
    assert (right - still).abs().mean() > 20 * 2e-4
    assert (right[..., 8:] - still[..., :-8]).abs().mean() <= 2e-4
    assert (down[..., 8:, :] - still[..., :-8, :]).abs().mean() <= 2e-4


def test_rotation_turns_the_picture_of_r_counter_clockwise():
    G = network("R")
    ws = codes(G, 1)
    still, turned = G.synthesis(ws), G.synthesis(ws, user_transform(90))
    assert (turned - still).abs().mean() > 0.005
    assert (turned - torch.rot90(still, 1, (2, 3))).abs().max() <= 1e-6


def test_user_transform_turns_before_it_moves():
    """What lies at the right edge goes to the top, then as far as it is moved."""
    forward = torch.linalg.inv(user_transform(90, 0.25, 0.5))
    torch.testing.assert_close(forward @ torch.tensor([0.5, 0, 1]), torch.tensor([0.25, 0.0, 1]))


def test_the_transform_of_a_file_is_the_default():
    G = network()
    ws = codes(G, 1)
    expected = G.synthesis(ws, user_transform(15, tx=0.1))
    assert not torch.equal(G.synthesis(ws), expected)
    G.synthesis.input.transform.copy_(user_transform(15, tx=0.1))
    assert torch.equal(G.synthesis(ws), expected)
    torch.testing.assert_close(G.synthesis(ws, torch.eye(3)), network().synthesis(ws))


def test_pseudo_alignment_replaces_the_slot_of_the_place():
    G = network()
    ws = codes(G)
    aligned = G.pseudo_aligned(ws)
    assert torch.equal(aligned[:, 0], G.w_avg.expand(2, -1))
    assert torch.equal(aligned[:, 1:], ws[:, 1:])
    assert not torch.equal(ws[:, 0], aligned[:, 0])
    with pytest.raises(UsageError, match=r"ws: expected \(N, 16, 16\)"):
        G.pseudo_aligned(ws[:, 0])


def test_mapping_is_that_of_its_definition():
    G = network()
    z = torch.randn(3, 8) * 5
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for layer in (G.mapping.fc0, G.mapping.fc1):
        x = x @ (layer.weight * 0.01 / x.shape[1] ** 0.5).T + layer.bias * 0.01
        x = torch.where(x < 0, 0.2 * x, x) * 2**0.5
    torch.testing.assert_close(G.mapping(z), x)
    assert 0.5 < G.mapping(torch.randn(64, 8)).std() < 2


@each_family
def test_filters_are_the_files_own(family):
    G = network(family)
    ws, base = codes(G, 1), network(family).synthesis(codes(G, 1))
    part = G.synthesis.layers[6]
    for kernel in (part.up_filter, part.down_filter):
        kept = kernel.clone()
        kernel.copy_(torch.rand_like(kernel))
        image = G.synthesis(ws)
        assert (image - base).abs().max() > 1e-3
        expected = DEFINITION.drawn_by_definition(G, ws)
        torch.testing.assert_close(image, expected, rtol=1e-5, atol=1e-4)
        kernel.copy_(kept)


# Slots, styles, features


def test_slots_by_group_and_by_sampling_rate():
    G = on_meta(T_1024)
    assert G.slots == 16
    assert G.layers("coarse") + G.layers("medium") + G.layers("fine") == G.layers("all")
    assert G.layers("medium") == (5, 6, 7)
    rates = [G.layers(2**i) for i in range(4, 11)]
    assert sum(rates, ()) == tuple(range(16))
    assert rates == [(0, 1, 2), (3, 4), (5,), (6, 7), (8, 9), (10,), (11, 12, 13, 14, 15)]
    for group in ("corse", 8, 2048):
        with pytest.raises(UsageError, match=f"layers: expected one of .*coarse.*, got {group}"):
            G.layers(group)


def test_a_slot_changes_nothing_before_its_rate():
    G = network()
    ws = codes(G, 1)
    image, low = G.synthesis(ws), G.features(ws, 16)
    for slot in range(G.slots):
        other = ws.clone()
        other[:, slot] += 1
        assert torch.equal(G.features(other, 16), low) == (slot > max(G.layers(16)))
        assert not torch.equal(G.synthesis(other), image)


def test_styles_are_in_the_order_of_drawing():
    G = network()
    ws = codes(G)
    styles = G.styles(ws)
    assert list(styles) == ["input", *G.synthesis.names]
    torch.testing.assert_close(styles["input"][:, :2].norm(dim=1), torch.ones(2))
    for i, (name, part) in enumerate(zip(G.synthesis.names, G.synthesis.layers, strict=True), 1):
        plain = ws[:, i] @ (part.affine.weight / 4).T + part.affine.bias
        scale = plain.shape[1] ** -0.5 if i == 15 else 1
        torch.testing.assert_close(styles[name], plain * scale)


@each_family
def test_synthesis_is_that_of_its_styles(family):
    G = network(family)
    ws, transform = codes(G), user_transform(5)
    assert torch.equal(G.synthesis_from_styles(G.styles(ws)), G.synthesis(ws))
    turned = G.synthesis_from_styles(G.styles(ws), transform)
    assert torch.equal(turned, G.synthesis(ws, transform))


def test_wrong_styles_are_refused():
    G = network()
    styles = G.styles(codes(G))
    without = {name: style for name, style in styles.items() if not name.startswith("L3")}
    with pytest.raises(UsageError, match="styles: expected L3_36_12, got input, L0"):
        G.synthesis_from_styles(without)
    with pytest.raises(UsageError, match=r"styles\[L3_36_12\]: expected \(N, 12\), got \(2, 4\)"):
        G.synthesis_from_styles(styles | {"L3_36_12": torch.zeros(2, 4)})


@each_family
@pytest.mark.parametrize(("at", "size"), [(16, 36), (32, 52), (64, 64)])
def test_synthesis_goes_on_from_features(family, at, size):
    G = network(family, resolution=64)
    ws = codes(G)
    features = G.features(ws, at)
    assert features.shape[2:] == (size, size)
    assert torch.equal(G.synthesis_from(features, ws), G.synthesis(ws))
    held, later = ws.clone(), ws.clone()
    held[:, : max(G.layers(at)) + (at < 64)] += 1  # the last slot, colours, has the rate of 64
    later[:, -1] += 1
    assert torch.equal(G.synthesis_from(features, held), G.synthesis(ws))
    assert not torch.equal(G.synthesis_from(features, later), G.synthesis(ws))


def test_features_hold_the_transform():
    G = network()
    ws, transform = codes(G), user_transform(tx=0.2)
    turned = G.synthesis_from(G.features(ws, 16, transform), ws)
    assert torch.equal(turned, G.synthesis(ws, transform))


def test_features_of_other_sizes_are_refused():
    G = network()
    with pytest.raises(UsageError, match=r"features: expected a size among \[16, 32\] px, got 8"):
        G.features(codes(G), 8)
    with pytest.raises(UsageError, match=r"features: expected .*\(12, 36, 36\).* got \(12, 16, 16"):
        G.synthesis_from(torch.zeros(2, 12, 16, 16), codes(G))


@pytest.mark.parametrize("method", ["synthesis", "preview", "styles", "pseudo_aligned"])
@pytest.mark.parametrize("shape", [(2, 18, 16), (16, 16), (2, 16, 12)])
def test_ws_of_another_shape_is_refused(method, shape):
    with pytest.raises(UsageError, match=r"ws: expected \(N, 16, 16\), got \(\d+, "):
        getattr(network(), method)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 3), (3, 3, 3), (1, 4, 4)])
def test_a_transform_of_another_shape_is_refused(shape):
    G = network()
    with pytest.raises(UsageError, match=r"transform: expected \(3, 3\) or \(2, 3, 3\), got"):
        G.synthesis(codes(G), torch.zeros(shape))


def test_preview_is_of_256_px():
    G = network()
    image, preview = G.synthesis(codes(G)), G.preview(codes(G))
    assert preview.shape == (2, 3, 256, 256)
    small = torch.nn.functional.adaptive_avg_pool2d(preview, 32)
    assert (small - image).abs().mean() < 0.3 * image.abs().mean()


def test_preview_of_a_larger_picture_is_its_mean_by_area():
    G = network(resolution=512, channel_max=2, channel_base=512)
    ws = codes(G, 1)
    expected = G.synthesis(ws).unflatten(3, (256, 2)).unflatten(2, (256, 2)).mean(dim=(3, 5))
    torch.testing.assert_close(G.preview(ws), expected)


# Gradients


@each_family
def test_gradients_are_those_of_the_definition(family):
    G = network(family).double().requires_grad_(True)
    G.mapping.requires_grad_(False)
    ws = codes(G, 1)
    target = torch.randn(1, 3, 32, 32, dtype=torch.double)
    found = []
    for draw in (G.synthesis, lambda ws: DEFINITION.drawn_by_definition(G, ws)):
        some = ws.clone().requires_grad_()
        loss = (draw(some) * target).sum()
        found.append(torch.autograd.grad(loss, [some, *G.synthesis.parameters()]))
    assert (found[0][0].norm(dim=2) > 0).all()  # every slot
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


@each_family
def test_gradcheck(family):
    small = {"resolution": 16, "channel_max": 2, "num_layers": 3, "num_critical": 1, "w_dim": 2}
    G = network(family, **small).double()
    ws = codes(G, 1).requires_grad_()
    pool = torch.nn.AdaptiveAvgPool2d(2)
    assert torch.autograd.gradcheck(lambda ws: pool(G.synthesis(ws)), ws)


# Settings


@each_family
def test_a_state_tells_its_settings(family):
    G = network(family)
    meta = {key: value.to("meta") for key, value in G.state_dict().items()}
    settings = StyleGAN3.read_config(meta)
    again = StyleGAN3(**settings)
    again.load_state_dict(G.state_dict())
    assert torch.equal(again.synthesis(codes(G)), G.synthesis(codes(G)))
    assert {**G.config, **settings} == {**G.config, "channel_base": settings["channel_base"]}
    assert StyleGAN3(**G.config).config == G.config


@pytest.mark.parametrize("name", list(TABLES))
def test_the_official_states_tell_their_settings(name):
    G = on_meta(TABLES[name][0])
    assert G.config == {**G.config, **StyleGAN3.read_config(G.state_dict())}


@pytest.mark.parametrize(
    "changes",
    [
        {"channel_base": 23456, "channel_max": 500, "resolution": 512},
        {"channel_base": 32768, "resolution": 256},
        {"channel_base": 130, "channel_max": 512, "resolution": 128},
        {"num_layers": 10, "num_critical": 3, "mapping_layers": 8, "w_dim": 64, **RADIAL},
        {"filter_size": 8, "conv_kernel": 5},
    ],
)
def test_unusual_states_are_rebuilt(changes):
    G = on_meta(changes)
    again = on_meta(StyleGAN3.read_config(G.state_dict()))
    assert list(again.state_dict()) == list(G.state_dict())
    shapes = [value.shape for value in again.state_dict().values()]
    assert shapes == [value.shape for value in G.state_dict().values()]


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("synthesis.L4_36_12.weight", None, "layers numbered from 0, got L0_36_12, L1_36_12"),
        ("synthesis.L4_36_12.bias", None, "synthesis.L4_36_12.bias: missing"),
        ("synthesis.L4_36_12.weight", (12, 9, 3, 3), r"L4_36_12.weight: expected \(12, 12, 3, 3\)"),
        ("synthesis.L0_36_12.down_filter", None, "synthesis.L0_36_12.down_filter: missing"),
        ("synthesis.L4_36_12.up_filter", (13,), r"up_filter: expected \(12,\), got \(13,\)"),
        ("mapping.w_avg", None, "mapping.w_avg: missing"),
        ("mapping.fc0.weight", None, "mapping.fc0.weight: missing"),
        ("mapping.embed.weight", (16, 3), "conditional networks are not supported"),
    ],
)
def test_odd_states_are_refused(key, shape, message):
    state = on_meta(TINY).state_dict()
    state.pop(key, None)
    if shape:
        state[key] = torch.zeros(shape)
    with pytest.raises(TediError, match=message):
        StyleGAN3.read_config(state)


def test_states_of_other_layers_are_refused():
    with pytest.raises(TediError, match=r"synthesis.L…: expected layers .*, got none"):
        StyleGAN3.read_config({})
    other = on_meta({**TINY, "first_stopband": 9.0}).state_dict()
    with pytest.raises(TediError, match="only the published cutoffs are known"):
        StyleGAN3.read_config(other)
    state = on_meta(TINY).state_dict()
    narrow = {key.replace("L13_32_8", "L13_32_7"): value for key, value in state.items()}
    assert narrow.keys() != state.keys()
    with pytest.raises(TediError, match=r"no channel_base explains 12, .*, 7 channels"):
        StyleGAN3.read_config(narrow)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 48}, "resolution: expected a power of two from 16, got 48"),
        ({"resolution": 8}, "resolution: expected a power of two from 16, got 8"),
        ({"num_critical": 14}, "num_critical: expected 1 to 13"),
        ({"channel_max": 0}, "channel_max: expected 1 or more, got 0"),
        ({"channel_base": 500}, "channel_base: expected 1024 \\(resolution\\) or more, got 500"),
        ({"lrelu_upsampling": 3}, "lrelu_upsampling: expected 1, 2 or 4, got 3"),
    ],
)
def test_settings_out_of_bounds_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        Design(**changes)


def test_without_raising_the_rate_there_are_no_filters_within_a_rate():
    G = network(lrelu_upsampling=1)
    assert "synthesis.L0_36_12.up_filter" not in G.state_dict()
    assert G.synthesis(codes(G)).shape == (2, 3, 32, 32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each_family
def test_cuda_draws_as_a_cpu_does(family):
    G = network(family)
    ws = codes(G)
    expected = G.synthesis(ws)
    image = G.to("cuda").synthesis(ws.cuda()).cpu()
    torch.testing.assert_close(image, expected, rtol=0, atol=5e-4)
