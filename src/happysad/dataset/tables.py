"""CSV tables about a dataset's images, such as groups.csv and votes.csv."""

import csv
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from happysad.errors import DatasetError
from happysad.files import atomic_csv
from happysad.sources import find_images

# The largest limit that csv accepts on every system; cells may hold whole images.
LONGEST_CELL: Final = 2**31 - 1


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: Its line in the file, from 1.
        cells: Column name → cell, both without surrounding blanks.
        written: The cell ``path`` as it is written.
    """

    line: int
    cells: dict[str, str]
    written: str = ""

    def values(self) -> dict[str, str]:
        """Return the cells without the path."""
        return {name: cell for name, cell in self.cells.items() if name != "path"}


def read_table(path: Path, columns: Sequence[str]) -> list[Row]:
    """Read a CSV file with a header: UTF-8, with or without byte-order mark.

    Args:
        path: The file.
        columns: The columns that it must have.

    Raises:
        DatasetError: The file cannot be read, lacks a column, names one twice, or has a row with
            more cells than columns.
    """
    csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header, columns)
            rows = []
            for cells in reader:
                if len(cells) > len(header):
                    raise DatasetError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells, but {len(header)} "
                        "columns; quote cells that contain commas"
                    )
                padded = [*cells, *[""] * (len(header) - len(cells))]
                if any(cells):
                    row = dict(zip(header, padded, strict=True))
                    stripped = {name: cell.strip() for name, cell in row.items()}
                    rows.append(Row(reader.line_num, stripped, row.get("path", "")))
            return rows
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is not UTF-8; save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise DatasetError(f"{path}: is not a valid CSV file ({error})") from error


def file_named(folder: PurePath, path: str) -> PurePath:
    r"""Return a file that a table names.

    Args:
        folder: The folder that the path is relative to.
        path: An absolute or relative path, with ``/`` or ``\`` as separator, in any Unicode form.
    """
    forms = [path]
    # A backslash may belong to a name; a name may be stored in another Unicode form.
    if "\\" in path or not path.isascii():
        slashes = path.replace("\\", "/")
        forms += [slashes, *(unicodedata.normalize(form, slashes) for form in ("NFC", "NFD"))]
        # Path.exists raises for a name that is too long.
        forms = [form for form in forms if os.path.exists(folder / form)] or [slashes]  # noqa: PTH110
    return folder / forms[0]


def write_table(
    path: Path, rows: Sequence[tuple[str, Mapping[str, str]]], missing: str = ""
) -> None:
    """Write a table that `read_table` reads.

    Args:
        path: The file.
        rows: Path of an image, and column → cell.
        missing: The cell of a column that a row lacks.
    """
    columns = dict.fromkeys(name for _, cells in rows for name in cells)
    lines = ((name, *(cells.get(each, missing) for each in columns)) for name, cells in rows)
    atomic_csv(path, ("path", *columns), lines)


def _check_header(path: Path, header: list[str], columns: Sequence[str]) -> None:
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise DatasetError(f"{path}: column {doubled[0]!r} occurs twice; rename one")
    missing = [name for name in columns if name not in header]
    if missing:
        raise DatasetError(
            f"{path}: columns {', '.join(map(repr, header)) or 'none'}; needed: "
            f"{', '.join(columns)}"
        )


def match_rows(
    path: Path,
    rows: Sequence[Row],
    names: Sequence[str],
    *,
    folder: Path | None = None,
    partial: bool = False,
) -> dict[int, Row]:
    """Find each row's image by the column ``path``.

    Paths are absolute or relative to the dataset's folder. Except where an image has just the name
    that is written, surrounding blanks are removed, and backslashes, Unicode forms and a leading
    ``./`` are normalised; letter case and folders matter only where a path would otherwise be
    ambiguous. Rows of other images in the folder, such as those below other/, are ignored.

    Args:
        path: The table, for error messages.
        rows: Its rows.
        names: The images' paths relative to the folder, with forward slashes.
        folder: The dataset's folder; default: the table's.
        partial: Ignore rows that match no image.

    Returns:
        Index in ``names`` → row.

    Raises:
        DatasetError: A row matches no image, or several, or an image has two rows.
    """
    by_key: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        for key in _keys(name):
            by_key[key].append(index)
    counts = Counter(map(_plain, names))
    exact = {_plain(name): i for i, name in enumerate(names) if counts[_plain(name)] == 1}
    as_written = {name: index for index, name in enumerate(names)}

    def find(name: str) -> list[int]:
        return [exact[name]] if name in exact else by_key.get(name.casefold(), [])

    folder = folder or path.parent
    unused: set[str] | None = None
    found: dict[int, Row] = {}
    for row in rows:
        where, given = f"{path}, line {row.line}", _plain(row.cells["path"])
        same = as_written.get(row.written, as_written.get(row.cells["path"]))
        matches = find(given) if same is None else [same]
        if not matches and partial:
            continue
        if not matches:
            given = _inside(folder, row.cells["path"]) or given
            matches = find(given)
        if not matches:
            if unused is None:
                unused = _names_below(folder)
            if given.casefold() in unused:
                continue  # An image that takes no part, such as one below other/.
            raise DatasetError(f"{where}: no image {row.cells['path']!r}; correct or remove it")
        if len(matches) > 1:
            raise DatasetError(
                f"{where}: {row.cells['path']!r} matches {len(matches)} images, such as "
                f"{names[matches[0]]} and {names[matches[1]]}; give the whole path"
            )
        if matches[0] in found:
            raise DatasetError(
                f"{where}: a second row for {names[matches[0]]}, after line "
                f"{found[matches[0]].line}; remove one"
            )
        found[matches[0]] = row
    return found


def _inside(folder: Path, name: str) -> str:
    """Make an absolute path, or one with "..", relative to the folder; empty if it is outside."""
    # Not resolved: links inside the folder are part of the images' names.
    path = Path(os.path.normpath(folder.absolute() / name.replace("\\", "/")))
    for base in (os.path.normpath(folder.absolute()), folder.resolve()):
        if path.is_relative_to(base):
            return _plain(path.relative_to(base).as_posix())
    return ""


def _names_below(folder: Path) -> set[str]:
    """Return the paths and names of all images below a folder, case-folded."""
    found = (Path(image.path) for image in find_images([str(folder)]) if not image.problem)
    return {key for path in found for key in _keys(path.relative_to(folder).as_posix())}


def _keys(name: str) -> set[str]:
    plain = _plain(name)
    return {plain, plain.casefold(), PurePosixPath(plain).name.casefold()}


def _plain(name: str) -> str:
    posix = unicodedata.normalize("NFC", name).replace("\\", "/")
    return PurePosixPath(posix).as_posix() if posix else ""
