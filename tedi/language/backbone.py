"""Text backbones: prompts to a state for each token."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tedi.language.bert import load_bert
from tedi.language.hub import Place, found
from tedi.language.words import CHUNK, MAX_TOKENS, Words, limit

_TEXT_TOWERS = {
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
    "siglip2": "Siglip2TextModel",
    "siglip2_text_model": "Siglip2TextModel",
}


class TextBackbone(nn.Module):
    """A transformer that gives a state for each token; frozen unless it is to be trained.

    Args:
        model: encoder whose output has `last_hidden_state`, of transformers or a `Bert`.
        tokenizer: its tokenizer.
        name: what the zoo or the hub calls it.
        trainable: let gradients into it, and let it follow `train()`; a frozen one stays in
            evaluation mode, whatever module it is a part of.
        max_tokens: most tokens of a prompt, start and end marks among them.
        full: prompts are padded to `max_tokens`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        trainable: bool = False,
        max_tokens: int = MAX_TOKENS,
        full: bool = False,
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(trainable)
        self.words = Words(tokenizer, name, max_tokens, full)
        self.tokenizer, self.name, self.max_tokens = tokenizer, name, max_tokens
        self.trainable = trainable
        self.width: int = model.config.hidden_size
        self.eval()

    def train(self, mode: bool = True) -> "TextBackbone":
        """Training mode, dropout that is, where the backbone is trainable."""
        return super().train(mode and self.trainable)

    def forward(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token states (N, T, width) and their mask (N, T), True for a token.

        States under a mask of False are zero. In a text padded to full length the last position
        counts as a token: SigLIP gathers there what the text says as a whole.

        Raises:
            UsageError: no prompt, one that `clean` refuses, or one of more than `max_tokens`.
        """
        rows = self.words.numbers(prompts)
        with torch.set_grad_enabled(self.trainable and torch.is_grad_enabled()):
            return self._states(rows)

    def _states(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Short prompts do not wait for long ones: those of a length go together."""
        device = next(self.model.parameters()).device
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        length = self.max_tokens if self.words.full else len(rows[order[-1]])
        states = torch.zeros(len(rows), length, self.width, device=device)
        mask = torch.zeros(len(rows), length, dtype=torch.bool, device=device)
        for start in range(0, len(order), CHUNK):
            some = order[start : start + CHUNK]
            batch = self.words.padded([rows[i] for i in some], device)
            used = batch["attention_mask"].bool()
            if self.words.full:
                used[:, -1] = True
            told = self.model(**self.words.inputs(batch)).last_hidden_state.float()
            states[some, : used.shape[1]] = told * used[..., None]
            mask[some, : used.shape[1]] = used
        return states, mask

    def save(self, folder: str | Path) -> None:
        """Write model and tokenizer in transformers' layout, for `load_backbone`.

        Only what is trainable can be written; the frozen is where it was read.
        """
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_backbone(source: str | Path, *, name: str, trainable: bool = False) -> TextBackbone:
    """Backbone from a folder in transformers' layout, or by hub id.

    Args:
        source: folder, or `ORG/NAME` or `ORG/NAME@revision` of the Hugging Face hub; what the hub's
            cache holds is taken without asking the hub.
        name: what messages and metadata call it.
        trainable: see `TextBackbone`.

    Raises:
        TediError: nothing that transformers can load is there, or weights are missing in it.
    """

    def build(place: Place) -> TextBackbone:
        read = None if trainable else load_bert(Path(place.where))
        model, tokenizer = read or _by_transformers(place)
        full = model.config.model_type.startswith("siglip")
        return TextBackbone(
            model,
            tokenizer,
            name=name,
            trainable=trainable,
            max_tokens=limit(model, tokenizer),
            full=full,
        )

    return found(source, name, "text backbone", build)


def _by_transformers(place: Place) -> tuple[Any, Any]:
    """The part of a model that reads text, and its tokenizer."""
    config, tokenizer = place.load("AutoConfig"), place.load("AutoTokenizer")
    return _text_model(place, config), tokenizer


def _text_model(place: Place, config: Any) -> Any:
    if config.model_type in _TEXT_TOWERS:
        return place.model(_TEXT_TOWERS[config.model_type])
    if getattr(config, "is_encoder_decoder", False):
        return place.model("AutoModelForTextEncoding")
    model = place.model("AutoModel")
    return model.text_model if hasattr(config, "text_config") else model
