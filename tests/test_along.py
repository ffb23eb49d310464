"""Faces edited along directions: shipped ones, those of files, and channels of S."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_channels import Styled
from test_hearing import Words
from test_mapper import mapper, published
from test_transform import network as stylegan3
from tiny import TinyGenerator, code_reader, text_encoder, toolkit

from tedi import images, zoo
from tedi.checkpoints import codes
from tedi.checkpoints import directions as files
from tedi.cli import run
from tedi.cli.faces import Step, edit_record
from tedi.editing.direction import SHIPPED, Along
from tedi.errors import TediError, UsageError
from tedi.images import read_provenance
from tedi.latents import Direction

SLOTS, WIDTH = 16, 8


def channel(number, size=21) -> Direction:
    return Direction("bangs", torch.eye(size)[number], "s", std=0.5)


@pytest.fixture
def model():
    encoder = text_encoder(code_reader())
    encoder.read = Words().read
    return toolkit(Styled(), encoder)


@pytest.fixture
def tedi_(tmp_path, monkeypatch, capsys, model):
    """Runs a command where an axis of W, two directions and a channel of S lie in files."""
    monkeypatch.chdir(tmp_path)
    np.save("axis.npy", np.eye(WIDTH)[2:3])
    two = [Direction("hair_color=red", torch.ones(WIDTH)), Direction("b", torch.eye(16, 8), "w+")]
    files.save(Path("two.safetensors"), two, {})
    files.save(Path("s.safetensors"), [channel(3)], {})
    files.save(Path("far.safetensors"), [channel(3, size=9)], {})
    for name in ("edit", "redo"):
        module = importlib.import_module(f"tedi.cli.{name}")
        monkeypatch.setattr(module, "_load", lambda **options: model)

    def call(*arguments):
        capsys.readouterr()
        status = run([*map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def code(path):
    return codes.load(Path(path), slots=SLOTS, width=WIDTH)


# --- the command ---------------------------------------------------------------------------------


def test_strength_is_the_displacement_in_w(tedi_, model):
    call = ("edit", 7, "--direction", "axis.npy=-1.5", "--save-code", "a.safetensors")
    assert tedi_(*call)[:2] == (0, ["seed7-axis.png", "a.safetensors"])
    moved = code("a.safetensors") - model.begun("", 7)[0]
    torch.testing.assert_close(moved, torch.eye(WIDTH)[2].expand(SLOTS, -1) * -1.5)
    [step] = read_provenance("seed7-axis.png")["edits"]
    sha256 = zoo.sha256(Path("axis.npy"))[:16]
    assert step == {"text": "axis", "strength": -1.5, "method": f"direction:{sha256}:axis.npy"}


def test_a_channel_of_s_moves_by_the_strength(tedi_, model):
    call = ("edit", 7, "--direction", "s.safetensors=2", "--save-code", "a.safetensors")
    assert tedi_(*call)[0] == 0
    styles = [
        model.generator.styles(ws) for ws in (model.begun("", 7), code("a.safetensors")[None])
    ]
    before, after = (torch.cat(list(each.values()), dim=1)[0] for each in styles)
    torch.testing.assert_close(after - before, 2 * torch.eye(21)[3], atol=0.1, rtol=0)


def test_pictures_go_on_and_back_and_are_made_again(tedi_):
    red = "two.safetensors:hair_color=red"
    both = ("--direction", f"{red}=0.5", "--direction", "s.safetensors=-20")
    assert tedi_("edit", 7, "older", *both, "--out", "all.png")[0] == 0
    assert [e["text"] for e in read_provenance("all.png")["edits"]] == [
        "older",
        "hair_color=red",
        "bangs",
    ]
    assert tedi_("edit", 7, "older", "--direction", f"{red}=0.5", "--out", "two.png")[0] == 0
    assert tedi_("edit", "two.png", "--direction", "s.safetensors=-20", "--out", "on.png")[0] == 0
    assert tedi_("edit", "all.png", "--undo", 1, "--out", "back.png")[0] == 0
    assert tedi_("run", "all.png", "--out", "again.png")[0] == 0
    assert (
        tedi_("edit", 7, "older", *both, "--strength", "0,1", "--strip", "--out", "s.png")[0] == 0
    )
    assert Path("on.png").read_bytes() == Path("all.png").read_bytes()
    assert Path("back.png").read_bytes() == Path("two.png").read_bytes()
    assert Path("again.png").read_bytes() == Path("all.png").read_bytes()


def test_strips_end_with_directions(tedi_):
    more = ("--direction", "axis.npy=1", "--direction", "s.safetensors=1", "--strip")
    assert tedi_("edit", 7, "older", *more, "--strength", "0,1", "--out", "a.png")[0] == 0
    record = read_provenance("a.png")
    assert record["strip"] == ["before", "0", "1"]
    assert [len(column) for column in record["columns"]] == [0, 3, 3]
    assert tedi_("edit", 7, *more, "--out", "b.png")[0] == 0
    record = read_provenance("b.png")
    assert record["strip"] == ["before", "axis", "bangs"]
    assert [len(column) for column in record["columns"]] == [0, 1, 2]


def test_directions_follow_a_mapper(tedi_):
    published(Path("afro.pt"), mapper(width=WIDTH, medium=2, fine=4))
    call = ("edit", 7, "--mapper", "afro.pt", "--direction", "axis.npy=1", "--strength", "0.5")
    status, out, err = tedi_(*call)
    assert (status, out) == (0, ["seed7-afro-axis.png"]), err
    steps = read_provenance(out[0])["edits"]
    assert [(step["text"], step["strength"]) for step in steps] == [("afro", 0.5), ("axis", 1.0)]


def test_another_file_of_the_name_is_refused(tedi_, model):
    assert tedi_("edit", 7, "--direction", "axis.npy=1", "--out", "a.png")[0] == 0
    np.save("axis.npy", np.eye(WIDTH)[1:2])
    model._directions.clear()
    status, _, err = tedi_("run", "a.png", "--out", "b.png")
    assert (status, "axis.npy: no longer the direction that was used" in err) == (1, True)


def test_dry_run_tells_space_and_what_codes_leave_out(tedi_):
    call = ("edit", 7, "--direction", "s.safetensors=2", "--direction", "axis.npy=1", "--dry-run")
    assert tedi_(*call)[1] == [
        '"bangs": by 2 along a direction of S, 4 standard deviations; codes leave 8 % of it out',
        '"axis": by 1 along a direction of W',
    ]
    told = [json.loads(line) for line in tedi_(*call, "--json")[1]]
    assert [(t["direction"], t["space"], t["strength"]) for t in told] == [
        ("bangs", "s", 2.0),
        ("axis", "w", 1.0),
    ]
    assert not list(Path().glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["smile"], 2, "expected NAME=STRENGTH such as smile=2"),
        (["=2"], 2, "expected NAME=STRENGTH"),
        (["smile=much"], 2, "expected NAME=STRENGTH"),
        (["smile=nan"], 2, "up to 100 either way"),
        (["smile=-101"], 2, "up to 100 either way"),
        (["smlie=2"], 2, "unknown direction 'smlie'; did you mean 'smile'?"),
        (["two.safetensors=2"], 2, "holds 2 directions; name one"),
        (["two.safetensors:c=2"], 2, "unknown direction 'c'"),
        (["none.npy=2"], 1, "none.npy"),
        (["smile=2"], 2, "smile: 512 channels; tiny has W of 8"),
        (["far.safetensors=2"], 2, "bangs: expected 21 channels of S, got 9"),
        (["axis.npy=2", "--strength", "2"], 2, "--strength: is of TEXT"),
    ],
)
def test_wrong_directions_are_one_line(tedi_, arguments, status, says):
    found, out, err = tedi_("edit", 7, "--direction", *arguments)
    assert (found, out, err.count("\n")) == (status, [], 1)
    assert says in err
    assert not list(Path().glob("*.png"))


def test_strengths_below_nothing_are_of_directions_alone(tedi_):
    steps = [Step("older", -1.0, "default")]
    record = edit_record(toolkit(), {"seed": 7, "psi": 0.7}, steps)
    images.save(Image.new("RGB", (8, 8)), "a.png", record)
    status, _, err = tedi_("edit", "a.png", "--direction", "axis.npy=1")
    assert (status, "its record tells no face" in err) == (1, True)


# --- parts ---------------------------------------------------------------------------------------


def test_faces_move_along_shipped_directions():
    model = toolkit(TinyGenerator(width=512))
    ws = torch.zeros(16, 512)
    face = model.along(ws, "smile", strength=-2, preview=True)
    smile = files.load(zoo.path(SHIPPED))["smile"].vector
    torch.testing.assert_close(face.ws, (-2 * smile).expand(16, -1))
    assert face.record["edits"][0]["text"] == "smile"
    with pytest.raises(UsageError, match="strength: expected -100"):
        model.along(ws, "smile", strength=200)
    with pytest.raises(TediError, match="no longer the direction"):
        model.direction(f"direction:{'0' * 16}:smile")
    model._directions.clear()
    model._text = None
    with pytest.raises(UsageError, match="smile: tedi's networks know the W of"):
        model.along(ws, "smile", strength=1)


def test_w_plus_and_slots_of_another_generator_are_refused():
    generator = TinyGenerator()
    assert Along(Direction("x", torch.ones(16, 8), "w+"), generator).missed == 0
    with pytest.raises(UsageError, match="10 slots belong to another generator"):
        Along(Direction("x", torch.ones(10, 8), "w+"), generator)
    with pytest.raises(UsageError, match="slots \\(17,\\), but ws has 16"):
        Along(Direction("x", torch.ones(8), slots=(17,)), generator)


def test_a_direction_of_s_needs_one_w():
    class Apart(Styled):
        def mapping(self, z):
            return super().mapping(z)[:, None].repeat(1, SLOTS, 1)

    with pytest.raises(UsageError, match="tiny: maps each slot apart"):
        Along(channel(3), Apart())


def test_the_input_of_stylegan3_is_no_channel_that_codes_move():
    G = stylegan3()
    size = sum(style.shape[1] for style in G.styles(G.w_avg.expand(1, G.slots, -1)).values())
    with pytest.raises(UsageError, match="bangs: moves channels that codes of W\\+ do not move"):
        Along(channel(0, size), G)
    ws = G.w_avg.expand(1, G.slots, -1)
    found = Along(channel(40, size), G)
    before, after = (
        torch.cat(list(G.styles(codes).values()), dim=1)[0]
        for codes in (ws, found(ws, strength=3.0))
    )
    assert (after - before)[40] == pytest.approx(3, rel=0.05)
    assert 0 < found.missed < 0.1
