"""Which faces a direction parts: those with an attribute from those without it.

>>> faces = [{"beard": "full", "gender": "male"}, {"beard": "none", "gender": "female"}]
>>> CONTRASTS["beard"].sides(faces)
[True, None]
>>> CONTRASTS["male"].sides(faces)
[True, False]
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.grammar import ATTRIBUTES
from tedi.latents import Direction
from tedi.registry import unknown
from tedi.semantics.directions import fit_boundary

Value = str | bool
Claims = Mapping[str, tuple[Value, ...]]


@dataclass(frozen=True)
class Contrast:
    """Two sides; faces on neither are left out.

    Attributes:
        wanted: attribute -> values of the faces it leads to; all must hold.
        others: the same of the faces it leads away from.
    """

    wanted: Claims
    others: Claims

    def sides(self, faces: Iterable[Mapping[str, Any]]) -> list[bool | None]:
        """True, False or None (on neither side) for each face."""
        return [
            True if _holds(face, self.wanted) else False if _holds(face, self.others) else None
            for face in faces
        ]


def _holds(face: Mapping[str, Any], claims: Claims) -> bool:
    return all(face.get(attribute) in values for attribute, values in claims.items())


def contrast(name: str) -> Contrast:
    """The contrast of a name of `CONTRASTS`, or of "attribute=value" against all other values.

    Raises:
        UsageError: no such name, attribute or value.
    """
    attribute, equals, said = name.partition("=")
    if not equals:
        if name not in CONTRASTS:
            raise unknown("direction", name, CONTRASTS)
        return CONTRASTS[name]
    if attribute not in ATTRIBUTES or attribute == "background":
        raise unknown("attribute", attribute, [a for a in ATTRIBUTES if a != "background"])
    values = {str(value).lower(): value for value in ATTRIBUTES[attribute]}
    if said.lower() not in values:
        raise unknown(attribute, said, values)
    return _one(attribute, values[said.lower()])


def _one(attribute: str, value: Value) -> Contrast:
    """One value against all others."""
    rest = tuple(other for other in ATTRIBUTES[attribute] if other != value)
    return Contrast({attribute: (value,)}, {attribute: rest})


_MALE: Claims = {"gender": ("male",)}
_FEMALE: Claims = {"gender": ("female",)}
_ADULT = ("young adult", "middle-aged", "old")
_COLORS = ("black", "brown", "blond", "red", "gray", "other")


def _colors() -> dict[str, Contrast]:
    named = _COLORS[:-1]
    return {
        f"{color}-hair": Contrast(
            {"hair_color": (color,)},
            {"hair_color": tuple(other for other in _COLORS if other != color)},
        )
        for color in named
    }


# Beards, make-up, earrings and the length of hair are asked of one gender only: else the
# direction is mostly gender.
CONTRASTS: dict[str, Contrast] = {
    "female": Contrast(_FEMALE, _MALE),
    "male": Contrast(_MALE, _FEMALE),
    "smile": Contrast({"smile": ("broad",)}, {"smile": ("none",)}),
    "mouth-open": _one("mouth_open", True),
    "young": Contrast({"age": ("teen", "young adult")}, {"age": ("middle-aged", "old")}),
    "old": Contrast({"age": ("old",)}, {"age": ("young adult", "middle-aged")}),
    "child": Contrast({"age": ("baby", "child")}, {"age": _ADULT}),
    **_colors(),
    "long-hair": Contrast(
        {**_FEMALE, "hair_length": ("long",)}, {**_FEMALE, "hair_length": ("short", "bald")}
    ),
    "bald": Contrast(
        {**_MALE, "hair_length": ("bald",), "age": _ADULT},
        {**_MALE, "hair_length": ("short", "medium", "long"), "age": _ADULT},
    ),
    "curly-hair": Contrast({"hair_texture": ("curly",)}, {"hair_texture": ("straight",)}),
    "bangs": _one("bangs", True),
    "beard": Contrast(
        {**_MALE, "beard": ("stubble", "goatee", "full"), "age": _ADULT},
        {**_MALE, "beard": ("none",), "age": _ADULT},
    ),
    "glasses": Contrast({"glasses": ("eyeglasses",)}, {"glasses": ("none",)}),
    "sunglasses": Contrast({"glasses": ("sunglasses",)}, {"glasses": ("none", "eyeglasses")}),
    "hat": _one("hat", True),
    "earrings": Contrast({**_FEMALE, "earrings": (True,)}, {**_FEMALE, "earrings": (False,)}),
    "makeup": Contrast(
        {**_FEMALE, "makeup": (True,), "age": ("teen", *_ADULT)},
        {**_FEMALE, "makeup": (False,), "age": ("teen", *_ADULT)},
    ),
    "dark-skin": Contrast({"skin": ("dark",)}, {"skin": ("light", "medium")}),
    "chubby": _one("chubby", True),
    "thick-brows": _one("thick_brows", True),
    "pose-left": Contrast({"pose": ("left",)}, {"pose": ("front", "right")}),
    "pose-right": Contrast({"pose": ("right",)}, {"pose": ("front", "left")}),
}


def sides(faces: Sequence[Mapping[str, Any]], name: str) -> tuple[Tensor, Tensor]:
    """Faces with an attribute and faces on either side of its contrast, both (N,) bool."""
    found = contrast(name).sides(faces)
    labels = torch.tensor([side is True for side in found])
    return labels, torch.tensor([side is not None for side in found])


def fit_contrast(
    w: Tensor, faces: Sequence[Mapping[str, Any]], name: str, *, held_out: Tensor
) -> Direction:
    """The boundary in W of one contrast.

    Args:
        w: (N, C) codes of the faces.
        faces: N records with attributes.
        name: of `CONTRASTS`, or "attribute=value".
        held_out: (N,) bool, faces kept for the figures.
    """
    labels, used = sides(faces, name)
    return fit_boundary(w[used], labels[used], name=name, held_out=held_out[used])


def check_faces(faces: list[dict[str, Any]], source: object) -> None:
    """Refuse records without an index or with none of the attributes, and no records at all.

    Raises:
        UsageError: names the line.
    """
    if not faces:
        raise UsageError(f"{source}: holds no face")
    for line, face in enumerate(faces, start=1):
        index = face.get("index") if isinstance(face, dict) else None
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise UsageError(f"{source}, line {line}: expected an index of tedifaces, got {index}")
        if not ATTRIBUTES.keys() & face.keys():
            raise UsageError(f"{source}, line {line}: holds no attribute of tedifaces")
