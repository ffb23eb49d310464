"""`tedi evaluate edits`: whether edits change what they name and nothing else, in numbers."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.edit import Strengths, StrengthsType
from tedi.cli.evaluate import _bar, _draw_free, _load, _made_with, _store, write_report
from tedi.cli.options import (
    choice_seed_option,
    device_option,
    full_option,
    generator_option,
    models_of,
    split_option,
)
from tedi.editing import EDITS
from tedi.errors import UsageError
from tedi.prompts import STRENGTH

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.metrics.before_after import Change, Faces, Found
    from tedi.metrics.prompts import Wish
    from tedi.metrics.score import Score
    from tedi.metrics.text import Judge, Picture
    from tedi.pipeline import Toolkit

COUNT = 40
SHEET_ROWS = 12
CALIBRATED = (
    *("target reached", "steps moved", "log-odds gained", "others unchanged"),
    "identity kept (proxy)",
)
"""Scores in the table by strength."""


@click.command()
@click.option(
    "--edits",
    "file",
    type=click.Path(path_type=Path),
    help='A .jsonl file of {"edit": …, "wants": {"smile": ["broad"]}, "moves": {"age": 1}, "from": '
    '{"smile": ["none"]}}: what is asked for, asked more or less of, and needed before.',
)
@click.option(
    "--count",
    type=click.IntRange(1, 100_000),
    help=f"Edits composed where no file is given.  [default: {COUNT}]",
)
@split_option
@choice_seed_option
@click.option(
    "--faces",
    type=click.IntRange(1, 200),
    default=4,
    show_default=True,
    help="Faces that each is tried on: the first that fit, of seeds that its words decide.",
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(list(EDITS)),
    multiple=True,
    default=["default"],
    show_default=True,
    help="How a text changes a code; give it several times to compare.",
)
@click.option(
    "--mapper",
    type=click.Path(path_type=Path),
    help="Also edit by a latent mapper: a file of train/mapper.py or of StyleCLIP, of one text.",
)
@click.option(
    "--strength",
    type=StrengthsType(),
    default=f"{STRENGTH:g}",
    show_default=True,
    help="One number, some as in 0.5,1, or from:to:count, to see what is judged by strength.",
)
@click.option(
    "--psi",
    type=click.FloatRange(0, 2),
    default=0.7,
    show_default=True,
    help="Variety of the faces: 0 none, 1 all.",
)
@full_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("evaluation", "edits"),
    show_default=True,
    help="Folder for report.json, judgments.jsonl, chart.png, sheet.png, and what was judged, so "
    "that a stopped run goes on.",
)
@generator_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not a table.")
@click.option("--dry-run", is_flag=True, help="Print the edits; draw nothing.")
def edits(
    file: Path | None,
    count: int | None,
    split: str | None,
    seed: int | None,
    faces: int,
    methods: Sequence[str],
    mapper: Path | None,
    strength: Strengths,
    psi: float,
    preview: bool,
    out: Path,
    generator: Path | None,
    device: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Do edits change what they name, and only that?

    Faces that an edit makes sense for are edited; a network that knows attributes judges them
    before and after. Run it again to go on.

    \b
    tedi evaluate edits --count 20
    tedi evaluate edits --edits edits.jsonl --strength 0:2:5
    tedi evaluate edits --method default --method global
    tedi evaluate edits --edits beard.jsonl --mapper beard.safetensors

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    from tedi import zoo
    from tedi.editing.mapper import method_of

    wishes, source = _wishes(file, count, split, seed)
    if dry_run:
        return _show(wishes, as_json)
    strengths = sorted(set(strength.numbers))
    methods = list(dict.fromkeys(methods))
    model, judge = _load(device, **models_of(generator, None))
    setting = {**_made_with(model, judge), "psi": psi, "preview": preview}
    del setting["strength"]
    changes = {method: _change(model, method, preview=preview) for method in methods}
    if mapper is not None:
        known = method_of(mapper)
        model.mapper(known)  # what is wrong with it is told before anything is drawn
        changes["mapper"] = _change(model, known, preview=preview)
        setting["mapper"] = zoo.sha256(mapper)
    work = functools.partial(_work, model, judge, out, setting, psi=psi, preview=preview)
    found, tried = work(wishes, faces=faces, changes=changes, strengths=strengths)
    about = {**setting, "source": source, "faces": faces, "count": len(found.faces)}
    report = _report(found, tried, about, strengths)
    _write(out, report, found)
    _write_sheet(out / "sheet.png", model, found, report)
    _tell(report, found, out, as_json)


def _wishes(
    file: Path | None, count: int | None, split: str | None, seed: int | None
) -> tuple[list["Wish"], str]:
    """The edits, and what they are called in reports."""
    from tedi.metrics import prompts as given

    if file is None:
        count, split, seed = count or COUNT, split or "heldout", seed or 0
        wishes = given.composed_edits(count, seed=seed, split=split)
        return wishes, f"{split} wordings composed with seed {seed}"
    if (count, split, seed) != (None, None, None):
        raise UsageError("--edits: a file has its own; leave out --count, --split and --seed")
    return given.read_edits(file), file.name


def _show(wishes: Sequence["Wish"], as_json: bool) -> None:
    for wish in wishes:
        told: dict[str, Any] = {"edit": wish.edit.text}
        for key, says in (("wants", wish.edit.says), ("from", wish.start)):
            told[key] = {name: sorted(values, key=str) for name, values in says.items()}
        told["moves"] = wish.edit.moves
        click.echo(json.dumps(told, ensure_ascii=False) if as_json else wish.edit.text)


def _work(
    model: "Toolkit",
    judge: "Judge",
    out: Path,
    setting: Mapping[str, Any],
    wishes: Sequence["Wish"],
    *,
    faces: int,
    changes: "Mapping[str, Change]",
    strengths: Sequence[float],
    psi: float,
    preview: bool,
) -> tuple["Found", list["Faces"]]:
    """What was found, and the faces of each edit, also of those that have none."""
    from tedi.metrics import before_after

    draw_free = functools.partial(_draw_free, model, psi=psi, preview=preview)
    store = _store(out / "judged", setting)
    looking: dict[str, Any] = {"draw_free": draw_free, "judge": judge, "store": store}
    tried = []
    with _bar(len(wishes), "edit") as bar:
        for wish in wishes:
            tried.append(before_after.find(wish, faces, **looking))
            bar.update(1)
    pictures = sum(len(each.jobs) for each in tried) * len(changes) * len(strengths)
    with _bar(pictures) as bar:
        found = before_after.evaluate(
            tried, strengths=strengths, changes=changes, progress=bar.update, **looking
        )
    return found, tried


def _change(model: "Toolkit", method: str, *, preview: bool) -> "Change":
    """How a method edits: one of `EDITS`, or a latent mapper's, which does not read the text.

    A text that is not understood changes nothing, and so fails.
    """
    import torch

    from tedi.cli.faces import Step, apply

    @torch.no_grad()
    def change(ws: "Tensor", text: str, strength: float) -> "Picture":
        step = Step(text, strength, method)
        moved = apply(model, ws[None].to(model.device), step, anyway=True)
        return model.pictures(moved, preview=preview)[0], moved[0].cpu()

    return change


def _report(
    found: "Found", tried: Sequence["Faces"], about: Mapping[str, Any], strengths: Sequence[float]
) -> dict[str, Any]:
    """The report as JSON holds it: scores at the strength next to the default, then at each."""
    from tedi.metrics.before_after import TRIES
    from tedi.metrics.text import jsonable

    def told(scores: Sequence["Score"]) -> list[dict[str, Any]]:
        return [jsonable(score) for score in scores]

    main = min(strengths, key=lambda strength: abs(strength - STRENGTH))
    short = [
        {"edit": each.wish.edit.text, "faces": len(each.jobs), "tried": each.tried}
        for each in tried
        if len(each.jobs) < about["faces"]
    ]
    by_strength = {
        method: [{"strength": s, "scores": told(scores)} for s, scores in by.items()]
        for method, by in found.scores.items()
    }
    return {
        **{"evaluates": "edits", **about, "strength": main, "strengths": list(strengths)},
        "interval": "95 %, bootstrap over edits",
        "scores": {method: told(by[main]) for method, by in found.scores.items()},
        "by_strength": by_strength if len(strengths) > 1 else {},
        "rises": {method: told(scores) for method, scores in found.rises.items()},
        **{"tries": TRIES, "too_few_faces": short, "left_out": found.left_out},
    }


def _titles(report: Mapping[str, Any]) -> tuple[str, str]:
    """What was measured, and with what."""
    size = "256 px previews" if report["preview"] else "1024 px"
    return (
        f"{report['count']} edits, {report['faces']} faces each: {report['source']}",
        f"strength {report['strength']:g}, psi {report['psi']}, {size}, judged by "
        f"{report['judge']} at 256 px",
    )


def _main(found: "Found", report: Mapping[str, Any]) -> "dict[str, list[Score]]":
    return {method: by[report["strength"]] for method, by in found.scores.items()}


def _write(out: Path, report: Mapping[str, Any], found: "Found") -> None:
    """The report, the judgments and the chart; those of an earlier run here are replaced."""
    from tedi.metrics.before_after import judgments

    rows = [
        row
        for method, by in found.samples.items()
        for strength, sample in by.items()
        for row in judgments(method, strength, found.faces, sample)
    ]
    write_report(out, report, rows, _main(found, report), _titles(report))


def _write_sheet(path: Path, model: "Toolkit", found: "Found", report: Mapping[str, Any]) -> None:
    """One face of each of some edits, evenly chosen: before, then by method and strength."""
    from tedi.images import contact_sheet, save

    psi, preview = report["psi"], report["preview"]
    number = min(SHEET_ROWS, len(found.faces))
    chosen = [i * len(found.faces) // number for i in range(number)]
    runs = [(m, s, codes) for m, by in found.codes.items() for s, codes in by.items()]
    jobs = [found.faces[i].jobs[0] for i in chosen]
    rows = []
    for i, (before, _) in zip(
        chosen, _draw_free(model, jobs, psi=psi, preview=preview), strict=True
    ):
        codes = [each[i][None].to(model.device) for _, _, each in runs]
        rows.append([before, *(model.pictures(ws, preview=preview)[0] for ws in codes)])
    names = [f"{s:g}" if len(found.codes) == 1 else f"{m} {s:g}" for m, s, _ in runs]
    sheet = contact_sheet(rows, labels=[text for text, _ in jobs], column_labels=["before", *names])
    record = {
        "command": "evaluate edits",
        "edits": [{"text": text, "seed": seed} for text, seed in jobs],
        "columns": [{"method": m, "strength": s} for m, s, _ in runs],
        **{name: report[name] for name in ("psi", "preview", "dtype", "version", "weights")},
    }
    save(sheet, path, record, exist="overwrite")


def _tell(report: Mapping[str, Any], found: "Found", out: Path, as_json: bool) -> None:
    from tedi.metrics.report import by_strength, notes, table

    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    scores = _main(found, report)
    lines = [*_titles(report), "", *table(scores), ""]
    if len(report["strengths"]) > 1:
        for method, by in found.scores.items():
            lines += [f"{method}, by strength", *by_strength(by, CALIBRATED), ""]
        lines += ["what never falls as strength rises", *table(found.rises), ""]
    lines += notes(scores, found.left_out)
    for short in report["too_few_faces"]:
        lines.append("{edit}: {faces} faces that fit among {tried} seeds".format(**short))
    for line in [*lines, str(out / "report.json"), str(out / "sheet.png")]:
        click.echo(line)
