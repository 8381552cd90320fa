"""Options and error handling shared by long-running and cluster verbs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeAlias

import typer

CLUSTER: Final = "Cluster"
"""The `--help` panel of Ray options."""

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of a Ray cluster's head node, or auto on one of its nodes; default: this "
        "machine only.",
        rich_help_panel=CLUSTER,
    ),
]


@contextmanager
def resumable() -> Iterator[None]:
    """Convert Ctrl-C to a message about --resume and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command with --resume to continue", err=True)
        raise typer.Exit(130) from None
