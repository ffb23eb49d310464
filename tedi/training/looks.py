"""Fits an encoder that looks again to moves that optimisation has found, in closed form.

ReStyle (Alaluf et al. 2021, arXiv 2104.02699) sends gradients through the generator at every step
of training, which is slow to learn from. Here every photo x is brought nearer once, by some steps
of Adam from the visual encoder's code ws_0; the code ws* that it comes to is kept. What the encoder
sees differ between x and the drawing of ws_t is fitted to the move ws* − ws_t in coordinates of its
tint T, twice:

    A, by reduced-rank ridge regression of the moves on differences, whose right singular vectors
    give the few numbers h = A d that matter; then
    M, by ridge regression of the moves on [h; h ⊗ k], of a lower rank again.

k are the largest principal components of what the encoder makes of x. After the codes of look 0,
those that the fit leads to are drawn, and it is fitted again to all looks so far.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tedi.checkpoints.identity import Identity
from tedi.encoders.residual import Looker, ResidualEncoder
from tedi.encoders.visual import VisualEncoder
from tedi.errors import UsageError
from tedi.losses import Describe, Maps
from tedi.losses.perceptual import distance
from tedi.training.pictures import from_bytes, kept

log = logging.getLogger(__name__)

BATCH = 8  # photos at a time
WEIGHTS = (1.0, 0.5, 0.3, 0.3, 0.3)  # mean squares of φ's parts: person, picture, squeezed maps


@dataclass(frozen=True)
class LessonOptions:
    """Settings of the fit.

    Raises:
        UsageError: no step or no look.
    """

    steps: int = 8  # of Adam, that bring a code nearer
    lr: float = 0.05  # its rate at first, in coordinates of T; it falls to 0 as half a cosine
    pixel: float = 2.0  # weight of the mean squared error, 0 to 4
    perceptual: float = 1.0  # of the distance of features, 0 to 4
    identity: float = 2.0  # of the squared distance of descriptors
    looks: int = 2  # that are fitted
    half: bool = True  # draw and compare in bfloat16 while codes are brought nearer
    difference: float = 3.0  # ridge of A, in mean squares of a row
    meeting: float = 1.0  # ridge of M

    def __post_init__(self) -> None:
        for name in ("steps", "looks"):
            if (value := getattr(self, name)) < 1:
                raise UsageError(f"{name}: expected 1 or more, got {value}")


class Lessons:
    """What is learned from; all of it is kept in a folder, and made once.

    Args:
        first: the visual encoder, told who it is.
        draw: codes (N, L, C) -> pictures (N, 3, 256, 256).
        maps: perceptual features.
        describe: pictures -> descriptors of persons (N, 128).
        photos: (N, 3, 256, 256).
        folder: for what is made.
        options: settings.

    Raises:
        UsageError: too few photos for the numbers that are fitted.
    """

    def __init__(
        self,
        first: VisualEncoder,
        draw: Callable[[Tensor], Tensor],
        maps: Maps,
        describe: Describe,
        photos: NDArray[np.uint8],
        folder: Path,
        options: LessonOptions,
    ) -> None:
        self.first, self.draw, self.maps, self.describe = first, draw, maps, describe
        self.photos, self.folder, self.options = photos, folder, options
        self.looker = ResidualEncoder(first)
        if len(self.photos) < (least := self.looker.meet.out_features):
            raise UsageError(f"photos: expected {least} or more, got {len(self.photos)}")

    def image(self, rows: slice) -> Tensor:
        """Photos (N, 3, 256, 256) in [-1, 1]."""
        return from_bytes(np.array(self.photos[rows])).to(self.first.w_avg.device)

    def kept(self, name: str, width: tuple[int, ...], make: Callable[[slice], Tensor]) -> Tensor:
        """Rows (N, *width) in half precision, made where they are not yet.

        Raises:
            UsageError: the file holds those of other settings.
        """

        def rows(part: slice) -> NDArray[Any]:
            return make(part).cpu().numpy().astype(np.float16)

        path, shape = self.folder / f"{name}.npy", (len(self.photos), *width)
        if path.exists() and (there := np.load(path, mmap_mode="r").shape) != shape:
            raise UsageError(f"{path}: holds {there[0]} rows of other settings; remove it")
        return torch.from_numpy(kept(path, shape, rows, dtype=np.float16, batch=BATCH))

    @torch.no_grad()
    def begun(self) -> Tensor:
        """ws_0 (N, L, C)."""
        first = self.first
        shape = (first.slots, first.width)
        return self.kept("begun", shape, lambda rows: first(self.image(rows)))

    def nearer(self) -> Tensor:
        """ws* (N, L, C)."""
        shape = (self.first.slots, self.first.width)
        return self.kept("nearer", shape, lambda rows: self.approach(self.image(rows)))

    @torch.enable_grad()
    def approach(self, target: Tensor) -> Tensor:
        """Codes (N, L, C) of photos, some steps of Adam from ws_0; each row goes its own way."""
        o, tint = self.options, self.first.tint
        with torch.no_grad():
            start, true, person = self.first(target), self.maps(target), self.describe(target)
        v = torch.zeros_like(start, requires_grad=True)
        adam = torch.optim.Adam([v], lr=o.lr, betas=(0.9, 0.99))
        for step in range(o.steps):
            adam.param_groups[0]["lr"] = 0.5 * o.lr * (1 + math.cos(math.pi * step / o.steps))
            with torch.autocast(target.device.type, torch.bfloat16, enabled=o.half):
                image = self.draw(start + v @ tint.T).float()
                maps, here = self.maps(image), self.describe(image)
            far = o.pixel * (image - target).square().mean(dim=(1, 2, 3))
            far = far + o.perceptual * distance([each.float() for each in maps], true)
            far = far + o.identity * (here.float() - person).square().sum(dim=1)
            adam.zero_grad()
            far.sum().backward()
            adam.step()
        return start + v.detach() @ tint.T

    def seen(self) -> tuple[Tensor, Tensor]:
        """φ (N, D) and ψ (N, K) of the photos."""
        looker = self.looker

        def make(rows: slice) -> Tensor:
            seen = looker.see(self.image(rows))
            return torch.cat([seen["picture"], seen["face"]], dim=1)

        width = sum(looker.widths) + looker.face_width
        both = self.kept("photos", (width,), make)
        return both[:, : -looker.face_width], both[:, -looker.face_width :]

    @torch.no_grad()
    def drawn(self, look: int, ws: Tensor) -> Tensor:
        """φ (N, D) of what codes draw at a look."""

        def make(rows: slice) -> Tensor:
            image = self.draw(ws[rows].to(self.first.w_avg))
            return self.looker.see(image)["picture"]

        return self.kept(f"look-{look}", (sum(self.looker.widths),), make)

    @torch.no_grad()
    def learn(self) -> ResidualEncoder:
        """Fits the encoder, look by look."""
        nearer, begun, (seen, face) = self.nearer(), self.begun(), self.seen()
        back = torch.linalg.pinv(self.first.tint).T
        ws, apart, moves = begun.float(), [], []
        for look in range(self.options.looks):
            drawn = self.drawn(look, ws)
            apart.append(seen.float() - drawn.float())
            moves.append(((nearer.float() - ws) @ back).flatten(1))
            told = fit(self.looker, torch.cat(apart), face.float(), torch.cat(moves), self.options)
            log.info("look %d: %.3f of the moves' squares explained", look + 1, told)
            ws = ws + self._moved(apart[-1], face)
        return self.looker

    def _moved(self, apart: Tensor, face: Tensor) -> Tensor:
        """Moves (N, L, C) of rows of the photos."""
        looker, parts = self.looker, []
        for rows in torch.arange(len(apart)).split(256):
            h = looker.gap(apart[rows] / looker.scale)
            parts.append(looker.moves(looker.meet(looker.met(h, looker.face(face[rows].float())))))
        return torch.cat(parts)


NAMES = (
    "mean squared error",
    "perceptual distance",
    "identity distance",
    "same person",
    "offset from one w",
)


@torch.no_grad()
def look_by_look(
    looker: Looker,
    draw: Callable[[Tensor], Tensor],
    maps: Maps,
    describe: Identity,
    photos: Tensor,
    looks: int,
) -> dict[str, float]:
    """How like photos (N, 3, 256, 256) the codes of each look draw, and how far slots lie apart."""
    rows: dict[int, list[Tensor]] = {}
    for image in photos.split(1):
        seen, ws = looker.see(image), looker.begin(image)
        for look in range(looks + 1):
            shown = draw(ws)
            apart = (describe(shown) - describe(image)).norm(dim=1)
            like = distance(maps(shown), maps(image))
            error = (shown - image).square().mean(dim=(1, 2, 3))
            offset = (ws - ws.mean(dim=1, keepdim=True)).norm(dim=2).mean(dim=1)
            same = (apart < describe.same).float()
            rows.setdefault(look, []).append(torch.stack([error, like, apart, same, offset], dim=1))
            if look < looks:
                ws = ws + looker.look(seen, shown)
    told = {"photos": float(len(photos))}
    for look, figures in rows.items():
        values = torch.cat(figures).mean(dim=0).tolist()
        named = zip(NAMES, values, strict=True)
        told |= {f"{name}, look {look}": round(value, 4) for name, value in named}
    return told


@torch.no_grad()
def fit(
    looker: ResidualEncoder, apart: Tensor, face: Tensor, moves: Tensor, options: LessonOptions
) -> float:
    """Sets the weights of an encoder; the share of the moves' squares that it explains.

    Args:
        looker: its numbers of h and k, and its rank, are kept.
        apart: differences (M N, D) of M looks, one after the other.
        face: ψ (N, K) of the photos.
        moves: (M N, L C) in coordinates of the tint.
        options: ridges.
    """
    looks = len(apart) // len(face)
    means = [p.square().sum(dim=1).mean().sqrt() for p in apart.split(looker.widths, dim=1)]
    scales = [mean / weight**0.5 for mean, weight in zip(means, WEIGHTS, strict=True)]
    for part, scale in zip(looker.scale.split(looker.widths), scales, strict=True):
        part.fill_(scale.item())
    x = apart / looker.scale
    down, _ = reduced(x, moves, options.difference, len(looker.gap.weight))
    h = x @ down
    looker.gap.weight.copy_((down / h.square().mean().sqrt()).T)

    mean = face.mean(dim=0)
    _, _, v = torch.linalg.svd(face - mean, full_matrices=False)
    axes = v[: looker.face.out_features] / (face - mean).square().sum(dim=1).mean().sqrt()
    looker.face.weight.copy_(axes)
    looker.face.bias.copy_(-axes @ mean)

    k = looker.face(face).repeat(looks, 1)
    met = looker.met(looker.gap(x), k)
    down, up = reduced(met, moves, options.meeting, looker.meet.out_features)
    size = (met @ down).square().mean().sqrt()
    looker.meet.weight.copy_((down / size).T)
    looker.offset.weight.copy_(up.T * size)
    left = moves - looker.offset(looker.meet(met))
    return 1 - (left.square().sum() / moves.square().sum()).item()


def reduced(x: Tensor, y: Tensor, strength: float, rank: int) -> tuple[Tensor, Tensor]:
    """Reduced-rank ridge regression of y (N, F) on x (N, E): matrices (E, R) and (R, F).

    The full solution W is projected onto the R largest right singular vectors V of x W (Izenman
    1975, "Reduced-rank regression for the multivariate linear model"): x W V Vᵀ.

    Args:
        x: not centred.
        y: not centred.
        strength: of the ridge, in mean squares of the rows of x.
        rank: R.
    """
    ridge = strength * x.square().sum(dim=1).mean()
    if len(x) < x.shape[1]:
        gram = x @ x.T
        gram.diagonal().add_(ridge)
        w = x.T @ torch.cholesky_solve(y, torch.linalg.cholesky(gram))
    else:
        gram = x.T @ x
        gram.diagonal().add_(ridge)
        w = torch.cholesky_solve(x.T @ y, torch.linalg.cholesky(gram))
    torch.manual_seed(0)
    _, _, v = torch.svd_lowrank(x @ w, q=min(rank + 16, *y.shape), niter=3)
    v = v[:, :rank]
    return w @ v, v.T
