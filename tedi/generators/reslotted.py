"""A generator under the slots of another one that has the same W.

StyleGAN2-FFHQ and what was distilled from it map noise to the same w, but count their slots apart:
18 and 16. What learned codes of one can so work on the other.
"""

import torch
from torch import Tensor

from tedi.interfaces import Generator


class Reslotted:
    """A generator whose codes are those of `like`, slot for slot of the same resolution.

    Where `generator` has more slots at a resolution, the last of `like` there rules them, too.

    Args:
        generator: that draws.
        like: whose slots count; it is never asked to draw.
    """

    def __init__(self, generator: Generator, like: Generator) -> None:
        self.generator, self.like = generator, like
        self.name, self.resolution = generator.name, generator.resolution
        self.slots, self.width, self.w_avg = like.slots, generator.width, generator.w_avg
        theirs = [_place(like, slot) for slot in range(like.slots)]
        ours = [_place(generator, slot) for slot in range(generator.slots)]
        self._wide = [_nearest(place, theirs) for place in ours]
        self._seen = [_nearest(place, ours) for place in theirs]

    def to(self, device: torch.device) -> "Reslotted":
        """The same on another device."""
        return Reslotted(self.generator.to(device), self.like)

    def widen(self, ws: Tensor) -> Tensor:
        """Codes of `like` (N, L, C) as those of the generator, new."""
        return ws[:, self._wide]

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


Place = tuple[int, int]


def _place(generator: Generator, slot: int) -> Place:
    """The resolution that a slot belongs to, in octaves, and which of its slots it is."""
    for octave in range(2, generator.resolution.bit_length()):
        slots = generator.layers(2**octave)
        if slot in slots:
            return octave, slots.index(slot)
    raise AssertionError(f"slot {slot} belongs to no resolution")


def _nearest(place: Place, places: list[Place]) -> int:
    """Index of the place that is the last one not after `place`; the first, if all are."""
    before = [index for index, other in enumerate(places) if other <= place]
    return before[-1] if before else 0
