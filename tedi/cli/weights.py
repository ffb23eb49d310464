"""`tedi weights`: which weights there are, where they lie, under which terms."""

import json

import click

from tedi import zoo
from tedi.cli.options import Bars
from tedi.cli.weights_convert import convert
from tedi.cli.weights_inspect import inspect


@click.group()
def weights() -> None:
    """Weights by name: list, show, pull, path; files of anybody: inspect, convert.

    \b
    tedi weights list
    tedi weights show mobilestylegan-ffhq
    tedi weights pull minilm-l6
    tedi weights inspect e4e_ffhq_encode.pt
    """  # noqa: D301


weights.add_command(inspect)
weights.add_command(convert)


def _names() -> list[str]:
    return [*zoo.ZOO, *zoo.shipped()]


def _state(name: str) -> str:
    if name not in zoo.ZOO:
        return "shipped"
    return "here" if zoo.cached(name) else "not here yet"


@weights.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line for each.")
def list_(as_json: bool) -> None:
    """All weights: name, kind, size, and whether they are on this disk."""
    width = max(map(len, _names()))
    for name in _names():
        entry, state = zoo.find(name), _state(name)
        if as_json:
            told = {"name": name, "kind": entry.kind, "bytes": entry.size, "state": state}
            click.echo(json.dumps(told))
        else:
            size = f"{entry.size / 1e6:.1f} MB"
            click.echo(f"{name:{width}}  {entry.kind:14}  {size:>8}  {state}")


@weights.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(name: str, as_json: bool) -> None:
    """What NAME is: source, hash, licence, what it was trained on."""
    entry, file = zoo.find(name), zoo.cached(name)
    told = {
        "name": name,
        "kind": entry.kind,
        "source": entry.source,
        "sha256": entry.sha256 or zoo.sha256(zoo.shipped()[name]),
        "size": entry.size,
        "licence": entry.licence,
        "origin": entry.origin,
        "note": entry.note,
        "path": str(file) if file else None,
    }
    if name in zoo.shipped():
        told |= zoo.metadata(zoo.shipped()[name])
    if as_json:
        click.echo(json.dumps(told))
        return
    for key, value in told.items():
        if value not in ("", None):
            click.echo(click.wrap_text(f"{key:9} {value}", 100, subsequent_indent=" " * 10))


@weights.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--force", is_flag=True, help="Fetch again even if it is here.")
def pull(names: tuple[str, ...], force: bool) -> None:
    """Fetch NAMEs, or all weights, and print where they lie."""
    bars = Bars()
    try:
        for name in names or _names():
            click.echo(zoo.pull(name, progress=bars, force=force))
    finally:
        bars.close()


@weights.command()
@click.argument("name")
def path(name: str) -> None:
    """Where NAME lies on this disk."""
    click.echo(zoo.path(name))
