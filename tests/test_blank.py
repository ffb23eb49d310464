"""Networks for their shapes alone."""

import doctest
import subprocess
import sys

import pytest
import torch

from tedi import blank
from tedi.blank import LARGE, Blank
from tedi.encoders import ENCODERS
from tedi.generators import DISCRIMINATORS, GENERATORS

TABLES = {"generator": GENERATORS, "discriminator": DISCRIMINATORS, "encoder": ENCODERS}
NETWORKS = [
    (kind, name)
    for kind, table in TABLES.items()
    for name in table
    if name not in ("text", "tedigan")  # those are built of other networks
]


def test_its_example():
    failed, tried = doctest.testmod(blank)
    assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize(("kind", "name"), NETWORKS)
def test_shapes_are_those_of_the_meta_device(kind, name):
    with Blank():
        made = TABLES[kind][name]()
    with torch.device("meta"):
        expected = TABLES[kind][name]()
    shapes = [{n: t.shape for n, t in net.state_dict().items()} for net in (made, expected)]
    assert shapes[0] == shapes[1]
    assert all(t.is_meta for t in made.parameters() if t.numel() >= LARGE)


def test_it_ends_with_its_block():
    with Blank():
        small = torch.zeros(3)
    assert small.tolist() == [0, 0, 0]
    assert not torch.ones(2 * LARGE).is_meta


def test_looking_into_a_file_imports_no_compiler():
    code = (
        "import sys, torch; from tedi.blank import Blank\n"
        "from tedi.generators.stylegan2 import StyleGAN2\n"
        "with Blank():\n    StyleGAN2()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
