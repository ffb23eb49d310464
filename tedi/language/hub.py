"""Where models lie: a folder, the hub's cache, or the hub."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from tedi.errors import TediError

T = TypeVar("T")
_HUB_ID = r"\w[\w.-]*(/\w[\w.-]*)?(@\w[\w./-]*)?"


@dataclass(frozen=True)
class Place:
    """Where transformers looks: a folder, or the hub's cache, or the hub."""

    where: str
    name: str
    revision: str | None
    offline: bool

    def load(self, kind: str, **options: Any) -> Any:
        """What the class `kind` of transformers makes of this place."""
        import transformers
        from transformers.utils import logging as verbosity

        verbosity.set_verbosity_error()
        verbosity.disable_progress_bar()
        if self.revision:
            options["revision"] = self.revision
        loader = getattr(transformers, kind).from_pretrained
        return loader(self.where, local_files_only=self.offline, **options)

    def model(self, kind: str) -> Any:
        """A float32 model, all of whose weights were there; a pooler may be missing, unused."""
        model, told = self.load(kind, dtype=torch.float32, output_loading_info=True)
        if missing := sorted(key for key in told["missing_keys"] if "pooler" not in key):
            raise TediError(
                f"{self.name}: {len(missing)} weights are missing, such as {missing[0]}"
            )
        return model


def found(source: str | Path, name: str, what: str, build: Callable[[Place], T]) -> T:
    """What `build` makes of a folder, of the hub's cache, or of the hub.

    Raises:
        TediError: of none of them.
    """
    places = _places(source, name)
    reason: Exception = FileNotFoundError("no such folder")
    for place in places:
        try:
            return build(place)
        except TediError:
            raise
        except Exception as error:  # what transformers and its client raise is theirs to change
            reason = error
            if not isinstance(error, OSError):
                break
    told = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    advice = ""
    if places and not places[-1].offline:
        advice = f"; fetch it with `hf download {places[0].where}` or give a folder"
    raise TediError(f"{name}: no {what} at {source} ({told}){advice}") from reason


def _places(source: str | Path, name: str) -> list[Place]:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return [Place(str(folder), name, None, True)]
    address = str(source).removeprefix("hf:")
    if not re.fullmatch(_HUB_ID, address):
        return []
    repository, _, revision = address.partition("@")
    return [Place(repository, name, revision or None, offline) for offline in (True, False)]
