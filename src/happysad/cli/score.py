"""`happysad score`: the faces of very many images, on one machine or a cluster."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from happysad.cli.predict import Crop
from happysad.cli.quiet import quiet
from happysad.cli.shared import CLUSTER, Address, resumable

if TYPE_CHECKING:
    from rich.progress import Progress

    from happysad.scoring.job import Job
    from happysad.scoring.score import ScoringResult
    from happysad.scoring.summary import Scores


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("score")(score)


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder or prefix of images; a glob; a .csv or .parquet list of their URIs; "
            "images in .parquet or .tar files. On disk, s3:// or gs://.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            metavar="DEST", help="A new folder, on disk or in an object store, for Parquet files."
        ),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished job in DEST.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(help="A .tflite file made by happysad export; else the packaged one."),
    ] = None,
    crop: Annotated[
        Crop,
        typer.Option(help="Find the faces; or take each whole image, which is a face already."),
    ] = Crop.FACE,
    column: Annotated[
        str | None,
        typer.Option(help="Of Parquet and CSV files: where the images, or their URIs, are."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the summary as a page.", dir_okay=False),
    ] = None,
    address: Address = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Else one for each CPU that there is.", rich_help_panel=CLUSTER),
    ] = None,
    part: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images in one Parquet file, at most; else 1000, or less where there are few.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
) -> None:
    """Tell happy faces from sad ones in very many images.

    DEST gets one row for each image; one that cannot be read is a row with its
    error, and the exit status is then 1. Interrupted or killed, the same command
    with --resume goes on, and does nothing twice.

    Examples:
      happysad score holiday/ --out scores
      happysad score 's3://bucket/*.tar' --out s3://scores/one --address head:6379
    """
    from happysad.progress import track
    from happysad.scoring.score import load_model
    from happysad.scoring.score import score as run

    start = time.perf_counter()
    with quiet():
        content = load_model(model)
    progress, on_part = _bar()
    # Ray prints there, too, when it loses a worker or a node.
    with resumable(), redirect_stdout(sys.stderr), progress:
        scored = run(
            source,
            out,
            model=content,
            crop=crop.value,
            column=column,
            part=part,
            resume=resume,
            address=address,
            workers=workers,
            on_list=lambda inputs: track(inputs, "Listing"),
            on_part=on_part,
        )
    seconds = time.perf_counter() - start
    if report:
        from happysad.scoring.report import write_report

        write_report(report, scored, out)
    if as_json:
        facts = {"schema": 1, "out": out, "parts": scored.job.parts, "seconds": round(seconds, 3)}
        typer.echo(json.dumps(facts | scored.scores.to_dict(), indent=2))
    else:
        _print(scored, out)
        if report:
            typer.echo(f"Report: {report}")
    if scored.scores.counts.errors:
        raise typer.Exit(1)


def _bar() -> "tuple[Progress, Callable[[Job, Scores], None]]":
    """Make a bar over the parts, with the images that were scored each second."""
    from rich.progress import TextColumn

    from happysad.progress import progress_bar

    bar = progress_bar(TextColumn("{task.fields[speed]}"))
    images, start = 0, 0.0

    def on_part(job: "Job", scores: "Scores") -> None:
        nonlocal images, start
        if not bar.tasks:
            bar.add_task("Parts", total=job.parts, speed="")
            start = time.perf_counter() - scores.seconds
        images += scores.counts.images
        speed = images / max(1e-9, time.perf_counter() - start)
        bar.update(bar.task_ids[0], advance=1, speed=f"{images:,} images, {speed:,.1f}/s")

    return bar, on_part


def _print(scored: "ScoringResult", out: str) -> None:
    from happysad.records import printable

    scores = scored.scores
    typer.echo(f"{scores.counts}\n")
    if any(scores.histogram):
        typer.echo(f"{scores.chart()}\n")
    if scores.failures:
        typer.echo(f"Could not be read, the first {len(scores.failures)}:")
        for _, uri, error in scores.failures:
            typer.echo(f"  {printable(uri)}: {printable(error)}")
        typer.echo()
    files = "file" if scored.job.parts == 1 else "files"
    typer.echo(f"Rows: {out}, {scored.job.parts:,} Parquet {files}")
