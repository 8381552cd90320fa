"""The one door for pictures: untrusted bytes or a path in, an RGB array out."""

import io
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from happysad.errors import ImageError

RgbImage: TypeAlias = npt.NDArray[np.uint8]
"""``uint8 [height, width, 3]``, RGB, pixel values 0–255 as decoded."""

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def read_image(source: str | Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Read one picture, upright and in RGB, whatever it was stored as.

    The format is recognised by content, not by name: JPEG, PNG, WebP, BMP, GIF or TIFF. The EXIF
    orientation is applied, transparency is laid on white, grey, palette, CMYK and 16-bit pictures
    are converted, and of an animation the first frame is taken.

    Args:
        source: A path, the file's bytes, or a binary file object.
        max_pixels: Pictures with more pixels are refused before they are decoded.

    Returns:
        ``uint8 [height, width, 3]``, RGB, 0–255.

    Raises:
        ImageError: The file is missing, is not a picture, is damaged, or is too large.
    """
    name = str(source) if isinstance(source, str | Path) else "image"
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ImageError(
                    f"{name}: {width}×{height} pixels, over the limit of "
                    f"{max_pixels / 1e6:g} million"
                )
            return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: over the limit of {max_pixels / 1e6:g} million pixels"
        ) from error
    # Hostile bytes make Pillow's decoders raise nearly anything; this door is where that ends.
    except Exception as error:
        reason = "not a picture" if isinstance(error, UnidentifiedImageError) else error
        raise ImageError(f"{name}: cannot be read ({reason})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        # 32-bit files hold 16-bit greys (PNG, TIFF); 8-bit ones stay within 255.
        pixels = np.nan_to_num(np.asarray(image, dtype=np.float64))
        scale = 255 / 65535 if pixels.max(initial=0) > 255 else 1.0
        return Image.fromarray((pixels * scale).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def fit_square(image: RgbImage, size: int) -> RgbImage:
    """Cut the largest centred square and scale it: a picture that is a face becomes a crop.

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
