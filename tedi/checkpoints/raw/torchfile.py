"""Files of `torch.save`: the zip of torch 1.6 and later, and the pickles in a row before that."""

from functools import partial
from typing import Any

import torch

from tedi.checkpoints.raw import unpickle
from tedi.checkpoints.raw.archive import Zip
from tedi.checkpoints.raw.limits import BadFileError, Reading
from tedi.checkpoints.raw.names import STORAGES
from tedi.checkpoints.raw.values import Name, Storage

MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_BYTES = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
_PROTOCOL = 1001
_DEEPEST = 2  # torch files within pickles within torch files
_PICKLE = "/data.pkl"


# --- zip -----------------------------------------------------------------------------------------


def is_zip(archive: Zip) -> bool:
    """Whether a zip is one of torch's: exactly one folder has a data.pkl."""
    return len(_folders(archive)) == 1


def is_torchscript(archive: Zip) -> bool:
    """Whether a zip holds a compiled program."""
    return any(name.endswith("/constants.pkl") for name in archive.entries)


def _folders(archive: Zip) -> list[str]:
    return [n.removesuffix(_PICKLE) for n in archive.entries if n.endswith(_PICKLE)]


def read_zip(archive: Zip, reading: Reading) -> Any:
    """The notes of a torch zip; its storages are fetched when tensors are made.

    Raises:
        BadFileError: damaged, or refused.
    """
    (folder,) = _folders(archive)
    big = _is_big_endian(archive, folder, reading)
    storages: dict[str, Storage] = {}

    def storage(key: Any) -> Storage:
        dtype, name, count, _ = _told(key)
        if name not in storages:
            entry = f"{folder}/data/{name}"
            if not 0 <= archive.size(entry) - count * dtype.itemsize < dtype.itemsize:
                raise BadFileError(
                    f"cut short or damaged; {entry[:80]!r} is not {count:,} values long"
                )
            storages[name] = Storage(
                dtype, count, swap=big, fetch=lambda: archive.read(entry, reading)
            )
        return _same(storages[name], dtype, count)

    data = archive.read(folder + _PICKLE, reading)
    return unpickle.load(data, reading, persistent=storage)[0]


def _is_big_endian(archive: Zip, folder: str, reading: Reading) -> bool:
    name = f"{folder}/byteorder"
    order = bytes(archive.read(name, reading)[:8]) if name in archive.entries else b"little"
    if order not in (b"little", b"big"):
        raise BadFileError(f"damaged; its byte order is {order!r}")
    return order == b"big"


def _told(key: Any) -> tuple[torch.dtype, str, int, Any]:
    """Type, key, number of elements and window of a storage, from its persistent id."""
    match key:
        case ("storage", Name(kind), str(name), str() | None, int(count), *rest) if (
            kind in STORAGES and 0 <= count < 1 << 48 and len(rest) <= 1
        ):
            return STORAGES[kind], name, count, rest[0] if rest else None
    raise BadFileError("damaged; a tensor names a storage that is none")


def _same(storage: Storage, dtype: torch.dtype, count: int) -> Storage:
    if (storage.dtype, storage.count) != (dtype, count):
        raise BadFileError("damaged; one storage is named with two types or sizes")
    return storage


# --- legacy --------------------------------------------------------------------------------------


def is_legacy(data: memoryview) -> bool:
    """Whether a file begins with the pickled magic number of torch before 1.6."""
    return _MAGIC_BYTES in bytes(data[:32])


def read_legacy(data: memoryview, reading: Reading) -> Any:
    """The notes of a legacy torch file: five pickles, then the storages in a row.

    Raises:
        BadFileError: damaged, or refused.
    """
    storages: dict[str, Storage] = {}

    def persistent(key: Any) -> Any:
        match key:
            case ("module", Name() as kind, _, _):  # with its source, which nothing reads
                return kind
        dtype, name, count, window = _told(key)
        if window is not None:
            raise BadFileError("holds storages within storages (torch before 0.4), not read")
        return _same(storages.setdefault(name, Storage(dtype, count)), dtype, count)

    magic, at = unpickle.load(data, reading)
    version, at = unpickle.load(data, reading, at=at)
    if (magic, version) != (MAGIC, _PROTOCOL):
        raise BadFileError(f"holds a legacy torch file of another version than {_PROTOCOL}")
    _, at = unpickle.load(data, reading, at=at)  # the machine that wrote it
    value, at = unpickle.load(data, reading, at=at, persistent=persistent)
    keys, at = unpickle.load(data, reading, at=at)
    _place(data, at, keys, storages)
    return value


def _place(data: memoryview, at: int, keys: Any, storages: dict[str, Storage]) -> None:
    """Tell each storage where its bytes lie: a count of eight bytes, then the elements."""
    if not isinstance(keys, list) or len(keys) != len(storages):
        raise BadFileError("damaged; a legacy torch file without its list of storages")
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        if storage is None or storage.fetch is not None:
            raise BadFileError("damaged; a legacy torch file lists a storage that no tensor names")
        start, end = at + 8, at + 8 + storage.nbytes
        if end > len(data) or int.from_bytes(data[at:start], "little") != storage.count:
            raise BadFileError("cut short or damaged; a storage is not whole")
        window = data[start:end]
        storage.fetch = partial(_given, window)
        at = end
    if at != len(data):
        raise BadFileError(f"damaged; {len(data) - at:,} bytes follow its last storage")


def _given(data: memoryview) -> memoryview:
    return data


def nested(data: memoryview, reading: Reading) -> Any:
    """The notes of a torch file within a pickle, which is how a pickle holds a storage.

    Raises:
        BadFileError: damaged, refused, or too deep.
    """
    if reading.depth >= _DEEPEST:
        raise BadFileError("refused; it has torch files within torch files within torch files")
    reading.copy(len(data))
    reading.depth += 1
    try:
        if bytes(data[:4]) == b"PK\3\4" and is_zip(archive := Zip(data)):
            return read_zip(archive, reading)
        if not is_legacy(data):
            raise BadFileError("damaged; a storage within its pickle is no torch file")
        return read_legacy(data, reading)
    finally:
        reading.depth -= 1
