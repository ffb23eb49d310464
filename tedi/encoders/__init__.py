"""Encoders by name: each maps a modality to codes of W+; identity networks map faces to persons."""

from tedi.registry import Table

ENCODERS = Table(
    "encoder",
    {"text": "tedi.encoders.text:TextEncoder", "tedigan": "tedi.encoders.tedigan:TediGANText"},
)

IDENTITIES = Table(
    "identity network",
    {
        "arcface": "tedi.encoders.identity:ArcFace",
        "face-api": "tedi.encoders.identity:FaceRecognition",
    },
)
