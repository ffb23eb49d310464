"""`tedi edit`: a face and words or directions in, the changed face out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tedi.cli.asked import Along, direction_option, mapper_option, read_asked
from tedi.cli.budget import check_plan, plan_options
from tedi.cli.changed import write_changed
from tedi.cli.directions import Range
from tedi.cli.faces import (
    Source,
    Step,
    apply,
    check_files,
    check_weights,
    edit_record,
    read_face,
    result_paths,
    tell,
)
from tedi.cli.generate import _load
from tedi.cli.options import (
    check_codes,
    device_option,
    dtype_option,
    inversion_option,
    lying_option,
    models_of,
    models_option,
    steps_option,
    which_option,
)
from tedi.cli.photos import (
    PhotoSettings,
    check_settings,
    check_which,
    crop_option,
    detail_option,
    inversion_options,
    open_photos,
    put_together,
    regions_of,
    start_of,
)
from tedi.cli.recipes import check_recipe, placed_told, recipe_option, write_recipe
from tedi.cli.schedules import inversion_schedule_options
from tedi.editing import EDITS, STRONGEST
from tedi.errors import UsageError
from tedi.outputs import Exist
from tedi.prompts import STRENGTH

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.interfaces import Generator
    from tedi.pipeline import Toolkit
    from tedi.pipeline.photos import Photo


class Strengths(NamedTuple):
    """Numbers, and whether they were given as a range."""

    numbers: list[float]
    ranged: bool


class StrengthsType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`1`, `0.5,1,2` or `from:to:count`.

    >>> StrengthsType().convert("0:2:3", None, None)
    Strengths(numbers=[0.0, 1.0, 2.0], ranged=True)
    """

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Strengths:
        """The numbers, each 0 to 10."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        ranged = ":" in value
        try:
            numbers = Range().convert(value, param, ctx) if ranged else _numbers(value)
        except ValueError:
            self.fail(f"expected 1, 0.5,1 or 0:2:5, got {value[:40]!r}", param, ctx)
        if not all(0 <= number <= STRONGEST for number in numbers):
            self.fail(f"expected 0 to {STRONGEST}, got {value[:40]!r}", param, ctx)
        return Strengths(numbers, ranged)


def _numbers(value: str) -> list[float]:
    return [float(part) for part in value.split(",")]


@click.command()
@click.argument("face")
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option(
    "--strength",
    type=StrengthsType(),
    default=f"{STRENGTH:g}",
    show_default=True,
    help="0 changes nothing, 1 reaches what is asked, more goes on. One number, one a TEXT as in "
    "0.5,1, or from:to:count for a strip.",
)
@click.option(
    "--method",
    type=click.Choice(list(EDITS)),
    default="default",
    show_default=True,
    help="How a text changes a code.",
)
@mapper_option
@direction_option
@click.option(
    "--psi", type=click.FloatRange(0, 2), help="Variety of a seed's face.  [default: 0.7]"
)
@click.option(
    "--undo",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Drop the last N edits of a picture first; TEXT may be left out then.",
)
@click.option(
    "--out",
    help="A file, a folder, or a pattern with {prompt}, {seed}, {index}; by suffix .png, .jpg or "
    ".webp.  [default: FACE-TEXT.png here]",
)
@click.option(
    "--save-code", type=click.Path(path_type=Path), help="Write the code, too: a .safetensors file."
)
@which_option
@lying_option
@inversion_option
@steps_option
@inversion_schedule_options
@plan_options
@click.option(
    "--region",
    metavar="NAMES",
    help="Parts of a photo's face that may change, as in hair,mouth.  [default: all]",
)
@detail_option
@crop_option
@click.option(
    "--onto",
    type=click.Path(path_type=Path),
    help="The photo that FACE, a code of tedi invert, is of; the face is put back into it.",
)
@click.option("--photo", is_flag=True, help="Take FACE for a photo, though tedi made it.")
@click.option("--strip", is_flag=True, help="Before and after each TEXT or strength, in one row.")
@click.option("--preview", is_flag=True, help="256 px, several times as fast.")
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
@click.option(
    "--anyway",
    is_flag=True,
    help="Go on though nothing of a TEXT is understood, or a picture was made with other weights.",
)
@models_option
@device_option
@dtype_option
@recipe_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line, not the path.")
@click.option("--dry-run", is_flag=True, help="Print how each TEXT is read; make nothing.")
def edit(
    face: str,
    texts: tuple[str, ...],
    strength: Strengths,
    method: str,
    mappers: tuple[Path, ...],
    directions: tuple[Along, ...],
    psi: float | None,
    undo: int,
    out: str | None,
    save_code: Path | None,
    which: str | int,
    align: bool,
    inversion: str,
    steps: int | None,
    preset: str | None,
    changes: tuple[str, ...],
    quality: str | None,
    budget: float | None,
    region: str | None,
    detail: float,
    crop: bool,
    onto: Path | None,
    photo: bool,
    strip: bool,
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
    """Change FACE by TEXT or along directions, one step after the other.

    FACE is a photo, a seed, a picture that tedi made, or a file with a code. A
    picture remembers its edits, so that the next one goes on from there. In a
    photo the face is found, changed and put back; the rest stays as it is.

    \b
    tedi edit photo.jpg "she wears glasses and smiles" --out edited.jpg
    tedi edit group.jpg "older" --face all --region face,hair
    tedi edit photo.jpg "blond hair" --quality good
    tedi edit photo.jpg "with glasses" --inversion fspace --no-align
    tedi edit photo.safetensors "older" --onto photo.jpg
    tedi edit 7 "older" "with glasses" --out older.png
    tedi edit older.png "less smile"
    tedi edit older.png --undo 1 "with a hat"
    tedi edit photo.jpg --mapper afro.pt --strength 0.8
    tedi edit 7 "smile more" --strength 0:2:5 --strip
    tedi edit photo.jpg --direction smile=2 --direction red.safetensors=-1.5

    Paths go to stdout; progress, and words that change nothing, to stderr.
    """  # noqa: D301
    source = read_face(face, psi=psi, photo=photo)
    check_plan(quality, budget, "inversion", "steps", "preset", "changes")
    settings = PhotoSettings(
        which,
        align,
        inversion,
        steps,
        regions_of(region),
        detail,
        crop,
        onto,
        quality,
        budget,
        own=recipe is None,  # tedi run draws by no generator of a face's own
        preset=preset,
        changes=changes,
    )
    _check_options(source, settings, dtype)
    asked = read_asked(texts, method, mappers, directions)
    if not asked.labels and not undo and not save_code:
        raise UsageError('give what to change, as in: tedi edit 7 "older", or --undo N')
    plan = Plan(
        source,
        source.without(undo),
        _columns(asked.texts, strength, asked.method, asked.directions, strip=strip),
        strip=strip,
        preview=preview,
        anyway=anyway,
        settings=settings,
    )
    name = " ".join(asked.labels) or ("undo" if undo else "")
    named = [(f"{source.name} {name}", name or source.name)]
    [path] = result_paths(out, named, seed=source.seed, whose=str(source.file))
    plan.check_picture(path)
    check_files(path, code=save_code, overwrite=overwrite or dry_run)
    check_recipe(recipe, overwrite=overwrite or dry_run)
    model = _load(**models_of(generator, encoder), device=device, dtype=dtype, compiled=False)
    if dry_run:
        return asked.explain(model, as_json=as_json)
    unheard = asked.listen(model, anyway=anyway)
    exist: Exist = "overwrite" if overwrite else "error"
    told = plan.write(model, path, save_code, exist=exist)
    record = {name: value for name, value in told.items() if name != "plan"}
    write_recipe(recipe, record, path, exist=exist)
    tell(path, save_code, told, as_json=as_json, unheard=unheard)


class Edited(NamedTuple):
    """A face with its edits.

    Attributes:
        start: for records.
        codes: (1, L, C) each, of what FACE shows, before the new edits, and after each; without
            --undo the first two are one.
        own: what draws them.
        plan: of an inversion that was chosen; see `tedi.inversion.plan`.
    """

    start: dict[str, Any]
    codes: "list[Tensor]"
    own: "Generator"
    plan: dict[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """What to make of a face.

    Attributes:
        source: the face.
        kept: its edits that stay.
        columns: a label and the new edits; the last is the result.
        strip: draw the face before, and all columns.
        preview: draw 256 px.
        anyway: go on in spite of other weights and of texts not understood.
        settings: for photos.
    """

    source: Source
    kept: tuple[Step, ...]
    columns: list[tuple[str, tuple[Step, ...]]]
    strip: bool
    preview: bool
    anyway: bool
    settings: PhotoSettings

    def check_picture(self, path: Path) -> None:
        """Raises a UsageError if the format of a file cannot hold the strip, or what it is of."""
        from tedi.images import check_sheet

        codes = self.source.start.get("codes", ())
        check_codes(path, len(codes), " and ".join(codes))
        if self.strip:
            check_sheet(path, 1, 1 + len(self.columns), column_labels=self._labels())

    def _labels(self) -> list[str]:
        return ["before", *(label for label, _ in self.columns)]

    def write(
        self, model: "Toolkit", path: Path, save_code: Path | None, *, exist: Exist
    ) -> dict[str, Any]:
        """Write picture and code; gives the record."""
        from tedi.checkpoints import codes
        from tedi.images import save

        if not self.anyway:
            check_weights(self.source, model)
        steps = (*self.kept, *self.columns[-1][1])
        photos = open_photos(model, self.source, self.settings)
        check_codes(path, len(photos), f"{len(photos)} faces")
        self._check_own(photos)
        asked: Sequence[Photo | None] = photos or [None]
        settings = replace(self.settings, own=self.settings.own and len(asked) == 1)
        faces = [self._codes(model, photo, settings) for photo in asked]
        if self._tunes(model, faces):
            self._write_generator(model, faces, path, exist=exist)
        start = faces[0].start if len(faces) == 1 else {"faces": [face.start for face in faces]}
        record = edit_record(model, start, steps, preview=self.preview)
        if self.strip:
            record |= self._columns_told()
        picture = self._picture(model, photos, faces)
        if photos and not self.settings.onto:
            record |= self._placed_told(model)
        if save_code:
            if len(faces) > 1:
                raise UsageError("--save-code: of one face; choose it with --face K")
            told = record | _plans_told(faces)
            codes.save(save_code, faces[0].codes[-1][0], json.dumps(told), exist=exist)
        save(picture, path, record, exist=exist)
        return record | _plans_told(faces)

    def _columns_told(self) -> dict[str, Any]:
        """What a record says of a strip: labels, and the steps of each picture."""
        chains = [self.source.steps, *((*self.kept, *new) for _, new in self.columns)]
        return {
            "strip": self._labels(),
            "columns": [[asdict(step) for step in steps] for steps in chains],
        }

    def _placed_told(self, model: "Toolkit") -> dict[str, Any]:
        """What a record says of how the face was put back into its photo."""
        from tedi.pipeline.photos import PARSER

        s = self.settings
        assert self.source.file is not None
        placed = placed_told(
            self.source.file, self.source.steps, s.regions, detail=s.detail, crop=s.crop
        )
        told: dict[str, Any] = {"placed": placed}
        if s.regions:
            told["photo_weights"] = {PARSER: model.photos.weights[PARSER]}
        return told

    def _codes(self, model: "Toolkit", photo: "Photo | None", settings: PhotoSettings) -> "Edited":
        """A face with all its codes."""
        import torch

        known: dict[tuple[Step, ...], Tensor] = {}

        def after(steps: tuple[Step, ...]) -> "Tensor":
            if steps not in known:
                before, new = after(steps[:-1]), len(steps) > len(self.source.steps)
                anyway = self.anyway or not new
                known[steps] = apply(model, before, steps[-1], anyway=anyway, generator=own)
            return known[steps]

        with torch.no_grad():
            known[()], start, own = start_of(model, self.source, photo, settings)
            plan = start.pop("plan", None) if settings.planned else None
            columns = [self.kept, *((*self.kept, *steps) for _, steps in self.columns)]
            codes = [after(steps) for steps in [self.source.steps, *columns]]
            return Edited(start, codes, own, plan)

    def _check_own(self, photos: "Sequence[Photo]") -> None:
        """Raises a UsageError if an inversion is to make a generator for each of several faces."""
        from tedi.inversion import INVERTERS

        s = self.settings
        asked = self.source.photo and not s.planned and len(photos) > 1
        if asked and getattr(INVERTERS[s.inversion], "changes_generator", False):
            raise UsageError(f"--inversion {s.inversion}: of one face; choose it with --face K")

    def _tunes(self, model: "Toolkit", faces: "list[Edited]") -> bool:
        """Whether an inversion, just now, made generators of the faces' own."""
        return self.source.photo and any(face.own is not model.generator for face in faces)

    def _write_generator(
        self, model: "Toolkit", faces: "list[Edited]", path: Path, *, exist: Exist
    ) -> None:
        """Write what draws the one face beside the picture, and say so in its start."""
        [face] = faces
        record = json.dumps({name: face.start[name] for name in ("photo", "sha256", "inversion")})
        face.start["generator"] = write_changed(model, face.own, path, record, exist=exist)

    def _picture(self, model: "Toolkit", photos: "list[Photo]", faces: "list[Edited]") -> "Image":
        from tedi.images import contact_sheet

        pairs = [[(ws, face.own) for ws in face.codes] for face in faces]
        columns = list(zip(*pairs, strict=True))
        shown, *wanted = columns if self.strip else [columns[0], columns[-1]]
        row = self._drawn(model, photos, shown, wanted)
        if not self.strip:
            return row[-1]
        return contact_sheet([row], column_labels=self._labels())

    def _drawn(
        self, model: "Toolkit", photos: "list[Photo]", shown: Any, wanted: "Sequence[Any]"
    ) -> "list[Image]":
        """A picture of each of the codes that are wanted, put into the photo where there is one.

        Codes come with what draws them.
        """

        def draw(column: Any) -> "list[Image]":
            return [
                model.pictures(ws, preview=self.preview, generator=own)[0] for ws, own in column
            ]

        if not photos:
            return [draw(column)[0] for column in wanted]
        settings = replace(self.settings, crop=self.settings.crop or self.strip)
        if settings.crop and len(photos) > 1:
            raise UsageError("--crop, --strip: show one face; choose it with --face K")
        before = draw(shown)
        return [put_together(model, photos, before, draw(column), settings) for column in wanted]


def _plans_told(faces: "Sequence[Edited]") -> dict[str, Any]:
    """What is told of inversions that were chosen, beside the record, which is made again."""
    plans = [face.plan for face in faces if face.plan is not None]
    return {"plan": plans[0] if len(plans) == 1 else plans} if plans else {}


def _check_options(source: Source, settings: PhotoSettings, dtype: str) -> None:
    """Raises a UsageError that names an option for photos that FACE has no use for."""
    check_settings(source, settings)
    if source.photo and not settings.planned:
        inversion_options(settings, dtype)
    if settings.which == "largest":
        return
    if not source.photo:
        name = source.file or source.name
        raise UsageError(f"--face: chooses among those of a photo, and {name} is one; leave it out")
    check_which(
        settings.which,
        settings.inversion,
        option="--inversion",
        align=settings.align,
        planned=settings.planned,
    )


def _columns(
    texts: Sequence[str],
    strength: Strengths,
    method: str,
    directions: tuple[Step, ...] = (),
    *,
    strip: bool,
) -> list[tuple[str, tuple[Step, ...]]]:
    """Labels and steps of what is to be drawn after the face itself; directions after texts.

    Raises:
        UsageError: numbers that fit neither the texts nor a strip.
    """
    numbers = strength.numbers
    if strength.ranged or (len(texts) == 1 < len(numbers)):
        if not strip:
            raise UsageError(f"--strength: {len(numbers)} of them make a strip; pass --strip")
        return [
            (f"{n:g}", (*(Step(text, n, method) for text in texts), *directions)) for n in numbers
        ]
    if len(numbers) == 1:
        numbers = numbers * len(texts)
    if len(numbers) != len(texts):
        raise UsageError(
            f"--strength: {len(numbers)} numbers for {len(texts)} texts; give one each"
        )
    steps = (*(Step(t, n, method) for t, n in zip(texts, numbers, strict=True)), *directions)
    chain = [(step.text, steps[: end + 1]) for end, step in enumerate(steps)]
    return chain if strip and chain else [(steps[-1].text if steps else "after", steps)]
