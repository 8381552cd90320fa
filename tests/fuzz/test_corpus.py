"""Every kind of broken image has the expected result."""

import io
import warnings

import numpy as np
import pytest
import seeds
from corpus import corpus, outcomes
from PIL import Image

from happysad.errors import ImageError
from happysad.image import read_image

# Cut off or swapped, a file may still be whole enough: an animation's first frame, a comment less.
MAY_BE_READ = ("cut off", "beginning", "themselves", "500 MB")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_images_are_refused_or_read_cheaply() -> None:
    for kind, (was_read, refused, seconds, megabytes) in outcomes().items():
        assert seconds < 2, kind
        assert megabytes < 500, kind
        if "garbage" in kind:
            assert not refused, kind
        elif not any(word in kind for word in MAY_BE_READ):
            assert not was_read, kind


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_an_image_with_damaged_exif_is_shown_as_stored(form: str) -> None:
    image = Image.open(io.BytesIO(seeds.images()[5])).convert("RGB")
    file = io.BytesIO()
    image.save(file, form, exif=b"Exif\0\0garbage and more", quality=95)
    assert np.abs(read_image(file.getvalue()) - np.asarray(image, int)).mean() < 20


def test_the_corpus_holds_every_kind() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kinds = [kind for kind, _ in corpus()]
    assert len(kinds) > 2500
    assert len(set(kinds)) == 13


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_truncated_images_are_complete_or_refused() -> None:
    were_read = 0
    for content in seeds.images():
        whole = read_image(content)
        for percent in range(1, 100):
            try:
                cut = read_image(content[: len(content) * percent // 100])
            except ImageError:
                continue
            were_read += 1
            np.testing.assert_array_equal(cut, whole)
    assert were_read
