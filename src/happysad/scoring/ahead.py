"""Do what waits, on disk or network, while something else computes."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def ahead(calls: Iterable[Callable[[], T]], threads: int, window: int = 0) -> Generator[T]:
    """Make calls in threads; yields what they return, in their order.

    Args:
        calls: What to call; taken from lazily.
        threads: How many calls run at once.
        window: How many calls may be begun and not yet yielded; else as many as there are threads.
    """
    remaining = iter(calls)
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[T]] = deque()
    try:
        pending.extend(pool.submit(call) for call in islice(remaining, window or threads))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(call) for call in islice(remaining, 1))
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
