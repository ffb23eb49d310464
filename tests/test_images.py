import contextlib
import io
import json
import struct
import subprocess
import sys
from xml.etree import ElementTree
from zlib import compress, crc32

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from tedi import images
from tedi.errors import TediError, UsageError
from tedi.images import contact_sheet, load, read_provenance, save, to_image, to_pil, to_pixels

SUFFIXES = [".png", ".jpg", ".webp"]
NASTY = "<a & \"b\" 'c'>\r\n\t]]> 😀 é \x00\x07\x1b\x7f\x85\u2028\ufffe \\u0041 \udcff {x}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


def plain(colour="red", size=(8, 8), mode="RGB"):
    return Image.new(mode, size, colour)


def one_value(value, dtype=torch.float32):
    return to_pixels(torch.full((1, 3, 1, 1), value, dtype=dtype)).ravel().tolist()


# Conversion


@pytest.mark.parametrize(
    ("value", "level"),
    [(-1, 0), (1, 255), (0, 128), (-7, 0), (7, 255), (float("inf"), 255), (float("-inf"), 0)],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_levels(value, level, dtype):
    assert one_value(value, dtype) == [level] * 3


def test_halves_go_to_the_even_level():
    halves = torch.tensor([0.5, 1.5, 2.5, 127.5, 253.5]) / 127.5 - 1
    halves = halves.to(torch.float64)
    scaled = (halves.to(torch.float32) + 1) * 127.5
    exact = scaled == torch.tensor([0.5, 1.5, 2.5, 127.5, 253.5])
    levels = to_pixels(halves.expand(1, 3, 1, 5))[0, 0, :, 0]
    assert exact.sum() >= 2
    assert levels[exact.numpy()].tolist() == torch.tensor([0, 2, 2, 128, 254])[exact].tolist()


def test_every_level_survives_the_round_trip():
    pixels = np.arange(768, dtype=np.uint8).reshape(1, 16, 16, 3)
    assert np.array_equal(to_pixels(to_image(pixels)), pixels)


def test_axes_and_channels_keep_their_places():
    image = torch.full((2, 3, 4, 5), -1.0)
    image[1, 0, 2, 3] = 1  # second picture, red, row 2, column 3
    pixels = to_pixels(image)
    assert pixels.shape == (2, 4, 5, 3)
    assert np.argwhere(pixels).tolist() == [[1, 2, 3, 0]]
    assert torch.equal(to_image(pixels), image)
    pictures = to_pil(image)
    assert [picture.size for picture in pictures] == [(5, 4), (5, 4)]
    assert pictures[1].getpixel((3, 2)) == (255, 0, 0)


def test_the_pixels_of_a_picture_may_be_read_only(recwarn):
    pixels = np.asarray(plain("red"))[None]
    assert not pixels.flags.writeable
    assert to_image(pixels)[0, :, 0, 0].tolist() == [1, -1, -1]
    assert not recwarn.list


def test_to_image_copies_and_to_pixels_leaves_the_image_alone():
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    image = to_image(pixels)
    pixels[:] = 255
    assert image.max() == -1
    image = torch.full((1, 3, 2, 2), 3.0, requires_grad=True)
    to_pixels(image)
    assert image.detach().max() == 3


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 2, 2), torch.zeros(1, 4, 2, 2), torch.zeros(1, 3, 2, 2).byte()]
)
def test_to_pixels_names_what_came(image):
    with pytest.raises(UsageError, match=r"image: expected \(N, 3, H, W\) float, got \("):
        to_pixels(image)


@pytest.mark.parametrize(
    "pixels", [np.zeros((1, 3, 2, 2), np.uint8), np.zeros((1, 2, 2, 3), np.float32)]
)
def test_to_image_names_what_came(pixels):
    with pytest.raises(UsageError, match=r"pixels: expected \(N, H, W, 3\) uint8, got"):
        to_image(pixels)


def test_nan_is_no_picture():
    with pytest.raises(TediError, match="got NaN"):
        one_value(float("nan"))


def test_images_come_without_torch():
    code = "import sys, tedi.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Saving and reading back


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_record_comes_back_from_every_format(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    record = {
        "prompt": NASTY,
        "seed": 3,
        "psi": 0.7,
        "weights": {"gén": "ab" * 32, NASTY: None},
        "edits": [["smile", -1.5], True],
        "version": "0.1.0",
    }
    save(plain(), path, record)
    assert read_provenance(path) == record


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # A high surrogate right before a low one is one character to JSON, so none stand alone here.
    | st.text(st.characters(exclude_categories=())).filter(
        lambda text: text == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(record=st.dictionaries(st.text(), JSON, max_size=4), prompt=st.text())
def test_any_record_comes_back(tmp_path, suffix, record, prompt):
    path = tmp_path / f"a{suffix}"
    record = {**record, "prompt": prompt}
    save(plain(size=(1, 1)), path, record, exist="overwrite")
    assert read_provenance(path) == record


def xmp_of(path):
    with Image.open(path) as picture:
        packet = picture.info["xmp"]
    return ElementTree.fromstring(packet if isinstance(packet, bytes) else packet.encode())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_picture_says_that_it_is_synthetic_and_what_made_it(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(plain(), path, {"prompt": "a <b>\x07 é", "version": "1.2.3"})
    xmp = xmp_of(path)
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert xmp.find(f".//{iptc}").text == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert xmp.find(".//{http://ns.adobe.com/xap/1.0/}CreatorTool").text == "tedi 1.2.3"
    description = xmp.find(".//{http://purl.org/dc/elements/1.1/}description")
    assert description.find(f"{RDF}Alt/{RDF}li").text == "a <b> é"


def test_png_has_text_chunks_that_viewers_show(tmp_path):
    save(plain(), tmp_path / "a.png", {"prompt": "ein Lächeln 😀", "version": "1"})
    with Image.open(tmp_path / "a.png") as picture:
        text = picture.text
    assert text["Description"] == "ein Lächeln 😀"
    assert text["Software"] == "tedi 1"
    assert json.loads(text["tedi"]) == {"prompt": "ein Lächeln 😀", "version": "1"}
    assert isinstance(text["XML:com.adobe.xmp"], PngImagePlugin.iTXt)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_exif_has_description_and_software(tmp_path, suffix):
    save(plain(), tmp_path / f"a{suffix}", {"prompt": "ein Lächeln", "version": "1"})
    with Image.open(tmp_path / f"a{suffix}") as picture:
        data = picture.info["exif"]
        assert picture.getexif()[0x0131] == "tedi 1"
    assert "ein Lächeln\0".encode() in data


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_call_gives_the_same_bytes(tmp_path, suffix):
    for name in ("a", "b"):
        save(plain(), tmp_path / f"{name}{suffix}", {"prompt": "x", "seed": 1})
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("letter", ["a", "😀", "&", '"', "\x01", "é"])
def test_a_prompt_of_5000_characters_fits_a_jpeg(tmp_path, letter):
    record = {"prompt": letter * 5_000, "weights": {"generator": "0" * 4_000}}
    save(plain(), tmp_path / "a.jpg", record)
    assert read_provenance(tmp_path / "a.jpg") == record


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_a_longer_prompt_keeps_its_record_and_loses_the_end_of_its_description(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(plain(), path, {"prompt": "x" * 100_000})
    assert read_provenance(path) == {"prompt": "x" * 100_000}
    description = xmp_of(path).find(f".//{RDF}li").text
    assert description == "x" * 4_999 + "…"


def test_a_record_too_long_for_a_jpeg_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"a JPEG holds 65,504; save it as .png or .webp"):
        save(plain(), tmp_path / "a.jpg", {"prompt": "x" * 70_000})
    assert list(tmp_path.iterdir()) == []


def test_a_jpeg_record_may_be_as_long_as_its_segment(tmp_path):
    bare = len(images._options("JPEG", {"x": ""}, 95)["xmp"])
    room = images._JPEG_XMP_BYTES - bare
    save(plain(), tmp_path / "a.jpg", {"x": "y" * room})
    assert len(read_provenance(tmp_path / "a.jpg")["x"]) == room
    with pytest.raises(UsageError, match="JPEG holds"):
        save(plain(), tmp_path / "b.jpg", {"x": "y" * (room + 1)})


@pytest.mark.parametrize("record", [{"x": {1, 2}}, {"x": float("nan")}, {"x": b"raw"}])
def test_a_record_that_is_not_json_is_refused(tmp_path, record):
    with pytest.raises(UsageError, match="provenance: expected what JSON can hold"):
        save(plain(), tmp_path / "a.png", record)


def test_save_refuses_what_no_format_can_do(tmp_path):
    with pytest.raises(UsageError, match=r"unknown picture suffix '.gif'; choose from .png, .jpg"):
        save(plain(), tmp_path / "a.gif", {})
    for quality in (0, 101):
        with pytest.raises(UsageError, match=f"quality: expected 1 to 100, got {quality}"):
            save(plain(), tmp_path / "a.jpg", {}, quality=quality)
    for name, side in (("a.jpg", 65_501), ("a.webp", 16_384)):
        with pytest.raises(UsageError, match=rf" {side:,} x 1 pixels, .* a side; save it as .png"):
            save(plain(size=(side, 1)), tmp_path / name, {})


def test_save_keeps_a_file_unless_told(tmp_path):
    path = tmp_path / "a.png"
    save(plain("red"), path, {"n": 1})
    with pytest.raises(TediError, match="already exists; pass --overwrite"):
        save(plain("blue"), path, {"n": 2})
    assert read_provenance(path) == {"n": 1}
    save(plain("blue"), path, {"n": 2}, exist="overwrite")
    assert read_provenance(path) == {"n": 2}


def test_quality_and_colour_of_a_jpeg(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for quality in (50, 95):
        save(Image.fromarray(noise), tmp_path / f"{quality}.jpg", {}, quality=quality)
    sizes = [(tmp_path / f"{quality}.jpg").stat().st_size for quality in (50, 95)]
    assert sizes[0] < sizes[1] / 2
    with Image.open(tmp_path / "95.jpg") as picture:
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3  # colour at full size


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_of_a_source_picture_is_carried_over(tmp_path, suffix):
    picture = plain()
    exif = Image.Exif()
    exif[0x010F] = "SECRET"
    picture.info = {"exif": exif.tobytes(), "comment": b"SECRET", "icc_profile": b"SECRET" * 9}
    save(picture, tmp_path / f"a{suffix}", {})
    assert b"SECRET" not in (tmp_path / f"a{suffix}").read_bytes()
    assert "exif" in picture.info  # the caller's picture stays as it was


def test_pictures_of_others_have_no_record(tmp_path):
    plain().save(tmp_path / "a.png")
    plain().save(tmp_path / "b.jpg", xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    plain().save(tmp_path / "c.webp", xmp=b"not xml")
    assert [read_provenance(tmp_path / name) for name in ("a.png", "b.jpg", "c.webp")] == [None] * 3


def packet(body="", attribute=""):
    return (
        f"<x xmlns:rdf='{RDF[1:-1]}' xmlns:t='{images._NAMESPACE}'>"
        f"<rdf:Description {attribute}>{body}</rdf:Description></x>"
    )


def test_a_record_is_found_where_another_program_put_it():
    assert images._find_record(packet(attribute="t:record='{}'")) == "{}"
    assert images._find_record(packet(body="<t:record>{}</t:record>").encode() + b"\x00") == "{}"


def test_xml_entities_are_not_expanded():
    bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'>]>" + packet(body="<t:record>&a;</t:record>")
    assert images._find_record(bomb) is None


@pytest.mark.parametrize("record", ["{", "[1]"])
def test_a_damaged_record_is_said(tmp_path, record):
    xmp = packet(body=f"<t:record>{record}</t:record>").encode()
    plain().save(tmp_path / "a.webp", xmp=xmp)
    with pytest.raises(TediError, match="its provenance record is damaged"):
        read_provenance(tmp_path / "a.webp")


# Reading


@pytest.mark.parametrize("reader", [load, read_provenance])
def test_reading_says_what_is_wrong_with_the_path(tmp_path, reader):
    (tmp_path / "a.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    for name, message in [
        ("none.png", "no such file"),
        ("", "is a folder"),
        ("a.png", "no picture tedi can read; convert it to PNG or JPEG"),
        ("empty.png", "no picture tedi can read"),
    ]:
        with pytest.raises(TediError) as caught:
            reader(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {message}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_file_cut_short_anywhere_is_said_or_read(tmp_path, file_format):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, file_format)
    path = tmp_path / "a"
    path.write_bytes(whole.getvalue())
    assert load(path).size == (24, 24)
    size = len(whole.getvalue())
    refused = 0
    for length in range(1, size, max(1, size // 60)):
        path.write_bytes(whole.getvalue()[:length])
        try:
            assert load(path).mode == "RGB"
        except TediError:
            refused += 1
    assert refused > 50


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    file_format=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_a_damaged_file_raises_nothing_but_its_error(tmp_path, file_format, changes):
    whole = io.BytesIO()
    plain(size=(16, 16)).save(whole, file_format)
    data = bytearray(whole.getvalue())
    for place, value in changes:
        data[place % len(data)] = value
    path = tmp_path / "a"
    path.write_bytes(data)
    for reader in (load, read_provenance):
        with contextlib.suppress(TediError):
            reader(path)


@pytest.mark.parametrize("problem", [RuntimeError, TypeError, struct.error, SyntaxError])
def test_a_decoder_that_gives_up_in_its_own_way_is_said(tmp_path, monkeypatch, problem):
    def give_up(picture, *, in_place):
        raise problem("odd")

    plain().save(tmp_path / "a.png")
    monkeypatch.setattr(images.ImageOps, "exif_transpose", give_up)
    with pytest.raises(TediError, match=r"a.png: damaged or cut short \(odd\); get it anew"):
        load(tmp_path / "a.png")


def test_a_decompression_bomb_is_refused_and_a_large_photo_read(tmp_path, monkeypatch, recwarn):
    plain(size=(30, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 800)
    assert load(tmp_path / "a.png").size == (30, 30)  # past the warning, not past twice that
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with pytest.raises(TediError, match="too many pixels"):
        load(tmp_path / "a.png")


def test_exif_rotation_is_applied_and_not_kept(tmp_path):
    picture = plain("black", (2, 1))
    picture.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene lies at the right of the stored picture
    picture.save(tmp_path / "a.png", exif=exif)
    upright = load(tmp_path / "a.png")
    assert upright.size == (1, 2)
    assert upright.getpixel((0, 0)) == (255, 0, 0)
    assert (upright.info, dict(upright.getexif())) == ({}, {})


def palette_with_transparency():
    picture = plain(1, mode="P")
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.info["transparency"] = 0
    picture.putpixel((0, 0), 0)
    return picture


@pytest.mark.parametrize(
    ("picture", "name", "expected"),
    [
        (plain(0x8080, mode="I;16"), "a.png", (128, 128, 128)),
        (plain(200, mode="I;16"), "a.tif", (1, 1, 1)),
        (plain(0x8080, mode="I"), "a.tif", (128, 128, 128)),
        (plain(70, mode="L"), "a.png", (70, 70, 70)),
        (plain(1, mode="1"), "a.png", (255, 255, 255)),
        (plain((0, 0, 255, 0), mode="RGBA"), "a.png", (255, 255, 255)),
        (plain((255, 0, 0, 51), mode="RGBA"), "a.png", (255, 204, 204)),
        (plain((0, 51), mode="LA"), "a.png", (204, 204, 204)),
        (plain("blue").convert("P"), "a.gif", (0, 0, 255)),
        (palette_with_transparency(), "a.png", (255, 255, 255)),
        (plain((0, 255, 255, 0), mode="CMYK"), "a.tif", (255, 0, 0)),
        (plain((0, 255, 255, 0), mode="CMYK"), "a.jpg", (254, 0, 0)),
    ],
)
def test_every_mode_is_read_as_rgb(tmp_path, picture, name, expected):
    picture.save(tmp_path / name)
    loaded = load(tmp_path / name)
    assert loaded.mode == "RGB"
    assert np.abs(np.subtract(loaded.getpixel((0, 0)), expected)).max() <= 1


def test_sixteen_bits_become_eight_to_the_nearest():
    levels = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    loaded = np.asarray(images._to_rgb(Image.fromarray(levels)))[..., 0]
    assert np.array_equal(loaded, (levels / 257).round())


def test_floating_point_pixels_are_refused(tmp_path):
    plain(0.5, mode="F").save(tmp_path / "a.tif")
    with pytest.raises(TediError, match="floating-point pixels; export it with 8 or 16 bits"):
        load(tmp_path / "a.tif")


def profile_with_red_and_blue_swapped():
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = data.replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    return data.replace(b"rXYZ", b"tmp!").replace(b"bXYZ", b"rXYZ").replace(b"tmp!", b"bXYZ")


def test_an_embedded_profile_is_converted_to_srgb(tmp_path):
    swapped = profile_with_red_and_blue_swapped()
    for mode, colour in (("RGB", (255, 0, 0)), ("RGBA", (255, 0, 0, 255))):
        plain(colour, mode=mode).save(tmp_path / "a.png", icc_profile=swapped)
        assert load(tmp_path / "a.png").getpixel((0, 0)) == pytest.approx((0, 0, 255), abs=3)


def test_a_profile_that_changes_nothing_or_is_broken_leaves_the_pixels(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"broken"):
        plain((13, 57, 201)).save(tmp_path / "a.png", icc_profile=profile)
        assert load(tmp_path / "a.png").getpixel((0, 0)) == (13, 57, 201)


def test_a_file_said_to_be_16_bit_colour_is_read(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    body = compress(b"\x00" + struct.pack(">HHH", 0xFFFF, 0x8080, 0))
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )
    assert load(path).getpixel((0, 0)) == (255, 128, 0)


# Contact sheets


def test_every_picture_lies_in_its_cell():
    colours = [["red", "lime", "blue"], ["cyan", "magenta", "yellow"]]
    rows = [[plain(colour, (50, 50)) for colour in row] for row in colours]
    sheet = contact_sheet(rows, cell=20, gap=4)
    assert sheet.size == (12 + 3 * 20 + 2 * 4 + 12, 12 + 2 * 20 + 4 + 12)
    expected = Image.new("RGB", sheet.size, "white")
    for row, column in np.ndindex(2, 3):
        x, y = 12 + 24 * column, 12 + 24 * row
        expected.paste(colours[row][column], (x, y, x + 20, y + 20))
    assert np.array_equal(np.asarray(sheet), np.asarray(expected))


def test_an_oblong_picture_is_centred_whole_and_a_gap_is_grey():
    sheet = contact_sheet([[plain("red", (40, 20))], [None, plain()], []], cell=20, gap=4)
    assert sheet.getpixel((12 + 10, 12 + 10)) == (255, 0, 0)
    assert sheet.getpixel((12 + 10, 12 + 3)) == (255, 255, 255)
    assert [sheet.getpixel((x, y)) for x, y in [(40, 20), (20, 40), (20, 70), (40, 70)]] == [
        (240, 240, 240)
    ] * 4


def ink(picture):
    return int((np.asarray(picture.convert("L")) < 200).sum())


def test_labels_stand_beside_their_row_and_above_their_column():
    blank = plain("white", (64, 64))
    rows = [[blank, blank], [blank, blank]]
    bare = contact_sheet(rows, cell=64)
    labelled = contact_sheet(rows, labels=["", "smile"], column_labels=["", "seed 1"], cell=64)
    left, top = (labelled.size[i] - bare.size[i] for i in (0, 1))
    assert left > 0
    assert top > 0
    body = top + 24
    assert ink(labelled.crop((0, body, left, body + 64))) == 0
    assert ink(labelled.crop((0, body + 72, left + 24, body + 136))) > 0
    assert ink(labelled.crop((0, 0, left + 24 + 64, body))) == 0
    assert ink(labelled.crop((left + 24 + 72, 0, labelled.width, body))) > 0


@pytest.mark.parametrize(("name", "fits"), [("a.webp", 32), ("a.jpg", 129), ("a.png", 500)])
def test_a_sheet_that_no_file_holds_is_refused_before_it_is_made(name, fits):
    images.check_sheet(name, fits, 1, cell=496)
    images.check_sheet(name, 1, fits, cell=496)
    if name != "a.png":
        for rows, columns in ((fits + 1, 1), (1, fits + 1)):
            with pytest.raises(UsageError, match=r"a side; save it as .png"):
                images.check_sheet(name, rows, columns, cell=496)


def test_the_size_that_is_checked_is_that_of_the_sheet():
    texts = {"labels": ["a smiling woman"] * 2, "column_labels": ["1", "2", "3"]}
    size = images._lay_out(2, 3, *texts.values(), 40, 4).size
    assert contact_sheet([[plain()] * 3, [plain()]], **texts, cell=40, gap=4).size == size


FONT = images._font(16)


@given(st.text(max_size=300), st.integers(30, 200), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_wrapped_text_fits(text, width, limit):
    lines = images._wrap(text, FONT, width, limit)
    assert 1 <= len(lines) <= limit
    assert all(FONT.getlength(line) <= width or len(line.strip("…")) <= 1 for line in lines)
    if not lines[-1].endswith("…"):
        assert "".join(lines).replace(" ", "") == "".join(images._printable(text).split())


def test_wrapping_breaks_between_words_and_ends_with_an_ellipsis():
    assert images._wrap("one two three", FONT, 70, 5) == ["one two", "three"]
    assert images._wrap("one two, three", FONT, 70, 1) == ["one two…"]
    assert images._wrap("one two three", FONT, 70, 2) == ["one two", "three"]
    assert images._wrap("one two three four", FONT, 70, 2)[1].endswith("…")
    assert images._wrap("abcdefghijklmnopq", FONT, 70, 9) == ["abcdefg", "hijklmno", "pq"]
    assert images._wrap("one", FONT, 70, 1) == ["one"]


def test_labels_of_any_script_do_not_crash():
    labels = [NASTY, "笑顔" * 5_000, "امرأة مبتسمة", "", "x" * 100_000]
    sheet = contact_sheet([[plain()]] * 5, labels=labels, column_labels=[NASTY], cell=40)
    assert sheet.width < 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": []}, "rows: expected at least one picture"),
        ({"rows": [[]]}, "rows: expected at least one picture"),
        ({"labels": []}, "labels: expected 1, one a row, got 0"),
        ({"column_labels": ["a", "b"]}, "column_labels: expected 1, one a column, got 2"),
        ({"cell": 0}, "expected a cell of 16 or more"),
        ({"gap": -1}, "a gap of 0 or more"),
    ],
)
def test_a_sheet_that_cannot_be_laid_out_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        contact_sheet(**{"rows": [[plain()]], **options})
