"""Download images from http and https URLs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from happysad.errors import ImageError
from happysad.image_formats import HEADER_BYTES, image_format

URLS: Final = ("http://", "https://")

_TIMEOUT: Final = 10.0
_MAX_BYTES: Final = 200_000_000


def is_image_url(url: str) -> bool:
    """Return whether the content at a URL is an image, by its first bytes."""
    try:
        with _opened(url) as response:
            return image_format(response.read(HEADER_BYTES)) is not None
    except ImageError:
        return False


def download(url: str) -> bytes:
    """Download an image of up to 200 MB.

    Raises:
        ImageError: The server does not respond within 10 seconds, answers with an error, or the
            content is too large.
    """
    with _opened(url) as response:
        content = response.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise ImageError(f"larger than the limit of {_MAX_BYTES // 1_000_000} MB", url)
    return content


@contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    # Imported here: they take as long as the rest of a start.
    import http.client
    import urllib.error
    import urllib.request

    # Some servers refuse the default name of Python's client.
    request = urllib.request.Request(url, headers={"User-Agent": "happysad"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            yield response
    except urllib.error.HTTPError as error:
        raise ImageError(f"cannot be downloaded (status {error.code})", url) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ImageError(f"cannot be downloaded ({reason})", url) from error
