"""Trains the sketch and label encoder, on drawn faces and photos together.

TediGAN (Xia et al. 2021, section 3.3) maps every modality to the code that the visual encoder
gives the picture, layer by layer. Here the codes of drawn faces are known, those of photos are the
visual encoder's, and what a code draws must look as the drawing says, whatever style fills in the
rest:

    L = λ_code Σ_l ‖ws_l − ws*_l‖² + λ_parts (CE + 1 − Dice)(P(x̂), m) + λ_grey d(grey x̂, grey x)
        + λ_own (d(x̂*, x) + ‖x̂* − x‖²) + λ_adv softplus(−D(x̂)) + λ_free Σ_l ‖(1 − b_l) Eᵀ(w − w̄)‖²,
    x̂ = G(ws_l + v E diag(b_l) Eᵀ (w − w̄) in the ruled slots, w in the others)
    x̂* = G(ws_l in the ruled slots, ws*_l in the others)

with m the label map of the picture x, P the face parser, d the perceptual distance, w the code of a
random style, v a random variety, and D a judge of feature maps that knows the pictures themselves.
Each picture that is drawn back is an x̂ or an x̂*. Without x̂* and D the parser is satisfied by
painted faces of harsh contrast. The last term leaves to the style all that the others do not need.

Half of the examples are sketches, of the project's sketch maker in all its styles, the others label
maps, a few are both. They are moved, torn and roughened, for people's drawings are.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tedi import config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.checkpoints.identity import load_identity
from tedi.control import style_codes
from tedi.encoders.parser import FaceParser
from tedi.encoders.structure import CHANNELS, StructureEncoder
from tedi.encoders.visual import VisualEncoder
from tedi.errors import TediError
from tedi.images import to_pil
from tedi.interfaces import Generator
from tedi.losses.perceptual import distance
from tedi.metrics.lines import chamfer
from tedi.modalities import sketch as sketches
from tedi.modalities.labels import CLASSES, COLOURS, LARGE, one_hot
from tedi.training.codes import whitening
from tedi.training.dataset import load_masks
from tedi.training.loop import Settings
from tedi.training.networks import open_generator
from tedi.training.parser import Photo, class_weights, decode_labels, iou, parser_losses
from tedi.training.pictures import SIZE, draw_previews, from_bytes, kept, photo_pixels
from tedi.training.visual import FeatureJudge, drawn_codes, frozen, judgement

log = logging.getLogger(__name__)

HELD_DRAWN = 200  # last drawn faces, for the figures
STYLES = {"freehand": 0.4, "pencil": 0.2, "edges": 0.2, "contour": 0.2}
ON_PAPER = 0.5  # share of sketches that lie on paper, under a lamp
MIXTURE = {("sketch",): 0.45, ("labels",): 0.45, ("sketch", "labels"): 0.1}
PSI = 0.7  # of styles


@dataclass(frozen=True)
class StructureOptions:
    """Settings of the task; a weight of 0 leaves its term out and saves its cost."""

    photos: str = "../shared/data/celebahq256"  # folder of parquet files: photos with label maps
    cache: str = "runs"  # folder of pictures, sketches and label maps, made on first use
    held_out: int = 600  # last photos: half to look at while tuning, half for the figures
    drawn: int = 5000  # faces drawn to learn codes from
    start: str = ""  # encoder to go on from; "" takes the visual encoder's trunk
    drawn_batch: int = 10  # drawn faces a step
    photo_batch: int = 6  # photos a step
    back: int = 6  # of all these, drawn back; 0 trains on codes alone
    code: float = 1.0  # λ_code for drawn faces, of the squared error in variances of W
    photo_code: float = 0.3  # λ_code for photos, whose codes are the visual encoder's
    parts: float = 1.5  # λ_parts
    grey: float = 0.7  # λ_grey
    own: float = 1.0  # λ_own
    adversary: float = 0.2  # λ_adv
    gamma: float = 10.0  # γ of D's R1
    free: float = 1.0  # λ_free, of the share of a style's square that is held back
    offsets: float = 5e-4  # of the length of every slot's offset
    head_rate: float = 3.0  # learning rate of what is new, relative to the trunk's
    fill_rate: float = 3.0  # of the gains b
    moved: float = 0.5  # share of drawings that are out of place
    torn: float = 0.35  # share of sketches of which a piece is missing
    rough: float = 0.4  # share of label maps painted with a broad brush
    average: int = 100_000  # codes that the covariance of W is measured on
    compiled: bool = True  # compile what draws; a minute's start, then twice as fast


class Faces(NamedTuple):
    """Pictures with their codes and drawings.

    Attributes:
        ws: codes (N, L, C).
        pixels: (N, 3, 256, 256) uint8.
        labels: (N, 256, 256) uint8.
        sketches: (N, 256, 256) uint8, 255 paper.
    """

    ws: Tensor
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    sketches: NDArray[np.uint8]


def make_task(settings: Settings) -> "StructureTask":
    """The task; pictures are drawn or decoded, and drawings made of them, if need be."""
    keep_freed_memory()
    options = config.build(StructureOptions, settings.options, where="options")
    generator = open_generator(settings.place)
    draw = torch.compile(generator.preview) if options.compiled else generator.preview
    parser = native.load_parser(zoo.pull("parser-lite0")).to(settings.place)
    visual = native.load_visual_encoder(zoo.pull("visual-mobilestylegan-ffhq"))
    visual.describe = load_identity(zoo.pull("face-recognition"))
    visual.to(settings.place)
    drawn = _drawn(generator, draw, parser, options)
    photos = _photos(visual, options)
    return StructureTask(generator, draw, parser, visual, (drawn, photos), options, settings)


@torch.no_grad()
def _drawn(
    generator: Generator,
    draw: Callable[[Tensor], Tensor],
    parser: FaceParser,
    options: StructureOptions,
) -> Faces:
    """Drawn faces, parsed and sketched."""
    folder = Path(options.cache)
    ws = drawn_codes(generator, options.drawn)
    pixels = draw_previews(draw, ws, folder / "drawn256.npy")

    def parsed(rows: slice) -> NDArray[np.uint8]:
        image = from_bytes(np.array(pixels[rows])).to(ws)
        return parser.labels(image).cpu().numpy()

    labels = kept(folder / "drawn-labels256.npy", (len(ws), SIZE, SIZE), parsed)
    return Faces(ws, pixels, labels, _sketched(pixels, labels, folder / "drawn-sketches256.npy"))


@torch.no_grad()
def _photos(visual: VisualEncoder, options: StructureOptions) -> Faces:
    """Photos with their masks, sketched and encoded."""
    folder = Path(options.cache)
    pixels = photo_pixels(Path(options.photos), folder / "photos256.npy")
    masks: list[bytes] = []

    def decoded(rows: slice) -> NDArray[np.uint8]:
        if not masks:
            masks.extend(row["label_map"]["bytes"] for row in load_masks(Path(options.photos)))
        return np.stack([decode_labels(Photo(b"", content)) for content in masks[rows]])

    def encoded(rows: slice) -> NDArray[np.float32]:
        image = from_bytes(np.array(pixels[rows])).to(visual.w_avg)
        return visual(image).cpu().numpy()

    count = len(pixels)
    labels = kept(folder / "photo-labels256.npy", (count, SIZE, SIZE), decoded)
    shape = (count, visual.slots, visual.width)
    ws = kept(folder / "photo-codes.npy", shape, encoded, dtype=np.float32)
    drawings = _sketched(pixels, labels, folder / "photo-sketches256.npy")
    return Faces(torch.from_numpy(np.array(ws)), pixels, labels, drawings)


def _sketched(
    pixels: NDArray[np.uint8], labels: NDArray[np.uint8], cache: Path
) -> NDArray[np.uint8]:
    """A sketch of each picture, its style by its number, half of them on paper and read again."""

    def sketched(rows: slice) -> NDArray[np.uint8]:
        numbers = range(*rows.indices(len(pixels)))
        return np.stack([sketch_of(pixels[i], labels[i], i) for i in numbers])

    return kept(cache, (len(pixels), SIZE, SIZE), sketched)


def sketch_of(pixels: NDArray[np.uint8], labels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Sketch (H, W) of a picture (3, H, W), 255 paper; style and hand by the seed."""
    rng = np.random.default_rng([5, seed])
    style = str(rng.choice(list(STYLES), p=list(STYLES.values())))
    image, parts = from_bytes(np.array(pixels)[None]), torch.from_numpy(np.array(labels)[None])
    sketch = sketches.draw(image, style, seed, parts)
    if rng.random() < ON_PAPER:
        try:
            paper = sketches.paper(sketch, seed)
            sketch = sketches.from_picture(to_pil(paper.expand(-1, 3, -1, -1) * 2 - 1)[0])
        except TediError:  # lines too faint to be found on that paper
            log.debug("sketch %d is kept off paper", seed)
    return (sketch[0, 0] * 255).round().byte().numpy()


class StructureTask:
    """Fits `StructureEncoder`."""

    def __init__(
        self,
        generator: Generator,
        draw: Callable[[Tensor], Tensor],
        parser: FaceParser,
        visual: VisualEncoder,
        faces: tuple[Faces, Faces],
        options: StructureOptions,
        settings: Settings,
    ) -> None:
        self.generator, self.draw, self.parser = generator, draw, parser
        (self.drawn, self.photos), self.options, self.settings = faces, options, settings
        self.here = generator.w_avg.device
        self.features = native.load_attribute_model(zoo.pull("attributes-lite0")).to(self.here)
        self.weights = class_weights(_shares(self.photos.labels[: -options.held_out]), 0.25)
        torch.manual_seed(settings.seed)
        ruled = len(generator.layers("coarse")) + len(generator.layers("medium"))
        encoder = StructureEncoder(slots=generator.slots, ruled=ruled, width=generator.width)
        _, self.color = whitening(generator, options.average, seed=settings.seed)
        self.variance = self.color.square().sum() / len(self.color)  # mean over channels of W
        if options.start:
            encoder.load_state_dict(native.read(Path(options.start))[0])
        else:
            encoder.blocks.load_state_dict(
                {n: t for n, t in visual.blocks.state_dict().items() if _kept(n, encoder)}
            )
            see_as_pictures(encoder, visual)
            encoder.w_avg.copy_(generator.w_avg)
            encoder.tint.copy_(self.color * self.color.norm(dim=0).rsqrt())
        self.encoder, self.judge = encoder.requires_grad_(True), FeatureJudge()
        self.model = nn.ModuleDict({"encoder": self.encoder, "judge": self.judge})

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """What is new learns faster than the trunk."""
        trunk = list(self.encoder.blocks.parameters())
        known = {id(p) for p in trunk}
        known.add(id(self.encoder.fill))
        new = [p for p in self.encoder.parameters() if id(p) not in known]
        return [
            {"params": trunk, "lr": lr},
            {"params": new, "lr": lr * self.options.head_rate},
            {"params": [self.encoder.fill], "lr": lr * self.options.fill_rate},
            {"params": list(self.judge.parameters()), "lr": lr},
        ]

    def step(self, step: int) -> dict[str, Tensor]:
        """The terms of L on drawn faces and photos."""
        rng = np.random.default_rng([self.settings.seed, step])
        o, ruled = self.options, self.encoder.ruled
        rows = rng.integers(0, len(self.drawn.ws) - HELD_DRAWN, o.drawn_batch)
        picked = rng.integers(0, len(self.photos.ws) - o.held_out, o.photo_batch)
        pixels = np.concatenate([self.drawn.pixels[rows], self.photos.pixels[picked]])
        labels = np.concatenate([self.drawn.labels[rows], self.photos.labels[picked]])
        drawings = np.concatenate([self.drawn.sketches[rows], self.photos.sketches[picked]])
        place, offsets = self._seen(labels, drawings, rng)
        ws = place[:, None] + offsets
        codes = self.drawn.ws[torch.from_numpy(rows)], self.photos.ws[torch.from_numpy(picked)]
        true = torch.cat([part.to(self.here) for part in codes])
        error = (ws - true[:, :ruled]).square().mean(dim=(1, 2)) / self.variance
        n = o.drawn_batch
        losses = {
            "code": o.code * error[:n].mean(),
            "photo code": o.photo_code * error[n:].mean(),
            "offsets": o.offsets * (offsets + 1e-9).norm(dim=2).sum(dim=1).mean(),
        }
        if o.back:
            chosen = rng.permutation(len(ws))[: o.back]
            picture = from_bytes(pixels[chosen]).to(self.here)
            losses |= self._back(ws[chosen], true[chosen], picture, labels[chosen], rng)
        return losses

    def _seen(
        self, labels: NDArray[np.uint8], drawings: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """`parts` of roughened drawings, each a sketch, a label map or both."""
        o, n = self.options, len(labels)
        kinds = rng.choice(len(MIXTURE), n, p=list(MIXTURE.values()))
        has = {
            name: torch.tensor([name in list(MIXTURE)[kind] for kind in kinds]).float()
            for name in CHANNELS
        }
        has = {name: given.to(self.here) for name, given in has.items()}
        lines = 1 - torch.from_numpy(drawings).float()[:, None] / 255
        lines = torn(moved(lines, rng, o.moved), rng, o.torn)
        maps = torch.from_numpy(roughened(labels, rng, o.rough)).float()[:, None]
        planes = one_hot(moved(maps, rng, o.moved, "labels")[:, 0].byte())
        seen = torch.zeros((), device=self.here)
        for name, x in {"sketch": lines, "labels": planes}.items():
            stem = self.encoder.stems[name]
            seen = seen + stem(x.to(self.here)) * has[name][:, None, None, None]
        count = torch.stack(list(has.values())).sum(dim=0)
        return self.encoder.parts_of(seen / count[:, None, None, None])

    def _back(
        self,
        ws: Tensor,
        true: Tensor,
        picture: Tensor,
        labels: NDArray[np.uint8],
        rng: np.random.Generator,
    ) -> dict[str, Tensor]:
        """Terms of what codes draw: the first half in the picture's own style, x̂*, the rest x̂."""
        o, encoder, n = self.options, self.encoder, len(ws) // 2
        style = self._styles(len(ws) - n, rng)
        variety = torch.from_numpy(rng.random((len(style), 1, 1))).to(style)
        own = torch.cat([ws[:n], true[:n, encoder.ruled :]], dim=1)
        image = self.draw(torch.cat([own, encoder.filled(ws[n:], style, variety=variety)]))
        truth = torch.from_numpy(labels[:, ::2, ::2].astype("int64")).to(self.here)
        entropy, dice = parser_losses(self.parser.scores(image), truth, self.weights)
        held = encoder.filled(torch.zeros_like(style), style) - style + encoder.w_avg
        whole = style - encoder.w_avg
        return {
            "parts": o.parts * (entropy + dice),
            "free": o.free * (held[:, : encoder.ruled].square().mean() / whole.square().mean()),
        } | self._like(image, picture, n)

    def _like(self, image: Tensor, picture: Tensor, n: int) -> dict[str, Tensor]:
        """Terms that compare pictures: the first n with their own, the others without colour."""
        o = self.options
        with torch.no_grad():
            wanted = self.features.maps(torch.cat([picture, grey(picture[n:])]))
        maps = self.features.maps(torch.cat([image, grey(image[n:])]))
        apart = distance(maps, wanted)
        pixel = (image[:n] - picture[:n]).square().mean()
        drawn = [m[: len(image)] for m in maps]
        with frozen(self.judge):
            fooled = F.softplus(-self.judge(self.judge.look(drawn))).mean()
        real = [x.requires_grad_() for x in self.judge.look([m[: len(image)] for m in wanted])]
        fake = self.judge.look([m.detach() for m in drawn])
        return {
            "own": o.own * (apart[:n].mean() + pixel),
            "grey": o.grey * apart[len(image) :].mean(),
            "fooled": o.adversary * fooled,
            "judge": judgement(self.judge, real, fake, o.gamma),
        }

    def _styles(self, count: int, rng: np.random.Generator) -> Tensor:
        seeds = rng.integers(0, 2**31, count).tolist()
        with torch.no_grad():
            return style_codes(self.generator, seeds, psi=PSI)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """On held-out photos, sketched and as masks: does the face that is drawn follow them?"""
        half = self.options.held_out // 2
        rows = range(len(self.photos.ws) - half, len(self.photos.ws))
        table = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.long)
        apart: dict[str, list[Tensor]] = {"sketch": [], "random face": []}
        styles = self._styles(half, np.random.default_rng(self.settings.seed))
        for row, style in zip(rows, styles[:, None], strict=True):
            labels = torch.from_numpy(np.array(self.photos.labels[row])[None])
            image = self._follow({"labels": one_hot(labels)}, style)
            table += confusion(labels, self.parser.labels(image).cpu())
            picture = from_bytes(np.array(self.photos.pixels[row])[None])
            hand = "pencil" if row % 2 else "freehand"
            sketch = sketches.draw(picture, hand, row, labels)
            for name, face in {
                "sketch": self._follow({"sketch": sketch}, style),
                "random face": self.generator.preview(style),
            }.items():
                again = sketches.draw(face, hand, row, self.parser.labels(face))
                apart[name].append(chamfer(sketch, again))
        large = [CLASSES.index(name) for name in LARGE]
        figures = {
            "photos": float(half),
            "label map: mean IoU of 11 classes": iou(table)[large].mean().item(),
            "label map: mean IoU of 19 classes": iou(table).nanmean().item(),
        }
        for name, found in apart.items():
            figures[f"{name}: chamfer distance, %"] = torch.cat(found).mean().item()
        figures["drawn faces: squared error of codes, in variances"] = self._code_error()
        return {name: round(value, 4) for name, value in figures.items()}

    def _code_error(self) -> float:
        """On drawn faces held out, of their sketches and of their maps."""
        errors = []
        for row in range(len(self.drawn.ws) - HELD_DRAWN, len(self.drawn.ws)):
            sketch = torch.from_numpy(np.array(self.drawn.sketches[row])).float() / 255
            maps = one_hot(torch.from_numpy(np.array(self.drawn.labels[row])[None]))
            for given in ({"sketch": sketch[None, None]}, {"labels": maps}):
                given = {name: value.to(self.here) for name, value in given.items()}
                error = (self.encoder(given)[0] - self.drawn.ws[row])[: self.encoder.ruled]
                errors.append(error.square().mean() / self.variance)
        return torch.stack(errors).mean().item()

    def _follow(self, given: dict[str, Tensor], style: Tensor) -> Tensor:
        given = {name: value.to(self.here) for name, value in given.items()}
        return self.generator.preview(self.encoder.filled(self.encoder(given), style))

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The encoder in half precision."""
        state = self.encoder.state_dict()
        return {n: t if n == "w_avg" else t.half() for n, t in state.items()}, {
            "architecture": "structure",
            "kind": "sketch and label encoder",
            "for": "mobilestylegan-ffhq",
            "slots": str(self.encoder.slots),
            "licence": "for non-commercial research: trained with photos and masks of "
            "CelebAMask-HQ; begun from efficientnet-lite0 (Apache-2.0)",
            "data": "CelebA-HQ photos with the masks of CelebAMask-HQ (Lee et al. 2020), the last "
            f"{self.options.held_out} held out, faces that mobilestylegan-ffhq drew, parsed by "
            "parser-lite0, and sketches of both by tedi.modalities.sketch",
            "recipe": "train/structure.py",
            "options": json.dumps(asdict(self.options)),
            "note": "Sketches and label maps of aligned faces to W+.",
        }


@torch.no_grad()
def see_as_pictures(encoder: StructureEncoder, visual: VisualEncoder) -> None:
    """Set the stems so that a trunk of pictures sees a sketch in grey, a map in its colours."""
    stem = visual.stem
    assert stem.bias is not None
    colours = torch.from_numpy(COLOURS).to(stem.weight) / 127.5 - 1
    ink = -2 * stem.weight.sum(dim=1, keepdim=True)  # from paper, 1, to ink, -1
    paper = stem.bias + stem.weight.sum(dim=(1, 2, 3))
    encoder.stems["sketch"].load_state_dict({"weight": ink, "bias": paper})
    map_ = torch.einsum("oihw,ki->okhw", stem.weight, colours)
    encoder.stems["labels"].load_state_dict({"weight": map_, "bias": stem.bias})


def _kept(name: str, encoder: StructureEncoder) -> bool:
    return int(name.partition(".")[0]) < len(encoder.blocks)


def _shares(labels: NDArray[np.uint8]) -> Tensor:
    counts = np.bincount(labels[:, ::8, ::8].ravel(), minlength=len(CLASSES))
    return torch.from_numpy(counts / counts.sum()).float()


def confusion(truth: Tensor, found: Tensor) -> Tensor:
    """Counts (19, 19), truth by row, of two label maps of one shape."""
    n = len(CLASSES)
    return torch.bincount((truth.long() * n + found.long()).flatten(), minlength=n * n).view(n, n)


def grey(image: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) without colour, each of mean 0 and deviation ½."""
    weights = image.new_tensor(sketches.LUMA).view(1, 3, 1, 1)
    luma = (image * weights).sum(dim=1, keepdim=True)
    mean = luma.mean(dim=(2, 3), keepdim=True)
    spread = luma.std(dim=(2, 3), keepdim=True) + 0.05
    return (0.5 * (luma - mean) / spread).expand(-1, 3, -1, -1)


# --- people's drawings ---------------------------------------------------------------------------


def moved(
    x: Tensor, rng: np.random.Generator, share: float, kind: Literal["lines", "labels"] = "lines"
) -> Tensor:
    """Drawings (N, 1, H, W), a share of them out of place.

    Lines are blurred by it, and come in from nothing, 0; labels stay numbers, and the outermost
    ones come in.
    """
    n = len(x)
    out = rng.random(n) < share
    angle, scale, right, down = rng.uniform(-1, 1, (4, n)) * out
    angle, scale = np.deg2rad(4) * angle, 1 + 0.07 * scale
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.array([[cos, -sin, 0.07 * right], [sin, cos, 0.07 * down]]).transpose(2, 0, 1)
    grid = F.affine_grid(torch.from_numpy(matrix).float(), list(x.shape), align_corners=False)
    mode, padding = ("bilinear", "zeros") if kind == "lines" else ("nearest", "border")
    return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)


def torn(lines: Tensor, rng: np.random.Generator, share: float) -> Tensor:
    """Lines (N, 1, H, W), of a share of which one to three pieces are missing."""
    lines = lines.clone()
    height, width = lines.shape[2:]
    for number in np.flatnonzero(rng.random(len(lines)) < share):
        for _ in range(rng.integers(1, 4)):
            tall, wide = (rng.uniform(0.1, 0.4, 2) * (height, width)).astype(int)
            top, left = rng.integers(0, height - tall), rng.integers(0, width - wide)
            lines[number, 0, top : top + tall, left : left + wide] = 0
    return lines


def roughened(
    labels: NDArray[np.uint8], rng: np.random.Generator, share: float
) -> NDArray[np.uint8]:
    """Label maps (N, H, W), a share of them as of a broad brush."""
    rough = labels.copy()
    for number in np.flatnonzero(rng.random(len(labels)) < share):
        size = int(rng.integers(24, 97))
        rows = (np.arange(size) + rng.uniform(0.2, 0.8)) * labels.shape[1] / size
        pixels = rows.astype(int).clip(0, labels.shape[1] - 1)
        small = labels[number][np.ix_(pixels, pixels)]
        again = (np.arange(labels.shape[1]) * size) // labels.shape[1]
        rough[number] = small[np.ix_(again, again)]
    return rough
