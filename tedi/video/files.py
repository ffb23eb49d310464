"""Video files that are read: upright frames with their times, by PyAV.

PyAV, which carries FFmpeg's libraries, is imported here alone and only when a video is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tedi.errors import TediError, UsageError

INSTALL = "videos are read by PyAV; install it with: pip install 'av>=14'"

BT601 = 5  # FFmpeg's number of the colours that are taken where a file tells none
SPACES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # AVColorSpace -> what its scaler calls it
_HDR = {16: "PQ", 18: "HLG"}  # AVColorTransferCharacteristic -> name, of more light than a screen's
_MISSING = Fraction(1, 5)  # seconds short of what a file promises that are no damage
_STILLS = ("image2", "gif")  # what FFmpeg calls files of pictures, and names ending in _pipe


@dataclass(frozen=True)
class Source:
    """A video, or a part of one.

    Attributes:
        path: the file.
        size: (width, height) of upright frames with square pixels, both even.
        tick: seconds that all its times are multiples of.
        rate: frames a second, the mean where it varies.
        total: frames that will come, as far as the file tells; None if it does not.
        start: seconds at which the part begins.
        end: seconds before which it ends; None for the end of the file.
        sound: codecs of its audio streams.
        colours: (matrix, primaries, transfer) in FFmpeg's numbers.
        notes: what is not kept as it is, for people.
    """

    path: Path
    size: tuple[int, int]
    tick: Fraction
    rate: Fraction
    total: int | None
    start: float
    end: float | None
    sound: tuple[str, ...]
    colours: tuple[int, int, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        number: from 0, counted from the start of the part.
        time: in ticks of the source, from the start of the part.
        duration: in ticks; 0 if it is not told.
        pixels: (H, W, 3) uint8 RGB, upright.
    """

    number: int
    time: int
    duration: int
    pixels: np.ndarray


def pyav() -> Any:
    """The package `av`.

    Raises:
        TediError: it is not installed; the message says how to.
    """
    try:
        import av
    except ImportError as error:
        raise TediError(INSTALL) from error
    return av


def open_source(
    path: str | os.PathLike[str], *, start: float = 0.0, end: float | None = None
) -> Source:
    """What is known of a video before it is read.

    Args:
        path: the file.
        start: seconds at which to begin.
        end: seconds before which to end; None for all.

    Raises:
        UsageError: a picture, or times that leave nothing.
        TediError: PyAV is missing, no such file, no video, damaged, or without frames.
    """
    if start < 0 or (end is not None and end <= start):
        raise UsageError(f"--start, --end: expected 0 <= start < end, got {start:g} and {end:g}")
    path = Path(path)
    with _opened(path) as container:
        stream = _stream(container, path)
        first = next(container.decode(stream), None)
        if first is None:
            raise TediError(f"{path}: holds no frame that can be read")
        audio = tuple(each.codec_context.name for each in container.streams.audio)
        size, notes = _size(first, stream)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        length = _seconds(stream, container)
        if length is not None and start >= length:
            raise UsageError(f"--start {start:g}: {path} ends at {length:.2f} s")
        return Source(
            path,
            size,
            Fraction(1, stream.time_base.denominator),
            Fraction(rate),
            _total(stream.frames, length, rate, start, end),
            start,
            end,
            audio,
            (first.colorspace, first.color_primaries, first.color_trc),
            tuple(notes + _levels(first, stream) + _dropped(container)),
        )


def frames(source: Source, *, skip: int = 0) -> Iterator[Frame]:
    """Frames of a source in the order they are shown, one in memory at a time.

    Args:
        source: of `open_source`.
        skip: of the frames that many are left out; those after them are as they were.

    Raises:
        TediError: the file is damaged; the message says where.
    """
    number, until = 0, Fraction(0)
    with _opened(source.path, lambda: f"damaged after {float(until):.2f} s") as container:
        stream = container.streams.video[0]
        scale = stream.time_base.numerator
        begin, end = ticks_of(source.start, source.tick), ticks_of(source.end, source.tick)
        if begin:
            container.seek(begin // scale, stream=stream)
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            ticks, duration = frame.pts * scale, (frame.duration or 0) * scale
            if end is not None and ticks >= end:
                return
            until = (ticks + duration) * source.tick
            if ticks < begin:
                continue
            if number >= skip:
                yield Frame(number, ticks - begin, duration, _upright(frame, source))
            number += 1
        if stream.duration:
            promised = (stream.duration + (stream.start_time or 0)) * stream.time_base
            promised = promised if end is None else min(promised, end * source.tick)
            if promised - until > max(_MISSING, 2 / source.rate):
                raise TediError(
                    f"{source.path}: damaged after {float(until):.2f} of {float(promised):.2f} s; "
                    f"get it anew, or pass --end {float(until):.2f}"
                )


def read_record(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The record of how a video was made, or None where there is none.

    Raises:
        TediError: no such file, or no video.
    """
    with _opened(Path(path)) as container:
        told = {name.lower(): text for name, text in container.metadata.items()}
    try:
        record = json.loads(told.get("comment", ""))["tedi"]
    except (ValueError, KeyError, TypeError):
        return None
    return record if isinstance(record, dict) else None


@contextmanager
def _opened(path: Path, where: Any = None) -> Iterator[Any]:
    """An open video; what goes wrong while it is open becomes a line that names the file."""
    av = pyav()
    if not path.exists():
        raise TediError(f"{path}: no such file")
    if path.is_dir():
        raise TediError(f"{path}: is a folder; name a video in it")
    try:
        with av.open(str(path)) as container:
            yield container
    except PermissionError:
        raise TediError(f"{path}: no permission to read it") from None
    except av.error.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        said = where() if where else "no video tedi can read, or a damaged one"
        advice = "get it anew, or pass --end" if where else "get it anew or convert it to MP4"
        raise TediError(f"{path}: {said} ({reason}); {advice}") from error


def _stream(container: Any, path: Path) -> Any:
    """The stream of pictures that is shown.

    Raises:
        UsageError: the file is a picture.
        TediError: there is none.
    """
    av = pyav()
    shown = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not shown:
        raise TediError(f"{path}: holds no video")
    kind = container.format.name
    if kind in _STILLS or kind.endswith("_pipe"):
        raise UsageError(f"{path}: is a picture; change it with: tedi edit {path} TEXT")
    if shown[0].codec_context is None:
        raise TediError(f"{path}: no decoder here for its pictures; convert it to H.264")
    if shown[0].index != container.streams.video[0].index:
        raise TediError(f"{path}: its first stream of pictures is a cover; convert it to MP4")
    return shown[0]


def _size(frame: Any, stream: Any) -> tuple[tuple[int, int], list[str]]:
    """Width and height of upright frames, both even, and what is to be told of it."""
    notes = []
    width, height = frame.width, frame.height
    shape = stream.codec_context.sample_aspect_ratio or stream.sample_aspect_ratio
    if shape and shape != 1:
        width = round(width * shape)
        notes.append(f"pixels of shape {shape} are made square")
    if frame.rotation % 180:
        width, height = height, width
    if frame.rotation:
        notes.append(f"turned upright by {frame.rotation}°, as players show it")
    if width % 2 or height % 2:
        notes.append(f"{width} x {height}: cut by one pixel, since H.264 needs even numbers")
    size = (width - width % 2, height - height % 2)
    if min(size) < 16:
        raise TediError(f"frames of {width} x {height} pixels are too small for a video")
    return size, notes


def _levels(frame: Any, stream: Any) -> list[str]:
    """What 8 bits of red, green and blue do not hold of a frame.

    The curve of HDR levels is left on them, and is told in what is written: so players show them
    as they were, in coarser steps.
    """
    notes = []
    parts = frame.format.components
    # the transparency of VP8 and VP9 lies beside the pictures
    told = {name.lower(): text for name, text in stream.metadata.items()}
    if any(part.is_alpha for part in parts) or told.get("alpha_mode") == "1":
        notes.append("transparency is left out")
    bits = max(part.bits for part in parts)
    if bits > 8:
        notes.append(f"{bits} bits a channel become 8")
    if frame.color_trc in _HDR:
        notes.append(
            f"HDR ({_HDR[frame.color_trc]}): levels stay as they are, in steps of 8 bits, and the "
            "face is read without tone mapping; convert it to SDR for a better edit"
        )
    return notes


def _dropped(container: Any) -> list[str]:
    others = [s.type for s in container.streams if s.type not in ("video", "audio")]
    others += ["video"] * (len(container.streams.video) - 1)
    return [f"left out: {', '.join(sorted(set(others)))} streams"] if others else []


def _seconds(stream: Any, container: Any) -> float | None:
    """Length, as far as the file tells."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _total(
    told: int, length: float | None, rate: Fraction, start: float, end: float | None
) -> int | None:
    """Frames between two times."""
    if not start and end is None and told:
        return told
    if length is None:
        return None
    return max(1, round((min(length, end or length) - start) * rate))


def ticks_of(seconds: float | None, tick: Fraction) -> Any:
    """Seconds in ticks; None for None."""
    return None if seconds is None else round(Fraction(seconds) / tick)


def _upright(frame: Any, source: Source) -> np.ndarray:
    """Pixels (H, W, 3) as a player shows them."""
    space = SPACES.get(frame.colorspace, BT601)
    turned = frame.rotation % 180 != 0
    width, height = source.size[::-1] if turned else source.size
    if abs(frame.width - width) > 1 or abs(frame.height - height) > 1:  # pixels that are no squares
        frame = frame.reformat(width=width, height=height, format="rgb24", src_colorspace=space)
    else:
        frame = frame.reformat(format="rgb24", src_colorspace=space)
    pixels = np.rot90(frame.to_ndarray(), frame.rotation // 90)
    return np.ascontiguousarray(pixels[: source.size[1], : source.size[0]])
