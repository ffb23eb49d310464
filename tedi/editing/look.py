"""Moves that are looked at: what a picture does not show yet, its code is moved on for.

The move of `tedi.control.fulfil` asks the reader of codes, and the reader is surer of codes that it
has moved than of others: of 120 prompts' attributes it finds .95 in the codes that come, and the
network that taught it .86 in their pictures. So the picture is looked at, as TediGAN's
instance-level optimisation does (Xia et al. 2021, section 3.5), and where something asked for is
missing, the code goes on from there:

    max over u   aim(p(G(ws + C u))) − ½ λ ‖u‖²                                             (1)

with p what the attribute model sees in the preview, `tedi.control.Aim` of it, and C the map from
whitened codes to codes, alike in all slots. It ends as soon as all that is asked for is seen and,
of an edit, little else has changed. Of the codes that were passed, the one is taken that shows all
and changed least else. If none does, or if even that one makes an edit change much else, nothing is
corrected: what cannot be reached is sought far away, where faces break (of 192 such pictures
labellers called 19 broken, of 288 others 1).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tedi import attributes, zoo
from tedi.checkpoints import native
from tedi.control import KEEP_EDIT, KEEP_NEW, Aim
from tedi.descent import Schedule, descend
from tedi.editing import USES
from tedi.editing.text import Search
from tedi.encoders.text import Reading, TextEncoder
from tedi.generators.based import Based
from tedi.generators.reslotted import Reslotted
from tedi.interfaces import Generator

STEPS = Schedule(steps=16, lr=0.1, rise=0.2, fall=0.5, patience=0)
SHORT_NEW = 0.03  # λ, of the length of the correction of a new face …
SHORT_EDIT = 0.1  # … and of an edit
ENOUGH = 0.7  # probability at which an attribute counts as seen
STRAY = 0.7  # nats that what is not asked for may have moved by, of an edit that ends at once
MOST = 2.0  # ... and of one that is taken in the end: what goes farther looks like nobody
WANDER = 6  # pixels that the preview is moved by at most before it is looked at


class Look:
    """`tedi.editing.text.Search`, then corrections by what is seen: equation (1).

    Args:
        generator: what is looked at; a photo's own where an inversion made one.
        encoder: knows texts and codes.
    """

    def __init__(self, generator: Generator, encoder: TextEncoder) -> None:
        self.generator, self.codes = generator, encoder.codes
        self.search = Search(generator, encoder)
        [name] = USES["default"]
        eye = native.load_attribute_model(zoo.pull(name))
        self.eye = eye.to(generator.w_avg.device).requires_grad_(False)

    def __call__(
        self, ws: Tensor, prompts: Sequence[str], said: Reading, *, strength: float, new: bool
    ) -> Tensor:
        moved = self.search(ws, prompts, said, strength=1.0, new=new)
        rows = range(len(ws))
        with torch.inference_mode(mode=False), torch.enable_grad():
            pairs = [(ws[n : n + 1].clone(), moved[n : n + 1].clone()) for n in rows]
            found = [
                self._corrected(*pair, said.of(slice(n, n + 1)), new=new)
                for n, pair in zip(rows, pairs, strict=True)
            ]
        return ws + strength * (torch.cat(found) - ws)

    def _corrected(self, ws: Tensor, moved: Tensor, said: Reading, *, new: bool) -> Tensor:
        """A moved code (1, L, C), moved on until its picture shows what is asked of `ws`."""
        keep, short = (KEEP_NEW, SHORT_NEW) if new else (KEEP_EDIT, SHORT_EDIT)
        said = Reading(said.agrees.clone(), said.moves.clone())
        with torch.no_grad():
            before = self._seen(self._drawn(ws))
        aim = Aim(said, before, keep=keep)
        if not bool(aim.asks.any()):
            return moved
        path, random = Alike(moved, self.codes.color), torch.Generator().manual_seed(0)
        image, shown = ws, list[tuple[float, Tensor]]()

        def objective(codes: Tensor) -> dict[str, Tensor]:
            nonlocal image
            image = self._drawn(codes)
            wander = torch.randint(-WANDER, WANDER + 1, (2,), generator=random).tolist()
            seen = self._seen(image.roll(tuple(wander), dims=(2, 3)))
            return {"seen": -aim(seen), "near": 0.5 * short * path.change.square().sum(dim=1)}

        def enough(step: int, terms: dict[str, Tensor], codes: Tensor) -> bool:
            with torch.no_grad():
                log_p = self._seen(image)
                strayed, seen = float(aim.strayed(log_p)), float(aim.shown(log_p))
            if seen < ENOUGH or (strayed > MOST and not new):
                return False
            shown.append((strayed, codes))
            return new or strayed <= STRAY

        descend(path, objective, STEPS, enough)
        _, best = min(shown, key=lambda each: each[0], default=(0.0, moved))
        return best

    def _drawn(self, codes: Tensor) -> Tensor:
        """Previews, upright: those of a face that base codes draw turned are turned back."""
        image = self.generator.preview(codes).float().clamp(-1, 1)
        drawing: Generator = self.generator
        drawing = drawing.generator if isinstance(drawing, Reslotted) else drawing
        return drawing.upright(image) if isinstance(drawing, Based) else image

    def _seen(self, image: Tensor) -> Tensor:
        """Log-probabilities (N, V) of what pictures show."""
        return attributes.log_softmax(self.eye(image))


class Alike(nn.Module):
    """A code, moved alike in all slots.

    Args:
        start: (N, L, C).
        color: (C, C), from whitened codes to codes.
    """

    def __init__(self, start: Tensor, color: Tensor) -> None:
        super().__init__()
        self.start, self.color = start.detach(), color
        self.change = nn.Parameter(start.new_zeros(len(start), start.shape[2]))

    def forward(self) -> Tensor:
        """The codes (N, L, C)."""
        return self.start + (self.change @ self.color.T)[:, None]
