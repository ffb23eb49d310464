"""Trains the preview head: 64 px activations -> the 256 px picture that the full synthesis gives.

The targets are the generator's own pictures, area-reduced, over codes of W (truncated by varied
amounts) and of W+ (mixed slot by slot and moved slot by slot), so that edits of any slot preview
right. Nothing but the generator is needed.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tedi import config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.generators.mobilestylegan import PREVIEW_BLOCKS, MobileStyleGAN, haar
from tedi.training.loop import Settings


@dataclass(frozen=True)
class PreviewOptions:
    """Settings of the task."""

    batch_size: int = 4  # pictures a step
    round: int = 96  # pictures drawn at a time …
    reuse: int = 4  # … each seen this often before the next round
    held_out: int = 100  # pictures that the figures are measured on
    start: str = ""  # a trained head to go on from; "" is the generator's own block, cut
    data: str = "data/tedifaces"  # folder of w_avg.npy, the mean of W
    detail: float = 0.5  # weight of the loss on differences of neighbouring pixels


def make_task(settings: Settings) -> "PreviewTask":
    """The task on the released generator, which is fetched if need be."""
    keep_freed_memory()
    options = config.build(PreviewOptions, settings.options, where="options")
    state, _ = native.read(zoo.pull("mobilestylegan-ffhq"))
    generator = MobileStyleGAN()
    head = {f"previewer.{n}": t for n, t in generator.previewer.state_dict().items()}
    w_avg = torch.from_numpy(np.load(Path(options.data) / "w_avg.npy"))
    generator.load_state_dict(state | head | {"w_avg": w_avg})
    return PreviewTask(generator.eval().to(settings.place), options, seed=settings.seed)


class PreviewTask:
    """Distils `Synthesis` from 128 px on into `Preview`."""

    def __init__(self, generator: MobileStyleGAN, options: PreviewOptions, *, seed: int) -> None:
        self.generator, self.options, self.seed = generator, options, seed
        self.generator.requires_grad_(False)
        self.model = generator.previewer.requires_grad_(True)
        if options.start:
            self._go_on(Path(options.start))
        else:
            self._start()
        self._drawn: tuple[int, tuple[Tensor, Tensor, Tensor]] | None = None

    def _go_on(self, path: Path) -> None:
        tensors, _ = native.read(path)
        prefix = "previewer."
        head = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        self.model.load_state_dict(head)

    @torch.no_grad()
    def _start(self) -> None:
        """Begin at the generator's own 128 px block cut to the head's width, and a linear image.

        The released tensors differ in size by a factor of 1,000, so every tensor's steps are
        made proportional to its root mean square (`groups`).
        """
        torch.manual_seed(self.seed)
        source = self.generator.synthesizer.blocks[PREVIEW_BLOCKS].state_dict()
        for name, target in self.model.block.state_dict().items():
            if "noise" not in name:
                value = source[name][tuple(map(slice, target.shape))]
                target.zero_()[tuple(map(slice, value.shape))] = value
        image = self.model.to_image
        image.affine.bias.fill_(1.0)
        image.affine.weight.normal_(std=1e-3)
        image.pointwise.copy_(self._linear_image())

    def _linear_image(self, n: int = 24, ridge: float = 1.0) -> Tensor:
        """Least-squares map (12, D) from the block's activations to the picture's Haar bands."""
        ws = self.codes(n, torch.Generator().manual_seed(self.seed))
        features, images = self.draw(ws)
        hidden = self.model.activations(features, ws)
        x = hidden.permute(0, 2, 3, 1).flatten(0, 2)
        bands = haar(images).permute(0, 2, 3, 1).flatten(0, 2)
        return torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1]), x.T @ bands).T

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """Adam's groups: a step is at most about `lr` times the size of the tensor it changes."""
        groups = []
        for name, tensor in self.model.named_parameters():
            size = (
                0.05
                if name.endswith(("noise", "to_image.bias"))
                else tensor.detach().square().mean().sqrt().item()
            )
            groups.append({"params": [tensor], "lr": lr * size})
        return groups

    def codes(self, n: int, generator: torch.Generator) -> Tensor:
        """Codes ws (n, 16, 512): a third each of W, of mixed W+ and of W+ moved slot by slot."""
        w_avg = self.generator.w_avg.cpu()
        w = self._mapped(torch.randn(2 * n, 512, generator=generator)).cpu()
        psi = torch.rand(2 * n, 1, generator=generator) * 0.6 + 0.4
        a, b = (w_avg + psi * (w - w_avg)).chunk(2)
        mixed = (torch.rand(n, 16, 1, generator=generator) < 0.5).float()
        ws = a[:, None] + mixed * (b - a)[:, None]
        moved = a[:, None] + 0.25 * torch.randn(n, 16, 512, generator=generator)
        kind = torch.randint(3, (n, 1, 1), generator=generator)
        ws = torch.where(kind == 0, a[:, None], torch.where(kind == 1, ws, moved))
        return ws.to(self.generator.w_avg)

    def _mapped(self, z: Tensor) -> Tensor:
        """Codes w (N, C) of noise that was made on the CPU."""
        return self.generator.mapping(z.to(self.generator.w_avg))

    @torch.no_grad()
    def draw(self, ws: Tensor) -> tuple[Tensor, Tensor]:
        """64 px activations and area-reduced pictures of codes, drawn one by one."""
        G, pairs = self.generator, []
        for one in ws.split(1):
            x = G.features(one, 64)
            pairs.append((x, F.interpolate(G.synthesis_from(x, one), (256, 256), mode="area")))
        features, images = zip(*pairs, strict=True)
        return torch.cat(features), torch.cat(images)

    def _round(self, step: int) -> tuple[int, tuple[Tensor, Tensor, Tensor]]:
        options = self.options
        steps = options.round * options.reuse // options.batch_size
        number = step // steps
        if self._drawn is None or self._drawn[0] != number:
            random = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + number)
            ws = self.codes(options.round, random)
            self._drawn = number, (ws, *self.draw(ws))
        return step, self._drawn[1]

    def step(self, step: int) -> dict[str, Tensor]:
        """Squared error of pixels and of their differences along rows and columns."""
        _, (ws, features, images) = self._round(step)
        random = torch.Generator().manual_seed(step)
        rows = torch.randperm(len(ws), generator=random)[: self.options.batch_size]
        error = self.model(features[rows], ws[rows]) - images[rows]
        detail = error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()
        return {"pixel": error.square().mean(), "detail": self.options.detail * detail}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Explained variance on unseen codes: W at psi 0.7 and 1, and W+ as in training."""
        G, n = self.generator, self.options.held_out
        random = torch.Generator().manual_seed(987_654_321)
        w = self._mapped(torch.randn(n, 512, generator=random))
        sets = {
            "psi 0.7": (G.w_avg + 0.7 * (w - G.w_avg))[:, None].expand(-1, 16, -1),
            "psi 1": w[:, None].expand(-1, 16, -1),
            "W+": self.codes(n, random),
        }
        figures: dict[str, float] = {"n": float(n)}
        for name, ws in sets.items():
            figures[f"explained variance, {name}"] = self._explained(ws)
        return figures

    def _explained(self, ws: Tensor) -> float:
        """1 − Σ(error²) / Σ(deviation from the mean picture of the set²)."""
        errors, images = [], []
        for one in ws.split(1):
            features, image = self.draw(one)
            errors.append((self.model(features, one) - image).square().sum())
            images.append(image)
        stacked = torch.cat(images)
        spread = (stacked - stacked.mean(dim=0)).square().sum()
        return round(float(1 - torch.stack(errors).sum() / spread), 5)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The head in float16, with the mean of W that the generator truncates towards."""
        tensors = {f"previewer.{n}": t.half() for n, t in self.model.state_dict().items()}
        return tensors | {"w_avg": self.generator.w_avg}, {
            "architecture": "mobilestylegan",
            "kind": "preview head",
            "for": "mobilestylegan-ffhq",
            "licence": "MIT for this head; see mobilestylegan-ffhq for the generator it belongs to",
            "data": "pictures drawn by mobilestylegan-ffhq; w_avg from data/tedifaces",
            "recipe": "train/preview.py",
            "options": json.dumps(asdict(self.options)),
            "note": "256 px pictures from the generator's 64 px activations.",
        }
