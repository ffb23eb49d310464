"""Weight files of others: told apart, converted, drawn as their own programs draw them."""

import argparse
import pathlib
import sys
from dataclasses import replace
from random import Random

import foreign
import numpy as np
import pytest
import raw_files
import torch
from foreign import DEPTH, SIZE, WIDTH
from raw_files import named
from safetensors.torch import save_file

from tedi.checkpoints import bundle, raw
from tedi.checkpoints.bundle import Bundle, build
from tedi.checkpoints.formats import FORMATS, LAYOUTS, about, convert, recognise
from tedi.checkpoints.formats.equivalence import PSI, difference
from tedi.encoders.bdinvert import BaseCodeEncoder
from tedi.encoders.idinvert import IDInvertEncoder
from tedi.encoders.latent_discriminator import LatentDiscriminator
from tedi.encoders.psp import BackboneEncoder, Encoder4Editing, GradualStyleEncoder
from tedi.errors import TediError
from tedi.generators.discriminator import StyleGAN1Discriminator
from tedi.generators.stylegan3 import StyleGAN3

Z = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(9))
CLOSE = 1e-4  # of pictures whose spread is about 7


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(4)


@pytest.fixture
def write(tmp_path):
    """Writes a torch file and gives its path."""

    def call(content, name="weights.pt", **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return call


def draw(generator, z=Z):
    """Pictures of noise at psi 0.7."""
    w = generator.mapping(z)
    w = generator.w_avg + PSI * (w - generator.w_avg)
    return generator.synthesis(w if w.ndim == 3 else w[:, None].expand(-1, generator.slots, -1))


def part(path, role="G_ema") -> Bundle:
    return bundle.read(path).parts[role]


def close(found, expected):
    assert found.shape == expected.shape
    gap = (found - expected).abs().max() / expected.std()
    assert gap < CLOSE, f"differs by {gap}"


# --- StyleGAN2 from everybody --------------------------------------------------------------------


def stylegan2_files(folder):
    """One network in six files."""
    state, d = foreign.stylegan2(), foreign.discriminator2()
    folder.mkdir(exist_ok=True)
    foreign.write_pkl(folder / "nvidia", foreign.with_filters(state), foreign.with_filters(d))
    foreign.write_tensorflow(
        folder / "tensorflow",
        foreign.tensorflow2(foreign.stylegan2(1)),
        foreign.tensorflow2_d(d),
        foreign.tensorflow2(state),
    )
    contents = {
        "rosinality": {
            "g_ema": foreign.rosinality(state),
            "d": foreign.rosinality_d(d),
            "latent_avg": state["mapping.w_avg"],
        },
        "genforce": {
            "generator_smooth": foreign.genforce(state),
            "discriminator": foreign.genforce_d(d),
        },
        "states": {"G_ema": foreign.with_filters(state), "D": foreign.with_filters(d)},
        "bare": foreign.with_filters(state),
    }
    for name, content in contents.items():
        torch.save(content, folder / name)
    return folder


NAMES = ("nvidia", "tensorflow", "rosinality", "genforce", "states", "bare")


@pytest.mark.parametrize("name", NAMES)
def test_a_stylegan2_draws_what_its_own_program_does(tmp_path, name):
    state = foreign.stylegan2()
    path = stylegan2_files(tmp_path / "files") / name
    expected = foreign.draw_rosinality(foreign.rosinality(state), Z, state["mapping.w_avg"])
    close(foreign.draw_genforce(foreign.genforce(state), Z), expected)
    generator = bundle.open_generator(path)
    close(draw(generator), expected)
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())
    assert {t.dtype for t in generator.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("name", [n for n in NAMES if n != "bare"])
def test_its_discriminator_judges_as_their_program_does(tmp_path, name):
    path = stylegan2_files(tmp_path / "files") / name
    image = torch.randn(4, 3, SIZE, SIZE)
    expected = foreign.judge_rosinality(foreign.rosinality_d(foreign.discriminator2()), image)
    torch.testing.assert_close(build(part(path, "D"))(image), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_weights_are_widened(write):
    state = {name: tensor.half() for name, tensor in foreign.stylegan2().items()}
    generator = bundle.open_generator(write(state))
    assert generator.w_avg.dtype == torch.float32
    assert torch.equal(generator.w_avg, state["mapping.w_avg"].float())


# --- published sizes -----------------------------------------------------------------------------


def layouts():
    """Names and shapes of published layouts."""
    text = (pathlib.Path(__file__).parent / "golden" / "layout-keys.txt").read_text()
    for block in text.split("\n\n")[1:]:
        title, *lines = block.strip().splitlines()
        pairs = (line.split() for line in lines)
        yield (
            title[1:-1],
            {name: tuple(map(int, s.split("x"))) if s != "-" else () for name, s in pairs},
        )


# Parameters are all values less noise, the mean of W, and constants: filters, lod, truncation.
SIZES = {
    "rosinality 1024": ("config-f", 1024, 18, 8, 30_370_060),
    "nvidia stylegan2 256": ("config-f", 256, 14, 8, 30_034_338),
    "genforce stylegan2 256": ("config-f", 256, 14, 8, 30_034_338),
    "genforce stylegan1 256": ("one w for all layers", 256, 14, 8, 26_086_229),
    "idinvert 256": ("a w for each layer (idinvert, TediGAN)", 256, 14, 8, 29_500_757),
    "nvidia stylegan3 1024": ("SG3-R", 1024, 16, 2, 15_093_151),
}
KEYS = dict(layouts())


@pytest.mark.parametrize("name", SIZES)
def test_published_key_lists_fit(name):
    state = {key: torch.empty(shape, device="meta") for key, shape in KEYS[name].items()}
    told = raw.Raw(pathlib.Path("x"), "torch zip", state, {}, (), False)
    contents = convert(told)
    assert contents.format == name.split()[0]
    found = about.describe(contents.parts["G_ema"])
    numbers = [found[n] for n in ("variant", "resolution", "slots", "mapping_depth", "parameters")]
    assert tuple(numbers) == SIZES[name]


@pytest.mark.parametrize("name", [name for name in SIZES if not name.startswith("idinvert")])
def test_published_key_lists_are_written_again(name):
    state = {key: torch.empty(shape, device="meta") for key, shape in KEYS[name].items()}
    layout = LAYOUTS[name.split()[0]]()
    told = raw.Raw(pathlib.Path("x"), "torch zip", state, {}, (), False)
    part = layout.convert(told).parts["G_ema"]
    if part.facts["w_avg"] == "missing":
        part.state["mapping.w_avg"] = torch.empty(512, device="meta")
    (made,) = (s for k, s in layout.lay_out({"G_ema": part}).items() if k != "latent_avg")
    assert {key: tuple(tensor.shape) for key, tensor in made.items()} == KEYS[name]


# --- the mean of W -------------------------------------------------------------------------------


def test_a_missing_mean_is_made_from_the_mapping_and_told(write):
    path = write({"g_ema": foreign.rosinality(foreign.stylegan2())})
    contents = bundle.read(path)
    assert contents.lacks == ("w_avg",)
    generator = bundle.open_generator(path)
    w = foreign.mapped(torch.randn(40_000, WIDTH), [generator_layer(i) for i in range(DEPTH)])
    error = w.std(dim=0) / 10_000**0.5
    assert ((generator.w_avg - w.mean(dim=0)).abs() < 5 * error).all()
    told = bundle.complete(contents.parts["G_ema"]).facts["w_avg"]
    assert told.startswith("missing in the file; the mean of 10000")
    assert torch.equal(generator.w_avg, bundle.open_generator(path).w_avg)


def generator_layer(i):
    state = foreign.stylegan2()
    return state[f"mapping.fc{i}.weight"], state[f"mapping.fc{i}.bias"]


def test_a_mean_is_neither_lost_nor_added(write):
    state = foreign.stylegan2()
    for shape in ((WIDTH,), (1, WIDTH)):
        mean = state["mapping.w_avg"].reshape(shape)
        path = write({"g_ema": foreign.rosinality(state), "latent_avg": mean})
        assert torch.equal(bundle.open_generator(path).w_avg, state["mapping.w_avg"])
        assert bundle.read(path).lacks == ()


def test_a_mean_of_several_rows_is_refused(write):
    path = write({"g_ema": foreign.rosinality(foreign.stylegan2()), "latent_avg": torch.ones(2, 8)})
    with pytest.raises(
        TediError, match=r"latent_avg: expected one code \(C,\), got tensor \(2, 8\)"
    ):
        bundle.read(path)


def test_generators_without_noise_maps_are_drawn_without(write):
    state = foreign.rosinality(foreign.stylegan2())
    path = write({name: t for name, t in state.items() if not name.startswith("noises")})
    assert bundle.read(path).lacks == ("noise", "w_avg")
    quiet = state | {n: torch.zeros_like(t) for n, t in state.items() if n.startswith("noises")}
    generator = bundle.open_generator(path)
    close(draw(generator), foreign.draw_rosinality(quiet, Z, generator.w_avg))


# --- StyleGAN1 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [True, False])
def test_idinverts_generator(write, own):
    state = foreign.idinvert(own=own)
    found = part(write(state))
    close(draw(build(found)), foreign.draw_idinvert(state, Z))
    assert found.facts["truncation"] == [pytest.approx(0.7)] * 6


def test_stylegan1_from_tensorflow(tmp_path):
    state = foreign.idinvert(own=False)
    path = tmp_path / "gs.pkl"
    foreign.write_tensorflow(path, *[foreign.tensorflow1(state)])
    expected = foreign.draw_idinvert(state, Z)
    close(torch.tanh(draw(bundle.open_generator(path))), expected)


def test_idinverts_generator_without_its_mean(write):
    state = foreign.idinvert()
    del state["truncation.w_avg"]
    found = bundle.read(write(state))
    assert found.lacks == ("w_avg",)
    assert build(found.parts["G_ema"]).w_avg.shape == (6, WIDTH)


def test_a_generator_saved_before_its_training_was_over_is_refused(write):
    state = foreign.idinvert() | {"synthesis.lod": torch.tensor(2.0)}
    with pytest.raises(TediError, match=r"synthesis\.lod: not the constant"):
        bundle.read(write(state))


def stylegan1_d():
    """A discriminator, and its state with the constants that genforce keeps."""
    network = StyleGAN1Discriminator(resolution=16, channels="8,6,4", hidden=7)
    state = dict(network.state_dict())
    blur = torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])) / 16
    for number, count in ((1, 4), (3, 6)):
        state[f"layer{number}.blur.kernel"] = blur.repeat(count, 1, 1, 1)
    return network, state | {"lod": torch.zeros(())}


def test_stylegan1s_discriminator(write, tmp_path):
    network, state = stylegan1_d()
    image = torch.randn(4, 3, 16, 16)
    found = part(write({"discriminator": state}), "D")
    torch.testing.assert_close(build(found)(image), network(image))
    made = LAYOUTS["genforce"]().lay_out({"D": found})["discriminator"]
    assert made.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(made[name], tensor)
    foreign.write_tensorflow(tmp_path / "d.pkl", foreign.tensorflow1_d(state))
    found = part(tmp_path / "d.pkl", "D")
    torch.testing.assert_close(build(found)(image), network(image))


# --- StyleGAN3 -----------------------------------------------------------------------------------


def stylegan3(**settings):
    """A tiny StyleGAN3 whose mean of W is not zero."""
    settings = {"resolution": 32, "z_dim": WIDTH, "w_dim": WIDTH, "num_layers": 6, **settings}
    network = StyleGAN3(channel_base=256, channel_max=8, **settings)
    network.mapping.w_avg.normal_()
    return network.eval()


@pytest.mark.parametrize("variant", ["SG3-T", "SG3-R"])
def test_a_stylegan3_and_its_discriminator(tmp_path, variant):
    radial = {"conv_kernel": 1, "use_radial_filters": True} if variant == "SG3-R" else {}
    network = stylegan3(**radial)
    d = foreign.with_filters(foreign.discriminator2())
    foreign.write_pkl(tmp_path / "a.pkl", network.state_dict(), d, synthesis_kwargs=radial)
    found = part(tmp_path / "a.pkl")
    assert about.describe(found)["variant"] == variant
    assert found.config == network.config
    with torch.no_grad():
        assert torch.equal(draw(build(found)), draw(network))
    made = LAYOUTS["nvidia"]().lay_out({"G_ema": found})["G_ema"]
    assert made.keys() == network.state_dict().keys()


def test_stylegan3_is_as_its_file_says(tmp_path):
    network = stylegan3(output_scale=0.5, conv_clamp=3.0, first_cutoff=1.5)
    names = ("output_scale", "conv_clamp", "first_cutoff")
    told = {name: network.config[name] for name in names}
    foreign.write_pkl(tmp_path / "a.pkl", network.state_dict(), synthesis_kwargs=told)
    found = part(tmp_path / "a.pkl")
    assert {name: found.config[name] for name in names} == told
    with torch.no_grad():
        assert torch.equal(draw(build(found)), draw(network))


@pytest.mark.parametrize("alike", [True, False])
def test_an_encoder_of_stylegan3_editing(write, alike):
    network = stylegan3()
    decoder, transform = dict(network.state_dict()), torch.eye(3)
    transform[0, 2] = 0.25
    rows = transform.repeat(2, 1, 1)
    rows[1, 1, 2] = 0 if alike else 0.5
    decoder["synthesis.input.transform"] = rows
    encoder = BackboneEncoder(slots=8, width=WIDTH, depth=10, channels=6)
    content = psp_content(encoder, decoder, network.w_avg.clone(), n_iters_per_batch=3)
    content["opts"]["exp_dir"] = pathlib.PurePosixPath("runs")
    path = write(content)
    found, generator = bundle.open_encoder(path)
    assert torch.equal(found.w_avg, network.w_avg.expand(8, -1))
    assert torch.equal(generator.w_avg, network.w_avg)
    kept = generator.synthesis.input.transform
    assert torch.equal(kept, transform if alike else torch.eye(3))
    assert ("differ" in part(path, "decoder").facts["transform"]) is not alike


def test_a_state_that_pti_saved(write):
    network = stylegan3()
    with torch.no_grad():
        generator = bundle.open_generator(write(network.state_dict()))
        assert torch.equal(draw(generator), draw(network))


# --- encoders ------------------------------------------------------------------------------------


def state_of(network):
    """A state dict with batch norms that have seen something."""
    state = network.state_dict()
    for name, tensor in state.items():
        if name.endswith(("running_mean", "running_var")):
            state[name] = torch.rand_like(tensor) + 0.5
    return state


def psp_content(network, decoder, mean, **opts):
    state = {f"encoder.{n}": t for n, t in state_of(network).items() if n != "w_avg"}
    state |= {f"decoder.{n}": t for n, t in decoder.items()}
    return {"state_dict": state, "opts": opts, "latent_avg": mean}


@pytest.mark.parametrize("kind", [GradualStyleEncoder, Encoder4Editing, BackboneEncoder])
def test_an_encoder_of_psps_family_and_its_decoder(write, kind):
    network = kind(slots=6, width=WIDTH, depth=10)
    state = foreign.stylegan2()
    content = psp_content(
        network,
        foreign.rosinality(state),
        state["mapping.w_avg"].repeat(6, 1),
        encoder_type=kind.__name__,
        n_iters_per_batch=5,
    )
    path = write(content)
    network.load_state_dict(
        {n.removeprefix("encoder."): t for n, t in content["state_dict"].items() if n[0] == "e"}
        | {"w_avg": content["latent_avg"]}
    )
    encoder, generator = bundle.open_encoder(path)
    image = torch.randn(2, 3, 256, 256)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image), network.eval()(image))
    assert type(encoder) is kind
    close(
        draw(generator),
        foreign.draw_rosinality(foreign.rosinality(state), Z, state["mapping.w_avg"]),
    )
    assert part(path, "encoder").facts["n_iters"] == 5
    assert bundle.read(path).lacks == ()


def test_options_of_a_namespace_and_of_paths_are_plain_data(write):
    network, state = GradualStyleEncoder(slots=6, width=WIDTH, depth=10), foreign.stylegan2()
    opts = argparse.Namespace(exp_dir=pathlib.PurePosixPath("/data/run"), learn_in_w=False)
    content = psp_content(network, foreign.rosinality(state), state["mapping.w_avg"])
    found = part(write(content | {"opts": opts}), "encoder")
    assert found.facts["opts"] == {"exp_dir": "/data/run", "learn_in_w": False}
    assert torch.equal(found.state["w_avg"], state["mapping.w_avg"].repeat(6, 1))


def test_an_encoder_without_a_mean_takes_its_decoders(write):
    network, state = GradualStyleEncoder(slots=6, width=WIDTH, depth=10), foreign.stylegan2()
    content = psp_content(network, foreign.rosinality(state), None)
    path = write(content)
    encoder, generator = bundle.open_encoder(path)
    assert generator.w_avg.any()
    assert torch.equal(encoder.w_avg, generator.w_avg.expand(6, -1))
    assert bundle.read(path).lacks == bundle.read(path, values=False).lacks == ("w_avg",)
    alone = write(psp_content(network, {}, None))
    assert bundle.read(alone).lacks == ("w_avg",)
    with pytest.raises(TediError, match="neither latent_avg nor a decoder"):
        bundle.open_encoder(alone)


def test_an_encoder_that_does_not_start_from_the_mean_adds_none(write):
    network, state = GradualStyleEncoder(slots=6, width=WIDTH, depth=10), foreign.stylegan2()
    content = psp_content(network, foreign.rosinality(state), torch.ones(6, WIDTH))
    content["opts"] = {"start_from_latent_avg": False}
    assert not part(write(content), "encoder").state["w_avg"].any()


def test_training_files_of_e4e_keep_their_discriminator_of_codes(write):
    network, state = Encoder4Editing(slots=6, width=WIDTH, depth=10), foreign.stylegan2()
    content = psp_content(
        network, foreign.rosinality(state), torch.ones(6, WIDTH), encoder_type="Encoder4Editing"
    )
    judge = LatentDiscriminator(width=WIDTH)
    content |= {"discriminator_state_dict": judge.state_dict(), "global_step": 7}
    content |= {"optimizer": {"state": {}}}
    contents = bundle.read(write(content))
    w = torch.randn(5, WIDTH)
    found = build(contents.parts["latent_discriminator"])
    torch.testing.assert_close(found(w), judge(w))
    assert contents.others == (
        "global_step: number of training steps",
        "optimizer: optimiser state",
    )


def test_smaller_networks(write):
    networks = {
        "encoder": IDInvertEncoder(resolution=32, width=WIDTH, base=4, most=16),
        "latent_discriminator": LatentDiscriminator(width=WIDTH),
    }
    for role, network in networks.items():
        found = part(write(state_of(network)), role)
        assert difference(found, Bundle(**vars(found)))[0] == 0
        assert type(build(found)) is type(network)
        assert found.config == network.config
    base = BaseCodeEncoder(width=WIDTH, first=4, most=8)
    contents = bundle.read(write({"encoder": state_of(base), "optimizer": {}, "epoch": 3}))
    assert contents.parts["encoder"].config == base.config
    assert contents.others[1] == "epoch: progress of its training"


def test_mappers_statistics_and_vgg_are_named(write, tmp_path):
    mapper = {"mapper.course_mapping.mapping.1.weight": torch.ones(8, 8)}
    found = part(write({"state_dict": mapper, "opts": {"description": "purple hair"}}), "mapper")
    assert found.facts["opts"] == {"description": "purple hair"}
    with pytest.raises(TediError, match="mapper: is kept as it is"):
        build(found)
    np.savez(tmp_path / "w.npz", X_mean=np.zeros(8), X_comp=np.eye(8), X_stdev=np.ones(8))
    statistics = {"mean_latent": torch.ones(8), "eigen_values": torch.ones(8)}
    statistics["eigen_vectors"] = torch.eye(8)
    for path, kind in ((tmp_path / "w.npz", "ii2s"), (write(statistics), "bdinvert")):
        assert (part(path, "pca").kind, part(path, "pca").architecture) == ("pca", kind)
    vgg = {"layer0.weight": torch.ones(64, 3, 3, 3), "layer0.bias": torch.ones(64)}
    assert bundle.read(write(vgg)).others[0].startswith("vgg16: perceptual network")


def test_directions_are_told_as_such(write, tmp_path):
    np.save(tmp_path / "smile.npy", np.ones((1, 512), "float32"))
    contents = bundle.read(tmp_path / "smile.npy")
    assert (contents.format, contents.others) == ("directions", ("smile: direction in W",))
    with pytest.raises(TediError, match="expected a generator, holds no network"):
        bundle.open_generator(tmp_path / "smile.npy")


# --- whole modules -------------------------------------------------------------------------------


def test_a_module_that_pti_saved_whole(tmp_path):
    state = foreign.stylegan2()
    with (
        named("torch_utils.persistence", raw_files._reconstruct_persistent_obj),
        named("dnnlib.util", raw_files.EasyDict),
    ):
        torch.save(foreign.Official(foreign.with_filters(state), z_dim=8), tmp_path / "model.pt")
    assert torch.equal(bundle.open_generator(tmp_path / "model.pt").w_avg, state["mapping.w_avg"])


def test_a_generator_of_classes(tmp_path):
    state = foreign.with_filters(foreign.stylegan2())
    state["mapping.fc0.weight"] = torch.randn(WIDTH, 2 * WIDTH)
    state |= {"mapping.embed.weight": torch.randn(WIDTH, 3), "mapping.embed.bias": torch.ones(8)}
    foreign.write_pkl(tmp_path / "a.pkl", state, c_dim=3)
    found = part(tmp_path / "a.pkl")
    assert found.config["classes"] == 3
    assert difference(found, part(tmp_path / "a.pkl"))[0] == 0
    other = replace(found, state=found.state | {"mapping.embed.bias": torch.zeros(8)})
    assert difference(found, other)[0] > 1e-3
    del found.state["mapping.w_avg"]
    mean = bundle.complete(replace(found, facts={"w_avg": "missing"})).state["mapping.w_avg"]
    assert mean.shape == (WIDTH,)


def test_arguments_rule_what_shapes_cannot_tell(tmp_path):
    state = foreign.with_filters(foreign.stylegan2())
    foreign.write_pkl(tmp_path / "a.pkl", state, synthesis_kwargs={"conv_clamp": 256})
    foreign.write_pkl(tmp_path / "b.pkl", state)
    assert part(tmp_path / "a.pkl").config["conv_clamp"] == 256
    assert not part(tmp_path / "b.pkl").config["conv_clamp"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"img_channels": 1}, "made with img_channels 1; only 3"),
        ({"synthesis_kwargs": {"activation": "relu"}}, "activation 'relu'; only 'lrelu'"),
    ],
)
def test_networks_of_other_arguments_are_refused(tmp_path, arguments, words):
    foreign.write_pkl(tmp_path / "a.pkl", foreign.with_filters(foreign.stylegan2()), **arguments)
    with pytest.raises(TediError, match=words):
        bundle.read(tmp_path / "a.pkl")


# --- strictness ----------------------------------------------------------------------------------


def broken(name):
    """Files of which one thing is wrong, and what is said."""
    g, d = foreign.stylegan2(), foreign.discriminator2()
    ros, gen, own = foreign.rosinality(g), foreign.genforce(g), foreign.with_filters(g)
    filters = "synthesis.b8.conv0.resample_filter"
    cases = {
        "unknown key": (ros | {"extra.weight": torch.ones(1)}, "unknown key 'extra.weight'"),
        "missing key": (
            {k: v for k, v in ros.items() if k != "conv1.activate.bias"},
            "conv1.activate.bias' is missing",
        ),
        "another blur": (
            ros | {"convs.0.conv.blur.kernel": torch.ones(4, 4)},
            "convs.0.conv.blur.kernel: not the constant",
        ),
        "blur of another shape": (
            ros | {"convs.0.conv.blur.kernel": torch.ones(3, 3)},
            "another shape",
        ),
        "shape": (ros | {"to_rgb1.conv.weight": torch.ones(1, 3, 9, 1, 1)}, "torgb"),
        "genforce": (gen | {"synthesis.extra": torch.ones(1)}, "unknown key 'synthesis.extra'"),
        "nvidia": (own | {"synthesis.extra": torch.ones(1)}, "synthesis.extra"),
        "nvidia's filter": (
            own | {filters: torch.ones(4, 4)},
            "b8.conv0.resample_filter: not the constant",
        ),
        "discriminator": (
            {"d": foreign.rosinality_d(d) | {"a": torch.ones(1)}},
            "d: unknown key 'a'",
        ),
        "idinvert": (foreign.idinvert() | {"a.b": torch.ones(1)}, "unknown key 'a.b'"),
        "latent discriminator": ({"mlp.0.weight": torch.ones(2, 8)}, "expected"),
    }
    return cases if name is None else cases[name]


@pytest.mark.parametrize("name", broken(None))
def test_what_does_not_fit_is_named(write, name):
    content, words = broken(name)
    with pytest.raises(TediError) as told:
        bundle.read(write(content))
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert "weights.pt" in str(told.value)


def test_an_unknown_encoder_type_is_named(write):
    network = GradualStyleEncoder(slots=6, width=WIDTH, depth=10)
    content = psp_content(network, {}, torch.ones(6, WIDTH), encoder_type="Encoder5")
    with pytest.raises(TediError, match="unknown encoder_type 'Encoder5'; known are Gradual"):
        bundle.read(write(content))


def test_tensorflow_networks_of_no_stylegan_are_refused(tmp_path):
    odd = foreign.Network("PGGAN", [("4x4/Dense/weight", np.ones((3, 3), "float32"))])
    foreign.write_tensorflow(tmp_path / "p.pkl", odd)
    with pytest.raises(TediError, match=r"no StyleGAN \(.*PGGAN.*converted here"):
        bundle.read(tmp_path / "p.pkl")


def test_unknown_content_is_no_format(write):
    with pytest.raises(TediError, match="of no known format; see what it holds with: tedi weights"):
        bundle.read(write({"a": torch.ones(2)}))


def test_no_file_fits_two_formats(tmp_path, write):
    folder = stylegan2_files(tmp_path / "files")
    network, state = GradualStyleEncoder(slots=6, width=WIDTH, depth=10), foreign.stylegan2()
    torch.save(psp_content(network, foreign.rosinality(state), torch.ones(6, 8)), folder / "psp")
    torch.save(foreign.idinvert(), folder / "idinvert")
    torch.save(state_of(BaseCodeEncoder(width=8, first=4, most=8)), folder / "bdinvert")
    torch.save(LatentDiscriminator(width=8).state_dict(), folder / "dw")
    torch.save(torch.ones(1, 512), folder / "smile")
    torch.save({"layer0.weight": torch.ones(64, 3, 3, 3)}, folder / "vgg")
    for path in folder.iterdir():
        found = raw.read(path)
        assert [name for name in FORMATS if FORMATS[name]().detect(found)], path
        assert len([name for name in FORMATS if FORMATS[name]().detect(found)]) == 1, path


def test_the_table_names_the_formats():
    assert [FORMATS[name]().name for name in FORMATS] == list(FORMATS)
    assert set(LAYOUTS) <= set(FORMATS)


def test_shapes_alone_tell_as_much(tmp_path):
    for path in stylegan2_files(tmp_path / "files").iterdir():
        seen, told = bundle.read(path), bundle.read(path, values=False)
        assert {r: p.config for r, p in told.parts.items()} == {
            r: p.config for r, p in seen.parts.items()
        }
        assert all(t.is_meta for p in told.parts.values() for t in p.state.values())


def test_nothing_of_a_file_is_imported(tmp_path):
    path = stylegan2_files(tmp_path / "files") / "nvidia"
    bundle.open_generator(path)
    assert not {"dnnlib", "torch_utils", "training"} & {name.split(".")[0] for name in sys.modules}


def damaged(value, random):
    """A copy with one place taken out or filled with what does not belong there."""
    if isinstance(value, raw.Stub):
        return raw.Stub(value.name, value.args, damaged(value.state, random))
    if isinstance(value, tuple | list) and value:
        parts, i = list(value), random.randrange(len(value))
        parts[i] = damaged(parts[i], random)
        return type(value)(parts)
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        return rest if random.random() < 0.2 else rest | {key: damaged(value[key], random)}
    if isinstance(value, torch.Tensor) and random.random() < 0.6:
        return random.choice([value[None], value.flatten(), value.new_zeros(0), value * torch.nan])
    odd = [None, 3, "x", [], {}, torch.ones(2), torch.ones(()), raw.Stub("a.Network", (), {})]
    return random.choice([*odd, {"a": 1}, raw.Stub("a.Network", (), {"variables": [1]})])


def test_damage_is_told_in_one_line(tmp_path):
    folder = stylegan2_files(tmp_path / "files")
    network, state = GradualStyleEncoder(slots=6, width=WIDTH, depth=10), foreign.stylegan2()
    torch.save(psp_content(network, foreign.rosinality(state), torch.ones(6, 8)), folder / "psp")
    foreign.write_tensorflow(folder / "tf1", foreign.tensorflow1(foreign.idinvert(own=False)))
    random, refused = Random(1), []
    for path in sorted(folder.iterdir()):
        found = raw.read(path)
        values = (damaged(found.value, random) for _ in range(12))
        refused += filter(None, (complaint(replace(found, value=value)) for value in values))
    assert len(refused) > 30
    for words in refused:
        assert words.startswith(str(folder))
        assert "\n" not in words


def complaint(found):
    """What is said of a file, or nothing."""
    try:
        convert(found)
    except TediError as error:
        return str(error)
    return ""


# --- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["nvidia", "rosinality", "genforce", "tensorflow"])
def test_round_trips_of_stylegan2(tmp_path, write, name, layout):
    path = stylegan2_files(tmp_path / "files") / name
    before = LAYOUTS[layout]().fitting(bundle.read(path).parts)
    again = bundle.read(write(LAYOUTS[layout]().lay_out(before))).parts
    assert again.keys() == before.keys()
    for role, found in before.items():
        assert difference(found, again[role])[0] < 1e-4
        for key, tensor in found.state.items():
            torch.testing.assert_close(again[role].state[key], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("rosinality", lambda g, d: {"g_ema": foreign.rosinality(g), "d": foreign.rosinality_d(d)}),
        (
            "genforce",
            lambda g, d: {
                "generator_smooth": foreign.genforce(g),
                "discriminator": foreign.genforce_d(d),
            },
        ),
        ("nvidia", lambda g, d: {"G_ema": foreign.with_filters(g), "D": foreign.with_filters(d)}),
    ],
)
def test_a_layout_has_every_key_that_its_program_loads(tmp_path, layout, expected):
    parts = bundle.read(stylegan2_files(tmp_path / "files") / "tensorflow").parts
    del parts["G"]
    made = LAYOUTS[layout]().lay_out({r: parts[r] for r in ("G_ema", "D")})
    wanted = expected(foreign.stylegan2(), foreign.discriminator2())
    made.pop("latent_avg", None)
    assert made.keys() == wanted.keys()
    for key, state in wanted.items():
        assert made[key].keys() == state.keys()
        for name, tensor in state.items():
            torch.testing.assert_close(made[key][name], tensor)


def test_our_own_files_hold_one_network_or_several(tmp_path):
    parts = bundle.read(stylegan2_files(tmp_path / "files") / "rosinality").parts
    for chosen in ({"G_ema": parts["G_ema"]}, parts):
        path = tmp_path / f"{len(chosen)}.safetensors"
        bundle.save(path, chosen, metadata={"licence": "mine"})
        again = bundle.read(path).parts
        assert again.keys() == chosen.keys()
        for role, found in chosen.items():
            assert (again[role].config, again[role].facts) == (found.config, found.facts)
            assert difference(found, again[role])[0] == 0
        with pytest.raises(TediError, match="already exists"):
            bundle.save(path, chosen)


@pytest.mark.parametrize(
    "name", ["mapping.w_avg", "mapping.fc1.bias", "synthesis.b4.const", "synthesis.b16.torgb.bias"]
)
def test_a_change_anywhere_is_a_difference(tmp_path, name):
    found = part(stylegan2_files(tmp_path / "files") / "bare")
    assert difference(found, found) == (0, "2 pictures")
    other = replace(found, state=found.state | {name: found.state[name] + 1})
    assert difference(found, other)[0] > 0.01


def test_a_stray_tensor_in_our_own_file_is_named(tmp_path):
    parts = bundle.read(stylegan2_files(tmp_path / "files") / "rosinality").parts
    tensors, about_ = bundle.packed(parts)
    save_file(tensors | {"stray.a": torch.ones(1)}, tmp_path / "a.safetensors", about_)
    with pytest.raises(TediError, match=r"a\.safetensors: unknown key 'stray\.a'"):
        bundle.read(tmp_path / "a.safetensors")


def test_a_damaged_file_of_ours_is_named(tmp_path):
    save_file(
        {"a": torch.ones(1)}, tmp_path / "a.safetensors", {"config": "{", "kind": "generator"}
    )
    with pytest.raises(TediError, match="its metadata is damaged"):
        bundle.read(tmp_path / "a.safetensors")
    about_ = {"kind": "generator", "architecture": "stylegan9", "config": "{}", "facts": "{}"}
    save_file({"a": torch.ones(1)}, tmp_path / "b.safetensors", about_)
    with pytest.raises(TediError, match="unknown generator 'stylegan9'; this tedi may be too old"):
        bundle.read(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("depth", 9, "its settings say depth 9, its tensors 2"),
        ("colour", 1, "its settings say colour 1, its tensors 'nothing of it'"),
        ("conv_clamp", "much", "conv_clamp 'much': expected float, got str"),
    ],
)
def test_settings_that_tensors_deny_are_refused(tmp_path, name, value, words):
    found = part(stylegan2_files(tmp_path / "files") / "bare")
    odd = replace(found, config=found.config | {name: value})
    bundle.save(tmp_path / "a.safetensors", {"G_ema": odd})
    with pytest.raises(TediError, match=words):
        bundle.read(tmp_path / "a.safetensors")


# --- in words ------------------------------------------------------------------------------------


def test_a_network_in_words_and_numbers(tmp_path):
    told = about.describe(part(stylegan2_files(tmp_path / "files") / "nvidia"))
    assert told["family"] == "StyleGAN2"
    assert told["variant"] == "channels of its own"
    assert (told["resolution"], told["slots"], told["width"]) == (SIZE, 6, WIDTH)
    assert told["channels"] == {"4": 8, "8": 6, "16": 4}
    assert told["mapping_depth"] == DEPTH
    noises = sum(size**2 for size in (4, 8, 8, 16, 16))
    everything = sum(t.numel() for t in foreign.stylegan2().values())
    assert told["parameters"] == everything - noises - WIDTH


@pytest.mark.parametrize(
    ("base", "variant"), [(32768, "config-f"), (16384, "half of config-f's channels (paper256)")]
)
def test_published_configurations_have_names(base, variant):
    state = {
        f"synthesis.b{size}.conv1.bias": torch.empty(min(base // size, 512), device="meta")
        for size in (4, 8, 16, 32, 64, 128, 256)
    }
    assert about.variant(Bundle("generator", "stylegan2", {}, state)) == variant


def test_recognise_is_none_for_the_unknown(write):
    assert recognise(raw.read(write([1, 2]))) is None
