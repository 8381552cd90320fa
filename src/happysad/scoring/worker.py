"""What runs in a worker: one part in, one Parquet file out."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from happysad.detector import Detector
from happysad.errors import HappysadError, ImageError
from happysad.prediction import ImageResult
from happysad.records import ImageRecord, image_record
from happysad.scoring.job import Job, read_job
from happysad.scoring.reading import Read, read_all
from happysad.scoring.sources import Input
from happysad.scoring.storage import exists, open_file, write_whole
from happysad.scoring.summary import Scores

_BOX: Final = pa.list_(pa.float64())
_FACE: Final = pa.struct(
    {
        "box": _BOX,
        "landmarks": pa.list_(_BOX),
        "confidence": pa.float64(),
        "label": pa.string(),
        "scores": pa.struct({"happy": pa.float64(), "sad": pa.float64(), "neither": pa.float64()}),
        "probability": pa.float64(),
    }
)
SCHEMA: Final = pa.schema(
    {
        "uri": pa.string(),
        "sha256": pa.string(),
        "size": pa.int64(),
        "status": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "faces": pa.list_(_FACE),
        "error": pa.string(),
    }
)
"""The rows of the output: one for each image. Keys as in `happysad.records`."""

_JOB: Final = b"happysad.job"
_SCORES: Final = b"happysad.scores"
# Rows are written, compressed, so many at a time.
_ROWS: Final = 1000


class ImageScorer:
    """Looks at images' bytes."""

    def __init__(self, model: bytes, crop: Any) -> None:
        """Open the model, given as a file's bytes."""
        # There is a worker for each core.
        cv2.setNumThreads(1)
        self._detector = Detector(model, crop=crop)

    def answer(self, content: bytes) -> ImageRecord:
        """Find the faces of an image: a record without its path."""
        return image_record(self._detector.predict_image(content))


class Worker:
    """Does part after part; made into an actor of one core by `happysad.scoring.score`."""

    def begin(self, dest: str, job: Job, model: bytes) -> None:
        """Get ready.

        Raises:
            HappysadError: This node does not see the job's folder.
        """
        try:
            seen = read_job(dest)
        except FileNotFoundError:
            seen = None
        if seen != job:
            raise HappysadError(
                f"{dest}: node {ray.util.get_node_ip_address()} does not see this folder as the "
                "driver does; give one that all nodes share, or an object store"
            )
        self._dest, self._job, self._model = dest, job, model
        self._answerer = ImageScorer(model, job.crop)

    def score(self, number: int, inputs: Sequence[Input], carefully: bool) -> Scores:
        """Do one part; if it is done already, tell what it came to.

        Args:
            number: The part's.
            inputs: What it consists of.
            carefully: Look at each image in a process of its own, because a worker has died over
                this part.

        Raises:
            StoreError: The store does not answer.
            HappysadError: The part cannot be written.
        """
        uri = f"{self._dest}/part-{number:06}.parquet"
        if exists(uri):
            return self._done(uri)
        start, scores = time.perf_counter(), Scores()
        buffer = pa.BufferOutputStream()
        answer = self._careful_answer() if carefully else self._answerer.answer
        with pq.ParquetWriter(buffer, SCHEMA, compression="zstd") as writer:
            rows: list[dict[str, Any]] = []
            with closing(read_all(inputs)) as reads:
                for row in _rows(reads, answer, number, scores):
                    rows.append(row)
                    if len(rows) == _ROWS:
                        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                        rows.clear()
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
            scores.seconds = time.perf_counter() - start
            text = json.dumps(scores.to_dict())
            writer.add_key_value_metadata({_JOB: self._job.fingerprint, _SCORES: text})
        write_whole(uri, buffer.getvalue().to_pybytes())
        return scores

    def _done(self, uri: str) -> Scores:
        """Read from a finished part what it came to."""
        try:
            with open_file(uri) as file:
                metadata = pq.read_metadata(file).metadata or {}
        except (OSError, pa.ArrowException) as error:
            raise HappysadError(f"{uri}: cannot be read ({error}); delete it") from error
        if metadata.get(_JOB) != self._job.fingerprint.encode():
            raise HappysadError(f"{uri}: is of another job; give another --out, or delete it")
        return Scores.from_json(metadata[_SCORES])

    def _careful_answer(self) -> Callable[[bytes], ImageRecord]:
        """Make a function that survives images that kill the process that looks at them."""
        # Here: elsewhere a node that goes away would be taken for the image's fault.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        make = ray.remote(num_cpus=0, scheduling_strategy=here)(ImageScorer).remote
        child: list[Any] = []

        def answer(content: bytes) -> ImageRecord:
            for _ in range(2):
                child[:] = child or [make(self._model, self._job.crop)]
                try:
                    record: ImageRecord = ray.get(child[0].answer.remote(content))
                except RayActorError:
                    child.clear()
                else:
                    return record
            return _error("", "the process that looked at it died, twice")

        return answer


def _rows(
    reads: Iterator[Read], answer: Callable[[bytes], ImageRecord], number: int, scores: Scores
) -> Iterator[dict[str, Any]]:
    for read in reads:
        # Parquet holds UTF-8 only; bytes of names that are not stand as \udc80 to \udcff.
        uri = _utf8(read.uri)
        if read.content is None:
            record, size, sha256 = _error(uri, _utf8(read.problem)), None, None
        else:
            record = answer(read.content)
            size, sha256 = len(read.content), hashlib.sha256(read.content).hexdigest()
        record["path"] = uri
        scores.add(number, record, size or 0)
        # What the schema does not name is left out.
        yield dict(record) | {"uri": uri, "sha256": sha256, "size": size}


def _error(source: str, reason: str) -> ImageRecord:
    return image_record(ImageResult(source, error=ImageError(reason)))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
