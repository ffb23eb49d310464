"""Photos: faces found, aligned, turned into codes, and put back when they have changed.

>>> model = tedi.load()  # doctest: +SKIP
>>> [photo] = model.photos.open("holiday.jpg")
>>> ws = model.photos.invert(photo).ws[0]
>>> older = model.edit(ws, "older")[0].picture
>>> model.photos.put_back(photo, older).save("older.png")
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tedi import images, zoo
from tedi.checkpoints import native
from tedi.checkpoints.base import load_base_reader
from tedi.checkpoints.identity import Identity, load_identity
from tedi.checkpoints.mtcnn import load_detector
from tedi.checkpoints.residual import load_residual_encoder
from tedi.descent import OnStep, Schedule
from tedi.editing.regions import keep_detail
from tedi.encoders.attributes import AttributeModel
from tedi.encoders.base import BaseReader
from tedi.encoders.parser import FaceParser
from tedi.encoders.residual import ResidualEncoder
from tedi.encoders.visual import VisualEncoder
from tedi.errors import TediError, UsageError
from tedi.faces import (
    MIN_SIZE,
    Alignment,
    Detector,
    Which,
    align,
    choose,
    paste_back,
    quad_of,
    unaligned,
)
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.interfaces import Generator
from tedi.inversion import INVERTERS, Inversion, Inverter
from tedi.inversion.diffusion import diffuse
from tedi.inversion.optimize import InDomain, InversionOptions
from tedi.inversion.plan import Planner
from tedi.masks import soften
from tedi.modalities.labels import numbers
from tedi.pipeline.foreign import Again, Foreign, Widened, unknown_w

DETECTOR = "mtcnn"
VISUAL = "visual-mobilestylegan-ffhq"
RESTYLE = "restyle-mobilestylegan-ffhq"
IDENTITY = "face-recognition"
FEATURES = "attributes-lite0"
PARSER = "parser-lite0"
BASE = "base-mobilestylegan-ffhq"
SIZE = 1024  # pixels a side of an aligned face


@dataclass(frozen=True, eq=False)
class Photo:
    """One face of a photo.

    Attributes:
        name: of the file, for messages and file names.
        picture: the whole photo, upright, RGB.
        crop: the face as FFHQ aligns it, or as it lies in the photo, RGB, 1024 px.
        alignment: where in the photo it lies; None where the photo is the face itself.
        sha256: of the file; "" for a picture in memory.
        number: of the face in the photo, 1 for the largest.
        as_found: the crop is upright in the photo, and shows the face as it is turned there.
    """

    name: str
    picture: Image.Image
    crop: Image.Image
    alignment: Alignment | None
    sha256: str = ""
    number: int = 1
    as_found: bool = False

    @property
    def image(self) -> Tensor:
        """The crop as a tensor (1, 3, 256, 256) in [-1, 1]."""
        small = self.crop.resize((256, 256), Image.Resampling.BOX)
        return images.to_image(np.asarray(small)[None])


class Photos:
    """What is done with photos; every network is fetched and loaded when first needed.

    Args:
        generator: that codes are of; the networks work where it lies.
        foreign: where the generator and its encoder are from; None for tedi's own.
        looking: a file of `train/restyle.py`, whose encoder looks again; for tedi's own generator.
        progress: told of downloads, see `tedi.zoo.pull`.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        foreign: Foreign | None = None,
        looking: Path | None = None,
        progress: zoo.Progress | None = None,
    ) -> None:
        self.generator, self.foreign, self.progress = generator, foreign, progress
        self.looking = looking
        self.given = {looking.name: zoo.sha256(looking)} if looking else {}  # name -> sha256
        self.weights = dict(self.given)

    def open(
        self,
        source: str | PathLike[str] | Image.Image,
        *,
        face: Which = "largest",
        aligned: bool = False,
        as_found: bool = False,
        min_size: float = MIN_SIZE,
    ) -> list[Photo]:
        """Faces of a photo, largest first.

        Args:
            source: a file, or a picture.
            face: "largest", "all", or a number from 1.
            aligned: the photo is a face as FFHQ aligns it, a square; nothing is looked for.
            as_found: faces are not aligned, which "fspace" and plans can invert: a photo that is a
                square is taken whole, as `aligned` does, if `face` is "largest"; else an upright
                square of a face's size and middle, in which it is turned as it is in the photo.
            min_size: pixels that the side of a face's square must have.

        Raises:
            UsageError: `aligned`, and the photo is no square.
            TediError: the file cannot be read, or holds no such face.
        """
        if isinstance(source, Image.Image):
            name, picture, sha256 = "picture", source.convert("RGB"), ""
        else:
            name, picture = Path(source).name, images.load(source)
            sha256 = zoo.sha256(Path(fspath(source)))
        square = picture.width == picture.height
        if aligned or (as_found and square and face == "largest"):
            if not square:
                size = f"{picture.width} x {picture.height}"
                raise UsageError(f"{name}: expected a square of an aligned face, got {size}")
            crop = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
            return [Photo(name, picture, crop, None, sha256)]
        found = self.detector(np.asarray(picture))
        if as_found and not found:
            less = "leave out --face" if square else "cut a square around it"
            raise TediError(f"{name}: no face found; {less}: a square is taken whole")
        chosen = choose(found, face, name, min_size=min_size)
        whole = Photo(name, picture, picture, None, sha256, as_found=as_found)
        return [
            self._cut(replace(whole, number=number), detected.points)
            for number, detected in enumerate(found, start=1)
            if any(detected is one for one in chosen)
        ]

    def _cut(self, photo: Photo, points: np.ndarray) -> Photo:
        quad = quad_of(points)
        if photo.as_found:
            quad = unaligned(quad)
        crop = align(photo.picture, quad, size=SIZE)
        return replace(photo, crop=crop, alignment=Alignment.of(quad, photo.picture))

    def invert(
        self,
        photo: Photo,
        *,
        method: str = "encoder",
        options: Schedule | None = None,
        on_step: OnStep | None = None,
    ) -> Inversion:
        """The code that draws a face again, by the inversion's own generator.

        Args:
            photo: of `open`.
            method: a name of `tedi.inversion.INVERTERS`.
            options: of the optimising methods; None for the method's own.
            on_step: told of every step; see `tedi.descent.descend`.

        Raises:
            UsageError: unknown method, or options for one that has none.
        """
        return self._inverter(method, options)(photo.image.to(self.generator.w_avg), on_step)

    def tune(
        self,
        photos: Sequence[Photo],
        *,
        options: Schedule | None = None,
        on_step: OnStep | None = None,
    ) -> Inversion:
        """The codes of one person's faces, and one generator that is tuned to draw them all.

        Pivotal tuning, see `tedi.inversion.pti`.

        Args:
            photos: of `open`.
            options: of the method; None for its own.
            on_step: told of every step; see `tedi.descent.descend`.

        Raises:
            UsageError: no photo.
        """
        if not photos:
            raise UsageError("photos: expected one or more, got none")
        target = torch.cat([photo.image for photo in photos])
        return self._inverter("pti", options)(target.to(self.generator.w_avg), on_step)

    def _inverter(self, method: str, options: Schedule | None) -> Inverter:
        """A method with its networks."""
        kind, needs_encoder = INVERTERS[method], True
        known: dict[str, Any] = {"maps": self.features.maps, "describe": self.identity}
        if hasattr(kind, "defaults"):
            known["options"] = chosen = options or kind.defaults
            needs_encoder = kind.starts_at_encoder or getattr(chosen, "domain", 0) > 0
        elif options is not None:
            raise UsageError(f"options: {method} has no steps to set; choose optimize")
        if getattr(kind, "reads_places", False):
            known["reader"] = self.reader
        if getattr(kind, "looks_again", False):
            known["looker"] = self.looker
        encoder = self.encoder if needs_encoder else None
        inverter: Inverter = kind(self.generator, encoder, **known)
        return inverter

    def plan(
        self,
        photo: Photo,
        *,
        quality: str = "best",
        budget: float | None = None,
        own: bool = True,
        dtype: str = "float32",
        tell: Callable[[str], None] | None = None,
        on_step: OnStep | None = None,
    ) -> Inversion:
        """The code that draws a face again, by the methods that time and quality ask for.

        Args:
            photo: of `open`.
            quality: "fast", "good" or "best"; see `tedi.inversion.plan.Planner`.
            budget: seconds that it may take once all networks are loaded; None: no limit.
            own: a generator of the face's own may be made.
            dtype: of the networks while a code is sought, "float32" or "bfloat16".
            tell: told in a line what each method came to, and why the next one is tried.
            on_step: told of every step; see `tedi.descent.descend`.

        Returns:
            What the chosen method gave; extras["plan"] tells what was tried.

        Raises:
            UsageError: an unknown quality, or a budget that is no time.
        """
        planner = Planner(
            self.generator,
            self.encoder,
            maps=self.features.maps,
            describe=self.identity,
            quality=quality,
            budget=budget,
            own=own,
            aligned=photo.alignment is not None and not photo.as_found,
            as_found=photo.as_found,
            dtype=dtype,
            tell=tell,
            reader=self.reader,
            looker=self.looker,
        )
        return planner(photo.image.to(self.generator.w_avg), on_step)

    def diffuse(
        self,
        target: Photo,
        context: Photo,
        mask: Tensor,
        *,
        options: InversionOptions | None = None,
        on_step: OnStep | None = None,
    ) -> Inversion:
        """The code of a face near the context that shows a region of the target.

        Semantic diffusion, see `tedi.inversion.diffusion`.

        Args:
            target: of `open`; its region is taken.
            context: of `open`; gives the rest.
            mask: (1, 1, h, w) on aligned faces, 1 for the region.
            options: of the optimisation, whose domain term is left out; None for the method's own.
            on_step: told of every step; see `tedi.descent.descend`.

        Raises:
            UsageError: another shape of mask, or values beyond 0 to 1.
        """
        inverter = InDomain(
            self.generator,
            self.encoder,
            maps=self.features.maps,
            describe=self.identity,
            options=options,
        )
        w_avg = self.generator.w_avg
        return diffuse(inverter, target.image.to(w_avg), context.image.to(w_avg), mask, on_step)

    @torch.no_grad()
    def put_back(
        self,
        photo: Photo,
        face: Image.Image,
        *,
        before: Image.Image | None = None,
        regions: Sequence[str] = (),
        detail: float = 1.0,
    ) -> Image.Image:
        """The photo with its face changed; nothing outside the face's square is touched.

        Args:
            photo: of `open`.
            face: the changed face, drawn from its code.
            before: the face drawn from the code before it was changed; where the two are alike,
                the photo stays as it is. None: the drawing replaces all of the face.
            regions: parts of the face that may change, such as "hair"; none for all.
            detail: share of the photo's own detail that is kept, 0 to 1.

        Returns:
            RGB of the photo's size, new.
        """
        if before is not None:
            crop = photo.crop.resize(face.size, Image.Resampling.LANCZOS)
            tensors = [images.to_image(np.asarray(p)[None]) for p in (crop, before, face)]
            face = images.to_pil(keep_detail(*tensors, share=detail))[0]
        mask = self.mask(photo, face, regions) if regions else None
        if photo.alignment is None:
            whole = face.resize(photo.picture.size, Image.Resampling.LANCZOS)
            if mask is None:
                return whole
            share = Image.fromarray((mask * 255).astype("uint8")).resize(whole.size)
            return Image.composite(whole, photo.picture, share)
        return paste_back(photo.picture, face, photo.alignment, original=photo.crop, mask=mask)

    def mask(self, photo: Photo, face: Image.Image, regions: Sequence[str]) -> np.ndarray:
        """Soft mask (256, 256) of parts, where they are in the photo or in the changed face."""
        pair = torch.cat([photo.image, _small(face)])
        return soften(self.where(pair, regions), 3.0)[0, 0].numpy()

    @torch.no_grad()
    def where(self, image: Tensor, regions: Sequence[str]) -> Tensor:
        """Mask (1, 1, 256, 256) on the CPU of parts, and a little around them.

        Args:
            image: pictures (N, 3, 256, 256) of aligned faces; a part counts that any of them shows.
            regions: parts, such as "hair".
        """
        wanted = torch.tensor(sorted({n for region in regions for n in numbers(region)}))
        labels = self.parser.labels(image.to(self.generator.w_avg)).cpu()
        there = torch.isin(labels, wanted).any(dim=0)
        return torch.nn.functional.max_pool2d(there[None, None].float(), 9, 1, 4)

    @torch.no_grad()
    def describe(self, photo: Photo) -> Tensor:
        """Descriptor (D,) of the person; see `tedi.encoders.identity`."""
        return self.identity(photo.image.to(self.generator.w_avg))[0]

    @cached_property
    def detector(self) -> Detector:
        """Finds faces."""
        return load_detector(self.file(DETECTOR))

    @cached_property
    def encoder(self) -> Callable[[Tensor], Tensor]:
        """Aligned faces (N, 3, 256, 256) to codes.

        Raises:
            UsageError: the generator is from a file, its W another, and no encoder was given.
            TediError: the file of one that looks again is broken, or fits no shipped encoder.
        """
        if self.foreign and self.foreign.encoder:
            return self.foreign.encoder
        if self.foreign and not self.foreign.known:
            raise unknown_w("photo", self.generator, "; pass --encoder FILE")
        encoder = native.load_visual_encoder(self.file(VISUAL)).to(self.generator.w_avg.device)
        encoder.describe = self.identity
        if self.looking:
            sha = self.weights[VISUAL]
            looker = load_residual_encoder(self.looking, encoder.eval(), sha256=sha)
            return Again(looker, self.generator)
        known = self.foreign.known if self.foreign else None
        return Widened(encoder.eval(), known) if known else encoder.eval()

    @cached_property
    def reader(self) -> BaseReader | None:
        """Reads base codes and where faces lie; None for a generator that it was not trained on."""
        if self.foreign or self.generator.name != MobileStyleGAN.name:
            return None
        return load_base_reader(self.file(BASE)).to(self.generator.w_avg.device)

    @cached_property
    def looker(self) -> ResidualEncoder | None:
        """Looks again beside `encoder`; None where that does so itself, or none is shipped."""
        if self.foreign or self.looking or self.generator.name != MobileStyleGAN.name:
            return None
        encoder = cast("VisualEncoder", self.encoder)
        return load_residual_encoder(self.file(RESTYLE), encoder, sha256=self.weights[VISUAL])

    @cached_property
    def identity(self) -> Identity:
        """Aligned faces to descriptors of persons."""
        return load_identity(self.file(IDENTITY)).to(self.generator.w_avg.device)

    @cached_property
    def features(self) -> AttributeModel:
        """Perceptual features."""
        return native.load_attribute_model(self.file(FEATURES)).to(self.generator.w_avg.device)

    @cached_property
    def parser(self) -> FaceParser:
        """Parts of faces."""
        return native.load_parser(self.file(PARSER)).to(self.generator.w_avg.device)

    def file(self, name: str) -> Path:
        """A weight file, fetched if need be; its hash is kept for records."""
        path, self.weights[name] = fetched(name, self.progress)
        return path


def fetched(name: str, progress: zoo.Progress | None) -> tuple[Path, str]:
    """A weight file, fetched if need be, and its sha256."""
    path = zoo.pull(name, progress=progress)
    entry = zoo.ZOO.get(name)
    return path, entry.sha256 if entry else zoo.sha256(path)


def _small(face: Image.Image) -> Tensor:
    return images.to_image(np.asarray(face.resize((256, 256), Image.Resampling.BOX))[None])
