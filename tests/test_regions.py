"""Edits of a region, and the masks they are made along."""

import pytest
import torch

from tedi.editing.regions import blend_features, blend_pixels
from tedi.errors import UsageError
from tedi.masks import fit_mask, soften


def halves(height=16, width=16):
    """1 on the left, 0 on the right."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., : width // 2] = 1
    return mask


def two_pictures():
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 2, 3, 32, 32, generator=random).mul(2).sub(1).unbind()


def test_pixels_come_from_one_picture_or_the_other():
    before, after = two_pictures()
    joined = blend_pixels(before, after, halves(32, 32), feather=0)
    assert torch.equal(joined[..., :16], after[..., :16])
    assert torch.equal(joined[..., 16:], before[..., 16:])
    assert torch.equal(blend_pixels(before, after, torch.ones(1, 1, 4, 4)), after)
    assert torch.equal(blend_pixels(before, after, torch.zeros(2, 1, 4, 4)), before)


def test_a_feathered_edge_is_a_gaussian_step():
    white = torch.ones(1, 3, 64, 64)
    joined = blend_pixels(-white, white, halves(64, 64), feather=4.0)
    row = (joined[0, 0, 20] + 1) / 2
    where = torch.arange(64) + 0.5 - 32
    expected = 0.5 * (1 - torch.erf(where / (4 * 2**0.5)))
    torch.testing.assert_close(row, expected, atol=5e-3, rtol=0)
    assert (joined == joined[:, :, :1]).all()  # borders do not fade
    assert row[:20].sub(1).abs().max() < 1e-6
    assert (row[45:] == 0).all()


def test_each_picture_has_its_own_mask_or_one_serves_all():
    before, after = two_pictures()
    masks = torch.cat([halves(), 1 - halves()])
    own = blend_pixels(before, after, masks, feather=2.0)
    for row in range(2):
        one = slice(row, row + 1)
        torch.testing.assert_close(
            own[one], blend_pixels(before[one], after[one], masks[one], feather=2.0)
        )
    shared = blend_pixels(before, after, halves(), feather=2.0)
    torch.testing.assert_close(shared[0], own[0])
    assert not torch.equal(shared[1], own[1])


def test_masks_are_resized_within_their_range():
    onto = torch.zeros(2, 3, 8, 8)
    assert torch.equal(fit_mask(halves(8, 8), onto), halves(8, 8).expand(2, -1, -1, -1))
    assert torch.equal(fit_mask(halves(64, 64), onto)[0], halves(8, 8)[0])  # by area
    wide = fit_mask(halves(2, 2), onto)
    assert wide.amin() == 0
    assert wide.amax() == 1
    assert 0 < wide[0, 0, 0, 4] < 1
    assert torch.equal(soften(halves(), 0), halves())
    assert soften(torch.ones(1, 1, 5, 5), 3.0).sub(1).abs().max() < 1e-6


def test_what_does_not_fit_is_refused():
    before, after = two_pictures()
    with pytest.raises(UsageError, match=r"mask: expected \(1 or 2, 1, h, w\), got \(16, 16\)"):
        blend_pixels(before, after, torch.ones(16, 16))
    with pytest.raises(UsageError, match=r"mask: expected values in \[0, 1\], got 0 to 2"):
        blend_pixels(before, after, 2 * halves())
    with pytest.raises(UsageError, match="feather: expected 0 or more, got -1"):
        blend_pixels(before, after, halves(), feather=-1)
    with pytest.raises(UsageError, match="before, after: expected equal shapes"):
        blend_pixels(before, after[:1], halves())


def test_features_of_two_codes_are_joined(generator, ws):
    before, after = ws[:1], ws[1:]
    with torch.no_grad():
        drawn = generator.synthesis(after)
        whole = blend_features(generator, before, after, torch.ones(1, 1, 8, 8))
        joined = blend_features(generator, before, after, halves())
        outside = generator.synthesis_from(generator.features(before, 32), after)
    assert torch.equal(whole, drawn)
    middle = joined.shape[-1] // 2
    left, right = slice(0, middle - 200), slice(middle + 200, None)

    def wrong(one, other, where):
        return (one - other)[..., where].square().mean()

    assert wrong(joined, drawn, left) < 0.1 * wrong(outside, drawn, left)
    assert wrong(joined, outside, right) < 0.1 * wrong(drawn, outside, right)
    with pytest.raises(UsageError, match="features: expected a size among"):
        blend_features(generator, before, after, halves(), at=48)
