"""Face tracking and shot boundary detection.

Each face is assigned to the track whose predicted position and size it matches best (Bewley et al.
2016, "Simple online and realtime tracking", with greedy assignment instead of the Hungarian
method). Appearance is not compared: a person who returns later, or in another shot, is a new one.
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
"""Seconds for which a lost track is kept."""

# A lost track is also kept for this many processed frames, which may be far apart.
_MIN_MISSED = 2
# Maximum distance of a face from its predicted position, in face sides: at once, and its growth.
_REACH, _REACH_PER_SECOND, _MAX_REACH = 0.75, 1.0, 1.5
# Time constant of the speed estimate, seconds; long enough to average out the jitter of boxes.
_SPEED_TIME = 0.2
# Correlation of consecutive frames: 0.99 within a shot, 0.8 in a fast pan. Between portraits of two
# people the median is 0.27 and the 90th percentile 0.58.
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
        """Return the matching cost of a face, in face sides; infinite beyond the limit."""
        elapsed = time - self.time
        off = float(np.linalg.norm(self.center + self.speed * elapsed - center))
        fit = off / math.sqrt(self.side * side) + abs(math.log(side / self.side))
        return fit if fit <= min(_REACH + _REACH_PER_SECOND * elapsed, _MAX_REACH) else math.inf

    def move(self, time: float, center: npt.NDArray[np.float64], side: float) -> None:
        elapsed = time - self.time
        if elapsed:
            weight = 1 - math.exp(-elapsed / _SPEED_TIME)
            self.speed += weight * ((center - self.center) / elapsed - self.speed)
        self.time, self.center, self.side, self.missed = time, center, side, 0


class Tracker:
    """Assigns faces to tracks, numbered from 1 in order of appearance."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._persons = 0

    def follow(self, time: float, faces: Sequence[Face]) -> tuple[list[int], list[int]]:
        """Assign the faces of the next frame.

        Args:
            time: Timestamp of the frame, in seconds; not before the previous one.
            faces: All faces detected in it.

        Returns:
            The track number of each face, and the numbers of the tracks that ended: not seen for
            more than `PATIENCE` seconds, and in more than two frames.
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
        left = [t for t in self._tracks if t.missed > _MIN_MISSED and time - t.time > PATIENCE]
        self._tracks = [track for track in self._tracks if track not in left]
        for j in range(len(places)):
            if j not in owners:
                self._persons += 1
                owners[j] = _Track(self._persons, time, *places[j])
                self._tracks.append(owners[j])
        return [owners[j].person for j in range(len(places))], [track.person for track in left]

    def reset(self) -> list[int]:
        """End all tracks, as at a shot boundary, and return their numbers."""
        left = [track.person for track in self._tracks]
        self._tracks = []
        return left


def _place(face: Face) -> tuple[npt.NDArray[np.float64], float]:
    left, top, width, height = face.box
    return np.array([left + width / 2, top + height / 2]), math.sqrt(width * height)


class ShotDetector:
    """Detects shot boundaries."""

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None

    def is_shot_boundary(self, image: RgbImage) -> bool:
        """Compare a frame with the previous one.

        Args:
            image: ``uint8 [height, width, 3]``, RGB.

        Returns:
            Whether the frame begins a new shot; False for the first frame. Movement, flashes and
            fades are not shot boundaries: frames are compared by the correlation of 16×16 pixel
            thumbnails, which does not depend on brightness or contrast.
        """
        # Every nth pixel is enough, and faster to average.
        step = max(1, min(image.shape[:2]) // 64)
        small = Image.fromarray(image[::step, ::step]).resize((16, 16), Image.Resampling.BOX)
        now = np.asarray(small, dtype=np.float32)
        now = now - now.mean((0, 1))
        before, self._before = self._before, now
        if before is None:
            return False
        size = math.sqrt(float((now**2).sum()) * float((before**2).sum()))
        # A uniform frame, such as a black one, correlates with nothing.
        flat = size < 9 * now.size
        return not flat and float((now * before).sum()) / size < _SAME_SHOT
