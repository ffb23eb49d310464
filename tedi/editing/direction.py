"""Directions as edits: one that is shipped, by name, or one of a file, moves any face's code.

Records name them by hash, so that what is made again is the same: `direction:SHA256:NAMED`, where
NAMED is a shipped name, FILE, or FILE:NAME. A direction of S moves channels through codes of W+,
as near as they come; see `tedi.semantics.channels`.
"""

from pathlib import Path

import torch
from torch import Tensor

from tedi import control, zoo
from tedi.checkpoints import directions as files
from tedi.editing import DIRECTION
from tedi.editing.mapper import DIGITS
from tedi.errors import TediError, UsageError
from tedi.interfaces import Generator, z_width
from tedi.latents import Direction
from tedi.prompts import clean
from tedi.registry import unknown
from tedi.semantics.channels import StyleMoves
from tedi.semantics.directions import for_generator

SHIPPED = "directions-ffhq"
SAMPLES = 5000  # codes that tell the spread of W
LOST = 0.99  # missed share of a direction, above which it is none: StyleGAN3's input is such
RIDGE = 0.001  # ε of `StyleMoves`: few channels, that are to move as they are told


# --- finding -------------------------------------------------------------------------------------


def find(named: str) -> Direction:
    """The direction of a shipped name, FILE, or FILE:NAME.

    Raises:
        UsageError: no such name, or a file that holds several.
        TediError: the file cannot be read.
    """
    path, part = file_of(named)
    if path is None:
        known = shipped()
        if named not in known:
            raise unknown("direction", named, known)
        return known[named]
    found = files.load(path)
    if part and part not in found:
        raise unknown("direction", part, found)
    if not part and len(found) > 1:
        raise UsageError(f"{path}: holds {len(found)} directions; name one: {path}:{min(found)}")
    return found[part or min(found)]


def file_of(named: str) -> tuple[Path | None, str]:
    """File and part of FILE or FILE:NAME; no file for a plain name."""
    head, colon, part = named.rpartition(":")
    if not Path(named).is_file() and colon and Path(head).is_file():
        return Path(head), part
    if Path(named).is_file() or Path(named).suffix or Path(named).name != named:
        return Path(named), ""
    return None, ""


def shipped() -> dict[str, Direction]:
    """Directions of W that come with tedi, by name."""
    return files.load(zoo.path(SHIPPED))


# --- records -------------------------------------------------------------------------------------


def step_of(named: str) -> tuple[str, str]:
    """What records call a direction, and its method.

    Raises:
        UsageError: see `find`.
        TediError: see `find`.
    """
    return clean(find(named).name), _method_of(named)


def _method_of(named: str) -> str:
    path = file_of(named)[0] or zoo.path(SHIPPED)
    if not path.is_file():
        raise TediError(f"{path}: no such file")
    return f"{DIRECTION}{zoo.sha256(path)[:DIGITS]}:{named}"


def named_by(method: str) -> str:
    """The NAMED of a record's method.

    Raises:
        TediError: its file is gone, or is another by now.
    """
    sha256, _, named = method.removeprefix(DIRECTION).partition(":")
    if not named or _method_of(named) != method:
        raise TediError(f"{named or method}: no longer the direction that was used ({sha256[:8]})")
    return named


# --- moving --------------------------------------------------------------------------------------


class Along:
    """The move along a direction.

    Args:
        direction: of W, W+ or S.
        generator: whose codes it moves.

    Attributes:
        direction: on this generator's slots.
        missed: share of a direction of S that codes of W+ do not make, 0 to 1; 0 of others.

    Raises:
        UsageError: a direction of other slots, width or channels; or one of S, of channels that
            codes do not move, or where each slot is mapped apart.
    """

    @torch.no_grad()
    def __init__(self, direction: Direction, generator: Generator) -> None:
        self.direction = for_generator(direction, generator)
        self.missed = 0.0
        if direction.space == "s":
            moves = StyleMoves(generator, _color(generator), ridge=RIDGE)
            self._move = moves.of(direction)
            self.missed = self._share_missed(generator, moves.std.clamp_min(1e-12))
            if self.missed > LOST:
                raise UsageError(f"{direction.name}: moves channels that codes of W+ do not move")
        else:
            still = torch.zeros(1, generator.slots, generator.width).to(generator.w_avg)
            self._move = self.direction(still, 1.0)[0]

    def _share_missed(self, generator: Generator, std: Tensor) -> float:
        """What the styles of the mean face lack of the move, in units of each channel's spread.

        They are asked themselves: a StyleGAN3's input is not linear in codes, as `StyleMoves` is.
        """
        ws = generator.w_avg.expand(1, generator.slots, -1)
        before, after = (
            torch.cat(list(generator.styles(codes).values()), dim=1)[0]
            for codes in (ws, ws + self._move)
        )
        wanted = self.direction.vector.to(std)
        return float(((after - before - wanted) / std).norm() / (wanted / std).norm())

    def __call__(self, ws: Tensor, *, strength: float) -> Tensor:
        """Codes (N, L, C), new.

        Args:
            ws: (N, L, C).
            strength: displacement in W along the unit vector, or in S; 0 keeps the codes.
        """
        return ws + strength * self._move.to(ws)


@torch.no_grad()
def _color(generator: Generator) -> Tensor:
    """E Λ^(1/2) (C, C), the spread of a generator's W."""
    w = generator.mapping(control.noise(range(SAMPLES), z_width(generator)).to(generator.w_avg))
    if w.ndim != 2:
        raise UsageError(
            f"{generator.name}: maps each slot apart; a direction of S needs a generator of one W"
        )
    values, axes = torch.linalg.eigh(torch.cov(w.T.double()))
    return (axes * values.clamp_min(0).sqrt()).to(generator.w_avg)
