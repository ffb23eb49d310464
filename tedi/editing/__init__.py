"""Editing: new codes from codes."""

from tedi.registry import Table, unknown

EDITS = Table(
    "method",
    {
        "default": "tedi.editing.look:Look",
        "global": "tedi.editing.channels:Global",
        "linear": "tedi.editing.text:Linear",
        "mix": "tedi.editing.text:Mix",
        "move": "tedi.editing.text:Search",
        "optimize": "tedi.editing.text:Optimize",
        "tedigan": "tedi.editing.tedigan:TediGANMix",
    },
)
"""Ways for a text to change codes: what `--method` chooses from."""

USES = {"default": ("attributes-lite0",), "global": ("slopes-ffhq",)}
"""Weights that ways draw on beside those of the generator and of the text encoder."""

MAPPER = "mapper:"
"""Begins the method of records that is a file of one's own; see `tedi.editing.mapper`."""

DIRECTION = "direction:"
"""Begins the method of records that is a direction; see `tedi.editing.direction`."""

STRONGEST = 10
"""Strength of a text or a mapper, at most."""

FARTHEST = 100.0
"""Displacement along a direction, at most."""


def check_method(method: str) -> None:
    """Raises a UsageError unless it is a name of `EDITS`, or names a latent mapper or direction."""
    if not method.startswith((MAPPER, DIRECTION)) and method not in EDITS:
        raise unknown("method", method, EDITS)


def limits(method: str) -> tuple[float, float]:
    """Least and most strength of a method."""
    return (-FARTHEST, FARTHEST) if method.startswith(DIRECTION) else (0.0, STRONGEST)
