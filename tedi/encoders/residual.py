"""Encoders that look again: from a picture and what its present code draws to a better code.

ReStyle (Alaluf et al. 2021, arXiv 2104.02699, equation 3) shows an encoder the picture x and the
drawing of the present code, and takes what it says for the next move,

    ws_{t+1} = ws_t + R(x, G(ws_t)).

Published networks see both pictures as six channels and begin at the mean face; `FromMean` is one
of those. `ResidualEncoder` begins at the code of the visual encoder and looks through that
encoder's eyes, which are neither trained again nor part of its weights: its squeezed maps of the
two pictures are subtracted, as are the descriptors of the two persons and the pictures themselves,
made small. Differences are not normalised: a small one is to make a small move.
"""

from collections.abc import Callable
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.psp import PublishedEncoder
from tedi.encoders.restyle import fit
from tedi.encoders.visual import LOOKS, PERSON, PERSON_SCALE, Look, VisualEncoder
from tedi.errors import UsageError

THUMB = 16  # pixels a side of the pictures that are subtracted
LEAST = 1e-3  # deviation of squeezed maps below which differences are not enlarged

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
    """Moves of codes, of pictures and what the codes draw; untrained, it moves nothing.

    Args:
        first: the visual encoder, which gives the first code and looks at pictures. It is frozen,
            and no part of the weights.
        describe: pictures -> descriptors of persons (N, 128); None takes the first encoder's.
        steps: how often it looks when nobody says so.
    """

    def __init__(
        self,
        first: VisualEncoder,
        describe: Callable[[Tensor], Tensor] | None = None,
        *,
        steps: int = 2,
    ) -> None:
        super().__init__()
        self.steps = steps
        self._first = (first.eval().requires_grad_(False),)  # no module of this one
        self._describe = describe
        hidden = {name: look[-1] for name, look in LOOKS.items()}
        whole, width = hidden["coarse"], first.width
        enter = {n: look.leave.in_features for n, look in self.looks.items()}
        heads = {n: cast("nn.Linear", head).out_features for n, head in first.offset.items()}
        self.enter = nn.ModuleDict({n: nn.Linear(enter[n], h) for n, h in hidden.items()})
        self.person = nn.Linear(PERSON, whole, bias=False)
        self.thumb = nn.Linear(3 * THUMB**2, whole, bias=False)
        self.context = nn.ModuleDict(
            {n: nn.Linear(whole, h, bias=False) for n, h in hidden.items()}
        )
        self.place = nn.Linear(whole, width)
        self.offset = nn.ModuleDict({n: nn.Linear(h, heads[n]) for n, h in hidden.items()})
        for part in (self.place, *self.offset.values()):
            for parameter in part.parameters():
                nn.init.zeros_(parameter)

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
        """Squeezed maps by group of slots, the picture made small, and the person."""
        describe = self._describe or self.first.describe
        if describe is None:
            raise UsageError("describe: looking again needs an identity network, got None")
        small = F.adaptive_avg_pool2d(image, THUMB).flatten(1)
        person = PERSON_SCALE * describe(image)
        maps = self.first.maps(image)
        squeezed = {name: look.squeezed(maps[name]) for name, look in self.looks.items()}
        return squeezed | {"thumb": small, "person": person}

    def look(self, target: Seen, drawn: Tensor) -> Tensor:
        """Moves (N, L, C)."""
        here = self.see(drawn)
        seen = {n: enter(_apart(target[n], here[n])) for n, enter in self.enter.items()}
        person = self.person(target["person"] - here["person"])
        whole = F.gelu(seen["coarse"] + person + self.thumb(target["thumb"] - here["thumb"]))
        offsets = [
            self.offset[n](F.gelu(seen[n] + self.context[n](whole))).unflatten(
                1, (-1, self.first.width)
            )
            for n in LOOKS
        ]
        place = self.place(whole) @ self.first.color.T
        return place[:, None] + torch.cat(offsets, dim=1) @ self.first.tint.T


def _apart(here: Tensor, there: Tensor) -> Tensor:
    """Difference of squeezed maps (N, H), in deviations of the first ones."""
    return (here - there) / here.std(dim=1, keepdim=True).clamp_min(LEAST)
