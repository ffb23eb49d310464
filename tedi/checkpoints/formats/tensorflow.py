"""NVIDIA's TensorFlow pickles of StyleGAN and StyleGAN2, converted without TensorFlow.

They hold `dnnlib.tflib.network.Network` objects, (G, D, Gs), or (E, G, D, Gs) in idinvert's; the
reader gives each one's state: version, name, static_kwargs, components and variables. Names of
variables, and how they lie, follow NVIDIA's own converter (StyleGAN2) and genforce's (StyleGAN1):
kernels are (height, width, in, out), dense weights (in, out), and the bias of a style is kept less
the one that modulation adds.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tedi.checkpoints.bundle import Bundle, Contents, bundle_of
from tedi.checkpoints.formats.content import told
from tedi.checkpoints.formats.keymap import (
    HWIO,
    LESS_ONE,
    PLANE,
    ROW,
    SAME,
    TRANSPOSED,
    TURNED,
    KeyMap,
    Pair,
    View,
    then,
)
from tedi.checkpoints.raw import Raw, Stub
from tedi.errors import TediError

NETWORK = "Network"
ROLES = {3: ("G", "D", "G_ema"), 4: ("E", "G", "D", "G_ema")}
KERNEL_UP = then(TURNED, HWIO)
LODS = ("lod", "synthesis/lod")

STYLED: tuple[tuple[str, str, View], ...] = (
    ("affine.weight", "mod_weight", TRANSPOSED),
    ("affine.bias", "mod_bias", LESS_ONE),
    ("bias", "bias", SAME),
)
MODULATED: tuple[tuple[str, str, View], ...] = (
    ("bias", "bias", SAME),
    ("apply_noise.weight", "Noise/weight", SAME),
    ("style.weight", "StyleMod/weight", TRANSPOSED),
    ("style.bias", "StyleMod/bias", SAME),
)


# --- StyleGAN2 -----------------------------------------------------------------------------------


def stylegan2_generator(*, levels: int, depth: int) -> KeyMap:
    """StyleGAN2's generator of 2**levels px."""
    return KeyMap((*_mapping("fc", depth), *_synthesis2(levels)))


def _mapping(layer: str, depth: int) -> Iterator[Pair]:
    average = "mapping.w_avg" if layer == "fc" else "truncation.w_avg"
    yield Pair(average, "dlatent_avg")
    for i in range(depth):
        yield Pair(f"mapping.{layer}{i}.weight", f"mapping/Dense{i}/weight", TRANSPOSED)
        yield Pair(f"mapping.{layer}{i}.bias", f"mapping/Dense{i}/bias")


def _synthesis2(levels: int) -> Iterator[Pair]:
    yield Pair("synthesis.b4.const", "synthesis/4x4/Const/const", ROW)
    yield from _convolution("b4.conv1", "4x4/Conv", 0, HWIO)
    yield from _styled("b4.torgb", "4x4/ToRGB", HWIO)
    for i in range(levels - 2):
        ours, theirs = f"b{8 << i}", f"{8 << i}x{8 << i}"
        yield from _convolution(f"{ours}.conv0", f"{theirs}/Conv0_up", 2 * i + 1, KERNEL_UP)
        yield from _convolution(f"{ours}.conv1", f"{theirs}/Conv1", 2 * i + 2, HWIO)
        yield from _styled(f"{ours}.torgb", f"{theirs}/ToRGB", HWIO)


def _convolution(ours: str, theirs: str, noise: int, kernel: View) -> Iterator[Pair]:
    yield from _styled(ours, theirs, kernel)
    strength = f"synthesis/{theirs}/noise_strength"
    yield Pair(f"synthesis.{ours}.noise_strength", strength)
    yield Pair(f"synthesis.{ours}.noise_const", f"synthesis/noise{noise}", PLANE)


def _styled(ours: str, theirs: str, kernel: View) -> Iterator[Pair]:
    for a, b, view in (("weight", "weight", kernel), *STYLED):
        yield Pair(f"synthesis.{ours}.{a}", f"synthesis/{theirs}/{b}", view)


def stylegan2_discriminator(*, levels: int) -> KeyMap:
    """StyleGAN2's discriminator of 2**levels px."""
    return KeyMap(tuple(_discriminator2(levels)))


def _discriminator2(levels: int) -> Iterator[Pair]:
    size = 1 << levels
    yield from _weighed(f"b{size}.fromrgb", f"{size}x{size}/FromRGB", HWIO)
    for level in range(levels, 2, -1):
        ours, theirs = f"b{1 << level}", f"{1 << level}x{1 << level}"
        yield from _weighed(f"{ours}.conv0", f"{theirs}/Conv0", HWIO)
        yield from _weighed(f"{ours}.conv1", f"{theirs}/Conv1_down", HWIO)
        yield Pair(f"{ours}.skip.weight", f"{theirs}/Skip/weight", HWIO)
    yield from _weighed("b4.conv", "4x4/Conv", HWIO)
    yield from _weighed("b4.fc", "4x4/Dense0", TRANSPOSED)
    yield from _weighed("b4.out", "Output", TRANSPOSED)


def _weighed(ours: str, theirs: str, view: View) -> Iterator[Pair]:
    yield Pair(f"{ours}.weight", f"{theirs}/weight", view)
    yield Pair(f"{ours}.bias", f"{theirs}/bias")


# --- StyleGAN1 -----------------------------------------------------------------------------------


def stylegan1_generator(*, levels: int, depth: int) -> KeyMap:
    """StyleGAN1's generator of 2**levels px."""
    return KeyMap(
        (*_mapping("dense", depth), *_synthesis1(levels)),
        constants={"synthesis/lod": torch.zeros(())},
    )


def _synthesis1(levels: int) -> Iterator[Pair]:
    yield Pair("synthesis.layer0.const", "synthesis/4x4/Const/const")
    for i in range(2 * (levels - 1)):
        size, first = 4 << (i // 2), ("Const" if i == 0 else "Conv0_up")
        second = "Conv" if i == 1 else "Conv1"
        theirs = f"synthesis/{size}x{size}/{second if i % 2 else first}"
        for a, b, view in MODULATED:
            yield Pair(f"synthesis.layer{i}.{a}", f"{theirs}/{b}", view)
        yield Pair(f"synthesis.layer{i}.apply_noise.noise", f"synthesis/noise{i}")
        if i:
            yield Pair(f"synthesis.layer{i}.weight", f"{theirs}/weight", HWIO)
    for i in range(levels - 1):
        ours, theirs = f"synthesis.output{i}", f"synthesis/ToRGB_lod{levels - 2 - i}"
        yield from _weighed(ours, theirs, HWIO)


def stylegan1_discriminator(*, levels: int) -> KeyMap:
    """StyleGAN1's discriminator of 2**levels px."""
    return KeyMap(tuple(_discriminator1(levels)), constants={"lod": torch.zeros(())})


def _discriminator1(levels: int) -> Iterator[Pair]:
    for i in range(levels - 1):
        size = 1 << (levels - i)
        yield from _weighed(f"input{i}", f"FromRGB_lod{i}", HWIO)
        if size > 4:
            yield from _weighed(f"layer{2 * i}", f"{size}x{size}/Conv0", HWIO)
            yield from _weighed(f"layer{2 * i + 1}", f"{size}x{size}/Conv1_down", HWIO)
    last = 2 * (levels - 2)
    yield from _weighed(f"layer{last}", "4x4/Conv", HWIO)
    yield from _weighed(f"layer{last + 1}", "4x4/Dense0", TRANSPOSED)
    yield from _weighed(f"layer{last + 2}", "4x4/Dense1", TRANSPOSED)


# --- files ---------------------------------------------------------------------------------------


def variables_of(network: Stub) -> dict[str, Tensor]:
    """Variables of a network and of its components, whose names lead theirs: "synthesis/noise0".

    Raises:
        TediError: they are no names and arrays.
    """
    found = {}
    for pair in _entry(network, "variables", list):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not _is_array(pair[1]):
            raise TediError(f"variables: expected a name and an array, got {told(pair)}")
        found[str(pair[0])] = torch.as_tensor(pair[1])
    for name, component in _entry(network, "components", dict).items():
        if not _is_network(component):
            raise TediError(f"components: expected a network, got {told(component)}")
        found |= {f"{name}/{n}": v for n, v in variables_of(component).items()}
    return found


def _entry(network: Stub, name: str, kind: type) -> Any:
    found = network.state.get(name)
    if not isinstance(found, kind | None):
        raise TediError(f"{name}: expected a {kind.__name__}, got {told(found)}")
    return kind() if found is None else found


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor | int | float)


def _is_network(value: object) -> bool:
    named = isinstance(value, Stub) and value.name.endswith(f".{NETWORK}")
    return named and isinstance(value, Stub) and isinstance(value.state, Mapping)


def _levels(variables: Mapping[str, Tensor]) -> int:
    """Log2 of the resolution, read off names such as 256x256/Conv1/weight."""
    sizes = {part.partition("x")[0] for name in variables for part in name.split("/")[:2]}
    return max([int(size) for size in sizes if size.isdecimal()], default=4).bit_length() - 1


def read_network(network: Stub, whose: str) -> Bundle | None:
    """The bundle of a network, or None where its names are none of StyleGAN's.

    Raises:
        TediError: a variable is missing or unknown, or of an odd shape.
    """
    variables = variables_of(network)
    levels = _levels(variables)
    depth = sum(n.startswith("mapping/Dense") and n.endswith("/bias") for n in variables)
    arguments = _entry(network, "static_kwargs", dict)
    clamp = {"conv_clamp": arguments["conv_clamp"]} if arguments.get("conv_clamp") else {}
    group = {"group": arguments["mbstd_group_size"]} if "mbstd_group_size" in arguments else {}
    facts = {"version": network.state.get("version"), "w_avg": "in the file"}
    if "synthesis/4x4/Conv/mod_weight" in variables:
        ours = stylegan2_generator(levels=levels, depth=depth).to_ours(variables, whose)
        return bundle_of("generator", "stylegan2", ours, whose, facts=facts, config=clamp)
    if "synthesis/4x4/Conv/StyleMod/weight" in variables:
        ours = stylegan1_generator(levels=levels, depth=depth).to_ours(variables, whose)
        return bundle_of("generator", "stylegan1", ours, whose, facts=facts)
    if "Output/weight" in variables and "4x4/Dense0/weight" in variables:
        ours = stylegan2_discriminator(levels=levels).to_ours(variables, whose)
        return bundle_of("discriminator", "stylegan2", ours, whose, config=clamp | group)
    if "FromRGB_lod0/weight" in variables and "4x4/Dense1/weight" in variables:
        ours = stylegan1_discriminator(levels=levels).to_ours(variables, whose)
        return bundle_of("discriminator", "stylegan1", ours, whose, config=group)
    return None


class TensorFlow:
    """A tuple of TensorFlow networks, or one of them."""

    name = "nvidia-tensorflow"

    def detect(self, raw: Raw) -> bool:
        """Whether the file is such a tuple."""
        return bool(self._networks(raw.value))

    def _networks(self, value: object) -> dict[str, Stub]:
        """Networks by role, or by number where how many there are does not tell the roles."""
        found = value if isinstance(value, tuple | list) else [value]
        if not found or not all(map(_is_network, found)):
            return {}
        roles = ROLES.get(len(found), tuple(f"{NETWORK} {i}" for i in range(len(found))))
        return dict(zip(roles, found, strict=True))

    def convert(self, raw: Raw) -> Contents:
        """Bundles of a file that was detected.

        Raises:
            TediError: a network's variables do not fit, or none of them is a StyleGAN.
        """
        parts, others = {}, []
        for role, network in self._networks(raw.value).items():
            bundle = read_network(network, f"{raw.path}: {role}")
            if bundle is None:
                others.append(f"{role}: {_named(network)}, a TensorFlow network of unknown names")
            else:
                alone = "D" if bundle.kind == "discriminator" else "G_ema"
                parts[alone if role == f"{NETWORK} 0" else role] = bundle
        if not parts:
            known = "StyleGAN and StyleGAN2 are converted here"
            raise TediError(
                f"{raw.path}: TensorFlow networks that are no StyleGAN ({'; '.join(others)}); "
                f"{known}, others by their own programs"
            )
        return Contents(self.name, parts, tuple(others))


def _named(network: Stub) -> str:
    return told(network.state.get("name", network.name))
