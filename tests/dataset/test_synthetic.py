import hashlib
from pathlib import Path

import numpy as np
import pytest

from happysad.dataset.duplicates import near_duplicates
from happysad.dataset.load import load
from happysad.dataset.synthetic import draw_face, make_dataset
from happysad.errors import DatasetError
from happysad.image import read_image


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("size", [16, 64, 224])
def test_a_drawn_face_has_the_requested_size_and_follows_its_seed(label: int, size: int) -> None:
    face = draw_face(label, np.random.default_rng(5), size)
    assert face.shape == (size, size, 3)
    assert face.dtype == np.uint8
    np.testing.assert_array_equal(face, draw_face(label, np.random.default_rng(5), size))
    assert (face != draw_face(1 - label, np.random.default_rng(5), size)).any()


def test_a_dataset_is_balanced_varied_and_readable(faces: Path) -> None:
    dataset = load(faces, 64)
    assert dataset.labels.sum() == 30
    assert len(set(dataset.sha256)) == 60
    assert not dataset.skipped
    assert not len(near_duplicates(dataset.thumbnails))


def test_the_same_seed_draws_the_same_dataset(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_dataset(tmp_path / name, 4, seed, size=32)

    def digest(name: str) -> str:
        images = sorted((tmp_path / name).rglob("*.png"))
        pixels = b"".join(read_image(path).tobytes() for path in images)
        return hashlib.sha256(pixels).hexdigest()

    assert digest("a") == digest("b") != digest("c")


def test_nothing_is_drawn_into_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DatasetError, match="already exists"):
        make_dataset(tmp_path, 4)
    with pytest.raises(DatasetError, match="draw at least 2"):
        make_dataset(tmp_path / "new", 1)
