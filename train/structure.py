"""Rebuilds the shipped weights of configs/structure.yaml from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/structure.yaml", *sys.argv[1:]]))
