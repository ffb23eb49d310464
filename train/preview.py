"""Rebuilds the shipped weights of configs/preview.yaml from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/preview.yaml", *sys.argv[1:]]))
