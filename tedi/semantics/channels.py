"""What each channel of S does to what a picture shows, and codes of W+ that move channels.

StyleCLIP's global directions (Patashnik et al. 2021, section 5) measure the effect of every channel
on CLIP's embedding by drawing 100 faces with the channel at +5σ and at −5σ. Here an attribute model
looks instead of CLIP, and the effect is the mean slope of its logits over faces: one backward pass
a logit tells it for all channels at once, where drawing takes two pictures a channel and face.

A move of S is made in W+, so that it is a code like any other. Styles are affine in the codes, slot
by slot. With A_l the weights of the layers that slot l feeds, D = diag(1/σ) over their channels,
σ the spread of a channel over faces, and u = Λ^(-1/2)Eᵀ(w − w̄) whitened codes, slot l moves by

    Δu_l = argmin |D A_l E Λ^(1/2) Δu − Δs|² + ε |Δu|²                                     (1)

where Δs are channels in units of σ. As ε falls the channels come closer to what is asked, by codes
that lie farther from W.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tedi import attributes
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.latents import Direction
from tedi.semantics.directions import affine_weights

CONTRASTS = [
    i
    for g, span in attributes.SPANS.items()
    for i in range(span.start + 1, span.stop)
    if not g.startswith("background ")
]
"""The K columns whose logits are looked at, each less that of the first column of its group."""
FIRSTS = [attributes.SPANS[attributes.COLUMNS[i][0]].start for i in CONTRASTS]


def slopes(
    ws: Tensor, draw: Callable[[Tensor], Tensor], judge: Callable[[Tensor], Tensor]
) -> Tensor:
    """Derivatives (K, L, C) of the `CONTRASTS` of a picture by its code.

    Args:
        ws: (1, L, C).
        draw: codes to pictures (1, 3, H, W).
        judge: pictures to logits (1, V).
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        ws = ws.detach().clone().requires_grad_()
        logits = judge(draw(ws))[0]
        contrasts = (logits[CONTRASTS] - logits[FIRSTS]).unbind()
        found = [torch.autograd.grad(one, ws, retain_graph=True)[0][0] for one in contrasts]
    return torch.stack(found)


def fed_by(generator: Generator) -> dict[str, int]:
    """The slot that feeds each layer of S, in the order of `Generator.styles`."""
    codes = torch.zeros(1 + generator.slots, generator.slots, generator.width)
    codes[range(1, 1 + generator.slots), range(generator.slots)] = 1
    with torch.inference_mode():
        styles = generator.styles(codes.to(generator.w_avg))
    return {
        name: int((style[1:] - style[:1]).norm(dim=1).argmax()) for name, style in styles.items()
    }


class StyleMoves:
    """Moves of W+ that move channels of S: equation (1).

    Args:
        generator: whose channels.
        color: (C, C), E Λ^(1/2), the spread of its W.
        ridge: ε.

    Attributes:
        std: (S,) spread of each channel over faces that are not truncated, in the order of
            `Generator.styles`.
        layers: layer -> its channels.
    """

    def __init__(self, generator: Generator, color: Tensor, *, ridge: float) -> None:
        self.shape = (generator.slots, generator.width)
        self.color = color
        weights = affine_weights(generator, range(generator.slots))
        slots = fed_by(generator)
        spread = torch.cat(list(weights.values())).to(color) @ color  # (S, C)
        self.std = spread.norm(dim=1)
        ends = torch.tensor([len(weight) for weight in weights.values()]).cumsum(0).tolist()
        self.layers = {
            name: range(end - len(weights[name]), end)
            for name, end in zip(weights, ends, strict=True)
        }
        spread = spread / self.std.clamp_min(1e-12)[:, None]
        self._slots = [self._solved(spread, slots, slot, ridge) for slot in range(generator.slots)]

    def _solved(
        self, spread: Tensor, slots: Mapping[str, int], slot: int, ridge: float
    ) -> tuple[list[int], Tensor, Tensor]:
        """Channels of a slot, their matrix M (n, C) on whitened codes, and (MᵀM + εI)⁻¹Mᵀ."""
        rows = [i for name, own in self.layers.items() if slots[name] == slot for i in own]
        M = spread[rows].double()
        gram = M.T @ M + ridge * torch.eye(M.shape[1]).to(M)
        return rows, M.to(spread), torch.linalg.solve(gram, M.T).to(spread)

    def __call__(self, channels: Tensor) -> Tensor:
        """The move (L, C) of codes for a move (S,) of channels, in units of their spread."""
        self._check(channels)
        moved = [solve @ channels[rows] for rows, _, solve in self._slots]
        return torch.stack(moved) @ self.color.T

    def of(self, direction: Direction) -> Tensor:
        """The move (L, C) of codes for a direction of S at strength 1.

        Raises:
            UsageError: a direction of another space, or of other channels.
        """
        if direction.space != "s":
            raise UsageError(f"{direction.name}: expected a direction of S, got {direction.space}")
        if direction.vector.shape != self.std.shape:
            got = f"expected {len(self.std)} channels of S, got {len(direction.vector)}"
            raise UsageError(f"{direction.name}: {got}")
        return self(direction.vector.to(self.std) / self.std.clamp_min(1e-12))

    def missed(self, channels: Tensor) -> float:
        """Share of a move (S,) of channels that codes do not make: 0 none, 1 as much as it is."""
        self._check(channels)
        rest = [channels[rows] - M @ (solve @ channels[rows]) for rows, M, solve in self._slots]
        return float(torch.cat(rest).norm() / channels.norm())

    def effects(self, slopes: Tensor) -> Tensor:
        """What moving each channel by its spread does to K numbers of slopes (K, L, C), (S, K)."""
        found = slopes.new_zeros(len(self.std), len(slopes))
        for slot, (rows, _, solve) in enumerate(self._slots):
            found[rows] = (slopes[:, slot] @ self.color @ solve).T
        return found

    def _check(self, channels: Tensor) -> None:
        if channels.shape != self.std.shape:
            raise UsageError(f"channels: expected {len(self.std)}, got {tuple(channels.shape)}")
