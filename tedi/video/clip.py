"""The two passes over a clip: find the face and its codes; change them and put them back.

After Tzaban et al. 2022 (STIT, arXiv 2201.08361) and Alaluf et al. 2022 (arXiv 2201.13433, section
6): every frame is aligned and inverted by itself, the slots of fine layers are those of the whole
shot, codes and squares are smoothed in time, and one move, found on the mean code, edits all
frames. What is put back is the difference that the edit makes, so that pixels which it leaves alone
are the video's own. The square that is drawn goes with the face, or stays, and StyleGAN3 moves the
face in it. Between the passes the generator can be tuned to each person (pivotal tuning, Roich et
al. 2021, arXiv 2106.05744), at the codes that are drawn.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from tedi import images
from tedi.errors import TediError, UsageError
from tedi.faces import within
from tedi.outputs import write_atomically
from tedi.video.blink import Blinks, energy, lids, visible
from tedi.video.compose import cut_out, may_change, put_back, sized
from tedi.video.files import Frame, Source, frames
from tedi.video.networks import Networks
from tedi.video.place import seen_by, still, widened
from tedi.video.smooth import NONE, REACH, shares, smoothed
from tedi.video.store import PART, Found, Store
from tedi.video.track import Seen, Tracker, Which
from tedi.video.writer import Piece, choose_encoder, join

SIZES = (256, 384, 512, 768, 1024)  # pixels a side at which faces are put together
ENCODED = 256  # pixels a side of what the encoder looks at
HEAD = 64  # shares a side of what is the person
MAX_FIELD = 0.5  # sides more on every side
Crop = Literal["face", "first"]


@dataclass(frozen=True)
class Settings:
    """How a clip is worked on.

    Attributes:
        face: "largest" or a number, 1 for the largest.
        smooth: neighbours on each side that codes and squares are smoothed over; 0 for none.
        detail: share of the video's own detail that is kept, 0 to 1.
        per_frame: find the edit for each frame's code by itself, not once for the clip.
        crf: quality of the video: 0 lossless, 18 hardly told from the source, 51 worst.
        audio: keep the sound.
        tune: frames of each person that the generator is tuned to; 0 for no tuning.
        crop: "face", a square that goes and turns with the face, or "first", which stays where a
            shot first showed it, and the generator turns and moves what it draws.
        field: sides of the face's square that are drawn more on every side, for "first".
        anyone: change whoever is seen after a cut, not the first person alone.

    Raises:
        UsageError: a field without "first", or out of range.
    """

    face: Which = "largest"
    smooth: int = REACH
    detail: float = 1.0
    per_frame: bool = False
    crf: int = 18
    audio: bool = True
    tune: int = 0
    crop: Crop = "face"
    field: float = 0.0
    anyone: bool = False

    def __post_init__(self) -> None:
        if self.field and self.crop != "first":
            raise UsageError("--field: is for --crop first; leave it out")
        if not 0 <= self.field <= MAX_FIELD:
            raise UsageError(f"--field: expected 0 to {MAX_FIELD}, got {self.field}")


Progress = Callable[[Literal["faces", "tuning", "drawing"], int, int | None], None]
"""Told of a pass: its name, frames or steps done, and those in all if that is known."""


class Clip:
    """A clip on its way from one file to another.

    Args:
        source: the video.
        out: the video to be written; work is kept in a folder beside it until it is whole.
        networks: what looks and draws.
        settings: how.
        run: what else decides the result, such as texts and weights; for `resume`.
        resume: go on with what a stopped run left.

    Raises:
        UsageError: an unfinished run is there, or one with other settings; or settings that ask for
            what the networks cannot, such as drawing turned faces.
        TediError: nothing can be written there.
    """

    def __init__(
        self,
        source: Source,
        out: Path,
        networks: Networks,
        settings: Settings,
        *,
        run: Mapping[str, Any],
        resume: bool = False,
    ) -> None:
        if settings.crop == "first" and networks.place is None:
            raise UsageError(
                "--crop first: this generator draws upright faces only; pass --crop face, or "
                "--generator FILE with a StyleGAN3"
            )
        if settings.tune and networks.tune is None:
            raise UsageError("--tune: these networks cannot be tuned; leave it out")
        self.source, self.out, self.networks, self.settings = source, out, networks, settings
        self.encoder = choose_encoder()
        told = {**run, **asdict(settings), "encoder": self.encoder}
        told |= {"start": source.start, "end": source.end}
        self.store = Store(work_folder(out), told, resume=resume)
        self.quads, self.runs = np.zeros((0, 4, 2)), np.zeros(0, int)
        self.people, self.crops = np.zeros(0, int), np.zeros((0, 4, 2))
        self.side = SIZES[0]
        self.read = self.store.reader()
        self._fine: dict[int, Tensor] = {}
        self._people: dict[int, Tensor] = {}
        self._moves: dict[int, Tensor] = {}
        self._tuned: dict[int, Networks] = {}

    # --- first pass ---

    @torch.no_grad()
    def find(self, progress: Progress | None = None) -> dict[str, Any]:
        """Look at every frame; gives what was found, for records.

        Raises:
            UsageError: no frame lies between the source's start and end; the work folder goes.
            TediError: the video is damaged, or shows no face; the same.
        """
        try:
            self._search(progress)
            return self._gather()
        except TediError:
            self.store.clear()
            raise

    def _search(self, progress: Progress | None) -> None:
        """Write the parts that are not there yet."""
        face, anyone = self.settings.face, self.settings.anyone
        tracker = Tracker(self.networks.detect, self._describe, face=face, anyone=anyone)
        done = self.store.parts()
        if done:
            tracker.restore(self.store.state(done - 1))
        count = sum(len(self.store.load(number, codes=False)) for number in range(done))
        if count < done * PART:  # the last part is short: the clip ends with it
            return
        part: list[Found] = []
        for frame in frames(self.source, skip=count):
            part.append(self._look(frame, tracker))
            count += 1
            if len(part) == PART:
                self.store.save(done, part, tracker.state())
                done, part = done + 1, []
            if progress:
                progress("faces", count, self.source.total)
        if part:
            self.store.save(done, part, tracker.state())

    def _look(self, frame: Frame, tracker: Tracker) -> Found:
        seen = tracker(frame.pixels)
        ws = head = eyes = None
        if seen.quad is not None:
            image = self._image(cut_out(Image.fromarray(frame.pixels), seen.quad, ENCODED))
            ws, eyes = self.networks.encode(image)[0], energy(image)
            if self.networks.head:
                head = (
                    (self._small(self.networks.head(image))[0, 0] * 255)
                    .round()
                    .to(torch.uint8)
                    .cpu()
                )
        return Found(frame.time, frame.duration, seen, ws, head, eyes)

    def _describe(self, crop: Image.Image) -> np.ndarray:
        small = crop if crop.width == ENCODED else crop.resize((ENCODED, ENCODED))
        return self.networks.describe(self._image(small))[0].cpu().numpy()

    def _image(self, picture: Image.Image) -> Tensor:
        return images.to_image(np.asarray(picture)[None]).to(self.networks.device)

    def _gather(self) -> dict[str, Any]:
        """Squares and runs of all frames, means of codes, and the report."""
        seen: list[Seen] = []
        sums: dict[tuple[str, int], Tensor] = {}
        counts: dict[tuple[str, int], int] = {}
        for number in range(self.store.parts()):
            for found in self.store.load(number):
                seen.append(found.seen)
                if found.ws is None:
                    continue
                for key in (("shot", found.seen.shot), ("person", found.seen.person)):
                    sums[key] = sums.get(key, 0) + found.ws.double()
                    counts[key] = counts.get(key, 0) + 1
        if not seen:
            raise UsageError(_nothing_between(self.source))
        if not sums:
            why = next((s.why for s in seen if s.why not in ("", "no face")), "")
            reason = f"no face that can be worked with: it {why}" if why else "no face in any frame"
            raise TediError(f"{self.source.path}: {reason}")
        means = {key: (sums[key] / counts[key]).float() for key in sums}
        self._settle(seen, means)
        return _report(seen)

    def _settle(self, seen: list[Seen], means: Mapping[tuple[str, int], Tensor]) -> None:
        none = np.zeros((4, 2))
        self.runs = np.array([NONE if s.quad is None else s.shot for s in seen])
        self.people = np.array([NONE if s.quad is None else s.person for s in seen])
        quads = np.array([none if s.quad is None else s.quad for s in seen])
        self.quads = smoothed(quads, self.runs, self.settings.smooth)
        self.crops = still(self.quads, self.runs, reach=self.settings.field)
        self.blinks = Blinks(self._eyes, self.runs, float(self.source.rate))
        sides = np.linalg.norm(quads[self.runs != NONE, 3] - quads[self.runs != NONE, 0], axis=1)
        self.side = next((s for s in SIZES if s >= np.median(sides) * 0.95), SIZES[-1])
        self._fine = {
            n: ws[list(self.networks.fine)] for (kind, n), ws in means.items() if kind == "shot"
        }
        self._people = {
            n: ws[None].to(self.networks.device)
            for (kind, n), ws in means.items()
            if kind == "person"
        }

    def _eyes(self, number: int) -> Tensor:
        """Energy (2,) of a frame's eyes."""
        eyes = self.read(number).eyes
        assert eyes is not None  # of a run
        return eyes

    # --- between the passes ---

    def tune(self, progress: Progress | None = None) -> dict[str, Any]:
        """Tune the generator to each person; gives the frames it was tuned to, for records.

        What a stopped run has tuned is not tuned again.
        """
        if not self.settings.tune or self.networks.tune is None:
            return {}
        people = sorted(set(self.people.tolist()) - {NONE})
        chosen = [spread(self._awake(person), self.settings.tune) for person in people]
        for nth, (person, key_frames) in enumerate(zip(people, chosen, strict=True)):

            def tell(done: int, total: int, nth: int = nth) -> None:
                if progress:
                    progress("tuning", nth * total + done, len(people) * total)

            path = self.store.tuned(person)
            if not path.is_file():
                self.networks.tune(*self._pivots(key_frames), path, tell)
        return {"key_frames": chosen}

    def _awake(self, person: int) -> np.ndarray:
        """Frames of a person with open eyes, as codes draw them; all, if there are none."""
        shown = np.flatnonzero(self.people == person)
        opened = [n for n in shown if float(self.blinks.closed(int(n)).max()) < 0.5]
        return np.array(opened) if opened else shown

    def _pivots(self, chosen: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Aligned faces (K, 3, 256, 256) of frames, and the codes (K, L, C) that draw them."""
        crops = []
        for frame in frames(self.source, skip=chosen[0]):
            if frame.number in chosen:
                picture = Image.fromarray(frame.pixels)
                crops.append(self._image(cut_out(picture, self.quads[frame.number], ENCODED)))
            if frame.number == chosen[-1]:
                break
        return torch.cat(crops), torch.cat([self._code(number) for number in chosen])

    # --- second pass ---

    @torch.no_grad()
    def draw(self, record: Mapping[str, Any], progress: Progress | None = None) -> None:
        """Change the face in every frame and write the video; the work folder goes.

        Args:
            record: how it was made; goes into the file.
            progress: told of every frame.

        Raises:
            TediError: the file cannot be written; the work folder stays.
        """
        total = len(self.runs)
        begun, parts = self.store.pieces(), self.store.parts()
        stream = frames(self.source, skip=begun * PART)
        for number in range(begun, parts):
            piece = self.store.piece(number)
            temporary = piece.with_name(f"unfinished-{piece.name}")
            self._write(temporary, stream, min(PART, total - number * PART), progress)
            os.replace(temporary, piece)
        pieces = [(self.store.piece(n), self.read(n * PART).time) for n in range(parts)]
        audio = self.settings.audio
        write = functools.partial(join, pieces, self.source, record=record, audio=audio)
        write_atomically(self.out, write, exist="overwrite")
        self.store.clear()

    def _write(
        self,
        path: Path,
        stream: Iterator[Frame],
        count: int,
        progress: Progress | None,
    ) -> None:
        """One piece of the video, of the next frames of a stream."""
        crf = self.settings.crf
        with Piece(path, self.source, encoder=self.encoder, crf=crf) as piece:
            for _ in range(count):
                frame = next(stream, None)
                if frame is None:
                    raise TediError(f"{self.source.path}: has changed while it was read")
                pixels = frame.pixels
                if self.runs[frame.number] != NONE:
                    pixels = self._changed(frame)
                piece.write(pixels, frame.time, frame.duration)
                if progress:
                    progress("drawing", frame.number + 1, len(self.runs))

    def _changed(self, frame: Frame) -> np.ndarray:
        """Pixels of a frame with its face changed."""
        before = self._code(frame.number)
        person = self.read(frame.number).seen.person
        networks, quad = self._drawn_by(person), self.quads[frame.number]
        draw, field = networks.draw, self.settings.field
        after = networks.edit(before) if self.settings.per_frame else before + self._move(person)
        if self.settings.crop == "first":
            crop = self.crops[frame.number]
            assert networks.place is not None  # see __init__
            draw, quad = networks.place(within(quad, crop)), widened(crop, field)
        drawn = draw(before), draw(after)
        return put_back(
            Image.fromarray(frame.pixels),
            quad,
            drawn,
            side=self.side,
            field=field,
            detail=self.settings.detail,
            head=self._head(frame.number, drawn, quad),
            lids=self._lids(frame.number, drawn, quad),
        )

    def _head(
        self,
        number: int,
        drawn: tuple[Tensor, Tensor],
        quad: np.ndarray,
    ) -> Tensor | None:
        """Share (1, 1, h, h) of a drawn square where the edit may change pixels."""
        if self.networks.head is None:
            return None
        face, wide = self.quads[number], 1 + 2 * self.settings.field
        small = torch.cat([sized(image, round(ENCODED * wide)) for image in drawn])
        heads = self._small(self.networks.head(seen_by(small, quad, face, ENCODED)))
        photo = torch.zeros_like(heads[:1])
        for frame, share in shares(self.runs, number, self.settings.smooth).items():
            head = self.read(frame).head
            assert head is not None  # of a run
            photo += share * head.to(photo) / 255
        changing = may_change(photo, *heads.split(1))
        return seen_by(changing, face, quad, round(HEAD * wide)).clamp(0, 1)

    def _lids(self, number: int, drawn: tuple[Tensor, Tensor], quad: np.ndarray) -> Tensor | None:
        """Where in a drawn square the frame's eyes are closed, (1, 1, h, h); None: nowhere."""
        closed = self.blinks.closed(number)
        if not closed.any():
            return None
        face, wide = self.quads[number], round(ENCODED * (1 + 2 * self.settings.field))
        seen = (seen_by(sized(image, wide), quad, face, ENCODED) for image in drawn)
        mask = lids(closed * visible(*(energy(image).cpu() for image in seen)))
        return seen_by(mask, face, quad, wide).to(drawn[0])

    @staticmethod
    def _small(head: Tensor) -> Tensor:
        return F.interpolate(head, (HEAD, HEAD), mode="area")

    def _move(self, person: int) -> Tensor:
        """The change of a person's mean code, found by what draws the person."""
        if person not in self._moves:
            mean = self._people[person]
            self._moves[person] = self._drawn_by(person).edit(mean) - mean
        return self._moves[person]

    def _drawn_by(self, person: int) -> Networks:
        """The networks that draw a person: tuned ones, if there are."""
        networks = self.networks
        if not self.settings.tune or networks.tuned is None:
            return networks
        if person not in self._tuned:
            self._tuned = {person: networks.tuned(self.store.tuned(person))}  # one in memory
        return self._tuned[person]

    def _code(self, number: int) -> Tensor:
        """Code (1, L, C) of a frame, smoothed, of open eyes, with the shot's fine slots."""
        total = None
        for frame, share in self.blinks.shares(number, self.settings.smooth).items():
            ws = self.read(frame).ws
            assert ws is not None  # of a run
            total = share * ws if total is None else total + share * ws
        assert total is not None
        total[list(self.networks.fine)] = self._fine[int(self.runs[number])]
        return total[None].to(self.networks.device)


def spread(numbers: Sequence[int] | np.ndarray, count: int) -> list[int]:
    """So many of them, or all if they are fewer, evenly spread.

    >>> spread(range(10), 2)
    [2, 7]
    """
    count = min(count, len(numbers))
    return [int(numbers[(2 * n + 1) * len(numbers) // (2 * count)]) for n in range(count)]


def work_folder(out: Path) -> Path:
    """Where a run keeps its work: beside the video.

    >>> str(work_folder(Path("films/out.mp4")))
    'films/out.mp4.work'
    """
    return out.with_name(f"{out.name}.work")


def _nothing_between(source: Source) -> str:
    """What is said of a part that holds no frame."""
    until = "the end" if source.end is None else f"{source.end:g} s"
    return (
        f"--start, --end: no frame of {source.path} begins between {source.start:g} s and {until}; "
        f"one comes every {float(1 / source.rate):.3g} s"
    )


def _report(seen: list[Seen]) -> dict[str, Any]:
    """What was found, for records: frames without a face as [first, last] with the reason."""
    gaps: list[dict[str, Any]] = []
    for number, one in enumerate(seen):
        if one.quad is not None:
            continue
        if gaps and gaps[-1]["last"] == number - 1 and gaps[-1]["why"] == one.why:
            gaps[-1]["last"] = number
        else:
            gaps.append({"first": number, "last": number, "why": one.why})
    shots = {one.shot for one in seen}
    people = {one.person for one in seen if one.quad is not None}
    return {
        "frames": len(seen),
        "shots": len(shots),
        "people": len(people),
        "without_face": sum(one.quad is None for one in seen),
        "gaps": gaps,
    }
