"""The report for people: one HTML file that needs nothing else, not even a network."""

import base64
import io
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup
from PIL import Image

from happysad.evaluation.metrics import Estimate, Metrics
from happysad.evaluation.mistakes import Mistake
from happysad.files import atomic_text
from happysad.image import RgbImage
from happysad.prediction import LABELS

CHARTS: Final = (
    (
        "confusion.png",
        "Confusion matrix",
        "How often each expression was named right (top left, bottom right) and how often it was "
        "taken for the other.",
    ),
    (
        "thresholds.png",
        "Figures against the threshold",
        "What asking for more or less certainty before saying “happy” would change. Where the "
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
        "Of each expression: the share that is found (right) against how often the answer is true "
        "when it is given (up). The nearer to the top right corner, the better.",
    ),
    (
        "reliability.png",
        "Reliability",
        "Whether the probabilities mean what they say: of the faces given 0.8, eight in ten should "
        "be happy, and the dots should lie on the dotted line. Below: how many faces got which "
        "probability.",
    ),
)
"""File, title and, in a sentence for everybody, what each chart tells."""

CARDS: Final = {
    "accuracy": "Share of all faces that are named right.",
    "balanced_accuracy": "The same, with both expressions counted alike; guessing gives 50\u00a0%.",
    "roc_auc": "How often a happy face gets a higher probability than a sad one; "
    "guessing gives 0.5.",
    "ece": "How far the probabilities are from what comes true; 0 is best.",
    "uncertain": "Share of faces on which it would rather not say.",
    "decided_accuracy": "Share named right, of the faces on which it does say.",
}
"""The figures at the top, each with a sentence for everybody."""

FIGURES: Final = {
    "accuracy": ("Accuracy", "share of all images that are named right"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the two recalls: both classes count alike"),
    "f1_macro": ("F1, mean of both", "precision and recall in one figure, both classes alike"),
    "precision_macro": ("Precision, mean of both", "how often an answer is true"),
    "recall_macro": ("Recall, mean of both", "share of a class that is found"),
    "roc_auc": ("ROC-AUC", "chance that a happy face gets a higher probability than a sad one"),
    "average_precision": ("Average precision", "area under the curve of the happy class"),
    "log_loss": (
        "Log loss",
        "penalty on sure errors above all; lower is better",
    ),
    "brier": ("Brier score", "mean squared error of the probabilities; lower is better"),
    "ece": (
        "Calibration error",
        "mean gap between probability and share of happy faces, 15 bins; lower is better",
    ),
    "uncertain": ("Uncertain", "share of images labelled uncertain"),
    "decided_accuracy": ("Accuracy when decided", "on the images that are not labelled uncertain"),
}
"""Title and meaning of each figure, in the order of the table."""

_PERCENT: Final = "\u00a0%"
_SHARES: Final = ("accuracy", "precision", "recall", "f1", "uncertain")


def write_report(
    out: Path, metrics: Metrics, facts: dict[str, Any], mistakes: Sequence[Mistake] | None
) -> None:
    """Write ``report.html`` beside the charts and with them inside.

    Args:
        out: Folder that holds the charts.
        metrics: The figures.
        facts: What ``metrics.json`` holds.
        mistakes: For the gallery, the surest first; None leaves it out.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"data_url": _jpeg, "thousands": "{:,}".format}
    template = environment.from_string(
        (files("happysad.evaluation") / "report.html.j2").read_text(encoding="utf-8")
    )
    accuracy = metrics.figures["accuracy"]
    spread = 50 * ((accuracy.high or 0) - (accuracy.low or 0))
    html = template.render(
        metrics=metrics,
        facts=facts,
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
        today=date.today().isoformat(),
    )
    atomic_text(out / "report.html", html)


def format_value(name: str, value: float | None) -> str:
    """Write a figure as people read it: shares in per cent, the others with three decimals."""
    if value is None:
        return "not defined"
    if name.startswith(_SHARES) or name.endswith("accuracy"):
        return f"{100 * value:.1f}{_PERCENT}"
    return f"{value:.3f}"


def format_interval(name: str, estimate: Estimate) -> str:
    """Write a figure's interval, or nothing where the figure is not defined."""
    if estimate.value is None:
        return ""
    low, high = format_value(name, estimate.low), format_value(name, estimate.high)
    return f"{low.removesuffix(_PERCENT)}–{high}"


def _png(path: Path) -> Markup:
    return _data("image/png", path.read_bytes())


def _jpeg(picture: RgbImage) -> Markup:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return _data("image/jpeg", file.getvalue())


def _data(kind: str, content: bytes) -> Markup:
    # Base64 has no character that HTML could take for its own.
    return Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")  # noqa: S704
