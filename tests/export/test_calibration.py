import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from happysad.export.calibration import choose_band, fit_temperature


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_the_logits_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-true))).astype(np.uint8)

    assert fit_temperature(true * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_a_perfect_split_gives_a_finite_temperature() -> None:
    logits = np.array([-3, -2, 2, 3], np.float32)
    assert 0.05 <= fit_temperature(logits, np.array([0, 0, 1, 1])) < 1


def test_probabilities_that_are_sure_get_the_widest_band() -> None:
    assert choose_band(np.array([0.01] * 60 + [0.99] * 60)) == (0.35, 0.65)


def test_the_band_narrows_until_few_are_undecided() -> None:
    # 4 % stand within 0.03 of the threshold, and 8 % within 0.09.
    probabilities = np.array([0.53] * 2 + [0.47] * 2 + [0.59] * 4 + [0.99] * 92)
    assert choose_band(probabilities) == (0.42, 0.58)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_the_band_is_symmetric_and_leaves_few_undecided(values: list[float]) -> None:
    probabilities = np.array(values)
    low, high = choose_band(probabilities)
    assert 0.35 <= low <= 0.5 <= high <= 0.65
    assert low + high == pytest.approx(1)
    undecided = np.mean((probabilities >= low) & (probabilities <= high))
    assert undecided <= 0.05 or low == high


def test_a_model_that_knows_of_neither_may_leave_one_in_eight_undecided() -> None:
    p = np.linspace(0, 1, 1001)
    low, high = choose_band(p, neither=True)
    assert (low, high) == (0.44, 0.56) and np.mean((p >= low) & (p <= high)) <= 0.125
    sure = np.concatenate([np.zeros(50), np.ones(50)])
    assert choose_band(sure, neither=True) == (0.1, 0.9)
