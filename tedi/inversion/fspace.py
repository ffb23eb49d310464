"""Inversion into F/W+: a base code for what no code draws, detail codes for what edits.

BDInvert ("GAN Inversion for Out-of-Range Images with Geometric Transformations", Kang et al. 2021,
arXiv 2108.08998) replaces the generator's activations at a coarse resolution by a base code f, and
looks for f and for the codes of the slots after it, the detail codes, which together minimise

    ‖x − G(f, ws)‖² + λ_perceptual d(x, G(f, ws)) + λ_base mean (f − f₀)² + λ_p ‖v(ws)‖²   (1)

with f₀ where the search starts, and v the codes in P-norm+ coordinates (`tedi.inversion.pnorm`).

What is the paper's here: these terms and Adam. What is not: where the paper trains an encoder of
base codes, f₀ is made of the generator's own activations. The face is turned upright
(`tedi.inversion.place`), encoded, and its activations are turned, scaled and shifted as the face
is, f₀ = P F(ws₀), so that edits know where the face is. A network that was trained on drawn faces
(`tedi.encoders.base`) may tell that place, which spares a search, and f₀. f is of 32 px, where
the paper has 16, and measured in root mean squares of f₀'s channels; persons are compared upright,
which is how the identity network knows them.

The result draws by `tedi.generators.based.Based`: there f moves with the codes, so that edits reach
the slots that f replaces, too. With `follows` false it stays where it is, as in the paper's
program, and coarse edits do nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from tedi.descent import Descent, OnStep, Schedule, descend, parts
from tedi.errors import UsageError
from tedi.generators.based import UPRIGHT, Based, inverse, moved
from tedi.interfaces import Generator
from tedi.inversion import Inversion
from tedi.inversion.encode import Encoder, encode, preview_size
from tedi.inversion.likeness import Likeness, check_target, fit
from tedi.inversion.place import PoseReader, find_place
from tedi.inversion.pnorm import PNorm
from tedi.losses import Describe, Maps

Details = Literal["encoder", "mean"]
Reads = Literal["nothing", "place", "base"]
PICTURE = ("pixel", "perceptual", "identity")


@dataclass(frozen=True)
class FSpaceOptions(Schedule):
    """Settings of inversion into F/W+; a weight of 0 leaves its term out and saves its cost.

    Raises:
        UsageError: a value out of range, or an unknown start of the detail codes.
    """

    steps: int = 60  # of Adam, at most, on previews
    lr: float = 0.03  # peak learning rate, in units of the codes
    tolerance: float = 1e-4  # a smaller fall of a row's total loss is no gain
    finish: int = 6  # steps after those, on full-size drawings reduced to the preview's size
    at: int = 32  # pixels a side of the base code, without a margin; the paper has 16 and 8
    base_rate: float = 1.0  # learning rate of f, in root mean squares of f₀, relative to `lr`
    pixel: float = 1.0  # weight of the mean squared error, 0 to 4
    perceptual: float = 1.0  # λ_perceptual, of a distance of 0 to 4
    identity: float = 0.5  # weight of the squared distance of persons, below 0.36 for the same
    base: float = 0.1  # λ_base, of the mean square of f − f₀ in mean squares of f₀
    p_norm: float = 0.001  # λ_p, of the mean square of P-norm+ coordinates, about 1 in W
    search: bool = True  # look for the place of the face; else it counts as upright
    reads: Reads = "base"  # what a reader, if there is one, tells: the place, or f₀ ("base"), too
    details: Details = "encoder"  # where detail codes start: what it reads, or the mean of W
    follows: bool = True  # f moves with the codes when they are edited
    seed: int = 0  # of the codes on which P-norm+ is measured

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.details not in get_args(Details):
            known = ", ".join(get_args(Details))
            raise UsageError(f"details: expected one of {known}, got {self.details!r}")
        if self.reads not in get_args(Reads):
            known = ", ".join(get_args(Reads))
            raise UsageError(f"reads: expected one of {known}, got {self.reads!r}")
        if not self.base_rate:
            raise UsageError("base_rate: expected more than 0, got 0; raise base to hold f")


PUBLISHED = FSpaceOptions(
    steps=0,
    finish=1200,
    lr=0.01,
    at=16,
    rise=0.0,
    fall=0.0,
    patience=0,
    perceptual=10.0,
    identity=0.0,
    base=10.0,
    p_norm=0.01,
    search=False,
    reads="nothing",
    details="mean",
    follows=False,
)
"""The paper's schedule and weights, on full-size drawings, which the losses see at 256 px.

The paper's d is LPIPS, its f₀ an encoder's.
"""


class BaseEncoder(Protocol):
    """Reads base codes from pictures, such as the paper's `tedi.encoders.bdinvert`."""

    size: int

    def __call__(self, image: Tensor, /) -> Tensor:
        """Base codes f (N, D, s, s) of pictures (N, 3, size, size) in [-1, 1]."""


class Reader(PoseReader, BaseEncoder, Protocol):
    """Reads base codes and poses, such as `tedi.encoders.base`."""


class FSpace:
    """Inverts pictures into base and detail codes: equation (1).

    Args:
        generator: draws; it is not changed.
        encoder: pictures (N, 3, h, h) of a preview's size -> codes (N, L, C), in eval mode.
        maps: perceptual features, such as `AttributeModel.maps`.
        describe: identity network; None leaves identity out of the figures.
        options: settings; None for `defaults`.
        base_encoder: gives f₀; None: the generator's own activations do, or the reader.
        reader: tells what the option `reads` says; None: places are looked for. Where its base
            codes are of another size than `at`, it tells the place alone.

    Raises:
        UsageError: a weight or a search without the network it needs, no encoder, or a resolution
            that the generator's activations do not have.
    """

    defaults, published = FSpaceOptions(), PUBLISHED
    starts_at_encoder = True
    changes_generator = True
    reads_places = True

    def __init__(
        self,
        generator: Generator,
        encoder: Encoder | None,
        *,
        maps: Maps | None = None,
        describe: Describe | None = None,
        options: FSpaceOptions | None = None,
        base_encoder: BaseEncoder | None = None,
        reader: Reader | None = None,
    ) -> None:
        self.generator, self.maps, self.describe = generator, maps, describe
        self.options = o = self.defaults if options is None else options
        self.reader = None if o.reads == "nothing" else reader
        reads_base = base_encoder is None and o.reads == "base"
        self.base_encoder = reader if reads_base else base_encoder
        if encoder is None:
            raise UsageError("encoder: this method starts at its code, got None")
        self.encoder = encoder
        needs = (("perceptual", maps, "maps"), ("search", maps, "maps"))
        for name, network, what in (*needs, ("identity", describe, "describe")):
            if getattr(o, name) and network is None:
                raise UsageError(f"{name}: expected {what} for it, got None; or give 0")
        self.size = preview_size(generator)
        self.first = after(generator, o.at)
        self.p_norm = PNorm.measure(generator, seed=o.seed) if o.p_norm else None

    def __call__(
        self, target: Tensor, on_step: OnStep | None = None, *, place: Tensor | None = None
    ) -> Inversion:
        """Codes of pictures (N, 3, H, H) in [-1, 1], and the generator that draws them.

        Args:
            target: faces anywhere in it; brought to the preview's size.
            on_step: told of every step, see `tedi.descent.descend`; the steps of the finish are
                counted on. If it returns True, what was best until then is the result.
            place: (N, 2, 3), where the faces lie, as `find_place` gave it; None: it is looked for.

        Returns:
            The codes, with a `Based` generator, whose "identity" compares persons upright. Its
            extras also hold "place" (N, 2, 3), where the faces lie.

        Raises:
            UsageError: other shapes or values.
            TediError: the loss of a row is not finite.
        """
        check_target(target)
        with torch.inference_mode(mode=False), torch.enable_grad():
            fitted = fit(target.detach().to(self.generator.w_avg), self.size).clone()
            place = self._place(fitted) if place is None else place.to(fitted)
            codes = encode(self.encoder, moved(fitted, inverse(place)))
            begun = self._begin(fitted, codes, place)
            path = BasePath(begun, self._details(codes), self.first, self.options)
            likeness = PlacedLikeness(fitted, place, self.maps, self.describe)
            done = self._descend(path, likeness, on_step)
            base, ws = path.unpacked(done.ws)
            o = self.options
            based = Based(self.generator, base, ws, place, size=o.at, follows=o.follows)
            with torch.no_grad():
                drawn = self._draw(self.generator.synthesis_from, base, ws)
                figures = likeness.all(drawn)
        return Inversion(ws, based, {"figures": figures, "steps": done.steps, "place": place})

    def _place(self, target: Tensor) -> Tensor:
        """Places (N, 2, 3) of the faces, or upright ones where they are not looked for."""
        if self.options.search and self.maps is not None:
            networks = {"encode": self.encoder, "draw": self.generator.preview}
            return find_place(target, maps=self.maps, reader=self.reader, **networks)
        return target.new_tensor(UPRIGHT).repeat(len(target), 1, 1)

    def _begin(self, target: Tensor, codes: Tensor, place: Tensor) -> Tensor:
        """f₀ (N, D, s, s)."""
        with torch.no_grad():
            own = [self.generator.features(part, self.options.at) for part in parts(codes)]
            if self.base_encoder is None:
                return self._turned(own, place)
            small = parts(fit(target, self.base_encoder.size))
            read = torch.cat([self.base_encoder(part) for part in small])
            if self.base_encoder is self.reader and read.shape[2:] != own[0].shape[2:]:
                return self._turned(own, place)  # it reads those of another resolution
        if read.shape != (expected := (len(target), *own[0].shape[1:])):
            got = f"{tuple(read.shape)}; give another, or reads='place'"
            raise UsageError(f"base_encoder: expected {expected}, got {got}")
        return read

    def _turned(self, own: list[Tensor], place: Tensor) -> Tensor:
        """P F(ws₀), of activations in parts."""
        return moved(torch.cat(own), place, reach=own[0].shape[-1] / self.options.at)

    def _details(self, codes: Tensor) -> Tensor:
        """Codes (N, L, C) whose slots after f the search starts at."""
        if self.options.details == "encoder":
            return codes
        start = codes.clone()
        start[:, self.first :] = self.generator.w_avg
        return start

    def _draw(self, draw: Callable[[Tensor, Tensor], Tensor], base: Tensor, ws: Tensor) -> Tensor:
        pairs = zip(parts(base), parts(ws), strict=True)
        return torch.cat([fit(draw(*pair), self.size) for pair in pairs])

    def _descend(
        self, path: "BasePath", likeness: "PlacedLikeness", on_step: OnStep | None
    ) -> Descent:
        """The steps on previews, then those on full-size drawings."""
        o, first = self.options, None
        if o.steps:
            first = self._stage(path, likeness, self.generator.preview_from, o, on_step)
            if first.stopped or not o.finish:
                return first
            path.go_on_from(first.ws)
        begun = first.steps if first else 0
        last = self._stage(
            path,
            likeness,
            self.generator.synthesis_from,
            replace(o, steps=o.finish),
            on_step,
            begun,
        )
        return replace(last, steps=begun + last.steps)

    def _stage(
        self,
        path: "BasePath",
        likeness: "PlacedLikeness",
        draw: Callable[[Tensor, Tensor], Tensor],
        schedule: FSpaceOptions,
        on_step: OnStep | None,
        begun: int = 0,
    ) -> Descent:
        named = [name for name in PICTURE if getattr(self.options, name)]

        def objective(packed: Tensor) -> dict[str, Tensor]:
            base, ws = path.unpacked(packed)
            pairs = zip(parts(base), parts(ws), strict=True)
            rows = [
                likeness(nth, fit(draw(f, codes), self.size), named)
                | self._near(path, nth, f, codes)
                for nth, (f, codes) in enumerate(pairs)
            ]
            weigh = {n: getattr(self.options, n) for n in rows[0]}
            return {n: weigh[n] * torch.cat([row[n] for row in rows]) for n in rows[0]}

        def told(step: int, losses: dict[str, Tensor], packed: Tensor) -> bool | None:
            assert on_step is not None
            return on_step(begun + step, losses, path.unpacked(packed)[1].clone())

        return descend(path, objective, schedule, told if on_step else None)

    def _near(self, path: "BasePath", nth: int, base: Tensor, ws: Tensor) -> dict[str, Tensor]:
        """Terms (n,) that hold the codes of part `nth` where edits work."""
        terms = {}
        if self.options.base:
            start, scale = parts(path.start)[nth], parts(path.scale)[nth]
            terms["base"] = ((base - start) / scale).square().mean(dim=(1, 2, 3))
        if self.p_norm is not None:
            terms["p_norm"] = self.p_norm(ws[:, self.first :])
        return terms


class BasePath(nn.Module):
    """Base and detail codes as what Adam changes, packed into one row (N, 1, M).

    Args:
        start: f₀ (N, D, s, s).
        codes: (N, L, C); slots before `first` stay as they are.
        first: slot after the base code.
        options: whose `base_rate` is f's share of the learning rate.
    """

    def __init__(self, start: Tensor, codes: Tensor, first: int, options: FSpaceOptions) -> None:
        super().__init__()
        self.start, self.codes, self.first = start, codes, first
        self.scale = start.square().mean(dim=(2, 3), keepdim=True).sqrt().clamp_min(1e-6)
        self.rate = options.base_rate
        self.change = nn.Parameter(torch.zeros_like(start))
        self.detail = nn.Parameter(codes[:, first:].clone())

    def forward(self) -> Tensor:
        """The packed codes."""
        base = self.start + self.rate * self.scale * self.change
        return torch.cat([base.flatten(1), self.detail.flatten(1)], dim=1)[:, None]

    def unpacked(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Base codes (N, D, s, s) and codes (N, L, C) of packed ones."""
        base, detail = packed[:, 0].split([self.start[0].numel(), self.detail[0].numel()], dim=1)
        ws = torch.cat([self.codes[:, : self.first], detail.view_as(self.detail)], dim=1)
        return base.view_as(self.start), ws

    def go_on_from(self, packed: Tensor) -> None:
        """Stand at these codes."""
        base, ws = self.unpacked(packed)
        with torch.no_grad():
            self.change.copy_((base - self.start) / (self.scale * self.rate))
            self.detail.copy_(ws[:, self.first :])


class PlacedLikeness:
    """Distances from targets: pictures as they are, persons upright.

    Args:
        target: (N, 3, h, h).
        place: of the faces (N, 2, 3).
        maps: features for the "perceptual" distance, or None.
        describe: identity network for the squared "identity" distance, or None.
    """

    def __init__(
        self, target: Tensor, place: Tensor, maps: Maps | None, describe: Describe | None
    ) -> None:
        self.pictures = Likeness(target, maps)
        self.back = parts(inverse(place))
        self.persons = Likeness(moved(target, inverse(place)), None, describe)

    def __call__(self, nth: int, image: Tensor, names: list[str]) -> dict[str, Tensor]:
        """The distances that are named, (n,), of pictures from part `nth` of the targets."""
        found = self.pictures(nth, image, [name for name in names if name != "identity"])
        if "identity" in names:
            found |= self.persons(nth, moved(image, self.back[nth]), ["identity"])
        return found

    def all(self, image: Tensor) -> dict[str, Tensor]:
        """All distances (N,) of pictures that there are networks for."""
        names = list(dict.fromkeys([*self.pictures.names, *self.persons.names]))
        rows = [self(nth, part, names) for nth, part in enumerate(parts(image))]
        return {name: torch.cat([row[name] for row in rows]) for name in names}


def after(generator: Generator, at: int) -> int:
    """The first slot after the activations of a resolution in pixels.

    Raises:
        UsageError: the generator has no such resolution, or it is its last.
    """
    first = max(generator.layers(at)) + 1
    if first == generator.slots:
        smaller = f"such as {at // 2}"
        raise UsageError(f"at: expected a resolution with slots after it, {smaller}, got {at}")
    return first
