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
_RATE: Final = 48_000
_COPIED: Final = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus"},
    "webm": {"opus", "vorbis"},
}
"""Codecs that a container takes as they are; others are encoded again."""


class Sound:
    """Copies the first audio stream of a file in step with the images.

    Attributes:
        damaged: Whether sound was dropped because it could not be decoded or written.
    """

    def __init__(self, source: str, output: OutputContainer) -> None:
        """Open the source a second time and add an audio stream to the output.

        Args:
            source: A file with sound.
            output: The annotated copy, ``mp4`` or ``webm``, to which nothing was written yet.

        Raises:
            ImageError: The source cannot be opened again.
        """
        self.damaged = False
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
                output.add_stream(_ENCODERS[kind], rate=_RATE, layout="stereo"),
            )
        self._resampler, self._format = av.AudioResampler(), ("", "", 0)
        self._packets = self._container.demux(self._input)
        self._next: Packet[av.AudioStream] | None = None
        self._last, self._end = -math.inf, 0
        self._advance()

    def copy(self, until: float = math.inf) -> None:
        """Copy the sound up to a timestamp, in seconds."""
        while self._next and self._seconds(self._next) <= until:
            if not self._copied:
                self._encode(self._next)
            elif self._next.pts is not None:
                self._next.stream = self._stream
                self._write(self._next)
            self._advance()

    def finish(self, *, everything: bool) -> None:
        """Write what the encoder still holds, and before it the rest of the sound if wanted."""
        if everything:
            self.copy()
        if not self._copied:
            for packet in self._stream.encode(None):
                self._write(packet)

    def _advance(self) -> None:
        """Get the next packet; its timestamps are then those of the copy."""
        self._next = None
        # A source that breaks off has no more sound; see VideoReader.decoded for IndexError.
        with suppress(av.FFmpegError, IndexError):
            self._next = next(self._packets, None)
        packet = self._next
        # The last packet is empty: it makes the decoder return what it still holds.
        if packet is None or not packet.size:
            return
        timestamp = self._end
        if packet.pts is not None:
            offset = round(Fraction(self._start) / packet.time_base) if packet.time_base else 0
            # Timestamps of joined files start again; the images continue in the same way.
            if packet.pts - offset > self._last:
                timestamp = packet.pts - offset
        self._last, self._end = timestamp, timestamp + max(1, packet.duration or 0)
        packet.pts = packet.dts = timestamp

    def _seconds(self, packet: "Packet[av.AudioStream]") -> float:
        return -math.inf if packet.pts is None else float(packet.pts * packet.time_base)

    def _encode(self, packet: "Packet[av.AudioStream]") -> None:
        try:
            frames = [part for frame in packet.decode() for part in self._resampled(frame)]
            packets = [encoded for frame in frames for encoded in self._stream.encode(frame)]
        except (av.FFmpegError, ValueError, IndexError):
            self.damaged = True
            return
        for encoded in packets:
            self._write(encoded)

    def _resampled(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """Convert a frame to the format of the encoder, which accepts only one."""
        if frame.pts is not None and frame.time_base:
            frame.pts = round(frame.pts * frame.time_base * _RATE)
            frame.time_base = Fraction(1, _RATE)
        format_ = (frame.format.name, frame.layout.name, frame.sample_rate)
        if format_ != self._format:
            self._format = format_
            self._resampler = av.AudioResampler(self._stream.format, self._stream.layout, _RATE)
        return self._resampler.resample(frame)

    def _write(self, packet: "Packet[av.AudioStream]") -> None:
        try:
            self._output.mux(packet)
        except av.FFmpegError as error:
            # Not of the packet, but of the disk.
            if isinstance(error, OSError):
                raise
            self.damaged = True

    def close(self) -> None:
        """Close the source."""
        self._container.close()
