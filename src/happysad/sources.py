"""List the images in files, folders and glob patterns."""

import errno
import glob
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from happysad.download import download, is_url
from happysad.errors import ImageError
from happysad.image_formats import HEADER_BYTES, IMAGE_SUFFIXES, image_format

STDIN: Final = "-"

NO_IMAGES: Final = "no images in this folder"
"""The problem of a folder without images; see `FoundImage.problem`."""

_FIRST_SKIPPED: Final = 10
IGNORED: Final = frozenset({"@eaDir", "__MACOSX", "Thumbs.db", "desktop.ini"})
"""Thumbnails and metadata that NAS systems, macOS and Windows put beside images."""


@dataclass(frozen=True)
class FoundImage:
    """An image that a source stands for.

    Attributes:
        path: A file to read, `STDIN`, a URL, or a source without images.
        problem: Why there is nothing to read; empty where there is.
    """

    path: str
    problem: str = ""

    def content(self) -> str | bytes:
        """Return what `happysad.image.open_image` takes: the path, or the bytes of the rest.

        Raises:
            ImageError: The URL cannot be downloaded, or standard input is closed.
        """
        if self.path == STDIN:
            if sys.stdin is None:
                raise ImageError("standard input is closed", STDIN)
            return sys.stdin.buffer.read()
        return download(self.path) if is_url(self.path) else self.path


@dataclass
class SkippedFiles:
    """Files of a source that are not images.

    Attributes:
        count: Number of files.
        first: URIs of the first ones.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, uri: str) -> None:
        """Count one file."""
        self.count += 1
        if len(self.first) < _FIRST_SKIPPED:
            self.first.append(uri)

    def merge(self, other: "SkippedFiles") -> None:
        """Add other files. The order of merging does not matter."""
        self.count += other.count
        self.first = sorted(self.first + other.first)[:_FIRST_SKIPPED]


def find_images(
    sources: Iterable[str],
    leave_out: Path | None = None,
    on_skip: Callable[[str], None] = lambda path: None,
) -> Iterator[FoundImage]:
    """List the images of each source, in the order of the sources.

    A folder is searched recursively, in the order of names, for files that are images by suffix or
    by content. Hidden files and folders are ignored; symbolic links are followed, each real folder
    once. A glob pattern (``*``, ``?``, ``[a-z]``, ``**``) is expanded where no file of that name
    exists. A file that is named is taken as it is.

    Args:
        sources: Files, folders, glob patterns, http or https URLs, or `STDIN`.
        leave_out: A folder that is not searched.
        on_skip: Called with the path of each file in a folder that is not an image, and of each
            folder of thumbnails.

    Yields:
        Every image; and, with its problem, every source without images and every folder that
        cannot be read.
    """
    for source in sources:
        if source != STDIN and is_folder(source):
            yield from _search(source, leave_out, on_skip)
        elif is_glob(source):
            yield from _match(source, leave_out, on_skip)
        else:
            # A missing file is listed, too: reading it reports the error.
            yield FoundImage(source)


def is_folder(path: str | Path) -> bool:
    """Return whether a path is a folder; not if it cannot be examined."""
    try:
        return Path(path).is_dir()
    except OSError:
        return False


def is_image_file(path: Path) -> bool:
    """Return whether a file is an image, by its suffix or else by its content."""
    try:
        mode = path.stat().st_mode
    except OSError:
        # Reading it reports the error.
        return path.suffix.lower() in IMAGE_SUFFIXES
    # Opening a named pipe would block.
    if not stat.S_ISREG(mode):
        return False
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return image_format(file.read(HEADER_BYTES)) is not None
    except OSError:
        return False


def _search(
    folder: str, leave_out: Path | None, on_skip: Callable[[str], None]
) -> Iterator[FoundImage]:
    seen = {os.path.realpath(leave_out)} if leave_out else set()
    stack, empty = [Path(folder)], True
    while stack:
        path = stack.pop()
        if path.name in IGNORED and path != Path(folder):
            on_skip(str(path))
            continue
        if not is_folder(path):
            if is_image_file(path):
                empty = False
                yield FoundImage(str(path))
            else:
                on_skip(str(path))
            continue
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        except OSError as error:
            empty = False
            yield FoundImage(str(path), f"cannot be read ({error.strerror})")
            continue
        stack += sorted(entries, reverse=True)
    if empty:
        yield FoundImage(folder, NO_IMAGES)


def _match(
    pattern: str, leave_out: Path | None, on_skip: Callable[[str], None]
) -> Iterator[FoundImage]:
    base, wildcards = split_glob(pattern)
    if wildcards[-1] == "**":
        # Python versions differ in what a final ** matches; the folders before it are searched.
        wildcards.pop()
    try:
        # Unlike glob.glob, Path.glob does not follow links for **, so it cannot loop.
        paths = sorted(base.glob("/".join(wildcards))) if wildcards else [base]
    except ValueError as error:
        yield FoundImage(pattern, f"invalid glob pattern ({error})")
        return
    avoided = Path(os.path.realpath(leave_out)) if leave_out else None
    hidden_too = any(part.startswith(".") for part in wildcards)
    empty = True
    searched = None
    for path in paths:
        # ** also matches what is in a folder that matched, which sorts right after it.
        if searched and path.is_relative_to(searched):
            continue
        below = path.relative_to(base).parts
        if not hidden_too and any(part.startswith(".") and part != ".." for part in below):
            continue
        empty = False
        if avoided and Path(os.path.realpath(path)).is_relative_to(avoided):
            continue
        if is_folder(path):
            # Like Path.glob: ** does not follow links.
            if "**" in wildcards and path.is_symlink():
                continue
            searched = path
            yield from _search(str(path), leave_out, on_skip)
        else:
            yield FoundImage(str(path))
    if empty:
        closed = base.is_dir() and not os.access(base, os.R_OK | os.X_OK)
        reason = f"cannot be read ({os.strerror(errno.EACCES)})" if closed else "no file matches"
        yield FoundImage(pattern, reason)


def is_glob(source: str) -> bool:
    """Return whether a source has wildcards and no file of that name exists."""
    if is_url(source):
        return False
    return glob.has_magic(source) and not os.path.lexists(source)


def split_glob(pattern: str) -> tuple[Path, list[str]]:
    """Split a glob pattern into the folder before the first wildcard and the remaining parts."""
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]), list(parts[first:])
