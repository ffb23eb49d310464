"""Formats of weight files, found by what is in them; a new one is one module and one line here."""

from typing import TYPE_CHECKING, Any, Protocol

from tedi.errors import TediError
from tedi.registry import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tedi.checkpoints.bundle import Bundle, Contents
    from tedi.checkpoints.raw import Raw

FORMATS = Table(
    "format of weights",
    {
        "tedi": "tedi.checkpoints.formats.own:Tedi",
        "nvidia": "tedi.checkpoints.formats.nvidia:Nvidia",
        "nvidia-tensorflow": "tedi.checkpoints.formats.tensorflow:TensorFlow",
        "rosinality": "tedi.checkpoints.formats.rosinality:Rosinality",
        "genforce": "tedi.checkpoints.formats.genforce:Genforce",
        "idinvert": "tedi.checkpoints.formats.idinvert:Idinvert",
        "psp": "tedi.checkpoints.formats.psp:Psp",
        "styleclip": "tedi.checkpoints.formats.psp:StyleClip",
        "bdinvert": "tedi.checkpoints.formats.small:BDInvert",
        "latent-discriminator": "tedi.checkpoints.formats.small:LatentDiscriminator",
        "pca": "tedi.checkpoints.formats.small:Pca",
        "directions": "tedi.checkpoints.formats.small:Directions",
    },
)
"""In the order they are tried; no file fits two."""

LAYOUTS = Table(
    "layout", {name: FORMATS.entries[name] for name in ("rosinality", "genforce", "nvidia")}
)
"""Formats of others that bundles can be laid out in, as torch files; ours is safetensors."""


class Format(Protocol):
    """How one family of files is told apart and read."""

    name: str

    def detect(self, raw: "Raw") -> bool:
        """Whether a file is of this family, by its keys and shapes alone."""

    def convert(self, raw: "Raw") -> "Contents":
        """What a file that was detected holds.

        Raises:
            TediError: a network's keys do not fit; the message names the first.
        """


class Layout(Format, Protocol):
    """A format that can be written too."""

    def fitting(self, parts: "Mapping[str, Bundle]") -> "dict[str, Bundle]":
        """Those of the parts that have a place in it, by role."""

    def lay_out(self, parts: "Mapping[str, Bundle]") -> dict[str, Any]:
        """What a torch file of this format holds, of complete bundles that fit, by role.

        Raises:
            TediError: a network has keys that this layout has no place for.
        """


def recognise(raw: "Raw") -> Format | None:
    """The format of a file, or None."""
    for name in FORMATS:
        known: Format = FORMATS[name]()
        if known.detect(raw):
            return known
    return None


def convert(raw: "Raw") -> "Contents":
    """What a file holds.

    Raises:
        TediError: of no known format, or a network does not fit.
    """
    known = recognise(raw)
    if known is None:
        raise TediError(
            f"{raw.path}: of no known format; see what it holds with: tedi weights inspect"
        )
    try:
        return known.convert(raw)
    except TediError as error:
        if str(raw.path) in str(error):
            raise
        raise TediError(f"{raw.path}: {error}") from error
