"""Whether pictures show what their prompts name, in the eyes of an attribute model."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tedi.attributes import GROUPS, SPANS, allowed_by
from tedi.errors import UsageError
from tedi.grammar import ATTRIBUTES
from tedi.grammar.lexicon import Says
from tedi.metrics.score import Drawn, Metric, Score, estimate, totals

COUNTS = {
    **{"1 named": (1, 1), "2 named": (2, 2), "3-4 named": (3, 4)},
    **{"5+ named": (5, len(ATTRIBUTES))},
}
"""Bins of how many attributes a prompt names."""


def attribute_of(group: str) -> str:
    """The attribute a group of columns belongs to: "background" of "background blue"."""
    return group if group in ATTRIBUTES else group.split(" ", 1)[0]


def choices(log_p: Tensor) -> Tensor:
    """Columns (N, G) of the most likely value of each group."""
    return torch.stack(
        [log_p[:, span].argmax(dim=1) + span.start for span in SPANS.values()], dim=1
    )


def agreement(log_p: Tensor, says: Sequence[Mapping[str, frozenset[str | bool]]]) -> Tensor:
    """Whether what is seen is what was said, (N, A) bool over `ATTRIBUTES`.

    An attribute is right if its most likely value is among those said; a background if each word
    said of it is likelier true than not. What is not said is right.
    """
    allowed = torch.stack([allowed_by(each) for each in says]) > 0
    right = allowed.gather(1, choices(log_p).to(allowed.device))  # (N, G)
    members = [[i for i, g in enumerate(GROUPS) if attribute_of(g) == a] for a in ATTRIBUTES]
    return torch.stack([right[:, groups].all(dim=1) for groups in members], dim=1)


def named(says: Sequence[Says]) -> Tensor:
    """Which attributes each text names, (T, A) bool over `ATTRIBUTES`."""
    return torch.tensor([[a in each for a in ATTRIBUTES] for each in says])


def seen(log_p: Tensor) -> list[dict[str, Any]]:
    """Each picture's most likely value of every attribute; of a background, a list of words."""
    told = []
    for row in choices(log_p).tolist():
        values = {
            g: GROUPS[g][column - SPANS[g].start] for g, column in zip(GROUPS, row, strict=True)
        }
        face: dict[str, Any] = {g: value for g, value in values.items() if g in ATTRIBUTES}
        words = [g.removeprefix("background ") for g, v in values.items() if g not in face and v]
        told.append({**face, "background": words})
    return told


class _Shares(Metric):
    """A share of what prompts name that is right."""

    compares: ClassVar[str] = "attributes judged on pictures, with those their prompts name"
    reference: ClassVar[str] = "what the prompts say"
    higher_is_better: ClassVar[bool] = True
    rate: ClassVar[bool] = True
    takes: ClassVar[type] = Drawn

    def _over(self, sample: Drawn, right: Tensor, asked: Tensor, part: str = "") -> Score:
        """Score of right (N,) out of asked (N,), numbers or bools."""
        T = len(sample.captions)
        counts = totals(asked, sample.owners, T)
        own = {"judge": sample.accuracy[part]} if part in sample.accuracy else {}
        return self.score(
            estimate(totals(right, sample.owners, T), counts, rate=True),
            n=int(asked.sum()),
            network=sample.judge,
            part=part,
            details={"prompts": int((counts > 0).sum()), **own},
        )


class AttributeAccuracy(_Shares):
    """Share of named attributes that the pictures show, over all and by attribute."""

    name: ClassVar[str] = "attribute accuracy"

    def __call__(self, sample: Drawn) -> list[Score]:
        """The mean over all named attributes, then one part an attribute that is named."""
        asked = asked_of(sample)
        right = agreement(sample.log_p.cpu(), said_of(sample)) & asked
        scores = [self._over(sample, right.sum(dim=1), asked.sum(dim=1))]
        for column, attribute in enumerate(ATTRIBUTES):
            if asked[:, column].any():
                part = self._over(sample, right[:, column], asked[:, column], attribute)
                scores.append(part)
        return scores


class AllNamedRight(_Shares):
    """Share of pictures that show everything their prompt names, and by how much it names."""

    name: ClassVar[str] = "all named right"

    def __call__(self, sample: Drawn) -> list[Score]:
        """All prompts that name something, then those that name 1, 2, 3-4, 5 or more."""
        count = asked_of(sample).sum(dim=1)
        right = agreement(sample.log_p.cpu(), said_of(sample)).all(dim=1)
        scores = []
        for part, (least, most) in {"": (1, len(ATTRIBUTES)), **COUNTS}.items():
            asked = (count >= least) & (count <= most)
            if asked.any():
                scores.append(self._over(sample, right & asked, asked, part))
        return scores


def said_of(sample: Drawn) -> list[Says]:
    """What the prompt of each picture says, N of them."""
    return [sample.captions[i].says for i in sample.owners.tolist()]


def asked_of(sample: Drawn) -> Tensor:
    """What each picture was asked to show, (N, A) bool.

    Raises:
        UsageError: no prompt is known to name anything.
    """
    asked = named([caption.says for caption in sample.captions])[sample.owners]
    if not asked.any():
        raise UsageError("says: expected prompts with what they say, got none; see --prompts")
    return asked
