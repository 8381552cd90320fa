"""Score many images: submit chunks of inputs to Ray until each has its file."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
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
from happysad.scoring.inputs import Input, chunks
from happysad.scoring.job import (
    Job,
    Settings,
    check_empty,
    check_same,
    read_inputs,
    read_job,
    write_inputs,
    write_job,
)
from happysad.scoring.sources import find_inputs
from happysad.scoring.storage import absolute, is_remote
from happysad.scoring.summary import ScoringSummary
from happysad.scoring.worker import score_chunk
from happysad.sources import SkippedFiles

CHUNK_SIZE: Final = 5000
"""Default maximum of images in a chunk."""

# Few images are divided into at least this many chunks per worker, so that all end together.
_CHUNKS_PER_WORKER: Final = 8
# Retries of a chunk whose worker or node died, or whose store did not respond; then images are
# decoded in isolation, with as many retries again.
_RETRIES: Final = 2


@dataclass(frozen=True)
class ScoringResult:
    """A finished job.

    Attributes:
        job: The job.
        summary: Of all its images.
    """

    job: Job
    summary: ScoringSummary


def load_model(path: Path | None) -> bytes:
    """Read a model file and check it.

    Args:
        path: A `.tflite` file that happysad exported; default: the bundled model.

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
    chunk_size: int | None = None,
    resume: bool = False,
    address: str | None = None,
    workers: int | None = None,
    on_list: Callable[[Iterable[Input]], Iterable[Input]] = lambda inputs: inputs,
    on_start: Callable[[], None] = lambda: None,
    on_chunk: Callable[[Job, ScoringSummary], None] = lambda job, summary: None,
) -> ScoringResult:
    """Detect and classify the faces of all images of a source, on one machine or a cluster.

    The inputs are listed, then scored in chunks. Each chunk becomes one Parquet file, written
    atomically (see `happysad.scoring.worker.SCHEMA`), so that after any interruption a chunk is
    complete or is scored again: the output has exactly one row for each image.

    Args:
        source: See `happysad.scoring.sources.find_inputs`.
        dest: A folder, or a prefix in an object store; on a cluster one that all nodes share.
        model: A model file, see `load_model`.
        crop: ``"face"`` or ``"whole"``, see `happysad.detector.Detector`.
        column: Of lists and Parquet files, see `happysad.scoring.tables.table_inputs`.
        chunk_size: Maximum number of images in a chunk; default: `CHUNK_SIZE`, or less for few
            images.
        resume: Continue the job in ``dest``, if there is one.
        address: See `happysad.ray_session.connect`.
        workers: Chunks scored at once; default: one per CPU of the cluster.
        on_list: Wraps the iteration over the inputs while they are listed.
        on_start: Called before Ray is started.
        on_chunk: Called with each finished chunk's summary, in any order.

    Raises:
        HappysadError: The source is empty, ``dest`` is in use, a folder or a cluster cannot be
            used, or workers die repeatedly.
        StoreError: An object store does not respond.
    """
    source, dest = absolute(source), absolute(dest)
    settings = Settings(source, column, crop, hashlib.sha256(model).hexdigest(), __version__)
    job = read_job(dest) if resume else None
    if job:
        check_same(dest, job, settings, chunk_size)
    else:
        check_empty(dest)
        listed = _list(dest, settings, on_list)
    on_start()
    with connect(address, workers or cores()):
        workers = workers or max(1, int(ray.cluster_resources().get("CPU", 0)))
        if not job:
            digest, images, skipped = listed
            size = chunk_size or max(1, min(CHUNK_SIZE, images // (workers * _CHUNKS_PER_WORKER)))
            count = sum(1 for _ in chunks(read_inputs(dest), size))
            job = Job(settings, digest, images, size, count, skipped)
            write_job(dest, job)
        total = ScoringSummary()
        for summary in _run(dest, job, model, workers):
            total.merge(summary)
            on_chunk(job, summary)
    total.skipped.merge(job.skipped)
    return ScoringResult(job, total)


def _list(
    dest: str, settings: Settings, on_list: Callable[[Iterable[Input]], Iterable[Input]]
) -> tuple[str, int, SkippedFiles]:
    """List the inputs; returns the list's SHA-256, the number of images and skipped files."""
    leave_out = None if is_remote(dest) else Path(dest)
    skipped = SkippedFiles()
    inputs = find_inputs(settings.source, settings.column, leave_out, skipped.add)
    digest, count, images = write_inputs(dest, on_list(inputs))
    first = next(read_inputs(dest), None)
    if first is None or (count == 1 and first.kind == "problem"):
        raise HappysadError(f"{settings.source}: {first.problem if first else 'holds no images'}")
    return digest, images, skipped


def _run(dest: str, job: Job, model: bytes, workers: int) -> Iterator[ScoringSummary]:
    """Yield each chunk's summary as it is finished; at most ``workers`` chunks are submitted."""
    task = ray.remote(num_cpus=1, max_retries=_RETRIES, retry_exceptions=[StoreError])(score_chunk)
    stored = ray.put(model)
    remaining = enumerate(chunks(read_inputs(dest), job.chunk_size))
    submitted: dict[Any, tuple[int, list[Input], bool]] = {}

    def submit(number: int, inputs: list[Input], isolated: bool = False) -> None:
        reference = task.remote(dest, job, stored, number, inputs, isolated)
        submitted[reference] = number, inputs, isolated

    while True:
        for number, inputs in islice(remaining, workers - len(submitted)):
            submit(number, inputs)
        if not submitted:
            return
        (ready,), _ = ray.wait(list(submitted), num_returns=1)
        number, inputs, isolated = submitted.pop(ready)
        try:
            summary: ScoringSummary = ray.get(ready)
        except RayTaskError as error:
            if isinstance(error.cause, HappysadError):
                raise error.cause from None
            raise
        except RayError as error:
            if isolated:
                message = " ".join(str(error).split())[:300]
                raise HappysadError(
                    f"chunk {number}: its workers died repeatedly ({message}); continue with "
                    "--resume"
                ) from error
            submit(number, inputs, isolated=True)
        else:
            yield summary
