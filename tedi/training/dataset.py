"""Data sets for training: the one door to `datasets`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tedi.errors import TediError

SEED, COUNT, WIDTH = 20261121, 4096, 512  # of the noise that tedifaces was drawn from
PSI = 0.8  # that its pictures were truncated with


def load_tedifaces(folder: Path) -> Any:
    """Labels and captions of data/tedifaces as a `datasets.Dataset`, broken faces left out.

    Args:
        folder: where faces.jsonl lies.

    Raises:
        TediError: it is not there.
    """
    from datasets import load_dataset

    path = folder / "faces.jsonl"
    if not path.is_file():
        raise TediError(f"{path}: not found; give the folder of data/tedifaces")
    faces = load_dataset("json", data_files=str(path), split="train")
    return faces.filter(lambda face: not face["broken"])


def noise(indices: list[int]) -> Tensor:
    """Z (N, 512) of tedifaces by index, as its card prescribes."""
    z = np.random.default_rng(SEED).standard_normal((COUNT, WIDTH)).astype("float32")
    return torch.from_numpy(z[indices])


def is_held_out(index: int) -> bool:
    """Whether a face of tedifaces is kept from training: every eighth."""
    return index % 8 == 7


def load_masks(folder: Path) -> Any:
    """Photographs with part masks, from the parquet files of a folder, streamed.

    Args:
        folder: its files have the columns `id`, `image` and `label_map`; pictures stay encoded,
            as {"bytes", "path"}.

    Raises:
        TediError: no parquet file is there.
    """
    from datasets import Image, load_dataset

    files = sorted(map(str, folder.glob("*.parquet")))
    if not files:
        raise TediError(f"{folder}: holds no .parquet files; set options.data to where they lie")
    rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
    for column in ("image", "label_map"):
        rows = rows.cast_column(column, Image(decode=False))
    return rows
