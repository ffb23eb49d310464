"""Quick random choices."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Dice:
    """Quick draws from a NumPy generator, a block of uniform numbers at a time."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.block: list[float] = []

    def draw(self) -> float:
        """A number in [0, 1)."""
        if not self.block:
            self.block = self.rng.random(128).tolist()
        return self.block.pop()

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.draw() < p

    def choice(self, options: Sequence[T]) -> T:
        """Any of the options, all alike."""
        return options[int(self.draw() * len(options))]

    def ranked(self, options: Sequence[T]) -> T:
        """Any of the options, the first ones more often."""
        return options[int(self.draw() ** 1.8 * len(options))]

    def weighted(self, options: Mapping[T, float]) -> T:
        """A key, as often as its weight says."""
        mark = self.draw() * sum(options.values())
        for option, weight in options.items():
            mark -= weight
            if mark < 0:
                return option
        return option

    def shuffled(self, options: Iterable[T]) -> list[T]:
        """The options in any order."""
        rest, result = list(options), []
        while rest:
            result.append(rest.pop(int(self.draw() * len(rest))))
        return result
