"""Rebuilds the shipped directions from nothing: one boundary an attribute, and GANSpace's axes.

A minute on one core. With --compare FOLDER it prints the cosines with published directions.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from tedi import pipeline, zoo
from tedi.checkpoints import directions as files
from tedi.checkpoints import native
from tedi.interfaces import Generator
from tedi.latents import Direction
from tedi.semantics.contrasts import CONTRASTS, fit_contrast
from tedi.semantics.directions import ganspace
from tedi.training.dataset import PSI, SEED, is_held_out, load_tedifaces, noise

ROOT = Path(__file__).parents[1]
OUT = ROOT / "tedi" / "weights" / "directions-ffhq.safetensors"
SAMPLES, AXES = 50_000, 20
METADATA = {
    "recipe": "train/directions.py",
    "for": "mobilestylegan-ffhq",
    "licence": "MIT",
    "data": "data/tedifaces (CC BY 4.0), every eighth face held out",
    "note": "Unit vectors in the W of StyleGAN2-FFHQ; offsets and spreads of boundaries are of "
    f"codes at psi {PSI}, those of principal axes at psi 1.",
    "seeds": f"noise of tedifaces {SEED}; noise of principal axes 0, {SAMPLES} codes",
}


@torch.inference_mode()
def boundaries(generator: Generator, faces: list[dict]) -> list[Direction]:
    """One for each contrast, on the truncated codes whose pictures were labelled."""
    indices = [face["index"] for face in faces]
    w = generator.mapping(noise(indices))
    w = generator.w_avg + PSI * (w - generator.w_avg)
    held_out = torch.tensor([is_held_out(index) for index in indices])
    return [fit_contrast(w, faces, name, held_out=held_out) for name in CONTRASTS]


@torch.inference_mode()
def samples(generator: Generator) -> Tensor:
    """Codes (SAMPLES, C) of the mapping network, not truncated."""
    random = torch.Generator().manual_seed(0)
    parts = torch.randn(SAMPLES, generator.width, generator=random).split(5_000)
    return torch.cat([generator.mapping(z) for z in parts])


def compare(found: list[Direction], w: Tensor, folder: Path) -> None:
    """Print cosines with published directions: of vectors, and of scores over codes."""
    covariance = torch.cov(w.T)
    for file in sorted(folder.glob("*.pt")):
        (theirs,) = files.load(file).values()
        other = theirs.vector.reshape(-1, w.shape[1]).mean(dim=0)
        other = other / other.norm()
        for ours in found:
            own = ours.vector
            scores = own @ covariance @ other
            scores /= ((own @ covariance @ own) * (other @ covariance @ other)).sqrt()
            print(f"{file.stem}  {ours.name:12}  {own @ other:+.3f}  {scores:+.3f}")


def main() -> int:
    """Fit, write and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--compare", type=Path, help="a folder of published .pt directions")
    options = parser.parse_args()
    generator = native.load_generator([zoo.pull(pipeline.GENERATOR), zoo.pull(pipeline.PREVIEW)])
    found = boundaries(generator, list(load_tedifaces(ROOT / "data" / "tedifaces")))
    for direction in found:
        print(f"{direction.name:12}  {direction.figures}")
    w = samples(generator)
    files.save(options.out, [*found, *ganspace(w, AXES)], METADATA, exist="overwrite")
    print(options.out)
    if options.compare:
        compare(found, w, options.compare)
    return 0


if __name__ == "__main__":
    sys.exit(main())
