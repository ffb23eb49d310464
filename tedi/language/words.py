"""Prompts to token numbers, in the way a model was trained to see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tedi.errors import UsageError
from tedi.prompts import clean

MAX_TOKENS = 256
"""Of a prompt, whatever the model could take."""

CHUNK = 32
"""Prompts of about one length that go through a model together."""


_FOREIGN = "молодая женщина улыбается امرأة شابة تبتسم μια νεαρή γυναίκα"  # a young woman smiles


@dataclass(frozen=True)
class Words:
    """Prompts to token numbers, in the way a model was trained to see them.

    Attributes:
        tokenizer: of transformers, or `tedi.language.bert.Tokens`.
        name: of the model, for messages.
        max_tokens: with start and end marks.
        full: pad every text to `max_tokens`, as SigLIP needs, instead of to its neighbours.
    """

    tokenizer: Any
    name: str
    max_tokens: int = MAX_TOKENS
    full: bool = False

    @cached_property
    def any_script(self) -> bool:
        """Whether words of other scripts than Latin are known, as XLM-R knows them.

        A vocabulary of English takes such a word letter by letter, or not at all.
        """
        tokens = self.tokenizer([_FOREIGN], add_special_tokens=False)["input_ids"][0]
        letters = sum(map(str.isalpha, _FOREIGN))
        return self.tokenizer.unk_token_id not in tokens and len(tokens) <= letters / 2

    def numbers(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token numbers of each prompt, not padded.

        Raises:
            UsageError: no prompt, one that `clean` refuses, or one of too many tokens.
        """
        if not prompts:
            raise UsageError("prompts: expected one or more, got none")
        rows: list[list[int]] = self.tokenizer(
            [clean(p, any_script=self.any_script) for p in prompts]
        )["input_ids"]
        longest = max(map(len, rows))
        if longest > self.max_tokens:
            raise UsageError(
                f"prompt: {longest} tokens, at most {self.max_tokens} fit; shorten it, "
                f"{self.name} reads no more"
            )
        return rows

    def padded(self, rows: Sequence[list[int]], device: torch.device) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` (N, T) of token numbers."""
        length = self.max_tokens if self.full else max(map(len, rows))
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            start = length - len(row) if self.tokenizer.padding_side == "left" else 0
            place = slice(start, start + len(row))
            ids[i, place], mask[i, place] = torch.tensor(row), 1
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}

    def inputs(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What of a padded batch the model is given; SigLIP looks at its padding, too."""
        known = self.tokenizer.model_input_names
        return {name: part for name, part in batch.items() if not self.full or name in known}


def limit(model: Any, tokenizer: Any) -> int:
    """Most tokens that a model takes; RoBERTa's kin lose the positions up to their padding's."""
    positions = getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS
    for name, part in model.named_modules():
        if "position" in name and getattr(part, "padding_idx", None) is not None:
            positions -= part.padding_idx + 1
    return int(min(positions, tokenizer.model_max_length, MAX_TOKENS))
