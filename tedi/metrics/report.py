"""Scores as a table of text and as a picture of bars."""

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from tedi.metrics.score import Score

Scores = Mapping[str, Sequence[Score]]
"""Method -> its scores."""

COLORS = ("#2a6f97", "#e07a1f", "#5b8c5a", "#9b5094", "#b8a123", "#7a7a7a")
INK, FAINT, RULE, PAPER, MARK = "#1d1d1f", "#6b6b70", "#dddde2", "#ffffff", "#c1121f"
FONT, ROW, GAP = 26, 30, 22  # pixels: letters, one bar, between groups of bars
BARS, MARGIN, TICKS = 900, 48, 5


def rows(scores: Scores) -> dict[str, dict[str, Score]]:
    """Score name -> method -> score, in the order of the scores."""
    found: dict[str, dict[str, Score]] = {}
    for method, listed in scores.items():
        for score in listed:
            found.setdefault(score.name, {})[method] = score
    return found


def shown(value: float, *, rate: bool) -> str:
    """A number as people read it.

    >>> shown(0.4567, rate=True), shown(12.3456, rate=False), shown(float("nan"), rate=False)
    ('45.7 %', '12.35', '-')
    """
    if math.isnan(value):
        return "-"
    return f"{100 * value:.1f} %" if rate else f"{value:.4g}"


def interval(score: Score) -> str:
    """The ends of an interval; empty where there is none."""
    if math.isnan(score.low):
        return ""
    low, high = (shown(end, rate=score.rate).removesuffix(" %") for end in (score.low, score.high))
    return f"[{low}, {high}]"


def table(scores: Scores) -> list[str]:
    """Lines of a table: a row a score, two columns a method; parts are indented."""
    methods = list(scores)
    head = ["", "n", *(text for method in methods for text in (method, "95 %")), "judge itself"]
    lines = [head]
    for name, found in rows(scores).items():
        first = next(iter(found.values()))
        own = first.details.get("judge")
        cells = [_label(name), str(first.n)]
        for method in methods:
            score = found.get(method)
            cells += [shown(score.value, rate=score.rate), interval(score)] if score else ["", ""]
        lines.append([*cells, shown(own, rate=True) if own is not None else ""])
    return _columns(lines)


def by_strength(scores: Mapping[float, Sequence[Score]], names: Sequence[str]) -> list[str]:
    """Lines of a table: a row a strength, a column for each of these scores, with its interval."""
    lines = [["strength", *names]]
    for strength, listed in scores.items():
        found = {score.name: score for score in listed}
        cells = [
            f"{shown(found[name].value, rate=found[name].rate)} {interval(found[name])}".strip()
            if name in found
            else "-"
            for name in names
        ]
        lines.append([f"{strength:g}", *cells])
    return _columns(lines)


def _columns(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [_aligned(line, widths) for line in lines]


def _label(name: str) -> str:
    _, part, rest = name.partition(": ")
    return f"  {rest.replace('_', ' ')}" if part else name


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:{'<' if i == 0 else '>'}{width}}"
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def notes(scores: Scores, left_out: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What should be known with the table: floors, warnings, and what could not be measured."""
    lines = []
    for method, listed in scores.items():
        for score in listed:
            lines += [f"{method}: {score.name}: {text}" for text in _remarks(score)]
    for method, reasons in left_out.items():
        lines += [f"{method}: {name} left out: {why}" for name, why in reasons.items()]
    return lines


def _remarks(score: Score) -> list[str]:
    told, remarks = score.details, []
    if "floor" in told:
        floor, value, n = (told[key] for key in ("floor", "value at floor's n", "floor's n"))
        remarks.append(f"{value:.4g} at {n} pictures, where unconditional ones get {floor:.4g}")
    if "chance" in told:
        remarks.append(f"among {told['among']}, by chance {shown(told['chance'], rate=True)}")
    return remarks + [told[key] for key in ("note", "warning") if key in told]


def chart(scores: Scores, *, title: str, subtitle: str) -> Image.Image:
    """Bars from 0 to 100 % with their intervals: every score that is a share, by method.

    A short upright line marks how often the judge itself is right.

    Args:
        scores: by method; what is no share is left to the table.
        title: what was measured.
        subtitle: with what, on how many.
    """
    found = {name: each for name, each in rows(scores).items() if next(iter(each.values())).rate}
    font, bold = ImageFont.load_default(FONT), ImageFont.load_default(1.35 * FONT)
    left = MARGIN + max((_width(_label(name), font) for name in found), default=0) + GAP
    right = MARGIN + _width("100.0 %  [100.0, 100.0]  n 00000", font)
    group = ROW * len(scores) + GAP
    top = MARGIN + 4 * FONT + (2 * FONT if len(scores) > 1 else 0)
    bottom = top + group * len(found)
    picture = Image.new("RGB", (left + BARS + GAP + right, bottom + 4 * FONT + MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), title, INK, bold)
    draw.text((MARGIN, MARGIN + 1.9 * FONT), subtitle, FAINT, font)
    if len(scores) > 1:
        _legend(draw, list(scores), MARGIN, top - 2.4 * FONT, font)
    _axis(draw, left, top, bottom, font)
    if any("judge" in score.details for each in found.values() for score in each.values()):
        _key(draw, left, bottom + 2.7 * FONT, font)
    for number, (name, each) in enumerate(found.items()):
        middle = top + group * number + group / 2
        draw.text((left - GAP, middle), _label(name).strip(), _ink(name), font, anchor="rm")
        for place, (method, color) in enumerate(zip(scores, _colors(scores), strict=True)):
            if method in each:
                y = middle - ROW * len(scores) / 2 + ROW * place
                _bar(draw, each[method], left, y, color, font, faint=": " in name)
    return picture


def _ink(name: str) -> str:
    return FAINT if ": " in name else INK


def _colors(scores: Scores) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(len(scores))]


def _width(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return round(font.getlength(text))


def _legend(
    draw: ImageDraw.ImageDraw,
    methods: Sequence[str],
    x: float,
    y: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    for method, color in zip(methods, _colors({m: [] for m in methods}), strict=True):
        draw.rectangle((x, y, x + FONT, y + FONT), fill=color)
        draw.text((x + 1.4 * FONT, y + FONT / 2), method, INK, font, anchor="lm")
        x += 1.4 * FONT + _width(method, font) + 1.5 * FONT


def _key(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    draw.line((x, y - FONT / 2, x, y + FONT / 2), fill=MARK, width=5)
    draw.text((x + GAP, y), "the judge itself, on held-out faces", FAINT, font, anchor="lm")


def _axis(
    draw: ImageDraw.ImageDraw,
    left: int,
    top: float,
    bottom: float,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    for tick in range(TICKS + 1):
        x = left + BARS * tick / TICKS
        draw.line((x, top, x, bottom), fill=RULE, width=2)
        draw.text((x, bottom + FONT / 2), f"{100 * tick // TICKS} %", FAINT, font, anchor="ma")


def _bar(
    draw: ImageDraw.ImageDraw,
    score: Score,
    left: int,
    y: float,
    color: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    *,
    faint: bool,
) -> None:
    middle = y + ROW / 2
    draw.rectangle(
        (left, y + 4, left + BARS * score.value, y + ROW - 4), fill=_pale(color) if faint else color
    )
    if not math.isnan(score.low):
        low, high = left + BARS * score.low, left + BARS * score.high
        draw.line((low, middle, high, middle), fill=INK, width=3)
        for x in (low, high):
            draw.line((x, middle - 7, x, middle + 7), fill=INK, width=3)
    if "judge" in score.details:
        x = left + BARS * score.details["judge"]
        draw.line((x, y + 1, x, y + ROW - 1), fill=MARK, width=5)
    told = f"{shown(score.value, rate=True)}  {interval(score)}  n {score.n}"
    draw.text((left + BARS + GAP, middle), told, INK, font, anchor="lm")


def _pale(color: str) -> str:
    """The colour half way to white."""
    levels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{(level + 255) // 2:02x}" for level in levels)
