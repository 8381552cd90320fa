"""Recognise image files by their content."""

from typing import Final

FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JPEG2000", "BMP", "GIF", "TIFF")
IMAGE_SUFFIXES: Final = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif",
    ".jp2", ".jpx", ".bmp", ".gif", ".tif", ".tiff",
})  # fmt: skip
HEADER_BYTES: Final = 32
"""Length of a file's beginning that `image_format` needs."""

NAMES: Final = {"WEBP": "WebP", "HEIF": "HEIC", "JPEG2000": "JPEG 2000"}
_SIGNATURES: Final = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}
_BRANDS: Final = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"), "HEIF"),
}


def image_format(header: bytes) -> str | None:
    """Recognise an image file by its first `HEADER_BYTES` bytes.

    Returns:
        One of `FORMATS`; None for anything else.
    """
    if header[:4] == b"RIFF" and header[8:12] == b"WEBP":
        return "WEBP"
    if header[4:8] == b"ftyp":
        # The major brand may be a generic one, followed by the compatible brands.
        brands = (header[8:12], *(header[i : i + 4] for i in range(16, len(header), 4)))
        known = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
        # mif1 is the brand of both, as a major brand too.
        return "AVIF" if "AVIF" in known else next(iter(known), None)
    return next((name for start, name in _SIGNATURES.items() if header.startswith(start)), None)
