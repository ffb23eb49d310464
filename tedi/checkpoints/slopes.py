"""Slopes of what pictures show by their codes, as a file; see `tedi.semantics.channels`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from tedi.checkpoints import native
from tedi.errors import TediError
from tedi.outputs import Exist, write_atomically
from tedi.tensors import save_file

KIND = "slopes"


@dataclass(frozen=True)
class Slopes:
    """Mean slopes over faces.

    Attributes:
        values: (K, L, C) derivatives of K logits by a code.
        columns: K columns of `tedi.attributes`, each "group=value".
        metadata: how they were measured: recipe, faces, judge, licence.
    """

    values: Tensor
    columns: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


def load(path: Path) -> Slopes:
    """The slopes of a safetensors file.

    Raises:
        TediError: it is not there, damaged, or holds something else.
    """
    tensors, metadata = native.read(path)
    if metadata.get("kind") != KIND:
        kind = metadata.get("kind", "nothing of tedi's")
        raise TediError(f"{path}: expected slopes, holds {kind}")
    columns = tuple(metadata.get("columns", "").split(","))
    values = tensors.get("slopes")
    if values is None or values.ndim != 3 or len(values) != len(columns):
        raise TediError(f"{path}: damaged: expected slopes (K, L, C) and the names of K columns")
    return Slopes(values, columns, metadata)


def save(path: Path, slopes: Slopes, *, exist: Exist = "error") -> None:
    """Write slopes in half precision, whole or not at all.

    Raises:
        TediError: the file exists, or cannot be written.
    """
    tensors = {"slopes": slopes.values.to("cpu", torch.half).contiguous()}
    header = {**slopes.metadata, "kind": KIND, "columns": ",".join(slopes.columns)}
    write_atomically(path, lambda file: save_file(tensors, file, metadata=header), exist=exist)
