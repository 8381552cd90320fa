"""Suppress the log output of native libraries."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Discard what native libraries write to standard error.

    LiteRT logs a line on loading, and TensorFlow logs on processors with AVX-512 before it reads
    its log level.
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def start_litert() -> None:
    """Create a LiteRT interpreter, so that no later one logs: only the first in a process does."""
    with quiet():
        from happysad.classifier import Classifier

        Classifier()
