"""The input pipeline: shuffled, varied batches, made on other threads while training goes on."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from happysad.cores import cores
from happysad.image import RgbImage
from happysad.training.augmentation import augment
from happysad.training.recipe import Augmentation
from happysad.training.workers import ALONE, Workers

Batch = tuple[npt.NDArray[Any], npt.NDArray[np.intp], float]


def batches(
    crops: npt.NDArray[np.uint8],
    indices: npt.NDArray[np.intp],
    *,
    batch_size: int,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    then: Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]] | None = None,
    workers: Workers = ALONE,
) -> Iterator[Batch]:
    """Yield one epoch of augmented batches, in an order and look that the seed decides.

    Every crop draws from a generator of its own, seeded by (seed, epoch, index), so the result
    is the same with any number of threads and after a resume.

    Args:
        crops: ``uint8 [N, size, size, 3]``; may be memory-mapped.
        indices: Which of them to use, ``[M]``.
        batch_size: Crops in a batch; the last may be smaller.
        augmentation: How to vary them.
        seed: Seed of the run.
        epoch: Number of the epoch.
        then: Applied to each batch of crops on the worker threads.
        workers: With whom to share; of each batch only this worker's part is made.

    Yields:
        The batch (``uint8 [B, size, size, 3]``, or what ``then`` makes of it), the indices ``[B]``
        that it was made from, and the share of each in its crop; the rest is of the index at the
        same place from the end.
    """
    order = np.random.default_rng((seed, epoch)).permutation(indices)

    def make(chosen: npt.NDArray[np.intp]) -> Batch:
        varied: list[RgbImage] = [
            augment(crops[i], augmentation, np.random.default_rng((seed, epoch, int(i))))
            for i in chosen
        ]
        batch, blend = np.stack(varied), 1.0
        if augmentation.mixup:
            rng = np.random.default_rng((seed, epoch, int(chosen[0]), len(order)))
            drawn = float(rng.beta(augmentation.mixup, augmentation.mixup))
            blend = max(drawn, 1 - drawn)
            batch = (blend * batch + (1 - blend) * batch[::-1]).astype(np.uint8)
        return (then(batch) if then else batch), chosen, blend

    starts = range(0, len(order), batch_size)
    with ThreadPoolExecutor(cores()) as pool:
        jobs = (
            pool.submit(make, workers.share(order[start : start + batch_size])) for start in starts
        )
        waiting = deque(islice(jobs, 2 * cores()))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(jobs, 1))
