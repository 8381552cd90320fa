"""Metrics for Prometheus. They never contain an image, a file name, an address or a key."""

import os
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.responses import Response

from happysad.serving.settings import METRICS_VARIABLE

_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)

REQUESTS: Final = Counter(
    "happysad_requests_total", "Requests, by path and status.", ("path", "status")
)
LATENCY: Final = Histogram(
    "happysad_request_seconds", "Time from request to response.", ("path",), buckets=_SECONDS
)
STAGES: Final = Histogram(
    "happysad_stage_seconds",
    "Time of an image's stages: wait, detect (including decoding), crop, classify.",
    ("stage",),
    buckets=(0.001, 0.002, *_SECONDS),
)
FACES: Final = Counter("happysad_faces_total", "Faces, by label.", ("label",))
IMAGES: Final = Counter("happysad_images_total", "Images, by status.", ("status",))
REJECTED: Final = Counter("happysad_rejected_total", "Requests refused, by reason.", ("reason",))
QUEUE: Final = Gauge(
    "happysad_queue", "Images waiting or being predicted.", multiprocess_mode="livesum"
)
BUFFER: Final = Gauge(
    "happysad_buffer_bytes", "Bytes of request bodies in memory.", multiprocess_mode="livesum"
)


def exposition() -> Response:
    """Return all metrics in Prometheus's text format, summed over worker processes."""
    registry = REGISTRY
    if METRICS_VARIABLE in os.environ:
        _forget_killed_workers()
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _forget_killed_workers() -> None:
    """Remove the gauges of worker processes that no longer exist."""
    # On Windows, os.kill would end the process.
    if os.name != "posix":
        return
    for file in Path(os.environ[METRICS_VARIABLE]).glob("gauge_live*.db"):
        try:
            os.kill(int(file.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
