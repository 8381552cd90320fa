"""HTML report of a scoring job."""

from pathlib import Path

from happysad.reports import write_html
from happysad.scoring.contact_sheet import contact_sheet
from happysad.scoring.score import ScoringResult
from happysad.scoring.storage import absolute
from happysad.scoring.summary import bin_name


def write_report(path: Path, result: ScoringResult, dest: str) -> None:
    """Write the report of a finished job as one self-contained file.

    Args:
        path: The HTML file.
        result: The finished job.
        dest: Where its rows are.

    Raises:
        HappysadError: It cannot be written.
        StoreError: The store of the rows or images does not respond.
    """
    histogram = result.summary.histogram
    write_html(
        path,
        "score.html.j2",
        facts=result.summary.to_dict(),
        faces=sum(histogram),
        most=max(1, *histogram),
        histogram=[(bin_name(i), faces) for i, faces in enumerate(histogram)],
        settings=result.job.settings,
        chunks=result.job.chunks,
        dest=dest,
        samples=contact_sheet(absolute(dest), result.job),
    )
