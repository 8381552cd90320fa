import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from happysad.dataset.load import load
from happysad.dataset.scan import scan
from happysad.dataset.tables import match_rows, read_table
from happysad.errors import DatasetError
from happysad.evaluation.slices import read_column

NAMES = ["happy/a.png", "happy/b.png", "sad/a.png", "sad/c.png", "other/neutral/d.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


def shares(folder: Path, text: str, encoding: str = "utf-8") -> dict[str, list[float]]:
    (folder / "votes.csv").write_text(text, encoding)
    dataset = load(folder, 8, others=True)
    return {
        sample.path.relative_to(folder).as_posix(): [round(float(v), 3) for v in share]
        for sample, share in zip(dataset.samples, dataset.shares, strict=True)
    }


def test_votes_are_shares_of_sad_happy_and_neither(folder: Path) -> None:
    found = shares(
        folder,
        "path,neutral,Happiness,sadness,unknown\nhappy/a.png,2,7,1,0\nsad/a.png,0,0,1,9\n"
        "other/neutral/d.png,5,0,5,0\n",
    )

    assert found["happy/a.png"] == [0.1, 0.7, 0.2]
    assert found["sad/a.png"] == [1, 0, 0], "unknown says nothing about the expression"
    assert found["other/neutral/d.png"] == [0.5, 0, 0.5]
    assert (found["happy/b.png"], found["sad/c.png"]) == ([0, 1, 0], [1, 0, 0]), "by the folder"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_paths_may_be_written_as_on_windows(folder: Path, encoding: str) -> None:
    text = "path , happy,sad\n HAPPY\\A.PNG ,3,1\n.\\sad\\c.png,0,1\nb.png,1,1\n"

    found = shares(folder, text, encoding)

    assert found["happy/a.png"] == [0.25, 0.75, 0]
    assert found["sad/c.png"] == [1, 0, 0]
    assert found["happy/b.png"] == [0.5, 0.5, 0], "a bare name is enough where it is unique"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("happy/a.png,-1,1", r"votes.csv, line 2: happy is '-1'"),
        ("happy/a.png,,1", r"line 2: happy is ''"),
        ("happy/a.png,inf,1", r"line 2: happy is 'inf'"),
        ("happy/a.png,many,1", r"line 2: happy is 'many'"),
        ("happy/a.png,0,0", r"line 2: happy/a.png has no votes"),
        ("happy/z.png,1,0", r"line 2: no image 'happy/z.png'"),
        ("a.png,1,0", r"line 2: 'a.png' matches 2 images, such as happy/a.png and sad/a.png"),
        ("happy/b.png,1,0\nb.png,0,1", r"line 3: a second row for happy/b.png, after line 2"),
        ("happy/a.png,1,0,0", r"line 2: 4 cells, but 3 columns"),
    ],
)
def test_bad_rows_are_refused_by_line(folder: Path, row: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        shares(folder, f"path,happy,sad\n{row}\n")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("file,happy", "columns 'file', 'happy'; needed: path"),
        ("path,happy,happy", "column 'happy' occurs twice"),
        ("path,label", "no column of votes for happy or sad"),
        ("path,happy,sad,neutral,total", "column 'total' is not a known answer; remove it, or"),
    ],
)
def test_bad_headers_are_refused(folder: Path, header: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        shares(folder, f"{header}\nhappy/a.png,1\n")


def test_bad_votes_are_refused_before_any_image_is_read(folder: Path) -> None:
    (folder / "votes.csv").write_text("path,happy,sad\nhappy/a.png,-1,1\n")
    with pytest.raises(DatasetError, match=r"line 2: happy is '-1'"):
        scan(folder)


def test_votes_change_the_fingerprint(folder: Path) -> None:
    without = load(folder, 8).fingerprint
    (folder / "votes.csv").write_text("path,happy,sad\nhappy/a.png,3,1\n")

    assert load(folder, 8).fingerprint != without


def test_groups_are_matched_by_the_same_rules(folder: Path) -> None:
    (folder / "groups.csv").write_text("path,group\nHappy\\b.png,anna\nc.png,anna\n", "utf-8-sig")
    groups = {sample.path.name: sample.group for sample in scan(folder)}
    assert (groups["b.png"], groups["c.png"], groups["a.png"]) == ("anna", "anna", None)

    (folder / "groups.csv").write_text("path,group\nhappy/z.png,anna\n")
    with pytest.raises(DatasetError, match=r"line 2: no image 'happy/z.png'"):
        scan(folder)


def test_absolute_paths_are_those_of_the_folder(folder: Path) -> None:
    (folder / "groups.csv").write_text(
        f"path,group\n{folder}/happy/b.png,anna\n../{folder.name}/sad/c.png,bert\n"
        f"{folder}/other/neutral/d.png,carl\n"
    )
    groups = {sample.path.name: sample.group for sample in scan(folder)}
    assert (groups["b.png"], groups["c.png"]) == ("anna", "bert")

    exclude = folder / "exclude.csv"
    exclude.write_text(f"path\n{folder}/happy/a.png\n")
    assert "happy/a.png" not in {
        sample.path.relative_to(folder).as_posix() for sample in scan(folder, exclude=exclude)
    }
    for name in (f"{folder}/happy/z.png", exclude, f"{folder}"):
        exclude.write_text(f"path\n{name}\n")
        with pytest.raises(DatasetError, match=r"exclude.csv, line 2: no image"):
            scan(folder, exclude=exclude)


def test_names_that_differ_in_blanks_or_unicode_form_only_can_be_listed(folder: Path) -> None:
    names = ["\u00e9.png", "e\u0301.png", "\u00e9.png "]
    for name in names:
        shutil.copy(folder / "happy" / "a.png", folder / "happy" / name)
    if len(list((folder / "happy").iterdir())) < 5:
        pytest.skip("this file system has one name for them")
    for name in names:
        (folder / "groups.csv").write_text(f"path,group\nhappy/{name},anna\n", "utf-8")
        assert [s.path.name for s in scan(folder) if s.group == "anna"] == [name]


def test_absolute_paths_may_lead_through_a_link(folder: Path) -> None:
    link = folder.with_name(f"{folder.name}-link")
    link.symlink_to(folder)
    (folder / "groups.csv").write_text(f"path,group\n{folder}/happy/b.png,anna\n")
    assert [s.group for s in scan(link) if s.path.name == "b.png"] == ["anna"]


def test_images_that_take_no_part_may_be_listed_by_name(folder: Path) -> None:
    (folder / "groups.csv").write_text("path,group\nb.png,anna\nd.png,bert\n")
    assert {sample.group for sample in scan(folder)} == {"anna", None}


def test_a_skipped_image_may_be_listed_by_name(folder: Path) -> None:
    (folder / "groups.csv").write_text("path,group,camera\nb.png,,old\nc.png,,new\n")
    assert read_column(folder, ["happy/a.png", "happy/b.png"], "camera") == ["", "old"]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=9))
def test_tables_that_csv_writes_are_read(rows: list[tuple[str, str]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "table.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("path", "group"), *rows])
        found = read_table(path, ("path", "group"))
    expected = [{"path": a.strip(), "group": b.strip()} for a, b in rows if a or b]
    assert [row.cells for row in found] == expected


def test_cells_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"path,image\na.png,{'x' * 200_000}\n")

    (row,) = read_table(path, ("path",))

    assert len(row.cells["image"]) == 200_000
    assert match_rows(path, [row], ["a.png"]) == {0: row}
