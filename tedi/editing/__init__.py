"""Editing: new codes from codes."""

from tedi.registry import Table

EDITS = Table(
    "method",
    {
        "default": "tedi.editing.text:Search",
        "global": "tedi.editing.channels:Global",
        "linear": "tedi.editing.text:Linear",
        "mix": "tedi.editing.text:Mix",
        "optimize": "tedi.editing.text:Optimize",
        "tedigan": "tedi.editing.tedigan:TediGANMix",
    },
)
"""Ways for a text to change codes: what `--method` chooses from."""
