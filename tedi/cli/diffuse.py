"""`tedi diffuse`: the inner face of one picture, grown into another."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tedi.cli.combine import (
    Output,
    code_option,
    each_of,
    face_of,
    faces_options,
    read_faces,
    result_options,
    show_plan,
    told_of,
)
from tedi.cli.faces import Source, check_files, check_weights, result_paths
from tedi.cli.generate import _load
from tedi.cli.invert import _steps_bar
from tedi.cli.options import check_codes, models_of, steps_option
from tedi.cli.photos import (
    PhotoSettings,
    check_settings,
    crop_option,
    detail_option,
    open_photos,
    put_together,
    regions_of,
)
from tedi.cli.recipes import check_recipe, placed_told, write_recipe
from tedi.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.inversion import Inversion
    from tedi.pipeline import Toolkit
    from tedi.pipeline.photos import Photo

INNER = "inner"
HEAD = ("face", "ears", "hair", "hat", "neck")  # what is put back: backgrounds go their own way
SQUARE, CENTRE = 110, (125, 145)  # side, column and row, of 256 px: in-domain inversion's


@click.command()
@click.argument("target")
@click.argument("context")
@click.option(
    "--region",
    default=INNER,
    show_default=True,
    metavar="NAMES",
    help="Parts of TARGET that are taken, as in eyes,nose; inner is the square from brows to "
    "mouth.",
)
@steps_option
@detail_option
@crop_option
@click.option(
    "--out",
    help="A file, a folder, or a pattern with {prompt}.  [default: TARGET-in-CONTEXT.png here]",
)
@code_option
@faces_options
@result_options
def diffuse(
    target: str,
    context: str,
    region: str,
    steps: int | None,
    detail: float,
    crop: bool,
    out: str | None,
    save_code: Path | None,
    psi: float | None,
    which: tuple[str | int, ...],
    align: bool,
    photo: bool,
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
    """TARGET's inner face in CONTEXT's hair, pose and light.

    Semantic diffusion: the region is pasted, and a code sought that draws it as
    TARGET has it; the rest of the face follows. Faces are what `tedi edit` takes:
    photos, seeds, pictures that tedi made, or files with a code. In a photo as
    CONTEXT the face is put back where it was.

    \b
    tedi diffuse 3 7
    tedi diffuse 3 7 --region eyes,brows --out eyes.png
    tedi diffuse me.jpg film.jpg --steps 100 --out us.png
    tedi edit us.png "smiling"

    Paths go to stdout; progress to stderr.
    """  # noqa: D301
    sources = read_faces([target, context], psi=psi, photo=photo)
    regions = () if region == INNER else regions_of(region)
    wanted = PhotoSettings(align=align, detail=detail, crop=crop)
    settings = each_of(wanted, which, len(sources))
    check_settings(sources[1], settings[1])
    name = f"{sources[0].name} in {sources[1].name}"
    [path] = result_paths(out, [(name, name)], whose="a diffusion")
    if sources[1].photo or "photo" in sources[1].start:  # whose code is told, to put a face back
        check_codes(path, 2, "two faces")
    check_files(path, code=save_code, overwrite=overwrite or dry_run)
    check_recipe(recipe, overwrite=overwrite or dry_run)
    if dry_run:
        return show_plan([path], as_json=as_json)
    model = _load(**models_of(generator, encoder), device=device, dtype=dtype, compiled=False)
    if not anyway:
        for source in sources:
            check_weights(source, model)
    taken = look(model, sources[0], settings[0])
    around = look(model, sources[1], settings[1], code=True)
    options = _options(steps)
    inversion = _diffused(model, taken.photo, around.photo, regions, options)
    ws = inversion.ws
    put = _put(model, ws, around, sources[1].file, settings[1], preview=preview)
    told = put | {"region": [*regions] or [INNER], "options": asdict(options)}
    told["steps"] = inversion.extras["steps"]
    output = Output("diffuse", [taken.told, around.told], preview, overwrite, as_json)
    record = output.face(model, ws[0], path, code=save_code, **told)
    write_recipe(recipe, record, path, exist=output.exist)


def _options(steps: int | None) -> Any:
    """Settings of the optimisation; without its domain term, which diffusion leaves out."""
    from tedi.inversion.optimize import InversionOptions

    options = InversionOptions(domain=0.0)
    return options if steps is None else replace(options, steps=steps)


class Look(NamedTuple):
    """What a source shows.

    Attributes:
        photo: its face as a picture.
        placed: whether it lies in a photo, into which a changed one belongs.
        told: what records say of it.
        ws: its code (1, L, C); None where it was not asked for and is not needed.
    """

    photo: "Photo"
    placed: bool
    told: dict[str, Any]
    ws: "Tensor | None"


def look(model: "Toolkit", source: Source, settings: PhotoSettings, *, code: bool = False) -> Look:
    """The one face that a source shows, as a picture; with its code, if that is asked for."""
    from tedi.pipeline.photos import Photo

    photos = open_photos(model, source, settings)
    if photos and not code:
        [photo] = photos
        place = photo.alignment.to_dict() if photo.alignment else None
        start = {"photo": photo.name, "alignment": place} if source.photo else source.start
        return Look(photo, True, told_of(source, start), None)
    known = face_of(model, source, settings, photo=photos[0] if photos else None)
    if photos:
        return Look(photos[0], True, known.told, known.ws)
    picture = model.pictures(known.ws)[0]
    return Look(Photo(source.name, picture, picture, None), False, known.told, known.ws)


def _diffused(
    model: "Toolkit", target: "Photo", context: "Photo", regions: Sequence[str], options: Any
) -> "Inversion":
    """The code that shows the target's region in faces near the context."""
    import torch

    if regions:
        mask = torch.from_numpy(model.photos.mask(target, target.crop, regions))[None, None]
        if not mask.any():
            raise UsageError(f"--region: TARGET shows no {' or '.join(regions)}; name another")
    else:
        mask = inner_mask()
    with _steps_bar(options, shown=True) as on_step:
        return model.photos.diffuse(target, context, mask, options=options, on_step=on_step)


def inner_mask() -> "Tensor":
    """Mask (1, 1, 256, 256) of the square that in-domain inversion diffuses."""
    import torch

    mask = torch.zeros(1, 1, 256, 256)
    left, top = (middle - SQUARE // 2 for middle in CENTRE)
    mask[..., top : top + SQUARE, left : left + SQUARE] = 1
    return mask


def _put(
    model: "Toolkit",
    ws: "Tensor",
    context: Look,
    file: Path | None,
    settings: PhotoSettings,
    *,
    preview: bool,
) -> dict[str, Any]:
    """Picture, start and record of a face put into the photo of a file; none of one by itself."""
    from tedi.latents import pack

    if not context.placed:
        return {}
    assert file is not None
    assert context.ws is not None
    settings = replace(settings, regions=HEAD)
    before, after = (model.pictures(code, preview=preview) for code in (context.ws, ws))
    return {
        "picture": put_together(model, [context.photo], before, after, settings),
        "start": {**context.told["start"], "inversion": "diffuse", "ws": pack(ws[0])},
        "placed": placed_told(file, (), HEAD, detail=settings.detail, crop=settings.crop),
        "context": pack(context.ws[0]),
    }
