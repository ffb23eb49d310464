"""Files of what an inversion did to a generator: tuned weights, or a base code of F/W+.

They hold what differs, not a generator, and say in their metadata which generator it differs from:
on another one they would draw nonsense, so they are refused there.

    kind       "tuned weights" or "base code"
    generator  sha256 of the generator's weight file
    size       of a base code: pixels a side that the picture has in it
    follows    "true" if a base code moves with the codes that are drawn
    record     JSON of how it was made

Differences of weights are float16, each weight's divided by its largest, which is kept in float32:
released weights differ in size by a factor of 1,000 and more.
"""

from pathlib import Path

import torch
from torch import Tensor

from tedi.checkpoints import native
from tedi.errors import TediError, UsageError
from tedi.generators.based import Based
from tedi.generators.tuned import changes, with_changes
from tedi.interfaces import Generator
from tedi.outputs import Exist, write_atomically
from tedi.tensors import save_file

SUFFIX = ".safetensors"
TUNED, BASE = "tuned weights", "base code"
SCALE = "scale."  # before the name of the weight that a scale is of
PARTS = ("base", "codes", "place")


def save(
    path: Path,
    generator: Generator,
    changed: Generator,
    *,
    sha256: str,
    record: str = "{}",
    exist: Exist = "error",
) -> None:
    """Write what an inversion's generator has of its own, whole or not at all.

    Args:
        path: a .safetensors file.
        generator: that the inversion was made with.
        changed: `Inversion.generator`: a tuned copy of it, or one drawn on from a base code.
        sha256: of the generator's weight file.
        record: JSON of how it was made.
        exist: "error" keeps a file that is already there, "overwrite" replaces it.

    Raises:
        UsageError: another suffix, or `changed` is the generator itself.
        TediError: the file exists or cannot be written, or `changed` is of another generator.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"{path}: a changed generator is saved as {SUFFIX}")
    if changed is generator:
        raise UsageError("changed: this is the generator itself; only its code need be saved")
    metadata = {"generator": sha256, "record": record}
    if isinstance(changed, Based):
        if changed.generator is not generator:
            raise TediError("changed: its base code is of another generator")
        tensors = {"base": changed.base.half(), "codes": changed.codes, "place": changed.place}
        follows = str(changed.follows).lower()
        metadata |= {"kind": BASE, "follows": follows, "size": str(changed.size)}
    else:
        tensors = _narrow(changes(generator, changed))
        metadata |= {"kind": TUNED}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, lambda part: save_file(tensors, part, metadata), exist=exist)


def load(path: Path, generator: Generator, *, sha256: str) -> Generator:
    """The generator that was saved; the one that is given stays as it is.

    Args:
        path: of `save`.
        generator: of the same weights as the one that was changed.
        sha256: of its weight file.

    Raises:
        TediError: not there, damaged, no such file, or of another generator.
    """
    if not path.is_file():
        raise TediError(f"{path}: no such file")
    tensors, metadata = native.read(path)
    kind = metadata.get("kind")
    if kind not in (TUNED, BASE):
        raise TediError(f"{path}: expected {TUNED} or a {BASE}, its kind is {kind!r}")
    if (of := metadata.get("generator", "")) != sha256:
        raise TediError(
            f"{path}: belongs to the generator {of[:12]}, this one is {sha256[:12]}; invert again"
        )
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise TediError(f"{path}: damaged; expected finite numbers")
    try:
        if kind == TUNED:
            return with_changes(generator, _widened(tensors))
        device = generator.w_avg.device
        base, codes, place = (tensors[name].to(device) for name in PARTS)
        size = int(metadata.get("size", base.shape[-1]))  # files before it was told have no margin
        follows = metadata.get("follows") == "true"
        return Based(generator, base, codes, place, size=size, follows=follows)
    except (KeyError, ValueError, UsageError) as error:
        raise TediError(f"{path}: does not fit the generator: {error}") from error


def _narrow(added: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, change in added.items():
        scale = change.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
        tensors |= {name: (change / scale).half(), SCALE + name: scale.float()}
    return tensors


def _widened(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in tensors if not name.startswith(SCALE)]
    return {name: tensors[name].float() * tensors[SCALE + name] for name in names}
