"""Encoders by name: each maps a modality to codes of W+."""

from tedi.registry import Table

ENCODERS = Table(
    "encoder",
    {"text": "tedi.encoders.text:TextEncoder", "tedigan": "tedi.encoders.tedigan:TediGANText"},
)
