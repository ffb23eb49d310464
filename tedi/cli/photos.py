"""What the commands that take photos share: the faces in them, their codes, and the way back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.budget import teller
from tedi.cli.changed import read_changed, told_of_changed
from tedi.cli.faces import Source, begin
from tedi.cli.schedules import options_of
from tedi.errors import TediError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.interfaces import Generator
    from tedi.pipeline import Toolkit
    from tedi.pipeline.photos import Photo


detail_option = click.option(
    "--detail",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Share of a photo's own detail that is kept where the edit changes nothing.",
)
crop_option = click.option(
    "--crop", is_flag=True, help="Write the aligned face of a photo, not all of it."
)


@dataclass(frozen=True)
class PhotoSettings:
    """How photos are read and put together again.

    Attributes:
        which: faces, as `tedi.faces.choose` takes it.
        align: find and align them; else the photo is one aligned face, or see `as_found`.
        inversion: a name of `tedi.inversion.INVERTERS`.
        steps: of the optimisation; None for the method's own.
        preset: of its schedule, as `tedi.cli.schedules.options_of` has it; and …
        changes: … single settings.
        regions: parts that may change; none for all.
        detail: share of the photo's own detail that is kept, 0 to 1.
        crop: give the aligned face, not the whole photo.
        onto: the photo that a code of `tedi invert` is of; None leaves the face by itself.
        quality: what chooses the inversion, as `tedi.inversion.plan` has it; None and …
        budget: … no seconds that it may take: `inversion` says which.
        own: what is chosen may change the generator.
    """

    which: Any = "largest"
    align: bool = True
    inversion: str = "encoder"
    steps: int | None = None
    regions: tuple[str, ...] = ()
    detail: float = 1.0
    crop: bool = False
    onto: Path | None = None
    quality: str | None = None
    budget: float | None = None
    own: bool = True
    preset: str | None = None
    changes: tuple[str, ...] = ()

    @property
    def planned(self) -> bool:
        """Whether the inversion is chosen by what it comes to and takes."""
        return self.quality is not None or self.budget is not None

    @property
    def as_found(self) -> bool:
        """Whether the face is taken as it lies in the photo; see `tedi.pipeline.photos.Photos`."""
        return takes_as_found(self.inversion, align=self.align, planned=self.planned)


def takes_as_found(inversion: str, *, align: bool, planned: bool) -> bool:
    """Whether photos that are not to be aligned need not show an aligned face either."""
    return not align and (planned or inversion == "fspace")


def check_which(which: Any, inversion: str, *, option: str, align: bool, planned: bool) -> None:
    """Raises a UsageError for a choice of faces where none is looked for.

    Args:
        which: as `tedi.faces.choose` takes it.
        inversion: a name of `tedi.inversion.INVERTERS`.
        option: that names it.
        align: faces are found and aligned.
        planned: the inversion is chosen by a plan.
    """
    if which == "largest" or align or takes_as_found(inversion, align=align, planned=planned):
        return
    raise UsageError(
        f"--face: with --no-align {inversion} takes a photo for one aligned face and looks for "
        f"none; leave out one of them, or pass {option} fspace, which takes a face as it lies"
    )


def check_settings(source: Source, settings: PhotoSettings) -> None:
    """Raises a UsageError that names what is set for photos, where the face lies in none."""
    name = source.file or source.name
    plain = PhotoSettings()
    of_photos = {
        "--inversion": settings.inversion != plain.inversion,
        "--steps": settings.steps is not None,
        "--quality": settings.quality is not None,
        "--budget": settings.budget is not None,
        "--preset": settings.preset is not None,
        "--set": bool(settings.changes),
    }
    for option in (option for option, set_ in of_photos.items() if set_ and not source.photo):
        raise UsageError(f"{option}: is for photos, and the code of {name} is known; leave it out")
    if source.photo or settings.onto or "photo" in source.start:
        return
    given = {
        "--region": settings.regions != plain.regions,
        "--detail": settings.detail != plain.detail,
        "--crop": settings.crop != plain.crop,
    }
    for option in (option for option, set_ in given.items() if set_):
        raise UsageError(f"{option}: is for a face in a photo, and {name} is none; leave it out")


def regions_of(names: str | None) -> tuple[str, ...]:
    """Names of regions, each one that there is.

    Raises:
        UsageError: one that there is not.
    """
    from tedi.modalities.labels import numbers

    regions = tuple(name.strip() for name in names.split(",")) if names is not None else ()
    for region in regions:
        numbers(region)
    return regions


def open_photos(model: "Toolkit", source: Source, settings: PhotoSettings) -> "list[Photo]":
    """The faces of a source that lie in a photo; none of a source that is a face by itself.

    Raises:
        UsageError: a photo to put the face into, where there is none to put.
        TediError: no such photo, no face in it, or it is not the one that a code is of.
    """
    if settings.onto:
        return [_onto(source, settings.onto)]
    if source.photo:
        assert source.file is not None
        found = settings.as_found
        aligned = not settings.align and not found
        return model.photos.open(source.file, face=settings.which, aligned=aligned, as_found=found)
    if "photo" not in source.start:
        return []
    assert source.file is not None
    return [_placed(source.file, source.start["alignment"])]


def _onto(source: Source, photo: Path) -> "Photo":
    """The face in the photo that a code was made of."""
    from tedi import zoo
    from tedi.checkpoints import codes

    record = codes.load_record(source.file) if source.file and not source.start else {}
    if record.get("command") != "invert" or "alignment" not in record:
        raise UsageError("--onto: expected FACE to be a code that tedi invert wrote")
    if not photo.is_file():
        raise TediError(f"{photo}: no such file")
    if zoo.sha256(photo) != record.get("sha256"):
        raise TediError(f"{photo}: is not the photo that {source.file} was made of")
    return _placed(photo, record["alignment"])


def _placed(file: Path, place: Mapping[str, Any] | None) -> "Photo":
    """The face at a known place of a picture."""
    from PIL import Image

    from tedi import images
    from tedi.faces import Alignment, align
    from tedi.pipeline.photos import SIZE, Photo

    picture = images.load(file)
    alignment = Alignment.from_dict(place) if place else None
    if alignment is None or alignment.size != picture.size:  # it is the aligned face alone
        crop = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        return Photo(file.name, picture, crop, None)
    crop = align(picture, alignment.quad, size=SIZE)
    return Photo(file.name, picture, crop, alignment)


def begin_photo(
    model: "Toolkit", photo: "Photo", settings: PhotoSettings, on_step: Any = None
) -> "tuple[Tensor, dict[str, Any], Generator]":
    """Code (1, L, C) of a face in a photo, the start for records, and what draws it.

    The start of one that was planned also holds the "plan".
    """
    from tedi.latents import pack

    dtype = str(model.dtype).removeprefix("torch.")
    if settings.planned:
        inversion = model.photos.plan(
            photo,
            quality=settings.quality or "best",
            budget=settings.budget,
            own=settings.own,
            dtype=dtype,
            tell=teller(f"face {photo.number}: " if settings.which == "all" else ""),
            on_step=on_step,
        )
    else:
        options = inversion_options(settings, dtype)
        inversion = model.photos.invert(
            photo, method=settings.inversion, options=options, on_step=on_step
        )
    place = photo.alignment.to_dict() if photo.alignment else None
    method = inversion.extras.get("method", settings.inversion)
    told = {"photo": photo.name, "sha256": photo.sha256, "inversion": method}
    lies = {"align": False} if photo.as_found else {}
    start = {**told, "alignment": place, **lies, "ws": pack(inversion.ws[0])}
    plan = {"plan": inversion.extras["plan"]} if settings.planned else {}
    return inversion.ws, start | plan, inversion.generator


def start_of(
    model: "Toolkit", source: Source, photo: "Photo | None", settings: PhotoSettings
) -> "tuple[Tensor, dict[str, Any], Generator]":
    """Code (1, L, C) of a source before its steps, by inversion if it is a photo; its start; what
    draws it.
    """  # noqa: D205
    if photo and source.photo:
        return begin_photo(model, photo, settings)
    ws, start = begin(model, source)
    if told := told_of_changed(source):
        start = {**start, "generator": dict(told)}
    return ws, start, read_changed(model, source) or model.generator


def inversion_options(settings: PhotoSettings, dtype: str = "float32") -> Any:
    """Options of the inversion that the settings ask for; None where it has none.

    Raises:
        UsageError: steps, settings or a number format that it does not take.
    """
    return options_of(
        settings.inversion,
        steps=settings.steps,
        dtype=dtype,
        preset=settings.preset,
        changes=settings.changes,
        option="--inversion",
    )


def put_together(
    model: "Toolkit",
    photos: "list[Photo]",
    before: "list[Image]",
    after: "list[Image]",
    settings: PhotoSettings,
) -> "Image":
    """The photo with its faces changed, or the first face alone."""
    picture = photos[0].picture
    for photo, old, new in zip(photos, before, after, strict=True):
        if settings.crop:
            photo = replace(photo, picture=photo.crop, alignment=None)
        else:
            photo = replace(photo, picture=picture)
        picture = model.photos.put_back(
            photo, new, before=old, regions=settings.regions, detail=settings.detail
        )
    return picture
