"""`happysad predict`: label the faces in images or in a video."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from happysad.cli.shared import Crop, CropMode, Model
from happysad.cores import cores
from happysad.errors import HappysadError
from happysad.quiet import quiet

if TYPE_CHECKING:
    from happysad.copies import AnnotatedCopies
    from happysad.detector import Detector
    from happysad.image import LazyImage
    from happysad.prediction import ImageResult
    from happysad.records import ImageRecord
    from happysad.sources import FoundImage

_COLOURS: Final = {"happy": typer.colors.YELLOW, "sad": typer.colors.BRIGHT_BLUE}
_NAMED_SKIPS: Final = 3


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("predict")(predict)


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Images, folders (searched recursively), glob patterns, - for an image on "
            "standard input, image URLs; or one video or animation, camera:0, or a stream's URL.",
        ),
    ],
    model: Model = None,
    crop: CropMode = Crop.FACE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line instead of a table.")
    ] = False,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Also write a CSV file.", dir_okay=False),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Also save copies with boxes, labels and scores drawn: a folder, or a file "
            "name for one image or a video.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For a video: plot each person's P(happy) over time."),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="For a video: process every Nth frame.")] = 1,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Images processed at once; default: one per CPU."),
    ] = None,
) -> None:
    """Label the faces in images or in a video as happy, sad or uncertain.

    Prints each face's label, P(happy) and image as soon as they are known.
    Images that cannot be read are listed on standard error, and the exit status
    is then 1. It is 2 if the command could not run at all.

    Examples:
      happysad predict party.jpg
      happysad predict holiday/ '*.png' --csv holiday.csv --annotate copies/
      happysad predict - --json < party.jpg
      happysad predict talk.mp4 --annotate talk-faces.mp4 --plot talk.png
      happysad predict camera:0 --json
      happysad predict crops/ --crop whole --model runs/first/model-int8.tflite
    """
    from happysad.detector import Detector
    from happysad.video.kinds import is_video

    threads = threads or cores()
    if not all(sources):
        raise HappysadError("a SOURCE is empty; give . for the current folder")
    _check_outputs({"--csv": csv_file, "--annotate": annotate, "--plot": plot})
    # Windows shells do not expand patterns.
    sources = [path for source in sources for path in _expand_videos(source)]
    # Among other images, the first frame of an animation is an image like them.
    videos = [source for source in sources if is_video(source, animations=len(sources) == 1)]
    if videos:
        if len(sources) > 1:
            raise HappysadError(
                f"{videos[0]}: only one video at a time; give it as the only source"
            )
        from happysad.cli.video import predict_video

        with quiet():
            detector = Detector(model, crop=crop.value, threads=threads)
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
            raise HappysadError("--plot and --every apply to videos only; omit them for images")
        with quiet():
            detector = Detector(model, crop=crop.value)
        whole = _predict_images(sources, detector, as_json, csv_file, annotate, threads)
    if not whole:
        raise typer.Exit(1)


def _check_outputs(paths: dict[str, Path | None]) -> None:
    options: dict[str, str] = {}
    for option, path in paths.items():
        if path is not None:
            other = options.setdefault(os.path.realpath(path), option)
            if other != option:
                raise HappysadError(
                    f"{path}: is given for both {other} and {option}; give another name"
                )


def _expand_videos(source: str) -> list[str]:
    """Expand a glob pattern that matches videos; leave everything else as it is."""
    from happysad.sources import find_images, is_glob
    from happysad.video.kinds import is_video

    if is_glob(source):
        paths = [found.path for found in find_images([source])]
        if paths and all(is_video(path, animations=len(paths) == 1) for path in paths):
            return paths
    return [source]


def _predict_images(
    sources: list[str],
    detector: "Detector",
    as_json: bool,
    csv_file: Path | None,
    annotate: Path | None,
    threads: int,
) -> bool:
    """Predict and print; returns whether every image was read and every copy written."""
    from happysad.copies import AnnotatedCopies
    from happysad.records import COLUMNS, Summary, csv_rows, image_record, printable
    from happysad.records import csv_file as rows_file
    from happysad.sources import SkippedFiles, find_images
    from happysad.video.kinds import is_video_name

    copies = AnnotatedCopies(annotate, sources) if annotate else None
    skipped = SkippedFiles()

    def skip(path: str) -> None:
        # The command's own output is not an input.
        if not csv_file or os.path.realpath(path) != os.path.realpath(csv_file):
            skipped.add(path)

    found: Iterable[FoundImage] = find_images(sources, copies.folder if copies else None, skip)
    failed: list[str] = []
    errors = 0
    summary = Summary()
    outputs: list[Callable[[ImageRecord], None]] = [
        summary.add,
        _print_json if as_json else _print_rows,
    ]
    with ExitStack() as stack:
        if csv_file:
            write = stack.enter_context(rows_file(csv_file, COLUMNS))
            outputs.append(lambda record: write(csv_rows(record)))
        if sys.stderr.isatty() and not sys.stdout.isatty():
            found = list(found)
        predicted = detector.predict_many(
            found, threads, _saver(copies, failed) if copies else None
        )
        stack.callback(predicted.close)
        results: Iterable[ImageResult] = predicted
        if isinstance(found, list):
            from happysad.progress import track

            results = track(results, "Detecting faces", len(found))
        if not as_json:
            typer.echo(f"{'label':<9}  P(happy)  {'face':<8}  image")
        try:
            for record in map(image_record, results):
                for output in outputs:
                    output(record)
                if "error" in record:
                    failed.append(f"{record['path']}: {record['error']}")
                while failed:
                    message = f"error: {printable(failed.pop(0))}"
                    # sys.stderr is looked up each time: a progress bar replaces it.
                    typer.secho(message, fg=typer.colors.RED, file=sys.stderr)
                    errors += 1
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    if summary.images > 1:
        typer.echo(str(summary), err=True)
    if skipped.count:
        names = ", ".join(printable(path) for path in skipped.first[:_NAMED_SKIPS])
        more = f" and {skipped.count - _NAMED_SKIPS:,} more" if skipped.count > _NAMED_SKIPS else ""
        alone = "; give a video alone" if any(map(is_video_name, skipped.first)) else ""
        typer.echo(f"skipped, not images: {skipped.count:,} ({names}{more}){alone}", err=True)
    return not errors


def _saver(
    copies: "AnnotatedCopies", failed: list[str]
) -> "Callable[[LazyImage, ImageResult], None]":
    """Return a function that saves an image's annotated copy and collects errors."""
    from happysad.annotate import annotate
    from happysad.errors import ImageError

    def save(image: "LazyImage", result: "ImageResult") -> None:
        try:
            copies.save(result.source, annotate(image.pixels(), result.predictions))
        except ImageError:
            # Of the image, not of its copy: the result becomes an error.
            raise
        except HappysadError as error:
            failed.append(str(error))

    return save


def _print_json(record: "ImageRecord") -> None:
    typer.echo(json.dumps(record))


def _print_rows(record: "ImageRecord") -> None:
    from happysad.records import printable

    path, faces = printable(record["path"]), record["faces"]
    if record["status"] == "no face":
        typer.echo(f"{'no face':<9}  {'':<8}  {'':<8}  {path}")
    for number, face in enumerate(faces, start=1):
        label = typer.style(f"{face['label']:<9}", fg=_COLOURS.get(face["label"]))
        place = f"{number} of {len(faces)}"
        typer.echo(f"{label}  {face['probability']:8.4f}  {place:<8}  {path}")
