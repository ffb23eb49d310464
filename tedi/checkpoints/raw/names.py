"""Which names a pickle may ask for, and what stands for them.

Nothing that is named is ever imported or called, so nothing can run. Names are refused for another
reason: what asks for them is no weight file. The rule, in this order:

1. A name of `BUILDERS` is rebuilt by the function given here: containers, tensors, arrays, paths.
2. A name of `DTYPES`, `STORAGES` or `REFERENCES` is a constant.
3. Any other name of the standard library is refused as soon as it is named, and so is a name that
   reaches for one of `REACHES` through another module: "posix.system", "builtins.eval".
4. What is left is somebody's own. As the class of an object it becomes a `Stub`; named alone it
   becomes a `Stub` without state. Called like a function it is refused.
5. Quantised, sparse and nested tensors are refused by name.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from tedi.checkpoints.raw.limits import BadFileError, Reading
from tedi.checkpoints.raw.values import (
    DTYPES,
    Array,
    DType,
    Name,
    Object,
    Storage,
    View,
    latin1,
    text,
)

Builder = Callable[[Reading, tuple[Any, ...]], Any]

STORAGES: dict[str, torch.dtype] = {
    **{
        f"torch.{place}{name}Storage": DTYPES[f"torch.{dtype}"]
        for place in ("", "cuda.")
        for name, dtype in {
            **{"Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16"},
            **{"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"},
            **{"Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128"},
        }.items()
    },
    "torch.storage.UntypedStorage": torch.uint8,
}

STANDARD_LIBRARY = (sys.stdlib_module_names - {"typing"}) | {  # annotations, in pickled settings
    *("__builtins__", "cPickle", "commands", "distutils", "exceptions", "imp", "popen2", "urllib2"),
}
REACHES = frozenset(
    [
        *("os", "posix", "nt", "sys", "subprocess", "importlib", "builtins", "__builtins__"),
        *("ctypes", "shutil", "socket", "pickle", "eval", "exec", "system", "popen"),
        *("__import__", "__globals__"),
    ]
)
REFERENCES = frozenset(  # named as the class of something that is rebuilt
    [
        *("builtins.object", "builtins.tuple", "builtins.str", "builtins.unicode"),
        *("builtins.int", "builtins.float", "builtins.bool"),
        *("numpy.ndarray", "torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"),
    ]
)
_RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "pathlib._local": "pathlib"}
_UNREAD = {
    "torch._utils._rebuild_qtensor": "a quantised tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without values",
    **{
        f"torch.{name}Storage": "a quantised tensor"
        for name in ("QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")
    },
}
_LONGEST = 500  # characters of a dotted name


def find(module: Any, name: Any, reading: Reading) -> Name:
    """The stand-in for a name; what plain data does not need is put into `reading.foreign`.

    Raises:
        BadFileError: refused by the rule above, or no name.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise BadFileError("damaged; its pickle asks for a name that is no text")
    if not (is_name(module) and is_name(name)):
        raise BadFileError("damaged; its pickle asks for a name that is none")
    known = _canonical(module, name)
    if known in _UNREAD:
        raise BadFileError(f"holds {_UNREAD[known]} ({known}), which is not read")
    if known in PLAIN or known in DTYPES or known in STORAGES or known in REFERENCES:
        return Name(known)
    if known not in BUILDERS and _is_refused(known):
        raise refused(known)
    reading.foreign.add(known)
    return Name(known)


def is_name(text: str) -> bool:
    """Whether a text may be the name of a class: it can be shown in one line."""
    return 0 < len(text) <= _LONGEST and text.isprintable()


def refused(dotted: str) -> BadFileError:
    """The error for a name that has no business in weights."""
    return BadFileError(f"refused; its pickle asks for {dotted[:100]!r}, which is no data")


def _canonical(module: str, name: str) -> str:
    """One spelling for what changed its place between versions, and for copies of libraries."""
    module = _RENAMED.get(module, module).replace("numpy._core", "numpy.core")
    dotted = f"{module}.{name}"
    for known in (PERSISTENT, EASY_DICT):
        if dotted.endswith(f".{known}"):
            return known
    return "builtins.range" if dotted == "builtins.xrange" else dotted


def _is_refused(dotted: str) -> bool:
    parts = dotted.split(".")
    return parts[0] in STANDARD_LIBRARY or not REACHES.isdisjoint(parts)


def call(function: Any, args: Any, reading: Reading) -> Any:
    """What a function would have given, by own code.

    Raises:
        BadFileError: the function is none of `BUILDERS`, or its arguments do not fit.
    """
    if not isinstance(function, Name) or not isinstance(args, tuple):
        raise BadFileError("damaged; its pickle calls what is no function")
    builder = BUILDERS.get(function.dotted)
    if builder is None:
        raise refused(function.dotted)
    return builder(reading, args)


def new(kind: Any, args: Any) -> Any:
    """An object of a class without a word of how it is made: a `Stub` to be, or a dict.

    Raises:
        BadFileError: it is no class.
    """
    if not isinstance(kind, Name) or not isinstance(args, tuple):
        raise BadFileError("damaged; its pickle makes an object of what is no class")
    if kind.dotted in _DICTS and not args:
        return {}
    if kind.dotted in BUILDERS and kind.dotted not in OBJECTS:
        raise BadFileError(f"damaged; its pickle makes an object of {kind.dotted}")
    return Object(kind.dotted, args)


# --- builders ------------------------------------------------------------------------------------


def _misfit(name: str) -> BadFileError:
    return BadFileError(f"damaged; {name} with arguments that do not fit")


def _dict(reading: Reading, args: tuple[Any, ...]) -> dict[Any, Any]:
    """collections.OrderedDict and its kin; of a defaultdict's factory nothing is kept."""
    if args and (args[0] is None or isinstance(args[0], Name)):
        args = args[1:]
    match args:
        case ():
            return {}
        case (dict(items),):
            reading.step(len(items))
            return dict(items)
        case (list(pairs),):
            reading.step(len(pairs))
            made: dict[Any, Any] = {}
            for pair in pairs:
                if not isinstance(pair, list | tuple) or len(pair) != 2:
                    raise _misfit("a dict")
                put(made, pair[0], pair[1])
            return made
    raise _misfit("a dict")


def put(target: dict[Any, Any], key: Any, value: Any) -> None:
    """Set a key that is not there yet.

    Only scalars are keys: the hash of a tuple of tuples can take for ever.

    Raises:
        BadFileError: it is there, or it is no text, number or truth.
    """
    if key is not None and not isinstance(key, str | bytes | bool | int | float):
        kind = key.dotted if isinstance(key, Name) else type(key).__name__
        raise BadFileError(f"refused; a key of a dict is a {kind}, expected texts or numbers")
    if isinstance(key, int) and key.bit_length() > 64:
        raise BadFileError("refused; a key of a dict is a number of more than 64 bits")
    if key in target:
        raise BadFileError(f"damaged; the key {key!r:.80} is there twice")
    target[key] = value


def _items(reading: Reading, args: tuple[Any, ...]) -> list[Any]:
    """builtins.set and its kin: a list, in the order of the file."""
    match args:
        case ():
            return []
        case (list(items) | tuple(items), *_):
            reading.step(len(items))
            return list(items)
    raise _misfit("a set")


def _encode(reading: Reading, args: tuple[Any, ...]) -> bytes:
    """Bytes, as they are written into pickles of protocol 2: text of Latin-1."""
    match args:
        case ():
            return b""
        case (bytes(data),):
            return data
        case (memoryview() as data,):
            reading.copy(len(data))
            return bytes(data)
        case (str(letters), "latin1" | "latin-1"):
            return latin1(letters, reading)
    raise _misfit("bytes")


def _complex(reading: Reading, args: tuple[Any, ...]) -> complex:
    match args:
        case (int(real) | float(real), int(imaginary) | float(imaginary)):
            return complex(real, imaginary)
    raise _misfit("a complex number")


def _object(name: str, reading: Reading, args: tuple[Any, ...]) -> Object:
    return Object(name, args)


def _reconstructor(reading: Reading, args: tuple[Any, ...]) -> Any:
    """An object as protocols 0 and 1 write it: its class, the class below that, and its items."""
    match args:
        case (Name() as kind, Name(base), state):
            made = new(kind, ())
            if isinstance(made, dict) and isinstance(state, dict):
                return _dict(reading, (state,))
            if isinstance(made, Object) and isinstance(state, dict | list):
                made.items = state
            elif isinstance(made, Object) and base != "builtins.object":
                made.args = (state,)
            return made
    raise _misfit("an object")


def _newobj(reading: Reading, args: tuple[Any, ...]) -> Any:
    return new(args[0] if args else None, args[1:])


def _persistent(reading: Reading, args: tuple[Any, ...]) -> Object:
    """An object of NVIDIA's persistence: its class's name and state; the source is dropped."""
    match args:
        case ({"class_name": str(name), "state": state} as meta,) if is_name(name):
            reading.source |= bool(meta.get("module_src"))
            return Object(name, (), state)
    raise _misfit("a persistent object")


# --- torch ---------------------------------------------------------------------------------------


def _tensor(reading: Reading, args: tuple[Any, ...]) -> View:
    """_rebuild_tensor, _v2 and _v3: a window onto a storage; hooks and gradients are left."""
    match args:
        case (Storage() as storage, int(offset), tuple(size), tuple(stride)):
            return View(storage, offset, size, stride, storage.dtype)
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), _, _):
            return View(storage, offset, size, stride, storage.dtype)
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), _, _, dict() | None):
            _no_bits(args[6])
            return View(storage, offset, size, stride, storage.dtype)
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), _, _, Name(d), *rest):
            if d in DTYPES and len(rest) <= 1:
                _no_bits(rest[0] if rest else None)
                return View(storage, offset, size, stride, DTYPES[d])
    raise _misfit("a tensor")


def _no_bits(metadata: Any) -> None:
    if metadata is not None and (not isinstance(metadata, dict) or any(metadata.values())):
        raise BadFileError("holds a tensor that is conjugated or negated lazily, which is not read")


def _parameter(reading: Reading, args: tuple[Any, ...]) -> View | Array:
    match args:
        case (View() | Array() as data, *_):
            return data
    raise _misfit("a parameter")


def _of_type(reading: Reading, args: tuple[Any, ...]) -> Any:
    """A tensor of a class of its own, or with attributes: the tensor, without them."""
    match args:
        case (Name(function), Name(), tuple(inner), *_) if function in _TENSORS:
            return BUILDERS[function](reading, inner)
    raise _misfit("a tensor")


def _from_array(reading: Reading, args: tuple[Any, ...]) -> Array:
    match args:
        case (Array() as data, Name(), str(), *_):
            return data
    raise _misfit("a tensor")


def _size(reading: Reading, args: tuple[Any, ...]) -> tuple[Any, ...]:
    match args:
        case (tuple(size),):
            return size
        case (list(size),):
            reading.step(len(size))
            return tuple(size)
    raise _misfit("torch.Size")


def _device(reading: Reading, args: tuple[Any, ...]) -> str:
    match args:
        case (str(kind),):
            return kind
        case (str(kind), int(index)) if len(kind) < 32 and 0 <= index < 1 << 16:
            return f"{kind}:{index}"
    raise _misfit("torch.device")


def _layout(reading: Reading, args: tuple[Any, ...]) -> str:
    match args:
        case (str(name),):
            return name
    raise _misfit("a layout")


def _load_bytes(reading: Reading, args: tuple[Any, ...]) -> Any:
    match args:
        case ((bytes() | memoryview()) as data,):
            return reading.nested(memoryview(data), reading)
    raise _misfit("a torch file within the pickle")


# --- numpy ---------------------------------------------------------------------------------------


def _blank(reading: Reading, args: tuple[Any, ...]) -> Array:
    match args:
        case (Name(kind), _, _) if kind.startswith("numpy."):
            return Array()
    raise _misfit("a numpy array")


def _from_buffer(reading: Reading, args: tuple[Any, ...]) -> Array:
    """A numpy array as protocol 5 writes it."""
    match args:
        case (data, DType() as dtype, tuple(shape), ("C" | "F") as order):
            made = Array()
            made.fill(shape, dtype, order == "F", data, reading)
            return made
    raise _misfit("a numpy array")


def _dtype(reading: Reading, args: tuple[Any, ...]) -> DType:
    match args:
        case (str(code), *_):
            return DType(code)
    raise _misfit("a numpy type")


def _scalar(reading: Reading, args: tuple[Any, ...]) -> Any:
    """A numpy number or text, as Python's own."""
    match args:
        case (DType() as dtype, (bytes() | memoryview() | str()) as data):
            if not dtype.code.startswith("O") and len(data) == dtype.numpy.itemsize > 0:
                reading.copy(len(data))
                data = latin1(data, reading) if isinstance(data, str) else data
                if dtype.is_text:
                    return text(bytes(data), dtype.numpy)
                return np.frombuffer(data, dtype.numpy).tolist()[0]
    raise _misfit("a numpy number")


PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
EASY_DICT = "dnnlib.util.EasyDict"
_PLAIN_DICTS = ("collections.OrderedDict", "collections.defaultdict", "collections.Counter")
_DICTS = (*_PLAIN_DICTS, EASY_DICT)
_TENSORS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_array,
}
PLAIN: dict[str, Builder] = {
    **dict.fromkeys(_PLAIN_DICTS, _dict),
    **_TENSORS,
    "builtins.dict": _dict,
    "builtins.set": _items,
    "builtins.frozenset": _items,
    "builtins.list": _items,
    "collections.deque": _items,
    "builtins.bytes": _encode,
    "builtins.bytearray": _encode,
    "_codecs.encode": _encode,
    "builtins.complex": _complex,
    "copyreg._reconstructor": _reconstructor,
    "copyreg.__newobj__": _newobj,
    "torch._tensor._rebuild_from_type_v2": _of_type,
    "torch.storage._load_from_bytes": _load_bytes,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _blank,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
}
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")
OBJECTS: dict[str, Builder] = {
    name: partial(_object, name)
    for name in (
        *(f"pathlib.{kind}" for kind in _PATHS),
        *(f"datetime.{kind}" for kind in ("datetime", "date", "time", "timedelta", "timezone")),
        *("builtins.slice", "builtins.range", "argparse.Namespace"),
    )
}
BUILDERS: dict[str, Builder] = {**PLAIN, **OBJECTS, EASY_DICT: _dict, PERSISTENT: _persistent}
