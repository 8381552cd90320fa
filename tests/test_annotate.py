from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from happysad.annotate import COLOURS, annotate
from happysad.prediction import Face, Label, Prediction, Scores

Image = npt.NDArray[np.uint8]


def prediction(
    box: tuple[float, float, float, float], label: Label = "happy", probability: float = 0.98
) -> Prediction:
    return Prediction(label, Scores(probability, 1 - probability), Face(box, (), 0.9))


def grey(width: int, height: int, value: int = 128) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def painted(image: Image, label: Label) -> Image:
    """Where an image has the colour of a label, ``bool [height, width]``."""
    return np.asarray((image == COLOURS[label]).all(axis=2))


def test_the_image_itself_is_unchanged() -> None:
    image = grey(640, 480)
    image.flags.writeable = False

    drawn = annotate(image, [prediction((200, 150, 120, 160))])

    assert (image == 128).all()
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (annotate(image, []) == image).all()


@pytest.mark.parametrize("label", list(COLOURS))
@pytest.mark.parametrize("background", [0, 255])
def test_each_label_has_its_colour_its_box_and_its_letters(label: Label, background: int) -> None:
    image = grey(640, 480, background)

    drawn = annotate(image, [prediction((200, 150, 120, 160), label)])

    seen = painted(drawn, label)
    for edge in (seen[150:312, 200:206], seen[150:312, 314:320]):
        assert edge.any(axis=1).mean() > 0.95
    for edge in (seen[150:156, 200:320], seen[304:310, 200:320]):
        assert edge.any(axis=0).mean() > 0.95
    # The face stays visible; the plate is above it, with black letters.
    assert (drawn[160:300, 210:310] == background).all()
    plate = drawn[:150][seen[:150].any(axis=1)]
    assert (plate.max(axis=2) < 40).sum() > 50


def test_the_colours_differ_in_more_than_hue_from_letters() -> None:
    # WCAG 2.2 asks for a contrast of 7 to 1 at its strictest.
    for colour in COLOURS.values():
        linear = [
            (c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in colour
        ]
        luminance = np.dot(linear, [0.2126, 0.7152, 0.0722])
        assert (luminance + 0.05) / 0.05 > 7


def test_lines_and_text_scale_with_the_image() -> None:
    small = annotate(grey(640, 480), [prediction((200, 150, 120, 160))])
    large = annotate(grey(4000, 3000), [prediction((1250, 940, 750, 1000))])

    def height(drawn: Image, top: int) -> int:
        return int(painted(drawn, "happy")[:top].any(axis=1).sum())

    assert height(large, 935) > 5 * height(small, 148) > 5 * 10


def test_plates_of_neighbours_do_not_cover_one_another() -> None:
    image = grey(800, 300)
    faces = [prediction((20 + 65 * i, 120, 60, 70), "uncertain", 0.5) for i in range(10)]

    alone = [painted(annotate(image, [face]), "uncertain").sum() for face in faces]
    together = painted(annotate(image, faces), "uncertain").sum()

    assert together > 0.95 * sum(alone)


def test_a_name_is_written_before_the_label() -> None:
    image, face = grey(640, 480), prediction((200, 150, 120, 160))

    without = painted(annotate(image, [face]), "happy")[:145].any(axis=0).sum()
    named = painted(annotate(image, [face], ["person 3"]), "happy")[:145].any(axis=0).sum()

    assert named > 1.5 * without


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.lists(
        st.tuples(
            st.tuples(*[st.floats(-200, 200)] * 2, *[st.floats(0, 300)] * 2),
            st.sampled_from(["happy", "sad", "uncertain"]),
            st.floats(0, 1),
        ),
        max_size=4,
    ),
)
def test_any_box_in_any_image_can_be_drawn(width: int, height: int, faces: list[Any]) -> None:
    drawn = annotate(grey(width, height), [prediction(*face) for face in faces])

    assert drawn.shape == (height, width, 3)


@pytest.mark.parametrize("label", list(COLOURS))
def test_the_label_fits_into_an_image_of_48_pixels(label: Label) -> None:
    drawn = annotate(grey(48, 48), [prediction((10, 10, 28, 34), label)])

    assert painted(drawn, label)[:10].any()
    assert (drawn[:, -1].max(axis=1) > 60).all()  # no letter is cut off


def test_a_face_beyond_the_border_has_no_box() -> None:
    for box in ((200, -90, 120, 80), (200, 490, 120, 80), (-130, 200, 120, 80)):
        drawn = annotate(grey(640, 480), [prediction(box)])
        # Only its caption is drawn.
        assert (drawn != 128).any(axis=2).mean() < 0.02
