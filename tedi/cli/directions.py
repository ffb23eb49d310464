"""`tedi directions`: list, fit and show directions in W and S."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.networks import (
    UPRIGHT,
    check_unaligned,
    load_generator,
    standing,
    unaligned_option,
)
from tedi.cli.options import Seeds, TableGroup, device_option, generator_option
from tedi.editing import FARTHEST
from tedi.errors import TediError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.interfaces import Generator
    from tedi.latents import Direction

MAX_STEPS = 100


COMMANDS = {
    "list": ("tedi.cli.directions:list_", "Those that are shipped, or in files."),
    "fit": ("tedi.cli.directions_fit:fit", "Fit directions to labelled faces."),
    "show": ("tedi.cli.directions:show", "A strip of pictures along a direction."),
}
"""Name -> the command, and its line in the list."""


@click.group(cls=TableGroup, table=COMMANDS, kind="command of directions")
def directions() -> None:
    """Directions that change one thing about a face: list, show, fit.

    \b
    tedi directions list
    tedi directions show smile --strength -4:4:5
    tedi directions show old --given glasses --given gray-hair
    tedi directions fit --attribute hair_color=red --out red.safetensors
    """  # noqa: D301


class Range(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`from:to:count`, evenly spaced, or one number.

    >>> Range().convert("-3:3:3", None, None)
    [-3.0, 0.0, 3.0]
    """

    name = "from:to:count"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[float]:
        """The numbers, both ends included."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        first, *rest = value.split(":")
        try:
            start = float(first)
            if not rest:
                rest = [first, "1"]
            end, count = float(rest[0]), int(rest[1])
        except (ValueError, IndexError):
            self.fail(f"expected from:to:count such as -3:3:5, got {value[:40]!r}", param, ctx)
        if len(rest) > 2 or not 1 <= count <= MAX_STEPS:
            self.fail(f"expected from:to:count with 1 to {MAX_STEPS}, got {value!r}", param, ctx)
        if not max(abs(start), abs(end)) <= FARTHEST:
            self.fail(f"expected strengths up to {FARTHEST:g}, got {value!r}", param, ctx)
        step = (end - start) / max(count - 1, 1)
        return [round(start + step * i, 6) for i in range(count)]


# --- list ----------------------------------------------------------------------------------------


@click.command("list")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each.")
def list_(files: tuple[str, ...], as_json: bool) -> None:
    """Directions that are shipped, or those of FILEs: name, space, spread, held-out AUC."""
    from tedi.checkpoints.directions import load
    from tedi.editing.direction import shipped

    found = [d for file in files for d in load(Path(file)).values()]
    found = found or list(shipped().values())
    width = max(len(direction.name) for direction in found)
    for direction in found:
        if as_json:
            click.echo(json.dumps(_told(direction)))
            continue
        std = "" if direction.std is None else f"std {direction.std:.2f}"
        area = direction.figures.get("auc")
        note = direction.origin if area is None else f"AUC {area:.3f}"
        click.echo(f"{direction.name:{width}}  {direction.space:2}  {std:8}  {note}")


def _told(direction: "Direction") -> dict[str, Any]:
    return {
        "name": direction.name,
        "space": direction.space,
        "slots": direction.slots,
        "std": direction.std,
        "origin": direction.origin,
        **direction.figures,
    }


# --- show ----------------------------------------------------------------------------------------


@click.command()
@click.argument("name", metavar="NAME|FILE[:NAME]")
@click.option("--seed", "seeds", type=Seeds(), default="0", show_default=True, help="7 or 0-3.")
@click.option(
    "--strength",
    "strengths",
    type=Range(),
    default="-4:4:5",
    show_default=True,
    help="Displacements in W along the unit vector, from:to:count.",
)
@click.option("--std", "in_std", is_flag=True, help="Count strength in standard deviations.")
@click.option("--given", multiple=True, help="A direction to leave alone; may be repeated.")
@click.option(
    "--layers",
    type=click.Choice(["all", "coarse", "medium", "fine"]),
    default="all",
    show_default=True,
    help="Slots that move.",
)
@click.option("--psi", type=click.FloatRange(0, 2), default=0.7, show_default=True)
@click.option("--preview", is_flag=True, help="256 px, several times as fast.")
@generator_option
@unaligned_option
@device_option
@click.option("--out", help="A picture file or a folder.  [default: NAME-seedN.png here]")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
@click.option("--json", "as_json", is_flag=True, help="Print the record, not the path.")
def show(
    name: str,
    seeds: Sequence[int],
    strengths: list[float],
    in_std: bool,
    given: tuple[str, ...],
    layers: str,
    psi: float,
    preview: bool,
    generator: Path | None,
    unaligned: bool,
    device: str,
    out: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """A strip of pictures along a direction: a row for each seed, a column for each strength."""
    from tedi.images import check_sheet, contact_sheet, save
    from tedi.outputs import output_paths

    if len(seeds) * len(strengths) > 10 * MAX_STEPS:
        raise UsageError(f"--seed: at most {10 * MAX_STEPS} pictures fit a strip; name fewer seeds")
    check_unaligned(generator, unaligned=unaligned)
    path = next(output_paths(out, prompts=[Path(name).name], seeds=seeds[:1]))
    if path.exists() and not overwrite:
        raise TediError(f"{path}: already exists; pass --overwrite to replace it")
    labels = [f"seed {seed}" for seed in seeds]
    check_sheet(path, len(seeds), len(strengths), labels=labels)
    direction = _find(name)
    others = [_find(other) for other in given]
    if direction.space == "s" and preview:
        raise UsageError("--preview: draws codes only, and this is a direction of S; leave it out")
    drawing, weights = load_generator(device, generator)
    if generator is not None:
        check_w([name, *given], drawing)
    direction = _prepare(direction, others, drawing, layers)
    scale = _scale(direction, in_std)
    moves = [scale * strength for strength in strengths]
    draw = _drawer(drawing, direction, preview=preview, unaligned=unaligned)
    rows = [_strip(drawing, draw, seed, moves, psi) for seed in seeds]
    columns = [f"{move:+.2g}" if move else "0" for move in strengths]
    sheet = contact_sheet(rows, labels=labels, column_labels=columns)
    record = _record(direction, seeds, moves, psi, preview) | {
        **({"drawn": UPRIGHT} if unaligned else {}),
        "weights": weights | _hashes([name, *given]),
    }
    save(sheet, path, record, exist="overwrite" if overwrite else "error")
    click.echo(json.dumps({"path": str(path), **record}) if as_json else path)


def _prepare(
    direction: "Direction", given: "list[Direction]", generator: "Generator", layers: str
) -> "Direction":
    """On this generator's slots, without the given ones, moving the layers asked for."""
    from tedi.semantics.directions import for_generator, project_out

    direction = for_generator(direction, generator)
    direction = project_out(direction, [for_generator(other, generator) for other in given])
    if layers == "all":
        return direction
    if direction.space == "s":
        raise UsageError("--layers: a direction of S names its own channels; leave it out")
    return direction.within(generator.layers(layers))


def _scale(direction: "Direction", in_std: bool) -> float:
    if not in_std:
        return 1.0
    if direction.std is None:
        raise UsageError(f"--std: nobody measured the spread of {direction.name}; leave it out")
    return direction.std


def _strip(
    generator: "Generator",
    draw: "Callable[[Tensor, float], Tensor]",
    seed: int,
    strengths: Sequence[float],
    psi: float,
) -> "list[Image]":
    import torch

    from tedi.control import style_codes
    from tedi.images import to_pil

    with torch.inference_mode():
        ws = style_codes(generator, [seed], psi=psi)
        drawn = [draw(ws, strength) for strength in strengths]
        return to_pil(torch.cat(drawn).float())


def _drawer(
    generator: "Generator", direction: "Direction", *, preview: bool, unaligned: bool
) -> "Callable[[Tensor, float], Tensor]":
    """Codes (N, L, C) and a strength to pictures, moved along the direction."""
    still = standing(generator) if unaligned else None
    drawing = still or generator
    draw = drawing.preview if preview else drawing.synthesis

    def upright(ws: "Tensor") -> "Tensor":
        return still.pseudo_aligned(ws) if still else ws

    def moved(ws: "Tensor", strength: float) -> "Tensor":
        if direction.space == "s":
            styles = direction.on_styles(drawing.styles(upright(ws)), strength)
            return drawing.synthesis_from_styles(styles)
        return draw(upright(direction(ws, strength)))

    return moved


def _record(
    direction: "Direction",
    seeds: Sequence[int],
    strengths: Sequence[float],
    psi: float,
    preview: bool,
) -> dict[str, Any]:
    from tedi import __version__

    return {
        "command": "directions show",
        "prompt": f"{direction.name}, strength {strengths[0]:g} to {strengths[-1]:g}",
        "direction": direction.name,
        "space": direction.space,
        "slots": direction.slots,
        "strengths": list(strengths),
        "seed": None,
        "seeds": list(seeds),
        "psi": psi,
        "preview": preview,
        "dtype": "float32",
        "version": __version__,
    }


# --- finding and loading -------------------------------------------------------------------------


def _find(name: str, fitted: "Sequence[Direction]" = ()) -> "Direction":
    """The direction of a name just fitted, a shipped name, FILE, or FILE:NAME.

    Raises:
        UsageError: no such name.
        TediError: the file cannot be read, or holds several.
    """
    from tedi.editing.direction import find

    known = {direction.name: direction for direction in fitted}
    return known[name] if name in known else find(name)


def check_w(names: Sequence[str], generator: "Generator") -> None:
    """Raises a UsageError for shipped directions, if the generator's W is another than theirs."""
    from tedi.editing.direction import file_of
    from tedi.pipeline.foreign import has_known_w, unknown_w

    shipped = [name for name in names if file_of(name)[0] is None]
    if shipped and not has_known_w(generator):
        way_out = "; fit its own by `tedi directions fit --generator FILE`"
        raise unknown_w(shipped[0], generator, way_out)


def _hashes(names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files that directions came from, by name of the file."""
    from tedi import zoo
    from tedi.editing.direction import SHIPPED, file_of

    files = [file_of(name)[0] or zoo.path(SHIPPED) for name in names]
    return {file.stem: zoo.sha256(file) for file in files}
