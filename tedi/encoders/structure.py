"""The sketch and label encoder: drawings of faces, of lines or of parts, to W+.

What a drawing tells is where things are. So it rules the coarse and medium slots of a code, and
colours are left to the others; as in the visual encoder a code is one w and offsets from it:

    ws_l = w̄ + E Λ^(1/4) (y + Δ_l)

with E Λ Eᵀ the covariance of W. Sketches, with one channel, and label maps, with a channel for each
class, enter by stems of their own and share what follows, so that one may be given, or both: then
the mean of what the stems see goes on. The trunk is EfficientNet-lite0 to stride 16; its last map
is squeezed to 8 x 8 places and kept as they lie.

A drawing leaves much open: who it is, how old, the light. A code w of a seed fills that in,

    ws_l + E diag(b_l) Eᵀ (w - w̄)

where the gains b are learned: near 1 along axes of W that move no line and no part's border, near 0
along others, such as the turn of the head. Since axes are only scaled, what fills in is as a code
of W is; with a whole matrix in their place faces fell apart.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.attributes import AttributeModel, Conv
from tedi.encoders.parser import CLASSES
from tedi.encoders.visual import SIZE, Look
from tedi.errors import UsageError

CHANNELS = {"sketch": 1, "labels": CLASSES}
BLOCKS = 11  # of the trunk; the last one's map has 112 channels at stride 16
MAP, KEEP, HIDDEN = 112, 64, 448


class StructureEncoder(nn.Module):
    """Sketches and label maps -> absolute codes ws (N, L, C), of which it rules the first slots.

    Args:
        slots: L of the generator.
        ruled: slots, the coarse and medium ones, that drawings rule; the others get w.
        width: C of its W.
    """

    w_avg: Tensor
    tint: Tensor

    def __init__(self, *, slots: int = 16, ruled: int = 9, width: int = 512) -> None:
        super().__init__()
        self.slots, self.ruled, self.width = slots, ruled, width
        self.stems = nn.ModuleDict({n: Conv(d, 32, 3, stride=2) for n, d in CHANNELS.items()})
        self.blocks = AttributeModel().blocks[:BLOCKS]
        self.look = Look(MAP, 1, KEEP, HIDDEN)
        self.place = nn.Linear(HIDDEN, width)
        self.offset = nn.Linear(HIDDEN, ruled * width)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        self.register_buffer("w_avg", torch.zeros(width))
        self.register_buffer("tint", torch.eye(width))  # E Λ^(1/4)
        self.fill = nn.Parameter(torch.full((ruled, width), 0.5))  # b_l

    def forward(self, given: Mapping[str, Tensor]) -> Tensor:
        """Codes ws (N, L, C), absolute, of `prepared` drawings."""
        place, offsets = self.parts(given)
        rest = offsets.new_zeros(len(offsets), self.slots - self.ruled, self.width)
        return place[:, None] + torch.cat([offsets, rest], dim=1)

    def parts(self, given: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The place w (N, C) in W, absolute, and the offsets (N, ruled, C) from it."""
        seen = [self.stems[name](prepared(name, value)) for name, value in given.items()]
        if not seen:
            raise UsageError(f"given: expected {' or '.join(CHANNELS)}, got nothing")
        return self.parts_of(torch.stack(seen).mean(dim=0))

    def parts_of(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """`parts` of what the stems see, (N, 32, 128, 128)."""
        x = F.relu6(seen.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        hidden = F.gelu(self.look(x))
        offsets = self.offset(hidden).unflatten(1, (self.ruled, self.width)) @ self.tint.T
        return self.w_avg + self.place(hidden) @ self.tint.T, offsets

    def filled(self, ws: Tensor, style: Tensor, *, variety: float | Tensor = 1.0) -> Tensor:
        """Codes (N, L, C), new, in which a style fills in what drawings leave open.

        Args:
            ws: codes of drawings (N, L, C); slots that drawings do not rule are not looked at.
            style: codes of seeds (N, L, C) in W.
            variety: 0 keeps the likeliest face of the drawing, 1 varies it all that b lets; one
                number, or one for each code (N, 1, 1).
        """
        axes = self.tint / self.tint.norm(dim=0)
        apart = (style[:, : self.ruled] - self.w_avg) @ axes
        drawn = ws[:, : self.ruled] + variety * (apart * self.fill) @ axes.T
        return torch.cat([drawn, style[:, self.ruled :]], dim=1)


def prepared(name: str, value: Tensor) -> Tensor:
    """What a stem takes, (N, D, 256, 256), 0 where there is paper or another class.

    Args:
        name: "sketch" or "labels".
        value: sketches (N, 1, 256, 256), 1 paper and 0 line, or masks (N, 19, 256, 256) of classes.

    Raises:
        UsageError: an unknown name, or another shape.
    """
    if name not in CHANNELS:
        raise UsageError(f"given: expected {' or '.join(CHANNELS)}, got {name!r}")
    if value.ndim != 4 or value.shape[1:] != (wanted := (CHANNELS[name], SIZE, SIZE)):
        raise UsageError(f"{name}: expected (N, *{wanted}), got {tuple(value.shape)}")
    return 1 - value if name == "sketch" else value
