"""`tedi video`: a video and words in, the video with its face changed out."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.asked import Along, direction_option, is_given, mapper_option, read_asked
from tedi.cli.faces import Step
from tedi.cli.generate import _exists, _load
from tedi.cli.options import Which, device_option, models_of, models_option
from tedi.cli.photos import detail_option
from tedi.cli.schedules import tuning_schedule_options
from tedi.cli.video_networks import moves, networks_of, tuning_options
from tedi.editing import EDITS, STRONGEST
from tedi.errors import UsageError
from tedi.outputs import slug
from tedi.prompts import STRENGTH

if TYPE_CHECKING:
    from tedi.inversion.pti import TuningOptions
    from tedi.pipeline import Toolkit
    from tedi.video import Settings, Source

MAX_LISTED = 8  # gaps that are told one by one
FIELD = 0.25  # widths more on every side
KEY_FRAMES, MAX_KEY_FRAMES = 6, 64  # that a generator is tuned to
OF_TUNING = {"key_frames": "--key-frames", "preset": "--preset", "changes": "--set"}


class Strength(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`1`, or one number a TEXT as in `0.5,1`.

    >>> Strength().convert("0.5,1", None, None)
    (0.5, 1.0)
    """

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """The numbers, each 0 to 10."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"expected 1 or 0.5,1, got {value[:40]!r}", param, ctx)
        if not all(0 <= number <= STRONGEST for number in numbers):
            self.fail(f"expected 0 to {STRONGEST}, got {value[:40]!r}", param, ctx)
        return numbers


@click.command()
@click.argument("video", type=click.Path(path_type=Path))
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option(
    "--strength",
    type=Strength(),
    default=f"{STRENGTH:g}",
    show_default=True,
    help="0 changes nothing, 1 reaches what is asked, more goes on; one number, or one a TEXT.",
)
@click.option(
    "--method",
    type=click.Choice(list(EDITS)),
    default="default",
    show_default=True,
    help="How a text changes a code.",
)
@mapper_option
@direction_option
@click.option(
    "--face",
    "which",
    type=Which(),
    default="largest",
    show_default=True,
    metavar="largest|K",
    help="The face to follow; a number counts from the largest at its first frame.",
)
@click.option(
    "--anyone",
    is_flag=True,
    help="After a cut that does not show the person, change whom it shows.  [default: the person "
    "alone]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A .mp4, .mov or .mkv file.  [default: VIDEO-TEXT.mp4 here]",
)
@click.option("--start", type=click.FloatRange(0), default=0.0, help="Seconds at which to begin.")
@click.option("--end", type=click.FloatRange(0, min_open=True), help="Seconds before which to end.")
@click.option(
    "--size",
    type=click.Choice(["preview", "full"]),
    default="preview",
    show_default=True,
    help="Draw faces at 256 px, or at 1024 px, several times as slow, for faces larger than that.",
)
@click.option(
    "--smooth",
    type=click.IntRange(0, 30),
    default=2,
    show_default=True,
    help="Frames on each side over which codes and places are smoothed; 0 for none.",
)
@click.option(
    "--crop",
    type=click.Choice(["face", "first"]),
    help="The square that is drawn: it goes and turns with the face, or stays where the shot first "
    "showed it, and the generator moves the face.  [default: first for a StyleGAN3, else face]",
)
@click.option(
    "--field",
    type=click.FloatRange(0, 0.5),
    default=FIELD,
    show_default=True,
    help="Widths that --crop first draws more on every side, for large hair and steps aside.",
)
@click.option(
    "--per-frame",
    is_flag=True,
    help="Find the edit for each frame by itself, not once for the clip: it flickers more.",
)
@click.option(
    "--tune",
    is_flag=True,
    help="Tune the generator to the person first: more alike, and minutes more.",
)
@click.option(
    "--key-frames",
    type=click.IntRange(1, MAX_KEY_FRAMES),
    default=KEY_FRAMES,
    show_default=True,
    help="Frames of each person, spread over the video, that --tune looks at.",
)
@tuning_schedule_options
@detail_option
@click.option(
    "--crf",
    type=click.IntRange(0, 51),
    default=18,
    show_default=True,
    help="Quality: 0 lossless, 18 hardly told from the source, 51 worst.",
)
@click.option("--audio/--no-audio", default=True, show_default=True, help="Keep the sound.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
@click.option("--anyway", is_flag=True, help="Go on though nothing of a TEXT is understood.")
@models_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line, not the path.")
@click.option("--dry-run", is_flag=True, help="Print how each TEXT is read; make nothing.")
def video(
    video: Path,
    texts: tuple[str, ...],
    strength: tuple[float, ...],
    method: str,
    mappers: tuple[Path, ...],
    directions: tuple[Along, ...],
    which: str | int,
    anyone: bool,
    out: Path | None,
    start: float,
    end: float | None,
    size: str,
    smooth: int,
    crop: str | None,
    field: float,
    per_frame: bool,
    tune: bool,
    key_frames: int,
    preset: str | None,
    changes: tuple[str, ...],
    detail: float,
    crf: int,
    audio: bool,
    resume: bool,
    overwrite: bool,
    anyway: bool,
    generator: Path | None,
    encoder: Path | None,
    device: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Change the face in VIDEO by TEXT.

    One person is followed, also over cuts; the face is changed in every frame and put back; the
    rest of the picture, the timing and the sound stay. Frames without the person, and those that
    show somebody else alone, stay as they are and are listed.

    \b
    tedi video in.mp4 "smiling" --out out.mp4
    tedi video in.mp4 "older" "with glasses" --strength 0.7,1
    tedi video party.mp4 "smiling" --face 2 --start 4 --end 9.5
    tedi video in.mp4 "smiling" --out out.mp4 --resume
    tedi video in.mp4 "smiling" --tune --key-frames 10 --set steps=120
    tedi video in.mp4 "smiling" --generator my-stylegan3.safetensors --field 0.1
    tedi video in.mp4 --direction smile=2 --direction red.safetensors=1.5
    tedi video in.mp4 --mapper afro.pt --generator my.pkl --encoder my-e4e.pt

    TEXT needs a generator whose W tedi's words know; with another, and an encoder of its
    own, a latent mapper edits. A run that was stopped leaves a folder OUT.work; --resume goes
    on with it. The path goes to stdout, progress and remarks to stderr.
    """  # noqa: D301
    from tedi import zoo
    from tedi.video import Settings, open_source
    from tedi.video.writer import check_out

    if which == "all":
        raise UsageError("--face: one face of a video is changed at a time; give largest or K")
    for name, option in OF_TUNING.items():
        if not tune and is_given(name):
            raise UsageError(f"{option}: is for --tune; pass that, too, or leave it out")
    tuning = tuning_options(size, preset, changes) if tune else None
    if crop == "face" and is_given("field"):
        raise UsageError("--field: is for --crop first; pass that, or leave it out")
    asked = read_asked(texts, method, mappers, directions)
    if not asked.labels:
        raise UsageError(
            'give what to change, as in: tedi video in.mp4 "smiling", or --mapper or --direction'
        )
    steps = (*_steps(asked.texts, strength, asked.method), *asked.directions)
    source = open_source(video, start=start, end=end)
    path = out or _free(f"{video.stem}-{slug(' '.join(asked.labels))}.mp4")
    check_out(path, source, audio=audio)
    if os.path.lexists(path) and not (overwrite or dry_run):
        raise _exists(path)
    models = models_of(generator, encoder)
    model = _load(**models, device=device, dtype="float32", compiled=False)
    if dry_run:
        return asked.explain(model, as_json=as_json)
    kept: Any = crop or ("first" if moves(model.generator) else "face")
    wide = field if kept == "first" or is_given("field") else 0.0
    unheard = asked.listen(model, anyway=anyway)
    face: Any = which
    count = key_frames if tune else 0
    settings = Settings(face, smooth, detail, per_frame, crf, audio, count, kept, wide, anyone)
    plan = Plan(source, path, steps, size, settings, tuning)
    notes = [*source.notes, *encoder_told()]
    _remark(notes)
    record = plan.write(model, zoo.sha256(video), anyway=anyway, resume=resume)
    _remark(gaps_told(record))
    told = {"path": str(path), **record, "unheard": unheard, "notes": notes}
    click.echo(json.dumps(told, ensure_ascii=False) if as_json else str(path))


@dataclass(frozen=True)
class Plan:
    """What to make of a video.

    Attributes:
        source: the video.
        out: the file that comes of it.
        steps: the edits, one after the other.
        size: "preview" or "full".
        settings: how it is worked on.
        tuning: how the generator is tuned to persons; None: it is not.
    """

    source: "Source"
    out: Path
    steps: tuple[Step, ...]
    size: str
    settings: "Settings"
    tuning: "TuningOptions | None" = None

    def write(self, model: "Toolkit", sha256: str, *, anyway: bool, resume: bool) -> dict[str, Any]:
        """Write the video; gives its record."""
        from tedi.video import Clip

        networks = networks_of(
            model,
            self.steps,
            size=self.size,
            anyway=anyway,
            tune=self.tuning,
            field=self.settings.field,
        )
        networks.edit(model.generator.w_avg.expand(1, model.generator.slots, -1))  # is it heard?
        told = self._told(model, sha256)
        clip = Clip(self.source, self.out, networks, self.settings, run=told, resume=resume)
        with Passes(3 if self.settings.tune else 2) as passes:
            found = clip.find(passes)
            record = told | found | clip.tune(passes)
            clip.draw(record, passes)
        return record

    def _told(self, model: "Toolkit", sha256: str) -> dict[str, Any]:
        """The record, but for what is found in the video."""
        from tedi.pipeline import weights_of

        made = model.record_of("", 0, preview=self.size == "preview")
        methods = weights_of(step.method for step in self.steps)
        weights = made["weights"] | methods | model.photos.weights
        texts = "; ".join(step.text for step in self.steps)
        told = {"command": "video", "prompt": texts, "video": self.source.path.name}
        edits = [asdict(step) for step in self.steps]
        how = {"edits": edits, "size": self.size, **asdict(self.settings)}
        how |= {"tuning": asdict(self.tuning)} if self.tuning else {}
        part = {"start": self.source.start, "end": self.source.end}
        last = {"dtype": made["dtype"], "version": made["version"], "weights": weights}
        return {**told, "sha256": sha256, **how, **part, **last}


def _steps(texts: Sequence[str], strengths: Sequence[float], method: str) -> tuple[Step, ...]:
    """The edits.

    Raises:
        UsageError: numbers that do not fit the texts.
    """
    if len(strengths) == 1:
        strengths = list(strengths) * len(texts)
    if len(strengths) != len(texts):
        raise UsageError(
            f"--strength: {len(strengths)} numbers for {len(texts)} texts; give one each"
        )
    return tuple(Step(t, n, method) for t, n in zip(texts, strengths, strict=True))


def _free(name: str) -> Path:
    """The name, or the first of `-2`, `-3`, … that no file here has."""
    first, number = Path(name), 1
    path = first
    while os.path.lexists(path):
        number += 1
        path = first.with_name(f"{first.stem}-{number}{first.suffix}")
    return path


class Passes:
    """A bar on stderr for each pass, with the time that is left.

    Args:
        count: of passes; the third, if there is one, tunes between the others.
    """

    LABELS = {  # noqa: RUF012
        "faces": ("finding the face", "frame"),
        "tuning": ("tuning", "step"),
        "drawing": ("drawing", "frame"),
    }

    def __init__(self, count: int) -> None:
        self.count, self.name = count, ""
        self.bar: Any = None

    def __call__(self, name: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if name != self.name:
            self.close()
            self.name = name
            label, unit = self.LABELS[name]
            place = {"faces": 1, "tuning": 2, "drawing": self.count}[name]
            desc = f"{place}/{self.count} {label}"
            self.bar = tqdm(desc=desc, total=total, unit=unit, initial=done - 1, disable=None)
        if self.bar is not None:
            self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> "Passes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gaps_told(record: Mapping[str, Any]) -> list[str]:
    """What is said of frames that stay as they are.

    >>> gaps_told({"frames": 9, "without_face": 2, "gaps": [{"first": 3, "last": 4, "why": "x"}]})
    ['2 of 9 frames stay as they are: 3-4 (x)']
    """
    if not record["without_face"]:
        return []
    gaps = [
        f"{gap['first']}-{gap['last']} ({gap['why']})"
        if gap["last"] > gap["first"]
        else f"{gap['first']} ({gap['why']})"
        for gap in record["gaps"]
    ]
    more = f" and {len(gaps) - MAX_LISTED} more" if len(gaps) > MAX_LISTED else ""
    told = ", ".join(gaps[:MAX_LISTED]) + more
    return [f"{record['without_face']} of {record['frames']} frames stay as they are: {told}"]


def encoder_told() -> list[str]:
    """What is said where the preferred encoder is missing."""
    from tedi.video.writer import ENCODERS, choose_encoder

    best, chosen = next(iter(ENCODERS)), choose_encoder()
    if chosen == best:
        return []
    return [f"this PyAV has no {best}; written as {ENCODERS[chosen]}, larger at equal quality"]


def _remark(lines: Sequence[str]) -> None:
    from tqdm import tqdm

    for line in lines:
        tqdm.write(f"tedi: {line}", file=sys.stderr)
