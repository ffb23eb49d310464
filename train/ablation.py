"""What each part of the visual encoder's training adds, at equal short budgets.

    python train/ablation.py --out benchmarks/visual-ablation.json

The ablation of in-domain inversion (Zhu et al. 2020, section 4.4) and of TediGAN: an encoder that
learns codes of drawn faces alone, one that learns from photos by what its codes draw, and one with
discriminators beside that. All go on from the first stage of `train/visual.py`, which must have
run, for the same number of steps of twelve pictures.
"""

import argparse
import json
import sys
from pathlib import Path

from tedi.checkpoints.native import read
from train import main as train

STEPS = 100
SHARED = [
    "configs/visual.yaml",
    f"--set=steps={STEPS}",
    "--set=lr=0.0003",
    "--set=warmup=20",
    "--set=ema=0.97",
    "--set=options.start=runs/visual-codes.safetensors",
    "--set=options.full=false",
]
MIXED = ["--set=options.photo_batch=8", "--set=options.drawn_batch=4"]
VARIANTS = {
    "codes": ["--set=options.photo_batch=0", "--set=options.drawn_batch=12"],
    "pictures": [*MIXED, "--set=options.adversary=0", "--set=options.codes_adversary=0"],
    "full": MIXED,
}


def main() -> int:
    """Exit status: 0 trained and written, else that of the variant that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="JSON of the figures")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    figures = {}
    for name, changes in VARIANTS.items():
        out = Path(f"runs/ablation-{name}.safetensors")
        if not out.is_file():
            own = [f"--folder=runs/ablation-{name}", f"--set=out={out}"]
            asked = [f"--set={change}" for change in options.set]
            if status := train([*SHARED, *own, *changes, *asked]):
                return status
        figures[name] = json.loads(read(out)[1]["figures"])
    told = {"steps": STEPS, "pictures a step": 12, "drawn as": "256 px previews"}
    options.out.write_text(json.dumps(told | {"figures": figures}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
