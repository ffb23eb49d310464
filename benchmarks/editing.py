"""Ways to edit on the same faces: what they reach, what else they change, whether it is the person.

    python benchmarks/editing.py --out benchmarks/editing.json
    python benchmarks/editing.py --mapper "a beard=beard.safetensors"

The edits are those of editing.jsonl, each on the first 24 faces it makes sense for. S channels are
StyleSpace's (Wu et al. 2021): of tedifaces' labels, the 20 channels that tell an attribute best,
moved as far as the global directions' rule says. Work that was stopped goes on.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tedi import attributes, control, load, zoo
from tedi.cli.evaluate import load_judge
from tedi.control import absolute
from tedi.editing.channels import Global
from tedi.editing.mapper import Mapped
from tedi.grammar import ATTRIBUTES
from tedi.images import contact_sheet
from tedi.metrics.before_after import TRIES, Faces, fits, gather
from tedi.metrics.prompts import Wish, read_edits
from tedi.metrics.score import Score, estimate, totals
from tedi.metrics.text import Judge, Store, jsonable, measure, seeds_of
from tedi.pipeline import Toolkit
from tedi.semantics.contrasts import sides
from tedi.semantics.directions import channel_direction
from tedi.training.dataset import PSI as LABELLED_PSI
from tedi.training.dataset import load_tedifaces, noise

HERE = Path(__file__).parent
PSI, FACES, CHANNELS = 0.7, 24, 20
SAME = 0.6  # distance of descriptors below which faces are one person's
RUNS = (
    *(("linear", 1.0), ("move", 1.0), ("optimize", 1.0), ("global", 1.0), ("global", 1.5)),
    *(("channels", 1.0), ("channels", 1.5), ("channels", 2.0), ("mapper", 1.0), ("mapper", 0.7)),
)
"""Methods with the strengths they are measured at."""
SHEET = (
    *(("linear", 1.0), ("move", 1.0), ("optimize", 1.0), ("channels", 1.5), ("global", 1.0)),
    ("mapper", 1.0),
)
FACE = 5  # which of the faces of an edit the sheet shows, chosen before they were seen
CONTRASTS = {
    **{"a broad smile": "smile", "blond hair": "blond-hair", "curly hair": "curly-hair"},
    **{"long hair": "long-hair", "bangs": "bangs", "a beard": "beard", "eyeglasses": "glasses"},
    "an old person": "old",
}
SHOWN = ("target reached", "others unchanged", "nothing else changed", "identity kept (proxy)")
Move = Callable[[Tensor, str, float], Tensor]
"""Code (1, L, C), text and strength -> the edited code."""


class Labelled:
    """S channels that tell an attribute, from labels; their length is that of `Global`."""

    def __init__(self, model: Toolkit) -> None:
        self.model, self.rule = model, Global(model.generator, model.text)
        self.faces = list(load_tedifaces(HERE.parent / "data" / "tedifaces"))
        w = model.generator.mapping(noise([face["index"] for face in self.faces]))
        w = model.generator.w_avg + LABELLED_PSI * (w - model.generator.w_avg)
        self.styles = model.generator.styles(w[:, None].expand(-1, model.generator.slots, -1))
        self.known: dict[str, Tensor] = {}

    def channels(self, text: str) -> Tensor:
        """The channels (S,) in units of their spread, the most moved one 1."""
        if text not in self.known:
            wanted, used = sides(self.faces, CONTRASTS[text])
            kept = {layer: style[used] for layer, style in self.styles.items()}
            found = channel_direction(kept, wanted[used], name=text, count=CHANNELS).vector
            found = found / self.rule.moves.std
            self.known[text] = found / found.abs().max()
        return self.known[text]

    def __call__(self, ws: Tensor, text: str, strength: float) -> Tensor:
        move = self.channels(text)
        seen = attributes.log_softmax(self.model.text.codes(ws))
        agrees = absolute(self.model.text.read([text]).plain(), seen)[0]
        alpha = self.rule.length(move, seen[0], agrees)
        return ws + strength * alpha * self.rule.moves(move)


def moves_of(model: Toolkit, mappers: dict[str, Path]) -> dict[str, Move]:
    """How each method edits."""

    def way(method: str) -> Move:
        def move(ws: Tensor, text: str, strength: float) -> Tensor:
            said = model.text.read([text])
            return model.way(method)(ws, [text], said, strength=strength, new=False)

        return move

    found: dict[str, Move] = {m: way(m) for m in ("linear", "move", "optimize", "global")}
    found["channels"] = Labelled(model)
    ways = {text: Mapped(path, model.generator) for text, path in mappers.items()}
    if ways:
        found["mapper"] = lambda ws, text, strength: ways[text](ws, strength=strength)
    return found


class Look:
    """What is seen in a picture, in one pass of the judge, and who it is."""

    def __init__(self, model: Toolkit, judge: Judge) -> None:
        self.generator, self.judge, self.identity = (
            model.generator,
            judge.network,
            model.photos.identity,
        )

    def __call__(self, ws: Tensor) -> dict[str, Tensor]:
        """log_p (V,), features (F,) and descriptor (D,) of a code (1, L, C)."""
        image = self.generator.preview(ws).clamp(-1, 1)
        features = self.judge.features(image)
        log_p = attributes.log_softmax(self.judge.head(features))
        return {"log_p": log_p[0], "features": features[0], "who": self.identity(image)[0]}


def find(wish: Wish, model: Toolkit, look: Look, store: Store) -> tuple[Faces, dict[str, Tensor]]:
    """The first FACES of TRIES seeds, decided by its words, that an edit makes sense for."""
    text = wish.edit.text
    jobs = [(text, seed) for seed in seeds_of(text, range(TRIES))]
    path = store.path("before", jobs)
    rows = store.load(path)
    if rows is None:
        taken, found = [], []
        for number, (_, seed) in enumerate(jobs):
            found.append(look(control.style_codes(model.generator, [seed], psi=PSI)))
            if fits(wish, found[-1]["log_p"][None]).item():
                taken.append(number)
            if len(taken) == FACES:
                break
        rows = {name: torch.stack([each[name] for each in found]) for name in found[0]}
        rows["taken"] = torch.tensor(taken)
        store.save(path, rows)
    chosen = rows.pop("taken")
    first = F.normalize(rows["features"][:8], dim=1)
    others = (first @ first.T)[~torch.eye(len(first), dtype=torch.bool)].mean()
    faces = Faces(
        wish,
        [jobs[row] for row in chosen.tolist()],
        rows["log_p"][chosen],
        tried=len(rows["log_p"]),
        cosine=others,
        distance=torch.tensor(torch.nan),  # perceptual distances are not measured here
        alike=torch.ones(len(ATTRIBUTES)),
    )
    return faces, {name: each[chosen] for name, each in rows.items()}


def compared(work: Path, mappers: dict[str, Path]) -> dict[str, Any]:
    """The scores of all runs: over all edits, over those that there are mappers of, and by edit."""
    model, judge = load(device="cpu"), load_judge("cpu")
    made = {"weights": model.weights, "psi": PSI, "judge": judge.name}
    store, look = Store(work, made), Look(model, judge)
    pairs = [find(wish, model, look, store) for wish in read_edits(HERE / "editing.jsonl")]
    rows = list(edited(model, pairs, mappers, look, store))
    texts = [faces.wish.edit.text for faces, _ in pairs]

    def told(chosen: set[str]) -> dict[str, Any]:
        runs = {(m, s): [r for r in rows if r.run == (m, s) and r.text in chosen] for m, s in RUNS}
        whole = {run: part for run, part in runs.items() if len(part) == len(chosen) > 0}
        return {f"{m} {s:g}": scores(part, judge) for (m, s), part in whole.items()}

    return {
        **made,
        "faces": {faces.wish.edit.text: len(faces.jobs) for faces, _ in pairs},
        "scores": [*SHOWN, "same person"],
        "interval": "95 %, bootstrap over edits",
        "all": told(set(texts)),
        "mapper": told(set(mappers)),
        "by edit": {text: told({text}) for text in texts},
    }


class Row(NamedTuple):
    """What is seen of the faces of an edit, before and after it was made in one way."""

    run: tuple[str, float]
    text: str
    faces: Faces
    before: dict[str, Tensor]
    after: dict[str, Tensor]


def edited(
    model: Toolkit,
    pairs: Sequence[tuple[Faces, dict[str, Tensor]]],
    mappers: dict[str, Path],
    look: Look,
    store: Store,
) -> Iterator[Row]:
    """Every edit by every run; a mapper makes its own text only."""
    moves = moves_of(model, mappers)
    for (method, strength), (faces, before) in itertools.product(RUNS, pairs):
        text = faces.wish.edit.text
        if method == "mapper" and text not in mappers:
            continue
        whose = zoo.sha256(mappers[text]) if method == "mapper" else ""
        path = store.path(f"{method} {strength} {whose}", faces.jobs)
        after = store.load(path)
        if after is None:
            seeds = [seed for _, seed in faces.jobs]
            codes = control.style_codes(model.generator, seeds, psi=PSI).split(1)
            looks = [look(moves[method](ws, text, strength)) for ws in codes]
            after = {name: torch.stack([each[name] for each in looks]) for name in looks[0]}
            store.save(path, after)
            print(method, strength, text, file=sys.stderr, flush=True)
        yield Row((method, strength), text, faces, before, after)


def scores(rows: Sequence[Row], judge: Judge) -> list[Any]:
    """The scores of one run on some edits, as JSON holds them."""
    looks = [
        {
            "log_p": row.after["log_p"],
            "cosine": F.cosine_similarity(row.before["features"], row.after["features"]),
            "distance": torch.full((len(row.after["log_p"]),), torch.nan),  # not measured here
        }
        for row in rows
    ]
    sample = gather([row.faces for row in rows], looks, judge)
    sample = replace(sample, before=torch.cat([row.before["log_p"] for row in rows]))
    found = [score for score in measure(sample)[0] if score.name in SHOWN]
    apart = torch.cat([(row.before["who"] - row.after["who"]).norm(dim=1) for row in rows])
    same, each = (
        totals(x, sample.owners, len(rows)) for x in (apart < SAME, torch.ones(len(apart)))
    )
    person = estimate(same, each, rate=True)
    found.append(Score("same person", *person, len(apart), "before", "face-api", True, True))
    return [
        {k: v for k, v in jsonable(score).items() if k in ("name", "value", "low", "high", "n")}
        for score in found
    ]


def sheet(work: Path, mappers: dict[str, Path]) -> Image.Image:
    """A face of each edit, before it and by some runs; without a mapper's text, no such picture."""
    model, judge = load(device="cpu"), load_judge("cpu")
    made = {"weights": model.weights, "psi": PSI, "judge": judge.name}
    store, look, moves = Store(work, made), Look(model, judge), moves_of(model, mappers)
    shown = [(m, s) for m, s in SHEET if m in moves]
    rows, labels = [], []
    for wish in read_edits(HERE / "editing.jsonl"):
        faces, _ = find(wish, model, look, store)
        text, seed = faces.jobs[FACE]
        ws = control.style_codes(model.generator, [seed], psi=PSI)
        codes = [
            moves[m](ws, text, s) if m != "mapper" or text in mappers else ws for m, s in shown
        ]
        rows.append([model.pictures(code, preview=True)[0] for code in (ws, *codes)])
        labels.append(text)
    columns = ["before", *(f"{m} {s:g}" for m, s in shown)]
    return contact_sheet(rows, labels=labels, column_labels=columns)


def main() -> int:
    """Find faces, edit, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mapper", action="append", default=[], metavar="TEXT=FILE")
    parser.add_argument("--work", type=Path, default=Path("runs", "editing"))
    parser.add_argument("--out", type=Path, default=HERE / "editing.json")
    parser.add_argument("--sheet", type=Path, help="also write pictures of the edits")
    options = parser.parse_args()
    mappers = {text: Path(file) for text, _, file in (m.partition("=") for m in options.mapper)}
    with torch.no_grad():
        rows = compared(options.work, mappers)
    options.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for part in ("all", "mapper"):
        for name, found in rows[part].items():
            told = "  ".join(f"{each['name']} {each['value']:.2f}" for each in found)
            print(f"{part:7} {name:14} {told}")
    if options.sheet:
        with torch.no_grad():
            picture = sheet(options.work, mappers)
        picture.convert("RGB").save(options.sheet, quality=85)
    return 0


if __name__ == "__main__":
    sys.exit(main())
