"""Whether pictures show what prompts say, by labels given by looking, without the prompts.

    python benchmarks/eye.py

`eye.jsonl` has a line for each picture of `tedi generate --prompts` from freeform.jsonl, full size:
method, prompt (its line, from 0), seed, and what was seen, in the scheme of data/tedifaces.
Methods are also compared on the prompts and seeds that all of them have.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from tedi import attributes
from tedi.grammar import ATTRIBUTES
from tedi.metrics.accuracy import agreement
from tedi.metrics.score import estimate, totals

HERE = Path(__file__).parent
Right = dict[str, bool]
"""Attribute that a prompt names -> whether the picture was seen to show it."""


def lines(name: str) -> list[dict[str, Any]]:
    """The lines of a file beside this one."""
    return [json.loads(line) for line in (HERE / name).read_text().splitlines()]


def right_of(says: dict[str, list[str | bool]], label: dict[str, Any]) -> Right:
    """What a prompt says, and whether it was seen."""
    allowed = {name: frozenset(values) for name, values in says.items()}
    fits = agreement(attributes.labels_of(label)[None], [allowed])[0]
    pairs = zip(ATTRIBUTES, fits.tolist(), strict=True)
    return {name: fit for name, fit in pairs if name in allowed}


def share(found: Iterable[tuple[int, bool]]) -> str:
    """Share of what is true with its interval, see `tedi.metrics.score.estimate`.

    Args:
        found: (prompt, whether it is true), each.
    """
    prompts, true = (torch.tensor(column) for column in zip(*found, strict=True))
    count = int(prompts.max()) + 1
    sums, counts = (totals(v, prompts, count) for v in (true, torch.ones(len(true))))
    value, low, high = estimate(sums, counts, rate=True)
    return f"{value:.3f} ({low:.3f}-{high:.3f}), n = {len(true)}"


def report(title: str, labels: Sequence[dict[str, Any]]) -> None:
    """Print the shares of some pictures."""
    says = [line["says"] for line in lines("freeform.jsonl")]
    seen = [(label["prompt"], right_of(says[label["prompt"]], label)) for label in labels]
    print(f"{title}: {len(labels)} pictures")
    print("  each named attribute", share((p, ok) for p, right in seen for ok in right.values()))
    for name, least, most in (("one", 1, 1), ("two", 2, 2), ("3 or 4", 3, 4), ("5 or more", 5, 99)):
        fitting = [(p, all(right.values())) for p, right in seen if least <= len(right) <= most]
        print(f"  all right, {name} named", share(fitting))
    print("  face broken", share((label["prompt"], label["broken"]) for label in labels))
    for name in ATTRIBUTES:
        print(f"    {name}", share((p, right[name]) for p, right in seen if name in right))


def main() -> None:
    """Print what is known of each method, and of all where they share prompts and seeds."""
    labels = defaultdict(list)
    for line in lines("eye.jsonl"):
        labels[line["method"]].append(line)
    places = [{(line["prompt"], line["seed"]) for line in group} for group in labels.values()]
    shared = set.intersection(*places)
    for method, group in labels.items():
        report(method, group)
        if len(group) > len(shared):
            same = [line for line in group if (line["prompt"], line["seed"]) in shared]
            report(f"{method}, where all methods have pictures", same)


if __name__ == "__main__":
    main()
