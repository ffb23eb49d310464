"""What the commands that make one picture of several faces share: options, codes, records."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tedi.cli.changed import refuse_changed
from tedi.cli.faces import (
    CODE_SUFFIXES,
    Source,
    apply,
    brief,
    check_weights,
    read_face,
    tell,
)
from tedi.cli.options import (
    Which,
    align_option,
    device_option,
    dtype_option,
    models_option,
    together,
)
from tedi.cli.photos import PhotoSettings, open_photos, start_of
from tedi.cli.recipes import recipe_option
from tedi.errors import UsageError
from tedi.outputs import Exist

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.pipeline import Toolkit
    from tedi.pipeline.photos import Photo

faces_options = together(
    click.option(
        "--psi", type=click.FloatRange(0, 2), help="Variety of the seeds' faces.  [default: 0.7]"
    ),
    click.option(
        "--face",
        "which",
        type=Which(),
        multiple=True,
        help="Which face of a photo; once, or once for each argument.  [default: largest]",
    ),
    align_option,
    click.option("--photo", is_flag=True, help="Take pictures for photos, though tedi made them."),
)
"""How several FACES are read: what `read_faces` and `each_of` are given."""

result_options = together(
    click.option("--preview", is_flag=True, help="256 px, several times as fast."),
    click.option("--overwrite", is_flag=True, help="Replace files that are already there."),
    click.option("--anyway", is_flag=True, help="Go on though a face was made with other weights."),
    models_option,
    device_option,
    dtype_option,
    recipe_option,
    click.option("--json", "as_json", is_flag=True, help="Print JSON lines, not paths."),
    click.option("--dry-run", is_flag=True, help="Print where pictures would go; make nothing."),
)
"""How what is made of several faces is drawn, written and told of."""

code_option = click.option(
    "--save-code",
    type=click.Path(path_type=Path),
    help="Write the code, too: a .safetensors file.",
)


def check_single(how: str, *, single: bool, code: Path | None, recipe: Path | None) -> None:
    """Raises a UsageError if a code or a recipe is asked of several faces.

    Args:
        how: a single face is asked for.
        single: it is one.
        code: file of --save-code.
        recipe: file of --recipe.
    """
    for option, file in (("--save-code", code), ("--recipe", recipe)):
        if file and not single:
            raise UsageError(f"{option}: of one face; {how}")


# --- faces ---------------------------------------------------------------------------------------


class Known(NamedTuple):
    """A face whose code is known.

    Attributes:
        ws: its code (1, L, C).
        told: what records say of it; see `tedi.cli.faces.told_of`.
    """

    ws: "Tensor"
    told: dict[str, Any]


def read_faces(
    faces: Sequence[str], *, psi: float | None = None, photo: bool = False
) -> list[Source]:
    """The faces that several arguments name; psi is for the seeds among them, photo for pictures.

    Raises:
        UsageError: what `read_face` raises, or a psi where there is no seed.
    """
    if psi is not None and not any(map(str.isdecimal, faces)):
        raise UsageError("--psi: is for seeds, and none of the faces is one; leave it out")
    codes = [Path(face).suffix.lower() in CODE_SUFFIXES for face in faces]
    return [
        read_face(face, psi=psi if face.isdecimal() else None, photo=photo and not code)
        for face, code in zip(faces, codes, strict=True)
    ]


def each_of(settings: PhotoSettings, which: Sequence[Any], faces: int) -> list[PhotoSettings]:
    """Settings of each of several faces, every one of them a single face.

    Raises:
        UsageError: another number of choices, or all faces of a photo.
    """
    if "all" in which:
        raise UsageError("--face: expected one face of each photo, got all; give its number")
    if len(which) not in (0, 1, faces):
        raise UsageError(f"--face: expected it once or {faces} times, got {len(which)}")
    chosen = [*which] * (faces if len(which) == 1 else 1) or ["largest"] * faces
    return [replace(settings, which=one) for one in chosen]


def face_of(
    model: "Toolkit", source: Source, settings: PhotoSettings, *, photo: "Photo | None" = None
) -> Known:
    """The one face that a source shows, all its steps taken.

    Args:
        model: whose codes they are.
        source: of `read_faces`.
        settings: for a photo.
        photo: the face where it is open already; None opens it if need be.
    """
    import torch

    if source.photo and photo is None:
        [photo] = open_photos(model, source, settings)
    with torch.no_grad():
        refuse_changed(source, settings.inversion)
        ws, start, _ = start_of(model, source, photo, settings)
        for step in source.steps:
            ws = apply(model, ws, step, anyway=True)  # what was made once is made again
    return Known(ws, told_of(source, start))


def faces_of(
    model: "Toolkit", sources: Sequence[Source], settings: Sequence[PhotoSettings], *, anyway: bool
) -> list[Known]:
    """The face that each source shows.

    Raises:
        TediError: one was made with other weights, unless `anyway`.
    """
    if not anyway:
        for source in sources:
            check_weights(source, model)
    return [face_of(model, *pair) for pair in zip(sources, settings, strict=True)]


def told_of(source: Source, start: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of a face that it was made of: file, start without the code, edits."""
    from tedi import zoo

    file = source.file
    named = {"file": file.name, "sha256": zoo.sha256(file)} if file else {}
    return {**named, "start": brief(start), "edits": [asdict(step) for step in source.steps]}


# --- what is written -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    """How pictures are written and told of.

    Attributes:
        command: that makes them.
        faces: what is told of the faces they are made of; see `told_of`.
        preview: drawn at 256 px.
        overwrite: replace files that are there.
        as_json: tell records, not paths.
    """

    command: str
    faces: Sequence[Mapping[str, Any]]
    preview: bool
    overwrite: bool
    as_json: bool

    @property
    def exist(self) -> Exist:
        """What to do about files that are there."""
        return "overwrite" if self.overwrite else "error"

    def face(
        self,
        model: "Toolkit",
        ws: "Tensor",
        path: Path,
        *,
        picture: "Image | None" = None,
        start: Mapping[str, Any] | None = None,
        code: Path | None = None,
        **settings: Any,
    ) -> dict[str, Any]:
        """Write a face from which other commands can go on; gives its record.

        Args:
            model: that drew it.
            ws: its code (L, C).
            path: of the picture.
            picture: what to write; None draws the code.
            start: of its record; None for the code alone.
            code: a file for the code, too.
            **settings: all else that shaped it.
        """
        from tedi.checkpoints import codes
        from tedi.latents import pack

        if picture is None:
            picture = model.pictures(ws[None], preview=self.preview)[0]
        start = start or {"made": self.command, "ws": pack(ws)}
        further = {"start": dict(start), "edits": []}
        record = self._write(model, picture, path, settings | further)
        if code:
            codes.save(code, ws, json.dumps(record), exist=self.exist)
        told = {name: value for name, value in record.items() if name != "context"}  # a code
        tell(path, code, told, as_json=self.as_json)
        return record

    def sheet(self, model: "Toolkit", picture: "Image", path: Path, **settings: Any) -> None:
        """Write a picture of several faces, which no command takes for one."""
        tell(path, None, self._write(model, picture, path, settings), as_json=self.as_json)

    def _write(
        self, model: "Toolkit", picture: "Image", path: Path, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        from tedi.images import save

        made = model.record_of("", 0, preview=self.preview)
        photos = {"photo_weights": dict(model.photos.weights)} if model.photos.weights else {}
        record = {
            "command": self.command,
            "faces": [dict(face) for face in self.faces],
            **settings,
            **{name: made[name] for name in ("preview", "dtype", "version", "weights")},
            **photos,
        }
        save(picture, path, record, exist=self.exist)
        return record


def show_plan(paths: Sequence[Path], *, as_json: bool) -> None:
    """Print where pictures would go."""
    for path in paths:
        click.echo(json.dumps({"path": str(path)}) if as_json else path)
