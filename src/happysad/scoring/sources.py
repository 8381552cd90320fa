"""Sources of a scoring job: folders, globs and prefixes, expanded to inputs."""

import fnmatch
import glob
from collections.abc import Callable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import Final, TypeAlias

from pyarrow import fs

from happysad.concurrency import map_ordered
from happysad.errors import HappysadError
from happysad.image_formats import IMAGE_SUFFIXES
from happysad.scoring.inputs import Input
from happysad.scoring.storage import convert_store_errors, is_remote, locate, reason
from happysad.scoring.tables import table_inputs
from happysad.sources import find_images, is_glob

_TARS: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_TABLES: Final = (".csv", ".parquet")
_THREADS: Final = 16

Inputs: TypeAlias = Iterator[Input]


def find_inputs(
    source: str,
    column: str | None,
    leave_out: Path | None = None,
    on_skip: Callable[[str], None] = lambda uri: None,
) -> Inputs:
    """List a source's inputs in the order of names.

    A folder or prefix stands for the images below it: on disk files that are images by suffix or
    content, in an object store by suffix. Files that are named or match a glob are read by their
    suffix: ``.tar`` (also compressed), ``.parquet`` (images, or a list of URIs), ``.csv`` (a list
    of URIs); others are images. In an object store ``*`` also matches ``/``.

    Args:
        source: An absolute path, a glob, ``s3://…`` or ``gs://…``.
        column: See `happysad.scoring.tables.table_inputs`.
        leave_out: A local folder that is not searched.
        on_skip: Called with the URI of each file in a folder or prefix that is not an image.

    Yields:
        The inputs; what cannot be read is an input with its problem.

    Raises:
        HappysadError: The source does not exist or holds no image.
        StoreError: The store does not respond.
    """
    find = _remote if is_remote(source) else _local
    for is_table, items in groupby(find(source, leave_out, on_skip), _is_table):
        if is_table:
            tables = map_ordered(lambda item: table_inputs(item.uri, column), items, _THREADS)
            yield from chain.from_iterable(tables)
        else:
            yield from items


def _local(source: str, leave_out: Path | None, on_skip: Callable[[str], None]) -> Inputs:
    if not is_glob(source) and not Path(source).exists():
        raise HappysadError(f"{source}: no such file or folder")
    for number, found in enumerate(find_images([source], leave_out, on_skip)):
        if not found.problem:
            yield _by_suffix(found.path)
        elif number == 0 and found.path == source:
            raise HappysadError(
                f"{source}: {found.problem}; give tars or Parquet files as a glob, '{source}/*.tar'"
            )
        else:
            yield Input(found.path, "problem", problem=found.problem)


def _remote(source: str, leave_out: Path | None, on_skip: Callable[[str], None]) -> Inputs:
    filesystem, path = locate(source)
    scheme = source.partition("://")[0]
    base = path
    try:
        with convert_store_errors(source):
            info = filesystem.get_file_info(path)
            if info.type == fs.FileType.File:
                yield _by_suffix(f"{scheme}://{path}")
                return
            pattern = glob.has_magic(path) and info.type == fs.FileType.NotFound
            if pattern:
                parts = path.split("/")
                first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
                base = "/".join(parts[:first])
            selector = fs.FileSelector(base, allow_not_found=True, recursive=True)
            found = filesystem.get_file_info(selector)
    except OSError as error:
        raise HappysadError(f"{source}: cannot be listed ({reason(error)})") from error
    empty = True
    for name in sorted(item.path for item in found if item.type == fs.FileType.File):
        uri = f"{scheme}://{name}"
        if pattern:
            wanted = fnmatch.fnmatchcase(name, path)
        else:
            if any(part.startswith(".") for part in name.removeprefix(f"{base}/").split("/")):
                continue
            wanted = Path(name).suffix.lower() in IMAGE_SUFFIXES
            if not wanted:
                on_skip(uri)
        if wanted:
            empty = False
            yield _by_suffix(uri)
    if empty:
        raise HappysadError(
            f"{source}: {'no object matches' if pattern else 'no images at this prefix'}; check "
            "the name, and give tars or Parquet files as a glob, 's3://bucket/shards/*.tar'"
        )


def _by_suffix(uri: str) -> Input:
    return Input(uri, "tar", images=0) if uri.lower().endswith(_TARS) else Input(uri)


def _is_table(item: Input) -> bool:
    return item.kind == "image" and item.uri.lower().endswith(_TABLES)
