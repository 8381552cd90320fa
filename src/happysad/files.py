"""Files and folders that are either whole or not there."""

import csv
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from happysad.errors import HappysadError


@contextmanager
def convert_os_errors(path: Path) -> Iterator[None]:
    """Make a `HappysadError` of what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise HappysadError(f"{path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file so that nobody ever sees half of it.

    Yields a temporary path beside ``path``, with the same suffix; when the block ends without an
    error, what was written there takes the place of ``path`` in one step.

    Args:
        path: Where the finished file is to be. Its folder is made if missing.

    Yields:
        The path to write to.

    Raises:
        HappysadError: It cannot be written; what was there before stays.
    """
    with convert_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        writer = f"{os.getpid()}-{threading.get_native_id()}"
        temporary = path.with_name(f".{path.stem}.{writer}.partial{path.suffix}")
        try:
            yield temporary
            # Flushed before the rename: after a power cut the name must not point at missing data.
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what killed writers of a file left beside it; only Linux tells who still lives."""
    if Path("/proc/self").exists():
        for left in _partials(path.parent):
            name, _, writer = left.name.removesuffix(f".partial{path.suffix}").rpartition(".")
            if name == f".{path.stem}" and not Path("/proc", writer.partition("-")[0]).exists():
                left.unlink(missing_ok=True)


@cache
def _partials(folder: Path) -> tuple[Path, ...]:
    # Looked for once in a process: a folder may get very many files.
    return tuple(folder.glob(".*.partial*"))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder so that nobody ever sees half of it.

    Args:
        path: Where the finished folder is to be; it must not exist.

    Yields:
        A folder beside it to write to. When the block ends without an error, it becomes ``path``;
        else it is removed.

    Raises:
        HappysadError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    with convert_os_errors(path):
        try:
            # Left by one that was killed.
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def atomic_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file in one step."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def atomic_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a UTF-8 CSV file in one step; bytes of names that are not UTF-8 stay as they are."""
    with (
        atomic(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
