"""Descent of codes: Adam with a schedule, each row's best code, and patience row by row.

What edits and inversions by optimisation share. Every term of a loss is one number for each row
and the sum is taken over rows, so that a row's result does not depend on its neighbours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from tedi.adam import Adam
from tedi.errors import TediError, UsageError

OnStep = Callable[[int, dict[str, Tensor], Tensor], bool | None]


@dataclass(frozen=True)
class Schedule:
    """How long a descent goes on and how fast.

    Raises:
        UsageError: a value out of range.
    """

    steps: int = 100  # of Adam, at most
    lr: float = 0.05  # peak learning rate, in units of what is changed
    rise: float = 0.05  # share of the steps in which the learning rate rises linearly from 0
    fall: float = 0.25  # share of the steps at the end in which it falls to 0 by half a cosine
    patience: int = 20  # a row stops after so many steps without gain; 0: never early
    tolerance: float = 1e-3  # a smaller fall of a row's total loss is no gain

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"{field.name}: expected 0 or more, got {value}")
        if max(self.rise, self.fall) > 1:
            raise UsageError(f"rise, fall: expected shares up to 1, got {self.rise}, {self.fall}")


def parts(rows: Tensor) -> Sequence[Tensor]:
    """Rows as they are worked on: on a CPU one by one, so that bits do not depend on N."""
    return rows.split(1) if rows.device.type == "cpu" else [rows]


def ramp(done: float, schedule: Schedule) -> float:
    """Learning rate as a fraction of the peak, `done` of the way (0 to 1), as in StyleCLIP.

    >>> [round(ramp(t, Schedule()), 3) for t in (0.025, 0.5, 0.875, 1)]
    [0.5, 1.0, 0.5, 0.0]
    """
    rise = min(1.0, done / schedule.rise) if schedule.rise else 1.0
    fall = min(1.0, (1 - done) / schedule.fall) if schedule.fall else 1.0
    return rise * (0.5 - 0.5 * math.cos(math.pi * fall))


@dataclass(frozen=True, eq=False)
class Descent:
    """What a descent came to.

    Attributes:
        ws: the code of least total loss that each row passed, (N, L, C).
        loss: those losses (N,).
        steps: steps taken.
        stopped: whether `on_step` ended it.
    """

    ws: Tensor
    loss: Tensor
    steps: int
    stopped: bool


def descend(
    path: nn.Module,
    objective: Callable[[Tensor], dict[str, Tensor]],
    schedule: Schedule,
    on_step: OnStep | None = None,
) -> Descent:
    """Adam on the parameters of a path; only they are given gradients.

    Args:
        path: gives the codes (N, L, C) of its parameters.
        objective: the weighted terms (N,) of codes, by name; their sum is to fall.
        schedule: steps and their size.
        on_step: told, before every step and once at the end, its number, the terms, and the codes
            then. If it returns True, work stops there.

    Raises:
        TediError: the loss of a row is not finite.
    """
    best: Best | None = None
    parameters = list(path.parameters())
    optimizer = Adam(parameters)
    for step in range(schedule.steps + 1):
        ws = path()
        terms = objective(ws)
        total = torch.stack(list(terms.values())).sum(dim=0) if terms else ws.new_zeros(len(ws))
        if not total.isfinite().all():
            row = int((~total.isfinite()).nonzero()[0])
            raise TediError(f"step {step}, row {row}: the loss is {total[row]:g}; lower lr")
        best = best or Best(ws.detach(), schedule)
        best.see(total.detach(), ws.detach())
        shown = {name: term.detach() for name, term in terms.items()}
        stopped = on_step is not None and on_step(step, shown, ws.detach().clone()) is True
        if stopped or best.done or step == schedule.steps or not total.requires_grad:
            break
        gradients = torch.autograd.grad(total.sum(), parameters)
        optimizer.step(gradients, schedule.lr * ramp((step + 0.5) / schedule.steps, schedule))
    assert best is not None  # there is always a step 0
    return Descent(best.ws, best.loss, step, stopped)


class Best:
    """The code of least loss of each row, until its patience is over."""

    def __init__(self, start: Tensor, schedule: Schedule) -> None:
        self.ws, self.schedule = start.clone(), schedule
        self.loss = start.new_full((len(start),), math.inf)
        self.reference, self.waited = self.loss.clone(), torch.zeros_like(self.loss)

    @property
    def done(self) -> bool:
        """Whether no row goes on."""
        return not self._going().any()

    def see(self, loss: Tensor, ws: Tensor) -> None:
        """Take note of losses (N,) at codes (N, L, C); a row that has stopped is passed over."""
        better = (loss < self.loss) & self._going()
        self.ws = torch.where(better[:, None, None], ws, self.ws)
        self.loss = torch.where(better, loss, self.loss)
        gain = loss < self.reference - self.schedule.tolerance
        self.reference = torch.where(gain, loss, self.reference)
        self.waited = torch.where(gain & self._going(), 0, self.waited + 1)

    def _going(self) -> Tensor:
        patience = self.schedule.patience or math.inf
        return self.waited < patience
