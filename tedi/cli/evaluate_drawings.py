"""`tedi evaluate sketch` and `label`: do pictures follow the drawings that they are made from?"""

import functools
import hashlib
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tedi import mixing
from tedi.cli.evaluate import _bar, _check_seeds, _draw, _draw_free, _load, _made_with, _store
from tedi.cli.evaluate_inversion import Rows, _sources
from tedi.cli.evaluate_inversion import Source as PhotoSource
from tedi.cli.options import (
    Seeds,
    device_option,
    full_option,
    generator_option,
    models_of,
    together,
)
from tedi.cli.sketch import PARSER, STYLES
from tedi.errors import TediError, UsageError
from tedi.mixing import VARIETY
from tedi.outputs import picture_format, write_atomically
from tedi.prompts import clean
from tedi.registry import unknown

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from tedi.grammar import Caption
    from tedi.metrics.drawings import Drawer
    from tedi.metrics.score import Drawn, Score
    from tedi.metrics.text import Job, Judge, Picture, Store
    from tedi.pipeline import Toolkit
    from tedi.pipeline.content import Content

COUNT, PSI = 40, 0.7
SIZE = 256  # pixels of drawings
SHEET_ROWS, SHEET_SEEDS = 12, 3
TEXT_METRICS = ("lines-lost", "parts-lost")
"""Metrics of what a text takes away from a drawing; a run without texts has none of them."""
MAPS = "label maps"  # what the scores of label maps are called, as those of sketches by style

Looks = dict[str, "Tensor"]
Command = TypeVar("Command", bound=Callable[..., None])


class Styles(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`pencil,freehand`: one style or several.

    >>> Styles().convert("pencil,edges,pencil", None, None)
    ('pencil', 'edges')
    """

    name = "styles"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The styles, each once.

        Raises:
            UsageError: an unknown one.
        """
        names = [name.strip() for name in str(value).split(",")]
        for name in names:
            if name not in STYLES:
                raise unknown("sketch style", name, STYLES)
        return tuple(dict.fromkeys(names))


_options = together(
    click.option(
        "--photos",
        "folder",
        type=click.Path(path_type=Path),
        help="Draw after these: a folder of square faces as FFHQ's are, or of parquet "
        "files with a column `image`.",
    ),
    click.option("--rows", type=Rows(), help="Those of them from a number to before another."),
    click.option(
        "--faces",
        "sources",
        type=Seeds(),
        help=f"Without photos, draw after faces of these seeds, psi {PSI}.  [default: from 0]",
    ),
    click.option(
        "--count",
        type=click.IntRange(1, 100_000),
        help=f"The first so many of these.  [default: {COUNT} without photos, else all]",
    ),
    click.option(
        "--seeds",
        type=Seeds(),
        default="0-3",
        show_default=True,
        help="Pictures of a drawing, counted from a number that its face decides.",
    ),
    click.option("--mix", help="Who rules which layers, as in sketch=coarse+medium:0.5."),
    click.option(
        "--variety",
        type=click.FloatRange(0, 1),
        default=VARIETY,
        show_default=True,
        help="How much seeds vary what a drawing leaves open.",
    ),
    click.option(
        "--psi",
        type=click.FloatRange(0, 2),
        default=PSI,
        show_default=True,
        help="Variety of seeds: 0 none, 1 all.",
    ),
    click.option("--text", help="Also draw with this text."),
    click.option(
        "--texts",
        type=click.Choice(["captions"]),
        help="Also draw with captions of two or three attributes that the judge sees in "
        "each source.",
    ),
    full_option,
    click.option(
        "--sheet",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A picture to write of sources, drawings and what is drawn from these; with "
        "photos, it shows real faces.",
    ),
    generator_option,
    device_option,
    click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not a table."),
    click.option("--dry-run", is_flag=True, help="Print the sources; draw nothing."),
)


def _out_option(kind: str) -> Callable[[Command], Command]:
    return click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("evaluation", kind),
        show_default=True,
        help="Folder for report.json, judgments.jsonl, chart.png, and what was judged, so that a "
        "stopped run goes on.",
    )


@click.command()
@click.option(
    "--style",
    "styles",
    type=Styles(),
    default="pencil",
    show_default=True,
    help=f"How sketches are drawn; several to compare. Of {', '.join(STYLES)}.",
)
@_out_option("sketch")
@_options
def sketch(styles: tuple[str, ...], **options: Any) -> None:
    """Do pictures follow the lines of sketches?

    Faces are sketched, and pictures drawn from the sketches. The same hand sketches these, and
    the distance of the lines is measured, beside that of random faces and of another hand's
    sketch of the same face. Run it again to go on.

    \b
    tedi evaluate sketch --count 20
    tedi evaluate sketch --photos faces/ --style pencil,freehand
    tedi evaluate sketch --texts captions --sheet sheet.png

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    _evaluate("sketch", styles, **options)


@click.command()
@_out_option("label")
@_options
def label(**options: Any) -> None:
    """Do pictures have the parts of label maps?

    Maps are those of parquet files' column `label_map`, else the parser's of faces. Pictures
    are drawn from them, parsed, and the parts compared, beside those of random faces. Run it
    again to go on.

    \b
    tedi evaluate label --count 20
    tedi evaluate label --photos faces/ --rows 29500:29600
    tedi evaluate label --text "red hair" --sheet sheet.png

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    _evaluate("label", (MAPS,), **options)


def _evaluate(
    kind: str,
    methods: tuple[str, ...],
    *,
    folder: Path | None,
    rows: slice | None,
    sources: Sequence[int] | None,
    count: int | None,
    seeds: Sequence[int],
    text: str | None,
    texts: str | None,
    out: Path,
    sheet: Path | None,
    generator: Path | None,
    device: str,
    as_json: bool,
    dry_run: bool,
    **drawing: Any,
) -> None:
    if text and texts:
        raise UsageError("--text: is one text instead of --texts; leave one of them")
    mixing.chosen([kind, *(["text"] if text or texts else [])], drawing["mix"])
    plan = Plan(kind, methods, _check_seeds(seeds), text and clean(text), bool(texts), **drawing)
    if sheet:
        picture_format(sheet)
    faces = _faces(folder, rows, sources, count)
    if dry_run:
        return _show(faces, as_json)
    run = Run.of(*_load(device, **models_of(generator, None)), plan, faces, out / "judged")
    found = run.work()
    report = _report(run, found, folder)
    _write(out, report, found)
    if sheet:
        _write_sheet(sheet, run, found)
    _tell(report, found, [out / "report.json", *([sheet] if sheet else [])], as_json)


# --- sources -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Face:
    """What is drawn after: a photo, or the picture of a seed.

    Attributes:
        name: for messages.
        photo: not opened yet; None for a seed.
        seed: of the picture.
        mask: bytes of a label map's file that belongs to the photo.
    """

    name: str
    photo: PhotoSource | None = None
    seed: int = 0
    mask: bytes | None = None

    @cached_property
    def key(self) -> str:
        """All that decides it."""
        if self.photo is None:
            return f"seed {self.seed}, psi {PSI}"
        mask = hashlib.sha256(self.mask).hexdigest()[:16] if self.mask else ""
        return f"{self.photo.sha256} {mask}".strip()

    @cached_property
    def number(self) -> int:
        """Decides the hand that draws it, and its caption."""
        return zlib.crc32(f"hand {self.key}".encode())

    def open(self, model: "Toolkit", *, preview: bool) -> "Image.Image":
        """The picture.

        Raises:
            TediError: it cannot be read, or is no square.
        """
        if self.photo is not None:
            return self.photo.open(model, aligned=True).crop
        ((picture, _),) = _draw_free(model, [("", self.seed)], psi=PSI, preview=preview)
        return picture

    def labels(self) -> "Tensor | None":
        """Masks (1, 19, 256, 256) of the map that belongs to it.

        Raises:
            TediError: it cannot be read, or holds what is no class.
        """
        if self.mask is None:
            return None
        from PIL import Image, UnidentifiedImageError

        from tedi.modalities import labels

        try:
            with Image.open(io.BytesIO(self.mask)) as picture:
                return labels.prepare(picture, size=SIZE)
        except (UnidentifiedImageError, OSError) as error:
            raise TediError(f"{self.name}: no label map tedi can read ({error})") from error


def _faces(
    folder: Path | None, rows: slice | None, seeds: Sequence[int] | None, count: int | None
) -> list[Face]:
    """The faces that are asked for.

    Raises:
        UsageError: there is none, or options disagree.
        TediError: no such folder.
    """
    if folder is None:
        if rows:
            raise UsageError("--rows: is of photos; pass --photos, or --faces for seeds")
        chosen = range(count or COUNT) if seeds is None else seeds[:count]
        return [Face(f"seed {seed}", seed=seed) for seed in chosen]
    if seeds is not None:
        raise UsageError("--faces: is instead of --photos; leave one of them")
    photos = _sources(folder, rows, count)
    masks = _masks(folder, rows.start if rows else 0, len(photos))
    return [Face(photo.name, photo, mask=mask) for photo, mask in zip(photos, masks, strict=True)]


def _masks(folder: Path, start: int, count: int) -> list[bytes | None]:
    """Label maps that belong to photos, as files' bytes."""
    if not any(folder.glob("*.parquet")):
        return [None] * count
    from tedi.training.dataset import load_masks

    table = load_masks(folder).skip(start).take(count)
    return [(row.get("label_map") or {}).get("bytes") for row in table]


def _show(faces: Sequence[Face], as_json: bool) -> None:
    for face in faces:
        told = {"source": face.name, "mask": face.mask is not None}
        click.echo(json.dumps(told) if as_json else face.name)


# --- the run -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is drawn.

    Attributes:
        kind: "sketch" or "label".
        methods: styles of sketches, or one name for label maps.
        seeds: pictures of a drawing; see `tedi.metrics.text.seeds_of`.
        text: also given; None for none.
        captions: captions of the sources are also given.
        mix: shares that differ from the defaults.
        variety: how much seeds vary what drawings leave open.
        psi: variety of the seeds.
        preview: drawn at 256 px.
    """

    kind: str
    methods: tuple[str, ...]
    seeds: Sequence[int]
    text: str | None
    captions: bool
    mix: str | None
    variety: float
    psi: float
    preview: bool

    @property
    def told(self) -> bool:
        """Whether texts are given, too."""
        return self.captions or self.text is not None


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        faces: that were drawn after.
        looks: method -> what was seen, face by face.
        captions: of the faces, where texts are given.
        failed: face -> why.
        scores: method -> scores.
        left_out: method -> metric -> why.
    """

    faces: list[Face] = field(default_factory=list)
    looks: dict[str, list[Looks]] = field(default_factory=dict)
    captions: "list[Caption]" = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    scores: "dict[str, list[Score]]" = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What draws, and what looks.

    Attributes:
        model: the toolkit.
        judge: looks at pictures.
        plan: what is drawn.
        faces: what is drawn after.
        drawers: method -> what makes its drawings.
        text: what `plan.text` says, as the text encoder reads it.
        setting: all that decides what is seen.
        store: keeps what was seen.
    """

    model: "Toolkit"
    judge: "Judge"
    plan: Plan
    faces: Sequence[Face]
    drawers: "Mapping[str, Drawer]"
    text: "Caption | None"
    setting: Mapping[str, Any]
    store: "Store"

    @classmethod
    def of(
        cls, model: "Toolkit", judge: "Judge", plan: Plan, faces: Sequence[Face], folder: Path
    ) -> "Run":
        """The run of a toolkit; its networks are loaded here, and a text is read."""
        from tedi.metrics.drawings import Drawer, Lines, Parts

        parser, _ = model.photos.parser, model.contents.encoder

        def parse(image: "Tensor") -> "Tensor":
            return parser.labels(image.to(model.device)).cpu()

        drawers: dict[str, Drawer] = {
            method: Lines(method, parse) if plan.kind == "sketch" else Parts(parse)
            for method in plan.methods
        }
        text = _caption(model, plan.text) if plan.text is not None else None
        made = _made_with(model, judge)
        made["weights"] |= model.photos.weights | model.contents.weights(["sketch"])
        setting = {**made, "evaluates": plan.kind, "psi": plan.psi, "preview": plan.preview}
        setting |= {"variety": plan.variety, "mix": _shares(plan, [plan.kind])}
        return cls(model, judge, plan, faces, drawers, text, setting, _store(folder, setting))

    def work(self) -> Found:
        """Draw and judge what was not yet, and measure.

        Raises:
            TediError: no face could be drawn after.
        """
        found = Found(looks={method: [] for method in self.drawers})
        with _bar(len(self.faces) * len(self.drawers), "drawing") as bar:
            for face in self.faces:
                case = Case(self, face)
                try:
                    looks = {method: case.looks(method) for method in self.drawers}
                except TediError as error:
                    found.failed[face.name] = " ".join(str(error).split())
                else:
                    found.faces.append(face)
                    for method, seen in looks.items():
                        found.looks[method].append(seen)
                    if self.plan.told:
                        found.captions.append(self.caption(face, next(iter(looks.values()))))
                bar.update(len(self.drawers))
        if not found.faces:
            raise TediError(f"no drawing could be made; {next(iter(found.failed.values()))}")
        for method in self.drawers:
            found.scores[method], found.left_out[method] = self._measure(method, found)
        return found

    @cached_property
    def mean(self) -> "Tensor":
        """The picture (1, 3, 256, 256) of w̄."""
        generator = self.model.generator
        ws = generator.w_avg.expand(1, generator.slots, -1)
        return _image(self.model.pictures(ws, preview=self.plan.preview)[0])

    def caption(self, face: Face, looks: Looks) -> "Caption":
        """The text that is given with the drawings of a face."""
        from tedi.metrics.drawings import caption_of

        return self.text or caption_of(looks["source"], face.number)

    def _measure(self, method: str, found: Found) -> "tuple[list[Score], dict[str, str]]":
        """Scores in the order of the table, and why others have none."""
        from tedi.metrics import METRICS
        from tedi.metrics.text import measure

        looks = found.looks[method]
        scores, left_out = measure(self._followed(method, looks))
        if not self.plan.told:  # nobody asked what text adds
            left_out = {name: why for name, why in left_out.items() if name not in TEXT_METRICS}
        drawn = {"alone": self._drawn(looks, "alone", found.captions)}
        names = {"frechet": "alone", "diversity": "alone"}
        if self.plan.told:
            drawn["told"] = self._drawn(looks, "told", found.captions)
            names |= {"attribute-accuracy": "told", "all-named-right": "told"}
        for name, part in names.items():
            try:
                scores += METRICS[name]()(drawn[part])
            except UsageError as error:
                left_out[name] = str(error)
        return scores, left_out

    def _followed(self, method: str, looks: Sequence[Looks]) -> object:
        """The sample of the metrics of drawings."""
        import torch

        from tedi.metrics.drawings import Mapped, Sketched

        def stacked(name: str) -> "Tensor":
            return torch.stack([look[name] for look in looks])

        alone, free = stacked("alone.followed"), stacked("free.followed")
        told = stacked("told.followed") if self.plan.told else None
        mean, reference = stacked("mean"), stacked("reference")
        if self.plan.kind == "sketch":
            maker = f"{method} by the sketch maker"
            return Sketched(alone, free, mean, reference, told, maker=maker)
        tables, random = alone.sum(dim=1), free.sum(dim=1)
        with_text = None if told is None else told.sum(dim=1)
        count = alone.shape[1]
        return Mapped(tables, random, mean, reference, with_text, pictures=count, parser=PARSER)

    def _drawn(self, looks: Sequence[Looks], part: str, captions: "Sequence[Caption]") -> "Drawn":
        """The sample of the metrics of texts; pictures of a drawing stand for those of a prompt."""
        import torch

        from tedi.grammar import Caption
        from tedi.metrics.score import Drawn

        def rows(name: str) -> "Tensor":
            return torch.cat([look[name] for look in looks])

        return Drawn(
            captions=captions or [Caption("", {}, {})] * len(looks),
            owners=torch.arange(len(looks)).repeat_interleave(len(self.plan.seeds)),
            log_p=rows(f"{part}.log_p"),
            features=rows(f"{part}.features"),
            distances=torch.stack([look[f"{part}.distance"] for look in looks]),
            free_features=rows("free.features"),
            free_distances=torch.stack([look["free.distance"] for look in looks]),
            judge=self.judge.name,
            accuracy=self.judge.accuracy,
        )


def _shares(plan: Plan, names: Sequence[str] = ("sketch", "label", "text")) -> str:
    """Who of these rules which layers, as records tell it."""
    shares = mixing.chosen([plan.kind, *(["text"] if plan.told else [])], plan.mix)
    return mixing.told({name: shares[name] for name in names if name in shares})


def _caption(model: "Toolkit", text: str) -> "Caption":
    """A text with what it says.

    Raises:
        UsageError: nothing of it is understood.
    """
    from tedi.grammar import Caption
    from tedi.metrics.drawings import says_of
    from tedi.pipeline import says_something

    reading = model.text.read([text])
    if not says_something(reading):
        raise UsageError(f"--text: nothing of {text!r} is about a face that can be drawn")
    return Caption(text, says_of(reading.plain().agrees[0].cpu()), {})


class Case:
    """One face, opened, drawn and judged as far as that was not done yet."""

    def __init__(self, run: Run, face: Face) -> None:
        self.run, self.face = run, face
        self.drawings: dict[str, Tensor] = {}

    @cached_property
    def picture(self) -> "Image.Image":
        """The face, 256 px."""
        return _small(self.face.open(self.run.model, preview=self.run.plan.preview))

    @cached_property
    def jobs(self) -> "list[Job]":
        """Seeds of its pictures."""
        from tedi.metrics.text import seeds_of

        return [("", seed) for seed in seeds_of(self.face.key, self.run.plan.seeds)]

    @cached_property
    def free(self) -> "list[Picture]":
        """Unconditional pictures of the same seeds."""
        plan = self.run.plan
        return list(_draw_free(self.run.model, self.jobs, psi=plan.psi, preview=plan.preview))

    @cached_property
    def free_looks(self) -> Looks:
        """What the judge sees in these."""
        return self.run.judge.look(self.free)

    def drawing(self, method: str) -> "Tensor":
        """The drawing (1, D, 256, 256).

        Raises:
            TediError: the face cannot be read, or its sketch has no lines.
        """
        if method not in self.drawings:
            mask = self.face.labels() if self.run.plan.kind == "label" else None
            image, hand = _image(self.picture), self.face.number
            try:
                self.drawings[method] = self.run.drawers[method].draw(image, hand, mask)
            except TediError as error:
                raise TediError(f"{self.face.name}: {error}") from error
        return self.drawings[method]

    def content(self, method: str) -> "Content":
        """What is given to the generator."""
        plan = self.run.plan
        given: dict[str, Any] = {plan.kind: self.drawing(method)}
        return self.run.model.content(**given, mix=plan.mix, variety=plan.variety, text=plan.told)

    def looks(self, method: str) -> Looks:
        """What is seen in the pictures of one drawing, in free ones, and in those with a text.

        Raises:
            TediError: the face cannot be drawn after.
        """
        store, made = self.run.store, (self.face.key, self.face.number)
        path = store.path(method, [made, *self.jobs])
        found = store.load(path)
        if found is None:
            found = self._alone(method)
            store.save(path, found)
        if not self.run.plan.told:
            return found
        text = self.run.caption(self.face, found).text
        given = f"{method}; {_shares(self.run.plan, ['text'])}"
        path = store.path(given, [made, *((text, seed) for _, seed in self.jobs)])
        told = store.load(path)
        if told is None:
            told = self._drawn(method, "told", text)
            store.save(path, told)
        return found | told

    def _alone(self, method: str) -> Looks:
        drawing, hand = self.drawing(method), self.face.number
        drawer = self.run.drawers[method]
        (source,) = self.run.judge.look([(self.picture, drawing.new_zeros(0))])["log_p"]
        named = {f"free.{name}": value for name, value in self.free_looks.items() if name != "ws"}
        return {
            **self._drawn(method, "alone", ""),
            **named,
            "free.followed": self._followed(method, self.free),
            "mean": drawer.compare(drawing, self.run.mean, hand),
            "reference": drawer.reference(drawing, _image(self.picture), hand),
            "source": source,
        }

    def _drawn(self, method: str, part: str, text: str) -> Looks:
        """Pictures of a drawing, looked at by the judge and compared with it."""
        plan = self.run.plan
        given: dict[str, Any] = {"psi": plan.psi, "preview": plan.preview, "anyway": True}
        draw = _draw(self.run.model, content=self.content(method), **given)
        pictures = list(draw([(text, seed) for _, seed in self.jobs]))
        looks = self.run.judge.look(pictures)
        followed = {f"{part}.{name}": value for name, value in looks.items()}
        return {**followed, f"{part}.followed": self._followed(method, pictures)}

    def _followed(self, method: str, pictures: "Sequence[Picture]") -> "Tensor":
        import torch

        drawer, drawing = self.run.drawers[method], self.drawing(method)
        return torch.stack(
            [drawer.compare(drawing, _image(each), self.face.number) for each, _ in pictures]
        )


def _small(picture: "Image.Image") -> "Image.Image":
    from PIL import Image

    return picture.resize((SIZE, SIZE), Image.Resampling.BOX)


def _image(picture: "Image.Image") -> "Tensor":
    """A picture as a tensor (1, 3, 256, 256)."""
    import numpy as np

    from tedi import images

    return images.to_image(np.asarray(_small(picture))[None])


# --- what is told --------------------------------------------------------------------------------


def _report(run: Run, found: Found, folder: Path | None) -> dict[str, Any]:
    """The report as JSON holds it."""
    from tedi.metrics.text import jsonable

    plan = run.plan
    return {
        **run.setting,
        "mix": _shares(plan),
        "source": folder.name if folder else f"drawn faces, psi {PSI}",
        "count": len(found.faces),
        "masks": sum(face.mask is not None for face in found.faces) if plan.kind == "label" else 0,
        "seeds": list(plan.seeds),
        "text": run.text.text if run.text else None,
        "texts": "captions" if plan.captions else None,
        "interval": "95 %, bootstrap over drawings",
        "scores": {m: [jsonable(score) for score in each] for m, each in found.scores.items()},
        "left_out": found.left_out,
        "failed": found.failed,
    }


def _titles(report: Mapping[str, Any]) -> tuple[str, str]:
    """What was measured, and with what."""
    kind = "sketches" if report["evaluates"] == "sketch" else MAPS
    size = "256 px previews" if report["preview"] else "1024 px"
    return (
        f"{report['count']} {kind}, {len(report['seeds'])} pictures each: {report['source']}",
        f"{report['mix']}, variety {report['variety']:g}, psi {report['psi']:g}, {size}, judged "
        f"by {report['judge']} at 256 px",
    )


def _judgments(report: Mapping[str, Any], found: Found) -> Iterator[dict[str, Any]]:
    """A row for each picture."""
    from tedi.metrics.drawings import mean_iou
    from tedi.metrics.text import seeds_of
    from tedi.modalities.labels import LARGE

    sketches = report["evaluates"] == "sketch"
    for method, looks in found.looks.items():
        for number, (face, look) in enumerate(zip(found.faces, looks, strict=True)):
            for part in ("alone", "told", "free"):
                if f"{part}.followed" not in look:
                    continue
                figures = look[f"{part}.followed"]
                figures = figures if sketches else mean_iou(figures, LARGE)
                seeds = seeds_of(face.key, report["seeds"])
                told = {"text": found.captions[number].text} if part == "told" else {}
                for seed, figure in zip(seeds, figures.tolist(), strict=True):
                    yield {
                        "method": method if part != "free" else f"{method}, a random face",
                        **{"source": face.name, "seed": seed, **told},
                        "line distance, %" if sketches else "mIoU of 11 classes": (
                            round(figure, 6) if math.isfinite(figure) else None
                        ),
                    }


def _write(out: Path, report: Mapping[str, Any], found: Found) -> None:
    """The report, the judgments and the chart; those of an earlier run here are replaced."""
    from tedi.metrics import panels

    rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in _judgments(report, found))
    whole = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    for name, content in (("report.json", whole), ("judgments.jsonl", "".join(rows))):
        write = functools.partial(Path.write_text, data=content, encoding="utf-8")
        write_atomically(out / name, write, exist="overwrite")
    title, subtitle = _titles(report)
    chart = panels.bars(found.scores, title=title, subtitle=subtitle)
    write_atomically(out / "chart.png", chart.save, exist="overwrite")


def _write_sheet(path: Path, run: Run, found: Found) -> None:
    """Some faces, evenly chosen: source, drawing, then seeds; with a text, these once more."""
    from tedi.images import contact_sheet, save

    number = max(1, min(SHEET_ROWS // len(found.looks), len(found.faces)))
    chosen = [i * len(found.faces) // number for i in range(number)]
    parts = ["alone", *(["told"] if run.plan.told else [])]
    rows, labels = [], []
    for i in chosen:
        case = Case(run, found.faces[i])
        for method, looks in found.looks.items():
            ws = [looks[i][f"{part}.ws"][:SHEET_SEEDS] for part in parts]
            drawn = [_pictures(run, each) for each in ws]
            rows.append([case.picture, _seen(case.drawing(method)), *chain(*drawn)])
            texts = [found.captions[i].text] if found.captions else []
            labels.append("; ".join([found.faces[i].name, method, *texts]))
    shown = min(SHEET_SEEDS, len(run.plan.seeds))
    columns = [f"{seed}{extra}" for extra in ("", " + text")[: len(parts)] for seed in range(shown)]
    named = ["source", "drawing", *(f"seed {name}" for name in columns)]
    record = {
        "command": f"evaluate {run.plan.kind}",
        "shows": "sources in the first column, drawings after them in the second, then pictures "
        "drawn from these",
        "photos": sum(found.faces[i].photo is not None for i in chosen),
        "rows": labels,
        "columns": named,
        "mix": _shares(run.plan),
        **{name: run.setting[name] for name in ("psi", "variety", "preview")},
        **{name: run.setting[name] for name in ("dtype", "version", "weights")},
    }
    sheet = contact_sheet(rows, labels=labels, column_labels=named)
    save(sheet, path, record, exist="overwrite")


def _pictures(run: Run, ws: "Tensor") -> "list[Image.Image]":
    return run.model.pictures(ws.to(run.model.device), preview=run.plan.preview)


def _seen(drawing: "Tensor") -> "Image.Image":
    """A drawing as people see it."""
    from PIL import Image

    from tedi.modalities.labels import colourise

    if drawing.shape[1] == 1:
        return Image.fromarray((drawing[0, 0] * 255).round().byte().cpu().numpy())
    return Image.fromarray(colourise(drawing[0].argmax(dim=0).byte().cpu().numpy()))


def _tell(report: Mapping[str, Any], found: Found, files: Sequence[Path], as_json: bool) -> None:
    from tedi.metrics.report import notes, table

    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    lines = [*_titles(report), "", *table(found.scores), ""]
    lines += notes(found.scores, found.left_out)
    lines += [f"{name}: {why}" for name, why in found.failed.items()]
    for line in [*lines, *map(str, files)]:
        click.echo(line)
