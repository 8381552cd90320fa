import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from happysad.prediction import Label, Scores
from happysad.video.smoothing import HYSTERESIS, TIME_CONSTANT, Smoother, logit

# The smoother limits scores to this range.
probabilities = st.floats(0.001, 0.999)
THRESHOLD = 0.7


class OneScore:
    """A smoother of a model whose scores add up to 1, by P(happy)."""

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.smoother = Smoother(threshold)

    def update(self, time: float, happy: float) -> tuple[Label, float]:
        label, scores = self.smoother.update(time, Scores(happy, 1 - happy))
        assert scores.happy + scores.sad == pytest.approx(1)
        return label, scores.happy


def test_scores_that_are_both_low_are_uncertain_and_stay_apart() -> None:
    smoother = Smoother(THRESHOLD)

    label, scores = smoother.update(0.0, Scores(happy=0.1, sad=0.2))

    assert label == "uncertain"
    assert [scores.happy, scores.sad] == pytest.approx([0.1, 0.2])
    assert smoother.update(100.0, Scores(happy=0.1, sad=0.85))[0] == "sad"


@given(probabilities, st.lists(st.floats(0.001, 10), min_size=1, max_size=30))
def test_constant_scores_stay_constant(probability: float, intervals: list[float]) -> None:
    smoother = OneScore()
    for time in np.cumsum(intervals).tolist():
        label, smoothed = smoother.update(time, probability)
        assert smoothed == pytest.approx(probability, abs=1e-9)
        assert label == Scores(smoothed, 1 - smoothed).label(THRESHOLD)


@given(st.lists(st.tuples(st.floats(0.001, 5), probabilities), min_size=1, max_size=50))
def test_smoothed_scores_lie_within_the_range_seen(looks: list[tuple[float, float]]) -> None:
    smoother, time, seen = OneScore(), 0.0, []
    for interval, probability in looks:
        time += interval
        seen.append(probability)
        smoothed = smoother.update(time, probability)[1]
        assert min(seen) - 1e-9 <= smoothed <= max(seen) + 1e-9


@given(st.floats(0, 1))
def test_certainty_stays_finite(probability: float) -> None:
    smoothed = OneScore().update(0.0, probability)[1]
    assert smoothed == pytest.approx(probability, abs=0.0011)


@given(
    st.sampled_from([1 - THRESHOLD, THRESHOLD]),
    st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=60),
    probabilities,
)
def test_a_wobble_about_a_boundary_changes_the_label_at_most_once(
    boundary: float, wobble: list[float], start: float
) -> None:
    smoother = OneScore()
    labels = [smoother.update(0.0, start)[0]]
    for i, part in enumerate(wobble, start=1):
        # So far apart that earlier values have no influence.
        probability = 1 / (1 + math.exp(-logit(boundary) - part * HYSTERESIS))
        labels.append(smoother.update(i * 100.0, probability)[0])

    assert sum(a != b for a, b in pairwise(labels)) <= 1


def test_a_clear_change_changes_the_label_after_a_moment() -> None:
    smoother = OneScore()
    assert smoother.update(0.0, 0.85)[0] == "happy"
    sad = 0.15
    assert smoother.update(1 / 30, sad)[0] == "happy"
    for frame in range(2, 60):
        label, _ = smoother.update(frame / 30, sad)
    assert label == "sad"


@given(st.floats(0.6, 0.999))
def test_whatever_the_threshold_each_label_can_be_reached_from_each(threshold: float) -> None:
    smoother = OneScore(threshold)
    for time, (probability, label) in enumerate(
        [(0.001, "sad"), (0.5, "uncertain"), (0.999, "happy"), (0.001, "sad"), (0.999, "happy")]
    ):
        assert smoother.update(time * 100.0, probability)[0] == label


def test_two_thirds_of_a_step_are_reached_after_the_time_constant() -> None:
    smoother = OneScore()
    smoother.update(0.0, 0.5)
    logit = 2.0
    smoothed = smoother.update(TIME_CONSTANT, 1 / (1 + math.exp(-logit)))[1]
    assert math.log(smoothed / (1 - smoothed)) == pytest.approx(logit * (1 - 1 / math.e))


@given(st.floats(0.05, 0.6), st.floats(0, 2 * math.pi))
def test_it_does_not_matter_how_often_one_looks(hertz: float, phase: float) -> None:
    """A P(happy) that swings once in two seconds or slower, seen 10 and 30 times a second."""

    def watch(rate: int) -> list[float]:
        smoother, smoothed = OneScore(), []
        for look in range(6 * rate):
            time = look / rate
            probability = 0.5 + 0.4 * math.sin(2 * math.pi * hertz * time + phase)
            smoothed.append(smoother.update(time, probability)[1])
        return smoothed

    assert watch(10) == pytest.approx(watch(30)[::3], abs=0.05)
