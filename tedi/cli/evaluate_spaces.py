"""`tedi evaluate spaces`: how Z, W, W+ and S of a generator hold attributes, in numbers."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.evaluate import JUDGE, _bar, write_report
from tedi.cli.networks import (
    UPRIGHT,
    load_attributes,
    load_generator,
    previews_of,
    unaligned_option,
)
from tedi.cli.options import MAX_SEED, device_option, generator_option

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.encoders.attributes import AttributeModel
    from tedi.metrics.classifiers import Classifier
    from tedi.metrics.score import Score

LEAST = 100
KINDS = ("linear", "trees")  # of tedi.metrics.classifiers


@dataclass(frozen=True)
class Fitting:
    """How attributes are learned from codes.

    Attributes:
        classifier: what learns.
        surest: share of faces kept at each end of an attribute; None for all faces.
        rounds: resamplings behind an interval.
        kept: faces at each end; 0 for all faces.
    """

    classifier: "Classifier"
    surest: float | None
    rounds: int
    kept: int


@click.command()
@generator_option
@unaligned_option
@click.option(
    "--count",
    type=click.IntRange(LEAST, 20_000),
    default=1000,
    show_default=True,
    help="Faces drawn and judged, and as many mixtures of two faces for W+.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Of the first face; the others count up.",
)
@click.option(
    "--psi",
    type=click.FloatRange(0, 2),
    default=1.0,
    show_default=True,
    help="Variety of the faces: 0 none, 1 all.",
)
@click.option(
    "--classifier",
    "kind",
    type=click.Choice(KINDS),
    default=KINDS[0],
    show_default=True,
    help="What tells attributes from codes: linear, of few weights, fitted to all faces; or "
    "boosted trees, fitted to the surest, as in StyleSpace.",
)
@click.option(
    "--surest",
    type=click.FloatRange(0, 0.25, min_open=True),
    help="Share of the faces kept at each end of an attribute: those that most surely have it, and "
    "those that most surely lack it.  [default: 0.02 for trees; all faces for linear]",
)
@click.option(
    "--rounds",
    type=click.IntRange(2, 1000),
    help="Resamplings behind an interval.  [default: 12; 6 for trees]",
)
@click.option("--judge", default=JUDGE, show_default=True, help="Attribute model: name or file.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("evaluation", "spaces"),
    show_default=True,
    help="Folder for report.json, judgments.jsonl, chart.png, and what was judged, so that a "
    "stopped run goes on.",
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not a table.")
def spaces(
    generator: Path | None,
    unaligned: bool,
    count: int,
    seed: int,
    psi: float,
    kind: str,
    surest: float | None,
    rounds: int | None,
    judge: str,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Does each number of a code tell one attribute, and one number each attribute?

    Disentanglement, completeness and informativeness (DCI, Eastwood and Williams 2018) of Z, W,
    W+ and S: faces are drawn and judged, and classifiers fitted to their codes, and to codes
    turned at random, which is a floor. Figures of one classifier and count do not compare with
    those of another. Run it again to go on.

    \b
    tedi evaluate spaces --count 400
    tedi evaluate spaces --count 4000 --classifier trees
    tedi evaluate spaces --generator ffhq.pkl --out evaluation/ffhq

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    import torch

    from tedi import control
    from tedi.metrics import dci
    from tedi.metrics.classifiers import CLASSIFIERS

    classifier: Classifier = CLASSIFIERS[kind]()
    surest = surest or classifier.surest
    kept = sum(dci.kept(count, surest)) if surest else 0
    model, weights = load_generator(device, generator)
    draw = previews_of(model, unaligned=unaligned)
    network, sha256 = load_attributes(judge, device)
    made: dict[str, Any] = {
        "weights": weights,
        "judge": f"{judge} {sha256[:8]}",
        "psi": psi,
        "seed": seed,
        **({"drawn": UPRIGHT} if unaligned else {}),
    }
    seeds = range(seed, seed + count)
    with torch.inference_mode(), _bar(2 * count) as bar:
        plain = control.style_codes(model, seeds, psi=psi)
        mixed = dci.mixtures(model, seeds, psi=psi)
        judged = {
            name: _judged(draw, network, ws, out / f"{name}.safetensors", made, bar)
            for name, ws in (("faces", plain), ("mixtures", mixed))
        }
        codes = dci.spaces(model, seeds, psi=psi)
    read = dci.odds if surest else dci.splits
    labels = {faces: dci.counted(read(seen), surest) for faces, seen in judged.items()}
    fitting = Fitting(classifier, surest, rounds or classifier.rounds, kept)
    found = _measured(_ordered(codes, mixed), labels, fitting, made["judge"])
    report = _report(found, made, count, fitting)
    write_report(out, report, _rows(seeds, judged), found, _titles(report, fitting))
    _tell(report, fitting, found, out, as_json)


def _measured(
    spaces: "Mapping[str, Tensor]",
    labels: "Mapping[str, Mapping[str, Tensor]]",
    fitting: Fitting,
    judge: str,
) -> "dict[str, list[Score]]":
    """Scores of each space; a bar tells how many numbers of codes are done with."""
    from tedi.metrics import dci

    found: dict[str, list[Score]] = {}
    work = sum(_work(codes, labels[_faces(space)], fitting) for space, codes in spaces.items())
    with _bar(work, "number") as bar:
        for space, codes in spaces.items():
            fit = functools.partial(
                dci.measure,
                labels=labels[_faces(space)],
                classifier=fitting.classifier,
                surest=fitting.surest,
                progress=bar.update,
            )
            result, again = fit(codes.cpu(), rounds=fitting.rounds)
            floor, _ = fit(dci.turned(codes.cpu()), rounds=0)
            n = 2 * fitting.kept or len(codes)
            found[space] = dci.scores(result, again, floor=floor, n=n, judge=judge)
    return found


def _faces(space: str) -> str:
    """Whose pictures tell of a space."""
    return "mixtures" if space == "W+" else "faces"


def _work(codes: "Tensor", labels: "Mapping[str, Tensor]", fitting: Fitting) -> int:
    """Numbers of codes that are fitted: of each attribute, as often as it is fitted."""
    from tedi.metrics.dci import turned_width

    width = codes.shape[1]
    return len(labels) * ((1 + fitting.rounds) * width + turned_width(width))


def _ordered(codes: "Mapping[str, Tensor]", mixed: "Tensor") -> "dict[str, Tensor]":
    """Z, W, W+ and S."""
    every = {**codes, "W+": mixed.flatten(1)}
    return {space: every[space] for space in ("Z", "W", "W+", "S") if space in every}


def _judged(
    draw: "Callable[[Tensor], Tensor]",
    network: "AttributeModel",
    ws: "Tensor",
    path: Path,
    made: Mapping[str, Any],
    bar: Any,
) -> "Tensor":
    """What is seen in the pictures of codes, (N, V); what the file holds is not drawn again."""
    from tedi import attributes
    from tedi.checkpoints.layers import resumed

    def one(row: int) -> "Tensor":
        return attributes.log_softmax(network(draw(ws[row][None])))[0].cpu()

    done = 0

    def on_row(rows: int) -> None:
        nonlocal done
        bar.update(rows - done)
        done = rows

    return resumed(one, count=len(ws), path=path, about=made, on_row=on_row).float()


def _rows(seeds: Sequence[int], judged: "Mapping[str, Tensor]") -> list[dict[str, Any]]:
    """What each face was taken to have, a row of JSON each."""
    from tedi.metrics.dci import splits

    rows = []
    for kind, log_p in judged.items():
        labels = splits(log_p)
        for row, seed in enumerate(seeds):
            has = [name for name, of in labels.items() if of[row]]
            rows.append({"kind": kind, "seed": seed, "has": has})
    return rows


def _report(
    found: "Mapping[str, Sequence[Score]]",
    made: Mapping[str, Any],
    count: int,
    fitting: Fitting,
) -> dict[str, Any]:
    from tedi import __version__
    from tedi.metrics.dci import LEAST, SPLITS
    from tedi.metrics.text import jsonable

    chosen = {"surest": fitting.surest, "kept a side": fitting.kept} if fitting.surest else {}
    return {
        **{"evaluates": "spaces", "count": count, **made, "version": __version__},
        "interval": f"95 %, 1.96 standard deviations over {fitting.rounds} resamplings of faces",
        "classifier": fitting.classifier.about,
        **chosen,
        "attributes": {name: list(values) for name, values in SPLITS.items()},
        "least share": max(LEAST, fitting.surest or 0),
        "scores": {space: [jsonable(score) for score in each] for space, each in found.items()},
    }


def _titles(report: Mapping[str, Any], fitting: Fitting) -> tuple[str, str]:
    """What was measured, and with what."""
    kept = f" on the surest {fitting.kept} a side" if fitting.surest else ""
    names = ", ".join(report["weights"])
    drawn = f", {report['drawn']}" if "drawn" in report else ""
    by = f"judged by {report['judge']}, {fitting.classifier.short}{kept}"
    return (
        f"DCI of {names}: {report['count']} faces, a quarter held out",
        f"psi {report['psi']:g}, 256 px previews{drawn}, {by}",
    )


def _tell(
    report: Mapping[str, Any],
    fitting: Fitting,
    found: "Mapping[str, Sequence[Score]]",
    out: Path,
    as_json: bool,
) -> None:
    from tedi.metrics.report import notes, table

    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    lines = [*_titles(report, fitting), "", *table(found), "", *notes(found, {})]
    about = f"classifier: {report['classifier']}; intervals: {report['interval']}"
    for line in [*lines, about, str(out / "report.json")]:
        click.echo(line)
