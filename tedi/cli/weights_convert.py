"""`tedi weights convert`: anybody's weights in another layout, checked before they are kept."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.errors import TediError, UsageError
from tedi.outputs import Exist, write_atomically

if TYPE_CHECKING:
    from tedi.checkpoints.bundle import Bundle

OWN = "safetensors"
LAYOUTS = (OWN, "rosinality", "genforce", "nvidia")
SUFFIXES = {OWN: (".safetensors",)}
TORCH = (".pt", ".pth")
BOUND = 1e-4


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "layout", type=click.Choice(LAYOUTS), required=True, help="The layout.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="A .safetensors file, or .pt or .pth of the others.",
)
@click.option(
    "--part",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="Of FILE's networks, as inspect names them; may be repeated.  [default: all that fit]",
)
@click.option(
    "--codes",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Seeded codes whose pictures are compared.",
)
@click.option(
    "--bound",
    type=click.FloatRange(0),
    default=BOUND,
    show_default=True,
    help="Largest difference that is let through; pictures span -1 to 1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line, not the path.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
def convert(
    file: Path,
    layout: str,
    out: Path,
    roles: tuple[str, ...],
    codes: int,
    bound: float,
    as_json: bool,
    overwrite: bool,
) -> None:
    """FILE's networks in another layout, compared with the originals.

    safetensors is tedi's own and holds any network. rosinality is {"g_ema",
    "latent_avg", "d"}, which pSp and e4e load too; genforce {"generator_smooth",
    "discriminator"}. nvidia is {"G_ema", "D"} of state dicts for
    load_state_dict(): a .pkl would have to carry NVIDIA's source code.

    What is written is read again, built, and draws the same seeded codes. Where
    the largest difference is above the bound, nothing is kept.

    \b
    tedi weights convert network.pkl --to safetensors --out network.safetensors
    tedi weights convert network.pkl --to rosinality --out network.pt
    tedi weights convert 550000.pt --to nvidia --part G_ema --out official.pt

    The path goes to stdout, differences to stderr.
    """  # noqa: D301
    from tedi.checkpoints import bundle

    _check_out(out, layout, overwrite)
    contents = bundle.read(file)
    parts = _chosen(contents.parts, roles, layout, file)
    for role in contents.parts:
        if role not in parts:
            click.echo(f"left out: {role}", err=True)
    about = {"file": file.name, "format": contents.format}
    checks: dict[str, Any] = {}

    def write(path: Path) -> None:
        _write(path, parts, layout, about)
        checks.update(_compared(path, parts, codes))
        _check_bound(checks, bound, out)

    exist: Exist = "overwrite" if overwrite else "error"
    write_atomically(out, write, exist=exist)
    for role, check in checks.items():
        _tell(role, check, layout, bound)
    click.echo(
        json.dumps({"path": str(out), "to": layout, "bound": bound, "parts": checks})
        if as_json
        else out
    )


def _check_out(out: Path, layout: str, overwrite: bool) -> None:
    suffixes = SUFFIXES.get(layout, TORCH)
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"--out: {layout} is kept as {' or '.join(suffixes)}, got {out}")
    if os.path.lexists(out) and not overwrite:
        raise TediError(f"{out}: already exists; pass --overwrite to replace it")


def _chosen(
    parts: "Mapping[str, Bundle]", roles: tuple[str, ...], layout: str, file: Path
) -> "dict[str, Bundle]":
    """Complete bundles that are converted, by role.

    Raises:
        UsageError: a role that the file has not.
        TediError: the layout has no place for a part that was asked for, or for any.
    """
    from tedi.checkpoints.bundle import complete
    from tedi.checkpoints.formats import LAYOUTS as FOREIGN
    from tedi.registry import unknown

    for role in roles:
        if role not in parts:
            raise unknown(f"--part of {file}", role, parts)
    wanted = {role: part for role, part in parts.items() if not roles or role in roles}
    if layout != OWN:
        fits = FOREIGN[layout]().fitting(wanted)
        if misfits := [role for role in wanted if role not in fits and (roles or not fits)]:
            part = wanted[misfits[0]]
            what = f"{misfits[0]} ({part.kind}, {part.architecture})"
            raise TediError(f"{file}: {layout} has no place for {what}; pass --to {OWN}")
        wanted = fits
    if not wanted:
        raise TediError(f"{file}: holds no network to convert")
    return {role: complete(part) for role, part in wanted.items()}


def _write(path: Path, parts: "Mapping[str, Bundle]", layout: str, about: dict[str, str]) -> None:
    import torch

    from tedi.checkpoints import bundle
    from tedi.checkpoints.formats import LAYOUTS as FOREIGN

    if layout == OWN:
        bundle.save(path, parts, metadata=about)
    else:
        torch.save(FOREIGN[layout]().lay_out(parts), path)


def _compared(path: Path, parts: "Mapping[str, Bundle]", codes: int) -> dict[str, Any]:
    """Differences by role, of what was written and read again.

    Raises:
        TediError: a network is not there again.
    """
    from dataclasses import replace

    from tedi.checkpoints.bundle import read
    from tedi.checkpoints.formats.equivalence import difference

    again, checks = read(path).parts, {}
    for role, part in parts.items():
        found = again.get(role) or next((p for p in again.values() if p.kind == part.kind), None)
        if found is None:
            raise TediError(f"{role}: is not there when the file is read again")
        unsaid = {k: v for k, v in part.config.items() if found.config.get(k) != v}
        gap, what = difference(part, replace(found, config=part.config), count=codes)
        checks[role] = {"difference": gap, "compared": what, "unsaid": unsaid}
    return checks


def _check_bound(checks: Mapping[str, Any], bound: float, out: Path) -> None:
    for role, check in checks.items():
        if check["difference"] > bound:
            raise TediError(
                f"{out}: not written: {role} differs by up to {check['difference']:.2g} over "
                f"{check['compared']}; the bound is {bound:g}, see --bound"
            )


def _tell(role: str, check: Mapping[str, Any], layout: str, bound: float) -> None:
    gap = f"largest difference {check['difference']:.2g} over {check['compared']}"
    click.echo(f"{role}: {gap} (bound {bound:g})", err=True)
    for name, value in check["unsaid"].items():
        said = f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        click.echo(f"{role}: {layout} does not keep {said}; give it where you load", err=True)
