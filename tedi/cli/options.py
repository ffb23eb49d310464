"""Option types that several commands share."""

from typing import Any

import click

MAX_SEED = 2**32 - 1
"""Noise depends on a seed's lowest 32 bits."""
MAX_LISTED = 10**6


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
