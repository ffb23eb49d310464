"""Rebuilds the shipped weights of configs/parser.yaml from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/parser.yaml", *sys.argv[1:]]))
