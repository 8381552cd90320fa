import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from happysad.dataset.importers import import_dataset, parse_labels
from happysad.dataset.scan import scan
from happysad.errors import DatasetError
from happysad.evaluation.slices import read_column
from happysad.image import read_image

SHARED = Path(__file__).parents[3] / "shared" / "data" / "fer2013"
ONE_GREY = " ".join(["120"] * 48 * 48)


def image(value: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(file, form)
    return file.getvalue()


def write_csv(path: Path, header: str, rows: Iterable[Iterable[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def write_parquet(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[object],
    names: list[str] | None = None,
) -> Path:
    """Write a file as Hugging Face's `datasets` does."""
    rows = [{"bytes": content, "path": f"f{n}.bin"} for n, content in enumerate(images)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(rows, kind), "label": list(labels)})
    if names is not None:
        features = {
            "image": {"_type": "Image"},
            "label": {"names": names, "_type": "ClassLabel"},
        }
        about = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": about})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=2)
    return path


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_fer2013_csv_keeps_pixels_and_official_splits(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (48, 48))
    noise = " ".join(str(level) for level in levels.ravel())
    rows = [
        (3, noise, "Training"),
        (4, ONE_GREY, "PublicTest"),
        (0, ONE_GREY, "Training"),
        (6, ONE_GREY, "Training"),
        (3, ONE_GREY, "PrivateTest"),
    ]
    source = write_csv(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    done = import_dataset(source, tmp_path / "out")
    assert files(tmp_path / "out") == [
        "private_test/happy/000005.png",
        "public_test/sad/000002.png",
        "training/happy/000001.png",
    ]
    assert done.counts["public_test", "sad"] == 1
    assert done.left_out == {"angry": 1, "neutral": 1}
    assert not done.bad
    image = read_image(tmp_path / "out" / "training" / "happy" / "000001.png")
    np.testing.assert_array_equal(image, np.stack([levels] * 3, axis=2))


def test_the_competitions_own_column_names_are_understood(tmp_path: Path) -> None:
    # icml_face_data.csv has another order and blanks before the names.
    source = write_csv(
        tmp_path / "icml_face_data.csv", "emotion, Usage, pixels", [(4, "Training", ONE_GREY)]
    )
    import_dataset(source, tmp_path / "out")
    assert files(tmp_path / "out") == ["training/sad/000001.png"]


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ("", "0 pixels are not a square"),
        ("1 2 3", "3 pixels are not a square"),
        ("1 2 x 4", "not whole numbers"),
        ("1 2 3 256", "outside 0–255"),
        ("1 2 3 99999999999999999999", "not whole numbers"),
    ],
)
def test_bad_pixels_are_listed_with_their_line(tmp_path: Path, pixels: str, reason: str) -> None:
    rows = [(3, ONE_GREY, "Training"), (4, pixels, "Training")]
    source = write_csv(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    done = import_dataset(source, tmp_path / "out")
    assert len(done.bad) == 1
    assert done.bad[0].startswith("fer2013.csv, line 3: ")
    assert reason in done.bad[0]
    with pytest.raises(DatasetError, match=r"fer2013\.csv, line 3"):
        import_dataset(source, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_parquet_with_named_classes_keeps_the_bytes(tmp_path: Path) -> None:
    names = ["anger", "Happiness", "sadness"]
    data = tmp_path / "data"
    jpeg = image(9, "JPEG")
    write_parquet(data / "train-00000-of-00002.parquet", [jpeg, image(2)], [1, 2], names)
    write_parquet(data / "train-00001-of-00002.parquet", [image(3)] * 3, [0, 1, -1], names)
    write_parquet(data / "test-00000-of-00001.parquet", [image(4)], [2], names)
    write_parquet(data / "validation" / "0000.parquet", [image(5)], [2], names)
    done = import_dataset(tmp_path, tmp_path / "out")
    assert files(tmp_path / "out") == [
        "test/sad/f0.png",
        "training/happy/f0.jpg",
        "training/happy/f1.png",
        "training/sad/f1.png",
        "validation/sad/f0.png",
    ]
    assert done.left_out == {"anger": 1, "-1": 1}
    assert (tmp_path / "out" / "training" / "happy" / "f0.jpg").read_bytes() == jpeg


def test_parquet_with_text_labels_and_rows_without_images(tmp_path: Path) -> None:
    images = [image(1), image(2), None, b"junk", image(3)]
    labels = ["joy", "sad", "sad", "happy", None]
    source = write_parquet(tmp_path / "faces.parquet", images, labels)
    done = import_dataset(source, tmp_path / "out")
    assert done.counts == {("training", "happy"): 1, ("training", "sad"): 1}
    assert done.bad == [
        "faces.parquet, row 3: the row contains no image bytes",
        "faces.parquet, row 4: cannot be read (not an image, or not JPEG, PNG, WebP, AVIF, HEIC, "
        "JPEG 2000, BMP, GIF or TIFF; convert it to JPEG)",
        "faces.parquet, row 5: has no label",
    ]


def test_numbers_without_names_need_to_be_explained(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "faces.parquet", [image(1), image(2)], [0, 1])
    with pytest.raises(DatasetError, match=r"its labels are '0' \(1\), '1' \(1\); if two of them"):
        import_dataset(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = import_dataset(source, tmp_path / "out", labels=parse_labels("sad=0, happy=1"))
    assert done.counts == {("training", "sad"): 1, ("training", "happy"): 1}


@pytest.mark.skipif(not SHARED.is_dir(), reason="FER2013 is not here")
def test_a_file_without_happy_or_sad_is_refused_with_its_labels(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no happy or sad image, its labels are 'neutral'"):
        import_dataset(SHARED / "other_public_test.parquet", tmp_path / "out")


def test_a_table_of_paths_with_groups_and_splits(tmp_path: Path) -> None:
    for number, name in enumerate(["a/笑.jpg", "b/笑.jpg", "c.png", "d.png", "e.png"]):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image(number, "PNG"))
    rows = [
        ("a/笑.jpg", "happy", "anna", ""),
        ("b/笑.jpg", "Joy", "bert", "train"),
        ("c.png", "sadness", "anna", "train"),
        ("d.png", "sad", "", "val"),
        (tmp_path / "e.png", "happy", "", "val"),
    ]
    source = write_csv(tmp_path / "faces.csv", "Path,label,group,split", rows)
    import_dataset(source, tmp_path / "out")
    groups = {s.path.name: s.group for s in scan(tmp_path / "out" / "training")}
    assert groups == {"笑.png": "anna", "笑-2.png": "bert", "c.png": "anna"}
    assert {s.group for s in scan(tmp_path / "out" / "validation")} == {None}


def test_a_table_of_paths_from_another_system(tmp_path: Path) -> None:
    for name in ("a/1.png", unicodedata.normalize("NFD", "é.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(image(len(name)))
    rows = [(r"a\1.png", "happy"), (unicodedata.normalize("NFC", "é.png"), "sad")]
    done = import_dataset(write_csv(tmp_path / "faces.csv", "path,label", rows), tmp_path / "out")
    assert done.counts.total() == 2 and not done.bad


def test_a_parquet_file_among_folders_of_images_is_not_the_source(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "1.png").write_bytes(image(len(name)))
    write_parquet(tmp_path / "in" / "scores" / "scores.parquet", [image(1)], ["happy"])
    assert import_dataset(tmp_path / "in", tmp_path / "out").counts.total() == 2
    (tmp_path / "in" / "sad").rename(tmp_path / "in" / "triste")
    (tmp_path / "in" / "happy").rename(tmp_path / "in" / "feliz")
    labels = {"triste": 0, "feliz": 1}
    assert import_dataset(tmp_path / "in", tmp_path / "3", labels=labels).counts.total() == 2

    hub = write_parquet(tmp_path / "hub" / "train.parquet", [image(1)] * 2, ["happy", "sad"])
    (hub.parent / "docs").mkdir()
    (hub.parent / "docs" / "logo.png").write_bytes(image(9))
    write_parquet(hub.parent / ".cache" / "train.parquet", [image(1)] * 5, ["happy"] * 5)
    assert import_dataset(hub.parent, tmp_path / "two").counts.total() == 2


def test_nothing_is_written_outside_the_output(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "in").mkdir(parents=True)
    (work / "evil.png").write_bytes(image(1))
    rows = [
        ("../evil.png", "happy", ""),
        ("../evil.png", "happy", "../../up"),
        ("../evil.png", "sad", "/abs"),
        ("../evil.png", "sad", ".."),
        ("/dev/zero", "sad", ""),
        ("\0", "sad", ""),
    ]
    source = write_csv(work / "in" / "faces.csv", "path,label,split", rows)
    done = import_dataset(source, work / "out")
    assert len(done.bad) == 5
    assert files(tmp_path) == [
        "work/evil.png",
        "work/in/faces.csv",
        "work/out/training/happy/evil.png",
    ]


@settings(max_examples=60, deadline=None)
@given(name=st.text(min_size=1, max_size=300), split=st.text(max_size=60))
def test_any_name_in_a_source_becomes_a_safe_one(
    tmp_path_factory: pytest.TempPathFactory, name: str, split: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    table = {
        "image": [{"bytes": image(1), "path": name}] * 2,
        "label": ["happy", "happy"],
    }
    try:
        pq.write_table(pa.table(table), folder / "train.parquet")
    except UnicodeEncodeError:
        return
    import_dataset(folder / "train.parquet", folder / "out")
    written = list((folder / "out" / "training" / "happy").iterdir())
    assert len(written) == 2
    assert len(files(folder)) == 3
    assert not any(path.name.startswith(".") for path in written)


def test_an_existing_output_is_refused_and_left_alone(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "f.csv", "emotion,pixels,Usage", [(3, ONE_GREY, "Training")])
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError, match="already exists"):
        import_dataset(source, tmp_path / "out")
    assert files(tmp_path) == ["f.csv"]


def test_an_import_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "f.csv"
    source.write_bytes(f"emotion,pixels\n3,{ONE_GREY}\n4,\xff\n".encode("latin-1"))
    (tmp_path / ".out.partial" / "old").mkdir(parents=True)
    with pytest.raises(DatasetError, match="neither Parquet nor a CSV in UTF-8"):
        import_dataset(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has the columns none; needed are path,label"),
        (b"file,emotion\na.png,happy\n", "has the columns 'file', 'emotion'; needed are"),
        (b"path,label\n", "contains no rows"),
        (b"path,label\nmissing.png,sad\n", "no row could be used.*missing.png: no such file"),
        (b"path,label\nshort\n", "no row could be used.*line 2: has no label"),
        (b"PAR1 and nothing more", "a damaged Parquet file"),
        (b"\x89PNG\r\n\x1a\n", "neither Parquet nor a CSV"),
    ],
)
def test_a_malformed_source_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    with pytest.raises(DatasetError, match=message) as caught:
        import_dataset(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_parquet_that_is_damaged_or_of_another_kind(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), other)
    with pytest.raises(DatasetError, match=r"has the columns 'a', 'b'; needed are one of images"):
        import_dataset(other, tmp_path / "out")
    whole = write_parquet(tmp_path / "w.parquet", [image(1)] * 50, ["sad"] * 50)
    content = bytearray(whole.read_bytes())
    content[20:120] = bytes(100)
    whole.write_bytes(bytes(content))
    with pytest.raises(DatasetError, match="a damaged Parquet file"):
        import_dataset(whole, tmp_path / "out")
    with pytest.raises(DatasetError, match=r"neither a .parquet file nor an image"):
        (tmp_path / "empty").mkdir()
        import_dataset(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DatasetError, match="cannot be read"):
        import_dataset(tmp_path / "gone", tmp_path / "out")


@pytest.mark.parametrize("text", ["", "sad", "sad=0", "sad=0,glad=1", "sad=,happy=1", "0=sad"])
def test_labels_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(DatasetError, match="sad=0,happy=1"):
        parse_labels(text)


def test_a_class_may_stand_for_several_labels() -> None:
    assert parse_labels("sad=0,Happy=1,joy=2") == {"0": 0, "1": 1, "2": 1}


def test_other_emotions_are_kept_if_asked_for(tmp_path: Path) -> None:
    source = write_parquet(
        tmp_path / "faces.parquet",
        [image(value) for value in range(4)],
        ["happy", "sad", "fear", "../../evil"],
    )
    done = import_dataset(source, tmp_path / "out", others=True)
    folder = tmp_path / "out" / "training"
    assert sorted(p.parent.relative_to(folder).as_posix() for p in folder.rglob("*.png")) == [
        *("happy", "other/fear", "sad")
    ]
    assert len(done.bad) == 1, "a label that leads elsewhere is no folder's name"
    assert len(scan(folder)) == 2, "and they are only looked at where they are asked for"
    assert sorted(s.label for s in scan(folder, others=True)) == [0, 1, 2]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_folders_with_other_names_become_the_two_classes(
    tmp_path: Path, form: Literal["NFC", "NFD"]
) -> None:
    source = tmp_path / "fotos"
    paths = [
        "train/glücklich/a.png", "train/traurig/a.png", "train/wütend/a.png",
        "test/glücklich/tief/b.png", "lose.png",
    ]  # fmt: skip
    for number, name in enumerate(paths):
        path = source / unicodedata.normalize(form, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image(number * 40))
    with pytest.raises(DatasetError, match="--labels 'sad=0,happy=1'"):
        import_dataset(source, tmp_path / "without")
    labels = parse_labels("sad=traurig,happy=glücklich")
    done = import_dataset(source, tmp_path / "out", labels=labels)
    assert files(tmp_path / "out") == [
        "test/happy/b.png",
        "training/happy/a.png",
        "training/sad/a.png",
    ]
    assert done.left_out == {"wütend": 1}
    assert len(done.bad) == 1 and "lose.png: has no label" in done.bad[0]


def test_a_class_with_another_name_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    for name in ("Happy Faces", "sad"):
        (tmp_path / "my faces" / name).mkdir(parents=True)
        (tmp_path / "my faces" / name / "a.png").write_bytes(image(9))
    with pytest.raises(DatasetError) as refused:
        scan(tmp_path / "my faces")
    assert f"happysad dataset import '{tmp_path}/my faces' --out NEW --labels" in str(refused.value)
    labels = parse_labels("sad=sad,happy=Happy Faces")
    import_dataset(tmp_path / "my faces", tmp_path / "out", labels=labels)
    assert len(scan(tmp_path / "out" / "training")) == 2


@pytest.mark.parametrize("split", ["", "train/"])
def test_groups_and_votes_of_a_folder_are_kept(tmp_path: Path, split: str) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    folder = source / split
    for number, name in enumerate(("feliz/a", "feliz/b", "triste/c", "other/calm/d")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(image(number))
    (folder / "groups.csv").write_text(
        "path,group,camera\nfeliz/a.png,anna,old\nc.png,bert,new\nd.png,carl,\nb.png,,new\n"
    )
    (folder / "votes.csv").write_text("path,happy,sad,calm\nfeliz/a.png,3,0,1\nd.png,1,1,2\n")
    labels = {"feliz": 1, "triste": 0}

    done = import_dataset(source, out, labels=labels, others=True)

    assert done.voted == 2
    found = {s.path.stem: (s.group, s.shares) for s in scan(out / "training", others=True)}
    assert found == {
        "a": ("anna", (0.0, 0.75, 0.25)),
        "b": (None, None),
        "c": ("bert", None),
        "d": ("carl", (0.25, 0.25, 0.5)),
    }
    assert read_column(out / "training", ["happy/a.png", "happy/b.png"], "camera") == ["old", "new"]
    assert import_dataset(source, tmp_path / "two", labels=labels).voted == 1

    (folder / "votes.csv").write_text("path,label\na.png,happy\n")
    voted = import_dataset(source, tmp_path / "2", labels=labels, votes=folder / "votes.csv")
    assert voted.voted == 1

    (folder / "votes.csv").write_text("path,happy,sad\nfeliz/a.png,-1,0\n")
    with pytest.raises(DatasetError, match=rf"source/{split}votes\.csv, line 2: happy is '-1'"):
        import_dataset(source, tmp_path / "three", labels=labels)


def test_a_source_of_other_labels_only_is_refused(tmp_path: Path) -> None:
    rows = [(0, ONE_GREY, "Training"), (6, ONE_GREY, "Training")]
    source = write_csv(tmp_path / "fer2013.csv", "emotion,pixels,Usage", rows)
    with pytest.raises(DatasetError, match=r"no happy or sad image, its labels are 'angry' \(1\)"):
        import_dataset(source, tmp_path / "out", others=True)
    assert not (tmp_path / "out").exists()
