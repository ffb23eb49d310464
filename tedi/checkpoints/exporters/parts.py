"""Parts of a generator as graphs, traced by `torch.export` with any number of rows."""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.utils import parametrize

from tedi.errors import TediError
from tedi.interfaces import Generator, z_width


class Part(nn.Module):
    """One function of a generator as a module, which is what `torch.export` traces.

    Attributes:
        takes: names of its inputs; the first has a row for each face.
        gives: name of its output.
    """

    takes: ClassVar[tuple[str, ...]] = ("ws",)
    gives: ClassVar[str] = "image"

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def example(self, count: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs of `count` faces: codes at psi 0.7, each slot that of another face."""
        g = self.generator
        rows = MappingPart(g)(_noise(g, count * g.slots, seed), torch.tensor(0.7))
        own = rows.view(count, g.slots, g.slots, g.width).diagonal(dim1=1, dim2=2)
        return (own.transpose(1, 2).contiguous(),)

    def describe(self, shape: Sequence[int | str]) -> dict[str, str]:
        """Inputs and output of `shape` in words."""
        codes = f"ws (N, {self.generator.slots}, {self.generator.width})"
        image = f"image ({', '.join(map(str, shape))}): RGB, about [-1, 1], not clamped"
        return {
            "input": f"{codes}: absolute codes of W+, the mean of W is in them",
            "output": f"{image}; -1 is level 0 and 1 is level 255",
        }


class SynthesisPart(Part):
    """ws (N, L, C) -> image (N, 3, H, W) in full."""

    def forward(self, ws: Tensor) -> Tensor:
        return self.generator.synthesis(ws)


class PreviewPart(Part):
    """ws (N, L, C) -> image (N, 3, 256, 256)."""

    def forward(self, ws: Tensor) -> Tensor:
        return self.generator.preview(ws)


class MappingPart(Part):
    """z (N, Z) and psi () -> ws (N, L, C), which the other parts take as they are."""

    takes = ("z", "psi")
    gives = "ws"

    def forward(self, z: Tensor, psi: Tensor) -> Tensor:
        g = self.generator
        w = g.mapping(z)
        ws = w if w.ndim == 3 else w[:, None].repeat(1, g.slots, 1)
        return g.w_avg + psi * (ws - g.w_avg)

    def example(self, count: int, seed: int) -> tuple[Tensor, ...]:
        """Noise of `count` faces, and psi 0.7."""
        return _noise(self.generator, count, seed), torch.tensor(0.7)

    def describe(self, shape: Sequence[int | str]) -> dict[str, str]:
        """Inputs and output of `shape` in words."""
        psi = "psi (): 0 gives the mean of W, 1 the code as the noise has it, 0.7 is usual"
        codes = f"ws ({', '.join(map(str, shape))})"
        return {
            "input": f"z (N, {z_width(self.generator)}): standard normal noise; {psi}",
            "output": f"{codes}: absolute codes of W+, the input of synthesis and preview",
        }


PARTS: dict[str, type[Part]] = {
    "synthesis": SynthesisPart,
    "preview": PreviewPart,
    "mapping": MappingPart,
}


def _noise(generator: Generator, count: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, z_width(generator), generator=random)


class _Widened(nn.Module):
    """A stored float16 tensor as the float32 one that is computed with."""

    def forward(self, stored: Tensor) -> Tensor:
        return stored.float()


def halved(part: Part) -> Part:
    """The part, new, with weights stored in float16; it computes in float32 as before."""
    small = copy.deepcopy(part).half()
    for module in list(small.modules()):
        for name, tensor in [
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        ]:
            if tensor.dtype == torch.half:  # unsafe: it may change the number format
                parametrize.register_parametrization(module, name, _Widened(), unsafe=True)
    return small


@dataclass(frozen=True, eq=False)
class Traced:
    """The graph of a part.

    Attributes:
        part: that was traced.
        program: with the weights that it uses, and no others.
        shapes: names of the inputs, then of the output -> dimensions; "N" is any number.
        gives: name of the output.
        facts: what the file says of itself.
    """

    part: Part
    program: ExportedProgram
    shapes: dict[str, tuple[int | str, ...]]
    gives: str
    facts: dict[str, str]

    @property
    def takes(self) -> list[str]:
        """Names of the inputs."""
        return [name for name in self.shapes if name != self.gives]


def trace(part: Part, facts: Mapping[str, str]) -> Traced:
    """The graph of a part for any number of rows.

    Args:
        part: on the CPU.
        facts: what the file shall say of itself, besides its inputs and output.

    Raises:
        TediError: what the generator does depends on the numbers, or on how many rows there are.
    """
    example = part.example(2, 0)  # a batch of 1 would be taken for a constant
    dynamic = dict.fromkeys(part.takes) | {part.takes[0]: {0: Dim("N")}}
    try:
        with torch.no_grad(), quiet():
            # Strict tracing reads `len(tensor)` as a size that may vary; the other kind fixes it.
            program = torch.export.export(part, example, dynamic_shapes=dynamic, strict=True)
    except RuntimeError as error:  # all of Dynamo's are
        reason = str(error).partition("\n")[0]
        name = part.generator.name
        raise TediError(f"{name}: cannot be traced for any number of rows: {reason}") from error
    _strip(program)
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    shapes: dict[str, tuple[int | str, ...]]
    shapes = {name: tuple(each.shape) for name, each in zip(part.takes, example, strict=True)}
    shapes[part.gives] = tuple(output.args[0][0].meta["val"].shape)
    for name in (part.takes[0], part.gives):
        shapes[name] = ("N", *shapes[name][1:])
    return Traced(part, program, shapes, part.gives, {**facts, **part.describe(shapes[part.gives])})


def _strip(program: ExportedProgram) -> None:
    """Leave out weights that the part does not use, and the paths of our source files."""
    signature = program.graph_signature
    for name in program.state_dict.keys() - {*signature.parameters, *signature.buffers}:
        del program.state_dict[name]
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
            node.meta.pop(key, None)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporters tell of themselves, which nobody can act on, to themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch._guards")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            for kind in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", kind)
            warnings.filterwarnings("ignore", "Converting a tensor to a Python boolean")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
