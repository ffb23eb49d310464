"""rosinality's StyleGAN2, the layout of most encoders' decoders too: {"g_ema": …, "latent_avg": …}.

Every weight is the same number as in NVIDIA's StyleGAN2-ADA, in another shape; blur kernels are
stored. The two discriminators are one architecture, so their map is one to one.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from tedi.checkpoints.bundle import MISSING, Bundle, Contents, bundle_of, rank
from tedi.checkpoints.formats.content import state_of, told, unused
from tedi.checkpoints.formats.keymap import (
    CHANNELS,
    ONE,
    PLANE,
    ROW,
    SAME,
    KeyMap,
    Pair,
    View,
    binomial,
    indices,
)
from tedi.checkpoints.raw import Raw
from tedi.errors import TediError

LAYER: tuple[tuple[str, str, View], ...] = (
    ("weight", "conv.weight", ROW),
    ("affine.weight", "conv.modulation.weight", SAME),
    ("affine.bias", "conv.modulation.bias", SAME),
)
CONV = (*LAYER, ("bias", "activate.bias", SAME), ("noise_strength", "noise.weight", ONE))
TO_RGB = (*LAYER, ("bias", "bias", CHANNELS))
MEAN = "latent_avg"
FIR = binomial(1, 3, 3, 1)
FIR_UP = binomial(1, 3, 3, 1, gain=4)
NOTES = {
    "g_optim": "optimiser state",
    "d_optim": "optimiser state",
    "args": "settings of its training",
    "ada_aug_p": "strength of augmentation in training",
    "iter": "number of training steps",
}
ROLES = {"g_ema": "G_ema", "g": "G", "d": "D"}


# --- generator -----------------------------------------------------------------------------------


def generator_map(*, levels: int, depth: int) -> KeyMap:
    """StyleGAN2's generator, without `mapping.w_avg`, which these files hold apart.

    Args:
        levels: log2 of the resolution.
        depth: layers of the mapping network.
    """
    return KeyMap(
        (*_mapping(depth), *_synthesis(levels)),
        constants={
            **{f"convs.{2 * i}.conv.blur.kernel": FIR_UP for i in range(levels - 2)},
            **{f"to_rgbs.{i}.upsample.kernel": FIR_UP for i in range(levels - 2)},
        },
        optional=frozenset(f"noises.noise_{i}" for i in range(2 * levels - 3)),
    )


def _mapping(depth: int) -> Iterator[Pair]:
    for i in range(depth):
        for leaf in ("weight", "bias"):
            yield Pair(f"mapping.fc{i}.{leaf}", f"style.{i + 1}.{leaf}")


def _synthesis(levels: int) -> Iterator[Pair]:
    yield Pair("synthesis.b4.const", "input.input", ROW)
    yield from _layer("synthesis.b4.conv1", "conv1", CONV)
    yield from _layer("synthesis.b4.torgb", "to_rgb1", TO_RGB)
    yield Pair("synthesis.b4.conv1.noise_const", "noises.noise_0", PLANE)
    for i in range(levels - 2):
        block = f"synthesis.b{8 << i}"
        for j in (0, 1):
            number = 2 * i + j
            yield from _layer(f"{block}.conv{j}", f"convs.{number}", CONV)
            yield Pair(f"{block}.conv{j}.noise_const", f"noises.noise_{number + 1}", PLANE)
        yield from _layer(f"{block}.torgb", f"to_rgbs.{i}", TO_RGB)


def _layer(ours: str, theirs: str, table: tuple[tuple[str, str, View], ...]) -> Iterator[Pair]:
    return (Pair(f"{ours}.{a}", f"{theirs}.{b}", view) for a, b, view in table)


def is_generator(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a generator of this layout."""
    return "input.input" in state and "conv1.conv.modulation.weight" in state


def read_generator(
    state: Mapping[str, Tensor], w_avg: Tensor | None, whose: str
) -> tuple[Bundle, tuple[str, ...]]:
    """The bundle of a generator, and what it lacks.

    Args:
        state: of this layout.
        w_avg: (C,); None where the file has none.
        whose: for messages.

    Raises:
        TediError: keys are missing or unknown, or of odd shapes.
    """
    levels = len(indices(state, "convs.")) // 2 + 2
    table = generator_map(levels=levels, depth=len(indices(state, "style.")))
    ours = table.to_ours(state, whose)
    lacks = [] if "noises.noise_0" in state else ["noise"]
    for pair in table.pairs:
        if pair.ours not in ours:  # drawn without noise: its strength is that of zeros
            size = int(pair.ours.split(".")[1].removeprefix("b"))
            ours[pair.ours] = ours["synthesis.b4.const"].new_zeros(size, size)
    facts: dict[str, Any] = {"w_avg": MISSING if w_avg is None else "in the file"}
    if w_avg is None:
        lacks.append("w_avg")
    else:
        ours["mapping.w_avg"] = w_avg
    return bundle_of("generator", "stylegan2", ours, whose, facts=facts), tuple(lacks)


# --- discriminator -------------------------------------------------------------------------------


def discriminator_map(*, levels: int) -> KeyMap:
    """StyleGAN2's discriminator of 2**levels px."""
    return KeyMap(
        tuple(_discriminator(levels)),
        constants={
            f"convs.{i}.{name}.0.kernel": FIR
            for i in range(1, levels - 1)
            for name in ("conv2", "skip")
        },
    )


def _discriminator(levels: int) -> Iterator[Pair]:
    yield from _pairs(f"b{1 << levels}.fromrgb", "convs.0.0.weight", "convs.0.1.bias")
    for i in range(1, levels - 1):
        block, theirs = f"b{1 << (levels + 1 - i)}", f"convs.{i}"
        yield from _pairs(f"{block}.conv0", f"{theirs}.conv1.0.weight", f"{theirs}.conv1.1.bias")
        yield from _pairs(f"{block}.conv1", f"{theirs}.conv2.1.weight", f"{theirs}.conv2.2.bias")
        yield Pair(f"{block}.skip.weight", f"{theirs}.skip.1.weight")
    yield from _pairs("b4.conv", "final_conv.0.weight", "final_conv.1.bias")
    yield from _pairs("b4.fc", "final_linear.0.weight", "final_linear.0.bias")
    yield from _pairs("b4.out", "final_linear.1.weight", "final_linear.1.bias")


def _pairs(ours: str, weight: str, bias: str) -> Iterator[Pair]:
    yield Pair(f"{ours}.weight", weight)
    yield Pair(f"{ours}.bias", bias)


def is_discriminator(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is a discriminator of this layout."""
    return "final_linear.1.weight" in state and "convs.0.0.weight" in state


def read_discriminator(state: Mapping[str, Tensor], whose: str) -> Bundle:
    """The bundle of a discriminator.

    Raises:
        TediError: keys are missing or unknown, or of odd shapes.
    """
    table = discriminator_map(levels=len(indices(state, "convs.")) + 1)
    return bundle_of("discriminator", "stylegan2", table.to_ours(state, whose), whose)


# --- files ---------------------------------------------------------------------------------------


class Rosinality:
    """{"g_ema", "g", "d", "latent_avg", …}, or a generator's bare state dict."""

    name = "rosinality"

    def detect(self, raw: Raw) -> bool:
        """Whether one of the states is a generator of this layout."""
        return any(is_generator(s) or is_discriminator(s) for s in self._states(raw).values())

    def _states(self, raw: Raw) -> dict[str, dict[str, Tensor]]:
        if (state := state_of(raw.value)) is not None:
            return {"g_ema": state}
        if not isinstance(raw.value, dict):
            return {}
        found = {key: state_of(raw.value.get(key)) for key in ROLES}
        return {key: state for key, state in found.items() if state is not None}

    def convert(self, raw: Raw) -> Contents:
        """Bundles of a file that was detected.

        Raises:
            TediError: a network's keys do not fit.
        """
        parts: dict[str, Bundle] = {}
        lacks: list[str] = []
        states, alone = self._states(raw), state_of(raw.value) is not None
        w_avg = _code(None if alone else raw.value.get(MEAN), str(raw.path))
        for key, state in states.items():
            whose = f"{raw.path}: {key}"
            if is_discriminator(state):
                parts["D"] = read_discriminator(state, whose)
                continue
            parts[ROLES[key]], missing = read_generator(state, w_avg, whose)
            if key == "g" and "g_ema" in states and w_avg is not None:
                parts["G"].facts["w_avg"] = "in the file, of g_ema"
            lacks += [one for one in missing if one not in lacks]
        rest = () if alone else unused(raw.value, [*states, MEAN], NOTES)
        return Contents(self.name, parts, rest, tuple(lacks))

    def fitting(self, parts: Mapping[str, Bundle]) -> dict[str, Bundle]:
        """The best StyleGAN2 generator, since there is one mean of W, and discriminators."""
        known = {role: part for role, part in parts.items() if part.architecture == "stylegan2"}
        generators = [role for role, part in known.items() if part.kind == "generator"]
        best = min(generators, key=rank, default=None)
        return {r: p for r, p in known.items() if r == best or p.kind == "discriminator"}

    def lay_out(self, parts: Mapping[str, Bundle]) -> dict[str, Any]:
        """What rosinality's programs and pSp's load: {"g_ema", "latent_avg"}, and "d" if given.

        Raises:
            TediError: a network has keys that this layout has no place for.
        """
        made: dict[str, Any] = {}
        for bundle in parts.values():
            state = dict(bundle.state)
            levels = int(bundle.config["resolution"]).bit_length() - 1
            if bundle.kind == "discriminator":
                made["d"] = discriminator_map(levels=levels).to_theirs(state)
                continue
            made[MEAN] = state.pop("mapping.w_avg").clone()
            table = generator_map(levels=levels, depth=len(indices(state, "mapping.fc")))
            made["g_ema"] = table.to_theirs(state)
        return made


def _code(w_avg: object, whose: str) -> Tensor | None:
    """The mean of W (C,), which may lie as (1, C)."""
    if w_avg is None:
        return None
    if not isinstance(w_avg, Tensor) or not w_avg.ndim or w_avg.numel() != w_avg.shape[-1]:
        raise TediError(f"{whose}: {MEAN}: expected one code (C,), got {told(w_avg)}")
    return w_avg.reshape(-1)
