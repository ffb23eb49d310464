"""What a FACE of the command line is: a photo, a seed, a picture of tedi's, a file with a code.

A face is a start and the edits since. The start is all that its code is made of again: seed and
psi, the prompt too where there was one, or the code itself. Records carry both, so that a picture
can be edited further.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedi.cli.options import MAX_SEED
from tedi.editing import EDITS
from tedi.errors import TediError, UsageError
from tedi.outputs import SUFFIXES
from tedi.prompts import clean

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.pipeline import Toolkit

CODE_SUFFIXES = (".safetensors", ".npy", ".pt", ".pth")
EXPECTED = "a seed such as 7, a picture, or a code (.safetensors, .npy, .pt)"
MAX_PSI, MAX_STRENGTH = 2, 10


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
    if "strip" in record or record.get("seeds") or record.get("command") == "directions show":
        raise UsageError(f"{path}: shows several faces; give one's own picture or its seed")
    if record.get("command") == "edit" and "start" not in record:
        raise UsageError(f"{path}: its record does not say what code was edited; give a code file")
    try:
        weights = {str(name): str(sha) for name, sha in record["weights"].items()}
        if record.get("command") == "edit":
            steps = tuple(_step(step) for step in record["edits"])
            return Source(path.stem, _start(record["start"]), steps, path, weights)
        return Source(path.stem, _start(record), (), path, weights)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise TediError(f"{path}: its record tells no face ({error!r})") from error


def _start(told: Mapping[str, Any]) -> dict[str, Any]:
    """The start of a record, each value checked: files come from anywhere."""
    if "ws" in told and "photo" in told:
        texts = {name: str(told[name]) for name in ("photo", "sha256", "inversion", "ws")}
        return {**texts, "alignment": told["alignment"]}
    if "ws" in told:
        return {name: str(told[name]) for name in ("code", "sha256", "ws")}
    seed = told["seed"]
    if not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed {seed!r}")
    start = {"seed": seed, "psi": _number(told, "psi", MAX_PSI)}
    if "prompt" not in told:
        return start
    strength, method = _number(told, "strength", MAX_STRENGTH), _method(told)
    return {"prompt": clean(told["prompt"]), **start, "strength": strength, "method": method}


def _step(told: Mapping[str, Any]) -> Step:
    return Step(clean(told["text"]), _number(told, "strength", MAX_STRENGTH), _method(told))


def _number(told: Mapping[str, Any], name: str, most: float) -> float:
    number = told[name]
    if isinstance(number, bool) or not 0 <= number <= most:
        raise ValueError(f"{name} {number!r}")
    return number


def _method(told: Mapping[str, Any]) -> str:
    method = told.get("method", "default")
    if method not in EDITS:
        raise ValueError(f"method {method!r}")
    return str(method)


# --- codes ---------------------------------------------------------------------------------------


def check_weights(source: Source, model: "Toolkit") -> None:
    """Raises a TediError if a picture was made with other weights; a preview head draws only."""
    from tedi.pipeline import PREVIEW

    for name, sha in source.weights.items():
        here = model.weights.get(name, "none")
        if name != PREVIEW and here != sha:
            raise TediError(
                f"{source.file}: made with other weights ({name}: {sha[:8]}, here {here[:8]}), "
                "so that its face would come out another; pass --anyway to go on"
            )


def begin(model: "Toolkit", source: Source) -> "tuple[Tensor, dict[str, Any]]":
    """Code (1, L, C) of a source before its steps, and the start for records."""
    from tedi import control, zoo
    from tedi.checkpoints import codes

    slots, width = model.generator.slots, model.generator.width
    start = source.start
    if not start and source.file:
        ws = codes.load(source.file, slots=slots, width=width)
        start = {"code": source.file.name, "sha256": zoo.sha256(source.file), "ws": pack(ws)}
        return ws[None].to(model.device), start
    if "ws" in start:
        return unpack(start["ws"], slots, width, source)[None].to(model.device), start
    ws = control.style_codes(model.generator, [start["seed"]], psi=start["psi"])
    if prompt := start.get("prompt"):
        said = model.text.read([prompt])
        way = model.way(start["method"])
        ws = way(ws, [prompt], said, strength=start["strength"], new=True)
    return ws, start


def apply(model: "Toolkit", ws: "Tensor", step: Step, *, anyway: bool) -> "Tensor":
    """The code (1, L, C) after one step.

    Raises:
        UsageError: nothing of its text is understood, unless `anyway`.
    """
    from tedi.pipeline import says_something

    said = model.text.read([step.text])
    if not anyway and not says_something(said):
        raise UsageError(
            f"nothing of {step.text!r} is about a face; name what to change, such as age, hair "
            "or smile, or pass --anyway"
        )
    way = model.way(step.method)
    return way(ws, [step.text], said, strength=step.strength, new=False)


def pack(ws: "Tensor") -> str:
    """A code (L, C) as text: base64 of little-endian float32, one slot where all are alike."""
    rows = ws[:1] if bool((ws == ws[:1]).all()) else ws
    return base64.b64encode(rows.cpu().numpy().astype("<f4").tobytes()).decode()


def unpack(text: str, slots: int, width: int, source: Source) -> "Tensor":
    """The code (L, C) of `pack`.

    Raises:
        TediError: the text is no code of these sizes.
    """
    import numpy as np
    import torch

    try:
        numbers = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype("float32")
        ws = torch.from_numpy(numbers).view(-1, width).expand(slots, width).clone()
    except (binascii.Error, ValueError, RuntimeError) as error:
        raise TediError(
            f"{source.file}: the code in its record is not ({slots}, {width})"
        ) from error
    if not ws.isfinite().all():
        raise TediError(f"{source.file}: the code in its record is not finite")
    return ws


def edit_record(
    model: "Toolkit", start: Mapping[str, Any], steps: Sequence[Step], *, preview: bool = False
) -> dict[str, Any]:
    """The record of an edited picture: `read_face` makes the same face of it again."""
    made = model.record_of("", 0, preview=preview)
    texts = [start.get("prompt"), *(step.text for step in steps)]
    return {
        "command": "edit",
        "prompt": "; ".join(text for text in texts if text),
        "start": dict(start),
        "edits": [asdict(step) for step in steps],
        **{name: made[name] for name in ("preview", "dtype", "version", "weights")},
    }
