"""Edits of a region, and the masks they are made along."""

import pytest
import torch

from tedi.editing.regions import draw_regions
from tedi.errors import UsageError
from tedi.masks import fit_mask, soften


def halves(height=16, width=16):
    """1 on the left, 0 on the right."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., : width // 2] = 1
    return mask


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
    onto = torch.zeros(2, 3, 8, 8)
    with pytest.raises(UsageError, match=r"mask: expected \(1 or 2, 1, h, w\), got \(16, 16\)"):
        fit_mask(torch.ones(16, 16), onto)
    with pytest.raises(UsageError, match=r"mask: expected values in \[0, 1\], got 0 to 2"):
        fit_mask(2 * halves(), onto)
    with pytest.raises(UsageError, match="feather: expected 0 or more, got -1"):
        soften(halves(), -1)


def test_a_feathered_edge_is_a_gaussian_step():
    row = soften(halves(64, 64), 4.0)[0, 0, 20]
    where = torch.arange(64) + 0.5 - 32
    torch.testing.assert_close(row, 0.5 * (1 - torch.erf(where / (4 * 2**0.5))), atol=5e-3, rtol=0)
    assert row[:20].sub(1).abs().max() < 1e-6
    assert (row[45:] == 0).all()


def test_each_code_shows_where_its_mask_is(generator, ws):
    below, top = ws[:1], ws[1:]
    everywhere, nowhere = torch.ones(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    with torch.no_grad():
        one, other = generator.synthesis(below), generator.synthesis(top)
        assert torch.allclose(draw_regions(generator, below, [(top, everywhere)]), other, atol=1e-5)
        assert torch.allclose(draw_regions(generator, below, [(top, nowhere)]), one, atol=1e-5)
        left = draw_regions(generator, below, [(top, halves())])
        both = [(top, halves()), (below, 1 - halves())]
        covered = draw_regions(generator, top, both)
    middle = left.shape[-1] // 2

    def wrong(image, whole, where):
        return (image - whole)[..., where].square().mean()

    inside, outside = slice(0, middle - 200), slice(middle + 200, None)
    for image in (left, covered):
        assert wrong(image, other, inside) < 0.1 * wrong(image, one, inside)
        assert wrong(image, one, outside) < 0.1 * wrong(image, other, outside)
    with torch.no_grad(), pytest.raises(UsageError, match="features: expected a size among"):
        draw_regions(generator, below, [(top, halves())], at=48)
