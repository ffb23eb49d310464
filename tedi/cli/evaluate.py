"""`tedi evaluate`: how well pictures follow what they were asked for, in numbers."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.networks import load_attributes
from tedi.cli.options import (
    Seeds,
    TableGroup,
    batch_size_option,
    choice_seed_option,
    device_option,
    full_option,
    generator_option,
    models_of,
    split_option,
)
from tedi.errors import UsageError
from tedi.outputs import write_atomically
from tedi.prompts import STRENGTH

if TYPE_CHECKING:
    from tedi.grammar import Caption
    from tedi.metrics.report import Scores
    from tedi.metrics.text import Draw, Found, Job, Judge, Picture, Similarity, Store
    from tedi.pipeline import Toolkit

JUDGE = "judge-lite0"
COUNT = 60
MAX_PICTURES = 1000  # of one prompt, whose feature maps are compared all with all

EVALUATIONS = {
    "text": ("tedi.cli.evaluate:text", "Do pictures show what prompts name?"),
    "edits": ("tedi.cli.evaluate_edits:edits", "Do edits change what they name, and only that?"),
    "inversion": (
        "tedi.cli.evaluate_inversion:inversion",
        "Do codes draw the photos they are of, and can they be edited?",
    ),
    "spaces": (
        "tedi.cli.evaluate_spaces:spaces",
        "Does each number of a code tell one attribute?",
    ),
    "sketch": ("tedi.cli.evaluate_drawings:sketch", "Do pictures follow the lines of sketches?"),
    "label": ("tedi.cli.evaluate_drawings:label", "Do pictures have the parts of label maps?"),
    "video": ("tedi.cli.evaluate_video:video", "Is an edited video as steady as the original?"),
}
"""What can be evaluated -> the command, and its line in the list."""


@click.group(cls=TableGroup, table=EVALUATIONS, kind="evaluation")
def evaluate() -> None:
    """How well pictures follow what they were asked for.

    \b
    tedi evaluate text --count 20
    tedi evaluate inversion --photos holiday/
    """  # noqa: D301


@click.command()
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help='A .jsonl file of {"prompt": …, "says": {"smile": ["broad"]}}, or a prompt a line, of '
    "which attributes are not judged.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 100_000),
    help=f"Prompts composed where no file is given.  [default: {COUNT}]",
)
@split_option
@choice_seed_option
@click.option(
    "--seeds",
    type=Seeds(),
    default="0-3",
    show_default=True,
    help="Pictures of a prompt, counted from a number that its words decide.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    default=["default"],
    show_default=True,
    help="How prompts become codes; give it several times to compare.",
)
@click.option(
    "--psi",
    type=click.FloatRange(0, 2),
    default=0.7,
    show_default=True,
    help="Variety of what a prompt leaves open: 0 none, 1 all.",
)
@full_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("evaluation"),
    show_default=True,
    help="Folder for report.json, judgments.jsonl, chart.png, and what was judged, so that a "
    "stopped run goes on.",
)
@batch_size_option
@generator_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not a table.")
@click.option("--dry-run", is_flag=True, help="Print the prompts; draw nothing.")
def text(
    prompts: Path | None,
    count: int | None,
    split: str | None,
    seed: int | None,
    seeds: Sequence[int],
    methods: Sequence[str],
    psi: float,
    preview: bool,
    out: Path,
    batch_size: int,
    generator: Path | None,
    device: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Do pictures show what prompts name?

    Pictures are drawn and judged by a network that knows attributes; beside them, unconditional
    pictures of the same seeds, for diversity and Fréchet distance. Run it again to go on.

    \b
    tedi evaluate text --count 20
    tedi evaluate text --seeds 0-7 --full --out evaluation/full

    The table goes to stdout, progress to stderr.
    """  # noqa: D301
    from tedi.metrics import text as evaluation

    captions, source = _captions(prompts, count, split, seed)
    chosen = _check_seeds(seeds)
    if dry_run:
        return _show(captions, as_json)
    methods = list(dict.fromkeys(methods))
    model, judge = _load(device, **models_of(generator, None))
    drawing = {"psi": psi, "preview": preview, "batch_size": batch_size, "anyway": True}
    setting = {"psi": psi, "preview": preview, **_made_with(model, judge)}
    with _bar(len(captions) * len(chosen) * (1 + len(methods))) as bar:
        found = evaluation.evaluate(
            captions,
            seeds=chosen,
            draws={m: _draw(model, method=m, **drawing) for m in methods},
            draw_free=functools.partial(_draw_free, model, psi=psi, preview=preview),
            judge=judge,
            store=_store(out / "judged", setting),
            similarity=_similarity(model),
            encoder=_encoder(model),
            progress=bar.update,
        )
    groups = evaluation.jobs_of(captions, chosen)
    report = _report(found, setting | {"prompts": source, "seeds": list(chosen)}, len(captions))
    _write(out, report, found, groups)
    _tell(report, found, out, as_json)


def _captions(
    prompts: Path | None, count: int | None, split: str | None, seed: int | None
) -> tuple[list["Caption"], str]:
    """The prompts, and what they are called in reports."""
    from tedi.metrics import prompts as given

    if prompts is None:
        count, split, seed = count or COUNT, split or "heldout", seed or 0
        captions = given.composed(count, seed=seed, split=split)
        return captions, f"{split} wordings composed with seed {seed}"
    if (count, split, seed) != (None, None, None):
        raise UsageError("--prompts: a file has its own; leave out --count, --split and --seed")
    return given.read(prompts), prompts.name


def _check_seeds(seeds: Sequence[int]) -> list[int]:
    if len(seeds) > MAX_PICTURES:
        raise UsageError(f"--seeds: {len(seeds)} pictures of a prompt, at most {MAX_PICTURES}")
    if len(set(seeds)) < len(seeds):
        raise UsageError("--seeds: one comes twice; give each once")
    return list(seeds)


def _show(captions: Sequence["Caption"], as_json: bool) -> None:
    for caption in captions:
        says = {name: sorted(values, key=str) for name, values in caption.says.items()}
        click.echo(json.dumps({"prompt": caption.text, "says": says}) if as_json else caption.text)


def _load(device: str, **models: Path) -> tuple["Toolkit", "Judge"]:
    """The toolkit, on `models` of one's own, and the judge, with bars for downloads."""
    from tedi.cli.generate import _load as load

    return load(**models, device=device, dtype="float32", compiled=False), load_judge(device)


def load_judge(device: str) -> "Judge":
    """The attribute model that looks at pictures, and how well it does on held-out faces."""
    from tedi import zoo
    from tedi.metrics.text import Judge

    network, sha256 = load_attributes(JUDGE, device)
    figures: dict[str, float] = json.loads(zoo.metadata(zoo.path(JUDGE)).get("figures", "{}"))
    return Judge(network, f"{JUDGE} {sha256[:8]}", _by_attribute(figures))


def _by_attribute(figures: Mapping[str, float]) -> dict[str, float]:
    """Accuracy of a judge by attribute; that of backgrounds is the mean over their words."""
    from statistics import fmean

    from tedi.grammar import ATTRIBUTES

    found = {name: value for name, value in figures.items() if name in ATTRIBUTES}
    words = [value for name, value in figures.items() if name.startswith("background ")]
    return found | ({"background": fmean(words)} if words else {})


def _made_with(model: "Toolkit", judge: "Judge") -> dict[str, Any]:
    """What else decides what is judged."""
    from tedi import __version__

    dtype = str(model.dtype).removeprefix("torch.")
    return {
        "dtype": dtype,
        "strength": STRENGTH,
        "weights": dict(model.weights),
        "version": __version__,
        "judge": judge.name,
    }


def _draw(model: "Toolkit", **drawing: Any) -> "Draw":
    """How one method draws."""

    def draw(jobs: Sequence["Job"]) -> Iterator["Picture"]:
        for face in model.stream(jobs, **drawing):
            yield face.picture, face.ws

    return draw


def _draw_free(
    model: "Toolkit", jobs: Sequence["Job"], *, psi: float, preview: bool
) -> Iterator["Picture"]:
    """Pictures of the same seeds that look at no prompt."""
    from tedi import control

    for _, seed in jobs:
        ws = control.style_codes(model.generator, [seed], psi=psi)
        yield model.pictures(ws, preview=preview)[0], ws[0].cpu()


def _similarity(model: "Toolkit") -> "Similarity":
    """How well prompts fit codes, on the CPU."""
    import torch

    @torch.inference_mode()
    def similarity(ws: "torch.Tensor", prompts: Sequence[str]) -> "torch.Tensor":
        reading = model.text.read(list(prompts))
        codes = [model.seen(part.to(model.device)) for part in ws.split(256)]
        parts = [model.text.similarity(part, reading) for part in codes]
        return torch.cat(parts, dim=1).cpu()

    return similarity


def _encoder(model: "Toolkit") -> str:
    names = [name for name in model.weights if name.startswith("text")]
    return names[0] if names else "text encoder"


def _store(folder: Path, setting: Mapping[str, Any]) -> "Store":
    from tedi.metrics.text import Store

    return Store(folder, setting)


def _bar(total: int, unit: str = "picture") -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=None)


def _report(found: "Found", setting: Mapping[str, Any], prompts: int) -> dict[str, Any]:
    """The report as JSON holds it."""
    from tedi.metrics.text import jsonable

    scores = {method: [jsonable(s) for s in listed] for method, listed in found.scores.items()}
    about = {"evaluates": "text", "count": prompts, **setting}
    return {**about, "interval": "95 %, bootstrap over prompts", "scores": scores} | {
        "left_out": found.left_out
    }


def _titles(report: Mapping[str, Any]) -> tuple[str, str]:
    """What was measured, and with what."""
    size = "256 px previews" if report["preview"] else "1024 px"
    count, seeds = report["count"], len(report["seeds"])
    return (
        f"{count} prompts, {seeds} pictures each: {report['prompts']}",
        f"psi {report['psi']}, {size}, judged by {report['judge']} at 256 px",
    )


def _write(
    out: Path, report: Mapping[str, Any], found: "Found", groups: Sequence[Sequence["Job"]]
) -> None:
    """The report, the judgments and the chart; those of an earlier run here are replaced."""
    from tedi.metrics.text import judgments

    rows = [row for m, sample in found.samples.items() for row in judgments(m, sample, groups)]
    write_report(out, report, rows, found.scores, _titles(report))


def write_report(
    out: Path,
    report: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    scores: "Scores",
    titles: tuple[str, str],
) -> None:
    """Write report.json, the rows as judgments.jsonl, and the chart of scores; old ones go."""
    from tedi.metrics.report import chart

    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    whole = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    for name, content in (("report.json", whole), ("judgments.jsonl", lines)):
        write = functools.partial(Path.write_text, data=content, encoding="utf-8")
        write_atomically(out / name, write, exist="overwrite")
    bars = chart(scores, title=titles[0], subtitle=titles[1])
    write_atomically(out / "chart.png", bars.save, exist="overwrite")


def _tell(report: Mapping[str, Any], found: "Found", out: Path, as_json: bool) -> None:
    from tedi.metrics.report import notes, table

    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    lines = [*_titles(report), "", *table(found.scores), ""]
    lines += [*notes(found.scores, found.left_out), f"{out / 'report.json'}"]
    for line in lines:
        click.echo(line)
