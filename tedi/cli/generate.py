"""`tedi generate`: prompts in, pictures out."""

import json
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi import recipe as recipes
from tedi.cli.given import Given, given_options
from tedi.cli.hearing import Listener, explain
from tedi.cli.options import (
    MAX_SEED,
    Bars,
    Seeds,
    batch_size_option,
    check_codes,
    device_option,
    dtype_option,
    models_of,
    models_option,
)
from tedi.cli.recipes import CONTENT, DRAWING, Generate, check_recipe, recipe_option, seeds_told
from tedi.cli.transform import place, transform_option
from tedi.editing import EDITS
from tedi.errors import TediError, UsageError
from tedi.outputs import Exist, output_paths, slug
from tedi.prompts import STRENGTH, clean
from tedi.recipe import Tell

if TYPE_CHECKING:
    from PIL.Image import Image

    from tedi.pipeline import Toolkit

MAX_CELLS, CELL = 2000, 256


@click.command()
@click.argument("text", required=False)
@click.option("--text", "words", metavar="TEXT", help="The prompt, if it is no argument.")
@given_options
@click.option(
    "-n", "count", type=click.IntRange(1, MAX_SEED + 1), help="Pictures a prompt.  [default: 1]"
)
@click.option(
    "--seed", "seeds", type=Seeds(), help="One seed a picture: 7, 0-7 or 1,5,9.  [default: 0]"
)
@click.option(
    "--psi",
    type=click.FloatRange(0, 2),
    default=0.7,
    show_default=True,
    help="Variety of what the prompt leaves open: 0 none, 1 all.",
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 10),
    default=STRENGTH,
    show_default=True,
    help="0 ignores the prompt, 1 shows what it names, more exaggerates.",
)
@click.option(
    "--method",
    type=click.Choice(list(EDITS)),
    default="default",
    show_default=True,
    help="How a prompt becomes a code.",
)
@click.option("--anyway", is_flag=True, help="Draw prompts of which nothing is understood, too.")
@click.option(
    "--out",
    help="A file, a folder, or a pattern with {prompt}, {seed}, {index}; by suffix .png, .jpg or "
    ".webp.  [default: PROMPT-seedN.png here]",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
@click.option("--grid", is_flag=True, help="One contact sheet instead of single pictures.")
@click.option("--preview", is_flag=True, help="256 px, several times as fast.")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    help="A file with one prompt a line; pictures already made are skipped, so that a stopped "
    "run goes on.",
)
@batch_size_option
@models_option
@transform_option
@device_option
@dtype_option
@click.option("--compile", "compiled", is_flag=True, help="Compile drawing: slow once, then fast.")
@recipe_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line a picture, not its path.")
@click.option("--dry-run", is_flag=True, help="Print what would be made; make nothing.")
@click.option(
    "--explain", "explained", is_flag=True, help="Print how prompts are read; make nothing."
)
def generate(
    text: str | None,
    words: str | None,
    sketch: Path | None,
    label: Path | None,
    photo: Path | None,
    mix: str | None,
    variety: float | None,
    count: int | None,
    seeds: Sequence[int] | None,
    psi: float,
    strength: float,
    method: str,
    anyway: bool,
    out: str | None,
    overwrite: bool,
    grid: bool,
    preview: bool,
    prompts: Path | None,
    batch_size: int,
    generator: Path | None,
    encoder: Path | None,
    transform: tuple[float, float, float] | None,
    device: str,
    dtype: str,
    compiled: bool,
    recipe: Path | None,
    as_json: bool,
    dry_run: bool,
    explained: bool,
) -> None:
    """Faces that fit TEXT, a sketch, a label map or a photo, at 1024 px.

    \b
    tedi generate "a smiling woman with bangs"
    tedi generate "a child in a hat" -n 8 --grid --out child.png
    tedi generate "an old man" --seed 40-47 --out "men/{seed:03d}.jpg"
    tedi generate --prompts prompts.txt --seed 0-3 --out faces/
    tedi generate "a redhead" -n 4 --recipe redheads.yaml
    tedi generate "a smiling woman" --sketch face.png -n 4
    tedi generate --label map.png --text "red hair" --mix text=fine
    tedi generate --generator ffhq.pkl --seed 0-7 --grid --out seeds.png
    tedi generate --generator stylegan3-r.pkl --transform 15,0.1,-0.05

    Paths go to stdout; progress, and words that cannot be drawn, to stderr.
    """  # noqa: D301
    given = Given(sketch, label, photo, mix, variety)
    chosen = _seeds(seeds, count)
    given.check(len(chosen))
    models = models_of(generator, encoder)
    own = next((slug(path.stem) for path in models.values()), "")  # draws seeds without words
    lines = _texts(_one(text, words), prompts, given.name or own)
    texts = list(lines.values())
    drawing = {"psi": psi, "strength": strength, "method": method}
    drawing |= {"preview": preview, "batch_size": batch_size, "anyway": anyway}
    run = Run(
        texts,
        chosen,
        drawing,
        overwrite=overwrite,
        as_json=as_json,
        resume=bool(prompts),
        compiled=compiled,
        given=given,
    )
    out = _out(out, prompts=prompts, grid=grid)
    check_recipe(recipe, overwrite=overwrite or bool(prompts))  # a run that goes on has written it
    # Names are checked before anything is loaded; a grid is one picture.
    names = [text or given.name or own for text in texts]
    paths = output_paths(out, prompts=names[:1] if grid else names, seeds=run.named_seeds(grid))
    first = next(paths)
    paths = chain([first], paths)
    if grid:
        run.check_sheet(first)
    if dry_run:
        return run.show(paths)
    model = _load(**models, device=device, dtype=dtype, compiled=compiled)
    place(model, transform)
    if explained:
        return explain(model.text, texts, as_json=as_json)
    if content := given.load(model, text=any(texts)):
        check_codes(first, len(content.codes), " and ".join(content.codes))
        drawing["content"] = content
    if prompts and not anyway:
        _check_understood(model, lines, prompts)
    told = run.recipe(model, grid=grid, device=device, suffix=first.suffix.lower())
    if recipe and prompts and not overwrite:
        _check_goes_on(told, recipe)
    run.write_sheet(model, first) if grid else run.write(model, paths)
    if recipe:
        recipes.write(told, recipe, exist="overwrite" if prompts else run.exist)


@dataclass(frozen=True)
class Run:
    """What to make, and how to tell of it."""

    texts: Sequence[str]
    seeds: Sequence[int]
    drawing: dict[str, Any]  # arguments of `Toolkit.stream`
    overwrite: bool
    as_json: bool
    resume: bool  # skip pictures that are there and were made just so
    compiled: bool = False  # the model draws through torch.compile
    tell: Tell | None = None  # told of each picture; by default it is printed
    given: Given = field(default_factory=Given)  # beside words

    @property
    def total(self) -> int:
        """Pictures in all."""
        return len(self.texts) * len(self.seeds)

    @property
    def exist(self) -> Exist:
        """What to do about a file that is there."""
        return "overwrite" if self.overwrite else "error"

    def named_seeds(self, grid: bool) -> Sequence[int]:
        """Seeds that need a name each.

        Raises:
            UsageError: a grid too large for one picture.
        """
        if grid and self.total > MAX_CELLS:
            raise UsageError(f"--grid: {self.total} pictures, at most {MAX_CELLS} fit; lower -n")
        return self.seeds[:1] if grid else self.seeds

    def pairs(self) -> Iterator[tuple[str, int]]:
        """(prompt, seed) of each picture, made one at a time."""
        return ((text, seed) for text in self.texts for seed in self.seeds)

    def show(self, paths: Iterator[Path]) -> None:
        """Print what would be written, and how what is given is mixed."""
        more = self.given.told(text=any(self.texts))
        if more and not self.as_json:
            click.echo(f"mix: {more['mix']}, variety {more['variety']:g}", err=True)
        for (prompt, seed), path in zip(self.pairs(), paths, strict=False):
            plan = {"path": str(path), "prompt": prompt, "seed": seed, **more, **self.drawing}
            click.echo(json.dumps(plan) if self.as_json else path)

    def write(self, model: "Toolkit", paths: Iterator[Path]) -> None:
        """Draw and save one picture at a time."""
        waiting: deque[tuple[Path, list[str]]] = deque()
        with _bar(self.total) as bar:
            for face in model.stream(self._missing(model, paths, waiting, bar), **self.drawing):
                path, unheard = waiting.popleft()
                face = replace(face, record=self._record(face.record))
                face.save(path, exist=self.exist)
                self._tell(path, face.record, unheard)
                bar.update()

    def _missing(
        self,
        model: "Toolkit",
        paths: Iterator[Path],
        waiting: "deque[tuple[Path, list[str]]]",
        bar: Any,
    ) -> Iterator[tuple[str, int]]:
        """Pairs that have no picture yet; their paths and what is unheard go into `waiting`."""
        from tedi.images import read_provenance

        listen = self._listener(model)
        for (prompt, seed), path in zip(self.pairs(), paths, strict=True):
            if path.exists() and not self.overwrite:
                if not self.resume:
                    raise _exists(path)
                record = self._record(model.record_of(prompt, seed, **self.drawing))
                if read_provenance(path) != record:
                    way = "--overwrite or another --out"
                    raise TediError(f"{path}: exists and is another picture; pass {way}")
                self._tell(path, record, listen(prompt) if self.as_json else [])
                bar.update()
                continue
            waiting.append((path, listen(prompt)))
            yield prompt, seed

    def _listener(self, model: "Toolkit") -> Callable[[str], list[str]]:
        """Tells what of prompts is not drawn; where there are none, nothing."""
        if not any(self.texts):
            return lambda _: []
        return Listener(model.text, anyway=self.drawing.get("anyway", False))

    def check_sheet(self, path: Path) -> None:
        """Raises a UsageError if the format of a file cannot hold all pictures in one sheet."""
        from tedi.images import check_sheet

        rows, labels = _rows([None] * self.total, self.texts, self.seeds)
        check_sheet(path, len(rows), max(map(len, rows)), labels=labels, cell=CELL)

    def write_sheet(self, model: "Toolkit", path: Path) -> None:
        """Draw all pictures into one contact sheet: a row a prompt, a column a seed."""
        from tedi.images import contact_sheet, save

        self.check_sheet(path)
        if path.exists() and not self.overwrite:
            raise _exists(path)
        record: dict[str, Any] = {}
        pictures = []
        listen = self._listener(model)
        unheard = list(dict.fromkeys(phrase for text in self.texts for phrase in listen(text)))
        with _bar(self.total) as bar:
            for face in model.stream(self.pairs(), **self.drawing):
                pictures.append(face.picture.resize((CELL, CELL), reducing_gap=3.0))
                record = record or self._record(face.record)
                bar.update()
        rows, labels = _rows(pictures, self.texts, self.seeds)
        sheet = contact_sheet(rows, labels=labels, cell=CELL)
        record |= {"prompt": "; ".join(self.texts), "seed": None, "seeds": list(self.seeds)}
        record |= {"prompts": list(self.texts), "grid": True}
        save(sheet, path, record, exist=self.exist)
        self._tell(path, record, unheard)

    def recipe(self, model: "Toolkit", *, grid: bool, device: str, suffix: str) -> Generate:
        """How to make all of it again."""
        made = model.record_of(self.texts[0], self.seeds[0], **self.drawing)
        return Generate(
            command="generate",
            prompts=tuple(self.texts),
            seeds=seeds_told(self.seeds),
            grid=grid,
            **{name: self.drawing[name] for name in DRAWING},
            **{name: made[name] for name in CONTENT if name in made},
            compiled=self.compiled,
            **{name: made[name] for name in ("dtype", "version", "weights")},
            transform=tuple(made.get("transform", ())),
            device=device,
            suffix=suffix,
        )

    def _record(self, record: dict[str, Any]) -> dict[str, Any]:
        """What a picture's record tells, and whether compiled code drew it, whose bits differ."""
        return {**record, "compiled": True} if self.compiled else record

    def _tell(self, path: Path, record: dict[str, Any], unheard: list[str]) -> None:
        if self.tell:
            return self.tell(path, record, unheard)
        told = {"path": str(path), **record, "unheard": unheard}
        click.echo(json.dumps(told) if self.as_json else path)


def _exists(path: Path) -> TediError:
    return TediError(f"{path}: already exists; pass --overwrite to replace it")


def _rows(
    pictures: Sequence["Image | None"], texts: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Sequence["Image | None"]], list[str]]:
    """Rows and labels of a sheet: by prompt, or for a single prompt in a near-square."""
    columns = len(seeds) if len(texts) > 1 else math.ceil(math.sqrt(len(seeds)))
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    return rows, list(texts) if len(texts) > 1 else [texts[0], *[""] * (len(rows) - 1)]


def _one(text: str | None, words: str | None) -> str | None:
    """The prompt, given in either of two ways.

    Raises:
        UsageError: in both.
    """
    if text is not None and words is not None:
        raise UsageError("--text: the prompt is given twice; leave one out")
    return words if text is None else text


def _texts(text: str | None, prompts: Path | None, wordless: str) -> dict[int, str]:
    """The prompts by line of their file, each checked before anything is loaded or made.

    Args:
        text: of the command line.
        prompts: a file of them.
        wordless: name of what there is to draw without words; "" if nothing.
    """
    if text is None and prompts is None and wordless:
        return {1: ""}
    if (text is None) == (prompts is None):
        raise UsageError('give a prompt, as in: tedi generate "a smiling woman", or --prompts FILE')
    if prompts is None:
        return {1: clean(str(text))}
    try:
        lines = prompts.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TediError(f"--prompts: {prompts} cannot be read as UTF-8 text ({error})") from error
    texts = {}
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            try:
                texts[number] = clean(line)
            except UsageError as error:
                raise UsageError(f"{prompts}, line {number}: {error}") from error
    if not texts:
        raise UsageError(f"--prompts: {prompts} holds no prompt")
    return texts


def _check_understood(model: "Toolkit", lines: Mapping[int, str], prompts: Path) -> None:
    """Raises a UsageError that names the first line of which nothing can be drawn."""
    from tedi.pipeline import says_something

    understood: dict[str, bool] = {}
    for number, text in lines.items():
        if text not in understood:
            understood[text] = says_something(model.text.read([text]))
        if not understood[text]:
            raise UsageError(
                f"{prompts}, line {number}: nothing of {text!r} is about a face that can be drawn; "
                "name what it shows, such as age, hair or smile, or pass --anyway"
            )


def _check_goes_on(told: Generate, path: Path) -> None:
    """Raises a TediError if a recipe is there of another run than this one with other pictures."""
    if not path.exists():
        return
    try:
        there = recipes.read(path).told()
    except TediError:
        raise _exists(path) from None
    pictures = {"prompts": told.prompts, "seeds": told.seeds}
    if there | pictures != told.told() | pictures:
        raise _exists(path)


def _seeds(seeds: Sequence[int] | None, count: int | None) -> Sequence[int]:
    """Seeds of a prompt's pictures: as given, or `count` of them from the one given."""
    if seeds is None:
        return range(count or 1)
    if count is None or count == len(seeds):
        return seeds
    if len(seeds) > 1:
        raise UsageError(
            f"-n {count} and --seed with {len(seeds)} seeds disagree; give one of them"
        )
    if seeds[0] + count - 1 > MAX_SEED:
        raise UsageError(f"-n {count} from --seed {seeds[0]}: seeds end at {MAX_SEED}; lower one")
    return range(seeds[0], seeds[0] + count)


def _out(out: str | None, *, prompts: Path | None, grid: bool) -> str | None:
    """Where to write; a run that can be resumed needs names that depend on nothing but itself."""
    if prompts is None or grid:
        return out
    folder = out and (out.endswith(("/", os.sep)) or os.path.isdir(out))
    if out and not folder and ("{" in Path(out).name or Path(out).suffix):
        return out
    return os.path.join(out or prompts.stem, "{prompt}-seed{seed}.png")


def _bar(total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="picture", disable=None if total > 1 else True)


def _load(**options: Any) -> "Toolkit":
    """The toolkit, with bars for downloads and PyTorch's compile cache kept between runs."""
    from tedi import zoo

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(zoo.home() / "compiled"))
    from tedi.pipeline import load

    bars = Bars()
    try:
        return load(progress=bars, **options)
    finally:
        bars.close()
