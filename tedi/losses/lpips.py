"""LPIPS proper: "The Unreasonable Effectiveness of Deep Features" (Zhang et al. 2018).

Needs the optional package `lpips`, whose backbones are ImageNet weights that torchvision fetches
on first use. It looks at no feature maps of ours.
"""

import sys
from types import ModuleType

import torch
from torch import Tensor

from tedi.errors import TediError
from tedi.losses import Loss, Maps

INSTEAD = "choose the loss 'perceptual', which needs nothing"
DECLARED: list[torch.library.Library] = []  # what they declare vanishes with them


def lpips_loss(maps: Maps | None = None) -> Loss:
    """LPIPS version 0.1 on AlexNet, the form in which it is usually reported.

    Raises:
        TediError: the package is not installed, or its weights cannot be had.
    """
    package = import_lpips()
    try:
        network = package.LPIPS(net="alex", verbose=False).eval().requires_grad_(False)
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise TediError(f"lpips: its AlexNet cannot be loaded ({reason}); {INSTEAD}") from error

    def distance(image: Tensor, target: Tensor) -> Tensor:
        return network.to(image.device)(image, target).flatten()

    return distance


def import_lpips() -> ModuleType:
    """The package `lpips`, also where torchvision was built for a torch with CUDA.

    There torchvision describes operators that its library, which does not load, should have
    declared; LPIPS uses none of them, so an empty declaration is enough.

    Raises:
        TediError: it is not installed.
    """
    try:
        return _import()
    except ImportError as error:
        advice = f"pip install lpips, or {INSTEAD}"
        raise TediError(f"lpips: not installed ({error}); {advice}") from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    _declare_operators()
    for name in [n for n in sys.modules if n.split(".")[0] in ("torchvision", "lpips")]:
        del sys.modules[name]  # half imported
    return _import()


def _import() -> ModuleType:
    import lpips

    return lpips


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    DECLARED.append(library)
