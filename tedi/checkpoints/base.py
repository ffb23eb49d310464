"""What the project trained to read base codes and places of faces."""

from pathlib import Path

from tedi.checkpoints import native
from tedi.encoders.base import BaseReader
from tedi.errors import TediError

SIZES = {4: 32, 3: 16, 2: 8}  # maps that the decoder adds up -> pixels of the base code


def load_base_reader(path: Path) -> BaseReader:
    """Frozen reader of base codes, its size read off the file.

    Args:
        path: a file of `train/base.py`.

    Raises:
        TediError: the file is broken or of something else, or keys are missing or left over.
    """
    state, metadata = native.read(path)
    if (architecture := metadata.get("architecture")) != "base":
        raise TediError(f"{path}: not a base-code encoder, but {architecture!r}")
    merges = {name.split(".")[1] for name in state if name.startswith("merges.")}
    try:
        width, hidden = state["head.weight"].shape[:2]
        reader = BaseReader(base=SIZES[len(merges)], width=width, hidden=hidden)
        reader.load_state_dict(state)
    except KeyError as error:
        raise TediError(f"{path}: does not fit BaseReader: {error} is missing") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{path}: does not fit BaseReader: {reason}") from error
    return reader.eval().requires_grad_(False)
