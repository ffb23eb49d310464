"""Instance-level optimisation: the code near a given one whose picture fits a text.

TediGAN (Xia et al. 2021, "instance-level optimization") and StyleCLIP (Patashnik et al. 2021,
"latent optimization") minimise, for a code ws₀ and its picture x₀ = G(ws₀),

    λ_pixel ‖G(ws) − x₀‖² + λ_perceptual d(G(ws), x₀) + λ_code ‖ws − ws₀‖² − λ_text s(ws, text)

with Adam. Here it starts at ws₀ itself, not at the mean face; every term is one number for each
row and the sum is taken over rows, so that a row's result does not depend on its neighbours; and
pictures are previews, drawn only if a term looks at them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.descent import OnStep, Schedule, descend, parts
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.losses import LOSSES, Loss


@dataclass(frozen=True)
class OptimizeOptions(Schedule):
    """Settings of `optimize`; a weight of 0 leaves its term out and saves its cost.

    Raises:
        UsageError: a value out of range.
    """

    lr: float = 0.05  # peak learning rate, in units of the codes (of u, where they are whitened)
    text: float = 1.0  # λ_text; the project's similarity is in nats, CLIP's a cosine
    code: float = 0.1  # λ_code, of the squared distance to the start, mean over slots
    pixel: float = 0.0  # λ_pixel, of the mean squared error, 0 to 4
    perceptual: float = 0.0  # λ_perceptual, of a perceptual distance, about 0 to 1
    slots: tuple[int, ...] | None = None  # the only ones to change; None: all may


DEFAULTS = OptimizeOptions()


class Similarity(Protocol):
    """How well rows fit their texts: any callable of codes and pictures will do.

    For one that has `needs_image = False` no pictures are drawn, and it may be given None.
    """

    def __call__(self, ws: Tensor, image: Any, /) -> Tensor:
        """Similarities (N,), higher is better, of codes (N, L, C) and pictures (N, 3, H, W)."""


class JointSpace:
    """Similarity of codes with texts in the project's own joint space; looks at no picture."""

    needs_image = False

    def __init__(self, encoder: Any, readings: Sequence[Any]) -> None:
        self.encoder, self.readings = encoder, readings

    def __call__(self, ws: Tensor, image: Tensor | None) -> Tensor:
        """Log p(text | ws) − log p(text), (N,), in nats; one by one, as in `parts`."""
        pairs = zip(ws.split(1), self.readings, strict=True)
        return torch.cat([self.encoder.similarity(one, said).flatten() for one, said in pairs])


def joint_space(encoder: Any, prompts: Sequence[str]) -> Similarity:
    """Similarity through `TextEncoder.similarity`, one prompt a row."""
    with torch.inference_mode(mode=False), torch.no_grad():
        return JointSpace(encoder, [encoder.read([prompt]) for prompt in prompts])


def image_text(
    network: Callable[[Tensor, list[str]], Tensor], prompts: Sequence[str]
) -> Similarity:
    """Similarity of previews with texts, one prompt a row.

    Args:
        network: (image (N, 3, H, W) in [-1, 1], N texts) -> (N,), differentiable in the image;
            CLIP as `tedi.language.load_similarity` gives it.
        prompts: N texts.
    """
    texts = list(prompts)

    def similarity(ws: Tensor, image: Tensor) -> Tensor:
        pairs = zip(image.split(1), texts, strict=True)
        return torch.cat([network(one, [text]).flatten() for one, text in pairs])

    return similarity


def optimize(
    generator: Generator,
    ws: Tensor,
    similarity: Similarity,
    *,
    options: OptimizeOptions = DEFAULTS,
    perceptual: Loss | None = None,
    keep: Tensor | None = None,
    whiten: Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Codes (N, L, C), new, near `ws` and more similar to their texts.

    A row's result is the code of least total loss that it passed, so never a worse one than the
    start. There is no randomness.

    Args:
        generator: its `preview` draws what the terms look at.
        ws: codes (N, L, C) to start from and to stay near.
        similarity: of rows and their texts; see `joint_space` and `image_text`.
        options: weights, steps and slots.
        perceptual: distance that `options.perceptual` weighs; see `tedi.losses.LOSSES`.
        keep: (1 or N, 1, h, w), 1 where the pixel and perceptual terms hold the start's picture,
            0 where it is free to change; None holds all of it.
        whiten: (C, C), u = whiten · w. Steps and the distance to the start are then taken in u,
            where it is a Mahalanobis distance if whiten is that of W.
        on_step: told, before every step and once at the end, its number, the weighted terms (N,)
            by name, and the codes then. If it returns True, work stops there, and what was best
            until then is the result.

    Raises:
        UsageError: a slot that there is not, or a perceptual weight without its distance.
        TediError: the loss of a row is not finite.
    """
    if options.perceptual and perceptual is None:
        raise UsageError("perceptual: expected a loss for this weight, got None; give one, or 0")
    with torch.inference_mode(mode=False), torch.enable_grad():
        path = Path(ws.detach().clone(), options.slots, whiten)
        objective = Objective(generator, path, similarity, options, perceptual, keep)
        return descend(path, objective, options, on_step).ws


class Path(nn.Module):
    """Codes as a start and a displacement in some slots, which is what Adam changes."""

    def __init__(self, start: Tensor, slots: Sequence[int] | None, whiten: Tensor | None) -> None:
        super().__init__()
        self.start, length = start, start.shape[1]
        chosen = list(range(length)) if slots is None else sorted(set(slots))
        if not all(0 <= slot < length for slot in chosen):
            raise UsageError(f"slots: expected 0 to {length - 1}, got {tuple(chosen)}")
        self.slots = torch.tensor(chosen, dtype=torch.long, device=start.device)
        self.color = (
            None if whiten is None else torch.linalg.inv(whiten.detach().double()).to(start)
        )
        self.displacement = nn.Parameter(torch.zeros_like(start[:, chosen]))

    def forward(self) -> Tensor:
        """The codes (N, L, C); other slots are the start's, bit for bit."""
        moved: Tensor = self.displacement
        if self.color is not None:
            moved = torch.cat([row @ self.color.T for row in parts(moved)])
        return self.start.index_add(1, self.slots, moved)

    def distance(self) -> Tensor:
        """Squared distance to the start, (N,), mean over all slots."""
        return self.displacement.square().sum(dim=(1, 2)) / self.start.shape[1]


class Objective:
    """The terms of the loss, weighted, each (N,); those of weight 0 are left out."""

    def __init__(
        self,
        generator: Generator,
        path: Path,
        similarity: Similarity,
        options: OptimizeOptions,
        perceptual: Loss | None,
        keep: Tensor | None,
    ) -> None:
        self.generator, self.path, self.similarity = generator, path, similarity
        self.options, self.keep = options, keep
        self.picture: dict[str, Loss] = {"pixel": LOSSES["pixel"]()} if options.pixel else {}
        if options.perceptual and perceptual is not None:
            self.picture["perceptual"] = perceptual
        looks = bool(options.text) and getattr(similarity, "needs_image", True)
        self.draws = looks or bool(self.picture)
        self.target = self._draw(path.start) if self.picture else None

    def __call__(self, ws: Tensor) -> dict[str, Tensor]:
        options, terms = self.options, {}
        image = self._draw(ws) if self.draws else None
        if options.text:
            terms["text"] = -options.text * self.similarity(ws, image)
        if options.code:
            terms["code"] = options.code * self.path.distance()
        if image is not None and self.target is not None:
            pairs = list(
                zip(parts(self._held(image, self.target)), parts(self.target), strict=True)
            )
            for name, loss in self.picture.items():
                terms[name] = getattr(options, name) * torch.cat([loss(*pair) for pair in pairs])
        return terms

    def _draw(self, ws: Tensor) -> Tensor:
        return torch.cat([self.generator.preview(part) for part in parts(ws)])

    def _held(self, image: Tensor, target: Tensor) -> Tensor:
        """The picture, where it is free to change with the start's own: no loss sees that."""
        if self.keep is None:
            return image
        keep = F.interpolate(self.keep.to(image), image.shape[-2:], mode="area")
        return target + keep * (image - target)
