"""CONVENTIONS.md, line by line: the test of `[some-name]` is `test_some_name`."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny import TinyGenerator, text_encoder, toolkit

from tedi import attributes, config, control, images, mixing, pipeline
from tedi.checkpoints import bundle, native
from tedi.encoders.structure import StructureEncoder
from tedi.encoders.text import ORDERED_GROUPS, Reading
from tedi.errors import TediError, UsageError
from tedi.faces import Alignment, paste_back
from tedi.generators import mobilestylegan
from tedi.generators.mobilestylegan import MobileStyleGAN, haar, inverse_haar
from tedi.modalities import labels
from tedi.modalities.sketch import prepare
from tedi.pipeline import weights_of
from tedi.training.loop import Settings

PAGE = Path(__file__).parents[1] / "CONVENTIONS.md"
JOBS = [("a man", 3), ("a smiling woman with bangs", 5), ("a man", 5), ("a child", 2**32 - 1)]


def anchors() -> list[str]:
    """Names of the page's lines, in order; anything but headings and the first words is one."""
    _, _, body = PAGE.read_text(encoding="utf-8").partition("## ")
    lines = [line for line in f"## {body}".splitlines() if line and not line.startswith("## ")]
    found = [re.match(r"- \[([a-z-]+)\] \S", line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if not match]
    return [match[1] for match in found if match]


def test_every_line_of_the_page_has_its_test_and_every_test_its_line():
    page = anchors()
    assert len(set(page)) == len(page) > 15
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    tests.remove("every_line_of_the_page_has_its_test_and_every_test_its_line")
    assert {anchor.replace("-", "_") for anchor in page} == {
        name.removesuffix("_of_the_real_network") for name in tests
    }


# --- codes ---------------------------------------------------------------------------------------


def test_absolute_codes(generator):
    for network in (TinyGenerator(), generator):
        assert network.w_avg.abs().max() > 0.1
        ws = control.style_codes(network, [0, 7], psi=0)
        assert torch.equal(ws, network.w_avg.expand(2, network.slots, -1))


def test_no_second_mean(generator):
    styles = generator.styles(torch.zeros(1, 16, 512))
    network = generator.synthesizer
    assert torch.equal(styles["stem"][0], network.stem.affine.bias)
    assert torch.equal(styles["to_image"][0], network.to_image.affine.bias)
    for i, block in enumerate(network.blocks):
        biases = [block.up.bias, block.conv1.affine.bias, block.conv2.affine.bias]
        for part, bias in zip(("up", "conv1", "conv2"), biases, strict=True):
            assert torch.equal(styles[f"block{i}.{part}"][0], bias)


def test_psi_on_w():
    network = TinyGenerator()
    z = control.noise([4], network.width)
    w, half = network.mapping(z), control.style_codes(network, [4], psi=0.5)
    torch.testing.assert_close(half[:, 0] - network.w_avg, 0.5 * (w - network.w_avg))
    seen = []
    network.mapping = lambda z: seen.append(z) or network.w_avg.expand(len(z), -1)
    control.style_codes(network, [4], psi=0.5)
    assert torch.equal(seen[0], z)
    assert torch.equal(half, half[:, :1].expand_as(half))


def test_one_seed_a_row():
    torch.manual_seed(1)
    rows = control.noise([3, 0, 3, 2**32 - 1], 512)
    torch.manual_seed(2)
    assert torch.equal(control.noise([3], 512)[0], rows[0])
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(control.noise([2**32 - 1, 3], 512), rows[[3, 0]])
    assert len({tuple(row.tolist()) for row in rows}) == 3
    assert rows.dtype == torch.float32
    assert rows.std().item() == pytest.approx(1, abs=0.1)


def test_strength_zero():
    model = toolkit()
    kept = model.generate("a man", seeds=[3], strength=0)[0].ws
    assert torch.equal(kept, control.style_codes(model.generator, [3], psi=0.7)[0])
    assert torch.equal(model.edit(kept, "a hat", strength=0)[0].ws, kept)
    moved = model.generate("a man", seeds=[3], strength=0.1)[0].ws
    assert not torch.equal(moved, kept)


def test_strength_factor():
    model = toolkit()
    said = model.text.read(["a man"]).plain()
    style = control.style_codes(model.generator, [3], psi=0.7)
    codes = {s: model.generate("a man", seeds=[3], strength=s)[0].ws[None] for s in (0, 0.5, 1, 2)}
    assert (codes[1] - style).norm() > 0.1
    for strength, ws in codes.items():
        expected = style + strength * (codes[1] - style)
        torch.testing.assert_close(ws, expected, atol=1e-5, rtol=1e-5)
    fits = [model.text.similarity(codes[s], said).item() for s in (0, 0.5, 1)]
    assert fits[0] < fits[1] < fits[2]


# --- slots ---------------------------------------------------------------------------------------


def test_slot_groups(generator):
    coarse, medium, fine = map(generator.layers, ("coarse", "medium", "fine"))
    assert coarse + medium + fine == generator.layers("all") == tuple(range(16))
    assert all((coarse, medium, fine))
    assert generator.layers(4) == (0,)
    assert generator.layers(8) == (1, 2)
    sizes = [4 * 2**i for i in range(9)]
    assert sum((generator.layers(size) for size in sizes), ()) == tuple(range(16))


@torch.inference_mode()
def test_slots_in_order(generator, ws):
    sizes = [8, 16, 32, 64]
    base = {size: generator.features(ws[:1], size) for size in sizes}
    for slot in range(16):
        moved = ws[:1].clone()
        moved[:, slot] += 1
        own = next(size for size in [4, *sizes, 128] if slot in generator.layers(size) or size > 64)
        for size in sizes:
            same = torch.equal(generator.features(moved, size), base[size])
            assert same == (size < own), f"slot {slot} of {own} px, features at {size} px"


def test_slots_and_styles(generator, ws):
    base = generator.styles(ws[:1])
    named = {0: ["stem"], 15: ["to_image"]}
    for i in range(7):
        named |= {1 + 2 * i: [f"block{i}.up", f"block{i}.conv1"], 2 + 2 * i: [f"block{i}.conv2"]}
    for slot in range(16):
        moved = ws[:1].clone()
        moved[:, slot] += 1
        styles = generator.styles(moved)
        changed = [name for name in base if not torch.equal(styles[name], base[name])]
        assert changed == named[slot]


# --- pictures ------------------------------------------------------------------------------------


def test_image_range():
    image = torch.tensor([-1.0, 1.0, -1.7, 3.0, 0.0]).expand(1, 3, 1, 5)
    assert images.to_pixels(image)[0, 0, :, 0].tolist() == [0, 255, 0, 255, 128]
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    back = images.to_image(levels)
    assert (back.min(), back.max()) == (-1, 1)
    assert (images.to_pixels(back) == levels).all()


def test_channel_order():
    image = torch.full((1, 3, 2, 4), -1.0)
    image[:, 0] = 1
    picture = images.to_pil(image)[0]
    assert (picture.mode, picture.size) == ("RGB", (4, 2))
    assert picture.getpixel((0, 0)) == (255, 0, 0)


class Crowded(TinyGenerator):
    """Draws a little differently in a batch, as matrix libraries do, only so that it shows."""

    def synthesis(self, ws):
        return super().synthesis(ws) + 0.1 * (len(ws) - 1)

    def mapping(self, z):
        return super().mapping(z) + 0.1 * (len(z) - 1)


def crowded_text():
    """An encoder that reads a little differently in a batch."""
    encoder = text_encoder()
    read = encoder.read

    def crowded(prompts):
        said = read(prompts)
        return Reading(said.agrees * 0.9 ** (len(prompts) - 1), said.moves)

    encoder.read = crowded
    return encoder


def drawn(model, jobs, **options):
    """Code and picture bytes of each job."""
    faces = model.stream(jobs, **options)
    return [(face.ws.numpy().tobytes(), face.picture.tobytes()) for face in faces]


@pytest.mark.parametrize("preview", [False, True])
def test_pictures_stand_alone(preview):
    model = toolkit(Crowded(), crowded_text())
    alone = [drawn(model, [job], preview=preview)[0] for job in JOBS]
    assert len(set(alone)) == len(JOBS)
    for batch_size in (1, 2, 3, 7):
        assert drawn(model, JOBS, preview=preview, batch_size=batch_size) == alone
    backward = drawn(model, JOBS[::-1], preview=preview, batch_size=3)
    assert backward == alone[::-1]
    faces = model.generate(["a man", "a child"], seeds=iter([3, 5]), preview=preview)
    assert [(f.record["prompt"], f.record["seed"]) for f in faces] == [
        ("a man", 3),
        ("a man", 5),
        ("a child", 3),
        ("a child", 5),
    ]
    assert faces[0].picture.tobytes() == alone[0][1]


@pytest.mark.slow
def test_pictures_stand_alone_of_the_real_network():
    model = pipeline.load(device="cpu")
    for preview, jobs in ((False, JOBS[:2]), (True, JOBS)):
        alone = [drawn(model, [job], preview=preview, method="default")[0] for job in jobs]
        together = drawn(model, jobs[::-1], preview=preview, method="default", batch_size=4)
        assert together == alone[::-1]


def bands(n=1, channels=3, size=8, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4 * channels, size, size, generator=random, dtype=torch.double)


def test_haar_orthonormal():
    x = bands(2)
    image = inverse_haar(x)
    assert image.shape == (2, 3, 16, 16)
    torch.testing.assert_close(haar(image), x)
    torch.testing.assert_close(inverse_haar(haar(image)), image)
    torch.testing.assert_close(image.square().sum(), x.square().sum())
    only_low = torch.zeros(1, 4, 2, 2, dtype=torch.double)
    only_low[:, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    expected = only_low[:, :1].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) / 2
    assert torch.equal(inverse_haar(only_low), expected)
    corner = torch.zeros(1, 1, 4, 4, dtype=torch.double)
    corner[..., :2, :2] = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    assert haar(corner)[0, :, 0, 0].tolist() == [0.5, 0.5, 0.5, 0.5]
    top = torch.zeros(1, 1, 2, 2, dtype=torch.double)
    top[..., 0, :] = 1  # LH says top from bottom, HL left from right
    assert haar(top).flatten().tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_haar_paths_agree(monkeypatch, dtype):
    x = bands(2, channels=5).to(dtype)
    eager = inverse_haar(x)
    monkeypatch.setattr(mobilestylegan.torch.compiler, "is_compiling", lambda: True)
    compiled = inverse_haar(x)
    assert torch.equal(eager, compiled)
    assert eager.dtype == dtype
    assert eager.stride() == compiled.stride()
    assert eager.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_pictures_say_synthetic(tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    face = toolkit().generate("a smiling woman", seeds=[4], psi=0.5, strength=1)[0]
    face.save(path)
    assert images.read_provenance(path) == face.record
    assert face.record["prompt"] == "a smiling woman"
    assert {"seed": 4, "psi": 0.5, "strength": 1}.items() <= face.record.items()
    assert face.record["weights"] == {"tiny": "0" * 64} | weights_of(["default"])
    said = b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    assert said in path.read_bytes()
    with Image.open(path) as picture:
        packet = picture.info["xmp"]
    assert said in (packet.encode() if isinstance(packet, str) else packet)


def test_nothing_outside_is_touched():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (200, 300, 3), dtype=np.uint8))
    quad = np.array([[90, 40], [70, 140], [170, 160], [190, 60]], dtype=float)  # it is turned
    face = Image.new("RGB", (64, 64), "red")
    done = paste_back(photo, face, Alignment.of(quad, photo))
    changed = (np.asarray(done) != np.asarray(photo)).any(axis=2)
    y, x = np.nonzero(changed)
    assert len(y) > 2000
    middle, axes = quad.mean(axis=0), np.stack([quad[3] - quad[0], quad[1] - quad[0]], axis=1)
    place = np.linalg.solve(axes, (np.stack([x, y]) - middle[:, None]))
    assert np.abs(place).max() <= 0.5


def test_left_is_the_subjects():
    assert labels.CLASSES[4:6] == ("left eye", "right eye")
    assert (labels.CLASSES[0], labels.CLASSES[18]) == ("background", "clothes")
    face = torch.zeros(1, 4, 4, dtype=torch.uint8)
    face[0, 1, 3] = 4  # the subject's left eye is on the right of the picture …
    mirrored = labels.mirror(face)
    assert mirrored[0, 1, 0] == 5  # … and its right eye, once it is mirrored, on the left


def test_paper_is_one():
    drawing = Image.new("L", (64, 64), "white")
    drawing.paste(0, (30, 10, 34, 54))
    sketch = prepare(drawing, size=64)
    assert sketch.shape == (1, 1, 64, 64)
    assert (sketch[0, 0, 0, 0], sketch[0, 0, 30, 32]) == (1, 0)


# --- modalities ----------------------------------------------------------------------------------


def test_later_ones_lie_on_top():
    assert list(mixing.RULES) == ["photo", "sketch", "label", "text"]
    assert list(mixing.chosen(["text", "label", "photo"])) == ["photo", "label", "text"]


def test_colours_are_not_drawn(ws):
    encoder = StructureEncoder().requires_grad_(False)
    torch.nn.init.normal_(encoder.offset.weight)
    drawn = encoder({"sketch": torch.zeros(2, 1, 256, 256)})
    filled = encoder.filled(drawn, ws)
    assert torch.equal(filled[:, 9:], ws[:, 9:])
    assert not torch.equal(filled[:, :9], ws[:, :9])


# --- text ----------------------------------------------------------------------------------------


def test_similarity_of_pairs():
    encoder = text_encoder()
    ws = torch.randn(5, 16, 8, generator=torch.Generator().manual_seed(0))
    said = encoder.read(["a man", "a smiling woman"])
    similarity = encoder.similarity(ws, said)
    assert similarity.shape == (2, 5)
    moved = ws.clone()
    moved[3, 6] += 1
    changed = (encoder.similarity(moved, said) - similarity).abs() > 1e-4
    assert changed.nonzero().tolist() == [[0, 3], [1, 3]]
    alone = encoder.similarity(ws[3:4], encoder.read(["a smiling woman"]))
    torch.testing.assert_close(alone[0, 0], similarity[1, 3], atol=1e-4, rtol=1e-5)


def test_silence_is_ones():
    encoder = text_encoder()
    ws = torch.randn(5, 16, 8, generator=torch.Generator().manual_seed(0))
    assert (attributes.allowed_by({}) == 1).all()
    silent = Reading(attributes.allowed_by({}).repeat(5, 1), torch.zeros(5, len(ORDERED_GROUPS)))
    assert encoder.similarity(ws, silent).abs().max() < 1e-4
    assert torch.equal(control.fulfil(encoder, ws, silent), ws)


# --- files and errors ----------------------------------------------------------------------------


def test_unknown_settings_refused():
    values = {"task": "text", "steps": 5, "out": "x", "waight_decay": 0.1}
    with pytest.raises(UsageError, match="'waight_decay'; did you mean 'weight_decay'"):
        config.build(Settings, values, where="c.yaml")


def test_files_run_nothing(tmp_path):
    seen = tmp_path / "seen"

    class Evil:
        def __reduce__(self):
            return seen.touch, ()

    class Worse:
        def __reduce__(self):
            return os.system, (f"touch {seen}",)

    for evil in (Evil(), Worse()):
        for write in (pickle.dump, torch.save):
            with (tmp_path / "g.pkl").open("wb") as file:
                write({"g_ema": evil}, file)
            with pytest.raises(TediError, match=r"refused; its pickle asks for '[\w.]+'"):
                bundle.read(tmp_path / "g.pkl")
            assert not seen.exists()


def test_strict_keys(tmp_path):
    state = {n: t.contiguous() for n, t in MobileStyleGAN().state_dict().items()}
    about = {"architecture": "mobilestylegan"}
    path = tmp_path / "g.safetensors"
    for change in ("missing", "left over"):
        odd = dict(state)
        if change == "missing":
            del odd["synthesizer.const"]
        else:
            odd["synthesizer.extra"] = torch.zeros(1)
        save_file(odd, path, metadata=about)
        with pytest.raises(TediError, match=r"const|extra"):
            native.load_generator([path])
    save_file(state, path, metadata=about)
    assert native.load_generator([path]).name == "mobilestylegan"


def test_errors_name_the_knob(generator, ws):
    model = toolkit()
    face = model.generate("a man")[0]
    calls = {
        "psi: expected 0 to 2, got 9": lambda: model.generate("a man", psi=9),
        "psi: expected 0 to 2, got nan": lambda: model.generate("a man", psi=float("nan")),
        "strength: expected 0 to 10, got -1": lambda: model.generate("a man", strength=-1),
        "batch_size: expected 1 to 1024, got 0": lambda: model.generate("a man", batch_size=0),
        "ws: expected (N, 16, 512), got (2, 8, 512)": lambda: generator.synthesis(ws[:, :8]),
        "device: 'nonsense'": lambda: pipeline.load(device="nonsense"),
        "dtype: expected float32 or bfloat16, got 'int8'": lambda: pipeline.load(dtype="int8"),
        "layers: expected one of": lambda: generator.layers("middle"),
        "quality: expected 1 to 100": lambda: face.save("x.jpg", quality=0),
    }
    for message, call in calls.items():
        with pytest.raises(TediError) as caught:
            call()
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
