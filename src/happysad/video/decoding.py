"""Video decoding by PyAV (FFmpeg)."""

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import av
import numpy as np
from av.container import InputContainer

from happysad.errors import ImageError
from happysad.image import RgbImage
from happysad.video.kinds import CAMERA, is_rtsp, is_stream

Decoded: TypeAlias = tuple[float | None, Callable[[], RgbImage]]
"""A frame's timestamp in seconds, None if the file states none, and a function that converts it to
``uint8 [height, width, 3]``, RGB, upright, with square pixels."""

# Timeout of streams, seconds.
_TIMEOUT: Final = 10.0
_FORMATS: Final = "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,h264,hevc"
"""FFmpeg's readers for files. Playlists are not among them: they can name any other file."""
_STATED: Final = ("mov", "matroska", "avi", "asf", "flv")
"""Formats whose header states the duration; FFmpeg estimates it for the others."""


class VideoReader:
    """A video file, a camera or a stream, opened for decoding.

    Attributes:
        name: The source that was opened.
        rate: Average frame rate; None if the source does not state a plausible one.
        duration: Seconds, as stated by the source; None if unknown.
        live: Whether the source is a camera or an endless stream.
        sound: Whether the source has sound.
        damaged: Number of packets so far that could not be decoded, and of frames over the limit of
            pixels; they were skipped.
    """

    def __init__(self, name: str, max_pixels: int) -> None:
        """Open a source.

        Args:
            name: See `happysad.video.frames.Video`.
            max_pixels: Maximum number of pixels per frame.

        Raises:
            ImageError: It cannot be opened, has no images, or they are too large.
        """
        self.name, self.damaged, self._max_pixels = name, 0, max_pixels
        self._container = open_container(name)
        try:
            self._choose_stream()
        except ImageError:
            self.close()
            raise
        # Streams and screen recordings state clock rates such as 1000 or 90000.
        rate = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        self.rate = rate if 0 < rate < 1000 else None
        microseconds = self._container.duration
        self.duration = microseconds / av.time_base if microseconds else None
        self.live = (
            name.startswith(CAMERA) or is_rtsp(name) or (is_stream(name) and self.duration is None)
        )
        self.sound = bool(audio_streams(self._container))
        if not self.live:
            # Decoding on several threads delays frames.
            self._stream.thread_type = "AUTO"
        self._end, self._failed = 0.0, False

    def _choose_stream(self) -> None:
        stream = self._container.streams.best("video")
        if not isinstance(stream, av.VideoStream) or not stream.codec_context:
            raise ImageError("has no images that can be decoded, only sound or data", self.name)
        self._stream = stream
        # Pixels are not square in DVDs and in old cameras' videos.
        self._aspect = stream.sample_aspect_ratio or Fraction(1)
        height = stream.codec_context.height
        width = self._width(stream.codec_context.width)
        if width * height > self._max_pixels:
            raise ImageError(
                f"frames of {width}×{height} pixels, over the limit of "
                f"{self._max_pixels / 1e6:g} million",
                self.name,
            )

    def _width(self, stored: int) -> int:
        """Return the width with square pixels."""
        return round(stored * self._aspect) or stored

    def decoded(self) -> Iterator[Decoded]:
        """Decode the frames in the order of presentation, once."""
        start = start_time(self._container)
        streams = [self._stream, *audio_streams(self._container)]
        try:
            for packet in self._container.demux(streams):
                if packet.pts is not None:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                    self._end = max(self._end, end)
                if packet.stream is not self._stream:
                    continue
                try:
                    frames = packet.decode()
                except av.InvalidDataError:
                    self.damaged += 1
                    continue
                for frame in cast("list[av.VideoFrame]", frames):
                    # The resolution may change within a stream.
                    width = self._width(frame.width)
                    if width * frame.height > self._max_pixels:
                        self.damaged += 1
                        continue
                    seconds = None if frame.time is None else frame.time - start
                    yield seconds, partial(_to_rgb, frame, width)
        except (av.FFmpegError, IndexError):
            # The connection or the disk failed, or damage made a stream that PyAV does not know.
            self._failed = True

    def ended_early(self) -> bool:
        """Return whether the decoded frames and the sound are shorter than the source states."""
        if self._failed:
            return True
        if not is_stream(self.name) and _is_whole_mp4(Path(self.name)) is False:
            return True
        if self.duration is None or not self._container.format.name.startswith(_STATED):
            return False
        stated = self.duration
        if self._container.format.name == "avi" and self._stream.time_base:
            # FFmpeg shortens the duration of a truncated file, but not the number of frames.
            stated = max(stated, float(self._stream.frames * self._stream.time_base))
        return self._end < 0.99 * stated - 0.25

    def close(self) -> None:
        """Release the file or the camera."""
        self._container.close()


def start_time(container: InputContainer) -> float:
    """Return the timestamp at which players show 0:00, in seconds."""
    return (container.start_time or 0) / av.time_base


def audio_streams(container: InputContainer) -> list[av.AudioStream]:
    """Return the audio streams that can be decoded."""
    return [stream for stream in container.streams.audio if stream.codec_context]


def open_container(name: str) -> InputContainer:
    """Open a source for demuxing.

    Raises:
        ImageError: It is missing, does not respond, or FFmpeg has no reader for its content.
    """
    if name.startswith(CAMERA):
        return _open_camera(name)
    if is_stream(name):
        # FFmpeg knows schemes in lower case only.
        scheme, rest = name.split(":", 1)
        url = f"{scheme.lower()}:{rest}"
        problem = "no response, or neither an image nor a video; check the address in a browser"
        # Over UDP, lost packets damage frames.
        options = {"rtsp_transport": "tcp"} if is_rtsp(name) else {}
        return _open(name, problem, url, container_options=options, timeout=_TIMEOUT)
    if not Path(name).is_file():
        raise ImageError("no such file", name)
    problem = (
        "cannot be read (damaged, truncated, or not a video); "
        "check it in a video player, and copy or convert it again"
    )
    # A file object takes any name; FFmpeg reads "what:ever.mp4" as a protocol.
    file = Path(name).open("rb")  # noqa: SIM115 (the container keeps it open)
    try:
        return _open(name, problem, file, container_options={"format_whitelist": _FORMATS})
    except ImageError:
        file.close()
        raise


def _open(name: str, problem: str, source: Any, **options: Any) -> InputContainer:
    try:
        container: InputContainer = av.open(source, metadata_errors="replace", **options)
    except (av.FFmpegError, OSError) as error:
        raise ImageError(problem, name) from error
    return container


def _open_camera(name: str) -> InputContainer:
    number = name.removeprefix(CAMERA)
    if not (number.isascii() and number.isdigit() and len(number) < 4):
        raise ImageError("not a camera number; the first camera is camera:0", name)
    problem = "the camera does not respond; check that it is connected and not in use"
    if sys.platform == "darwin":
        # AVFoundation refuses its own default of 29.97 frames per second.
        options = {"framerate": "30"}
        return _open(name, problem, number, format="avfoundation", container_options=options)
    if sys.platform == "win32":
        # DirectShow opens cameras by name.
        devices = av.enumerate_input_devices("dshow")
        names = [device.name for device in devices if "video" in device.media_types]
        if int(number) >= len(names):
            raise ImageError(problem, name)
        return _open(name, problem, f"video={names[int(number)]}", format="dshow")
    return _open(name, problem, f"/dev/video{number}", format="v4l2")


def _to_rgb(frame: av.VideoFrame, width: int) -> RgbImage:
    rgb = cast("RgbImage", frame.reformat(width=width, format="rgb24").to_ndarray())
    turns = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


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
