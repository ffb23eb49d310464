"""Rebuilds the shipped sketch and label encoder from nothing: codes first, then what they draw."""

import sys

from train import main

CODES = [
    "configs/structure.yaml",
    "--folder=runs/structure-codes",
    "--set=out=runs/structure-codes.safetensors",
    "--set=steps=700",
    "--set=lr=0.0005",
    "--set=options.start=''",
    "--set=options.drawn_batch=16",
    "--set=options.photo_batch=8",
    "--set=options.back=0",
]

if __name__ == "__main__":
    sys.exit(main(CODES) or main(["configs/structure.yaml", *sys.argv[1:]]))
