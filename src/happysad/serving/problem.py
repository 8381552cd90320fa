"""Error responses: RFC 9457, "Problem Details for HTTP APIs"."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):  # noqa: N818 (the term of RFC 9457)
    """A request that is refused.

    Attributes:
        status: HTTP status.
        reason: Short, for programs and metrics, such as ``"body too large"``.
        detail: For people: what is wrong and what to do.
        headers: Additional headers of the response.
    """

    def __init__(
        self, status: int, reason: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """Return the problem as JSON."""
        content = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "reason": self.reason,
            "detail": self.detail,
        }
        return JSONResponse(content, self.status, self.headers, media_type=MEDIA_TYPE)


def busy(detail: str) -> Problem:
    """Return the problem of a full queue or memory: 503 with Retry-After."""
    return Problem(503, "busy", f"{detail}; try again in a moment", {"Retry-After": "1"})
