"""The number of CPUs available to this process."""

import os


def cores() -> int:
    """Return the number of CPUs available to this process, respecting its CPU affinity."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
