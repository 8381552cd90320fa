"""`happysad evaluate`: test a model on labelled images."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from happysad.errors import HappysadError
from happysad.prediction import LABELS
from happysad.quiet import quiet, start_litert

if TYPE_CHECKING:
    from happysad.evaluation.compare import Comparison
    from happysad.evaluation.evaluate import Evaluation

_SLICES: Final = 20


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("evaluate")(evaluate)


def evaluate(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... DATASET",
            help="A run directory, a .keras file or a .tflite file, or several to be compared; "
            "and a folder with happy/ and sad/ in it.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write to; by default in the run, or beside the model.", file_okay=False
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Also compute the metrics for each value of a column of the dataset's groups.csv, "
            "such as camera or group.",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print metrics.json, or comparison.json, instead of tables."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a dataset with unreadable images.")
    ] = False,
    images: Annotated[
        bool,
        typer.Option(
            help="Show images in the report: the most confident mistakes, with heat maps; or those "
            "about which the models differ."
        ),
    ] = True,
) -> None:
    """Test a model on labelled images it has not seen, or compare several.

    Writes metrics.json, predictions.csv, charts and a report.html to look at. Of
    several models, each is compared with the first one on the same images. The
    exit status is 1 if some images were skipped.

    Examples:
      happysad evaluate runs/first faces-test/
      happysad evaluate model.tflite faces-test/ --out test --no-images
      happysad evaluate runs/first faces-test/ --by camera
      happysad evaluate runs/first runs/second faces-test/ --out comparison
    """
    from happysad.evaluation.evaluate import evaluate as run

    *models, dataset = paths
    if not models:
        raise HappysadError(
            f"{dataset}: give a model and a dataset, as in happysad evaluate runs/first faces-test/"
        )
    suffixes = {model.suffix for model in models}
    if suffixes - {".tflite"}:
        with quiet():
            import keras  # noqa: F401
    if ".tflite" in suffixes:
        start_litert()

    folder = out or default_folder(models[0], dataset, "comparison" if models[1:] else "evaluation")
    if models[1:]:
        if by is not None:
            raise typer.BadParameter("is for one model; omit it", param_hint="--by")
        _compare(models, dataset, folder, as_json, strict, images)
        return
    evaluation = run(models[0], dataset, folder, by=by, strict=strict, images=images)
    if as_json:
        typer.echo(json.dumps(evaluation.facts, indent=2))
    else:
        _print(evaluation, Console(emoji=False))
    if evaluation.skipped:
        raise typer.Exit(1)


def default_folder(model: Path, dataset: Path, kind: str) -> Path:
    """Name the folder for a test: in the run directory, or beside the model's file."""
    name = f"{kind}-{dataset.resolve().name}"
    return model / name if model.is_dir() else model.with_name(f"{model.stem}-{name}")


def _compare(
    models: list[Path], dataset: Path, out: Path, as_json: bool, strict: bool, images: bool
) -> None:
    from happysad.evaluation.compare import compare_models

    comparison = compare_models(models, dataset, out, strict=strict, images=images)
    if as_json:
        typer.echo((out / "comparison.json").read_text("utf-8"))
    else:
        _print_comparison(comparison, Console(emoji=False))
    if comparison.evaluations[0].skipped:
        raise typer.Exit(1)


def _print_comparison(comparison: "Comparison", console: Console) -> None:
    from happysad.evaluation.report import FIGURES, format_difference, format_value

    names, differences = comparison.names, comparison.differences
    metrics = [each.metrics.figures for each in comparison.evaluations]
    images = f"{comparison.evaluations[0].metrics.count:,} images"
    for number, (name, difference) in enumerate(zip(names[1:], differences, strict=True), 1):
        title = f"{escape(name)} against {escape(names[0])}, {images}"
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
        table.add_column("metric")
        for heading in (names[0], name, "difference", "95 % interval"):
            table.add_column(escape(heading), justify="right", overflow="fold")
        for key, estimate in difference.metrics.items():
            if key not in FIGURES:
                continue
            shown = format_difference(key, estimate)
            values = (format_value(key, metrics[i][key].value) for i in (0, number))
            style = "bold" if shown["clear"] else None
            row = (FIGURES[key][0], *values, shown["difference"], shown["interval"])
            table.add_row(*row, style=style)
        console.print(table)
        console.print(
            f"only {name} is right on {difference.only_this:,} images, "
            f"only {names[0]} on {difference.only_first:,}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
    console.print(f"Report: {comparison.report}", soft_wrap=True, highlight=False, markup=False)


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

    if slices := evaluation.facts.get("slices"):
        console.print(_slices(slices))
    if evaluation.skipped:
        console.print(f"[yellow]Skipped: {evaluation.skipped:,} (see the report).[/]")
    if evaluation.facts["dataset"]["seen"]:
        seen = evaluation.facts["dataset"]["seen"]
        console.print(f"[yellow]Also in the run's own dataset: {seen:,} of the images.[/]")
    console.print(f"Report: {evaluation.report}", soft_wrap=True, highlight=False, markup=False)


def _slices(slices: dict[str, Any]) -> Table:
    from happysad.evaluation.report import format_percent

    title = f"By {escape(slices['column'])}, the lowest accuracy first"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column(escape(slices["column"]), overflow="fold")
    for heading in ("images", "accuracy", "95 % interval", "recall happy", "recall sad"):
        table.add_column(heading, justify="right")
    for each in slices["values"][:_SLICES]:
        low, high = format_percent(each["low"]), format_percent(each["high"])
        table.add_row(
            escape(each["value"]) or "(no value)",
            f"{each['images']:,}",
            format_percent(each["accuracy"]),
            f"{low}–{high}",
            format_percent(each["recall_happy"]),
            format_percent(each["recall_sad"]),
            style="bold" if each["differs"] else None,
        )
    if len(slices["values"]) > _SLICES:
        table.caption = f"{len(slices['values']) - _SLICES:,} more in the report"
    return table
