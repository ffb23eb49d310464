"""Text backbones: the one door to `transformers`.

A backbone turns prompts into token states; what they mean for a face is learned by
`tedi.encoders.text`, which sits on a frozen backbone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tedi.errors import TediError, UsageError
from tedi.prompts import clean

MAX_TOKENS = 256


class TextBackbone(nn.Module):
    """A frozen transformer that gives a state for each token.

    Args:
        model: transformers encoder whose output has `last_hidden_state`.
        tokenizer: its tokenizer.
        name: what the zoo or the hub calls it.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer, self.name = tokenizer, name
        self.width: int = model.config.hidden_size

    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token states (N, T, width) and their mask (N, T), True for a token.

        Raises:
            UsageError: a prompt that `clean` refuses, or of more than 256 tokens.
        """
        batch = self.tokenizer([clean(p) for p in prompts], return_tensors="pt", padding=True)
        if batch["input_ids"].shape[1] > MAX_TOKENS:
            n = batch["input_ids"].shape[1]
            raise UsageError(f"prompt: {n} tokens, at most {MAX_TOKENS} fit; shorten it")
        device = next(self.model.parameters()).device
        mask = batch["attention_mask"].to(device)
        states = self.model(input_ids=batch["input_ids"].to(device), attention_mask=mask)
        return states.last_hidden_state, mask.bool()


def load_backbone(source: str | Path, *, name: str) -> TextBackbone:
    """Backbone from a folder in transformers' layout, or by hub id.

    Raises:
        TediError: nothing that transformers can load is there.
    """
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as verbosity

    verbosity.set_verbosity_error()
    verbosity.disable_progress_bar()
    local = Path(source).is_dir()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        model = AutoModel.from_pretrained(source, local_files_only=local, dtype=torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TediError(f"{name}: no text backbone at {source} ({reason})") from error
    return TextBackbone(model, tokenizer, name=name)
