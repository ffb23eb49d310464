"""Whether two bundles are the same network: the largest difference of what they make."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from tedi.checkpoints.bundle import TABLES, Bundle, build, codes_of
from tedi.errors import TediError
from tedi.interfaces import Generator

PSI = 0.7


def difference(before: Bundle, after: Bundle, *, count: int = 2) -> tuple[float, str]:
    """Largest difference of what two networks make of the same seeded numbers, and what that is.

    Generators map noise, move the code towards their own mean of W and draw it, so that mapping,
    mean and synthesis are all compared. What cannot be built is compared number by number.

    Args:
        before: one network.
        after: the other.
        count: pictures or codes compared.

    Raises:
        TediError: they are of different kinds or shapes.
    """
    if (before.kind, before.architecture) != (after.kind, after.architecture):
        raise TediError(f"expected a {before.architecture} {before.kind}, got {after.architecture}")
    if before.kind not in TABLES:
        return _state_difference(before, after), f"all {len(before.state)} tensors"
    networks = build(before), build(after)
    with torch.inference_mode():
        made = [_made(network, before.kind, count) for network in networks]
    names = {"generator": "pictures", "encoder": "codes", "base encoder": "base codes"}
    names["latent mapper"] = "codes"
    what = f"{count} {names.get(before.kind, 'logits')}"
    return _distance(*made), what


def _distance(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        raise TediError(f"expected results of shape {tuple(a.shape)}, got {tuple(b.shape)}")
    gap = (a.double() - b.double()).abs().max().item()
    if gap != gap:
        raise TediError("the network makes NaN of ordinary noise; its weights are damaged")
    return gap


def _state_difference(before: Bundle, after: Bundle) -> float:
    if before.state.keys() != after.state.keys():
        raise TediError("expected the same tensors, found others")
    return max((_distance(t, after.state[n]) for n, t in before.state.items()), default=0.0)


def _made(network: nn.Module, kind: str, count: int) -> Tensor:
    """Pictures, codes or logits; pictures one at a time, one of 1024 px takes a gigabyte."""
    if kind == "generator":
        return torch.cat([_picture(network, seed) for seed in range(count)])
    if kind == "latent discriminator":
        return network(_noise(0, count, int(cast("Any", network).width)))
    if kind == "latent mapper":
        mapper = cast("Any", network)
        return network(_noise(0, count, mapper.fine + 1, mapper.width))
    about = cast("Any", network)
    size = int(getattr(about, "resolution", None) or about.size)
    image = _noise(0, count, int(getattr(about, "channels", 3)), size, size) / 2
    if classes := int(getattr(about, "config", {}).get("classes", 0)):
        return network(image, torch.eye(classes)[torch.arange(count) % classes])
    return network(image)


def _noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _picture(network: nn.Module, seed: int) -> Tensor:
    generator = cast("Generator", network)
    w = codes_of(network, 1, torch.Generator().manual_seed(seed))
    w = generator.w_avg + PSI * (w - generator.w_avg)
    ws = w if w.ndim == 3 else w[:, None].expand(-1, generator.slots, -1)
    return generator.synthesis(ws)
