"""`happysad export`: from a finished run to `.tflite` files."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from happysad.cli.quiet import quiet

if TYPE_CHECKING:
    from happysad.export.export import ExportResult


class Choice(StrEnum):
    """What ``--precision`` takes."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("export")(export)


def export(
    run: Annotated[Path, typer.Argument(help="The directory of a finished run.")],
    precision: Annotated[
        list[Choice] | None,
        typer.Option(help="May be given several times; int8 if it is not given."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Keep a file that loses over 0.5 points of accuracy, too."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Turn a trained run into .tflite files: calibrated, quantised, checked against Keras.

    Each file is compared with the Keras network on the run's validation split,
    and refused if it loses more than 0.5 points of accuracy. The exit status is
    1 if some were refused, 2 if all.

    Examples:
      happysad export runs/first
      happysad export runs/first --precision float16 --precision dynamic
    """
    # Only TensorFlow converts, and it opens what any backend trained.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from happysad.classifier import PRECISIONS

    with quiet():
        from happysad.export.export import MAX_LOSS, export_run
        from happysad.export.export import as_json as entry_as_json

    asked = set(precision or [Choice.INT8])
    chosen = [name for name in PRECISIONS if Choice.ALL in asked or name in asked]
    exports = export_run(run, chosen, force=force)
    if as_json:
        typer.echo(json.dumps([entry_as_json(entry) for entry in exports], indent=2))
    else:
        _print(exports)
    refused = [entry for entry in exports if not entry.kept]
    for entry in refused:
        typer.secho(
            f"error: {entry.precision} loses {-entry.change:.2f} points of accuracy, over "
            f"{MAX_LOSS}: {entry.path} was not written; take another precision, or --force",
            fg=typer.colors.RED,
            err=True,
        )
    if refused:
        raise typer.Exit(2 if len(refused) == len(exports) else 1)


def _print(exports: "list[ExportResult]") -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("precision", no_wrap=True)
    for name in ("MB", "accuracy", "points", "agree %", "max Δp", "mean Δp", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in exports:
        table.add_row(
            entry.precision,
            f"{entry.bytes / 1e6:.2f}",
            f"{entry.accuracy:.4f}",
            f"{entry.change:+.2f}",
            f"{100 * entry.agreement:.2f}",
            f"{entry.max_difference:.4f}",
            f"{entry.mean_difference:.4f}",
            f"{entry.milliseconds:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(
        "Against the Keras network, on the validation split: points of accuracy won or lost, "
        "decisions that agree, differences of P(happy). ms: one crop on one thread."
    )
    for entry in exports:
        if entry.kept:
            typer.echo(f"wrote {entry.path}")
