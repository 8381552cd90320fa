"""Test a finished run on a dataset: Keras and every exported precision, as a Markdown table.

python benchmarks/recipes.py RUN DATASET

The second table leaves out images that also stand in the run's own split (FER2013 has copies of
training images in its test part).
"""

import argparse
import csv
import statistics
import tempfile
from pathlib import Path

import numpy as np

from happysad.classifier import PRECISIONS
from happysad.dataset.load import load
from happysad.dataset.split import read_manifest
from happysad.evaluation.evaluate import evaluate
from happysad.evaluation.metrics import Estimate, Metrics, compute_metrics
from happysad.prediction import LABELS

FIGURES = ("accuracy", "balanced_accuracy", "f1_happy", "f1_sad", "roc_auc", "ece")


def row(name: str, metrics: Metrics) -> str:
    """One line of the table: values, and the interval of the accuracy."""
    cells = [f"{_estimate(metrics, figure).value:.4f}" for figure in FIGURES]
    accuracy = _estimate(metrics, "accuracy")
    cells[0] += f" ({accuracy.low:.3f}–{accuracy.high:.3f})"
    return f"| {name} | " + " | ".join(cells) + " |"


def _estimate(metrics: Metrics, figure: str) -> Estimate:
    return metrics.figures[figure]


def main() -> None:
    """Evaluate each file of the run and print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    arguments.add_argument("dataset", type=Path)
    options = arguments.parse_args()
    seen = {entry.sha256 for entry in read_manifest(options.run / "split.csv", others=True)}
    data = load(options.dataset, 32)
    fresh = np.array([sha256 not in seen for sha256 in data.sha256])
    files = [options.run / "model.keras"]
    files += [options.run / f"model-{precision}.tflite" for precision in PRECISIONS]
    whole, unseen = [], []
    with tempfile.TemporaryDirectory() as name:
        for file in files:
            if not file.is_file():
                continue
            out = Path(name) / file.stem
            metrics = evaluate(file, options.dataset, out).metrics
            with (out / "predictions.csv").open(encoding="utf-8") as rows:
                predictions = list(csv.DictReader(rows))
            labels = np.array([LABELS.index(r["label"]) for r in predictions], np.uint8)
            p = np.array([float(r["probability"]) for r in predictions])
            whole.append(row(file.name, metrics))
            unseen.append(
                row(file.name, compute_metrics(labels[fresh], p[fresh], metrics.threshold))
            )
    head = "| model | " + " | ".join(FIGURES) + " |\n|" + " --- |" * (len(FIGURES) + 1)
    print(f"\n{len(data.samples)} images of {options.dataset.name}\n\n{head}")
    print("\n".join(whole))
    print(f"\nwithout the {int((~fresh).sum())} that also stand in the run's split\n\n{head}")
    print("\n".join(unseen))
    with (options.run / "history.csv").open(encoding="utf-8") as rows:
        history = list(csv.DictReader(rows))
    for stage in sorted({r["stage"] for r in history}):
        epochs = [r for r in history if r["stage"] == stage]
        seconds = statistics.median(float(r["seconds"]) for r in epochs)
        best = min(float(r["val_loss"]) for r in epochs)
        print(f"\nstage {stage}: {len(epochs)} epochs, {seconds:.0f} s each, val loss {best:.4f}")


if __name__ == "__main__":
    main()
