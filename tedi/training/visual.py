"""Trains the visual encoder: domain-guided, on real photos and drawn faces together.

Codes alone are not enough: an encoder that is right about drawn faces is wrong about photos. So,
as in in-domain inversion (Zhu et al. 2020, arXiv 2004.00049, equation 3), the code of a photo is
drawn again and compared with the photo - pixels, perceptual features, identity - and a
discriminator D tells the two apart:

    L_E = λ_code ‖E(G(ws)) − ws‖² + λ_pix ‖x − x̂‖² + λ_perc d(x, x̂) + λ_id ‖F(x) − F(x̂)‖²
          + λ_adv softplus(−D(x̂)) + λ_off Σ_l ‖Δ_l‖ + λ_w mean_l softplus(−D_W(w_l)),  x̂ = G(E(x))
    L_D = softplus(D(x̂)) + softplus(−D(x)) + ½ γ ‖∇D(x)‖²

D looks at the perceptual network's features, not at pixels (Sauer et al. 2021, arXiv 2111.01007),
and R1 is taken with respect to them; that learns from a few thousand photos. The last two terms
keep codes near W, where edits work (Tov et al. 2021, section 4): offsets Δ from one w, let in slot
by slot, and a discriminator on single w.
"""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from tedi import config, zoo
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import native
from tedi.checkpoints.identity import load_identity
from tedi.encoders.visual import VisualEncoder
from tedi.interfaces import Generator
from tedi.inversion.encode import draw_full
from tedi.losses.perceptual import distance
from tedi.training.codes import whitening
from tedi.training.loop import Settings
from tedi.training.networks import open_generator
from tedi.training.pictures import SIZE, draw_previews, from_bytes, photo_pixels, to_bytes

HELD_DRAWN = 100  # last drawn faces, for the figures


@dataclass(frozen=True)
class PhotoOptions:
    """Settings of tasks on photos; a weight of 0 leaves its term out and saves its cost."""

    photos: str = "../shared/data/celebahq256"  # folder of parquet files with aligned photos
    photo_cache: str = "runs/photos256.npy"  # their pixels, decoded on first use
    held_out: int = 600  # last photos: half to look at while tuning, half for the figures
    drawn: int = 5000  # faces drawn to learn codes from
    drawn_cache: str = "runs/drawn256.npy"  # their pictures, drawn on first use
    photo_batch: int = 8  # photos a step; 0 trains on codes alone
    drawn_batch: int = 8  # drawn faces a step
    code: float = 1.0  # λ_code, of the squared error in variances of W
    pixel: float = 2.0  # of the mean squared error, 0 to 4
    perceptual: float = 0.5  # λ_perc
    identity: float = 1.0  # λ_id, of the squared distance of descriptors
    adversary: float = 0.1  # λ_adv
    gamma: float = 10.0  # γ of R1
    offsets: float = 2e-4  # λ_off, of the length of every slot's offset
    codes_adversary: float = 0.1  # λ_w
    worn: float = 0.5  # share of pictures that are worn: JPEG, blur, noise, light
    moved: float = 0.5  # share of photos that are a little out of place
    average: int = 100_000  # codes that the covariance of W is measured on
    half: bool = False  # draw and compare in bfloat16; faster where the processor knows it
    compiled: bool = True  # compile what draws; a minute's start, then twice as fast
    full: bool = False  # draw at full size and reduce it: dear, but what is shown in the end


@dataclass(frozen=True)
class VisualOptions(PhotoOptions):
    """Settings of the task."""

    start: str = ""  # encoder to go on from; "" is a trunk that knows ImageNet
    head_rate: float = 3.0  # learning rate of what looks at the trunk's maps, relative to its own
    person: bool = True  # tell the encoder who it is, by the face recognition network
    grow: float = 0.0  # share of the steps over which offsets are let in, one after the other


def make_task(settings: Settings) -> "VisualTask":
    """The task; photos are decoded and faces drawn first if need be."""
    keep_freed_memory()
    options = config.build(VisualOptions, settings.options, where="options")
    generator = open_generator(settings.place)
    draw = torch.compile(generator.preview) if options.compiled else generator.preview
    ws = drawn_codes(generator, options.drawn)
    drawn = draw_previews(draw, ws, Path(options.drawn_cache))
    if options.full:
        draw = partial(draw_full, generator, size=SIZE)
    photos = photo_pixels(Path(options.photos), Path(options.photo_cache))
    return VisualTask(generator, draw, photos, (ws, drawn), options, settings)


@torch.no_grad()
def drawn_codes(generator: Generator, count: int) -> Tensor:
    """Codes (count, L, C) to learn from: psi 0.5 to 1, half of them mixed of two at one slot."""
    random = torch.Generator().manual_seed(77)
    w_avg = generator.w_avg
    w = generator.mapping(torch.randn(2 * count, generator.width, generator=random).to(w_avg))
    psi = 0.5 + 0.5 * torch.rand(2 * count, 1, generator=random)
    a, b = (w_avg + psi.to(w_avg) * (w - w_avg))[:, None].chunk(2)
    cut = torch.randint(1, 2 * generator.slots, (count, 1, 1), generator=random)
    first = torch.arange(generator.slots)[:, None] < cut
    return torch.where(first.to(w_avg.device), a, b)


class FeatureJudge(nn.Module):
    """D: whether feature maps are of a photo, judged place by place at two scales."""

    LEVELS: ClassVar = {1: 40, 2: 112}  # of the maps looked at, with their channels

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, hidden, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(hidden, hidden, 3, stride=2),
                nn.LeakyReLU(0.2),
                nn.Conv2d(hidden, 1, 1),
            )
            for channels in self.LEVELS.values()
        )

    def forward(self, seen: list[Tensor]) -> Tensor:
        """Logits (N,), high for photos, of what `look` gives."""
        pairs = zip(self.heads, seen, strict=True)
        return torch.stack([head(x).mean(dim=(1, 2, 3)) for head, x in pairs]).mean(dim=0)

    def look(self, maps: list[Tensor]) -> list[Tensor]:
        """The maps that are judged, normalised over channels at every place."""
        return [F.normalize(maps[i], dim=1, eps=1e-6) for i in self.LEVELS]


class CodeJudge(nn.Sequential):
    """D_W: whether a w (..., C), in standard deviations of W, comes from the mapping network."""

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Linear(width, width), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Linear(width, 1))


class PhotoTask:
    """What tasks on photos share: data, networks that compare, and the two judges.

    Args:
        generator: frozen, that codes are of.
        draw: codes (N, L, C) -> pictures (N, 3, 256, 256).
        photos: (N, 3, 256, 256).
        drawn: codes and their pictures.
        options: settings of the terms.
        settings: of the run.
    """

    model: nn.Module

    def __init__(
        self,
        generator: Generator,
        draw: Callable[[Tensor], Tensor],
        photos: NDArray[np.uint8],
        drawn: tuple[Tensor, NDArray[np.uint8]],
        options: PhotoOptions,
        settings: Settings,
    ) -> None:
        self.terms, self.settings = options, settings
        self.generator, self._draw, self.photos = generator, draw, photos
        self.ws, self.drawn = drawn
        self.here = generator.w_avg.device
        self.features = native.load_attribute_model(zoo.pull("attributes-lite0")).to(self.here)
        self.describe = load_identity(zoo.pull("face-recognition")).to(self.here)
        self.whiten, self.color = whitening(generator, options.average, seed=settings.seed)
        self.variance = self.color.square().sum() / len(self.color)  # mean over channels of W

    def _hold(self, encoder: nn.Module) -> None:
        """What learns: the encoder, and the judges beside it."""
        self.judge, self.code_judge = FeatureJudge(), CodeJudge(self.generator.width)
        self.model = nn.ModuleDict(
            {"encoder": encoder, "judge": self.judge, "code_judge": self.code_judge}
        )

    def draw(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256) of codes, as the losses look at them."""
        with self._precision():
            return self._draw(ws).float()

    def maps(self, image: Tensor) -> list[Tensor]:
        """Perceptual features."""
        with self._precision():
            return [each.float() for each in self.features.maps(image)]

    def person(self, image: Tensor) -> Tensor:
        """Descriptors (N, D)."""
        with self._precision():
            return self.describe(image).float()

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.here.type, torch.bfloat16, enabled=self.terms.half)

    def _batch(self, number: int) -> tuple[Tensor, Tensor, Tensor, np.random.Generator]:
        """Photos, drawn faces, the codes of these, and the chance of the batch of a number.

        Pictures are on the CPU, where they are worn.
        """
        rng = np.random.default_rng([self.settings.seed, number])
        o = self.terms
        last = max(1, len(self.ws) - HELD_DRAWN)
        rows = rng.integers(0, last, o.drawn_batch)
        picked = rng.integers(0, len(self.photos) - o.held_out, o.photo_batch)
        target = self._target(self.photos[picked], rng)
        codes = self.ws[torch.from_numpy(rows)]
        return target, from_bytes(np.array(self.drawn[rows])), codes, rng

    def _compared(self, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Terms that compare photos with what their codes draw, and both sides of D."""
        o = self.terms
        losses = {"pixel": o.pixel * (image - target).square().mean()}
        with torch.no_grad():
            true, person = self.maps(target), self.person(target)
        maps = self.maps(image)
        losses["perceptual"] = o.perceptual * distance(maps, true).mean()
        if o.identity:
            apart = (self.person(image) - person).square().sum(dim=1)
            losses["identity"] = o.identity * apart.mean()
        if o.adversary:
            with frozen(self.judge):
                fooled = F.softplus(-self.judge(self.judge.look(maps)))
            losses["fooled"] = o.adversary * fooled.mean()
            real = [x.requires_grad_() for x in self.judge.look(true)]
            fake = self.judge.look([m.detach() for m in maps])
            losses["judge"] = judgement(self.judge, real, fake, o.gamma)
        return losses

    def _near_w(self, ws: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """Both sides of D_W, on one random slot of every code (Tov et al. 2021, equation 4)."""
        o = self.terms
        if not o.codes_adversary:
            return {}
        fake = ((ws - self.generator.w_avg) @ self.whiten.T).flatten(0, 1)
        z = torch.from_numpy(rng.standard_normal((len(ws), self.generator.width))).float()
        with torch.no_grad():
            real = (self.generator.mapping(z.to(ws)) - self.generator.w_avg) @ self.whiten.T
        with frozen(self.code_judge):
            fooled = F.softplus(-self.code_judge(fake)).mean()
        slots = torch.from_numpy(rng.integers(0, ws.shape[1], len(ws)))
        shown = fake.detach()[torch.arange(len(ws)) * ws.shape[1] + slots]
        wrong = judgement(
            lambda x: self.code_judge(x[0])[:, 0], [real.requires_grad_()], [shown], o.gamma
        )
        return {"w fooled": o.codes_adversary * fooled, "w judge": wrong}

    def _target(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
        """Photos (N, 3, 256, 256), half of them flipped, some a little out of place."""
        image = from_bytes(pixels)
        if not (n := len(image)):
            return image
        flip = torch.from_numpy(rng.random(n) < 0.5)[:, None, None, None]
        image = torch.where(flip, image.flip(3), image)
        out = torch.from_numpy((rng.random((n, 1)) < self.terms.moved).astype("float32"))
        turn, grow, x, y = (torch.from_numpy(rng.uniform(-1, 1, (4, n, 1))).float() * out).unbind()
        angle, scale = turn[:, 0] * np.deg2rad(3), 1 + 0.03 * grow[:, 0]
        matrix = torch.stack(
            [
                torch.stack([angle.cos() * scale, -angle.sin() * scale, 0.03 * x[:, 0]], 1),
                torch.stack([angle.sin() * scale, angle.cos() * scale, 0.03 * y[:, 0]], 1),
            ],
            dim=1,
        )
        grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
        moved = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
        return torch.where(out[:, :, None, None] > 0, moved, image)


class VisualTask(PhotoTask):
    """Fits `VisualEncoder`; the two judges learn beside it."""

    def __init__(
        self,
        generator: Generator,
        draw: Callable[[Tensor], Tensor],
        photos: NDArray[np.uint8],
        drawn: tuple[Tensor, NDArray[np.uint8]],
        options: VisualOptions,
        settings: Settings,
    ) -> None:
        super().__init__(generator, draw, photos, drawn, options, settings)
        self.options = options
        torch.manual_seed(settings.seed)
        encoder = VisualEncoder(slots=generator.slots, width=generator.width)
        if options.start:
            encoder.load_state_dict(native.read(Path(options.start))[0])
        else:
            known, _ = native.read(zoo.pull("efficientnet-lite0"))
            trunk = {n: t for n, t in known.items() if n.startswith(("stem.", "blocks."))}
            tint = self.color * self.color.norm(dim=0).rsqrt()
            mean = {"w_avg": generator.w_avg, "color": self.color, "tint": tint}
            encoder.load_state_dict(encoder.state_dict() | trunk | mean)
        encoder.describe = self.describe if options.person else None
        self.encoder = encoder
        self._hold(encoder)

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """What is new learns faster than the trunk, the judge of codes more slowly."""
        trunk = [*self.encoder.stem.parameters(), *self.encoder.blocks.parameters()]
        known = {id(p) for p in trunk}
        heads = [p for p in self.encoder.parameters() if p.requires_grad and id(p) not in known]
        return [
            {"params": trunk, "lr": lr},
            {"params": heads, "lr": lr * self.options.head_rate},
            {"params": list(self.judge.parameters()), "lr": lr},
            {"params": list(self.code_judge.parameters()), "lr": 0.2 * lr},
        ]

    def step(self, step: int) -> dict[str, Tensor]:
        """The terms of L_E and L_D on photos and drawn faces."""
        o = self.options
        target, drawn, codes, rng = self._batch(step)
        image = worn(torch.cat([target, drawn]), rng, o.worn)
        place, offsets = self.encoder.parts(image.to(self.here))
        offsets = offsets * self._let_in(step).to(self.here)
        ws, n, target = place[:, None] + offsets, len(target), target.to(self.here)
        error = (ws[n:] - codes).square().mean() / self.variance
        losses = {
            "code": o.code * error,
            "offsets": o.offsets * (offsets + 1e-9).norm(dim=2).sum(dim=1).mean(),
        }
        if n:
            losses |= self._compared(self.draw(ws[:n]), target) | self._near_w(ws[:n], rng)
        return losses

    def _let_in(self, step: int) -> Tensor:
        """1 (L, 1) for slots whose offset counts by now: the first from the start, then more."""
        if not self.options.grow:
            return torch.ones(self.generator.slots, 1)
        done = step / (self.options.grow * self.settings.steps * self.settings.accumulate)
        return (torch.arange(self.generator.slots) <= done * self.generator.slots).float()[:, None]

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """On held-out photos and drawn faces: how like the photo, and how near W."""
        held = from_bytes(np.array(self.photos[-self.options.held_out // 2 :])).to(self.here)
        rows: list[Tensor] = []
        for image in held.split(10):
            place, offsets = self.encoder.parts(image)
            redrawn = self.draw(place[:, None] + offsets)
            apart = (self.describe(redrawn) - self.describe(image)).norm(dim=1)
            like = distance(self.features.maps(redrawn), self.features.maps(image))
            error = (redrawn - image).square().mean(dim=(1, 2, 3))
            rows.append(torch.stack([error, like, apart, offsets.norm(dim=2).mean(dim=1)], 1))
        error, like, apart, offset = torch.cat(rows).unbind(dim=1)
        codes = self.ws[-HELD_DRAWN:]
        drawn = from_bytes(np.array(self.drawn[-HELD_DRAWN:])).to(self.here)
        found = torch.cat([self.encoder(image) for image in drawn.split(1)])
        return {
            "photos": float(len(held)),
            "mean squared error": round(error.mean().item(), 4),
            "perceptual distance": round(like.mean().item(), 4),
            "identity distance": round(apart.mean().item(), 4),
            "same person": round((apart < self.describe.same).float().mean().item(), 4),
            "offset from one w": round(offset.mean().item(), 3),
            "drawn faces": float(HELD_DRAWN),
            "code error, in variances": round(
                ((found - codes).square().mean() / self.variance).item(), 4
            ),
        }

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The encoder alone, in half precision."""
        state = {n: t for n, t in self.encoder.state_dict().items() if "describe." not in n}
        return {n: t if n == "w_avg" else t.half() for n, t in state.items()}, {
            "architecture": "visual",
            "kind": "visual encoder",
            "for": "mobilestylegan-ffhq",
            "licence": "MIT; begun from efficientnet-lite0 (Apache-2.0); trained on CelebA-HQ "
            "photos, which are for non-commercial research",
            "data": "CelebA-HQ photos (Karras et al. 2018; Lee et al. 2020), the last "
            f"{self.options.held_out} held out, and faces that mobilestylegan-ffhq drew",
            "recipe": "train/visual.py",
            "options": json.dumps(asdict(self.options)),
            "note": "Aligned photos of faces to W+.",
        }


def judgement(
    judge: Callable[[list[Tensor]], Tensor], real: list[Tensor], fake: list[Tensor], gamma: float
) -> Tensor:
    """Logistic loss of a discriminator with R1 (Mescheder et al. 2018, equation 9) on the real."""
    logits = judge(real)
    slopes = torch.autograd.grad(logits.sum(), real, create_graph=True)
    r1 = torch.stack([s.square().flatten(1).sum(dim=1).mean() for s in slopes]).sum()
    return F.softplus(-logits).mean() + F.softplus(judge(fake)).mean() + 0.5 * gamma * r1


@contextmanager
def frozen(part: nn.Module) -> Iterator[None]:
    """Within it, what is computed with the part sends it no gradient."""
    part.requires_grad_(False)
    try:
        yield
    finally:
        part.requires_grad_(True)


def worn(image: Tensor, rng: np.random.Generator, share: float) -> Tensor:
    """Pictures (N, 3, H, W), a share of them as phones and the net leave them."""
    rows = [_wear(row, rng) if rng.random() < share else row for row in image]
    return torch.stack(rows)


def _wear(image: Tensor, rng: np.random.Generator) -> Tensor:
    """One picture (3, H, W) reduced and enlarged, noisy, lit anew, and saved as a JPEG."""
    size = int(image.shape[-1] * rng.uniform(0.25, 1))
    small = F.interpolate(image[None], (size, size), mode="bilinear", antialias=True)
    image = F.interpolate(small, image.shape[-2:], mode="bilinear")[0]
    image = image + torch.from_numpy(rng.normal(0, rng.uniform(0, 0.06), image.shape)).float()
    tint = torch.from_numpy(rng.uniform(0.92, 1.08, (3, 1, 1))).float()
    image = ((image + 1) * tint * rng.uniform(0.75, 1.25) - 1).clamp(-1, 1)
    content = io.BytesIO()
    pixels = to_bytes(image[None])[0].transpose(1, 2, 0)
    Image.fromarray(pixels).save(content, "JPEG", quality=int(rng.integers(25, 95)))
    return from_bytes(np.array(Image.open(content)).transpose(2, 0, 1))
