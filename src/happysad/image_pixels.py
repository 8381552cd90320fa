"""Pixels of Pillow images as upright RGB arrays."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

_ORIENTATION: Final = 0x0112
# Quarter turns to the left, and whether the image is mirrored afterwards.
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

# Bits per pixel of cameras' and scanners' grey images that are stored in 16 or 32 bits.
_DEPTHS: Final = (8, 10, 12, 14, 16)


def _orientation(image: Image.Image) -> object:
    # Pillow rotates TIFF images itself and states the upright size.
    if image.format == "TIFF":
        return None
    try:
        # Not image.getexif: that of PNG files without EXIF data decodes the image.
        return Image.Image.getexif(image).get(_ORIENTATION)
    # Damaged EXIF data makes Pillow raise nearly anything; viewers show such images as stored.
    except Exception:
        return None


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height after rotation as EXIF states; the image need not be decoded."""
    turns, _ = _TURNS.get(_orientation(image), (0, False))
    return (image.height, image.width) if turns % 2 else image.size


def upright_pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Decode, convert to RGB and rotate upright.

    Returns:
        ``uint8 [height, width, 3]``; it may be read-only.
    """
    image.load()
    width, height = image.size
    turns, mirrored = _TURNS.get(_orientation(image), (0, False))
    # Full copies of a large image in each intermediate mode would take a gigabyte.
    rows = height if width * height <= _AT_ONCE else _AT_ONCE // 4 // width
    scale = _scale(image, rows)
    if rows >= height and not turns and not mirrored:
        return to_rgb(image, scale)
    upright = np.empty((width, height, 3) if turns % 2 else (height, width, 3), np.uint8)
    as_stored = np.rot90(upright[:, ::-1] if mirrored else upright, -turns)
    for i, strip in enumerate(_strips(image, rows)):
        as_stored[i * rows : (i + 1) * rows] = to_rgb(strip, scale)
    return upright


def _scale(image: Image.Image, rows: int) -> float:
    """Return the factor that maps grey levels of more than 8 bits to 0–255."""
    if not image.mode.startswith(("I", "F")):
        return 1.0
    largest = 0.0
    for strip in _strips(image, rows):
        levels = np.nan_to_num(np.asarray(strip, dtype=np.float32), posinf=0)
        largest = max(largest, float(levels.max(initial=0)))
    if image.mode.startswith("F") and largest <= 1:
        return 255.0
    # The file does not state how many bits are used; the smallest depth that holds all levels is.
    return 255 / (2 ** next((bits for bits in _DEPTHS if largest < 2**bits), 16) - 1)


def _strips(image: Image.Image, rows: int) -> Iterator[Image.Image]:
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def to_rgb(image: Image.Image, scale: float = 1.0) -> npt.NDArray[np.uint8]:
    """Convert an image to RGB, blended with white where it is transparent.

    Args:
        image: Decoded.
        scale: Factor that maps grey levels of more than 8 bits to 0–255.
    """
    if image.mode.startswith(("I", "F")):
        levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
        image = Image.fromarray((levels * scale).clip(0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
