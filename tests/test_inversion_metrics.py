"""Figures of inversions in closed form, and `tedi evaluate inversion` on tiny parts."""

import importlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from test_editing import maps
from test_inversion import TinyEncoder
from tiny import toolkit
from torch import nn

from tedi import control, images
from tedi.attributes import COLUMNS, SPANS
from tedi.cli import run
from tedi.errors import TediError, UsageError
from tedi.latents import Direction
from tedi.metrics import Inverted, panels
from tedi.metrics.boundaries import (
    BOUNDARIES,
    AveragePrecision,
    average_precision,
    curve,
    curves,
    log_odds,
)
from tedi.metrics.inversion import (
    EditabilityError,
    EditedPerson,
    IdentityDistance,
    SamePerson,
    Seconds,
    editability_error,
    mse,
    psnr,
    ssim,
    w_distance,
)
from tedi.metrics.text import Judge, measure

COMMAND = importlib.import_module("tedi.cli.evaluate_inversion")


def flat(level, size=16):
    """A picture of one grey, 0 to 1."""
    return torch.full((1, 3, size, size), 2 * level - 1)


def noise(seed=0, size=48):
    random = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, size, size, generator=random) * 2 - 1


# --- likeness ------------------------------------------------------------------------------------


def test_squared_error_is_of_levels():
    assert mse(flat(0.75), flat(0.5)).item() == pytest.approx(1 / 16)
    assert mse(flat(0), flat(1)).item() == 1
    beyond = torch.full((1, 3, 16, 16), 3.0)
    assert mse(beyond, flat(1)).item() == 0  # a file clamps


def test_signal_to_noise_of_a_known_error():
    assert psnr(flat(0.6), flat(0.5)).item() == pytest.approx(20, abs=1e-4)
    assert psnr(flat(0.51), flat(0.5)).item() == pytest.approx(40, abs=1e-3)
    assert psnr(noise(), noise()).item() == pytest.approx(100)


def test_similarity_of_equal_pictures_is_one():
    assert ssim(noise(), noise()).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.7), (0.2, 0.9)])
def test_similarity_of_flat_pictures_is_that_of_their_means(a, b):
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert ssim(flat(a), flat(b)).item() == pytest.approx(expected, abs=1e-3)


def test_similarity_in_one_window_follows_the_definition():
    image, target = noise(1, 11), noise(2, 11)
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.double).view(3, 1, 1)
    x, y = (((each[0].double() + 1) / 2 * luma).sum(0).numpy() for each in (image, target))
    places = np.arange(-5, 6)
    weights = np.exp(-(places[:, None] ** 2 + places**2) / (2 * 1.5**2))
    weights /= weights.sum()
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    c = (weights * (x - mx) * (y - my)).sum()
    expected = (2 * mx * my + 1e-4) * (2 * c + 9e-4)
    expected /= (mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)
    assert ssim(image, target).item() == pytest.approx(expected, abs=1e-5)


def test_figures_are_of_each_picture_alone():
    pair, target = torch.cat([noise(1), noise(2)]), torch.cat([noise(1), noise(1)])
    for figure in (mse, psnr, ssim):
        both = figure(pair, target)
        assert both.shape == (2,)
        assert torch.allclose(both[1:], figure(pair[1:], target[1:]))


def test_a_blurred_copy_is_worse_and_a_more_blurred_one_worse_still():
    target = F.interpolate(noise(3, 24), (48, 48), mode="bilinear")
    blurred = [F.avg_pool2d(target, k, 1, k // 2, count_include_pad=False) for k in (3, 7)]
    rows = [target, *blurred]
    for figure in (psnr, ssim):
        found = [figure(image, target).item() for image in rows]
        assert found == sorted(found, reverse=True)
        assert found[1] - found[2] > 0.02


def test_pictures_smaller_than_the_window_are_refused():
    with pytest.raises(UsageError, match="expected 11 pixels a side or more for SSIM, got 10x10"):
        ssim(flat(0.5, 10), flat(0.5, 10))


# --- codes ---------------------------------------------------------------------------------------


def some_codes(n=3):
    return torch.randn(n, 4, 5, generator=torch.Generator().manual_seed(5))


def test_distance_from_the_mean():
    ws = torch.zeros(1, 2, 2)
    ws[0, 1] = torch.tensor([3.0, 4.0])
    assert w_distance(ws, torch.zeros(2)).tolist() == [2.5]
    assert w_distance(ws + 1, torch.ones(2)).tolist() == [2.5]


@pytest.mark.parametrize("edit", [lambda ws: ws + 2, lambda ws: 1.5 * ws], ids=["step", "scale"])
def test_nothing_is_lost_where_the_encoder_is_exact(edit):
    ways = {"edit": edit, "draw": lambda ws: ws.tanh(), "encode": lambda image: image.atanh()}
    ws = 0.1 * some_codes()
    assert editability_error(ws, **ways).tolist() == pytest.approx([0, 0, 0], abs=1e-4)


def test_what_an_encoder_adds_is_lost_whatever_the_edit():
    more = torch.zeros(4, 5)
    more[0, :2] = torch.tensor([3.0, 4.0])
    for step in (0.0, 2.0):
        found = editability_error(
            some_codes(),
            edit=lambda ws, step=step: ws + step,
            draw=lambda ws: ws,
            encode=lambda image: image + more,
        )
        assert found.tolist() == pytest.approx([5, 5, 5], abs=1e-5)


def test_an_encoder_that_undoes_the_edit_loses_the_move():
    ws = some_codes()
    found = editability_error(ws, edit=lambda ws: ws + 1, draw=lambda ws: ws, encode=lambda x: ws)
    assert found.tolist() == pytest.approx([math.sqrt(20)] * 3)


# --- boundaries ----------------------------------------------------------------------------------


def test_precision_and_recall_of_four():
    scores, truth = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True])
    recall, precision = curve(scores, truth)
    assert recall.tolist() == [0.5, 0.5, 1, 1]
    assert precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert average_precision(scores, truth) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_average_precision_at_its_ends():
    truth = torch.tensor([True] * 2 + [False] * 6)
    assert average_precision(torch.arange(8.0).flip(0), truth) == 1
    assert average_precision(torch.zeros(8), truth) == 0.25  # ties: by chance
    assert average_precision(torch.arange(8.0), truth) == pytest.approx((1 / 7 + 2 / 8) / 2)


@pytest.mark.parametrize("shown", [True, False])
def test_a_curve_needs_both_kinds(shown):
    with pytest.raises(UsageError, match=r"some true and some not, got [03]/3"):
        curve(torch.zeros(3), torch.full((3,), shown))


def test_log_odds_of_values_against_the_others_of_their_group():
    logits = torch.zeros(1, len(COLUMNS))
    logits[0, SPANS["smile"].start] = math.log(4)  # none; slight and broad have 1 each
    logits[0, COLUMNS.index(("hat", True))] = 1.5
    found = log_odds(logits)
    assert found["smile"].item() == pytest.approx(math.log(2 / 4), abs=1e-6)
    assert found["hat"].item() == pytest.approx(1.5, abs=1e-6)
    assert list(found) == list(BOUNDARIES)


def sample(n=60, blur=0.0, **changes):
    """Photos whose smiles codes tell, less well with blur; hats nobody wears."""
    random = torch.Generator().manual_seed(3)
    smiles = torch.rand(n, generator=random, dtype=torch.double)
    read = smiles.logit() + blur * torch.randn(n, generator=random, dtype=torch.double)
    near = 0.3 + 0.6 * torch.rand(n, generator=random, dtype=torch.double)
    told = {
        "figures": {"identity": near, "editability": 10 * near, "mse": near / 100},
        "networks": {"identity": "a face network", "editability": "an edit"},
        "same": 0.6,
        "truth": {"smile": smiles, "hat": torch.zeros(n)},
        "scores": {"smile": read, "hat": read},
        "judge": "a judge",
        "reader": "a reader",
    }
    return Inverted(**told | changes)


def test_attributes_read_off_better_codes_are_more_precise():
    exact, blurred = (AveragePrecision()(sample(blur=blur)) for blur in (0.0, 4.0))
    assert [score.name for score in exact] == ["average precision", "average precision: smile"]
    assert exact[1].value == 1
    assert 0.5 < blurred[1].value < 0.95
    assert blurred[1].low < blurred[1].value < blurred[1].high
    assert "codes by a reader, photos by a judge" in exact[0].details["note"]


def test_without_both_kinds_of_photo_there_is_no_precision():
    with pytest.raises(UsageError, match="some that show an attribute"):
        AveragePrecision()(sample(truth={"hat": torch.zeros(60)}))


# --- metrics -------------------------------------------------------------------------------------


def test_persons_below_the_threshold_are_the_same():
    found = sample()
    (score,) = SamePerson()(found)
    share = (found.figures["identity"] < 0.6).double().mean().item()
    assert score.value == pytest.approx(share)
    assert (score.rate, score.n, score.details) == (True, 60, {"threshold": 0.6})
    (distance,) = IdentityDistance()(found)
    assert distance.value == pytest.approx(found.figures["identity"].mean().item())
    assert distance.low < distance.value < distance.high
    assert distance.details["note"] == "by a face network, below 0.6 for one person"


def test_an_edited_photo_should_show_the_same_person():
    found = sample(figures={"edited_identity": torch.tensor([0.3, 0.5, 0.7, 0.59])})
    (score,) = EditedPerson()(found)
    assert score.value == 0.75
    assert score.details == {"threshold": 0.6, "note": "an edit"}


def test_a_photo_without_a_figure_is_left_out_of_its_mean():
    (score,) = Seconds()(sample(figures={"seconds": torch.tensor([1.0, math.nan, 4.0])}))
    assert (score.value, score.n) == (2.5, 2)
    with pytest.raises(UsageError, match="not measured for any photo"):
        Seconds()(sample(figures={"seconds": torch.tensor([math.nan])}))
    with pytest.raises(UsageError, match="seconds: expected figures"):
        Seconds()(sample())


def test_a_stray_code_is_outside_of_the_trimmed_mean():
    values = torch.ones(200, dtype=torch.double)
    values[7] = 1000
    (score,) = EditabilityError()(sample(figures={"editability": values}))
    assert score.value == pytest.approx(1199 / 200)
    assert score.details["trimmed"] == 1
    (two,) = EditabilityError()(sample(figures={"editability": values[6:8]}))
    assert two.details == {"note": "an edit"}


def test_missing_figures_are_told():
    scores, left_out = measure(sample())
    assert {score.name for score in scores} >= {"editability error", "taken for the same person"}
    assert set(left_out) >= {"psnr", "seconds", "memory"}


# --- pictures ------------------------------------------------------------------------------------


def test_bars_are_as_long_as_values():
    def picture(times):
        figures = {"mse": torch.full((9,), 0.01 * times, dtype=torch.double)}
        half = {"mse": torch.full((9,), 0.01, dtype=torch.double)}
        scores = {"a": measure(sample(figures=figures))[0], "b": measure(sample(figures=half))[0]}
        scores = {
            m: [s for s in listed if s.name.startswith("MSE")] for m, listed in scores.items()
        }
        return np.asarray(panels.bars(scores, title="t", subtitle="s"))

    def length(pixels, color):
        rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        return (pixels[160:] == rgb).all(axis=2).sum(axis=1).max()

    for times in (2, 4):
        pixels = picture(times)
        first, second = (length(pixels, color) for color in panels.COLORS[:2])
        assert second / first == pytest.approx(1 / times, abs=0.02)


def test_curves_are_drawn_by_attribute():
    found = {"a": curves(sample()), "b": curves(sample(blur=4))}
    one = panels.curves(found, {"smile": 0.5}, title="t", subtitle="s")
    two = panels.curves(found, {"smile": 0.5, "hat": 0.1}, title="t", subtitle="s")
    assert two.width > one.width
    for color in panels.COLORS[:2]:
        rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.asarray(one)[180:] == rgb).all(axis=2).sum() > 100


# --- the command ---------------------------------------------------------------------------------


class Sees(nn.Module):
    """A judge that takes bright pictures for smiles."""

    maps = staticmethod(maps)

    def __init__(self, middle=0.0):
        super().__init__()
        self.middle = middle

    def forward(self, image):
        logits = torch.zeros(len(image), len(COLUMNS))
        bright = image.mean(dim=(1, 2, 3)) - self.middle
        logits[:, COLUMNS.index(("smile", "slight"))] = -20
        logits[:, COLUMNS.index(("smile", "broad"))] = 40 * bright
        return logits


class Describes:
    """An identity network of four numbers."""

    same = 0.6

    def __call__(self, image):
        return image.mean(dim=1)[:, ::8, ::8].flatten(1)


class Features:
    maps = staticmethod(maps)


@pytest.fixture
def model():
    tiny = toolkit()
    inverted = []
    invert = tiny.photos.invert

    def counted(photo, **options):
        inverted.append((photo.name, options["method"]))
        if len(inverted) == tiny.stop_at:
            raise KeyboardInterrupt
        return invert(photo, **options)

    parts = {"encoder": TinyEncoder(), "identity": Describes(), "features": Features}
    vars(tiny.photos).update(parts, invert=counted)
    tiny.inverted, tiny.stop_at = inverted, None
    return tiny


def faces(model, count=4):
    ws = control.style_codes(model.generator, range(count), psi=1.5)
    return images.to_pil(model.generator.synthesis(ws))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photos(model):
    Path("faces").mkdir()
    for number, face in enumerate(faces(model)):
        face.save(f"faces/{number}.png")


@pytest.fixture
def tedi_(capsys, model, monkeypatch):
    """Runs the evaluation; gives exit status, lines of stdout, and stderr."""
    middle = np.median([np.asarray(face).mean() / 127.5 - 1 for face in faces(model)])
    judge = Judge(Sees(float(middle)), "a judge")
    monkeypatch.setattr(COMMAND, "_load", lambda device: (model, judge))
    # Tiny codes live in 8 dimensions, and no text moves them far.
    monkeypatch.setattr(COMMAND, "_edit", lambda *args: (lambda ws: ws + 0.5, f"{args[1:]}"))

    def call(*arguments):
        capsys.readouterr()
        status = run(["evaluate", "inversion", *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


GIVEN = ("--photos", "faces", "--aligned", "--out", "out")


def lines():
    return [json.loads(line) for line in Path("out/figures.jsonl").read_text().splitlines()]


def test_a_table_of_methods(tedi_, photos):
    status, out, _ = tedi_(*GIVEN, "--method", "encoder", "--method", "optimize", "--steps", 3)
    assert status == 0
    assert out[0] == "Inversion of 4 aligned faces of faces"
    assert out[2].split() == ["n", "encoder", "95", "%", "optimize", "95", "%", "judge", "itself"]
    told = "\n".join(out)
    for name in ("MSE, levels in [0, 1]", "PSNR, dB", "SSIM of luma", "P-norm+", "seconds a photo"):
        assert f"\n{name}" in told
    assert "average precision" not in told
    # Said once for both methods: who looked.
    assert told.count("a mean over features of a judge") == 1
    assert out[-2:] == ["out/report.json", "out/chart.png"]
    report = json.loads(Path("out/report.json").read_text())
    assert report["networks"]["identity"] == "face-recognition"
    assert report["options"]["optimize"]["steps"] == 3
    found = {m: {s["name"]: s for s in scores} for m, scores in report["scores"].items()}
    assert found["encoder"]["PSNR, dB"]["n"] == 4
    better = [found[m]["MSE, levels in [0, 1]"]["value"] for m in ("optimize", "encoder")]
    assert better[0] < better[1]


def test_figures_are_those_of_the_code_that_is_kept(tedi_, photos, model):
    from tedi.checkpoints import codes

    tedi_(*GIVEN, "--count", 1)
    (row,) = lines()
    assert (row["photo"], row["method"]) == ("0.png", "encoder")
    ws = codes.load(Path(f"out/codes/{row['key']}.safetensors"), slots=16, width=8)[None]
    drawn = model.generator.preview(ws)  # which is its full size, reduced
    target = model.photos.open("faces/0.png", aligned=True)[0].image
    target = F.interpolate(target, (16, 16), mode="area")
    assert row["figures"]["mse"] == pytest.approx(mse(drawn, target).item(), rel=1e-4)
    mean = w_distance(ws, model.generator.w_avg).item()
    assert row["figures"]["w_distance"] == pytest.approx(mean, rel=1e-4)
    assert row["figures"]["seconds"] > 0


def test_semantics_are_told_with_their_judge(tedi_, photos):
    status, out, _ = tedi_(*GIVEN, "--semantics")
    assert status == 0
    told = "\n".join(out)
    assert "\naverage precision" in told
    assert "codes by the code reader, photos by a judge" in told
    report = json.loads(Path("out/report.json").read_text())
    assert set(report["curves"]["encoder"]["smile"]) == {"recall", "precision"}
    assert Image.open("out/curves.png").width > 500
    assert out[-1] == "out/curves.png"


def test_a_stopped_run_goes_on(tedi_, photos, model):
    both = ("--method", "encoder", "--method", "optimize", "--steps", 2)
    model.stop_at = 4
    assert tedi_(*GIVEN, *both)[0] == 130
    assert len(lines()) == 3
    with Path("out/figures.jsonl").open("a") as file:
        file.write('{"key": "cut sho')
    model.stop_at = None
    before = len(model.inverted)
    status, out, _ = tedi_(*GIVEN, *both, "--resume")
    assert status == 0
    assert model.inverted[before:] == [
        ("1.png", "optimize"),
        *((f"{n}.png", m) for n in (2, 3) for m in ("encoder", "optimize")),
    ]
    assert len(lines()) == 8
    before = len(model.inverted)
    assert tedi_(*GIVEN, *both, "--resume")[1] == out
    assert len(model.inverted) == before


def test_what_is_there_is_not_gone_on_with_unasked(tedi_, photos, model):
    tedi_(*GIVEN)
    status, _, err = tedi_(*GIVEN)
    assert (status, err) == (
        2,
        "tedi: out/figures.jsonl: is there; pass --resume to go on, or another --out\n",
    )


def test_other_settings_are_measured_anew(tedi_, photos, model):
    tedi_(*GIVEN, "--method", "optimize", "--steps", 2)
    before = len(model.inverted)
    tedi_(*GIVEN, "--method", "optimize", "--steps", 3, "--resume")
    assert len(model.inverted) == before + 4
    tedi_(*GIVEN, "--method", "optimize", "--steps", 3, "--strength", 2, "--resume")
    assert len(model.inverted) == before + 8


def test_lines_of_something_else_are_refused(tedi_, photos):
    Path("out").mkdir()
    Path("out/figures.jsonl").write_text('{"other": 1}\n')
    status, _, err = tedi_(*GIVEN, "--resume")
    assert status == 1
    assert "out/figures.jsonl: line 1 is none of tedi's" in err


def test_a_photo_that_fails_stops_no_other(tedi_, photos):
    Path("faces/2.png").write_text("no picture")
    status, out, _ = tedi_(*GIVEN)
    assert status == 0
    assert out[0].startswith("Inversion of 3 ")
    assert any(line.startswith("2.png: faces/2.png: no picture tedi can read") for line in out)
    assert list(json.loads(Path("out/report.json").read_text())["failed"]) == ["2.png"]


def test_where_all_fail_there_is_no_report(tedi_):
    Path("faces").mkdir()
    Path("faces/a.png").write_text("no picture")
    status, out, err = tedi_(*GIVEN)
    assert (status, out) == (1, [])
    assert "faces: no photo could be inverted; faces/a.png: no picture" in err


@pytest.fixture
def tables(model):
    """Writes a parquet file of these columns beside one of pictures."""
    from datasets import Dataset

    def packed(face):
        file = io.BytesIO()
        face.save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    def write(picture="image", **columns):
        Path("faces").mkdir()
        pictures = [packed(face) for face in faces(model)]
        Dataset.from_dict({picture: pictures, **columns}).to_parquet("faces/part.parquet")

    return write


def test_photos_of_parquet_files(tedi_, tables):
    tables(id=[10, 11, 12, 13])
    assert tedi_(*GIVEN, "--rows", "1:3")[0] == 0
    assert [row["photo"] for row in lines()] == ["11", "12"]
    _, out, _ = tedi_(*GIVEN, "--rows", "2:", "--count", 1, "--resume")
    assert out[0].startswith("Inversion of 1 ")
    status, _, err = tedi_("--photos", "faces", "--rows", "9:")
    assert (status, err) == (2, "tedi: --rows: faces has none from 9 on\n")


def test_a_picture_of_a_table_is_turned_upright(model):
    picture = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene lies at the right of the stored picture
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    found = COMMAND.Source("a", file.getvalue()).open(model, aligned=True)
    upright = picture.transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(np.asarray(found.picture), np.asarray(upright))


def test_rows_without_an_id_have_their_number(tedi_, tables):
    tables()
    assert tedi_(*GIVEN, "--rows", "3:")[0] == 0
    assert [row["photo"] for row in lines()] == ["3"]


def test_a_table_without_pictures_is_refused(tedi_, tables):
    tables(picture="portrait")
    status, _, err = tedi_(*GIVEN)
    assert (status, err) == (2, "tedi: faces: row 0 has no picture in its column `image`\n")


def test_a_sheet_says_that_it_shows_photos(tedi_, photos):
    status, out, _ = tedi_(*GIVEN, "--sheet", "sheet.png")
    assert status == 0
    assert "sheet.png" in out
    record = images.read_provenance("sheet.png")
    assert record["shows"].startswith("real photos")
    assert record["columns"] == ["photo", "encoder"]
    assert [photo["name"] for photo in record["photos"]] == [f"{n}.png" for n in range(4)]
    assert not Path("out/sheet.png").exists()


def test_json_is_the_report(tedi_, photos):
    _, out, _ = tedi_(*GIVEN, "--json")
    (line,) = out
    assert json.loads(line) == json.loads(Path("out/report.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--photos", "nowhere"], 1, "nowhere: no such folder"),
        (["--photos", "faces", "--rows", "5"], 2, "expected from:to as in 4200:4500, got '5'"),
        (["--photos", "faces", "--rows", "5:2"], 2, "a number before a larger one"),
        (["--photos", "faces", "--rows", "4:"], 2, "faces has none from 4 on"),
        (["--photos", "faces", "--steps", "3"], 2, "--steps: no method here takes any"),
        (["--photos", "faces", "--method", "ptl"], 2, "--method"),
        (
            ["--photos", "faces", "--method", "pti", "--dtype", "bfloat16"],
            2,
            "--dtype bfloat16: pti works in float32",
        ),
        (["--photos", "faces", "--strength", "0"], 2, "--strength"),
        (["--photos", "faces", "--edit", "old", "--direction", "age"], 2, "leave one of them"),
        (["--photos", "out"], 2, "out: holds no picture"),
        (["--photos", "faces", "--sheet", "s.pdf"], 2, "s.pdf: unknown picture suffix '.pdf'"),
    ],
    ids=str,
)
def test_wrong_calls(tedi_, photos, model, arguments, status, message):
    Path("out").mkdir()
    found, out, err = tedi_(*arguments)
    assert (found, out) == (status, [])
    assert message in err
    assert model.inverted == []


def test_edits_are_texts_or_directions(model, monkeypatch):
    ws = control.style_codes(model.generator, [1], psi=0.7)
    move, told = COMMAND._edit(model, "older", None, 1.0)
    assert told == "a text edit, 'older' at strength 1"
    assert move(ws).shape == ws.shape
    assert not torch.equal(move(ws), ws)
    smile = Direction("smile", torch.eye(8)[0], std=0.5)
    monkeypatch.setattr("tedi.cli.directions._find", lambda name: smile)
    move, told = COMMAND._edit(model, "", "smile", 3.0)
    assert told == "a move along 'smile', 3 standard deviations"
    assert torch.allclose(move(ws) - ws, 1.5 * torch.eye(8)[0].expand_as(ws), atol=1e-6)


def test_lpips_is_taken_where_it_loads(monkeypatch):
    from tedi.losses import LOSSES

    judge = Judge(Sees(), "a judge")

    monkeypatch.setitem(LOSSES.entries, "lpips", f"{__name__}:none_here")
    distance, name = COMMAND._perceptual(judge)
    assert name == "a mean over features of a judge"
    assert distance(flat(0.5), flat(0.5)).item() == 0
    monkeypatch.setitem(LOSSES.entries, "lpips", f"{__name__}:stand_in")
    distance, name = COMMAND._perceptual(judge)
    assert (distance, name) == (mse, "LPIPS 0.1 on AlexNet")


def none_here(maps=None):
    raise TediError("lpips: not installed")


def stand_in(maps=None):
    return mse
