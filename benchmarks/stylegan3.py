"""Drawing with StyleGAN3 on a CPU: time and memory, against the definition written out.

    python benchmarks/stylegan3.py --rounds 5 --out benchmarks/stylegan3.json

The peer does what a path without compiled kernels does: zeros between samples, padding, full
convolutions in NCHW, then every other sample. Both draw the same codes with the same random
weights, in turn within each round; figures are medians of rounds and ratios of medians, seconds of
all threads' work ("cpu s") beside those of the clock. Memory is the growth of the process while it
draws one picture, in a process of its own.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tedi.allocator import keep_freed_memory
from tedi.generators.stylegan3 import StyleGAN3
from tedi.generators.stylegan3_networks import SynthesisLayer

RADIAL = {"conv_kernel": 1, "use_radial_filters": True}
NETWORKS: dict[str, dict[str, Any]] = {
    "T-256": {"resolution": 256, "channel_base": 16384},
    "R-256": {"resolution": 256, "channel_base": 32768, "channel_max": 1024, **RADIAL},
    "T-1024": {"resolution": 1024},
    "R-1024": {"resolution": 1024, "channel_base": 65536, "channel_max": 1024, **RADIAL},
}


def resample(
    x: Tensor,
    kernel: Tensor,
    *,
    up: int = 1,
    down: int = 1,
    padding: tuple[int, int] = (0, 0),
) -> Tensor:
    """Zeros between samples, padding or cutting, convolution, every `down`-th sample."""
    N, C, H, W = x.shape
    x = F.pad(x.reshape(N, C, H, 1, W, 1), (0, up - 1, 0, 0, 0, up - 1))
    x = F.pad(x.reshape(N, C, H * up, W * up), (*padding, *padding))
    kernel = kernel.flip(tuple(range(kernel.ndim))) * up**kernel.ndim
    shapes = [(1, -1), (-1, 1)] if kernel.ndim == 1 else [kernel.shape]
    for shape in shapes:
        weight = kernel.reshape(1, 1, *shape).repeat(C, 1, 1, 1)
        x = F.conv2d(x, weight, groups=C)
    return x[:, :, ::down, ::down]


def input_features(G: StyleGAN3, w: Tensor, transform: Tensor | None) -> Tensor:
    """The Fourier input of one or more w (N, C)."""
    part = G.synthesis.input
    t = w @ (part.affine.weight / w.shape[1] ** 0.5).T + part.affine.bias
    t = t / t[:, :2].norm(dim=1, keepdim=True)
    turn, move = (torch.eye(3).to(w).repeat(len(w), 1, 1) for _ in range(2))
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = t[:, 0], -t[:, 1], t[:, 1], t[:, 0]
    move[:, :2, 2] = -t[:, 2:]
    M = turn @ move @ (part.transform if transform is None else transform.to(w))
    phases = part.phases + (part.freqs @ M[:, :2, 2:]).squeeze(2)
    freqs = part.freqs @ M[:, :2, :2]
    point = part.point
    amplitude = 1 - (freqs.norm(dim=2) - point.cutoff) / (point.rate / 2 - point.cutoff)
    theta = torch.eye(2, 3).to(w)[None] * (0.5 * point.size / point.rate)
    grid = F.affine_grid(theta, [1, 1, point.size, point.size], align_corners=False)
    x = torch.einsum("hwd,ncd->nhwc", grid[0], freqs) + phases[:, None, None]
    x = torch.sin(2 * torch.pi * x) * amplitude.clamp(0, 1)[:, None, None]
    return (x @ (part.weight / len(part.weight) ** 0.5).T).permute(0, 3, 1, 2)


def layer_output(part: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """One layer: grouped convolution with each row's own weights, then what the filters do."""
    layer, N = part.layer, len(w)
    style = w @ (part.affine.weight / w.shape[1] ** 0.5).T + part.affine.bias
    weight = part.weight
    if layer.colours:
        style = style / weight[0].numel() ** 0.5
    else:
        weight = weight / weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        style = style / style.square().mean().sqrt()
    weights = weight * style[:, None, :, None, None]
    if not layer.colours:
        weights = weights / (weights.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).sqrt()
    weights = (weights / part.magnitude_ema.sqrt()).flatten(0, 1)
    x = F.conv2d(x.flatten(0, 1)[None], weights, padding=layer.kernel - 1, groups=N)
    x = x.view(N, -1, *x.shape[2:]) + part.bias[:, None, None]
    if layer.colours:
        return x.clamp(-256, 256)
    x = resample(x, part.up_filter, up=layer.up, padding=layer.padding)
    x = (F.leaky_relu(x, 0.2) * 2**0.5).clamp(-256, 256)
    return resample(x, part.down_filter, down=layer.down)


def drawn_by_definition(G: StyleGAN3, ws: Tensor, transform: Tensor | None = None) -> Tensor:
    """What `G.synthesis` gives, by the definitions of its parts."""
    x = input_features(G, ws[:, 0], transform)
    for i, part in enumerate(G.synthesis.layers):
        x = layer_output(part, x, ws[:, i + 1])
    return x * 0.25


def contenders(name: str) -> dict[str, Callable[[], Tensor]]:
    """Ours and the peer on one code of a random network."""
    torch.manual_seed(0)
    G = StyleGAN3(**NETWORKS[name]).requires_grad_(False)
    ws = G.mapping(torch.randn(1, 512))[:, None].repeat(1, G.slots, 1)
    return {"ours": lambda: G.synthesis(ws), "definition": lambda: drawn_by_definition(G, ws)}


def race(name: str, rounds: int) -> dict[str, Any]:
    """Seconds of both in turn; one round before is not counted."""
    calls = contenders(name)
    times: dict[str, list[tuple[float, float]]] = {key: [] for key in calls}
    gap = float((calls["ours"]() - calls["definition"]()).abs().max())
    for _ in range(rounds):
        for key, call in calls.items():
            start = time.perf_counter(), time.process_time()
            call()
            times[key].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    figures: dict[str, Any] = {"largest difference": gap}
    for i, clock in enumerate(("s", "cpu s")):
        middle = {key: statistics.median(t[i] for t in pairs) for key, pairs in times.items()}
        figures[clock] = {key: round(value, 3) for key, value in middle.items()}
        figures[f"{clock}, ratio"] = round(middle["ours"] / middle["definition"], 3)
    return figures


def growth(name: str, contender: str) -> float:
    """Megabytes that this process grows by at most while it draws one picture (Linux only)."""
    call = contenders(name)[contender]
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now
    before = held("VmRSS")
    call()
    return held("VmHWM") - before


def held(field: str) -> float:
    """Megabytes of this process that the kernel reports under a name."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/self/status: no {field}")


def memory(name: str) -> dict[str, float]:
    """Growth of a fresh process for each contender, MB, and the ratio."""
    figures = {}
    for key in ("ours", "definition"):
        command = [sys.executable, __file__, "--network", name, "--growth-of", key]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        figures[key] = round(float(done.stdout), 1)
    return figures | {"ratio": round(figures["ours"] / figures["definition"], 3)}


def main() -> None:
    """Print the figures, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--growth-of", choices=["ours", "definition"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.network or ["T-256", "R-256"]
    keep_freed_memory()
    with torch.inference_mode():
        if options.growth_of:
            print(growth(names[0], options.growth_of))
            return
        about = {
            "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "system": platform.platform(),
            "rounds": options.rounds,
        }
        networks = {name: race(name, options.rounds) | {"MB": memory(name)} for name in names}
    text = json.dumps({"machine": about, "networks": networks}, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
