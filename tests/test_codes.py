"""The code reader against loops, and its moves against solves in all numbers of a code."""

import pytest
import torch
from tiny import TinyGenerator, code_reader

from tedi import attributes
from tedi.checkpoints import native
from tedi.errors import TediError
from tedi.training.codes import whiten

N, L, C, K = 3, 4, 8, 6
V = len(attributes.COLUMNS)
PAIRS = [span for span in attributes.SPANS.values() if span.stop - span.start == 2][:5]
YES, NO = [s.start for s in PAIRS], [s.stop - 1 for s in PAIRS]


@pytest.fixture
def reader():
    """Of linear logits."""
    reader = code_reader(concepts=K, slots=L, channels=C, dtype=torch.double)
    reader.leave.weight.zero_()
    return reader


def codes(reader, n=N, seed=0):
    random = torch.Generator().manual_seed(seed)
    slots, channels = len(reader.slots), len(reader.w_avg)
    u = torch.randn(n, slots, channels, generator=random, dtype=reader.w_avg.dtype)
    return reader.w_avg + u @ reader.color.T


def whitened(reader, ws):
    return (ws - reader.w_avg) @ reader.whiten.T


def towards(goal):
    """An objective: −½ squared distance of the log-odds of five attributes to `goal` (N, 5)."""
    return lambda log_p: -0.5 * (log_p[:, YES] - log_p[:, NO] - goal).square().sum(dim=1)


CLOSE = 0.03  # forty steps of Adam come within 1.4 % of these optima
GOAL = torch.linspace(-1, 1, 5 * N, dtype=torch.double).view(N, 5)


def dense(reader, ws, goal, *, strength, together, slots=range(L)):
    """The move by its posterior mean over all L·C numbers of a whitened code."""
    free = torch.zeros(L, dtype=torch.double)
    free[list(slots)] = 1
    prior = together * torch.ones(L, L).double() + (1 - together) * torch.eye(L).double()
    prior = torch.kron(torch.diag(free) @ prior @ torch.diag(free), torch.eye(C).double())
    a = torch.nn.functional.normalize(reader.concepts, dim=1)
    seen = torch.einsum("lk,kc->klc", reader.slots.softmax(dim=0), a).flatten(1)  # u to scores
    odds = reader.linear.weight[YES] - reader.linear.weight[NO]
    design = odds @ seen
    now = whitened(reader, ws).flatten(1) @ design.T
    missing = goal - now - (reader.linear.bias[YES] - reader.linear.bias[NO])
    gram = design @ prior @ design.T + torch.eye(5).double() / strength
    return (prior @ design.T @ torch.linalg.solve(gram, missing.T)).T.view(N, L, C)


# --- reading -------------------------------------------------------------------------------------


def test_scores_against_a_loop(reader):
    ws = codes(reader)
    u, a, p = whitened(reader, ws), reader.directions(), reader.shares()
    scores = reader.scores(ws)
    assert scores.shape == (N, K)
    for n in range(N):
        for k in range(K):
            expected = sum(p[slot, k] * (a[k] @ u[n, slot]) for slot in range(L))
            torch.testing.assert_close(scores[n, k], expected)


def test_shares_sum_to_one_and_directions_have_length_one(reader):
    shares = reader.shares()
    assert shares.shape == (L, K)
    torch.testing.assert_close(shares.sum(dim=0), torch.ones(K).double())
    assert (shares > 0).all()
    torch.testing.assert_close(reader.directions().norm(dim=1), torch.ones(K).double())


def test_logits_are_linear_and_a_network_on_top(reader):
    scores = torch.randn(N, K, dtype=torch.double)
    linear = scores @ reader.linear.weight.T + reader.linear.bias
    torch.testing.assert_close(reader.read(scores), linear)
    reader.leave.weight.normal_()
    hidden = scores @ reader.enter.weight.T + reader.enter.bias
    bent = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))  # GELU
    torch.testing.assert_close(reader.read(scores), linear + bent @ reader.leave.weight.T)
    ws = codes(reader)
    torch.testing.assert_close(reader(ws), reader.read(reader.scores(ws)))
    assert reader(ws).shape == (N, V)


class Skewed(TinyGenerator):
    """Its W has another spread in every direction."""

    def mapping(self, z):
        return (z * torch.linspace(0.2, 3, self.width)) @ self.turn + self.w_avg


def test_whitening_makes_codes_standard_normal():
    generator, reader = Skewed(), code_reader(channels=8)
    whiten(reader, generator, 30_000, seed=0)
    z = torch.randn(30_000, 8, generator=torch.Generator().manual_seed(5))
    u = whitened(reader, generator.mapping(z))
    torch.testing.assert_close(torch.cov(u.T), torch.eye(8), atol=0.05, rtol=0)
    assert u.mean(dim=0).abs().max() < 0.05
    torch.testing.assert_close(reader.whiten @ reader.color, torch.eye(8), atol=1e-4, rtol=0)
    assert torch.equal(reader.w_avg, generator.w_avg)


# --- moves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("strength", [0.3, 3.0])
def test_a_move_is_the_most_likely_one(reader, together, strength):
    ws = codes(reader)
    how = {"strength": strength, "together": together}
    moved = whitened(reader, reader.move(ws, towards(GOAL), **how)) - whitened(reader, ws)
    expected = dense(reader, ws, GOAL, **how)
    assert expected.norm() > 0.3
    assert (moved - expected).norm() < CLOSE * expected.norm()


def test_a_move_within_slots_is_the_most_likely_one(reader):
    ws = codes(reader)
    how = {"strength": 3.0, "together": 0.6, "slots": (1, 2)}
    moved = whitened(reader, reader.move(ws, towards(GOAL), **how)) - whitened(reader, ws)
    expected = dense(reader, ws, GOAL, **how)
    assert (moved - expected).norm() < CLOSE * expected.norm()


def test_no_move_nearby_is_better():
    """Equation (2) with the network on top: random small changes only make it worse."""
    reader = code_reader(concepts=K, slots=L, channels=C, dtype=torch.double)
    ws, objective = codes(reader), towards(GOAL)
    prior = 0.6 * torch.ones(L, L).double() + 0.4 * torch.eye(L).double()
    inverse = torch.linalg.inv(prior)

    def energy(moved):
        d = whitened(reader, moved) - whitened(reader, ws)
        length = torch.einsum("nlc,lm,nmc->n", d, inverse, d)
        return 0.5 * length - 3 * objective(attributes.log_softmax(reader(moved)))

    best = reader.move(ws, objective, strength=3.0, together=0.6)
    least = energy(best)
    assert (least < energy(ws) - 0.05).all()
    random = torch.Generator().manual_seed(1)
    for _ in range(30):
        step = 0.1 * torch.randn(N, L, C, generator=random, dtype=torch.double) @ reader.color.T
        assert (energy(best + step) > least).all()


def test_rows_do_not_touch_one_another(reader):
    ws, how = codes(reader), {"strength": 3.0, "together": 0.6}
    moved = reader.move(ws, towards(GOAL), **how)
    for n in range(N):
        alone = reader.move(ws[n : n + 1], towards(GOAL[n : n + 1]), **how)
        torch.testing.assert_close(alone[0], moved[n], atol=1e-6, rtol=0)
    far = torch.cat([ws[:2], ws[2:] + 100])
    assert torch.equal(reader.move(far, towards(GOAL), **how)[:2], moved[:2])


def test_slots_that_may_not_move_stay_bit_for_bit(reader):
    ws = codes(reader)
    kept = ws.clone()
    moved = reader.move(ws, towards(GOAL), strength=3.0, together=0.6, slots=(0, 3))
    same = [torch.equal(moved[:, slot], ws[:, slot]) for slot in range(L)]
    assert same == [False, True, True, False]
    assert torch.equal(ws, kept)


def test_slots_move_alike_or_each_by_itself(reader):
    ws = codes(reader)
    alike = reader.move(ws, towards(GOAL), strength=3.0, together=1.0) - ws
    torch.testing.assert_close(alike, alike[:, :1].expand_as(alike))
    assert alike.norm() > 0.1
    some = reader.move(ws, towards(GOAL), strength=3.0, together=1.0, slots=(1, 3)) - ws
    torch.testing.assert_close(some[:, 1], some[:, 3])
    apart = reader.move(ws, towards(GOAL), strength=3.0, together=0.0) - ws
    assert (apart[:, 0] - apart[:, 1]).norm() > 0.1 * apart.norm()


def test_nothing_wanted_moves_nothing(reader):
    ws = codes(reader)
    still = reader.move(ws, lambda log_p: 0 * log_p.sum(dim=1), strength=9.0, together=0.6)
    assert torch.equal(still, ws)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_moves_in_any_grad_mode(reader, mode):
    ws = codes(reader)
    expected = reader.move(ws, towards(GOAL), strength=3.0, together=0.6)
    with mode():
        moved = reader.move(codes(reader), towards(GOAL), strength=3.0, together=0.6)
    assert torch.equal(moved, expected)
    assert not moved.requires_grad
    assert all(p.grad is None for p in reader.parameters())


# --- files ---------------------------------------------------------------------------------------


def test_a_reader_comes_back_from_its_file(tmp_path):
    from safetensors.torch import save_file

    reader = code_reader(concepts=5, slots=3, channels=4)
    save_file(reader.state_dict(), tmp_path / "r.safetensors", metadata={"architecture": "codes"})
    again = native.load_code_reader(tmp_path / "r.safetensors")
    ws = codes(reader)
    assert torch.equal(again(ws), reader(ws))
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    lacking = {n: t for n, t in reader.state_dict().items() if n != "concepts"}
    save_file(lacking, tmp_path / "l.safetensors")
    with pytest.raises(TediError, match="not a code reader; 'concepts' is missing"):
        native.load_code_reader(tmp_path / "l.safetensors")
    save_file(reader.state_dict() | {"more": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(TediError, match="does not fit CodeReader"):
        native.load_code_reader(tmp_path / "m.safetensors")
