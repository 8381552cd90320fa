"""Read the images of inputs, a few ahead of what is looked at."""

import tarfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from happysad.errors import ImageError, StoreError
from happysad.image import SUFFIXES
from happysad.scoring.ahead import ahead
from happysad.scoring.sources import Input
from happysad.scoring.storage import (
    BLOCK,
    MAX_BYTES,
    convert_store_errors,
    open_blocks,
    open_file,
    read_image_file,
    reason,
    too_large,
)

# An object store takes some 30 to 100 ms to answer: about as long as a few images take to look
# at. So many are fetched at once, and no more than that are held.
_AHEAD: Final = 16


@dataclass(frozen=True)
class Read:
    """An image's bytes, not looked at yet; or what stands in their place.

    Attributes:
        uri: What the image is called. In a tar or a Parquet file it is the file's URI, ``#``,
            and the member's name or the row's number.
        content: The bytes; None after a problem.
        problem: Why there are none.
    """

    uri: str
    content: bytes | None
    problem: str = ""


def read_all(inputs: Sequence[Input]) -> Generator[Read]:
    """Read the images of inputs, in their order.

    Raises:
        StoreError: The store does not answer.
    """
    if all(item.kind in ("image", "problem") for item in inputs):
        yield from ahead((partial(_read_one, item) for item in inputs), _AHEAD)
    else:
        # From its beginning to its end, by one thread: the next few while these are looked at.
        source = _in_turn(inputs)
        results = ahead(repeat(partial(next, source, None)), threads=1, window=_AHEAD)
        try:
            for result in results:
                if result is None:
                    return
                yield result
        finally:
            results.close()


def _in_turn(inputs: Sequence[Input]) -> Generator[Read]:
    for item in inputs:
        if item.kind in ("image", "problem"):
            yield _read_one(item)
            continue
        try:
            with convert_store_errors(item.uri):
                yield from _tar(item.uri) if item.kind == "tar" else _rows(item)
        except StoreError:
            raise
        except FileNotFoundError:
            yield Read(item.uri, None, "no such file")
        # What came before the damage has been read, and stands in the output.
        except (OSError, ValueError, EOFError, tarfile.TarError, pa.ArrowException) as error:
            yield Read(item.uri, None, f"cannot be read on ({reason(error)})")


def _read_one(item: Input) -> Read:
    if item.kind == "problem":
        return Read(item.uri, None, item.problem)
    try:
        return Read(item.uri, read_image_file(item.uri))
    except ImageError as error:
        return Read(item.uri, None, error.reason)


def _tar(uri: str) -> Iterator[Read]:
    """Read the images of a tar: the files with an image's suffix, but for hidden ones."""
    with open_blocks(uri) as raw, tarfile.open(fileobj=raw, mode="r|") as archive:
        while member := archive.next():
            # The archive would remember every member.
            archive.members.clear()  # type: ignore[attr-defined]
            name = Path(member.name)
            if not member.isfile() or name.suffix.lower() not in SUFFIXES:
                continue
            if name.name.startswith("."):
                continue
            called = f"{uri}#{member.name}"
            if member.size > MAX_BYTES:
                yield Read(called, None, too_large(member.size))
                continue
            file = archive.extractfile(member)
            content = file.read() if file else b""
            if len(content) < member.size:
                raise tarfile.ReadError("the file ends too early")
            yield Read(called, content)


def _rows(item: Input) -> Iterator[Read]:
    """Read the images of a row group."""
    with open_file(item.uri) as raw:
        file = pq.ParquetFile(raw, buffer_size=BLOCK, pre_buffer=False)
        number = sum(file.metadata.row_group(group).num_rows for group in range(item.group))
        batches: Any = file.iter_batches(
            batch_size=_AHEAD, row_groups=[item.group], columns=[item.column], use_threads=False
        )
        for batch in batches:
            column = batch.column(0)
            if pa.types.is_struct(column.type):
                column = column.field("bytes")
            for value in column:
                content = value.as_py()
                called = f"{item.uri}#{number}"
                number += 1
                if content is None:
                    yield Read(called, None, "has no bytes")
                elif len(content) > MAX_BYTES:
                    yield Read(called, None, too_large(len(content)))
                else:
                    yield Read(called, content)
