"""Follow faces from frame to frame: who is who, as long as they stay in sight.

A face goes on as the person whose expected place and size it matches best (Bewley et al., "Simple
online and realtime tracking", 2016, with a greedy assignment in place of the Hungarian one). How
people look is not compared: who comes back after a while, or after a cut, is a new person.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from happysad.image import RgbImage
from happysad.prediction import Face

PATIENCE = 1.0
"""Seconds for which a person who is not seen is waited for."""

# And for so many looks: where they lie far apart, a second is soon over.
_LOOKS = 2
# How far from its expected place a face may be, in sides of it: at first, more each second.
_REACH, _REACH_PER_SECOND, _MAX_REACH = 0.75, 1.0, 1.5
# Seconds over which a speed is averaged: long enough that a jittering box stands still.
_SPEED_TIME = 0.2
# The likeness of neighbouring frames is 0.99 in one shot and 0.8 where the camera is swung round;
# that of portraits of two people is 0.27 in the middle, and under 0.58 for nine pairs in ten.
_SAME_SHOT = 0.5


@dataclass
class _Track:
    person: int
    time: float
    center: npt.NDArray[np.float64]
    side: float
    speed: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    missed: int = 0

    def distance(self, time: float, center: npt.NDArray[np.float64], side: float) -> float:
        """How badly a face fits, in sides of the face; infinite where it cannot be the same one."""
        elapsed = time - self.time
        off = float(np.linalg.norm(self.center + self.speed * elapsed - center))
        fit = off / math.sqrt(self.side * side) + abs(math.log(side / self.side))
        return fit if fit <= min(_REACH + _REACH_PER_SECOND * elapsed, _MAX_REACH) else math.inf

    def move(self, time: float, center: npt.NDArray[np.float64], side: float) -> None:
        elapsed = time - self.time
        weight = 1 - math.exp(-elapsed / _SPEED_TIME)
        self.speed += weight * ((center - self.center) / elapsed - self.speed)
        self.time, self.center, self.side, self.missed = time, center, side, 0


class Tracker:
    """Numbers the persons of a video from 1, in the order in which they appear."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._persons = 0

    def follow(self, time: float, faces: Sequence[Face]) -> tuple[list[int], list[int]]:
        """Tell who the faces of the next frame are.

        Args:
            time: Of the frame, in seconds; later than that of the frame before.
            faces: All that were found in it.

        Returns:
            The person's number for each face, and the numbers of those who have left: not seen
            for more than `PATIENCE`, and in more than two frames.
        """
        places = [_place(face) for face in faces]
        pairs = sorted(
            (track.distance(time, *place), i, j)
            for i, track in enumerate(self._tracks)
            for j, place in enumerate(places)
        )
        owners: dict[int, _Track] = {}
        taken: set[int] = set()
        for distance, i, j in pairs:
            if math.isfinite(distance) and i not in taken and j not in owners:
                taken.add(i)
                owners[j] = self._tracks[i]
                owners[j].move(time, *places[j])
        for i, track in enumerate(self._tracks):
            track.missed += i not in taken
        left = [t for t in self._tracks if t.missed > _LOOKS and time - t.time > PATIENCE]
        self._tracks = [track for track in self._tracks if track not in left]
        for j in range(len(places)):
            if j not in owners:
                self._persons += 1
                owners[j] = _Track(self._persons, time, *places[j])
                self._tracks.append(owners[j])
        return [owners[j].person for j in range(len(places))], [track.person for track in left]

    def forget(self) -> list[int]:
        """Let everybody leave, as after a cut; returns their numbers."""
        left = [track.person for track in self._tracks]
        self._tracks = []
        return left


def _place(face: Face) -> tuple[npt.NDArray[np.float64], float]:
    left, top, width, height = face.box
    return np.array([left + width / 2, top + height / 2]), math.sqrt(width * height)


class ShotDetector:
    """Notices where one shot of a film ends and another one begins."""

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None

    def is_shot_boundary(self, image: RgbImage) -> bool:
        """Compare a frame with the one before.

        Args:
            image: ``uint8 [height, width, 3]``, RGB.

        Returns:
            True where the two show different scenes. The first frame is no cut. Movement, a flash
            or a fade is none: the likeness is the correlation of two images of 16×16 pixels,
            which does not depend on brightness or contrast.
        """
        # Every so manieth pixel will do, and is quicker to average than all.
        step = max(1, min(image.shape[:2]) // 64)
        small = Image.fromarray(image[::step, ::step]).resize((16, 16), Image.Resampling.BOX)
        now = np.asarray(small, dtype=np.float32)
        now = now - now.mean((0, 1))
        before, self._before = self._before, now
        if before is None:
            return False
        size = math.sqrt(float((now**2).sum()) * float((before**2).sum()))
        # An even frame, such as a black one, is like all others; what follows it is compared anew.
        flat = size < 9 * now.size
        return not flat and float((now * before).sum()) / size < _SAME_SHOT
