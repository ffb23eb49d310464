"""Faces that a generator of their own draws: its file lies beside the code or the picture.

Pivotal tuning and F/W+ leave codes that only the generator they changed draws as they should; see
`tedi.checkpoints.delta`. Records name its file and hash: {"file": …, "sha256": …}.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedi.cli.faces import Source
from tedi.errors import TediError, UsageError
from tedi.outputs import Exist

if TYPE_CHECKING:
    from tedi.interfaces import Generator
    from tedi.pipeline import Toolkit


def beside(path: Path) -> Path:
    """Where the generator of a code or picture lies."""
    return path.with_name(f"{path.stem}-generator.safetensors")


def write_changed(
    model: "Toolkit", generator: "Generator", path: Path, record: str, *, exist: Exist
) -> dict[str, str]:
    """Write a changed generator beside a code or picture; gives what records say of it."""
    from tedi import zoo

    file = beside(path)
    model.save_generator(file, generator, record=record, exist=exist)
    return {"file": file.name, "sha256": zoo.sha256(file)}


def told_of_changed(source: Source) -> Mapping[str, Any] | None:
    """What the record of a source says of a generator of its own; None where it has none."""
    from tedi.checkpoints import codes

    if source.start:
        return source.start.get("generator")
    if source.photo or source.file is None or source.file.suffix.lower() != ".safetensors":
        return None
    try:
        record = codes.load_record(source.file)
    except TediError:  # a code of somebody else's, without a record
        return None
    start = record.get("start")
    return record.get("generator") or (start or {}).get("generator")


def read_changed(model: "Toolkit", source: Source) -> "Generator | None":
    """The generator of a source's own; None where it has none.

    Raises:
        TediError: its file is not there, is another, or belongs to another generator.
    """
    from tedi import zoo

    told = told_of_changed(source)
    if told is None:
        return None
    assert source.file is not None  # only files have records
    path = source.file.parent / Path(str(told.get("file"))).name
    if not path.is_file():
        raise TediError(f"{path}: no such file; {source.file} is drawn by it")
    if (sha := zoo.sha256(path)) != told.get("sha256"):
        wanted = str(told.get("sha256"))[:8]
        raise TediError(f"{path}: is not what draws {source.file} ({wanted}, here {sha[:8]})")
    return model.load_generator(path)


def refuse_changed(source: Source, inversion: str) -> None:
    """Raises a UsageError where only a generator of its own draws a face."""
    if told_of_changed(source):
        raise UsageError(f"{source.file}: has a generator of its own; only tedi edit draws by it")
    if source.photo and inversion in ("fspace", "pti"):
        raise UsageError(f"--inversion {inversion}: is for tedi invert and tedi edit; try optimize")
