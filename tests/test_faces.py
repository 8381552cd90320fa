import io
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from happysad.crops import CROP_MARGIN, crop_faces
from happysad.dataset.synthetic import draw_face
from happysad.faces import FaceDetector
from happysad.image import RgbImage, open_image, read_image
from happysad.prediction import Face, Point

PORTRAITS = Path(__file__).parents[2] / "shared" / "data" / "portraits"
SIDE = 200

needs_portraits = pytest.mark.skipif(
    not PORTRAITS.is_dir(), reason="the portraits are not here: ../shared/data/portraits"
)


@cache
def drawing() -> RgbImage:
    return draw_face(1, np.random.default_rng(3), SIDE)


@cache
def hopper() -> RgbImage:
    """Matplotlib's image of Grace Hopper: one face, 210 of 600 pixels."""
    cbook = pytest.importorskip("matplotlib.cbook")
    return read_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def portrait(number: int) -> RgbImage:
    return read_image(sorted(PORTRAITS.rglob("*.jpg"))[number])


def find(image: RgbImage | bytes) -> list[Face]:
    return FaceDetector().detect(open_image(image))


def jpeg(image: RgbImage, orientation: int = 1) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(image).save(file, "JPEG", quality=92, exif=exif)
    return file.getvalue()


def enlarged(image: RgbImage, side: int) -> RgbImage:
    scale = side / max(image.shape)
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC))


def rolled(image: RgbImage, degrees: float) -> RgbImage:
    """Turn an image clockwise."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    )


def face_at(x: float, y: float, side: float, degrees: float = 0) -> Face:
    """A face whose crop is the square of that side around (x, y), rotated clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def place(across: float, down: float) -> Point:
        return x + side * (cos * across - sin * down), y + side * (sin * across + cos * down)

    features = ((-0.2, -0.1), (0.2, -0.1), (0, 0.1), (-0.15, 0.25), (0.15, 0.25))
    box = (x - side / 2, y - side / 2, side, side)
    return Face(
        tuple(value / CROP_MARGIN if i > 1 else value for i, value in enumerate(box)),  # type: ignore[arg-type]
        tuple(place(*feature) for feature in features),
        1.0,
    )


def gap(first: RgbImage, second: RgbImage) -> float:
    return float(np.abs(first.astype(np.float64) - second).mean())


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(260, 340),
    y=st.floats(260, 340),
    side=st.floats(60, 360),
    degrees=st.floats(-180, 180),
    size=st.sampled_from([32, 48, 96]),
)
def test_a_face_is_cut_out_upright_wherever_it_is(
    x: float, y: float, side: float, degrees: float, size: int
) -> None:
    matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2,) * 2, -degrees, side / SIDE)
    matrix[:, 2] += np.array([x, y]) - SIDE / 2
    small = cv2.GaussianBlur(drawing(), (0, 0), max(0.01, 0.4 * SIDE / side))
    scene = np.asarray(cv2.warpAffine(small, matrix, (600, 600), borderMode=cv2.BORDER_REFLECT_101))

    (crop,) = crop_faces(open_image(scene), [face_at(x, y, side, degrees)], size)

    expected = np.asarray(cv2.resize(drawing(), (size, size), interpolation=cv2.INTER_AREA))
    assert gap(crop, expected) < 9
    # Shifted by one pixel it fits worse: the position is exact to less than a pixel.
    shifted = [np.roll(expected, shift, axis=axis) for axis in (0, 1) for shift in (-1, 1)]
    assert gap(crop, expected) < min(gap(crop, other) for other in shifted)


def test_an_upright_square_of_the_requested_size_is_copied() -> None:
    scene = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    (crop,) = crop_faces(open_image(scene), [face_at(60, 40, 48)], 48)
    np.testing.assert_array_equal(crop, scene[16:64, 36:84])


@pytest.mark.parametrize("x", [0, 90])
@pytest.mark.parametrize("y", [0, 70])
def test_crops_are_mirrored_outside_the_image(x: float, y: float) -> None:
    scene = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    around = np.asarray(cv2.copyMakeBorder(scene, 60, 60, 60, 60, cv2.BORDER_REFLECT_101))
    inside, outside = face_at(x + 60, y + 60, 48), face_at(x, y, 48)
    np.testing.assert_array_equal(
        crop_faces(open_image(scene), [outside], 48), crop_faces(open_image(around), [inside], 48)
    )


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    x=st.floats(-50, 110),
    y=st.floats(-50, 110),
    side=st.floats(0, 400),
    degrees=st.floats(-180, 180),
)
def test_any_face_gives_a_crop(
    height: int, width: int, x: float, y: float, side: float, degrees: float
) -> None:
    scene = np.full((height, width, 3), 137, np.uint8)
    crops = crop_faces(open_image(scene), [face_at(x, y, side, degrees)] * 2, 24)
    assert crops.shape == (2, 24, 24, 3)
    assert (crops == 137).all()


def test_no_faces_no_crops() -> None:
    assert crop_faces(open_image(hopper()), [], 32).shape == (0, 32, 32, 3)


def test_a_fine_pattern_averages_out_in_a_small_crop() -> None:
    checks = (np.indices((800, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crops = crop_faces(
        open_image(checks), [face_at(400, 400, s, d) for s in (300, 517) for d in (0, 20)], 48
    )
    assert np.abs(crops.astype(int) - 127).max() < 25


@pytest.mark.parametrize("side", [90, 180, 700])
def test_a_crop_of_a_large_jpeg_is_as_sharp_as_of_all_its_pixels(side: int) -> None:
    image = enlarged(drawing(), 1600)
    face = face_at(800, 860, side)
    crop = crop_faces(open_image(jpeg(image)), [face], 96)
    assert gap(crop, crop_faces(open_image(image), [face], 96)) < 4


def test_a_face_is_found_with_its_landmarks() -> None:
    (face,) = find(hopper())
    left, top, width, height = face.box
    assert (left, top, width, height) == pytest.approx((175, 113, 175, 212), abs=12)
    assert 0.8 < face.confidence <= 1
    right_eye, left_eye, nose, right_corner, left_corner = face.landmarks
    assert left < right_eye[0] < nose[0] < left_eye[0] < left + width
    assert right_corner[0] < left_corner[0]
    assert top < left_eye[1] < nose[1] < left_corner[1] < top + height


def test_images_without_people_have_no_faces() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    for image in datasets.load_sample_images().images:
        assert find(image) == []
    assert find(np.full((300, 400, 3), 90, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    assert find(noise) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (1, 900), (5000, 2), (31, 33)])
def test_images_of_odd_shapes_are_searched(shape: tuple[int, int]) -> None:
    assert find(np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_has_the_same_faces_however_the_camera_was_held(
    orientation: int, as_stored: Callable[[Image.Image, int], Image.Image]
) -> None:
    turned = as_stored(Image.fromarray(hopper()), orientation)
    (face,) = find(jpeg(np.asarray(turned), orientation))
    (expected,) = find(hopper())
    assert face.box == pytest.approx(expected.box, abs=3)


def test_a_jpeg_decoded_small_has_its_faces_in_the_same_places() -> None:
    image = enlarged(hopper(), 3000)
    (face,), (expected,) = find(jpeg(image)), find(image)
    assert face.box == pytest.approx(expected.box, abs=0.03 * expected.box[3])
    assert np.array(face.landmarks) == pytest.approx(
        np.array(expected.landmarks), abs=0.03 * expected.box[3]
    )


@pytest.mark.parametrize("degrees", [-45, -30, -15, 15, 30, 45])
def test_a_tilted_head_is_found_and_its_crop_is_upright(degrees: float) -> None:
    image = open_image(rolled(hopper(), degrees))
    (face,) = FaceDetector().detect(image)
    (crop,) = crop_faces(image, [face], 96)
    (straight,) = crop_faces(open_image(hopper()), find(hopper()), 96)
    tilts = [rolled(straight, tilt) for tilt in range(-60, 61, 5)]
    likeness = [np.corrcoef(crop.ravel(), tilt.ravel())[0, 1] for tilt in tilts]
    assert abs(range(-60, 61, 5)[int(np.argmax(likeness))]) <= 15


@pytest.mark.parametrize("share", [1, 0.8])
@needs_portraits
def test_a_face_that_fills_the_frame_is_found(share: float) -> None:
    image = portrait(3)
    cut = int(len(image) * (1 - share) / 2)
    (face,) = find(enlarged(image[cut : len(image) - cut, cut : len(image) - cut], 1000))
    assert max(face.box[2:]) > 800


def test_a_face_cut_by_the_border_is_found() -> None:
    (whole,) = find(hopper())
    left, _, width, _ = whole.box
    (face,) = find(hopper()[:, int(left + 0.3 * width) :])
    assert face.box[0] < 0.1 * width


def test_small_faces_of_a_large_group_are_found() -> None:
    """Of 60 pixels in 12 million."""
    image = np.full((3000, 4000, 3), 120, np.uint8)
    scale = 60 / 212
    small = np.asarray(cv2.resize(hopper(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    height, width = small.shape[:2]
    places = [(300 + 700 * i, 400 + 600 * j) for i in range(5) for j in range(4)]
    for x, y in places:
        image[y : y + height, x : x + width] = small
    faces = find(jpeg(image))
    assert len(faces) == len(places)
    middles = np.array([(f.box[0] + f.box[2] / 2, f.box[1] + f.box[3] / 2) for f in faces])
    expected = np.array(places) + np.array([262, 219]) * scale
    apart = np.linalg.norm(middles[:, None] - expected, axis=2)
    assert apart.min(axis=0).max() < 12


def test_the_largest_face_comes_first() -> None:
    image = np.full((700, 1400, 3), 120, np.uint8)
    small = enlarged(hopper(), 300)
    image[50 : 50 + small.shape[0], 50 : 50 + small.shape[1]] = small
    image[50:650, 700:1212] = hopper()
    assert [round(face.box[2], -2) for face in find(image)] == [200, 100]


@needs_portraits
def test_one_face_is_found_in_nearly_every_portrait() -> None:
    face_detector = FaceDetector()
    paths = sorted(PORTRAITS.rglob("*.jpg"))[::4]
    counts = [len(face_detector.detect(open_image(path))) for path in paths]
    assert counts.count(1) >= 0.99 * len(counts)


def test_sixteen_threads_share_a_detector() -> None:
    face_detector = FaceDetector()
    images = [hopper()[:, ::-1], hopper(), hopper()[100:, :], hopper()[:500, 50:]] * 8
    expected = [face_detector.detect(open_image(image)) for image in images]
    with ThreadPoolExecutor(16) as pool:
        assert (
            list(pool.map(lambda image: face_detector.detect(open_image(image)), images))
            == expected
        )
