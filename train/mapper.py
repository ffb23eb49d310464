"""Trains a latent mapper for a text: python train/mapper.py "a beard" --out beard.safetensors.

Three minutes on a core; run it again to go on where it was stopped. The settings are those of
configs/mapper.yaml, and `--set` changes single ones, as in --set options.groups=coarse,medium, or
--set device=cuda.

A generator of one's own, of any W, gets a mapper of its own:

    python train/mapper.py "a beard" --generator mine.pkl --out beard.safetensors
    tedi edit photo.jpg --mapper beard.safetensors --generator mine.pkl --encoder mine-e4e.pt

Texts that an attribute model does not know are judged by a CLIP, from the hub or a folder. Where
pictures are not of faces, leave the loss of persons out, too:

    python train/mapper.py "a red car" --generator cars.pkl --out red.safetensors \
        --set options.judge=openai/clip-vit-base-patch32 --set options.code=0.8 \
        --set options.identity=0.0
"""

import argparse
import sys
from pathlib import Path

from train import main as train


def main() -> int:
    """Exit status of `train/train.py`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prompt", help="what the mapper is to make of every face")
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file")
    parser.add_argument("--generator", type=Path, help="a file of one's own; default tedi's")
    parser.add_argument("--folder", type=Path, help="for checkpoints; default runs/mapper-NAME")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    folder = options.folder or Path("runs") / f"mapper-{options.out.stem}"
    changes = [f"options.prompt={options.prompt}", f"out={options.out}", *options.set]
    if options.generator:
        changes.append(f"options.generator={options.generator}")
    given = [part for change in changes for part in ("--set", change)]
    return train(["configs/mapper.yaml", f"--folder={folder}", *given])


if __name__ == "__main__":
    sys.exit(main())
