"""Progress bars on standard error."""

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
    """Create a progress bar on standard error, disabled where that is not a terminal.

    Args:
        *extra: More columns, shown between the count and the remaining time.
    """
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *extra,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while a progress bar counts them.

    Args:
        items: What to iterate over.
        description: The label of the bar.
        total: Number of items, where ``items`` is not a sequence.
    """
    if total is None and isinstance(items, Sequence):
        total = len(items)
    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=description)
