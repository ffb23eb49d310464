"""Rebuilds the shipped weights of configs/judge.yaml from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/judge.yaml", *sys.argv[1:]]))
