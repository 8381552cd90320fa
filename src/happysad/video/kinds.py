"""Recognise videos, cameras and streams among sources."""

from pathlib import Path
from typing import Final

from PIL import Image

from happysad.download import is_url, read_beginning
from happysad.errors import ImageError
from happysad.image_formats import HEADER_BYTES, image_format

VIDEO_SUFFIXES: Final = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob",
    ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".h264", ".264", ".hevc",
})  # fmt: skip
CAMERA: Final = "camera:"

_SIGNATURES: Final = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\0\0\1\xba",  # MPEG program stream
    b"\0\0\1\xb3",  # MPEG video
    b"0&\xb2u\x8ef\xcf\x11",  # ASF, WMV
    b"FLV\1",
    b"OggS",
)
_HEADER_BYTES: Final = 512
# Each packet of an MPEG transport stream begins with a sync byte; Blu-ray puts 4 bytes before it.
_SYNC, _PACKETS = 0x47, ((0, 188), (4, 192))
ANIMATED: Final = frozenset({"GIF", "PNG", "WEBP", "AVIF"})


def is_video(source: str, *, animations: bool = True) -> bool:
    """Return whether a source is a video, a camera (``camera:0``), a stream, or an animation.

    Files are recognised by their content or, if that is unknown, by their suffix; an ``http`` or
    ``https`` URL by its first bytes, which one request gets, or else by its media type.

    Args:
        source: See `happysad.video.frames.Video`.
        animations: Whether animated images count as videos.
    """
    if is_url(source):
        return _is_stream_url(source)
    if source.startswith(CAMERA) or is_rtsp(source):
        return True
    path = Path(source)
    try:
        # What is read from a pipe is gone.
        if path.is_fifo():
            return False
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except (OSError, ValueError):
        # Reading it reports the error.
        return is_video_name(source)
    if image_format(header[:HEADER_BYTES]):
        return animations and is_animation(source)
    return _is_video_header(header) or is_video_name(source)


def is_stream(source: str) -> bool:
    """Return whether a source is the URL of a stream (rtsp, http, https)."""
    return is_rtsp(source) or is_url(source)


def is_rtsp(source: str) -> bool:
    """Return whether a source is the URL of an RTSP stream, which is always live."""
    return source.lower().startswith("rtsp://")


def is_video_name(name: str) -> bool:
    """Return whether a file name has the suffix of a video."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def _is_stream_url(url: str) -> bool:
    try:
        kind, header = read_beginning(url, _HEADER_BYTES)
    except ImageError:
        # Downloading it as an image reports the error.
        return False
    if image_format(header[:HEADER_BYTES]):
        return False
    return _is_video_header(header) or not kind.startswith(("image/", "text/"))


def _is_video_header(header: bytes) -> bool:
    riff = header[:4] == b"RIFF" and header[8:12] == b"AVI "
    if riff or header[4:8] in (b"ftyp", b"moov") or header.startswith(_SIGNATURES):
        return True
    return any(
        len(header) > first + length and header[first] == header[first + length] == _SYNC
        for first, length in _PACKETS
    )


def is_animation(path: str) -> bool:
    """Return whether a file is a GIF, PNG, WebP or AVIF image of several frames, by its content."""
    try:
        with Path(path).open("rb") as file:
            kind = image_format(file.read(HEADER_BYTES))
            if kind not in ANIMATED:
                return False
            file.seek(0)
            with Image.open(file, formats=[kind]) as image:
                return bool(getattr(image, "is_animated", False))
    # Damaged files make Pillow raise nearly anything; reading them reports the error.
    except Exception:
        return False
