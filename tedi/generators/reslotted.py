"""A generator under the slots of another one that has the same W.

StyleGAN2-FFHQ and what was distilled from it map noise to the same w, but count their slots apart:
18 and 16, and fewer where pictures are smaller. What learned codes of one can so work on the other.
"""

from math import log2

import torch
from torch import Tensor

from tedi.generators.based import Based
from tedi.generators.stylegan3 import StyleGAN3
from tedi.interfaces import Generator


class Reslotted:
    """A generator whose codes are those of `like`, slot for slot of the same resolution.

    Where `generator` has more slots at a resolution, the last of `like` there rules them, too;
    where it has fewer, each takes the mean of those that it stands for. A StyleGAN3's slots count
    by the finest detail that they draw. Its slot 0 is the place of the face, which codes of `like`
    do not tell: it is `w_avg`, which draws faces upright (`StyleGAN3.pseudo_aligned`).

    Args:
        generator: that draws.
        like: whose slots count; it is never asked to draw.
    """

    def __init__(self, generator: Generator, like: Generator) -> None:
        self.generator, self.like = generator, like
        self.name, self.resolution = generator.name, generator.resolution
        self.slots, self.width, self.w_avg = like.slots, generator.width, generator.w_avg
        theirs, ours = _places(like), _places(generator)
        self._seen = [_nearest(place, ours) for place in theirs]
        drawn = [n for n, (octave, _) in enumerate(theirs) if octave <= max(ours)[0]]
        self._wide = [
            [n for n in drawn if self._seen[n] == slot] or [_nearest(place, theirs)]
            for slot, place in enumerate(ours)
        ]
        self._first = _first(generator)

    def to(self, device: torch.device) -> "Reslotted":
        """The same on another device."""
        return Reslotted(self.generator.to(device), self.like)

    def changed(self, generator: Generator) -> "Reslotted":
        """Another generator of the same slots, such as an inversion's, under those of `like`."""
        return Reslotted(generator, self.like)

    def widen(self, ws: Tensor) -> Tensor:
        """Codes of `like` (N, L, C) as those of the generator, new."""
        wide = torch.stack([ws[:, slots].mean(dim=1) for slots in self._wide], dim=1)
        if self._first is not None:
            wide[:, 0] = self._first.to(wide)
        return wide

    def seen(self, ws: Tensor) -> Tensor:
        """Codes of the generator as those of `like` (N, L, C), new."""
        return ws[:, self._seen]

    def mapping(self, z: Tensor) -> Tensor:
        """Codes w (N, C) of noise, absolute and not truncated."""
        return self.generator.mapping(z)

    def layers(self, group: str | int) -> tuple[int, ...]:
        """Slots of `like`, by group or resolution."""
        return self.like.layers(group)

    def synthesis(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) of codes of `like`."""
        return self.generator.synthesis(self.widen(ws))

    def preview(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256) of codes of `like`."""
        return self.generator.preview(self.widen(ws))

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes of the generator."""
        return self.generator.styles(self.widen(ws))

    def synthesis_from_styles(self, styles: dict[str, Tensor]) -> Tensor:
        """Pictures of S-space codes."""
        return self.generator.synthesis_from_styles(styles)

    def features(self, ws: Tensor, at: int) -> Tensor:
        """Activations of the generator at a resolution."""
        return self.generator.features(self.widen(ws), at)

    def synthesis_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Pictures from activations and the slots after them."""
        return self.generator.synthesis_from(features, self.widen(ws))

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Previews from activations and the slots after them."""
        return self.generator.preview_from(features, self.widen(ws))


Place = tuple[float, int]


def _places(generator: Generator) -> list[Place]:
    """What each slot draws: a resolution in octaves, and which of its slots it is."""
    origin = _origin(generator)
    if isinstance(origin, StyleGAN3):
        octaves = [0.0, *(round(log2(size), 6) for size in origin.details()[1:])]
        return [(octave, octaves[:n].count(octave)) for n, octave in enumerate(octaves)]
    return [_place(generator, slot) for slot in range(generator.slots)]


def _place(generator: Generator, slot: int) -> Place:
    for octave in range(2, generator.resolution.bit_length()):
        slots = generator.layers(2**octave)
        if slot in slots:
            return octave, slots.index(slot)
    raise AssertionError(f"slot {slot} belongs to no resolution")


def _origin(generator: Generator) -> Generator:
    """The network that draws; of a face with a base code, the one behind it."""
    return generator.generator if isinstance(generator, Based) else generator


def _first(generator: Generator) -> Tensor | None:
    """What slot 0 (C,) is where codes of others do not tell it: a StyleGAN3's place; else None."""
    if not isinstance(_origin(generator), StyleGAN3):
        return None
    return generator.codes[0, 0] if isinstance(generator, Based) else generator.w_avg


def _nearest(place: Place, places: list[Place]) -> int:
    """Index of the place that is the last one not after `place`; the first, if all are."""
    before = [index for index, other in enumerate(places) if other <= place]
    return before[-1] if before else 0
