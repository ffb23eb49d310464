"""pSp's family: {"state_dict": encoder.* and decoder.*, "opts": …, "latent_avg": …}.

pSp, e4e, ReStyle and StyleGAN3-editing write it. The encoder's class is told by the options, since
e4e's has the names of pSp's; the decoder is StyleGAN2 in rosinality's layout or NVIDIA's StyleGAN3.
The mean of W lies beside, (L, C) or (C,): it goes into the encoder's `w_avg`, and into the decoder
where that has none of its own. Without it, the encoder gets the decoder's.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tedi.blank import Blank
from tedi.checkpoints.bundle import MISSING, W_AVG, Bundle, Contents, bundle_of, complete
from tedi.checkpoints.formats import nvidia, rosinality
from tedi.checkpoints.formats.content import is_state, plain, told, unused
from tedi.checkpoints.formats.keymap import below, indices
from tedi.checkpoints.raw import Raw
from tedi.encoders import ENCODER_TYPES
from tedi.encoders.mapper import LatentMapper
from tedi.encoders.psp import encoder_type
from tedi.errors import TediError
from tedi.generators import GENERATORS

HEAD = "styles.0.linear.weight"
STATE, OPTIONS, MEAN, D_W = "state_dict", "opts", "latent_avg", "discriminator_state_dict"
NOTES = {
    "optimizer": "optimiser state",
    "optimizer_state": "optimiser state",
    "discriminator_optimizer_state_dict": "optimiser state",
    "global_step": "number of training steps",
    "best_val_loss": "best loss in training",
    "latent_avg": "mean of W",
}


class Psp:
    """An encoder, mostly with the decoder it was trained with."""

    name = "psp"

    def detect(self, raw: Raw) -> bool:
        """Whether there is a state dict with an encoder of this family in it."""
        state = _state(raw)
        return "encoder.input_layer.0.weight" in state or "encoder.conv1.weight" in state

    def convert(self, raw: Raw) -> Contents:
        """Bundles of a file that was detected.

        Raises:
            TediError: a network's keys do not fit, or its options name an unknown encoder.
        """
        state, options = _state(raw), _options(raw)
        for name in state:
            if not name.startswith(("encoder.", "decoder.")):
                raise TediError(f"{raw.path}: state_dict: unknown key {name!r}")
        mean, whose = _mean(raw), f"{raw.path}: encoder"
        parts: dict[str, Bundle] = {}
        lacks: tuple[str, ...] = ()
        if decoder := below(state, "decoder."):
            parts["decoder"], lacks = _decoder(decoder, mean, f"{raw.path}: decoder")
            if mean is None:
                mean = _mean_of(parts["decoder"])
        encoder = below(state, "encoder.")
        parts["encoder"] = _encoder(encoder, mean, options, parts.get("decoder"), whose)
        if parts["encoder"].facts["w_avg"] == MISSING and not lacks:
            lacks = ("w_avg",)
        if is_state(found := raw.value.get(D_W)):
            parts["latent_discriminator"] = bundle_of(
                "latent discriminator", "e4e", found, f"{raw.path}: {D_W}"
            )
        rest = unused(raw.value, (STATE, OPTIONS, MEAN, D_W), NOTES)
        return Contents(self.name, parts, rest, lacks)


def _state(raw: Raw) -> dict[str, Tensor]:
    found = raw.value.get(STATE) if isinstance(raw.value, dict) else None
    return found if is_state(found) else {}


def _options(raw: Raw) -> dict[str, Any]:
    """What the encoder was trained with, as plain data."""
    found = plain(raw.value.get(OPTIONS))
    if not isinstance(found, dict | None):
        raise TediError(f"{raw.path}: {OPTIONS}: expected names and values, got {told(found)}")
    return found or {}


def _mean(raw: Raw) -> Tensor | None:
    """Mean of W, (R, C) with R 1 or L."""
    mean = raw.value.get(MEAN)
    if mean is None:
        return None
    if not isinstance(mean, Tensor) or not 1 <= mean.ndim <= 3 or not mean.numel():
        raise TediError(f"{raw.path}: {MEAN}: expected (C,) or (L, C), got {told(mean)}")
    return mean.reshape(-1, mean.shape[-1])


def _mean_of(decoder: Bundle) -> Tensor | None:
    """The mean (1, C) that a decoder has itself, or that its mapping network makes."""
    if next(iter(decoder.state.values())).is_meta and decoder.facts["w_avg"] == MISSING:
        return None
    return complete(decoder).state[W_AVG[decoder.architecture]][None]


def _decoder(
    state: dict[str, Tensor], mean: Tensor | None, whose: str
) -> tuple[Bundle, tuple[str, ...]]:
    if nvidia.network_of(state):
        return nvidia.read_network(state, whose), ()
    if not rosinality.is_generator(state):
        raise TediError(f"{whose}: expected StyleGAN2 or StyleGAN3; {_first(state)} is of neither")
    return rosinality.read_generator(state, _one(mean), whose)


def _first(state: Mapping[str, Tensor]) -> str:
    return repr(next(iter(state)))


def _one(mean: Tensor | None) -> Tensor | None:
    """The mean (C,), if all slots have the same."""
    if mean is None or (not mean.is_meta and not torch.equal(mean, mean[:1].expand_as(mean))):
        return None
    return mean[0]


def _encoder(
    state: dict[str, Tensor],
    mean: Tensor | None,
    options: Mapping[str, Any],
    decoder: Bundle | None,
    whose: str,
) -> Bundle:
    kind = str(options.get("encoder_type") or encoder_type(state))
    if kind not in ENCODER_TYPES:
        known = ", ".join(ENCODER_TYPES)
        raise TediError(f"{whose}: opts: unknown encoder_type {kind!r}; known are {known}")
    slots, width = _slots(state, mean, decoder, whose), _width(state, whose)
    facts: dict[str, Any] = {"encoder_type": kind, "opts": dict(options)}
    w_avg = torch.zeros(slots, width, device=next(iter(state.values())).device)
    if not options.get("start_from_latent_avg", True):
        facts["w_avg"] = "not added: start_from_latent_avg is false"
    elif mean is None:
        facts["w_avg"] = MISSING
    elif mean.shape[1] != width or len(mean) not in (1, slots):
        expected = f"({width},) or ({slots}, {width})"
        raise TediError(f"{whose}: {MEAN}: expected {expected}, got {tuple(mean.shape)}")
    else:
        w_avg, facts["w_avg"] = mean.expand(slots, width).clone(), "in the file"
    if (steps := options.get("n_iters_per_batch")) is not None:
        facts["n_iters"] = steps
    return bundle_of("encoder", ENCODER_TYPES[kind], state | {"w_avg": w_avg}, whose, facts=facts)


def _width(state: Mapping[str, Tensor], whose: str) -> int:
    """C, read off the first layer that gives codes."""
    name = HEAD if HEAD in state else "linear.weight"
    if name not in state or state[name].ndim != 2:
        raise TediError(f"{whose}: expected a matrix {name!r}")
    return state[name].shape[1]


def _slots(
    state: Mapping[str, Tensor], mean: Tensor | None, decoder: Bundle | None, whose: str
) -> int:
    """L: the number of heads, else of the rows of the mean, else of the decoder."""
    if heads := len(indices(state, "styles.")):
        return heads
    if mean is not None and len(mean) > 1:
        return len(mean)
    if decoder is None:
        raise TediError(f"{whose}: neither {MEAN} nor a decoder tells how many slots it has")
    return slots_of(decoder)


def slots_of(generator: Bundle) -> int:
    """Style slots L of a generator."""
    with Blank():
        network = GENERATORS[generator.architecture](**generator.config)
    return int(network.slots)


class StyleClip:
    """StyleCLIP's mappers: {"state_dict": mapper.* (and decoder.*), "opts"}.

    Those of W+ are built; those of S, which are for one generator's channels, are kept.
    """

    name = "styleclip"

    def detect(self, raw: Raw) -> bool:
        """Whether there is a state dict with a mapper in it."""
        return any(name.startswith("mapper.") for name in _state(raw))

    def convert(self, raw: Raw) -> Contents:
        """Bundles of a file that was detected.

        Raises:
            TediError: the decoder's keys do not fit, or those of a mapper of W+.
        """
        state, options = _state(raw), _options(raw)
        parts = {"mapper": _mapper(below(state, "mapper."), options, f"{raw.path}: mapper")}
        lacks: tuple[str, ...] = ()
        if decoder := below(state, "decoder."):
            mean = _one(_mean(raw))
            parts["decoder"], lacks = _decoder(decoder, mean, f"{raw.path}: decoder")
        return Contents(self.name, parts, unused(raw.value, (STATE, OPTIONS, MEAN), NOTES), lacks)


def _mapper(state: dict[str, Tensor], options: dict[str, Any], whose: str) -> Bundle:
    facts = {"opts": options}
    if LatentMapper.is_one(state):
        return bundle_of("latent mapper", "styleclip", state, whose, facts=facts)
    return Bundle("mapper", "styleclip", {}, state, facts)
