"""StyleCLIP's global directions: a text moves channels of S, the same ones on every face.

Patashnik et al. 2021, section 5, with a judge of attributes in place of CLIP. There, a text gives a
direction Δt, from its embedding less that of a neutral text, and each channel c a direction Δi_c,
from pictures with the channel up and down; channels whose cosine R_c is below β in size stay, the
others move by α R_c / max|R| of their spread. Here both are of the values of attributes: with π the
share of each value among faces and r how well it agrees with the text,

    Δt = π' − π, π' ∝ π r            Δi_c = the mean change of logits as c rises by its spread

and R_c = ⟨Δt, Δi_c⟩ / (|Δt| |Δi_c|) in Fisher's metric at π: |Δt|² = Σ Δt² / π, and |Δi|² is the
variance of Δi under π, summed over attributes. ⟨Δt, Δi_c⟩ is, to first order, what the text's
similarity gains. α, which people choose by hand there, is the least at which the text is likely by
the same slopes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tedi import attributes, zoo
from tedi.checkpoints import slopes as files
from tedi.control import absolute
from tedi.editing import USES
from tedi.encoders.text import ORDERED_GROUPS, Reading, TextEncoder
from tedi.errors import UsageError
from tedi.grammar import ORDERED
from tedi.interfaces import Generator
from tedi.semantics.channels import CONTRASTS, StyleMoves

[SHIPPED] = USES["global"]
RIDGE = 0.1  # ε of `StyleMoves`
BETA = 0.2
LIKELY = 0.9  # probability of what a text says that strength 1 aims at
MOST, GRID = 10.0, 200  # largest α, and how many up to it are tried
KNOWN = [not group.startswith("background ") for group, _ in attributes.COLUMNS]
"""Columns whose slopes were measured; what a text says of others is left out of account."""
HEAD = "to_image"  # StyleCLIP leaves the image head alone, too: its colours are of all the picture


class Global:
    """The move of a text along its channels.

    Raises:
        UsageError: the shipped slopes are of codes of another shape.
    """

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        self.codes, self.prior = encoder.codes, encoder.prior
        found = files.load(zoo.path(SHIPPED)).values.to(self.codes.color)
        if found.shape[1:] != (generator.slots, generator.width):
            shape = tuple(found.shape[1:])
            raise UsageError(
                f"global: {SHIPPED} are of codes {shape}, and {generator.name} has "
                f"{(generator.slots, generator.width)}; choose another method"
            )
        self.moves = StyleMoves(generator, self.codes.color, ridge=RIDGE)
        self.effects = found.new_zeros(len(self.moves.std), len(self.prior))  # Δi (S, V)
        self.effects[:, CONTRASTS] = self.moves.effects(found)
        self.effects[list(self.moves.layers.get(HEAD, ()))] = 0
        self.sizes = size(self.effects, self.prior)

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        seen = attributes.log_softmax(self.codes(ws))
        plain = said.plain()
        wanted = absolute(plain, seen)
        moves = [self.channels(aim) for aim in aims(plain, self.prior)]
        steps = [
            strength * self.length(channels, log_p, agrees) * self.moves(channels)
            for channels, log_p, agrees in zip(moves, seen, wanted, strict=True)
        ]
        return ws + torch.stack(steps)

    def channels(self, aim: Tensor) -> Tensor:
        """R of the channels (S,) for an aim Δt (V,), scaled to 1; zeros where it is below β."""
        length = (aim.square() / self.prior.clamp_min(1e-6)).sum().sqrt()
        cosines = (self.effects @ aim) / (self.sizes * length).clamp_min(1e-9)
        kept = cosines * (cosines.abs() >= min(BETA, float(cosines.abs().max())))
        return kept / kept.abs().max().clamp_min(1e-9)

    def length(self, channels: Tensor, log_p: Tensor, agrees: Tensor) -> Tensor:
        """α for a face that shows `log_p` (V,) and a text that agrees with values (V,), 0 to MOST.

        The least that is likely enough, or else the likeliest; 0 for a face that shows it already.
        """
        alphas = torch.linspace(0, MOST, GRID + 1).to(log_p)
        ahead = attributes.log_softmax(log_p + alphas[:, None] * (channels @ self.effects))
        agrees = torch.where(torch.tensor(KNOWN, device=agrees.device), agrees, 1.0)
        fits = attributes.fit(ahead, agrees.expand_as(ahead)).sum(dim=1).exp()
        likely = fits >= min(LIKELY, float(fits.max()))
        return alphas[int(likely.nonzero()[0])]


def aims(said: Reading, prior: Tensor) -> Tensor:
    """Δt (N, V): how the shares of values change among faces that agree with texts.

    "Older" tilts the shares: each value of its ordered attribute by its place from the mean.
    """
    likely = prior * said.agrees
    found = likely / attributes.spread(attributes.group_sums(likely)).clamp_min(1e-9) - prior
    spoken = attributes.spread(attributes.group_sums(1 - said.agrees)) > 0  # else it is rounding
    found = found * spoken * torch.tensor(KNOWN, device=found.device)
    for column, group in enumerate(ORDERED_GROUPS):
        wish, span = said.moves[:, column : column + 1], attributes.SPANS[group]
        columns = [attributes.COLUMNS.index((group, value)) for value in ORDERED[group]]
        shares, places = prior[columns], torch.arange(len(columns)).to(prior)
        tilt = torch.zeros_like(prior)
        tilt[columns] = shares * (places - (shares * places).sum() / shares.sum())
        found[:, span] = torch.where(wish != 0, wish * tilt[span], found[:, span])
    return found


def size(effects: Tensor, prior: Tensor) -> Tensor:
    """|Δi| (S,) of effects (S, V): their deviation under the shares, over all attributes."""
    mean, square = (attributes.group_sums(prior * e) for e in (effects, effects.square()))
    return (square - mean.square()).clamp_min(0).sum(dim=1).sqrt()
