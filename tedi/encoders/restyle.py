"""ReStyle: an encoder that sees its last attempt beside the picture, and goes on from there.

"ReStyle" (Alaluf et al. 2021, arXiv 2104.02699): the encoder takes six channels, the
picture x and what the generator draws of the present codes, and gives the next move,

    ws_{t+1} = ws_t + E(x, G(ws_t)),   ws_0 = w̄.

Any encoder of the pSp family with six channels will do: over faces ReStyle and StyleGAN3-editing
take `BackboneEncoder` and `ProgressiveBackboneEncoder`, over other things the same on a ResNet34
(He et al. 2016, arXiv 1512.03385), which are here.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders import ir_se
from tedi.encoders.psp import (
    SHAPES,
    TRUNK,
    Config,
    Progressive,
    PublishedEncoder,
    StyleEncoder,
)
from tedi.encoders.shapes import shape_of
from tedi.errors import UsageError
from tedi.interfaces import Generator

OnStep = Callable[[int, dict[str, Tensor], Tensor], bool | None]
# Blocks of each group by the number that names the network; 10 is for trying things out.
DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the input, as torchvision names their parts."""

    def __init__(self, enter: int, leave: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(enter, leave, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(leave)
        self.conv2 = nn.Conv2d(leave, leave, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(leave)
        self.downsample = None
        if stride != 1 or enter != leave:
            conv = nn.Conv2d(enter, leave, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(leave))

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + kept)


class ResNetEncoder(PublishedEncoder):
    """The trunk of a ResNet without its max pooling, whose first ReLU is a PReLU.

    Args:
        channels: of what is looked at; 6 in `ReStyle`.
        slots: L of the generator.
        width: C of its W; the trunk has an eighth of it.
        depth: of the ResNet, see `DEPTHS`.

    Raises:
        UsageError: no such depth, or a width that does not part in eight.
    """

    def __init__(
        self, *, channels: int = 3, slots: int = 18, width: int = 512, depth: int = 34
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise UsageError(f"depth: expected one of {', '.join(map(str, DEPTHS))}, got {depth}")
        self._set({"depth": depth}, channels=channels, slots=slots, width=width)
        trunk, self.counts = width // TRUNK, DEPTHS[depth]
        self.conv1 = nn.Conv2d(channels, trunk, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(trunk)
        self.relu = nn.PReLU(trunk)
        self.body = _blocks(self.counts, trunk)
        self._add_heads()
        self.register_buffer("w_avg", torch.zeros(slots, width))

    def maps(self, image: Tensor) -> list[Tensor]:
        """The trunk's maps, of 128, 64, 32 and 16 px for pictures of 256."""
        return ir_se.maps(self.body, self.relu(self.bn1(self.conv1(image))), self.counts)

    @classmethod
    def read_config(cls, state: Mapping[str, Tensor]) -> Config:
        """The arguments that build the network of a state dict.

        Raises:
            TediError: the name of a tensor that is missing, or does not fit this class.
        """
        trunk, channels, _, _ = shape_of(state, "conv1.weight", ndim=4)
        depth = ir_se.read_depth(state, "body.{}.conv1.weight", trunk, DEPTHS)
        return {"channels": channels, "depth": depth} | cls._read_heads(state)


def _blocks(counts: tuple[int, ...], width: int) -> nn.Sequential:
    blocks, enter = [], width
    for group, (leave, count) in enumerate(zip(ir_se.group_widths(width), counts, strict=True)):
        for nth in range(count):
            blocks.append(BasicBlock(enter, leave, 2 if group and not nth else 1))
            enter = leave
    return nn.Sequential(*blocks)


class ResNetGradualStyleEncoder(StyleEncoder, ResNetEncoder):
    """pSp's pyramid over a ResNet34."""


class ResNetBackboneEncoder(StyleEncoder, ResNetEncoder):
    """All slots look at the ResNet's map of 16 px."""

    pyramid = False


class ResNetProgressiveBackboneEncoder(Progressive, ResNetBackboneEncoder):
    """The same, read as e4e does; its state has the same names as `ResNetBackboneEncoder`'s."""


class ReStyle:
    """Codes found in steps, each of which looks at what the last one led to.

    Args:
        encoder: of six channels, in eval mode.
        steps: how often it looks; ReStyle takes 5 with StyleGAN2, StyleGAN3-editing 3.

    Raises:
        UsageError: an encoder of other channels, or no step.
    """

    def __init__(self, encoder: PublishedEncoder, *, steps: int = 5) -> None:
        if encoder.channels != 6:
            raise UsageError(f"encoder: expected one of 6 channels, got {encoder.channels}")
        self.encoder, self.steps = encoder, _checked(steps)

    @torch.no_grad()
    def __call__(
        self,
        image: Tensor,
        generator: Generator,
        *,
        steps: int | None = None,
        on_step: OnStep | None = None,
        start: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> Tensor:
        """Codes ws (N, L, C), absolute, of pictures.

        Args:
            image: (N, 3, 256, 256) in [-1, 1]; (N, 3, 192, 256) of cars.
            generator: that the codes are of.
            steps: other than the usual ones.
            on_step: told after every step its number, from 1 on, the mean distance (N,) that slots
                moved as "move", and the codes. If it returns True, work stops there.
            start: codes (N, L, C) to begin at; None is the mean.
            drawn: picture (N, 3, h, w) of these codes; None lets the generator draw it. The codes
                and the picture of another encoder and generator bootstrap this one.

        Raises:
            UsageError: no step, pictures of another shape, or a generator or codes of other
                slots.
        """
        ws = start
        walk = self.walk(image, generator, start=start, drawn=drawn)
        for step in range(1, 1 + _checked(self.steps if steps is None else steps)):
            ws, move = next(walk)
            length = move.norm(dim=2).mean(dim=1)
            if on_step is not None and on_step(step, {"move": length}, ws.clone()) is True:
                break
        assert ws is not None  # there is always a step
        return ws

    def walk(
        self,
        image: Tensor,
        generator: Generator,
        *,
        start: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Codes (N, L, C) and the last move (N, L, C), step by step without end.

        Gradients reach the encoder from the step at hand alone: codes and pictures that a step
        begins with are detached, as in ReStyle's training. Arguments are those of `__call__`.
        """
        self._check(image, generator, start)
        ws = self.encoder.w_avg[None] if start is None else start  # the mean is drawn but once
        while True:
            ws = ws.detach()
            if drawn is None:
                with torch.no_grad():
                    drawn = generator.synthesis(ws)
            seen = fit(drawn.detach(), (image.shape[2], image.shape[3]))
            seen = seen.expand(len(image), -1, -1, -1)
            move = self.encoder.offsets(torch.cat([image, seen], dim=1))
            ws, drawn = ws + move, None
            yield ws, move

    def _check(self, image: Tensor, generator: Generator, start: Tensor | None) -> None:
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2:] not in SHAPES:
            raise UsageError(f"image: expected (N, 3, 256, 256), got {tuple(image.shape)}")
        ours = (self.encoder.slots, self.encoder.width)
        its = (generator.slots, generator.width)
        if ours != its:
            raise UsageError(f"generator: expected (L, C) {ours} as the encoder's, got {its}")
        if start is not None and start.shape != (len(image), *ours):
            raise UsageError(f"start: expected {(len(image), *ours)}, got {tuple(start.shape)}")


def fit(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (N, 3, *size): as many rows about the middle as fit, reduced by area.

    Cars are drawn on squares whose upper and lower eighth are empty.

    Args:
        image: (N, 3, H, W).
        size: height and width.
    """
    rows = min(image.shape[2], round(image.shape[3] * size[0] / size[1]))
    top = (image.shape[2] - rows) // 2
    return F.adaptive_avg_pool2d(image[:, :, top : top + rows], size)


def _checked(steps: int) -> int:
    if steps < 1:
        raise UsageError(f"steps: expected 1 or more, got {steps}")
    return steps
