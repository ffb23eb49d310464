"""Directions: closed forms, published layouts, files that must be refused, and the command."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny import TinyGenerator

from tedi import attributes, zoo
from tedi.checkpoints import directions as files
from tedi.cli import directions as command
from tedi.cli import directions_fit as fitting
from tedi.cli import run
from tedi.editing.direction import SHIPPED
from tedi.errors import TediError, UsageError
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.images import read_provenance
from tedi.latents import Direction
from tedi.semantics.contrasts import CONTRASTS, contrast
from tedi.semantics.directions import (
    SG2_SIZES,
    affine_weights,
    auc,
    channel_direction,
    channel_scores,
    fit_boundary,
    for_generator,
    ganspace,
    project_out,
    sefa,
)
from tedi.training.dataset import PSI, is_held_out, noise

FACES = Path(__file__).parents[1] / "data" / "tedifaces" / "faces.jsonl"


class Styled(TinyGenerator):
    """Adds styles, affine in the codes: a layer for slot 0, one for slot 1."""

    def __init__(self, *, width: int = 8) -> None:
        super().__init__(width=width)
        random = torch.Generator().manual_seed(3)
        self.first = torch.randn(5, width, generator=random)
        self.second = torch.randn(6, width, generator=random)

    def styles(self, ws):
        return {"a": ws[:, 0] @ self.first.T + 1, "b": ws[:, 1] @ self.second.T - 2}

    def synthesis_from_styles(self, styles):
        light = torch.cat(list(styles.values()), dim=1).mean(dim=1).tanh()
        return light[:, None, None, None].expand(-1, 3, 32, 32)

    layers = MobileStyleGAN.layers


@pytest.fixture
def random():
    return torch.Generator().manual_seed(11)


def unit(*numbers) -> torch.Tensor:
    vector = torch.tensor(numbers, dtype=torch.float32)
    return vector / vector.norm()


def axis(i: int, name: str = "", width: int = 8) -> Direction:
    return Direction(name or f"axis {i}", torch.eye(width)[i])


# --- moving --------------------------------------------------------------------------------------


def test_strength_is_the_displacement_and_zero_keeps_the_code(random):
    ws = torch.randn(2, 16, 8, generator=random)
    moved = Direction("x", torch.arange(8.0))(ws, 2.5)
    torch.testing.assert_close((moved - ws).norm(dim=-1), torch.full((2, 16), 2.5))
    assert torch.equal(Direction("x", torch.arange(8.0))(ws, 0), ws)


def test_slots_that_are_not_named_stay(random):
    ws = torch.randn(1, 16, 8, generator=random)
    moved = axis(3).within((2, 5))(ws, 1)
    assert ((moved - ws).abs().sum(dim=-1)[0] > 0).nonzero().flatten().tolist() == [2, 5]


def test_a_w_plus_direction_is_unit_in_each_slot_and_keeps_zeros():
    rows = torch.randn(4, 8)
    rows[1] = 0
    lengths = Direction("x", rows, "w+").vector.norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 0, 1, 1]))


def test_a_coordinate_is_reached_from_anywhere(random):
    found = Direction("x", torch.randn(8, generator=random), offset=0.7, std=0.5)
    ws = torch.randn(3, 1, 8, generator=random).repeat(1, 16, 1)
    moved = found.to_coordinate(ws, 2)
    torch.testing.assert_close((moved @ found.vector - 0.7) / 0.5, torch.full((3, 16), 2.0))
    rest = moved - ws
    torch.testing.assert_close(rest, (rest @ found.vector)[..., None] * found.vector)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", torch.zeros(8)), "zeros or NaN"),
        (("x", torch.full((8,), torch.nan)), "zeros or NaN"),
        (("x", torch.ones(2, 8)), "w needs 1 dimensions"),
        (("x", torch.ones(8), "w+"), "needs 2 dimensions"),
        (("x", torch.ones(8), "z"), "space: expected w, w\\+, s"),
        (("x", torch.ones(8), "s", (1,)), "S names its channels"),
    ],
)
def test_a_wrong_direction_is_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        Direction(*arguments)


def test_codes_of_another_shape_are_refused():
    with pytest.raises(UsageError, match=r"expected ws \(N, L, 8\), got \(1, 16, 512\)"):
        axis(0)(torch.zeros(1, 16, 512), 1)
    with pytest.raises(UsageError, match=r"expected ws \(N, 4, 8\)"):
        Direction("x", torch.ones(4, 8), "w+")(torch.zeros(1, 16, 8), 1)
    with pytest.raises(UsageError, match="call on_styles"):
        Direction("x", torch.ones(8), "s")(torch.zeros(1, 16, 8), 1)
    with pytest.raises(UsageError, match="ws has 16"):
        axis(0).within((16,))(torch.zeros(1, 16, 8), 1)


# --- boundaries ----------------------------------------------------------------------------------


def test_auc_is_the_share_of_pairs_in_order(random):
    scores = torch.randn(60, generator=random).round(decimals=1)  # with ties
    labels = torch.rand(60, generator=random) > 0.6
    pairs = [float(a > b) + float(a == b) / 2 for a in scores[labels] for b in scores[~labels]]
    assert auc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


def test_a_planted_boundary_is_found_through_a_skewed_covariance(random):
    mix = torch.randn(16, 16, generator=random) + 2 * torch.eye(16)
    w = torch.randn(4000, 16, generator=random) @ mix.T + 3
    planted = torch.linalg.inv(mix).T @ torch.randn(16, generator=random)
    planted = planted / planted.norm()
    score = (w - 3) @ planted
    labels = score + 0.2 * score.std() * torch.randn(4000, generator=random) > 0.1
    found = fit_boundary(w, labels, ridge=1e-3)
    assert found.vector @ planted > 0.97
    assert found.figures["auc"] > 0.97
    assert found.figures["accuracy"] > 0.9
    assert (found.figures["n"], found.figures["trained on"]) == (500, 3500)
    assert found.figures["positives"] == labels[7::8].sum()
    assert found.std == pytest.approx((w @ found.vector).std().item(), rel=0.05)
    means = w[labels].mean(dim=0) - w[~labels].mean(dim=0)
    assert means @ planted / means.norm() < 0.9  # which is why means alone do not do


def test_held_out_codes_are_not_fitted(random):
    w = torch.randn(200, 6, generator=random)
    held_out = torch.arange(200) >= 100
    labels = (w[:, 0] > 0) ^ held_out  # the held-out half says the opposite
    found = fit_boundary(w, labels, held_out=held_out)
    assert found.vector[0] > 0.9
    assert found.figures["auc"] < 0.1


def test_a_boundary_without_signal_tells_nothing(random):
    w = torch.randn(800, 6, generator=random)
    labels = torch.rand(800, generator=random) > 0.5
    assert abs(fit_boundary(w, labels).figures["auc"] - 0.5) < 0.15


def test_too_few_faces_and_wrong_shapes_are_refused(random):
    w = torch.randn(100, 6, generator=random)
    labels = torch.zeros(100, dtype=torch.bool)
    labels[:3] = True
    with pytest.raises(UsageError, match="rare: needs 5 faces on each side to fit, got 3 of 88"):
        fit_boundary(w, labels, name="rare")
    with pytest.raises(UsageError, match=r"labels \(N,\) bool"):
        fit_boundary(w, labels.float())


def test_what_is_left_is_orthogonal_to_all_given_in_any_order(random):
    given = [Direction(str(i), torch.randn(8, generator=random)) for i in range(4)]
    given.append(Direction("sum", given[0].vector + 2 * given[1].vector))  # depends on the others
    wanted = Direction("x", torch.randn(8, generator=random), std=1.0)
    left = project_out(wanted, given)
    for other in given:
        assert abs(left.vector @ other.vector) < 1e-5
    assert left.vector.norm() == pytest.approx(1)
    assert left.vector @ wanted.vector > 0
    torch.testing.assert_close(left.vector, project_out(wanted, given[::-1]).vector)
    assert left.name == "x given 0, 1, 2, 3, sum"
    assert left.std is None
    assert project_out(wanted, []) is wanted


def test_two_conditions_agree_with_the_published_formula():
    n, n1, n2 = unit(1, 2, 3, 0), unit(1, 0, 1, 0), unit(0, 1, 1, 1)
    c, p1, p2 = n1 @ n2, n @ n1, n @ n2
    alpha, beta = (p1 - p2 * c) / (1 - c**2), (p2 - p1 * c) / (1 - c**2)
    expected = n - alpha * n1 - beta * n2
    found = project_out(Direction("n", n), [Direction("1", n1), Direction("2", n2)])
    torch.testing.assert_close(found.vector, expected / expected.norm())


def test_nothing_left_and_other_spaces_are_refused():
    with pytest.raises(UsageError, match="nothing is left"):
        project_out(axis(0), [axis(0, "itself")])
    with pytest.raises(UsageError, match="different spaces"):
        project_out(axis(0), [Direction("x", torch.ones(3, 8), "w+")])


def test_slots_of_w_plus_are_projected_one_by_one(random):
    one, two = (Direction(n, torch.randn(3, 8, generator=random), "w+") for n in "ab")
    left = project_out(one, [two])
    torch.testing.assert_close((left.vector * two.vector).sum(dim=1), torch.zeros(3))


# --- unsupervised --------------------------------------------------------------------------------


def test_ganspace_finds_a_planted_covariance(random):
    turn = torch.linalg.qr(torch.randn(8, 8, generator=random)).Q
    spread = torch.tensor([4.0, 2.5, 1.5, 1, 0.5, 0.3, 0.2, 0.1])
    w = torch.randn(20_000, 8, generator=random) * spread @ turn.T + torch.arange(8.0)
    found = ganspace(w, 4)
    for i, direction in enumerate(found):
        assert abs(direction.vector @ turn[:, i]) > 0.99
        assert direction.vector[direction.vector.abs().argmax()] > 0
        assert direction.std == pytest.approx(spread[i].item(), rel=0.05)
        assert direction.offset == pytest.approx((w.mean(dim=0) @ direction.vector).item(), abs=0.1)
    assert [direction.name for direction in found] == ["pca-00", "pca-01", "pca-02", "pca-03"]
    with pytest.raises(UsageError, match="expected 1 to 8, got 9"):
        ganspace(w, 9)


def test_affine_weights_are_read_off_the_styles():
    generator = Styled()
    weights = affine_weights(generator, [1])
    assert list(weights) == ["b"]
    torch.testing.assert_close(weights["b"], generator.second)
    assert list(affine_weights(generator, [0, 1])) == ["a", "b"]


def test_sefa_changes_the_styles_most():
    generator = Styled()
    found = sefa(generator, [0, 1], 8)
    weights = torch.cat([generator.first, generator.second])
    weights = weights / weights.norm(dim=1, keepdim=True)
    changes = [(weights @ direction.vector).square().sum().item() for direction in found]
    assert changes == pytest.approx(sorted(changes, reverse=True))
    assert changes[0] == pytest.approx(torch.linalg.matrix_norm(weights, 2).item() ** 2, rel=1e-4)
    assert changes == pytest.approx([d.figures["eigenvalue"] for d in found], abs=1e-3)
    moved = found[0](torch.zeros(1, 16, 8), 1)[0]
    assert moved.abs().sum(dim=1).nonzero().flatten().tolist() == [0, 1]


def test_sefa_of_the_real_network_reads_its_layers(generator):
    weights = affine_weights(generator, generator.layers(4))
    assert list(weights) == ["stem"]
    affine = generator.synthesizer.stem.affine.weight
    torch.testing.assert_close(weights["stem"], affine, atol=1e-5, rtol=1e-4)


# --- S space -------------------------------------------------------------------------------------


def test_the_channel_that_tells_an_attribute_ranks_first(random):
    styles = {
        "a": torch.randn(500, 4, generator=random),
        "b": torch.randn(500, 3, generator=random),
    }
    labels = torch.arange(500) < 100
    styles["b"][labels, 2] -= 5
    styles["b"] *= 7
    scores = channel_scores(styles, labels)
    assert scores["b"][2] < -2
    assert max(scores["a"].abs().max(), scores["b"][:2].abs().max()) < 0.5
    found = channel_direction(styles, labels, name="x")
    assert found.vector.tolist() == [0, 0, 0, 0, 0, 0, -1]
    assert found.figures["channels"][0].startswith("b:2 -")
    assert channel_direction(styles, labels, name="x", count=3).vector.count_nonzero() == 3
    with pytest.raises(UsageError, match="2 faces or more"):
        channel_scores(styles, torch.arange(500) < 1)


def test_a_direction_of_s_moves_its_channel_only():
    styles = Styled().styles(torch.zeros(1, 16, 8))
    vector = torch.zeros(11)
    vector[7] = 2
    moved = Direction("x", vector, "s").on_styles(styles, 1.5)
    assert torch.equal(moved["a"], styles["a"])
    assert (moved["b"] - styles["b"])[0].tolist() == [0, 0, 1.5, 0, 0, 0]
    with pytest.raises(UsageError, match="expected s with 11 channels, got s with 4"):
        Direction("x", torch.ones(4), "s").on_styles(styles, 1)
    with pytest.raises(UsageError, match="got w with 8"):
        axis(0).on_styles(styles, 1)


@torch.inference_mode()
def test_unchanged_styles_draw_the_same_picture(generator, ws):
    still = Direction("x", torch.ones(sum(s.shape[1] for s in generator.styles(ws).values())), "s")
    styles = still.on_styles(generator.styles(ws[:1]), 0)
    assert torch.equal(generator.synthesis_from_styles(styles), generator.synthesis(ws[:1]))


# --- other generators' slots ---------------------------------------------------------------------


def test_slots_of_stylegan2_go_by_resolution():
    assert [SG2_SIZES.count(4 * 2**i) for i in range(9)] == [1, 2, 2, 2, 2, 2, 2, 2, 3]
    theirs = Direction("pose", torch.eye(18), "w+")
    ours = for_generator(theirs, Styled(width=18))
    assert ours.slots is None
    torch.testing.assert_close(ours.vector[:15], torch.eye(18)[:15])
    torch.testing.assert_close(ours.vector[15], unit(*[0.0] * 15, 1, 1, 1))
    few = for_generator(theirs.within((3, 17)), Styled(width=18))
    assert few.slots == (3, 15)
    torch.testing.assert_close(few.vector[15], torch.eye(18)[17])


def test_other_generators_are_told_apart():
    generator = Styled()
    own = Direction("x", torch.ones(16, 8), "w+")
    assert for_generator(own, generator) is own
    assert for_generator(axis(0), generator).space == "w"
    with pytest.raises(UsageError, match="14 slots belong to another generator; tiny has 16"):
        for_generator(Direction("x", torch.ones(14, 8), "w+"), generator)
    with pytest.raises(UsageError, match="512 channels; tiny has W of 8"):
        for_generator(Direction("x", torch.ones(512)), generator)


# --- contrasts -----------------------------------------------------------------------------------


def test_a_contrast_leaves_out_who_is_on_neither_side():
    faces = [{"smile": value} for value in ("broad", "slight", "none")]
    assert contrast("smile").sides(faces) == [True, None, False]
    assert contrast("smile=slight").sides(faces) == [False, True, False]
    hats = [{"hat": True}, {"hat": False}, {}]
    assert contrast("hat=true").sides(hats) == [True, False, None]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smyle", "unknown direction 'smyle'; did you mean 'smile'"),
        ("hat_colour=red", "unknown attribute 'hat_colour'"),
        ("background=blue", "unknown attribute 'background'"),
        ("smile=wide", "unknown smile 'wide'"),
    ],
)
def test_an_unknown_contrast_is_refused(name, words):
    with pytest.raises(UsageError, match=words):
        contrast(name)


# --- files ---------------------------------------------------------------------------------------


def test_our_files_give_back_what_was_saved(tmp_path):
    made = [
        Direction("a", torch.arange(1.0, 9), offset=0.5, std=2.0, figures={"auc": 0.9}),
        Direction("b", torch.ones(16, 8), "w+", slots=(1, 2), origin="here"),
        Direction("c", torch.ones(5), "s"),
    ]
    files.save(tmp_path / "x.safetensors", made, {"licence": "MIT"})
    back = files.load(tmp_path / "x.safetensors")
    assert list(back) == ["a", "b", "c"]
    for direction in made:
        found = back[direction.name]
        torch.testing.assert_close(found.vector, direction.vector, atol=1e-3, rtol=0)
        torch.testing.assert_close(found.vector.norm(dim=-1), direction.vector.norm(dim=-1))
        for key in ("space", "slots", "origin", "offset", "std", "figures"):
            assert getattr(found, key) == getattr(direction, key)
    assert zoo.metadata(tmp_path / "x.safetensors")["licence"] == "MIT"
    with pytest.raises(TediError, match="already exists"):
        files.save(tmp_path / "x.safetensors", made, {})
    with pytest.raises(UsageError, match="same name"):
        files.save(tmp_path / "y.safetensors", [made[0], made[0]], {})


@pytest.mark.parametrize("shape", [(8,), (1, 8), (18, 8), (1, 18, 8)])
@pytest.mark.parametrize("suffix", [".pt", ".npy", ".bin"])
def test_published_vectors_are_read_by_content(tmp_path, shape, suffix, random):
    array = torch.randn(*shape, generator=random)
    path = tmp_path / f"e4e_smile{suffix}"
    if suffix == ".npy":
        with path.open("wb") as file:
            np.save(file, array.numpy())
    else:
        torch.save(array, path)
    found = files.load(path)["e4e_smile"]
    expected = array.reshape(shape[-2:] if 18 in shape else (8,))
    torch.testing.assert_close(found.vector, expected / expected.norm(dim=-1, keepdim=True))
    assert found.space == ("w+" if 18 in shape else "w")


@pytest.mark.parametrize("protocol", [2, 4])
def test_boundaries_of_idinvert_are_read_with_their_layers(tmp_path, protocol, random):
    rows = torch.randn(1, 14, 8, generator=random).double().numpy()
    told = {"boundary": rows, "meta_data": {"manipulate_layers": [0, np.int64(1), 2], "x": 0.5}}
    content = np.array(told, dtype=object)
    path = tmp_path / "age.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        pickle.dump(content, file, protocol=protocol)
    found = files.load(path)["age"]
    assert (found.space, found.slots, found.vector.shape) == ("w+", (0, 1, 2), (14, 8))
    torch.testing.assert_close(
        found.vector[3], torch.from_numpy(rows[0, 3] / np.linalg.norm(rows[0, 3])).float()
    )


def test_components_of_ganspace_are_read(tmp_path, random):
    turn = torch.linalg.qr(torch.randn(8, 8, generator=random)).Q
    mean = torch.randn(1, 8, generator=random)
    told = {"mean": mean, "comp": turn[:3, None], "std": torch.tensor([3.0, 2, 1])}
    torch.save(told, tmp_path / "pca.pt")
    found = files.load(tmp_path / "pca.pt")
    assert list(found) == ["pca-00", "pca-01", "pca-02"]
    assert found["pca-01"].std == 2
    ws = torch.randn(1, 1, 8, generator=random).repeat(1, 16, 1)
    coordinate = ((ws[:, 0] - mean) @ turn[1]) / 2  # the published convention
    expected = ws + (4 - coordinate) * 2 * turn[1]
    torch.testing.assert_close(found["pca-01"].to_coordinate(ws, 4), expected)


class Wicked:
    """Touches a file if it is unpickled freely."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_that_wants_to_run_something_is_refused(tmp_path, suffix, wrapped):
    trap = tmp_path / "sprung"
    content = {"boundary": Wicked(trap)} if wrapped else Wicked(trap)
    path = tmp_path / f"age{suffix}"
    if suffix == ".npy":
        array = np.empty((), dtype=object)
        array[()] = content
        np.save(path, array, allow_pickle=True)
    else:
        torch.save(content, path)
    with pytest.raises(TediError, match=r"its pickle asks for '(posix|nt)\.mkdir', which"):
        files.load(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "line",
    [
        b"cbuiltins\neval\n.",
        b"cnumpy\nload\n.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"cos\nnam\n.",
    ],
)
def test_no_other_name_is_known_to_the_reader_of_arrays(tmp_path, line):
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        file.write(line)
    with pytest.raises(TediError, match=r"x\.npy: (refused; its pickle asks for|damaged)"):
        files.load(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.ones((5000, 8)), "with L up to 18, got"),
        (np.ones((2, 3, 8)), "expected .* got \\(2, 3, 8\\)"),
        (np.zeros((1, 8)), "zeros or NaN"),
        (np.array(["a"]), "got list"),
        (np.array([{}, {}], dtype=object), "got list"),
        (np.array({"weights": 1}, dtype=object), "expected keys boundary, or mean"),
        (np.array({"boundary": "x"}, dtype=object), "got str"),
    ],
)
def test_arrays_of_another_layout_are_refused_in_one_line(tmp_path, content, words):
    np.save(tmp_path / "x.npy", content, allow_pickle=True)
    with pytest.raises(TediError, match=words) as caught:
        files.load(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)
    assert "x.npy" in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"hello", b"\x93NUMPY\x01\0", b"PK\3\4", b"\x80\2}q"])
def test_damaged_files_are_refused_in_one_line(tmp_path, raw):
    (tmp_path / "x").write_bytes(raw)
    with pytest.raises(TediError) as caught:
        files.load(tmp_path / "x")
    assert "\n" not in str(caught.value)
    with pytest.raises(TediError, match="cannot be read"):
        files.load(tmp_path / "absent")


def test_another_weight_file_is_refused(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors", metadata={"kind": "text encoder"})
    with pytest.raises(TediError, match="expected directions, holds text encoder"):
        files.load(tmp_path / "x.safetensors")


# --- what is shipped -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> dict[str, Direction]:
    return files.load(zoo.path(SHIPPED))


def test_every_contrast_and_twenty_axes_are_shipped(shipped):
    axes = [name for name in shipped if name.startswith("pca-")]
    assert set(shipped) == {*CONTRASTS, *axes}
    assert len(axes) == 20
    spreads = [shipped[name].std for name in sorted(axes)]
    assert spreads == sorted(spreads, reverse=True)
    for name in CONTRASTS:
        assert shipped[name].vector.shape == (512,)
        assert shipped[name].figures["auc"] > 0.7
        assert shipped[name].figures["n"] > 100
    told = zoo.metadata(zoo.path(SHIPPED))
    assert all(told[key] for key in ("recipe", "data", "licence", "note", "seeds", "kind"))


@torch.inference_mode()
def test_the_shipped_smile_parts_unseen_faces(shipped, generator):
    faces = [json.loads(line) for line in FACES.read_text(encoding="utf-8").splitlines()]
    faces = [face for face in faces if is_held_out(face["index"]) and not face["broken"]]
    used = [face for face in faces if face["smile"] != "slight"]
    w = generator.mapping(noise([face["index"] for face in used]))
    w = generator.w_avg + PSI * (w - generator.w_avg)
    smile, labels = shipped["smile"], torch.tensor([face["smile"] == "broad" for face in used])
    assert auc(w @ smile.vector, labels) == pytest.approx(smile.figures["auc"], abs=0.002)
    apart = (w @ smile.vector > smile.offset) == labels
    assert apart.float().mean() > 0.95


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def tedi_(tmp_path, monkeypatch, capsys):
    """Runs `tedi directions` on a tiny generator in an empty folder."""
    monkeypatch.chdir(tmp_path)
    tiny = Styled(width=512)
    loaded = tiny, {"tiny": "0" * 64}
    for module in (command, fitting):
        monkeypatch.setattr(module, "load_generator", lambda device, file=None: loaded)

    def call(*arguments):
        capsys.readouterr()
        status = run(["directions", *map(str, arguments)])
        told = capsys.readouterr()
        return status, told.out.splitlines(), told.err

    return call


def test_list_names_what_is_shipped(tedi_):
    status, out, _ = tedi_("list")
    assert status == 0
    assert any(line.startswith("smile ") and "AUC 0.9" in line for line in out)
    told = [json.loads(line) for line in tedi_("list", "--json")[1]]
    assert {"name", "space", "std", "auc"} <= told[0].keys()
    assert len(told) == len(out)


def test_show_draws_a_strip_that_says_how_it_was_made(tedi_):
    status, out, _ = tedi_(
        "show", "smile", "--seed", "3-4", "--strength", "-3:3:3", "--given", "old", "--preview"
    )
    assert (status, out) == (0, ["smile-seed3.png"])
    record = read_provenance(out[0])
    assert record["direction"] == "smile given old"
    assert (record["seeds"], record["strengths"]) == ([3, 4], [-3, 0, 3])
    assert (record["command"], record["psi"], record["preview"]) == ("directions show", 0.7, True)
    assert record["weights"].keys() == {"tiny", "directions-ffhq"}


def test_show_counts_in_standard_deviations(tedi_, shipped):
    _, out, _ = tedi_("show", "smile", "--std", "--strength", "2", "--json")
    assert json.loads(out[0])["strengths"] == pytest.approx([2 * shipped["smile"].std])
    assert tedi_("show", "smile", "--given", "old", "--std")[0] == 2


def test_show_takes_files_and_names_in_them(tedi_):
    np.save("age.npy", np.ones((1, 512)))
    assert tedi_("show", "age.npy", "--layers", "coarse", "--out", "a.png")[:2] == (0, ["a.png"])
    assert read_provenance("a.png")["slots"] == [0, 1, 2, 3, 4]
    two = [Direction("a", torch.ones(512)), Direction("b", torch.ones(16, 512), "w+")]
    files.save(Path("two.safetensors"), two, {})
    assert tedi_("show", "two.safetensors:b", "--out", "b.png")[0] == 0
    status, _, error = tedi_("show", "two.safetensors", "--out", "c.png")
    assert (status, "holds 2 directions; name one: two.safetensors:a" in error) == (2, True)
    assert tedi_("show", "two.safetensors:c", "--out", "c.png")[0] == 2
    assert "cannot be read" in tedi_("show", "absent.npy")[2]


def test_show_keeps_files_unless_told(tedi_):
    assert tedi_("show", "smile", "--out", "a.png")[0] == 0
    assert tedi_("show", "smile", "--out", "a.png")[::2] == (
        1,
        "tedi: a.png: already exists; pass --overwrite to replace it\n",
    )
    assert tedi_("show", "smile", "--out", "a.png", "--overwrite")[0] == 0
    assert tedi_("show", "smile", "--out", "a.txt")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("smlie",), "unknown direction 'smlie'; did you mean 'smile'?"),
        (("smile", "--given", "odl"), "unknown direction 'odl'"),
        (("smile", "--given", "smile"), "nothing is left"),
        (("smile", "--strength", "1:2"), "expected from:to:count such as -3:3:5"),
        (("smile", "--strength", "a:b:c"), "expected from:to:count"),
        (("smile", "--strength", "1:2:0"), "with 1 to 100"),
        (("smile", "--strength", "nan:1:3"), "strengths up to 100"),
        (("smile", "--strength", "-1:1:3:4"), "expected from:to:count"),
        (("smile", "--seed", "0-2000"), "--seed: at most"),
    ],
)
def test_wrong_calls_of_show_are_one_line(tedi_, arguments, words):
    status, out, error = tedi_("show", *arguments)
    assert (status, out) == (2, [])
    assert words in error
    assert error.count("\n") == 1


def write_faces(path="faces.jsonl", count=200) -> str:
    """Faces whose smile is the sign of a coordinate of w."""
    w = TinyGenerator(width=512).mapping(noise(list(range(count))))
    faces = [
        {"index": i, "smile": "broad" if x > 0 else "none", "hat": i % 3 == 0}
        for i, x in enumerate((w @ torch.ones(512) - w.mean(dim=0).sum()).tolist())
    ]
    Path(path).write_text("\n".join(map(json.dumps, faces)), encoding="utf-8")
    return path


def test_fit_writes_a_file_that_show_and_list_take(tedi_):
    options = ["fit", "--labels", write_faces(), "--attribute", "smile"]
    status, out, error = tedi_(*options, "--attribute", "hat=true", "--out", "x.safetensors")
    assert (status, out) == (0, ["x.safetensors"])
    assert "smile: auc" in error
    found = files.load(Path("x.safetensors"))
    assert list(found) == ["smile", "hat=true"]
    assert found["smile"].vector @ torch.ones(512) / 512**0.5 > 0.3
    assert tedi_("show", "x.safetensors:smile")[1] == ["x-safetensors-smile-seed0.png"]
    assert [line.split()[0] for line in tedi_("list", "x.safetensors")[1]] == ["smile", "hat=true"]
    assert "already exists" in tedi_(*options, "--out", "x.safetensors")[2]


def test_fit_away_from_the_labels_says_what_to_do(tedi_, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = tedi_("fit", "--attribute", "smile", "--out", "x.safetensors")
    assert (status, error.count("\n")) == (1, 1)
    assert "faces.jsonl: no such file; name a file, run it in tedi's repository, or" in error


def test_fit_leaves_given_directions_alone(tedi_):
    options = ["fit", "--labels", write_faces(), "--attribute", "smile", "--out", "x.safetensors"]
    assert (
        tedi_(*options, "--given", "old", "--attribute", "hat=true", "--given", "hat=true")[0] == 0
    )
    (found,) = files.load(Path("x.safetensors")).values()
    assert found.name == "smile given old, hat=true"
    assert abs(found.vector @ files.load(zoo.path(SHIPPED))["old"].vector) < 1e-3
    assert "nothing is left to fit" in tedi_(*options, "--given", "smile", "--overwrite")[2]


def test_fit_finds_channels_of_s(tedi_):
    options = ["fit", "--labels", write_faces(), "--attribute", "smile", "--space", "s"]
    assert tedi_(*options, "--channels", 2, "--out", "s.safetensors")[0] == 0
    (found,) = files.load(Path("s.safetensors")).values()
    assert (found.space, found.vector.count_nonzero().item()) == ("s", 2)
    assert tedi_("show", "s.safetensors", "--strength", "-1:1:3", "--std")[0] == 0
    assert "leave it out" in tedi_("show", "s.safetensors", "--preview", "--out", "y.png")[2]
    assert "leave it out" in tedi_(*options, "--given", "old", "--out", "t.safetensors")[2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not json", "cannot be read as lines of JSON"),
        ('{"smile": "broad"}', "line 1: expected an index"),
        ('{"index": 3}', "line 1: holds no attribute"),
        ('{"index": 9999, "smile": "none"}', "indices of tedifaces end at 4095"),
        ('{"index": 1, "smile": "none"}', "needs 5 faces on each side"),
        ("[1]", "line 1: expected"),
        ("", "holds no face"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tedi_, text, words):
    Path("x.jsonl").write_text(text, encoding="utf-8")
    status, _, error = tedi_(
        "fit", "--labels", "x.jsonl", "--attribute", "smile", "--out", "x.safetensors"
    )
    assert status in (1, 2)
    assert words in error
    assert error.count("\n") == 1
    assert not Path("x.safetensors").exists()


def test_fit_says_what_is_wrong_with_files(tedi_, tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    status, _, error = tedi_("fit", "--labels", str(broken), "--out", "x.safetensors")
    assert (status, "broken.jsonl cannot be read as lines of JSON" in error) == (1, True)
    assert "expected a .safetensors file" in tedi_("fit", "--out", "x.pt")[2]


def test_fit_draws_and_labels_faces_and_goes_on_where_it_stopped(tedi_, monkeypatch):
    class Eye:
        """Sees a smile where the picture is red; stops at the 20th face."""

        seen = 0

        def __call__(self, image):
            Eye.seen += 1
            if Eye.seen == 20:
                raise KeyboardInterrupt
            logits = torch.zeros(1, len(attributes.COLUMNS))
            logits[0, attributes.COLUMNS.index(("smile", "broad"))] = image[0, 0].mean() - 0.1
            logits[0, attributes.COLUMNS.index(("smile", "none"))] = 0.1 - image[0, 0].mean()
            logits[0, attributes.COLUMNS.index(("smile", "slight"))] = -9
            return logits

    monkeypatch.setattr(fitting, "load_attributes", lambda judge, device: (Eye(), "0" * 64))
    options = ("fit", "--draw", 64, "--seed", 5, "--attribute", "smile", "--out", "x.safetensors")
    assert tedi_(*options)[0] == 130
    status, out, error = tedi_(*options)
    assert (status, out) == (0, ["x.safetensors"]), error
    assert Eye.seen < 20 + 64
    assert not list(Path().glob("*.judged.*"))
    assert zoo.metadata(Path("x.safetensors"))["data"].startswith("64 previews from seed 5")
    (smile,) = files.load(Path("x.safetensors")).values()
    assert smile.figures["trained on"] == 56
    assert smile.figures["auc"] > 0.6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--draw", 20, "--labels", "x.jsonl"), "--draw: is instead of --labels"),
        (("--generator", "g.pkl", "--labels", "x.jsonl"), "--labels: are of tedi's own faces"),
        (("--draw", 20, "--seed", 2**32 - 5), "--seed: 20 faces from"),
        (("--draw", 3), "16<=x<="),
    ],
)
def test_fit_says_what_cannot_be_drawn(tedi_, options, words):
    status, out, error = tedi_("fit", *options, "--attribute", "smile", "--out", "x.safetensors")
    assert (status, out) == (2, [])
    assert words in error
    assert error.count("\n") == 1
