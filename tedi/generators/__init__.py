"""Generators by architecture name, as `architecture` in a weight file's metadata says it."""

from tedi.registry import Table

GENERATORS = Table(
    "generator",
    {"mobilestylegan": "tedi.generators.mobilestylegan:MobileStyleGAN"},
)
