"""`tedi evaluate video`: how steady an edited video is, beside the one it was made of."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.evaluate import _bar, _load
from tedi.cli.options import Which, device_option
from tedi.errors import TediError, UsageError
from tedi.outputs import write_atomically
from tedi.prompts import clean

if TYPE_CHECKING:
    from tedi.metrics.score import Score
    from tedi.metrics.text import Judge
    from tedi.metrics.video import Filmed, Look
    from tedi.pipeline import Toolkit
    from tedi.video import Seen, Source

APART = 0.3  # sides by which the faces followed in both videos may differ


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--text",
    "texts",
    multiple=True,
    help="What was asked; how much of it frames show is measured.  [default: as AFTER tells]",
)
@click.option(
    "--face",
    "which",
    type=Which(),
    metavar="largest|K",
    help="The face to follow: largest or a number.  [default: as AFTER tells, else largest]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("evaluation", "video"),
    show_default=True,
    help="Folder for report.json, frames.jsonl, a line a frame, and chart.png.",
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not a table.")
def video(
    before: Path,
    after: Path,
    texts: tuple[str, ...],
    which: str | int | None,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Is the edited video AFTER as steady as BEFORE, of which it was made?

    Frames are compared with the next: the person, the picture, the points of the face, and what
    the edit adds, in the face and outside it. How much of the edit is seen is told over time.

    \b
    tedi evaluate video in.mp4 out.mp4
    tedi evaluate video in.mp4 theirs.mp4 --text "smiling"

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    from tedi.metrics.video import chart, scores
    from tedi.video.files import read_record

    record = read_record(after) or {}
    chosen = which or record.get("face", "largest")
    if chosen == "all":
        raise UsageError("--face: one face of a video is followed; give largest or K")
    sources = _sources(before, after, record)
    asked = [clean(text) for text in texts or (e["text"] for e in record.get("edits", ()))]
    model, judge = _load(device)
    # in a video of others nobody tells who was edited
    anyone = bool(record.get("anyone", not record))
    found = _watch(model, judge, sources, asked, face=chosen, anyone=anyone)
    listed = {name: scores(filmed) for name, filmed in found.items()}
    if not listed["after"]:
        raise TediError(f"{before}, {after}: no frame shows the face in both")
    report = _report(sources, found, listed, asked, chosen)
    picture = chart(found, title=f"{before.name} and {after.name}", subtitle=_subtitle(report))
    _write(out, report, found, picture)
    _tell(report, listed, out, as_json)


def _sources(before: Path, after: Path, record: Mapping[str, Any]) -> "tuple[Source, Source]":
    """Both videos; of the original, the part that the edited one was made of.

    Raises:
        UsageError: frames of another size.
    """
    from tedi.video import open_source

    start, end = float(record.get("start") or 0), record.get("end")
    sources = open_source(before, start=start, end=end), open_source(after)
    if sources[0].size != sources[1].size:
        sizes = [f"{s.path} {s.size[0]} x {s.size[1]}" for s in sources]
        raise UsageError(f"BEFORE, AFTER: expected frames of one size, got {' and '.join(sizes)}")
    return sources


def _watch(
    model: "Toolkit",
    judge: "Judge",
    sources: "tuple[Source, Source]",
    asked: Sequence[str],
    *,
    face: Any,
    anyone: bool,
) -> "dict[str, Filmed]":
    """The figures of both videos.

    Raises:
        UsageError: another number of frames.
    """
    import numpy as np
    from PIL import Image

    from tedi import images
    from tedi.metrics.video import Watcher
    from tedi.pipeline.photos import IDENTITY
    from tedi.semantics.hearing import hear
    from tedi.video import Tracker, frames

    identity, detector = model.photos.identity, model.photos.detector

    def image(picture: Image.Image) -> Any:
        small = picture.resize((256, 256), Image.Resampling.BOX)
        return images.to_image(np.asarray(small)[None]).to(model.device)

    def describe(crop: Image.Image) -> Any:
        import torch

        with torch.no_grad():
            return identity(image(crop))[0].cpu().numpy()

    watcher = Watcher(identity, judge.network)
    # who it is, the original tells; of the edited one the face at that place is compared
    trackers = [Tracker(detector, describe, face=face, anyone=a) for a in (anyone, True)]
    shot = -1
    with _bar(sources[0].total or 0, "frame") as bar:
        for pair in _pairs(sources, [frames(source) for source in sources]):
            seen = [track(frame.pixels) for track, frame in zip(trackers, pair, strict=True)]
            if seen[0].shot != shot:
                watcher.cut()
                shot = seen[0].shot
            looks = [
                _look(f.pixels, one, seen[0], image) for f, one in zip(pair, seen, strict=True)
            ]
            quad, (old, new) = seen[0].quad, looks
            if quad is None or old is None or new is None:
                watcher.skip()
            else:
                watcher(old, new, quad)
            bar.update(1)
    wants = [hear(model.text, text) for text in asked]
    looked = {"person": IDENTITY, "kept": IDENTITY, "picture": judge.name, "strength": judge.name}
    return watcher.filmed(float(sources[0].rate), wants=wants, networks=looked)


def _look(pixels: Any, seen: "Seen", first: "Seen", image: Any) -> "Look | None":
    """A frame of one video, cut out at the original's square; None without the same face."""
    from PIL import Image

    from tedi.metrics.video import Look
    from tedi.video.compose import cut_out

    if first.quad is None or seen.quad is None or seen.points is None:
        return None
    if _apart(first.quad, seen.quad) > APART:
        return None
    return Look(pixels, seen.points, image(cut_out(Image.fromarray(pixels), first.quad, 256)))


def _pairs(sources: "tuple[Source, Source]", both: Sequence[Iterator[Any]]) -> Iterator[Any]:
    """Frames of both videos together.

    Raises:
        UsageError: one has more than the other.
    """
    number = 0
    while True:
        pair = [next(frames, None) for frames in both]
        if pair == [None, None]:
            return
        for frame, source in zip(pair, sources, strict=True):
            if frame is None:
                raise UsageError(
                    f"BEFORE, AFTER: expected as many frames in both, {source.path} ends after "
                    f"{number}; give the part that was edited"
                )
        number += 1
        yield pair


def _apart(quad: Any, other: Any) -> float:
    """How far the middles of two squares lie apart, in sides."""
    import numpy as np

    side = np.linalg.norm(quad[3] - quad[0])
    return float(np.linalg.norm(quad.mean(0) - other.mean(0)) / side)


def _report(
    sources: "tuple[Source, Source]",
    found: "Mapping[str, Filmed]",
    listed: "Mapping[str, Sequence[Score]]",
    asked: Sequence[str],
    face: Any,
) -> dict[str, Any]:
    from tedi import __version__
    from tedi.metrics.text import jsonable

    kept = found["after"].series["kept"]
    return {
        "evaluates": "video",
        "before": sources[0].path.name,
        "after": sources[1].path.name,
        "texts": list(asked),
        "face": face,
        "frames": len(kept),
        "with_face": int((~kept.isnan()).sum()),
        "interval": "95 %, bootstrap over blocks of a second",
        "version": __version__,
        "scores": {name: [jsonable(score) for score in each] for name, each in listed.items()},
    }


def _subtitle(report: Mapping[str, Any]) -> str:
    texts = ", ".join(report["texts"]) or "not told"
    return f"{report['with_face']} of {report['frames']} frames show the face; asked: {texts}"


def _write(
    out: Path, report: Mapping[str, Any], found: "Mapping[str, Filmed]", picture: Any
) -> None:
    """The report, a line for each frame, and the chart; those of an earlier run are replaced."""
    columns = {
        f"{key} {name}": values.tolist()
        for name, filmed in found.items()
        for key, values in {**filmed.series, **filmed.strength}.items()
    }
    rows = [
        {
            "frame": n,
            **{key: None if v[n] != v[n] else round(v[n], 6) for key, v in columns.items()},
        }
        for n in range(report["frames"])
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    whole = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    for name, content in (("report.json", whole), ("frames.jsonl", lines)):
        write = functools.partial(Path.write_text, data=content, encoding="utf-8")
        write_atomically(out / name, write, exist="overwrite")
    write_atomically(out / "chart.png", picture.save, exist="overwrite")


def _tell(
    report: Mapping[str, Any], listed: "Mapping[str, Sequence[Score]]", out: Path, as_json: bool
) -> None:
    from tedi.metrics.report import table

    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    lines = [f"{report['before']} and {report['after']}", _subtitle(report), ""]
    for line in [*lines, *table(listed), "", f"{out / 'report.json'}"]:
        click.echo(line)
