"""Text and codes in one space: visual-linguistic similarity, and codes that fit a text.

TediGAN (Xia et al. 2021, section 3.2) pulls the code of a caption towards the code of its
picture, layer by layer. A caption does not determine a face, so a code regressed from it is the
mean of all faces it fits; here a text tells how well *every* code fits it instead.

Codes are whitened, u = Λ^(-1/2) Eᵀ(w − w̄), so that over the generator's faces u ~ N(0, I).
K concepts look at a code, c = A u, hence c ~ N(0, S) with S = AAᵀ. A text is read as a noisy
measurement of the concepts: per concept a root precision d ≥ 0 (0 where the text is silent) and a
target h, in units of 1/d. With D = diag(d) and M = I + D S D, Bayes' rule for Gaussians gives

    similarity   log p(u | text) − log p(u) = ½ hᵀM⁻¹h + ½ log|M| − ½ |h − D c|²            (1)
    a code       u' = u + AᵀD M⁻¹ (h − D A u)                                               (2)

(2) is the conditional mean: it moves a seed's code just as far as the text asks, by the shortest
way in Mahalanobis distance, and leaves what is not named. From u = 0 it is the text's own code.
(1) is trained as a similarity per layer and as the score of a ranking loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.language import TextBackbone


@dataclass(frozen=True)
class Measurement:
    """What texts say of the concepts.

    Attributes:
        target: h (N, K), wanted concept scores times the root precision.
        precision: d (N, K), root of the precision, at least 0; 0 says nothing.
    """

    target: Tensor
    precision: Tensor

    def sharpened(self, strength: float) -> "Measurement":
        """The same text said `strength` times over: 0 says nothing, 1 is as trained."""
        root = strength**0.5
        return Measurement(self.target * root, self.precision * root)


class TextReader(nn.Module):
    """Token states (N, T, width) -> Measurement of K concepts.

    One transformer layer over the states, then one learned query a concept that attends to them.
    """

    def __init__(self, width: int, concepts: int, *, hidden: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.enter = nn.Linear(width, hidden)
        self.mix = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout=0.1, batch_first=True, norm_first=True
        )
        self.queries = nn.Parameter(torch.randn(concepts, hidden) * hidden**-0.5)
        self.attend = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.leave = nn.Parameter(torch.zeros(concepts, hidden, 2))
        self.bias = nn.Parameter(torch.tensor([0.0, -1.0]).repeat(concepts, 1))

    def forward(self, states: Tensor, mask: Tensor) -> Measurement:
        padding = ~mask
        x = self.mix(self.enter(states), src_key_padding_mask=padding)  # (N, T, hidden)
        queries = self.queries.expand(len(x), -1, -1)
        read, _ = self.attend(queries, x, x, key_padding_mask=padding, need_weights=False)
        out = torch.einsum("nkd,kdo->nko", self.norm(read + queries), self.leave) + self.bias
        return Measurement(out[..., 0], F.softplus(out[..., 1]))


class TextEncoder(nn.Module):
    """Prompts -> codes ws (N, L, C), and the similarity of codes and prompts.

    Args:
        width: of the backbone's token states.
        concepts: K.
        slots: L of the generator.
        channels: C of its W.
    """

    w_avg: Tensor
    whiten: Tensor
    color: Tensor
    layer_weights: Tensor

    def __init__(self, width: int, concepts: int, *, slots: int = 16, channels: int = 512) -> None:
        super().__init__()
        self.reader = TextReader(width, concepts)
        self.concepts = nn.Parameter(torch.zeros(concepts, channels))  # A
        self.register_buffer("w_avg", torch.zeros(channels))
        self.register_buffer("whiten", torch.zeros(channels, channels))  # Λ^(-1/2) Eᵀ
        self.register_buffer("color", torch.zeros(channels, channels))  # E Λ^(1/2)
        self.register_buffer("layer_weights", torch.full((slots,), 1 / slots))
        self.backbone: TextBackbone | None = None

    def read(self, prompts: Sequence[str]) -> Measurement:
        """What prompts say; needs a backbone."""
        if self.backbone is None:
            raise RuntimeError("TextEncoder.read: set backbone first")
        return self.reader(*self.backbone(prompts))

    def forward(self, prompts: Sequence[str], *, strength: float = 1.0) -> Tensor:
        """Codes (N, L, C) of the prompts alone: the mean of the faces they fit."""
        measured = self.read(prompts)
        ws = self.w_avg.expand(len(measured.target), len(self.layer_weights), -1)
        return self.fit(ws, measured.sharpened(strength))

    def scores(self, ws: Tensor) -> Tensor:
        """Concept scores c (N, L, K) of codes, in standard deviations over faces."""
        return (ws - self.w_avg) @ self.whiten.T @ self.directions().T

    def fit(self, ws: Tensor, measured: Measurement) -> Tensor:
        """Codes (N, L, C), new, that fit the measurement and are nearest to `ws`: equation (2)."""
        A, d = self.directions(), measured.precision
        surprise = measured.target[:, None] - d[:, None] * self.scores(ws)  # (N, L, K)
        root = self._information(measured)
        gain = torch.cholesky_solve(surprise.transpose(1, 2), root).transpose(1, 2)
        return ws + (gain * d[:, None]) @ A @ self.color.T

    def similarity(self, ws: Tensor, measured: Measurement) -> Tensor:
        """Similarity of every text with every code by layer, (texts, codes, L): equation (1)."""
        return self.compare(self.scores(ws), measured)

    def compare(self, scores: Tensor, measured: Measurement) -> Tensor:
        """`similarity` from the concept scores (N, L, K) of the codes."""
        h, d = measured.target, measured.precision
        root = self._information(measured)
        solved = torch.linalg.solve_triangular(root, h[..., None], upper=False)
        log_det = 2 * root.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        evidence = solved.square().sum(dim=(1, 2)) + log_det
        c = scores.flatten(0, 1).T  # (K, codes · L)
        misfit = h.square().sum(dim=1, keepdim=True) - 2 * (h * d) @ c + d.square() @ c.square()
        return (0.5 * (evidence[:, None] - misfit)).unflatten(1, scores.shape[:2])

    def _information(self, measured: Measurement) -> Tensor:
        """Cholesky root (N, K, K) of M = I + D S D."""
        A, d = self.directions(), measured.precision
        eye = torch.eye(len(A), dtype=A.dtype, device=A.device)
        return torch.linalg.cholesky(eye + d[:, :, None] * (A @ A.T) * d[:, None, :])

    def directions(self) -> Tensor:
        """A with rows of length 1, so that every score has variance 1 over faces."""
        return F.normalize(self.concepts, dim=1)
