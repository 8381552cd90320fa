"""Several processes that train one network together, as one of them sees it.

Each holds the whole network and works on its share of every batch; gradients are added up before
the optimizer steps, so that all networks stay the same. What the batch normalizations see is the
share, as in Goyal et al. 2017, "Accurate, Large Minibatch SGD"; their moving statistics are
averaged after every epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt

from happysad.training.checkpoint import Arrays

Indices = npt.NDArray[np.intp]


def _alone(value: Any) -> list[Any]:
    return [value]


@dataclass(frozen=True)
class Workers:
    """Those who train together.

    Attributes:
        rank: Number of this worker, from 0. The first one keeps the checkpoint.
        count: How many there are.
        gather: Takes a value from each worker and gives all of them the values of all, by rank.
            Every worker must call it equally often.
    """

    rank: int = 0
    count: int = 1
    gather: Callable[[Any], list[Any]] = _alone

    def share(self, indices: Indices) -> Indices:
        """Choose this worker's part of what all do; nobody gets nothing."""
        # Fewer than workers: all do the whole, and `part` lets each count for its share.
        return indices if len(indices) < self.count else indices[self.rank :: self.count]

    def part(self, whole: int) -> float:
        """Tell how much of a whole, 0–1, this worker's share of it counts."""
        if whole < self.count:
            return 1 / self.count
        return len(range(self.rank, whole, self.count)) / whole

    def rows(self, length: int) -> slice:
        """Choose this worker's stretch of so many rows; it may be empty."""
        start, stop = (length * rank // self.count for rank in (self.rank, self.rank + 1))
        return slice(start, stop)

    def first(self, value: Any) -> Any:
        """Give all the first worker's value."""
        return self.gather(value if self.rank == 0 else None)[0]

    def sum(self, arrays: Arrays) -> Arrays:
        """Add up the arrays of all, in the same order everywhere, so that all get the same bits."""
        return [sum(same[1:], start=same[0]) for same in zip(*self.gather(arrays), strict=True)]

    def mean(self, arrays: Arrays) -> Arrays:
        """Average the arrays of all."""
        return [total / np.float32(self.count) for total in self.sum(arrays)]

    def step_together(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Let an optimizer step by the sum of all workers' gradients."""
        if self.count == 1:
            return
        import tensorflow as tf

        apply = optimizer.apply

        def apply_sum(gradients: list[Any], variables: Any = None) -> None:
            kinds = [gradient.dtype for gradient in gradients]
            total = tf.numpy_function(lambda *own: self.sum(list(own)), gradients, kinds)
            for gradient, own in zip(total, gradients, strict=True):
                gradient.set_shape(own.shape)
            apply(total, variables)

        optimizer.apply = apply_sum


ALONE: Final = Workers()
