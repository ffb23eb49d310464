"""Sketches of faces, drawings that people make, the distance of lines, and `tedi sketch`."""

import doctest
import importlib
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from tedi import images
from tedi.cli import run
from tedi.cli.sketch import STYLES
from tedi.errors import TediError, UsageError
from tedi.metrics.lines import chamfer, distances
from tedi.modalities import edges, freehand, portrait, sketch, strokes
from tedi.modalities.labels import CLASSES
from tedi.modalities.sketch import SKETCHES, draw, from_picture, lines, paper, read


def number(name: str) -> int:
    return CLASSES.index(name)


def a_face(side: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
    """A face of plain ovals (1, 3, side, side) with its labels (1, side, side)."""
    labels = Image.new("L", (256, 256), 0)
    pen = ImageDraw.Draw(labels)
    pen.rectangle((60, 215, 196, 256), fill=number("clothes"))
    pen.rectangle((105, 180, 151, 230), fill=number("neck"))
    pen.ellipse((50, 15, 206, 200), fill=number("hair"))
    pen.ellipse((70, 50, 186, 215), fill=number("skin"))
    for left, name in ((87, "right"), (141, "left")):
        pen.ellipse((left, 108, left + 28, 122), fill=number(f"{name} eye"))
        pen.ellipse((left - 2, 92, left + 30, 99), fill=number(f"{name} brow"))
    pen.polygon([(128, 115), (112, 155), (144, 155)], fill=number("nose"))
    pen.ellipse((104, 170, 152, 182), fill=number("upper lip"))
    pen.ellipse((104, 176, 152, 192), fill=number("lower lip"))
    labels = labels.resize((side, side), Image.Resampling.NEAREST)
    levels = np.full(len(CLASSES), 200, np.uint8)
    for name in ("hair", "left brow", "right brow", "left eye", "right eye"):
        levels[number(name)] = 60
    levels[[number("upper lip"), number("lower lip"), number("nose")]] = 140, 120, 170
    numbers = np.array(labels)
    image = images.to_image(levels[numbers][None, ..., None].repeat(3, axis=3))
    return image, torch.from_numpy(numbers)[None]


FACE, LABELS = a_face()


def a_square(size: int = 64, low: int = 20, high: int = 44) -> np.ndarray:
    """A black square on white, grey in [0, 1]."""
    grey = np.ones((size, size), np.float32)
    grey[low:high, low:high] = 0
    return grey


def as_picture(drawn: torch.Tensor) -> Image.Image:
    return Image.fromarray((drawn[0, 0] * 255).round().byte().numpy())


# --- styles --------------------------------------------------------------------------------------


def test_doctests():
    for module in (sketch, strokes):
        failed, tried = doctest.testmod(module)
        assert (failed, tried > 0) == (0, True)


def test_the_command_offers_the_styles_of_the_table():
    assert list(SKETCHES) == list(STYLES)


@pytest.mark.parametrize("style", SKETCHES)
@pytest.mark.parametrize("side", [128, 256])
def test_every_style_gives_lines_on_paper(style, side):
    image, labels = a_face(side)
    drawn = draw(image.repeat(2, 1, 1, 1), style, 3, labels.repeat(2, 1, 1))
    assert (drawn.shape, drawn.dtype) == ((2, 1, side, side), torch.float32)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    for one in drawn:
        assert one.median() > 0.9
        assert 0.005 < (one < 0.5).double().mean() < 0.3


@pytest.mark.parametrize("style", SKETCHES)
def test_a_sketch_depends_on_its_own_seed_alone(style):
    pair, labels = FACE.repeat(2, 1, 1, 1), LABELS.repeat(2, 1, 1)
    alone = draw(FACE, style, 5, LABELS)
    np.random.seed(1)
    assert torch.equal(draw(pair, style, 4, labels)[1:], alone)
    assert torch.equal(draw(pair, style, [5, 9], labels)[:1], alone)
    assert not torch.equal(draw(FACE, style, 6, LABELS), alone)


@pytest.mark.parametrize("style", ["pencil", "edges", "freehand"])
def test_styles_that_need_no_labels(style):
    assert 0.003 < (draw(FACE, style, 0) < 0.5).double().mean() < 0.3


def test_contours_lie_where_parts_meet():
    drawn = draw(FACE, "contour", 0, LABELS)
    here = torch.zeros_like(drawn)
    here[0, 0, 1:] += LABELS[0, 1:] != LABELS[0, :-1]
    here[0, 0, :, 1:] += LABELS[0, :, 1:] != LABELS[0, :, :-1]
    outline = drawn < 0.5
    outline[0, 0, 105:125, 80:180] = False  # pupils
    assert distances(here > 0)[outline].max() <= 2.5
    here[0, 0, 112:160, 108:148] = 0  # of a nose, only the lower part is drawn
    assert distances(drawn < 0.5)[here > 0].max() < 4


def test_a_freehand_drawing_is_near_the_contour_but_not_on_it():
    contour = draw(FACE, "contour", 0, LABELS)
    far = [chamfer(draw(FACE, "freehand", s, LABELS), contour).item() for s in range(12)]
    assert min(far) > 0.3
    assert max(far) < 8
    assert np.std(far) > 0.1


@pytest.mark.parametrize("width", [1, 2, 3])
def test_edges_are_as_wide_as_asked(width):
    thin = np.zeros((32, 32), np.float32)
    thin[:, 16] = 1
    assert sketch._thick(thin, width)[16].sum() == pytest.approx(width, abs=0.5)


def test_specks_of_a_map_are_not_drawn():
    grey, labels = FACE[0, 0].numpy() / 2 + 0.5, LABELS[0].numpy().copy()
    clean = len(portrait.face_strokes(labels, grey))
    labels[5:8, 5:9] = labels[240:, 250:] = number("hair")
    assert len(portrait.face_strokes(labels, grey)) == clean
    labels[5:45, 5:35] = number("hat")
    assert len(portrait.face_strokes(labels, grey)) == clean + 1


def test_pupils_are_drawn_and_shut_eyes_have_none():
    grey = FACE[0, 0].numpy() / 2 + 0.5
    parts = [s.part for s in portrait.face_strokes(LABELS[0].numpy(), grey)]
    assert parts.count("pupil") == 4
    shut = LABELS[0].numpy().copy()
    shut[:113][shut[:113] == number("left eye")] = number("skin")
    shut[116:][shut[116:] == number("left eye")] = number("skin")
    parts = [s.part for s in portrait.face_strokes(shut, grey)]
    assert parts.count("pupil") == 2


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: draw(FACE, "pencl", 0), "unknown sketch style 'pencl'; did you mean 'pencil'"),
        (lambda: draw(FACE[:, :1], "pencil", 0), r"image: expected \(N, 3, H, W\), got"),
        (lambda: draw(FACE, "pencil", [1, 2]), "seed: expected one or 1, got 2"),
        (lambda: draw(FACE, "contour", 0), "labels: contour draws the parts of a label map"),
        (lambda: draw(FACE, "contour", 0, LABELS[:, ::2]), r"expected \(1, 256, 256\), as"),
        (lambda: paper(torch.ones(2, 1, 8, 8), [0]), "seed: expected one or 2, got 1"),
        (lambda: lines(torch.ones(1, 3, 8, 8)), r"expected \(N, 1, H, W\), got \(1, 3, 8, 8\)"),
    ],
)
def test_wrong_calls_are_told(call, says):
    with pytest.raises(UsageError, match=says):
        call()


# --- edges and strokes ---------------------------------------------------------------------------


def test_the_edges_of_a_square_are_its_outline():
    found = edges.canny(a_square(), sigma=1, strong=0.9, weak=0.4)
    outline = np.zeros((64, 64), bool)
    outline[20:44, 20:44] = True
    outline[21:43, 21:43] = False
    far = distances(torch.from_numpy(outline)[None, None])[0, 0].numpy()
    assert far[found].max() <= 1.5
    assert 70 < found.sum() < 120  # one pixel wide: four sides of 24
    near = distances(torch.from_numpy(found)[None, None])[0, 0].numpy()
    assert near[outline].max() <= 2.5


def test_a_weak_edge_stays_where_it_goes_on_from_a_strong_one():
    grey = np.ones((64, 64), np.float32)
    grey[:32, 20:] = np.linspace(0.2, 0.8, 32)[:, None]  # ever weaker downwards
    apart = grey.copy()
    apart[40:60, 40:] = 0.8
    joined = edges.canny(grey, sigma=1, strong=0.995, weak=0.2)
    assert joined[4, 18:22].any()
    assert joined[27, 18:22].any()
    assert not edges.canny(apart, sigma=1, strong=0.995, weak=0.2)[45:55, 36:44].any()
    assert not edges.canny(grey, sigma=1, strong=0.995, weak=0.9)[27, 18:22].any()


def test_components_against_a_flood():
    mask = np.random.default_rng(0).random((30, 40)) < 0.3
    y, x, group = edges.components(mask)
    left, flood = set(zip(y.tolist(), x.tolist(), strict=True)), {}
    while left:
        front, root = [left.pop()], len(flood)
        while front:
            a, b = front.pop()
            flood[a, b] = root
            near = {(a + i, b + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            front += near
    roots = [flood[pair] for pair in zip(y.tolist(), x.tolist(), strict=True)]
    pairs = set(zip(group.tolist(), roots, strict=True))
    assert len(pairs) == len(set(group.tolist())) == len(set(roots)) > 5


def test_the_border_of_a_square_is_one_ring():
    labels = np.zeros((20, 30), np.uint8)
    labels[5:15, 10:16] = 13
    [(ring, low, high)] = strokes.borders(labels)
    assert (low, high) == (0, 13)
    assert (ring[0] == ring[-1]).all()
    assert len(ring) == 2 * (10 + 6) + 1
    assert (ring.min(axis=0).tolist(), ring.max(axis=0).tolist()) == ([10, 5], [16, 15])


def test_borders_end_where_three_parts_meet():
    labels = np.zeros((20, 20), np.uint8)
    labels[10:], labels[10:, 10:] = 1, 2
    found = {(low, high): points for points, low, high in strokes.borders(labels)}
    assert set(found) == {(0, 1), (0, 2), (1, 2)}
    for points in found.values():
        assert [10, 10] in (points[0].tolist(), points[-1].tolist())
        assert len(points) == 11


def test_simplifying_keeps_what_is_farther_off_than_the_tolerance():
    angle = np.linspace(0, np.pi, 200)
    arc = 50 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    counts = []
    for tolerance in (0.1, 1, 5):
        kept = strokes.simplify(arc, tolerance)
        assert (kept[[0, -1]] == arc[[0, -1]]).all()
        along = np.concatenate(
            [a + np.linspace(0, 1, 50)[:, None] * (b - a) for a, b in pairwise(kept)]
        )
        off = np.hypot(*(arc[:, None] - along[None]).T).min(axis=0)
        assert off.max() <= tolerance + 0.2
        counts.append(len(kept))
    assert 200 > counts[0] > counts[1] > counts[2] >= 3


def test_a_traced_line_is_followed_from_end_to_end():
    mask = np.zeros((20, 40), bool)
    mask[5, 4:30] = True
    mask[15, 3:6] = True
    [line] = strokes.traced(mask, 10)
    assert len(line) == 26
    assert sorted([line[0].tolist(), line[-1].tolist()]) == [[4.5, 5.5], [29.5, 5.5]]


def test_a_steady_hand_draws_what_it_sees():
    still = freehand.Hand(width=1, tolerance=0.01, warp=0, misplace=0, wobble=0, stray=0, miss=0,
                          double=0, over=0)  # fmt: skip
    line = np.stack([np.linspace(3, 90, 30), np.full(30, 7.0)], axis=1)
    moved = still.moved(line, np.random.default_rng(0), 1)
    assert np.abs(moved[:, 1] - 7).max() < 1e-6
    assert moved[[0, -1], 0].tolist() == pytest.approx([3, 90])


def test_paper_keeps_lines_darker_than_itself():
    plain = draw(FACE, "contour", 0, LABELS)
    made = torch.cat([paper(plain, seed) for seed in range(8)])
    assert made.shape == (8, 1, 256, 256)
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(paper(plain.repeat(2, 1, 1, 1), 2)[1:], made[3:4])
    for one in made:
        assert one[plain[0] < 0.2].mean() < one[plain[0] > 0.9].mean() - 0.2
    assert made.std(dim=0).mean() > 0.02


# --- how far lines are apart ---------------------------------------------------------------------


def vertical(x: int, size: int = 100) -> torch.Tensor:
    drawn = torch.ones(1, 1, size, size)
    drawn[..., x] = 0
    return drawn


@pytest.mark.parametrize("k", [0, 1, 7])
def test_chamfer_of_a_line_and_its_shift_is_the_shift(k):
    assert chamfer(vertical(30), vertical(30 + k)).item() == pytest.approx(k)
    assert chamfer(vertical(60, 200), vertical(60 + k, 200)).item() == pytest.approx(k / 2)


def test_chamfer_takes_both_ways_and_row_by_row():
    both = torch.minimum(vertical(30), vertical(50))
    assert chamfer(both, vertical(30)).item() == pytest.approx(5)  # (20 + 0) / 2 and 0
    assert chamfer(vertical(30), both).item() == pytest.approx(5)
    rows = chamfer(torch.cat([both, vertical(30)]), torch.cat([vertical(30), vertical(34)]))
    assert rows.tolist() == pytest.approx([5, 4])


def test_distances_against_all_pairs():
    mask = torch.rand(2, 1, 13, 17, generator=torch.Generator().manual_seed(0)) < 0.05
    grid = torch.stack(torch.meshgrid(torch.arange(13.0), torch.arange(17.0), indexing="ij"), -1)
    for one, far in zip(mask[:, 0], distances(mask)[:, 0], strict=True):
        wanted = torch.cdist(grid.view(-1, 2), grid[one]).amin(dim=1).view(13, 17)
        torch.testing.assert_close(far, wanted)
    assert distances(torch.zeros(1, 1, 4, 4, dtype=torch.bool)).isinf().all()


def test_chamfer_refuses_what_it_cannot_compare():
    with pytest.raises(UsageError, match="expected two alike"):
        chamfer(vertical(3), vertical(3, 50))
    with pytest.raises(TediError, match="no lines found"):
        chamfer(vertical(3), torch.ones(1, 1, 100, 100))


def test_lines_are_what_is_drawn_however_faint():
    wanted = vertical(30) == 0
    for light, dark in ((1, 0), (0.8, 0.5), (0.4, 0.1)):
        drawn = torch.where(wanted, dark, light)
        assert torch.equal(lines(drawn), wanted)


# --- drawings that people make -------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain() -> torch.Tensor:
    return draw(FACE, "contour", 1, LABELS)


def saved(picture: Image.Image, tmp_path, name="drawn.png", **options) -> torch.Tensor:
    picture.save(tmp_path / name, **options)
    return read(tmp_path / name)


def variants(drawn: Image.Image) -> dict[str, Image.Image]:
    """One drawing in the modes that people save."""
    ink = Image.eval(drawn, lambda v: 255 - v)
    clear = Image.new("RGBA", drawn.size, (0, 0, 0, 0))
    clear.putalpha(ink)
    white = Image.new("RGBA", drawn.size, (255, 255, 255, 0))
    white.putalpha(ink)
    red = Image.merge("RGB", (Image.new("L", drawn.size, 255), drawn, drawn))
    green = Image.merge("RGB", (Image.new("L", drawn.size, 0), ink, Image.new("L", drawn.size, 0)))
    return {
        "rgb": drawn.convert("RGB"),
        "palette": drawn.quantize(64),
        "inverted": ink,
        "transparent": clear,
        "white on nothing": white,
        "red on white": red,
        "green on black": green,
        "grey and alpha": drawn.convert("LA"),
        "yellow paper": Image.merge(
            "RGB", (drawn, drawn, Image.eval(drawn, lambda v: v * 8 // 10))
        ),
    }


@pytest.mark.parametrize("kind", variants(Image.new("L", (8, 8))))
def test_a_drawing_is_read_alike_in_every_mode(kind, plain, tmp_path):
    found = saved(variants(as_picture(plain))[kind], tmp_path)
    assert (found.shape, found.dtype) == ((1, 1, 256, 256), torch.float32)
    assert (found - plain).abs().max() < 0.1


def test_a_black_and_white_drawing_is_read_as_it_is(plain, tmp_path):
    bits = as_picture(plain).point(lambda v: 255 * (v > 128)).convert("1")
    found = saved(bits, tmp_path)[0, 0].numpy()
    assert (found == np.asarray(bits)).all()


def test_a_large_drawing_keeps_its_lines(tmp_path):
    big = Image.new("L", (2048, 2048), 255)
    pen = ImageDraw.Draw(big)
    pen.ellipse((400, 300, 1600, 1800), outline=0, width=3)
    found = saved(big, tmp_path)
    small = Image.new("L", (256, 256), 255)
    ImageDraw.Draw(small).ellipse((50, 37, 200, 225), outline=0)
    wanted = images.to_image(np.asarray(small.convert("RGB"))[None])[:, :1] / 2 + 0.5
    assert found.min() == 0
    assert chamfer(found, wanted).item() < 0.4


def test_an_oblong_drawing_lies_in_the_middle_of_its_square(tmp_path):
    wide = Image.new("L", (512, 256), 255)
    ImageDraw.Draw(wide).rectangle((240, 100, 271, 160), fill=0)
    y, x = np.nonzero(saved(wide, tmp_path)[0, 0].numpy() < 0.5)
    assert (x.mean(), y.mean()) == pytest.approx((127.5, 64 + 65), abs=1.5)


def test_photographed_paper_gives_the_lines_alone(plain, tmp_path):
    y, x = np.mgrid[:256, :256] / 255
    light = 0.45 + 0.4 * x + 0.1 * y
    grain = np.random.default_rng(0).normal(0, 0.01, (256, 256))
    seen = light * (0.25 + 0.75 * plain[0, 0].numpy()) + grain
    photo = Image.fromarray((seen.clip(0, 1) * 255).astype(np.uint8)).convert("RGB")
    found = saved(photo, tmp_path, "photo.jpg", quality=90)
    assert found[plain > 0.99].mean() > 0.96
    assert chamfer(found, plain).item() < 0.2


@pytest.mark.parametrize("seed", range(6))
def test_what_paper_does_read_undoes(seed, plain):
    made = paper(plain, seed)
    found = from_picture(as_picture(made))
    assert chamfer(found, plain).item() < 0.3
    assert found.median() > 0.9


def test_a_filled_part_stays_filled(tmp_path):
    hair = Image.new("L", (256, 256), 255)
    ImageDraw.Draw(hair).ellipse((60, 20, 196, 130), fill=0)
    assert saved(hair, tmp_path)[0, 0, 40:110, 90:170].max() < 0.4


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_sheet_is_refused(level, tmp_path):
    noise = np.random.default_rng(0).integers(-3, 4, (200, 200, 3))
    sheet = Image.fromarray((level + noise).clip(0, 255).astype(np.uint8))
    for picture in (sheet, sheet.filter(ImageFilter.BoxBlur(3)), Image.new("L", (99, 99), level)):
        with pytest.raises(TediError, match=r"drawn\.png: no lines found; expected dark lines"):
            saved(picture, tmp_path)
    with pytest.raises(TediError, match="no lines found"):
        saved(Image.new("RGBA", (64, 64), (level, level, level, 0)), tmp_path)


def test_files_that_are_no_drawing(tmp_path):
    with pytest.raises(TediError, match=r"none\.png: no such file"):
        read(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(TediError, match=r"text\.png: no picture tedi can read"):
        read(tmp_path / "text.png")


# --- tedi sketch ---------------------------------------------------------------------------------


@pytest.fixture
def tedi_(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder of its own; gives exit status, lines of stdout, and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


@pytest.fixture
def known_parts(monkeypatch):
    """The parser's place taken by labels that are known."""
    command = importlib.import_module("tedi.cli.sketch")
    monkeypatch.setattr(command, "_labels", lambda image, *_: (a_face(image.shape[-1])[1], {}))


@pytest.fixture
def face(tmp_path):
    path = tmp_path / "face.png"
    images.save(images.to_pil(FACE)[0], path, {"seed": 0})
    return path


def test_sketch_writes_what_draw_draws(tedi_, face, known_parts):
    for style in STYLES:
        status, out, _ = tedi_("sketch", face, "--no-align", "--style", style, "--seed", 4,
                               "--out", f"{style}.png")  # fmt: skip
        assert (status, out) == (0, [f"{style}.png"])
        wanted = np.asarray(as_picture(draw(FACE, style, 4, LABELS)))
        assert (np.asarray(images.load(out[0])) == wanted[..., None]).all()
    record = images.read_provenance("freehand.png")
    assert (record["command"], record["style"], record["seed"]) == ("sketch", "freehand", 4)


def test_sketch_in_json_at_another_size_on_paper(tedi_, face, known_parts):
    status, out, _ = tedi_("sketch", face, "--no-align", "--size", 128, "--paper", "--json")
    told = json.loads(out[0])
    assert (status, told["path"], told["size"]) == (0, "face-sketch.png", 128)
    made = images.load(told["path"])
    assert made.size == (128, 128)
    assert images.read_provenance(told["path"]) == {k: v for k, v in told.items() if k != "path"}


def test_a_sketch_of_a_generated_face(tedi_, generator, ws, tmp_path):
    images.save(images.to_pil(generator.preview(ws[:1]))[0], tmp_path / "drawn.png", {"seed": 0})
    status, out, _ = tedi_("sketch", "drawn.png", "--style", "freehand", "--json")
    assert status == 0
    assert set(json.loads(out[0])["weights"]) == {"mtcnn", "parser-lite0"}
    assert 0.005 < lines(read("drawn-sketch.png")).double().mean() < 0.3


def test_wrong_calls_are_one_line(tedi_, face, tmp_path, known_parts):
    Image.new("RGB", (64, 48)).save(tmp_path / "wide.png")
    for arguments, status, says in [
        (["wide.png", "--no-align"], 2, "expected a square aligned face, got 64 x 48"),
        (["none.png"], 1, "none.png: no such file"),
        ([face, "--style", "ink"], 2, "'ink' is not one of"),
        ([face, "--out", "x.txt"], 2, "x.txt"),
        ([face, "--out", face], 1, "face.png: already exists; pass --overwrite"),
        ([face, "--size", 32], 2, "64<=x<=1024"),
    ]:
        code, out, err = tedi_("sketch", *arguments)
        assert (code, out) == (status, [])
        assert says in err
        assert err.count("\n") == 1
