"""Decode untrusted image files into RGB arrays."""

import io
import os
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from happysad.errors import ImageError
from happysad.image_cost import check_cost
from happysad.image_formats import FORMATS, HEADER_BYTES, NAMES, image_format
from happysad.image_pixels import to_rgb, upright_pixels, upright_size

RgbImage: TypeAlias = npt.NDArray[np.uint8]
"""``uint8 [height, width, 3]``, RGB, pixel values 0–255 as decoded."""

Source: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | RgbImage
)
"""An image: a path, a file's bytes, a binary file object, a Pillow image, or an array ``uint8``:
``[height, width, 3]`` (RGB), ``[height, width, 4]`` (RGBA, blended with white), ``[height, width]``
or ``[height, width, 1]`` (grey)."""

MAX_PIXELS: Final = 50_000_000
MAX_SIDE: Final = 65_535
_TILE_WIDTH, _TILE_LENGTH = 322, 323

# Decoders hold an image several times: WebP's four times, JPEG 2000's in 32 bits per value.
_SHARES: Final = {"WEBP": 2, "JPEG2000": 3}
"""Which part of the maximum number of pixels is allowed: a half, a third."""

# The chunks of a PNG that may hold EXIF data.
_METADATA: Final = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def read_image(
    source: Source, *, max_pixels: int = MAX_PIXELS, formats: Collection[str] = FORMATS
) -> RgbImage:
    """Decode an image, upright and in RGB.

    The format is recognised by content, not by name. The EXIF orientation is applied, transparent
    images are blended with white, grey, palette, CMYK and 16-bit images are converted, and the
    first frame of an animation is used.

    Args:
        source: See `Source`.
        max_pixels: Images with more pixels are refused before they are decoded; WebP images with
            more than half as many, JPEG 2000 images with more than a third.
        formats: Which of `FORMATS` are accepted.

    Returns:
        ``uint8 [height, width, 3]``, RGB, 0–255.

    Raises:
        ImageError: The file is missing, is not an image, is damaged, or is too large.
    """
    return open_image(source, max_pixels=max_pixels, formats=formats).pixels()


def open_image(
    source: Source, *, max_pixels: int = MAX_PIXELS, formats: Collection[str] = FORMATS
) -> "LazyImage":
    """Read an image's header and check its size, without decoding it.

    Args:
        source: See `Source`. A file object is read to its end.
        max_pixels: Images with more pixels are refused; WebP images with more than half as many,
            JPEG 2000 images with more than a third.
        formats: Which of `FORMATS` are accepted.

    Raises:
        ImageError: The file is missing, is not an image, or is too large.
    """
    return LazyImage(source, max_pixels, formats)


class LazyImage:
    """An image whose header was checked, decoded on demand.

    Not safe for use from several threads at once.

    Attributes:
        width: Of the upright image at full resolution, in pixels.
        height: Likewise.
    """

    def __init__(self, source: Source, max_pixels: int, formats: Collection[str]) -> None:
        """Use `open_image`."""
        self._name = "image"
        self._max_pixels = max_pixels
        self._formats = formats
        self._decoded: RgbImage | None = None
        self._source: str | bytes | Image.Image
        if isinstance(source, str | os.PathLike):
            self._name = self._source = os.fspath(source)
            with self._errors():
                # A pipe can be read only once, and not from an earlier place.
                if Path(source).is_fifo():
                    self._source = Path(source).read_bytes()
        elif isinstance(source, Image.Image):
            self._source = source
        elif isinstance(source, bytes | bytearray | memoryview):
            self._source = bytes(source)
        elif hasattr(source, "read"):
            with self._errors():
                self._source = _read_file(source)
        else:
            self._decoded = _checked(source)
            self.height, self.width = self._decoded.shape[:2]
            self._check_size(self.width, self.height)
            return
        with self._errors(), self._open() as image:
            if image is self._source or _has_late_metadata(image):
                # Damaged images are reported when they are decoded.
                with suppress(Exception):
                    image.load()
            self.width, self.height = upright_size(image)
            if not self.width * self.height:
                raise ImageError(f"has no pixels ({self.width}×{self.height})")

    def pixels(self, longest: int | None = None) -> RgbImage:
        """Decode the image, or reuse what an earlier call decoded if that is large enough.

        Args:
            longest: Minimum length of the longer side, if the file has as many pixels: a JPEG is
                then decoded at a half, a quarter or an eighth, in a fraction of the time.
                None means full resolution.

        Returns:
            ``uint8 [height, width, 3]``, RGB, 0–255, upright. It may be read-only.

        Raises:
            ImageError: The file is damaged, or gone.
        """
        full = max(self.width, self.height)
        wanted = full if longest is None else min(longest, full)
        if self._decoded is None or max(self._decoded.shape[:2]) < wanted:
            with self._errors(), self._open() as image:
                if image is not self._source:
                    check_cost(image)
                    scale = next(s for s in (8, 4, 2, 1) if full // s >= wanted or s == 1)
                    image.draft(None, (max(1, image.width // scale), max(1, image.height // scale)))
                self._decoded = upright_pixels(image)
        return self._decoded

    @contextmanager
    def _open(self) -> Iterator[Image.Image]:
        if isinstance(self._source, Image.Image):
            self._check_size(*self._source.size)
            yield self._source
            return
        with (
            io.BytesIO(self._source)
            if isinstance(self._source, bytes)
            else Path(self._source).open("rb")
        ) as file:
            # Pillow rejects formats without a plugin; HEIF's is imported only where it is needed.
            formats = [name for name in self._formats if name != "HEIF"]
            if image_format(file.read(HEADER_BYTES)) == "HEIF" and "HEIF" in self._formats:
                _register_heif()
                formats = ["HEIF"]
            file.seek(0)
            with Image.open(file, formats=formats) as image:
                share = _SHARES.get(image.format or "", 1)
                self._check_size(*image.size, self._max_pixels / share)
                if image.format == "TIFF":
                    # A tile is decoded whole, even if only a small part of it is inside the image.
                    tags = image.tag_v2  # type: ignore[attr-defined]
                    self._check_size(int(tags.get(_TILE_WIDTH, 0)), int(tags.get(_TILE_LENGTH, 0)))
                yield image

    def _check_size(self, width: int, height: int, limit: float | None = None) -> None:
        limit = self._max_pixels if limit is None else limit
        size = f"{width}×{height} pixels, over the limit of"
        if width * height > limit:
            raise ImageError(f"{size} {limit / 1e6:.3g} million", self._name)
        if max(width, height) > MAX_SIDE:
            raise ImageError(f"{size} {MAX_SIDE:,} a side", self._name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert every exception to ImageError."""
        try:
            yield
        except ImageError as error:
            raise ImageError(error.reason, self._name) from error
        except FileNotFoundError as error:
            raise ImageError("no such file", self._name) from error
        except Image.DecompressionBombError as error:
            limit = min(self._max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or self._max_pixels))
            raise ImageError(
                f"over the limit of {limit / 1e6:.0f} million pixels", self._name
            ) from error
        except UnidentifiedImageError as error:
            names = [NAMES.get(name, name) for name in self._formats]
            known = f"{', '.join(names[:-1])} or {names[-1]}" if names[1:] else names[0]
            raise ImageError(
                f"cannot be read (not an image, or not {known}; convert it to {names[0]})",
                self._name,
            ) from error
        # Hostile bytes make Pillow's decoders raise nearly anything.
        except Exception as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise ImageError(f"cannot be read ({reason})", self._name) from error


def _register_heif() -> None:
    try:
        import pi_heif
    except ImportError as error:
        raise ImageError("HEIC needs pi-heif; pip install pi-heif") from error
    pi_heif.register_heif_opener()


def _read_file(file: Any) -> bytes:
    # Responses of HTTP clients may have nothing but read.
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    content = file.read()
    if isinstance(content, str):
        raise ImageError("the file is open as text; open it in mode 'rb'")
    return bytes(content)


def _checked(array: Any) -> RgbImage:
    if not isinstance(array, np.ndarray):
        advice = "; give array.numpy()" if hasattr(array, "numpy") else ""
        raise ImageError(
            "give a path, a file's bytes, a binary file object, a Pillow image or a NumPy array; "
            f"received {type(array).__name__}{advice}"
        )
    if array.dtype == np.uint8 and array.size:
        pixels: RgbImage = array[..., None] if array.ndim == 2 else array
        channels = pixels.shape[2] if pixels.ndim == 3 else 0
        if channels == 1:
            return np.concatenate([pixels] * 3, axis=2)
        if channels == 4:
            return to_rgb(Image.fromarray(pixels))
        if channels == 3:
            return pixels
    advice = ""
    if array.dtype.kind == "f":
        advice = "; convert values of 0–1 with (255 * array).astype('uint8')"
    raise ImageError(
        "an array must be uint8 [height, width, 3] (RGB), [height, width, 4] (RGBA) or "
        f"[height, width] (grey); received {array.dtype} {list(array.shape)}{advice}"
    )


def _has_late_metadata(image: Any) -> bool:
    """Return whether a PNG file has metadata after its pixels, which Pillow reads on decoding."""
    if image.format != "PNG":
        return False
    file, pixels, late = image.fp, False, False
    position = file.tell()
    file.seek(8)
    while not late and len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        pixels = pixels or kind == b"IDAT"
        late = pixels and kind in _METADATA
        file.seek(length + 4, os.SEEK_CUR)
    file.seek(position)
    return late
