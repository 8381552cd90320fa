"""`happysad tune`: hyperparameter search, and the spread over seeds."""

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
    from happysad.tuning.ranking import Mean, Outcome, Trial
    from happysad.tuning.tune import SearchResult


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("tune")(tune)


def tune(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with happy/ and sad/ subfolders of face images.")
    ],
    out: Annotated[
        Path, typer.Option(help="A new folder for a run per trial, tables, a plot and best.toml.")
    ],
    recipe: Annotated[str | None, typer.Option(help="Recipe to vary; see happysad train.")] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Hyperparameter and its values: A,B,C or LOW..HIGH. May be repeated.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each recipe. Default: 1.")] = 1,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Recipes to draw at random. Default: all combinations; 16 with a range.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="Weights to start from; see happysad train.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smoke test (about a minute per training).")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the search in --out.")] = False,
    group_pattern: Annotated[
        str | None, typer.Option(help="Person a file shows; see happysad train.")
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV of images that are not used; see happysad train."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
    address: Address = None,
    cpus: Annotated[
        int, typer.Option(min=1, help="CPUs of each training. Default: 1.", rich_help_panel=CLUSTER)
    ] = 1,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trainings at once. Default: as many as there are CPUs for.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
) -> None:
    """Search for the recipe with the lowest validation loss.

    Trainings that fall behind are stopped early, except with --seeds, which are
    averaged. --seeds without --vary gives the mean and spread of one recipe. After
    an interruption, the same command with --resume continues. The exit status is 1
    if some trainings failed.

    Examples:
      happysad tune faces/ --vary dropout=0.2,0.5 --out dropouts
      happysad tune faces/ --vary stages.1.learning_rate=1e-4..1e-2 --out rates
      happysad tune faces/ --recipe fine-tune --seeds 5 --out seeds
    """
    from happysad.progress import progress_bar
    from happysad.tuning.ranking import to_dict
    from happysad.tuning.space import parse_vary
    from happysad.tuning.tune import tune as run

    base = choose_recipe(recipe, weights, quick)
    varied = [parse_vary(text) for text in vary or []]
    console = Console(
        file=sys.stderr if as_json else sys.stdout,
        soft_wrap=True,
        highlight=False,
        markup=False,
        emoji=False,
    )
    bar = progress_bar()
    task = bar.add_task("Starting Ray", total=None)

    def on_epoch(trial: "Trial", row: "Epoch", total: int) -> None:
        text = f"{trial.number:03}, epoch {row.epoch}: val loss {row.val_loss:.4f}"
        bar.update(task, description=text, total=total)

    def on_trial(trial: "Trial", outcome: "Outcome", total: int) -> None:
        bar.update(task, advance=1, total=total)
        console.print(_line(trial, outcome))

    # Ray also prints to standard output when it loses a worker or a node.
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
            exclude=exclude,
            resume=resume,
            on_epoch=on_epoch,
            on_trial=on_trial,
        )
    if as_json:
        ranked = [to_dict(recipe) for recipe in search.recipes]
        print(json.dumps({"schema": 1, "best": str(search.best), "recipes": ranked}, indent=2))
    else:
        _print(search, console)
    if any(o.state == "failed" for ranked in search.recipes for o in ranked.outcomes):
        raise typer.Exit(1)


def _line(trial: "Trial", outcome: "Outcome") -> str:
    from happysad.tuning.chart import recipe_name

    trained = f"{recipe_name(trial.values)}, seed {outcome.seed}"
    line = f"{outcome.run.name}  {outcome.state}  {trained}"
    if outcome.problem:
        return f"{line}: {outcome.problem}"
    return (
        f"{line}: {outcome.epochs} epochs, val loss {outcome.val_loss:.4f}, "
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
            _mean(recipe.val_loss, best.val_loss),
            _mean(recipe.val_accuracy, best.val_accuracy),
            best.run.name,
        )
    console.print(table)
    console.print(f"best recipe: {search.best}\nnext: happysad train FACES --recipe {search.best}")


def _mean(mean: "Mean | None", reached: float | None) -> str:
    """Format mean and deviation over seeds; in parentheses a value before an early stop."""
    if mean is None:
        return "" if reached is None else f"({reached:.4f})"
    spread = "" if mean.deviation is None else f" ± {mean.deviation:.4f}"
    return f"{mean.mean:.4f}{spread}"
