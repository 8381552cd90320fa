"""What SOURCE stands for: the inputs of a job, and how they are cut into parts."""

import csv
import fnmatch
import glob
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from happysad.errors import HappysadError, StoreError
from happysad.image import SUFFIXES
from happysad.scoring.ahead import ahead
from happysad.scoring.storage import (
    convert_store_errors,
    is_remote,
    locate,
    open_blocks,
    open_file,
    reason,
)
from happysad.sources import find_images

URI_COLUMNS: Final = ("uri", "url", "path", "file")
"""Where a list keeps its URIs, if it is not told: the first of these columns that it has."""

_FOOTERS: Final = 16
_LIST, _ROWS = ".csv", ".parquet"

Inputs: TypeAlias = Iterator["Input"]


@dataclass(frozen=True)
class Input:
    """One thing that a worker reads from its beginning to its end.

    Attributes:
        uri: An image, a tar, or a Parquet file with images in it.
        kind: ``"rows"`` is one row group of a Parquet file; ``"problem"`` is nothing to be read.
        images: How many images it holds; 0 for a tar, which does not tell.
        group: Number of the row group.
        column: Of the Parquet file, where the images' bytes are.
        problem: Why there is nothing to read.
    """

    uri: str
    kind: Literal["image", "tar", "rows", "problem"] = "image"
    images: int = 1
    group: int = 0
    column: str = ""
    problem: str = ""

    def to_json(self) -> str | dict[str, Any]:
        """Write it down; most are images, and their URI says all."""
        return self.uri if self.kind == "image" else asdict(self)

    @staticmethod
    def from_json(value: Any) -> "Input":
        """Read what `to_json` made."""
        return Input(value) if isinstance(value, str) else Input(**value)


def find_inputs(source: str, column: str | None, leave_out: Path | None = None) -> Inputs:
    """List what a source stands for, in the order of names.

    A folder or prefix stands for the images below it. What a glob matches, and a file, goes by
    its suffix: ``.tar`` holds images, ``.parquet`` holds images or their URIs, ``.csv`` holds
    URIs, all else is an image. In an object store ``*`` matches ``/`` as well. URIs in a list are
    absolute, or start from where the list is.

    Args:
        source: An absolute path, a glob, ``s3://…`` or ``gs://…``.
        column: Of Parquet and CSV files, the column to take; None means the only one with bytes,
            else the first of `URI_COLUMNS`.
        leave_out: A folder on disk of which nothing is taken.

    Yields:
        The inputs. What cannot be read is one, too, with its problem.

    Raises:
        HappysadError: There is nothing of that name.
        StoreError: The store does not answer.
    """
    files = _remote_files(source) if is_remote(source) else _local_files(source, leave_out)
    for listing, items in groupby(files, _is_listing):
        if listing:
            calls = (partial(_open, item, column) for item in items)
            yield from chain.from_iterable(ahead(calls, _FOOTERS))
        else:
            yield from items


def cut(inputs: Iterable[Input], size: int) -> Iterator[list[Input]]:
    """Cut the inputs into parts: up to ``size`` images each, one input at least.

    A tar is a part of its own.
    """
    part: list[Input] = []
    images = 0
    for item in inputs:
        weight = size if item.kind == "tar" else item.images
        if part and images + weight > size:
            yield part
            part, images = [], 0
        part.append(item)
        images += weight
    if part:
        yield part


def _local_files(source: str, leave_out: Path | None) -> Inputs:
    if not glob.has_magic(source) and not Path(source).exists():
        raise HappysadError(f"{source}: no such file or folder")
    for number, found in enumerate(find_images([source], leave_out)):
        if not found.problem:
            yield _by_suffix(found.path)
        elif number == 0 and found.path == source:
            raise HappysadError(
                f"{source}: {found.problem}; give tars or Parquet files as a glob, '{source}/*.tar'"
            )
        else:
            yield Input(found.path, "problem", problem=found.problem)


def _remote_files(source: str) -> Inputs:
    filesystem, path = locate(source)
    scheme = source.partition("://")[0]
    base = path
    try:
        with convert_store_errors(source):
            info = filesystem.get_file_info(path)
            is_glob = glob.has_magic(path) and info.type == fs.FileType.NotFound
            if info.type == fs.FileType.File:
                yield _by_suffix(f"{scheme}://{path}")
                return
            if is_glob:
                parts = path.split("/")
                first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
                base = "/".join(parts[:first])
            selector = fs.FileSelector(base, allow_not_found=True, recursive=True)
            found = filesystem.get_file_info(selector)
    except OSError as error:
        raise HappysadError(f"{source}: cannot be listed ({reason(error)})") from error
    names = sorted(item.path for item in found if item.type == fs.FileType.File)
    if is_glob:
        names = [name for name in names if fnmatch.fnmatchcase(name, path)]
    else:
        names = [name for name in names if _is_visible_picture(name.removeprefix(f"{base}/"))]
    if not names:
        raise HappysadError(
            f"{source}: {'nothing matches' if is_glob else 'no images there'}; check the name, "
            "and give tars or Parquet files as a glob, 's3://bucket/shards/*.tar'"
        )
    yield from (_by_suffix(f"{scheme}://{name}") for name in names)


def _is_visible_picture(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not hidden and Path(name).suffix.lower() in SUFFIXES


def _by_suffix(uri: str) -> Input:
    if Path(uri).suffix.lower() == ".tar":
        return Input(uri, "tar", images=0)
    return Input(uri)


def _is_listing(item: Input) -> bool:
    return item.kind == "image" and item.uri.lower().endswith((_LIST, _ROWS))


def _open(item: Input, column: str | None) -> Inputs:
    """Put in the place of a list what it lists, and of a Parquet file its row groups."""
    if item.uri.lower().endswith(_LIST):
        return _guarded(item.uri, _csv_uris(item.uri, column))
    # The footer is read here, in a thread of its own; the rows only when their turn comes.
    try:
        with convert_store_errors(item.uri):
            file = pq.ParquetFile(open_file(item.uri))
        chosen, holds_pictures = _choose(file.schema_arrow, column)
        if not holds_pictures:
            file.close()
            return _guarded(item.uri, _parquet_uris(item.uri, chosen))
        groups = [
            Input(item.uri, "rows", file.metadata.row_group(group).num_rows, group, chosen)
            for group in range(file.num_row_groups)
        ]
        file.close()
        return iter(groups)
    except StoreError:
        raise
    except (OSError, ValueError, pa.ArrowException, HappysadError) as error:
        return iter([Input(item.uri, "problem", problem=f"cannot be read ({reason(error)})")])


def _guarded(uri: str, inputs: Inputs) -> Inputs:
    """List as far as a list can be read; what stops that is an input of its own."""
    try:
        yield from inputs
    except StoreError:
        raise
    except (OSError, ValueError, csv.Error, pa.ArrowException, HappysadError) as error:
        yield Input(uri, "problem", problem=f"cannot be read ({reason(error)})")


def _csv_uris(uri: str, column: str | None) -> Inputs:
    with convert_store_errors(uri), open_blocks(uri) as raw:
        rows = csv.DictReader(io.TextIOWrapper(raw, "utf-8-sig", newline=""))
        names = rows.fieldnames or []
        chosen = column or next((name for name in URI_COLUMNS if name in names), None)
        if chosen not in names:
            raise HappysadError(_no_column(column, names))
        for row in rows:
            yield _listed(uri, row[chosen])


def _parquet_uris(uri: str, column: str) -> Inputs:
    with convert_store_errors(uri), open_file(uri) as raw:
        for batch in pq.ParquetFile(raw).iter_batches(columns=[column]):
            yield from (_listed(uri, value) for value in batch.column(0).to_pylist())


def _listed(listing: str, uri: str | None) -> Input:
    if not uri:
        return Input(listing, "problem", problem="has a row without a URI")
    if "://" in uri or uri.startswith("/"):
        return Input(uri)
    folder = listing.rpartition("/")[0]
    return Input(f"{folder}/{uri}")


def _choose(schema: Any, column: str | None) -> tuple[str, bool]:
    """Find the column with the images' bytes, else with their URIs; tells which it is."""
    images = [field.name for field in schema if _holds_bytes(field.type)]
    texts = [f.name for f in schema if pa.types.is_string(f.type) or _is_large(f.type)]
    if column in images or (column is None and len(images) == 1):
        return column or images[0], True
    uris = [name for name in ((column,) if column else URI_COLUMNS) if name in texts]
    if not uris:
        raise HappysadError(_no_column(column, schema.names))
    return str(uris[0]), False


def _is_large(kind: Any) -> bool:
    return bool(pa.types.is_large_string(kind))


def _holds_bytes(kind: Any) -> bool:
    # Alone, or in a struct beside a name, as Hugging Face datasets keep them.
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _holds_bytes(kind.field(at).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _no_column(column: str | None, names: Iterable[str]) -> str:
    wanted = f"no column {column!r} of" if column else "which column has"
    listed = ", ".join(map(repr, names)) or "none"
    return f"{wanted} images or their URIs? it has {listed}; name one with --column"
