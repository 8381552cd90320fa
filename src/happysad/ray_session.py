"""Connection to a Ray cluster, or a Ray instance on this machine."""

import atexit
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Disable Ray's usage telemetry.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Silence a deprecation warning about accelerators on nodes without any.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Notice a host that vanished without closing its connections within a minute and a half, not seven
# minutes. Less could cut connections to processes that a busy machine delays.
os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", "30000")
os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", "60000")

import ray

# Ray bundles this module, and makes it importable itself.
import colorama.initialise  # isort: skip

from happysad.errors import HappysadError

# Images do not pass through the object store, only the model and image names.
_STORE_BYTES: Final = 200_000_000
_TIMEOUT: Final = 10.0  # seconds


@contextmanager
def connect(address: str | None, cpus: int) -> Iterator[None]:
    """Connect to Ray for the duration of the block.

    An existing connection of this process is reused and left open.

    Args:
        address: ``HOST:PORT`` of the cluster's head node, or ``"auto"`` on one of its nodes. None
            starts Ray on this machine.
        cpus: CPU slots of a Ray instance that is started here.

    Raises:
        HappysadError: The cluster cannot be reached, or Ray cannot be started.
    """
    if ray.is_initialized():
        yield
        return
    if address is not None and address != "auto":
        _check_reachable(address)
    try:
        # An interrupted start leaves threads of Ray's that crash the process at its exit.
        with _interrupt_delayed():
            _init(address, cpus)
        yield
    finally:
        ray.shutdown()


@contextmanager
def _interrupt_delayed() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    received = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: received.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if received.is_set():
        raise KeyboardInterrupt


def _init(address: str | None, cpus: int) -> None:
    options = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                **options,
            )
        else:
            ray.init(address, **options)
    # Ray raises built-in exceptions for a version mismatch, a missing cluster or lack of memory.
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        where = f"Ray cluster at {address}" if address else "Ray on this machine"
        raise HappysadError(f"{where}: cannot connect ({reason}){_token_hint(address)}") from error
    # At exit, colorama, which Ray starts, would write an escape sequence to any terminal.
    atexit.unregister(colorama.initialise.reset_all)


def _token_hint(address: str | None) -> str:
    """Name the usual cause: since 2.60, Ray's head nodes require a token."""
    if address is None or os.environ.get("RAY_AUTH_MODE") == "token":
        return ""
    return (
        "; if it requires a token, set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from the "
        "head node"
    )


def _check_reachable(address: str) -> None:
    """Open a TCP connection first: Ray itself would retry for minutes, then abort the process."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _TIMEOUT).close()
    except (OSError, ValueError) as error:
        raise HappysadError(
            f"{address}: no Ray cluster at this address ({error}); give HOST:PORT of the head "
            "node, as 'ray start --head' prints it"
        ) from error
