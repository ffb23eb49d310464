"""Architectures read off the names and shapes of a state dict; values are never looked at."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from tedi.blank import Blank
from tedi.errors import TediError, UsageError

Config = dict[str, int | float | bool | str]
"""Arguments that rebuild a network."""


def sizes_up_to(resolution: int) -> tuple[int, ...]:
    """Sizes of the blocks: 4, 8 … `resolution` px.

    Raises:
        UsageError: not a power of two from 8 on.
    """
    if resolution < 8 or resolution & (resolution - 1):
        raise UsageError(f"resolution: expected a power of two from 8 on, got {resolution}")
    return tuple(2**i for i in range(2, resolution.bit_length()))


def sizes_in_file(resolution: int) -> tuple[int, ...]:
    """`sizes_up_to` the resolution that a file's names tell.

    Raises:
        TediError: not a power of two from 8 on.
    """
    try:
        return sizes_up_to(resolution)
    except UsageError as error:
        raise TediError(f"its names say {resolution} px; {error}") from error


def widths(channels: str, sizes: tuple[int, ...], *, base: int) -> dict[int, int]:
    """Number of channels by size.

    Args:
        channels: one number a size, 4 px first, as in "512,512,256"; "" is min(base / size, 512).
        sizes: of the blocks.
        base: 32,768 for StyleGAN2's config f, 16,384 for StyleGAN1.

    Raises:
        UsageError: not as many positive numbers as there are sizes.
    """
    if not channels:
        return {size: min(base // size, 512) for size in sizes}
    numbers = channels.split(",")
    if len(numbers) != len(sizes) or not all(re.fullmatch(r" *[1-9]\d* *", n) for n in numbers):
        expected = f"{len(sizes)} numbers, one a size from 4 px on"
        raise UsageError(f"channels: expected {expected}, got {channels!r}")
    return dict(zip(sizes, map(int, numbers), strict=True))


def shape_of(state: Mapping[str, Tensor], name: str, dimensions: int) -> tuple[int, ...]:
    """Shape of a tensor that must be there.

    Raises:
        TediError: it is missing, empty, or has another number of dimensions.
    """
    if name not in state:
        raise TediError(f"{name}: missing")
    shape = tuple(state[name].shape)
    if len(shape) != dimensions:
        raise TediError(f"{name}: expected {dimensions} dimensions, got {shape}")
    if 0 in shape:
        raise TediError(f"{name}: expected numbers, got the empty shape {shape}")
    return shape


def numbered(state: Mapping[str, Tensor], pattern: str, *, least: int) -> list[int]:
    """Numbers in the names that match a pattern of one group, ascending.

    Raises:
        TediError: fewer than `least`.
    """
    found = sorted(int(m[1]) for m in (re.fullmatch(pattern, name) for name in state) if m)
    if len(found) < least:
        example = re.sub(r"\(.*?\)", "N", pattern).replace("\\", "")
        raise TediError(f"{example}: expected {least} or more such tensors, got {len(found)}")
    return found


def check_fit(state: Mapping[str, Tensor], kind: type[nn.Module], config: Config) -> Config:
    """The configuration itself, if the network it makes has these tensors and no others.

    A running mean of w may be missing: rosinality's files can lack it.

    Raises:
        TediError: a tensor is missing, left over or of another shape.
    """
    with Blank():
        expected = {name: tuple(t.shape) for name, t in kind(**config).state_dict().items()}
    for name, shape in expected.items():
        if name not in state and name.endswith("w_avg"):
            continue
        if (got := shape_of(state, name, len(shape))) != shape:
            raise TediError(f"{name}: expected {shape}, got {got}")
    for name in state:
        if name not in expected:
            raise TediError(f"{name}: left over; a {kind.__name__} like this has no such tensor")
    return config
