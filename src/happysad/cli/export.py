"""`happysad export`: convert a finished run to `.tflite` files."""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from happysad.quiet import quiet, start_litert

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
        typer.Option(help="May be repeated; default: int8."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Also keep files that lose accuracy significantly."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Convert a trained run to .tflite files: calibrated, quantised, compared with Keras.

    Each file is compared with the Keras network on the run's validation split.
    A file is refused if it loses more than 0.5 points of accuracy and chance does
    not explain the loss (exact McNemar test, p < 0.05). The exit status is 1 if
    some files were refused, 2 if all were.

    Examples:
      happysad export runs/first
      happysad export runs/first --precision float16 --precision dynamic
    """
    # Only TensorFlow converts to TFLite; it loads networks trained on any backend.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from happysad.classifier import PRECISIONS

    with quiet():
        from happysad.export.export import as_json as entry_as_json
        from happysad.export.export import export_run

    start_litert()
    asked = set(precision or [Choice.INT8])
    chosen = [name for name in PRECISIONS if Choice.ALL in asked or name in asked]
    summary = export_run(run, chosen, force=force)
    exports = summary.exports
    if as_json:
        entries = [entry_as_json(entry) for entry in exports]
        typer.echo(json.dumps({"warnings": summary.warnings, "exports": entries}, indent=2))
    else:
        _print(exports)
    for warning in summary.warnings:
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW, err=True)
    refused = [entry for entry in exports if not entry.kept]
    for entry in refused:
        typer.secho(f"error: {_refusal(entry)}", fg=typer.colors.RED, err=True)
    if refused:
        raise typer.Exit(2 if len(refused) == len(exports) else 1)


def _refusal(entry: "ExportResult") -> str:
    from happysad.export.comparison import MAX_LOSS, SIGNIFICANCE

    compared = entry.comparison
    return (
        f"{entry.path}: not written; {entry.precision} loses {compared.loss:.2f} points of "
        f"accuracy, over the limit of {MAX_LOSS}: of {compared.images:,} validation images "
        f"{compared.lost} are lost and {compared.won} won against Keras (p = "
        f"{compared.p_value:.2g}, below {SIGNIFICANCE}); use another precision, or keep it with "
        "--force"
    )


def _print(exports: "list[ExportResult]") -> None:
    from happysad.export.comparison import MAX_LOSS

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("precision", no_wrap=True)
    for name in ("MB", "accuracy", "lost", "won", "agree %", "max Δp", "mean Δp", "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in exports:
        table.add_row(
            entry.precision,
            f"{entry.bytes / 1e6:.2f}",
            f"{entry.accuracy:.4f}",
            f"{entry.comparison.lost}",
            f"{entry.comparison.won}",
            f"{100 * entry.agreement:.2f}",
            f"{entry.max_difference:.4f}",
            f"{entry.mean_difference:.4f}",
            f"{entry.milliseconds:.2f}",
        )
    console = Console(emoji=False)
    console.print(table)
    console.print(
        "Compared with the Keras network on the validation split: images lost and won, labels "
        "that agree, differences of P(happy). ms: one crop on one thread."
    )
    compared = exports[0].comparison
    if compared.detectable > MAX_LOSS:
        console.print(
            f"{compared.images:,} validation images cannot show a loss of less than "
            f"{compared.detectable:.1f} points."
        )
    for entry in exports:
        if entry.kept:
            typer.echo(f"wrote {entry.path}")
