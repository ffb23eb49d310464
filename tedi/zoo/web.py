"""A file over HTTP, resumed where it broke off."""

import base64
import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tedi.zoo.transfer import Report, Unreachable

CHUNK = 2**18
TRIES = 4
PAUSE = 0.5
"""Seconds before the second try; the wait grows by as much with each further one."""
_BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    ssl.SSLError,
    ConnectionError,
    TimeoutError,
)
_NONE: Mapping[str, str] = {}
TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as dead."""


def download(url: str, part: Path, report: Report, headers: Mapping[str, str] = _NONE) -> None:
    """Fetches `url` into `part`, continuing behind the bytes that `part` already has.

    A resumed file is only as good as its first half: whoever calls this compares its hash.
    A user name and password in the URL are sent to that host alone.

    Args:
        url: http or https.
        part: file to write; kept after a failure, for the next time.
        report: told the bytes done.
        headers: sent to that host alone, as credentials must be.

    Raises:
        Unreachable: the server refused, or the connection failed `TRIES` times.
        OSError: the file cannot be written.
    """
    reason = ""
    for attempt in range(TRIES):
        time.sleep(PAUSE * attempt)
        try:
            with _opened(url, _size(part), headers) as response:
                reason = _save(response, part, report)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # nothing is left to fetch
            reason = _why(error)
            if error.code < 500:
                break
        except _BROKEN as error:
            reason = _why(error)
        if not reason:
            return
    raise Unreachable(reason)


def read(url: str, headers: Mapping[str, str]) -> bytes:
    """A small document; raises Unreachable."""
    try:
        with _opened(url, 0, headers) as response:
            return response.read()
    except _BROKEN as error:
        raise Unreachable(_why(error)) from error


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(getattr(error, "reason", error)) or type(error).__name__


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _opened(url: str, start: int, headers: Mapping[str, str]) -> http.client.HTTPResponse:
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl())
    if at:
        pair = urllib.parse.unquote(user).encode()
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    if start:
        request.add_header("Range", f"bytes={start}-")
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    return response


def _save(response: http.client.HTTPResponse, part: Path, report: Report) -> str:
    """Empty, or how the transfer fell short."""
    resumed = response.status == http.client.PARTIAL_CONTENT
    done = _size(part) if resumed else 0
    length = response.headers.get("Content-Length")
    total = done + int(length) if length else None
    report.total = total or report.total
    with part.open("ab" if resumed else "wb") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            report(done)
    if total is not None and done < total:
        return f"the connection broke after {done} of {total} bytes"
    report(done, final=True)
    return ""
