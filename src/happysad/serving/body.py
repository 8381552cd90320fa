"""Read images from request bodies, into memory only and within limits."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from happysad.serving import metrics
from happysad.serving.problem import Problem, busy
from happysad.serving.settings import Settings

RAW_NAME: Final = "-"
"""Name of an image that is the whole body, as for standard input."""

_MULTIPART: Final = "multipart/form-data"
_RAW: Final = ("image/", "application/octet-stream")
_CHARSET: Final = re.compile(r";\s*charset\s*=", re.IGNORECASE)
_MAX_FIELDS: Final = 100
"""Maximum number of text fields in a form; they are ignored."""


@dataclass(frozen=True)
class Body:
    """The images of a request.

    Attributes:
        images: Name and content of each.
        whole: Whether the body was one image rather than a form.
    """

    images: list[tuple[str, bytes]]
    whole: bool


class _InMemory(MultiPartParser):
    # Starlette writes larger parts to disk; images are never stored.
    spool_max_size = 2**62


class Buffers:
    """Limits the memory that all request bodies take together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[Body]:
        """Read a request's images; they count towards the limit until the block ends.

        Raises:
            Problem: The body is too large, of an unsupported type, empty or malformed, or the
                limit on memory is reached.
        """
        taken = 0

        async def stream() -> AsyncGenerator[bytes, None]:
            nonlocal taken
            async for chunk in request.stream():
                taken += len(chunk)
                self._take(len(chunk))
                if taken > self._settings.max_body:
                    raise self._too_large()
                yield chunk

        try:
            declared = request.headers.get("content-length", "0")
            if declared.isdigit() and int(declared) > self._settings.max_body:
                raise self._too_large()
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == _MULTIPART:
                yield Body(await self._parts(request, stream()), whole=False)
            elif kind.startswith(_RAW):
                content = b"".join([chunk async for chunk in stream()])
                if not content:
                    raise Problem(400, "no image", "the body is empty; send the bytes of an image")
                yield Body([(RAW_NAME, content)], whole=True)
            else:
                hint = "; decode base64 and send the bytes" if kind == "application/json" else ""
                raise Problem(
                    415,
                    "unsupported media type",
                    f"Content-Type {kind or 'missing'!r}: send image/… or {_MULTIPART}{hint}",
                    {"Accept-Post": f"image/*, {_MULTIPART}"},
                )
        finally:
            self._take(-taken)

    async def _parts(
        self, request: Request, stream: AsyncGenerator[bytes, None]
    ) -> list[tuple[str, bytes]]:
        limit = self._settings.max_images
        # A form has no charset (RFC 7578); Starlette would decode names with any codec of Python.
        kind = _CHARSET.sub("; ignored=", request.headers["content-type"])
        headers = Headers({"content-type": kind})
        parser = _InMemory(headers, stream, max_files=limit, max_fields=_MAX_FIELDS)
        try:
            form = await parser.parse()
        except (MultiPartException, FormParserError) as error:  # Starlette 0.50 lets it through.
            raise Problem(
                400,
                "malformed body",
                f"{str(error).rstrip('.')}. "
                f"Send files, at most {limit} of them, in parts with a filename.",
            ) from error
        try:
            parts = [part for _, part in form.multi_items() if not isinstance(part, str)]
            # Browsers send an empty part without a name where no file was chosen.
            files = [part for part in parts if part.filename or part.size]
            uploads = [(file.filename or RAW_NAME, await file.read()) for file in files]
        finally:
            await form.close()
        if not uploads:
            raise Problem(400, "no image", "the form contains no file; add at least one image")
        return uploads

    def _take(self, size: int) -> None:
        self._bytes += size
        metrics.BUFFER.inc(size)
        if size > 0 and self._bytes > self._settings.max_buffer:
            raise busy("the server's limit on memory for images is reached")

    def _too_large(self) -> Problem:
        limit = self._settings.max_body
        # The rest of the body is not read, so the connection cannot be reused.
        return Problem(
            413,
            "body too large",
            f"the body is larger than {limit:,} bytes; send fewer or smaller images",
            {"Connection": "close"},
        )
