"""Label maps: which part of a face each pixel shows, as numbers, as colours and as masks.

The 19 classes and their numbers are those of CelebAMask-HQ (Lee et al. 2020, arXiv 1907.11922) in
the order that face parsers share. Left and right are the subject's own: a left eye lies in the
right half of a picture that is not mirrored.
"""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from tedi import images
from tedi.errors import UsageError
from tedi.faces import Alignment
from tedi.outputs import Exist, write_atomically
from tedi.registry import unknown

CLASSES = (
    *("background", "skin", "nose", "glasses", "left eye", "right eye", "left brow", "right brow"),
    *("left ear", "right ear", "mouth", "upper lip", "lower lip", "hair", "hat", "earring"),
    *("necklace", "neck", "clothes"),
)
"""Names by number; "mouth" is its interior: teeth and tongue."""

COLOURS: NDArray[np.uint8] = np.array(
    [
        *((0, 0, 0), (204, 0, 0), (76, 153, 0), (204, 204, 0), (51, 51, 255), (204, 0, 204)),
        *((0, 255, 255), (255, 204, 204), (102, 51, 0), (255, 0, 0), (102, 204, 0)),
        *((255, 255, 0), (0, 0, 153), (0, 0, 204), (255, 51, 153), (0, 204, 204)),
        *((0, 51, 0), (255, 153, 51), (0, 204, 0)),
    ],
    dtype=np.uint8,
)
"""RGB (19, 3) by number, as CelebAMask-HQ paints them."""

LARGE = (
    *("background", "skin", "nose", "left eye", "right eye", "left brow", "right brow"),
    *("upper lip", "lower lip", "hair", "neck"),
)
"""The eleven classes that nearly every portrait shows."""

MIRRORED = (0, 1, 2, 3, 5, 4, 7, 6, 9, 8, *range(10, 19))
"""Class that each class becomes when the picture is mirrored."""

REGIONS: dict[str, tuple[int, ...]] = {
    "background": (0,),
    "brows": (6, 7),
    "clothes": (18,),
    "ears": (8, 9, 15),
    "eyes": (4, 5),
    "face": (1, 2, 3, 4, 5, 6, 7, 10, 11, 12),
    "glasses": (3,),
    "hair": (13,),
    "hat": (14,),
    "mouth": (10, 11, 12),
    "neck": (16, 17),
    "nose": (2,),
    "skin": (1, 2),
}
"""Parts by the names that people use -> class numbers: "ears" with earrings, "neck" with necklace,
"skin" with the nose, and "face" with all from brows to chin, glasses too, but no ears."""

Map = TypeVar("Map", Tensor, NDArray[np.uint8])


def numbers(name: str) -> tuple[int, ...]:
    """Class numbers of a region or a single class.

    >>> numbers("eyes"), numbers("left eye")
    ((4, 5), (4,))

    Raises:
        UsageError: neither; the nearest name is suggested.
    """
    if name in REGIONS:
        return REGIONS[name]
    if name in CLASSES:
        return (CLASSES.index(name),)
    raise unknown("region", name, {*REGIONS, *CLASSES})


def check_names(groups: Iterable[Iterable[str]]) -> None:
    """Raises a UsageError if one of the names in groups is no region and no class."""
    for name in chain.from_iterable(groups):
        numbers(name)


def check(labels: Tensor) -> Tensor:
    """The labels (N, H, W) as they are.

    Raises:
        UsageError: another shape, no integers, or numbers that are no class.
    """
    kind = str(labels.dtype).removeprefix("torch.")
    if labels.ndim != 3 or labels.is_floating_point() or labels.is_complex():
        raise UsageError(f"labels: expected (N, H, W) integers, got {tuple(labels.shape)} {kind}")
    _check_numbers("labels", labels.unique().tolist())
    return labels


def _check_numbers(name: str, found: Sequence[int]) -> None:
    """Raises a UsageError that lists the numbers that are no class."""
    if strange := [number for number in found if not 0 <= number < len(CLASSES)]:
        told = ", ".join(map(str, strange[:8])) + (", …" if len(strange) > 8 else "")
        raise UsageError(f"{name}: expected classes 0 to {len(CLASSES) - 1}, got {told}")


def one_hot(labels: Tensor) -> Tensor:
    """Masks (N, 19, H, W) float32 of labels (N, H, W): 1 where a pixel is of a class, else 0.

    Raises:
        UsageError: what `check` refuses.
    """
    planes = torch.nn.functional.one_hot(check(labels).long(), len(CLASSES))
    return planes.permute(0, 3, 1, 2).float()


def masks(labels: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Mask (N, 1, H, W) float32, 0 or 1, of each region or class that is named.

    Raises:
        UsageError: an unknown name, or what `check` refuses.
    """
    wanted = {name: torch.tensor(numbers(name), device=labels.device) for name in names}
    check(labels)
    return {name: torch.isin(labels, ids)[:, None].float() for name, ids in wanted.items()}


def mirror(labels: Map) -> Map:
    """Labels (…, H, W) of the mirrored picture: columns reversed, left and right exchanged."""
    if isinstance(labels, Tensor):
        table = torch.tensor(MIRRORED, device=labels.device, dtype=labels.dtype)
        return table[labels.long()].flip(-1)
    return np.array(MIRRORED, dtype=np.uint8)[labels][..., ::-1]


def laid_out(labels: NDArray[np.uint8], alignment: Alignment) -> NDArray[np.uint8]:
    """Labels (H, W) of a whole photo from those of an aligned face in it.

    Args:
        labels: (S, S) of the face's square.
        alignment: where it lies in the photo.

    Returns:
        Of the photo's size; background outside the square.
    """
    quad = np.array(alignment.quad) + 0.5  # as Pillow counts: 0 is the edge of the first pixel
    axes = np.linalg.inv(np.stack([quad[3] - quad[0], quad[1] - quad[0]], 1)) * len(labels)
    start = -axes @ quad[0]
    data = (*axes[0], start[0], *axes[1], start[1])
    placed = Image.fromarray(labels).transform(alignment.size, Image.Transform.AFFINE, data)
    return np.array(placed)


def colourise(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours (…, 3) of labels (…), by `COLOURS`.

    Raises:
        UsageError: numbers that are no class.
    """
    _check_numbers("labels", np.unique(labels).tolist())
    return COLOURS[labels]


def from_colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (…) of colours (…, 3), which must all be of `COLOURS`.

    Raises:
        UsageError: other colours; says how many and which.
    """
    packed = _packed(pixels)
    palette = _packed(COLOURS)
    order = np.argsort(palette)
    place = np.searchsorted(palette[order], packed).clip(max=len(palette) - 1)
    labels: NDArray[np.uint8] = order[place].astype(np.uint8)
    wrong = palette[labels] != packed
    if wrong.any():
        found = [f"#{colour:06x}" for colour in np.unique(packed[wrong])]
        told = ", ".join(found[:6]) + (", …" if len(found) > 6 else "")
        raise UsageError(
            f"label map: {len(found)} unknown colours ({told}); paint with those of "
            "tedi.modalities.labels.COLOURS, without smoothing, and save as PNG"
        )
    return labels


def save(
    labels: NDArray[np.uint8],
    path: str | os.PathLike[str],
    provenance: Mapping[str, Any],
    *,
    exist: Exist = "error",
) -> None:
    """Write a label map as a PNG of 8-bit class numbers whose palette is `COLOURS`.

    Args:
        labels: (H, W).
        path: ends with .png.
        provenance: the record, as in `tedi.images.save`.
        exist: "error" keeps a file that is already there, "overwrite" replaces it.

    Raises:
        UsageError: numbers that are no class, or another suffix.
        TediError: the file exists or cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise UsageError(f"{path}: a label map must keep its numbers; name a .png file")
    colourise(labels)
    picture = Image.fromarray(labels)  # its mode is L until it has a palette
    picture.putpalette(COLOURS.tobytes())
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", **images._options("PNG", provenance, 100))
    write_atomically(path, lambda part: part.write_bytes(encoded.getvalue()), exist=exist)


def load(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Labels (H, W) of a picture file: grey levels are class numbers, colours are of `COLOURS`.

    Levels of 8 and 16 bits are taken as they are, whatever their colour profile. A palette that
    has none of `COLOURS` is no paint: its indices are class numbers.

    Raises:
        UsageError: numbers or colours that are no class.
        TediError: no such file, or not a picture.
    """
    with images._opened(path) as picture:
        ImageOps.exif_transpose(picture, in_place=True)
        picture.load()
        try:
            return _of_picture(picture)
        except UsageError as error:
            raise UsageError(f"{path}: {str(error).removeprefix('label map: ')}") from None


def prepare(source: str | os.PathLike[str] | Image.Image, *, size: int = 256) -> Tensor:
    """Masks (1, 19, size, size) of a label map, of a file or in memory, resized by nearest pixel.

    A map that is no square gets background beside it. A picture in memory is read as a file is;
    see `load`.

    Raises:
        UsageError: numbers or colours that are no class.
        TediError: no such file, or not a picture.
    """
    found = _of_picture(source) if isinstance(source, Image.Image) else load(source)
    side = max(found.shape)
    top, left = ((side - length) // 2 for length in found.shape)
    square = np.zeros((side, side), np.uint8)
    square[top : top + found.shape[0], left : left + found.shape[1]] = found
    small = Image.fromarray(square).resize((size, size), Image.Resampling.NEAREST)
    return one_hot(torch.from_numpy(np.array(small))[None])


def _of_picture(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode == "F":
        raise UsageError("label map: floating-point pixels; save it with 8 or 16 bits")
    if picture.mode == "P":
        return _of_palette(picture)
    if picture.mode == "L" or picture.mode.startswith("I"):
        return _of_levels(np.asarray(picture))
    return _of_colours(np.asarray(images._to_rgb(picture)))


def _of_palette(picture: Image.Image) -> NDArray[np.uint8]:
    """Labels of an indexed picture: what it looks like, if it is painted, else its indices."""
    pixels = np.asarray(picture.convert("RGB"))
    used = np.unique(_packed(pixels))
    painted = np.isin(used, _packed(COLOURS[1:])).any()
    grey = bool(picture.getpalette()) and (used % 0x10101 == 0).all()
    return _of_colours(pixels) if painted or grey else _of_levels(np.asarray(picture))


def _of_colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    levels = pixels[..., 0]
    return _of_levels(levels) if (pixels == levels[..., None]).all() else from_colours(pixels)


def _of_levels(levels: NDArray[Any]) -> NDArray[np.uint8]:
    _check_numbers("label map", np.unique(levels).tolist())
    return levels.astype(np.uint8)


def _packed(colours: NDArray[np.uint8]) -> NDArray[np.int64]:
    packed: NDArray[np.int64] = colours.astype(np.int64) @ np.array([65536, 256, 1])
    return packed
