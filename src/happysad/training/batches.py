"""Input pipeline: shuffled, augmented batches, prepared in threads while the network trains."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from happysad.concurrency import map_ordered
from happysad.cores import cores
from happysad.training.augmentation import augment
from happysad.training.recipe import Augmentation

Batch = tuple[npt.NDArray[Any], npt.NDArray[np.intp]]


def batches(
    crops: npt.NDArray[np.uint8],
    indices: npt.NDArray[np.intp],
    *,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    prepare: Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]] | None = None,
) -> Iterator[Batch]:
    """Yield one epoch of augmented batches.

    Every crop has a random generator of its own, seeded by (seed, epoch, index), so the result
    does not depend on the number of threads, and is the same after a resume.

    Args:
        crops: ``uint8 [N, size, size, 3]``; may be memory-mapped.
        indices: Which of them to use, ``[M]``.
        batch_size: Crops per batch; the last may be smaller.
        augmentation: How to augment them.
        seed: Seed of the run.
        epoch: Number of the epoch.
        prepare: Applied to each batch of crops in the threads.

    Yields:
        The batch (``uint8 [B, size, size, 3]``, or what ``prepare`` returns) and the indices
        ``[B]`` of its crops.
    """
    order = np.random.default_rng((seed, epoch)).permutation(indices)

    def make(chosen: npt.NDArray[np.intp]) -> Batch:
        batch = np.stack(
            [
                augment(crops[i], augmentation, np.random.default_rng((seed, epoch, int(i))))
                for i in chosen
            ]
        )
        return (prepare(batch) if prepare else batch), chosen

    starts = range(0, len(order), batch_size)
    yield from map_ordered(make, (order[i : i + batch_size] for i in starts), cores())
