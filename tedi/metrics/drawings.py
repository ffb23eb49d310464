"""Whether pictures follow the drawings that they are made from: their lines, and their parts.

A picture is drawn once more as the drawing was, by the same hand or parser, and the two drawings
are compared. Faces that are aligned lie alike, so beside it stands what random faces get, of the
same seeds without a drawing; what the mean face gets, which is nearer to all than a random one, and
so what an encoder gets that looks at nothing; and what the face gets that the drawing is of.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from tedi.attributes import GROUPS, SPANS
from tedi.errors import TediError, UsageError
from tedi.grammar import ATTRIBUTES, Caption, captions, compose
from tedi.grammar.dice import Dice
from tedi.grammar.lexicon import Says, Value
from tedi.metrics.accuracy import seen
from tedi.metrics.lines import chamfer
from tedi.metrics.score import Metric, Score, estimate, resamplings
from tedi.modalities import sketch
from tedi.modalities.labels import CLASSES, LARGE, one_hot

RANDOM, MEAN = "a random face", "the mean face"
ANOTHER, ITSELF = "the source by another hand", "the source, parsed"
NAMED = (2, 3)  # attributes that a caption of a face names

Parse = Callable[[Tensor], Tensor]
"""Pictures (N, 3, H, W) -> label maps (N, H, W)."""


# --- drawing and comparing -----------------------------------------------------------------------


class Drawer(Protocol):
    """Makes drawings of faces, and compares others with them; all of one picture."""

    def draw(self, image: Tensor, hand: int, mask: Tensor | None = None) -> Tensor:
        """The drawing (1, D, H, W) of a face (1, 3, H, W); mask (1, 19, H, W) if it is known."""

    def compare(self, drawing: Tensor, image: Tensor, hand: int) -> Tensor:
        """How a picture follows the drawing."""

    def reference(self, drawing: Tensor, image: Tensor, hand: int) -> Tensor:
        """The same for the face that the drawing was made of."""


@dataclass(frozen=True)
class Lines:
    """Sketches in one style; compared by the distance of lines.

    Attributes:
        style: a name of `tedi.modalities.sketch.SKETCHES`.
        parse: the parts of faces, which hands follow.
    """

    style: str
    parse: Parse

    def draw(self, image: Tensor, hand: int, mask: Tensor | None = None) -> Tensor:
        """A sketch (1, 1, H, W); parts are the parser's, as they will be for what is compared.

        Raises:
            TediError: it has no lines.
        """
        drawn = self._sketch(image, hand)
        sketch.lines(drawn)
        return drawn

    def compare(self, drawing: Tensor, image: Tensor, hand: int) -> Tensor:
        """Chamfer distance (), in % of the side; nan where the picture has no lines."""
        try:
            return chamfer(drawing, self._sketch(image, hand))[0]
        except TediError:
            return torch.tensor(math.nan)

    def reference(self, drawing: Tensor, image: Tensor, hand: int) -> Tensor:
        """The distance () of what another hand draws of the same face."""
        return self.compare(drawing, image, hand + 1)

    def _sketch(self, image: Tensor, hand: int) -> Tensor:
        return sketch.draw(image, self.style, hand, self.parse(image))


@dataclass(frozen=True)
class Parts:
    """Label maps; compared by counts of classes.

    Attributes:
        parse: the parts of faces.
    """

    parse: Parse

    def draw(self, image: Tensor, hand: int, mask: Tensor | None = None) -> Tensor:
        """Masks (1, 19, H, W): those that are known, else the parser's."""
        return one_hot(self.parse(image)) if mask is None else mask

    def compare(self, drawing: Tensor, image: Tensor, hand: int) -> Tensor:
        """Counts (19, 19), of the drawing by row."""
        return confusion(drawing.argmax(dim=1), self.parse(image))

    def reference(self, drawing: Tensor, image: Tensor, hand: int) -> Tensor:
        """Counts (19, 19) of the face itself, parsed."""
        return self.compare(drawing, image, hand)


def confusion(truth: Tensor, found: Tensor) -> Tensor:
    """Counts (19, 19), truth by row, of label maps of one shape."""
    n = len(CLASSES)
    pairs = truth.long() * n + found.long().to(truth.device)
    return torch.bincount(pairs.flatten(), minlength=n * n).view(n, n).cpu()


def iou(tables: Tensor) -> Tensor:
    """Intersection over union (…, V) of counts (…, V, V); nan for a class that nobody has."""
    right = tables.diagonal(dim1=-2, dim2=-1).double()
    return right / (tables.sum(dim=-2) + tables.sum(dim=-1) - right)


# --- texts ---------------------------------------------------------------------------------------


def caption_of(log_p: Tensor, seed: int) -> Caption:
    """A held-out wording of two or three attributes that a judge sees in a face.

    Args:
        log_p: (V,) log-probabilities; the most likely values are told, but no background.
        seed: of the choice; telling attributes are chosen more often, as in captions.
    """
    (shown,) = seen(log_p[None])
    del shown["background"]
    rng = np.random.default_rng([6, seed])
    face = captions.read_face(shown, Dice(rng))
    weights = {name: captions.weigh(face, name) for name in captions.tell(face, face)}
    names = [name for name, weight in weights.items() if weight > 0]
    share = np.array([weights[name] for name in names])
    count = min(int(rng.choice(NAMED)), len(names))
    chosen = rng.choice(names, count, replace=False, p=share / share.sum())
    return compose(shown, rng, split="heldout", attributes=[str(name) for name in chosen])


def says_of(agrees: Tensor) -> Says:
    """What a text says, of how values (V,) agree with it: those at least half as fit as the best.

    >>> says_of(torch.ones(sum(map(len, GROUPS.values()))))
    {}
    """
    says: dict[str, frozenset[Value]] = {}
    words = []
    for group, span in SPANS.items():
        fits = (agrees[span] >= agrees[span].max() / 2).tolist()
        values = [value for value, fit in zip(GROUPS[group], fits, strict=True) if fit]
        if all(fits):
            continue
        if group in ATTRIBUTES:
            says[group] = frozenset(values)
        elif values == [True]:
            words.append(group.removeprefix("background "))
    return says | ({"background": frozenset(words)} if words else {})


# --- what metrics are given ----------------------------------------------------------------------


@dataclass(frozen=True)
class Sketched:
    """Pictures of T sketches, S seeds each, by the distance of their lines in %.

    Attributes:
        apart: (T, S), from the sketch; nan where a picture has no lines.
        random: (T, S), of unconditional pictures of the same seeds.
        mean: (T,), of the picture of w̄.
        other: (T,), of another hand's sketch of the same face.
        told: (T, S), of pictures of the sketch and a text; None without texts.
        maker: what drew the sketches.
    """

    apart: Tensor
    random: Tensor
    mean: Tensor
    other: Tensor
    told: Tensor | None = None
    maker: str = ""


@dataclass(frozen=True)
class Mapped:
    """Pictures of T label maps, by counts of classes that are theirs and the map's.

    Attributes:
        tables: (T, 19, 19), the map's by row, of all pictures of a map.
        random: the same of unconditional pictures of the same seeds.
        mean: (T, 19, 19), of the picture of w̄.
        itself: (T, 19, 19), of the face that the map was made of.
        told: as `tables`, of pictures of the map and a text; None without texts.
        pictures: how many there are of a map.
        parser: what parsed them.
    """

    tables: Tensor
    random: Tensor
    mean: Tensor
    itself: Tensor
    told: Tensor | None = None
    pictures: int = 1
    parser: str = ""


# --- lines ---------------------------------------------------------------------------------------


class _OfLines(Metric):
    compares: ClassVar[str] = "lines of sketches, with those of pictures that the same hand draws"
    reference: ClassVar[str] = "the sketches"
    higher_is_better: ClassVar[bool] = False
    takes: ClassVar[type] = Sketched

    def over(
        self, sample: Sketched, part: str, values: Tensor, others: Tensor | None = None
    ) -> Score:
        """Mean of values (T, S), or their sum over that of others, where both are known."""
        others = torch.ones_like(values) if others is None else others
        known = values.isfinite() & others.isfinite()
        if not known.any():
            raise UsageError(f"{self.name}: no picture has lines")
        sums, counts = (torch.where(known, x, 0.0).sum(dim=1) for x in (values, others))
        details: dict[str, Any] = {"drawings": int(known.any(dim=1).sum())}
        if missing := int((~known).sum()):
            details["note"] = f"{missing} of {known.numel()} without lines, left out"
        found = estimate(sums, counts)
        n = int(known.sum())
        return self.score(found, n=n, network=sample.maker, part=part, details=details)


class LineDistance(_OfLines):
    """Chamfer distance of the lines of a sketch and of its pictures, drawn by the same hand."""

    name: ClassVar[str] = "line distance, %"

    def __call__(self, sample: Sketched) -> list[Score]:
        """That of the pictures, of random faces, the mean one, and the source by another hand."""
        parts = {"": sample.apart, RANDOM: sample.random}
        parts |= {MEAN: sample.mean[:, None], ANOTHER: sample.other[:, None]}
        return [self.over(sample, part, values) for part, values in parts.items()]


class LineRatio(_OfLines):
    """Their distance over that of random faces: 1 follows nothing, 0 every line."""

    name: ClassVar[str] = "line distance over a random face's"

    def __call__(self, sample: Sketched) -> list[Score]:
        """That of the pictures, of the mean face, and of the source by another hand."""
        once = {MEAN: sample.mean, ANOTHER: sample.other}
        parts = {part: each[:, None].expand_as(sample.random) for part, each in once.items()}
        parts = {"": sample.apart, **parts}
        return [self.over(sample, part, values, sample.random) for part, values in parts.items()]


class LinesLost(_OfLines):
    """How much farther lines lie where a text is given, too, in % of their distance without."""

    name: ClassVar[str] = "line distance added by text, %"

    def __call__(self, sample: Sketched) -> list[Score]:
        """One score; below 0 where texts help."""
        if sample.told is None:
            raise UsageError("texts: expected pictures of sketches with texts; pass --texts")
        found = self.over(sample, "", sample.told, sample.apart)
        value, low, high = (100 * (end - 1) for end in (found.value, found.low, found.high))
        told = (value, low, high)
        return [self.score(told, n=found.n, network=sample.maker, details=found.details)]


# --- parts ---------------------------------------------------------------------------------------


def mean_iou(tables: Tensor, names: tuple[str, ...]) -> Tensor:
    """Mean (…) over classes of those names that are there or were found, of counts (…, 19, 19)."""
    return iou(tables)[..., [CLASSES.index(name) for name in names]].nanmean(dim=-1)


def pooled(tables: Tensor) -> Tensor:
    """Sums (rounds, 19, 19) of tables (T, 19, 19), which are resampled."""
    drawn = resamplings(len(tables))
    times = torch.zeros(len(drawn), len(tables), dtype=torch.double)
    times.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.double))
    return (times @ tables.flatten(1).double()).unflatten(1, tables.shape[1:])


def ends(values: Tensor, count: int) -> tuple[float, float]:
    """The 95 % percentile interval of resampled values; nan for a single cluster."""
    if count < 2:
        return math.nan, math.nan
    low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return low, high


class _OfParts(Metric):
    compares: ClassVar[str] = "label maps, with those of pictures, parsed"
    reference: ClassVar[str] = "the label maps"
    higher_is_better: ClassVar[bool] = True
    rate: ClassVar[bool] = True
    takes: ClassVar[type] = Mapped
    names: ClassVar[tuple[str, ...]]

    def __call__(self, sample: Mapped) -> list[Score]:
        """That of the pictures, of random faces, of the mean one, and of the source, parsed."""
        parts = {"": sample.tables, RANDOM: sample.random}
        parts |= {MEAN: sample.mean, ITSELF: sample.itself}
        return [self._over(sample, part, tables) for part, tables in parts.items()]

    def _over(self, sample: Mapped, part: str, tables: Tensor) -> Score:
        whole, T = tables.sum(dim=0), len(tables)
        found = (float(mean_iou(whole, self.names)), *ends(mean_iou(pooled(tables), self.names), T))
        n = T * (1 if part in (MEAN, ITSELF) else sample.pictures)
        details = {"drawings": T, "classes": by_class(whole, self.names)}
        return self.score(found, n=n, network=sample.parser, part=part, details=details)


def by_class(table: Tensor, names: tuple[str, ...]) -> Mapping[str, float]:
    """Intersection over union by name, of classes that are there or were found."""
    found = dict(zip(CLASSES, iou(table).tolist(), strict=True))
    return {name: round(found[name], 6) for name in names if not math.isnan(found[name])}


class LargeParts(_OfParts):
    """Mean intersection over union of the classes that nearly every portrait shows."""

    name: ClassVar[str] = f"mIoU of {len(LARGE)} classes"
    names: ClassVar[tuple[str, ...]] = LARGE


class AllParts(_OfParts):
    """Mean intersection over union of all classes that are there."""

    name: ClassVar[str] = f"mIoU of all {len(CLASSES)} classes"
    names: ClassVar[tuple[str, ...]] = CLASSES


class PartsLost(Metric):
    """How much of the mean over the large classes is lost where a text is given, too, in %."""

    name: ClassVar[str] = f"mIoU of {len(LARGE)} classes lost to text, %"
    compares: ClassVar[str] = "pictures of label maps with texts, with those of the maps alone"
    reference: ClassVar[str] = "pictures of the same maps and seeds without a text"
    higher_is_better: ClassVar[bool] = False
    takes: ClassVar[type] = Mapped

    def __call__(self, sample: Mapped) -> list[Score]:
        """One score; below 0 where texts help. Maps are resampled with both of their tables."""
        if sample.told is None:
            raise UsageError("texts: expected pictures of label maps with texts; pass --texts")

        def lost(told: Tensor, alone: Tensor) -> Tensor:
            return 100 * (1 - mean_iou(told, LARGE) / mean_iou(alone, LARGE))

        T = len(sample.tables)
        value = float(lost(sample.told.sum(dim=0), sample.tables.sum(dim=0)))
        found = (value, *ends(lost(pooled(sample.told), pooled(sample.tables)), T))
        n = T * sample.pictures
        return [self.score(found, n=n, network=sample.parser, details={"drawings": T})]
