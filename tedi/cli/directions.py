"""`tedi directions`: list, fit and show directions in W and S."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.options import Bars, Seeds, device_option, generator_option
from tedi.errors import TediError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.interfaces import Generator
    from tedi.latents import Direction

SHIPPED = "directions-ffhq"
MAX_STEPS, MAX_STRENGTH = 100, 100.0


@click.group()
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
        if not max(abs(start), abs(end)) <= MAX_STRENGTH:
            self.fail(f"expected strengths up to {MAX_STRENGTH:g}, got {value!r}", param, ctx)
        step = (end - start) / max(count - 1, 1)
        return [round(start + step * i, 6) for i in range(count)]


# --- list ----------------------------------------------------------------------------------------


@directions.command("list")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each.")
def list_(files: tuple[str, ...], as_json: bool) -> None:
    """Directions that are shipped, or those of FILEs: name, space, spread, held-out AUC."""
    found = [d for file in files for d in _load_file(Path(file)).values()]
    found = found or list(_shipped().values())
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


# --- fit -----------------------------------------------------------------------------------------


@directions.command()
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    default=Path("data/tedifaces/faces.jsonl"),
    show_default=True,
    help="Labels of faces in the layout of tedifaces, one a line.",
)
@click.option(
    "--attribute",
    "names",
    multiple=True,
    help="What to fit, such as smile or hair_color=red; may be repeated.  [default: all]",
)
@click.option("--given", multiple=True, help="A direction to leave alone; may be repeated.")
@click.option(
    "--space", type=click.Choice(["w", "s"]), default="w", show_default=True, help="W or S."
)
@click.option(
    "--channels",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Channels a direction of S moves.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A .safetensors file.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
def fit(
    labels: Path,
    names: tuple[str, ...],
    given: tuple[str, ...],
    space: str,
    channels: int,
    out: Path,
    overwrite: bool,
) -> None:
    """Fit directions to labelled faces; every eighth is held out for the figures."""
    from tedi.semantics.contrasts import CONTRASTS, contrast

    if out.suffix != ".safetensors":
        raise UsageError(f"--out: expected a .safetensors file, got {out}")
    if out.exists() and not overwrite:
        raise TediError(f"{out}: already exists; pass --overwrite to replace it")
    if space == "s" and given:
        raise UsageError("--given: directions of S are single channels; leave it out")
    chosen = list(dict.fromkeys(names or CONTRASTS))
    for name in chosen:
        contrast(name)
    faces = _read_faces(labels)
    found = _fit(faces, chosen, space=space, channels=channels)
    if given:
        found = _project(found, [_find(name, found) for name in given])
    _write(out, found, labels, overwrite=overwrite)


def _read_faces(path: Path) -> list[dict[str, Any]]:
    from tedi.semantics.contrasts import check_faces

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        faces = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise TediError(f"--labels: {path} cannot be read as lines of JSON ({error})") from error
    check_faces(faces, path)
    return [face for face in faces if not face.get("broken")]


def _fit(
    faces: list[dict[str, Any]], names: Sequence[str], *, space: str, channels: int
) -> "list[Direction]":
    import torch

    from tedi.semantics.contrasts import fit_contrast, sides
    from tedi.semantics.directions import channel_direction
    from tedi.training.dataset import COUNT, PSI, is_held_out, noise

    indices = [face["index"] for face in faces]
    if max(indices) >= COUNT:
        raise UsageError(f"--labels: indices of tedifaces end at {COUNT - 1}, got {max(indices)}")
    generator, _ = _load("cpu")
    with torch.inference_mode():
        w = generator.mapping(noise(indices))
        w = generator.w_avg + PSI * (w - generator.w_avg)
        if space == "w":
            held_out = torch.tensor([is_held_out(index) for index in indices])
            return [fit_contrast(w, faces, name, held_out=held_out) for name in names]
        styles = generator.styles(w[:, None].expand(-1, generator.slots, -1))
        made = []
        for name in names:
            wanted, used = sides(faces, name)
            kept = {layer: style[used] for layer, style in styles.items()}
            made.append(channel_direction(kept, wanted[used], name=name, count=channels))
        return made


def _project(found: "list[Direction]", given: "list[Direction]") -> "list[Direction]":
    """Each direction without the given ones; those that are given themselves are left out."""
    from tedi.semantics.directions import project_out

    names = {direction.name for direction in given}
    rest = [direction for direction in found if direction.name not in names]
    if not rest:
        raise UsageError("--given: nothing is left to fit; name an --attribute besides")
    return [project_out(direction, given) for direction in rest]


def _write(out: Path, found: "list[Direction]", labels: Path, *, overwrite: bool) -> None:
    from tedi import __version__
    from tedi.checkpoints import directions as files

    metadata = {"recipe": "tedi directions fit", "data": labels.name, "version": __version__}
    files.save(out, found, metadata, exist="overwrite" if overwrite else "error")
    for direction in found:
        told = ", ".join(f"{key} {value}" for key, value in direction.figures.items())
        click.echo(f"{direction.name}: {told}", err=True)
    click.echo(out)


# --- show ----------------------------------------------------------------------------------------


@directions.command()
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
    path = next(output_paths(out, prompts=[Path(name).name], seeds=seeds[:1]))
    if path.exists() and not overwrite:
        raise TediError(f"{path}: already exists; pass --overwrite to replace it")
    labels = [f"seed {seed}" for seed in seeds]
    check_sheet(path, len(seeds), len(strengths), labels=labels)
    direction = _find(name)
    others = [_find(other) for other in given]
    if direction.space == "s" and preview:
        raise UsageError("--preview: draws codes only, and this is a direction of S; leave it out")
    drawing, weights = _load(device, generator)
    direction = _prepare(direction, others, drawing, layers)
    scale = _scale(direction, in_std)
    moves = [scale * strength for strength in strengths]
    rows = [_strip(drawing, direction, seed, moves, psi, preview) for seed in seeds]
    columns = [f"{move:+.2g}" if move else "0" for move in strengths]
    sheet = contact_sheet(rows, labels=labels, column_labels=columns)
    record = _record(direction, seeds, moves, psi, preview) | {
        "weights": weights | _hashes([name, *given])
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
    direction: "Direction",
    seed: int,
    strengths: Sequence[float],
    psi: float,
    preview: bool,
) -> "list[Image]":
    import torch

    from tedi.control import style_codes
    from tedi.images import to_pil

    with torch.inference_mode():
        ws = style_codes(generator, [seed], psi=psi)
        drawn = [_draw(generator, direction, ws, strength, preview) for strength in strengths]
        return to_pil(torch.cat(drawn).float())


def _draw(
    generator: "Generator", direction: "Direction", ws: "Tensor", strength: float, preview: bool
) -> "Tensor":
    if direction.space == "s":
        styles = direction.on_styles(generator.styles(ws), strength)
        return generator.synthesis_from_styles(styles)
    draw = generator.preview if preview else generator.synthesis
    return draw(direction(ws, strength))


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
    from tedi.registry import unknown

    known = {direction.name: direction for direction in fitted}
    if name in known:
        return known[name]
    path, part = _file_of(name)
    if path is None:
        shipped = _shipped()
        if name not in shipped:
            raise unknown("direction", name, {**shipped, **known})
        return shipped[name]
    found = _load_file(path)
    if part and part not in found:
        raise unknown("direction", part, found)
    if not part and len(found) > 1:
        raise UsageError(f"{path}: holds {len(found)} directions; name one: {path}:{min(found)}")
    return found[part or min(found)]


def _file_of(name: str) -> tuple[Path | None, str]:
    """File and part of FILE or FILE:NAME; no file for a plain name."""
    head, colon, part = name.rpartition(":")
    if not Path(name).is_file() and colon and Path(head).is_file():
        return Path(head), part
    if Path(name).is_file() or Path(name).suffix or Path(name).name != name:
        return Path(name), ""
    return None, ""


def _load_file(path: Path) -> "dict[str, Direction]":
    from tedi.checkpoints import directions as files

    return files.load(path)


def _shipped() -> "dict[str, Direction]":
    from tedi import zoo

    return _load_file(zoo.path(SHIPPED))


def _hashes(names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files that directions came from, by name of the file."""
    from tedi import zoo

    files = [_file_of(name)[0] or zoo.path(SHIPPED) for name in names]
    return {file.stem: zoo.sha256(file) for file in files}


def _load(device: str, file: Path | None = None) -> "tuple[Generator, dict[str, str]]":
    """A generator and the hashes of its weights: tedi's, with bars for downloads, or a file's."""
    from tedi import pipeline, zoo
    from tedi.allocator import keep_freed_memory
    from tedi.checkpoints import native

    where = pipeline.choose_device(device)
    if where.type == "cpu":
        keep_freed_memory()
    if file:
        from tedi.pipeline.foreign import open_foreign

        foreign = open_foreign(file, None).to(where)
        return foreign.generator, dict(foreign.weights)
    bars = Bars()
    try:
        names = (pipeline.GENERATOR, pipeline.PREVIEW)
        files = {name: zoo.pull(name, progress=bars) for name in names}
    finally:
        bars.close()
    generator = native.load_generator(list(files.values())).to(where)
    return generator, {name: zoo.find(name).sha256 or zoo.sha256(f) for name, f in files.items()}
