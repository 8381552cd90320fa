"""The description of a job in its output folder.

``_inputs.jsonl.gz`` lists the inputs, one per line, and is written first. ``_job.json`` holds the
settings and marks that list as complete; from then on images that are added to the source are not
part of the job. Readers of Parquet folders ignore names that begin with ``_``.
"""

import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from happysad.errors import HappysadError
from happysad.files import convert_os_errors
from happysad.scoring.inputs import Input
from happysad.scoring.storage import (
    convert_store_errors,
    exists,
    is_remote,
    locate,
    names_in,
    open_blocks,
    open_file,
    reason,
    write_atomically,
)
from happysad.sources import SkippedFiles

_JOB: Final = "_job.json"
_INPUTS: Final = "_inputs.jsonl.gz"


@dataclass(frozen=True)
class Settings:
    """What identifies a job.

    Attributes:
        source: See `happysad.scoring.sources.find_inputs`.
        column: Likewise.
        crop: ``"face"`` or ``"whole"``.
        model: SHA-256 of the model file.
        happysad: Version.
    """

    source: str
    column: str | None
    crop: str
    model: str
    happysad: str


@dataclass(frozen=True)
class Job:
    """A job as its folder describes it.

    Attributes:
        settings: What identifies it.
        inputs: SHA-256 of the list of inputs.
        images: Number of images, without those in tars.
        chunk_size: Maximum number of images in a chunk.
        chunks: Number of chunks.
        skipped: Files of the source that are not images.
    """

    settings: Settings
    inputs: str
    images: int
    chunk_size: int
    chunks: int
    skipped: SkippedFiles

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all attributes."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def read_job(dest: str) -> Job | None:
    """Read a folder's job; None where there is none.

    Raises:
        HappysadError: It cannot be read.
    """
    uri = f"{dest}/{_JOB}"
    if not exists(uri):
        return None
    try:
        with open_file(uri) as file:
            value = json.loads(file.read())
        value["settings"] = Settings(**value["settings"])
        value["skipped"] = SkippedFiles(**value["skipped"])
        return Job(**value)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HappysadError(f"{uri}: cannot be read ({reason(error)})") from error


def write_job(dest: str, job: Job) -> None:
    """Write the job, which marks the list of inputs as complete."""
    write_atomically(f"{dest}/{_JOB}", json.dumps(asdict(job), indent=2).encode())


def check_empty(dest: str) -> None:
    """Check that a folder holds at most an incomplete list of inputs.

    Raises:
        HappysadError: It holds more.
    """
    others = [n for n in names_in(dest) if n != _INPUTS and not n.startswith(".")]
    if _JOB in others:
        raise HappysadError(f"{dest}: holds a job; continue with --resume, or give another --out")
    if others:
        raise HappysadError(f"{dest}: not empty ({others[0]!r}); give an empty or new folder")


def check_same(dest: str, job: Job, settings: Settings, chunk_size: int | None) -> None:
    """Check that the job in a folder is the requested one.

    Raises:
        HappysadError: It is another.
    """
    pairs: list[tuple[str, Any, Any]] = [
        (f.name, getattr(job.settings, f.name), getattr(settings, f.name)) for f in fields(Settings)
    ]
    pairs.append(("chunk size", job.chunk_size, chunk_size or job.chunk_size))
    for name, earlier, requested in pairs:
        if earlier != requested:
            raise HappysadError(
                f"{dest}: holds a job with {name} {earlier!r}, not {requested!r}; resume with the "
                "same options, or give another --out"
            )


def write_inputs(dest: str, inputs: Iterable[Input]) -> tuple[str, int, int]:
    """Write the list of inputs.

    Returns:
        Its SHA-256, the number of inputs, and the number of images without those in tars.
    """
    digest, count, images = hashlib.sha256(), 0, 0
    uri = f"{dest}/{_INPUTS}"
    filesystem, path = locate(uri)
    if not is_remote(uri):
        with convert_os_errors(Path(path)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            convert_store_errors(uri),
            filesystem.open_output_stream(path, compression=None) as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=3) as file,
        ):
            for item in inputs:
                line = json.dumps(item.to_json()).encode() + b"\n"
                file.write(line)
                digest.update(line)
                count += 1
                images += item.images
    except OSError as error:
        raise HappysadError(f"{uri}: cannot be written ({reason(error)})") from error
    return digest.hexdigest(), count, images


def read_inputs(dest: str) -> Iterator[Input]:
    """Read the list of inputs.

    Raises:
        HappysadError: It is damaged or missing.
    """
    uri = f"{dest}/{_INPUTS}"
    try:
        with convert_store_errors(uri), open_blocks(uri) as raw, gzip.open(raw) as file:
            for line in io.TextIOWrapper(file, "ascii"):
                yield Input.from_json(json.loads(line))
    except (OSError, ValueError, EOFError) as error:
        raise HappysadError(f"{uri}: cannot be read ({reason(error)})") from error
