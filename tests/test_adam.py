"""Adam without the import of torch's compiler."""

import subprocess
import sys

import pytest
import torch

from tedi.adam import Adam


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95)])
def test_steps_are_those_of_torchs_own_class(betas):
    start = [torch.randn(3, 4), torch.randn(5)]
    ours = [p.clone() for p in start]
    theirs = [p.clone().requires_grad_() for p in start]
    adam, optimizer = Adam(ours, betas=betas), torch.optim.Adam(theirs, betas=betas)
    for step in range(5):
        gradients = [torch.randn_like(p) * 10.0**step for p in start]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.step()
        adam.step(gradients, 0.1 / (step + 1))
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other.detach())


def test_no_compiler_is_imported_for_it():
    code = (
        "import sys, torch\n"
        "from tedi.adam import Adam\n"
        "y = torch.zeros(2, requires_grad=True)\n"
        "Adam([y]).step([torch.ones(2)], 0.1)\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
