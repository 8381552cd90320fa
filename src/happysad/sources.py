"""Find the images that files, folders and globs stand for."""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from happysad.image import SUFFIXES

STDIN: Final = "-"


@dataclass(frozen=True)
class FoundImage:
    """A path that a source stands for.

    Attributes:
        path: A file to be read, `STDIN`, or what holds no image.
        problem: Why there is nothing to read; empty where there is.
    """

    path: str
    problem: str = ""


def find_images(sources: Iterable[str], leave_out: Path | None = None) -> Iterator[FoundImage]:
    """List the images of each source, in the order of the sources.

    A folder is searched through, in the order of names: its images are the files with one of the
    `SUFFIXES`. Hidden files and folders in it are passed over; symbolic links are followed, each
    real folder once. A glob (``*``, ``?``, ``[a-z]``, ``**``) is tried where there is no file of
    that name. A file that is named is taken as it is.

    Args:
        sources: Files, folders, globs, or `STDIN`.
        leave_out: A folder of which folders and globs take nothing.

    Yields:
        Every image; and, with its problem, every source that stands for none and every folder
        that cannot be searched.
    """
    for source in sources:
        if source != STDIN and Path(source).is_dir():
            yield from _search(source, leave_out)
        elif is_glob(source):
            yield from _match(source, leave_out)
        else:
            # A file that is not there is named, too: reading it says so.
            yield FoundImage(source)


def _search(folder: str, leave_out: Path | None) -> Iterator[FoundImage]:
    seen = {os.path.realpath(leave_out)} if leave_out else set()
    stack, empty = [Path(folder)], True
    while stack:
        path = stack.pop()
        if not path.is_dir():
            if path.suffix.lower() in SUFFIXES:
                empty = False
                yield FoundImage(str(path))
            continue
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        except OSError as error:
            empty = False
            yield FoundImage(str(path), f"cannot be searched ({error.strerror})")
            continue
        stack += sorted(entries, reverse=True)
    if empty:
        yield FoundImage(folder, "no images in this folder")


def _match(pattern: str, leave_out: Path | None) -> Iterator[FoundImage]:
    base, wildcards = split_glob(pattern)
    if wildcards[-1] == "**":
        # Python's versions differ in what that matches: here, what is found in the folders before.
        wildcards.pop()
    try:
        # Unlike glob.glob, this follows no link for **, and so never goes round in circles.
        paths = sorted(base.glob("/".join(wildcards))) if wildcards else [base]
    except ValueError as error:
        yield FoundImage(pattern, f"no valid glob ({error})")
        return
    avoided = Path(os.path.realpath(leave_out)) if leave_out else None
    hidden_too = any(part.startswith(".") for part in wildcards)
    empty = True
    for path in paths:
        below = path.relative_to(base).parts
        if not hidden_too and any(part.startswith(".") and part != ".." for part in below):
            continue
        empty = False
        if avoided and Path(os.path.realpath(path)).is_relative_to(avoided):
            continue
        if not path.is_dir():
            yield FoundImage(str(path))
        # ** matches what is in a folder, too, and that is listed by itself.
        elif "**" not in wildcards:
            yield from _search(str(path), leave_out)
    if empty:
        yield FoundImage(pattern, "no file matches")


def is_glob(source: str) -> bool:
    """Tell whether a source is a glob: it has wildcards, and no file of that name exists."""
    return glob.has_magic(source) and not os.path.lexists(source)


def split_glob(pattern: str) -> tuple[Path, list[str]]:
    """Take a glob apart: the folder before the first wildcard, and the parts from there on."""
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first]), list(parts[first:])
