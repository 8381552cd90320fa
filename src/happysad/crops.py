"""Square crops, of detected faces and of whole images."""

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from happysad.image import LazyImage, RgbImage
from happysad.prediction import Face, Point

Matrix: TypeAlias = npt.NDArray[np.float64]

CROP_MARGIN: Final = 1.0
"""Side of a crop, as a multiple of the longer side of the face's box.

At 1.0 a crop is framed like FER2013's images, in which the median face's box is as long as the
image and lies in its middle; see benchmarks/framing.py.
"""

# Crops may be enlarged by half: decoding a large JPEG at the next scale costs more than it shows.
_MAX_ENLARGEMENT: Final = 1.5


def crop_faces(
    image: LazyImage,
    faces: Sequence[Face],
    size: int,
    *,
    margin: float = CROP_MARGIN,
    level: bool = True,
) -> npt.NDArray[np.uint8]:
    """Crop faces: square, upright, all of one size.

    The crop is centred on the box; its side is ``margin`` times the box's longer side. With
    ``level`` it is rotated so that the eyes are level. Outside the image, the image is mirrored.

    Args:
        image: The image in which the faces were detected.
        faces: The faces; one without landmarks is not rotated.
        size: Side of the crops in pixels.
        margin: Side of the square as a multiple of the box's longer side.
        level: Whether to rotate the crop by the eyes' angle.

    Returns:
        ``uint8 [N, size, size, 3]``, RGB.

    Raises:
        ImageError: The image cannot be decoded.
    """
    crops = np.empty((len(faces), size, size, 3), np.uint8)
    if not faces:
        return crops
    full = max(image.width, image.height)
    sides = [max(1.0, margin * max(face.box[2:])) for face in faces]
    pixels = image.pixels(math.ceil(full * min(1.0, size / _MAX_ENLARGEMENT / min(sides))))
    scale = max(pixels.shape[:2]) / full
    for crop, face, side in zip(crops, faces, sides, strict=True):
        x, y = centre(face)
        angle = roll(face) if level else 0.0
        crop[:] = cut_square(pixels, (x * scale, y * scale), side * scale, angle, size)
    return crops


def centre(face: Face) -> Point:
    """Return the centre of a face's box."""
    left, top, width, height = face.box
    return left + width / 2, top + height / 2


def roll(face: Face) -> float:
    """Return the angle of the line through the eyes, radians, clockwise; 0 without landmarks."""
    if not face.landmarks:
        return 0.0
    (x0, y0), (x1, y1) = face.landmarks[:2]
    return math.atan2(y1 - y0, x1 - x0)


def cut_square(image: RgbImage, middle: Point, side: float, angle: float, size: int) -> RgbImage:
    """Cut a rotated square out of an image and resize it.

    Args:
        image: ``uint8 [height, width, 3]``, RGB; mirrored where the square reaches beyond it.
        middle: The square's centre in pixels.
        side: Its side in pixels.
        angle: Its rotation in radians, clockwise.
        size: Side of the result in pixels.

    Returns:
        ``uint8 [size, size, 3]``, RGB.
    """
    # Two pixels more than the rotated square touches, for the interpolation.
    reach = side / 2 * (abs(math.cos(angle)) + abs(math.sin(angle))) + 2
    left, top = (math.floor(value - reach) for value in middle)
    right, bottom = (math.ceil(value + reach) for value in middle)
    part = Image.fromarray(_mirrored(image, left, top, right, bottom))
    x, y = middle[0] - left, middle[1] - top
    if not angle:
        half, resample = side / 2, Image.Resampling.BILINEAR
        if side >= size:
            resample = Image.Resampling.BOX
        return np.asarray(
            part.resize((size, size), resample, (x - half, y - half, x + half, y + half))
        )
    if side > size:
        # Averages over all pixels; bilinear interpolation alone would alias.
        target = max(1, round(2 * reach * size / side))
        box = (x - reach, y - reach, x + reach, y + reach)
        part = part.resize((target, target), Image.Resampling.BOX, box)
        x = y = target / 2
        side *= target / (2 * reach)
    linear = side / size * rotation(angle)
    return warp(part, affine(linear, (size / 2, size / 2), (x, y)), (size, size))


def rotation(angle: float) -> Matrix:
    """Return the 2×2 matrix of a rotation by an angle in radians, clockwise."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def affine(linear: Matrix, source: Point, target: Point) -> Matrix:
    """Return the 3×3 map with a linear part that maps one point to another."""
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.array(target) - linear @ np.array(source)
    return matrix


def warp(image: Image.Image, matrix: Matrix, size: tuple[int, int]) -> RgbImage:
    """Sample an image bilinearly; black outside it.

    Args:
        image: An RGB image.
        matrix: 3×3 map from the result's pixel coordinates to the image's.
        size: Width and height of the result.

    Returns:
        ``uint8 [height, width, 3]``, RGB.
    """
    coefficients = tuple(matrix[:2].ravel().tolist())
    sampled = image.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(sampled)


def _mirrored(image: RgbImage, left: int, top: int, right: int, bottom: int) -> RgbImage:
    """Return a part of an image that may reach beyond its border, where the image is mirrored."""
    height, width = image.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return np.ascontiguousarray(image[top:bottom, left:right])
    rows, columns = _reflect(top, bottom, height), _reflect(left, right, width)
    return image[rows[:, None], columns]


def _reflect(start: int, stop: int, length: int) -> npt.NDArray[np.intp]:
    """Return indices start … stop, those outside the range mirrored without the edge repeated."""
    period = max(1, 2 * (length - 1))
    indices = np.arange(start, stop) % period
    return np.minimum(indices, period - indices) if length > 1 else np.zeros_like(indices)


def fit_square(image: RgbImage, size: int) -> RgbImage:
    """Crop the largest centred square and resize it.

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
