import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad.crops import fit_square
from happysad.dataset.load import load
from happysad.errors import DatasetError
from happysad.image import read_image


@pytest.fixture
def folder(faces: Path, tmp_path: Path) -> Path:
    """A copy of some faces that a test may change."""
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        for path in sorted((faces / name).iterdir())[:4]:
            shutil.copy(path, tmp_path / name)
    return tmp_path


def test_every_image_becomes_the_crop_that_prediction_would_see(folder: Path) -> None:
    dataset = load(folder, 40)
    assert dataset.crops.shape == (8, 40, 40, 3)
    assert dataset.crops.dtype == np.uint8
    assert dataset.thumbnails.shape == (8, 32, 32)
    assert dataset.labels.tolist() == [1] * 4 + [0] * 4
    for sample, crop in zip(dataset.samples, dataset.crops, strict=True):
        np.testing.assert_array_equal(crop, fit_square(read_image(sample.path), 40))


def test_crops_can_be_kept_in_a_file(folder: Path) -> None:
    store = folder / "cache" / "crops.npy"
    mapped, plain = load(folder, 32, store=store), load(folder, 32)
    assert isinstance(mapped.crops, np.memmap)
    np.testing.assert_array_equal(mapped.crops, plain.crops)
    assert load(folder, 32, store=store).crops.shape == plain.crops.shape


def test_unreadable_images_are_left_out_and_named(folder: Path) -> None:
    (folder / "happy" / "empty.png").touch()
    whole = (folder / "sad" / "face_00000.png").read_bytes()
    (folder / "happy" / "a_half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "sad" / "text.jpg").write_text("hello")
    dataset = load(folder, 32, store=folder / "crops.npy")
    assert [item.path.name for item in dataset.skipped] == ["a_half.png", "empty.png", "text.jpg"]
    assert dataset.skipped[1].reason.startswith("happy/empty.png: cannot be read")
    assert len(dataset.samples) == len(dataset.sha256) == len(dataset.crops) == 8
    # Names, labels and pixels of the rest still correspond.
    for sample, crop in zip(dataset.samples, dataset.crops, strict=True):
        np.testing.assert_array_equal(crop, fit_square(read_image(sample.path), 32))


def test_strict_refuses_unreadable_images_and_names_the_first(folder: Path) -> None:
    for number in range(5):
        (folder / "happy" / f"bad{number}.png").touch()
    with pytest.raises(DatasetError, match=r"5 images cannot be read: happy/bad0\.png.*and 2 more"):
        load(folder, 32, strict=True)


def test_the_same_file_under_both_labels_is_left_out_everywhere(folder: Path) -> None:
    shutil.copy(folder / "sad" / "face_00000.png", folder / "happy" / "z.png")
    shutil.copy(folder / "sad" / "face_00000.png", folder / "happy" / "a.png")
    dataset = load(folder, 32)
    left_out = [item.path.relative_to(folder).as_posix() for item in dataset.skipped]
    assert left_out == ["happy/a.png", "happy/z.png", "sad/face_00000.png"]
    assert len(dataset.samples) == 7


def test_a_class_of_which_nothing_can_be_read_is_an_error(folder: Path) -> None:
    for path in (folder / "sad").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="no sad image is left after 4 were skipped"):
        load(folder, 32)


def test_the_fingerprint_tells_contents_and_labels_not_names(folder: Path) -> None:
    before = load(folder, 32).fingerprint
    (folder / "sad" / "face_00000.png").rename(folder / "sad" / "renamed.png")
    assert load(folder, 48).fingerprint == before
    (folder / "sad" / "renamed.png").rename(folder / "happy" / "renamed.png")
    assert load(folder, 32).fingerprint != before


def test_a_disk_without_room_is_said_beforehand(folder: Path) -> None:
    with pytest.raises(DatasetError, match="GB left; free some"):
        load(folder, 2_000_000, store=folder / "crops.npy")


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve room")
def test_room_for_all_crops_is_taken_at_once(folder: Path) -> None:
    # Most cannot be read, and their crops are never written.
    for number in range(100):
        (folder / "happy" / f"empty-{number}.png").touch()
    store = folder / "crops.npy"
    load(folder, 64, store=store)
    assert store.stat().st_blocks * 512 >= store.stat().st_size > 100 * 64 * 64 * 3


def test_images_need_not_be_square(folder: Path) -> None:
    image = Image.new("RGB", (60, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    image.save(folder / "happy" / "a_wide.png")
    crop = load(folder, 16).crops[0]
    assert (crop[:, 1:-1] == (0, 0, 255)).all()
