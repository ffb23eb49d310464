"""Prompts as people type them: tidied, or refused with the reason."""

import unicodedata

from tedi.errors import UsageError

MAX_CHARACTERS = 2000
STRENGTH = 1.0
"""Default strength of a prompt: 0 keeps the face as it is, 1 shows what is asked."""


def clean(prompt: str, *, any_script: bool = False) -> str:
    r"""The prompt with runs of blanks made one.

    >>> clean("  a woman\nwith bangs ")
    'a woman with bangs'

    Args:
        prompt: as typed.
        any_script: take other letters than Latin ones, for a backbone that reads them.

    Raises:
        UsageError: it is empty or longer than 2,000 characters, holds control characters, or is
            mostly not in Latin letters where those are asked for.
    """
    text = " ".join(unicodedata.normalize("NFC", prompt).split())
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"prompt: {len(text)} characters, at most {MAX_CHARACTERS}; shorten it")
    for char in text:
        if unicodedata.category(char) in ("Cc", "Cs"):
            raise UsageError(f"prompt: control character {char!r} in {_short(text)}; remove it")
    letters = [char for char in text if char.isalpha()]
    if not letters:
        raise UsageError(f"prompt: expected words, got {_short(text)}")
    latin = sum("LATIN" in unicodedata.name(char, "") for char in letters)
    if latin < 0.5 * len(letters) and not any_script:
        raise UsageError(f"prompt: {_short(text)} is not in Latin letters; write it in English")
    return text


def _short(text: str, limit: int = 40) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")
