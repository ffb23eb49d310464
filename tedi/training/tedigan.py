"""Trains the TediGAN baseline on tedifaces: codes regressed from captions, and a pairwise ranking.

With w^v the code of a face's picture and w^l that of its caption, offsets from the mean of W d^v
and d^l, and s their cosine over all slots,

    L_vls  = Σ_l p_l mean_C (w^v_l − w^l_l)²,  p_l = 1/L                                     (1)
    L_rank = mean over others (') of the batch, with [x]₊ = max(0, x), of
             [m − s(d^v, d^l) + s(d^v, d^l')]₊ + [m − s(d^v, d^l) + s(d^v', d^l)]₊

(1) is the visual-linguistic similarity loss of TediGAN (Xia et al. 2021, section 3.2) with the norm
taken layer by layer, so that differences of layers cannot cancel. Other captions of a batch count
as wrong even where they are true of the face too: nothing but the pairing is used.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tedi import config, grammar
from tedi.encoders.tedigan import END, MAX_WORDS, TediGANText, split_words
from tedi.interfaces import Generator
from tedi.metrics.retrieval import r_precision
from tedi.training.dataset import PSI, is_held_out, load_tedifaces, noise
from tedi.training.loop import Settings
from tedi.training.networks import open_generator


@dataclass(frozen=True)
class TediGANOptions:
    """Settings of the task."""

    data: str = "data/tedifaces"  # folder of faces.jsonl
    batch_size: int = 48  # faces a step, one caption each
    composed: int = 8  # captions composed for a face
    own: float = 0.3  # share of steps' captions that are the faces' own
    least: int = 2  # a word in fewer training captions is left out of the vocabulary
    ranking: float = 1.0  # weight of the ranking term
    margin: float = 0.2  # m, by which the own caption's cosine must lead


def make_task(settings: Settings) -> "TediGANTask":
    """The task on the released generator, which is fetched if need be."""
    options = config.build(TediGANOptions, settings.options, where="options")
    faces = load_tedifaces(Path(options.data))
    return TediGANTask(open_generator(settings.place), faces, options, seed=settings.seed)


class TediGANTask:
    """Fits `TediGANText` to the codes that tedifaces were drawn from."""

    def __init__(
        self,
        generator: Generator,
        faces: Sequence[Mapping[str, Any]],
        options: TediGANOptions,
        *,
        seed: int,
    ) -> None:
        self.options, self.seed = options, seed
        faces = list(faces)
        self.held = torch.tensor([is_held_out(face["index"]) for face in faces])
        with torch.no_grad():
            z = noise([face["index"] for face in faces]).to(generator.w_avg)
            w = generator.mapping(z)
            self.codes = generator.w_avg + PSI * (w - generator.w_avg)  # of the pictures
        texts = self._write_captions(faces)
        torch.manual_seed(seed)
        words = self._vocabulary(texts)
        self.model = TediGANText(words, slots=generator.slots, channels=generator.width)
        self.model.w_avg.copy_(generator.w_avg)
        self.tokens = [self.model.tokens(text) for text in texts]

    def _write_captions(self, faces: Sequence[Mapping[str, Any]]) -> list[str]:
        """A face's own caption first, then `composed` more; unseen wordings for held-out faces."""
        rng = np.random.default_rng(self.seed)
        texts: list[str] = []
        for face, held in zip(faces, self.held.tolist(), strict=True):
            split = "heldout" if held else "train"
            texts.append(face["caption"])
            for _ in range(self.options.composed):
                texts.append(grammar.compose(face, rng, split=split).text)
        return texts

    def _vocabulary(self, texts: Sequence[str]) -> list[str]:
        """Words of the training captions, in the order of the alphabet, after `END`."""
        each = self.options.composed + 1
        counts: Counter[str] = Counter()
        for face in (~self.held).nonzero().flatten().tolist():
            for text in texts[face * each : (face + 1) * each]:
                counts.update(set(split_words(text)))
        return [END, *sorted(word for word, n in counts.items() if n >= self.options.least)]

    def _take(self, faces: Tensor, own: float, random: torch.Generator) -> list[list[int]]:
        """Word numbers of a caption for each face, its own with probability `own`.

        Of a longer one, 20 words in their order, drawn at random as AttnGAN does in training.
        """
        each = self.options.composed + 1
        nth = torch.randint(1, each, (len(faces),), generator=random)
        nth[torch.rand(len(faces), generator=random) < own] = 0
        taken = []
        for row in (faces * each + nth).tolist():
            tokens = self.tokens[row]
            if len(tokens) > MAX_WORDS:
                kept = torch.randperm(len(tokens), generator=random)[:MAX_WORDS].sort().values
                tokens = [tokens[i] for i in kept.tolist()]
            taken.append(tokens)
        return taken

    def step(self, step: int) -> dict[str, Tensor]:
        """Regression and ranking losses of one batch."""
        options, model = self.options, self.model
        random = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + step)
        train = (~self.held).nonzero().flatten()
        faces = train[torch.randperm(len(train), generator=random)[: options.batch_size]]
        ws = model.regress(self._take(faces, options.own, random))
        ranking = rank_pairs(self.cosines(ws, faces), margin=options.margin)
        return {"code": self.errors(ws, faces).mean(), "ranking": options.ranking * ranking}

    def errors(self, ws: Tensor, faces: Tensor) -> Tensor:
        """Mean squared error by row and slot, (N, L), of codes against those of faces."""
        return (ws - self.codes[faces][:, None]).square().mean(dim=2)

    def cosines(self, ws: Tensor, faces: Tensor) -> Tensor:
        """Cosines (texts, faces) of offsets from the mean of W, over all slots."""
        said = (ws - self.model.w_avg).flatten(1)
        seen = (self.codes[faces] - self.model.w_avg).repeat(1, ws.shape[1])
        return F.normalize(said, dim=1, eps=1e-2) @ F.normalize(seen, dim=1).T

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group: all of the model at one rate."""
        return [{"params": list(self.model.parameters()), "lr": lr}]

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """On held-out faces: how well captions find their codes, and the error of the codes.

        Errors are over those of the mean code (1 has learned nothing), for all slots and, of the
        composed captions, for each.
        """
        model, held = self.model.eval(), self.held.nonzero().flatten()
        random = torch.Generator().manual_seed(0)
        mean = self.errors(model.w_avg.expand(1, model.slots, -1), held).mean(dim=0)
        figures = {"held-out faces": float(len(held)), "words": float(len(model.words))}
        for name, own in (("own captions", 1.0), ("composed, unseen wording", 0.0)):
            ws = model.regress(self._take(held, own, random))
            share, cosines = self.errors(ws, held).mean(dim=0) / mean, self.cosines(ws, held)
            figures[f"R-precision of 100, {name}"] = round(r_precision(cosines.cpu()), 4)
            figures[f"error, {name}"] = round(float(share.mean()), 4)
        figures |= {f"error, slot {i}": round(x, 4) for i, x in enumerate(share.tolist())}
        return figures

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The encoder in float16, its vocabulary in the metadata."""
        return {n: t.half() for n, t in self.model.state_dict().items()}, {
            "architecture": "tedigan-text",
            "kind": "text encoder, baseline",
            "for": "mobilestylegan-ffhq",
            "words": json.dumps(self.model.words),
            "licence": "MIT",
            "data": "data/tedifaces (CC BY 4.0), every eighth face held out; captions composed "
            "from its labels by tedi.grammar",
            "recipe": "train/tedigan.py",
            "options": json.dumps(asdict(self.options)),
            "note": "TediGAN's published recipe: codes regressed from captions by a BiLSTM.",
        }


def rank_pairs(cosines: Tensor, *, margin: float) -> Tensor:
    """L_rank: mean over pairs of how far a mismatch comes within the margin, in both directions."""
    own, n = cosines.diagonal(), len(cosines)
    others = ~torch.eye(n, dtype=torch.bool, device=cosines.device)
    by_text = (margin - own[:, None] + cosines).clamp_min(0)
    by_face = (margin - own[None] + cosines).clamp_min(0)
    return (by_text + by_face)[others].mean()
