"""The assembly: everything loaded, prompts in, pictures and codes out.

>>> import tedi  # doctest: +SKIP
>>> model = tedi.load()
>>> faces = model.generate("a smiling woman with bangs", seeds=range(4))
>>> faces[0].picture.show()
>>> faces[0].save("smile.png")
>>> faces[0].ws.shape
torch.Size([16, 512])
>>> older = model.edit(faces[0].ws, ["older", "with glasses"])[0]
"""

import functools
import hashlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tedi import __version__, attributes, control, images, language, latents, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import delta, native
from tedi.checkpoints.residual import holds_residual
from tedi.editing import DIRECTION, EDITS, MAPPER, STRONGEST, USES, limits
from tedi.editing.direction import Along, file_of, find, named_by, step_of
from tedi.editing.mapper import Mapped, mapper_of
from tedi.editing.regions import draw_regions
from tedi.editing.text import Way
from tedi.encoders.text import Reading, TextEncoder
from tedi.errors import UsageError
from tedi.faces import Transform
from tedi.generators.filters import preview_of
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.interfaces import Generator, Transformable
from tedi.inversion.likeness import fit
from tedi.mixing import GROUPS, VARIETY
from tedi.outputs import Exist
from tedi.pipeline.content import Content, Contents, Source
from tedi.pipeline.foreign import Foreign, has_known_w, open_foreign, unknown_w
from tedi.pipeline.photos import Photos, fetched
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
        ws: its code (L, C), float32 on the CPU; where modalities are kept to parts of the face, the
            code that they would rule everywhere.
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
        text: TextEncoder | None,
        *,
        dtype: torch.dtype,
        weights: dict[str, str],
        foreign: Foreign | None = None,
        looking: Path | None = None,
        compiled: bool = False,
        progress: zoo.Progress | None = None,
    ) -> None:
        self.generator, self._text, self.dtype, self.weights = generator, text, dtype, weights
        self._known = foreign.known if foreign else None
        own = {name: sha for name, sha in weights.items() if name in (GENERATOR, PREVIEW)}
        self.drawn_by = dict(foreign.weights) if foreign else own  # name -> sha256
        self.device = generator.w_avg.device
        self._ways: dict[str, Way] = {}
        self._own: tuple[Generator | None, dict[str, Way]] = None, {}  # the last one, and its ways
        self._mappers: dict[str, Mapped] = {}
        self._directions: dict[str, Along] = {}
        self.transform: Transform | None = None
        self.field = 0.0
        self._compiled = compiled
        self._draw = self._drawing(generator)
        self.photos = Photos(generator, foreign=foreign, looking=looking, progress=progress)
        self.contents = Contents(self._known if foreign else generator, self.photos)

    def _drawing(
        self, generator: Generator, *, field: float = 0.0
    ) -> dict[bool, Callable[[Tensor], Tensor]]:
        """How a generator draws in full, and previews; what it shows more on every side."""
        draw: dict[bool, Callable[[Tensor], Tensor]]
        draw = {False: generator.synthesis, True: generator.preview}
        if field and isinstance(generator, Transformable):
            wide = functools.partial(generator.expanded, field=field)
            draw = {False: wide, True: lambda ws: preview_of(wide(ws))}
        if not self._compiled:
            return draw
        return {preview: torch.compile(one, dynamic=False) for preview, one in draw.items()}

    def place(self, transform: Transform, *, field: float = 0.0) -> None:
        """From now on draw faces turned and moved; photos are still read upright.

        Args:
            transform: of `tedi.faces`, its scale left out; of a face in a photo `transform_of`
                gives it, "Third Time's the Charm?" (Alaluf et al. 2022).
            field: widths that pictures show more on every side, 0 to 0.5.

        Raises:
            UsageError: the generator cannot, or a field out of range.
        """
        check_range("field", field, 0, 0.5)
        if not isinstance(self.generator, Transformable):
            raise UsageError(
                f"transform: {self.generator.name} draws upright faces only; pass --generator FILE "
                "with a StyleGAN3"
            )
        place = {"degrees": transform.degrees, "tx": transform.tx, "ty": transform.ty}
        self._draw = self._drawing(self.generator.transformed(**place), field=field)
        self.transform, self.field = transform, field

    @property
    def text(self) -> TextEncoder:
        """What reads prompts.

        Raises:
            UsageError: the generator is from a file, and its W is not one that texts know.
        """
        if self._text is None:
            raise unknown_w("text", self.generator, "; leave the words out")
        return self._text

    @property
    def reads_codes(self) -> bool:
        """Whether tedi's networks know the generator's W."""
        return self._text is not None

    def seen(self, ws: Tensor) -> Tensor:
        """Codes (N, L, C) of the generator as tedi's networks, such as `text.codes`, know them."""
        return ws if self._known is None else self._known.seen(ws)

    def _through(self, move: Callable[[Tensor], Tensor], ws: Tensor) -> Tensor:
        """Codes (N, L, C) moved by what knows W by the slots of tedi's own generator."""
        if self._known is None:
            return move(ws)
        seen = self.seen(ws)
        return ws + self._known.widen(move(seen)) - self._known.widen(seen)

    def content(
        self,
        *,
        sketch: Source | None = None,
        label: Source | None = None,
        photo: Source | None = None,
        mix: str | None = None,
        variety: float = VARIETY,
        text: bool = True,
    ) -> Content:
        """What is given beside words, for `generate`.

        Args:
            sketch: a drawing, dark lines on light paper or the other way round.
            label: a label map, as class numbers or in colours; see `tedi.modalities.labels`.
            photo: of a face.
            mix: who rules which layers, such as "text=fine,sketch=coarse+medium:0.5", and which
                parts of the face, such as "text@hair"; by default drawings rule coarse and medium
                layers, a photo those that are left, and text moves what comes of it, everywhere.
            variety: 0 draws the likeliest face of a drawing, 1 varies what it leaves open.
            text: a text will be given, too.

        Raises:
            UsageError: `mix` cannot be read, or names what is not given.
            TediError: a file cannot be read, or holds no lines, no face or unknown classes.
        """
        check_range("variety", variety, 0, 1)
        given = {"sketch": sketch, "label": label, "photo": photo}
        return self.contents.make(given, mix=mix, variety=variety, text=text)

    def generate(
        self,
        prompts: str | Sequence[str] = "",
        *,
        content: Content | None = None,
        seeds: Iterable[int] = (0,),
        psi: float = 0.7,
        strength: float = STRENGTH,
        method: str = "default",
        preview: bool = False,
        batch_size: int = 1,
        anyway: bool = False,
    ) -> list[Face]:
        """Faces that fit prompts, prompt by prompt and seed by seed.

        Args:
            prompts: one or several, in English; "" leaves all to the content.
            content: what is given beside words, made by `content`.
            seeds: one for each picture of a prompt; the picture depends on no other.
            psi: variety of what the prompt leaves open; 0 none, 1 all that the generator has.
            strength: 0 ignores the prompt, 1 shows what it names, more exaggerates.
            method: how a prompt becomes a code, a name of `tedi.editing.EDITS`.
            preview: draw 256 px quickly instead of 1024 px.
            batch_size: pictures drawn at a time; more than 1 only pays on a GPU.
            anyway: draw prompts of which nothing is understood, too.

        Raises:
            UsageError: a prompt that cannot be read or of which nothing is understood, or a
                value out of range.
        """
        named = [prompts] if isinstance(prompts, str) else list(prompts)
        chosen = list(seeds)
        jobs = ((prompt, seed) for prompt in named for seed in chosen)
        faces = self.stream(
            jobs,
            content=content,
            psi=psi,
            strength=strength,
            method=method,
            preview=preview,
            batch_size=batch_size,
            anyway=anyway,
        )
        return list(faces)

    def stream(
        self,
        jobs: Iterable[tuple[str, int]],
        *,
        content: Content | None = None,
        psi: float = 0.7,
        strength: float = STRENGTH,
        method: str = "default",
        preview: bool = False,
        batch_size: int = 1,
        anyway: bool = False,
    ) -> Iterator[Face]:
        """`generate` for any number of (prompt, seed) pairs, holding one batch in memory."""
        check_range("psi", psi, 0, 2)
        check_range("strength", strength, 0, STRONGEST)
        check_range("batch_size", batch_size, 1, 1024)
        jobs = iter(jobs)
        said: dict[str, Reading] = {}
        while batch := list(itertools.islice(jobs, batch_size)):
            # A seed's face without words.
            plain = content is not None or self._text is None or self.photos.foreign is not None
            texts = [prompt for prompt, _ in batch if prompt or not plain]
            said = self._read(texts, said, anyway=anyway) if texts else {}
            # Code by code: one does not depend on its neighbours.
            makes = [
                functools.partial(
                    self._code, prompt, seed, said.get(prompt), content, psi, method, strength
                )
                for prompt, seed in batch
            ]
            codes = torch.cat([make() for make in makes])
            if content is not None and content.places:
                pictures = [self._joined(make, content, preview=preview) for make in makes]
            else:
                pictures = self.pictures(codes, preview=preview)
            for (prompt, seed), ws, picture in zip(batch, codes.cpu(), pictures, strict=True):
                record = self.record_of(
                    prompt,
                    seed,
                    content=content,
                    psi=psi,
                    strength=strength,
                    method=method,
                    preview=preview,
                )
                yield Face(picture, ws, record)

    @torch.no_grad()
    def begun(
        self,
        prompt: str,
        seed: int,
        *,
        content: Content | None = None,
        psi: float = 0.7,
        strength: float = STRENGTH,
        method: str = "default",
    ) -> Tensor:
        """Code (1, L, C) of the face that `generate` draws of these; "" for no prompt."""
        said = self.text.read([prompt]) if prompt else None
        return self._code(prompt, seed, said, content, psi, method, strength)

    def _code(
        self,
        prompt: str,
        seed: int,
        said: Reading | None,
        content: Content | None,
        psi: float,
        method: str,
        strength: float,
        *,
        without: Collection[str] = (),
    ) -> Tensor:
        """Code (1, L, C) of a seed, ruled by the content and moved by a prompt's reading.

        The prompt moves the layers that the content leaves it. Modalities `without` are left out.
        """
        ws = control.style_codes(self.generator, [seed], psi=psi)
        if content is not None:
            mixed = functools.partial(self.contents.mixed, content, without=without)
            ws = self._through(mixed, ws)
        if said is None or "text" in without:
            return ws
        moved = self.way(method)(ws, [prompt], said, strength=strength, new=True)
        if content is None:
            return moved
        everywhere = dict.fromkeys(GROUPS, 1.0)
        return control.weigh(self.generator, ws, moved, content.shares.get("text", everywhere))

    @torch.no_grad()
    def _joined(
        self, make: Callable[..., Tensor], content: Content, *, preview: bool
    ) -> Image.Image:
        """Picture of a face whose modalities are kept to parts of it.

        In its parts, the face that a modality rules, too; elsewhere the face without it.

        Raises:
            UsageError: pictures are turned or moved, where parts are not found.
        """
        if self.transform:
            raise UsageError("transform: parts of a face are drawn upright; leave it or @ out")
        kept = content.kept
        ws = make(without=kept)
        tops = [make(without=kept.keys() - {name}) for name in kept]
        half = self.dtype != torch.float32
        with torch.autocast(ws.device.type, self.dtype, enabled=half):
            seen = [self.generator.preview(code).float() for code in (ws, *tops)]
            masks = [
                self.photos.where(torch.cat([seen[0], top]), regions).to(ws)
                for top, regions in zip(seen[1:], kept.values(), strict=True)
            ]
            layers = list(zip(tops, masks, strict=True))
            drawn = draw_regions(self.generator, ws, layers).float()
        return images.to_pil(fit(drawn, seen[0].shape[-1]) if preview else drawn)[0]

    @torch.no_grad()
    def edit(
        self,
        ws: Tensor,
        texts: str | Sequence[str],
        *,
        strength: float | Sequence[float] = STRENGTH,
        method: str = "default",
        preview: bool = False,
    ) -> list[Face]:
        """A face changed by texts, one step after the other.

        Args:
            ws: the face's code (L, C).
            texts: what to change, "older" or "a man with a beard"; several are several steps.
            strength: 0 changes nothing, 1 reaches what is asked, or one step of what is relative,
                more goes on; one number, or one a step.
            method: a name of `tedi.editing.EDITS`, or of a mapper, see
                `tedi.editing.mapper.method_of`.
            preview: draw 256 px quickly instead of 1024 px.

        Returns:
            The face after each step; the last is the whole edit.

        Raises:
            UsageError: a text of which nothing is understood, or a value out of range.
        """
        steps = [texts] if isinstance(texts, str) else list(texts)
        strengths = [strength] * len(steps) if isinstance(strength, int | float) else list(strength)
        if ws.shape != (self.generator.slots, self.generator.width):
            expected = (self.generator.slots, self.generator.width)
            raise UsageError(f"ws: expected {expected}, got {tuple(ws.shape)}")
        if len(strengths) != len(steps):
            raise UsageError(f"strength: {len(strengths)} numbers for {len(steps)} texts")
        code = ws[None].to(self.device, torch.float32)
        faces: list[Face] = []
        for text, much in zip(steps, strengths, strict=True):
            check_range("strength", much, *limits(method))
            code = self.moved(code, text, strength=much, method=method)
            done = list(zip(steps, strengths, strict=True))[: len(faces) + 1]
            record = self._edited(ws, done, method, preview)
            faces.append(Face(self.pictures(code, preview=preview)[0], code[0].cpu(), record))
        return faces

    def along(self, ws: Tensor, direction: str, *, strength: float, preview: bool = False) -> Face:
        """A face moved along a direction.

        Args:
            ws: the face's code (L, C).
            direction: a name of `tedi directions list`, FILE, or FILE:NAME.
            strength: displacement in W along the unit vector, or in S, -100 to 100; 0 changes
                nothing.
            preview: see `edit`.

        Raises:
            UsageError: see `direction`; no such name, or a value out of range.
            TediError: the file cannot be read.
        """
        text, method = step_of(direction)
        return self.edit(ws, text, strength=strength, method=method, preview=preview)[0]

    def _edited(
        self, ws: Tensor, done: Sequence[tuple[str, float]], method: str, preview: bool
    ) -> dict[str, Any]:
        """The record of a code edited; `tedi edit` goes on from a picture that carries it."""
        packed = latents.pack(ws)
        start = {"code": "", "sha256": hashlib.sha256(packed.encode()).hexdigest(), "ws": packed}
        made = self._record("edit", method, preview, words=True)
        edits = [{"text": t, "strength": float(s), "method": made["method"]} for t, s in done]
        told = {"prompt": "; ".join(text for text, _ in done), "start": start, "edits": edits}
        last = {name: made[name] for name in ("preview", "dtype", "version", "weights")}
        return {"command": "edit", **told, **last}

    def way(self, method: str, generator: Generator | None = None) -> Way:
        """A way for texts to change codes, made on first use.

        Args:
            method: a name of `tedi.editing.EDITS`.
            generator: what draws the codes, where an inversion changed it (`Inversion.generator`),
                for ways that look at what they draw, kept for the last one; None: the toolkit's.

        Raises:
            UsageError: unknown method.
        """
        if generator is None or generator is self.generator:
            generator, ways = self.generator, self._ways
        else:
            if self._own[0] is not generator:
                self._own = generator, {}
            ways = self._own[1]
        if method not in ways:
            drawing = generator if self._known is None else self._known.changed(generator)
            way = EDITS[method](drawing, self.text)
            ways[method] = self._carried(way) if self._known else way
        return ways[method]

    def mapper(self, method: str) -> Mapped:
        """The latent mapper that a method names, opened on first use.

        Args:
            method: see `tedi.editing.mapper.method_of`.

        Raises:
            TediError: its file is gone or is another by now, cannot be read, or holds no mapper.
            UsageError: the mapper is of another W.
        """
        if method not in self._mappers:
            mapper = mapper_of(method, self._known or self.generator)
            if mapper.made_for == MobileStyleGAN.name and not self.reads_codes:
                raise UsageError(
                    f"{mapper.path}: its mapper is of the W of {GENERATOR}; this "
                    f"{self.generator.name} has another"
                )
            self._mappers[method] = mapper
        return self._mappers[method]

    def direction(self, method: str) -> Along:
        """The direction that a method names, opened on first use.

        Args:
            method: see `tedi.editing.direction.step_of`.

        Raises:
            TediError: its file is gone or is another by now, or cannot be read.
            UsageError: the direction is of another W, other slots or other channels.
        """
        if method not in self._directions:
            named = named_by(method)
            own = file_of(named)[0] is not None or self.reads_codes
            if not own and not has_known_w(self.generator):
                way_out = "; fit its own by `tedi directions fit --generator FILE`"
                raise unknown_w(named, self.generator, way_out)
            self._directions[method] = Along(find(named), self.generator)
        return self._directions[method]

    def moved(
        self,
        ws: Tensor,
        text: str,
        *,
        strength: float,
        method: str,
        anyway: bool = False,
        generator: Generator | None = None,
    ) -> Tensor:
        """The code (1, L, C) of a face, changed by one text; mappers, directions read no words.

        Args:
            ws: (1, L, C).
            text: what to change; of a mapper or a direction, what it is called.
            strength: see `edit`.
            method: a name of `tedi.editing.EDITS`, or of a mapper or a direction.
            anyway: go on though nothing of the text is understood.
            generator: see `way`.

        Raises:
            UsageError: nothing of the text is understood, or the generator's W is not one that
                texts, or the mapper, know, or the direction is of another.
        """
        if method.startswith(DIRECTION):
            return self.direction(method)(ws, strength=strength)
        if method.startswith(MAPPER):
            return self._through(functools.partial(self.mapper(method), strength=strength), ws)
        said = self.text.read([text])
        if not anyway and not says_something(said):
            raise UsageError(
                f"nothing of {text!r} is about a face; name what to change, such as age, hair or "
                "smile, or pass --anyway"
            )
        way = self.way(method, generator)
        return way(ws, [text], said, strength=strength, new=False)

    def _carried(self, way: Way) -> Way:
        """A way of tedi's own codes, for those of the generator."""

        def carried(
            ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
        ) -> Tensor:
            move = functools.partial(way, prompts=prompts, said=said, strength=strength, new=new)
            return self._through(move, ws)

        return carried

    @torch.no_grad()
    def _read(
        self, prompts: Sequence[str], known: dict[str, Reading], *, anyway: bool = False
    ) -> dict[str, Reading]:
        """What prompts say; those of the last batch are not read again."""
        readings = {prompt: known.get(prompt) for prompt in prompts}
        for prompt, said in readings.items():
            if said is None:
                readings[prompt] = said = self.text.read([prompt])
                if not anyway and not says_something(said):
                    raise UsageError(
                        f"nothing of {prompt!r} is about a face that can be drawn; name what it "
                        "shows, such as age, hair or smile, or pass --anyway"
                    )
        return {prompt: said for prompt, said in readings.items() if said is not None}

    @property
    def generator_sha256(self) -> str:
        """Of the file that the generator is from."""
        return self.drawn_by.get(GENERATOR) or next(iter(self.drawn_by.values()), "")

    def save_generator(
        self, path: Path, generator: Generator, *, record: str = "{}", exist: Exist = "error"
    ) -> None:
        """Write what an inversion changed of the generator; see `tedi.checkpoints.delta`."""
        delta.save(
            path,
            self.generator,
            generator,
            sha256=self.generator_sha256,
            record=record,
            exist=exist,
        )

    def load_generator(self, path: Path) -> Generator:
        """A generator that `save_generator` wrote; see `tedi.checkpoints.delta`."""
        return delta.load(path, self.generator, sha256=self.generator_sha256)

    @torch.inference_mode()
    def pictures(
        self, ws: Tensor, *, preview: bool = False, generator: Generator | None = None
    ) -> list[Image.Image]:
        """Pictures of codes ws (N, L, C); on a CPU one by one, so that bits do not depend on N.

        Args:
            ws: of the generator.
            preview: draw 256 px quickly instead of full size.
            generator: of an inversion that changed it, `Inversion.generator`; None: the toolkit's.
        """
        if generator is None or generator is self.generator:
            draw = self._draw[preview]
        else:
            draw = generator.preview if preview else generator.synthesis
        parts = ws.split(1) if ws.device.type == "cpu" else [ws]
        half = self.dtype != torch.float32
        with torch.autocast(ws.device.type, self.dtype, enabled=half):
            drawn = [draw(part).float() for part in parts]
        return images.to_pil(torch.cat(drawn))

    def record_of(
        self,
        prompt: str,
        seed: int,
        *,
        content: Content | None = None,
        psi: float = 0.7,
        strength: float = STRENGTH,
        method: str = "default",
        preview: bool = False,
        batch_size: int = 1,
        anyway: bool = False,
    ) -> dict[str, Any]:
        """The record that a face made with these arguments carries."""
        told = {"prompt": prompt, "seed": seed, "psi": psi, "strength": strength}
        if content is not None:
            told |= self.contents.told(content)
        record = self._record("generate", method, preview, words=bool(prompt))
        if content is not None:
            record["weights"] |= self.contents.weights(content.codes)
            if content.places:
                record["weights"] |= self.contents.parser
        return {"command": record.pop("command"), **told, **record}

    @property
    def all_weights(self) -> dict[str, str]:
        """Name -> sha256 of all weights that a record may name."""
        if self._text is None:
            return self.weights
        modalities = self.contents.weights(["sketch"]) | self.contents.parser
        return self.weights | modalities | weights_of(USES)

    def _record(self, command: str, method: str, preview: bool, *, words: bool) -> dict[str, Any]:
        place = self.transform
        told: dict[str, Any] = {}
        if place:
            told["transform"] = [place.degrees, place.tx, place.ty]
        if self.field:
            told["field"] = self.field
        return {
            "command": command,
            "method": method,
            "preview": preview,
            "dtype": str(self.dtype).removeprefix("torch."),
            "version": __version__,
            "weights": self.weights | (weights_of([method]) if words else {}),
            **told,
        }


def weights_of(methods: Iterable[str]) -> dict[str, str]:
    """Name -> sha256 of weights that methods draw on, beside the generator's and the text's."""
    return {name: _sum(name) for method in methods for name in USES.get(method, ())}


@functools.cache
def _sum(name: str) -> str:
    return fetched(name, None)[1]


def says_something(said: Reading) -> bool:
    """Whether a text names any attribute, or wishes for more or less of one."""
    plain = said.plain()
    ruled_out = attributes.group_sums((plain.agrees < 0.5).float()).sum()
    return bool(ruled_out > 0 or plain.moves.any())


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raises a UsageError that names the knob if a value is out of range."""
    if not least <= value <= most:
        raise UsageError(f"{name}: expected {least:g} to {most:g}, got {value:g}")


def load(
    *,
    device: str = "auto",
    dtype: str = "float32",
    compiled: bool = False,
    generator: str | PathLike[str] | None = None,
    encoder: str | PathLike[str] | None = None,
    text: str | PathLike[str] = TEXT,
    text_backbone: str | None = None,
    progress: zoo.Progress | None = None,
) -> Toolkit:
    """Everything that `tedi generate` needs; weights are fetched on first use.

    On Linux with a CPU, freed memory is kept for the next picture, which halves drawing time.

    Args:
        device: "cpu", "cuda", "cuda:1", …, or "auto" for CUDA where there is one.
        dtype: "float32", or "bfloat16" for drawing in less time and precision.
        compiled: draw through `torch.compile`: slow to start, then faster.
        generator: a file that holds one, of any format that `tedi weights inspect` knows; None for
            tedi's own, or for the decoder in the file of `encoder`. Words, drawings and tedi's
            encoder of photos work with it if its W is that of StyleGAN2-FFHQ.
        encoder: a file that holds an encoder of photos, of one's own generator or one that
            train/restyle.py made for tedi's; None for tedi's own.
        text: text encoder, by name or as a file that train/text.py has written.
        text_backbone: what it reads through, by name, hub id or folder; by default what it was
            trained on.
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
    foreign, looking = None, _looking(generator, encoder)
    files: dict[str, Path] = {}
    if generator is None and (encoder is None or looking):
        files = {name: zoo.pull(name, progress=progress) for name in (GENERATOR, PREVIEW)}
        drawing = native.load_generator([files[GENERATOR], files[PREVIEW]]).to(where)
    else:
        foreign = open_foreign(generator, encoder).to(where)
        drawing = foreign.generator
    known = foreign is None or foreign.known is not None
    reader = _load_text(text, text_backbone, files, progress).to(where) if known else None
    weights = {
        name: zoo.ZOO[name].sha256 if name in zoo.ZOO else zoo.sha256(file)
        for name, file in files.items()
    }
    return Toolkit(
        drawing,
        reader,
        dtype=DTYPES[dtype],
        weights={**(foreign.weights if foreign else {}), **weights},
        foreign=foreign,
        looking=looking,
        compiled=compiled,
        progress=progress,
    )


def _looking(
    generator: str | PathLike[str] | None, encoder: str | PathLike[str] | None
) -> Path | None:
    """The file of an encoder that looks again with tedi's own generator, if it is one."""
    if generator is not None or encoder is None or not Path(encoder).is_file():
        return None
    return Path(encoder) if holds_residual(Path(encoder)) else None


def _load_text(
    text: str | PathLike[str],
    backbone: str | None,
    files: dict[str, Path],
    progress: zoo.Progress | None,
) -> TextEncoder:
    """The text encoder on its code reader and backbone; what it is made of is put in `files`."""
    named = not Path(text).is_file()
    path = zoo.pull(str(text), progress=progress) if named else Path(text)
    files[str(text) if named else path.stem] = path
    told = zoo.metadata(path)
    codes = told.get("codes", "")
    files[codes] = zoo.pull(codes, progress=progress)
    encoder = native.load_text_encoder(path, native.load_code_reader(files[codes]))
    name = backbone or told["backbone"]
    if name in zoo.ZOO:
        files[name] = zoo.pull(name, progress=progress)
    encoder.backbone = language.load_backbone(files.get(name, name), name=name)
    width = encoder.reader.enter.in_features
    if encoder.backbone.width != width:
        raise UsageError(
            f"text_backbone: {name} has width {encoder.backbone.width}, {text} was trained on "
            f"{told['backbone']} of width {width}"
        )
    return encoder


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
