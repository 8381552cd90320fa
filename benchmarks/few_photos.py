"""Fine-tuning on a user's photos: the bundled model before and after `--weights happysad`.

python benchmarks/few_photos.py shared/data/portraits --plot docs/few-photos.png

The portraits (folders happy and sad; in ``Some_Name_0012.jpg`` the person is Some_Name) are cropped
as `happysad dataset crop` does. In each repeat, persons are drawn until there are N / 2 happy and
N / 2 sad portraits; the recipe `adapt` trains on those, and both the released weights and the
adapted ones are measured on the portraits of everybody else: the same ones for every N.
"""

import argparse
import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

import keras
import numpy as np
import numpy.typing as npt

from happysad.dataset.crop import crop_folder
from happysad.dataset.load import Dataset, load
from happysad.evaluation.metrics import compute_metrics
from happysad.prediction import LABELS
from happysad.training.network import build_network, load_network
from happysad.training.recipe import Recipe, read_recipe
from happysad.training.train import train

COUNTS: Final = (20, 50, 100, 200)
PERSON: Final = r"^(.*)_\d+"
FIGURES: Final = ("balanced_accuracy", "roc_auc", "ece")

Indices = npt.NDArray[np.intp]


def draw(data: Dataset, count: int, seed: int) -> tuple[list[Indices], Indices]:
    """Draw persons for training: for each of COUNTS its portraits, and all others for testing."""
    rng = np.random.default_rng(seed)
    people: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(data.samples):
        match = re.match(PERSON, sample.path.name)
        people[match.group(1) if match else sample.path.stem].append(i)
    names = list(people)
    chosen: list[int] = []
    used: set[int] = set()
    for number in rng.permutation(len(names)):
        per_label = np.bincount(data.labels[chosen], minlength=2)
        if (per_label >= count // 2).all():
            break
        mine = people[names[number]]
        useful = [i for i in mine if per_label[data.labels[i]] < count // 2]
        if useful:
            chosen += useful
            used.update(mine)
    order = np.array(chosen, np.intp)
    parts = [
        np.concatenate([order[data.labels[order] == label][: part // 2] for label in (0, 1)])
        for part in COUNTS
    ]
    return parts, np.array([i for i in range(len(data.samples)) if i not in used], np.intp)


def measured(network: keras.Model, data: Dataset, test: Indices) -> list[float]:
    """Compute FIGURES on some of the portraits."""
    p = network.predict(data.crops[test], verbose=0)[:, 0]
    figures = compute_metrics(data.labels[test], p).figures
    return [figures[name].value or 0.0 for name in FIGURES]


def adapted(data: Dataset, chosen: Indices, recipe: Recipe, folder: Path) -> keras.Model:
    """Train on some of the portraits."""
    for i in chosen:
        path = data.samples[i].path
        target = folder / "photos" / LABELS[data.labels[i]] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    train(folder / "photos", recipe, folder / "run", group_pattern=PERSON)
    return load_network(folder / "run" / "model.keras")


def plot(path: Path, rows: dict[int, npt.NDArray[np.float64]]) -> None:
    """Draw balanced accuracy and ROC-AUC by number of photos, a line for each repeat."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    counts = sorted(rows)
    titles = {"balanced_accuracy": "balanced accuracy", "roc_auc": "ROC-AUC"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        values = np.array([rows[n][:, FIGURES.index(name)] for n in counts])
        axes.plot(range(len(counts)), values, "o-", color="#3b6ea5", alpha=0.6)
        axes.set_xticks(range(len(counts)), ["none", *map(str, counts[1:])])
        axes.set(title=f"{title}, other people", xlabel="photographs trained on", ylim=(0.85, 1))
        axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Train and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("portraits", type=Path)
    arguments.add_argument("--recipe", default="adapt")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--plot", type=Path)
    options = arguments.parse_args()
    recipe = read_recipe(options.recipe)
    released = build_network(recipe.input_size, dense=recipe.dense, weights="happysad")
    rows: dict[int, list[list[float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        crops = Path(name) / "crops"
        crop_folder(options.portraits, crops, 224)
        data = load(crops, recipe.input_size)
        for repeat in range(options.repeats):
            parts, test = draw(data, max(COUNTS), repeat)
            rows[0].append(measured(released, data, test))
            for count, part in zip(COUNTS, parts, strict=True):
                folder = Path(name) / f"{repeat}-{count}"
                rows[count].append(measured(adapted(data, part, recipe, folder), data, test))
                print(repeat, count, len(test), rows[0][-1], rows[count][-1], flush=True)
    table = {count: np.array(values) for count, values in rows.items()}
    print("\n| photos | " + " | ".join(FIGURES) + " |\n" + "| --- " * (1 + len(FIGURES)) + "|")
    for count, values in table.items():
        gains = values - table[0]
        cells = [
            f"{m:.3f} ({g:+.3f} ± {s:.3f})"
            for m, g, s in zip(values.mean(0), gains.mean(0), gains.std(0), strict=True)
        ]
        print(f"| {count} | " + " | ".join(cells) + " |")
    if options.plot:
        plot(options.plot, table)


if __name__ == "__main__":
    main()
