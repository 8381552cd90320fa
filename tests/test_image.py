import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from happysad.crops import fit_square
from happysad.errors import ImageError
from happysad.image import open_image, read_image
from happysad.image_formats import FORMATS, HEADER_BYTES, image_format

RED, BLUE = (254, 0, 0), (0, 0, 254)


def red_blue() -> Image.Image:
    """Left half red, right half blue, wider than high: reveals swapped channels and rotations."""
    image = Image.new("RGB", (32, 16), RED)
    image.paste(BLUE, (16, 0, 32, 16))
    return image


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
    ],
)
def test_each_format_is_read_as_rgb(form: str, options: dict[str, object], tmp_path: Path) -> None:
    content = encoded(red_blue(), form, **options)
    image = read_image(content)
    assert image.shape == (16, 32, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[8, 4], RED, atol=4)
    np.testing.assert_allclose(image[8, 28], BLUE, atol=4)
    # By content, not by name; from a path, its text, or an open file.
    path = tmp_path / "wrong.txt"
    path.write_bytes(content)
    for source in (path, str(path), io.BytesIO(content)):
        np.testing.assert_array_equal(read_image(source), image)


def deep(form: str) -> bytes:
    grey = np.full((4, 6), 0x8040, np.uint16)
    return encoded(Image.fromarray(grey), form)


def palette_with_transparency() -> bytes:
    image = Image.new("P", (6, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    return encoded(image, "PNG", transparency=0)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.new("L", (6, 4), 77), "PNG"), (77, 77, 77)),
        (encoded(Image.new("1", (6, 4), 1), "PNG"), (255, 255, 255)),
        (encoded(Image.new("P", (6, 4), 0), "PNG"), (0, 0, 0)),
        (palette_with_transparency(), (255, 255, 255)),
        (encoded(Image.new("LA", (6, 4), (77, 255)), "PNG"), (77, 77, 77)),
        (encoded(Image.new("RGBA", (6, 4), (200, 0, 0, 255)), "PNG"), (200, 0, 0)),
        (encoded(Image.new("RGBA", (6, 4), (200, 0, 0, 0)), "PNG"), (255, 255, 255)),
        (encoded(Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
        (deep("PNG"), (0x80, 0x80, 0x80)),
        (deep("TIFF"), (0x80, 0x80, 0x80)),
    ],
    ids=[
        "grey",
        "1-bit",
        "palette",
        "palette with clear colour",
        "grey with alpha",
        "RGBA",
        "clear",
        "CMYK",
        "16-bit PNG",
        "16-bit TIFF",
    ],
)
def test_each_kind_of_pixel_becomes_8_bit_rgb(
    content: bytes, expected: tuple[int, int, int]
) -> None:
    image = read_image(content)
    assert image.shape == (4, 6, 3)
    np.testing.assert_allclose(image[2, 3], expected, atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright_however_the_camera_was_held(
    orientation: int, as_stored: Callable[[Image.Image, int], Image.Image]
) -> None:
    upright = red_blue()
    upright.paste((0, 200, 0), (0, 0, 32, 4))
    picture = as_stored(upright, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(encoded(picture, "PNG", exif=exif))
    np.testing.assert_array_equal(image, np.asarray(upright))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "LA", "P", "I", "F"])
def test_a_large_image_becomes_a_small_crop(
    mode: str, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = red_blue().resize((33, 17)).convert("L" if mode in "IF" else mode).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, "TIFF" if mode in "IF" else "PNG", exif=exif)
    whole = read_image(content)
    monkeypatch.setattr("happysad.image_pixels._AT_ONCE", 400)
    in_strips = read_image(content)
    assert in_strips.flags.c_contiguous
    np.testing.assert_array_equal(in_strips, whole)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_size_is_known_before_decoding_and_upright(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(red_blue(), form, exif=exif))
    turned = orientation > 4
    assert (image.width, image.height) == ((16, 32) if turned else (32, 16))
    assert image.pixels().shape == (image.height, image.width, 3)


def photo(width: int = 600, height: int = 401) -> Image.Image:
    """An image with detail at every scale."""
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin(x / 40) + np.sin(y / 25) + np.sin((x + y) / 7)
    pixels = np.stack([wave * 30 + 128, x * 255 / width, y * 255 / height], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("form", ["JPEG", "MPO"])
@pytest.mark.parametrize("longest", [60, 75, 76, 300, 5000])
def test_a_large_jpeg_is_decoded_no_larger_than_needed(
    form: str, orientation: int, longest: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(), form, exif=exif)
    small = open_image(content).pixels(longest)
    assert min(longest, 600) <= max(small.shape) <= max(75, 2 * longest)
    full = read_image(content)
    same = Image.fromarray(full).resize(small.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(np.asarray(same, np.float64) - small).mean() < 4


def test_more_pixels_can_be_asked_for_later() -> None:
    image = open_image(encoded(photo(), "JPEG"))
    assert image.pixels(75).shape == (51, 75, 3)
    full = image.pixels()
    assert full.shape == (401, 600, 3)
    assert image.pixels(75) is full


def test_a_strip_of_a_jpeg_keeps_its_few_rows() -> None:
    image = open_image(encoded(photo(4000, 3), "JPEG"))
    assert max(image.pixels(320).shape) >= 320


def test_arrays_and_pillow_images_are_accepted() -> None:
    image = red_blue()
    expected = np.asarray(image)
    np.testing.assert_array_equal(read_image(expected), expected)
    np.testing.assert_array_equal(read_image(image), expected)
    np.testing.assert_array_equal(read_image(image.convert("RGBA")), expected)
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read_image(grey), np.stack([grey] * 3, axis=2))


def test_a_pillow_image_is_turned_upright_and_left_as_it_was() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encoded(red_blue(), "JPEG", exif=exif))) as image:
        assert read_image(image).shape == (32, 16, 3)
        assert image.size == (32, 16)
        assert read_image(image).shape == (32, 16, 3)


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((4, 5, 3)), r"float64 \[4, 5, 3\]"),
        (np.zeros((4, 5, 2), np.uint8), r"uint8 \[4, 5, 2\]"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"uint8 \[2, 4, 5, 3\]"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8 \[0, 5, 3\]"),
    ],
)
def test_other_arrays_are_refused_with_their_dtype_and_shape(array: Any, received: str) -> None:
    with pytest.raises(ImageError, match=f"received {received}"):
        read_image(array)


def test_other_objects_are_refused_with_their_type(tmp_path: Path) -> None:
    for wrong in (None, 7, [1, 2]):
        with pytest.raises(ImageError, match=f"received {type(wrong).__name__}"):
            read_image(wrong)  # type: ignore[arg-type]
    path = tmp_path / "text.txt"
    path.write_text("words")
    with path.open() as file, pytest.raises(ImageError, match="open it in mode 'rb'"):
        read_image(file)  # type: ignore[arg-type]


def test_a_file_object_is_read_from_its_start() -> None:
    file = io.BytesIO()
    red_blue().save(file, "PNG")
    assert read_image(file).shape == (16, 32, 3)


def test_images_with_damaged_exif_are_read() -> None:
    plain = encoded(red_blue(), "JPEG")
    for payload in (b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
        marker = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert read_image(plain[:2] + marker + plain[2:]).shape == (16, 32, 3)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in (RED, BLUE)]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(read_image(content)[0, 0], RED, atol=2)


def test_names_in_any_script(tmp_path: Path) -> None:
    path = tmp_path / "földer" / "笑.jpg"
    path.parent.mkdir()
    red_blue().save(path)
    assert read_image(path).shape == (16, 32, 3)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that states a size and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def wide_tile() -> bytes:
    """A TIFF of 16×16 pixels in one tile of 22,000×22,000: decoding it would take 1.4 GB."""
    tile = zlib.compress(b"")
    entries = [
        (256, 4, 16),
        (257, 4, 16),
        (258, 3, 8),
        (259, 3, 8),
        (262, 3, 1),
        (277, 3, 1),
        (322, 4, 22_000),
        (323, 4, 22_000),
        (324, 4, 8 + 2 + 10 * 12 + 4),
        (325, 4, len(tile)),
    ]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + tile


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
        (encoded(red_blue(), "JPEG")[:-200], "cannot be read"),
        (encoded(red_blue(), "PNG")[:-30], "cannot be read"),
        (png_of_size(10_000, 10_000), "10000×10000 pixels, over the limit of 50 million"),
        (png_of_size(60_000, 60_000), "over the limit of 50 million"),
        (wide_tile(), "22000×22000 pixels, over the limit"),
        (b"\0\0\0\x18ftypheic\0\0\0\0heic", "convert it to JPEG"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_usable_picture_is_an_image_error(content: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read_image(content)
    assert "\n" not in str(caught.value)


def test_the_limit_can_be_set() -> None:
    content = encoded(red_blue(), "PNG")
    assert read_image(content, max_pixels=32 * 16).shape == (16, 32, 3)
    with pytest.raises(ImageError, match="32×16 pixels"):
        read_image(content, max_pixels=32 * 16 - 1)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@settings(max_examples=150, deadline=None)
@given(
    form=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]),
    position=st.floats(0, 1),
    junk=st.binary(max_size=12),
    longest=st.sampled_from([None, 4, 16]),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_picture_or_an_image_error(
    form: str, position: float, junk: bytes, longest: int | None
) -> None:
    content = bytearray(encoded(red_blue(), form))
    start = int(position * len(content))
    content[start : start + len(junk)] = junk
    try:
        image = open_image(bytes(content), max_pixels=100_000).pixels(longest)
    except ImageError:
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


def test_reading_in_threads_leaves_the_programs_warning_filters_alone() -> None:
    content = encoded(red_blue(), "PNG")
    before = list(warnings.filters)
    threads = [
        threading.Thread(target=lambda: [read_image(content) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_fit_square_takes_the_middle() -> None:
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 200
    assert (fit_square(image, 20) == 200).all()
    assert (fit_square(image.transpose(1, 0, 2), 20) == 200).all()
    assert fit_square(image, 50).shape == (50, 50, 3)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 64))
def test_fit_square_gives_the_size_asked_for(height: int, width: int, size: int) -> None:
    crop = fit_square(np.full((height, width, 3), 130, np.uint8), size)
    assert crop.shape == (size, size, 3)
    assert (crop == 130).all()


@pytest.mark.parametrize(
    ("form", "options"),
    [("AVIF", {"quality": 95}), ("HEIF", {"quality": 95}), ("JPEG2000", {})],
)
def test_formats_of_phones_and_the_web_are_read_whatever_the_name(
    form: str, options: dict[str, Any], tmp_path: Path
) -> None:
    if form == "HEIF":
        pillow_heif.register_heif_opener()
    path = tmp_path / "photo.jpg"
    red_blue().save(path, form, **options)

    pixels = read_image(path)

    assert image_format(path.read_bytes()[:HEADER_BYTES]) == form
    assert np.abs(pixels.astype(int) - np.asarray(red_blue())).mean() < 12
    others = [name for name in FORMATS if name != form]
    with pytest.raises(ImageError, match="not an image, or not"):
        read_image(path, formats=others)


def test_heic_is_turned_by_its_container_and_not_once_more_by_exif(tmp_path: Path) -> None:
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    red_blue().save(tmp_path / "a.heic", exif=exif, quality=95)

    pixels = read_image(tmp_path / "a.heic")

    # libheif applies the container's rotation (none here); EXIF merely repeats it.
    assert pixels.shape == (16, 32, 3)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_files_of_any_depth_look_like_the_8_bit_original(bits: int, form: str) -> None:
    grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    levels = np.round(grey / 255 * (2**bits - 1)).astype(np.uint16)

    pixels = read_image(encoded(Image.fromarray(levels), form))

    assert np.abs(pixels[..., 0].astype(int) - grey).max() <= 1


def test_floating_point_images_of_0_to_1_look_like_the_8_bit_original() -> None:
    grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))

    pixels = read_image(encoded(Image.fromarray((grey / 255).astype(np.float32)), "TIFF"))

    assert np.abs(pixels[..., 0].astype(int) - grey).max() <= 1


def test_buffers_and_other_arrays_are_taken() -> None:
    content = encoded(red_blue(), "PNG")
    expected = read_image(content)
    rgba = np.dstack([expected, np.full(expected.shape[:2], 255, np.uint8)])

    for same in (bytearray(content), memoryview(content), expected, rgba):
        assert np.array_equal(read_image(same), expected)
    assert np.array_equal(read_image(expected[..., :1]), read_image(expected[..., 0]))
    clear = rgba.copy()
    clear[..., 3] = 0
    assert (read_image(clear) == 255).all()


def test_arrays_of_0_to_1_are_refused_with_the_line_that_converts_them() -> None:
    with pytest.raises(ImageError, match=r"\(255 \* array\).astype\('uint8'\)"):
        read_image(np.zeros((4, 5, 3), np.float32))


def test_an_avif_file_may_have_the_general_brand() -> None:
    file = io.BytesIO()
    red_blue().save(file, "AVIF")
    content = bytearray(file.getvalue())
    assert content[8:12] == b"avif"
    content[8:12] = b"mif1"
    assert b"avif" in content[16:HEADER_BYTES]
    assert read_image(bytes(content)).shape == (16, 32, 3)


def test_a_pipe_is_read(tmp_path: Path) -> None:
    pipe, file = tmp_path / "pipe", io.BytesIO()
    try:
        os.mkfifo(pipe)
    except (AttributeError, OSError):
        pytest.skip("this system has no named pipes")
    red_blue().save(file, "PNG")
    writer = threading.Thread(target=pipe.write_bytes, args=(file.getvalue(),))
    writer.start()
    assert read_image(pipe).shape == (16, 32, 3)
    writer.join()


def test_an_image_over_every_limit_is_refused_with_the_limit_that_holds() -> None:
    file = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(file, "PNG")
    with pytest.raises(ImageError, match="over the limit of 179 million pixels"):
        read_image(file.getvalue(), max_pixels=300_000_000)


def with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated, and with EXIF data and a video around it."""
    exif = Image.Exif()
    exif[0x010E] = "\u00ff\u00da" * 300
    content = encoded(red_blue(), "JPEG", progressive=True, exif=exif)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + content[-2:] + b"\xff\xda video" * 300


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    assert read_image(with_scans(10)).shape == (16, 32, 3)
    image = open_image(with_scans(7000))
    with pytest.raises(ImageError, match="has more than 100 scans; save it as a baseline JPEG"):
        image.pixels()


@pytest.mark.parametrize(
    ("options", "is_read"),
    [
        ({}, True),
        ({"codeblock_size": (16, 16)}, True),
        ({"precinct_size": (128, 128), "tile_size": (512, 512)}, True),
        ({"codeblock_size": (4, 4)}, False),
        ({"precinct_size": (8, 8)}, False),
        ({"tile_size": (8, 8)}, False),
    ],
)
@pytest.mark.parametrize("no_jp2", [False, True])
def test_a_jpeg_2000_of_tiny_blocks_is_refused(
    options: dict[str, Any], is_read: bool, no_jp2: bool
) -> None:
    content = encoded(photo(700, 701), "JPEG2000", no_jp2=no_jp2, **options)
    if is_read:
        assert read_image(content).shape == (701, 700, 3)
    else:
        with pytest.raises(ImageError, match="far too small tiles or code blocks; convert it"):
            read_image(content)


def test_a_large_jpeg_2000_is_refused() -> None:
    content = encoded(photo(700, 700), "JPEG2000")
    assert read_image(content, max_pixels=3 * 490_000).shape == (700, 700, 3)
    with pytest.raises(ImageError, match=r"700×700 pixels, over the limit of 0\.48 million"):
        read_image(content, max_pixels=1_440_000)


def test_a_png_is_decoded_only_once_and_its_exif_may_follow_the_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, tagged = encoded(red_blue(), "PNG"), encoded(red_blue(), "PNG", exif=exif)
    start = tagged.index(b"eXIf") - 4
    chunk = tagged[start : tagged.index(b"IDAT") - 4]
    late = plain[:-12] + chunk + plain[-12:]
    decoded: list[ImageFile.ImageFile] = []
    load = ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> Any:
        decoded.append(image)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    for content, width, height in ((plain, 32, 16), (tagged, 16, 32), (late, 16, 32)):
        decoded.clear()
        image = open_image(content)
        assert (image.width, image.height) == (width, height)
        assert bool(decoded) == (content is late)
        assert image.pixels().shape == (height, width, 3)


def test_a_file_object_needs_only_read() -> None:
    class Response:
        def read(self) -> bytearray:
            return bytearray(encoded(red_blue(), "PNG"))

    assert read_image(Response()).shape == (16, 32, 3)  # type: ignore[arg-type]
