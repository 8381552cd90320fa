"""Score one chunk of inputs: the Ray task that writes one Parquet file."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints, is_typeddict

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from happysad.detector import Detector
from happysad.errors import HappysadError, ImageError
from happysad.prediction import ImageResult
from happysad.records import ImageRecord, image_record
from happysad.scoring.inputs import Input
from happysad.scoring.job import Job, read_job
from happysad.scoring.reading import ImageFile, read_images
from happysad.scoring.storage import exists, open_file, write_atomically
from happysad.scoring.summary import ScoringSummary

Predict = Callable[[bytes], ImageResult]


def arrow_type(kind: Any) -> Any:
    """Convert a record's Python type to its Arrow type."""
    if is_typeddict(kind):
        return pa.struct({name: arrow_type(t) for name, t in get_type_hints(kind).items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        return pa.list_(arrow_type(arguments[0]))
    if origin is Literal:
        return pa.string()
    if origin is UnionType:  # X | None
        return arrow_type(arguments[0])
    return {str: pa.string(), int: pa.int64(), float: pa.float64()}[kind]


_RECORD: Final = {field.name: field.type for field in arrow_type(ImageRecord)}
SCHEMA: Final = pa.schema(
    {"uri": pa.string(), "sha256": pa.string(), "size": pa.int64()}
    | {name: kind for name, kind in _RECORD.items() if name not in ("schema", "path")}
)
"""The output's columns: a row for each image, with the keys of `ImageRecord`."""

_FINGERPRINT: Final = b"happysad.job"
_SUMMARY: Final = b"happysad.summary"
_ROW_GROUP: Final = 1000


def chunk_uri(dest: str, number: int) -> str:
    """Return the URI of a chunk's rows."""
    return f"{dest}/part-{number:06}.parquet"


def score_chunk(
    dest: str, job: Job, model: bytes, number: int, inputs: Sequence[Input], isolated: bool
) -> ScoringSummary:
    """Score a chunk and write its file; a chunk whose file exists is only summarised.

    Args:
        dest: The job's folder.
        job: The job.
        model: A model file.
        number: The chunk's number, from 0.
        inputs: The chunk.
        isolated: Decode and predict in another process, because a worker died on this chunk.

    Raises:
        StoreError: The store does not respond.
        HappysadError: This node does not see the job's folder, or the file cannot be written.
    """
    _check_folder(dest, job.fingerprint)
    uri = chunk_uri(dest, number)
    if exists(uri):
        return _summary(uri, job)
    start, summary = time.perf_counter(), ScoringSummary()
    crop = job.settings.crop
    predict = _isolated(model, crop) if isolated else _detector(model, crop).predict_image
    buffer = pa.BufferOutputStream()
    with (
        pq.ParquetWriter(buffer, SCHEMA, compression="zstd") as writer,
        closing(read_images(inputs)) as images,
    ):
        rows: list[dict[str, Any]] = []
        for row in _rows(images, predict, number, summary):
            rows.append(row)
            if len(rows) == _ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
        summary.seconds = time.perf_counter() - start
        text = json.dumps(summary.to_dict())
        writer.add_key_value_metadata({_FINGERPRINT: job.fingerprint, _SUMMARY: text})
    write_atomically(uri, buffer.getvalue().to_pybytes())
    return summary


@lru_cache(maxsize=1)
def _check_folder(dest: str, fingerprint: str) -> None:
    job = read_job(dest)
    if job is None or job.fingerprint != fingerprint:
        raise HappysadError(
            f"{dest}: not the same folder on node {ray.util.get_node_ip_address()} as where the "
            "command runs; give a folder that all nodes share, or an object store"
        )


def _summary(uri: str, job: Job) -> ScoringSummary:
    """Read a finished chunk's summary."""
    try:
        with open_file(uri) as file:
            metadata = pq.read_metadata(file).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise HappysadError(f"{uri}: cannot be read ({error}); delete it") from error
    if metadata.get(_FINGERPRINT) != job.fingerprint.encode():
        raise HappysadError(f"{uri}: belongs to another job; delete it, or give another --out")
    return ScoringSummary.from_json(metadata[_SUMMARY])


@lru_cache(maxsize=1)
def _detector(model: bytes, crop: Any) -> Detector:
    """Load the model once per process."""
    return Detector(model, crop=crop)


def _predict(model: bytes, crop: str, content: bytes) -> ImageResult:
    return _detector(model, crop).predict_image(content)


def _isolated(model: bytes, crop: str) -> Predict:
    """Return a predict function that survives images that kill their process."""
    # On this node: the loss of another node would be attributed to the image.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    task = ray.remote(num_cpus=0, max_retries=1, scheduling_strategy=here)(_predict)
    stored = ray.put(model)

    def predict(content: bytes) -> ImageResult:
        try:
            result: ImageResult = ray.get(task.remote(stored, crop, content))
        except RayTaskError:
            raise
        except RayError:
            return ImageResult("", error=ImageError("the process that decoded it died twice"))
        return result

    return predict


def _rows(
    images: Iterator[ImageFile], predict: Predict, number: int, summary: ScoringSummary
) -> Iterator[dict[str, Any]]:
    for image in images:
        uri = utf8(image.uri)
        if image.skipped:
            summary.skipped.add(uri)
            continue
        size = sha256 = None
        if image.content is None:
            result = ImageResult(uri, error=ImageError(utf8(image.problem)))
        else:
            result = predict(image.content)
            size, sha256 = len(image.content), hashlib.sha256(image.content).hexdigest()
        record = image_record(result)
        record["path"] = uri
        summary.add(number, record, size or 0)
        # Keys that are not in the schema are dropped.
        yield dict(record) | {"uri": uri, "sha256": sha256, "size": size}


def utf8(text: str) -> str:
    """Return text as Parquet holds it: other bytes than UTF-8 are written as escape sequences."""
    return text.encode("utf-8", "backslashreplace").decode()
