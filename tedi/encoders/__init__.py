"""Encoders by name: each maps a modality to codes of W+; identity networks map faces to persons."""

from tedi.registry import Table

ENCODERS = Table(
    "encoder",
    {
        "text": "tedi.encoders.text:TextEncoder",
        "tedigan": "tedi.encoders.tedigan:TediGANText",
        "psp": "tedi.encoders.psp:GradualStyleEncoder",
        "e4e": "tedi.encoders.psp:Encoder4Editing",
        "psp-backbone": "tedi.encoders.psp:BackboneEncoder",
        "e4e-backbone": "tedi.encoders.psp:ProgressiveBackboneEncoder",
        "psp-w": "tedi.encoders.psp:SingleStyleCodeEncoder",
        "psp-wplus": "tedi.encoders.psp:WPlusEncoder",
        "psp-resnet": "tedi.encoders.restyle:ResNetGradualStyleEncoder",
        "psp-resnet-backbone": "tedi.encoders.restyle:ResNetBackboneEncoder",
        "e4e-resnet-backbone": "tedi.encoders.restyle:ResNetProgressiveBackboneEncoder",
        "idinvert": "tedi.encoders.idinvert:IDInvertEncoder",
    },
)

# Of the option `encoder_type` in files of pSp, e4e, ReStyle and StyleGAN3-editing -> `ENCODERS`.
ENCODER_TYPES = {
    "GradualStyleEncoder": "psp",
    "Encoder4Editing": "e4e",
    "BackboneEncoder": "psp-backbone",
    "ProgressiveBackboneEncoder": "e4e-backbone",
    "SingleStyleCodeEncoder": "psp-w",
    "BackboneEncoderUsingLastLayerIntoW": "psp-w",
    "BackboneEncoderUsingLastLayerIntoWPlus": "psp-wplus",
    "ResNetGradualStyleEncoder": "psp-resnet",
    "ResNetBackboneEncoder": "psp-resnet-backbone",
    "ResNetProgressiveBackboneEncoder": "e4e-resnet-backbone",
}

BASE_ENCODERS = Table("base-code encoder", {"bdinvert": "tedi.encoders.bdinvert:BaseCodeEncoder"})

LATENT_DISCRIMINATORS = Table(
    "latent discriminator",
    {"e4e": "tedi.encoders.latent_discriminator:LatentDiscriminator"},
)

MAPPERS = Table("latent mapper", {"styleclip": "tedi.encoders.mapper:LatentMapper"})

IDENTITIES = Table(
    "identity network",
    {
        "arcface": "tedi.encoders.identity:ArcFace",
        "face-api": "tedi.encoders.identity:FaceRecognition",
    },
)
