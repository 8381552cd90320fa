"""Import of votes with a dataset."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad.dataset.annotations import read_annotations
from happysad.dataset.importers import import_dataset
from happysad.dataset.scan import scan
from happysad.errors import DatasetError


def write(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four photos: anna/1.png and bert/1.png are happy, anna/2.png and bert/3.png sad."""
    rows: list[tuple[str, str]] = [("path", "label")]
    for i, (name, label) in enumerate(
        (("anna/1", "happy"), ("bert/1", "happy"), ("anna/2", "sad"), ("bert/3", "sad"))
    ):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 40, 3), 50 * i, np.uint8)).save(path)
        rows.append((f"{name}.png", label))
    return write(tmp_path / "source.csv", rows)


def shares(out: Path) -> dict[str, tuple[float, ...] | None]:
    folder = out / "training"
    return {
        sample.path.relative_to(folder).as_posix(): sample.shares
        and tuple(round(share, 3) for share in sample.shares)
        for sample in scan(folder)
    }


def test_counts_are_matched_by_path(source: Path, tmp_path: Path) -> None:
    votes = write(
        tmp_path / "votes.csv",
        [
            ("Image", "happy", "happiness", "sad", "neutral", "comment"),
            ("anna/1.png", 8, 1, 0, 1, "smile"),
            (r"bert\1.png", 0, "", 5, 5, ""),
            ("other/9.png", 1, 0, 0, 0, ""),
            ("bert/3.png", "", "", "", "", "not judged"),
        ],
    )
    done = import_dataset(source, tmp_path / "out", votes=votes)
    assert done.voted == 2
    assert shares(tmp_path / "out") == {
        "happy/1.png": (0.0, 0.9, 0.1),
        "happy/1-2.png": (0.5, 0.0, 0.5),
        "sad/2.png": None,
        "sad/3.png": None,
    }


def test_judgements_are_counted(source: Path, tmp_path: Path) -> None:
    rows = [("path", "annotator", "label"), ("2.png", "x", "sad"), ("2.png", "y", "Sadness")]
    votes = write(tmp_path / "votes.csv", [*rows, ("2.png", "z", "tired"), ("3.png", "x", "sad")])
    done = import_dataset(source, tmp_path / "out", votes=votes)
    assert done.voted == 2
    found = shares(tmp_path / "out")
    assert found["sad/2.png"] == (0.667, 0.0, 0.333)
    assert found["sad/3.png"] == (1.0, 0.0, 0.0)


def test_votes_of_ferplus_follow_the_rows_of_fer2013(tmp_path: Path) -> None:
    pixels = " ".join(["0"] * 2303 + ["9"])
    more = " ".join(["0"] * 2303 + ["8"])
    source = write(
        tmp_path / "fer2013.csv",
        [("emotion", "pixels", "Usage"), (3, pixels, "Training"), (4, more, "Training")],
    )
    votes = write(
        tmp_path / "fer2013new.csv",
        [
            ("Usage", "Image name", "neutral", "happiness", "sadness", "unknown", "NF"),
            ("Training", "fer0000000.png", 2, 8, 0, 0, 0),
            ("Training", "fer0000001.png", 5, 0, 4, 1, 0),
            ("Training", "", 0, 0, 0, 0, 10),
        ],
    )
    done = import_dataset(source, tmp_path / "out", votes=votes)
    assert done.voted == 2
    assert sorted(shares(tmp_path / "out").values(), key=str) == [
        (0.0, 0.8, 0.2),
        (0.444, 0.0, 0.556),
    ]


def test_images_may_have_the_names_of_ferplus(tmp_path: Path) -> None:
    rows = [("path", "label")]
    for number, label in enumerate(("happy", "sad")):
        name = f"fer{number:07d}.png"
        Image.fromarray(np.full((40, 40, 3), 50 * number, np.uint8)).save(tmp_path / name)
        rows.append((name, label))
    votes = [("Image name", "happiness", "sadness"), ("fer0000000.png", 4, 1)]
    source = write(tmp_path / "source.csv", rows)
    import_dataset(source, tmp_path / "out", votes=write(tmp_path / "fer2013new.csv", votes))
    assert shares(tmp_path / "out") == {
        "happy/fer0000000.png": (0.2, 0.8, 0.0),
        "sad/fer0000001.png": None,
    }


@pytest.mark.parametrize(
    "rows",
    [
        [("path", "happy", "sad", "unknown", "NF"), ("2.png", 1, 3, 0, 0), ("3.png", 0, 0, 3, 7)],
        [("path", "label"), *[("2.png", "sad")] * 3, ("2.png", "happy"), ("3.png", "unknown")],
    ],
)
def test_images_that_nobody_judged_have_no_votes(
    source: Path, tmp_path: Path, rows: list[tuple[object, ...]]
) -> None:
    done = import_dataset(source, tmp_path / "out", votes=write(tmp_path / "votes.csv", rows))
    assert done.voted == 1
    found = shares(tmp_path / "out")
    assert (found["sad/2.png"], found["sad/3.png"]) == ((0.75, 0.25, 0), None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("name", "happy"), ("a", 1)], "a column 'path' is needed"),
        ([("path", "cheerful"), ("anna/1.png", 1)], "no column of votes for happy or sad"),
        ([("path", "happy"), ("anna/1.png", -1)], "line 2: happy is '-1'"),
        ([("path", "happy"), ("anna/1.png", "inf")], "line 2: happy is 'inf'"),
        ([("path", "happy"), ("2.png", 1), ("3.png", 2), ("9.png", "3x")], "line 4: happy is '3x'"),
        ([("path", "happy"), ("1.png", 1)], "line 2: '1.png' matches 2 images"),
        ([("path", "happy"), ("2.png", 1), ("anna/2.png", 1)], "line 3: a second row for"),
        ([("path", "happy"), ("9.png", 1)], "no row matches an image"),
        ([("path", "happy", "age"), ("2.png", 1, 34)], "column 'age' has numbers and is not a"),
        ([("", "path", "happy"), (0, "2.png", 1)], "column '' has numbers"),
        ([("path", "label"), ("2.png", "")], "line 2: no label"),
        (
            [("path", "annotator", "label"), ("2.png", "x", "sad"), ("2.png", "x", "happy")],
            "line 3: 'x' judged 2.png before, on line 2",
        ),
    ],
)
def test_bad_votes_are_refused_by_line(
    source: Path, tmp_path: Path, rows: list[tuple[object, ...]], message: str
) -> None:
    votes = write(tmp_path / "votes.csv", rows)
    with pytest.raises(DatasetError, match=message):
        import_dataset(source, tmp_path / "out", votes=votes)
    assert not (tmp_path / "out").exists()


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="a column 'path' is needed"):
        read_annotations(write(tmp_path / "votes.csv", [("path", "happy")]))


@pytest.mark.parametrize("suffix", ["avif", "jp2", "heic"])
def test_formats_of_phones_are_imported(tmp_path: Path, suffix: str) -> None:
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    rows = [("path", "label")]
    for i, label in enumerate(("happy", "sad")):
        Image.fromarray(np.full((64, 64, 3), 90 * i, np.uint8)).save(tmp_path / f"{i}.{suffix}")
        rows.append((f"{i}.{suffix}", label))
    done = import_dataset(write(tmp_path / "source.csv", rows), tmp_path / "out")
    assert done.counts.total() == 2 and not done.bad
    assert {path.suffix for path in (tmp_path / "out").rglob("*.*")} == {f".{suffix}"}
