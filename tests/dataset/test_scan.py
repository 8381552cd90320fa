import os
import re
from pathlib import Path

import pytest
from PIL import Image

from happysad.dataset.scan import check_outside, classes, scan
from happysad.errors import DatasetError


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)
    return path


def names(folder: Path) -> list[tuple[str, int]]:
    return [(sample.path.relative_to(folder).as_posix(), sample.label) for sample in scan(folder)]


def test_class_folders_may_have_any_case_synonyms_and_folders_inside(tmp_path: Path) -> None:
    for name in ("Happy/a.jpg", "JOY/b.PNG", "Sadness/deep/er/c.webp", "sad/笑.bmp"):
        put(tmp_path / name)
    assert names(tmp_path) == [
        ("Happy/a.jpg", 1),
        ("JOY/b.PNG", 1),
        ("Sadness/deep/er/c.webp", 0),
        ("sad/笑.bmp", 0),
    ]


def test_hidden_files_other_files_and_folders_without_images_are_passed_over(
    tmp_path: Path,
) -> None:
    for name in ("happy/a.png", "sad/b.png", "sad/._c.png", ".cache/d.png", "sad/.x/e.png"):
        put(tmp_path / name)
    (tmp_path / "readme.txt").write_text("about")
    (tmp_path / "happy" / "notes.txt").write_text("notes")
    (tmp_path / "docs").mkdir()
    assert names(tmp_path) == [("happy/a.png", 1), ("sad/b.png", 0)]


def test_thumbnails_of_a_network_drive_are_not_trained_on(tmp_path: Path) -> None:
    for name in ("happy/a.png", "sad/b.png", "other/neutral/c.png"):
        put(tmp_path / name)
        put((tmp_path / name).parent / "@eaDir" / "x.png" / "SYNOFILE_THUMB_M.png")
    put(tmp_path / "@eaDir" / "x.png" / "SYNOFILE_THUMB_M.png")
    put(tmp_path / "other" / "@eaDir" / "x.png" / "SYNOFILE_THUMB_M.png")
    found = [(sample.path.name, sample.label) for sample in scan(tmp_path, others=True)]
    assert found == [("a.png", 1), ("c.png", 2), ("b.png", 0)]
    assert classes(tmp_path) == ("sad", "happy", "other/neutral")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder"
)
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for name in ("happy/a.png", "happy/in/b.png", "sad/c.png", "lost+found/d.png"):
        put(tmp_path / name)
    (tmp_path / "lost+found").chmod(0)
    assert len(scan(tmp_path)) == 3
    (tmp_path / "happy" / "in").chmod(0)
    try:
        with pytest.raises(DatasetError, match=r"in: cannot be read \(Permission denied\)"):
            scan(tmp_path)
    finally:
        for name in ("happy/in", "lost+found"):
            (tmp_path / name).chmod(0o700)


def test_images_of_no_emotion_are_refused(tmp_path: Path) -> None:
    for name in ("happy/a.png", "sad/b.png", "other/c.png"):
        put(tmp_path / name)
    with pytest.raises(DatasetError, match=r"c\.png: an image outside other/<emotion>/; move it"):
        scan(tmp_path, others=True)
    assert len(scan(tmp_path)) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no images"),
        (["happy/a.png"], r"only one image \(a\.png\)"),
        (["happy/a.png", "happy/b.png"], "no sad images"),
        (["sad/a.png", "sad/b.png"], "no happy images"),
        (["happy/a.png", "sad/b.png", "angry/in/c.png"], "class 'angry' is neither"),
        (["happy/a.png", "sad/b.png", "c.png"], r"c\.png: an image outside"),
        (["training/happy/a.png", "training/sad/b.png"], r"give \S+training instead"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, files: list[str], message: str
) -> None:
    for name in files:
        put(tmp_path / name)
    with pytest.raises(DatasetError, match=message) as caught:
        scan(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=re.escape(f"{tmp_path / 'no'}: no such folder")):
        scan(tmp_path / "no")


def test_links_are_followed_once_and_never_for_ever(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    put(tmp_path / "elsewhere" / "a.png")
    put(folder / "happy" / "b.png")
    put(folder / "sad" / "c.png")
    (folder / "happy" / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "happy" / "again").symlink_to(tmp_path / "elsewhere")
    (folder / "happy" / "loop").symlink_to(folder / "happy")
    found = [sample.path.name for sample in scan(folder) if sample.label == 1]
    assert sorted(found) == ["a.png", "b.png"]


def test_the_group_is_the_first_capture_or_the_whole_match(tmp_path: Path) -> None:
    put(tmp_path / "happy" / "anna_1.png")
    put(tmp_path / "sad" / "anna_2.png")
    put(tmp_path / "sad" / "unnamed.png")
    captured = scan(tmp_path, group_pattern=r"^(\w+)_\d")
    assert [sample.group for sample in captured] == ["anna", "anna", None]
    matched = scan(tmp_path, group_pattern=r"anna_\d")
    assert [sample.group for sample in matched] == ["anna_1", "anna_2", None]
    empty = scan(tmp_path, group_pattern=r"^(anna|)")
    assert [sample.group for sample in empty] == ["anna", "anna", None], "'' is not a person"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "not a valid regular expression"),
        (r"\d{9}", "matches no file name"),
        ("x*", "none of"),
    ],
)
def test_a_group_pattern_that_does_nothing_is_refused(
    tmp_path: Path, pattern: str, message: str
) -> None:
    put(tmp_path / "happy" / "a.png")
    put(tmp_path / "sad" / "b.png")
    with pytest.raises(DatasetError, match=message):
        scan(tmp_path, group_pattern=pattern)


def test_groups_come_from_groups_csv(tmp_path: Path) -> None:
    put(tmp_path / "happy" / "a.png")
    put(tmp_path / "sad" / "b.png")
    groups = tmp_path / "groups.csv"
    groups.write_text("path,group\nhappy/a.png,anna\n", encoding="utf-8")
    assert [sample.group for sample in scan(tmp_path)] == ["anna", None]
    groups.write_text("file,person\nhappy/a.png,anna\n", encoding="utf-8")
    with pytest.raises(
        DatasetError, match=r"groups\.csv: columns 'file', 'person'; needed: path, group"
    ):
        scan(tmp_path)


@pytest.mark.parametrize("inside", ["happy/charts", "Joy/x", "other", "sad", "runs/first", "."])
def test_no_output_goes_among_the_faces(tmp_path: Path, inside: str) -> None:
    with pytest.raises(DatasetError, match="charts would count as faces"):
        check_outside(tmp_path / "faces", tmp_path / "faces" / inside)


@pytest.mark.parametrize("outside", ["faces-test", "runs/happy"])
def test_outputs_may_go_beside_the_dataset(tmp_path: Path, outside: str) -> None:
    check_outside(tmp_path / "faces", tmp_path / outside)
