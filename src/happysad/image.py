"""The one door for images: untrusted bytes or a path in, an RGB array out."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from happysad.errors import ImageError

RgbImage: TypeAlias = npt.NDArray[np.uint8]
"""``uint8 [height, width, 3]``, RGB, pixel values 0–255 as decoded."""

Source: TypeAlias = str | Path | bytes | BinaryIO | Image.Image | RgbImage
"""What is taken for an image: a path, a file's bytes, a binary file object, a Pillow image, or an
array ``uint8 [height, width, 3]`` (RGB) or ``[height, width]`` (grey)."""

MAX_PIXELS: Final = 50_000_000
MAX_SIDE: Final = 65_535
FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

_UNKNOWN: Final = "not an image, or not JPEG, PNG, WebP, BMP, GIF or TIFF; convert it to JPEG"
_ORIENTATION: Final = 0x0112
# Quarter turns to the left, and then: mirrored or not.
_TURNS: Final[dict[object, tuple[int, bool]]] = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}
_AT_ONCE: Final = 16_000_000
"""Larger images, in pixels, are converted in strips."""

_TILE_WIDTH, _TILE_LENGTH = 322, 323


def read_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Read one image, upright and in RGB, whatever it was stored as.

    The format is recognised by content, not by name: JPEG, PNG, WebP, BMP, GIF or TIFF. The EXIF
    orientation is applied, transparency is laid on white, grey, palette, CMYK and 16-bit images
    are converted, and of an animation the first frame is taken.

    Args:
        source: See `Source`.
        max_pixels: Images with more pixels are refused before they are decoded; of WebP those
            with more than half as many.

    Returns:
        ``uint8 [height, width, 3]``, RGB, 0–255.

    Raises:
        ImageError: The file is missing, is not an image, is damaged, or is too large.
    """
    return open_image(source, max_pixels=max_pixels).pixels()


def open_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> "LazyImage":
    """Look at an image's header: what `read_image` does, short of decoding.

    Args:
        source: See `Source`. A file object is read to its end.
        max_pixels: Images with more pixels are refused; of WebP those with more than half as
            many.

    Raises:
        ImageError: The file is missing, is not an image, or is too large.
    """
    return LazyImage(source, max_pixels)


class LazyImage:
    """An image that is opened and checked, and decoded when it is asked for.

    Not for use from several threads at once.

    Attributes:
        width: Of the upright image at full resolution, in pixels.
        height: Likewise.
    """

    def __init__(self, source: Source, max_pixels: int) -> None:
        """Use `open_image`."""
        self._name = str(source) if isinstance(source, str | Path) else "image"
        self._max_pixels = max_pixels
        self._decoded: RgbImage | None = None
        self._source: str | Path | bytes | Image.Image
        if isinstance(source, np.ndarray):
            self._decoded = _checked(source)
            self.height, self.width = self._decoded.shape[:2]
            self._check_size(self.width, self.height)
            return
        with self._errors():
            self._source = (
                source
                if isinstance(source, str | Path | bytes | Image.Image)
                else _read_file(source)
            )
            with self._open() as image:
                self.width, self.height = _upright_size(image)

    def pixels(self, longest: int | None = None) -> RgbImage:
        """Decode the image, or take what an earlier call decoded if that is large enough.

        Args:
            longest: Its longer side needs no more pixels than this: a JPEG is then decoded at a
                half, a quarter or an eighth, which takes a fraction of the time. The result has
                at least as many if the file has. None means the full resolution.

        Returns:
            ``uint8 [height, width, 3]``, RGB, 0–255, upright. It may be read-only.

        Raises:
            ImageError: The file is damaged, or gone.
        """
        full = max(self.width, self.height)
        wanted = full if longest is None else min(longest, full)
        if self._decoded is None or max(self._decoded.shape) < wanted:
            with self._errors(), self._open() as image:
                if image is not self._source:
                    scale = next(s for s in (8, 4, 2, 1) if full // s >= wanted or s == 1)
                    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
                self._decoded = _decoded(image)
        return self._decoded

    @contextmanager
    def _open(self) -> Iterator[Image.Image]:
        if isinstance(self._source, Image.Image):
            self._check_size(*self._source.size)
            yield self._source
            return
        file = io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source
        with Image.open(file, formats=FORMATS) as image:
            # WebP's decoder holds an image four times.
            webp = image.format == "WEBP"
            self._check_size(*image.size, self._max_pixels / 2 if webp else None)
            if image.format == "TIFF":
                # A tile is decoded whole, however little of it lies inside the image.
                tags = image.tag_v2  # type: ignore[attr-defined]
                self._check_size(int(tags.get(_TILE_WIDTH, 0)), int(tags.get(_TILE_LENGTH, 0)))
            yield image

    def _check_size(self, width: int, height: int, limit: float | None = None) -> None:
        limit = self._max_pixels if limit is None else limit
        if width * height > limit:
            raise ImageError(
                f"{self._name}: {width}×{height} pixels, over the limit of {limit / 1e6:g} million"
            )
        if max(width, height) > MAX_SIDE:
            raise ImageError(
                f"{self._name}: {width}×{height} pixels, over the limit of {MAX_SIDE:,} a side"
            )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn whatever is raised into an ImageError."""
        try:
            yield
        except ImageError:
            raise
        except FileNotFoundError as error:
            raise ImageError(f"{self._name}: no such file") from error
        except Image.DecompressionBombError as error:
            raise ImageError(
                f"{self._name}: over the limit of {self._max_pixels / 1e6:g} million pixels"
            ) from error
        # Hostile bytes make Pillow's decoders raise nearly anything; this door is where that ends.
        except Exception as error:
            reason = _UNKNOWN if isinstance(error, UnidentifiedImageError) else error
            raise ImageError(f"{self._name}: cannot be read ({reason})") from error


def _read_file(file: BinaryIO) -> bytes:
    if not hasattr(file, "read"):
        raise ImageError(
            "image: give a path, a file's bytes, a binary file object, a Pillow image or an array; "
            f"received {type(file).__name__}"
        )
    if file.seekable():
        file.seek(0)
    content = file.read()
    if not isinstance(content, bytes):
        raise ImageError("image: the file is open as text; open it in mode 'rb'")
    return content


def _checked(array: npt.NDArray[np.generic]) -> RgbImage:
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 2:
            return np.repeat(array[..., None], 3, axis=2).astype(np.uint8, copy=False)
        if array.ndim == 3 and array.shape[2] == 3:
            return array.astype(np.uint8, copy=False)
    raise ImageError(
        "array: an image must be uint8 [height, width, 3] (RGB) or [height, width] (grey); "
        f"received {array.dtype} {list(array.shape)}"
    )


def _orientation(image: Image.Image) -> object:
    # Pillow turns a TIFF by itself and states the upright size.
    if image.format == "TIFF":
        return None
    try:
        return image.getexif().get(_ORIENTATION)
    # Garbage for EXIF makes Pillow raise nearly anything; viewers show such images as stored.
    except Exception:
        return None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    turns, _ = _TURNS.get(_orientation(image), (0, False))
    return (image.height, image.width) if turns % 2 else image.size


def _decoded(image: Image.Image) -> RgbImage:
    """Decode, convert and turn upright."""
    image.load()
    width, height = image.size
    turns, mirrored = _TURNS.get(_orientation(image), (0, False))
    # Whole copies of a large image, in each mode it passes through, would take a gigabyte.
    rows = height if width * height <= _AT_ONCE else _AT_ONCE // 4 // width
    scale = _scale(image, rows)
    if rows >= height and not turns and not mirrored:
        return _to_rgb(image, scale)
    upright = np.empty((width, height, 3) if turns % 2 else (height, width, 3), np.uint8)
    as_stored = np.rot90(upright[:, ::-1] if mirrored else upright, -turns)
    for i, strip in enumerate(_strips(image, rows)):
        as_stored[i * rows : (i + 1) * rows] = _to_rgb(strip, scale)
    return upright


def _scale(image: Image.Image, rows: int) -> float:
    """What greys of 32 bits are multiplied with to fit into eight."""
    if image.mode in ("I", "F"):
        # Such files hold 16-bit greys (PNG, TIFF); 8-bit ones stay within 255.
        for strip in _strips(image, rows):
            if np.nan_to_num(np.asarray(strip, dtype=np.float32)).max(initial=0) > 255:
                return 255 / 65535
    return 1.0


def _strips(image: Image.Image, rows: int) -> Iterator[Image.Image]:
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _to_rgb(image: Image.Image, scale: float) -> RgbImage:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        pixels = np.nan_to_num(np.asarray(image, dtype=np.float32))
        image = Image.fromarray((pixels * scale).clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def fit_square(image: RgbImage, size: int) -> RgbImage:
    """Cut the largest centred square and scale it: an image that is a face becomes a crop.

    Args:
        image: ``uint8 [height, width, 3]``, RGB.
        size: Side of the crop in pixels.

    Returns:
        ``uint8 [size, size, 3]``, RGB.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    crop = Image.fromarray(image).resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return np.asarray(crop)
