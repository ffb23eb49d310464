"""TediGAN's own way: a code regressed from the text, mixed layer by layer with the seed's."""

from collections.abc import Sequence

from torch import Tensor

from tedi import zoo
from tedi.checkpoints.tedigan import load_tedigan
from tedi.editing.text import mix_named
from tedi.encoders.text import Reading, TextEncoder
from tedi.interfaces import Generator
from tedi.semantics.layers import shipped_table

WEIGHTS = "text-tedigan"


class TediGANMix:
    """The regressed code in the slots that carry what the text names, the seed's elsewhere.

    Which slots these are is the only thing taken from what the default encoder reads.
    """

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        self.table = shipped_table()
        self.encoder = load_tedigan(zoo.pull(WEIGHTS)).to(generator.w_avg.device)

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        content = self.encoder(prompts)
        return ws + strength * (mix_named(self.table, content, ws, said) - ws)
