"""Evaluates prompts: draws, judges, keeps what was judged, and measures.

A prompt's pictures have seeds of their own, counted from a number that its words alone decide:
were all prompts drawn from the same few seeds, a quirk of one seed would pass for a finding. Each
has an unconditional counterpart of the same seed, drawn once for all methods.
"""

import hashlib
import json
import logging
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tedi import attributes, images
from tedi.errors import UsageError
from tedi.grammar import ATTRIBUTES, Caption
from tedi.losses.perceptual import distance
from tedi.metrics import METRICS, Drawn, Score
from tedi.metrics.accuracy import agreement, said_of, seen
from tedi.metrics.diversity import spread
from tedi.outputs import write_atomically
from tedi.tensors import save_file

log = logging.getLogger(__name__)

SIDE = 256
"""Pictures are judged at this many pixels a side, larger ones after averaging."""

Job = tuple[str, int]
Picture = tuple[Image.Image, Tensor]
Draw = Callable[[Sequence[Job]], Iterable[Picture]]
"""(prompt, seed) pairs -> (picture, its code (L, C)), in order."""
Similarity = Callable[[Tensor, Sequence[str]], Tensor]
"""Codes (N, L, C) and T prompts -> how well they fit, (T, N)."""
Progress = Callable[[int], object]
Shown = TypeVar("Shown")
"""What a judge is shown at a time: a picture, or one before and after an edit."""


class Network(Protocol):
    """What a judge needs of an attribute model; `tedi.encoders.attributes` has one."""

    def __call__(self, image: Tensor) -> Tensor:
        """Logits (N, V) of images (N, 3, H, W)."""

    def features(self, image: Tensor) -> Tensor:
        """Features (N, F) of the whole picture."""

    def maps(self, image: Tensor) -> list[Tensor]:
        """Feature maps (N, C, H, W) of several layers."""

    def parameters(self) -> Iterator[Tensor]:
        """Its weights, which tell the device."""


@dataclass(frozen=True)
class Judge:
    """Looks at pictures.

    Attributes:
        network: an attribute model: image -> logits (N, V), with `features` and `maps`.
        name: what reports call it.
        accuracy: attribute -> how often it is right on held-out faces.
    """

    network: Network
    name: str
    accuracy: Mapping[str, float] = field(default_factory=dict)

    def look(self, pictures: Iterable[Picture]) -> dict[str, Tensor]:
        """What is seen in the pictures of one prompt, S of them, one by one.

        Returns:
            log_p (S, V), features (S, F), ws (S, L, C), and distance (), the mean over pairs.
        """
        rows: list[tuple[Tensor, Tensor, Tensor]] = []
        maps = []
        for picture, ws in pictures:  # drawn here, by methods that may need gradients
            log_p, features, levels = self._see((picture, ws))
            rows.append((log_p, features, ws.cpu()))
            maps.append(levels)
        log_ps, features, codes = (torch.stack(part) for part in zip(*rows, strict=True))
        apart = torch.tensor(spread(maps))
        return {"log_p": log_ps, "features": features, "ws": codes, "distance": apart}

    def compare(self, pairs: Iterable[tuple[Picture, Picture]]) -> dict[str, Tensor]:
        """What is seen in the second picture of each of S pairs, and how far from the first.

        Returns:
            log_p (S, V), ws (S, L, C), and by pair cosine (S,) of features and distance (S,).
        """
        rows: dict[str, list[Tensor]] = {"log_p": [], "ws": [], "cosine": [], "distance": []}
        for before, after in pairs:
            (_, old, old_maps), (log_p, new, maps) = self._see(before), self._see(after)
            rows["log_p"].append(log_p)
            rows["ws"].append(after[1].cpu())
            rows["cosine"].append(F.cosine_similarity(old, new, dim=0))
            rows["distance"].append(distance(old_maps, maps).mean().cpu())
        return {name: torch.stack(row) for name, row in rows.items()}

    @torch.inference_mode()
    def _see(self, picture: Picture) -> tuple[Tensor, Tensor, list[Tensor]]:
        image = self._image(picture[0])
        log_p = attributes.log_softmax(self.network(image).float())[0].cpu()
        features = self.network.features(image)[0].float().cpu()
        return log_p, features, self.network.maps(image)

    def _image(self, picture: Image.Image) -> Tensor:
        if picture.width > SIDE:
            picture = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        return images.to_image(np.asarray(picture)[None]).to(device)


class Store:
    """What was judged, a file for each prompt's pictures, found by how they were made.

    A run that was stopped, or is widened, draws nothing twice.
    """

    def __init__(self, folder: Path, setting: Mapping[str, Any]) -> None:
        self.folder, self.setting = folder, dict(setting)

    def path(self, method: str | None, jobs: Sequence[Job]) -> Path:
        """File for the pictures of these jobs; its name depends on all that decides them."""
        made = {**self.setting, "method": method, "jobs": jobs}
        digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.safetensors"

    def load(self, path: Path) -> dict[str, Tensor] | None:
        """What was judged there, or None."""
        try:
            return load_file(path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError) as error:
            log.warning("%s cannot be read and is made anew (%s)", path, error)
            return None

    def save(self, path: Path, look: dict[str, Tensor]) -> None:
        """Write it, whole or not at all."""
        whole = {name: tensor.contiguous() for name, tensor in look.items()}
        write_atomically(path, lambda file: save_file(whole, file), exist="overwrite")


def seeds_of(prompt: str, seeds: Sequence[int]) -> list[int]:
    """Seeds of a prompt's pictures: `seeds` counted from a number its words decide.

    >>> seeds_of("a man", [0, 1])
    [3410752519, 3410752520]
    """
    start = zlib.crc32(prompt.encode())
    return [(start + seed) % 2**32 for seed in seeds]


def jobs_of(captions: Sequence[Caption], seeds: Sequence[int]) -> list[list[Job]]:
    """Jobs of each prompt's pictures.

    Raises:
        UsageError: no prompt or seed, or a seed twice.
    """
    if not captions or not seeds or len(set(seeds)) < len(seeds):
        raise UsageError("seeds: expected one or more, each once, and a prompt or more")
    return [[(c.text, seed) for seed in seeds_of(c.text, seeds)] for c in captions]


def look_at(
    groups: Sequence[Sequence[Job]],
    draw: Callable[[Sequence[Job]], Iterable[Shown]],
    look: Callable[[Iterable[Shown]], dict[str, Tensor]],
    store: Store,
    *,
    method: str | None,
    progress: Progress,
) -> Iterator[dict[str, Tensor]]:
    """What a judge's `look` sees in each group of pictures, drawn unless the store has it."""
    for jobs in groups:
        path = store.path(method, jobs)
        judged = store.load(path)
        if judged is None:
            judged = look(_told(draw(jobs), progress))
            store.save(path, judged)
        else:
            progress(len(jobs))
        yield judged


def _told(pictures: Iterable[Shown], progress: Progress) -> Iterator[Shown]:
    for picture in pictures:
        yield picture
        progress(1)


@dataclass(frozen=True)
class Found:
    """What an evaluation found, by method.

    Attributes:
        samples: method -> judged pictures.
        scores: method -> scores.
        left_out: method -> metric -> why it has no score.
    """

    samples: dict[str, Drawn]
    scores: dict[str, list[Score]]
    left_out: dict[str, dict[str, str]]


def evaluate(
    captions: Sequence[Caption],
    *,
    seeds: Sequence[int],
    draws: Mapping[str, Draw],
    draw_free: Draw,
    judge: Judge,
    store: Store,
    similarity: Similarity | None = None,
    encoder: str = "",
    progress: Progress = lambda count: None,
) -> Found:
    """Draw, judge and measure prompts by each method.

    Args:
        captions: prompts and what they say.
        seeds: of a prompt's pictures, see `seeds_of`.
        draws: method -> how it draws.
        draw_free: draws the same seeds without looking at the prompt.
        judge: looks at the pictures.
        store: keeps what it saw.
        similarity: of prompts and codes, for R-precision.
        encoder: what gives it.
        progress: told the number of pictures that were just done, free ones included.
    """
    groups = jobs_of(captions, seeds)
    seen_by = {
        method: list(look_at(groups, draw, judge.look, store, method=method, progress=progress))
        for method, draw in draws.items()
    }
    free = list(look_at(groups, draw_free, judge.look, store, method=None, progress=progress))
    found = Found({}, {}, {})
    for method, looks in seen_by.items():
        sample = gather(captions, looks, free, judge, similarity=similarity, encoder=encoder)
        found.samples[method] = sample
        found.scores[method], found.left_out[method] = measure(sample)
    return found


def gather(
    captions: Sequence[Caption],
    looks: Sequence[Mapping[str, Tensor]],
    free: Sequence[Mapping[str, Tensor]],
    judge: Judge,
    *,
    similarity: Similarity | None = None,
    encoder: str = "",
) -> Drawn:
    """The sample that metrics are given, of looks at the pictures of each prompt."""
    texts = [caption.text for caption in captions]
    ws = torch.cat([look["ws"] for look in looks])
    return Drawn(
        captions=captions,
        owners=torch.arange(len(looks)).repeat_interleave(len(looks[0]["ws"])),
        log_p=torch.cat([look["log_p"] for look in looks]),
        features=torch.cat([look["features"] for look in looks]),
        distances=torch.stack([look["distance"] for look in looks]),
        free_features=torch.cat([look["features"] for look in free]),
        free_distances=torch.stack([look["distance"] for look in free]),
        similarity=similarity(ws, texts) if similarity else None,
        judge=judge.name,
        encoder=encoder,
        accuracy=judge.accuracy,
    )


def measure(sample: object) -> tuple[list[Score], dict[str, str]]:
    """Scores of every metric that takes such a sample, and why others have none."""
    scores: list[Score] = []
    left_out: dict[str, str] = {}
    for name, make in METRICS.items():
        if isinstance(sample, make.takes):
            try:
                scores += make()(sample)
            except UsageError as error:
                left_out[name] = str(error)
    return scores, left_out


def judgments(method: str, sample: Drawn, groups: Sequence[Sequence[Job]]) -> list[dict[str, Any]]:
    """What was seen in each picture, a row of JSON each; "right" by what its prompt names."""
    says = said_of(sample)
    right = agreement(sample.log_p.cpu(), says).tolist()
    jobs = [job for group in groups for job in group]
    return [
        {
            "method": method,
            "prompt": prompt,
            "seed": seed,
            "right": {a: ok for a, ok in zip(ATTRIBUTES, row, strict=True) if a in said},
            "seen": face,
        }
        for (prompt, seed), row, said, face in zip(
            jobs, right, says, seen(sample.log_p), strict=True
        )
    ]


def jsonable(score: Score) -> dict[str, Any]:
    """A score as JSON holds it: no end of an interval is null, not nan."""
    told = asdict(score)
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in told.items()}
