from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
from PIL import Image

from happysad.copies import AnnotatedCopies
from happysad.errors import HappysadError
from happysad.image import RgbImage, read_image
from happysad.image_formats import IMAGE_SUFFIXES

RED: RgbImage = np.full((40, 50, 3), (200, 30, 30), np.uint8)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with images of the same names in several folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("left/deep/1.png", "left/2.png", "right/1.png", "right/2.png", "top.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(name)
    return tmp_path


def saved(out: str, sources: list[str], paths: list[str]) -> list[str]:
    copies = AnnotatedCopies(Path(out), sources)
    for path in paths:
        copies.save(path, RED)
    return sorted(str(path.relative_to(out)) for path in Path(out).rglob("*") if path.is_file())


def test_one_folder_is_mirrored(desk: Path) -> None:
    assert saved("out", ["left/"], ["left/2.png", "left/deep/1.png"]) == ["2.png", "deep/1.png"]


def test_files_of_one_folder_keep_their_names(desk: Path) -> None:
    absolute = str(desk / "right" / "2.png")
    assert saved("out", ["right/1.png", absolute], ["right/1.png", absolute]) == ["1.png", "2.png"]


def test_same_names_from_different_folders_do_not_meet(desk: Path) -> None:
    paths = ["left/deep/1.png", "left/2.png", "right/1.png", "right/2.png", "top.png"]
    sources = ["left", "*/[12].png", "top.png", "left/../top.png"]
    assert saved("out", sources, paths) == sorted(paths)
    assert saved("again", ["left", "right"], paths[:4]) == sorted(paths[:4])


def test_standard_input_has_a_name_too(desk: Path) -> None:
    assert saved("out", ["-", "left/2.png"], ["-", "left/2.png"]) == ["left/2.png", "stdin.png"]


def test_a_single_image_may_be_written_to_a_file(desk: Path) -> None:
    copies = AnnotatedCopies(Path("made/top-annotated.jpg"), ["top.png"])
    copies.save("top.png", RED)
    assert np.abs(read_image("made/top-annotated.jpg").astype(int) - RED).max() < 6
    assert copies.folder is None


@pytest.mark.parametrize("sources", [["left"], ["*.png"], ["top.png", "right/1.png"]])
def test_several_images_need_a_folder(desk: Path, sources: list[str]) -> None:
    with pytest.raises(HappysadError, match="names one file, but"):
        AnnotatedCopies(Path("out.jpg"), sources)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_a_copy_has_the_format_of_its_name(desk: Path, suffix: str) -> None:
    AnnotatedCopies(Path("out"), ["x"]).save(f"x{suffix}", RED)
    (copy,) = Path("out").iterdir()
    decoded = read_image(copy)
    assert decoded.shape == RED.shape and np.abs(decoded.astype(int) - RED).max() < 12
    with Image.open(copy) as image:
        assert copy.suffix in Image.registered_extensions()
        assert image.format == Image.registered_extensions()[copy.suffix]


def test_a_name_without_a_writable_format_becomes_a_png(desk: Path) -> None:
    paths = ["photo", "x.jfif", "y.heic", "y.HEIC", "z.avif"]
    expected = ["photo.png", "x.jfif", "y.HEIC.png", "y.heic.png", "z.avif.png"]
    assert saved("out", paths, paths) == expected
    assert (read_image("out/photo.png") == RED).all()
    with pytest.raises(HappysadError, match=r"not written as \.heic; give \.jpg"):
        AnnotatedCopies(Path("one.heic"), ["x.heic"])


def test_urls_that_differ_in_their_query_have_two_copies(desk: Path) -> None:
    urls = ["HTTP://host/a.jpg?size=1", "http://host/a.jpg?size=2", "http://host/a.jpg"]
    urls.append("http://host/a.heic")
    names = saved("out", urls, urls)
    assert len(names) == 4 and {"host/a.jpg", "host/a.heic.jpg"} < set(names)
    assert all(name.startswith("host/a") and name.endswith(".jpg") for name in names)


def test_urls_of_several_ports_have_a_copy_each(desk: Path) -> None:
    urls = ["http://host:8751/a.jpg", "http://Host:8752/a.jpg", "http://me:secret@host/a.jpg"]
    first, second, plain = saved("out", urls, urls)
    assert first.startswith("host/a-") and second.startswith("host/a-") and plain == "host/a.jpg"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://h/D:/x.jpg", ("h", "D_", "x.jpg")),
        (r"https://h/..\..\x.jpg", ("h", ".._.._x.jpg")),
        ("https://h/File:Foo.jpg", ("h", "File_Foo.jpg")),
        ("https://h/.. /a./x.jpg", ("h", "a", "x.jpg")),
    ],
)
def test_copies_of_urls_have_names_that_windows_allows(
    desk: Path, url: str, parts: tuple[str, ...]
) -> None:
    (copy,) = saved("out", [url], [url])
    assert PureWindowsPath(copy).parts == parts


def test_a_suffix_is_appended_until_the_name_is_free(desk: Path) -> None:
    for name in ("left/2", "left/2.bmp", "left/2.bmp.png"):
        (desk / name).touch()
    paths = ["left/2", "left/2.png", "left/2.bmp", "left/2.bmp.png"]
    assert saved("out", ["left"], paths) == ["2.bmp.png", "2.bmp.png.png", "2.png", "2.png.png"]


def test_a_source_is_never_written_over(desk: Path) -> None:
    for out, sources in (
        (".", ["top.png"]),
        ("left", ["left/2.png"]),
        ("left", ["left"]),
        ("left", ["left/deep", "right"]),
    ):
        with pytest.raises(HappysadError, match="is inside the output folder"):
            AnnotatedCopies(Path(out), sources)
    with pytest.raises(HappysadError, match="would overwrite it"):
        AnnotatedCopies(Path("top.png"), ["top.png"]).save("top.png", RED)
    (desk / "link.png").symlink_to("top.png")
    with pytest.raises(HappysadError, match="would overwrite it"):
        AnnotatedCopies(Path("top.png"), ["link.png"]).save("link.png", RED)
    (desk / "out").mkdir()
    (desk / "out" / "left").symlink_to(desk / "left", target_is_directory=True)
    with pytest.raises(HappysadError, match="would overwrite it"):
        AnnotatedCopies(Path("out"), ["left", "right"]).save("left/2.png", RED)
    assert all(read_image(str(path)).shape == (4, 4, 3) for path in desk.rglob("*.png"))


def test_no_glob_leads_out_of_the_folder(desk: Path) -> None:
    assert saved("out", ["left/*/../../right/1.png"], ["left/deep/../../right/1.png"]) == [
        "right/1.png"
    ]


def test_failed_writes_are_reported(desk: Path) -> None:
    (desk / "file").write_text("no folder")
    with pytest.raises(HappysadError, match=r"file: cannot be created"):
        AnnotatedCopies(Path("file"), ["top.png"])
    wide: RgbImage = np.zeros((1, 17_000, 3), np.uint8)
    with pytest.raises(HappysadError, match=r"wide\.webp: cannot be written"):
        AnnotatedCopies(Path("wide.webp"), ["wide.jpg"]).save("wide.jpg", wide)
    copies = AnnotatedCopies(Path("out"), ["left", "right"])
    (desk / "out" / "left").write_text("in the way")
    with pytest.raises(HappysadError, match=r"cannot be written \("):
        copies.save("left/2.png", RED)
    copies.save("right/1.png", RED)
    with pytest.raises(HappysadError, match=r"n\.bmp\.png: cannot be written \("):
        copies.save(f"right/{'n' * 251}.bmp", RED)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".gif", ".tif"])
def test_copies_replace_earlier_copies_and_nothing_else(desk: Path, suffix: str) -> None:
    photo = desk / f"photo{suffix}"
    Image.new("RGB", (9, 9), "blue").save(photo)
    before = photo.read_bytes()
    with pytest.raises(HappysadError, match="exists and is not an annotated copy"):
        AnnotatedCopies(photo, ["top.png"]).save("top.png", RED)
    (desk / "notes.png").write_text("no image")
    with pytest.raises(HappysadError, match="exists and is not an annotated copy"):
        AnnotatedCopies(desk / "notes.png", ["top.png"]).save("top.png", RED)
    assert photo.read_bytes() == before
    copies = AnnotatedCopies(desk / f"copy{suffix}", ["top.png"])
    for _ in range(2):
        copies.save("top.png", RED)
    assert read_image(desk / f"copy{suffix}").shape == RED.shape
