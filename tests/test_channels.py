"""Moves of S made in W+, slopes of what pictures show, and StyleCLIP's global directions."""

import pytest
import torch
from safetensors.torch import save_file
from tiny import TinyGenerator, code_reader, text_encoder

from tedi import attributes, zoo
from tedi.attributes import COLUMNS, SPANS
from tedi.checkpoints import native
from tedi.checkpoints import slopes as files
from tedi.control import style_codes
from tedi.editing import channels
from tedi.editing.channels import BETA, LIKELY, MOST, Global, aims, size
from tedi.encoders.text import ORDERED_GROUPS, Reading
from tedi.errors import TediError, UsageError
from tedi.latents import Direction
from tedi.semantics.channels import CONTRASTS, FIRSTS, StyleMoves, fed_by, slopes

SLOTS, WIDTH, V = 16, 8, len(COLUMNS)
K = len(CONTRASTS)


class Styled(TinyGenerator):
    """Layers whose styles are known affines: "even" of slot 2, "wide" of slot 3, "one" of slot 3.

    More channels than W has numbers hang on slot 3, fewer on all others.
    """

    def __init__(self):
        super().__init__()
        random = torch.Generator().manual_seed(3)
        self.affines = {
            "even": (2, torch.randn(WIDTH, WIDTH, generator=random)),
            "wide": (3, torch.randn(WIDTH, WIDTH, generator=random)),
            "one": (3, torch.randn(2, WIDTH, generator=random)),
            "to_image": (15, torch.randn(3, WIDTH, generator=random)),
        }

    def styles(self, ws):
        return {n: ws[:, slot] @ A.T + 0.5 for n, (slot, A) in self.affines.items()}


def reading(says=None, **moves):
    agrees = torch.ones(1, V)
    if says:
        agrees[0] = attributes.allowed_by(says)
    wishes = [moves.get(group, 0.0) for group in ORDERED_GROUPS]
    return Reading(agrees, torch.tensor([wishes]))


@pytest.fixture
def styled():
    return Styled()


@pytest.fixture
def color():
    return code_reader(channels=WIDTH).color


def column(group, value):
    return COLUMNS.index((group, value))


# --- moves of channels ---------------------------------------------------------------------------


def test_each_layer_is_fed_by_its_slot(styled):
    assert fed_by(styled) == {"even": 2, "wide": 3, "one": 3, "to_image": 15}


def test_spreads_are_those_of_codes(styled, color):
    moves = StyleMoves(styled, color, ridge=0.1)
    random = torch.Generator().manual_seed(5)
    w = styled.w_avg + torch.randn(20_000, WIDTH, generator=random) @ color.T
    styles = styled.styles(w[:, None].expand(-1, SLOTS, -1))
    expected = torch.cat([style.std(dim=0) for style in styles.values()])
    torch.testing.assert_close(moves.std, expected, rtol=0.03, atol=0)


def test_channels_no_more_than_numbers_move_exactly(styled, color):
    moves = StyleMoves(styled, color, ridge=1e-9)
    wanted = torch.zeros(len(moves.std))
    wanted[[1, 6, 19]] = torch.tensor([1.0, -2.0, 0.5])  # two of "even", one of "to_image"
    delta = moves(wanted)
    ws = torch.zeros(1, SLOTS, WIDTH)
    before, after = styled.styles(ws), styled.styles(ws + delta)
    moved = torch.cat([after[name] - before[name] for name in before], dim=1)[0]
    torch.testing.assert_close(moved, wanted * moves.std, atol=1e-3, rtol=0)
    assert moves.missed(wanted) < 1e-3
    assert not delta[[0, 1, 3, 14]].any()


def test_more_channels_than_numbers_are_met_as_well_as_can_be(styled, color):
    """No other move of the slot comes closer, in units of the spreads."""
    moves = StyleMoves(styled, color, ridge=1e-9)
    wanted = torch.zeros(len(moves.std))
    wanted[8] = 1.0
    assert 0.05 < moves.missed(wanted) < 1
    spread = torch.cat([styled.affines[n][1] for n in ("wide", "one")]) / moves.std[8:18, None]
    best = torch.linalg.lstsq(spread, wanted[8:18, None]).solution[:, 0]
    torch.testing.assert_close(moves(wanted)[3], best, atol=1e-3, rtol=1e-3)


def test_a_ridge_keeps_codes_near_and_channels_off(styled, color):
    wanted = torch.zeros(21)
    wanted[[2, 9]] = 1.0
    whiten = torch.linalg.inv(color)
    found = [StyleMoves(styled, color, ridge=ridge) for ridge in (0.01, 1.0, 100.0)]
    lengths = [(moves(wanted) @ whiten.T).norm().item() for moves in found]
    missed = [moves.missed(wanted) for moves in found]
    assert lengths == sorted(lengths, reverse=True)
    assert missed == sorted(missed)
    assert missed[-1] < 1


def test_effects_are_those_of_the_moves_made(styled, color):
    moves = StyleMoves(styled, color, ridge=0.3)
    by_code = torch.randn(4, SLOTS, WIDTH, generator=torch.Generator().manual_seed(6))
    effects = moves.effects(by_code)
    for channel in (0, 9, 17, 20):
        alone = torch.zeros(len(moves.std))
        alone[channel] = 1
        expected = (by_code * moves(alone)).sum(dim=(1, 2))
        torch.testing.assert_close(effects[channel], expected, atol=1e-5, rtol=1e-4)


def test_a_direction_of_s_becomes_a_move_of_codes(styled, color):
    moves = StyleMoves(styled, color, ridge=1e-9)
    vector = torch.zeros(21)
    vector[[0, 3]] = torch.tensor([3.0, -4.0])
    direction = Direction("test", vector, space="s")
    ws = torch.randn(1, SLOTS, WIDTH, generator=torch.Generator().manual_seed(1))
    expected = direction.on_styles(styled.styles(ws), 2.0)
    made = styled.styles(ws + 2 * moves.of(direction))
    for name in expected:
        torch.testing.assert_close(made[name], expected[name], atol=1e-3, rtol=0)
    with pytest.raises(UsageError, match="expected a direction of S, got w"):
        moves.of(Direction("w", torch.ones(WIDTH)))
    with pytest.raises(UsageError, match=r"channels: expected 21, got \(3,\)"):
        moves(torch.ones(3))


# --- slopes --------------------------------------------------------------------------------------


def test_slopes_are_derivatives_of_contrasts():
    """Of a judge linear in a linear picture they are its weights; of others, of the first value."""
    random = torch.Generator().manual_seed(2)
    paint = torch.randn(SLOTS * WIDTH, V, generator=random, dtype=torch.double)
    ws = torch.randn(1, SLOTS, WIDTH, generator=random, dtype=torch.double)
    with torch.inference_mode():
        found = slopes(ws, lambda ws: ws.flatten(1), lambda image: image @ paint)
    expected = (paint[:, CONTRASTS] - paint[:, FIRSTS]).T.unflatten(1, (SLOTS, WIDTH))
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    names = {COLUMNS[i] for i in CONTRASTS}
    assert ("smile", "broad") in names
    assert ("smile", "none") not in names  # the one the others are compared with
    assert not any(group.startswith("background ") for group, _ in names)


def test_slopes_are_kept_in_files(tmp_path):
    path = tmp_path / "s.safetensors"
    names = tuple(f"c{i}" for i in range(3))
    values = torch.randn(3, SLOTS, WIDTH, generator=torch.Generator().manual_seed(1))
    files.save(path, files.Slopes(values, names, {"recipe": "by hand"}))
    found = files.load(path)
    torch.testing.assert_close(found.values, values, atol=2e-3, rtol=0)
    assert (found.columns, found.metadata["recipe"]) == (names, "by hand")
    with pytest.raises(TediError, match="already exists"):
        files.save(path, found)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({}, "expected slopes, holds nothing of tedi's"),
        ({"kind": "directions"}, "expected slopes, holds directions"),
        ({"kind": "slopes", "columns": "a,b"}, "damaged: expected slopes"),
    ],
)
def test_other_files_are_no_slopes(tmp_path, metadata, says):
    path = tmp_path / "s.safetensors"
    save_file({"slopes": torch.ones(3, 2, 2)}, path, metadata=metadata)
    with pytest.raises(TediError, match=says):
        files.load(path)


def test_the_shipped_slopes_are_of_the_columns_they_are_read_as():
    found = files.load(zoo.path(channels.SHIPPED))
    assert found.columns == tuple(f"{g}={v}" for g, v in (COLUMNS[i] for i in CONTRASTS))
    assert found.values.shape == (K, 16, 512)


# --- what a text aims at -------------------------------------------------------------------------


def prior():
    """Shares that differ within every group."""
    raw = torch.rand(V, generator=torch.Generator().manual_seed(8)) + 0.2
    return raw / attributes.spread(attributes.group_sums(raw))


def test_aims_are_changes_of_shares():
    shares = prior()
    found = aims(reading({"glasses": frozenset({"eyeglasses", "sunglasses"})}), shares)[0]
    span = SPANS["glasses"]
    kept = shares[span][1:] / shares[span][1:].sum()
    torch.testing.assert_close(found[span], torch.tensor([0, *kept.tolist()]) - shares[span])
    found[span] = 0
    assert found.abs().max() < 1e-6


def test_aims_of_wishes_rise_along_their_way_and_sum_to_nothing():
    shares = prior()
    older, younger = (aims(reading(age=sign), shares)[0] for sign in (1.0, -1.0))
    torch.testing.assert_close(older, -younger)
    span = SPANS["age"]
    per_share = older[span] / shares[span]
    assert (per_share.diff() > 0).all()
    assert older[span].sum().abs() < 1e-6


def test_sizes_are_deviations_and_know_no_common_shift():
    shares = prior()
    effects = torch.zeros(2, V)
    effects[0, column("hat", True)] = 2.0
    effects[1] = 5.0  # the same for every value says nothing
    found = size(effects, shares)
    p = shares[column("hat", True)]
    assert found[0].item() == pytest.approx(2 * (p * (1 - p)).sqrt().item(), rel=1e-5)
    assert found[1].item() == pytest.approx(0, abs=1e-2)


# --- the way -------------------------------------------------------------------------------------


@pytest.fixture
def encoder():
    encoder = text_encoder(code_reader(channels=WIDTH))
    encoder.prior.copy_(prior())
    return encoder


def shipped(monkeypatch, tmp_path, values):
    path = tmp_path / "slopes.safetensors"
    files.save(path, files.Slopes(values, tuple(f"c{i}" for i in range(len(values)))))
    monkeypatch.setattr(channels.zoo, "path", lambda name: path)


@pytest.fixture
def way(monkeypatch, tmp_path, styled, encoder):
    """Channel 1 of "even" puts hats on, channel 5 does, too, but also makes smile; all else is
    still."""
    monkeypatch.setattr(channels, "RIDGE", 1e-9)
    A = styled.affines["even"][1]
    back = torch.linalg.inv(A)  # column c moves channel c by 1
    values = torch.zeros(K, SLOTS, WIDTH)
    hat, smile = (CONTRASTS.index(column(*c)) for c in (("hat", True), ("smile", "broad")))
    rows = torch.linalg.inv(back)  # derivative by channel c is row c of A
    values[hat, 2] = rows[1] + rows[5]
    values[smile, 2] = 3 * rows[5]
    shipped(monkeypatch, tmp_path, values)
    return Global(styled, encoder)


def test_channels_move_as_they_tell_what_is_asked_and_nothing_else(way, encoder):
    cosines = way.channels(aims(reading({"hat": frozenset({True})}), encoder.prior)[0])
    assert cosines[1].item() == 1
    assert 0 <= cosines[5].item() < 0.8  # it makes smile as well
    others = torch.ones(len(cosines), dtype=torch.bool)
    others[[1, 5]] = False
    assert not cosines[others].any()
    assert BETA > 0


def test_a_move_is_as_long_as_its_text_needs(way, encoder):
    ws = encoder.codes.w_avg.expand(2, SLOTS, -1).clone()
    said = reading({"hat": frozenset({True})}).of(torch.tensor([0, 0]))
    moved = way(ws, ["a hat"] * 2, said, strength=1, new=False) - ws
    assert moved[0, 2].norm() > 0.1
    still = [slot for slot in range(SLOTS) if slot != 2]
    assert not moved[:, still].any()
    half = way(ws, ["a hat"] * 2, said, strength=0.5, new=False) - ws
    torch.testing.assert_close(half, moved / 2, atol=1e-6, rtol=1e-4)
    assert torch.equal(way(ws, ["a hat"] * 2, said, strength=0, new=False), ws)


def test_lengths_reach_the_probability_aimed_at(way, encoder):
    said = reading({"hat": frozenset({True})})
    move = way.channels(aims(said, encoder.prior)[0])
    log_p = encoder.prior.log()
    for bare in (0.0, 2.0, 6.0):
        start = log_p.clone()
        start[column("hat", True)] -= bare
        start = attributes.log_softmax(start)
        alpha = way.length(move, start, said.agrees[0])
        reached = attributes.log_softmax(start + alpha * (move @ way.effects)).exp()
        step = attributes.log_softmax(start + (alpha - MOST / 100) * (move @ way.effects)).exp()
        if alpha < MOST:
            assert step[column("hat", True)] < LIKELY <= reached[column("hat", True)]
    wearing = torch.full_like(log_p, -20.0)
    wearing[column("hat", True)] = 0.0
    wearing = attributes.log_softmax(wearing)
    assert way.length(move, wearing, said.agrees[0]) == 0


def test_silence_moves_nothing(way, encoder):
    ws = encoder.codes.w_avg.expand(1, SLOTS, -1).clone()
    for said in (reading(), reading({"background": frozenset({"blue"})})):
        assert torch.equal(way(ws, [""], said, strength=1, new=False), ws)


def test_the_image_head_stays(way):
    assert not way.effects[list(way.moves.layers["to_image"])].any()


def test_slopes_of_another_generator_are_refused(monkeypatch, tmp_path, styled, encoder):
    shipped(monkeypatch, tmp_path, torch.ones(K, 18, WIDTH))
    with pytest.raises(UsageError, match=r"of codes \(18, 8\), and tiny has \(16, 8\)"):
        Global(styled, encoder)


def test_the_shipped_slopes_put_a_beard_on_a_face(generator):
    codes = native.load_code_reader(zoo.path("codes-mobilestylegan-ffhq"))
    encoder = native.load_text_encoder(zoo.path("text-minilm-l6"), codes)
    judge = native.load_attribute_model(zoo.path("judge-lite0"))
    says = {"beard": frozenset({"stubble", "goatee", "full"})}
    way = Global(generator, encoder)
    with torch.inference_mode():
        ws = style_codes(generator, [802013], psi=0.7)
        moved = way(ws, [""], reading(says), strength=1.5, new=False)
        seen = [attributes.log_softmax(judge(generator.preview(w))) for w in (ws, moved)]
    likely = [attributes.fit(log_p, attributes.allowed_by(says)).sum().exp() for log_p in seen]
    assert likely[0] < 0.1
    assert likely[1] > 0.5
    eyes = [log_p[0, SPANS["glasses"]].argmax() for log_p in seen]
    assert eyes[0] == eyes[1]
