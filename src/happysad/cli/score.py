"""`happysad score`: detect and classify the faces of many images, on one machine or a cluster."""

import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from happysad.cli.shared import CLUSTER, Address, Crop, CropMode, Model, resumable
from happysad.errors import HappysadError
from happysad.files import check_text_file
from happysad.quiet import quiet

if TYPE_CHECKING:
    from happysad.scoring.inputs import Input
    from happysad.scoring.job import Job
    from happysad.scoring.score import ScoringResult
    from happysad.scoring.summary import ScoringSummary


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("score")(score)


def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder or prefix of images; a glob pattern; a .csv or .parquet list of URIs; "
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
        bool, typer.Option("--resume", help="Continue the unfinished job in DEST.")
    ] = False,
    model: Model = None,
    crop: CropMode = Crop.FACE,
    column: Annotated[
        str | None,
        typer.Option(
            help="Column of Parquet and CSV files with the images or their URIs. Default: the only "
            "one with bytes, else the first of uri, url, path, file."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a summary with faces of each label as an HTML file.",
            dir_okay=False,
        ),
    ] = None,
    address: Address = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Workers. Default: one per CPU.", rich_help_panel=CLUSTER),
    ] = None,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of images in one Parquet file. Default: 5000, or less for few "
            "images.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
) -> None:
    """Detect and classify the faces of many images.

    DEST gets one row for each image; for an image that cannot be read, a row with
    the error, and exit status 1. After an interruption, the same command with
    --resume continues.

    Examples:
      happysad score holiday/ --out scores
      happysad score 's3://bucket/*.tar' --out s3://scores/one --address head:6379
    """
    if not source:
        raise HappysadError("SOURCE is empty; give . for the current folder")
    if report:
        # Before the work.
        check_text_file(report)
    start = time.perf_counter()
    # Ray also prints to standard output when it loses a worker or a node.
    with resumable(), _Bar() as bar, redirect_stdout(sys.stderr):
        from happysad.scoring.score import load_model
        from happysad.scoring.score import score as run

        with quiet():
            content = load_model(model)
        result = run(
            source,
            out,
            model=content,
            crop=crop.value,
            column=column,
            chunk_size=chunk_size,
            resume=resume,
            address=address,
            workers=workers,
            on_list=bar.on_list,
            on_start=bar.on_start,
            on_chunk=bar.on_chunk,
        )
    seconds = time.perf_counter() - start
    if as_json:
        facts = {"schema": 2, "out": out, "files": result.job.chunks, "seconds": round(seconds, 3)}
        typer.echo(json.dumps(facts | result.summary.to_dict(), indent=2))
    else:
        _print(result, out)
    # Last: it reads images again, and where that fails the summary must not be lost.
    if report:
        from happysad.scoring.report import write_report

        write_report(report, result, out)
        if not as_json:
            typer.echo(f"Report: {report}")
    if result.summary.counts.errors:
        raise typer.Exit(1)


class _Bar:
    """A progress bar that is visible from the first second: loading, listing, chunks."""

    def __enter__(self) -> "_Bar":
        from rich.progress import TextColumn

        from happysad.progress import progress_bar

        self._bar = progress_bar(TextColumn("{task.fields[speed]}"))
        self._task = self._bar.add_task("Loading", total=None, speed="")
        self._images, self._start = 0, 0.0
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def on_list(self, inputs: "Iterable[Input]") -> "Iterator[Input]":
        self._bar.update(self._task, description="Listing images")
        return iter(self._bar.track(inputs, task_id=self._task))

    def on_start(self) -> None:
        self._bar.update(self._task, description="Starting Ray", completed=0, total=None)

    def on_chunk(self, job: "Job", summary: "ScoringSummary") -> None:
        if not self._start:
            self._bar.update(self._task, description="Chunks", completed=0, total=job.chunks)
            self._start = time.perf_counter() - summary.seconds
        self._images += summary.counts.images
        speed = self._images / max(1e-9, time.perf_counter() - self._start)
        self._bar.update(
            self._task, advance=1, speed=f"{self._images:,} images, {speed:,.1f} images/s"
        )


def _print(result: "ScoringResult", out: str) -> None:
    from happysad.records import printable

    summary = result.summary
    typer.echo(f"{summary.counts}\n")
    if any(summary.histogram):
        typer.echo(f"{summary.chart(shutil.get_terminal_size().columns)}\n")
    if summary.failures:
        typer.echo(f"Could not be read (first {len(summary.failures)}):")
        for _, uri, error in summary.failures:
            typer.echo(f"  {printable(uri)}: {printable(error)}")
        typer.echo()
    if (skipped := summary.skipped).count:
        names = ", ".join(printable(uri) for uri in skipped.first)
        more = " …" if skipped.count > len(skipped.first) else ""
        typer.echo(f"Skipped, not images: {skipped.count:,} ({names}{more})", err=True)
    files = "file" if result.job.chunks == 1 else "files"
    typer.echo(f"Rows: {out}, {result.job.chunks:,} Parquet {files}")
