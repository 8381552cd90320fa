"""`happysad evaluate`: test a model on labelled images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from happysad.cli.quiet import quiet, start_litert
from happysad.prediction import LABELS

if TYPE_CHECKING:
    from happysad.evaluation.evaluate import Evaluation


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("evaluate")(evaluate)


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A run directory, a .keras file or a .tflite file.")
    ],
    dataset: Annotated[Path, typer.Argument(help="A folder with happy/ and sad/ in it.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; by default in the run, or beside the model.", file_okay=False
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print metrics.json instead of tables.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a dataset with unreadable images.")
    ] = False,
    images: Annotated[
        bool, typer.Option(help="Show the most confident mistakes, with heat maps, in the report.")
    ] = True,
) -> None:
    """Test a model on labelled images it has not seen.

    Writes metrics.json, predictions.csv, charts and a report.html to look at.
    The exit status is 1 if some images had to be left out.

    Examples:
      happysad evaluate runs/first faces-test/
      happysad evaluate model.tflite faces-test/ --out test --no-images
    """
    from happysad.evaluation.evaluate import evaluate as run

    if model.suffix != ".tflite":
        with quiet():
            import keras  # noqa: F401
    start_litert()

    folder = out or default_folder(model, dataset)
    evaluation = run(model, dataset, folder, strict=strict, images=images)
    if as_json:
        typer.echo(json.dumps(evaluation.facts, indent=2))
    else:
        _print(evaluation, Console())
    if evaluation.skipped:
        raise typer.Exit(1)


def default_folder(model: Path, dataset: Path) -> Path:
    """Name the folder for a test: in the run directory, or beside the model's file."""
    name = f"evaluation-{dataset.resolve().name}"
    return model / name if model.is_dir() else model.with_name(f"{model.stem}-{name}")


def _print(evaluation: "Evaluation", console: Console) -> None:
    from happysad.evaluation.report import FIGURES, format_interval, format_value, vote_rows

    metrics = evaluation.metrics
    table = Table(box=box.SIMPLE_HEAD, title=f"{metrics.count:,} images", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    titles = {name: title for name, (title, _) in FIGURES.items()}
    for label in ("happy", "sad"):
        for name, title in (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1")):
            titles[f"{name}_{label}"] = f"{title}, {label}"
    for name, title in titles.items():
        if name in metrics.figures:
            estimate = metrics.figures[name]
            value = format_value(name, estimate.value)
            table.add_row(title, value, format_interval(name, estimate))
    console.print(table)

    matrix = Table(box=box.SIMPLE_HEAD, title="Confusion", title_justify="left")
    matrix.add_column("true")
    for label in LABELS:
        matrix.add_column(f"called {label}", justify="right")
    for label, counts in zip(LABELS, metrics.confusion, strict=True):
        matrix.add_row(label, *(f"{count:,}" for count in counts))
    console.print(matrix)

    if rows := vote_rows(evaluation.facts.get("votes")):
        votes = Table(box=box.SIMPLE_HEAD, title="By votes", title_justify="left")
        votes.add_column("metric")
        votes.add_column("value", justify="right")
        for row in rows:
            votes.add_row(*row)
        console.print(votes)

    if evaluation.skipped:
        console.print(f"[yellow]Left out: {evaluation.skipped:,} (the report says why).[/]")
    if evaluation.facts["dataset"]["seen"]:
        seen = evaluation.facts["dataset"]["seen"]
        console.print(f"[yellow]Also in the run's own dataset: {seen:,} of the images.[/]")
    console.print(f"Report: {evaluation.report}", soft_wrap=True, highlight=False, markup=False)
