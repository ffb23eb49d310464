"""What several commands share: options, their types, and groups that import lazily."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import click

from tedi.errors import FaceError, TediError, UsageError
from tedi.inversion import INVERTERS
from tedi.outputs import picture_format
from tedi.registry import resolve, unknown

MAX_SEED = 2**32 - 1
"""Noise depends on a seed's lowest 32 bits."""
MAX_LISTED = 10**6
Command = TypeVar("Command", bound=Callable[..., Any])


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Options as one decorator, in this order in `--help`."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


generator_option = click.option(
    "--generator",
    type=click.Path(path_type=Path),
    help="A file that holds another generator, of any format of `tedi weights inspect`.",
)
models_option = together(
    generator_option,
    click.option(
        "--encoder",
        type=click.Path(path_type=Path),
        help="A file that holds another encoder of photos; it brings its own generator, if any. "
        "One of train/restyle.py looks again with tedi's own generator.",
    ),
)
"""Networks of one's own, for `models_of`."""


def models_of(generator: Path | None, encoder: Path | None) -> dict[str, Path]:
    """Those that are given, as `tedi.pipeline.load` takes them."""
    both = {"generator": generator, "encoder": encoder}
    return {name: path for name, path in both.items() if path is not None}


device_option = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."
)
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Number format of drawing; bfloat16 is faster and less exact.",
)
batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Pictures drawn at a time; pays on a GPU.",
)
full_option = click.option(
    "--preview/--full",
    default=True,
    show_default=True,
    help="256 px, or 1024 px averaged down to 256 px for the judge.",
)
split_option = click.option(
    "--split",
    type=click.Choice(["heldout", "train"]),
    help="Their wordings: never used in training, or the usual ones.  [default: heldout]",
)
choice_seed_option = click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), help="Of their choice.  [default: 0]"
)


class Which(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`largest`, `all`, or the number of a face, 1 for the largest.

    >>> Which().convert("2", None, None)
    2
    """

    name = "largest|all|K"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> "str | int":
        """As `tedi.faces.choose` takes it."""
        if value in ("largest", "all"):
            return str(value)
        if not (isinstance(value, str) and value.isdecimal() and 0 < int(value[:6]) < 10**5):
            self.fail(f"expected largest, all or a number from 1, got {str(value)[:40]!r}")
        return int(value)


which_option = click.option(
    "--face",
    "which",
    type=Which(),
    default="largest",
    show_default=True,
    help="Which faces of a photo.",
)


def _align_option(more: str) -> Callable[[Any], Any]:
    return click.option(
        "--align/--no-align",
        default=True,
        show_default=True,
        help=f"Find and align the face in a photo, or take a square photo as FFHQ's are{more}.",
    )


align_option = _align_option("")
lying_option = _align_option(
    "; with fspace, --quality or --budget others, too, or --face K: an upright square round the "
    "face, which stays turned"
)
inversion_option = click.option(
    "--inversion",
    type=click.Choice(list(INVERTERS)),
    default="encoder",
    show_default=True,
    help="How a photo becomes a code: at once, or by optimisation, slower and more alike.",
)
steps_option = click.option(
    "--steps",
    type=click.IntRange(1, 10_000),
    help="Of the optimisation; looks of restyle.  [default: the method's, or the encoder's own]",
)


def with_dtype(options: Any, inversion: str, dtype: str) -> Any:
    """Options of an inversion that works in a number format; None where it has none.

    Raises:
        UsageError: its steps know only float32.
    """
    if hasattr(options, "dtype"):
        return replace(options, dtype=dtype)
    if options is not None and dtype != "float32":
        raise UsageError(f"--dtype {dtype}: {inversion} works in float32; leave it out")
    return options


def check_codes(path: str | PathLike[str], count: int, whose: str) -> None:
    """Raises what writing a picture whose record holds several codes would, before it is drawn.

    Args:
        path: of the picture; its suffix is the format.
        count: codes; one takes 44 KB, and all that a JPEG may tell is 65 KB.
        whose: codes they are.

    Raises:
        UsageError: more than one, for a JPEG.
    """
    if count > 1 and picture_format(path) == "JPEG":
        raise UsageError(f"--out: a JPEG cannot hold the codes of {whose}; name .png or .webp")


class TableGroup(click.Group):
    """Commands of a table, imported when asked for.

    Args:
        table: name -> (where the command is, its line in the list of commands).
        kind: what one is called in an error message.
        **settings: of `click.Group`.
    """

    def __init__(self, *, table: Mapping[str, tuple[str, str]], kind: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.table, self.kind = table, kind

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        """The command of a name.

        Raises:
            UsageError: there is none; the nearest one is suggested.
        """
        if name not in self.table:
            raise unknown(self.kind, name, self.table)
        command: click.Command = resolve(self.table[name][0])
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what is wrong with a face is told with the option that may help.

        Raises:
            TediError: what the command raises, with advice where the command has the option.
        """
        try:
            return super().invoke(ctx)
        except FaceError as error:
            command = self.get_command(ctx, str(ctx.invoked_subcommand))
            flags = [flag for each in command.params for flag in each.opts + each.secondary_opts]
            advised = f"{error}; {error.advice}" if error.option in flags else str(error)
            raise TediError(advised) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items()])


class Seeds(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`7`, `0-7`, `1,5,9` or a mixture; each picture has one seed.

    >>> list(Seeds().convert("0-2,7", None, None))
    [0, 1, 2, 7]
    """

    name = "seeds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> "range | list[int]":
        """The seeds in the order given; a single range is not unrolled."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        ranges = [self._range(part.strip(), value, param, ctx) for part in value.split(",")]
        if len(ranges) == 1:
            return ranges[0]
        if (total := sum(map(len, ranges))) > MAX_LISTED:
            self.fail(f"{total} seeds in a list, at most {MAX_LISTED}; give one range", param, ctx)
        return [seed for r in ranges for seed in r]

    def _range(
        self, part: str, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        first, dash, last = part.partition("-")
        ends = [first, last] if dash else [first]
        if not all(end.isdecimal() and len(end) <= len(str(MAX_SEED)) for end in ends):
            self.fail(f"expected 7, 0-7 or 1,5,9 up to {MAX_SEED}, got {value[:40]!r}", param, ctx)
        start, end = int(first), int(last if dash else first)
        if not start <= end <= MAX_SEED:
            self.fail(f"expected rising seeds up to {MAX_SEED}, got {part!r}", param, ctx)
        return range(start, end + 1)


class Bars:
    """A bar on stderr for what `tedi.zoo.pull` is doing; one at a time."""

    def __init__(self) -> None:
        self.label = ""
        self.bar: Any = None

    def __call__(self, label: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if label != self.label:
            self.close()
            shape = None if total else "{desc} …"
            self.bar = tqdm(
                desc=label, total=total, unit="B", unit_scale=True, bar_format=shape, disable=None
            )
            self.label = label
        if self.bar is not None:
            self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()
