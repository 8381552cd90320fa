"""`happysad tune`: search for a better recipe, and see how much a seed decides."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from happysad.cli.shared import CLUSTER, Address, resumable
from happysad.cli.train import choose_recipe

if TYPE_CHECKING:
    from happysad.training.checkpoint import Epoch
    from happysad.tuning.ranking import Figure, Outcome, Trial
    from happysad.tuning.tune import SearchResult


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("tune")(tune)


def tune(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with happy/ and sad/ subfolders of face images.")
    ],
    out: Annotated[
        Path, typer.Option(help="The folder to make: a run for each trial, tables, best.toml.")
    ],
    recipe: Annotated[str | None, typer.Option(help="What to vary; as for happysad train.")] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="A name of the recipe, and A,B,C or LOW..HIGH; may be given several times.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each recipe.")] = 1,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Recipes to draw at random. Default: all combinations; with a range: 16.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="What to start from; as for happysad train.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="About a minute each: to see that all is wired.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the search in --out.")
    ] = False,
    group_pattern: Annotated[
        str | None, typer.Option(help="Who a file shows; as for happysad train.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
    address: Address = None,
    cpus: Annotated[
        int, typer.Option(min=1, help="Cores for each training.", rich_help_panel=CLUSTER)
    ] = 1,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trainings at once; else as many as there are cores for.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
) -> None:
    """Train by many recipes, and tell which has the lowest validation loss.

    What falls behind is stopped early, unless there are --seeds to be averaged.
    Without --vary, --seeds tells the mean and spread of one recipe. Interrupted
    or killed, the same command with --resume goes on. The exit status is 1 if
    some trainings failed.

    Examples:
      happysad tune faces/ --vary dropout=0.2,0.5 --out dropouts
      happysad tune faces/ --vary stages.1.learning_rate=1e-4..1e-2 --out rates
      happysad tune faces/ --recipe fine-tune --seeds 5 --out seeds
    """
    from happysad.progress import progress_bar
    from happysad.tuning.ranking import as_json as jsonable
    from happysad.tuning.space import parse_vary
    from happysad.tuning.tune import tune as run

    base = choose_recipe(recipe, weights, quick)
    varied = [parse_vary(text) for text in vary or []]
    console = Console(file=sys.stderr if as_json else sys.stdout, soft_wrap=True, highlight=False)
    bar = progress_bar()

    def on_epoch(trial: "Trial", row: "Epoch", total: int) -> None:
        if not bar.tasks:
            bar.add_task("", total=total)
        text = f"{trial.number:03}, epoch {row.epoch}: val loss {row.val_loss:.4f}"
        bar.update(bar.task_ids[0], description=text)

    def on_trial(trial: "Trial", outcome: "Outcome", total: int) -> None:
        if not bar.tasks:
            bar.add_task("", total=total)
        bar.advance(bar.task_ids[0])
        console.print(_line(trial, outcome))

    # Ray prints there, too, when it loses a worker or a node.
    with resumable(), redirect_stdout(sys.stderr), bar:
        search = run(
            dataset,
            base,
            varied,
            out,
            trials=trials,
            seeds=seeds,
            cpus=cpus,
            concurrency=concurrency,
            address=address,
            group_pattern=group_pattern,
            resume=resume,
            on_epoch=on_epoch,
            on_trial=on_trial,
        )
    if as_json:
        ranked = [jsonable(ranked) for ranked in search.recipes]
        print(json.dumps({"schema": 1, "best": str(search.best), "recipes": ranked}, indent=2))
    else:
        _print(search, console)
    if any(o.state == "failed" for ranked in search.recipes for o in ranked.outcomes):
        raise typer.Exit(1)


def _line(trial: "Trial", outcome: "Outcome") -> str:
    from happysad.tuning.chart import name

    told = f"{outcome.run.name}  {outcome.state}  {name(trial.values)}, seed {outcome.seed}"
    if outcome.problem:
        return f"{told}: {outcome.problem}"
    return (
        f"{told}: {outcome.epochs} epochs, val loss {outcome.val_loss:.4f}, "
        f"val accuracy {outcome.val_accuracy:.4f}"
    )


def _print(search: "SearchResult", console: Console) -> None:
    names = list(search.recipes[0].values)
    table = Table(box=box.SIMPLE_HEAD)
    for heading in (*names, "finished", "val log loss", "val accuracy", "best run"):
        table.add_column(heading, justify="left" if heading in names else "right")
    for recipe in search.recipes:
        best = recipe.best
        table.add_row(
            *(str(value) for value in recipe.values.values()),
            f"{recipe.finished} of {len(recipe.outcomes)}",
            _figure(recipe.val_loss, best.val_loss),
            _figure(recipe.val_accuracy, best.val_accuracy),
            best.run.name,
        )
    console.print(table)
    console.print(f"best recipe: {search.best}\nnext: happysad train FACES --recipe {search.best}")


def _figure(figure: "Figure | None", reached: float | None) -> str:
    """Mean and deviation over seeds; in brackets what a recipe reached before it was stopped."""
    if figure is None:
        return "" if reached is None else f"({reached:.4f})"
    spread = "" if figure.deviation is None else f" ± {figure.deviation:.4f}"
    return f"{figure.mean:.4f}{spread}"
