"""Label maps, the parser of faces, its training, and `tedi parse`."""

import doctest
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from tedi import config, images, zoo
from tedi.checkpoints import native
from tedi.cli import run
from tedi.encoders import parser as network
from tedi.encoders.parser import FaceParser
from tedi.errors import TediError, UsageError
from tedi.faces import Alignment, align
from tedi.modalities import labels as maps
from tedi.modalities.labels import CLASSES, COLOURS, MIRRORED, REGIONS
from tedi.training import TASKS
from tedi.training import parser as task
from tedi.training.dataset import load_masks
from tedi.training.loop import Settings
from tedi.training.parser import IGNORED, ParserOptions, ParserTask, Photo

ROOT = Path(__file__).parents[1]
COUNT = len(CLASSES)


def some_labels(*shape: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(COUNT, shape, generator=random, dtype=torch.uint8)


# --- label maps ----------------------------------------------------------------------------------


def test_doctests():
    failed, tried = doctest.testmod(maps)
    assert (failed, tried > 0) == (0, True)


def test_the_tables_agree():
    assert (len(CLASSES), len(set(CLASSES)), COLOURS.shape) == (19, 19, (19, 3))
    assert len({tuple(colour) for colour in COLOURS.tolist()}) == 19
    assert len(set(maps.LARGE) & set(CLASSES)) == 11
    assert network.CLASSES == COUNT
    for name, ids in REGIONS.items():
        assert list(ids) == sorted(set(ids)), name
        assert name not in CLASSES or CLASSES.index(name) in ids
    inside = {CLASSES[i] for i in REGIONS["face"]}
    assert inside.isdisjoint({"background", "hair", "neck", "clothes", "left ear", "hat"})


def test_a_mirror_exchanges_left_and_right_only():
    for here, there in enumerate(MIRRORED):
        turned = CLASSES[here].replace("left", "*").replace("right", "left").replace("*", "right")
        assert CLASSES[there] == turned


def test_a_mirrored_map_by_hand():
    here = torch.tensor([[[4, 0, 13], [8, 6, 1]]], dtype=torch.uint8)
    there = [[[13, 0, 5], [1, 7, 9]]]
    assert maps.mirror(here).tolist() == there
    assert maps.mirror(here.numpy()).tolist() == there
    assert torch.equal(maps.mirror(maps.mirror(here)), here)


def test_one_hot_against_a_loop():
    labels = some_labels(2, 3, 5)
    planes = maps.one_hot(labels)
    assert planes.shape == (2, COUNT, 3, 5)
    assert (planes.sum(dim=1) == 1).all()
    for n, y, x in np.ndindex(2, 3, 5):
        assert planes[n, labels[n, y, x].long(), y, x] == 1


def test_masks_are_the_pixels_of_their_classes():
    labels = some_labels(2, 16, 16)
    found = maps.masks(labels, ["eyes", "hair", "left eye"])
    assert list(found) == ["eyes", "hair", "left eye"]
    for name, ids in {"eyes": (4, 5), "hair": (13,), "left eye": (4,)}.items():
        wanted = sum((labels == number).float() for number in ids)[:, None]
        assert torch.equal(found[name], wanted)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (torch.tensor([[[0, 19], [40, 3]]]), r"classes 0 to 18, got 19, 40$"),
        (torch.tensor([[[-1, 3]]]), r"classes 0 to 18, got -1$"),
        (
            torch.zeros(2, 2, dtype=torch.uint8),
            r"expected \(N, H, W\) integers, got \(2, 2\) uint8",
        ),
        (torch.zeros(1, 2, 2), r"expected \(N, H, W\) integers, got \(1, 2, 2\) float32"),
    ],
)
def test_labels_that_cannot_be(labels, says):
    for use in (maps.one_hot, lambda labels: maps.masks(labels, ["hair"])):
        with pytest.raises(UsageError, match=says):
            use(labels)


@pytest.mark.parametrize("turn", [0.0, 0.4, -2.0])
def test_labels_of_a_face_are_laid_out_where_it_lies(turn):
    """A photo of coarse blocks, cut out and put back, is itself inside the square."""
    blocks = np.kron(some_labels(6, 8).numpy(), np.ones((40, 40), np.uint8))
    picture = Image.fromarray(blocks * 13).convert("RGB")
    across = 75 * np.array([np.cos(turn), np.sin(turn)])
    down = np.array([-across[1], across[0]])
    corners = [-across - down, down - across, across + down, across - down]
    quad = np.array([165, 118]) + corners
    crop = np.asarray(align(picture, quad, size=150))[..., 0]
    found = maps.laid_out((crop / 13).round().astype(np.uint8), Alignment.of(quad, picture))
    assert found.shape == blocks.shape
    y, x = np.mgrid[:240, :320]
    place = np.stack([x - 165, y - 118], axis=-1) @ np.stack([across, down], axis=1) / 75**2
    inside, outside = (np.abs(place) < 0.97).all(-1), (np.abs(place) > 1.02).any(-1)
    assert (found == blocks)[inside].mean() > 0.93
    assert (found[outside] == 0).all()


def test_an_unknown_part_is_told_the_nearest():
    with pytest.raises(UsageError, match="unknown region 'hairs'; did you mean 'hair'"):
        maps.masks(some_labels(1, 2, 2), ["hairs"])


def test_colours_and_back():
    labels = some_labels(8, 9).numpy()
    colours = maps.colourise(labels)
    assert colours.shape == (8, 9, 3)
    assert (colours[2, 3] == COLOURS[labels[2, 3]]).all()
    assert (maps.from_colours(colours) == labels).all()


def test_unknown_colours_and_numbers_are_listed():
    pixels = maps.colourise(some_labels(4, 4).numpy())
    pixels[0, 0], pixels[1, 1], pixels[2, 2] = (1, 2, 3), (255, 255, 254), (1, 2, 3)
    with pytest.raises(UsageError, match=r"2 unknown colours \(#010203, #fffffe\); paint with"):
        maps.from_colours(pixels)
    with pytest.raises(UsageError, match="0 to 18, got 19"):
        maps.colourise(np.array([[3, 19]], dtype=np.uint8))


def test_a_saved_map_keeps_numbers_and_record(tmp_path):
    labels = some_labels(12, 7).numpy()
    maps.save(labels, tmp_path / "a.png", {"command": "parse", "version": "1"})
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.size) == ("P", (7, 12))
        assert (np.asarray(picture) == labels).all()
        assert (np.asarray(picture.convert("RGB")) == COLOURS[labels]).all()
        assert images.DIGITAL_SOURCE_TYPE in picture.info["XML:com.adobe.xmp"]
    assert images.read_provenance(tmp_path / "a.png") == {"command": "parse", "version": "1"}
    assert (maps.load(tmp_path / "a.png") == labels).all()
    with pytest.raises(TediError, match="already exists"):
        maps.save(labels, tmp_path / "a.png", {})
    with pytest.raises(UsageError, match="must keep its numbers"):
        maps.save(labels, tmp_path / "a.jpg", {})


def read_both_ways(picture, path):
    """Labels of a picture in memory, which are those of its file."""
    picture.save(path)
    found = maps.load(path)
    with Image.open(path) as again:
        assert (maps._of_picture(again) == found).all()
    assert (maps._of_picture(picture) == found).all()
    return found


LEVELS = np.arange(16, dtype=np.uint8).reshape(4, 4)
ORDER = np.arange(19)[::-1].astype(np.uint8)


def indexed(indices, palette):
    picture = Image.frombytes("P", indices.shape[::-1], indices.astype(np.uint8).tobytes())
    picture.putpalette(palette)
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(LEVELS),
        Image.fromarray(LEVELS.astype(np.uint16)),
        Image.fromarray(COLOURS[LEVELS]),
        indexed(LEVELS, COLOURS.tobytes()),
        indexed(ORDER[LEVELS], COLOURS[::-1].tobytes()),  # painted, and colours renumbered
        indexed(LEVELS, bytes(range(1, 58))),  # colours that mean nothing
        indexed(LEVELS, [level for level in range(19) for _ in "rgb"]),
    ],
    ids=["L", "I;16", "RGB", "own palette", "own colours", "other colours", "grey"],
)
def test_every_kind_of_map_is_read_alike_from_file_and_memory(picture, tmp_path):
    assert (read_both_ways(picture, tmp_path / "map.png") == LEVELS).all()


def test_levels_are_no_colours_whatever_the_profile(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_to_srgb", lambda _: pytest.fail("took levels for colours"))
    Image.fromarray(LEVELS).save(tmp_path / "map.png", icc_profile=b"grey, gamma 1.8")
    assert (maps.load(tmp_path / "map.png") == LEVELS).all()


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (Image.fromarray(np.array([[3, 300, 77]], np.uint16)), "classes 0 to 18, got 77, 300"),
        (Image.fromarray(np.arange(99, dtype=np.uint8)[None]), "19, 20, 21, 22, 23, 24, 25, 26, …"),
        (
            indexed(np.array([[1, 2, 3]]), [*COLOURS[:3].ravel(), 9, 9, 8]),
            "unknown colours (#090908)",
        ),
        (Image.new("RGB", (2, 2), (1, 2, 3)), "1 unknown colours (#010203)"),
        (Image.new("F", (2, 2)), "floating-point pixels"),
    ],
    ids=["levels", "many levels", "indexed", "colours", "floats"],
)
def test_what_is_no_map_is_told_with_the_file(picture, says, tmp_path):
    path = tmp_path / ("map.tif" if picture.mode == "F" else "map.png")
    picture.save(path)
    with pytest.raises(UsageError, match=re.escape(f"{path}: ") + ".*" + re.escape(says)):
        maps.load(path)


def test_grey_levels_are_numbers_and_colours_are_those_of_the_palette(tmp_path):
    labels = some_labels(6, 6).numpy()
    Image.fromarray(labels).save(tmp_path / "grey.png")
    Image.fromarray(COLOURS[labels]).save(tmp_path / "colours.png")
    Image.fromarray(labels * 10).save(tmp_path / "levels.png")
    assert (maps.load(tmp_path / "grey.png") == labels).all()
    assert (maps.load(tmp_path / "colours.png") == labels).all()
    with pytest.raises(UsageError, match="expected classes 0 to 18"):
        maps.load(tmp_path / "levels.png")


# --- the network ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def untrained() -> FaceParser:
    torch.manual_seed(0)
    return FaceParser().eval().requires_grad_(False)


def test_maps_halve_their_size_and_scores_have_half_of_the_pictures(untrained):
    image = torch.rand(1, 3, 64, 96) * 2 - 1
    wanted = [
        (c, 64 // s, 96 // s)
        for c, s in zip((16, 24, 40, 112, 320), (2, 4, 8, 16, 32), strict=True)
    ]
    assert [tuple(m.shape[1:]) for m in untrained.maps(image)] == wanted
    assert untrained.scores(image).shape == (1, COUNT, 32, 48)


def test_a_picture_of_any_size_gets_labels_of_its_size(untrained):
    image = torch.rand(2, 3, 50, 70) * 2 - 1
    assert untrained(image).shape == (2, COUNT, 256, 256)
    labels = untrained.labels(image)
    assert (labels.shape, labels.dtype) == ((2, 50, 70), torch.uint8)


def test_a_parser_comes_back_from_its_file(untrained, tmp_path):
    path = tmp_path / "parser.safetensors"
    save_file({n: t.half() for n, t in untrained.state_dict().items()}, path)
    again = native.load_parser(path)
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    torch.testing.assert_close(again.head.weight, untrained.head.weight.half().float())
    save_file({"head.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(TediError, match="does not fit FaceParser"):
        native.load_parser(path)


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    return native.load_parser(zoo.path("parser-lite0"))


@pytest.fixture(scope="module")
def drawn(generator, ws) -> torch.Tensor:
    return generator.preview(ws)


def test_a_drawn_face_has_its_parts_where_they_are(parser, drawn):
    labels = parser.labels(drawn)
    for face in labels:
        places = {name: (face == CLASSES.index(name)).nonzero().double() for name in CLASSES}
        assert set(maps.LARGE) <= {name for name, place in places.items() if len(place) > 20}
        middle = {name: place.mean(dim=0) for name, place in places.items() if len(place)}
        assert middle["right eye"][1] < middle["nose"][1] < middle["left eye"][1]
        assert middle["right brow"][1] < middle["nose"][1] < middle["left brow"][1]
        assert middle["left brow"][0] < middle["left eye"][0] < middle["nose"][0]
        assert middle["nose"][0] < middle["upper lip"][0] < middle["lower lip"][0]
        assert middle["lower lip"][0] < middle["neck"][0]
        cheeks = face[150:160, [90, 165]]
        assert (cheeks == CLASSES.index("skin")).double().mean() > 0.9
        assert not torch.isin(face[:12, [0, -1]], torch.tensor(REGIONS["face"])).any()


def test_a_mirrored_face_has_mirrored_parts(parser, drawn):
    there = parser.labels(drawn.flip(-1))
    same = (maps.mirror(there) == parser.labels(drawn)).double().mean()
    assert same > 0.95
    assert (there.flip(-1) == parser.labels(drawn)).double().mean() < same - 0.005


def test_large_pictures_have_the_parts_of_small_ones(parser, drawn):
    large = torch.nn.functional.interpolate(drawn, (512, 512), mode="bilinear")
    same = parser.labels(large)[:, ::2, ::2] == parser.labels(drawn)
    assert same.double().mean() > 0.97


# --- training ------------------------------------------------------------------------------------


def drawing(number: int) -> Photo:
    """A photo of two discs, whose labels are the discs."""
    import io

    random = np.random.default_rng(number)
    y, x = np.mgrid[:256, :256]
    labels = np.zeros((256, 256), np.uint8)
    labels[(y - 128) ** 2 + (x - 128) ** 2 < 90**2] = 13
    labels[(y - 140) ** 2 + (x - 128) ** 2 < 60**2] = 1
    if number % 4 == 0:
        labels[:30] = CLASSES.index("hat")
    noise = random.integers(0, 20, (256, 256, 1))
    pixels = (COLOURS[labels] // 2 + noise).astype(np.uint8)
    coded = [io.BytesIO(), io.BytesIO()]
    Image.fromarray(pixels).save(coded[0], "JPEG", quality=95)
    Image.fromarray(labels).save(coded[1], "PNG")
    return Photo(coded[0].getvalue(), coded[1].getvalue())


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return [drawing(number) for number in range(16)]


def task_of(photos: list[Photo], **options) -> ParserTask:
    defaults = {"batch_size": 4, "test": 3, "unused": 1, "start_size": 64}
    return ParserTask(photos, {}, ParserOptions(**defaults | options), steps=20, seed=0)


def test_training_lowers_its_losses(photos):
    fitted = task_of(photos)
    groups = fitted.groups(1e-3)
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 4e-3])
    optimizer = torch.optim.Adam(groups)
    totals = []
    for _ in range(6):
        losses = fitted.step(0)
        assert set(losses) == {"cross-entropy", "dice"}
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.9 * totals[0]
    fitted.model.eval()
    figures = fitted.evaluate()
    assert figures["n"] == 3
    assert {f"IoU {name}" for name in CLASSES} < set(figures)
    tensors, metadata = fitted.export()
    assert {t.dtype for t in tensors.values()} == {torch.float16}
    assert sum(2 * t.numel() for t in tensors.values()) < 8e6
    assert json.loads(metadata["classes"]) == list(CLASSES)
    assert "non-commercial" in metadata["licence"]


def test_an_epoch_shows_rare_parts_more_often_and_no_held_out_photo(photos):
    fitted = task_of(photos, repeats=3)
    assert len(fitted.train) == 12 + 2 * 3
    epoch = [row for step in range(len(fitted.train) // 4) for row in fitted._rows(step)]
    assert max(epoch) < 12
    assert set(fitted.held) == {13, 14, 15}
    assert set(task_of(photos, on_unused=True).held) == {12}


def test_a_batch_depends_on_its_step_alone(photos):
    fitted = task_of(photos)
    first, other, again = (fitted.step(step)["dice"].item() for step in (2, 3, 2))
    assert first == again != other


def test_crops_grow_to_the_whole_picture():
    sizes = [task.crop_size(done, 160) for done in (0, 0.2, 0.5, 0.8, 1)]
    assert sizes == [160, 192, 224, 256, 256]


def test_labels_move_with_their_pictures():
    """A picture that shows its labels still does after turning, but for edges."""
    labels = torch.zeros(8, 256, 256, dtype=torch.uint8)
    labels[:, 64:192, 64:192] = 3
    labels[:, 100:150, 64:192] = 9
    image = (labels[:, None].float() / 10).repeat(1, 3, 1, 1)
    random = torch.Generator().manual_seed(0)
    moved, found = task.turned(image, labels, 192, random)
    assert (moved.shape, found.shape) == ((8, 3, 192, 192), (8, 96, 96))
    assert found.dtype == torch.long
    shown = torch.nn.functional.avg_pool2d(moved, 2)[:, 0] * 10
    inside = found != IGNORED
    assert inside.double().mean() > 0.8
    assert ((shown - found).abs()[inside] < 0.1).double().mean() > 0.93
    assert not torch.equal(found[0], found[1])


def test_outside_the_photograph_is_ignored():
    labels = torch.ones(64, 256, 256, dtype=torch.uint8)
    found = task.turned(labels[:, None].expand(-1, 3, -1, -1).float(), labels, 256,
                        torch.Generator().manual_seed(0))[1]  # fmt: skip
    assert set(found.unique().tolist()) == {1, IGNORED}


def test_light_changes_pictures_within_their_range():
    image = torch.rand(4, 3, 32, 32) * 2 - 1
    made = task.lit(image, torch.Generator().manual_seed(1))
    assert made.shape == image.shape
    assert made.min() >= -1
    assert made.max() <= 1
    assert (made - image).abs().mean(dim=(1, 2, 3)).min() > 0.01


def test_a_mirrored_example_has_mirrored_labels(photos):
    fitted, plain = task_of(photos), task.decode_labels(photos[0])
    seen = set()
    for seed in range(12):
        random = torch.Generator().manual_seed(seed)
        _, labels = fitted._example(0, random)
        mirrored = torch.rand(2, generator=torch.Generator().manual_seed(seed))[0] < 0.5
        assert (labels == (maps.mirror(plain) if mirrored else plain)).all()
        seen.add(bool(mirrored))
    assert seen == {True, False}


def test_class_weights_by_hand():
    weights = task.class_weights(torch.tensor([0.9, 0.1, 0.0]), 0.5)
    raw = torch.tensor([0.9**-0.5, 0.1**-0.5, 1e-5**-0.5])
    torch.testing.assert_close(weights, raw / (0.9 * raw[0] + 0.1 * raw[1]))


def test_losses_against_a_loop():
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 4, 3, 5, generator=random, dtype=torch.double)
    labels = torch.randint(3, (2, 3, 5), generator=random)  # class 3 is nowhere
    labels[0, 0, 0] = IGNORED
    weights = torch.tensor([1.0, 2.0, 0.5, 7.0], dtype=torch.double)
    entropy, dice = task.parser_losses(scores, labels, weights)
    p = scores.softmax(dim=1)
    total = weight = 0.0
    overlap, size, mass = (np.zeros(4) for _ in range(3))
    for n, y, x in np.ndindex(2, 3, 5):
        if (truth := int(labels[n, y, x])) == IGNORED:
            continue
        total -= weights[truth] * p[n, truth, y, x].log()
        weight += weights[truth]
        overlap[truth] += p[n, truth, y, x]
        size[truth] += 1
        mass += p[n, :, y, x].numpy()
    assert entropy.item() == pytest.approx((total / weight).item())
    each = (2 * overlap + 1) / (mass + size + 1)
    assert dice.item() == pytest.approx(1 - each[:3].mean())


def test_figures_by_hand():
    table = torch.zeros(2, COUNT, COUNT, dtype=torch.long)
    table[0, 0, 0], table[0, 0, 1], table[0, 1, 1] = 6, 2, 4
    table[1, 1, 1], table[1, 1, 0] = 4, 4
    figures = task.figures_of(table)
    assert figures["IoU background"] == pytest.approx(6 / 12)
    assert figures["IoU skin"] == pytest.approx(8 / 14, abs=1e-4)
    assert figures["mean IoU"] == pytest.approx((6 / 12 + 8 / 14) / 2, abs=1e-4)
    assert figures["pixel accuracy"] == pytest.approx(14 / 20)
    assert figures["mean IoU low"] < figures["mean IoU"] < figures["mean IoU high"]


def test_photos_come_from_parquet(photos, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = [{"id": i, "image": {"bytes": p.picture, "path": None},
             "label_map": {"bytes": p.labels, "path": None}}
            for i, p in enumerate(photos[:3])]  # fmt: skip
    features = datasets.Features(
        {"id": datasets.Value("int64"), "image": datasets.Image(), "label_map": datasets.Image()}
    )
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "train-0.parquet")
    found = list(load_masks(tmp_path))
    assert [row["id"] for row in found] == [0, 1, 2]
    assert found[1]["image"]["bytes"] == photos[1].picture
    assert task.decode_labels(Photo(b"", found[2]["label_map"]["bytes"])).max() == 13
    with pytest.raises(TediError, match=r"holds no .parquet files; set options\.data"):
        load_masks(tmp_path / "none")


def test_the_shipped_parser_was_made_by_its_config():
    written = yaml.safe_load((ROOT / "configs" / "parser.yaml").read_text())
    settings = config.build(Settings, written, where="settings")
    metadata = zoo.metadata(zoo.path("parser-lite0"))
    assert config.build(Settings, json.loads(metadata["settings"]), where="metadata") == settings
    options = config.build(ParserOptions, settings.options, where="options")
    assert config.build(ParserOptions, json.loads(metadata["options"]), where="x") == options
    assert (ROOT / metadata["recipe"]).is_file()
    assert callable(TASKS["parser"])
    assert "non-commercial" in metadata["licence"]
    figures = json.loads(metadata["figures"])
    assert figures["n"] == 300
    assert figures["mean IoU"] > 0.7
    assert min(figures["IoU skin"], figures["IoU hair"]) > 0.88
    assert zoo.path("parser-lite0").stat().st_size < 8e6


# --- tedi parse ----------------------------------------------------------------------------------


@pytest.fixture
def tedi_(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder of its own; gives exit status, lines of stdout, and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        status = run([str(a) for a in arguments])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


@pytest.fixture
def face(drawn, tmp_path) -> Path:
    path = tmp_path / "face.png"
    images.save(images.to_pil(drawn[:1])[0], path, {"seed": 0})
    return path


def test_parse_writes_the_map_of_an_aligned_face(tedi_, face, parser, drawn):
    status, out, _ = tedi_("parse", face, "--no-align")
    assert (status, out) == (0, ["face-parts.png"])
    found = torch.from_numpy(maps.load("face-parts.png"))
    assert (found == parser.labels(drawn[:1])[0]).double().mean() > 0.99
    record = images.read_provenance("face-parts.png")
    assert (record["command"], record["photo"]) == ("parse", "face.png")
    assert record["weights"] == {"parser-lite0": zoo.sha256(zoo.path("parser-lite0"))}


def test_parse_finds_the_faces_of_a_photo(tedi_, face, parser, drawn):
    photo = Image.new("RGB", (700, 330), (90, 120, 90))
    for number, picture in enumerate(images.to_pil(drawn)):
        photo.paste(picture, (40 + 350 * number, 30))
    photo.save("two.png")
    assert tedi_("parse", "two.png", "--face", "all")[:2] == (0, ["two-parts.png"])
    found = torch.from_numpy(maps.load("two-parts.png"))
    assert found.shape == (330, 700)
    for number, alone in enumerate(parser.labels(drawn)):
        there = found[30 : 30 + 256, 40 + 350 * number :][:, :256]
        inner = torch.isin(alone, torch.tensor(REGIONS["face"]))
        assert (there == alone)[inner].double().mean() > 0.85
    assert tedi_("parse", "two.png", "--out", "one.png")[0] == 0
    one = maps.load("one.png")
    assert min((one[:, :350] > 0).any(), (one[:, 350:] > 0).any()) == 0


def test_parse_writes_the_maps_of_aligned_faces_alone(tedi_, face, parser, drawn):
    photo = Image.new("RGB", (700, 330), (90, 120, 90))
    for number, picture in enumerate(images.to_pil(drawn)):
        photo.paste(picture, (40 + 350 * number, 30))
    photo.save("two.png")
    how = ("--crop", "--masks", "hair")
    status, out, _ = tedi_("parse", "two.png", *how, "--face", "all")
    names = [f"two-parts-face{number}{end}.png" for number in (1, 2) for end in ("", "-hair")]
    assert (status, out) == (0, names)
    inner = torch.tensor(REGIONS["face"])
    alone = parser.labels(drawn)
    for path in out[::2]:
        found = maps.prepare(path)[0].argmax(dim=0)  # as --label takes it
        where = torch.isin(alone, inner)
        shares = ((found == alone) & where).sum((1, 2)) / where.sum((1, 2))
        assert shares.max() > 0.8
    assert tedi_("parse", "two.png", *how, "--face", "all")[0] == 1
    assert tedi_("parse", "two.png", "--crop", "--face", 2, "--out", "b.png")[1] == ["b.png"]
    assert (maps.load("b.png") == maps.load(out[2])).all()
    assert images.read_provenance("b.png")["crop"]


def test_parse_writes_masks_and_colours_beside_it(tedi_, face):
    status, out, _ = tedi_(
        "parse", face, "--no-align", "--out", "a/m.png", "--colour", "--masks", "hair, left eye"
    )
    assert status == 0
    assert [Path(p).name for p in out] == ["m.png", "m-colour.png", "m-hair.png", "m-left-eye.png"]
    labels = maps.load(out[0])
    for path, number in ((out[2], 13), (out[3], 4)):
        mask = np.asarray(images.load(path))[..., 0]
        assert ((mask == 255) == (labels == number)).all()
        assert set(np.unique(mask)) == {0, 255}
    assert images.read_provenance(out[2])["shows"] == "hair"
    painted = np.asarray(images.load(out[1])).astype(int)
    plain = np.asarray(images.load(face)).astype(int)
    wanted = 0.4 * plain + 0.6 * COLOURS[labels]
    assert np.abs(painted - wanted).max() <= 2


def test_parse_in_json(tedi_, face):
    status, out, _ = tedi_("parse", face, "--masks", "hair", "--json")
    told = json.loads(out[0])
    assert (status, told["path"], told["others"]) == (0, "face-parts.png", ["face-parts-hair.png"])
    assert sum(told["shares"].values()) == pytest.approx(1, abs=0.01)
    assert told["shares"]["skin"] > 0.1


def test_wrong_calls_are_one_line(tedi_, face, tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "wide.png")
    for arguments, status, says in [
        (
            ["wide.png", "--no-align"],
            2,
            "expected a square aligned face, got 64 x 48; pass --align",
        ),
        (["wide.png"], 1, "wide.png: no face found; pass --no-align"),
        ([face, "--no-align", "--face", "2"], 2, "--face: chooses among found faces"),
        (["none.png"], 1, "none.png: no such file"),
        ([face, "--masks", "hare"], 2, "unknown region 'hare'; did you mean 'hair'?"),
        ([face, "--out", "m.jpg"], 2, "expected a .png file, got m.jpg"),
        ([face, "--parser", "parsr-lite0"], 2, "did you mean 'parser-lite0'"),
        ([face, "--out", face], 1, "face.png: already exists; pass --overwrite"),
    ]:
        code, out, err = tedi_("parse", *arguments)
        assert (code, out) == (status, [])
        assert says in err
        assert err.count("\n") == 1


def test_an_existing_map_is_kept_unless_told(tedi_, face, monkeypatch):
    assert tedi_("parse", face)[0] == 0
    command = importlib.import_module("tedi.cli.parse")
    monkeypatch.setattr(command, "_labels", lambda *_: pytest.fail("looked before checking"))
    assert tedi_("parse", face)[0] == 1
    monkeypatch.undo()
