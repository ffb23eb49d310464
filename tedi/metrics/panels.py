"""Pictures of scores that share no axis, and of curves: a panel each, methods by colour."""

import math
from collections.abc import Callable, Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tedi.metrics.report import COLORS, FAINT, INK, PAPER, RULE, Scores, interval, rows, shown
from tedi.metrics.score import Score

FONT, ROW, GAP, MARGIN = 20, 34, 40, 40  # pixels: letters, one bar, between panels, around all
WIDE, SIDE, ACROSS = 560, 300, 3  # of a panel of bars, of one of a curve, panels in a row

Curves = Mapping[str, Mapping[str, tuple[Tensor, Tensor]]]
"""Method -> attribute -> recall and precision (K,)."""


def bars(scores: Scores, *, title: str, subtitle: str) -> Image.Image:
    """A panel for each whole score, its axis from 0 to its own largest, with 95 % intervals.

    Args:
        scores: by method; parts of scores are left to the table.
        title: what was measured.
        subtitle: with what, on how many.
    """
    found = [(name, each) for name, each in rows(scores).items() if ": " not in name]
    size = (WIDE, 2 * FONT + ROW * len(scores))
    panels = [(_better(name, each), _bars_of(each, list(scores))) for name, each in found]
    return _page(panels, size, list(scores), title, subtitle)


def curves(found: Curves, chance: Mapping[str, float], *, title: str, subtitle: str) -> Image.Image:
    """Precision over recall, a panel for each attribute; a grey line marks chance.

    Args:
        found: the curves.
        chance: attribute -> share of photos that show it.
        title: what was measured.
        subtitle: with what, on how many.
    """
    panels = []
    for name, share in chance.items():
        each = {method: by[name] for method, by in found.items() if name in by}
        panels.append((f"{name}: precision over recall", _curves_of(each, list(found), share)))
    return _page(panels, (WIDE, SIDE + 3 * FONT), list(found), title, subtitle)


def _better(name: str, found: Mapping[str, Score]) -> str:
    """The score's name, and which way is good."""
    more = next(iter(found.values())).higher_is_better
    return f"{name}: {'more' if more else 'less'} is better"


Paint = Callable[[ImageDraw.ImageDraw, int, int], None]
"""Paints a panel into a picture, its corner at (x, y)."""


def _page(
    panels: Sequence[tuple[str, Paint]],
    size: tuple[int, int],
    methods: Sequence[str],
    title: str,
    subtitle: str,
) -> Image.Image:
    font, bold = ImageFont.load_default(FONT), ImageFont.load_default(1.4 * FONT)
    across = max(1, min(ACROSS, len(panels)))
    down = math.ceil(len(panels) / across)
    wide, high = size[0] + GAP, size[1] + GAP
    top = MARGIN + 7 * FONT
    widest = max(font.getlength(subtitle), bold.getlength(title))
    width = max(across * wide - GAP, math.ceil(widest))
    picture = Image.new("RGB", (width + 2 * MARGIN, top + down * high + MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, INK, bold)
    draw.text((MARGIN, MARGIN + 2 * FONT), subtitle, FAINT, font)
    x = float(MARGIN)
    for number, method in enumerate(methods):
        y = MARGIN + 4 * FONT
        draw.rectangle((x, y, x + FONT, y + FONT), fill=_color(number))
        draw.text((x + 1.4 * FONT, y), method, INK, font)
        x += 3 * FONT + font.getlength(method)
    for number, (name, paint) in enumerate(panels):
        left, upper = MARGIN + wide * (number % across), top + high * (number // across)
        draw.text((left, upper), name, INK, font)
        paint(draw, left, upper + 2 * FONT)
    return picture


def _color(number: int) -> str:
    return COLORS[number % len(COLORS)]


def _bars_of(found: Mapping[str, Score], methods: Sequence[str]) -> Paint:
    """Bars of one score; the numbers stand behind them."""
    ends = [e for s in found.values() for e in (s.value, s.high) if math.isfinite(e)]
    most = max([*ends, 1e-12])
    length = WIDE * 0.5

    def paint(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        font = ImageFont.load_default(0.9 * FONT)
        for number, method in enumerate(methods):
            if method not in found:
                continue
            score, upper = found[method], y + ROW * number
            middle, end = upper + ROW / 2, x + length * max(score.value, 0) / most
            draw.rectangle((x, upper + 4, max(end, x), upper + ROW - 4), fill=_color(number))
            if math.isfinite(score.low):
                low, high = (x + length * max(e, 0) / most for e in (score.low, score.high))
                draw.line((low, middle, high, middle), fill=INK, width=3)
            told = f"{shown(score.value, rate=score.rate)}  {interval(score)}"
            draw.text((x + length + 10, middle), told, INK, font, anchor="lm")

    return paint


def _curves_of(
    found: Mapping[str, tuple[Tensor, Tensor]], methods: Sequence[str], chance: float
) -> Paint:
    """Steps of precision (up) over recall (right), both from 0 to 1."""

    def paint(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        font = ImageFont.load_default(0.8 * FONT)
        wide = WIDE - 3 * FONT
        draw.rectangle((x, y, x + wide, y + SIDE), outline=RULE, width=2)
        for text, place in (("1", y), ("0", y + SIDE)):
            draw.text((x + wide + 6, place), text, FAINT, font, anchor="lm")
        level = y + SIDE * (1 - chance)
        draw.line((x, level, x + wide, level), fill=RULE, width=3)
        draw.text((x + wide + 6, level), "chance", FAINT, font, anchor="lm")
        for number, method in enumerate(methods):
            if method not in found:
                continue
            path, last = [], 0.0
            recalls, precisions = found[method]
            for recall, precision in zip(recalls.tolist(), precisions.tolist(), strict=True):
                path += [(x + wide * r, y + SIDE * (1 - precision)) for r in (last, recall)]
                last = recall
            draw.line(path, fill=_color(number), width=3)

    return paint
