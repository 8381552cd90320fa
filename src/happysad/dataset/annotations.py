"""Tables of votes in common forms."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Final

from happysad.dataset.names import class_number
from happysad.dataset.tables import Row, read_table
from happysad.dataset.votes import ANSWERS, NO_ANSWER, parse_votes
from happysad.errors import DatasetError

_PATHS: Final = ("path", "file", "image", "filename", "image name")
_LABELS: Final = ("label", "choice", "sentiment", "emotion")
_ANNOTATORS: Final = ("annotator", "annotation_id", "rater", "worker")
_FERPLUS_NAME: Final = re.compile(r"fer(\d{7})\.png")


def read_annotations(table: Path) -> list[Row]:
    """Read votes and convert them to one form.

    Supported are a column of counts or shares per answer (as FER+'s ``fer2013new.csv``), and one
    row per judgement: path, label and, if there are several people, annotator. Columns of counts
    must have the name of a known answer; labels of other names count as neither, and columns of
    text are ignored.

    Args:
        table: A CSV file with a column path, file, image, filename or Image name.

    Returns:
        One row per image, with the cell ``path`` and a cell per answer. Images without any vote
        about the expression are left out.

    Raises:
        DatasetError: The file cannot be read, or has neither form; a column of numbers is not a
            known answer; an annotator judged an image twice.
    """
    rows = read_table(table, ())
    columns = {name.casefold(): name for name in rows[0].cells} if rows else {}
    path = next((columns[name] for name in _PATHS if name in columns), None)
    if path is None:
        names = ", ".join(map(repr, columns.values())) or "no rows"
        raise DatasetError(f"{table}: {names}; a column 'path' is needed")
    label = next((columns[name] for name in _LABELS if name in columns), None)
    if label:
        annotator = next((columns[name] for name in _ANNOTATORS if name in columns), None)
        return _count(table, rows, path, label, annotator)
    answers = [name for name in rows[0].cells if name != path and _is_count(rows, name)]
    if all(class_number(name) is None for name in answers):
        raise DatasetError(
            f"{table}: no column of votes for happy or sad; name them so, or give path,label"
        )
    # Counted as votes, an age or a row number would outweigh all others.
    if unknown := [name for name in answers if name.casefold() not in ANSWERS]:
        raise DatasetError(
            f"{table}: column {unknown[0]!r} has numbers and is not a known answer; remove it, or "
            f"rename it to one of {', '.join(sorted(ANSWERS))}"
        )
    found = []
    for row in rows:
        given = {name: row.cells[name] for name in answers if row.cells[name]}
        votes = {n: parse_votes(table, row.line, n, cell) for n, cell in given.items()}
        if any(count for name, count in votes.items() if _counts(name)):
            found.append(Row(row.line, {"path": row.cells[path], **given}))
    return found


def rename_ferplus(rows: list[Row]) -> list[Row]:
    """Replace FER+'s names of images by those that importing fer2013.csv gives them."""
    renamed = []
    for row in rows:
        if ferplus := _FERPLUS_NAME.fullmatch(row.cells["path"]):
            # FER+ counts the rows of fer2013.csv from 0; imported images are numbered from 1.
            row = Row(row.line, row.cells | {"path": f"{int(ferplus[1]) + 1:06d}"})
        renamed.append(row)
    return renamed


def _count(table: Path, rows: list[Row], path: str, label: str, annotator: str | None) -> list[Row]:
    """Count judgements: one row per image, the line that of its first judgement."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    lines: dict[str, int] = {}
    judged: dict[tuple[str, str], int] = {}
    for row in rows:
        name, answer = row.cells[path], row.cells[label]
        if not answer:
            raise DatasetError(
                f"{table}, line {row.line}: no {label}; fill it in or remove the row"
            )
        if annotator:
            key = name, row.cells[annotator]
            if key in judged:
                raise DatasetError(
                    f"{table}, line {row.line}: {row.cells[annotator]!r} judged {name} before, on "
                    f"line {judged[key]}; remove one"
                )
            judged[key] = row.line
        lines.setdefault(name, row.line)
        counts[name][answer if answer.casefold() in ANSWERS else "neither"] += 1
    return [
        Row(lines[name], {"path": name, **{answer: str(n) for answer, n in answers.items()}})
        for name, answers in counts.items()
        if any(map(_counts, answers))
    ]


def _counts(answer: str) -> bool:
    return answer.casefold() not in NO_ANSWER


def _is_count(rows: list[Row], name: str) -> bool:
    """Return whether most cells of a column that are not empty are numbers."""
    cells = [row.cells[name] for row in rows if row.cells[name]]
    return 2 * sum(map(_is_number, cells)) > len(cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
