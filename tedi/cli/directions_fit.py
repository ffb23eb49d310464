"""`tedi directions fit`: directions from labelled faces."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tedi.cli.directions import _find
from tedi.cli.networks import (
    UPRIGHT,
    check_unaligned,
    load_attributes,
    load_generator,
    previews_of,
    resumed,
    unaligned_option,
)
from tedi.cli.options import MAX_SEED, device_option, generator_option
from tedi.errors import TediError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.interfaces import Generator
    from tedi.latents import Direction

LABELS = Path("data/tedifaces/faces.jsonl")
JUDGE = "attributes-lite0"
COUNT = 2000
PSI = 0.8  # as tedifaces was drawn


@click.command()
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help=f"Labels of faces in the layout of tedifaces, one a line.  [default: {LABELS}]",
)
@click.option(
    "--draw",
    "count",
    type=click.IntRange(16, 1_000_000),
    help="Draw so many faces, and have a network label them, instead of --labels.  "
    f"[default: {COUNT} with --generator]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Of the first face drawn; the others count up.",
)
@click.option(
    "--attribute",
    "names",
    multiple=True,
    help="What to fit, such as smile or hair_color=red; may be repeated.  [default: all]",
)
@click.option("--given", multiple=True, help="A direction to leave alone; may be repeated.")
@click.option(
    "--space", type=click.Choice(["w", "s"]), default="w", show_default=True, help="W or S."
)
@click.option(
    "--channels",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Channels a direction of S moves.",
)
@generator_option
@unaligned_option
@device_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A .safetensors file.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
def fit(
    labels: Path | None,
    count: int | None,
    seed: int,
    names: tuple[str, ...],
    given: tuple[str, ...],
    space: str,
    channels: int,
    generator: Path | None,
    unaligned: bool,
    device: str,
    out: Path,
    overwrite: bool,
) -> None:
    """Fit directions to labelled faces; every eighth is held out for the figures.

    \b
    tedi directions fit --attribute hair_color=red --out red.safetensors
    tedi directions fit --generator ffhq.pkl --attribute hat --out hat.safetensors

    A generator of one's own draws the faces, previews that a network labels; a run that was
    stopped goes on beside OUT.
    """  # noqa: D301
    from tedi.semantics.contrasts import CONTRASTS, contrast

    if out.suffix != ".safetensors":
        raise UsageError(f"--out: expected a .safetensors file, got {out}")
    if out.exists() and not overwrite:
        raise TediError(f"{out}: already exists; pass --overwrite to replace it")
    if space == "s" and given:
        raise UsageError("--given: directions of S are single channels; leave it out")
    if labels and count:
        raise UsageError("--draw: is instead of --labels; leave one of them")
    if labels and generator:
        raise UsageError("--labels: are of tedi's own faces; leave it out beside --generator")
    check_unaligned(generator, unaligned=unaligned)
    chosen = list(dict.fromkeys(names or CONTRASTS))
    for name in chosen:
        contrast(name)
    if count or generator:
        drawing = Drawing(generator, seed, count or COUNT, device, unaligned)
        faces = drawing.faces(out.with_name(f"{out.stem}.judged.safetensors"))
    else:
        faces = _labelled(labels or LABELS)
    found = _fit(faces, chosen, space=space, channels=channels)
    if given:
        found = _project(found, [_find(name, found) for name in given])
    _write(out, found, faces, overwrite=overwrite)


@dataclass(frozen=True, eq=False)
class Faces:
    """Codes, and what their pictures show.

    Attributes:
        generator: whose W it is.
        w: codes (N, C), truncated.
        labels: N records with attributes.
        held_out: (N,) bool, kept for the figures.
        source: what they are called in files.
    """

    generator: "Generator"
    w: "Tensor"
    labels: list[dict[str, Any]]
    held_out: "Tensor"
    source: str


def _labelled(path: Path) -> Faces:
    """Faces of tedifaces with the labels of a file."""
    import torch

    from tedi.training.dataset import COUNT as NOISE
    from tedi.training.dataset import is_held_out, noise

    labels = _read_faces(path)
    indices = [face["index"] for face in labels]
    if max(indices) >= NOISE:
        raise UsageError(f"--labels: indices of tedifaces end at {NOISE - 1}, got {max(indices)}")
    generator, _ = load_generator("cpu")
    with torch.inference_mode():
        w = generator.mapping(noise(indices))
        w = generator.w_avg + PSI * (w - generator.w_avg)
    held_out = torch.tensor([is_held_out(index) for index in indices])
    return Faces(generator, w, labels, held_out, path.name)


def _read_faces(path: Path) -> list[dict[str, Any]]:
    from tedi.semantics.contrasts import check_faces

    if not path.is_file():
        way_out = "name a file, run it in tedi's repository, or have faces drawn by --draw N"
        raise TediError(f"--labels: {path}: no such file; {way_out}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        faces = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise TediError(f"--labels: {path} cannot be read as lines of JSON ({error})") from error
    check_faces(faces, path)
    return [face for face in faces if not face.get("broken")]


@dataclass(frozen=True)
class Drawing:
    """Faces to draw and label.

    Attributes:
        generator: a file that holds one; None for tedi's.
        seed: of the first.
        count: how many.
        device: where.
        unaligned: see `tedi.cli.networks.previews_of`.
    """

    generator: Path | None
    seed: int
    count: int
    device: str
    unaligned: bool = False

    def faces(self, kept: Path) -> Faces:
        """The faces, with a bar; what a stopped run judged is used again.

        Args:
            kept: where judgments are kept until all are there.

        Raises:
            UsageError: seeds that go too far, a generator that maps each slot apart, or one of
                unaligned faces that is no StyleGAN3.
        """
        import torch

        from tedi import attributes, control

        seeds = range(self.seed, self.seed + self.count)
        if seeds[-1] > MAX_SEED:
            raise UsageError(f"--seed: {self.count} faces from {self.seed} on go past {MAX_SEED}")
        generator, weights = load_generator(self.device, self.generator)
        draw = previews_of(generator, unaligned=self.unaligned)
        judge, sha256 = load_attributes(JUDGE, self.device)
        codes = functools.partial(control.style_codes, generator, psi=PSI)
        with torch.inference_mode():
            ws = torch.cat([codes([seed]) for seed in seeds])
        if not torch.equal(ws[:, :1].expand_as(ws), ws):
            raise UsageError(f"--generator: {generator.name} maps each slot apart; it has no one W")

        @torch.inference_mode()
        def judged(number: int) -> "Tensor":
            return judge(draw(ws[number : number + 1]))[0].cpu()

        about = {"seed": self.seed, "psi": PSI, "weights": weights, "judge sha256": sha256}
        drawn = f", {UPRIGHT}" if self.unaligned else ""
        about |= {"drawn": UPRIGHT} if self.unaligned else {}
        rows = resumed(judged, count=self.count, path=kept, about=about, label="faces")
        kept.unlink(missing_ok=True)
        held_out = torch.arange(self.count) % 8 == 7
        labels = attributes.likeliest(rows.float())
        source = f"{self.count} previews from seed {self.seed}, labelled by {JUDGE}{drawn}"
        return Faces(generator.to(torch.device("cpu")), ws[:, 0].cpu(), labels, held_out, source)


def _fit(faces: Faces, names: Sequence[str], *, space: str, channels: int) -> "list[Direction]":
    import torch

    from tedi.semantics.contrasts import fit_contrast, sides
    from tedi.semantics.directions import channel_direction

    generator, w = faces.generator, faces.w
    with torch.inference_mode():
        if space == "w":
            held_out = faces.held_out
            return [fit_contrast(w, faces.labels, name, held_out=held_out) for name in names]
        styles = generator.styles(w[:, None].expand(-1, generator.slots, -1))
        made = []
        for name in names:
            wanted, used = sides(faces.labels, name)
            kept = {layer: style[used] for layer, style in styles.items()}
            made.append(channel_direction(kept, wanted[used], name=name, count=channels))
        return made


def _project(found: "list[Direction]", given: "list[Direction]") -> "list[Direction]":
    """Each direction without the given ones; those that are given themselves are left out."""
    from tedi.semantics.directions import project_out

    names = {direction.name for direction in given}
    rest = [direction for direction in found if direction.name not in names]
    if not rest:
        raise UsageError("--given: nothing is left to fit; name an --attribute besides")
    return [project_out(direction, given) for direction in rest]


def _write(out: Path, found: "list[Direction]", faces: Faces, *, overwrite: bool) -> None:
    from tedi import __version__
    from tedi.checkpoints import directions as files

    told = {"recipe": "tedi directions fit", "data": faces.source, "for": faces.generator.name}
    metadata = {**told, "version": __version__}
    files.save(out, found, metadata, exist="overwrite" if overwrite else "error")
    for direction in found:
        figures = ", ".join(f"{key} {value}" for key, value in direction.figures.items())
        click.echo(f"{direction.name}: {figures}", err=True)
    click.echo(out)
