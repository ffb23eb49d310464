"""Networks of anybody's weight files, ready to build; and our own files, which hold the same.

A `Bundle` is one network in tedi's own names: what it is, the arguments that rebuild it, its
tensors. `Contents` are the bundles of a file; `tedi.checkpoints.formats` makes them of what others
wrote. Nothing is run to read a file, and a network is only built when it is asked for.
"""

import inspect
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from tedi.blank import Blank
from tedi.checkpoints import formats
from tedi.encoders import BASE_ENCODERS, ENCODERS, LATENT_DISCRIMINATORS, MAPPERS
from tedi.errors import TediError
from tedi.generators import DISCRIMINATORS, GENERATORS
from tedi.interfaces import Encoder, Generator, z_width
from tedi.outputs import Exist, write_atomically
from tedi.registry import Table
from tedi.tensors import save_file

TABLES: dict[str, Table] = {
    "generator": GENERATORS,
    "discriminator": DISCRIMINATORS,
    "encoder": ENCODERS,
    "base encoder": BASE_ENCODERS,
    "latent discriminator": LATENT_DISCRIMINATORS,
    "latent mapper": MAPPERS,
}
"""Kinds that can be built, and where their architectures are."""

BEST = ("G_ema", "decoder", "G")
"""Roles of generators, the best first: a running mean of weights draws better than the last ones.
A decoder is what an encoder was trained with."""

W_AVG = {
    "mobilestylegan": "w_avg",
    "stylegan1": "truncation.w_avg",
    "stylegan2": "mapping.w_avg",
    "stylegan3": "mapping.w_avg",
}
"""Where a generator's state keeps the mean of W."""

UNTOLD: dict[tuple[str, str], frozenset[str]] = {
    ("generator", "stylegan1"): frozenset({"final_tanh", "fused_from", "noise"}),
    ("generator", "stylegan2"): frozenset({"conv_clamp", "noise"}),
    ("generator", "stylegan3"): frozenset(
        {
            *("channel_base", "channel_max", "first_cutoff", "first_stopband", "num_critical"),
            *("last_stopband_rel", "margin_size", "use_radial_filters", "lrelu_upsampling"),
            *("filter_size", "conv_clamp", "output_scale"),
        }
    ),
    ("discriminator", "stylegan1"): frozenset({"group"}),
    ("discriminator", "stylegan2"): frozenset({"conv_clamp", "group"}),
    ("base encoder", "bdinvert"): frozenset({"base"}),
    ("latent mapper", "styleclip"): frozenset({"medium", "fine"}),
}
"""Arguments that shapes do not tell, or not surely: a file that knows them has the last word."""

MISSING = "missing"
SAMPLES = 10_000  # noises whose codes make a mean of W that a file lacks
PARTS = "parts"


@dataclass(frozen=True)
class Bundle:
    """One network.

    Attributes:
        kind: "generator", "discriminator", "encoder", "base encoder", "latent discriminator",
            "latent mapper", "mapper" or "pca".
        architecture: its name in the table of its kind.
        config: the arguments that rebuild it, all of them.
        state: tensors by tedi's names, complete; only a missing mean of W may be left out.
        facts: what else its file tells of it, as plain data.
    """

    kind: str
    architecture: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        format: its name in `tedi.checkpoints.formats.FORMATS`.
        parts: bundles by role: "G_ema", "G", "D", "encoder", "decoder", …
        others: what lies in it unused, each with what it is: "g_optim: optimiser state".
        lacks: what a user will miss: "w_avg".
    """

    format: str
    parts: dict[str, Bundle]
    others: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


# --- making --------------------------------------------------------------------------------------


def bundle_of(
    kind: str,
    architecture: str,
    state: dict[str, Tensor],
    whose: str,
    *,
    facts: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Bundle:
    """The bundle of a state dict, its architecture read off names and shapes and checked.

    Args:
        kind: of `TABLES`.
        architecture: of the kind's table.
        state: by tedi's names; may lie on the meta device, no value is looked at.
        whose: the network, for messages: "faces.pkl: G_ema".
        facts: see `Bundle`.
        config: arguments that shapes do not tell, from whoever knows them.

    Raises:
        TediError: a key is missing or unknown, or a tensor has another shape.
    """
    for name, tensor in state.items():
        if 0 in tensor.shape:
            raise TediError(f"{whose}: {name}: a tensor of nothing, {tuple(tensor.shape)}")
    network = TABLES[kind][architecture]
    try:
        told = getattr(network, "read_config", _no_config)(state)
        full = told | _settings(network, told, config or {}, UNTOLD.get((kind, architecture), ()))
        with Blank():
            built = network(**full)
    except TediError as error:
        raise TediError(f"{whose}: {error}") from error
    known, spared = dict(facts or {}), W_AVG.get(architecture, "")
    _check_shapes(built.state_dict(), state, whose, spared=spared, facts=known)
    return Bundle(kind, architecture, dict(getattr(built, "config", full)), state, known)


def _no_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {}


def _settings(
    network: type[nn.Module],
    told: Mapping[str, Any],
    config: Mapping[str, Any],
    untold: Collection[str],
) -> dict[str, Any]:
    """What a file says of its network, checked against what its tensors say."""
    taken = inspect.signature(network).parameters
    settings = {}
    for name, value in config.items():
        if name in untold:
            settings[name] = _typed(name, value, taken[name].default)
        elif name not in told or told[name] != value:
            shown = repr(told.get(name, "nothing of it"))
            raise TediError(f"its settings say {name} {value!r}, its tensors {shown}")
    return settings


def _typed(name: str, value: object, default: object) -> Any:
    """A setting of its argument's type; whole numbers may stand for others."""
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        expected, got = type(default).__name__, type(value).__name__
        raise TediError(f"its settings say {name} {value!r:.40}: expected {expected}, got {got}")
    return value


def _check_shapes(
    expected: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    whose: str,
    *,
    spared: str,
    facts: Mapping[str, Any],
) -> None:
    """Raise unless names and shapes are those expected; `spared` may lack if the facts say so."""
    for name in expected:
        if name not in state and not (name == spared and facts.get("w_avg") == MISSING):
            raise TediError(f"{whose}: {name!r} is missing")
    for name, tensor in state.items():
        if name not in expected:
            raise TediError(f"{whose}: unknown key {name!r}")
        if tensor.shape != expected[name].shape:
            shapes = f"expected {tuple(expected[name].shape)}, got {tuple(tensor.shape)}"
            raise TediError(f"{whose}: {name}: {shapes}")


# --- building ------------------------------------------------------------------------------------


def build(bundle: Bundle) -> nn.Module:
    """The network of a bundle, frozen, float32, in evaluation mode.

    Raises:
        TediError: its kind cannot be built, or its tensors do not fit.
    """
    if bundle.kind not in TABLES:
        raise TediError(f"{bundle.kind}: is kept as it is; there is no network of it to build")
    bundle = complete(bundle)
    return _filled(TABLES[bundle.kind][bundle.architecture](**bundle.config), bundle)


def complete(bundle: Bundle) -> Bundle:
    """The bundle, with a mean of W where a generator's file had none; `facts["w_avg"]` says so.

    It is the mean of the mapping network's codes of `SAMPLES` noises, seeded. Training keeps a
    running mean instead, which differs by the sampling error, a hundredth of W's spread.

    Raises:
        TediError: its tensors do not fit, or it is an encoder whose mean nobody knows.
    """
    if bundle.kind == "encoder" and bundle.facts.get("w_avg") == MISSING:
        raise TediError(
            "encoder: its file has neither latent_avg nor a decoder, so that its codes "
            "would lack the mean of W"
        )
    if bundle.kind != "generator" or bundle.facts.get("w_avg") != MISSING:
        return bundle
    name = W_AVG[bundle.architecture]
    network: nn.Module = GENERATORS[bundle.architecture](**bundle.config)
    blank = torch.zeros_like(network.state_dict()[name])
    _filled(network, replace(bundle, state=bundle.state | {name: blank}))
    mean = _mean_code(network).reshape(blank.shape)
    told = f"{MISSING} in the file; the mean of {SAMPLES} seeded noises"
    return replace(bundle, state=bundle.state | {name: mean}, facts=bundle.facts | {"w_avg": told})


def _mean_code(network: nn.Module) -> Tensor:
    """Mean of the codes that a mapping network makes, (C,) or (L, C)."""
    random = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        parts = [
            codes_of(network, 1000, random).double().sum(dim=0) for _ in range(SAMPLES // 1000)
        ]
    return (torch.stack(parts).sum(dim=0) / SAMPLES).float().clone()


def codes_of(network: nn.Module, count: int, random: torch.Generator) -> Tensor:
    """Codes (N, C) or (N, L, C) of noise; a generator of classes gets one by chance for each."""
    generator: Any = network
    config = getattr(generator, "config", {})
    z = torch.randn(count, z_width(generator), generator=random)
    if classes := int(config.get("classes", 0)):
        labels = torch.randint(classes, (count,), generator=random)
        return generator.mapping(z, nn.functional.one_hot(labels, classes).float())
    return generator.mapping(z)


def _filled(network: nn.Module, bundle: Bundle) -> nn.Module:
    try:
        network.load_state_dict(bundle.state)  # copies: what is half there becomes float32
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise TediError(f"{bundle.architecture}: does not fit: {reason}") from error
    return network.eval().requires_grad_(False)


# --- files ---------------------------------------------------------------------------------------


def read(path: Path, *, values: bool = True) -> Contents:
    """What a file of any known format holds; nothing in it is run.

    Args:
        path: a file; its name does not matter.
        values: False reads shapes alone: tensors lie on the meta device.

    Raises:
        TediError: not there, damaged, refused, of no known format, or a network does not fit.
    """
    from tedi.checkpoints import raw

    return formats.convert(raw.read(path, values=values))


def open_generator(path: Path) -> Generator:
    """The best generator of a file, frozen, float32: an averaged one, a decoder, a last one.

    Raises:
        TediError: what `read` raises, or the file holds no generator.
    """
    parts = read(path).parts
    found = [role for role, part in parts.items() if part.kind == "generator"]
    if not found:
        raise TediError(f"{path}: expected a generator, holds {_roles(parts)}")
    return cast("Generator", build(parts[min(found, key=rank)]))


def rank(role: str) -> int:
    """0 for the role of generators that is best to draw with, more for others."""
    return BEST.index(role) if role in BEST else len(BEST)


def open_encoder(path: Path) -> tuple[Encoder, Generator | None]:
    """The encoder of a file and the generator it was trained with, if that lies beside it.

    Raises:
        TediError: what `read` raises, or the file holds no encoder.
    """
    encoder, decoder = encoder_of(path)
    generator = None if decoder is None else cast("Generator", build(decoder))
    return cast("Encoder", build(encoder)), generator


def encoder_of(path: Path) -> tuple[Bundle, Bundle | None]:
    """The encoder of a file and its generator, to be built.

    Raises:
        TediError: what `read` raises, or the file holds no encoder.
    """
    parts = read(path).parts
    found = next((part for part in parts.values() if part.kind == "encoder"), None)
    if found is None:
        raise TediError(f"{path}: expected an encoder, holds {_roles(parts)}")
    return found, next((part for part in parts.values() if part.kind == "generator"), None)


def _roles(parts: Mapping[str, Bundle]) -> str:
    return ", ".join(f"{role} ({part.kind})" for role, part in parts.items()) or "no network"


def save(
    path: Path,
    parts: Mapping[str, Bundle],
    *,
    exist: Exist = "error",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write bundles as safetensors, whole or not at all.

    One bundle lies bare, its kind, architecture, config and facts in the metadata; of several,
    names begin with their role, and the metadata has all of this by role.

    Args:
        path: a .safetensors file.
        parts: by role.
        exist: "error" keeps a file that is already there, "overwrite" replaces it.
        metadata: what else to say: where it came from, its licence.

    Raises:
        TediError: the file exists or cannot be written.
    """
    tensors, header = packed(parts)
    header = {**(metadata or {}), **header}
    write_atomically(path, lambda file: save_file(tensors, file, metadata=header), exist=exist)


def packed(parts: Mapping[str, Bundle]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of our own files."""
    told = {role: _told(part) for role, part in parts.items()}
    if len(parts) == 1:
        ((role, part),) = parts.items()
        header = {k: v if isinstance(v, str) else json.dumps(v) for k, v in told[role].items()}
        return {name: tensor.clone() for name, tensor in _laid(part)}, {"role": role, **header}
    tensors = {
        f"{role}.{name}": tensor.clone()
        for role, part in parts.items()
        for name, tensor in _laid(part)
    }
    return tensors, {PARTS: json.dumps(told)}


def _laid(part: Bundle) -> Iterable[tuple[str, Tensor]]:
    return ((name, tensor.contiguous()) for name, tensor in part.state.items())


def _told(part: Bundle) -> dict[str, Any]:
    return {
        "kind": part.kind,
        "architecture": part.architecture,
        "config": part.config,
        "facts": part.facts,
    }
