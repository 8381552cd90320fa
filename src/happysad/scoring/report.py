"""The report for people: one HTML file that needs nothing else."""

from datetime import date
from importlib.resources import files
from pathlib import Path

import jinja2

from happysad.files import atomic_text
from happysad.scoring.score import ScoringResult
from happysad.scoring.summary import step


def write_report(path: Path, scored: ScoringResult, dest: str) -> None:
    """Write what a job came to as a page.

    Args:
        path: The HTML file.
        scored: The finished job.
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
    html = template.render(
        facts=scored.scores.to_dict(),
        faces=sum(scored.scores.histogram),
        most=max(1, *scored.scores.histogram),
        histogram=[(step(i), faces) for i, faces in enumerate(scored.scores.histogram)],
        settings=scored.job.settings,
        parts=scored.job.parts,
        dest=dest,
        today=date.today().isoformat(),
    )
    atomic_text(path, html)
