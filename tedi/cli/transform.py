"""The option that turns and moves what a StyleGAN3 draws, and how records tell of it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tedi.errors import UsageError

if TYPE_CHECKING:
    from tedi.faces import Transform
    from tedi.pipeline import Toolkit

MOST = (180.0, 2.0, 2.0)
"""Degrees, widths and heights that a picture is turned and moved at most, either way."""
EXPECTED = "1 or 3 numbers, R or R,TX,TY, within ±180 degrees and ±2 widths"


def checked(numbers: Sequence[Any]) -> tuple[float, float, float]:
    """Degrees, right and down, of one or three numbers.

    Raises:
        ValueError: another number of them, or one out of range.
    """
    good = len(numbers) in (1, 3) and all(type(n) in (int, float) for n in numbers)
    if not good or not all(abs(n) <= most for n, most in zip(numbers, MOST, strict=False)):
        raise ValueError(EXPECTED)
    degrees, tx, ty = (*map(float, numbers), 0.0, 0.0)[:3]
    return degrees, tx, ty


class TransformType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`R` or `R,TX,TY`.

    >>> TransformType().convert("15,0.1,-0.05", None, None)
    (15.0, 0.1, -0.05)
    """

    name = "R,TX,TY"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Degrees, right and down."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        try:
            return checked([float(part) for part in value.split(",")])
        except ValueError:
            self.fail(f"expected {EXPECTED}, got {value[:40]!r}", param, ctx)


transform_option = click.option(
    "--transform",
    type=TransformType(),
    help="Turn the picture R degrees counter-clockwise, then move it TX widths right and TY heights"
    " down; for a StyleGAN3 of --generator.",
)


field_option = click.option(
    "--field",
    type=click.FloatRange(0, 0.5),
    default=0.0,
    help="Show so many widths more on every side, up to 0.5; for a StyleGAN3 of --generator.",
)


def place(model: "Toolkit", numbers: Sequence[float] | None, *, field: float = 0.0) -> None:
    """Have a toolkit draw turned, moved and wider, where that is asked for.

    Raises:
        UsageError: its generator cannot.
    """
    if numbers or field:
        from tedi.faces import Transform

        degrees, tx, ty = numbers or (0.0, 0.0, 0.0)
        model.place(Transform(degrees, tx, ty), field=field)


def numbers_of(transform: "Transform") -> tuple[float, float, float]:
    """Degrees, right and down, as records tell them."""
    return transform.degrees, transform.tx, transform.ty


def check_told(numbers: Sequence[Any]) -> None:
    """Raises a UsageError unless a recipe's transform is one; none is none."""
    if not numbers:
        return
    try:
        good = len(numbers) == 3 and all(map(math.isfinite, checked(numbers)))
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"transform: expected [degrees, right, down], got {list(numbers)}")
