"""Votes: what several people say about each face, as soft labels."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from happysad.dataset.names import NAMES, class_number
from happysad.dataset.tables import Row, match_rows, read_table
from happysad.errors import DatasetError

Shares: TypeAlias = tuple[float, float, float]
"""Shares of people who call a face sad, happy, neither; float32, they add up to 1."""

VOTES_FILE: Final = "votes.csv"
"""Optional file in a dataset's folder: ``path`` and a column of counts or shares per answer."""

NO_ANSWER: Final = frozenset({"unknown", "nf", "not a face", "no face"})
"""Columns that say nothing about the expression and do not count."""

NEITHER: Final = frozenset(
    {"neither", "other", "neutral", "calm", "surprise", "surprised", "anger", "angry", "disgust"}
    | {"disgusted", "fear", "fearful", "contempt"}
)
"""Names of answers that a face is neither happy nor sad."""

ANSWERS: Final = frozenset({*NAMES, *NEITHER, *NO_ANSWER})
"""Names that a column of votes may have, in any letter case."""


def read_shares(folder: Path, names: Sequence[str]) -> dict[int, Shares]:
    """Read the votes of a dataset's images.

    Args:
        folder: The dataset's folder; without a `VOTES_FILE` there are no votes.
        names: The images' paths relative to the folder, with forward slashes.

    Returns:
        Index in ``names`` → shares of the votes for sad, happy and neither.

    Raises:
        DatasetError: The file cannot be read, has no column for happy or sad, or one that is not a
            known answer, or a row is wrong.
    """
    path = folder / VOTES_FILE
    if not path.is_file():
        return {}
    return {index: _shares(path, row) for index, row in _read(path, names).items()}


def read_votes(folder: Path, names: Sequence[str]) -> dict[int, dict[str, str]]:
    """Read the votes of a dataset's images as they are written; see `read_shares`.

    Returns:
        Index in ``names`` → answer → count or share.
    """
    path = folder / VOTES_FILE
    found = {}
    for index, row in _read(path, names).items():
        _shares(path, row)  # Raises where a cell is wrong.
        found[index] = row.values()
    return found


def _read(path: Path, names: Sequence[str]) -> dict[int, Row]:
    rows = read_table(path, ("path",))
    columns = [name for name in rows[0].cells if name != "path"] if rows else []
    if rows and all(class_number(name) is None for name in columns):
        raise DatasetError(f"{path}: no column of votes for happy or sad; name them so")
    # Counted as votes, a total or an age would outweigh all others.
    if unknown := [name for name in columns if name.casefold() not in ANSWERS]:
        raise DatasetError(
            f"{path}: column {unknown[0]!r} is not a known answer; remove it, or rename it to one "
            f"of {', '.join(sorted(ANSWERS))}"
        )
    return match_rows(path, rows, names)


def _shares(path: Path, row: Row) -> Shares:
    sums = [0.0, 0.0, 0.0]
    for name, cell in row.cells.items():
        if name.casefold() in {"path", *NO_ANSWER}:
            continue
        number = class_number(name)
        sums[2 if number is None else number] += parse_votes(path, row.line, name, cell)
    total = sum(sums)
    if not 0 < total < math.inf:
        raise DatasetError(
            f"{path}, line {row.line}: {row.cells['path']} has no votes; remove the row"
        )
    sad, happy, neither = np.array([votes / total for votes in sums], np.float32).tolist()
    return sad, happy, neither


def parse_votes(path: Path, line: int, name: str, cell: str) -> float:
    """Parse a cell of votes.

    Args:
        path: The table, for the error message.
        line: The cell's line, likewise.
        name: The cell's column, likewise.
        cell: The text.

    Raises:
        DatasetError: It is not a finite number from 0 up.
    """
    try:
        votes = float(cell)
    except ValueError:
        votes = math.nan
    if not 0 <= votes < math.inf:
        raise DatasetError(f"{path}, line {line}: {name} is {cell!r}; votes are numbers from 0 up")
    return votes
