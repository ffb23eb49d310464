"""Rebuilds the shipped weights of configs/attributes.yaml from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/attributes.yaml", *sys.argv[1:]]))
