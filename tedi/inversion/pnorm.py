"""P-norm+: how far codes are from those that the mapping makes, where W is nearly Gaussian.

The mapping ends in a leaky ReLU of slope 0.2; undone, p = LeakyReLU₅(w) is nearly Gaussian ("II2S",
Zhu et al. 2020, arXiv 2012.09036). With its mean μ, principal axes E and variances Λ,

    v = Λ^(-1/2) Eᵀ (p − μ)                                                                (1)

is nearly N(0, I), and the mean square of v over all slots and axes is about 1 for codes of W.
BDInvert (Kang et al. 2021, arXiv 2108.08998) keeps it small while it inverts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.interfaces import Generator, z_width

SLOPE = 0.2  # of the mapping's last leaky ReLU; its gain is a factor that whitening removes
SAMPLES = 20_000
FLOOR = 1e-6  # of the largest variance: less is rounding


class PNorm:
    """Measures codes in the coordinates of equation (1).

    Args:
        mean: μ (C,).
        axes: E (C, C), in columns.
        std: Λ^(1/2) (C,).
    """

    def __init__(self, mean: Tensor, axes: Tensor, std: Tensor) -> None:
        self.mean, self.axes, self.std = mean, axes, std

    @classmethod
    @torch.no_grad()
    def measure(cls, generator: Generator, *, samples: int = SAMPLES, seed: int = 0) -> "PNorm":
        """Statistics of the codes that a generator maps noise to.

        Args:
            generator: whose mapping is sampled; the paper takes a million samples.
            samples: more than C.
            seed: of the noise.

        Raises:
            UsageError: too few samples.
        """
        if samples <= generator.width:
            raise UsageError(f"samples: expected more than {generator.width}, got {samples}")
        random = torch.Generator().manual_seed(seed)
        z = torch.randn(samples, z_width(generator), generator=random)
        p = F.leaky_relu(generator.mapping(z.to(generator.w_avg)), 1 / SLOPE).double()
        mean = p.mean(dim=0)
        values, axes = torch.linalg.eigh((p - mean).T @ (p - mean) / samples)
        std = values.clamp_min(FLOOR * values[-1]).sqrt()
        return cls(mean.float(), axes.float(), std.float())

    def whiten(self, ws: Tensor) -> Tensor:
        """Coordinates v of codes (…, C): equation (1)."""
        return (F.leaky_relu(ws, 1 / SLOPE) - self.mean) @ self.axes / self.std

    def color(self, v: Tensor) -> Tensor:
        """Codes of coordinates v (…, C)."""
        return F.leaky_relu((v * self.std) @ self.axes.T + self.mean, SLOPE)

    def __call__(self, ws: Tensor) -> Tensor:
        """Mean square of v, (N,), of codes (N, L, C)."""
        return self.whiten(ws).square().mean(dim=(1, 2))
