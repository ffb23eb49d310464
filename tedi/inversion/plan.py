"""A plan of inversion: from the quickest method on, as far as quality asks and limits allow.

No single method suits every photo: the encoder takes a moment and misses every fifth person,
in-domain optimisation takes half a minute, and what no code draws needs another generator
(`tedi.inversion.fspace`, `tedi.inversion.pti`). A program
of `tedi.inversion.programs` is a ladder of such rungs. After each one its figures are looked at, of
the full-size drawing; when they are as near as the quality asks, the plan ends. What is left out is
what memory does not hold or what would end too late, by steps that were timed on this machine; a
method that has begun stops in time. A face that is taken as it lies in its photo goes on to F/W+ at
any quality where W+ does not hold it.

Of all that was tried the result is the one with the least sum of distances, weighed as in-domain
inversion weighs them: squared error, perceptual distance, and half the squared distance of persons.
So a rung that makes it worse costs time only.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import atan2, degrees, hypot, inf, isfinite, log
from typing import Any

import torch
from torch import Tensor

from tedi.descent import OnStep
from tedi.encoders.residual import Looker
from tedi.errors import TediError, UsageError
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.interfaces import Generator
from tedi.inversion import INVERTERS, Inversion
from tedi.inversion.encode import Encoder, preview_size
from tedi.inversion.fspace import Reader
from tedi.inversion.likeness import check_target, fit
from tedi.inversion.limits import Clock, Pace, Watch, free_memory
from tedi.inversion.optimize import InDomain
from tedi.inversion.place import find_place
from tedi.inversion.programs import (
    LOOKS,
    PROGRAMS,
    SPACE,
    TRIAL,
    Rung,
    for_any_place,
    with_looks,
)
from tedi.losses import Describe, Maps
from tedi.registry import unknown

LOOKS_COST = 2.0  # of looks, in times of the encoder and its figures, at most
TRIAL_COST = 4.0  # of steps that are timed, in times of a look at a full-size drawing, at most
MARGIN = 0.05  # share of the budget that is kept for a machine that becomes slower
TURN, SCALE, SHIFT = 10.0, 1.25, 0.15  # degrees, factor, of the half width: W+ holds a face so far


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a rung came to.

    Attributes:
        rung: with the steps that were planned.
        inversion: codes (1, L, C) and what draws them.
        options: of the method; None where it has none.
        steps: that led to the code.
        seconds: that the rung took.
        figures: "identity", a distance as it is told, not squared; "perceptual" and "pixel".
    """

    rung: Rung
    inversion: Inversion
    options: Any
    steps: int
    seconds: float
    figures: dict[str, float]

    @property
    def distance(self) -> float:
        """The sum that decides which of two is nearer."""
        weights, far = InDomain.defaults, self.figures
        person = weights.identity * far["identity"] ** 2
        return weights.pixel * far["pixel"] + weights.perceptual * far["perceptual"] + person

    def __str__(self) -> str:
        """Figures and time."""
        near = f"identity {self.figures['identity']:.2f}, "
        return f"{near}perceptual {self.figures['perceptual']:.2f} ({self.seconds:.1f} s)"


def held_by_w(place: Tensor) -> bool:
    """Whether a face at this place (1, 2, 3) lies nearly as the encoder knows them."""
    (along, across, right), (_, _, down) = place[0].tolist()
    turned = abs(degrees(atan2(across, along))) > TURN
    scaled = abs(log(hypot(along, across))) > log(SCALE)
    return not (turned or scaled or max(abs(right), abs(down)) > SHIFT)


class Planner:
    """Inverts a picture by as many methods as it takes.

    Args:
        generator: draws; it is not changed.
        encoder: pictures (N, 3, h, h) of a preview's size -> codes (N, L, C), in eval mode.
        maps: perceptual features, such as `AttributeModel.maps`.
        describe: identity network.
        quality: a name of `PROGRAMS`: "fast" is the encoder, with its looks; "good" the same person
            without doubt, drawn by the generator as it is; "best" as near as can be, by a generator
            of the face's own if need be.
        budget: seconds that it may take; None: no limit. The first rung is always taken.
        own: a generator of the face's own may be made.
        aligned: the face is known to lie as FFHQ's do; else "best" looks whether it does.
        as_found: the face lies as it is in its photo; any quality looks, and leaves W+ for it.
        dtype: of the networks while a code is sought, of the methods that know it.
        tell: told of each rung in a line.
        clock: seconds.
        memory: gigabytes that could be had, None where nobody knows.
        methods: name -> method.
        find: where a face lies, as `tedi.inversion.place.find_place` tells it.
        reader: reads places and, for `tedi.inversion.fspace`, base codes; None: places are looked
            for, which takes longer.
        looker: looks again, for `tedi.inversion.restyle`; None: it is left out.

    Raises:
        UsageError: an unknown quality, a budget that is no time, or a face both aligned and as it
            was found.
    """

    def __init__(
        self,
        generator: Generator,
        encoder: Encoder | None,
        *,
        maps: Maps,
        describe: Describe,
        quality: str = "best",
        budget: float | None = None,
        own: bool = True,
        aligned: bool = False,
        as_found: bool = False,
        dtype: str = "float32",
        tell: Callable[[str], None] | None = None,
        clock: Clock = time.monotonic,
        memory: Callable[[torch.device], float | None] = free_memory,
        methods: Mapping[str, Any] = INVERTERS,
        find: Callable[..., Tensor] = find_place,
        reader: Reader | None = None,
        looker: Looker | None = None,
    ) -> None:
        if quality not in PROGRAMS:
            raise unknown("quality", quality, PROGRAMS)
        if budget is not None and not (budget > 0 and isfinite(budget)):
            raise UsageError(f"budget: expected seconds above 0, got {budget}")
        if aligned and as_found:
            raise UsageError("aligned, as_found: a face lies in one way; leave out one of them")
        self.generator, self.encoder, self.maps, self.describe = generator, encoder, maps, describe
        self.quality, self.budget, self.own, self.dtype = quality, budget, own, dtype
        self.aligned, self.as_found = aligned, as_found
        self.find, self.reader, self.looker = find, reader, looker
        self.tell = tell or (lambda line: None)
        self.clock, self.memory, self.methods = clock, memory, methods

    def __call__(self, target: Tensor, on_step: OnStep | None = None) -> Inversion:
        """The code of one picture (1, 3, H, H) in [-1, 1], and what draws it.

        Args:
            target: aligned.
            on_step: told of every step of every method; if it returns True, the nearest of what
                was found until then is the result.

        Returns:
            What the chosen method gave. Its extras also hold "method", "options" and "plan": what
            was asked, "why" it ended there, and "rungs", with figures and seconds or why they were
            left out.

        Raises:
            UsageError: other shapes or values.
            TediError: the first rung fails.
        """
        check_target(target)
        if len(target) != 1:
            raise UsageError(f"target: expected one picture, got {len(target)}")
        return _Climb(self, target, on_step).go()


class _Climb:
    """One call of a planner.

    Attributes:
        best: the nearest so far.
        plain: the nearest that the generator draws as it is.
        told: of all rungs, for records.
        asked: whether `on_step` stopped it.
        short: whether time has left out a rung or steps of one.
    """

    def __init__(self, planner: Planner, target: Tensor, on_step: OnStep | None) -> None:
        self.planner, self.target, self.on_step = planner, target, on_step
        program = PROGRAMS[planner.quality]
        program = for_any_place(program) if planner.as_found else program
        self.program = with_looks(program) if planner.looker else program
        self.begun, self.pace = planner.clock(), Pace(inf)
        self.told: list[dict[str, Any]] = []
        self.asked = self.short = False
        self._line, self._aside = "", list[str]()
        self._place: Tensor | None = None  # of the face, once it was looked for
        self.best = self.plain = self._invert(self.program.rungs[0])
        self.pace = Pace(self.best.seconds)
        self._note(self.best)

    @property
    def left(self) -> float:
        """Seconds; infinity without a budget."""
        budget = self.planner.budget
        return inf if budget is None else budget - (self.planner.clock() - self.begun)

    @property
    def usable(self) -> float:
        """Those of them that may be planned with."""
        return inf if self.planner.budget is None else self.left - MARGIN * self.planner.budget

    def go(self) -> Inversion:
        """The other rungs, one by one, as long as it takes."""
        looks = tuple(rung for rung in self.program.rungs if rung is LOOKS)
        rungs = tuple(rung for rung in self.program.rungs[1:] if rung is not LOOKS)
        if rungs and self.planner.budget is not None:
            rungs = (TRIAL, *rungs)
        rungs = (*looks, *rungs)
        for last, rung in zip((None, *rungs), rungs, strict=False):
            # Steps that were only timed are no reason to end: the others follow as without a clock.
            why = "a step is timed" if last is TRIAL else self._missed()
            if self.asked or not why:
                break
            fitting = self._fitted(rung)
            if isinstance(fitting, str):
                self._leave(rung, fitting)
                if rung is TRIAL:
                    break
                continue
            self._say(f"{why}: going on with {fitting}{self._time_told()}")
            self._try(fitting)
        return self._result()

    def _fitted(self, rung: Rung) -> Rung | str:
        """The rung, with as many steps as memory and time hold; or why it is left out."""
        if rung.own and not self.planner.own:
            return "a generator of the face's own is not wanted"
        if rung.method == "fspace" and self.planner.aligned:
            return "the face is aligned, as W+ holds them"
        if self.best.rung.method == "fspace":
            return "it works in W+, which does not hold this face"
        free = self.planner.memory(self.planner.generator.w_avg.device)
        if free is not None and free < rung.memory:
            return f"it takes {self._gigabytes(rung.memory)}, and {free:.1f} GB are free"
        small = free is not None and rung.finish > 0 and free < rung.full_memory
        fitting = self._in_time(replace(rung, finish=0) if small else rung)
        if isinstance(fitting, str):
            return fitting
        if rung.method == "fspace" and self._upright():
            return "the face is upright, as W+ holds them"
        if small:
            needs = f"{self._gigabytes(rung.full_memory)}, and {free:.1f} GB are free"
            self._aside.append(f"{rung.method}: no steps at full size, they take {needs}")
        return fitting

    def _gigabytes(self, needed: float) -> str:
        """What is needed, and whether that was measured of this generator."""
        name = self.planner.generator.name
        guess = "" if name == MobileStyleGAN.name else f" (a guess for this {name})"
        return f"about {needed:g} GB of memory{guess}"

    def _missed(self) -> str:
        """What is amiss with the nearest so far; "" for nothing."""
        missed = self.program.missed(self.best.figures)
        if missed or self.asked or not self.planner.as_found or self.best.rung.method == "fspace":
            return missed
        if self._place is None and self._opening(SPACE) * self._expected(TRIAL)[0] > self.usable:
            self.short = True
            return "whether W+ holds a face that lies so is not known"
        return "" if self._upright() else "W+ does not hold a face that lies so"

    def _upright(self) -> bool:
        """Whether the face lies as the encoder knows them; looked for once."""
        if self._place is None:
            p = self.planner
            assert p.encoder is not None  # the first rung has used it
            target = fit(self.target, preview_size(p.generator))
            networks = {"encode": p.encoder, "draw": p.generator.preview, "maps": p.maps}
            self._place = p.find(target, **networks, reader=p.reader)
        return held_by_w(self._place)

    def _in_time(self, rung: Rung) -> Rung | str:
        left, pace = self.usable, self.pace
        if left == inf:
            return rung
        if rung in (LOOKS, TRIAL):
            least = (LOOKS_COST if rung is LOOKS else TRIAL_COST) * pace.closing
            self.short = least > left
            return self._too_long(least) if self.short else rung
        if pace.preview is None:
            return "no step could be timed"
        fixed = self._opening(rung) * pace.preview + 2 * pace.closing
        preview, full = self._expected(rung)
        steps = rung.steps * preview + rung.finish * full
        share = min(1.0, (left - fixed) / steps)
        self.short = self.short or share < 1
        fitting = replace(rung, steps=int(share * rung.steps), finish=int(share * rung.finish))
        if share < rung.least or fitting.steps < 1:
            return self._too_long(fixed + max(rung.least * steps, preview))
        return fitting

    def _opening(self, rung: Rung) -> float:
        """Time before the first step, in steps on previews."""
        told = self.planner.reader is not None or self._place is not None
        return rung.opening + (0 if told else rung.search)

    def _too_long(self, seconds: float) -> str:
        return f"it takes {seconds:.1f} s or more, and {max(self.left, 0):.1f} s are left"

    def _expected(self, rung: Rung) -> tuple[float, float]:
        """Seconds of a step on previews and at full size."""
        known = self.pace.closing if self.pace.preview is None else self.pace.preview
        return known * rung.pace[0], self.pace.full * rung.pace[1]

    def _try(self, rung: Rung) -> None:
        """Take a rung; one that fails is left out."""
        try:
            outcome = self._invert(rung, self.plain if rung.given else None)
        except (TediError, torch.OutOfMemoryError) as error:
            why = f"it failed: {' '.join(str(error).split())[:200]}"
            self.told.append({"method": rung.method, "left_out": why})
            self._line = f"{rung.method}: {why}"
            return
        if outcome.distance < self.best.distance:
            self.best = outcome
        if not rung.own and outcome.distance < self.plain.distance:
            self.plain = outcome
        self._note(outcome)

    def _invert(self, rung: Rung, start: Outcome | None = None) -> Outcome:
        p, begun = self.planner, self.planner.clock()
        kind = p.methods[rung.method]
        known: dict[str, Any] = {"maps": p.maps, "describe": p.describe}
        options = _options(kind, rung, p.dtype)
        if options is not None:
            known["options"] = options
        if getattr(kind, "reads_places", False):
            known["reader"] = p.reader
        if rung is LOOKS:
            known["looker"] = p.looker
        watch = Watch(
            p.clock,
            begun + self.usable,
            closing=self.pace.closing,
            steps=rung.steps,
            expected=self._expected(rung),
            on_step=self.on_step,
        )
        more = {"start": start.inversion.ws} if start else {}
        if rung.method == "fspace" and self._place is not None:
            more["place"] = self._place
        found = kind(p.generator, p.encoder, **known)(self.target, watch, **more)
        figures = {name: float(value[0]) for name, value in found.extras["figures"].items()}
        figures["identity"] **= 0.5
        self.asked = watch.asked
        if rung is not LOOKS:  # its looks are no steps
            self._learn(rung, watch)
        steps = found.extras.get("steps", 0) + (start.steps if start else 0)
        return Outcome(rung, found, options, steps, p.clock() - begun, figures)

    def _learn(self, rung: Rung, watch: Watch) -> None:
        """Steps that were timed are what the next ones are expected to take."""
        preview, full = watch.median(full=False), watch.median(full=True)
        self.pace.closing = watch.since or self.pace.closing
        if preview is not None:
            self.pace.preview = preview / rung.pace[0]
        if full is not None:
            self.pace.full = full / rung.pace[1]

    def _note(self, outcome: Outcome) -> None:
        self._line = f"{outcome.rung.method}: {outcome}"
        if outcome is not self.best:
            self._line += f", no nearer than {self.best.rung.method}"
        figures = {name: float(f"{value:.6g}") for name, value in outcome.figures.items()}
        told = {"method": outcome.rung.method, "steps": outcome.inversion.extras.get("steps", 0)}
        self.told.append({**told, "seconds": round(outcome.seconds, 3), "figures": figures})

    def _leave(self, rung: Rung, why: str) -> None:
        self._aside.append(f"{rung.method}: left out, {why}")
        self.told.append({"method": rung.method, "left_out": why})

    def _say(self, verdict: str) -> None:
        for line in (f"{self._line}; {verdict}", *self._aside):
            self.planner.tell(line)
        self._aside = []

    def _time_told(self) -> str:
        if self.planner.budget is None:
            return ""
        return f" ({max(self.left, 0):.0f} s of {self.planner.budget:g} s left)"

    def _result(self) -> Inversion:
        best, p = self.best, self.planner
        why = self._why()
        self._say(why)
        plan = {"quality": p.quality, "budget": p.budget, "why": why, "rungs": self.told}
        own = {"method": best.rung.method, "options": best.options, "steps": best.steps}
        extras = {**best.inversion.extras, **own, "plan": plan}
        return replace(best.inversion, extras=extras)

    def _why(self) -> str:
        """Why it ended, and what was chosen."""
        chosen = f"{self.best.rung.method} is chosen"
        missed = self._missed()
        if len(self.program.rungs) == 1:
            return f"{self.planner.quality} asks for no more"
        if not missed:
            return f"near enough for {self.planner.quality}: {chosen}"
        ends = {"it was stopped": self.asked, "time is up": self.short, "no method is left": True}
        return f"{missed}, and {next(end for end in ends if ends[end])}: {chosen}"


def _options(kind: Any, rung: Rung, dtype: str) -> Any:
    """Options of a method with the steps of a rung; None for one that has none."""
    if not hasattr(kind, "defaults"):
        return None
    options = replace(kind.defaults, steps=rung.steps, finish=rung.finish)
    return replace(options, dtype=dtype) if hasattr(options, "dtype") else options
