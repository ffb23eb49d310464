"""The control mechanism: what a modality gives as content, and a seed as style.

TediGAN (Xia et al. 2021, section 3.4) takes some layers from a content code and the rest from a
style code. Text here does the same concept by concept (`tedi.encoders.text`, equation 2): what it
names is set, everything else is the seed's.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tedi.encoders.text import Measurement, TextEncoder
from tedi.interfaces import Generator


def noise(seeds: Sequence[int], width: int) -> Tensor:
    """Noise z (N, width), float32 on the CPU; each row depends on its own seed alone."""
    rows = [torch.randn(width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def style_codes(generator: Generator, seeds: Sequence[int], *, psi: float) -> Tensor:
    """Codes ws (N, L, C) of seeds, truncated.

    Args:
        generator: whose mapping and mean of W are used.
        seeds: one for each code.
        psi: 0 gives the mean face, 1 the generator's full variety (Karras et al. 2019, eq. 3).
    """
    w_avg = generator.w_avg
    w = generator.mapping(noise(seeds, generator.width).to(w_avg))
    return (w_avg + psi * (w - w_avg))[:, None].repeat(1, generator.slots, 1)


def speak(encoder: TextEncoder, ws: Tensor, said: Measurement, *, strength: float) -> Tensor:
    """Codes (N, L, C), new: the style codes `ws` made to fit what texts say.

    Args:
        encoder: that read the texts.
        ws: one style code for each text.
        said: what the texts say.
        strength: 0 keeps the style code, 1 is the faces a text was learned on, more is clearer.
    """
    return encoder.fit(ws, said.sharpened(strength))
