"""F/W+: a generator whose activations at one resolution are given, and move with the codes.

BDInvert (Kang et al. 2021, arXiv 2108.08998, section 3.1) replaces the activations of a coarse
resolution by a base code f of any content: it may hold a face that is turned, small or off the
middle, which no code of W+ draws. Slots up to that resolution then do nothing, and with them goes
what they edit. Here f moves as the generator's own activations F do,

    f(ws) = P F(ws) + k(ws) [f − P F(ws₀)],    k = 1 / (1 + (c / τ)²)                        (1)

with ws₀ the code that f belongs to, and P the place of the face in the picture's plane: the
activations of an upright face are turned, scaled and shifted as the face is. In brackets is what f
holds beside what its code draws. Where an edit changes much it gives way by the factor k, or the
old mouth would show through the new one; c is the change there in root mean squares of the
channels, P [F(ws) − F(ws₀)], averaged over 3 x 3 places. With ws = ws₀ this is f itself.
StyleGAN3's activations reach beyond the picture by a margin, which P accounts for.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.interfaces import Generator

UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
TAU = 0.5  # τ: where edits change so much, half of what f holds besides is left


def moved(image: Tensor, place: Tensor, *, reach: float = 1.0) -> Tensor:
    """Pictures or activations (N, D, h, w), taken from where `place` says; upright ones as given.

    Args:
        image: continued at its borders by mirror images.
        place: (N, 2, 3), affine, from coordinates of what is given to coordinates of `image`, both
            -1 to 1 over the picture.
        reach: sides of `image` over those of the picture; more than 1 where it has a margin.
    """
    place = torch.cat([place[:, :, :2], place[:, :, 2:] / reach], dim=2)
    grid = F.affine_grid(place.to(image), list(image.shape), align_corners=False)
    sampled = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    still = (place == place.new_tensor(UPRIGHT)).all(dim=2).all(dim=1)
    return torch.where(still[:, None, None, None], image, sampled)


def placed(angle: Tensor, scale: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Places (N, 2, 3) that draw an upright face turned, scaled and shifted.

    Args:
        angle: radians (N,); the face's top turns to the right for more than 0.
        scale: (N,), 2 draws the face twice as large.
        x: (N,) of the picture's half width, to the right.
        y: (N,) of its half height, down.
    """
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = [(cos, sin, -cos * x - sin * y), (-sin, cos, sin * x - cos * y)]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def inverse(place: Tensor) -> Tensor:
    """Places (N, 2, 3) that undo these."""
    turn = torch.linalg.inv(place[:, :, :2])
    return torch.cat([turn, -turn @ place[:, :, 2:]], dim=2)


class Based:
    """A generator, drawn on from base codes; `synthesis(codes)` draws what they were fitted to.

    Args:
        generator: any that draws from its activations; it is not changed.
        base: f (N, D, s, s); N = 1 serves any number of codes, else they go row by row.
        codes: ws₀ (N, L, C).
        place: P (N, 2, 3) of `placed`; None: upright.
        size: pixels a side that the picture has in f; None: s, which is more with a margin.
        follows: f moves with the codes, equation (1); else it stays, as in the paper's program.

    Raises:
        UsageError: shapes that do not fit each other or the generator.
    """

    def __init__(
        self,
        generator: Generator,
        base: Tensor,
        codes: Tensor,
        place: Tensor | None = None,
        *,
        size: int | None = None,
        follows: bool = True,
    ) -> None:
        place = base.new_tensor(UPRIGHT).repeat(len(base), 1, 1) if place is None else place
        wanted = {
            "codes": (len(base), generator.slots, generator.width),
            "place": (len(base), 2, 3),
        }
        for name, tensor in (("codes", codes), ("place", place)):
            if tuple(tensor.shape) != wanted[name]:
                raise UsageError(f"{name}: expected {wanted[name]}, got {tuple(tensor.shape)}")
        self.generator, self.follows = generator, follows
        self.base, self.codes, self.place = base, codes, place
        self.name, self.resolution = generator.name, generator.resolution
        self.slots, self.width, self.w_avg = generator.slots, generator.width, generator.w_avg
        self.size = base.shape[-1] if size is None else size
        with torch.no_grad():
            own = generator.features(codes, self.size)
        if own.shape != base.shape:
            raise UsageError(f"base: expected {tuple(own.shape)}, got {tuple(base.shape)}")
        self._own, self._reach = own, base.shape[-1] / self.size

    def to(self, device: torch.device) -> "Based":
        """The generator itself, its tensors on another device."""
        self.generator = self.generator.to(device)
        self.w_avg = self.generator.w_avg
        for name in ("base", "codes", "place", "_own"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def at(self, ws: Tensor) -> Tensor:
        """Base codes (N, D, s, s) of codes ws (N, L, C).

        Raises:
            UsageError: another number of codes than of base codes.
        """
        if len(self.base) not in (1, len(ws)):
            raise UsageError(f"ws: expected {len(self.base)} codes, one a base code, got {len(ws)}")
        base = self.base.expand(len(ws), -1, -1, -1)
        if not self.follows:
            return base
        own = self._own.expand_as(base)
        place = self.place.expand(len(ws), -1, -1)
        change = self._moved(self.generator.features(ws, self.size) - own, place)
        size = own.square().mean(dim=(2, 3), keepdim=True).sqrt() + 1e-6
        amount = (change / size).square().mean(dim=1, keepdim=True).add(1e-12).sqrt()
        amount = F.avg_pool2d(amount, 3, 1, padding=1, count_include_pad=False)
        lost = 1 - 1 / (1 + (amount / TAU) ** 2)
        return base + change - lost * (base - self._moved(own, place))

    def _moved(self, features: Tensor, place: Tensor) -> Tensor:
        return moved(features, place, reach=self._reach)

    def upright(self, image: Tensor) -> Tensor:
        """Pictures (N, 3, h, w) that it drew, turned, scaled and shifted back."""
        return moved(image, inverse(self.place.expand(len(image), -1, -1)))

    def mapping(self, z: Tensor) -> Tensor:
        """Codes w (N, C) of noise."""
        return self.generator.mapping(z)

    def synthesis(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) of codes."""
        return self.generator.synthesis_from(self.at(ws), ws)

    def preview(self, ws: Tensor) -> Tensor:
        """Previews (N, 3, 256, 256) of codes."""
        return self.generator.preview_from(self.at(ws), ws)

    def layers(self, group: str | int) -> tuple[int, ...]:
        """Slots of a group or resolution."""
        return self.generator.layers(group)

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes, as the generator has them; those up to the base code draw nothing."""
        return self.generator.styles(ws)

    def synthesis_from_styles(self, styles: dict[str, Tensor]) -> Tensor:
        """There is no picture of S-space codes: base codes are of W+.

        Raises:
            UsageError: always.
        """
        raise UsageError("styles: a face with a base code is drawn from ws; invert by optimize")

    def features(self, ws: Tensor, at: int) -> Tensor:
        """Activations (N, D, s, s) at the base code's resolution.

        Raises:
            UsageError: at another one.
        """
        if at != self.size:
            raise UsageError(f"features: expected {self.size} px, where the base code is, got {at}")
        return self.at(ws)

    def synthesis_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Pictures from activations and the slots that come after them."""
        return self.generator.synthesis_from(features, ws)

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Previews from activations and the slots that come after them."""
        return self.generator.preview_from(features, ws)
