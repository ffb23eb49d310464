"""Pivotal tuning: the generator learns a person; the code stays where it can be edited.

PTI ("Pivotal Tuning for Latent-based Editing of Real Images", Roich et al. 2021, arXiv 2106.05744)
takes a code as pivot, which draws a face near the photo's, and tunes a copy of the generator until
the pivot draws the photo itself (equation 3):

    L = λ_pixel ‖x − G'(w_p)‖² + λ_perceptual d(x, G'(w_p)) + λ_local L_R                   (1)

L_R holds what is around as it was (equations 5 and 6): a code of W at random, seen from the pivot,
is drawn by both generators, `distance` away from the pivot, and they are to agree.

    w_r = w_p + α (w_z − w_p) / ‖w_z − w_p‖,   L_R = ‖G(w_r) − G'(w_r)‖² + d(G(w_r), G'(w_r))

What is the paper's here: these terms, Adam with 3e-4, up to 350 steps, α = 30, the stop. What is
not: d compares EfficientNet's features at 256 px; the paper's program has LPIPS, which `lpips`
weighs where that package is installed. Weights of the released network differ in size by a factor
of 1,000, so that each one's learning rate is relative to its own root mean square, which is what
StyleGAN's equalised learning rate comes to.

The defaults are quicker. Most steps look at previews, and tune the weights that previews and
full-size pictures share; the last ones, `finish`, look at full-size drawings and tune all weights
that draw. Their steps are larger, a term of identity is added, and L_R is weighed more and looked
at now and then. `PUBLISHED` is the paper's schedule: it draws at full size throughout, and its
losses look, as all here, at those drawings reduced to the preview's size, 256 px.

All rows of a call are of one person: one generator is tuned to all of them, each at its own pivot.

The Fourier input of StyleGAN3 is not tuned: it holds where the face lies and how it is turned,
which a transform of the tuned generator is to find as it was. What changes is, in half precision,
16 MB at most of the embedded generator, 57 MB of a StyleGAN2 of 1024 px, 43 MB of a StyleGAN3-T and
27 MB of a StyleGAN3-R.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from tedi.descent import OnStep, Schedule, parts, ramp
from tedi.errors import TediError, UsageError
from tedi.generators.tuned import network_of, tuned_copy
from tedi.interfaces import Generator, z_width
from tedi.inversion import Inversion
from tedi.inversion.encode import Encode, Encoder, draw_full, preview_size
from tedi.inversion.likeness import Likeness, check_target, fit
from tedi.inversion.optimize import InDomain
from tedi.losses import LOSSES, Describe, Maps

Draw = Callable[[Generator, Tensor], Tensor]
Pivot = Literal["encoder", "optimize"]
TERMS = ("pixel", "perceptual", "identity")


@dataclass(frozen=True)
class TuningOptions(Schedule):
    """Settings of pivotal tuning; a weight of 0 leaves its term out and saves its cost.

    `patience` and `tolerance` have no use here: `stop` ends the tuning.

    Raises:
        UsageError: a value out of range, or an unknown pivot.
    """

    steps: int = 60  # of Adam, at most, on previews
    lr: float = 2e-3  # peak learning rate, of each weight relative to its root mean square
    rise: float = 0.0
    fall: float = 0.25
    finish: int = 6  # steps after those, on full-size drawings reduced to the preview's size
    pixel: float = 1.0  # λ_pixel, of the mean squared error, 0 to 4
    perceptual: float = 1.0  # λ_perceptual, of a distance of 0 to 4
    lpips: float = 0.0  # weight of LPIPS, about 0.06 for equal faces; needs the package lpips
    identity: float = 0.5  # weight of the squared distance of persons, below 0.36 for the same
    local: float = 0.5  # λ_local, of the distances of pictures by the old and the new generator
    distance: float = 30.0  # α, over all slots, from the pivot to where they are compared
    every: int = 4  # steps from one such comparison to the next; it is weighed as many times
    psi: float = 0.5  # truncation of the random codes
    stop: float = 0.0  # distance d of all rows, LPIPS if it is weighed, that is near enough
    pivot: Pivot = "encoder"  # the method that gives the pivot
    pivot_steps: int = 60  # of "optimize", on previews …
    pivot_finish: int = 10  # … and at full size
    seed: int = 0  # of the random codes

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pivot not in get_args(Pivot):
            known = ", ".join(get_args(Pivot))
            raise UsageError(f"pivot: expected one of {known}, got {self.pivot!r}")
        if self.every < 1:
            raise UsageError(f"every: expected 1 or more, got {self.every}")


PUBLISHED = TuningOptions(
    steps=0,
    finish=350,
    lr=3e-4,
    fall=0.0,
    identity=0.0,
    local=0.1,
    every=1,
    pivot="optimize",
    pivot_steps=400,
    pivot_finish=50,
)
"""The paper's schedule: 350 steps on full-size drawings, which the losses see at 256 px.

With LPIPS as in its program: `replace(PUBLISHED, perceptual=0.0, lpips=1.0, stop=0.06)`.
"""


class PivotalTuning:
    """Inverts pictures of one person by tuning a copy of the generator: equation (1).

    Args:
        generator: draws; it is not changed, and the tuned copy shares what is not tuned.
        encoder: pictures (N, 3, h, h) of a preview's size -> codes (N, L, C), in eval mode.
        maps: perceptual features, such as `AttributeModel.maps`.
        describe: identity network; None leaves identity out of the figures.
        options: settings; None for `defaults`.

    Raises:
        UsageError: a weight without the network that its term needs, no encoder, or a generator
            that is no network.
    """

    defaults, published = TuningOptions(), PUBLISHED
    starts_at_encoder = True
    changes_generator = True

    def __init__(
        self,
        generator: Generator,
        encoder: Encoder | None,
        *,
        maps: Maps | None = None,
        describe: Describe | None = None,
        options: TuningOptions | None = None,
    ) -> None:
        self.generator, self.encoder = generator, encoder
        self.maps, self.describe = maps, describe
        self.options = self.defaults if options is None else options
        self.size = preview_size(generator)
        network_of(generator)
        if encoder is None:
            raise UsageError("encoder: the pivot starts at its code, got None")
        o = self.options
        for name, what, network in (
            ("perceptual", "maps", maps),
            ("identity", "describe", describe),
        ):
            if getattr(o, name) and network is None:
                raise UsageError(f"{name}: expected {what} for this weight, got None; or give 0")
        if o.stop and not (o.perceptual or o.lpips):
            raise UsageError(f"stop: expected perceptual or lpips above 0 with {o.stop:g}, got 0")
        self.lpips = LOSSES["lpips"]() if o.lpips else None

    def __call__(
        self, target: Tensor, on_step: OnStep | None = None, *, start: Tensor | None = None
    ) -> Inversion:
        """Pivots of pictures (N, 3, H, H) in [-1, 1], and the generator that draws them.

        Args:
            target: aligned, of one person; brought to the preview's size.
            on_step: told of every step, see `tedi.descent.descend`: of those that look for the
                pivot, then of those that tune. If it returns True, what was made until then is the
                result.
            start: the pivots (N, L, C), as an earlier inversion gave them; None: they are made.

        Returns:
            The pivots, with the tuned generator. Its extras also hold "pivot", the figures before
            tuning.

        Raises:
            UsageError: other shapes or values.
            TediError: the loss is not finite.
        """
        check_target(target)
        with torch.inference_mode(mode=False), torch.enable_grad():
            fitted = fit(target.detach().to(self.generator.w_avg), self.size).clone()
            found = self._pivot(fitted, on_step) if start is None else self._given(start, fitted)
            run = Tuning(self, found.ws.detach(), Likeness(fitted, self.maps, self.describe))
            first = int(found.extras.get("steps", 0))
            stopped = bool(found.extras.get("stopped", False))
            steps = 0 if stopped else run.go(_counting_on(on_step, first))
            figures = run.figures()
        extras = {"figures": figures, "pivot": found.extras["figures"], "steps": first + steps}
        return Inversion(found.ws, run.tuned, extras)

    def _pivot(self, target: Tensor, on_step: OnStep | None) -> Inversion:
        """Codes of the pictures, each by itself."""
        networks: dict[str, Any] = {"maps": self.maps, "describe": self.describe}
        if self.options.pivot == "encoder":
            return Encode(self.generator, self.encoder, **networks)(target)
        o, usual = self.options, InDomain.defaults
        identity = usual.identity if self.describe else 0.0
        wanted = replace(usual, steps=o.pivot_steps, finish=o.pivot_finish, identity=identity)
        watch = _Watch(on_step)
        found = InDomain(self.generator, self.encoder, options=wanted, **networks)(target, watch)
        return replace(found, extras={**found.extras, "stopped": watch.stopped})

    def _given(self, start: Tensor, target: Tensor) -> Inversion:
        expected = (len(target), self.generator.slots, self.generator.width)
        if start.shape != expected:
            raise UsageError(f"start: expected ws {expected}, got {tuple(start.shape)}")
        start = start.to(self.generator.w_avg)
        likeness = Likeness(target, self.maps, self.describe)
        figures = likeness.figures(lambda ws: draw_full(self.generator, ws, self.size), start)
        return Inversion(start, self.generator, {"figures": figures})


class Tuning:
    """One generator, tuned to the rows of one call; weights that say where it draws stay.

    Attributes:
        tuned: the copy; it draws as the generator does until `go` is called.
        done: steps taken.
    """

    def __init__(self, method: PivotalTuning, ws: Tensor, likeness: Likeness) -> None:
        self.generator, self.options, self.size = method.generator, method.options, method.size
        self.ws, self.likeness, self.lpips = ws, likeness, method.lpips
        self.named = [name for name in TERMS if getattr(self.options, name)]
        drawing = weights_behind(self.generator, lambda g, ws: g.synthesis(ws))
        self.full = drawing - weights_of_place(self.generator)
        self.shared = self.full & weights_behind(self.generator, lambda g, ws: g.preview(ws))
        own = self.full if self.options.finish else self.shared
        if not own:
            raise UsageError(f"generator: {self.generator.name} has no weights that could be tuned")
        self.tuned = tuned_copy(self.generator, own)
        self.done = 0

    def go(self, on_step: OnStep | None) -> int:
        """Tunes on previews, then at full size; gives the steps taken."""
        o = self.options
        stages: list[tuple[int, set[str], Draw]] = [
            (o.steps, self.shared, lambda g, ws: g.preview(ws)),
            (o.finish, self.full, lambda g, ws: draw_full(g, ws, self.size)),
        ]
        for steps, names, draw in stages:
            if steps and self._stage(steps, names, draw, on_step):
                break
        return self.done

    def _stage(self, steps: int, names: set[str], draw: Draw, on_step: OnStep | None) -> bool:
        """Adam on the named weights, until they are near enough; gives whether it was stopped."""
        weights = [p for n, p in network_of(self.tuned).named_parameters() if n in names]
        groups = [{"params": [weight], "size": root_mean_square(weight)} for weight in weights]
        optimizer = torch.optim.Adam(groups, lr=self.options.lr)
        for weight in weights:
            weight.requires_grad_(True)
        stopped = False
        for step in range(steps):
            optimizer.zero_grad()
            terms = self._look(draw)
            stopped = on_step is not None and on_step(self.done, terms, self.ws.clone()) is True
            if stopped or self._near_enough(terms):
                break
            for group in optimizer.param_groups:
                pace = ramp((step + 0.5) / steps, self.options)
                group["lr"] = self.options.lr * group["size"] * pace
            optimizer.step()
            self.done += 1
        for weight in weights:
            weight.requires_grad_(False).grad = None
        return stopped

    def _look(self, draw: Draw) -> dict[str, Tensor]:
        """The weighted terms (N,); their gradients are added up, one drawing held at a time."""
        rows: list[dict[str, Tensor]] = []
        for nth, ws in enumerate(parts(self.ws)):
            rows.append({})
            for terms in self._terms(draw, nth, ws):
                total = torch.stack(list(terms.values())).sum(dim=0)
                if not total.isfinite().all():
                    raise TediError(f"step {self.done}: the loss is {total.max():g}; lower lr")
                (total.sum() / len(self.ws)).backward()
                rows[-1] |= {name: value.detach() for name, value in terms.items()}
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    def _terms(self, draw: Draw, nth: int, ws: Tensor) -> Iterator[dict[str, Tensor]]:
        """The weighted terms (n,) of pivots (n, L, C), part `nth`: of their pictures, then L_R."""
        o = self.options
        found = self._distances(self.likeness, nth, draw(self.tuned, ws), self.named)
        yield {name: getattr(o, name) * value for name, value in found.items()}
        if o.local and self.done % o.every == 0:
            yield {"local": o.local * o.every * self._local(draw, nth, ws)}

    def _distances(
        self, likeness: Likeness, nth: int, image: Tensor, names: list[str]
    ) -> dict[str, Tensor]:
        """Distances (n,) of pictures from part `nth` of what they should be."""
        found = likeness(nth, image, names)
        if self.lpips is not None:
            found["lpips"] = self.lpips(image, likeness.targets[nth])
        return found

    def _local(self, draw: Draw, nth: int, ws: Tensor) -> Tensor:
        """L_R (n,) around pivots (n, L, C)."""
        near = self._near(nth, ws)
        with torch.no_grad():
            before = draw(self.generator, near)
        names = [name for name in self.named if name != "identity"]
        pair = Likeness(before, self.likeness.maps)
        after = parts(draw(self.tuned, near))
        rows = [self._distances(pair, i, part, names) for i, part in enumerate(after)]
        return torch.cat([torch.stack(list(row.values())).sum(dim=0) for row in rows])

    @torch.no_grad()
    def _near(self, nth: int, ws: Tensor) -> Tensor:
        """Codes (n, L, C), `distance` from pivots on the way to random codes of W."""
        g, o = self.generator, self.options
        seed = (o.seed + 1) * 1_000_003 + self.done * 1_009 + nth
        z = torch.randn(len(ws), z_width(g), generator=torch.Generator().manual_seed(seed))
        w = g.w_avg + o.psi * (g.mapping(z.to(g.w_avg)) - g.w_avg)
        way = w[:, None] - ws
        return ws + o.distance * way / way.flatten(1).norm(dim=1)[:, None, None]

    def _near_enough(self, terms: dict[str, Tensor]) -> bool:
        """Whether the pictures of all rows are as near as `stop` asks."""
        name = "lpips" if self.lpips else "perceptual"
        enough = self.options.stop * getattr(self.options, name)
        return enough > 0 and bool((terms[name] <= enough).all())

    def figures(self) -> dict[str, Tensor]:
        """Distances (N,) of the pictures from what the tuned generator draws at full size."""
        return self.likeness.figures(lambda ws: draw_full(self.tuned, ws, self.size), self.ws)


def weights_behind(generator: Generator, draw: Draw) -> set[str]:
    """Names of the weights that pictures depend on, found by following one back."""
    names = {name for name, _ in network_of(generator).named_parameters()}
    copy = tuned_copy(generator, names)
    weights = dict(network_of(copy).requires_grad_(True).named_parameters())
    with torch.enable_grad():
        image = draw(copy, generator.w_avg.detach().expand(1, generator.slots, -1))
    behind, seen, ahead = set(), set(), [image.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        behind.add(id(getattr(node, "variable", None)))
        ahead += [before for before, _ in node.next_functions]
    return {name for name, weight in weights.items() if id(weight) in behind}


def weights_of_place(generator: Generator) -> set[str]:
    """Names of the weights that say where pictures lie, of a generator that can be told so."""
    prefix = getattr(generator, "place_prefix", None)
    names = (name for name, _ in network_of(generator).named_parameters())
    return {name for name in names if prefix is not None and name.startswith(prefix)}


def root_mean_square(weight: Tensor) -> float:
    """Size of a weight's numbers, which its steps are relative to."""
    return weight.detach().square().mean().sqrt().item()


class _Watch:
    """`on_step` of the pivot's search; knows whether it was stopped."""

    def __init__(self, on_step: OnStep | None) -> None:
        self.on_step, self.stopped = on_step, False

    def __call__(self, step: int, losses: dict[str, Tensor], ws: Tensor) -> bool:
        self.stopped = self.on_step is not None and self.on_step(step, losses, ws) is True
        return self.stopped


def _counting_on(on_step: OnStep | None, first: int) -> OnStep | None:
    if on_step is None:
        return None
    return lambda step, losses, ws: on_step(first + step, losses, ws)
