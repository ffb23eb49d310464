"""Video on clips with known truth: places found again, faces not swapped, speed, memory, jitter.

    python benchmarks/video.py --films films --out benchmarks/video.json
    python benchmarks/video.py --films films --only ground --photos ../shared/data/celebahq256

The clips are drawn here: faces walk through W, smiling and turning, and are laid over a moving or
resting ground at squares that are known for every frame. So what the detector and the smoothing
give can be compared with the truth. `Actor` and `film` are what the tests make their clips with.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image, ImageFilter

from tedi import images, load, zoo
from tedi.checkpoints import directions
from tedi.cli import run
from tedi.cli.faces import Step
from tedi.cli.video_networks import networks_of, tuning_options
from tedi.control import style_codes
from tedi.faces import Alignment, Detected, paste_back, soft_mask
from tedi.pipeline import Toolkit
from tedi.video import Clip, Networks, Settings, Tracker, frames, open_source
from tedi.video.clip import spread
from tedi.video.compose import cut_out
from tedi.video.smooth import NONE, smoothed

RATE, SIZE = 25, 512
OPENING = (0.066, 0.022)  # half the width and height of an eye, of the face's side
SOUND_RATE, TONE = 44_100, 440.0
Square = tuple[float, float, float, float]
"""Middle (x, y) and side in pixels, and angle in degrees, clockwise."""
Walk = Callable[[float], float]
"""Share of a scene, 0 to 1 -> a number."""


@dataclass(frozen=True)
class Actor:
    """A face in a scene.

    Attributes:
        seed: of the face.
        place: share of the scene -> its square.
        smile: share of the scene -> strength along the direction of smiles.
        turn: the same for turns of the head.
        shown: share of the scene -> whether it is there.
    """

    seed: int
    place: Callable[[float], Square]
    smile: Walk = lambda at: 1.0 * np.sin(6 * at)
    turn: Walk = lambda at: 1.5 * np.sin(4 * at)
    shown: Callable[[float], bool] = lambda at: True


@dataclass(frozen=True, eq=False)
class Sitter:
    """A photo in a scene, which moves as one piece.

    Attributes:
        picture: the aligned face.
        ground: (H, W) of it, whether a pixel is background, as people have painted it.
        place: share of the scene -> its square.
        shown: share of the scene -> whether it is there.
        closed: share of the scene -> how far its eyes are closed, 0 to 1.
        eyes: (2, 2) of it, in pixels; only for eyes that close.
    """

    picture: Image.Image
    ground: np.ndarray
    place: Callable[[float], Square]
    shown: Callable[[float], bool] = lambda at: True
    closed: Walk = lambda at: 0.0
    eyes: np.ndarray | None = None


@dataclass(frozen=True)
class Scene:
    """Frames without a cut.

    Attributes:
        count: of frames.
        actors: back to front.
        ground: seed of the background.
        noise: standard deviation of the grain, in levels.
        cover: share of the scene -> left, top, right, bottom of what hides the picture; None.
    """

    count: int
    actors: Sequence[Actor | Sitter] = ()
    ground: int = 0
    noise: float = 2.0
    cover: Callable[[float], tuple[int, int, int, int] | None] = lambda at: None


def blinking(picture: Image.Image, eyes: np.ndarray, share: float) -> Image.Image:
    """A face whose upper lids are pulled down over its eyes (2, 2), in pixels, by so much."""
    pixels = np.asarray(picture, np.float32)
    rows = np.arange(picture.height, dtype=np.float64)
    wide, high = (part * picture.width for part in OPENING)
    for x, y in eyes:
        for column in range(math.ceil(x - wide), math.floor(x + wide) + 1):
            half = high * math.sqrt(1 - ((column - x) / wide) ** 2)
            top, lid, edge = y - 4 * high, y - half, y + half * (2 * share - 1)
            taken = np.interp(rows, (top, max(edge, top + 1)), (top, lid))
            drawn_out = [np.interp(taken, rows, channel) for channel in pixels[:, column].T]
            covered = (rows > top) & (rows < edge)
            pixels[covered, column] = np.stack(drawn_out, axis=1)[covered]
    return Image.fromarray(pixels.round().astype(np.uint8))


def quad(square: Square) -> np.ndarray:
    """Corners (4, 2) of a square, as `tedi.faces.quad_of` orders them."""
    x, y, side, angle = square
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    across, down = np.array([c, s]) * side / 2, np.array([-s, c]) * side / 2
    middle = np.array([x, y])
    return np.stack(
        [
            middle - across - down,
            middle - across + down,
            middle + across + down,
            middle + across - down,
        ]
    )


def resting(x: float, y: float, side: float, angle: float = 0.0) -> Callable[[float], Square]:
    """A square that stays where it is."""
    return lambda at: (x, y, side, angle)


def moving(side: float = 300, size: int = SIZE, *, turns: float = 8.0) -> Callable[[float], Square]:
    """A square that shifts, turns and grows smoothly about the middle of the frame."""

    def place(at: float) -> Square:
        x = size / 2 + size / 12 * np.sin(5 * at)
        y = size / 2 + size / 16 * np.sin(3 * at + 1)
        return (
            float(x),
            float(y),
            side * float(1 + 0.1 * np.sin(4 * at)),
            turns * float(np.sin(6 * at)),
        )

    return place


class Stage:
    """Draws scenes.

    Args:
        model: the toolkit.
        size: pixels a side of frames.
    """

    def __init__(self, model: Toolkit, *, size: int = SIZE) -> None:
        self.model, self.size = model, size
        known = directions.load(zoo.pull("directions-ffhq"))
        self.smile, self.turn = known["smile"], known["pose-left"]

    @torch.inference_mode()
    def face(self, actor: Actor | Sitter, at: float) -> Image.Image:
        """The aligned face of an actor."""
        if isinstance(actor, Sitter):
            share = float(actor.closed(at))
            if not share:
                return actor.picture
            assert actor.eyes is not None
            return blinking(actor.picture, actor.eyes, share)
        ws = style_codes(self.model.generator, [actor.seed], psi=0.6)
        for direction, walk in ((self.smile, actor.smile), (self.turn, actor.turn)):
            ws = direction(ws, float(walk(at)) * (direction.std or 1.0))
        return images.to_pil(self.model.generator.preview(ws))[0]

    def ground(self, seed: int) -> Image.Image:
        """A blurred background."""
        levels = np.random.default_rng(seed).uniform(40, 210, (8, 8, 3)).astype("uint8")
        return Image.fromarray(levels).resize((self.size, self.size), Image.Resampling.BICUBIC)

    def frames(self, scene: Scene) -> Iterator[np.ndarray]:
        """Pixels (H, W, 3) of a scene."""
        random = np.random.default_rng(scene.ground)
        for number in range(scene.count):
            at = number / max(scene.count - 1, 1)
            picture = self.ground(scene.ground)
            for actor in scene.actors:
                if actor.shown(at):
                    place = Alignment.of(quad(actor.place(at)), picture)
                    picture = paste_back(picture, self.face(actor, at), place)
            cover = scene.cover(at)
            if cover:
                picture.paste((70, 90, 60), cover)
            grain = random.normal(0, scene.noise, (self.size, self.size, 1))
            yield (np.asarray(picture) + grain).round().clip(0, 255).astype(np.uint8)


def write(
    path: Path,
    pictures: Iterable[np.ndarray],
    *,
    times: Callable[[int], int] = lambda number: number * 512,
    tick: Fraction = Fraction(1, 512 * RATE),
    sound: str | None = "aac",
    rotation: int = 0,
    pixels: str = "yuv420p",
    codec: str = "libx264",
    crf: int = 12,
) -> None:
    """Write a video of pixels (H, W, 3), with a tone for sound."""
    with av.open(str(path), "w") as container:
        stream, voice, count = container.add_stream(codec, rate=RATE), None, 0
        stream.codec_context.options = {"crf": str(crf), "bf": "0"} if codec == "libx264" else {}
        stream.codec_context.time_base, stream.pix_fmt = tick, pixels
        if rotation:
            stream.set_display_rotation(rotation)
        for count, levels in enumerate(pictures, start=1):
            if count == 1:
                stream.height, stream.width = levels.shape[:2]
                if sound:
                    voice = container.add_stream(sound, rate=SOUND_RATE, layout="mono")
            frame = av.VideoFrame.from_ndarray(levels, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = times(count - 1), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            steps = np.arange(round(float(times(count) * tick) * SOUND_RATE))
            wave = 0.3 * np.sin(2 * np.pi * TONE * steps / SOUND_RATE)
            kind = voice.codec_context.format.name
            levels = (wave * 127 + 128).astype(np.uint8) if kind == "u8" else wave.astype("f4")
            heard = av.AudioFrame.from_ndarray(levels[None], format=kind, layout="mono")
            heard.sample_rate, heard.pts = SOUND_RATE, 0
            container.mux(voice.encode(heard))
            container.mux(voice.encode())


def film(stage: Stage, path: Path, scenes: Sequence[Scene], **how: Any) -> None:
    """Draw scenes, one after the other, into a video."""
    write(path, (levels for scene in scenes for levels in stage.frames(scene)), **how)


def truth(scenes: Sequence[Scene], actor: int = 0) -> np.ndarray:
    """Squares (F, 4, 2) of an actor; nan where he is not there."""
    found = []
    for scene in scenes:
        for number in range(scene.count):
            at = number / max(scene.count - 1, 1)
            there = len(scene.actors) > actor and scene.actors[actor].shown(at)
            found.append(quad(scene.actors[actor].place(at)) if there else np.full((4, 2), np.nan))
    return np.array(found)


def errors(found: np.ndarray, known: np.ndarray) -> dict[str, np.ndarray]:
    """How far squares (F, 4, 2) are off: degrees, and % of the side for place and size."""
    side = np.linalg.norm(known[:, 3] - known[:, 0], axis=1)
    sizes = np.linalg.norm(found[:, 3] - found[:, 0], axis=1)
    turned = [np.degrees(np.arctan2(*(q[:, 3] - q[:, 0]).T[::-1])) for q in (found, known)]
    off = np.linalg.norm(found.mean(1) - known.mean(1), axis=1)
    return {
        "degrees": (turned[0] - turned[1] + 180) % 360 - 180,
        "place": 100 * off / side,
        "size": 100 * (sizes / side - 1),
    }


# --- measuring -----------------------------------------------------------------------------------


def squares(model: Toolkit, path: Path, face: Any = "largest") -> tuple[np.ndarray, np.ndarray]:
    """Squares (F, 4, 2) that are found, nan without a face, and runs (F,)."""

    @torch.no_grad()
    def describe(crop: Image.Image) -> np.ndarray:
        image = images.to_image(np.asarray(crop.resize((256, 256)))[None])
        return model.photos.identity(image)[0].numpy()

    tracker = Tracker(model.photos.detector, describe, face=face)
    seen = [tracker(frame.pixels) for frame in frames(open_source(path))]
    none = np.full((4, 2), np.nan)
    found = np.array([none if one.quad is None else one.quad for one in seen])
    return found, np.array([NONE if one.quad is None else one.shot for one in seen])


def truth_recovered(stage: Stage, folder: Path, seeds: Sequence[int], count: int) -> dict[str, Any]:
    """Median errors of squares, as found and smoothed, over clips of one face each."""
    off: dict[str, list[np.ndarray]] = {}
    missed = 0
    for seed in seeds:
        scenes = [Scene(count, [Actor(seed, moving(240 + 10 * (seed % 8)))], ground=seed)]
        path = folder / f"truth-{seed}.mp4"
        if not path.is_file():
            film(stage, path, scenes)
        found, runs = squares(stage.model, path)
        seen = runs != NONE
        missed += int((~seen).sum())
        known = truth(scenes)[seen]
        for name, quads in (("found", found), ("smoothed", smoothed(found, runs))):
            for key, values in errors(quads[seen], known).items():
                off.setdefault(f"{key} {name}", []).append(values)
                # what is left of a constant error, which moves nothing
                off.setdefault(f"{key} {name}, mean taken off", []).append(values - values.mean())
    medians = {key: float(np.median(np.abs(np.concatenate(v)))) for key, v in off.items()}
    ends = {key: float(np.quantile(np.abs(np.concatenate(v)), 0.95)) for key, v in off.items()}
    return {
        "clips": len(seeds),
        "frames": len(seeds) * count,
        "frames without the face found": missed,
        "median": medians,
        "95 % quantile": ends,
    }


def bar(at: float) -> tuple[int, int, int, int]:
    """A post of a sixth of the frame that passes over the face from one side to the other."""
    left = round(SIZE * (0.15 + 0.53 * at))
    return left, 0, left + SIZE // 6, SIZE


HARDSHIPS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 12),
    "a post before the face": ({"cover": bar}, 12),
    "noise of 10 levels": ({"noise": 10.0}, 12),
    "noise of 25 levels": ({"noise": 25.0}, 12),
    "crf 18": ({}, 18),
    "crf 32": ({}, 32),
    "crf 40": ({}, 40),
}
"""What makes it hard -> how the scene differs, and the quality it is kept at."""


def hardships(stage: Stage, folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Errors of smoothed squares, and frames missed, of one clip that is shown in several ways."""
    told: dict[str, Any] = {"frames of a clip": count}
    for name, (how, crf) in HARDSHIPS.items():
        scenes = [Scene(count, [Actor(seed, moving(280))], ground=seed, **how)]
        path = folder / f"hard-{seed}-{name.replace(' ', '-')}.mp4"
        if not path.is_file():
            film(stage, path, scenes, crf=crf)
        found, runs = squares(stage.model, path)
        seen = runs != NONE
        told[name] = {"frames without the face found": int((~seen).sum())}
        if not seen.any():
            continue
        off = errors(smoothed(found, runs)[seen], truth(scenes)[seen])
        for key, values in off.items():
            median, end = np.quantile(np.abs(values), (0.5, 0.95))
            told[name] |= {
                f"{key}, median": round(float(median), 3),
                f"{key}, 95 % quantile": round(float(end), 3),
            }
    return told


def swaps(
    stage: Stage, folder: Path, pairs: Sequence[tuple[int, int]], count: int
) -> dict[str, Any]:
    """How often the square of one of two who cross lies on the other."""

    def cross(first: float, last: float, y: float, side: float) -> Callable[[float], Square]:
        return lambda at: (first + (last - first) * at, y, side, 0.0)

    wrong = held = lost = 0
    for behind, front in pairs:
        actors = [Actor(behind, cross(130, 380, 215, 170)), Actor(front, cross(380, 130, 300, 200))]
        scenes, path = [Scene(count, actors)], folder / f"cross-{behind}-{front}.mp4"
        if not path.is_file():
            film(stage, path, scenes)
        for face, own in (("largest", 1), (2, 0)):
            found, runs = squares(stage.model, path, face)
            away = [
                np.linalg.norm((found - truth(scenes, n)).mean(1), axis=1) for n in (own, 1 - own)
            ]
            seen = runs != NONE
            held, lost = held + int(seen.sum()), lost + int((~seen).sum())
            wrong += int((away[0] > away[1])[seen].sum())
    return {"clips": 2 * len(pairs), "frames followed": held, "not seen": lost, "swapped": wrong}


def speed(model: Toolkit, path: Path, out: Path) -> dict[str, Any]:
    """Frames a second, end to end, of a warm toolkit."""
    source = open_source(path)
    networks = networks_of(model, (Step("smiling", 1.0, "default"),), size="preview")
    clip = Clip(source, out, networks, Settings(), run={})
    marks = [(time.perf_counter(), time.process_time())]
    found = clip.find()
    marks.append((time.perf_counter(), time.process_time()))
    clip.draw(found)
    marks.append((time.perf_counter(), time.process_time()))
    told: dict[str, Any] = {"frames": found["frames"], "size": list(source.size)}
    for name, a, b in (("both", 0, 2), ("finding", 0, 1), ("drawing", 1, 2)):
        wall, busy = (marks[b][n] - marks[a][n] for n in (0, 1))
        told[f"{name}: frames a second"] = round(found["frames"] / wall, 2)
        told[f"{name}: seconds of processor a frame"] = round(busy / found["frames"], 3)
    return told | {"threads": torch.get_num_threads()}


def growth(folder: Path, counts: Sequence[int]) -> dict[str, Any]:
    """Peak memory in MB of clips of several lengths, with stand-ins for the networks."""
    found = {}
    for count in counts:
        command = [sys.executable, __file__, "--films", str(folder), "--grow", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[str(count)] = json.loads(done.stdout)
    return found


def grow(folder: Path, count: int) -> None:
    """Work on a clip of so many frames, codes as large as the generator's; print the memory."""
    place = np.array([(0.31, 0.37), (0.69, 0.37), (0.5, 0.59), (0.34, 0.76), (0.66, 0.76)])

    def detect(pixels: np.ndarray) -> list[Detected]:
        low, high = pixels.shape[0] / 4, pixels.shape[0] * 3 / 4  # in a window, too
        return [Detected((low, low, high, high), 1.0, low + (high - low) * place)]

    path = folder / f"grow-{count}.mp4"
    ground = np.random.default_rng(0).integers(0, 256, (256, 256, 3), "uint8")
    write(path, (np.roll(ground, n, 1) for n in range(count)), sound=None)
    networks = Networks(
        detect=detect,
        describe=lambda image: image.mean(dim=(2, 3)),
        encode=lambda image: torch.randn(1, 16, 512),
        draw=lambda ws: ws[:, :3, :1, None].expand(-1, -1, 256, 256).clamp(-1, 1),
        edit=lambda ws: ws + 0.1,
        fine=tuple(range(9, 16)),
        head=lambda image: torch.ones(1, 1, 128, 128),
    )
    clip = Clip(open_source(path), folder / f"grown-{count}.mp4", networks, Settings(), run={})
    clip.draw(clip.find())
    print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))


STEADY = {"as shipped": [], "no smoothing": ["--smooth", "0"], "an edit a frame": ["--per-frame"]}


def moved_by(generator: Path | None) -> dict[str, list[str]]:
    """Ways of a StyleGAN3 from a file, which moves the face itself in a square that stays."""
    if generator is None:
        raise SystemExit("stylegan3: pass --generator FILE, of tedi's W (train/stylegan3.py)")
    own = ["--generator", str(generator)]
    ways = {"stylegan3": [], "a wider field": ["--field", "0.4"], "face crop": ["--crop", "face"]}
    return {name: [*own, *options] for name, options in ways.items()}


def steadiness(
    path: Path, folder: Path, text: str, ways: dict[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """`tedi evaluate video` of ways to edit one clip, and the seconds that they took."""
    found: dict[str, dict[str, Any]] = {}
    for name, options in ways.items():
        out = folder / f"{path.stem}-{name.replace(' ', '-')}.mp4"
        began = time.monotonic()
        if not out.is_file() and run(["video", str(path), text, "--out", str(out), *options]):
            raise SystemExit(1)
        seconds = time.monotonic() - began
        where = folder / f"evaluation-{out.stem}"
        if run(["evaluate", "video", str(path), str(out), "--out", str(where)]):
            raise SystemExit(1)
        report = json.loads((where / "report.json").read_text())
        found[name] = {
            side: {s["name"]: [s["value"], s["low"], s["high"], s["n"]] for s in scores}
            for side, scores in report["scores"].items()
        }
        found[name]["seconds, loading included"] = round(seconds, 1)
    return found


def sitters(folder: Path, rows: Sequence[int]) -> list[Sitter]:
    """Photos of CelebA-HQ with masks; they move as `moving` says."""
    from datasets import Dataset

    files = sorted(str(file) for file in folder.glob("*.parquet"))
    table = Dataset.from_parquet(files).select(rows)
    found = []
    for number, row in enumerate(table):
        picture, classes = row["image"].convert("RGB"), np.asarray(row["label_map"])
        found.append(Sitter(picture, classes == 0, moving(250 + 10 * (number % 5))))
    return found


def worked_on(
    model: Toolkit, path: Path, out: Path, step: Step, settings: Settings, *, head: bool = True
) -> dict[str, Any]:
    """A clip, edited by a text; gives its record."""
    steps = (step,)
    tuning = tuning_options("preview") if settings.tune else None
    networks = networks_of(model, steps, size="preview", tune=tuning)
    networks = networks if head else replace(networks, head=None)
    clip = Clip(open_source(path), out, networks, settings, run={})
    found = clip.find()
    found |= clip.tune()
    clip.draw(found)
    return found


def changes(before: Path, after: Path, quads: np.ndarray) -> np.ndarray:
    """Mean change of the channels (F, 256, 256) of known squares, in levels."""
    found = []
    for pair in zip(frames(open_source(before)), frames(open_source(after)), quads, strict=True):
        crops = [cut_out(Image.fromarray(f.pixels), pair[2], 256) for f in pair[:2]]
        a, b = (np.asarray(crop, np.float32) for crop in crops)
        found.append(np.abs(a - b).mean(axis=2))
    return np.array(found)


def ground_kept(
    stage: Stage, folder: Path, photos: Path, rows: Sequence[int], count: int
) -> dict[str, Any]:
    """What edits change of the ground beside heads and of the faces, as shipped and without masks.

    The ground is what people have painted as such, 8 of 256 pixels away from the rest; photos that
    show none are left out.
    """
    told: dict[str, Any] = {"frames of a clip": count}
    for text in ("with a beard", "with long hair", "with glasses", "smiling"):
        for name, head in (("as shipped", True), ("without masks", False)):
            ground, face, flicker = [], [], []
            for row, sitter in zip(rows, sitters(photos, rows), strict=True):
                path, scenes = folder / f"photo-{row}.mp4", [Scene(count, [sitter], ground=row)]
                if not path.is_file():
                    film(stage, path, scenes)
                out = folder / f"photo-{row}-{text.replace(' ', '-')}-{name.replace(' ', '-')}.mp4"
                if not out.is_file():
                    step = Step(text, 1.0, "default")
                    worked_on(stage.model, path, out, step, Settings(crf=0), head=head)
                change = changes(path, out, truth(scenes))
                away = Image.fromarray(sitter.ground & (soft_mask(256) > 0.5)).convert("L")
                outside = np.asarray(away.filter(ImageFilter.MinFilter(17))) > 0
                if not outside.any():
                    continue
                ground.append(change[:, outside].mean())
                face.append(change[:, ~sitter.ground].mean())
                flicker.append(np.abs(np.diff(change[:, outside], axis=0)).mean())
            told[f"{text}, {name}"] = {
                "clips": len(ground),
                "ground, levels": round(float(np.mean(ground)), 3),
                "face, levels": round(float(np.mean(face)), 3),
                "change of the ground's change from frame to frame": round(
                    float(np.mean(flicker)), 3
                ),
            }
    return told


@torch.no_grad()
def likeness(
    stage: Stage, folder: Path, photos: Path, rows: Sequence[int], count: int, key_frames: int
) -> dict[str, Any]:
    """How far the drawn face is from the person, as the identity network sees it, and by tuning.

    The face is put back as it is drawn, without an edit; frames that the generator was tuned to
    are left out.
    """
    told: dict[str, Any] = {"clips": len(rows), "key frames": key_frames}
    for name, tune in (("as shipped", 0), ("tuned", key_frames)):
        apart, seconds = [], []
        for row, sitter in zip(rows, sitters(photos, rows), strict=True):
            path, scenes = folder / f"photo-{row}.mp4", [Scene(count, [sitter], ground=row)]
            if not path.is_file():
                film(stage, path, scenes)
            out = folder / f"photo-{row}-drawn-{tune}.mp4"
            settings = Settings(crf=0, detail=0.0, tune=tune)
            begun = time.process_time()
            worked_on(stage.model, path, out, Step("smiling", 0.0, "default"), settings)
            seconds.append(time.process_time() - begun)
            looked_at = set(spread(range(count), key_frames))
            both = frames(open_source(path)), frames(open_source(out))
            pairs = zip(*both, truth(scenes), strict=True)
            for number, (*pair, square) in enumerate(pairs):
                if number in looked_at:
                    continue
                crops = [cut_out(Image.fromarray(f.pixels), square, 256) for f in pair]
                looks = [
                    stage.model.photos.identity(images.to_image(np.asarray(crop)[None]))
                    for crop in crops
                ]
                apart.append(float((looks[0] - looks[1]).norm()))
        told[name] = {
            "frames": len(apart),
            "identity distance, mean": round(float(np.mean(apart)), 3),
            "below 0.6": round(float(np.mean(np.array(apart) < 0.6)), 3),
            "seconds of processor a clip": round(float(np.mean(seconds)), 1),
        }
    return told


def blinks_kept(stage: Stage, folder: Path, photos: Path, rows: Sequence[int]) -> dict[str, Any]:
    """How much of a blink is left where an edit draws, by the openings of the eyes.

    A clip of a photo blinks for four frames of fourteen, half closed in the first and last. Told is
    the correlation of the edited clip's openings, while they are closed, with the clip's own.
    """
    count, shut = 14, {6: 0.5, 7: 1.0, 8: 1.0, 9: 0.5}
    told: dict[str, Any] = {"clips": len(rows)}
    for row, sitter in zip(rows, sitters(photos, rows), strict=True):
        face = np.asarray(sitter.picture)
        eyes = stage.model.photos.detector(face)[0].points[:2]
        closed = {number / (count - 1): share for number, share in shut.items()}
        blinker = replace(sitter, closed=lambda at, closed=closed: closed.get(at, 0.0), eyes=eyes)
        path, scenes = folder / f"blink-{row}.mp4", [Scene(count, [blinker], ground=row)]
        if not path.is_file():
            film(stage, path, scenes)
        box = np.zeros((256, 256), bool)
        for x, y in eyes * 256 / face.shape[1]:
            wide, high = (round(256 * part) for part in OPENING)
            box[round(y) - high : round(y) + high, round(x) - wide : round(x) + wide] = True
        for text in ("smiling", "older", "with glasses", "with a beard"):
            out = folder / f"blink-{row}-{text.replace(' ', '-')}.mp4"
            if not out.is_file():
                step = Step(text, 1.0, "default")
                worked_on(stage.model, path, out, step, Settings(crf=0))
            seen = []
            for clip in (path, out):
                pairs = list(zip(frames(open_source(clip)), truth(scenes), strict=True))[7:9]
                crops = [cut_out(Image.fromarray(f.pixels), quad, 256) for f, quad in pairs]
                seen.append([np.asarray(crop.convert("L"), np.float32)[box] for crop in crops])
            alike = np.corrcoef(*(np.concatenate(eyes) for eyes in seen))[0, 1]
            told.setdefault(text, []).append(round(float(alike), 3))
    return told


PARTS = ("truth", "hardships", "swaps", "speed", "memory", "steadiness", "ground", "tuned")
PARTS += ("blinks", "stylegan3")


def main() -> None:
    """Measure what is asked for, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--films", type=Path, required=True, help="folder for clips")
    parser.add_argument("--out", type=Path, help="JSON file; parts that are there are kept")
    parser.add_argument("--photos", type=Path, default=Path("../shared/data/celebahq256"))
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--generator", type=Path, help="a StyleGAN3 of tedi's W, for that part")
    parser.add_argument("--grow", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.films.mkdir(parents=True, exist_ok=True)
    if options.grow:
        return grow(options.films, options.grow)
    stage, folder = Stage(load()), options.films
    walk = folder / "walk.mp4"
    if not walk.is_file():
        film(stage, walk, [Scene(75, [Actor(2, moving(300))])])
    measures: dict[str, Callable[[], Any]] = {
        "truth": lambda: truth_recovered(stage, folder, [2, 5, 7, 11, 13, 17], 30),
        "hardships": lambda: hardships(stage, folder, 7, 40),
        "swaps": lambda: swaps(stage, folder, [(5, 2), (11, 7)], 40),
        "speed": lambda: speed(stage.model, walk, folder / "fast.mp4"),
        "memory": lambda: growth(folder, [100, 500, 2000]),
        "ground": lambda: ground_kept(stage, folder, options.photos, range(4000, 4006), 12),
        "tuned": lambda: likeness(stage, folder, options.photos, range(4000, 4003), 12, 6),
        "blinks": lambda: blinks_kept(stage, folder, options.photos, range(4000, 4006)),
        "steadiness": lambda: steadiness(walk, folder, "with a beard", STEADY),
        "stylegan3": lambda: steadiness(walk, folder, "with a beard", moved_by(options.generator)),
    }
    told = json.loads(options.out.read_text()) if options.out and options.out.is_file() else {}
    every = [name for name in PARTS if name != "stylegan3" or options.generator]
    for name in options.only or every:
        told[name] = measures[name]()
        print(name, json.dumps(told[name]), flush=True)
        if options.out:
            options.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
