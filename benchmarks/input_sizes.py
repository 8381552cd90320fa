"""Accuracy and latency of input sizes, all else equal: a short training at each.

python benchmarks/input_sizes.py DATASET [--weights FILE] [--sizes 64 96 128 160 224] [--out FOLDER]

A recipe of four epochs on 6,000 faces, from block_3 on, starts from the same weights each time and
is read on the same validation faces; the float32 graph is then timed on one thread. The folder
keeps the runs: the same command goes on after an interruption. With --plot FILE, an image of it.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter
from sklearn.metrics import roc_auc_score

from happysad.classifier import Classifier
from happysad.dataset.load import load
from happysad.dataset.split import split
from happysad.export.convert import float32_graph
from happysad.prediction import LABELS
from happysad.training.network import load_network
from happysad.training.recipe import Recipe, Stage, read_recipe
from happysad.training.train import train

Row = tuple[int, float, float, float]


def recipe(size: int, weights: str) -> Recipe:
    """The short recipe at one size."""
    stage = Stage(
        layers="block_3",
        epochs=4,
        learning_rate=0.0007,
        schedule="cosine",
        warmup=0.3,
        weight_decay=0.03,
        averaging=0.99,
    )
    base = replace(read_recipe("fine-tune"), name=f"size-{size}", input_size=size, weights=weights)
    return replace(base, images=6000, validation_fraction=0.1, stages=(stage,))


def milliseconds(content: bytes, crops: npt.NDArray[np.uint8]) -> float:
    """Time one crop at a time on one thread; the median."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    times = []
    for i in range(200):
        interpreter.set_tensor(source, crops[i % len(crops)][None])
        start = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[20:])


def measured(dataset: Path, run: Path, size: int) -> Row:
    """Read a finished run on the validation faces, and time it."""
    data = load(dataset, size)
    held_back = split(data, 0.1, 0) & (data.labels < len(LABELS))
    network = load_network(run / "model.keras")
    p = network.predict(data.crops[held_back], verbose=0)[:, 0]
    happy = data.labels[held_back] == 1
    accuracy = float(((p >= 0.5) == happy).mean())
    auc = float(roc_auc_score(happy, p))
    return (
        size,
        accuracy,
        auc,
        milliseconds(float32_graph(network, temperature=1.0), data.crops[held_back]),
    )


def plot(path: Path, rows: list[Row]) -> None:
    """Draw ROC-AUC over latency, a point for each size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([row[3] for row in rows], [row[2] for row in rows], "o-", color="#3b6ea5")
    for size, _, auc, latency in rows:
        axes.annotate(f"{size}", (latency, auc), (6, -12), textcoords="offset points")
    chosen = Classifier().info.input_size
    for row in rows:
        if row[0] == chosen:
            label = f"released: {chosen}"
            axes.plot(row[3], row[2], "o", color="#c1541f", markersize=11, label=label)
    axes.set_xlabel("milliseconds a face, float32, one thread")
    axes.set_ylabel("ROC-AUC, validation faces")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train the missing runs, and print a Markdown table."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("dataset", type=Path)
    arguments.add_argument("--weights", default="imagenet")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128, 160, 224])
    arguments.add_argument("--out", type=Path, default=Path("runs/input-sizes"))
    arguments.add_argument("--plot", type=Path)
    options = arguments.parse_args()
    for size in options.sizes:
        run = options.out / str(size)
        train(options.dataset, recipe(size, options.weights), run, resume=True)
        print(f"{size} pixels trained", flush=True)
    rows = sorted(measured(options.dataset, options.out / str(s), s) for s in options.sizes)
    print("| pixels | accuracy | ROC-AUC | ms a face |\n| --- | --- | --- | --- |")
    for size, accuracy, auc, latency in rows:
        print(f"| {size} | {accuracy:.4f} | {auc:.4f} | {latency:.2f} |")
    if options.plot:
        plot(options.plot, rows)


if __name__ == "__main__":
    main()
