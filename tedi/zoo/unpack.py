"""The wanted members of a wheel, zip or tar, and nothing else, put into a folder."""

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from tedi.errors import TediError

UNPACKED_LIMIT = 8 * 2**30
"""Most bytes that one archive may unpack to; a larger one is refused as a zip bomb."""

CHUNK = 2**20

Member = tuple[str, bool, Callable[[], IO[bytes] | None]]
"""Name, whether it is a regular file, how to open it."""


def unpack(archive: Path, member: str, out: Path) -> Path:
    """What `member` names in a zip or tar, put into `out`.

    Args:
        archive: a zip (wheels are zips) or a tar, compressed or not; told apart by content.
        member: "folder/" for everything below it, "folder/file" for one file.
        out: existing folder.

    Returns:
        The folder or the file, in `out` under its own last name.

    Raises:
        TediError: not an archive, no such member, a member that is a link or would land outside
            `out`, or more than `UNPACKED_LIMIT` bytes.
    """
    usable = out / PurePosixPath(member).name
    room, found = UNPACKED_LIMIT, False
    wanted = (one for one in _members(archive) if _is_wanted(one[0], member))
    for name, regular, opened in wanted:
        target = _inside(usable, name.removeprefix(member), f"{archive.name}: {name}")
        stream = opened() if regular else None
        if stream is None:
            raise TediError(f"{archive.name}: {name} is a link or a device; refusing to unpack it")
        target.parent.mkdir(parents=True, exist_ok=True)
        with stream, target.open("wb") as file:
            room -= _copy(stream, file, room, archive.name)
        found = True
    if not found:
        raise TediError(f"{archive.name}: expected a member {member!r}, found none")
    return usable


def _is_wanted(name: str, member: str) -> bool:
    return name.startswith(member) and name != member if member.endswith("/") else name == member


def _inside(usable: Path, rest: str, shown: str) -> Path:
    """`usable`/`rest`, for a rest that stays below it."""
    parts = rest.split("/") if rest else []
    if any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts):
        raise TediError(f"{shown} would land outside its folder; refusing to unpack it")
    return usable.joinpath(*parts)


def _copy(stream: IO[bytes], file: IO[bytes], room: int, shown: str) -> int:
    """Bytes copied; stops with an error when they pass `room`, whatever the header said."""
    copied = 0
    while chunk := stream.read(CHUNK):
        copied += len(chunk)
        if copied > room:
            raise TediError(f"{shown}: unpacks to more than {UNPACKED_LIMIT} bytes; refusing it")
        file.write(chunk)
    return copied


def _members(archive: Path) -> Iterator[Member]:
    """Every member that is not a folder."""
    if zipfile.is_zipfile(archive):
        return _zip_members(archive)
    if tarfile.is_tarfile(archive):
        return _tar_members(archive)
    raise TediError(f"{archive.name}: expected a zip or tar archive, found neither")


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if not info.is_dir():
                link = stat.S_ISLNK(info.external_attr >> 16)
                yield info.filename, not link, partial(opened.open, info)


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if not info.isdir():
                yield info.name, info.isreg(), partial(opened.extractfile, info)
