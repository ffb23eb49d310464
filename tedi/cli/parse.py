"""`tedi parse`: a face in, a map of its parts out."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import tedi
from tedi.cli.networks import pulled
from tedi.cli.options import align_option, device_option, which_option
from tedi.errors import TediError, UsageError
from tedi.outputs import Exist, slug

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from tedi.encoders.parser import FaceParser
    from tedi.faces import Alignment

    Labels = NDArray[np.uint8]

PARSER, DETECTOR = "parser-lite0", "mtcnn"
SIZE = 1024  # pixels a side of an aligned face, at most


@click.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="A .png file.  [default: PHOTO-parts.png here]"
)
@click.option(
    "--crop",
    is_flag=True,
    help="The map of the aligned face, not of all of PHOTO, as tedi generate --label takes it; "
    "with --face all one map a face, MAP-faceK.png.",
)
@click.option("--colour", is_flag=True, help="Also a picture of the parts over the photo.")
@click.option(
    "--masks",
    metavar="NAMES",
    help="Also a black and white picture of each part named: hair,skin. Parts are background, "
    "brows, clothes, ears, eyes, face, glasses, hair, hat, mouth, neck, nose, skin, or a class.",
)
@which_option
@align_option
@click.option("--parser", default=PARSER, show_default=True, help="Face parser: name or file.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line, not the paths.")
@click.option("--overwrite", is_flag=True, help="Replace files that are already there.")
def parse(
    photo: Path,
    out: Path | None,
    crop: bool,
    colour: bool,
    masks: str | None,
    which: Any,
    align: bool,
    parser: str,
    device: str,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Which part of a face each pixel of PHOTO shows: 19 classes.

    The map is a PNG of PHOTO's size: pixel values are class numbers, seen as
    colours. What lies outside the square around a face is background. With --crop
    it is that of the square alone, to paint over.

    \b
    tedi parse photo.jpg
    tedi parse photo.jpg --face all --colour
    tedi parse photo.jpg --crop --out map.png
    tedi parse face.png --no-align --masks hair,skin --out parts.png

    Paths go to stdout, progress to stderr.
    """  # noqa: D301
    from tedi import images
    from tedi.modalities.labels import numbers

    names = [name.strip() for name in masks.split(",")] if masks is not None else []
    for name in names:
        numbers(name)
    path = _path(out, photo)
    beside = list(dict.fromkeys([*(["colour"] if colour else []), *map(slug, names)]))
    several = crop and which == "all"
    if not several:
        _check_new(_beside(path, beside), overwrite)
    picture = images.load(photo)
    if not align:
        _check_square(photo, picture, which)
    seen, hashes = _labels(picture, str(photo), which if align else None, parser, device)
    if not (crop and align):
        seen = [_whole(seen, picture)]
    stems = [path.with_name(f"{path.stem}-face{s.number}.png") if several else path for s in seen]
    files = [_beside(stem, beside) for stem in stems]
    _check_new([file for each in files for file in each], overwrite)
    about = {"command": "parse", "photo": photo.name, "version": tedi.__version__}
    record = {**about, "crop": crop, "weights": hashes}
    for one, paths in zip(seen, files, strict=True):
        _write(one, paths, names, record, colour=colour, overwrite=overwrite)
        _tell(one, paths, record, as_json)


class Seen(NamedTuple):
    """What a picture shows.

    Attributes:
        labels: (H, W) of the picture.
        picture: a photo, or an aligned face.
        place: where in a photo the face lies; None for a photo.
        number: of the face in its photo, 1 for the largest.
    """

    labels: "Labels"
    picture: "Image"
    place: "Alignment | None" = None
    number: int = 1


def _beside(path: Path, names: Sequence[str]) -> list[Path]:
    """The file of a map, and those of what is written beside it."""
    return [path, *(path.with_name(f"{path.stem}-{name}.png") for name in names)]


def _tell(seen: Seen, paths: Sequence[Path], record: Mapping[str, Any], as_json: bool) -> None:
    if not as_json:
        return click.echo("\n".join(map(str, paths)))
    told = {"path": str(paths[0]), "others": [str(other) for other in paths[1:]], **record}
    click.echo(json.dumps(told | {"shares": _shares(seen.labels)}))


def _path(out: Path | None, photo: Path) -> Path:
    path = out or Path(f"{photo.stem}-parts.png")
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out: a map must keep its numbers; expected a .png file, got {path}")
    return path


def _check_new(paths: Sequence[Path], overwrite: bool) -> None:
    for path in paths:
        if os.path.lexists(path) and not overwrite:
            raise TediError(f"{path}: already exists; pass --overwrite to replace it")


def _check_square(photo: Path, picture: "Image", which: object) -> None:
    """Raise where the picture cannot be an aligned face."""
    if which != "largest":
        raise UsageError("--face: chooses among found faces, but --no-align looks for none")
    if picture.width != picture.height:
        size = f"{picture.width} x {picture.height}"
        raise UsageError(f"{photo}: expected a square aligned face, got {size}; pass --align")


def _labels(
    picture: "Image", name: str, which: Any, parser: str, device: str
) -> tuple[list[Seen], dict[str, str]]:
    """Faces of a picture, largest first, and the weights' hashes; with `which` None it is one."""
    import numpy as np

    from tedi import faces, pipeline, zoo
    from tedi.checkpoints import native
    from tedi.checkpoints.mtcnn import load_detector

    named = [] if parser.endswith(".safetensors") else [parser]
    files = pulled(*named, *([] if which is None else [DETECTOR]))
    file, finder = files.get(parser, Path(parser)), files.get(DETECTOR)
    model = native.load_parser(file).to(pipeline.choose_device(device))
    hashes = {path.stem: zoo.sha256(path) for path in (file, finder) if path}
    if finder is None:
        return [Seen(_parsed(model, picture), picture)], hashes
    found = load_detector(finder)(np.asarray(picture))
    chosen = faces.choose(found, which, name)
    seen = []
    for number, face in enumerate(found, start=1):
        if any(face is one for one in chosen):
            quad = faces.quad_of(face.points)
            place = faces.Alignment.of(quad, picture)
            side = max(256, min(SIZE, round(place.side)))
            crop = faces.align(picture, quad, size=side)
            seen.append(Seen(_parsed(model, crop), crop, place, number))
    return seen, hashes


def _whole(seen: Sequence[Seen], picture: "Image") -> Seen:
    """A photo with the parts of its faces where these lie."""
    import numpy as np

    from tedi.modalities.labels import laid_out

    labels = np.zeros((picture.height, picture.width), np.uint8)
    for face in reversed(seen):  # largest last
        found = laid_out(face.labels, face.place) if face.place else face.labels
        labels = np.where(found > 0, found, labels)
    return Seen(labels, picture)


def _parsed(model: "FaceParser", face: "Image") -> "Labels":
    """Labels (H, W) of an aligned face."""
    import numpy as np
    import torch

    from tedi import images

    image = images.to_image(np.asarray(face)[None]).to(model.head.weight)
    with torch.inference_mode():
        labels: Labels = model.labels(image)[0].cpu().numpy()
    return labels


def _write(
    seen: Seen,
    paths: Sequence[Path],
    names: Sequence[str],
    record: dict[str, Any],
    *,
    colour: bool,
    overwrite: bool,
) -> None:
    import numpy as np
    from PIL import Image as Pillow

    from tedi import images
    from tedi.modalities import labels as maps

    exist: Exist = "overwrite" if overwrite else "error"
    labels = seen.labels
    maps.save(labels, paths[0], record | {"shows": "parts"}, exist=exist)
    others = [("parts in colours", _painted(labels, seen.picture))] if colour else []
    for name in dict.fromkeys(names):
        mask = np.isin(labels, maps.numbers(name))
        others.append((name, Pillow.fromarray(mask.astype(np.uint8) * 255)))
    for path, (shows, made) in zip(paths[1:], others, strict=True):
        images.save(made, path, record | {"shows": shows}, exist=exist)


def _painted(labels: "Labels", picture: "Image") -> "Image":
    from PIL import Image as Pillow

    from tedi.modalities.labels import colourise

    return Pillow.blend(picture, Pillow.fromarray(colourise(labels)), 0.6)


def _shares(labels: "Labels") -> dict[str, float]:
    """Share of the pixels of each class that is there."""
    import numpy as np

    from tedi.modalities.labels import CLASSES

    counts = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    pairs = zip(CLASSES, counts.tolist(), strict=True)
    return {name: round(share, 4) for name, share in pairs if share}
