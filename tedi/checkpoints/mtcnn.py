"""MTCNN's three networks, as facenet-pytorch publishes them."""

import pickle
from pathlib import Path

import torch
from torch import Tensor

from tedi.checkpoints.native import read
from tedi.errors import TediError
from tedi.faces.detect import Detector
from tedi.tensors import save_file

# What reading a file that is no pickle at all may end in.
_BROKEN = (LookupError, ValueError, TypeError, AttributeError)

# Layers behind the flattening (their maps are 3 px a side), and heads, by network.
_DENSE = {"rnet": "dense4", "onet": "dense5"}
_HEADS = {
    "pnet": {"conv4_1": "face", "conv4_2": "box"},
    "rnet": {"dense5_1": "face", "dense5_2": "box"},
    "onet": {"dense6_1": "face", "dense6_2": "box", "dense6_3": "marks"},
}


def convert_mtcnn(folder: Path, out: Path) -> None:
    """Write `tedi.faces.detect.Detector`'s state from pnet.pt, rnet.pt and onet.pt in `folder`.

    Raises:
        TediError: a file is missing or broken, or holds another network.
    """
    state: dict[str, Tensor] = {}
    try:
        for network in _HEADS:
            file = folder / f"{network}.pt"
            state |= _renamed(network, torch.load(file, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError, *_BROKEN) as error:
        raise TediError(f"{folder}: not MTCNN's state ({' '.join(str(error).split())})") from error
    wanted = {name: tensor.shape for name, tensor in Detector().state_dict().items()}
    if {name: tensor.shape for name, tensor in state.items()} != wanted:
        raise TediError(f"{folder}: its tensors are not those of MTCNN's three networks")
    save_file(state, out, metadata={"architecture": "mtcnn", "converted_from": "facenet-pytorch"})


def load_detector(path: Path, *, min_face: float = 40) -> Detector:
    """Frozen detector.

    Args:
        path: the safetensors file that `convert_mtcnn` wrote.
        min_face: pixels that a face must span.

    Raises:
        TediError: the file is broken, or keys are missing or left over.
    """
    detector = Detector(min_face=min_face)
    try:
        detector.load_state_dict(read(path)[0])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{path}: does not fit Detector: {reason}") from error
    return detector.eval().requires_grad_(False)


def _renamed(network: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        layer, _, part = name.partition(".")
        head = _HEADS[network].get(layer)
        if layer == _DENSE.get(network) and part == "weight":
            tensor = _by_channel(tensor)
        place = f"heads.{head}" if head else f"trunk.{layer}"
        renamed[f"{network}.{place}.{part}"] = tensor.contiguous()
    return renamed


def _by_channel(weight: Tensor) -> Tensor:
    """A dense layer for (channel, row, column) maps; the file's is for (column, row, channel)."""
    return weight.reshape(len(weight), 3, 3, -1).permute(0, 3, 2, 1).flatten(1)
