import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageEnhance

from happysad.dataset.duplicates import near_duplicates
from happysad.dataset.load import load

SHARED = Path(__file__).parents[3] / "shared" / "data" / "fer2013"


def thumbnail(picture: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BICUBIC))


def compressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=40)
    return Image.open(file)


def changed_copies(picture: Image.Image) -> list[Image.Image]:
    return [
        compressed(picture),
        picture.resize((150, 150)).resize((48, 48)),
        ImageEnhance.Contrast(picture).enhance(0.6),
        ImageEnhance.Brightness(picture).enhance(1.2),
        picture.convert("L").convert("RGB"),
    ]


def test_recompressed_resized_and_relit_copies_are_found_and_strangers_are_not(
    faces: Path,
) -> None:
    images = [Image.open(path).convert("RGB") for path in sorted(faces.rglob("*.png"))[:40]]
    copies = [copy for image in images[:10] for copy in changed_copies(image)]
    pairs = near_duplicates(np.stack([thumbnail(image) for image in images + copies]))
    expected = {(index // 5, len(images) + index) for index in range(len(copies))}
    found = {(int(a), int(b)) for a, b in pairs}
    assert len(expected & found) >= 0.95 * len(expected)
    strangers = {(a, b) for a, b in found if b < len(images)}
    assert not strangers


def test_blank_images_are_duplicates() -> None:
    blank = np.stack([np.full((32, 32), grey, np.uint8) for grey in (0, 128, 255)])
    assert near_duplicates(blank).tolist() == [[0, 1], [0, 2], [1, 2]]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_have_no_duplicates(count: int) -> None:
    assert near_duplicates(np.zeros((count, 32, 32), np.uint8)).shape == (0, 2)


@pytest.mark.skipif(not SHARED.is_dir(), reason="FER2013 is not here")
def test_on_fer2013_hardly_any_two_near_duplicates_have_different_labels() -> None:
    dataset = load(SHARED / "public_test", 32)
    _, first = np.unique(dataset.sha256, return_index=True)
    pairs = near_duplicates(dataset.thumbnails[first])
    labels = dataset.labels[first]
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).sum() == 0
