"""Anybody's weight file as plain values, with nothing in it run and at a bounded cost.

| container | told by | notes |
|---|---|---|
| safetensors | a header's length and a brace | |
| torch zip | a zip with one data.pkl | torch 1.6 and later |
| torch legacy | a pickled magic number | before, and within NVIDIA's pickles |
| pickle | protocols 0 to 5 | NVIDIA's, StyleCLIP's statistics |
| npy, npz | their magic, a zip of npy | object arrays too |

A file is known by its content, never by its name. Pickles are walked by `unpickle`, whose rule
of names is in `names`; what a reading may cost is in `limits`.
"""

import mmap
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tedi.checkpoints.raw import arrays, kinds, tensors, torchfile, unpickle
from tedi.checkpoints.raw.archive import Zip
from tedi.checkpoints.raw.limits import BadFileError, Reading
from tedi.checkpoints.raw.values import Stub, resolve
from tedi.errors import TediError

__all__ = ["Raw", "Stub", "read", "state_dict"]


@dataclass(frozen=True)
class Raw:
    """What a file holds.

    Attributes:
        path: of the file.
        container: "safetensors", "torch zip", "torch legacy", "pickle", "npy" or "npz".
        value: dict, list, tuple, str, bytes, int, float, complex, bool, None, `torch.Tensor` or
            `Stub`. Sets are lists; numpy arrays are tensors, those of objects or texts lists.
            Keys of dicts are texts or numbers. Nothing holds itself.
        metadata: of safetensors; empty otherwise.
        foreign: dotted names of classes and functions met that plain data does not need, sorted.
        source: whether it carries source code that its own loader would have run.
    """

    path: Path
    container: str
    value: Any
    metadata: dict[str, str]
    foreign: tuple[str, ...]
    source: bool


def read(path: Path, *, values: bool = True) -> Raw:
    """What a weight file holds, whoever wrote it.

    Args:
        path: the file.
        values: False reads shapes and types only; tensors are then on the "meta" device, and
            those that shared memory share a storage there too.

    Raises:
        TediError: it cannot be read, is no weight file, damaged, or asks to run something.
    """
    try:
        data = _mapped(path)
        reading = Reading(len(data), values, torchfile.nested)
        container, notes, metadata = _walk(data, reading)
        value = resolve(notes, reading)
    except OSError as error:
        raise TediError(f"{path}: cannot be read ({error.strerror})") from error
    except BadFileError as error:
        raise TediError(f"{path}: {error}") from error
    except MemoryError as error:
        raise TediError(f"{path}: does not fit into memory") from error
    except RecursionError as error:
        raise TediError(f"{path}: refused; it nests too deep") from error
    return Raw(path, container, value, metadata, tuple(sorted(reading.foreign)), reading.source)


def _mapped(path: Path) -> memoryview:
    """A file as it lies on the disk; only what is looked at comes into memory."""
    info = path.stat()
    if stat.S_ISDIR(info.st_mode):
        raise BadFileError("is a folder; name a file in it")
    if not stat.S_ISREG(info.st_mode):  # opening a pipe would wait
        raise BadFileError("is no ordinary file")
    if not info.st_size:
        raise BadFileError("is empty; get it once more")
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _walk(data: memoryview, reading: Reading) -> tuple[str, Any, dict[str, str]]:
    """Container, notes and metadata."""
    if tensors.is_one(data):
        notes, metadata = tensors.read(data, reading)
        return "safetensors", notes, metadata
    if bytes(data[:2]) == b"PK":
        return (*_walk_zip(Zip(data), reading), {})
    if bytes(data[:6]) == arrays.MAGIC:
        return "npy", arrays.read_npy(data, reading), {}
    if torchfile.is_legacy(data):
        return "torch legacy", torchfile.read_legacy(data, reading), {}
    if words := kinds.describe(bytes(data[: 64 << 10])):
        raise BadFileError(words)
    if not kinds.looks_like_pickle(data):
        raise BadFileError("is no safetensors, torch, pickle, npy or npz file")
    notes, end = unpickle.load(data, reading)
    if end != len(data):
        raise BadFileError(f"damaged; {len(data) - end:,} bytes follow its pickle")
    return "pickle", notes, {}


def _walk_zip(archive: Zip, reading: Reading) -> tuple[str, Any]:
    if torchfile.is_torchscript(archive):
        raise BadFileError(
            "is TorchScript, a compiled program; load it in torch and save its state_dict()"
        )
    if torchfile.is_zip(archive):
        return "torch zip", torchfile.read_zip(archive, reading)
    names = list(archive.entries)
    if names and all(name.endswith(".npy") for name in names):
        return "npz", arrays.read_npz(archive, reading)
    raise BadFileError(kinds.describe_zip(names))


# --- modules -------------------------------------------------------------------------------------


def state_dict(stub: Stub) -> dict[str, Tensor]:
    """Parameters and buffers of a pickled module by their official dotted names.

    Buffers that the module kept out of its state dict are left out here too.

    Raises:
        TediError: it is no module, a part of it is none, or a name comes twice.
    """
    found: dict[str, Tensor] = {}
    _gather(stub, "", found)
    return found


def _gather(stub: Any, prefix: str, found: dict[str, Tensor]) -> None:
    state = stub.state if isinstance(stub, Stub) else None
    if not isinstance(state, Mapping) or not all(k in state for k in _PARTS):
        kind = stub.name if isinstance(stub, Stub) else type(stub).__name__
        raise TediError(f"{_shown(prefix) or 'value'}: expected a pickled module, got {kind}")
    parameters, buffers, modules = (_part(state, kind, prefix) for kind in _PARTS)
    passing = set(state.get("_non_persistent_buffers_set") or ())
    kept = {name: buffer for name, buffer in buffers.items() if name not in passing}
    for name, tensor in [*parameters.items(), *kept.items()]:
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor) or prefix + name in found:
            kind = type(tensor).__name__
            raise TediError(
                f"{_shown(prefix + name)}: expected one tensor of that name, got {kind}"
            )
        found[prefix + name] = tensor
    for name, module in modules.items():
        if module is not None:
            _gather(module, f"{prefix}{name}.", found)


_PARTS = ("_parameters", "_buffers", "_modules")


def _part(state: Mapping[str, Any], kind: str, prefix: str) -> dict[str, Any]:
    part = state[kind]
    if not isinstance(part, dict) or any(not isinstance(name, str) for name in part):
        raise TediError(f"{_shown(prefix)}{kind}: expected names, got {type(part).__name__}")
    return part


def _shown(name: str) -> str:
    return name[:200] if name.isprintable() else repr(name[:200])
