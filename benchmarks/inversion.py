"""What inversion and edits of photos cost, against the published recipes' networks on this machine.

    python benchmarks/inversion.py --out benchmarks/inversion.json

The recipes' networks have random weights here, since only their cost is asked for: in-domain
inversion (Zhu et al. 2020) draws with StyleGAN at 256 px, encodes with a residual network of 165
million numbers and compares features of VGG16, for 100 steps; TediGAN's released editing (Xia et
al. 2021) adds CLIP and takes 200. Some steps of each are timed, in turn with ours, and the median
is multiplied; the whole of ours is timed as it is.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from speed import machine, race
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from tedi import pipeline
from tedi.control import style_codes
from tedi.inversion import INVERTERS

EDIT = "older"
IN_DOMAIN, TEDIGAN = 100, 200  # steps of the recipes
PREVIEWS, FULL = 80, 20  # steps of ours
SEED = 7


# --- the recipes' networks ------------------------------------------------------------------------


class StyleLayer(nn.Module):
    """A layer of StyleGAN's synthesis: convolution, blur, noise, instance norm and style."""

    def __init__(self, enter: int, leave: int, size: int, *, up: bool) -> None:
        super().__init__()
        self.up, self.fused = up, up and size >= 128
        kernel = (enter, leave, 4, 4) if self.fused else (leave, enter, 3, 3)
        self.weight = nn.Parameter(torch.randn(kernel) * (2 / (9 * max(enter, 1))) ** 0.5)
        blur = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("blur", (blur[:, None] * blur / 16).expand(leave, 1, 3, 3).clone())
        self.register_buffer("noise", torch.randn(1, 1, size, size))
        self.scale = nn.Parameter(torch.zeros(leave, 1, 1))
        self.bias = nn.Parameter(torch.zeros(leave, 1, 1))
        self.style = nn.Linear(512, 2 * leave)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        if self.fused:
            x = F.conv_transpose2d(x, self.weight, stride=2, padding=1)
        elif self.weight.numel():
            x = F.interpolate(x, scale_factor=2, mode="nearest") if self.up else x
            x = F.conv2d(x, self.weight, padding=1)
        if self.up:
            x = F.conv2d(x, self.blur, padding=1, groups=x.shape[1])
        x = F.leaky_relu(x + self.scale * self.noise + self.bias, 0.2)
        scale, shift = self.style(w)[:, :, None, None].chunk(2, dim=1)
        return F.instance_norm(x, eps=1e-8) * (scale + 1) + shift


class StyleGAN256(nn.Module):
    """StyleGAN's synthesis at 256 px: codes (N, 14, 512) -> pictures (N, 3, 256, 256)."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.ones(1, 512, 4, 4))
        # The first layer has no convolution: it is given the constant as it is.
        layers, enter = [StyleLayer(0, 512, 4, up=False), StyleLayer(512, 512, 4, up=False)], 512
        for size in (8, 16, 32, 64, 128, 256):
            leave = min(16384 // size, 512)
            layers += [
                StyleLayer(enter, leave, size, up=True),
                StyleLayer(leave, leave, size, up=False),
            ]
            enter = leave
        self.layers = nn.ModuleList(layers)
        self.rgb = nn.Conv2d(enter, 3, 1)

    def forward(self, ws: Tensor) -> Tensor:
        x = self.start
        for layer, w in zip(self.layers, ws.unbind(dim=1), strict=True):
            x = layer(x, w)
        return self.rgb(x).tanh()


class Block(nn.Module):
    """A residual block of the in-domain encoder; pictures are halved before it."""

    def __init__(self, enter: int, leave: int) -> None:
        super().__init__()
        inner = min(enter, leave)
        self.short = self._conv(enter, leave, 1) if enter != leave else nn.Identity()
        self.long = nn.Sequential(self._conv(enter, inner, 3), self._conv(inner, leave, 3))

    def _conv(self, enter: int, leave: int, kernel: int) -> nn.Module:
        conv = nn.Conv2d(enter, leave, kernel, padding=kernel // 2)
        return nn.Sequential(conv, nn.BatchNorm2d(leave), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(x, 2)
        return self.short(x) + self.long(x)


class Encoder256(nn.Module):
    """The in-domain encoder: pictures (N, 3, 256, 256) -> codes (N, 14, 512)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 1024, 1024, 1024)
        blocks = [Block(a, b) for a, b in itertools.pairwise(widths)]
        first = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.body = nn.Sequential(first, nn.BatchNorm2d(64), nn.LeakyReLU(0.2), *blocks)
        self.head = nn.Sequential(nn.Linear(16384, 7168, bias=False), nn.BatchNorm1d(7168))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image).flatten(1)).unflatten(1, (14, 512))


def vgg16() -> nn.Module:
    """VGG16 up to conv4_3 and its ReLU."""
    layers: list[nn.Module] = []
    enter = 3
    for leave in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512):
        if not leave:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(enter, leave, 3, padding=1), nn.ReLU(inplace=True)]
        enter = leave
    return nn.Sequential(*layers)


class Recipe:
    """A step of the recipes, forwards and backwards, on one 256 px picture."""

    def __init__(self) -> None:
        torch.manual_seed(SEED)
        parts = (StyleGAN256(), Encoder256(), vgg16(), CLIPModel(CLIPConfig()))
        for part in parts:
            part.eval().requires_grad_(False)
        self.draw, self.encode, self.features, self.clip = parts
        self.target = torch.rand(1, 3, 256, 256) * 2 - 1
        with torch.no_grad():
            self.known = self.features(self.target)
            self.text = F.normalize(torch.randn(1, self.clip.config.projection_dim), dim=1)
        self.ws = torch.randn(1, 14, 512).requires_grad_()
        self.adam = torch.optim.Adam([self.ws], lr=0.01)

    def parameters(self) -> dict[str, float]:
        """Millions of numbers of each network."""
        parts = {"StyleGAN 256": self.draw, "encoder": self.encode, "VGG16": self.features}
        parts |= {"CLIP, pictures": self.clip.vision_model}
        return {n: round(sum(p.numel() for p in m.parameters()) / 1e6, 1) for n, m in parts.items()}

    def in_domain(self) -> None:
        """A step of in-domain inversion."""
        self._step(self._losses(self.draw(self.ws)))

    def tedigan(self) -> None:
        """A step of TediGAN's editing: CLIP sees the picture at 7168 px, pooled to 224."""
        image = self.draw(self.ws)
        large = F.avg_pool2d(F.interpolate(image, scale_factor=28, mode="nearest"), 32)
        seen = self.clip.visual_projection(self.clip.vision_model(large).pooler_output)
        likeness = (F.normalize(seen, dim=1) * self.text).sum()
        self._step(self._losses(image) + 2 * (1 - likeness))

    def _losses(self, image: Tensor) -> Tensor:
        features = (self.features(image) - self.known).square().mean()
        back = (self.ws - self.encode(image)).square().mean()
        return (image - self.target).square().mean() + 5e-5 * features + 2 * back

    def _step(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()


# --- ours ----------------------------------------------------------------------------------------


class Ours:
    """What tedi does with a photo: a generated face, set into a larger picture."""

    def __init__(self) -> None:
        self.model = pipeline.load(device="cpu")
        ws = style_codes(self.model.generator, [SEED], psi=0.7)
        face = self.model.pictures(ws)[0]
        self.picture = face.resize((1024, 1024)).crop((-448, -28, 1472, 1052))  # 1920 x 1080
        self.photo = self.model.photos.open(self.picture)[0]
        self.target = self.photo.image
        self.encoder, self.features = self.model.photos.encoder, self.model.photos.features.maps

    def encode(self) -> None:
        """A picture's code by the encoder."""
        with torch.no_grad():
            self.encoder(self.target)

    def steps(self, steps: int, finish: int = 0) -> Callable[[], object]:
        """In-domain inversion of so many steps on previews and at full size, to be called."""
        method = INVERTERS["optimize"]
        invert = method(
            self.model.generator,
            self.encoder,
            maps=self.features,
            describe=self.model.photos.identity,
            options=replace(method.defaults, steps=steps, finish=finish),
        )
        return lambda: invert(self.target)

    def edit(self) -> None:
        """A photo, edited: find and align, invert, edit, draw twice at 1024 px, put back."""
        photos = self.model.photos
        photo = photos.open(self.picture)[0]
        with torch.no_grad():
            ws = photos.encoder(photo.image)
        before = self.model.pictures(ws)[0]
        after = self.model.edit(ws[0], EDIT)[0].picture
        photos.put_back(photo, after, before=before)


def measure(rounds: int) -> dict[str, Any]:
    """All figures: seconds, and how many times ours fit into the recipes'."""
    ours, recipe = Ours(), Recipe()
    calls: dict[str, Callable[[], object]] = {
        "encoder": ours.encode,
        "few steps": ours.steps(2),
        "more steps": ours.steps(2 + rounds),
        "more at full size": ours.steps(2, rounds),
        "photo edited": ours.edit,
        "recipe, in-domain step": recipe.in_domain,
        "recipe, TediGAN step": recipe.tedigan,
    }
    s = {name: statistics.median(times) for name, times in race(calls, rounds).items()}
    step = (s["more steps"] - s["few steps"]) / rounds
    full = (s["more at full size"] - s["few steps"]) / rounds
    invert = s["few steps"] + (PREVIEWS - 2) * step + FULL * full
    in_domain, tedigan = (
        IN_DOMAIN * s["recipe, in-domain step"],
        TEDIGAN * s["recipe, TediGAN step"],
    )
    ours_s = {
        "encoder": s["encoder"],
        "in-domain step on a preview": step,
        "in-domain step at full size": full,
        f"in-domain inversion, {PREVIEWS} and {FULL} steps": invert,
        "photo edited": s["photo edited"],
    }
    theirs = {
        "in-domain step": s["recipe, in-domain step"],
        f"in-domain inversion, {IN_DOMAIN} steps": in_domain,
        "TediGAN step": s["recipe, TediGAN step"],
        f"TediGAN edit, {TEDIGAN} steps": tedigan,
    }
    ratios = {
        "step on a preview": s["recipe, in-domain step"] / step,
        "in-domain inversion over encoder": in_domain / s["encoder"],
        "in-domain inversion over ours": in_domain / invert,
        "TediGAN edit over photo edited": tedigan / s["photo edited"],
    }
    return {
        "rounds": rounds,
        "ours, s": _rounded(ours_s),
        "published recipes, random weights at 256 px, s": _rounded(theirs),
        "millions of numbers": recipe.parameters(),
        "ratios": _rounded(ratios),
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in values.items()}


def main() -> None:
    """Print the figures, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    figures = {"machine": machine(), **measure(options.rounds)}
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
