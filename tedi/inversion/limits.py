"""What an inversion may cost: time by a clock, steps that are timed, memory that is free."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from tedi.descent import OnStep

Clock = Callable[[], float]
MEMINFO = Path("/proc/meminfo")
GB = 1e9
FULL_STEP = 3.3  # time of a step at full size, in times of a look at one: drawn, and backwards


@dataclass
class Pace:
    """Times on this machine, in seconds.

    Attributes:
        closing: of a look at a full-size drawing, with which every method ends.
        preview: of an in-domain step on previews; None before one was timed.
    """

    closing: float
    preview: float | None = None
    _full: float | None = field(default=None, init=False)

    @property
    def full(self) -> float:
        """Of an in-domain step at full size; before one was timed, told by a look."""
        return self.closing * FULL_STEP if self._full is None else self._full

    @full.setter
    def full(self, seconds: float) -> None:
        self._full = seconds


class Watch:
    """An `on_step` that times steps, and stops when another one would end too late.

    Args:
        clock: gives the seconds.
        deadline: when the method has to be done; infinity for never.
        closing: seconds that it takes after its last step.
        steps: of the method on previews; those after them are at full size.
        expected: seconds of a step on previews and at full size, before one was timed.
        on_step: told of every step, too; if it returns True, work stops.

    Attributes:
        asked: whether `on_step` stopped it.
    """

    def __init__(
        self,
        clock: Clock,
        deadline: float,
        *,
        closing: float,
        steps: int,
        expected: tuple[float, float],
        on_step: OnStep | None = None,
    ) -> None:
        self.clock, self.deadline, self.closing = clock, deadline, closing
        self.steps, self.expected, self.on_step = steps, expected, on_step
        self.asked = False
        self._times: tuple[list[float], list[float]] = ([], [])
        self._last: tuple[int, float] | None = None
        self._full = False

    def __call__(self, step: int, losses: dict[str, Tensor], ws: Tensor) -> bool:
        """See `tedi.descent.descend`."""
        now = self.clock()
        if self._last and step > self._last[0]:
            self._times[self._full].append(now - self._last[1])
        # The first look of a stage has the number of the last one's; patience may end one early.
        again = self._last is not None and step == self._last[0]
        self._full = self._full or again or step >= self.steps
        self._last = (step, now)
        self.asked = self.on_step is not None and self.on_step(step, losses, ws) is True
        return self.asked or now + self._next() + self.closing > self.deadline

    def _next(self) -> float:
        """Seconds that the next step may take: the last one's, or what was expected if longer."""
        return max([self.expected[self._full], *self._times[self._full][-1:]])

    @property
    def since(self) -> float | None:
        """Seconds since the last step; None where there was none."""
        return self.clock() - self._last[1] if self._last else None

    def median(self, *, full: bool) -> float | None:
        """Of the steps' seconds; None where there was none."""
        return statistics.median(self._times[full]) if self._times[full] else None


def free_memory(device: torch.device) -> float | None:
    """Gigabytes that could be had: of the GPU, or of the machine; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / GB
    if device.type == "cpu" and MEMINFO.is_file():
        lines = (line.split() for line in MEMINFO.read_text().splitlines())
        told = {line[0]: int(line[1]) for line in lines if len(line) > 1}
        if "MemAvailable:" in told:
            return told["MemAvailable:"] * 1024 / GB
    return None
