"""idinvert's files (In-Domain GAN Inversion): a bare state dict of one network each.

The generator is StyleGAN1 in older names than genforce's; kernels of fused up-sampling lie as
TensorFlow keeps them. Of the perceptual network only the name is told.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tedi.checkpoints.bundle import Bundle, Contents, bundle_of
from tedi.checkpoints.formats.content import is_state
from tedi.checkpoints.formats.genforce import BLUR
from tedi.checkpoints.formats.keymap import HWIO, SAME, KeyMap, Pair, View, indices
from tedi.checkpoints.raw import Raw

FUSED_FROM = 128  # px; smaller layers up-sample first and then convolve
EPILOGUE: tuple[tuple[str, str], ...] = (
    ("bias", "epilogue.bias"),
    ("apply_noise.weight", "epilogue.apply_noise.weight"),
    ("apply_noise.noise", "epilogue.apply_noise.noise"),
    ("style.weight", "epilogue.style_mod.dense.fc.weight"),
    ("style.bias", "epilogue.style_mod.dense.wscale.bias"),
)
VGG = "layer0.weight"


def generator_map(state: Mapping[str, Tensor]) -> KeyMap:
    """StyleGAN1's generator; a state tells its size and which layers are fused."""
    layers = len(indices(state, "synthesis.layer"))
    blurs = {
        f"synthesis.layer{i}.blur.kernel": BLUR.expand(c.shape[0], 1, 3, 3)
        for i in range(2, layers, 2)
        if (c := state.get(f"synthesis.layer{i}.epilogue.bias")) is not None
    }
    return KeyMap(
        (*_mapping(len(indices(state, "mapping.dense"))), *_synthesis(state, layers)),
        constants={**blurs, "synthesis.lod": torch.zeros(())},
    )


def _mapping(depth: int) -> Iterator[Pair]:
    for i in range(depth):
        yield Pair(f"mapping.dense{i}.weight", f"mapping.dense{i}.fc.weight")
        yield Pair(f"mapping.dense{i}.bias", f"mapping.dense{i}.wscale.bias")


def _synthesis(state: Mapping[str, Tensor], layers: int) -> Iterator[Pair]:
    yield Pair("synthesis.layer0.const", "synthesis.layer0.const")
    for i in range(layers):
        layer = f"synthesis.layer{i}"
        for ours, theirs in EPILOGUE:
            yield Pair(f"{layer}.{ours}", f"{layer}.{theirs}")
        if i:
            theirs, view = _kernel(state, layer)
            yield Pair(f"{layer}.weight", theirs, view)
    for i in range(layers // 2):
        yield Pair(f"synthesis.output{i}.weight", f"synthesis.output{i}.conv.weight")
        yield Pair(f"synthesis.output{i}.bias", f"synthesis.output{i}.bias")


def _kernel(state: Mapping[str, Tensor], layer: str) -> tuple[str, View]:
    """Name and view of a kernel; a fused one lies bare, and as height, width, in, out."""
    fused = f"{layer}.weight" in state
    return (f"{layer}.weight", HWIO) if fused else (f"{layer}.conv.weight", SAME)


def network_of(state: Mapping[str, Tensor]) -> str | None:
    """What a state dict of this layout is: "generator", "encoder", "vgg16", or None."""
    if "synthesis.layer0.epilogue.bias" in state:
        return "generator"
    if "block0.conv.weight" in state and "block0.bn.bn.weight" in state:
        return "encoder"
    if VGG in state and state[VGG].shape == (64, 3, 3, 3) and "input0.weight" not in state:
        return "vgg16"
    return None


def read_generator(state: Mapping[str, Tensor], whose: str) -> Bundle:
    """The bundle of a generator.

    Its mean of W is (C,) even where each slot has its own w; it is repeated then.

    Raises:
        TediError: keys are missing or unknown, or constants have other values.
    """
    rest = dict(state)
    mean, psi = rest.pop("truncation.w_avg", None), rest.pop("truncation.truncation", None)
    ours = generator_map(rest).to_ours(rest, whose)
    facts: dict[str, Any] = {"w_avg": "missing" if mean is None else "in the file"}
    if psi is not None and not psi.is_meta:
        facts["truncation"] = [round(each, 6) for each in psi.flatten().tolist()]
    if mean is not None:
        wide = ours[f"mapping.dense{len(indices(rest, 'mapping.dense')) - 1}.bias"].numel()
        ours["truncation.w_avg"] = mean.repeat(max(wide // mean.numel(), 1))
    fused = _fused(rest)
    config = {"final_tanh": True} | ({} if fused is None else {"fused_from": fused})
    return bundle_of("generator", "stylegan1", ours, whose, facts=facts, config=config)


def _fused(state: Mapping[str, Tensor]) -> int | None:
    """Pixels from which on up-sampling layers are fused, None where it is the usual number."""
    ups = range(2, len(indices(state, "synthesis.layer")), 2)
    sizes = [4 << (i // 2) for i in ups if f"synthesis.layer{i}.weight" in state]
    usual = [4 << (i // 2) for i in ups if 4 << (i // 2) >= FUSED_FROM]
    return None if sizes == usual else min(sizes, default=1 << 20)


class Idinvert:
    """A bare state dict: generator, encoder, or the perceptual network (recognised, not used)."""

    name = "idinvert"

    def detect(self, raw: Raw) -> bool:
        """Whether the state dict is one of the three."""
        return is_state(raw.value) and network_of(raw.value) is not None

    def convert(self, raw: Raw) -> Contents:
        """The bundle of a file that was detected.

        Raises:
            TediError: its keys do not fit.
        """
        kind, whose = network_of(raw.value), f"{raw.path}: {network_of(raw.value)}"
        if kind == "vgg16":
            return Contents(
                self.name, {}, ("vgg16: perceptual network of idinvert, not used here",)
            )
        if kind == "encoder":
            part = bundle_of("encoder", "idinvert", dict(raw.value), whose)
            return Contents(self.name, {"encoder": part})
        part = read_generator(raw.value, whose)
        lacks = ("w_avg",) if part.facts["w_avg"] == "missing" else ()
        return Contents(self.name, {"G_ema": part}, (), lacks)
