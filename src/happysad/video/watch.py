"""Video pipeline: frames → tracked persons with smoothed labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from happysad.detector import Detector
from happysad.faces import is_doubtful
from happysad.image import RgbImage
from happysad.prediction import Prediction
from happysad.video.smoothing import Smoother
from happysad.video.tracking import ShotDetector, Tracker


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes:
        time: Seconds from the beginning.
        number: Index of the frame from 0; dropped and skipped frames are counted.
        image: ``uint8 [height, width, 3]``, RGB, upright.
    """

    time: float
    number: int
    image: RgbImage


@dataclass(frozen=True)
class FrameResult:
    """The persons in one frame.

    Attributes:
        time: Timestamp of the frame, in seconds from the beginning.
        frame: Index of the frame, from 0.
        persons: The persons in the frame: number → prediction with smoothed scores and label.
        left: Numbers of the persons whose track ended with this frame: they were not seen for more
            than a second, or a new shot began. Numbers are not used again.
    """

    time: float
    frame: int
    persons: dict[int, Prediction]
    left: tuple[int, ...]


class Watcher:
    """Processes the frames of one video in order and keeps the state of its tracks."""

    def __init__(self, detector: Detector) -> None:
        """Start a new video.

        Args:
            detector: Detects and classifies the faces of each frame.
        """
        self._detector = detector
        self._shots = ShotDetector()
        self._tracker = Tracker()
        self._smoothers: dict[int, Smoother] = {}

    def look(self, frame: Frame) -> FrameResult:
        """Process the next frame.

        Raises:
            ImageError: The frame has more pixels than the detector accepts.
        """
        gone = self._tracker.reset() if self._shots.is_shot_boundary(frame.image) else []
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
            height, width = frame.image.shape[:2]
            if is_doubtful(prediction.face, width, height):
                label = "uncertain"
            persons[number] = Prediction(label, scores, prediction.face)
        return FrameResult(frame.time, frame.number, persons, tuple(gone))


def watch(frames: Iterable[Frame], detector: Detector) -> Iterator[FrameResult]:
    """Track and classify the persons in a video.

        >>> with Video("talk.mp4") as video:
        ...     for result in watch(video.frames(), Detector()):
        ...         for number, person in result.persons.items():
        ...             print(result.time, number, person.label, person.probability)

    Args:
        frames: The frames in order, such as from `happysad.video.frames.Video`.
        detector: Detects and classifies the faces of each frame.

    Yields:
        A result for each frame. Earlier frames are not kept in memory.

    Raises:
        ImageError: A frame has more pixels than the detector accepts.
    """
    watcher = Watcher(detector)
    return (watcher.look(frame) for frame in frames)
