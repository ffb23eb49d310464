"""StyleGAN2's generator against the straightforward way to compute it in PyTorch, same weights.

    python benchmarks/stylegan2.py --resolution 256 --threads 1

The straightforward way has a modulated, demodulated copy of each layer's weights for every picture,
convolves in groups, puts zeros between pixels, and then filters, adds noise and bias and activates
one after the other. Every round times each contender once, in turn; figures are medians, ratios are
of medians, with the least and the largest ratio of a round. Memory is the most a new process takes
beyond what it had before it drew.
"""

import argparse
import json
import math
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
from tedi.generators.stylegan2 import StyleGAN2

FIR = torch.tensor([1.0, 3.0, 3.0, 1.0])


def filtered(x: Tensor, before: int, after: int) -> Tensor:
    """[1, 3, 3, 1] of gain 4 over each channel."""
    C = x.shape[1]
    kernel = (FIR[:, None] * FIR / 16).to(x)[None, None].repeat(C, 1, 1, 1)
    return F.conv2d(F.pad(x, (before, after, before, after)), kernel, groups=C)


def modulated(layer: Any, x: Tensor, style: Tensor, *, up: bool, demodulate: bool) -> Tensor:
    """Grouped convolution, one group a picture."""
    N, (D, C, k, _) = len(x), layer.weight.shape
    weight = layer.weight[None] * style[:, None, :, None, None]
    if demodulate:
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = x.reshape(1, N * C, *x.shape[2:])
    if up:
        weight = weight.transpose(1, 2).reshape(N * C, D, k, k)
        x = filtered(F.conv_transpose2d(x, weight, stride=2, groups=N), 1, 1)
    else:
        x = F.conv2d(x, weight.reshape(N * D, C, k, k), padding=k // 2, groups=N)
    return x.reshape(N, D, *x.shape[2:])


def straightforward(network: StyleGAN2, ws: Tensor) -> Tensor:
    """Pictures of codes."""
    styles, image = network.styles(ws), None
    x = network.synthesis.block(4).const[None].repeat(len(ws), 1, 1, 1)
    for name, style in styles.items():
        layer = network.synthesis.get_submodule(name)
        bias = layer.bias[:, None, None]
        if name.endswith("torgb"):
            style = style / math.sqrt(style.shape[1])
            new = modulated(layer, x, style, up=False, demodulate=False) + bias
            image = new if image is None else grown(image) + new
        else:
            x = modulated(layer, x, style, up=name.endswith("conv0"), demodulate=True)
            x = x + layer.noise_const * layer.noise_strength + bias
            x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    assert image is not None
    return image


def grown(image: Tensor) -> Tensor:
    """Twice the size, by zeros between pixels."""
    N, C, H, W = image.shape
    between = F.pad(image.reshape(N, C, H, 1, W, 1), (0, 1, 0, 0, 0, 1))
    return filtered(between.reshape(N, C, 2 * H, 2 * W), 2, 1)


def network_and_codes(options: argparse.Namespace) -> tuple[StyleGAN2, Tensor]:
    """Random weights with some noise, and codes of random z."""
    torch.manual_seed(0)
    network = StyleGAN2(resolution=options.resolution).to(options.device)
    network.requires_grad_(False)
    for layer in network.synthesis.modules():
        if hasattr(layer, "noise_strength"):
            layer.noise_strength.fill_(0.1)
    z = torch.randn(options.batch, 512, device=options.device)
    return network, network.mapping(z)[:, None].repeat(1, network.slots, 1)


def contenders(options: argparse.Namespace) -> dict[str, Callable[[], Tensor]]:
    """What is timed: a picture, and its gradient with respect to its code, each in two ways."""
    network, ws = network_and_codes(options)
    drawers = {
        "straightforward": lambda codes: straightforward(network, codes),
        "tedi": network.synthesis,
    }

    def drawn(draw: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            with torch.inference_mode():
                return settled(draw(ws))

        return call

    def traced(draw: Callable[[Tensor], Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            codes = ws.clone().requires_grad_()
            return settled(torch.autograd.grad(draw(codes).square().mean(), codes)[0])

        return call

    calls = {f"drawn: {name}": drawn(draw) for name, draw in drawers.items()}
    return calls | {f"gradient: {name}": traced(draw) for name, draw in drawers.items()}


def settled(result: Tensor) -> Tensor:
    """The result, once the device has it."""
    if result.is_cuda:
        torch.cuda.synchronize()
    return result


def race(calls: dict[str, Callable[[], Tensor]], rounds: int) -> dict[str, list[float]]:
    """Seconds by contender and round; one round before is not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number:
                times[name].append(time.perf_counter() - start)
    return times


def peak(options: argparse.Namespace, name: str) -> float:
    """Megabytes that a new process takes to do it once, beyond its weights."""
    command = [sys.executable, __file__, "--peak", name, "--threads", str(options.threads)]
    sizes = ["--resolution", str(options.resolution), "--batch", str(options.batch)]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
    return float(done.stdout)


def taken_by(call: Callable[[], Tensor]) -> float:
    """Megabytes, of a first call; reads Linux's count of a process's memory."""
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    call()
    return memory("VmHWM") - before


def memory(name: str) -> float:
    """Megabytes of one line of the process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) / 1024


def report(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    calls = contenders(options)
    found: dict[str, Any] = {
        "resolution": options.resolution,
        "batch": options.batch,
        "threads": torch.get_num_threads(),
        "device": options.device,
        "rounds": options.rounds,
        "torch": torch.__version__,
    }
    for work in ("drawn", "gradient"):
        own, other = calls[f"{work}: tedi"](), calls[f"{work}: straightforward"]()
        found[f"{work}: largest difference"] = float((own - other).abs().max())
        found[f"{work}: largest value"] = float(other.abs().max())
    times = race(calls, options.rounds)
    found["seconds"] = {name: statistics.median(taken) for name, taken in times.items()}
    for work in ("drawn", "gradient"):
        own, other = times[f"{work}: tedi"], times[f"{work}: straightforward"]
        ratios = [a / b for a, b in zip(own, other, strict=True)]
        middle = statistics.median(own) / statistics.median(other)
        found[f"{work}: ratio"] = [round(x, 3) for x in (middle, min(ratios), max(ratios))]
    if options.device == "cpu":
        found["megabytes"] = {name: round(peak(options, name)) for name in calls}
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    if options.peak:
        print(taken_by(contenders(options)[options.peak]))
    else:
        print(json.dumps(report(options), indent=1))


if __name__ == "__main__":
    main()
