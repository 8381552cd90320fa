"""Thumbnails of a finished job's first faces of each label."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, get_args

import pyarrow.parquet as pq

from happysad.crops import crop_faces
from happysad.errors import ImageError
from happysad.image import RgbImage, open_image
from happysad.prediction import Face, Label
from happysad.records import FaceRecord, ScoresRecord
from happysad.scoring.inputs import Input, chunks
from happysad.scoring.job import Job, read_inputs
from happysad.scoring.reading import read_images
from happysad.scoring.storage import open_file
from happysad.scoring.worker import chunk_uri, utf8

EACH: Final = 24
"""Maximum number of faces of a label."""

# After so many images no further chunk is looked through: a tar has to be read from its beginning.
_IMAGES: Final = 5000
_SIDE: Final = 112
_MARGIN: Final = 1.2


@dataclass(frozen=True)
class FaceSample:
    """A face of the contact sheet.

    Attributes:
        uri: Its image.
        label: Its label.
        scores: Its scores.
        thumbnail: ``uint8 [112, 112, 3]``, RGB.
    """

    uri: str
    label: Label
    scores: ScoresRecord
    thumbnail: RgbImage


def contact_sheet(dest: str, job: Job) -> dict[str, list[FaceSample]]:
    """Return up to `EACH` faces of each label, from a finished job's first chunks.

    The images are read again; those that are no longer there are left out.

    Args:
        dest: The job's folder.
        job: The job.

    Raises:
        StoreError: The store does not respond.
    """
    samples: dict[str, list[FaceSample]] = {label: [] for label in get_args(Label)}
    images = 0
    for number, inputs in enumerate(chunks(read_inputs(dest), job.chunk_size)):
        missing = {label: EACH - len(found) for label, found in samples.items()}
        if images >= _IMAGES or not any(missing.values()):
            break
        with open_file(chunk_uri(dest, number)) as file:
            rows = pq.read_table(file, columns=["uri", "faces"]).to_pylist()
        images += len(rows)
        shown = {sample.uri for found in samples.values() for sample in found}
        rows = [row for row in rows if row["uri"] not in shown]
        for sample in _samples(inputs, _first_faces(rows, missing)):
            samples[sample.label].append(sample)
    return samples


def _first_faces(
    rows: Iterable[dict[str, Any]], missing: dict[str, int]
) -> dict[str, list[FaceRecord]]:
    """Return the first ``missing`` faces of each label, by image."""
    faces: dict[str, list[FaceRecord]] = {}
    for row in rows:
        # A URI may be listed twice; its faces are shown once.
        if row["uri"] in faces:
            continue
        for face in row["faces"]:
            if missing[face["label"]]:
                missing[face["label"]] -= 1
                faces.setdefault(row["uri"], []).append(face)
    return faces


def _samples(inputs: Sequence[Input], faces: dict[str, list[FaceRecord]]) -> Iterator[FaceSample]:
    needed = [item for item in inputs if item.kind != "image" or utf8(item.uri) in faces]
    with closing(read_images(needed)) as files:
        # Once all faces are found, the rest of a tar is not read.
        while faces and (file := next(files, None)):
            uri = utf8(file.uri)
            found = faces.pop(uri, [])
            if not found or file.content is None:
                continue
            try:
                crops = crop_faces(
                    open_image(file.content),
                    [_face(record) for record in found],
                    _SIDE,
                    margin=_MARGIN,
                    level=False,
                )
            except ImageError:
                continue
            for record, thumbnail in zip(found, crops, strict=True):
                yield FaceSample(uri, record["label"], record["scores"], thumbnail)


def _face(record: FaceRecord) -> Face:
    left, top, width, height = record["box"]
    points = tuple((x, y) for x, y in record["landmarks"])
    return Face((left, top, width, height), points, record["confidence"])
