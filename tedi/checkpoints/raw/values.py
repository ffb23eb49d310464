"""What an unpickler leaves, and how it becomes plain values.

Nothing is built while a pickle is walked: names, objects, arrays and tensors are noted down as the
small classes below, and `resolve` makes plain values of them when the whole file has been seen.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tedi.checkpoints.raw.limits import MOST_DEPTH, MOST_STEPS, BadFileError, Reading

MOST_DIMENSIONS = 16
_LARGEST = 1 << 48  # elements along an axis, and of a shape; products stay far below 2**63
_NUMBERS = re.compile(r"b1|i[1248]|u[1248]|f[248]|c8|c16")
_TEXTS = re.compile(r"[SU]\d{1,6}")

DTYPES: dict[str, torch.dtype] = {
    f"torch.{name}": dtype
    for name in (
        *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
    if isinstance(dtype := getattr(torch, name, None), torch.dtype)
}


@dataclass(frozen=True)
class Stub:
    """An object of a class that is not on this machine or not to be built; nothing of it was run.

    Attributes:
        name: of its class, dotted: "training.networks.Generator", "argparse.Namespace".
        args: what its class would have been called with.
        state: what `__setstate__` or `__dict__` would have got, items of a dict or list included;
            None for a class that is only named, and where an object lies within itself.
    """

    name: str
    args: tuple[Any, ...]
    state: Any


# --- what an unpickler notes down ----------------------------------------------------------------


@dataclass(frozen=True)
class Name:
    """A class or function that a pickle names."""

    dotted: str


class Object:
    """An object of a class that stays unknown; its parts come one after the other."""

    __slots__ = ("args", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...], state: Any = None) -> None:
        self.name, self.args, self.state = name, args, state
        self.items: dict[Any, Any] | list[Any] | None = None

    def own_items(self, empty: dict[Any, Any] | list[Any]) -> dict[Any, Any] | list[Any]:
        """Its items, if it is a dict or a list; it becomes one by the first."""
        if self.items is None:
            self.items = empty
        return self.items


class DType:
    """The type of a numpy array's elements: "f4" and, once it is known, their byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, order: str = "<") -> None:
        self.code, self.order = code, order
        if code not in ("O", "O8", "O4") and not self.is_number and not self.is_text:
            raise BadFileError(f"holds a numpy array of {code[:40]!r}, which is not read")

    @property
    def is_number(self) -> bool:
        return _NUMBERS.fullmatch(self.code) is not None

    @property
    def is_text(self) -> bool:
        return _TEXTS.fullmatch(self.code) is not None

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy type, for numbers and texts."""
        return np.dtype(f"{self.order}{self.code}")


class Array:
    """A numpy array: its layout, and its elements as bytes, or as a list of objects."""

    __slots__ = ("data", "dtype", "fortran", "shape")

    def __init__(self) -> None:
        self.dtype: DType | None = None
        self.shape: tuple[int, ...] = ()
        self.fortran = False
        self.data: memoryview | bytes | list[Any] = b""

    def fill(self, shape: Any, dtype: Any, fortran: Any, data: Any, reading: Reading) -> None:
        """Set all at once.

        Raises:
            BadFileError: it has been filled, or these are no parts of an array.
        """
        if isinstance(data, str):
            data = latin1(data, reading)
        if self.dtype is not None or not isinstance(dtype, DType):
            raise BadFileError("damaged; a numpy array without a type, or built twice")
        if not isinstance(data, list if dtype.code[0] == "O" else (bytes, memoryview)):
            raise BadFileError("damaged; a numpy array without its elements")
        self.shape = checked_shape(shape)
        self.dtype, self.fortran, self.data = dtype, bool(fortran), data


class Storage:
    """Elements of one type in a row; they are fetched when a tensor first needs them.

    Args:
        dtype: of the elements.
        count: of the elements.
        swap: whether their bytes are in big-endian order.
        fetch: gives their bytes, all of them; a legacy torch file tells later where they are.
    """

    def __init__(
        self,
        dtype: torch.dtype,
        count: int,
        *,
        swap: bool = False,
        fetch: Callable[[], memoryview | bytes] | None = None,
    ) -> None:
        self.dtype, self.count, self.swap, self.fetch = dtype, count, swap, fetch
        self._flat: Tensor | None = None

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize

    def flat(self, reading: Reading) -> Tensor:
        """All elements (count,); the same memory each time."""
        if self._flat is None:
            self._flat = self._read(reading)
        return self._flat

    def _read(self, reading: Reading) -> Tensor:
        if not reading.values:
            return torch.empty(self.count, dtype=self.dtype, device="meta")
        if self.fetch is None:
            raise BadFileError("cut short or damaged; a tensor has no values")
        reading.copy(self.nbytes)
        return numbers(self.fetch()[: self.nbytes], self.dtype, swap=self.swap)


@dataclass(frozen=True, eq=False)
class View:
    """A tensor: a strided window onto a storage. `make` checks that it stays inside."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def make(self, reading: Reading) -> Tensor:
        """The tensor; others of the same storage share its memory.

        Raises:
            BadFileError: it reaches outside its storage, or spans too much.
        """
        elements = self.storage.nbytes // self.dtype.itemsize
        self._check(elements)
        reading.fill(math.prod(self.size) * self.dtype.itemsize)
        flat = self.storage.flat(reading)
        if self.dtype != flat.dtype:
            flat = flat.view(torch.uint8)[: elements * self.dtype.itemsize].view(self.dtype)
        return flat.as_strided(self.size, self.stride, self.offset)

    def _check(self, elements: int) -> None:
        size = checked_shape(self.size)
        if len(self.stride) != len(size) or not all(map(_is_length, self.stride)):
            raise BadFileError(f"damaged; a tensor {size} with strides that do not fit")
        last = self.offset + sum((n - 1) * s for n, s in zip(size, self.stride, strict=True))
        if not 0 <= self.offset <= elements or (0 not in size and last >= elements):
            raise BadFileError(
                f"damaged; a tensor {size} at {self.offset} reaches outside its {elements:,} values"
            )


def checked_shape(shape: Any) -> tuple[int, ...]:
    """A shape of whole numbers that can be multiplied without harm.

    Raises:
        BadFileError: it is none.
    """
    if not isinstance(shape, tuple) or len(shape) > MOST_DIMENSIONS:
        raise BadFileError(f"damaged; a tensor has no shape of up to {MOST_DIMENSIONS} axes")
    if not all(map(_is_length, shape)):
        raise BadFileError("damaged; a tensor has a shape of what are no lengths")
    if math.prod(n for n in shape if n) > _LARGEST:
        raise BadFileError(f"refused; a tensor has the absurd shape {shape!r:.80}")
    return shape


def _is_length(number: Any) -> bool:
    return type(number) is int and 0 <= number <= _LARGEST


def latin1(text: str, reading: Reading) -> bytes:
    """The bytes that a text of Python 2, or `_codecs.encode`, stands for.

    Raises:
        BadFileError: it has other characters.
    """
    reading.copy(len(text))
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadFileError("damaged; a text stands for bytes and holds other characters") from error


def numbers(data: memoryview | bytes, dtype: torch.dtype, *, swap: bool = False) -> Tensor:
    """A copy of little-endian bytes (n × itemsize,) as a tensor (n,).

    Args:
        data: as many bytes as whole elements take.
        dtype: of the elements.
        swap: the bytes are big-endian.
    """
    if not len(data):
        return torch.empty(0, dtype=dtype)
    copied = np.array(np.frombuffer(data, np.uint8))
    if swap:
        width = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
        copied = copied.reshape(-1, width)[:, ::-1].reshape(-1).copy()
    if dtype == torch.bool:  # any byte may be there, True is 1
        copied = (copied != 0).view(np.uint8)
    return torch.from_numpy(copied).view(dtype)


# --- plain values --------------------------------------------------------------------------------


def resolve(node: Any, reading: Reading) -> Any:
    """Plain values of what an unpickler noted down; what was one object stays one.

    Raises:
        BadFileError: a container holds itself, lies too deep, or unfolds to too much.
    """
    return _Resolver(reading).value(node, 0)[0]


class _Resolver:
    """Walks a graph once, and knows of each value how many it would be, written out in full."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.done: dict[int, tuple[Any, Any, int]] = {}  # id -> node (kept alive), value, weight
        self.open: set[int] = set()

    def value(self, node: Any, depth: int) -> tuple[Any, int]:
        """A plain value, and its weight: values in it, each as often as it is reached."""
        kind = type(node)
        if node is None or kind in (bool, int, float, complex):
            return node, 1
        if kind is str or kind is bytes:
            return node, 1 + len(node) // 64
        key = id(node)
        if key in self.done:
            _, made, weight = self.done[key]
            return made, weight
        if key in self.open:
            return self._cut(node), 1
        if depth > MOST_DEPTH:
            raise BadFileError(f"refused; it nests deeper than {MOST_DEPTH} levels")
        self.open.add(key)
        made, weight = self._container(node, depth + 1)
        self.open.discard(key)
        self.done[key] = node, made, weight
        return made, weight

    def _cut(self, node: Any) -> Stub:
        if not isinstance(node, Object):
            raise BadFileError(f"refused; a {type(node).__name__} in it holds itself")
        return Stub(node.name, (), None)

    def _container(self, node: Any, depth: int) -> tuple[Any, int]:
        if isinstance(node, dict):
            values, weight = self._all(node.values(), depth)
            keys = sum(1 + len(key) // 64 for key in node if isinstance(key, str))
            return dict(zip(node, values, strict=True)), weight + keys
        if isinstance(node, list):
            return self._all(node, depth)
        if isinstance(node, tuple):
            values, weight = self._all(node, depth)
            return tuple(values), weight
        if isinstance(node, Object):
            return self._stub(node, depth)
        if isinstance(node, Array):
            return self._array(node, depth)
        return self._leaf(node), 1

    def _all(self, nodes: Iterable[Any], depth: int) -> tuple[list[Any], int]:
        made, total = [], 1
        for node in nodes:
            value, weight = self.value(node, depth)
            made.append(value)
            total += weight
            if total > MOST_STEPS:
                raise BadFileError(f"refused; it unfolds to more than {MOST_STEPS:,} values")
        return made, total

    def _stub(self, node: Object, depth: int) -> tuple[Stub, int]:
        args, first = self.value(node.args, depth)
        state, second = self.value(node.state, depth)
        items, third = self.value(node.items, depth)
        if isinstance(items, dict) and isinstance(state, dict):
            state = {**state, **items}  # a dict with attributes; most repeat its items
        elif items is not None:
            state = items if state is None else (items, state)
        return Stub(node.name, args, state), first + second + third

    def _leaf(self, node: Any) -> Any:
        if isinstance(node, View):
            return node.make(self.reading)
        if isinstance(node, Storage):
            return View(node, 0, (node.count,), (1,), node.dtype).make(self.reading)
        if isinstance(node, Name):
            return node.dotted if node.dotted in DTYPES else Stub(node.dotted, (), None)
        if isinstance(node, DType):
            return node.numpy.name if node.code[0] != "O" else "object"
        if isinstance(node, memoryview):
            self.reading.copy(len(node))
            return bytes(node)
        raise BadFileError(f"damaged; a {type(node).__name__} is no value")

    def _array(self, node: Array, depth: int) -> tuple[Any, int]:
        if node.dtype is None:
            raise BadFileError("damaged; a numpy array without a type")
        if node.dtype.is_number:
            return array_tensor(node, node.dtype.numpy, self.reading), 1
        if node.dtype.is_text:
            return _texts(node, node.dtype.numpy, self.reading)
        if math.prod(node.shape) != len(node.data):
            raise BadFileError(f"damaged; an array {node.shape} of {len(node.data)} objects")
        values, weight = self._all(node.data, depth)
        self.reading.step(len(values))
        return _nested(values, node.shape), weight  # in C order, whatever the flag says


def array_tensor(node: Array, dtype: np.dtype[Any], reading: Reading) -> Tensor:
    """The tensor of a numpy array of numbers, in C order and this machine's byte order.

    Raises:
        BadFileError: its bytes do not fit its shape.
    """
    data = _elements(node, dtype)
    native = dtype.newbyteorder("=")
    if not reading.values:
        kind = torch.from_numpy(np.empty(0, native)).dtype
        return torch.empty(node.shape, dtype=kind, device="meta")
    if not len(data):
        return torch.from_numpy(np.empty(node.shape, native))
    reading.copy(len(data))
    raw = np.frombuffer(data, np.uint8) != 0 if dtype.kind == "b" else np.frombuffer(data, dtype)
    laid = raw.reshape(node.shape, order="F" if node.fortran else "C")
    return torch.from_numpy(np.array(laid, dtype=native, order="C"))


def _elements(node: Array, dtype: np.dtype[Any]) -> memoryview | bytes:
    """The bytes of an array, as many as its shape takes."""
    if isinstance(node.data, list):
        raise BadFileError("damaged; a numpy array of numbers holds objects")
    expected = math.prod(node.shape) * dtype.itemsize
    if expected != len(node.data):
        raise BadFileError(
            f"cut short or damaged; an array {node.shape} of {dtype.name} takes {expected:,} bytes,"
            f" {len(node.data):,} are there"
        )
    return node.data


def _texts(node: Array, dtype: np.dtype[Any], reading: Reading) -> tuple[Any, int]:
    """Strings, in lists by shape, and their weight."""
    data, width = _elements(node, dtype), dtype.itemsize
    if not len(data):
        return [], 1
    reading.copy(len(data))
    reading.step(len(data) // width)
    texts = [text(bytes(data[i : i + width]), dtype) for i in range(0, len(data), width)]
    if node.fortran:
        order = np.arange(len(texts)).reshape(node.shape, order="F").reshape(-1)
        texts = [texts[i] for i in order]
    return _nested(texts, node.shape), 1 + len(texts) + len(data) // 64


def text(data: bytes, dtype: np.dtype[Any]) -> str:
    """One text of a numpy array; bytes are taken as Latin-1.

    Numpy itself does not look at the numbers and can make a string that Python cannot hold.

    Raises:
        BadFileError: a number in it is no character.
    """
    codec = ("utf-32-be" if dtype.byteorder == ">" else "utf-32-le") if dtype.kind == "U" else ""
    try:
        return data.decode(codec or "latin-1").rstrip("\0")
    except UnicodeDecodeError as error:
        raise BadFileError("damaged; a numpy text holds what is no text") from error


def _nested(values: list[Any], shape: tuple[int, ...]) -> Any:
    """A flat list as lists in lists; an array without axes is its one element."""
    if not shape:
        return values[0]
    if not values:
        return []
    for length in shape[:0:-1]:
        values = [values[i : i + length] for i in range(0, len(values), length)]
    return values
