"""The real weights, for tests of what a person sees. They are fetched, never skipped."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tedi import zoo
from tedi.checkpoints import native
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.training.dataset import noise

TEDIFACES = Path(__file__).parents[1] / "data" / "tedifaces"


@pytest.fixture(scope="session")
def weights() -> dict[str, Path]:
    """Released weights by name, from their publishers; a fresh machine fetches them first."""
    return {name: zoo.pull(name) for name in ("mobilestylegan-ffhq", "minilm-l6")}


@pytest.fixture(scope="session")
def generator(weights) -> MobileStyleGAN:
    """The released generator with an untrained preview head."""
    state, _ = native.read(weights["mobilestylegan-ffhq"])
    network = MobileStyleGAN()
    head = {f"previewer.{n}": t for n, t in network.previewer.state_dict().items()}
    w_avg = torch.from_numpy(np.load(TEDIFACES / "w_avg.npy"))
    network.load_state_dict(state | head | {"w_avg": w_avg})
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def ws(generator) -> torch.Tensor:
    """Codes (2, 16, 512) of two faces at psi 0.7."""
    w = generator.mapping(noise([0, 1]))
    return (generator.w_avg + 0.7 * (w - generator.w_avg))[:, None].repeat(1, 16, 1)
