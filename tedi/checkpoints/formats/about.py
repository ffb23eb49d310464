"""What a network is, in words and numbers: family, variant, size, channels, terms."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from tedi.blank import Blank
from tedi.checkpoints.bundle import TABLES, Bundle, Contents
from tedi.checkpoints.formats.keymap import indices
from tedi.checkpoints.raw import Raw
from tedi.interfaces import Generator

FAMILIES = {
    "mobilestylegan": "MobileStyleGAN",
    "stylegan1": "StyleGAN",
    "stylegan2": "StyleGAN2",
    "stylegan3": "StyleGAN3",
    "psp": "pSp",
    "e4e": "e4e",
    "idinvert": "idinvert",
    "bdinvert": "BDInvert",
    "styleclip": "StyleCLIP",
    "ii2s": "II2S",
}
NVIDIA = (
    "not in the file; NVIDIA's code is for non-commercial use, and its weights have terms of "
    "their own: look where yours came from"
)
LICENCES = {
    "nvidia": NVIDIA,
    "nvidia-tensorflow": NVIDIA,
    "rosinality": "not in the file; often converted from NVIDIA's weights, whose terms then hold",
    "genforce": "not in the file; the code is MIT; some of its weights are NVIDIA's, converted",
    "idinvert": "not in the file; the code is MIT",
    "psp": "not in the file; the code is MIT; a decoder that was NVIDIA's keeps its terms",
    "styleclip": "not in the file; the code is MIT; a decoder that was NVIDIA's keeps its terms",
    "bdinvert": "not in the file; the code is AGPL-3.0",
    "latent-discriminator": "not in the file; e4e's code is MIT",
}
UNKNOWN = "not in the file; look where yours came from"


def licence(contents: Contents, raw: Raw) -> str:
    """What is known of a file's terms."""
    return raw.metadata.get("licence") or LICENCES.get(contents.format, UNKNOWN)


def describe(bundle: Bundle) -> dict[str, Any]:
    """What a network is; only what applies to its kind is told.

    Returns:
        kind, family, variant, resolution, slots, width, mapping depth, channels by resolution (by
        layer in StyleGAN3), parameters; shapes are enough, tensors may lie on the meta device.
    """
    told: dict[str, Any] = {"kind": bundle.kind, "family": family(bundle)}
    network = _blank(bundle)
    if network is not None and bundle.kind == "generator":
        told |= _generator(bundle, network)
    else:
        told |= {name: bundle.config.get(name) for name in ("resolution", "slots", "base")}
        told["channels_in"] = bundle.config.get("channels")
    told["parameters"] = _count(bundle, network)
    shown = ("w_avg", "encoder_type", "n_iters", "version", "truncation")
    told |= {name: bundle.facts[name] for name in shown if name in bundle.facts}
    return {name: value for name, value in told.items() if value is not None}


def _blank(bundle: Bundle) -> nn.Module | None:
    """The network without its numbers, where it can be built."""
    if bundle.kind not in TABLES:
        return None
    with Blank():
        network: nn.Module = TABLES[bundle.kind][bundle.architecture](**bundle.config)
    return network


def _count(bundle: Bundle, network: nn.Module | None) -> int:
    """Trained numbers; all numbers of what cannot be built."""
    counted = bundle.state.values() if network is None else network.parameters()
    return sum(tensor.numel() for tensor in counted)


def family(bundle: Bundle) -> str:
    """Name that people know a network by."""
    first, dash, rest = bundle.architecture.partition("-")
    known = FAMILIES.get(first, bundle.architecture)
    return f"{known} ({rest})" if dash else known


def _generator(bundle: Bundle, network: nn.Module) -> dict[str, Any]:
    generator = cast("Generator", network)
    layers = {"stylegan1": "mapping.dense", "mobilestylegan": "mapping.layers."}
    first = layers.get(bundle.architecture, "mapping.fc")
    return {
        "variant": variant(bundle),
        "resolution": generator.resolution,
        "slots": generator.slots,
        "width": generator.width,
        "mapping_depth": len(indices(bundle.state, first)),
        "channels": channels(bundle),
    }


def channels(bundle: Bundle) -> dict[str, int]:
    """Channels by resolution in pixels; by layer in StyleGAN3."""
    state, found = bundle.state, {}
    if bundle.architecture == "stylegan1":
        for i in indices(state, "synthesis.layer"):
            found[str(4 << (i // 2))] = state[f"synthesis.layer{i}.bias"].numel()
    elif bundle.architecture == "stylegan2":
        for size in indices(state, "synthesis.b"):
            found[str(size)] = state[f"synthesis.b{size}.conv1.bias"].numel()
    elif bundle.architecture == "stylegan3":
        for name, tensor in state.items():
            parts = name.split(".")
            if len(parts) == 3 and parts[1].startswith("L") and parts[2] == "bias":
                found[parts[1]] = tensor.numel()
    return found


def variant(bundle: Bundle) -> str | None:
    """Which of a family's published configurations it is."""
    if bundle.architecture == "stylegan1":
        own = bool(bundle.config["own_w"])
        return "a w for each layer (idinvert, TediGAN)" if own else "one w for all layers"
    if bundle.architecture == "stylegan3":
        return "SG3-R" if _kernel(bundle.state) == 1 else "SG3-T"
    if bundle.architecture == "stylegan2":
        return _stylegan2_variant(channels(bundle))
    return None


def _kernel(state: Mapping[str, torch.Tensor]) -> int:
    first = next(n for n in state if n.startswith("synthesis.L0_") and n.endswith(".weight"))
    return state[first].shape[-1]


def _stylegan2_variant(found: Mapping[str, int]) -> str:
    for base, name in ((32768, "config-f"), (16384, "half of config-f's channels (paper256)")):
        if all(count == min(base // int(size), 512) for size, count in found.items()):
            return name
    return "channels of its own"
