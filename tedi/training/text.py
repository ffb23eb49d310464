"""Trains the text encoder: what captions say, and their similarity with the codes of faces.

Captions come from tedifaces (people's own words: whose face it is is known, what they say is not)
and from `tedi.grammar` (composed from labels, requests, edits, and talk of other things: what they
say is known exactly). Composed ones teach what words say by cross-entropy; all of them teach by
similarity, equation (1) of `tedi.encoders.text`: a caption must find the codes of the faces it is
true of among those of a batch, and a code its captions.
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
from torch import Tensor, nn

from tedi import attributes, config, grammar, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.encoders.codes import CodeReader
from tedi.encoders.text import ORDERED_GROUPS, Reading, TextEncoder
from tedi.interfaces import Generator
from tedi.language import TextBackbone, load_backbone
from tedi.metrics.retrieval import r_precision
from tedi.training.dataset import is_held_out, load_tedifaces
from tedi.training.loop import Settings
from tedi.training.networks import device_of, open_generator
from tedi.training.pictures import codes_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextOptions:
    """Settings of the task."""

    data: str = "data/tedifaces"  # folder of faces.jsonl
    backbone: str = "minilm-l6"  # weights by name, or a hub id or folder
    finetune: str = ""  # folder for a backbone trained end to end; "" leaves it frozen
    finetune_rate: float = 0.02  # its learning rate, relative to the reader's
    codes: str = "tedi/weights/codes-mobilestylegan-ffhq.safetensors"  # the code reader
    batch_size: int = 160  # captions a step
    composed: int = 5  # captions composed for a face
    requests: int = 20_000  # captions of no face in particular
    edits: int = 14_000  # instructions and wishes
    nonsense: int = 1_500  # prompts that no face can meet
    typos: float = 0.03  # chance that a word of a composed caption is mistyped
    distract: float = 0.25  # chance that a composed caption also talks of other things
    own: float = 0.25  # share of a step's captions that are the faces' own
    similarity: float = 0.1  # weight of the similarity of own captions
    ranking: float = 0.5  # weight of the ranking term


@dataclass(frozen=True)
class Claim:
    """A text for training, and what is known of it.

    Attributes:
        text: the words.
        agrees: (V,) 0 or 1; None where only the face is known.
        moves: (O,) −1, 0 or 1.
        face: row of the face it is of; None for nobody's.
    """

    text: str
    agrees: Tensor | None
    moves: Tensor
    face: int | None


class Captions:
    """Token states of many captions, encoded once, on the CPU; `take` gives a padded batch."""

    def __init__(self, backbone: TextBackbone, texts: Sequence[str], *, chunk: int = 128) -> None:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        self.states: list[Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(order), chunk):
            rows = order[start : start + chunk]
            states, mask = backbone([texts[i] for i in rows])
            for i, state, used in zip(rows, states, mask, strict=True):
                self.states[i] = state[used].half().cpu()

    def take(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Token states (N, T, width) and mask (N, T) of some captions."""
        states = [self.states[i].float() for i in rows]
        mask = torch.zeros(len(states), max(map(len, states)), dtype=torch.bool)
        for row, state in zip(mask, states, strict=True):
            row[: len(state)] = True
        return torch.nn.utils.rnn.pad_sequence(states, batch_first=True), mask


def claimed(says: Mapping[str, frozenset[Any]], implies: Mapping[str, frozenset[Any]]) -> Tensor:
    """Values that agree with a caption, (V,) 0 or 1; women and children have no beard."""
    known = {**implies, **says}
    grown_man = "male" in known.get("gender", {"male"}) and not known.get(
        "age", frozenset({"old"})
    ) <= {"baby", "child"}
    if not grown_man and "beard" not in known:
        known["beard"] = frozenset({"none"})
    return attributes.allowed_by(known)


def moved(moves: Mapping[str, int]) -> Tensor:
    """Wishes for less or more, (O,) −1, 0 or 1."""
    return torch.tensor([float(moves.get(group, 0)) for group in ORDERED_GROUPS])


def make_task(settings: Settings) -> "TextTask":
    """The task on the released generator and backbone, which are fetched if need be."""
    keep_freed_memory()
    options = config.build(TextOptions, settings.options, where="options")
    name = options.backbone
    source = zoo.pull(name) if name in zoo.ZOO else name
    backbone = load_backbone(source, name=name, trainable=bool(options.finetune))
    faces = list(load_tedifaces(Path(options.data)))
    codes = native.load_code_reader(Path(options.codes))
    generator = open_generator(settings.place)
    return TextTask(generator, codes, backbone, faces, options, seed=settings.seed)


class TextTask:
    """Fits the reader of `TextEncoder` on a frozen backbone and code reader."""

    def __init__(
        self,
        generator: Generator,
        codes: CodeReader,
        backbone: TextBackbone,
        faces: Sequence[Mapping[str, Any]],
        options: TextOptions,
        *,
        seed: int,
    ) -> None:
        self.options, self.seed, self.faces, here = options, seed, faces, generator.w_avg.device
        self.backbone, codes = backbone.to(here), codes.to(here)
        self.labels = torch.stack([attributes.labels_of(face) for face in faces])
        self.held = torch.tensor([is_held_out(face["index"]) for face in faces])
        with torch.no_grad():
            ws = codes_of(generator, [face["index"] for face in faces])
            seen = torch.cat([codes(part) for part in ws.split(256)])
        self.log_p = attributes.log_softmax(seen)
        torch.manual_seed(seed)
        encoder = TextEncoder(backbone.width, codes)
        encoder.prior.copy_(self.labels[~self.held].mean(dim=0))
        self.encoder, self.reader = encoder.to(here), encoder.reader
        whole = nn.ModuleList([encoder.reader, backbone])
        self.model: nn.Module = whole if options.finetune else encoder.reader
        self.claims, self.tests, self.edits = self._write()
        self.texts = [claim.text for claim in self.claims + self.tests + self.edits]
        log.info("encoding %d captions", len(self.texts))
        self.captions = None if options.finetune else Captions(backbone, self.texts)
        own = torch.tensor([claim.agrees is None for claim in self.claims])
        self._own, self._composed = own.nonzero()[:, 0], (~own).nonzero()[:, 0]

    def _write(self) -> tuple[list[Claim], list[Claim], list[Claim]]:
        """Captions to train on, those of held-out faces, and edits in held-out wording."""
        rng, options = np.random.default_rng(self.seed), self.options
        still = moved({})
        train: list[Claim] = []
        test: list[Claim] = []
        wishes: list[Claim] = []
        for row, (face, held) in enumerate(zip(self.faces, self.held.tolist(), strict=True)):
            claims = test if held else train
            claims.append(Claim(face["caption"], None, still, row))
            for _ in range(options.composed):
                caption = grammar.compose(
                    face,
                    rng,
                    split="heldout" if held else "train",
                    typos=options.typos,
                    distract=options.distract,
                )
                agrees = claimed(caption.says, caption.implies)
                claims.append(Claim(caption.text, agrees, still, row))
        for count in rng.integers(1, 8, options.requests).tolist():
            caption = grammar.request(rng, count=count, distract=options.distract)
            agrees = claimed(caption.says, caption.implies)
            train.append(Claim(caption.text, agrees, still, None))
        for _ in range(options.edits):
            edit = grammar.edit(rng, typos=options.typos)
            agrees = attributes.allowed_by(edit.says)
            train.append(Claim(edit.text, agrees, moved(edit.moves), None))
        silent = attributes.allowed_by({})
        for text in (grammar.nonsense(rng) for _ in range(options.nonsense)):
            if any(letter.isalpha() for letter in text):  # "12345" is refused before it is read
                train.append(Claim(text, silent, still, None))
        for _ in range(options.edits // 20):
            edit = grammar.edit(rng, split="heldout")
            wishes.append(
                Claim(edit.text, attributes.allowed_by(edit.says), moved(edit.moves), None)
            )
        return train, test, wishes

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One learning rate for the whole reader, a smaller one for a backbone that is trained."""
        groups = [{"params": list(self.reader.parameters()), "lr": lr}]
        if self.options.finetune:
            slow = lr * self.options.finetune_rate
            groups.append({"params": list(self.backbone.parameters()), "lr": slow})
        return groups

    def _read(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Agreement and wishes, both before squashing, of captions by number."""
        if self.captions is None:
            return self.reader(*self.backbone([self.texts[i] for i in rows]))
        here = device_of(self.reader)
        return self.reader(*(each.to(here) for each in self.captions.take(rows)))

    def step(self, step: int) -> dict[str, Tensor]:
        """Cross-entropy of what is said, similarity of own captions, and ranking both ways."""
        options = self.options
        random = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + step)
        own = round(options.own * options.batch_size)
        parts = [(self._own, own), (self._composed, options.batch_size - own)]
        rows = [rows[torch.randint(len(rows), (n,), generator=random)] for rows, n in parts]
        claims = [self.claims[i] for i in torch.cat(rows).tolist()]
        agrees, moves = self._read(torch.cat(rows).tolist())
        of_face = [i for i, claim in enumerate(claims) if claim.face is not None]
        faces = torch.tensor([claims[i].face for i in of_face])
        reading = Reading.of_logits(agrees[of_face], moves[of_face])
        similarity = self.encoder.compare(self.log_p[faces], reading)
        truth = self._truth([claims[i] for i in of_face], faces).to(similarity.device)
        wanted_moves = torch.stack([claim.moves for claim in claims]).to(moves)
        ranks = _rank(similarity, truth) + _rank(similarity.T, truth.T)
        return {
            "said": self._said(agrees[own:], claims[own:]),
            "wishes": self._wished(moves, wanted_moves),
            "similarity": -options.similarity * similarity.diagonal()[:own].mean(),
            "ranking": options.ranking * ranks / 2,
        }

    def _said(self, agrees: Tensor, claims: Sequence[Claim]) -> Tensor:
        wanted = torch.stack([claim.agrees for claim in claims if claim.agrees is not None])
        wanted = wanted.to(agrees)
        return F.binary_cross_entropy_with_logits(agrees, wanted, reduction="sum") / len(agrees)

    def _wished(self, moves: Tensor, wanted: Tensor) -> Tensor:
        both = torch.stack([(wanted > 0).float(), (wanted < 0).float()], dim=1)
        return F.binary_cross_entropy_with_logits(moves, both, reduction="sum") / len(moves)

    def _truth(self, claims: Sequence[Claim], faces: Tensor) -> Tensor:
        """Which caption is true of which face of the batch, (N, N) bool; its own always."""
        labels, nobody = self.labels[faces], torch.zeros(self.labels.shape[1])
        said = torch.stack([nobody if c.agrees is None else c.agrees for c in claims])
        fits = (said @ labels.T) >= len(attributes.GROUPS) - 0.5
        return fits | (faces[:, None] == faces[None])

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Figures on held-out faces; composed captions prefer wordings training never saw."""
        start = len(self.claims)
        figures: dict[str, float] = {}
        for name, own in (("own captions", True), ("composed captions", False)):
            picked = [i for i, claim in enumerate(self.tests) if (claim.agrees is None) == own]
            picked = picked[:: 1 if own else self.options.composed]
            figures |= self._figures(name, picked, [start + i for i in picked])
        return figures | self._edit_figures(start + len(self.tests))

    def _edit_figures(self, start: int) -> dict[str, float]:
        """How often edits in held-out wording are read right, wishes and all."""
        rows = list(range(start, start + len(self.edits)))
        parts = [self._read(rows[i : i + 64]) for i in range(0, len(rows), 64)]
        agrees, moves = (torch.cat(part).cpu() for part in zip(*parts, strict=True))
        wanted = torch.stack([claim.moves for claim in self.edits])
        wished = Reading.of_logits(agrees, moves).plain().moves == wanted
        said = (agrees > 0) == torch.stack(
            [c.agrees for c in self.edits if c.agrees is not None]
        ).bool()
        return {
            "n, edits": float(len(rows)),
            "wishes read right, edits": round(float(wished[wanted != 0].float().mean()), 4),
            "no wishes made up, edits": round(float(wished[wanted == 0].float().mean()), 4),
            "wholly right, edits": round(
                float((wished.all(dim=1) & said.all(dim=1)).float().mean()), 4
            ),
        }

    def _figures(self, name: str, tests: list[int], rows: list[int]) -> dict[str, float]:
        claims = [self.tests[i] for i in tests]
        chunks = [rows[i : i + 64] for i in range(0, len(rows), 64)]
        parts = [self._read(chunk) for chunk in chunks]
        agrees, moves = (torch.cat(part) for part in zip(*parts, strict=True))
        reading = Reading.of_logits(agrees, moves)
        faces = torch.tensor([claim.face for claim in claims])
        similarity = self.encoder.compare(self.log_p[faces], reading).cpu()
        agrees = agrees.cpu()
        rank = (similarity > similarity.diagonal()[:, None]).sum(dim=1).double()
        figures = {
            f"n, {name}": float(len(claims)),
            f"nats a caption, {name}": round(float(similarity.diagonal().mean()), 3),
            f"median rank, {name}": float(rank.median() + 1),
            f"R-precision of 100, {name}": round(r_precision(similarity), 4),
        }
        known = [claim.agrees for claim in claims if claim.agrees is not None]
        if known:
            same = (agrees > 0) == (torch.stack(known) > 0.5)
            by_group = attributes.group_sums((~same).float()) == 0
            said = attributes.group_sums(1 - torch.stack(known)) > 0
            figures[f"said read right, {name}"] = round(float(by_group[said].float().mean()), 4)
            figures[f"silence kept, {name}"] = round(float(by_group[~said].float().mean()), 4)
        return figures

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The reader in float16, without the code reader; a trained backbone in its folder."""
        tensors = {f"reader.{n}": t.half() for n, t in self.reader.state_dict().items()}
        if self.options.finetune:
            self.backbone.save(self.options.finetune)
        return tensors | {"prior": self.encoder.prior}, {
            "architecture": "text",
            "kind": "text encoder",
            "backbone": self.options.finetune or self.backbone.name,
            "codes": Path(self.options.codes).stem,
            "for": "mobilestylegan-ffhq",
            "columns": json.dumps(attributes.COLUMNS),
            "licence": "MIT",
            "data": "data/tedifaces (CC BY 4.0), every eighth face held out; captions composed "
            "from its labels, requests and edits by tedi.grammar",
            "recipe": "train/text.py",
            "options": json.dumps(asdict(self.options)),
            "note": "English prompts to what they say of a face.",
        }


def _rank(similarity: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of a softmax over a row against the uniform distribution on what is true."""
    wanted = truth / truth.sum(dim=1, keepdim=True)
    return -(wanted * similarity.log_softmax(dim=1)).sum(dim=1).mean()
