import json
from pathlib import Path
from typing import Any, get_type_hints

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from happysad.errors import ImageError
from happysad.prediction import Face, ImageResult, Prediction, Scores
from happysad.records import (
    COLUMNS,
    FaceRecord,
    ImageRecord,
    ScoresRecord,
    Summary,
    csv_rows,
    image_record,
    printable,
)

SCHEMA = json.loads(
    (Path(__file__).parents[1] / "docs" / "predict-output.schema.json").read_text("utf-8")
)
valid = jsonschema.Draft202012Validator(SCHEMA).is_valid

shares = st.floats(0, 1)
pixels = st.floats(-1e4, 1e5)
points = st.tuples(pixels, pixels)
faces = st.builds(
    Face,
    box=st.tuples(pixels, pixels, pixels, pixels),
    landmarks=st.one_of(st.just(()), st.tuples(*[points] * 5)),
    confidence=shares,
)
scores = st.tuples(shares, shares).map(lambda two: Scores(two[0], two[1] * (1 - two[0])))
predictions = st.builds(Prediction, st.sampled_from(["happy", "sad", "uncertain"]), scores, faces)


def a_prediction(label: Any = "happy", probability: float = 0.98) -> Prediction:
    return Prediction(
        label,
        Scores(probability, 1 - probability),
        Face((-3.26, 4, 50.04, 60), ((1.26, 2),) * 5, 0.93456),
    )


def record_of(path: str, size: tuple[int, int], found: list[Prediction]) -> ImageRecord:
    return image_record(ImageResult(path, *size, tuple(found)))


def error_record(path: str, reason: str) -> ImageRecord:
    return image_record(ImageResult(path, error=ImageError(reason, path)))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@given(st.text(min_size=1), st.tuples(st.integers(1), st.integers(1)), st.lists(predictions))
def test_every_prediction_can_be_written_and_meets_the_schema(
    path: str, size: tuple[int, int], found: list[Prediction]
) -> None:
    record = record_of(path, size, found)

    assert valid(record)
    assert json.loads(json.dumps(record)) == record
    assert [face["probability"] for face in record["faces"]] == [
        pytest.approx(prediction.probability, abs=1e-6) for prediction in found
    ]


def test_an_error_meets_the_schema_and_mixtures_do_not() -> None:
    error = error_record("x.jpg", "no such file")
    empty = record_of("x.jpg", (4, 3), [])

    assert valid(error)
    assert empty["status"] == "no face"
    assert not valid(error | {"status": "ok"})
    assert not valid(empty | {"status": "ok"})
    assert not valid(empty | {"error": "also"})
    assert not valid({key: value for key, value in empty.items() if key != "schema"})


def test_numbers_are_rounded() -> None:
    (face,) = record_of("x.jpg", (4, 3), [a_prediction(probability=1 / 3)])["faces"]

    assert face == {
        "box": [-3.3, 4, 50, 60],
        "landmarks": [[1.3, 2]] * 5,
        "confidence": 0.9346,
        "label": "happy",
        "scores": {"happy": 0.333333, "sad": 0.666667, "neither": 0.0},
        "probability": 0.333333,
    }


def fields(definition: Any, *path: str) -> set[str]:
    for name in path:
        definition = definition[name]
    return set(definition)


def test_schema_columns_http_and_arrow_have_the_fields_of_the_record() -> None:
    image, face, score = (set(get_type_hints(of)) for of in (ImageRecord, FaceRecord, ScoresRecord))

    for kind in ("answered", "faceless", "failed"):
        assert fields(SCHEMA, "$defs", kind, "properties") == image
    assert fields(SCHEMA, "$defs", "face", "properties") == face
    assert fields(SCHEMA, "$defs", "scores", "properties") == score
    # In the CSV form, one row holds one face: lists become columns, or are omitted.
    flat = (image | face | score) - {"schema", "faces", "scores", "box", "landmarks"}
    assert set(COLUMNS) == flat | {"face", "left", "top", "width", "height"}


def test_the_http_models_have_the_fields_of_the_record() -> None:
    schemas = pytest.importorskip("happysad.serving.schemas", reason="needs the extra serve")

    for typed, model in (
        (ImageRecord, schemas.ImageRecord),
        (FaceRecord, schemas.FaceRecord),
        (ScoresRecord, schemas.ScoresRecord),
    ):
        names = {field.alias or name for name, field in model.model_fields.items()}
        assert names == set(get_type_hints(typed))


def test_a_csv_row_for_each_face_and_one_where_there_is_none() -> None:
    two = list(csv_rows(record_of("x.jpg", (4, 3), [a_prediction(), a_prediction("sad", 0)])))
    none = list(csv_rows(record_of("x.jpg", (4, 3), [])))
    error = list(csv_rows(error_record("x.jpg", "broken")))

    assert [(row["face"], row["label"], row["left"]) for row in two] == [
        (1, "happy", -3.3),
        (2, "sad", -3.3),
    ]
    assert none == [{"path": "x.jpg", "status": "no face"}]
    assert error == [{"path": "x.jpg", "status": "error", "error": "broken"}]
    assert all(set(row) <= set(COLUMNS) for row in two + none + error)


def test_the_summary_names_only_nonzero_counts() -> None:
    summary = Summary()
    summary.add(record_of("a", (4, 3), [a_prediction(), a_prediction("sad", 0.1)]))
    summary.add(record_of("b", (4, 3), [a_prediction("uncertain", 0.5), a_prediction()]))
    assert str(summary) == "2 images: 2 happy, 1 sad, 1 uncertain faces"

    summary.add(record_of("c", (4, 3), []))
    summary.add(error_record("d", "broken"))
    assert str(summary).endswith("uncertain faces, 1 without a face, 1 could not be read")
    assert (summary.images, summary.errors) == (4, 1)

    lonely = Summary()
    lonely.add(record_of("a", (4, 3), [a_prediction("sad", 0.1)]))
    assert str(lonely) == "1 image: 1 sad face"


def test_a_files_name_does_not_command_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n\udcff\u202f笑 é.jpg") == "a�[2Jb��\u202f笑 é.jpg"
