"""What a code shows: attributes read from W+ without drawing, and codes that show what is asked.

Codes are whitened slot by slot, u = Λ^(-1/2) Eᵀ(w − w̄), so that over the generator's faces every
slot is N(0, I). K concepts look at them: concept k has a direction a_k and a share p_lk of each
slot l (Σ_l p_lk = 1), learned from codes mixed slot by slot, where a layer's say shows:

    c_k = Σ_l p_lk a_kᵀ u_l                                                                (1)

A small network turns c into logits of all attribute values. To make a code show what a text asks,
let F(c) be how well it fits. Moves Δ of a code have the prior N(0, P ⊗ I), P = ρ 11ᵀ + (1 − ρ) I
over slots: ρ = 1 moves all slots alike and stays in W, ρ = 0 moves each slot by itself. The most
likely move that fits,

    Δ* = argmin ½ Δᵀ(P ⊗ I)⁻¹Δ − λ F(c(u + Δ)),                                            (2)

lies in the span of the concepts, Δ_l = Σ_k g_k (Pp)_lk a_k, and shifts them by c' = c + R y with
R Rᵀ = (AAᵀ) ∘ (pᵀPp) and y = Rᵀg, so K numbers are sought: argmin ½|y|² − λ F(c + R y).
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi import attributes
from tedi.adam import Adam

STEPS = 40  # of the search for y
RATE = 0.3  # Adam's, in standard deviations of a code


class CodeReader(nn.Module):
    """Codes ws (N, L, C) -> logits (N, V) of all attribute values.

    Args:
        concepts: K.
        slots: L of the generator.
        channels: C of its W.
        hidden: width of the network over the concepts.
    """

    w_avg: Tensor
    whiten: Tensor
    color: Tensor
    probes: Tensor
    levels: Tensor

    def __init__(
        self, concepts: int = 128, *, slots: int = 16, channels: int = 512, hidden: int = 256
    ) -> None:
        super().__init__()
        self.register_buffer("w_avg", torch.zeros(channels))
        self.register_buffer("whiten", torch.zeros(channels, channels))  # Λ^(-1/2) Eᵀ
        self.register_buffer("color", torch.zeros(channels, channels))  # E Λ^(1/2)
        columns = len(attributes.COLUMNS)
        self.register_buffer("probes", torch.zeros(columns, channels))  # linear, of length 1
        self.register_buffer("levels", torch.zeros(columns, 2))  # their scores without and with
        self.concepts = nn.Parameter(torch.randn(concepts, channels) * channels**-0.5)  # a
        self.slots = nn.Parameter(torch.zeros(slots, concepts))  # softmax over l gives p
        self.linear = nn.Linear(concepts, columns)
        self.enter = nn.Linear(concepts, hidden)
        self.leave = nn.Linear(hidden, columns, bias=False)
        nn.init.zeros_(self.leave.weight)

    def forward(self, ws: Tensor) -> Tensor:
        """Logits (N, V) of codes ws (N, L, C); softmax them within each group."""
        return self.read(self.scores(ws))

    def scores(self, ws: Tensor) -> Tensor:
        """Concept scores c (N, K): equation (1)."""
        u = (ws - self.w_avg) @ self.whiten.T
        return torch.einsum("nlk,lk->nk", u @ self.directions().T, self.shares())

    def read(self, scores: Tensor) -> Tensor:
        """Logits (N, V) of concept scores (N, K)."""
        return self.linear(scores) + self.leave(F.gelu(self.enter(scores)))

    def directions(self) -> Tensor:
        """A (K, C), of length 1."""
        return F.normalize(self.concepts, dim=1)

    def shares(self) -> Tensor:
        """P (L, K), which sum to 1 over the slots."""
        return self.slots.softmax(dim=0)

    @torch.inference_mode(False)  # the search needs gradients, whoever calls
    @torch.no_grad()
    def move(
        self,
        ws: Tensor,
        objective: Callable[[Tensor], Tensor],
        *,
        strength: float,
        together: float,
        slots: tuple[int, ...] | None = None,
    ) -> Tensor:
        """Codes (N, L, C), new, moved to where the objective is high: equation (2).

        Args:
            ws: codes to start from; rows do not touch one another.
            objective: F, from log-probabilities (N, V) of the attributes to (N,).
            strength: λ, the weight of the objective against the length of the move.
            together: ρ, 1 moves all slots alike, 0 each by itself.
            slots: those that may move; None for all.
        """
        shares, a = self.shares(), self.directions()
        free = torch.zeros(len(shares), 1).to(ws)
        free[list(slots) if slots is not None else slice(None)] = 1
        kernel = together + (1 - together) * torch.eye(len(shares)).to(ws)
        spread = free * (kernel @ (free * shares))  # Pp (L, K)
        gram = (a @ a.T) * ((free * shares).T @ spread)
        root = torch.linalg.cholesky(gram.double() + 1e-6 * torch.eye(len(a)).to(gram).double())
        y = self._search(self.scores(ws), root.to(ws), objective, strength)
        g = torch.linalg.solve_triangular(root.to(ws).T, y.T, upper=True).T
        moved = torch.einsum("nk,lk,kc->nlc", g, spread, a)
        return ws + moved @ self.color.T

    @torch.enable_grad()
    def _search(
        self,
        scores: Tensor,
        root: Tensor,
        objective: Callable[[Tensor], Tensor],
        strength: float,
    ) -> Tensor:
        """Adam on y, its rate falling to zero; every row is a search of its own."""
        scores, root = scores.detach(), root.detach()
        y = torch.zeros_like(scores, requires_grad=True)
        adam = Adam([y], betas=(0.8, 0.95))
        for step in range(STEPS):
            log_p = attributes.log_softmax(self.read(scores + y @ root.T))
            loss = 0.5 * y.square().sum(dim=1) - strength * objective(log_p)
            rate = RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
            adam.step(torch.autograd.grad(loss.sum(), y), rate)
        return y.detach()
