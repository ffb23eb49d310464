"""Recipes: all that shaped a picture, to make it again bit for bit on one machine and build.

A picture carries its recipe as the record that `tedi.images.save` writes; `--recipe` writes the
same keys as YAML or JSON, for a run of several pictures, too. A command's recipe is a dataclass,
a line of `RECIPES`: its fields are the keys that there may be, and `redo` is how it is made again.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from tedi.config import build
from tedi.errors import TediError, UsageError
from tedi.outputs import Exist, picture_format, write_atomically
from tedi.registry import Table, unknown

RECIPES = Table(
    "command of a recipe",
    {
        "generate": "tedi.cli.recipes:Generate",
        "edit": "tedi.cli.recipes:Edit",
        "draw": "tedi.cli.draw:Draw",
        "morph": "tedi.cli.recipes:Morph",
        "mix": "tedi.cli.recipes:Mix",
        "diffuse": "tedi.cli.recipes:Diffuse",
    },
)
SUFFIXES = (".yaml", ".yml", ".json")
DTYPES = ("float32", "bfloat16")
PREVIEW_HEAD = "mobilestylegan-ffhq-preview"
"""Weights that matter to previews only."""
Tell = Callable[[Path, Mapping[str, Any], Sequence[str]], None]
"""Told of each picture: where it is, its record, and the phrases of its text not drawn."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What all recipes tell.

    Attributes:
        command: that makes the picture, a name of `RECIPES`.
        preview: 256 px instead of 1024 px.
        dtype: number format of drawing.
        device: drawn on; "auto" for CUDA where there is one.
        version: of tedi.
        weights: name -> sha256 of those that were used; none for a recipe written by hand.
        suffix: of the picture file.
    """

    command: str
    preview: bool = False
    dtype: str = "float32"
    device: str = "auto"
    version: str = ""
    weights: dict[str, str] = field(default_factory=dict)
    suffix: str = ".png"

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """Least and most of fields that are numbers."""

    @classmethod
    def of(cls, told: Mapping[str, Any], where: str) -> "Recipe":
        """The recipe of a mapping, such as a record, in which nothing else may be.

        Raises:
            UsageError: an unknown key, another type, a value out of range.
        """
        with _said_of(where):
            settings = cls.settings(told)
        recipe = build(cls, settings, where=where)
        with _said_of(where):
            recipe.check()
        return recipe

    @classmethod
    def settings(cls, told: Mapping[str, Any]) -> dict[str, Any]:
        """Fields as a record tells them, which may have other names for them."""
        return dict(told)

    def check(self) -> None:
        """Raises a UsageError if a value cannot be right."""
        if self.dtype not in DTYPES:
            raise unknown("dtype", self.dtype, DTYPES)
        picture_format(f"face{self.suffix}")
        if not all(isinstance(text, str) for pair in self.weights.items() for text in pair):
            raise UsageError("weights: expected the sha256 of each name, as text")
        for name, (least, most) in self.LIMITS.items():
            if not least <= (value := getattr(self, name)) <= most:
                raise UsageError(f"{name}: expected {least:g} to {most:g}, got {value}")

    @property
    def made(self) -> bool:
        """Whether tedi made it before: what was made once is made again, understood or not."""
        return bool(self.weights)

    @property
    def photo(self) -> Mapping[str, Any] | None:
        """Name ("file") and "sha256" of the photo that is needed beside it; None for none."""
        return None

    def names(self) -> tuple[Sequence[str], Sequence[int]]:
        """Prompts and seeds of what is written, one picture for each pair."""
        return [self.command], [0]

    def redo(
        self, model: Any, paths: Iterator[Path], tell: Tell, *, photo: Path | None, exist: Exist
    ) -> None:
        """Make and write the pictures again.

        Args:
            model: a `tedi.pipeline.Toolkit`.
            paths: one for each pair of `names`.
            tell: told of each picture when it is written.
            photo: the file that `photo` asks for.
            exist: what to do about files that are there.
        """
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        """What a recipe file says; `recipe_of` gives the same recipe of it."""
        own = (field.name for field in fields(self) if field.name not in COMMON)
        values = {name: _plain(getattr(self, name)) for name in ("command", *own, *COMMON)}
        return {name: value for name, value in values.items() if value not in ("", [], {})}

    def check_weights(self, here: Mapping[str, str], where: str) -> None:
        """Raises a TediError if it was made with other weights than those here."""
        for name, sha in self.weights.items():
            if (name != PREVIEW_HEAD or self.preview) and here.get(name, "none") != sha:
                raise TediError(
                    f"{where}: made with other weights ({name}: {sha[:8]}, here "
                    f"{here.get(name, 'none')[:8]}), so that another picture would come out; "
                    "pass --anyway to go on"
                )


@contextmanager
def _said_of(where: str) -> Iterator[None]:
    """Errors say which file they are about."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


COMMON = tuple(field.name for field in fields(Recipe))


def recipe_of(told: Any, where: str) -> Recipe:
    """The recipe of a record, or of what a recipe file holds.

    Raises:
        UsageError: no mapping, an unknown command or key, or a value that cannot be right.
    """
    if not isinstance(told, Mapping):
        raise UsageError(f"{where}: expected settings by name, got {str(told)[:40]!r}")
    command = told.get("command")
    if command not in tuple(RECIPES):
        if "command" not in told:
            raise UsageError(f"{where}: setting 'command' is missing; add one as generate")
        raise UsageError(f"{where}: {unknown(RECIPES.kind, str(command), RECIPES)}")
    recipe: Recipe = RECIPES[command].of(told, where)
    return recipe


def read(path: str | os.PathLike[str]) -> Recipe:
    """The recipe in a picture, or in a YAML or JSON file.

    Raises:
        UsageError: see `recipe_of`.
        TediError: no such file, a picture without a record, or no YAML or JSON.
    """
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return recipe_of(_parsed(path), str(path))
    from tedi.images import read_provenance

    record = read_provenance(path)
    if record is None:
        raise TediError(f"{path}: holds no recipe; name a picture tedi made, or a .yaml or .json")
    return recipe_of(record | {"suffix": path.suffix.lower()}, str(path))


def text_of(told: Mapping[str, Any], suffix: str) -> str:
    """A recipe as the text of a file with this suffix."""
    if suffix.lower() == ".json":
        return json.dumps(dict(told), ensure_ascii=False, indent=1) + "\n"
    import yaml

    text: str = yaml.safe_dump(dict(told), sort_keys=False, allow_unicode=True, width=100)
    return text


def write(recipe: Recipe, path: Path, *, exist: Exist = "error") -> None:
    """Write a recipe file; one that is there already and says the same is left as it is.

    Raises:
        UsageError: another suffix than those of `SUFFIXES`.
        TediError: the file exists, or cannot be written.
    """
    check_file(path)
    text = text_of(recipe.told(), path.suffix)
    if not (path.is_file() and path.read_bytes() == text.encode()):
        write_atomically(path, lambda part: part.write_bytes(text.encode()), exist=exist)


def check_file(path: Path) -> None:
    """Raises a UsageError unless the name is one for a recipe."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--recipe: expected a name in {', '.join(SUFFIXES)}, got {path}")


def _parsed(path: Path) -> Any:
    """What a YAML or JSON file holds; plain values only, every key once."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_once)
        return yaml.load(text, _loader())
    except FileNotFoundError:
        raise TediError(f"{path}: no such file") from None
    except OSError as error:
        raise TediError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TediError(f"{path}: no recipe in YAML or JSON ({reason})") from error


def _once(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return dict(pairs)


def _loader() -> Any:
    """PyYAML's safe loader, which would let the last of two equal keys win."""
    import yaml

    loader_of_once: Any = type("Loader", (yaml.SafeLoader,), {})

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        return _once(loader.construct_pairs(node, deep=True))

    loader_of_once.add_constructor("tag:yaml.org,2002:map", mapping)
    return loader_of_once


def _plain(value: Any) -> Any:
    """Lists and dicts for tuples and mappings, and what they hold alike."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
