"""Files of directions, ours and published ones, told apart by what is in them.

| made by | file | holds |
|---|---|---|
| tedi | safetensors | any number of directions, their figures in the metadata |
| e4e | torch | a tensor (1, C), or (1, L, C) |
| InterFaceGAN, StyleGAN3-editing | npy | an array (1, C) |
| idinvert | npy of one object | {"boundary": (1, L, C), "meta_data": {"manipulate_layers": […]}} |
| GANSpace | torch | {"mean": (1, C), "comp": (K, 1, C), "std": (K,)} |

Nothing in a file is run: torch files are read with `weights_only`, an object in an npy file by an
unpickler that knows numpy arrays and numbers, and refuses every other name.
"""

import io
import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tedi.checkpoints import native
from tedi.errors import TediError, UsageError
from tedi.latents import Direction
from tedi.outputs import Exist, write_atomically

KIND = "directions"
MOST_SLOTS = 18
_LAYOUTS = "expected (C,), (1, C), (L, C) or (1, L, C)"
# What a damaged file makes the readers raise.
_DAMAGE = (
    *(pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError, KeyError),
    *(AttributeError, IndexError, MemoryError, OverflowError, UnicodeError, ImportError),
)


def load(path: Path) -> dict[str, Direction]:
    """Directions of a file by name; one that holds a single direction lends it its own name.

    Raises:
        TediError: not there, damaged, of no known layout, or it asks to run something.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TediError(f"{path}: cannot be read ({error.strerror})") from error
    if raw[8:9] == b"{":
        return _load_own(path)
    if raw.startswith(b"\x93NUMPY"):
        content = _read_npy(path, raw)
    elif raw.startswith(b"PK\3\4") or raw.startswith(b"\x80"):
        content = _read_torch(path, raw)
    else:
        raise TediError(f"{path}: expected directions as safetensors, .pt or .npy")
    try:
        found = _convert(path.stem, content)
    except UsageError as error:
        raise TediError(f"{path}: {error}") from error
    return {direction.name: direction for direction in found}


def save(
    path: Path,
    directions: Sequence[Direction],
    metadata: Mapping[str, str],
    *,
    exist: Exist = "error",
) -> None:
    """Write directions as float16 safetensors, whole or not at all.

    Args:
        path: the file.
        directions: with different names.
        metadata: recipe, data, licence and the like.
        exist: "error" keeps a file that is already there.

    Raises:
        UsageError: two of one name.
        TediError: the file exists or cannot be written.
    """
    tensors = {d.name: d.vector.to("cpu", torch.float16).contiguous() for d in directions}
    if len(tensors) < len(directions):
        raise UsageError("directions: two have the same name")
    told = {d.name: _told(d) for d in directions}
    header = {**metadata, "kind": KIND, "directions": json.dumps(told)}
    write_atomically(path, lambda file: save_file(tensors, file, metadata=header), exist=exist)


def _told(direction: Direction) -> dict[str, Any]:
    return {
        "space": direction.space,
        "slots": direction.slots,
        "origin": direction.origin,
        "offset": round(direction.offset, 6),
        "std": None if direction.std is None else round(direction.std, 6),
        "figures": dict(direction.figures),
    }


def _load_own(path: Path) -> dict[str, Direction]:
    tensors, metadata = native.read(path)
    if metadata.get("kind") != KIND:
        kind = metadata.get("kind", "nothing of tedi's")
        raise TediError(f"{path}: expected directions, holds {kind}")
    try:
        told = json.loads(metadata["directions"])
        return {
            name: Direction(
                name,
                tensors[name],
                **{**told[name], "slots": told[name]["slots"] and tuple(told[name]["slots"])},
            )
            for name in told
        }
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise TediError(f"{path}: damaged: {error}") from error


# --- published layouts ---------------------------------------------------------------------------


def _convert(name: str, content: object) -> list[Direction]:
    """Directions of what a file holds, by its keys and shapes."""
    if isinstance(content, Mapping):
        keys = set(content)
        if {"mean", "comp", "std"} <= keys:
            return _components(content)
        if "boundary" in keys:
            return [_boundary(name, content)]
        listed = ", ".join(sorted(map(str, keys)))[:80]
        raise UsageError(f"expected keys boundary, or mean, comp and std; got {listed}")
    return [_vector(name, _tensor(content), None, "published direction")]


def _tensor(content: object) -> Tensor:
    if isinstance(content, np.ndarray) and content.dtype.kind in "fiu":
        content = torch.from_numpy(np.ascontiguousarray(content, dtype=np.float32))
    if not isinstance(content, Tensor) or content.is_complex():
        raise UsageError(f"{_LAYOUTS}, got {type(content).__name__}")
    return content.detach().float()


def _vector(name: str, vector: Tensor, slots: tuple[int, ...] | None, origin: str) -> Direction:
    """A direction in any of the shapes that people publish."""
    shape = tuple(vector.shape)
    if vector.ndim == 3 and shape[0] == 1:
        vector = vector[0]
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    if vector.ndim not in (1, 2) or (vector.ndim == 2 and len(vector) > MOST_SLOTS):
        raise UsageError(f"{_LAYOUTS} with L up to {MOST_SLOTS}, got {shape}")
    return Direction(name, vector, "w" if vector.ndim == 1 else "w+", slots, origin)


def _boundary(name: str, content: Mapping[str, Any]) -> Direction:
    """A boundary of idinvert, with the layers it is meant for."""
    told = content.get("meta_data") or {}
    layers = told.get("manipulate_layers") if isinstance(told, Mapping) else None
    try:
        slots = None if layers is None else tuple(int(slot) for slot in layers)
    except (TypeError, ValueError) as error:
        raise UsageError(f"manipulate_layers: expected slot numbers, got {layers!r}") from error
    return _vector(name, _tensor(content["boundary"]), slots, "published boundary")


def _components(content: Mapping[str, Any]) -> list[Direction]:
    """GANSpace's components, "pca-00" first."""
    mean, comp, std = (_tensor(content[key]) for key in ("mean", "comp", "std"))
    width = comp.shape[-1] if comp.ndim else 0
    if comp.numel() != len(comp) * width or mean.numel() != width or std.numel() != len(comp):
        shapes = [tuple(part.shape) for part in (mean, comp, std)]
        raise UsageError(f"expected mean (1, C), comp (K, 1, C) and std (K,), got {shapes}")
    return [
        Direction(
            f"pca-{i:02d}",
            row,
            origin="published principal axis",
            offset=(mean.flatten() @ (row / row.norm())).item(),
            std=size.item(),
        )
        for i, (row, size) in enumerate(zip(comp.reshape(-1, width), std.flatten(), strict=True))
    ]


# --- reading without running ---------------------------------------------------------------------


def _read_torch(path: Path, raw: bytes) -> object:
    try:
        return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        if name:
            raise _refused(path, name[1]) from error
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise TediError(f"{path}: damaged or no torch file ({reason})") from error


def _refused(path: Path, name: str) -> TediError:
    return TediError(f"{path}: refused: it asks to run {name}; only arrays and numbers are read")


def _read_npy(path: Path, raw: bytes) -> object:
    file = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        shape, _, dtype = (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)
        if not dtype.hasobject:
            return np.load(io.BytesIO(raw), allow_pickle=False)
        if shape != ():
            raise TediError(f"{path}: expected one object (idinvert), got an array of {shape}")
        array = _Arrays(file).load()
        return array.item() if isinstance(array, np.ndarray) and array.size == 1 else array
    except _RefusedError as error:
        raise _refused(path, str(error)) from error
    except _DAMAGE as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise TediError(f"{path}: damaged or no npy file ({reason})") from error


class _RefusedError(Exception):
    """A name that an unpickler was asked for and does not know."""


def _blank(kind: object, shape: object, code: object) -> np.ndarray:
    """The empty array that a pickled one is filled into; the file chooses nothing about it."""
    return np.ndarray((0,), np.int8)


def _number(dtype: np.dtype, data: bytes) -> Any:
    """A numpy number from its bytes."""
    if dtype.hasobject:
        raise _RefusedError("a number of objects")
    return np.frombuffer(data, dtype, count=1)[0]


def _latin(text: str, encoding: str) -> bytes:
    """Bytes as Python 3 writes them into old pickles; no other codec."""
    if encoding not in ("latin1", "latin-1"):
        raise _RefusedError(f"codec {encoding}")
    return text.encode("latin-1")


class _Kind:
    """Stands for numpy.ndarray in a pickle, where it is named and never called."""


class _Arrays(pickle.Unpickler):
    """Numpy arrays and numbers, dicts, lists, strings: nothing else has a name here."""

    known: Mapping[str, object] = {
        "numpy.ndarray": _Kind,
        "numpy.dtype": np.dtype,
        "_codecs.encode": _latin,
        **{f"numpy.{core}.multiarray._reconstruct": _blank for core in ("core", "_core")},
        **{f"numpy.{core}.multiarray.scalar": _number for core in ("core", "_core")},
    }

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """One of the known names.

        Raises:
            _RefusedError: any other.
        """
        found = self.known.get(f"{module}.{name}")
        if found is None:
            raise _RefusedError(f"{module}.{name}")
        return found

    def persistent_load(self, pid: object) -> Any:
        """Refuse a reference to something outside the file."""
        raise _RefusedError(f"the outside object {pid}")
