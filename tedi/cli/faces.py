"""What a FACE of the command line is: a photo, a seed, a picture of tedi's, a file with a code.

A face is a start and the edits since. The start is all that its code is made of again: seed and
psi, the prompt too where there was one, or the code itself. Records carry both, so that a picture
can be edited further; also one that was made of several faces, whose start is the code they gave.
"""

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi import mixing
from tedi.cli.generate import _exists
from tedi.cli.options import MAX_SEED
from tedi.editing import STRONGEST, check_method, limits
from tedi.errors import TediError, UsageError
from tedi.outputs import SUFFIXES, output_paths, slug
from tedi.prompts import STRENGTH, clean

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.interfaces import Generator
    from tedi.pipeline import Toolkit

CODE_SUFFIXES = (".safetensors", ".npy", ".pt", ".pth")
EXPECTED = "a seed such as 7, a picture, or a code (.safetensors, .npy, .pt)"
MAX_PSI = 2


@dataclass(frozen=True)
class Step:
    """One edit: the text, its strength and the method."""

    text: str
    strength: float
    method: str


@dataclass(frozen=True)
class Source:
    """A face before anything is loaded.

    Attributes:
        name: what it is called in file names.
        start: of its record; empty for a code file, which is read when the generator is known.
        steps: edits since.
        file: picture or code file; None for a seed.
        weights: name -> sha256 of those it was made with; none for seeds, codes and photos.
        photo: the file is a photo, of which no code is known yet.
    """

    name: str
    start: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    file: Path | None = None
    weights: dict[str, str] = field(default_factory=dict)
    photo: bool = False

    @property
    def seed(self) -> int | None:
        """Seed of the start; a code has none."""
        return self.start.get("seed")

    def without(self, count: int) -> tuple[Step, ...]:
        """The steps without the last `count`.

        Raises:
            UsageError: there are fewer.
        """
        if count > len(self.steps):
            edits = "1 edit" if len(self.steps) == 1 else f"{len(self.steps) or 'no'} edits"
            raise UsageError(f"--undo {count}: {self.file or self.name} carries {edits}")
        return self.steps[: len(self.steps) - count]


# --- reading -------------------------------------------------------------------------------------


def read_face(face: str, *, psi: float | None, photo: bool = False) -> Source:
    """The face that an argument names.

    Args:
        face: a seed, a picture or a code file.
        psi: of a seed's face; None for 0.7.
        photo: take a picture for a photo, though tedi made it.

    Raises:
        UsageError: none of the three, a picture that tells no face, or a psi where it is known.
        TediError: a file that is not there or damaged.
    """
    if face.isdecimal():
        if len(face) > len(str(MAX_SEED)) or int(face) > MAX_SEED:
            raise UsageError(f"FACE: seeds end at {MAX_SEED}, got {face[:20]}")
        start = {"seed": int(face), "psi": 0.7 if psi is None else psi}
        return Source(f"seed{int(face)}", start)
    path = Path(face)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and suffix not in CODE_SUFFIXES and not path.is_file():
        raise UsageError(f"FACE: expected {EXPECTED}, got {face[:60]!r}")
    if psi is not None:
        raise UsageError(f"--psi: is for seeds, and {path} is a face already; leave it out")
    if suffix not in CODE_SUFFIXES:
        return Source(path.stem, file=path, photo=True) if photo else _picture(path)
    if photo:
        raise UsageError(f"--photo: {path} is a code; leave it out")
    if not path.is_file():
        raise TediError(f"{path}: no such file")
    return Source(path.stem, file=path)


def _picture(path: Path) -> Source:
    from tedi.images import read_provenance

    record = read_provenance(path)
    if record is None:
        return Source(path.stem, file=path, photo=True)
    start = record.get("start")
    if isinstance(start, dict) and "faces" in start:
        raise UsageError(f"{path}: several faces were edited; pass --photo to begin anew")
    several = "strip" in record or "grid" in record or record.get("seeds")
    if several or record.get("command") == "directions show":
        raise UsageError(f"{path}: shows several faces; give one's own picture or its seed")
    if mixing.places(str(record.get("mix", ""))):
        raise UsageError(
            f"{path}: --mix {record['mix']} joined several codes in it; pass --photo and "
            "--no-align to edit what it shows"
        )
    if record.get("command") == "edit" and "start" not in record:
        raise UsageError(f"{path}: its record does not say what code was edited; give a code file")
    try:
        weights = {str(name): str(sha) for name, sha in record["weights"].items()}
        if "start" in record:
            steps = tuple(_step(step) for step in record["edits"])
            return Source(path.stem, _start(record["start"]), steps, path, weights)
        return Source(path.stem, _start(record), (), path, weights)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise TediError(f"{path}: its record tells no face ({error!r})") from error


def _start(told: Mapping[str, Any]) -> dict[str, Any]:
    """The start of a record, each value checked: files come from anywhere."""
    own = {}
    if "generator" in told:
        own["generator"] = {name: str(told["generator"][name]) for name in ("file", "sha256")}
    if "ws" in told and "photo" in told:
        texts = {name: str(told[name]) for name in ("photo", "sha256", "inversion", "ws")}
        lies = {"align": False} if told.get("align") is False else {}
        return {**texts, "alignment": told["alignment"], **lies, **own}
    if "ws" in told:
        names = ("made", "ws") if "made" in told else ("code", "sha256", "ws")
        return {name: str(told[name]) for name in names} | own
    seed = told["seed"]
    if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed {seed!r}")
    start = {"seed": seed, "psi": _number(told, "psi", MAX_PSI)}
    if "codes" in told:
        start |= {name: told[name] for name in ("content", "mix", "variety", "codes")}
    if "prompt" not in told:
        return start
    strength, method = _number(told, "strength", STRONGEST), _method(told)
    prompt = clean(told["prompt"]) if told["prompt"] else ""
    return {"prompt": prompt, **start, "strength": strength, "method": method}


def _step(told: Mapping[str, Any]) -> Step:
    method = _method(told)
    least, most = limits(method)
    return Step(clean(told["text"]), _number(told, "strength", most, least), method)


def _number(told: Mapping[str, Any], name: str, most: float, least: float = 0) -> float:
    number = told[name]
    if isinstance(number, bool) or not least <= number <= most:
        raise ValueError(f"{name} {number!r}")
    return number


def _method(told: Mapping[str, Any]) -> str:
    method = str(told.get("method", "default"))
    check_method(method)
    return method


# --- codes ---------------------------------------------------------------------------------------


def check_weights(source: Source, model: "Toolkit") -> None:
    """Raises a TediError if a picture was made with other weights; a preview head draws only."""
    from tedi.pipeline import PREVIEW

    known = model.all_weights
    for name, sha in source.weights.items():
        here = known.get(name, "none")
        if name != PREVIEW and here != sha:
            raise TediError(
                f"{source.file}: made with other weights ({name}: {sha[:8]}, here {here[:8]}), "
                "so that its face would come out another; pass --anyway to go on"
            )


def begin(model: "Toolkit", source: Source) -> "tuple[Tensor, dict[str, Any]]":
    """Code (1, L, C) of a source before its steps, and the start for records."""
    from tedi import zoo
    from tedi.checkpoints import codes
    from tedi.latents import pack

    slots, width = model.generator.slots, model.generator.width
    start = source.start
    if not start and source.file:
        ws = codes.load(source.file, slots=slots, width=width)
        start = {"code": source.file.name, "sha256": zoo.sha256(source.file), "ws": pack(ws)}
        return ws[None].to(model.device), start
    if "ws" in start:
        return unpack(start["ws"], slots, width, source)[None].to(model.device), start
    content = model.contents.restored(start) if "codes" in start else None
    return model.begun(
        start.get("prompt", ""),
        start["seed"],
        content=content,
        psi=start["psi"],
        strength=start.get("strength", STRENGTH),
        method=start.get("method", "default"),
    ), start


def apply(
    model: "Toolkit",
    ws: "Tensor",
    step: Step,
    *,
    anyway: bool,
    generator: "Generator | None" = None,
) -> "Tensor":
    """The code (1, L, C) after one step, see `Toolkit.moved`, which also says what it raises."""
    move = functools.partial(model.moved, strength=step.strength, method=step.method)
    return move(ws, step.text, anyway=anyway, generator=generator)


def unpack(text: str, slots: int, width: int, source: Source) -> "Tensor":
    """The code (L, C) of `tedi.latents.pack` in the record of a source.

    Raises:
        TediError: the text is no code of these sizes.
    """
    from tedi import latents

    try:
        return latents.unpack(text, slots, width)
    except UsageError as error:
        raise TediError(f"{source.file}: its record holds no code ({error})") from error


def edit_record(
    model: "Toolkit", start: Mapping[str, Any], steps: Sequence[Step], *, preview: bool = False
) -> dict[str, Any]:
    """The record of an edited picture: `read_face` makes the same face of it again."""
    from tedi.pipeline import weights_of

    made = model.record_of("", 0, preview=preview)
    begun = [start.get("method", "default")] if start.get("prompt") else []
    weights = weights_of([*begun, *(step.method for step in steps)])
    made["weights"] |= weights | model.contents.weights(start.get("codes", ()))
    texts = [start.get("prompt"), *(step.text for step in steps)]
    return {
        "command": "edit",
        "prompt": "; ".join(text for text in texts if text),
        "start": dict(start),
        "edits": [asdict(step) for step in steps],
        **{name: made[name] for name in ("preview", "dtype", "version", "weights")},
    }


def brief(start: Mapping[str, Any]) -> dict[str, Any]:
    """A start without the page of digits that a code is."""
    return {name: value for name, value in start.items() if name not in ("ws", "codes")}


# --- files ---------------------------------------------------------------------------------------


def result_paths(
    out: str | None, names: Sequence[tuple[str, str]], *, seed: int | None = None, whose: str
) -> list[Path]:
    """Where pictures go: names made here step over files that exist.

    Args:
        out: a file, a folder, a pattern, or None for the current folder.
        names: a file's name and the {prompt} of a pattern, for each picture.
        seed: the {seed} of a pattern; None where there is none.
        whose: what has no seed, for the message.

    Raises:
        UsageError: a pattern with {seed} where there is none, or one file for several pictures.
    """
    text = out or ""
    if seed is None and "{seed" in text:
        raise UsageError(f"--out {text!r}: {whose} has no seed; name it by {{prompt}}")
    pattern = "{" in text or "}" in text
    if (pattern or (Path(text).suffix and not text.endswith(os.sep))) and not os.path.isdir(text):
        if len(names) > 1 and not pattern:
            raise UsageError(f"--out {text!r}: {len(names)} pictures need a folder or {{index}}")
        return list(output_paths(text, prompts=[name for _, name in names], seeds=[seed or 0]))
    return list(_free_paths(Path(text), [stem for stem, _ in names]))


def _free_paths(folder: Path, stems: Sequence[str]) -> Iterator[Path]:
    taken: set[Path] = set()
    for stem in stems:
        first, number = folder / f"{slug(stem)}.png", 1
        path = first
        while path in taken or os.path.lexists(path):
            number += 1
            path = first.with_name(f"{first.stem}-{number}.png")
        taken.add(path)
        yield path


def check_files(*paths: Path | None, code: Path | None = None, overwrite: bool) -> None:
    """Raises what writing pictures and a code would, before anything is loaded."""
    if code and code.suffix.lower() != ".safetensors":
        raise UsageError(f"--save-code: expected a .safetensors file, got {code}")
    for file in (*paths, code):
        if file and os.path.lexists(file) and not overwrite:
            raise _exists(file)


def tell(
    path: Path, code: Path | None, record: Mapping[str, Any], *, as_json: bool, **more: Any
) -> None:
    """Print paths, or the record without the code's numbers."""
    if not as_json:
        return click.echo("\n".join(map(str, filter(None, [path, code]))))
    told = {"path": str(path), **record, **more}
    if start := record.get("start"):
        several = {"faces": [brief(one) for one in start["faces"]]} if "faces" in start else None
        told["start"] = several or brief(start)
    click.echo(json.dumps(told | ({"code": str(code)} if code else {})))
