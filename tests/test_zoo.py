"""Weights by name: what is kept, what is refused, and what a broken line or disk leaves behind.

Everything is served from this machine, and everything is a few bytes long.
"""

import errno
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import stat
import struct
import subprocess
import tarfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tedi import zoo
from tedi.errors import TediError, UsageError
from tedi.zoo import sources, store, transfer, unpack, web

PAYLOAD = bytes(range(256)) * 2000


class Server(ThreadingHTTPServer):
    """Serves `files`, in ranges if `ranged`; breaks off the first `cuts` answers half-way."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.status = 200
        self.ranged = True
        self.cuts = 0
        self.delay = 0.0
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def counts(self) -> Counter[str]:
        return Counter(path for path, _ in self.asked)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, dict(self.headers.items())))
        time.sleep(server.delay)
        if self.path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[self.path])
            self.end_headers()
        elif server.status != 200 or self.path not in server.files:
            self.send_error(server.status if server.status != 200 else 404)
        else:
            self.answer(server.files[self.path])

    def answer(self, body: bytes) -> None:
        start = 0
        if self.server.ranged and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        if self.server.cuts:
            self.server.cuts -= 1
            body = body[: start + (len(body) - start) // 2]
            self.close_connection = True
        self.wfile.write(body[start:])

    def log_message(self, *args: object) -> None:
        """Keeps quiet."""


def serve() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serve()


@pytest.fixture
def other_server() -> Iterator[Server]:
    yield from serve()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TEDI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(web, "PAUSE", 0.0)
    return tmp_path / "home"


Add = Callable[..., zoo.Entry]


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Add:
    """Puts an entry named "toy" into the table; the hash is that of `data`."""

    def put(source: str, data: bytes, **changes: str) -> zoo.Entry:
        digest = hashlib.sha256(data).hexdigest()
        entry = zoo.Entry("toy", "test", source, digest, len(data), "CC0-1.0", "made here")
        entry = replace(entry, **changes)
        monkeypatch.setitem(zoo.ZOO, "toy", entry)
        return entry

    return put


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(*members: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 5 if kind == tarfile.REGTYPE else 0
    return info


def left(home: Path) -> set[str]:
    """What the cache holds beside locks."""
    weights = home / "weights"
    names = {path.name for path in weights.iterdir()} if weights.is_dir() else set()
    return {name for name in names if not name.endswith(".lock")}


# What a person gets ------------------------------------------------------------------------------


def test_file_is_fetched_once_and_described(server: Server, add: Add, home: Path) -> None:
    server.files["/toy.bin"] = PAYLOAD
    entry = add(f"{server.url}/toy.bin", PAYLOAD)
    assert zoo.cached("toy") is None
    got = zoo.pull("toy")
    assert got.read_bytes() == PAYLOAD
    assert got == zoo.pull("toy") == zoo.cached("toy") == zoo.path("toy") == zoo.verify("toy")
    assert got == home / "weights" / "toy" / "toy.bin"
    assert server.counts["/toy.bin"] == 1
    told = json.loads((home / "weights/toy/manifest.json").read_text())
    assert told["sha256"] == entry.sha256
    assert told["licence"] == "CC0-1.0"
    assert told["files"] == {"toy.bin": {"size": len(PAYLOAD), "sha256": entry.sha256}}
    assert left(home) == {"toy"}


def test_folder_of_an_archive_without_its_neighbours(tmp_path: Path, add: Add) -> None:
    data = zipped({"a/model/x": b"1", "a/model/deep/y": b"2", "a/other": b"3", "a/models/z": b"4"})
    (tmp_path / "toy.whl").write_bytes(data)
    add(f"{tmp_path}/toy.whl!a/model/", data)
    got = zoo.pull("toy")
    assert got.name == "model"
    found = {path.relative_to(got).as_posix() for path in got.rglob("*") if path.is_file()}
    assert found == {"x", "deep/y"}


def test_one_file_of_a_tar(tmp_path: Path, add: Add) -> None:
    data = tarred(member("package/a.bin"), member("package/b.bin"))
    (tmp_path / "toy.tgz").write_bytes(data)
    add((tmp_path / "toy.tgz").as_uri() + "!package/b.bin", data)
    assert zoo.pull("toy").name == "b.bin"
    assert zoo.path("toy").read_bytes() == b"xxxxx"


def upper(raw: Path, out: Path) -> None:
    """Converter: the upper-cased content of folder/x."""
    out.write_bytes((raw / "x").read_bytes().upper())


def die(raw: Path, out: Path) -> None:
    """Converter of a process that is killed half-way."""
    out.write_bytes(b"half")
    os._exit(9)


def refuse(raw: Path, out: Path) -> None:
    """Converter that does not know the file."""
    out.write_bytes(b"half")
    raise TediError(f"{raw}: not what it should be")


def test_conversion_leaves_the_converted_file_only(tmp_path: Path, add: Add, home: Path) -> None:
    data = zipped({"m/x": b"abc"})
    (tmp_path / "toy.zip").write_bytes(data)
    add(f"{tmp_path}/toy.zip!m/", data, convert=f"{__name__}:upper")
    assert zoo.pull("toy").read_bytes() == b"ABC"
    assert zoo.path("toy").name == "toy.safetensors"
    names = {path.name for path in (home / "weights/toy").iterdir()}
    assert names == {"toy.safetensors", "manifest.json"}


def test_failed_conversion_leaves_nothing(tmp_path: Path, add: Add, home: Path) -> None:
    data = zipped({"m/x": b"abc"})
    (tmp_path / "toy.zip").write_bytes(data)
    add(f"{tmp_path}/toy.zip!m/", data, convert=f"{__name__}:refuse")
    with pytest.raises(TediError, match="not what it should be"):
        zoo.pull("toy")
    assert zoo.cached("toy") is None
    assert left(home) <= {".toy.part"}


def test_cached_weights_need_no_network_and_no_writing(
    server: Server, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/toy.bin"] = PAYLOAD
    add(f"{server.url}/toy.bin", PAYLOAD)
    zoo.pull("toy")
    server.asked.clear()
    monkeypatch.setattr(store, "FileLock", raiser(errno.EROFS, ""))
    assert zoo.pull("toy").read_bytes() == PAYLOAD
    assert not server.asked


def test_copied_cache_serves_elsewhere(
    tmp_path: Path, server: Server, add: Add, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/toy.bin"] = PAYLOAD
    add(f"{server.url}/toy.bin", PAYLOAD)
    zoo.pull("toy")
    shutil.copytree(home / "weights/toy", tmp_path / "elsewhere/weights/toy")
    monkeypatch.setenv("TEDI_HOME", str(tmp_path / "elsewhere"))
    assert zoo.verify("toy") == tmp_path / "elsewhere/weights/toy/toy.bin"


def test_entry_of_another_version_is_fetched_anew(server: Server, add: Add) -> None:
    server.files.update({"/1": b"first", "/2": b"second"})
    add(f"{server.url}/1", b"first")
    zoo.pull("toy")
    add(f"{server.url}/2", b"second")
    assert zoo.cached("toy") is None
    assert zoo.pull("toy").read_bytes() == b"second"


def test_home_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEDI_HOME")
    assert zoo.home() == Path.home() / ".cache/tedi"


def test_progress_ends_at_the_total_and_is_rate_limited(server: Server, add: Add) -> None:
    data = PAYLOAD * 40
    server.files["/toy.bin"] = data
    add(f"{server.url}/toy.bin", data)
    calls: list[tuple[str, int, int | None]] = []
    zoo.pull("toy", progress=lambda *call: calls.append(call))
    done = [call[1] for call in calls if call[0] == "toy"]
    assert done == sorted(done)
    assert done[-1] == len(data)
    assert {call[2] for call in calls if call[0] == "toy"} == {len(data)}
    assert len(done) < len(data) // web.CHUNK


# Names and tables --------------------------------------------------------------------------------


def test_near_name_is_suggested() -> None:
    with pytest.raises(UsageError, match="unknown weights 'minilm'; did you mean 'minilm-l6'"):
        zoo.pull("minilm")


def test_path_of_absent_weights_says_how_to_get_them(add: Add) -> None:
    add("toy.bin", b"")
    with pytest.raises(TediError, match="tedi weights pull toy"):
        zoo.path("toy")


@pytest.mark.parametrize("name", zoo.ZOO)
def test_every_entry_is_complete(name: str) -> None:
    entry = zoo.ZOO[name]
    assert entry.name == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert sources.parse(entry.source)
    assert len(bytes.fromhex(entry.sha256)) == 32
    assert entry.size > 0
    assert all((entry.kind, entry.licence, entry.origin))


def test_shipped_weights_are_listed_and_read_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = json.dumps({"__metadata__": {"kind": "probe", "licence": "MIT"}}).encode()
    file = tmp_path / "scores.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path)
    assert zoo.shipped() == {"scores": file}
    assert zoo.metadata(file)["licence"] == "MIT"
    assert zoo.find("scores").kind == "probe"
    assert zoo.pull("scores") == zoo.path("scores") == zoo.verify("scores") == file


@pytest.mark.parametrize("data", [b"", b"PK\3\4 rather a zip", struct.pack("<Q", 4) + b"!!!!"])
def test_metadata_of_another_format_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(TediError, match="expected a safetensors"):
        zoo.metadata(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("pypi:random-face==1.2!a/b/", ("pypi", "random-face==1.2", "a/b/")),
        ("npm:@scope/name@1.2.3!p/x.bin", ("npm", "@scope/name@1.2.3", "p/x.bin")),
        ("hf:owner/repo@main!a/x.bin", ("hf", "owner/repo@main", "a/x.bin")),
        ("https://host/x.bin", ("https", "//host/x.bin", "")),
        ("http://127.0.0.1:80/x.zip!y", ("http", "//127.0.0.1:80/x.zip", "y")),
        ("file:///x.zip!y", ("file", "///x.zip", "y")),
        ("some/x.bin", ("file", "some/x.bin", "")),
        ("C:\\x.bin", ("file", "C:\\x.bin", "")),
    ],
)
def test_sources(source: str, parts: tuple[str, str, str]) -> None:
    got = sources.parse(source)
    assert (got.scheme, got.location, got.member) == parts


@pytest.mark.parametrize(
    "source",
    ["pypi:foo", "pypi:-r==1", "npm:foo", "npm:--x@1", "hf:a/b@c", "http://host/x", "ftp://h/x"],
)
def test_sources_outside_the_grammar_are_refused(source: str) -> None:
    with pytest.raises(UsageError, match=r"^source: expected"):
        sources.parse(source)


# A line that breaks ------------------------------------------------------------------------------


def ranges(server: Server) -> list[str | None]:
    return [headers.get("Range") for _, headers in server.asked]


def test_cut_connection_is_resumed(server: Server, add: Add) -> None:
    server.files["/toy.bin"], server.cuts = PAYLOAD, 1
    add(f"{server.url}/toy.bin", PAYLOAD)
    assert zoo.pull("toy").read_bytes() == PAYLOAD
    assert ranges(server) == [None, f"bytes={len(PAYLOAD) // 2}-"]


def test_next_pull_goes_on_where_the_last_one_failed(server: Server, add: Add, home: Path) -> None:
    server.files["/toy.bin"], server.cuts = PAYLOAD, web.TRIES
    add(f"{server.url}/toy.bin", PAYLOAD)
    with pytest.raises(TediError, match=r"the connection broke after \d+ of 512000 bytes"):
        zoo.pull("toy")
    assert left(home) == {".toy.part"}
    kept = (home / "weights/.toy.part/toy.bin").stat().st_size
    server.asked.clear()
    assert zoo.pull("toy").read_bytes() == PAYLOAD
    assert ranges(server) == [f"bytes={kept}-"]
    assert left(home) == {"toy"}


def test_server_without_ranges_starts_again(server: Server, add: Add) -> None:
    server.files["/toy.bin"], server.cuts, server.ranged = PAYLOAD, 1, False
    add(f"{server.url}/toy.bin", PAYLOAD)
    assert zoo.pull("toy").read_bytes() == PAYLOAD
    assert server.counts["/toy.bin"] == 2


@pytest.mark.parametrize("size", [1000, len(PAYLOAD), len(PAYLOAD) + 5])
def test_wrong_leftover_is_not_trusted(server: Server, add: Add, home: Path, size: int) -> None:
    server.files["/toy.bin"] = PAYLOAD
    add(f"{server.url}/toy.bin", PAYLOAD)
    (home / "weights/.toy.part").mkdir(parents=True)
    (home / "weights/.toy.part/toy.bin").write_bytes(b"?" * size)
    assert zoo.pull("toy").read_bytes() == PAYLOAD


def test_wrong_file_is_named_and_not_kept(server: Server, add: Add, home: Path) -> None:
    server.files["/toy.bin"] = b"something else"
    entry = add(f"{server.url}/toy.bin", PAYLOAD)
    got = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(TediError) as caught:
        zoo.pull("toy")
    for part in (entry.sha256[:12], got[:12], entry.source, "not the one tedi was tested with"):
        assert part in str(caught.value)
    assert entry.sha256[:13] not in str(caught.value)
    assert left(home) == set()


@pytest.mark.parametrize("status", [403, 404, 503])
def test_refusal_is_one_line_with_the_way_out(
    server: Server, add: Add, home: Path, status: int
) -> None:
    server.status = status
    add(f"{server.url}/toy.bin", PAYLOAD)
    with pytest.raises(TediError, match=f"HTTP {status}") as caught:
        zoo.pull("toy")
    assert f"copy {home / 'weights' / 'toy'} from another machine" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.counts["/toy.bin"] == (web.TRIES if status == 503 else 1)
    assert left(home) == set()


def test_nobody_answers(server: Server, add: Add) -> None:
    add("http://127.0.0.1:9/toy.bin", PAYLOAD)
    with pytest.raises(TediError, match=r"refused.*HTTP_PROXY"):
        zoo.pull("toy")


def test_missing_local_file(tmp_path: Path, add: Add) -> None:
    add(str(tmp_path / "toy.bin"), PAYLOAD)
    with pytest.raises(TediError, match=r"toy\.bin: no such file"):
        zoo.pull("toy")


def test_password_goes_to_its_own_host_and_into_no_message(
    server: Server, other_server: Server, add: Add, home: Path
) -> None:
    server.redirects["/toy.bin"] = f"{other_server.url}/toy.bin"
    other_server.files["/toy.bin"] = b"wrong"
    add(f"http://me:secret@127.0.0.1:{server.server_port}/toy.bin", PAYLOAD)
    with pytest.raises(TediError, match="sha256") as caught:
        zoo.pull("toy")
    assert server.asked[0][1]["Authorization"] == "Basic bWU6c2VjcmV0"
    assert "Authorization" not in other_server.asked[0][1]
    assert "secret" not in str(caught.value)
    other_server.files["/toy.bin"] = PAYLOAD
    zoo.pull("toy")
    assert "secret" not in (home / "weights/toy/manifest.json").read_text()


def test_token_is_not_carried_to_another_host(
    server: Server, other_server: Server, tmp_path: Path
) -> None:
    server.redirects["/x"] = f"{other_server.url}/x"
    other_server.files["/x"] = PAYLOAD
    report = transfer.Report("x", None, None)
    web.download(f"{server.url}/x", tmp_path / "x", report, {"Authorization": "Bearer t0ken"})
    assert server.asked[0][1]["Authorization"] == "Bearer t0ken"
    assert "Authorization" not in other_server.asked[0][1]


# A disk that refuses, a process that dies --------------------------------------------------------


@pytest.fixture
def pulled(server: Server, add: Add) -> Path:
    server.files["/toy.bin"] = PAYLOAD
    add(f"{server.url}/toy.bin", PAYLOAD)
    return zoo.pull("toy")


def test_truncated_file_is_named_and_mended(pulled: Path) -> None:
    pulled.write_bytes(PAYLOAD[:-1])
    for ask in (zoo.cached, zoo.path, zoo.pull):
        with pytest.raises(TediError, match=r"toy\.bin: expected 512000 bytes, got 511999") as told:
            ask("toy")
        assert "tedi weights pull toy --force" in str(told.value)
    assert zoo.pull("toy", force=True).read_bytes() == PAYLOAD


def test_verify_sees_what_sizes_do_not(pulled: Path) -> None:
    pulled.write_bytes(PAYLOAD[::-1])
    assert zoo.path("toy") == pulled
    with pytest.raises(TediError, match=r"toy\.bin: expected sha256 \w{12}, got \w{12}"):
        zoo.verify("toy")


@pytest.mark.parametrize("text", [None, "", "[]", "{}"])
def test_folder_without_a_manifest_is_not_trusted(pulled: Path, text: str | None) -> None:
    manifest = pulled.parent / "manifest.json"
    manifest.unlink() if text is None else manifest.write_text(text)
    with pytest.raises(TediError, match=r"manifest\.json.*--force"):
        zoo.pull("toy")
    assert zoo.pull("toy", force=True) == pulled


def test_missing_file_is_named(pulled: Path) -> None:
    pulled.unlink()
    with pytest.raises(TediError, match=r"toy\.bin: missing"):
        zoo.path("toy")


def run_pull(entry: zoo.Entry, home: str, results: "multiprocessing.Queue[str]") -> None:
    os.environ["TEDI_HOME"] = home
    zoo.ZOO["toy"] = entry
    results.put(str(zoo.pull("toy")))


def start(entry: zoo.Entry, home: Path, count: int) -> list[int | None]:
    """Exit codes of `count` processes that pull at once."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    many = [
        context.Process(target=run_pull, args=(entry, str(home), results)) for _ in range(count)
    ]
    for process in many:
        process.start()
    for process in many:
        process.join(30)
    return [process.exitcode for process in many]


def test_two_processes_fetch_once(server: Server, add: Add, home: Path) -> None:
    server.files["/toy.bin"], server.delay = PAYLOAD, 0.7
    entry = add(f"{server.url}/toy.bin", PAYLOAD)
    assert start(entry, home, 2) == [0, 0]
    assert server.counts["/toy.bin"] == 1
    assert zoo.path("toy").read_bytes() == PAYLOAD


def test_whoever_waited_uses_what_the_other_made(
    pulled: Path, server: Server, tmp_path: Path
) -> None:
    folder = store.Folder(zoo.ZOO["toy"])
    folder.path.rename(tmp_path / "made by another")
    held = store.FileLock(folder.lock)
    held.acquire()
    labels: list[str] = []

    def progress(label: str, done: int, total: int | None) -> None:
        labels.append(label)
        (tmp_path / "made by another").rename(folder.path)
        held.release()

    assert zoo.pull("toy", progress=progress) == pulled
    assert labels == ["toy: waiting for another process"]
    assert server.counts["/toy.bin"] == 1


def test_killed_process_leaves_nothing_that_counts(tmp_path: Path, add: Add, home: Path) -> None:
    data = zipped({"m/x": b"abc"})
    (tmp_path / "toy.zip").write_bytes(data)
    entry = add(f"{tmp_path}/toy.zip!m/", data, convert=f"{__name__}:die")
    assert start(entry, home, 1) == [9]
    assert ".toy.new" in left(home)
    assert zoo.cached("toy") is None
    add(f"{tmp_path}/toy.zip!m/", data, convert=f"{__name__}:upper")
    assert zoo.pull("toy").read_bytes() == b"ABC"
    assert left(home) == {"toy"}


def test_full_disk_while_downloading(
    server: Server, add: Add, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/toy.bin"] = PAYLOAD
    add(f"{server.url}/toy.bin", PAYLOAD)
    monkeypatch.setattr(web, "_save", raiser(errno.ENOSPC, ""))
    with pytest.raises(TediError, match=r"^TEDI_HOME: .*no space left while getting toy \(1 MB"):
        zoo.pull("toy")
    assert zoo.cached("toy") is None


def test_full_disk_while_unpacking_keeps_the_old_weights(
    tmp_path: Path, add: Add, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zipped({"m/x": b"abc"})
    (tmp_path / "toy.zip").write_bytes(data)
    add(f"{tmp_path}/toy.zip!m/", data)
    old = zoo.pull("toy")
    monkeypatch.setattr(unpack, "_copy", raiser(errno.ENOSPC, ""))
    with pytest.raises(TediError, match="no space left"):
        zoo.pull("toy", force=True)
    assert zoo.verify("toy") == old
    assert ".toy.new" not in left(home)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_home_that_cannot_be_written_is_named(
    server: Server, add: Add, home: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    add(f"{server.url}/toy.bin", PAYLOAD)
    monkeypatch.setattr(Path, "mkdir", raiser(number, str(home / "weights")))
    with pytest.raises(TediError, match=r"^TEDI_HOME: .*cannot write there") as caught:
        zoo.pull("toy")
    assert str(home) in str(caught.value)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_home(server: Server, add: Add, home: Path) -> None:
    add(f"{server.url}/toy.bin", PAYLOAD)
    home.mkdir(mode=0o500)
    with pytest.raises(TediError, match=r"^TEDI_HOME: .*cannot write there"):
        zoo.pull("toy")


def test_home_that_is_a_file(server: Server, add: Add, home: Path) -> None:
    add(f"{server.url}/toy.bin", PAYLOAD)
    home.write_text("")
    with pytest.raises(TediError, match=r"^TEDI_HOME: .*expected a folder, got a file"):
        zoo.pull("toy")


def raiser(number: int, file: str) -> Callable[..., None]:
    def fail(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number), file or None)

    return fail


# Archives that mean harm -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(zipped({"m/../../x": b"evil"}), id="zip"),
        pytest.param(zipped({"m//etc/x": b"evil"}), id="absolute"),
        pytest.param(zipped({"m/..\\x": b"evil"}), id="windows"),
        pytest.param(tarred(member("m/../../x")), id="tar"),
    ],
)
def test_member_that_climbs_out_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "archive").write_bytes(data)
    out = tmp_path / "deep/out"
    out.mkdir(parents=True)
    with pytest.raises(TediError, match="would land outside"):
        unpack.unpack(tmp_path / "archive", "m/", out)
    assert {path.name for path in tmp_path.rglob("*")} <= {"archive", "deep", "out", "m"}


def zip_link() -> bytes:
    info = zipfile.ZipInfo("m/x")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tarred(member("m/x", tarfile.SYMTYPE, "/etc/passwd")), id="symbolic"),
        pytest.param(tarred(member("m/x", tarfile.LNKTYPE, "/etc/passwd")), id="hard"),
        pytest.param(tarred(member("m/x", tarfile.FIFOTYPE)), id="pipe"),
        pytest.param(zip_link(), id="zip"),
    ],
)
def test_links_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(TediError, match="is a link or a device"):
        unpack.unpack(tmp_path / "archive", "m/", tmp_path)
    assert not (tmp_path / "m/x").exists()


def test_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "archive").write_bytes(zipped({"m/a": b"0" * 600, "m/b": b"0" * 600}))
    monkeypatch.setattr(unpack, "UNPACKED_LIMIT", 1000)
    with pytest.raises(TediError, match="unpacks to more than 1000 bytes"):
        unpack.unpack(tmp_path / "archive", "m/", tmp_path)


@pytest.mark.parametrize("wanted", ["m", "m/y", "x/", "/"])
def test_absent_member_is_named(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "archive").write_bytes(zipped({"m/x": b"1"}))
    (tmp_path / "out").mkdir()
    with pytest.raises(TediError, match=f"expected a member '{wanted}'"):
        unpack.unpack(tmp_path / "archive", wanted, tmp_path / "out")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(PAYLOAD)
    with pytest.raises(TediError, match="expected a zip or tar archive"):
        unpack.unpack(tmp_path / "archive", "m/", tmp_path)


# The project's own rule --------------------------------------------------------------------------


def test_no_registry_host_is_written_anywhere() -> None:
    root = Path(__file__).parents[1]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = [".".join(parts).encode() for parts in (("pypi", "org"), ("npmjs", "org"))]
    hosts += [".".join(parts).encode() for parts in (("npmjs", "com"), ("pythonhosted", "org"))]
    files = [root / name for name in listed.stdout.splitlines() if (root / name).is_file()]
    texts = {file: file.read_bytes() for file in files if file.stat().st_size < 10**6}
    assert not [str(file) for file, text in texts.items() if any(host in text for host in hosts)]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that takes no files")
def test_home_below_a_folder_that_takes_nothing(monkeypatch):
    monkeypatch.setenv("TEDI_HOME", "/proc/nowhere")
    with pytest.raises(TediError, match=r"^TEDI_HOME: .*cannot write there"):
        zoo.pull("minilm-l6")
