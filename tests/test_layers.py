"""The layer table: what a slot is known to carry is found, and what it is used for."""

import importlib
import json
import re

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny import TinyGenerator

from tedi import attributes, control
from tedi.checkpoints import layers as files
from tedi.cli import run
from tedi.errors import TediError, UsageError
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.semantics import charts
from tedi.semantics.layers import (
    ROWS,
    judge_swaps,
    row,
    shipped_table,
    slot_sizes,
    slots_for,
    swaps,
    tabulate,
)

COMMAND = importlib.import_module("tedi.cli.layers")
SIZES = (4, *(8 * 2**i for i in range(7) for _ in (0, 1)), 1024)


class Bare(TinyGenerator):
    """Its pictures are its codes, so that a judge can be made to look at one slot."""

    resolution = 1024

    def layers(self, group):
        return MobileStyleGAN.layers(None, group)

    def preview(self, ws):
        return ws[:, None].expand(-1, 3, -1, -1)

    synthesis = preview


def judge(image):
    """Smile shows slot 5, pose slots 1 and 2 alike, age most of 3, 6 and 8; hats are never seen."""
    rows, columns = image.shape[-2] // 16, image.shape[-1] // 8
    code = image[:, 0, ::rows, ::columns]
    logits = torch.zeros(len(image), len(attributes.COLUMNS))
    logits[:, attributes.SPANS["smile"].start] = 2 * code[:, 5, 0]
    logits[:, attributes.SPANS["pose"].start] = 0.01 * (code[:, 1, 0] + code[:, 2, 1])
    logits[:, attributes.SPANS["age"].start] = 9 * code[:, [3, 6, 8], 2].sign().sum(1)
    logits[:, attributes.SPANS["background blue"].start] = code[:, 12, 3]
    logits[:, attributes.SPANS["background red"].start] = code[:, 14, 4]
    return logits


def measure(count=60, seed=0):
    network = Bare()
    pairs = [
        control.style_codes(network, [seed + 2 * i, seed + 2 * i + 1], psi=1) for i in range(count)
    ]
    return torch.stack([judge_swaps(pair, network.preview, judge) for pair in pairs])


@pytest.fixture(scope="module")
def table():
    told = {"figures": json.dumps({"pairs": 60, "judge": "fake"}), "licence": "MIT"}
    return tabulate(measure(), Bare(), told)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """The command with tiny parts, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    hashes = {"judge sha256": "0" * 64}
    monkeypatch.setattr(COMMAND, "_parts", lambda how: (Bare(), judge, hashes))
    return tmp_path


@pytest.fixture
def tedi_(capsys):
    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


# --- measuring -----------------------------------------------------------------------------------


def test_swaps_are_none_all_each_alone_and_the_first_ones():
    wanted = [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert swaps(3).int().tolist() == wanted


def test_rows_of_judgments_are_those_swaps():
    a, b = torch.zeros(16, 8), torch.ones(16, 8)
    seen = []
    judge_swaps(torch.stack([a, b]), lambda ws: seen.append(ws) or ws[:, None], judge, batch_size=5)
    assert max(map(len, seen)) == 5
    assert torch.equal(torch.cat(seen)[:, :, 0].bool(), swaps(16))


def test_sizes_of_slots():
    assert slot_sizes(Bare()) == SIZES


def test_the_slot_that_carries_an_attribute_is_found(table):
    smile = table.alone[:, row(table, "smile")]
    assert smile[:, 5].tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    assert smile[0].sum().item() == pytest.approx(1, abs=1e-3)
    cumulative = table.cumulative[0, row(table, "smile")]
    assert cumulative.tolist() == pytest.approx([0] * 5 + [1] * 11, abs=1e-3)


def test_slots_that_act_independently_share_the_effect(table):
    value, low, high = table.alone[:, row(table, "pose")]
    assert value.sum().item() == pytest.approx(1, abs=0.02)
    for slot in (1, 2):
        assert 0 < low[slot] < value[slot] < high[slot] < 1
        assert 0.2 < value[slot] < 0.8
    assert table.cumulative[0, row(table, "pose"), 2].item() == pytest.approx(1, abs=1e-3)


def test_a_slot_that_the_others_outvote_shows_once_they_are_swapped():
    pair = torch.stack([-torch.ones(16, 8), torch.ones(16, 8)])
    judged = [judge_swaps(p, Bare().preview, judge) for p in (pair, pair.flip(0))]
    voted = tabulate(torch.stack(judged), Bare(), {})
    number = row(voted, "age")
    assert voted.alone[0, number].tolist() == pytest.approx([0] * 16, abs=1e-3)
    assert voted.cumulative[0, number].tolist() == pytest.approx([0] * 6 + [1] * 10, abs=1e-3)


def test_an_attribute_in_which_faces_never_differ_has_no_effect(table):
    number = row(table, "hat")
    assert not table.alone[:, number].any()
    assert table.differ[number] == 0
    assert 0 < table.differ[row(table, "smile")] < 1


def test_background_sums_its_words(table):
    background = table.alone[0, row(table, "background")]
    assert background[12] > 0.2 < background[14]
    assert background.sum().item() == pytest.approx(1, abs=0.01)
    assert table.alone[0, row(table, "background blue"), 12].item() == pytest.approx(1, abs=1e-3)


def test_intervals_narrow_with_more_pairs():
    log_p = measure(160)
    few, many = (tabulate(log_p[:n], Bare(), {}) for n in (10, 160))
    low, high = (few.alone[1:, row(few, "pose"), 1] - many.alone[1:, row(few, "pose"), 1]).tolist()
    assert low < -0.02
    assert high > 0.02


def test_one_pair_tells_nothing():
    with pytest.raises(UsageError, match="count: expected 2 pairs"):
        tabulate(measure(1), Bare(), {})


# --- choosing slots ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "share", "wanted"),
    [
        ([], 0.8, ()),
        (["smile"], 0.8, (5,)),
        (["smile", "smile"], 1, (5,)),
        (["pose"], 0.8, (1, 2)),
        (["smile", "pose"], 0.95, (1, 2, 5)),
        (["smile", "pose"], 0.5, (5,)),
        (["background blue"], 0.8, (12,)),
        (["background"], 0.8, (12, 14)),
        (["hat"], 0.8, ()),
    ],
)
def test_slots_for(table, groups, share, wanted):
    assert slots_for(table, groups, share) == wanted


def test_slots_for_takes_any_iterable(table):
    assert slots_for(table, (name for name in ["smile"])) == (5,)


@pytest.mark.parametrize("share", [0, -1, 1.1])
def test_share_out_of_range(table, share):
    with pytest.raises(UsageError, match="share: expected above 0 to 1"):
        slots_for(table, ["smile"], share)


def test_a_near_attribute_is_suggested(table):
    with pytest.raises(UsageError, match="did you mean 'smile'"):
        slots_for(table, ["smiles"])


# --- files ---------------------------------------------------------------------------------------


def test_a_table_comes_back(table, tmp_path):
    path = tmp_path / "t.safetensors"
    files.save(path, table)
    back = files.load(path)
    assert (back.attributes, back.sizes) == (tuple(ROWS), SIZES)
    for part in ("alone", "cumulative", "differ"):
        assert torch.equal(getattr(back, part), getattr(table, part))
    assert back.metadata["licence"] == "MIT"
    with pytest.raises(TediError, match="exists"):
        files.save(path, table)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "expected a layer table, holds nothing of tedi's"),
        ({"kind": "directions"}, "expected a layer table, holds directions"),
        ({"kind": "layer table"}, "damaged: 'attributes'"),
        ({"kind": "layer table", "attributes": "[", "sizes": "[4]"}, "damaged"),
        ({"kind": "layer table", "attributes": '["a"]', "sizes": "[4]"}, "damaged: .*shapes"),
    ],
)
def test_files_that_hold_no_table(tmp_path, metadata, message):
    path = tmp_path / "t.safetensors"
    tensors = {key: torch.zeros(3, 2, 2) for key in ("alone", "cumulative", "differ")}
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(TediError, match=message):
        files.load(path)


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_files_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "t.safetensors"
    if content:
        path.write_bytes(content)
    with pytest.raises(TediError, match="not a readable safetensors file"):
        files.load(path)


def test_rows_are_made_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "KEEP_EVERY", 2)
    path, made = tmp_path / "rows.safetensors", []

    def make(number):
        if number == 3 and len(made) == 3:
            raise KeyboardInterrupt
        made.append(number)
        return torch.full((2,), float(number))

    with pytest.raises(KeyboardInterrupt):
        files.resumed(make, count=5, path=path, about={"seed": 0})
    made.append(None)
    seen = []
    rows = files.resumed(make, count=5, path=path, about={"seed": 0}, on_row=seen.append)
    assert made == [0, 1, 2, None, 2, 3, 4]
    assert seen == [2, 3, 4, 5]
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(files.resumed(make, count=3, path=path, about={"seed": 0}), rows[:3])
    with pytest.raises(TediError, match=r"another measurement \(.*seed.*0.*\); delete it"):
        files.resumed(make, count=5, path=path, about={"seed": 1})


# --- for people ----------------------------------------------------------------------------------


def test_lines(table):
    slot, px, smile, hat = charts.lines(table, ["smile", "hat"])
    assert slot.split() == ["slot", *map(str, range(16)), "sum", "80", "%", "in"]
    assert px.split() == ["px", *map(str, SIZES)]
    assert smile.split() == ["smile", *"·····", "100*", *"·" * 10, "100", "5"]
    assert hat.split()[-1] == "0"
    _, _, steps = charts.lines(table, ["smile"], measure="cumulative")
    assert steps.split() == ["smile", *"·" * 5, *["100"] * 11]


def test_heat_map_darkens_with_the_effect(table):
    picture = charts.heat_map(table, ["smile", "pose"], subtitle="60 pairs")
    assert picture.mode == "RGB"
    left = picture.width - 2 * charts.MARGIN - 2 * 16 * charts.CELL
    top = charts.MARGIN + 7 * charts.FONT
    grounds = [
        sum(picture.getpixel((left + charts.CELL * slot + 8, top + 8))) for slot in range(16)
    ]
    assert min(grounds) == grounds[5] < 300
    assert grounds[0] == 3 * 255


# --- the command ---------------------------------------------------------------------------------


def test_measuring_and_showing(tedi_, fake):
    status, out, err = tedi_("layers", "--measure", "--count", 12, "--out", "t.safetensors")
    assert status == 0, err
    assert [path.name for path in fake.iterdir()] == ["t.safetensors"]
    assert out[0].split()[0] == "slot"
    assert len(out) == 2 + 18 + 2
    assert "pairs 12" in out[-1]
    assert tedi_("layers", "t.safetensors")[1] == out
    told = files.load(fake / "t.safetensors").metadata
    assert json.loads(told["figures"])["judge sha256"] == "0" * 64
    assert told["seeds"].startswith("0 to 23")


def test_full_pictures_are_judged_at_256(tedi_, fake):
    _, shown, _ = tedi_("layers", "--measure", "--count", 3, "--out", "a.safetensors")
    status, out, err = tedi_(
        "layers", "--measure", "--count", 3, "--full", "--out", "b.safetensors"
    )
    assert status == 0, err
    assert out[:-1] == shown[:-1]
    assert "full size averaged" in out[-1]


@pytest.fixture
def saved(table, fake):
    files.save(fake / "t.safetensors", table)
    return "t.safetensors"


def test_rows_asked_for(tedi_, saved):
    asked = ["--attribute", "smile", "--attribute", "background blue"]
    _, out, _ = tedi_("layers", saved, *asked)
    assert [line.split()[0] for line in out[2:4]] == ["smile", "background"]
    assert len(tedi_("layers", saved, "--words")[1]) == 2 + len(ROWS) + 2
    _, steps, _ = tedi_("layers", saved, "--attribute", "smile", "--cumulative")
    assert steps[2].count("100") == 11


def test_json(tedi_, saved):
    _, out, _ = tedi_("layers", saved, "--json", "--attribute", "pose")
    (told,) = map(json.loads, out)
    assert told["attribute"] == "pose"
    assert told["slots"] == [1, 2]
    assert tuple(told["sizes"]) == SIZES
    for key in ("alone", "alone low", "alone high", "cumulative"):
        assert len(told[key]) == 16


def test_plot(tedi_, saved, fake):
    status, _, err = tedi_("layers", saved, "--plot", "t.png")
    assert (status, err) == (0, "t.png\n")
    assert Image.open("t.png").width > 1500
    status, _, err = tedi_("layers", saved, "--plot", "t.png")
    assert status == 1
    assert "--overwrite" in err
    assert tedi_("layers", saved, "--plot", "t.png", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing.safetensors"], 1, "missing.safetensors: not a readable"),
        (["t.safetensors", "--attribute", "smiles"], 2, "did you mean 'smile'"),
        (["t.safetensors", "--count", "4"], 2, "--count: is about measuring; add --measure"),
        (["--overwrite"], 2, "--overwrite: is about measuring"),
        (["--measure"], 2, "expected --out FILE.safetensors"),
        (["--measure", "--out", "a.png"], 2, "expected --out FILE.safetensors"),
        (["t.safetensors", "--measure", "--out", "a.safetensors"], 2, "no FILE to read"),
        (["--measure", "--out", "t.safetensors"], 1, "t.safetensors: already exists; pass --over"),
        (["--measure", "--out", "a.safetensors", "--seed", 2**32 - 3], 2, "--seed: 600 faces"),
        (["t.safetensors", "--plot", "a.txt"], 2, "unknown picture suffix"),
    ],
)
def test_called_wrongly(tedi_, saved, arguments, status, message):
    found, _, err = tedi_("layers", *arguments)
    assert (found, err.count("\n")) == (status, 1)
    assert re.search(re.escape(message), err)


def test_the_shipped_table_belongs_to_the_generator():
    table = shipped_table()
    assert table.sizes == SIZES
    assert table.attributes == tuple(ROWS)
    told = json.loads(table.metadata["figures"])
    assert told["pairs"] >= 160
    assert (told["pictures"], told["judge"]) == ("preview 256 px", "attributes-lite0")
    assert re.fullmatch("[0-9a-f]{64}", told["judge sha256"])
    assert table.cumulative[0, :, -1].tolist() == pytest.approx([1] * len(ROWS), abs=1e-3)
