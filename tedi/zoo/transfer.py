"""What every transfer shares: its report, its failure, and what of a URL may be shown."""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

Progress = Callable[[str, int, int | None], None]
"""Called with (label, bytes done, bytes in all or None)."""

DISK_ERRNOS = tuple(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "ENOTDIR", "EEXIST", "EACCES", "EPERM", "EROFS")
)
"""Errors of the operating system that speak of a disk, not of a network."""

REPORT_EVERY = 0.1
"""Seconds between two calls of a progress callback, at least."""


class Unreachable(Exception):  # noqa: N818
    """A transfer that did not come about; the message is the reason, fit to be shown.

    `tedi.zoo` turns it into a TediError that names the weights and the way out.
    """


def redacted(text: str) -> str:
    """The text with user names and passwords taken out of every URL in it."""
    return re.sub(r"(?<=://)[^/\s'\"]*@", "", text)


@dataclass
class Report:
    """A progress callback that is called at a bounded rate; None is nobody listening."""

    label: str
    total: int | None
    progress: Progress | None
    last: float = field(default=0.0, init=False)

    def __call__(self, done: int, *, final: bool = False) -> None:
        """Passes on the bytes done so far; `final` is always passed on."""
        now = time.monotonic()
        if self.progress is not None and (final or now - self.last >= REPORT_EVERY):
            self.last = now
            self.progress(self.label, done, self.total)

    def step(self, what: str) -> None:
        """Says what goes on now that has no bytes to count."""
        if self.progress is not None:
            self.progress(f"{self.label}: {what}", 0, None)

    @contextmanager
    def watching(self, folder: Path) -> Iterator[None]:
        """Reports the largest file below `folder` while another program downloads into it."""
        stop = Event()
        watcher = Thread(target=self._watch, args=(folder, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def _watch(self, folder: Path, stop: Event) -> None:
        while not stop.wait(REPORT_EVERY):
            self(min(largest(folder), self.total or 2**62))


def largest(folder: Path) -> int:
    """Bytes of the largest file below a folder; 0 where there is none, or no folder."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # gone again: the program moves its files about
                sizes.append(os.lstat(os.path.join(root, name)).st_size)
    return max(sizes)
