"""Download images from http and https URLs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from happysad.errors import ImageError

if TYPE_CHECKING:
    from http.client import HTTPResponse

URLS: Final = ("http://", "https://")

_TIMEOUT: Final = 10.0
_MAX_BYTES: Final = 200_000_000


def is_url(source: str) -> bool:
    """Return whether a source is an http or https URL."""
    return source.lower().startswith(URLS)


def read_beginning(url: str, length: int) -> tuple[str, bytes]:
    """Return the media type that a server states (or ``""``), and the first bytes of the content.

    Raises:
        ImageError: As for `download`.
    """
    with _opened(url) as response:
        return response.headers.get("Content-Type", ""), response.read(length)


def download(url: str) -> bytes:
    """Download an image of up to 200 MB.

    A user name and password in the URL are sent as HTTP Basic authentication.

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
def _opened(url: str) -> Iterator["HTTPResponse"]:
    # Imported here: they take as long as the rest of a start.
    import base64
    import http.client
    import string
    import urllib.error
    import urllib.request
    from urllib.parse import quote, unquote_to_bytes, urlsplit

    try:
        # Spaces and other characters that a URL must encode.
        parts = urlsplit(quote(url, safe=string.punctuation))
        user, _, host = parts.netloc.rpartition("@")
        # Some servers refuse the default name of Python's client.
        request = urllib.request.Request(  # noqa: S310
            parts._replace(netloc=host).geturl(), headers={"User-Agent": "happysad"}
        )
        if user:
            credentials = base64.b64encode(unquote_to_bytes(user)).decode()
            # Not sent to where the server redirects.
            request.add_unredirected_header("Authorization", f"Basic {credentials}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            yield response
    except urllib.error.HTTPError as error:
        raise ImageError(f"cannot be downloaded (status {error.code})", url) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ImageError(f"cannot be downloaded ({reason})", url) from error
