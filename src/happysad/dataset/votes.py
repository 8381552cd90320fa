"""Votes: what several people say about each face, as soft labels."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from happysad.dataset.tables import Row, match_rows, read_table
from happysad.errors import DatasetError

VOTES_FILE: Final = "votes.csv"
"""Optional file in a dataset's folder: ``path`` and a column of counts or shares per answer."""

ANSWERS: Final = {"sad": 0, "sadness": 0, "happy": 1, "happiness": 1, "joy": 1}
"""Columns of votes, in any letter case: sad is 0, happy 1; all other answers are neither."""

NO_ANSWER: Final = frozenset({"unknown", "nf", "not a face", "no face"})
"""Columns that say nothing about the expression and do not count."""


def read_shares(folder: Path, names: Sequence[str]) -> dict[int, npt.NDArray[np.float32]]:
    """Read the votes of a dataset's images.

    Args:
        folder: The dataset's folder; without a `VOTES_FILE` there are no votes.
        names: The images' paths relative to the folder, with forward slashes.

    Returns:
        Index in ``names`` → shares of the votes for sad, happy and neither, ``float32 [3]``.

    Raises:
        DatasetError: The file cannot be read, has no column for happy or sad, or a row is wrong.
    """
    path = folder / VOTES_FILE
    if not path.is_file():
        return {}
    rows = read_table(path, ("path",))
    if rows and not {name.casefold() for name in rows[0].cells} & ANSWERS.keys():
        raise DatasetError(f"{path}: no column of votes for happy or sad; name them so")
    return {index: _shares(path, row) for index, row in match_rows(path, rows, names).items()}


def _shares(path: Path, row: Row) -> npt.NDArray[np.float32]:
    sums = [0.0, 0.0, 0.0]
    for name, cell in row.cells.items():
        answer = name.casefold()
        if answer in {"path", *NO_ANSWER}:
            continue
        try:
            votes = float(cell)
        except ValueError:
            votes = math.nan
        if not 0 <= votes < math.inf:
            raise DatasetError(
                f"{path}, line {row.line}: {name} is {cell!r}; votes are numbers from 0 up"
            )
        sums[ANSWERS.get(answer, 2)] += votes
    total = sum(sums)
    if not 0 < total < math.inf:
        raise DatasetError(
            f"{path}, line {row.line}: {row.cells['path']} has no votes; remove the row"
        )
    return np.array([votes / total for votes in sums], np.float32)
