"""Layer tables for people: lines of text, and a heat map."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tedi.checkpoints.layers import LayerTable
from tedi.semantics.layers import SHARE, row, slots_for

PAPER, INK, FAINT = "#ffffff", "#1d1d1f", "#6b6b70"
RISE, FALL = (20, 84, 130), (190, 90, 20)  # of effects above and below 0, at full strength
FULL = 0.4  # effect that gets the full colour
CELL, ROW, FONT, MARGIN = 58, 42, 22, 40  # pixels
TITLES = {
    "alone": "This slot swapped alone: how far the attribute goes from face A to face B",
    "cumulative": "All slots from the first to this one swapped",
}


def lines(table: LayerTable, names: Sequence[str], *, measure: str = "alone") -> list[str]:
    """A row for each attribute, a column for each slot, in percent.

    The strongest slot of a row has a star; a dot stands where the 95 % interval holds 0. "Sum" is
    of all slots alone; "80 % in" is the fewest slots that carry that share of it.

    Args:
        table: what each slot carries.
        names: attributes.
        measure: "alone" or "cumulative".
    """
    alone = measure == "alone"
    rows = [["slot", *(f"{slot} " for slot in range(len(table.sizes)))]]
    rows.append(["px", *(f"{size} " for size in table.sizes)])
    for name in names:
        rows.append([name, *_percents(getattr(table, measure)[:, row(table, name)], star=alone)])
    ends = [f"sum  {100 * SHARE:.0f} % in", "", *(_summed(table, name) for name in names)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    width = sum(max(width, 4) for width in widths) + len(widths)
    return [
        f"{_aligned(cells, widths):{width}} {end}".rstrip() if alone else _aligned(cells, widths)
        for cells, end in zip(rows, ends, strict=True)
    ]


def _summed(table: LayerTable, name: str) -> str:
    total = 100 * table.alone[0, row(table, name)].sum().item()
    return f"{total:3.0f}  {spans(slots_for(table, [name]))}".rstrip()


def _percents(effects: Tensor, *, star: bool) -> list[str]:
    """Effects (3, L) with their ends as people read them; a star or a blank behind each."""
    best = int(effects[0].argmax())
    starred = best if star and effects[1, best] > 0 else -1
    marks = ["*" if slot == starred else " " for slot in range(effects.shape[1])]
    return [
        ("·" if low <= 0 <= high else f"{100 * value:.0f}") + mark
        for (value, low, high), mark in zip(effects.T.tolist(), marks, strict=True)
    ]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:{'<' if i == 0 else '>'}{max(width, 4)}}"
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return " ".join([first, *others]).rstrip()


def spans(slots: Sequence[int]) -> str:
    """Slot numbers with runs drawn together.

    >>> spans((1, 2, 3, 7))
    '1-3,7'
    """
    runs: list[list[int]] = []
    for slot in slots:
        if runs and runs[-1][-1] == slot - 1:
            runs[-1].append(slot)
        else:
            runs.append([slot])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def heat_map(table: LayerTable, names: Sequence[str], *, subtitle: str) -> Image.Image:
    """Both measures side by side, a row for each attribute; each row's strongest slot is framed.

    Args:
        table: what each slot carries.
        names: attributes.
        subtitle: how it was measured.
    """
    font, bold = ImageFont.load_default(FONT), ImageFont.load_default(1.35 * FONT)
    left = MARGIN + round(max(font.getlength(name) for name in names)) + FONT
    wide = CELL * len(table.sizes)
    top = MARGIN + 7 * FONT
    size = (left + 2 * wide + 2 * MARGIN, top + ROW * len(names) + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, MARGIN), "Which slots carry which attribute", INK, bold)
    draw.text((MARGIN, MARGIN + 1.9 * FONT), subtitle, FAINT, font)
    for text, up in (("slot", 1.7), ("px", 0.7)):
        draw.text((left - FONT / 2, top - up * FONT), text, FAINT, font, anchor="rm")
    for number, name in enumerate(names):
        middle = top + ROW * (number + 0.5)
        draw.text((left - FONT / 2, middle), name, INK, font, anchor="rm")
    for measure, x in (("alone", left), ("cumulative", left + wide + MARGIN)):
        draw.text((x, top - 3.4 * FONT), TITLES[measure], INK, font)
        _panel(draw, table, names, measure, (x, top))
    return picture


def _panel(
    draw: ImageDraw.ImageDraw,
    table: LayerTable,
    names: Sequence[str],
    measure: str,
    corner: tuple[int, int],
) -> None:
    """The cells of one measure, in percent, slots and their resolutions above."""
    font, small = ImageFont.load_default(0.85 * FONT), ImageFont.load_default(0.75 * FONT)
    left, top = corner
    for slot, size in enumerate(table.sizes):
        x = left + CELL * (slot + 0.5)
        draw.text((x, top - 1.7 * FONT), str(slot), INK, font, anchor="mm")
        draw.text((x, top - 0.7 * FONT), str(size), FAINT, small, anchor="mm")
    for number, name in enumerate(names):
        effects = getattr(table, measure)[0, row(table, name)]
        y = top + ROW * number
        for slot, value in enumerate(effects.tolist()):
            x = left + CELL * slot
            box = (x + 1, y + 1, x + CELL - 2, y + ROW - 2)
            fill, ink = _colors(value / (1 if measure == "cumulative" else FULL))
            draw.rectangle(box, fill=fill)
            draw.text((x + CELL / 2, y + ROW / 2), f"{100 * value:.0f}", ink, font, anchor="mm")
            if measure == "alone" and slot == int(effects.argmax()):
                draw.rectangle(box, outline=INK, width=3)


def _colors(strength: float) -> tuple[tuple[int, ...], str]:
    """Ground and ink of a cell: white at 0, dark at 1."""
    share = min(abs(strength), 1) ** 0.7
    ground = RISE if strength > 0 else FALL
    mixed = tuple(round(255 + (level - 255) * share) for level in ground)
    return mixed, PAPER if share > 0.6 else INK
