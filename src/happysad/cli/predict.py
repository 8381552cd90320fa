"""`happysad predict`: the faces of images, or of a video, with their answers."""

import json
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from happysad.cli.quiet import quiet
from happysad.cores import cores
from happysad.errors import HappysadError, ImageError

if TYPE_CHECKING:
    from happysad.copies import AnnotatedCopies
    from happysad.detector import Detector
    from happysad.records import Record
    from happysad.sources import FoundImage

T = TypeVar("T")
R = TypeVar("R")

_COLOURS: Final = {"happy": typer.colors.YELLOW, "sad": typer.colors.BRIGHT_BLUE}


class Crop(StrEnum):
    """What ``--crop`` takes."""

    FACE = "face"
    WHOLE = "whole"


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("predict")(predict)


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Images, folders (searched through for images), globs, - for an image on "
            "standard input; or one video file, camera:0, or the address of a stream.",
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="A .tflite file made by happysad export; else the packaged one."),
    ] = None,
    crop: Annotated[
        Crop,
        typer.Option(help="Find the faces; or take each whole image, which is a face already."),
    ] = Crop.FACE,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line instead of a table.")
    ] = False,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write a CSV file.", dir_okay=False),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Also save copies with boxes, labels and P(happy) drawn: a folder, or a file's "
            "name for one image or a video.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of a video: draw each person's P(happy) over time."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Of a video: look at every Nth frame.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Images worked on at once; else as many as there are cores."),
    ] = None,
) -> None:
    """Tell happy faces from sad ones, in images and videos.

    Prints each face's label, P(happy) and image as soon as they are known.
    What cannot be read is listed on standard error and stops nothing else; the
    exit status is then 1. It is 2 if the command could not run at all.

    Examples:
      happysad predict party.jpg
      happysad predict holiday/ '*.png' --csv holiday.csv --annotate copies/
      happysad predict - --json < party.jpg
      happysad predict talk.mp4 --annotate talk-faces.mp4 --plot talk.png
      happysad predict camera:0 --json
      happysad predict crops/ --crop whole --model runs/first/model-int8.tflite
    """
    from happysad.detector import Detector
    from happysad.video.watch import is_video

    workers = threads or cores()
    videos = [source for source in sources if is_video(source)]
    if videos:
        if len(sources) > 1:
            raise HappysadError(f"{videos[0]}: a video goes alone; give one video at a time")
        from happysad.cli.video import predict_video

        with quiet():
            detector = Detector(model, crop=crop.value, threads=workers)
        whole = predict_video(
            videos[0],
            detector,
            as_json=as_json,
            csv_file=csv_file,
            annotate=annotate,
            plot=plot,
            every=every,
        )
    else:
        if plot is not None or every != 1:
            raise HappysadError("--plot and --every are for a video; leave them away for images")
        with quiet():
            detector = Detector(model, crop=crop.value)
        whole = _predict_pictures(sources, detector, as_json, csv_file, annotate, workers)
    if not whole:
        raise typer.Exit(1)


def _predict_pictures(
    sources: list[str],
    detector: "Detector",
    as_json: bool,
    csv_file: Path | None,
    annotate: Path | None,
    workers: int,
) -> bool:
    """Answer for every image; returns whether all could be read."""
    from happysad.copies import AnnotatedCopies
    from happysad.records import COLUMNS, Summary, csv_rows, printable
    from happysad.records import csv_file as rows_file
    from happysad.sources import find_images

    copies = AnnotatedCopies(annotate, sources) if annotate else None
    found: Iterable[FoundImage] = find_images(sources, copies.folder if copies else None)
    summary = Summary()
    outputs: list[Callable[[Record], None]] = [
        summary.add,
        _print_json if as_json else _print_rows,
    ]
    with ExitStack() as stack:
        if csv_file:
            write = stack.enter_context(rows_file(csv_file, COLUMNS))
            outputs.append(lambda record: write(csv_rows(record)))
        if sys.stderr.isatty() and not sys.stdout.isatty():
            found = list(found)
        answers = _in_order(lambda item: _look(item, detector, copies), found, workers)
        stack.callback(answers.close)
        records: Iterable[Record] = answers
        if isinstance(found, list):
            from happysad.progress import track

            records = track(records, "Looking for faces", len(found))
        if not as_json:
            typer.echo(f"{'label':<9}  P(happy)  {'face':<8}  image")
        try:
            for record in records:
                for output in outputs:
                    output(record)
                if "error" in record:
                    message = f"error: {printable(record['error'])}"
                    # Named anew each time: a progress bar puts itself in its place.
                    typer.secho(message, fg=typer.colors.RED, file=sys.stderr)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    if summary.images > 1:
        typer.echo(str(summary), err=True)
    return not summary.errors


def _look(found: "FoundImage", detector: "Detector", copies: "AnnotatedCopies | None") -> "Record":
    """Answer for one image, and save its annotated copy if there are to be copies."""
    from happysad.image import open_image
    from happysad.records import error_record, image_record
    from happysad.sources import STDIN

    path = found.path
    if found.problem:
        return error_record(path, f"{path}: {found.problem}")
    try:
        image = open_image(sys.stdin.buffer.read() if path == STDIN else path)
        predictions = detector.predict(image)
        if copies:
            from happysad.annotate import annotate

            copies.save(path, annotate(image.pixels(), predictions))
    except ImageError as error:
        return error_record(path, str(error))
    return image_record(path, (image.width, image.height), predictions)


def _in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R]:
    """Map with threads: results in the order of the items, each as soon as it is there.

    Few items are taken ahead, so that memory stays flat however many there are.
    """
    items = iter(items)
    first = list(islice(items, 2))
    items = chain(first, items)
    if workers == 1 or len(first) < 2:
        yield from map(function, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers)
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            while pending and (pending[0].done() or len(pending) > 2 * workers):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _print_json(record: "Record") -> None:
    typer.echo(json.dumps(record))


def _print_rows(record: "Record") -> None:
    from happysad.records import printable

    path, faces = printable(record["path"]), record["faces"]
    if record["status"] == "no face":
        typer.echo(f"{'no face':<31}  {path}")
    for number, face in enumerate(faces, start=1):
        label = typer.style(f"{face['label']:<9}", fg=_COLOURS.get(face["label"]))
        place = f"{number} of {len(faces)}"
        typer.echo(f"{label}  {face['probability']:8.4f}  {place:<8}  {path}")
