"""Broken and hostile images by kind, and their results.

python tests/fuzz/corpus.py
"""

import io
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import seeds
from fuzzing import memory
from PIL import Image

from happysad.errors import ImageError
from happysad.image import read_image

TEXT = (b"", b"hello", b"<svg/>", b"%PDF-1.7\n", b"PK\3\4", b"\0\0\0\x18ftypheic", bytes(10_000))


def corpus() -> Iterator[tuple[str, bytes]]:
    """Yield pairs of a kind and a file of this kind."""
    whole = seeds.images()
    for content in whole:
        form = str(Image.open(io.BytesIO(content)).format)
        for percent in range(1, 100):
            yield f"{form}, cut off at each 1 %", content[: len(content) * percent // 100]
    for content in whole:
        for other in whole:
            if content[:4] != other[:4]:
                yield "the beginning of another format", other[:8] + content[8:]
    for content in TEXT:
        yield "no image: nothing, text, zeros, other formats", content
    for content in _bombs():
        yield "200 million pixels and more, in 30 to 200,000 bytes", content
    for content in _swollen():
        yield "a small image with 500 MB of text or profile, compressed", content
    for content in _loops():
        yield "TIFF and GIF whose parts point at themselves, or at thousands", content
    for content in _garbage():
        yield "garbage for EXIF or ICC profile", content


def _bombs() -> Iterator[bytes]:
    file = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(file, "PNG")
    yield file.getvalue()
    side = 60_000
    yield (
        b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0, 0, 0)
        + b",\0\0\0\0"
        + struct.pack("<HHB", side, side, 0)
        + b"\x02\x02\x4c\x01\0;"
    )
    yield b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    jpeg = seeds.images()[2]
    at = jpeg.index(b"\xff\xc0") + 5
    yield jpeg[:at] + struct.pack(">HH", 65_500, 65_500) + jpeg[at + 4 :]
    yield _tiff([(256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (279, 100)])
    # A small image in one tile of hundreds of millions of pixels.
    tile = [(322, side), (323, side), (324, 8), (325, 100)]
    yield _tiff([(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), *tile])
    yield _png([(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 1, 8, 2, 0, 0, 0)), (b"IDAT", b"")])


def _swollen() -> Iterator[bytes]:
    packer = zlib.compressobj(9)
    zeros = b"".join(packer.compress(bytes(1_000_000)) for _ in range(500)) + packer.flush()
    head = (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    data = (b"IDAT", zlib.compress(bytes(9 * 8)))
    yield _png([head, (b"zTXt", b"Comment\0\0" + zeros), data])
    yield _png([head, (b"iCCP", b"profile\0\0" + zeros), data])
    # The same where the pixels should be.
    yield _png([head, (b"IDAT", zeros)])


def _loops() -> Iterator[bytes]:
    tags = [(256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (279, 64)]
    for following in (8, 2**32 - 1):
        yield _tiff(tags, following=following)
    yield _tiff([(330, 8), *tags])
    yield b"II*\0\x08\0\0\0" + b"\xff\xff" + struct.pack("<HHII", 256, 4, 2**31, 8) * 65_535
    gif = seeds.images()[17]
    start = gif.index(b"!\xf9")
    yield gif[:start] + gif[start:-1] * 2_000 + b";"
    yield gif[:start] + b"!\xfe" + b"\xff" * 1_000_000


def _garbage() -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    face = Image.open(io.BytesIO(seeds.images()[6])).convert("RGB")
    looped = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + bytes(4)
    for exif in (b"Exif\0\0" + rng.bytes(2000), b"Exif\0\0II*\0\xff\xff\xff\xff", looped):
        for form in ("JPEG", "PNG", "WEBP"):
            file = io.BytesIO()
            face.copy().save(file, form, exif=exif)
            yield file.getvalue()
    for profile in (rng.bytes(3000), b"\xff" * 200, b"x"):
        for form in ("JPEG", "PNG", "WEBP", "TIFF"):
            file = io.BytesIO()
            face.copy().save(file, form, icc_profile=profile)
            yield file.getvalue()


def _tiff(tags: list[tuple[int, int]], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return b"II*\0\x08\0\0\0" + directory


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [*chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def outcomes() -> dict[str, tuple[int, int, float, int]]:
    """Read the corpus: kind → files read, refused, most seconds of CPU, most MB on top."""
    result: dict[str, tuple[int, int, float, int]] = {}
    for kind, content in corpus():
        Path("/proc/self/clear_refs").write_text("5")
        before = memory("VmRSS")
        begin, was_read = time.process_time(), True
        try:
            read_image(content)
        except ImageError:
            was_read = False
        seconds = time.process_time() - begin
        megabytes = memory() - before
        good, bad, longest, most = result.get(kind, (0, 0, 0.0, 0))
        result[kind] = (
            good + was_read,
            bad + (not was_read),
            max(longest, seconds),
            max(most, megabytes),
        )
    return result


def main() -> None:
    """Print a Markdown table."""
    print("| kind | read | refused | longest, CPU | memory |")
    print("| --- | --- | --- | --- | --- |")
    for kind, (good, bad, seconds, megabytes) in outcomes().items():
        print(f"| {kind} | {good:,} | {bad:,} | {1000 * seconds:.0f} ms | {megabytes} MB |")


if __name__ == "__main__":
    main()
