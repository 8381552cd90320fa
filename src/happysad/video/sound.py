"""The sound of a video, copied to its annotated copy."""

import math
from contextlib import suppress
from fractions import Fraction
from typing import Final, cast

import av
from av.container import OutputContainer
from av.packet import Packet

from happysad.video.decoding import audio_streams, open_container, start_time

_ENCODERS: Final = {"mp4": "aac", "webm": "libopus"}
_COPIED: Final = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus"},
    "webm": {"opus", "vorbis"},
}
"""Codecs that a container takes as they are; others are encoded again."""


class Sound:
    """Copies the first audio stream of a file in step with the images."""

    def __init__(self, source: str, output: OutputContainer) -> None:
        """Open the source a second time and add an audio stream to the output.

        Args:
            source: A file with sound.
            output: The annotated copy, ``mp4`` or ``webm``, to which nothing was written yet.

        Raises:
            ImageError: The source cannot be opened again.
        """
        self._output = output
        self._container = open_container(source)
        self._start = start_time(self._container)
        self._input = audio_streams(self._container)[0]
        kind = output.format.name
        self._copied = self._input.codec_context.name in _COPIED[kind]
        if self._copied:
            self._stream = output.add_stream_from_template(self._input)
        else:
            self._stream = cast(
                "av.AudioStream",
                output.add_stream(_ENCODERS[kind], rate=48_000, layout="stereo"),
            )
        self._packets = self._container.demux(self._input)
        self._next: Packet[av.AudioStream] | None = None
        self._last = -math.inf
        self._advance()

    def copy(self, until: float = math.inf) -> None:
        """Copy the sound up to a timestamp, in seconds."""
        while self._next and self._seconds(self._next) <= until:
            if self._copied:
                self._copy(self._next)
            else:
                self._encode(self._next)
            self._advance()

    def finish(self, *, everything: bool) -> None:
        """Write what the encoder still holds, and before it the rest of the sound if wanted."""
        if everything:
            self.copy()
        if not self._copied:
            self._output.mux(self._stream.encode(None))

    def _advance(self) -> None:
        self._next = None
        # A source that breaks off has no more sound.
        with suppress(av.FFmpegError):
            self._next = next(self._packets, None)

    def _seconds(self, packet: "Packet[av.AudioStream]") -> float:
        if packet.pts is None:
            return -math.inf
        return float(packet.pts * packet.time_base) - self._start

    def _copy(self, packet: "Packet[av.AudioStream]") -> None:
        # The last packet of a stream is empty; timestamps of damaged files repeat or decrease.
        if packet.dts is None or packet.pts is None or packet.dts <= self._last:
            return
        self._last = packet.dts
        offset = self._offset(packet.time_base)
        packet.pts -= offset
        packet.dts -= offset
        packet.stream = self._stream
        self._output.mux(packet)

    def _offset(self, time_base: Fraction | None) -> int:
        return round(Fraction(self._start) / time_base) if time_base else 0

    def _encode(self, packet: "Packet[av.AudioStream]") -> None:
        with suppress(av.InvalidDataError):
            for frame in packet.decode():
                if frame.pts is not None:
                    frame.pts -= self._offset(frame.time_base)
                self._output.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Close the source."""
        self._container.close()
