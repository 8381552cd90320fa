"""Read and write where a URI points: a path on disk, or an object in S3 or Google Cloud Storage.

Keys are taken as they stand: nothing in them is decoded or escaped. S3 is found by the usual
settings of its tools: credentials from the environment or the machine's role, ``AWS_REGION``, and
``AWS_ENDPOINT_URL`` for other stores that speak S3.
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
"""What is larger is no image for us, and would fill a worker's memory."""

BLOCK: Final = 8_000_000
"""Bytes that are asked for at once where a file is read from its beginning to its end."""

# The trouble is the store's, not that of one object. Of S3 and of Google Cloud Storage.
_OUTAGE: Final = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|INTERNAL_FAILURE|SERVICE_UNAVAILABLE"
    r"|REQUEST_TIME|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH"
    r"|NO_SUCH_BUCKET)"
    r"|HTTP status 5\d\d|Could not (connect|resolve)"
    r"|Status\((UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|UNAUTHENTICATED|RESOURCE_EXHAUSTED)"
)
_ATTEMPTS: Final = 5
_SECONDS: Final = 30


def is_remote(uri: str) -> bool:
    """Tell whether a URI points into an object store."""
    return "://" in uri and not uri.startswith("file://")


def local_path(uri: str) -> str:
    """Take the path out of ``file://…``; a path stays as it is."""
    return unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri


def locate(uri: str) -> tuple[Any, str]:
    """Find the file system of a URI, and what it is called there.

    Args:
        uri: A path, ``file://…``, ``s3://bucket/key`` or ``gs://bucket/key``.

    Returns:
        A `pyarrow.fs.FileSystem` and the path in it.

    Raises:
        HappysadError: Another scheme.
        StoreError: The store does not answer.
    """
    if not is_remote(uri):
        return fs.LocalFileSystem(), local_path(uri)
    scheme, _, path = uri.partition("://")
    bucket = path.partition("/")[0]
    if scheme not in ("s3", "gs") or not bucket:
        raise HappysadError(f"{uri}: give a path, s3://bucket/key or gs://bucket/key")
    with convert_store_errors(uri):
        return _store(scheme, bucket), path.rstrip("/")


@cache
def _store(scheme: str, bucket: str) -> Any:
    if scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_SECONDS))
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return fs.S3FileSystem(
        region=region or ("us-east-1" if endpoint else fs.resolve_s3_region(bucket)),
        endpoint_override=endpoint,
        connect_timeout=5,
        request_timeout=_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        # Small files are then put with one request instead of three.
        allow_delayed_open=True,
    )


@contextmanager
def convert_store_errors(uri: str) -> Iterator[None]:
    """Make a `StoreError` of what is wrong with a whole store; what one object has, passes."""
    try:
        yield
    except OSError as error:
        if is_remote(uri) and _OUTAGE.search(str(error)):
            raise StoreError(
                f"{uri}: the object store does not answer ({reason(error)}); check the network, "
                "the bucket and the credentials"
            ) from error
        raise


def reason(error: Exception) -> str:
    """Say in one line what an error of the file system is."""
    strerror = error.strerror if isinstance(error, OSError) else None
    text = " ".join((strerror or str(error)).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def read_image_file(uri: str) -> bytes:
    """Read an image's bytes.

    Raises:
        ImageError: It is not there, may not be read, or has more than `MAX_BYTES`.
        StoreError: The store does not answer.
    """
    try:
        if is_remote(uri):
            filesystem, path = locate(uri)
            with convert_store_errors(uri), filesystem.open_input_file(path) as file:
                content: bytes = file.read(MAX_BYTES + 1)
        else:
            file_path = Path(local_path(uri))
            if not file_path.is_file():
                raise FileNotFoundError
            with file_path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ImageError("no such file") from error
    except StoreError:
        raise
    # ValueError: a name with a zero byte. HappysadError: a scheme that is not known.
    except (OSError, ValueError, HappysadError) as error:
        raise ImageError(f"cannot be read ({reason(error)})") from error
    if len(content) > MAX_BYTES:
        raise ImageError(too_large(len(content)))
    return content


def too_large(size: int) -> str:
    """Say that a file is no image for us."""
    return f"{size / 1e6:,.0f} MB or more, over the limit of {MAX_BYTES / 1e6:g} MB"


def open_blocks(uri: str) -> Any:
    """Open a file to be read from its beginning, a `BLOCK` at a time."""
    filesystem, path = locate(uri)
    with convert_store_errors(uri):
        return filesystem.open_input_stream(path, compression=None, buffer_size=BLOCK)


def open_file(uri: str) -> Any:
    """Open a file to be read here and there."""
    filesystem, path = locate(uri)
    with convert_store_errors(uri):
        return filesystem.open_input_file(path)


def exists(uri: str) -> bool:
    """Tell whether there is such a file."""
    filesystem, path = locate(uri)
    with convert_store_errors(uri):
        return bool(filesystem.get_file_info(path).type == fs.FileType.File)


def names_in(uri: str) -> list[str]:
    """List what lies in a folder or right below a prefix; nothing where there is none."""
    filesystem, path = locate(uri)
    try:
        with convert_store_errors(uri):
            found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise HappysadError(f"{uri}: cannot be listed ({reason(error)})") from error
    return [info.base_name for info in found]


def write_whole(uri: str, content: bytes) -> None:
    """Write a file in one step: nobody ever sees half of it.

    Raises:
        HappysadError: It cannot be written.
        StoreError: The store does not answer.
    """
    if not is_remote(uri):
        path = Path(local_path(uri))
        with atomic(path) as temporary:
            temporary.write_bytes(content)
        return
    filesystem, path_there = locate(uri)
    try:
        with convert_store_errors(uri), filesystem.open_output_stream(path_there) as file:
            file.write(content)
    except OSError as error:
        raise HappysadError(f"{uri}: cannot be written ({reason(error)})") from error
