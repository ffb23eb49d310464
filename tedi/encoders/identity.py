"""Who a face is: pictures to descriptors that lie near each other for one person.

`FaceRecognition` is dlib's residual network of 29 convolutions (Davis King 2017, after He et al.
2016, arXiv 1512.03385) as the JavaScript library face-api carries it, each convolution's scale
folded in; its descriptors are face-api's own to 1e-5 (tests/golden/make_face_recognition.cjs).
`ArcFace` is the IR-SE50 (Deng et al. 2019, arXiv 1801.07698) that pSp and e4e are measured with.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.encoders import ir_se
from tedi.errors import UsageError

SIZE = 150  # pixels of a face that dlib's network looks at
MEAN = (122.782, 117.001, 104.298)  # of red, green and blue, 0 to 255
# Channels and whether the block halves its input, in the order of the network.
BLOCKS = (
    *((32, False),) * 3,
    *((64, True), (64, False), (64, False), (64, False)),
    *((128, True), (128, False), (128, False)),
    *((256, True), (256, False), (256, False), (256, True)),
)
DESCRIPTOR = 128
# Left, top and side of the face in an FFHQ-aligned picture, as parts of the picture's side. On 13
# generated faces face-api's own landmarks put it at (0.165, 0.275, 0.651), deviations 0.01 to 0.02.
BOX = (0.17, 0.275, 0.66)


class Residual(nn.Module):
    """Two 3x3 convolutions and the input; the halving form pools the input and doubles it."""

    def __init__(self, enter: int, leave: int, *, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        stride, padding = (2, 0) if halve else (1, 1)
        self.conv1 = nn.Conv2d(enter, leave, 3, stride=stride, padding=padding)
        self.conv2 = nn.Conv2d(leave, leave, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if not self.halve:
            return F.relu(x + y)
        x = F.avg_pool2d(x, 2)
        y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])) + y)


class FaceRecognition(nn.Module):
    """Descriptors whose Euclidean distance says whether two faces are one person's.

    Attributes:
        size: pixels of the crop it looks at.
        same: distance below which two faces are taken for one person's (dlib's threshold).
    """

    size = SIZE
    same = 0.6
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        widths = [32, *(leave for leave, _ in BLOCKS)]
        self.blocks = nn.Sequential(
            *(
                Residual(enter, leave, halve=halve)
                for enter, (leave, halve) in zip(widths, BLOCKS, strict=False)
            )
        )
        self.head = nn.Linear(256, DESCRIPTOR, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Descriptors (N, 128) of FFHQ-aligned pictures (N, 3, S, S) in [-1, 1].

        Raises:
            UsageError: pictures that are not square, or not of three channels.
        """
        return self.describe_crop(crop(image))

    def describe_crop(self, image: Tensor) -> Tensor:
        """Descriptors (N, 128) of faces (N, 3, 150, 150) in [-1, 1], cropped as `crop` does."""
        x = ((image + 1) * 127.5 - self.mean) / 255
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.max_pool2d(F.relu(self.stem(x)), 3, stride=2)
        return self.head(self.blocks(x).mean(dim=(2, 3)))


def crop(image: Tensor, size: int = SIZE) -> Tensor:
    """The face alone (N, 3, size, size), of FFHQ-aligned pictures (N, 3, S, S).

    The box is the one that face-api lays around eyes and mouth, at its mean place.

    Raises:
        UsageError: pictures that are not square, or not of three channels.
    """
    _check(image)
    left, top, side = (max(round(part * image.shape[-1]), 1) for part in BOX)
    face = image[:, :, top : top + side, left : left + side]
    return F.interpolate(face, (size, size), mode="bilinear", antialias=True)


def _check(image: Tensor) -> None:
    if image.ndim != 4 or image.shape[1] != 3 or not image.shape[2] == image.shape[3] > 1:
        raise UsageError(f"image: expected aligned (N, 3, S, S), got {tuple(image.shape)}")


class ArcFace(nn.Module):
    """Descriptors of length 1 by IR-SE50, as pSp, e4e and StyleCLIP measure identity with.

    Its state has the names of the file `model_ir_se50.pth` that those projects share.

    Attributes:
        size: pixels of the crop it looks at.
        same: distance below which two faces are taken for one person's: squared it is 1.54, the
            threshold of the code that the file comes from; a cosine of 0.23.
    """

    size = 112
    same = 1.24

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = ir_se.input_layer(3)
        self.body = ir_se.body()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, 512),
            nn.BatchNorm1d(512),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Descriptors (N, 512) of length 1 of FFHQ-aligned pictures (N, 3, S, S) in [-1, 1].

        Raises:
            UsageError: pictures that are not square, or not of three channels.
        """
        _check(image)
        if image.shape[-1] != 256:
            image = F.adaptive_avg_pool2d(image, 256)
        return self.describe_crop(F.adaptive_avg_pool2d(image[:, :, 35:223, 32:220], 112))

    def describe_crop(self, image: Tensor) -> Tensor:
        """Descriptors (N, 512) of faces (N, 3, 112, 112) in [-1, 1], cropped as `forward` does."""
        return F.normalize(self.output_layer(self.body(self.input_layer(image))))
