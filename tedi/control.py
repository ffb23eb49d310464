"""The control mechanism: what a modality gives as content, and a seed as style.

TediGAN (Xia et al. 2021, section 3.4) takes some layers from a content code and the rest from a
style code. Text here does so attribute by attribute: what it names is made to show, by the most
likely move of the code (`tedi.encoders.codes`, equation 2), and everything else stays the seed's.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tedi import attributes
from tedi.encoders.text import ORDERED_GROUPS, Reading, TextEncoder
from tedi.grammar import ORDERED
from tedi.interfaces import Generator, z_width

FIRMNESS = 12.0  # nats of what is asked against ½ squared standard deviations of the move
KEEP_NEW = 0.03  # weight of the attributes that are not named, for a new face …
KEEP_EDIT = 0.3  # … and for an edit
TOGETHER_NEW = 1.0  # how much the slots move alike: a new face stays in W, where faces are real …
TOGETHER_EDIT = 0.6  # … and an edit may keep to the slots that matter
WIDTH = 0.4  # steps of an ordered attribute that a relative wish may miss by


def noise(seeds: Sequence[int], width: int) -> Tensor:
    """Noise z (N, width), float32 on the CPU; each row depends on its own seed alone."""
    rows = [torch.randn(width, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def style_codes(generator: Generator, seeds: Sequence[int], *, psi: float) -> Tensor:
    """Codes ws (N, L, C) of seeds, truncated.

    Args:
        generator: whose mapping and mean of W are used.
        seeds: one for each code.
        psi: 0 gives the mean face, 1 the generator's full variety (Karras et al. 2019, eq. 3).
    """
    w_avg = generator.w_avg
    w = generator.mapping(noise(seeds, z_width(generator)).to(w_avg))
    ws = w if w.ndim == 3 else w[:, None].repeat(1, generator.slots, 1)  # some map each slot apart
    return w_avg + psi * (ws - w_avg)


@torch.inference_mode(False)  # the search needs gradients, whoever calls
@torch.no_grad()
def fulfil(
    encoder: TextEncoder,
    ws: Tensor,
    reading: Reading,
    *,
    strength: float = 1.0,
    keep: float = KEEP_EDIT,
    together: float = TOGETHER_EDIT,
    firmness: float = FIRMNESS,
    slots: tuple[int, ...] | None = None,
) -> Tensor:
    """Codes (N, L, C), new, that show what texts ask and are else as `ws`.

    Args:
        encoder: that read the texts.
        ws: a code for each text.
        reading: what the texts say.
        strength: 0 keeps `ws`, 1 shows what is asked, more exaggerates: a factor of the move.
        keep: weight of the attributes that are not named, against those that are.
        together: 1 moves all slots alike, 0 each by itself.
        firmness: how far the code may be moved for what is asked.
        slots: those that may move; None for all.
    """
    codes = encoder.codes
    aim = Aim(reading, attributes.log_softmax(codes(ws)), keep=keep)
    moved = codes.move(ws, aim, strength=firmness, together=together, slots=slots)
    # Where nothing is asked, not even rounding is left.
    return ws + strength * aim.asks[:, None, None] * (moved - ws)


class Aim:
    """What a face is to show: what texts ask of it, and else what it showed before.

    Args:
        reading: what the texts say.
        before: log-probabilities (N, V) of the attributes of the faces as they are.
        keep: weight of the attributes that are not named, against those that are.

    Attributes:
        asks: (N,) bool, whether a text asks for anything.
    """

    def __init__(self, reading: Reading, before: Tensor, *, keep: float) -> None:
        self.before, self.keep = before, keep
        self.wanted = absolute(reading.plain(), before)
        silent = torch.ones_like(before[:, : len(attributes.GROUPS)])
        self.silent = silent.scatter_reduce(1, _members(self.wanted), self.wanted, "amin")
        self.asks = (self.wanted < 1).any(dim=1)

    def __call__(self, log_p: Tensor) -> Tensor:
        """How near (N,), in nats and at most 0, faces are to it that show `log_p` (N, V)."""
        asked = attributes.fit(log_p, self.wanted).sum(dim=1)
        return asked - self.keep * self._drift(log_p).sum(dim=1)

    def shown(self, log_p: Tensor) -> Tensor:
        """The least likely (N,) of the attributes that are asked for, 0 to 1."""
        return attributes.fit(log_p, self.wanted).amin(dim=1).exp()

    def strayed(self, log_p: Tensor) -> Tensor:
        """How far (N,), in nats, the attribute moved most that is not asked for."""
        return self._drift(log_p).amax(dim=1)

    def _drift(self, log_p: Tensor) -> Tensor:
        """Divergence (N, G), in nats, from what was seen before, of what is not asked for."""
        drift = attributes.group_sums(self.before.exp() * (self.before - log_p))
        return drift * self.silent


def _members(values: Tensor) -> Tensor:
    return attributes.MEMBER.to(values.device).expand_as(values)


def absolute(reading: Reading, log_p: Tensor) -> Tensor:
    """Agreement (N, V) with relative wishes made absolute about faces that show `log_p` (N, V).

    "Older" asks for an age one step of `ORDERED` above the mean age the face shows.
    """
    agrees = reading.agrees.clone()
    for column, group in enumerate(ORDERED_GROUPS):
        wish = reading.moves[:, column : column + 1]
        columns = [attributes.COLUMNS.index((group, value)) for value in ORDERED[group]]
        steps = torch.arange(len(columns)).to(log_p)
        p = log_p[:, columns].exp()
        mean = (p * steps).sum(dim=1, keepdim=True) / p.sum(dim=1, keepdim=True)
        target = (mean + wish).clamp(0, len(columns) - 1)
        close = torch.exp(-0.5 * ((steps - target) / WIDTH).square())
        close = close / close.amax(dim=1, keepdim=True)
        span = attributes.SPANS[group]
        others = torch.zeros_like(agrees[:, span])
        whole = others.index_copy(
            1, torch.tensor(columns, device=agrees.device) - span.start, close
        )
        agrees[:, span] = torch.where(wish != 0, whole, agrees[:, span])
    return agrees


def mix(content: Tensor, style: Tensor, slots: Sequence[int]) -> Tensor:
    """Codes (N, L, C), new: `slots` of the content code, the others of the style code."""
    mixed = style.clone()
    mixed[:, list(slots)] = content[:, list(slots)]
    return mixed


def weigh(generator: Generator, ws: Tensor, content: Tensor, shares: Mapping[str, float]) -> Tensor:
    """Codes (N, L, C), new: in each group of slots, the content has a share and `ws` the rest.

    Args:
        generator: that tells the slots of groups.
        ws: (N, L, C).
        content: (N, L, C).
        shares: group -> 0 to 1; 0 for those that are missing.
    """
    weights = ws.new_zeros(generator.slots, 1)
    for group, share in shares.items():
        weights[list(generator.layers(group))] = share
    return ws + weights * (content - ws)
