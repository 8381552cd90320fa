"""HTML report of a scoring job."""

from pathlib import Path

from happysad.reports import write_html
from happysad.scoring.contact_sheet import FaceSample, contact_sheet
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
        caption=_caption,
        samples=contact_sheet(absolute(dest), result.job),
    )


def _caption(face: FaceSample) -> str:
    """State the label's score; both scores of an uncertain face."""
    scores = {"happy": face.scores["happy"], "sad": face.scores["sad"]}
    # No score is certain, so never 0 % or 100 %.
    texts = {
        name: f"{name}\u00a0{min(0.99, max(0.01, score)):.0%}" for name, score in scores.items()
    }
    return texts.get(face.label) or ", ".join(texts.values())
