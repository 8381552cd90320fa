"""Reach a Ray cluster, or start one on this machine."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Ray would report its use to its makers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Its warning of what later versions will do with accelerators; there are none here.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from happysad.errors import HappysadError

# Bounded: images do not pass through Ray's store, only the model and the names of images.
_STORE_BYTES: Final = 200_000_000
_SECONDS: Final = 10


@contextmanager
def session(address: str | None, cpus: int) -> Iterator[None]:
    """Connect to a cluster for as long as the block runs.

    Where the program is connected already, that connection is used and left as it is.

    Args:
        address: ``HOST:PORT`` of a cluster's head, or ``"auto"`` on one of its nodes; None starts
            Ray on this machine.
        cpus: How many actors Ray may run here; only where it is started.

    Raises:
        HappysadError: There is no such cluster.
    """
    if ray.is_initialized():
        yield
        return
    if address is not None and address != "auto":
        _knock(address)
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
    # Ray has no errors of its own for this: another version of Ray or Python, no cluster, no room.
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        where = f"the Ray cluster at {address}" if address else "Ray on this machine"
        raise HappysadError(f"{where} cannot be used ({reason})") from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Try the address first: Ray itself would try for minutes, and end the process."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _SECONDS).close()
    except (OSError, ValueError) as error:
        raise HappysadError(
            f"no Ray cluster answers at {address!r} ({error}); give HOST:PORT of its head, as "
            "'ray start --head' prints it"
        ) from error
