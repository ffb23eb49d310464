"""`tedi invert`: photos in, a code for each face out."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.budget import check_plan, plan_options, teller
from tedi.cli.changed import beside, write_changed
from tedi.cli.generate import _exists, _load
from tedi.cli.options import (
    device_option,
    dtype_option,
    lying_option,
    models_of,
    models_option,
    steps_option,
    which_option,
)
from tedi.cli.photos import check_which, takes_as_found
from tedi.cli.schedules import method_schedule_options, options_of
from tedi.errors import TediError, UsageError
from tedi.inversion import INVERTERS
from tedi.outputs import Exist

if TYPE_CHECKING:
    from tedi.inversion import Inversion
    from tedi.pipeline import Toolkit
    from tedi.pipeline.photos import Photo

PICTURES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2")
)
"""Suffixes of what is taken from a folder; a file that is named is read whatever its suffix."""
CODE = ".safetensors"
FIGURES = {"pixel": "mse", "perceptual": "perceptual", "identity": "identity_distance"}
UNLIKE = ("photo", "alignment", "figures", "steps", "version", "weights", "generator")
"""What the record of a code may have otherwise and need not be made again; weights by hash."""
CHOSEN = ("inversion", "settings", "plan")
"""What a plan decides, for each photo anew."""


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A folder, or for one face a .safetensors file.  [default: PHOTO.safetensors here]",
)
@click.option(
    "--method",
    type=click.Choice(list(INVERTERS)),
    default="encoder",
    show_default=True,
    help="encoder is quickest, restyle lets it look at its drawing again, twice, in a third of a "
    "second, optimize is more alike, pti tunes the generator to the face, fspace takes it turned, "
    "too (--no-align), image2stylegan goes without an encoder.",
)
@steps_option
@click.option(
    "--finish",
    type=click.IntRange(0, 10_000),
    help="More steps of the optimisation, on full-size drawings.  [default: the method's]",
)
@method_schedule_options
@click.option(
    "--together",
    is_flag=True,
    help="All photos are of one person: --method pti tunes one generator to them all, "
    "together-generator.safetensors.",
)
@plan_options
@which_option
@lying_option
@click.option(
    "--show",
    is_flag=True,
    help="Write CODE-inversion.png beside each code: the photo, and what the code draws.",
)
@click.option("--preview", is_flag=True, help="Draw what --show shows at 256 px, faster.")
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
@models_option
@device_option
@dtype_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line a face, not its path.")
def invert(
    photos: tuple[Path, ...],
    out: Path | None,
    method: str,
    steps: int | None,
    finish: int | None,
    preset: str | None,
    changes: tuple[str, ...],
    together: bool,
    quality: str | None,
    budget: float | None,
    which: str | int,
    align: bool,
    show: bool,
    preview: bool,
    overwrite: bool,
    generator: Path | None,
    encoder: Path | None,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Codes of the faces in PHOTOS, files or folders, for `tedi edit`.

    A code says in its metadata which face of which photo it is of, and how near
    it came: mse, perceptual and identity distance of the 1024 px drawing and the
    face, both reduced to 256 px. Codes already made are skipped, so that a
    stopped run goes on.

    \b
    tedi invert photo.jpg
    tedi invert photo.jpg --method optimize --show
    tedi invert photo.jpg --method fspace --no-align --show
    tedi invert photo.jpg --method pti --set local=0.2 --set seed=1
    tedi invert me.jpg me2.jpg --method pti --together
    tedi invert photo.jpg --quality good --budget 20s
    tedi invert group.jpg --quality good --no-align --face 2
    tedi invert group.jpg --face all --out codes/
    tedi invert holiday/ --out codes/ --json
    tedi invert photo.jpg --encoder e4e_ffhq_encode.pt --show
    tedi edit photo.safetensors "older"

    Paths go to stdout; progress, and photos that fail, to stderr.
    """  # noqa: D301
    check_plan(quality, budget, "method", "steps", "finish", "preset", "changes")
    files = _files(photos)
    exact = out is not None and bool(out.suffix) and not out.is_dir()
    settings = options_of(
        method, steps=steps, finish=finish, dtype=dtype, preset=preset, changes=changes
    )
    run = Run(
        files,
        [_exact(out, len(files), which)] if out and exact else _names(files, out),
        method,
        settings,
        which,
        exact=exact,
        align=align,
        show=show,
        preview=preview,
        overwrite=overwrite,
        as_json=as_json,
        together=together,
        quality=quality,
        budget=budget,
    )
    run.check()
    models = models_of(generator, encoder)
    run.write(_load(**models, device=device, dtype=dtype, compiled=False))


@dataclass(frozen=True)
class Run:
    """What to invert, how, and where to.

    Attributes:
        files: the photos.
        names: where the code of each goes, if it is of one face.
        method: a name of `tedi.inversion.INVERTERS`.
        settings: the method's options; None where it has none.
        which: faces, as `tedi.faces.choose` takes it.
        exact: the one name is to be used as it is.
        align: find and align them; else each photo is one aligned face, or, for fspace and plans,
            one face as it lies.
        show: write photo and inversion, too.
        preview: at 256 px.
        overwrite: replace codes.
        as_json: tell records, not paths.
        together: one generator is tuned to all photos.
        quality: what chooses the method, as `tedi.inversion.plan` has it; None and …
        budget: … no seconds that it may take: `method` says which.
    """

    files: Sequence[Path]
    names: Sequence[Path]
    method: str
    settings: Any
    which: Any
    exact: bool
    align: bool
    show: bool
    preview: bool
    overwrite: bool
    as_json: bool
    together: bool = False
    quality: str | None = None
    budget: float | None = None

    @property
    def planned(self) -> bool:
        """Whether the method is chosen by what it comes to and takes."""
        return self.quality is not None or self.budget is not None

    def check(self) -> None:
        """Raises what is known to fail before anything is loaded."""
        check_which(
            self.which, self.method, option="--method", align=self.align, planned=self.planned
        )
        if self.together:
            self._check_together()
        for file in self.files:
            if (len(self.files) == 1 or self.together) and not file.is_file():
                raise TediError(f"{file}: no such file")

    def _check_together(self) -> None:
        """Raises a UsageError for what is not one generator of one face a photo."""
        if self.planned or self.method != "pti":
            raise UsageError("--together: one generator is tuned to all photos; pass --method pti")
        if self.which == "all":
            raise UsageError("--together: is for one person; leave out --face all")
        if len(self.files) == 1:
            raise UsageError("--together: expected two photos or more, got one")

    def write(self, model: "Toolkit") -> None:
        """Invert one photo after the other; those that fail are told of at the end."""
        if self.together:
            return self._together(model)
        failed = []
        with _bar(len(self.files), "photo", shown=len(self.files) > 1) as bar:
            for file, name in zip(self.files, self.names, strict=True):
                try:
                    self._photo(model, file, name)
                except TediError as error:
                    if len(self.files) == 1:
                        raise
                    failed.append(" ".join(str(error).split()))
                bar.update()
        for line in failed:
            click.echo(line, err=True)
        if failed:
            raise TediError(f"{len(failed)} of {len(self.files)} photos could not be inverted")

    def _photo(self, model: "Toolkit", file: Path, name: Path) -> None:
        """Codes of one photo's faces that are not there yet."""
        if self.which != "all" and self._done(model, file, None, self._named(name, self.which)):
            return
        found = takes_as_found(self.method, align=self.align, planned=self.planned)
        aligned = not self.align and not found
        for photo in model.photos.open(file, face=self.which, aligned=aligned, as_found=found):
            number = photo.number if self.which == "all" else self.which
            path = self._named(name, number)
            if self.which == "all" and self._done(model, file, photo, path):
                continue
            self._write(model, photo, path)

    def _together(self, model: "Toolkit") -> None:
        """Codes of one person's faces, and the generator that draws them all.

        Raises:
            UsageError: a code and the generator have one name.
            TediError: a photo fails, or a file of another code or generator is there.
        """
        paths = [self._named(name, self.which) for name in self.names]
        pairs = list(zip(self.files, paths, strict=True))
        made = [self._made(model, file, None, path) for file, path in pairs]
        shared = paths[0].with_name(f"together{CODE}")
        if beside(shared) in paths:
            raise UsageError(f"{beside(shared)}: is the generator's name; rename that photo")
        there = [record for record in made if record is not None]
        if len(there) == len(paths) and _drawn_by(there, beside(shared)):
            for path, record in zip(paths, there, strict=True):
                self._tell(path, record)
            return
        begun = self.overwrite or any(os.path.lexists(path) for path in paths)  # all are of this
        if not begun and os.path.lexists(beside(shared)):
            raise _exists(beside(shared))
        photos = [
            model.photos.open(file, face=self.which, aligned=not self.align)[0]
            for file in self.files
        ]
        with _steps_bar(self.settings, shown=True) as on_step:
            found = model.photos.tune(photos, options=self.settings, on_step=on_step)
        about = json.dumps(self._record(model, photos[0].sha256, self.which))
        told = write_changed(model, found.generator, shared, about, exist="overwrite")
        for row, (photo, path) in enumerate(zip(photos, paths, strict=True)):
            figures = {n: value[row : row + 1] for n, value in found.extras["figures"].items()}
            extras = {**found.extras, "figures": figures}
            one = replace(found, ws=found.ws[row : row + 1], extras=extras)
            self._save(model, photo, path, one, {"generator": told})

    @cached_property
    def _hashes(self) -> list[str]:
        from tedi import zoo

        return [zoo.sha256(file) for file in self.files]

    def _named(self, name: Path, which: Any) -> Path:
        if which == "largest" or self.exact:
            return name
        return name.with_name(f"{name.name.removesuffix(CODE)}-face{which}{CODE}")

    def _done(self, model: "Toolkit", file: Path, photo: "Photo | None", path: Path) -> bool:
        """Whether a code is made, as `_made` has it; it is told of."""
        there = self._made(model, file, photo, path)
        if there is not None:
            self._tell(path, there)
        return there is not None

    def _made(
        self, model: "Toolkit", file: Path, photo: "Photo | None", path: Path
    ) -> dict[str, Any] | None:
        """The record of a face whose files are all there, its code made just so; else None.

        Raises:
            TediError: another file is there.
        """
        from tedi import zoo
        from tedi.checkpoints import codes

        if self.overwrite or not os.path.lexists(path):
            return None
        if not file.is_file():
            raise TediError(f"{file}: no such file")
        try:
            there = codes.load_record(path)
        except TediError:
            raise _exists(path) from None
        here = self._record(model, zoo.sha256(file), photo.number if photo else self.which)
        unlike = UNLIKE + CHOSEN if self.planned else UNLIKE
        alike = {name: value for name, value in there.items() if name not in unlike}
        wanted = {name: value for name, value in here.items() if name not in unlike}
        if alike != json.loads(json.dumps(wanted)) or not _is_current(model, there.get("weights")):
            raise TediError(f"{path}: exists and is another code; pass --overwrite or --out")
        if self.show and not _shown(path).is_file():
            return None
        own = there.get("generator")
        if own is not None and not path.with_name(Path(str(own.get("file"))).name).is_file():
            return None
        return there

    def _record(self, model: "Toolkit", sha256: str, face: Any) -> dict[str, Any]:
        """What is known of a code before it is made."""
        made = model.record_of("", 0)
        asked: dict[str, Any] = {}
        if self.planned:
            asked = {"quality": self.quality, "budget": self.budget}
        elif self.together:
            asked = {"together": self._hashes}
        return {
            "command": "invert",
            "sha256": sha256,
            "face": face,
            "align": self.align,
            "inversion": self.method,
            "settings": asdict(self.settings) if self.settings else {},
            **asked,
            "dtype": made["dtype"],
            "version": made["version"],
        }

    def _write(self, model: "Toolkit", photo: "Photo", path: Path) -> None:
        self._save(model, photo, path, *self._inverted(model, photo, path))

    def _save(
        self,
        model: "Toolkit",
        photo: "Photo",
        path: Path,
        inversion: "Inversion",
        chosen: dict[str, Any],
    ) -> None:
        """The code of a face, and what lies beside it; `chosen` is more for the record."""
        from tedi.checkpoints import codes

        face = photo.number if self.which == "all" else self.which
        record = {
            **self._record(model, photo.sha256, face),
            **chosen,
            "photo": photo.name,
            "alignment": photo.alignment.to_dict() if photo.alignment else None,
            "figures": _figures(inversion),
            "steps": inversion.extras.get("steps", 0),
            "weights": _weights(model),
        }
        if inversion.generator is not model.generator and "generator" not in record:
            # Replaced like the code, and before it: a code that is there has its generator.
            told = write_changed(
                model, inversion.generator, path, json.dumps(record), exist="overwrite"
            )
            record["generator"] = told
        if self.show:
            self._show(model, photo, inversion, _shown(path), record)
        # A file that is there is this code, or is to be replaced: `_done` has seen to that.
        codes.save(path, inversion.ws[0], json.dumps(record), exist="overwrite")
        self._tell(path, record)

    def _inverted(
        self, model: "Toolkit", photo: "Photo", path: Path
    ) -> "tuple[Inversion, dict[str, Any]]":
        """The inversion of a face, and what records tell of a plan for it."""
        if not self.planned:
            with _steps_bar(self.settings, shown=len(self.files) == 1) as on_step:
                inversion = model.photos.invert(
                    photo, method=self.method, options=self.settings, on_step=on_step
                )
            return inversion, {}
        inversion = model.photos.plan(
            photo,
            quality=self.quality or "best",
            budget=self.budget,
            dtype=str(model.dtype).removeprefix("torch."),
            tell=teller(f"{path.stem}: " if len(self.files) > 1 or self.which == "all" else ""),
        )
        found = inversion.extras
        settings = asdict(found["options"]) if found["options"] else {}
        return inversion, {
            "inversion": found["method"],
            "settings": settings,
            "plan": found["plan"],
        }

    def _show(
        self,
        model: "Toolkit",
        photo: "Photo",
        inversion: "Inversion",
        path: Path,
        record: dict[str, Any],
    ) -> None:
        from tedi.images import contact_sheet, save

        own = inversion.generator
        drawn = model.pictures(inversion.ws, preview=self.preview, generator=own)[0]
        row = [photo.crop, drawn]
        labels = ["photo", record["inversion"]]
        sheet = contact_sheet([row], column_labels=labels, cell=256 if self.preview else 512)
        exist: Exist = "overwrite" if self.overwrite else "error"
        save(sheet, path, record | {"shows": labels}, exist=exist)

    def _tell(self, path: Path, record: dict[str, Any]) -> None:
        shown = _shown(path)
        if not self.as_json:
            return click.echo("\n".join(map(str, [path, *([shown] if self.show else [])])))
        told = {"path": str(path), **({"show": str(shown)} if self.show else {}), **record}
        click.echo(json.dumps(told))


def _shown(path: Path) -> Path:
    """The picture beside a code; never the photo, which may lie there by the code's own name."""
    return path.with_name(f"{path.stem}-inversion.png")


def _figures(inversion: "Inversion") -> dict[str, float]:
    """How near the face came, in six digits; persons by distance, as `tedi compare` has it."""
    figures = {FIGURES[n]: float(v[0]) for n, v in inversion.extras["figures"].items()}
    if "identity_distance" in figures:
        figures["identity_distance"] **= 0.5
    return {name: float(f"{value:.6g}") for name, value in figures.items()}


def _weights(model: "Toolkit") -> dict[str, str]:
    """Hashes by name of all that a code depends on; texts are none of it."""
    return model.drawn_by | model.photos.weights


def _drawn_by(records: Sequence[Mapping[str, Any]], file: Path) -> bool:
    """Whether all codes are of the generator in one file; a run that was stopped leaves others."""
    from tedi import zoo

    sha = zoo.sha256(file)
    return all(record["generator"] == {"file": file.name, "sha256": sha} for record in records)


def _is_current(model: "Toolkit", weights: Any) -> bool:
    """Whether a code was made with the weights that would be used now."""
    from tedi.zoo import ZOO

    named = weights if isinstance(weights, dict) else {}
    given = model.drawn_by | model.photos.given
    here = {name: entry.sha256 for name, entry in ZOO.items()} | given
    files = {name for name in given | named if name not in ZOO}
    return (
        given.keys() <= named.keys()
        and files <= given.keys()
        and all(here[name] == sha for name, sha in named.items() if name in here)
    )


def _files(photos: Sequence[Path]) -> list[Path]:
    """Files, and the pictures of folders in the order of their names; none twice."""
    files: list[Path] = []
    for path in photos:
        if not path.is_dir():
            files.append(path)
            continue
        there = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
        if not there:
            raise UsageError(f"{path}: holds no picture; expected {', '.join(sorted(PICTURES))}")
        files += [file for file in there if file.is_file()]
    return list(dict.fromkeys(files))


def _exact(out: Path, photos: int, which: Any) -> Path:
    """The file that --out names.

    Raises:
        UsageError: it is no code file, or one for several faces.
    """
    if out.suffix.lower() != CODE:
        raise UsageError(f"--out: expected a folder or a {CODE} file, got {out}")
    if photos > 1 or which == "all":
        many = f"{photos} photos need" if photos > 1 else "--face all needs"
        raise UsageError(f"--out: {many} a folder, got {out}")
    return out


def _names(files: Sequence[Path], out: Path | None) -> list[Path]:
    """The code file of each photo: by its stem, by its whole name where stems meet.

    Raises:
        UsageError: two photos of one name.
    """
    met = Counter(file.stem for file in files)
    names = [file.stem if met[file.stem] == 1 else file.name for file in files]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"{twice[0]}: two photos of this name; invert them into two folders")
    return [(out or Path()) / f"{name}{CODE}" for name in names]


def _bar(total: int | None, unit: str, *, shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=None if shown else True)


def _steps_of(settings: Any) -> int | None:
    """Steps at most; None where the encoder knows."""
    if settings.steps is None:
        return None
    pivot = getattr(settings, "pivot", "") == "optimize"
    before = settings.pivot_steps + settings.pivot_finish if pivot else 0
    return int(before + settings.steps + settings.finish)


@contextmanager
def _steps_bar(settings: Any, *, shown: bool) -> Iterator[Any]:
    """A bar of an optimisation's steps, as its `on_step`; None where there are none."""
    if settings is None or not shown:
        yield None
        return
    with _bar(_steps_of(settings), "step", shown=True) as bar:

        def on_step(step: int, losses: Any, ws: Any) -> None:
            bar.set_postfix(loss=f"{sum(float(term.mean()) for term in losses.values()):.4f}")
            bar.update(step - bar.n)

        yield on_step
