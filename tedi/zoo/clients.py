"""Package registries, through the user's own pip and npm.

Both are called as programs, so that whatever a person has set up for them (index or mirror, proxy,
certificates, credentials, local wheels) holds here too, read by the program it was written for.
"""

import errno
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tedi.zoo import npmrc
from tedi.zoo.transfer import Report, Unreachable, redacted

_PIP_OPTIONS = (
    "--no-deps",
    "--only-binary=:all:",
    "--ignore-requires-python",
    "--no-input",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "-vv",  # else it keeps to itself why an index did not answer
)

_UV_TO_PIP = {
    "UV_DEFAULT_INDEX": "PIP_INDEX_URL",
    "UV_INDEX_URL": "PIP_INDEX_URL",
    "UV_INDEX": "PIP_EXTRA_INDEX_URL",
    "UV_EXTRA_INDEX_URL": "PIP_EXTRA_INDEX_URL",
    "UV_FIND_LINKS": "PIP_FIND_LINKS",
}

_PIP_REASONS = (
    r"(\[Errno -?\d+\] [^')\n]+)",
    r"Could not fetch URL \S+ (.*) - skipping",
    r"(HTTP error \d+ while getting \S+)",
    r"ERROR: (?!Could not find a version)(.*)",
)

_NPM_REASONS = (r"npm (?:error|ERR!) (?!code|syscall|errno|A complete)(.*)",)


def pip_download(requirement: str, folder: Path, report: Report) -> Path:
    """The wheel that "project==version" names, without its dependencies, in `folder`.

    Raises:
        Unreachable: there is no pip, or pip did not get it.
        OSError: the disk is full.
    """
    out, scratch = _emptied(folder / "wheel"), _emptied(folder / "scratch")
    command = [*_pip(), "download", *_PIP_OPTIONS, f"--dest={out}", requirement]
    with report.watching(folder):
        _run(command, _pip_environment(scratch), _PIP_REASONS)
    return next(out.iterdir())


def npm_download(package: str, folder: Path, report: Report) -> Path:
    """The tarball that "name@version" names, in `folder`.

    Without an npm program the registry is asked directly, as the `.npmrc` files say.

    Raises:
        Unreachable: no npm and no registry set, or it did not answer with the package.
        OSError: the disk is full.
    """
    program = shutil.which("npm")
    if program is None:
        return npmrc.download(package, folder, report)
    out = _emptied(folder / "tarball")
    command = [program, "pack", package, f"--pack-destination={out}", "--ignore-scripts"]
    with report.watching(out):
        _run([*command, "--loglevel=error"], os.environ, _NPM_REASONS)
    return next(out.iterdir())


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _pip() -> list[str]:
    """Command line of the nearest pip."""
    if sys.executable and importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for wheel in _bundled_pips():
        if sys.executable:
            return [sys.executable, str(wheel / "pip")]
    program = shutil.which("pip3") or shutil.which("pip")
    if program is None:
        raise Unreachable("no pip was found; install it")
    return [program]


def _bundled_pips() -> Iterator[Path]:
    """The pip wheel that Python's ensurepip carries; it runs from where it lies."""
    spec = importlib.util.find_spec("ensurepip")
    places = [Path(spec.origin).parent / "_bundled"] if spec and spec.origin else []
    shared = sysconfig.get_config_var("WHEEL_PKG_DIR")  # where Linux distributions put it
    places += [Path(shared)] if shared else []
    for place in places:
        yield from sorted(place.glob("pip-*.whl"))


def _pip_environment(scratch: Path) -> dict[str, str]:
    """The caller's, with uv's indexes where pip's are unset, and downloads on the cache's disk."""
    environment = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"}
    environment.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)))
    for theirs, ours in _UV_TO_PIP.items():
        if theirs in os.environ:
            unnamed = re.sub(r"(^|\s)[\w-]+=(?=\w+:)", r"\1", os.environ[theirs])
            environment.setdefault(ours, unnamed.replace(",", " "))
    return environment


def _run(command: Sequence[str], environment: Mapping[str, str], reasons: Sequence[str]) -> None:
    """Runs a program quietly; raises Unreachable with the reason that it printed."""
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        if os.strerror(errno.ENOSPC) in done.stdout:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise Unreachable(_reason(done.stdout, reasons))


def _reason(output: str, reasons: Sequence[str]) -> str:
    """What a program printed of why it failed, on one line and without credentials."""
    for pattern in reasons:
        if found := re.search(pattern, output):
            return redacted(found[1]).strip().rstrip(".")
    lines = output.strip().splitlines() or ["it said nothing"]
    return redacted(lines[-1]).strip()
