"""`tedi evaluate inversion`: how like photos their codes draw, and whether these can be edited."""

import functools
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.evaluate import _bar, _load, _made_with
from tedi.cli.options import device_option, models_of, models_option, steps_option, with_dtype
from tedi.errors import TediError, UsageError
from tedi.inversion import INVERTERS
from tedi.outputs import picture_format, write_atomically
from tedi.prompts import STRENGTH

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.checkpoints.identity import Identity
    from tedi.metrics.inversion import Inverted, Measure
    from tedi.metrics.score import Score
    from tedi.metrics.text import Judge
    from tedi.pipeline import Toolkit
    from tedi.pipeline.photos import Photo

EDIT = "older"
SHEET_ROWS = 12
LINES = "figures.jsonl"


class Rows(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`4200:4500`, the photos from one number to before another, counted from 0.

    >>> Rows().convert("5:", None, None)
    slice(5, None, None)
    """

    name = "from:to"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> slice:
        """The slice."""
        first, colon, last = str(value).partition(":")
        if not colon or not all(end.isdecimal() or not end for end in (first, last)):
            self.fail(f"expected from:to as in 4200:4500, got {str(value)[:40]!r}", param, ctx)
        start, end = int(first or 0), int(last) if last else None
        if end is not None and end <= start:
            self.fail(f"expected a number before a larger one, got {value!r}", param, ctx)
        return slice(start, end)


@click.command()
@click.option(
    "--photos",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder of pictures, or of parquet files with a column `image`.",
)
@click.option("--rows", type=Rows(), help="Those of them from a number to before another.")
@click.option("--count", type=click.IntRange(1, 100_000), help="The first so many of these.")
@click.option("--aligned", is_flag=True, help="They are square faces as FFHQ's are; find none.")
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(INVERTERS)),
    multiple=True,
    default=["encoder"],
    show_default=True,
    help="How photos become codes; give it several times to compare.",
)
@steps_option
@click.option("--edit", "text", help=f"Text that codes are edited by.  [default: {EDIT}]")
@click.option("--direction", help="A direction to edit by, instead of a text: a name or a file.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 10, min_open=True),
    default=STRENGTH,
    show_default=True,
    help="Of the edit; of a direction in standard deviations, where they were measured.",
)
@click.option(
    "--identity", help="Identity network: name or file.  [default: the one that tedi compares with]"
)
@click.option(
    "--semantics", is_flag=True, help="Do codes mean what photos show? Precision and recall, too."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("evaluation", "inversion"),
    show_default=True,
    help=f"Folder for report.json, chart.png, codes, and {LINES}, a line a photo and method.",
)
@click.option("--resume", is_flag=True, help=f"Go on with what {LINES} in that folder tells.")
@click.option(
    "--sheet",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A picture to write of photos beside what their codes draw; it shows real faces.",
)
@models_option
@device_option
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Number format of optimisations while they seek; figures are of float32 drawings.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not a table.")
def inversion(
    folder: Path,
    rows: slice | None,
    count: int | None,
    aligned: bool,
    methods: Sequence[str],
    steps: int | None,
    text: str | None,
    direction: str | None,
    strength: float,
    identity: str | None,
    semantics: bool,
    out: Path,
    resume: bool,
    sheet: Path | None,
    generator: Path | None,
    encoder: Path | None,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Do codes draw the photos they are of, and can they be edited?

    Each photo is inverted by each method. Its code's 1024 px drawing, reduced to 256 px, is
    compared with the aligned face; the code is edited, drawn, encoded and moved back. Lines are
    written as photos are done, so that a stopped run goes on with --resume.

    \b
    tedi evaluate inversion --photos holiday/
    tedi evaluate inversion --photos faces/ --method encoder --method optimize
    tedi evaluate inversion --photos faces/ --rows 4200:4500 --semantics

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    methods = list(dict.fromkeys(methods))
    options = {method: _options(method, steps, dtype) for method in methods}
    if steps and not any(options.values()):
        raise UsageError("--steps: no method here takes any; pass --method optimize")
    if text and direction:
        raise UsageError("--edit: is a text instead of --direction; leave one of them")
    if sheet:
        picture_format(sheet)
    sources = _sources(folder, rows, count)
    lines = Lines(out / LINES, resume=resume)
    model, judge = _load(device, **models_of(generator, encoder))
    _check_known(model, direction=direction, semantics=semantics)
    bench = Bench.of(model, judge, (text or EDIT, direction, strength), identity)
    run = Run(bench, sources, options, aligned, out)
    failed = run.write(lines)
    found = run.read(lines)
    if not any(found.values()):
        raise TediError(f"{folder}: no photo could be inverted; {next(iter(failed.values()))}")
    report = run.report(found, failed, str(folder.name), semantics=semantics)
    if sheet:
        run.sheet(sheet, found)
    _tell(report, out, sheet, as_json)


def _check_known(model: "Toolkit", *, direction: str | None, semantics: bool) -> None:
    """Raises a UsageError for what cannot be told of codes in a W that tedi does not know."""
    from tedi.pipeline.foreign import unknown_w

    if model.reads_codes:
        return
    if direction is None:
        raise unknown_w("--edit", model.generator, "; pass --direction FILE")
    if semantics:
        raise unknown_w("--semantics", model.generator, "; leave it out")


def _options(method: str, steps: int | None, dtype: str) -> Any:
    """Options of a method; None for one that has none.

    Raises:
        UsageError: its steps know no such number format.
    """
    defaults = with_dtype(getattr(INVERTERS[method], "defaults", None), method, dtype)
    return replace(defaults, steps=steps) if defaults is not None and steps else defaults


# --- photos --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A photo that was not opened yet: a file, or the bytes of one."""

    name: str
    data: Path | bytes

    @functools.cached_property
    def sha256(self) -> str:
        """Of the file."""
        data = self.data if isinstance(self.data, bytes) else self.data.read_bytes()
        return hashlib.sha256(data).hexdigest()

    def open(self, model: "Toolkit", *, aligned: bool) -> "Photo":
        """Its largest face.

        Raises:
            TediError: it cannot be read, or shows none.
        """
        if isinstance(self.data, Path):
            return model.photos.open(self.data, aligned=aligned)[0]
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            with Image.open(io.BytesIO(self.data)) as picture:
                whole = ImageOps.exif_transpose(picture).convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise TediError(f"{self.name}: no picture tedi can read ({error})") from error
        try:
            photo = model.photos.open(whole, aligned=aligned)[0]
        except TediError as error:
            raise TediError(str(error).replace("picture", self.name, 1)) from error
        return replace(photo, name=self.name, sha256=self.sha256)


def _sources(folder: Path, rows: slice | None, count: int | None) -> list[Source]:
    """The photos that are asked for.

    Raises:
        UsageError: there is none.
        TediError: no such folder.
    """
    if not folder.is_dir():
        raise TediError(f"{folder}: no such folder")
    rows = rows or slice(0, None)
    if any(folder.glob("*.parquet")):
        found = list(_in_tables(folder, rows, count))
    else:
        from tedi.cli.invert import _files

        found = [Source(file.name, file) for file in _files([folder])[rows]]
    if not found:
        raise UsageError(f"--rows: {folder} has none from {rows.start} on")
    return found[:count]


def _in_tables(folder: Path, rows: slice, count: int | None) -> Iterator[Source]:
    """Photos of parquet files."""
    from tedi.training.dataset import load_masks

    table = load_masks(folder).skip(rows.start)
    ends = [n for n in (count, rows.stop and rows.stop - rows.start) if n]
    for number, row in enumerate(table.take(min(ends)) if ends else table, start=rows.start):
        if not (row.get("image") or {}).get("bytes"):
            raise UsageError(f"{folder}: row {number} has no picture in its column `image`")
        yield Source(str(row.get("id", number)), row["image"]["bytes"])


# --- lines ---------------------------------------------------------------------------------------


class Lines:
    """What was measured so far, a JSON line for each photo and method, found by its key.

    Args:
        path: of the file; a line that was cut short is forgotten.
        resume: go on with what is there.

    Raises:
        UsageError: something is there, and it is not to be gone on with.
        TediError: it holds something else.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if not path.is_file():
            return
        if not resume:
            raise UsageError(f"{path}: is there; pass --resume to go on, or another --out")
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        for number, line in enumerate(whole.split("\n") if whole else [], start=1):
            try:
                row = json.loads(line)
                self.rows[row["key"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise TediError(f"{path}: line {number} is none of tedi's ({error!r})") from error
        text = whole + "\n" if whole else ""
        write = functools.partial(Path.write_text, data=text, encoding="utf-8")
        write_atomically(path, write, exist="overwrite")

    def add(self, row: dict[str, Any]) -> None:
        """Write one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.rows[row["key"]] = row


# --- measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bench:
    """The networks that photos are inverted and measured with.

    Attributes:
        model: the toolkit.
        judge: looks at photos.
        measure: gives the figures.
        same: identity distance below which two faces are one person's.
        networks: figure -> what looked.
        size: pixels at which pictures are compared.
    """

    model: "Toolkit"
    judge: "Judge"
    measure: "Measure"
    same: float
    networks: dict[str, str]
    size: int

    @classmethod
    def of(
        cls,
        model: "Toolkit",
        judge: "Judge",
        edit: tuple[str, str | None, float],
        identity: str | None,
    ) -> "Bench":
        """The bench of a toolkit; all networks are loaded here, so that no photo's time has it."""
        from tedi.inversion.encode import preview_size
        from tedi.inversion.pnorm import PNorm
        from tedi.metrics.inversion import Measure

        photos, generator = model.photos, model.generator
        move, told = _edit(model, *edit)
        encoder, _ = photos.encoder, photos.features.maps
        describe, person = _identity(model, identity)
        perceptual, looked = _perceptual(judge)
        measure = Measure(
            w_avg=generator.w_avg,
            draw=generator.preview,
            encode=encoder,
            edit=move,
            perceptual=perceptual,
            describe=describe,
            p_norm=PNorm.measure(generator),
        )
        networks = {"perceptual": looked, "identity": person, "editability": told}
        same = getattr(describe, "same", math.nan)
        return cls(model, judge, measure, same, networks, preview_size(generator))

    def setting(self) -> dict[str, Any]:
        """All that decides the figures of a photo and is not the method's."""
        made = _made_with(self.model, self.judge)
        del made["strength"]
        made["weights"] |= self.model.photos.weights
        return {**made, "networks": self.networks, "device": self.model.device.type}

    def look(self, photo: "Photo", method: str, options: Any) -> "tuple[Tensor, dict[str, Any]]":
        """Code (L, C) of a photo, and what was measured of it."""
        import torch

        from tedi.editing.regions import keep_detail
        from tedi.inversion.encode import draw_full
        from tedi.inversion.likeness import fit
        from tedi.metrics.boundaries import log_odds

        with _cost(self.model.device) as spent:
            found = self.model.photos.invert(photo, method=method, options=options)
        ws, own = found.ws, found.generator
        with torch.no_grad():
            target = fit(photo.image.to(ws), self.size)
            image = draw_full(own, ws, self.size)
            moved = self.measure.edit(ws)
            figures = self.measure(image, target, ws, moved)
            after = draw_full(own, moved, self.size)
            after = keep_detail(target, image.clamp(-1, 1), after.clamp(-1, 1))
            figures["edited_identity"] = self.measure.apart(after, target)
            shown = log_odds(self.judge.network(target))
        told = {name: float(f"{float(value[0]):.6g}") for name, value in figures.items()}
        return ws[0].cpu(), {
            "figures": told | spent,
            "shown": {name: round(float(value[0].sigmoid()), 6) for name, value in shown.items()},
            "read": {name: round(float(value[0]), 6) for name, value in self._read(ws).items()},
        }

    def _read(self, ws: "Tensor") -> "dict[str, Tensor]":
        """What codes (N, L, C) tell of attributes; nothing, where their W is not known."""
        from tedi.metrics.boundaries import log_odds

        if not self.model.reads_codes:
            return {}
        return log_odds(self.model.text.codes(self.model.seen(ws)))


def _identity(model: "Toolkit", name: str | None) -> "tuple[Identity, str]":
    """The identity network, and what it is called."""
    if name is None:
        from tedi.pipeline.photos import IDENTITY

        return model.photos.identity, IDENTITY
    from tedi import zoo
    from tedi.cli.compare import _network
    from tedi.cli.options import Bars

    bars = Bars()
    try:
        network = _network(name, bars).to(model.device)
    finally:
        bars.close()
    sha = zoo.sha256(Path(name))[:8] if Path(name).is_file() else ""
    return network, f"{Path(name).name} {sha}".strip()


def _perceptual(judge: "Judge") -> tuple[Any, str]:
    """LPIPS where it can be had, else the distance of the judge's features, and its name."""
    from tedi.losses import LOSSES

    try:
        return LOSSES["lpips"](), "LPIPS 0.1 on AlexNet"
    except TediError:
        return LOSSES["perceptual"](judge.network.maps), f"a mean over features of {judge.name}"


def _edit(
    model: "Toolkit", text: str, direction: str | None, strength: float
) -> "tuple[Callable[[Tensor], Tensor], str]":
    """The edit that codes should come back from, and what it is called.

    Raises:
        UsageError: nothing of the text is understood, or the direction does not fit.
    """
    if direction is None:
        from tedi.cli.faces import Step, apply

        step = Step(text, strength, "move")
        move = functools.partial(apply, model, step=step, anyway=False)
        move(model.generator.w_avg.expand(1, model.generator.slots, -1))
        return move, f"a text edit, {text!r} at strength {strength:g}"
    from tedi.cli.directions import _find, _scale, check_w
    from tedi.semantics.directions import for_generator

    if not model.reads_codes:
        check_w([direction], model.generator)
    found = for_generator(_find(direction), model.generator)
    scale = _scale(found, in_std=found.std is not None)
    found(model.generator.w_avg.expand(1, model.generator.slots, -1), 0.0)
    unit = "standard deviations" if found.std is not None else "in W"
    move = functools.partial(found, strength=strength * scale)
    return move, f"a move along {found.name!r}, {strength:g} {unit}"


@contextmanager
def _cost(device: Any) -> Iterator[dict[str, float]]:
    """Seconds and peak memory in GB of what is done within; memory is nan where nobody tells."""
    import torch

    spent: dict[str, float] = {}
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
        torch.cuda.synchronize(device)
    known = on_gpu or _forget_peak()
    start = time.perf_counter()
    yield spent
    if on_gpu:
        torch.cuda.synchronize(device)
    spent["seconds"] = round(time.perf_counter() - start, 4)
    if known:
        peak = torch.cuda.max_memory_allocated(device) if on_gpu else _peak()
        spent["memory"] = round(peak / 1e9, 4)


def _forget_peak() -> bool:
    """Whether the peak of resident memory could be set back, as Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int:
    """Peak of resident memory in bytes."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# --- the run -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What is inverted, how, and where to.

    Attributes:
        bench: the networks.
        sources: the photos.
        options: method -> its options.
        aligned: photos are square faces.
        out: folder.
    """

    bench: Bench
    sources: Sequence[Source]
    options: Mapping[str, Any]
    aligned: bool
    out: Path
    keys: dict[str, str] = field(default_factory=dict)

    def key(self, source: Source, method: str) -> str:
        """What a line is found by: all that decides it."""
        if method not in self.keys:
            options = self.options[method]
            made = {**self.bench.setting(), "method": method, "aligned": self.aligned}
            made["options"] = asdict(options) if options else {}
            text = json.dumps(made, sort_keys=True, default=str)
            self.keys[method] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return f"{self.keys[method]}-{source.sha256[:16]}"

    def code(self, source: Source, method: str) -> Path:
        """File of a photo's code."""
        return self.out / "codes" / f"{self.key(source, method)}.safetensors"

    def write(self, lines: Lines) -> dict[str, str]:
        """Invert and measure what has no line yet; photos that fail, and why."""
        failed: dict[str, str] = {}
        with _bar(len(self.sources) * len(self.options), "code") as bar:
            for source in self.sources:
                missing = [m for m in self.options if self.key(source, m) not in lines.rows]
                try:
                    photo = source.open(self.bench.model, aligned=self.aligned) if missing else None
                    for method in missing:
                        assert photo is not None
                        self._one(source, photo, method, lines)
                except TediError as error:
                    failed[source.name] = " ".join(str(error).split())
                bar.update(len(self.options))
        return failed

    def _one(self, source: Source, photo: "Photo", method: str, lines: Lines) -> None:
        from tedi import __version__
        from tedi.checkpoints import codes

        ws, told = self.bench.look(photo, method, self.options[method])
        made = {"photo": source.name, "sha256": source.sha256, "inversion": method}
        record = {"command": "evaluate inversion", **made, "version": __version__}
        codes.save(self.code(source, method), ws, json.dumps(record), exist="overwrite")
        lines.add({"key": self.key(source, method), "method": method, **made, **told})

    def read(self, lines: Lines) -> dict[str, list[dict[str, Any]]]:
        """Method -> lines of the photos that every method has inverted, in their order."""
        done = [
            source
            for source in self.sources
            if all(self.key(source, method) in lines.rows for method in self.options)
        ]
        return {m: [lines.rows[self.key(source, m)] for source in done] for m in self.options}

    def report(
        self,
        found: Mapping[str, Sequence[Mapping[str, Any]]],
        failed: Mapping[str, str],
        source: str,
        *,
        semantics: bool,
    ) -> "Report":
        """Measure, and write report.json and the charts; those of an earlier run are replaced."""
        from tedi.metrics.text import measure

        samples = {m: self._sample(rows, semantics=semantics) for m, rows in found.items()}
        scores, left_out = {}, {}
        for method, sample in samples.items():
            scores[method], left_out[method] = measure(sample)
            if not semantics:
                left_out[method].pop("average-precision")
        about = {
            **{
                "evaluates": "inversion",
                "source": source,
                "count": len(next(iter(found.values()))),
            },
            **{"rows": len(self.sources), "aligned": self.aligned, **self.bench.setting()},
            "options": {m: asdict(o) if o else {} for m, o in self.options.items()},
            "interval": "95 %, bootstrap over photos",
        }
        report = Report(about, scores, left_out, dict(failed), samples if semantics else {})
        report.write(self.out)
        return report

    def _sample(self, rows: Sequence[Mapping[str, Any]], *, semantics: bool) -> "Inverted":
        import torch

        from tedi.metrics.inversion import Inverted

        def column(part: str) -> "dict[str, Tensor]":
            names = {name: None for row in rows for name in row[part]}
            return {
                name: torch.tensor(
                    [row[part].get(name, math.nan) for row in rows], dtype=torch.double
                )
                for name in names
            }

        return Inverted(
            figures=column("figures"),
            networks=self.bench.networks,
            same=self.bench.same,
            truth=column("shown") if semantics else {},
            scores=column("read") if semantics else {},
            judge=self.bench.judge.name,
            reader="the code reader",
        )

    def sheet(self, path: Path, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Write some photos, evenly chosen, beside what their codes draw at 1024 px."""
        from tedi import __version__
        from tedi.checkpoints import codes
        from tedi.images import contact_sheet, save

        model = self.bench.model
        done = {row["sha256"] for row in next(iter(found.values()))}
        sources = [source for source in self.sources if source.sha256 in done]
        number = min(SHEET_ROWS, len(sources))
        chosen = [sources[i * len(sources) // number] for i in range(number)]
        size = {"slots": model.generator.slots, "width": model.generator.width}
        rows = []
        for source in chosen:
            row = [source.open(model, aligned=self.aligned).crop]
            for method in self.options:
                ws = codes.load(self.code(source, method), **size)[None].to(model.device)
                row += model.pictures(ws)
            rows.append(row)
        record = {
            "command": "evaluate inversion",
            "shows": "real photos in the first column, drawings of their codes in the others",
            "photos": [{"name": s.name, "sha256": s.sha256} for s in chosen],
            "columns": ["photo", *self.options],
            "version": __version__,
            "weights": self.bench.setting()["weights"],
        }
        sheet = contact_sheet(rows, column_labels=["photo", *self.options])
        save(sheet, path, record, exist="overwrite")


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        about: what was measured, and with what.
        scores: by method.
        left_out: method -> metric -> why.
        failed: photo -> why.
        samples: by method, for the curves; empty where they are not asked for.
    """

    about: dict[str, Any]
    scores: "dict[str, list[Score]]"
    left_out: dict[str, dict[str, str]]
    failed: dict[str, str]
    samples: "Mapping[str, Inverted]"

    @property
    def titles(self) -> tuple[str, str]:
        """What was measured, and with what."""
        faces = "aligned faces" if self.about["aligned"] else "photos"
        networks = ", ".join(f"{name} by {what}" for name, what in self.about["networks"].items())
        return f"Inversion of {self.about['count']} {faces} of {self.about['source']}", networks

    def told(self) -> dict[str, Any]:
        """The report as JSON holds it."""
        from tedi.metrics.boundaries import curves
        from tedi.metrics.text import jsonable

        found = {m: [jsonable(score) for score in listed] for m, listed in self.scores.items()}
        lines = {
            method: {
                name: {"recall": r.tolist(), "precision": p.tolist()}
                for name, (r, p) in curves(sample).items()
            }
            for method, sample in self.samples.items()
        }
        rest = {"left_out": self.left_out, "failed": self.failed}
        return {**self.about, "scores": found, **({"curves": lines} if lines else {}), **rest}

    def write(self, out: Path) -> None:
        """Write report.json, chart.png, and curves.png where there are any."""
        from tedi.metrics import panels
        from tedi.metrics.boundaries import curves, truths

        whole = json.dumps(self.told(), indent=1, ensure_ascii=False) + "\n"
        write = functools.partial(Path.write_text, data=whole, encoding="utf-8")
        write_atomically(out / "report.json", write, exist="overwrite")
        title, subtitle = self.titles
        bars = panels.bars(self.scores, title=title, subtitle=subtitle)
        write_atomically(out / "chart.png", bars.save, exist="overwrite")
        shown = truths(next(iter(self.samples.values()))) if self.samples else {}
        if shown:
            chance = {name: float(each.double().mean()) for name, each in shown.items()}
            found = {method: curves(sample) for method, sample in self.samples.items()}
            about = f"{title}: what photos show, read off codes"
            lines = panels.curves(found, chance, title=about, subtitle=f"photos by {self.judge}")
            write_atomically(out / "curves.png", lines.save, exist="overwrite")

    @property
    def judge(self) -> str:
        """What looked at the photos."""
        return str(self.about["judge"])


def _tell(report: Report, out: Path, sheet: Path | None, as_json: bool) -> None:
    from tedi.metrics.report import notes, table

    if as_json:
        click.echo(json.dumps(report.told(), ensure_ascii=False))
        return
    files = [out / "report.json", out / "chart.png", *([sheet] if sheet else [])]
    if any(score.name == "average precision" for score in next(iter(report.scores.values()))):
        files.insert(2, out / "curves.png")
    lines = [report.titles[0], "", *table(report.scores), "", *_once(report, notes)]
    lines += [f"{name}: {why}" for name, why in report.failed.items()]
    for line in [*lines, *map(os.fspath, files)]:
        click.echo(line)


def _once(report: Report, notes: Callable[..., list[str]]) -> list[str]:
    """The notes; what several methods have in common is said once."""
    found = [line.partition(": ") for line in notes(report.scores, report.left_out)]
    methods: dict[str, list[str]] = {}
    for method, _, rest in found:
        methods.setdefault(rest, []).append(method)
    every = len(report.scores)
    return [
        rest if len(of) == every else f"{', '.join(of)}: {rest}" for rest, of in methods.items()
    ]
