"""genforce's StyleGAN1 and StyleGAN2: {"generator_smooth": …, "generator": …, "discriminator": …}.

StyleGAN1's names are tedi's own. In StyleGAN2 the kernels of up-sampling convolutions are turned by
half a turn, and the bias of a style is kept less the one that modulation adds; the discriminator's
layers are numbered from the picture down, its weights are the same numbers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tedi.checkpoints.bundle import Bundle, Contents, bundle_of
from tedi.checkpoints.formats.content import state_of, unused
from tedi.checkpoints.formats.keymap import (
    LESS_ONE,
    PLANE,
    ROW,
    SAME,
    TURNED,
    KeyMap,
    Pair,
    View,
    binomial,
    check_constant,
    indices,
)
from tedi.checkpoints.raw import Raw

LAYER: tuple[tuple[str, str, View], ...] = (
    ("bias", "bias", SAME),
    ("affine.weight", "style.weight", SAME),
    ("affine.bias", "style.bias", LESS_ONE),
)
NOISE: tuple[tuple[str, str, View], ...] = (
    ("noise_strength", "noise_strength", SAME),
    ("noise_const", "noise", PLANE),
)
TO_RGB = (("weight", "weight", SAME), *LAYER)
CONV = (("weight", "weight", SAME), *LAYER, *NOISE)
CONV_UP = (("weight", "weight", TURNED), *LAYER, *NOISE)
FIR = binomial(1, 3, 3, 1)[None, None]
FIR_UP = binomial(1, 3, 3, 1, gain=4)[None, None]
BLUR = binomial(1, 2, 1)
ROLES = {"generator_smooth": "G_ema", "generator": "G", "discriminator": "D"}
MODELS = "models"
NOTES = {
    "optimizers": "optimiser state",
    "lr_schedulers": "learning rates",
    "running_metadata": "progress of its training",
    "learning_rate": "learning rates",
    "running_stats": "progress of its training",
}


# --- StyleGAN2 -----------------------------------------------------------------------------------


def generator_map(*, levels: int, depth: int) -> KeyMap:
    """StyleGAN2's generator of 2**levels px, its mapping network of `depth` layers."""
    ups = {f"synthesis.layer{2 * i + 1}.filter.kernel": FIR_UP for i in range(levels - 2)}
    return KeyMap(
        (*_mapping(depth), *_synthesis(levels)),
        constants={**ups, "synthesis.upsample.kernel": FIR_UP},
    )


def _mapping(depth: int) -> Iterator[Pair]:
    yield Pair("mapping.w_avg", "truncation.w_avg")
    for i in range(depth):
        for leaf in ("weight", "bias"):
            yield Pair(f"mapping.fc{i}.{leaf}", f"mapping.dense{i}.{leaf}")


def _synthesis(levels: int) -> Iterator[Pair]:
    yield Pair("synthesis.b4.const", "synthesis.early_layer.const", ROW)
    yield from _layer("b4.conv1", "layer0", CONV)
    yield from _layer("b4.torgb", "output0", TO_RGB)
    for i in range(1, levels - 1):
        yield from _layer(f"b{4 << i}.conv0", f"layer{2 * i - 1}", CONV_UP)
        yield from _layer(f"b{4 << i}.conv1", f"layer{2 * i}", CONV)
        yield from _layer(f"b{4 << i}.torgb", f"output{i}", TO_RGB)


def _layer(ours: str, theirs: str, table: tuple[tuple[str, str, View], ...]) -> Iterator[Pair]:
    return (Pair(f"synthesis.{ours}.{a}", f"synthesis.{theirs}.{b}", v) for a, b, v in table)


def discriminator_map(*, levels: int) -> KeyMap:
    """StyleGAN2's discriminator of 2**levels px."""
    down = range(levels - 2)
    return KeyMap(
        tuple(_discriminator(levels)),
        constants={
            **{f"layer{2 * i + 1}.filter.kernel": FIR for i in down},
            **{f"skip_layer{i}.filter.kernel": FIR for i in down},
        },
    )


def _discriminator(levels: int) -> Iterator[Pair]:
    names = {f"b{1 << levels}.fromrgb": "input0"}
    for i in range(levels - 2):
        block = f"b{1 << (levels - i)}"
        names |= {f"{block}.conv0": f"layer{2 * i}", f"{block}.conv1": f"layer{2 * i + 1}"}
        yield Pair(f"{block}.skip.weight", f"skip_layer{i}.weight")
    last = 2 * (levels - 2)
    names |= {"b4.conv": f"layer{last}", "b4.fc": f"layer{last + 1}", "b4.out": f"layer{last + 2}"}
    for ours, theirs in names.items():
        for leaf in ("weight", "bias"):
            yield Pair(f"{ours}.{leaf}", f"{theirs}.{leaf}")


# --- recognising networks ------------------------------------------------------------------------


def network_of(state: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Kind and architecture of a state dict of this layout, or None."""
    if "synthesis.early_layer.const" in state:
        return "generator", "stylegan2"
    if "synthesis.layer0.apply_noise.weight" in state:
        return "generator", "stylegan1"
    if "input0.weight" in state and "layer0.weight" in state:
        return "discriminator", "stylegan2" if "skip_layer0.weight" in state else "stylegan1"
    return None


def read_network(
    state: Mapping[str, Tensor], whose: str, *, config: Mapping[str, Any] | None = None
) -> Bundle:
    """The bundle of a state dict that `network_of` knows.

    Args:
        state: of this layout.
        whose: for messages.
        config: what shapes do not tell.

    Raises:
        TediError: keys are missing or unknown, of odd shapes, or constants have other values.
    """
    kind, architecture = network_of(state) or ("", "")
    if architecture == "stylegan1":
        ours = _without_constants(state, whose)
    elif kind == "generator":
        levels = len(indices(state, "synthesis.output")) + 1
        depth = len(indices(state, "mapping.dense"))
        ours = generator_map(levels=levels, depth=depth).to_ours(state, whose)
    else:
        levels = len(indices(state, "skip_layer")) + 2
        ours = discriminator_map(levels=levels).to_ours(state, whose)
    facts = {"w_avg": "in the file"} if kind == "generator" else {}
    return bundle_of(kind, architecture, ours, whose, facts=facts, config=config)


def _without_constants(state: Mapping[str, Tensor], whose: str) -> dict[str, Tensor]:
    """StyleGAN1's state less the blur kernels and the level of detail, once they are looked at."""
    kept = {}
    for name, tensor in state.items():
        if name.endswith("blur.kernel"):
            check_constant(tensor, BLUR.expand(len(tensor), 1, 3, 3), f"{whose}: {name}")
        elif name in ("lod", "synthesis.lod"):
            check_constant(tensor, torch.zeros(()), f"{whose}: {name}: training was not over")
        else:
            kept[name] = tensor
    return kept


# --- files ---------------------------------------------------------------------------------------


def _networks(value: object) -> dict[str, dict[str, Tensor]]:
    """State dicts by key; older files hold them under "models"."""
    models = value.get(MODELS, value) if isinstance(value, dict) else {}
    found = {key: state_of(models.get(key)) for key in ROLES} if isinstance(models, dict) else {}
    return {key: state for key, state in found.items() if state is not None}


class Genforce:
    """{"generator_smooth", "generator", "discriminator", …}, or one bare state dict."""

    name = "genforce"

    def detect(self, raw: Raw) -> bool:
        """Whether one of the states is a network of this layout."""
        return bool(self._states(raw))

    def _states(self, raw: Raw) -> dict[str, dict[str, Tensor]]:
        if (state := state_of(raw.value)) is not None:
            kind = (network_of(state) or ("", ""))[0]
            keys = {"generator": "generator_smooth", "discriminator": "discriminator"}
            return {keys[kind]: state} if kind else {}
        found = _networks(raw.value)
        return {key: state for key, state in found.items() if network_of(state)}

    def convert(self, raw: Raw) -> Contents:
        """Bundles of a file that was detected.

        Raises:
            TediError: a network's keys do not fit.
        """
        states = self._states(raw)
        parts = {ROLES[k]: read_network(s, f"{raw.path}: {k}") for k, s in states.items()}
        alone = state_of(raw.value) is not None
        rest = () if alone else unused(raw.value, [*states, MODELS], NOTES)
        return Contents(self.name, parts, rest)

    def fitting(self, parts: Mapping[str, Bundle]) -> dict[str, Bundle]:
        """StyleGAN1 and StyleGAN2, generators and discriminators."""
        known = {("generator", "stylegan1"), ("generator", "stylegan2")}
        known |= {("discriminator", architecture) for _, architecture in known}
        return {r: p for r, p in parts.items() if (p.kind, p.architecture) in known}

    def lay_out(self, parts: Mapping[str, Bundle]) -> dict[str, Any]:
        """What genforce's programs load: {"generator_smooth", "generator", "discriminator"}.

        Raises:
            TediError: a network has keys that this layout has no place for.
        """
        made = {_key(role, part): foreign_state(part) for role, part in parts.items()}
        if "generator" in made and "generator_smooth" not in made:
            made["generator_smooth"] = made.pop("generator")
        return made


def _key(role: str, part: Bundle) -> str:
    if part.kind == "discriminator":
        return "discriminator"
    return "generator" if role == "G" else "generator_smooth"


def foreign_state(bundle: Bundle) -> dict[str, Tensor]:
    """A StyleGAN1's or StyleGAN2's state in this layout.

    Raises:
        TediError: it has keys that this layout has no place for.
    """
    if bundle.architecture == "stylegan1":
        return _with_constants(bundle)
    levels = int(bundle.config["resolution"]).bit_length() - 1
    if bundle.kind == "discriminator":
        return discriminator_map(levels=levels).to_theirs(bundle.state)
    depth = len(indices(bundle.state, "mapping.fc"))
    return generator_map(levels=levels, depth=depth).to_theirs(bundle.state)


def _with_constants(bundle: Bundle) -> dict[str, Tensor]:
    state = dict(bundle.state)
    if bundle.kind == "discriminator":
        last = max(indices(state, "layer"))
        for i in range(1, last - 2, 2):
            channels = state[f"layer{i}.weight"].shape[1]
            state[f"layer{i}.blur.kernel"] = BLUR.expand(channels, 1, 3, 3).contiguous()
        return state | {"lod": torch.zeros(())}
    for i in indices(state, "synthesis.layer"):
        if i and i % 2 == 0:
            channels = len(state[f"synthesis.layer{i}.bias"])
            kernel = BLUR.expand(channels, 1, 3, 3).contiguous()
            state[f"synthesis.layer{i}.blur.kernel"] = kernel
    return state | {"synthesis.lod": torch.zeros(())}
