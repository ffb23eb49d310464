"""One loop for every task: accelerate, exact resume, exponential moving average, one exported file.

A task holds a model and turns a step number into losses; it draws its batch from the seed and the
step alone, so a run that was stopped goes on as if it had not been.
"""

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tedi.errors import TediError, UsageError

log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda")


@dataclasses.dataclass(frozen=True)
class Settings:
    """One training run; a YAML in configs/ says only what differs.

    Raises:
        UsageError: no batch a step, or no such device.
    """

    task: str  # a name of TASKS
    steps: int  # optimiser steps
    out: str  # file the trained weights go to (safetensors)
    seed: int = 0  # of the model's start and of every batch
    lr: float = 1e-3  # peak, Adam
    betas: tuple[float, float] = (0.9, 0.99)  # decays of the gradient's mean and mean square
    weight_decay: float = 0.0  # decoupled (AdamW)
    warmup: int = 100  # steps of linear rise before the cosine fall to zero
    clip: float = 1.0  # largest norm of the gradient
    accumulate: int = 1  # batches of the task whose gradients make one step
    ema: float = 0.999  # decay of the average of the weights that is exported
    save_every: int = 500  # steps between checkpoints
    log_every: int = 50  # steps between log lines
    device: str = "cpu"  # to train on: cpu, cuda, or auto, which is CUDA where there is one
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # the task's own settings

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise UsageError(f"accumulate: expected 1 or more, got {self.accumulate}")
        if self.device not in DEVICES:
            raise UsageError(f"device: expected {', '.join(DEVICES)}, got {self.device!r}")

    @property
    def place(self) -> torch.device:
        """The device of `device`, where networks lie; pictures and noise are made on the CPU.

        So a batch is the same numbers on every device.

        Raises:
            UsageError: CUDA is asked for, and there is none.
        """
        here = torch.cuda.is_available()
        if self.device == "cuda" and not here:
            raise UsageError("device: no CUDA device is here; set device to cpu, or to auto")
        return torch.device("cuda" if here and self.device != "cpu" else "cpu")


class Task(Protocol):
    """What the loop asks of a task.

    The loop moves the model to the device of the settings; a task moves what else it looks through.
    """

    model: nn.Module

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The optimiser's parameter groups, each with its learning rate."""

    def step(self, step: int) -> dict[str, Tensor]:
        """Scalar losses of a batch by its number; their sum is minimised.

        Where gradients are accumulated, a step of the optimiser takes several batches.
        """

    def evaluate(self) -> dict[str, float]:
        """Figures on held-out data, for the log and the file's metadata."""

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Tensors to ship and metadata (recipe, data, licence)."""


def rate(step: int, settings: Settings) -> float:
    """Learning rate as a fraction of the peak: linear warm-up, then half a cosine to zero."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def run(task: Task, settings: Settings, *, folder: Path) -> dict[str, float]:
    """Train `task`, resuming from `folder` if it holds a checkpoint, and write `settings.out`.

    A run may go on on another device than it began on. What is exact on a CPU is so up to rounding
    on CUDA, where sums have no fixed order.

    Returns:
        The held-out figures of the exported weights.

    Raises:
        UsageError: the device is not here.
        TediError: the folder's checkpoint is of other settings, or a loss is not finite.
    """
    from accelerate import Accelerator  # the one door to accelerate
    from accelerate.utils import set_seed

    device, accelerator = settings.place, Accelerator(device_placement=False)
    set_seed(settings.seed)
    trained = [p for p in task.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        task.groups(settings.lr), betas=settings.betas, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate(s, settings))
    # Not wrapped by `prepare`: a task calls parts of its model, and runs on one device.
    task.model.to(device)
    optimizer = accelerator.prepare(optimizer)
    average = torch.optim.swa_utils.AveragedModel(
        task.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(settings.ema)
    )
    parts = {"model": task.model, "average": average, "optimizer": optimizer, "rate": schedule}
    start, began = _restore(folder, parts, settings), time.monotonic()
    log.info("%s", json.dumps(dataclasses.asdict(settings)))
    for step in range(start, settings.steps):
        task.model.train()
        optimizer.zero_grad()
        losses = _gradients(task, step, settings, accelerator.backward)
        accelerator.clip_grad_norm_(trained, settings.clip)
        optimizer.step()
        schedule.step()
        average.update_parameters(task.model)
        if (step + 1) % settings.log_every == 0:
            seconds = (time.monotonic() - began) / (step + 1 - start)
            line = " ".join(f"{name} {value.item():.4f}" for name, value in losses.items())
            log.info("step %d of %d  %s  %.2f s/step", step + 1, settings.steps, line, seconds)
        if (step + 1) % settings.save_every == 0:
            _checkpoint(folder, parts, settings, step + 1)
    task.model.load_state_dict(average.module.state_dict())
    return _finish(task, settings)


def _gradients(
    task: Task, step: int, settings: Settings, backward: Callable[[Tensor], None]
) -> dict[str, Tensor]:
    """Adds up the gradients of a step's batches; the means of their losses.

    Raises:
        TediError: a loss is not finite.
    """
    batches: list[dict[str, Tensor]] = []
    for number in range(step * settings.accumulate, (step + 1) * settings.accumulate):
        torch.manual_seed((settings.seed + 1) * 1_000_003 + number)  # of dropout; kept by a resume
        losses = task.step(number)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise TediError(f"step {step}: the loss is {total.item()}; lower lr ({settings.lr})")
        backward(total / settings.accumulate)
        batches.append({name: value.detach() for name, value in losses.items()})
    return {name: torch.stack([b[name] for b in batches]).mean() for name in batches[0]}


def _checkpoint(folder: Path, parts: Mapping[str, Any], settings: Settings, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: part.state_dict() for name, part in parts.items()}
    temporary = folder / "checkpoint.tmp"
    torch.save(state | {"step": step, "settings": _identity(settings)}, temporary)
    temporary.replace(folder / "checkpoint.pt")


def _restore(folder: Path, parts: Mapping[str, Any], settings: Settings) -> int:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["settings"] != _identity(settings):
        raise TediError(f"{path}: made with other settings; remove it or pass another --folder")
    for name, part in parts.items():
        part.load_state_dict(state[name])
    log.info("going on from step %d of %s", state["step"], path)
    return int(state["step"])


def _identity(settings: Settings) -> str:
    """What a run that goes on must share with the one that was stopped: all but the device."""
    shared = dataclasses.asdict(settings)
    del shared["device"]
    return json.dumps(shared, sort_keys=True)


def _finish(task: Task, settings: Settings) -> dict[str, float]:
    from tedi.tensors import save_file

    task.model.eval()
    figures = task.evaluate()
    tensors, metadata = task.export()
    told = dataclasses.asdict(settings) | {"device": settings.place.type}
    metadata |= {"settings": json.dumps(told, sort_keys=True), "figures": json.dumps(figures)}
    out = Path(settings.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_suffix(".tmp")
    save_file({n: t.contiguous().cpu() for n, t in tensors.items()}, temporary, metadata=metadata)
    temporary.replace(out)
    log.info("wrote %s: %s", out, json.dumps(figures))
    return figures
