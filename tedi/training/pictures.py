"""Pictures to train on, 256 px, drawn or decoded once and kept in a file."""

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tedi.interfaces import Generator
from tedi.training.dataset import COUNT, PSI, load_masks, noise

log = logging.getLogger(__name__)

SIZE = 256


def codes_of(generator: Generator, faces: Sequence[int]) -> Tensor:
    """Codes ws (N, L, C) that faces of tedifaces were drawn from, by index."""
    w = generator.mapping(noise(list(faces)).to(generator.w_avg))
    return (generator.w_avg + PSI * (w - generator.w_avg))[:, None].repeat(1, generator.slots, 1)


@torch.inference_mode()
def draw_faces(generator: Generator, faces: Sequence[int], cache: Path) -> NDArray[np.uint8]:
    """Pictures (4096, 3, 256, 256) of tedifaces, area-reduced; rows of other faces are zero.

    What an earlier, stopped run has drawn into `cache` is kept.
    """
    shape = (COUNT, 3, SIZE, SIZE)
    mode = "r+" if cache.exists() else "w+"
    cache.parent.mkdir(parents=True, exist_ok=True)
    pixels: NDArray[np.uint8] = np.lib.format.open_memmap(
        cache, mode=mode, dtype=np.uint8, shape=shape
    )
    missing = [i for i in faces if not pixels[i].any()]
    log.info("drawing %d faces into %s", len(missing), cache)
    for index in missing:
        image = generator.synthesis(codes_of(generator, [index]))
        pixels[index] = to_bytes(F.interpolate(image, (SIZE, SIZE), mode="area"))[0]
    return pixels


def to_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Pictures (N, 3, H, W) in [-1, 1] as bytes."""
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().cpu().numpy()


def from_bytes(pixels: NDArray[np.uint8]) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1] of bytes."""
    return torch.from_numpy(pixels).float() / 127.5 - 1


def photo_pixels(folder: Path, cache: Path) -> NDArray[np.uint8]:
    """Pixels (N, 3, 256, 256) of the photos of a folder's parquet files, decoded once."""
    if not cache.exists():
        log.info("decoding photos into %s", cache)
        rows = [_decoded(photo["image"]["bytes"]) for photo in load_masks(folder)]
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_name(f"part-{cache.name}")
        np.save(temporary, np.stack(rows))
        temporary.replace(cache)
    pixels: NDArray[np.uint8] = np.load(cache, mmap_mode="r")
    return pixels


def _decoded(content: bytes) -> NDArray[np.uint8]:
    picture = Image.open(io.BytesIO(content)).convert("RGB").resize((SIZE, SIZE))
    return np.asarray(picture).transpose(2, 0, 1)


@torch.no_grad()
def draw_previews(draw: Callable[[Tensor], Tensor], ws: Tensor, cache: Path) -> NDArray[np.uint8]:
    """Pictures (N, 3, 256, 256) that `draw` makes of codes ws (N, L, C), kept in `cache`."""

    def drawn(rows: slice) -> NDArray[np.uint8]:
        return to_bytes(draw(ws[rows].float()))

    return kept(cache, (len(ws), 3, SIZE, SIZE), drawn)


def kept(
    cache: Path,
    shape: tuple[int, ...],
    make: Callable[[slice], NDArray[Any]],
    *,
    dtype: type[np.generic] = np.uint8,
    batch: int = 8,
) -> NDArray[Any]:
    """An array that is made once, some rows at a time, and kept in a file.

    What a stopped run has made is kept, too: rows that are zeros throughout are made.

    Args:
        cache: a .npy file.
        shape: of the array.
        make: rows of it, by their numbers.
        dtype: of its numbers.
        batch: rows made at a time.
    """
    mode = "r+" if cache.exists() else "w+"
    cache.parent.mkdir(parents=True, exist_ok=True)
    rows: NDArray[Any] = np.lib.format.open_memmap(cache, mode=mode, dtype=dtype, shape=shape)
    for start in range(0, len(rows), batch):
        if not rows[start].any():
            rows[start : start + batch] = make(slice(start, min(start + batch, len(rows))))
            if start % 512 == 0:
                log.info("%d of %d rows made in %s", start, len(rows), cache)
    return rows
