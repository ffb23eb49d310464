"""What is known of a clip while it is worked on: a folder beside the video that comes of it.

Frames are kept in parts of `PART`, each a safetensors file of the first pass and a piece of video
of the second, written whole or not at all; a run that was stopped goes on after the last. What is
tuned between the passes has a file for each person.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tedi.errors import TediError, UsageError
from tedi.outputs import write_atomically
from tedi.tensors import save_file
from tedi.video.track import Seen

PART = 100  # frames of a part; each begins with a whole picture, a moment's change of grain
_RUN, _STATE = "run.json", "state"
_HELD = ("ws", "head", "eyes")  # of a frame with a face


@dataclass(frozen=True, eq=False)
class Found:
    """A frame of the first pass.

    Attributes:
        time: in ticks of the source.
        duration: in ticks.
        seen: where the face is.
        ws: its code (L, C); None without a face.
        head: share (h, h) of the aligned face that is the person, of 255; None if it is not asked.
        eyes: `blink.energy` of it, (2,); None without a face.
    """

    time: int
    duration: int
    seen: Seen
    ws: Tensor | None
    head: Tensor | None = None
    eyes: Tensor | None = None


class Store:
    """The folder of one run.

    Args:
        folder: made if need be.
        run: what decides what is in it; a folder of another run is not gone on with.
        resume: go on with what is there.

    Raises:
        UsageError: something is there and is not to be gone on with, or is of another run.
        TediError: the folder cannot be written.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], *, resume: bool = False) -> None:
        self.folder = folder
        told = json.dumps(dict(run), indent=1, sort_keys=True)
        path = folder / _RUN
        if folder.exists() and not resume:
            raise UsageError(
                f"{folder}: an unfinished run is there; pass --resume to go on, or delete it"
            )
        if path.is_file():
            there = path.read_text(encoding="utf-8")
            if there != told:
                raise UsageError(f"{folder}: {_difference(there, told)}; delete it to begin anew")
            return
        write = functools.partial(Path.write_text, data=told, encoding="utf-8")
        write_atomically(path, write)

    def parts(self) -> int:
        """Parts that the first pass has written."""
        return self._count("faces-{:05d}.safetensors")

    def pieces(self) -> int:
        """Pieces that the second pass has written."""
        return self._count("piece-{:05d}.mp4")

    def _count(self, name: str) -> int:
        number = 0
        while (self.folder / name.format(number)).is_file():
            number += 1
        return number

    def save(self, number: int, frames: Sequence[Found], state: Mapping[str, Any]) -> None:
        """Write a part, and what the tracker knew after it."""
        seen = [frame.seen for frame in frames]
        quads = [np.zeros((4, 2)) if s.quad is None else s.quad for s in seen]
        tensors = {
            "times": torch.tensor([[f.time, f.duration] for f in frames], dtype=torch.int64),
            "runs": torch.tensor([[s.shot, s.person] for s in seen], dtype=torch.int64),
            "found": torch.tensor([s.quad is not None for s in seen]),
            "quads": torch.from_numpy(np.stack(quads).astype(np.float64)),
        }
        for name in _HELD:
            held = [getattr(frame, name) for frame in frames]
            if there := [one.cpu() for one in held if one is not None]:
                tensors[name] = torch.stack(there)
        told = {_STATE: json.dumps(dict(state)), "why": json.dumps([s.why for s in seen])}
        path = self.folder / f"faces-{number:05d}.safetensors"
        write_atomically(path, lambda part: save_file(tensors, part, told), exist="overwrite")

    def load(self, number: int, *, codes: bool = True) -> list[Found]:
        """A part; without codes, `ws`, `head` and `eyes` are None everywhere.

        Raises:
            TediError: it is damaged.
        """
        with self._part(number) as part:
            times, runs = part.get_tensor("times").tolist(), part.get_tensor("runs").tolist()
            found = part.get_tensor("found").tolist()
            quads = part.get_tensor("quads").numpy().copy()  # a view would hold the whole file
            why = json.loads(part.metadata()["why"])
            wanted = set(_HELD) & set(part.keys()) if codes else set()
            held = {name: iter(part.get_tensor(name)) for name in wanted}
            rows = zip(times, runs, found, quads, why, strict=True)
            return [_found(*row, held) for row in rows]

    def state(self, number: int) -> dict[str, Any]:
        """What the tracker knew after a part."""
        with self._part(number) as part:
            return json.loads(part.metadata()[_STATE])

    def _part(self, number: int) -> Any:
        path = self.folder / f"faces-{number:05d}.safetensors"
        try:
            return safe_open(path, "pt")
        except (SafetensorError, OSError) as error:
            raise TediError(f"{path}: damaged; delete {self.folder} to begin anew") from error

    def piece(self, number: int) -> Path:
        """File of a piece."""
        return self.folder / f"piece-{number:05d}.mp4"

    def tuned(self, person: int) -> Path:
        """File of what was changed of the generator for a person."""
        return self.folder / f"tuned-{person:05d}.safetensors"

    def reader(self) -> Callable[[int], Found]:
        """Frames by number; a few parts are held in memory."""
        held = lru_cache(maxsize=3)(self.load)
        return lambda frame: held(frame // PART)[frame % PART]

    def clear(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _found(
    time: list[int],
    run: list[int],
    there: bool,
    quad: np.ndarray,
    why: str,
    held: Mapping[str, Iterator[Tensor]],
) -> Found:
    """A frame of what `Store.save` writes; its tensors are the next ones."""
    seen = Seen(run[0], run[1], quad if there else None, why)
    ws, *more = (next(held.get(name, iter(())), None) if there else None for name in _HELD)
    return Found(time[0], time[1], seen, ws, *more)


def _difference(there: str, told: str) -> str:
    """What tells two runs apart."""
    try:
        before, now = json.loads(there), json.loads(told)
        names = [name for name in now if before.get(name) != now[name]]
    except (ValueError, AttributeError):
        names = []
    return f"is of a run with another {' and '.join(names) or 'setting'}"
