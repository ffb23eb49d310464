"""Trains a latent mapper for one text, as StyleCLIP does (Patashnik et al. 2021, section 4).

The loss of codes w of W, and of w' = w + 0.1 M(w), is

    λ_text L(G(w')) + λ_code mean (w' − w)² + λ_identity ‖R(G(w')) − R(G(w))‖²

with R the identity network and L the negative log-likelihood of the text by an attribute model that
looks at the preview G, or 1 − cosine by a CLIP of the hub. Both look at pictures, and so does R: G
may be any generator, of any W. An attribute model and R know faces; a CLIP knows other pictures,
too, where λ_identity is 0.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tedi import attributes, config, control, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.checkpoints.bundle import Bundle, packed
from tedi.checkpoints.identity import load_identity
from tedi.encoders.mapper import LatentMapper
from tedi.encoders.text import Reading, TextEncoder
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.language import load_backbone
from tedi.language.similarity import load_similarity
from tedi.losses import LOSSES, Loss
from tedi.training.loop import Settings
from tedi.training.networks import open_generator

TextLoss = Callable[[Tensor, Tensor], Tensor]
"""Pictures after and before, (N, 3, H, W) each -> how ill the first fit the text, (N,)."""


@dataclass(frozen=True)
class MapperOptions:
    """Settings of the task."""

    prompt: str = ""  # what the mapper is to make of every face
    generator: str = ""  # file of a generator, of any W; "" is tedi's own
    groups: str = "coarse,medium,fine"  # slots that change; leave out "fine" to keep colours
    judge: str = "attributes-lite0"  # attribute model by name, or hub id of a CLIP
    text: float = 1.0  # λ_text, of nats, or of 1 − cosine
    code: float = 30.0  # λ_code; for 1 − cosine, which falls by a tenth, not by nats, 0.8
    identity: float = 1.0  # λ_identity, 0.1 for 1 − cosine; 0 leaves it out
    psi: float = 0.7  # truncation of the codes
    batch_size: int = 2  # codes a step
    held_out: int = 16  # faces that the figures are measured on


def make_task(settings: Settings) -> "MapperTask":
    """The task on tedi's generator, or on that of a file.

    Raises:
        UsageError: no prompt, one that says nothing of a face, or a generator of too few slots.
        TediError: the file holds no generator.
    """
    keep_freed_memory()
    options = config.build(MapperOptions, settings.options, where="options")
    if not options.prompt:
        raise UsageError("options.prompt: give what the mapper is for, such as 'a beard'")
    generator = open_generator(settings.place, options.generator)
    loss_of = clip_loss if "/" in options.judge else attribute_loss
    loss = loss_of(options, settings.place)
    identity = None
    if options.identity:
        network = load_identity(zoo.pull("face-recognition"))
        identity = LOSSES["identity"](network.to(settings.place))
    return MapperTask(generator, loss, identity, options, seed=settings.seed)


def clip_loss(options: MapperOptions, device: torch.device) -> TextLoss:
    """1 − cosine of pictures and the prompt, by a network on a device."""
    network = load_similarity(options.judge, name=options.judge).to(device)
    return lambda after, before: 1 - network(after, [options.prompt])


def attribute_loss(options: MapperOptions, device: torch.device) -> TextLoss:
    """−log of how likely pictures are, in the eyes of an attribute model, of what the prompt says.

    Raises:
        UsageError: nothing of the prompt is understood.
    """
    codes = native.load_code_reader(zoo.pull("codes-mobilestylegan-ffhq"))
    encoder = native.load_text_encoder(zoo.pull("text-minilm-l6"), codes)
    encoder.backbone = load_backbone(zoo.pull("minilm-l6"), name="minilm-l6")
    judge = native.load_attribute_model(zoo.pull(options.judge)).to(device)
    return Unlikely(read(encoder, options.prompt), judge)


@torch.no_grad()
def read(encoder: TextEncoder, prompt: str) -> Reading:
    """What a prompt says.

    Raises:
        UsageError: nothing about a face.
    """
    said = encoder.read([prompt]).plain()
    if not bool((said.agrees < 1).any()) and not said.moves.any():
        raise UsageError(f"options.prompt: nothing of {prompt!r} is about a face")
    return said


class Unlikely:
    """−Σ log of the probability of what a text says; relative wishes are of the face before."""

    def __init__(self, said: Reading, judge: Callable[[Tensor], Tensor]) -> None:
        self.said, self.judge = said, judge

    def __call__(self, after: Tensor, before: Tensor) -> Tensor:
        """Nats (N,) of pictures (N, 3, H, W)."""
        with torch.no_grad():
            seen = attributes.log_softmax(self.judge(before))
            rows = torch.zeros(len(before), dtype=torch.long)
            wanted = control.absolute(self.said.of(rows), seen.cpu()).to(seen)
        log_p = attributes.log_softmax(self.judge(after))
        return -attributes.fit(log_p, wanted).sum(dim=1)


class MapperTask:
    """One mapper for one text.

    Args:
        generator: frozen, that draws.
        loss: of the text.
        identity: loss of persons; None leaves it out.
        options: of the task.
        seed: of the network and of every batch.

    Raises:
        UsageError: the generator has too few slots for three groups.
    """

    def __init__(
        self,
        generator: Generator,
        loss: TextLoss,
        identity: Loss | None,
        options: MapperOptions,
        *,
        seed: int,
    ) -> None:
        self.generator, self.loss, self.identity = generator, loss, identity
        self.options, self.seed = options, seed
        torch.manual_seed(seed)
        medium, fine = first_slots(generator)
        self.model = LatentMapper(
            width=generator.width, groups=options.groups, medium=medium, fine=fine
        )
        self._begin_at_nothing()

    @torch.no_grad()
    def _begin_at_nothing(self) -> None:
        """The last layers start as zeros, so that no face changes at first."""
        for name, parameter in self.model.named_parameters():
            if name.endswith(f"mapping.{self.model.config['depth']}.weight"):
                parameter.zero_()

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """All parameters at one rate."""
        return [{"params": list(self.model.parameters()), "lr": lr}]

    def step(self, step: int) -> dict[str, Tensor]:
        """The three terms on the codes of a step."""
        first = (self.seed + 1) * 10_000_000 + step * self.options.batch_size
        ws = self._codes(range(first, first + self.options.batch_size))
        return {name: each.mean() for name, each in self._terms(ws).items()}

    @torch.no_grad()
    def _codes(self, seeds: range) -> Tensor:
        return control.style_codes(self.generator, seeds, psi=self.options.psi)

    def _terms(self, ws: Tensor) -> dict[str, Tensor]:
        """Weighted losses (N,) by name."""
        options, moved = self.options, self.model(ws)
        after = self._draw(moved)
        with torch.no_grad():
            before = self._draw(ws)
        terms = {
            "text": options.text * self.loss(after, before),
            "code": options.code * (moved - ws).square().mean(dim=(1, 2)),
        }
        if self.identity is not None:
            terms["identity"] = options.identity * self.identity(after, before)
        return terms

    def _draw(self, ws: Tensor) -> Tensor:
        return torch.cat([self.generator.preview(one) for one in ws.split(1)])

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """The three terms, and the text's before, on faces that training never sees."""
        ws = self._codes(range(self.options.held_out))
        before = self._draw(ws)
        found = {"n": float(len(ws)), "text before": float(self.loss(before, before).mean())}
        return found | {name: float(each.mean()) for name, each in self._terms(ws).items()}

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The mapper, as `tedi.checkpoints.bundle` reads it."""
        state = {name: tensor.half() for name, tensor in self.model.state_dict().items()}
        w_avg = self.generator.w_avg.flatten().tolist()
        facts = {"prompt": self.options.prompt, "w_avg": w_avg}
        part = Bundle("latent mapper", "styleclip", dict(self.model.config), state, facts)
        tensors, header = packed({"mapper": part})
        known = {} if self.options.generator else {"licence": "MIT"}  # of one's own: who knows
        return tensors, {
            **header,
            **known,
            "for": self.generator.name,
            "recipe": "train/mapper.py",
            "data": "none: pictures of the generator",
            "options": json.dumps(asdict(self.options)),
        }


def first_slots(generator: Generator) -> tuple[int, int]:
    """First medium and first fine slot; the last slot is fine where a small one has no other.

    Raises:
        UsageError: there are too few slots.
    """
    medium, fine = (
        (generator.layers(group) or generator.layers("all")[-1:])[0] for group in ("medium", "fine")
    )
    if not 0 < medium < fine:
        told = f"{generator.name} has {generator.slots} slots"
        raise UsageError(f"options.generator: a mapper needs coarse, medium and fine slots; {told}")
    return medium, fine
