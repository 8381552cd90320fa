"""Options and error handling that several verbs share."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

CLUSTER: Final = "Cluster"
"""The `--help` panel of Ray options."""


class Crop(StrEnum):
    """Values of ``--crop``."""

    FACE = "face"
    WHOLE = "whole"


Model: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="A .tflite file made by happysad export; default: the bundled model."),
]

CropMode: TypeAlias = Annotated[
    Crop,
    typer.Option(
        help="Detect faces; or classify each whole image, which must be a crop of one face."
    ),
]

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
