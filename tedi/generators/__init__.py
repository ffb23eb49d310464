"""Generators and discriminators by architecture name, as a weight file's metadata says it."""

from tedi.registry import Table

GENERATORS = Table(
    "generator",
    {
        "mobilestylegan": "tedi.generators.mobilestylegan:MobileStyleGAN",
        "stylegan1": "tedi.generators.stylegan1:StyleGAN1",
        "stylegan2": "tedi.generators.stylegan2:StyleGAN2",
        "stylegan3": "tedi.generators.stylegan3:StyleGAN3",
    },
)
DISCRIMINATORS = Table(
    "discriminator",
    {
        "stylegan1": "tedi.generators.discriminator:StyleGAN1Discriminator",
        "stylegan2": "tedi.generators.discriminator:StyleGAN2Discriminator",
    },
)
