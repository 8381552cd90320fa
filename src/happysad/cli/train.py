"""`happysad train`: train on a folder of face images and write a run directory."""

import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from happysad.cli.shared import resumable
from happysad.quiet import quiet

if TYPE_CHECKING:
    from happysad.training.recipe import Recipe


def train(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with happy/ and sad/ subfolders of face images.")
    ],
    out: Annotated[
        Path, typer.Option(help="Run directory to create: model, split, curves, history.")
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="fine-tune, adapt (from the bundled model, for few photos), seed (the baseline), "
            "drawings, or a .toml file. Default: fine-tune; with --weights happysad: adapt."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Initial weights: happysad (the bundled model), imagenet (downloaded), none, a "
            "run's model.keras, or a weights file. Default: the recipe's."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="Random seed. Default: the recipe's."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smoke test (about a minute).")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted run in --out."),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse a dataset with unreadable images."),
    ] = False,
    group_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression for the person in a file name, such as '^(.*)_\\d+'; "
            "a person's images stay on one side of the split."
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV with a column path: images that are not used. The report of 'happysad "
            "dataset check' makes it.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print epochs and result as JSON lines.")
    ] = False,
) -> None:
    """Train a happy/sad classifier on a folder of face images.

    80 % of the images are used for training and 20 % for validation; duplicates
    stay on one side. After an interruption, run the same command with --resume.
    For 50 to 500 photos of your own, use --weights happysad.

    Examples:
      happysad train faces/ --out runs/first
      happysad train faces/ --weights happysad --out runs/ours
      happysad train drawn/ --recipe drawings --out runs/drawn
    """
    from happysad.training.checkpoint import Epoch

    chosen = choose_recipe(recipe, weights, quick)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    console = Console(emoji=False, soft_wrap=True)

    def show(row: Epoch) -> None:
        if as_json:
            print(json.dumps(row.as_json()), flush=True)
            return
        console.print(
            f"epoch {row.epoch:>3} ({chosen.stages[row.stage - 1].layers})  "
            f"loss {row.loss:.4f}  accuracy {row.accuracy:.4f}  "
            f"val loss {row.val_loss:.4f}  [b]val accuracy {row.val_accuracy:.4f}[/b]  "
            f"{row.images_per_second:.0f} images/s  {row.seconds:.0f} s",
            highlight=False,
        )

    with quiet():
        from happysad.training.train import train as run_training

    with resumable():
        result = run_training(
            dataset,
            chosen,
            out,
            resume=resume,
            strict=strict,
            group_pattern=group_pattern,
            exclude=exclude,
            on_epoch=show,
        )
    if as_json:
        values = asdict(result) | {"best": result.best.as_json()}
        print(json.dumps(values, default=str))
    else:
        name = escape(shlex.quote(str(out)))
        excluded = f", {result.excluded} excluded" if result.excluded else ""
        console.print(
            f"[b]{escape(str(out))}[/b]: validation accuracy [b]{result.best.val_accuracy:.4f}[/b] "
            f"(epoch {result.best.epoch}; {result.training} training, {result.validation} "
            f"validation images, {result.skipped} skipped{excluded})\n"
            f"next: happysad evaluate {name} TEST-FOLDER, happysad export {name}",
            highlight=False,
        )
    for warning in result.warnings:
        typer.secho(f"warning: {warning}", fg=typer.colors.YELLOW, err=True)
    if result.skipped:
        raise typer.Exit(1)


def choose_recipe(recipe: str | None, weights: str | None, quick: bool) -> "Recipe":
    """Read the given recipe, or the default one for the weights."""
    from happysad.training.recipe import read_recipe

    chosen = read_recipe(recipe or ("adapt" if weights == "happysad" else "fine-tune"))
    if quick:
        chosen = chosen.quick()
    return replace(chosen, weights=weights) if weights is not None else chosen


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(train)
