"""A latent mapper's edits: its network knows one text, and gives it to every face.

Records name it by path and hash, so that what is made again is the same: `mapper:SHA256:PATH`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tedi import zoo
from tedi.checkpoints import bundle
from tedi.editing import MAPPER
from tedi.encoders.mapper import LatentMapper
from tedi.errors import TediError, UsageError
from tedi.interfaces import Generator

DIGITS = 16  # of the hash that a record keeps
APART = 0.05  # of their length that two means of one W differ by at most


def method_of(path: Path) -> str:
    """The method of records for the mapper in a file.

    Raises:
        TediError: no such file.
    """
    if not path.is_file():
        raise TediError(f"{path}: no such file")
    return f"{MAPPER}{zoo.sha256(path)[:DIGITS]}:{path}"


def mapper_of(method: str, generator: Generator) -> "Mapped":
    """The mapper of a record; see `Mapped` for what it raises, too.

    Raises:
        TediError: its file is gone, or is another by now.
    """
    sha256, _, path = method.removeprefix(MAPPER).partition(":")
    if not path or method_of(Path(path)) != method:
        raise TediError(f"{path or method}: no longer the mapper that was used ({sha256[:8]})")
    return Mapped(Path(path), generator)


class Mapped:
    """The move of the mapper in a file; see `tedi.encoders.mapper`.

    StyleGAN2's slots of 1024 px and those of tedi's generator have the same sizes up to the 16th.

    Args:
        path: a file of `train/mapper.py`, or of StyleCLIP.
        generator: whose codes it moves.

    Attributes:
        path: the file.
        knows: the text that it was trained for; "" where its file does not tell.
        made_for: name of the generator that it was trained on; "" where its file does not tell.

    Raises:
        TediError: the file cannot be read, or holds no mapper of W+.
        UsageError: the mapper is of another W, as far as its file tells, or of more slots.
    """

    def __init__(self, path: Path, generator: Generator) -> None:
        contents = bundle.read(path)
        found = [part for part in contents.parts.values() if part.kind == "latent mapper"]
        if not found:
            kinds = ", ".join(part.kind for part in contents.parts.values()) or "no network"
            raise TediError(f"{path}: expected a latent mapper, holds {kinds}")
        self.path, self.knows = path, _text_of(found[0].facts)
        self.made_for = zoo.metadata(path).get("for", "") if contents.format == "tedi" else ""
        self.network = cast("LatentMapper", bundle.build(found[0])).to(generator.w_avg.device)
        width, slots = self.network.width, self.network.fine + 1
        if width != generator.width:
            own = f"{generator.name} has {generator.width}"
            raise UsageError(f"{path}: its mapper is of W of {width}; {own}")
        if slots > generator.slots:
            own = f"{generator.name} has {generator.slots}"
            raise UsageError(f"{path}: its mapper is of {slots} slots or more; {own}")
        if not _same(found[0].facts.get("w_avg"), generator.w_avg, path):
            own = f"this {generator.name} has another"
            whose = self.made_for or "another generator"
            raise UsageError(f"{path}: its mapper is of the W of {whose}; {own}")

    def __call__(self, ws: Tensor, *, strength: float) -> Tensor:
        """Codes (N, L, C), new; strength 0 keeps them, 1 is what the mapper was trained for."""
        moved: Tensor = self.network(ws)
        return ws + strength * (moved - ws)


def _same(told: object, w_avg: Tensor, path: Path) -> bool:
    """Whether the mean of W that a file tells, if it does, is a generator's.

    Raises:
        TediError: what it tells is no code.
    """
    if told is None:
        return True
    if not isinstance(told, list) or not all(isinstance(x, float) for x in told):
        raise TediError(f"{path}: w_avg: expected numbers, got {told!r:.40}")
    theirs, own = torch.tensor(told), w_avg.flatten().cpu()
    return len(theirs) == len(own) and bool(
        (theirs - own).norm() <= APART * (theirs.norm() + own.norm()) / 2
    )


def _text_of(facts: Mapping[str, Any]) -> str:
    """The text that a file says its mapper was trained for; "" for none."""
    options = facts.get("opts")
    told = options.get("description") if isinstance(options, dict) else facts.get("prompt")
    return str(told or "")
