import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from happysad.cli import main
from happysad.crops import crop_faces
from happysad.dataset.crop import crop_folder
from happysad.errors import DatasetError
from happysad.faces import FaceDetector
from happysad.image import open_image, read_image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images of one face, one of two, one of none, one that is damaged, and other files."""
    cbook = pytest.importorskip("matplotlib.cbook")
    hopper = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    folder = tmp_path / "photos"
    for place in ("happy/Grace", "sad"):
        (folder / place).mkdir(parents=True)
    hopper.save(folder / "happy" / "Grace" / "1.jpg")
    hopper.save(folder / "happy" / "Grace" / "1.webp")
    two = Image.new("RGB", (1024, 606), "grey")
    two.paste(hopper, (0, 0))
    two.paste(hopper.resize((400, 473)), (600, 50))
    two.save(folder / "sad" / "zwölf.png")
    Image.new("RGB", (300, 200), "grey").save(folder / "sad" / "wall.png")
    (folder / "sad" / "torn.jpg").write_bytes((folder / "happy/Grace/1.jpg").read_bytes()[:9000])
    (folder / "notes.txt").write_text("no image")
    (folder / "groups.csv").write_text(
        "path,group\nhappy/Grace/1.jpg,Grace\nsad/wall.png,Grace\n", encoding="utf-8"
    )
    return folder


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_faces_are_framed_as_predicting_frames_them(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = crop_folder(photos, out, 64)

    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.png")) == [
        "happy/Grace/1-1.png",
        "happy/Grace/1.png",
        "sad/zwölf.png",
    ]
    image = open_image(photos / "sad" / "zwölf.png")
    (expected,) = crop_faces(image, FaceDetector().detect(image)[:1], 64)
    np.testing.assert_array_equal(read_image(out / "sad" / "zwölf.png"), expected)
    assert done.several == {"sad/zwölf.png": 2}
    assert done.no_face == ["sad/wall.png"]
    assert list(done.unreadable) == ["sad/torn.jpg"]


def test_images_without_a_crop_are_listed_and_groups_are_kept(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    crop_folder(photos, out, 32)

    header, torn, wall = rows(out / "skipped.csv")
    assert header == ["path", "reason"]
    assert torn[0] == "sad/torn.jpg"
    assert "truncated" in torn[1]
    assert wall == ["sad/wall.png", "no face"]
    assert rows(out / "several.csv") == [["path", "faces"], ["sad/zwölf.png", "2"]]
    assert rows(out / "groups.csv") == [["path", "group"], ["happy/Grace/1.png", "Grace"]]


def test_groups_may_list_images_without_a_face_by_name(photos: Path, tmp_path: Path) -> None:
    (photos / "groups.csv").write_text("path,group\nzwölf.png,Z\nwall.png,W\n", encoding="utf-8")
    crop_folder(photos, tmp_path / "out", 32)
    assert rows(tmp_path / "out" / "groups.csv") == [["path", "group"], ["sad/zwölf.png", "Z"]]


def test_all_columns_of_groups_and_the_votes_are_kept(photos: Path, tmp_path: Path) -> None:
    (photos / "groups.csv").write_text(
        "path,group,camera\nzwölf.png,,old\nwall.png,W,new\n", encoding="utf-8"
    )
    (photos / "votes.csv").write_text("path,happy,sad\nzwölf.png,1,3\n", encoding="utf-8")
    crop_folder(photos, tmp_path / "out", 32)
    groups, votes = (rows(tmp_path / "out" / name) for name in ("groups.csv", "votes.csv"))
    assert groups == [["path", "group", "camera"], ["sad/zwölf.png", "", "old"]]
    assert votes == [["path", "happy", "sad"], ["sad/zwölf.png", "1", "3"]]


def test_nothing_is_written_over_or_left_half_done(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DatasetError, match="already exists"):
        crop_folder(photos, out, 32)
    out.rmdir()
    (photos / "groups.csv").write_text("name\n1.jpg\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"columns 'name'; needed: path, group"):
        crop_folder(photos, out, 32)
    with pytest.raises(DatasetError, match="no such folder"):
        crop_folder(tmp_path / "gone", out, 32)
    walls = tmp_path / "walls"
    walls.mkdir()
    Image.new("RGB", (300, 200), "grey").save(walls / "wall.png")
    with pytest.raises(DatasetError, match="no face found in 1 images"):
        crop_folder(walls, out, 32)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty: no images in this folder"):
        crop_folder(tmp_path / "empty", out, 32)
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "walls", "empty"}


def test_the_command_counts_crops_and_reports_unreadable_images(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(name: str, *options: str) -> int:
        arguments = [str(photos), "--out", str(tmp_path / name), "--size", "32", *options]
        monkeypatch.setattr("sys.argv", ["happysad", "dataset", "crop", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    assert run("one") == 1
    output = capsys.readouterr()
    assert "3 faces in" in output.out
    assert "1 image has several" in output.out
    assert "skipped: sad/torn.jpg" in output.err
    assert run("two", "--json") == 1
    counts = json.loads(capsys.readouterr().out)
    assert list(counts.pop("unreadable")) == ["sad/torn.jpg"]
    assert counts == {"crops": 3, "several_faces": 1, "no_face": 1}
    (photos / "sad" / "torn.jpg").unlink()
    assert run("three") == 0
    assert (tmp_path / "three" / "sad" / "zwölf.png").is_file()
