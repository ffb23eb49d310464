"""What a clip is worked on with: networks as functions, given by those who load them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tedi.faces import Detected, Transform

Tune = Callable[[Tensor, Tensor, Path, Callable[[int, int], None]], None]
"""Pictures, codes, file, and what is told of steps done and in all."""


@dataclass(frozen=True)
class Networks:
    """What a clip is worked on with.

    Attributes:
        detect: pixels (H, W, 3) uint8 -> faces, largest first.
        describe: pictures (1, 3, 256, 256) of aligned faces -> descriptor (1, D).
        encode: the same -> codes (1, L, C).
        draw: codes (N, L, C) -> pictures (N, 3, h, h).
        edit: code (1, L, C) -> the edited code (1, L, C).
        fine: slots that a whole shot shares.
        device: where codes are drawn.
        tune: pictures (K, 3, 256, 256) of a person, their codes (K, L, C), a file and whom to tell
            of steps -> the file, which holds a generator that draws the person; None: there is no
            tuning.
        tuned: such a file -> networks that draw by it.
        place: how a face is turned and moved -> `draw` of such pictures, which show
            `Settings.field` more on every side; None: faces are drawn upright alone.
        head: pictures (N, 3, 256, 256) of aligned faces -> share (N, 1, h, w) of each pixel that
            is the person, not the ground; None: the ground may be drawn anew, too.
    """

    detect: Callable[[np.ndarray], list[Detected]]
    describe: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    draw: Callable[[Tensor], Tensor]
    edit: Callable[[Tensor], Tensor]
    fine: tuple[int, ...]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    tune: Tune | None = None
    tuned: Callable[[Path], Networks] | None = None
    place: Callable[[Transform], Callable[[Tensor], Tensor]] | None = None
    head: Callable[[Tensor], Tensor] | None = None
