"""Files as people have them, broken in a thousand ways: each gives a picture or one line."""

import io
import struct
import time
import warnings
from zlib import crc32

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tedi.errors import TediError
from tedi.images import MAX_PIXELS, load

SECONDS = 5
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "TGA", "ICO", "JPEG2000")
SUFFIXES = (".png", ".jpg", ".webp", ".gif", ".txt", "", ".JPG", ".tif")


def drawn(random, size=None, mode="RGB"):
    """A small picture of soft spots, in a mode."""
    size = size or tuple(random.integers(1, 90, 2).tolist())
    spots = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
    picture = spots.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    if mode in ("RGBA", "LA"):
        picture.putalpha(picture.convert("L"))
    if mode == "I;16":
        levels = np.asarray(picture.convert("L"), np.uint16) * 257
        return Image.fromarray(levels)
    return picture.convert(mode)


def encoded(picture, file_format, **options):
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))


# Kinds of whole files: (bytes, a file that must be read).


def plain(random):
    file_format = str(random.choice(FORMATS))
    return encoded(drawn(random), file_format), True


def other_mode(random):
    kinds = [
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("1", "PNG"),
        ("I;16", "PNG"),
        ("I;16", "TIFF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("L", "JPEG"),
        ("RGBA", "WEBP"),
        ("YCbCr", "TIFF"),
        ("LAB", "TIFF"),
        ("RGBA", "TGA"),
    ]
    mode, file_format = kinds[random.integers(len(kinds))]
    return encoded(drawn(random, mode=mode), file_format), True


def animated(random):
    file_format = ("GIF", "WEBP", "PNG")[random.integers(3)]
    frames = [drawn(random, (20, 30)) for _ in range(3)]
    options = {"save_all": True, "append_images": frames[1:], "duration": 50}
    return encoded(frames[0], file_format, **options), True


def turned(random):
    exif = Image.Exif()
    exif[0x0112] = int(random.integers(0, 12))  # 1 to 8 are turns, the others mistakes
    return encoded(drawn(random), ("JPEG", "PNG", "WEBP")[random.integers(3)], exif=exif), True


def odd_size(random):
    size = [(1, 1), (20_000, 1), (20_000, 30), (1, 3_000), (2, 1)][random.integers(5)]
    return encoded(drawn(random, size), ("PNG", "JPEG", "TIFF")[random.integers(3)]), True


def bomb(random):
    side = int(random.choice([12_000, 60_000, 2**31 - 1]))
    if random.integers(2):
        header = struct.pack(">IIBBBBB", side, side, 8, int(random.choice([0, 2, 3, 6])), 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", b"x\x9c") + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body, False
    data = bytearray(encoded(drawn(random, (8, 8)), "BMP"))
    data[18:26] = struct.pack("<ii", side, side)
    return bytes(data), False


def rubbish(random):
    return random.bytes(int(random.integers(0, 300))), False


KINDS = (plain, other_mode, animated, turned, odd_size, bomb, rubbish)


# Ways to break them.


def whole(random, data):
    return data


def cut_short(random, data):
    return data[: random.integers(0, len(data) + 1)]


def flipped(random, data):
    broken = bytearray(data)
    for place in random.integers(0, max(1, min(len(data), 2_000)), random.integers(1, 9)):
        if place < len(broken):
            broken[place] ^= 1 << random.integers(8)
    return bytes(broken)


def overwritten(random, data):
    start = int(random.integers(0, len(data) + 1))
    return data[:start] + random.bytes(int(random.integers(1, 40))) + data[start + 20 :]


def headless(random, data):
    return data[random.integers(1, 30) :]


WAYS = (whole, cut_short, flipped, overwritten, headless)


def outcome(path):
    """The picture of a file or the complaint about it; anything else fails the test."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture, complaint = None, ""
        try:
            picture = load(path)
        except TediError as error:
            complaint = str(error)
    assert time.perf_counter() - start < SECONDS
    if picture is None:
        assert complaint.startswith(f"{path}: ")
        assert "\n" not in complaint
        assert len(complaint) < 400
    else:
        assert picture.mode == "RGB"
        assert min(picture.size) >= 1
        assert picture.info == {}
    return picture


def run(tmp_path, count, seed):
    """(read, refused) among so many files, each of its own seed."""
    seen = [0, 0]
    for number in range(count):
        random = np.random.default_rng((seed, number))
        data, readable = KINDS[number % len(KINDS)](random)
        way = WAYS[random.integers(len(WAYS))]
        path = tmp_path / f"{number}{random.choice(SUFFIXES)}"
        path.write_bytes(way(random, data))
        picture = outcome(path)
        if way is whole and readable:
            assert picture is not None, f"{path}: a whole file was refused"
        if not readable and way is whole:
            assert picture is None, f"{path}: read as {picture.size}"
        seen[picture is None] += 1
    return seen


def test_a_sample_of_broken_files_gives_a_picture_or_one_line(tmp_path):
    read, refused = run(tmp_path, 150, seed=1)
    assert read > 40
    assert refused > 40


@pytest.mark.slow
def test_a_thousand_broken_files_give_a_picture_or_one_line(tmp_path):
    read, refused = run(tmp_path, 1_000, seed=2)
    assert read > 250
    assert refused > 250


@pytest.mark.parametrize("turn", range(1, 9))
def test_all_eight_turns_of_a_camera_are_undone(tmp_path, turn):
    picture = Image.new("RGB", (32, 16), "black")
    picture.paste("red", (0, 0, 16, 8))  # one corner tells all eight apart with the sides
    picture.paste("blue", (16, 0, 32, 8))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores it so
    stored = picture.transpose(Image.Transpose(undo[turn])) if turn > 1 else picture
    exif = Image.Exif()
    exif[0x0112] = turn
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(load(tmp_path / "a.png")), np.asarray(picture))


def test_the_suffix_does_not_count(tmp_path):
    Image.new("RGB", (5, 4), "red").save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.txt")
    assert load(tmp_path / "a.txt").getpixel((0, 0)) == (255, 0, 0)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "lime", "blue")]
    for suffix in ("gif", "webp", "png", "tif"):
        path = tmp_path / f"a.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        assert load(path).getpixel((3, 3)) == (255, 0, 0)


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"x\x9c")
    (tmp_path / "a.png").write_bytes(data + chunk(b"IEND", b""))
    with pytest.raises(TediError, match=r"too many pixels, expected at most 120 million; make it"):
        load(tmp_path / "a.png")


def test_the_limit_is_of_pixels(tmp_path, monkeypatch):
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr("tedi.images.MAX_PIXELS", 900)
    assert load(tmp_path / "a.png").size == (30, 30)
    monkeypatch.setattr("tedi.images.MAX_PIXELS", 899)
    with pytest.raises(TediError, match="too many pixels"):
        load(tmp_path / "a.png")
    assert MAX_PIXELS > 11_648 * 8_736  # of the largest cameras


def test_a_file_that_starts_a_program_is_not_opened(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.eps")
    with pytest.raises(TediError, match="no picture tedi can read"):
        load(tmp_path / "a.eps")
