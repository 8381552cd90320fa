import os
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from happysad.sources import STDIN, FoundImage, SkippedFiles, find_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images in folders and subfolders, hidden ones, other files, a loop and a second link."""
    root = tmp_path / "all [sorts]"
    (root / "b" / "deep").mkdir(parents=True)
    (root / ".thumbnails").mkdir()
    for name in ("c.png", "a.JPG", "b/2.webp", "b/deep/1.tif", ".hidden.png", ".thumbnails/x.png"):
        Image.new("RGB", (2, 2)).save(root / name, "PNG")
    (root / "notes.txt").write_text("no image")
    (root / "talk.mp4").write_bytes(b"no image either")
    (root / "b" / "loop").symlink_to(root / "b", target_is_directory=True)
    (root / "z").symlink_to(root / "b", target_is_directory=True)
    return root


def names(root: Path, *sources: str | Path, leave_out: Path | None = None) -> list[str]:
    found = list(find_images([str(source) for source in sources], leave_out))
    assert not [each for each in found if each.problem]
    return [os.path.relpath(each.path, root) for each in found]


def test_a_folder_is_searched_in_order_each_image_once(folder: Path) -> None:
    assert names(folder, folder) == ["a.JPG", "b/2.webp", "b/deep/1.tif", "c.png"]


def test_excluded_folders_are_not_searched(folder: Path) -> None:
    assert names(folder, folder, leave_out=folder / "b") == ["a.JPG", "c.png"]
    pattern = f"{str(folder).replace('[', '[[]')}/**/*.*[Gf]"
    assert names(folder, pattern) == ["a.JPG", "b/deep/1.tif"]
    assert names(folder, pattern, leave_out=folder / "b") == ["a.JPG"]


def test_sources_keep_their_order_and_a_named_file_is_not_filtered(folder: Path) -> None:
    found = find_images([STDIN, str(folder / "notes.txt"), str(folder / "b")])
    assert [Path(each.path).name for each in found] == [STDIN, "notes.txt", "2.webp", "1.tif"]


def test_globs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [each.path for each in find_images(["*.[pJ]*"])] == ["a.JPG", "c.png"]
    # Folders that match are searched, unless ** lists what is in them anyway.
    assert names(folder, "b*") == ["b/2.webp", "b/deep/1.tif"]
    assert names(folder, "[b]/**") == names(folder, "./[b]/**/*.*") == ["b/2.webp", "b/deep/1.tif"]
    assert names(folder, ".th*/*") == [".thumbnails/x.png"]
    (strange,) = find_images(["b/**.png"])
    assert strange.problem == "no file matches" or "invalid glob pattern" in strange.problem


def test_a_name_that_looks_like_a_glob_is_a_name(folder: Path) -> None:
    odd = folder / "what[1]?.png"
    Image.new("RGB", (2, 2)).save(odd)
    assert list(find_images([str(odd)])) == [FoundImage(str(odd))]


def test_empty_sources_are_reported(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = list(find_images([str(tmp_path / "empty"), str(tmp_path / "*.nothing"), "none.png"]))
    assert [each.problem for each in found] == ["no images in this folder", "no file matches", ""]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = b"caf\xe9.png"
    try:
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (found,) = find_images([str(tmp_path)])
    assert os.fsencode(found.path).endswith(name)


@pytest.mark.skipif(os.name == "nt", reason="permissions work otherwise there")
def test_an_unreadable_folder_is_reported_and_the_others_searched() -> None:
    # Not tmp_path: only its owner may enter it, and root, who may read anything, steps back here.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        (root / "locked").mkdir(mode=0)
        Image.new("RGB", (2, 2)).save(root / "image.png")
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            image, locked = find_images([name])
        finally:
            os.seteuid(user)
        (root / "locked").chmod(0o700)
    assert locked.path.endswith("locked") and "cannot be read (Permission" in locked.problem
    assert image.path.endswith("image.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_skipped_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    Image.new("RGB", (2, 2)).save(tmp_path / "image.png")
    skipped = SkippedFiles()

    found = list(find_images([str(tmp_path)], on_skip=skipped.add))

    assert [Path(image.path).name for image in found] == ["image.png"]
    assert skipped == SkippedFiles(1, [str(tmp_path / "pipe")])


def test_a_folder_below_two_stars_is_searched(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert names(folder, "**/deep") == ["b/deep/1.tif"]
    assert names(folder, "**/[bd]*") == ["b/2.webp", "b/deep/1.tif"]
    # notes.txt and talk.mp4 are matched, too.
    assert [name for name in names(folder, "**/*") if "." in name] == [
        *("a.JPG", "b/2.webp", "b/deep/1.tif", "c.png", "notes.txt", "talk.mp4"),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    skipped = SkippedFiles()
    found = [Path(each.path).name for each in find_images([str(folder)], on_skip=skipped.add)]
    assert found == ["a.JPG", "2.webp", "1.tif", "c.png"]
    assert str(folder / "pipe.png") in skipped.first


def test_a_source_that_may_not_be_looked_at_is_listed(folder: Path) -> None:
    too_long = str(folder / ("x" * 300)) + ".jpg"
    found = list(find_images([too_long, str(folder / "a.JPG")]))
    assert [each.path for each in found] == [too_long, str(folder / "a.JPG")]


def test_a_folder_of_thumbnails_that_is_named_is_searched(folder: Path) -> None:
    thumbnails = folder / "@eaDir"
    thumbnails.mkdir()
    Image.new("RGB", (2, 2)).save(thumbnails / "x.png")
    assert names(folder, thumbnails) == names(folder, f"{thumbnails}/") == ["@eaDir/x.png"]
