"""Faces in videos: followed, turned into codes, changed, and put back frame by frame.

A clip is read twice. The first pass follows one face and keeps, of each frame, where the face is
and its code; then codes and places are smoothed in time; the second pass draws each frame's code
before and after the edit and puts the difference back. In between, the generator can be tuned to
the person. Memory does not grow with the clip.
"""

from tedi.video.clip import Clip, Settings
from tedi.video.files import Source, frames, open_source
from tedi.video.networks import Networks, Tune
from tedi.video.track import Seen, Tracker
from tedi.video.writer import SUFFIXES

__all__ = [
    "SUFFIXES",
    "Clip",
    "Networks",
    "Seen",
    "Settings",
    "Source",
    "Tracker",
    "Tune",
    "frames",
    "open_source",
]
