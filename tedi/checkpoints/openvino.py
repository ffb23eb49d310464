"""OpenVINO's intermediate representation (IR), read with xml.etree and numpy.

An IR model is two files: `NAME.xml`, a graph whose `Const` layers give name, shape, offset and
size of a tensor, and `NAME.bin`, the tensors' bytes. Only float32 constants are weights.
"""

import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tedi.errors import TediError
from tedi.tensors import save_file

BLOCKS = 7  # 8, 16, …, 512 px


def read_constants(xml: Path) -> dict[str, Tensor]:
    """Float32 constants of an IR model by name, in the order of the graph.

    Raises:
        TediError: the XML is broken, or a constant lies outside the binary.
    """
    try:
        layers = ET.parse(xml).getroot().iterfind("layers/layer[@type='Const']")
        data = xml.with_suffix(".bin").read_bytes()
        return {
            layer.attrib["name"]: _tensor(layer.find("data"), data)
            for layer in layers
            if layer.find("data[@element_type='f32']") is not None
        }
    except (ET.ParseError, OSError, KeyError, ValueError) as error:
        raise TediError(f"{xml}: not a readable OpenVINO IR model ({error})") from error


def _tensor(entry: ET.Element | None, data: bytes) -> Tensor:
    if entry is None:
        raise ValueError("a constant without data")
    shape = [int(n) for n in entry.attrib["shape"].split(",") if n.strip()]
    start, size = int(entry.attrib["offset"]), int(entry.attrib["size"])
    if size != 4 * math.prod(shape) or start + size > len(data):
        raise ValueError(f"constant of shape {shape} lies outside the {len(data)} bytes of data")
    values = np.frombuffer(data, "<f4", count=size // 4, offset=start)
    return torch.from_numpy(values.reshape(shape).copy())


def convert_mobilestylegan(folder: Path, out: Path) -> None:
    """Write `tedi.generators.mobilestylegan`'s state from the two IR models in `folder`.

    Raises:
        TediError: a model is broken, or is another network.
    """
    mapping = read_constants(folder / "MappingNetwork.xml")
    synthesis = read_constants(folder / "SynthesisNetwork.xml")
    try:
        state = _mapping(mapping) | _synthesis(synthesis)
    except (KeyError, ValueError) as error:
        raise TediError(f"{folder}: the IR models are not MobileStyleGAN's ({error})") from error
    metadata = {"architecture": "mobilestylegan", "converted_from": "OpenVINO IR"}
    save_file({name: t.contiguous() for name, t in state.items()}, out, metadata=metadata)


def _mapping(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """Eight layers: the (512, 512) constants are the weights, the (512,) ones the biases."""
    weights = [t for t in constants.values() if t.ndim == 2 and t.shape[0] > 1]
    biases = [t for t in constants.values() if t.ndim == 1 and t.shape[0] > 1]
    layers = enumerate(zip(weights, biases, strict=True))
    return {
        f"mapping.layers.{i}.{part}": tensor
        for i, (weight, bias) in layers
        for part, tensor in (("weight", weight), ("bias", bias))
    }


def _synthesis(constants: dict[str, Tensor]) -> dict[str, Tensor]:
    # The graph is walked in order: each convolution's kernel (exported without a useful name) is
    # followed by its noise, the one constant of shape (1, 1, size, size).
    kernels = [t for name, t in constants.items() if name.startswith("Mul_")]
    noises = [t for t in constants.values() if t.ndim == 4 and t.shape[:2] == (1, 1)]
    noises = [t for t in noises if t.shape[2] == t.shape[3] > 1]
    sources = ["conv1", *(f"layers.{i}.conv{j}" for i in range(BLOCKS) for j in (1, 2))]
    state = {"synthesizer.const": constants["m.input.input"]}
    for source, kernel, noise in zip(sources, kernels, noises, strict=True):
        state |= _convolution(constants, source, kernel, noise)
    for i in range(BLOCKS):
        source, target = f"m.layers.{i}.up.modulation", f"synthesizer.blocks.{i}.up"
        state[f"{target}.weight"] = constants[f"{source}.weight"]
        state[f"{target}.bias"] = constants[f"{source}.bias"].flatten()
    source = f"m.layers.{BLOCKS - 1}.to_img"
    kernel = constants[f"{source}.conv.weight"]
    state |= _affine(constants, f"{source}.conv", "synthesizer.to_image", kernel)
    state["synthesizer.to_image.pointwise"] = kernel.flatten(1)
    state["synthesizer.to_image.bias"] = constants[f"{source}.bias"].flatten()
    return _group_bands(state)


def _group_bands(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Order the channels before each Haar step by band.

    The file has them as [low (c) | high (c, 3)]; [low | LH | HL | HH] of c each, which
    `inverse_haar` takes, makes every band one contiguous slice.
    """
    makers = ["stem", *(f"blocks.{i}.conv2" for i in range(BLOCKS - 1)), "to_image"]
    takers = [*(f"blocks.{i}.up" for i in range(BLOCKS)), None]
    for maker, taker in zip(makers, takers, strict=True):
        names = [f"synthesizer.{maker}.{part}" for part in ("kernel", "pointwise", "bias")]
        names += [f"synthesizer.{taker}.{part}" for part in ("weight", "bias")]
        for name in set(names) & set(state):
            low, high = state[name].tensor_split([len(state[name]) // 4])
            state[name] = torch.cat([low, high[0::3], high[1::3], high[2::3]])
    return state


def _convolution(
    constants: dict[str, Tensor], source: str, kernel: Tensor, noise: Tensor
) -> dict[str, Tensor]:
    target = "synthesizer." + source.replace("layers.", "blocks.")
    target = target.replace("synthesizer.conv1", "synthesizer.stem")
    state = {
        f"{target}.noise": noise,
        f"{target}.bias": constants[f"m.{source}.bias"].flatten(),
    }
    if kernel.shape[2:] == (1, 1):
        depthwise = constants[f"m.{source}.conv.weight_dw"]
        state[f"{target}.depthwise"] = depthwise.flatten(0, 2)[:, None]
        state[f"{target}.pointwise"] = kernel.flatten(1)
        fan_in = kernel[0].numel() * 9
    else:
        state[f"{target}.kernel"] = kernel
        fan_in = kernel[0].numel()
    return state | _affine(constants, f"m.{source}.conv", target, kernel, fan_in)


def _affine(
    constants: dict[str, Tensor], source: str, target: str, kernel: Tensor, fan_in: int = 0
) -> dict[str, Tensor]:
    """Style affine with the equalised learning rate's 1/√fan_in folded in."""
    scale = 1 / math.sqrt(fan_in or kernel[0].numel())
    return {
        f"{target}.affine.weight": constants[f"{source}.modulation.weight"] * scale,
        f"{target}.affine.bias": constants[f"{source}.modulation.bias"].flatten() * scale,
    }
