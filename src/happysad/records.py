"""How predictions are written down: records for programs, rows for tables, a summary for people.

`docs/predict-output.md` describes the records. A new key leaves `SCHEMA` as it is; changing what a
key means, or taking one away, raises it.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from happysad.files import convert_os_errors
from happysad.prediction import Prediction

SCHEMA: Final = 1

COLUMNS: Final = (
    "path",
    "status",
    "face",
    "label",
    "probability",
    "left",
    "top",
    "width",
    "height",
    "confidence",
    "error",
)
"""The columns of the CSV form, see `csv_rows`."""

Record: TypeAlias = dict[str, Any]


def image_record(path: str, size: tuple[int, int], predictions: Sequence[Prediction]) -> Record:
    """Write down what was found in one image.

    Args:
        path: What the image is called.
        size: Its width and height, upright, in pixels.
        predictions: One for each face; none is no error.

    Returns:
        Values rounded for JSON: boxes and landmarks to 0.1 pixel, the detection confidence to 4
        and P(happy) to 6 digits.
    """
    return {
        "schema": SCHEMA,
        "path": path,
        "status": "ok" if predictions else "no face",
        "width": size[0],
        "height": size[1],
        "faces": [face_record(prediction) for prediction in predictions],
    }


def error_record(path: str, error: str) -> Record:
    """Write down why an image has no answer."""
    return {
        "schema": SCHEMA,
        "path": path,
        "status": "error",
        "width": None,
        "height": None,
        "faces": [],
        "error": error,
    }


def face_record(prediction: Prediction) -> Record:
    """Write down one face: where it is, and the answer."""
    face = prediction.face
    return {
        "box": [round(value, 1) for value in face.box],
        "landmarks": [[round(x, 1), round(y, 1)] for x, y in face.landmarks],
        "confidence": round(face.confidence, 4),
        "label": prediction.label,
        "probability": round(prediction.probability, 6),
    }


@contextmanager
def csv_file(
    path: Path, columns: Sequence[str]
) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
    """Write a CSV file whose rows are there as they come, also if the program is stopped.

    Yields:
        A function that takes the next rows, each a value for some of the columns.

    Raises:
        HappysadError: The file cannot be written.
    """
    with convert_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The bytes of names that are not UTF-8 are written as they are.
        file = path.open("w", encoding="utf-8", errors="surrogateescape", newline="", buffering=1)
    writer = csv.DictWriter(file, columns)

    def write(rows: Iterable[dict[str, Any]]) -> None:
        with convert_os_errors(path):
            writer.writerows(rows)

    try:
        with convert_os_errors(path):
            writer.writeheader()
        yield write
    finally:
        # Closing writes what could not be written before, and fails again.
        with convert_os_errors(path):
            file.close()


def csv_rows(record: Record) -> Iterator[dict[str, Any]]:
    """Turn a record into rows of `COLUMNS`: one for each face, at least one.

    ``face`` counts from 1. Where there is no face, its cells are missing.
    """
    common = {key: value for key, value in record.items() if key in ("path", "status", "error")}
    if not record["faces"]:
        yield common
    for number, face in enumerate(record["faces"], start=1):
        left, top, width, height = face["box"]
        yield common | {
            "face": number,
            "label": face["label"],
            "probability": face["probability"],
            "left": left,
            "top": top,
            "width": width,
            "height": height,
            "confidence": face["confidence"],
        }


def printable(text: str) -> str:
    """Replace what a terminal cannot show, or would obey: bytes not UTF-8, control characters."""
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)


class Summary:
    """Counts records, and says what they come to in one line.

    Attributes:
        statuses: How many images have each status.
        labels: How many faces have each label.
    """

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """Count one record."""
        self.statuses[record["status"]] += 1
        self.labels.update(face["label"] for face in record["faces"])

    @property
    def images(self) -> int:
        """How many images were counted, with and without an answer."""
        return self.statuses.total()

    @property
    def errors(self) -> int:
        """How many of them could not be read."""
        return self.statuses["error"]

    def __str__(self) -> str:
        faces = ", ".join(
            f"{self.labels[label]:,} {label}"
            for label in ("happy", "sad", "uncertain")
            if self.labels[label]
        )
        parts = [f"{faces} {'face' if self.labels.total() == 1 else 'faces'}"] if faces else []
        if self.statuses["no face"]:
            parts.append(f"{self.statuses['no face']:,} without a face")
        if self.errors:
            parts.append(f"{self.errors:,} could not be read")
        plural = "image" if self.images == 1 else "images"
        return f"{self.images:,} {plural}: {', '.join(parts)}"
