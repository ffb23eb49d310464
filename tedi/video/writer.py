"""Video files that are written: pieces, joined with the sound of another file, by PyAV."""

from __future__ import annotations

import heapq
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tedi.errors import TediError, UsageError
from tedi.images import DIGITAL_SOURCE_TYPE
from tedi.video.files import BT601, SPACES, Source, pyav, ticks_of

if TYPE_CHECKING:
    import av.container

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
"""Of files that can be written."""

ENCODERS = {"libx264": "H.264", "mpeg4": "MPEG-4 part 2"}
"""Encoders of pictures by preference, and the formats they write."""

_LIMITED = 1  # levels 16 to 235


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
        self.space = SPACES.get(matrix, BT601)
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
    begin = ticks_of(source.start, source.tick) * source.tick
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
