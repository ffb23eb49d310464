"""Files that a command leaves behind: names nobody has to think up, writing that is all or nothing.

>>> slug("A smiling woman, with bangs!")
'a-smiling-woman-with-bangs'
>>> for path in output_paths("smile.png", prompts=["a smile"], seeds=range(2)):
...     print(path)
smile-seed0.png
smile-seed1.png
"""

import errno
import os
import secrets
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from tedi.errors import TediError, UsageError
from tedi.registry import unknown

Exist = Literal["error", "overwrite"]

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
FIELDS = ("prompt", "seed", "index")

# A file name holds 255 bytes on most systems; the rest is for "-seed…", a number and the suffix.
_SLUG_BYTES = 180
# Windows opens a device instead of a file for these, whatever the suffix.
_RESERVED = {"con", "prn", "aux", "nul", "conin", "conout"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in range(10)
}


def picture_format(path: str | os.PathLike[str]) -> str:
    """Name of the picture format that a file's suffix asks for.

    >>> picture_format("smile.JPG")
    'JPEG'

    Raises:
        UsageError: the suffix is missing or not one of `SUFFIXES`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise UsageError(f"{path}: unknown picture suffix {suffix!r}; choose from {known}")
    return SUFFIXES[suffix]


def slug(prompt: str, *, limit: int = 60) -> str:
    """File name for a prompt, safe on every system: letters and digits of any script, and hyphens.

    Args:
        prompt: any text; one without a letter or digit gives "face".
        limit: characters at most, 12 or more; scripts of several bytes a letter may get fewer, so
            that a whole file name stays under 255 bytes.

    Returns:
        Lower-case text that ends with a whole word where one ends past the middle.

    >>> slug("Женщина с чёлкой")
    'женщина-с-чёлкой'
    >>> slug("CON")
    'con-face'
    """
    if limit < 12:
        raise UsageError(f"limit: expected 12 characters or more, got {limit}")
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", prompt).casefold())
    name = _shorten("-".join(_word_characters(text).split()), limit)
    if name in _RESERVED:
        return f"{name}-face"
    return name or "face"


def _word_characters(text: str) -> str:
    """Text with letters, digits and accents kept, invisibles dropped, a space for the rest."""
    kept: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        if character.isalnum():
            kept.append(character)
        elif category in ("Mn", "Mc"):  # an accent or vowel sign, which needs a letter to sit on
            if kept and kept[-1] != " " and not _selects_variation(character):
                kept.append(character)
        elif category != "Cf" and character not in "'’":
            kept.append(" ")
    return "".join(kept)


def _selects_variation(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _shorten(text: str, limit: int) -> str:
    head = text[:limit].encode()[:_SLUG_BYTES].decode(errors="ignore")
    if head == text or text[len(head)] == "-":
        return head
    words = head.rpartition("-")[0]
    return words if len(words) > len(head) // 2 else head


def output_paths(
    out: str | os.PathLike[str] | None,
    *,
    prompts: Sequence[str],
    seeds: Sequence[int],
    suffix: str = ".png",
) -> Iterator[Path]:
    """Where each picture of a run goes, prompt by prompt and, for each prompt, seed by seed.

    `out` may be
    - None or a folder (ends with "/", is one, or has no suffix): `a-smiling-woman-seed3.png` in
      it; a file that is already there is kept, the new one gets `-2`, `-3`, …
    - a file: that name for one picture; `smile-seed3.png` for several seeds and
      `smile-a-smiling-woman-seed3.png` for several prompts.
    - a pattern with `{prompt}`, `{seed}` and `{index}` (0 for the run's first picture), format
      specs allowed: `faces/{index:04d}`. Braces that are meant as such are doubled.

    No two pictures of a run get the same path: the second one gets `-2`. Only names in a folder
    give way to files that exist; a file or a pattern names what is meant, and `write_atomically`
    refuses or overwrites it.

    Args:
        out: a file, a folder, a pattern, or None for the current folder.
        prompts: what the pictures show, one row each.
        seeds: seeds of each prompt's pictures; a range is not unrolled.
        suffix: format of names made here, such as ".webp".

    Returns:
        An iterator that makes each path, and looks at the disk for it, when it is asked for.

    Raises:
        UsageError: an unknown field, a broken format spec or an unknown picture suffix; at once,
            not when the first path is asked for.
    """
    text = os.fspath(out) if out is not None else ""
    template, keeps_files = _template(text, len(prompts), len(seeds), suffix)
    picture_format(_fill(template, "face", 0, 0))
    return _paths(template, prompts, seeds, keeps_files)


def _template(out: str, prompts: int, seeds: int, suffix: str) -> tuple[str, bool]:
    """Pattern that stands for `out`, and whether its names give way to files that exist."""
    default = "{prompt}-seed{seed}" + suffix
    pattern = "{" in out or "}" in out
    path = Path(out)
    if not out or out.endswith(("/", os.sep)) or (not pattern and os.path.isdir(out)):
        return os.path.join(out, default), True
    if pattern and ("{" in path.name or "}" in path.name):
        return (out if Path(_fill(out, "face", 0, 0)).suffix else out + suffix), False
    if not path.suffix:
        return os.path.join(out, default), True
    if prompts * seeds <= 1:
        return out, False
    fields = "-{prompt}-seed{seed}" if prompts > 1 else "-seed{seed}"
    return str(path.with_name(path.stem + fields + path.suffix)), False


def _fill(template: str, prompt: str, seed: int, index: int) -> str:
    """The template with its fields filled in; only the three known fields are looked up."""
    try:
        for _, field, spec, _ in string.Formatter().parse(template):
            if field is not None and field not in FIELDS:
                raise unknown("--out field", field, FIELDS)
            if spec and "{" in spec:
                raise UsageError(f"--out {template!r}: a format spec holds no fields")
        return template.format(prompt=prompt, seed=seed, index=index)
    except (ValueError, OverflowError) as error:
        hint = "a brace that opens no field is written twice"
        raise UsageError(f"--out {template!r}: {error}; {hint}") from None


def _paths(
    template: str, prompts: Sequence[str], seeds: Sequence[int], keeps_files: bool
) -> Iterator[Path]:
    last_numbers: dict[str, int] = {}
    index = 0
    for prompt in prompts:
        name = slug(prompt)
        for seed in seeds:
            yield _free(Path(_fill(template, name, seed, index)), last_numbers, keeps_files)
            index += 1


def _free(path: Path, last_numbers: dict[str, int], keeps_files: bool) -> Path:
    """The path, or the first of `-2`, `-3`, … that is free in this run (and on the disk).

    Args:
        path: what the picture would best be called.
        last_numbers: last number given to each path of this run, added to here; counting goes on
            from it, so that many pictures of one name stay cheap.
        keeps_files: whether files on the disk count as taken.
    """
    key = str(path).casefold()  # many disks take "A.png" and "a.png" for one file
    number = last_numbers.get(key, 0)
    while True:
        number += 1
        free = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        taken = number > 1 and str(free).casefold() in last_numbers
        if not taken and not (keeps_files and os.path.lexists(free)):
            break
    last_numbers[key] = number
    last_numbers.setdefault(str(free).casefold(), 1)
    return free


def write_atomically(
    path: str | os.PathLike[str],
    writer: Callable[[Path], object],
    *,
    exist: Exist = "error",
) -> None:
    """Write a file so that it is there whole or not at all; its folders are made.

    Args:
        path: the file to write.
        writer: is given a path in the same folder, with the same suffix, and writes that file.
        exist: "error" keeps a file that is already there, even one that another process makes
            meanwhile; "overwrite" replaces it in one step.

    Raises:
        TediError: the file exists, is a folder, or cannot be written. Whatever the writer raises
            that is no OSError passes through; nothing half-written stays in either case.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise TediError(f"{path}: is a folder; name a file in it")
    if exist == "error" and os.path.lexists(path):
        raise _exists(path)
    temporary = path.with_name(f".tedi-{secrets.token_hex(8)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.touch(exist_ok=False)
            usual = temporary.stat().st_mode
            temporary.unlink()
            writer(temporary)
            temporary.chmod(usual)  # safetensors makes files that nobody else may read
            _publish(temporary, path, exist)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise TediError(f"{path}: cannot be written: {_reason(error, path)}") from error


def _publish(temporary: Path, path: Path, exist: Exist) -> None:
    """Give the finished file its name, in one step."""
    if exist == "overwrite":
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # no hard links here (FAT, some network folders)
        _claim_and_replace(temporary, path)


def _claim_and_replace(temporary: Path, path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise _exists(path) from None
    try:
        os.replace(temporary, path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _exists(path: Path) -> TediError:
    return TediError(f"{path}: already exists; pass --overwrite to replace it")


def _reason(error: OSError, path: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space or pass another --out"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to write in {path.parent}; pass another --out"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"a part of {path.parent} is a file, not a folder; pass another --out"
    if error.errno == errno.ENAMETOOLONG:
        return "the name is too long; pass a shorter --out"
    return error.strerror or str(error)
