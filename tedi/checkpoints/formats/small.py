"""Small files: BDInvert's base encoder, e4e's latent discriminator, statistics of W, directions."""

from typing import Any

from torch import Tensor

from tedi.checkpoints import directions
from tedi.checkpoints.bundle import Bundle, Contents, bundle_of
from tedi.checkpoints.formats.content import is_state, unused
from tedi.checkpoints.raw import Raw
from tedi.errors import TediError

NOTES = {
    "optimizer": "optimiser state",
    "scheduler": "learning rates",
    "epoch": "progress of its training",
}
# Names of statistics of W -> ours: BDInvert's, and II2S's, whose axes are rows with a std each.
STATISTICS = {
    "bdinvert": {"mean_latent": "mean", "eigen_values": "variances", "eigen_vectors": "axes"},
    "ii2s": {"X_mean": "mean", "X_comp": "axes", "X_stdev": "std"},
}


class BDInvert:
    """{"encoder": model.*, "optimizer", "scheduler", "epoch"}, or the encoder alone."""

    name = "bdinvert"

    def detect(self, raw: Raw) -> bool:
        """Whether the base encoder is there."""
        return "model.0.weight" in self._state(raw)

    def _state(self, raw: Raw) -> dict[str, Tensor]:
        value = raw.value
        found = value.get("encoder") if isinstance(value, dict) and not is_state(value) else value
        return found if is_state(found) else {}

    def convert(self, raw: Raw) -> Contents:
        """The bundle of a file that was detected.

        Raises:
            TediError: its keys do not fit.
        """
        state = self._state(raw)
        part = bundle_of("base encoder", "bdinvert", state, f"{raw.path}: encoder")
        rest = () if state is raw.value else unused(raw.value, ("encoder",), NOTES)
        return Contents(self.name, {"encoder": part}, rest)


class LatentDiscriminator:
    """A bare state dict, mlp.0.weight and so on."""

    name = "latent-discriminator"

    def detect(self, raw: Raw) -> bool:
        """Whether all keys are those of such a network."""
        return is_state(raw.value) and all(name.startswith("mlp.") for name in raw.value)

    def convert(self, raw: Raw) -> Contents:
        """The bundle of a file that was detected.

        Raises:
            TediError: its keys do not fit.
        """
        part = bundle_of("latent discriminator", "e4e", raw.value, str(raw.path))
        return Contents(self.name, {"latent_discriminator": part})


class Pca:
    """Principal axes of W: BDInvert's mean_latent, eigen_values, eigen_vectors; II2S's X_…."""

    name = "pca"

    def detect(self, raw: Raw) -> bool:
        """Whether all names of one of the two are there."""
        return self._kind(raw) is not None

    def _kind(self, raw: Raw) -> str | None:
        if not is_state(raw.value):
            return None
        return next(
            (k for k, names in STATISTICS.items() if names.keys() <= raw.value.keys()), None
        )

    def convert(self, raw: Raw) -> Contents:
        """The bundle of a file that was detected.

        Raises:
            TediError: shapes are not those of statistics of W.
        """
        kind = self._kind(raw)
        names = STATISTICS[str(kind)]
        state = {ours: raw.value[theirs] for theirs, ours in names.items()}
        width = state["mean"].numel()
        if state["axes"].ndim < 2 or state["axes"].shape[-1] != width:
            got = {name: tuple(tensor.shape) for name, tensor in state.items()}
            raise TediError(f"{raw.path}: expected axes of the mean's {width} numbers, got {got}")
        part = Bundle("pca", str(kind), {}, state)
        return Contents(self.name, {"pca": part}, unused(raw.value, names, {}))


class Directions:
    """Directions and boundaries, as `tedi.checkpoints.directions` reads them."""

    name = "directions"

    def detect(self, raw: Raw) -> bool:
        """Whether it holds one vector, a boundary, or principal directions."""
        value: Any = raw.value
        if isinstance(value, dict):
            return "boundary" in value or {"mean", "comp", "std"} <= value.keys()
        return isinstance(value, Tensor) and 1 <= value.ndim <= 3 and value.shape[-1] > 1

    def convert(self, raw: Raw) -> Contents:
        """Names of the directions of a file that was detected.

        Raises:
            TediError: what looked like directions is none.
        """
        found = directions.load(raw.path)
        told = (f"{d.name}: direction in {d.space.upper()}" for d in found.values())
        return Contents(self.name, {}, tuple(told))
