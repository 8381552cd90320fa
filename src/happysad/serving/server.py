"""Run the HTTP application: port, worker processes, and a shutdown that loses no request."""

import asyncio
import math
import os
import signal
import socket
import sys
import tempfile
from contextlib import ExitStack
from typing import Any, Final

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from happysad.classifier import Classifier
from happysad.errors import HappysadError
from happysad.serving.settings import METRICS_VARIABLE, Settings

_HEADER_SECONDS: Final = 10
_HEADER_BYTES: Final = 65_536
_PIECE: Final = 4096
_GRACE_SECONDS: Final = 2.0


class _Parser(httptools.HttpRequestParser):
    """Ignores offers to upgrade to HTTP/2 or WebSocket, after which httptools skips the body."""

    def __init__(self, protocol: "_Protocol") -> None:
        super().__init__(protocol)
        self._protocol = protocol
        # As uvicorn does: the first of pipelined requests may be the last of its connection.
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: Any) -> None:
        try:
            super().feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self.offers_upgrade():
                raise
            head = self._protocol.head_without_upgrade()
            # This parser may have seen Connection: close, and would pass over what follows.
            self._protocol.parser = _Parser(self._protocol)
            self._protocol.parser.feed_data(head + data[upgrade.args[0] :])

    def offers_upgrade(self) -> bool:
        """Return whether the request can be answered without the upgrade, unlike CONNECT."""
        return self.should_upgrade() and self.get_method() != b"CONNECT"


class _Protocol(HttpToolsProtocol):
    """Closes idle connections, and those whose headers are too long or too slow.

    uvicorn's protocol has no limit on headers, and its limit on idle connections ends with the next
    byte.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.parser: _Parser = _Parser(self)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._header_bytes = 0
        self._expect_headers(_HEADER_SECONDS)

    def data_received(self, data: bytes) -> None:
        # In pieces, so that the bytes of a body in the same packet are not counted as headers.
        for start in range(0, len(data), _PIECE):
            if self.transport.is_closing():
                return
            piece = data[start : start + _PIECE]
            self._header_bytes += len(piece)
            super().data_received(piece)
            if self._header_bytes > _HEADER_BYTES:
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_headers(_HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        if self.parser.offers_upgrade():
            return
        self._deadline.cancel()
        self._header_bytes = 0
        super().on_headers_complete()

    def head_without_upgrade(self) -> bytes:
        """Return the beginning of the request that was just parsed, without its Upgrade header."""
        start = b"%b %b HTTP/%b" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([start, *headers, b"", b""])

    def on_message_complete(self) -> None:
        if not self.parser.offers_upgrade():
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        # What remains are the trailers and the sizes of chunks.
        self._header_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.timeout_keep_alive_task and self._deadline.cancelled():
            self._expect_headers(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        # The request of a connection that has just been opened may be on its way.
        self.loop.call_later(_GRACE_SECONDS, super().shutdown)

    def _expect_headers(self, seconds: float) -> None:
        """Close the connection unless headers are complete in time."""
        if hasattr(self, "_deadline"):
            self._deadline.cancel()
        self._deadline: asyncio.TimerHandle = self.loop.call_later(seconds, self.transport.close)


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first.

    Raises:
        HappysadError: The model, the keys or the runtime cannot be read, or the port is taken.
    """
    # In a worker process, these errors would end in uvicorn's traceback.
    Classifier(settings.model)
    settings.keys()
    settings.runtime_folder()
    _check_port(host, port)
    print(
        f"happysad on http://{_address(host, port)}/ (Ctrl-C ends it)", file=sys.stderr, flush=True
    )
    settings.to_environment()
    with ExitStack() as stack:
        if workers > 1:
            # The workers' metrics library reads the variable when it is imported.
            folder = tempfile.TemporaryDirectory(prefix="happysad-metrics-")
            os.environ[METRICS_VARIABLE] = stack.enter_context(folder)
        else:
            # uvicorn raises the signal again after shutdown, and this handler receives it.
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        uvicorn.run(
            "happysad.serving.app:create_app",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            http=_Protocol,
            # uvicorn's are whole seconds; connections learn of the shutdown after the grace period.
            timeout_keep_alive=math.ceil(settings.idle),
            timeout_graceful_shutdown=math.ceil(settings.timeout + _GRACE_SECONDS),
            server_header=False,
            access_log=False,
            log_level="warning",
            ws="none",
        )


def _address(host: str, port: int) -> str:
    """Return host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_port(host: str, port: int) -> None:
    """Fail before the address is announced; uvicorn would log the error and exit."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            if os.name == "posix":
                # As uvicorn does: connections of a server that has just ended do not matter.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise HappysadError(
            f"cannot listen on {_address(host, port)} ({reason}); choose another --port or --host, "
            "or end the program that uses it"
        ) from error
