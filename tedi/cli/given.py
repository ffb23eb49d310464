"""What is given beside words on the command line: files of drawings and photos, and their mix."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi import mixing
from tedi.cli.options import together
from tedi.errors import TediError, UsageError
from tedi.mixing import VARIETY
from tedi.outputs import slug

if TYPE_CHECKING:
    from tedi.pipeline import Toolkit
    from tedi.pipeline.content import Content

given_options = together(
    click.option(
        "--sketch",
        type=click.Path(path_type=Path),
        help="A line drawing of a face: it rules where things are.",
    ),
    click.option(
        "--label",
        type=click.Path(path_type=Path),
        help="A label map of an aligned face, as tedi parse --crop writes it: class numbers or "
        "their colours.",
    ),
    click.option(
        "--photo",
        type=click.Path(path_type=Path),
        help="A photo: the face begins as its largest one, not as a seed's.",
    ),
    click.option(
        "--mix",
        metavar="SHARES",
        help="Who rules which layers, such as text=fine,sketch=coarse+medium:0.5, and which parts "
        "of the face, such as text@hair; --dry-run shows the defaults.",
    ),
    click.option(
        "--variety",
        type=click.FloatRange(0, 1),
        help="How much a seed varies what a drawing leaves open: 0 not at all, 1 as faces vary."
        f"  [default: {VARIETY:g}]",
    ),
)
"""The options of `Given`."""


@dataclass(frozen=True)
class Given:
    """Files beside words.

    Attributes:
        sketch: a drawing; None where there is none, as with the others.
        label: a label map.
        photo: of a face.
        mix: shares that differ from the defaults.
        variety: how much a seed varies what drawings leave open; None for the default.
    """

    sketch: Path | None = None
    label: Path | None = None
    photo: Path | None = None
    mix: str | None = None
    variety: float | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Modality -> file of those that are given."""
        found = {"sketch": self.sketch, "label": self.label, "photo": self.photo}
        return {name: path for name, path in found.items() if path is not None}

    @property
    def name(self) -> str:
        """What pictures are called that no words name."""
        return " ".join(slug(path.stem) for path in self.files.values())

    def check(self, seeds: int = 1) -> None:
        """Raises what can be known before anything is loaded.

        Args:
            seeds: how many are asked for.

        Raises:
            UsageError: settings of files that are not given, a mix that cannot be, or several
                seeds where none has a say.
            TediError: a file that is not there.
        """
        kept = mixing.places(self.mix)
        if self.mix is not None and not (self.files or kept):
            raise UsageError("--mix: is for --sketch, --label and --photo; give one")
        if self.variety is not None and not (self.sketch or self.label):
            raise UsageError("--variety: is for --sketch and --label; give one")
        for path in self.files.values():
            if not path.is_file():
                raise TediError(f"{path}: no such file")
        if kept:
            from tedi.modalities import labels

            labels.check_names(kept.values())
        shares = mixing.chosen([*self.files, "text"], self.mix)
        if seeds > 1 and shares.get("photo") == dict.fromkeys(mixing.GROUPS, 1.0):
            raise UsageError(
                "--seed: the photo rules all layers, so that every seed gives the same face; give "
                "one seed, or leave seeds some layers as in --mix photo=coarse+medium"
            )

    def told(self, *, text: bool) -> dict[str, Any]:
        """The plan, for --dry-run: files, and every default."""
        if not (self.files or self.mix):
            return {}
        shares = mixing.chosen([*self.files, *(["text"] if text else [])], self.mix)
        files = {name: str(path) for name, path in self.files.items()}
        variety = VARIETY if self.variety is None else self.variety
        mix = mixing.told(shares, mixing.places(self.mix))
        return {**files, "mix": mix, "variety": variety}

    def load(self, model: "Toolkit", *, text: bool) -> "Content | None":
        """The content; None if nothing is given beside words."""
        if not (self.files or self.mix):
            return None
        variety = VARIETY if self.variety is None else self.variety
        return model.content(**self.files, mix=self.mix, variety=variety, text=text)
