import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from happysad.dataset.load import Dataset, load
from happysad.dataset.scan import Sample
from happysad.dataset.split import read_manifest, split, write_manifest
from happysad.errors import DatasetError

Image = tuple[int, int, str | None]
"""Number of the content, label, group."""


def dataset_of(images: list[Image]) -> Dataset:
    """A dataset whose images with the same content number are copies; the others are noise."""
    folder = Path("/faces")
    return Dataset(
        folder=folder,
        samples=[
            Sample(folder / f"{number}.png", label, group)
            for number, (_, label, group) in enumerate(images)
        ],
        sha256=[hashlib.sha256(str(content).encode()).hexdigest() for content, _, _ in images],
        crops=np.zeros((len(images), 1, 1, 3), np.uint8),
        thumbnails=np.stack(
            [
                np.random.default_rng(content).integers(0, 256, (32, 32), np.uint8)
                for content, _, _ in images
            ]
        ),
        skipped=[],
    )


# A content has one label, as `load` ensures: here the parity of its number.
def both_classes(images: list[Image]) -> bool:
    return len({label for _, label, _ in images}) == 2


some_images = (
    st.lists(
        st.tuples(st.integers(0, 400), st.one_of(st.none(), st.integers(0, 30).map(str))),
        min_size=60,
        max_size=150,
    )
    .map(lambda rows: [(content, content % 2, group) for content, group in rows])
    .filter(both_classes)
)


@settings(max_examples=40, deadline=None)
@given(images=some_images, seed=st.integers(0, 5), shuffled=st.randoms(use_true_random=False))
def test_copies_and_groups_never_cross_and_order_does_not_matter(
    images: list[Image], seed: int, shuffled: random.Random
) -> None:
    try:
        validation = split(dataset_of(images), 0.3, seed)
    except DatasetError as error:
        # Groups may join all images of a class into one cluster.
        assert "cannot be split" in str(error)
        return
    for key in (0, 2):
        sides: dict[object, set[bool]] = {}
        for image, side in zip(images, validation.tolist(), strict=True):
            if image[key] is not None:
                sides.setdefault(image[key], set()).add(side)
        assert all(len(found) == 1 for found in sides.values())

    order = list(range(len(images)))
    shuffled.shuffle(order)
    again = split(dataset_of([images[index] for index in order]), 0.3, seed)
    np.testing.assert_array_equal(again, validation[order])


@settings(max_examples=40, deadline=None)
@given(
    sad=st.integers(2, 150),
    happy=st.integers(2, 150),
    fraction=st.floats(0.1, 0.5),
    seed=st.integers(0, 100),
)
def test_each_class_gets_its_share_and_is_on_both_sides(
    sad: int, happy: int, fraction: float, seed: int
) -> None:
    dataset = dataset_of([(number, int(number < happy), None) for number in range(sad + happy)])
    validation = split(dataset, fraction, seed)
    for label, total in ((0, sad), (1, happy)):
        chosen = int(validation[dataset.labels == label].sum())
        assert 0 < chosen < total
        assert abs(chosen - total * fraction) <= 1


def test_another_seed_gives_another_split() -> None:
    dataset = dataset_of([(number, number % 2, None) for number in range(80)])
    np.testing.assert_array_equal(split(dataset, seed=3), split(dataset, seed=3))
    assert (split(dataset, seed=3) != split(dataset, seed=4)).any()


def test_the_split_of_known_contents_is_the_same_on_every_machine() -> None:
    dataset = dataset_of([(number, number % 2, None) for number in range(20)])
    assert np.flatnonzero(split(dataset)).tolist() == [5, 7, 10, 12]


def test_near_duplicates_stay_together(faces: Path) -> None:
    dataset = load(faces, 32)
    lighter = np.clip(dataset.thumbnails.astype(int) + 12, 0, 255).astype(np.uint8)
    doubled = Dataset(
        folder=faces,
        samples=dataset.samples * 2,
        sha256=[*dataset.sha256, *(digest[::-1] for digest in dataset.sha256)],
        crops=np.concatenate([dataset.crops] * 2),
        thumbnails=np.concatenate([dataset.thumbnails, lighter]),
        skipped=[],
    )
    validation = split(doubled)
    count = len(dataset.samples)
    np.testing.assert_array_equal(validation[:count], validation[count:])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([(0, 0, None), (1, 1, None), (3, 1, None)], "all sad images would go to training"),
        ([(n, n % 2, "one person") for n in range(10)], "cannot be split"),
        ([(0, 0, None), (0, 0, None), (1, 1, None), (3, 1, None)], "cannot be split"),
    ],
)
def test_a_side_without_a_class_is_refused(images: list[Image], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        split(dataset_of(images))


@pytest.mark.parametrize("groups", [[(3, 5), (5, 3), (4, 4)], [(10, 10), (10, 10)]])
def test_a_few_people_can_be_split(groups: list[tuple[int, int]]) -> None:
    for first in range(0, 1000, 100):
        images: list[Image] = []
        for number, counts in enumerate(groups):
            for label, count in enumerate(counts):
                images += [(first + len(images) + i, label, f"{number}") for i in range(count)]
        validation = split(dataset_of(images))
        sides = {(label, side) for (_, label, _), side in zip(images, validation, strict=True)}
        assert len(sides) == 4, "both classes are on both sides"
        people = {(group, side) for (_, _, group), side in zip(images, validation, strict=True)}
        assert len(people) == len(groups), "nobody is on both"


def test_the_manifest_brings_the_split_back(tmp_path: Path) -> None:
    dataset = dataset_of([(n, n % 2, f"person, {n // 2}" if n % 3 else None) for n in range(40)])
    odd = Sample(Path("/faces/förmig/笑 \udcff,\n.png"), dataset.samples[0].label, None)
    dataset.samples[0] = odd
    validation = split(dataset)
    path = tmp_path / "run" / "split.csv"
    write_manifest(path, dataset, validation)
    rows = read_manifest(path)
    assert rows[0].path == "förmig/笑 \udcff,\n.png"
    assert [row.group for row in rows] == [sample.group for sample in dataset.samples]
    assert [row.sha256 for row in rows] == dataset.sha256
    assert [row.label for row in rows] == [dataset.classes[label] for label in dataset.labels]
    assert [row.shares for row in rows] == [tuple(share) for share in dataset.shares.tolist()]
    assert [row.validation for row in rows] == validation.tolist()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"path,label\na.png,happy\n", b"path,label,split,sha256,group\na,glad,x,0,\n"]
)
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "split.csv"
    with pytest.raises(DatasetError, match="cannot be read"):
        read_manifest(path)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="not a split of happysad's"):
        read_manifest(path)
