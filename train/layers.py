"""Rebuilds the shipped layer table: which slots carry which attribute, and its heat map.

Ten minutes on two cores; run it again to go on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

from tedi.cli.layers import JUDGE, Measuring, draw_plot, measured

ROOT = Path(__file__).parents[1]
OUT = ROOT / "tedi" / "weights" / "layers-ffhq.safetensors"
PLOT = ROOT / "benchmarks" / "layers.png"
METADATA = {
    "recipe": "train/layers.py",
    "for": "mobilestylegan-ffhq",
    "licence": "MIT",
    "data": "none: faces of the generator, slots swapped between two, judged by attributes-lite0",
    "note": "Effect of swapping slots on each attribute, 0 keeps face A's, 1 takes face B's; "
    "value, and low and high ends of 95 % intervals over pairs.",
}


def main() -> int:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judge", default=JUDGE)
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--partial", type=Path, default=ROOT / "runs" / "layers.safetensors")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args()
    how = Measuring(count=options.count, judge=options.judge, device="cpu")
    table = measured(options.out, how, kept=options.partial, metadata=METADATA)
    shown = [name for name in table.attributes if " " not in name]
    draw_plot(table, shown, options.plot)
    print(options.out, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
