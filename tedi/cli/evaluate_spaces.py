"""`tedi evaluate spaces`: how Z, W, W+ and S of a generator hold attributes, in numbers."""

import json
from collections.abc import Callable, Mapping, Sequence
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
    from tedi.metrics.score import Score

LEAST = 100


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
    judge: str,
    out: Path,
    device: str,
    as_json: bool,
) -> None:
    """Does each number of a code tell one attribute, and one number each attribute?

    Disentanglement, completeness and informativeness (DCI, Eastwood and Williams 2018) of Z, W,
    W+ and S: faces are drawn and judged, and linear classifiers with few weights fitted to their
    codes, and to codes turned at random, which is a floor. Run it again to go on.

    \b
    tedi evaluate spaces --count 400
    tedi evaluate spaces --generator ffhq.pkl --out evaluation/ffhq

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    import torch

    from tedi import control
    from tedi.metrics import dci

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
    found: dict[str, list[Score]] = {}
    for space, values in _ordered(codes, mixed).items():
        labels = dci.splits(judged["mixtures" if space == "W+" else "faces"])
        result, again = dci.measure(values.cpu(), labels, rounds=dci.ROUNDS)
        floor, _ = dci.measure(dci.turned(values.cpu()), labels, rounds=0)
        found[space] = dci.scores(result, again, floor=floor, n=count, judge=made["judge"])
    report = _report(found, made, count)
    write_report(out, report, _rows(seeds, judged), found, _titles(report))
    _tell(report, found, out, as_json)


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
    found: "Mapping[str, Sequence[Score]]", made: Mapping[str, Any], count: int
) -> dict[str, Any]:
    from tedi import __version__
    from tedi.metrics.dci import LEAST, ROUNDS, SPLITS
    from tedi.metrics.text import jsonable

    return {
        **{"evaluates": "spaces", "count": count, **made, "version": __version__},
        "interval": f"95 %, 1.96 standard deviations over {ROUNDS} resamplings of faces",
        "classifier": "logistic regression, L1 penalty chosen on every fifth training face",
        "attributes": {name: list(values) for name, values in SPLITS.items()},
        "least share": LEAST,
        "scores": {space: [jsonable(score) for score in each] for space, each in found.items()},
    }


def _titles(report: Mapping[str, Any]) -> tuple[str, str]:
    """What was measured, and with what."""
    names = ", ".join(report["weights"])
    drawn = f", {report['drawn']}" if "drawn" in report else ""
    return (
        f"DCI of {names}: {report['count']} faces, a quarter held out",
        f"psi {report['psi']:g}, 256 px previews{drawn}, judged by {report['judge']}",
    )


def _tell(
    report: Mapping[str, Any],
    found: "Mapping[str, Sequence[Score]]",
    out: Path,
    as_json: bool,
) -> None:
    from tedi.metrics.report import notes, table

    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    lines = [*_titles(report), "", *table(found), "", *notes(found, {})]
    for line in [*lines, str(out / "report.json")]:
        click.echo(line)
