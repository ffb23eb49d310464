"""`tedi weights inspect`: what is in a weight file, whoever wrote it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.errors import TediError

if TYPE_CHECKING:
    from tedi.checkpoints.raw import Raw

SHOWN = 12  # entries of a file of no known format
UNITS = {
    "resolution": "{} px",
    "slots": "{} slots",
    "mapping_depth": "mapping of {} layers",
    "channels_in": "{} channels in",
    "n_iters": "{} steps",
    "parameters": "{:,} parameters",
}


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each.")
def inspect(files: tuple[Path, ...], as_json: bool) -> None:
    """What FILEs hold: format, networks, sizes, terms, and what would have run.

    Any weight file: .pkl, .pt, .pth, .npy, .npz, .safetensors. It is known by
    what is in it, whatever its name. Nothing in it is run, and only names and
    shapes are read, so that it takes a moment.

    \b
    tedi weights inspect stylegan3-r-ffhq-1024x1024.pkl
    tedi weights inspect e4e_ffhq_encode.pt --json

    Exit status 1: a file cannot be read, or is of no known format.
    """  # noqa: D301
    errors = []
    for file in files:
        told = _told(file)
        click.echo(json.dumps(told) if as_json else _lines(told))
        errors += [told["error"]] if "error" in told else []
    if errors:
        raise TediError("; ".join(errors))


def _told(file: Path) -> dict[str, Any]:
    """All about a file; what went wrong is its "error"."""
    from tedi.checkpoints import raw as reader

    told: dict[str, Any] = {"file": str(file)}
    try:
        raw = reader.read(file, values=False)
    except TediError as error:
        return told | {"error": str(error)}
    told |= {"bytes": file.stat().st_size, "container": raw.container}
    try:
        return told | _known(raw)
    except TediError as error:
        return told | {"error": str(error)} | _would_run(raw) | _holds(raw)


def _known(raw: "Raw") -> dict[str, Any]:
    from tedi.checkpoints.formats import about, recognise

    found = recognise(raw)
    if found is None:
        error = f"{raw.path}: of no known format"
        return {"format": None, "error": error} | _would_run(raw) | _holds(raw)
    contents = found.convert(raw)
    return {
        "format": contents.format,
        "parts": {role: about.describe(part) for role, part in contents.parts.items()},
        "others": list(contents.others),
        "lacks": list(contents.lacks),
        "licence": about.licence(contents, raw),
    } | _would_run(raw)


def _would_run(raw: "Raw") -> dict[str, Any]:
    return {"source": raw.source, "foreign": list(raw.foreign)}


def _holds(raw: "Raw") -> dict[str, Any]:
    """Top-level entries with their shapes."""
    from tedi.checkpoints.formats.content import told

    if not isinstance(raw.value, Mapping):
        return {"holds": [told(raw.value)]}
    entries = [f"{name}: {told(value)}" for name, value in list(raw.value.items())[:SHOWN]]
    rest = len(raw.value) - len(entries)
    return {"holds": [*entries, f"and {rest} more"] if rest else entries}


# --- lines for people ----------------------------------------------------------------------------


def _lines(told: Mapping[str, Any]) -> str:
    rows: list[tuple[str, str]] = []
    if "container" in told:
        rows.append(("container", f"{told['container']}, {told['bytes'] / 1e6:.1f} MB"))
    if told.get("format"):
        rows.append(("format", told["format"]))
    rows += [(role, _network(part)) for role, part in told.get("parts", {}).items()]
    rows += [("channels", _channels(p)) for p in told.get("parts", {}).values() if _channels(p)][:1]
    rows += [("also", other) for other in told.get("others", [])]
    rows += [("lacks", name) for name in told.get("lacks", [])]
    rows += [("holds", entry) for entry in told.get("holds", [])]
    if "source" in told:
        rows.append(("would run", _danger(told)))
    if "licence" in told:
        rows.append(("licence", told["licence"]))
    width = max([len(name) for name, _ in rows], default=0) + 2
    indent = " " * (width + 2)
    lines = [
        click.wrap_text(f"  {name:{width}}{words}", 100, subsequent_indent=indent)
        for name, words in rows
    ]
    return "\n".join([told["file"], *lines])


def _network(part: Mapping[str, Any]) -> str:
    """A network in a line."""
    words = [f"{part['kind']}: {part['family']}"]
    if "variant" in part:
        words.append(part["variant"])
    words += [text.format(part[name]) for name, text in UNITS.items() if name in part]
    if str(part.get("w_avg", "in the file")) != "in the file":
        words.append(f"mean of W {part['w_avg']}")
    return ", ".join(words)


def _channels(part: Mapping[str, Any]) -> str:
    return ", ".join(f"{size} {count}" for size, count in part.get("channels", {}).items())


def _danger(told: Mapping[str, Any]) -> str:
    """What the file's own loader would have done; here none of it is done."""
    if told["source"]:
        return "the source code in it, by NVIDIA's loader; it was not run here"
    if told["foreign"]:
        names = ", ".join(told["foreign"][:4])
        return f"code of {names} on the machine that loads it; it was not run here"
    return "nothing: plain data"
