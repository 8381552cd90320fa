import math

import pytest
from scipy.stats import binomtest

from happysad.training.reliability import validation_warnings, wilson_interval


@pytest.mark.parametrize(("right", "count"), [(0, 5), (5, 5), (27, 40), (940, 1000)])
def test_the_interval_is_scipys(right: int, count: int) -> None:
    expected = binomtest(right, count).proportion_ci(method="wilson")

    assert wilson_interval(right / count, count) == pytest.approx(
        (expected.low, expected.high), abs=1e-4
    )


def test_a_good_model_on_a_large_split_is_not_warned_about() -> None:
    assert validation_warnings(0.95, [0] * 400 + [1] * 600) == []


def test_a_model_that_predicts_the_majority_is_called_that() -> None:
    (warning,) = validation_warnings(0.61, [0] * 400 + [1] * 600)

    assert warning.startswith("the model may be no better than always predicting 'happy'")


def test_a_small_split_is_called_small() -> None:
    (warning,) = validation_warnings(1.0, [0, 1] * 20)

    assert "only 40 images" in warning


def test_a_split_without_happy_and_sad_faces_is_called_that() -> None:
    (warning,) = validation_warnings(math.nan, [])

    assert "no validation image is mostly called happy or sad" in warning


def test_a_split_of_one_class_proves_nothing() -> None:
    (warning,) = validation_warnings(1.0, [0] * 60)

    assert "always predicting 'sad'" in warning
