"""Trains the text encoder on tedifaces: similarity of codes and captions, per layer, and ranking.

Each face has its own caption and many composed from its labels (`tedi.grammar`). The loss is the
negative of equation (1) of `tedi.encoders.text`, averaged over layers, plus a ranking term: among
the codes of a batch a caption must find those of the faces it is true of, and a code its captions.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tedi import config, grammar, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.encoders.text import TextEncoder
from tedi.interfaces import Generator
from tedi.language import TextBackbone, load_backbone
from tedi.training.dataset import is_held_out, load_tedifaces, noise
from tedi.training.loop import Settings

log = logging.getLogger(__name__)

VALUES = [(a, v) for a, values in grammar.ATTRIBUTES.items() for v in values]
RARE = 12  # a value with fewer training faces gets no concept of its own


@dataclass(frozen=True)
class TextOptions:
    """Settings of the task."""

    data: str = "data/tedifaces"  # folder of faces.jsonl
    backbone: str = "minilm-l6"  # weights by name
    batch_size: int = 128  # faces a step, one caption each
    composed: int = 8  # captions composed for a face
    typos: float = 0.03  # chance that a word of a composed caption is mistyped
    own: float = 0.3  # share of steps' captions that are the faces' own
    ridge: float = 1000.0  # of the label probes the concepts start from, in faces
    blur: float = 0.3  # variance share of a code that noise replaces in training
    ranking: float = 1.0  # weight of the ranking term
    concept_rate: float = 0.1  # learning rate of the concepts, relative to the reader's
    samples: int = 100_000  # codes that mean and covariance of W are measured on


class Captions:
    """Token states of many captions, encoded once; `take` gives a padded batch."""

    def __init__(self, backbone: TextBackbone, texts: Sequence[str], *, chunk: int = 128) -> None:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        self.states: list[Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(order), chunk):
            rows = order[start : start + chunk]
            states, mask = backbone([texts[i] for i in rows])
            for i, state, used in zip(rows, states, mask, strict=True):
                self.states[i] = state[used].half()

    def take(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Token states (N, T, width) and mask (N, T) of some captions."""
        states = [self.states[i].float() for i in rows]
        mask = torch.zeros(len(states), max(map(len, states)), dtype=torch.bool)
        for row, state in zip(mask, states, strict=True):
            row[: len(state)] = True
        return torch.nn.utils.rnn.pad_sequence(states, batch_first=True), mask


def label_vector(face: Mapping[str, Any]) -> Tensor:
    """What is true of a face, (V,) 0 or 1 over all values of the schema."""
    background = grammar.backgrounds(face["background"])
    true = [v in background if a == "background" else face[a] == v for a, v in VALUES]
    return torch.tensor(true, dtype=torch.float32)


def denied(says: Mapping[str, frozenset[Any]]) -> Tensor:
    """Values a caption rules out, (V,) 0 or 1; it is true of faces that have none of them."""
    out = [a in says and a != "background" and v not in says[a] for a, v in VALUES]
    return torch.tensor(out, dtype=torch.float32)


def make_task(settings: Settings) -> "TextTask":
    """The task on the released generator and backbone, which are fetched if need be."""
    keep_freed_memory()
    options = config.build(TextOptions, settings.options, where="options")
    files = [zoo.pull("mobilestylegan-ffhq"), zoo.pull("mobilestylegan-ffhq-preview")]
    backbone = load_backbone(zoo.pull(options.backbone), name=options.backbone)
    faces = load_tedifaces(Path(options.data))
    generator = native.load_generator(files)
    return TextTask(generator, backbone, faces, options, seed=settings.seed)


class TextTask:
    """Fits `TextEncoder` to tedifaces on a frozen backbone."""

    def __init__(
        self,
        generator: Generator,
        backbone: TextBackbone,
        faces: Sequence[Mapping[str, Any]],
        options: TextOptions,
        *,
        seed: int,
    ) -> None:
        self.options, self.seed, self.backbone = options, seed, backbone
        self.faces = list(faces)
        self.labels = torch.stack([label_vector(face) for face in self.faces])
        self.held = torch.tensor([is_held_out(face["index"]) for face in self.faces])
        with torch.no_grad():
            self.codes = generator.mapping(noise([face["index"] for face in self.faces]))
        torch.manual_seed(seed)
        kept = self.labels[~self.held].sum(dim=0) >= RARE
        self.names = [f"{a}: {v}" for (a, v), k in zip(VALUES, kept, strict=True) if k]
        self.model = TextEncoder(backbone.width, len(self.names), slots=generator.slots)
        self._whiten(generator)
        self._probe(kept)
        self._write_captions()

    @torch.no_grad()
    def _whiten(self, generator: Generator) -> None:
        random = torch.Generator().manual_seed(self.seed)
        z = torch.randn(self.options.samples, generator.width, generator=random)
        w = torch.cat([generator.mapping(part) for part in z.split(10_000)])
        values, vectors = torch.linalg.eigh(torch.cov(w.T.double()))
        model, root = self.model, values.clamp_min(1e-8).sqrt()
        model.w_avg.copy_(generator.w_avg)
        model.whiten.copy_((vectors / root).T)
        model.color.copy_(vectors * root)

    @torch.no_grad()
    def _probe(self, kept: Tensor) -> None:
        """Start the concepts at ridge regressions of the labels on whitened codes."""
        train = ~self.held
        u = (self.codes[train] - self.model.w_avg) @ self.model.whiten.T
        labels = self.labels[train][:, kept]
        ridge = self.options.ridge * torch.eye(u.shape[1])
        solution = torch.linalg.solve(u.T @ u + ridge, u.T @ (labels - labels.mean(dim=0)))
        self.model.concepts.copy_(F.normalize(solution.T, dim=1))

    def _write_captions(self) -> None:
        """Compose and encode: a face's own caption first, then `composed` more."""
        rng, options = np.random.default_rng(self.seed), self.options
        texts: list[str] = []
        self.denied: list[Tensor | None] = []
        for face, held in zip(self.faces, self.held.tolist(), strict=True):
            texts.append(face["caption"])
            self.denied.append(None)
            for _ in range(options.composed):
                split = "heldout" if held else "train"
                caption = grammar.compose(face, rng, split=split, typos=options.typos)
                texts.append(caption.text)
                self.denied.append(denied(caption.says))
        log.info("encoding %d captions", len(texts))
        self.texts, self.captions = texts, Captions(self.backbone, texts)

    def _pick(self, faces: Tensor, random: torch.Generator, own: float) -> list[int]:
        """A caption for each face: its own with probability `own`, else a composed one."""
        each = self.options.composed + 1
        nth = torch.randint(1, each, (len(faces),), generator=random)
        nth[torch.rand(len(faces), generator=random) < own] = 0
        return (faces * each + nth).tolist()

    def _truth(self, rows: Sequence[int], faces: Tensor) -> Tensor:
        """Which caption is true of which face of the batch, (N, N) bool; its own always."""
        labels, same = self.labels[faces], torch.eye(len(faces), dtype=torch.bool)
        nothing = torch.ones(labels.shape[1])  # a free caption: who else it fits is not known
        found = [self.denied[row] for row in rows]
        rules = [nothing if rule is None else rule for rule in found]
        return (torch.stack(rules) @ labels.T == 0) | same

    def step(self, step: int) -> dict[str, Tensor]:
        """Similarity and ranking losses of one batch."""
        options, model = self.options, self.model
        random = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + step)
        train = (~self.held).nonzero().flatten()
        faces = train[torch.randperm(len(train), generator=random)[: options.batch_size]]
        rows = self._pick(faces, random, options.own)
        measured = model.reader(*self.captions.take(rows))
        similarity = model.compare(self._blurred(faces, random), measured) @ model.layer_weights
        truth = self._truth(rows, faces).float()
        ranking = _rank(similarity, truth) + _rank(similarity.T, truth.T)
        return {
            "similarity": -similarity.diagonal().mean(),
            "ranking": options.ranking / 2 * ranking,
        }

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Adam's groups: the concepts, which start at a solution, move slower than the reader."""
        slow = {"params": [self.model.concepts], "lr": lr * self.options.concept_rate}
        return [{"params": list(self.model.reader.parameters()), "lr": lr}, slow]

    def _blurred(self, faces: Tensor, random: torch.Generator) -> Tensor:
        """Concept scores (N, L, K) of faces, a share of each slot's variance being noise.

        Every slot gets its own noise: the layers' codes differ, and each must be recognised.
        """
        model, blur = self.model, self.options.blur
        u = (self.codes[faces] - model.w_avg) @ model.whiten.T
        other = torch.randn(len(u), len(model.layer_weights), u.shape[1], generator=random)
        u = (1 - blur) ** 0.5 * u[:, None] + blur**0.5 * other
        return u @ model.directions().T

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """On held-out faces: likelihood gain in nats, and how well captions find their codes."""
        model, held = self.model.eval(), self.held.nonzero().flatten()
        random = torch.Generator().manual_seed(0)
        ws = self.codes[held][:, None].expand(-1, len(model.layer_weights), -1)
        figures = {"held-out faces": float(len(held))}
        for name, own in (("own captions", 1.0), ("composed, unseen wording", 0.0)):
            rows = self._pick(held, random, own)
            measured = model.reader(*self.captions.take(rows))
            similarity = model.similarity(ws, measured) @ model.layer_weights
            rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1).double()
            figures[f"nats a caption, {name}"] = round(float(similarity.diagonal().mean()), 3)
            figures[f"median rank, {name}"] = float(rank.median() + 1)
            figures[f"R-precision of 100, {name}"] = round(_r_precision(similarity), 4)
        return figures

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The encoder in float16, without the backbone."""
        tensors = {n: t.half() for n, t in self.model.state_dict().items() if "backbone" not in n}
        return tensors, {
            "architecture": "text",
            "kind": "text encoder",
            "backbone": self.backbone.name,
            "for": "mobilestylegan-ffhq",
            "concepts": json.dumps(self.names),
            "licence": "MIT",
            "data": "data/tedifaces (CC BY 4.0), every eighth face held out; captions composed "
            "from its labels by tedi.grammar",
            "recipe": "train/text.py",
            "options": json.dumps(asdict(self.options)),
            "note": "English prompts to codes of mobilestylegan-ffhq.",
        }


def _rank(similarity: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of a softmax over a row against the uniform distribution on what is true."""
    wanted = truth / truth.sum(dim=1, keepdim=True)
    return -(wanted * similarity.log_softmax(dim=1)).sum(dim=1).mean()


def _r_precision(similarity: Tensor, *, among: int = 100) -> float:
    """Chance that a caption's own code beats 99 others drawn at random (closed form).

    Where there are fewer than 99 others, all of them are drawn.
    """
    n = len(similarity)
    better = (similarity > similarity.diagonal()[:, None]).sum(dim=1).double()
    steps = torch.arange(min(among, n) - 1, dtype=torch.double)
    free = (n - 1 - better[:, None] - steps).clamp_min(0) / (n - 1 - steps)
    return float(free.prod(dim=1).mean())
