"""Where obedience is lost: in reading the prompt, between code and picture, or in the judge's eye.

    python benchmarks/obedience.py --out benchmarks/obedience.json

Every prompt of freeform.jsonl is followed twice: as the text encoder reads it, and as it is meant
(what the file says of it stands in for the reading). What comes is looked at three times: by the
reader of codes, which the move obeys; on the picture by attributes-lite0, which taught that reader;
and on the picture by judge-lite0, which no training has used. From one to the next in either
direction is what is lost there. Nothing may be tuned on these prompts.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from speed import machine
from torch import Tensor
from tqdm import tqdm

from tedi import attributes, control, load
from tedi.checkpoints import native
from tedi.encoders.text import Reading
from tedi.grammar import ATTRIBUTES, Caption
from tedi.metrics.accuracy import agreement, named
from tedi.metrics.prompts import read
from tedi.metrics.score import estimate
from tedi.metrics.text import seeds_of
from tedi.outputs import write_atomically
from tedi.pipeline import Toolkit
from tedi.zoo import path

HERE = Path(__file__).parent
PSI = 0.7
READINGS = ("as read", "as meant")
LOOKS = ("the reader of codes", "attributes-lite0", "judge-lite0")


def meant(caption: Caption, like: Reading) -> Reading:
    """What a prompt says, in place of what is read in it: (1, V), and no wishes."""
    return Reading(attributes.allowed_by(caption.says)[None], torch.zeros_like(like.moves))


def looks(model: Toolkit, networks: dict[str, Any], ws: Tensor) -> dict[str, Tensor]:
    """Log-probabilities (N, V) of what codes (N, L, C) show, by who looks."""
    pictures = torch.cat([model.generator.preview(row).clamp(-1, 1) for row in ws.split(1)])
    seen = {name: network(pictures) for name, network in networks.items()}
    seen |= {LOOKS[0]: model.text.codes(ws)}
    return {name: attributes.log_softmax(seen[name]) for name in LOOKS}


@torch.no_grad()
def follow(
    model: Toolkit, networks: dict[str, Any], caption: Caption, seeds: list[int]
) -> dict[tuple[str, str], Tensor]:
    """Whether each attribute is right, (S, A) bool, by reading and look."""
    said = model.text.read([caption.text])
    style = control.style_codes(model.generator, seeds_of(caption.text, seeds), psi=PSI)
    right = {}
    for how, reading in zip(READINGS, (said, meant(caption, said)), strict=True):
        rows = Reading(*(part.expand(len(style), -1) for part in (reading.agrees, reading.moves)))
        ws = model.way("move")(style, [caption.text] * len(style), rows, strength=1.0, new=True)
        for who, log_p in looks(model, networks, ws).items():
            right[how, who] = agreement(log_p, [caption.says] * len(style))
    return right


def table(captions: list[Caption], right: list[dict[tuple[str, str], Tensor]]) -> dict[str, Any]:
    """Share of named attributes that are right, with its interval, and by attribute."""
    asked = named([caption.says for caption in captions])  # (T, A)
    rows: dict[str, Any] = {}
    for how, who in itertools.product(READINGS, LOOKS):
        sums = torch.stack([r[how, who].sum(dim=0) for r in right]) * asked
        counts = asked * len(right[0][how, who])
        ends = estimate(sums.sum(dim=1), counts.sum(dim=1), rate=True)
        parts = {
            attribute: round(float(good.sum() / of.sum()), 3)
            for attribute, good, of in zip(ATTRIBUTES, sums.T, counts.T, strict=True)
            if of.any()
        }
        whole = dict(zip(("right", "low", "high"), (round(end, 4) for end in ends), strict=True))
        rows[f"{how}, by {who}"] = {**whole, "parts": parts}
    rows["n"] = int(asked.sum()) * len(right[0][READINGS[0], LOOKS[0]])
    return rows


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=Path, default=HERE / "freeform.jsonl")
    parser.add_argument("--seeds", type=int, default=4, help="pictures a prompt")
    parser.add_argument("--out", type=Path, help="a .json file")
    options = parser.parse_args()
    model = load(device="cpu")
    networks = {name: native.load_attribute_model(path(name)) for name in LOOKS[1:]}
    captions = read(options.prompts)
    seeds = list(range(options.seeds))
    right = [follow(model, networks, caption, seeds) for caption in tqdm(captions, disable=None)]
    rows = table(captions, right)
    for name, row in rows.items():
        if name != "n":
            print(f"{name:35} {row['right']:.3f} ({row['low']:.3f}-{row['high']:.3f})")
    if options.out:
        told = {"machine": machine(), "prompts": len(captions), "seeds": options.seeds, **rows}
        text = json.dumps(told, indent=1) + "\n"
        write_atomically(options.out, lambda file: file.write_text(text), exist="overwrite")
    return 0


if __name__ == "__main__":
    sys.exit(main())
