"""How well pictures fit words, by two towers that were trained together.

CLIP (Radford et al. 2021), SigLIP (Zhai et al. 2023) and SigLIP 2 (Tschannen et al. 2025). Pictures
are scaled with antialiasing and brought to the mean and deviation that the model's own preprocessor
file states; TediGAN's released loss did neither, and left them in [-1, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tedi.errors import TediError, UsageError
from tedi.language.hub import Place, found
from tedi.language.words import CHUNK, Words, limit

KEPT = 4096
"""Texts whose embeddings are remembered."""

_BILINEAR = 2  # of PIL's resampling numbers; 3 is bicubic


@dataclass(frozen=True)
class Frame:
    """How a model wants to see pictures; called, it makes them so, differentiably.

    Attributes:
        mean: of the channels, in 0..1.
        std: of the channels.
        height: in pixels.
        width: in pixels.
        crop: keep the aspect and cut the middle out (CLIP), instead of squeezing (SigLIP).
        edge: with `crop`, length of the shorter side before the cut.
        mode: "bicubic" or "bilinear", antialiased.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    height: int
    width: int
    crop: bool
    edge: int
    mode: str

    def __call__(self, image: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] -> (N, 3, height, width), mean 0 and std 1."""
        seen = (image.clamp(-1, 1) + 1) / 2
        size = self._scaled(*image.shape[2:]) if self.crop else (self.height, self.width)
        if size != tuple(image.shape[2:]):
            seen = F.interpolate(seen, size, mode=self.mode, antialias=True).clamp(0, 1)
        if self.crop:
            top, left = (size[0] - self.height) // 2, (size[1] - self.width) // 2
            seen = seen[:, :, top : top + self.height, left : left + self.width]
        mean, std = (seen.new_tensor(part)[:, None, None] for part in (self.mean, self.std))
        return (seen - mean) / std

    def _scaled(self, height: int, width: int) -> tuple[int, int]:
        short = min(height, width)
        return self.edge * height // short, self.edge * width // short


class ImageTextSimilarity(nn.Module):
    """Cosine similarity of pictures and texts, differentiable in the pictures; frozen.

    Args:
        model: transformers model with `get_image_features` and `get_text_features`.
        words: its tokens.
        frame: how it wants to see pictures.
        patch: side of the patches that pictures are handed over in (SigLIP 2 of any
            resolution), 0 for whole pictures.
    """

    def __init__(self, model: Any, words: Words, frame: Frame, *, patch: int = 0) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.words, self.frame, self.patch, self.name = words, frame, patch, words.name
        self._said: dict[str, Tensor] = {}
        self.eval()

    def train(self, mode: bool = True) -> "ImageTextSimilarity":
        """Nothing: it stays in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor, texts: Sequence[str]) -> Tensor:
        """Similarity (N,) in [-1, 1] of images (N, 3, H, W) in [-1, 1] and a text for each.

        Args:
            image: of any size.
            texts: N of them, or one that all images are compared with.

        Raises:
            UsageError: shapes that do not fit, or a text that the model cannot read.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise UsageError(f"image: expected (N, 3, H, W), got {tuple(image.shape)}")
        if isinstance(texts, str) or len(texts) not in (1, len(image)):
            got = repr(texts) if isinstance(texts, str) else len(texts)
            raise UsageError(f"texts: expected a list of 1 or {len(image)}, got {got}")
        seen = self.of_images(image)
        return (seen * self.of_texts(texts).to(seen)).sum(dim=1)

    def of_images(self, image: Tensor) -> Tensor:
        """Embeddings (N, D) of images (N, 3, H, W) in [-1, 1], of length 1."""
        seen = self.frame(image.float())
        told = self.model.get_image_features(**self._pixels(seen))
        return F.normalize(_pooled(told), dim=1)

    @torch.no_grad()
    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, D) of texts, of length 1, without gradient; a text is read once."""
        if len(self._said) > KEPT:
            self._said.clear()
        fresh = [text for text in dict.fromkeys(texts) if text not in self._said]
        for start in range(0, len(fresh), CHUNK):
            self._read(fresh[start : start + CHUNK])
        device = next(self.model.parameters()).device
        return torch.stack([self._said[text].to(device) for text in texts])

    def _read(self, texts: list[str]) -> None:
        device = next(self.model.parameters()).device
        batch = self.words.padded(self.words.numbers(texts), device)
        told = self.model.get_text_features(**self.words.inputs(batch))
        self._said.update(zip(texts, F.normalize(_pooled(told), dim=1), strict=True))

    def _pixels(self, seen: Tensor) -> dict[str, Tensor]:
        """The model's arguments; patches are rows of (y, x, channel), all of them used."""
        if not self.patch:
            return {"pixel_values": seen}
        p, (n, c, height, width) = self.patch, seen.shape
        down, across = height // p, width // p
        cut = seen.reshape(n, c, down, p, across, p).permute(0, 2, 4, 3, 5, 1)
        patches = cut.reshape(n, down * across, -1)
        return {
            "pixel_values": patches,
            "pixel_attention_mask": torch.ones(patches.shape[:2], dtype=torch.int32).to(
                seen.device
            ),
            "spatial_shapes": torch.tensor([[down, across]] * n, device=seen.device),
        }


def _pooled(told: Any) -> Tensor:
    """Transformers 4 gives the features themselves, 5 an output that holds them."""
    return told if isinstance(told, Tensor) else told.pooler_output


def load_similarity(source: str | Path, *, name: str) -> ImageTextSimilarity:
    """Similarity of pictures and texts by a CLIP, SigLIP or SigLIP 2 model.

    Args:
        source: as of `load_backbone`.
        name: what messages call it.

    Raises:
        TediError: nothing that transformers can load is there, or it has no image tower.
    """

    def build(place: Place) -> ImageTextSimilarity:
        kind = place.load("AutoConfig").model_type
        model = place.model("AutoModel")
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            raise TediError(f"{name}: expected a model of images and texts (clip), got {kind}")
        tokenizer, processor = place.load("AutoTokenizer"), place.load("AutoImageProcessor")
        full = kind.startswith("siglip")
        words = Words(tokenizer, name, limit(model.text_model, tokenizer), full)
        patch = int(getattr(processor, "patch_size", 0)) if kind == "siglip2" else 0
        return ImageTextSimilarity(model, words, _frame(processor), patch=patch)

    return found(source, name, "image and text model", build)


def _frame(processor: Any) -> Frame:
    """The frame that an image processor of transformers describes."""
    normal = processor.do_normalize
    mean = tuple(processor.image_mean) if normal else (0.0,) * 3
    std = tuple(processor.image_std) if normal else (1.0,) * 3
    mode = "bilinear" if int(processor.resample) == _BILINEAR else "bicubic"
    if patches := getattr(processor, "max_num_patches", None):
        side = int(patches**0.5) * processor.patch_size
        return Frame(mean, std, side, side, False, side, mode)
    size, cut = dict(processor.size), bool(getattr(processor, "do_center_crop", False))
    edge = size.get("shortest_edge") or size["height"]
    within = dict(processor.crop_size) if cut else size
    return Frame(mean, std, within["height"], within["width"], "shortest_edge" in size, edge, mode)
