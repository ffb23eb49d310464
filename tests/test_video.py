"""Videos: read and written as they are, a face followed, two passes that can be stopped.

Most clips here show coloured squares, which stand-ins for the networks take for faces; the last
ones show drawn faces to the real networks, at squares that are known.
"""

import importlib.util
import json
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from test_transform import network, some_codes
from tiny import code_reader, text_encoder, toolkit

import tedi
from tedi.cli import run
from tedi.cli.video_networks import _moved, tuning_options
from tedi.errors import TediError, UsageError
from tedi.faces import Detected, quad_of, within
from tedi.video import Clip, Networks, Seen, Settings, Tracker, frames, open_source, writer
from tedi.video.clip import spread, work_folder
from tedi.video.compose import keep, may_change, put_back
from tedi.video.files import read_record
from tedi.video.place import seen_by, still
from tedi.video.smooth import NONE, kernel, shares, smoothed

av = pytest.importorskip("av")

_PATH = Path(__file__).parents[1] / "benchmarks" / "video.py"
_SPEC = importlib.util.spec_from_file_location("films", _PATH)
films = sys.modules["films"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(films)

RED, BLUE = (225, 40, 40), (40, 40, 225)
PLACES = np.array([(0.312, 0.375), (0.688, 0.375), (0.5, 0.59), (0.345, 0.765), (0.655, 0.765)])
WIDTH, HEIGHT, BOX = 160, 128, 40


# --- stand-ins -----------------------------------------------------------------------------------


def drawn(*boxes, ground=90):
    """Pixels with squares: (left, top, side, colour)."""
    pixels = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
    for left, top, side, colour in boxes:
        pixels[top : top + side, left : left + side] = colour
    return pixels


def detect(pixels):
    """A face for each coloured square, largest first."""
    found = []
    for colour in (RED, BLUE):
        away = np.abs(pixels.astype(int) - colour).max(axis=2)
        rows, columns = np.nonzero(away < 60)
        if len(rows) < 60:
            continue
        left, right, top, bottom = columns.min(), columns.max(), rows.min(), rows.max()
        side = np.array([right - left, bottom - top])
        points = np.array([left, top]) + PLACES * side
        found.append(Detected((left, top, right, bottom), 1.0, points))
    return sorted(found, key=lambda face: -face.area)


def describe(image):
    """The colour in the middle of an aligned face, as a descriptor."""
    return image[:, :, 118:138, 118:138].mean(dim=(2, 3))


def encode(image):
    return describe(image)[:, None].repeat(1, 4, 3)[..., :8]


def draw(ws):
    return ws[:, 0, :3, None, None].expand(-1, -1, 32, 32).clamp(-1, 1)


def edit(ws):
    moved = ws.clone()
    moved[..., 1] += 1.0
    return moved


@pytest.fixture
def networks():
    return Networks(detect, describe, encode, draw, edit, fine=(2, 3))


def look(crop):
    pixels = torch.from_numpy(np.array(crop.resize((256, 256)))) / 127.5 - 1
    return describe(pixels.permute(2, 0, 1)[None])[0].numpy()


def follow(clip, **how):
    tracker = Tracker(detect, look, **how)
    return [tracker(pixels) for pixels in clip]


def middle(seen):
    return seen.quad.mean(0)


def walk(count, *, start=20, step=2, colour=RED):
    return [drawn((start + step * n, 40, BOX, colour)) for n in range(count)]


def read(path):
    return [frame.pixels for frame in frames(open_source(path))]


def packets(path, kind):
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        found = [p for p in container.demux(stream) if p.pts is not None]
        return [(float(p.pts * p.time_base), bytes(p)) for p in found]


# --- files ---------------------------------------------------------------------------------------


def written(source, out, *, record=None, audio=True):
    """A copy of a video, piece by piece, as a run writes it."""
    pieces, piece = [], None
    for frame in frames(source):
        if frame.number % 4 == 0:
            if piece:
                piece.__exit__(None, None, None)
            pieces.append((out.with_name(f"{len(pieces)}.mp4"), frame.time))
            encoder = writer.choose_encoder()
            piece = writer.Piece(pieces[-1][0], source, encoder=encoder, crf=10)
        piece.write(frame.pixels, frame.time, frame.duration)
    piece.__exit__(None, None, None)
    writer.join(pieces, source, out, record=record or {}, audio=audio)


def times(number):
    return 1001 * number + 400 * (number % 3 == 2)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_uneven_times_and_sound_are_kept(tmp_path, suffix):
    films.write(tmp_path / "in.mp4", walk(10), times=times, tick=Fraction(1, 30_000))
    source = open_source(tmp_path / "in.mp4")
    written(source, tmp_path / f"out{suffix}")
    exact = 0.001 if suffix == ".mkv" else 1e-9  # Matroska counts milliseconds, and from 0
    shown = [packets(path, "video") for path in (source.path, tmp_path / f"out{suffix}")]
    heard = [packets(path, "audio") for path in (source.path, tmp_path / f"out{suffix}")]
    shift = shown[1][0][0]
    assert shift < 0.025
    for before, after in (shown, heard):
        assert [t - shift for t, _ in after] == pytest.approx([t for t, _ in before], abs=exact)
    assert len(heard[0]) > 5
    assert [data for _, data in heard[1]] == [data for _, data in heard[0]]
    away = np.abs(np.array(read(tmp_path / f"out{suffix}")).astype(int) - read(source.path))
    assert away.mean() < 1.5


def test_a_part_begins_at_nought_with_its_sound(tmp_path):
    films.write(tmp_path / "in.mp4", walk(20, step=4))
    source = open_source(tmp_path / "in.mp4", start=0.2, end=0.6)
    found = list(frames(source))
    assert [f.number for f in found] == list(range(10)) == list(range(source.total))
    assert found[0].time == 0
    whole = read(tmp_path / "in.mp4")
    assert (found[0].pixels == whole[5]).all()
    written(source, tmp_path / "out.mp4")
    heard = packets(tmp_path / "out.mp4", "audio")
    assert 0 <= heard[0][0] < 0.03
    assert 0.35 < heard[-1][0] < 0.4
    assert {data for _, data in heard} <= {d for _, d in packets(tmp_path / "in.mp4", "audio")}
    assert [f.pixels.tobytes() for f in frames(source, skip=4)] == [
        f.pixels.tobytes() for f in found[4:]
    ]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_turned_videos_come_upright(tmp_path, rotation):
    clip = walk(3)
    films.write(
        tmp_path / "in.mp4", [np.rot90(p, -rotation // 90) for p in clip], rotation=rotation
    )
    source = open_source(tmp_path / "in.mp4")
    assert source.size == (WIDTH, HEIGHT)
    assert any("upright" in note for note in source.notes)
    assert np.abs(read(source.path)[0].astype(int) - clip[0]).mean() < 4
    written(source, tmp_path / "out.mp4")
    assert open_source(tmp_path / "out.mp4").notes == ()


def test_odd_sizes_lose_a_pixel_and_it_is_said(tmp_path):
    clip = [p[:-1, :-1] for p in walk(3)]
    films.write(tmp_path / "in.mkv", clip, codec="ffv1", pixels="bgr0", tick=Fraction(1, 1000))
    source = open_source(tmp_path / "in.mkv")
    assert source.size == (WIDTH - 2, HEIGHT - 2)
    assert "cut by one pixel" in source.notes[0]
    assert (read(source.path)[0] == clip[0][:-1, :-1]).all()


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "notes"),
    [
        ("a.mov", "qtrle", "argb", ["transparency is left out"]),
        ("a.webm", "libvpx-vp9", "yuva420p", ["transparency is left out"]),
        ("a.mov", "prores_ks", "yuv422p10le", ["10 bits a channel become 8"]),
        ("a.mkv", "ffv1", "gray12le", ["12 bits a channel become 8"]),
        ("a.mkv", "ffv1", "bgra", ["transparency is left out"]),
        ("a.mkv", "ffv1", "bgr0", []),
    ],
)
def test_what_eight_bits_of_colour_do_not_hold_is_said(tmp_path, name, codec, pixels, notes):
    tick = {"tick": Fraction(1, 1000), "times": lambda n: 40 * n}
    path = tmp_path / name
    films.write(path, walk(2), codec=codec, pixels=pixels, sound=None, **tick)
    source = open_source(path)
    assert list(source.notes) == notes
    written(source, tmp_path / "out.mp4")
    assert open_source(tmp_path / "out.mp4").notes == ()


@pytest.mark.parametrize("curve", [16, 18])
def test_hdr_levels_stay_with_their_curve(tmp_path, curve):
    """Read and written without tone mapping, so what is told of them stays true."""
    path, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, curve
        context.color_range, context.options = 1, {"crf": "5"}
        for pixels in walk(3):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            wanted = {"dst_colorspace": 9, "dst_color_range": 1}
            container.mux(stream.encode(frame.reformat(format="yuv420p10le", **wanted)))
        container.mux(stream.encode())
    source = open_source(path)
    assert [note[:5] for note in source.notes] == ["10 bi", "HDR ("]
    written(source, out)
    assert open_source(out).colours == (9, 9, curve)
    with av.open(str(path)) as before, av.open(str(out)) as after:
        planes = [next(c.decode(video=0)).planes[0] for c in (before, after)]
        kinds = zip(planes, (np.uint16, np.uint8), strict=True)
        luma = [np.frombuffer(p, k).reshape(HEIGHT, -1)[:, :WIDTH] for p, k in kinds]
    assert np.abs(luma[0] / 4 - luma[1]).mean() < 2  # of 256 levels


def test_colours_survive_whatever_their_matrix(tmp_path):
    for matrix in (1, 5):
        path = tmp_path / f"{matrix}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 1
            for pixels in walk(3):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                wanted = {"dst_colorspace": matrix, "dst_color_range": 1}
                container.mux(stream.encode(frame.reformat(format="yuv420p", **wanted)))
            container.mux(stream.encode())
        source = open_source(path)
        written(source, tmp_path / f"out{matrix}.mp4")
        for there in (path, tmp_path / f"out{matrix}.mp4"):
            square = read(there)[0][50:70, 30:50].reshape(-1, 3).mean(0)
            assert square == pytest.approx(RED, abs=4)
        assert open_source(tmp_path / f"out{matrix}.mp4").colours[0] == matrix


def test_the_file_says_that_it_is_synthetic(tmp_path):
    films.write(tmp_path / "in.mp4", walk(3))
    for suffix in (".mp4", ".mkv"):
        out = tmp_path / f"out{suffix}"
        record = {"prompt": "older — älter", "edits": [1]}
        written(open_source(tmp_path / "in.mp4"), out, record=record)
        assert read_record(out) == record
        with av.open(str(out)) as container:
            told = " ".join(container.metadata.values())
        assert "trainedAlgorithmicMedia" in told
    assert read_record(tmp_path / "in.mp4") is None


def bad_files(folder):
    films.write(folder / "good.mp4", walk(30))
    whole = (folder / "good.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("no video")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "folder.mp4").mkdir()
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 4096), "f4"), format="fltp", layout="mono")
        heard.sample_rate = 44_100
        container.mux(stream.encode(heard))
        container.mux(stream.encode())
    from PIL import Image

    Image.new("RGB", (64, 64)).save(folder / "photo.png")
    Image.new("RGB", (64, 64)).save(folder / "photo.jpg")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cut.mp4", "damaged"),
        ("text.mp4", "no video tedi can read"),
        ("empty.mp4", "no video tedi can read"),
        ("folder.mp4", "is a folder"),
        ("sound.mp4", "holds no video"),
        ("photo.png", "tedi edit"),
        ("photo.jpg", "tedi edit"),
        ("none.mp4", "no such file"),
    ],
)
def test_what_is_no_video_is_told_in_a_line(tmp_path, monkeypatch, capsys, name, said):
    monkeypatch.chdir(tmp_path)
    bad_files(tmp_path)
    there = sorted(tmp_path.iterdir())
    assert run(["video", name, "smiling", "--out", "out.mp4"]) in (1, 2)
    err = capsys.readouterr().err
    assert err.startswith("tedi: ")
    assert err.count("\n") == 1
    assert said in err
    assert sorted(tmp_path.iterdir()) == there


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_a_video_that_breaks_off_says_where(tmp_path, share):
    films.write(tmp_path / "good.mp4", walk(50))
    options = {
        "movflags": "+faststart"
    }  # the index at the front, so that only pictures are missing
    with (
        av.open(str(tmp_path / "good.mp4")) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options=options) as out,
    ):
        targets = [out.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = targets[packet.stream.index]
                out.mux(packet)
    whole = (tmp_path / "fast.mp4").read_bytes()
    assert len(read(tmp_path / "fast.mp4")) == 50
    (tmp_path / "broken.mp4").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(TediError, match=r"damaged after \d\.\d\d of 2\.00 s"):
        list(frames(open_source(tmp_path / "broken.mp4")))
    part = open_source(tmp_path / "broken.mp4", end=0.4)
    assert len(list(frames(part))) == 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "a.avi"], "--out: expected a video"),
        (["--out", "in.mkv"], "is the video itself"),
        (["--out", "a.mp4"], "cannot hold pcm_u8 sound as it is; name a .mkv"),
        (["--out", "a.mkv", "--start", "9"], "ends at"),
        (["--out", "a.mkv", "--start", "2", "--end", "1"], "start < end"),
        (["--out", "a.mkv", "--face", "all"], "one face"),
        (["--out", "a.mkv", "--key-frames", "3"], "--key-frames: is for --tune"),
        (["--out", "a.mkv", "--preset", "fast"], "--preset: is for --tune"),
        (["--out", "a.mkv", "--set", "lr=1"], "--set: is for --tune"),
        (["--out", "a.mkv", "--tune", "--set", "lrr=1"], "--set: unknown setting 'lrr'; did you"),
        (["--out", "a.mkv", "--tune", "--set", "lr=-1"], "--set: lr: expected 0 or more, got -1"),
        (["--out", "a.mkv", "--tune", "--set", "pivot=optimize"], "--set: pivot: the pivots are"),
        (["--out", "a.mkv", "--crop", "face", "--field", "0.1"], "--field: is for --crop first"),
        (["--out", "a.mkv", "--strength", "1,2"], "2 numbers for 1 texts"),
        (["--out", "there.mkv"], "already exists"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    tmp_path, monkeypatch, capsys, arguments, said
):
    monkeypatch.chdir(tmp_path)
    tick = {"tick": Fraction(1, 1000), "times": lambda n: 40 * n}
    films.write(tmp_path / "in.mkv", walk(10), sound="pcm_u8", **tick)
    (tmp_path / "there.mkv").touch()
    monkeypatch.setattr("tedi.cli.video._load", lambda **_: pytest.fail("loaded"))
    there = sorted(tmp_path.iterdir())
    assert run(["video", "in.mkv", "smiling", *arguments]) == (1 if "there" in said else 2) or said
    assert said in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == there


def test_without_pyav_the_command_to_get_it_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "in.mp4").touch()
    assert run(["video", str(tmp_path / "in.mp4"), "smiling"]) == 1
    assert "pip install" in capsys.readouterr().err


def test_another_encoder_stands_in_and_it_is_said(tmp_path, monkeypatch):
    from tedi.cli.video import encoder_told

    assert encoder_told() == []
    names = {"libnone": "nothing", "mpeg4": "MPEG-4 part 2"}
    monkeypatch.setattr(writer, "ENCODERS", names)
    assert "no libnone" in encoder_told()[0]
    films.write(tmp_path / "in.mp4", walk(6))
    written(open_source(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    assert len(read(tmp_path / "out.mp4")) == 6
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


# --- smoothing -----------------------------------------------------------------------------------


def test_the_kernel_is_the_published_one():
    given = shares(np.zeros(9, int), 4)
    assert [given[n] for n in range(2, 7)] == pytest.approx(
        [x / 3 for x in (0.25, 0.75, 1, 0.75, 0.25)]
    )


@pytest.mark.parametrize("reach", [0, 1, 2, 5])
def test_even_motion_is_left_alone_to_the_ends(reach):
    values = np.arange(20)[:, None] * [1.0, -2.0] + [5, 7]
    assert smoothed(values, np.zeros(20, int), reach) == pytest.approx(values)
    assert sum(kernel(reach)[1:]) * 2 + 1 == pytest.approx(reach + 1)


def test_trembling_shrinks_and_scenes_and_gaps_stay_apart():
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 3))
    assert smoothed(values, np.zeros(40, int)).std() < 0.75 * values.std()
    runs = np.array([0] * 4 + [1] * 4)
    steps = np.array([0.0] * 4 + [9.0] * 4)
    assert (smoothed(steps, runs) == steps).all()
    runs = np.array([0, 0, NONE, 0, 0, 0])
    found = smoothed(np.array([0.0, 2, 99, 4, 9, 6]), runs, 1)
    assert found[2] == 99  # what shows no face is not touched, and touches nothing
    assert found[1] == 2
    assert found[4] == pytest.approx((4 * 0.5 + 9 + 6 * 0.5) / 2)


def test_smoothed_squares_are_squares():
    quads = np.stack([films.quad((10 + n, 20, 30 + n, 7 * n)) for n in range(6)])
    for corners in smoothed(quads, np.zeros(6, int)):
        across, down = corners[3] - corners[0], corners[1] - corners[0]
        assert across @ down == pytest.approx(0, abs=1e-9)
        assert np.hypot(*across) == pytest.approx(np.hypot(*down))


@pytest.mark.parametrize("reach", [-1, -3])
def test_a_negative_reach_names_the_knob(reach):
    with pytest.raises(UsageError, match="--smooth"):
        kernel(reach)


# --- following -----------------------------------------------------------------------------------


def test_a_face_is_followed_and_found_by_a_window(monkeypatch):
    sizes = []

    def watched(pixels):
        sizes.append(pixels.shape[1])
        return detect(pixels)

    tracker = Tracker(watched, look)
    clip = walk(15, step=4)
    seen = [tracker(pixels) for pixels in clip]
    for pixels, one in zip(clip, seen, strict=True):
        assert one.quad == pytest.approx(quad_of(detect(pixels)[0].points), abs=1.5)
    assert {one.shot for one in seen} == {0}
    assert sizes.count(WIDTH) == 2  # all of the frame now and then, a window else


def crossing(count=24):
    """The red one comes from the left and passes over the blue one, which comes from the right."""
    clip = []
    for n in range(count):
        step = 100 * n // (count - 1)
        clip.append(drawn((110 - step, 44, 36, BLUE), (10 + step, 40, 40, RED)))
    return clip


def test_two_who_cross_are_not_swapped():
    clip = crossing()
    for face, colour in (("largest", RED), (2, BLUE)):
        seen = follow(clip, face=face)
        held = [n for n, one in enumerate(seen) if one.quad is not None]
        assert held[0] == 0
        assert held[-1] == len(clip) - 1
        assert len(held) > 14
        for n in held:
            x, y = middle(seen[n]).round().astype(int)
            assert np.abs(clip[n][y, x].astype(int) - colour).max() < 60
        assert {seen[n].person for n in held} == {0}


def test_one_who_takes_the_place_of_another_is_not_taken_for_him():
    both = drawn((30, 40, 40, RED), (110, 40, 36, BLUE))
    clip = [both, both, drawn((30, 40, 38, BLUE)), drawn((30, 40, 38, BLUE)), both]
    seen = follow(clip)
    assert [one.quad is None for one in seen] == [False, False, True, True, False]
    assert seen[2].why == "the face is not seen"


def test_a_cut_begins_anew_and_knows_people_again():
    first = [drawn((20 + n, 30, 40, RED)) for n in range(4)]
    second = [drawn((90 - n, 40, 44, BLUE), ground=210) for n in range(4)]
    third = [drawn((80, 60, 36, RED), (10, 20, 48, BLUE), ground=20) for _ in range(3)]
    seen = follow([*first, *second, *third], anyone=True)
    assert [one.shot for one in seen] == [0] * 4 + [1] * 4 + [2] * 3
    assert [one.person for one in seen] == [0] * 4 + [1] * 4 + [seen[-1].person] * 3
    seen = follow([*first, *third])
    assert seen[-1].person == 0  # the same one, though he is the smaller now
    assert middle(seen[-1])[0] > 80


def test_a_cut_to_somebody_else_is_left_alone_until_the_person_is_back():
    tiny = [drawn((60, 60, 16, BLUE), ground=200)] * 2  # too small to be worked with: nobody yet
    first = [drawn((20 + n, 30, 40, RED)) for n in range(4)]
    second = [drawn((90 - n, 40, 44, BLUE), ground=210) for n in range(12)]
    third = [drawn((80, 60, 36, RED), (10, 20, 48, BLUE), ground=20) for _ in range(3)]
    seen = follow([*tiny, *first, *second, drawn(ground=210), *third])
    held = [one.quad is not None for one in seen]
    assert held == [False] * 2 + [True] * 4 + [False] * 13 + [True] * 3
    assert [one.why for one in seen[6:19]] == ["somebody else"] * 12 + ["the face is not seen"]
    assert {one.person for one in seen if one.quad is not None} == {seen[2].person}
    assert middle(seen[-1])[0] > 80  # the same one, though he is the smaller


def test_a_jump_begins_a_new_shot_without_a_cut():
    clip = [drawn((20, 40, 40, RED))] * 3 + [drawn((110, 60, 40, RED))] * 3
    seen = follow(clip)
    assert [one.quad is None for one in seen] == [False] * 6
    assert [one.shot for one in seen] == [0, 0, 0, 1, 1, 1]
    assert {one.person for one in seen} == {0}


def test_frames_without_a_face_say_why():
    clip = [drawn()] * 2 + walk(2) + [drawn()] * 2 + [drawn((20, 40, 16, RED))]
    why = [one.why for one in follow(clip)]
    assert why[:2] == ["no face"] * 2
    assert why[4:6] == ["the face is not seen"] * 2
    assert why[6].startswith("is too small")


def test_a_tracker_goes_on_from_what_json_holds():
    clip = crossing()
    whole = follow(clip)
    first = Tracker(detect, look)
    for pixels in clip[:11]:
        first(pixels)
    second = Tracker(detect, look)
    second.restore(json.loads(json.dumps(first.state())))
    for pixels, one in zip(clip[11:], whole[11:], strict=True):
        now = second(pixels)
        assert (now.shot, now.person, now.why) == (one.shot, one.person, one.why)
        assert (now.quad is None and one.quad is None) or (now.quad == one.quad).all()


@pytest.mark.parametrize("face", [0, -1, "all", True, 1.5])
def test_faces_that_cannot_be_meant(face):
    with pytest.raises(UsageError, match="--face"):
        Tracker(detect, look, face=face)


# --- putting back --------------------------------------------------------------------------------


def test_an_edit_that_changes_nothing_gives_the_frame_back():
    from PIL import Image

    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (120, 140, 3), "uint8"))
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    square = films.quad((70, 60, 80, 13))
    assert (put_back(picture, square, (image, image), side=96) == np.asarray(picture)).all()
    changed = put_back(picture, square, (image, image.flip(2)), side=96)
    away = np.abs(changed.astype(int) - np.asarray(picture)).max(axis=2)
    assert away.max() > 20
    there = np.argwhere(away > 0)[:, ::-1]
    middle_, side = square.mean(0), 80
    assert np.abs(there - middle_).max() < side / 2 * 1.2  # of a turned square
    outside = away.copy()
    outside[15:105, 25:115] = 0
    assert outside.max() == 0


def test_small_changes_are_added_and_large_ones_drawn():
    torch.manual_seed(0)
    photo = torch.rand(1, 3, 64, 64) * 0.4 - 0.2
    before = photo.clone()
    small = keep(photo, before, before + 0.04)
    assert small == pytest.approx(photo + 0.04, abs=1e-5)
    after = torch.full_like(photo, 0.9)
    assert keep(photo, before, after) == pytest.approx(after, abs=1e-5)
    missed = photo - 0.9  # the code drew something else there: nothing is added
    assert keep(photo, missed, missed + 0.04) == pytest.approx(photo, abs=1e-5)
    assert (keep(photo, before, after, share=0) == after).all()
    with pytest.raises(UsageError, match="--detail"):
        keep(photo, before, after, share=1.5)


@pytest.mark.parametrize("field", [0.0, 0.25])
def test_what_is_drawn_has_the_light_of_the_photo(field):
    """A code that drew the face too bright leaves no bright patch where the edit changes much."""
    torch.manual_seed(0)
    before = torch.rand(1, 3, 96, 96) * 0.4
    tint = torch.tensor([0.7, 0.8, 0.75]).view(1, 3, 1, 1)

    def dim(image):
        return tint * (image + 1) - 1

    after = before.clone()
    after[..., 48:] -= 0.5
    kept = keep(dim(before), before, after, field=field)
    assert kept == pytest.approx(dim(after), abs=2e-3)
    far = keep(dim(before), before - 0.9, after - 0.9, field=field)  # another face, not its light
    assert far[..., :20] == pytest.approx(dim(before)[..., :20], abs=2e-3)
    assert (keep(dim(before), before, after, share=0.0) == after).all()


# --- two passes ----------------------------------------------------------------------------------


@pytest.fixture
def clip(tmp_path):
    """Twenty frames: a face, none for three, the face again, a cut, another face."""
    first = [drawn((20 + n, 40, BOX, RED)) for n in range(6)]
    gap = [drawn()] * 3
    more = [drawn((30 + n, 40, BOX, RED)) for n in range(4)]
    second = [drawn((60, 44, BOX, BLUE), ground=210)] * 7
    path = tmp_path / "in.mp4"
    films.write(path, [*first, *gap, *more, *second])
    return path


def made(clip, out, networks, *, settings=None, resume=False, run_=None, stop=None):
    """Run all passes; `stop` breaks off at a frame or step of a pass."""

    def progress(name, done, total):
        if stop == (name, done):
            raise KeyboardInterrupt

    one = Clip(
        open_source(clip), out, networks, settings or Settings(), run=run_ or {}, resume=resume
    )
    found = one.find(progress)
    found |= one.tune(progress)
    one.draw({"made": "here"} | found, progress)
    return found


def test_faces_change_and_frames_without_stay(clip, tmp_path, networks):
    gap = {"first": 6, "last": 8, "why": "the face is not seen"}
    other = {"first": 13, "last": 19, "why": "somebody else"}
    found = made(clip, tmp_path / "one.mp4", networks)
    assert (found["shots"], found["people"], found["gaps"]) == (2, 1, [gap, other])
    before, one = read(clip), read(tmp_path / "one.mp4")
    found = made(clip, tmp_path / "out.mp4", networks, settings=Settings(anyone=True))
    assert found["frames"] == 20
    assert (found["shots"], found["people"], found["without_face"]) == (2, 2, 3)
    assert found["gaps"] == [gap]
    after = read(tmp_path / "out.mp4")
    for pixels, kept in ((one, [6, 7, 8, *range(13, 20)]), (after, [6, 7, 8])):
        away = [np.abs(a.astype(int) - b).mean() for a, b in zip(before, pixels, strict=True)]
        assert [n for n, change in enumerate(away) if change < 1.5] == kept
    assert not work_folder(tmp_path / "out.mp4").exists()
    green = [int(a[60, 40, 1]) - int(b[60, 40, 1]) for a, b in zip(after, before, strict=True)]
    assert min(green[:6]) > 60


def test_one_move_for_each_person_and_fine_slots_for_each_shot(clip, tmp_path, networks):
    asked, drawn_ = [], []

    def watched(ws):
        asked.append(ws)
        return edit(ws)

    def watched_draw(ws):
        drawn_.append(ws)
        return draw(ws)

    parts = vars(networks) | {"edit": watched, "draw": watched_draw}
    made(clip, tmp_path / "out.mp4", Networks(**parts), settings=Settings(anyone=True))
    assert len(asked) == 2
    before = torch.cat(drawn_[0::2])
    assert (before[:10, 2:] == before[0, 2:]).all()
    assert (before[10:, 2:] == before[10, 2:]).all()
    assert not (before[0, 2:] == before[10, 2:]).all()
    steps = torch.cat(drawn_[1::2]) - before
    assert steps == pytest.approx(edit(torch.zeros(1, 4, 8)).expand_as(steps), abs=1e-5)
    asked.clear()
    each = Settings(per_frame=True, anyone=True)
    made(clip, tmp_path / "b.mp4", Networks(**parts), settings=each)
    assert len(asked) == 17


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr("tedi.video.clip.PART", 4)
    monkeypatch.setattr("tedi.video.store.PART", 4)


@pytest.mark.parametrize("stop", [("faces", 3), ("faces", 11), ("drawing", 1), ("drawing", 10)])
def test_a_stopped_run_goes_on_to_the_same_video(clip, tmp_path, networks, short_parts, stop):
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    made(clip, whole, networks)
    with pytest.raises(KeyboardInterrupt):
        made(clip, out, networks, stop=stop)
    assert not out.exists()
    assert work_folder(out).is_dir()
    with pytest.raises(UsageError, match="pass --resume to go on"):
        made(clip, out, networks)
    with pytest.raises(UsageError, match="another smooth"):
        made(clip, out, networks, settings=Settings(smooth=0), resume=True)
    looked = []

    def counted(image):
        looked.append(1)
        return encode(image)

    parts = vars(networks) | {"encode": counted}
    made(clip, out, Networks(**parts), resume=True)
    if stop[0] == "drawing":
        assert looked == []
    assert out.read_bytes() == whole.read_bytes()
    assert not work_folder(out).exists()


def test_a_damaged_part_is_told(clip, tmp_path, networks, short_parts):
    out = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        made(clip, out, networks, stop=("drawing", 2))
    (work_folder(out) / "faces-00001.safetensors").write_bytes(b"nonsense")
    with pytest.raises(TediError, match="damaged; delete"):
        made(clip, out, networks, resume=True)


def test_a_video_without_a_face_leaves_nothing(tmp_path, networks):
    films.write(tmp_path / "in.mp4", [drawn()] * 5)
    with pytest.raises(TediError, match="no face in any frame"):
        made(tmp_path / "in.mp4", tmp_path / "out.mp4", networks)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_part_between_two_frames_is_told(tmp_path, networks):
    films.write(tmp_path / "in.mp4", walk(5))
    for start, end, said in ((0.05, 0.07, "0.05 s and 0.07 s; one comes"), (0.19, None, "the end")):
        source = open_source(tmp_path / "in.mp4", start=start, end=end)
        clip = Clip(source, tmp_path / "out.mp4", networks, Settings(), run={})
        with pytest.raises(UsageError, match=f"--start, --end: no frame of .*{said}"):
            clip.find()
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


# --- tuning --------------------------------------------------------------------------------------


class Tuner:
    """Stands for a generator that learns to draw the mean colour of the pictures it is shown."""

    STEPS = 3

    def __init__(self, networks):
        self.asked, self.drawn = [], []
        self.networks = Networks(**vars(networks) | {"tune": self.tune, "tuned": self.tuned})

    def tune(self, target, ws, path, tell):
        self.asked.append((target, ws))
        for step in range(self.STEPS):
            tell(step + 1, self.STEPS)
        path.write_text(json.dumps(target.mean(dim=(0, 2, 3)).tolist()))

    def tuned(self, path):
        colour = torch.tensor(json.loads(path.read_text()))

        def draw_(ws):
            self.drawn.append((colour, ws))
            return (draw(ws) + 0 * colour[:, None, None]).clamp(-1, 1)

        return Networks(**vars(self.networks) | {"draw": draw_})


def test_key_frames_are_spread():
    assert spread(range(100), 4) == [12, 37, 62, 87]
    assert spread([3, 5, 9], 8) == [3, 5, 9]
    assert spread(np.arange(7), 1) == [3]


def test_a_generator_is_tuned_to_each_person_at_the_codes_that_are_drawn(clip, tmp_path, networks):
    tuner = Tuner(networks)
    settings = Settings(tune=3, anyone=True)
    found = made(clip, tmp_path / "out.mp4", tuner.networks, settings=settings)
    assert found["key_frames"] == [[1, 5, 11], [14, 16, 18]]
    assert len(tuner.asked) == 2
    drawn_ = {}
    for number, (_, ws) in zip([*range(6), *range(9, 20)], tuner.drawn[0::2], strict=True):
        drawn_[number] = ws
    for (target, ws), key_frames in zip(tuner.asked, found["key_frames"], strict=True):
        assert target.shape == (3, 3, 256, 256)
        assert torch.equal(ws, torch.cat([drawn_[n] for n in key_frames]))
    red, blue = (target.mean(dim=(0, 2, 3)) for target, _ in tuner.asked)
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    by = torch.stack([colour for colour, _ in tuner.drawn])  # before and after the edit
    assert torch.allclose(by[:20], red)
    assert torch.allclose(by[20:], blue)


@pytest.mark.parametrize("stop", [("tuning", 5), ("drawing", 10)])
def test_what_was_tuned_is_not_tuned_again(clip, tmp_path, networks, short_parts, stop):
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    settings = Settings(tune=2, anyone=True)
    made(clip, whole, Tuner(networks).networks, settings=settings)
    with pytest.raises(KeyboardInterrupt):
        made(clip, out, Tuner(networks).networks, settings=settings, stop=stop)
    with pytest.raises(UsageError, match="another anyone and tune"):
        made(clip, out, networks, resume=True)
    again = Tuner(networks)
    made(clip, out, again.networks, settings=settings, resume=True)
    assert len(again.asked) == (1 if stop[0] == "tuning" else 0)
    assert out.read_bytes() == whole.read_bytes()


def test_networks_that_cannot_be_tuned_say_so(clip, tmp_path, networks):
    with pytest.raises(UsageError, match="--tune: these networks"):
        made(clip, tmp_path / "out.mp4", networks, settings=Settings(tune=2))


# --- squares that stay ---------------------------------------------------------------------------


def turning(count, *, step=4.0, degrees=3.0, side=60.0):
    """Squares of a face that walks to the right, turns and grows."""
    return np.array([films.quad((60 + step * n, 50, side + n, degrees * n)) for n in range(count)])


def test_a_square_stays_until_the_head_would_be_cut():
    quads, runs = turning(12), np.zeros(12, int)
    crops = still(quads, runs, reach=0.25)
    moved = [within(*pair) for pair in zip(quads, crops, strict=True)]
    assert [place.degrees for place in moved] == pytest.approx([-3.0 * n for n in range(12)])
    assert [place.scale for place in moved] == pytest.approx([1.0] * 12)
    right = [min(0.25, 4 * n / (60 + n)) for n in range(12)]
    assert [place.tx for place in moved] == pytest.approx(right)
    assert [place.ty for place in moved] == pytest.approx([0.0] * 12)
    middles = crops.mean(1)
    assert (middles[:5] == middles[0]).all()  # it stays, and then nothing jumps
    assert np.abs(np.diff(middles[:, 0])).max() < 5


def test_each_shot_has_its_own_square_and_gaps_have_none():
    quads = np.array([films.quad((50 + n, 60, 40, 0)) for n in range(6)])
    crops = still(quads, np.array([0, 0, NONE, 0, 1, 1]), reach=0.5)
    assert crops[3] == pytest.approx(crops[0])
    assert crops[2] == pytest.approx(quads[2])
    assert crops[4:] == pytest.approx(np.array([quads[4]] * 2))


def test_no_reach_goes_with_the_face():
    quads = turning(5)
    assert still(quads, np.zeros(5, int), reach=0).mean(1) == pytest.approx(quads.mean(1))
    with pytest.raises(UsageError, match="reach"):
        still(quads, np.zeros(5, int), reach=-0.1)
    with pytest.raises(UsageError, match="runs: expected 5"):
        still(quads, np.zeros(4, int), reach=0.1)


def test_one_square_shows_what_another_did():
    image = torch.rand(1, 3, 40, 40)
    whole, right = films.quad((50, 50, 40, 0)), films.quad((60, 50, 20, 0))
    assert torch.allclose(seen_by(image, whole, whole, 40), image, atol=1e-6)
    assert torch.allclose(seen_by(image, whole, right, 20), image[:, :, 10:30, 20:], atol=1e-5)
    quarter = seen_by(image, whole, films.quad((50, 50, 40, 90)), 40)  # turned clockwise
    assert torch.allclose(quarter, image.rot90(1, (2, 3)), atol=1e-4)
    beyond = seen_by(image, whole, films.quad((200, 50, 20, 0)), 8)  # as the border is
    assert torch.allclose(beyond[..., 0], beyond[..., 7])


class Known:
    """A tracker that is told where the face is."""

    quads = ()

    def __init__(self, *_, **__):
        self.at = 0

    def __call__(self, pixels):
        self.at += 1
        return Seen(0, 0, self.quads[self.at - 1])

    def state(self):
        return {"at": self.at}

    def restore(self, state):
        self.at = state["at"]


@pytest.fixture
def walking(tmp_path, monkeypatch):
    """A clip of noise whose face is said to walk, to turn and to grow."""
    quads = turning(9)
    monkeypatch.setattr("tedi.video.clip.Tracker", Known)
    monkeypatch.setattr(Known, "quads", quads)
    noise = np.random.default_rng(0).integers(60, 190, (HEIGHT, WIDTH, 3), "uint8")
    films.write(tmp_path / "in.mp4", [noise] * 9)
    return tmp_path / "in.mp4", quads


def moving_networks(networks, G):
    """Networks that draw by a StyleGAN3; the edit is another code."""
    codes = some_codes(G, 2)
    cli = partial(_moved, G, 0.25)
    own = {"encode": lambda image: codes[:1], "edit": lambda ws: codes[1:], "fine": (5,)}
    return Networks(**vars(networks) | own | {"draw": G.synthesis, "place": cli})


def test_known_moves_are_given_to_the_generator(walking, tmp_path, networks):
    path, _ = walking
    told = []

    def place(transform):
        told.append(transform)
        return lambda ws: draw(ws).expand(-1, -1, 32, 32)

    parts = vars(networks) | {"place": place}
    settings = Settings(crop="first", field=0.4, smooth=0)
    made(path, tmp_path / "out.mp4", Networks(**parts), settings=settings)
    assert len(told) == 9
    assert [one.degrees for one in told] == pytest.approx([-3.0 * n for n in range(9)], abs=1e-6)
    right = [min(0.4, 4 * n / (60 + n)) for n in range(9)]
    assert [one.tx for one in told] == pytest.approx(right, abs=1e-6)


def test_a_moved_drawing_lies_where_an_upright_one_would(walking, tmp_path, networks):
    """Near the face's middle: the drawing of StyleGAN3 turns with the face."""
    path, quads = walking
    parts = moving_networks(networks, network())
    shown = {}
    for crop, field in (("face", 0.0), ("first", 0.25)):
        out = tmp_path / f"{crop}.mp4"
        settings = Settings(crop=crop, field=field, detail=0.0, smooth=0, crf=0)
        made(path, out, parts, settings=settings)
        shown[crop] = read(out)
        assert packets(out, "audio") == packets(path, "audio")
    first = read(path)
    for n in (0, 4, 8):
        x, y = quads[n].mean(0).round().astype(int)
        inner = np.s_[y - 14 : y + 14, x - 14 : x + 14]
        upright, moved = (shown[crop][n][inner].astype(float) for crop in ("face", "first"))
        off = np.abs(moved - upright).mean()
        assert off < 0.25 * np.abs(upright - first[n][inner]).mean()
        turned_back = np.abs(shown["face"][n][inner].astype(float) - shown["face"][0][inner]).mean()
        assert n == 0 or off < 0.5 * turned_back


def test_a_stopped_run_of_a_square_that_stays_goes_on(walking, tmp_path, networks, short_parts):
    parts, settings = moving_networks(networks, network()), Settings(crop="first", field=0.25)
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    made(walking[0], whole, parts, settings=settings)
    with pytest.raises(KeyboardInterrupt):
        made(walking[0], out, parts, settings=settings, stop=("drawing", 6))
    made(walking[0], out, parts, settings=settings, resume=True)
    assert out.read_bytes() == whole.read_bytes()


def test_a_square_that_stays_needs_a_generator_that_moves(clip, tmp_path, networks):
    with pytest.raises(UsageError, match="--crop first: this generator draws upright"):
        made(clip, tmp_path / "out.mp4", networks, settings=Settings(crop="first"))
    assert not work_folder(tmp_path / "out.mp4").exists()
    with pytest.raises(UsageError, match="--field: is for --crop first"):
        Settings(field=0.1)
    with pytest.raises(UsageError, match=r"--field: expected 0 to 0\.5"):
        Settings(crop="first", field=0.6)


class Parser:
    """Sees a person everywhere."""

    def scores(self, image):
        scores = torch.zeros(len(image), 19, 128, 128)
        scores[:, 1] = 9
        return scores


@pytest.fixture
def moving_model(monkeypatch):
    """A toolkit of a small StyleGAN3 whose W words know, and stand-ins."""
    G = network()
    assembled = toolkit(G, text_encoder(code_reader(slots=G.slots, channels=G.width)))
    codes = some_codes(G)
    looks = {"detector": detect, "identity": describe, "encoder": lambda image: codes}
    vars(assembled.photos).update(looks, parser=Parser())
    monkeypatch.setattr("tedi.cli.video._load", lambda **_: assembled)
    return assembled


def test_stylegan3_moves_the_face_from_the_command_line(
    clip, tmp_path, moving_model, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    asked = []

    def place(generator, field, place_):
        asked.append((field, place_))
        return _moved(generator, field, place_)

    monkeypatch.setattr("tedi.cli.video_networks._moved", place)
    arguments = ["video", "in.mp4", "smiling", "--end", "0.24", "--anyway", "--json"]
    assert run([*arguments, "--out", "a.mp4", "--field", "0.1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["crop"], told["field"]) == ("first", 0.1)
    assert {field for field, _ in asked} == {0.1}
    quad = quad_of(detect(drawn((20, 40, BOX, RED)))[0].points)
    steps = np.arange(6) / np.linalg.norm(quad[3] - quad[0])  # the square walks a pixel a frame
    right = np.array([place_.tx for _, place_ in asked[:6]])
    assert np.abs(right - np.minimum(steps, 0.1)).max() < 0.012
    asked.clear()
    assert run([*arguments, "--out", "b.mp4", "--crop", "face"]) == 0
    record = read_record("b.mp4")
    assert (record["crop"], record["field"], asked) == ("face", 0.0, [])
    assert packets("a.mp4", "audio") == packets("b.mp4", "audio") != []


def test_a_clip_is_edited_along_a_direction(clip, tmp_path, moving_model, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("axis.npy", np.eye(moving_model.generator.width)[:1])
    common = ["video", "in.mp4", "--end", "0.12", "--json", "--direction"]
    for number in (0, 3):
        assert run([*common, f"axis.npy={number}", "--out", f"{number}.mp4"]) == 0
        told = json.loads(capsys.readouterr().out)
        [step] = told["edits"]
        assert (step["text"], step["strength"], told["unheard"]) == ("axis", number, [])
    assert not np.array_equal(read("0.mp4")[0], read("3.mp4")[0])
    assert run([*common, "none.npy=1", "--out", "b.mp4"]) in (1, 2)
    assert "none.npy" in capsys.readouterr().err


def test_a_generator_of_another_w_is_told_of_at_once(clip, tmp_path, moving_model, capsys):
    moving_model._text = None
    assert run(["video", str(clip), "smiling", "--out", str(tmp_path / "a.mp4")]) == 2
    assert "text: tedi's networks know the W of" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


# --- heads ---------------------------------------------------------------------------------------


def test_the_ground_about_a_head_stays_the_photo():
    photo = torch.rand(1, 3, 64, 64) * 0.4 - 0.2
    before, after = photo.clone(), torch.full_like(photo, 0.9)
    head = torch.zeros(1, 1, 16, 16)
    head[:, :, :, :8] = 1
    kept = keep(photo, before, after, head=head)
    assert kept[..., :28] == pytest.approx(after[..., :28], abs=1e-5)
    assert kept[..., 36:] == pytest.approx(photo[..., 36:], abs=1e-6)
    assert (keep(photo, before, after, head=head, share=0) == after).all()


@pytest.mark.parametrize(
    ("photo", "before", "after", "may"),
    [
        (1, 1, 1, 1),  # the person
        (0, 0, 0, 0),  # the ground
        (0, 0, 1, 1),  # hair that grows over it
        (1, 1, 0, 1),  # hair that goes
        (1, 0, 0, 0),  # hair that the code has missed
        (0, 1, 1, 0),  # hair that the code has made up
        (0, 1, 0, 0),
    ],
)
def test_an_edit_may_change_the_person_and_what_it_adds_and_takes(photo, before, after, may):
    shares_ = [torch.full((1, 1, 9, 9), float(share)) for share in (photo, before, after)]
    assert torch.allclose(may_change(*shares_), torch.full((1, 1, 9, 9), float(may)))


def test_a_border_that_moves_by_a_hair_opens_no_ground():
    before, after = torch.zeros(2, 1, 1, 16, 16)
    before[..., :7], after[..., :8] = 1, 1
    assert may_change(before, before, after)[..., 9:].max() == 0
    after[..., :12] = 1
    assert may_change(before, before, after)[..., 9:11].min() > 0.9


@pytest.mark.parametrize("crop", ["face", "first"])
def test_heads_are_found_in_frames_and_drawings(walking, tmp_path, networks, short_parts, crop):
    """In the frame the head is the left half, before the edit there is none, after it the upper."""
    path, quads = walking

    def head(image):
        share = torch.zeros(len(image), 1, 128, 128)
        for one, picture in zip(share, image, strict=True):
            if picture.std() > 0.1:
                one[..., :64] = 1
            elif picture.mean() > 0:
                one[:, :64] = 1
        return share

    def plain(ws):
        return ws[:, :1, :1, None].sign().expand(-1, 3, 32, 32)

    black, white = torch.full((1, 4, 8), -1.0), torch.full((1, 4, 8), 1.0)
    own = {"encode": lambda image: black, "edit": lambda ws: white, "draw": plain, "head": head}
    parts = Networks(**vars(networks) | own | {"place": lambda _: plain})
    made(path, tmp_path / "out.mp4", parts, settings=Settings(crop=crop, smooth=1, crf=0))
    clips = (read(tmp_path / "out.mp4"), read(path))
    for n in (0, 4, 8):
        away = np.abs(clips[0][n].astype(float) - clips[1][n]).mean(axis=2)
        across, down = (quads[n][3] - quads[n][0]) / 4, (quads[n][1] - quads[n][0]) / 4
        places = [quads[n].mean(0) + x * across + y * down for y in (-1, 1) for x in (-1, 1)]
        found = [away[y - 2 : y + 3, x - 2 : x + 3].mean() for x, y in np.rint(places).astype(int)]
        assert min(found[:2]) > 60
        assert max(found[2:]) < 6


@pytest.mark.parametrize("crop", ["face", "first"])
def test_a_face_that_is_drawn_anew_blinks_as_the_video_does(
    tmp_path, networks, monkeypatch, short_parts, crop
):
    """Frames 4 and 5 are flat about the eyes; the edit turns a fine pattern to its negative."""
    square = films.quad((80, 64, 100, 10))
    monkeypatch.setattr("tedi.video.clip.Tracker", Known)
    monkeypatch.setattr(Known, "quads", [square] * 9)
    noise = np.random.default_rng(0).integers(60, 190, (HEIGHT, WIDTH, 3), "uint8")
    eyes = [square[0] + np.array([x, 121]) / 256 @ (square[[3, 1]] - square[0]) for x in (96, 160)]
    flat = noise.copy()
    for x, y in np.rint(eyes).astype(int):
        flat[y - 7 : y + 8, x - 11 : x + 12] = 150
    films.write(tmp_path / "in.mp4", [noise] * 4 + [flat] * 2 + [noise] * 3)
    pattern = 0.8 * (torch.arange(256) * 0.7).sin().expand(1, 3, 256, 256)
    turned = torch.zeros(1, 4, 8)
    own = {
        "encode": lambda image: turned + 1,
        "edit": lambda ws: turned - 1,
        "draw": lambda ws: ws[:, :1, :1, None] * pattern,
        "place": lambda _: lambda ws: ws[:, :1, :1, None] * pattern,
    }
    settings = Settings(crop=crop, crf=0)
    made(
        tmp_path / "in.mp4",
        tmp_path / "out.mp4",
        Networks(**vars(networks) | own),
        settings=settings,
    )
    clips = (read(tmp_path / "out.mp4"), read(tmp_path / "in.mp4"))
    for number in (2, 4, 5, 7):
        away = np.abs(clips[0][number].astype(float) - clips[1][number]).mean(axis=2)
        change = [away[y - 1 : y + 2, x - 3 : x + 4].mean() for x, y in np.rint(eyes).astype(int)]
        if number in (4, 5):
            assert max(change) < 12  # the video's own
        else:
            assert min(change) > 25


# --- the real networks ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def model():
    return tedi.load()


@pytest.fixture(scope="session")
def filmed(model, tmp_path_factory):
    """Ten frames of a face that moves as is known, the last two without it."""
    stage = films.Stage(model, size=256)
    place = films.moving(190, 256)
    actor = films.Actor(5, place, shown=lambda at: at < 0.85)
    scenes = [films.Scene(10, [actor], noise=1.0)]
    path = tmp_path_factory.mktemp("film") / "in.mp4"
    films.film(stage, path, scenes)
    return path, films.truth(scenes)


def test_squares_are_found_where_they_are(model, filmed):
    """To a degree and a hundredth of a side, but for the size, whose mean differs by person."""
    path, known = filmed
    seen = follow_faces(model, path)
    found = np.stack([one.quad for one in seen[:8]])
    off = films.errors(found, known[:8])
    assert all(one.quad is None for one in seen[8:])
    assert np.median(np.abs(off["degrees"])) < 1
    assert np.median(off["place"]) < 1
    assert np.ptp(off["size"]) < 3


def follow_faces(model, path):
    from tedi import images

    def describe_(crop):
        small = np.asarray(crop.resize((256, 256)))
        with torch.no_grad():
            return model.photos.identity(images.to_image(small[None]))[0].numpy()

    tracker = Tracker(model.photos.detector, describe_)
    return [tracker(frame.pixels) for frame in frames(open_source(path))]


def test_each_hardship_shows_another_clip(model, tmp_path):
    stage, shown = films.Stage(model), set()
    for number, (how, crf) in enumerate(films.HARDSHIPS.values()):
        path = tmp_path / f"{number}.mp4"
        films.film(stage, path, [films.Scene(2, **how)], sound=None, crf=crf)
        shown.add(read(path)[0].tobytes())
    assert len(shown) == len(films.HARDSHIPS)
    left, top, right, bottom = films.bar(0.5)
    assert left < films.SIZE / 2 < right  # it passes over the middle
    assert (top, bottom) == (0, films.SIZE)


def test_a_cut_within_a_person_is_followed_and_one_to_another_is_not(model, tmp_path):
    """Turned the other way, of another size and on other ground, the person is known again."""
    stage = films.Stage(model, size=256)

    def shot(seed, number, turn):
        side = (170, 140, 190, 150)[number]
        place = films.resting(128 + 8 * number, 128, side, 5.0 * number - 6)
        actor = films.Actor(seed, place, turn=lambda at: turn)
        return films.Scene(2, [actor], ground=3 + 4 * number, noise=1.0)

    scenes = [shot(5, 0, 1.0), shot(5, 1, -1.5), shot(7, 2, 0.0), shot(5, 3, 1.5)]
    films.film(stage, tmp_path / "in.mp4", scenes, sound=None)
    seen = follow_faces(model, tmp_path / "in.mp4")
    assert [one.shot for one in seen] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [one.person for one in seen] == [0, 0, 0, 0, -1, -1, 0, 0]
    assert {one.why for one in seen[4:6]} == {"somebody else"}


def test_a_video_is_edited_from_the_command_line(model, filmed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tedi.cli.video._load", lambda **_: model)
    path = str(filmed[0])
    arguments = ["video", path, "with glasses", "--out", "out.mp4", "--json"]
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["path"] == "out.mp4"
    assert told["without_face"] == 2
    assert "2 of 10 frames stay as they are: 8-9" in err
    record = read_record("out.mp4")
    assert record["edits"][0]["text"] == "with glasses"
    assert set(record["weights"]) >= {"mobilestylegan-ffhq", "mtcnn"}
    before, after = read(path), read("out.mp4")
    eyes = filmed[1][:8].mean(1).round().astype(int)
    for n in range(8):
        x, y = eyes[n]
        away = np.abs(after[n].astype(int) - before[n])
        assert away[y - 40 : y + 5, x - 50 : x + 50].mean() > 8
        assert away[:10].mean() < 3
    assert [p.name for p in Path().iterdir()] == ["out.mp4"]
    assert run(["video", path, "a zebra on a bicycle", "--out", "b.mp4"]) == 2
    assert "nothing of" in capsys.readouterr().err
    assert [p.name for p in Path().iterdir()] == ["out.mp4"]


def test_a_video_is_tuned_from_the_command_line(model, filmed, tmp_path, monkeypatch, capsys):
    from tedi.inversion.pti import PivotalTuning, TuningOptions

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tedi.cli.video._load", lambda **_: model)
    monkeypatch.setattr(PivotalTuning, "defaults", TuningOptions(steps=2, local=0.0))
    saved = []
    monkeypatch.setattr("tedi.video.store.Store.clear", lambda store: saved.append(store.folder))
    asked = ("--tune", "--key-frames", "2", "--set", "lr=0.01", "--set", "seed=3")
    assert run(["video", str(filmed[0]), "smiling", *asked]) == 0
    [out] = capsys.readouterr().out.split()
    record = read_record(out)
    assert (record["tune"], record["key_frames"]) == (2, [[2, 6]])
    changed = {"steps": 2, "finish": 0, "lr": 0.01, "seed": 3}
    assert record["tuning"].items() >= changed.items()
    assert "attributes-lite0" in record["weights"]
    tuned = model.load_generator(saved[0] / "tuned-00000.safetensors")
    assert tuned is not model.generator
    assert not torch.equal(
        tuned.preview(tuned.w_avg.expand(1, 16, -1)),
        model.generator.preview(tuned.w_avg.expand(1, 16, -1)),
    )


@pytest.mark.parametrize(
    ("size", "preset", "steps"),
    [
        ("preview", None, (60, 0)),
        ("full", "fast", (60, 6)),
        ("preview", "published", (350, 0)),
        ("full", "published", (0, 350)),
    ],
)
def test_what_is_tuned_looks_at_what_is_drawn(size, preset, steps):
    options = tuning_options(size, preset)
    assert (options.steps, options.finish) == steps
    assert tuning_options(size, preset, ["finish=9"]).finish == 9


def test_a_dry_run_tells_how_texts_are_read(model, filmed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tedi.cli.video._load", lambda **_: model)
    assert run(["video", str(filmed[0]), "smiling", "--dry-run"]) == 0
    assert "smile" in capsys.readouterr().out
    assert list(Path().iterdir()) == []
