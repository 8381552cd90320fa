"""Limits on how expensive an image file is to decode."""

import os
import re
import struct
from typing import Any, Final

from happysad.errors import ImageError

_MAX_SCANS: Final = 100
"""Each scan of a progressive JPEG passes over the whole image; encoders write about ten."""

_MAX_TILES: Final = 4096
_MIN_BLOCK: Final = 256
"""Minimum pixels of a JPEG 2000 code block or precinct; code blocks usually have 4096."""

# In the data of a scan, 0xFF is followed by 0 or a restart marker.
_JPEG_SEGMENT: Final = re.compile(rb"\xff[^\0\x01\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Image width and height, offsets, tile width and height.
_J2K_SIZE: Final = re.compile(rb"\xff\x4f\xff\x51.{4}(.{24})", re.DOTALL)
# The markers COD and COC up to the size of code blocks: precincts defined, levels, width, height.
_J2K_CODING: Final = re.compile(
    rb"\xff(?=(?:\x52\0[\x0c-\x2d](.)...[\0\1]|\x53\0[\x09-\x2a][\0-\3]([\0\1]))"
    rb"([\0-\x20])([\0-\x08])([\0-\x08]))",
    re.DOTALL,
)


def check_cost(image: Any) -> None:
    """Refuse an image file whose decoding takes far more time or memory than its pixels need.

    Args:
        image: As opened by Pillow, not yet decoded.

    Raises:
        ImageError: A JPEG has too many scans, or a JPEG 2000 file too small blocks.
    """
    if image.format not in ("JPEG", "MPO", "JPEG2000"):
        return
    if image.format == "JPEG2000":
        image.fp.seek(0)
        if _has_tiny_blocks(image.fp.read()):
            raise ImageError("has far too small tiles or code blocks; convert it to JPEG")
    elif _has_many_scans(image):
        raise ImageError(f"has more than {_MAX_SCANS} scans; save it as a baseline JPEG")


def _has_many_scans(image: Any) -> bool:
    image.fp.seek(2)
    # As in nearly all photographs: decoding reads one scan, so the rest need not be searched.
    if "progressive" not in image.info and _first_scan_has(image.layers, image.fp):
        return False
    image.fp.seek(0)
    content = image.fp.read()
    position, scans = 2, 0
    while scans <= _MAX_SCANS and (found := _JPEG_SEGMENT.search(content, position)):
        position = found.end()
        kind = content[position - 1]
        if kind == _END_OF_IMAGE:
            break
        scans += kind == _START_OF_SCAN
        position += int.from_bytes(content[position : position + 2])
    return scans > _MAX_SCANS


def _first_scan_has(components: int, file: Any) -> bool:
    """Return whether the first scan of a JPEG contains all components."""
    while len(head := file.read(5)) == 5 and head[0] == 0xFF:
        if head[1] == _START_OF_SCAN:
            return bool(head[4] == components)
        file.seek(int.from_bytes(head[2:4]) - 3, os.SEEK_CUR)
    return False


def _has_tiny_blocks(content: bytes) -> bool:
    for found in _J2K_SIZE.finditer(content):
        width, height, _, _, tile_width, tile_height = struct.unpack(">6I", found[1])
        if -(-width // max(1, tile_width)) * -(-height // max(1, tile_height)) > _MAX_TILES:
            return True
    for found in _J2K_CODING.finditer(content):
        flags, component_flags, (levels,), (wide,), (high,) = found.groups()
        # Stored are the exponents, less 2.
        if 2 ** (wide + 2 + high + 2) < _MIN_BLOCK:
            return True
        if (flags or component_flags)[0] & 1:
            start = found.end(5) + 2
            precincts = reversed(content[start : start + levels + 1])
            # Each level has a quarter of the pixels of the one after it.
            density = sum(0.25**i / 2 ** (x % 16 + x // 16) for i, x in enumerate(precincts))
            if density > 1 / _MIN_BLOCK:
                return True
    return False
