"""`happysad demo`: the whole chain on drawn faces."""

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


def demo(
    out: Annotated[
        Path, typer.Option(help="Output folder; if it exists, a number is appended.")
    ] = Path("happysad-demo"),
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the drawn faces and of the training.")
    ] = 0,
) -> None:
    """Run the whole chain: draw faces, train, evaluate, export, predict on photographs.

    Works offline and takes one to four minutes on two cores. Every step is a command that you can
    run yourself. Training starts from the bundled model's weights.

    Examples:
      happysad demo
      happysad demo --out other-faces --seed 1
    """
    import tomli_w  # noqa: F401 - Without the extra `train`, stop before anything is drawn.
    from matplotlib.cbook import get_sample_data

    from happysad.cli import app

    console = Console(emoji=False, soft_wrap=True, highlight=False)
    if not out.name:
        out = out.resolve()  # "." and "/" have no name.
    names = (out, *(out.with_name(f"{out.name}-{number}") for number in range(2, 1000)))
    folder = next(path for path in names if not path.exists())

    def step(title: str, *command: str | Path) -> None:
        words = [str(word) for word in command]
        console.print(f"\n[b]{title}[/b]\n[dim]$ happysad {escape(shlex.join(words))}[/dim]")
        if status := app(words, prog_name="happysad", standalone_mode=False):
            typer.secho(
                f"error: the demo stopped: happysad {shlex.join(words)} exited with status "
                f"{status}; fix what it reports above, then run the demo again",
                fg=typer.colors.RED,
                err=True,
            )
            raise typer.Exit(status)

    faces, test, run = folder / "faces", folder / "faces-test", folder / "run"
    draw = ("dataset", "draw", "--out")
    step("Draw faces to train on", *draw, faces, "--count", "500", "--seed", str(seed))
    step("Draw other faces to test on", *draw, test, "--count", "200", "--seed", str(seed + 1000))
    step("Train", "train", faces, "--recipe", "drawings", "--seed", str(seed), "--out", run)
    step("Evaluate", "evaluate", run, test)
    step("Export for phones, servers and browsers", "export", run, "--precision", "all")
    model = run / "model-int8.tflite"
    some = [test / label / name for label in ("happy", "sad") for name in _first(test / label)]
    step("Predict with the int8 file", "predict", *some, "--model", model, "--crop", "whole")
    # Grace Hopper and Eileen Collins, by the US Navy and NASA: public domain.
    portraits = [Path(get_sample_data("grace_hopper.jpg", asfileobj=False))]
    if scikit_image := find_spec("skimage"):
        portraits.append(Path(str(scikit_image.origin)).parent / "data" / "astronaut.png")
    photos = folder / "photographs"
    step("Predict photographs with the bundled model", "predict", *portraits, "--annotate", photos)
    report = run / f"evaluation-{test.name}" / "report.html"
    console.print(
        f"""
[b]Done.[/b] Look at what was made:
  {escape(str(report))}   evaluation report; open it in a browser
  {escape(str(model))}   your model, ready to deploy
  {escape(str(photos))}   photographs with faces marked
Try next:
  happysad predict YOUR-PHOTO.jpg
  happysad train YOUR-FACES --weights happysad --out runs/ours
  happysad serve"""
    )


def _first(folder: Path, number: int = 4) -> list[str]:
    return sorted(path.name for path in folder.iterdir())[:number]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(demo)
