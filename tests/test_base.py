"""What reads base codes and places of faces: the network, its training, its file, and its use."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from test_fspace import brightness, pose, scene
from test_pti import TinyNetwork, encoder, photos

from tedi import config, zoo
from tedi.checkpoints import native
from tedi.checkpoints.base import load_base_reader
from tedi.encoders.attributes import AttributeModel
from tedi.encoders.base import SIZE, UNITS, BaseReader
from tedi.errors import TediError, UsageError
from tedi.generators.based import UPRIGHT, inverse, moved
from tedi.inversion.fspace import FSpace
from tedi.inversion.likeness import fit
from tedi.inversion.place import find_place, place_of, read_place
from tedi.pipeline.foreign import Foreign
from tedi.pipeline.photos import Photos
from tedi.training.base import BaseOptions, BaseTask
from tedi.training.loop import Settings, run
from tedi.training.pictures import from_bytes, to_bytes

CONFIG = Path(__file__).parents[1] / "configs" / "base.yaml"
AT, CHANNELS = 8, 4  # of the small generator's activations


def faces(count, seed):
    """Codes w and their pictures, 128 px."""
    generator = TinyNetwork()
    w = generator.mapping(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)))
    return w, to_bytes(fit(generator.preview(w[:, None].expand(-1, 6, -1)), SIZE))


def make(**changes):
    torch.manual_seed(1)
    trunk = AttributeModel().state_dict()
    settings = {"at": AT, "batch_size": 2, "read": 2, "hidden": 8, "held_out": 5} | changes
    options = BaseOptions(**settings)
    return BaseTask(TinyNetwork(), faces(6, 0), faces(5, 1)[0], trunk, brightness, options, seed=3)


def stirred(reader):
    """One whose heads say something."""
    random = torch.Generator().manual_seed(4)
    for parameter in (*reader.head.parameters(), *reader.pose_head[-1].parameters()):
        with torch.no_grad():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=random))
    return reader.eval().requires_grad_(False)


# --- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [8, 16, 32])
def test_untrained_it_reads_the_mean_and_that_faces_are_upright(base):
    reader = BaseReader(base=base, width=5, hidden=6)
    reader.center.copy_(torch.arange(5))
    image = torch.rand(2, 3, SIZE, SIZE)
    with torch.no_grad():
        read, pose = reader(image), reader.pose(image)
    assert torch.equal(read, torch.arange(5.0)[:, None, None].expand(2, -1, base, base))
    assert torch.equal(pose, torch.zeros(2, 4))


def test_one_look_gives_both_in_their_units():
    reader = stirred(BaseReader(base=8, width=5, hidden=6))
    reader.center.fill_(2.0)
    reader.scale.copy_(torch.arange(1, 6))
    image = torch.rand(1, 3, SIZE, SIZE)
    base, pose = reader.parts(image)
    assert base.std() > 0
    torch.testing.assert_close(reader(image), 2 + torch.arange(1.0, 6)[:, None, None] * base)
    torch.testing.assert_close(reader.relative(reader(image)), base)
    torch.testing.assert_close(reader.pose(image), torch.tensor(UNITS) * pose)


def test_where_a_picture_changes_the_base_code_changes_most():
    reader = stirred(BaseReader(base=32, width=5, hidden=6))
    image = torch.rand(1, 3, SIZE, SIZE)
    other = image.clone()
    other[..., 8:24, 96:112] = 1
    change = (reader(other) - reader(image)).square().sum(dim=1)[0]
    row, column = divmod(int(change.argmax()), 32)
    assert 1 <= row <= 7
    assert 22 <= column <= 29


def test_other_sizes_are_refused():
    with pytest.raises(UsageError, match=r"base: expected one of \[32, 16, 8\] px, got 64"):
        BaseReader(base=64)
    with pytest.raises(UsageError, match=r"image: expected \(N, 3, 128, 128\), got \(1, 3, 64"):
        BaseReader(base=8, width=5, hidden=6)(torch.zeros(1, 3, 64, 64))


# --- the task ------------------------------------------------------------------------------------


def test_the_terms_are_those_of_the_module():
    """Untrained, where the mean is read, and upright faces."""
    task = make(worn=0.0, near=0.0, drawn=1, pixel=2.0, perceptual=0.3, pose=0.5)
    with torch.no_grad():
        losses = {name: value.item() for name, value in task.step(7).items()}
    rng = np.random.default_rng([3, 7])
    rows = rng.integers(0, 6, 2)
    pose = task.poses(2, rng, near=0.0)
    ws = task.codes(rows)
    generator, place = task.generator, place_of(pose)
    own = moved(generator.features(ws, AT), place)
    center, scale = (t[:, None, None] for t in (task.model.center, task.model.scale))
    assert losses["base"] == pytest.approx(float(((own - center) / scale).square().mean()))
    far = (pose / torch.tensor(UNITS)).abs()
    huber = torch.where(far < 1, far.square() / 2, far - 0.5).mean()
    assert losses["pose"] == pytest.approx(0.5 * float(huber))
    target = moved(from_bytes(task.pixels[rows]), place)[:1]
    image = fit(generator.preview_from(center.expand(1, CHANNELS, AT, AT), ws[:1]), SIZE)
    assert losses["pixel"] == pytest.approx(2 * float((image - target).square().mean()))
    seen = [brightness(each)[0] for each in (image, target)]
    like = torch.nn.functional.cosine_similarity(*seen, dim=1)
    assert losses["perceptual"] == pytest.approx(0.3 * float((2 - 2 * like).mean()), rel=1e-3)
    assert set(make(drawn=0).step(0)) == {"base", "pose"}
    assert set(make(pixel=0.0, perceptual=0.0).step(0)) == {"base", "pose"}
    assert set(make(read=0, drawn=0).step(0)) == {"pose"}


def test_a_batch_depends_on_its_number_alone():
    task, again = make(), make()
    task.step(0)
    with torch.no_grad():
        first, second, other = task.step(4), again.step(4), task.step(5)
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["base"], other["base"])


def test_faces_go_all_the_way_that_is_allowed_and_some_less():
    task = make(degrees=10.0, grown=2.0, shift=0.1)
    most = torch.tensor([math.radians(10), math.log(2), 0.2, 0.2])
    for near, mean in ((0.0, 0.5), (1.0, 0.25)):
        share = (task.poses(2000, np.random.default_rng(0), near=near) / most).abs()
        assert share.max() <= 1
        assert share.amax(dim=0).min() > 0.8
        torch.testing.assert_close(share.mean(dim=0), torch.full((4,), mean), atol=0.03, rtol=0)


def test_training_lowers_the_loss_and_leaves_the_first_blocks_and_the_generator():
    task = make(frozen=2)
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    drawing = {name: tensor.clone() for name, tensor in task.generator.state_dict().items()}
    groups = task.groups(1e-3)
    assert [group["lr"] for group in groups] == [1e-3, 4e-3]
    assert sum(p.requires_grad for p in task.model.parameters()) == sum(
        len(group["params"]) for group in groups
    )
    optimizer, totals = torch.optim.Adam(groups), []
    for _ in range(6):
        total = torch.stack(list(task.step(0).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.95 * totals[0]
    still = {"stem", "blocks.0", "blocks.1", "center", "scale"}
    for name, tensor in task.model.state_dict().items():
        kept = name.startswith(tuple(f"{part}." for part in still)) or name in still
        if kept or name.endswith("weight"):
            assert torch.equal(tensor, before[name]) == kept, name
    assert all(torch.equal(drawing[n], t) for n, t in task.generator.state_dict().items())


class Knows(torch.nn.Module):
    """Reads the truth, which is told to it, or something that is off by a known amount."""

    def __init__(self, model, truth, off=0.0, deviations=0.0):
        super().__init__()
        self.relative, self.units = model.relative, model.units
        self.truth, self.off, self.deviations = iter(truth), off, deviations

    def parts(self, image, bases=None):
        base, pose = next(self.truth)
        return base + self.deviations, (pose + self.off) / self.units


def test_figures_of_what_is_known():
    task = make(held_out=5)
    model = task.model
    pose = task.poses(5, np.random.default_rng(987_654_321), near=0.0)
    own = task.generator.features(task.held[:, None].expand(-1, 6, -1), AT)
    bases = model.relative(moved(own, place_of(pose)))
    truth = list(zip(bases.split(1), pose.split(1), strict=True))
    task.model = Knows(model, truth)
    assert task.evaluate() == {
        "drawn faces": 5.0,
        "explained variance": 1.0,
        "angle, degrees off": 0.0,
        "scale, share off": 0.0,
        "shift, widths off": 0.0,
    }
    off = torch.tensor([[math.radians(4), math.log(1.1), 0.06, 0.08]])
    task.model = Knows(model, truth, off=off, deviations=0.5)
    found = task.evaluate()
    spread = (bases - bases.mean(dim=0)).square().mean()
    assert found["explained variance"] == pytest.approx(1 - 0.25 / float(spread), abs=1e-3)
    assert found["angle, degrees off"] == pytest.approx(4, abs=1e-2)
    assert found["scale, share off"] == pytest.approx(0.1, abs=1e-3)
    assert found["shift, widths off"] == pytest.approx(0.05, abs=1e-3)


def test_what_is_trained_goes_into_a_file_that_draws_the_same(tmp_path):
    task, out = make(), tmp_path / "base.safetensors"
    run(task, Settings("base", 1, str(out), lr=0.01, warmup=1, ema=0.0), folder=tmp_path / "run")
    reader = load_base_reader(out)
    assert not any(parameter.requires_grad for parameter in reader.parameters())
    image = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(reader(image), task.model(image), atol=2e-2, rtol=2e-2)
        torch.testing.assert_close(reader.pose(image), task.model.pose(image), atol=5e-3, rtol=0)
    assert torch.equal(reader.center, task.model.center)
    told = zoo.metadata(out)
    assert (told["architecture"], told["recipe"]) == ("base", "train/base.py")
    assert dataclasses.asdict(task.options)["at"] == 8
    again = make(start=str(out))
    assert torch.equal(again.model.head.weight, reader.head.weight)


def test_other_files_are_no_base_code_encoders(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(TediError, match="not a base-code encoder, but 'parser-lite0'"):
        load_base_reader(zoo.pull("parser-lite0"))
    state = BaseReader(base=8, width=5, hidden=6).state_dict()
    path = tmp_path / "broken.safetensors"
    del state["center"]
    save_file(state, path, metadata={"architecture": "base"})
    with pytest.raises(TediError, match=r'does not fit BaseReader: .*"center"'):
        load_base_reader(path)
    save_file({"stem.weight": state["stem.weight"]}, path, metadata={"architecture": "base"})
    with pytest.raises(TediError, match=r"does not fit BaseReader: .* is missing"):
        load_base_reader(path)


def test_settings_that_cannot_be_are_refused():
    for options in ({"batch_size": 4, "read": 5}, {"read": 2, "drawn": 3}, {"drawn": -1}):
        with pytest.raises(UsageError, match="batch_size, read, drawn: expected no more of the"):
            BaseOptions(**options)
    with pytest.raises(UsageError, match="held_out: expected 2 or more, got 1"):
        BaseOptions(held_out=1)


@pytest.mark.parametrize("at", [16, 32])
def test_it_learns_from_the_generator_that_is_shipped(generator, at):
    """Shapes fit, and untrained it is off by the deviation, whose square is 1."""
    w = generator.mapping(torch.randn(4, 512, generator=torch.Generator().manual_seed(0)))
    pixels = to_bytes(fit(generator.preview(w[:, None].expand(-1, 16, -1)), SIZE))
    trunk, _ = native.read(zoo.pull("attributes-lite0"))
    options = BaseOptions(at=at, batch_size=2, read=1, near=1.0)
    task = BaseTask(generator, (w, pixels), w, trunk, brightness, options, seed=0)
    with torch.no_grad():
        losses = task.step(0)
    assert losses["base"].item() == pytest.approx(1, abs=0.4)
    assert set(losses) == {"base", "pose", "pixel", "perceptual"}


# --- places that are read ------------------------------------------------------------------------


class Reads:
    """Says a share of how each picture was moved, however far it is turned back already."""

    size = 16

    def __init__(self, *moves, share=1.0):
        self.moves, self.share, self.seen = torch.tensor(moves), share, []

    def pose(self, image):
        self.seen.append(image)
        return self.share * self.moves


TURN = [[0.35, math.log(0.8), 0.1, -0.05]]


def test_the_second_reading_is_of_what_the_first_left():
    """Readings follow one another as moves do: the second is done first, then the first."""
    target = moved(photos(), place_of(torch.tensor(TURN)))
    reader = Reads(*TURN)
    once, twice = (read_place(target, reader, reads) for reads in (1, 2))
    torch.testing.assert_close(once, place_of(torch.tensor(TURN)))
    assert torch.equal(reader.seen[0], target)
    torch.testing.assert_close(reader.seen[2], moved(target, inverse(once)))
    image = photos(seed=3)
    both = moved(moved(image, once), once)[..., 5:-5, 5:-5]
    torch.testing.assert_close(moved(image, twice)[..., 5:-5, 5:-5], both, atol=0.15, rtol=0)
    assert torch.equal(read_place(target, reader, 0), torch.tensor([UPRIGHT]))


def test_readings_of_turns_add_up():
    found = read_place(photos(), Reads([0.2, 0.0, 0.0, 0.0]), 2)
    torch.testing.assert_close(found, pose(angle=math.degrees(0.4)))


def test_a_place_that_is_read_is_kept_where_the_face_is_drawn_more_alike():
    upright, networks = scene()
    target = torch.cat([moved(upright, place_of(torch.tensor(TURN))), upright])

    class First(Reads):
        """Right about the first picture, wrong about the second; nothing is left after that."""

        def pose(self, image):
            self.seen.append(image)
            return self.moves if len(self.seen) % 2 else torch.zeros(1, 4)

    reader = First(*TURN)
    found = find_place(target, maps=brightness, reader=reader, **networks)
    torch.testing.assert_close(found[0], place_of(torch.tensor(TURN))[0])
    assert torch.equal(found[1], torch.tensor(UPRIGHT))
    assert len(reader.seen) == 4


def test_inversion_starts_where_the_face_was_read():
    """The upright face is encoded, its activations go where the reader says."""
    generator, target = TinyNetwork(), photos()
    options = dataclasses.replace(FSpace.defaults, steps=0, finish=0, at=8, p_norm=0.0)
    options = dataclasses.replace(options, identity=0.0, reads="place")
    networks = {"maps": brightness, "options": options}
    place = place_of(torch.tensor(TURN))
    wanted = encoder(moved(target, inverse(place)))

    class Alike(TinyNetwork):
        """Draws best what lies there."""

        def preview(self, ws):
            near = (ws - wanted).square().mean() < 1e-6
            return moved(target, inverse(place)) if near else -target

    class Once(Reads):
        def pose(self, image):
            self.seen.append(image)
            return self.moves if len(self.seen) == 1 else torch.zeros(1, 4)

    found = FSpace(Alike(), encoder, reader=Once(*TURN), **networks)(target)
    torch.testing.assert_close(found.extras["place"], place)
    torch.testing.assert_close(found.generator.base, moved(generator.features(wanted, 8), place))


class Both(Reads):
    """Also reads base codes: what is bright."""

    def __call__(self, image):
        return fit(image, 8).mean(dim=1, keepdim=True).expand(-1, CHANNELS, -1, -1)


@pytest.mark.parametrize("reads", ["nothing", "place", "base"])
def test_what_is_read_is_what_was_asked_for(reads):
    target, reader = photos(), Both(*TURN)
    options = dataclasses.replace(FSpace.defaults, steps=0, finish=0, at=8, p_norm=0.0, identity=0)
    options = dataclasses.replace(options, reads=reads)
    found = FSpace(TinyNetwork(), encoder, maps=brightness, reader=reader, options=options)(target)
    assert bool(reader.seen) == (reads != "nothing")
    base = found.generator.base
    if reads == "base":
        torch.testing.assert_close(base, reader(target))
    else:
        own = TinyNetwork().features(found.ws, 8)
        torch.testing.assert_close(base, moved(own, found.extras["place"]))
    with pytest.raises(UsageError, match="reads: expected one of nothing, place, base, got 'all'"):
        dataclasses.replace(options, reads="all")


def test_a_reader_of_another_size_of_base_codes_tells_the_place_alone():
    """What it reads is of 8 px; what is asked for, of 16."""
    target, reader = photos(), Both(*TURN)
    options = dataclasses.replace(FSpace.defaults, steps=0, finish=0, p_norm=0.0, identity=0)
    options = dataclasses.replace(options, at=16, reads="base")
    networks = {"maps": brightness, "options": options}
    found = FSpace(TinyNetwork(), encoder, reader=reader, **networks)(target)
    assert reader.seen
    own = TinyNetwork().features(found.ws, 16)
    torch.testing.assert_close(found.generator.base, moved(own, found.extras["place"]))
    with pytest.raises(UsageError, match=r"base_encoder: expected \(1, 4, 16, 16\), got \(1, 4, 8"):
        FSpace(TinyNetwork(), encoder, base_encoder=reader, **networks)(target)


def test_another_base_code_encoder_goes_before_the_readers():
    target = photos()
    options = dataclasses.replace(FSpace.defaults, steps=0, finish=0, at=8, p_norm=0.0, identity=0)
    options = dataclasses.replace(options, reads="base")
    other = Both(*TURN)
    other.size = 8
    networks = {"maps": brightness, "options": options, "base_encoder": other}
    found = FSpace(TinyNetwork(), encoder, reader=Both(*TURN), **networks)(target)
    torch.testing.assert_close(found.generator.base, other(fit(target, 8)))


# --- what is shipped -----------------------------------------------------------------------------


def test_the_shipped_reader_was_made_by_its_config():
    path = zoo.path("base-mobilestylegan-ffhq")
    told = zoo.metadata(path)
    wanted = config.build(Settings, yaml.safe_load(CONFIG.read_text()), where="config")
    assert config.build(Settings, json.loads(told["settings"]), where="metadata") == wanted
    assert config.build(BaseOptions, json.loads(told["options"]), where="metadata") == config.build(
        BaseOptions, wanted.options, where="config"
    )
    assert path.stat().st_size < 8e6
    figures = json.loads(told["figures"])
    assert figures["drawn faces"] == 104
    assert figures["angle, degrees off"] < 2


def test_the_shipped_reader_reads_how_a_drawn_face_was_moved(generator, ws):
    reader = load_base_reader(zoo.path("base-mobilestylegan-ffhq"))
    true = pose(-22, 0.85, 0.2, -0.1)
    with torch.inference_mode():
        target = moved(generator.preview(ws), true.expand(2, -1, -1)).clamp(-1, 1)
        found = read_place(target, reader)
        base = reader(fit(target, SIZE))
        own = moved(generator.features(ws, 32), true.expand(2, -1, -1))
    torch.testing.assert_close(found, true.expand(2, -1, -1), atol=0.12, rtol=0)
    assert base.shape == own.shape
    away = reader.relative(base) - reader.relative(own)
    assert away.square().mean() < 0.7 * reader.relative(own).square().mean()


def test_photos_are_read_by_it_unless_the_generator_is_from_a_file(generator):
    photos_of = Photos(generator)
    assert isinstance(photos_of.reader, BaseReader)
    assert "base-mobilestylegan-ffhq" in photos_of.weights
    assert Photos(generator, foreign=Foreign(generator)).reader is None
    assert Photos(TinyNetwork()).reader is None
