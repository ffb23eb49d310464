"""A grammar of captions: what a text says of a face, and texts that say it.

Text encoders train on captions composed here from the labels of tedifaces, and are measured on
requests composed the same way, with wordings that training has not seen.

>>> import numpy as np
>>> face = {"gender": "female", "smile": "broad", "bangs": True}
>>> caption = compose(face, np.random.default_rng(0), attributes=["smile"])
>>> consistent(face, caption.says)
True
"""

from tedi.grammar.captions import Caption, compose, request
from tedi.grammar.lexicon import ATTRIBUTES, backgrounds, consistent

__all__ = ["ATTRIBUTES", "Caption", "backgrounds", "compose", "consistent", "request"]
