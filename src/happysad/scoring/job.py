"""A job's own files in its folder: what it is, and what it works on.

``_inputs.jsonl.gz`` lists the inputs, one a line, and is written first; ``_job.json`` says that it
is whole and what the settings are. From then on a job is what these two say: images that are
added to the source later are none of its. Readers of Parquet folders pass over names that begin
with ``_``.
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
from happysad.scoring.sources import Input
from happysad.scoring.storage import (
    convert_store_errors,
    exists,
    is_remote,
    local_path,
    locate,
    names_in,
    open_blocks,
    open_file,
    reason,
    write_whole,
)

_JOB: Final = "_job.json"
_INPUTS: Final = "_inputs.jsonl.gz"


@dataclass(frozen=True)
class Settings:
    """What makes two jobs the same.

    Attributes:
        source: As `happysad.scoring.sources.find_inputs` takes it.
        column: Likewise.
        crop: ``"face"`` or ``"whole"``.
        model: SHA-256 of the model's file.
        happysad: Version.
    """

    source: str
    column: str | None
    crop: str
    model: str
    happysad: str


@dataclass(frozen=True)
class Job:
    """A job, as its folder describes it.

    Attributes:
        settings: What was asked for.
        inputs: SHA-256 of the list of inputs.
        images: How many there are, those in tars left out.
        part: Up to how many images make a part.
        parts: How many parts there are.
    """

    settings: Settings
    inputs: str
    images: int
    part: int
    parts: int

    @property
    def crop(self) -> str:
        """What is classified: ``"face"`` or ``"whole"``."""
        return self.settings.crop

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the job is."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def read_job(dest: str) -> Job:
    """Read what a folder's job is.

    Raises:
        FileNotFoundError: There is none.
        HappysadError: It cannot be read.
    """
    uri = f"{dest}/{_JOB}"
    if not exists(uri):
        raise FileNotFoundError(uri)
    try:
        with open_file(uri) as file:
            value = json.loads(file.read())
        return Job(**(value | {"settings": Settings(**value["settings"])}))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise HappysadError(f"{uri}: cannot be read ({reason(error)})") from error


def write_job(dest: str, job: Job) -> None:
    """Say that the list of inputs is whole."""
    write_whole(f"{dest}/{_JOB}", json.dumps(asdict(job), indent=2).encode())


def check_empty(dest: str) -> None:
    """Refuse a folder that holds anything but an unfinished list.

    Raises:
        HappysadError: It does.
    """
    others = [n for n in names_in(dest) if n != _INPUTS and not n.startswith(".")]
    if _JOB in others:
        raise HappysadError(f"{dest}: holds a job already; go on with --resume, or give another")
    if others:
        raise HappysadError(f"{dest}: holds {others[0]!r}; give an empty folder, or a new one")


def check_same(dest: str, job: Job, settings: Settings, part: int | None) -> None:
    """Refuse to go on with a job that is not the one that is asked for.

    Raises:
        HappysadError: It is another.
    """
    pairs: list[tuple[str, Any, Any]] = [
        (f.name, getattr(job.settings, f.name), getattr(settings, f.name)) for f in fields(Settings)
    ]
    pairs.append(("part", job.part, part or job.part))
    for name, was, asked in pairs:
        if was != asked:
            raise HappysadError(
                f"{dest}: was begun with {name} {was!r}, and now it is {asked!r}; go on with the "
                "former, or give another --out"
            )


def write_inputs(dest: str, inputs: Iterable[Input]) -> tuple[str, int, int]:
    """Write the list of inputs.

    Returns:
        Its SHA-256, and the numbers of inputs and of images in them, as far as known.
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
        HappysadError: It is damaged, or gone.
    """
    uri = f"{dest}/{_INPUTS}"
    try:
        with convert_store_errors(uri), open_blocks(uri) as raw, gzip.open(raw) as file:
            for line in io.TextIOWrapper(file, "ascii"):
                yield Input.from_json(json.loads(line))
    except (OSError, ValueError, EOFError) as error:
        raise HappysadError(f"{uri}: cannot be read ({reason(error)})") from error


def settled(place: str) -> str:
    """Write a place so that it means the same on every node: paths are made absolute."""
    return place.rstrip("/") if is_remote(place) else str(Path(local_path(place)).absolute())
