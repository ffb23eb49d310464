"""`tedi layers`: which slots of the generator carry which attribute."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tedi.cli.networks import load_attributes, load_generator, resumed
from tedi.cli.options import MAX_SEED, device_option, generator_option
from tedi.errors import TediError, UsageError
from tedi.outputs import picture_format, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.checkpoints.layers import LayerTable
    from tedi.encoders.attributes import AttributeModel
    from tedi.interfaces import Generator

JUDGE = "attributes-lite0"
MEASURING = (
    *("count", "seed", "psi", "full", "judge", "batch_size"),
    *("generator", "device", "out", "overwrite"),
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--attribute", "names", multiple=True, help="Rows to show.  [default: all 18]")
@click.option("--words", is_flag=True, help="Also a row for each word of a background.")
@click.option("--cumulative", is_flag=True, help="Swap all slots from the first to this one.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each attribute.")
@click.option("--plot", type=click.Path(path_type=Path), help="Also write a heat map: FILE.png.")
@click.option("--measure", is_flag=True, help="Measure a new table, then show it.")
@click.option(
    "--count",
    type=click.IntRange(2, 100_000),
    default=300,
    show_default=True,
    help="Pairs of faces measured.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Of the first face; the others count up.",
)
@click.option("--psi", type=click.FloatRange(0, 2), default=0.7, show_default=True)
@click.option("--full", is_flag=True, help="Judge 1024 px averaged down to 256 px, no previews.")
@click.option("--judge", default=JUDGE, show_default=True, help="Attribute model: name or file.")
@click.option("--batch-size", type=click.IntRange(1, 1024), default=1, show_default=True)
@generator_option
@device_option
@click.option("--out", type=click.Path(path_type=Path), help="A .safetensors file of the table.")
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
def layers(
    file: Path | None,
    names: tuple[str, ...],
    words: bool,
    cumulative: bool,
    as_json: bool,
    plot: Path | None,
    measure: bool,
    out: Path | None,
    overwrite: bool,
    **how: Any,
) -> None:
    """Which slots of the generator carry which attribute, in percent.

    Slots are swapped between two faces and the pictures judged: 0 keeps the attribute of the one,
    100 takes that of the other. Shows the shipped table, or the one in FILE.

    \b
    tedi layers
    tedi layers --attribute smile --attribute "background blue"
    tedi layers --plot layers.png
    tedi layers --measure --count 40 --out mine.safetensors
    tedi layers --measure --generator ffhq.pkl --out ffhq-layers.safetensors
    """  # noqa: D301
    if plot is not None:
        picture_format(plot)
        _check_new(plot, overwrite)
    if not measure:
        _refuse_measuring(plot)
        table = _load(file)
    else:
        if file is not None or out is None or out.suffix != ".safetensors":
            raise UsageError("--measure: expected --out FILE.safetensors, and no FILE to read")
        _check_new(out, overwrite)
        table = measured(out, Measuring(**how))
    shown = _shown(table, names, words)
    _tell(table, shown, "cumulative" if cumulative else "alone", as_json)
    if plot is not None:
        draw_plot(table, shown, plot)
        click.echo(plot, err=True)


def _check_new(path: Path, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise TediError(f"{path}: already exists; pass --overwrite to replace it")


def _refuse_measuring(plot: Path | None) -> None:
    """Options of measuring change nothing about a table that is only shown."""
    source, default = click.get_current_context().get_parameter_source, ParameterSource.DEFAULT
    for name in MEASURING:
        if source(name) != default and not (name == "overwrite" and plot):
            raise UsageError(f"--{name.replace('_', '-')}: is about measuring; add --measure")


def _load(file: Path | None) -> "LayerTable":
    from tedi.checkpoints import layers as files
    from tedi.semantics.layers import shipped_table

    return files.load(file) if file else shipped_table()


def _shown(table: "LayerTable", names: Sequence[str], words: bool) -> list[str]:
    """Rows to show; single words of the background only where they are asked for."""
    from tedi.semantics.layers import row

    for name in names:
        row(table, name)
    if names:
        return list(dict.fromkeys(names))
    return [name for name in table.attributes if words or " " not in name]


def _tell(table: "LayerTable", names: Sequence[str], measure: str, as_json: bool) -> None:
    from tedi.semantics.charts import lines

    if as_json:
        for name in names:
            click.echo(json.dumps(_told(table, name)))
        return
    for line in lines(table, names, measure=measure):
        click.echo(line)
    click.echo(f"\n{_subtitle(table)}")


def _told(table: "LayerTable", name: str) -> dict[str, Any]:
    from tedi.semantics.layers import row, slots_for

    number = row(table, name)
    told: dict[str, Any] = {"attribute": name, "sizes": table.sizes}
    for measure in ("alone", "cumulative"):
        parts = getattr(table, measure)[:, number].tolist()
        told[measure], told[f"{measure} low"], told[f"{measure} high"] = (
            [round(value, 4) for value in part] for part in parts
        )
    told["differ"] = round(table.differ[number].item(), 4)
    return told | {"slots": slots_for(table, [name])}


def _subtitle(table: "LayerTable") -> str:
    """How a table was measured, on one line."""
    figures = json.loads(table.metadata.get("figures", "{}"))
    kept = {key: figures[key] for key in ("pairs", "psi", "pictures", "judge") if key in figures}
    return ", ".join(f"{key} {value}" for key, value in kept.items())


def draw_plot(table: "LayerTable", names: Sequence[str], path: Path) -> None:
    """Write the heat map of a table, replacing what is there."""
    from tedi.semantics.charts import heat_map

    picture = heat_map(table, names, subtitle=_subtitle(table))
    write_atomically(path, picture.save, exist="overwrite")


# --- measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measuring:
    """How a table is measured.

    Attributes:
        count: pairs of faces.
        seed: of the first face; pair i has seeds seed + 2i and seed + 2i + 1.
        psi: truncation of the faces.
        full: judge 1024 px averaged down to 256 px, not previews.
        judge: name or file of an attribute model.
        batch_size: pictures drawn at a time.
        generator: a file that holds one; None for tedi's.
        device: where.
    """

    count: int = 300
    seed: int = 0
    psi: float = 0.7
    full: bool = False
    judge: str = JUDGE
    batch_size: int = 1
    generator: Path | None = None
    device: str = "auto"

    @property
    def pictures(self) -> str:
        """What is judged, in words."""
        return "full size averaged to 256 px" if self.full else "preview 256 px"


def measured(
    out: Path,
    how: Measuring,
    *,
    kept: Path | None = None,
    metadata: Mapping[str, str] | None = None,
) -> "LayerTable":
    """Measure a table into a file, with a bar; what a stopped run judged is used again.

    Args:
        out: the table.
        how: settings.
        kept: where judgments are kept; beside `out`, and removed when done, if None.
        metadata: what else to write into the table.
    """
    from tedi.checkpoints import layers as files
    from tedi.semantics.layers import tabulate

    last = how.seed + 2 * how.count - 1
    if last > MAX_SEED:
        raise UsageError(f"--seed: {2 * how.count} faces from {how.seed} on go past {MAX_SEED}")
    generator, model, hashes = _parts(how)
    about = {"seed": how.seed, "psi": how.psi, "pictures": how.pictures, **hashes}
    partial = kept or out.with_name(f"{out.stem}.judged.safetensors")
    make = functools.partial(_judged, generator, model, how)
    log_p = resumed(make, count=how.count, path=partial, about=about, label="pairs of faces")
    told = {
        "figures": json.dumps({"pairs": how.count, **about, "judge": Path(how.judge).stem}),
        "for": generator.name,
        "seeds": f"{how.seed} to {last}, a pair each two",
        "recipe": "tedi layers --measure",
        **(metadata or {}),
    }
    table = tabulate(log_p.float(), generator, told)
    files.save(out, table, exist="overwrite")
    if kept is None:
        partial.unlink(missing_ok=True)
    return table


def _judged(
    generator: "Generator", model: "AttributeModel", how: Measuring, number: int
) -> "Tensor":
    """Judgments of one pair of faces, (2L, V), on the CPU."""
    import torch.nn.functional as F

    from tedi import control
    from tedi.semantics.layers import judge_swaps

    def reduced(ws: "Tensor") -> "Tensor":
        return F.interpolate(generator.synthesis(ws), (256, 256), mode="area")

    first = how.seed + 2 * number
    pair = control.style_codes(generator, [first, first + 1], psi=how.psi)
    draw = reduced if how.full else generator.preview
    return judge_swaps(pair, draw, model, batch_size=how.batch_size).cpu()


def _parts(how: Measuring) -> "tuple[Generator, AttributeModel, dict[str, str]]":
    """Generator, judge, and the hashes of their files."""
    generator, weights = load_generator(how.device, how.generator)
    model, sha256 = load_attributes(how.judge, how.device)
    hashes = {"generator sha256": next(iter(weights.values())), "judge sha256": sha256}
    return generator, model, hashes
