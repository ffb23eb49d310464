"""Copies of a generator with some weights of their own, the others shared.

Pivotal tuning (Roich et al. 2021, arXiv 2106.05744, section 3.2) changes a generator for one
person; the generator that everybody else draws with must stay as it is.
"""

import copy
from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from tedi.errors import TediError, UsageError
from tedi.interfaces import Generator


def network_of(generator: Generator) -> nn.Module:
    """The generator as a module, whose weights can be named.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(generator, nn.Module):
        kind = type(generator).__name__
        raise UsageError(f"generator: only networks can be tuned, got {kind}; choose optimize")
    return generator


def tuned_copy(generator: Generator, own: Collection[str]) -> Generator:
    """A generator that draws the same, with its own copies of some weights.

    All other weights and buffers are the generator's, not copies: a hundred tuned generators hold
    one mapping network.

    Args:
        generator: stays as it is.
        own: names of weights, as `named_parameters` gives them.

    Raises:
        UsageError: the generator is no network, or has no such weight.
    """
    network = network_of(generator)
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    if strange := sorted(set(own) - set(tensors)):
        raise UsageError(f"own: {network._get_name()} has no weight {strange[0]!r}")
    shared = {id(tensor): tensor for name, tensor in tensors.items() if name not in own}
    return cast(Generator, copy.deepcopy(network, memo=dict(shared)))


def changes(generator: Generator, tuned: Generator) -> dict[str, Tensor]:
    """What was added to each weight that differs, by name.

    Raises:
        UsageError: one is no network.
        TediError: they are not of one kind.
    """
    before, after = (dict(network_of(g).named_parameters()) for g in (generator, tuned))
    if {n: t.shape for n, t in before.items()} != {n: t.shape for n, t in after.items()}:
        raise TediError("tuned: its weights have other names or shapes than the generator's")
    pairs = ((name, tensor, after[name]) for name, tensor in before.items())
    with torch.no_grad():
        return {n: new - old for n, old, new in pairs if not torch.equal(old, new)}


def with_changes(generator: Generator, added: Mapping[str, Tensor]) -> Generator:
    """A tuned copy whose weights are the generator's plus what is added, by name.

    Raises:
        UsageError: the generator has no such weight, or one of another shape.
    """
    tuned = tuned_copy(generator, added.keys())
    parameters = dict(network_of(tuned).named_parameters())
    with torch.no_grad():
        for name, change in added.items():
            if change.shape != parameters[name].shape:
                expected, got = tuple(parameters[name].shape), tuple(change.shape)
                raise UsageError(f"{name}: expected a change of shape {expected}, got {got}")
            parameters[name].add_(change.to(parameters[name]))
    return tuned
