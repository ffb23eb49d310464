"""Whether an edit changed what it was asked to, and nothing else."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from tedi.attributes import COLUMNS, GROUPS, SPANS
from tedi.grammar import ATTRIBUTES, ORDERED, Edit
from tedi.grammar.lexicon import Value
from tedi.metrics.accuracy import agreement, attribute_of, choices, named
from tedi.metrics.score import Edited, Metric, Score, estimate, totals

KINDS = ("absolute", "relative", "removal", "compound")
HALF = 0.5
"""Steps of an ordered attribute that "more" or "less" must move a face by."""
SURE = 1e-4
"""No probability counts as nearer to 0 or 1 than this: judges are not surer."""
ABSENT = frozenset({False, "none"})


class _Shares(Metric):
    """A share of what is judged after edits."""

    higher_is_better: ClassVar[bool] = True
    rate: ClassVar[bool] = True
    takes: ClassVar[type] = Edited
    judged: ClassVar[bool] = False
    """Whether how often the judge itself is right belongs beside it."""

    def _over(
        self, sample: Edited, good: Tensor, counted: Tensor, part: str = "", **details: Any
    ) -> Score:
        """Score of good (N,) out of counted (N,), numbers or bools."""
        T = edits(sample)
        counts = totals(counted, sample.owners, T)
        return self.score(
            estimate(totals(good, sample.owners, T), counts, rate=True),
            n=int(counted.sum()),
            network=sample.judge,
            part=part,
            details={"edits": int((counts > 0).sum()), **details},
        )

    def _parts(self, sample: Edited, good: Tensor, counted: Tensor) -> list[Score]:
        """A score of good (N, A) out of counted (N, A) for each attribute that counts."""
        scores = []
        for attribute, right, of in zip(ATTRIBUTES, good.T, counted.T, strict=True):
            if of.any():
                own = sample.accuracy.get(attribute) if self.judged else None
                details = {} if own is None else {"judge": own}
                scores.append(self._over(sample, right, of, attribute, **details))
        return scores


class TargetReached(_Shares):
    """Share of edited pictures that show everything the edit asks for, and by kind of edit."""

    name: ClassVar[str] = "target reached"
    compares: ClassVar[str] = "attributes judged after an edit, with those it asks for"
    reference: ClassVar[str] = "what the edits ask for"

    def __call__(self, sample: Edited) -> list[Score]:
        """All, then each kind; "before" in the details is the share that showed it unedited."""
        done = reached(sample, sample.after).all(dim=1)
        before = reached(sample, sample.before).all(dim=1)
        share = float(before.double().mean())
        scores = [self._over(sample, done, torch.ones(len(done)), before=share)]
        return scores + [self._over(sample, done & of, of, kind) for kind, of in by_kind(sample)]


class WishesReached(_Shares):
    """Share of the attributes asked for that are reached, over all and by attribute."""

    judged: ClassVar[bool] = True
    name: ClassVar[str] = "wishes reached"
    compares: ClassVar[str] = "attributes judged after an edit, with those it asks for"
    reference: ClassVar[str] = "what the edits ask for"

    def __call__(self, sample: Edited) -> list[Score]:
        """The mean over all attributes asked for, then one part an attribute."""
        wished = asked(sample)
        done = reached(sample, sample.after) & wished
        whole = self._over(sample, done.sum(dim=1), wished.sum(dim=1))
        return [whole, *self._parts(sample, done, wished)]


class OthersUnchanged(_Shares):
    """Share of attributes an edit does not name that are judged the same before and after.

    Of a background, which is many words, the share of its words is counted as one attribute.
    """

    name: ClassVar[str] = "others unchanged"
    compares: ClassVar[str] = "attributes an edit does not name, before and after it"
    reference: ClassVar[str] = "the pictures before the edit"

    def __call__(self, sample: Edited) -> list[Score]:
        """The mean over all attributes and pictures, then by kind of edit and by attribute."""
        counted = others(sample)
        same = alike(sample.before, sample.after) * counted
        good, count = same.sum(dim=1), counted.sum(dim=1)
        scores = [self._over(sample, good, count, **self._floor(sample, counted))]
        for kind, of in by_kind(sample):
            if (count * of).any():
                scores.append(self._over(sample, good * of, count * of, kind))
        return scores + self._parts(sample, same, counted)

    def _floor(self, sample: Edited, counted: Tensor) -> dict[str, Any]:
        """The same share between different faces."""
        if sample.free_alike is None:
            return {}
        floor = float((sample.free_alike[sample.owners] * counted).sum() / counted.sum())
        return {"other faces": floor, "note": f"{100 * floor:.1f} % between different faces"}


class NothingElse(_Shares):
    """Share of edited pictures on which nothing that the edit does not name is judged changed."""

    name: ClassVar[str] = "nothing else changed"
    compares: ClassVar[str] = "attributes an edit does not name, before and after it"
    reference: ClassVar[str] = "the pictures before the edit"

    def __call__(self, sample: Edited) -> list[Score]:
        """All, then each kind."""
        kept = (choices(sample.before.cpu()) == choices(sample.after.cpu()))[:, None]  # (N, 1, G)
        good = (kept | ~(_members() & others(sample)[..., None])).all(dim=2).all(dim=1)
        scores = [self._over(sample, good, torch.ones(len(good)))]
        return scores + [self._over(sample, good & of, of, kind) for kind, of in by_kind(sample)]


def edits(sample: Edited) -> int:
    """How many edits there are."""
    return int(sample.owners.max()) + 1


def kind_of(wish: Edit) -> str:
    """One of `KINDS`: several things at once, more or less of one, none of it, or else a value."""
    if len(wish.says) + len(wish.moves) > 1:
        return "compound"
    if wish.moves:
        return "relative"
    return "removal" if all(values <= ABSENT for values in wish.says.values()) else "absolute"


def by_kind(sample: Edited) -> Iterator[tuple[str, Tensor]]:
    """Each kind there is, with the pictures (N,) bool whose edit is of it."""
    for kind in KINDS if sample.kinds else ():
        of = torch.tensor([each == kind for each in sample.kinds])[sample.owners]
        if of.any():
            yield kind, of


def moves_of(sample: Edited) -> Sequence[Any]:
    """What is asked more or less of, for each picture."""
    return sample.moves or [{}] * len(sample.wants)


def asked(sample: Edited) -> Tensor:
    """Attributes that each picture's edit names, (N, A) bool."""
    return named(sample.wants) | named(moves_of(sample))


def reached(sample: Edited, log_p: Tensor) -> Tensor:
    """Whether pictures (N, V) show what is asked, (N, A) bool; what is not asked is right.

    A value is shown if it is the most likely one; "more" or "less" if the mean of the ordered
    values has moved by `HALF` a step or more from that before the edit.
    """
    return agreement(log_p.cpu(), sample.wants) & ~(steps(sample, log_p) < HALF)


def steps(sample: Edited, log_p: Tensor) -> Tensor:
    """Steps of `ORDERED` moved the way that is asked, (N, A); nan where none is."""
    columns = [
        means(log_p, a) - means(sample.before, a)
        if a in ORDERED
        else torch.zeros(len(log_p), dtype=torch.double)
        for a in ATTRIBUTES
    ]
    signs = [[m.get(a, torch.nan) for a in ATTRIBUTES] for m in moves_of(sample)]
    return torch.stack(columns, dim=1) * torch.tensor(signs, dtype=torch.double)


def means(log_p: Tensor, attribute: str) -> Tensor:
    """Mean place (N,) of pictures (N, V) on the way of an ordered attribute, in steps from 0.

    Values that lie off the way (red hair) are left out of account.
    """
    columns = [COLUMNS.index((attribute, value)) for value in ORDERED[attribute]]
    p = log_p[:, columns].cpu().double().softmax(dim=1)
    return p @ torch.arange(len(columns), dtype=torch.double)


def log_odds(sample: Edited, log_p: Tensor) -> Tensor:
    """Log-odds of the values asked for on pictures (N, V), (N, A); nan where none are.

    Of a background the mean over the words asked for.
    """
    found = torch.full((len(log_p), len(ATTRIBUTES)), torch.nan, dtype=torch.double)
    for row, wants in enumerate(sample.wants):
        p = log_p[row].cpu().double().exp()
        for attribute, values in wants.items():
            found[row, list(ATTRIBUTES).index(attribute)] = _log_odds(p, attribute, values)
    return found


def _log_odds(p: Tensor, attribute: str, values: frozenset[Value]) -> Tensor:
    if attribute == "background":
        columns = [
            [COLUMNS.index((f"background {word}", True))] for word in sorted(map(str, values))
        ]
    else:
        columns = [[SPANS[attribute].start + GROUPS[attribute].index(v) for v in values]]
    return torch.stack([p[each].sum().logit(eps=SURE) for each in columns]).mean()


def alike(before: Tensor, after: Tensor) -> Tensor:
    """How much of each attribute is judged alike on pictures (N, V) and (N, V), (N, A) 0 to 1."""
    same = (choices(before.cpu()) == choices(after.cpu())).double()  # (N, G)
    members = _members().double()
    return same @ members.T / members.sum(dim=1)


def _members() -> Tensor:
    """Which groups belong to which attribute, (A, G) bool."""
    return torch.tensor([[attribute_of(g) == a for g in GROUPS] for a in ATTRIBUTES])


def others(sample: Edited) -> Tensor:
    """Attributes that each picture's edit should leave alone, (N, A) bool."""
    free = sample.free or [frozenset()] * len(sample.wants)
    may = torch.tensor([[a in each for a in ATTRIBUTES] for each in free])
    return ~(asked(sample) | may)
