"""The directory of a zip file, read off the file as it lies in memory.

Python's `zipfile` makes an object of each entry and believes its sizes; here the entries are
counted, their places are checked against the file, and one that is stored is a slice of the file.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tedi.checkpoints.raw.limits import BadFileError, Reading

MOST_ENTRIES = 100_000
_END, _END64, _PLACE64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_ENTRY, _LOCAL = b"PK\1\2", b"PK\3\4"
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF  # "look into the zip64 field"
_STORED, _DEFLATED = 0, 8
_CUT = "cut short or damaged; it is a zip whose directory is not whole; get it once more"


@dataclass(frozen=True)
class Entry:
    """One file of a zip.

    Attributes:
        name: with its folders.
        method: 0 stored, 8 deflated.
        packed: bytes in the zip.
        size: bytes when unpacked.
        crc: of the unpacked bytes.
        at: where its local header lies.
        locked: needs a password.
    """

    name: str
    method: int
    packed: int
    size: int
    crc: int
    at: int
    locked: bool


class Zip:
    """A zip file in memory.

    Raises:
        BadFileError: its directory is damaged, or names a file twice.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.entries: dict[str, Entry] = {}
        for entry in _entries(data):
            if entry.name in self.entries:
                raise BadFileError(f"damaged; its zip holds {entry.name[:80]!r} twice")
            self.entries[entry.name] = entry

    def size(self, name: str) -> int:
        """Bytes of an entry when unpacked.

        Raises:
            BadFileError: there is no such entry.
        """
        return self._entry(name).size

    def read(self, name: str, reading: Reading, *, check: bool = False) -> memoryview:
        """The bytes of an entry; a slice of the file if it is stored.

        Args:
            name: of the entry.
            reading: counts what is unpacked.
            check: compare the checksum; torch may leave it wrong on purpose.

        Raises:
            BadFileError: not there, damaged, or packed in a way that is not read.
        """
        entry = self._entry(name)
        packed = self._packed(entry)
        data = packed if entry.method == _STORED else _inflated(entry, packed, reading)
        if len(data) != entry.size or (check and zlib.crc32(data) != entry.crc):
            raise BadFileError(f"cut short or damaged; {entry.name[:80]!r} in its zip is not whole")
        return data

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise BadFileError(f"cut short or damaged; its zip lacks {name[:80]!r}")
        return self.entries[name]

    def _packed(self, entry: Entry) -> memoryview:
        """The bytes as they lie there; fewer where the file ends."""
        if entry.locked or entry.method not in (_STORED, _DEFLATED):
            raise BadFileError(f"{entry.name[:80]!r} in its zip is encrypted, or packed oddly")
        header = bytes(self.data[entry.at : entry.at + 30])
        if len(header) < 30 or header[:4] != _LOCAL:
            raise BadFileError(_CUT)
        name, extra = struct.unpack("<HH", header[26:30])
        start = entry.at + 30 + name + extra
        return self.data[start : start + entry.packed]


def _inflated(entry: Entry, packed: memoryview, reading: Reading) -> memoryview:
    """At most the bytes that are declared, and counted before they are there."""
    reading.copy(entry.size)
    try:
        return memoryview(zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size + 1))
    except zlib.error as error:
        raise BadFileError(f"damaged; {entry.name[:80]!r} in its zip is not whole") from error


def _entries(data: memoryview) -> Iterator[Entry]:
    start, count = _directory(data)
    if count > MOST_ENTRIES:
        raise BadFileError(f"refused; its zip holds {count:,} files")
    for _ in range(count):
        fixed = bytes(data[start : start + 46])
        if len(fixed) < 46 or fixed[:4] != _ENTRY:
            raise BadFileError(_CUT)
        flags, method = struct.unpack("<HH", fixed[8:12])
        crc, packed, size, name, extra, comment = struct.unpack("<IIIHHH", fixed[16:34])
        (at,) = struct.unpack("<I", fixed[42:46])
        rest = data[start + 46 : start + 46 + name + extra]
        if len(rest) < name + extra:
            raise BadFileError(_CUT)
        size, packed, at = _widened(rest[name:], size, packed, at)
        spelled = bytes(rest[:name]).decode("utf-8", "replace")
        yield Entry(spelled, method, packed, size, crc, at, bool(flags & 1))
        start += 46 + name + extra + comment


def _directory(data: memoryview) -> tuple[int, int]:
    """Where the directory begins, and how many entries it has."""
    tail = bytes(data[-(22 + _FULL16) :])
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise BadFileError(_CUT)
    count, _, start = struct.unpack_from("<HII", tail, at + 10)
    if at >= 20 and tail[at - 20 : at - 16] == _PLACE64:
        (place,) = struct.unpack_from("<Q", tail, at - 12)
        record = bytes(data[place : place + 56])
        if len(record) < 56 or record[:4] != _END64:
            raise BadFileError(_CUT)
        count, _, start = struct.unpack("<QQQ", record[32:56])
    return start, count


def _widened(extra: memoryview, *numbers: int) -> list[int]:
    """Size, packed size and place, those that do not fit 32 bits from the zip64 field."""
    wide: list[int] = []
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1:
            wide = [n for (n,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
    found = []
    for number in numbers:
        if number == _FULL32 and not wide:
            raise BadFileError(_CUT)
        found.append(wide.pop(0) if number == _FULL32 else number)
    return found
