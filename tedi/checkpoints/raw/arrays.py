"""Arrays of numpy, one (npy) or several in a zip (npz), object arrays included."""

import ast
import re
import struct
from typing import Any

from tedi.checkpoints.raw import unpickle
from tedi.checkpoints.raw.archive import Zip
from tedi.checkpoints.raw.limits import BadFileError, Reading
from tedi.checkpoints.raw.values import Array, DType, checked_shape

MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
_LONG = re.compile(r"(\d)L(?=[,)])")  # a whole number of Python 2


def read_npy(data: memoryview, reading: Reading) -> Any:
    """The notes of an npy file: an `Array`; its objects, if it has any, through `unpickle`.

    Raises:
        BadFileError: damaged, of records, or refused.
    """
    header, start = _header(data)
    code, fortran, shape = header.get("descr"), header.get("fortran_order"), header.get("shape")
    if not isinstance(code, str):
        raise BadFileError("holds a numpy array of records, which is not read")
    order, code = (code[0], code[1:]) if code[:1] in ("<", ">", "|", "=") else ("<", code)
    if code.startswith("O"):
        return _objects(data, start, checked_shape(shape), reading)
    array = Array()
    array.fill(shape, DType(code, order), fortran, data[start:], reading)
    return array


def read_npz(archive: Zip, reading: Reading) -> dict[str, Any]:
    """The notes of an npz file, by the names of its arrays.

    Raises:
        BadFileError: as `read_npy`.
    """
    found: dict[str, Any] = {}
    for name in archive.entries:
        data = archive.read(name, reading, check=True)
        if bytes(data[:6]) != MAGIC:
            raise BadFileError(f"damaged; {name[:80]!r} in it is no numpy array")
        found[name.removesuffix(".npy")] = read_npy(data, reading)
    return found


def _header(data: memoryview) -> tuple[dict[Any, Any], int]:
    """The header of an npy file, and where it ends."""
    if len(data) < 12 or data[6] not in (1, 2, 3):
        raise BadFileError("damaged; an npy file of no known version")
    width, kind = (2, "<H") if data[6] == 1 else (4, "<I")
    (length,) = struct.unpack(kind, data[8 : 8 + width])
    start = 8 + width + length
    if length > _LONGEST_HEADER or start > len(data):
        raise BadFileError("cut short or damaged; an npy file without its header")
    text = bytes(data[8 + width : start]).decode("latin-1").strip()
    if not text.isprintable() or "\\" in text:
        raise BadFileError("damaged; an npy file whose header is none")
    try:
        header = ast.literal_eval(_LONG.sub(r"\1", text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise BadFileError("damaged; an npy file whose header is none") from error
    if not isinstance(header, dict):
        raise BadFileError("damaged; an npy file whose header is none")
    return header, start


def _objects(data: memoryview, start: int, shape: tuple[int, ...], reading: Reading) -> Array:
    value, end = unpickle.load(data, reading, at=start)
    if not isinstance(value, Array) or value.shape != shape or end != len(data):
        raise BadFileError(f"damaged; its objects are no array {shape}")
    return value
