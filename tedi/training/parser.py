"""Trains the face parser on photographs with part masks, CelebAMask-HQ in parquet.

The loss is the cross-entropy of every pixel, rare classes weighing more, and one minus the Dice
coefficient of every class (Milletari et al. 2016, arXiv 1606.04797). Pictures are mirrored (left
and right parts exchanged), turned, scaled, cropped, lit anew, blurred and compressed, so that
drawn faces and other cameras' photos read like these. Small crops come first, whole pictures last.
"""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tedi import config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.encoders.parser import SIZE, STRIDE, FaceParser
from tedi.modalities.labels import CLASSES, mirror
from tedi.training.dataset import load_masks
from tedi.training.loop import Settings
from tedi.training.networks import device_of
from tedi.training.pictures import from_bytes

IGNORED = 255  # label of what lies outside the photograph
RARE = ("glasses", "hat", "necklace")


class Photo(NamedTuple):
    """One example, as its files' bytes: a JPEG and a PNG of class numbers."""

    picture: bytes
    labels: bytes


@dataclass(frozen=True)
class ParserOptions:
    """Settings of the task."""

    data: str = "../shared/data/celebahq256"  # folder of parquet files: id, image, label_map
    batch_size: int = 16  # pictures a step
    test: int = 300  # photos held out for the figures, the last by id
    unused: int = 150  # photos before those, for choosing settings; not trained on
    start_size: int = 160  # pixels of the first crops; the last ones have 256
    decoder_rate: float = 4.0  # learning rate of the decoder, relative to the trunk's
    frozen: int = 1  # first blocks of the trunk that stay as they are
    repeats: int = 3  # times an epoch shows a photo with glasses, a hat or a necklace
    power: float = 0.25  # classes weigh by this power of one over their share of pixels
    dice: float = 1.0  # weight of the Dice loss
    on_unused: bool = False  # measure on the unused photos, not on the test


def make_task(settings: Settings) -> "ParserTask":
    """The task on the photographs of a folder, which stay on the machine they are on."""
    keep_freed_memory()
    options = config.build(ParserOptions, settings.options, where="options")
    rows = sorted(load_masks(Path(options.data)), key=lambda row: int(row["id"]))
    photos = [Photo(row["image"]["bytes"], row["label_map"]["bytes"]) for row in rows]
    trunk, _ = native.read(zoo.pull("efficientnet-lite0"))
    return ParserTask(photos, trunk, options, steps=settings.steps, seed=settings.seed)


class ParserTask:
    """Fits `FaceParser` to photographs with masks."""

    def __init__(
        self,
        photos: Sequence[Photo],
        trunk: dict[str, Tensor],
        options: ParserOptions,
        *,
        steps: int,
        seed: int,
    ) -> None:
        self.photos, self.options, self.steps, self.seed = photos, options, steps, seed
        end = len(photos) - options.test - options.unused
        self.held = range(end, end + options.unused)
        if not options.on_unused:
            self.held = range(end + options.unused, len(photos))
        shares = torch.stack([_shares(decode_labels(photo)) for photo in photos[:end]])
        rare = shares[:, [CLASSES.index(name) for name in RARE]].sum(dim=1) > 0
        everyone = torch.arange(end)
        self.train = torch.cat([everyone, *[everyone[rare]] * (options.repeats - 1)])
        self.weights = class_weights(shares.mean(dim=0), options.power)
        torch.manual_seed(seed)
        self.model = FaceParser(len(CLASSES))
        known = self.model.state_dict()
        state = known | {name: t for name, t in trunk.items() if name in known}
        self.model.load_state_dict(state)
        for part in [self.model.stem, *self.model.blocks[: options.frozen]]:
            part.requires_grad_(False)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """The decoder's steps are larger than the trunk's."""
        decoder = [*self.model.merges.parameters(), *self.model.head.parameters()]
        trunk = [p for p in self.model.blocks.parameters() if p.requires_grad]
        return [
            {"params": trunk, "lr": lr},
            {"params": decoder, "lr": lr * self.options.decoder_rate},
        ]

    def step(self, step: int) -> dict[str, Tensor]:
        """Cross-entropy and Dice loss of a batch."""
        random = torch.Generator().manual_seed((self.seed + 1) * 1_000_003 + step)
        size = crop_size(step / self.steps, self.options.start_size)
        pixels, labels = zip(*(self._example(row, random) for row in self._rows(step)), strict=True)
        image, truth = turned(
            from_bytes(np.stack(pixels)), torch.from_numpy(np.stack(labels)), size, random
        )
        here = device_of(self.model)
        scores = self.model.scores(lit(image, random).to(here))
        entropy, dice = parser_losses(scores, truth.to(here), self.weights)
        return {"cross-entropy": entropy, "dice": dice * self.options.dice}

    def _rows(self, step: int) -> list[int]:
        n = self.options.batch_size
        per_epoch = len(self.train) // n
        epoch = torch.Generator().manual_seed(self.seed * 10_007 + step // per_epoch)
        order = self.train[torch.randperm(len(self.train), generator=epoch)]
        found: list[int] = order.roll(-(step % per_epoch) * n)[:n].tolist()
        return found

    def _example(
        self, row: int, random: torch.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Pixels (3, H, W) and labels (H, W), mirrored or not, the picture often recompressed."""
        photo, (mirrors, quality) = self.photos[row], torch.rand(2, generator=random).tolist()
        pixels = decode_picture(photo, quality=int(200 * quality) if 0.1 < quality < 0.45 else None)
        labels = decode_labels(photo)
        if mirrors < 0.5:
            pixels, labels = pixels[..., ::-1], mirror(labels)
        return pixels, labels

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """IoU by class and its mean, from the confusion of all held-out pixels."""
        tables = torch.stack([self._confusion(self.photos[row]) for row in self.held])
        return figures_of(tables, seed=self.seed)

    def _confusion(self, photo: Photo) -> Tensor:
        image = from_bytes(decode_picture(photo)[None]).to(device_of(self.model))
        found = self.model.labels(image)[0].long().cpu()
        truth = torch.from_numpy(decode_labels(photo)).long()
        n = len(CLASSES)
        return torch.bincount((truth * n + found).flatten(), minlength=n * n).view(n, n)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The model in float16."""
        return {n: t.half() for n, t in self.model.state_dict().items()}, {
            "architecture": "parser-lite0",
            "kind": "face parser",
            "for": "pictures of aligned faces",
            "classes": json.dumps(CLASSES),
            "licence": "for non-commercial research: trained with CelebAMask-HQ; begun from "
            "efficientnet-lite0 (Apache-2.0)",
            "data": f"{len(self.photos)} photographs of CelebA-HQ with the masks of CelebAMask-HQ "
            f"at 256 px, the last {self.options.test} held out; no picture is passed on",
            "recipe": "train/parser.py",
            "options": json.dumps(asdict(self.options)),
            "note": "Parts of a face, 19 classes; left and right are the subject's own.",
        }


# --- examples ------------------------------------------------------------------------------------


def decode_picture(photo: Photo, *, quality: int | None = None) -> NDArray[np.uint8]:
    """Pixels (3, H, W); with a quality, as another JPEG compression leaves them."""
    picture = Image.open(io.BytesIO(photo.picture)).convert("RGB")
    if quality is not None:
        compressed = io.BytesIO()
        picture.save(compressed, "JPEG", quality=quality)
        picture = Image.open(compressed)
    return np.array(picture).transpose(2, 0, 1)


def decode_labels(photo: Photo) -> NDArray[np.uint8]:
    """Class numbers (H, W)."""
    return np.array(Image.open(io.BytesIO(photo.labels)))


def crop_size(done: float, start: int) -> int:
    """Pixels of the crops when a share of the training is done: from `start` to the whole."""
    return STRIDE * round((start + (SIZE - start) * min(1.0, 1.25 * done)) / STRIDE)


def turned(
    image: Tensor, labels: Tensor, size: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Crops of `size` pixels, turned by up to 20 degrees and scaled by 0.77 to 1.25.

    Args:
        image: (N, 3, H, W).
        labels: (N, H, W) uint8.
        size: of what is returned.
        random: source of the choices.

    Returns:
        (N, 3, size, size), and (N, size/2, size/2) long at the middles of 2x2 pixels, where the
        parser's scores lie; `IGNORED` outside the photograph.
    """
    n = len(image)
    angle, zoom, x, y = torch.rand(4, n, generator=random)
    angle = (2 * angle - 1) ** 3 * math.radians(20)
    cover = 0.8 * (1.3 / 0.8) ** zoom * size / image.shape[-1]
    room = (1 - cover).clamp(min=0.08)
    cos, sin = cover * angle.cos(), cover * angle.sin()
    rows = [cos, -sin, (2 * x - 1) * room, sin, cos, (2 * y - 1) * room]
    moves = torch.stack(rows, dim=1).view(n, 2, 3)
    grid = F.affine_grid(moves, [n, 3, size, size], align_corners=False)
    image = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    # Zeros are what lies outside, so classes are shifted by one on the way.
    grid = F.affine_grid(moves, [n, 1, size // 2, size // 2], align_corners=False)
    planes = labels[:, None].float() + 1
    found = F.grid_sample(planes, grid, mode="nearest", align_corners=False)[:, 0].long() - 1
    return image, torch.where(found < 0, IGNORED, found)


def lit(image: Tensor, random: torch.Generator) -> Tensor:
    """Pictures (N, 3, H, W) of other light, colours, sharpness and noise."""

    def draw(*size: int) -> Tensor:
        return torch.rand(len(image), *size, generator=random)

    soft = F.avg_pool2d(F.pad(image, [2] * 4, mode="replicate"), 5, stride=1)
    image = image.lerp(soft, draw(1, 1, 1) * (draw(1, 1, 1) < 0.3))
    grey = image.mean(dim=1, keepdim=True)
    image = grey.lerp(image, torch.where(draw(1, 1, 1) < 0.1, 0.0, 0.6 + 0.8 * draw(1, 1, 1)))
    tint = 1 + 0.2 * (draw(3, 1, 1) - 0.5)
    image = image * tint * (0.65 + 0.7 * draw(1, 1, 1)) + 0.5 * (draw(1, 1, 1) - 0.5)
    noise = torch.randn(image.shape, generator=random)
    return (image + 0.1 * draw(1, 1, 1) * (draw(1, 1, 1) < 0.3) * noise).clamp(-1, 1)


# --- losses and figures --------------------------------------------------------------------------


def class_weights(shares: Tensor, power: float) -> Tensor:
    """Weights (19,) of classes with these shares of pixels, 1 for the mean pixel.

    A class of no pixel weighs as one of a hundred-thousandth.
    """
    weights = shares.clamp(min=1e-5) ** -power
    return weights / (shares * weights).sum()


def _shares(labels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size)


def parser_losses(scores: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted cross-entropy, and one minus Dice, a mean over the classes that are there.

    Args:
        scores: logits (N, V, H, W).
        labels: (N, H, W) long; `IGNORED` counts nowhere.
        weights: (V,) of the cross-entropy.

    Returns:
        Two scalars. Dice of a class is 2 Σ p y / (Σ p + Σ y) over all pixels of the batch.
    """
    log_p = scores.log_softmax(dim=1)
    entropy = F.nll_loss(log_p, labels, weights.to(scores), ignore_index=IGNORED)
    seen = labels != IGNORED
    p = log_p.exp() * seen[:, None]
    truth = torch.where(seen, labels, 0)
    right = p.gather(1, truth[:, None])[:, 0]
    count = len(weights)
    overlap = scores.new_zeros(count).index_add(0, truth.flatten(), right.flatten())
    size = torch.bincount(labels[seen], minlength=count)
    dice = (2 * overlap + 1) / (p.sum(dim=(0, 2, 3)) + size + 1)
    return entropy, 1 - dice[size > 0].mean()


def figures_of(tables: Tensor, *, seed: int = 0, draws: int = 1000) -> dict[str, float]:
    """Figures of confusions (n, 19, 19), truth by row, one for each photo.

    The mean IoU is of the total confusion; its 95 % interval is a bootstrap over photos.
    """
    random = torch.Generator().manual_seed(seed)
    n, total = len(tables), tables.sum(dim=0)
    chosen = torch.randint(n, (draws, n), generator=random)
    again = torch.stack([mean_iou(tables[rows].sum(dim=0)) for rows in chosen])
    low, high = torch.quantile(again, torch.tensor([0.025, 0.975], dtype=again.dtype)).tolist()
    figures = {
        "n": float(n),
        "mean IoU": mean_iou(total).item(),
        "mean IoU low": low,
        "mean IoU high": high,
        "pixel accuracy": (total.diagonal().sum() / total.sum()).item(),
    }
    by_class = zip(CLASSES, iou(total).nan_to_num(0.0).tolist(), strict=True)
    figures |= {f"IoU {name}": value for name, value in by_class}
    return {name: round(value, 4) for name, value in figures.items()}


def iou(table: Tensor) -> Tensor:
    """Intersection over union (V,) of a confusion (V, V); NaN for a class nobody has or sees."""
    right = table.diagonal().double()
    return right / (table.sum(dim=0) + table.sum(dim=1) - right)


def mean_iou(table: Tensor) -> Tensor:
    """Mean over the classes that are there or were found."""
    return iou(table).nanmean()
