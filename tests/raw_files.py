"""Files in other people's layouts, written with stand-ins for the classes that wrote them."""

import contextlib
import pickle
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

SOURCE = "import os\nos.environ['TEDI_CANARY'] = 'module_src'\n"


class EasyDict(dict):
    """A dict whose keys are attributes, as NVIDIA's code has it."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class Persistent(nn.Module):
    """Pickles itself as a class of NVIDIA's code does: its source, its name and its state."""

    class_name = "Layer"

    def __init__(self, **kwargs):
        super().__init__()
        self._init_args, self._init_kwargs = (), EasyDict(kwargs)

    def __reduce__(self):
        state = object.__reduce__(self)[2]
        meta = {"type": "class", "version": 6, "module_src": SOURCE}
        meta |= {"class_name": self.class_name, "state": state}
        return _reconstruct_persistent_obj, (EasyDict(meta),), None


def _reconstruct_persistent_obj(meta):
    raise AssertionError("a file was run")


class Layer(Persistent):
    def __init__(self, width, channels):
        super().__init__(width=width, channels=channels)
        self.weight = nn.Parameter(torch.randn(channels, width))
        self.bias = nn.Parameter(torch.randn(channels))
        self.gain = np.float32(0.5)
        self.register_buffer("resample_filter", torch.ones(4, 4))


class Generator(Persistent):
    class_name = "Generator"

    def __init__(self, width=8, channels=4, layers=3):
        super().__init__(width=width, channels=channels, mapping_kwargs=EasyDict(num_layers=2))
        self.mapping = nn.ModuleDict({f"fc{i}": Layer(width, width) for i in range(2)})
        self.blocks = nn.ModuleList([Layer(width, channels) for _ in range(layers)])
        self.register_buffer("w_avg", torch.randn(width))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.register_buffer("absent", None)
        self.tied = self.blocks[0]


@contextlib.contextmanager
def named(module, *things):
    """While a file is written, things have this module for their home."""
    homes = [(thing, thing.__module__) for thing in things]
    parts = module.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: types.ModuleType(name) for name in names})
    try:
        for thing in things:
            thing.__module__ = module
            setattr(sys.modules[module], thing.__name__, thing)
        yield
    finally:
        for thing, home in homes:
            thing.__module__ = home
        for name, old in before.items():
            sys.modules.pop(name)
            if old is not None:
                sys.modules[name] = old


def write_nvidia(path: Path, content, *, protocol: int = 4) -> None:
    """A pickle as NVIDIA's training loop writes it."""
    with (
        named("torch_utils.persistence", _reconstruct_persistent_obj),
        named("dnnlib.util", EasyDict),
        path.open("wb") as file,
    ):
        pickle.dump(content, file, protocol=protocol)


def nvidia_content(network=None) -> dict:
    torch.manual_seed(5)
    network = network or Generator()
    return {"G": None, "G_ema": network, "training_set_kwargs": EasyDict(path="/data/x.zip")}


def checkpoint() -> dict:
    """A training checkpoint: states, settings, numbers."""
    torch.manual_seed(3)
    state = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).state_dict()
    state["half"], state["turned"] = torch.randn(5).half(), torch.randn(2, 3).T
    state["tail"] = state["0.weight"][1:]
    return {"state_dict": state, "latent_avg": torch.randn(4), "step": 7, "loss": np.float64(0.25)}


def write_all(folder: Path) -> dict[str, Path]:
    """One file of each container, small and of real layout."""
    content = checkpoint()
    files = {
        name: folder / name
        for name in ("zip.pt", "legacy.pt", "nvidia.pkl", "plain.pkl", "arrays.npz", "packed.npz")
    }
    files |= {name: folder / name for name in ("object.npy", "array.npy", "x.safetensors")}
    torch.save(content, files["zip.pt"])
    torch.save(content, files["legacy.pt"], _use_new_zipfile_serialization=False)
    write_nvidia(files["nvidia.pkl"], nvidia_content(Generator(4, 2, 1)))
    statistics = [np.arange(6.0).reshape(2, 3), {"a": [1, 2.5, "x", None, True, b"y" * 300]}]
    files["plain.pkl"].write_bytes(pickle.dumps(statistics, protocol=0))
    arrays = {"mean": np.arange(4.0), "names": np.array(["a", "bc"]), "on": np.array([True, False])}
    np.savez(files["arrays.npz"], **arrays)
    np.savez_compressed(files["packed.npz"], **arrays)
    told = {"boundary": np.ones((1, 2, 4)), "meta_data": {"manipulate_layers": [0, 1]}}
    np.save(files["object.npy"], np.array(told, dtype=object), allow_pickle=True)
    np.save(files["array.npy"], np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)))
    save_file({"a": torch.randn(2, 3), "b": torch.arange(3)}, files["x.safetensors"], {"k": "v"})
    return files


def rezip(source: Path, target: Path, *, method: int = zipfile.ZIP_STORED, **changed: bytes):
    """A zip with some entries replaced: `data_pkl=b"…"` is archive/data.pkl, None leaves it out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            key = name.partition("/")[2].replace(".", "_").replace("/", "_")
            data = changed.get(key, old.read(name))
            if data is not None:
                new.writestr(name, data)
