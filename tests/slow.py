"""Networks drawn a second, slow way: plain numpy in float64, pictures one at a time.

The papers are read literally: zeros between pixels, loops over the taps of a filter. What is here
serves the tests of StyleGAN1 and StyleGAN2.
"""

from pathlib import Path

import numpy as np
import torch

KEYS = Path(__file__).parent / "golden" / "stylegan_keys.txt"


def correlate(x, w, stride=1):
    """(I, H, W) with (O, I, k, k), no padding."""
    k = w.shape[2]
    height, width = x.shape[1] - k + 1, x.shape[2] - k + 1
    out = np.zeros((w.shape[0], height, width))
    for a in range(k):
        for b in range(k):
            out += np.einsum("oi,ihw->ohw", w[:, :, a, b], x[:, a : a + height, b : b + width])
    return out[:, ::stride, ::stride]


def padded(x, before, after=None):
    after = before if after is None else after
    return np.pad(x, ((0, 0), (before, after), (before, after)))


def filtered(x, fir):
    """Every channel by itself, no padding."""
    own = np.zeros((len(x), len(x), *fir.shape))
    own[range(len(x)), range(len(x))] = fir
    return correlate(x, own)


def zeros_between(x):
    out = np.zeros((x.shape[0], 2 * x.shape[1], 2 * x.shape[2]))
    out[:, ::2, ::2] = x
    return out


def leaky(x, slope=0.2):
    return np.where(x < 0, slope * x, x)


def clipped(x, most):
    return np.clip(x, -most, most) if most else x


def slow_deviation(x, group):
    """Group by group: picture i is with those of the same i mod (N / group)."""
    out, groups = [], len(x) // group
    for i in range(len(x)):
        mates = [x[j] for j in range(len(x)) if j % groups == i % groups]
        out.append(np.sqrt(np.var(mates, axis=0) + 1e-8).mean())
    return np.array(out)


def randomised(network):
    """The same network, frozen, every number of it drawn from one seed."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=random))
    return network.eval().requires_grad_(False)


def codes(network, n=2, seed=5):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, network.slots, network.width, generator=random)


def published(name):
    """Names and shapes of a section of the golden file."""
    lines = KEYS.read_text().split(f"[{name}]\n")[1].split("[")[0].splitlines()
    pairs = (line.partition(" ")[::2] for line in lines)
    return {name: tuple(map(int, filter(None, shape.split("x")))) for name, shape in pairs}


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def on_meta(kind, **config):
    with torch.device("meta"):
        return kind(**config)


def without(state, name):
    return {n: t for n, t in state.items() if n != name}
