"""Encoders that look again: from a picture and what its present code draws to a better code.

ReStyle (Alaluf et al. 2021, arXiv 2104.02699, equation 3) shows an encoder the picture x and the
drawing of the present code, and takes what it says for the next move,

    ws_{t+1} = ws_t + R(x, G(ws_t)).

Published networks see both pictures as six channels and begin at the mean face; `FromMean` is one
of those. `ResidualEncoder` begins at the code of the visual encoder E and looks through E's eyes,
which are no part of its weights. It is linear in what it sees differ, by a matrix that is linear in
the face, for the way to a face depends on the face:

    R = T M [h; h ⊗ k],  h = A (φ(x) − φ(G(ws_t))),  k = B ψ(x).

φ is who it is (the descriptor of face recognition), the picture made small, and E's squeezed maps;
ψ is what E makes of these maps; T is E's tint. So where nothing differs, nothing moves.
`tedi.training.looks` fits A, B and M in closed form to moves that optimisation has found.
"""

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.psp import PublishedEncoder
from tedi.encoders.restyle import fit
from tedi.encoders.visual import PERSON, Look, VisualEncoder
from tedi.errors import UsageError

THUMB = 16  # pixels a side of the pictures that are subtracted
RANKS = (128, 32, 256)  # numbers of h and of k; rank of M

Seen = dict[str, Tensor]
"""What is seen of pictures, (N, …) each by name."""


class Looker(Protocol):
    """What looks again and again."""

    def begin(self, image: Tensor) -> Tensor:
        """The first codes (N, L, C) of pictures (N, 3, 256, 256)."""

    def see(self, image: Tensor) -> Seen:
        """What is to be known of pictures, however often they are looked at."""

    def look(self, target: Seen, drawn: Tensor) -> Tensor:
        """Moves (N, L, C) of codes that draw `drawn` (N, 3, h, h) where `target` was seen."""


class FromMean(nn.Module):
    """A published encoder of six channels, which begins at the mean of W.

    Args:
        encoder: such as `tedi.encoders.psp.BackboneEncoder`.

    Raises:
        UsageError: an encoder of other channels.
    """

    def __init__(self, encoder: PublishedEncoder) -> None:
        super().__init__()
        if encoder.channels != 6:
            raise UsageError(f"encoder: expected one of 6 channels, got {encoder.channels}")
        self.encoder = encoder

    def begin(self, image: Tensor) -> Tensor:
        """The mean (N, L, C) for every picture."""
        return self.encoder.w_avg.expand(len(image), -1, -1)

    def see(self, image: Tensor) -> Seen:
        """The pictures at 256 px."""
        return {"image": fit(image, (self.encoder.size, self.encoder.size))}

    def look(self, target: Seen, drawn: Tensor) -> Tensor:
        """Moves (N, L, C)."""
        image = target["image"]
        drawn = fit(drawn, (image.shape[2], image.shape[3]))
        return self.encoder.offsets(torch.cat([image, drawn], dim=1))


class ResidualEncoder(nn.Module):
    """Moves of codes, of pictures and what the codes draw; unfitted, it moves nothing.

    Args:
        first: the visual encoder, told who it is, which gives the first code and looks at
            pictures. It is frozen, and no part of the weights.
        steps: how often it looks when nobody says so.
    """

    scale: Tensor

    def __init__(self, first: VisualEncoder, *, steps: int = 2) -> None:
        super().__init__()
        self.steps = steps
        self._first = (first.eval().requires_grad_(False),)  # no module of this one
        apart, known, rank = RANKS
        looks = self.looks.values()
        self.widths = (PERSON, 3 * THUMB**2, *(look.leave.in_features for look in looks))
        self.face_width = sum(look.leave.out_features for look in looks)
        self.register_buffer("scale", torch.ones(sum(self.widths)))  # of differences, in φ's order
        self.gap = nn.Linear(sum(self.widths), apart, bias=False)  # A
        self.face = nn.Linear(self.face_width, known)  # B
        self.meet = nn.Linear(apart * (1 + known), rank, bias=False)  # M is offset times meet
        self.offset = nn.Linear(rank, first.slots * first.width, bias=False)
        nn.init.zeros_(self.offset.weight)

    @property
    def first(self) -> VisualEncoder:
        """The visual encoder."""
        return self._first[0]

    @property
    def looks(self) -> dict[str, Look]:
        """Its looks at the trunk's maps."""
        return {name: cast("Look", look) for name, look in self.first.looks.items()}

    @torch.no_grad()
    def begin(self, image: Tensor) -> Tensor:
        """The visual encoder's codes (N, L, C)."""
        return self.first(image)

    @torch.no_grad()
    def see(self, image: Tensor) -> Seen:
        """φ, "picture" (N, `widths` together), and ψ, "face" (N, `face_width`), of pictures."""
        if (describe := self.first.describe) is None:
            raise UsageError("describe: looking again needs an identity network, got None")
        maps = self.first.maps(image)
        squeezed = [look.squeezed(maps[name]) for name, look in self.looks.items()]
        known = [
            look.leave(look.norm(x)) for look, x in zip(self.looks.values(), squeezed, strict=True)
        ]
        small = F.adaptive_avg_pool2d(image, THUMB).flatten(1)
        picture = torch.cat([describe(image), small, *squeezed], dim=1)
        return {"picture": picture, "face": torch.cat(known, dim=1)}

    def look(self, target: Seen, drawn: Tensor) -> Tensor:
        """Moves (N, L, C)."""
        apart = self.apart(target["picture"], self.see(drawn)["picture"])
        return self.moves(self.meet(self.met(apart, self.face(target["face"]))))

    def apart(self, there: Tensor, here: Tensor) -> Tensor:
        """H (N, H) of what is seen of the pictures and of the drawings."""
        return self.gap((there - here) / self.scale)

    @staticmethod
    def met(apart: Tensor, face: Tensor) -> Tensor:
        """[h; h ⊗ k], (N, H (1 + K))."""
        return torch.cat([apart, (apart[:, :, None] * face[:, None]).flatten(1)], dim=1)

    def moves(self, met: Tensor) -> Tensor:
        """Moves (N, L, C)."""
        first = self.first
        return self.offset(met).unflatten(1, (first.slots, first.width)) @ first.tint.T
