"""Layer tables as files, and judgments kept while a table is being measured."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tedi.checkpoints import native
from tedi.errors import TediError
from tedi.outputs import Exist, write_atomically
from tedi.tensors import save_file

KIND = "layer table"
KEEP_EVERY = 10  # rows judged between two writes of the file


@dataclass(frozen=True)
class LayerTable:
    """Which slots of a generator carry which attribute; see `tedi.semantics.layers`.

    Attributes:
        attributes: names of the R rows.
        sizes: resolution in pixels of each of the L slots.
        alone: (3, R, L) effect of swapping one slot, then the ends of its 95 % interval.
        cumulative: (3, R, L) the same of swapping all slots from the first to this one.
        differ: (R,) how far two random faces are apart in an attribute, 0 to 1.
        metadata: how it was measured: recipe, n, seeds, judge, licence.
    """

    attributes: tuple[str, ...]
    sizes: tuple[int, ...]
    alone: Tensor
    cumulative: Tensor
    differ: Tensor
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            TediError: tensors that do not fit the names and slots.
        """
        rows, slots = len(self.attributes), len(self.sizes)
        found = [tuple(t.shape) for t in (self.alone, self.cumulative, self.differ)]
        wanted = [(3, rows, slots), (3, rows, slots), (rows,)]
        if found != wanted:
            raise TediError(f"layer table: expected shapes {wanted}, got {found}")


def load(path: Path) -> LayerTable:
    """The table of a safetensors file.

    Raises:
        TediError: it is not there, damaged, or holds something else.
    """
    tensors, metadata = native.read(path)
    if metadata.get("kind") != KIND:
        kind = metadata.get("kind", "nothing of tedi's")
        raise TediError(f"{path}: expected a layer table, holds {kind}")
    try:
        names, sizes = (tuple(json.loads(metadata[key])) for key in ("attributes", "sizes"))
        alone, cumulative, differ = (tensors[key] for key in ("alone", "cumulative", "differ"))
        return LayerTable(names, sizes, alone, cumulative, differ, metadata)
    except (KeyError, TypeError, ValueError, TediError) as error:
        raise TediError(f"{path}: damaged: {error}") from error


def save(path: Path, table: LayerTable, *, exist: Exist = "error") -> None:
    """Write a table, whole or not at all.

    Raises:
        TediError: the file exists, or cannot be written.
    """
    tensors = {key: getattr(table, key).cpu() for key in ("alone", "cumulative", "differ")}
    names = {"attributes": json.dumps(table.attributes), "sizes": json.dumps(table.sizes)}
    header = {**table.metadata, "kind": KIND, **names}
    write_atomically(path, lambda file: save_file(tensors, file, metadata=header), exist=exist)


def resumed(
    make: Callable[[int], Tensor],
    *,
    count: int,
    path: Path,
    about: Mapping[str, Any],
    on_row: Callable[[int], None] | None = None,
) -> Tensor:
    """Rows `make(0)` … `make(count - 1)` in half precision, (count, …), kept as they are made.

    Args:
        make: a row by its number.
        count: how many; more than an earlier run made goes on from there.
        path: a safetensors file; what it holds is not made again.
        about: what the rows depend on besides their number.
        on_row: called with the number of rows there are, at the start and after each.

    Raises:
        TediError: the file is damaged, or about something else.
    """
    rows = _kept(path, about)[:count]
    if on_row is not None:
        on_row(len(rows))
    while len(rows) < count:
        rows.append(make(len(rows)).half())
        if len(rows) % KEEP_EVERY == 0 or len(rows) == count:
            _keep(path, rows, about)
        if on_row is not None:
            on_row(len(rows))
    return torch.stack(rows)


def _kept(path: Path, about: Mapping[str, Any]) -> list[Tensor]:
    if not path.exists():
        return []
    tensors, metadata = native.read(path)
    found = metadata.get("about", "nothing of this kind")
    if found != json.dumps(about, sort_keys=True) or "rows" not in tensors:
        raise TediError(f"{path}: kept from another measurement ({found}); delete it to begin anew")
    return list(tensors["rows"].half())


def _keep(path: Path, rows: list[Tensor], about: Mapping[str, Any]) -> None:
    header = {"about": json.dumps(about, sort_keys=True)}
    tensors = {"rows": torch.stack(rows)}
    write_atomically(
        path, lambda file: save_file(tensors, file, metadata=header), exist="overwrite"
    )
