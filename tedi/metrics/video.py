"""How steady an edited video is, beside the video it was made of.

Neighbouring frames are compared: who is seen (after TL-ID of Tzaban et al. 2022, arXiv 2201.08361,
section 5.2), what is seen, where the face's points are, and what the edit adds. Each figure of the
edited video stands beside the same figure of the original, which moves by itself.

Frames follow each other closely, so intervals come from resampling blocks of a second, not frames.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tedi import attributes
from tedi.errors import UsageError
from tedi.grammar import ORDERED
from tedi.losses.perceptual import distance
from tedi.metrics.report import COLORS, FAINT, INK, PAPER, RULE
from tedi.metrics.score import Metric, Score, estimate, totals

MEASURES = ("jitter", "person", "picture", "flicker", "outside")
_FONT, _WIDE, _HIGH, _MARGIN = 20, 1200, 150, 40  # pixels of a chart


@dataclass(frozen=True)
class Filmed:
    """Figures of one video, frame by frame; nan where a frame has none.

    Attributes:
        series: name -> (F,): "jitter", "person", "picture", and of an edited video "flicker",
            "outside", "kept"; see `Watcher`.
        blocks: (F,) number of the second that each frame belongs to.
        networks: figure -> what looked.
        strength: what was asked -> (F,) how much of it a frame shows.
    """

    series: Mapping[str, Tensor]
    blocks: Tensor
    networks: Mapping[str, str] = field(default_factory=dict)
    strength: Mapping[str, Tensor] = field(default_factory=dict)


# --- looking -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Look:
    """A frame of one video.

    Attributes:
        pixels: (H, W, 3) uint8.
        points: (5, 2) of the face, in pixels.
        crop: (1, 3, 256, 256), the face cut out at the original's square.
    """

    pixels: np.ndarray
    points: np.ndarray
    crop: Tensor


class Watcher:
    """Compares frames with those before them; holds two at a time.

    Args:
        describe: pictures (1, 3, 256, 256) of aligned faces -> descriptor (1, D).
        network: an attribute model: logits and maps of pictures.
    """

    def __init__(self, describe: Callable[[Tensor], Tensor], network: Any) -> None:
        self.describe, self.network = describe, network
        self._last: list[dict[str, Any]] = []
        self._rows: list[dict[str, float]] = []
        self._log_p: list[Tensor] = []

    def cut(self) -> None:
        """What follows does not follow on what was."""
        self._last = []

    def skip(self) -> None:
        """A frame without a face."""
        self.cut()
        self._rows.append({})
        self._log_p.append(torch.full((2, len(attributes.COLUMNS)), math.nan))

    @torch.inference_mode()
    def __call__(self, before: Look, after: Look, quad: np.ndarray) -> None:
        """A frame of both videos.

        Args:
            before: of the original.
            after: of the edited one.
            quad: (4, 2) the face's square in the original.
        """
        side = float(np.linalg.norm(quad[3] - quad[0]))
        now: dict[str, Any] = {"side": side, "outside": _outside(before.pixels.shape, quad)}
        for name, look in (("before", before), ("after", after)):
            now[name] = {
                "points": look.points,
                "person": self.describe(look.crop)[0].float().cpu(),
                "maps": [level.float() for level in self.network.maps(look.crop)],
            }
        pair = torch.cat([before.crop, after.crop])
        self._log_p.append(attributes.log_softmax(self.network(pair).float()).cpu())
        now["step"] = (after.crop - before.crop).cpu() * 127.5
        now["rest"] = after.pixels.astype(np.int16) - before.pixels.astype(np.int16)
        row = {"kept after": float((now["before"]["person"] - now["after"]["person"]).norm())}
        self._rows.append(row | self._compared(now))
        self._last = [*self._last[-1:], now]

    def _compared(self, now: Mapping[str, Any]) -> dict[str, float]:
        """Figures that need the frame before, and the one before that."""
        if not self._last:
            return {}
        last, row = self._last[-1], {}
        for name in ("before", "after"):
            then, there = last[name], now[name]
            row[f"person {name}"] = float((there["person"] - then["person"]).norm())
            row[f"picture {name}"] = float(distance(then["maps"], there["maps"]).mean())
            if len(self._last) > 1:
                steps = there["points"] - 2 * then["points"] + self._last[-2][name]["points"]
                away = np.linalg.norm(steps, axis=1).mean()
                row[f"jitter {name}"] = 100 * float(away) / now["side"]
        row["flicker after"] = float((now["step"] - last["step"]).abs().mean())
        rest = np.abs(now["rest"] - last["rest"]).mean(axis=2)
        seen = now["outside"] & last["outside"]
        row["outside after"] = float(rest[seen].mean()) if seen.any() else math.nan
        return row

    def filmed(
        self, rate: float, *, wants: Sequence[Any] = (), networks: Mapping[str, str] | None = None
    ) -> dict[str, Filmed]:
        """The figures of both videos, "before" and "after".

        Args:
            rate: frames a second.
            wants: what texts ask for, as `tedi.semantics.hearing.hear` gives it.
            networks: figure -> what looked.
        """
        count = len(self._rows)
        blocks = (torch.arange(count) / max(rate, 1)).long()
        found = {}
        for place, name in enumerate(("before", "after")):
            names = {key.split()[0] for row in self._rows for key in row if key.endswith(name)}
            series = {
                key: torch.tensor([row.get(f"{key} {name}", math.nan) for row in self._rows])
                for key in sorted(names)
            }
            seen = torch.stack([log_p[place] for log_p in self._log_p])
            found[name] = Filmed(series, blocks, networks or {}, asked(seen, wants))
        return found


def asked(log_p: Tensor, wants: Sequence[Any]) -> dict[str, Tensor]:
    """How much of what is asked is seen: attribute -> (F,).

    A value that is named gives its probability, "more" and "less" the mean place among the
    attribute's values, in steps.

    Args:
        log_p: (F, V) log-probabilities of attributes.
        wants: with `says`, group -> values, and `wishes`, ordered attribute -> 1 or -1.
    """
    found = {}
    for want in wants:
        for group, values in want.says.items():
            columns = [
                n for n in range(*attributes.SPANS[group].indices(log_p.shape[1]))
                if attributes.COLUMNS[n][1] in values
            ]  # fmt: skip
            found[group] = log_p[:, columns].exp().sum(dim=1)
        for group in want.wishes:
            places = torch.tensor([float(ORDERED[group].index(v)) for v in _values(group)])
            found[f"{group}, steps"] = log_p[:, attributes.SPANS[group]].exp() @ places
    return found


def _values(group: str) -> list[Any]:
    span = attributes.SPANS[group]
    return [value for _, value in attributes.COLUMNS[span]]


def _outside(shape: tuple[int, ...], quad: np.ndarray) -> np.ndarray:
    """Pixels (H, W) that do not lie in a square."""
    mask = Image.new("1", (shape[1], shape[0]), 1)
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in quad.tolist()], fill=0)
    return np.asarray(mask)


# --- scores --------------------------------------------------------------------------------------


class _Mean(Metric):
    """The mean of one series."""

    key: ClassVar[str]
    higher_is_better: ClassVar[bool] = False
    takes: ClassVar[type] = Filmed
    reference: ClassVar[str] = "the same figure of the video before the edit"

    def __call__(self, sample: Filmed) -> list[Score]:
        """One score; its interval is of blocks of a second."""
        values = sample.series.get(self.key)
        if values is None or bool(values.isnan().all()):
            raise UsageError(f"{self.name}: expected frames that follow each other, got none")
        found, n, blocks = over_blocks(values, sample.blocks)
        details = {"blocks": blocks, "median": float(values.nanmedian())}
        network = sample.networks.get(self.key, "")
        return [self.score(found, n=n, network=network, details=details)]


class PersonKept(_Mean):
    """Distance of descriptors between a frame and the next; a swap or a melting face shows here."""

    key: ClassVar[str] = "person"
    name: ClassVar[str] = "identity distance, neighbours"
    compares: ClassVar[str] = "descriptors of the face in a frame and the next"


class PictureKept(_Mean):
    """Perceptual distance between the aligned face in a frame and in the next."""

    key: ClassVar[str] = "picture"
    name: ClassVar[str] = "perceptual distance, neighbours"
    compares: ClassVar[str] = "feature maps of the aligned face in a frame and the next"


class Jitter(_Mean):
    """Second difference of the face's points in time: even motion has none, trembling has."""

    key: ClassVar[str] = "jitter"
    name: ClassVar[str] = "jitter of points, % of a side"
    compares: ClassVar[str] = "five points of the face in three frames"


class FlickerInside(_Mean):
    """How much what the edit adds to the aligned face changes from frame to frame, in levels."""

    key: ClassVar[str] = "flicker"
    name: ClassVar[str] = "flicker in the face, levels"
    compares: ClassVar[str] = "what the edit adds to a frame's aligned face and the next's"
    reference: ClassVar[str] = "the video before the edit"


class FlickerOutside(_Mean):
    """The same outside the face's square, where nothing is edited: what coding anew adds."""

    key: ClassVar[str] = "outside"
    name: ClassVar[str] = "flicker outside, levels"
    compares: ClassVar[str] = "what is added to a frame outside the face's square, and the next's"
    reference: ClassVar[str] = "the video before the edit"


class SamePersonAfter(_Mean):
    """Distance of descriptors in a frame before and after the edit."""

    key: ClassVar[str] = "kept"
    name: ClassVar[str] = "identity distance, by the edit"
    compares: ClassVar[str] = "descriptors of the face before and after the edit"
    reference: ClassVar[str] = "the same frame before the edit"


SCORES: tuple[type[_Mean], ...] = (
    PersonKept,
    PictureKept,
    Jitter,
    SamePersonAfter,
    FlickerInside,
    FlickerOutside,
)


def scores(sample: Filmed) -> list[Score]:
    """All scores that a video's series give, and how strong the edit is over time.

    Without a frame that shows the face there is no strength to score, and none is given.
    """
    found = [s for kind in SCORES if kind.key in sample.series for s in kind()(sample)]
    shown = [name for name, values in sample.strength.items() if not values.isnan().all()]
    return found + [_strength(sample, name) for name in shown]


def over_blocks(values: Tensor, blocks: Tensor) -> tuple[tuple[float, float, float], int, int]:
    """Mean of values (F,) that are not nan with its interval, their number, and that of blocks."""
    known = ~values.isnan()
    count = int(blocks.max()) + 1
    sums = totals(values[known], blocks[known], count)
    numbers = totals(torch.ones(int(known.sum())), blocks[known], count)
    return estimate(sums, numbers), int(known.sum()), int((numbers > 0).sum())


def _strength(sample: Filmed, name: str) -> Score:
    values = sample.strength[name]
    found, n, blocks = over_blocks(values, sample.blocks)
    known = values[~values.isnan()]
    steps = values.diff().abs()
    return Score(
        f"shown: {name}",
        *found,
        n=n,
        reference="the video before the edit",
        network=sample.networks.get("strength", ""),
        higher_is_better=True,
        details={
            "blocks": blocks,
            "deviation over time": float(known.std()) if n > 1 else math.nan,
            "step to the next frame": float(steps[~steps.isnan()].mean()) if n > 1 else math.nan,
        },
    )


# --- chart ---------------------------------------------------------------------------------------


def chart(found: Mapping[str, Filmed], *, title: str, subtitle: str) -> Image.Image:
    """Figures over time, a panel each: the original and the edited video by colour."""
    names = {kind.key: kind.name for kind in SCORES}
    panels: list[tuple[str, dict[str, Tensor]]] = []
    for key, name in names.items():
        panels.append((name, {m: f.series[key] for m, f in found.items() if key in f.series}))
    for name in next(iter(found.values())).strength:
        panels.append((f"shown: {name}", {m: f.strength[name] for m, f in found.items()}))
    font, bold = ImageFont.load_default(_FONT), ImageFont.load_default(1.4 * _FONT)
    tall = _HIGH + 3 * _FONT
    size = (_WIDE + 2 * _MARGIN, 2 * _MARGIN + 6 * _FONT + tall * len(panels))
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN), title, INK, bold)
    draw.text((_MARGIN, _MARGIN + 2 * _FONT), subtitle, FAINT, font)
    for number, method in enumerate(found):
        x = _MARGIN + 160 * number
        y = _MARGIN + 3.6 * _FONT
        draw.rectangle((x, y, x + _FONT, y + _FONT), fill=COLORS[number])
        draw.text((x + 1.4 * _FONT, y), method, INK, font)
    for number, (name, lines) in enumerate(panels):
        _panel(draw, name, lines, list(found), _MARGIN + 6 * _FONT + tall * number)
    return picture


def _panel(
    draw: ImageDraw.ImageDraw,
    name: str,
    lines: Mapping[str, Tensor],
    methods: Sequence[str],
    top: float,
) -> None:
    """One figure over time, from 0 to its largest; lines break where there is none."""
    font = ImageFont.load_default(0.85 * _FONT)
    every = torch.cat([line[~line.isnan()] for line in lines.values()] or [torch.zeros(0)])
    most = max(float(every.max()) if len(every) else 0.0, 1e-9)
    draw.text((_MARGIN, top), f"{name}, 0 to {most:.3g}", INK, font)
    upper = top + 1.5 * _FONT
    draw.rectangle((_MARGIN, upper, _MARGIN + _WIDE, upper + _HIGH), outline=RULE, width=2)
    for method, line in lines.items():
        color, last = COLORS[methods.index(method) % len(COLORS)], None
        for frame, value in enumerate(line.tolist()):
            x = _MARGIN + _WIDE * frame / max(len(line) - 1, 1)
            here = None if math.isnan(value) else (x, upper + _HIGH * (1 - max(value, 0) / most))
            if here and last:
                draw.line((*last, *here), fill=color, width=3)
            last = here
