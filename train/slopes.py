"""Rebuilds the shipped slopes: how each number of a code changes what a picture shows.

Ten minutes on a core; run it again to go on where it was stopped.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from tedi import attributes, control, pipeline, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native, slopes
from tedi.checkpoints.layers import resumed
from tedi.semantics.channels import CONTRASTS
from tedi.semantics.channels import slopes as slopes_of

ROOT = Path(__file__).parents[1]
OUT = ROOT / "tedi" / "weights" / "slopes-ffhq.safetensors"
FIRST, PSI, JUDGE = 700_000, 0.7, "attributes-lite0"
METADATA = {
    "recipe": "train/slopes.py",
    "for": "mobilestylegan-ffhq",
    "licence": "MIT",
    "data": f"none: faces of the generator, judged by {JUDGE}",
    "note": "Mean derivatives of logits by codes of W+, each logit less that of the first value of "
    "its attribute; backgrounds are left out.",
}


def measured(count: int, partial: Path) -> tuple[Tensor, dict[str, float]]:
    """Mean slopes (K, L, C) of the faces of seeds, and how alike both halves of the faces are."""
    keep_freed_memory()
    generator = native.load_generator([zoo.pull(pipeline.GENERATOR), zoo.pull(pipeline.PREVIEW)])
    judge = native.load_attribute_model(zoo.pull(JUDGE))

    def make(row: int) -> Tensor:
        with torch.no_grad():
            ws = control.style_codes(generator, [FIRST + row], psi=PSI)
        return slopes_of(ws, generator.preview, judge)

    about = {"seed": FIRST, "psi": PSI, "judge": JUDGE}
    rows = resumed(make, count=count, path=partial, about=about, on_row=print).float()
    halves = [rows[start::2].mean(dim=0).flatten(1) for start in (0, 1)]
    alike = torch.nn.functional.cosine_similarity(*halves)
    names = [f"{group}={value}" for group, value in (attributes.COLUMNS[i] for i in CONTRASTS)]
    return rows.mean(dim=0), dict(zip(names, alike.tolist(), strict=True))


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=48, help="faces")
    parser.add_argument("--partial", type=Path, default=ROOT / "runs" / "slopes.safetensors")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    values, alike = measured(options.count, options.partial)
    made = {"seeds": f"{FIRST} to {FIRST + options.count - 1}, psi {PSI}"}
    mean = sum(alike.values()) / len(alike)
    made["figures"] = f"cosine of the two halves of the faces, mean of {len(alike)}: {mean:.3f}"
    found = slopes.Slopes(values, tuple(alike), METADATA | made)
    slopes.save(options.out, found, exist="overwrite")
    for name, cosine in alike.items():
        print(f"{name:28} {cosine:.2f}")
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
