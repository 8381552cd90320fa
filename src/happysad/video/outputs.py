"""What watching a video leaves behind: a table of rows, and a video with boxes."""

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

# What OpenCV's packages can write. Browsers play only the second, which takes four times as long.
_CODECS: Final = {".mp4": "mp4v", ".webm": "VP80"}


@contextmanager
def timeline_rows(path: Path) -> Iterator[Callable[[FrameResult], None]]:
    """Write a CSV file with a row for each person and frame, `COLUMNS`; each row at once.

    Yields:
        A function that takes the next moment.

    Raises:
        HappysadError: The file cannot be written.
    """
    with csv_file(path, COLUMNS) as write_rows:

        def write(moment: FrameResult) -> None:
            write_rows(_rows(moment))

        yield write


def _rows(moment: FrameResult) -> Iterator[dict[str, object]]:
    for number, person in moment.persons.items():
        box = (f"{value:.1f}" for value in person.face.box)
        values = (person.label, f"{person.probability:.6f}", *box)
        row = (f"{moment.time:.3f}", moment.frame, number, *values)
        yield dict(zip(COLUMNS, row, strict=True))


@contextmanager
def annotated_video(path: Path, video: Video) -> Iterator[Callable[[Frame, FrameResult], None]]:
    """Write a video's frames with the persons drawn in; the file is there when the block ends.

    The sound is left out. Each frame of a file is written, at the file's rate; a live source's are
    repeated where some were dropped, so that a second stays a second.

    Args:
        path: See `annotated_path`.
        video: Tells size and rate.

    Yields:
        A function that takes the next frame, and what it or the last frame looked at shows.

    Raises:
        HappysadError: The file cannot be written, or not to its end.
    """
    with video_writer(path, video.size, video.rate) as write:
        written = 0

        def draw(frame: Frame, moment: FrameResult) -> None:
            nonlocal written
            names = [str(number) for number in moment.persons]
            image = annotate(frame.image, list(moment.persons.values()), names)
            until = int(frame.time * video.rate) + 1 if video.live else written + 1
            for _ in range(until - written):
                write(image)
                written += 1

        yield draw


def annotated_path(out: Path, source: str) -> Path:
    """Choose where the annotated copy of a video goes.

    Args:
        out: A name that ends in ``.mp4`` or ``.webm``; anything else is a folder, where the copy
            is called as the source, ``.mp4``.
        source: See `happysad.video.frames.Video`.

    Raises:
        HappysadError: It would be another kind of file, or the source itself.
    """
    path, suffix = out, out.suffix.lower()
    if out.is_dir() or suffix not in SUFFIXES:
        stem = Path(source).stem if Path(source).exists() else re.sub(r"\W+", "-", source)
        path = out / f"{stem}.mp4"
    elif suffix not in _CODECS:
        raise HappysadError(f"{out}: videos are written as .mp4 or .webm; give such a name")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise HappysadError(f"{path}: is the video itself; give another name or folder")
    return path


@contextmanager
def video_writer(
    path: Path, size: tuple[int, int], rate: float
) -> Iterator[Callable[[RgbImage], None]]:
    """Write frames to a video file without sound; the file is there when the block ends.

    Args:
        path: Ends in ``.mp4`` (MPEG-4 part 2) or ``.webm`` (VP8).
        size: Width and height of the frames in pixels; an odd row or column is left off.
        rate: Frames per second.

    Yields:
        A function that takes the next frame, ``uint8 [height, width, 3]``, RGB.

    Raises:
        HappysadError: The file cannot be written, or not to its end.
    """
    codec = cv2.VideoWriter.fourcc(*_CODECS[path.suffix.lower()])
    count = 0
    with atomic(path) as temporary:
        try:
            # OpenCV, which tells no reasons, and crashes on a name that is not UTF-8.
            temporary.touch()
            name = str(temporary).encode().decode()
        except UnicodeEncodeError as error:
            raise HappysadError(
                f"{path!r}: the name is not UTF-8, which writing videos needs; give another"
            ) from error
        writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, codec, rate, size)
        if not writer.isOpened():
            raise HappysadError(f"{path}: the video cannot be written; is the disk full?")

        def write(image: RgbImage) -> None:
            nonlocal count
            count += 1
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            # A stream may change its size; OpenCV drops frames of another without a word.
            writer.write(bgr if bgr.shape[1::-1] == size else cv2.resize(bgr, size))

        try:
            yield write
        finally:
            writer.release()
        # OpenCV says nothing of a full disk either.
        written = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        found = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
        written.release()
        if found < count:
            raise HappysadError(f"{path}: the video was not written to its end; is the disk full?")
