"""Encoders that look again, of `train/restyle.py`, over the visual encoder they were trained by."""

from pathlib import Path

from tedi import zoo
from tedi.checkpoints import native
from tedi.encoders.residual import ResidualEncoder
from tedi.encoders.visual import VisualEncoder
from tedi.errors import TediError

ARCHITECTURE = "residual"


def holds_residual(path: Path) -> bool:
    """Whether a file is one of `train/restyle.py` for the embedded generator."""
    try:
        return zoo.metadata(path).get("architecture") == ARCHITECTURE
    except TediError:
        return False  # no safetensors file, and none of these


def load_residual_encoder(
    path: Path, first: VisualEncoder, *, sha256: str | None = None
) -> ResidualEncoder:
    """Frozen encoder of moves, where the visual encoder lies.

    Args:
        path: a file of `train/restyle.py`.
        first: the visual encoder that it was trained beside; its `describe` is used.
        sha256: of the visual encoder's file, which the file names; None: it is not compared.

    Raises:
        TediError: the file is broken or of something else, keys are missing or left over, or it
            was trained beside another visual encoder.
    """
    state, metadata = native.read(path)
    if (architecture := metadata.get("architecture")) != ARCHITECTURE:
        raise TediError(f"{path}: not an encoder that looks again, but {architecture!r}")
    trained_by = metadata.get("first", "")
    if sha256 is not None and trained_by != sha256:
        here = f"{sha256[:8]}, the file names {trained_by[:8] or 'none'}"
        raise TediError(f"{path}: trained beside another visual encoder; here {here}")
    looks = metadata.get("looks", "")
    if not looks.isdecimal():
        raise TediError(f"{path}: looks: expected a number, got {looks!r}")
    encoder = ResidualEncoder(first, steps=int(looks))
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{path}: does not fit ResidualEncoder: {reason}") from error
    return encoder.to(first.w_avg.device).eval().requires_grad_(False)
