"""What one reading of a foreign file may cost, and the error that ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MOST_STEPS = 4_000_000
"""Opcodes, copied items and unfolded values of one file; a large checkpoint has about 100,000."""

MOST_DEPTH = 128
"""Containers within containers."""

SLACK = 64 << 20
"""Bytes that may be asked for beyond a multiple of the file's size: small files, expanded views."""


class BadFileError(Exception):
    """A file is damaged, hostile or no weight file; the message says which, without its path."""


@dataclass
class Reading:
    """One reading of one file: what it found so far and what it may still spend.

    Costs are counted over the whole file, pickles within pickles included, so that no part of it
    that is named again and again costs more than its size allows.

    Attributes:
        size: of the file, in bytes.
        values: False to learn shapes only; tensors are then on the "meta" device.
        nested: reads the torch file that `torch.storage._load_from_bytes` was given.
        foreign: dotted names met that plain data does not need.
        source: whether source code was met that the original loader would have run.
        depth: torch files within torch files, now.
        steps: taken so far.
        work: bytes copied or decoded so far.
        span: bytes that the tensors made so far would fill, each laid out on its own.
    """

    size: int
    values: bool
    nested: Callable[[memoryview, Reading], Any]
    foreign: set[str] = field(default_factory=set)
    source: bool = False
    depth: int = 0
    steps: int = 0
    work: int = 0
    span: int = 0

    def step(self, count: int = 1) -> None:
        """Count opcodes, or items that are copied.

        Raises:
            BadFileError: more than `MOST_STEPS`.
        """
        self.steps += count
        if self.steps > MOST_STEPS:
            raise BadFileError(f"refused; it takes more than {MOST_STEPS:,} steps to read")

    def copy(self, count: int) -> None:
        """Count bytes that are copied or decoded.

        Raises:
            BadFileError: more than four times the file.
        """
        self.work += count
        if self.work > 4 * self.size + SLACK:
            raise BadFileError("refused; it unfolds to more than four times its size")

    def fill(self, count: int) -> None:
        """Count the bytes of a tensor, whatever it shares or repeats.

        Raises:
            BadFileError: more than four times the file.
        """
        self.span += count
        if self.span > 4 * self.size + SLACK:
            raise BadFileError("refused; its tensors span more than four times its size")
