"""Trains the small StyleGAN3s from nothing: one of upright faces, and of it one of any place.

    python train/stylegan3.py

Needs about ten minutes and three on one idle core, after the pictures of tedifaces are drawn once.
The faces stay blurred: heads, hair and a line of the eyes; place, turn and W are what they are for.
"""

import sys

from train import main

STAGES = ("configs/stylegan3-copy.yaml", "configs/stylegan3-unaligned.yaml")

if __name__ == "__main__":
    for stage in STAGES:
        if status := main([stage, *sys.argv[1:]]):
            sys.exit(status)
