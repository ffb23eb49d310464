"""Draws the pictures of tedifaces again: python data/tedifaces/redraw.py FOLDER [--first N]."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

from tedi import images, pipeline, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.training.dataset import PSI, load_tedifaces, noise

HERE = Path(__file__).parent


@torch.inference_mode()
def redraw(folder: Path, *, size: int = 1024, first: int | None = None) -> None:
    """Write `NNNN.png` for each face; files that are there stay.

    Args:
        folder: where to.
        size: pixels a side; the 1024 px picture is area-reduced.
        first: only so many faces.
    """
    keep_freed_memory()
    generator = native.load_generator([zoo.pull(pipeline.GENERATOR), zoo.pull(pipeline.PREVIEW)])
    faces = load_tedifaces(HERE)
    for face in tqdm(faces.select(range(min(first or len(faces), len(faces))))):
        path = folder / f"{face['index']:04d}.png"
        if path.exists():
            continue
        w = generator.mapping(noise([face["index"]]))
        w = generator.w_avg + PSI * (w - generator.w_avg)
        image = generator.synthesis(w[:, None].expand(-1, generator.slots, -1))
        picture = images.to_pil(F.interpolate(image, (size, size), mode="area"))[0]
        record = {"command": "tedifaces", "index": face["index"], "prompt": face["caption"]}
        images.save(picture, path, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--first", type=int)
    options = parser.parse_args()
    redraw(options.folder, size=options.size, first=options.first)
