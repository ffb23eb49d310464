"""The layers of a StyleGAN3 as numbers: rates, sizes, cutoffs, channels and paddings.

Section 3.2 and appendix C of "Alias-Free Generative Adversarial Networks" (Karras et al. 2021,
arXiv 2106.12423): cutoffs and stopbands grow geometrically up to the critically sampled layers,
where they stay, and all else follows from them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from tedi.errors import TediError, UsageError

COLOURS = 3
LAYER = re.compile(r"synthesis\.(L(\d+)_(\d+)_(\d+))\.weight")


@dataclass(frozen=True)
class Design:
    """What a network's layers follow from; the defaults are StyleGAN3-T's at 1024 px.

    Attributes:
        resolution: height and width of the picture, px, a power of two from 16.
        channel_base: channels of a layer times twice its cutoff.
        channel_max: channels of a layer at most.
        num_layers: before the one that gives colours.
        num_critical: last ones of them, whose cutoff is half the sampling rate.
        first_cutoff: of the input, cycles a picture.
        first_stopband: of the input, cycles a picture.
        last_stopband_rel: stopband of the last layer over its cutoff.
        margin_size: samples outside the picture on each side, before the last two layers.
        conv_kernel: side of the convolutions; StyleGAN3-R has 1.
        filter_size: taps of a low-pass filter for each factor of the rate.
        lrelu_upsampling: factor of the rate at which nonlinearities act.
        use_radial_filters: StyleGAN3-R's; rotations of the input then rotate the picture.
    """

    resolution: int = 1024
    channel_base: int = 32768
    channel_max: int = 512
    num_layers: int = 14
    num_critical: int = 2
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin_size: int = 10
    conv_kernel: int = 3
    filter_size: int = 6
    lrelu_upsampling: int = 2
    use_radial_filters: bool = False

    def __post_init__(self) -> None:
        if self.resolution < 16 or self.resolution & (self.resolution - 1):
            raise UsageError(f"resolution: expected a power of two from 16, got {self.resolution}")
        if not 0 < self.num_critical < self.num_layers:
            bounds = f"1 to {self.num_layers - 1} (num_layers - 1)"
            raise UsageError(f"num_critical: expected {bounds}, got {self.num_critical}")
        for name in ("channel_base", "channel_max", "conv_kernel", "filter_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        if round(self.channel_base / self.resolution) < 1:
            least = f"{self.resolution} (resolution) or more"
            raise UsageError(f"channel_base: expected {least}, got {self.channel_base}")
        if self.lrelu_upsampling not in (1, 2, 4):
            raise UsageError(f"lrelu_upsampling: expected 1, 2 or 4, got {self.lrelu_upsampling}")


@dataclass(frozen=True)
class Point:
    """The signal at one place between layers.

    Attributes:
        cutoff: cycles a picture.
        half_width: half the transition band, cycles a picture.
        rate: samples a picture.
        size: samples a side, margins included.
        channels: how many.
    """

    cutoff: float
    half_width: float
    rate: int
    size: int
    channels: int


@dataclass(frozen=True)
class Layer:
    """One layer: the signal before and after, and what lies between.

    Attributes:
        index: 0 for the first.
        source: the signal before.
        target: the signal after.
        kernel: side of the convolution.
        colours: whether it gives the picture: no filters, no demodulation.
        critical: whether it is critically sampled.
        raised: rate at which the nonlinearity acts.
        up: factor of `raised` over the source's rate.
        down: factor of `raised` over the target's rate.
        up_taps: of the filter after raising, 1 for none.
        down_taps: of the filter before lowering, 1 for none.
        radial: whether that filter is a jinc.
    """

    index: int
    source: Point
    target: Point
    kernel: int
    colours: bool
    critical: bool
    raised: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    radial: bool

    @property
    def name(self) -> str:
        """As in weight files: number, size and channels of what it gives."""
        return f"L{self.index}_{self.target.size}_{self.target.channels}"

    @property
    def padding(self) -> tuple[int, int]:
        """Samples of zeros before and after, at the raised rate; below 0 cuts."""
        total = (self.target.size - 1) * self.down + 1 + self.up_taps + self.down_taps - 2
        total -= (self.source.size + self.kernel - 1) * self.up
        before = (total + self.up) // 2  # keeps sample positions centred
        return before, total - before


def points(design: Design) -> list[Point]:
    """The signal after each layer; the input's is that of the first."""
    last_cutoff = design.resolution / 2
    last_stopband = last_cutoff * design.last_stopband_rel
    found = []
    for i in range(design.num_layers + 1):
        share = min(i / (design.num_layers - design.num_critical), 1)
        cutoff = design.first_cutoff * (last_cutoff / design.first_cutoff) ** share
        stopband = design.first_stopband * (last_stopband / design.first_stopband) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, design.resolution)))
        whole = i >= design.num_layers - 1
        found.append(
            Point(
                cutoff=cutoff,
                half_width=max(stopband, rate / 2) - cutoff,
                rate=rate,
                size=design.resolution if whole else rate + 2 * design.margin_size,
                channels=round(min(design.channel_base / 2 / cutoff, design.channel_max)),
            )
        )
    return [*found[:-1], replace(found[-1], channels=COLOURS)]


def layer_table(design: Design) -> list[Layer]:
    """The layers in the order of drawing, the one that gives colours last."""
    signal = points(design)
    return [
        _layer(design, i, source, target)
        for i, (source, target) in enumerate(zip([signal[0], *signal[:-1]], signal, strict=True))
    ]


def _layer(design: Design, index: int, source: Point, target: Point) -> Layer:
    colours = index == design.num_layers
    critical = index >= design.num_layers - design.num_critical
    raised = max(source.rate, target.rate) * (1 if colours else design.lrelu_upsampling)
    up, down = raised // source.rate, raised // target.rate
    return Layer(
        index=index,
        source=source,
        target=target,
        kernel=1 if colours else design.conv_kernel,
        colours=colours,
        critical=critical,
        raised=raised,
        up=up,
        down=down,
        up_taps=design.filter_size * up if up > 1 and not colours else 1,
        down_taps=design.filter_size * down if down > 1 and not colours else 1,
        radial=design.use_radial_filters and not critical,
    )


def read_design(state: Mapping[str, Tensor]) -> Design:
    """The design of a network, from the names and shapes of its state alone.

    Cutoffs, stopbands and margins are taken to be the published ones; a state whose names or
    shapes they do not explain is refused.

    Raises:
        TediError: naming the key that is missing or odd.
    """
    found = sorted(
        (int(match[2]), int(match[3]), int(match[4]), match[1])
        for match in map(LAYER.fullmatch, state)
        if match
    )
    if [index for index, *_ in found] != list(range(len(found))) or len(found) < 3:
        got = ", ".join(name for *_, name in found) or "none"
        raise TediError(f"synthesis.L…: expected layers numbered from 0, got {got}")
    names = [name for *_, name in found]
    filters = [_of(state, f"synthesis.{name}.down_filter").ndim for name in names[:-1]]
    radial = 2 in filters
    design = Design(
        resolution=found[-1][1],
        channel_max=found[0][2],
        num_layers=len(found) - 1,
        num_critical=filters[::-1].index(2) if radial else 2,
        conv_kernel=_of(state, f"synthesis.{names[0]}.weight").shape[-1],
        filter_size=len(_of(state, f"synthesis.{names[0]}.up_filter")) // 2,
        use_radial_filters=radial,
    )
    design = replace(design, channel_base=_channel_base(design, [c for _, _, c, _ in found[:-1]]))
    _check(design, state, names)
    return design


def _of(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise TediError(f"{key}: missing; a StyleGAN3 has it")
    return state[key]


def _channel_base(design: Design, channels: list[int]) -> int:
    """The roundest number that explains the layers' channels: of most factors of two, smallest."""
    low, high = 1, 2**62
    for point, count in zip(points(design)[:-1], channels, strict=True):
        low = max(low, math.ceil((count - 0.5) * 2 * point.cutoff))
        if count < design.channel_max:
            high = min(high, math.floor((count + 0.5) * 2 * point.cutoff))
    if low > high:
        shown = ", ".join(map(str, channels))
        raise TediError(f"synthesis.L…: no channel_base explains {shown} channels")
    step = 1
    while -(-low // (2 * step)) * 2 * step <= high:
        step *= 2
        if step >= low:
            break
    return -(-low // step) * step


def _check(design: Design, state: Mapping[str, Tensor], names: list[str]) -> None:
    """Refuse a state that is not that of the design it seems to have."""
    for layer, name in zip(layer_table(design), names, strict=True):
        if layer.name != name:
            raise TediError(
                f"synthesis.{name}.weight: expected synthesis.{layer.name}.weight at "
                f"{design.resolution} px; only the published cutoffs are known"
            )
        for key, shape in shapes(layer):
            got = tuple(_of(state, f"synthesis.{name}.{key}").shape)
            if got != shape:
                raise TediError(f"synthesis.{name}.{key}: expected {shape}, got {got}")


def shapes(layer: Layer) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a layer's tensors that do not depend on the width of W."""
    inputs, outputs = layer.source.channels, layer.target.channels
    yield "weight", (outputs, inputs, layer.kernel, layer.kernel)
    yield "bias", (outputs,)
    yield "magnitude_ema", ()
    if layer.up_taps > 1:
        yield "up_filter", (layer.up_taps,)
    if layer.down_taps > 1:
        yield "down_filter", (layer.down_taps,) * (2 if layer.radial else 1)
    yield "affine.bias", (inputs,)
