"""One look for every progress bar."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


def progress_bar(*extra: TextColumn) -> Progress:
    """Make a bar on standard error; it stays silent where that is not a terminal.

    Args:
        *extra: More columns, shown between the count and the time left.
    """
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *extra,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a bar shows how many are done.

    Args:
        items: What to go through.
        description: What is being done, a few words.
        total: How many there are, where ``items`` cannot tell.
    """
    if total is None and isinstance(items, Sequence):
        total = len(items)
    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=description)
