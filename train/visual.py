"""Rebuilds the shipped visual encoder from nothing: codes of drawn faces, photos, full size."""

import sys

from train import stages

CODES = [
    "configs/visual.yaml",
    "--folder=runs/visual-codes",
    "--set=out=runs/visual-codes.safetensors",
    "--set=steps=600",
    "--set=lr=0.0005",
    "--set=warmup=40",
    "--set=ema=0.99",
    "--set=options.start=''",
    "--set=options.full=false",
    "--set=options.person=false",
    "--set=options.photo_batch=0",
    "--set=options.drawn_batch=16",
    "--set=options.worn=0.5",
]
PHOTOS = [
    "configs/visual.yaml",
    "--folder=runs/visual-photos",
    "--set=out=runs/visual-photos.safetensors",
    "--set=steps=2600",
    "--set=lr=0.0003",
    "--set=warmup=60",
    "--set=ema=0.99",
    "--set=options.start=runs/visual-codes.safetensors",
    "--set=options.full=false",
    "--set=options.photo_batch=8",
    "--set=options.drawn_batch=4",
]

if __name__ == "__main__":
    sys.exit(stages((CODES, PHOTOS, ["configs/visual.yaml"]), sys.argv[1:]))
