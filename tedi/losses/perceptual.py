"""Distance of pictures as a network's feature maps see it.

As LPIPS (Zhang et al. 2018, arXiv 1801.03924, equation 1) with all channel weights 1: features are
normalised over channels, squared differences averaged over the map, and levels weighed equally.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.errors import UsageError
from tedi.losses import Loss, Maps


def perceptual_loss(maps: Maps | None = None) -> Loss:
    """Mean over levels of the squared distance of channel-normalised features, 0 to 4.

    Args:
        maps: gives the features, such as `AttributeModel.maps`.

    Raises:
        UsageError: it is not given.
    """
    if maps is None:
        raise UsageError("perceptual loss: expected maps of features, got None; give a model's")

    def loss(image: Tensor, target: Tensor) -> Tensor:
        return distance(maps(image), maps(target))

    return loss


def distance(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Perceptual distances (N,), 0 to 4, of pictures given as feature maps (N, D, h, w)."""
    return torch.stack([_level(a, b) for a, b in zip(left, right, strict=True)]).mean(dim=0)


def _level(a: Tensor, b: Tensor) -> Tensor:
    """Mean over places, (N,), of the squared distance of unit features (N, D, h, w)."""
    difference = F.normalize(a, dim=1, eps=1e-8) - F.normalize(b, dim=1, eps=1e-8)
    return difference.square().sum(dim=1).mean(dim=(1, 2))
