"""Outputs of video prediction: a CSV timeline and an annotated copy of the video."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final, cast

import av
import numpy as np
from av.container import OutputContainer

from happysad.annotate import COPY_MARK, annotate
from happysad.errors import HappysadError
from happysad.files import atomic
from happysad.image import RgbImage
from happysad.image_formats import IMAGE_SUFFIXES
from happysad.records import csv_file
from happysad.video.frames import Video
from happysad.video.kinds import VIDEO_SUFFIXES
from happysad.video.sound import Sound
from happysad.video.watch import Frame, FrameResult

COLUMNS: Final = (
    *("time", "frame", "person", "label", "probability"),
    *("left", "top", "width", "height"),
)

_CODECS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    ".mp4": ("h264", {"preset": "veryfast"}),
    ".webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "b": "4M", "crf": "10"}),
}
"""FFmpeg's encoder and its options; browsers and phones play both."""

_LONGEST_STEM: Final = 240
"""In bytes; most file systems allow names of 255."""

# The unit of MPEG's timestamps.
_TIME_BASE: Final = Fraction(1, 90_000)


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

    The copy has the timestamps of its source and, of a file, the sound. Frames of another size than
    the first are resized. `Video.sound_damaged` is set if some of the sound had to be dropped.

    Args:
        path: See `annotated_path`.
        video: The source.

    Yields:
        A function that writes the next frame with the latest result.

    Raises:
        HappysadError: The file cannot be written completely.
    """
    with ExitStack() as stack:
        output = stack.enter_context(_output(path))
        images = _ImageTrack(output, path, video.size, video.rate)
        sound = None
        if video.sound and not video.live:
            sound = stack.enter_context(closing(Sound(video.name, output)))

        def draw(frame: Frame, result: FrameResult) -> None:
            names = [str(number) for number in result.persons]
            images.write(annotate(frame.image, list(result.persons.values()), names), frame.time)
            if sound:
                sound.copy(until=frame.time)

        yield draw
        images.finish()
        if sound:
            # The sound may be longer than the images.
            sound.finish(everything=video.ended)
            video.sound_damaged = sound.damaged


def annotated_path(out: Path, source: str) -> Path:
    """Return the path of the annotated copy of a video.

    Args:
        out: A file name that ends in ``.mp4`` or ``.webm``; anything else is a folder, in which the
            copy has the name of the source with the suffix ``.mp4``; names that are too long, as of
            URLs, are shortened.
        source: See `happysad.video.frames.Video`.

    Raises:
        HappysadError: The file type is not supported, or the path is the source itself, or a file
            that is not an earlier copy.
    """
    path, suffix = out, out.suffix.lower()
    if out.is_dir() or suffix not in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
        stem = Path(source).stem if Path(source).exists() else re.sub(r"\W+", "-", source)
        if len(os.fsencode(stem)) > _LONGEST_STEM:
            stem = f"{stem[:60]}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:8]}"
        path = out / f"{stem}.mp4"
    elif suffix not in _CODECS:
        raise HappysadError(f"{out}: videos can be written as .mp4 or .webm; change the suffix")
    if path.exists() and Path(source).exists() and path.samefile(source):
        raise HappysadError(f"{path}: is the source video; give another name or folder")
    if path.is_file() and not _is_copy(path):
        raise HappysadError(
            f"{path}: exists and is not an annotated copy; give another name or folder"
        )
    return path


def _is_copy(path: Path) -> bool:
    try:
        with path.open("rb") as file, av.open(file) as container:
            return COPY_MARK in container.metadata.values()
    except (av.FFmpegError, OSError):
        return False


@contextmanager
def video_writer(
    path: Path, size: tuple[int, int], rate: float
) -> Iterator[Callable[[RgbImage, float], None]]:
    """Write frames to a video file without sound; the file appears when the block ends.

    Args:
        path: Ends in ``.mp4`` (H.264) or ``.webm`` (VP8).
        size: Width and height of the frames in pixels; an odd last row or column is dropped.
        rate: Average frame rate.

    Yields:
        A function that writes the next frame, ``uint8 [height, width, 3]``, RGB, at a timestamp in
        seconds.

    Raises:
        HappysadError: The file cannot be written completely.
    """
    with _output(path) as output:
        images = _ImageTrack(output, path, size, rate)
        yield images.write
        images.finish()


@contextmanager
def _output(path: Path) -> Iterator[OutputContainer]:
    """Open a video file for writing; it appears when the block ends."""
    with atomic(path) as temporary:
        try:
            with (
                # A file object takes names that are not UTF-8.
                temporary.open("wb") as file,
                av.open(file, "w", format=path.suffix[1:].lower()) as output,
            ):
                output.metadata["comment"] = COPY_MARK
                yield output
        except av.FFmpegError as error:
            raise HappysadError(f"{path}: cannot be written ({error.strerror})") from error


class _ImageTrack:
    """The images of a video that is being written."""

    def __init__(
        self, output: OutputContainer, path: Path, size: tuple[int, int], rate: float
    ) -> None:
        codec, options = _CODECS[path.suffix.lower()]
        # The rate only guides the encoder; each frame has its own timestamp.
        fraction = Fraction(rate).limit_denominator(1001)
        try:
            stream = cast(
                "av.VideoStream", output.add_stream(codec, rate=fraction, options=options)
            )
        except av.FFmpegError as error:
            raise HappysadError(
                f"{path}: the installed PyAV cannot encode {codec}; write .webm or .mp4"
            ) from error
        # Chroma has half the resolution.
        stream.width, stream.height = (side - side % 2 or 2 for side in size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = _TIME_BASE
        # With reordered frames, FFmpeg states a duration that is too short.
        stream.codec_context.max_b_frames = 0
        self._output, self._stream = output, stream
        self._size, self._rate, self._last = size, rate, -1

    def write(self, image: RgbImage, seconds: float) -> None:
        """Encode a frame; one of another size, as in a stream that changes, is resized."""
        width, height = self._stream.width, self._stream.height
        if image.shape[1::-1] == self._size:
            image = image[:height, :width]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(width, height, "yuv420p")
        self._last = frame.pts = max(round(seconds / _TIME_BASE), self._last + 1)
        frame.time_base = _TIME_BASE
        frame.duration = round(1 / self._rate / _TIME_BASE)
        self._output.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        self._output.mux(self._stream.encode(None))
