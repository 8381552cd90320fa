"""Charts of an evaluation; each function writes a PNG file and, beside it, an SVG file."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from happysad.evaluation.bootstrap import ECE_BINS
from happysad.evaluation.metrics import Estimate, Metrics
from happysad.plots import COLOURS, HAPPY, INK, MUTED, SAD, TIP, add_tips, plot, square
from happysad.prediction import LABELS
from happysad.training.reliability import wilson_interval

Labels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float64]


def plot_confusion(metrics: Metrics, path: Path) -> None:
    """Draw the confusion matrix: counts, and shares of each true class."""
    counts = np.array(metrics.confusion)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    tint = LinearSegmentedColormap.from_list("tint", ["#f4f6f8", SAD])
    with plot(path, svg=True) as figure:
        axes = figure.add_subplot(title="Confusion matrix")
        edges = [-0.5, 0.5, 1.5]
        axes.pcolormesh(edges, edges, shares, cmap=tint, vmin=0, vmax=1, edgecolor="white", lw=4)
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            colour = "white" if share > 0.55 else INK
            number = axes.text(column, row, f"{count:,}", ha="center", va="bottom", color=colour)
            number.set(fontsize=22, weight="bold")
            text = f"{share:.1%} of {LABELS[row]}"
            axes.text(column, row + 0.08, text, ha="center", va="top", color=colour)
        axes.set(xlabel="predicted", ylabel="true", xticks=[0, 1], yticks=[0, 1])
        axes.set_aspect("equal")
        axes.invert_yaxis()
        axes.set_xticklabels(LABELS)
        axes.set_yticklabels(LABELS)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)


def plot_roc(labels: Labels, p: Probabilities, metrics: Metrics, path: Path) -> None:
    """Draw the ROC curve; both classes must be present."""
    false, true, thresholds = roc_curve(labels, p)
    (tn, fp), (fn, tp) = metrics.confusion
    with plot(path, svg=True) as figure:
        axes = figure.add_subplot(title="ROC curve")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle=":", label="guessing")
        axes.fill_between(false, true, color=HAPPY, alpha=0.08, linewidth=0)
        name = f"area {_text(metrics.figures['roc_auc'])}"
        axes.plot(false, true, color=HAPPY, label=name)
        texts = [
            f"P(happy) from {min(threshold, 1):.3f}: {found:.1%} of the happy faces are called "
            f"happy, and {wrong:.1%} of the sad ones"
            for threshold, found, wrong in zip(thresholds, true, false, strict=True)
        ]
        add_tips(axes, false, true, texts, HAPPY)
        axes.plot(
            fp / (fp + tn),
            tp / (tp + fn),
            "o",
            color=INK,
            markersize=8,
            label=f"threshold {metrics.threshold:.2f}",
        )
        square(axes, "sad faces called happy", "happy faces called happy")
        axes.legend(loc="lower right")


def plot_precision_recall(labels: Labels, p: Probabilities, metrics: Metrics, path: Path) -> None:
    """Draw precision against recall for each class; both must be present."""
    counts = np.array(metrics.confusion)
    with plot(path, svg=True) as figure:
        axes = figure.add_subplot(title="Precision and recall")
        for number, label in enumerate(LABELS):
            score = p if number else 1 - p
            precision, recall, _ = precision_recall_curve(labels == number, score)
            axes.step(recall, precision, where="pre", color=COLOURS[label], label=label)
            texts = [
                f"{label}: recall {found:.1%}, precision {right:.1%}"
                for found, right in zip(recall, precision, strict=True)
            ]
            add_tips(axes, recall, precision, texts, COLOURS[label])
            axes.plot(
                counts[number, number] / counts[number].sum(),
                counts[number, number] / max(1, counts[:, number].sum()),
                "o",
                color=COLOURS[label],
                markeredgecolor=INK,
                markersize=8,
            )
        axes.plot([], [], "o", color="white", markeredgecolor=INK, label=_at(metrics))
        square(axes, "recall", "precision")
        axes.legend(loc="lower left")


def plot_reliability(labels: Labels, p: Probabilities, metrics: Metrics, path: Path) -> None:
    """Draw the share of happy faces against P(happy), over a histogram of P(happy)."""
    edges = np.linspace(0, 1, ECE_BINS + 1)
    bins = np.minimum((p * ECE_BINS).astype(int), ECE_BINS - 1)
    counts = np.bincount(bins, minlength=ECE_BINS)
    filled = counts > 0
    predicted = np.bincount(bins, p, ECE_BINS)[filled] / counts[filled]
    observed = np.bincount(bins, labels, ECE_BINS)[filled] / counts[filled]
    low, high = wilson_interval(observed, counts[filled])
    with plot(path, svg=True) as figure:
        top, below = figure.subplots(2, height_ratios=[3, 1], sharex=True)
        top.set_title("Reliability")
        top.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle=":", label="ideal")
        top.errorbar(
            predicted,
            observed,
            yerr=[observed - low, high - observed],
            fmt="o-",
            color=INK,
            ecolor=MUTED,
            elinewidth=1.2,
            linewidth=1.6,
            markersize=6,
            label=f"calibration error {_text(metrics.figures['ece'])}",
        )
        texts = [
            f"{count:,} faces with P(happy) {p:.2f} on average: {share:.1%} are happy"
            for count, p, share in zip(counts[filled], predicted, observed, strict=True)
        ]
        add_tips(top, predicted, observed, texts)
        top.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), ylabel="share of happy faces")
        top.legend(loc="upper left")
        by_class = [p[labels == number] for number in (0, 1)]
        _, _, drawn = below.hist(
            by_class, edges, stacked=True, color=[SAD, HAPPY], label=LABELS, rwidth=0.92
        )
        for label, values, bars in zip(LABELS, by_class, drawn, strict=True):
            sizes, _ = np.histogram(values, edges)
            for size, start, end, bar in zip(sizes, edges[:-1], edges[1:], bars, strict=True):
                if size:
                    bar.set_gid(f"{TIP}P(happy) {start:.2f}–{end:.2f}: {size:,} {label} faces")
        below.set(xlabel="P(happy)", ylabel="images")
        below.grid(visible=False, axis="x")
        below.legend(loc="upper center", ncols=2)


def plot_thresholds(labels: Labels, p: Probabilities, metrics: Metrics, path: Path) -> None:
    """Draw accuracy, balanced accuracy and F1 by threshold; both classes must be present."""
    thresholds = np.linspace(0, 1, 201)
    happy = labels.astype(bool)
    called = p >= thresholds[:, None]
    tp, fp = (called & happy).sum(axis=1), (called & ~happy).sum(axis=1)
    fn, tn = happy.sum() - tp, (~happy).sum() - fp
    with plot(path, svg=True) as figure:
        axes = figure.add_subplot(title="Metrics by threshold")
        axes.axvline(metrics.threshold, color=INK, linewidth=1.2, label=_at(metrics))
        balanced = (tp / (tp + fn) + tn / (tn + fp)) / 2
        for label, values, colour, style in (
            ("accuracy", (tp + tn) / len(p), INK, "-"),
            ("balanced accuracy", balanced, MUTED, "--"),
            ("F1 happy", 2 * tp / (2 * tp + fp + fn), HAPPY, "-"),
            ("F1 sad", 2 * tn / (2 * tn + fp + fn), SAD, "-"),
        ):
            axes.plot(thresholds, values, color=colour, linestyle=style, label=label)
            texts = [
                f"threshold {threshold:.2f}: {label} {value:.1%}"
                for threshold, value in zip(thresholds, values, strict=True)
            ]
            add_tips(axes, thresholds, values, texts, colour)
        axes.set(xlim=(-0.015, 1.015), ylim=(0, 1.015), xlabel="threshold on P(happy)")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        figure.legend(loc="outside lower center", ncols=3)


def _at(metrics: Metrics) -> str:
    return f"threshold {metrics.threshold:.2f}"


def _text(figure: Estimate) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f}–{figure.high:.3f})"
