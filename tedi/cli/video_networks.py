"""The networks of a toolkit, as `tedi.video` takes them."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedi import config
from tedi.cli.faces import Step, apply
from tedi.cli.schedules import options_of
from tedi.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from tedi.encoders.parser import FaceParser
    from tedi.faces import Transform
    from tedi.interfaces import Generator, Transformable
    from tedi.inversion.pti import TuningOptions
    from tedi.pipeline import Toolkit
    from tedi.video import Networks, Tune


def moves(generator: "Generator") -> bool:
    """Whether a generator is told where to put what it draws."""
    from tedi.interfaces import Transformable

    return isinstance(generator, Transformable)


def networks_of(
    model: "Toolkit",
    steps: Sequence[Step],
    *,
    size: str,
    anyway: bool = False,
    tune: "TuningOptions | None" = None,
    field: float = 0.0,
) -> "Networks":
    """The networks of a toolkit, as `tedi.video` takes them; all are loaded here.

    Args:
        model: the toolkit.
        steps: the edits, one after the other.
        size: "preview" or "full".
        anyway: edit though nothing of a text is understood.
        tune: how the generator is tuned to persons, see `tuning_options`; None: it is not.
        field: widths that drawings which are moved show more on every side.
    """
    from tedi.interfaces import Transformable
    from tedi.video import Networks

    def drawn_by(generator: "Generator") -> dict[str, Any]:
        draw = generator.preview if size == "preview" else generator.synthesis
        drawn = {"draw": draw, "edit": functools.partial(edit, generator=generator)}
        if isinstance(generator, Transformable):
            drawn["place"] = functools.partial(_moved, generator, field)
        return drawn

    def tuned(path: Path) -> Networks:
        return replace(networks, **drawn_by(model.load_generator(path)))

    def edit(ws: "Tensor", generator: "Generator") -> "Tensor":
        step = functools.partial(apply, model, anyway=anyway, generator=generator)
        return functools.reduce(step, steps, ws)

    generator, photos = model.generator, model.photos
    networks = Networks(
        detect=photos.detector,
        describe=photos.identity,
        encode=photos.encoder,
        **drawn_by(generator),
        fine=generator.layers("fine"),
        device=model.device,
        head=functools.partial(_head, photos.parser),
        tune=_tuner(model, tune) if tune else None,
        tuned=tuned,
    )
    return networks


def _head(parser: "FaceParser", image: "Tensor") -> "Tensor":
    """Share (N, 1, h, w) of aligned faces that is the person, not the ground."""
    return 1 - parser.scores(image).softmax(dim=1)[:, :1]


def _moved(
    generator: "Transformable", field: float, place: "Transform"
) -> "Callable[[Tensor], Tensor]":
    """What draws faces turned and moved, with a field around them; always at full size."""
    from tedi.interfaces import Transformable

    moved = generator.transformed(degrees=place.degrees, tx=place.tx, ty=place.ty)
    if field and isinstance(moved, Transformable):
        return functools.partial(moved.expanded, field=field)
    return moved.synthesis


def tuning_options(
    size: str, preset: str | None = None, changes: Sequence[str] = ()
) -> "TuningOptions":
    """How a generator is tuned to persons; faces drawn at 256 px need no steps at full size.

    Args:
        size: "preview" or "full".
        preset: "published" for the paper's schedule, whose steps look at what is drawn; "fast" or
            None for tedi's own.
        changes: single settings as NAME=VALUE.

    Raises:
        UsageError: what no setting is, or one of the pivots, which are the codes of the frames.
    """
    for change in changes:
        if (name := change.partition("=")[0]).startswith("pivot"):
            raise UsageError(f"--set: {name}: the pivots are the frames' own codes; leave it out")
    options: TuningOptions = options_of("pti", preset=preset)
    if size == "preview":
        options = replace(options, steps=options.steps or options.finish, finish=0)
    changed: TuningOptions = config.changed(options, changes, where="--set")
    return changed


def _tuner(model: "Toolkit", options: "TuningOptions") -> "Tune":
    """What tunes the generator to pictures of a person at their codes, and writes what changed."""
    from tedi.inversion.pti import PivotalTuning

    photos = model.photos
    known: dict[str, Any] = {"maps": photos.features.maps, "describe": photos.identity}
    method = PivotalTuning(model.generator, photos.encoder, **known, options=options)
    total = options.steps + options.finish

    def tune(target: "Tensor", ws: "Tensor", path: Path, tell: Callable[[int, int], None]) -> None:
        found = method(target, lambda step, *_: tell(step + 1, total), start=ws)
        figures = {name: values.tolist() for name, values in found.extras["figures"].items()}
        record = {"command": "video", "settings": asdict(options), "figures": figures}
        model.save_generator(path, found.generator, record=json.dumps(record), exist="overwrite")

    return tune
