"""Video files: upright frames with their times, and files with the sound of another, by PyAV.

PyAV, which carries FFmpeg's libraries, is imported here alone and only when a video is opened.
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tedi.errors import TediError, UsageError
from tedi.images import DIGITAL_SOURCE_TYPE

if TYPE_CHECKING:
    import av.container

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
"""Of files that can be written."""

ENCODERS = {"libx264": "H.264", "mpeg4": "MPEG-4 part 2"}
"""Encoders of pictures by preference, and the formats they write."""

INSTALL = "videos are read by PyAV; install it with: pip install 'av>=14'"

_UNTOLD, _BT601 = 2, 5  # FFmpeg's number of colours that a file does not tell, and of BT.601
_SPACES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}  # AVColorSpace -> what its scaler calls it
_LIMITED = 1  # levels 16 to 235
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


# --- reading -------------------------------------------------------------------------------------


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
            tuple(notes + _dropped(container)),
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
        begin, end = _ticks(source.start, source.tick), _ticks(source.end, source.tick)
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


def _ticks(seconds: float | None, tick: Fraction) -> Any:
    return None if seconds is None else round(Fraction(seconds) / tick)


def _upright(frame: Any, source: Source) -> np.ndarray:
    """Pixels (H, W, 3) as a player shows them."""
    space = _SPACES.get(frame.colorspace, _BT601)
    turned = frame.rotation % 180 != 0
    width, height = source.size[::-1] if turned else source.size
    if abs(frame.width - width) > 1 or abs(frame.height - height) > 1:  # pixels that are no squares
        frame = frame.reformat(width=width, height=height, format="rgb24", src_colorspace=space)
    else:
        frame = frame.reformat(format="rgb24", src_colorspace=space)
    pixels = np.rot90(frame.to_ndarray(), frame.rotation // 90)
    return np.ascontiguousarray(pixels[: source.size[1], : source.size[0]])


# --- writing -------------------------------------------------------------------------------------


def choose_encoder() -> str:
    """The first of `ENCODERS` that this PyAV has.

    Raises:
        TediError: it has none.
    """
    av = pyav()
    for name in ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except ValueError:  # as PyAV says that it has none of this name
            continue
        return name
    raise TediError(f"this PyAV writes none of {', '.join(ENCODERS)}; install another build")


def check_out(out: Path, source: Source, *, audio: bool) -> None:
    """Raises what writing a video would, before anything is read.

    Raises:
        UsageError: another suffix, or a format that cannot hold the sound.
        TediError: it cannot be written there.
    """
    if out.suffix.lower() not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"--out: expected a video as {known}, got {out}")
    if out.exists() and out.samefile(source.path):
        raise UsageError("--out: is the video itself; name another file")
    if audio and source.sound:
        for codec in source.sound:
            if not _holds(out.suffix.lower(), codec):
                raise UsageError(
                    f"--out: {out.suffix} cannot hold {codec} sound as it is; name a .mkv file, or "
                    "pass --no-audio"
                )


def _holds(suffix: str, codec: str) -> bool:
    """Whether a format can hold sound as it is; formats are asked by their own lists."""
    import io

    av = pyav()
    kind = {".mkv": "matroska", ".mov": "mov"}.get(suffix, "mp4")
    name = "mp3" if codec.startswith("mp3") else codec
    with av.open(io.BytesIO(), "w", format=kind) as container:
        return name in container.supported_codecs


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What goes wrong while a file is written becomes a line that names it."""
    av = pyav()
    try:
        yield
    except av.error.FFmpegError as error:
        reason = (error.strerror or str(error)).lower()
        raise TediError(f"{path}: cannot be written ({reason})") from error


class Piece:
    """Some frames of a video as a file of their own, which begins with a whole picture.

    Its times begin at 0. There are no frames that depend on later ones, so that pieces can be
    joined at any of their ends.

    Args:
        path: of the file.
        source: whose size, rate and colours it has.
        encoder: a name of `ENCODERS`.
        crf: quality: 0 lossless, 18 hardly told from the source, 51 worst.
    """

    def __init__(self, path: Path, source: Source, *, encoder: str, crf: int) -> None:
        av = pyav()
        self.path = path
        self.first: int | None = None
        with _writing(path):
            self.container = av.open(str(path), "w", format="mp4")
        self.stream = stream = self.container.add_stream(encoder, rate=source.rate)
        stream.width, stream.height = source.size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = source.tick
        matrix, primaries, transfer = source.colours
        self.space = _SPACES.get(matrix, _BT601)
        context.color_range = _LIMITED
        context.colorspace, context.color_primaries, context.color_trc = matrix, primaries, transfer
        context.options = {"bf": "0"}
        if encoder == "libx264":
            context.options |= {"crf": str(crf), "preset": "fast"}
        else:
            context.qmin = context.qmax = max(2, min(31, round(crf / 4)))

    def write(self, pixels: np.ndarray, time: int, duration: int) -> None:
        """Add a picture (H, W, 3) uint8 RGB; times in ticks of the source, rising."""
        av = pyav()
        if self.first is None:
            self.first = time
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=self.space, dst_color_range=_LIMITED
        )
        frame.pts, frame.time_base = time - self.first, self.stream.codec_context.time_base
        frame.duration = duration
        with _writing(self.path):
            self.container.mux(self.stream.encode(frame))

    def __enter__(self) -> Piece:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        with _writing(self.path):
            try:
                if kind is None:
                    self.container.mux(self.stream.encode())
            finally:
                self.container.close()


def join(
    pieces: Sequence[tuple[Path, int]],
    source: Source,
    out: Path,
    *,
    record: Mapping[str, Any],
    audio: bool = True,
) -> None:
    """Write a video of pieces, with the sound of the source as it is.

    Args:
        pieces: files of `Piece` and the time in ticks at which each begins.
        source: gives the sound.
        out: the file; its suffix is the format.
        record: how it was made; goes into the comment beside the statement, in IPTC's words, that
            the video is synthetic.
        audio: keep the sound.
    """
    av = pyav()
    kind = "matroska" if out.suffix.lower() == ".mkv" else out.suffix.lower()[1:]
    kind = "mp4" if kind == "m4v" else kind
    options = {} if kind == "matroska" else {"movflags": "+faststart"}
    with (
        _writing(out),
        av.open(str(pieces[0][0])) as first,
        av.open(str(source.path)) as sounding,
        av.open(str(out), "w", format=kind, options=options) as container,
    ):
        container.metadata.update(_tags(record))
        target = container.add_stream_from_template(first.streams.video[0])
        target.time_base = source.tick
        heard = sounding.streams.audio if audio else ()
        targets = {s.index: container.add_stream_from_template(s) for s in heard}
        both = [_pictures(pieces, target, source)]
        if targets:
            both.append(_sound(sounding, targets, source))
        for _, packet in heapq.merge(*both, key=lambda pair: pair[0]):
            container.mux_one(packet)


def _tags(record: Mapping[str, Any]) -> dict[str, str]:
    told = {"digital_source_type": DIGITAL_SOURCE_TYPE, "tedi": dict(record)}
    return {
        "comment": json.dumps(told, ensure_ascii=False),
        "description": str(record.get("prompt", ""))[:5000],
    }


def _pictures(
    pieces: Sequence[tuple[Path, int]], target: Any, source: Source
) -> Iterator[tuple[Fraction, Any]]:
    """Packets of pieces in order, each with its time in seconds."""
    av = pyav()
    for path, begin in pieces:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.dts is None:  # the end
                    continue
                scale = stream.time_base / source.tick
                packet.pts, packet.dts = (
                    round(t * scale) + begin for t in (packet.pts, packet.dts)
                )
                packet.duration = round((packet.duration or 0) * scale)
                packet.time_base, packet.stream = source.tick, target
                yield packet.dts * source.tick, packet


def _sound(
    container: av.container.InputContainer, targets: Mapping[int, Any], source: Source
) -> Iterator[tuple[Fraction, Any]]:
    """Packets of sound within the part, each with its time in seconds."""
    streams = [container.streams[index] for index in targets]
    if source.start:
        container.seek(int(source.start * 1_000_000))
    begin = _ticks(source.start, source.tick) * source.tick
    for packet in container.demux(streams):
        if packet.dts is None or packet.pts is None:
            continue
        time = packet.pts * packet.time_base
        if source.start and time < begin:
            continue
        if source.end is not None and time >= source.end:
            continue
        shift = round(begin / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = targets[packet.stream.index]
        yield packet.dts * packet.time_base, packet
