"""The latent discriminator of e4e: is a w of the mapping network, or of an encoder?

D_W of "Designing an Encoder for StyleGAN Image Manipulation" (e4e; Tov et al. 2021, arXiv
2102.02766), after Nitzan et al. (2020, arXiv 2005.07728). Parts are named as in released files.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from tedi.encoders.shapes import shape_of
from tedi.errors import TediError, UsageError

SLOPE = 0.2  # of the leaky ReLU
Config = dict[str, int | float | bool | str]


class LatentDiscriminator(nn.Module):
    """Codes to one logit each, high where they are as the mapping network's.

    Args:
        width: C of W.
        depth: linear layers, the last included.

    Attributes:
        config: the arguments that build it again.

    Raises:
        UsageError: no layer.
    """

    def __init__(self, *, width: int = 512, depth: int = 4) -> None:
        super().__init__()
        if depth < 1:
            raise UsageError(f"depth: expected 1 or more, got {depth}")
        self.width = width
        self.config: Config = {"width": width, "depth": depth}
        layers: list[nn.Module] = []
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.LeakyReLU(SLOPE)]
        self.mlp = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, w: Tensor) -> Tensor:
        """Logits (N, 1) of codes (N, C), or (N, L, 1) of codes (N, L, C), each slot by itself.

        Raises:
            UsageError: codes of another width.
        """
        if w.shape[-1] != self.width:
            raise UsageError(f"w: expected (N, {self.width}), got {tuple(w.shape)}")
        return self.mlp(w)

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """The arguments that build the network of a state dict.

        Raises:
            TediError: the name of a tensor that is missing, or does not give one logit.
        """
        leave, width = shape_of(state, "mlp.0.weight", ndim=2)
        depth = 1
        while (name := f"mlp.{2 * depth}.weight") in state:
            leave, depth = shape_of(state, name, ndim=2)[0], depth + 1
        if leave != 1:
            raise TediError(f"mlp.{2 * depth - 2}.weight: expected (1, {width}), got {leave} rows")
        return {"width": width, "depth": depth}
