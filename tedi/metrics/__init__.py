"""Metrics by name; each says what it compares, how many it saw, and how sure it is.

>>> metric = METRICS["diversity"]()
>>> metric.compares, metric.higher_is_better
('pictures of one prompt, with unconditional pictures of the same seeds', True)
"""

from tedi.metrics.inversion import Inverted
from tedi.metrics.score import Drawn, Edited, Metric, Score
from tedi.registry import Table

__all__ = ["METRICS", "Drawn", "Edited", "Inverted", "Metric", "Score"]

METRICS = Table(
    "metric",
    {
        "attribute-accuracy": "tedi.metrics.accuracy:AttributeAccuracy",
        "all-named-right": "tedi.metrics.accuracy:AllNamedRight",
        "diversity": "tedi.metrics.diversity:Diversity",
        "frechet": "tedi.metrics.frechet:Frechet",
        "r-precision": "tedi.metrics.retrieval:RPrecision",
        "target-reached": "tedi.metrics.edits:TargetReached",
        "wishes-reached": "tedi.metrics.edits:WishesReached",
        "others-unchanged": "tedi.metrics.edits:OthersUnchanged",
        "nothing-else": "tedi.metrics.edits:NothingElse",
        "identity-kept": "tedi.metrics.kept:IdentityKept",
        "perceptual-change": "tedi.metrics.kept:PerceptualChange",
        "steps-moved": "tedi.metrics.kept:StepsMoved",
        "log-odds-gained": "tedi.metrics.kept:OddsGained",
        "mse": "tedi.metrics.inversion:MeanSquaredError",
        "psnr": "tedi.metrics.inversion:PeakSignal",
        "ssim": "tedi.metrics.inversion:StructuralSimilarity",
        "perceptual-distance": "tedi.metrics.inversion:PerceptualDistance",
        "identity-distance": "tedi.metrics.inversion:IdentityDistance",
        "same-person": "tedi.metrics.inversion:SamePerson",
        "same-person-edited": "tedi.metrics.inversion:EditedPerson",
        "distance-from-mean": "tedi.metrics.inversion:DistanceFromMean",
        "outside-w": "tedi.metrics.inversion:OutsideW",
        "editability-error": "tedi.metrics.inversion:EditabilityError",
        "average-precision": "tedi.metrics.boundaries:AveragePrecision",
        "line-ratio": "tedi.metrics.drawings:LineRatio",
        "line-distance": "tedi.metrics.drawings:LineDistance",
        "lines-lost": "tedi.metrics.drawings:LinesLost",
        "large-parts": "tedi.metrics.drawings:LargeParts",
        "all-parts": "tedi.metrics.drawings:AllParts",
        "parts-lost": "tedi.metrics.drawings:PartsLost",
        "video-identity": "tedi.metrics.video:PersonKept",
        "video-perceptual": "tedi.metrics.video:PictureKept",
        "video-jitter": "tedi.metrics.video:Jitter",
        "video-flicker": "tedi.metrics.video:FlickerInside",
        "seconds": "tedi.metrics.inversion:Seconds",
        "memory": "tedi.metrics.inversion:Memory",
    },
)
