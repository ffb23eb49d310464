"""Whether pictures follow drawings: figures in closed form, and the two commands on tiny parts."""

import importlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_evaluate import Colors
from tiny import TinyGenerator, toolkit

from tedi import images
from tedi.attributes import COLUMNS, GROUPS, allowed_by, log_softmax
from tedi.cli import run
from tedi.encoders.structure import StructureEncoder
from tedi.errors import TediError, UsageError
from tedi.grammar import consistent
from tedi.metrics.drawings import (
    AllParts,
    LargeParts,
    LineDistance,
    LineRatio,
    Lines,
    LinesLost,
    Mapped,
    Parts,
    PartsLost,
    Sketched,
    caption_of,
    confusion,
    iou,
    says_of,
)
from tedi.metrics.text import Judge, seeds_of
from tedi.modalities.labels import CLASSES, one_hot

COMMAND = importlib.import_module("tedi.cli.evaluate_drawings")
SKIN, HAIR = CLASSES.index("skin"), CLASSES.index("hair")


def rows(*values):
    return torch.tensor(values, dtype=torch.float32)


def sketched(**changes):
    """Pictures of forty sketches whose lines lie half as far as random ones."""
    random = torch.Generator().manual_seed(0)
    apart = torch.rand(40, 3, generator=random) + 1
    values = {"apart": apart, "random": 2 * apart, "other": 0.2 * apart[:, 0]}
    values["mean"] = 1.5 * apart[:, 0]
    return Sketched(**{**values, "told": 1.1 * apart, "maker": "a hand"} | changes)


def table(right, wrong=0):
    """Skin and hair: so many pixels of each right, so many taken for the other."""
    found = torch.zeros(19, 19, dtype=torch.long)
    found[SKIN, SKIN] = found[HAIR, HAIR] = right
    found[SKIN, HAIR] = found[HAIR, SKIN] = wrong
    return found


def mapped(**changes):
    wrong = torch.Generator().manual_seed(0)
    errors = torch.randint(5, 30, (40,), generator=wrong).tolist()
    tables = torch.stack([table(90, e) for e in errors])
    values = {
        "tables": tables,
        "random": torch.stack([table(40, 2 * e) for e in errors]),
        "itself": torch.stack([table(100, e // 4) for e in errors]),
        "mean": torch.stack([table(50, 2 * e) for e in errors]),
        "told": torch.stack([table(90, e + 5) for e in errors]),
    }
    return Mapped(**{**values, "pictures": 3, "parser": "a parser"} | changes)


# --- lines ---------------------------------------------------------------------------------------


def test_distance_and_its_ratio_to_random_faces():
    sample = sketched(
        apart=rows([1, 3], [2, 2]),
        random=rows([4, 4], [8, 8]),
        mean=rows(3, 5),
        other=rows(1, 2),
    )
    whole, random, mean, other = LineDistance()(sample)
    assert (whole.value, random.value, mean.value, other.value) == (2, 6, 4, 1.5)
    assert (whole.n, random.n, mean.n, other.n) == (4, 4, 2, 2)
    ratio, mean, hand = LineRatio()(sample)
    assert ratio.value == pytest.approx(8 / 24)
    assert mean.value == pytest.approx(16 / 24)
    assert hand.value == pytest.approx(6 / 24)
    assert ratio.low <= ratio.value <= ratio.high


def test_a_picture_without_lines_is_left_out_of_both_sides():
    nan = float("nan")
    sample = sketched(
        apart=rows([1, nan], [2, 2]),
        random=rows([4, 4], [nan, 8]),
        other=rows(1, 1),
        mean=rows(1, 1),
    )
    ratio, *_ = LineRatio()(sample)
    assert ratio.value == pytest.approx(3 / 12)
    assert (ratio.n, ratio.details["note"]) == (2, "2 of 4 without lines, left out")
    with pytest.raises(UsageError, match="no picture has lines"):
        LineDistance()(sketched(apart=rows([nan], [nan])))


def test_what_text_adds_to_the_distance_is_relative():
    (score,) = LinesLost()(sketched())
    assert score.value == pytest.approx(10, rel=1e-4)
    assert score.high - score.low < 1e-3  # every drawing loses the same share
    with pytest.raises(UsageError, match="--texts"):
        LinesLost()(sketched(told=None))


# --- parts ---------------------------------------------------------------------------------------


def test_counts_and_their_share():
    truth = torch.tensor([[[SKIN, SKIN], [HAIR, HAIR]]])
    found = torch.tensor([[[SKIN, HAIR], [HAIR, HAIR]]])
    counts = confusion(truth, found)
    assert (counts[SKIN, HAIR], counts[HAIR, SKIN], counts.sum()) == (1, 0, 4)
    shares = iou(counts)
    assert shares[SKIN] == pytest.approx(1 / 2)
    assert shares[HAIR] == pytest.approx(2 / 3)
    assert shares.isnan().sum() == 17


def test_counts_of_all_pictures_are_pooled():
    tables = torch.stack([table(90, 10), table(10, 0)])
    whole, *_ = LargeParts()(mapped(tables=tables, random=tables, mean=tables, itself=tables))
    assert whole.value == pytest.approx(100 / 120)  # and not the mean of 90 / 110 and 1
    assert whole.details["classes"] == {"skin": 0.833333, "hair": 0.833333}
    assert (whole.n, whole.rate) == (6, True)
    assert whole.low <= whole.value <= whole.high


def test_small_classes_count_where_all_do():
    tables = torch.stack([table(90, 10)] * 4)
    tables[:, CLASSES.index("hat"), SKIN] = 5
    sample = mapped(tables=tables)
    large, everything = LargeParts()(sample)[0], AllParts()(sample)[0]
    assert everything.value == pytest.approx(large.value * 2 / 3)
    assert everything.details["classes"]["hat"] == 0


def test_an_interval_is_that_of_whole_drawings():
    tables = torch.stack([table(90, 10)] * 3 + [table(10, 90)] * 3)
    wide, *_ = LargeParts()(mapped(tables=tables))
    narrow, *_ = LargeParts()(mapped(tables=tables.repeat(20, 1, 1)))
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)
    single, *_ = LargeParts()(
        mapped(**dict.fromkeys(("tables", "random", "mean", "itself"), tables[:1]))
    )
    assert np.isnan([single.low, single.high]).all()


def test_what_text_loses_of_parts_is_relative():
    tables = torch.stack([table(100)] * 4)
    told = torch.stack([table(75, 25)] * 4)  # 75 of 125
    (score,) = PartsLost()(mapped(tables=tables, told=told))
    assert score.value == pytest.approx(40)
    with pytest.raises(UsageError, match="--texts"):
        PartsLost()(mapped(told=None))


# --- drawers -------------------------------------------------------------------------------------


def disc(x=0.0, y=0.0, level=0.6, size=256):
    """A bright disc on dark ground (1, 3, size, size), its middle at x, y."""
    steps = torch.linspace(-1, 1, size)
    far = ((steps - x) ** 2 + (steps[:, None] - y) ** 2).sqrt()
    return (((0.5 - far) * 40).sigmoid() * (level + 0.9) - 0.9).expand(1, 3, -1, -1)


def parse(image):
    """Skin where it is bright."""
    return (image.mean(dim=1) > -0.5).to(torch.uint8) * SKIN


@pytest.mark.parametrize("style", ["contour", "edges"])
def test_lines_that_move_lie_apart(style):
    drawer = Lines(style, parse)
    drawing = drawer.draw(disc(), 5)
    assert drawing.shape == (1, 1, 256, 256)
    assert drawer.compare(drawing, disc(), 5) == 0
    near, far = (float(drawer.compare(drawing, disc(x), 5)) for x in (0.1, 0.3))
    assert 0 < near < far
    assert 0 < float(drawer.reference(drawing, disc(), 5)) < near


def test_a_picture_without_lines_has_no_distance_and_no_drawing():
    drawer = Lines("edges", parse)
    empty = torch.zeros(1, 3, 256, 256)
    assert drawer.compare(drawer.draw(disc(), 1), empty, 1).isnan()
    with pytest.raises(TediError, match="no lines"):
        drawer.draw(empty, 1)


def test_maps_are_those_given_or_the_parsers():
    drawer = Parts(parse)
    own = drawer.draw(disc(), 0)
    assert torch.equal(own, one_hot(parse(disc())))
    assert iou(drawer.reference(own, disc(), 0))[SKIN] == 1
    mask = one_hot(torch.full((1, 256, 256), HAIR))
    assert drawer.draw(disc(), 0, mask) is mask
    counts = drawer.compare(mask, disc(), 0)
    assert counts[HAIR, SKIN] == parse(disc()).count_nonzero()


# --- texts ---------------------------------------------------------------------------------------


def face(**values):
    sure = {g: vs[0] for g, vs in GROUPS.items()} | values
    return log_softmax(torch.tensor([9.0 * (sure[g] == v) for g, v in COLUMNS]))


def test_captions_are_true_of_what_is_seen():
    values = {"gender": "male", "age": "old", "beard": "full", "hat": True, "glasses": "none"}
    seen = {g: vs[0] for g, vs in GROUPS.items() if " " not in g} | {"background": ""}
    values = {g: v for g, v in values.items() if v in GROUPS[g]}
    counts = set()
    for seed in range(40):
        caption = caption_of(face(**values), seed)
        assert consistent(
            {k: v for k, v in {**seen, **values}.items() if k != "background"}, caption.says
        )
        counts.add(len(caption.says))
    assert counts == {2, 3}
    assert caption_of(face(**values), 3) == caption_of(face(**values), 3)


def test_what_a_text_says_is_read_off_its_agreement():
    says = {"smile": frozenset({"slight", "broad"}), "background": frozenset({"blue"})}
    assert says_of(allowed_by(says)) == says
    assert says_of(torch.ones(len(COLUMNS))) == {}


# --- the commands --------------------------------------------------------------------------------


class Discs(TinyGenerator):
    """Draws discs: where, coarse and medium slots say; how bright, the fine ones."""

    resolution = 128

    def layers(self, group):
        return {"coarse": (0, 1, 2, 3, 4), "medium": (5, 6, 7, 8)}.get(group, tuple(range(9, 16)))

    def synthesis(self, ws, size=128):
        moved = ws - self.w_avg
        x, y = (0.35 * moved[:, :9, :2].mean(dim=1).tanh()).unbind(dim=1)
        level = 0.5 + 0.3 * moved[:, 9:, 2].mean(dim=1).tanh()
        return torch.cat([disc(*each, size=size) for each in zip(x, y, level, strict=True)])

    def preview(self, ws):
        return self.synthesis(ws, 64)


class Sees(StructureEncoder):
    """Finds the middle of a drawing; what it gives draws the disc there."""

    def __init__(self):
        super().__init__(slots=16, ruled=9, width=8)
        self.asked = []

    def parts(self, given):
        ((name, value),) = given.items()
        self.asked.append(name)
        there = 1 - value[0, 0] if name == "sketch" else value[0, SKIN]
        steps = torch.linspace(-1, 1, 256)
        places = torch.stack([there.sum(dim=0) @ steps, there.sum(dim=1) @ steps]) / there.sum()
        w = self.w_avg.clone()
        w[:2] += (places / 0.35).clamp(-0.99, 0.99).atanh()
        return w[None], torch.zeros(1, 9, 8)


class Parser:
    labels = staticmethod(parse)


@pytest.fixture
def model():
    tiny = toolkit(Discs())
    encoder = Sees()
    encoder.w_avg.copy_(tiny.generator.w_avg)
    tiny.contents._encoder = encoder.eval()
    vars(tiny.photos).update(parser=Parser())
    return tiny


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def drawn(model, monkeypatch):
    """Texts and seeds of the pictures that were drawn of drawings."""
    asked, stream = [], model.stream

    def counted(jobs, **options):
        jobs = list(jobs)
        asked.extend(jobs)
        return stream(jobs, **options)

    monkeypatch.setattr(model, "stream", counted)
    return asked


@pytest.fixture
def tedi_(capsys, model, drawn, monkeypatch):
    """Runs an evaluation; gives exit status, lines of stdout, and stderr."""
    judge = Judge(Colors().eval().requires_grad_(False), "a judge", {"smile": 0.9})
    monkeypatch.setattr(COMMAND, "_load", lambda device: (model, judge))

    def call(*arguments):
        capsys.readouterr()
        status = run(["evaluate", *map(str, arguments), "--out", "out"])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def report():
    return json.loads(Path("out/report.json").read_text())


def scores(method):
    return {score["name"]: score for score in report()["scores"][method]}


SMALL = ("--count", 4, "--seeds", "0-1")
PARTS = ("", ": the mean face")
SKETCH = ("sketch", *SMALL, "--style", "edges")


def test_an_encoder_that_sees_follows_lines(tedi_, model):
    status, out, _ = tedi_("sketch", *SMALL, "--style", "edges,contour", "--variety", 0)
    assert status == 0
    assert out[0] == "4 sketches, 2 pictures each: drawn faces, psi 0.7"
    assert out[-1] == "out/report.json"
    assert sorted(path.name for path in Path("out").iterdir()) == [
        *("chart.png", "judged", "judgments.jsonl", "report.json")
    ]
    assert list(report()["scores"]) == ["edges", "contour"]
    for style in ("edges", "contour"):
        found = scores(style)
        ratio, mean = (found[f"line distance over a random face's{part}"] for part in PARTS)
        assert ratio["value"] < 0.5 * mean["value"]
        assert found["line distance, %: a random face"]["n"] == 8
        assert found["line distance, %: the source by another hand"]["n"] == 4
        assert 0 < found["diversity"]["value"] < 1.5
        assert found["Fréchet distance"]["n"] == 8
    assert report()["left_out"] == {"edges": {}, "contour": {}}
    assert set(model.contents.encoder.asked) == {"sketch"}


def test_an_encoder_of_noise_follows_nothing(tedi_, model):
    torch.manual_seed(0)
    noise = StructureEncoder(slots=16, ruled=9, width=8).eval().requires_grad_(False)
    noise.w_avg.copy_(model.generator.w_avg)
    model.contents._encoder = noise
    assert tedi_(*SKETCH)[0] == 0
    found = scores("edges")
    ratio, mean = (found[f"line distance over a random face's{part}"] for part in PARTS)
    assert ratio["value"] > 0.8 * mean["value"]
    tedi_("label", *SMALL)
    found = scores("label maps")
    share, mean = (found[f"mIoU of 11 classes{part}"] for part in PARTS)
    assert share["value"] < mean["value"] + 0.05


def test_an_encoder_that_sees_follows_parts(tedi_, model):
    status, out, _ = tedi_("label", *SMALL, "--variety", 0)
    assert (status, out[0]) == (0, "4 label maps, 2 pictures each: drawn faces, psi 0.7")
    found = scores("label maps")
    assert found["mIoU of 11 classes"]["value"] > 0.95
    assert found["mIoU of 11 classes: a random face"]["value"] < 0.85
    assert found["mIoU of 11 classes: the source, parsed"]["value"] == 1
    assert set(found["mIoU of all 19 classes"]["details"]["classes"]) == {"background", "skin"}
    assert set(model.contents.encoder.asked) == {"labels"}


def test_pictures_are_judged_one_by_one(tedi_, drawn):
    tedi_(*SKETCH)
    lines = [json.loads(line) for line in Path("out/judgments.jsonl").read_text().splitlines()]
    seeds = seeds_of("seed 0, psi 0.7", [0, 1])
    assert [job for job in drawn if job[1] in seeds] == [("", seed) for seed in seeds]
    mine = [line for line in lines if line["source"] == "seed 0" and line["method"] == "edges"]
    assert [line["seed"] for line in mine] == seeds
    alone = [line["line distance, %"] for line in lines if line["method"] == "edges"]
    assert np.mean(alone) == pytest.approx(scores("edges")["line distance, %"]["value"], rel=1e-4)
    assert {line["method"] for line in lines} == {"edges", "edges, a random face"}


def test_shares_reach_the_codes(tedi_):
    tedi_(*SKETCH, "--mix", "sketch=coarse:0")
    assert report()["mix"] == "sketch=coarse:0"
    assert scores("edges")["line distance over a random face's"]["value"] == pytest.approx(1)


@pytest.mark.parametrize("kind", ["sketch", "label"])
def test_captions_are_given_with_drawings(tedi_, drawn, kind):
    chosen = ("--style", "edges") if kind == "sketch" else ()
    status, _, _ = tedi_(kind, *SMALL, *chosen, "--texts", "captions")
    assert status == 0
    method = "edges" if kind == "sketch" else "label maps"
    names = scores(method)
    assert any("text, %" in name for name in names)
    assert 4 <= names["attribute accuracy"]["n"] <= 4 * 2 * 4
    texts = {text for text, _ in drawn}
    assert len(texts) == 5
    assert "" in texts
    lines = [json.loads(line) for line in Path("out/judgments.jsonl").read_text().splitlines()]
    assert {line["text"] for line in lines if "text" in line} == texts - {""}
    by_text = [{seed for text, seed in drawn if bool(text) is told} for told in (False, True)]
    assert by_text[0] == by_text[1]  # with the text at the same seeds


def test_why_a_metric_has_no_figure_is_told_without_texts_too(tedi_, monkeypatch):
    def none(self, sample):
        raise UsageError("no picture has lines")

    monkeypatch.setattr(LineRatio, "__call__", none)
    assert tedi_(*SKETCH)[0] == 0
    assert report()["left_out"]["edges"]["line-ratio"] == "no picture has lines"
    assert "lines-lost" not in report()["left_out"]["edges"]


def test_a_text_is_judged_as_the_encoder_reads_it(tedi_, model):
    assert tedi_(*SKETCH, "--text", "red  hair")[0] == 0
    assert report()["text"] == "red hair"
    assert "line distance added by text, %" in scores("edges")


def test_a_stopped_run_goes_on(tedi_, drawn, model, monkeypatch):
    look = Judge.look
    looked = []

    def stopped(judge, pictures):
        looked.append(1)
        if len(looked) == 6:
            raise KeyboardInterrupt
        return look(judge, pictures)

    monkeypatch.setattr(Judge, "look", stopped)
    assert tedi_(*SKETCH)[0] == 130
    before = len(drawn)
    assert tedi_(*SKETCH)[0] == 0
    assert len(drawn) - before == 6  # of the three faces that were not done
    before = len(drawn)
    first = report()
    assert tedi_(*SKETCH)[0] == 0
    assert (len(drawn), report()) == (before, first)
    tedi_(*SKETCH, "--texts", "captions")
    assert all(text for text, _ in drawn[before:])  # drawings alone are not drawn again
    before = len(drawn)
    tedi_(*SKETCH, "--variety", 0.1)
    assert len(drawn) - before == 8


@pytest.fixture
def photos():
    Path("faces").mkdir()
    for number, x in enumerate((-0.3, 0.0, 0.3)):
        images.to_pil(disc(x))[0].save(f"faces/{number}.png")


def test_photos_of_a_folder(tedi_, photos):
    Path("faces/1.png").write_text("no picture")
    status, out, _ = tedi_(*SKETCH, "--photos", "faces", "--sheet", "s.png")
    assert status == 0
    assert out[0] == "2 sketches, 2 pictures each: faces"
    assert out[-3].startswith("1.png: faces/1.png: no picture tedi can read")
    assert out[-2:] == ["out/report.json", "s.png"]
    assert list(report()["failed"]) == ["1.png"]
    record = images.read_provenance("s.png")
    assert record["photos"] == 2
    assert record["columns"] == ["source", "drawing", "seed 0", "seed 1"]


def test_maps_of_parquet_files(tedi_, model):
    from datasets import Dataset

    def packed(picture):
        file = io.BytesIO()
        picture.save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    Path("faces").mkdir()
    own = parse(disc(0.3))[0].numpy()
    columns = {
        "id": [7, 8, 9],
        "image": [packed(images.to_pil(disc())[0])] * 3,
        "label_map": [packed(Image.fromarray(own))] * 3,
    }
    Dataset.from_dict(columns).to_parquet("faces/part.parquet")
    arguments = ("--photos", "faces", "--rows", "1:3", "--seeds", "0-1", "--variety", 0)
    status, out, _ = tedi_("label", *arguments)
    assert (status, out[0]) == (0, "2 label maps, 2 pictures each: faces")
    assert report()["masks"] == 2
    found = scores("label maps")
    assert found["mIoU of 11 classes"]["value"] > 0.95  # the map's disc is followed …
    assert found["mIoU of 11 classes: the source, parsed"]["value"] < 0.8  # … not the photo's
    assert tedi_("label", *arguments, "--dry-run")[1] == ["8", "9"]


def test_dry_run_draws_nothing(tedi_, drawn):
    status, out, err = tedi_("sketch", "--faces", "5,9", "--dry-run")
    assert (status, out, err) == (0, ["seed 5", "seed 9"], "")
    _, out, _ = tedi_("label", "--faces", "5", "--dry-run", "--json")
    assert json.loads(out[0]) == {"source": "seed 5", "mask": False}
    assert drawn == []
    assert not Path("out").exists()


def test_json_is_the_report(tedi_):
    _, out, _ = tedi_("label", *SMALL, "--json")
    assert [json.loads(line) for line in out] == [report()]


def test_a_sheet_with_texts(tedi_):
    arguments = ("--texts", "captions", "--sheet", "s.png", "--style", "edges,contour")
    assert tedi_("sketch", *SMALL, *arguments)[0] == 0
    record = images.read_provenance("s.png")
    assert record["columns"][2:] == ["seed 0", "seed 1", "seed 0 + text", "seed 1 + text"]
    assert len(record["rows"]) == 8
    assert record["rows"][1].startswith("seed 0; contour; ")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["sketch", "--style", "pencil,ink"], 2, "unknown sketch style 'ink'"),
        (["sketch", "--mix", "photo=fine"], 2, "mix: photo is not given; given is sketch"),
        (["label", "--mix", "text=fine"], 2, "mix: text is not given; given is label"),
        (["sketch", "--text", "a man", "--texts", "captions"], 2, "leave one of them"),
        (["sketch", "--rows", "1:3"], 2, "--rows: is of photos"),
        (["label", "--photos", "nowhere"], 1, "nowhere: no such folder"),
        (["label", "--photos", ".", "--faces", "1"], 2, "--faces: is instead of --photos"),
        (["sketch", "--seeds", "1,1"], 2, "--seeds: one comes twice"),
        (["sketch", "--sheet", "s.gif"], 2, "s.gif"),
        (["label", "--style", "pencil"], 2, "--style"),
    ],
    ids=str,
)
def test_wrong_calls(tedi_, drawn, arguments, status, message):
    found, out, err = tedi_(*arguments)
    assert (found, out) == (status, [])
    assert message in err
    assert err.count("\n") == 1
    assert drawn == []


def test_where_all_fail_there_is_no_report(tedi_, photos):
    for path in Path("faces").iterdir():
        Image.new("RGB", (64, 64), "grey").save(path)
    status, out, err = tedi_("sketch", "--photos", "faces", "--style", "edges")
    assert (status, out) == (1, [])
    assert "no drawing could be made; 0.png: sketch: no lines found" in err
    assert not Path("out/report.json").exists()
