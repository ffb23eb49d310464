"""Edits by a latent mapper, without words: videos and pictures of generators of another W."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_editing import maps
from test_foreign import save
from test_foreign import tiny as stylegan2
from test_mapper import mapper, published
from test_transform import network as stylegan3
from test_video import BOX, RED, Parser, describe, detect, drawn, films, packets, read
from tiny import toolkit

from tedi.checkpoints import bundle
from tedi.cli import run
from tedi.cli.asked import Asked
from tedi.cli.faces import Step
from tedi.cli.video_networks import networks_of
from tedi.editing.mapper import Mapped, method_of
from tedi.encoders.psp import Encoder4Editing
from tedi.errors import UsageError
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.images import read_provenance
from tedi.inversion.pti import PivotalTuning, TuningOptions
from tedi.video.clip import work_folder
from tedi.video.files import read_record

WIDTH = 64  # of W
FAMILIES = ("stylegan2", "stylegan3")
SLOTS = {"stylegan2": (4, 8), "stylegan3": (5, 7)}  # at which medium and fine groups begin
FRAMES = 6


def file_of(path, kind, architecture, network, header=None, **facts):
    config = network.config
    part = bundle.bundle_of(kind, architecture, network.state_dict(), "x", config=config)
    part.facts.update(facts)
    bundle.save(path, {kind: part}, metadata=header)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A generator of each family, its encoder and a mapper; and mappers that do not fit."""
    folder = tmp_path_factory.mktemp("files")
    save(folder / "stylegan2.safetensors", stylegan2(width=WIDTH, z_width=WIDTH))
    G = stylegan3(w_dim=WIDTH, z_dim=WIDTH)
    file_of(folder / "stylegan3.safetensors", "generator", "stylegan3", G)
    for name, slots in (("stylegan2", 10), ("stylegan3", 8)):
        torch.manual_seed(0)
        encoder = Encoder4Editing(slots=slots, width=WIDTH)
        file_of(folder / f"{name}-encoder.safetensors", "encoder", "e4e", encoder)
        medium, fine = SLOTS[name]
        moved = mapper(width=WIDTH, medium=medium, fine=fine, depth=1)
        file = folder / f"{name}-afro.safetensors"
        file_of(file, "latent mapper", "styleclip", moved, prompt="an afro")
    for name, config in {"narrow": {"width": 8}, "long": {"width": WIDTH, "fine": 12}}.items():
        torch.manual_seed(0)
        file = folder / f"{name}.safetensors"
        file_of(file, "latent mapper", "styleclip", mapper(**config))
    published(folder / "other.pt", mapper(width=WIDTH))
    ours = {"for": MobileStyleGAN.name}
    file_of(folder / "ours.safetensors", "latent mapper", "styleclip", mapper(width=WIDTH), ours)
    return folder


@pytest.fixture
def clip(tmp_path):
    """A short film of a square that walks."""
    films.write(tmp_path / "in.mp4", [drawn((20 + n, 40, BOX, RED)) for n in range(FRAMES)])
    return tmp_path / "in.mp4"


@pytest.fixture
def tedi_(tmp_path, monkeypatch, capsys):
    """Runs a command by what files hold; only what looks at frames is stood in for."""
    from tedi.cli.generate import _load

    def load(**options):
        model = _load(**options)
        looks = {"detector": detect, "identity": describe, "parser": Parser()}
        vars(model.photos).update(looks)
        return model

    def call(*arguments):
        status = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tedi.cli.video._load", load)
    return call


def networks(files, family):
    """Options that name a generator of another W and its encoder."""
    generator = files / f"{family}.safetensors"
    return ("--generator", generator, "--encoder", files / f"{family}-encoder.safetensors")


def by(files, family):
    """Options that name networks and the mapper of their W."""
    return (*networks(files, family), "--mapper", files / f"{family}-afro.safetensors")


# --- videos --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mapper_edits_a_video_of_another_w(tedi_, files, clip, family):
    status, [line], err = tedi_("video", clip, *by(files, family), "--json", "--strength", "2")
    assert status == 0, err
    told, name = json.loads(line), f"in-{family}-afro.mp4"
    assert (told["path"], told["unheard"], told["without_face"]) == (name, [], 0)
    assert told["crop"] == ("first" if family == "stylegan3" else "face")
    record = read_record(name)
    [step] = record["edits"]
    text = f"{family}-afro"
    assert step == {
        "text": text,
        "strength": 2.0,
        "method": method_of(files / f"{text}.safetensors"),
    }
    assert set(record["weights"]) == {f"{family}.safetensors", f"{family}-encoder.safetensors"}
    assert packets(name, "audio") == packets(clip, "audio")
    inner = np.s_[45:75, 30:50]  # of the square in all frames
    for before, after in zip(read(clip), read(name), strict=True):
        away = np.abs(after.astype(int) - before)
        assert away[inner].mean() > 8
        assert away[:, 110:].mean() < 3


def test_one_move_of_the_mapper_edits_the_clip_or_each_frame_has_its_own(
    tedi_, files, clip, monkeypatch
):
    asked = []

    def counted(self, ws, *, strength):
        asked.append(ws)
        return call(self, ws, strength=strength)

    call = Mapped.__call__
    monkeypatch.setattr(Mapped, "__call__", counted)
    assert tedi_("video", clip, *by(files, "stylegan2"), "--out", "a.mp4")[0] == 0
    assert len(asked) == 2  # of the mean of W, before anything is looked at, and of the person
    asked.clear()
    more = ("--per-frame", "--smooth", "0")
    assert tedi_("video", clip, *by(files, "stylegan2"), *more, "--out", "b.mp4")[0] == 0
    assert len(asked) == 1 + FRAMES


def test_strength_nought_of_a_mapper_keeps_the_video(tedi_, files, clip):
    more = ("afro", "--strength", "0", "--crf", "0", "--out", "a.mp4")
    assert tedi_("video", clip, *by(files, "stylegan2"), *more)[0] == 0
    away = np.abs(np.array(read("a.mp4")).astype(int) - read(clip))
    assert away.mean() < 1.5  # as of frames that are merely written again


def test_the_move_is_the_mappers(files):
    """What a step of a record does to a code, on tiny parts whose words must not be read."""
    tiny = toolkit()
    tiny._text = None
    path = published(files / "tiny.pt", mapper(width=tiny.generator.width))
    networks_ = {"detector": detect, "identity": describe, "encoder": None, "parser": None}
    vars(tiny.photos).update(networks_)
    step = Step("afro", 0.5, method_of(path))
    edit = networks_of(tiny, [step, step], size="preview").edit
    ws = torch.randn(1, 16, tiny.generator.width)
    way = Mapped(path, tiny.generator)
    once = way(ws, strength=0.5)
    torch.testing.assert_close(edit(ws), way(once, strength=0.5))
    [face] = tiny.edit(ws[0], "afro", strength=0.5, method=step.method)
    torch.testing.assert_close(face.ws, once[0])


def test_the_generator_is_tuned_before_a_mapper_edits(tedi_, files, clip, monkeypatch):
    from tedi.pipeline.photos import Photos

    class Features:
        maps = staticmethod(maps)

    monkeypatch.setattr(Photos, "features", Features)
    monkeypatch.setattr(PivotalTuning, "defaults", TuningOptions(steps=1, local=0.0, finish=0))
    more = ("--tune", "--key-frames", "1", "--out", "a.mp4")
    status, _, err = tedi_("video", clip, *by(files, "stylegan2"), *more)
    assert status == 0, err
    record = read_record("a.mp4")
    assert (record["tune"], record["key_frames"]) == (1, [[3]])


def test_a_stopped_run_goes_on_with_its_own_mapper_alone(tedi_, files, clip, tmp_path, monkeypatch):
    arguments = ("video", clip, "afro", *networks(files, "stylegan2"))
    mapper_ = tmp_path / "afro.safetensors"
    mapper_.write_bytes((files / "stylegan2-afro.safetensors").read_bytes())
    assert tedi_(*arguments, "--mapper", mapper_, "--out", "whole.mp4")[0] == 0

    def stop(clip, record, progress=None):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tedi.video.Clip.draw", stop)
        assert tedi_(*arguments, "--mapper", mapper_, "--out", "out.mp4")[0] != 0
    assert work_folder(Path("out.mp4")).is_dir()
    resumed = (*arguments, "--resume", "--out", "out.mp4")
    status, _, err = tedi_(*resumed, "--mapper", files / "other.pt")
    assert (status, "is of a run with another edits" in err) == (2, True)
    mapper_.unlink()  # another under the same name
    file_of(mapper_, "latent mapper", "styleclip", mapper(width=WIDTH, depth=2))
    status, _, err = tedi_(*resumed, "--mapper", mapper_)
    assert (status, "is of a run with another edits" in err) == (2, True)
    mapper_.write_bytes((files / "stylegan2-afro.safetensors").read_bytes())
    status, _, err = tedi_(*resumed, "--mapper", mapper_)
    assert status == 0, err
    assert Path("out.mp4").read_bytes() == Path("whole.mp4").read_bytes()


# --- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["video", "edit"])
def test_a_dry_run_tells_what_a_mapper_knows(tedi_, files, clip, command):
    face = clip if command == "video" else 7
    file = files / "stylegan2-afro.safetensors"
    asked = (command, face, "curls", *by(files, "stylegan2"), "--dry-run")
    status, out, err = tedi_(*asked)
    line = f"\"curls\": by the latent mapper {file}, trained for 'an afro'"
    assert (status, out, err) == (0, [line], "")
    told = {"text": "curls", "mapper": str(file), "knows": "an afro"}
    assert json.loads(tedi_(*asked, "--json")[1][0]) == told
    assert [p.name for p in Path().iterdir()] == ["in.mp4"]


def test_a_published_mapper_tells_its_text_too(files, capsys):
    tiny = toolkit()
    path = published(files / "published.pt", mapper(width=tiny.generator.width))
    Asked(("afro",), method_of(path), path).explain(tiny, as_json=False)
    assert capsys.readouterr().out.endswith("published.pt, trained for 'surprised'\n")


WRONG = {
    "method": (["--method", "mix"], 2, "--mapper: is instead of --method; leave one of them"),
    "two mappers": (["--mapper", "other.pt"], 2, "--mapper: one edits at a time, and 2 are given"),
    "two texts": (["older", "wider"], 2, "--mapper: knows one text, and 2 are given"),
    "two strengths": (["--strength", "1,2"], 2, "--strength: 2 numbers"),
}
UNFIT = {
    "none.pt": (1, "none.pt: no such file"),
    "narrow.safetensors": (2, "its mapper is of W of 8; stylegan2 has 64"),
    "long.safetensors": (2, "its mapper is of 13 slots or more; stylegan2 has 10"),
    "ours.safetensors": (2, "its mapper is of the W of mobilestylegan-ffhq; this stylegan2 has"),
    "stylegan2.safetensors": (1, "expected a latent mapper, holds generator"),
}


@pytest.mark.parametrize("command", ["video", "edit"])
@pytest.mark.parametrize("case", [*WRONG, *UNFIT])
def test_what_is_wrong_with_a_mapper_is_one_line(
    tedi_, files, clip, tmp_path, monkeypatch, command, case
):
    monkeypatch.chdir(files)
    out = tmp_path / ("out.mp4" if command == "video" else "out.png")
    arguments, status, says = WRONG.get(case) or ([], *UNFIT[case])
    if case == "two strengths" and command == "edit":
        says = "--strength: 2 of them make a strip"
    asked = (command, clip if command == "video" else 7, *arguments, "--out", out)
    file = case if case in UNFIT else "stylegan2-afro.safetensors"
    found = tedi_(*asked, *networks(files, "stylegan2"), "--mapper", file)
    assert found[:2] == (status, [])
    assert says in found[2]
    assert found[2].count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_generator_of_another_w_needs_an_encoder_of_its_own(tedi_, files, clip):
    own = ("--generator", files / "stylegan2.safetensors")
    status, out, err = tedi_("video", clip, *own, "--mapper", files / "stylegan2-afro.safetensors")
    assert (status, out) == (2, [])
    assert "pass --encoder FILE" in err
    assert [p.name for p in Path().iterdir()] == ["in.mp4"]


def test_words_and_another_w_name_the_way_out(tedi_, files, clip):
    for command, face in (("video", clip), ("edit", 7)):
        for more in ((), ("--dry-run",)):
            asked = (command, face, "smiling", *networks(files, "stylegan2"), *more)
            status, out, err = tedi_(*asked)
            assert (status, out) == (2, [])
            assert "text: tedi's networks know the W of" in err
            assert "pass --mapper FILE, which reads no words" in err
    status, _, err = tedi_("video", clip)
    assert (status, 'give what to change, as in: tedi video in.mp4 "smiling"' in err) == (2, True)


def test_a_method_that_is_a_mappers_is_no_way_for_texts(files):
    with pytest.raises(UsageError, match="unknown method 'mapper:"):
        toolkit().way("mapper:0123:afro.pt")


# --- pictures ------------------------------------------------------------------------------------


def test_faces_of_another_w_are_edited_and_made_again(tedi_, files):
    own = ("--generator", files / "stylegan3.safetensors")
    mapper_ = ("--mapper", files / "stylegan3-afro.safetensors")
    assert tedi_("edit", 7, *own, *mapper_, "--out", "a.png")[0] == 0
    assert tedi_("edit", "a.png", "afro", *own, *mapper_, "--strength", 2, "--out", "b.png")[0] == 0
    record = read_provenance("b.png")
    assert [step["strength"] for step in record["edits"]] == [1.0, 2.0]
    status, _, err = tedi_("run", "b.png", *own, "--out", "again.png")
    assert status == 0, err
    assert Path("again.png").read_bytes() == Path("b.png").read_bytes()
    status, _, err = tedi_("edit", "b.png", "--undo", 1, *own, "--out", "c.png")
    assert (status, err) == (0, "")
    pictures = [np.asarray(Image.open(f"{name}.png")).astype(int) for name in "abc"]
    assert np.abs(pictures[1] - pictures[0]).mean() > 2
    assert (pictures[2] == pictures[0]).all()


def test_photos_are_edited_by_networks_of_another_w(tedi_, files):
    Image.new("RGB", (256, 256), (200, 150, 120)).save("face.png")
    asked = ("edit", "face.png", "--no-align", *by(files, "stylegan2"), "--json")
    status, [line], err = tedi_(*asked, "--out", "a.png")
    assert status == 0, err
    told = json.loads(line)
    assert (told["start"]["photo"], told["unheard"]) == ("face.png", [])
    assert np.abs(np.asarray(Image.open("a.png")).astype(int) - (200, 150, 120)).mean() > 2
