"""`tedi sketch`: a face in, a line drawing of it out."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import tedi
from tedi.cli.options import MAX_SEED, Bars, align_option, device_option
from tedi.errors import TediError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

STYLES = ("pencil", "edges", "contour", "freehand")
"""The names of `tedi.modalities.sketch.SKETCHES`, which needs torch."""
DETECTOR, PARSER = "mtcnn", "parser-lite0"


@click.command()
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "--style",
    type=click.Choice(STYLES),
    default="pencil",
    show_default=True,
    help="Soft lines with some tone, thin edges, borders of the parts, or a person's hand.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Of what differs from drawing to drawing.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="A picture.  [default: PHOTO-sketch.png here]"
)
@click.option(
    "--size",
    type=click.IntRange(64, 1024),
    default=256,
    show_default=True,
    help="Pixels a side.",
)
@click.option("--paper", is_flag=True, help="As if photographed: paper, uneven light, grain.")
@align_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON line, not the path.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
def sketch(
    photo: Path,
    style: str,
    seed: int,
    out: Path | None,
    size: int,
    paper: bool,
    align: bool,
    device: str,
    as_json: bool,
    overwrite: bool,
) -> None:
    """A line drawing of the face in PHOTO, the largest if there are several.

    \b
    tedi sketch photo.jpg
    tedi sketch photo.jpg --style freehand --seed 3
    tedi sketch face.png --no-align --style contour --size 512 --out lines.png

    The path goes to stdout, progress to stderr.
    """  # noqa: D301
    from PIL import Image as Pillow

    from tedi import images
    from tedi.modalities import sketch as sketches
    from tedi.outputs import picture_format

    path = out or Path(f"{photo.stem}-sketch.png")
    picture_format(path)
    if os.path.lexists(path) and not overwrite:
        raise TediError(f"{path}: already exists; pass --overwrite to replace it")
    bars = Bars()
    try:
        image, weights = _face(photo, size, align, bars)
        labels, parser = _labels(image, device, bars)
    finally:
        bars.close()
    drawn = sketches.draw(image, style, seed, labels)
    if paper:
        drawn = sketches.paper(drawn, seed)
    record = {"command": "sketch", "photo": photo.name, "style": style, "seed": seed, "size": size}
    record |= {"paper": paper, "align": align, "version": tedi.__version__}
    record |= {"weights": weights | parser}
    picture = Pillow.fromarray((drawn[0, 0] * 255).round().byte().numpy())
    images.save(picture, path, record, exist="overwrite" if overwrite else "error")
    click.echo(json.dumps({"path": str(path), **record}) if as_json else str(path))


def _face(photo: Path, size: int, align: bool, bars: Bars) -> "tuple[Tensor, dict[str, str]]":
    """The aligned face (1, 3, size, size), and hashes by name of what found it."""
    import numpy as np
    from PIL import Image as Pillow

    from tedi import images

    picture = images.load(photo)
    weights: dict[str, str] = {}
    if align:
        picture, weights = _aligned(photo, picture, max(256, size), bars)
    elif picture.width != picture.height:
        got = f"{picture.width} x {picture.height}"
        raise UsageError(f"{photo}: expected a square aligned face, got {got}; pass --align")
    fitted = picture.resize((size, size), Pillow.Resampling.LANCZOS)
    return images.to_image(np.asarray(fitted)[None]), weights


def _aligned(
    photo: Path, picture: "Image", size: int, bars: Bars
) -> "tuple[Image, dict[str, str]]":
    import numpy as np

    from tedi import faces, zoo
    from tedi.checkpoints.mtcnn import load_detector

    file = zoo.pull(DETECTOR, progress=bars)
    found = load_detector(file)(np.asarray(picture))
    (one,) = faces.choose(found, "largest", str(photo))
    return faces.align(picture, faces.quad_of(one.points), size=size), {DETECTOR: zoo.sha256(file)}


def _labels(image: "Tensor", device: str, bars: Bars) -> "tuple[Tensor, dict[str, Any]]":
    """Parts (1, H, W) of the face, and the parser's hash by name."""
    import torch

    from tedi import pipeline, zoo
    from tedi.checkpoints import native

    file = zoo.pull(PARSER, progress=bars)
    where = pipeline.choose_device(device)
    model = native.load_parser(file).to(where)
    with torch.inference_mode():
        return model.labels(image.to(where)).cpu(), {PARSER: zoo.sha256(file)}
