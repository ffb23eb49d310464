"""Weights by name: found in a table, fetched once, checked, and kept for offline use.

Weights come from two places: `ZOO`, whose files are fetched from their publishers when first
asked for, and `tedi/weights`, small files that the project trained and that are always there.

>>> find("minilm-l6").kind
'text backbone'
>>> find("minilm")
Traceback (most recent call last):
tedi.errors.UsageError: unknown weights 'minilm'; did you mean 'minilm-l6'?
"""

import json
import shutil
import struct
from pathlib import Path

from tedi.errors import TediError
from tedi.registry import resolve, unknown
from tedi.zoo.entries import ZOO, Entry
from tedi.zoo.sources import fetch, parse, place
from tedi.zoo.store import Folder, disk_errors, home, sha256
from tedi.zoo.transfer import Progress, Report, Unreachable, largest

__all__ = [
    "ZOO",
    "Entry",
    "Progress",
    "cached",
    "find",
    "home",
    "metadata",
    "path",
    "pull",
    "sha256",
    "shipped",
    "verify",
]

WORTH_RESUMING = 2**16
"""Bytes below which what an interrupted download left is thrown away."""

SHIPPED = Path(__file__).parents[1] / "weights"


def find(name: str) -> Entry:
    """What is known of some weights.

    Shipped weights get an entry of what their metadata says, with no hash.

    Raises:
        UsageError: nothing has that name; the nearest one is suggested.
    """
    if name in ZOO:
        return ZOO[name]
    files = shipped()
    if name not in files:
        raise unknown("weights", name, [*ZOO, *files])
    told = metadata(files[name])
    return Entry(
        name=name,
        kind=told.get("kind", "trained part"),
        source=str(files[name]),
        sha256="",
        size=files[name].stat().st_size,
        licence=told.get("licence", ""),
        origin=told.get("data", ""),
        note=told.get("note", ""),
    )


def shipped() -> dict[str, Path]:
    """Weights that came with the package, name to file."""
    return {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}


def metadata(file: Path) -> dict[str, str]:
    """Metadata of a safetensors file, read off its header without torch.

    Raises:
        TediError: not a safetensors file.
    """
    with file.open("rb") as opened:
        head = opened.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= file.stat().st_size - 8:
            raise TediError(f"{file}: expected a safetensors file, got something else")
        text = opened.read(length)
    try:
        told: dict[str, str] = json.loads(text).get("__metadata__", {})
    except (ValueError, AttributeError) as error:
        raise TediError(f"{file}: expected a safetensors header, got something else") from error
    return told


def cached(name: str) -> Path | None:
    """File or folder of some weights if it is on this disk, else None; asks no network.

    Sizes are compared, contents are not: see `verify`.

    Raises:
        UsageError: nothing has that name.
        TediError: what is there is damaged.
    """
    entry = find(name)
    return Folder(entry).usable() if name in ZOO else shipped()[name]


def path(name: str) -> Path:
    """File or folder of some weights that are on this disk.

    Raises:
        UsageError: nothing has that name.
        TediError: it is not here yet, or damaged.
    """
    found = cached(name)
    if found is None:
        raise TediError(f"{name}: not on this disk yet; fetch it with: tedi weights pull {name}")
    return found


def verify(name: str) -> Path:
    """Reads every file of some weights again and compares its hash; returns what `path` does.

    Raises:
        UsageError: nothing has that name.
        TediError: it is not here, or a file is not what was written.
    """
    found = path(name)
    if name in ZOO:
        Folder(ZOO[name]).usable(rehash=True)
    return found


def pull(name: str, *, progress: Progress | None = None, force: bool = False) -> Path:
    """File or folder of some weights, fetched and converted first where they are not here.

    A second process that asks at the same time waits and uses what the first one made.

    Args:
        name: of an entry of `ZOO`, or of shipped weights.
        progress: called with (label, bytes done, bytes in all or None) about ten times a second,
            maybe from another thread.
        force: fetch anew, also where they are here.

    Raises:
        UsageError: nothing has that name.
        TediError: it cannot be reached, is not the tested file, or cannot be written; nothing
            half-made stays behind.
    """
    entry = find(name)
    if name not in ZOO:
        return shipped()[name]
    with disk_errors(entry):
        folder = Folder(entry)
        found = None if force else folder.usable()
        if found is None:
            report = Report(name, entry.size or None, progress)
            with folder.locked(report):
                found = (None if force else folder.usable()) or _make(folder, report)
        return found


def _make(folder: Folder, report: Report) -> Path:
    """Fetches, checks, unpacks and converts into a new folder, and moves it into place."""
    entry, source = folder.entry, parse(folder.entry.source)
    archive = _archive(folder, report)
    with folder.making() as new:
        report.step("unpacking")
        usable = place(archive, source, new)
        if entry.convert:
            report.step("converting")
            raw = usable.rename(new / "raw")
            usable = new / f"{entry.name}.safetensors"
            resolve(entry.convert)(raw, usable)
            shutil.rmtree(raw) if raw.is_dir() else raw.unlink()
        folder.describe(new, usable)
    return folder.path / usable.relative_to(new)


def _archive(folder: Folder, report: Report) -> Path:
    """The fetched file, of the right hash; a resumed one that went wrong is fetched once more."""
    resumed = largest(folder.part) > 0
    folder.part.mkdir(exist_ok=True)
    archive = _fetched(folder, report)
    got = sha256(archive)
    if got == folder.entry.sha256:
        return archive
    shutil.rmtree(folder.part)
    if resumed:
        return _archive(folder, report)
    raise TediError(
        f"{folder.entry.name}: expected sha256 {folder.entry.sha256[:12]}, got {got[:12]}; the file"
        f" at {parse(folder.entry.source)} is not the one tedi was tested with, and was not kept"
    )


def _fetched(folder: Folder, report: Report) -> Path:
    source = parse(folder.entry.source)
    try:
        return fetch(source, folder.part, report)
    except Unreachable as error:
        if largest(folder.part) < WORTH_RESUMING:
            shutil.rmtree(folder.part)
        raise TediError(
            f"{folder.entry.name}: cannot fetch {source}: {error}; check {source.advice}, "
            f"or copy {folder.path} from another machine"
        ) from error
