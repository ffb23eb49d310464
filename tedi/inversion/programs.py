"""Programs of plans: what each quality asks for, and the methods on the way to it.

The bounds were chosen on photos that the networks were trained with. Persons are the same below a
distance of 0.6; 0.5 leaves a sixth of it, and 0.9 is a perceptual distance at which features are
clearly those of the photo. Of 41 the encoder kept 9 below the one, 8 below the other and 1 below
both; 36 in-domain steps brought two to (.18, .62) and (.21, .58). "best" asks for what only
a generator of the face's own comes to: in-domain codes stay at .5, tuned to the face it draws .35.

Whether W+ holds a face these distances do not tell: one that was turned by 20 degrees came to .60
after 80 steps, an upright one with a hat to .83. So the face is looked for, or its place is read.
Of four upright ones the search took two for turned by up to 9 degrees or .9 as large, and the same
four, turned by 20, for turned by 11 to 21; where W+ is left lies between. Of 48, read, all upright
ones were held, none of those turned by 20 degrees or .7 as large, one of those shifted by .2 of the
width, and 44 of those 1.4 times as large. `for_any_place` has F/W+ at every quality for such faces.

Where an encoder looks again, `with_looks` has two looks after the first code, before any step is
timed: for a third of a second they bring most persons below 0.5, which "fast" then asks for, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf


@dataclass(frozen=True)
class Rung:
    """A method of a program, and what it needs, roughly.

    Memory is of the shipped generator on a CPU, beyond what is loaded, and for others told as a
    guess; times are in steps of in-domain inversion, which are measured.

    Attributes:
        method: a name of `tedi.inversion.INVERTERS`.
        steps: on previews.
        finish: steps at full size.
        given: it starts at the nearest code of the generator as it is.
        own: it changes the generator.
        memory: gigabytes with steps on previews only.
        full_memory: gigabytes with steps at full size.
        opening: time before the first step, in steps on previews.
        search: time for it besides, unless a reader tells where the face lies.
        pace: times of a step on previews and at full size.
        least: share of its steps that must fit into the time, or it is not begun.
    """

    method: str
    steps: int = 0
    finish: int = 0
    given: bool = True
    own: bool = False
    memory: float = 0.5
    full_memory: float = 1.5
    opening: float = 0.0
    search: float = 0.0
    pace: tuple[float, float] = (1.0, 1.0)
    least: float = 0.0

    def __str__(self) -> str:
        """As lines name it."""
        parts = " + ".join(str(n) for n in (self.steps, self.finish) if n)
        one = "look" if self.method == "restyle" else "step"
        many = one if parts == "1" else f"{one}s"
        return f"{parts} {many} of {self.method}" if parts else self.method


@dataclass(frozen=True)
class Program:
    """What a quality asks for, and the rungs to it.

    Attributes:
        identity: distance of persons, 0.6 and more for two of them.
        perceptual: distance of features, 0 to 4.
        rungs: the first one is always taken.
    """

    identity: float
    perceptual: float
    rungs: tuple[Rung, ...]

    def missed(self, figures: Mapping[str, float]) -> str:
        """What is not near enough; "" for nothing."""
        bounds = {"identity": self.identity, "perceptual": self.perceptual}
        far = [f"{n} above {bound:g}" for n, bound in bounds.items() if figures[n] > bound]
        return " and ".join(far)


ENCODER = Rung("encoder", given=False)
LOOKS = Rung("restyle", 2, given=False)
TRIAL = Rung("optimize", 3)
"""Timed, before the steps of others are counted by the time that is left."""
SPACE = Rung(
    "fspace", 40, 4, given=False, own=True, opening=4.0, search=16.0, pace=(0.7, 1.0), least=0.5
)
TUNING = Rung("pti", 60, 6, own=True, opening=6.0, pace=(1.3, 1.5), least=0.5)
PROGRAMS = {
    "fast": Program(inf, inf, (ENCODER,)),
    "good": Program(0.5, 0.9, (ENCODER, Rung("optimize", 30, 6), Rung("optimize", 30, 14))),
    "best": Program(0.3, 0.4, (ENCODER, SPACE, Rung("optimize", 60, 20), TUNING)),
}
"""What `--quality` chooses from."""


def for_any_place(program: Program) -> Program:
    """The program with F/W+ after the encoder, for faces that W+ may not hold."""
    first, *others = program.rungs
    return replace(program, rungs=(first, SPACE, *(rung for rung in others if rung is not SPACE)))


def with_looks(program: Program) -> Program:
    """The program with looks after the encoder, for an encoder that was taught to look again."""
    first, *others = program.rungs
    identity = min(program.identity, PROGRAMS["good"].identity)
    return replace(program, identity=identity, rungs=(first, LOOKS, *others))
