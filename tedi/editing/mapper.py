"""A latent mapper's edits: its network knows one text, and gives it to every face.

Records name it by path and hash, so that what is made again is the same: `mapper:SHA256:PATH`.
"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from tedi import zoo
from tedi.checkpoints import bundle
from tedi.editing import MAPPER
from tedi.editing.text import Way
from tedi.encoders.text import Reading
from tedi.errors import TediError, UsageError
from tedi.interfaces import Generator

DIGITS = 16  # of the hash that a record keeps


def method_of(path: Path) -> str:
    """The method of records for the mapper in a file.

    Raises:
        TediError: no such file.
    """
    if not path.is_file():
        raise TediError(f"{path}: no such file")
    return f"{MAPPER}{zoo.sha256(path)[:DIGITS]}:{path}"


def way_of(method: str, generator: Generator) -> Way:
    """How the mapper of a record edits.

    Raises:
        TediError: its file is gone, or is another by now.
    """
    sha256, _, path = method.removeprefix(MAPPER).partition(":")
    if not path or method_of(Path(path)) != method:
        raise TediError(f"{path or method}: no longer the mapper that was used ({sha256[:8]})")
    mapped = Mapped(Path(path), generator)

    def way(
        ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        return mapped(ws, strength=strength)

    return way


class Mapped:
    """The move of the mapper in a file; see `tedi.encoders.mapper`.

    StyleGAN2's slots of 1024 px and those of tedi's generator have the same sizes up to the 16th.

    Args:
        path: a file of `train/mapper.py`, or of StyleCLIP.
        generator: whose codes it moves.

    Raises:
        TediError: the file cannot be read, or holds no mapper of W+.
        UsageError: the mapper is of another W.
    """

    def __init__(self, path: Path, generator: Generator) -> None:
        parts = bundle.read(path).parts
        found = [part for part in parts.values() if part.kind == "latent mapper"]
        if not found:
            kinds = ", ".join(part.kind for part in parts.values()) or "no network"
            raise TediError(f"{path}: expected a latent mapper, holds {kinds}")
        width = found[0].config["width"]
        if width != generator.width:
            own = f"{generator.name} has {generator.width}"
            raise UsageError(f"{path}: its mapper is of W of {width}; {own}")
        self.network = bundle.build(found[0]).to(generator.w_avg.device)

    def __call__(self, ws: Tensor, *, strength: float) -> Tensor:
        """Codes (N, L, C), new; strength 0 keeps them, 1 is what the mapper was trained for."""
        return ws + strength * (self.network(ws) - ws)
