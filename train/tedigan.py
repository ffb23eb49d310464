"""Rebuilds the weights of configs/tedigan.yaml, TediGAN's recipe for text, from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/tedigan.yaml", *sys.argv[1:]]))
