"""Video files, cameras and streams as RGB frames, by OpenCV."""

import os
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import cv2

from happysad.errors import ImageError
from happysad.image import MAX_PIXELS, RgbImage
from happysad.video.watch import CAMERA, STREAMS, Frame

# Timeout of streams, milliseconds.
_TIMEOUT: Final = 10_000
# Frame rate of sources that do not state one.
_RATE: Final = 30.0
# Tolerance for files whose header only estimates the number of frames.
_SLACK: Final = 0.05


class Video:
    """A video file, a camera or a stream, opened for reading.

    Attributes:
        name: The source that was opened.
        live: Whether the source is a camera or an endless stream. Frames of live sources are
            dropped if they are not consumed in time.
        size: Width and height of the upright frames in pixels.
        rate: Nominal frame rate; 30 if the source does not state one.
        count: Number of frames stated by the source's header; None if unknown.
        broken: Set after the last frame: the file ended early, or the live source ended.
    """

    def __init__(self, source: str | Path, *, max_pixels: int = MAX_PIXELS) -> None:
        """Open a video.

        Args:
            source: A file, ``camera:N`` for the computer's camera number N, from 0, or the
                address of a stream (rtsp, http, https). Rotation metadata is applied.
            max_pixels: Maximum number of pixels per frame.

        Raises:
            ImageError: The source cannot be opened, has no frames, or its frames are too large.
        """
        self.name = str(source)
        self._address = self.name.startswith((CAMERA, *STREAMS))
        self._capture = _open(self.name)
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > max_pixels:
            raise ImageError(
                f"frames of {width}×{height} pixels, over the limit of "
                f"{max_pixels / 1e6:g} million",
                self.name,
            )
        ok, self._first = self._capture.read()
        if not ok:
            self._capture.release()
            raise ImageError(
                "no frame can be read (damaged, or not a video); check it in a video player, and "
                "copy or convert it again",
                self.name,
            )
        self.size = (self._first.shape[1], self._first.shape[0])
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        # Streams and screen recordings state clock rates such as 1000 or 90000.
        self.rate = rate if 0 < rate <= 240 else _RATE
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = count if count > 0 and not self.name.startswith((CAMERA, "rtsp")) else None
        self.live = self._address and self.count is None
        self.broken = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def frames(self, every: int = 1) -> Iterator[Frame]:
        """Read the frames, once.

        Args:
            every: Yield only every Nth frame, beginning with the first; of a live source, frames
                are at least this far apart.

        Yields:
            One frame at a time, with the timestamp of the file, or the time of arrival from a live
            source.
        """
        return self._live_frames(every) if self.live else self._stored_frames(every)

    def _stored_frames(self, every: int) -> Iterator[Frame]:
        number, timestamp = 0, self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield Frame(timestamp, 0, _to_rgb(self._first))
        while self._capture.grab():
            number += 1
            stated = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # Timestamps of damaged files repeat or decrease.
            timestamp = stated if stated > timestamp else timestamp + 1 / self.rate
            if number % every == 0:
                ok, image = self._capture.retrieve()
                if not ok:
                    break
                yield Frame(timestamp, number, _to_rgb(image))
        self.broken = self._ends_early(number + 1, timestamp + 1 / self.rate)

    def _ends_early(self, seen: int, end: float) -> bool:
        if not self._address:
            whole = _is_whole_mp4(Path(self.name))
            if whole is not None:
                return not whole
        if self.count is None:
            return False
        # The estimate includes the sound, which may be longer than the video.
        enough = (1 - _SLACK) * self.count
        return seen < enough - 2 and end * self.rate < enough - self.rate / 2

    def _live_frames(self, every: int) -> Iterator[Frame]:
        latest: queue.Queue[Frame] = queue.Queue(maxsize=1)
        ended = threading.Event()

        def capture() -> None:
            number, begin, ok, image = 0, time.monotonic(), True, self._first
            try:
                while ok and not self._stop.is_set():
                    if number % every == 0:
                        with suppress(queue.Empty):
                            latest.get_nowait()
                        # Only this thread puts, so there is room.
                        latest.put(Frame(time.monotonic() - begin, number, _to_rgb(image)))
                    ok, image = self._capture.read()
                    number += 1
            finally:
                ended.set()

        self._thread = threading.Thread(target=capture, name="capture", daemon=True)
        self._thread.start()
        while True:
            over = ended.is_set()
            try:
                # Without a timeout, Ctrl-C has no effect on Windows.
                yield latest.get(timeout=0.1)
            except queue.Empty:
                if over:
                    break
        self.broken = True

    def close(self) -> None:
        """Release the file or the camera."""
        self._stop.set()
        if self._thread:
            # Releasing while the thread reads crashes OpenCV.
            self._thread.join()
        self._capture.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _to_rgb(image: Any) -> RgbImage:
    rgb: RgbImage = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def _open(name: str) -> Any:
    # Messages of OpenCV and FFmpeg would bury our error message.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    timeouts = [
        *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT),
        *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT),
    ]
    if name.startswith(CAMERA):
        number = name.removeprefix(CAMERA)
        if not (number.isascii() and number.isdigit() and len(number) < 4):
            raise ImageError("not a camera number; the first camera is camera:0", name)
        capture = cv2.VideoCapture(int(number))
        problem = "the camera does not respond; check that it is connected and not in use"
    elif name.startswith(STREAMS):
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, timeouts)
        problem = "no response, or not a video; check the address in a video player"
    else:
        if not Path(name).is_file():
            raise ImageError("no such file", name)
        try:
            # An absolute path: FFmpeg takes "what:ever.mp4" for a protocol.
            path = os.fsencode(Path(name).absolute()).decode()
        except UnicodeDecodeError as error:
            # Such names crash OpenCV.
            raise ImageError(
                "the file name of a video must be valid UTF-8; rename the file", name
            ) from error
        capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        problem = (
            "cannot be read (damaged, truncated, or not a video); "
            "check it in a video player, and copy or convert it again"
        )
    if not capture.isOpened():
        raise ImageError(problem, name)
    return capture


def _is_whole_mp4(path: Path) -> bool | None:
    """Return whether an MP4 file is as long as its boxes state; None if it is not an MP4 file.

    ISO/IEC 14496-12, 4.2: each box begins with its size, 32 bits, and its type.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return None
        position = 0
        while position < size:
            file.seek(position)
            head = file.read(16)
            length = int.from_bytes(head[:4])
            if length == 1:
                length = int.from_bytes(head[8:])
            if length < 8:
                # A size of 0 means up to the end of the file; 2 to 7 are invalid.
                return True
            position += length
    return position == size
