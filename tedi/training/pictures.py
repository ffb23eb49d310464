"""Pictures of tedifaces at 256 px, drawn once and kept in a file."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tedi.interfaces import Generator
from tedi.training.dataset import COUNT, PSI, noise

log = logging.getLogger(__name__)

SIZE = 256


def codes_of(generator: Generator, faces: Sequence[int]) -> Tensor:
    """Codes ws (N, L, C) that faces of tedifaces were drawn from, by index."""
    w = generator.mapping(noise(list(faces)))
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
    return ((image.clamp(-1, 1) + 1) * 127.5).round().byte().numpy()


def from_bytes(pixels: NDArray[np.uint8]) -> Tensor:
    """Pictures (N, 3, H, W) in [-1, 1] of bytes."""
    return torch.from_numpy(pixels).float() / 127.5 - 1
