"""Text and codes in one space: what a prompt says, and how well every code fits it.

TediGAN (Xia et al. 2021, section 3.2) pulls the code of a caption towards the code of its
picture, layer by layer. A caption does not determine a face, so a code regressed from it is the
mean of all faces it fits; here both sides meet in what can be said of a face. For each value v of
each attribute g a text gives how well it agrees, 0 ≤ r_gv ≤ 1 (all ones where it is silent), and a
code gives the probability p_gv that it is seen (`tedi.encoders.codes`, whose concepts weigh the
layers). With π_gv the share of v among faces, the visual-linguistic similarity is the pointwise
mutual information of the two,

    s(w, text) = Σ_g log Σ_v p_gv(w) r_gv(text) − log Σ_v π_gv r_gv(text)                  (1)

0 on average over nothing said, and larger the rarer and the truer what is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tedi import attributes
from tedi.encoders.codes import CodeReader
from tedi.grammar import ORDERED
from tedi.language import TextBackbone

ORDERED_GROUPS = tuple(ORDERED)
WISHED = 0.2  # a wish less sure than this is none
SURE = 0.15  # agreement below this is a plain no, above 1 − this a plain yes


@dataclass(frozen=True)
class Reading:
    """What texts say.

    Attributes:
        agrees: r (N, V), 0 to 1: how well each value agrees with a text; ones where it is silent.
        moves: (N, O), −1 to 1: wishes for less or more of the attributes in
            `tedi.grammar.ORDERED`, relative to the face at hand; 0 for none.
    """

    agrees: Tensor
    moves: Tensor

    @classmethod
    def of_logits(cls, agrees: Tensor, moves: Tensor) -> "Reading":
        """What a `TextReader` gives, (N, V) and (N, 2, O), as probabilities."""
        more, less = moves.sigmoid().unbind(dim=1)
        return cls(agrees.sigmoid(), more - less)

    def plain(self) -> "Reading":
        """The same without shades: sure values are 0 or 1, wishes −1, 0 or 1 where sure."""
        agrees = ((self.agrees - SURE) / (1 - 2 * SURE)).clamp(0, 1)
        return Reading(agrees, self.moves.sign() * (self.moves.abs() > WISHED))

    def of(self, rows: slice | Tensor) -> "Reading":
        """The readings of some texts."""
        return Reading(self.agrees[rows], self.moves[rows])


class TextReader(nn.Module):
    """Token states (N, T, width) -> what a text says of every attribute.

    One transformer layer over the states, then one learned query an attribute that attends to
    them.
    """

    def __init__(self, width: int, *, hidden: int = 256, heads: int = 4) -> None:
        super().__init__()
        groups = len(attributes.GROUPS)
        self.enter = nn.Linear(width, hidden)
        self.mix = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout=0.1, batch_first=True, norm_first=True
        )
        self.queries = nn.Parameter(torch.randn(groups, hidden) * hidden**-0.5)
        self.attend = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.values = nn.Parameter(torch.zeros(len(attributes.COLUMNS), hidden))
        self.value_bias = nn.Parameter(torch.full((len(attributes.COLUMNS),), 3.0))
        self.wishes = nn.Parameter(torch.zeros(2, len(ORDERED_GROUPS), hidden))  # more, less
        self.wish_bias = nn.Parameter(torch.full((2, len(ORDERED_GROUPS)), -3.0))

    def forward(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the agreement (N, V), and of the wishes for more and for less (N, 2, O)."""
        padding = ~mask
        x = self.mix(self.enter(states), src_key_padding_mask=padding)  # (N, T, hidden)
        queries = self.queries.expand(len(x), -1, -1)
        # What key_padding_mask=padding does, the check of which imports sympy.
        hidden = padding[:, None].expand(-1, queries.shape[1], -1)
        hidden = hidden.repeat_interleave(self.attend.num_heads, dim=0)
        read, _ = self.attend(queries, x, x, attn_mask=hidden, need_weights=False)
        seen = self.norm(read + queries)  # (N, G, hidden)
        by_value = attributes.spread(seen.transpose(1, 2)).transpose(1, 2)  # (N, V, hidden)
        agrees = (by_value * self.values).sum(dim=-1) + self.value_bias
        names = list(attributes.GROUPS)
        ordered = seen[:, [names.index(group) for group in ORDERED_GROUPS]]
        return agrees, (ordered[:, None] * self.wishes).sum(dim=-1) + self.wish_bias


class TextEncoder(nn.Module):
    """Prompts -> what they say, their similarity with codes, and codes that fit them.

    Args:
        width: of the backbone's token states.
        codes: reads attributes off codes.
    """

    prior: Tensor

    def __init__(self, width: int, codes: CodeReader) -> None:
        super().__init__()
        self.reader, self.codes = TextReader(width), codes
        self.register_buffer("prior", torch.ones(len(attributes.COLUMNS)))  # π
        self.backbone: TextBackbone | None = None

    def read(self, prompts: Sequence[str]) -> Reading:
        """What prompts say; needs a backbone."""
        if self.backbone is None:
            raise RuntimeError("TextEncoder.read: set backbone first")
        agrees, moves = self.reader(*self.backbone(prompts))
        return Reading.of_logits(agrees, moves)

    @torch.inference_mode(False)  # the search needs gradients, whoever calls
    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Codes (N, L, C) of the prompts alone, from the mean face."""
        reading = self.read(prompts).plain()
        slots = len(self.codes.slots)
        ws = self.codes.w_avg.expand(len(prompts), slots, -1)
        return self.codes.move(
            ws,
            lambda log_p: attributes.fit(log_p, reading.agrees).sum(dim=1),
            strength=10.0,
            together=0.5,
        )

    def similarity(self, ws: Tensor, reading: Reading) -> Tensor:
        """Similarity of every text with every code, (texts, codes) in nats: equation (1)."""
        return self.compare(attributes.log_softmax(self.codes(ws)), reading)

    def compare(self, log_p: Tensor, reading: Reading) -> Tensor:
        """`similarity` from the log-probabilities (codes, V) of the attributes of codes."""
        fits = attributes.fit(log_p[None], reading.agrees[:, None]).sum(dim=-1)
        return fits + self.evidence(reading).sum(dim=1)[:, None]

    def evidence(self, reading: Reading) -> Tensor:
        """What a text rules out of each attribute, (N, G) in nats; 0 where it is silent."""
        return -attributes.fit(self.prior.clamp_min(1e-6).log(), reading.agrees)
