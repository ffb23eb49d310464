import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from tedi import zoo
from tedi.checkpoints.mtcnn import convert_mtcnn, load_detector
from tedi.errors import TediError, UsageError
from tedi.faces import (
    Alignment,
    Detected,
    Detector,
    align,
    choose,
    paste_back,
    quad_of,
    soft_mask,
)
from tedi.images import to_pil
from tedi.training.dataset import noise

# As the points lie in a picture that is FFHQ's square, in its sides.
FRONT = np.array([(0.375, 0.47), (0.625, 0.47), (0.5, 0.62), (0.4, 0.735), (0.6, 0.735)])


@pytest.fixture(scope="module")
def detector():
    return load_detector(zoo.pull("mtcnn"))


@pytest.fixture(scope="module")
def drawn(generator):
    """Six faces at 256 px, which are FFHQ's squares by construction."""
    w = generator.mapping(noise([0, 1, 2, 3, 4, 5]))
    ws = (generator.w_avg + 0.7 * (w - generator.w_avg))[:, None].repeat(1, 16, 1)
    with torch.inference_mode():
        return to_pil(generator.preview(ws))


def square(x, y, side, degrees=0.0):
    """Corners (4, 2) of a square about a middle, turned clockwise."""
    turn = math.radians(degrees)
    across = np.array([math.cos(turn), math.sin(turn)]) * side / 2
    down, middle = np.array([-across[1], across[0]]), np.array([x, y])
    return np.stack(
        [
            middle - across - down,
            middle - across + down,
            middle + across + down,
            middle + across - down,
        ]
    )


def whole(side):
    return square((side - 1) / 2, (side - 1) / 2, side)


def background(width, height, seed=0):
    spots = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC)


def scene(faces, places, width=900, height=600):
    """Faces put into a background, each at (x, y, side, degrees)."""
    picture = background(width, height)
    for face, place in zip(faces, places, strict=True):
        picture = paste_back(picture, face, Alignment.of(square(*place), picture), feather=0.05)
    return picture


def levels(picture):
    return np.asarray(picture).astype(float)


def noise_ratio(first, second):
    """PSNR in dB of two pictures or arrays of levels."""
    return 10 * math.log10(255**2 / ((levels(first) - levels(second)) ** 2).mean())


def marked(points, score=0.99):
    points = np.asarray(points, float)
    return Detected((*points.min(0), *points.max(0)), score, points)


# Detection


def test_points_of_drawn_faces_lie_where_ffhq_puts_them(detector, drawn):
    for face in drawn:
        [found] = detector(np.asarray(face))
        off = found.points[[0, 1, 3, 4]] / 256 - FRONT[[0, 1, 3, 4]]
        assert np.abs(off).max() < 0.05
        assert found.score > 0.8
        assert np.abs(quad_of(found.points) - whole(256)).max() < 0.07 * 256


PLACES = [(230, 260, 360, 20), (600, 200, 240, -20), (770, 440, 200, 0)]


def test_faces_of_any_size_and_turn_are_found_where_they_are(detector, drawn):
    picture = scene(drawn[:3], PLACES)
    found = detector(np.asarray(picture))
    assert len(found) == 3
    assert [face.area for face in found] == sorted((face.area for face in found), reverse=True)
    for face, alone, (x, y, side, degrees) in zip(found, drawn, PLACES, strict=False):
        [known] = detector(np.asarray(alone))
        quad = square(x, y, side, degrees)
        axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]], 1) / 256
        expected = (known.points + 0.5) @ axes.T + quad[0]
        assert np.abs(face.points - expected).max() < 0.03 * side
        assert (face.box[0] < face.points[:, 0]).all()
        assert (face.points[:, 1] < face.box[3]).all()


def test_a_large_photo_is_searched_reduced_and_marked_in_full(detector, drawn):
    picture = scene(drawn[:3], PLACES)
    large = picture.resize((3600, 2400), Image.Resampling.BICUBIC)
    for small, big in zip(detector(np.asarray(picture)), detector(np.asarray(large)), strict=True):
        assert np.abs((big.points + 0.5) / 4 - 0.5 - small.points).max() < 3


def test_a_mirrored_photo_gives_mirrored_points(detector, drawn):
    [plain] = detector(np.asarray(drawn[1]))
    [mirrored] = detector(np.asarray(drawn[1])[:, ::-1])
    back = (mirrored.points * (-1, 1) + (255, 0))[[1, 0, 2, 4, 3]]
    assert np.abs(back - plain.points).max() < 4


@pytest.mark.parametrize("size", [(1, 1), (11, 300), (3000, 2), (300, 200)])
def test_no_face_in_a_wall(detector, size):
    for colour in ("grey", "black", "white"):
        assert detector(np.asarray(Image.new("RGB", size, colour))) == []


def test_no_face_in_noise(detector):
    random = np.random.default_rng(0)
    assert detector(random.integers(0, 256, (300, 300, 3), np.uint8)) == []
    assert detector(np.asarray(background(600, 400))) == []


def test_the_smallest_face_is_a_matter_of_min_face(drawn, detector):
    picture = np.asarray(scene(drawn[:1], [(300, 300, 90, 0)]))
    assert len(detector(picture)) == 1
    assert load_detector(zoo.pull("mtcnn"), min_face=160)(picture) == []
    with pytest.raises(UsageError, match="min_face: expected 20 pixels or more, got 5"):
        Detector(min_face=5)


def test_the_detector_says_what_it_takes(detector):
    for pixels in (np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8, 3))):
        with pytest.raises(UsageError, match=r"pixels: expected \(H, W, 3\) uint8, got \("):
            detector(pixels)


def test_conversion_takes_three_networks_and_no_other(tmp_path):
    with pytest.raises(TediError, match="not MTCNN's state"):
        convert_mtcnn(tmp_path, tmp_path / "out")
    for name in ("pnet", "rnet", "onet"):
        torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / f"{name}.pt")
    with pytest.raises(TediError, match="not those of MTCNN's three networks"):
        convert_mtcnn(tmp_path, tmp_path / "out")
    (tmp_path / "rnet.pt").write_bytes(b"rubbish")
    with pytest.raises(TediError, match="not MTCNN's state"):
        convert_mtcnn(tmp_path, tmp_path / "out")


def test_a_dense_layer_reads_its_maps_by_channel(tmp_path):
    """The published layer reads maps flattened (column, row, channel)."""
    from tedi.checkpoints.mtcnn import _by_channel

    maps, weight = torch.randn(2, 5, 3, 3), torch.randn(4, 45)
    published = maps.permute(0, 3, 2, 1).flatten(1) @ weight.T
    assert torch.allclose(maps.flatten(1) @ _by_channel(weight).T, published, atol=1e-5)


def test_weights_of_something_else_are_refused():
    with pytest.raises(TediError, match="does not fit Detector"):
        load_detector(zoo.pull("mobilestylegan-ffhq-preview"))


# Choosing


def faces(*sides):
    """Faces whose squares have these sides."""
    return [marked(FRONT * side) for side in sides]


def test_the_largest_a_number_or_all():
    found = faces(400, 300, 200)
    assert choose(found, "largest", "p.jpg") == found[:1]
    assert choose(found, 2, "p.jpg") == found[1:2]
    assert choose(found, "all", "p.jpg") == found
    assert choose(faces(400, 50), "all", "p.jpg")[0].points[0, 0] == pytest.approx(150)
    assert len(choose(faces(400, 50), "all", "p.jpg")) == 1


PROFILE = FRONT * 300 + [(70, 0), (-20, 0), (60, 0), (60, 0), (-20, 0)]
NARROW = (FRONT - 0.5) * (0.3, 1) * 300 + 150


@pytest.mark.parametrize(
    ("found", "which", "message"),
    [
        ([], "largest", "p.jpg: no face found"),
        ([], 1, "p.jpg: no face found"),
        (faces(300, 200), 3, "--face 3: p.jpg has 2 faces"),
        (faces(300), 0, "--face 0: p.jpg has 1 face"),
        (faces(300), "left", "face: expected 'largest', 'all' or a number from 1, got 'left'"),
        (faces(300), True, "face: expected 'largest', 'all' or a number from 1, got True"),
        (
            faces(60),
            "all",
            "p.jpg: the face is too small: its square has 59 pixels a side, expected 96",
        ),
        (
            faces(300, 60),
            2,
            "p.jpg: face 2 of 2 is too small: its square has 59 pixels a side, expected 96",
        ),
        ([marked(PROFILE)], "largest", "p.jpg: the face is seen from the side; take a photo from"),
        ([marked(NARROW)], "largest", "p.jpg: the face is seen from the side; take a photo from"),
    ],
)
def test_what_cannot_be_chosen_is_said_in_one_line(found, which, message):
    with pytest.raises(TediError) as caught:
        choose(found, which, "p.jpg")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_min_size_is_the_knob_for_small_faces():
    with pytest.raises(TediError, match="expected 96 or more; use a larger photo"):
        choose(faces(60), "largest", "p.jpg")
    assert choose(faces(60), "largest", "p.jpg", min_size=40)


# Alignment


def test_the_square_follows_ffhqs_formula():
    """By hand: eyes 60 apart at height 100, mouth 80 below them; 1.8 · 80 > 2 · 60."""
    points = [(70, 100), (130, 100), (100, 140), (80, 180), (120, 180)]
    quad = quad_of(points, detected=False)
    assert quad == pytest.approx(square(100, 108, 288))
    wide = [(40, 100), (160, 100), (100, 140), (80, 180), (120, 180)]  # 2 · 120 > 1.8 · 80
    assert quad_of(wide, detected=False) == pytest.approx(square(100, 108, 480))


def test_the_square_turns_moves_and_grows_with_the_face():
    points = FRONT * 200
    for degrees in (30, -75, 180):
        quad = square(50, 70, 500, degrees)
        axes = np.stack([quad[3] - quad[0], quad[1] - quad[0]], 1)
        before = quad_of(points) / 200
        assert quad_of(FRONT @ axes.T + quad[0]) == pytest.approx(before @ axes.T + quad[0])


def test_points_that_make_no_face_are_refused():
    with pytest.raises(UsageError, match="points that coincide"):
        quad_of(np.ones((5, 2)))
    with pytest.raises(UsageError, match=r"points: expected \(5, 2\) finite numbers, got \(4, 2\)"):
        quad_of(np.ones((4, 2)))


def test_a_square_of_whole_pixels_is_cut_out_as_it_is(drawn):
    picture = drawn[0].resize((400, 400))
    aligned = align(picture, whole(256) + 70)
    assert np.array_equal(levels(aligned), levels(picture.crop((70, 70, 326, 326))))


@pytest.mark.parametrize("place", [(450, 300, 256, 0), (420, 310, 300, 20), (460, 290, 380, -35)])
def test_a_face_in_a_photo_comes_out_as_it_went_in(drawn, place):
    picture = scene(drawn[:1], [place])
    aligned = align(picture, square(*place))
    inner = (slice(50, 206), slice(50, 206))
    assert noise_ratio(levels(aligned)[inner], levels(drawn[0])[inner]) > 32


def test_detection_and_alignment_together_find_the_square(detector, drawn):
    place = (450, 300, 400, 15)
    [found] = detector(np.asarray(scene(drawn[4:5], [place])))
    assert np.abs(quad_of(found.points) - square(*place)).max() < 0.06 * 400


def test_a_large_photo_is_reduced_without_moire():
    stripes = np.zeros((2048, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    aligned = levels(align(Image.fromarray(stripes), square(1023.5, 1023.5, 1500), size=128))
    assert np.abs(aligned - 127.5).max() < 8


def test_where_the_square_leaves_the_photo_it_is_continued(drawn):
    picture = Image.new("RGB", (200, 200), (90, 120, 30))
    aligned = levels(align(picture, square(0, 0, 300)))
    assert np.abs(aligned - (90, 120, 30)).max() <= 1  # no black corners
    quad = square(20, 100, 160)
    moved = square(20 + 300, 100 + 300, 160)
    wide = Image.new("RGB", (900, 700))
    wide.paste(drawn[0].resize((200, 200)), (300, 300))
    inside = (slice(None), slice(180, 256))  # past x = 52, 33 px from the photo's edge
    photo = drawn[0].resize((200, 200))
    assert noise_ratio(levels(align(photo, quad))[inside], levels(align(wide, moved))[inside]) > 40


def test_alignment_says_what_it_takes(drawn):
    with pytest.raises(UsageError, match=r"quad: expected the \(4, 2\) corners of a square, got"):
        align(drawn[0], [(0, 0), (0, 9), (9, 9), (20, 0)])
    with pytest.raises(UsageError, match="expected a square that meets the picture"):
        align(drawn[0], square(-5_000, 0, 100))
    with pytest.raises(UsageError, match="size: expected 1 or more, and a multiple of it, got 256"):
        align(drawn[0], whole(256), transform_size=300)


def test_an_alignment_survives_json(drawn):
    alignment = Alignment.of(square(31.25, 40, 99.5, 13), drawn[0])
    assert Alignment.from_dict(json.loads(json.dumps(alignment.to_dict()))) == alignment
    assert alignment.side == pytest.approx(99.5)
    good = alignment.to_dict()
    for wrong in (
        {},
        good | {"quad": [[0, 0]] * 4},
        good | {"quad": good["quad"][:3]},
        good | {"size": [9]},
        good | {"size": [0, 5]},
        good | {"quad": [["x", 0]] * 4},
    ):
        with pytest.raises(TediError, match=r"alignment: expected quad, four corners of a square"):
            Alignment.from_dict(wrong)


# Putting back


def outside(quad, width, height):
    """Pixels (H, W) whose middle lies outside a square."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    axes = np.linalg.inv(np.stack([quad[3] - quad[0], quad[1] - quad[0]], 1))
    place = (np.stack([x, y], -1) - quad[0]) @ axes.T
    return ((place < 0) | (place > 1)).any(-1)


@pytest.mark.parametrize(
    "place", [(450, 300, 300, 20), (30, 40, 300, -33), (890, 590, 500, 0), (450, 300, 3000, 7)]
)
def test_pixels_outside_the_square_stay_bit_for_bit(drawn, place):
    picture = background(900, 600)
    alignment = Alignment.of(square(*place), picture)
    pasted = paste_back(picture, drawn[2], alignment)
    far = outside(square(*place), 900, 600)
    assert np.array_equal(np.asarray(pasted)[far], np.asarray(picture)[far])
    assert noise_ratio(pasted, picture) < 40  # something was put there
    assert picture.tobytes() == background(900, 600).tobytes()


def test_a_square_beside_the_photo_changes_nothing(drawn):
    picture = background(90, 60)
    alignment = Alignment.of(square(-500, 0, 90), picture)
    assert (
        paste_back(picture, drawn[0], alignment, original=drawn[0]).tobytes() == picture.tobytes()
    )


@pytest.mark.parametrize(
    ("place", "least"),
    [
        ((450, 300, 256, 0), 35),
        ((450, 300, 256, 25), 35),
        ((60, 300, 300, -10), 31),  # at the edge of a photo FFHQ blurs a little inside it, too
    ],
)
def test_the_same_face_put_back_changes_little(drawn, place, least):
    picture = scene(drawn[3:4], [place])
    quad = square(*place)
    pasted = paste_back(picture, align(picture, quad), Alignment.of(quad, picture))
    inside = ~outside(quad, *picture.size)
    assert noise_ratio(levels(pasted)[inside], levels(picture)[inside]) > least


def test_the_face_in_the_middle_is_the_one_that_was_put_there(drawn):
    picture = scene(drawn[:1], [(450, 300, 256, 0)])
    alignment = Alignment.of(square(450, 300, 256), picture)
    pasted = paste_back(picture, drawn[1], alignment)
    middle = align(pasted, alignment.quad).crop((90, 100, 166, 200))
    assert noise_ratio(middle, drawn[1].crop((90, 100, 166, 200))) > 26


def test_no_seam_where_the_face_is_darker():
    """A grey square into a lighter grey photo: no step between neighbours, the middle is kept."""
    picture, face = (
        Image.new("RGB", (400, 400), (150,) * 3),
        Image.new("RGB", (256, 256), (90,) * 3),
    )
    alignment = Alignment.of(square(200, 200, 256, 10), picture)
    for match, bound in ((True, 4), (False, 8)):
        pasted = levels(paste_back(picture, face, alignment, match_colour=match))
        assert np.abs(np.diff(pasted, axis=0)).max() <= bound
        assert np.abs(pasted[190:210, 190:210] - 90).max() <= 3
    matched = levels(paste_back(picture, face, alignment))
    plain = levels(paste_back(picture, face, alignment, match_colour=False))
    ring = (soft_mask(256) > 0.05) & (soft_mask(256) < 0.3)
    where = np.argwhere(ring) + 200 - 128
    there = tuple(where.T)
    assert abs(matched[there] - 150).mean() < 0.3 * abs(plain[there] - 150).mean()


def test_a_region_alone_is_put_back(drawn):
    picture = background(400, 400)
    alignment = Alignment.of(square(200, 200, 256), picture)
    mask = np.zeros((64, 64))
    mask[40:52, 20:44] = 1
    pasted = paste_back(picture, drawn[0], alignment, mask=mask)
    changed = np.argwhere((np.asarray(pasted) != np.asarray(picture)).any(-1)) - 72
    assert changed.min(0) == pytest.approx([160, 80], abs=6)
    assert changed.max(0) == pytest.approx([208, 176], abs=6)
    none = paste_back(picture, drawn[0], alignment, mask=np.zeros((9, 9)))
    assert none.tobytes() == picture.tobytes()


def test_the_mask_is_full_inside_and_nothing_at_the_border():
    mask = soft_mask(200, 0.15)
    assert mask[100, 100] == 1
    assert mask[60, 60] == 1
    assert max(mask[0].max(), mask[:, 0].max(), mask[-1].max(), mask[:, -1].max()) == 0
    assert np.array_equal(mask, mask.T)
    assert np.array_equal(mask, mask[::-1])
    assert soft_mask(200, 0.3).sum() < mask.sum()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"picture": Image.new("RGB", (9, 9))}, "picture: expected the photo of the alignment, 40"),
        ({"face": Image.new("RGB", (9, 8))}, "face: expected a square, got 9 x 8"),
        ({"feather": 0.0}, "feather: expected above 0 to 0.5 sides of the square, got 0.0"),
        ({"mask": np.zeros((2, 2, 3))}, r"mask: expected \(H, W\) finite numbers of 0 to 1"),
        ({"mask": np.full((2, 2), np.nan)}, r"mask: expected \(H, W\) finite numbers of 0 to 1"),
    ],
)
def test_paste_back_says_what_it_takes(changes, message):
    picture = Image.new("RGB", (40, 40))
    given = {
        "picture": picture,
        "face": Image.new("RGB", (8, 8)),
        "alignment": Alignment.of(square(20, 20, 10), picture),
    }
    with pytest.raises(UsageError, match=message):
        paste_back(**{**given, **changes})
