"""A grammar of captions and edits: what a text says of a face, and texts that say it.

Text encoders train on captions composed here from the labels of tedifaces, and are measured on
requests composed the same way, with wordings that training has not seen. `edit` makes wishes about
a face that is there ("older and without the hat"), `nonsense` prompts that are about none.

>>> import numpy as np
>>> face = {"gender": "female", "smile": "broad", "bangs": True}
>>> caption = compose(face, np.random.default_rng(0), attributes=["smile"])
>>> consistent(face, caption.says)
True
"""

from tedi.grammar.captions import Caption, compose, nonsense, request
from tedi.grammar.edits import Edit, edit
from tedi.grammar.lexicon import ATTRIBUTES, ORDERED, backgrounds, consistent

__all__ = [
    "ATTRIBUTES",
    "ORDERED",
    "Caption",
    "Edit",
    "backgrounds",
    "compose",
    "consistent",
    "edit",
    "nonsense",
    "request",
]
