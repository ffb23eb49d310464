"""What a face is asked for, by TEXTs, a mapper or directions, and what of it is understood."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
from click.core import ParameterSource

from tedi.cli.faces import Step
from tedi.cli.hearing import Listener, explain
from tedi.editing import FARTHEST
from tedi.errors import UsageError
from tedi.prompts import clean

if TYPE_CHECKING:
    from tedi.encoders.text import TextEncoder
    from tedi.pipeline import Toolkit

mapper_option = click.option(
    "--mapper",
    "mappers",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Edit by a latent mapper instead: a file of train/mapper.py or of StyleCLIP, which knows "
    "one text; TEXT is what records call it, and may be left out.",
)


class Along(NamedTuple):
    """A direction as the command line names it, and how far to move."""

    named: str
    strength: float


class AlongType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """`smile=2`, `FILE=-1.5` or `FILE:NAME=3`.

    >>> AlongType().convert("red.safetensors:hair_color=red=2", None, None)
    Along(named='red.safetensors:hair_color=red', strength=2.0)
    """

    name = "NAME|FILE[:NAME]=STRENGTH"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Along:
        """The direction, which is not looked for yet, and its strength."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        named, _, number = value.rpartition("=")
        try:
            strength = float(number)
        except ValueError:
            strength = float("nan")
        if not named or not abs(strength) <= FARTHEST:
            expected = f"NAME=STRENGTH such as smile=2, up to {FARTHEST:g} either way"
            self.fail(f"expected {expected}, got {value[:60]!r}", param, ctx)
        return Along(named, strength)


direction_option = click.option(
    "--direction",
    "directions",
    type=AlongType(),
    multiple=True,
    help="Move along a direction, after any TEXT: a name of tedi directions list, or a file of "
    "tedi directions fit, e4e, InterFaceGAN, idinvert or GANSpace. STRENGTH is the displacement "
    "along the unit vector in W or S, as tedi directions show counts, negative too; channels "
    "of S move as far as codes of W+ do it (--dry-run says how far). May be repeated.",
)


def is_given(name: str) -> bool:
    """Whether an option of the running command is given, not left as it is."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


@dataclass(frozen=True)
class Asked:
    """What is asked of a face. Only what is asked in words needs the text encoder.

    Attributes:
        texts: each cleaned; of a mapper, what records call it.
        method: how they change codes: a name of `tedi.editing.EDITS`, or of a mapper, see
            `tedi.editing.mapper.method_of`.
        mapper: a latent mapper's file; None for words.
        directions: steps along directions, after the texts.
    """

    texts: tuple[str, ...]
    method: str
    mapper: Path | None = None
    directions: tuple[Step, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """What records call each step."""
        return (*self.texts, *(step.text for step in self.directions))

    def listen(self, model: "Toolkit", *, anyway: bool) -> list[str]:
        """Phrases that are not drawn, told on stderr, too; mappers and directions are opened.

        Raises:
            UsageError: words do not know the W of the generator, or the mapper or a direction is
                of another.
            TediError: a file cannot be read, or holds no such thing.
        """
        for step in self.directions:
            model.direction(step.method)
        if self.mapper:
            model.mapper(self.method)
        if self.mapper or not self.texts:
            return []
        listen = Listener(_text_of(model), anyway=anyway)
        return [phrase for text in self.texts for phrase in listen(text)]

    def explain(self, model: "Toolkit", *, as_json: bool) -> None:
        """Print how each step is read; raises what `listen` does."""
        if self.mapper:
            self._explain_mapper(model.mapper(self.method).knows, as_json=as_json)
        elif self.texts:
            explain(_text_of(model), self.texts, as_json=as_json)
        for step in self.directions:
            _explain_direction(model, step, as_json=as_json)

    def _explain_mapper(self, knows: str, *, as_json: bool) -> None:
        [text] = self.texts
        told = {"text": text, "mapper": str(self.mapper), "knows": knows}
        trained = f", trained for {knows!r}" if knows else ""
        plain = f'"{text}": by the latent mapper {self.mapper}{trained}'
        click.echo(json.dumps(told) if as_json else plain)


def _explain_direction(model: "Toolkit", step: Step, *, as_json: bool) -> None:
    """Print what a step along a direction is."""
    along = model.direction(step.method)
    std, space = along.direction.std, along.direction.space.upper()
    told = {
        "direction": step.text,
        "space": along.direction.space,
        "strength": step.strength,
        "std": std,
        "missed": round(along.missed, 3),
    }
    spread = f", {step.strength / std:.3g} standard deviations" if std else ""
    missed = f"; codes leave {100 * along.missed:.0f} % of it out" if along.missed else ""
    plain = f'"{step.text}": by {step.strength:g} along a direction of {space}{spread}{missed}'
    click.echo(json.dumps(told) if as_json else plain)


def read_asked(
    texts: Sequence[str],
    method: str,
    mappers: Sequence[Path],
    directions: Sequence[Along] = (),
) -> Asked:
    """What a command line asks for; nothing is loaded.

    Args:
        texts: TEXTs.
        method: --method.
        mappers: each --mapper.
        directions: each --direction.

    Raises:
        UsageError: a text that cannot be read; a mapper with another method, with several texts
            or with another mapper; a direction that there is not, or a strength of texts beside
            directions alone.
        TediError: no such file, or no direction in it.
    """
    asked = tuple(clean(text) for text in texts)
    if directions and not asked and not mappers and is_given("strength"):
        raise UsageError("--strength: is of TEXT; a direction has its own, as in smile=2")
    steps = _steps_along(directions) if directions else ()
    if not mappers:
        return Asked(asked, method, directions=steps)
    from tedi.editing.mapper import method_of

    if is_given("method"):
        raise UsageError("--mapper: is instead of --method; leave one of them")
    if len(mappers) > 1:
        raise UsageError(f"--mapper: one edits at a time, and {len(mappers)} are given")
    if len(asked) > 1:
        raise UsageError(f"--mapper: knows one text, and {len(asked)} are given")
    [mapper] = mappers
    return Asked(asked or (clean(mapper.stem),), method_of(mapper), mapper, steps)


def _steps_along(directions: Sequence[Along]) -> tuple[Step, ...]:
    from tedi.editing.direction import step_of

    named = [(step_of(along.named), along.strength) for along in directions]
    return tuple(Step(text, strength, method) for (text, method), strength in named)


def _text_of(model: "Toolkit") -> "TextEncoder":
    """The text encoder.

    Raises:
        UsageError: the W of the generator is not one that texts know.
    """
    if not model.reads_codes:
        from tedi.pipeline.foreign import unknown_w

        raise unknown_w("text", model.generator, "; pass --mapper FILE, which reads no words")
    return model.text
