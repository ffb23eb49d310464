"""Files of directions, ours and published ones, told apart by what is in them.

| made by | file | holds |
|---|---|---|
| tedi | safetensors | any number of directions, their figures in the metadata |
| e4e | torch | a tensor (1, C), or (1, L, C) |
| InterFaceGAN, StyleGAN3-editing | npy | an array (1, C) |
| idinvert | npy of one object | {"boundary": (1, L, C), "meta_data": {"manipulate_layers": […]}} |
| GANSpace | torch | {"mean": (1, C), "comp": (K, 1, C), "std": (K,)} |

Nothing in a file is run: `raw` reads it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tedi.checkpoints import native, raw
from tedi.errors import TediError, UsageError
from tedi.latents import Direction
from tedi.outputs import Exist, write_atomically
from tedi.tensors import save_file

KIND = "directions"
MOST_SLOTS = 18
_LAYOUTS = "expected (C,), (1, C), (L, C) or (1, L, C)"


def load(path: Path) -> dict[str, Direction]:
    """Directions of a file by name; one that holds a single direction lends it its own name.

    Raises:
        TediError: not there, damaged, of no known layout, or it asks to run something.
    """
    content = raw.read(path)
    if content.container == "safetensors":
        return _load_own(path)
    try:
        found = _convert(path.stem, content.value)
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
    if not isinstance(content, Tensor) or content.is_complex() or content.dtype == torch.bool:
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
