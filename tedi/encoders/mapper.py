"""StyleCLIP's latent mapper: the move of a code that one text asks for.

Patashnik et al. 2021, section 4: w' = w + 0.1 M(w), where M has a network for each of the groups
coarse, medium and fine of slots. Parts are named as in released files, "course" included.

Each network begins with a normalisation that the released code takes over the slots of its group,
channel by channel, not over the channels of a slot; that is kept, since published mappers were
trained so.
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders.shapes import shape_of
from tedi.errors import UsageError

RATE = 0.01  # learning rate of the layers, in units of the optimiser's
SHARE = 0.1  # of M that is added to a code
GROUPS = ("course", "medium", "fine")  # as the released files spell them
Config = dict[str, int | float | bool | str]


class Norm(nn.Module):
    """x / √(mean x² + 1e-8) over dimension 1, the slots of codes (N, L, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class Layer(nn.Module):
    """Linear of equalised learning rate (Karras et al. 2018), leaky ReLU of 0.2, times √2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width) / RATE)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        scale = RATE * self.weight.shape[1] ** -0.5
        return F.leaky_relu(F.linear(x, self.weight * scale, self.bias * RATE), 0.2) * 2**0.5


class SlotMapper(nn.Module):
    """Codes (N, l, C) of some slots -> M of them."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.mapping = nn.Sequential(Norm(), *(Layer(width) for _ in range(depth)))

    def forward(self, ws: Tensor) -> Tensor:
        return self.mapping(ws)


class LatentMapper(nn.Module):
    """Codes ws (N, L, C), absolute -> codes that show its text.

    Args:
        width: C.
        depth: layers of each network.
        groups: which of "coarse", "medium" and "fine" have a network; others stay. "all" is one
            network for all slots.
        medium: first slot of the medium group.
        fine: first slot of the fine group.

    Attributes:
        config: the arguments that build it again.

    Raises:
        UsageError: no group, or slots out of order.
    """

    def __init__(
        self,
        *,
        width: int = 512,
        depth: int = 4,
        groups: str = "coarse,medium,fine",
        medium: int = 4,
        fine: int = 8,
    ) -> None:
        super().__init__()
        named = groups.split(",")
        if not set(named) <= {"coarse", "medium", "fine"} and named != ["all"]:
            raise UsageError(f"groups: expected some of coarse, medium, fine, or all, got {groups}")
        if not 0 < medium < fine:
            raise UsageError(f"medium, fine: expected 0 < medium < fine, got {medium} and {fine}")
        self.config: Config = {
            **{"width": width, "depth": depth, "groups": groups},
            **{"medium": medium, "fine": fine},
        }
        self.width, self.medium, self.fine = width, medium, fine
        self.whole = named == ["all"]
        if self.whole:
            self.mapping = SlotMapper(width, depth).mapping
            return
        for name in GROUPS:
            if name.replace("course", "coarse") in named:
                self.add_module(f"{name}_mapping", SlotMapper(width, depth))

    def forward(self, ws: Tensor) -> Tensor:
        """Codes (N, L, C), new.

        Raises:
            UsageError: codes of another width, or of too few slots.
        """
        if ws.ndim != 3 or ws.shape[2] != self.width or ws.shape[1] <= self.fine:
            expected = f"(N, {self.fine + 1} or more, {self.width})"
            raise UsageError(f"ws: expected {expected}, got {tuple(ws.shape)}")
        return ws + SHARE * self.moves(ws)

    def moves(self, ws: Tensor) -> Tensor:
        """M (N, L, C), zeros in groups that have no network."""
        if self.whole:
            return self.mapping(ws)
        parts = ws.split([self.medium, self.fine - self.medium, ws.shape[1] - self.fine], dim=1)
        networks = [getattr(self, f"{name}_mapping", torch.zeros_like) for name in GROUPS]
        return torch.cat([n(part) for n, part in zip(networks, parts, strict=True)], dim=1)

    @classmethod
    def is_one(cls, state: Mapping[str, Tensor]) -> bool:
        """Whether names are those of a mapper of W+; StyleCLIP has others, of S."""
        known = rf"((?:{'|'.join(GROUPS)})_mapping\.)?mapping\.\d+\.(weight|bias)"
        return any(name.endswith(".bias") for name in state) and all(
            re.fullmatch(known, name) for name in state
        )

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """The arguments that build the network of a state dict; slots are StyleGAN2's of 1024 px.

        Raises:
            TediError: the name of a tensor that is missing.
        """
        found = [name for name in GROUPS if f"{name}_mapping.mapping.1.weight" in state]
        prefix = f"{found[0]}_mapping." if found else ""
        width = shape_of(state, f"{prefix}mapping.1.weight", ndim=2)[1]
        depth = 1
        while f"{prefix}mapping.{depth + 1}.weight" in state:
            depth += 1
        groups = ",".join(found).replace("course", "coarse") or "all"
        return {"width": width, "depth": depth, "groups": groups}
