"""The text encoder of TediGAN, as far as it is published: a named baseline.

TediGAN (Xia et al. 2021, arXiv 2012.03308, section 3.2) regresses the W+ code of a picture from
its caption; neither network nor weights were released. The network here is the text encoder of
AttnGAN (Xu et al. 2018, arXiv 1711.10485), which its data loader was written for: embeddings of
300 numbers, one bidirectional LSTM of 128 a side, and a linear head that gives every slot's offset
from the mean of W. Trained by `tedi.training.tedigan`.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tedi.prompts import clean

END = "<end>"  # index 0: padding, and all there is of a text without a known word
MAX_WORDS = 20


def split_words(text: str) -> list[str]:
    r"""Words of a text as AttnGAN parts it: lower case, `\w+`, ASCII only.

    >>> split_words("A smiling woman, 30, with a café-au-lait hat")
    ['a', 'smiling', 'woman', '30', 'with', 'a', 'caf', 'au', 'lait', 'hat']
    """
    words = re.findall(r"\w+", text.lower())
    plain = [word.encode("ascii", "ignore").decode() for word in words]
    return [word for word in plain if word]


class TediGANText(nn.Module):
    """Prompts -> codes ws (N, L, C), the mean of the faces that a caption fits.

    Args:
        words: the vocabulary; the first is `END`.
        slots: L of the generator.
        channels: C of its W.
        embedding: numbers a word.
        hidden: numbers of both directions of the LSTM together.
    """

    w_avg: Tensor

    def __init__(
        self,
        words: Sequence[str],
        *,
        slots: int = 16,
        channels: int = 512,
        embedding: int = 300,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.words, self.slots = list(words), slots
        self.numbers = {word: number for number, word in enumerate(self.words)}
        self.embedding = nn.Embedding(len(self.words), embedding)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.drop = nn.Dropout(0.5)
        self.lstm = nn.LSTM(embedding, hidden // 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(hidden, slots * channels)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("w_avg", torch.zeros(channels))

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Codes (N, L, C) of prompts; words past the 20th known one are cut off.

        Raises:
            UsageError: a prompt that `tedi.prompts.clean` refuses.
        """
        return self.regress([self.tokens(clean(prompt))[:MAX_WORDS] for prompt in prompts])

    def tokens(self, text: str) -> list[int]:
        """Numbers of the words that are in the vocabulary; just that of `END` if none is."""
        known = [self.numbers[word] for word in split_words(text) if word in self.numbers]
        return known or [0]

    def regress(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """Codes (N, L, C) of texts as word numbers."""
        device = self.w_avg.device
        lengths = torch.tensor([len(row) for row in tokens])
        rows = [torch.tensor(row, device=device) for row in tokens]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.drop(self.embedding(padded)), lengths, batch_first=True, enforce_sorted=False
        )
        _, (last, _) = self.lstm(packed)  # (2, N, hidden / 2)
        offsets = self.head(last.transpose(0, 1).flatten(1))
        return self.w_avg + offsets.unflatten(1, (self.slots, -1))
