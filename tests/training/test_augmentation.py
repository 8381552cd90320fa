import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from happysad.dataset.synthetic import draw_face
from happysad.training.augmentation import augment
from happysad.training.batches import batches
from happysad.training.recipe import Augmentation, read_recipe

FACE = draw_face(1, np.random.default_rng(0), 48)
EVERYTHING = Augmentation(
    rotation=180,
    zoom=0.9,
    translation=0.5,
    flip=1,
    brightness=1,
    contrast=1,
    grey=1,
    blur=1,
    low_resolution=1,
    jpeg=1,
    noise=1,
    occlusion=1,
)


@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 47, 96]))
def test_a_varied_crop_is_still_a_crop_and_the_seed_decides_it(seed: int, size: int) -> None:
    crop = draw_face(0, np.random.default_rng(1), size)
    before = crop.copy()
    first = augment(crop, EVERYTHING, np.random.default_rng(seed))
    again = augment(crop, EVERYTHING, np.random.default_rng(seed))
    assert first.shape == crop.shape and first.dtype == np.uint8
    assert (first == again).all()
    assert (crop == before).all(), "the dataset itself must not change"


def test_augmentation_without_transformations_changes_nothing() -> None:
    assert (augment(FACE, Augmentation(), np.random.default_rng(0)) == FACE).all()


def test_flip_is_horizontal_with_and_without_a_rotation() -> None:
    flipped = augment(FACE, Augmentation(flip=1), np.random.default_rng(0))
    assert (flipped == FACE[:, ::-1]).all()
    nearly = augment(FACE, Augmentation(flip=1, rotation=1e-9), np.random.default_rng(0))
    assert np.abs(nearly.astype(int) - flipped).mean() < 1


def test_colours_keep_their_places() -> None:
    red = np.zeros((48, 48, 3), np.uint8)
    red[..., 0] = 200
    varied = augment(red, Augmentation(rotation=20, jpeg=1, blur=1), np.random.default_rng(0))
    assert varied[..., 0].mean() > 150 and varied[..., 2].mean() < 50


def test_an_epoch_holds_every_crop_once_and_each_epoch_is_another() -> None:
    crops = np.arange(50, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    indices = np.arange(5, 48)

    def epoch(number: int) -> list[int]:
        seen = []
        for batch, chosen in batches(
            crops, indices, batch_size=8, augmentation=Augmentation(), seed=3, epoch=number
        ):
            assert (batch[:, 0, 0, 0] == chosen).all()
            seen += chosen.tolist()
        return seen

    assert sorted(epoch(1)) == indices.tolist()
    assert epoch(1) == epoch(1) != epoch(2)


def test_how_crops_are_varied_does_not_depend_on_the_batch_size() -> None:
    crops = np.stack([draw_face(i % 2, np.random.default_rng(i), 32) for i in range(12)])
    how = read_recipe("fine-tune").augmentation

    def varied(batch_size: int) -> dict[int, bytes]:
        made = batches(
            crops, np.arange(12), batch_size=batch_size, augmentation=how, seed=1, epoch=4
        )
        return {
            int(i): crop.tobytes() for batch, at in made for i, crop in zip(at, batch, strict=True)
        }

    assert varied(3) == varied(12)
