"""Faces in videos: followed, turned into codes, changed, and put back frame by frame.

A clip is read twice. The first pass follows one face and keeps, of each frame, where the face is
and its code; then codes and places are smoothed in time; the second pass draws each frame's code
before and after the edit and puts the difference back. Memory does not grow with the clip.
"""

from tedi.video.clip import Clip, Networks, Settings
from tedi.video.files import SUFFIXES, Source, frames, open_source
from tedi.video.track import Seen, Tracker

__all__ = [
    "SUFFIXES",
    "Clip",
    "Networks",
    "Seen",
    "Settings",
    "Source",
    "Tracker",
    "frames",
    "open_source",
]
