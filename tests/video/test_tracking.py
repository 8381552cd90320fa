import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from happysad.image import RgbImage
from happysad.prediction import Face
from happysad.video.tracking import ShotDetector, Tracker

RATE = 30


def face(x: float, y: float = 100, side: float = 60) -> Face:
    """A face by its centre."""
    return Face((x - side / 2, y - side / 2, side, side), (), 0.9)


def test_two_who_cross_keep_their_numbers() -> None:
    """While one covers the other, only one face is detected."""
    tracker = Tracker()
    for frame in range(120):
        left, right = face(100 + 4 * frame, 100), face(580 - 4 * frame, 110)
        hidden = abs(left.box[0] - right.box[0]) < 40
        numbers, gone = tracker.follow(frame / RATE, [right] if hidden else [right, left])
        assert gone == []
        assert numbers == ([1] if hidden else [1, 2])


def test_numbers_follow_the_faces_not_their_order() -> None:
    tracker = Tracker()
    tracker.follow(0.0, [face(100), face(300), face(500)])

    assert tracker.follow(0.1, [face(500), face(101), face(299)])[0] == [3, 1, 2]


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_jittering_face_with_missed_frames_stays_one_person(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracker = Tracker()
    for frame in range(200):
        x, y = rng.normal((200, 100), 4)
        side = 60 * float(np.exp(rng.normal(0, 0.05)))
        found = [face(float(x), float(y), side)] if frame == 0 or rng.random() < 0.7 else []
        numbers, gone = tracker.follow(frame / RATE, found)
        assert numbers == [1] * len(found)
        assert gone == []


def test_who_was_away_for_over_a_second_is_a_new_person() -> None:
    tracker = Tracker()
    assert tracker.follow(0.0, [face(100)]) == ([1], [])
    left = [tracker.follow(frame / 10, [])[1] for frame in range(1, 20)]
    assert left == [[]] * 10 + [[1]] + [[]] * 8
    assert tracker.follow(2.0, [face(100)]) == ([2], [])


def test_who_was_away_for_less_is_not() -> None:
    tracker = Tracker()
    tracker.follow(0.0, [face(100), face(300)])
    for frame in range(1, 9):
        assert tracker.follow(frame / 10, [face(300)]) == ([2], [])
    assert tracker.follow(0.9, [face(300), face(105)]) == ([2, 1], [])


def test_frames_of_the_same_time_keep_the_track() -> None:
    tracker = Tracker()
    times = (0, 0.5, 0.5, 0.6, 0.7)

    assert [tracker.follow(time, [face(100)])[0] for time in times] == [[1]] * 5


def test_with_few_looks_one_missed_face_is_no_farewell() -> None:
    tracker = Tracker()
    assert tracker.follow(0.0, [face(100)])[0] == [1]
    assert tracker.follow(2.0, []) == ([], [])
    assert tracker.follow(4.0, [face(110)])[0] == [1]


@pytest.mark.parametrize("other", [face(400), face(100, side=200)], ids=["elsewhere", "larger"])
def test_a_face_that_cannot_be_the_same_is_another_person(other: Face) -> None:
    tracker = Tracker()
    tracker.follow(0.0, [face(100)])

    assert tracker.follow(1 / RATE, [other])[0] == [2]


boxes = st.builds(
    face, st.floats(-50, 700), st.floats(-50, 500), st.floats(5, 400, exclude_min=True)
)


@settings(max_examples=50)
@given(st.lists(st.lists(boxes, max_size=5), max_size=20), st.floats(0.01, 3))
def test_each_face_has_one_person_and_lost_tracks_never_return(
    frames: list[list[Face]], interval: float
) -> None:
    tracker, departed, known = Tracker(), set[int](), 0
    for i, faces in enumerate(frames):
        numbers, gone = tracker.follow(i * interval, faces)
        departed |= set(gone)
        new = sorted(number for number in numbers if number > known)
        assert len(set(numbers)) == len(faces)
        assert not departed & set(numbers)
        assert new == list(range(known + 1, known + 1 + len(new)))
        known += len(new)


def scene(seed: int) -> RgbImage:
    """Some large patches of colour, with noise."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (6, 8, 3)).repeat(40, axis=0).repeat(40, axis=1)
    return (patches + rng.integers(-8, 9, patches.shape)).clip(0, 255).astype(np.uint8)


def test_a_cut_is_seen() -> None:
    cuts = ShotDetector()
    seen = [cuts.is_shot_boundary(scene(seed)) for seed in (0, 0, 1, 1, 2)]
    assert seen == [False, False, True, False, True]


def test_movement_a_flash_and_a_fade_are_no_cuts() -> None:
    still = scene(0)
    moved = [still[:, shift : shift + 240] for shift in range(0, 80, 6)]
    flash = [still, (still // 2 + 127).astype(np.uint8), still]
    fade = [(still * part).astype(np.uint8) for part in np.linspace(1, 0, 12)]
    for frames in (moved, flash, fade, [np.zeros_like(still)] * 2):
        cuts = ShotDetector()
        assert not any(cuts.is_shot_boundary(frame) for frame in frames)


def test_frames_of_a_few_pixels_are_looked_at_too() -> None:
    cuts = ShotDetector()
    assert not cuts.is_shot_boundary(np.zeros((1, 1, 3), np.uint8))
    assert not cuts.is_shot_boundary(np.full((1, 1, 3), 255, np.uint8))
