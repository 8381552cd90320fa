import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from happysad import Classifier, ModelError
from happysad.classifier import PRECISIONS, Precision
from happysad.prediction import Label, Scores

Files = dict[Precision, Path]
Crops = npt.NDArray[np.uint8]


def one_colour(*colours: tuple[int, int, int]) -> Crops:
    return np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_red_and_blue_are_not_swapped_and_happy_is_the_second_label(
    model_files: Files, precision: Precision
) -> None:
    classifier = Classifier(model_files[precision])

    red, blue = classifier.probabilities(one_colour((255, 0, 0), (0, 0, 255))).tolist()

    # 4 * (1 - -1) = 8, divided by the temperature 2.
    sure = 1 / (1 + np.exp(-4))
    assert (_label(classifier, red), _label(classifier, blue)) == ("happy", "sad")
    assert red == pytest.approx(sure, abs=0.02)
    assert blue == pytest.approx(1 - sure, abs=0.02)


def _label(classifier: Classifier, happy: float) -> Label:
    return classifier.label(Scores(happy, 1 - happy))


def test_scores_below_the_threshold_are_uncertain(model_files: Files) -> None:
    classifier = Classifier(model_files["float32"])

    assert classifier.info.threshold == 0.55
    assert [_label(classifier, p) for p in (0.449, 0.4501, 0.5, 0.549, 0.551)] == [
        "sad",
        "uncertain",
        "uncertain",
        "uncertain",
        "happy",
    ]
    (grey,) = classifier.probabilities(one_colour((100, 100, 100))).tolist()
    assert grey == pytest.approx(0.5, abs=1e-5)
    assert _label(classifier, grey) == "uncertain"
    assert classifier.label(Scores(happy=0.3, sad=0.56)) == "sad"
    assert classifier.label(Scores(happy=0.4, sad=0.3)) == "uncertain"


def test_a_crop_gets_the_same_scores_alone_and_in_a_batch(
    model_files: Files, coloured_crops: Crops
) -> None:
    classifier = Classifier(model_files["int8"])

    batch = classifier.probabilities(coloured_crops)

    assert batch.dtype == np.float32
    assert batch.shape == (80,)
    alone = [classifier.probabilities(coloured_crops[i : i + 1])[0] for i in range(80)]
    np.testing.assert_array_equal(batch, alone)


def test_an_empty_batch_gives_no_scores(model_files: Files) -> None:
    classifier = Classifier(model_files["int8"])

    assert classifier.probabilities(np.empty((0, 32, 32, 3), np.uint8)).shape == (0,)


def test_sixteen_threads_share_a_classifier(model_files: Files, coloured_crops: Crops) -> None:
    classifier = Classifier(model_files["int8"])
    expected = classifier.probabilities(coloured_crops)
    orders = [np.random.default_rng(i).permutation(80) for i in range(32)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda o: classifier.probabilities(coloured_crops[o]), orders))

    for order, answer in zip(orders, answers, strict=True):
        np.testing.assert_array_equal(answer, expected[order])


@pytest.mark.parametrize(
    ("crops", "received"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), r"float32 \[2, 32, 32, 3\]"),
        (np.zeros((2, 48, 48, 3), np.uint8), r"uint8 \[2, 48, 48, 3\]"),
        (np.zeros((32, 32, 3), np.uint8), r"uint8 \[32, 32, 3\]"),
        (np.zeros((1, 32, 32), np.uint8), r"uint8 \[1, 32, 32\]"),
    ],
)
def test_other_arrays_are_refused_with_their_dtype_and_shape(
    model_files: Files, crops: Crops, received: str
) -> None:
    with pytest.raises(ValueError, match=rf"uint8 \[N, 32, 32, 3\]; received {received}"):
        Classifier(model_files["float32"]).probabilities(crops)


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        Classifier(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.tflite: cannot be read \(No such file"):
        Classifier(tmp_path / "none.tflite")


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999])
def test_a_truncated_file_is_refused(model_files: Files, tmp_path: Path, share: float) -> None:
    content = model_files["int8"].read_bytes()
    refused(tmp_path / "short.tflite", content[: int(share * len(content))])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_byte_is_noticed_or_changes_nothing(
    model_files: Files, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(model_files["int8"].read_bytes())
    index = data.draw(st.integers(0, len(content) - 1))
    content[index] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "changed.tflite"
    path.write_bytes(content)
    try:
        changed = Classifier(path)
    except ModelError as error:
        assert "\n" not in str(error)
    else:
        # Dates and names in the archive do not matter.
        assert changed.info == Classifier(model_files["int8"]).info


def test_changed_weights_are_noticed(model_files: Files, tmp_path: Path) -> None:
    content = bytearray(model_files["float32"].read_bytes())
    content[len(content) // 3] ^= 1
    assert "does not match its checksum" in refused(tmp_path / "changed.tflite", bytes(content))


def test_a_tflite_file_of_another_program_is_refused(model_files: Files, tmp_path: Path) -> None:
    content = model_files["float32"].read_bytes()
    with zipfile.ZipFile(BytesIO(content)) as archive:
        graph = content[: archive.infolist()[0].header_offset]
    assert "happysad export" in refused(tmp_path / "foreign.tflite", graph)
    assert "not a .tflite model" in refused(tmp_path / "photo.tflite", b"\xff\xd8\xff" * 9)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 1}, "schema 1"),
        ({"labels": ["happy", "sad"]}, r"['happy', 'sad']"),
        ({"input_size": 48}, "export it again"),
        ({"threshold": None}, "has an unknown form"),
        ({"threshold": 7}, "has an unknown form"),
        ({"new": 1}, "has an unknown form"),
    ],
)
def test_wrong_metadata_is_refused(
    model_files: Files, tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    content = model_files["float32"].read_bytes()
    with zipfile.ZipFile(BytesIO(content)) as archive:
        file = BytesIO(content[: archive.infolist()[0].header_offset])
        values = json.loads(archive.read("happysad.json")) | changes
    file.seek(0, 2)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("happysad.json", json.dumps(values))

    assert says in refused(tmp_path / "other.tflite", file.getvalue())
