"""StyleGAN2's generator, in plain PyTorch.

Matches the generators of "Analyzing and Improving the Image Quality of StyleGAN" (Karras et al.
2020, arXiv 1912.04958; config f) and "Training Generative Adversarial Networks with Limited Data"
(Karras et al. 2020, arXiv 2006.06676), with the tensor names of the latter's PyTorch release:
pictures agree to rounding (the tests draw them a second, slow way).

Style slots (L = 2 log2(R) - 2), for block i of 4 · 2ⁱ px: conv0, which doubles the size, has slot
2i - 1 (the first block has none), conv1 2i, and ToRGB 2i + 1, which the next conv0 shares.
"""

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from tedi.errors import UsageError
from tedi.generators.equalized import Linear
from tedi.generators.filters import fast_layout, preview_of
from tedi.generators.modulated import Block, MappingNetwork, ModulatedConv
from tedi.generators.shapes import (
    Config,
    check_fit,
    numbered,
    shape_of,
    sizes_in_file,
    sizes_up_to,
    widths,
)
from tedi.generators.slots import (
    check_choice,
    check_size,
    check_styles,
    check_ws,
    mixing_groups,
    slots_of,
)

ARCHITECTURES = ("skip", "orig", "resnet")
NOISES = ("const", "none")
LAYERS = ("conv0", "conv1")
BASE = 32_768  # channels times size, where there are fewer than 512


class Synthesis(nn.Module):
    """ws (N, L, C) -> image (N, 3, R, R)."""

    def __init__(
        self, channels: dict[int, int], *, width: int, architecture: str, clamp: float
    ) -> None:
        super().__init__()
        self.sizes, self.width = tuple(channels), width
        for size, fan_out in channels.items():
            block = Block(
                channels.get(size // 2, 0),
                fan_out,
                size,
                width=width,
                clamp=clamp,
                colors=architecture == "skip" or size == self.sizes[-1],
                residual=architecture == "resnet",
            )
            self.add_module(f"b{size}", block)

    def block(self, size: int) -> Block:
        """The block of a size in pixels."""
        return cast("Block", self.get_submodule(f"b{size}"))

    def affines(self) -> dict[str, tuple[int, Linear]]:
        """Slot and affine layer by name, "b8.conv0", in the order of drawing."""
        place = {"conv0": -1, "conv1": 0, "torgb": 1}
        return {
            f"b{size}.{name}": (2 * i + place[name], affine)
            for i, size in enumerate(self.sizes)
            for name, affine in self.block(size).modulated().items()
        }

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes."""
        check_ws(ws, 2 * len(self.sizes), self.width)
        return {name: affine(ws[:, slot]) for name, (slot, affine) in self.affines().items()}

    def forward(self, ws: Tensor) -> Tensor:
        return self.draw(self.styles(ws))

    def draw(self, styles: Mapping[str, Tensor]) -> Tensor:
        """Pictures of S-space codes."""
        return cast("Tensor", self.paint(self.sizes, None, None, styles))

    def paint(
        self,
        sizes: tuple[int, ...],
        x: Tensor | None,
        image: Tensor | None,
        styles: Mapping[str, Tensor],
    ) -> Tensor | None:
        """The picture after blocks of these sizes, from activations and picture before them."""
        for size in sizes:
            own = self.styles_at(size, styles)
            x = self.block(size)(x, own)
            image = self.block(size).paint(x, image, own)
        return image

    def styles_at(self, size: int, styles: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Styles of one block by the names it knows."""
        prefix = f"b{size}."
        return {n.removeprefix(prefix): s for n, s in styles.items() if n.startswith(prefix)}

    def features(self, styles: Mapping[str, Tensor], at: int, layer: str) -> Tensor:
        """Activations at `at` px after conv0 or conv1."""
        x = None
        for size in self.sizes[: self.sizes.index(at)]:
            x = self.block(size)(x, self.styles_at(size, styles))
        block, own = self.block(at), self.styles_at(at, styles)
        return block.first(x, own) if layer == "conv0" else block(x, own)

    def resume(
        self, x: Tensor, image: Tensor | None, styles: Mapping[str, Tensor], layer: str
    ) -> Tensor:
        """Pictures from activations of `features` and the picture of half their size."""
        at = x.shape[-1]
        own = self.styles_at(at, styles)
        x = fast_layout(x)
        if layer == "conv0":
            x = self.block(at).conv1(x, own["conv1"])
        image = self.block(at).paint(x, image, own)
        later = self.sizes[self.sizes.index(at) + 1 :]
        return cast("Tensor", self.paint(later, x, image, styles))

    def painted_before(self, at: int, styles: Mapping[str, Tensor]) -> Tensor | None:
        """The picture of half of `at` px."""
        return self.paint(self.sizes[: self.sizes.index(at)], None, None, styles)


class StyleGAN2(nn.Module):
    """The generator: z (N, Z), w (N, C), ws (N, L, C), image (N, 3, R, R).

    Its tensors decide device and dtype; float16 can overflow, bfloat16 cannot.

    Args:
        resolution: R, px; a power of two from 8 on.
        channels: of the blocks, 4 px first, as in "512,512,256"; "" is config f's, which is
            min(32768 / size, 512).
        width: C.
        z_width: Z.
        classes: K of a class-conditional generator, whose `mapping` takes labels; 0 is none.
        depth: layers of the mapping network; 8 in config f, 2 in ADA's "auto".
        architecture: "skip" adds up the pictures of all sizes, "orig" draws at the last size
            alone, "resnet" does too and has residual blocks.
        conv_clamp: activations are kept within ±conv_clamp; 256 for networks that were trained in
            mixed precision, 0 for none. No tensor tells it.
        noise: "const" is the noise that the network holds, "none" is none. May be set later.

    Raises:
        UsageError: a value that is not among these.
    """

    name = "stylegan2"

    def __init__(
        self,
        *,
        resolution: int = 1024,
        channels: str = "",
        width: int = 512,
        z_width: int = 512,
        classes: int = 0,
        depth: int = 8,
        architecture: str = "skip",
        conv_clamp: float = 0.0,
        noise: str = "const",
    ) -> None:
        super().__init__()
        check_choice("architecture", architecture, ARCHITECTURES)
        sizes = sizes_up_to(resolution)
        by_size = widths(channels, sizes, base=BASE)
        self.resolution, self.slots = resolution, 2 * len(sizes)
        self.width, self.z_width = width, z_width
        self.config: Config = {
            "resolution": resolution,
            "channels": ",".join(map(str, by_size.values())),
            "width": width,
            "z_width": z_width,
            "classes": classes,
            "depth": depth,
            "architecture": architecture,
            "conv_clamp": float(conv_clamp),
        }
        self.mapping = MappingNetwork(z_width, width, depth=depth, classes=classes)
        self.synthesis = Synthesis(
            by_size, width=width, architecture=architecture, clamp=float(conv_clamp)
        )
        self.noise = noise

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """Arguments for a state dict, by names and shapes alone.

        `conv_clamp` and `noise`, which nothing there tells, get their defaults. `w_avg` may be
        missing.

        Raises:
            TediError: a tensor is missing, left over or of another shape.
        """
        resolution = numbered(state, r"synthesis\.b(\d{1,6})\.conv1\.weight", least=2)[-1]
        convs = [f"synthesis.b{size}.conv1" for size in sizes_in_file(resolution)]
        channels = [shape_of(state, f"{conv}.weight", 4)[0] for conv in convs]
        width = shape_of(state, f"{convs[0]}.affine.weight", 2)[1]
        embedded = "mapping.embed.weight" in state
        config: Config = {
            "resolution": resolution,
            "channels": ",".join(map(str, channels)),
            "width": width,
            "z_width": shape_of(state, "mapping.fc0.weight", 2)[1] - embedded * width,
            "classes": shape_of(state, "mapping.embed.weight", 2)[1] if embedded else 0,
            "depth": len(numbered(state, r"mapping\.fc(\d{1,4})\.weight", least=1)),
            "architecture": _architecture(state),
            "conv_clamp": 0.0,
            "noise": "const",
        }
        return check_fit(state, cls, config)

    @property
    def w_avg(self) -> Tensor:
        """Mean of w, (C,)."""
        return cast("Tensor", self.mapping.w_avg)

    @property
    def noise(self) -> str:
        """What is added to activations, "const" or "none"; may be set."""
        return str(self.config["noise"])

    @noise.setter
    def noise(self, noise: str) -> None:
        check_choice("noise", noise, NOISES)
        self.config["noise"] = noise
        for layer in self.modules():
            if isinstance(layer, ModulatedConv):
                layer.noisy = noise == "const"

    def preview(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256): the synthesis, reduced by area or enlarged."""
        return preview_of(self.synthesis(ws))

    def layers(self, group: str | int) -> tuple[int, ...]:
        """Slots of "coarse" (0-3), "medium" (4-7), "fine" (8 up) or "all", or of a size in px.

        The groups are those of style mixing at any resolution (Karras et al. 2019, section 3.1). A
        slot that a ToRGB and the next conv0 share belongs to the size of conv0.

        >>> StyleGAN2(resolution=16, channels="8,8,8").layers(16)
        (3, 4, 5)

        Raises:
            UsageError: no such group or size.
        """
        groups = mixing_groups(self.slots) | {4: range(1)}
        for i, size in enumerate(self.synthesis.sizes[1:], start=1):
            groups[size] = range(2 * i - 1, 2 * i + 1 + (size == self.resolution))
        return slots_of(group, groups)

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes, "b8.conv0" -> (N, channels), in the order of drawing.

        They are what the affine layers give, as StyleSpace (Wu et al. 2021, arXiv 2011.12799)
        counts them: 26 vectors of 9,088 numbers at 1024 px.

        Raises:
            UsageError: `ws` of another shape.
        """
        return self.synthesis.styles(ws)

    def synthesis_from_styles(self, styles: dict[str, Tensor]) -> Tensor:
        """Pictures (N, 3, R, R) of S-space codes as `styles` gives them.

        Raises:
            UsageError: a layer's style is missing or left over.
        """
        check_styles(styles, self.synthesis.affines())
        return self.synthesis.draw(styles)

    def features(self, ws: Tensor, at: int, *, layer: str = "conv1") -> Tensor:
        """Activations (N, D, at, at).

        Args:
            ws: (N, L, C).
            at: 4, 8 … R px.
            layer: "conv1" gives what the block of that size ends with; "conv0" what its first
                convolution gives, which is where BDInvert (Kang et al. 2021, arXiv 2108.08998) has
                its base code, and which 4 px lacks.

        Raises:
            UsageError: no such size or layer there.
        """
        self._check_place(at, layer)
        return self.synthesis.features(self.styles(ws), at, layer)

    def synthesis_from(
        self, features: Tensor, ws: Tensor, *, skip: bool = True, layer: str = "conv1"
    ) -> Tensor:
        """Pictures (N, 3, R, R) from `features` of any size and the slots after them.

        With `features(ws, at)` unchanged this is `synthesis(ws)`; the F/W+ space of BDInvert
        varies both.

        Args:
            features: (N, D, at, at).
            ws: (N, L, C).
            skip: whether the picture goes on from that of half the size, which the slots before
                draw; BDInvert leaves it out, so that only the features count.
            layer: after which the features were taken.

        Raises:
            UsageError: features of another shape.
        """
        at = features.shape[-1]
        self._check_place(at, layer)
        expected = (len(ws), self.synthesis.block(at).conv1.weight.shape[0], at, at)
        if features.shape != expected:
            raise UsageError(f"features: expected {expected}, got {tuple(features.shape)}")
        styles = self.styles(ws)
        image = self.synthesis.painted_before(at, styles) if skip else None
        return self.synthesis.resume(features, image, styles, layer)

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Previews (N, 3, 256, 256) from `features` of any size and the slots after them.

        Raises:
            UsageError: features of another shape.
        """
        return preview_of(self.synthesis_from(features, ws))

    def _check_place(self, at: int, layer: str) -> None:
        check_choice("layer", layer, LAYERS)
        check_size(at, self.synthesis.sizes)
        if layer == "conv0" and (at == 4 or self.config["architecture"] == "resnet"):
            raise UsageError(f"layer: conv0 is no place to go on from at {at} px; use conv1")


def _architecture(state: Mapping[str, Tensor]) -> str:
    if "synthesis.b4.torgb.weight" in state:
        return "skip"
    return "resnet" if "synthesis.b8.skip.weight" in state else "orig"
