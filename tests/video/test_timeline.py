import math

import numpy as np
import pytest

from happysad.prediction import Face, Label, Prediction, Scores
from happysad.video.timeline import Curves, Timeline, clock
from happysad.video.watch import FrameResult


def moment(frame: int, probabilities: dict[int, float], left: tuple[int, ...] = ()) -> FrameResult:
    """At 10 frames a second; ``{1: 0.9}`` is person 1 with P(happy) 0.9."""
    persons = {}
    for number, probability in probabilities.items():
        label: Label = "happy" if probability > 0.6 else "sad" if probability < 0.4 else "uncertain"
        face = Face((frame, 0, 10, 10), (), 0.9)
        persons[number] = Prediction(label, Scores(probability, 1 - probability), face)
    return FrameResult(frame / 10, frame, persons, left)


MOMENTS = [
    moment(0, {1: 0.9}),
    moment(1, {1: 0.8, 2: 0.1}),
    moment(2, {2: 0.2}),
    moment(3, {1: 0.5, 2: 0.2}),
    moment(4, {1: 0.1}, left=(2,)),
]


def test_events_are_the_changes_and_nothing_else() -> None:
    timeline = Timeline()
    events = [event for each in MOMENTS for event in timeline.add(each)]
    events += timeline.end()

    told = [(e.time, e.frame, e.person, e.kind, e.prediction.label) for e in events]
    assert told == [
        (0.0, 0, 1, "appears", "happy"),
        (0.1, 1, 2, "appears", "sad"),
        (0.3, 3, 1, "changes", "uncertain"),
        (0.3, 3, 2, "leaves", "sad"),
        (0.4, 4, 1, "changes", "sad"),
        (0.4, 4, 1, "leaves", "sad"),
    ]
    # A person who leaves is reported as last seen.
    assert events[3].prediction.face.box[0] == 3


def test_each_person_is_summed_up() -> None:
    timeline = Timeline()
    for each in MOMENTS:
        list(timeline.add(each))

    one, two = timeline.persons[1], timeline.persons[2]
    assert (one.first, one.last) == (0.0, 0.4)
    assert [one.share(label) for label in ("happy", "uncertain", "sad")] == [0.5, 0.25, 0.25]
    assert one.probability == pytest.approx(0.575)
    assert (two.first, two.last, two.share("sad")) == (0.1, 0.3, 1.0)


def test_a_curve_has_the_means_and_gaps_where_a_person_was_away() -> None:
    curves = Curves()
    for frame in range(100):
        here = frame < 40 or frame >= 60
        curves.add(moment(frame, {1: 0.25 if frame < 40 else 0.75} if here else {}))

    times, values = curves.curve(1)

    assert np.isnan(times).sum() == np.isnan(values).sum() == 1
    (gap,) = np.flatnonzero(np.isnan(times))
    assert values[:gap] == pytest.approx(0.25)
    assert values[gap + 1 :] == pytest.approx(0.75)
    assert times[gap - 1] < 4 < 6 < times[gap + 1]
    assert len(times) < 50


def test_the_points_of_a_short_animation_are_within_it() -> None:
    curves = Curves()
    for frame in (0, 1):
        curves.add(moment(frame, {1: 0.5}))

    times, values = curves.curve(1)

    assert (times.tolist(), values.tolist()) == ([0.05], [0.5])


def test_rare_looks_leave_no_gaps() -> None:
    curves = Curves()
    for frame in range(0, 300, 30):
        curves.add(moment(frame, {1: 0.5}))

    assert not np.isnan(curves.curve(1)[0]).any()


def test_curves_of_any_length_have_a_bounded_number_of_points() -> None:
    curves = Curves()
    curves.LIMIT = 100  # type: ignore[misc]
    for frame in range(20_000):
        curves.add(moment(frame, {1: math.sin(frame / 3000) ** 2, 2: 0.5}))

    (times, values), (other, _) = curves.curve(1), curves.curve(2)

    assert 25 <= len(times) <= 100
    assert len(times) + len(other) <= 100
    assert values == pytest.approx(np.sin(times / 300) ** 2, abs=0.06)


def test_those_seen_longest_are_drawn() -> None:
    curves = Curves()
    for frame in range(100):
        seen = {number: 0.5 for number in range(1, 6) if frame < 10 * number}
        curves.add(moment(frame, seen))

    assert curves.persons(3) == [3, 4, 5]
    assert curves.persons(9) == [1, 2, 3, 4, 5]
    assert curves.persons(9, shortest=2.5) == [3, 4, 5]
    assert len(curves) == 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (5.04, "0:05"), (61.5, "1:01.5"), (59.98, "1:00"), (7205, "2:00:05")],
)
def test_times_are_written_as_players_do(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_persons_in_few_frames_are_seen_as_long_as_they_stay() -> None:
    curves = Curves()
    for frame in (0, 20, 40):
        curves.add(moment(frame, {1: 0.5}))
    curves.add(moment(60, {2: 0.5}))
    assert curves.persons(9, shortest=1.0) == [1]
