"""From frames to persons: who is in the image, and whether they are happy."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from happysad.detector import Detector
from happysad.image import RgbImage
from happysad.prediction import Prediction
from happysad.video.smoothing import Smoother
from happysad.video.tracking import ShotDetector, Tracker

SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})
CAMERA: Final = "camera:"
STREAMS: Final = ("rtsp://", "http://", "https://")


def is_video(source: str) -> bool:
    """Tell by its name whether a source is a video: a file, ``camera:0``, or a stream's address."""
    if source.startswith((CAMERA, *STREAMS)):
        return True
    return Path(source).suffix.lower() in SUFFIXES


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes:
        time: Seconds from the beginning.
        number: Counted from 0; what was dropped or skipped counts.
        image: ``uint8 [height, width, 3]``, RGB, upright.
    """

    time: float
    number: int
    image: RgbImage


@dataclass(frozen=True)
class FrameResult:
    """What one frame shows.

    Attributes:
        time: Of the frame, in seconds from the beginning.
        frame: Its number, counted from 0.
        persons: Each person seen in it, by their number, with the smoothed probability and the
            label that goes with it.
        left: The numbers of those who are gone since the moment before: they were not seen for
            more than a second, or the film was cut. They do not come back; a face seen later gets
            a new number.
    """

    time: float
    frame: int
    persons: dict[int, Prediction]
    left: tuple[int, ...]


class Watcher:
    """Looks at frames, one after another, and remembers who is who."""

    def __init__(self, detector: Detector) -> None:
        """Begin to watch.

        Args:
            detector: Finds and classifies the faces of each frame.
        """
        self._detector = detector
        self._cuts = ShotDetector()
        self._tracker = Tracker()
        self._smoothers: dict[int, Smoother] = {}

    def look(self, frame: Frame) -> FrameResult:
        """Look at the next frame.

        Raises:
            ImageError: It has more pixels than the detector takes.
        """
        gone = self._tracker.forget() if self._cuts.is_shot_boundary(frame.image) else []
        seen = self._detector.predict(frame.image)
        numbers, lost = self._tracker.follow(frame.time, [each.face for each in seen])
        gone += lost
        for number in gone:
            del self._smoothers[number]
        persons = {}
        for number, prediction in sorted(zip(numbers, seen, strict=True), key=lambda pair: pair[0]):
            smoother = self._smoothers.get(number)
            if smoother is None:
                smoother = self._smoothers[number] = Smoother(
                    self._detector.classifier.info.threshold
                )
            label, scores = smoother.update(frame.time, prediction.scores)
            persons[number] = Prediction(label, scores, prediction.face)
        return FrameResult(frame.time, frame.number, persons, tuple(gone))


def watch(frames: Iterable[Frame], detector: Detector) -> Iterator[FrameResult]:
    """Follow the persons of a video.

        >>> with Video("talk.mp4") as video:                            # doctest: +SKIP
        ...     for moment in watch(video.frames(), Detector()):
        ...         for number, person in moment.persons.items():
        ...             print(moment.time, number, person.label, person.probability)

    Args:
        frames: In their order, as from `happysad.video.frames.Video`.
        detector: Finds and classifies the faces of each frame.

    Yields:
        A moment for each frame; nothing is kept of those before but what following needs.

    Raises:
        ImageError: A frame has more pixels than the detector takes.
    """
    watcher = Watcher(detector)
    return (watcher.look(frame) for frame in frames)
