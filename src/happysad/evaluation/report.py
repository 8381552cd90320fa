"""HTML report: one self-contained file."""

import base64
import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from PIL import Image

from happysad.evaluation.metrics import Difference, Estimate, Metrics
from happysad.evaluation.mistakes import Mistake
from happysad.files import atomic_text
from happysad.image import RgbImage
from happysad.prediction import LABELS

CHARTS: Final = (
    (
        "confusion.png",
        "Confusion matrix",
        "Counts of correct predictions (top left, bottom right) and of mistakes.",
    ),
    (
        "thresholds.png",
        "Metrics by threshold",
        "How the metrics change with the probability from which a face counts as happy. Where the "
        "lines are flat, the exact threshold hardly matters.",
    ),
    (
        "roc.png",
        "ROC curve",
        "As the threshold falls, more happy faces are found (up) and more sad ones are taken for "
        "happy (right). The nearer the curve to the top left corner, the better.",
    ),
    (
        "precision-recall.png",
        "Precision and recall",
        "For each class: recall (right) against precision (up). The nearer the curve to the top "
        "right corner, the better.",
    ),
    (
        "reliability.png",
        "Reliability",
        "Calibration: of the faces with probability 0.8, eight in ten should be happy, and the "
        "dots should lie on the dotted line. Below: the number of faces by probability.",
    ),
)
"""File, title and explanation of each chart."""

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
) -> None:
    """Write ``report.html`` with the charts embedded.

    Args:
        out: Folder with the charts.
        metrics: The metrics.
        facts: The content of ``metrics.json``.
        counts: For ``sad`` and ``happy``, 1,001 numbers of images: by P(happy), rounded down to
            thousandths.
        mistakes: The gallery, most confident first; None omits it.
    """
    template = _environment().get_template("report.html.j2")
    accuracy = metrics.figures["accuracy"]
    spread = 50 * ((accuracy.high or 0) - (accuracy.low or 0))
    html = template.render(
        metrics=metrics,
        facts=facts,
        counts=counts,
        right=metrics.confusion[0][0] + metrics.confusion[1][1],
        spread=spread,
        mistakes=mistakes,
        heat=any(mistake.heat is not None for mistake in mistakes or ()),
        labels=LABELS,
        cards={name: text for name, text in CARDS.items() if name in metrics.figures},
        figures={name: text for name, text in FIGURES.items() if name in metrics.figures},
        value=lambda name: format_value(name, metrics.figures[name].value),
        interval=lambda name: format_interval(name, metrics.figures[name]),
        charts=[
            {"data": _png(out / name), "title": title, "text": text} for name, title, text in CHARTS
        ],
        votes=vote_rows(facts.get("votes")),
        contested=_png(out / CONTESTED) if (out / CONTESTED).is_file() else None,
        today=date.today().isoformat(),
    )
    atomic_text(out / "report.html", html)


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
    html = (
        _environment()
        .get_template("comparison.html.j2")
        .render(
            names=names,
            dataset=dataset,
            rows=[row(name) for name in FIGURES if name in differences[0].metrics],
            others=list(zip(names[1:], differences, strict=True)),
            links=[(name, f"{quote(name)}/report.html") for name in names],
            contact_sheet=_png(sheet) if sheet.is_file() else None,
            today=date.today().isoformat(),
            # For the style.
            cards={},
            heat=False,
        )
    )
    atomic_text(out / "comparison.html", html)


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


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("happysad.evaluation", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_url": _jpeg, "thousands": "{:,}".format}
    return environment


def vote_rows(votes: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Format the metrics by votes, a title and a value each; empty without votes."""
    if votes is None:
        return []
    percent = {
        name: "not defined" if value is None else f"{100 * value:.1f}{_PERCENT}"
        for name, value in votes.items()
    }
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
    """Format a metric: shares in per cent, others with three decimals."""
    if value is None:
        return "not defined"
    if name.startswith(_SHARES) or name.endswith("accuracy"):
        return f"{100 * value:.1f}{_PERCENT}"
    return f"{value:.3f}"


def format_interval(name: str, estimate: Estimate) -> str:
    """Format a metric's interval; empty if the metric is not defined."""
    if estimate.value is None:
        return ""
    low, high = format_value(name, estimate.low), format_value(name, estimate.high)
    return f"{low.removesuffix(_PERCENT)}–{high}"


def _png(path: Path) -> Markup:
    return _data("image/png", path.read_bytes())


def _jpeg(image: RgbImage) -> Markup:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    return _data("image/jpeg", file.getvalue())


def _data(kind: str, content: bytes) -> Markup:
    # Base64 contains no character that is special in HTML.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")  # noqa: S704
