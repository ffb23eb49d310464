"""Files of tensors: equal ones are equal bytes, in whatever order they are told."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import tedi
from tedi.tensors import save_file

TOLD = {
    name: f'"{name}"\n\t\x07\x7f é\u2028☺ \\ /' for name in ("é", "b", "kind", "record", "z", "")
}
TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([3], dtype=torch.int8)}


def backwards(mapping):
    return dict(reversed(mapping.items()))


def test_a_file_does_not_depend_on_the_order_of_anything(tmp_path):
    """Every call of the writer of safetensors has another order of metadata."""
    for n in range(5):
        save_file(TENSORS, tmp_path / f"{n}.safetensors", TOLD)
        save_file(backwards(TENSORS), tmp_path / f"-{n}.safetensors", backwards(TOLD))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("told", [TOLD, {}, None])
def test_what_is_read_is_what_was_written(tmp_path, told):
    path = tmp_path / "a.safetensors"
    save_file(TENSORS, path, told)
    read = load_file(path)
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in TENSORS.items())
    with safe_open(path, "pt") as file:
        assert (file.metadata() or {}) == (told or {})


def test_all_of_tedi_writes_by_it():
    root = Path(tedi.__file__).parent
    by_hand = [
        path.name
        for path in root.rglob("*.py")
        if "save_file" in (text := path.read_text(encoding="utf-8"))
        and "from tedi.tensors import save_file" not in text
    ]
    assert by_hand == ["tensors.py"]
