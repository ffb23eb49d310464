"""NVIDIA's PyTorch files of StyleGAN2-ADA and StyleGAN3, whose names are tedi's own.

A .pkl is {"G", "D", "G_ema", "augment_pipe", "training_set_kwargs"} of objects that carry their
source; the reader runs none of it and gives their tensors and the arguments they were made with,
which rule what shapes cannot tell. PTI saves such an object alone, or its bare state dict.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tedi.checkpoints.bundle import MISSING, UNTOLD, W_AVG, Bundle, Contents, bundle_of
from tedi.checkpoints.formats.content import plain, state_of, unused
from tedi.checkpoints.formats.keymap import binomial, check_constant
from tedi.checkpoints.raw import Raw, Stub
from tedi.errors import TediError

ROLES = ("G_ema", "G", "D")
CONSTANT = "resample_filter"
TRANSFORM = "synthesis.input.transform"
CONVOLUTIONS = ("conv0", "conv1", "fromrgb", "skip", "conv")
FIR = binomial(1, 3, 3, 1)
NOTES = {
    "augment_pipe": "augmentation of training",
    "training_set_kwargs": "where its training set lay",
    "snapshot_pkl": "name of a file",
    "progress": "progress of its training",
}
# What NVIDIA's networks are made with and shapes do not tell, by architecture: their name -> ours.
ARGUMENTS: dict[tuple[str, str], dict[str, str]] = {
    ("generator", "stylegan2"): {"conv_clamp": "conv_clamp"},
    ("discriminator", "stylegan2"): {"conv_clamp": "conv_clamp", "mbstd_group_size": "group"},
    ("generator", "stylegan3"): {
        name: name for name in UNTOLD["generator", "stylegan3"] if name != "resolution"
    },
}
NONE = {"conv_clamp": 0.0, "group": 1 << 20}  # what None means there: no bound, the whole batch
# What tedi's networks take for granted; a file that says otherwise would be drawn wrongly.
GRANTED: dict[str, Any] = {
    "img_channels": 3,
    "activation": "lrelu",
    "resample_filter": [1, 3, 3, 1],
    "lr_multiplier": 0.01,
}


def network_of(state: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Kind and architecture of a state dict of NVIDIA's names, or None."""
    if "synthesis.input.freqs" in state:
        return "generator", "stylegan3"
    if "synthesis.b4.const" in state:
        return "generator", "stylegan2"
    if "b4.out.weight" in state and "b4.fc.weight" in state:
        return "discriminator", "stylegan2"
    return None


def read_network(
    state: Mapping[str, Tensor], whose: str, *, arguments: Mapping[str, Any] | None = None
) -> Bundle:
    """The bundle of a state dict that `network_of` knows.

    Args:
        state: of NVIDIA's names.
        whose: for messages.
        arguments: what the network was made with, as the file tells it.

    Raises:
        TediError: keys are missing or unknown, a filter is another one than the network's, or it
            was made with what tedi's networks have not.
    """
    known = network_of(state)
    if known is None:
        raise TediError(f"{whose}: expected a network of StyleGAN2-ADA or StyleGAN3")
    flat = flattened(arguments or {})
    _check_granted(flat, whose)
    facts: dict[str, Any] = {"arguments": plain(arguments)} if arguments else {}
    ours = _without_constants(state, whose, facts)
    if known[0] == "generator":
        facts["w_avg"] = "in the file" if W_AVG[known[1]] in ours else MISSING
    config = _config(known, flat)
    return bundle_of(*known, ours, whose, facts=facts, config=config)


def _config(known: tuple[str, str], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ours that a file tells."""
    told = {ours: flat[theirs] for theirs, ours in ARGUMENTS[known].items() if theirs in flat}
    return {name: NONE[name] if value is None else value for name, value in told.items()}


def flattened(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with those of nested networks beside them; the innermost word counts.

    >>> flattened({"z_dim": 512, "mapping_kwargs": {"num_layers": 2}})
    {'z_dim': 512, 'num_layers': 2}
    """
    flat: dict[str, Any] = {}
    for name, value in arguments.items():
        flat |= flattened(value) if isinstance(value, Mapping) else {name: value}
    return flat


def _check_granted(flat: Mapping[str, Any], whose: str) -> None:
    for name, value in GRANTED.items():
        if name in flat and plain(flat[name]) != value:
            got = plain(flat[name])
            raise TediError(f"{whose}: made with {name} {got!r}; only {value!r} is known here")


def _without_constants(
    state: Mapping[str, Tensor], whose: str, facts: dict[str, Any]
) -> dict[str, Tensor]:
    """Our state: less the filters, once they are looked at, and with one user transform."""
    kept = {}
    for name, tensor in state.items():
        if name.endswith(CONSTANT):
            check_constant(tensor, FIR, f"{whose}: {name}")
        elif name == TRANSFORM and tensor.ndim == 3:
            kept[name], facts["transform"] = _one_transform(tensor)
        else:
            kept[name] = tensor
    return kept


def _one_transform(batch: Tensor) -> tuple[Tensor, str]:
    """The transform (3, 3) of a batch of them, which StyleGAN3-editing's encoders keep by chance.

    Where they differ, each belonged to a picture of the last batch of training.
    """
    if batch.is_meta or torch.equal(batch, batch[:1].expand_as(batch)):
        return batch[0], f"one for all, of a batch of {len(batch)}"
    return torch.eye(3), f"a batch of {len(batch)} that differ, left out: none is applied"


# --- files ---------------------------------------------------------------------------------------


class Nvidia:
    """A .pkl of {"G", "D", "G_ema", …}, one module, or state dicts: bare, or by the same names."""

    name = "nvidia"

    def detect(self, raw: Raw) -> bool:
        """Whether one of its networks has NVIDIA's names."""
        return any(network_of(state) for state, _ in self._networks(raw.value).values())

    def _networks(self, value: object) -> dict[str, tuple[dict[str, Tensor], Mapping[str, Any]]]:
        """State dicts and arguments by role."""
        if (state := state_of(value)) is not None:
            known = network_of(state) or ("", "")
            return {"D" if known[0] == "discriminator" else "G_ema": (state, _arguments(value))}
        if not isinstance(value, dict):
            return {}
        found = {role: state_of(value.get(role)) for role in ROLES}
        return {r: (s, _arguments(value[r])) for r, s in found.items() if s is not None}

    def convert(self, raw: Raw) -> Contents:
        """Bundles of a file that was detected.

        Raises:
            TediError: a network's keys do not fit, or it was made with what ours have not.
        """
        networks = self._networks(raw.value)
        parts = {
            role: read_network(state, f"{raw.path}: {role}", arguments=arguments)
            for role, (state, arguments) in networks.items()
        }
        lacks = tuple(sorted({"w_avg" for p in parts.values() if p.facts.get("w_avg") == MISSING}))
        alone = state_of(raw.value) is not None
        rest = () if alone else unused(raw.value, networks, NOTES)
        return Contents(self.name, parts, rest, lacks)

    def fitting(self, parts: Mapping[str, Bundle]) -> dict[str, Bundle]:
        """StyleGAN2, generators and discriminators, and StyleGAN3."""
        return {r: p for r, p in parts.items() if (p.kind, p.architecture) in ARGUMENTS}

    def lay_out(self, parts: Mapping[str, Bundle]) -> dict[str, Any]:
        """State dicts of NVIDIA's modules by role, filters included; no pickle with its source.

        Each is what `load_state_dict` of a module takes that was made with the same arguments.
        """
        return {_role(role, part): _with_constants(part) for role, part in parts.items()}


def _arguments(value: object) -> Mapping[str, Any]:
    state = value.state if isinstance(value, Stub) else None
    found = state.get("_init_kwargs") if isinstance(state, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _role(role: str, part: Bundle) -> str:
    if part.kind == "discriminator":
        return "D"
    return role if role in ROLES else "G_ema"


def _with_constants(part: Bundle) -> dict[str, Tensor]:
    state = dict(part.state)
    if part.architecture == "stylegan2":
        state |= {name: FIR.clone() for name in _filter_names(state)}
    return state


def _filter_names(state: Mapping[str, Tensor]) -> set[str]:
    """Each convolution keeps the filter, and each block, but for the discriminator's last."""
    names = set()
    for name in state:
        block, _, layer = name.removesuffix(".weight").rpartition(".")
        if name.endswith(".weight") and layer in CONVOLUTIONS:
            names.add(f"{block}.{layer}.{CONSTANT}")
            if layer != "conv":
                names.add(f"{block}.{CONSTANT}")
    return names
