"""Faces from six drawings made by hand, as polylines: what the sketch encoder makes of a mouse.

python benchmarks/drawings.py --out benchmarks/drawings.jpg
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

import tedi
from tedi import images

SIZE = 512
SEEDS = (0, 1, 2)
TEXTS = ("a woman with red hair", "an old man with a beard", "with glasses")

Line = list[tuple[int, int]]

# The left half of a face seen from the front; the right half is its mirror image.
JAW: Line = [(120, 230), (124, 300), (140, 370), (175, 425), (225, 460), (256, 466)]
NOSE: Line = [(243, 255), (240, 295), (229, 317), (240, 328), (256, 332)]
EYE: list[Line] = [
    [(165, 246), (180, 234), (200, 231), (218, 239), (227, 250)],
    [(165, 246), (185, 255), (208, 256), (227, 250)],
    [(155, 214), (180, 202), (210, 203), (232, 213)],
]
LIPS: list[Line] = [
    [(205, 380), (235, 371), (256, 375)],
    [(205, 380), (230, 384), (256, 386)],
    [(205, 380), (228, 396), (256, 402)],
]
SMILE: list[Line] = [
    [(185, 365), (215, 385), (256, 392)],
    [(185, 365), (210, 372), (256, 376)],
    [(185, 365), (215, 408), (256, 418)],
]
LONG: list[Line] = [
    [(100, 430), (80, 330), (84, 220), (108, 120), (168, 60), (256, 40)],
    [(118, 250), (132, 190), (170, 140), (220, 110), (256, 102)],
    [(196, 450), (194, 505)],
]
SHORT: list[Line] = [
    [(112, 260), (104, 200), (120, 130), (170, 84), (256, 66)],
    [(124, 240), (132, 180), (180, 140), (256, 134)],
    [(110, 260), (100, 280), (108, 320), (124, 324)],
    [(180, 440), (176, 505)],
]
GLASSES: list[Line] = [
    [(150, 225), (238, 225), (236, 275), (156, 275), (150, 225)],
    [(238, 240), (256, 236)],
]
STRANDS: list[Line] = [
    [(150, 150), (180, 190)],
    [(180, 130), (200, 185)],
    [(215, 118), (225, 185)],
    [(245, 110), (248, 182)],
]
ASIDE: list[Line] = [
    [
        (150, 200),
        (140, 270),
        (150, 340),
        (190, 420),
        (240, 462),
        (300, 455),
        (360, 400),
        (392, 320),
    ],
    [(178, 240), (195, 230), (215, 232), (228, 244), (180, 246)],
    [(290, 238), (312, 226), (338, 230), (352, 244), (292, 246)],
    [(172, 212), (195, 200), (228, 208)],
    [(285, 204), (320, 192), (356, 206)],
    [(238, 250), (222, 310), (226, 326), (262, 330)],
    [(196, 372), (226, 366), (262, 368), (298, 366)],
    [(196, 372), (240, 382), (298, 366)],
    [(198, 374), (238, 398), (280, 388), (298, 366)],
    [(140, 210), (150, 120), (220, 60), (320, 56), (400, 110), (430, 220), (424, 330), (440, 450)],
    [(152, 190), (200, 140), (290, 124), (372, 170), (396, 260), (392, 330)],
    [(300, 456), (310, 505)],
    [(410, 430), (420, 505)],
]


def mirrored(lines: list[Line]) -> list[Line]:
    """Lines and their mirror images."""
    return [*lines, *([(SIZE - x, y) for x, y in line] for line in lines)]


def drawn(
    lines: list[Line], *, width: int = 5, ink: str = "black", paper: str = "white", pupil: int = 10
) -> Image.Image:
    """A drawing of lines; with pupils of a radius where eyes are in front view, 0 for none."""
    picture = Image.new("RGB", (SIZE, SIZE), paper)
    pen = ImageDraw.Draw(picture)
    for line in lines:
        pen.line(line, fill=ink, width=width, joint="curve")
    for x in (197, 315) if pupil else ():
        pen.ellipse((x - pupil, 243 - pupil, x + pupil, 243 + pupil), outline=ink, width=width)
    return picture


PAPER = "#e4decd"
DRAWINGS = {
    "front, long hair": drawn(mirrored([JAW, *EYE, NOSE, *LIPS, *LONG])),
    "smile, short hair": drawn(mirrored([JAW, *EYE, NOSE, *SMILE, *SHORT])),
    "glasses, thin pen": drawn(
        mirrored([JAW, *EYE, NOSE, *LIPS, *SHORT, *GLASSES]), width=2, pupil=9
    ),
    "turned aside": drawn(ASIDE, width=4, pupil=0),
    "eyes and mouth only": drawn(mirrored([*EYE, *SMILE])),
    "pencil on paper": drawn(
        mirrored([JAW, *EYE, NOSE, *LIPS, *LONG, *STRANDS]),
        width=3,
        ink="#5a585c",
        paper=PAPER,
        pupil=0,
    ).rotate(4, fillcolor=PAPER),
}


def main() -> None:
    """Write the contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    model = tedi.load()
    rows = []
    for drawing in DRAWINGS.values():
        content = model.content(sketch=drawing)
        faces = model.generate("", seeds=SEEDS, content=content, preview=True)
        faces += model.generate(TEXTS, seeds=[1], content=content, preview=True)
        rows.append([drawing, *(face.picture for face in faces)])
    columns = ["drawing", *(f"seed {seed}" for seed in SEEDS), *TEXTS]
    sheet = images.contact_sheet(rows, labels=list(DRAWINGS), column_labels=columns, cell=192)
    record = {
        "command": "benchmarks/drawings.py",
        "version": tedi.__version__,
        "weights": model.all_weights,
    }
    images.save(sheet, out, record, quality=85, exist="overwrite")


if __name__ == "__main__":
    main()
