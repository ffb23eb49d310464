"""The cache: one folder for each name, made whole and moved into place, described by a manifest.

    TEDI_HOME/weights/NAME/manifest.json   source, hash, licence, and every file's size and hash
    TEDI_HOME/weights/NAME/…               the files
    TEDI_HOME/weights/.NAME.part/          an interrupted download, gone on with by the next pull
    TEDI_HOME/weights/.NAME.new/           a folder in the making; never taken for a good one
    TEDI_HOME/weights/.NAME.lock           held while NAME is made

A folder holds no absolute path: copied to another machine, it serves there.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tedi.errors import TediError
from tedi.zoo.entries import Entry
from tedi.zoo.sources import parse
from tedi.zoo.transfer import DISK_ERRNOS, Report

FORMAT = 1
"""Version of the layout above; a folder of another version is made anew."""

MANIFEST = "manifest.json"
CHUNK = 2**20


def home() -> Path:
    """Folder that holds everything tedi keeps: TEDI_HOME, else `~/.cache/tedi`."""
    return Path(os.environ.get("TEDI_HOME") or "~/.cache/tedi").expanduser()


def sha256(path: Path) -> str:
    """Hash of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class Folder:
    """One name's place in the cache.

    Args:
        entry: whose weights it holds.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        weights = home() / "weights"
        self.path = weights / entry.name
        self.part = weights / f".{entry.name}.part"
        self.new = weights / f".{entry.name}.new"
        self.old = weights / f".{entry.name}.old"
        self.lock = weights / f".{entry.name}.lock"

    def usable(self, *, rehash: bool = False) -> Path | None:
        """What the weights are used by, a file or a folder; None where they are not here.

        Weights of an earlier table (another hash or conversion) count as not here.

        Args:
            rehash: compare the content of every file, not its size only.

        Raises:
            TediError: something in the folder is not as the manifest says.
        """
        if not self.path.exists():
            return None
        manifest = self._manifest()
        if not self._is_current(manifest):
            return None
        for name, told in manifest["files"].items():
            self._check(self.path / name, told, rehash=rehash)
        return self.path / str(manifest["path"])

    def _manifest(self) -> dict[str, Any]:
        try:
            manifest = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise self._damaged(self.path / MANIFEST, "missing or unreadable") from error
        if not isinstance(manifest, dict) or not {"format", "files", "path"} <= manifest.keys():
            raise self._damaged(self.path / MANIFEST, "missing or unreadable")
        return manifest

    def _is_current(self, manifest: dict[str, Any]) -> bool:
        wanted = (FORMAT, self.entry.sha256, parse(self.entry.source).member, self.entry.convert)
        keys = ("format", "sha256", "member", "convert")
        return wanted == tuple(manifest.get(key) for key in keys)

    def _check(self, file: Path, told: dict[str, Any], *, rehash: bool) -> None:
        size = file.stat().st_size if file.is_file() else None
        if size is None:
            raise self._damaged(file, "missing")
        if size != told["size"]:
            raise self._damaged(file, f"expected {told['size']} bytes, got {size}")
        if rehash and (got := sha256(file)) != told["sha256"]:
            raise self._damaged(file, f"expected sha256 {told['sha256'][:12]}, got {got[:12]}")

    def _damaged(self, file: Path, how: str) -> TediError:
        return TediError(
            f"{file}: {how}; mend it with: tedi weights pull {self.entry.name} --force"
        )

    @contextmanager
    def locked(self, report: Report) -> Iterator[None]:
        """Holds this name against other processes; says so when it has to wait for one."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report.step("waiting for another process")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def making(self) -> Iterator[Path]:
        """An empty folder for the files, which becomes this one when the block ends well.

        Whatever killed processes left behind is removed first.
        """
        for leftover in (self.new, self.old):
            shutil.rmtree(leftover, ignore_errors=True)
        self.new.mkdir()
        try:
            yield self.new
            if self.path.exists():
                self.path.rename(self.old)
            self.new.rename(self.path)
        finally:
            shutil.rmtree(self.new, ignore_errors=True)
        shutil.rmtree(self.old, ignore_errors=True)
        shutil.rmtree(self.part, ignore_errors=True)

    def describe(self, folder: Path, usable: Path) -> None:
        """Writes the manifest of the files in `folder`, of which `usable` is what to use."""
        source = parse(self.entry.source)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        manifest = {
            "format": FORMAT,
            "name": self.entry.name,
            "source": str(source),
            "sha256": self.entry.sha256,
            "member": source.member,
            "convert": self.entry.convert,
            "licence": self.entry.licence,
            "origin": self.entry.origin,
            "path": usable.relative_to(folder).as_posix(),
            "files": {
                file.relative_to(folder).as_posix(): {
                    "size": file.stat().st_size,
                    "sha256": sha256(file),
                }
                for file in files
            },
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


@contextmanager
def disk_errors(entry: Entry) -> Iterator[None]:
    """Turns what a disk refuses into one line that names the file or TEDI_HOME."""
    try:
        yield
    except OSError as error:
        inside = error.filename and home().is_relative_to(Path(error.filename))
        inside = inside or (error.filename and Path(error.filename).is_relative_to(home()))
        if error.errno not in DISK_ERRNOS and not inside:
            raise
        elsewhere = error.filename and not inside
        message = f"{error.filename}: {error.strerror}" if elsewhere else _refusal(entry, error)
        raise TediError(message) from error


def _refusal(entry: Entry, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        size = f" ({entry.size / 1e6:.0f} MB packed)" if entry.size else ""
        how = f"no space left while getting {entry.name}{size}; free some, or set TEDI_HOME to a"
        return f"TEDI_HOME: {home()}: {how} roomier disk"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"TEDI_HOME: {home()}: expected a folder, got a file; set TEDI_HOME to a folder"
    reason = error.strerror or type(error).__name__
    return f"TEDI_HOME: {home()}: cannot write there ({reason}); set it to a folder of your own"
