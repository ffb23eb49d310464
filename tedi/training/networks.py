"""The generator that tasks learn from, tedi's own or that of a file, and where networks lie."""

from pathlib import Path

import torch
from torch import nn

from tedi import zoo
from tedi.checkpoints import bundle, native
from tedi.interfaces import Generator

OWN = ("mobilestylegan-ffhq", "mobilestylegan-ffhq-preview")


def open_generator(device: torch.device, file: str = "") -> Generator:
    """A generator, frozen, on a device; tedi's own is fetched if need be.

    Args:
        device: for it to lie on.
        file: that holds one, of any format that `tedi weights inspect` knows; "" for tedi's own.

    Raises:
        TediError: the file cannot be read, or holds none.
    """
    if file:
        return bundle.open_generator(Path(file)).to(device)
    return native.load_generator([zoo.pull(name) for name in OWN]).to(device)


def device_of(network: nn.Module) -> torch.device:
    """Where a network lies."""
    return next(network.parameters()).device
