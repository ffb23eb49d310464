"""`tedi mix`: some layers of one face, the others of another."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tedi.cli.combine import (
    Known,
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
from tedi.cli.options import inversion_option, models_of, steps_option
from tedi.cli.photos import PhotoSettings
from tedi.cli.recipes import check_recipe, write_recipe
from tedi.mixing import GROUPS
from tedi.registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.pipeline import Toolkit


@click.command()
@click.argument("content")
@click.argument("styles", metavar="STYLE...", nargs=-1, required=True)
@click.option(
    "--layers",
    default="fine",
    show_default=True,
    metavar="NAMES",
    help="What each STYLE gives: coarse, medium, fine, or several as in medium,fine; CONTENT gives "
    "the rest.",
)
@click.option("--grid", is_flag=True, help="One sheet: the STYLES above, what they give below.")
@click.option(
    "--out",
    help="A file, a folder, or a pattern with {prompt}, {index}.  "
    "[default: CONTENT-LAYERS-STYLE.png here]",
)
@code_option
@faces_options
@inversion_option
@steps_option
@result_options
def mix(
    content: str,
    styles: tuple[str, ...],
    layers: str,
    grid: bool,
    out: str | None,
    save_code: Path | None,
    psi: float | None,
    which: tuple[str | int, ...],
    align: bool,
    photo: bool,
    inversion: str,
    steps: int | None,
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
    """CONTENT's face with some layers of STYLE, one picture for each STYLE.

    STYLE gives the layers of --layers, CONTENT all others. Coarse layers carry
    pose, the shape of head and hair, and glasses; medium ones eyes, brows and the
    colour of hair; fine ones light and the colours of all. Faces are what
    `tedi edit` takes: photos, seeds, pictures that tedi made, or files with a code.
    Of photos the aligned face is drawn.

    \b
    tedi mix 3 7
    tedi mix 3 7 --layers medium,fine --out mixed.png
    tedi edit mixed.png "older"
    tedi mix photo.jpg 7 8 9 --grid --out styles.png

    Paths go to stdout; progress to stderr.
    """  # noqa: D301
    from tedi.images import check_sheet

    groups = groups_of(layers)
    sources = read_faces([content, *styles], psi=psi, photo=photo)
    photos = PhotoSettings(align=align, inversion=inversion, steps=steps)
    settings = each_of(photos, which, len(sources))
    single = len(styles) == 1 and not grid
    check_single("give one STYLE, and no --grid", single=single, code=save_code, recipe=recipe)
    middle = " ".join(groups)
    named = [f"{sources[0].name} {middle} {style.name}" for style in sources[1:]]
    names = [f"{sources[0].name} {middle} grid"] if grid else named
    paths = result_paths(out, [(name, name) for name in names], whose="a mix")
    check_files(*paths, code=save_code, overwrite=overwrite or dry_run)
    check_recipe(recipe, overwrite=overwrite or dry_run)
    if grid:
        check_sheet(paths[0], 2, 1 + len(styles), column_labels=_labels(len(styles)))
    if dry_run:
        return show_plan(paths, as_json=as_json)
    model = _load(**models_of(generator, encoder), device=device, dtype=dtype, compiled=False)
    faces = faces_of(model, sources, settings, anyway=anyway)
    output = Output("mix", [face.told for face in faces], preview, overwrite, as_json)
    if grid:
        return _write_sheet(model, output, faces, groups, paths[0])
    _write(model, output, faces, groups, paths, save_code, recipe)


def groups_of(names: str) -> tuple[str, ...]:
    """Groups of layers by name, in the generator's order.

    >>> groups_of("fine, medium")
    ('medium', 'fine')

    Raises:
        UsageError: an unknown name.
    """
    asked = [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in GROUPS:
            raise unknown("layers", name, GROUPS)
    return tuple(group for group in GROUPS if group in asked)


def _labels(styles: int) -> list[str]:
    """Above the columns of a sheet."""
    return ["content", *(f"style {number}" for number in range(1, styles + 1))]


def _mixed(model: "Toolkit", content: Known, style: Known, groups: Sequence[str]) -> "Tensor":
    """The code (1, L, C) of the content with the style's groups."""
    from tedi.control import mix

    kept = [model.generator.layers(group) for group in GROUPS if group not in groups]
    return mix(content.ws, style.ws, [slot for slots in kept for slot in slots])


def _write(
    model: "Toolkit",
    output: Output,
    faces: Sequence[Known],
    groups: Sequence[str],
    paths: Sequence[Path],
    save_code: Path | None,
    recipe: Path | None,
) -> None:
    """Draw and write each mixture by itself."""
    content, *styles = faces
    with _bar(len(styles)) as bar:
        for style, path in zip(styles, paths, strict=True):
            ws = _mixed(model, content, style, groups)
            pair = replace(output, faces=[content.told, style.told])
            record = pair.face(model, ws[0], path, code=save_code, layers=[*groups])
            write_recipe(recipe, record, path, exist=output.exist)
            bar.update()


def _write_sheet(
    model: "Toolkit",
    output: Output,
    faces: Sequence[Known],
    groups: Sequence[str],
    path: Path,
) -> None:
    """Draw the styles, and below each what it gives beside the content, into one picture."""
    from tedi.images import contact_sheet

    content, *styles = faces
    codes = [face.ws for face in styles]
    codes += [content.ws, *(_mixed(model, content, style, groups) for style in styles)]
    drawn = []
    with _bar(len(codes)) as bar:
        for ws in codes:
            drawn += model.pictures(ws, preview=output.preview)
            bar.update()
    above, below = drawn[: len(styles)], drawn[len(styles) :]
    labels = _labels(len(styles))
    sheet = contact_sheet([[None, *above], below], column_labels=labels)
    output.sheet(model, sheet, path, grid=labels, layers=[*groups])
