"""What verbs that run long, or on a cluster, have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeAlias

import typer

CLUSTER: Final = "Cluster"
"""The panel of `--help` with what is for Ray."""

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Of a Ray cluster's head, or auto on one of its nodes; else this machine alone.",
        rich_help_panel=CLUSTER,
    ),
]


@contextmanager
def resumable() -> Iterator[None]:
    """Turn Ctrl-C into a line that says how to go on, and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted: the same command with --resume goes on from here", err=True)
        raise typer.Exit(130) from None
