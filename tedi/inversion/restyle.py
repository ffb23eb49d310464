"""Inversion in a few looks: an encoder sees what its last code draws beside the photo.

ReStyle (Alaluf et al. 2021, arXiv 2104.02699); see `tedi.encoders.residual`. Looks cost what
drawing a preview and encoding it cost, and no gradient is taken. As in optimisation, each row keeps
the code that was most like the photo, the first one included: a look too many does no harm.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from tedi.descent import Best, OnStep, Schedule, parts
from tedi.encoders.psp import PublishedEncoder
from tedi.encoders.residual import FromMean, Looker, Seen
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.inversion import Inversion
from tedi.inversion.encode import Encoder, draw_full, preview_size
from tedi.inversion.likeness import Likeness, check_target, fit
from tedi.inversion.optimize import InDomain
from tedi.losses import Describe, Maps

LOOKS = 2  # of an encoder that does not say how often it looks, such as one behind `Echo`


@dataclass(frozen=True)
class LookOptions:
    """Settings of the method.

    Raises:
        UsageError: a number below 0.
    """

    steps: int | None = None  # looks at previews after the first code; None: `looks_of` it
    finish: int = 0  # looks after those, at full-size drawings reduced to the preview's size
    patience: int = 0  # a row stops after so many looks without gain; 0: never early

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 0:
                raise UsageError(f"{name}: expected 0 or more, got {value}")


class Echo:
    """An encoder of pictures alone, which is asked what it reads of the drawing, too.

    The move is the difference of what it reads of the two pictures, E(x) - E(G(w)). The shipped
    visual encoder alone would gain nothing by it: on 12 photos it had been trained with, perceptual
    distance of previews rose look by look from 1.00 to 1.18, 1.29, 1.37 and 1.50, so that first
    codes would be kept. `ResidualEncoder` was taught to look for it.

    Args:
        encoder: pictures -> codes.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def begin(self, image: Tensor) -> Tensor:
        """Its codes (N, L, C)."""
        return self.encoder(image)

    def see(self, image: Tensor) -> Seen:
        """Its codes."""
        return {"ws": self.encoder(image)}

    def look(self, target: Seen, drawn: Tensor) -> Tensor:
        """Moves (N, L, C)."""
        return target["ws"] - self.encoder(drawn)


def looker_of(encoder: Encoder) -> Looker:
    """What looks again by an encoder: itself, what is in it, or `Echo`.

    In it may be a `ResidualEncoder` or a published encoder of six channels.
    """
    inner = getattr(encoder, "encoder", None)
    for one in (encoder, inner):
        if hasattr(one, "look"):
            return cast("Looker", one)
    if isinstance(inner, PublishedEncoder) and inner.channels == 6:
        return FromMean(inner)
    return Echo(encoder)


def looks_of(*ones: Encoder | Looker) -> int:
    """How often the first that knows is to look, as its file says; without a number, `LOOKS`."""
    return next((int(one.steps) for one in ones if hasattr(one, "steps")), LOOKS)


class Restyle:
    """Inverts by looks.

    Args:
        generator: that the codes are of.
        encoder: pictures (N, 3, h, h) of a preview's size -> codes (N, L, C), in eval mode.
        maps: perceptual features, such as `AttributeModel.maps`; they, and
        describe: the identity network, say which code is most like.
        options: settings; None for `defaults`.
        looker: looks again; None: `looker_of` the encoder.

    Raises:
        UsageError: no encoder.
    """

    defaults = LookOptions()
    starts_at_encoder = True
    looks_again = True

    def __init__(
        self,
        generator: Generator,
        encoder: Encoder | None,
        *,
        maps: Maps | None = None,
        describe: Describe | None = None,
        options: LookOptions | None = None,
        looker: Looker | None = None,
    ) -> None:
        if encoder is None:
            raise UsageError("encoder: this method needs a visual encoder, got None")
        self.generator, self.looker = generator, looker or looker_of(encoder)
        self.maps, self.describe = maps, describe
        chosen = self.defaults if options is None else options
        self.steps = looks_of(self.looker, encoder) if chosen.steps is None else chosen.steps
        self.options = chosen

    @torch.no_grad()
    def __call__(self, target: Tensor, on_step: OnStep | None = None) -> Inversion:
        """Codes of pictures (N, 3, H, H) in [-1, 1].

        Args:
            target: aligned; brought to the preview's size.
            on_step: told before every look, and once at the end, how many there were, the
                weighted distances (N,) and the codes then. If it returns True, work stops there.

        Raises:
            UsageError: other shapes or values.
        """
        check_target(target)
        size = preview_size(self.generator)
        target = fit(target.to(self.generator.w_avg), size)
        walk = Walk(self, target, on_step)
        walk.go(self.steps, self.generator.preview)
        if self.options.finish and not walk.stopped:
            walk.go(self.options.finish, lambda ws: draw_full(self.generator, ws, size))
        figures = walk.likeness.figures(lambda ws: draw_full(self.generator, ws, size), walk.ws)
        return Inversion(walk.ws, self.generator, {"figures": figures, "steps": walk.step})


class Walk:
    """Codes of some pictures, look by look.

    Args:
        inverter: the method.
        target: (N, 3, h, h).
        on_step: see `Restyle`.
    """

    def __init__(self, inverter: Restyle, target: Tensor, on_step: OnStep | None) -> None:
        self.looker, self.on_step = inverter.looker, on_step
        self.patience = Schedule(patience=inverter.options.patience, tolerance=0.0)
        self.likeness = Likeness(target, inverter.maps, inverter.describe)
        self.seen = [self.looker.see(part) for part in parts(target)]
        self.ws = torch.cat([self.looker.begin(part) for part in parts(target)])
        self.step, self.stopped = 0, False

    def go(self, looks: int, draw: Encoder) -> None:
        """Some looks at what `draw` makes of codes; `ws` is the best code of each row then."""
        ws, best = self.ws, Best(self.ws, self.patience)
        for look in range(looks + 1):
            shown = [draw(part) for part in parts(ws)]
            terms = self._terms(shown)
            best.see(torch.stack(list(terms.values())).sum(dim=0), ws)
            told = self.on_step and self.on_step(self.step, terms, ws.clone())
            self.stopped = told is True
            if self.stopped or best.done or look == looks:
                break
            moves = [self.looker.look(*pair) for pair in zip(self.seen, shown, strict=True)]
            ws, self.step = ws + torch.cat(moves), self.step + 1
        self.ws = best.ws

    def _terms(self, shown: list[Tensor]) -> dict[str, Tensor]:
        """Distances (N,), weighed as in-domain inversion weighs them."""
        names = self.likeness.names
        rows = [self.likeness(nth, image, names) for nth, image in enumerate(shown)]
        weights = InDomain.defaults
        return {name: getattr(weights, name) * torch.cat([r[name] for r in rows]) for name in names}
