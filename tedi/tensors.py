"""Files of tensors: safetensors whose bytes follow from what is in them.

The writer of safetensors sorts tensors, but takes metadata from a hash map that every file has
anew, so that hashes of equal files would differ. Here their keys are sorted.
"""

import json
from collections.abc import Mapping
from os import PathLike

from safetensors import torch as safetensors
from torch import Tensor

LENGTH = 8  # bytes, in which a file says how long its header is


def save_file(
    tensors: Mapping[str, Tensor],
    path: str | PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors as safetensors, equal ones as equal bytes.

    Not all or nothing by itself: see `tedi.outputs.write_atomically`.

    Args:
        tensors: by name, contiguous, none a view of another's memory.
        path: the file; one that is there is replaced.
        metadata: texts by name.
    """
    told = None if metadata is None else dict(metadata)
    safetensors.save_file(dict(tensors), path, told)
    if told:
        _sort_metadata(path)


def _sort_metadata(path: str | PathLike[str]) -> None:
    """Sort the metadata in a file's header, which is as long afterwards."""
    with open(path, "r+b") as file:
        raw = file.read(int.from_bytes(file.read(LENGTH), "little"))
        header = json.loads(raw)
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        told = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(told) == len(raw.rstrip(b" "))  # both write JSON alike, and tensors follow
        file.seek(LENGTH)
        file.write(told.ljust(len(raw)))
