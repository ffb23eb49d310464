"""Rebuilds the shipped preview head from nothing, in two stages."""

import sys

from train import stages

STAGES = (["configs/preview.yaml"], ["configs/preview-fine.yaml"])

if __name__ == "__main__":
    sys.exit(stages(STAGES, sys.argv[1:]))
