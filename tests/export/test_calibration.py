import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from happysad.export.calibration import choose_threshold, fit_temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("classes", [1, 3])
def test_the_temperature_that_made_the_logits_is_found(temperature: float, classes: int) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (20_000, classes))
    logits = np.hstack([np.zeros_like(true), true]) if classes == 1 else true
    drawn = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    shares = np.eye(3)[drawn]

    assert fit_temperature(true * temperature, shares) == pytest.approx(temperature, rel=0.05)


def test_a_perfect_split_gives_a_finite_temperature() -> None:
    logits = np.array([[-3], [-2], [2], [3]], np.float32)
    assert 0.05 <= fit_temperature(logits, np.eye(3)[[0, 0, 1, 1]]) < 1


def test_a_sigmoid_is_calibrated_on_faces_with_votes_for_happy_or_sad() -> None:
    logits = np.array([[-3], [-2], [2], [3], [-2], [2]], np.float32)
    shares = np.eye(3)[[0, 0, 1, 1, 1, 0]]
    neither = np.eye(3)[[2, 2]]
    expected = fit_temperature(logits, shares)
    found = fit_temperature(np.vstack([logits, [[5], [-5]]]), np.vstack([shares, neither]))
    assert found == pytest.approx(expected)


def pairs(happy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Scores of a sigmoid: P(sad) and P(happy)."""
    p = np.asarray(happy, np.float64)
    return np.stack([1 - p, p], axis=1)


def test_confident_scores_get_the_largest_threshold() -> None:
    assert choose_threshold(pairs([0.01] * 60 + [0.99] * 60)) == 0.65
    sure = np.array([[0.9, 0.05], [0.1, 0.8]])
    assert choose_threshold(sure, neither=True) == 0.60


def test_the_threshold_falls_until_few_are_uncertain() -> None:
    # 4 % are within 0.03 of one half, and 8 % within 0.09.
    happy = [0.53] * 2 + [0.47] * 2 + [0.59] * 4 + [0.99] * 92
    assert choose_threshold(pairs(happy)) == 0.59


@given(st.lists(st.floats(0, 1), min_size=1))
def test_a_model_that_separates_well_is_rarely_uncertain(values: list[float]) -> None:
    scores = pairs(values)
    threshold = choose_threshold(scores)
    assert 0.5 <= threshold <= 0.65
    assert np.mean(scores.max(axis=1) < threshold) <= 0.05 or threshold == 0.65


def test_a_model_that_separates_nothing_abstains_most() -> None:
    assert choose_threshold(pairs([0.5] * 40)) == 0.50
    assert choose_threshold(np.full((40, 2), 0.2), neither=True) == 0.60
