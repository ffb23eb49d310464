"""`tedi morph`: the faces between two faces."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tedi.cli.combine import (
    Output,
    check_single,
    code_option,
    each_of,
    faces_of,
    faces_options,
    read_faces,
    result_options,
    show_plan,
)
from tedi.cli.faces import check_files, result_paths
from tedi.cli.generate import _bar, _load
from tedi.cli.options import inversion_option, models_of
from tedi.cli.photos import PhotoSettings
from tedi.cli.recipes import check_recipe, write_recipe
from tedi.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.pipeline import Toolkit

STEPS = 7


@click.command()
@click.argument("first", metavar="A")
@click.argument("last", metavar="B")
@click.option(
    "--steps",
    type=click.IntRange(2, 100),
    metavar="N",
    help=f"Pictures from A to B, both included.  [default: {STEPS}]",
)
@click.option(
    "--at", type=click.FloatRange(0, 1), metavar="SHARE", help="One picture: 0 is A, 1 is B."
)
@click.option(
    "--out",
    help="A file or a folder; a pattern with {index} gives a file a picture, else they make one "
    "row.  [default: A-to-B.png here]",
)
@code_option
@faces_options
@inversion_option
@result_options
def morph(
    first: str,
    last: str,
    steps: int | None,
    at: float | None,
    out: str | None,
    save_code: Path | None,
    psi: float | None,
    which: tuple[str | int, ...],
    align: bool,
    photo: bool,
    inversion: str,
    preview: bool,
    overwrite: bool,
    anyway: bool,
    generator: Path | None,
    encoder: Path | None,
    device: str,
    dtype: str,
    recipe: Path | None,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Faces on the straight line from A to B.

    A and B are faces as `tedi edit` takes them: photos, seeds, pictures that tedi
    made, or files with a code. Of photos the aligned face is drawn.

    \b
    tedi morph 3 7
    tedi morph 3 7 --at 0.3 --out between.png
    tedi edit between.png "older"
    tedi morph photo.jpg between.png --steps 24 --out "frames/{index:03d}.png"

    Paths go to stdout; progress to stderr.
    """  # noqa: D301
    from tedi.images import check_sheet

    sources = read_faces([first, last], psi=psi, photo=photo)
    settings = each_of(PhotoSettings(align=align, inversion=inversion), which, len(sources))
    shares = shares_of(steps, at)
    check_single("choose it with --at", single=at is not None, code=save_code, recipe=recipe)
    alone = at is not None or "{index" in (out or "")
    name = f"{sources[0].name} to {sources[1].name}"
    names = [(name, name)] * (len(shares) if alone else 1)
    paths = result_paths(out, names, whose="a morph")
    check_files(*paths, code=save_code, overwrite=overwrite or dry_run)
    check_recipe(recipe, overwrite=overwrite or dry_run)
    if not alone:
        check_sheet(paths[0], 1, len(shares))
    if dry_run:
        return show_plan(paths, as_json=as_json)
    model = _load(**models_of(generator, encoder), device=device, dtype=dtype, compiled=False)
    start, end = faces_of(model, sources, settings, anyway=anyway)
    output = Output("morph", [start.told, end.told], preview, overwrite, as_json)
    codes = _codes(start.ws, end.ws, shares)
    if alone:
        return _write(model, output, codes, shares, paths, save_code, recipe)
    _write_row(model, output, codes, shares, paths[0])


def shares_of(steps: int | None, at: float | None) -> list[float]:
    """How far along the way pictures are, 0 to 1.

    Raises:
        UsageError: both are given.
    """
    if at is None:
        last = (steps or STEPS) - 1
        return [step / last for step in range(last + 1)]
    if steps is not None:
        raise UsageError("--at: gives one picture, --steps several; leave one of them out")
    return [at]


def _codes(first: "Tensor", last: "Tensor", shares: Sequence[float]) -> "Tensor":
    """A code (P, 1, L, C) for each share."""
    import torch

    from tedi.latents import interpolate

    if len(shares) > 1:
        return interpolate(first, last, len(shares))
    return torch.lerp(first, last, shares[0])[None]


def _write(
    model: "Toolkit",
    output: Output,
    codes: "Tensor",
    shares: Sequence[float],
    paths: Sequence[Path],
    save_code: Path | None,
    recipe: Path | None,
) -> None:
    """Draw and write each face by itself."""
    with _bar(len(shares)) as bar:
        for ws, share, path in zip(codes, shares, paths, strict=True):
            record = output.face(model, ws[0], path, code=save_code, share=share)
            write_recipe(recipe, record, path, exist=output.exist)
            bar.update()


def _write_row(
    model: "Toolkit", output: Output, codes: "Tensor", shares: Sequence[float], path: Path
) -> None:
    """Draw all faces into one picture."""
    from tedi.images import contact_sheet

    row = []
    with _bar(len(shares)) as bar:
        for ws in codes:
            row += model.pictures(ws, preview=output.preview)
            bar.update()
    labels = [f"{share:.2g}" for share in shares]
    sheet = contact_sheet([row], column_labels=labels)
    output.sheet(model, sheet, path, strip=labels, steps=len(shares))
