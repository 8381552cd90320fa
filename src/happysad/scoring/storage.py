"""Files by URI: paths on disk, and objects in S3 and Google Cloud Storage.

Keys of objects are used as given, without decoding. S3 is configured as usual: credentials from
the environment or the machine's role, ``AWS_REGION``, and ``AWS_ENDPOINT_URL`` for S3-compatible
stores.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from pyarrow import fs

from happysad.errors import HappysadError, ImageError, StoreError
from happysad.files import atomic

MAX_BYTES: Final = 100_000_000
"""Larger files are refused, because they would fill a worker's memory."""

BLOCK: Final = 8_000_000
"""Size in bytes of the requests of sequential reads."""

# Errors of a whole store rather than of one object; S3's and Google Cloud Storage's. S3 answers 400
# to an expired token, and for a HEAD request without the reason.
_OUTAGE: Final = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|INTERNAL_FAILURE|SERVICE_UNAVAILABLE"
    r"|REQUEST_TIME|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH"
    r"|NO_SUCH_BUCKET)"
    r"|HTTP status (40[01]|5\d\d)|Could not (connect|resolve)"
    r"|Status\((UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|UNAUTHENTICATED|RESOURCE_EXHAUSTED)"
)
_ATTEMPTS: Final = 5
_TIMEOUT: Final = 30  # seconds
_LONGEST_KEY: Final = 1024  # bytes


def is_remote(uri: str) -> bool:
    """Return whether a URI points into an object store."""
    return "://" in uri and not uri.startswith("file://")


def local_path(uri: str) -> str:
    """Convert ``file://…`` to a path; a path stays unchanged."""
    return unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri


def absolute(uri: str) -> str:
    """Make paths absolute, so that they mean the same on every node."""
    return uri.rstrip("/") if is_remote(uri) else str(Path(local_path(uri)).absolute())


def locate(uri: str) -> tuple[Any, str]:
    """Return a URI's `pyarrow.fs.FileSystem` and its path there.

    Args:
        uri: A path, ``file://…``, ``s3://bucket/key`` or ``gs://bucket/key``.

    Raises:
        HappysadError: Unknown scheme, or a key longer than stores allow.
        StoreError: The store does not respond.
    """
    if not is_remote(uri):
        return fs.LocalFileSystem(), local_path(uri)
    scheme, _, path = uri.partition("://")
    bucket, _, key = path.partition("/")
    if scheme not in ("s3", "gs") or not bucket:
        raise HappysadError(f"{uri}: unknown URI; give a path, s3://bucket/key or gs://bucket/key")
    # S3's answer would be the same as to an expired token.
    if len(key.encode("utf-8", "surrogateescape")) > _LONGEST_KEY:
        raise HappysadError(
            f"{uri[:80]}…: the key is longer than {_LONGEST_KEY} bytes; check the name"
        )
    with convert_store_errors(uri):
        return _store(scheme, bucket), path.rstrip("/")


@cache
def _store(scheme: str, bucket: str) -> Any:
    if scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_TIMEOUT))
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return fs.S3FileSystem(
        region=region or ("us-east-1" if endpoint else fs.resolve_s3_region(bucket)),
        endpoint_override=endpoint,
        connect_timeout=5,
        request_timeout=_TIMEOUT,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        # Small files then take one PUT request instead of three.
        allow_delayed_open=True,
    )


@contextmanager
def convert_store_errors(uri: str) -> Iterator[None]:
    """Convert an OSError that concerns a whole store to StoreError; others pass."""
    try:
        yield
    except OSError as error:
        if is_remote(uri) and _OUTAGE.search(str(error)):
            raise StoreError(
                f"{uri}: the object store does not respond ({reason(error)}); check the network, "
                "the bucket and the credentials"
            ) from error
        raise


def reason(error: Exception) -> str:
    """Describe a file system's error in one line."""
    strerror = error.strerror if isinstance(error, OSError) else None
    text = " ".join((strerror or str(error)).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def read_image_file(uri: str) -> bytes:
    """Read an image file.

    Raises:
        ImageError: It is missing, cannot be read, or is larger than `MAX_BYTES`.
        StoreError: The store does not respond.
    """
    try:
        if is_remote(uri):
            with convert_store_errors(uri), open_file(uri) as file:
                content: bytes = file.read(MAX_BYTES + 1)
        else:
            path = Path(local_path(uri))
            # Opening a named pipe would block.
            if not path.is_file():
                raise FileNotFoundError
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ImageError("no such file", uri) from error
    except StoreError:
        raise
    # ValueError: a name with a null byte. HappysadError: an unknown scheme.
    except (OSError, ValueError, HappysadError) as error:
        raise ImageError(f"cannot be read ({reason(error)})", uri) from error
    if len(content) > MAX_BYTES:
        raise ImageError(too_large(len(content)), uri)
    return content


def too_large(size: int) -> str:
    """Describe a file over the size limit."""
    return f"{size / 1e6:,.0f} MB or more, over the limit of {MAX_BYTES / 1e6:g} MB"


def open_blocks(uri: str) -> Any:
    """Open a file for sequential reading in requests of `BLOCK` bytes."""
    filesystem, path = locate(uri)
    with convert_store_errors(uri):
        return filesystem.open_input_stream(path, compression=None, buffer_size=BLOCK)


def open_file(uri: str) -> Any:
    """Open a file for random access."""
    filesystem, path = locate(uri)
    with convert_store_errors(uri):
        return filesystem.open_input_file(path)


def exists(uri: str) -> bool:
    """Return whether a file exists.

    Raises:
        HappysadError: Access is denied.
        StoreError: The store does not respond.
    """
    filesystem, path = locate(uri)
    try:
        with convert_store_errors(uri):
            return bool(filesystem.get_file_info(path).type == fs.FileType.File)
    except OSError as error:
        raise HappysadError(f"{uri}: cannot be read ({reason(error)})") from error


def names_in(uri: str) -> list[str]:
    """List the names in a folder or directly below a prefix; empty where there is none."""
    filesystem, path = locate(uri)
    try:
        with convert_store_errors(uri):
            found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise HappysadError(f"{uri}: cannot be listed ({reason(error)})") from error
    return [info.base_name for info in found]


def write_atomically(uri: str, content: bytes) -> None:
    """Write a file so that readers see all of it or none.

    Raises:
        HappysadError: It cannot be written.
        StoreError: The store does not respond.
    """
    if not is_remote(uri):
        with atomic(Path(local_path(uri))) as temporary:
            temporary.write_bytes(content)
        return
    filesystem, path = locate(uri)
    try:
        with convert_store_errors(uri), filesystem.open_output_stream(path) as file:
            file.write(content)
    except OSError as error:
        raise HappysadError(f"{uri}: cannot be written ({reason(error)})") from error
