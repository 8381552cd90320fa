import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from happysad.prediction import Face, Prediction
from happysad.records import (
    COLUMNS,
    Summary,
    csv_rows,
    error_record,
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
predictions = st.builds(Prediction, st.sampled_from(["happy", "sad", "uncertain"]), shares, faces)


def a_prediction(label: Any = "happy", probability: float = 0.98) -> Prediction:
    return Prediction(label, probability, Face((-3.26, 4, 50.04, 60), ((1.26, 2),) * 5, 0.93456))


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@given(st.text(min_size=1), st.tuples(st.integers(1), st.integers(1)), st.lists(predictions))
def test_whatever_is_found_can_be_written_and_meets_the_schema(
    path: str, size: tuple[int, int], found: list[Prediction]
) -> None:
    record = image_record(path, size, found)

    assert valid(record)
    assert json.loads(json.dumps(record)) == record
    assert [face["probability"] for face in record["faces"]] == [
        pytest.approx(prediction.probability, abs=1e-6) for prediction in found
    ]


def test_an_error_meets_the_schema_and_nothing_in_between_does() -> None:
    error = error_record("x.jpg", "x.jpg: no such file")
    empty = image_record("x.jpg", (4, 3), [])

    assert valid(error)
    assert empty["status"] == "no face"
    assert not valid(error | {"status": "ok"})
    assert not valid(empty | {"status": "ok"})
    assert not valid(empty | {"error": "also"})
    assert not valid({key: value for key, value in empty.items() if key != "schema"})


def test_numbers_are_rounded_to_what_they_are_worth() -> None:
    (face,) = image_record("x.jpg", (4, 3), [a_prediction(probability=1 / 3)])["faces"]

    assert face == {
        "box": [-3.3, 4, 50, 60],
        "landmarks": [[1.3, 2]] * 5,
        "confidence": 0.9346,
        "label": "happy",
        "probability": 0.333333,
    }


def test_a_csv_row_for_each_face_and_one_where_there_is_none() -> None:
    two = list(csv_rows(image_record("x.jpg", (4, 3), [a_prediction(), a_prediction("sad", 0)])))
    none = list(csv_rows(image_record("x.jpg", (4, 3), [])))
    error = list(csv_rows(error_record("x.jpg", "broken")))

    assert [(row["face"], row["label"], row["left"]) for row in two] == [
        (1, "happy", -3.3),
        (2, "sad", -3.3),
    ]
    assert none == [{"path": "x.jpg", "status": "no face"}]
    assert error == [{"path": "x.jpg", "status": "error", "error": "broken"}]
    assert all(set(row) <= set(COLUMNS) for row in two + none + error)


def test_the_summary_says_what_there_was_and_leaves_out_what_there_was_not() -> None:
    summary = Summary()
    summary.add(image_record("a", (4, 3), [a_prediction(), a_prediction("sad", 0.1)]))
    summary.add(image_record("b", (4, 3), [a_prediction("uncertain", 0.5), a_prediction()]))
    assert str(summary) == "2 images: 2 happy, 1 sad, 1 uncertain faces"

    summary.add(image_record("c", (4, 3), []))
    summary.add(error_record("d", "broken"))
    assert str(summary).endswith("uncertain faces, 1 without a face, 1 could not be read")
    assert (summary.images, summary.errors) == (4, 1)

    lonely = Summary()
    lonely.add(image_record("a", (4, 3), [a_prediction("sad", 0.1)]))
    assert str(lonely) == "1 image: 1 sad face"


def test_a_files_name_does_not_command_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n\udcff\u202f笑 é.jpg") == "a�[2Jb��\u202f笑 é.jpg"
