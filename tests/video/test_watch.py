"""`watch` on real frames with the real detector."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from happysad.classifier import Precision
from happysad.dataset.synthetic import draw_scene
from happysad.detector import Detector
from happysad.image import RgbImage
from happysad.video.watch import Frame, watch


@pytest.fixture(scope="module")
def detector(model_files: dict[Precision, Path]) -> Detector:
    """Its model calls reddish faces happy and bluish ones sad."""
    return Detector(model_files["float32"])


@pytest.fixture(scope="module")
def portrait() -> RgbImage:
    """Reddish."""
    path = Path(mpl.get_data_path(), "sample_data", "grace_hopper.jpg")
    image = np.asarray(Image.open(path).resize((170, 200)))
    return (image * (1, 0.8, 0.6)).astype(np.uint8)


def frame(number: int, *pasted: tuple[RgbImage, int]) -> Frame:
    """A frame at 10 per second: images at given left edges, on a coloured background."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8).repeat(80, axis=0).repeat(120, axis=1)
    for picture, left in pasted:
        image[20 : 20 + picture.shape[0], left : left + picture.shape[1]] = picture
    return Frame(number / 10, number, image)


def test_a_moving_person_keeps_number_and_label(detector: Detector, portrait: RgbImage) -> None:
    (still,) = detector.predict(portrait)
    frames = [frame(number, (portrait, 10 + 8 * number)) for number in range(12)]

    moments = list(watch(iter(frames), detector))

    assert [(moment.time, moment.frame) for moment in moments] == [(n / 10, n) for n in range(12)]
    assert all(list(moment.persons) == [1] for moment in moments)
    assert {moment.persons[1].label for moment in moments} == {still.label} == {"happy"}
    assert moments[-1].persons[1].probability == pytest.approx(still.probability, abs=0.05)
    lefts = [moment.persons[1].face.box[0] for moment in moments]
    assert np.diff(lefts) == pytest.approx(8, abs=3)


def test_drawings_get_no_label_in_videos_either() -> None:
    scene = draw_scene([(1, 21)])

    results = list(watch([Frame(n / 10, n, scene) for n in range(5)], Detector()))

    (person,) = results[-1].persons.values()
    assert (person.label, person.scores.happy > 0.8) == ("uncertain", True)


def test_a_single_odd_frame_changes_no_label(detector: Detector, portrait: RgbImage) -> None:
    bluish = portrait[:, :, ::-1]
    assert detector.predict(bluish)[0].label == "sad"
    frames = [frame(n, (bluish if n == 6 else portrait, 100)) for n in range(12)]

    labels = [moment.persons[1].label for moment in watch(frames, detector)]

    assert labels == ["happy"] * 12


def test_a_change_of_expression_is_seen(detector: Detector, portrait: RgbImage) -> None:
    frames = [frame(n, (portrait if n < 5 else portrait[:, :, ::-1], 100)) for n in range(20)]

    moments = list(watch(frames, detector))

    assert {tuple(moment.persons) for moment in moments} == {(1,)}
    assert [moments[n].persons[1].label for n in (0, 4, 19)] == ["happy", "happy", "sad"]


def test_after_a_cut_everybody_is_new_and_the_others_have_left(
    detector: Detector, portrait: RgbImage
) -> None:
    elsewhere = frame(2, (portrait, 100)).image[:, ::-1].copy()
    elsewhere[:20] = 255
    frames = [frame(0, (portrait, 100)), frame(1, (portrait, 101)), Frame(0.2, 2, elsewhere)]

    first, second, third = watch(frames, detector)

    assert list(first.persons) == list(second.persons) == [1]
    assert list(third.persons) == [2]
    assert third.left == (1,)


def test_a_frame_without_faces_is_empty(detector: Detector) -> None:
    (moment,) = watch([frame(0)], detector)

    assert moment.persons == {}
    assert moment.left == ()


def test_a_sad_and_a_happy_person_keep_their_answers_side_by_side() -> None:
    detector = Detector()
    portraits = Path(__file__).parents[3] / "shared" / "data" / "portraits"
    if not portraits.is_dir():
        pytest.skip("the portraits are not here")
    images: list[RgbImage] = []
    for label in ("happy", "sad"):
        for path in sorted((portraits / label).iterdir()):
            image = np.asarray(Image.open(path).convert("RGB").resize((160, 180)))
            answers = detector.predict(image)
            if len(answers) == 1 and answers[0].label == label:
                images.append(image)
                break
    happy, sad = images
    frames = [frame(n, (happy, 10 + 3 * n), (sad, 300 - 3 * n)) for n in range(20)]

    moments = list(watch(frames, detector))

    for moment in moments:
        assert {n: person.label for n, person in moment.persons.items()} == {
            1: moments[0].persons[1].label,
            2: moments[0].persons[2].label,
        }
    by_place = sorted(moments[0].persons.values(), key=lambda person: person.face.box[0])
    assert [person.label for person in by_place] == ["happy", "sad"]
