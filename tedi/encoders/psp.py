"""The encoders of pSp and e4e: pictures, sketches and label maps to W+.

`GradualStyleEncoder` is that of "Encoding in Style" (pSp; Richardson et al. 2021, arXiv
2008.00951): an IR-SE50 trunk, a feature pyramid over its maps of 16, 32 and 64 px, and for each
slot a small network, map2style, that brings the map of its scale to one vector. What it sees is the
offset from the mean of W. `Encoder4Editing` reads the same vectors as e4e does (Tov et al. 2021,
arXiv 2102.02766): the first is the offset of all slots, the others move their own slot from there.
`BackboneEncoder` and `ProgressiveBackboneEncoder` are the two without the pyramid, of ReStyle and
StyleGAN3-editing (see `tedi.encoders.restyle`).

Names of parts are those of released files without their leading "encoder."; the mean of W, which
those files keep beside, is the buffer `w_avg` (L, C). Codes that come out are absolute.
"""

from collections.abc import Collection, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders import ir_se
from tedi.encoders.shapes import count_of, shape_of
from tedi.errors import TediError, UsageError

Takes = Literal["image", "sketch", "labels"]
Stage = int | Literal["inference"]
Config = dict[str, int | float | bool | str]

SIZE = 256
SHAPES = ((256, 256), (192, 256))  # height and width of what goes in; the second is of cars
MEDIUM, FINE = 3, 7  # the first slots that look at the maps of 32 and of 64 px
TRUNK = 8  # C is so many times the width of the trunk
SLOPE = 0.01  # of map2style's leaky ReLU; that of the generators is 0.2
STEM, LINEAR = "input_layer.0.weight", "styles.{}.linear.weight"


class EqualLinear(nn.Module):
    """Linear layer whose weights are of variance 1 and divided by √fan-in when they are used."""

    def __init__(self, enter: int, leave: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(leave, enter))
        self.bias = nn.Parameter(torch.zeros(leave))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight / self.weight.shape[1] ** 0.5, self.bias)


class MapToStyle(nn.Module):
    """A map (N, C, size, size) -> vectors (N, C): halved until one place is left."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(size.bit_length() - 1):
            layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))


def upsample_add(x: Tensor, y: Tensor) -> Tensor:
    """A coarser map, enlarged to the size of `y` with corners kept in place, added to `y`."""
    return F.interpolate(x, y.shape[2:], mode="bilinear", align_corners=True) + y


class PublishedEncoder(nn.Module):
    """What the encoders of the pSp family share; a trunk and heads are for subclasses to add.

    Attributes:
        size: pixels a side of what is looked at.
        channels: of what is looked at.
        slots: L of the generator.
        width: C of its W.
        config: the arguments that build it again.
    """

    size = SIZE
    channels: int
    slots: int
    width: int
    config: Config
    w_avg: Tensor

    @property
    def takes(self) -> Takes:
        """What goes in, which the number of channels tells.

        "image": (N, 3, 256, 256) in [-1, 1], with 6 channels twice over (`ReStyle`). "sketch":
        (N, 1, 256, 256) in [0, 1], 1 is paper. "labels": one-hot maps (N, K, 256, 256).
        """
        if self.channels == 1:
            return "sketch"
        return "image" if self.channels in (3, 6) else "labels"

    def forward(self, image: Tensor) -> Tensor:
        """Codes ws (N, L, C), absolute, of what the encoder `takes` (N, channels, 256, 256).

        Raises:
            UsageError: another number of channels or size; 192 x 256 is right too, for cars.
        """
        return self.w_avg + self.offsets(image)

    def offsets(self, image: Tensor) -> Tensor:
        """What is added to the mean, (N, L, C)."""
        if image.ndim != 4 or image.shape[1] != self.channels or image.shape[2:] not in SHAPES:
            knob = "; ReStyle adds the drawn one" if self.channels == 6 else ""
            expected = f"(N, {self.channels}, {SIZE}, {SIZE})"
            raise UsageError(f"image: expected {expected}, got {tuple(image.shape)}{knob}")
        return self._read(self.maps(image))

    def maps(self, image: Tensor) -> list[Tensor]:
        """The trunk's maps, of 128, 64, 32 and 16 px for pictures of 256."""
        raise NotImplementedError

    def _set(self, config: Config, *, channels: int, slots: int, width: int) -> None:
        if min(channels, slots) < 1 or width < TRUNK or width % TRUNK:
            expected = f"1 or more, 1 or more and a multiple of {TRUNK}"
            got = f"{channels}, {slots}, {width}"
            raise UsageError(f"channels, slots, width: expected {expected}, got {got}")
        self.channels, self.slots, self.width = channels, slots, width
        self.config = {"channels": channels, "slots": slots, "width": width} | config

    def _add_heads(self) -> None:
        raise NotImplementedError

    def _read(self, maps: list[Tensor]) -> Tensor:
        """Offsets (N, L, C) of the trunk's maps."""
        raise NotImplementedError

    @classmethod
    def _read_heads(cls, state: Mapping[str, Tensor]) -> Config:
        """`slots` and `width`, if all heads are those that this class has."""
        raise NotImplementedError


class IREncoder(PublishedEncoder):
    """The IR-SE trunk.

    Args:
        channels: of what is looked at: 3 for pictures, 6 in `ReStyle`, 1 for sketches, 19 for maps
            of CelebAMask-HQ's classes.
        slots: L of the generator: 18 at 1024 px and 14 at 256 of StyleGAN2, 16 of StyleGAN3.
        width: C of its W; the trunk has an eighth of it.
        depth: of the trunk, see `ir_se.DEPTHS`.
        excited: IR-SE; False is plain IR.

    Raises:
        UsageError: no such depth, or a width that does not part in eight.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        slots: int = 18,
        width: int = 512,
        depth: int = 50,
        excited: bool = True,
    ) -> None:
        super().__init__()
        config: Config = {"depth": depth, "excited": excited}
        self._set(config, channels=channels, slots=slots, width=width)
        self.counts = ir_se.counts_of(depth)
        self.input_layer = ir_se.input_layer(channels, width // TRUNK)
        self.body = ir_se.body(depth, width // TRUNK, excited=excited)
        self._add_heads()
        self.register_buffer("w_avg", torch.zeros(slots, width))

    def maps(self, image: Tensor) -> list[Tensor]:
        """The trunk's maps, of 128, 64, 32 and 16 px for pictures of 256."""
        return ir_se.maps(self.body, self.input_layer(image), self.counts)

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """The arguments that build the network of a state dict.

        Raises:
            TediError: the name of a tensor that is missing, or does not fit this class.
        """
        trunk, channels, _, _ = shape_of(state, STEM, ndim=4)
        depth = ir_se.read_depth(state, "body.{}.res_layer.1.weight", trunk, ir_se.DEPTHS)
        excited = "body.0.res_layer.5.fc1.weight" in state
        return {"channels": channels, "depth": depth, "excited": excited} | cls._read_heads(state)


class StyleEncoder(PublishedEncoder):
    """One map2style for each slot.

    Attributes:
        pyramid: whether medium and fine slots look at finer maps than the trunk's last.
    """

    pyramid = True

    def _add_heads(self) -> None:
        self.styles = nn.ModuleList(MapToStyle(self.width, size) for size in self.sizes(self.slots))
        if self.pyramid:
            self.latlayer1 = nn.Conv2d(self.width // 2, self.width, 1)
            self.latlayer2 = nn.Conv2d(self.width // 4, self.width, 1)

    @classmethod
    def sizes(cls, slots: int) -> list[int]:
        """Pixels a side of the map that each slot looks at, for pictures of 256."""
        if not cls.pyramid:
            return [16] * slots
        return [16 if slot < MEDIUM else 32 if slot < FINE else 64 for slot in range(slots)]

    def _read(self, maps: list[Tensor]) -> Tensor:
        _, fine, medium, coarse = maps
        if self.pyramid:
            medium = upsample_add(coarse, self.latlayer1(medium))
            fine = upsample_add(medium, self.latlayer2(fine))
        looks = {16: coarse, 32: medium, 64: fine}
        return self._combine([looks[size] for size in self.sizes(self.slots)])

    def _combine(self, looks: list[Tensor]) -> Tensor:
        return torch.stack([style(x) for style, x in zip(self.styles, looks, strict=True)], dim=1)

    @classmethod
    def _read_heads(cls, state: Mapping[str, Tensor]) -> Config:
        slots = count_of(state, LINEAR)
        for slot, size in enumerate(cls.sizes(slots)):
            convs = size.bit_length() - 1
            shape_of(state, f"styles.{slot}.convs.{2 * convs - 2}.weight", ndim=4)
            if (beyond := f"styles.{slot}.convs.{2 * convs}.weight") in state:
                raise TediError(f"{beyond}: {cls.__name__} looks at {size} px there, and has none")
        if cls.pyramid:
            shape_of(state, "latlayer1.weight", ndim=4)
        return {"slots": slots, "width": shape_of(state, LINEAR.format(0), ndim=2)[0]}


class Progressive(StyleEncoder):
    """Reads the vectors as e4e does: the first is every slot's offset, the others add to theirs."""

    _stage: Stage = "inference"

    @property
    def stage(self) -> Stage:
        """The last slot that moves from the first vector; 0: none does, "inference": all do.

        e4e's training begins with 0 and lets one slot more move at a time.
        """
        return self._stage

    @stage.setter
    def stage(self, stage: Stage) -> None:
        if stage != "inference" and not (isinstance(stage, int) and 0 <= stage < self.slots):
            expected = f"0 to {self.slots - 1} or 'inference'"
            raise UsageError(f"stage: expected {expected}, got {stage!r}")
        self._stage = stage

    def _combine(self, looks: list[Tensor]) -> Tensor:
        moving = self.slots if self.stage == "inference" else self.stage + 1
        first = self.styles[0](looks[0])
        offsets = [first] * self.slots
        for slot in range(1, moving):
            offsets[slot] = first + self.styles[slot](looks[slot])
        return torch.stack(offsets, dim=1)


class GradualStyleEncoder(StyleEncoder, IREncoder):
    """pSp's encoder: slots 0-2 look at the map of 16 px, 3-6 at 32, the others at 64."""


class Encoder4Editing(Progressive, GradualStyleEncoder):
    """e4e's encoder; its state has the same names as `GradualStyleEncoder`'s."""


class BackboneEncoder(StyleEncoder, IREncoder):
    """ReStyle's encoder for pSp: all slots look at the map of 16 px."""

    pyramid = False


class ProgressiveBackboneEncoder(Progressive, BackboneEncoder):
    """ReStyle's encoder for e4e; its state has the same names as `BackboneEncoder`'s."""


class LastLayerEncoder(IREncoder):
    """The trunk's last map to codes without map2style, which pSp's ablation compares with.

    Attributes:
        heads: names of the linear layers after the trunk.
    """

    heads: tuple[str, ...] = ("linear",)

    @classmethod
    def _read_heads(cls, state: Mapping[str, Tensor]) -> Config:
        for name in cls.heads:
            shape_of(state, f"{name}.weight", ndim=2)
        slots, width = shape_of(state, "w_avg", ndim=2)
        return {"slots": slots, "width": width}


class SingleStyleCodeEncoder(LastLayerEncoder):
    """One w for all slots, of the mean of the trunk's last map (pSp's encoder into W).

    How many slots there are is told by the rows of `w_avg` alone.
    """

    def _add_heads(self) -> None:
        self.linear = EqualLinear(self.width, self.width)

    def _read(self, maps: list[Tensor]) -> Tensor:
        return self.linear(maps[-1].mean(dim=(2, 3)))[:, None].expand(-1, self.slots, -1)


class WPlusEncoder(LastLayerEncoder):
    """All slots at once, of the trunk's last map pooled to 7 x 7 (pSp's naive encoder into W+)."""

    heads = ("linear", "output_layer_2.3")

    def _add_heads(self) -> None:
        self.output_layer_2 = nn.Sequential(
            nn.BatchNorm2d(self.width),
            nn.AdaptiveAvgPool2d(7),
            nn.Flatten(),
            nn.Linear(self.width * 7 * 7, self.width),
        )
        self.linear = EqualLinear(self.width, self.width * self.slots)

    def _read(self, maps: list[Tensor]) -> Tensor:
        return self.linear(self.output_layer_2(maps[-1])).unflatten(1, (self.slots, self.width))


def encoder_type(names: Collection[str]) -> str:
    """What released code calls the encoder whose state has these names, by its `encoder_type`.

    e4e's encoders have the names of pSp's; these are what is told then, unless the file's own
    options know better. `tedi.encoders.ENCODER_TYPES` leads on to the network.

    Raises:
        TediError: none of the pSp family has such names.

    >>> encoder_type(["input_layer.0.weight", "styles.0.linear.weight", "latlayer1.weight"])
    'GradualStyleEncoder'
    >>> encoder_type(["conv1.weight", "styles.0.linear.weight"])
    'ResNetBackboneEncoder'
    """
    trunk = {STEM: "", "conv1.weight": "ResNet"}
    found = [prefix for stem, prefix in trunk.items() if stem in names]
    if not found:
        raise TediError(f"state: expected a tensor {STEM!r} or 'conv1.weight', found neither")
    if LINEAR.format(0) in names:
        kind = "GradualStyleEncoder" if "latlayer1.weight" in names else "BackboneEncoder"
        return found[0] + kind
    if "linear.weight" not in names:
        raise TediError(f"state: expected {LINEAR.format(0)!r} or 'linear.weight', found neither")
    plus = "Plus" if "output_layer_2.3.weight" in names else ""
    return f"BackboneEncoderUsingLastLayerIntoW{plus}"
