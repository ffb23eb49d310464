"""Kinds of files that a traced graph is written to, and the runtimes that read them."""

import importlib
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from tedi import __version__
from tedi.checkpoints.exporters.parts import Traced, quiet

OPSET = 18
"""Of ONNX: what torch writes without converting, and runtimes since 2023 read."""
Run = Callable[[Sequence[Tensor]], Tensor]


class Target(Protocol):
    """A kind of file.

    Attributes:
        suffixes: of the file, then of files beside it that belong to it.
        needs: packages that write it.
        runtime: package that it is checked with.
    """

    suffixes: tuple[str, ...]
    needs: tuple[str, ...]
    runtime: str

    def write(self, traced: Traced, path: Path) -> None:
        """Write the file, and those that belong to it beside it."""

    def open(self, path: Path) -> Run:
        """What the runtime computes with the file, on a CPU."""


class Onnx:
    """One `.onnx` file; `metadata_props` hold the facts."""

    suffixes = (".onnx",)
    needs = ("onnx", "onnxscript")
    runtime = "onnxruntime"

    def write(self, traced: Traced, path: Path) -> None:
        path.write_bytes(onnx_bytes(traced))

    def open(self, path: Path) -> Run:
        ort = importlib.import_module("onnxruntime")
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]

        def run(inputs: Sequence[Tensor]) -> Tensor:
            feeds = {name: each.numpy() for name, each in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, feeds)[0])

        return run


class OpenVino:
    """An `.xml` of the graph and a `.bin` of its weights; `rt_info/tedi` holds the facts."""

    suffixes = (".xml", ".bin")
    needs = ("onnx", "onnxscript", "openvino")
    runtime = "openvino"

    def write(self, traced: Traced, path: Path) -> None:
        openvino = importlib.import_module("openvino")
        # Read, not converted: `convert_model` adds every bias to its noise beforehand, which
        # makes nine times as large a file.
        model = openvino.Core().read_model(onnx_bytes(traced), b"")
        for key, value in traced.facts.items():
            model.set_rt_info(value, ["tedi", key])
        openvino.save_model(model, str(path), compress_to_fp16=False)

    def open(self, path: Path) -> Run:
        core = importlib.import_module("openvino").Core()
        # Some CPUs would compute in bfloat16 unless told otherwise.
        model = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda inputs: torch.from_numpy(model([each.numpy() for each in inputs])[0].copy())


class Pt2:
    """One `.pt2` file, which `torch.export.load` reads; its `tedi.json` holds the facts."""

    suffixes = (".pt2",)
    needs = ()
    runtime = "torch"

    def write(self, traced: Traced, path: Path) -> None:
        facts = {"tedi.json": json.dumps(traced.facts, ensure_ascii=False)}
        with path.open("wb") as file, quiet():
            torch.export.save(traced.program, file, extra_files=facts)

    def open(self, path: Path) -> Run:
        with path.open("rb") as file, quiet():
            module = torch.export.load(file).module()
        return lambda inputs: module(*inputs)


class TorchScript:
    """One `.torchscript` file for `torch.jit.load`, in C++ and on phones, too.

    PyTorch has called it deprecated since 2.9; `Pt2` is what takes its place.
    """

    suffixes = (".torchscript",)
    needs = ()
    runtime = "torch"

    def write(self, traced: Traced, path: Path) -> None:
        facts = {"tedi.json": json.dumps(traced.facts, ensure_ascii=False)}
        with torch.no_grad(), quiet():
            script = torch.jit.trace(traced.part, traced.part.example(2, 0), check_trace=False)
            script = torch.jit.freeze(script.eval(), optimize_numerics=False)
            torch.jit.save(script, str(path), _extra_files=facts)
        _without_sources(path)

    def open(self, path: Path) -> Run:
        with quiet():
            module = torch.jit.load(str(path))
        return lambda inputs: module(*inputs)


def _without_sources(path: Path) -> None:
    """Leave out what TorchScript keeps for tracebacks: lines and paths of our source files."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith(".debug_pkl")]
        kept = {name: archive.read(name) for name in names}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def onnx_bytes(traced: Traced) -> bytes:
    """The graph as an ONNX model that names its shapes, its facts, and nothing of this machine."""
    onnx = importlib.import_module("onnx")
    with torch.no_grad(), quiet():
        made = torch.onnx.export(
            traced.program,
            input_names=traced.takes,
            output_names=[traced.gives],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert made is not None  # it is None for files alone
    model = made.model_proto
    _declare(onnx, model.graph, traced)
    model.producer_name, model.producer_version = "tedi", __version__
    model.doc_string = f"{traced.facts['input']} -> {traced.facts['output']}"
    onnx.helper.set_model_props(model, traced.facts)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _declare(onnx: Any, graph: Any, traced: Traced) -> None:
    """Name a graph, its inputs, its output and their shapes; leave out torch's notes."""
    graph.name = f"{traced.facts.get('name', '')} {traced.facts.get('part', '')}".strip() or "tedi"
    del graph.value_info[:]
    for each in (*graph.node, *graph.initializer):
        del each.metadata_props[:]
    infos = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in traced.shapes.items()
    ]
    del graph.input[:], graph.output[:]
    graph.input.extend(infos[:-1])
    graph.output.extend(infos[-1:])
