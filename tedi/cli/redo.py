"""`tedi run`: pictures made again from a recipe, or from a picture that tedi made."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tedi import __version__
from tedi import recipe as recipes
from tedi.cli.generate import _exists, _load
from tedi.cli.options import models_of, models_option
from tedi.errors import TediError, UsageError
from tedi.outputs import Exist, output_paths
from tedi.recipe import Recipe


@click.command("run")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    help="A file, a folder, or a pattern with {prompt}, {seed}, {index}; by suffix .png, .jpg or "
    ".webp.  [default: RECIPE's name here, or PROMPT-seedN for several]",
)
@click.option(
    "--photo", type=click.Path(path_type=Path), help="The photo that an edited one was made of."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
@click.option(
    "--anyway",
    is_flag=True,
    help="Go on though RECIPE was made with other weights than those here.",
)
@models_option
@click.option("--device", help="auto, cpu, cuda or cuda:N.  [default: as RECIPE says]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line a picture, not its path.")
@click.option("--dry-run", is_flag=True, help="Print the recipe as YAML; make nothing.")
def redo(
    recipe: Path,
    out: str | None,
    photo: Path | None,
    overwrite: bool,
    anyway: bool,
    generator: Path | None,
    encoder: Path | None,
    device: str | None,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Make the pictures of RECIPE again, bit for bit on the same machine and build.

    RECIPE is a YAML or JSON file that --recipe of another command wrote, or one of
    your own, or a picture that tedi made. Nothing in it is ignored: an unknown key
    is refused.

    \b
    tedi generate "a smiling woman" -n 4 --recipe women.yaml
    tedi run women.yaml --out again/
    tedi run a-smiling-woman-seed0.png --out again.png
    tedi run a-smiling-woman-seed0.png --dry-run

    Paths go to stdout; progress to stderr.
    """  # noqa: D301
    told = recipes.read(recipe)
    if dry_run:
        return click.echo(recipes.text_of(told.told(), ".json" if as_json else ".yaml"), nl=False)
    _check_photo(told, photo, recipe)
    exist: Exist = "overwrite" if overwrite else "error"
    paths = _paths(told, out, recipe, exist)
    compiled = getattr(told, "compiled", False)
    model = _load(
        **models_of(generator, encoder),
        device=device or told.device,
        dtype=told.dtype,
        compiled=compiled,
    )
    if not anyway:
        told.check_weights(model.all_weights, str(recipe))
    if told.version not in ("", __version__):
        note = f"tedi: {recipe}: made by tedi {told.version}, here {__version__}; bits may differ"
        click.echo(note, err=True)

    def tell(path: Path, record: Mapping[str, Any], unheard: Sequence[str]) -> None:
        line = json.dumps({"path": str(path), **record, "unheard": list(unheard)})
        click.echo(line if as_json else path)

    told.redo(model, paths, tell, photo=photo, exist=exist)


def _check_photo(told: Recipe, photo: Path | None, recipe: Path) -> None:
    """Raises what is wrong about the photo that is needed, or about one that is not."""
    from tedi import zoo

    needed = told.photo
    if needed is None and photo:
        raise UsageError(f"--photo: {recipe} needs none; leave it out")
    if needed is None:
        return
    if photo is None:
        raise UsageError(f"{recipe}: is of a photo, {needed['file']}; pass it as --photo FILE")
    if not photo.is_file():
        raise TediError(f"{photo}: no such file")
    if (sha := zoo.sha256(photo)) != needed["sha256"]:
        raise TediError(
            f"{photo}: is not the photo of {recipe} ({needed['file']}, sha256 "
            f"{str(needed['sha256'])[:8]}, here {sha[:8]})"
        )


def _paths(told: Recipe, out: str | None, recipe: Path, exist: Exist) -> Iterator[Path]:
    """Where pictures go; the name of a single one is checked before anything is loaded."""
    prompts, seeds = told.names()
    single = len(prompts) == len(seeds) == 1
    text = out or ""
    folder = not text or text.endswith(("/", os.sep)) or os.path.isdir(text)
    if not single:
        return output_paths(out, prompts=prompts, seeds=seeds, suffix=told.suffix)
    if folder or not ("{" in text or "}" in text or Path(text).suffix):
        return iter([_free(Path(text, recipe.stem + told.suffix))])
    path = next(output_paths(text, prompts=prompts, seeds=seeds, suffix=told.suffix))
    if exist == "error" and os.path.lexists(path):
        raise _exists(path)
    return iter([path])


def _free(first: Path) -> Path:
    """The path, or the first of -2, -3, … that no file has."""
    path, number = first, 1
    while os.path.lexists(path):
        number += 1
        path = first.with_name(f"{first.stem}-{number}{first.suffix}")
    return path
