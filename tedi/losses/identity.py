"""Distance of faces as an identity network sees them."""

from torch import Tensor

from tedi.errors import UsageError
from tedi.losses import Describe, Loss


def identity_loss(describe: Describe | None = None) -> Loss:
    """Squared Euclidean distance of descriptors: smooth where faces are equal.

    dlib's network takes two faces for one person's below 0.36.

    Args:
        describe: gives the descriptors, such as `tedi.encoders.identity.FaceRecognition`.

    Raises:
        UsageError: it is not given.
    """
    if describe is None:
        raise UsageError("identity loss: expected an identity network, got None; give one")

    def loss(image: Tensor, target: Tensor) -> Tensor:
        return (describe(image) - describe(target)).square().sum(dim=1)

    return loss
