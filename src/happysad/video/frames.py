"""Videos, cameras and streams as timed RGB frames."""

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from happysad.errors import ImageError
from happysad.image import MAX_PIXELS
from happysad.video.animation import AnimationReader
from happysad.video.decoding import Decoded, VideoReader
from happysad.video.kinds import CAMERA, is_animation, is_stream
from happysad.video.watch import Frame

# Frame rate of sources that do not state one.
_RATE: Final = 30.0


class Video:
    """A video file, an animation, a camera or a stream, opened for reading.

    Attributes:
        name: The source that was opened.
        live: Whether the source is a camera or an endless stream. Frames of live sources are
            dropped if they are not consumed in time.
        size: Width and height of the first frame, upright, in (square) pixels.
        rate: Average frame rate; 30 if the source does not state one.
        duration: Seconds, as stated by the source; None if unknown.
        sound: Whether the source has sound.
        ended: Set after the last frame.
        broken: Set after the last frame: the file ended early, or the live source ended.
        sound_damaged: Set if an annotated copy was written without some of the sound, which could
            not be decoded or written.
    """

    def __init__(self, source: str | Path, *, max_pixels: int = MAX_PIXELS) -> None:
        """Open a video.

        Args:
            source: A file; an animated GIF, PNG, WebP or AVIF image; ``camera:N`` for the
                computer's camera number N, from 0; or the URL of a stream (rtsp, http, https).
                Rotation metadata and the pixel aspect ratio are applied.
            max_pixels: Maximum number of pixels per frame. Larger frames after the first are
                skipped and counted in `damaged`.

        Raises:
            ImageError: The source cannot be opened, has no frames, or its frames are too large.
        """
        self.name = str(source)
        file = not self.name.startswith(CAMERA) and not is_stream(self.name)
        animated = file and is_animation(self.name)
        self._reader = (AnimationReader if animated else VideoReader)(self.name, max_pixels)
        self.rate, self.duration = self._reader.rate or _RATE, self._reader.duration
        self.live, self.sound = self._reader.live, self._reader.sound
        self.ended = self.broken = self.sound_damaged = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._decoded = self._reader.decoded()
        try:
            self._first = next(self._decoded)
        except ImageError:
            self.close()
            raise
        except StopIteration:
            self.close()
            raise ImageError(
                "no frame can be read (damaged, or not a video); check it in a video player, and "
                "copy or convert it again",
                self.name,
            ) from None
        height, width = self._first[1]().shape[:2]
        self.size = (width, height)

    @property
    def damaged(self) -> int:
        """Number of pieces of the file so far that could not be decoded and were skipped."""
        return self._reader.damaged

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

    def _all(self) -> Iterator[Decoded]:
        yield self._first
        yield from self._decoded

    def _stored_frames(self, every: int) -> Iterator[Frame]:
        timestamp = -1 / self.rate
        for number, (stated, convert) in enumerate(self._all()):
            # Timestamps of damaged files are missing, repeat or decrease.
            if stated is None or stated <= timestamp:
                stated = timestamp + 1 / self.rate
            timestamp = stated
            if number % every == 0:
                yield Frame(timestamp, number, convert())
        self.ended = True
        self.broken = self._reader.ended_early()

    def _live_frames(self, every: int) -> Iterator[Frame]:
        latest: queue.Queue[Frame] = queue.Queue(maxsize=1)
        ended = threading.Event()

        def capture() -> None:
            # On Windows, other clocks may have steps of 15 ms.
            begin = time.perf_counter()
            try:
                for number, (_, convert) in enumerate(self._all()):
                    if self._stop.is_set():
                        break
                    if number % every == 0:
                        frame = Frame(time.perf_counter() - begin, number, convert())
                        with suppress(queue.Empty):
                            latest.get_nowait()
                        # Only this thread puts, so there is room.
                        latest.put(frame)
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
        self.ended = self.broken = True

    def close(self) -> None:
        """Release the file or the camera."""
        self._stop.set()
        if self._thread:
            # Closing while the thread reads crashes FFmpeg.
            self._thread.join()
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
