"""Outputs of video prediction: a CSV timeline and an annotated copy of the video."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2

from happysad.annotate import annotate
from happysad.errors import HappysadError
from happysad.files import atomic
from happysad.image import RgbImage
from happysad.records import csv_file
from happysad.video.frames import Video
from happysad.video.watch import SUFFIXES, Frame, FrameResult

COLUMNS: Final = (
    *("time", "frame", "person", "label", "probability"),
    *("left", "top", "width", "height"),
)

# The codecs that OpenCV's wheels can write. Browsers play only VP8, which takes four times as long.
_CODECS: Final = {".mp4": "mp4v", ".webm": "VP80"}


@contextmanager
def timeline_rows(path: Path) -> Iterator[Callable[[FrameResult], None]]:
    """Write a CSV file with a row (`COLUMNS`) for each person and frame, without buffering.

    Yields:
        A function that writes the result of the next frame.

    Raises:
        HappysadError: The file cannot be written.
    """
    with csv_file(path, COLUMNS) as write_rows:

        def write(result: FrameResult) -> None:
            write_rows(_rows(result))

        yield write


def _rows(result: FrameResult) -> Iterator[dict[str, object]]:
    for number, person in result.persons.items():
        box = (f"{value:.1f}" for value in person.face.box)
        values = (person.label, f"{person.probability:.6f}", *box)
        row = (f"{result.time:.3f}", result.frame, number, *values)
        yield dict(zip(COLUMNS, row, strict=True))


@contextmanager
def annotated_video(path: Path, video: Video) -> Iterator[Callable[[Frame, FrameResult], None]]:
    """Write an annotated copy of a video; the file appears when the block ends.

    The copy has no sound. All frames of a file are written, at its frame rate; frames of a live
    source are repeated where some were dropped, which keeps the duration.

    Args:
        path: See `annotated_path`.
        video: The source, for size and frame rate.

    Yields:
        A function that writes the next frame with the latest result.

    Raises:
        HappysadError: The file cannot be written completely.
    """
    with video_writer(path, video.size, video.rate) as write:
        written = 0

        def draw(frame: Frame, result: FrameResult) -> None:
            nonlocal written
            names = [str(number) for number in result.persons]
            image = annotate(frame.image, list(result.persons.values()), names)
            until = int(frame.time * video.rate) + 1 if video.live else written + 1
            for _ in range(until - written):
                write(image)
                written += 1

        yield draw


def annotated_path(out: Path, source: str) -> Path:
    """Return the path of the annotated copy of a video.

    Args:
        out: A file name that ends in ``.mp4`` or ``.webm``; anything else is a folder, in which the
            copy has the name of the source with the suffix ``.mp4``.
        source: See `happysad.video.frames.Video`.

    Raises:
        HappysadError: The file type is not supported, or the path is the source itself.
    """
    path, suffix = out, out.suffix.lower()
    if out.is_dir() or suffix not in SUFFIXES:
        stem = Path(source).stem if Path(source).exists() else re.sub(r"\W+", "-", source)
        path = out / f"{stem}.mp4"
    elif suffix not in _CODECS:
        raise HappysadError(f"{out}: videos can be written as .mp4 or .webm; change the suffix")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise HappysadError(f"{path}: is the source video; give another name or folder")
    return path


@contextmanager
def video_writer(
    path: Path, size: tuple[int, int], rate: float
) -> Iterator[Callable[[RgbImage], None]]:
    """Write frames to a video file without sound; the file appears when the block ends.

    Args:
        path: Ends in ``.mp4`` (MPEG-4 part 2) or ``.webm`` (VP8).
        size: Width and height of the frames in pixels; an odd last row or column is dropped.
        rate: Frames per second.

    Yields:
        A function that writes the next frame, ``uint8 [height, width, 3]``, RGB.

    Raises:
        HappysadError: The file cannot be written completely.
    """
    codec = cv2.VideoWriter.fourcc(*_CODECS[path.suffix.lower()])
    count = 0
    with atomic(path) as temporary:
        try:
            # OpenCV gives no reasons, and names that are not UTF-8 crash it.
            temporary.touch()
            name = str(temporary).encode().decode()
        except UnicodeEncodeError as error:
            raise HappysadError(
                f"{path!r}: the file name of a video must be valid UTF-8; give another"
            ) from error
        writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, codec, rate, size)
        if not writer.isOpened():
            raise HappysadError(f"{path}: the video cannot be written; is the disk full?")

        def write(image: RgbImage) -> None:
            nonlocal count
            count += 1
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            # The size of a stream may change; OpenCV silently drops frames of another size.
            writer.write(bgr if bgr.shape[1::-1] == size else cv2.resize(bgr, size))

        try:
            yield write
        finally:
            writer.release()
        # OpenCV does not report a full disk either.
        written = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        found = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
        written.release()
        if found < count:
            raise HappysadError(f"{path}: the video was not written completely; is the disk full?")
