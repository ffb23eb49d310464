"""Faces in a photo and five points on each, by MTCNN (Zhang et al. 2016, arXiv 1604.02878).

Three small networks pass candidates on: P-Net looks at every 12 px window of a pyramid, R-Net at
24 px crops of what is left, O-Net at 48 px crops and marks eyes, nose and mouth corners. To the
paper is added one step: O-Net marks each face again in crops turned upright, and the mean is taken,
which makes the points steadier (see `Detector`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tedi.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WORK_PIXELS = 1280 * 960
"""Size of the copy in which faces are sought; larger pictures are reduced to it."""

SMALLEST = 20
"""Pixels of the sought copy that a face must span: P-Net is weak below that."""

_STEP = 0.709  # of the pyramid; the area halves
_MOST = 400  # candidates at most after P-Net; a picture of leaves would give thousands
_SCORES = (0.6, 0.7, 0.8)  # that P-Net, R-Net and O-Net must give

# Where the points of a face lie, in sides, in the crop that the looks below start from.
_PLACES = np.array([(0.312, 0.375), (0.688, 0.375), (0.5, 0.59), (0.345, 0.765), (0.655, 0.765)])
# Crops in which a face is marked again: (shift right, shift down, size) in crop sides.
_LOOKS = ((0, 0, 0.85), (0.05, 0, 0.95), (-0.05, 0, 0.95), (0, 0.04, 1.05), (0, -0.04, 1.05))
_PATCH = 96  # pixels that a crop's side has before it is turned and halved for O-Net


@dataclass(frozen=True, eq=False)
class Detected:
    """A face in a picture; coordinates in pixels, (0, 0) the centre of the top left pixel.

    Attributes:
        box: left, top, right, bottom; it may leave the picture.
        score: 0 to 1, O-Net's.
        points: (5, 2) x and y of eye, eye, nose, mouth corner, mouth corner; of two, the one on
            the picture's left comes first.
    """

    box: tuple[float, float, float, float]
    score: float
    points: Floats

    @property
    def area(self) -> float:
        """Of the box, in pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


class Stage(nn.Module):
    """One network of the cascade: convolutions, maybe a dense layer, and a head for each answer.

    Args:
        convolutions: (channels, kernel, pooling window or 0) of each.
        dense: (inputs, outputs) of the dense layer, or None where the network slides over a map.
        marks: whether it places the five points.
    """

    def __init__(
        self,
        convolutions: Sequence[tuple[int, int, int]],
        dense: tuple[int, int] | None = None,
        *,
        marks: bool = False,
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before = 3
        for number, (channels, kernel, pool) in enumerate(convolutions, 1):
            layers[f"conv{number}"] = nn.Conv2d(before, channels, kernel)
            layers[f"prelu{number}"] = nn.PReLU(channels)
            if pool:
                layers[f"pool{number}"] = nn.MaxPool2d(pool, 2, ceil_mode=True)
            before = channels
        if dense:
            number, before = len(convolutions) + 1, dense[1]
            layers["flatten"] = nn.Flatten()
            layers[f"dense{number}"] = nn.Linear(*dense)
            layers[f"prelu{number}"] = nn.PReLU(before)
        self.trunk = nn.Sequential(layers)
        answers = {"face": 2, "box": 4} | ({"marks": 10} if marks else {})
        self.heads = nn.ModuleDict(
            {
                n: nn.Linear(before, w) if dense else nn.Conv2d(before, w, 1)
                for n, w in answers.items()
            }
        )

    def forward(self, levels: Tensor) -> dict[str, Tensor]:
        """Answers for (N, 3, H, W) of 0…255; "face" is a probability, the rest is in crop sides."""
        features = self.trunk((levels - 127.5) / 128)
        answers = {name: head(features) for name, head in self.heads.items()}
        answers["face"] = (answers["face"][:, 1] - answers["face"][:, 0]).sigmoid()
        return answers


class Detector(nn.Module):
    """Finds faces: called with pixels (H, W, 3) uint8 RGB, gives `Detected`, largest first.

    Pictures of more than `WORK_PIXELS` are searched in a reduced copy; the points are then set in
    the picture itself.

    Args:
        min_face: pixels of the picture that a face must span, chin to forehead; halving it costs
            four times the time. In reduced copies faces span `SMALLEST` pixels or more.
    """

    def __init__(self, *, min_face: float = 40) -> None:
        super().__init__()
        if not min_face >= SMALLEST:
            raise UsageError(f"min_face: expected {SMALLEST} pixels or more, got {min_face}")
        self.min_face = min_face
        self.pnet = Stage([(10, 3, 2), (16, 3, 0), (32, 3, 0)])
        self.rnet = Stage([(28, 3, 3), (48, 3, 3), (64, 2, 0)], (576, 128))
        self.onet = Stage(
            [(32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)], (1152, 256), marks=True
        )

    @torch.inference_mode()
    def forward(self, pixels: NDArray[np.uint8]) -> list[Detected]:
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise UsageError(f"pixels: expected (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
        picture = Image.fromarray(pixels)
        copy, scale = _reduced(picture)
        boxes = self._refuse(copy, self._propose(copy, max(SMALLEST, self.min_face * scale)))
        stretch = np.divide(picture.size, copy.size)
        boxes[:, :4] *= np.tile(stretch, 2)
        found = []
        for box, points in self._observe(picture, boxes):
            left, top, right, bottom = (box[:4] - 0.5).tolist()
            marks = self._mark(picture, points) - 0.5
            found.append(Detected((left, top, right, bottom), float(box[4]), marks))
        return sorted(found, key=lambda face: -face.area)

    def _propose(self, picture: Image.Image, min_face: float) -> Floats:
        """Candidates (M, 5) of P-Net: left, top, right, bottom, score."""
        scale, found = 12 / min_face, [np.zeros((0, 5))]
        while min(picture.size) * scale >= 12:
            width, height = (math.ceil(side * scale) for side in picture.size)
            level = picture.resize((width, height), Image.Resampling.BILINEAR)
            answers = {n: a[0].cpu().numpy() for n, a in self.pnet(self._levels([level])).items()}
            rows, columns = np.nonzero(answers["face"] > _SCORES[0])
            corner = np.stack([columns, rows], 1) * 2.0
            steps = answers["box"][:, rows, columns].T.astype(float) * 12
            boxes = np.concatenate([corner, corner + 12], 1) + steps
            boxes *= np.tile(np.divide(picture.size, level.size), 2)
            scores = answers["face"][rows, columns].astype(float)
            found.append(_distinct(np.column_stack([boxes, scores]), 0.5)[:_MOST])
            scale *= _STEP
        return _distinct(np.concatenate(found), 0.7)[:_MOST]

    def _refuse(self, picture: Image.Image, boxes: Floats) -> Floats:
        """What R-Net leaves of candidates (M, 5)."""
        boxes, answers = self._look(self.rnet, picture, boxes, 24, _SCORES[1])
        return _distinct(_moved(boxes, answers["box"]), 0.7)

    def _observe(self, picture: Image.Image, boxes: Floats) -> list[tuple[Floats, Floats]]:
        """Boxes (5,) with points (5, 2) of the faces that O-Net sees among candidates (M, 5)."""
        boxes, answers = self._look(self.onet, picture, boxes, 48, _SCORES[2])
        side = boxes[:, None, 2:4] - boxes[:, None, :2]
        points = boxes[:, None, :2] + answers["marks"].reshape(-1, 2, 5).swapaxes(1, 2) * side
        moved = np.column_stack([_moved(boxes, answers["box"]), points.reshape(-1, 10)])
        return [(row[:5], row[5:].reshape(5, 2)) for row in _distinct(moved, 0.7, inside=True)]

    def _look(
        self, stage: Stage, picture: Image.Image, boxes: Floats, side: int, least: float
    ) -> tuple[Floats, dict[str, Floats]]:
        """Squared boxes (M, 5) that a network takes for faces, with its answers."""
        boxes = _squared(boxes)
        boxes = boxes[(boxes[:, 2:4] - boxes[:, :2]).min(1, initial=1e9) >= 2]
        if not len(boxes):
            return boxes, {"box": np.zeros((0, 4)), "marks": np.zeros((0, 10))}
        crops = [_crop(picture, box[:4], side) for box in boxes]
        answers = {n: a.cpu().numpy().astype(float) for n, a in stage(self._levels(crops)).items()}
        boxes[:, 4] = answers["face"]
        seen = boxes[:, 4] > least
        return boxes[seen], {name: answer[seen] for name, answer in answers.items()}

    def _mark(self, picture: Image.Image, points: Floats) -> Floats:
        """Points (5, 2) of a face, set again by O-Net in upright crops, as in `Detected`."""
        for looks in (_LOOKS[:1], _LOOKS):  # turned upright by the first, marked by the second
            points = self._remark(picture, points, looks)
        return points

    def _remark(
        self, picture: Image.Image, points: Floats, looks: Sequence[tuple[float, float, float]]
    ) -> Floats:
        turn, corner = _fit(_PLACES, points)  # crop (sides) -> picture (pixels)
        patch, scale, origin = _patch(picture, turn, corner)
        frames = [(turn * size, corner + turn @ _start(x, y, size)) for x, y, size in looks]
        crops = []
        for axes, start in frames:
            a, b = axes * scale / _PATCH, (start - origin) * scale
            data = (a[0, 0], a[0, 1], b[0], a[1, 0], a[1, 1], b[1])
            crop = patch.transform((_PATCH, _PATCH), Image.Transform.AFFINE, data, _BILINEAR)
            crops.append(crop.reduce(2))
        levels = self._levels(crops)
        marks = self.onet(torch.cat([levels, levels.flip(3)]))["marks"].reshape(2, -1, 2, 5)
        plain, mirrored = marks.swapaxes(2, 3).cpu().numpy().astype(float)
        mirrored = mirrored[:, [1, 0, 2, 4, 3]] * (-1, 1) + (1, 0)
        placed = [
            marked @ axes.T + start
            for marked, (axes, start) in zip((plain + mirrored) / 2, frames, strict=True)
        ]
        return np.mean(placed, axis=0)

    def _levels(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(N, 3, H, W) float of 0…255, where the weights are."""
        weight = next(self.parameters())
        levels = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
        return levels.to(weight.device).permute(0, 3, 1, 2).to(weight.dtype).contiguous()


_BILINEAR = Image.Resampling.BILINEAR


def _reduced(picture: Image.Image) -> tuple[Image.Image, float]:
    """Copy in which faces are sought, and its scale."""
    scale = min(1.0, math.sqrt(WORK_PIXELS / (picture.width * picture.height)))
    if scale == 1:
        return picture, 1.0
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    return picture.resize(size, _BILINEAR, reducing_gap=2.0), scale  # type: ignore[arg-type]


def _crop(picture: Image.Image, box: Floats, side: int) -> Image.Image:
    """What a box shows, black outside the picture, (side, side)."""
    left, top = np.floor(box[:2])
    right, bottom = np.ceil(box[2:])
    whole = picture.crop((left, top, right, bottom))
    inner = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return whole.resize((side, side), Image.Resampling.BOX, inner, reducing_gap=3.0)


def _patch(picture: Image.Image, turn: Floats, corner: Floats) -> tuple[Image.Image, float, Floats]:
    """Surroundings of a crop, reduced so that its side is `_PATCH` pixels; scale and origin."""
    side = math.hypot(*turn[:, 0])
    middle = corner + turn @ (0.5, 0.5)
    low, high = np.floor(middle - side), np.ceil(middle + side)
    patch = picture.crop((*low, *high))
    scale = min(1.0, _PATCH / side)
    size = [max(1, round(length * scale)) for length in patch.size]
    patch = patch.resize((size[0], size[1]), Image.Resampling.BOX, reducing_gap=3.0)
    return patch, size[0] / (high[0] - low[0]), low


def _start(x: float, y: float, size: float) -> Floats:
    """Top left corner, in crop sides, of a crop that is shifted and grown about its middle."""
    return np.array([x, y]) + 0.5 - size / 2


def _fit(source: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Turn and scale (2, 2) and shift (2,) that bring points nearest to others (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    real, imaginary = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    c, s = np.array([real, imaginary]) / max((a**2).sum(), 1e-12)
    turn = np.array([[c, -s], [s, c]])
    return turn, target.mean(0) - turn @ source.mean(0)


def _squared(boxes: Floats) -> Floats:
    """Boxes (M, 5) grown to squares about their middle."""
    middle = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(1, keepdims=True, initial=0) / 2
    return np.concatenate([middle - half, middle + half, boxes[:, 4:]], 1)


def _moved(boxes: Floats, steps: Floats) -> Floats:
    """Boxes (M, 5) with their edges moved by steps (M, 4) in box sides."""
    side = boxes[:, 2:4] - boxes[:, :2]
    return np.concatenate([boxes[:, :4] + steps * np.tile(side, 2), boxes[:, 4:]], 1)


def _distinct(boxes: Floats, most: float, *, inside: bool = False) -> Floats:
    """Rows (M, 5 or more) by falling score, without those that overlap a better one.

    Args:
        boxes: left, top, right, bottom, score, and what else belongs to them.
        most: overlap that is let through.
        inside: measure overlap by the smaller of the two, so that a face in a face goes too.
    """
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    area = (boxes[:, 2:4] - boxes[:, :2]).clip(0).prod(1)
    left, kept = np.arange(len(boxes)), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[left, :2])
        high = np.minimum(boxes[best, 2:4], boxes[left, 2:4])
        common = (high - low).clip(0).prod(1)
        smaller = np.minimum(area[best], area[left])
        base = smaller if inside else area[best] + area[left] - common
        left = left[common <= most * base]
    return boxes[kept]
