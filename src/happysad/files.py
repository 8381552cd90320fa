"""Atomic writing of files and folders."""

import csv
import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from happysad.errors import HappysadError


@contextmanager
def convert_os_errors(path: Path) -> Iterator[None]:
    """Convert OSError to HappysadError."""
    try:
        yield
    except OSError as error:
        raise HappysadError(f"{path}: cannot be written ({error.strerror or error})") from error


def check_text_file(path: Path) -> None:
    """Check that text written to a path replaces no image, video or other binary file.

    Raises:
        HappysadError: It would, or the file cannot be opened.
    """
    with convert_os_errors(path):
        if path.is_file():
            with path.open("rb") as file:
                if b"\0" in file.read(1024):
                    raise HappysadError(f"{path}: exists and is not a text file; give another name")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write a file atomically.

    Yields a temporary path beside ``path``, with the same suffix; when the block ends without an
    error, the temporary file replaces ``path``.

    Args:
        path: The file to write. Its folder is created if missing.

    Yields:
        The path to write to.

    Raises:
        HappysadError: It cannot be written; an existing file is kept.
    """
    with convert_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that is too long would fail only after the work: that of the temporary file is not.
        with suppress(FileNotFoundError):
            path.lstat()
        _sweep(path)
        writer = f"{os.getpid()}-{threading.get_native_id()}"
        temporary = path.with_name(f".{_short(path.stem)}.{writer}.partial{path.suffix}")
        try:
            yield temporary
            # Flushed before the rename: after a power cut the name must not point at missing data.
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _short(stem: str) -> str:
    """Return a stem that leaves room for what a temporary name adds, at most 100 bytes long."""
    encoded = os.fsencode(stem)
    if len(encoded) <= 100:
        return stem
    return hashlib.sha256(encoded).hexdigest()[:16]


def _sweep(path: Path) -> None:
    """Remove temporary files of killed writers; only Linux shows which processes still run."""
    if Path("/proc/self").exists():
        for left in _partials(path.parent):
            name, _, writer = left.name.removesuffix(f".partial{path.suffix}").rpartition(".")
            if (
                name == f".{_short(path.stem)}"
                and not Path("/proc", writer.partition("-")[0]).exists()
            ):
                left.unlink(missing_ok=True)


@cache
def _partials(folder: Path) -> tuple[Path, ...]:
    # Searched once per process: a folder may receive very many files.
    return tuple(folder.glob(".*.partial*"))


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Fill a folder atomically.

    Args:
        path: The folder to create; it must not exist, or be empty.

    Yields:
        A temporary folder beside it. When the block ends without an error, it becomes ``path``, or
        its entries are moved into the empty folder; otherwise it is removed.

    Raises:
        HappysadError: It cannot be written.
    """
    # Resolved: "." has no name.
    final = path.resolve()
    partial = final.with_name(f".{_short(final.name)}.partial")
    with convert_os_errors(path):
        try:
            # Left by a process that was killed.
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            if final.is_dir() and not any(final.iterdir()):
                # Windows cannot replace a folder, and this one may be a shell's current folder.
                for entry in partial.iterdir():
                    entry.rename(final / entry.name)
            else:
                partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def atomic_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; see `check_text_file`."""
    check_text_file(path)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def atomic_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a UTF-8 CSV file atomically; file names that are not UTF-8 are kept byte for byte."""
    with (
        atomic(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
