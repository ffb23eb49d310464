"""The shipped encoder that looks again, over the visual encoder that it belongs to."""

from pathlib import Path

from tedi.checkpoints import native
from tedi.encoders.residual import ResidualEncoder
from tedi.encoders.visual import VisualEncoder
from tedi.errors import TediError


def load_residual_encoder(path: Path, first: VisualEncoder) -> ResidualEncoder:
    """Frozen encoder of moves, where the visual encoder lies.

    Args:
        path: a file of `train/restyle.py`.
        first: the visual encoder that it was trained beside; its `describe` is used.

    Raises:
        TediError: the file is broken or of something else, or keys are missing or left over.
    """
    state, metadata = native.read(path)
    if (architecture := metadata.get("architecture")) != "residual":
        raise TediError(f"{path}: not an encoder that looks again, but {architecture!r}")
    encoder = ResidualEncoder(first)
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{path}: does not fit ResidualEncoder: {reason}") from error
    return encoder.to(first.w_avg.device).eval().requires_grad_(False)
