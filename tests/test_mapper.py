"""StyleCLIP's latent mapper: as published, as files hold it, and trained for one text."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TinyGenerator, toolkit
from torch.nn import functional as F

from tedi import attributes
from tedi.attributes import COLUMNS
from tedi.checkpoints import bundle, codes
from tedi.checkpoints.formats.equivalence import difference
from tedi.cli import run as cli_run
from tedi.editing.mapper import Mapped
from tedi.encoders.mapper import LatentMapper
from tedi.encoders.text import ORDERED_GROUPS, Reading
from tedi.errors import TediError, UsageError
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.images import read_provenance
from tedi.training.loop import Settings, run
from tedi.training.mapper import MapperOptions, MapperTask, Unlikely, make_task, read

WIDTH = 8


def mapper(**config):
    torch.manual_seed(0)
    network = LatentMapper(**({"width": WIDTH} | config))
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter)
    return network.requires_grad_(False)


def slow(state, prefix, x):
    """The released code, read off its formulas: norm over slots, then four fused layers."""
    x = x / (x.pow(2).mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(1, 5):
        weight, bias = state[f"{prefix}mapping.{i}.weight"], state[f"{prefix}mapping.{i}.bias"]
        x = torch.einsum("nlc,dc->nld", x, weight * 0.01 / WIDTH**0.5) + 0.01 * bias
        x = torch.where(x > 0, x, 0.2 * x) * 2**0.5
    return x


def test_a_mapper_adds_a_tenth_of_what_its_networks_give():
    network, ws = mapper(), torch.randn(2, 18, WIDTH)
    state = network.state_dict()
    parts = [
        slow(state, f"{name}_mapping.", part)
        for name, part in zip(("course", "medium", "fine"), ws.split([4, 4, 10], 1), strict=True)
    ]
    torch.testing.assert_close(network(ws), ws + 0.1 * torch.cat(parts, dim=1))


def test_groups_without_a_network_stay_bit_for_bit():
    ws = torch.randn(1, 16, WIDTH)
    moved = mapper(groups="coarse,medium", medium=5, fine=9)(ws)
    assert torch.equal(moved[:, 9:], ws[:, 9:])
    assert (moved[:, :9] != ws[:, :9]).all(dim=2).all()


def test_one_network_for_all_slots():
    network, ws = mapper(groups="all"), torch.randn(2, 18, WIDTH)
    assert list(network.state_dict()) == [
        f"mapping.{i}.{part}" for i in range(1, 5) for part in ("weight", "bias")
    ]
    torch.testing.assert_close(network(ws), ws + 0.1 * slow(network.state_dict(), "", ws))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"groups": "course"}, "groups: expected some of coarse, medium, fine, or all, got course"),
        ({"medium": 8}, "medium, fine: expected 0 < medium < fine, got 8 and 8"),
    ],
)
def test_settings_that_make_no_mapper_are_refused(config, says):
    with pytest.raises(UsageError) as caught:
        LatentMapper(**config)
    assert str(caught.value) == says


@pytest.mark.parametrize("shape", [(1, 8, WIDTH), (1, 18, 4), (18, WIDTH)])
def test_codes_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match=r"ws: expected \(N, 9 or more, 8\), got"):
        mapper()(torch.ones(shape))


# --- files ---------------------------------------------------------------------------------------


def published(path, network, **more):
    state = {f"mapper.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state | more, "opts": {"description": "surprised"}}, path)
    return path


@pytest.mark.parametrize("groups", ["coarse,medium,fine", "coarse,medium", "fine", "all"])
def test_published_files_are_built(tmp_path, groups):
    network = mapper(groups=groups, depth=4)
    contents = bundle.read(published(tmp_path / "m.pt", network))
    part = contents.parts["mapper"]
    assert (contents.format, part.kind) == ("styleclip", "latent mapper")
    assert part.config == network.config
    assert part.facts["opts"] == {"description": "surprised"}
    ws = torch.randn(1, 18, WIDTH)
    assert torch.equal(bundle.build(part)(ws), network(ws))


def test_what_is_converted_is_the_same_mapper(tmp_path):
    network = mapper(medium=5, fine=9)
    part = bundle.Bundle(
        "latent mapper", "styleclip", dict(network.config), network.state_dict(), {}
    )
    bundle.save(tmp_path / "m.safetensors", {"mapper": part})
    again = bundle.read(tmp_path / "m.safetensors").parts["mapper"]
    assert again.config == network.config  # slots that shapes do not tell
    assert difference(part, again) == (0, "2 codes")


def test_a_file_with_a_part_missing_or_left_over_is_refused(tmp_path):
    network = mapper()
    state = dict(network.state_dict())
    del state["medium_mapping.mapping.3.bias"]
    network.state_dict = lambda: state
    with pytest.raises(TediError, match=r"'medium_mapping.mapping.3.bias' is missing"):
        bundle.read(published(tmp_path / "m.pt", network))


def test_a_file_is_a_way_to_edit(tmp_path):
    network = mapper()
    way = Mapped(published(tmp_path / "m.pt", network), TinyGenerator())
    ws = torch.randn(2, 16, WIDTH)
    torch.testing.assert_close(way(ws, strength=1), network(ws))
    torch.testing.assert_close(way(ws, strength=2) - ws, 2 * (network(ws) - ws))
    assert torch.equal(way(ws, strength=0), ws)
    with pytest.raises(UsageError, match="its mapper is of W of 8; tiny has 4"):
        Mapped(tmp_path / "m.pt", TinyGenerator(width=4))
    np.save(tmp_path / "smile.npy", np.ones((1, 512), "float32"))
    with pytest.raises(TediError, match="expected a latent mapper, holds no network"):
        Mapped(tmp_path / "smile.npy", TinyGenerator())


# --- training ------------------------------------------------------------------------------------


class Grouped(TinyGenerator):
    """Tiny, with the groups of slots of the embedded generator."""

    def layers(self, group):
        return MobileStyleGAN.layers(None, group)


def reading(says, **moves):
    wishes = [moves.get(group, 0.0) for group in ORDERED_GROUPS]
    return Reading(attributes.allowed_by(says)[None], torch.tensor([wishes]))


def judge(image):
    """Bright pictures show hats, and their left side age."""
    columns = [0.0 * image.mean(dim=(1, 2, 3))] * len(COLUMNS)
    columns[COLUMNS.index(("hat", True))] = 4 * image.mean(dim=(1, 2, 3))
    columns[COLUMNS.index(("age", "old"))] = 4 * image[..., 0].mean(dim=(1, 2))
    return torch.stack(columns, dim=1)


def test_the_text_loss_is_minus_the_log_of_what_is_seen():
    image = torch.full((2, 3, 4, 4), 0.5)
    image[1] = -1.0
    found = Unlikely(reading({"hat": frozenset({True})}), judge)(image, image)
    torch.testing.assert_close(found, F.softplus(-4 * torch.tensor([0.5, -1.0])))


def test_a_relative_wish_is_of_the_face_before():
    dark, bright = torch.full((1, 3, 4, 4), -1.0), torch.full((1, 3, 4, 4), 1.0)
    loss = Unlikely(reading({}, age=1.0), judge)
    assert loss(bright, bright) < 0.1  # no older than old
    assert loss(bright, dark) > 1  # a step above a face of any age is not old


def task(**changes):
    options = MapperOptions(**({"prompt": "a hat", "held_out": 4} | changes))

    def identity(image, target):
        return (image - target).square().mean(dim=(1, 2, 3))

    loss = Unlikely(reading({"hat": frozenset({True})}), judge)
    return MapperTask(Grouped(), loss, identity if options.identity else None, options, seed=1)


def test_a_mapper_begins_by_changing_nothing():
    made = task()
    ws = made._codes(range(2))
    assert torch.equal(made.model(ws), ws)
    losses = made.step(0)
    assert set(losses) == {"text", "code", "identity"}
    assert losses["code"].item() == losses["identity"].item() == 0
    assert "identity" not in task(identity=0.0).step(0)
    assert losses["text"].requires_grad


def test_a_mapper_learns_its_text_and_is_read_back(tmp_path):
    out = tmp_path / "hat.safetensors"
    settings = Settings(task="mapper", steps=40, out=str(out), lr=5.0, warmup=2, ema=0.5)
    made = task(code=0.0, identity=0.0)
    figures = run(made, settings, folder=tmp_path / "run")
    assert figures["text"] < 0.8 * figures["text before"]
    assert figures["n"] == 4
    part = bundle.read(out).parts["mapper"]
    assert part.facts["prompt"] == "a hat"
    assert (part.config["medium"], part.config["fine"]) == (5, 9)
    ws = made._codes(range(2))
    torch.testing.assert_close(bundle.build(part)(ws), made.model(ws), atol=2e-2, rtol=0)


def test_a_mapper_needs_a_prompt_that_says_something():
    with pytest.raises(UsageError, match=r"options.prompt: give what the mapper is for"):
        make_task(Settings(task="mapper", steps=1, out="x"))

    class Deaf:
        def read(self, prompts):
            return reading({})

    with pytest.raises(UsageError, match="nothing of 'hm' is about a face"):
        read(Deaf(), "hm")


# --- `tedi edit --mapper` ------------------------------------------------------------------------


def test_faces_are_edited_by_a_file_and_again_by_their_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = toolkit()
    width = tiny.generator.width

    def write(network):
        state, config = network.state_dict(), dict(network.config)
        part = bundle.Bundle("latent mapper", "styleclip", config, state, {})
        bundle.save(tmp_path / "afro.safetensors", {"mapper": part}, exist="overwrite")

    write(mapper(width=width, medium=2, fine=4))
    for name in ("edit", "generate", "redo"):
        module = importlib.import_module(f"tedi.cli.{name}")
        monkeypatch.setattr(module, "_load", lambda **options: tiny)

    def tedi_(*arguments):
        status = cli_run([*map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    call = ("edit", 7, "--mapper", "afro.safetensors", "--save-code", "code.safetensors")
    status, out, err = tedi_(*call, "--strength", 0.5)
    assert (status, out[0]) == (0, "seed7-afro.png"), err
    record = read_provenance(out[0])
    (step,) = record["edits"]
    assert (step["text"], step["strength"]) == ("afro", 0.5)
    before = tiny.begun("", 7)
    moved = before + 0.5 * (
        Mapped(tmp_path / "afro.safetensors", tiny.generator).network(before) - before
    )
    assert torch.allclose(
        codes.load(Path("code.safetensors"), slots=tiny.generator.slots, width=width), moved[0]
    )
    assert tedi_("run", "seed7-afro.png", "--out", "again.png")[0] == 0
    assert Path("again.png").read_bytes() == Path("seed7-afro.png").read_bytes()
    write(mapper(width=width, medium=1, fine=2))
    tiny._mappers.clear()
    status, _, err = tedi_("run", "seed7-afro.png", "--out", "third.png")
    assert (status, "afro.safetensors: no longer the mapper that was used" in err) == (1, True)
    for more, says in (
        (("--method", "mix"), "--mapper: is instead of --method"),
        (("older", "wider"), "knows one text, and 2 are given"),
    ):
        status, _, err = tedi_("edit", 7, *more, "--mapper", "afro.safetensors", "--out", "d.png")
        assert (status, says in err) == (2, True)
    status, _, err = tedi_("edit", 7, "--mapper", "none.safetensors")
    assert (status, err) == (1, "tedi: none.safetensors: no such file\n")
