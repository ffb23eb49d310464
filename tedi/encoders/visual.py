"""The visual inversion encoder: aligned pictures of faces to W+.

As in e4e (Tov et al. 2021, arXiv 2102.02766, section 4) a picture becomes one w, which is its
place in W, and an offset for each slot, which the training keeps small:

    ws_l = w̄ + E Λ^(1/2) y + E Λ^(1/4) Δ_l

with E Λ Eᵀ the covariance of W: y is in standard deviations of the generator's own codes, and
offsets, which photos need where W hardly varies, are less bound to where it does. The trunk is
EfficientNet-lite0. Each group of slots looks at the map of its own scale (Richardson et al. 2021,
arXiv 2008.00951) - coarse at stride 32, medium at 16, fine at 8 - which is squeezed to 8 x 8 places
and kept as they lie: where something is tells as much as that it is there. Who it is, a face
recognition network has learned from millions of photos; its descriptor is given to the encoder
beside the maps.
"""

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.attributes import AttributeModel, Conv

SIZE = 256  # pixels the encoder looks at
GRID = 8  # places a side that a map is squeezed to
# Block of the trunk, channels of its map, times the map is halved, channels kept, hidden numbers.
LOOKS = {
    "coarse": (15, 320, 0, 64, 512),
    "medium": (10, 112, 1, 64, 384),
    "fine": (4, 40, 2, 32, 256),
}
PERSON = 128  # numbers of a descriptor
PERSON_SCALE = 10.0  # brings them to about 1
STARTS = {"coarse": 0, "medium": 5, "fine": 9}  # first slot of each group


class Look(nn.Module):
    """A map of the trunk (N, D, h, h) -> hidden numbers (N, H)."""

    def __init__(self, enter: int, halvings: int, keep: int, hidden: int) -> None:
        super().__init__()
        widths = [enter] + [2 * keep] * (halvings - 1) + [keep] * min(1, halvings)
        self.halve = nn.ModuleList(Conv(a, b, 3, stride=2) for a, b in itertools.pairwise(widths))
        self.squeeze = Conv(widths[-1], keep, 1)
        self.norm = nn.LayerNorm(keep * GRID**2)
        self.leave = nn.Linear(keep * GRID**2, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.norm(self.squeezed(x)))

    def squeezed(self, x: Tensor) -> Tensor:
        """The map in fewer channels at 8 x 8 places, (N, channels kept x 64)."""
        for conv in self.halve:
            x = F.leaky_relu(conv(x), 0.2)
        return self.squeeze(x).flatten(1)


class VisualEncoder(nn.Module):
    """Aligned pictures (N, D, 256, 256) -> absolute codes ws (N, L, C).

    The face recognition network, `describe`, is not part of its weights; without one, the encoder
    does with the maps alone.

    Args:
        channels: D of what is looked at; 3 for pictures.
        slots: L of the generator.
        width: C of its W.
    """

    w_avg: Tensor
    color: Tensor
    tint: Tensor

    def __init__(self, *, channels: int = 3, slots: int = 16, width: int = 512) -> None:
        super().__init__()
        trunk = AttributeModel()
        self.stem = trunk.stem if channels == 3 else Conv(channels, 32, 3, stride=2)
        self.blocks = trunk.blocks
        self.looks = nn.ModuleDict({name: Look(*look[1:]) for name, look in LOOKS.items()})
        hidden = {name: look[-1] for name, look in LOOKS.items()}
        self.place = nn.Linear(hidden["coarse"], width)
        ends = [*list(STARTS.values())[1:], slots]
        counts = {n: e - s for (n, s), e in zip(STARTS.items(), ends, strict=True)}
        self.context = nn.ModuleDict(
            {n: nn.Linear(hidden["coarse"], h, bias=False) for n, h in hidden.items()}
        )
        self.offset = nn.ModuleDict({n: nn.Linear(h, counts[n] * width) for n, h in hidden.items()})
        for part in self.offset.values():
            assert isinstance(part, nn.Linear)  # for the type checker
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        self.describe: Callable[[Tensor], Tensor] | None = None  # pictures -> descriptors
        self.person = nn.Linear(PERSON, hidden["coarse"], bias=False)
        nn.init.zeros_(self.person.weight)
        self.slots, self.width = slots, width
        self.register_buffer("w_avg", torch.zeros(width))
        self.register_buffer("color", torch.eye(width))  # E Λ^(1/2)
        self.register_buffer("tint", torch.eye(width))  # E Λ^(1/4)

    def forward(self, image: Tensor) -> Tensor:
        """Codes ws (N, L, C), absolute, of pictures (N, D, H, W), looked at at 256 px."""
        w, offsets = self.parts(image)
        return w[:, None] + offsets

    def parts(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The place w (N, C) in W, absolute, and the offsets (N, L, C) from it."""
        maps = self.maps(image)
        seen = {name: look(maps[name]) for name, look in self.looks.items()}
        whole = seen["coarse"]
        if self.describe is not None:
            whole = whole + self.person(PERSON_SCALE * self.describe(image))
        whole = F.gelu(whole)
        offsets = [
            self.offset[n](F.gelu(seen[n] + self.context[n](whole))).unflatten(1, (-1, self.width))
            for n in self.looks
        ]
        place = self.place(whole)
        return self.w_avg + place @ self.color.T, torch.cat(offsets, dim=1) @ self.tint.T

    def maps(self, image: Tensor) -> dict[str, Tensor]:
        """The maps that the groups of slots look at: (N, 320, 8, 8) the coarsest."""
        taps = {look[0]: name for name, look in LOOKS.items()}
        if image.shape[-2:] != (SIZE, SIZE):
            image = F.interpolate(image, (SIZE, SIZE), mode="bilinear", antialias=True)
        x = F.relu6(self.stem(image.contiguous(memory_format=torch.channels_last)))
        found = {}
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in taps:
                found[taps[number]] = x
        return found
