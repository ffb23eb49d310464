"""Instance-level optimisation in closed form, and the losses it weighs."""

import dataclasses
import inspect
import math
import sys
from types import SimpleNamespace

import pytest
import torch
from tiny import TinyGenerator
from torch import nn

from tedi.descent import ramp
from tedi.editing.optimize import OptimizeOptions, image_text, joint_space, optimize
from tedi.errors import TediError, UsageError
from tedi.losses import LOSSES
from tedi.losses import lpips as lpips_door

SLOTS, WIDTH = 16, 8


class Pull:
    """−½ times the mean over slots of the squared distance to some codes."""

    needs_image = False

    def __init__(self, to):
        self.to = to

    def __call__(self, ws, image):
        return -0.5 * (ws - self.to).square().sum(dim=2).mean(dim=1)


class Brightness:
    """Stands for CLIP: "bright" and "dark" pictures."""

    def __init__(self):
        self.seen = []

    def __call__(self, image, texts):
        self.seen.append((tuple(image.shape), list(texts)))
        sign = torch.tensor([1.0 if text == "bright" else -1.0 for text in texts])
        return sign * image.mean(dim=(1, 2, 3))


class Blind(TinyGenerator):
    """Must not be asked for a picture."""

    def synthesis(self, ws):
        raise AssertionError("drawn")


def codes(n, seed=0, width=WIDTH):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, SLOTS, width, generator=random) * 0.5


def options(**changes):
    return OptimizeOptions(**({"steps": 300, "lr": 0.05, "patience": 0} | changes))


def watch():
    """A callback and what it was told."""
    told = []
    return told, lambda step, losses, ws: told.append((step, losses, ws))


def whitening():
    random = torch.Generator().manual_seed(3)
    mix = torch.randn(WIDTH, WIDTH, generator=random)
    values, vectors = torch.linalg.eigh(mix @ mix.T / WIDTH + 0.2 * torch.eye(WIDTH))
    return (vectors / values.sqrt()).T


@pytest.mark.parametrize("code", [0.1, 0.5, 2.0])
def test_the_optimum_is_between_start_and_text(code):
    """Minimum of λ_code |d|² + λ_text ½ |d − D|² is d = λ_text D / (λ_text + 2 λ_code)."""
    start, goal = codes(2), codes(2, seed=1)
    found = optimize(Blind(), start, Pull(goal), options=options(text=1.5, code=code))
    expected = start + 1.5 / (1.5 + 2 * code) * (goal - start)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_a_whitened_distance_is_that_of_whitened_codes():
    """(2 λ_code WᵀW + λ_text I) d = λ_text D."""
    start, goal, W = codes(2), codes(2, seed=1), whitening()
    found = optimize(Blind(), start, Pull(goal), options=options(code=0.3, steps=600), whiten=W)
    system = 2 * 0.3 * W.T @ W + torch.eye(WIDTH)
    expected = start + torch.linalg.solve(system, (goal - start).transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=0)


def test_similarity_rises_and_terms_add_up_to_what_falls():
    told, on_step = watch()
    start = codes(3)
    optimize(Blind(), start, Pull(codes(3, seed=1)), options=options(), on_step=on_step)
    assert [step for step, _, _ in told] == list(range(301))
    (_, first, at_start), (_, last, _) = told[0], told[-1]
    assert torch.equal(at_start, start)  # the given codes, not the mean
    assert set(first) == {"text", "code"}
    assert first["code"].tolist() == [0, 0, 0]
    assert (last["text"] < 0.2 * first["text"]).all()  # the negative similarity
    assert all(term.shape == (3,) and not term.requires_grad for term in last.values())


def test_a_heavy_code_weight_keeps_the_codes():
    start = codes(2)
    found = optimize(Blind(), start, Pull(codes(2, seed=1)), options=options(code=1e4))
    torch.testing.assert_close(found, start, atol=1e-3, rtol=0)


def test_other_slots_are_untouched_bit_for_bit():
    start = codes(2)
    kept = start.clone()
    goal = codes(2, seed=1)
    found = optimize(Blind(), start, Pull(goal), options=options(slots=(3, 7)), whiten=whitening())
    same = [torch.equal(found[:, slot], start[:, slot]) for slot in range(SLOTS)]
    assert [slot for slot in range(SLOTS) if not same[slot]] == [3, 7]
    assert (found[:, [3, 7]] - goal[:, [3, 7]]).norm() < (start - goal)[:, [3, 7]].norm()
    assert torch.equal(start, kept)
    assert optimize(Blind(), start, Pull(goal), options=options(slots=())).equal(start)


class Encoder:
    """Has the two calls of a text encoder that are used here; a reading is a goal."""

    def __init__(self):
        self.goals = {"left": codes(1, seed=5), "right": codes(1, seed=6), "up": codes(1, seed=7)}

    def read(self, prompts):
        return torch.cat([self.goals[prompt] for prompt in prompts])

    def similarity(self, ws, reading):
        misfit = (ws[None] - reading[:, None]).square().sum(dim=3).mean(dim=2)
        return -misfit.sqrt()  # (texts, codes)


@pytest.mark.parametrize("patience", [0, 3])
def test_a_row_does_not_depend_on_its_neighbours(patience):
    """Bit for bit, with every term, and though rows stop at different steps."""
    prompts, start = ["left", "right", "up"], codes(3)
    start[1] = Encoder().goals["right"][0] + 1e-3
    chosen = options(pixel=0.5, perceptual=0.5, steps=40, lr=0.1, patience=patience)

    def edit(rows):
        return optimize(
            TinyGenerator(),
            start[rows],
            joint_space(Encoder(), [prompts[row] for row in rows]),
            options=chosen,
            perceptual=LOSSES["perceptual"](maps),
            whiten=whitening(),
        )

    together = edit([0, 1, 2])
    for row in range(3):
        assert torch.equal(edit([row])[0], together[row])
    assert torch.equal(edit([2, 0]), together[[2, 0]])
    assert not torch.equal(together[0], start[0])


def test_joint_space_pairs_rows_with_prompts():
    encoder = Encoder()
    similarity = joint_space(encoder, ["left", "up"])
    ws = torch.cat([encoder.goals["left"], encoder.goals["up"]])
    assert similarity(ws, None).tolist() == [0, 0]
    assert (similarity(ws.flip(0), None) < -0.5).all()
    with pytest.raises(ValueError, match="zip"):
        similarity(ws[:1], None)


def test_pictures_and_texts_are_compared_row_by_row():
    network, generator, start = Brightness(), TinyGenerator(), codes(2)
    similarity = image_text(network, ["bright", "dark"])
    found = optimize(generator, start, similarity, options=options(code=0.01, steps=50))
    before, after = (generator.preview(ws).mean(dim=(1, 2, 3)) for ws in (start, found))
    assert after[0] > before[0] + 0.1
    assert after[1] < before[1] - 0.1
    assert network.seen[:2] == [((1, 3, 16, 16), ["bright"]), ((1, 3, 16, 16), ["dark"])]


def test_patience_stops_rows_one_by_one():
    goal, start = codes(2, seed=1), codes(2)
    start[0] = goal[0]  # nothing to gain
    told, on_step = watch()
    chosen = options(steps=500, patience=4, tolerance=1e-4)
    found = optimize(Blind(), start, Pull(goal), options=chosen, on_step=on_step)
    assert torch.equal(found[0], goal[0])
    assert 40 < len(told) < 400
    told, on_step = watch()
    optimize(Blind(), goal[:1], Pull(goal[:1]), options=chosen, on_step=on_step)
    assert len(told) == 5  # the start and four steps without gain


def test_a_callback_stops_with_the_best_so_far():
    seen = []

    def on_step(step, losses, ws):
        seen.append((sum(losses.values()), ws))
        return step == 7

    start = codes(2)
    found = optimize(Blind(), start, Pull(codes(2, seed=1)), options=options(), on_step=on_step)
    assert len(seen) == 8
    totals = torch.stack([total for total, _ in seen])
    for row, step in enumerate(totals.argmin(dim=0).tolist()):
        assert torch.equal(found[row], seen[step][1][row])


def test_the_result_is_never_worse_than_the_start():
    start, goal = codes(2), codes(2) + 1e-3
    wild = options(lr=5.0, steps=3)
    assert optimize(Blind(), start, Pull(goal), options=wild).equal(start)


def test_no_steps_give_the_start():
    start = codes(1)
    found = optimize(Blind(), start, Pull(start + 1), options=options(steps=0))
    assert torch.equal(found, start)
    assert found.data_ptr() != start.data_ptr()


def test_nothing_to_weigh_gives_the_start():
    nothing = options(text=0.0, code=0.0)
    assert optimize(Blind(), codes(1), Pull(codes(1)), options=nothing).equal(codes(1))


def test_the_same_call_gives_the_same_bits():
    def edit():
        similarity = image_text(Brightness(), ["dark", "bright"])
        return optimize(TinyGenerator(), codes(2), similarity, options=options(steps=20))

    assert torch.equal(edit(), edit())


def test_it_works_on_codes_of_inference_mode():
    similarity = image_text(Brightness(), ["bright"])
    generator = TinyGenerator()
    usual = optimize(generator, codes(1), similarity, options=options(steps=9))
    with torch.inference_mode():
        found = optimize(generator, codes(1), similarity, options=options(steps=9))
    assert torch.equal(usual, found)
    assert not torch.equal(usual, codes(1))


# --- the picture is held -------------------------------------------------------------------------


def change(found, start):
    generator = TinyGenerator()
    return (generator.preview(found) - generator.preview(start)).square()


@pytest.mark.parametrize("term", ["pixel", "perceptual"])
def test_a_picture_term_holds_the_picture(term):
    start, goal = codes(1), codes(1, seed=1)
    free, held = (
        optimize(
            TinyGenerator(),
            start,
            Pull(goal),
            options=options(steps=200, code=0.0, **{term: weight}),
            perceptual=LOSSES["perceptual"](maps),
        )
        for weight in (0.0, 300.0)
    )
    assert change(held, start).mean() < 0.05 * change(free, start).mean()


def test_where_the_picture_is_free_no_term_holds_it():
    start, told = codes(1), []

    def edit(keep):
        return optimize(
            TinyGenerator(),
            start,
            Pull(codes(1, seed=1)),
            options=options(code=0.0, pixel=300.0, steps=200),
            keep=keep,
            on_step=lambda step, losses, ws: told.append(losses["pixel"].item()),
        )

    nowhere = edit(torch.zeros(1, 1, 4, 4))
    assert max(told) == 0
    torch.testing.assert_close(nowhere, codes(1, seed=1), atol=1e-2, rtol=0)
    left = torch.zeros(1, 1, 16, 16)
    left[..., :8] = 1
    moved = change(edit(left), start)
    assert moved[..., :8].mean() < 0.2 * moved[..., 8:].mean()


def test_no_picture_is_drawn_for_a_term_of_weight_zero():
    optimize(Blind(), codes(1), Pull(codes(1)), options=options(steps=1))
    with pytest.raises(AssertionError, match="drawn"):
        optimize(Blind(), codes(1), Pull(codes(1)), options=options(steps=1, pixel=0.1))


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": -0.1}, "lr: expected 0 or more, got -0.1"),
        ({"text": math.nan}, "text: expected 0 or more, got nan"),
        ({"steps": -1}, "steps: expected 0 or more, got -1"),
        ({"rise": 1.5}, "rise, fall: expected shares up to 1, got 1.5, 0.25"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(changes, says):
    with pytest.raises(UsageError) as caught:
        OptimizeOptions(**changes)
    assert str(caught.value) == says


def test_wrong_calls_are_one_line():
    with pytest.raises(UsageError, match="perceptual: expected a loss for this weight, got None"):
        optimize(Blind(), codes(1), Pull(codes(1)), options=options(perceptual=1.0))
    with pytest.raises(UsageError, match=r"slots: expected 0 to 15, got \(3, 16\)"):
        optimize(Blind(), codes(1), Pull(codes(1)), options=options(slots=(16, 3)))
    broken = codes(2)
    broken[1, 3] = math.nan
    with pytest.raises(TediError, match="step 0, row 1: the loss is nan; lower lr"):
        optimize(Blind(), broken, Pull(codes(2)), options=options())


def test_settings_say_what_they_are():
    source = "".join(inspect.getsource(kind) for kind in OptimizeOptions.__mro__[:-1])
    for field in dataclasses.fields(OptimizeOptions):
        line = next(x for x in source.splitlines() if x.strip().startswith(f"{field.name}:"))
        assert "#" in line, line


def test_the_rate_rises_and_falls():
    plan = OptimizeOptions(rise=0.1, fall=0.4)
    assert [ramp(t, plan) for t in (0, 0.05, 0.1, 0.6)] == pytest.approx([0, 0.5, 1, 1])
    assert [ramp(t, plan) for t in (0.8, 0.9, 1)] == pytest.approx([0.5, 0.146447, 0], abs=1e-6)
    assert ramp(0, OptimizeOptions(rise=0.0, fall=0.0)) == 1


# --- losses --------------------------------------------------------------------------------------


def maps(image):
    """Two levels, the second the average of patches; channels are made of the colours."""
    turned = torch.cat([image, image.roll(1, dims=1) + 1], dim=1)
    return [turned, nn.functional.avg_pool2d(turned, 4)]


@pytest.fixture
def lpips_package(monkeypatch):
    """Stands in for the package, which tests do not need."""

    class LPIPS(nn.Module):
        def __init__(self, *, net, verbose):
            super().__init__()
            assert (net, verbose) == ("alex", False)
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, a, b):
            return self.scale * (a - b).abs().mean(dim=(1, 2, 3), keepdim=True)

    package = SimpleNamespace(LPIPS=LPIPS)
    monkeypatch.setitem(sys.modules, "lpips", package)
    return package


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_loss_is_one_number_for_each_picture(name, lpips_package):
    loss = LOSSES[name]((lambda image: image.flatten(1)) if name == "identity" else maps)
    random = torch.Generator().manual_seed(0)
    image, target = torch.rand(2, 3, 3, 32, 32, generator=random).mul(2).sub(1).unbind()
    image.requires_grad_()
    found = loss(image, target)
    assert found.shape == (3,)
    assert (found > 0).all()
    assert loss(target, target).tolist() == [0, 0, 0]
    torch.testing.assert_close(loss(image[1:2], target[1:2]), found[1:2])
    (slope,) = torch.autograd.grad(found[1], image)
    assert slope[1].abs().sum() > 0
    assert not slope[[0, 2]].any()


def test_pixel_loss_of_black_and_white_is_four():
    white = torch.ones(1, 3, 8, 8)
    assert LOSSES["pixel"]()(white, -white).tolist() == [4]


def test_perceptual_loss_compares_directions_of_features():
    a, b = torch.zeros(2, 1, 2, 4, 4).unbind()
    a[:, 0], b[:, 1] = 3.0, 0.5
    loss = LOSSES["perceptual"](lambda image: [image, image[..., :1, :1]])
    assert loss(a, b).item() == pytest.approx(2)  # at right angles
    assert loss(a, 7 * a).item() == pytest.approx(0)
    assert loss(a, -a).item() == pytest.approx(4)


def test_perceptual_loss_asks_for_maps():
    with pytest.raises(UsageError, match="expected maps of features, got None"):
        LOSSES["perceptual"]()


def test_lpips_that_is_not_there_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(TediError, match=r"lpips: not installed \(.*\); pip install lpips, or"):
        LOSSES["lpips"]()


def test_lpips_without_its_backbone_says_what_to_do(lpips_package, monkeypatch):
    def fail(**settings):
        raise OSError("no route\nto host")

    monkeypatch.setattr(lpips_package, "LPIPS", fail)
    with pytest.raises(TediError, match=r"AlexNet cannot be loaded \(no route\); choose the loss"):
        LOSSES["lpips"]()


def test_lpips_comes_in_beside_a_torchvision_that_does_not_load(monkeypatch):
    """The first import fails as torchvision's does; what is half imported is begun again."""
    calls = []

    def declared():
        calls.append("declared")

    def imported():
        calls.append("imported")
        assert calls == ["imported"] or "torchvision.half" not in sys.modules
        if len(calls) == 1:
            raise RuntimeError("operator torchvision::nms does not exist")
        return "package"

    monkeypatch.setitem(sys.modules, "torchvision.half", SimpleNamespace())
    monkeypatch.setattr(lpips_door, "_declare_operators", declared)
    monkeypatch.setattr(lpips_door, "_import", imported)
    assert lpips_door.import_lpips() == "package"
    assert calls == ["imported", "declared", "imported"]


def test_other_errors_of_lpips_are_not_hidden(monkeypatch):
    def imported():
        raise RuntimeError("something else")

    monkeypatch.setattr(lpips_door, "_import", imported)
    with pytest.raises(RuntimeError, match="something else"):
        lpips_door.import_lpips()
