"""Networks made for their shapes alone: no memory for their weights, no time to fill them.

PyTorch's meta device does so, too, but its first arithmetic imports a compiler, which takes longer
than everything else that looking into a file does.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

LARGE = 4096  # elements from which a tensor has a shape alone
FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
FILLS = frozenset(
    (
        *("constant_", "fill_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_"),
        *("trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zero_", "zeros_"),
    )
)
SCALINGS = frozenset(("add", "div", "mul", "sub", "__radd__", "__rmul__", "__rsub__"))


class Blank(TorchFunctionMode):
    """Within it, large tensors are made on the meta device and never filled or scaled.

    >>> with Blank():
    ...     layer = torch.nn.Linear(10**6, 10**6)
    >>> layer.weight.shape, layer.weight.device.type
    (torch.Size([1000000, 1000000]), 'meta')
    """

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """What a function of torch gives, or the tensor that it would only have filled."""
        given = dict(kwargs or {})
        if func in FACTORIES and math.prod(_size(args, given)) >= LARGE:
            return torch.empty(_size(args, given), dtype=given.get("dtype"), device="meta")
        name = getattr(func, "__name__", "")
        first = args[0] if args else given.get("tensor")
        if isinstance(first, torch.Tensor) and first.is_meta:
            scaled = name in SCALINGS and not any(isinstance(a, torch.Tensor) for a in args[1:])
            if name in FILLS or scaled:
                return first
        return func(*args, **given)


def _size(args: tuple[Any, ...], given: Mapping[str, Any]) -> tuple[int, ...]:
    size = args or (given.get("size", ()),)
    return tuple(size[0]) if isinstance(size[0], tuple | list) else tuple(size)
