"""`happysad demo`: the whole chain on faces it draws itself."""

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder to work in; a number is added where it exists.")
    ] = Path("happysad-demo"),
    seed: Annotated[int, typer.Option(help="Another seed draws other faces.")] = 0,
) -> None:
    """See the whole chain at work: draw faces, train, evaluate, export, predict a photograph.

    Offline, in a few minutes. Every step is a command that you can type yourself.
    The network starts from random weights and sees 400 faces for a minute: expect
    it to learn, not to excel.

    Examples:
      happysad demo
      happysad demo --out other-faces --seed 1
    """
    import tomli_w  # noqa: F401 - Without the extra `train`, stop before anything is drawn.
    from matplotlib.cbook import get_sample_data

    from happysad.cli import app

    console = Console(soft_wrap=True, highlight=False)
    names = (out, *(out.with_name(f"{out.name}-{number}") for number in range(2, 1000)))
    folder = next(path for path in names if not path.exists())

    def step(what: str, *command: str | Path) -> None:
        words = [str(word) for word in command]
        console.print(f"\n[b]{what}[/b]\n[dim]$ happysad {shlex.join(words)}[/dim]")
        app(words, prog_name="happysad", standalone_mode=False)

    faces, test, run = folder / "faces", folder / "faces-test", folder / "run"
    draw = ("dataset", "draw", "--out")
    step("Draw faces to learn from", *draw, faces, "--count", "500", "--seed", str(seed))
    step("Draw other faces to test on", *draw, test, "--count", "200", "--seed", str(seed + 1))
    recipe = ("--recipe", "scratch", "--quick", "--seed", str(seed))
    step("Train", "train", faces, *recipe, "--out", run)
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
    step("And photographs, with the released model", "predict", *portraits, "--annotate", photos)
    report = run / f"evaluation-{test.name}" / "report.html"
    console.print(
        f"\n[b]Done.[/b] The report: [b]{report}[/b]\n"
        f"The photographs: {photos}\nAll that was made: {folder}"
    )


def _first(folder: Path, number: int = 4) -> list[str]:
    return sorted(path.name for path in folder.iterdir())[:number]


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(demo)
