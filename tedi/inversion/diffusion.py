"""Semantic diffusion: a region of one picture, grown into another.

In-domain inversion's application (Zhu et al. 2020, section 4.4): the target's region is pasted into
the context, the encoder reads a first code from the whole, and the code is optimised for the region
alone, without the domain term; the rest of the face follows it.
"""

from dataclasses import replace

import torch
from torch import Tensor

from tedi.descent import OnStep
from tedi.errors import UsageError
from tedi.inversion import Inversion
from tedi.inversion.likeness import check_target, fit
from tedi.inversion.optimize import InDomain
from tedi.masks import fit_mask


def diffuse(
    inverter: InDomain,
    target: Tensor,
    context: Tensor,
    mask: Tensor,
    on_step: OnStep | None = None,
) -> Inversion:
    """Codes (N, L, C) that show the target where the mask is 1, in faces near the context.

    The paper compares pictures and features multiplied by the mask; here, where the mask is 0, the
    target is put in the picture's place, so that no feature sees an edge that is in neither.

    Args:
        inverter: whose networks and settings are used; the domain term is left out.
        target: (N, 3, H, H) in [-1, 1].
        context: (N, 3, H, H), aligned with it.
        mask: (1 or N, 1, h, w), 1 for the region; the papers' is 110 of 256 px around the nose.
        on_step: see `tedi.descent.descend`.

    Raises:
        UsageError: other shapes or values.
    """
    check_target(target)
    check_target(context, "context")
    if target.shape != context.shape:
        shapes = f"{tuple(target.shape)} and {tuple(context.shape)}"
        raise UsageError(f"context: expected the target's shape, got {shapes}")
    region = InDomain(
        inverter.generator,
        inverter.encoder,
        maps=inverter.maps,
        describe=inverter.describe,
        options=replace(inverter.options, domain=0.0),
    )
    stitched = torch.lerp(context, target, fit_mask(mask, target))
    start = region.start(fit(stitched, region.size))
    return region(target, on_step, start=start, mask=mask)
