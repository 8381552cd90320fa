"""A real server on loopback for tests."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Server:
    """One that runs."""

    process: subprocess.Popen[str]
    url: str
    port: int

    def stop(self) -> tuple[int, str]:
        """Send SIGTERM; return exit status and output."""
        self.process.send_signal(signal.SIGTERM)
        _, printed = self.process.communicate(timeout=60)
        return self.process.returncode, printed


@contextmanager
def serving(
    *options: str | Path, may_write: bool = True, python: str | Path = sys.executable
) -> Iterator[Server]:
    port = free_port()
    command = [str(python), "-m", "happysad", "serve", "--port", str(port), *map(str, options)]
    if not may_write:
        # Not by preexec_fn, which may deadlock in a process with threads, such as Ray's.
        command = ["sh", "-c", 'ulimit -f 0; exec "$0" "$@"', *command]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )
    server = Server(process, f"http://127.0.0.1:{port}", port)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                if httpx.get(f"{server.url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no server: {kill(process)}")
            time.sleep(0.05)
        yield server
    finally:
        kill(process)


def free_port() -> int:
    """Return a free port below those that systems choose for outgoing connections."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def kill(process: subprocess.Popen[str]) -> str:
    """Kill it and its workers, which would keep the pipe open; return the output."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    ended = process.stderr is None or process.stderr.closed
    return "" if ended else process.communicate()[1]
