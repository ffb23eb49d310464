"""Evaluates edits: finds faces that they make sense for, edits them, judges both, and measures.

An edit's faces have seeds counted from a number that its words alone decide; of these the first
are taken that show, in the eyes of the judge, what the edit takes for granted and not yet what it
asks for. Were all edits tried on the same few faces, a quirk of one would pass for a finding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.grammar import ATTRIBUTES, ORDERED, Edit
from tedi.grammar.lexicon import Value
from tedi.metrics.accuracy import agreement, seen
from tedi.metrics.edits import alike, asked, kind_of, others, reached
from tedi.metrics.kept import rises
from tedi.metrics.prompts import Wish
from tedi.metrics.score import Edited, Score
from tedi.metrics.text import Draw, Job, Judge, Picture, Progress, Store, look_at, measure, seeds_of

COMMON = (
    *("gender", "age", "smile", "hair_color", "hair_length", "bangs", "glasses", "beard", "hat"),
)
"""Attributes that an edit of something else should leave alone."""
TRIES = 200
"""Seeds that are tried for an edit's faces, at most."""
LOOKED = 4
"""Faces judged at a time; the first ones, chosen by nothing, tell how far faces are apart."""
BRINGS: dict[tuple[str, Value], frozenset[str]] = {
    ("hair_length", "bald"): frozenset({"hair_color", "hair_texture", "bangs"}),
    ("hair_length", "hidden"): frozenset({"hair_color", "hair_texture", "bangs"}),
    ("gender", "female"): frozenset({"beard"}),
    ("age", "baby"): frozenset({"beard"}),
    ("age", "child"): frozenset({"beard"}),
}
"""A value asked for -> attributes that cannot but change with it."""

Change = Callable[[Tensor, str, float], Picture]
"""Code (L, C), text and strength -> the edited picture and its code."""


@dataclass(frozen=True)
class Faces:
    """The unedited faces of one edit, K of them.

    Attributes:
        wish: the edit.
        jobs: its words with the seed of each face.
        log_p: (K, V) log-probabilities of attributes.
        tried: how many seeds were looked at.
        cosine: of the judge's features, the mean over pairs of the first faces tried.
        distance: the same for perceptual distance, ().
        alike: (A,) the same for how much of each attribute is judged alike.
    """

    wish: Wish
    jobs: list[Job]
    log_p: Tensor
    tried: int
    cosine: Tensor
    distance: Tensor
    alike: Tensor


@dataclass(frozen=True)
class Found:
    """What an evaluation found.

    Attributes:
        faces: of each edit that was measured.
        samples: method -> strength -> judged pictures.
        scores: the same for scores.
        rises: method -> how often what is judged rises with the strength; none for one strength.
        left_out: method -> metric -> why it has no score, at any strength.
        codes: method -> strength -> code (L, C) of the first edited face of each edit.
    """

    faces: list[Faces]
    samples: dict[str, dict[float, Edited]] = field(default_factory=dict)
    scores: dict[str, dict[float, list[Score]]] = field(default_factory=dict)
    rises: dict[str, list[Score]] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    codes: dict[str, dict[float, list[Tensor]]] = field(default_factory=dict)


def fits(wish: Wish, log_p: Tensor) -> Tensor:
    """Whether an edit makes sense for faces that show `log_p` (N, V), (N,) bool.

    What it takes for granted must show, what it asks for not all show already, and what it asks
    more or less of must lie on the way of `ORDERED`, with room to go.
    """
    says = agreement(log_p, [wish.edit.says] * len(log_p)).all(dim=1)
    done = says if wish.edit.says and not wish.edit.moves else torch.zeros_like(says)
    room = [_has_room(wish.edit, face) for face in seen(log_p)]
    return agreement(log_p, [wish.start] * len(log_p)).all(dim=1) & ~done & torch.tensor(room)


def _has_room(edit: Edit, face: Mapping[str, Any]) -> bool:
    return all(face[name] in ORDERED[name][::step][:-1] for name, step in edit.moves.items())


def find(
    wish: Wish,
    count: int,
    *,
    draw_free: Draw,
    judge: Judge,
    store: Store,
) -> Faces:
    """The first faces, `count` or fewer, of `TRIES` that an edit makes sense for."""
    text = wish.edit.text
    jobs = [(text, seed) for seed in seeds_of(text, range(TRIES))]
    groups = [jobs[at : at + LOOKED] for at in range(0, TRIES, LOOKED)]
    looks, taken = [], []
    for look in look_at(
        groups, draw_free, judge.look, store, method=None, progress=lambda count: None
    ):
        looks.append(look)
        start = LOOKED * (len(looks) - 1)
        taken += [start + int(row) for row in fits(wish, look["log_p"]).nonzero()]
        if len(taken) >= count:
            break
    log_p, taken = torch.cat([look["log_p"] for look in looks]), taken[:count]
    left, right = zip(*combinations(range(LOOKED), 2), strict=True)
    features = F.normalize(looks[0]["features"], dim=1)
    return Faces(
        wish,
        [jobs[row] for row in taken],
        log_p[taken],
        tried=taken[-1] + 1 if len(taken) == count else TRIES,
        cosine=(features[list(left)] * features[list(right)]).sum(dim=1).mean(),
        distance=looks[0]["distance"],
        alike=alike(log_p[list(left)], log_p[list(right)]).mean(dim=0),
    )


def evaluate(
    faces: Sequence[Faces],
    *,
    strengths: Sequence[float],
    changes: Mapping[str, Change],
    draw_free: Draw,
    judge: Judge,
    store: Store,
    progress: Progress = lambda count: None,
) -> Found:
    """Edit, judge and measure faces by each method and at each strength.

    Args:
        faces: of each edit, from `find`; edits for which none was found are passed over.
        strengths: of the edits, each once.
        changes: method -> how it edits.
        draw_free: draws faces of seeds.
        judge: looks at the pictures.
        store: keeps what it saw.
        progress: told the number of edited pictures that were just done.

    Raises:
        UsageError: no face at all was found.
    """
    kept = [each for each in faces if each.jobs]
    if not kept:
        raise UsageError(f"edits: no face of {TRIES} fits any of them; raise --psi")
    groups = [each.jobs for each in kept]
    found = Found(kept)
    for method, change in changes.items():
        for strength in strengths:
            draw = pairs(draw_free, change, strength)
            here = Store(store.folder, {**store.setting, "strength": strength})
            look = look_at(groups, draw, judge.compare, here, method=method, progress=progress)
            looks = list(look)
            sample = gather(kept, looks, judge)
            scores, missing = measure(sample)
            found.samples.setdefault(method, {})[strength] = sample
            found.codes.setdefault(method, {})[strength] = [each["ws"][0] for each in looks]
            found.scores.setdefault(method, {})[strength] = scores
            found.left_out.setdefault(method, {}).update(missing)
        if len(strengths) > 1:
            found.rises[method] = rises(found.samples[method])
    return found


def pairs(
    draw_free: Draw, change: Change, strength: float
) -> Callable[[Sequence[Job]], Iterator[tuple[Picture, Picture]]]:
    """How the pictures of jobs are drawn, each before and after its edit."""

    def draw(jobs: Sequence[Job]) -> Iterator[tuple[Picture, Picture]]:
        for job, before in zip(jobs, draw_free(jobs), strict=True):
            yield before, change(before[1], job[0], strength)

    return draw


def gather(faces: Sequence[Faces], looks: Sequence[Mapping[str, Tensor]], judge: Judge) -> Edited:
    """The sample that metrics are given, of looks at the edited faces of each edit."""
    counts = torch.tensor([len(each.jobs) for each in faces])
    owners = torch.arange(len(faces)).repeat_interleave(counts)
    wishes = [faces[i].wish.edit for i in owners.tolist()]
    rare = frozenset(ATTRIBUTES).difference(COMMON)
    return Edited(
        wants=[wish.says for wish in wishes],
        moves=[wish.moves for wish in wishes],
        owners=owners,
        before=torch.cat([each.log_p for each in faces]),
        after=torch.cat([look["log_p"] for look in looks]),
        free=[rare | brought(wish) for wish in wishes],
        kinds=[kind_of(each.wish.edit) for each in faces],
        cosines=torch.cat([look["cosine"] for look in looks]),
        distances=torch.cat([look["distance"] for look in looks]),
        free_cosines=torch.stack([each.cosine for each in faces]),
        free_distances=torch.stack([each.distance for each in faces]),
        free_alike=torch.stack([each.alike for each in faces]),
        judge=judge.name,
        accuracy=judge.accuracy,
    )


def brought(edit: Edit) -> frozenset[str]:
    """Attributes that cannot but change with what an edit asks for."""
    found: frozenset[str] = frozenset()
    for attribute, values in edit.says.items():
        with_each = [BRINGS.get((attribute, value), frozenset()) for value in values]
        found |= frozenset.intersection(*with_each)
    return found


def judgments(method: str, strength: float, faces: Sequence[Faces], sample: Edited) -> list[Any]:
    """What was seen in each pair of pictures, a row of JSON each."""
    jobs = [job for each in faces for job in each.jobs]
    done = reached(sample, sample.after) & asked(sample)
    same = alike(sample.before, sample.after) == 1
    wished, left = asked(sample), others(sample)
    before, after = seen(sample.before), seen(sample.after)
    kept = ([] if x is None else x.tolist() for x in (sample.cosines, sample.distances))
    return [
        {
            "method": method,
            "strength": strength,
            "edit": text,
            "seed": seed,
            "kind": sample.kinds[int(sample.owners[row])],
            "reached": _named(wished[row], done[row]),
            "changed": [a for a, ok in _named(left[row], same[row]).items() if not ok],
            "cosine": cosine,
            "distance": distance,
            "before": before[row],
            "after": after[row],
        }
        for row, ((text, seed), cosine, distance) in enumerate(zip(jobs, *kept, strict=True))
    ]


def _named(chosen: Tensor, values: Tensor) -> dict[str, bool]:
    """Values (A,) by attribute, of the chosen ones (A,)."""
    return {
        name: bool(value)
        for name, value, is_chosen in zip(ATTRIBUTES, values, chosen, strict=True)
        if is_chosen
    }
