"""The HTML report of a scoring job, one self-contained file."""

from datetime import date
from importlib.resources import files
from pathlib import Path

import jinja2

from happysad.files import atomic_text
from happysad.scoring.score import ScoringResult
from happysad.scoring.summary import bin_name


def write_report(path: Path, result: ScoringResult, dest: str) -> None:
    """Write the report of a finished job.

    Args:
        path: The HTML file.
        result: The finished job.
        dest: Where its rows are.

    Raises:
        HappysadError: It cannot be written.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    template = environment.from_string(
        (files("happysad.scoring") / "report.html.j2").read_text(encoding="utf-8")
    )
    histogram = result.summary.histogram
    html = template.render(
        facts=result.summary.to_dict(),
        faces=sum(histogram),
        most=max(1, *histogram),
        histogram=[(bin_name(i), faces) for i, faces in enumerate(histogram)],
        settings=result.job.settings,
        chunks=result.job.chunks,
        dest=dest,
        today=date.today().isoformat(),
    )
    atomic_text(path, html)
