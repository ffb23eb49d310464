"""`tedi export`: the generator as a file that other programs draw with."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.networks import load_generator
from tedi.cli.options import generator_option
from tedi.errors import UsageError
from tedi.outputs import Exist

if TYPE_CHECKING:
    from tedi.checkpoints.exporters import Exported

TARGETS = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2", "torchscript": ".torchscript"}
"""The names of `tedi.checkpoints.exporters.EXPORTERS`, which needs torch, and their suffixes."""
PARTS = ("synthesis", "preview", "mapping")


@click.command()
@click.option(
    "--to",
    type=click.Choice(list(TARGETS)),
    default="onnx",
    show_default=True,
    help="For onnxruntime, also in a browser; for Intel's OpenVINO; for PyTorch without tedi.",
)
@click.option(
    "--part",
    type=click.Choice(PARTS),
    default="synthesis",
    show_default=True,
    help="Codes to 1024 px, codes to 256 px, or noise and psi to codes.",
)
@click.option("--half", is_flag=True, help="Weights in float16: half the size, less exact.")
@generator_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A file or a folder.  [default: GENERATOR-PART.SUFFIX here]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line, not the path.")
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
def export(
    to: str,
    part: str,
    half: bool,
    generator: Path | None,
    out: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """The generator as a file for other programs, compared with PyTorch.

    \b
    tedi export --part preview
    tedi export --part mapping --half --out web/
    tedi export --to openvino --out face.xml
    tedi export --to pt2 --generator ffhq.pkl

    Codes in, pictures out, any number at a time: `mapping` makes codes of noise, `synthesis` and
    `preview` draw them. The file holds the weights, their hashes and their licences, which go
    with it. pt2 is what PyTorch has in place of torchscript by now. The path goes to stdout,
    progress and the difference to stderr.
    """  # noqa: D301
    from tedi.checkpoints import exporters

    if half and to == "torchscript":
        raise UsageError("--half: TorchScript would widen the weights again; pass --to pt2 or onnx")
    stem = generator.stem if generator else "mobilestylegan"
    path = _path(out, f"{stem}-{part}{'-half' * half}{TARGETS[to]}")
    exist: Exist = "overwrite" if overwrite else "error"
    exporters.check(path, to=to, part=part, exist=exist)
    drawing, weights = load_generator("cpu", generator)
    facts = exporters.facts_of(drawing, part, weights, half=half)
    done = exporters.export(
        drawing,
        path,
        to=to,
        part=part,
        half=half,
        facts=facts,
        exist=exist,
        progress=lambda step: click.echo(f"{step} …", err=True),
    )
    _note(done)
    click.echo(json.dumps(_told(done, to)) if as_json else str(path))


def _path(out: Path | None, name: str) -> Path:
    """The file: as given, or of the usual name in the folder given."""
    if out is None or out.suffix:
        return out if out and not os.path.isdir(out) else (out or Path()) / name
    return out / name


def _note(done: "Exported") -> None:
    """What a person should know of the files."""
    beside = "".join(f", with {file.name}" for file in done.files[1:])
    click.echo(
        f"{done.bytes / 1e6:.1f} MB{beside}; {done.facts['input']} -> {done.facts['output']}",
        err=True,
    )
    if done.difference is None:
        click.echo(f"not checked: {done.unchecked}", err=True)
    else:
        told = f"differs from PyTorch by {done.difference:.1e} at most"
        click.echo(f"{told}, {done.bound:g} allowed, by {done.checked_by} on 4 faces", err=True)
    click.echo(f"licence: {done.facts['licence']}", err=True)


def _told(done: "Exported", to: str) -> dict[str, Any]:
    return {
        "path": str(done.files[0]),
        "files": [str(file) for file in done.files],
        "to": to,
        "bytes": done.bytes,
        "difference": done.difference,
        "bound": done.bound,
        "checked_by": done.checked_by if done.difference is not None else None,
        "unchecked": done.unchecked,
        **done.facts,
        "weights": json.loads(done.facts["weights"]),
    }
