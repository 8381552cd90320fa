"""Train one network on several workers: this process is the first, Ray runs the others.

Only Ray's connections join them: the others get the crops through its object store, and the first
alone reads the dataset and writes the run directory.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from happysad.cluster.session import session
from happysad.cluster.threads import limit_threads
from happysad.cores import cores
from happysad.errors import HappysadError, RecipeError
from happysad.training.recipe import Recipe

_SECONDS: Final = 300
"""How long workers may take to start."""


def train(
    dataset: Path,
    recipe: Recipe,
    out: Path,
    *,
    workers: int,
    address: str | None = None,
    cpus: int | None = None,
    **options: Any,
) -> Any:
    """Train a network by a recipe, on several workers.

    Each takes its share of every batch; the recipe's batch size stays that of the whole. Killed at
    any instant, this process or a worker, the same call with ``resume=True`` goes on after the last
    finished epoch, with this number of workers or another.

    Args:
        dataset: See `happysad.training.train.train`.
        recipe: See there.
        out: See there.
        workers: How many, this process among them.
        address: Of a Ray cluster, see `session`; None = this machine alone.
        cpus: Cores for each worker; None shares out this machine's, or on a cluster takes as many
            as this machine has.
        **options: Of `happysad.training.train.train`.

    Returns:
        As `happysad.training.train.train` does, a `TrainingResult`.

    Raises:
        RecipeError: The recipe's batches have fewer crops than there are workers.
        HappysadError: There is no such cluster, it has too few CPUs, or a worker was lost.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        raise HappysadError("training on several workers needs KERAS_BACKEND=tensorflow")
    if recipe.batch_size < workers:
        raise RecipeError(
            f"{recipe.name}: batch_size is {recipe.batch_size}, less than one crop for each of "
            f"{workers} workers; take fewer workers or a larger batch"
        )
    cpus = cpus or (cores() if address else max(1, cores() // workers))
    limit_threads(cpus)
    # Only now: TensorFlow makes its threads once.
    from happysad.training.train import train as run_training

    with session(address, workers * cpus):
        there = int(ray.cluster_resources().get("CPU", 0))
        if there < workers * cpus:
            raise HappysadError(
                f"the Ray cluster has {there} CPUs, and {workers} workers of {cpus} need "
                f"{workers * cpus}; take fewer --workers or --cpus"
            )
        fit = partial(_fit, count=workers, cpus=cpus)
        return run_training(dataset, recipe, out, fit=fit, **options)


def _fit(
    network: Any,
    data: Any,
    recipe: Recipe,
    checkpoint: Path,
    on_epoch: Callable[[Any], None],
    *,
    count: int,
    cpus: int,
) -> Any:
    """Do what `happysad.training.fit.fit` does, with workers beside this process."""
    from happysad.training.fit import fit
    from happysad.training.workers import Workers

    # It stands for this process, whose CPUs Ray would else give to another worker.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    exchange = ray.remote(_Exchange).options(num_cpus=cpus, scheduling_strategy=here).remote(count)
    crops = ray.put(np.asarray(data.crops))
    follow = ray.remote(_follow).options(num_cpus=cpus, scheduling_strategy="SPREAD", max_retries=0)
    others = [
        follow.remote(rank, count, cpus, exchange, crops, data.labels, data.validation, recipe)
        for rank in range(1, count)
    ]
    lost: list[RayError] = []

    def gather(value: Any, seconds: float | None = None) -> list[Any]:
        try:
            return _gather(exchange, 0, value, others, seconds)
        except RayError as error:
            # TensorFlow makes an error of its own of what is raised inside a step.
            lost.append(error)
            raise

    try:
        gather("here", _SECONDS)
        return fit(network, data, recipe, checkpoint, on_epoch, Workers(0, count, gather))
    except Exception as error:
        if lost:
            raise HappysadError(_why(lost[0], count, cpus)) from error
        raise
    finally:
        for task in others:
            ray.cancel(task, force=True)
        ray.kill(exchange)


def _why(error: RayError, count: int, cpus: int) -> str:
    if isinstance(error, GetTimeoutError):
        return (
            f"{count} workers of {cpus} CPUs did not start in {_SECONDS} seconds: the cluster is "
            "busy; wait, or take fewer --workers or --cpus"
        )
    reason = (str(error).strip().splitlines() or [""])[-1][:200]
    return (
        f"a worker was lost ({type(error).__name__}: {reason}); the same command with --resume "
        "goes on after the last finished epoch"
    )


class _Exchange:
    """The actor at which workers meet; what they give each other does not pass through it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.values: dict[int, Any] = {}

    async def gather(self, rank: int, value: list[Any]) -> Any:
        """Wait for all workers' references, and give them back by rank."""
        if not self.values:
            self.all = asyncio.get_running_loop().create_future()
        meeting = self.all
        (self.values[rank],) = value
        if len(self.values) == self.count:
            meeting.set_result([self.values[rank] for rank in range(self.count)])
            self.values = {}
        return await meeting


def _gather(
    exchange: Any,
    rank: int,
    value: Any,
    watched: Sequence[Any] = (),
    seconds: float | None = None,
) -> list[Any]:
    """Exchange a value, unless one of the watched tasks fails before all have come."""
    # In a list, or Ray would fetch the value for the exchange itself.
    answer = exchange.gather.remote(rank, [ray.put(value)])
    ready, _ = ray.wait([answer, *watched], timeout=seconds)
    if not ready:
        raise GetTimeoutError
    ray.get(ready)
    values: list[Any] = ray.get(ray.get(answer))
    return values


def _follow(
    rank: int,
    count: int,
    cpus: int,
    exchange: Any,
    crops: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    validation: npt.NDArray[np.bool_],
    recipe: Recipe,
) -> None:
    """Be one of the workers, in a process of Ray's."""
    limit_threads(cpus)
    from happysad.training.fit import Data, fit
    from happysad.training.network import build_network
    from happysad.training.workers import Workers

    gather = partial(_gather, exchange, rank)
    # Its first weights come from the first worker.
    network = build_network(recipe.input_size, dense=recipe.dense, dropout=recipe.dropout)
    gather("here")
    data = Data(crops, labels, validation)
    fit(network, data, recipe, None, lambda progress: None, Workers(rank, count, gather))
