"""Rebuilds the shipped preview head from nothing, in two stages."""

import sys

from train import main

STAGES = ("configs/preview.yaml", "configs/preview-fine.yaml")

if __name__ == "__main__":
    for stage in STAGES:
        if status := main([stage, *sys.argv[1:]]):
            sys.exit(status)
