"""`happysad predict`: classify pictures with an exported model."""

import csv
import glob
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from happysad.errors import ImageError, ModelError

if TYPE_CHECKING:
    from happysad.classifier import Classifier

SCHEMA: Final = 1

_COLOURS: Final = {"happy": typer.colors.GREEN, "sad": typer.colors.BLUE}


class Crop(StrEnum):
    """What ``--crop`` takes."""

    WHOLE = "whole"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("predict")(predict)


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Files, folders (searched through), globs, or - for one picture on standard "
            "input.",
        ),
    ],
    crop: Annotated[
        Crop,
        typer.Option(
            help="What is looked at: the whole picture, which has to be one face already. (Finding "
            "faces in whole photographs comes with the detector.)"
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(help="A .tflite file made by happysad export.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of a table.")
    ] = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Also write a CSV file.", dir_okay=False)
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that work on one picture.")] = 1,
) -> None:
    """Tell happy faces from sad ones.

    Prints label, P(happy) and path of each picture as soon as it is known. Pictures that cannot
    be read are listed on standard error and do not stop the others; the exit status is then 1.

    Example: happysad predict faces/ --model runs/first/model-int8.tflite --crop whole
    """
    from happysad.classifier import Classifier

    if model is None:
        raise ModelError(
            "no model: this version comes without one; give --model FILE.tflite, which "
            "happysad export makes"
        )
    classifier = Classifier(model, threads=threads)
    failed = 0
    with ExitStack() as stack:
        rows = _csv_writer(csv_file, stack) if csv_file else None
        if not as_json:
            typer.echo(f"{'label':<9}  P(happy)  path")
        for path in _expand(sources):
            result = _classify(classifier, path)
            if "error" in result:
                failed += 1
                typer.secho(f"error: {result['error']}", fg=typer.colors.RED, err=True)
            if as_json:
                typer.echo(json.dumps(result))
            elif "error" not in result:
                label, probability = result["label"], result["probability"]
                colour = _COLOURS.get(label, typer.colors.YELLOW)
                typer.echo(
                    f"{typer.style(f'{label:<9}', fg=colour)}  {probability:8.4f}  "
                    f"{_printable(path)}"
                )
            if rows:
                rows.writerow(result)
    if failed:
        raise typer.Exit(1)


def _classify(classifier: "Classifier", path: str) -> dict[str, Any]:
    """Make one line of output: a prediction, or why there is none."""
    from happysad.image import read_image

    result: dict[str, Any] = {"schema": SCHEMA, "path": path}
    if path != "-" and Path(path).is_dir():
        return result | {"error": f"{_printable(path)}: no pictures in this folder"}
    try:
        image = read_image(sys.stdin.buffer.read() if path == "-" else path)
    except ImageError as error:
        return result | {"error": _printable(str(error))}
    (prediction,) = classifier.predict([image])
    return result | {"label": prediction.label, "probability": round(prediction.probability, 6)}


def _expand(sources: list[str]) -> Iterator[str]:
    """Yield the paths that the sources stand for; one that is not there is yielded as it is."""
    from happysad.image import SUFFIXES

    for source in sources:
        matches = [source]
        if source != "-" and not Path(source).exists():
            # Path.glob takes no absolute patterns.
            matches = sorted(glob.glob(source, recursive=True)) or matches  # noqa: PTH207
        for match in matches:
            if not Path(match).is_dir():
                yield match
                continue
            found = sorted(p for p in Path(match).rglob("*") if p.suffix.lower() in SUFFIXES)
            # A folder without pictures comes out as itself, to be reported.
            yield from map(str, found or [Path(match)])


def _csv_writer(path: Path, stack: ExitStack) -> "csv.DictWriter[str]":
    from happysad.files import atomic

    temporary = stack.enter_context(atomic(path))
    file = stack.enter_context(
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="")
    )
    columns = ("path", "label", "probability", "error")
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    writer.writeheader()
    return writer


def _printable(text: str) -> str:
    """Replace what no terminal shows: the bytes of file names that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()
