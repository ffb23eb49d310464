"""Rebuilds the shipped weights of configs/text.yaml from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/text.yaml", *sys.argv[1:]]))
