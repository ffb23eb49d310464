"""Directions: unit vectors along which codes move.

>>> smile = Direction("smile", torch.tensor([0.0, 2.0]))
>>> smile(torch.zeros(1, 3, 2), 1.5)[0, 0]
tensor([0.0000, 1.5000])
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from tedi.errors import UsageError

Space = Literal["w", "w+", "s"]


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in W, W+ or S.

    Attributes:
        name: what it changes, such as "smile".
        vector: (C,) for W, (L, C) for W+, or (S,) for S, the channels of all layers in the order
            of `Generator.styles`. Made unit length; in W+ each slot is, and a slot of zeros stays.
        space: "w", "w+" or "s".
        slots: of the generator's slots those it moves; None moves all. S has none.
        origin: how it was made.
        offset: what `vector · w` is at coordinate 0: the boundary, or the mean of W.
        std: standard deviation of `vector · w` over codes; None where nobody measured it.
        figures: what was measured of it, such as "auc" on held-out faces.
    """

    name: str
    vector: Tensor
    space: Space = "w"
    slots: tuple[int, ...] | None = None
    origin: str = ""
    offset: float = 0.0
    std: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.space not in get_args(Space):
            raise UsageError(f"space: expected {', '.join(get_args(Space))}, got {self.space!r}")
        expected = 2 if self.space == "w+" else 1
        if self.vector.ndim != expected:
            got = tuple(self.vector.shape)
            raise UsageError(f"{self.name}: {self.space} needs {expected} dimensions, got {got}")
        lengths = self.vector.norm(dim=-1, keepdim=True)
        if not lengths.isfinite().all() or not lengths.any():
            raise UsageError(f"{self.name}: expected a finite direction, got zeros or NaN")
        if self.slots is not None and self.space == "s":
            raise UsageError(f"{self.name}: slots are of W and W+; S names its channels")
        object.__setattr__(self, "vector", self.vector / lengths.where(lengths > 0, 1))

    def __call__(self, ws: Tensor, strength: float) -> Tensor:
        """Codes moved along it, new.

        Args:
            ws: (N, L, C).
            strength: displacement in W along the unit vector; 0 keeps the codes bit for bit.

        Raises:
            UsageError: a direction of S, another shape, or a slot that is not there.
        """
        if self.space == "s":
            raise UsageError(f"{self.name}: acts on styles, not on codes; call on_styles")
        fits = self.vector.shape == ws.shape[3 - self.vector.ndim :]
        if ws.ndim != 3 or not fits:
            want = f"(N, {'L, ' * (self.space == 'w')}{', '.join(map(str, self.vector.shape))})"
            raise UsageError(f"{self.name}: expected ws {want}, got {tuple(ws.shape)}")
        return ws + strength * self._moves(ws)

    def _moves(self, ws: Tensor) -> Tensor:
        """What strength 1 adds to codes: (L, C), zero in slots that stay."""
        vector = self.vector.to(ws).expand(ws.shape[1:])
        if self.slots is None:
            return vector
        if not all(0 <= slot < ws.shape[1] for slot in self.slots):
            raise UsageError(f"{self.name}: slots {self.slots}, but ws has {ws.shape[1]}")
        kept = torch.zeros(ws.shape[1], 1).to(ws)
        kept[list(self.slots)] = 1
        return vector * kept

    def on_styles(self, styles: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
        """S-space codes (layer -> (N, channels)) moved along it, new.

        Raises:
            UsageError: no direction of S, or another number of channels.
        """
        widths = [style.shape[1] for style in styles.values()]
        if self.space != "s" or len(self.vector) != sum(widths):
            got = f"{self.space} with {self.vector.shape[-1]}"
            raise UsageError(f"{self.name}: expected s with {sum(widths)} channels, got {got}")
        parts = self.vector.split(widths)
        return {
            name: style + strength * part.to(style)
            for (name, style), part in zip(styles.items(), parts, strict=True)
        }

    def within(self, slots: tuple[int, ...] | None) -> "Direction":
        """The same direction moving only some slots."""
        return replace(self, slots=slots)

    def to_coordinate(self, ws: Tensor, coordinate: float) -> Tensor:
        """Codes moved, new, until their coordinate is what is wanted.

        The coordinate is (vector · w − offset) / std, read off the first slot, as GANSpace edits
        are published (Härkönen et al. 2020; Tov et al. 2021). On a boundary 0 is the boundary
        itself, which corrects for where a code starts (Shen et al. 2020).

        Raises:
            UsageError: not in W, or no known std.
        """
        if self.space != "w" or self.std is None:
            raise UsageError(f"{self.name}: a coordinate needs a direction of W with a known std")
        now = (ws[:, 0] @ self.vector.to(ws) - self.offset) / self.std
        strengths = (coordinate - now) * self.std
        return ws + strengths[:, None, None] * self._moves(ws)


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Codes on the straight line between two, new: (steps, N, L, C), both ends included.

    Args:
        start: (N, L, C).
        end: (N, L, C).
        steps: 2 or more.

    Raises:
        UsageError: fewer steps, or shapes that differ.
    """
    if steps < 2 or start.shape != end.shape:
        got = f"{steps}, {tuple(start.shape)} and {tuple(end.shape)}"
        raise UsageError(f"steps, start, end: expected 2 or more, and equal shapes, got {got}")
    return torch.stack([torch.lerp(start, end, step / (steps - 1)) for step in range(steps)])


def pack(ws: Tensor) -> str:
    """A code (L, C) as text: base64 of little-endian float32, one slot where all are alike."""
    rows = ws[:1] if bool((ws == ws[:1]).all()) else ws
    return base64.b64encode(rows.cpu().numpy().astype("<f4").tobytes()).decode()


def unpack(text: str, slots: int, width: int) -> Tensor:
    """The code (L, C) of `pack`, float32.

    Raises:
        UsageError: the text is no finite code of these sizes.
    """
    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype("float32")
        ws = torch.from_numpy(numbers).view(-1, width).expand(slots, width).clone()
    except (binascii.Error, ValueError, RuntimeError) as error:
        raise UsageError(f"code: expected ({slots}, {width}) in base64, got another") from error
    if not ws.isfinite().all():
        raise UsageError("code: its numbers are not finite")
    return ws
