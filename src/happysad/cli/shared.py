"""Options and error handling shared by the verbs that run on Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeAlias

import typer

CLUSTER: Final = "Cluster"
"""Title of the `--help` panel with Ray's options."""

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Address of a Ray cluster's head node, or auto on one of its nodes. Default: this "
        "machine only.",
        rich_help_panel=CLUSTER,
    ),
]


@contextmanager
def resumable() -> Iterator[None]:
    """Turn Ctrl-C into a line about --resume and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted; continue with the same command and --resume", err=True)
        raise typer.Exit(130) from None
