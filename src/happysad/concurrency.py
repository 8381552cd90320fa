"""Threads: an ordered parallel map and thread-local objects."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ordered(
    function: Callable[[T], R], items: Iterable[T], threads: int, ahead: int = 2
) -> Generator[R]:
    """Map with threads: yield results in the order of the items.

    At most ``ahead`` items per thread are taken in advance, so memory use does not grow with the
    number of items. Closing the generator cancels what has not started.

    Args:
        function: Called in a thread for each item; an exception ends the iteration.
        items: What to map over; iterated in the calling thread.
        threads: How many threads; 1 runs in the calling thread.
        ahead: Items per thread that may wait for the slowest one.
    """
    items = iter(items)
    # One item needs no threads.
    first = list(islice(items, 2)) if threads > 1 else []
    items = chain(first, items)
    if len(first) < 2:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            while pending and (pending[0].done() or len(pending) > ahead * threads):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class PerThread(Generic[T]):
    """An object of which each thread has its own, made on first use.

    Pickling and copying keep the factory and drop the objects.
    """

    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._local = threading.local()

    def get(self) -> T:
        """Return this thread's object."""
        if not hasattr(self._local, "object"):
            self._local.object = self._factory()
        found: T = self._local.object
        return found

    def __getstate__(self) -> Callable[[], T]:
        return self._factory

    def __setstate__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._local = threading.local()
