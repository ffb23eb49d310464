"""MobileStyleGAN: its structure, its agreement with OpenVINO, and the file it is converted from."""

import inspect
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tedi import interfaces
from tedi.checkpoints import native, openvino
from tedi.encoders.codes import CodeReader
from tedi.errors import TediError, UsageError
from tedi.generators import GENERATORS
from tedi.generators.mobilestylegan import MobileStyleGAN, inverse_haar
from tedi.training.dataset import noise

GOLDEN = Path(__file__).parent / "golden" / "mobilestylegan.npz"


@pytest.fixture(scope="module")
def drawn(generator, ws) -> torch.Tensor:
    with torch.inference_mode():
        return generator.synthesis(ws[:1])


def test_shapes(generator, ws, drawn):
    assert generator.mapping(torch.zeros(3, 512)).shape == (3, 512)
    assert drawn.shape == (1, 3, 1024, 1024)
    assert drawn.dtype == torch.float32
    assert generator.preview(ws).shape == (2, 3, 256, 256)
    assert -2 < drawn.min() < -0.5
    assert 0.5 < drawn.max() < 2


def test_haar_gradients():
    """Said, not found: so they are checked against differences, twice, in double precision."""
    random = torch.Generator().manual_seed(0)
    sizes = (2, 12, 4, 4), (2, 12)
    inputs = [torch.randn(s, generator=random, dtype=torch.double).requires_grad_() for s in sizes]
    assert torch.autograd.gradcheck(inverse_haar, inputs)
    assert torch.autograd.gradgradcheck(inverse_haar, inputs)


@pytest.mark.parametrize("at", [8, 16, 32])
def test_synthesis_goes_on_from_features(generator, ws, drawn, at):
    with torch.inference_mode():
        features = generator.features(ws[:1], at)
        assert features.shape[2:] == (at, at)
        again = generator.synthesis_from(features, ws[:1])
    assert torch.equal(again, drawn)


def test_synthesis_from_takes_only_later_slots(generator, ws):
    """Slots that the features hold already do nothing; the ones after them do."""
    with torch.inference_mode():
        features = generator.features(ws[:1], 256)
        held, later = ws[:1].clone(), ws[:1].clone()
        held[:, :13] += 1
        later[:, 13:] += 1
        same, base, other = (generator.synthesis_from(features, c) for c in (held, ws[:1], later))
    assert torch.equal(same, base)
    assert (other - base).abs().max() > 0.1


@pytest.mark.parametrize("at", [4, 12, 1024])
def test_features_exist_at_block_sizes_only(generator, ws, at):
    with pytest.raises(UsageError, match=f"features: expected a size among .*, got {at}"):
        generator.features(ws, at)


@pytest.mark.parametrize("group", ["corse", 12, 2048])
def test_layers_names_what_there_is(generator, group):
    with pytest.raises(UsageError, match=f"layers: expected one of .*coarse.*, got {group}"):
        generator.layers(group)


def test_gradients_reach_every_slot(generator, ws):
    some = ws[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(generator.synthesis(some).square().mean(), some)
    per_slot = gradient.flatten(2).norm(dim=2)[0]
    assert (per_slot > 0).all(), per_slot
    assert per_slot.isfinite().all()


def test_gradients_reach_every_slot_through_the_preview(generator, ws):
    torch.manual_seed(0)
    noisy = [torch.randn_like(p) * 0.05 for p in generator.previewer.parameters()]
    kept = [p.clone() for p in generator.previewer.parameters()]
    try:
        for p, value in zip(generator.previewer.parameters(), noisy, strict=True):
            p.copy_(value)
        some = ws[:1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(generator.preview(some).square().mean(), some)
        assert (gradient.flatten(2).norm(dim=2) > 0).all()
    finally:
        for p, value in zip(generator.previewer.parameters(), kept, strict=True):
            p.copy_(value)


def test_styles_come_in_the_order_of_drawing(generator, ws):
    styles = generator.styles(ws)
    blocks = [f"block{i}.{part}" for i in range(7) for part in ("up", "conv1", "conv2")]
    assert list(styles) == ["stem", *blocks, "to_image"]
    widths = {name: style.shape[1] for name, style in styles.items()}
    assert all(style.shape[0] == 2 for style in styles.values())
    assert widths["stem"] == 512
    assert [widths[f"block{i}.up"] for i in range(7)] == [512, 512, 512, 512, 512, 256, 128]
    assert [widths[f"block{i}.conv1"] for i in range(7)] == [128, 128, 128, 128, 128, 64, 32]
    assert [widths[f"block{i}.conv2"] for i in range(7)] == [512, 512, 512, 512, 256, 128, 64]
    assert widths["to_image"] == 64


def test_synthesis_is_that_of_its_styles(generator, ws, drawn):
    with torch.inference_mode():
        again = generator.synthesis_from_styles(generator.styles(ws[:1]))
    assert torch.equal(again, drawn)


@pytest.mark.parametrize("shape", [(2, 18, 512), (16, 512), (2, 512), (2, 16, 256)])
@pytest.mark.parametrize("method", ["synthesis", "preview", "styles", "features"])
def test_ws_of_another_shape_is_refused(generator, method, shape):
    arguments = (32,) if method == "features" else ()
    expected = rf"ws: expected \(N, 16, 512\), got \({shape[0]}, {shape[1]}"
    with pytest.raises(UsageError, match=expected):
        getattr(generator, method)(torch.zeros(shape), *arguments)


def test_preview_is_close_to_the_reduced_picture(generator):
    w = generator.mapping(torch.randn(8, 512, generator=torch.Generator().manual_seed(11)))
    ws = (generator.w_avg + 0.7 * (w - generator.w_avg))[:, None].repeat(1, 16, 1)
    with torch.inference_mode():
        drawn = torch.cat([generator.synthesis(one) for one in ws.split(1)])
        image = F.interpolate(drawn, (256, 256), mode="area")
        error = generator.preview(ws) - image
    assert 1 - error.square().sum() / (image - image.mean(dim=0)).square().sum() > 0.95


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_keep_the_interface(name):
    """Every method of the joint is there with the same parameter names; data too."""
    made = GENERATORS[name]()
    protocol = interfaces.Generator
    for method, function in inspect.getmembers(protocol, inspect.isfunction):
        if method.startswith("_") or method == "to":
            continue
        wanted = list(inspect.signature(function).parameters)[1:]
        real = getattr(made, method)
        found = list(inspect.signature(getattr(real, "forward", real)).parameters)
        assert found[: len(wanted)] == wanted, method
    for attribute, kind in protocol.__annotations__.items():
        assert isinstance(getattr(made, attribute), kind), attribute
    assert made.name == name
    assert made.w_avg.shape == (made.width,)


def test_w_and_pictures_agree_with_openvino_in_small(generator):
    """Golden file: tests/golden/make_mobilestylegan.py."""
    golden = np.load(GOLDEN)
    assert "OpenVINO" in str(golden["maker"])
    with torch.inference_mode():
        w = generator.mapping(noise(golden["faces"].tolist()))
        ws = (generator.w_avg + float(golden["psi"]) * (w - generator.w_avg))[:, None]
        images = torch.cat([generator.synthesis(one) for one in ws.repeat(1, 16, 1).split(1)])
    np.testing.assert_allclose(w[:, :16].numpy(), golden["w"], atol=1e-5, rtol=0)
    reduced = F.interpolate(images, (8, 8), mode="area").numpy()
    np.testing.assert_allclose(reduced, golden["reduced"], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def ir(tmp_path_factory) -> Path:
    """Folder of the IR models of the wheel, through the same pip that the zoo uses."""
    from tedi.zoo import ZOO, sources
    from tedi.zoo.transfer import Report

    folder = tmp_path_factory.mktemp("ir")
    entry = ZOO["mobilestylegan-ffhq"]
    source = sources.parse(entry.source)
    (folder / "part").mkdir()
    wheel = sources.fetch(source, folder / "part", Report(entry.name, None, None))
    return sources.place(wheel, source, folder)


@pytest.mark.slow
def test_converting_again_gives_what_is_kept(ir, weights, tmp_path):
    """So that a change of the converter is seen where an earlier conversion is kept."""
    openvino.convert_mobilestylegan(ir, tmp_path / "g.safetensors")
    kept, _ = native.read(weights["mobilestylegan-ffhq"])
    made, metadata = native.read(tmp_path / "g.safetensors")
    assert metadata["architecture"] == "mobilestylegan"
    assert made.keys() == kept.keys()
    assert all(torch.equal(made[name], kept[name]) for name in kept)


@pytest.mark.slow
def test_agrees_with_openvino(generator, ir):
    """Float32 on a CPU: |Δw| ≤ 1e-5, and |Δ| ≤ 2e-4 at 1024 px, 20 faces at psi 0.7."""
    ov = pytest.importorskip("openvino")
    core, exact = ov.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    mapping, synthesis = (
        core.compile_model(core.read_model(ir / f"{name}Network.xml"), "CPU", exact)
        for name in ("Mapping", "Synthesis")
    )
    far_w = far = 0.0
    with torch.inference_mode():
        for z in noise(list(range(20))).split(1):
            w = torch.from_numpy(next(iter(mapping([z.numpy()]).values())))
            far_w = max(far_w, (generator.mapping(z) - w).abs().max().item())
            w = generator.w_avg + 0.7 * (w - generator.w_avg)
            image = torch.from_numpy(next(iter(synthesis([w.numpy()]).values())))
            ours = generator.synthesis(w[:, None].repeat(1, 16, 1))
            far = max(far, (ours - image).abs().max().item())
    assert 0 < far_w <= 1e-5
    assert 0 < far <= 2e-4


# --- the reader of IR models ---------------------------------------------------------------------


def write_ir(folder: Path, constants: dict, name: str = "tiny", **changes: str) -> Path:
    """A model of constants, given as arrays; `changes` replace attributes of the last one."""
    blob, layers = b"", []
    for number, (label, array) in enumerate(constants.items()):
        array = np.asarray(array)
        about = {
            "element_type": {"float32": "f32", "int64": "i64"}[str(array.dtype)],
            "shape": ", ".join(map(str, array.shape)),
            "offset": str(len(blob)),
            "size": str(array.nbytes),
        }
        if number == len(constants) - 1:
            about |= changes
        data = " ".join(f"{key}={quoteattr(value)}" for key, value in about.items())
        layers.append(
            f'<layer id="{number}" name={quoteattr(label)} type="Const"><data {data}/></layer>'
        )
        blob += array.tobytes()
    layers.append('<layer id="99" name="out" type="Result"/>')
    path = folder / f"{name}.xml"
    path.write_text(f"<net name='tiny'><layers>{''.join(layers)}</layers></net>")
    path.with_suffix(".bin").write_bytes(blob)
    return path


FLOATS = np.arange(6, dtype="float32").reshape(2, 3)


def test_ir_constants_are_read_in_order_and_integers_left(tmp_path):
    constants = {"b": FLOATS, "shape": np.array([1, 2]), "a": FLOATS[0] + 9}
    read = openvino.read_constants(write_ir(tmp_path, constants))
    assert list(read) == ["b", "a"]
    assert read["b"].tolist() == FLOATS.tolist()
    assert read["a"].tolist() == [9, 10, 11]


def test_ir_scalars_are_read(tmp_path):
    read = openvino.read_constants(write_ir(tmp_path, {"gain": np.float32(0.5)}))
    assert read["gain"].shape == ()
    assert read["gain"] == 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": "4"},
        {"offset": "-4"},
        {"offset": "999999999999"},
        {"offset": "here"},
        {"size": "20"},
        {"shape": "2, 4"},
        {"shape": "3000000, 3000000"},
        {"shape": "-2, -3"},
    ],
    ids=str,
)
def test_ir_that_lies_about_its_data_is_refused(tmp_path, changes):
    path = write_ir(tmp_path, {"a": FLOATS}, **changes)
    with pytest.raises(TediError, match=r"tiny\.xml: not a readable OpenVINO IR model"):
        openvino.read_constants(path)


@pytest.mark.parametrize("text", ["", "<net><layers>", "no xml", "<!DOCTYPE a [<!ENTITY b 'c'>]>"])
def test_ir_of_broken_xml_is_refused(tmp_path, text):
    path = write_ir(tmp_path, {"a": FLOATS})
    path.write_text(text)
    with pytest.raises(TediError, match="not a readable OpenVINO IR model"):
        openvino.read_constants(path)


@pytest.mark.parametrize("missing", [".xml", ".bin"])
def test_ir_needs_both_files(tmp_path, missing):
    path = write_ir(tmp_path, {"a": FLOATS})
    path.with_suffix(missing).unlink()
    with pytest.raises(TediError, match="not a readable OpenVINO IR model"):
        openvino.read_constants(path)


def test_bands_of_the_file_are_grouped():
    """[low (2) | high (2, 3)] becomes [low | LH | HL | HH], for what makes bands and takes them."""
    names = ["stem.kernel", "blocks.0.up.weight", "blocks.5.conv2.bias", "to_image.pointwise"]
    channels = torch.arange(8.0)[:, None].repeat(1, 2)
    state = {f"synthesizer.{name}": channels for name in [*names, "blocks.6.conv2.bias"]}
    grouped = openvino._group_bands(dict(state))
    assert grouped.pop("synthesizer.blocks.6.conv2.bias") is channels  # to_image reads it as it is
    for tensor in grouped.values():
        assert tensor[:, 0].tolist() == [0, 1, 2, 5, 3, 6, 4, 7]


def test_ir_of_another_network_is_refused(tmp_path):
    for name in ("MappingNetwork", "SynthesisNetwork"):
        write_ir(tmp_path, {"a": FLOATS}, name)
    with pytest.raises(TediError, match="are not MobileStyleGAN's"):
        openvino.convert_mobilestylegan(tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


# --- native files --------------------------------------------------------------------------------


def save(path: Path, tensors: dict, **metadata: str) -> Path:
    from safetensors.torch import save_file

    save_file({name: t.contiguous() for name, t in tensors.items()}, path, metadata=metadata)
    return path


def test_a_generator_is_put_together_from_its_files(tmp_path):
    torch.manual_seed(0)
    made = MobileStyleGAN()
    made.w_avg.normal_()
    state = made.state_dict()
    head = {n: t for n, t in state.items() if n.startswith("previewer") or n == "w_avg"}
    body = {n: t for n, t in state.items() if n not in head}
    files = [
        save(tmp_path / "body.safetensors", body, architecture="mobilestylegan"),
        save(tmp_path / "head.safetensors", {n: t.half() for n, t in head.items()}),
    ]
    loaded = native.load_generator(files)
    assert not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        expected = state[name].half().float() if name in head else state[name]
        assert torch.equal(tensor, expected), name


def test_files_that_do_not_fit_are_refused(tmp_path):
    state = {"w_avg": torch.zeros(512), "nonsense": torch.zeros(1)}
    path = save(tmp_path / "odd.safetensors", state, architecture="mobilestylegan")
    with pytest.raises(
        TediError, match=r"odd\.safetensors: does not fit MobileStyleGAN: .*Missing"
    ):
        native.load_generator([path])
    nameless = save(tmp_path / "nameless.safetensors", state)
    with pytest.raises(TediError, match=r"nameless\.safetensors: holds no generator"):
        native.load_generator([nameless])
    with pytest.raises(TediError, match=r"odd\.safetensors: not a text encoder"):
        native.load_text_encoder(path, CodeReader())
    with pytest.raises(TediError, match=r"odd\.safetensors: not a code reader; 'concepts' is miss"):
        native.load_code_reader(path)
    with pytest.raises(TediError, match=r"odd\.safetensors: does not fit AttributeModel"):
        native.load_attribute_model(path)


@pytest.mark.parametrize("content", [None, b"", b"no tensors"], ids=["missing", "empty", "broken"])
def test_files_that_cannot_be_read_are_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        TediError, match=r"x\.safetensors: not a readable safetensors file"
    ) as caught:
        native.read(path)
    assert "\n" not in str(caught.value)


def test_a_text_encoder_survives_its_file(tmp_path):
    from tiny import text_encoder

    made = text_encoder()
    made.backbone = None
    codes = {n.removeprefix("codes."): t for n, t in made.state_dict().items() if "codes." in n}
    state = {n: t for n, t in made.state_dict().items() if "codes." not in n}
    path = save(tmp_path / "text.safetensors", state)
    reader = native.load_code_reader(save(tmp_path / "codes.safetensors", codes))
    loaded = native.load_text_encoder(path, reader)
    for name, tensor in made.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    with pytest.raises(TediError, match="does not fit TextEncoder"):
        native.load_text_encoder(save(tmp_path / "more.safetensors", state | codes), reader)
