"""Import of known dataset formats into a folder of images."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from happysad.dataset.annotations import read_annotations, rename_ferplus
from happysad.dataset.formats import Row, open_source
from happysad.dataset.names import class_number
from happysad.dataset.scan import GROUPS_FILE, OTHER
from happysad.dataset.tables import Row as TableRow
from happysad.dataset.tables import match_rows, write_table
from happysad.dataset.votes import VOTES_FILE, read_shares
from happysad.errors import DatasetError, ImageError
from happysad.files import atomic_folder
from happysad.image import read_image
from happysad.image_formats import HEADER_BYTES, image_format
from happysad.prediction import LABELS
from happysad.progress import track

_Cells: TypeAlias = Sequence[tuple[Path, Mapping[str, str]]]
"""Images, and the cells of a table for each: column → cell."""

_SUFFIX: Final = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tif",
    "AVIF": ".avif",
    "HEIF": ".heic",
    "JPEG2000": ".jp2",
}


@dataclass
class ImportResult:
    """The result of an import.

    Attributes:
        counts: ``(split, label)`` → images written; for other emotions ``other/<label>``.
        left_out: Label that is neither happy nor sad → rows.
        bad: One line for each row that could not be used: where and why.
        voted: Number of images with votes.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    voted: int = 0


def parse_labels(text: str) -> dict[str, int]:
    """Read ``sad=0,happy=1``: which of the source's labels mean the two classes.

    A class may be given more than once: ``sad=0,happy=1,happy=2``.

    Returns:
        The source's label → 0 for sad, 1 for happy.

    Raises:
        DatasetError: The text has another form, or lacks a class.
    """
    meaning = {}
    for part in unicodedata.normalize("NFC", text).split(","):
        name, equals, value = part.partition("=")
        number = class_number(name)
        if not equals or number is None or not value.strip():
            raise DatasetError(f"labels {text!r}: {part!r} is not of the form 'sad=0,happy=1'")
        meaning[value.strip()] = number
    if set(meaning.values()) != set(range(len(LABELS))):
        raise DatasetError(f"labels {text!r}: say what is sad and what is happy: 'sad=0,happy=1'")
    return meaning


def import_dataset(
    source: Path,
    out: Path,
    *,
    labels: dict[str, int] | None = None,
    others: bool = False,
    strict: bool = False,
    votes: Path | None = None,
) -> ImportResult:
    """Write the happy and sad images of a source to ``out/<split>/{happy,sad}/``.

    The images' bytes stay as they are (the grey levels of fer2013.csv become PNG files). Rows with
    other labels are counted and left out, or written to ``out/<split>/other/<label>/``. ``out`` is
    written atomically.

    Args:
        source: See `open_source`.
        out: The folder to make; it must not exist.
        labels: The source's label → class number, see `parse_labels`; without it the labels are
            understood by name.
        others: Write the images with other labels too.
        strict: Stop at the first row that cannot be used.
        votes: Table of what several people said about the images, see `read_annotations`; each
            split gets a votes.csv. Rows are matched by the images' names in the source. Default:
            the votes.csv of a folder, if it has one.

    Raises:
        DatasetError: The source, its groups or the votes cannot be read, no image is happy or sad,
            votes match no image or several, a row is bad and ``strict`` is set, or ``out`` exists.
        HappysadError: ``out`` cannot be written.
    """
    total, rows = open_source(source, votes=votes is None, labels=labels or ())
    if out.exists() or out.is_symlink():
        raise DatasetError(f"{out}: already exists; give a new folder or remove this one")
    annotations = read_annotations(votes) if votes else []
    done, images = ImportResult(), list[tuple[Row, Path]]()
    with atomic_folder(out) as folder:
        for row in track(rows, "Importing", total):
            if target := _import_row(row, folder, labels, others, done):
                images.append((row, target))
            if strict and done.bad:
                raise DatasetError(f"{source}: {done.bad[0]}")
        if not any(label in LABELS for _, label in done.counts):
            raise DatasetError(_nothing_found(source, done))
        if votes:
            voted = _match_votes(votes, annotations, images)
        else:
            voted = [(target, row.votes) for row, target in images if row.votes]
        grouped = [(target, row.groups) for row, target in images if row.groups]
        _write_tables(folder, GROUPS_FILE, grouped)
        for split, names in _write_tables(folder, VOTES_FILE, voted, "0").items():
            # Read as for training, so that a wrong vote is an error now.
            read_shares(split, names)
        done.voted = len(voted)
    return done


def _import_row(
    row: Row, folder: Path, labels: dict[str, int] | None, others: bool, done: ImportResult
) -> Path | None:
    """Write a row's image and return its path; None if the row is skipped."""
    if not row.labels:
        done.bad.append(f"{row.where}: has no label")
        return None
    number = _class_of(row, labels)
    if number is None and not others:
        done.left_out[row.labels[0]] += 1
        return None
    label = LABELS[number] if number is not None else f"{OTHER}/{row.labels[0]}"
    # Split and label become folder names: they must not lead out of the output folder.
    for what, name in (("split", row.split), ("label", label.removeprefix(f"{OTHER}/"))):
        if not re.fullmatch(r"\w[\w-]{0,39}", name):
            done.bad.append(f"{row.where}: {name!r} cannot be the name of a {what}")
            return None
    try:
        content = row.read()
        read_image(content)
    except ImageError as error:
        done.bad.append(f"{row.where}: {error.reason if error.source == 'image' else error}")
        return None
    except (OSError, ValueError) as error:
        done.bad.append(f"{row.where}: {row.name!r} cannot be read ({error})")
        return None
    target = _target(folder / row.split / label, row, content)
    target.write_bytes(content)
    done.counts[row.split, label] += 1
    return target


def _match_votes(table: Path, rows: list[TableRow], images: list[tuple[Row, Path]]) -> _Cells:
    """Return each written image with votes, and its votes by answer."""
    names = [row.name for row, _ in images]
    matches = match_rows(table, rows, names, partial=True) or match_rows(
        table, rename_ferplus(rows), names, partial=True
    )
    if not matches:
        raise DatasetError(
            f"{table}: no row matches an image; names are such as {rows[0].cells['path']!r} there "
            f"and {names[0]!r} in the source"
            if rows
            else f"{table}: no votes"
        )
    return [(images[index][1], row.values()) for index, row in sorted(matches.items())]


def _write_tables(
    folder: Path, table: str, images: _Cells, missing: str = ""
) -> dict[Path, list[str]]:
    """Write a table into each split's folder; return the images in the table of each."""
    by_split: dict[Path, list[tuple[str, Mapping[str, str]]]] = defaultdict(list)
    for image, cells in images:
        split = folder / image.relative_to(folder).parts[0]
        by_split[split].append((image.relative_to(split).as_posix(), cells))
    for split, rows in by_split.items():
        write_table(split / table, rows, missing)
    return {split: [name for name, _ in rows] for split, rows in by_split.items()}


def _class_of(row: Row, labels: dict[str, int] | None) -> int | None:
    if labels is None:
        return class_number(row.labels[0])
    return next((labels[label] for label in row.labels if label in labels), None)


def _target(folder: Path, row: Row, content: bytes) -> Path:
    """Choose a file name that is safe on every system and not taken."""
    folder.mkdir(parents=True, exist_ok=True)
    suffix = _SUFFIX[image_format(content[:HEADER_BYTES]) or "JPEG"]
    name = PurePosixPath(row.name.replace("\\", "/")).stem
    stem = re.sub(r"[^\w.() -]", "_", unicodedata.normalize("NFC", name))[:40].strip(". ")
    stem = stem or f"{row.number:06d}"
    while (target := folder / f"{stem}{suffix}").exists():
        stem = f"{stem}-{row.number}"
    return target


def _nothing_found(source: Path, done: ImportResult) -> str:
    others = Counter(done.left_out)
    for (_, label), count in done.counts.items():
        others[label.removeprefix(f"{OTHER}/")] += count
    if done.bad and not others:
        return f"{source}: no row could be used, the first because: {done.bad[0]}"
    if not others:
        return f"{source}: contains no rows"
    found = ", ".join(f"{label!r} ({count})" for label, count in others.most_common(10))
    return (
        f"{source}: no happy or sad image, its labels are {found}; if two of them mean sad and "
        "happy, say which: --labels 'sad=0,happy=1'"
    )
