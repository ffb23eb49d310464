"""How each command makes its pictures again, and the option that writes a recipe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from tedi import mixing
from tedi import recipe as recipes
from tedi.cli.given import Given
from tedi.cli.options import MAX_SEED, Seeds
from tedi.cli.transform import check_told, place
from tedi.config import build
from tedi.editing import check_method, limits
from tedi.errors import TediError, UsageError
from tedi.mixing import VARIETY
from tedi.outputs import Exist
from tedi.prompts import STRENGTH, clean
from tedi.recipe import COMMON, Recipe, Tell
from tedi.registry import unknown

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from tedi.cli.faces import Step
    from tedi.pipeline import Toolkit
    from tedi.pipeline.content import Content

recipe_option = click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    help="Write what was done as YAML or JSON, too; tedi run does it again.",
)


def check_recipe(path: Path | None, *, overwrite: bool) -> None:
    """Raises what writing a recipe would, before anything is loaded."""
    if path:
        recipes.check_file(path)
        if path.exists() and not overwrite:
            raise TediError(f"{path}: already exists; pass --overwrite to replace it")


def write_recipe(
    path: Path | None, record: Mapping[str, Any], picture: Path, *, exist: Exist
) -> None:
    """Write the recipe of a picture, which is its record and the suffix of its file."""
    if path:
        told = {**record, "suffix": picture.suffix.lower()}
        recipes.write(recipes.recipe_of(told, str(picture)), path, exist=exist)


# --- generate ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Generate(Recipe):
    """Pictures of prompts and seeds.

    Attributes:
        prompts: a row of pictures each.
        seeds: one, a list, or text as `--seed` takes it.
        grid: all of them on one sheet.
        psi: see `tedi.pipeline.Toolkit.generate`, as all that follows.
        strength: of the prompt.
        method: how it becomes a code.
        batch_size: pictures drawn at a time.
        compiled: drawn through `torch.compile`.
        content: what is given beside words: modality -> file and sha256.
        mix: who rules which layers; see `tedi.mixing.parse`.
        variety: how much a seed varies what drawings leave open.
        codes: modality -> code of what is given; none for a recipe written by hand, whose files
            are read.
        transform: degrees, right and down that a StyleGAN3's pictures are turned and moved; none
            for not at all.
    """

    prompts: tuple[str, ...]
    seeds: Any = 0
    grid: bool = False
    psi: float = 0.7
    strength: float = STRENGTH
    method: str = "default"
    batch_size: int = 1
    compiled: bool = False
    content: dict[str, Any] = field(default_factory=dict)
    mix: str = ""
    variety: float = VARIETY
    codes: dict[str, str] = field(default_factory=dict)
    transform: tuple[float, ...] = ()

    LIMITS: ClassVar = {
        "psi": (0, 2),
        "strength": (0, 10),
        "batch_size": (1, 1024),
        "variety": (0, 1),
    }

    @classmethod
    def settings(cls, told: Mapping[str, Any]) -> dict[str, Any]:
        """A record tells one prompt and seed, and a sheet's both in words, too."""
        fields = dict(told)
        prompt, seed = fields.pop("prompt", None), fields.pop("seed", None)
        if prompt is not None:
            prompts = fields.setdefault("prompts", [prompt])
            if not isinstance(prompts, list) or prompt != "; ".join(map(str, prompts)):
                raise UsageError("prompt, prompts: disagree; give one of them")
        if seed is not None and fields.setdefault("seeds", seed) != seed:
            raise UsageError("seed, seeds: disagree; give one of them")
        return fields

    def check(self) -> None:
        """Raises a UsageError if a value cannot be right."""
        super().check()
        check_method(self.method)
        check_told(self.transform)
        if not self.prompts:
            raise UsageError("prompts: expected one at least, got none")
        for prompt in self.prompts:
            if not isinstance(prompt, str):
                raise UsageError(f"prompts: expected texts, got {prompt!r}")
            if prompt or not (self.content or self.foreign):
                clean(prompt)
        if strange := [name for name in self.content if name not in GIVEN]:
            raise unknown("content", str(strange[0]), GIVEN)
        for name, told in self.content.items():
            if not (isinstance(told, Mapping) and isinstance(told.get("file"), str)):
                raise UsageError(f"content: expected file and sha256 of {name}, got {told!r}")
        if self.mix and not (self.content or mixing.places(self.mix)):
            raise UsageError("mix: is for content; leave it out")
        mixing.chosen([*self.content, "text"], self.mix)
        if not self.chosen:
            raise UsageError("seeds: expected one at least, got none")

    @property
    def chosen(self) -> Sequence[int]:
        """The seeds; a range stays one."""
        seeds = self.seeds
        if isinstance(seeds, str):
            try:
                return Seeds().convert(seeds, None, None)
            except click.BadParameter as error:
                raise UsageError(f"seeds: {error.message}") from None
        listed = [seeds] if isinstance(seeds, int) else seeds
        good = isinstance(listed, list) and all(type(seed) is int for seed in listed)
        if not good or not all(0 <= seed <= MAX_SEED for seed in listed):
            raise UsageError(f"seeds: expected 7, [1, 5] or 0-7 up to {MAX_SEED}, got {seeds!r}")
        return listed

    @property
    def foreign(self) -> bool:
        """Whether a generator from a file drew it, which needs no words."""
        from tedi.zoo import ZOO

        own = {name for name, entry in ZOO.items() if entry.kind == "generator"}
        return bool(self.weights) and own.isdisjoint(self.weights)

    def names(self) -> tuple[Sequence[str], Sequence[int]]:
        """Prompts and seeds of what is written; a sheet is one picture."""
        end = 1 if self.grid else None
        named = " ".join(self.content) or "face"
        prompts = [prompt or named for prompt in self.prompts[:end]]
        return [clean(prompt) for prompt in prompts], self.chosen[:end]

    def given(self, model: "Toolkit") -> "Content | None":
        """What is given beside words, from its codes or else its files."""
        from tedi import zoo

        if self.codes or (self.mix and not self.content):
            return model.contents.restored(asdict(self))
        if not self.content:
            return None
        files = {name: Path(told["file"]) for name, told in self.content.items()}
        drawn = {name for name in files if name != "photo"}
        variety = self.variety if drawn else None
        given = Given(**files, mix=self.mix or None, variety=variety)
        given.check()
        for name, told in self.content.items():
            if told.get("sha256", sha := zoo.sha256(files[name])) != sha:
                raise TediError(f"{files[name]}: another {name} than the recipe's, by its sha256")
        return given.load(model, text=any(self.prompts))

    def redo(
        self,
        model: "Toolkit",
        paths: Iterator[Path],
        tell: Tell,
        *,
        photo: Path | None,
        exist: Exist,
    ) -> None:
        """Make and write the pictures again; see `Recipe.redo`."""
        from tedi.cli.generate import Run

        place(model, self.transform)
        drawing = {name: getattr(self, name) for name in DRAWING} | {"anyway": self.made}
        if content := self.given(model):
            drawing["content"] = content
        run = Run(
            [prompt and clean(prompt) for prompt in self.prompts],
            self.chosen,
            drawing,
            overwrite=exist == "overwrite",
            as_json=False,
            resume=False,
            compiled=self.compiled,
            tell=tell,
        )
        run.named_seeds(self.grid)
        return run.write_sheet(model, next(paths)) if self.grid else run.write(model, paths)


DRAWING = ("psi", "strength", "method", "preview", "batch_size")
"""Fields that are arguments of `Toolkit.stream`."""
CONTENT = ("content", "mix", "variety", "codes")
"""Fields of what is given beside words."""
GIVEN = ("sketch", "label", "photo")


def seeds_told(seeds: Sequence[int]) -> int | str | list[int]:
    """Seeds as a recipe tells them.

    >>> seeds_told(range(8)), seeds_told([1, 5]), seeds_told([3])
    ('0-7', [1, 5], 3)
    """
    if len(seeds) == 1:
        return seeds[0]
    if isinstance(seeds, range):
        return f"{seeds[0]}-{seeds[-1]}"
    return list(seeds)


# --- a face and edits ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Drawn(Recipe):
    """A picture of one code, drawn of it again whatever the code was made of.

    Attributes:
        start: see `tedi.cli.faces`.
        edits: since, each a text, a strength and a method.
        photo_weights: name -> sha256 of networks that read or masked a photo.
    """

    start: dict[str, Any]
    edits: tuple[Any, ...] = ()
    photo_weights: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises a UsageError if a value cannot be right."""
        super().check()
        _check_start(self.start)
        _steps(self.edits, "edits")

    def names(self) -> tuple[Sequence[str], Sequence[int]]:
        """What is asked, and the seed there was."""
        words = [self.start.get("prompt"), *(edit["text"] for edit in self.edits)]
        return [" ".join(filter(None, words)) or self.command], [self.start.get("seed", 0)]

    def redo(
        self,
        model: "Toolkit",
        paths: Iterator[Path],
        tell: Tell,
        *,
        photo: Path | None,
        exist: Exist,
    ) -> None:
        """Draw the code again; see `Recipe.redo`."""
        import torch

        from tedi.cli.faces import Source, apply, begin
        from tedi.images import save

        path = next(paths)
        with torch.no_grad():
            ws, _ = begin(model, Source(path.stem, self.start, file=path))
            for step in _steps(self.edits, "edits"):
                ws = apply(model, ws, step, anyway=self.made)
            picture = self.picture(model, ws, photo)
        record = self.record(model)
        save(picture, path, record, exist=exist)
        tell(path, record, [])

    def picture(self, model: "Toolkit", ws: "Tensor", photo: Path | None) -> "Image":
        """What shows the code (1, L, C): here its drawing, elsewhere a photo it is put into."""
        return model.pictures(ws, preview=self.preview)[0]

    def record(self, model: "Toolkit") -> dict[str, Any]:
        """The record of the picture made again."""
        made = model.record_of("", 0, preview=self.preview)
        own = {name: value for name, value in self.told().items() if name not in COMMON}
        photos = own.pop("photo_weights", None)
        code = {"start": own.pop("start"), "edits": own.pop("edits", [])}
        last = {name: made[name] for name in ("preview", "dtype", "version", "weights")}
        further = {"photo_weights": photos} if photos else {}
        return {"command": self.command, **own, **code, **last, **further}


@dataclass(frozen=True, kw_only=True)
class Combined(Drawn):
    """A face made of several.

    Attributes:
        faces: what it was made of.
    """

    faces: tuple[Any, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Morph(Combined):
    """One face of a morph.

    Attributes:
        share: how far it is on the way.
    """

    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Mix(Combined):
    """A mixture of two faces.

    Attributes:
        layers: those of the second.
    """

    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placed:
    """How a face was put back into a photo.

    Attributes:
        file: name of the picture that it was put into.
        sha256: of that file.
        before: edits that this picture shows already.
        regions: parts that may change; none for all.
        detail: share of the photo's own detail, 0 to 1.
        crop: the aligned face alone was written.
    """

    file: str
    sha256: str
    before: tuple[Any, ...]
    regions: tuple[str, ...]
    detail: float
    crop: bool


@dataclass(frozen=True, kw_only=True)
class Put(Drawn):
    """A face that may have been put back into a photo.

    Attributes:
        placed: for a photo, how the face was put back, see `Placed`.
    """

    placed: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raises a UsageError if a value cannot be right."""
        super().check()
        if "alignment" in self.start and not self.placed:
            raise UsageError(
                "placed: is missing, so that nobody knows which photo it was; make it anew"
            )
        if self.placed:
            self._settings()
            if "alignment" not in self.start:  # a code that --onto put into its photo
                raise UsageError(
                    f"start: tells no place in the photo; make it again by tedi {self.command}"
                )

    @property
    def photo(self) -> Mapping[str, Any] | None:
        """The photo that the face was put into."""
        return self.placed or None

    def check_weights(self, here: Mapping[str, str], where: str) -> None:
        """Raises a TediError if another network than the one here chose the regions of a photo."""
        from tedi import zoo
        from tedi.pipeline.photos import PARSER

        super().check_weights(here, where)
        sha = self.photo_weights.get(PARSER) if self.placed else None  # others read what is known
        if sha and (found := zoo.sha256(zoo.pull(PARSER))) != sha:
            raise TediError(
                f"{where}: made with other weights ({PARSER}: {sha[:8]}, here {found[:8]}); "
                "pass --anyway to go on"
            )

    def _settings(self) -> Any:
        """How the photo is put together."""
        from tedi.cli.photos import PhotoSettings, regions_of

        if not self.placed:
            return PhotoSettings()
        placed = build(Placed, self.placed, where="placed")
        _steps(placed.before, "placed")
        regions = regions_of(",".join(map(str, placed.regions)) or None)
        if not 0 <= placed.detail <= 1:
            raise UsageError(f"placed: detail: expected 0 to 1, got {placed.detail}")
        return PhotoSettings(regions=regions, detail=placed.detail, crop=placed.crop)


@dataclass(frozen=True, kw_only=True)
class Edit(Put):
    """A face changed by texts.

    Attributes:
        strip: labels of a row of pictures; none for a single one.
        columns: for a strip, the edits of each label's picture.
    """

    strip: tuple[str, ...] = ()
    columns: tuple[Any, ...] = ()

    @classmethod
    def settings(cls, told: Mapping[str, Any]) -> dict[str, Any]:
        """A record tells all texts in a prompt, too, which follows from the rest."""
        return {name: value for name, value in told.items() if name != "prompt"}

    def check(self) -> None:
        """Raises a UsageError if a value cannot be right."""
        super().check()
        if len(self.columns) != len(self.strip):
            raise UsageError("columns: expected the edits of each picture of the strip")
        for edits in self.columns:
            _steps(edits, "columns")
        if self.columns and list(self.columns[-1]) != list(self.edits):
            raise UsageError("columns, edits: the last picture of a strip has other edits")

    def redo(
        self,
        model: "Toolkit",
        paths: Iterator[Path],
        tell: Tell,
        *,
        photo: Path | None,
        exist: Exist,
    ) -> None:
        """Make and write the picture again; see `Recipe.redo`."""
        from tedi.cli.edit import Plan
        from tedi.cli.faces import Source

        edits = _steps(self.edits, "edits")
        columns = [_steps(column, "columns") for column in self.columns]
        before = columns[0] if columns else edits
        if self.placed:
            before = _steps(self.placed["before"], "placed")
        path = next(paths)
        plan = Plan(
            Source(path.stem, self.start, before, photo or path),
            () if columns else edits,
            list(zip(self.strip[1:], columns[1:], strict=True)) or [("", ())],
            strip=bool(columns),
            preview=self.preview,
            anyway=self.made,
            settings=self._settings(),
        )
        tell(path, plan.write(model, path, None, exist=exist), [])


@dataclass(frozen=True, kw_only=True)
class Diffuse(Put, Combined):  # of the two, Combined's fields come first, as in records
    """A region of one face grown into another.

    Attributes:
        context: for a photo, the code of the face that it showed, as `tedi.latents.pack` gives it.
        region: parts of the first that were taken.
        options: of the optimisation.
        steps: that it took.
    """

    context: str = ""
    region: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    steps: int = 0

    def check(self) -> None:
        """Raises a UsageError if a value cannot be right."""
        super().check()
        if bool(self.placed) != bool(self.context):
            raise UsageError("placed, context: a face in a photo needs both, another neither")

    def picture(self, model: "Toolkit", ws: "Tensor", photo: Path | None) -> "Image":
        """The drawing, in the photo if it was put into one."""
        from tedi.cli.faces import Source, begin
        from tedi.cli.photos import open_photos, put_together

        if photo is None:
            return super().picture(model, ws, photo)
        source = Source(photo.stem, self.start, file=photo)
        first, _ = begin(model, replace(source, start={"made": "diffuse", "ws": self.context}))
        before, after = (model.pictures(code, preview=self.preview) for code in (first, ws))
        settings = self._settings()
        return put_together(model, open_photos(model, source, settings), before, after, settings)


def placed_told(
    file: Path, before: "Sequence[Step]", regions: Sequence[str], *, detail: float, crop: bool
) -> dict[str, Any]:
    """What the record of an edited photo says of how the face was put back, as `Placed`.

    Args:
        file: the picture that it was put into.
        before: the edits that this picture shows already.
        regions: parts that may change.
        detail: share of the photo's own detail.
        crop: the aligned face alone.
    """
    from tedi import zoo

    steps = tuple(asdict(step) for step in before)
    placed = Placed(file.name, zoo.sha256(file), steps, tuple(regions), detail, crop)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(placed).items()}


def _check_start(start: Mapping[str, Any]) -> None:
    from tedi.cli.faces import _start

    if "faces" in start:
        raise UsageError("start: several faces of one photo; tedi run makes pictures of one again")
    if "generator" in start:
        raise UsageError("start: has a generator of its own; only tedi edit draws by it")
    try:
        known = _start(start)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"start: expected seed and psi, a prompt, or ws ({error!r})") from error
    for name in start:
        if name not in known:
            raise UsageError(f"start: {unknown('setting', str(name), known)}")


def _steps(told: Any, where: str) -> "tuple[Step, ...]":
    """Edits, each with the keys of a `Step` and no other."""
    from tedi.cli.faces import Step

    if not isinstance(told, list | tuple):
        raise UsageError(f"{where}: expected a list of edits, got {str(told)[:40]!r}")
    steps = tuple(
        build(Step, {"method": "default"} | dict(_mapping(one, where)), where=where) for one in told
    )
    for step in steps:
        check_method(step.method)
        clean(step.text)
        least, most = limits(step.method)
        if not least <= step.strength <= most:
            got = f"expected {least:g} to {most:g}, got {step.strength}"
            raise UsageError(f"{where}: strength: {got}")
    return steps


def _mapping(told: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(told, Mapping):
        raise UsageError(f"{where}: expected text, strength and method, got {str(told)[:40]!r}")
    return told
