"""StyleGAN3, T and R: generators that treat pictures as signals and can be moved and turned.

Matches the official networks of "Alias-Free Generative Adversarial Networks" (Karras et al. 2021,
arXiv 2106.12423): names of parameters and buffers are theirs, and a file's filters are used as
they are. Unconditional networks only.

Style slots, whatever the resolution (L = 16 for 14 layers): 0 the Fourier input, whose style is
its translation and rotation; 1 + i layer i; the last gives colours. A slot's resolution is the
sampling rate after its layer, samples a picture; tensors are 20 samples larger, for the margins.
"""

import copy
import math
from collections.abc import Mapping as Map
from dataclasses import asdict

import torch
from torch import Tensor, nn

from tedi.errors import TediError, UsageError
from tedi.generators.filters import preview_of
from tedi.generators.stylegan3_layers import Design, Layer, read_design
from tedi.generators.stylegan3_networks import MappingNetwork, SynthesisNetwork

GROUP_ENDS = {"coarse": (0, 5), "medium": (5, 8), "fine": (8, None), "all": (0, None)}


def user_transform(degrees: float = 0.0, tx: float = 0.0, ty: float = 0.0) -> Tensor:
    """Transform of the input that turns, then moves the picture.

    The inverse of [[c, s, tx], [-s, c, ty], [0, 0, 1]], as the networks take it ("Third Time's the
    Charm?", Alaluf et al. 2022, composes them to put faces back where they were).

    Args:
        degrees: counter-clockwise; StyleGAN3-R's pictures turn, T's for small angles only.
        tx: to the right, picture widths.
        ty: downwards, picture heights.

    Returns:
        (3, 3) float32, new.

    >>> user_transform(tx=0.25)[0].tolist()
    [1.0, 0.0, -0.25]
    """
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    forward = torch.tensor([[c, s, tx], [-s, c, ty], [0, 0, 1]], dtype=torch.float64)
    return torch.linalg.inv(forward).float()


class StyleGAN3(nn.Module):
    """The generator: z (N, Z), w (N, C), ws (N, L, C), image (N, 3, resolution, resolution).

    Args:
        resolution: px, a power of two from 16.
        z_dim: width of the noise.
        w_dim: width of W.
        mapping_layers: of the mapping network.
        channel_base: see `Design`, as all that follow but the last two.
        channel_max: channels of a layer at most.
        num_layers: layers before colours.
        num_critical: critically sampled ones among them.
        first_cutoff: of the input.
        first_stopband: of the input.
        last_stopband_rel: stopband of the last layer over its cutoff.
        margin_size: samples around the picture.
        conv_kernel: 3 in T, 1 in R.
        filter_size: taps of a filter for each factor of the rate.
        lrelu_upsampling: factor of the rate for nonlinearities.
        use_radial_filters: False in T, True in R.
        conv_clamp: bound of activations.
        output_scale: of the last layer's picture.

    Raises:
        UsageError: a setting is out of bounds.
    """

    name = "stylegan3"
    place_prefix = "synthesis.input."  # names of the weights that say where pictures lie

    def __init__(
        self,
        *,
        resolution: int = 1024,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 2,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2.0,
        first_stopband: float = 2**2.1,
        last_stopband_rel: float = 2**0.3,
        margin_size: int = 10,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        conv_clamp: float = 256.0,
        output_scale: float = 0.25,
    ) -> None:
        super().__init__()
        design = Design(
            resolution=resolution,
            channel_base=channel_base,
            channel_max=channel_max,
            num_layers=num_layers,
            num_critical=num_critical,
            first_cutoff=first_cutoff,
            first_stopband=first_stopband,
            last_stopband_rel=last_stopband_rel,
            margin_size=margin_size,
            conv_kernel=conv_kernel,
            filter_size=filter_size,
            lrelu_upsampling=lrelu_upsampling,
            use_radial_filters=use_radial_filters,
        )
        self.config: dict[str, int | float | bool | str] = {
            **asdict(design),
            "z_dim": z_dim,
            "w_dim": w_dim,
            "mapping_layers": mapping_layers,
            "conv_clamp": conv_clamp,
            "output_scale": output_scale,
        }
        self.resolution, self.slots = resolution, num_layers + 2
        self.width, self.z_width = w_dim, z_dim
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_layers)
        self.synthesis = SynthesisNetwork(w_dim, design, clamp=conv_clamp, scale=output_scale)

    @classmethod
    def read_config(cls, state: Map[str, Tensor]) -> dict[str, int | float | bool | str]:
        """Settings of the network a state is of, from names and shapes alone.

        Clamp, output scale, cutoffs and margins do not show in shapes: they are the published
        ones. `channel_base` is the roundest number that gives the same channels.

        Raises:
            TediError: naming the key that is missing or odd.
        """
        if "mapping.embed.weight" in state:
            raise TediError("mapping.embed.weight: conditional networks are not supported")
        design = read_design(state)
        for key in ("mapping.fc0.weight", "mapping.w_avg", "synthesis.input.affine.weight"):
            if key not in state:
                raise TediError(f"{key}: missing; a StyleGAN3 has it")
        w_dim, z_dim = state["mapping.fc0.weight"].shape
        layers = sum(key.startswith("mapping.fc") and key.endswith("weight") for key in state)
        return {**asdict(design), "z_dim": z_dim, "w_dim": w_dim, "mapping_layers": layers}

    @property
    def w_avg(self) -> Tensor:
        """Mean of W (C,)."""
        return self.mapping.w_avg

    def preview(self, ws: Tensor) -> Tensor:
        """Pictures (N, 3, 256, 256): the synthesis reduced by area, or enlarged bilinearly."""
        return preview_of(self.synthesis(ws))

    def transformed(self, *, degrees: float = 0.0, tx: float = 0.0, ty: float = 0.0) -> "StyleGAN3":
        """A generator of the same weights that draws turned and moved pictures.

        Its transform takes the place of the file's; see `user_transform` for the arguments.
        """
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        own = self.synthesis.input.transform
        shared = {id(tensor): tensor for tensor in tensors.values() if tensor is not own}
        turned = copy.deepcopy(self, memo=dict(shared))
        turned.synthesis.input.transform = user_transform(degrees, tx, ty).to(own)
        return turned

    def expanded(self, ws: Tensor, field: float) -> Tensor:
        """Pictures that show more on every side, the plain picture in the middle.

        Field-of-view expansion ("Third Time's the Charm?", Alaluf et al. 2022), by
        four drawings, each moved into a corner. What lies outside no training picture has shown;
        near the border a network of aligned faces goes on with hair and background.

        Args:
            ws: (N, L, C).
            field: added on each side, picture widths up to 0.5; rounded to whole pixels.

        Returns:
            (N, 3, S, S), S = resolution + 2 field pixels, new.

        Raises:
            UsageError: field out of range.
        """
        if not 0 <= field <= 0.5:
            raise UsageError(f"field: expected 0 to 0.5, got {field}")
        wide = round(field * self.resolution)
        half, share = self.resolution // 2 + wide, wide / self.resolution
        own = self.synthesis.input.transform.double()
        rows: list[Tensor] = []
        for down in (share, -share):
            corners: list[Tensor] = []
            for right in (share, -share):
                transform = own @ user_transform(tx=right, ty=down).to(own)
                corner = self.synthesis(ws, transform.float())
                top = slice(-half, None) if rows else slice(0, half)
                left = slice(-half, None) if corners else slice(0, half)
                corners.append(corner[:, :, top, left])
            rows.append(torch.cat(corners, dim=3))
        return torch.cat(rows, dim=2)

    def pseudo_aligned(self, ws: Tensor) -> Tensor:
        """Codes whose face is upright and in the middle: slot 0, its place, becomes `w_avg`; new.

        For networks of unaligned faces ("Third Time's the Charm?", Alaluf et al. 2022).
        """
        self.synthesis.check(ws)
        return torch.cat([self.w_avg.to(ws).expand(ws.shape[0], 1, -1), ws[:, 1:]], dim=1)

    def layers(self, group: str | int) -> tuple[int, ...]:
        """Slots of "coarse" (0-4), "medium" (5-7), "fine" (8 up) or "all", or of a sampling rate.

        The groups are those of "Third Time's the Charm?" (Alaluf et al. 2022) at any resolution;
        the lowest rate, 16 in all published networks, includes slot 0.
        """
        everything = tuple(range(self.slots))
        groups: dict[str | int, tuple[int, ...]] = {}
        for slot, rate in enumerate(self._rates()):
            groups[rate] = (*groups.get(rate, ()), slot)
        groups |= {key: everything[slice(*ends)] for key, ends in GROUP_ENDS.items()}
        if group not in groups:
            raise UsageError(f"layers: expected one of {', '.join(map(str, groups))}, got {group}")
        return groups[group]

    def details(self) -> list[float]:
        """Size in pixels of the finest detail that each slot draws, twice the cutoff there."""
        table = [layer.layer for layer in self.synthesis.layers]
        return [2 * table[0].source.cutoff, *(2 * layer.target.cutoff for layer in table)]

    def _rates(self) -> list[int]:
        """Sampling rate at each slot."""
        table = [layer.layer for layer in self.synthesis.layers]
        return [table[0].source.rate, *(layer.target.rate for layer in table)]

    def styles(self, ws: Tensor) -> dict[str, Tensor]:
        """S-space codes, layer name -> (N, channels), in the order of drawing.

        "input" holds cosine, sine and translation; the last layer's includes 1/√channels.
        """
        return self.synthesis.styles(ws)

    def synthesis_from_styles(
        self, styles: Map[str, Tensor], transform: Tensor | None = None
    ) -> Tensor:
        """Pictures (N, 3, H, W) of S-space codes as `styles` gives them."""
        return self.synthesis.finish(self.synthesis.start(styles, transform), styles, 0)

    def features(self, ws: Tensor, at: int, transform: Tensor | None = None) -> Tensor:
        """Activations (N, D, size, size) after the last layer of a sampling rate.

        Args:
            ws: (N, L, C).
            at: sampling rate: 16, 32 … resolution. Size is 20 more, for the margins, except at
                the resolution itself, where it is equal.
            transform: as for `synthesis`; it is in the activations.
        """
        stops = self._stops()
        if at not in stops:
            raise UsageError(f"features: expected a size among {list(stops)} px, got {at}")
        styles = self.styles(ws)
        return self.synthesis.advance(self.synthesis.start(styles, transform), styles, 0, stops[at])

    def synthesis_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) from `features` and the slots after them; with theirs, the same."""
        table = [layer.layer for layer in self.synthesis.layers]
        known = {self._shape(table[stop - 1]): stop for stop in self._stops().values()}
        shape = tuple(features.shape[1:])
        if shape not in known:
            raise UsageError(f"features: expected (N, D, size, size) of {list(known)}, got {shape}")
        return self.synthesis.finish(features, self.styles(ws), known[shape])

    def preview_from(self, features: Tensor, ws: Tensor) -> Tensor:
        """Previews (N, 3, 256, 256) from `features` and the slots after them."""
        return preview_of(self.synthesis_from(features, ws))

    def _stops(self) -> dict[int, int]:
        """Sampling rate -> number of layers up to the last of that rate, colours not counted."""
        return {
            layer.layer.target.rate: i + 1 for i, layer in enumerate(self.synthesis.layers[:-1])
        }

    @staticmethod
    def _shape(layer: Layer) -> tuple[int, int, int]:
        return layer.target.channels, layer.target.size, layer.target.size
