"""`tedi compare`: pictures of faces in, how far they are from being one person's out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tedi.cli.options import Bars, device_option
from tedi.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from tedi.checkpoints.identity import Identity

NETWORK, DETECTOR = "face-recognition", "mtcnn"


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("others", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--align/--no-align",
    default=True,
    show_default=True,
    help="Find and align the face, or take square pictures that are aligned as FFHQ's are.",
)
@click.option(
    "--face",
    type=click.IntRange(min=1),
    help="Which face of each picture, 1 for the largest.  [default: 1]",
)
@click.option(
    "--network",
    default=NETWORK,
    show_default=True,
    help="Identity network: name or file, such as ArcFace's model_ir_se50.pth.",
)
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, not sentences.")
def compare(
    first: Path,
    others: tuple[Path, ...],
    align: bool,
    face: int | None,
    network: str,
    device: str,
    as_json: bool,
) -> None:
    """Whether FIRST and each of OTHERS show the same person.

    The distance is that of two descriptors by a face recognition network, 0 for
    equal pictures; below the network's threshold it takes them for one person.
    It can be wrong, and is so more often for some groups of people than others.

    \b
    tedi compare before.png after.png
    tedi compare photo.jpg one.png two.png three.png --json
    tedi compare a.png b.png --no-align --network model_ir_se50.pth

    Verdicts go to stdout, progress to stderr.
    """  # noqa: D301
    if face is not None and not align:
        raise UsageError("--face: chooses among found faces, but --no-align looks for none")
    bars = Bars()
    try:
        distances, same = _distances([first, *others], align, face or 1, network, device, bars)
    finally:
        bars.close()
    for other, distance in zip(others, distances, strict=True):
        if as_json:
            told = {"first": str(first), "other": str(other), "distance": round(distance, 4)}
            told |= {"threshold": same, "same": distance < same, "network": network}
            click.echo(json.dumps(told))
        else:
            name = f"{other}: " if len(others) > 1 else ""
            click.echo(f"{name}{verdict(distance, same)}")


def verdict(distance: float, same: float) -> str:
    """The distance in words.

    >>> verdict(0.41, 0.6)
    'same person: distance 0.41, below 0.6'
    >>> verdict(0.598, 0.6)
    'same person: distance 0.598, below 0.6'
    >>> verdict(0.83, 0.6)
    'different persons: distance 0.83, not below 0.6'
    """
    shown = f"{distance:.2f}" if abs(distance - same) >= 0.01 else f"{distance:.3f}"
    who, how = ("same person", "below") if distance < same else ("different persons", "not below")
    return f"{who}: distance {shown}, {how} {same:g}"


def _distances(
    paths: list[Path], align: bool, face: int, network: str, device: str, bars: Bars
) -> tuple[list[float], float]:
    """Distances of all pictures but the first from the first, and the network's threshold."""
    import numpy as np
    import torch

    from tedi import images, pipeline

    where = pipeline.choose_device(device)
    pictures = [images.load(path) for path in paths]
    if align:
        pictures = _aligned(paths, pictures, face, bars)
    else:
        _check_square(paths, pictures)
    describe = _network(network, bars).to(where)
    with torch.inference_mode():
        rows = [
            describe(images.to_image(np.asarray(picture)[None]).to(where)).cpu()
            for picture in pictures
        ]
    return [float((row - rows[0]).norm()) for row in rows[1:]], describe.same


def _network(name: str, bars: Bars) -> "Identity":
    from tedi import zoo
    from tedi.checkpoints.identity import load_identity

    is_file = Path(name).suffix.lower() in (".safetensors", ".pth", ".pt")
    return load_identity(Path(name) if is_file else zoo.pull(name, progress=bars))


def _aligned(paths: list[Path], pictures: "list[Image]", face: int, bars: Bars) -> "list[Image]":
    import numpy as np

    from tedi import faces, zoo
    from tedi.checkpoints.mtcnn import load_detector

    detector = load_detector(zoo.pull(DETECTOR, progress=bars))
    found = []
    for path, picture in zip(paths, pictures, strict=True):
        (one,) = faces.choose(detector(np.asarray(picture)), face, str(path), min_size=0)
        found.append(faces.align(picture, faces.quad_of(one.points)))
    return found


def _check_square(paths: list[Path], pictures: "list[Image]") -> None:
    for path, picture in zip(paths, pictures, strict=True):
        if picture.width != picture.height or picture.width < 2:
            size = f"{picture.width} x {picture.height}"
            raise UsageError(f"{path}: expected a square aligned face, got {size}; pass --align")
