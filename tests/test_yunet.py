import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad.dataset.synthetic import draw_face
from happysad.image import RgbImage, read_image
from happysad.released import FACES, FOLDER
from happysad.yunet import MAX_SIDE, YuNet, suppress_overlaps

SHARED = Path(__file__).parents[2] / "shared"
ONNX = SHARED / "weights" / "face_detection_yunet_2023mar.onnx"


def images() -> list[RgbImage]:
    """Real and drawn faces in images of the shapes of canvases."""
    cbook = pytest.importorskip("matplotlib.cbook")
    hopper = Image.fromarray(read_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
    found = [np.asarray(hopper.resize(size)) for size in ((256, 320), (480, 640), (160, 160))]
    found.append(np.tile(np.asarray(hopper.resize((128, 160))), (4, 5, 1)))
    for seed in range(4):
        drawn = np.full((320, 320, 3), 200, np.uint8)
        drawn[60:220, 80:240] = draw_face(seed % 2, np.random.default_rng(seed), 160)
        found.append(drawn)
    portraits = sorted((SHARED / "data" / "portraits").rglob("*.jpg"))[::75]
    return found + [read_image(path) for path in portraits]


@pytest.mark.skipif(
    not ONNX.is_file(), reason="the original network is not here: ../shared/weights"
)
def test_detections_equal_those_of_opencv_with_the_original_network() -> None:
    cv2 = pytest.importorskip("cv2")
    yunet, faces = YuNet(), 0
    for image in images():
        height, width = image.shape[:2]
        original = cv2.FaceDetectorYN_create(str(ONNX), "", (width, height), 0.3, 0.3, 5000)
        _, expected = original.detect(np.ascontiguousarray(image[..., ::-1]))
        rows = yunet.detect(image, 0.3)
        # OpenCV clips or orders some detections differently whose scores are almost equal.
        confident = [row for row in ([] if expected is None else expected) if row[14] > 0.35]
        assert len(confident) <= len(rows)
        for row in confident:
            assert np.abs(rows - row).max(axis=1).min() < 0.01
        faces += len(confident)
    assert faces >= 28


def test_detections_hardly_depend_on_the_canvas() -> None:
    image, yunet = images()[0], YuNet()
    (expected,) = yunet.detect(image, 0.6)
    for height, width in ((320, 320), (384, 256), (450, 400), (600, 400), (MAX_SIDE, MAX_SIDE)):
        padded = np.zeros((height, width, 3), np.uint8)
        padded[:320, :256] = image
        (row,) = yunet.detect(padded, 0.6)
        np.testing.assert_allclose(row, expected, atol=1.5)


def test_the_detector_may_be_pickled() -> None:
    image, yunet = images()[0], YuNet()
    again = pickle.loads(pickle.dumps(yunet))
    np.testing.assert_array_equal(again.detect(image, 0.3), yunet.detect(image, 0.3))


def test_overlapping_detections_are_suppressed() -> None:
    rows = np.zeros((4, 15), np.float32)
    rows[:, :4] = [(0, 0, 10, 10), (1, 0, 10, 10), (100, 0, 10, 10), (5, 5, 10, 10)]
    rows[:, 14] = (0.7, 0.9, 0.8, 0.6)
    np.testing.assert_array_equal(suppress_overlaps(rows), rows[[1, 2, 3]])
    assert len(suppress_overlaps(rows[:0])) == 0


def test_the_file_carries_its_contract_and_licence() -> None:
    with zipfile.ZipFile(FOLDER / FACES) as archive:
        assert json.loads(archive.read("faces.json"))["strides"] == [8, 16, 32]
        assert b"MIT License" in archive.read("LICENSE")
