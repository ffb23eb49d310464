"""The project's own weight files: safetensors whose metadata says what they are for."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from tedi.encoders.attributes import AttributeModel
from tedi.encoders.codes import CodeReader
from tedi.encoders.parser import FaceParser
from tedi.encoders.structure import StructureEncoder
from tedi.encoders.text import TextEncoder
from tedi.encoders.visual import LOOKS, VisualEncoder
from tedi.errors import TediError
from tedi.generators import GENERATORS
from tedi.interfaces import Generator


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (half precision widened to float32) and metadata of a safetensors file.

    Raises:
        TediError: it is not there, or broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise TediError(f"{path}: not a readable safetensors file ({error})") from error
    return {n: t.float() if t.dtype == torch.half else t for n, t in tensors.items()}, metadata


def load_generator(paths: Sequence[Path]) -> Generator:
    """Frozen generator whose parts lie in one file or several; all keys must fit.

    Raises:
        TediError: a file is broken or no generator's, or keys are missing or left over.
    """
    state: dict[str, Tensor] = {}
    architecture = ""
    for path in paths:
        tensors, metadata = read(path)
        state |= tensors
        architecture = metadata.get("architecture", architecture)
    if architecture not in GENERATORS:
        raise TediError(f"{paths[0]}: holds no generator; its architecture is {architecture!r}")
    generator: Generator = GENERATORS[architecture]()
    _fill(generator, state, paths[0])
    return generator


def load_text_encoder(path: Path, codes: CodeReader) -> TextEncoder:
    """Frozen text encoder over a code reader, without its backbone.

    Raises:
        TediError: the file is broken, or keys are missing or left over.
    """
    state, _ = read(path)
    if "reader.enter.weight" not in state:
        raise TediError(f"{path}: not a text encoder; 'reader.enter.weight' is missing")
    encoder = TextEncoder(state["reader.enter.weight"].shape[1], codes)
    _fill(encoder, state | {f"codes.{n}": t for n, t in codes.state_dict().items()}, path)
    return encoder


def load_attribute_model(path: Path) -> AttributeModel:
    """Frozen attribute model.

    Raises:
        TediError: the file is broken, or keys are missing or left over.
    """
    model = AttributeModel()
    _fill(model, read(path)[0], path)
    return model


def load_parser(path: Path) -> FaceParser:
    """Frozen face parser.

    Raises:
        TediError: the file is broken, or keys are missing or left over.
    """
    model = FaceParser()
    _fill(model, read(path)[0], path)
    return model


def load_visual_encoder(path: Path) -> VisualEncoder:
    """Frozen encoder of pictures, its size read off the file.

    Raises:
        TediError: the file is broken, or keys are missing or left over.
    """
    state, _ = read(path)
    try:
        channels, width = state["stem.weight"].shape[1], len(state["w_avg"])
        slots = sum(len(state[f"offset.{group}.bias"]) for group in LOOKS) // width
    except KeyError as error:
        raise TediError(f"{path}: not a visual encoder; {error} is missing") from error
    encoder = VisualEncoder(channels=channels, slots=slots, width=width)
    _fill(encoder, state, path)
    return encoder


def load_structure_encoder(path: Path) -> StructureEncoder:
    """Frozen encoder of sketches and label maps, its size read off the file.

    Raises:
        TediError: the file is broken, or keys are missing or left over.
    """
    state, metadata = read(path)
    try:
        width, slots = len(state["w_avg"]), int(metadata["slots"])
        ruled = len(state["offset.bias"]) // width
    except KeyError as error:
        raise TediError(f"{path}: not a sketch and label encoder; {error} is missing") from error
    encoder = StructureEncoder(slots=slots, ruled=ruled, width=width)
    _fill(encoder, state, path)
    return encoder


def load_code_reader(path: Path) -> CodeReader:
    """Frozen code reader, its size read off the file.

    Raises:
        TediError: the file is broken, or keys are missing or left over.
    """
    state, _ = read(path)
    try:
        concepts, channels = state["concepts"].shape
        slots, hidden = len(state["slots"]), len(state["enter.weight"])
    except KeyError as error:
        raise TediError(f"{path}: not a code reader; {error} is missing") from error
    reader = CodeReader(concepts, slots=slots, channels=channels, hidden=hidden)
    _fill(reader, state, path)
    return reader


def _fill(part: object, state: dict[str, Tensor], path: Path) -> None:
    assert isinstance(part, nn.Module)
    try:
        part.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{path}: does not fit {type(part).__name__}: {reason}") from error
    part.eval().requires_grad_(False)
