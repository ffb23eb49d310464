"""Looks that are taught: codes nearer to photos, and the closed-form fit to the moves there."""

import numpy as np
import pytest
import torch
from test_editing import maps
from test_inversion import describe
from tiny import TinyGenerator
from torch import nn

from tedi.encoders import residual
from tedi.encoders.residual import ResidualEncoder
from tedi.encoders.visual import VisualEncoder
from tedi.errors import UsageError
from tedi.training.looks import LessonOptions, Lessons, fit, look_by_look, reduced
from tedi.training.pictures import from_bytes, to_bytes

WIDTH, COUNT = 8, 32


class Describe:
    """Descriptors of 128 numbers, by the colours of a picture's quarters."""

    same = 0.6

    def __call__(self, image):
        return describe(image).repeat(1, 11)[:, :128]


def draw(ws):
    return nn.functional.interpolate(TinyGenerator().synthesis(ws), (256, 256))


@pytest.fixture
def first(monkeypatch):
    """A visual encoder that gives nearly the mean, told who it is; few numbers are fitted."""
    monkeypatch.setattr(residual, "RANKS", (12, 2, 16))
    torch.manual_seed(3)
    encoder = VisualEncoder(slots=16, width=WIDTH).eval().requires_grad_(False)
    encoder.w_avg.copy_(TinyGenerator().w_avg)
    encoder.tint.mul_(0.5)
    encoder.describe = Describe()
    return encoder


@pytest.fixture
def photos():
    random = torch.Generator().manual_seed(5)
    ws = TinyGenerator().w_avg + 0.7 * torch.randn(COUNT, 16, WIDTH, generator=random)
    return to_bytes(draw(ws))


def lessons(first, photos, folder, *, count=24, **changes):
    options = LessonOptions(**{"half": False, "steps": 6, "lr": 0.3} | changes)
    return Lessons(first, draw, maps, Describe(), photos[:count], folder, options)


# --- codes ---------------------------------------------------------------------------------------


def test_steps_bring_every_photo_nearer(first, photos, tmp_path):
    taught = lessons(first, photos, tmp_path)
    target = from_bytes(photos[:3])
    ws = taught.approach(target)
    with torch.no_grad():
        before = (draw(first(target)) - target).square().mean(dim=(1, 2, 3))
        after = (draw(ws) - target).square().mean(dim=(1, 2, 3))
    assert (after < 0.5 * before).all()
    torch.testing.assert_close(taught.approach(target[1:2]), ws[1:2])  # each row goes its own way


def test_what_was_made_is_not_made_again(first, photos, tmp_path):
    there = lessons(first, photos, tmp_path).nearer()
    assert there.shape == (24, 16, WIDTH)
    kept = np.load(tmp_path / "nearer.npy")
    kept[8:16] = 0  # as a stopped run leaves rows
    np.save(tmp_path / "nearer.npy", kept)
    again, asked = lessons(first, photos, tmp_path), []
    approach = again.approach
    again.approach = lambda image: asked.append(len(image)) or approach(image)
    torch.testing.assert_close(again.nearer(), there, rtol=0, atol=2e-3)
    assert asked == [8]


# --- the fit -------------------------------------------------------------------------------------


def test_reduced_rank_ridge_regression_of_both_shapes():
    """As rows are more or fewer than columns; against the plain solution where the rank is full."""
    for rows in (20, 200):
        x, y = torch.randn(rows, 40, dtype=torch.float64), torch.randn(rows, 6, dtype=torch.float64)
        ridge = 0.3 * x.square().sum(dim=1).mean()
        plain = torch.linalg.solve(x.T @ x + ridge * torch.eye(40, dtype=x.dtype), x.T @ y)
        down, up = reduced(x, y, 0.3, 6)
        torch.testing.assert_close(down @ up, plain)
        down, up = reduced(x, y, 0.3, 2)
        assert (down.shape, up.shape) == ((40, 2), (2, 6))
        # No other matrix of rank 2 is nearer to what the plain solution says of these rows.
        best = torch.linalg.svdvals(x @ plain)[2:].square().sum()
        torch.testing.assert_close((x @ (plain - down @ up)).square().sum(), best)


def test_a_bilinear_map_is_found_again(first):
    """Moves that are linear in few differences, by a matrix that is linear in the face."""
    random = torch.Generator().manual_seed(1)
    looker = ResidualEncoder(first)
    n, (person, *others) = 400, looker.widths
    apart = torch.zeros(n, sum(looker.widths))
    apart[:, :3] = torch.randn(n, 3, generator=random)
    apart[:, person : person + 2] = torch.randn(n, 2, generator=random)
    apart[:, -sum(others[1:]) :: 97] = 1e-3 * torch.randn(1, generator=random)
    face = torch.zeros(n, looker.face_width)
    face[:, :2] = torch.randn(n, 2, generator=random) + 3
    met = looker.met(apart[:, [0, 1, 2, person, person + 1]], face[:, :2])
    moves = met @ torch.randn(15, 4, generator=random) @ torch.randn(4, 128, generator=random)
    ridges = {"difference": 1e-4, "meeting": 1e-4}
    told = fit(looker, apart, face, moves, LessonOptions(**ridges))
    assert told > 0.99
    assert fit(looker, apart, face, torch.randn(n, 128, generator=random), LessonOptions()) < 0.3


def test_it_learns_to_look(first, photos, tmp_path):
    """On photos that it has not seen every look is nearer than the one before."""
    looker = lessons(first, photos, tmp_path, difference=0.1, meeting=0.1).learn()
    told = look_by_look(looker, draw, maps, Describe(), from_bytes(photos[24:]), 2)
    assert told["photos"] == COUNT - 24
    errors = [told[f"mean squared error, look {look}"] for look in range(3)]
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] < errors[1]
    assert {p.name for p in tmp_path.iterdir()} == {
        "begun.npy",
        "nearer.npy",
        "photos.npy",
        "look-0.npy",
        "look-1.npy",
    }


def test_too_few_photos_for_the_numbers_that_are_fitted_are_refused(first, photos, tmp_path):
    with pytest.raises(UsageError, match="photos: expected 16 or more, got 8"):
        lessons(first, photos, tmp_path, count=8, looks=1)


@pytest.mark.parametrize("name", ["steps", "looks"])
def test_settings_that_teach_nothing_are_refused(name):
    with pytest.raises(UsageError, match=f"{name}: expected 1 or more, got 0"):
        LessonOptions(**{name: 0})


def test_a_new_count_does_not_take_the_rows_of_another(first, photos, tmp_path):
    lessons(first, photos, tmp_path).begun()
    with pytest.raises(UsageError, match=r"begun.npy: holds 24 rows of other settings"):
        lessons(first, photos, tmp_path, count=16).begun()
