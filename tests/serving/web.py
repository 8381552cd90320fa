"""Web servers on loopback, and a browser, for tests."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


class QuietHandler(BaseHTTPRequestHandler):
    """Keeps no log."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class QuietFiles(QuietHandler, SimpleHTTPRequestHandler):
    """Serves files without a log."""


@contextmanager
def web(handler: Callable[..., Any]) -> Iterator[str]:
    """Answer HTTP requests with a handler; yields the server's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # A response may have no end.
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def web_folder(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP; yields the server's URL."""
    with web(partial(QuietFiles, directory=str(folder))) as address:
        yield address


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Launch Chromium; skips the test where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if not path:
        pytest.skip("no Chromium here: apt install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def accessibility_violations(page: "Page") -> list[str]:
    """Return what axe-core finds: each rule and the first element that violates it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    found = axe.Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]
