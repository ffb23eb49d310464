"""Sketches: faces as line drawings in several styles, and drawings that people made, read.

A sketch is (N, 1, H, W) float32 in [0, 1]: 1 is paper, 0 is line. This is what sketch encoders
take (pSp's and TediGAN's: one channel, not shifted to [-1, 1]).

>>> sketch = draw(torch.ones(1, 3, 64, 64), "edges", 0)
>>> sketch.shape, sketch.min().item()
(torch.Size([1, 1, 64, 64]), 1.0)
"""

import io
import math
import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from tedi import images
from tedi.errors import TediError, UsageError
from tedi.modalities import labels as maps
from tedi.modalities.edges import blurred, canny, evenly_lit
from tedi.registry import Table

Floats = NDArray[np.float32]
Random = np.random.Generator

SKETCHES = Table(
    "sketch style",
    {
        "pencil": "tedi.modalities.sketch:pencil",
        "edges": "tedi.modalities.sketch:edges",
        "contour": "tedi.modalities.portrait:contour",
        "freehand": "tedi.modalities.freehand:freehand",
    },
)
"""Styles: each is (grey (H, W) in [0, 1], labels (H, W) or None, random) -> sketch (H, W)."""

LUMA = (0.299, 0.587, 0.114)
LEAST_CONTRAST = 0.1  # between paper and line, of the range from black to white
LEAST_SHARE = 2e-4  # of the pixels that must be line: 13 of a 256 px square
NO_LINES = "sketch: no lines found; expected dark lines on light paper, or light ones on dark"


def draw(
    image: Tensor, style: str, seed: int | Sequence[int], labels: Tensor | None = None
) -> Tensor:
    """Sketches of pictures.

    Args:
        image: (N, 3, H, W) in [-1, 1].
        style: a name of `SKETCHES`.
        seed: one for each picture, or the first's, with those that follow for the others. A
            sketch depends on its own picture and seed alone.
        labels: (N, H, W), classes of `tedi.modalities.labels`. contour needs them, freehand
            and pencil draw better with them.

    Returns:
        (N, 1, H, W) float32 on the CPU, new.

    Raises:
        UsageError: unknown style, another shape, as many seeds as pictures missed, or no labels
            where they are needed.
    """
    if image.ndim != 4 or image.shape[1] != 3:
        raise UsageError(f"image: expected (N, 3, H, W), got {tuple(image.shape)}")
    seeds = list(range(seed, seed + len(image))) if isinstance(seed, int) else list(seed)
    if len(seeds) != len(image):
        raise UsageError(f"seed: expected one or {len(image)}, got {len(seeds)}")
    if labels is not None and maps.check(labels).shape != (len(image), *image.shape[2:]):
        wanted = (len(image), *image.shape[2:])
        raise UsageError(f"labels: expected {wanted}, as the pictures, got {tuple(labels.shape)}")
    greys = _grey(image)
    known = [None] * len(image) if labels is None else list(labels.to(torch.uint8).cpu().numpy())
    one = SKETCHES[style]
    drawn = [
        one(grey, label, np.random.default_rng(own))
        for grey, label, own in zip(greys, known, seeds, strict=True)
    ]
    return torch.from_numpy(np.stack(drawn)).float()[:, None].clamp(0, 1)


def _grey(image: Tensor) -> Floats:
    weights = torch.tensor(LUMA, device=image.device)
    grey = (image.detach().float().clamp(-1, 1) + 1) / 2
    return (grey * weights.view(1, 3, 1, 1)).sum(dim=1).cpu().numpy()


def pencil(grey: Floats, labels: NDArray[np.uint8] | None, random: Random) -> Floats:
    """A portrait in pencil: XDoG (Winnemöller, Kyprianidis and Olsen 2012, eqs. 5 and 7).

    S = (1 + p) G_σ − p G_1.6σ sharpens the picture, and T = 1 where S ≥ ε, else
    1 + tanh(φ (S − ε)), is its soft threshold. What is sharpened is the picture over its own
    surroundings, so that lines stay and tones fade; some tone is left, as hatching.
    """
    px = min(grey.shape) / 256
    tone = random.uniform(0, 0.3)
    base = (1 - tone) * evenly_lit(grey) + tone * grey
    sigma, p = random.uniform(0.6, 1.1) * px, random.uniform(5, 11)
    near, far = blurred(base, sigma), blurred(base, 1.6 * sigma)
    sharp = (1 + p) * near - p * far
    level = float(np.median(sharp)) * random.uniform(0.86, 0.95)
    soft = random.uniform(1.5, 4)
    ink = np.tanh(soft * np.maximum(level - sharp, 0))
    if labels is not None and random.uniform() < 0.8:
        ink = ink * blurred((labels != 0).astype(np.float32), 2 * px)
    return 1 - ink * _grain(grey.shape, random, 0.8)


def edges(grey: Floats, labels: NDArray[np.uint8] | None, random: Random) -> Floats:
    """Canny's edges in a line of 1 to 3 px; see `tedi.modalities.edges`."""
    px = min(grey.shape) / 256
    mask = canny(
        0.5 * grey + 0.5 * evenly_lit(grey),
        sigma=random.uniform(1, 2) * px,
        strong=random.uniform(0.88, 0.94),
        weak=random.uniform(0.3, 0.5),
        least=int(random.uniform(8, 25) * px),
    )
    return 1 - _thick(mask.astype(np.float32), random.uniform(1, 3) * px)


def _thick(line: Floats, width: float) -> Floats:
    """Lines of one pixel made about so many wide, with soft borders."""
    sigma = 0.36 * width  # a Gaussian 1.3 high is over a half for 2.76 of its deviations
    peak = 1.3 * max(sigma * math.sqrt(2 * math.pi), 1)
    return np.minimum(peak * blurred(line, sigma), 1)


def _grain(shape: tuple[int, ...], random: Random, depth: float) -> Floats:
    """What a pencil leaves of its line on rough paper: (H, W) of mean about 1 − depth / 2."""
    noise = random.random(shape, dtype=np.float32)
    return 1 - depth * random.uniform() * blurred(noise, 0.5)


def lines(sketch: Tensor) -> Tensor:
    """Where a sketch has lines: (N, 1, H, W) bool, darker than Otsu's threshold (1979).

    Raises:
        UsageError: another shape.
        TediError: a sketch with no lines.
    """
    if sketch.ndim != 4 or sketch.shape[1] != 1:
        raise UsageError(f"sketch: expected (N, 1, H, W), got {tuple(sketch.shape)}")
    found = torch.stack([one < _threshold(one) for one in sketch])
    if not bool((found.flatten(1).float().mean(dim=1) >= LEAST_SHARE).all()):
        raise TediError(NO_LINES)
    return found


def _threshold(sketch: Tensor) -> float:
    """The level that parts paper from line best; 0 where there is nothing to part."""
    counts = torch.histc(sketch.float(), 128, 0, 1).double()
    levels = (torch.arange(128, dtype=torch.double) + 0.5) / 128
    below, total = counts.cumsum(0)[:-1], counts.sum()
    mean_below = (counts * levels).cumsum(0)[:-1] / below.clamp(min=1)
    mean_above = ((counts * levels).sum() - below * mean_below) / (total - below).clamp(min=1)
    between = below * (total - below) * (mean_above - mean_below).square()
    best = int(between.argmax())
    contrast = float(mean_above[best] - mean_below[best])
    return (best + 1) / 128 if contrast >= LEAST_CONTRAST and between[best] > 0 else 0.0


def paper(sketch: Tensor, seed: int | Sequence[int]) -> Tensor:
    """Sketches as a camera sees them: paper's tone, uneven light, grain, fainter lines, JPEG.

    Args:
        sketch: (N, 1, H, W) in [0, 1].
        seed: as in `draw`.

    Returns:
        (N, 1, H, W), new.
    """
    seeds = list(range(seed, seed + len(sketch))) if isinstance(seed, int) else list(seed)
    if len(seeds) != len(sketch):
        raise UsageError(f"seed: expected one or {len(sketch)}, got {len(seeds)}")
    made = [
        _on_paper(one[0].cpu().float().numpy(), np.random.default_rng((own, 1)))
        for one, own in zip(sketch, seeds, strict=True)
    ]
    return torch.from_numpy(np.stack(made))[:, None].to(sketch)


def _on_paper(sketch: Floats, random: Random) -> Floats:
    ink = (1 - sketch) * random.uniform(0.5, 1) * _grain(sketch.shape, random, 0.5)
    shade = random.uniform(0, 1) ** 2
    small = random.uniform(1 - 0.5 * shade, 1, (3, 3)).astype(np.float32)
    light = F.interpolate(
        torch.from_numpy(small)[None, None], sketch.shape, mode="bilinear", align_corners=True
    )[0, 0].numpy()
    rough = random.normal(0, 0.02 * random.uniform(), sketch.shape).astype(np.float32)
    seen = np.clip(random.uniform(0.8, 1) * light * (1 - ink) + rough, 0, 1)
    if random.uniform() < 0.5:
        return seen.astype(np.float32)
    file = io.BytesIO()
    Image.fromarray((seen * 255).astype(np.uint8)).save(
        file, "JPEG", quality=int(random.integers(30, 95))
    )
    return _levels(Image.open(file))


def read(path: str | os.PathLike[str], *, size: int = 256) -> Tensor:
    """A drawing that a person made, as `draw` gives them.

    Taken are dark lines on light paper or light ones on dark, in any colour, on a transparent
    ground, and photographed in uneven light. A picture that is no square gets paper beside it.

    Args:
        path: of a picture of any size and mode.
        size: pixels a side of what is given.

    Returns:
        (1, 1, size, size).

    Raises:
        TediError: no such file, not a picture, or no lines on it.
    """
    with images._opened(path) as picture:
        ground = _ground(picture)
    try:
        return from_picture(ground or images.load(path), size=size)
    except TediError as error:
        raise TediError(f"{path}: {str(error).removeprefix('sketch: ')}") from None


def prepare(source: str | os.PathLike[str] | Image.Image, *, size: int = 256) -> Tensor:
    """A drawing (1, 1, size, size), of a file or in memory; see `read`."""
    if isinstance(source, Image.Image):
        return from_picture(_ground(source) or source, size=size)
    return read(source, size=size)


def from_picture(picture: Image.Image, *, size: int = 256) -> Tensor:
    """A drawing in memory, RGB; see `read`."""
    fitted = picture.convert("RGB")
    fitted.thumbnail((4 * size, 4 * size), Image.Resampling.BOX)
    pixels = _levels(fitted)
    ink = _stretched(1 - _flat(_upright(pixels)).min(axis=2))
    square = _squared(ink)
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.BOX)
    ink = _full(np.asarray(resized))
    sketch = torch.from_numpy(1 - ink)[None, None]
    lines(sketch)
    return sketch


def _ground(picture: Image.Image) -> Image.Image | None:
    """A transparent drawing laid over what shows it: black if it is light, else white."""
    if not picture.has_transparency_data:
        return None
    rgba = picture.convert("RGBA")
    levels = np.asarray(rgba, dtype=np.float32)
    seen = levels[..., 3]
    if not seen.any() or seen.min() > 250:
        return None
    mean = float((levels[..., :3].mean(axis=2) * seen).sum() / seen.sum())
    ground = Image.new("RGBA", rgba.size, "black" if mean > 170 else "white")
    return Image.alpha_composite(ground, rgba).convert("RGB")


def _levels(picture: Image.Image) -> Floats:
    """Its levels, 0 to 1."""
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def _upright(pixels: Floats) -> Floats:
    """The pixels (H, W, 3), negative if their border is nearer to their darkest than lightest.

    Raises:
        TediError: darkest and lightest are alike.
    """
    low, high = np.quantile(pixels, [LEAST_SHARE, 1 - LEAST_SHARE])
    if high - low < LEAST_CONTRAST:
        raise TediError(NO_LINES)
    grey = pixels.mean(axis=2)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return 1 - pixels if np.median(border) < (low + high) / 2 else pixels


def _flat(pixels: Floats) -> Floats:
    """The pixels (H, W, 3) over the light of their paper: a wide maximum, blurred."""
    height, width, _ = pixels.shape
    small = Image.fromarray((pixels * 255).astype(np.uint8)).resize((64, 64), Image.Resampling.BOX)
    light = small.filter(ImageFilter.MaxFilter(13)).filter(ImageFilter.GaussianBlur(5))
    wide = _levels(light.resize((width, height), Image.Resampling.BICUBIC))
    middle = np.median(wide, axis=(0, 1))
    return np.minimum(pixels / np.maximum(wide, np.maximum(0.5 * middle, 0.05)), 1)


def _stretched(ink: Floats) -> Floats:
    """Ink without the grain of its paper: what three quarters of it stay below is none."""
    floor = min(float(np.median(ink)) * 2.5, 0.3)
    return np.maximum(ink - floor, 0) / (1 - floor)


def _squared(ink: Floats) -> Floats:
    height, width = ink.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(ink, ((top, side - height - top), (left, side - width - left)))


def _full(ink: Floats) -> Floats:
    """Ink whose lines are as dark as lines are, however thin or faint they were."""
    there = ink[ink > LEAST_CONTRAST]
    if len(there) < LEAST_SHARE * ink.size:
        return np.zeros_like(ink)
    return np.minimum(ink / float(np.quantile(there, 0.9)), 1)
