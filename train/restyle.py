"""Rebuilds the encoder that looks again, beside the shipped visual encoder (ReStyle).

Two hours on a core. First it is fitted in closed form to codes that some steps of optimisation come
to from the encoder's, of 3,900 photos; then gradients go through the generator's previews, as
configs/restyle.yaml says. Run it again to go on where it was stopped. What it writes is what `tedi
invert photo.jpg --method restyle` looks by, or one with `--encoder FILE`.

For StyleGAN2 or 3 of one's own, the network and settings of ReStyle-e4e are in another config:

    python train/train.py configs/restyle-file.yaml --set options.generator=mine.safetensors

Its `options.photos` and `options.photo_cache` are the photos; what it writes is an encoder for
`tedi invert photo.jpg --generator mine.safetensors --encoder restyle.safetensors`.
"""

import logging
import sys
from pathlib import Path

import torch

from tedi import config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.checkpoints.identity import load_identity
from tedi.errors import TediError
from tedi.tensors import save_file
from tedi.training.looks import LessonOptions, Lessons
from tedi.training.networks import open_generator
from tedi.training.pictures import photo_pixels
from tedi.training.restyle import FIRST, RestyleOptions, halved
from train import main, parsed, read

CONFIG, FOLDER = Path("configs/restyle.yaml"), Path("runs/restyle-lessons")


def fitted(options: RestyleOptions) -> None:
    """Write the encoder that the config starts with, unless it is there."""
    out = Path(options.start)
    if out.exists():
        return
    keep_freed_memory()
    generator = open_generator(torch.device("cpu"))
    first = native.load_visual_encoder(zoo.pull(FIRST))
    first.describe = describe = load_identity(zoo.pull("face-recognition"))
    maps = native.load_attribute_model(zoo.pull("attributes-lite0")).maps
    photos = photo_pixels(Path(options.photos), Path(options.photo_cache))
    taught = photos[: len(photos) - options.held_out]
    lessons = Lessons(
        first, torch.compile(generator.preview), maps, describe, taught, FOLDER, LessonOptions()
    )
    looker = lessons.learn()
    told = {"architecture": "residual", "looks": "2", "first": zoo.sha256(zoo.pull(FIRST))}
    temporary = out.with_suffix(".tmp")
    save_file(halved(looker), temporary, metadata=told)
    temporary.replace(out)


def both(arguments: list[str]) -> int:
    """Exit status of the fit and of the config's run."""
    every = [str(CONFIG), *arguments]
    asked = parsed(every)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        options = read(asked.config, asked.set).options
        if not asked.dry_run:
            fitted(config.build(RestyleOptions, options, where=str(asked.config)))
    except TediError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_code
    return main(every)


if __name__ == "__main__":
    sys.exit(both(sys.argv[1:]))
