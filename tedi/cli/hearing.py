"""What is told of how prompts are read: one line a prompt."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tedi.encoders.text import TextEncoder


class Listener:
    """Says once a prompt, on stderr, what of it is not drawn.

    Of prompts of which nothing is understood it tells only with `anyway`: others are refused.
    """

    def __init__(self, encoder: "TextEncoder", *, anyway: bool) -> None:
        self.encoder, self.anyway = encoder, anyway
        self.prompt, self.unheard = "", list[str]()

    def __call__(self, prompt: str) -> list[str]:
        """Phrases of a prompt that are not drawn; a prompt just heard is not heard again."""
        from tqdm import tqdm

        from tedi.semantics.hearing import hear, quoted

        if prompt != self.prompt:
            heard = hear(self.encoder, prompt)
            self.prompt, self.unheard = prompt, heard.unheard
            if heard.unheard and (heard.says or heard.wishes or self.anyway):
                why = "no attribute of a face that the model knows"
                # tqdm's, which does not tear its bar
                tqdm.write(f"tedi: not drawn: {quoted(heard.unheard)} ({why})", file=sys.stderr)
        return self.unheard


def explain(encoder: "TextEncoder", prompts: Iterable[str], *, as_json: bool) -> None:
    """Print how each prompt is read."""
    from tedi.semantics.hearing import hear

    for prompt in prompts:
        heard = hear(encoder, prompt)
        plain = f'"{prompt}": {heard.describe()}'
        click.echo(json.dumps({"text": prompt, **asdict(heard)}) if as_json else plain)
