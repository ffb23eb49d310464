"""Networks of a few numbers that keep the interfaces of the real ones, for tests of logic."""

import zlib

import torch
from torch import Tensor, nn

from tedi import attributes
from tedi.encoders.codes import CodeReader
from tedi.encoders.text import TextEncoder
from tedi.pipeline import Toolkit

WORD_WIDTH = 12


class TinyGenerator(nn.Module):
    """Draws 32 px gradients; `mapping` is linear, its `w_avg` is not zero."""

    name = "tiny"
    resolution = 32

    def __init__(self, *, width: int = 8, slots: int = 16) -> None:
        super().__init__()
        self.slots, self.width = slots, width
        random = torch.Generator().manual_seed(7)
        turn = torch.linalg.qr(torch.randn(width, width, generator=random)).Q
        self.register_buffer("turn", turn)
        self.register_buffer("w_avg", torch.linspace(-1, 1, width) + 0.5)
        paint = torch.randn(slots * width, 12, generator=random) / 8
        self.paint = nn.Parameter(paint, requires_grad=False)

    def mapping(self, z: Tensor) -> Tensor:
        return z @ self.turn + self.w_avg

    def synthesis(self, ws: Tensor) -> Tensor:
        corners = (ws.flatten(1) @ self.paint).tanh().unflatten(1, (3, 2, 2))
        return nn.functional.interpolate(corners, (32, 32), mode="bilinear", align_corners=True)

    def layers(self, group: str | int) -> tuple[int, ...]:
        return tuple(range(self.slots // 2))

    def features(self, ws: Tensor, at: int) -> Tensor:
        half = self.slots // 2
        corners = ws[:, :half].flatten(1) @ self.paint[: half * self.width]
        return nn.functional.interpolate(
            corners.unflatten(1, (3, 2, 2)), (at, at), mode="bilinear", align_corners=True
        )

    def synthesis_from(self, features: Tensor, ws: Tensor) -> Tensor:
        half, end = self.slots // 2, features.shape[-1] - 1
        late = (ws[:, half:].flatten(1) @ self.paint[half * self.width :]).unflatten(1, (3, 2, 2))
        corners = (features[..., ::end, ::end] + late).tanh()
        return nn.functional.interpolate(corners, (32, 32), mode="bilinear", align_corners=True)

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        image = self.synthesis_from(features, ws)
        return nn.functional.interpolate(image, (16, 16), mode="area")

    def preview(self, ws: Tensor) -> Tensor:
        return nn.functional.interpolate(self.synthesis(ws), (16, 16), mode="area")


class TinyBackbone(nn.Module):
    """A state for each word, which depends on its letters alone."""

    name, width = "tiny", WORD_WIDTH

    def forward(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        rows = [torch.stack([self.state(word) for word in prompt.split()]) for prompt in prompts]
        mask = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.bool)
        for used, row in zip(mask, rows, strict=True):
            used[: len(row)] = True
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), mask

    def state(self, word: str) -> Tensor:
        random = torch.Generator().manual_seed(zlib.crc32(word.encode()))
        return torch.randn(WORD_WIDTH, generator=random)


def code_reader(
    *,
    concepts: int = 24,
    slots: int = 16,
    channels: int = 8,
    dtype: torch.dtype = torch.float32,
) -> CodeReader:
    """A reader whose whitening belongs to a made-up covariance; the rest is random."""
    torch.manual_seed(1)
    reader = CodeReader(concepts, slots=slots, channels=channels, hidden=8).to(dtype)
    mix = torch.randn(channels, channels, dtype=dtype)
    values, vectors = torch.linalg.eigh(mix @ mix.T / channels + 0.1 * torch.eye(channels))
    with torch.no_grad():
        reader.slots.normal_()
        reader.leave.weight.normal_(std=0.1)
        reader.w_avg.copy_(torch.linspace(-1, 1, channels) + 0.5)
        reader.whiten.copy_((vectors / values.sqrt()).T)
        reader.color.copy_(vectors * values.sqrt())
        reader.probes.copy_(nn.functional.normalize(torch.randn(reader.probes.shape), dim=1))
        reader.levels.copy_(torch.tensor([-1.0, 1.0]).expand_as(reader.levels))
    return reader.eval().requires_grad_(False)


def text_encoder(codes: CodeReader | None = None) -> TextEncoder:
    """An encoder that reads words at random, but reads something in every word."""
    encoder = TextEncoder(WORD_WIDTH, codes or code_reader())
    torch.manual_seed(2)
    with torch.no_grad():
        encoder.reader.values.normal_(std=0.3)
        encoder.reader.wishes.normal_(std=0.02)
        shares = [torch.full((len(v),), 1 / len(v)) for v in attributes.GROUPS.values()]
        encoder.prior.copy_(torch.cat(shares))
    encoder.backbone = TinyBackbone()
    return encoder.eval().requires_grad_(False)


def toolkit(generator: nn.Module | None = None, text: TextEncoder | None = None) -> Toolkit:
    """The assembly of tiny parts."""
    return Toolkit(
        generator or TinyGenerator(),
        text or text_encoder(),
        dtype=torch.float32,
        weights={"tiny": "0" * 64},
    )
