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


def check_method(method: str) -> None:
    """Raises a UsageError unless it is a name of `EDITS`, or names a latent mapper."""
    if not method.startswith(MAPPER) and method not in EDITS:
        raise unknown("method", method, EDITS)
