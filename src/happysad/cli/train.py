"""`happysad train`: from a folder of faces to a run directory."""

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from happysad.cli.quiet import quiet
from happysad.cli.shared import CLUSTER, Address, resumable

if TYPE_CHECKING:
    from happysad.training.recipe import Recipe


def train(
    dataset: Annotated[
        Path, typer.Argument(help="Folder with happy/ and sad/ subfolders of face images.")
    ],
    out: Annotated[
        Path, typer.Option(help="The run directory to make: model, split, curves, history.")
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            help="fine-tune, adapt (from the released model, for few photos), seed (the baseline), "
            "drawings, or a .toml file. Default: fine-tune; with --weights happysad: adapt."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="What to start from: happysad (the released model), imagenet (downloads), none, "
            "a run's model.keras, or a weights file."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, augmentation, weights.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="About a minute: to see that all is wired.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last finished epoch of --out.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a dataset with unreadable images.")
    ] = False,
    group_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression for who a file shows, such as '^(.*)_\\d+'; "
            "one person's images stay on one side of the split."
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that share every batch, this one among them, on Ray.",
            rich_help_panel=CLUSTER,
        ),
    ] = 1,
    address: Address = None,
    cpus: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cores for each worker; else this machine's, which workers on it share.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Epochs and result as JSON lines on standard output.")
    ] = False,
) -> None:
    """Train a happy/sad classifier on a folder of face images.

    80 % of the images train, 20 % are held back to choose the best epoch;
    duplicates never stand on both sides. Interrupted, the same command with
    --resume goes on. With 50 to 500 photos of your own, --weights happysad.

    Examples:
      happysad train faces/ --out runs/first
      happysad train faces/ --weights happysad --out runs/ours
      happysad train drawn/ --recipe drawings --out runs/drawn
    """
    from happysad.training.checkpoint import Epoch

    if workers > 1:
        import ray  # noqa: F401 - Where both extras are missing, the error names both.

    chosen = choose_recipe(recipe, weights, quick)
    if seed is not None:
        chosen = replace(chosen, seed=seed)
    console = Console(soft_wrap=True)

    def show(row: Epoch) -> None:
        if as_json:
            print(json.dumps(asdict(row)), flush=True)
            return
        console.print(
            f"epoch {row.epoch:>3} ({chosen.stages[row.stage - 1].layers})  "
            f"loss {row.loss:.4f}  accuracy {row.accuracy:.4f}  "
            f"val loss {row.val_loss:.4f}  [b]val accuracy {row.val_accuracy:.4f}[/b]  "
            f"{row.images_per_second:.0f} images/s  {row.seconds:.0f} s",
            highlight=False,
        )

    if workers > 1:
        from happysad.cluster.parallel import train as train_together

        run = partial(train_together, workers=workers, address=address, cpus=cpus)
    elif address or cpus:
        raise typer.BadParameter("--address and --cpus are for several --workers")
    else:
        with quiet():
            from happysad.training.train import train as train_alone

        run = partial(train_alone)
    with resumable():
        result = run(
            dataset,
            chosen,
            out,
            resume=resume,
            strict=strict,
            group_pattern=group_pattern,
            on_epoch=show,
        )
    if as_json:
        print(json.dumps(asdict(result), default=str))
    else:
        console.print(
            f"[b]{out}[/b]: validation accuracy [b]{result.best.val_accuracy:.4f}[/b] "
            f"(epoch {result.best.epoch}; {result.training} training, {result.validation} "
            f"validation images, {result.skipped} left out)\n"
            f"next: happysad evaluate {out} TEST-FOLDER, happysad export {out}",
            highlight=False,
        )
    if result.skipped:
        raise typer.Exit(1)


def choose_recipe(recipe: str | None, weights: str | None, quick: bool) -> "Recipe":
    """Read the recipe that is asked for, or the one that suits the weights."""
    from happysad.training.recipe import read_recipe

    chosen = read_recipe(recipe or ("adapt" if weights == "happysad" else "fine-tune"))
    if quick:
        chosen = chosen.quick()
    return replace(chosen, weights=weights) if weights is not None else chosen


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(train)
