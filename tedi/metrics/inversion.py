"""How well photos of faces are inverted: how like them codes draw, and how editable codes are.

A code that draws a photo exactly may be worth nothing: Image2StyleGAN's can be moved along a
direction and fall apart. So likeness stands beside the distance from W, and beside what is lost
when a code is edited, drawn, encoded and moved back.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.losses import Describe, Loss
from tedi.metrics.score import Metric, Score, estimate

WINDOW, SIGMA = 11, 1.5  # pixels of SSIM's Gaussian window, and its deviation
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
LEAST_MSE = 1e-10  # equal pictures have a PSNR of 100 dB
TRIM = (0.01, 0.99)  # percentiles between which e4e's mean is taken

Codes = Callable[[Tensor], Tensor]
"""Codes (N, L, C) -> something of each, (N, …)."""


@dataclass(frozen=True)
class Inverted:
    """Figures of N photos inverted by one method.

    Attributes:
        figures: name -> (N,); the names are those that `Measure` gives, and "seconds" and "memory".
        networks: figure -> what looked, where it is a network.
        same: identity distance below which two faces are one person's.
        truth: attribute -> (N,) probability that the photo shows it, in the eyes of the judge.
        scores: attribute -> (N,) log-odds that the code shows it.
        judge: name of what looked at the photos.
        reader: name of what read the codes.
    """

    figures: Mapping[str, Tensor]
    networks: Mapping[str, str] = field(default_factory=dict)
    same: float = math.nan
    truth: Mapping[str, Tensor] = field(default_factory=dict)
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    judge: str = ""
    reader: str = ""


# --- arithmetic ----------------------------------------------------------------------------------


def mse(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error (N,) of pictures (N, 3, H, W), their levels brought to [0, 1].

    A quarter of what papers give that leave them in [-1, 1].
    """
    return (_levels(image) - _levels(target)).square().mean(dim=(1, 2, 3))


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (N,) in dB of pictures (N, 3, H, W); 100 where they are equal."""
    return -10 * mse(image, target).clamp_min(LEAST_MSE).log10()


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (N,) of the luma of pictures (N, 3, H, W); 1 where they are equal.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity",
    equation 13 and its constants: a Gaussian window of 11 pixels and deviation 1.5, moved over all
    places where it fits.

    Raises:
        UsageError: pictures smaller than the window.
    """
    if min(image.shape[-2:]) < WINDOW:
        got = "x".join(map(str, image.shape[-2:]))
        raise UsageError(f"image: expected {WINDOW} pixels a side or more for SSIM, got {got}")
    luma = torch.tensor(LUMA).to(image).view(1, 3, 1, 1)
    x, y = ((_levels(each) * luma).sum(dim=1, keepdim=True) for each in (image, target))
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean(dim=(1, 2, 3))


def _levels(image: Tensor) -> Tensor:
    """In [0, 1], clamped as a picture file clamps them."""
    return (image.clamp(-1, 1) + 1) / 2


def _blur(x: Tensor) -> Tensor:
    """Means (N, 1, h, w) of x (N, 1, H, W) under the Gaussian window where it fits."""
    places = torch.arange(WINDOW).to(x) - WINDOW // 2
    window = (-(places**2) / (2 * SIGMA**2)).exp()
    window = window / window.sum()
    return F.conv2d(F.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))


def w_distance(ws: Tensor, w_avg: Tensor) -> Tensor:
    """Mean over slots of the Euclidean distance of codes (N, L, C) from w̄ (C,), (N,)."""
    return (ws - w_avg).norm(dim=2).mean(dim=1)


@torch.no_grad()
def editability_error(ws: Tensor, *, edit: Codes, draw: Codes, encode: Codes) -> Tensor:
    """How far codes come back from an edit, (N,): ‖ws − ws'‖₂ over all slots.

    Latent editing consistency of e4e (Tov et al. 2021, arXiv 2102.02766, appendix): the code is
    edited and drawn, the drawing encoded, and the same move taken back. The encoder is one and the
    same whatever found the code, so the figure also tells how far that lies from where it reads.

    Args:
        ws: (N, L, C).
        edit: codes -> moved codes, at one strength.
        draw: codes -> pictures that the encoder looks at.
        encode: pictures -> codes.
    """
    move = edit(ws) - ws
    back = encode(draw(ws + move)) - move
    return (ws - back).flatten(1).norm(dim=1)


@dataclass(frozen=True)
class Measure:
    """Measures codes of photos.

    Attributes:
        w_avg: w̄ (C,) of the generator.
        draw: codes -> previews, which the encoder looks at.
        encode: pictures -> codes, the visual encoder.
        edit: codes -> moved codes, for the editability error.
        perceptual: a distance of pictures.
        describe: an identity network.
        p_norm: codes -> mean square of P-norm+ coordinates, about 1 in W.
    """

    w_avg: Tensor
    draw: Codes
    encode: Codes
    edit: Codes
    perceptual: Loss
    describe: Describe
    p_norm: Codes

    @torch.no_grad()
    def __call__(
        self, image: Tensor, target: Tensor, ws: Tensor, moved: Tensor
    ) -> dict[str, Tensor]:
        """Figures (N,) by name.

        Args:
            image: what the codes draw, at full size, reduced to the target's (N, 3, h, h).
            target: the photos.
            ws: codes (N, L, C).
            moved: `edit` of them.
        """
        image = image.clamp(-1, 1)
        return {
            "mse": mse(image, target),
            "psnr": psnr(image, target),
            "ssim": ssim(image, target),
            "perceptual": self.perceptual(image, target),
            "identity": self.apart(image, target),
            "w_distance": w_distance(ws, self.w_avg),
            "p_norm": self.p_norm(ws),
            "editability": editability_error(
                ws, edit=lambda _: moved, draw=self.draw, encode=self.encode
            ),
        }

    @torch.no_grad()
    def apart(self, image: Tensor, target: Tensor) -> Tensor:
        """Distance of persons (N,), by the identity network."""
        return (self.describe(image) - self.describe(target)).norm(dim=1)


# --- metrics -------------------------------------------------------------------------------------


class _OverPhotos(Metric):
    """The mean of one figure over photos."""

    figure: ClassVar[str]
    looked: ClassVar[str] = ""  # figure whose network looked; "" for its own
    compares: ClassVar[str] = "photos at 256 px, with the full-size drawings of their codes"
    reference: ClassVar[str] = "the photos"
    higher_is_better: ClassVar[bool] = False
    takes: ClassVar[type] = Inverted

    def __call__(self, sample: Inverted) -> list[Score]:
        """One score."""
        values = self.values(sample).double()
        known = values.isfinite()
        if not known.any():
            raise UsageError(f"{self.figure}: not measured for any photo")
        found = estimate(values.nan_to_num(0) * known, known, rate=self.rate)
        network = sample.networks.get(self.looked or self.figure, "arithmetic")
        told = self.details(sample, values[known])
        return [self.score(found, n=int(known.sum()), network=network, details=told)]

    def values(self, sample: Inverted) -> Tensor:
        """(N,); not finite where it was not measured."""
        if self.figure not in sample.figures:
            raise UsageError(f"{self.figure}: expected figures of photos, got none")
        return sample.figures[self.figure]

    def details(self, sample: Inverted, values: Tensor) -> dict[str, Any]:
        """What else should be known; which network looked, where one did."""
        network = sample.networks.get(self.figure)
        return {"note": f"by {network}"} if network else {}


class MeanSquaredError(_OverPhotos):
    """Mean squared error of levels in [0, 1]."""

    name: ClassVar[str] = "MSE, levels in [0, 1]"
    figure: ClassVar[str] = "mse"


class PeakSignal(_OverPhotos):
    """Peak signal-to-noise ratio."""

    name: ClassVar[str] = "PSNR, dB"
    figure: ClassVar[str] = "psnr"
    higher_is_better: ClassVar[bool] = True


class StructuralSimilarity(_OverPhotos):
    """Structural similarity, 1 for equal pictures."""

    name: ClassVar[str] = "SSIM of luma"
    figure: ClassVar[str] = "ssim"
    higher_is_better: ClassVar[bool] = True


class PerceptualDistance(_OverPhotos):
    """Distance of features; scores of two networks cannot be compared."""

    name: ClassVar[str] = "perceptual distance"
    figure: ClassVar[str] = "perceptual"


class IdentityDistance(_OverPhotos):
    """Euclidean distance of descriptors of persons."""

    name: ClassVar[str] = "identity distance"
    figure: ClassVar[str] = "identity"

    def details(self, sample: Inverted, values: Tensor) -> dict[str, Any]:
        """The network, and its threshold."""
        network = sample.networks.get("identity", "a network")
        return {"note": f"by {network}, below {sample.same:g} for one person"}


class SamePerson(_OverPhotos):
    """Share of drawings that an identity network takes for the person in the photo."""

    name: ClassVar[str] = "taken for the same person"
    figure: ClassVar[str] = "identity"
    higher_is_better: ClassVar[bool] = True
    rate: ClassVar[bool] = True

    def values(self, sample: Inverted) -> Tensor:
        """1 where the distance is below the network's threshold, else 0."""
        distances = super().values(sample)
        same = (distances < sample.same).double()
        return torch.where(distances.isfinite(), same, torch.nan)

    def details(self, sample: Inverted, values: Tensor) -> dict[str, Any]:
        """The threshold; the network is told with the distance."""
        return {"threshold": sample.same}


class EditedPerson(SamePerson):
    """Share of edited photos that the network takes for the person in the photo.

    The photo's own detail is put back where the edit changes nothing, as in `tedi edit`.
    """

    name: ClassVar[str] = "edited, taken for the same person"
    figure: ClassVar[str] = "edited_identity"
    looked: ClassVar[str] = "identity"
    compares: ClassVar[str] = "photos at 256 px, with themselves after an edit"

    def details(self, sample: Inverted, values: Tensor) -> dict[str, Any]:
        """The threshold and the edit."""
        note = sample.networks.get("editability", "one edit")
        return {"threshold": sample.same, "note": note}


class DistanceFromMean(_OverPhotos):
    """Mean distance of slots from w̄."""

    name: ClassVar[str] = "distance from mean W"
    figure: ClassVar[str] = "w_distance"
    compares: ClassVar[str] = "codes, with the mean of W"
    reference: ClassVar[str] = "the mean of W"


class OutsideW(_OverPhotos):
    """Mean square of P-norm+ coordinates: about 1 for codes of W, more outside."""

    name: ClassVar[str] = "P-norm+ mean square"
    figure: ClassVar[str] = "p_norm"
    compares: ClassVar[str] = "codes, with those that the mapping makes"
    reference: ClassVar[str] = "W, where it is about 1"


class EditabilityError(_OverPhotos):
    """How far codes come back from an edit."""

    name: ClassVar[str] = "editability error"
    figure: ClassVar[str] = "editability"
    compares: ClassVar[str] = "codes, with themselves edited, drawn, encoded and moved back"
    reference: ClassVar[str] = "the codes before"

    def details(self, sample: Inverted, values: Tensor) -> dict[str, Any]:
        """The encoder and the edit, and the mean between the 1st and the 99th percentile."""
        low, high = values.quantile(torch.tensor(TRIM).to(values))
        inner = values[(values >= low) & (values <= high)]
        note = sample.networks.get("editability", "one edit")
        if not len(inner):  # two photos
            return {"note": note}
        trimmed = float(inner.mean())
        return {"trimmed": trimmed, "note": f"{note}; {trimmed:.4g} within 1 to 99 %"}


class Seconds(_OverPhotos):
    """Time from an aligned face to a code, with the figures that `tedi invert` tells of it."""

    name: ClassVar[str] = "seconds a photo"
    figure: ClassVar[str] = "seconds"
    compares: ClassVar[str] = "the clock before and after an aligned face is inverted"
    reference: ClassVar[str] = "the clock"


class Memory(_OverPhotos):
    """Most memory held while a photo is inverted, with every network that is loaded."""

    name: ClassVar[str] = "memory at its peak, GB"
    figure: ClassVar[str] = "memory"
    compares: ClassVar[str] = "memory held while an aligned face is inverted"
    reference: ClassVar[str] = "no memory"
