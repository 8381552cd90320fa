"""Errors as the clients see them: RFC 9457, "Problem Details for HTTP APIs"."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):  # noqa: N818 (what RFC 9457 calls it)
    """A request that is not answered, and why.

    Attributes:
        status: HTTP status.
        reason: A word or two for programs and metrics, such as ``"body too large"``.
        detail: A sentence for people: what was wrong, and what to do.
        headers: More headers of the response.
    """

    def __init__(
        self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """Write the problem down."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
        }
        return JSONResponse(content, self.status, self.headers, media_type=MEDIA_TYPE)


def busy(detail: str) -> Problem:
    """The server has no room for the request now."""
    return Problem(503, "busy", f"{detail}; try again in a moment", {"Retry-After": "1"})
