"""Rebuilds the base-code encoder of configs/base.yaml from nothing."""

import sys

from train import main

if __name__ == "__main__":
    sys.exit(main(["configs/base.yaml", *sys.argv[1:]]))
