"""Turn what people have into a dataset's folder: one image file per row."""

import csv
import io
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image

from happysad.dataset.formats import Row, open_source
from happysad.dataset.names import class_number
from happysad.dataset.scan import GROUPS_FILE, OTHER
from happysad.errors import DatasetError, ImageError
from happysad.files import atomic_folder
from happysad.image import read_image
from happysad.prediction import LABELS
from happysad.progress import track

_SUFFIX: Final = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tif",
}


@dataclass(frozen=True)
class ImportResult:
    """What an import did.

    Attributes:
        counts: ``(split, label)`` → images written; for other emotions ``other/<label>``.
        left_out: Label that is neither happy nor sad → rows.
        bad: One line for each row that could not be used: where and why.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def parse_labels(text: str) -> dict[str, int]:
    """Read ``sad=0,happy=1``: which of the source's labels stand for the two classes.

    A class may be given more than once: ``sad=0,happy=1,happy=2``.

    Returns:
        The source's label → 0 for sad, 1 for happy.

    Raises:
        DatasetError: The text has another form, or lacks a class.
    """
    meaning = {}
    for part in text.split(","):
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
) -> ImportResult:
    """Write the happy and sad images of a source to ``out/<split>/{happy,sad}/``.

    The images' bytes stay as they are (the grey levels of fer2013.csv become PNG files). Rows with
    other labels are counted and left out, or written to ``out/<split>/other/<label>/``. ``out`` is
    complete or not there.

    Args:
        source: See `open_source`.
        out: The folder to make; it must not exist.
        labels: The source's label → class number, see `parse_labels`; without it the labels are
            understood by name.
        others: Write the images with other labels too.
        strict: Stop at the first row that cannot be used.

    Raises:
        DatasetError: The source cannot be read, holds no happy or sad image, or has, if
            ``strict``, a bad row; or ``out`` exists.
        HappysadError: ``out`` cannot be written.
    """
    total, rows = open_source(source)
    if out.exists() or out.is_symlink():
        raise DatasetError(f"{out}: exists already; give a new folder or remove this one")
    done = ImportResult()
    with atomic_folder(out) as folder:
        for row in track(rows, "Importing", total):
            _import_row(row, folder, labels, others, done)
            if strict and done.bad:
                raise DatasetError(f"{source}: {done.bad[0]}")
        if not done.counts:
            raise DatasetError(_nothing_found(source, done))
    return done


def _import_row(
    row: Row, folder: Path, labels: dict[str, int] | None, others: bool, done: ImportResult
) -> None:
    if not row.labels:
        done.bad.append(f"{row.where}: has no label")
        return
    number = _class_of(row, labels)
    if number is None and not others:
        done.left_out[row.labels[0]] += 1
        return
    label = LABELS[number] if number is not None else f"{OTHER}/{row.labels[0]}"
    # Split and label become folders' names: nothing may lead out of the output.
    for what, name in (("split", row.split), ("label", label.removeprefix(f"{OTHER}/"))):
        if not re.fullmatch(r"\w[\w-]{0,39}", name):
            done.bad.append(f"{row.where}: {name!r} cannot be the name of a {what}")
            return
    try:
        content = row.read()
        read_image(content)
    except ImageError as error:
        done.bad.append(f"{row.where}: {error.reason if error.source == 'image' else error}")
        return
    except (OSError, ValueError) as error:
        done.bad.append(f"{row.where}: {row.name!r} cannot be read ({error})")
        return
    target = _target(folder / row.split / label, row, content)
    target.write_bytes(content)
    if row.group is not None:
        _note_group(folder / row.split, target, row.group)
    done.counts[row.split, label] += 1


def _class_of(row: Row, labels: dict[str, int] | None) -> int | None:
    if labels is None:
        return class_number(row.labels[0])
    return next((labels[label] for label in row.labels if label in labels), None)


def _target(folder: Path, row: Row, content: bytes) -> Path:
    """Choose a file name that is safe on every system and not taken."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(io.BytesIO(content)) as image:
        suffix = _SUFFIX[str(image.format)]
    name = PurePosixPath(row.name.replace("\\", "/")).stem
    stem = re.sub(r"[^\w.() -]", "_", unicodedata.normalize("NFC", name))[:40].strip(". ")
    stem = stem or f"{row.number:06d}"
    while (target := folder / f"{stem}{suffix}").exists():
        stem = f"{stem}-{row.number}"
    return target


def _note_group(folder: Path, image: Path, group: str) -> None:
    with (folder / GROUPS_FILE).open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow(("path", "group"))
        writer.writerow((image.relative_to(folder).as_posix(), group))


def _nothing_found(source: Path, done: ImportResult) -> str:
    if done.bad:
        return f"{source}: no row could be used, the first because: {done.bad[0]}"
    if not done.left_out:
        return f"{source}: holds no rows"
    found = ", ".join(f"{label!r} ({count})" for label, count in done.left_out.most_common(10))
    return (
        f"{source}: no happy or sad image, its labels are {found}; if two of them mean sad and "
        "happy, say which: --labels 'sad=0,happy=1'"
    )
