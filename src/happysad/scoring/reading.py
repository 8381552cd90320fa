"""Read the images of inputs, a few in advance."""

import tarfile
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from happysad.concurrency import map_ordered
from happysad.errors import ImageError, StoreError
from happysad.image_formats import HEADER_BYTES, IMAGE_SUFFIXES, image_format
from happysad.scoring.inputs import Input
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

# An object store takes 30 to 100 ms to respond, as long as prediction on a few images.
_THREADS: Final = 8
_AHEAD: Final = 16
"""Images that are read in advance."""

T = TypeVar("T")


@dataclass(frozen=True)
class ImageFile:
    """An image file's bytes, or why there are none.

    Attributes:
        uri: The file; in a tar or Parquet file that file's URI, ``#`` and the member's name or the
            row's number, from 0.
        content: The bytes; None after a problem.
        problem: Why there are no bytes.
        skipped: It is a member of a tar that is not an image; it has no bytes and no problem.
    """

    uri: str
    content: bytes | None = None
    problem: str = ""
    skipped: bool = False


def read_images(inputs: Sequence[Input]) -> Generator[ImageFile]:
    """Read the images of inputs in their order.

    Raises:
        StoreError: The store does not respond.
    """
    if all(item.kind in ("image", "problem") for item in inputs):
        return map_ordered(_read_file, inputs, _THREADS, ahead=_AHEAD // _THREADS)
    return _prefetch(_read_sequentially(inputs), _AHEAD)


def _prefetch(items: Iterator[T], count: int) -> Generator[T]:
    """Iterate in a thread, up to ``count`` items in advance."""
    end: Any = object()
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, items, end) for _ in range(count))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, items, end))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)


def _read_sequentially(inputs: Sequence[Input]) -> Iterator[ImageFile]:
    for item in inputs:
        if item.kind in ("image", "problem"):
            yield _read_file(item)
            continue
        try:
            with convert_store_errors(item.uri):
                yield from _tar(item.uri) if item.kind == "tar" else _rows(item)
        except StoreError:
            raise
        except FileNotFoundError:
            yield ImageFile(item.uri, problem="no such file")
        # The images before the damage have been yielded.
        except (OSError, ValueError, EOFError, tarfile.TarError, pa.ArrowException) as error:
            yield ImageFile(item.uri, problem=f"cannot be read further ({reason(error)})")


def _read_file(item: Input) -> ImageFile:
    if item.kind == "problem":
        return ImageFile(item.uri, problem=item.problem)
    try:
        return ImageFile(item.uri, read_image_file(item.uri))
    except ImageError as error:
        return ImageFile(item.uri, problem=error.reason)


class _Member(tarfile.TarInfo):
    """Raise ReadError for a missing or damaged header, which `tarfile` takes for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(f"incomplete or damaged: {error}") from error


def _tar(uri: str) -> Iterator[ImageFile]:
    """Read the images of a tar: members that are images by suffix or content."""
    empty = True
    with (
        open_blocks(uri) as raw,
        tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Member) as archive,
    ):
        while member := archive.next():
            # The archive would keep a record of every member.
            archive.members.clear()  # type: ignore[attr-defined]
            if member.isdir() or Path(member.name).name.startswith("."):
                continue
            image = _member(archive, member, f"{uri}#{member.name}")
            empty = empty and image.skipped
            yield image
    if empty:
        yield ImageFile(uri, problem="no images in this tar")


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo, uri: str) -> ImageFile:
    file = archive.extractfile(member) if member.isfile() else None
    if file is None:
        return ImageFile(uri, skipped=True)
    header = file.read(HEADER_BYTES)
    if Path(member.name).suffix.lower() not in IMAGE_SUFFIXES and not image_format(header):
        return ImageFile(uri, skipped=True)
    if member.size > MAX_BYTES:
        return ImageFile(uri, problem=too_large(member.size))
    content = header + file.read()
    if len(content) < member.size:
        raise tarfile.ReadError("unexpected end of file")
    return ImageFile(uri, content)


def _rows(item: Input) -> Iterator[ImageFile]:
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
                uri = f"{item.uri}#{number}"
                number += 1
                if content is None:
                    yield ImageFile(uri, problem="the row has no bytes")
                elif len(content) > MAX_BYTES:
                    yield ImageFile(uri, problem=too_large(len(content)))
                else:
                    yield ImageFile(uri, content)
