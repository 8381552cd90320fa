"""HTML report of an evaluation, and of a comparison of models."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from happysad.evaluation.metrics import Difference, Estimate, Metrics
from happysad.evaluation.mistakes import Mistake
from happysad.prediction import LABELS
from happysad.reports import inline_svg, png_url, write_html
from happysad.training.run import Run

CHARTS: Final = (
    (
        "confusion",
        "Confusion matrix",
        "Counts of correct predictions (top left, bottom right) and of mistakes.",
    ),
    (
        "thresholds",
        "Metrics by threshold",
        "The metrics if faces count as happy from another P(happy). Where the lines are flat, the "
        "exact threshold hardly matters.",
    ),
    (
        "roc",
        "ROC curve",
        "As the threshold falls, more happy faces are found (up) and more sad ones are called "
        "happy (right). The closer the curve is to the top left corner, the better.",
    ),
    (
        "precision-recall",
        "Precision and recall",
        "For each class: recall (right) against precision (up). The closer the curve is to the top "
        "right corner, the better.",
    ),
    (
        "reliability",
        "Reliability",
        "Calibration: of the faces with P(happy) 0.8, eight in ten should be happy, and the dots "
        "should lie on the dotted line. Below: the number of faces by P(happy).",
    ),
)
"""File without suffix, title and explanation of each chart."""

CONTESTED: Final = "contested.png"
"""Contact sheet of the faces whose votes agree least."""

DIFFERENCES: Final = "differences.png"
"""Contact sheet of images about which models differ."""

CARDS: Final = {
    "accuracy": "Share of all faces that are classified correctly.",
    "balanced_accuracy": "Mean over both classes; guessing gives 50\u00a0%.",
    "roc_auc": "How often a happy face gets a higher probability than a sad one; "
    "guessing gives 0.5.",
    "ece": "Mean gap between probability and observed frequency; 0 is best.",
    "uncertain": "Share of faces labelled uncertain.",
    "decided_accuracy": "Accuracy on the faces that are not labelled uncertain.",
}
"""The metrics at the top, each with an explanation."""

FIGURES: Final = {
    "accuracy": ("Accuracy", "share of images that are classified correctly"),
    "balanced_accuracy": ("Balanced accuracy", "mean of both recalls"),
    "f1_macro": (
        "F1, mean of both",
        "harmonic mean of precision and recall, averaged over both classes",
    ),
    "precision_macro": (
        "Precision, mean of both",
        "share of predictions of a class that are correct",
    ),
    "recall_macro": ("Recall, mean of both", "share of a class that is predicted correctly"),
    "roc_auc": ("ROC-AUC", "chance that a happy face gets a higher probability than a sad one"),
    "average_precision": ("Average precision", "area under the curve of the happy class"),
    "log_loss": (
        "Log loss",
        "cross-entropy, which penalises confident errors; lower is better",
    ),
    "brier": ("Brier score", "mean squared error of the probabilities; lower is better"),
    "ece": (
        "Calibration error",
        "mean gap between probability and share of happy faces, 15 bins; lower is better",
    ),
    "uncertain": ("Uncertain", "share of images labelled uncertain"),
    "decided_accuracy": ("Accuracy when decided", "on the images that are not labelled uncertain"),
}
"""Title and meaning of each metric, in the order of the table."""

_PERCENT: Final = "\u00a0%"
_SHARES: Final = ("accuracy", "precision", "recall", "f1", "uncertain")


def write_report(
    out: Path,
    metrics: Metrics,
    facts: dict[str, Any],
    counts: dict[str, list[int]],
    mistakes: Sequence[Mistake] | None,
    run: Path | None = None,
) -> None:
    """Write ``report.html`` with the charts embedded.

    Args:
        out: Folder with the charts.
        metrics: The metrics.
        facts: The content of ``metrics.json``.
        counts: For ``sad`` and ``happy``, 1,001 numbers of images: by P(happy), rounded down to
            thousandths.
        mistakes: The gallery, most confident first; None omits it.
        run: The run directory of the model, if it is in one.
    """
    accuracy = metrics.figures["accuracy"]
    write_html(
        out / "report.html",
        "evaluation.html.j2",
        metrics=metrics,
        facts=facts,
        counts=counts,
        right=metrics.confusion[0][0] + metrics.confusion[1][1],
        spread=50 * ((accuracy.high or 0) - (accuracy.low or 0)),
        mistakes=mistakes,
        heat=any(mistake.heat is not None for mistake in mistakes or ()),
        labels=LABELS,
        cards={name: text for name, text in CARDS.items() if name in metrics.figures},
        figures={name: text for name, text in FIGURES.items() if name in metrics.figures},
        value=lambda name: format_value(name, metrics.figures[name].value),
        interval=lambda name: format_interval(name, metrics.figures[name]),
        percent=format_percent,
        charts=[
            {"svg": inline_svg(out / f"{name}.svg", title), "title": title, "text": text}
            for name, title, text in CHARTS
        ],
        votes=vote_rows(facts.get("votes")),
        contested=png_url(out / CONTESTED) if (out / CONTESTED).is_file() else None,
        run=_run(out, run),
    )


def _run(out: Path, run: Path | None) -> dict[str, Any] | None:
    """Return the name and relative link of a run, and its training curves."""
    if run is None:
        return None
    curves, path, target = Run(run).curves.with_suffix(".svg"), run.resolve(), out.resolve()
    # Windows: there is no relative path from one drive to another.
    same_drive = path.drive == target.drive
    return {
        "name": path.name,
        "link": quote(os.fsencode(Path(os.path.relpath(path, target)).as_posix()))
        if same_drive
        else path.as_uri(),
        "curves": inline_svg(curves, "Training curves") if curves.is_file() else None,
    }


def write_comparison(
    out: Path,
    names: Sequence[str],
    metrics: Sequence[Metrics],
    differences: Sequence[Difference],
    dataset: dict[str, Any],
) -> None:
    """Write ``comparison.html`` with the contact sheet embedded.

    Args:
        out: Folder with a folder for each model and, if any, the contact sheet `DIFFERENCES`.
        names: Each model's name, which is its folder, too.
        metrics: Each model's metrics.
        differences: Each model but the first against the first.
        dataset: The part ``dataset`` of ``metrics.json``.
    """

    def row(name: str) -> dict[str, Any]:
        title, meaning = FIGURES[name]
        cells: list[dict[str, Any]] = [
            {"value": format_value(name, each.figures[name].value)} for each in metrics
        ]
        for cell, other in zip(cells[1:], differences, strict=True):
            cell |= format_difference(name, other.metrics[name])
        return {"title": title, "meaning": meaning, "cells": cells}

    sheet = out / DIFFERENCES
    write_html(
        out / "comparison.html",
        "comparison.html.j2",
        names=names,
        dataset=dataset,
        rows=[row(name) for name in FIGURES if name in differences[0].metrics],
        others=list(zip(names[1:], differences, strict=True)),
        links=[(name, f"{quote(name)}/report.html") for name in names],
        contact_sheet=png_url(sheet) if sheet.is_file() else None,
    )


def format_difference(name: str, difference: Estimate) -> dict[str, Any]:
    """Format a difference and its interval; ``clear`` tells whether the interval excludes 0."""
    if difference.value is None or difference.low is None or difference.high is None:
        return {"difference": "not defined", "interval": "", "clear": False}
    share = format_value(name, 0.0).endswith(_PERCENT)
    value, low, high = (
        (f"{100 * each:+.1f}" if share else f"{each:+.3f}").replace("-", "\u2212")
        for each in (difference.value, difference.low, difference.high)
    )
    unit = " points" if share else ""
    return {
        "difference": f"{value}{unit}",
        "interval": f"{low} to {high}",
        "clear": difference.low > 0 or difference.high < 0,
    }


def vote_rows(votes: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Format the metrics by votes, a title and a value each; empty without votes."""
    if votes is None:
        return []
    percent = {name: format_percent(value) for name, value in votes.items()}
    auc = votes["clear_roc_auc"]
    clear, mostly, neither = (f"{votes[name]:,}" for name in ("clear", "mostly", "neither"))
    return [
        (f"Clear faces ({clear}): accuracy", percent["clear_accuracy"]),
        ("balanced accuracy", percent["clear_balanced_accuracy"]),
        ("ROC-AUC", "not defined" if auc is None else f"{auc:.4f}"),
        ("labelled uncertain", percent["clear_uncertain"]),
        (f"Faces mostly called happy or sad ({mostly}): accuracy", percent["mostly_accuracy"]),
        (f"Faces clearly neither ({neither}): labelled happy", percent["neither_happy"]),
        ("labelled sad", percent["neither_sad"]),
        ("Calibration error against votes: happy", f"{votes['calibration_happy']:.3f}"),
        ("sad", f"{votes['calibration_sad']:.3f}"),
    ]


def format_value(name: str, value: float | None) -> str:
    """Format a metric: shares as percentages, others with three decimals."""
    if name.startswith(_SHARES) or name.endswith("accuracy"):
        return format_percent(value)
    return "not defined" if value is None else f"{value:.3f}"


def format_percent(share: float | None) -> str:
    """Format a share as a percentage with one decimal."""
    return "not defined" if share is None else f"{100 * share:.1f}{_PERCENT}"


def format_interval(name: str, estimate: Estimate) -> str:
    """Format a metric's interval; empty if the metric is not defined."""
    if estimate.value is None:
        return ""
    low, high = format_value(name, estimate.low), format_value(name, estimate.high)
    return f"{low.removesuffix(_PERCENT)}–{high}"
