"""CSV and Parquet files as sources: lists of URIs, and images in a column of bytes."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from happysad.dataset.tables import LONGEST_CELL, file_named
from happysad.errors import HappysadError, StoreError
from happysad.scoring.inputs import Input
from happysad.scoring.storage import (
    convert_store_errors,
    is_remote,
    open_blocks,
    open_file,
    reason,
)

URI_COLUMNS: Final = ("uri", "url", "path", "file")
"""Default columns of URIs: the first of these that a list has."""

_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def table_inputs(uri: str, column: str | None) -> Iterator[Input]:
    """List the inputs of a CSV or Parquet file: the URIs in it, or its row groups of images.

    Args:
        uri: The file.
        column: The column to read; default: the only one with bytes, else the first of
            `URI_COLUMNS`.

    Yields:
        The inputs; where the file cannot be read further, an input with the problem.

    Raises:
        StoreError: The store does not respond.
    """
    try:
        if uri.lower().endswith(".csv"):
            return _until_error(uri, _csv_uris(uri, column))
        # Only the footer is read here; callers read many footers in parallel.
        with convert_store_errors(uri), pq.ParquetFile(open_file(uri)) as file:
            chosen, has_bytes = _choose(file.schema_arrow, column)
            if not has_bytes:
                return _until_error(uri, _parquet_uris(uri, chosen))
            rows = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        return (Input(uri, "rows", count, n, chosen) for n, count in enumerate(rows) if count)
    except StoreError:
        raise
    except (OSError, ValueError, pa.ArrowException, HappysadError) as error:
        return iter([_unreadable(uri, error)])


def _until_error(uri: str, inputs: Iterator[Input]) -> Iterator[Input]:
    try:
        yield from inputs
    except StoreError:
        raise
    except (OSError, ValueError, csv.Error, pa.ArrowException, HappysadError) as error:
        yield _unreadable(uri, error)


def _unreadable(uri: str, error: Exception) -> Input:
    return Input(uri, "problem", problem=f"cannot be read ({reason(error)})")


def _csv_uris(uri: str, column: str | None) -> Iterator[Input]:
    csv.field_size_limit(LONGEST_CELL)
    with convert_store_errors(uri), open_blocks(uri) as raw:
        # The names of local files need not be UTF-8.
        text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
        rows = csv.DictReader(text)
        names = [name.strip() for name in rows.fieldnames or []]
        rows.fieldnames = names
        chosen = column or next((name for name in URI_COLUMNS if name in names), None)
        if chosen not in names:
            raise HappysadError(_no_column(column, names))
        for row in rows:
            yield _listed(uri, row[chosen], f"line {rows.line_num}")


def _parquet_uris(uri: str, column: str) -> Iterator[Input]:
    number = 0
    with convert_store_errors(uri), open_file(uri) as raw:
        for batch in pq.ParquetFile(raw).iter_batches(columns=[column]):
            for value in batch.column(0).to_pylist():
                yield _listed(uri, value, f"row {number}")
                number += 1


def _listed(table: str, cell: str | None, row: str) -> Input:
    path = (cell or "").strip()
    if not path:
        return Input(table, "problem", problem=f"{row} has no path")
    return Input(resolve(table, path))


def resolve(table: str, path: str) -> str:
    r"""Resolve a path from a list: relative to the list, with ``/`` or ``\`` as separator.

    Args:
        table: URI of the list.
        path: A URI, or an absolute or relative path.
    """
    if "://" in path or path.startswith("/") or _WINDOWS.match(path):
        return path
    if is_remote(table):
        return f"{table.rpartition('/')[0]}/{path.replace(chr(92), '/')}"
    if _WINDOWS.match(table):
        return str(PureWindowsPath(table).parent / path)
    return str(file_named(PurePosixPath(table).parent, path))


def _choose(schema: Any, column: str | None) -> tuple[str, bool]:
    """Choose the column; returns its name and whether it holds images rather than URIs."""
    images = [field.name for field in schema if _holds_bytes(field.type)]
    if column in images or (column is None and len(images) == 1):
        return column or images[0], True
    texts = [field.name for field in schema if _holds_text(field.type)]
    uris = [name for name in ((column,) if column else URI_COLUMNS) if name in texts]
    if not uris:
        raise HappysadError(_no_column(column, (f"{f.name} ({f.type})" for f in schema)))
    return str(uris[0]), False


def _holds_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _holds_bytes(kind: Any) -> bool:
    # Hugging Face datasets keep an image as a struct with its bytes and path.
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    # Columns of a fixed size hold hashes and the like.
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _no_column(column: str | None, columns: Iterable[str]) -> str:
    wanted = f"no column {column!r} with" if column else "no unambiguous column with"
    return (
        f"{wanted} images or their URIs; columns: {', '.join(columns) or 'none'}; name one with "
        "--column"
    )
