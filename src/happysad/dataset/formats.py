"""Readers of known dataset formats: one row per labelled image."""

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from happysad.dataset.names import class_number
from happysad.dataset.scan import GROUPS_FILE, OTHER, images_below, read_groups
from happysad.dataset.tables import LONGEST_CELL, file_named
from happysad.dataset.votes import VOTES_FILE, read_votes
from happysad.errors import DatasetError, ImageError
from happysad.sources import find_images

FER2013_EMOTIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's class numbers (Goodfellow et al. 2013, Challenges in Representation Learning)."""

DEFAULT_SPLIT: Final = "training"
"""Split of images whose source states none."""

_SPLITS: Final = {
    "train": "training",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "publictest": "public_test",
    "privatetest": "private_test",
}

_SPLIT_FOLDERS: Final = {*_SPLITS, *_SPLITS.values(), "test", "testing"}


@dataclass(frozen=True)
class Row:
    """One image of a source.

    Attributes:
        number: Position in the source, from 1.
        where: File and line, for messages.
        labels: All spellings of the label, such as ``("happy", "3")``, a readable one first.
            Empty if the source states none.
        split: Name of the split.
        name: Name of the image in the source; untrusted.
        read: Returns the image file's bytes; raises `ImageError` or `OSError`.
        groups: The image's row of groups.csv, column → cell; empty if the source states no group.
        votes: Answer → count or share of votes, as written; empty if the source states none.
    """

    number: int
    where: str
    labels: tuple[str, ...]
    split: str
    name: str
    read: Callable[[], bytes]
    groups: Mapping[str, str] = field(default_factory=dict)
    votes: Mapping[str, str] = field(default_factory=dict)


def open_source(
    source: Path, *, votes: bool = True, labels: Container[str] = ()
) -> tuple[int, Iterator[Row]]:
    """Open a source and detect its format.

    Supported are the `fer2013.csv` of Kaggle (columns emotion, pixels and Usage), a CSV with the
    columns path and label (and group and split), Parquet as Hugging Face writes it: a file or a
    folder that contains some, and a folder with a subfolder of images for each label, below
    folders such as train/ and test/ if there are splits. Images in a folder with the name of a
    class take precedence over Parquet files; hidden files are ignored. A `GROUPS_FILE` and a
    `VOTES_FILE` in that folder, or in those of the splits, are read, too.

    Args:
        source: The file or folder.
        votes: Whether to read votes.
        labels: Names of class folders, besides the known ones.

    Returns:
        The approximate number of rows, and an iterator that reads them.

    Raises:
        DatasetError: The source is missing, its format is unknown, or its groups or votes cannot
            be read; while iterating: it is damaged.
    """
    try:
        if source.is_dir():
            images = (Path(found.path) for found in find_images([str(source)]) if not found.problem)
            folders = (_nfc(name) for path in images for name in _folders(source, path))
            if any(class_number(name) is not None or name in labels for name in folders):
                return _open_folder(source, votes)
            files = [
                path
                for path in sorted(source.rglob("*.parquet"))
                if not any(part.startswith(".") for part in path.relative_to(source).parts)
            ]
            return _open_parquet(files) if files else _open_folder(source, votes)
        with source.open("rb") as file:
            if file.read(4) == b"PAR1":
                return _open_parquet([source])
            lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        return lines, _csv_rows(source)
    except OSError as error:
        raise DatasetError(
            f"{source}: cannot be read ({error.strerror or _line(error)})"
        ) from error


def _folders(source: Path, path: Path) -> tuple[str, ...]:
    """Return the names of the folders between a source and a file in it."""
    return path.relative_to(source).parts[:-1]


def _nfc(name: str) -> str:
    # macOS decomposes letters with accents.
    return unicodedata.normalize("NFC", name)


def split_name(stated: str | None) -> str:
    """Normalise a split name: train → training, PublicTest → public_test, nothing → training."""
    name = (stated or "").strip().casefold()
    return _SPLITS.get(name, name or DEFAULT_SPLIT)


def _csv_rows(source: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [name.strip().casefold() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            forms = ({"emotion", "pixels"}, _fer2013_row), ({"path", "label"}, _path_row)
            make = next((make for needed, make in forms if needed <= set(columns)), None)
            if make is None:
                raise DatasetError(
                    f"{source}: has the columns {', '.join(map(repr, columns)) or 'none'}; "
                    "needed are path,label or emotion,pixels,Usage"
                )
            for number, row in enumerate(reader, start=1):
                # Missing cells are None; superfluous ones are a list under the key None.
                cells = {key: (row[key] or "").strip() for key in columns}
                yield make(source, number, f"{source.name}, line {reader.line_num}", cells)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{source}: neither Parquet nor a CSV in UTF-8") from error
    except csv.Error as error:
        raise DatasetError(f"{source}: a damaged CSV ({error})") from error
    except OSError as error:
        raise DatasetError(
            f"{source}: cannot be read ({error.strerror or _line(error)})"
        ) from error


def _fer2013_row(_: Path, number: int, where: str, cells: dict[str, str]) -> Row:
    code = cells["emotion"]
    known = code.isdecimal() and int(code) < len(FER2013_EMOTIONS)
    return Row(
        number=number,
        where=where,
        labels=(FER2013_EMOTIONS[int(code)], code) if known else _spellings(code),
        split=split_name(cells.get("usage")),
        name=f"{number:06d}",
        read=lambda: _png(cells["pixels"]),
    )


def _path_row(source: Path, number: int, where: str, cells: dict[str, str]) -> Row:
    return Row(
        number=number,
        where=where,
        labels=_spellings(cells["label"]),
        split=split_name(cells.get("split")),
        name=cells["path"],
        read=lambda: _file(Path(file_named(source.parent, cells["path"]))),
        groups={"group": cells["group"]} if cells.get("group") else {},
    )


def _open_folder(source: Path, with_votes: bool) -> tuple[int, Iterator[Row]]:
    paths = sorted(images_below(source))
    if not paths:
        raise DatasetError(f"{source}: neither a .parquet file nor an image in this folder")
    groups: dict[Path, dict[str, str]] = {}
    votes: dict[Path, dict[str, str]] = {}
    splits = [path for path in source.iterdir() if path.name.casefold() in _SPLIT_FOLDERS]
    for folder in (source, *sorted(splits)):
        inside = [path for path in paths if path.is_relative_to(folder)]
        names = [path.relative_to(folder).as_posix() for path in inside]
        if (folder / GROUPS_FILE).is_file():
            groups |= {inside[i]: cells for i, cells in read_groups(folder, names).items()}
        if with_votes and (folder / VOTES_FILE).is_file():
            votes |= {inside[i]: cells for i, cells in read_votes(folder, names).items()}
    rows = (
        _folder_row(source, number, path, groups.get(path, {}), votes.get(path, {}))
        for number, path in enumerate(paths, start=1)
    )
    return len(paths), rows


def _folder_row(
    source: Path, number: int, path: Path, groups: dict[str, str], votes: dict[str, str]
) -> Row:
    folders = list(_folders(source, path))
    split = None
    if len(folders) > 1 and folders[0].casefold() in _SPLIT_FOLDERS:
        split = folders.pop(0)
    if len(folders) > 1 and folders[0] == OTHER:
        folders.pop(0)
    return Row(
        number=number,
        where=str(path),
        labels=_spellings(_nfc(folders[0]) if folders else ""),
        split=split_name(split),
        name=path.relative_to(source).as_posix(),
        read=lambda: _file(path),
        groups=groups,
        votes=votes,
    )


def _file(path: Path) -> bytes:
    # A path in a table may name a device or a pipe, which has no end.
    if not path.is_file():
        raise ImageError("no such file", str(path))
    return path.read_bytes()


def _spellings(label: str) -> tuple[str, ...]:
    return (label,) if label else ()


def _png(pixels: str) -> bytes:
    """Convert the grey levels of a square image, separated by blanks, to a PNG file."""
    try:
        levels = np.array(pixels.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise ImageError("the pixels are not whole numbers") from error
    side = math.isqrt(levels.size)
    if not levels.size or side * side != levels.size:
        raise ImageError(f"{levels.size} pixels are not a square image")
    if levels.min() < 0 or levels.max() > 255:
        raise ImageError("a pixel is outside 0–255")
    file = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8).reshape(side, side)).save(file, "PNG")
    return file.getvalue()


def _open_parquet(files: list[Path]) -> tuple[int, Iterator[Row]]:
    total = 0
    for path in files:
        try:
            total += pq.read_metadata(path).num_rows
        except pa.ArrowException as error:
            raise DatasetError(f"{path}: a damaged Parquet file ({_line(error)})") from error
    return total, _parquet_rows(files)


def _parquet_rows(files: list[Path]) -> Iterator[Row]:
    number = 0
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                image, label, names = _parquet_columns(path, file.schema_arrow)
                split = _parquet_split(path)
                for batch in file.iter_batches(batch_size=64, columns=[image, label]):
                    pairs = zip(
                        batch.column(image).to_pylist(),
                        batch.column(label).to_pylist(),
                        strict=True,
                    )
                    for image_cell, code in pairs:
                        number += 1
                        yield _parquet_row(number, path.name, split, image_cell, code, names)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{path}: a damaged Parquet file ({_line(error)})") from error


def _parquet_row(
    number: int,
    file: str,
    split: str,
    image_cell: dict[str, Any] | None,
    code: int | str | None,
    names: list[str],
) -> Row:
    image_cell = image_cell or {}
    labels = () if code is None else _spellings(str(code).strip())
    if isinstance(code, int) and 0 <= code < len(names):
        labels = (names[code], *labels)

    def read() -> bytes:
        if not image_cell.get("bytes"):
            raise ImageError("the row contains no image bytes")
        return bytes(image_cell["bytes"])

    name = image_cell.get("path") or f"{number:06d}"
    return Row(number, f"{file}, row {number}", labels, split, name, read)


def _parquet_columns(path: Path, schema: Any) -> tuple[str, str, list[str]]:
    """Find the image column, the label column and the labels' names.

    Hugging Face keeps images as structs of ``bytes`` and ``path``, and describes its columns in the
    schema's metadata under ``huggingface``.
    """
    images = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    names = _class_labels(schema)
    label = next(iter(names)) if len(names) == 1 else "label"
    if len(images) != 1 or label not in schema.names:
        raise DatasetError(
            f"{path}: has the columns {', '.join(map(repr, schema.names))}; needed are one of "
            "images (a struct with bytes) and one called label"
        )
    return images[0], label, names.get(label, [])


def _class_labels(schema: Any) -> dict[str, list[str]]:
    """Read the names of the classes of each ClassLabel column."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in described.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, AttributeError, ValueError):
        # Other Parquet files describe no classes; their labels are used as they are.
        return {}


def _parquet_split(path: Path) -> str:
    """Read the split from `train-00000-of-00001.parquet` or `train/0000.parquet`."""
    words = "train|test|validation|val|valid|dev"
    found = re.match(rf"({words})(?=[-_.]|$)", path.stem) or re.fullmatch(words, path.parent.name)
    return split_name(found[0] if found else None)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
