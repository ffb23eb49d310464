"""Rebuilds the shipped visual encoder from nothing: codes of drawn faces first, then photos."""

import sys

from train import main

CODES = [
    "configs/visual.yaml",
    "--folder=runs/visual-codes",
    "--set=out=runs/visual-codes.safetensors",
    "--set=steps=600",
    "--set=lr=0.0005",
    "--set=options.start=''",
    "--set=options.person=false",
    "--set=options.photo_batch=0",
    "--set=options.drawn_batch=16",
    "--set=options.worn=0.5",
]

if __name__ == "__main__":
    sys.exit(main(CODES) or main(["configs/visual.yaml", *sys.argv[1:]]))
