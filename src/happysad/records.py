"""Predictions as records: typed dictionaries for JSON, rows for CSV, a summary line.

`docs/predict-output.md` describes the records. The JSON Schema, the HTTP models, the Arrow schema
and `COLUMNS` are checked against the types here by tests. A new key leaves `SCHEMA` unchanged;
removing a key or changing its meaning increments it.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NotRequired, TypedDict

from happysad.errors import HappysadError
from happysad.files import check_text_file, convert_os_errors
from happysad.prediction import ImageResult, Label, Prediction

SCHEMA: Final = 2


class ScoresRecord(TypedDict):
    """Shares of people who would call the face so, 0–1; they add up to 1."""

    happy: float
    sad: float
    neither: float


class FaceRecord(TypedDict):
    """One face. Units and ranges as in `happysad.prediction.Face`."""

    box: list[float]
    landmarks: list[list[float]]
    confidence: float
    label: Label
    scores: ScoresRecord
    probability: float


class ImageRecord(TypedDict):
    """One image; ``error`` is present if and only if the status is ``"error"``."""

    schema: int
    path: str
    status: Literal["ok", "no face", "error"]
    width: int | None
    height: int | None
    faces: list[FaceRecord]
    error: NotRequired[str]


COLUMNS: Final = (
    "path",
    "status",
    "face",
    "label",
    "probability",
    "happy",
    "sad",
    "neither",
    "left",
    "top",
    "width",
    "height",
    "confidence",
    "error",
)
"""The columns of the CSV form, see `csv_rows`."""


def image_record(result: ImageResult) -> ImageRecord:
    """Convert a result to a record.

    Values are rounded: boxes and landmarks to 0.1 pixel, the detection confidence to 4 and the
    scores to 6 digits.
    """
    record = ImageRecord(
        schema=SCHEMA,
        path=result.source,
        status="ok" if result.predictions else "no face",
        width=result.width,
        height=result.height,
        faces=[face_record(prediction) for prediction in result.predictions],
    )
    if result.error:
        record["status"], record["error"] = "error", result.error.reason
    return record


def face_record(prediction: Prediction) -> FaceRecord:
    """Convert the prediction for one face to a record."""
    face, scores = prediction.face, prediction.scores
    return FaceRecord(
        box=[round(value, 1) for value in face.box],
        landmarks=[[round(x, 1), round(y, 1)] for x, y in face.landmarks],
        confidence=round(face.confidence, 4),
        label=prediction.label,
        scores=ScoresRecord(
            happy=round(scores.happy, 6),
            sad=round(scores.sad, 6),
            neither=round(scores.neither, 6),
        ),
        probability=round(prediction.probability, 6),
    )


@contextmanager
def csv_file(
    path: Path, columns: Sequence[str]
) -> Iterator[Callable[[Iterable[dict[str, Any]]], None]]:
    """Write a CSV file row by row, so that an interrupted program leaves the rows so far.

    Yields:
        A function that takes the next rows, each a value for some of the columns.

    Raises:
        HappysadError: The file cannot be written.
    """
    if str(path) == "-":
        raise HappysadError("-: CSV needs the name of a file; --json writes to standard output")
    check_text_file(path)
    with convert_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # File names that are not valid UTF-8 are written byte for byte.
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
        # Closing flushes the buffer again and may fail again.
        with convert_os_errors(path):
            file.close()


def csv_rows(record: ImageRecord) -> Iterator[dict[str, Any]]:
    """Yield rows of `COLUMNS`: one for each face, at least one.

    ``face`` counts from 1. Where there is no face, the cells of faces are missing.
    """
    common = {key: value for key, value in record.items() if key in ("path", "status", "error")}
    if not record["faces"]:
        yield common
    for number, face in enumerate(record["faces"], start=1):
        yield common | {
            "face": number,
            "label": face["label"],
            "probability": face["probability"],
            **face["scores"],
            **dict(zip(("left", "top", "width", "height"), face["box"], strict=True)),
            "confidence": face["confidence"],
        }


def printable(text: str) -> str:
    """Replace control characters and bytes that are not UTF-8, for output on a terminal."""
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", "\ufffd", text)


class Summary:
    """Counts of records, printed as one line.

    Attributes:
        statuses: Number of images with each status.
        labels: Number of faces with each label.
    """

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()

    def add(self, record: ImageRecord) -> None:
        """Count one record."""
        self.statuses[record["status"]] += 1
        self.labels.update(face["label"] for face in record["faces"])

    @property
    def images(self) -> int:
        """Number of images, including those that could not be read."""
        return self.statuses.total()

    @property
    def errors(self) -> int:
        """Number of images that could not be read."""
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
