"""Faces in photos: found, cut out as FFHQ was, and put back.

detector = load_detector(...)                          # tedi.checkpoints.mtcnn
[face] = choose(detector(pixels), "largest", "photo.jpg")
quad = quad_of(face.points)
original = align(picture, quad)
picture = paste_back(picture, edited, Alignment.of(quad, picture), original=original)
place = within(quad, unaligned(quad))                  # how StyleGAN3 turns and moves its drawing
"""

from tedi.faces.align import Alignment, align, quad_of
from tedi.faces.choose import MIN_SIZE, Which, choose
from tedi.faces.detect import Detected, Detector
from tedi.faces.paste import paste_back, soft_mask
from tedi.faces.transform import Transform, transform_of, unaligned, within

__all__ = [
    "MIN_SIZE",
    "Alignment",
    "Detected",
    "Detector",
    "Transform",
    "Which",
    "align",
    "choose",
    "paste_back",
    "quad_of",
    "soft_mask",
    "transform_of",
    "unaligned",
    "within",
]
