"""The base-code encoder of BDInvert: pictures to the features that F/W+ begins with.

"GAN Inversion for Out-of-Range Images with Geometric Transformations" (BDInvert; Kang et al. 2021,
arXiv 2108.08998): a code is (f, w⁺), where f takes the place of the generator's own activations
of 16 px or 8 px, as `Generator.features` gives and `Generator.synthesis_from` takes them. Three
convolutions and an average pooling thrice, then two convolutions more. Parts are named `model.0`
and so on, as in released files under "encoder".
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from tedi.encoders.shapes import shape_of
from tedi.errors import TediError, UsageError

SLOPE = 0.2  # of the leaky ReLU
CONVS = 3  # before each pooling
Config = dict[str, int | float | bool | str]


class BaseCodeEncoder(nn.Module):
    """Pictures (N, 3, 8s, 8s) in [-1, 1] -> base codes f (N, D, s, s), absolute features.

    BDInvert reduces its pictures by Lanczos to this size.

    Args:
        base: s, 16 or 8 in BDInvert. The state does not tell it.
        channels: of what is looked at.
        width: D, the generator's channels at s px.
        first: channels of the first convolutions; after each pooling there are twice as many,
        most: but no more than so many.
        halvings: poolings, 3 for pictures of 8s.

    Attributes:
        size: pixels a side of what is looked at.
        takes: "image", pictures (N, 3, 8s, 8s) in [-1, 1].
        config: the arguments that build it again.

    Raises:
        UsageError: a size below 1.
    """

    takes: Literal["image"] = "image"

    def __init__(
        self,
        *,
        base: int = 16,
        channels: int = 3,
        width: int = 512,
        first: int = 128,
        most: int = 512,
        halvings: int = 3,
    ) -> None:
        super().__init__()
        if min(base, channels, width, first, most, halvings) < 1:
            got = (base, channels, width, first, most, halvings)
            raise UsageError(f"base, channels, width …: expected 1 or more each, got {got}")
        self.config: Config = {"base": base, "channels": channels, "width": width, "first": first}
        self.config |= {"most": most, "halvings": halvings}
        self.base, self.channels, self.size = base, channels, base * 2**halvings
        layers, enter = [], channels
        for level in range(halvings):
            leave = min(first * 2**level, most)
            for _ in range(CONVS):
                layers += _conv(enter, leave)
                enter = leave
            layers.append(nn.AvgPool2d(2))
        layers += [*_conv(enter, width), nn.Conv2d(width, width, 3, padding=1)]
        self.model = nn.Sequential(*layers)
        for part in self.model:
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.kaiming_normal_(part.weight, mode="fan_out")
                nn.init.zeros_(part.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Base codes f (N, D, s, s) of pictures (N, channels, 8s, 8s) in [-1, 1].

        Raises:
            UsageError: another number of channels or size.
        """
        wanted = (self.channels, self.size, self.size)
        if image.ndim != 4 or image.shape[1:] != wanted:
            raise UsageError(f"image: expected (N, *{wanted}), got {tuple(image.shape)}")
        return self.model(image)

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """The arguments that build the network of a state dict; `base` is its default.

        Raises:
            TediError: the name of a tensor that is missing, or convolutions that are too few.
        """
        first, channels, _, _ = shape_of(state, "model.0.weight", ndim=4)
        convs = sorted(int(n.split(".")[1]) for n, t in state.items() if t.ndim == 4)
        shapes = [shape_of(state, f"model.{number}.weight", ndim=4) for number in convs]
        halvings, rest = divmod(len(shapes) - 2, CONVS)
        if rest or halvings < 1:
            wanted = f"{CONVS} for each pooling and two more"
            raise TediError(f"model.*.weight: expected {wanted}, got {len(shapes)} convolutions")
        config: Config = {"base": 16, "channels": channels, "width": shapes[-1][0], "first": first}
        return config | {"most": max(leave for leave, *_ in shapes[:-2]), "halvings": halvings}


def _conv(enter: int, leave: int) -> list[nn.Module]:
    conv = nn.Conv2d(enter, leave, 3, padding=1)
    return [conv, nn.BatchNorm2d(leave), nn.LeakyReLU(SLOPE)]
