"""Score many images: hand out parts to workers until every part's file is there."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError

from happysad import __version__
from happysad.classifier import Classifier
from happysad.cores import cores
from happysad.errors import HappysadError, StoreError
from happysad.ray_session import connect
from happysad.released import MODEL, read_released
from happysad.scoring.job import (
    Job,
    Settings,
    check_empty,
    check_same,
    read_inputs,
    read_job,
    settled,
    write_inputs,
    write_job,
)
from happysad.scoring.sources import Input, cut, find_inputs
from happysad.scoring.storage import is_remote
from happysad.scoring.summary import Scores
from happysad.scoring.worker import Worker

PART: Final = 1000
"""Images in a part, at most, where it is not said: some ten seconds of one core."""

# Of few images each worker gets at least so many parts, so that all end at about the same time.
_PARTS_EACH: Final = 8
# How often a part is tried. From the third time on its images are looked at one by one.
_ATTEMPTS: Final = 5
_CAREFULLY: Final = 2


@dataclass(frozen=True)
class ScoringResult:
    """A finished job.

    Attributes:
        job: What it was.
        scores: What it came to.
    """

    job: Job
    scores: Scores


@dataclass(frozen=True)
class _Part:
    number: int
    inputs: list[Input]
    failed: int = 0


def load_model(path: Path | None) -> bytes:
    """Read a model file, and check it here rather than on every node.

    Args:
        path: A `.tflite` file that happysad exported; None means the released one.

    Raises:
        ModelError: The file is missing, damaged, or was not made by happysad.
    """
    Classifier(path)
    return path.read_bytes() if path else read_released(MODEL)


def score(
    source: str,
    dest: str,
    *,
    model: bytes,
    crop: str = "face",
    column: str | None = None,
    part: int | None = None,
    resume: bool = False,
    address: str | None = None,
    workers: int | None = None,
    on_list: Callable[[Iterable[Input]], Iterable[Input]] = lambda inputs: inputs,
    on_part: Callable[[Job, Scores], None] = lambda job, scores: None,
) -> ScoringResult:
    """Find and classify the faces of all images of a source, on one machine or many.

    The inputs are listed, then cut into parts; each part becomes one Parquet file, written in one
    step (see `happysad.scoring.worker.SCHEMA`). Whatever dies in between, a part is there whole, or
    is done again: one row for each image.

    Args:
        source: See `happysad.scoring.sources.find_inputs`.
        dest: A folder, or a prefix in an object store; with several nodes one that all see.
        model: A model file's content, see `load_model`.
        crop: ``"face"`` or ``"whole"``, see `happysad.detector.Detector`.
        column: Of lists and Parquet files.
        part: Images in a part, at most; None means `PART`, or less where there are few.
        resume: Go on with the job in ``dest``, if there is one.
        address: Of a Ray cluster; None means this machine alone.
        workers: How many; None means one for each CPU.
        on_list: Told of the inputs while they are listed; passes them on.
        on_part: Told of each part as it is finished, in any order.

    Raises:
        HappysadError: The source is empty, ``dest`` holds something else, a folder or a cluster
            cannot be used, or workers die again and again.
        StoreError: An object store does not answer.
    """
    source, dest = settled(source), settled(dest)
    settings = Settings(source, column, crop, hashlib.sha256(model).hexdigest(), __version__)
    job = _existing(dest) if resume else None
    if job:
        check_same(dest, job, settings, part)
    else:
        check_empty(dest)
        digest, images = _list(dest, settings, on_list)
    with connect(address, workers or cores()):
        count = workers or max(1, int(ray.cluster_resources().get("CPU", 0)))
        if not job:
            part = part or max(1, min(PART, images // (count * _PARTS_EACH)))
            job = _begin(dest, settings, digest, images, part)
        parts = (_Part(number, inputs) for number, inputs in _parts(dest, job.part))
        total = Scores()
        for scores in _work(parts, _starter(dest, job, model), min(count, job.parts)):
            total.merge(scores)
            on_part(job, scores)
    return ScoringResult(job, total)


def _existing(dest: str) -> Job | None:
    try:
        return read_job(dest)
    except FileNotFoundError:
        return None


def _list(
    dest: str, settings: Settings, on_list: Callable[[Iterable[Input]], Iterable[Input]]
) -> tuple[str, int]:
    """List the inputs; returns the list's SHA-256 and how many images it is known to have."""
    leave_out = None if is_remote(dest) else Path(dest)
    inputs = find_inputs(settings.source, settings.column, leave_out)
    digest, count, images = write_inputs(dest, on_list(inputs))
    first = next(read_inputs(dest), None)
    if first is None or (count == 1 and first.kind == "problem"):
        raise HappysadError(f"{settings.source}: {first.problem if first else 'holds no picture'}")
    return digest, images


def _begin(dest: str, settings: Settings, digest: str, images: int, part: int) -> Job:
    """Settle how the inputs are cut: from here on there is a job to go on with."""
    job = Job(settings, digest, images, part, sum(1 for _ in _parts(dest, part)))
    write_job(dest, job)
    return job


def _parts(dest: str, part: int) -> Iterator[tuple[int, list[Input]]]:
    return enumerate(cut(read_inputs(dest), part))


def _starter(dest: str, job: Job, model: bytes) -> Callable[[], tuple[Any, Any]]:
    """Make the function that starts a worker: it returns the actor, and what tells it is ready."""
    make = ray.remote(num_cpus=1, max_restarts=0)(Worker).remote
    stored = ray.put(model)

    def start() -> tuple[Any, Any]:
        actor = make()
        return actor, actor.begin.remote(dest, job, stored)

    return start


def _work(
    parts: Iterator[_Part], start: Callable[[], tuple[Any, Any]], workers: int
) -> Iterator[Scores]:
    """Hand out parts until all are done, as many at a time as there are workers.

    A worker gets its first part when it is ready: one for which no node has room waits for a node,
    and nothing waits for it. When one dies, its part is handed out again and another is started.
    """
    # What each worker was asked for: a part, or None while it is starting.
    asked: dict[Any, tuple[Any, _Part | None]] = {}
    again: deque[_Part] = deque()
    unused = 0

    def start_one() -> None:
        actor, ready = start()
        asked[ready] = (actor, None)

    for _ in range(workers):
        start_one()
    waiting = next(parts, None)
    while waiting or again or any(part for _, part in asked.values()):
        (ready,), _ = ray.wait(list(asked), num_returns=1)
        actor, part = asked.pop(ready)
        try:
            scores = ray.get(ready)
        except RayTaskError as error:
            if not isinstance(error.cause, HappysadError):
                raise
            if part is None or not isinstance(error.cause, StoreError):
                raise error.cause from None
            again.append(_tried(part, error.cause))
        except RayError as error:
            # The process or its node is gone; if it is only out of reach, it shall be.
            ray.kill(actor)
            unused += part is None
            if unused > workers + _ATTEMPTS:
                raise HappysadError(f"workers die before they begin ({_line(error)})") from error
            if part:
                again.append(_tried(part, error))
            start_one()
            continue
        else:
            if part:
                yield scores
        if again:
            part = again.popleft()
        else:
            part, waiting = waiting, next(parts, None)
        if part:
            reference = actor.score.remote(part.number, part.inputs, part.failed >= _CAREFULLY)
            asked[reference] = (actor, part)


def _tried(part: _Part, error: Exception) -> _Part:
    """Count one more failure of a part."""
    if part.failed + 1 >= _ATTEMPTS:
        raise HappysadError(
            f"part {part.number} failed {_ATTEMPTS} times ({_line(error)}); the same command with "
            "--resume goes on from here"
        ) from error
    return replace(part, failed=part.failed + 1)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
