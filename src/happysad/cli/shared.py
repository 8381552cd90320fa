<<<<<<< HEAD
"""Options and error handling shared by the verbs that run on Ray."""
=======
"""Options and error handling shared by long-running and cluster verbs."""
>>>>>>> main

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeAlias

import typer

CLUSTER: Final = "Cluster"
<<<<<<< HEAD
"""Title of the `--help` panel with Ray's options."""
=======
"""The `--help` panel of Ray options."""
>>>>>>> main

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
<<<<<<< HEAD
        help="Address of a Ray cluster's head node, or auto on one of its nodes. Default: this "
=======
        help="Address of a Ray cluster's head node, or auto on one of its nodes; default: this "
>>>>>>> main
        "machine only.",
        rich_help_panel=CLUSTER,
    ),
]


@contextmanager
def resumable() -> Iterator[None]:
<<<<<<< HEAD
    """Turn Ctrl-C into a line about --resume and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted; continue with the same command and --resume", err=True)
=======
    """Convert Ctrl-C to a message about --resume and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command with --resume to continue", err=True)
>>>>>>> main
        raise typer.Exit(130) from None
