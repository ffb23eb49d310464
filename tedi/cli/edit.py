"""`tedi edit`: a face and words in, the changed face out."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tedi.cli.directions import Range
from tedi.cli.faces import (
    MAX_STRENGTH,
    Source,
    Step,
    apply,
    begin,
    check_weights,
    edit_record,
    read_face,
)
from tedi.cli.generate import _exists, _load
from tedi.cli.hearing import Listener, explain
from tedi.cli.options import device_option, dtype_option
from tedi.editing import EDITS
from tedi.errors import UsageError
from tedi.outputs import Exist, output_paths, slug
from tedi.prompts import STRENGTH, clean

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.pipeline import Toolkit


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
        if not all(0 <= number <= MAX_STRENGTH for number in numbers):
            self.fail(f"expected 0 to {MAX_STRENGTH}, got {value[:40]!r}", param, ctx)
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
@click.option("--strip", is_flag=True, help="Before and after each TEXT or strength, in one row.")
@click.option("--preview", is_flag=True, help="256 px, several times as fast.")
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
@click.option(
    "--anyway",
    is_flag=True,
    help="Go on though nothing of a TEXT is understood, or a picture was made with other weights.",
)
@device_option
@dtype_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line, not the path.")
@click.option("--dry-run", is_flag=True, help="Print how each TEXT is read; make nothing.")
def edit(
    face: str,
    texts: tuple[str, ...],
    strength: Strengths,
    method: str,
    psi: float | None,
    undo: int,
    out: str | None,
    save_code: Path | None,
    strip: bool,
    preview: bool,
    overwrite: bool,
    anyway: bool,
    device: str,
    dtype: str,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Change FACE by TEXT, one step after the other.

    FACE is a seed, a picture that tedi made, or a file with a code. A picture
    remembers its edits, so that the next one goes on from there.

    \b
    tedi edit 7 "older" "with glasses" --out older.png
    tedi edit older.png "less smile"
    tedi edit older.png --undo 1 "with a hat"
    tedi edit 7 "smile more" --strength 0:2:5 --strip

    Paths go to stdout; progress, and words that change nothing, to stderr.
    """  # noqa: D301
    source = read_face(face, psi=psi)
    asked = [clean(text) for text in texts]
    if not asked and not undo and not save_code:
        raise UsageError('give what to change, as in: tedi edit 7 "older", or --undo N')
    plan = Plan(
        source,
        source.without(undo),
        _columns(asked, strength, method, strip=strip),
        strip=strip,
        preview=preview,
        anyway=anyway,
    )
    path = _path(out, source, " ".join(asked) or ("undo" if undo else ""))
    _check_files(path, save_code, overwrite=overwrite or dry_run)
    model = _load(device=device, dtype=dtype, compiled=False)
    if dry_run:
        return explain(model.text, asked, as_json=as_json)
    listen = Listener(model.text, anyway=anyway)
    unheard = [phrase for text in asked for phrase in listen(text)]
    record = plan.write(model, path, save_code, exist="overwrite" if overwrite else "error")
    _tell(path, save_code, record, unheard, as_json=as_json)


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
    """

    source: Source
    kept: tuple[Step, ...]
    columns: list[tuple[str, tuple[Step, ...]]]
    strip: bool
    preview: bool
    anyway: bool

    def write(
        self, model: "Toolkit", path: Path, save_code: Path | None, *, exist: Exist
    ) -> dict[str, Any]:
        """Write picture and code; gives the record."""
        from tedi.checkpoints import codes
        from tedi.images import save

        if not self.anyway:
            check_weights(self.source, model)
        start, made = self._codes(model)
        steps = (*self.kept, *self.columns[-1][1])
        record = edit_record(model, start, steps, preview=self.preview)
        picture = self._picture(model, made)
        if save_code:
            codes.save(save_code, made[-1][0], json.dumps(record), exist=exist)
        if self.strip:
            record["strip"] = ["before", *(label for label, _ in self.columns)]
        save(picture, path, record, exist=exist)
        return record

    def _codes(self, model: "Toolkit") -> "tuple[dict[str, Any], list[Tensor]]":
        """The start, and the codes (1, L, C) before the new edits and after each column."""
        import torch

        known: dict[tuple[Step, ...], Tensor] = {}

        def after(steps: tuple[Step, ...]) -> "Tensor":
            if steps not in known:
                before, new = after(steps[:-1]), len(steps) > len(self.kept)
                known[steps] = apply(model, before, steps[-1], anyway=self.anyway or not new)
            return known[steps]

        with torch.no_grad():
            known[()], start = begin(model, self.source)
            columns = [self.kept, *((*self.kept, *steps) for _, steps in self.columns)]
            return start, [after(steps) for steps in columns]

    def _picture(self, model: "Toolkit", made: "list[Tensor]") -> "Image":
        from tedi.images import contact_sheet

        if not self.strip:
            return model.pictures(made[-1], preview=self.preview)[0]
        row = [model.pictures(ws, preview=self.preview)[0] for ws in made]
        labels = ["before", *(label for label, _ in self.columns)]
        return contact_sheet([row], column_labels=labels)


def _columns(
    texts: Sequence[str], strength: Strengths, method: str, *, strip: bool
) -> list[tuple[str, tuple[Step, ...]]]:
    """Labels and steps of what is to be drawn after the face itself.

    Raises:
        UsageError: numbers that fit neither the texts nor a strip.
    """
    numbers = strength.numbers
    if strength.ranged or (len(texts) == 1 < len(numbers)):
        if not strip:
            raise UsageError(f"--strength: {len(numbers)} of them make a strip; pass --strip")
        return [(f"{n:g}", tuple(Step(text, n, method) for text in texts)) for n in numbers]
    if len(numbers) == 1:
        numbers = numbers * len(texts)
    if len(numbers) != len(texts):
        raise UsageError(
            f"--strength: {len(numbers)} numbers for {len(texts)} texts; give one each"
        )
    steps = tuple(Step(t, n, method) for t, n in zip(texts, numbers, strict=True))
    chain = [(text, steps[: end + 1]) for end, text in enumerate(texts)]
    return chain if strip and chain else [(texts[-1] if texts else "after", steps)]


def _path(out: str | None, source: Source, name: str) -> Path:
    """Where the picture goes: names made here step over files that exist."""
    text = out or ""
    if source.seed is None and "{seed" in text:
        raise UsageError(f"--out {text!r}: {source.file} has no seed; name it by {{prompt}}")
    named = "{" in text or "}" in text or (Path(text).suffix and not text.endswith(os.sep))
    if named and not os.path.isdir(text):
        prompt = name or source.name
        return next(output_paths(text, prompts=[prompt], seeds=[source.seed or 0]))
    stem, number = Path(text, slug(f"{source.name} {name}")), 1
    path = stem.with_name(f"{stem.name}.png")
    while os.path.lexists(path):
        number += 1
        path = stem.with_name(f"{stem.name}-{number}.png")
    return path


def _check_files(path: Path, code: Path | None, *, overwrite: bool) -> None:
    """Raises what writing would, before anything is loaded."""
    if code and code.suffix.lower() != ".safetensors":
        raise UsageError(f"--save-code: expected a .safetensors file, got {code}")
    for file in (path, code):
        if file and os.path.lexists(file) and not overwrite:
            raise _exists(file)


def _tell(
    path: Path, code: Path | None, record: dict[str, Any], unheard: list[str], *, as_json: bool
) -> None:
    """Print paths, or the record without the code's numbers."""
    if not as_json:
        return click.echo("\n".join(map(str, filter(None, [path, code]))))
    start = {name: value for name, value in record["start"].items() if name != "ws"}
    told = {"path": str(path), **record, "start": start, "unheard": unheard}
    click.echo(json.dumps(told | ({"code": str(code)} if code else {})))
