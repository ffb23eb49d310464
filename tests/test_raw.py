"""Anybody's weight files: what was saved comes back, nothing runs, nothing costs too much."""

import argparse
import collections
import copy
import datetime
import io
import json
import os
import pathlib
import pickle
import pickletools
import struct
import tarfile
import tracemalloc
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from raw_files import (
    EasyDict,
    Generator,
    checkpoint,
    named,
    nvidia_content,
    rezip,
    write_all,
    write_nvidia,
)
from safetensors.torch import save_file
from torch import nn

from tedi.checkpoints import raw
from tedi.checkpoints.raw import Stub, archive, limits, tensors, values
from tedi.checkpoints.raw.limits import MOST_DEPTH
from tedi.checkpoints.raw.unpickle import _OPERATIONS
from tedi.errors import TediError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "any.suffix"


@pytest.fixture
def content():
    return checkpoint()


def read_pickle(path, value, *, protocol=4, values=True):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return raw.read(path, values=values)


def refusal(path, data=None):
    """The one line that a file is refused with, without its path."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(TediError) as caught:
        raw.read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    assert len(line) < len(str(path)) + 250
    return line.removeprefix(f"{path}: ")


def assert_same(found, expected):
    """Equal in structure, type, shape, bits."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert not found.requires_grad
        assert torch.equal(found, expected.detach())
    else:
        assert found == expected


# --- containers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("container", ["torch zip", "torch legacy"])
def test_torch_files_come_back(path, content, container, protocol):
    new = container == "torch zip"
    torch.save(content, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    found = raw.read(path)
    assert_same(found.value, content)
    assert (found.container, found.foreign, found.source) == (container, (), False)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_come_back(path, content, protocol):
    found = read_pickle(path, content, protocol=protocol)
    assert_same(found.value, content)
    assert (found.container, found.foreign, found.metadata) == ("pickle", (), {})


def test_safetensors_come_back_with_their_metadata(path):
    tensors = {"a": torch.randn(2, 3), "b": torch.tensor(3), "c": torch.zeros(0, 4).half()}
    save_file(tensors, path, {"kind": "test"})
    found = raw.read(path)
    assert_same(dict(sorted(found.value.items())), tensors)
    assert (found.container, found.metadata) == ("safetensors", {"kind": "test"})


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_come_back(path, save):
    with path.open("wb") as file:
        save(file, mean=np.arange(4.0), names=np.array([["a", "bc"]]), one=np.int64(3))
    found = raw.read(path)
    mean, one = torch.arange(4, dtype=torch.float64), torch.tensor(3)
    assert_same(found.value, {"mean": mean, "names": [["a", "bc"]], "one": one})
    assert found.container == "npz"


def test_every_container_is_told_by_content_and_read_without_values(tmp_path):
    for name, file in write_all(tmp_path).items():
        plain = file.rename(tmp_path / "no-suffix")
        with_values, without = raw.read(plain), raw.read(plain, values=False)
        assert with_values.container == without.container, name
        found, expected = list(tensors_of(without.value)), list(tensors_of(with_values.value))
        assert [(t.shape, t.dtype) for t in found] == [(t.shape, t.dtype) for t in expected]
        assert {t.device.type for t in found} == {"meta"}, name


def tensors_of(value):
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Stub):
        yield from tensors_of(value.state)
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from tensors_of(item)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_network_of_nvidia_comes_back_without_its_source(path, protocol):
    content = nvidia_content()
    write_nvidia(path, content, protocol=protocol)
    found = raw.read(path)
    network = found.value["G_ema"]
    assert found.source
    assert {
        "dnnlib.util.EasyDict",
        "torch_utils.persistence._reconstruct_persistent_obj",
        "torch.nn.modules.container.ModuleList",
    } <= set(found.foreign)
    assert (network.name, network.args) == ("Generator", ())
    kwargs = {"width": 8, "channels": 4, "mapping_kwargs": {"num_layers": 2}}
    assert network.state["_init_kwargs"] == kwargs
    assert found.value["training_set_kwargs"] == {"path": "/data/x.zip"}
    assert_same(raw.state_dict(network), content["G_ema"].state_dict())
    assert "TEDI_CANARY" not in repr(found.value)
    assert "TEDI_CANARY" not in os.environ


@pytest.mark.parametrize("new", [True, False])
def test_a_whole_module_comes_back(path, new):
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Sequential(nn.BatchNorm2d(3), nn.PReLU()))
    torch.save({"G": module}, path, _use_new_zipfile_serialization=new)
    found = raw.read(path)
    assert_same(raw.state_dict(found.value["G"]), module.state_dict())
    assert found.value["G"].name == "torch.nn.modules.container.Sequential"
    assert "torch.nn.modules.activation.PReLU" in found.foreign
    assert not found.source


def test_a_network_of_nvidia_in_a_torch_file_comes_back(path):
    network = Generator()
    memory = io.BytesIO()
    from raw_files import _reconstruct_persistent_obj

    with (
        named("pti.torch_utils.persistence", _reconstruct_persistent_obj),
        named("pti.dnnlib.util", EasyDict),
    ):
        torch.save(network, memory)
    path.write_bytes(memory.getvalue())
    found = raw.read(path)
    assert_same(raw.state_dict(found.value), network.state_dict())
    assert found.source


def test_a_network_of_tensorflow_is_told_and_its_source_dropped(path):
    Network = type("Network", (), {})
    network = Network()
    network.__dict__ = {"version": 4, "build_module_src": "import os", "variables": [("a", 1)]}
    with named("dnnlib.tflib.network", Network):
        data = pickle.dumps((network, network))
    path.write_bytes(data)
    found = raw.read(path)
    assert found.source
    assert found.value[0].name == "dnnlib.tflib.network.Network"
    assert found.value[0].state == {"version": 4, "build_module_src": "", "variables": [("a", 1)]}
    assert found.value[0] is found.value[1]


def test_a_storage_that_is_deflated_is_read(path, content):
    torch.save(content, path)
    rezip(path, path.with_name("packed"), method=zipfile.ZIP_DEFLATED)
    assert_same(raw.read(path.with_name("packed")).value, content)


def test_bytes_of_a_big_endian_machine_are_turned(path):
    kinds = (torch.float32, torch.int16, torch.complex64, torch.bool, torch.bfloat16)
    content = [torch.arange(3).to(kind) for kind in kinds]
    torch.save(content, path)
    turned = {}
    for i, (tensor, width) in enumerate(zip(content, (4, 2, 4, 1, 2), strict=True)):
        flat = tensor.view(torch.uint8).numpy().reshape(-1, width)
        turned[f"data_{i}"] = flat[:, ::-1].tobytes()
    rezip(path, path.with_name("big"), byteorder=b"big", **turned)
    for found, expected in zip(raw.read(path.with_name("big")).value, content, strict=True):
        assert_same(found, expected)
    rezip(path, path.with_name("odd"), byteorder=b"middle")
    assert "byte order is b'middle'" in refusal(path.with_name("odd"))


# --- tensors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("values", [True, False])
def test_what_shared_memory_shares_it_again(path, new, values):
    whole = torch.arange(12.0)
    torch.save(
        {"whole": whole, "part": whole[2:8].view(2, 3).T, "again": whole, "other": whole.clone()},
        path,
        _use_new_zipfile_serialization=new,
    )
    found = raw.read(path, values=values).value
    memory = {name: tensor.untyped_storage()._cdata for name, tensor in found.items()}
    assert memory["whole"] == memory["part"] == memory["again"] != memory["other"]
    assert (found["part"].stride(), found["part"].storage_offset()) == ((1, 3), 2)
    if values:
        found["whole"][2] = -1
        assert found["part"][0, 0] == -1


def test_tied_modules_stay_one(path):
    write_nvidia(path, nvidia_content())
    state = raw.read(path).value["G_ema"].state["_modules"]
    assert state["tied"] is state["blocks"].state["_modules"]["0"]


NAMES = "float64 float32 float16 bfloat16 complex64 complex128 bool int64 int32 int16 int8 uint8"
DTYPES = [getattr(torch, name) for name in f"{NAMES} uint16 uint32 uint64 float8_e4m3fn".split()]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_number_comes_back(path, dtype):
    tensor = torch.tensor([0, 1, 3, 120]).to(dtype)
    torch.save(tensor, path)
    found = raw.read(path).value
    assert found.dtype == dtype
    assert found.view(torch.uint8).tolist() == tensor.view(torch.uint8).tolist()


def test_a_tensor_with_attributes_comes_back_without_them(path):
    parameter = nn.Parameter(torch.randn(3))
    parameter.note = "x"
    torch.save([parameter, nn.Parameter(torch.randn(2), requires_grad=False)], path)
    found = raw.read(path)
    assert_same(found.value[0], parameter)
    assert found.foreign == ()


def test_tensors_of_odd_shapes_come_back(path):
    tensors = {"none": torch.zeros(0, 3), "one": torch.tensor(2.0), "wide": torch.ones(1).expand(9)}
    torch.save(tensors, path)
    assert_same(raw.read(path).value, tensors)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch._utils._rebuild_qtensor, "a quantised tensor"),
        (torch.eye(3).to_sparse(), "a sparse tensor"),
        (torch.ones(2, dtype=torch.complex64).conj(), "conjugated or negated lazily"),
        (torch.ones(2, device="meta"), "a tensor without values"),
    ],
)
def test_tensors_that_are_not_read_are_named(path, tensor, words):
    torch.save({"a": tensor}, path)
    assert refusal(path).startswith("holds a")
    assert words in refusal(path)


def write_torch(path, *arguments, count=6, build="_rebuild_tensor_v2"):
    """A torch zip whose one tensor has these arguments after its storage."""

    class Claim:
        def __reduce__(self):
            return getattr(torch._utils, build), (
                torch.arange(float(count))._typed_storage(),
                *arguments,
            )

    torch.save(Claim(), path)


EMPTY = (False, collections.OrderedDict())
LAUGHS: tuple = ()
for _ in range(60):  # small, until it is written out, as in a message
    LAUGHS = (LAUGHS, LAUGHS)


@pytest.mark.parametrize(
    "arguments",
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (-1, (2,), (1,)),
        (7, (0,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (3,), (-1,)),
        (0, (-3,), (1,)),
        (0, (2, 3), (1,)),
        (0, (True,), (1,)),
        (0, (2.0,), (1,)),
        (0, ("2",), (1,)),
        (0, (2,), ("1",)),
        (0, (2,), ({},)),
        (0, (LAUGHS,), (1,)),
        (0, (2,), (LAUGHS,)),
        (0, (2,), (1 << 60,)),
        (1 << 70, (2,), (1,)),
        (0, (1,) * 40, (1,) * 40),
        (0, (1 << 40, 1 << 40), (0, 0)),
        (0, (0, 1 << 40, 1 << 40), (0, 0, 0)),
        ("0", (2,), (1,)),
        (0, [2], [1]),
    ],
)
def test_a_tensor_that_reaches_outside_its_values_is_refused(path, arguments):
    write_torch(path, *arguments, *EMPTY)
    assert refusal(path).startswith(("damaged; a tensor", "refused; a tensor"))


@pytest.mark.parametrize("values", [True, False])
def test_absurdly_expanded_tensors_are_refused(path, values):
    write_torch(path, 0, (10**6, 10**6), (0, 0), *EMPTY)
    with pytest.raises(TediError, match="its tensors span more than four times its size"):
        raw.read(path, values=values)
    write_torch(path, 0, (1000, 1000), (0, 0), *EMPTY)
    assert raw.read(path, values=values).value.shape == (1000, 1000)


def test_many_expanded_tensors_are_refused_together(path):
    one = torch.ones(1).expand(1000, 1000)
    torch.save([one.view(1000, 1000) for _ in range(100)], path)
    assert "its tensors span more than" in refusal(path)


# --- numpy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", ">i2", "<i8", "|b1", "|u1", "<c8", ">u4"])
def test_arrays_come_back(path, kind, order, values):
    array = np.arange(6).reshape(2, 3).astype(kind, order=order)
    native = torch.from_numpy(array.astype(np.dtype(kind).newbyteorder("="), order="C"))
    with path.open("wb") as file:
        np.save(file, array)
    found = [raw.read(path, values=values).value]
    for protocol in (0, 2, 4, 5):
        found.append(read_pickle(path, array, protocol=protocol, values=values).value)
    for tensor in found:
        assert (tensor.shape, tensor.dtype) == ((2, 3), native.dtype)
        assert tensor.is_contiguous()
        assert not values or torch.equal(tensor, native)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_objects_and_texts_are_lists(path, order):
    objects = np.empty((2, 3), dtype=object, order=order)
    objects[:] = [[1, "a", None], [2.5, {"k": np.ones(2)}, (1, 2)]]
    texts = np.array([["a", "bc", "é"], ["", "d", "e"]], order=order)
    for protocol in (2, 4):
        found = read_pickle(path, {"o": objects, "t": texts}, protocol=protocol).value
        inner = found["o"][1].pop(1)["k"]
        assert found["o"] == [[1, "a", None], [2.5, (1, 2)]]
        assert torch.equal(inner, torch.ones(2, dtype=torch.float64))
        assert found["t"] == [["a", "bc", "é"], ["", "d", "e"]]


def test_an_object_in_an_array_is_itself(path):
    told = {"boundary": np.ones((1, 2)), "meta_data": {"manipulate_layers": [0, 1]}}
    with path.open("wb") as file:
        np.save(file, np.array(told, dtype=object), allow_pickle=True)
    found = raw.read(path)
    assert found.container == "npy"
    assert found.value["meta_data"] == {"manipulate_layers": [0, 1]}
    assert found.value["boundary"].shape == (1, 2)


def test_scalars_of_numpy_are_pythons(path):
    scalars = [np.float32(0.5), np.int64(3), np.bool_(True), np.str_("é"), np.complex64(1j)]
    found = read_pickle(path, scalars).value
    assert found == [0.5, 3, True, "é", 1j]
    assert [type(value) for value in found] == [float, int, bool, str, complex]


def test_bytes_that_are_no_truth_become_one(path):
    with path.open("wb") as file:
        np.save(file, np.array([True, False]))
    path.write_bytes(path.read_bytes()[:-2] + b"\x07\x00")
    assert raw.read(path).value.view(torch.uint8).tolist() == [1, 0]
    torch.save(torch.tensor([True, False]), path)
    rezip(path, path.with_name("odd"), data_0=b"\x07\x00")
    assert raw.read(path.with_name("odd")).value.view(torch.uint8).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(2, dtype=[("a", "f4")]), "array of 'V4'"),
        (np.zeros(2, dtype="M8[s]"), "array of 'M8'"),
        (np.zeros(2, dtype="V3"), "array of 'V3'"),
    ],
)
def test_arrays_that_are_not_read_are_named(path, array, words):
    assert words in refusal(path, pickle.dumps(array))
    with path.open("wb") as file:
        np.save(file, array)
    assert refusal(path).startswith("holds a numpy array of")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -1), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 'x', }",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '<U999999999', 'fortran_order': False, 'shape': (0,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (10000000000000,), }",
        "__import__('os').system('true')",
        "(" * 5000,
        "[" * 3000 + "]" * 3000,
        "'\\d'",
        "",
    ],
    ids=lambda header: header[:30],
)
def test_a_damaged_header_of_an_array_is_refused(path, header):
    text = header.encode()
    data = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + b"\0" * 64
    assert refusal(path, data).startswith(("damaged", "cut short", "holds a numpy array of"))


def test_a_checksum_of_an_npz_is_checked(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(1000))
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    assert "'a.npy' in its zip is not whole" in refusal(path, bytes(data))


# --- plain values --------------------------------------------------------------------------------

PLAIN = {
    "none": None,
    "truth": [True, False],
    "numbers": [0, 255, 65_535, -1, -(2**31), 2**70, -(2**200), 0.1, float("inf")],
    "texts": ["", "é\n\\u0041'\"", "x" * 300, "y" * 70_000],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "nested": {"a": {"b": [{}, []]}, 3: 1.5, None: 0, True: 2},
    "bytes": [b"", b"\x80x", b"z" * 300, bytearray(b"ab"), bytearray()],
    "complex": 1 + 2j,
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_back(path, protocol):
    assert read_pickle(path, PLAIN, protocol=protocol).value == PLAIN


@pytest.mark.parametrize("protocol", range(6))
def test_kin_of_lists_and_dicts_become_them(path, protocol):
    kin = {
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
        "counter": collections.Counter("aab"),
        "deque": collections.deque([1, 2], maxlen=3),
        "set": {1},
        "frozen": frozenset([2]),
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda:1"),
        "dtype": torch.float16,
        "layout": torch.strided,
    }
    found = read_pickle(path, kin, protocol=protocol)
    assert found.foreign == ()
    assert found.value == {
        "ordered": {"a": 1},
        "default": {"a": [1]},
        "counter": {"a": 2, "b": 1},
        "deque": [1, 2],
        "set": [1],
        "frozen": [2],
        "size": (2, 3),
        "device": "cuda:1",
        "dtype": "torch.float16",
        "layout": "torch.strided",
    }
    assert {type(value) for value in found.value.values()} == {dict, list, tuple, str}


@pytest.mark.parametrize("protocol", range(6))
def test_objects_become_stubs(path, protocol):
    options = argparse.Namespace(size=256, path=pathlib.PurePosixPath("/a/b"))
    found = read_pickle(path, [options, datetime.date(2024, 1, 2), slice(1, 2)], protocol=protocol)
    settings, day, part = found.value
    path_ = Stub("pathlib.PurePosixPath", ("/", "a", "b"), None)
    assert settings == Stub("argparse.Namespace", (), {"size": 256, "path": path_})
    assert (day.name, part) == ("datetime.date", Stub("builtins.slice", (1, 2, None), None))
    assert found.foreign == (
        "argparse.Namespace",
        "builtins.slice",
        "datetime.date",
        "pathlib.PurePosixPath",
    )


class Thing:
    """Somebody's class."""

    def __init__(self, **parts):
        self.__dict__.update(parts)


class Items(dict):
    pass


class Row(list):
    pass


@pytest.mark.parametrize("protocol", range(6))
def test_objects_of_unknown_classes_become_stubs(path, protocol):
    items, row = Items(a=1), Row([1, 2])
    items.note = "x"
    with named("somebody.code", Thing, Items, Row):
        data = pickle.dumps([Thing(a=1), items, row, Thing], protocol=protocol)
    path.write_bytes(data)
    found = raw.read(path)
    thing, items, row, kind = found.value
    assert thing == Stub("somebody.code.Thing", (), {"a": 1})
    assert items == Stub("somebody.code.Items", (), {"note": "x", "a": 1})
    assert row == Stub("somebody.code.Row", (), [1, 2])
    assert kind == Stub("somebody.code.Thing", (), None)
    assert set(found.foreign) == {f"somebody.code.{name}" for name in ("Thing", "Items", "Row")}


def test_pickles_of_python_2_come_back(path):
    """Texts and arrays as Python 2 wrote them, which Python 3 does not."""
    assert raw_of(path, b"(lp0\nS'a\\xe9\\n'\np1\naI01\naL12L\naF0.5\na.").value == [
        "aé\n",
        True,
        12,
        0.5,
    ]
    array = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"
        b"(K\1K\2\x85cnumpy\ndtype\nU\x02f4K\0K\1\x87R(K\3U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\0tb\x89U\x08\0\0\x80?\0\0\0@tb."
    )
    assert torch.equal(raw_of(path, array).value, torch.tensor([1.0, 2.0]))
    spread = b"c__builtin__\nxrange\n(K\0K\3K\1tR."
    assert raw_of(path, spread).value == Stub("builtins.range", (0, 3, 1), None)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1L, 2L), }"
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(8)
    assert raw_of(path, array).value.shape == (1, 2)
    old = b"\x80\x02(isomebody\nOld\n}U\x01aK\1sb."
    assert raw_of(path, old).value == Stub("somebody.Old", (), {"a": 1})
    assert raw_of(path, b"\x80\x02(csomebody\nOld\nK\1o.").value == Stub("somebody.Old", (1,), None)


def raw_of(path, data):
    path.write_bytes(data)
    return raw.read(path)


def test_every_opcode_is_known():
    """The list of Python's own documentation of them."""
    assert {*_OPERATIONS, ord(".")} == {ord(code.code) for code in pickletools.opcodes}


# --- nothing runs --------------------------------------------------------------------------------


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


CALLS = {
    f"{os.system.__module__}.system": (os.system, "touch ran"),
    "os.mkdir": None,
    "builtins.eval": (eval, "1"),
    "builtins.exec": (exec, "open('ran', 'w')"),
    "builtins.getattr": (getattr, "a", "b"),
    "builtins.print": (print, "x"),
    "builtins.open": None,
    "io.open": (open, "ran", "w"),
    "pathlib.Path.write_text": None,
    "functools.partial": (partial, print),
    "pickle.loads": None,
    "torch.serialization.load": (torch.load, "x"),
    "torch.hub.load": (torch.hub.load, "x"),
    "numpy.load": (np.load, "x"),
    "somebody.function": None,
    "types.FunctionType": None,
    "operator.attrgetter": None,
    "torch.serialization.os.system": None,
    "torch.jit._script.os": None,
    "__builtin__.eval": None,
}


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", CALLS)
def test_what_calls_something_is_refused_by_name(path, monkeypatch, name, protocol):
    monkeypatch.chdir(path.parent)
    if CALLS[name]:
        data = pickle.dumps({"a": [Calls(*CALLS[name])]}, protocol=protocol)
    else:
        module, _, attribute = name.rpartition(".")
        data = f"c{module}\n{attribute}\n(S'ran'\ntR.".encode()
    words = refusal(path, data)
    assert words.startswith("refused; its pickle asks for '")
    name = name.replace("__builtin__", "builtins")
    assert f"'{name}'" in words.replace("'_io.", "'io.")
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


@pytest.mark.parametrize(
    "name",
    ["posix.system", "os.environ", "builtins.exec", "torch.hub.os.environ", "cPickle.loads"],
)
def test_the_standard_library_is_refused_when_it_is_only_named(path, name):
    module, _, attribute = name.rpartition(".")
    for stream in (f"c{module}\n{attribute}\n.", f"(i{module}\n{attribute}\n."):
        assert refusal(path, stream.encode()).endswith(f"asks for '{name}', which is no data")


@pytest.mark.parametrize("save", ["torch", "legacy", "npy", "npz", "nvidia"])
def test_a_call_is_refused_in_every_container(path, monkeypatch, save):
    monkeypatch.chdir(path.parent)
    evil = {"weights": torch.ones(2), "more": Calls(os.mkdir, "ran")}
    with path.open("wb") as file:
        if save == "npy":
            np.save(file, np.array(evil, dtype=object), allow_pickle=True)
        elif save == "npz":
            np.savez(file, a=np.array(evil, dtype=object))
        elif save != "nvidia":
            torch.save(evil, file, _use_new_zipfile_serialization=save == "torch")
    if save == "nvidia":
        write_nvidia(path, evil)
    assert refusal(path).endswith(".mkdir', which is no data")
    assert not (path.parent / "ran").exists()


def test_a_call_within_a_storage_of_a_pickle_is_refused(path):
    inner = io.BytesIO()
    torch.save(Calls(os.mkdir, "ran"), inner, _use_new_zipfile_serialization=False)
    data = pickle.dumps(Calls(torch.storage._load_from_bytes, inner.getvalue()))
    assert refusal(path, data).endswith(".mkdir', which is no data")


@pytest.mark.parametrize(
    "stream",
    [b"Pid\n.", b"K\1Q.", b"\x82\1.", b"\x83\1\0.", b"\x84\1\0\0\0.", b"\x97.", b"N\x98."],
)
def test_objects_outside_the_file_are_refused(path, stream):
    assert "an object outside the file" in refusal(path, b"\x80\x05" + stream)


# --- bounds --------------------------------------------------------------------------------------

PROTO = b"\x80\x04"


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\1btR"
STATE = b"(K\1K\1\x85cnumpy\ndtype\n\x8c\2u1\x85R\x89C\1atb"


LONG = b"X" + struct.pack("<I", 10**4) + b"x" * 10**4


def grown(times, of=b"\x94", *, start=b"]"):
    """Each level a tuple of two of the level before."""
    return PROTO + start + of + b"".join(b"h%c2\x86\x94" % i for i in range(times)) + b"."


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PROTO + b"]\x94h\0a.", "a list in it holds itself"),
        (PROTO + b"}\x94\x8c\1ah\0s.", "a dict in it holds itself"),
        (PROTO + b"]\x94h\0\x85\x94a.", "a list in it holds itself"),
        (PROTO + b"]" * 5000 + b"a" * 4999 + b".", f"deeper than {MOST_DEPTH} levels"),
        (PROTO + b"]" + b"\x85" * 10**5 + b".", f"deeper than {MOST_DEPTH} levels"),
        (grown(60), "unfolds to more than"),
        (grown(16, start=b"\x8d" + struct.pack("<Q", 10**5) + b"x" * 10**5), "unfolds to"),
        (PROTO + b"\x8b\xff\xff\xff\x7f.", "a whole number of 2,147,483,647 bytes"),
        (PROTO + b"\x8d" + b"\xff" * 8 + b"x.", "cut short or damaged"),
        (PROTO + b"\x8e" + b"\xff" * 8 + b"x.", "cut short or damaged"),
        (PROTO + b"\x96" + b"\xff" * 8 + b"x.", "cut short or damaged"),
        (PROTO + b"\x95" + b"\xff" * 8 + b"N.", "cut short or damaged"),
        (PROTO + b"X\xff\xff\xff\xffx.", "cut short or damaged"),
        (b"(I" + b"9" * 10_000 + b"\n.", "a number that is none"),
        (b"(Ix\n.", "a number that is none"),
        (b"(F1_\n.", "a number that is none"),
        (b"(S'a\n.", "a text without quotes"),
        (b"(V\\ud800\n.", "a text that is none"),
        (PROTO + b"\x8c\1\xff.", "a text that is none"),
        (PROTO + b"\x8c\3\xed\xa0\x80.", "a text that is none"),
        (PROTO + b".", "takes more than it has put down"),
        (PROTO + b"(0.", "takes more than it has put down"),
        (PROTO + b"N(a.", "takes more than it has put down"),
        (PROTO + b"Nt.", "has no mark"),
        (PROTO + b"h\7.", "recalls 7"),
        (PROTO + b"\xff.", "byte 2 of its pickle is no opcode"),
        (b"\x80\x05N.N", "1 bytes follow its pickle"),
        (PROTO + b"NNa.", "appends to what is no list"),
        (PROTO + b"NNNs.", "a key of what is no dict"),
        (PROTO + b"}(Nu.", "a key of what is no dict"),
        (PROTO + b"NNb.", "a state to what has none"),
        (PROTO + b"NNR.", "calls what is no function"),
        (PROTO + b"N)\x81.", "an object of what is no class"),
        (PROTO + b"K\1K\2\x93.", "a name that is no text"),
        (PROTO + LONG + LONG + b"\x93.", "a name that is none"),
        (PROTO + b"ctorch\ndevice\n" + LONG + b"K\1\x86R.", "torch.device with arguments"),
        (b"(F" + b"1" * 10_000 + b"\n.", "a number that is none"),
        (PROTO + b"\x8c\2a\nN\x8c\1b\x93.", "a name that is no text"),
        (PROTO + b"csomebody\nThing\n)\x81K\1bK\2b.", "builds somebody.Thing twice"),
        (PROTO + ARRAY + STATE + STATE + b".", "without a type, or built twice"),
        (PROTO + ARRAY + b".", "a numpy array without a type"),
        (PROTO + b"}K\1K\2sK\1K\3s.", "the key 1 is there twice"),
        (PROTO + b"})Ns.", "a key of a dict is a tuple"),
        (PROTO + b"}]Ns.", "a key of a dict is a list"),
        (PROTO + b"}\x8a\x10" + b"\1" * 16 + b"Ns.", "a number of more than 64 bits"),
        (b"\x80\x09N.", "is no safetensors, torch, pickle"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_that_is_no_good_ends_in_one_line(path, data, words):
    assert words in refusal(path, data)


def test_steps_are_counted(path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_STEPS", 1000)
    assert "more than 1,000 steps" in refusal(path, PROTO + b"N0" * 500 + b"N.")
    assert raw_of(path, PROTO + b"N0" * 400 + b"N.").value is None
    pairs = b"".join(b"M" + struct.pack("<H", i) + b"N\x86" for i in range(200))
    stream = PROTO + b"ccollections\nOrderedDict\n\x940](" + pairs + b"e\x94"
    assert len(raw_of(path, stream + b"h\0h\1\x85R.").value) == 200
    assert "more than 1,000 steps" in refusal(path, stream + b"h\0h\1\x85R0" * 5 + b".")
    stream = PROTO + b"ccollections\nCounter\n\x94}(" + pairs.replace(b"N\x86", b"N") + b"u\x94"
    assert "more than 1,000 steps" in refusal(path, stream + b"h\0h\1\x85R0" * 5 + b".")


def test_an_object_that_holds_itself_is_cut_where_it_would_come_again(path):
    """As settings do that know their parent; a walk over the stubs ends."""
    thing = Thing(name="a")
    thing.parent = {"of": thing}
    with named("somebody.code", Thing):
        data = pickle.dumps(thing)
    path.write_bytes(data)
    cut = Stub("somebody.code.Thing", (), None)
    assert raw.read(path).value == Stub(
        "somebody.code.Thing", (), {"name": "a", "parent": {"of": cut}}
    )


def test_a_module_within_itself_has_no_state_dict(path):
    module = nn.Sequential(nn.Linear(1, 1))
    module._modules["again"] = module
    torch.save(module, path)
    with pytest.raises(TediError, match=r"^again\.: expected a pickled module, got torch\.nn"):
        raw.state_dict(raw.read(path).value)


def test_one_storage_read_again_and_again_is_refused(path):
    """A small file must not ask for much work by naming a large part of itself many times."""
    inner = io.BytesIO()
    torch.save(torch.zeros(2**20)._typed_storage(), inner, _use_new_zipfile_serialization=False)
    load = b"ctorch.storage\n_load_from_bytes\n\x94h\0\x85R"
    part = b"B" + struct.pack("<I", inner.tell()) + inner.getvalue() + b"\x940"
    again = b"h\1h\0\x85R0" * 100
    data = PROTO + part + load + again + b"."
    assert "unfolds to more than four times its size" in refusal(path, data)


def test_one_text_turned_into_bytes_again_and_again_is_refused(path):
    text = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"\x940"
    data = PROTO + text
    state = b"(K\1K\1\x85cnumpy\ndtype\n\x8c\2u1\x85R\x89h\0tb0"
    assert "unfolds to more than four times" in refusal(path, data + (ARRAY + state) * 80 + b"N.")
    encoded = b"c_codecs\nencode\nh\0\x8c\6latin1\x86R0"
    assert "unfolds to more than four times" in refusal(path, data + encoded * 80 + b"N.")


def test_one_state_given_to_many_objects_is_refused(path, monkeypatch):
    """Each of them would be a copy of it."""
    monkeypatch.setattr(values, "MOST_STEPS", 10_000)
    state = b"}(" + b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(2000)) + b"u\x940"
    made = b"csomebody\nThing\n)\x81h\0b\x8c\1aNs"
    assert len(raw_of(path, PROTO + state + made + b".").value.state) == 2001
    assert "unfolds to more than 10,000 values" in refusal(
        path, PROTO + state + b"(" + made * 10 + b"t."
    )


def test_entries_that_overlap_are_counted_each(path):
    """Many large storages of one place in the file, of each of which little is asked for."""
    torch.save([torch.zeros(1) for _ in range(60)], path)
    with zipfile.ZipFile(path) as old:
        pickled = old.read(next(name for name in old.namelist() if name.endswith(".pkl")))
    for memo in (b"q", b"r"):
        pickled = pickled.replace(b"K\1t" + memo, b"J\0\0\x08\0t" + memo)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", pickled)
        file.writestr("a/data/0", bytes(4 << 19))
        for i in range(1, 60):
            again = copy.copy(file.filelist[-1])
            again.filename = f"a/data/{i}"
            file.filelist.append(again)
    assert "unfolds to more than four times its size" in refusal(path)


def test_torch_files_within_torch_files_are_bounded(path):
    value = torch.zeros(2)._typed_storage()
    for _ in range(4):
        inner = io.BytesIO()
        torch.save(value, inner, _use_new_zipfile_serialization=False)
        value = Calls(torch.storage._load_from_bytes, inner.getvalue())
    assert "torch files within torch files" in refusal(path, pickle.dumps(value))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(path):
    with path.open("wb") as file:
        np.savez_compressed(file, a=np.zeros(2**27, dtype=np.uint8))
    assert path.stat().st_size < 10**6
    data = bytearray(path.read_bytes())
    tracemalloc.start()
    assert "unfolds to more than four times its size" in refusal(path)
    at = data.rindex(b"PK\1\2")
    data[at + 24 : at + 28] = struct.pack("<I", 100)
    assert "'a.npy' in its zip is not whole" in refusal(path, bytes(data))
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_entries_that_lie_about_their_size_are_refused(path):
    with path.open("wb") as file:
        np.savez_compressed(file, a=np.zeros(5000))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\1\2")
    for size in (100, 10**9):
        data[at + 24 : at + 28] = struct.pack("<I", size)
        assert refusal(path, bytes(data)).startswith(("cut short", "refused; it unfolds"))


def test_two_entries_of_one_name_are_refused(path):
    path.write_bytes(zip_of("a.npy", "b.npy").replace(b"b.npy", b"a.npy"))
    assert "its zip holds 'a.npy' twice" in refusal(path)


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "nvidia.pkl", "arrays.npz", "object.npy"])
def test_a_file_that_is_cut_short_says_so(tmp_path, name):
    file = write_all(tmp_path)[name]
    data = file.read_bytes()
    for share in (0.5, 0.9, 0.99):
        assert refusal(file, data[: int(len(data) * share)]).startswith("cut short or damaged; ")


def test_a_storage_that_is_shorter_than_it_says_is_refused(path):
    torch.save({"a": torch.zeros(100)}, path)
    rezip(path, path.with_name("short"), data_0=b"\0" * 396)
    assert "'archive/data/0' is not 100 values long" in refusal(path.with_name("short")).replace(
        "any/", "archive/"
    )
    rezip(path, path.with_name("gone"), data_0=None)
    assert "its zip lacks" in refusal(path.with_name("gone"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"", b"x", "1 bytes follow its last storage"),
        (b"\x03\0\0\0\0\0\0\0", b"\x04\0\0\0\0\0\0\0", "a storage is not whole"),
        (b"e.", b"X\1\0\0\0xe.", "without its list of storages"),
        (b"M\xe9\x03.", b"M\xea\x03.", "of another version than 1001"),
    ],
)
def test_a_damaged_legacy_file_is_refused(path, old, new, words):
    torch.save([torch.ones(3), torch.zeros(3)], path, _use_new_zipfile_serialization=False)
    before, _, after = path.read_bytes().rpartition(old) if old else (path.read_bytes(), 0, b"")
    assert words in refusal(path, before + new + after)


def test_a_storage_listed_twice_is_refused(path):
    torch.save([torch.ones(3), torch.zeros(3)], path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    keys = pickle.loads(data[data.rindex(b"\x80\x02]") :])
    again = data.rpartition(keys[1].encode())
    words = refusal(path, again[0] + keys[0].encode() + again[2])
    assert "lists a storage that no tensor names" in words


def test_a_storage_of_two_types_is_refused(path):
    torch.save([torch.ones(3), torch.ones(3, dtype=torch.int32)], path)
    with zipfile.ZipFile(path) as old:
        pickled = old.read(next(name for name in old.namelist() if name.endswith("data.pkl")))
    one_key = pickled.replace(b"X\1\0\0\x001q", b"X\1\0\0\x000q")
    rezip(path, path.with_name("both"), data_pkl=one_key)
    assert "one storage is named with two types" in refusal(path.with_name("both"))


def test_a_packed_storage_that_lies_about_its_size_is_refused(path):
    torch.save(torch.arange(1000.0), path)
    packed = path.with_name("packed")
    rezip(path, packed, method=zipfile.ZIP_DEFLATED, data_0=bytes(3996))
    data = packed.read_bytes().replace(struct.pack("<I", 3996), struct.pack("<I", 4000))
    assert "is not whole" in refusal(packed, data)


def test_large_zips_are_read(path, monkeypatch):
    """Their directory has wider numbers, beyond 4 GB; here from 100 bytes on."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    with path.open("wb") as file:
        np.savez(file, a=np.arange(100), b=np.arange(3))
    data = bytearray(path.read_bytes())
    assert data.count(b"PK\6\6") == 1
    data[-14:-2] = b"\xff" * 12  # "look there": numbers of entries, size and place of the directory
    path.write_bytes(data)
    assert_same(raw.read(path).value, {"a": torch.arange(100), "b": torch.arange(3)})


def test_the_parts_of_a_file_are_counted(path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_ENTRIES", 2)
    assert "its zip holds 3 files" in refusal(path, zip_of("a", "b", "c"))
    monkeypatch.setattr(tensors, "LONGEST_HEADER", 10)
    assert "without its whole header" in refusal(path, header_of(a=F4))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}" + b" " * 10_000
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + bytes(4)
    assert "without its header" in refusal(path, array)


def test_objects_that_do_not_fit_their_header_are_refused(path):
    with path.open("wb") as file:
        np.save(file, np.array([{}, {}], dtype=object), allow_pickle=True)
    data = path.read_bytes()
    assert "its objects are no array (3,)" in refusal(path, data.replace(b"(2,)", b"(3,)"))
    assert "its objects are no array (2,)" in refusal(path, data + b"x")


def test_values_are_left_alone_when_only_shapes_are_asked_for(path):
    """What cannot be unpacked does not matter then."""
    torch.save({"a": torch.zeros(1000)}, path)
    packed = path.with_name("packed")
    rezip(path, packed, method=zipfile.ZIP_DEFLATED)
    data = bytearray(packed.read_bytes())
    start = data.index(b"data/0") + 6
    data[start : start + 4] = b"\xff" * 4
    assert "is not whole" in refusal(packed, bytes(data))
    assert raw.read(packed, values=False).value["a"].shape == (1000,)


def header_of(**told):
    text = json.dumps(told).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 16


F4 = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header_of(a=F4 | {"shape": [5]}), "place of 'a' does not fit"),
        (header_of(a=F4 | {"shape": [-4]}), "what are no lengths"),
        (header_of(a=F4 | {"shape": [10**12, 10**12]}), "shape"),
        (header_of(a=F4 | {"data_offsets": [8, 24]}), "place of 'a' does not fit"),
        (header_of(a=F4 | {"dtype": "Q4"}), "'a' of 'Q4', which is not read"),
        (header_of(a=F4, b=F4), "overlap"),
        (header_of(a=F4 | {"shape": [2], "data_offsets": [8, 16]}), "gaps"),
        (header_of(a=F4 | {"shape": [2], "data_offsets": [0, 8]}), "no tensor's"),
        (header_of(a=F4 | {"shape": [10**30]}), "more than 20 digits"),
        (header_of(a=F4, __metadata__={"a": 1}), "metadata are no texts"),
        (header_of(a=[]), "place of 'a' does not fit"),
        (struct.pack("<Q", 50) + b'{"a": 1', "without its whole header"),
        (struct.pack("<Q", 8) + b'{"a": 1x' + b"\0" * 8, "header is no JSON"),
        (struct.pack("<Q", 12) + b'{"a":1,"a":2}', "something twice"),
        (struct.pack("<Q", 80_005) + b'{"a":' + b"[" * 80_000, "header is no JSON"),
    ],
)
def test_damaged_safetensors_are_refused(path, data, words):
    if words == "something twice":
        data = struct.pack("<Q", 13) + data[8:]
    assert words in refusal(path, data)


# --- other files ---------------------------------------------------------------------------------


def tar_of(*names):
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return memory.getvalue()


def zip_of(*names):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return memory.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"\0" * 4096, "is all zeros; the download broke"),
        (b"\x1f\x8b\x08" + b"x" * 99, "packed as gzip"),
        (tar_of("G.pkl"), "packed as tar"),
        (tar_of("sys_info", "pickle", "storages"), "torch's oldest format"),
        (zip_of("a/G.pt", "a/README"), "is a zip of 2 files ('a/G.pt'); unpack it"),
        (zip_of(), "is a zip of 0 files ('nothing')"),
        (b"\x89HDF\r\n\x1a\n" + b"x" * 99, "is HDF5"),
        (b"\x08\x07\x12\x07pytorch\x1a\x052.0.1:", "is ONNX"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "run git lfs pull"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "is a web page, not the weights"),
        (b"\n <html><body>", "is a web page"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 99, "is a picture"),
        (b"just some text.\n", "is no safetensors, torch, pickle, npy or npz file"),
        (b'{"a": 1}', "is no safetensors, torch, pickle, npy or npz file"),
        (b"PK\3\4" + b"x" * 200, "it is a zip whose directory is not whole"),
        (b"x", "is no safetensors"),
        (b"\x80", "is no safetensors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_called_by_their_name(path, data, words):
    assert words in refusal(path, data)


def test_torchscript_is_told_with_the_way_out(path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)
    assert "is TorchScript" in refusal(path)
    assert "save its state_dict()" in refusal(path)


def test_what_is_no_file_is_told(path):
    assert "cannot be read (No such file" in refusal(path)
    assert "is a folder" in refusal(path.parent)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    assert "is no ordinary file" in refusal(path)


# --- modules -------------------------------------------------------------------------------------


def module_stub(**changed):
    state = {"_parameters": {"weight": torch.ones(2)}, "_buffers": {}, "_modules": {}} | changed
    return Stub("somebody.Layer", (), state)


def test_buffers_outside_the_state_dict_stay_outside():
    buffers = {"kept": torch.ones(1), "scratch": torch.ones(1), "absent": None}
    stub = module_stub(_buffers=buffers, _non_persistent_buffers_set=["scratch"])
    assert list(raw.state_dict(stub)) == ["weight", "kept"]


@pytest.mark.parametrize(
    ("stub", "words"),
    [
        (Stub("somebody.Options", (), {"a": 1}), "value: expected a pickled module, got somebody"),
        (torch.ones(1), "value: expected a pickled module, got Tensor"),
        (module_stub(_modules={"a": torch.ones(1)}), r"a\.: expected a pickled module"),
        (module_stub(_parameters={"a": 1}), "a: expected one tensor of that name, got int"),
        (module_stub(_buffers={"weight": torch.ones(1)}), "weight: expected one tensor"),
        (module_stub(_parameters={"\n": 1}), r"^'\\n': expected one tensor"),
        (module_stub(_parameters=[1]), "_parameters: expected names, got list"),
        (module_stub(_buffers={1: torch.ones(1)}), "_buffers: expected names"),
    ],
)
def test_what_is_no_module_has_no_state_dict(stub, words):
    with pytest.raises(TediError, match=words):
        raw.state_dict(stub)
