"""Safetensors: a JSON header that says where each tensor lies, and nothing else."""

import json
import math
from typing import Any

from tedi.checkpoints.raw.limits import BadFileError, Reading
from tedi.checkpoints.raw.values import DTYPES, Storage, View, checked_shape

LONGEST_HEADER = 16 << 20
_METADATA = "__metadata__"
_TYPES = {
    name: DTYPES[f"torch.{dtype}"]
    for name, dtype in {
        **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"},
        **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "BOOL": "bool"},
        **{"U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8"},
        **{"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64"},
    }.items()
    if f"torch.{dtype}" in DTYPES
}


def is_one(data: memoryview) -> bool:
    """Whether a file begins like safetensors: the length of a header, and a brace."""
    length = int.from_bytes(data[:8], "little")
    return len(data) > 9 and data[8] == ord("{") and 2 <= length < 100 << 20


def read(data: memoryview, reading: Reading) -> tuple[dict[str, Any], dict[str, str]]:
    """The notes of the tensors by name, and the metadata.

    Raises:
        BadFileError: damaged.
    """
    length = int.from_bytes(data[:8], "little")
    if length > LONGEST_HEADER or 8 + length > len(data):
        raise BadFileError("cut short or damaged; a safetensors file without its whole header")
    header = _header(bytes(data[8 : 8 + length]), reading)
    metadata = header.pop(_METADATA, None) or {}
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise BadFileError("damaged; a safetensors file whose metadata are no texts")
    body = data[8 + length :]
    places = {name: _place(name, told, len(body)) for name, told in header.items()}
    _check_tiling([(start, end) for _, _, start, end in places.values()], len(body))
    return {
        name: _view(body[start:end], dtype, shape)
        for name, (dtype, shape, start, end) in places.items()
    }, metadata


def _header(text: bytes, reading: Reading) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        reading.step(1 + len(pairs))
        if len(found := dict(pairs)) < len(pairs):
            raise BadFileError("damaged; a safetensors header names something twice")
        return found

    try:
        header = json.loads(text, object_pairs_hook=unique, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise BadFileError("damaged; a safetensors file whose header is no JSON") from error
    if not isinstance(header, dict):
        raise BadFileError("damaged; a safetensors file whose header is no list of tensors")
    return header


def _whole(digits: str) -> int:
    if len(digits) > 20:  # more take time that grows with their square
        raise BadFileError("damaged; a safetensors header has a number of more than 20 digits")
    return int(digits)


def _place(name: str, told: Any, size: int) -> tuple[Any, tuple[int, ...], int, int]:
    """Type, shape, and where the bytes of a tensor begin and end."""
    match told:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(start), int(end)]}:
            if kind not in _TYPES:
                raise BadFileError(f"holds {name[:80]!r} of {kind[:20]!r}, which is not read")
            dims, dtype = checked_shape(tuple(shape)), _TYPES[kind]
            if 0 <= start <= end <= size and end - start == math.prod(dims) * dtype.itemsize:
                return dtype, dims, start, end
    raise BadFileError(f"cut short or damaged; the place of {name[:80]!r} does not fit")


def _check_tiling(places: list[tuple[int, int]], size: int) -> None:
    at = 0
    for start, end in sorted(places):
        if start != at:
            raise BadFileError("damaged; a safetensors file with gaps or tensors that overlap")
        at = end
    if at != size:
        raise BadFileError("damaged; a safetensors file with bytes that are no tensor's")


def _view(data: memoryview, dtype: Any, shape: tuple[int, ...]) -> View:
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    storage = Storage(dtype, math.prod(shape), fetch=lambda: data)
    return View(storage, 0, shape, strides, dtype)
