"""EfficientNet-lite0 as it was released for PyTorch: the trunk that attributes are learned on."""

import pickle
from pathlib import Path

import torch

from tedi.encoders.attributes import AttributeModel, fold_batch_norms
from tedi.errors import TediError
from tedi.tensors import save_file

_DAMAGE = (
    *(OSError, EOFError, RuntimeError, LookupError, AttributeError),
    pickle.UnpicklingError,
)


def convert_lite0(file: Path, out: Path) -> None:
    """Write the trunk's state, batch norms folded, from the released .pth.

    Raises:
        TediError: the file is broken, or is another network.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        folded = fold_batch_norms(state)
    except _DAMAGE as error:
        raise TediError(f"{file}: not EfficientNet-lite0's state ({error})") from error
    wanted = {n: t.shape for n, t in AttributeModel().state_dict().items() if "head" not in n}
    if {n: t.shape for n, t in folded.items()} != wanted:
        raise TediError(f"{file}: its tensors are not those of EfficientNet-lite0")
    folded = {name: tensor.contiguous() for name, tensor in folded.items()}
    save_file(folded, out, metadata={"architecture": "efficientnet-lite0", "data": "ImageNet"})
