"""Weight files of the TediGAN baseline."""

import json
from pathlib import Path

from tedi.checkpoints import native
from tedi.encoders.tedigan import TediGANText
from tedi.errors import TediError


def load_tedigan(path: Path) -> TediGANText:
    """Frozen text encoder of TediGAN's recipe, its sizes and vocabulary read off the file.

    Raises:
        TediError: the file is broken or another part's, or keys are missing or left over.
    """
    state, metadata = native.read(path)
    try:
        words: list[str] = json.loads(metadata["words"])
        channels = len(state["w_avg"])
        slots = len(state["head.bias"]) // channels
        embedding, hidden = state["embedding.weight"].shape[1], state["head.weight"].shape[1]
        encoder = TediGANText(
            words, slots=slots, channels=channels, embedding=embedding, hidden=hidden
        )
        encoder.load_state_dict(state)
    except KeyError as error:
        raise TediError(f"{path}: not a TediGAN text encoder; {error} is missing") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{path}: does not fit TediGANText: {reason}") from error
    return encoder.eval().requires_grad_(False)
