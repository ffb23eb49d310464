"""`--quality` and `--budget`: how photos become codes, chosen by what it comes to and takes."""

import re
import sys
from collections.abc import Callable

import click
from click.core import ParameterSource

from tedi.cli.options import together
from tedi.errors import UsageError
from tedi.inversion.programs import PROGRAMS

MAX_BUDGET = 24 * 3600.0  # seconds
UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


class Budget(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`5s`, `2m`, `1.5min`, or seconds.

    >>> Budget().convert("1.5min", None, None)
    90.0
    """

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        number = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?([a-z]*)", str(value).strip().lower())
        if number is None or number[2] not in UNITS:
            self.fail(f"expected a time such as 5s, 2m or 1.5min, got {str(value)[:40]!r}")
        seconds = float(number[1]) * UNITS[number[2]]
        if not 0 < seconds <= MAX_BUDGET:
            self.fail(f"expected more than 0s and at most 24h, got {str(value)[:40]!r}")
        return seconds


plan_options = together(
    click.option(
        "--quality",
        type=click.Choice(list(PROGRAMS)),
        help="Choose the inversion by what it comes to: fast is the encoder, and its looks, "
        "good surely the same person, best as near as can be.  [default: best, with --budget]",
    ),
    click.option(
        "--budget",
        type=Budget(),
        help="Choose it by time, as in 5s or 2m a face, once all is loaded.",
    ),
)
"""What chooses how photos become codes."""


def check_plan(quality: str | None, budget: float | None, *options: str) -> None:
    """Raises a UsageError if what a plan chooses is given, too.

    Args:
        quality: of `--quality`.
        budget: of `--budget`.
        options: parameters of the command that a plan chooses.
    """
    if quality is None and budget is None:
        return
    context = click.get_current_context()
    flags = {param.name: param.opts[0] for param in context.command.params}
    for name in options:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            asked = "--quality" if quality else "--budget"
            raise UsageError(f"{asked}: chooses the method and its steps; leave out {flags[name]}")


def teller(prefix: str = "") -> Callable[[str], None]:
    """Writes lines of a plan on stderr, above the bars that there are."""
    from tqdm import tqdm

    return lambda line: tqdm.write(f"{prefix}{line}", file=sys.stderr)
