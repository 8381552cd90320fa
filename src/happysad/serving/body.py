"""Read images out of request bodies: into memory only, and never more than is allowed."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from happysad.serving import metrics
from happysad.serving.problem import Problem, busy
from happysad.serving.settings import Settings

RAW_NAME: Final = "-"
"""What an image is called that came as the whole body, as for standard input."""

_MULTIPART: Final = "multipart/form-data"
_RAW: Final = ("image/", "application/octet-stream")
_MAX_FIELDS: Final = 100
"""Text fields that a form may have; they are ignored."""


@dataclass(frozen=True)
class Body:
    """What a request brought.

    Attributes:
        images: Name and bytes of each.
        whole: Whether the one image was the body, not a part of a form.
    """

    images: list[tuple[str, bytes]]
    whole: bool


class _InMemory(MultiPartParser):
    # Starlette would write larger parts to disk, but images must stay in memory.
    spool_max_size = 2**62


class Buffers:
    """Bounds what all bodies together take up in memory."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[Body]:
        """Read a request's images; they count as held in memory until the block ends.

        Raises:
            Problem: The body is too large, of another kind, empty or malformed, or there is no
                memory for it now.
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
                    raise Problem(400, "no image", "the body is empty: send an image's bytes")
                yield Body([(RAW_NAME, content)], whole=True)
            else:
                hint = "; decode base64 and send the bytes" if kind == "application/json" else ""
                raise Problem(
                    415,
                    "unknown kind of body",
                    f"Content-Type {kind or 'missing'!r}: send image/… or {_MULTIPART}{hint}",
                    {"Accept-Post": f"image/*, {_MULTIPART}"},
                )
        finally:
            self._take(-taken)

    async def _parts(
        self, request: Request, stream: AsyncGenerator[bytes, None]
    ) -> list[tuple[str, bytes]]:
        limit = self._settings.max_images
        parser = _InMemory(request.headers, stream, max_files=limit, max_fields=_MAX_FIELDS)
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
            files = [part for _, part in form.multi_items() if not isinstance(part, str)]
            uploads = [(file.filename or RAW_NAME, await file.read()) for file in files]
        finally:
            await form.close()
        if not uploads:
            raise Problem(400, "no image", "the form holds no file: add at least one image")
        return uploads

    def _take(self, size: int) -> None:
        self._bytes += size
        metrics.BUFFER.inc(size)
        if size > 0 and self._bytes > self._settings.max_buffer:
            raise busy("the server's memory for images is full")

    def _too_large(self) -> Problem:
        limit = self._settings.max_body
        # What the client still sends is not read: the connection cannot go on.
        return Problem(
            413,
            "body too large",
            f"the body may have {limit:,} bytes at most: send fewer or smaller images",
            {"Connection": "close"},
        )
