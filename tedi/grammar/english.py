"""What English asks of a text: lists, articles, agreement."""

import re
from collections.abc import Sequence

from tedi.grammar import words

FLOWS = re.compile(
    r"(in|with|without|w/o|against|before|on|at|under|aged|outdoors|indoors|from|\w+ing)\b"
)
VOWELS = re.compile(r"\b([Aa])n? (?=([\w']+))")
SILENT = re.compile(r"(?i)(?!one|uni|use|eu)[aeiou]|hour|honest|8|11\b|18\b")


def enumerate_words(texts: Sequence[str]) -> str:
    """A list in words.

    >>> enumerate_words(["long hair", "a hat", "glasses"])
    'long hair, a hat and glasses'
    """
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def flows(text: str) -> bool:
    """Whether a group can follow a noun without a comma."""
    return FLOWS.match(text) is not None


def plural(verb_phrase: str) -> str:
    """A finite verb phrase for "they".

    >>> plural("looks left"), plural("has no beard")
    ('look left', 'have no beard')
    """
    verb, space, rest = verb_phrase.partition(" ")
    return words.PLURALS.get(verb, verb.removesuffix("s")) + space + rest


def shorten(match: re.Match[str]) -> str:
    """The pronoun with its verb drawn together."""
    return f"{match[1]}'s" if match[1] else f"{match[2]}'re"


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]


def articles(text: str) -> str:
    """The text with a and an put right.

    >>> articles("a old man with an beard, a 8-year-old and an hour")
    'an old man with a beard, an 8-year-old and an hour'
    """
    return VOWELS.sub(lambda m: m[1] + ("n " if SILENT.match(m[2]) else " "), text)
