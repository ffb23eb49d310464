"""What a face is asked for, by TEXTs or by a latent mapper, and what of it is understood."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from tedi.cli.hearing import Listener, explain
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
    """

    texts: tuple[str, ...]
    method: str
    mapper: Path | None = None

    def listen(self, model: "Toolkit", *, anyway: bool) -> list[str]:
        """Phrases that are not drawn, told on stderr, too; a mapper is opened instead.

        Raises:
            UsageError: words do not know the W of the generator, or the mapper is of another.
            TediError: the mapper's file cannot be read, or holds none.
        """
        if self.mapper:
            model.mapper(self.method)
        if self.mapper or not self.texts:
            return []
        listen = Listener(_text_of(model), anyway=anyway)
        return [phrase for text in self.texts for phrase in listen(text)]

    def explain(self, model: "Toolkit", *, as_json: bool) -> None:
        """Print how each text is read, or what a mapper knows; raises what `listen` does."""
        if self.mapper:
            return self._explain_mapper(model.mapper(self.method).knows, as_json=as_json)
        if self.texts:
            explain(_text_of(model), self.texts, as_json=as_json)

    def _explain_mapper(self, knows: str, *, as_json: bool) -> None:
        [text] = self.texts
        told = {"text": text, "mapper": str(self.mapper), "knows": knows}
        trained = f", trained for {knows!r}" if knows else ""
        plain = f'"{text}": by the latent mapper {self.mapper}{trained}'
        click.echo(json.dumps(told) if as_json else plain)


def read_asked(texts: Sequence[str], method: str, mappers: Sequence[Path]) -> Asked:
    """What a command line asks for; nothing is loaded.

    Args:
        texts: TEXTs.
        method: --method.
        mappers: each --mapper.

    Raises:
        UsageError: a text that cannot be read; or a mapper with another method, with several texts
            or with another mapper.
        TediError: no such file.
    """
    asked = tuple(clean(text) for text in texts)
    if not mappers:
        return Asked(asked, method)
    from tedi.editing.mapper import method_of

    if is_given("method"):
        raise UsageError("--mapper: is instead of --method; leave one of them")
    if len(mappers) > 1:
        raise UsageError(f"--mapper: one edits at a time, and {len(mappers)} are given")
    if len(asked) > 1:
        raise UsageError(f"--mapper: knows one text, and {len(asked)} are given")
    [mapper] = mappers
    return Asked(asked or (clean(mapper.stem),), method_of(mapper), mapper)


def _text_of(model: "Toolkit") -> "TextEncoder":
    """The text encoder.

    Raises:
        UsageError: the W of the generator is not one that texts know.
    """
    if not model.reads_codes:
        from tedi.pipeline.foreign import unknown_w

        raise unknown_w("text", model.generator, "; pass --mapper FILE, which reads no words")
    return model.text
