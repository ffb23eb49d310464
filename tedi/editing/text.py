"""Ways for a text to change codes: tedi's own, and those it is measured against.

A way is made of a generator and a text encoder and is then called with codes and texts. It serves
new faces (the codes are those of seeds) and edits (they are those of a face to be kept).
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from tedi import attributes
from tedi.checkpoints.layers import LayerTable
from tedi.control import (
    KEEP_EDIT,
    KEEP_NEW,
    TOGETHER_EDIT,
    TOGETHER_NEW,
    absolute,
    fulfil,
    mix,
)
from tedi.editing.optimize import OptimizeOptions, joint_space, optimize
from tedi.encoders.text import Reading, TextEncoder
from tedi.grammar import ORDERED
from tedi.interfaces import Generator
from tedi.semantics.layers import shipped_table, slots_for


class Way(Protocol):
    """How texts change codes."""

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        """Codes (N, L, C), new, that fit texts.

        Args:
            ws: a code for each text.
            prompts: the texts.
            said: what the text encoder reads in them.
            strength: 0 keeps `ws`, 1 shows what is asked, more exaggerates.
            new: whether `ws` are merely seeds, not faces to be kept.
        """


def named(said: Reading, row: int) -> list[str]:
    """Attribute groups that a text names."""
    agrees, wishes = said.plain().agrees[row], said.plain().moves[row]
    spoken = [g for g, span in attributes.SPANS.items() if agrees[span].min() < 0.5]
    return spoken + [g for g, wish in zip(ORDERED, wishes, strict=True) if wish != 0]


def mix_named(table: LayerTable, content: Tensor, style: Tensor, said: Reading) -> Tensor:
    """Codes (N, L, C), new: of the content, the slots that carry what each text names."""
    pairs = zip(content.split(1), style.split(1), strict=True)
    return torch.cat(
        [mix(c, s, slots_for(table, named(said, row))) for row, (c, s) in enumerate(pairs)]
    )


class Search:
    """The most likely move of a code that shows what is asked (`tedi.control.fulfil`)."""

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        keep, together = (KEEP_NEW, TOGETHER_NEW) if new else (KEEP_EDIT, TOGETHER_EDIT)
        return fulfil(self.encoder, ws, said, strength=strength, keep=keep, together=together)


class Linear:
    """The closed-form move: the nearest code, in Mahalanobis distance, with the wanted scores.

    Linear probes a_k read the named attributes off whitened codes; with A their rows and t the
    wanted scores, u' = u + Aᵀ(AAᵀ + εI)⁻¹(t − A u), the same in every slot.
    """

    RIDGE = 0.05

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        self.codes = encoder.codes

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        seen = attributes.log_softmax(self.codes(ws))
        agrees = absolute(said.plain(), seen)
        rows = [self._move(w, row) for w, row in zip(ws, agrees, strict=True)]
        return ws + strength * torch.stack(rows)

    def _move(self, ws: Tensor, agrees: Tensor) -> Tensor:
        wanted = list(self._wanted(agrees))
        if not wanted:
            return torch.zeros_like(ws)
        columns, targets = zip(*wanted, strict=True)
        A = self.codes.probes[list(columns)]
        u = (ws - self.codes.w_avg) @ self.codes.whiten.T  # (L, C)
        gram = A @ A.T + self.RIDGE * torch.eye(len(A)).to(A)
        missing = torch.stack(list(targets)) - u @ A.T
        return torch.linalg.solve(gram, missing.T).T @ A @ self.codes.color.T

    def _wanted(self, agrees: Tensor) -> Iterable[tuple[int, Tensor]]:
        """Columns and the scores they should get, for every attribute a text names."""
        for span in attributes.SPANS.values():
            fits = agrees[span] > 0.5
            for column in range(span.start, span.stop):
                if 2 * fits.sum() <= len(fits) and fits[column - span.start]:
                    yield column, self.codes.levels[column, 1]
                elif 2 * fits.sum() > len(fits) and not fits[column - span.start]:
                    yield column, self.codes.levels[column, 0]


class Mix:
    """TediGAN's layer mixing: the text's own code in the slots that carry what it names."""

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        self.encoder, self.table = encoder, shipped_table()

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        mean = self.encoder.codes.w_avg.expand_as(ws)
        content = fulfil(self.encoder, mean, said, keep=0.0)
        return ws + strength * (mix_named(self.table, content, ws, said) - ws)


class Optimize:
    """Instance-level optimisation in the joint space, begun at the code itself."""

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        self.generator, self.encoder = generator, encoder

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        found = optimize(
            self.generator,
            ws,
            joint_space(self.encoder, prompts),
            options=OptimizeOptions(),
            whiten=self.encoder.codes.whiten,
        )
        return ws + strength * (found - ws)
