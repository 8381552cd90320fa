"""Keep TensorFlow's remarks on itself away from the user's errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_import() -> Iterator[None]:
    """Send standard error nowhere while TensorFlow is imported.

    On processors with AVX-512 its libraries write to it before any log level is read.
    """
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
