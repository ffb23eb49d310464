"""Files of one code: safetensors, NumPy and torch, told apart by suffix; nothing in them is run."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tedi.checkpoints import native
from tedi.errors import TediError, UsageError
from tedi.outputs import Exist, write_atomically
from tedi.tensors import save_file

SUFFIXES = (".safetensors", ".npy", ".pt", ".pth")
NAME = "ws"
RECORD = "record"
_DAMAGE = (
    *(OSError, ValueError, TypeError, RuntimeError, EOFError, KeyError, AttributeError),
    *(pickle.UnpicklingError, MemoryError, OverflowError),
)


def load(path: Path, *, slots: int, width: int) -> Tensor:
    """The absolute code (L, C) of a file, float32.

    Args:
        path: holds (C,), one w for all slots; (L, C); or (1, L, C). Safetensors name it "ws", a
            torch file holds a tensor or {"ws": tensor}.
        slots: L of the generator.
        width: C of the generator.

    Raises:
        UsageError: another suffix, or another shape.
        TediError: not there, damaged, or not finite numbers.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a code as {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise TediError(f"{path}: no such file")
    ws = _tensor(path)
    shapes = ((width,), (slots, width), (1, slots, width))
    if ws.shape not in shapes:
        known = " or ".join(map(str, shapes))
        raise UsageError(f"{path}: expected a code {known}, got {tuple(ws.shape)}")
    if ws.is_complex() or not ws.isfinite().all():
        raise TediError(f"{path}: expected finite real numbers in the code")
    return ws.to(torch.float32).expand(1, slots, width)[0].clone()


def save(path: Path, ws: Tensor, record: str, *, exist: Exist = "error") -> None:
    """Write a code ws (L, C) as safetensors, whole or not at all; equal codes give equal bytes.

    Args:
        path: a .safetensors file.
        ws: absolute.
        record: JSON of how it was made, put into the metadata; a photo's code says there where in
            the photo its face lies, and how near it came.
        exist: "error" keeps a file that is already there, "overwrite" replaces it.

    Raises:
        UsageError: another suffix.
        TediError: the file exists or cannot be written.
    """
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"{path}: a code is saved as .safetensors")
    tensors = {NAME: ws.detach().to("cpu", torch.float32).contiguous()}
    write_atomically(path, lambda part: save_file(tensors, part, {RECORD: record}), exist=exist)


def load_record(path: Path) -> dict[str, Any]:
    """How a code was made, as `save` was told.

    Raises:
        UsageError: another suffix than .safetensors.
        TediError: not there, damaged, or without a record.
    """
    if path.suffix.lower() != ".safetensors":
        raise UsageError(f"{path}: only .safetensors say how a code was made")
    if not path.is_file():
        raise TediError(f"{path}: no such file")
    _, metadata = native.read(path)
    try:
        record = json.loads(metadata.get(RECORD, ""))
    except ValueError as error:
        raise TediError(f"{path}: carries no record of how it was made") from error
    if not isinstance(record, dict):
        raise TediError(f"{path}: expected a record of names, got {type(record).__name__}")
    return record


def _tensor(path: Path) -> Tensor:
    if path.suffix.lower() == ".safetensors":
        tensors, _ = native.read(path)
        return _named(path, tensors)
    try:
        if path.suffix.lower() == ".npy":
            return torch.from_numpy(np.array(np.load(path, allow_pickle=False)))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TediError(f"{path}: cannot be read as a code ({reason[:200]})") from error
    return content if isinstance(content, Tensor) else _named(path, content)


def _named(path: Path, content: Any) -> Tensor:
    if not isinstance(content, dict):
        raise TediError(f"{path}: expected a tensor {NAME!r}, got {type(content).__name__}")
    if not isinstance(found := content.get(NAME), Tensor):
        names = ", ".join(sorted(map(str, content))[:5]) or "nothing"
        raise TediError(f"{path}: expected a tensor {NAME!r}, the file holds {names}")
    return found.detach()
