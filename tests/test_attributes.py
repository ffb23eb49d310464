"""Attributes as columns against loops over groups, and the model that reads them off pictures."""

import doctest
import json
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import TEDIFACES
from safetensors import safe_open

from tedi import attributes
from tedi.checkpoints import native
from tedi.checkpoints.efficientnet import convert_lite0
from tedi.encoders.attributes import FEATURES, AttributeModel, Conv, fold_batch_norms
from tedi.errors import TediError
from tedi.grammar import ATTRIBUTES

V, G = len(attributes.COLUMNS), len(attributes.GROUPS)
SPANS = list(attributes.SPANS.values())


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.double)


def column(group: str, value: attributes.Value) -> int:
    return attributes.COLUMNS.index((group, value))


# --- columns -------------------------------------------------------------------------------------


def test_doctests():
    failed, tried = doctest.testmod(attributes)
    assert (failed, tried > 0) == (0, True)


def test_every_column_lies_in_the_span_of_its_group():
    assert [s.start for s in SPANS[1:]] == [s.stop for s in SPANS[:-1]]
    assert (SPANS[0].start, SPANS[-1].stop, len(SPANS)) == (0, V, G)
    for number, (group, values) in enumerate(attributes.GROUPS.items()):
        span = attributes.SPANS[group]
        assert attributes.COLUMNS[span] == [(group, value) for value in values]
        assert (attributes.MEMBER[span] == number).all()


def test_groups_are_the_schema():
    words = [f"background {word}" for word in ATTRIBUTES["background"]]
    names = [name for name in ATTRIBUTES if name != "background"]
    assert list(attributes.GROUPS) == names + words
    assert all(attributes.GROUPS[name] == ATTRIBUTES[name] for name in names)
    assert {attributes.GROUPS[word] for word in words} == {(False, True)}


def test_sums_and_spread_against_a_loop():
    values = numbers(2, 3, V)
    sums = attributes.group_sums(values)
    expected = torch.stack([values[..., span].sum(dim=-1) for span in SPANS], dim=-1)
    torch.testing.assert_close(sums, expected)
    wide = attributes.spread(sums)
    assert wide.shape == values.shape
    for number, span in enumerate(SPANS):
        assert (wide[..., span] == sums[..., number, None]).all()


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_log_softmax_is_that_of_each_group(scale):
    logits = (numbers(2, 3, V) * scale).requires_grad_()
    found = attributes.log_softmax(logits)
    expected = torch.cat([logits[..., span].log_softmax(dim=-1) for span in SPANS], dim=-1)
    torch.testing.assert_close(found, expected)
    weights = numbers(2, 3, V, seed=1)
    gradients = [torch.autograd.grad((x * weights).sum(), logits)[0] for x in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_fit_is_the_log_of_the_allowed_share():
    log_p = attributes.log_softmax(numbers(4, V))
    allowed = torch.rand(3, V, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    found = attributes.fit(log_p[None], allowed[:, None])
    assert found.shape == (3, 4, G)
    for text in range(3):
        for face in range(4):
            for number, span in enumerate(SPANS):
                share = sum(log_p[face, span].exp() * allowed[text, span])
                torch.testing.assert_close(found[text, face, number], share.log())
    assert (found < 0).all()


def test_fit_at_its_ends():
    """0 where a text is silent; a face that shows what it rules out is not infinitely far."""
    log_p = attributes.log_softmax(numbers(2, V))
    silent = attributes.fit(log_p, torch.ones(V).double())
    torch.testing.assert_close(silent, torch.zeros(2, G).double(), atol=1e-12, rtol=0)
    against = attributes.fit(log_p, torch.zeros(V).double())
    assert (against < -10).all()
    assert against.isfinite().all()


# --- faces and captions --------------------------------------------------------------------------


def faces(count: int) -> list[dict]:
    with (TEDIFACES / "faces.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(next(lines)) for _ in range(count)]


def test_a_face_has_one_value_in_each_group():
    for face in faces(60):
        labels = attributes.labels_of(face)
        assert labels.shape == (V,)
        assert set(labels.tolist()) == {0, 1}
        assert (attributes.group_sums(labels) == 1).all()
        for name in set(attributes.GROUPS) & set(face):
            assert labels[column(name, face[name])] == 1


def test_words_of_a_background_are_groups_of_their_own():
    face = faces(1)[0] | {"background": "blurred blue outdoor"}
    labels = attributes.labels_of(face)
    words = {"blurred", "blue", "outdoor"}
    for word in ATTRIBUTES["background"]:
        assert labels[column(f"background {word}", True)] == (word in words), word


def test_a_caption_agrees_with_what_it_does_not_rule_out():
    says = {"smile": frozenset({"slight", "broad"}), "hat": frozenset({True})}
    allowed = attributes.allowed_by(says | {"background": frozenset({"blue", "sky"})})
    ruled_out = {attributes.COLUMNS[i] for i in (allowed == 0).nonzero()[:, 0].tolist()}
    backgrounds = {("background blue", False), ("background sky", False)}
    assert ruled_out == {("smile", "none"), ("hat", False)} | backgrounds
    assert (attributes.allowed_by({}) == 1).all()


def test_a_face_fits_what_is_said_of_it_alone():
    for face in faces(20):
        labels = attributes.labels_of(face)
        says = {name: frozenset({face[name]}) for name in ATTRIBUTES if name != "background"}
        assert (attributes.group_sums(labels * attributes.allowed_by(says)) == 1).all()
        wrong = says | {"hat": frozenset({not face["hat"]})}
        missed = attributes.group_sums(labels * attributes.allowed_by(wrong)) == 0
        assert [list(attributes.GROUPS)[i] for i in missed.nonzero()[:, 0].tolist()] == ["hat"]


# --- the attribute model -------------------------------------------------------------------------

# Table 1 of Tan and Le (2019): expansion, kernel, stride of the first, channels, layers.
TABLE = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
LAYERS = [
    (t, k, s if nth == 0 else 1, c) for t, k, s, c, n in TABLE for nth in range(n)
]  # one row a block


def released() -> dict[str, torch.Tensor]:
    """A state under the names of the released file, with batch norms, of random numbers."""
    random = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def put(conv: str, norm: str, enter: int, leave: int, kernel: int) -> None:
        weight = torch.randn(leave, enter, kernel, kernel, generator=random)
        state[f"{conv}.weight"] = weight * (2 / (enter * kernel**2)) ** 0.5
        state[f"{norm}.weight"] = 1 + 0.3 * torch.randn(leave, generator=random)
        state[f"{norm}.bias"] = 0.3 * torch.randn(leave, generator=random)
        state[f"{norm}.running_mean"] = 0.3 * torch.randn(leave, generator=random)
        state[f"{norm}.running_var"] = 0.5 + torch.rand(leave, generator=random)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    put("_conv_stem", "_bn0", 3, 32, 3)
    enter = 32
    for number, (expansion, kernel, _, leave) in enumerate(LAYERS):
        at, wide = f"_blocks.{number}.", enter * expansion
        if expansion > 1:
            put(f"{at}_expand_conv", f"{at}_bn0", enter, wide, 1)
        put(f"{at}_depthwise_conv", f"{at}_bn1", 1, wide, kernel)
        put(f"{at}_project_conv", f"{at}_bn2", wide, leave, 1)
        enter = leave
    put("_conv_head", "_bn1", enter, FEATURES, 1)
    return state | {"_fc.weight": torch.zeros(1000, FEATURES), "_fc.bias": torch.zeros(1000)}


def same(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """TensorFlow's padding: as many outputs as ceil(size / stride), the odd pixel at the end."""
    size = x.shape[-1]
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return F.pad(x, [total // 2, total - total // 2] * 2)


def reference(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Pooled features by the network as it was released, batch norms and all."""

    def unit(x, conv, norm, *, stride=1, act=True):
        weight = state[f"{conv}.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = F.conv2d(same(x, weight.shape[-1], stride), weight, stride=stride, groups=groups)
        moments = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        x = F.batch_norm(x, *moments, state[f"{norm}.weight"], state[f"{norm}.bias"], eps=1e-3)
        return x.clamp(0, 6) if act else x

    x = unit(x, "_conv_stem", "_bn0", stride=2)
    for number, (expansion, _, stride, _) in enumerate(LAYERS):
        at, y = f"_blocks.{number}.", x
        if expansion > 1:
            y = unit(y, f"{at}_expand_conv", f"{at}_bn0")
        y = unit(y, f"{at}_depthwise_conv", f"{at}_bn1", stride=stride)
        y = unit(y, f"{at}_project_conv", f"{at}_bn2", act=False)
        x = x + y if stride == 1 and x.shape == y.shape else y
    return unit(x, "_conv_head", "_bn1").mean(dim=(2, 3))


@torch.inference_mode()
def test_a_converted_file_computes_what_the_released_network_does(tmp_path):
    state, image = released(), torch.rand(1, 3, 224, 224) * 2 - 1
    torch.save(state, tmp_path / "lite0.pth")
    convert_lite0(tmp_path / "lite0.pth", tmp_path / "lite0.safetensors")
    folded, metadata = native.read(tmp_path / "lite0.safetensors")
    assert metadata["architecture"] == "efficientnet-lite0"
    model = AttributeModel().eval()
    head = {name: t for name, t in model.state_dict().items() if name.startswith("head")}
    model.load_state_dict(folded | head)
    expected = reference(state, image)
    assert expected.std() > 0.05
    torch.testing.assert_close(model.features(image), expected, atol=1e-3, rtol=1e-3)


def test_a_folded_norm_is_a_norm_after_a_convolution():
    state = released()
    folded = fold_batch_norms(state)
    assert not any("fc" in name for name in folded)
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(3))
    kept = F.conv2d(x, folded["stem.weight"], folded["stem.bias"])
    plain = F.conv2d(x, state["_conv_stem.weight"])
    moments = state["_bn0.running_mean"], state["_bn0.running_var"]
    normed = F.batch_norm(plain, *moments, state["_bn0.weight"], state["_bn0.bias"], eps=1e-3)
    torch.testing.assert_close(kept, normed, atol=1e-5, rtol=1e-4)


def other(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    state = released() | changes
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save({"weight": torch.zeros(3)}, path),
        lambda path: torch.save(other(**{"_bn0.running_var": None}), path),
        lambda path: torch.save(other(**{"_conv_head.weight": torch.zeros(9, 320, 1, 1)}), path),
        lambda path: torch.save(other(**{"_blocks.9._project_conv.weight": None}), path),
        lambda path: path.write_bytes(b"no such thing"),
        lambda path: path.write_bytes(b""),
        lambda path: None,
    ],
    ids=["another network", "no norm", "other shape", "a part lacks", "garbage", "empty", "none"],
)
def test_another_network_is_not_converted(tmp_path, write):
    file, out = tmp_path / "other.pth", tmp_path / "out.safetensors"
    write(file)
    with pytest.raises(TediError, match=r"other\.pth: (not|its tensors are not)"):
        convert_lite0(file, out)
    assert not out.exists()


@pytest.fixture(scope="module")
def model() -> AttributeModel:
    torch.manual_seed(0)
    return AttributeModel().eval().requires_grad_(False)


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (75, 101)], ids=str)
def test_any_size_of_picture_is_read(model, size):
    image = torch.rand(1, 3, *size) * 2 - 1
    maps = model.maps(image)
    assert [tuple(m.shape[2:]) for m in maps] == [(s, s) for s in (56, 28, 14, 7)]
    assert [m.shape[1] for m in maps] == [24, 40, 112, 320]
    logits = model.head(F.relu6(model.top(maps[-1])).mean(dim=(2, 3)))
    if size[0] == 75:
        assert model.features(image).shape == (1, FEATURES)
        assert model(image).shape == (1, V)
        torch.testing.assert_close(model(image), logits)


def test_padding_of_a_stride_is_below_and_to_the_right():
    """A picture of one bright corner: with TensorFlow's padding the first one counts in full."""
    conv = Conv(1, 1, 3, stride=2)
    torch.nn.init.ones_(conv.weight)
    torch.nn.init.zeros_(conv.bias)
    image = torch.zeros(2, 1, 4, 4)
    image[0, 0, 0, 0] = image[1, 0, 3, 3] = 1
    first, last = conv(image)[:, 0]
    assert first.tolist() == [[1, 0], [0, 0]]
    assert last.tolist() == [[0, 0], [0, 1]]
    middle = torch.zeros(1, 1, 4, 4)
    middle[0, 0, 2, 2] = 1  # seen by all four windows only if they start at 0 and 2
    assert conv(middle)[0, 0].tolist() == [[1, 1], [1, 1]]


def test_the_zoo_names_what_the_file_is_converted_by():
    from tedi import zoo
    from tedi.registry import resolve

    entry = zoo.ZOO["efficientnet-lite0"]
    assert resolve(entry.convert) is convert_lite0
    assert re.fullmatch("[0-9a-f]{64}", entry.sha256)


def test_a_model_comes_back_from_its_file(model, tmp_path):
    from safetensors.torch import save_file

    path = Path(tmp_path / "model.safetensors")
    save_file({n: t.half() for n, t in model.state_dict().items()}, path, metadata={"a": "b"})
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("head.weight").dtype == torch.half
    again = native.load_attribute_model(path)
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(again.head.weight, model.head.weight.half().float())
    save_file({"head.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(TediError, match="does not fit AttributeModel"):
        native.load_attribute_model(path)
