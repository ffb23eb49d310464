"""Blinks: when eyes are closed, by their edges, and what comes of it."""

import numpy as np
import pytest
import torch

from tedi.video.blink import SIDE, Blinks, energy, lids, visible
from tedi.video.compose import keep
from tedi.video.smooth import NONE, shares


def eyed(*, left=1.0, right=1.0, across=0):
    """An aligned face whose openings are striped, the stripes moved across, by so much contrast."""
    image = torch.zeros(1, 3, SIDE, SIDE)
    stripes = 0.4 * torch.sin((torch.arange(SIDE) + across) * 0.6)
    image[..., 111:131, 70:128] = left * stripes[70:128]
    image[..., 111:131, 128:186] = right * stripes[128:186]
    return image


def blinking(shown, *, runs=None, rate=25.0):
    """Blinks of a clip whose eyes have so much energy."""
    return Blinks(
        lambda number: torch.tensor([shown[number]] * 2),
        np.zeros(len(shown), int) if runs is None else np.array(runs),
        rate,
    )


def test_a_lid_takes_the_edges_across_an_eye_and_a_glance_does_not():
    opened, glance = energy(eyed()), energy(eyed(across=4))
    assert glance == pytest.approx(opened, rel=0.1)
    one, other = energy(eyed(left=0.3)) / opened
    assert one == pytest.approx(0.09, abs=0.01)
    assert other == pytest.approx(1.0)
    lash = torch.zeros(1, 3, SIDE, SIDE)
    lash[..., 124:127, :] = -0.8  # a line along the lid
    assert energy(lash).max() < 1e-9


def test_a_blink_is_what_is_unusual_for_a_second():
    shown = [0.04] * 20
    shown[8:12] = [0.028, 0.008, 0.008, 0.028]
    closed = torch.stack([blinking(shown).closed(n) for n in range(20)])[:, 0]
    assert closed[9:11].tolist() == [1, 1]
    assert closed[[8, 11]].tolist() == pytest.approx([1 / 3, 1 / 3], abs=1e-5)
    assert closed[:8].max() == closed[12:].max() == 0
    asleep = blinking([0.04] * 30 + [0.008] * 60, runs=[0] * 30 + [1] * 60)
    assert (
        max(float(asleep.closed(n).max()) for n in range(90)) == 0
    )  # after a cut: as that face is
    assert blinking([0.0] * 9).closed(4).tolist() == [0, 0]  # nothing that an eye could be


def test_an_eye_that_hair_hides_closes_with_the_other():
    eyes = torch.tensor([[0.04, 0.04]] * 9)
    eyes[4] = torch.tensor([0.004, 0.032])
    closed = Blinks(lambda number: eyes[number], np.zeros(9, int), 25.0).closed(4)
    assert closed.tolist() == pytest.approx([1, 1])


def test_closed_eyes_give_no_codes():
    shown = [0.04] * 15
    assert blinking(shown).shares(7, 2) == pytest.approx(shares(np.zeros(15, int), 7))
    shown[6:9] = [0.008] * 3
    given = blinking(shown).shares(7, 2)
    assert given == pytest.approx({4: 0.114, 5: 0.386, 9: 0.386, 10: 0.114}, abs=2e-3)
    shown[4:11] = [0.008] * 7  # longer than smoothing reaches
    far = blinking(shown).shares(7, 2)
    assert sum(far.values()) == pytest.approx(1)
    assert set(far) <= {0, 1, 2, 3, 11, 12, 13, 14}
    assert sum(number * share for number, share in far.items()) == pytest.approx(7)
    alone = blinking([0.04, 0.008, 0.04, 0.04], runs=[0, 1, 2, NONE])
    assert alone.shares(1, 2) == {1: 1.0}


def test_dark_glasses_hide_lids():
    opened = energy(eyed())
    assert visible(opened, energy(eyed(left=0.6, right=0.2))).tolist() == [1, 0]
    assert visible(torch.zeros(2), torch.zeros(2)).tolist() == [0, 0]


def test_lids_lie_over_the_openings():
    mask = lids(torch.tensor([1.0, 0.5]))[0, 0]
    assert mask[121, 96] == pytest.approx(1, abs=1e-3)
    assert mask[121, 160] == pytest.approx(0.5, abs=1e-3)
    assert mask[[108, 134]].max() < 0.01  # above and below: brows and glasses are the drawing's
    assert mask[:, 128].max() == 0


def test_where_eyes_are_closed_the_photo_is_shown_in_the_tone_of_the_change():
    photo, before = eyed(left=0.1, right=0.1), eyed()
    after = before.clone()
    after[..., 16:240] = -0.5 * before[..., 16:240] + 0.3  # much changes, and all is lighter
    mask = lids(torch.ones(2))
    plain, kept = keep(photo, before, after), keep(photo, before, after, lids=mask)
    opening = (..., slice(117, 126), slice(88, 105))
    assert (plain[opening] - after[opening]).abs().max() < 0.01
    assert (kept[opening] - photo[opening] - 0.3).abs().max() < 0.05
    assert torch.equal(kept[..., :100, :], plain[..., :100, :])
    assert torch.equal(keep(photo, before, after, share=0, lids=mask), after)
