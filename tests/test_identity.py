"""Identity networks: against face-api itself, by direction on generated faces, and at the door."""

import doctest
import io
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from safetensors.torch import load_file, save_file

from tedi import images, zoo
from tedi.checkpoints.identity import MARKS, convert_face_api, load_identity, read_tfjs
from tedi.cli import compare, run
from tedi.encoders import IDENTITIES
from tedi.encoders.identity import ArcFace, crop
from tedi.errors import TediError, UsageError
from tedi.losses import LOSSES
from tedi.training.dataset import noise

GOLDEN = Path(__file__).parent / "golden" / "face_recognition.json"


@pytest.fixture(scope="module")
def network():
    return load_identity(zoo.pull("face-recognition"))


@pytest.fixture(scope="module")
def arcface(tmp_path_factory):
    """Random weights as a user's own file holds them; norms that let numbers through."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("arcface") / "model_ir_se50.pth"
    torch.save(ArcFace().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def faces(generator):
    """Ten persons (10, 3, 256, 256), psi 0.7."""
    w = generator.mapping(noise(range(10)))
    ws = (generator.w_avg + 0.7 * (w - generator.w_avg))[:, None].expand(-1, generator.slots, -1)
    with torch.no_grad():
        return torch.cat([generator.preview(part) for part in ws.split(5)]).clamp(-1, 1)


def through(faces, change):
    """Faces after a change of each as a picture."""
    changed = [np.asarray(change(picture)) for picture in images.to_pil(faces)]
    return images.to_image(np.stack(changed))


def jpeg(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=30)
    return Image.open(file)


def distances(network, a, b):
    """Between all rows of two batches."""
    with torch.no_grad():
        return torch.cdist(network(a), network(b))


# --- the networks --------------------------------------------------------------------------------


def test_descriptors_are_face_api_s(network):
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    y, x, c = np.mgrid[:150, :150, :3]
    pictures = {
        "noise": (((y * 150 + x) * 3 + c) * 7919 % 256).astype(np.float64),
        "waves": 128 + 100 * np.sin((c + 1) * y / 20) * np.cos((3 - c) * x / 25),
    }
    for name, levels in pictures.items():
        image = torch.from_numpy(levels / 127.5 - 1).float().permute(2, 0, 1)[None]
        found = network.describe_crop(image)[0]
        torch.testing.assert_close(found, torch.tensor(golden[name]), atol=1e-5, rtol=0)


def test_a_face_stays_its_person_and_ten_seeds_are_ten(network, faces):
    others = distances(network, faces, faces)[~torch.eye(10, dtype=torch.bool)]
    changes = {
        "jpeg": jpeg,
        "light": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
        "mirror": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    }
    for name, change in changes.items():
        same = distances(network, faces, through(faces, change)).diagonal()
        assert same.max() < others.min(), name
        assert same.max() < network.same, name


def test_a_small_change_of_psi_is_nearer_than_another_seed(network, generator, faces):
    w = generator.mapping(noise([3]))
    ws = (generator.w_avg + 0.65 * (w - generator.w_avg))[:, None].expand(-1, generator.slots, -1)
    with torch.no_grad():
        found = distances(network, generator.preview(ws), faces)[0]
    assert found.argmin() == 3
    assert found[3] < network.same


def test_size_of_the_picture_changes_little(network, faces):
    large = torch.nn.functional.interpolate(faces[:3], scale_factor=4, mode="bicubic")
    assert distances(network, faces[:3], large).diagonal().max() < 0.1


def test_one_step_down_the_slope_brings_a_face_nearer(network, faces):
    image, target = faces[:2].clone().requires_grad_(), faces[2:4]
    loss = LOSSES["identity"](network)
    before = loss(image, target)
    (slope,) = torch.autograd.grad(before.sum(), image)
    with torch.no_grad():
        step = 0.002 * slope.sign()
        assert (loss(image - step, target) < before).all()
    torch.testing.assert_close(before, distances(network, image, target).diagonal().square())


def test_crop_takes_the_same_part_of_every_size():
    ramp = torch.linspace(0, 1, 512)
    image = torch.stack([ramp.expand(512, -1), ramp[:, None].expand(-1, 512), ramp.expand(512, -1)])
    face = crop(image[None])[0]
    assert face.shape == (3, 150, 150)
    assert face[0, 0, [0, -1]].tolist() == pytest.approx([0.17, 0.83], abs=0.005)
    assert face[1, [0, -1], 0].tolist() == pytest.approx([0.275, 0.935], abs=0.005)


def test_arcface_is_read_back_as_it_was_written(arcface):
    network = load_identity(arcface)
    assert isinstance(network, ArcFace)
    written = torch.load(arcface, weights_only=True)
    assert all(torch.equal(tensor, written[name]) for name, tensor in network.state_dict().items())


def test_arcface_looks_at_its_crop_alone_at_every_size(arcface):
    network = load_identity(arcface)
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    inside = image.clone()
    inside[..., :32], inside[..., 220:], inside[..., :35, :], inside[..., 223:, :] = 0, 0, 0, 0
    with torch.no_grad():
        found, kept = network(torch.cat([image, inside]))
        larger = network(torch.nn.functional.interpolate(image, scale_factor=2))[0]
    torch.testing.assert_close(kept, found)
    torch.testing.assert_close(larger, found, atol=1e-5, rtol=0)
    assert found.norm().item() == pytest.approx(1, abs=1e-5)


def test_arcface_has_the_layers_of_ir_se50(arcface):
    state = torch.load(arcface, weights_only=True)
    blocks = {name.split(".")[1] for name in state if name.startswith("body.")}
    assert len(blocks) == 24
    assert state["body.3.shortcut_layer.0.weight"].shape == (128, 64, 1, 1)
    assert state["body.23.res_layer.5.fc1.weight"].shape == (32, 512, 1, 1)
    assert state["output_layer.3.weight"].shape == (512, 25088)
    assert "body.0.shortcut_layer.0.weight" not in state


@pytest.mark.parametrize("name", list(IDENTITIES))
def test_identity_networks_keep_the_interface(name, tmp_path):
    torch.manual_seed(0)
    kind = IDENTITIES[name]
    path = tmp_path / "weights.safetensors"
    state = kind().state_dict()
    save_file(state, path)
    network = load_identity(path)
    assert type(network) is kind
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert 0 < kind.same < 2
    assert [kind for kind, key in MARKS.items() if key in state] == [name]
    for shape in [(1, 3, 64, 80), (3, 64, 64), (1, 1, 64, 64)]:
        with pytest.raises(UsageError, match=r"expected aligned \(N, 3, S, S\), got \("):
            network(torch.zeros(shape))


# --- files ---------------------------------------------------------------------------------------


def test_keys_must_fit(tmp_path):
    state = load_file(zoo.pull("face-recognition"))
    path = tmp_path / "weights.safetensors"
    save_file({name: t for name, t in state.items() if name != "head.weight"}, path)
    with pytest.raises(TediError, match=r"does not fit FaceRecognition.*head\.weight"):
        load_identity(path)
    save_file(state | {"more": torch.zeros(1)}, path)
    with pytest.raises(TediError, match=r"does not fit FaceRecognition.*more"):
        load_identity(path)
    save_file({"more": torch.zeros(1)}, path)
    with pytest.raises(TediError, match=r"expected an identity network \(arcface, face-api\)"):
        load_identity(path)
    with pytest.raises(UsageError, match="unknown identity network 'arcfaces'; did you mean"):
        load_identity(path, "arcfaces")


def test_files_that_are_no_state_are_told(tmp_path):
    path = tmp_path / "model.pth"
    with pytest.raises(TediError, match=r"model\.pth: not a readable torch file"):
        load_identity(path)
    path.write_bytes(b"no weights")
    with pytest.raises(TediError, match=r"model\.pth: not a readable torch file"):
        load_identity(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(TediError, match="expected a state dict"):
        load_identity(path)
    torch.save({"hook": print}, path)  # code in the file is refused, not run
    with pytest.raises(TediError, match="not a readable torch file"):
        load_identity(path)


def manifest(folder, weights, data):
    path = folder / "face_recognition_model-weights_manifest.json"
    path.write_text(json.dumps([{"weights": weights, "paths": ["a.bin"]}]))
    (folder / "a.bin").write_bytes(data)
    return path


def test_eight_bit_and_float_tensors_are_read(tmp_path):
    coded = {"dtype": "uint8", "scale": 0.5, "min": -1.0}
    weights = [
        {"name": "a", "shape": [3], "dtype": "float32", "quantization": coded},
        {"name": "b", "shape": [1, 2], "dtype": "float32"},
    ]
    data = bytes([0, 2, 255]) + np.array([7.5, -2], "<f4").tobytes()
    found = read_tfjs(manifest(tmp_path, weights, data))
    assert found["a"].tolist() == [-1, 0, 126.5]
    assert found["b"].tolist() == [[7.5, -2]]


def test_broken_models_are_told(tmp_path):
    one = {"name": "a", "shape": [3], "dtype": "int32"}
    for weights, data, reason in [
        ([one], bytes(12), "neither of 8 bits nor float32"),
        ([one | {"dtype": "float32"}], bytes(11), "has 11 bytes, not 12"),
        ([{"shape": [3]}], bytes(12), "not a readable TF.js model"),
    ]:
        with pytest.raises(TediError, match=reason):
            read_tfjs(manifest(tmp_path, weights, data))
    manifest(tmp_path, [one | {"dtype": "float32"}], bytes(12))
    with pytest.raises(TediError, match="not face-api's recognition network"):
        convert_face_api(tmp_path, tmp_path / "out.safetensors")
    with pytest.raises(TediError, match=r"not a readable TF\.js model"):
        convert_face_api(tmp_path / "nowhere", tmp_path / "out.safetensors")


def test_identity_loss_asks_for_a_network():
    with pytest.raises(UsageError, match="expected an identity network, got None"):
        LOSSES["identity"]()


# --- tedi compare --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(faces, tmp_path_factory):
    """Files of the first three persons, and one of the first person again as a JPEG."""
    folder = tmp_path_factory.mktemp("compare")
    for number, picture in enumerate(images.to_pil(faces[:3])):
        picture.save(folder / f"{number}.png")
    jpeg(images.to_pil(faces[:1])[0]).save(folder / "again.jpg")
    return folder


def test_compare_doctests():
    failed, tried = doctest.testmod(compare)
    assert (failed, tried > 0) == (0, True)


def test_compare_says_who_is_who(files, capsys):
    a, b, again = (str(files / name) for name in ("0.png", "1.png", "again.jpg"))
    assert run(["compare", a, again, "--no-align"]) == 0
    assert capsys.readouterr().out.startswith("same person: distance 0.")
    assert run(["compare", a, again, b]) == 0
    same, other = capsys.readouterr().out.splitlines()
    assert same.startswith(f"{again}: same person: distance 0.")
    assert other.startswith(f"{b}: different persons: distance ")


def test_compare_finds_a_face_that_was_moved(files, tmp_path, capsys):
    wide = Image.new("RGB", (700, 500), "gray")
    wide.paste(Image.open(files / "0.png").resize((400, 400)), (250, 60))
    wide.save(tmp_path / "wide.png")
    arguments = ["compare", str(files / "0.png"), str(tmp_path / "wide.png"), "--json"]
    assert run(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["same"] is True
    assert told["distance"] < 0.3 < told["threshold"] == 0.6
    assert told["network"] == "face-recognition"
    assert run([*arguments, "--no-align"]) == 2
    assert "wide.png: expected a square aligned face, got 700 x 500; pass --align" in (
        capsys.readouterr().err
    )


def test_compare_takes_a_user_s_own_network(files, arcface, capsys):
    pair = [str(files / "0.png"), str(files / "0.png")]
    assert run(["compare", *pair, "--no-align", "--network", str(arcface)]) == 0
    assert capsys.readouterr().out == "same person: distance 0.00, below 1.24\n"


def test_compare_is_symmetric(files, capsys):
    found = []
    names = [str(files / name) for name in ("0.png", "1.png", "0.png")]
    for first, other in pairwise(names):
        assert run(["compare", first, other, "--no-align", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["distance"])
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_compare_s_help_examples_run(files, arcface, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture = images.load(files / "0.png")
    for name in ("before", "after", "one", "two", "three", "a", "b"):
        picture.save(f"{name}.png")
    picture.save("photo.jpg")
    Path("model_ir_se50.pth").symlink_to(arcface)
    examples = re.findall(r"^ *tedi (compare .*)$", str(compare.compare.help), re.MULTILINE)
    for example, lines in zip(examples, (1, 3, 1), strict=True):
        assert run(shlex.split(example)) == 0
        assert len(capsys.readouterr().out.splitlines()) == lines


def test_wrong_comparisons_are_one_line(files, tmp_path, capsys):
    Image.new("RGB", (300, 300), "gray").save(tmp_path / "empty.png")
    a, empty, gone = str(files / "0.png"), str(tmp_path / "empty.png"), str(tmp_path / "gone.png")
    for arguments, status, words in [
        ([a], 2, "Missing argument 'OTHERS...'"),
        ([a, empty], 1, "empty.png: no face found; pass --no-align"),
        ([a, gone], 1, "gone.png: no such file"),
        ([a, a, "--face", "1", "--no-align"], 2, "--no-align looks for none"),
        ([a, a, "--face", "2"], 2, "--face 2: "),
        ([a, a, "--network", "face-recognitoin"], 2, "did you mean 'face-recognition'?"),
        ([a, a, "--network", "gone.pth"], 1, "gone.pth: not a readable torch file"),
    ]:
        assert run(["compare", *arguments]) == status, words
        told = capsys.readouterr().err
        assert words in told
        assert told.count("\n") == 1
