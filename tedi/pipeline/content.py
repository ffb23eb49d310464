"""Content that is given beside words: a sketch, a label map, a photo; and a seed to fill it in.

>>> model = tedi.load()  # doctest: +SKIP
>>> content = model.content(sketch="face.png", mix="sketch=coarse+medium:0.5")
>>> faces = model.generate("red hair", seeds=range(4), content=content)
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tedi import latents, mixing, zoo
from tedi.checkpoints import native
from tedi.control import weigh
from tedi.encoders.structure import StructureEncoder
from tedi.errors import UsageError
from tedi.interfaces import Generator
from tedi.modalities import labels, sketch
from tedi.pipeline.foreign import unknown_w
from tedi.pipeline.photos import PARSER, Photos, fetched

STRUCTURE = "structure-mobilestylegan-ffhq"
Source = str | PathLike[str] | Image.Image | Tensor


@dataclass(frozen=True)
class Content:
    """What is given, as codes.

    Attributes:
        codes: modality -> code (1, L, C); "sketch+label" where one code is of both.
        shares: modality -> group -> share; of the text's, too.
        places: modality -> the parts of the face it is kept to; those missing rule all of it.
        variety: how much a seed may vary what drawings leave open, 0 to 1.
        files: modality -> name and sha256, for records.
    """

    codes: Mapping[str, Tensor]
    shares: mixing.Shares
    variety: float = 1.0
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    places: mixing.Places = field(default_factory=dict)

    @property
    def kept(self) -> mixing.Places:
        """The places of the text and of each code; a code of two modalities has one."""
        own = {name.partition("+")[0] for name in self.codes} | {"text"}
        return {name: parts for name, parts in self.places.items() if name in own}


class Contents:
    """Makes contents and mixes them with codes of seeds; its encoder is loaded when needed.

    Args:
        generator: that codes are of, as tedi's networks know it; None where they do not.
        photos: inverts photos.
    """

    def __init__(self, generator: Generator | None, photos: Photos) -> None:
        self._generator, self.photos = generator, photos
        self._encoder: StructureEncoder | None = None

    @property
    def generator(self) -> Generator:
        """That codes are of.

        Raises:
            UsageError: its W is not one that is known.
        """
        if self._generator is None:
            raise unknown_w("sketch, label, mix", self.photos.generator)
        return self._generator

    @property
    def encoder(self) -> StructureEncoder:
        """Sketches and label maps to codes."""
        if self._encoder is None:
            encoder = native.load_structure_encoder(self.file[0])
            self._encoder = encoder.to(self.generator.w_avg.device)
        return self._encoder

    @torch.no_grad()
    def make(
        self,
        given: Mapping[str, Source | None],
        *,
        mix: str | None = None,
        variety: float = 1.0,
        text: bool = False,
        invert: Callable[[Source], Tensor] | None = None,
    ) -> Content:
        """The content of what is given.

        Args:
            given: "sketch", "label" and "photo" -> a file, a picture or a tensor.
            mix: shares that differ from the defaults, as `tedi.mixing.parse` reads them.
            variety: 0 draws the likeliest face of a drawing, 1 varies it as faces do.
            text: a text will be given, too.
            invert: photo -> code (1, L, C); None for the visual encoder on the largest face.

        Raises:
            TediError: something cannot be read, or holds no lines, no face or unknown classes.
        """
        here = {name: value for name, value in given.items() if value is not None}
        shares = mixing.chosen([*here, *(["text"] if text else [])], mix)
        places = mixing.places(mix)
        labels.check_names(places.values())
        codes: dict[str, Tensor] = {}
        if (photo := here.get("photo")) is not None:
            codes["photo"] = (invert or self._invert)(photo)
        drawings = {name: self.prepare(name, here[name]) for name in READERS if name in here}
        alike = shares.get("sketch") == shares.get("label")
        if len(drawings) == 2 and alike and places.get("sketch") == places.get("label"):
            codes["sketch+label"] = self._encode(drawings)
        else:
            codes |= {name: self._encode({name: value}) for name, value in drawings.items()}
        files = {name: _told(value) for name, value in here.items()}
        return Content(codes, shares, variety, files, places)

    def weights(self, names: Iterable[str]) -> dict[str, str]:
        """Name -> sha256 of the weights that faces of codes with these names depend on."""
        return {} if all(name == "photo" for name in names) else {STRUCTURE: self.file[1]}

    @cached_property
    def parser(self) -> dict[str, str]:
        """Name -> sha256 of the network that finds parts of faces."""
        return {PARSER: fetched(PARSER, self.photos.progress)[1]}

    @cached_property
    def file(self) -> tuple[Path, str]:
        """The encoder's file, and its sha256."""
        return fetched(STRUCTURE, self.photos.progress)

    def prepare(self, name: str, value: Source) -> Tensor:
        """A drawing as its stem takes it, (1, D, 256, 256)."""
        ready = value if isinstance(value, Tensor) else READERS[name](value)
        return ready.to(self.generator.w_avg)

    def _encode(self, drawings: Mapping[str, Tensor]) -> Tensor:
        return self.encoder({STEMS[name]: value for name, value in drawings.items()})

    def _invert(self, source: Source) -> Tensor:
        if isinstance(source, Tensor):
            raise UsageError("photo: expected a file or a picture, got a tensor")
        ws = self.photos.invert(self.photos.open(source)[0]).ws
        known = self.photos.foreign.known if self.photos.foreign else None
        return known.seen(ws) if known else ws

    @torch.no_grad()
    def mixed(self, content: Content, style: Tensor, *, without: Iterable[str] = ()) -> Tensor:
        """Codes (N, L, C), new: the style's, ruled by the content where that has a share.

        Args:
            content: of `make`.
            style: (N, L, C).
            without: modalities that are left out.
        """
        ws, left = style, set(without)
        for name, code in content.codes.items():
            first = name.partition("+")[0]
            if first in left:
                continue
            shares = content.shares[first]
            if name != "photo":
                code = self.encoder.filled(code, ws, variety=content.variety)
            ws = weigh(self.generator, ws, code.expand_as(ws), shares)
        return ws

    def told(self, content: Content) -> dict[str, Any]:
        """What a record says of a content: from it and a seed, the same code is made again."""
        codes = {name: latents.pack(code[0]) for name, code in content.codes.items()}
        told: dict[str, Any] = {"content": {n: dict(file) for n, file in content.files.items()}}
        return told | {
            "mix": mixing.told(content.shares, content.places),
            "variety": content.variety,
            "codes": codes,
        }

    def restored(self, told: Mapping[str, Any]) -> Content:
        """The content that `told` tells of.

        Raises:
            UsageError: it tells of no content.
        """
        codes = {}
        for name, text in told["codes"].items():
            if not set(name.split("+")) <= set(mixing.RULES):
                raise UsageError(f"codes: expected {', '.join(mixing.RULES)}, got {name!r}")
            ws = latents.unpack(text, self.generator.slots, self.generator.width)
            codes[name] = ws[None].to(self.generator.w_avg)
        shares = mixing.parse(told["mix"])
        if missing := [name for name in codes if name.partition("+")[0] not in shares]:
            raise UsageError(f"mix: says nothing of {missing[0]}")
        places = mixing.places(told["mix"])
        labels.check_names(places.values())
        return Content(codes, shares, float(told["variety"]), told.get("content", {}), places)


STEMS = {"sketch": "sketch", "label": "labels"}
READERS: dict[str, Callable[[Any], Tensor]] = {"sketch": sketch.prepare, "label": labels.prepare}


def _told(value: Source) -> dict[str, str]:
    if isinstance(value, str | PathLike):
        return {"file": Path(value).name, "sha256": zoo.sha256(Path(value))}
    numbers = np.asarray(value.cpu() if isinstance(value, Tensor) else value)
    return {"file": "", "sha256": hashlib.sha256(numbers.tobytes()).hexdigest()}
