"""Inversion by optimisation: the code whose picture is most like the target.

In-domain inversion ("In-Domain GAN Inversion for Real Image Editing", Zhu et al. 2020, arXiv
2004.00049, equation 6) starts at what an encoder E reads from the target x and minimises

    ‖x − G(ws)‖² + λ_perceptual d(x, G(ws)) + λ_domain ‖ws − E(G(ws))‖²                    (1)

all as means, with Adam. Its last term holds the code where E would read it, among codes that can
be edited; gradients go through E(G(ws)). TediGAN (Xia et al. 2021, equation 6) takes it over.

Image2StyleGAN (Abdal et al. 2019, arXiv 1904.03189, equation 1) starts at the mean face and has no
last term: pictures come closer, codes lie farther from those that can be edited.

What is the papers' here: these terms, the starts, Adam and λ_domain = 2. What is not: d compares
unit features of EfficientNet, 0 to 4, where the papers square raw features of VGG16, which run to
thousands, so their 5e-5 has no meaning here and `perceptual` is chosen anew; the learning rate
rises and falls, to 0.03 where theirs is 0.01; a term of identity is added, for without it a third
of the persons do not survive; and each row keeps the best code that it passed.

Most steps look at previews (256 px), which cost a fourth. A code that is fitted to them draws its
1024 px picture less well: 60 steps from the mean face brought two photos to a perceptual distance
of 0.54 by their previews and 0.69 at full size. So the last steps, `finish`, look at full-size
drawings; 20 of them made that 0.51. They hold about 1.5 GB for each row.

With `dtype` "bfloat16" the networks work in half the bits while a code is sought, which is faster
where the processor knows that format, and slower where it does not.

Every term is one number for each row, so that a row's result does not depend on its neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from tedi.descent import Descent, OnStep, Schedule, descend, parts
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.inversion import Inversion
from tedi.inversion.encode import Encoder, draw_full, encode, preview_size
from tedi.inversion.likeness import Likeness, check_target, fit
from tedi.inversion.pnorm import PNorm
from tedi.losses import Describe, Maps

Space = Literal["w", "w+", "p"]
Dtype = Literal["float32", "bfloat16"]
PICTURE = ("pixel", "perceptual", "identity")  # the terms that look at pictures


@dataclass(frozen=True)
class InversionOptions(Schedule):
    """Settings of the optimising methods; a weight of 0 leaves its term out and saves its cost.

    Raises:
        UsageError: a value out of range, or an unknown space.
    """

    steps: int = 60  # of Adam, at most, on previews
    lr: float = 0.01  # peak learning rate, in units of the codes (of v, in the space "p")
    tolerance: float = 1e-4  # a smaller fall of a row's total loss is no gain
    finish: int = 20  # steps after those, on full-size drawings reduced to the preview's size
    pixel: float = 1.0  # weight of the mean squared error, 0 to 4
    perceptual: float = 1.0  # λ_perceptual, of a distance of 0 to 4
    identity: float = 0.0  # weight of the squared distance of persons, below 0.36 for the same
    domain: float = 2.0  # λ_domain, of the mean squared distance of codes
    p_norm: float = 0.0  # weight of the mean square of P-norm+ coordinates, about 1 in W
    space: Space = "w+"  # "w": one w for all slots; "p": W+ in P-norm+ coordinates
    seed: int = 0  # of the codes on which P-norm+ is measured
    dtype: Dtype = "float32"  # of the networks while a code is sought; codes stay float32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dtype not in get_args(Dtype):
            known = " or ".join(get_args(Dtype))
            raise UsageError(f"dtype: expected {known}, got {self.dtype!r}")
        if self.space not in get_args(Space):
            known = ", ".join(get_args(Space))
            raise UsageError(f"space: expected one of {known}, got {self.space!r}")


class InDomain:
    """Inverts by optimisation from the encoder's code: equation (1).

    Args:
        generator: draws; it is not changed.
        encoder: pictures (N, 3, h, h) of a preview's size -> codes (N, L, C), in eval mode.
        maps: perceptual features, such as `AttributeModel.maps`.
        describe: identity network; None leaves identity out of the figures.
        options: settings; None for `defaults`.

    Raises:
        UsageError: a weight without the network that its term needs, or no encoder.
    """

    defaults = InversionOptions(lr=0.03, identity=0.5)
    starts_at_encoder = True

    def __init__(
        self,
        generator: Generator,
        encoder: Encoder | None,
        *,
        maps: Maps | None = None,
        describe: Describe | None = None,
        options: InversionOptions | None = None,
    ) -> None:
        self.generator, self.encoder = generator, encoder
        self.maps, self.describe = maps, describe
        self.options = self.defaults if options is None else options
        self._check()
        self.size = preview_size(generator)
        self._p_norm: PNorm | None = None

    def _check(self) -> None:
        needs = (
            ("perceptual", "maps", self.maps),
            ("identity", "describe", self.describe),
            ("domain", "encoder", self.encoder),
        )
        for name, what, network in needs:
            if getattr(self.options, name) and network is None:
                raise UsageError(f"{name}: expected {what} for this weight, got None; or give 0")
        if self.starts_at_encoder and self.encoder is None:
            raise UsageError("encoder: this method starts at its code, got None")

    def start(self, target: Tensor) -> Tensor:
        """Codes (N, L, C) to start from, of pictures of the preview's size."""
        assert self.encoder is not None
        return encode(self.encoder, target)

    def __call__(
        self,
        target: Tensor,
        on_step: OnStep | None = None,
        *,
        start: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Inversion:
        """Codes of pictures (N, 3, H, H) in [-1, 1].

        Args:
            target: aligned; brought to the preview's size.
            on_step: told of every step, see `tedi.descent.descend`; the steps of the finish are
                counted on. If it returns True, what was best until then is the result.
            start: codes (N, L, C) to start from; None for the method's own.
            mask: (1 or N, 1, h, w), 1 where pictures are compared, 0 where the code is free.

        Raises:
            UsageError: other shapes or values.
            TediError: the loss of a row is not finite.
        """
        check_target(target)
        with torch.inference_mode(mode=False), torch.enable_grad():
            target = target.detach().to(self.generator.w_avg)
            fitted = fit(target, self.size).clone()  # one of inference mode has no gradients
            codes = self.start(fitted) if start is None else start
            self._check_codes(codes, len(fitted))
            likeness = Likeness(fitted, self.maps, self.describe, mask)
            done = self._descend(codes.detach(), likeness, on_step)
            figures = likeness.figures(self._draw_full, done.ws)
        return Inversion(done.ws, self.generator, {"figures": figures, "steps": done.steps})

    def _check_codes(self, codes: Tensor, rows: int) -> None:
        expected = (rows, self.generator.slots, self.generator.width)
        if codes.shape != expected:
            raise UsageError(f"start: expected ws {expected}, got {tuple(codes.shape)}")

    def _descend(self, codes: Tensor, likeness: Likeness, on_step: OnStep | None) -> Descent:
        """The steps on previews, then those on full-size drawings."""
        options = self.options
        first = descend(
            self._path(codes),
            Objective(self, self.generator.preview, likeness),
            options,
            on_step,
        )
        if first.stopped or not options.finish:
            return first
        last = descend(
            self._path(first.ws),
            Objective(self, self._draw_full, likeness),
            replace(options, steps=options.finish),
            _counting_on(on_step, first.steps),
        )
        return replace(last, steps=first.steps + last.steps)

    def _path(self, codes: Tensor) -> "Path":
        return Path(codes, self.options.space, self.p_norm)

    def _draw_full(self, ws: Tensor) -> Tensor:
        return draw_full(self.generator, ws, self.size)

    @property
    def p_norm(self) -> PNorm | None:
        """Measured once, if it is asked for at all."""
        if self._p_norm is None and (self.options.p_norm or self.options.space == "p"):
            self._p_norm = PNorm.measure(self.generator, seed=self.options.seed)
        return self._p_norm


class Image2StyleGAN(InDomain):
    """Inverts by optimisation from the mean face; without the domain term it asks no encoder."""

    defaults = InversionOptions(steps=100, lr=0.05, domain=0.0)
    starts_at_encoder = False

    def start(self, target: Tensor) -> Tensor:
        """The mean of W for every picture."""
        return self.generator.w_avg.expand(len(target), self.generator.slots, -1)


class Path(nn.Module):
    """Codes as what Adam changes: one w, all slots, or all slots in P-norm+ coordinates.

    In "w" it starts at the mean of the slots; in "p" at the codes up to rounding.
    """

    def __init__(self, codes: Tensor, space: Space, p_norm: PNorm | None) -> None:
        super().__init__()
        self.slots = codes.shape[1]
        self.p_norm = p_norm if space == "p" else None
        if self.p_norm is not None:
            start = torch.cat([self.p_norm.whiten(part) for part in parts(codes)])
        else:
            start = codes.mean(dim=1, keepdim=True) if space == "w" else codes
        self.place = nn.Parameter(start.clone())

    def forward(self) -> Tensor:
        """The codes (N, L, C)."""
        if self.p_norm is not None:
            return torch.cat([self.p_norm.color(part) for part in parts(self.place)])
        return self.place.expand(-1, self.slots, -1)


class Objective:
    """The terms of equation (1), weighted, each (N,); those of weight 0 are left out."""

    def __init__(
        self, inverter: InDomain, draw: Callable[[Tensor], Tensor], likeness: Likeness
    ) -> None:
        self.draw, self.likeness = draw, likeness
        self.options, self.encoder = inverter.options, inverter.encoder
        self.p_norm = inverter.p_norm
        self.half = self.options.dtype == "bfloat16"
        self.named = [name for name in PICTURE if getattr(self.options, name)]

    def __call__(self, ws: Tensor) -> dict[str, Tensor]:
        rows = [self._part(nth, part) for nth, part in enumerate(parts(ws))]
        return {
            name: getattr(self.options, name) * torch.cat([row[name] for row in rows])
            for name in rows[0]
        }

    def _part(self, nth: int, ws: Tensor) -> dict[str, Tensor]:
        options, terms = self.options, {}
        if self.named or options.domain:
            with torch.autocast(ws.device.type, torch.bfloat16, enabled=self.half):
                image = self.draw(ws).float()
                terms.update(self.likeness(nth, image, self.named))
                if options.domain and self.encoder is not None:
                    terms["domain"] = (ws - self.encoder(image)).square().mean(dim=(1, 2))
            terms = {name: term.float() for name, term in terms.items()}
        if options.p_norm and self.p_norm is not None:
            terms["p_norm"] = self.p_norm(ws)
        return terms


def _counting_on(on_step: OnStep | None, first: int) -> OnStep | None:
    if on_step is None:
        return None
    return lambda step, losses, ws: on_step(first + step, losses, ws)
