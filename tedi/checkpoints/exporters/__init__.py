"""Generators as files that other programs draw with: ONNX, OpenVINO and PyTorch's own formats.

A part of a generator is traced once, by `torch.export`; each target writes that one graph
(TorchScript traces the part itself), and what its runtime makes of the file is compared with
PyTorch before the file gets its name.
"""

import copy
import importlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tedi import __version__, zoo
from tedi.checkpoints.exporters.parts import PARTS, Part, halved, trace
from tedi.checkpoints.exporters.targets import Target
from tedi.errors import TediError, UsageError
from tedi.interfaces import Generator
from tedi.outputs import Exist, write_atomically
from tedi.registry import Table, unknown

EXPORTERS = Table(
    "export target",
    {
        "onnx": "tedi.checkpoints.exporters.targets:Onnx",
        "openvino": "tedi.checkpoints.exporters.targets:OpenVino",
        "pt2": "tedi.checkpoints.exporters.targets:Pt2",
        "torchscript": "tedi.checkpoints.exporters.targets:TorchScript",
    },
)
BOUND, HALF_BOUND = 1e-3, 5e-2
"""The largest difference from PyTorch that is let through; a level of 8 bits is 0.0078."""
BATCHES = (1, 3)
"""Faces of the two runs that are compared."""
Progress = Callable[[str], object]


@dataclass(frozen=True)
class Exported:
    """What was written, and how far it is from PyTorch.

    Attributes:
        files: the one that was asked for, then what belongs to it.
        bytes: of all of them.
        facts: what they say of themselves.
        difference: largest |Δ| between the runtime's result and PyTorch's; None: not checked.
        bound: what it was held against.
        checked_by: the runtime's package.
        unchecked: why there is no difference, and what to do about it; else empty.
    """

    files: tuple[Path, ...]
    bytes: int
    facts: dict[str, str]
    difference: float | None
    bound: float
    checked_by: str
    unchecked: str = ""


def export(
    generator: Generator,
    path: str | os.PathLike[str],
    *,
    to: str = "onnx",
    part: str = "synthesis",
    half: bool = False,
    facts: Mapping[str, str] | None = None,
    exist: Exist = "error",
    progress: Progress | None = None,
) -> Exported:
    """Write a part of a generator for another runtime, and compare the two.

    Four faces, one alone and three together, each slot of their codes another's, go through
    PyTorch in float32 and through the file.

    Args:
        generator: any; it is not touched.
        path: of the file; its suffix is the target's.
        to: name in `EXPORTERS`.
        part: name in `PARTS`.
        half: store weights as float16, half the size; arithmetic stays float32.
        facts: what the file shall say of itself, see `facts_of`.
        exist: what happens to files that are already there.
        progress: told in words what is done next.

    Returns:
        The difference, or why there is none: the runtime is not installed.

    Raises:
        UsageError: an unknown target or part, or another suffix.
        TediError: a package that writes the format is not installed, a file is there or cannot
            be written, or the difference is above `BOUND` (`HALF_BOUND` for float16 weights);
            nothing is left behind.
    """
    path, tell = Path(path), progress or (lambda _: None)
    files = check(path, to=to, part=part, exist=exist)
    target: Target = EXPORTERS[to]()
    tell(f"tracing {part}")
    network = PARTS[part](copy.deepcopy(generator)).cpu().float().eval()
    traced = trace(halved(network) if half else network, facts or {})
    bound = HALF_BOUND if half else BOUND
    found = []

    def write(temporary: Path) -> None:
        besides = [temporary.with_suffix(file.suffix) for file in files[1:]]
        try:
            tell(f"writing {path.name}")
            target.write(traced, temporary)
            found.append(_compare(target, temporary, network, tell))
            _refuse(found[0][0], bound, path, target, half)
            for made, file in zip(besides, files[1:], strict=True):
                write_atomically(file, made.replace, exist=exist)
        finally:
            for made in besides:
                made.unlink(missing_ok=True)

    write_atomically(path, write, exist=exist)
    size = sum(file.stat().st_size for file in files)
    difference, unchecked = found[0]
    return Exported(files, size, traced.facts, difference, bound, target.runtime, unchecked)


def check(
    path: Path, *, to: str = "onnx", part: str = "synthesis", exist: Exist = "error"
) -> tuple[Path, ...]:
    """The files that `export` will write, if nothing stands against it from the start.

    Raises:
        UsageError: an unknown target or part, or another suffix than the target's.
        TediError: a file is there, or a package that writes the format is not installed.
    """
    target: Target = EXPORTERS[to]()
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    if path.suffix != target.suffixes[0]:
        raise UsageError(f"--out: expected a {target.suffixes[0]} file for {to}, got {path}")
    files = tuple(path.with_suffix(suffix) for suffix in target.suffixes)
    for file in files:
        if exist == "error" and os.path.lexists(file):
            raise TediError(f"{file}: already exists; pass --overwrite to replace it")
    for name in target.needs:
        if problem := _problem(name):
            wanted = " ".join(dict.fromkeys([*target.needs, target.runtime]))
            raise TediError(f"--to {to}: {problem}; install what it needs: pip install {wanted}")
    return files


def facts_of(
    generator: Generator, part: str, weights: Mapping[str, str], *, half: bool
) -> dict[str, str]:
    """What an exported file says of itself: what it is, of which weights, under which terms.

    Args:
        generator: what is exported.
        part: name in `PARTS`.
        weights: name -> sha256 of what it was loaded from; terms are told of names in the zoo.
        half: whether its weights are float16.
    """
    known = {*zoo.ZOO, *zoo.shipped()}
    entries = [zoo.find(name) for name in weights if name in known]
    own = [f"{name}: that of the file, which tells none" for name in weights if name not in known]
    return {
        "name": generator.name,
        "part": part,
        "version": f"tedi {__version__}",
        "numbers": "float16 weights, float32 arithmetic" if half else "float32",
        "weights": json.dumps(dict(weights)),
        "licence": "; ".join([f"{e.name}: {e.licence}" for e in entries if e.licence] + own),
        "origin": "; ".join(f"{e.name}: {e.origin}" for e in entries if e.origin),
        "note": "Pictures drawn with it are synthetic and show nobody; say so where you show them.",
    }


def _problem(package: str) -> str:
    """Why a package cannot be imported; empty if it can."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        return f"{package} cannot be imported ({error})"
    return ""


def _compare(target: Target, path: Path, network: Part, tell: Progress) -> tuple[float | None, str]:
    """Largest |Δ| between a file and a network; or None and why."""
    if problem := _problem(target.runtime):
        return None, f"{problem}; pip install {target.runtime}, and export again to check"
    tell(f"checking with {target.runtime}")
    run, far = target.open(path), []
    with torch.inference_mode():
        for count in BATCHES:
            inputs = network.example(count, seed=count)
            expected, got = network(*inputs), run(inputs)
            if got.shape != expected.shape:
                shapes = f"{tuple(expected.shape)}, got {tuple(got.shape)}"
                raise TediError(f"{target.runtime}: expected {network.gives} {shapes}; not kept")
            far.append((got - expected).abs().max())
    return torch.stack(far).max().item(), ""  # NaN if anything is


def _refuse(difference: float | None, bound: float, path: Path, target: Target, half: bool) -> None:
    if difference is None or difference <= bound:  # NaN goes on
        return
    advice = "leave out --half" if half else f"try another version of {target.runtime}"
    told = f"{target.runtime} and PyTorch differ by {difference:.2g}, expected at most {bound:g}"
    raise TediError(f"{path}: {told}; not kept; {advice}")
