"""The face detector: an image → its faces, at several scales and rotations."""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image

from happysad.crops import Matrix, affine, centre, cut_square, roll, rotation, warp
from happysad.image import LazyImage, RgbImage
from happysad.prediction import Face
from happysad.yunet import MAX_SIDE, YuNet

MIN_CONFIDENCE: Final = 0.6
"""Minimum detection confidence."""

# Longer sides, in pixels, at which an image is searched, the cheapest first. YuNet finds faces of
# about 10 to 300 pixels; faces that fill the frame are found best at _CLOSE.
_SCALES: Final = (320, 640, 1248)
_CLOSE: Final = 160
# Larger JPEGs are decoded at this size or above.
_DECODED: Final = 640
# Faces smaller than this at one scale, pixels, and detections of lower confidence than the minimum
# but at least this make the next scale worth its time.
_SMALL: Final = 32
_DOUBTFUL: Final = 0.3
# Where no detection has at least this confidence, there is no rotated face to search for either.
_TRACE: Final = 0.1
# YuNet finds heads tilted by up to 20 or 30 degrees; rotated by this, others are found, too.
_ROTATIONS: Final = (-40.0, 40.0)
_ROTATED_SIDE: Final = 384
# Below about 160 pixels, landmarks show only a tenth of a face's roll. A face that seems rotated by
# this many degrees is detected again in a crop of this side, this much larger than the face.
_MIN_ROLL: Final = 2.0
_REFINING_SIDE: Final = 224
_REFINING_MARGIN: Final = 1.2
# Of a strongly tilted face the first crop shows a part of the roll only: where the second estimate
# differs by as many degrees, a crop levelled by it shows the rest.
_ROLL_CHANGE: Final = 10.0
_MAX_OVERLAP: Final = 0.5
# Of 400 photographs of faces of 96 pixels or more, 1 % are detected with less confidence, of
# smaller ones up to half; of drawings, statues and toys that are detected, a third.
_PHOTOGRAPHED: Final = 0.8
_JUDGED_SIDE: Final = 80
# Tiles overlap by more than the largest face that only they show.
_TILE_OVERLAP: Final = 32


def is_doubtful(face: Face, width: int, height: int) -> bool:
    """Return whether a detection is probably not a photographed face, which then gets no label.

    Drawings, statues, toys and patterns are detected with less confidence than photographed faces
    of their size. Small faces are never doubtful.

    Args:
        face: A detection.
        width: Of the image, in pixels.
        height: Likewise.
    """
    judged = max(_JUDGED_SIDE, max(width, height) / 8)
    return face.confidence < _PHOTOGRAPHED and max(face.box[2:]) >= judged


class FaceDetector:
    """Detects faces with YuNet.

    An image is searched at 320 pixels, and again at 640 and 1248 while there is no face, a small
    one, or a doubtful one; where there is none at all, it is also searched rotated. So a face of 60
    pixels in a photograph of 4000 is found, and one that fills the frame, is cut by the border, or
    is tilted by up to 45 degrees. Not promised: faces of less than 1.5 % of the image's longer
    side; small faces in the background of large ones; profiles. Some objects that resemble faces
    are detected, too.

    May be used from several threads and may be pickled.
    """

    def __init__(self) -> None:
        """Load the network.

        Raises:
            ModelError: The bundled file is missing or damaged.
        """
        self._yunet = YuNet()

    def detect(self, image: LazyImage) -> list[Face]:
        """Detect the faces of an image.

        Returns:
            The faces, the largest first; an empty list if there are none.

        Raises:
            ImageError: The image cannot be decoded.
        """
        full = max(image.width, image.height)
        faces: list[Face] = []
        trace = False
        for longest in _SCALES:
            found = self._detect_at(image, longest)
            if longest == _SCALES[0] and full > _CLOSE and not _above(MIN_CONFIDENCE, found):
                found += self._detect_at(image, _CLOSE)
            trace |= bool(found)
            faces = _suppress_overlaps(faces + _above(MIN_CONFIDENCE, found))
            small = _SMALL * full / min(longest, full)
            large = all(max(face.box[2:]) >= small for face in faces)
            clear = _suppress_overlaps(faces + _above(_DOUBTFUL, found)) == faces
            if (faces and large and clear) or longest >= full:
                break
        if trace and not faces:
            rotated = [f for angle in _ROTATIONS for f in self._detect_rotated(image, angle)]
            faces = _suppress_overlaps(_above(MIN_CONFIDENCE, rotated))
        faces = [self._level(image, face) for face in faces]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _detect_at(self, image: LazyImage, longest: int) -> list[Face]:
        """Detect faces in the image resized to a longer side, in overlapping tiles if large."""
        pixels, scale = _resized(image, longest)
        faces = []
        for left, top, tile in _tiles(pixels):
            to_image = scale @ affine(np.eye(2), (0, 0), (left, top))
            ends = to_image @ (tile.shape[1], tile.shape[0], 1)
            found = self._detect(tile, to_image)
            faces += [f for f in found if _is_whole(f, to_image[:2, 2], ends[:2], image)]
        return faces

    def _detect_rotated(self, image: LazyImage, degrees: float) -> list[Face]:
        """Detect faces in the image rotated clockwise about its centre."""
        pixels, scale = _resized(image, _SCALES[0])
        height, width = pixels.shape[:2]
        turn = rotation(math.radians(-degrees))
        sides = np.abs(turn) @ (width, height)
        # Shrunk to fit: a larger canvas would double the time.
        shrink = max(1.0, max(sides) / _ROTATED_SIDE)
        across, down = (math.floor(side / shrink) for side in sides)
        centres = (across / 2, down / 2), (width / 2, height / 2)
        matrix = affine(shrink * turn, *centres)
        rotated = warp(Image.fromarray(pixels), matrix, (across, down))
        return self._detect(rotated, scale @ matrix)

    def _level(self, image: LazyImage, face: Face) -> Face:
        refined = self._refine_roll(image, face)
        if abs(math.degrees(roll(refined) - roll(face))) < _ROLL_CHANGE:
            return refined
        return self._refine_roll(image, refined)

    def _refine_roll(self, image: LazyImage, face: Face) -> Face:
        """Detect a rotated face again in a levelled crop, where its landmarks are exact."""
        full, angle = max(image.width, image.height), roll(face)
        if abs(math.degrees(angle)) < _MIN_ROLL or max(face.box[2:]) > full / 2:
            return face
        pixels = image.pixels(_DECODED)
        scale = max(pixels.shape[:2]) / full
        x, y = centre(face)
        side = max(face.box[2:]) * _REFINING_MARGIN
        crop = cut_square(pixels, (x * scale, y * scale), side * scale, angle, _REFINING_SIDE)
        middle = (_REFINING_SIDE / 2, _REFINING_SIDE / 2)
        to_image = affine(side / _REFINING_SIDE * rotation(angle), middle, (x, y))
        again = _above(MIN_CONFIDENCE, self._detect(crop, to_image))
        again = [found for found in again if _overlap(found, face) > _MAX_OVERLAP]
        return max(again, key=lambda face: face.confidence, default=face)

    def _detect(self, pixels: RgbImage, to_image: Matrix) -> list[Face]:
        """Run YuNet; ``to_image`` is the 3×3 map from pixel coordinates to the image's."""
        rows = self._yunet.detect(pixels, _TRACE).astype(np.float64)
        sizes = rows[:, 2:4] * math.hypot(*to_image[:2, 0])
        points = np.concatenate([rows[:, :2] + rows[:, 2:4] / 2, rows[:, 4:14]], axis=1)
        points = points.reshape(-1, 6, 2) @ to_image[:2, :2].T + to_image[:2, 2]
        # Boxes stay upright.
        boxes = np.concatenate([points[:, 0] - sizes / 2, sizes], axis=1)
        return [
            Face((left, top, width, height), tuple((x, y) for x, y in landmarks), confidence)
            for (left, top, width, height), landmarks, confidence in zip(
                boxes.tolist(), points[:, 1:].tolist(), rows[:, 14].tolist(), strict=True
            )
        ]


def _resized(image: LazyImage, longest: int) -> tuple[RgbImage, Matrix]:
    """Return the image resized to a longer side, and the 3×3 map back to the image."""
    pixels = image.pixels(max(longest, _DECODED))
    # Tiny images are enlarged: in one of six that are a face, it is only found then.
    scale = min(longest, max(_CLOSE, max(pixels.shape[:2]))) / max(pixels.shape[:2])
    if scale != 1:
        height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
        how = Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.BICUBIC
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), how, reducing_gap=1.0))
    factor = max(image.width, image.height) / max(pixels.shape[:2])
    return pixels, np.diag([factor, factor, 1.0])


def _tiles(pixels: RgbImage) -> Iterator[tuple[int, int, RgbImage]]:
    """Yield left, top and pixels of overlapping tiles that cover an image."""
    height, width = pixels.shape[:2]
    for top in _starts(height):
        for left in _starts(width):
            yield left, top, pixels[top : top + MAX_SIDE, left : left + MAX_SIDE]


def _starts(length: int) -> list[int]:
    count = max(1, math.ceil((length - _TILE_OVERLAP) / (MAX_SIDE - _TILE_OVERLAP)))
    last = max(0, length - MAX_SIDE)
    return [last * i // max(1, count - 1) for i in range(count)]


def _is_whole(face: Face, start: Matrix, end: Matrix, image: LazyImage) -> bool:
    """Return whether a face ends before the borders of its tile, those of the image apart."""
    lengths = (image.width, image.height)
    return all(
        (face.box[i] > start[i] or start[i] <= 0)
        and (face.box[i] + face.box[i + 2] < end[i] or end[i] >= lengths[i] - 1)
        for i in (0, 1)
    )


def _above(confidence: float, faces: list[Face]) -> list[Face]:
    return [face for face in faces if face.confidence >= confidence]


def _suppress_overlaps(faces: list[Face]) -> list[Face]:
    """Non-maximum suppression across scales, by the share of the smaller box."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.confidence):
        if all(_overlap(face, other) < _MAX_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(first: Face, second: Face) -> float:
    """Return the share of the smaller box that lies in the other, 0–1."""
    (x, y, width, height), (left, top, across, down) = first.box, second.box
    common = max(0, min(x + width, left + across) - max(x, left)) * max(
        0, min(y + height, top + down) - max(y, top)
    )
    return common / max(1e-9, min(width * height, across * down))
