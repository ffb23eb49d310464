"""Adam by torch's function of that name.

The class `torch.optim.Adam` imports torch's compiler when the first one is made, which takes a
second: too long for codes that are moved in 40 milliseconds.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) on parameters, which `step` changes in place.

    Args:
        parameters: leaves or not; their gradients are given to `step`.
        betas: β₁ and β₂, the decay of the means of gradients and of their squares.
    """

    def __init__(
        self, parameters: Sequence[Tensor], *, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.parameters, self.betas = list(parameters), betas
        self.means = [torch.zeros_like(p) for p in parameters]
        self.squares = [torch.zeros_like(p) for p in parameters]
        self.steps = [torch.zeros(()) for _ in parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], lr: float) -> None:
        """Change each parameter by its gradient, at learning rate `lr`."""
        adam(
            self.parameters,
            list(gradients),
            self.means,
            self.squares,
            [],
            self.steps,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
