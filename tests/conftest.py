"""The real weights, for tests of what a person sees. They are fetched, never skipped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tedi import zoo
from tedi.checkpoints import native
from tedi.editing import look
from tedi.generators.mobilestylegan import MobileStyleGAN
from tedi.training.dataset import noise

TEDIFACES = Path(__file__).parents[1] / "data" / "tedifaces"


@pytest.fixture(autouse=True)
def one_step(monkeypatch):
    """Pictures are looked at, and corrected by a step at most; tests of that set their own."""
    monkeypatch.setattr(look, "STEPS", replace(look.STEPS, steps=1))


@pytest.fixture(scope="session")
def weights() -> dict[str, Path]:
    """Released weights by name, from their publishers; a fresh machine fetches them first."""
    return {name: zoo.pull(name) for name in ("mobilestylegan-ffhq", "minilm-l6")}


@pytest.fixture(scope="session")
def generator(weights) -> MobileStyleGAN:
    """The released generator with the shipped preview head."""
    names = ("mobilestylegan-ffhq", "mobilestylegan-ffhq-preview")
    network = native.load_generator([zoo.pull(name) for name in names])
    assert isinstance(network, MobileStyleGAN)
    return network


@pytest.fixture(scope="session")
def ws(generator) -> torch.Tensor:
    """Codes (2, 16, 512) of two faces at psi 0.7."""
    w = generator.mapping(noise([0, 1]))
    return (generator.w_avg + 0.7 * (w - generator.w_avg))[:, None].repeat(1, 16, 1)
