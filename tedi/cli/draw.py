"""`tedi draw`: a face in, its drawing out, upright or as a photo has it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from tedi.cli.combine import (
    Output,
    check_single,
    code_option,
    each_of,
    face_of,
    faces_options,
    read_faces,
    result_options,
    show_plan,
)
from tedi.cli.faces import Source, check_files, check_weights, result_paths
from tedi.cli.generate import _load
from tedi.cli.options import inversion_option, models_of
from tedi.cli.photos import PhotoSettings, open_photos
from tedi.cli.recipes import Combined, check_recipe, write_recipe
from tedi.cli.transform import (
    check_told,
    field_option,
    numbers_of,
    place,
    transform_option,
)
from tedi.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.faces import Alignment, Transform
    from tedi.pipeline import Toolkit


@click.command()
@click.argument("face")
@transform_option
@click.option(
    "--as-found",
    is_flag=True,
    help="Turn and move the drawing as the face stands in its photo: a square photo is taken for "
    "the crop, of others the face stays in the middle.",
)
@field_option
@click.option(
    "--out", help="A file or a folder; by suffix .png, .jpg or .webp.  [default: FACE-drawn.png]"
)
@code_option
@faces_options
@inversion_option
@result_options
def draw(
    face: str,
    transform: tuple[float, float, float] | None,
    as_found: bool,
    field: float,
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
    """The drawing of FACE: a photo, a seed, a picture that tedi made, or a code.

    A photo is aligned and inverted first. A StyleGAN3 can turn and move what it
    draws, so that an unaligned crop comes back as it was, and show more around it.

    \b
    tedi draw photo.safetensors
    tedi draw crop.jpg --encoder restyle_pSp_ffhq.pt --as-found
    tedi draw 7 --generator stylegan3-r.pkl --transform 15,0.1,-0.05
    tedi draw 7 --generator stylegan3-r.pkl --field 0.25

    The path goes to stdout; progress to stderr.
    """  # noqa: D301
    if as_found and transform:
        raise UsageError("--as-found: the transform is the photo's; leave --transform out")
    [source] = read_faces([face], psi=psi, photo=photo)
    [settings] = each_of(PhotoSettings(align=align, inversion=inversion), which, 1)
    check_single("there is one", single=True, code=save_code, recipe=recipe)
    name = f"{source.name} drawn"
    [path] = result_paths(out, [(name, name)], whose="a face")
    check_files(path, code=save_code, overwrite=overwrite or dry_run)
    check_recipe(recipe, overwrite=overwrite or dry_run)
    if as_found and not source.photo:
        transform = numbers_of(found(_aligned(source, _told(source))))
    if dry_run:
        return show_plan([path], as_json=as_json)
    model = _load(**models_of(generator, encoder), device=device, dtype=dtype, compiled=False)
    if not anyway:
        check_weights(source, model)
    opened = open_photos(model, source, settings)[0] if source.photo else None
    if as_found and opened:
        transform = numbers_of(found(_aligned(source, opened.alignment)))
    place(model, transform, field=field)
    known = face_of(model, source, settings, photo=opened)
    output = Output("draw", [known.told], preview, overwrite, as_json)
    made = model.record_of("", 0)
    told = {name: made[name] for name in ("transform", "field") if name in made}
    record = output.face(model, known.ws[0], path, code=save_code, **told)
    write_recipe(recipe, record, path, exist=output.exist)


def _told(source: Source) -> "Alignment | None":
    """Where the face of a picture or a code stood in the photo that it is of, if it is of one."""
    from tedi.checkpoints import codes
    from tedi.faces import Alignment

    record = source.start
    if source.file and not record and source.file.suffix.lower() == ".safetensors":
        record = codes.load_record(source.file)
    told = record.get("alignment")
    return Alignment.from_dict(told) if told else None


def _aligned(source: Source, alignment: "Alignment | None") -> "Alignment":
    """The alignment.

    Raises:
        UsageError: there is none.
    """
    if alignment is None:
        raise UsageError(f"--as-found: {source.file or source.name} is of no photo with a place")
    return alignment


def found(alignment: "Alignment") -> "Transform":
    """How a face stands in its photo, which is the crop if it is a square."""
    from tedi.faces import transform_of, unaligned, within

    width, height = alignment.size
    if width == height:
        return transform_of(alignment.quad, width)
    return within(alignment.quad, unaligned(alignment.quad))


@dataclass(frozen=True, kw_only=True)
class Draw(Combined):
    """The drawing of a face.

    Attributes:
        transform: degrees, right and down that it is turned and moved; none for not at all.
        field: widths that are shown more on every side.
    """

    transform: tuple[float, ...] = ()
    field: float = 0.0

    LIMITS: ClassVar = {"field": (0, 0.5)}

    def check(self) -> None:
        """Raises a UsageError if a value cannot be right."""
        super().check()
        check_told(self.transform)

    def told(self) -> dict[str, Any]:
        """What a recipe file says; a field that there is not is not told."""
        return {name: value for name, value in super().told().items() if name != "field" or value}

    def picture(self, model: "Toolkit", ws: "Tensor", photo: Path | None) -> "Image":
        """The drawing of the code (1, L, C)."""
        place(model, self.transform, field=self.field)
        return super().picture(model, ws, photo)
