"""Networks that a command loads without the whole toolkit, with bars for downloads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.options import Bars
from tedi.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.encoders.attributes import AttributeModel
    from tedi.generators.stylegan3 import StyleGAN3
    from tedi.interfaces import Generator

unaligned_option = click.option(
    "--unaligned",
    is_flag=True,
    help="GENERATOR is a StyleGAN3 of unaligned faces: draw them upright, by pseudo-alignment "
    "(slot 0 of a code becomes the mean of W, the file's transform none).",
)
UPRIGHT = "upright by pseudo-alignment: slot 0 is the mean of W, the transform none"
"""What records say of pictures that `--unaligned` asked for."""


def previews_of(generator: "Generator", *, unaligned: bool) -> "Callable[[Tensor], Tensor]":
    """Codes (N, L, C) to previews (N, 3, 256, 256) for a judge of aligned faces.

    Follows "Third Time's the Charm?" (Alaluf et al. 2022, section 4): files do not tell what faces
    they were trained on, so that the user does.

    Args:
        generator: that draws.
        unaligned: draw upright faces by pseudo-alignment; else as the generator draws them.

    Raises:
        UsageError: a generator whose codes have no slot for the place, that is to be upright.
    """
    if not unaligned:
        return generator.preview
    still = standing(generator)
    return lambda ws: still.preview(still.pseudo_aligned(ws))


def standing(generator: "Generator") -> "StyleGAN3":
    """A generator of the same weights whose pseudo-aligned codes are upright faces.

    Raises:
        UsageError: its codes have no slot for the place.
    """
    from tedi.generators.stylegan3 import StyleGAN3

    if not isinstance(generator, StyleGAN3):
        raise UsageError(
            f"--unaligned: is for a StyleGAN3, and {generator.name} is none; leave it out"
        )
    return generator.transformed()


def check_unaligned(generator: Path | None, *, unaligned: bool) -> None:
    """Raises a UsageError if tedi's own generator is to be one of unaligned faces."""
    if unaligned and not generator:
        raise UsageError("--unaligned: is of a StyleGAN3 of one's own; pass --generator FILE")


def load_generator(device: str, file: Path | None = None) -> "tuple[Generator, dict[str, str]]":
    """A generator, frozen, and name -> sha256 of its weights.

    Args:
        device: as `tedi.pipeline.choose_device` takes it.
        file: that holds one of one's own; None for tedi's, with its preview head.
    """
    from tedi import pipeline, zoo
    from tedi.allocator import keep_freed_memory
    from tedi.checkpoints import native

    where = pipeline.choose_device(device)
    if where.type == "cpu":
        keep_freed_memory()
    if file:
        from tedi.pipeline.foreign import open_foreign

        foreign = open_foreign(file, None).to(where)
        return foreign.generator, dict(foreign.weights)
    files = pulled(pipeline.GENERATOR, pipeline.PREVIEW)
    generator = native.load_generator(list(files.values())).to(where)
    return generator, {name: zoo.find(name).sha256 or zoo.sha256(f) for name, f in files.items()}


def load_attributes(judge: str, device: str) -> "tuple[AttributeModel, str]":
    """An attribute model, by name or as a .safetensors file, and its sha256."""
    from tedi import pipeline, zoo
    from tedi.checkpoints import native

    named = Path(judge).suffix != ".safetensors"
    path = pulled(judge)[judge] if named else Path(judge)
    model = native.load_attribute_model(path).to(pipeline.choose_device(device))
    return model, zoo.sha256(path)


def resumed(
    make: "Callable[[int], Tensor]", *, count: int, path: Path, about: Mapping[str, Any], label: str
) -> "Tensor":
    """`tedi.checkpoints.layers.resumed` with a bar on stderr."""
    from tqdm import tqdm

    from tedi.checkpoints import layers

    with tqdm(desc=label, total=count, disable=None) as bar:
        return layers.resumed(
            make,
            count=count,
            path=path,
            about=about,
            on_row=lambda done: bar.update(done - bar.n),
        )


def pulled(*names: str) -> dict[str, Path]:
    """Weights by name, fetched if need be."""
    from tedi import zoo

    bars = Bars()
    try:
        return {name: zoo.pull(name, progress=bars) for name in names}
    finally:
        bars.close()
