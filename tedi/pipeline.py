"""The assembly: everything loaded, prompts in, pictures and codes out.

>>> import tedi  # doctest: +SKIP
>>> model = tedi.load()
>>> faces = model.generate("a smiling woman with bangs", seeds=range(4))
>>> faces[0].picture.show()
>>> faces[0].save("smile.png")
>>> faces[0].ws.shape
torch.Size([16, 512])
"""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tedi import __version__, control, images, language, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.encoders.text import Measurement, TextEncoder
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.outputs import Exist
from tedi.prompts import STRENGTH

log = logging.getLogger(__name__)

GENERATOR = "mobilestylegan-ffhq"
PREVIEW = "mobilestylegan-ffhq-preview"
TEXT = "text-minilm-l6"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Face:
    """One generated face.

    Attributes:
        picture: RGB, 1024 px, or 256 px for a preview.
        ws: its code (L, C), float32 on the CPU.
        record: how it was made; written into the files that `save` makes.
    """

    picture: Image.Image
    ws: Tensor
    record: dict[str, Any]

    def save(self, path: str | PathLike[str], *, quality: int = 95, exist: Exist = "error") -> None:
        """Write PNG, JPEG or WebP by suffix, with the record inside; see `tedi.images.save`."""
        images.save(self.picture, path, self.record, quality=quality, exist=exist)


class Toolkit:
    """A generator with the encoders that belong to it; made by `load`."""

    def __init__(
        self,
        generator: Generator,
        text: TextEncoder,
        *,
        dtype: torch.dtype,
        weights: dict[str, str],
        compiled: bool = False,
    ) -> None:
        self.generator, self.text, self.dtype, self.weights = generator, text, dtype, weights
        self.device = generator.w_avg.device
        self._draw: dict[bool, Callable[[Tensor], Tensor]] = {
            False: generator.synthesis,
            True: generator.preview,
        }
        if compiled:
            for preview, draw in self._draw.items():
                self._draw[preview] = torch.compile(draw, dynamic=False)

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        seeds: Iterable[int] = (0,),
        psi: float = 0.7,
        strength: float = STRENGTH,
        preview: bool = False,
        batch_size: int = 1,
    ) -> list[Face]:
        """Faces that fit prompts, prompt by prompt and seed by seed.

        Args:
            prompts: one or several, in English.
            seeds: one for each picture of a prompt; the picture depends on no other.
            psi: variety of what the prompt leaves open; 0 none, 1 all that the generator has.
            strength: how firmly the prompt is followed; 0 ignores it.
            preview: draw 256 px quickly instead of 1024 px.
            batch_size: pictures drawn at a time; more than 1 only pays on a GPU.

        Raises:
            UsageError: a prompt that cannot be read, or a value out of range.
        """
        named = [prompts] if isinstance(prompts, str) else list(prompts)
        chosen = list(seeds)
        jobs = ((prompt, seed) for prompt in named for seed in chosen)
        faces = self.stream(
            jobs, psi=psi, strength=strength, preview=preview, batch_size=batch_size
        )
        return list(faces)

    def stream(
        self,
        jobs: Iterable[tuple[str, int]],
        *,
        psi: float = 0.7,
        strength: float = STRENGTH,
        preview: bool = False,
        batch_size: int = 1,
    ) -> Iterator[Face]:
        """`generate` for any number of (prompt, seed) pairs, holding one batch in memory."""
        check_range("psi", psi, 0, 2)
        check_range("strength", strength, 0, 100)
        check_range("batch_size", batch_size, 1, 1024)
        jobs = iter(jobs)
        said: dict[str, Measurement] = {}
        while batch := list(itertools.islice(jobs, batch_size)):
            said = self._read([prompt for prompt, _ in batch], said)
            codes = self.codes(batch, said, psi=psi, strength=strength)
            for (prompt, seed), ws, picture in zip(
                batch, codes.cpu(), self.pictures(codes, preview=preview), strict=True
            ):
                record = self.record_of(prompt, seed, psi=psi, strength=strength, preview=preview)
                yield Face(picture, ws, record)

    @torch.inference_mode()
    def _read(
        self, prompts: Sequence[str], known: dict[str, Measurement]
    ) -> dict[str, Measurement]:
        """What prompts say; those of the last batch are not read again."""
        fresh = {prompt: known.get(prompt) for prompt in prompts}
        return {p: said if said is not None else self.text.read([p]) for p, said in fresh.items()}

    @torch.inference_mode()
    def codes(
        self,
        jobs: Sequence[tuple[str, int]],
        said: dict[str, Measurement],
        *,
        psi: float,
        strength: float,
    ) -> Tensor:
        """Codes ws (N, L, C), one by one: a code does not depend on its neighbours."""
        rows = []
        for prompt, seed in jobs:
            style = control.style_codes(self.generator, [seed], psi=psi)
            rows.append(control.speak(self.text, style, said[prompt], strength=strength))
        return torch.cat(rows)

    @torch.inference_mode()
    def pictures(self, ws: Tensor, *, preview: bool = False) -> list[Image.Image]:
        """Pictures of codes ws (N, L, C); on a CPU one by one, so that bits do not depend on N."""
        parts = ws.split(1) if ws.device.type == "cpu" else [ws]
        half = self.dtype != torch.float32
        with torch.autocast(ws.device.type, self.dtype, enabled=half):
            drawn = [self._draw[preview](part).float() for part in parts]
        return images.to_pil(torch.cat(drawn))

    def record_of(
        self,
        prompt: str,
        seed: int,
        *,
        psi: float = 0.7,
        strength: float = STRENGTH,
        preview: bool = False,
        batch_size: int = 1,
    ) -> dict[str, Any]:
        """The record that a face made with these arguments carries."""
        return {
            "command": "generate",
            "prompt": prompt,
            "seed": seed,
            "psi": psi,
            "strength": strength,
            "preview": preview,
            "dtype": str(self.dtype).removeprefix("torch."),
            "version": __version__,
            "weights": self.weights,
        }


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raises a UsageError that names the knob if a value is out of range."""
    if not least <= value <= most:
        raise UsageError(f"{name}: expected {least} to {most}, got {value}")


def load(
    *,
    device: str = "auto",
    dtype: str = "float32",
    compiled: bool = False,
    progress: zoo.Progress | None = None,
) -> Toolkit:
    """Everything that `tedi generate` needs; weights are fetched on first use.

    On Linux with a CPU, freed memory is kept for the next picture, which halves drawing time.

    Args:
        device: "cpu", "cuda", "cuda:1", …, or "auto" for CUDA where there is one.
        dtype: "float32", or "bfloat16" for drawing in less time and precision.
        compiled: draw through `torch.compile`: slow to start, then faster.
        progress: told of downloads, see `tedi.zoo.pull`.

    Raises:
        UsageError: unknown device or dtype.
        TediError: weights cannot be had.
    """
    where = choose_device(device)
    if dtype not in DTYPES:
        raise UsageError(f"dtype: expected {' or '.join(DTYPES)}, got {dtype!r}")
    if where.type == "cpu":
        keep_freed_memory()
    files = {name: zoo.pull(name, progress=progress) for name in (GENERATOR, PREVIEW, TEXT)}
    generator = native.load_generator([files[GENERATOR], files[PREVIEW]])
    backbone_name = zoo.metadata(files[TEXT])["backbone"]
    files[backbone_name] = zoo.pull(backbone_name, progress=progress)
    text = native.load_text_encoder(files[TEXT], slots=generator.slots)
    text.backbone = language.load_backbone(files[backbone_name], name=backbone_name)
    weights = {name: zoo.find(name).sha256 or zoo.sha256(file) for name, file in files.items()}
    return Toolkit(
        generator.to(where),
        text.to(where),
        dtype=DTYPES[dtype],
        weights=weights,
        compiled=compiled,
    )


def choose_device(device: str) -> torch.device:
    """The device of a name; "auto" is CUDA where there is one.

    Raises:
        UsageError: no such device, here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device: {device!r} cannot be used here ({reason}); try cpu") from error
    return chosen
