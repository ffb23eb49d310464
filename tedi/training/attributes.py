"""Trains the attribute model on the pictures of tedifaces and the labels people gave them.

The loss is the cross-entropy of every attribute. Pictures are flipped (and "left" and "right" with
them), shifted, blurred and lit anew, so that previews and photos read like full drawings.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tedi import attributes, config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.encoders.attributes import SIZE, AttributeModel
from tedi.training.dataset import is_held_out, load_tedifaces
from tedi.training.loop import Settings
from tedi.training.networks import device_of, open_generator
from tedi.training.pictures import draw_faces, from_bytes


@dataclass(frozen=True)
class AttributeOptions:
    """Settings of the task."""

    data: str = "data/tedifaces"  # folder of faces.jsonl
    recipe: str = "attributes"  # script of train/ that rebuilds the file
    cache: str = "runs/faces256.npy"  # the pictures, drawn on first use
    batch_size: int = 32  # pictures a step
    smoothing: float = 0.05  # share of a label given to the other values
    head_rate: float = 5.0  # learning rate of the head, relative to the trunk's
    frozen: int = 5  # first blocks of the trunk that stay as they are
    shift: int = 12  # pixels of 224 that a picture is moved by, at most


def make_task(settings: Settings) -> "AttributeTask":
    """The task on pictures of the released generator, which are drawn if need be."""
    keep_freed_memory()
    options = config.build(AttributeOptions, settings.options, where="options")
    faces = list(load_tedifaces(Path(options.data)))
    indices = [face["index"] for face in faces]
    pixels = draw_faces(open_generator(settings.place), indices, Path(options.cache))
    trunk, _ = native.read(zoo.pull("efficientnet-lite0"))
    return AttributeTask(faces, pixels, trunk, options, seed=settings.seed)


class AttributeTask:
    """Fits `AttributeModel` to labelled pictures."""

    def __init__(
        self,
        faces: Sequence[Mapping[str, Any]],
        pixels: NDArray[np.uint8],
        trunk: dict[str, Tensor],
        options: AttributeOptions,
        *,
        seed: int,
    ) -> None:
        self.options, self.seed, self.pixels = options, seed, pixels
        self.indices = torch.tensor([face["index"] for face in faces])
        self.labels = torch.stack([attributes.labels_of(face) for face in faces])
        held = torch.tensor([is_held_out(face["index"]) for face in faces])
        self.train, self.held = (~held).nonzero()[:, 0], held.nonzero()[:, 0]
        torch.manual_seed(seed)
        self.model = AttributeModel()
        share = self.labels[self.train].mean(dim=0)
        head = {"head.weight": self.model.head.weight * 0, "head.bias": (share + 1e-3).log()}
        self.model.load_state_dict(trunk | head)
        for part in [self.model.stem, *self.model.blocks[: options.frozen]]:
            part.requires_grad_(False)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The head's steps are larger than the trunk's."""
        head = list(self.model.head.parameters())
        known = {id(p) for p in head}
        trunk = [p for p in self.model.parameters() if id(p) not in known and p.requires_grad]
        return [
            {"params": trunk, "lr": lr},
            {"params": head, "lr": lr * self.options.head_rate},
        ]

    def step(self, step: int) -> dict[str, Tensor]:
        """Cross-entropy against smoothed labels, a mean over attributes."""
        random = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + step)
        per_epoch = len(self.train) // self.options.batch_size
        epoch = torch.Generator().manual_seed(self.seed * 10_007 + step // per_epoch)
        order = self.train[torch.randperm(len(self.train), generator=epoch)]
        rows = order.roll(-(step % per_epoch) * self.options.batch_size)[: self.options.batch_size]
        image, labels = self._augment(self._images(rows), self.labels[rows], random)
        here = device_of(self.model)
        log_p = attributes.log_softmax(self.model(image.to(here)))
        a = self.options.smoothing
        each = attributes.group_sums(torch.ones(len(attributes.COLUMNS)))
        wanted = labels * (1 - a) + attributes.spread(a / each)
        wanted = wanted.to(here)
        return {"cross-entropy": -(wanted * log_p).sum(dim=1).mean() / len(attributes.GROUPS)}

    def _images(self, rows: Tensor) -> Tensor:
        image = from_bytes(self.pixels[self.indices[rows].numpy()])
        image = F.interpolate(image, (SIZE, SIZE), mode="area")
        return image.contiguous(memory_format=torch.channels_last)

    def _augment(
        self, image: Tensor, labels: Tensor, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        def draw(*size: int) -> Tensor:
            return torch.rand(*size, generator=random)

        n, most = len(image), self.options.shift
        flipped = draw(n) < 0.5
        image = torch.where(flipped[:, None, None, None], image.flip(3), image)
        labels = torch.where(flipped[:, None], labels[:, mirrored()], labels)
        dx, dy = (draw(2) * (2 * most + 1)).int().tolist()
        image = F.pad(image, [most] * 4, mode="replicate")[..., dy : dy + SIZE, dx : dx + SIZE]
        soft = F.avg_pool2d(F.pad(image, [1] * 4, mode="replicate"), 3, stride=1)
        image = image.lerp(soft, draw(n, 1, 1, 1) * (draw(n, 1, 1, 1) < 0.3))
        tint = 1 + 0.1 * (draw(n, 3, 1, 1) - 0.5)
        light = 1 + 0.3 * (draw(n, 1, 1, 1) - 0.5)
        image = image * tint * light + 0.2 * (draw(n, 1, 1, 1) - 0.5)
        return image.contiguous(memory_format=torch.channels_last), labels

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Accuracy by attribute on held-out faces, and the mean over attributes."""
        here = device_of(self.model)
        parts = [self.model(self._images(rows).to(here)).cpu() for rows in self.held.split(32)]
        log_p, labels = attributes.log_softmax(torch.cat(parts)), self.labels[self.held]
        figures = {"n": float(len(self.held))}
        for group, span in attributes.SPANS.items():
            right = log_p[:, span].argmax(dim=1) == labels[:, span].argmax(dim=1)
            figures[group] = round(float(right.float().mean()), 4)
        named = [v for g, v in figures.items() if g != "n" and not g.startswith("background")]
        return figures | {"mean of attributes": round(sum(named) / len(named), 4)}

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The model in float16."""
        return {n: t.half() for n, t in self.model.state_dict().items()}, {
            "architecture": "attributes-lite0",
            "kind": "attribute model",
            "for": "pictures of faces",
            "columns": json.dumps(attributes.COLUMNS),
            "licence": "MIT; begun from efficientnet-lite0 (Apache-2.0)",
            "data": "data/tedifaces (CC BY 4.0), every eighth face held out",
            "recipe": f"train/{self.options.recipe}.py",
            "options": json.dumps(asdict(self.options)),
            "note": "Attributes of a face from its picture; apparent, as people would say.",
        }


def mirrored() -> list[int]:
    """Column that each column becomes when the picture is flipped."""
    turned: dict[attributes.Value, attributes.Value] = {"left": "right", "right": "left"}
    return [
        attributes.COLUMNS.index((g, turned.get(v, v) if g == "pose" else v))
        for g, v in attributes.COLUMNS
    ]
