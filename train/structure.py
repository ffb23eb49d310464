"""Rebuilds the shipped sketch and label encoder from nothing: codes, pictures, what is open."""

import sys

from train import stages

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
PICTURES = [
    "configs/structure.yaml",
    "--folder=runs/structure-pictures",
    "--set=out=runs/structure-pictures.safetensors",
    "--set=steps=1300",
    "--set=lr=0.0003",
    "--set=warmup=50",
    "--set=options.start=runs/structure-codes.safetensors",
    "--set=options.fill_rate=3.0",
]

if __name__ == "__main__":
    sys.exit(stages((CODES, PICTURES, ["configs/structure.yaml"]), sys.argv[1:]))
