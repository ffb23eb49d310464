"""Trains the code reader: attributes from W+, as the attribute model sees them on pictures.

Codes are drawn in stages: first W and mixtures of two faces slot by slot, then codes moved to meet
random requests by the reader of the stage before, so that it learns where its own moves mislead it.
Each is drawn as a preview and judged by an attribute model; the faces of tedifaces join with the
labels people gave them. The loss is the cross-entropy of every attribute.
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
from safetensors.torch import load_file
from torch import Tensor

from tedi import attributes, config, grammar, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.control import fulfil
from tedi.encoders.attributes import AttributeModel
from tedi.encoders.codes import CodeReader
from tedi.encoders.text import ORDERED_GROUPS, Reading, TextEncoder
from tedi.interfaces import Generator
from tedi.tensors import save_file
from tedi.training.dataset import is_held_out, load_tedifaces
from tedi.training.loop import Settings
from tedi.training.networks import device_of, open_generator
from tedi.training.pictures import codes_of

log = logging.getLogger(__name__)

CHUNK = 200  # codes drawn and judged between two writes of the file


@dataclass(frozen=True)
class CodeOptions:
    """Settings of the task."""

    data: str = "data/tedifaces"  # folder of faces.jsonl
    teacher: str = "attributes-lite0"  # attribute model that judges the codes, by name
    samples: str = "runs/samples"  # folder of judged codes, drawn on first use
    stage: int = 0  # 0: W and mixtures; later ones also codes moved by the reader `start`
    start: str = ""  # reader of the stage before
    each: int = 4000  # codes a stage; the first has half as many again
    batch_size: int = 256  # codes a step
    blur: float = 0.05  # variance share of a whitened code that noise replaces
    labels: float = 0.15  # share of a step's codes that are tedifaces', with people's labels
    ridge: float = 1000.0  # of the linear probes, in faces
    average: int = 100_000  # codes that mean and covariance of W are measured on


def make_task(settings: Settings) -> "CodeTask":
    """The task; codes that are not judged yet are drawn first."""
    keep_freed_memory()
    options = config.build(CodeOptions, settings.options, where="options")
    generator = open_generator(settings.place)
    teacher = native.load_attribute_model(zoo.pull(options.teacher)).to(settings.place)
    reader = native.load_code_reader(Path(options.start)) if options.start else None
    path = Path(options.samples) / f"stage-{options.stage}.safetensors"
    count = options.each if reader else 3 * options.each // 2
    Sampler(generator, teacher, reader, seed=1000 * options.stage).draw(count, path)
    faces = list(load_tedifaces(Path(options.data)))
    parts = [load_file(path.with_name(f"stage-{i}.safetensors")) for i in range(options.stage + 1)]
    judged = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return CodeTask(generator, faces, judged, options, seed=settings.seed)


class Sampler:
    """Draws codes and has them judged, resuming from what is in the file.

    Codes are made on the CPU, and drawn and judged where the generator lies.
    """

    def __init__(
        self,
        generator: Generator,
        teacher: AttributeModel,
        reader: CodeReader | None,
        *,
        seed: int,
    ) -> None:
        self.generator, self.teacher, self.reader, self.seed = generator, teacher, reader, seed

    def draw(self, count: int, path: Path) -> None:
        """Write codes `ws` (count, L, C) and judgments `log_p` (count, V) in half precision."""
        path.parent.mkdir(parents=True, exist_ok=True)
        done = load_file(path) if path.exists() else {}
        while (start := len(done.get("ws", []))) < count:
            ws = self.codes(min(CHUNK, count - start), seed=self.seed + start // CHUNK)
            new = {"ws": ws.half(), "log_p": self.judge(ws).half()}
            done = {n: torch.cat([done[n], t]) for n, t in new.items()} if done else new
            save_file(done, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            log.info("%d of %d codes judged", start + len(ws), count)

    @torch.inference_mode()
    def judge(self, ws: Tensor) -> Tensor:
        """What the attribute model sees on the previews of codes, (N, V)."""
        ws = ws.to(self.generator.w_avg)
        logits = [self.teacher(self.generator.preview(one)) for one in ws.split(1)]
        return attributes.log_softmax(torch.cat(logits)).cpu()

    @torch.no_grad()
    def codes(self, count: int, *, seed: int) -> Tensor:
        """Codes (count, L, C) of a stage."""
        random = torch.Generator().manual_seed(seed)
        G, w_avg = self.generator, self.generator.w_avg.cpu()
        z = torch.randn(2 * count, G.width, generator=random)
        w = G.mapping(z.to(G.w_avg)).cpu()
        psi = 0.5 + 0.5 * torch.rand(2 * count, 1, generator=random)
        a, b = (w_avg + psi * (w - w_avg))[:, None].repeat(1, G.slots, 1).chunk(2)
        kind = torch.rand(count, generator=random)
        if self.reader is None:
            return torch.where((kind < 0.4)[:, None, None], a, _mix(a, b, random))
        start = torch.where((kind < 0.8)[:, None, None], a, _mix(a, b, random))
        return self._moved(self.reader, start, seed)

    def _moved(self, reader: CodeReader, ws: Tensor, seed: int) -> Tensor:
        """Codes moved to meet a random request each, as firmly and as freely as it may be."""
        rng = np.random.default_rng(seed)
        wanted = [grammar.request(rng, count=int(n)) for n in rng.integers(1, 7, len(ws))]
        agrees = torch.stack([attributes.allowed_by(r.implies | r.says) for r in wanted])
        said = Reading(agrees, torch.zeros(len(ws), len(ORDERED_GROUPS)))
        encoder = TextEncoder(1, reader)
        parts = [
            fulfil(
                encoder,
                ws[rows],
                said.of(rows),
                keep=float(rng.choice([0.0, 0.1, 1.0])),
                together=float(rng.choice([0.4, 0.7, 1.0])),
                firmness=float(rng.choice([8, 15, 30])),
            )
            for rows in torch.arange(len(ws)).split(50)
        ]
        return torch.cat(parts)


def _mix(a: Tensor, b: Tensor, random: torch.Generator) -> Tensor:
    """Codes with some slots of `a` and the others of `b`: a run of slots, or each at random."""
    n, slots = a.shape[:2]
    cut = torch.randint(0, slots, (n, 2), generator=random).sort(dim=1).values
    at = torch.arange(slots)
    run = (at >= cut[:, :1]) & (at <= cut[:, 1:])
    loose = torch.rand(n, slots, generator=random) < 0.5
    picked = torch.where(torch.rand(n, 1, generator=random) < 0.7, run, loose)
    return torch.where(picked[..., None], b, a)


class CodeTask:
    """Fits `CodeReader` to judged codes and labelled faces."""

    def __init__(
        self,
        generator: Generator,
        faces: Sequence[Mapping[str, Any]],
        judged: dict[str, Tensor],
        options: CodeOptions,
        *,
        seed: int,
    ) -> None:
        self.options, self.seed = options, seed
        with torch.no_grad():
            drawn = codes_of(generator, [face["index"] for face in faces]).cpu()
        labels = torch.stack([attributes.labels_of(face) for face in faces])
        held = torch.tensor([is_held_out(face["index"]) for face in faces])
        self.faces = {"ws": drawn.half(), "wanted": labels, "held": held}
        held = torch.arange(len(judged["ws"])) % 8 == 7
        wanted = judged["log_p"].float().exp()
        self.judged = {"ws": judged["ws"], "wanted": wanted, "held": held}
        torch.manual_seed(seed)
        self.model = CodeReader(slots=generator.slots, channels=generator.width)
        whiten(self.model, generator, options.average, seed=seed)
        self._probe(options.ridge)
        share = wanted.mean(dim=0).clamp_min(1e-4).log()
        self.model.linear.bias.data.copy_(share)
        self._train = {
            name: (~part["held"]).nonzero()[:, 0]
            for name, part in (("faces", self.faces), ("judged", self.judged))
        }

    @torch.no_grad()
    def _probe(self, ridge: float) -> None:
        """Ridge regressions of people's labels on whitened codes, for the closed-form move.

        The levels are a column's mean scores over faces without and with the value, moved apart by
        half a standard deviation.
        """
        train = ~self.faces["held"]
        u = (self.faces["ws"][train, 0].float() - self.model.w_avg) @ self.model.whiten.T
        labels = self.faces["wanted"][train]
        solution = torch.linalg.solve(
            u.T @ u + ridge * torch.eye(u.shape[1]), u.T @ (labels - labels.mean(dim=0))
        )
        self.model.probes.copy_(F.normalize(solution.T, dim=1))
        scores = u @ self.model.probes.T
        for side, members in enumerate((1 - labels, labels)):
            mean = (scores * members).sum(dim=0) / members.sum(dim=0).clamp_min(1)
            self.model.levels[:, side] = mean + 0.5 * (2 * side - 1)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One learning rate, but the slots' shares move faster."""
        slots = [self.model.slots]
        rest = [p for p in self.model.parameters() if p is not self.model.slots]
        return [{"params": rest, "lr": lr}, {"params": slots, "lr": 5 * lr, "weight_decay": 0.0}]

    def step(self, step: int) -> dict[str, Tensor]:
        """Cross-entropy against people's labels and the attribute model's judgments."""
        random = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + step)
        n = round(self.options.labels * self.options.batch_size)
        batches = [
            self._draw(self.faces, self._train["faces"], n, random),
            self._draw(self.judged, self._train["judged"], self.options.batch_size - n, random),
        ]
        here = device_of(self.model)
        ws, wanted = (torch.cat(parts).to(here) for parts in zip(*batches, strict=True))
        keep = (1 - self.options.blur) ** 0.5
        noise = torch.randn(len(ws), 1, ws.shape[2], generator=random).to(ws) @ self.model.color.T
        ws = self.model.w_avg + keep * (ws - self.model.w_avg) + self.options.blur**0.5 * noise
        log_p = attributes.log_softmax(self.model(ws))
        return {"cross-entropy": -(wanted * log_p).sum(dim=1).mean() / len(attributes.GROUPS)}

    def _draw(
        self, part: dict[str, Tensor], rows: Tensor, n: int, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        picked = rows[torch.randint(len(rows), (n,), generator=random)]
        return part["ws"][picked].float(), part["wanted"][picked]

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Held out: accuracy against people's labels and against the judge, by attribute."""
        figures: dict[str, float] = {}
        for name, part in (("people", self.faces), ("judge", self.judged)):
            held = part["held"]
            ws = part["ws"][held].to(device_of(self.model))
            log_p = attributes.log_softmax(self.model(ws.float())).cpu()
            wanted = part["wanted"][held]
            figures[f"n, {name}"] = float(held.sum())
            entropy = -(wanted * log_p).sum(dim=1).mean() / len(attributes.GROUPS)
            figures[f"cross-entropy, {name}"] = round(float(entropy), 5)
            for group, span in attributes.SPANS.items():
                right = log_p[:, span].argmax(dim=1) == wanted[:, span].argmax(dim=1)
                figures[f"{group}, {name}"] = round(float(right.float().mean()), 4)
        return figures

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The reader; whitening in float32, the rest in half precision."""
        state = self.model.state_dict()
        return {n: t if n == "w_avg" else t.half() for n, t in state.items()}, {
            "architecture": "codes",
            "kind": "code reader",
            "for": "mobilestylegan-ffhq",
            "columns": json.dumps(attributes.COLUMNS),
            "licence": "MIT",
            "data": "data/tedifaces (CC BY 4.0) and codes of mobilestylegan-ffhq judged by an "
            "attribute model, every eighth of each held out",
            "recipe": "train/codes.py",
            "options": json.dumps(asdict(self.options)),
            "note": "Attributes of W+ codes without drawing, and codes that show what is asked.",
        }


def whiten(reader: CodeReader, generator: Generator, count: int, *, seed: int) -> None:
    """Measure mean and covariance of W, and set the reader's whitening."""
    reader.w_avg.copy_(generator.w_avg)
    for buffer, measured in zip(
        (reader.whiten, reader.color), whitening(generator, count, seed=seed), strict=True
    ):
        buffer.copy_(measured)


@torch.no_grad()
def whitening(generator: Generator, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Λ^(-1/2) Eᵀ and E Λ^(1/2), (C, C) each, of the covariance of W measured on `count` codes."""
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(count, generator.width, generator=random)
    w = torch.cat([generator.mapping(part.to(generator.w_avg)) for part in z.split(10_000)])
    values, vectors = torch.linalg.eigh(torch.cov(w.T.double()))
    root = values.clamp_min(1e-8).sqrt()
    return (vectors / root).T.float(), (vectors * root).float()
