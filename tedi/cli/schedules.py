"""`--preset` and `--set`: the settings of a method of inversion, and the options they come to."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import click

from tedi.cli.options import together, with_dtype
from tedi.errors import UsageError
from tedi.inversion import INVERTERS

FACES = "which pti and fspace have, many minutes a photo"


def _schedule_options(whose: str, paper: str, example: str) -> Callable[[Any], Any]:
    return together(
        click.option(
            "--preset",
            type=click.Choice(["fast", "published"]),
            help=f"Schedule of {whose}: tedi's own, or that of the paper, {paper} on a CPU.  "
            "[default: fast]",
        ),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="NAME=VALUE",
            help=f"Change any setting of {whose}; repeatable.  Example: {example}",
        ),
    )


method_schedule_options = _schedule_options("the method", FACES, "lr=0.01")
inversion_schedule_options = _schedule_options("the inversion", FACES, "lr=0.01")
tuning_schedule_options = _schedule_options("--tune", "many minutes a person", "steps=120")


def options_of(
    method: str,
    *,
    steps: int | None = None,
    finish: int | None = None,
    dtype: str = "float32",
    preset: str | None = None,
    changes: Sequence[str] = (),
    option: str = "--method",
) -> Any:
    """Options of a method; None for one that has none.

    Args:
        method: a name of `tedi.inversion.INVERTERS`.
        steps: on previews; None for the schedule's.
        finish: at full size; None for the schedule's.
        dtype: of the networks while a code is sought, where the method has a choice.
        preset: "published" for the paper's schedule; "fast" or None for tedi's own.
        changes: single settings as NAME=VALUE.
        option: that names the method, for messages.

    Raises:
        UsageError: the method has no such thing to set, or a value is none of its.
    """
    from tedi import config

    options: Any = _schedule(method, preset, option)
    numbers = {"steps": steps, "finish": finish}
    given = {name: value for name, value in numbers.items() if value is not None}
    if options is None:
        asked = [*given, *(["set"] if changes else [])]
        if asked:
            raise UsageError(f"--{asked[0]}: {method} takes none; pass {option} optimize")
        return None
    options = with_dtype(options, method, dtype)
    for change in changes:
        if (name := change.partition("=")[0]) in given:
            raise UsageError(f"--set: {name} is given by --{name}, too; leave out one of them")
    return config.changed(replace(options, **given), changes, where="--set")


def _schedule(method: str, preset: str | None, option: str) -> Any:
    """A method's options before anything is changed; None for one that has none."""
    kind = INVERTERS[method]
    if preset is not None and not hasattr(kind, "published"):
        known = [name for name in INVERTERS if hasattr(INVERTERS[name], "published")]
        raise UsageError(f"--preset: {method} has none; expected {option} {' or '.join(known)}")
    return getattr(kind, "published" if preset == "published" else "defaults", None)
