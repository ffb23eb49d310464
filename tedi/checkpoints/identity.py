"""Identity networks of others: face-api's TF.js weights, ArcFace's state as pSp uses it."""

import json
import math
import pickle
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from tedi.checkpoints import native
from tedi.encoders import IDENTITIES
from tedi.encoders.identity import BLOCKS, FaceRecognition
from tedi.errors import TediError
from tedi.tensors import save_file

MODEL = "face_recognition_model"


# A key that only this network's state has.
MARKS = {"arcface": "input_layer.0.weight", "face-api": "blocks.0.conv1.weight"}


class Identity(Protocol):
    """A network of `tedi.encoders.IDENTITIES`, frozen."""

    size: int
    same: float

    def __call__(self, image: Tensor) -> Tensor:
        """Descriptors (N, D) of FFHQ-aligned pictures (N, 3, S, S) in [-1, 1]."""

    def to(self, device: torch.device) -> "Identity":
        """The network itself, its tensors on another device."""


def load_identity(path: Path, kind: str | None = None) -> Identity:
    """Frozen identity network of a safetensors or torch file; nothing in it is run.

    Args:
        path: `zoo.pull("face-recognition")`, or ArcFace's model_ir_se50.pth.
        kind: of `IDENTITIES`; None tells it by the keys of the file.

    Raises:
        UsageError: no such kind.
        TediError: the file is broken or another network's, or keys are missing or left over.
    """
    state = _state(path)
    found = [name for name, key in MARKS.items() if key in state]
    if kind is None and not found:
        raise TediError(f"{path}: expected an identity network ({', '.join(MARKS)}), found neither")
    network: nn.Module = IDENTITIES[kind or found[0]]()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{path}: does not fit {type(network).__name__}: {reason}") from error
    return cast("Identity", network.eval().requires_grad_(False))


def _state(path: Path) -> dict[str, Tensor]:
    if path.suffix.lower() == ".safetensors":
        return native.read(path)[0]
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TediError(f"{path}: not a readable torch file ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise TediError(f"{path}: expected a state dict, names to tensors")
    return state


def read_tfjs(manifest: Path) -> dict[str, Tensor]:
    """Float32 tensors of a TF.js model in one file, where 8-bit ones mean byte x scale + min.

    Raises:
        TediError: a file is missing, or what lies in it is not what the manifest says.
    """
    try:
        (group,) = json.loads(manifest.read_text(encoding="utf-8"))
        (name,) = group["paths"]
        data = (manifest.parent / name).read_bytes()
        sizes = [_bytes(entry) for entry in group["weights"]]
        if sum(sizes) != len(data):
            raise ValueError(f"{name} has {len(data)} bytes, not {sum(sizes)}")
        starts = accumulate(sizes, initial=0)
        return {
            entry["name"]: _tensor(entry, data[start : start + size])
            for entry, start, size in zip(group["weights"], starts, sizes, strict=False)
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TediError(f"{manifest}: not a readable TF.js model ({error})") from error


def _bytes(entry: dict[str, Any]) -> int:
    return math.prod(entry["shape"]) * (1 if "quantization" in entry else 4)


def _tensor(entry: dict[str, Any], data: bytes) -> Tensor:
    coding = entry.get("quantization", {"dtype": "float32"})
    if coding["dtype"] == "uint8":
        values = np.frombuffer(data, np.uint8).astype(np.float32)
        values = values * np.float32(coding["scale"]) + np.float32(coding["min"])
    elif (coding["dtype"], entry["dtype"]) == ("float32", "float32"):
        values = np.frombuffer(data, "<f4").astype(np.float32)
    else:
        raise ValueError(f"{entry['name']} is neither of 8 bits nor float32")
    return torch.from_numpy(values.reshape(entry["shape"]))


def convert_face_api(folder: Path, out: Path) -> None:
    """Write `FaceRecognition`'s state from face-api's `model` folder, scales folded.

    Raises:
        TediError: the model is broken, or is another network.
    """
    tensors = read_tfjs(folder / f"{MODEL}-weights_manifest.json")
    try:
        state = _folded(tensors)
        FaceRecognition().load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{folder}: not face-api's recognition network ({reason})") from error
    metadata = {"architecture": "face-recognition", "converted_from": "TF.js, 8 bit"}
    save_file(state, out, metadata=metadata)


def _folded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    state = {"head.weight": tensors["fc"].T.contiguous()}
    convolutions = {"stem": "conv32_down"}
    for number, name in enumerate(_block_names()):
        for part in ("conv1", "conv2"):
            convolutions[f"blocks.{number}.{part}"] = f"{name}/{part}"
    for new, old in convolutions.items():
        scale, shift = tensors[f"{old}/scale/weights"], tensors[f"{old}/scale/biases"]
        kernel = tensors[f"{old}/conv/filters"].permute(3, 2, 0, 1)  # height, width, in, out
        state[f"{new}.weight"] = (kernel * scale.view(-1, 1, 1, 1)).contiguous()
        state[f"{new}.bias"] = tensors[f"{old}/conv/bias"] * scale + shift
    return state


def _block_names() -> list[str]:
    """What face-api calls the blocks: conv32_1 … conv256_2, conv256_down_out."""
    names, number = [], 0
    for channels, halve in BLOCKS[:-1]:
        number = 0 if halve else number + 1
        names.append(f"conv{channels}_down" if halve else f"conv{channels}_{number}")
    return [*names, "conv256_down_out"]
