"""How many things to do at once."""

import os


def cores() -> int:
    """Count the cores that this process may use: in a container, not all of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
