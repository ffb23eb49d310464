"""Figures of edited videos: by closed form, by direction, and from the command line."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tedi import attributes
from tedi.cli import run
from tedi.errors import UsageError
from tedi.metrics.video import Filmed, Look, Watcher, asked, chart, over_blocks, scores

SQUARE = np.array([(20.0, 20), (20, 60), (60, 60), (60, 20)])
POINTS = np.array([(30.0, 35), (50, 35), (40, 45), (33, 52), (47, 52)])


class Network:
    """A stand-in that sees the brightness of a picture."""

    def __call__(self, image):
        level = image.mean(dim=(1, 2, 3))
        logits = torch.zeros(len(image), len(attributes.COLUMNS))
        span = attributes.SPANS["smile"]
        logits[:, span.stop - 1] = 4 * level
        return logits

    def maps(self, image):
        return [image[:, :, ::32, ::32]]


def describe(image):
    return image.mean(dim=(2, 3))


def watch(befores, afters, *, points=None, rate=5.0, wants=()):
    """Figures of videos whose frames are (level of the face, level outside)."""
    watcher = Watcher(describe, Network())
    for n, pair in enumerate(zip(befores, afters, strict=True)):
        looks = []
        for place, (inner, outer) in enumerate(pair):
            pixels = np.full((80, 80, 3), outer, np.uint8)
            pixels[20:60, 20:60] = inner
            crop = torch.full((1, 3, 256, 256), inner / 127.5 - 1)
            shift = np.zeros(2) if points is None else np.array(points[place][n])
            looks.append(Look(pixels, POINTS + shift, crop))
        watcher(looks[0], looks[1], SQUARE)
    return watcher.filmed(rate, wants=wants)


def still(count, inner=100, outer=50):
    return [(inner, outer)] * count


def figures(filmed):
    return {score.name: score for score in scores(filmed)}


def test_a_video_compared_with_itself_is_as_steady():
    moving = [(90 + 5 * n, 50 + n) for n in range(12)]
    found = watch(moving, moving)
    for key, series in found["before"].series.items():
        assert series == pytest.approx(found["after"].series[key], nan_ok=True)
    for name in ("flicker in the face, levels", "flicker outside, levels"):
        assert figures(found["after"])[name].value == 0
    assert figures(found["after"])["identity distance, by the edit"].value == 0


def test_even_motion_has_no_jitter_and_trembling_has_its_own():
    even = [(2.0 * n, -n) for n in range(12)]
    trembling = [(2.0 * n + 0.4 * (-1) ** n, -n) for n in range(12)]
    found = watch(still(12), still(12), points=(even, trembling))
    jitter = {name: figures(f)["jitter of points, % of a side"] for name, f in found.items()}
    assert jitter["before"].value == pytest.approx(0, abs=1e-5)
    # ±0.4 px has second differences of 1.6 px, of a side of 40 px
    assert jitter["after"].value == pytest.approx(4.0, abs=1e-4)
    assert jitter["after"].n == 10


def test_flicker_is_told_where_it_is():
    pulse = [(100 + 6 * (n % 2), 50) for n in range(12)]
    inside = figures(watch(still(12), pulse)["after"])
    assert inside["flicker in the face, levels"].value == pytest.approx(6, abs=1e-3)
    assert inside["flicker outside, levels"].value < 0.2  # the border of the square alone
    pulse = [(100, 50 + 6 * (n % 2)) for n in range(12)]
    outside = figures(watch(still(12), pulse)["after"])
    assert outside["flicker in the face, levels"].value == 0
    assert outside["flicker outside, levels"].value == pytest.approx(6, abs=0.2)
    steady = figures(watch(still(12), still(12, inner=140))["after"])
    assert steady["flicker in the face, levels"].value == 0  # an edit that stays is no flicker


def test_a_swapped_person_shows():
    swapped = still(6) + still(6, inner=220)
    before, after = (figures(f) for f in watch(still(12), swapped).values())
    name = "identity distance, neighbours"
    assert before[name].value == 0
    assert after[name].value > 0.1
    assert after["perceptual distance, neighbours"].value >= 0


def test_what_was_asked_is_told_over_time():
    want = SimpleNamespace(says={"smile": [attributes.GROUPS["smile"][-1]]}, wishes={"smile": 1})
    found = watch(still(12, inner=60), still(12, inner=220), wants=[want])
    shown = {name: figures(f)["shown: smile"].value for name, f in found.items()}
    assert shown["after"] > shown["before"]
    steps = {name: figures(f)["shown: smile, steps"].value for name, f in found.items()}
    assert steps["after"] > steps["before"]
    assert figures(found["after"])["shown: smile"].details["step to the next frame"] == 0
    certain = torch.full((3, len(attributes.COLUMNS)), -50.0)
    certain[:, attributes.SPANS["smile"].stop - 1] = 0
    assert asked(certain, [want])["smile"] == pytest.approx(torch.ones(3))


def test_cuts_and_gaps_are_not_compared_over():
    watcher = Watcher(describe, Network())

    def show(inner):
        crop = torch.full((1, 3, 256, 256), inner / 127.5 - 1)
        look = Look(np.full((80, 80, 3), 50, np.uint8), POINTS, crop)
        watcher(look, look, SQUARE)

    for inner in (50, 50, 200, 200):
        if inner == 200:
            watcher.cut()
        show(inner)
    watcher.skip()
    show(90)
    series = watcher.filmed(2.0)["before"].series["person"]
    assert series.isnan().tolist() == [True, False, True, True, True, True]
    assert series[1] == 0


def test_intervals_are_of_blocks_not_of_frames():
    values = torch.tensor([1.0] * 5 + [3.0] * 5 + [float("nan")] * 5)
    blocks = torch.arange(15) // 5
    (value, low, high), n, count = over_blocks(values, blocks)
    assert (value, n, count) == (2.0, 10, 2)
    assert (low, high) == (1.0, 3.0)
    (_, low, _), _, _ = over_blocks(values[:5], blocks[:5])
    assert low != low  # one block tells no interval


def test_a_chart_shows_every_figure():
    found = watch(still(9), [(100 + n, 50) for n in range(9)])
    picture = chart(found, title="a and b", subtitle="9 frames")
    taller = chart(
        {
            n: Filmed(f.series, f.blocks, strength={"smile": torch.ones(9)})
            for n, f in found.items()
        },
        title="a and b",
        subtitle="9 frames",
    )
    assert taller.height > picture.height
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 4


# --- the command ---------------------------------------------------------------------------------


@dataclass
class Model:
    """A toolkit of which `tedi evaluate video` needs the photos alone."""

    photos: object
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    text: object = None


@pytest.fixture
def stand_ins(monkeypatch):
    from test_video import describe as descriptor
    from test_video import detect

    model = Model(SimpleNamespace(identity=descriptor, detector=detect))
    judge = SimpleNamespace(network=Network(), name="stand-in")
    monkeypatch.setattr("tedi.cli.evaluate_video._load", lambda _: (model, judge))


def test_two_videos_are_compared(tmp_path, monkeypatch, capsys, stand_ins):
    pytest.importorskip("av")
    from test_video import BOX, RED, drawn, films

    monkeypatch.chdir(tmp_path)
    clip = [drawn((20 + n, 40, BOX, RED)) for n in range(10)] + [drawn()] * 2
    brighter = [p.copy() for p in clip]
    for n, pixels in enumerate(brighter[:10]):
        pixels[50:60, 30 + n : 40 + n] = (190, 60, 60)
    films.write(tmp_path / "a.mp4", clip)
    films.write(tmp_path / "b.mp4", brighter)
    films.write(tmp_path / "short.mp4", clip[:5])
    films.write(tmp_path / "small.mp4", [p[:100] for p in clip])
    assert run(["evaluate", "video", "a.mp4", "b.mp4", "--out", "r", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["with_face"]) == (12, 10)
    names = {score["name"] for score in report["scores"]["after"]}
    assert "jitter of points, % of a side" in names
    assert json.loads((tmp_path / "r" / "report.json").read_text()) == report
    rows = [json.loads(line) for line in (tmp_path / "r" / "frames.jsonl").open()]
    assert len(rows) == 12
    assert rows[-1]["person after"] is None
    assert Image.open(tmp_path / "r" / "chart.png").width > 600
    assert run(["evaluate", "video", "a.mp4", "b.mp4", "--out", "r"]) == 0
    assert "10 of 12 frames show the face" in capsys.readouterr().out
    assert run(["evaluate", "video", "a.mp4", "short.mp4", "--out", "r"]) == 2
    assert "as many frames in both, short.mp4 ends after 5" in capsys.readouterr().err
    assert run(["evaluate", "video", "a.mp4", "small.mp4", "--out", "r"]) == 2
    assert "frames of one size" in capsys.readouterr().err
    assert run(["evaluate", "video", "a.mp4", "b.mp4", "--face", "all"]) == 2


def test_a_video_without_faces_to_compare_is_told(tmp_path, monkeypatch, capsys, stand_ins):
    pytest.importorskip("av")
    from test_video import drawn, films

    films.write(tmp_path / "a.mp4", [drawn()] * 4)
    want = SimpleNamespace(says={"smile": [attributes.GROUPS["smile"][-1]]}, wishes={})
    monkeypatch.setattr("tedi.semantics.hearing.hear", lambda *_: want)
    for text in ([], ["--text", "smiling"]):
        assert run(["evaluate", "video", *[str(tmp_path / "a.mp4")] * 2, *text]) == 1
        err = capsys.readouterr().err
        assert "a.mp4: no frame shows the face in both" in err


def test_scores_of_nothing_are_refused():
    filmed = Filmed({"person": torch.full((4,), float("nan"))}, torch.zeros(4, dtype=torch.long))
    with pytest.raises(UsageError, match="follow each other"):
        scores(filmed)
