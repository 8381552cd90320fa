"""Keep native code quiet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what native code writes off standard error, where the user's errors stand.

    LiteRT greets with a line of its own, and on processors with AVX-512 TensorFlow writes some
    before it has read any log level.
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
