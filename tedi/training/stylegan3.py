"""Trains a small StyleGAN3 on the faces of tedifaces, upright or anywhere in the picture.

With x a picture of the set, z noise and y = G(z) drawn of it,

    L_D = softplus(D(y)) + softplus(−D(x)) + ½ γ ‖∇D(x)‖²                                     (1)
    L_G = softplus(−D(y)) + λ_copy (|y − x_z| + |∂y − ∂x_z|)                                  (2)

(1) and the first term of (2) are the published objective (Karras et al. 2021, arXiv 2106.12423;
Karras et al. 2020, arXiv 2006.06676): non-saturating, with R1 (Mescheder et al. 2018) every few
steps, no style mixing and no penalty of path lengths. Both networks take their step at once, by the
same pictures, so that each is drawn once. Running means are kept of magnitudes before each layer,
of W, and of G's weights, the first forgetting sooner than published, for runs are short.

The second term of (2) is ours, for machines without a GPU: x_z is what the embedded generator
draws of the same z, and ∂ differences of neighbouring pixels. With it G takes over that generator's
mapping network, so that the two have one W, and what is known of one's directions holds for the
other. A run without the term then starts from the file of a run with it.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from tedi import config
from tedi.allocator import keep_freed_memory
from tedi.checkpoints import bundle
from tedi.errors import UsageError
from tedi.generators.based import moved, placed
from tedi.generators.discriminator import StyleGAN2Discriminator
from tedi.generators.stylegan3 import StyleGAN3
from tedi.generators.stylegan3_networks import FullyConnected
from tedi.interfaces import Generator
from tedi.metrics.frechet import frechet
from tedi.training.dataset import PSI, is_held_out, load_tedifaces, noise
from tedi.training.loop import Settings
from tedi.training.networks import open_generator
from tedi.training.pictures import codes_of, from_bytes, kept, to_bytes

STORED = 128  # px of the stored pictures; twice the drawn size, for turning
LEAST = 1_000  # noises that the mean of W starts from
SEEN = 8  # px that pictures are reduced to before crowds of them are compared


@dataclass(frozen=True)
class StyleGAN3Options:
    """Settings of the task."""

    data: str = "data/tedifaces"  # folder of faces.jsonl
    cache: str = "runs/faces128.npy"  # pictures of its faces, drawn on first use
    start: str = ""  # a trained file to go on from
    unaligned: bool = False  # turn and move the pictures of the set
    batch_size: int = 8  # pictures a step, a multiple of four
    resolution: int = 64  # px, 64 or less
    channel_base: int = 1024  # of G, as `tedi.generators.stylegan3_layers.Design` has it
    channel_max: int = 96  # of G
    num_layers: int = 6  # of G
    rotations: bool = True  # G is a StyleGAN3-R, whose pictures turn; False is T
    judge: str = "128,128,64,64,32"  # channels of D, 4 px first
    adversary: float = 1.0  # weight of the published objective; 0 leaves D out
    gamma: float = 0.5  # γ of R1
    r1_every: int = 16  # steps between penalties, each for all of them
    copy: float = 0.0  # λ_copy; more than 0 takes over the embedded generator's mapping network
    w_decay: float = 0.998  # of the running mean of W
    half_life: int = 500  # pictures in which running magnitudes forget half; published: 20,000
    degrees: float = 25.0  # that unaligned pictures are turned at most, to either side
    shift: float = 0.15  # picture widths that they are moved at most, each way
    drawn: int = 256  # pictures that the figures are measured on


def make_task(settings: Settings) -> "StyleGAN3Task":
    """The task; the pictures of the set are drawn first if need be."""
    keep_freed_memory()
    options = config.build(StyleGAN3Options, settings.options, where="options")
    teacher = open_generator(settings.place)
    found = (face["index"] for face in load_tedifaces(Path(options.data)))
    faces = [index for index in found if not is_held_out(index)]
    pixels = draw_small(teacher, faces, Path(options.cache))
    return StyleGAN3Task(teacher, faces, pixels, options, seed=settings.seed)


def draw_small(generator: Generator, faces: Sequence[int], cache: Path) -> NDArray[np.uint8]:
    """Pictures (N, 3, 128, 128) of faces of tedifaces, reduced previews, kept in `cache`."""

    @torch.no_grad()
    def drawn(rows: slice) -> NDArray[np.uint8]:
        parts = codes_of(generator, faces[rows]).split(1)
        size = (STORED, STORED)
        small = [F.interpolate(generator.preview(ws), size, mode="area") for ws in parts]
        return to_bytes(torch.cat(small))

    return kept(cache, (len(faces), 3, STORED, STORED), drawn)


class StyleGAN3Task:
    """G against D, each a step at a time.

    Args:
        teacher: the embedded generator, whose mapping network is taken over if asked for.
        faces: of tedifaces, by index.
        pixels: (N, 3, 128, 128), their pictures.
        options: of the task.
        seed: of the networks and of every batch.
    """

    def __init__(
        self,
        teacher: Generator,
        faces: Sequence[int],
        pixels: NDArray[np.uint8],
        options: StyleGAN3Options,
        *,
        seed: int,
    ) -> None:
        _check(options)
        self.options, self.seed, self.pixels = options, seed, pixels
        self.noise = noise(list(faces))
        torch.manual_seed(seed)
        self.generator = self._started(teacher)
        self.judge = StyleGAN2Discriminator(resolution=options.resolution, channels=options.judge)
        self.model = nn.ModuleDict({"generator": self.generator, "judge": self.judge})
        self.forget = 1 - 0.5 ** (options.batch_size / options.half_life)

    @torch.no_grad()
    def _started(self, teacher: Generator) -> StyleGAN3:
        """G as it is before its first step."""
        options = self.options
        if options.start:
            generator = cast("StyleGAN3", bundle.open_generator(Path(options.start)))
            generator.requires_grad_(True)
        else:
            copies = options.copy > 0
            generator = StyleGAN3(
                resolution=options.resolution,
                z_dim=teacher.width,
                w_dim=teacher.width,
                mapping_layers=8 if copies else 2,
                channel_base=options.channel_base,
                channel_max=options.channel_max,
                num_layers=options.num_layers,
                conv_kernel=1 if options.rotations else 3,
                use_radial_filters=options.rotations,
            )
            if copies:
                take_mapping(generator, teacher)
            else:
                w = generator.mapping(torch.randn(LEAST, teacher.width))
                generator.w_avg.copy_(w.mean(dim=0))
        generator.mapping.requires_grad_(options.copy == 0)
        return generator

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """G at the rate, D at four fifths of it, as published."""
        of_g = [p for p in self.generator.parameters() if p.requires_grad]
        return [
            {"params": of_g, "lr": lr},
            {"params": list(self.judge.parameters()), "lr": 0.8 * lr},
        ]

    def step(self, step: int) -> dict[str, Tensor]:
        """Losses of one batch, of both networks."""
        options, random = self.options, torch.Generator()
        random.manual_seed((self.seed + 1) * 1_000_003 + step)
        rows = torch.randint(len(self.noise), (options.batch_size,), generator=random)
        if options.copy:
            w = self.generator.mapping(self._here(self.noise[rows]))
            w = self.generator.w_avg.lerp(w, PSI)
        else:
            z = torch.randn(options.batch_size, self.noise.shape[1], generator=random)
            w = self.generator.mapping(self._here(z))
            self.generator.w_avg.lerp_(w.detach().mean(dim=0), 1 - options.w_decay)
        drawn = self.draw(w)
        losses = {}
        if options.copy:
            losses["copy"] = options.copy * unlike(drawn, self.pictures(rows))
        if options.adversary:
            losses |= self._argue(drawn, random, penalised=step % options.r1_every == 0)
        return losses

    def draw(self, w: Tensor) -> Tensor:
        """Pictures of w (N, C); magnitudes before each layer go into their running means."""
        network = self.generator.synthesis
        styles = network.styles(w[:, None].expand(-1, self.generator.slots, -1))
        x = network.start(styles, None)
        for i, layer in enumerate(network.layers[:-1]):
            layer.magnitude_ema.lerp_(x.detach().square().mean(), self.forget)
            x = network.advance(x, styles, i, i + 1)
        last = network.layers[-1]
        last.magnitude_ema.lerp_(x.detach().square().mean(), self.forget)
        return network.finish(x, styles, len(network.layers) - 1)

    def _argue(
        self, drawn: Tensor, random: torch.Generator, *, penalised: bool
    ) -> dict[str, Tensor]:
        """What D makes of pictures drawn and pictures of the set."""
        options = self.options
        rows = torch.randint(len(self.noise), (len(drawn),), generator=random)
        shown = self.shown(rows, random).requires_grad_(penalised)
        frozen = {name: value.detach() for name, value in self.judge.named_parameters()}
        logits = self.judge(shown)
        losses = {
            "G": options.adversary * F.softplus(-functional_call(self.judge, frozen, drawn)).mean(),
            "D, drawn": F.softplus(self.judge(drawn.detach())).mean(),
            "D, shown": F.softplus(-logits).mean(),
        }
        if penalised:
            (slope,) = torch.autograd.grad(logits.sum(), shown, create_graph=True)
            r1 = slope.square().sum(dim=(1, 2, 3)).mean()
            losses["R1"] = 0.5 * options.gamma * options.r1_every * r1
        return losses

    def pictures(self, rows: Tensor) -> Tensor:
        """Pictures (N, 3, R, R) of the set as they are."""
        image = from_bytes(self.pixels[rows.numpy()])
        return self._here(F.interpolate(image, (self.options.resolution,) * 2, mode="area"))

    def shown(self, rows: Tensor, random: torch.Generator) -> Tensor:
        """Pictures (N, 3, R, R) of the set as D is shown them: half mirrored, maybe unaligned."""
        image = self._here(from_bytes(self.pixels[rows.numpy()]))
        mirrored = torch.rand(len(rows), generator=random) < 0.5
        image = torch.where(self._here(mirrored)[:, None, None, None], image.flip(3), image)
        turn, right, down = (2 * torch.rand(3, len(rows), generator=random) - 1).unbind()
        if self.options.unaligned:
            angle, reach = math.radians(self.options.degrees) * turn, self.options.shift
            place = placed(angle, torch.ones_like(turn), 2 * reach * right, 2 * reach * down)
            image = moved(image, self._here(place))
        return F.interpolate(image, (self.options.resolution,) * 2, mode="area")

    def _here(self, values: Tensor) -> Tensor:
        return values.to(self.generator.w_avg.device)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """How far drawn pictures lie from those of the set as a crowd, and how well they move.

        The distance is Fréchet's of all colours at 8 px, over that of the set's own halves; it
        sees colours, light and place, no detail.
        """
        count, random = self.options.drawn, torch.Generator().manual_seed(0)
        z = torch.randn(count, self.noise.shape[1], generator=random)
        w = self.generator.mapping(self._here(z))
        w = self.generator.w_avg.lerp(w, PSI)[:, None].expand(-1, self.generator.slots, -1)
        drawn = torch.cat([self.generator.synthesis(part) for part in w.split(1)])
        rows = torch.randperm(len(self.noise), generator=random)[: 2 * count].chunk(2)
        here, there = (colours(self.shown(half, random)) for half in rows)
        return {
            "pictures": float(count),
            "distance of crowds": round(frechet(colours(drawn), here), 4),
            "distance of halves of the set": round(frechet(there, here), 4),
        }

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """G as one of tedi's own files."""
        state = {
            name: value.detach().clone() for name, value in self.generator.state_dict().items()
        }
        part = bundle.bundle_of("generator", StyleGAN3.name, state, "G_ema")
        part = bundle.Bundle(part.kind, part.architecture, self.generator.config, state)
        tensors, told = bundle.packed({"G_ema": part})
        return tensors, told | {
            "licence": "MIT",
            "data": "pictures that mobilestylegan-ffhq draws of data/tedifaces",
            "recipe": "train/stylegan3.py",
            "options": json.dumps(asdict(self.options)),
        }


def take_mapping(generator: StyleGAN3, teacher: Generator) -> None:
    """Give G the mapping network and the mean of W of another generator.

    Raises:
        UsageError: it has another form.
    """
    theirs = teacher.mapping
    parts = theirs.modules() if isinstance(theirs, nn.Module) else ()
    layers = [part for part in parts if isinstance(part, nn.Linear)]
    ours = cast("list[FullyConnected]", list(generator.mapping.children()))
    if [tuple(a.weight.shape) for a in layers] != [tuple(b.weight.shape) for b in ours]:
        raise UsageError(f"copy: {teacher.name}'s mapping network has another form; set copy to 0")
    for source, target in zip(layers, ours, strict=True):
        gain = target.rate / math.sqrt(target.weight.shape[1])
        target.weight.copy_(source.weight / gain)
        target.bias.copy_(source.bias / target.rate)
    generator.w_avg.copy_(teacher.w_avg)


def unlike(drawn: Tensor, image: Tensor) -> Tensor:
    """Mean difference of pictures, and of what neighbouring pixels of them differ by."""
    error = drawn - image
    return error.abs().mean() + error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()


def colours(image: Tensor) -> Tensor:
    """Features (N, 192) of pictures: their colours at 8 px."""
    return F.interpolate(image, (SEEN, SEEN), mode="area").flatten(1)


def _check(options: StyleGAN3Options) -> None:
    if options.batch_size < 4 or options.batch_size % 4:
        raise UsageError(f"batch_size: expected a multiple of 4, got {options.batch_size}")
    if not options.copy and not options.adversary:
        raise UsageError("adversary: expected more than 0 where copy is 0, got 0")
    if options.copy and (options.unaligned or options.start):
        raise UsageError("copy: expected 0 for unaligned pictures and from a start, got more")
    if STORED % options.resolution or options.resolution > STORED:
        raise UsageError(f"resolution: expected 16, 32, 64 or {STORED}, got {options.resolution}")
